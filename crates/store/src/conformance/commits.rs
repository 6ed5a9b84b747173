//! Cases about commits: atomicity, conditions, the order of writes, limits, durability.
//!
//! Read next: [`batch`](crate::batch), which says what they hold a backend to.

use std::ops::Bound;
use std::thread;

use super::{KEYSPACES, ONE, Subject, TWO, contents, entries, get};
use crate::limits::MAX_KEY_BYTES;
use crate::{Batch, Feature, KeyRange, Keyspace, Store, StoreError};

fn commit(store: &dyn Store, fill: impl FnOnce(&mut Batch)) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(&batch)
}

/// A batch without writes succeeds, and so does one that only asks.
pub fn an_empty_batch_changes_nothing(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |_| {}).expect("an empty batch commits");
    commit(store, |batch| batch.put(ONE, "a", "1")).expect("a put commits");
    commit(store, |batch| batch.require(ONE, "a", Some(b"1".to_vec()))).expect("the condition holds");
    let refused = commit(store, |batch| batch.require(ONE, "a", None));
    assert!(matches!(refused, Err(StoreError::Conflict { condition: 0, .. })), "{refused:?}");
    assert_eq!(contents(store, ONE), entries([("a", "1")]));
}

/// A condition that fails keeps every write from happening, in every keyspace, wherever it stands.
pub fn a_batch_is_all_or_nothing(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| {
        batch.put(ONE, "a", "1");
        batch.put(TWO, "b", "2");
    })
    .expect("puts commit");
    let refused = commit(store, |batch| {
        batch.require(ONE, "a", Some(b"1".to_vec()));
        batch.put(ONE, "a", "changed");
        batch.put(ONE, "new", "x");
        batch.delete(TWO, "b");
        batch.delete_range(ONE, KeyRange::all());
        batch.require(TWO, "b", Some(b"other".to_vec()));
    });
    assert_eq!(refused, Err(StoreError::Conflict { condition: 1, keyspace: TWO, key: b"b".to_vec() }));
    assert_eq!(contents(store, ONE), entries([("a", "1")]));
    assert_eq!(contents(store, TWO), entries([("b", "2")]));
    commit(store, |batch| batch.put(ONE, "a", "2")).expect("a refused batch leaves the store usable");
}

/// A condition holds for exactly the expected value: an empty value is not absence, a prefix is not the value.
pub fn conditions_compare_exactly(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| {
        batch.put(ONE, "full", "value");
        batch.put(ONE, "empty", "");
    })
    .expect("puts commit");
    let cases: [(&str, Option<&str>, bool); 9] = [
        ("full", Some("value"), true),
        ("full", Some("valu"), false),
        ("full", Some("value "), false),
        ("full", Some(""), false),
        ("full", None, false),
        ("empty", Some(""), true),
        ("empty", None, false),
        ("absent", None, true),
        ("absent", Some(""), false),
    ];
    for (key, expected, holds) in cases {
        let result =
            commit(store, |batch| batch.require(ONE, key, expected.map(|value| value.as_bytes().to_vec())));
        if holds {
            assert_eq!(result, Ok(()), "{key} is {expected:?}");
        } else {
            let conflict = StoreError::Conflict { condition: 0, keyspace: ONE, key: key.into() };
            assert_eq!(result, Err(conflict), "{key} is not {expected:?}");
        }
    }
}

/// Conditions do not see the writes of their own batch, on whichever side of them they were added.
pub fn conditions_see_the_state_before_the_batch(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| {
        batch.put(ONE, "a", "1");
        batch.require(ONE, "a", None);
    })
    .expect("the key was absent before the batch");
    let refused = commit(store, |batch| {
        batch.put(ONE, "a", "2");
        batch.require(ONE, "a", Some(b"2".to_vec()));
    });
    assert!(matches!(refused, Err(StoreError::Conflict { .. })));
    assert_eq!(contents(store, ONE), entries([("a", "1")]));
}

/// Of several writes of one key, the last counts.
pub fn the_last_write_of_a_key_wins(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| {
        batch.put(ONE, "put twice", "1");
        batch.put(ONE, "deleted", "1");
        batch.delete(ONE, "put");
        batch.put(ONE, "put twice", "2");
        batch.delete(ONE, "deleted");
        batch.put(ONE, "put", "3");
        batch.delete(ONE, "never there");
    })
    .expect("the batch commits");
    assert_eq!(contents(store, ONE), entries([("put", "3"), ("put twice", "2")]));
}

/// A range deletes what was put before it, in earlier batches and in its own, and nothing that is put after it.
pub fn ranges_and_points_keep_their_order(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| {
        for key in ["a", "b", "c", "d"] {
            batch.put(ONE, key, "old");
        }
    })
    .expect("puts commit");
    commit(store, |batch| {
        batch.put(ONE, "b2", "before");
        batch.put(ONE, "c", "before");
        batch.put(ONE, "e", "outside");
        batch.delete_range(ONE, KeyRange::between("b", "d"));
        batch.put(ONE, "c", "after");
        batch.put(ONE, "c2", "between two ranges");
        batch.delete_range(ONE, KeyRange::from("c2"));
        batch.put(ONE, "d", "last");
    })
    .expect("the batch commits");
    assert_eq!(contents(store, ONE), entries([("a", "old"), ("c", "after"), ("d", "last")]));
}

