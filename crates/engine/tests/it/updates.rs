//! What is too large for its commit becomes an update: nothing is lost, nothing is shown that is not so, and it goes on
//! from where it was.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use crate::common::*;
use corollary_engine::updates::ledger::{KEPT, RETENTION};
use corollary_engine::updates::{Ledger, Settled, State, UpdateId};
use corollary_engine::{EngineError, EngineOptions, Transaction, Update, keys, open, oracle};
use corollary_schema::FieldRef;
use corollary_store::{Batch, Fault, Features, MemoryStore, Snapshot, Store, StoreError, StoreStats};
use corollary_value::Value;
use jiff::{SignedDuration, Timestamp};

const SCHEMA: &str = "
type Hub in hubs { name: str, mids: inverse Mid.hub, all: inverse Leaf.hub }
type Mid in mids { hub: link Hub, leaves: inverse Leaf.mid }
type Leaf in leaves {
  hub:   link Hub
  mid:   link Mid
  label  := upper(self.hub.name)
  far    := self.mid.hub.name
  again  := self.label + '!'
}
";

/// A store with a hub, and leaves on it, everything brought up to date.
fn hub(leaves: usize) -> Arc<MemoryStore> {
    let store = memory();
    let db = opened_within(&store, SCHEMA, usize::MAX);
    let mut writes = vec![create(&db, "Hub", "h", &[("name", text("one"))])];
    for at in 0..leaves {
        writes.push(create(&db, "Leaf", &format!("l{at:04}"), &[("hub", reference("h"))]));
    }
    commit(&db, writes);
    store
}

fn update_of(db: &Db, id: UpdateId) -> Arc<Update> {
    db.engine().updates().get(id).expect("the update").clone()
}

/// May the stored value be behind?
fn is_marked(db: &Db, ty: &str, name: &str, field: &str) -> bool {
    let (key, slot) = (key(db, ty, name), slot(db, ty, field));
    let field = FieldRef { ty: key.ty, slot };
    db.engine().read(NOW, |working| Settled::new(working).may_be_behind(field, &key.id)).unwrap()
}

/// What a read shows: computed where it may be behind, nothing where it cannot be.
fn shown(db: &Db, ty: &str, name: &str, field: &str, limit: usize) -> Option<Value> {
    let (key, slot) = (key(db, ty, name), slot(db, ty, field));
    let read = db.engine().read(NOW, |working| {
        let doc = working.after(&key)?.expect("a resource");
        let settled = Settled::new(working).doc(&key, &doc, limit)?;
        Ok((!settled.pending.contains(&slot)).then(|| settled.doc.get(slot).clone()))
    });
    read.unwrap()
}

/// A store that has something looked at before each commit.
struct Watched(MemoryStore, Mutex<Box<dyn FnMut() + Send>>);

impl Store for Watched {
    fn features(&self) -> &Features {
        self.0.features()
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.0.snapshot()
    }
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        (self.1.lock().unwrap())();
        self.0.commit(batch)
    }
    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.0.stats()
    }
    fn name(&self) -> &'static str {
        "watched"
    }
}

