//! Several executors over one store in memory, which take turns.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::catalog::OpenError;
use corollary_engine::nodes::NOTES;
use corollary_engine::updates::record::LEASE;
use corollary_engine::{Edit, EngineError, EngineOptions, Executor, Transaction, keys, open};
use corollary_store::{
    Batch, Fault, Feature, Features, MemoryStore, Snapshot, Store, StoreError, StoreStats, Transactions,
};
use corollary_value::Value;
use jiff::{SignedDuration, Timestamp};

const FEATURES: Features =
    Features { transactions: Transactions::Optimistic, available: &[Feature::Snapshot, Feature::Shared] };

/// A store in memory that several nodes may write to.
struct Shared(MemoryStore);

impl Store for Shared {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.0.snapshot()
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.0.stats()
    }

    fn name(&self) -> &'static str {
        "shared"
    }
}

const SCHEMA: &str = "
    type Hub in hubs { name: str unique, n: int, leaves: inverse Leaf.hub, total := sum(self.leaves.n) }
    type Leaf in leaves { hub: link Hub, n: int, label := upper(self.hub.name) }";

fn shared() -> Arc<Shared> {
    Arc::new(Shared(MemoryStore::new(&keys::KEYSPACES).unwrap()))
}

fn tried(store: &Arc<Shared>, schema: &str, node: &str, take_over: bool) -> Result<Executor, OpenError> {
    let options =
        EngineOptions { update_budget: 3, node: node.into(), take_over, ..EngineOptions::default() };
    open(store.clone(), schema, &options, NOW, &mut |_| {})
}

fn node(store: &Arc<Shared>, name: &str) -> Db {
    Db::new(tried(store, SCHEMA, name, false).unwrap())
}

fn at(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn inc(db: &Db) -> Vec<corollary_engine::Write> {
    vec![edit(db, "Hub", "h", &[("n", Edit::Increment(Value::Int(1)))])]
}

/// A hub with leaves.
fn hub(db: &Db, leaves: i64) {
    commit(db, vec![create(db, "Hub", "h", &[("name", text("one")), ("n", Value::Int(0))])]);
    let leaf =
        |n: i64| create(db, "Leaf", &format!("l{n:02}"), &[("hub", reference("h")), ("n", Value::Int(n))]);
    commit(db, (0..leaves).map(leaf).collect());
}

#[test]
fn nodes_that_know_nothing_of_each_other_count_right() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    hub(&one, 3);
    for round in 0..50 {
        let outcome = commit(if round % 3 == 0 { &one } else { &other }, inc(&one));
        assert_eq!(outcome.revision, 3 + round, "each has a revision of its own");
    }
    for db in [&one, &other] {
        db.follow();
        assert_eq!(get(db, "Hub", "h", "n"), Value::Int(50));
        agree(db);
    }
    let conflicts = store.stats().unwrap().conflicts;
    assert!((30..=40).contains(&conflicts), "each turn that went to the other one costs one: {conflicts}");
}

#[test]
fn what_commits_nothing_is_told_as_of_now() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    // The other one knows of neither when it is asked.
    commit(&one, vec![create(&one, "Hub", "h", &[("name", text("one")), ("n", Value::Int(0))])]);
    assert_eq!(
        codes(&refused_late(&other, vec![create(&other, "Hub", "g", &[("name", text("one"))])])),
        ["unique name"]
    );
    commit(&one, vec![update(&one, "Hub", "h", &[("n", Value::Int(7))])]);
    let nothing = commit(&other, vec![update(&other, "Hub", "h", &[("n", Value::Int(7))])]);
    assert_eq!((nothing.revision, nothing.commit.is_none()), (2, true));
    commit(&one, vec![delete(&one, "Hub", "h")]);
    let codes_of = codes(&refused_late(&other, inc(&other)));
    assert_eq!(codes_of, ["not-found"]);
}

fn refused_late(db: &Db, writes: Vec<corollary_engine::Write>) -> Vec<corollary_engine::Refusal> {
    match try_commit(db, writes) {
        Err(EngineError::Refused(refusals)) => refusals,
        outcome => panic!("not refused: {outcome:?}"),
    }
}

#[test]
fn one_that_has_slept_for_long_forgets_what_it_knew() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    hub(&one, 3);
    other.follow();
    assert_eq!(get(&other, "Hub", "h", "n"), Value::Int(0));
    for _ in 0..NOTES + 5 {
        commit(&one, inc(&one));
    }
    other.follow();
    assert_eq!(get(&other, "Hub", "h", "n"), Value::Int(NOTES as i64 + 5));
    agree(&other);
}

