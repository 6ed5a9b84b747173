//! JSON Patches and update actions.

use super::bodies::{self, IGNORED};
use super::request::{Early, Expected};
use super::schema::{Field, Kind, Type};
use super::state::{Key, Object, State, Through};
use super::values::{self, Fill, Wrong};
use super::work::Edit;
use crate::common::Json;

/// One operation of a JSON Patch.
pub struct Operation {
    op: String,
    path: String,
    from: Option<String>,
    value: Option<Json>,
}

/// Reads a JSON Patch.
pub fn parse(body: &Json) -> Early<Vec<Operation>> {
    let Json::Array(items) = body else { return Err(Expected::refused(400, "patch")) };
    let mut wrong = Vec::new();
    let mut operations = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match operation(item) {
            Ok(operation) => operations.push(operation),
            Err(member) => wrong.push(Wrong::at("patch", &format!("{at}/{member}"))),
        }
    }
    if wrong.is_empty() { Ok(operations) } else { Err(wrong.into()) }
}

fn operation(item: &Json) -> Result<Operation, &'static str> {
    let text = |name: &'static str| item[name].as_str().map(String::from).ok_or(name);
    let op = text("op")?;
    let wants = match op.as_str() {
        "add" | "replace" | "test" => "value",
        "move" | "copy" => "from",
        "remove" => "",
        _ => return Err("op"),
    };
    let from = if wants == "from" { Some(text("from")?) } else { None };
    let path = text("path")?;
    let value = if wants == "value" { Some(item.get("value").cloned().ok_or("value")?) } else { None };
    Ok(Operation { op, path, from, value })
}

/// The place at which a pointer ends, and its last part.
fn parent<'j, 'p>(document: &'j mut Json, pointer: &'p str) -> Option<(&'j mut Json, &'p str)> {
    let (above, last) = pointer.rsplit_once('/')?;
    Some((document.pointer_mut(above)?, last))
}

fn take(document: &mut Json, pointer: &str) -> Option<Json> {
    match parent(document, pointer)? {
        (Json::Object(members), name) => members.remove(name),
        (Json::Array(elements), at) => {
            let at: usize = at.parse().ok().filter(|at| *at < elements.len())?;
            Some(elements.remove(at))
        }
        _ => None,
    }
}

