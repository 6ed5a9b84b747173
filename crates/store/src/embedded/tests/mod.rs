//! Tests of what only a store on disk has: folders, files of others, versions; and the suite under many settings.
//!
//! Read next: `crash`, `failures`, `limits`, `layers`.

mod crash;
mod failures;
mod halves;
mod layers;
mod limits;

use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::conformance::{KEYSPACES, ONE, Subject, TWO};
use crate::{Direction, KeyRange, KeyspaceSpec};

/// A store in a folder of its own.
struct OnDisk {
    /// `None` only while it is opened again.
    store: Option<EmbeddedStore>,
    options: EmbeddedOptions,
    folder: TempDir,
    /// Whether it is opened again from what a crash leaves, and not closed.
    crashes: bool,
}

impl OnDisk {
    fn fresh(options: EmbeddedOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(open(folder.path(), &options).unwrap());
        Self { store, options, folder, crashes: false }
    }

    fn crashing(options: EmbeddedOptions) -> Self {
        Self { crashes: true, ..Self::fresh(options) }
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }
}

impl Subject for OnDisk {
    fn store(&self) -> &dyn Store {
        Self::store(self)
    }

    fn reopen(&mut self) -> bool {
        let image = self.crashes.then(|| crash_image(self.store()));
        self.store = None;
        if let Some(image) = image {
            self.folder = image;
        }
        self.store = Some(open(self.folder.path(), &self.options).unwrap());
        true
    }
}

fn open(folder: &Path, options: &EmbeddedOptions) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(folder, KEYSPACES, options.clone())
}

fn refusal(folder: &Path) -> StoreError {
    match open(folder, &EmbeddedOptions::default()) {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

mod defaults {
    use super::*;

    crate::conformance_tests!(OnDisk::fresh(EmbeddedOptions::default()));
}

/// Nothing leaves the overlay before it must, so that the journal holds everything at a crash.
mod unhurried {
    use super::*;

    crate::conformance_tests!(OnDisk::crashing(unhurried_options()));
}

/// Everything is applied as soon as it is committed, and the journal goes round and round.
mod hasty {
    use super::*;

    crate::conformance_tests!(OnDisk::crashing(hasty_options()));
}

/// Every limit so low that each commit meets it.
mod tightest {
    use super::*;

    crate::conformance_tests!(OnDisk::fresh(EmbeddedOptions {
        writer_cache_bytes: 0,
        reader_cache_bytes: 0,
        mmap_bytes: 1 << 30,
        max_bytes: Some(64 << 20),
        overlay_bytes: 1,
        apply_bytes: 1,
        apply_interval: Duration::ZERO,
        segment_bytes: 1,
        wal_limit_bytes: 1,
        wal_limit_wait: Duration::ZERO,
        checkpoint_bytes: 1,
        read_connections: 0,
        max_snapshots: 256,
    }));
}

/// Nothing is applied before it must be.
fn unhurried_options() -> EmbeddedOptions {
    let overlay_bytes = 1 << 40;
    let apply_interval = Duration::from_secs(1_000_000);
    EmbeddedOptions {
        overlay_bytes,
        apply_bytes: overlay_bytes,
        apply_interval,
        ..EmbeddedOptions::default()
    }
}

/// Applied at once, from segments of two blocks, which are used again soon.
fn hasty_options() -> EmbeddedOptions {
    let (segment_bytes, apply_interval) = (8 << 10, Duration::ZERO);
    EmbeddedOptions {
        segment_bytes,
        apply_interval,
        checkpoint_bytes: 64 << 10,
        ..EmbeddedOptions::default()
    }
}

fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(ONE, key, value);
    batch
}

fn keys(store: &EmbeddedStore) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        keys.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    let snapshot = store.snapshot().unwrap();
    snapshot.scan(ONE, &KeyRange::all(), Direction::Forward, usize::MAX, &mut visit).unwrap();
    keys
}

#[test]
fn one_handle_at_a_time_and_snapshots_count() {
    let subject = OnDisk::fresh(EmbeddedOptions::default());
    let folder = subject.folder.path();
    subject.store().commit(&put("a", "1")).unwrap();
    assert_eq!(refusal(folder), StoreError::InUse { path: folder.to_owned() });
    let OnDisk { store, folder, .. } = subject;
    let snapshot = store.as_ref().unwrap().snapshot().unwrap();
    drop(store);
    assert!(matches!(refusal(folder.path()), StoreError::InUse { .. }));
    assert_eq!(snapshot.get(ONE, b"a").unwrap(), Some(b"1".to_vec()), "a snapshot outlives its store");
    drop(snapshot);
    assert_eq!(keys(&open(folder.path(), &EmbeddedOptions::default()).unwrap()), [b"a"]);
}

#[test]
fn missing_folders_are_created() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("some/where");
    drop(open(&folder, &EmbeddedOptions::default()).unwrap());
    assert!(format::data_file(&folder).is_file());
}

