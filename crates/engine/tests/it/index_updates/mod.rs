//! Indexes that are added to data that is there: while an update fills them every query answers as if they were not there,
//! and a crash at any point of it loses nothing.

mod schemas;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::query::{self, Access, DEFAULT_SCAN_LIMIT, Explained, From, Query};
use corollary_engine::rebuild::{self, Structure};
use corollary_engine::updates::record::LEASE;
use corollary_engine::updates::{State, Task};
use corollary_engine::{EngineError, EngineOptions, Update, catalog, keys, open, oracle, order, side_state};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::{FieldRef, Schema};
use corollary_store::{Batch, Direction, Fault, KeyRange, MemoryStore, SharedMemoryStore, Store};
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value};
use jiff::SignedDuration;

/// A schema of people whose type and fields have options.
fn schema(of_type: &str, age: &str, name: &str, others: &str) -> String {
    format!(
        "type Team in teams {{ name: str }}
         type Person in people {of_type} {{
           team: link Team, age: int {age}, name: str {name}, tags: [str] {others}, twice := self.age * 2 {others}
         }}"
    )
}

fn plain() -> String {
    schema("", "", "", "")
}

fn indexed() -> String {
    schema("index (team, age desc)", "index", "index search text", "index")
}

/// How many indexes it has that `plain` does not have.
const INDEXES: usize = 6;

fn facts(n: i64) -> Vec<(&'static str, Value)> {
    vec![
        ("team", reference(&format!("t{}", n % 3))),
        ("age", if n % 13 == 12 { Value::Absent } else { Value::Int(n * 7 % 23) }),
        ("name", text(&format!("number {} of {}", n % 10, n % 4))),
        ("tags", list((0..n % 4).map(|at| text(&format!("g{}", (n + at) % 5))))),
    ]
}

/// People of three teams, without an index.
fn people(count: i64) -> Arc<MemoryStore> {
    let store = memory();
    fill(&opened_within(&store, &plain(), usize::MAX), count);
    store
}

fn fill(db: &Db, count: i64) {
    let teams = (0..3).map(|n| create(db, "Team", &format!("t{n}"), &[]));
    commit(db, teams.collect());
    commit(db, (0..count).map(|n| create(db, "Person", &format!("p{n:03}"), &facts(n))).collect());
}

fn asked(db: &Db, filter: &str, order: &str) -> Query {
    let engine = db.engine();
    let schema: &Schema = engine.schema();
    let ty = schema.type_named("Person").unwrap();
    let filter = (!filter.is_empty()).then(|| {
        let (filter, mistakes) = check_condition(schema, ty, &parse_expression(filter).tree);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        filter
    });
    let by = |by: &str| {
        let (name, descending) = by.strip_prefix('-').map_or((by, false), |name| (name, true));
        (check_expr(schema, Place::Query(ty), &parse_expression(name).tree).0, descending)
    };
    let order = order.split_whitespace().map(by).collect();
    let (from, limit, after, scan_limit) = (From::All, 1_000, None, DEFAULT_SCAN_LIMIT);
    Query { ty, from, filter, order, limit, after, scan_limit }
}

/// Filters and orders, each of which an index of `indexed` answers.
const ASKED: [(&str, &str); 12] = [
    ("age = 7", ""),
    ("age > 5 and age < 12", "age"),
    ("", "-age"),
    ("name = 'number 3 of 1'", ""),
    ("'g3' in tags", ""),
    ("has_words(name, 'number 3')", ""),
    ("team = 't1'", "-age"),
    ("team = 't1' and age > 3", "age"),
    ("age in [1, 2, 3]", ""),
    ("age = 3 or twice = 8", "name"),
    ("twice > 30", "-twice"),
    ("", "name"),
];

fn explained(db: &Db, asked: &Query) -> Explained {
    db.engine().read(NOW, |working| query::explain(working, asked)).unwrap()
}

fn open_updates(db: &Db) -> Vec<Arc<Update>> {
    db.engine().updates().open.clone()
}

