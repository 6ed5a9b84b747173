//! New and changed derived fields over data that is there: they are filled while the data is served, what is not marked is
//! right at every moment, and a crash at any of them loses nothing and counts nothing twice.

use std::sync::Arc;

use crate::common::versions::*;
use crate::common::*;
use corollary_engine::updates::{Settled, State, Task};
use corollary_engine::{EngineError, EngineOptions, Update, open, oracle, order, rebuild};
use corollary_schema::FieldRef;
use corollary_store::{Fault, MemoryStore, Store};
use corollary_value::Value;
use proptest::prelude::*;

const PLAIN: &str = "
type Team in teams { name: str, people: inverse Person.team }
type Person in people { team: link Team, age: int, old := self.age > 40 }
";

fn teams(fields: &str, of_people: &str) -> String {
    PLAIN
        .replace("inverse Person.team", &format!("inverse Person.team, {fields}"))
        .replace("old :=", &format!("{of_people} {} old :=", if of_people.is_empty() { "" } else { "," }))
}

/// A store with people of two teams, with nothing derived but `old`.
fn people(count: usize) -> Arc<MemoryStore> {
    let store = memory();
    let db = opened_within(&store, PLAIN, usize::MAX);
    let mut writes = vec![create(&db, "Team", "t0", &[]), create(&db, "Team", "t1", &[])];
    for at in 0..count {
        let team = reference(&format!("t{}", at % 2));
        let values = [("team", team), ("age", Value::Int(at as i64 % 60))];
        writes.push(create(&db, "Person", &format!("p{at:03}"), &values));
    }
    commit(&db, writes);
    store
}

fn open_updates(db: &Db) -> Vec<Arc<Update>> {
    db.engine().updates().open.clone()
}

fn pending(db: &Db) -> u64 {
    db.engine().read(NOW, |working| oracle::check(working, None)).unwrap().pending
}

/// What a read shows.
fn shown(db: &Db, ty: &str, name: &str, field: &str) -> Option<Value> {
    let (key, slot) = (key(db, ty, name), slot(db, ty, field));
    let read = db.engine().read(NOW, |working| {
        let doc = working.after(&key)?.expect("a resource");
        let settled = Settled::new(working).doc(&key, &doc, 1_000)?;
        Ok((!settled.pending.contains(&slot)).then(|| settled.doc.get(slot).clone()))
    });
    read.unwrap()
}

#[test]
fn a_new_field_is_there_at_once_and_filled_step_by_step() {
    let store = people(10);
    let db = opened_within(&store, &teams("", "twice := self.age * 2"), 3);
    let [update] = &open_updates(&db)[..] else { panic!("one update") };
    assert_eq!((update.record.task, update.record.cause.change.is_some()), (Task::Fill, false));
    assert_eq!(
        (get(&db, "Person", "p004", "twice"), shown(&db, "Person", "p004", "twice")),
        (Value::Absent, Some(Value::Int(8)))
    );
    agree(&db);
    let id = update.record.id;
    let mut steps = 0;
    while let Some(progress) = db.step(4).unwrap() {
        assert_eq!(progress.id, id);
        steps += 1;
        agree(&db);
    }
    let ended = db.engine().updates().get(id).unwrap().record.clone();
    assert_eq!(
        (steps, ended.state, ended.visited, ended.changed, ended.estimated),
        (3, State::Done, 10, 10, 10)
    );
    assert_eq!(get(&db, "Person", "p004", "twice"), Value::Int(8));
    // The next start with the same schema has nothing to do.
    assert!(open_updates(&opened_within(&store, &teams("", "twice := self.age * 2"), 3)).is_empty());
}

#[test]
fn what_is_small_is_built_at_once() {
    let store = people(10);
    let db = opened_within(&store, &teams("n := count(self.people)", "twice := self.age * 2"), 10);
    assert!(open_updates(&db).is_empty());
    assert_eq!(get(&db, "Team", "t1", "n"), Value::Int(5));
}

/// Of a changed field the old values stand until they are replaced, and what is computed from them goes along.
#[test]
fn a_changed_field_is_replaced_value_by_value() {
    let store = people(10);
    let first = teams("sum := sum(self.people.twice)", "twice := self.age * 2");
    drop(opened_within(&store, &first, usize::MAX));
    let db = opened_within(&store, &first.replace("* 2", "* 3"), 3);
    assert_eq!(open_updates(&db).len(), 1, "the sum has nothing to do of its own");
    assert_eq!(get(&db, "Person", "p004", "twice"), Value::Int(8));
    assert_eq!(shown(&db, "Person", "p004", "twice"), Some(Value::Int(12)));
    assert_eq!(shown(&db, "Team", "t0", "sum"), Some(Value::Int((2 + 4 + 6 + 8) * 3)));
    while db.step(1).unwrap().is_some() {
        agree(&db);
    }
    assert_eq!(get(&db, "Team", "t0", "sum"), Value::Int((2 + 4 + 6 + 8) * 3));
}

