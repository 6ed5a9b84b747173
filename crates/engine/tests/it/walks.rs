//! Updates along several links: each link is followed once, whatever the number of routes, and what is not marked is
//! right at every moment.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::updates::{State, UpdateId};
use corollary_engine::{Write, keys, oracle};
use corollary_store::{Batch, MemoryStore, Store};
use corollary_value::Value;
use proptest::prelude::*;

const SCHEMA: &str = "
type A in a { n: int }
type B in b { up: links A }
type C in c { up: links B }
type D in d { up: links C, mid := max(self.up.up.up.n) }
type E in e { up: links D, far := max(self.up.up.up.up.n), over := sum(self.up.mid) }
";

const TYPES: [&str; 5] = ["A", "B", "C", "D", "E"];

fn name(ty: usize, at: usize) -> String {
    format!("{}{at:02}", TYPES[ty].to_lowercase())
}

fn links(ty: usize, to: impl IntoIterator<Item = usize>) -> Value {
    list(to.into_iter().map(|at| reference(&name(ty - 1, at))))
}

/// As many resources of each type, each linked to all of the type before.
fn dense(each: usize) -> Arc<MemoryStore> {
    let store = memory();
    let db = opened_within(&store, SCHEMA, usize::MAX);
    for ty in 0..TYPES.len() {
        let made = (0..each).map(|at| match ty {
            0 => create(&db, "A", &name(0, at), &[("n", Value::Int(at as i64))]),
            ty => create(&db, TYPES[ty], &name(ty, at), &[("up", links(ty, 0..each))]),
        });
        commit(&db, made.collect());
    }
    store
}

fn set(db: &Db, at: usize, n: i64) -> Write {
    update(db, "A", &name(0, at), &[("n", Value::Int(n))])
}

fn exists(db: &Db, ty: &str, name: &str) -> bool {
    doc(db, ty, name).is_some()
}

fn visits(db: &Db, id: UpdateId) -> (State, u64) {
    let ledger = db.engine().updates();
    let record = &ledger.get(id).unwrap().record;
    (record.state, record.visited)
}

/// A walk along several links came to a resource once for each route: four links among a dozen resources of each type
/// were 20,736 visits for each that changed, and with a few more no server came to the end.
#[test]
fn each_link_is_followed_once_whatever_the_number_of_routes() {
    const EACH: usize = 12;
    for limit in [5, 1_000] {
        let store = dense(EACH);
        let db = opened_within(&store, SCHEMA, 3);
        let began = commit(&db, (0..EACH).map(|at| set(&db, at, 100)).collect()).updates;
        let mut walked = 0;
        while let Some(progress) = db.step(limit).unwrap() {
            walked += if began.contains(&progress.id) { progress.walked } else { 0 };
            if limit == 1_000 {
                agree(&db);
            }
        }
        // Of `far` four levels of links and sources, of `mid` three.
        let most = began.len() * 4 * (EACH * EACH + EACH);
        assert!(walked <= most, "{walked} links, where there are {most} with steps of {limit}");
        for id in began {
            let (state, visited) = visits(&db, id);
            assert_eq!(state, State::Done);
            assert!(visited <= (EACH * EACH) as u64, "{visited} visits with steps of {limit}");
        }
        assert_eq!(get(&db, "E", &name(4, 0), "far"), Value::Int(100));
        agree(&db);
    }
}

/// What a walk has left on its way outlives the process, and is marked after it too: the sources that it began with are
/// gone by then.
#[test]
fn a_walk_goes_on_from_what_it_left_on_its_way() {
    let store = dense(6);
    let db = opened_within(&store, SCHEMA, 3);
    commit(&db, vec![set(&db, 0, 50)]);
    while db.step(4).unwrap().is_some() {
        agree(&db);
        let again = opened_within(&Arc::new(store.crash_image()), SCHEMA, 3);
        agree(&again);
        again.finish_updates();
        assert_eq!(again.engine().read(NOW, |working| oracle::check(working, None)).unwrap().pending, 0);
        assert!(again.engine().updates().open.is_empty());
        agree(&again);
    }
}

