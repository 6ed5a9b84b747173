//! Repairs: what is damaged on purpose is found, mended by updates while all else goes on, and right in the end, whatever
//! happens on the way.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::versions::*;
use crate::common::*;
use corollary_engine::entries::MENDED_TOGETHER;
use corollary_engine::eval::View;
use corollary_engine::rebuild::{self, Structure};
use corollary_engine::repair::{Apart, Cures, MAX_ROWS};
use corollary_engine::updates::{Settled, State, Task, UpdateId};
use corollary_engine::{EngineError, EngineOptions, Executor, Key, Write, keys, open, oracle, side_state};
use corollary_schema::FieldKind;
use corollary_store::{Batch, Direction, Fault, KeyRange, Keyspace, MemoryStore, Store};
use corollary_value::{SumState, Value};
use jiff::SignedDuration;
use proptest::prelude::*;

const TEAMS: &str = "
type Team in teams {
  name: str, people: inverse Person.team, sum := sum(self.people.age), top := max(self.people.twice),
  by := group(self.people, by: old, sum(age)), mid := median(self.people.age), all := self.people,
  double := self.sum * 2, recent := count(self.people[joined > now() - days(7)])
}
type Person in people {
  team: link Team, age: int, joined: datetime, old := self.age > 40, twice := self.age * 2,
  tag := self.team.name, fresh := self.joined > now() - days(3)
}
type Everybody in all { n := count(people), most := max(people.twice) }
";

/// A store with people of two teams.
fn people(count: usize) -> Arc<MemoryStore> {
    let store = memory();
    let db = opened_within(&store, TEAMS, usize::MAX);
    let named = |name: &str| [("name", text(name))];
    let mut writes = vec![create(&db, "Team", "t0", &named("a")), create(&db, "Team", "t1", &named("b"))];
    writes.push(create(&db, "Everybody", "e", &[]));
    for at in 0..count {
        let joined = NOW.checked_sub(SignedDuration::from_hours(at as i64 * 5)).unwrap();
        let values = [
            ("team", reference(&format!("t{}", at % 2))),
            ("age", Value::Int(at as i64 * 7 % 60)),
            ("joined", Value::Datetime(joined)),
        ];
        writes.push(create(&db, "Person", &format!("p{at:03}"), &values));
    }
    commit(&db, writes);
    agree(&db);
    store
}

/// Changes a stored document behind the engine's back.
fn damage(store: &MemoryStore, db: &Db, key: &Key, change: impl FnOnce(&mut corollary_engine::Doc)) {
    let engine = db.engine();
    let row = keys::doc(engine.schema().ty(key.ty).id, &key.id);
    let layout = &engine.layouts()[key.ty.0 as usize];
    let mut doc = layout.decode(&store.snapshot().unwrap().get(keys::DOC, &row).unwrap().unwrap()).unwrap();
    change(&mut doc);
    let mut bytes = Vec::new();
    layout.encode(&doc, &mut bytes);
    let mut batch = Batch::new();
    batch.put(keys::DOC, row, bytes);
    store.commit(&batch).unwrap();
}

