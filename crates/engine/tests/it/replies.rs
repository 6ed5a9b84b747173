//! What a transaction tells of its resources is true as of its own commit: whatever the group that it was in, and
//! whatever is committed and brought up to date before somebody looks.

use crate::common::*;
use corollary_engine::reply::{LOOKUPS, LOOKUPS_PER_RESULT, Request, Shown, Wants};
use corollary_engine::{Committed, Key, Transaction, Write};
use corollary_value::Value;
use proptest::prelude::*;

const SCHEMA: &str = "
type Hub in hubs { name: str default 'x', n: int default 0, leaves: inverse Leaf.hub, sum := sum(self.leaves.twice), background }
type Leaf in leaves {
  hub:   link Hub
  n:     int default 1
  twice  := self.n * 2, background
  label  := upper(self.hub.name) + '!'
  share  := self.twice / self.hub.n
  next   := self.hub.sum
}";

#[derive(Clone, Debug)]
enum Act {
    /// Transactions of one group.
    Group(Vec<Vec<Step>>),
    /// A part of the updates.
    Step(usize),
}

#[derive(Clone, Debug)]
enum Step {
    Hub(u8, u8),
    Leaf(u8, u8),
    Link(u8, Option<u8>),
    Delete(u8),
    /// Nothing is changed, and what is there is told.
    Look(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let step = prop_oneof![
        3 => (0..3u8, 0..6u8).prop_map(|(hub, n)| Step::Hub(hub, n)),
        3 => (0..8u8, 0..6u8).prop_map(|(leaf, n)| Step::Leaf(leaf, n)),
        3 => (0..8u8, proptest::option::of(0..3u8)).prop_map(|(leaf, hub)| Step::Link(leaf, hub)),
        1 => (0..8u8).prop_map(Step::Delete),
        3 => (0..8u8).prop_map(Step::Look),
    ];
    let group = prop::collection::vec(prop::collection::vec(step, 1..4), 1..4);
    let act = prop_oneof![2 => group.prop_map(Act::Group), 1 => (1..6usize).prop_map(Act::Step)];
    prop::collection::vec(act, 1..25)
}

/// The writes of a transaction in a world where some leaves are there.
fn writes(db: &Db, steps: &[Step], there: &mut [bool; 8]) -> Vec<Write> {
    let mut writes = Vec::new();
    for step in steps {
        match step {
            Step::Hub(hub, n) => {
                let given = [("name", text(&format!("h{n}"))), ("n", Value::Int((*n).into()))];
                writes.push(update(db, "Hub", &format!("h{hub}"), &given));
            }
            Step::Delete(leaf) => {
                if std::mem::take(&mut there[*leaf as usize]) {
                    writes.push(delete(db, "Leaf", &format!("l{leaf}")));
                }
            }
            Step::Look(leaf) => {
                if there[*leaf as usize] {
                    writes.push(Write::Read(key(db, "Leaf", &format!("l{leaf}"))));
                }
                writes.push(Write::Read(key(db, "Hub", "h0")));
            }
            Step::Leaf(leaf, _) | Step::Link(leaf, _) => {
                let given = match step {
                    Step::Leaf(_, n) => ("n", Value::Int((*n).into())),
                    Step::Link(_, Some(hub)) => ("hub", reference(&format!("h{hub}"))),
                    _ => ("hub", Value::Absent),
                };
                let name = format!("l{leaf}");
                writes.push(match std::mem::replace(&mut there[*leaf as usize], true) {
                    true => update(db, "Leaf", &name, &[given]),
                    false => create(db, "Leaf", &name, &[given]),
                });
            }
        }
    }
    writes
}

/// Each result is what is stored where nothing is ever behind, but for what is marked.
fn compare(exact: &Db, keys: &[Key], told: &Committed) {
    assert_eq!(told.results.len(), keys.len());
    for (key, told) in keys.iter().zip(&told.results) {
        let doc = exact.engine().read(NOW, |working| working.after(key)).unwrap();
        assert_eq!(told.is_some(), doc.is_some(), "{key:?}");
        let (Some(told), Some(doc)) = (told, doc) else { continue };
        for (slot, field) in exact.engine().schema().ty(key.ty).slots().filter(|(_, field)| field.visible()) {
            if !told.pending.contains(&slot) {
                assert_eq!(told.doc.get(slot), doc.get(slot), "{key:?} {}", field.name);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn what_is_told_is_true_as_of_the_commit(acts in acts(), budget in 0..4usize) {
        let db = opened_within(&memory(), SCHEMA, budget);
        // There, every transaction has a commit of its own, and all updates end before the next.
        let exact = opened_within(&memory(), SCHEMA, usize::MAX);
        let hubs = |db: &Db| (0..3).map(|at| create(db, "Hub", &format!("h{at}"), &[])).collect::<Vec<_>>();
        commit(&db, hubs(&db));
        commit(&exact, hubs(&exact));
        let mut there = [false; 8];
        for act in acts {
            match act {
                Act::Step(limit) => drop(db.step(limit).unwrap()),
                Act::Group(group) => {
                    let group: Vec<Transaction> = group
                        .iter()
                        .map(|steps| Transaction { writes: writes(&db, steps, &mut there) })
                        .collect();
                    let outcomes = db.commit(&group, NOW).unwrap();
                    for (transaction, outcome) in group.into_iter().zip(outcomes) {
                        let keys: Vec<Key> = transaction.writes.iter().map(|write| write.key().clone()).collect();
                        commit(&exact, transaction.writes);
                        exact.finish_updates();
                        compare(&exact, &keys, &outcome.unwrap());
                    }
                }
            }
        }
        db.finish_updates();
        agree(&db);
    }
}

#[test]
fn what_is_told_does_not_change_when_updates_end_before_somebody_looks() {
    let db = opened_within(&memory(), SCHEMA, 1);
    commit(&db, vec![create(&db, "Hub", "h", &[("name", text("one"))])]);
    let leaf = |at: usize| create(&db, "Leaf", &format!("l{at}"), &[("hub", reference("h"))]);
    commit(&db, (0..20).map(leaf).collect());
    db.finish_updates();
    commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
    let told = commit(&db, vec![update(&db, "Leaf", "l7", &[("n", Value::Int(5))])]);
    commit(&db, vec![update(&db, "Hub", "h", &[("name", text("three"))])]);
    db.finish_updates();
    let shown = told.results[0].as_ref().unwrap();
    let value = |field| shown.doc.get(slot(&db, "Leaf", field)).clone();
    assert!(!shown.pending.contains(&slot(&db, "Leaf", "label")), "{:?}", shown.pending);
    assert_eq!((value("label"), value("twice"), value("n")), (text("TWO!"), Value::Int(10), Value::Int(5)));
    assert_eq!(shown.doc.revision, told.revision);
}

/// The executor computes no more for those who look than the limit says: the rest is marked.
#[test]
fn what_a_transaction_looks_at_for_its_results_is_limited() {
    const LEAVES: usize = 400;
    let db = opened_within(&memory(), SCHEMA, 1);
    for hub in 0..10 {
        let hub = format!("h{hub}");
        let leaf = |at: usize| create(&db, "Leaf", &format!("{hub}-{at}"), &[("hub", reference(&hub))]);
        let hub = create(&db, "Hub", &hub, &[]);
        let told = commit(&db, std::iter::once(hub).chain((0..LEAVES).map(leaf)).collect());
        let (twice, leaves) = (slot(&db, "Leaf", "twice"), &told.results[1..]);
        let is_told = |leaf: &Option<Shown>| {
            leaf.as_ref()
                .is_some_and(|it| *it.doc.get(twice) == Value::Int(2) && !it.pending.contains(&twice))
        };
        assert!(leaves.len() == LEAVES && leaves.iter().all(is_told));
    }
    let reads: Vec<Write> = (0..10).map(|hub| Write::Read(key(&db, "Hub", &format!("h{hub}")))).collect();
    let sum = slot(&db, "Hub", "sum");
    let computed = |told: &Committed| {
        let told = told.results.iter().flatten().filter(|shown| !shown.pending.contains(&sum));
        told.map(|shown| assert_eq!(*shown.doc.get(sum), Value::Int(2 * LEAVES as i64))).count()
    };
    for read in &reads {
        assert_eq!(computed(&commit(&db, vec![read.clone()])), 1);
    }
    let all = Transaction { writes: reads };
    let of_all = computed(&db.execute(&[Request::new(&all)]).remove(0).unwrap());
    assert!((1..=(LOOKUPS + 10 * LOOKUPS_PER_RESULT) / LEAVES).contains(&of_all), "{of_all}");
    let nobody = Request { transaction: &all, wants: &Wants::nothing() };
    assert!(db.execute(&[nobody]).remove(0).unwrap().results.is_empty());
    db.finish_updates();
    agree(&db);
}