/// The same source again while its walk is on its way joins it, and what waits on the way waits once.
#[test]
fn a_source_that_changes_again_joins_its_walk() {
    let db = opened_within(&dense(6), SCHEMA, 3);
    let first = commit(&db, vec![set(&db, 0, 50)]).updates;
    let mut rounds = 0;
    while !db.engine().updates().open.is_empty() {
        db.step(5).unwrap();
        if rounds < 30 && db.engine().updates().open.len() == first.len() {
            let more = commit(&db, vec![set(&db, 0, 51 + rounds)]).updates;
            assert_eq!(more, first);
        }
        rounds += 1;
        agree(&db);
        assert!(rounds < 1_000, "the walk does not end");
    }
    assert!(rounds > 30);
}

/// Before form 3 of the data, the place of a walk was an id for each step down from its source.
#[test]
fn an_update_of_the_form_before_is_walked_from_its_source() {
    let store = dense(6);
    let db = opened_within(&store, SCHEMA, 3);
    let began = commit(&db, vec![set(&db, 0, 50)]).updates;
    drop(db);
    let mut batch = Batch::new();
    for id in &began {
        let snapshot = store.snapshot().unwrap();
        let bytes = snapshot.get(keys::UPDATE, &keys::update(*id)).unwrap().unwrap();
        let mut record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let members = record.as_object_mut().unwrap();
        members.remove("level");
        members.insert("source".into(), "a00".into());
        members.insert("cursor".into(), serde_json::json!(["b03", "c02"]));
        members.insert("state".into(), "running".into());
        batch.put(keys::UPDATE, keys::update(*id), record.to_string().into_bytes());
    }
    store.commit(&batch).unwrap();
    let db = opened_within(&store, SCHEMA, 3);
    agree(&db);
    db.finish_updates();
    agree(&db);
    assert_eq!(get(&db, "E", "e05", "far"), Value::Int(50));
}

#[derive(Clone, Debug)]
enum Op {
    Set(usize, i64),
    Link(usize, usize, Vec<usize>),
    Delete(usize, usize),
    Step(usize),
    Restart,
}

const EACH: usize = 4;

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..EACH;
    prop_oneof![
        3 => (at(), 0..9i64).prop_map(|(at, n)| Op::Set(at, n)),
        3 => (1..TYPES.len(), at(), prop::collection::vec(at(), 0..EACH))
            .prop_map(|(ty, at, to)| Op::Link(ty, at, to)),
        1 => (0..TYPES.len(), at()).prop_map(|(ty, at)| Op::Delete(ty, at)),
        6 => (1..6usize).prop_map(Op::Step),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Facts and links change while walks are on their way: after each step all that is not marked is right.
    #[test]
    fn walks_are_right_at_every_moment(ops in prop::collection::vec(op(), 1..40), budget in 0..3usize) {
        let store = dense(EACH);
        let mut db = opened_within(&store, SCHEMA, budget);
        for op in ops {
            match op {
                Op::Set(at, n) => drop(try_commit(&db, vec![set(&db, at, n)])),
                Op::Link(ty, at, to) => {
                    // Links lead to what is there.
                    let there = to.into_iter().filter(|to| exists(&db, TYPES[ty - 1], &name(ty - 1, *to)));
                    let up = links(ty, there.collect::<std::collections::BTreeSet<_>>());
                    let write = match exists(&db, TYPES[ty], &name(ty, at)) {
                        true => update(&db, TYPES[ty], &name(ty, at), &[("up", up)]),
                        false => create(&db, TYPES[ty], &name(ty, at), &[("up", up)]),
                    };
                    commit(&db, vec![write]);
                }
                Op::Delete(ty, at) => drop(try_commit(&db, vec![delete(&db, TYPES[ty], &name(ty, at))])),
                Op::Step(limit) => drop(db.step(limit).unwrap()),
                Op::Restart => {
                    drop(db);
                    db = opened_within(&store, SCHEMA, budget);
                }
            }
            agree(&db);
        }
        db.finish_updates();
        agree(&db);
        prop_assert_eq!(db.engine().read(NOW, |working| oracle::check(working, None)).unwrap().pending, 0);
    }
}