/// An update was told to have ended a moment before what it did could be read: its end is in the ledger before the commit
/// is in the store.
#[test]
fn an_update_that_is_told_to_have_ended_can_be_read() {
    let store = Arc::new(Watched(MemoryStore::new(&keys::KEYSPACES).unwrap(), Mutex::new(Box::new(|| {}))));
    let options = EngineOptions { update_budget: 3, ..EngineOptions::default() };
    let db = Db::new(open(store.clone(), SCHEMA, &options, NOW, &mut |_| {}).unwrap());
    let mut writes = vec![create(&db, "Hub", "h", &[("name", text("one"))])];
    for at in 0..10 {
        writes.push(create(&db, "Leaf", &format!("l{at}"), &[("hub", reference("h"))]));
    }
    commit(&db, writes);
    let [id] = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]).updates[..] else {
        panic!("an update")
    };
    let (engine, last, label) = (db.engine().clone(), key(&db, "Leaf", "l9"), slot(&db, "Leaf", "label"));
    let looks = Arc::new(Mutex::new(Vec::new()));
    let look = {
        let looks = looks.clone();
        move || {
            let is_done = |ledger: Arc<Ledger>| {
                ledger.get(id).is_some_and(|it| it.record.is_done() || it.record.ended.is_some())
            };
            let told = engine.updates_to_tell();
            assert_eq!(told.open.len() + told.ended.len(), 1, "it is told once, whatever is on its way");
            let stored = engine.read(NOW, |working| Ok(working.after(&last)?.unwrap().get(label).clone()));
            looks.lock().unwrap().push((
                is_done(told),
                stored.unwrap() == text("TWO"),
                is_done(engine.updates()),
            ));
        }
    };
    *store.1.lock().unwrap() = Box::new(look);
    while db.step(4).unwrap().is_some() {}
    *store.1.lock().unwrap() = Box::new(|| {});
    // Told to have ended, to be read, in the ledger: before the commit in which it ends only the last of them.
    let looks = looks.lock().unwrap();
    assert_eq!(looks.last(), Some(&(false, false, true)), "{looks:?}");
    let told = db.engine().updates_to_tell();
    assert!(told.open.is_empty() && told.get(id).unwrap().record.is_done());
}

#[test]
fn a_change_within_the_budget_goes_with_its_commit() {
    let store = hub(3);
    let db = opened_within(&store, SCHEMA, 3);
    let committed = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
    assert!(committed.updates.is_empty());
    assert_eq!(get(&db, "Leaf", "l0000", "again"), text("TWO!"));
    assert!(db.step(10).unwrap().is_none());
}

#[test]
fn a_change_beyond_it_is_brought_about_step_by_step() {
    let store = hub(10);
    let db = opened_within(&store, SCHEMA, 3);
    let committed = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
    let [id] = committed.updates[..] else { panic!("{:?}", committed.updates) };
    assert_eq!(committed.work.evaluations, 0, "nothing of it is done in the commit");
    let begun = update_of(&db, id);
    assert_eq!((begun.record.ty.as_str(), begun.record.field.as_str()), ("Leaf", "label"));
    assert_eq!(begun.record.cause.revision, committed.revision);
    assert_eq!(begun.record.state, State::Waiting);
    // Stored as it was, shown as it is.
    assert_eq!(get(&db, "Leaf", "l0009", "again"), text("ONE!"));
    assert_eq!(shown(&db, "Leaf", "l0009", "again", 100), Some(text("TWO!")));
    assert_eq!(
        shown(&db, "Leaf", "l0009", "again", 1),
        None,
        "a limit that does not suffice leaves it marked"
    );
    agree(&db);
    let mut steps = 0;
    while let Some(progress) = db.step(4).unwrap() {
        steps += 1;
        assert_eq!(progress.id, id);
        assert!(progress.commit.is_some_and(|commit| commit.changes.len() <= 4));
        let record = &update_of(&db, id).record;
        assert_eq!(record.estimated, 10, "all of them are counted before the first");
        assert_eq!(record.visited, (4 * steps).min(10));
        assert_eq!(record.changed, record.visited * 2, "`again` follows in the same batch");
        let counts: Vec<u64> = record.fields.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [record.visited, record.visited], "of `label` and of `again`");
        // Whom it has passed is marked no more.
        for leaf in 0..10 {
            let passed = leaf < record.visited;
            assert_eq!(!is_marked(&db, "Leaf", &format!("l{leaf:04}"), "label"), passed, "{leaf}");
        }
        agree(&db);
    }
    assert_eq!(steps, 3);
    assert_eq!(get(&db, "Leaf", "l0009", "again"), text("TWO!"));
    assert!(!is_marked(&db, "Leaf", "l0009", "label"));
    let ended = update_of(&db, id);
    assert_eq!((ended.record.state, ended.record.ended.is_some()), (State::Done, true));
    // The record outlives the process.
    let again = opened_within(&store, SCHEMA, 3);
    assert_eq!(update_of(&again, id).record, ended.record);
}

