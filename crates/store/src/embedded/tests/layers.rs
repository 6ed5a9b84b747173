//! The suite over a store whose entries lie in SQLite, in the frozen layer and in the active one at once.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::*;
use crate::Write;
use crate::embedded::steps::Step;

/// Keeps layers from being applied while it is shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock();
        while *shut {
            self.changed.wait(&mut shut);
        }
    }
}

/// A store that shifts its layers in a round of three commits: one goes to SQLite, one is frozen, one stays active.
struct Shifting {
    subject: OnDisk,
    gate: Arc<Gate>,
    commits: AtomicU64,
}

impl Shifting {
    fn fresh() -> Self {
        let subject = OnDisk::fresh(unhurried_options());
        let shifting = Self { subject, gate: Arc::default(), commits: AtomicU64::new(0) };
        shifting.watch();
        shifting
    }

    fn watch(&self) {
        let gate = Arc::clone(&self.gate);
        let hook = move |step| {
            if step == Step::BeforeApply {
                gate.pass();
            }
        };
        self.subject.store().shared.steps.set(Some(Arc::new(hook)));
    }

    fn shift(&self) {
        let overlay = &self.subject.store().shared.overlay;
        match self.commits.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => overlay.drain(&|| Ok(())).unwrap(),
            1 => {
                self.gate.set(true);
                overlay.hurry();
            }
            _ => {}
        }
    }
}

impl Store for Shifting {
    fn features(&self) -> &Features {
        self.subject.store().features()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.subject.store().snapshot()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        // Before one that goes to SQLite, or may have to wait for the frozen layer.
        let ranges = batch.writes().iter().any(|write| matches!(write, Write::DeleteRange { .. }));
        if ranges || self.commits.load(Ordering::Relaxed).is_multiple_of(3) {
            self.gate.set(false);
        }
        self.subject.store().commit(batch)?;
        self.shift();
        Ok(())
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.subject.store().stats()
    }

    fn name(&self) -> &'static str {
        "shifting"
    }
}

impl Subject for Shifting {
    fn store(&self) -> &dyn Store {
        self
    }

    fn reopen(&mut self) -> bool {
        self.gate.set(false);
        let reopened = self.subject.reopen();
        self.watch();
        reopened
    }
}

impl Drop for Shifting {
    fn drop(&mut self) {
        self.gate.set(false);
    }
}

/// One thread alone: others would commit while a layer is held back, and wait for it for ever.
mod shifting {
    use super::*;

    #[test]
    fn random_histories_match_the_model() {
        crate::conformance::model::random_histories_match_the_model(&|| Box::new(Shifting::fresh()));
    }

    #[test]
    fn scans_are_ordered_and_bounded() {
        crate::conformance::reads::scans_are_ordered_and_bounded(&mut Shifting::fresh());
    }

    #[test]
    fn snapshots_of_several_moments() {
        crate::conformance::snapshots::snapshots_of_several_moments(&mut Shifting::fresh());
    }
}

#[test]
fn a_snapshot_outlives_the_layers_that_it_sees() {
    let store = Shifting::fresh();
    let mut kept = Vec::new();
    for count in 0..30u8 {
        store.commit(&put([count % 7], [count])).unwrap();
        kept.push(store.snapshot().unwrap());
    }
    for (count, snapshot) in (0..30u8).zip(&kept) {
        for key in 0..7 {
            let expected = (0..=count).rev().find(|count| count % 7 == key).map(|count| vec![count]);
            assert_eq!(snapshot.get(ONE, &[key]).unwrap(), expected, "key {key} after {count}");
        }
    }
}

#[test]
fn readers_of_a_store_that_is_applied_all_the_time_see_prefixes() {
    const COMMITS: u32 = 2_000;
    let subject = OnDisk::fresh(hasty_options());
    let store = subject.store();
    let done = AtomicBool::new(false);
    let number = |value: Vec<u8>| u32::from_be_bytes(value.try_into().unwrap());
    let read = || {
        let (mut last, mut seen) = (0, 0);
        while !done.load(Ordering::Acquire) {
            let snapshot = store.snapshot().unwrap();
            let now = snapshot.get(ONE, b"now").unwrap().map_or(0, number);
            assert!(now >= last, "a later snapshot sees less: {now} after {last}");
            // Each commit wrote its own key and deleted one from long before.
            let mut expected = now.saturating_sub(99).max(1)..=now;
            let mut visit = |key: &[u8], value: &[u8]| {
                assert_eq!((Some(number(key.to_vec())), value.len()), (expected.next(), 200), "at {now}");
                ControlFlow::Continue(())
            };
            snapshot.scan(TWO, &KeyRange::all(), Direction::Forward, usize::MAX, &mut visit).unwrap();
            assert_eq!(expected.next(), None, "at {now}");
            seen += usize::from(now > last);
            last = now;
        }
        seen
    };
    let seen: Vec<usize> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(read)).collect();
        for count in 1..=COMMITS {
            let mut batch = put("now", count.to_be_bytes());
            batch.put(TWO, count.to_be_bytes(), vec![1; 200]);
            batch.delete(TWO, count.saturating_sub(100).to_be_bytes());
            store.commit(&batch).unwrap();
        }
        done.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(seen.iter().sum::<usize>() > 10, "{seen:?}");
}
