//! Ordered collections: places among siblings, and what follows from them.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::eval::View;
use corollary_engine::order::siblings::{Siblings, suffix};
use corollary_engine::query::{self, From, Query};
use corollary_engine::ranks::SPREAD;
use corollary_engine::{Edit, EngineOptions, Key, Transaction, Write, keys, order};
use corollary_schema::FieldRef;
use corollary_store::{Batch, KeyRange, MemoryStore, Store};
use corollary_value::{Id, Value};

const LISTS: &str = r#"
type List in lists {
  steps: ordered collection Step
  loose: collection Step
  first_text := first(self.steps).text
  last_text  := self.steps[-1].text
  first_open := first(self.steps[open].text)
  heaviest   := first(self.steps[order by weight desc]).text
  third      := self.steps[2].text
  texts      := self.steps.text
  open_texts := self.steps[open].text
  total      := sum(self.steps[open].weight)
  many       := count(self.steps)
}
type Step in steps {
  text: str
  open: bool default true
  weight: int default 1
  is_first := parent.first_text = self.text else false
}
"#;

/// `parent` is ambiguous with two collections.
fn lists() -> String {
    LISTS.replace("parent.first_text", "self.parent_list_steps.first_text")
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn place_slot(db: &Db) -> corollary_schema::Slot {
    let engine = db.engine();
    let schema = engine.schema();
    schema.ty(schema.type_named("Step").unwrap()).positions[0].slot
}

fn step(db: &Db, id: &str, list: &str, at: Option<i64>) -> Write {
    let write = create(db, "Step", id, &[("parent_list_steps", reference(list)), ("text", text(id))]);
    match (write, at) {
        (Write::Create(key, mut values), Some(at)) => {
            values.push((place_slot(db), Value::Int(at)));
            Write::Create(key, values)
        }
        (write, _) => write,
    }
}

fn shift(db: &Db, id: &str, at: i64) -> Write {
    Write::Update(key(db, "Step", id), vec![(place_slot(db), Edit::Set(Value::Int(at)))])
}

fn via(db: &Db) -> FieldRef {
    let engine = db.engine();
    let schema = engine.schema();
    let ty = schema.type_named("Step").unwrap();
    FieldRef { ty, slot: schema.ty(ty).positions[0].via }
}

/// The children of a list as they stand; their places are dense, both ways.
#[track_caller]
fn steps(db: &Db, list: &str) -> Vec<String> {
    let (via, parent) = (via(db), id(list));
    let read = db.engine().read(NOW, |working| {
        let ids = order::children(working, via, &parent)?.unwrap();
        let siblings = Siblings::of(working.schema, via, &parent).unwrap();
        assert_eq!(siblings.count(working)?, ids.len() as u64);
        for (at, id) in ids.iter().enumerate() {
            let key = Key::new(via.ty, id.clone());
            let doc = working.after(&key)?.unwrap();
            assert_eq!(order::place(working, &key, &doc)?, Some(at as u64), "{id}");
            assert_eq!(siblings.at(working, at as u64)?.map(|(_, id)| id), Some(id.clone()));
        }
        assert_eq!(siblings.at(working, ids.len() as u64)?, None);
        let mut page = Query {
            ty: via.ty,
            from: From::Referring(via, parent.clone()),
            filter: None,
            order: query::natural_order(working.schema, &From::Referring(via, parent.clone())),
            limit: 2,
            after: None,
            scan_limit: usize::MAX,
        };
        let mut found: Vec<Id> = Vec::new();
        loop {
            let items = query::run(working, &page)?;
            found.extend(items.items.iter().map(|item| item.key.id.clone()));
            match items.items.last().filter(|_| items.more) {
                Some(last) => page.after = Some(last.position.clone()),
                None => break,
            }
        }
        assert_eq!(found, ids);
        Ok(ids)
    });
    read.unwrap().iter().map(Id::to_string).collect()
}

fn two_lists() -> Db {
    let db = fresh(&lists());
    commit(&db, vec![create(&db, "List", "l", &[]), create(&db, "List", "m", &[])]);
    db
}

#[test]
fn new_members_go_where_they_are_put_or_to_the_end() {
    let db = two_lists();
    commit(&db, ["c", "a", "b"].iter().map(|id| step(&db, id, "l", None)).collect());
    assert_eq!(steps(&db, "l"), ["c", "a", "b"]);
    commit(&db, vec![step(&db, "first", "l", Some(0)), step(&db, "past", "l", Some(99))]);
    commit(&db, vec![step(&db, "middle", "l", Some(2)), step(&db, "other", "m", Some(1))]);
    assert_eq!(steps(&db, "l"), ["first", "c", "middle", "a", "b", "past"]);
    assert_eq!(steps(&db, "m"), ["other"]);
    assert_eq!(get(&db, "List", "l", "first_text"), text("first"));
    assert_eq!(get(&db, "List", "l", "last_text"), text("past"));
    assert_eq!(get(&db, "List", "l", "third"), text("middle"));
    assert_eq!(get(&db, "List", "l", "texts"), list(steps(&db, "l").iter().map(|id| text(id))));
    assert_eq!(get(&db, "Step", "first", "is_first"), Value::Bool(true));
    commit(&db, vec![update(&db, "Step", "first", &[("open", Value::Bool(false))])]);
    assert_eq!(get(&db, "List", "l", "first_open"), text("c"));
    commit(&db, vec![delete(&db, "Step", "c"), delete(&db, "Step", "first")]);
    assert_eq!(steps(&db, "l"), ["middle", "a", "b", "past"]);
    assert_eq!(get(&db, "List", "l", "first_text"), text("middle"));
    agree(&db);
}

#[test]
fn a_move_changes_the_one_that_moves() {
    let db = two_lists();
    commit(&db, ["a", "b", "c", "d"].iter().map(|id| step(&db, id, "l", None)).collect());
    let moved = commit(&db, vec![shift(&db, "d", 1)]);
    assert_eq!(steps(&db, "l"), ["a", "d", "b", "c"]);
    let changed: Vec<String> = moved.commit.unwrap().changes.iter().map(|it| it.key.id.to_string()).collect();
    assert_eq!(changed, ["l", "d"], "the list, whose texts changed, and the step");
    // Where it stands already it does not move, and nothing happens.
    let revision = db.engine().revision();
    commit(&db, vec![shift(&db, "c", 3), shift(&db, "c", 77), shift(&db, "a", 0)]);
    assert_eq!(db.engine().revision(), revision);
    commit(&db, vec![shift(&db, "a", 9), shift(&db, "c", 0)]);
    assert_eq!(steps(&db, "l"), ["c", "d", "b", "a"]);
    // Equal weights: the order by weight leaves them as they stand.
    assert_eq!(get(&db, "List", "l", "heaviest"), text("c"));
    agree(&db);
    assert_eq!(codes(&refused(&db, vec![shift(&db, "a", -1)])), ["position _position"]);
    commit(&db, vec![create(&db, "Step", "x", &[("parent_list_loose", reference("l"))])]);
    assert_eq!(codes(&refused(&db, vec![shift(&db, "x", 0)])), ["position _position"]);
    // Deleted and made anew elsewhere, in one transaction.
    commit(&db, vec![delete(&db, "Step", "d"), step(&db, "d", "m", Some(0))]);
    assert_eq!((steps(&db, "l").len(), steps(&db, "m").len()), (3, 1));
    agree(&db);
    commit(&db, vec![delete(&db, "List", "l")]);
    agree(&db);
}

/// Who was moved and moved back, or deleted and made anew at the same place, got another position: a commit of nothing.
#[test]
fn to_come_back_to_the_same_place_is_no_change() {
    let db = two_lists();
    commit(&db, ["a", "b", "c"].map(|id| step(&db, id, "l", None)).to_vec());
    commit(&db, vec![delete(&db, "Step", "b")]);
    let revision = db.engine().revision();
    commit(&db, vec![shift(&db, "a", 1), shift(&db, "a", 0)]);
    commit(&db, vec![delete(&db, "Step", "c"), step(&db, "c", "l", None)]);
    assert_eq!(db.engine().revision(), revision);
    agree(&db);
}

/// A parent that was set, or changed, after its child had been made in the same transaction gave the child no place there.
#[test]
fn a_child_that_gets_its_parent_later_has_a_place() {
    let db = two_lists();
    let to = |list: &str| update(&db, "Step", "a", &[("parent_list_steps", reference(list))]);
    commit(
        &db,
        vec![step(&db, "z", "m", None), step(&db, "a", "l", None), to("m"), step(&db, "y", "l", None)],
    );
    assert_eq!(
        (steps(&db, "l"), steps(&db, "m")),
        (vec!["y".to_string()], vec!["z".to_string(), "a".to_string()])
    );
    commit(
        &db,
        vec![
            create(&db, "Step", "b", &[]),
            update(&db, "Step", "b", &[("parent_list_steps", reference("l"))]),
        ],
    );
    assert_eq!(steps(&db, "l"), ["y", "b"]);
    agree(&db);
}

#[test]
fn many_at_the_same_time_have_places_of_their_own() {
    let db = two_lists();
    let group: Vec<Transaction> =
        (0..100).map(|at| Transaction { writes: vec![step(&db, &format!("s{at}"), "l", None)] }).collect();
    assert!(db.commit(&group, NOW).unwrap().iter().all(Result::is_ok));
    assert_eq!(steps(&db, "l"), (0..100).map(|at| format!("s{at}")).collect::<Vec<_>>());
    agree(&db);
}

/// A thousand random insertions, moves and deletions, against a plain list; more than enough for rows of counts.
#[test]
fn places_are_those_of_a_plain_list() {
    let db = two_lists();
    let mut random = Random(11);
    let mut plain: Vec<String> = Vec::new();
    let mut next = 0;
    for round in 0..40 {
        let mut writes = Vec::new();
        for _ in 0..25 {
            let at = random.below(plain.len() + 2);
            match random.below(if plain.is_empty() { 1 } else { 5 }) {
                0..=2 => {
                    next += 1;
                    let id = format!("s{next}");
                    // Often at one and the same place, where positions grow.
                    let at = if random.below(2) == 0 { plain.len() / 2 } else { at };
                    writes.push(step(&db, &id, "l", Some(at as i64)));
                    plain.insert(at.min(plain.len()), id);
                }
                3 => {
                    let id = plain.remove(random.below(plain.len()));
                    writes.push(shift(&db, &id, at as i64));
                    plain.insert(at.min(plain.len()), id);
                }
                _ => {
                    let id = plain.remove(random.below(plain.len()));
                    writes.push(delete(&db, "Step", &id));
                }
            }
        }
        commit(&db, writes);
        if round % 8 == 7 {
            assert_eq!(steps(&db, "l"), plain);
            agree(&db);
        }
    }
    assert!(plain.len() > 3 * SPREAD as usize);
}

/// Positions between the same two grow until those around get new ones; the order stays.
#[test]
fn positions_stay_short_wherever_is_inserted() {
    let db = two_lists();
    commit(&db, vec![step(&db, "low", "l", None), step(&db, "high", "l", None)]);
    let mut expected = vec!["low".to_string(), "high".to_string()];
    for at in 0..330 {
        let id = format!("s{at}");
        commit(&db, vec![step(&db, &id, "l", Some(1))]);
        expected.insert(1, id);
    }
    assert_eq!(steps(&db, "l"), expected);
    let slot = place_slot(&db);
    for id in &expected {
        let Value::Str(position) = doc(&db, "Step", id).unwrap().get(slot).clone() else { panic!("{id}") };
        assert!(position.len() <= order::MAX_POSITION_BYTES, "{position}");
    }
    agree(&db);
}

#[test]
fn an_order_is_given_to_what_was_there_and_is_not_lost_silently() {
    let store = memory();
    let plain = lists().replace("ordered ", "");
    let db = opened(&store, &plain);
    commit(&db, vec![create(&db, "List", "l", &[])]);
    let made = ["c", "a", "b"].map(|id| create(&db, "Step", id, &[("parent_list_steps", reference("l"))]));
    commit(&db, made.to_vec());
    drop(db);
    let db = opened(&store, &lists());
    assert_eq!(steps(&db, "l"), ["a", "b", "c"]);
    agree(&db);
    commit(&db, vec![shift(&db, "c", 0)]);
    drop(db);
    match try_open(&store, &plain) {
        Err(corollary_engine::OpenError::Refused(reasons)) => {
            assert_eq!(reasons, ["a collection of Step has an order, and the new schema gives it none"]);
        }
        other => panic!("{:?}", other.map(drop)),
    }
    let db = opened(&store, &lists());
    assert_eq!(steps(&db, "l"), ["c", "a", "b"]);
    agree(&db);
}

/// More siblings than one row of the highest level counts, on average.
#[test]
fn places_are_found_among_thousands() {
    let db = two_lists();
    for part in 0..10 {
        commit(&db, (0..500).map(|at| step(&db, &format!("s{part}-{at:03}"), "l", None)).collect());
    }
    let (via, parent) = (via(&db), id("l"));
    db.engine()
        .read(NOW, |working| {
            let siblings = Siblings::of(working.schema, via, &parent).unwrap();
            for place in [0, 1, 777, 2_500, 4_999] {
                let (position, id) = siblings.at(working, place)?.unwrap();
                assert_eq!(siblings.rank(working, &suffix(&Value::Str(position.into()), &id))?, place);
            }
            assert_eq!(working.all(via.ty)?.len(), 5_000);
            Ok(())
        })
        .unwrap();
}

/// A resource that was made in one collection and, in the same transaction, put into another had two parents: it stood in
/// both, and its path led to one of them only.
#[test]
fn nothing_has_two_parents() {
    let db = fresh(&lists());
    commit(&db, vec![create(&db, "List", "l", &[])]);
    let within = |field: &str| update(&db, "Step", "x", &[(field, reference("l"))]);
    let two = || vec![step(&db, "x", "l", None), within("parent_list_loose")];
    assert_eq!(codes(&refused(&db, two())), ["two-parents parent_list_loose"]);
    let mut moved = two();
    moved.push(update(&db, "Step", "x", &[("parent_list_steps", Value::Absent)]));
    commit(&db, moved);
    assert!(steps(&db, "l").is_empty());
    agree(&db);
}

/// Data of the first form counted children in other rows: they were taken for those of today.
#[test]
fn data_of_the_first_form_is_counted_anew() {
    let store = memory();
    let db = opened(&store, &lists());
    commit(&db, vec![create(&db, "List", "l", &[])]);
    commit(&db, (0..100).map(|at| step(&db, &format!("s{at:02}"), "l", Some(0))).collect());
    let before = steps(&db, "l");
    let engine = db.engine();
    let step = engine.schema().ty(via(&db).ty);
    let index = step.fields[place_slot(&db).0 as usize].parent_index.unwrap();
    drop((engine, db));
    let mut batch = Batch::new();
    // Where all were counted at two levels, in the rows without a child.
    let counts = keys::counted_children(index);
    batch.delete_range(keys::INDEX, KeyRange::prefix(counts.clone()));
    let mut parent = Vec::new();
    id("l").push_key(&mut parent);
    for level in [1, 2] {
        batch.put(keys::INDEX, [&counts[..], &[level], &parent].concat(), keys::count(100));
    }
    let snapshot = store.snapshot().unwrap();
    let catalog = snapshot.get(keys::META, b"schema").unwrap().unwrap();
    let mut catalog: serde_json::Value = serde_json::from_slice(&catalog).unwrap();
    assert!(catalog["format"].as_u64().is_some_and(|format| format > 1), "{catalog}");
    catalog["format"] = 1.into();
    batch.put(keys::META, b"schema", catalog.to_string());
    store.commit(&batch).unwrap();
    let told = |store: &Arc<MemoryStore>| {
        let mut told = Vec::new();
        let store: Arc<dyn Store> = store.clone();
        let db = Db::new(
            corollary_engine::open(store, &lists(), &EngineOptions::default(), NOW, &mut |what| {
                told.push(what.to_string())
            })
            .unwrap(),
        );
        assert_eq!(steps(&db, "l"), before);
        commit(&db, vec![shift(&db, "s07", 3), shift(&db, "s07", 92)]);
        agree(&db);
        told
    };
    assert_eq!(told(&store).len(), 1);
    assert!(told(&store).is_empty(), "once is enough");
}