/// A member that the walk has yet to come to is not counted by its own commits; one that it has come to is.
#[test]
fn groups_count_each_member_once_whatever_happens_while_they_are_filled() {
    let store = people(12);
    let fields = "sum := sum(self.people.age), top := max(self.people.age), n := count(self.people[age > 3]),
                  mid := median(self.people.age), by := group(self.people, by: old, sum(age)), all := self.people";
    let db = opened_within(&store, &teams(fields, ""), 1);
    assert!(open_updates(&db).len() >= 6);
    let mut at = 0;
    loop {
        // One in front of each walk, one behind it, one that comes, and one that goes.
        let age = |n: i64| [("age", Value::Int(n))];
        commit(
            &db,
            vec![update(&db, "Person", "p001", &age(at)), update(&db, "Person", "p010", &age(at * 2))],
        );
        let moved = reference(if at % 2 == 0 { "t1" } else { "t0" });
        commit(&db, vec![update(&db, "Person", "p006", &[("team", moved.clone())])]);
        let new = [("age", Value::Int(at)), ("team", moved)];
        commit(&db, vec![create(&db, "Person", &format!("p00{at}x"), &new)]);
        if at < 4 {
            commit(&db, vec![delete(&db, "Person", &format!("p{:03}", 2 + 3 * at))]);
        }
        agree(&db);
        at += 1;
        for _ in 0..7 {
            db.step(2).unwrap();
            agree(&db);
        }
        if open_updates(&db).is_empty() {
            break;
        }
    }
    assert!(at > 2);
    assert_eq!(pending(&db), 0);
}

/// Whether a write is refused has to be known from the first moment on.
#[test]
fn a_strict_field_is_built_before_anything_is_served() {
    let store = people(8);
    let schema = teams("mean := sum(self.people.age) / count(self.people), strict", "");
    let db = opened_within(&store, &schema, 0);
    assert!(open_updates(&db).is_empty());
    assert_eq!(get(&db, "Team", "t0", "mean"), Value::Float(3.0));
}

/// Values of another type would be seen by whoever computes with them.
#[test]
fn a_field_of_another_type_is_built_before_anything_is_served() {
    let store = people(8);
    drop(opened_within(&store, &teams("", "x := self.age * 2"), 0));
    let db = opened_within(&store, &teams("", "x := self.team.name"), 0);
    assert!(open_updates(&db).is_empty());
    assert_eq!(get(&db, "Person", "p003", "x"), Value::Absent);
    agree(&db);
}

#[test]
fn a_schema_that_changes_again_while_a_field_is_filled_begins_anew() {
    let store = people(8);
    let schema = |by: i64| {
        teams(&format!("sum := sum(self.people[age > {by}].age)"), &format!("x := self.age * {by}"))
    };
    drop(opened_within(&store, &schema(1), usize::MAX));
    for by in [2, 3, 1, 4, 1] {
        let db = opened_within(&store, &schema(by), 2);
        agree(&db);
        for _ in 0..3 {
            db.step(3).unwrap();
            commit(&db, vec![update(&db, "Person", "p005", &[("age", Value::Int(by))])]);
            agree(&db);
        }
    }
    let db = opened_within(&store, &schema(1), 2);
    db.finish_updates();
    agree(&db);
    let ledger = db.engine().updates();
    assert!(ledger.ended.iter().any(|it| it.record.error.is_some()), "some were superseded");
}

/// A repair counts all members: nobody may be counted once more by an update that goes on behind it.
#[test]
fn what_is_built_by_a_repair_is_filled_no_more() {
    let store = people(8);
    let schema = teams("sum := sum(self.people.age)", "");
    let mut executor = {
        let options = EngineOptions { update_budget: 1, ..EngineOptions::default() };
        let store: Arc<dyn Store> = store.clone();
        open(store, &schema, &options, NOW, &mut |_| {}).unwrap()
    };
    for _ in 0..3 {
        executor.update_step(NOW, 3).unwrap().expect("a step");
    }
    let schema = executor.engine().schema().clone();
    let team = schema.type_named("Team").unwrap();
    let sum = FieldRef { ty: team, slot: schema.ty(team).named("sum").unwrap().0 };
    for structure in rebuild::structures_of(&schema, sum) {
        rebuild::build(&mut executor, structure, order::Build::Kept).unwrap();
    }
    let db = Db::new(executor);
    assert!(open_updates(&db).is_empty());
    assert_eq!(get(&db, "Team", "t0", "sum"), Value::Int(2 + 4 + 6));
    agree(&db);
}