/// The indexes of a path of access, as they are told.
fn over(db: &Db, access: &Access) -> Vec<String> {
    let engine = db.engine();
    let schema = engine.schema();
    let named = |number| catalog::describe(schema, Structure::Index(number));
    match access {
        Access::Index(field) => vec![named(schema.field(*field).id)],
        Access::Composite(_, number) => vec![named(*number)],
        Access::Search(field) => vec![named(schema.field(*field).rules.search.unwrap().index)],
        Access::Union(fields) => fields.iter().map(|field| named(schema.field(*field).id)).collect(),
        Access::All | Access::Listed | Access::References(_) | Access::Siblings(_) | Access::Through(_) => {
            Vec::new()
        }
    }
}

/// Every query finds what brute force finds, and goes by no index that is not whole.
#[track_caller]
fn queries_agree(db: &Db) {
    agree(db);
    let engine = db.engine();
    let schema = engine.schema();
    let filling: Vec<String> = open_updates(db)
        .iter()
        .filter(|update| update.record.task == Task::Index)
        .map(|update| catalog::describe(schema, Structure::Index(update.record.definition)))
        .collect();
    for (filter, order) in ASKED {
        let asked = asked(db, filter, order);
        let found = engine.read(NOW, |working| {
            let page = query::run(working, &asked)?;
            assert_eq!(query::count(working, &asked)?, page.items.len() as u64, "{filter} by {order}");
            Ok((page, oracle::queries::found(working, &asked)?))
        });
        let (page, brute) = found.unwrap();
        let ids: Vec<Id> = page.items.into_iter().map(|item| item.key.id).collect();
        assert_eq!(ids, brute, "{filter} by {order}");
        let Explained { access, others, building, .. } = explained(db, &asked);
        let used = [access].into_iter().chain(others).flat_map(|access| over(db, &access));
        for index in used {
            assert!(!filling.contains(&index), "{filter} by {order} goes by {index}");
        }
        for number in building {
            let index = catalog::describe(schema, Structure::Index(number));
            assert!(filling.contains(&index), "{index} is not being built");
        }
    }
}

fn rows(store: &MemoryStore) -> usize {
    let mut count = 0;
    let snapshot = store.snapshot().unwrap();
    let visit = &mut |_: &[u8], _: &[u8]| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    };
    snapshot.scan(keys::INDEX, &KeyRange::all(), Direction::Forward, usize::MAX, visit).unwrap();
    count
}

/// By the field of each open update that fills an index, the id of the last resource that it has come to.
fn cursors(db: &Db) -> BTreeMap<String, Option<Id>> {
    let open = open_updates(db);
    let of_indexes = open.iter().filter(|it| it.record.task == Task::Index);
    of_indexes.map(|it| (it.record.field.to_string(), it.record.place.cursor.clone())).collect()
}

#[test]
fn indexes_of_many_resources_come_about_step_by_step_and_queries_do_without_them_until_then() {
    let store = people(40);
    let before = opened(&store, &plain()).engine().revision();
    let db = opened_within(&store, &indexed(), 3);
    let open = open_updates(&db);
    let told: Vec<(&str, &str)> = open.iter().map(|it| (&*it.record.ty, &*it.record.field)).collect();
    let of = |field: &'static str| ("Person", field);
    assert_eq!(told, ["age", "name", "tags", "twice", "name", "team, age desc"].map(of));
    assert!(open.iter().all(|it| it.record.task == Task::Index && it.record.cause.change.is_none()));
    assert_eq!(rows(&store), 0, "nothing was built before");
    queries_agree(&db);
    let by_age = asked(&db, "age = 7", "");
    let told = explained(&db, &by_age);
    assert_eq!((told.access, told.building.len()), (Access::All, 1));
    let mut steps = 0;
    while let Some(progress) = db.step(7).unwrap() {
        let ended = db.engine().updates().get(progress.id).unwrap().record.is_done();
        assert_eq!((progress.commit.is_some(), progress.ended, progress.stored), (ended, ended, true));
        queries_agree(&db);
        steps += 1;
    }
    // Each takes its turn.
    assert_eq!(steps, INDEXES * 6);
    assert_eq!(db.engine().revision(), before + INDEXES as u64, "each end has a revision, and nothing else");
    let ended = db.engine().updates().ended.clone();
    assert!(ended.iter().all(|it| (it.record.state, it.record.visited) == (State::Done, 40)));
    assert!(ended.iter().all(|it| (it.record.estimated, it.record.changed) == (40, 0)));
    let ty = by_age.ty;
    let age = Access::Index(FieldRef { ty, slot: slot(&db, "Person", "age") });
    let told = explained(&db, &by_age);
    assert_eq!((told.access, told.building), (age, Vec::new()));
    for (filter, order) in ASKED {
        let told = explained(&db, &asked(&db, filter, order));
        assert!(!over(&db, &told.access).is_empty(), "{filter} by {order} goes by {:?}", told.access);
    }
    // The next start has nothing to do, and no less is there than what is built at once.
    let again = opened_within(&store, &indexed(), 3);
    assert!(open_updates(&again).is_empty());
    assert_eq!(rows(&store), {
        let store = people(40);
        opened_within(&store, &indexed(), usize::MAX);
        rows(&store)
    });
}

