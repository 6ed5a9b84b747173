//! Several executors over one store in memory, which commit one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::common::*;
use corollary_engine::audit::Audit;
use corollary_engine::catalog::OpenError;
use corollary_engine::nodes::NOTES;
use corollary_engine::repair::{Apart, Cures};
use corollary_engine::updates::record::LEASE;
use corollary_engine::{Edit, EngineError, EngineOptions, Executor, Transaction, keys, open};
use corollary_store::{
    Batch, Direction, Fault, Feature, Features, KeyRange, Keyspace, Looked, MemoryStore, SharedMemoryStore,
    Snapshot, Store, StoreError, StoreStats, Transactions, Turn, Values, Visit,
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

/// One opening of a store that has turns, how many were taken of it, and how often it was asked for anything: each time would be a
/// journey to a database.
struct InTurn(SharedMemoryStore, AtomicU64, Arc<AtomicU64>);

/// Counts what a snapshot is asked for.
struct Asked(Box<dyn Snapshot>, Arc<AtomicU64>);

impl Asked {
    fn ask(&self) -> &dyn Snapshot {
        self.1.fetch_add(1, Ordering::Relaxed);
        &*self.0
    }
}

impl Snapshot for Asked {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask().get(keyspace, key)
    }

    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.ask().get_many(keyspace, keys)
    }

    fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.ask().scan(keyspace, range, direction, limit, visit)
    }
}

impl InTurn {
    fn ask(&self) -> &SharedMemoryStore {
        self.2.fetch_add(1, Ordering::Relaxed);
        &self.0
    }
}

impl Store for InTurn {
    fn features(&self) -> &Features {
        self.0.features()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(Asked(self.ask().snapshot()?, self.2.clone())))
    }

    fn snapshot_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Looked, StoreError> {
        let (snapshot, values) = self.ask().snapshot_and_get(keyspace, keys)?;
        Ok((Box::new(Asked(snapshot, self.2.clone())), values))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.ask().commit(batch)
    }

    fn turn(&self) -> Result<Turn, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.ask().turn()
    }

    fn turn_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<(Turn, Values), StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.ask().turn_and_get(keyspace, keys)
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.0.stats()
    }

    fn name(&self) -> &'static str {
        "in turn"
    }
}

fn in_turn() -> [(Db, Arc<InTurn>); 2] {
    let first = SharedMemoryStore::new(&keys::KEYSPACES).unwrap();
    let second = first.beside();
    [("one", first), ("other", second)].map(|(name, store)| {
        let store = Arc::new(InTurn(store, AtomicU64::new(0), Arc::default()));
        let options = EngineOptions { node: name.into(), ..EngineOptions::default() };
        (Db::new(open(store.clone(), SCHEMA, &options, NOW, &mut |_| {}).unwrap()), store)
    })
}

/// Two nodes that wrote all the time overtook each other: the one whose work took longer found no moment in 64 attempts.
#[test]
fn who_was_overtaken_takes_its_turn_and_is_not_again() {
    let [(one, of_one), (other, of_other)] = in_turn();
    hub(&one, 3);
    let conflicts = || of_one.stats().unwrap().conflicts;
    let turns = || [&of_one, &of_other].map(|store| store.1.load(Ordering::Relaxed));
    assert_eq!((conflicts(), turns()), (0, [0, 0]), "who is alone needs none");
    for round in 1..=50 {
        for db in [&other, &one] {
            commit(db, inc(db));
        }
        // The first of them by what it read, the other, which has all it reads in its cache, by its commit.
        assert_eq!(conflicts(), 1, "each was overtaken once");
        assert_eq!(turns(), [round, round]);
    }
    // What commits nothing keeps no turn from others, be it refused or no change.
    let nothing = commit(&other, vec![update(&other, "Hub", "h", &[("name", text("one"))])]);
    assert!(nothing.commit.is_none());
    assert_eq!(refused_late(&one, vec![create(&one, "Hub", "h", &[("name", text("two"))])]).len(), 1);
    // That one has shown to the first node that nobody else writes; from there on it is alone again.
    let before = turns();
    for _ in 0..10 {
        commit(&one, inc(&one));
    }
    assert_eq!((conflicts(), turns()), (1, before));
    commit(&other, inc(&other));
    for db in [&one, &other] {
        db.follow();
        assert_eq!(get(db, "Hub", "h", "n"), Value::Int(111));
        agree(db);
    }
    // Overtaken once more, it needs its turn until the one in which it finds itself alone.
    let before = turns()[0];
    for _ in 0..10 {
        commit(&one, inc(&one));
    }
    assert_eq!((conflicts(), turns()[0]), (1, before), "it has followed by itself");
    commit(&other, inc(&other));
    for _ in 0..10 {
        commit(&one, inc(&one));
    }
    assert_eq!((conflicts(), turns()[0]), (2, before + 2));
}

