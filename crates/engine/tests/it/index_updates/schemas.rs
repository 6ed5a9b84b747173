//! Other schemas while indexes are filled: what is wanted no longer goes, what is wanted still goes on.

use super::*;
use proptest::prelude::*;

#[test]
fn an_index_that_goes_while_it_is_filled_leaves_nothing_behind_and_may_come_again() {
    let store = people(30);
    let db = opened_within(&store, &indexed(), 3);
    (0..10).for_each(|_| drop(db.step(5).unwrap()));
    assert!(rows(&store) > 0);
    let first = open_updates(&db).iter().map(|it| it.record.id).collect::<Vec<_>>();
    drop(db);
    let db = opened_within(&store, &plain(), 3);
    queries_agree(&db);
    assert!(open_updates(&db).is_empty());
    assert_eq!(rows(&store), 0);
    let ledger = db.engine().updates();
    let ended = |id| ledger.get(id).unwrap().record.clone();
    assert!(first.iter().all(|id| ended(*id).error.unwrap().contains("superseded")));
    commit(&db, vec![update(&db, "Person", "p003", &[("age", Value::Int(70))])]);
    drop(db);
    let db = opened_within(&store, &indexed(), 3);
    assert!(cursors(&db).values().all(Option::is_none), "it begins at the beginning");
    queries_agree(&db);
    db.finish_updates();
    queries_agree(&db);
}

#[test]
fn a_schema_that_changes_otherwise_lets_an_index_go_on() {
    let store = people(30);
    let db = opened_within(&store, &indexed(), 3);
    (0..9).for_each(|_| drop(db.step(5).unwrap()));
    let before = cursors(&db);
    assert!(before.values().all(Option::is_some));
    drop(db);
    let more = indexed().replace("age: int", "more: int index, thrice := self.age * 3, age: int");
    let db = opened_within(&store, &more, 3);
    let mut now = cursors(&db);
    assert_eq!(now.remove("more"), Some(None), "a new one begins");
    assert_eq!(now, before);
    assert!(open_updates(&db).iter().any(|it| it.record.task == Task::Fill));
    queries_agree(&db);
    db.finish_updates();
    queries_agree(&db);
    // One whose values are of another kind than before is built, and its index begins anew.
    let other = more.replace("self.age * 2", "self.name");
    let text = opened_within(&store, &other, 3);
    assert_eq!(cursors(&text), BTreeMap::from([("twice".to_string(), None)]));
    agree(&text);
    text.step(9).unwrap();
    drop(text);
    let again = opened_within(&store, &other.replace("self.name", "lower(self.name)"), 3);
    agree(&again);
    again.finish_updates();
    agree(&again);
}

#[test]
fn an_index_that_is_to_be_unique_while_it_is_filled_is_built() {
    let store = memory();
    let text = |option: &str| format!("type Person in people {{ age: int {option} }}");
    let db = opened_within(&store, &text(""), 2);
    commit(&db, (0..9).map(|n| create(&db, "Person", &format!("p{n}"), &[("age", Value::Int(n))])).collect());
    drop(db);
    let db = opened_within(&store, &text("index"), 2);
    db.step(4).unwrap();
    assert_eq!(open_updates(&db).len(), 1);
    drop(db);
    let store_of = store.clone() as Arc<dyn Store>;
    let planned = catalog::plan::plan(&*store_of, &text("unique"), 2).unwrap();
    assert_eq!((planned.build, planned.fill), (vec!["the index of Person.age".to_string()], Vec::new()));
    let db = opened_within(&store, &text("unique"), 2);
    assert!(open_updates(&db).is_empty());
    agree(&db);
    let twice = vec![create(&db, "Person", "p9", &[("age", Value::Int(8))])];
    assert_eq!(codes(&refused(&db, twice)), ["unique age"]);
    drop(db);
    // As whole as it was it stays.
    assert!(open_updates(&opened_within(&store, &text("index"), 2)).is_empty());
}

