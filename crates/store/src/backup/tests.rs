//! What goes into a backup comes out of it, in every backend; what is not whole is refused.

use super::*;
use crate::conformance::{KEYSPACES, ONE, TWO};
use crate::{Batch, EmbeddedOptions, EmbeddedStore, Fault, Keyspace, MemoryStore, Store};

const MARK: (Keyspace, &[u8]) = (ONE, b"restoring");
const ABSENT: (Keyspace, &[u8]) = (ONE, b"head");

fn target(store: &dyn Store) -> Target<'_> {
    Target { store, specs: KEYSPACES, mark: MARK, absent: ABSENT }
}

fn memory() -> MemoryStore {
    MemoryStore::new(KEYSPACES).unwrap()
}

/// Keys of all lengths, values that are empty, that repeat themselves, and one that is larger than a part.
fn fill(store: &dyn Store) {
    let mut state = 7u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let mut batch = Batch::new();
    batch.put(ONE, "head", "of the nodes");
    batch.put(ONE, "", "of the empty key");
    batch.put(TWO, vec![0xff; 9_000], vec![3; super::format::PART_BYTES * 2]);
    for n in 0..4_000u32 {
        let key: Vec<u8> = (0..random() % 40).map(|_| (random() % 7) as u8).collect();
        let value = vec![n as u8; (random() % 900) as usize];
        batch.put(if n % 3 == 0 { TWO } else { ONE }, key, value);
    }
    store.commit(&batch).unwrap();
}

type Entries = Vec<(Keyspace, Vec<u8>, Vec<u8>)>;