#[test]
fn an_update_is_its_owners_until_the_lease_is_over_and_goes_on_from_there() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    hub(&one, 20);
    one.finish_updates();
    let id = commit(&one, vec![update(&one, "Hub", "h", &[("name", text("two"))])]).updates[0];
    for _ in 0..3 {
        one.step(4).unwrap();
    }
    let record = |db: &Db| {
        db.follow();
        db.engine().updates().get(id).unwrap().record.clone()
    };
    let held = record(&other);
    assert_eq!((held.owner.as_str(), held.visited > 0, held.is_done()), ("one", true, false));
    assert!(other.step_at(4, NOW).unwrap().is_none(), "it is held by another");
    let over = at(LEASE.as_secs() + 1);
    assert!(other.step_at(4, over).unwrap().is_some());
    let taken = record(&other);
    assert_eq!((taken.owner.as_str(), taken.token), ("other", held.token + 1));
    assert!(taken.visited > held.visited);
    // The one from before has its step refused, learns whose it is, and leaves it.
    assert!(one.step_at(4, over).unwrap().is_none());
    assert_eq!(record(&one), taken);
    while other.step_at(4, over).unwrap().is_some() {}
    for db in [&one, &other] {
        db.follow();
        assert!(db.engine().updates().open.is_empty());
        assert_eq!(get(db, "Leaf", "l07", "label"), text("TWO"));
        agree(db);
    }
    assert_eq!(record(&one).visited, 20);
}

#[test]
fn a_reader_of_one_node_follows_the_others_by_what_it_reads() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    hub(&one, 20);
    one.finish_updates();
    other.follow();
    assert_eq!(get(&other, "Hub", "h", "name"), text("one"));
    commit(&one, vec![update(&one, "Hub", "h", &[("name", text("two"))])]);
    // From memory it is what it was, at the revision that it was.
    let before = other.engine().revision();
    assert_eq!(get(&other, "Hub", "h", "name"), text("one"));
    // What is not in memory is of now, and so is the list of updates that may leave it behind.
    let ty = key(&other, "Leaf", "l00").ty;
    let open = other.engine().read(NOW, |working| {
        corollary_engine::eval::View::all(working, ty)?;
        Ok(working.base.open_updates().len())
    });
    assert_eq!(open.unwrap(), 1);
    assert!(other.engine().revision() > before);
    assert_eq!(get(&other, "Hub", "h", "name"), text("two"));
}

#[test]
fn a_changed_schema_stops_those_who_do_not_have_it() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    hub(&one, 3);
    let more = format!("{SCHEMA} type More in more {{ hub: link Hub, twice := self.hub.n * 2 }}");
    let newer = Db::new(tried(&store, &more, "newer", false).unwrap());
    for db in [&one, &other] {
        let outcome = db.commit(&[Transaction { writes: inc(db) }], NOW);
        assert!(matches!(outcome, Err(EngineError::Superseded)), "{outcome:?}");
        assert!(db.try_follow().unwrap_err().is_fatal());
    }
    commit(&newer, inc(&newer));
    agree(&newer);
    assert_eq!(get(&newer, "Hub", "h", "n"), Value::Int(1));
}

#[test]
fn what_one_builds_others_wait_for_or_take_over() {
    let store = shared();
    let one = node(&store, "one");
    hub(&one, 3);
    // An index has to be there before anything is served; its build is cut short behind its first commit.
    let indexed = SCHEMA.replace("n: int, label", "n: int index, label");
    store.0.fail_commit(2, Fault::Io);
    assert!(tried(&store, &indexed, "builder", false).is_err());
    for schema in [SCHEMA, &indexed] {
        let waiting = tried(&store, schema, "third", false).map(drop);
        assert!(matches!(&waiting, Err(OpenError::Building { by, .. }) if by == "builder"), "{waiting:?}");
    }
    let third = Db::new(tried(&store, &indexed, "third", true).unwrap());
    commit(&third, inc(&third));
    agree(&third);
    let fourth = Db::new(tried(&store, &indexed, "fourth", false).unwrap());
    agree(&fourth);
    assert!(matches!(one.try_follow(), Err(EngineError::Superseded)));
}

#[test]
fn time_goes_on_from_what_the_others_committed() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    let db = &one;
    commit(db, vec![create(db, "Hub", "h", &[("name", text("one")), ("n", Value::Int(0))])]);
    db.commit(&[Transaction { writes: inc(db) }], at(3_600)).unwrap().remove(0).unwrap();
    // Its clock is behind by an hour.
    let outcomes = other.commit(&[Transaction { writes: inc(&other) }], at(5)).unwrap();
    let committed = outcomes[0].as_ref().unwrap().commit.clone().unwrap();
    assert_eq!((committed.revision, committed.time), (3, at(3_600)));
}
