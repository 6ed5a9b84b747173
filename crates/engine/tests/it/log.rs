//! The log tells every change once, in order, and all of it: what is folded from it is what is stored, and the past of each
//! resource is what was folded then, by its history or by the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::eval::View;
use corollary_engine::history::{self, Past};
use corollary_engine::log::Retained;
use corollary_engine::{Commit, Doc, EngineError, Key, OpenError, Transaction, Write};
use corollary_store::Direction;
use corollary_value::Value;
use jiff::Timestamp;
use proptest::prelude::*;

const SCHEMA: &str = "
type Team in teams { name: str, home: { city: str nullable }, tasks: collection Task, total := sum(self.tasks.cost),
  mean := average(self.members.age), members: inverse Person.team, oldest := max(self.members.age), n := count(self.members) }
type Task { cost: int, tags: set<str> }
type Person in people { team: link Team, friends: links Person on delete cascade, age: int nullable, mail: str unique,
  per_head := self.team.total / self.team.n, fans := count(self.link_person_friends) }
";

type State = BTreeMap<Key, Arc<Doc>>;

fn state(db: &Db) -> State {
    let read = db.engine().read(NOW, |working| {
        let mut all = State::new();
        for (ty, _) in working.schema.types() {
            for id in working.all(ty)? {
                let key = Key::new(ty, id);
                if let Some(doc) = working.after(&key)? {
                    all.insert(key, Arc::new(without_states(&doc)));
                }
            }
        }
        Ok(all)
    });
    read.unwrap()
}

/// The commits after a revision; none where the log does not go back that far.
fn after(db: &Db, revision: u64) -> Option<Vec<Commit>> {
    let mut commits = Vec::new();
    let complete = db.engine().commits_after(revision, &mut |commit| {
        commits.push(commit);
        ControlFlow::Continue(())
    });
    if complete.unwrap() {
        return Some(commits);
    }
    assert!(commits.is_empty(), "nothing is visited where it is not complete");
    None
}

/// What is told of a document: all but the states of its sums, which change without anybody who looks noticing.
fn without_states(doc: &Doc) -> Doc {
    Doc { states: Vec::new(), ..doc.clone() }
}

/// Takes a state a commit further, and checks that the commit tells it right.
fn fold(state: &mut State, commit: &Commit) {
    assert!(!commit.changes.is_empty());
    assert!(
        commit.changes.windows(2).all(|pair| pair[0].key < pair[1].key),
        "in the order of keys, each once"
    );
    for change in &commit.changes {
        let before = state.get(&change.key);
        assert_eq!(before.map(|doc| without_states(doc)), change.before.as_deref().map(without_states));
        let absent = Value::Absent;
        let size = before.or(change.after.as_ref()).unwrap().values.len() as u32;
        let value = |doc: Option<&Arc<Doc>>, slot| doc.map_or(&absent, |doc| doc.get(slot)).clone();
        let differ = (0..size).map(corollary_schema::Slot);
        let differ: Vec<_> =
            differ.filter(|slot| value(before, *slot) != value(change.after.as_ref(), *slot)).collect();
        assert_eq!(change.changed, differ);
        match &change.after {
            Some(doc) => {
                assert_eq!(doc.revision, commit.revision);
                state.insert(change.key.clone(), Arc::new(without_states(doc)));
            }
            None => drop(state.remove(&change.key)),
        }
    }
}