#[test]
fn only_whom_the_change_reaches_is_marked() {
    let store = hub(5);
    let db = opened_within(&store, SCHEMA, 1);
    let other = create(&db, "Hub", "other", &[("name", text("x"))]);
    commit(&db, vec![other, create(&db, "Leaf", "lone", &[("hub", reference("other"))])]);
    commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
    assert!(is_marked(&db, "Leaf", "l0000", "label"));
    assert!(!is_marked(&db, "Leaf", "lone", "label"));
    assert!(!is_marked(&db, "Leaf", "lone", "far"), "what does not follow from it is not marked");
}

/// A path of several links is walked on from exactly where it was left, whatever the size of a step.
#[test]
fn no_step_goes_over_the_same_ground() {
    for limit in 1..6 {
        let store = memory();
        let db = opened_within(&store, SCHEMA, usize::MAX);
        let mut writes = vec![create(&db, "Hub", "h", &[("name", text("one"))])];
        for mid in 0..6 {
            writes.push(create(&db, "Mid", &format!("m{mid}"), &[("hub", reference("h"))]));
            // Some lead to nobody.
            for leaf in 0..mid % 4 {
                let mid = reference(&format!("m{mid}"));
                writes.push(create(&db, "Leaf", &format!("l{}-{leaf}", writes.len()), &[("mid", mid)]));
            }
        }
        commit(&db, writes);
        drop(db);
        let db = opened_within(&store, SCHEMA, 2);
        let committed = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
        let [id] = committed.updates[..] else { panic!("{:?}", committed.updates) };
        while db.step(limit).unwrap().is_some() {
            agree(&db);
        }
        let record = &update_of(&db, id).record;
        assert_eq!((record.visited, record.changed, record.estimated), (7, 7, 7), "with steps of {limit}");
    }
}

#[test]
fn a_second_change_of_the_source_begins_anew_and_nothing_goes_back() {
    let store = hub(10);
    let db = opened_within(&store, SCHEMA, 3);
    let first = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
    db.step(6).unwrap();
    assert_eq!(get(&db, "Leaf", "l0000", "label"), text("TWO"));
    assert_eq!(get(&db, "Leaf", "l0009", "label"), text("ONE"));
    let second = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("three"))])]);
    assert_eq!(first.updates, second.updates, "it is the same update");
    let mut seen = Vec::new();
    loop {
        agree(&db);
        let values = [get(&db, "Leaf", "l0000", "label"), get(&db, "Leaf", "l0009", "label")];
        if seen.last() != Some(&values) {
            seen.push(values);
        }
        if db.step(5).unwrap().is_none() {
            break;
        }
    }
    let values = |one: &str, other: &str| [text(one), text(other)];
    assert_eq!(seen, [values("TWO", "ONE"), values("THREE", "ONE"), values("THREE", "THREE")]);
}

#[test]
fn updates_take_turns() {
    let store = hub(8);
    let db = opened_within(&store, SCHEMA, 0);
    let mut writes = vec![create(&db, "Hub", "other", &[("name", text("x"))])];
    writes.extend((0..8).map(|at| create(&db, "Leaf", &format!("o{at}"), &[("hub", reference("other"))])));
    commit(&db, writes);
    db.finish_updates();
    let one = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]).updates;
    let two = commit(&db, vec![update(&db, "Hub", "other", &[("name", text("y"))])]).updates;
    let served: Vec<UpdateId> = (0..4).map(|_| db.step(2).unwrap().expect("a step").id).collect();
    assert_eq!(served, [one[0], two[0], one[0], two[0]]);
}