/// Sums and counts of a great many members are gathered in memory, and then each owner is written once.
#[test]
fn each_owner_is_written_once_however_many_members_it_has() {
    let store = people(60);
    let fields =
        "sum := sum(self.people.age), mean := average(self.people.age), n := count(self.people[age > 3])";
    let db = opened_within(&store, &teams(fields, ""), 3);
    assert!(open_updates(&db).iter().all(|it| it.record.task == Task::Gather));
    let before = store.stats().unwrap().commits;
    let mut changes = 0;
    while let Some(progress) = db.step(7).unwrap() {
        changes += progress.commit.map_or(0, |commit| commit.changes.len());
        agree(&db);
    }
    // Two owners in the step behind so many members.
    assert_eq!((changes, store.stats().unwrap().commits - before), (3 * 2, 3));
    assert_eq!(get(&db, "Team", "t1", "sum"), Value::Int((1..60).step_by(2).sum()));
    assert_eq!(get(&db, "Team", "t1", "n"), Value::Int(28));
    let updates = db.engine().updates();
    assert!(updates.ended.iter().all(|it| (it.record.visited, it.record.estimated) == (60, 60)));
}

/// What changes of members that are gathered is counted, in whatever part of the filling it happens, and whatever it is:
/// a member, which of them there are, whose they are, what they link to, the owners themselves.
#[test]
fn what_changes_while_members_are_gathered_is_counted() {
    let schema = "
        type Region in regions { rate: int }
        type Team in teams { region: link Region, people: inverse Person.team, FIELDS }
        type Person in people { team: link Team, region: link Region, age: int }
    ";
    let fields = "sum := sum(self.people.pay), n := count(self.people[pay > 20])";
    let pay = |schema: &str| schema.replace("age: int", "age: int, pay := self.age * self.region.rate");
    for at in 0..40 {
        let store = memory();
        let db = opened_within(&store, &pay(schema).replace("FIELDS", "x: int"), usize::MAX);
        let mut writes = vec![create(&db, "Region", "r", &[("rate", Value::Int(2))])];
        writes.extend((0..4).map(|team| create(&db, "Team", &format!("t{team}"), &[])));
        for at in 0..16 {
            let team = reference(&format!("t{}", at % 4));
            let values = [("team", team), ("region", reference("r")), ("age", Value::Int(at))];
            writes.push(create(&db, "Person", &format!("p{at:02}"), &values));
        }
        commit(&db, writes);
        drop(db);
        let db = opened_within(&store, &pay(schema).replace("FIELDS", fields), 3);
        for _ in 0..at {
            db.step(1).unwrap();
        }
        let changes = [
            update(&db, "Person", "p01", &[("age", Value::Int(50))]),
            update(&db, "Person", "p06", &[("team", reference("t0"))]),
            update(&db, "Person", "p14", &[("team", reference("t3"))]),
            delete(&db, "Person", "p03"),
            create(&db, "Person", "p04x", &[("team", reference("t1")), ("age", Value::Int(7))]),
            // All others follow it by an update of their own, and the groups follow them.
            update(&db, "Region", "r", &[("rate", Value::Int(3))]),
            update(&db, "Person", "p08", &[("team", reference("t4")), ("age", Value::Int(9))]),
        ];
        commit(&db, vec![create(&db, "Team", "t4", &[])]);
        for write in changes {
            commit(&db, vec![write]);
            agree(&db);
            db.step(1).unwrap();
            agree(&db);
        }
        db.finish_updates();
        agree(&db);
        assert_eq!(pending(&db), 0);
    }
}

/// A sum that is the same for all was lost where it was the first of its kind: nothing was stored of whom it belongs to.
#[test]
fn what_is_the_same_for_all_is_filled_before_anything_of_it_is_stored() {
    let store = people(20);
    let schema = teams("all := sum(root.people.age), n := count(root.people)", "");
    let db = opened_within(&store, &schema, 3);
    assert!(open_updates(&db).iter().any(|it| it.record.task == Task::Gather));
    commit(&db, vec![update(&db, "Person", "p003", &[("age", Value::Int(100))])]);
    while db.step(4).unwrap().is_some() {
        agree(&db);
    }
    assert_eq!(get(&db, "Team", "t0", "all"), Value::Int((0..20).sum::<i64>() + 97));
    assert_eq!(get(&db, "Team", "t1", "n"), Value::Int(20));
}