#[test]
fn what_is_small_and_what_rules_are_held_to_is_built_at_once() {
    let store = people(20);
    let db = opened_within(&store, &schema("", "index", "", ""), 20);
    assert!(open_updates(&db).is_empty());
    assert_eq!(rows(&store), 20);
    let store = memory();
    let db = opened_within(&store, "type Person in people { code: str, age: int }", usize::MAX);
    let person = |n: i64| [("code", text(&format!("c{n}"))), ("age", Value::Int(n))];
    commit(&db, (0..9).map(|n| create(&db, "Person", &format!("p{n}"), &person(n))).collect());
    let held = "type Person in people path code url := '/p/' + self.code { code: str required unique, age: int unique }";
    let db = opened_within(&store, held, 2);
    assert!(open_updates(&db).iter().all(|it| it.record.task != Task::Index), "{:?}", open_updates(&db));
    agree(&db);
    assert_eq!(
        codes(&refused(&db, vec![update(&db, "Person", "p1", &[("age", Value::Int(4))])])),
        ["unique age"]
    );
}

/// Writes in front of each walk and behind it, that come and go, that swap what the entries are made of.
#[test]
fn writes_keep_an_index_true_wherever_its_update_is() {
    let store = people(30);
    let db = opened_within(&store, &indexed(), 3);
    let mut n = 0;
    while !open_updates(&db).is_empty() {
        let one = |at: i64| format!("p{:03}", at % 30);
        if doc(&db, "Person", &one(n)).is_some() {
            commit(&db, vec![update(&db, "Person", &one(n), &facts(n + 5))]);
        }
        queries_agree(&db);
        if doc(&db, "Person", &one(n * 7 + 3)).is_some() && n % 3 == 0 {
            commit(&db, vec![delete(&db, "Person", &one(n * 7 + 3))]);
        } else if doc(&db, "Person", &one(n * 7 + 3)).is_none() {
            commit(&db, vec![create(&db, "Person", &one(n * 7 + 3), &facts(n))]);
        }
        queries_agree(&db);
        db.step(2).unwrap();
        queries_agree(&db);
        n += 1;
    }
    assert!(n > 60, "{n}");
}

/// The filling is cut short at each commit of its own, in each way in which a store can fail.
#[test]
fn a_crash_at_any_point_of_the_filling_of_an_index_loses_nothing() {
    let faults = [Fault::Full, Fault::Io, Fault::Sync { survives: false }, Fault::Sync { survives: true }];
    let store = people(24);
    let db = opened_within(&store, &indexed(), 3);
    let mut points = 0;
    while !open_updates(&db).is_empty() {
        for fault in faults {
            points += 1;
            let image = Arc::new(store.crash_image());
            let broken = opened_within(&image, &indexed(), 3);
            image.fail_next_commit(fault);
            let failed = (0..100).any(|_| broken.step(3).is_err());
            assert!(failed, "the store failed, and no step did");
            drop(broken);
            let again = opened_within(&Arc::new(image.crash_image()), &indexed(), 3);
            queries_agree(&again);
            commit(&again, vec![update(&again, "Person", "p012", &[("age", Value::Int(points))])]);
            queries_agree(&again);
            again.finish_updates();
            queries_agree(&again);
            let updates = again.engine().updates();
            assert!(updates.ended.iter().all(|it| it.record.visited == 24), "{fault:?} at {points}");
            assert_eq!(updates.ended.len(), INDEXES);
        }
        db.step(3).unwrap();
    }
    assert!(points > 150, "{points}");
}

