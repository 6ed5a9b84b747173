//! The judges: what must hold whenever nothing is being written.
//!
//! Each returns an error that says what does not hold, in one text.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_engine::audit::Audit;
use corollary_engine::eval::View;
use corollary_engine::reply::{Request, Shown};
use corollary_engine::{
    Change, Committed, Doc, Engine, EngineError, Key, Refusal, Transaction, UpdateId, history, oracle,
    side_state,
};
use corollary_schema::{FieldKind, Schema};
use corollary_value::{Value, compare};
use jiff::Timestamp;

use crate::among;
use crate::draft::{Draft, Fact};
use crate::lifetime;
use crate::model::{Facts, Place};

/// All documents.
pub type State = BTreeMap<Key, Arc<Doc>>;

/// Reads from an engine, where only the simulator itself could make that fail.
pub fn read<T>(
    engine: &Engine,
    now: Timestamp,
    f: impl Fn(&corollary_engine::working::Working<'_>) -> Result<T, EngineError>,
) -> Result<T, String> {
    engine.read(now, f).map_err(|error| format!("a read failed: {error}"))
}

/// All that a reader sees.
pub fn state(engine: &Engine, now: Timestamp) -> Result<State, String> {
    read(engine, now, |working| {
        let mut all = State::new();
        for (ty, _) in working.schema.types().filter(|(_, ty)| ty.visible()) {
            for id in working.all(ty)? {
                let key = Key::new(ty, id);
                match working.after(&key)? {
                    Some(doc) => drop(all.insert(key, doc)),
                    None => return Err(EngineError::Corrupt(format!("{} is listed and not there", key.id))),
                }
            }
        }
        Ok(all)
    })
}

/// The key of a place.
pub fn key(schema: &Schema, draft: &Draft, place: &Place) -> Key {
    let ty = schema.type_named(draft.types[place.ty].name).expect("every type of the draft is in the schema");
    Key::new(ty, place.id.clone())
}

/// The place of a key.
pub fn place(schema: &Schema, draft: &Draft, key: &Key) -> Place {
    let name = &schema.ty(key.ty).name;
    let ty =
        draft.types.iter().position(|ty| ty.name == name).expect("every type of the schema is in the draft");
    Place { ty, id: key.id.clone() }
}

/// Are two states the same?
pub fn same_state(left_is: &str, left: &State, right_is: &str, right: &State) -> Result<(), String> {
    if left == right {
        return Ok(());
    }
    let keys: std::collections::BTreeSet<&Key> = left.keys().chain(right.keys()).collect();
    let different = keys.into_iter().filter(|key| left.get(key) != right.get(key)).take(3);
    let lines: Vec<String> = different
        .map(|key| format!("{}: {left_is} {:?} {right_is} {:?}", key.id, left.get(key), right.get(key)))
        .collect();
    Err(lines.join("\n"))
}

/// The documents hold the facts that the model has, and no others.
pub fn facts(
    schema: &Schema,
    draft: &Draft,
    declared: &[Vec<Fact<'_>>],
    model: &Facts,
    state: &State,
) -> Result<(), String> {
    if model.records.len() != state.len() {
        let there: Vec<Place> = state.keys().map(|key| place(schema, draft, key)).collect();
        let lost: Vec<_> = model.records.keys().filter(|place| !there.contains(place)).collect();
        let more: Vec<_> = there.iter().filter(|place| !model.has(place)).collect();
        return Err(format!(
            "the model has {lost:?} that are not stored, and {more:?} are stored that it has not"
        ));
    }
    orders(schema, draft, model, state)?;
    for (at, record) in &model.records {
        let key = key(schema, draft, at);
        let Some(doc) = state.get(&key) else {
            return Err(format!("{at:?} is not stored"));
        };
        for name in lifetime::predicted(draft, at.ty) {
            let slot = schema.ty(key.ty).named(name).map(|(slot, _)| slot);
            let (kept, expected) = (slot.map(|slot| doc.get(slot)), record.get(name));
            if kept != expected {
                return Err(format!("{name} of {at:?} is {kept:?}, and should be {expected:?}"));
            }
        }
        for fact in &declared[at.ty] {
            let Some(slot) = among::slot(schema, key.ty, &fact.name) else {
                return Err(format!("{} is no field of {}", fact.name, schema.ty(key.ty).name));
            };
            let expected = record.get(&fact.name).unwrap_or(&Value::Absent);
            let stored = doc.get(slot);
            if stored != expected {
                return Err(format!("{} of {at:?} is {stored:?}, and should be {expected:?}", fact.name));
            }
        }
    }
    Ok(())
}

/// The children of ordered collections stand as the model has them.
fn orders(schema: &Schema, draft: &Draft, model: &Facts, state: &State) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for (key, doc) in state {
        let ty = schema.ty(key.ty);
        for position in &ty.positions {
            if let Value::Ref(parent) = doc.get(position.via) {
                let of =
                    (place(schema, draft, key).ty, ty.field(position.via).name.to_string(), parent.clone());
                found.entry(of).or_insert_with(Vec::new).push((doc.get(position.slot), key.id.clone()));
            }
        }
    }
    for order in found.values_mut() {
        order.sort_by(|(left, _), (right, _)| compare(left, right));
    }
    let found: BTreeMap<_, Vec<_>> =
        found.into_iter().map(|(of, order)| (of, order.into_iter().map(|(_, id)| id).collect())).collect();
    if found == model.orders {
        Ok(())
    } else {
        Err(format!("children stand as {found:?}, and should as {:?}", model.orders))
    }
}

/// What is kept follows from the facts.
pub fn derived(engine: &Engine) -> Result<(), String> {
    let checked = read(engine, engine.time(), |working| oracle::check(working, None))?;
    let mut wrong = differences(engine.schema(), &checked);
    wrong.extend(read(engine, engine.time(), side_state::check)?.into_values());
    wrong.extend(read(engine, engine.time(), history::check)?);
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Nothing is found by who looks for what is wrong while all goes on.
pub fn audited(engine: &Arc<Engine>) -> Result<(), String> {
    let mut audit = Audit::new(engine.clone(), None).map_err(|error| error.to_string())?;
    while let Some(found) = audit.step().map_err(|error| error.to_string())? {
        if !found.is_empty() {
            return Err(format!("an audit finds {found:?}"));
        }
    }
    Ok(())
}

/// What a dry run tells of a transaction: its changes and its updates, or why it is refused.
pub fn tried(engine: &Engine, transaction: &Transaction, now: Timestamp) -> Result<Outcome, String> {
    let revision = engine.revision();
    let outcome = match engine.dry_run(&Request::new(transaction), now, |tried| Ok(outcome(tried.committed)))
    {
        Ok(outcome) => Ok(outcome),
        Err(EngineError::Refused(refusals)) => Err(refusals),
        Err(error) => return Err(format!("a dry run failed: {error}")),
    };
    if engine.revision() != revision {
        return Err("a dry run made a revision".into());
    }
    Ok(outcome)
}

/// What a transaction did, or why it was refused.
type Outcome = Result<(String, Vec<UpdateId>), Vec<Refusal>>;

fn outcome(committed: &Committed) -> (String, Vec<UpdateId>) {
    let changes = committed.commit.as_ref().map(|commit| &commit.changes);
    (format!("{changes:?} {:?}", committed.results), committed.updates.clone())
}

/// A transaction did what its dry run had told just before.
pub fn kept_its_word(tried: &Outcome, done: &Result<Committed, EngineError>) -> Result<(), String> {
    let done = match done {
        Ok(committed) => Ok(outcome(committed)),
        Err(EngineError::Refused(refusals)) => Err(refusals.clone()),
        Err(error) => return Err(format!("a transaction failed: {error}")),
    };
    if *tried == done { Ok(()) } else { Err(format!("a dry run told {tried:?}, and it was {done:?}")) }
}

/// What the last transaction tells of its resources follows from the facts that it left, as at its time, but for what it
/// marks.
pub fn results(engine: &Engine, time: Timestamp, results: &[(Key, Shown)]) -> Result<(), String> {
    let checked = read(engine, time, |working| oracle::check_results(working, results))?;
    let wrong = differences(engine.schema(), &checked);
    if wrong.is_empty() { Ok(()) } else { Err(format!("it tells that {}", wrong.join("\n"))) }
}

fn differences(schema: &Schema, checked: &oracle::Checked) -> Vec<String> {
    let told = checked.differences.iter().take(5).map(|it| {
        let (ty, field) = (&schema.ty(it.key.ty).name, schema.field(it.field));
        let text = if let FieldKind::Derived { text, .. } = &field.kind { text.as_str() } else { "" };
        let what = format!("{ty} {}.{} := {text}", it.key.id, field.name);
        format!("{what}\n  is {:?}\n  and follows as {:?}", it.stored, it.expected)
    });
    told.collect()
}

/// No transaction makes a strict field an error; only the clock may, and that by a commit of its own.
pub fn stays_strict(schema: &Schema, change: &Change) -> Result<(), String> {
    let Some(after) = &change.after else { return Ok(()) };
    for (slot, field) in schema.ty(change.key.ty).slots() {
        let strict = matches!(field.kind, FieldKind::Derived { strict: true, .. });
        let was_one = change.before.as_ref().is_some_and(|before| before.get(slot).is_error());
        if strict && !was_one && after.get(slot).is_error() {
            return Err(format!(
                "a transaction makes {} of {} {:?}",
                field.name,
                change.key.id,
                after.get(slot)
            ));
        }
    }
    Ok(())
}

/// No strict field is an error, unless the clock may have made it one, and no resource is newer than the last commit.
pub fn strict(schema: &Schema, state: &State, revision: u64) -> Result<(), String> {
    let timed = schema.plan.nodes.iter().any(|node| node.is_timed());
    for (key, doc) in state {
        if doc.revision > revision || doc.revision == 0 {
            return Err(format!("{} is at revision {}, and the last is {revision}", key.id, doc.revision));
        }
        for (slot, field) in schema.ty(key.ty).slots() {
            let strict = !timed && matches!(field.kind, FieldKind::Derived { strict: true, .. });
            if strict && doc.get(slot).is_error() {
                return Err(format!("{} of {} is strict and {:?}", field.name, key.id, doc.get(slot)));
            }
        }
    }
    Ok(())
}
