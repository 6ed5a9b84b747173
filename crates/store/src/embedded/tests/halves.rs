//! Commits in two halves: what is shown between them, who waits, and what becomes of one that is given up.

use std::sync::mpsc;
use std::thread;

use super::*;
use crate::Snapshot;

fn keys_of(snapshot: &dyn Snapshot) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut visit = |key: &[u8]| {
        keys.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    snapshot.scan_keys(ONE, &KeyRange::all(), Direction::Forward, &mut visit).unwrap();
    keys
}

#[test]
fn only_the_tip_shows_what_is_not_durable() {
    let subject = OnDisk::fresh(EmbeddedOptions::default());
    let store = subject.store();
    store.commit(&put("a", "1")).unwrap();
    let mut batch = put("b", "2");
    batch.delete(ONE, "a");
    let precommit = store.precommit(&batch).unwrap();
    let (before, tip) = (store.snapshot().unwrap(), store.tip().unwrap());
    assert_eq!((keys_of(&*before), keys_of(&*tip)), (vec![b"a".to_vec()], vec![b"b".to_vec()]));
    assert_eq!(tip.get(ONE, b"a").unwrap(), None);
    assert_eq!(before.get(ONE, b"b").unwrap(), None);
    assert_eq!(store.stats().unwrap().commits, 1);
    precommit.harden().unwrap();
    assert_eq!(store.stats().unwrap().commits, 2);
    assert_eq!(keys(store), [b"b"]);
    assert_eq!((keys_of(&*before), keys_of(&*tip)), (vec![b"a".to_vec()], vec![b"b".to_vec()]));
}

#[test]
fn another_commit_waits_for_what_is_not_durable() {
    let subject = OnDisk::fresh(EmbeddedOptions::default());
    let store = subject.store();
    let precommit = store.precommit(&put("a", "1")).unwrap();
    thread::scope(|scope| {
        let (done, other) = mpsc::channel();
        scope.spawn(move || {
            let mut batch = put("b", "2");
            // It goes by what was settled before it.
            batch.require(ONE, "a", Some(b"1".to_vec()));
            done.send(store.commit(&batch)).unwrap();
        });
        assert!(other.recv_timeout(Duration::from_millis(100)).is_err(), "it did not wait");
        precommit.harden().unwrap();
        assert_eq!(other.recv().unwrap(), Ok(()));
    });
    assert_eq!(keys(store), [b"a", b"b"]);
}

#[test]
fn what_is_given_up_stops_the_store() {
    let mut subject = OnDisk::fresh(EmbeddedOptions::default());
    subject.store().commit(&put("a", "1")).unwrap();
    drop(subject.store().precommit(&put("b", "2")).unwrap());
    let refused = subject.store().commit(&put("c", "3")).unwrap_err();
    assert!(matches!(&refused, StoreError::Stopped { why, .. } if why.contains("given up")), "{refused}");
    assert_eq!(keys(subject.store()), [b"a"]);
    // Its record was written, and is as good as one whose outcome nobody knows.
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()), [b"a", b"b"]);
}

#[test]
fn a_failed_sync_is_told_to_who_hardens_and_to_who_waits() {
    let subject = OnDisk::crashing(unhurried_options());
    let store = subject.store();
    store.commit(&put("a", "1")).unwrap();
    // It can be written to and not be synced.
    let Ok(null) = fs::File::options().write(true).open("/dev/null") else { return };
    if null.sync_data().is_ok() {
        return;
    }
    let segment = store.turn.lock().journal.swap_file(null.into());
    let precommit = store.precommit(&put("b", "2")).unwrap();
    drop(store.turn.lock().journal.swap_file(segment));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.commit(&put("c", "3")));
        thread::sleep(Duration::from_millis(50));
        let failed = precommit.harden().unwrap_err();
        assert!(failed.is_fatal() && matches!(failed, StoreError::Failed { .. }), "{failed}");
        assert!(matches!(waiting.join().unwrap(), Err(StoreError::Stopped { .. })));
    });
    assert_eq!(keys(store), [b"a"]);
}

#[test]
fn a_store_that_is_closed_before_keeps_the_record_and_says_that_nothing_is_sure() {
    let mut subject = OnDisk::fresh(EmbeddedOptions::default());
    subject.store().commit(&put("a", "1")).unwrap();
    let precommit = subject.store().precommit(&put("b", "2")).unwrap();
    subject.store = None;
    let failed = precommit.harden().unwrap_err();
    assert!(matches!(&failed, StoreError::Stopped { why, .. } if why.contains("closed")), "{failed}");
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()), [b"a", b"b"]);
}

#[test]
fn layers_are_applied_beside_what_is_staged() {
    let subject = OnDisk::fresh(hasty_options());
    let store = subject.store();
    for round in 0..200u32 {
        let precommit = store.precommit(&put(round.to_be_bytes(), vec![1; 3_000])).unwrap();
        let tip = store.tip().unwrap();
        assert_eq!(keys_of(&*tip).len(), round as usize + 1);
        assert_eq!(keys(store).len(), round as usize);
        precommit.harden().unwrap();
        assert_eq!(keys_of(&*tip).len(), round as usize + 1);
        assert_eq!(keys(store).len(), round as usize + 1);
    }
}