/// A refusal named an index that was declared already.
#[test]
fn a_query_that_would_visit_too_many_is_told_that_its_index_is_being_built() {
    let store = people(20);
    let db = opened_within(&store, &indexed(), 3);
    let refusal = |filter: &str, order: &str| {
        let asked = Query { scan_limit: 10, ..asked(&db, filter, order) };
        match db.engine().read(NOW, |working| query::run(working, &asked)) {
            Err(EngineError::Refused(refusals)) => {
                assert_eq!(refusals[0].code, "scan-limit");
                Some(refusals[0].message.clone())
            }
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    };
    let would = |index: &str| {
        Some(format!(
            "the query would visit more than 10 resources of Person; {index} is being built, and would help"
        ))
    };
    let of = [
        ("age = 7", "", "the index of Person.age"),
        ("has_words(name, 'of')", "", "the index for the search of Person.name"),
        ("'g1' in tags", "", "the index of Person.tags"),
    ];
    for (filter, order, index) in &of {
        assert_eq!(refusal(filter, order), would(index));
    }
    db.finish_updates();
    for (filter, order, _) in &of {
        assert!(!refusal(filter, order).is_some_and(|it| it.contains("is being built")), "{filter}");
    }
}

/// A value that is longer than an index takes holds its update up, and nothing else, until it is a shorter one. That could not
/// be written, nor the resource be deleted: the entry that was to go with it was too long as well.
#[test]
fn a_value_that_is_too_long_fails_the_update_by_name() {
    let store = people(20);
    let db = opened(&store, &plain());
    let long = "x".repeat(20_000);
    commit(&db, vec![update(&db, "Person", "p007", &[("name", text(&long))])]);
    drop(db);
    let db = opened_within(&store, &schema("", "index", "index", ""), 3);
    for _ in 0..40 {
        let _ = db.step(8);
    }
    let [update_of_name] = &open_updates(&db)[..] else { panic!("one is left: {:?}", open_updates(&db)) };
    let record = &update_of_name.record;
    assert_eq!((record.state, &*record.field, record.visited), (State::Failed, "name", 7));
    let error = record.error.clone().unwrap();
    assert!(error.contains("Person p007") && error.contains("the index of Person.name"), "{error}");
    queries_agree_of_age(&db);
    commit(&db, vec![update(&db, "Person", "p007", &[("age", Value::Int(3))])]);
    let longer = text(&"y".repeat(20_000));
    assert_eq!(
        codes(&refused(&db, vec![update(&db, "Person", "p007", &[("name", longer)])])),
        ["too-long name"]
    );
    assert_eq!(try_commit(&db, vec![delete(&db, "Person", "p007")]).unwrap().updates, []);
    commit(&db, vec![create(&db, "Person", "p007", &[("name", text("short"))])]);
    db.finish_updates();
    assert!(open_updates(&db).is_empty());
    agree(&db);
}

fn queries_agree_of_age(db: &Db) {
    agree(db);
    let asked = asked(db, "age = 7", "name");
    let ids = |db: &Db| db.engine().read(NOW, |working| Ok(query::run(working, &asked)?.items)).unwrap();
    let brute = db.engine().read(NOW, |working| oracle::queries::found(working, &asked)).unwrap();
    assert_eq!(ids(db).into_iter().map(|item| item.key.id).collect::<Vec<_>>(), brute);
}

/// A row that is wrong is found and mended wherever the update is, and one that it has yet to come to is not missing.
#[test]
fn entries_are_judged_and_mended_while_their_index_is_filled() {
    let store = people(20);
    let text = schema("", "index", "", "");
    let db = opened_within(&store, &text, 3);
    db.step(8).unwrap();
    agree(&db);
    let engine = db.engine();
    let age = {
        let schema = engine.schema();
        schema.ty(schema.type_named("Person").unwrap()).field(slot(&db, "Person", "age")).id
    };
    let index = Structure::Index(age);
    let wrong =
        || engine.alone(1 << 20, |working| side_state::wrong_rows(working, index, 100)).unwrap().unwrap();
    assert!(wrong().is_empty());
    // One that is missing behind the update, one that is there and should not be, and one that is there already in front of it.
    let mut batch = Batch::new();
    batch.delete(keys::INDEX, keys::index(age, &Value::Int(21), &id("p003")));
    batch.put(keys::INDEX, keys::index(age, &Value::Int(99), &id("p015")), Vec::new());
    batch.put(keys::INDEX, keys::index(age, &Value::Int(10 * 7 % 23), &id("p010")), Vec::new());
    store.commit(&batch).unwrap();
    let found = wrong();
    assert_eq!(found.len(), 2);
    db.change(|executor| executor.mend_rows(index, &found)).unwrap();
    assert!(wrong().is_empty());
    db.finish_updates();
    assert!(wrong().is_empty());
    agree(&db);
}

/// One that is built as a whole is filled no more.
#[test]
fn an_index_that_is_built_anew_ends_its_update() {
    let store = people(20);
    let db = opened_within(&store, &schema("", "index", "", ""), 3);
    db.step(8).unwrap();
    let number = open_updates(&db)[0].record.definition;
    let build = |executor: &mut corollary_engine::Executor| {
        rebuild::build(executor, Structure::Index(number), order::Build::Kept)
    };
    db.change(build).unwrap();
    assert!(open_updates(&db).is_empty());
    assert_eq!(rows(&store), 20);
    agree(&db);
}

/// Lazy fields are not taken for pending because of an index, nor are any others.
#[test]
fn no_value_is_marked_because_of_an_index() {
    let store = people(20);
    let db = opened_within(&store, &indexed(), 3);
    db.step(8).unwrap();
    let checked = db.engine().read(NOW, |working| {
        let settled = corollary_engine::updates::Settled::new(working);
        Ok((settled.is_trivial(), oracle::check(working, None)?.pending))
    });
    assert_eq!(checked.unwrap(), (true, 0));
}

/// One fills, another goes on where it is gone, and each knows from when on the index is whole.
#[test]
fn of_several_nodes_whoever_is_there_fills_an_index() {
    let store = SharedMemoryStore::new(&keys::KEYSPACES).unwrap();
    let node = |name: &str, text: &str| {
        let options = EngineOptions { update_budget: 3, node: name.into(), ..EngineOptions::default() };
        Db::new(open(Arc::new(store.beside()), text, &options, NOW, &mut |_| {}).unwrap())
    };
    fill(&node("zero", &plain()), 40);
    let text = schema("", "index", "", "");
    let (one, other) = (node("one", &text), node("other", &text));
    let by_age = asked(&one, "age = 7", "");
    let is_whole = |db: &Db| explained(db, &by_age).access != Access::All;
    for _ in 0..3 {
        one.step(5).unwrap();
        for db in [&one, &other] {
            queries_agree(db);
            assert!(!is_whole(db));
        }
    }
    assert!(other.step(5).unwrap().is_none(), "it is held by another");
    commit(&other, vec![update(&other, "Person", "p030", &[("age", Value::Int(7))])]);
    let over = NOW + SignedDuration::from_secs(LEASE.as_secs() + 1);
    while other.step_at(5, over).unwrap().is_some() {}
    assert!(one.step_at(5, over).unwrap().is_none(), "nothing is left");
    for db in [&one, &other] {
        queries_agree(db);
        assert!(is_whole(db));
        let ended = db.engine().updates().ended[0].record.clone();
        assert_eq!((ended.state, ended.visited, &*ended.owner), (State::Done, 40, "other"));
    }
    assert_eq!(one.engine().revision(), other.engine().revision());
}

/// A reader that began before the index was whole goes on without it, whatever has happened since.
#[test]
fn a_reader_of_before_the_end_goes_without_the_index() {
    let store = people(20);
    let db = opened_within(&store, &schema("", "index", "", ""), 3);
    db.step(15).unwrap();
    let engine = db.engine();
    let (by_age, before) = (asked(&db, "age = 7", ""), engine.revision());
    let brute = engine.read(NOW, |working| oracle::queries::found(working, &by_age)).unwrap();
    let walked = engine.walk(NOW, |working| {
        db.finish_updates();
        commit(&db, vec![delete(&db, "Person", "p001")]);
        let access = query::explain(working, &by_age)?.access;
        let page = query::run(working, &by_age)?;
        Ok((working.revision(), access, page.items.into_iter().map(|it| it.key.id).collect::<Vec<_>>()))
    });
    assert_eq!(walked.unwrap(), (before, Access::All, brute));
    assert_ne!(explained(&db, &by_age).access, Access::All);
    queries_agree(&db);
}
