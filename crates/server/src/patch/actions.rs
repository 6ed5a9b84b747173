//! Update actions: an ordered list of small changes, each of one key, as `[{"inc": {"key": "score", "by": 1}}]`.
//!
//! They become edits of the engine, so that each works on what is there when its turn comes: counts add up, and what is
//! pushed stands in the order of the pushes. A key leads into objects by dots. What comes out of all actions of a field is
//! held to its rules, not each step on the way.
//!
//! A `move` in an ordered collection changes no field of the resource but a child: it is a [`Rearranged`], and goes before
//! the edits.

use corollary_engine::working::Working;
use corollary_engine::{Decision, Destination, Doc, Edit, Element, EngineError, Key, Refusal, Write};
use corollary_schema::{Field, FieldKind, Schema, Slot, TypeIx, ValueType};
use corollary_syntax::nearest;
use corollary_value::{Value, from_json};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;
use std::sync::Arc;

use super::MAX_OPERATIONS;
use crate::json::{among, decode};
use crate::problem::Problem;

/// The actions and what each takes.
const ACTIONS: [(&str, &[&str]); 8] = [
    ("set", &["key", "value"]),
    ("clear", &["key"]),
    ("inc", &["key", "by", "limit", "clamp"]),
    ("push", &["key", "value", "values", "position"]),
    ("pop", &["key", "head"]),
    ("move", &["key", "from", "value", "position"]),
    ("add", &["key", "value", "values"]),
    ("remove", &["key", "value", "values"]),
];

/// The place of a list's end, wherever that is.
const END: u64 = i64::MAX as u64;

/// What a list of actions does.
#[derive(Clone, Debug, Default)]
pub struct Actions {
    /// To the resource itself.
    pub edits: Vec<(Slot, Edit)>,
    /// To those that its ordered collections hold, before that.
    pub moves: Vec<Rearranged>,
}

/// A child that goes to another place among its siblings.
#[derive(Clone, Debug)]
pub struct Rearranged {
    child: Key,
    /// Its link to the parent.
    via: Slot,
    /// The collection's name, for who is told that it holds no such child.
    name: SmolStr,
    at: u64,
}

impl Rearranged {
    /// The write that moves it, where the parent holds it by then.
    pub fn write(&self, parent: &Key) -> Write {
        let (moved, parent) = (self.clone(), parent.id.clone());
        let decide = move |working: &Working<'_>, key: &Key, doc: Option<&Arc<Doc>>| {
            let held = doc.is_some_and(|doc| *doc.get(moved.via) == Value::Ref(parent.clone()));
            if !held {
                let child = &working.schema.ty(key.ty).name;
                let message = format!("`{}` holds no {child} {}", moved.name, key.id);
                return Err(EngineError::refused("element", Some(&moved.name), message));
            }
            let to = Destination { under: Some((moved.via, parent.clone())), at: Some(moved.at) };
            Ok(Some(Write::Move(key.clone(), to)))
        };
        Write::Decide(self.child.clone(), Decision::new(decide))
    }
}

/// Reads a list of actions; all mistakes are told, each with its place.
pub fn parse(schema: &Schema, ty: TypeIx, body: &Json) -> Result<Actions, Problem> {
    let Json::Array(items) = body else {
        return Err(Problem::malformed(
            "actions",
            "update actions are a list, as [{\"set\": {\"key\": …, \"value\": …}}]",
        ));
    };
    if items.len() > MAX_OPERATIONS {
        let detail = format!("there are at most {MAX_OPERATIONS} actions, and these are {}", items.len());
        return Err(Problem::malformed("actions", detail));
    }
    let mut malformed = Vec::new();
    let mut found = Vec::new();
    let mut actions = Actions::default();
    for (at, item) in items.iter().enumerate() {
        match Action::parse(item) {
            Ok(action) => {
                let path = format!("{at}/{}", action.name);
                if let Err(message) = action.take(schema, ty, &path, &mut found, &mut actions) {
                    malformed.push(Refusal::new("actions", Some(&path), message));
                }
            }
            Err(message) => malformed.push(Refusal::new("actions", Some(&at.to_string()), message)),
        }
    }
    if let Some(first) = malformed.first() {
        let detail = first.message.clone();
        return Err(Problem { errors: malformed, ..Problem::malformed("actions", detail) });
    }
    if found.is_empty() { Ok(actions) } else { Err(Problem::refused(found)) }
}

/// One action as it is written.
struct Action<'j> {
    name: &'static str,
    given: &'j Map<String, Json>,
}