/// Every pair of bounds deletes exactly the keys that it holds, an empty range none.
pub fn delete_range_takes_every_kind_of_bound(subject: &mut dyn Subject) {
    let store = subject.store();
    let keys: Vec<Vec<u8>> =
        vec![vec![], vec![0], vec![1], vec![1, 0], vec![2], vec![0xff], vec![0xff, 0xff]];
    let kinds = |key: &[u8]| [Bound::Included(key.to_vec()), Bound::Excluded(key.to_vec()), Bound::Unbounded];
    for from in kinds(&[1]) {
        for to in kinds(&[0xff]).into_iter().chain(kinds(&[0])) {
            let range = KeyRange::new(from.clone(), to);
            commit(store, |batch| {
                for key in &keys {
                    batch.put(ONE, key.clone(), "v");
                    batch.put(TWO, key.clone(), "v");
                }
            })
            .expect("puts commit");
            commit(store, |batch| batch.delete_range(ONE, range.clone())).expect("a range is deleted");
            let left: Vec<Vec<u8>> = contents(store, ONE).into_iter().map(|(key, _)| key).collect();
            let expected: Vec<Vec<u8>> = keys.iter().filter(|key| !range.contains(key)).cloned().collect();
            assert_eq!(left, expected, "{range:?}");
            assert_eq!(contents(store, TWO).len(), keys.len(), "{range:?} of the other keyspace");
        }
    }
}

/// The same key in two keyspaces is two keys.
pub fn keyspaces_are_separate(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| {
        batch.put(ONE, "k", "1");
        batch.put(TWO, "k", "2");
    })
    .expect("puts commit");
    commit(store, |batch| batch.delete(ONE, "k")).expect("a delete commits");
    assert_eq!((get(store, ONE, b"k"), get(store, TWO, b"k")), (None, Some(b"2".to_vec())));
}

/// Past a limit nothing is written, and the store goes on.
pub fn what_is_past_a_limit_is_refused(subject: &mut dyn Subject) {
    let store = subject.store();
    let too_long = vec![7; MAX_KEY_BYTES + 1];
    let fills: [&dyn Fn(&mut Batch); 4] = [
        &|batch| batch.put(ONE, too_long.clone(), "v"),
        &|batch| batch.delete(ONE, too_long.clone()),
        &|batch| batch.delete_range(ONE, KeyRange::from(too_long.clone())),
        &|batch| batch.require(ONE, too_long.clone(), None),
    ];
    for fill in fills {
        let refused = commit(store, |batch| {
            batch.put(ONE, "short", "v");
            fill(batch);
        });
        let (bytes, limit) = (MAX_KEY_BYTES + 1, MAX_KEY_BYTES);
        assert_eq!(refused, Err(StoreError::TooLarge { what: "key", bytes, limit }));
    }
    let unknown = Keyspace(u8::try_from(KEYSPACES.len()).expect("there are few"));
    let refused = commit(store, |batch| {
        batch.put(ONE, "short", "v");
        batch.put(unknown, "k", "v");
    });
    assert_eq!(refused, Err(StoreError::UnknownKeyspace { keyspace: unknown }));
    assert_eq!(contents(store, ONE), entries([]));
    commit(store, |batch| batch.put(ONE, "short", "v")).expect("a refusal leaves the store usable");
}

/// Writers that read, change and write back under a condition, and try again on conflict, lose nothing.
pub fn conditions_prevent_lost_updates(subject: &mut dyn Subject) {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 25;
    let store = subject.store();
    let number = |value: &Option<Vec<u8>>| match value {
        Some(bytes) => u64::from_be_bytes(bytes.as_slice().try_into().expect("eight bytes were written")),
        None => 0,
    };
    let add_one = || {
        let found = get(store, ONE, b"counter");
        let next = number(&found) + 1;
        commit(store, |batch| {
            batch.require(ONE, "counter", found);
            batch.put(ONE, "counter", next.to_be_bytes());
        })
    };
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    while let Err(error) = add_one() {
                        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
                    }
                }
            });
        }
    });
    assert_eq!(number(&get(store, ONE, b"counter")), WRITERS * ROUNDS);
}

/// The counts in the statistics are those of this store's commits and conflicts.
pub fn commits_and_conflicts_are_counted(subject: &mut dyn Subject) {
    let store = subject.store();
    commit(store, |batch| batch.put(ONE, "a", vec![1; 10_000])).expect("a put commits");
    commit(store, |batch| batch.put(ONE, "b", "2")).expect("a put commits");
    commit(store, |batch| batch.require(ONE, "a", None)).expect_err("the condition does not hold");
    let snapshot = store.snapshot().expect("a snapshot opens");
    let stats = store.stats().expect("there are statistics");
    assert_eq!((stats.commits, stats.conflicts, stats.open_snapshots), (2, 1, 1));
    assert!(stats.data_bytes + stats.log_bytes >= 10_000, "{stats:?}");
    drop(snapshot);
    assert_eq!(store.stats().expect("there are statistics").open_snapshots, 0);
}

/// What was committed is there after the store is closed and opened, unless the store says that it is not durable.
pub fn commits_outlive_a_restart(subject: &mut dyn Subject) {
    let durable = subject.store().features().has(Feature::Durable);
    for round in ["1", "2", "3"] {
        commit(subject.store(), |batch| {
            batch.put(ONE, "last", round);
            batch.put(TWO, round, [0, 0xff]);
            batch.delete(TWO, "2");
        })
        .expect("the batch commits");
        let before = (contents(subject.store(), ONE), contents(subject.store(), TWO));
        assert_eq!(subject.reopen(), durable, "a durable store can be opened again, another cannot");
        assert_eq!((contents(subject.store(), ONE), contents(subject.store(), TWO)), before);
    }
}
