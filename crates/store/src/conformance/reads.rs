//! Cases about reading: scans, gets, and the extremes of keys and values.
//!
//! Read next: [`Snapshot`](crate::Snapshot), which says what they hold a backend to.

use std::ops::{Bound, ControlFlow};

use super::{KEYSPACES, ONE, Subject, TWO, get, scan};
use crate::limits::MAX_KEY_BYTES;
use crate::{Batch, Direction, KeyRange, Keyspace, Store, StoreError};

fn fill(store: &dyn Store, entries: &[(Vec<u8>, Vec<u8>)]) {
    let mut batch = Batch::new();
    for (key, value) in entries {
        batch.put(ONE, key.clone(), value.clone());
    }
    // Neighbours in the other keyspace, which no scan of the first may see.
    batch.put(TWO, [], "x");
    batch.put(TWO, [1], "x");
    batch.put(TWO, [0xff, 0xff, 0xff], "x");
    store.commit(&batch).expect("puts commit");
}

/// Keys around every special case of the order: empty, zero bytes, 0xff bytes, prefixes of each other.
fn awkward_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        &[][..],
        &[0],
        &[0, 0],
        &[0, 1],
        &[0, 0xff],
        &[1],
        &[0x7f],
        &[0x80],
        &[0xff],
        &[0xff, 0],
        &[0xff, 0xff],
        b"a",
        b"aa",
        b"ab",
    ]
    .iter()
    .map(|key| key.to_vec())
    .collect();
    keys.sort();
    keys
}

/// Every pair of bounds, in both directions, with several limits, gives what filtering the sorted entries gives.
pub fn scans_are_ordered_and_bounded(subject: &mut dyn Subject) {
    let store = subject.store();
    let entries: Vec<_> =
        awkward_keys().into_iter().map(|key| (key.clone(), [b"v", &key[..]].concat())).collect();
    fill(store, &entries);
    let mut bounds = vec![Bound::Unbounded];
    // Bounds on keys, and between them.
    for key in awkward_keys().into_iter().chain([vec![0, 0, 0], vec![0x81], vec![0xff, 0xff, 0xff]]) {
        bounds.extend([Bound::Included(key.clone()), Bound::Excluded(key)]);
    }
    let snapshot = store.snapshot().expect("a snapshot opens");
    for from in &bounds {
        for to in &bounds {
            let range = KeyRange::new(from.clone(), to.clone());
            let inside: Vec<_> = entries.iter().filter(|(key, _)| range.contains(key)).cloned().collect();
            for limit in [0, 1, 2, inside.len(), usize::MAX] {
                let found = scan(&*snapshot, ONE, &range, Direction::Forward, limit);
                let expected: Vec<_> = inside.iter().take(limit).cloned().collect();
                assert_eq!(found, expected, "{range:?}, {limit}");
                let found = scan(&*snapshot, ONE, &range, Direction::Backward, limit);
                let expected: Vec<_> = inside.iter().rev().take(limit).cloned().collect();
                assert_eq!(found, expected, "{range:?} backward, {limit}");
            }
        }
    }
}