/// What a key leads to.
enum Spot<'s> {
    Value(&'s ValueType),
    Link,
    Links(TypeIx),
    /// Links to one of several types.
    LinksAmong(&'s [TypeIx]),
}

/// A key: a field, the names of members below it, and what is there.
struct Place<'s> {
    slot: Slot,
    field: &'s Field,
    members: Vec<SmolStr>,
    spot: Spot<'s>,
}

impl<'j> Action<'j> {
    fn parse(item: &'j Json) -> Result<Action<'j>, String> {
        let members = match item {
            Json::Object(members) if members.len() == 1 => members,
            _ => return Err("an action is an object with one member, its name".into()),
        };
        let Some((name, given)) = members.iter().next() else { return Err("an action has a name".into()) };
        let Some((name, takes)) = ACTIONS.into_iter().find(|(known, _)| known == name) else {
            let help = nearest(name, ACTIONS.iter().map(|(name, _)| *name));
            let help = help.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("there is no action `{name}`{help}"));
        };
        let Json::Object(given) = given else { return Err(format!("what `{name}` takes is an object")) };
        for argument in given.keys() {
            if !takes.contains(&argument.as_str()) {
                let help = nearest(argument, takes.iter().copied());
                let help = help.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(format!("`{name}` takes no `{argument}`{help}"));
            }
        }
        Ok(Action { name, given })
    }

    fn key(&self) -> Result<&'j str, String> {
        match self.given.get("key") {
            Some(Json::String(key)) => Ok(key),
            _ => Err(format!("`{}` needs a `key`, a text", self.name)),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        match self.given.get(name) {
            None => Ok(false),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(_) => Err(format!("`{name}` is true or false")),
        }
    }

    /// The values of `value` or `values`, each with its place.
    fn values(&self, path: &str) -> Result<Vec<(String, &'j Json)>, String> {
        match (self.given.get("value"), self.given.get("values")) {
            (Some(value), None) => Ok(vec![(format!("{path}/value"), value)]),
            (None, Some(Json::Array(values))) => {
                let values = values.iter().enumerate();
                Ok(values.map(|(at, value)| (format!("{path}/values/{at}"), value)).collect())
            }
            _ => Err(format!("`{}` needs either a `value` or a list of `values`", self.name)),
        }
    }

    /// Adds what it does to what those before it do; what is wrong with its values is told in `found`. The error is what is
    /// malformed.
    fn take(
        &self,
        schema: &Schema,
        ty: TypeIx,
        path: &str,
        found: &mut Vec<Refusal>,
        actions: &mut Actions,
    ) -> Result<(), String> {
        match self.rearranged(schema, ty, path, found)? {
            Some(moved) => actions.moves.extend(moved),
            None => actions.edits.extend(self.edits(schema, ty, path, found)?),
        }
        Ok(())
    }

    fn position(&self) -> Result<Option<usize>, String> {
        match self.given.get("position") {
            None | Some(Json::Null) => Ok(None),
            Some(at) => {
                let at = at.as_u64().ok_or("`position` is a whole number from 0 on")?;
                Ok(Some(usize::try_from(at).unwrap_or(usize::MAX)))
            }
        }
    }

    /// The child that it moves, where its key is a collection; nothing inside where something is wrong, which is told in
    /// `found`. The error is what is malformed.
    fn rearranged(
        &self,
        schema: &Schema,
        ty: TypeIx,
        path: &str,
        found: &mut Vec<Refusal>,
    ) -> Result<Option<Option<Rearranged>>, String> {
        if self.name != "move" {
            return Ok(None);
        }
        let name = self.key()?;
        let resource = schema.ty(ty);
        let Some((_, field)) = resource.named(name).filter(|(_, field)| field.visible()) else {
            return Ok(None);
        };
        let FieldKind::Collection { child, via } = field.kind else { return Ok(None) };
        if schema.position_of(via).is_none() {
            let message = format!("`{name}` is not ordered: what it holds has no places");
            found.push(Refusal::new("type", Some(path), message));
            return Ok(Some(None));
        }
        if self.given.contains_key("from") {
            return Err(format!("`{name}` is a collection: what moves in it is told by `value`, its id"));
        }
        let value = self.given.get("value").ok_or("`move` needs a `value`, the id of what moves")?;
        let at = self.position()?.map_or(END, |at| u64::try_from(at).unwrap_or(END).min(END));
        let Some(Value::Ref(id)) = decode::reference(schema, child, value, &format!("{path}/value"), found)
        else {
            return Ok(Some(None));
        };
        Ok(Some(Some(Rearranged { child: Key::new(child, id), via: via.slot, name: name.into(), at })))
    }