/// Those that began first are under way, and one that waits after a failure is no reason for the next to wait.
#[test]
fn as_many_updates_are_under_way_as_are_told_to_be() {
    let schema = "type A in all { name: str, bs: inverse B.a } type B in bees { a: link A, copy := self.a.name, index }";
    let db = opened_within(&memory(), schema, 0);
    let mut writes = Vec::new();
    for at in 0..3 {
        writes.push(create(&db, "A", &format!("a{at}"), &[("name", text("one"))]));
        let bs =
            (0..6).map(|b| create(&db, "B", &format!("b{at}{b}"), &[("a", reference(&format!("a{at}")))]));
        writes.extend(bs);
    }
    commit(&db, writes);
    db.finish_updates();
    let rename = |at: usize, name: &str| {
        commit(&db, vec![update(&db, "A", &format!("a{at}"), &[("name", text(name))])]).updates[0]
    };
    let ids = [rename(0, &"x".repeat(20_000)), rename(1, "two"), rename(2, "two")];
    let served = |count: usize| -> Vec<UpdateId> {
        (0..count).map(|_| db.step(2).unwrap().expect("a step").id).collect()
    };
    db.change(|executor| executor.set_updates_at_once(NonZeroUsize::new(1)));
    assert!(db.step(2).is_err(), "the first one cannot go on");
    assert_eq!(served(2), [ids[1], ids[1]]);
    db.change(|executor| executor.set_updates_at_once(None));
    assert_eq!(served(2), [ids[2], ids[1]]);
    rename(0, "two");
    db.finish_updates();
    agree(&db);
}

/// With a budget of nothing each level is an update of its own, which remembers what it came of.
#[test]
fn what_follows_from_an_update_may_be_one_too() {
    let schema = "
        type A in all { name: str, bs: inverse B.a }
        type B in bees { a: link A, cs: inverse C.b, copy := self.a.name }
        type C in seas { b: link B, copy := self.b.copy, total := count(self.b.cs[copy = 'two']) }";
    let store = memory();
    let db = opened_within(&store, schema, usize::MAX);
    let mut writes = vec![create(&db, "A", "a", &[("name", text("one"))])];
    for b in 0..4 {
        writes.push(create(&db, "B", &format!("b{b}"), &[("a", reference("a"))]));
        writes.extend(
            (0..4).map(|c| create(&db, "C", &format!("c{b}-{c}"), &[("b", reference(&format!("b{b}")))])),
        );
    }
    commit(&db, writes);
    drop(db);
    let db = opened_within(&store, schema, 0);
    let began = commit(&db, vec![update(&db, "A", "a", &[("name", text("two"))])]).updates;
    while db.step(3).unwrap().is_some() {
        agree(&db);
    }
    assert_eq!(get(&db, "C", "c3-3", "total"), Value::Int(4));
    let ledger = db.engine().updates();
    let later: Vec<_> = ledger.ended.iter().filter(|update| !began.contains(&update.record.id)).collect();
    assert!(!later.is_empty() && later.iter().all(|update| update.record.origins.contains(&began[0])));
}

/// A deleted resource that a derived link still led to, because the link was to follow later, was taken for one that
/// nobody reaches: what a group had counted of it was never taken out again.
#[test]
fn whoever_reaches_a_deleted_resource_by_a_link_that_follows_later_is_looked_at() {
    let schema = "
        type Team in teams { people: inverse Person.team, n := count(self.people[chief.age > 3]),
                             sum := sum(self.people.chief.age) }
        type Boss in bosses { age: int }
        type Office in offices { boss: link Boss, people: inverse Person.office }
        type Person in people { team: link Team, office: link Office, chief := self.office.boss, age := self.chief.age }";
    let store = memory();
    let db = opened_within(&store, schema, 0);
    let mut writes = vec![
        create(&db, "Team", "t", &[]),
        create(&db, "Boss", "b", &[("age", Value::Int(9))]),
        create(&db, "Office", "o", &[("boss", reference("b"))]),
    ];
    writes.extend((0..3).map(|at| {
        create(&db, "Person", &format!("p{at}"), &[("team", reference("t")), ("office", reference("o"))])
    }));
    commit(&db, writes);
    db.finish_updates();
    assert_eq!(get(&db, "Team", "t", "n"), Value::Int(3));
    commit(&db, vec![delete(&db, "Boss", "b")]);
    agree(&db);
    // The same id again, before the links have followed.
    commit(&db, vec![create(&db, "Boss", "b", &[("age", Value::Int(1))])]);
    agree(&db);
    commit(&db, vec![update(&db, "Office", "o", &[("boss", reference("b"))])]);
    agree(&db);
    while db.step(1).unwrap().is_some() {
        agree(&db);
    }
    assert_eq!(get(&db, "Team", "t", "n"), Value::Int(0));
    assert_eq!(get(&db, "Person", "p2", "age"), Value::Int(1));
}