#[test]
fn what_an_index_would_be_filled_with_is_told_before() {
    let store = people(20) as Arc<dyn Store>;
    let planned = catalog::plan::plan(&*store, &indexed(), 5).unwrap();
    let all = [
        "the index of Person.age",
        "the index of Person.name",
        "the index for the search of Person.name",
        "the index of Person.tags",
        "the index of Person.twice",
        "the index (team, age desc) of Person",
    ];
    assert_eq!((planned.fill, planned.build), (all.map(str::to_string).to_vec(), Vec::new()));
    let planned = catalog::plan::plan(&*store, &indexed(), 20).unwrap();
    assert_eq!((planned.fill.len(), planned.build.len()), (0, INDEXES));
}

/// How the data was written before lists were indexed by their elements: they are by now, and requests do not wait for it.
#[test]
fn what_an_older_form_of_the_data_indexed_otherwise_is_filled_too() {
    let store = people(20);
    drop(opened_within(&store, &indexed(), usize::MAX));
    let whole = rows(&store);
    let bytes = store.snapshot().unwrap().get(keys::META, b"schema").unwrap().unwrap();
    let mut catalog: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    catalog["format"] = 3.into();
    let mut batch = Batch::new();
    batch.put(keys::META, b"schema".to_vec(), catalog.to_string());
    store.commit(&batch).unwrap();
    let options = EngineOptions { update_budget: 3, ..EngineOptions::default() };
    let db = opened_as(&store, &indexed(), &options);
    let open = open_updates(&db);
    assert_eq!(open.iter().map(|it| &*it.record.field).collect::<Vec<_>>(), ["tags"]);
    queries_agree(&db);
    db.finish_updates();
    queries_agree(&db);
    assert_eq!(rows(&store), whole);
}

#[derive(Clone, Debug)]
enum Turn {
    Write(i64, i64),
    Delete(i64),
    Steps(usize, usize),
    Reopen,
    Version(usize),
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0i64..24, 0i64..60).prop_map(|(at, n)| Turn::Write(at, n)),
        1 => (0i64..24).prop_map(Turn::Delete),
        4 => (1usize..4, 1usize..9).prop_map(|(count, limit)| Turn::Steps(count, limit)),
        1 => Just(Turn::Reopen),
        1 => (0usize..5).prop_map(Turn::Version),
    ]
}

/// Versions of the schema, in each of which queries by the same fields are asked.
fn versions() -> [String; 5] {
    [
        plain(),
        indexed(),
        schema("index (age, name) index (team, age desc)", "", "search text", "index"),
        schema("", "index", "search prefix", ""),
        indexed().replace("self.age * 2", "self.age + self.age"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Through any versions, with writes, steps and restarts in any order.
    #[test]
    fn queries_are_right_at_every_moment(turns in prop::collection::vec(turn(), 1..40), budget in 0usize..30) {
        let (store, versions) = (people(20), versions());
        let mut version = 1;
        let mut db = opened_within(&store, &versions[version], budget);
        for turn in turns {
            match turn {
                Turn::Write(at, n) => {
                    let name = format!("p{at:03}");
                    let write = match doc(&db, "Person", &name) {
                        Some(_) => update(&db, "Person", &name, &facts(n)),
                        None => create(&db, "Person", &name, &facts(n)),
                    };
                    commit(&db, vec![write]);
                }
                Turn::Delete(at) => {
                    let name = format!("p{at:03}");
                    if doc(&db, "Person", &name).is_some() {
                        commit(&db, vec![delete(&db, "Person", &name)]);
                    }
                }
                Turn::Steps(count, limit) => (0..count).for_each(|_| drop(db.step(limit).unwrap())),
                Turn::Reopen => {
                    drop(db);
                    db = opened_within(&store, &versions[version], budget);
                }
                Turn::Version(to) => {
                    version = to;
                    drop(db);
                    db = opened_within(&store, &versions[version], budget);
                }
            }
            queries_agree(&db);
        }
        db.finish_updates();
        queries_agree(&db);
    }
}