    /// The edits that it is; none where a value is wrong, which is told in `found`. The error is what is malformed.
    fn edits(
        &self,
        schema: &Schema,
        ty: TypeIx,
        path: &str,
        found: &mut Vec<Refusal>,
    ) -> Result<Vec<(Slot, Edit)>, String> {
        let Some(place) = Place::of(schema, ty, self.key()?, path, found) else { return Ok(Vec::new()) };
        let edits = match self.name {
            "set" => {
                let value = self.given.get("value").ok_or("`set` needs a `value`; `clear` takes one away")?;
                place
                    .value(schema, value, &format!("{path}/value"), found)
                    .map(|value| vec![Edit::Set(value)])
            }
            "clear" => Some(vec![Edit::Set(Value::Absent)]),
            "inc" => self.increment(schema, &place, path, found)?.map(|edit| vec![edit]),
            "push" => {
                let at = self.position()?;
                let values = place.elements(schema, Elements::List, &self.values(path)?, path, found);
                values.map(|values| vec![Edit::Push { values, at }])
            }
            "pop" => {
                let first = self.flag("head")?;
                place.elements(schema, Elements::List, &[], path, found).map(|_| vec![Edit::Pop { first }])
            }
            "move" => {
                let at = self.position()?;
                let (from, values) = match (self.given.get("from"), self.given.get("value")) {
                    (Some(from), None) => {
                        let from = from.as_u64().ok_or("`from` is a whole number from 0 on")?;
                        (Some(Element::At(usize::try_from(from).unwrap_or(usize::MAX))), Vec::new())
                    }
                    (None, Some(value)) => (None, vec![(format!("{path}/value"), value)]),
                    _ => return Err("`move` needs either `from`, a place, or a `value`".into()),
                };
                let values = place.elements(schema, Elements::List, &values, path, found);
                values.and_then(|values| {
                    let element = from.or_else(|| values.into_iter().next().map(Element::Is))?;
                    Some(vec![Edit::Place { element, at }])
                })
            }
            name => {
                let add = name == "add";
                let values = place.elements(schema, Elements::Set, &self.values(path)?, path, found);
                values.map(|values| match place.spot {
                    Spot::Links(_) => {
                        let ids = values.into_iter().filter_map(|value| match value {
                            Value::Ref(id) => Some(id),
                            _ => None,
                        });
                        ids.map(|id| if add { Edit::Link(id) } else { Edit::Unlink(id) }).collect()
                    }
                    _ if add => vec![Edit::Add(values)],
                    _ => vec![Edit::Remove(values)],
                })
            }
        };
        let edits = edits.unwrap_or_default().into_iter();
        Ok(edits.map(|edit| (place.slot, place.within(edit))).collect())
    }

    fn increment(
        &self,
        schema: &Schema,
        place: &Place<'_>,
        path: &str,
        found: &mut Vec<Refusal>,
    ) -> Result<Option<Edit>, String> {
        let counted = match place.spot {
            Spot::Value(ty @ (ValueType::Int | ValueType::Float | ValueType::Decimal)) => {
                Some((ty, Some(Json::from(1))))
            }
            Spot::Value(ValueType::Json) => Some((&ValueType::Json, Some(Json::from(1)))),
            Spot::Value(ValueType::Duration | ValueType::Datetime) => Some((&ValueType::Duration, None)),
            _ => None,
        };
        let Some((by_type, default)) = counted else {
            let message =
                format!("`{}` is no number, datetime or duration, and cannot be counted up", self.key()?);
            found.push(Refusal::new("type", Some(path), message));
            return Ok(None);
        };
        let by = self.given.get("by").cloned().or(default).ok_or("`inc` needs a `by`, a duration")?;
        let number = |json: &Json| by_type != &ValueType::Json || json.is_number();
        let by_path = format!("{path}/by");
        let by = match &by {
            json if json.is_null() || !number(json) => {
                decode::wrong(&by_path, "a number", json, found);
                None
            }
            json => decode::of_type(schema, by_type, json, &by_path, found),
        };
        let clamp = self.flag("clamp")?;
        let Some(limit) = self.given.get("limit") else {
            return if clamp { Err("`clamp` needs a `limit`".into()) } else { Ok(by.map(Edit::Increment)) };
        };
        let limit_path = format!("{path}/limit");
        let limit = match (limit, &place.spot) {
            (json, Spot::Value(ty)) if !json.is_null() && number(json) => {
                decode::of_type(schema, ty, json, &limit_path, found)
            }
            (json, _) => {
                decode::wrong(&limit_path, "a number", json, found);
                None
            }
        };
        Ok(by.zip(limit).map(|(by, limit)| Edit::IncrementWithin { by, limit, clamp }))
    }
}

/// What may be edited element by element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elements {
    /// By position.
    List,
    /// By value.
    Set,
}

