//! What is read of disks and of files: it was written by a server, and may be damaged.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use corollary_engine::{Doc, keys, log as entries};
use corollary_server::backup as backups;
use corollary_store::{
    Batch, Direction, EmbeddedOptions, EmbeddedStore, KeyRange, MemoryStore, Snapshot, Store,
};
use corollary_value::{SumState, codec};
use tempfile::TempDir;

use super::{outcome, schema, with_engine};

/// A value, and the state of a sum: what can be read can be written and read again.
pub fn value(input: &[u8]) -> u64 {
    let mut rest = input;
    let value = codec::decode(&mut rest);
    if let Ok(value) = &value {
        let mut bytes = Vec::new();
        codec::encode(value, &mut bytes);
        let again = codec::decode(&mut &bytes[..]).expect("what was written");
        assert!(corollary_value::compare(&again, value).is_eq());
    }
    let mut rest = input;
    let state = SumState::decode(&mut rest);
    if let Ok(state) = &state {
        let mut bytes = Vec::new();
        state.encode(&mut bytes);
        assert!(SumState::decode(&mut &bytes[..]).is_ok());
    }
    outcome((value.as_ref().map(std::mem::discriminant).ok(), state.is_ok(), rest.len()))
}

/// A document: what can be read can be written and read again.
pub fn document(input: &[u8]) -> u64 {
    let (_, ty) = schema();
    with_engine(|executor| {
        let layout = &executor.engine().layouts()[ty.0 as usize];
        let doc = layout.decode(input);
        if let Ok(doc) = &doc {
            let mut bytes = Vec::new();
            layout.encode(doc, &mut bytes);
            assert!(layout.decode(&bytes).is_ok());
        }
        outcome(doc.map(|doc: Doc| doc.values.iter().map(std::mem::discriminant).collect::<Vec<_>>()).ok())
    })
}

/// An entry of the log.
pub fn log(input: &[u8]) -> u64 {
    with_engine(|executor| {
        let engine = executor.engine();
        let commit = entries::decode(engine.schema(), engine.layouts(), 7, input);
        outcome(commit.map(|commit| (commit.changes.len(), commit.actor.is_some())).ok())
    })
}

/// A backup, into an empty store: what is refused leaves one that says that it is unfinished, or none.
pub fn backup(input: &[u8]) -> u64 {
    let store = MemoryStore::new(&keys::KEYSPACES).expect("a store");
    match backups::restore(input, &store, &mut |_| {}) {
        Ok(summary) => {
            assert_eq!(backups::is_unfinished(&store).ok(), Some(false));
            outcome(summary.entries())
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_ne!(
                backups::has_data(&store).ok().zip(backups::is_unfinished(&store).ok()),
                Some((true, false))
            );
            outcome(std::mem::discriminant(&error))
        }
    }
}

/// The options of the folder: small files.
fn options() -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 1 << 16, ..EmbeddedOptions::default() }
}

/// A folder as a server that was killed left it: some in the database, some in the journal alone.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let made = || {
        let (live, left) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
        let commit = |store: &EmbeddedStore, number: u32| {
            let mut batch = Batch::new();
            for spec in keys::KEYSPACES {
                batch.put(spec.keyspace, number.to_be_bytes(), vec![number as u8; 9]);
            }
            store.commit(&batch).expect("a commit");
        };
        let store = EmbeddedStore::open(live.path(), &keys::KEYSPACES, options()).expect("a store");
        (0..20).for_each(|number| commit(&store, number));
        drop(store);
        let store = EmbeddedStore::open(live.path(), &keys::KEYSPACES, options()).expect("a store");
        (20..40).for_each(|number| commit(&store, number));
        copy(live.path(), left.path());
        drop(store);
        left
    };
    TEMPLATE.get_or_init(made).path()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let path = to.join(file.strip_prefix(from).expect("it is below"));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::copy(&file, path).expect("a copy");
    }
}

/// Damages of the files of a data folder, 6 bytes each: which file, where (as a part of it), what is written there, and how often;
/// or where it ends. It opens with what it has, or says why not.
pub fn folder(input: &[u8]) -> u64 {
    let place = TempDir::new().expect("a folder");
    copy(template(), place.path());
    let all = files(place.path());
    for damage in input.chunks_exact(6).take(16) {
        let path = &all[damage[0] as usize % all.len()];
        let mut bytes = std::fs::read(path).expect("a file");
        let at = usize::from(u16::from_be_bytes([damage[1], damage[2]])) * bytes.len() / (1 << 16);
        if damage[5] == 255 {
            bytes.truncate(at);
        } else {
            let end = (at + 1 + usize::from(damage[5])).min(bytes.len());
            bytes[at..end]
                .iter_mut()
                .for_each(|byte| *byte = if damage[4] & 1 == 0 { damage[3] } else { !*byte });
        }
        std::fs::write(path, bytes).expect("a file");
    }
    let store = match EmbeddedStore::open(place.path(), &keys::KEYSPACES, options()) {
        Ok(store) => store,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return outcome(std::mem::discriminant(&error));
        }
    };
    let read = |snapshot: &dyn Snapshot| {
        keys::KEYSPACES.map(|spec| {
            let mut rows = 0u32;
            let each = &mut |_: &[u8], _: &[u8]| {
                rows += 1;
                std::ops::ControlFlow::Continue(())
            };
            let scanned =
                snapshot.scan(spec.keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, each);
            scanned.is_ok().then_some(rows)
        })
    };
    outcome(store.snapshot().map(|snapshot| read(&*snapshot)).ok())
}
