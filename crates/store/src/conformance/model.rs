//! Random histories against a sorted map.
//!
//! A history is a list of commits, reads, snapshots kept and checked later, and restarts. The model is one `BTreeMap`
//! per keyspace, changed one write at a time in the order in which the writes were added. Keys are short and of few
//! bytes, so that they meet often.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{ONE, Subject, TWO, scan};
use crate::{Batch, Direction, KeyRange, Keyspace, Snapshot, StoreError, Write};

/// Histories run for each backend.
const HISTORIES: u32 = 96;
/// The most steps of a history.
const STEPS: usize = 40;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Model = [Map; 2];

#[derive(Clone, Debug)]
enum Step {
    /// In one, or in its two halves, with a look at a range of the tip between them.
    Commit {
        writes: Vec<Write>,
        conditions: Vec<Guess>,
        look: Option<(Keyspace, KeyRange, Direction)>,
    },
    Get {
        keyspace: Keyspace,
        keys: Vec<Vec<u8>>,
    },
    Scan {
        keyspace: Keyspace,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    },
    KeepSnapshot,
    CheckSnapshots,
    Reopen,
}

/// A condition: on what the model has, so that it holds, or on a value of its own, so that it may not.
#[derive(Clone, Debug)]
struct Guess {
    keyspace: Keyspace,
    key: Vec<u8>,
    value: Option<Option<Vec<u8>>>,
}

