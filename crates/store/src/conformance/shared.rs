//! Cases about stores that several processes write to: each anomaly that conditions have to keep away, over two openings of
//! one store.
//!
//! A store that does not declare [`Feature::Shared`] cannot be opened twice, and that is all that is asked of it.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::{ONE, Subject, TWO, get};
use crate::{Batch, Bell, Feature, Store, StoreError};

/// Commits of each writer.
const ROUNDS: u64 = 60;

/// How long a bell may take to ring.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Two that take their turn before they read are hardly ever overtaken: a turn may be lost, but not for nothing.
pub fn who_has_the_turn_is_not_overtaken(subject: &mut dyn Subject) {
    let first = subject.store();
    if !first.features().has(Feature::Turns) {
        let refused = first.turn().map(drop);
        assert!(
            matches!(&refused, Err(StoreError::Unsupported { feature }) if feature == "turns"),
            "{refused:?}"
        );
        return;
    }
    let second = beside(subject).expect("who takes turns has others");
    let add = |store: &dyn Store| {
        let mut overtaken = 0;
        for _ in 0..ROUNDS {
            loop {
                let _turn = store.turn().expect("a turn comes");
                let found = get(store, ONE, b"counter");
                let mut batch = Batch::new();
                batch.put(ONE, "counter", (number(&found) + 1).to_be_bytes());
                batch.require(ONE, "counter", found);
                match store.commit(&batch) {
                    Ok(()) => break,
                    Err(StoreError::Conflict { .. }) => overtaken += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        overtaken
    };
    let overtaken = thread::scope(|scope| {
        let other = scope.spawn(|| add(&*second));
        add(first) + other.join().expect("no panic")
    });
    assert_eq!(number(&get(first, ONE, b"counter")), 2 * ROUNDS);
    assert!(overtaken <= ROUNDS / 10, "overtaken {overtaken} times");
}

/// A turn is over with a commit of who has it, be it a refused one, or without any; then others commit, and so does who had
/// it. Meanwhile those who only commit wait.
pub fn a_turn_ends_with_a_commit_or_without(subject: &mut dyn Subject) {
    if !subject.store().features().has(Feature::Turns) {
        return;
    }
    let second = beside(subject).expect("who takes turns has others");
    let first = subject.store();
    let put = |store: &dyn Store, value: &str, expected: Option<&str>| {
        let mut batch = Batch::new();
        batch.put(ONE, "k", value);
        if let Some(expected) = expected {
            batch.require(ONE, "k", Some(expected.into()));
        }
        store.commit(&batch)
    };
    put(first, "0", None).expect("a commit succeeds");
    thread::scope(|scope| {
        let turn = first.turn().expect("a turn comes");
        let (comes, came) = channel();
        let second = &second;
        let other = scope.spawn(move || {
            comes.send(()).expect("it is waited for");
            put(&**second, "2", None)
        });
        came.recv().expect("it comes");
        // Long enough for a commit that does not wait; too short, and the case says less.
        thread::sleep(Duration::from_millis(100));
        put(first, "1", Some("0")).expect("nobody has overtaken it");
        other.join().expect("no panic").expect("its turn came");
        assert_eq!(get(first, ONE, b"k").as_deref(), Some(&b"2"[..]));
        // It has nothing to end any more.
        drop(turn);
    });
    let turn = first.turn().expect("a turn comes");
    let refused = put(first, "3", Some("another"));
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    put(&*second, "4", Some("2")).expect("the turn was over");
    put(first, "5", Some("4")).expect("who had it commits without");
    drop(turn);
    drop(first.turn().expect("a turn comes"));
    put(&*second, "6", Some("5")).expect("the turn was over");
    // An old one does not end a new one.
    let old = first.turn().expect("a turn comes");
    put(first, "7", None).expect("a commit succeeds");
    let new = first.turn().expect("a turn comes");
    drop(old);
    put(first, "8", Some("7")).expect("it has its turn");
    drop(new);
    assert_eq!(get(&*second, ONE, b"k").as_deref(), Some(&b"8"[..]));
}

/// What is read along with a turn is as the commits before have left it, also of other openings, and conditions on it hold until the
/// commit; those on other keys are looked up. So is what is read along with a snapshot.
pub fn what_is_read_with_a_turn_is_what_its_commit_goes_by(subject: &mut dyn Subject) {
    if !subject.store().features().has(Feature::Turns) {
        return;
    }
    let second = beside(subject).expect("who takes turns has others");
    let first = subject.store();
    let long = [b'l'; 3_000];
    let put = |store: &dyn Store, key: &[u8], value: &str, required: &[(&[u8], Option<&str>)]| {
        let mut batch = Batch::new();
        batch.put(ONE, key, value);
        for (key, expected) in required {
            batch.require(ONE, *key, expected.map(Into::into));
        }
        store.commit(&batch)
    };
    let value = |text: &str| Some(text.as_bytes().to_vec());
    put(first, b"a", "1", &[]).expect("a commit succeeds");
    put(&*second, b"a", "2", &[]).expect("a commit succeeds");
    put(&*second, &long, "3", &[]).expect("a commit succeeds");
    let keys: [&[u8]; 4] = [b"a", b"none", &long, b"a"];
    let all = [value("2"), None, value("3"), value("2")];
    let (turn, seen) = first.turn_and_get(ONE, &keys).expect("a turn comes");
    assert_eq!(seen, all);
    put(first, b"a", "4", &[(b"a", Some("2")), (b"none", None), (&long, Some("3")), (b"unseen", None)])
        .expect("nobody has overtaken it");
    drop(turn);
    put(&*second, b"a", "5", &[(b"a", Some("4"))]).expect("the turn was over");
    // What does not hold is refused, whether it was read or not; none of it is there.
    for required in [(&b"a"[..], Some("4")), (b"none", Some("4")), (b"unseen", Some("4"))] {
        let (turn, seen) = first.turn_and_get(ONE, &[b"a", b"none"]).expect("a turn comes");
        assert_eq!(seen, [value("5"), None]);
        let refused = put(first, b"a", "6", &[(b"a", Some("5")), required]);
        assert!(
            matches!(&refused, Err(StoreError::Conflict { condition: 1, key, .. }) if key == required.0),
            "{refused:?}"
        );
        drop(turn);
    }
    let (snapshot, seen) = first.snapshot_and_get(ONE, &keys).expect("a snapshot");
    put(&*second, b"a", "7", &[]).expect("a commit succeeds");
    assert_eq!(seen, [value("5"), None, value("3"), value("5")]);
    assert_eq!(snapshot.get(ONE, b"a").expect("a read"), value("5"));
    let (snapshot, seen) = first.snapshot_and_get(ONE, &[]).expect("a snapshot");
    assert!(seen.is_empty());
    assert_eq!(snapshot.get(ONE, b"a").expect("a read"), value("7"));
}

/// A bell rings when it is hung up and for each commit of another opening, which can be seen then, and not for its own.
pub fn a_bell_rings_for_the_commits_of_others(subject: &mut dyn Subject) {
    let (ring, rings) = channel();
    let bell: Bell = Arc::new(move || {
        // It may ring once more when this is over.
        let _ = ring.send(());
    });
    let first = subject.store();
    if !first.features().has(Feature::Notify) {
        let refused = first.listen(&bell);
        assert!(
            matches!(&refused, Err(StoreError::Unsupported { feature }) if feature == "notify"),
            "{refused:?}"
        );
        return;
    }
    let second = beside(subject).expect("who tells of the commits of others has others");
    first.listen(&bell).expect("it listens");
    rings.recv_timeout(PATIENCE).expect("it rings at first");
    let put = |store: &dyn Store, n: u64| {
        let mut batch = Batch::new();
        batch.put(ONE, "n", n.to_be_bytes());
        store.commit(&batch).expect("a commit succeeds");
    };
    for n in 0..ROUNDS {
        put(first, 1_000 + n);
        put(&*second, n);
        rings.recv_timeout(PATIENCE).expect("it rings");
        assert_eq!(number(&get(first, ONE, b"n")), n);
    }
    // Of what is refused nothing is told.
    let mut batch = Batch::new();
    batch.require(ONE, "absent", Some(Vec::new()));
    batch.put(ONE, "n", "");
    assert!(matches!(second.commit(&batch), Err(StoreError::Conflict { .. })));
    put(&*second, 7);
    rings.recv_timeout(PATIENCE).expect("it rings");
    assert_eq!(
        rings.try_iter().count(),
        0,
        "one ring for each commit of the other one, and none for its own"
    );
}