/// What no memory is to be taken for is counted member by member.
#[test]
fn owners_beyond_the_limit_are_filled_as_their_members_come() {
    let store = people(20);
    let schema = teams("sum := sum(self.people.age)", "");
    let options = EngineOptions { update_budget: 3, gathered_owners: 1, ..EngineOptions::default() };
    let db = opened_as(&store, &schema, &options);
    let task = |db: &Db| open_updates(db)[0].record.task;
    assert_eq!(task(&db), Task::Gather);
    db.step(1).unwrap();
    assert_eq!(task(&db), Task::Gather);
    db.step(1).unwrap();
    assert_eq!(task(&db), Task::Empty);
    agree(&db);
    db.finish_updates();
    agree(&db);
    assert_eq!(get(&db, "Team", "t0", "sum"), Value::Int((0..20).step_by(2).sum()));
}

/// A filling is cut short at each commit of its own, in each way in which a store can fail.
#[test]
fn a_crash_at_any_point_of_a_filling_loses_nothing_and_counts_nothing_twice() {
    let faults = [Fault::Full, Fault::Io, Fault::Sync { survives: false }, Fault::Sync { survives: true }];
    let schema = teams("sum := sum(self.people.twice), top := max(self.people.age)", "twice := self.age * 2");
    let mut points = 0;
    // Gathered, and counted member by member.
    for gathered_owners in [1_000, 0] {
        let options = EngineOptions { update_budget: 3, gathered_owners, ..EngineOptions::default() };
        let store = people(60);
        let db = opened_as(&store, &schema, &options);
        loop {
            for fault in faults {
                points += 1;
                let image = Arc::new(store.crash_image());
                let broken = opened_as(&image, &schema, &options);
                image.fail_next_commit(fault);
                // What is gathered is not committed, and ends some time.
                let failed = (0..200).any(|_| broken.step(1).is_err());
                assert!(failed, "the store failed, and no step did");
                drop(broken);
                let again = opened_as(&Arc::new(image.crash_image()), &schema, &options);
                let age = [("age", Value::Int(points))];
                commit(&again, vec![update(&again, "Person", "p030", &age)]);
                agree(&again);
                again.finish_updates();
                agree(&again);
                let updates = again.engine().updates();
                assert!(updates.ended.iter().all(|it| it.record.visited == 60), "{fault:?} at {points}");
            }
            let before = store.stats().unwrap().commits;
            while store.stats().unwrap().commits == before && !open_updates(&db).is_empty() {
                db.step(1).unwrap();
            }
            if open_updates(&db).is_empty() {
                break;
            }
        }
    }
    assert!(points > 800, "{points}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Through any versions, with writes, steps of updates and crashes in any order.
    #[test]
    fn what_is_filled_is_right_at_every_moment(
        history in history(5), budgets in prop::collection::vec((0usize..5, 0usize..4), 5),
        turns in prop::collection::vec((0usize..4, 1usize..4, 0u8..12), 40),
    ) {
        let store = memory();
        let mut turns = turns.into_iter().cycle();
        for ((schema, steps), (update_budget, owners)) in history.into_iter().zip(budgets) {
            // Of few owners, or of any number.
            let gathered_owners = if owners == 0 { usize::MAX } else { owners };
            let options = EngineOptions { update_budget, gathered_owners, ..EngineOptions::default() };
            let mut db = opened_as(&store, &schema, &options);
            let found = wrong(&db);
            prop_assert!(found.is_empty(), "{found:#?} after opening with {schema}");
            for step in steps {
                match try_commit(&db, writes(&db, &step)) {
                    Ok(_) | Err(EngineError::Refused(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                let found = wrong(&db);
                prop_assert!(found.is_empty(), "{found:#?} after {step:?} with {schema}");
                let (count, limit, chance) = turns.next().unwrap();
                for _ in 0..count {
                    db.step(limit).unwrap();
                    let found = wrong(&db);
                    prop_assert!(found.is_empty(), "{found:#?} after a step behind {step:?} with {schema}");
                }
                if chance == 0 {
                    drop(db);
                    db = opened_as(&store, &schema, &options);
                }
            }
            if turns.next().unwrap().2 < 6 {
                db.finish_updates();
                prop_assert_eq!(pending(&db), 0);
                prop_assert!(wrong(&db).is_empty());
            }
        }
    }
}

/// The kinds of fields that [`Settled`] is asked about are those that people see.
#[test]
fn what_is_computed_from_a_filled_field_is_marked_until_the_end() {
    let store = people(6);
    let db = opened_within(&store, &teams("sum := sum(self.people.age)", ""), 1);
    let field = FieldRef { ty: key(&db, "Team", "t0").ty, slot: slot(&db, "Team", "sum") };
    let is_behind =
        |db: &Db| db.engine().read(NOW, |working| Ok(Settled::new(working).is_field_behind(field)));
    assert!(is_behind(&db).unwrap());
    db.finish_updates();
    assert!(!is_behind(&db).unwrap());
}