impl<'s> Place<'s> {
    fn of(
        schema: &'s Schema,
        ty: TypeIx,
        key: &str,
        path: &str,
        found: &mut Vec<Refusal>,
    ) -> Option<Place<'s>> {
        let resource = schema.ty(ty);
        let mut names = key.split('.');
        let name = names.next().unwrap_or_default();
        let place = format!("{path}/key");
        let Some((slot, field)) = resource.named(name).filter(|(_, field)| field.visible()) else {
            found.push(Refusal::new("unknown-field", Some(&place), decode::unknown_field(resource, name)));
            return None;
        };
        let mut spot = match &field.kind {
            FieldKind::Stored(ty) => Spot::Value(ty),
            FieldKind::Link { .. } => Spot::Link,
            FieldKind::Links { target, .. } => Spot::Links(*target),
            FieldKind::Among { many: false, .. } => Spot::Link,
            FieldKind::Among { targets, .. } => Spot::LinksAmong(targets),
            _ => {
                let message =
                    format!("`{name}` follows from other fields, or is a collection: it cannot be written");
                found.push(Refusal::new("read-only", Some(&place), message));
                return None;
            }
        };
        let mut members = Vec::new();
        for name in names {
            let member = match spot {
                Spot::Value(ValueType::Object(declared)) => {
                    declared.iter().find(|member| member.name == name).map(|member| &member.ty)
                }
                Spot::Value(ValueType::Map(of)) => Some(&**of),
                Spot::Value(ValueType::Json) => Some(&ValueType::Json),
                _ => None,
            };
            let Some(member) = member.filter(|_| members.len() < decode::MAX_JSON_DEPTH) else {
                let message = format!("`{key}` leads nowhere: there is no `{name}`");
                found.push(Refusal::new("unknown-field", Some(&place), message));
                return None;
            };
            members.push(SmolStr::new(name));
            spot = Spot::Value(member);
        }
        Some(Place { slot, field, members, spot })
    }

    /// An edit of the field, from one of the spot in it.
    fn within(&self, edit: Edit) -> Edit {
        self.members.iter().rev().fold(edit, |edit, name| Edit::Member(Box::new((name.clone(), edit))))
    }

    fn value(&self, schema: &Schema, json: &Json, path: &str, found: &mut Vec<Refusal>) -> Option<Value> {
        if !decode::is_shallow(json, path, found) {
            return None;
        }
        match self.spot {
            Spot::Value(ty) => decode::of_type(schema, ty, json, path, found),
            Spot::Link | Spot::Links(_) | Spot::LinksAmong(_) => {
                decode::of_field(schema, self.field, json, found)
            }
        }
    }

    /// Values of the elements of a list or a set; none where there is a mistake, or it is neither.
    fn elements(
        &self,
        schema: &Schema,
        wanted: Elements,
        values: &[(String, &Json)],
        path: &str,
        found: &mut Vec<Refusal>,
    ) -> Option<Vec<Value>> {
        let so_far = found.len();
        let mut decoded = Vec::with_capacity(values.len());
        for (path, json) in values {
            let value = match self.spot {
                Spot::Links(target) => decode::reference(schema, target, json, path, found),
                Spot::LinksAmong(targets) => among::reference(schema, targets, json, path, found),
                Spot::Value(ValueType::Json) if wanted == Elements::List => {
                    decode::is_shallow(json, path, found).then(|| from_json(json))
                }
                Spot::Value(ValueType::List(of)) if wanted == Elements::List => {
                    decode::is_shallow(json, path, found)
                        .then(|| decode::of_type(schema, of, json, path, found))
                        .flatten()
                }
                Spot::Value(ValueType::Set(of)) if wanted == Elements::Set => {
                    decode::is_shallow(json, path, found)
                        .then(|| decode::of_type(schema, of, json, path, found))
                        .flatten()
                }
                _ => break,
            };
            decoded.extend(value);
        }
        let fits = matches!(
            (&self.spot, wanted),
            (Spot::Links(_) | Spot::LinksAmong(_), _)
                | (Spot::Value(ValueType::Json | ValueType::List(_)), Elements::List)
                | (Spot::Value(ValueType::Set(_)), Elements::Set)
        );
        if !fits {
            let (kind, instead) = match wanted {
                Elements::List => ("list", "`add` and `remove` are for sets"),
                Elements::Set => ("set", "`push`, `pop` and `move` are for lists"),
            };
            let message = format!("`{}` is no {kind}; {instead}", self.field.name);
            found.push(Refusal::new("type", Some(path), message));
        }
        (found.len() == so_far).then_some(decoded)
    }
}