fn put(document: &mut Json, pointer: &str, value: Json) -> Option<()> {
    match parent(document, pointer)? {
        (Json::Object(members), name) => drop(members.insert(name.into(), value)),
        (Json::Array(elements), "-") => elements.push(value),
        (Json::Array(elements), at) => {
            let at: usize = at.parse().ok().filter(|at| *at <= elements.len())?;
            elements.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

/// Applies one operation; the error is the code and the member that is to blame.
fn apply(document: &mut Json, operation: &Operation) -> Result<(), (&'static str, &'static str)> {
    let Operation { op, path, from, value } = operation;
    let missing = |member| ("pointer", member);
    match (op.as_str(), value, from) {
        ("add", Some(value), _) => put(document, path, value.clone()).ok_or(missing("path")),
        ("remove", ..) => take(document, path).map(drop).ok_or(missing("path")),
        ("replace", Some(value), _) => {
            *document.pointer_mut(path).ok_or(missing("path"))? = value.clone();
            Ok(())
        }
        ("test", Some(value), _) => match document.pointer(path) {
            Some(found) if found == value => Ok(()),
            Some(_) => Err(("test", "value")),
            None => Err(missing("path")),
        },
        ("copy", _, Some(from)) => {
            let value = document.pointer(from).cloned().ok_or(missing("from"))?;
            put(document, path, value).ok_or(missing("path"))
        }
        (_, _, Some(from)) if path.starts_with(&format!("{from}/")) => Err(missing("path")),
        (_, _, Some(from)) => {
            let value = take(document, from).ok_or(missing("from"))?;
            put(document, path, value).ok_or(missing("path"))
        }
        other => panic!("an operation {other:?}"),
    }
}

/// What a JSON Patch comes to: what differs of what a read shows.
pub fn edits(
    state: &State,
    key: &Key,
    through: Option<&Through>,
    operations: &[Operation],
) -> Early<(Vec<Edit>, Option<usize>)> {
    let shown = state.shown(key, through);
    let mut patched = Json::Object(shown.clone());
    for (at, operation) in operations.iter().enumerate() {
        apply(&mut patched, operation)
            .map_err(|(code, member)| vec![Wrong::at(code, &format!("{at}/{member}"))])?;
    }
    let Json::Object(patched) = patched else { return Err(vec![Wrong::plain("type")].into()) };
    let mut wrong = Vec::new();
    let mut edits: Vec<Edit> = Vec::new();
    let mut position = None;
    for (name, new) in patched.iter().filter(|(name, new)| shown.get(*name) != Some(new)) {
        if IGNORED.contains(&name.as_str()) {
            wrong.push(Wrong::at("read-only", name));
            continue;
        }
        if name == "_position" && key.ty == Type::Step {
            match new.as_u64() {
                Some(at) => position = Some(at as usize),
                None => wrong.push(Wrong::at("type", name)),
            }
            continue;
        }
        let Some(field) = bodies::named(key.ty, through, name) else {
            wrong.push(Wrong::at("unknown-field", name));
            continue;
        };
        if !field.is_fact() {
            wrong.push(Wrong::at("read-only", name));
            continue;
        }
        let Some(value) = values::read(&field.kind, new, name, &mut wrong) else { continue };
        let between = matches!((shown.get(name), new), (Some(Json::Object(_)), Json::Object(_)));
        let fill = if between && !field.is_link() { Fill::None } else { Fill::All };
        let value = values::canonical(field, value, fill);
        let old = state.docs[key].facts.get(field.name);
        if fill == Fill::All && old != Some(&value) {
            values::check(field, &value, name, &mut wrong);
        }
        edits.push((field.name, Some(value), fill));
    }
    for name in shown.keys().filter(|name| !patched.contains_key(*name)) {
        match bodies::named(key.ty, through, name).filter(|field| field.is_fact()) {
            Some(field) => edits.push((field.name, None, Fill::All)),
            None => wrong.push(Wrong::at("read-only", name)),
        }
    }
    if wrong.is_empty() { Ok((edits, position)) } else { Err(wrong.into()) }
}

/// An update action: what it does, to what, and with what.
pub struct Action {
    name: String,
    field: &'static Field,
    member: Option<String>,
    kind: Kind,
    values: Vec<Json>,
    by: i64,
    limit: Option<i64>,
    clamp: bool,
    head: bool,
    from: Option<usize>,
    at: Option<usize>,
}

/// Reads a list of update actions. The generator makes them well formed but for names and values.
pub fn actions(ty: Type, through: Option<&Through>, body: &Json) -> Early<Vec<Action>> {
    let Json::Array(items) = body else { return Err(Expected::refused(400, "actions")) };
    let (mut malformed, mut wrong) = (Vec::new(), Vec::new());
    let mut actions = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let item = item.as_object().filter(|members| members.len() == 1);
        match item.and_then(|members| members.iter().next()) {
            Some((name, given))
                if ["set", "clear", "inc", "push", "pop", "move", "add", "remove"]
                    .contains(&name.as_str()) =>
            {
                actions.extend(action(ty, through, name, given, &format!("{at}/{name}"), &mut wrong));
            }
            _ => malformed.push(Wrong::at("actions", &at.to_string())),
        }
    }
    if !malformed.is_empty() {
        return Err(malformed.into());
    }
    if wrong.is_empty() { Ok(actions) } else { Err(wrong.into()) }
}

/// What is at a key, or at a member of it.
fn kind_at(field: &Field, member: Option<&str>) -> Option<Kind> {
    match (field.kind, member) {
        (kind, None) => Some(kind),
        (Kind::Object(fields), Some(member)) => {
            fields.iter().find(|field| field.name == member).map(|field| field.kind)
        }
        (Kind::Map, Some(_)) => Some(Kind::Str),
        (Kind::Json, Some(_)) => Some(Kind::Json),
        _ => None,
    }
}

/// What an action takes as its value.
fn taken(name: &str, kind: Kind) -> Option<Kind> {
    match (name, kind) {
        ("set", kind) => Some(kind),
        ("clear", _) | ("inc", Kind::Int) => Some(kind),
        ("push" | "pop" | "move", Kind::List(of)) => Some(*of),
        ("push" | "pop" | "move", Kind::Json) => Some(Kind::Json),
        ("add" | "remove", Kind::Set) => Some(Kind::Int),
        ("add" | "remove" | "push" | "pop" | "move", Kind::Links(target, on_delete)) => {
            Some(Kind::Link(target, on_delete))
        }
        _ => None,
    }
}

fn action(
    ty: Type,
    through: Option<&Through>,
    name: &str,
    given: &Json,
    path: &str,
    wrong: &mut Vec<Wrong>,
) -> Option<Action> {
    let key = given["key"].as_str()?;
    let (first, member) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let place = format!("{path}/key");
    let Some(field) = bodies::named(ty, through, first) else {
        wrong.push(Wrong::at("unknown-field", &place));
        return None;
    };
    if !field.is_fact() {
        wrong.push(Wrong::at("read-only", &place));
        return None;
    }
    let kind = kind_at(field, member);
    let Some(kind) = kind else {
        wrong.push(Wrong::at("unknown-field", &place));
        return None;
    };
    let element = taken(name, kind);
    let Some(element) = element else {
        wrong.push(Wrong::at("type", path));
        return None;
    };
    let so_far = wrong.len();
    let mut values = Vec::new();
    if let (Some(value), true) = (given.get("value"), !matches!(name, "inc" | "clear" | "pop")) {
        // Links are told by their field.
        let place =
            if name == "set" && field.is_link() { first.to_string() } else { format!("{path}/value") };
        values.extend(values::read(&element, value, &place, wrong));
    }
    if wrong.len() > so_far {
        return None;
    }
    Some(Action {
        name: name.into(),
        field,
        member: member.map(String::from),
        kind,
        values,
        by: given["by"].as_i64().unwrap_or(1),
        limit: given["limit"].as_i64(),
        clamp: given["clamp"] == true,
        head: given["head"] == true,
        from: given["from"].as_u64().map(|from| from as usize),
        at: given["position"].as_u64().map(|at| at as usize),
    })
}

/// What a list of actions comes to, one after the other.
pub fn act(
    state: &State,
    key: &Key,
    through: Option<&Through>,
    actions: Vec<Action>,
) -> (Vec<Edit>, Vec<Wrong>) {
    let mut edits: Vec<Edit> = Vec::new();
    let mut wrong: Vec<Wrong> = Vec::new();
    for action in actions {
        let name = action.field.name;
        let at = edits.iter().position(|(edited, ..)| *edited == name);
        let old = match at {
            Some(at) => edits[at].1.clone(),
            None => state.docs[key].facts.get(name).cloned(),
        };
        let was_object = matches!(old, Some(Json::Object(_)));
        let new = match &action.member {
            None => action.on(old),
            Some(member) => {
                let mut members = match old {
                    Some(Json::Object(members)) => members,
                    _ => Object::new(),
                };
                action.on(members.get(member).cloned()).map(|new| {
                    match new {
                        Some(new) => members.insert(member.clone(), new),
                        None => members.remove(member),
                    };
                    Some(Json::Object(members))
                })
            }
        };
        let new = match new {
            Ok(new) => new,
            Err(code) => {
                wrong.push(Wrong::at(code, bodies::told(through, name)));
                continue;
            }
        };
        let fill = if action.member.is_some() && was_object { Fill::None } else { Fill::All };
        let new = new.map(|new| values::canonical(action.field, new, fill));
        match at {
            Some(at) => edits[at] = (name, new, fill),
            None => edits.push((name, new, fill)),
        }
    }
    // What would have come of a field says nothing where one of its actions is refused.
    let is_refused = |name: &str| {
        let place = format!("/{}", bodies::told(through, name));
        wrong.iter().any(|wrong| wrong.path.as_ref() == Some(&place))
    };
    edits.retain(|(name, ..)| !is_refused(name));
    (edits, wrong)
}

impl Action {
    /// What it makes of a value; the error is a code.
    fn on(&self, old: Option<Json>) -> Result<Option<Json>, &'static str> {
        if matches!(self.name.as_str(), "push" | "pop" | "move")
            && !matches!(old, None | Some(Json::Null | Json::Array(_)))
        {
            return Err("type");
        }
        let elements = || old.as_ref().and_then(Json::as_array).cloned().unwrap_or_default();
        Ok(match self.name.as_str() {
            "set" => self.values.first().cloned(),
            "clear" => None,
            "inc" => {
                let from = old.as_ref().and_then(Json::as_i64).unwrap_or(0);
                let new = from + self.by;
                let past = |value: i64| {
                    self.limit.is_some_and(|limit| {
                        if self.by < 0 { value < limit } else { self.by > 0 && value > limit }
                    })
                };
                match (past(new), self.clamp) {
                    (false, _) => Some(new.into()),
                    (true, true) if past(from) => Some(from.into()),
                    (true, true) => self.limit.map(Json::from),
                    (true, false) => return Err("limit"),
                }
            }
            "push" => {
                let mut elements = elements();
                let at = self.at.unwrap_or(usize::MAX).min(elements.len());
                elements.splice(at..at, self.values.iter().cloned());
                Some(elements.into())
            }
            "pop" => {
                let mut elements = elements();
                if elements.is_empty() {
                    return Ok(old);
                }
                elements.remove(if self.head { 0 } else { elements.len() - 1 });
                Some(elements.into())
            }
            "move" => {
                let mut elements = elements();
                let value = self.values.first();
                let from = self.from.or_else(|| elements.iter().position(|element| Some(element) == value));
                let Some(from) = from.filter(|from| *from < elements.len()) else { return Err("element") };
                let element = elements.remove(from);
                elements.insert(self.at.unwrap_or(usize::MAX).min(elements.len()), element);
                Some(elements.into())
            }
            "add" => {
                let mut elements = elements();
                let is_link = matches!(self.kind, Kind::Links(..));
                elements.extend(
                    self.values
                        .iter()
                        .filter(|it| !is_link || !elements.contains(it))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
                Some(elements.into())
            }
            _ => {
                let elements = elements();
                if elements.is_empty() {
                    return Ok(old);
                }
                Some(elements.into_iter().filter(|element| !self.values.contains(element)).collect())
            }
        })
    }
}
