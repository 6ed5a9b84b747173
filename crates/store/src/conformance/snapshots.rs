//! Cases about snapshots: what they see, and what they must not.
//!
//! Read next: [`Store::snapshot`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{ONE, Subject, TWO, get, scan};
use crate::{Batch, Direction, KeyRange, Snapshot, Store};

fn put(store: &dyn Store, key: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(ONE, key, value);
    store.commit(&batch).expect("a put commits");
}

/// A snapshot that has not read anything yet is pinned all the same.
pub fn a_snapshot_sees_no_later_commit(subject: &mut dyn Subject) {
    let store = subject.store();
    put(store, "a", "old");
    put(store, "b", "old");
    let snapshot = store.snapshot().expect("a snapshot opens");
    let mut batch = Batch::new();
    batch.put(ONE, "a", "new");
    batch.delete(ONE, "b");
    batch.put(ONE, "c", "new");
    batch.put(TWO, "d", "new");
    store.commit(&batch).expect("the batch commits");
    for _ in 0..2 {
        let values = snapshot.get_many(ONE, &[b"a", b"b", b"c"]).expect("a batched get succeeds");
        assert_eq!(values, [Some(b"old".to_vec()), Some(b"old".to_vec()), None]);
        assert_eq!(scan(&*snapshot, ONE, &KeyRange::all(), Direction::Backward, usize::MAX).len(), 2);
        assert_eq!(scan(&*snapshot, TWO, &KeyRange::all(), Direction::Forward, usize::MAX).len(), 0);
    }
    assert_eq!(get(store, ONE, b"a"), Some(b"new".to_vec()), "a new snapshot sees the commit");
    assert_eq!(get(store, ONE, b"b"), None);
}

/// Many snapshots, each of its own moment, read in any order and dropped in any order.
pub fn snapshots_of_several_moments(subject: &mut dyn Subject) {
    const MOMENTS: usize = 12;
    let store = subject.store();
    let mut snapshots: Vec<(usize, Box<dyn Snapshot>)> = Vec::new();
    for moment in 0..MOMENTS {
        put(store, "now", &moment.to_string());
        put(store, &format!("moment {moment:02}"), "was");
        snapshots.push((moment, store.snapshot().expect("a snapshot opens")));
    }
    while !snapshots.is_empty() {
        for (moment, snapshot) in &snapshots {
            let now = snapshot.get(ONE, b"now").expect("a get succeeds");
            assert_eq!(now, Some(moment.to_string().into_bytes()));
            let seen = scan(&**snapshot, ONE, &KeyRange::prefix("moment"), Direction::Forward, usize::MAX);
            assert_eq!(seen.len(), moment + 1);
        }
        snapshots.swap_remove(snapshots.len() / 3);
        put(store, "now", "later");
    }
    assert_eq!(store.stats().expect("there are statistics").open_snapshots, 0);
}

/// A snapshot can be taken on one thread, read on another and dropped on a third.
pub fn a_snapshot_moves_between_threads(subject: &mut dyn Subject) {
    let store = subject.store();
    put(store, "a", "1");
    let snapshot = store.snapshot().expect("a snapshot opens");
    let read = move || {
        let value = snapshot.get(ONE, b"a").expect("a get succeeds");
        (value, snapshot)
    };
    let (value, snapshot) = thread::spawn(read).join().expect("the reader does not panic");
    assert_eq!(value, Some(b"1".to_vec()));
    thread::spawn(move || drop(snapshot)).join().expect("dropping does not panic");
    put(store, "a", "2");
    assert_eq!(get(store, ONE, b"a"), Some(b"2".to_vec()));
}

/// While one writer moves amounts between accounts in two keyspaces, readers always find the same total, and a
/// snapshot gives the same answer twice.
pub fn readers_never_see_half_a_commit(subject: &mut dyn Subject) {
    const ACCOUNTS: u32 = 16;
    const MOVES: u32 = 150;
    const READERS: usize = 3;
    let store = subject.store();
    let amounts = |snapshot: &dyn Snapshot, keyspace| -> Vec<u32> {
        let accounts = scan(snapshot, keyspace, &KeyRange::all(), Direction::Forward, usize::MAX);
        let amount = |bytes: Vec<u8>| u32::from_be_bytes(bytes.try_into().expect("four bytes were written"));
        accounts.into_iter().map(|(_, value)| amount(value)).collect()
    };
    let mut batch = Batch::new();
    for account in 0..ACCOUNTS {
        batch.put(ONE, account.to_be_bytes(), 1_000u32.to_be_bytes());
        batch.put(TWO, account.to_be_bytes(), 1_000u32.to_be_bytes());
    }
    store.commit(&batch).expect("puts commit");
    let done = AtomicBool::new(false);
    let total = 2 * ACCOUNTS * 1_000;
    let read = || {
        let mut reads = 0;
        // At least once after the writer is done.
        loop {
            let last = done.load(Ordering::Acquire);
            let snapshot = store.snapshot().expect("a snapshot opens");
            let (one, two) = (amounts(&*snapshot, ONE), amounts(&*snapshot, TWO));
            assert_eq!(one.iter().chain(&two).sum::<u32>(), total);
            assert_eq!(amounts(&*snapshot, ONE), one);
            reads += 1;
            if last {
                return reads;
            }
        }
    };
    let reads: Vec<u32> = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        for step in 0..MOVES {
            let (from, to) = ((step % ACCOUNTS).to_be_bytes(), (step * 7 % ACCOUNTS).to_be_bytes());
            let snapshot = store.snapshot().expect("a snapshot opens");
            let amount = |keyspace, key: [u8; 4]| {
                let value =
                    snapshot.get(keyspace, &key).expect("a get succeeds").expect("the account exists");
                u32::from_be_bytes(value.try_into().expect("four bytes were written"))
            };
            let mut batch = Batch::new();
            batch.put(ONE, from, (amount(ONE, from) - 1).to_be_bytes());
            batch.put(TWO, to, (amount(TWO, to) + 1).to_be_bytes());
            drop(snapshot);
            store.commit(&batch).expect("a move commits");
        }
        done.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect()
    });
    assert!(reads.iter().all(|reads| *reads > 0));
    let snapshot = store.snapshot().expect("a snapshot opens");
    assert_eq!(amounts(&*snapshot, ONE).iter().sum::<u32>(), ACCOUNTS * 1_000 - MOVES);
}