fn contents(store: &dyn Store) -> Entries {
    let snapshot = store.snapshot().unwrap();
    let mut found = Vec::new();
    for spec in KEYSPACES {
        let all = crate::KeyRange::all();
        let mut visit = |key: &[u8], value: &[u8]| {
            found.push((spec.keyspace, key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(spec.keyspace, &all, crate::Direction::Forward, usize::MAX, &mut visit).unwrap();
    }
    found
}

/// What a backup of the store is to bring back.
fn portable(store: &dyn Store) -> Entries {
    contents(store).into_iter().filter(|(of, key, _)| (*of, &**key) != ABSENT).collect()
}

fn backup(store: &dyn Store) -> Vec<u8> {
    let mut file = Vec::new();
    let labels = vec![("revision".to_owned(), "7".to_owned()), ("of".to_owned(), "ü".to_owned())];
    let snapshot = store.snapshot().unwrap();
    let leave_out = |keyspace: Keyspace, key: &[u8]| (keyspace, key) == ABSENT;
    let written = write(&*snapshot, KEYSPACES, labels, &leave_out, &mut file).unwrap();
    assert_eq!(verify(&*file).unwrap(), written);
    file
}

fn restored(file: &[u8], store: &dyn Store) -> Result<Summary, BackupError> {
    restore(file, &target(store), &mut |_| ())
}

#[test]
fn what_is_written_comes_back_in_every_backend() {
    let origin = memory();
    fill(&origin);
    let file = backup(&origin);
    let folder = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions::default;
    let embedded = EmbeddedStore::open(&folder.path().join("data"), KEYSPACES, options()).unwrap();
    let summary = restored(&file, &embedded).unwrap();
    assert_eq!(contents(&embedded), portable(&origin));
    assert_eq!((summary.label("revision"), summary.label("of")), (Some("7"), Some("ü")));
    assert_eq!(summary.entries(), portable(&origin).len() as u64);
    assert_eq!(backup(&embedded), file, "the same entries make the same file");
    drop(embedded);
    let embedded = EmbeddedStore::open(&folder.path().join("data"), KEYSPACES, options()).unwrap();
    assert_eq!(contents(&embedded), portable(&origin));
    assert!(!is_unfinished(&embedded, MARK).unwrap());
}

#[cfg(all(unix, feature = "postgres"))]
#[test]
fn what_is_written_comes_back_in_postgres() {
    use crate::postgres::{PostgresOptions, PostgresStore, testing::Server};
    let origin = memory();
    fill(&origin);
    let file = backup(&origin);
    let open = |schema: &str| {
        let options = PostgresOptions { schema: schema.into(), ..PostgresOptions::default() };
        PostgresStore::open(&Server::shared().url(), KEYSPACES, options).unwrap()
    };
    let store = open("restored");
    restored(&file, &store).unwrap();
    assert_eq!(contents(&store), portable(&origin));
    assert_eq!(backup(&store), file);
}

#[test]
fn an_empty_store_has_a_backup() {
    let file = backup(&memory());
    let store = memory();
    assert_eq!(restored(&file, &store).unwrap().entries(), 0);
    assert!(contents(&store).is_empty());
}

/// A backup of little.
fn small() -> Vec<u8> {
    let store = memory();
    let mut batch = Batch::new();
    batch.put(ONE, "a", "1");
    batch.put(ONE, "b", "2");
    batch.put(TWO, "c", "3");
    store.commit(&batch).unwrap();
    backup(&store)
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let file = small();
    for length in 0..file.len() {
        let refused = verify(&file[..length]);
        match length {
            0 => assert!(matches!(refused, Err(BackupError::Foreign)), "{length}: {refused:?}"),
            _ => assert!(
                matches!(refused, Err(BackupError::Cut { at }) if at == length as u64),
                "{length}: {refused:?}"
            ),
        }
        let store = memory();
        assert!(restored(&file[..length], &store).is_err());
        // Unless nothing was begun it shows.
        assert_eq!(is_unfinished(&store, MARK).unwrap(), !contents(&store).is_empty());
    }
}

#[test]
fn a_file_that_is_changed_anywhere_is_refused() {
    let file = small();
    for at in 0..file.len() {
        for bit in [0, 3, 7] {
            let mut changed = file.clone();
            changed[at] ^= 1 << bit;
            assert!(verify(&*changed).is_err(), "bit {bit} of byte {at}");
        }
    }
    let mut longer = file.clone();
    longer.push(0);
    assert!(matches!(verify(&*longer), Err(BackupError::Damaged { at, .. }) if at == file.len() as u64));
    let mut newer = file.clone();
    newer[11] = 9;
    assert!(matches!(verify(&*newer), Err(BackupError::NewerVersion { found: 9, supported: 1 })));
    assert!(matches!(verify(&b"SQLite format 3\0"[..]), Err(BackupError::Foreign)));
    let twice = [&file[..], &file[12..]].concat();
    assert!(verify(&*twice).is_err());
}

#[test]
fn a_store_that_is_not_empty_is_left_as_it_is() {
    let (file, store) = (small(), memory());
    fill(&store);
    let before = contents(&store);
    assert!(matches!(restored(&file, &store), Err(BackupError::NotEmpty { keyspace: "one" })));
    assert_eq!(contents(&store), before);
}

#[test]
fn a_restore_that_was_broken_off_shows_and_begins_anew() {
    let origin = memory();
    fill(&origin);
    // Enough for several batches.
    let mut batch = Batch::new();
    for n in 0..30u8 {
        batch.put(TWO, [200, n], vec![n; 1 << 20]);
    }
    origin.commit(&batch).unwrap();
    let file = backup(&origin);
    let mut store = memory();
    for fails in 0..5 {
        store.fail_commit(fails, Fault::Sync { survives: fails % 2 == 0 });
        assert!(matches!(restored(&file, &store), Err(BackupError::Store(_))), "commit {fails}");
        store = store.crash_image();
        let begun = fails > 0 || !contents(&store).is_empty();
        assert_eq!(is_unfinished(&store, MARK).unwrap(), begun);
    }
    restored(&file, &store).unwrap();
    assert_eq!(contents(&store), portable(&origin));
    assert!(!is_unfinished(&store, MARK).unwrap());
}

#[test]
fn of_two_restores_at_once_one_goes_on() {
    let (file, store) = (small(), memory());
    let other = memory();
    fill(&other);
    let large = backup(&other);
    let mut between = false;
    let outcome = restore(&*large, &target(&store), &mut |_| {
        if !std::mem::replace(&mut between, true) {
            restored(&file, &store).unwrap();
        }
    });
    assert!(matches!(outcome, Err(BackupError::Overtaken)), "{outcome:?}");
    assert_eq!(backup(&store), file);
}

#[test]
fn whoever_begins_to_use_the_store_meanwhile_stops_the_restore() {
    let (file, store) = (small(), memory());
    let outcome = restore(&*file, &target(&store), &mut |_| {
        let mut batch = Batch::new();
        batch.put(ABSENT.0, ABSENT.1, "a node");
        store.commit(&batch).unwrap();
    });
    assert!(matches!(outcome, Err(BackupError::Overtaken)), "{outcome:?}");
}

#[test]
fn a_keyspace_that_nobody_knows_is_refused() {
    let file = small();
    let specs = &KEYSPACES[..1];
    let store = MemoryStore::new(specs).unwrap();
    let target = Target { store: &store, specs, mark: MARK, absent: ABSENT };
    let refused = restore(&*file, &target, &mut |_| ());
    assert!(
        matches!(refused, Err(BackupError::UnknownKeyspace { ref name }) if name == "two"),
        "{refused:?}"
    );
}

/// Writes so much and then no more.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_written_is_told() {
    let store = memory();
    fill(&store);
    let all = |out: &mut dyn std::io::Write| {
        let snapshot = store.snapshot().unwrap();
        write(&*snapshot, KEYSPACES, Vec::new(), &|_, _| false, out)
    };
    let mut file = Vec::new();
    all(&mut file).unwrap();
    let length = file.len();
    all(&mut Full(length)).unwrap();
    for room in [0, 20, length / 2, length - 1] {
        let outcome = all(&mut Full(room));
        assert!(matches!(outcome, Err(BackupError::File(_))), "{room}");
    }
}