fn same(left: &Commit, right: &Commit) {
    assert_eq!(
        (left.revision, left.time, left.changes.len()),
        (right.revision, right.time, right.changes.len())
    );
    for (left, right) in left.changes.iter().zip(&right.changes) {
        assert_eq!((&left.key, &left.after, &left.changed), (&right.key, &right.after, &right.changed));
        assert_eq!(left.before.as_deref().map(without_states), right.before.as_deref().map(without_states));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, u8, Vec<(&'static str, Value)>),
    Delete(&'static str, u8),
    Anew(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let age = || prop_oneof![Just(Value::Absent), Just(Value::Null), (0i64..5).prop_map(Value::Int)];
    let team = || prop_oneof![Just(Value::Absent), (0u8..3).prop_map(|n| reference(&format!("t{n}")))];
    let home = prop_oneof![
        Just(Value::Absent),
        Just(object(&[])),
        Just(object(&[("city", Value::Null)])),
        Just(object(&[("city", text("Rome"))])),
    ];
    let friends = prop::collection::vec(0u8..4, 0..3)
        .prop_map(|ids| list(ids.into_iter().map(|n| reference(&format!("p{n}")))));
    let mail = prop::sample::select(vec!["a", "b", "c"]).prop_map(text);
    prop_oneof![
        3 => (0u8..4, team(), age(), friends, mail).prop_flat_map(|(n, team, age, friends, mail)| {
            let all = vec![("team", team), ("age", age), ("friends", friends), ("mail", mail)];
            prop::sample::subsequence(all, 1..=4).prop_map(move |values| Step::Put("Person", n, values))
        }),
        2 => (0u8..3, home).prop_map(|(n, home)| Step::Put("Team", n, vec![("home", home)])),
        2 => (0u8..4, 0u8..3, age(), prop::collection::vec(0u8..3, 0..4)).prop_map(|(n, team, cost, tags)| {
            let cost = if cost == Value::Null { Value::Absent } else { cost };
            let tags = list(tags.into_iter().map(|n| text(&n.to_string())));
            let parent = ("parent_team_tasks", reference(&format!("t{team}")));
            Step::Put("Task", n, vec![parent, ("cost", cost), ("tags", tags)])
        }),
        1 => (prop::sample::select(vec!["Team", "Task", "Person"]), 0u8..4).prop_map(|(ty, n)| Step::Delete(ty, n)),
        1 => (0u8..3).prop_map(Step::Anew),
    ]
}

fn writes(db: &Db, steps: &[Step]) -> Vec<Write> {
    let name = |ty: &str, n: u8| match ty {
        "Team" => format!("t{n}"),
        "Task" => format!("k{n}"),
        _ => format!("p{n}"),
    };
    let mut writes = Vec::new();
    for step in steps {
        match step {
            Step::Put(ty, n, values) if doc(db, ty, &name(ty, *n)).is_some() => {
                let values: Vec<_> =
                    values.iter().filter(|(field, _)| !field.starts_with("parent")).cloned().collect();
                writes.push(update(db, ty, &name(ty, *n), &values));
            }
            Step::Put(ty, n, values) => writes.push(create(db, ty, &name(ty, *n), values)),
            Step::Delete(ty, n) => writes.push(delete(db, ty, &name(ty, *n))),
            Step::Anew(n) => {
                writes.push(delete(db, "Team", &name("Team", *n)));
                writes.push(create(db, "Team", &name("Team", *n), &[("name", text("new"))]));
            }
        }
    }
    writes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_folded_from_the_log_is_what_is_stored(
        groups in prop::collection::vec(prop::collection::vec(prop::collection::vec(step(), 1..4), 1..4), 1..12)
    ) {
        let db = fresh(SCHEMA);
        // By revision; not each is the end of a group.
        let mut states = BTreeMap::from([(0, state(&db))]);
        let mut told = Vec::new();
        for (second, group) in groups.iter().enumerate() {
            let now = Timestamp::from_second(second as i64).unwrap();
            let group: Vec<Transaction> =
                group.iter().map(|steps| Transaction { writes: writes(&db, steps) }).collect();
            let mut revision = db.engine().revision();
            for outcome in db.commit(&group, now).unwrap() {
                match outcome {
                    Ok(done) => {
                        told.extend(done.commit.clone());
                        prop_assert_eq!(done.revision, revision + u64::from(done.commit.is_some()));
                        revision = done.revision;
                    }
                    Err(EngineError::Refused(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            prop_assert_eq!(db.engine().revision(), revision);
            states.insert(revision, state(&db));
        }
        agree(&db);
        let last = db.engine().revision();
        prop_assert_eq!(told.len() as u64, last);
        let mut folded = State::new();
        for commit in after(&db, 0).unwrap() {
            same(&commit, &told[commit.revision as usize - 1]);
            fold(&mut folded, &commit);
            if let Some(state) = states.get(&commit.revision) {
                prop_assert_eq!(&folded, state);
            }
        }
        prop_assert_eq!(&folded, &states[&last]);
        for from in 0..=last + 2 {
            let revisions: Vec<u64> = after(&db, from).unwrap().iter().map(|commit| commit.revision).collect();
            prop_assert_eq!(revisions, (from + 1..=last).collect::<Vec<u64>>());
        }
    }

    #[test]
    fn the_past_is_what_was(
        groups in prop::collection::vec(prop::collection::vec(prop::collection::vec(step(), 1..4), 1..4), 1..8),
        // From before which group on the types keep their history; with none, the log tells.
        kept_from in prop::option::of(0usize..6),
    ) {
        let with_history = SCHEMA.replace("in teams", "in teams history").replace("Task {", "Task history {");
        let with_history = with_history.replace("in people", "in people history");
        let store = memory();
        let mut db = opened(&store, SCHEMA);
        let mut told = Vec::new();
        let mut first_kept = None;
        for (second, group) in groups.iter().enumerate() {
            if kept_from == Some(second) {
                drop(db);
                db = opened(&store, &with_history);
                first_kept = Some(db.engine().revision());
            }
            let group: Vec<Transaction> =
                group.iter().map(|steps| Transaction { writes: writes(&db, steps) }).collect();
            for done in db.commit(&group, at(second as i64)).unwrap().into_iter().flatten() {
                told.extend(done.commit);
            }
            agree(&db);
        }
        let last = told.len() as u64;
        let mut states = vec![State::new()];
        for commit in &told {
            let mut state = states[commit.revision as usize - 1].clone();
            fold(&mut state, commit);
            states.push(state);
        }
        let keys: BTreeSet<Key> = told.iter().flat_map(|commit| &commit.changes).map(|it| it.key.clone()).collect();
        let compare = |from: u64| {
            for key in &keys {
                for revision in from..=last {
                    let was = match history::at(&db.engine(), NOW, key, revision).unwrap() {
                        Past::Was(doc) => Some(Arc::new(without_states(&doc))),
                        Past::Nothing(deleted) => {
                            assert!(deleted.is_none_or(|deleted| deleted <= revision));
                            None
                        }
                        // Deleted before its history began, and the log that told of it is gone.
                        Past::Unknown if from > 0 && states[from as usize..].iter().all(|it| !it.contains_key(key)) => {
                            None
                        }
                        other => panic!("{other:?} of {key:?} at {revision}"),
                    };
                    assert_eq!(was.as_ref(), states[revision as usize].get(key), "{key:?} at {revision}");
                }
            }
        };
        compare(0);
        if let Some(first) = first_kept {
            // A history needs no log.
            while db.trim_log(at(1_000), 100) > 0 {}
            compare(first);
            for key in &keys {
                let versions = db.engine().read(NOW, |working| history::versions(working, key, None, 100)).unwrap();
                let mut changes: Vec<u64> = told.iter()
                    .filter(|commit| commit.revision > first && commit.changes.iter().any(|it| it.key == *key))
                    .map(|commit| commit.revision)
                    .collect();
                if let Some(found) = states[first as usize].get(key) {
                    changes.insert(0, found.revision);
                }
                changes.reverse();
                prop_assert_eq!(versions.iter().map(|it| it.revision).collect::<Vec<_>>(), changes.clone());
                for (at, version) in versions.iter().enumerate() {
                    let was = states[version.revision as usize].get(key);
                    prop_assert_eq!(version.doc.as_deref().map(without_states), was.map(|doc| without_states(doc)));
                    let page = db.engine().read(NOW, |working| history::versions(working, key, Some(version.revision), 2));
                    let page: Vec<u64> = page.unwrap().iter().map(|it| it.revision).collect();
                    prop_assert_eq!(page, changes[at + 1..].iter().copied().take(2).collect::<Vec<_>>());
                }
            }
        }
    }
}

#[test]
fn the_past_ends_where_the_log_does_unless_there_is_a_history() {
    let db = counted(6);
    let past = |revision| history::at(&db.engine(), NOW, &key(&db, "Team", "t"), revision).unwrap();
    assert!(matches!(past(0), Past::Nothing(None)));
    assert!(matches!(past(3), Past::Was(doc) if doc.revision == 3));
    db.trim_log(at(30), 100);
    assert!(matches!(past(2), Past::Unknown));
    assert!(matches!(past(3), Past::Was(doc) if doc.revision == 3));
}

#[test]
fn a_history_is_not_dropped_without_a_word() {
    let store = memory();
    let db = opened(&store, "type A in all history { n: int }");
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(1))])]);
    commit(&db, vec![delete(&db, "A", "a")]);
    drop(db);
    for without in ["type A in all { n: int }", "type B in all { n: int }"] {
        match try_open(&store, without).err().unwrap() {
            OpenError::Refused(reasons) => {
                assert_eq!(reasons, ["A has a history, and the new schema keeps none of it"]);
            }
            error => panic!("{error}"),
        }
    }
    opened(&store, "type A in all history { n: int, twice := self.n * 2 }");
}

fn counted(commits: u64) -> Db {
    let db = fresh(SCHEMA);
    for n in 0..commits {
        let write = if n == 0 {
            create(&db, "Team", "t", &[("name", text("0"))])
        } else {
            update(&db, "Team", "t", &[("name", text(&n.to_string()))])
        };
        let now = Timestamp::from_second(n as i64 * 10).unwrap();
        db.commit(&[Transaction { writes: vec![write] }], now).unwrap().remove(0).unwrap();
    }
    db
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_reader_of_the_log_may_stop_anywhere() {
    let db = counted(5);
    let mut seen = Vec::new();
    let complete = db.engine().commits_after(1, &mut |commit| {
        seen.push(commit.revision);
        if commit.revision == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(complete.unwrap());
    assert_eq!(seen, [2, 3]);
    assert_eq!(after(&db, u64::MAX).map(|commits| commits.len()), Some(0));
}

#[test]
fn a_stretch_of_the_log_is_read_either_way() {
    let db = counted(6);
    db.trim_log(at(20), 100);
    let read = |after: Option<u64>, until: Option<u64>, direction: Direction| {
        let mut seen = Vec::new();
        let retained = db.engine().commits_within(after, until, direction, &mut |commit, size| {
            assert!(size > 0);
            seen.push(commit.revision);
            if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let Retained { first, last } = retained.unwrap();
        assert_eq!((first, last), (3, 6));
        seen
    };
    let (forward, backward) = (Direction::Forward, Direction::Backward);
    assert_eq!(read(None, None, forward), [3, 4, 5]);
    assert_eq!(read(None, None, backward), [6, 5, 4]);
    assert_eq!(read(Some(2), Some(4), forward), [3, 4]);
    assert_eq!(read(Some(4), Some(9), backward), [6, 5]);
    assert_eq!(read(Some(6), None, forward), [0; 0]);
    assert_eq!(read(Some(u64::MAX), None, backward), [0; 0]);
    assert_eq!(read(None, Some(2), backward), [0; 0], "it is gone");
    assert_eq!(read(Some(1), None, forward), [0; 0], "the first of them is gone");
}

#[test]
fn a_trimmed_log_tells_what_it_has_and_refuses_what_it_has_not() {
    let db = counted(6);
    assert_eq!(db.trim_log(at(0), 100), 0);
    assert_eq!(db.trim_log(at(30), 0), 0);
    assert_eq!(after(&db, 0).unwrap().len(), 6);
    assert_eq!(db.trim_log(at(30), 2), 2);
    assert_eq!(db.trim_log(at(30), 100), 1);
    // The commits 1 to 3, of the seconds 0, 10 and 20, are gone.
    for from in 0..3 {
        assert!(after(&db, from).is_none(), "{from}");
    }
    for from in 3..8 {
        let revisions: Vec<u64> = after(&db, from).unwrap().iter().map(|commit| commit.revision).collect();
        assert_eq!(revisions, (from + 1..=6).collect::<Vec<u64>>());
    }
    // The last stays, however old.
    assert_eq!(db.trim_log(at(1_000), 100), 2);
    assert_eq!(db.trim_log(at(1_000), 100), 0);
    assert_eq!(after(&db, 5).unwrap().len(), 1);
    assert!(after(&db, 4).is_none());
    commit(&db, vec![update(&db, "Team", "t", &[("name", text("x"))])]);
    let commits = after(&db, 5).unwrap();
    assert_eq!(commits.iter().map(|commit| commit.revision).collect::<Vec<_>>(), [6, 7]);
    assert_eq!(commits[1].time, at(50), "time does not run backwards");
    agree(&db);
}

#[test]
fn the_log_and_its_time_outlive_the_engine() {
    let store = memory();
    let db = opened(&store, SCHEMA);
    let group = [Transaction { writes: vec![create(&db, "Team", "t", &[])] }];
    db.commit(&group, at(100)).unwrap().remove(0).unwrap();
    drop(db);
    let db = opened(&store, SCHEMA);
    assert_eq!(db.engine().revision(), 1);
    let done = commit(&db, vec![update(&db, "Team", "t", &[("name", text("x"))])]);
    assert_eq!((done.revision, done.commit.unwrap().time), (2, at(100)));
    assert_eq!(after(&db, 0).unwrap().len(), 2);
    let mut folded = State::new();
    after(&db, 0).unwrap().iter().for_each(|commit| fold(&mut folded, commit));
    assert_eq!(folded, state(&db));
}

#[test]
fn whoever_follows_the_log_across_a_build_has_to_start_afresh() {
    let store = memory();
    let db = opened(&store, SCHEMA);
    commit(&db, vec![create(&db, "Team", "t", &[])]);
    commit(&db, vec![update(&db, "Team", "t", &[("name", text("x"))])]);
    drop(db);
    let db = opened(&store, &SCHEMA.replace("n := count", "m := count(self.tasks), n := count"));
    let built = db.engine().revision();
    for from in 0..built {
        assert!(after(&db, from).is_none(), "{from} of {built}");
    }
    assert_eq!(after(&db, built).unwrap().len(), 0);
    let mut folded = state(&db);
    commit(
        &db,
        vec![create(&db, "Task", "k", &[("parent_team_tasks", reference("t")), ("cost", Value::Int(1))])],
    );
    after(&db, built).unwrap().iter().for_each(|commit| fold(&mut folded, commit));
    assert_eq!(folded, state(&db));
}

#[test]
fn a_log_written_under_an_older_schema_is_read_by_names_that_are_left() {
    let store = memory();
    let wide = "type A in all { s: str, n: int, twice := self.n * 2 } type B in bees { x: int }";
    let db = opened(&store, wide);
    let b = create(&db, "B", "b", &[("x", Value::Int(1))]);
    commit(&db, vec![create(&db, "A", "a", &[("s", text("s")), ("n", Value::Int(1))]), b]);
    commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(2))]), delete(&db, "B", "b")]);
    drop(db);
    // Nothing is built for this one, so the log stays.
    let db = opened(&store, "type A in all { n: int, s: str }");
    let commits = after(&db, 0).unwrap();
    let mut folded = State::new();
    commits.iter().for_each(|commit| fold(&mut folded, commit));
    assert_eq!(folded, state(&db));
    assert_eq!(commits[1].changes[0].changed, [slot(&db, "A", "n")]);
}

/// The first version of a resource was its creation, and another one of its id had been there before the history began:
/// of that nothing was told, though the log knew it. And what was gone before then was unknown without a log.
#[test]
fn what_was_before_a_history_is_told_by_the_log() {
    let store = memory();
    let db = opened(&store, "type A in all { n: int }");
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(1))]), create(&db, "A", "b", &[])]);
    commit(&db, vec![delete(&db, "A", "a"), delete(&db, "A", "b")]);
    drop(db);
    let db = opened(&store, "type A in all history { n: int }");
    let begin = db.engine().revision();
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(2))])]);
    let past = |id, revision| history::at(&db.engine(), NOW, &key(&db, "A", id), revision).unwrap();
    assert!(matches!(past("a", 1), Past::Was(doc) if doc.revision == 1));
    assert!(matches!(past("a", begin), Past::Nothing(None)));
    commit(&db, vec![create(&db, "A", "c", &[])]);
    while db.trim_log(at(1_000), 100) > 0 {}
    assert!(matches!(past("a", 1), Past::Unknown));
    assert!(matches!(past("a", begin), Past::Nothing(None)));
    assert!(matches!(past("b", begin), Past::Nothing(None)));
}