#[test]
fn a_background_field_follows_later_even_of_its_own_resource() {
    let schema = "type A in all { n: int, bs: inverse B.a, twice := self.n * 2, background, sum := sum(self.bs.n), background }
                  type B in bees { a: link A, n: int }";
    let db = opened_within(&memory(), schema, 1_000);
    let writes = vec![
        create(&db, "A", "a", &[("n", Value::Int(4))]),
        create(&db, "B", "b", &[("a", reference("a")), ("n", Value::Int(5))]),
    ];
    let committed = commit(&db, writes);
    assert_eq!(committed.updates.len(), 2, "one for each of the fields");
    assert_eq!(get(&db, "A", "a", "twice"), Value::Absent);
    assert!(is_marked(&db, "A", "a", "twice") && is_marked(&db, "A", "a", "sum"));
    assert_eq!(shown(&db, "A", "a", "sum", 100), Some(Value::Int(5)));
    agree(&db);
    // What comes in the meantime joins the update that is open.
    let more = commit(&db, vec![create(&db, "A", "a2", &[("n", Value::Int(1))])]);
    assert!(more.updates.iter().all(|id| committed.updates.contains(id)), "{:?}", more.updates);
    db.finish_updates();
    agree(&db);
    assert_eq!(get(&db, "A", "a", "twice"), Value::Int(8));
    assert_eq!(get(&db, "A", "a", "sum"), Value::Int(5));
    assert_eq!(get(&db, "A", "a2", "twice"), Value::Int(2));
}

/// Whether a write is refused is known before its reply, however many it reaches.
#[test]
fn a_strict_field_and_all_it_is_computed_from_follow_at_once() {
    let schema = "type A in all { n: int, bs: inverse B.a }
                  type B in bees { a: link A, half := 10 / self.a.n, safe := self.half + 1, strict, free := self.a.n }";
    let db = opened_within(&memory(), schema, 0);
    let mut writes = vec![create(&db, "A", "a", &[("n", Value::Int(2))])];
    writes.extend((0..5).map(|at| create(&db, "B", &format!("b{at}"), &[("a", reference("a"))])));
    commit(&db, writes);
    assert_eq!(codes(&refused(&db, vec![update(&db, "A", "a", &[("n", Value::Int(0))])])), ["strict safe"]);
    assert!(db.engine().updates().open.is_empty(), "what is refused begins nothing");
    let committed = commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(5))])]);
    assert_eq!(committed.updates.len(), 1, "of `free`");
    assert_eq!(get(&db, "B", "b4", "safe"), Value::Float(3.0));
}

/// The simulator took such a refusal for a mistake: without strict fields, the field in the background had not followed yet.
#[test]
fn a_strict_field_brings_what_is_in_the_background_along() {
    let schema = "type A in all { n: int, half := 10 / self.n, background, safe := self.half + 1, strict }";
    let db = opened_within(&memory(), schema, 0);
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(2))])]);
    assert_eq!(codes(&refused(&db, vec![update(&db, "A", "a", &[("n", Value::Int(0))])])), ["strict safe"]);
    let committed = commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(5))])]);
    assert!(committed.updates.is_empty(), "nothing is left for later");
    assert_eq!(get(&db, "A", "a", "half"), Value::Float(2.0));
    assert_eq!(get(&db, "A", "a", "safe"), Value::Float(3.0));
}

#[test]
fn another_schema_brings_about_what_an_update_has_not_come_to() {
    let store = hub(10);
    let db = opened_within(&store, SCHEMA, 3);
    let id = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]).updates[0];
    db.step(4).unwrap();
    drop(db);
    let db =
        opened_within(&store, &SCHEMA.replace("again  := self.label + '!'", "more := self.label + '?'"), 3);
    agree(&db);
    assert_eq!(update_of(&db, id).record.state, State::Done);
    assert_eq!(db.engine().updates().open.len(), 2, "`label` and `more` are filled");
    db.finish_updates();
    agree(&db);
    assert_eq!(get(&db, "Leaf", "l0009", "more"), text("TWO?"));
    assert!(!is_marked(&db, "Leaf", "l0009", "label"));
}