#[test]
fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = format::data_file(folder.path());
    fs::write(&file, "notes of someone else, longer than the header of a database. ".repeat(100)).unwrap();
    let before = fs::read(&file).unwrap();
    assert!(matches!(refusal(folder.path()), StoreError::Foreign { .. }));
    assert_eq!(fs::read(&file).unwrap(), before);

    fs::remove_file(&file).unwrap();
    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("CREATE TABLE theirs(x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    let before = fs::read(&file).unwrap();
    let error = refusal(folder.path());
    assert!(matches!(&error, StoreError::Foreign { why, .. } if why.contains("application id")), "{error}");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_newer_format_is_refused_and_a_missing_one_is_damage() {
    let mut subject = OnDisk::fresh(EmbeddedOptions::default());
    let path = format::data_file(subject.folder.path());
    subject.store = None;
    let set_version = |version: u32| {
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
    };
    set_version(format::VERSION + 1);
    let newer = StoreError::NewerVersion {
        path: path.clone(),
        found: format::VERSION + 1,
        supported: format::VERSION,
    };
    assert_eq!(refusal(subject.folder.path()), newer);
    set_version(0);
    assert!(matches!(refusal(subject.folder.path()), StoreError::Corrupt { .. }));
    set_version(format::VERSION);
    assert!(subject.reopen());
}

#[test]
fn a_store_without_a_journal_is_brought_to_this_version() {
    let folder = tempfile::tempdir().unwrap();
    let connection = rusqlite::Connection::open(format::data_file(folder.path())).unwrap();
    // What version 1 of the format was.
    let made = "PRAGMA journal_mode = wal; PRAGMA application_id = 0x43524C59; PRAGMA user_version = 1;
        CREATE TABLE ks_one(k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID;
        INSERT INTO ks_one VALUES (x'61', x'31');";
    connection.execute_batch(made).unwrap();
    drop(connection);
    let store = open(folder.path(), &EmbeddedOptions::default()).unwrap();
    store.commit(&put("b", "2")).unwrap();
    drop(store);
    let connection = rusqlite::Connection::open(format::data_file(folder.path())).unwrap();
    assert_eq!(format::pragma(&connection, "user_version").unwrap(), 2);
    drop(connection);
    assert_eq!(keys(&open(folder.path(), &EmbeddedOptions::default()).unwrap()), [b"a", b"b"]);
}

#[test]
fn an_empty_database_counts_as_new() {
    // What a crash during the first start leaves: a file without content, or one in write-ahead mode without tables.
    let folder = tempfile::tempdir().unwrap();
    let file = format::data_file(folder.path());
    fs::write(&file, "").unwrap();
    drop(open(folder.path(), &EmbeddedOptions::default()).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = format::data_file(folder.path());
    let started = rusqlite::Connection::open(&file).unwrap();
    started.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
    drop(started);
    assert!(fs::metadata(&file).unwrap().len() > 0);
    let store = open(folder.path(), &EmbeddedOptions::default()).unwrap();
    store.commit(&put("a", "1")).unwrap();
}

#[test]
fn keyspaces_are_found_by_name_and_kept_when_undeclared() {
    let folder = tempfile::tempdir().unwrap();
    let open_with = |names: &[&'static str]| {
        let keyspace = |index: usize| crate::Keyspace(u8::try_from(index).unwrap());
        let specs: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(at, name)| KeyspaceSpec { keyspace: keyspace(at), name })
            .collect();
        EmbeddedStore::open(folder.path(), &specs, EmbeddedOptions::default()).unwrap()
    };
    let store = open_with(&["docs"]);
    store.commit(&put("a", "docs")).unwrap();
    drop(store);
    drop(open_with(&["log"]));
    let store = open_with(&["log", "docs"]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.get(ONE, b"a").unwrap(), snapshot.get(TWO, b"a").unwrap()),
        (None, Some(b"docs".to_vec()))
    );
}

#[test]
fn a_folder_without_permission_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut permissions = fs::metadata(folder.path()).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(folder.path(), permissions.clone()).unwrap();
    // A superuser may write anywhere, and then there is nothing to be refused.
    let unrestricted = fs::write(folder.path().join("probe"), "").is_ok();
    if unrestricted {
        return;
    }
    assert!(matches!(refusal(folder.path()), StoreError::Permission { .. }));
}

/// Copies the files as a crash at this moment would leave them, between two writes to the database.
fn crash_image(store: &EmbeddedStore) -> TempDir {
    // What the applier does moves pages and records between files while they are copied, which no crash does.
    let _held = store.applier.database().lock();
    copy_folder(store.folder())
}

/// Copies the files of a folder that nobody writes to: without the index of the log, which is rebuilt.
fn copy_folder(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    let segments = format::segment_files(folder).unwrap().into_values();
    for file in segments.chain([format::data_file(folder), format::log_file(folder)]) {
        if file.exists() {
            fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    copy
}

#[test]
fn snapshots_are_limited_by_name() {
    let subject = OnDisk::fresh(EmbeddedOptions { max_snapshots: 2, ..EmbeddedOptions::default() });
    let held = [subject.store().snapshot().unwrap(), subject.store().snapshot().unwrap()];
    for _ in 0..3 {
        let Err(error) = subject.store().snapshot() else { panic!("a third snapshot opened") };
        assert_eq!(error, StoreError::TooManySnapshots { limit: 2 });
    }
    assert_eq!(subject.store().stats().unwrap().open_snapshots, 2, "statistics are to be had all the same");
    drop(held);
    assert!(subject.store().snapshot().is_ok());
}