fn rows(store: &MemoryStore, keyspace: Keyspace) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let snapshot = store.snapshot().unwrap();
    snapshot
        .scan(keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, &mut |key, _| {
            found.push(key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn remove(store: &MemoryStore, keyspace: Keyspace, which: impl Fn(usize) -> bool) -> usize {
    let mut batch = Batch::new();
    let found: Vec<Vec<u8>> = rows(store, keyspace);
    let found: Vec<_> = found.into_iter().enumerate().filter(|(at, _)| which(*at)).collect();
    found.iter().for_each(|(_, row)| batch.delete(keyspace, row.clone()));
    store.commit(&batch).unwrap();
    found.len()
}

/// All that is wrong.
fn found(db: &Db) -> BTreeSet<Structure> {
    let engine = db.engine();
    let schema = engine.schema();
    let checked = engine.read(engine.time(), |working| oracle::check(working, None)).unwrap();
    let side = engine.read(engine.time(), side_state::check).unwrap();
    let values = checked.differences.iter().flat_map(|it| rebuild::structures_of(schema, it.field));
    values.chain(side.into_keys()).collect()
}

fn executor(store: &Arc<MemoryStore>, schema: &str, budget: usize) -> Executor {
    let store: Arc<dyn Store> = store.clone();
    let options = EngineOptions { update_budget: budget, ..EngineOptions::default() };
    open(store, schema, &options, NOW, &mut |_| {}).unwrap()
}

/// Opens a damaged store and begins to mend all that is wrong; that is to be done by updates alone.
fn begun(store: &Arc<MemoryStore>, schema: &str, budget: usize) -> (Db, Vec<UpdateId>) {
    let db = Db::new(executor(store, schema, budget));
    let wrong = found(&db);
    let Apart { nodes, rows, build } = Cures::of(db.engine().schema()).apart(&wrong);
    assert_eq!((rows, build), (Vec::new(), BTreeSet::new()));
    let ids = db.change(|executor| executor.begin_repair(&nodes, NOW)).unwrap();
    assert_eq!(ids.len(), nodes.len());
    (db, ids)
}

/// Mends the rows of some structures.
fn mend_rows(executor: &mut Executor, structures: &[Structure]) {
    for structure in structures {
        let engine = executor.engine().clone();
        let rows =
            engine.alone(1 << 20, |working| side_state::wrong_rows(working, *structure, MAX_ROWS)).unwrap();
        let rows = rows.expect("not too many");
        rows.chunks(MENDED_TOGETHER).for_each(|rows| executor.mend_rows(*structure, rows).unwrap());
    }
}

/// Damages a value that others are computed from, values that are the end, what groups keep, and timers.
fn spoil(store: &Arc<MemoryStore>) {
    let db = opened_within(store, TEAMS, usize::MAX);
    let set = |ty: &str, name: &str, field: &str, value: Value| {
        let slot = slot(&db, ty, field);
        damage(store, &db, &key(&db, ty, name), |doc| assert!(doc.set(slot, value)));
    };
    set("Person", "p003", "twice", Value::Int(999));
    set("Person", "p004", "old", Value::Absent);
    set("Person", "p005", "fresh", Value::Bool(false));
    set("Team", "t0", "double", Value::Int(-1));
    set("Team", "t1", "mid", text("?"));
    let sum = slot(&db, "Team", "sum");
    damage(store, &db, &key(&db, "Team", "t1"), |doc| doc.set_state(sum, SumState::default()));
    assert!(remove(store, keys::MEMBER, |at| at % 5 == 0) > 3);
    assert!(remove(store, keys::TIMER, |at| at % 2 == 0) > 3);
}

#[test]
fn what_is_wrong_is_mended_by_updates_while_all_goes_on() {
    let store = people(24);
    spoil(&store);
    let (db, ids) = begun(&store, TEAMS, 1);
    assert!(ids.len() >= 6, "{ids:?}");
    // What is wrong is marked or computed from the first moment on, and no revision was needed for that.
    agree(&db);
    let shown = db.engine().read(NOW, |working| {
        let key = key(&db, "Person", "p003");
        let doc = working.after(&key)?.expect("a person");
        Ok(Settled::new(working).doc(&key, &doc, 1_000)?.doc.get(slot(&db, "Person", "twice")).clone())
    });
    assert_eq!((shown.unwrap(), get(&db, "Person", "p003", "twice")), (Value::Int(42), Value::Int(999)));
    for id in &ids {
        let update = db.engine().updates().get(*id).unwrap().clone();
        assert!(update.record.cause.repair && update.record.task != Task::Follow);
        assert_eq!(update.record.state, State::Waiting);
    }
    let mut at = 0;
    while let Some(progress) = db.step(3).unwrap() {
        agree(&db);
        // One behind the walks, one in front, one that moves, one that comes.
        let age = |n: i64| [("age", Value::Int(n))];
        let write = match at % 4 {
            0 => update(&db, "Person", "p001", &age(at)),
            1 => update(&db, "Person", "p022", &age(at)),
            2 => update(&db, "Person", "p012", &[("team", reference(if at % 8 == 2 { "t1" } else { "t0" }))]),
            _ => create(
                &db,
                "Person",
                &format!("q{at}"),
                &[("age", Value::Int(at)), ("team", reference("t0"))],
            ),
        };
        if at < 40 {
            commit(&db, vec![write]);
            agree(&db);
        }
        at += 1;
        assert!(progress.visited <= 3);
    }
    assert!(at > 40 && found(&db).is_empty());
    for id in ids {
        let record = db.engine().updates().get(id).unwrap().record.clone();
        assert_eq!((record.state, record.error), (State::Done, None));
        assert_eq!(record.estimated, record.visited);
    }
    // What the clock changes is known again, too.
    let later = NOW.checked_add(SignedDuration::from_hours(24)).unwrap();
    db.commit(&[], later).unwrap();
    db.finish_updates();
    assert!(wrong_as_at(&db, later).is_empty());
    drop(db);
    agree(&opened_within(&store, TEAMS, 1));
}

/// A repair that is begun while another one runs begins anew with what both are about.
#[test]
fn a_second_repair_takes_the_place_of_the_first() {
    let store = people(12);
    spoil(&store);
    let (db, first) = begun(&store, TEAMS, 1);
    for _ in 0..12 {
        db.step(5).unwrap();
    }
    let Apart { nodes, .. } = Cures::of(db.engine().schema())
        .apart(&rebuild::structures(db.engine().schema()).into_iter().collect());
    let second = db.change(|executor| executor.begin_repair(&nodes, NOW)).unwrap();
    agree(&db);
    assert!(first.iter().all(|id| !second.contains(id)));
    let ledger = db.engine().updates();
    for id in &first {
        let record = &ledger.get(*id).unwrap().record;
        assert!(record.is_done(), "{id}");
    }
    assert!(first.iter().any(|id| ledger.get(*id).unwrap().record.error.is_some()));
    db.finish_updates();
    agree(&db);
    assert!(found(&db).is_empty());
}

/// A repair is cut short at each commit of its own, the first one with it, in each way in which a store can fail.
#[test]
fn a_crash_at_any_point_of_a_repair_loses_nothing_and_counts_nothing_twice() {
    let faults = [Fault::Full, Fault::Io, Fault::Sync { survives: false }, Fault::Sync { survives: true }];
    let store = people(10);
    spoil(&store);
    let mut points = 0;
    let ended = |image: &Arc<MemoryStore>, point: usize, fault: Fault| {
        let again = opened_within(&Arc::new(image.crash_image()), TEAMS, 1);
        if again.engine().updates().open.is_empty() {
            return false;
        }
        commit(&again, vec![update(&again, "Person", "p007", &[("age", Value::Int(point as i64))])]);
        agree(&again);
        again.finish_updates();
        agree(&again);
        assert!(found(&again).is_empty(), "{fault:?} at {point}");
        true
    };
    for fault in faults {
        let image = Arc::new(store.crash_image());
        let db = Db::new(executor(&image, TEAMS, 1));
        let Apart { nodes, .. } = Cures::of(db.engine().schema()).apart(&found(&db));
        image.fail_next_commit(fault);
        assert!(db.change(|executor| executor.begin_repair(&nodes, NOW)).is_err());
        let has_begun = ended(&image, points, fault);
        assert_eq!(
            has_begun,
            fault == Fault::Sync { survives: true },
            "all of it is begun, or nothing: {fault:?}"
        );
    }
    let (db, _) = begun(&store, TEAMS, 1);
    loop {
        for fault in faults {
            points += 1;
            let image = Arc::new(store.crash_image());
            let broken = opened_within(&image, TEAMS, 1);
            image.fail_next_commit(fault);
            // Counting ahead commits nothing.
            while broken.step(1).is_ok() {}
            drop(broken);
            ended(&image, points, fault);
        }
        let done = db.step(1).unwrap().is_none();
        if done || db.engine().updates().open.is_empty() {
            break;
        }
    }
    assert!(points > 300, "{points}");
}

const BUILT: &str = "
type List in lists { name: str unique, items: ordered collection Item, total := sum(self.items.n), mean := self.total / count(self.items) strict }
type Item { n: int index, folder: link Folder, on := self.folder.name }
type Folder in folders { name: str, up: link Folder, down: inverse Folder.up, n: int, size := self.n + sum(self.down.size) }
";

/// A store with what an update cannot mend: orders, indexes, references, what a strict field reads, what depends on itself.
fn lists() -> Arc<MemoryStore> {
    let store = memory();
    let db = opened_within(&store, BUILT, 1);
    let mut writes = vec![create(&db, "List", "l", &[("name", text("l"))])];
    for at in 0..6i64 {
        let mut folder = vec![("n", Value::Int(at)), ("name", text("f"))];
        if at > 0 {
            folder.push(("up", reference(&format!("f{}", (at - 1) / 2))));
        }
        writes.push(create(&db, "Folder", &format!("f{at}"), &folder));
        let item = [
            ("parent_list_items", reference("l")),
            ("n", Value::Int(at)),
            ("folder", reference(&format!("f{at}"))),
        ];
        let place = db.engine().schema().ty(key(&db, "Item", "i").ty).positions[0].slot;
        // Each at the beginning: their order is not that of their ids.
        match create(&db, "Item", &format!("i{at}"), &item) {
            Write::Create(key, mut values) => {
                values.push((place, Value::Int(0)));
                writes.push(Write::Create(key, values));
            }
            other => panic!("{other:?}"),
        }
    }
    commit(&db, writes);
    agree(&db);
    store
}

/// Entries that are missing and entries too many, of indexes and of references, in many kinds of values and of ids: each is
/// mended by itself, whatever is written between the look and the mending, and nothing else is touched.
#[test]
fn entries_are_mended_one_by_one_by_what_is_there_then() {
    const INDEXED: &str = "
    type Thing in things { name: str index search text, n: decimal index, up: link Thing, down: inverse Thing.up,
                           all: links Thing, parts: collection Part, low := lower(self.name) index }
    type Part { label: str unique in parent, size: int index }
    ";
    let store = memory();
    let db = opened_within(&store, INDEXED, 1);
    let thing = |at: usize| match at % 3 {
        0 => format!("{:08x}-0000-4000-8000-000000000000", at),
        _ => format!("t{at}"),
    };
    let mut writes = Vec::new();
    for at in 0..12 {
        let mut values = vec![("name", text(&format!("The {} of\u{0}{at}", at % 4)))];
        if at > 0 {
            values.push(("up", reference(&thing(at / 2))));
            values.push(("all", references(&[&thing(at - 1), &thing(at / 3)])));
        }
        writes.push(create(&db, "Thing", &thing(at), &values));
        let part = [
            ("parent_thing_parts", reference(&thing(at))),
            ("label", text("x")),
            ("size", Value::Int(at as i64)),
        ];
        writes.push(create(&db, "Part", &format!("p{at}"), &part));
    }
    commit(&db, writes);
    agree(&db);
    let whole: Vec<Vec<Vec<u8>>> =
        [keys::INDEX, keys::REFERENCE].map(|keyspace| rows(&store, keyspace)).into();
    for (at, keyspace) in [keys::INDEX, keys::REFERENCE].into_iter().enumerate() {
        let mut batch = Batch::new();
        for (at, row) in whole[at].iter().enumerate() {
            match at % 4 {
                0 => batch.delete(keyspace, row.clone()),
                // The same beside another id, one that is there and one that is not, and what is no entry at all.
                1 => batch.put(keyspace, [&row[..row.len() - 1], b"7\0"].concat(), Vec::new()),
                2 => batch.put(keyspace, row[..6].to_vec(), Vec::new()),
                _ => {}
            }
        }
        store.commit(&batch).unwrap();
    }
    let mut executor = db.into_executor();
    let wrong = {
        let db = Db::new(executor);
        let wrong = found(&db);
        executor = db.into_executor();
        wrong
    };
    let Apart { nodes, rows: structures, build } = Cures::of(executor.engine().schema()).apart(&wrong);
    assert!(nodes.is_empty() && build.is_empty() && structures.len() >= 8, "{wrong:?}");
    let engine = executor.engine().clone();
    let wrong: Vec<_> = structures
        .iter()
        .map(|it| {
            (*it, engine.alone(1 << 20, |working| side_state::wrong_rows(working, *it, MAX_ROWS)).unwrap())
        })
        .collect();
    let few = engine.alone(1 << 20, |working| side_state::wrong_rows(working, structures[0], 1)).unwrap();
    assert_eq!(few, None, "more than that are wrong");
    // A write between the look and the mending: what is right by now is left as it is.
    let db = Db::new(executor);
    commit(
        &db,
        vec![update(&db, "Thing", &thing(4), &[("name", text("new")), ("up", reference(&thing(7)))])],
    );
    commit(&db, vec![delete(&db, "Part", "p5"), create(&db, "Thing", "later", &[("name", text("later"))])]);
    for (structure, rows) in wrong {
        let rows = rows.expect("not too many");
        rows.chunks(3).for_each(|rows| db.change(|executor| executor.mend_rows(structure, rows)).unwrap());
    }
    agree(&db);
    assert_eq!(found(&db), BTreeSet::new());
}

fn order_of(db: &Db) -> Vec<String> {
    let engine = db.engine();
    let item = engine.schema().ty(key(db, "Item", "i").ty).positions[0].via;
    let via = corollary_schema::FieldRef { ty: key(db, "Item", "i").ty, slot: item };
    let children = engine.read(NOW, |working| corollary_engine::order::children(working, via, &id("l")));
    children.unwrap().expect("an order").iter().map(ToString::to_string).collect()
}

/// What an update cannot mend is built anew, on record: whoever opens the data after a crash within it goes on with that
/// before anything is served, and the order of children, which is a fact, stays.
#[test]
fn what_no_update_can_mend_is_built_and_a_crash_within_it_is_taken_up() {
    let faults = [Fault::Io, Fault::Sync { survives: true }];
    let expected: Vec<String> = (0..6).rev().map(|at| format!("i{at}")).collect();
    for keyspace in [keys::INDEX, keys::REFERENCE, keys::MEMBER] {
        let store = lists();
        remove(&store, keyspace, |at| at % 2 == 0);
        if keyspace == keys::MEMBER {
            let db = opened_within(&store, BUILT, 1);
            let size = slot(&db, "Folder", "size");
            damage(&store, &db, &key(&db, "Folder", "f1"), |doc| assert!(doc.set(size, Value::Int(-3))));
            let engine = db.engine();
            let hidden = engine
                .schema()
                .ty(key(&db, "List", "l").ty)
                .slots()
                .find(|(_, field)| matches!(field.kind, FieldKind::Aggregate { .. }));
            let (hidden, _) = hidden.expect("a count");
            damage(&store, &db, &key(&db, "List", "l"), |doc| assert!(doc.set(hidden, Value::Int(77))));
        }
        for point in 0.. {
            let mut whole = true;
            for fault in faults {
                let image = Arc::new(store.crash_image());
                let mut executor = executor(&image, BUILT, 1);
                let wrong = {
                    let db = Db::new(executor);
                    let wrong = found(&db);
                    executor = db.into_executor();
                    wrong
                };
                let Apart { nodes, rows, mut build } = Cures::of(executor.engine().schema()).apart(&wrong);
                // As where too many are wrong.
                build.extend(rows);
                assert!(!build.is_empty(), "{wrong:?}");
                image.fail_commit(point, fault);
                let outcome = executor.build_anew(&build, &mut |_| {});
                whole &= outcome.is_ok();
                drop(executor);
                let again = opened_within(&Arc::new(image.crash_image()), BUILT, 1);
                if point > 0 || outcome.is_ok() || fault == (Fault::Sync { survives: true }) {
                    // Begun: it is finished with the opening.
                    let left = found(&again);
                    assert!(left.iter().all(|it| !build.contains(it)), "{left:?} at {point}");
                    again.change(|executor| executor.begin_repair(&nodes, NOW)).unwrap();
                    again.finish_updates();
                    assert_eq!(order_of(&again), expected);
                    agree(&again);
                    assert!(found(&again).is_empty());
                }
            }
            if whole {
                assert!(point > 2, "{point} commits");
                break;
            }
        }
    }
}

/// A value that was right by the facts, computed from a hidden one that was damaged, was left out of the repair. A write then
/// made the damage the truth before the repair came to it: nothing changed there, and what was computed stayed as it was.
#[test]
fn what_is_computed_from_a_damaged_value_is_mended_with_it_though_it_is_right() {
    const SCHEMA: &str = "
        type Shop in shops { orders: collection Order }
        type Order { item: link Item }
        type Item in items { boss := first(self.link_order_item).parent_shop_orders }";
    let store = memory();
    let db = opened_within(&store, SCHEMA, usize::MAX);
    let order = [("parent_shop_orders", reference("s")), ("item", reference("i"))];
    commit(
        &db,
        vec![create(&db, "Shop", "s", &[]), create(&db, "Item", "i", &[]), create(&db, "Order", "o", &order)],
    );
    assert_eq!(get(&db, "Item", "i", "boss"), reference("s"));
    let item = key(&db, "Item", "i");
    let engine = db.engine();
    let hidden = |(_, field): &(corollary_schema::Slot, &corollary_schema::Field)| {
        matches!(field.kind, FieldKind::Aggregate { .. })
    };
    let (hidden, _) = engine.schema().ty(item.ty).slots().find(hidden).expect("the first of the orders");
    damage(&store, &db, &item, |doc| assert!(doc.set(hidden, Value::Absent)));
    drop((db, engine));
    let mut executor = executor(&store, SCHEMA, 0);
    let wrong = {
        let db = Db::new(executor);
        let wrong = found(&db);
        executor = db.into_executor();
        wrong
    };
    let Apart { nodes, rows, build } = Cures::of(executor.engine().schema()).apart(&wrong);
    assert!(build.is_empty(), "{build:?}");
    mend_rows(&mut executor, &rows);
    executor.begin_repair(&nodes, NOW).unwrap();
    let db = Db::new(executor);
    commit(&db, vec![delete(&db, "Shop", "s")]);
    db.finish_updates();
    agree(&db);
    assert_eq!(get(&db, "Item", "i", "boss"), Value::Absent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any damage to what follows from facts, over any schema: with writes and steps in any order.
    #[test]
    fn any_damage_is_mended(
        history in history(3), budget in 0usize..5, spoiled in prop::collection::vec((0usize..4, any::<prop::sample::Index>()), 1..6),
        turns in prop::collection::vec((0usize..4, 1usize..4, 0u8..12), 20),
    ) {
        let store = memory();
        let (schema, steps) = history.into_iter().next().unwrap();
        let db = opened_within(&store, &schema, usize::MAX);
        fill(&db);
        let (first, second) = steps.split_at(steps.len() / 2);
        for step in first {
            let _ = try_commit(&db, writes(&db, step));
        }
        for (what, which) in spoiled {
            let engine = db.engine();
            match what {
                0 | 1 => {
                    let nodes = &engine.schema().plan.nodes;
                    if nodes.is_empty() { continue; }
                    let result = nodes[which.index(nodes.len())].result;
                    let all = engine.read(NOW, |working| working.all(result.ty)).unwrap();
                    if all.is_empty() { continue; }
                    let key = Key::new(result.ty, all[which.index(all.len())].clone());
                    if db.engine().read(NOW, |working| working.after(&key)).unwrap().is_none() || Some(key.ty) == engine.schema().shared { continue; }
                    damage(&store, &db, &key, |doc| {
                        doc.set(result.slot, if what == 0 { Value::Int(12_345) } else { Value::Absent });
                        doc.set_state(result.slot, SumState::default());
                    });
                }
                what => {
                    let keyspace = if what == 2 { keys::MEMBER } else { keys::TIMER };
                    remove(&store, keyspace, |at| at % 3 == which.index(3));
                }
            }
        }
        drop(db);
        let mut executor = executor(&store, &schema, budget);
        let wrong = { let db = Db::new(executor); let wrong = found(&db); executor = db.into_executor(); wrong };
        let Apart { nodes, rows, build } = Cures::of(executor.engine().schema()).apart(&wrong);
        mend_rows(&mut executor, &rows);
        executor.build_anew(&build, &mut |_| {}).unwrap();
        let rest: Vec<usize> = {
            let db = Db::new(executor);
            let Apart { nodes: rest, rows, build } = Cures::of(db.engine().schema()).apart(&found(&db));
            prop_assert!(rows.is_empty() && build.is_empty() && rest.iter().all(|it| nodes.contains(it)), "{rest:?} of {nodes:?}");
            executor = db.into_executor();
            rest
        };
        executor.begin_repair(&rest, NOW).unwrap();
        let mut db = Db::new(executor);
        let mut turns = turns.into_iter().cycle();
        for step in second {
            let (count, limit, chance) = turns.next().unwrap();
            for _ in 0..count {
                db.step(limit).unwrap();
                let found = crate::common::wrong(&db);
                prop_assert!(found.is_empty(), "{found:#?} after a step with {schema}");
            }
            match try_commit(&db, writes(&db, step)) {
                Ok(_) | Err(EngineError::Refused(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let found = crate::common::wrong(&db);
            prop_assert!(found.is_empty(), "{found:#?} after {step:?} with {schema}");
            if chance == 0 {
                drop(db);
                db = opened_within(&store, &schema, budget);
            }
        }
        db.finish_updates();
        let found = crate::common::wrong(&db);
        prop_assert!(found.is_empty(), "{found:#?} in the end with {schema}");
    }
}