/// Each of these is a journey to the database. There were nine: the head was read again with each snapshot, which was opened by
/// itself, and so were the notes; and the conditions of a commit, though nobody could have changed what they are on.
#[test]
fn a_commit_in_a_turn_asks_the_store_four_times() {
    let nodes = in_turn();
    hub(&nodes[0].0, 3);
    // Each is overtaken once, and waits for its turn from then on.
    for (db, _) in nodes.iter().chain(&nodes) {
        commit(db, inc(db));
    }
    for _ in 0..10 {
        for (db, store) in &nodes {
            let asked = || store.2.load(Ordering::Relaxed);
            let before = asked();
            commit(db, inc(db));
            // The turn with all that others have done, a snapshot, the document that another one has changed, the commit.
            assert_eq!(asked() - before, 4);
        }
    }
    nodes.iter().for_each(|(db, _)| db.follow());
    assert_eq!(get(&nodes[0].0, "Hub", "h", "n"), Value::Int(24));
    nodes.iter().for_each(|(db, _)| agree(db));
}

#[test]
fn nodes_that_write_at_once_all_come_to_it() {
    const COMMITS: i64 = 60;
    let [one, other] = in_turn().map(|(db, _)| db);
    hub(&one, 30);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..COMMITS {
                commit(&one, inc(&one));
            }
        });
        // Each of these takes so much longer that it would be overtaken every time.
        scope.spawn(move || {
            for round in 0..COMMITS {
                let set = |leaf: i64| {
                    update(&other, "Leaf", &format!("l{leaf:02}"), &[("n", Value::Int(round + leaf))])
                };
                commit(&other, (0..30).map(set).chain(inc(&other)).collect());
            }
            assert_eq!(
                get(&other, "Hub", "h", "total"),
                Value::Int(30 * (COMMITS - 1) + (0..30).sum::<i64>())
            );
            agree(&other);
        });
    });
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

