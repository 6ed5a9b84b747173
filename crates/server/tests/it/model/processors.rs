//! Processors, as rules that the model has as code: they stand in the line all the time, two that deny and one that sets.

use super::schema::Type;
use super::state::{Key, State};
use super::values::Wrong;
use crate::common::{Json, json};

/// The records, by their ids.
pub fn all() -> [(&'static str, Json); 3] {
    let deny = "deny when self.amount = 40 and self.cost = 80, message \"too much\"";
    let grow = "deny when operation = 'update' and self.visits < old.visits";
    let set = "set done := self.text = 'go'";
    [
        ("deny", json!({"type": "Order", "on": ["create", "update"], "rule": deny})),
        ("grow", json!({"type": "Shop", "rule": grow})),
        ("set", json!({"path": "/shops/*/steps", "rule": set})),
    ]
}

/// The resources of which facts have been written, which the line sees.
fn written<'s>(before: &'s State, after: &'s State, ty: Type) -> impl Iterator<Item = &'s Key> {
    let is_written = move |key: &Key| match (before.docs.get(key), after.docs.get(key)) {
        (Some(was), Some(is)) => was.facts != is.facts || was.held != is.held,
        _ => true,
    };
    after.of_type(ty).map(|(key, _)| key).filter(move |key| is_written(key))
}

/// What sets, before anything follows.
pub fn set(before: &State, state: &mut State) {
    let steps: Vec<Key> = written(before, state, Type::Step).cloned().collect();
    for key in steps {
        let is_go = state.value(&key, "text") == "go";
        let doc = state.docs.get_mut(&key).unwrap();
        doc.facts.insert("done".into(), is_go.into());
    }
}

/// What denies, when all is as it is to be.
pub fn denied(before: &State, after: &State) -> Result<(), Vec<Wrong>> {
    let number = |state: &State, key: &Key, name: &str| state.value(key, name).as_i64();
    let mut wrong = Vec::new();
    for key in written(before, after, Type::Order) {
        if number(after, key, "amount") == Some(40) {
            wrong.push(Wrong::plain("denied").of(key));
        }
    }
    for key in written(before, after, Type::Shop).filter(|key| before.docs.contains_key(key)) {
        let visits = number(before, key, "visits").zip(number(after, key, "visits"));
        if visits.is_some_and(|(was, is)| is < was) {
            wrong.push(Wrong::plain("denied").of(key));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}