/// The value of an indexed field may be longer than an index takes: the update cannot go on there, says why, and goes on
/// as soon as it can.
#[test]
fn an_update_that_cannot_go_on_says_why_and_goes_on_later() {
    let schema = "type A in all { name: str, bs: inverse B.a } type B in bees { a: link A, copy := self.a.name, index }";
    let db = opened_within(&memory(), schema, 0);
    let mut writes = vec![create(&db, "A", "a", &[("name", text("one"))])];
    writes.extend((0..5).map(|at| create(&db, "B", &format!("b{at}"), &[("a", reference("a"))])));
    commit(&db, writes);
    let long = "x".repeat(20_000);
    let id = commit(&db, vec![update(&db, "A", "a", &[("name", text(&long))])]).updates[0];
    assert!(matches!(db.step(8), Err(EngineError::Refused(_))));
    let failed = update_of(&db, id);
    assert_eq!(failed.record.state, State::Failed);
    assert!(
        failed.record.error.as_deref().is_some_and(|error| error.contains("copy")),
        "{:?}",
        failed.record.error
    );
    assert!(db.step(8).unwrap().is_none(), "not at once");
    agree(&db);
    assert_eq!(shown(&db, "B", "b3", "copy", 100), Some(text(&long)));
    commit(&db, vec![update(&db, "A", "a", &[("name", text("two"))])]);
    db.finish_updates();
    agree(&db);
    assert_eq!(get(&db, "B", "b3", "copy"), text("two"));
    assert_eq!(update_of(&db, id).record.error, None);
}

/// An update is cut short at each commit of its own, in each way in which a store can fail: it goes on from where it was,
/// ends with what the facts give, and has counted each change once.
#[test]
fn a_crash_at_any_point_loses_nothing_and_does_nothing_twice() {
    const LEAVES: usize = 300;
    let faults = [Fault::Full, Fault::Io, Fault::Sync { survives: false }, Fault::Sync { survives: true }];
    let store = hub(LEAVES);
    let db = opened_within(&store, SCHEMA, 3);
    let id = commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]).updates[0];
    let mut points = 0;
    loop {
        for fault in faults {
            points += 1;
            let image = Arc::new(store.crash_image());
            let broken = opened_within(&image, SCHEMA, 3);
            image.fail_next_commit(fault);
            if broken.step(1).is_ok() {
                panic!("the store failed, and the step did not");
            }
            drop(broken);
            let after = Arc::new(image.crash_image());
            let again = opened_within(&after, SCHEMA, 3);
            assert!(again.engine().updates().open.iter().all(|update| update.record.id == id));
            again.finish_updates();
            let record = &update_of(&again, id).record;
            let expected = (State::Done, LEAVES as u64, 2 * LEAVES as u64);
            assert_eq!((record.state, record.visited, record.changed), expected, "{fault:?} at {points}");
            if points % 40 < 4 {
                agree(&again);
                let checked = again.engine().read(NOW, |working| oracle::check(working, None)).unwrap();
                assert_eq!(checked.pending, 0);
            }
        }
        db.step(1).unwrap();
        if db.engine().updates().open.is_empty() {
            break;
        }
    }
    assert!(points >= 1_000, "{points}");
}

