//! The cache under an executor and readers, over many orders of their steps: the file of the cache itself, over locks of which the
//! scheduler of Shuttle decides who has them.
//!
//! What is around it is as in `base.rs` and in the executor, in small: a store of versions; the executor writes to it, puts into the
//! cache, and publishes; a reader takes the published revision, asks the cache, and where that does not know looks into a snapshot
//! and fills the gap. Whatever the order, a reader sees each resource as it was at its revision.

#[path = "../cache/mod.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
// it is there twice on purpose, and not all of it is used here
mod cache;

/// What `cache/mod.rs` takes from `super::sync`.
mod sync {
    /// A lock as that of `parking_lot`, of Shuttle.
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
            self.0.lock().expect("nobody panics with it")
        }
    }
}

use std::collections::BTreeMap;
use std::panic::catch_unwind;

use corollary_schema::TypeIx;
use corollary_value::Id;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use crate::doc::{Doc, Key};
use cache::{Cache, ENTRY_BYTES, Lookup, SHARDS};

/// Orders that are tried of each.
const ORDERS: usize = 3_000;

/// Resources, which mostly share few locks.
const KEYS: u32 = 3;

const COMMITS: u64 = 4;

/// What the executor does; all but the first is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Executor {
    AsItIs,
    /// Readers learn of a revision before the cache does.
    PublishesFirst,
    /// What it forgets for another node's commit is not remembered as forgotten.
    ForgetsThatItForgot,
}

/// Where commits come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// All are put.
    Here,
    /// Only what is known is put: those of an update.
    AnUpdate,
    /// Another node's: what it changed is forgotten.
    Elsewhere,
}

struct World {
    cache: Cache,
    /// By resource: the revisions that changed it.
    store: Mutex<(u64, BTreeMap<u32, Vec<u64>>)>,
    published: AtomicU64,
}

fn key(number: u32) -> Key {
    Key::new(TypeIx(0), Id::parse(&format!("k{number}")).expect("an id"))
}

fn doc(revision: u64) -> std::sync::Arc<Doc> {
    std::sync::Arc::new(Doc { revision, values: Vec::new(), states: Vec::new() })
}

/// Which resource a commit changes.
fn changed(revision: u64) -> u32 {
    (revision % 2) as u32
}

/// The revision of a resource as of another one.
fn at(versions: &[u64], revision: u64) -> Option<u64> {
    versions.iter().rev().find(|version| **version <= revision).copied()
}

impl World {
    fn commit(&self, revision: u64, from: From, executor: Executor) {
        let number = changed(revision);
        {
            let mut store = self.store.lock().expect("nobody panics with it");
            store.0 = revision;
            store.1.entry(number).or_default().push(revision);
        }
        let publish = || self.published.store(revision, Ordering::SeqCst);
        if executor == Executor::PublishesFirst {
            publish();
        }
        match (executor, from) {
            (Executor::ForgetsThatItForgot, _) => self.cache.forget(&key(number), 0),
            (_, From::Here) => self.cache.put(&key(number), Some(doc(revision)), revision),
            (_, From::AnUpdate) => self.cache.put_if_known(&key(number), Some(doc(revision)), revision),
            (_, From::Elsewhere) => self.cache.forget(&key(number), revision),
        }
        publish();
    }

    /// Reads all, as of the published revision.
    fn read(&self) {
        let revision = self.published.load(Ordering::SeqCst);
        for number in 0..KEYS {
            match self.cache.get(&key(number), revision) {
                Lookup::Hit(found) => {
                    let store = self.store.lock().expect("nobody panics with it");
                    let expected = store.1.get(&number).and_then(|versions| at(versions, revision));
                    let found = found.map(|doc| doc.revision);
                    assert_eq!(found, expected, "resource {number} at {revision}");
                }
                // It has changed: who reads begins anew.
                Lookup::Newer => {}
                Lookup::Unknown => {
                    let (snapshot, found) = {
                        let store = self.store.lock().expect("nobody panics with it");
                        (store.0, store.1.get(&number).and_then(|versions| at(versions, store.0)))
                    };
                    thread::yield_now();
                    self.cache.fill(&key(number), found.map(doc), snapshot);
                }
            }
        }
    }
}

fn play(from: From, executor: Executor, entries: usize) {
    let world = Arc::new(World {
        cache: Cache::new(SHARDS * ENTRY_BYTES * entries),
        store: Mutex::default(),
        published: AtomicU64::new(0),
    });
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let world = world.clone();
            thread::spawn(move || (0..3).for_each(|_| world.read()))
        })
        .collect();
    for revision in 1..=COMMITS {
        world.commit(revision, from, executor);
    }
    readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
    world.read();
}

#[test]
fn a_reader_sees_what_was_there_whatever_the_order() {
    for from in [From::Here, From::AnUpdate, From::Elsewhere] {
        // With room for all, for one entry under each lock, and for none.
        for entries in [64, 2, 0] {
            shuttle::check_random(move || play(from, Executor::AsItIs, entries), ORDERS / 9);
            shuttle::check_pct(move || play(from, Executor::AsItIs, entries), ORDERS / 9, 3);
        }
    }
}

/// What is wrong is seen: otherwise the test above would say nothing.
#[test]
fn what_the_executor_does_wrong_is_seen() {
    for executor in [Executor::PublishesFirst, Executor::ForgetsThatItForgot] {
        let seen = catch_unwind(|| shuttle::check_random(move || play(From::Here, executor, 64), ORDERS));
        assert!(seen.is_err(), "{executor:?} is not seen");
    }
}