/// A reader who had read while an update was open took it for open still when its last step, another node's, had changed
/// only what groups keep: such a commit has no revision of its own, and a reader looked at the revision alone.
#[test]
fn a_reader_learns_of_the_end_of_an_update_that_changed_nothing_to_be_seen() {
    const SCHEMA: &str = "
        type Hub in hubs { side: 'x' | 'y' }
        type Box in boxes { leaves: inverse Leaf.box, top := max(self.leaves[hub.side = 'x'].n) }
        type Leaf in leaves { hub: link Hub, box: link Box, n: int }";
    let store = shared();
    let [one, other] = ["one", "other"].map(|name| Db::new(tried(&store, SCHEMA, name, false).unwrap()));
    let mut writes = vec![
        create(&one, "Box", "b", &[]),
        create(&one, "Hub", "h", &[("side", text("x"))]),
        create(&one, "Hub", "high", &[("side", text("x"))]),
    ];
    for (at, hub) in ["high"].into_iter().chain(["h"; 8]).enumerate() {
        let values = [("hub", reference(hub)), ("box", reference("b")), ("n", Value::Int(100 - at as i64))];
        writes.push(create(&one, "Leaf", &format!("l{at}"), &values));
    }
    commit(&one, writes);
    one.finish_updates();
    let revision = commit(&one, vec![update(&one, "Hub", "h", &[("side", text("y"))])]).revision;
    other.follow();
    agree(&other);
    assert_eq!(other.engine().updates().open.len(), 1);
    one.finish_updates();
    assert_eq!(one.engine().revision(), revision, "no step changed what anybody sees");
    agree(&other);
    assert!(other.engine().updates().open.is_empty());
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

/// One of several nodes took all updates and held them to their end, while the others had nothing to do.
#[test]
fn nodes_share_updates_out() {
    const SEVEN: &str = "
        type Hub in hubs { name: str, leaves: inverse Leaf.hub }
        type Leaf in leaves { hub: link Hub, a := self.hub.name, b := self.hub.name, c := self.hub.name, d := self.hub.name,
                              e := self.hub.name, f := self.hub.name, g := self.hub.name }";
    let store = shared();
    let names = ["one", "two", "three"];
    let nodes = names.map(|name| Db::new(tried(&store, SEVEN, name, false).unwrap()));
    let one = &nodes[0];
    let mut writes = vec![create(one, "Hub", "h", &[("name", text("one"))])];
    writes.extend((0..40).map(|at| create(one, "Leaf", &format!("l{at:02}"), &[("hub", reference("h"))])));
    commit(one, writes);
    one.finish_updates();
    let held = |db: &Db| {
        db.follow();
        let ledger = db.engine().updates();
        names.map(|name| ledger.open.iter().filter(|it| it.record.owner == name).count())
    };
    let open = commit(one, vec![update(one, "Hub", "h", &[("name", text("two"))])]).updates.len();
    assert_eq!(open, 7);
    for _ in 0..3 * open {
        one.step(2).unwrap();
    }
    assert_eq!(held(one), [open, 0, 0], "nobody else has worked yet");
    // From the first round on in which all have worked none has more than its share.
    let share = open.div_ceil(nodes.len());
    for round in 0..6 {
        for db in &nodes {
            db.follow();
            assert!(db.step(2).unwrap().is_some(), "all have something to do in round {round}");
        }
        let held = held(one);
        if round + 1 >= share {
            assert!(held.iter().all(|held| *held <= share), "{held:?} of {open} in round {round}");
        }
    }
    // One is gone: the others take its part over when its lease is over, and share that, too.
    let later = at(LEASE.as_secs() + 1);
    for _ in 0..open {
        for db in &nodes[1..] {
            db.step_at(2, later).unwrap();
        }
    }
    let [gone, two, three] = held(&nodes[1]);
    assert_eq!(gone, 0);
    assert!(two.abs_diff(three) <= 1, "{two} {three}");
    // The one that wakes late leaves what it held, and then takes its part.
    let before = held(one);
    one.step_at(2, later).unwrap();
    let after = held(one);
    assert!(before[0] == 0 && after[0] <= 1, "{before:?} {after:?}");
    loop {
        let mut worked = false;
        for db in &nodes {
            worked |= db.step_at(16, later).unwrap().is_some();
        }
        if !worked {
            break;
        }
    }
    for db in &nodes {
        db.follow();
        assert!(db.engine().updates().open.is_empty());
        assert!(["a", "d", "g"].iter().all(|field| get(db, "Leaf", "l39", field) == text("two")));
        agree(db);
    }
}

/// What was damaged beneath running nodes is mended in the store, whatever their caches remember of it, by whichever of them.
#[test]
fn a_repair_goes_by_what_is_stored_on_every_node() {
    let store = shared();
    let (one, other) = (node(&store, "one"), node(&store, "other"));
    hub(&one, 12);
    one.finish_updates();
    other.follow();
    // Both remember how it was.
    assert_eq!(get(&one, "Leaf", "l07", "label"), get(&other, "Leaf", "l07", "label"));
    let (engine, key) = (one.engine(), key(&one, "Leaf", "l07"));
    let row = keys::doc(engine.schema().ty(key.ty).id, &key.id);
    let layout = &engine.layouts()[key.ty.0 as usize];
    let mut doc = layout.decode(&store.snapshot().unwrap().get(keys::DOC, &row).unwrap().unwrap()).unwrap();
    assert!(doc.set(slot(&one, "Leaf", "label"), text("WRONG")));
    let mut bytes = Vec::new();
    layout.encode(&doc, &mut bytes);
    let mut batch = Batch::new();
    batch.put(keys::DOC, row, bytes);
    store.commit(&batch).unwrap();
    let audited = |db: &Db| {
        let mut audit = Audit::new(db.engine(), None).unwrap();
        while audit.step().unwrap().is_some() {}
        audit
    };
    let audit = audited(&one);
    assert_eq!(audit.findings, 1);
    let Apart { nodes, rows, build } = Cures::of(engine.schema()).apart(&audit.wrong);
    assert!(rows.is_empty() && build.is_empty());
    let ids = one.change(|executor| executor.begin_repair(&nodes, NOW)).unwrap();
    assert_eq!(ids.len(), 1);
    other.follow();
    while other.step(5).unwrap().is_some() {}
    for db in [&one, &other] {
        db.follow();
        assert_eq!(audited(db).findings, 0);
        assert_eq!(get(db, "Leaf", "l07", "label"), text("ONE"));
        agree(db);
    }
}

/// A transaction that was overtaken before it had read anything took the others' commits up with its first read, but not the
/// updates that they had begun: it took out of a group what that had not counted, and ended with data that cannot be read.
#[test]
fn who_takes_up_others_while_it_reads_begins_again() {
    let store = shared();
    let schema = "
        type Hub in hubs { code: str, leaves: inverse Leaf.hub, sums := group(self.leaves, by: hub.code, sum(n)) }
        type Leaf in leaves { hub: link Hub, n: int }";
    let one = Db::new(tried(&store, schema, "one", false).unwrap());
    commit(&one, vec![create(&one, "Hub", "h", &[("code", text("a"))])]);
    let leaf =
        |n: i64| create(&one, "Leaf", &format!("l{n}"), &[("hub", reference("h")), ("n", Value::Int(n))]);
    commit(&one, (0..6).map(leaf).collect());
    let other = Db::new(tried(&store, schema, "other", false).unwrap());
    let began = commit(&one, vec![update(&one, "Hub", "h", &[("code", text("b"))])]);
    assert_eq!(began.updates.len(), 1);
    commit(&other, vec![delete(&other, "Leaf", "l3")]);
    one.follow();
    one.finish_updates();
    other.follow();
    for db in [&one, &other] {
        assert_eq!(get(db, "Hub", "h", "sums"), Value::Object([("b".into(), Value::Int(12))].into()));
        agree(db);
    }
}

#[test]
fn a_node_wakes_for_what_another_one_has_given_an_end() {
    let store = shared();
    let schema = "type Post in posts expires after seconds(60) { n: int }";
    let [one, other] = ["one", "other"].map(|name| Db::new(tried(&store, schema, name, false).unwrap()));
    assert_eq!(other.with(Executor::next_due), None);
    commit(&one, vec![create(&one, "Post", "p", &[])]);
    other.follow();
    assert_eq!(other.with(Executor::next_due), Some(at(60)));
    other.execute_at(&[], at(60));
    one.follow();
    for db in [&one, &other] {
        assert!(doc(db, "Post", "p").is_none());
    }
}