/// A visitor that breaks is not called again, and the snapshot goes on.
pub fn scans_stop_when_told(subject: &mut dyn Subject) {
    let store = subject.store();
    fill(store, &awkward_keys().into_iter().map(|key| (key, b"v".to_vec())).collect::<Vec<_>>());
    let snapshot = store.snapshot().expect("a snapshot opens");
    for direction in [Direction::Forward, Direction::Backward] {
        for stop_after in [1, 3] {
            let mut calls = 0;
            let mut visit = |_: &[u8], _: &[u8]| {
                calls += 1;
                if calls == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            snapshot.scan(ONE, &KeyRange::all(), direction, usize::MAX, &mut visit).expect("a scan succeeds");
            assert_eq!(calls, stop_after);
            let mut calls = 0;
            let mut visit = |_: &[u8]| {
                calls += 1;
                if calls == stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            snapshot.scan_keys(ONE, &KeyRange::all(), direction, &mut visit).expect("a scan succeeds");
            assert_eq!(calls, stop_after);
        }
    }
    assert_eq!(
        scan(&*snapshot, ONE, &KeyRange::all(), Direction::Forward, usize::MAX).len(),
        awkward_keys().len()
    );
}

/// A visitor can get and scan on the snapshot that is being scanned, the same range included.
pub fn a_visitor_may_read(subject: &mut dyn Subject) {
    let store = subject.store();
    let entries: Vec<_> = awkward_keys().into_iter().map(|key| (key.clone(), key)).collect();
    fill(store, &entries);
    let snapshot = store.snapshot().expect("a snapshot opens");
    let mut seen = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        assert_eq!(snapshot.get(ONE, key).expect("a get succeeds").as_deref(), Some(value));
        let inner = scan(&*snapshot, ONE, &KeyRange::all(), Direction::Forward, usize::MAX);
        assert_eq!(inner, entries);
        seen.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    snapshot
        .scan(ONE, &KeyRange::all(), Direction::Forward, usize::MAX, &mut visit)
        .expect("a scan succeeds");
    assert_eq!(seen, entries);
}

/// A batched get answers each key at its place: unsorted, repeated, missing; and no keys with nothing.
pub fn get_many_answers_in_order(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut batch = Batch::new();
    for number in 0..100u8 {
        batch.put(ONE, [number], [number, number]);
    }
    store.commit(&batch).expect("puts commit");
    let snapshot = store.snapshot().expect("a snapshot opens");
    let keys: Vec<Vec<u8>> = [7, 200, 3, 7, 99, 0, 255, 3, 7].iter().map(|number| vec![*number]).collect();
    let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let expected: Vec<_> = keys.iter().map(|key| (key[0] < 100).then(|| vec![key[0], key[0]])).collect();
    assert_eq!(snapshot.get_many(ONE, &borrowed).expect("a batched get succeeds"), expected);
    assert_eq!(snapshot.get_many(TWO, &borrowed).expect("a batched get succeeds"), vec![None; keys.len()]);
    assert_eq!(snapshot.get_many(ONE, &[]).expect("a batched get succeeds"), Vec::<Option<Vec<u8>>>::new());
}

/// The empty key is a key, and an empty value is not absence.
pub fn empty_keys_and_values_are_values(subject: &mut dyn Subject) {
    let store = subject.store();
    let mut batch = Batch::new();
    batch.put(ONE, "", "value of the empty key");
    batch.put(ONE, "empty", "");
    batch.put(TWO, "", "");
    store.commit(&batch).expect("puts commit");
    assert_eq!(get(store, ONE, b"").as_deref(), Some(&b"value of the empty key"[..]));
    assert_eq!(get(store, ONE, b"empty"), Some(vec![]));
    assert_eq!(get(store, TWO, b""), Some(vec![]));
    assert_eq!(get(store, ONE, b"absent"), None);
    let mut batch = Batch::new();
    batch.delete(ONE, "");
    store.commit(&batch).expect("a delete commits");
    assert_eq!((get(store, ONE, b""), get(store, ONE, b"empty")), (None, Some(vec![])));
}

/// Values of megabytes come back byte for byte, grow and shrink.
pub fn large_values_come_back(subject: &mut dyn Subject) {
    let store = subject.store();
    for bytes in [1 << 20, (5 << 20) + 1, 3, 70_000] {
        let value: Vec<u8> =
            (0..bytes).map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let mut batch = Batch::new();
        batch.put(ONE, "large", value.clone());
        batch.put(ONE, "next", "small");
        store.commit(&batch).expect("a large value commits");
        assert!(get(store, ONE, b"large") == Some(value), "{bytes} bytes differ");
        assert_eq!(get(store, ONE, b"next").as_deref(), Some(&b"small"[..]));
    }
}

/// Keys up to the limit are keys like others, also where they differ in the last byte only.
pub fn long_keys_come_back(subject: &mut dyn Subject) {
    let store = subject.store();
    let long = |last: u8| [vec![b'k'; MAX_KEY_BYTES - 1], vec![last]].concat();
    let entries: Vec<_> = [0, 1, 0xff].map(|last| (long(last), vec![last])).into();
    fill(store, &entries);
    let snapshot = store.snapshot().expect("a snapshot opens");
    assert!(scan(&*snapshot, ONE, &KeyRange::all(), Direction::Forward, usize::MAX) == entries);
    assert_eq!(snapshot.get(ONE, &long(1)).expect("a get succeeds"), Some(vec![1]));
    assert_eq!(snapshot.get(ONE, &long(2)).expect("a get succeeds"), None);
    let after = scan(&*snapshot, ONE, &KeyRange::after(long(0)), Direction::Forward, 1);
    assert!(after == entries[1..2]);
}

/// Reading a keyspace that was not declared is an error that names it.
pub fn unknown_keyspaces_are_refused(subject: &mut dyn Subject) {
    let snapshot = subject.store().snapshot().expect("a snapshot opens");
    let keyspace = Keyspace(u8::try_from(KEYSPACES.len()).expect("there are few"));
    let unknown = StoreError::UnknownKeyspace { keyspace };
    assert_eq!(snapshot.get(keyspace, b"k"), Err(unknown.clone()));
    assert_eq!(snapshot.get_many(keyspace, &[b"k"]), Err(unknown.clone()));
    let visit = &mut |_: &[u8], _: &[u8]| ControlFlow::Continue(());
    assert_eq!(snapshot.scan(keyspace, &KeyRange::all(), Direction::Forward, 1, visit), Err(unknown));
}