/// Runs random histories, each on a fresh store, and compares every answer with the model's.
pub fn random_histories_match_the_model(fresh: &dyn Fn() -> Box<dyn Subject>) {
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&vec(step(), 1..STEPS), |steps| {
        History { subject: fresh(), model: Model::default(), kept: Vec::new() }.run(&steps);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

struct History {
    subject: Box<dyn Subject>,
    model: Model,
    /// Snapshots, and what the model was when they were taken.
    kept: Vec<(Box<dyn Snapshot>, Model)>,
}

impl History {
    fn run(mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
        self.check_kept();
        self.kept.clear();
        let snapshot = self.snapshot();
        compare_all(&*snapshot, &self.model);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit { writes, conditions, look } => self.commit(writes, conditions, look.as_ref()),
            Step::Get { keyspace, keys } => {
                let borrowed: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let found = self.snapshot().get_many(*keyspace, &borrowed).expect("a batched get succeeds");
                let expected: Vec<_> =
                    keys.iter().map(|key| self.model[keyspace.index()].get(key).cloned()).collect();
                assert_eq!(found, expected);
            }
            Step::Scan { keyspace, range, direction, limit } => {
                let snapshot = self.snapshot();
                compare(&*snapshot, &self.model, *keyspace, range, *direction, *limit);
            }
            Step::KeepSnapshot => {
                let snapshot = self.snapshot();
                self.kept.push((snapshot, self.model.clone()));
            }
            Step::CheckSnapshots => self.check_kept(),
            Step::Reopen => {
                self.check_kept();
                self.kept.clear();
                // A store that cannot be opened again stays open.
                self.subject.reopen();
            }
        }
    }

    fn commit(
        &mut self,
        writes: &[Write],
        conditions: &[Guess],
        look: Option<&(Keyspace, KeyRange, Direction)>,
    ) {
        let mut batch = Batch::new();
        let mut conflict = None;
        for (condition, guess) in conditions.iter().enumerate() {
            let actual = self.model[guess.keyspace.index()].get(&guess.key).cloned();
            let expected = guess.value.clone().unwrap_or_else(|| actual.clone());
            if expected != actual && conflict.is_none() {
                let key = guess.key.clone();
                conflict = Some(StoreError::Conflict { condition, keyspace: guess.keyspace, key });
            }
            batch.require(guess.keyspace, guess.key.clone(), expected);
        }
        for write in writes {
            match write.clone() {
                Write::Put { keyspace, key, value } => batch.put(keyspace, key, value),
                Write::Delete { keyspace, key } => batch.delete(keyspace, key),
                Write::DeleteRange { keyspace, range } => batch.delete_range(keyspace, range),
            }
        }
        let mut after = self.model.clone();
        if conflict.is_none() {
            writes.iter().for_each(|write| apply(&mut after, write));
        }
        let store = self.subject.store();
        let result = match look {
            None => store.commit(&batch),
            Some((keyspace, range, direction)) => store.precommit(&batch).and_then(|precommit| {
                let tip = store.tip().expect("the tip opens");
                compare_all(&*tip, &after);
                compare(&*tip, &after, *keyspace, range, *direction, usize::MAX);
                for key in after[0].keys() {
                    assert_eq!(tip.get(ONE, key).expect("a get succeeds").as_ref(), after[0].get(key));
                }
                precommit.harden()?;
                compare_all(&*tip, &after);
                Ok(())
            }),
        };
        assert_eq!(result, conflict.map_or(Ok(()), Err));
        self.model = after;
        if look.is_some() {
            compare_all(&*self.subject.store().tip().expect("the tip opens"), &self.model);
        }
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.subject.store().snapshot().expect("a snapshot opens")
    }

    fn check_kept(&self) {
        for (snapshot, model) in &self.kept {
            compare_all(&**snapshot, model);
        }
    }
}

fn apply(model: &mut Model, write: &Write) {
    match write.clone() {
        Write::Put { keyspace, key, value } => drop(model[keyspace.index()].insert(key, value)),
        Write::Delete { keyspace, key } => drop(model[keyspace.index()].remove(&key)),
        Write::DeleteRange { keyspace, range } => {
            model[keyspace.index()].retain(|key, _| !range.contains(key))
        }
    }
}

fn compare_all(snapshot: &dyn Snapshot, model: &Model) {
    for keyspace in [ONE, TWO] {
        compare(snapshot, model, keyspace, &KeyRange::all(), Direction::Forward, usize::MAX);
    }
}

fn compare(
    snapshot: &dyn Snapshot,
    model: &Model,
    keyspace: Keyspace,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
) {
    let inside = model[keyspace.index()].iter().filter(|(key, _)| range.contains(key));
    let mut expected: Vec<_> = inside.map(|(key, value)| (key.clone(), value.clone())).collect();
    if direction == Direction::Backward {
        expected.reverse();
    }
    expected.truncate(limit);
    assert_eq!(
        scan(snapshot, keyspace, range, direction, limit),
        expected,
        "{range:?} {direction:?} {limit}"
    );
}

fn step() -> impl Strategy<Value = Step> {
    let direction = prop_oneof![Just(Direction::Forward), Just(Direction::Backward)];
    let look = prop::option::of((keyspace(), range(), direction.clone()));
    let commit = (vec(write(), 0..12), vec(guess(), 0..3), look);
    let limit = prop_oneof![0..6usize, Just(usize::MAX)];
    prop_oneof![
        8 => commit.prop_map(|(writes, conditions, look)| Step::Commit { writes, conditions, look }),
        3 => (keyspace(), vec(key(), 0..6)).prop_map(|(keyspace, keys)| Step::Get { keyspace, keys }),
        6 => (keyspace(), range(), direction, limit)
            .prop_map(|(keyspace, range, direction, limit)| Step::Scan { keyspace, range, direction, limit }),
        2 => Just(Step::KeepSnapshot),
        1 => Just(Step::CheckSnapshots),
        1 => Just(Step::Reopen),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        6 => (keyspace(), key(), value()).prop_map(|(keyspace, key, value)| Write::Put { keyspace, key, value }),
        2 => (keyspace(), key()).prop_map(|(keyspace, key)| Write::Delete { keyspace, key }),
        1 => (keyspace(), range()).prop_map(|(keyspace, range)| Write::DeleteRange { keyspace, range }),
    ]
}

fn guess() -> impl Strategy<Value = Guess> {
    let value = prop_oneof![4 => Just(None), 1 => prop::option::of(value()).prop_map(Some)];
    (keyspace(), key(), value).prop_map(|(keyspace, key, value)| Guess { keyspace, key, value })
}

fn keyspace() -> impl Strategy<Value = Keyspace> {
    prop_oneof![Just(ONE), Just(TWO)]
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xff]), 0..4)
}

/// Mostly short, now and then longer than a page.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![8 => vec(any::<u8>(), 0..4), 1 => (any::<u8>(), 900..9_000usize).prop_map(|(byte, n)| vec![byte; n])]
}

fn range() -> impl Strategy<Value = KeyRange> {
    let bound = || {
        prop_oneof![
            2 => key().prop_map(Bound::Included),
            2 => key().prop_map(Bound::Excluded),
            1 => Just(Bound::Unbounded),
        ]
    };
    (bound(), bound()).prop_map(|(from, to)| KeyRange::new(from, to))
}