/// Members that an update had yet to come to were counted with the image of what they link to, and with what lies behind it
/// as it was by then: nobody knew any more how that had been when they were counted.
#[test]
fn a_group_that_reads_on_through_what_its_members_link_to_follows_at_once() {
    let db = opened_within(
        &memory(),
        "type Top in tops { n: int, mids: inverse Mid.top, size := count(self.mids) }
         type Mid in mids { top: link Top, k: int }
         type Leaf in leaves { mid: link Mid, owner: link Owner, v: int }
         type Owner in owners {
           leaves: inverse Leaf.owner
           far    := sum(self.leaves[mid.top.n > 0].v)
           others := sum(self.leaves[mid.top.size > 1].v)
           near   := sum(self.leaves[mid.k > 0].v)
         }",
        1,
    );
    let top = |name: &str, n: i64| create(&db, "Top", name, &[("n", Value::Int(n))]);
    let mid = create(&db, "Mid", "m", &[("top", reference("t1")), ("k", Value::Int(1))]);
    let leaf = |name: &str| {
        let values = [("mid", reference("m")), ("owner", reference("o")), ("v", Value::Int(1))];
        create(&db, "Leaf", name, &values)
    };
    let all = vec![top("t1", 1), top("t2", 0), create(&db, "Owner", "o", &[]), mid];
    commit(&db, all.into_iter().chain(["a", "b", "c"].map(leaf)).collect());
    db.finish_updates();
    agree(&db);
    commit(&db, vec![update(&db, "Mid", "m", &[("top", reference("t2")), ("k", Value::Int(0))])]);
    agree(&db);
    commit(&db, vec![update(&db, "Top", "t1", &[("n", Value::Int(0))]), create(&db, "Mid", "m2", &[])]);
    commit(&db, vec![update(&db, "Top", "t2", &[("n", Value::Int(5))])]);
    commit(&db, vec![delete(&db, "Top", "t1")]);
    agree(&db);
    while db.step(1).unwrap().is_some() {
        agree(&db);
    }
    let of = |field: &str| get(&db, "Owner", "o", field);
    assert_eq!((of("far"), of("others"), of("near")), (Value::Int(3), Value::Int(0), Value::Int(0)));
}

/// Members reached their owner through what they link to. When that was cut from its owner by the owner's deletion, they were
/// still counted for it; and one that was created with its id had counted nobody.
#[test]
fn an_owner_that_came_again_is_not_the_one_that_members_were_counted_for() {
    let db = opened_within(
        &memory(),
        "type Team in teams { desks: inverse Desk.team, sum := sum(self.desks.things.n) }
         type Desk in desks { team: link Team, things: inverse Thing.desk }
         type Thing in things { desk: link Desk, n: int }",
        1,
    );
    let thing = |name: &str| create(&db, "Thing", name, &[("desk", reference("d")), ("n", Value::Int(2))]);
    let desk = create(&db, "Desk", "d", &[("team", reference("t"))]);
    let all = vec![create(&db, "Team", "t", &[]), desk];
    commit(&db, all.into_iter().chain(["a", "b", "c"].map(thing)).collect());
    db.finish_updates();
    commit(&db, vec![delete(&db, "Team", "t")]);
    agree(&db);
    commit(&db, vec![create(&db, "Team", "t", &[])]);
    agree(&db);
    while db.step(1).unwrap().is_some() {
        agree(&db);
    }
    assert_eq!(get(&db, "Team", "t", "sum"), Value::Int(0));
}

/// The record of an update is there for its time after the end, and goes with the end of a later one; of very many the
/// oldest go before.
#[test]
fn a_record_is_kept_for_its_time() {
    let store = hub(5);
    let db = opened_within(&store, SCHEMA, 3);
    let ended = |name: &str, now: Timestamp| {
        let writes = vec![update(&db, "Hub", "h", &[("name", text(name))])];
        let committed = db.commit(&[Transaction { writes }], now).unwrap().remove(0).unwrap();
        while db.step_at(100, now).unwrap().is_some() {}
        committed.updates[0]
    };
    let first = ended("two", NOW);
    let is_kept = |id: UpdateId| {
        let stored = store.snapshot().unwrap().get(keys::UPDATE, &keys::update(id)).unwrap().is_some();
        assert_eq!(db.engine().updates().get(id).is_some(), stored);
        stored
    };
    let second = ended("three", NOW + RETENTION);
    assert!(is_kept(first) && is_kept(second));
    let third = ended("four", NOW + RETENTION + SignedDuration::from_secs(1));
    assert!(!is_kept(first) && is_kept(second) && is_kept(third));
    for at in 0..KEPT {
        ended(&format!("n{at}"), NOW + RETENTION);
    }
    assert!(!is_kept(third), "a thousand have ended since");
    assert_eq!(db.engine().updates().ended.len(), KEPT);
}
