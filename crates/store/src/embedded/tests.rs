//! Tests of what only a store on disk has: folders, files of others, crashes, a full disk, the log's limit.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::conformance::{KEYSPACES, ONE, Subject, TWO};
use crate::{Direction, KeyRange};

/// A store in a folder of its own.
struct OnDisk {
    /// `None` only while it is opened again.
    store: Option<EmbeddedStore>,
    options: EmbeddedOptions,
    folder: TempDir,
}

impl OnDisk {
    fn fresh(options: EmbeddedOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Some(open(folder.path(), &options).unwrap());
        Self { store, options, folder }
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
        self.store = None;
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

/// Every limit so low that each commit meets it.
mod tightest {
    use super::*;

    crate::conformance_tests!(OnDisk::fresh(EmbeddedOptions {
        writer_cache_bytes: 0,
        reader_cache_bytes: 0,
        mmap_bytes: 1 << 30,
        max_bytes: None,
        wal_limit_bytes: 1,
        wal_limit_wait: std::time::Duration::ZERO,
        checkpoint_bytes: 1,
        read_connections: 0,
        max_snapshots: 256,
    }));
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

/// Copies the files as a crash at this moment would leave them: without the index of the log, which is rebuilt.
fn crash_image(folder: &Path) -> TempDir {
    let image = tempfile::tempdir().unwrap();
    for file in [format::data_file(folder), format::log_file(folder)] {
        if file.exists() {
            fs::copy(&file, image.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    image
}

#[test]
fn a_crash_keeps_every_commit_that_returned() {
    // Checkpoints in the background at every commit, and forced ones, so that images are taken in all states.
    for (checkpoint_bytes, wal_limit_bytes) in [(1 << 30, 1 << 30), (1, 1 << 30), (1, 64 << 10)] {
        let options = EmbeddedOptions { checkpoint_bytes, wal_limit_bytes, ..EmbeddedOptions::default() };
        let subject = OnDisk::fresh(options);
        for count in 1..=40u32 {
            subject.store().commit(&put(count.to_be_bytes(), vec![7; 3_000])).unwrap();
            if count % 5 != 0 {
                continue;
            }
            // Checkpoints move pages between the two files while they are copied, which no crash does; so hold them.
            let held = subject.store().checkpointer.hold();
            let image = crash_image(subject.folder.path());
            drop(held);
            let restarted = open(image.path(), &EmbeddedOptions::default()).unwrap();
            let expected: Vec<Vec<u8>> = (1..=count).map(|count| count.to_be_bytes().to_vec()).collect();
            assert_eq!(keys(&restarted), expected);
        }
    }
}

#[test]
fn a_torn_log_gives_a_prefix_of_the_commits() {
    let subject = OnDisk::fresh(EmbeddedOptions { checkpoint_bytes: 1 << 30, ..EmbeddedOptions::default() });
    for count in 0..30u8 {
        let mut batch = put([count], vec![count; 2_000]);
        batch.put(TWO, [count], vec![count; 2_000]);
        subject.store().commit(&batch).unwrap();
    }
    let image = crash_image(subject.folder.path());
    let log = fs::read(format::log_file(image.path())).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    // Cut anywhere, the rest lost or full of what the device had there before.
    for cut in (0..=log.len()).step_by(log.len() / 60).chain([log.len() - 1, log.len()]) {
        for garbage in [false, true] {
            let mut torn = log[..cut].to_vec();
            if garbage {
                torn.resize(log.len(), 0xa5);
            }
            fs::write(format::log_file(image.path()), torn).unwrap();
            let copy = crash_image(image.path());
            let store = match open(copy.path(), &EmbeddedOptions::default()) {
                Ok(store) => store,
                Err(error) => panic!("cut at {cut}: {error}"),
            };
            let found = keys(&store);
            let prefix: Vec<Vec<u8>> = (0..30).take(found.len()).map(|count| vec![count]).collect();
            assert_eq!(found, prefix, "cut at {cut}");
            let snapshot = store.snapshot().unwrap();
            for count in 0..30u8 {
                let value = snapshot.get(TWO, &[count]).unwrap();
                let expected = (usize::from(count) < found.len()).then(|| vec![count; 2_000]);
                assert!(value == expected, "half a commit, cut at {cut}");
            }
            seen.insert(found.len());
        }
    }
    assert!(seen.len() > 20 && seen.contains(&0) && seen.contains(&30), "{seen:?}");
}

#[test]
fn a_full_store_refuses_and_goes_on() {
    let limit = 1 << 20;
    let mut subject = OnDisk::fresh(EmbeddedOptions { max_bytes: Some(limit), ..EmbeddedOptions::default() });
    let mut stored = 0u32;
    let full = loop {
        match subject.store().commit(&put(stored.to_be_bytes(), vec![1; 20_000])) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, StoreError::Full { path: subject.folder.path().to_owned(), limit: Some(limit) });
    assert!(stored > 30, "{stored}");
    assert_eq!(keys(subject.store()).len(), stored as usize);
    assert!(subject.store().stats().unwrap().data_bytes <= limit);
    // A batch that fails half-way leaves nothing of its first half.
    let mut batch = put("first half", "small");
    batch.put(ONE, "second half", vec![2; 100_000]);
    assert!(matches!(subject.store().commit(&batch), Err(StoreError::Full { .. })));
    assert_eq!(keys(subject.store()).len(), stored as usize);
    // Deleting makes room.
    let mut batch = Batch::new();
    batch.delete_range(ONE, KeyRange::before(10u32.to_be_bytes()));
    subject.store().commit(&batch).unwrap();
    subject.store().commit(&put("again", vec![3; 100_000])).unwrap();
    let before = keys(subject.store());
    assert_eq!(before.len(), stored as usize - 10 + 1);
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()), before);
}

/// A value that differs from the one before it, because SQLite writes no page that stays the same.
fn changing(count: u32) -> Vec<u8> {
    count.to_be_bytes().repeat(750)
}

#[test]
fn the_log_is_bounded_while_commits_never_pause() {
    let limit = 1 << 20;
    let subject = OnDisk::fresh(EmbeddedOptions {
        wal_limit_bytes: limit,
        checkpoint_bytes: 256 << 10,
        ..EmbeddedOptions::default()
    });
    for count in 0..1_500u32 {
        subject.store().commit(&put((count % 200).to_be_bytes(), changing(count))).unwrap();
    }
    let stats = subject.store().stats().unwrap();
    assert!(stats.log_bytes < limit + (200 << 10), "{stats:?}");
    assert!(stats.checkpoints > 0, "{stats:?}");
}

#[test]
fn the_log_outgrows_its_limit_only_for_a_snapshot() {
    let limit = 256 << 10;
    let subject = OnDisk::fresh(EmbeddedOptions { wal_limit_bytes: limit, ..EmbeddedOptions::default() });
    let write = || {
        for count in 0..300u32 {
            subject.store().commit(&put((count % 50).to_be_bytes(), changing(count))).unwrap();
        }
        subject.store().stats().unwrap()
    };
    write();
    let snapshot = subject.store().snapshot().unwrap();
    let held = write();
    assert!(held.log_bytes > 4 * limit, "{held:?}");
    assert_eq!(snapshot.get_many(ONE, &[&0u32.to_be_bytes()]).unwrap(), [Some(changing(250))]);
    drop(snapshot);
    let after = write();
    assert!(after.log_bytes < 2 * limit, "{after:?}");
    assert!(after.forced_checkpoints > held.forced_checkpoints, "{after:?}");
}

#[test]
fn closing_leaves_an_empty_log() {
    let mut subject = OnDisk::fresh(EmbeddedOptions::default());
    subject.store().commit(&put("a", vec![1; 10_000])).unwrap();
    assert!(fs::metadata(format::log_file(subject.folder.path())).unwrap().len() > 10_000);
    subject.store = None;
    assert_eq!(fs::metadata(format::log_file(subject.folder.path())).unwrap().len(), 0);
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

#[test]
fn damage_found_by_a_commit_stops_the_store() {
    let mut subject = OnDisk::fresh(EmbeddedOptions { writer_cache_bytes: 0, ..EmbeddedOptions::default() });
    for count in 0..500u32 {
        subject.store().commit(&put(count.to_be_bytes(), vec![1; 500])).unwrap();
    }
    subject.store = None;
    let file = format::data_file(subject.folder.path());
    let mut bytes = fs::read(&file).unwrap();
    // All but the header and the first pages, which say where the tables are.
    let kept = 4 * format::PAGE_BYTES as usize;
    bytes[kept..].fill(0xee);
    fs::write(&file, bytes).unwrap();
    assert!(subject.reopen());
    let mut undamaged = Batch::new();
    undamaged.put(TWO, "in a table of one page", "which was kept");
    subject.store().commit(&undamaged).unwrap();
    let damaged = (0..500u32)
        .find_map(|count| subject.store().commit(&put(count.to_be_bytes(), "x")).err())
        .expect("a commit meets the damage");
    assert!(matches!(damaged, StoreError::Corrupt { .. }), "{damaged}");
    let refused = subject.store().commit(&put("more", "x")).unwrap_err();
    let StoreError::Stopped { why, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*why, damaged.to_string());
    assert!(subject.store().snapshot().is_ok());
    // What the log holds is not carried over into a file in doubt, not even when the store is closed.
    let log_bytes = subject.store().stats().unwrap().log_bytes;
    assert!(log_bytes > 0);
    subject.store = None;
    assert_eq!(fs::metadata(format::log_file(subject.folder.path())).unwrap().len(), log_bytes);
}
