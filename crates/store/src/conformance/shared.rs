//! Cases about stores that several processes write to: each anomaly that conditions have to keep away, over two openings of
//! one store.
//!
//! A store that does not declare [`Feature::Shared`] cannot be opened twice, and that is all that is asked of it.

use std::thread;

use super::{ONE, Subject, TWO, get};
use crate::{Batch, Feature, Store, StoreError};

/// Commits of each writer.
const ROUNDS: u64 = 60;

/// The second opening, where there has to be one.
fn beside(subject: &dyn Subject) -> Option<Box<dyn Store>> {
    let beside = subject.beside();
    assert_eq!(beside.is_some(), subject.store().features().has(Feature::Shared));
    beside
}

fn number(value: &Option<Vec<u8>>) -> u64 {
    value
        .as_ref()
        .map_or(0, |bytes| u64::from_be_bytes(bytes.as_slice().try_into().expect("eight bytes were written")))
}

/// Commits that are made until they meet no conflict.
fn insist(store: &dyn Store, mut make: impl FnMut(&dyn Store) -> Batch) {
    while let Err(error) = store.commit(&make(store)) {
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
}

/// Lost update: two that read, change and write back one value under a condition.
pub fn writers_beside_each_other_lose_nothing(subject: &mut dyn Subject) {
    let Some(second) = beside(subject) else { return };
    let add = |store: &dyn Store| {
        for _ in 0..ROUNDS {
            insist(store, |store| {
                let found = get(store, ONE, b"counter");
                let mut batch = Batch::new();
                batch.put(ONE, "counter", (number(&found) + 1).to_be_bytes());
                batch.require(ONE, "counter", found);
                batch
            });
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| add(&*second));
        add(subject.store());
    });
    assert_eq!(number(&get(subject.store(), ONE, b"counter")), 2 * ROUNDS);
}

/// Write skew: each of two requires what the other changes, and changes something else.
pub fn of_two_that_rely_on_each_other_one_commits(subject: &mut dyn Subject) {
    let Some(second) = beside(subject) else { return };
    for round in 0..ROUNDS {
        let key = |name: &str| format!("{name}{round}");
        let go_off = |store: &dyn Store, name: &str| {
            let mut batch = Batch::new();
            batch.require(ONE, key("a"), None);
            batch.require(ONE, key("b"), None);
            batch.put(ONE, key(name), "off");
            store.commit(&batch)
        };
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(|| go_off(&*second, "b"));
            (go_off(subject.store(), "a"), other.join().expect("no panic"))
        });
        assert!(one.is_ok() != other.is_ok(), "round {round}: {one:?} and {other:?}");
    }
}

/// Phantom: what two require not to be there, and both put.
pub fn what_must_not_be_there_comes_once(subject: &mut dyn Subject) {
    let Some(second) = beside(subject) else { return };
    for round in 0..ROUNDS {
        // A long key is looked for in another way.
        let key = if round % 2 == 0 { vec![7; 8_000 + round as usize] } else { vec![round as u8] };
        let claim = |store: &dyn Store, who: &str| {
            let mut batch = Batch::new();
            batch.require(TWO, key.clone(), None);
            batch.put(TWO, key.clone(), who);
            store.commit(&batch)
        };
        let (one, other) = thread::scope(|scope| {
            let other = scope.spawn(|| claim(&*second, "other"));
            (claim(subject.store(), "one"), other.join().expect("no panic"))
        });
        let won = if one.is_ok() { "one" } else { "other" };
        assert!(one.is_ok() != other.is_ok(), "round {round}: {one:?} and {other:?}");
        assert_eq!(get(&*second, TWO, &key).as_deref(), Some(won.as_bytes()));
    }
}

/// A reader sees all of a commit of another process or nothing, never less than before, and all that was told as done.
pub fn readers_beside_writers_see_whole_commits_in_order(subject: &mut dyn Subject) {
    let Some(second) = beside(subject) else { return };
    let first = subject.store();
    let write = |store: &dyn Store| {
        for _ in 0..ROUNDS {
            let mut told = 0;
            insist(store, |store| {
                let found = get(store, ONE, b"n");
                told = number(&found) + 1;
                let mut batch = Batch::new();
                batch.require(ONE, "n", found);
                for (keyspace, key) in [(ONE, "n"), (TWO, "n"), (TWO, "m")] {
                    batch.put(keyspace, key, told.to_be_bytes());
                }
                batch
            });
            assert!(number(&get(&*second, TWO, b"m")) >= told && number(&get(first, TWO, b"m")) >= told);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| write(&*second));
        scope.spawn(|| write(first));
        let mut last = 0;
        while last < 2 * ROUNDS {
            let snapshot = second.snapshot().expect("a snapshot opens");
            let seen = [(ONE, "n"), (TWO, "n"), (TWO, "m")].map(|(keyspace, key)| {
                number(&snapshot.get(keyspace, key.as_bytes()).expect("a get succeeds"))
            });
            assert!(seen[0] >= last && seen.iter().all(|n| *n == seen[0]), "{seen:?} after {last}");
            last = seen[0];
        }
    });
}
