//! JSON Patch (RFC 6902): operations on the JSON of a resource, as a read shows it.
//!
//! The operations are applied one after the other to a copy; what differs at the end becomes edits of facts, held to the
//! rules like any other. So an operation that fails, or a `test` that is false, leaves everything as it was. Pointers and
//! copies are bounded, so that no patch makes much of little.

use corollary_engine::{Doc, Edit, Refusal};
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx, ValueType};
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use super::MAX_OPERATIONS;
use crate::json::decode::{self, MAX_JSON_DEPTH};
use crate::json::held::Held;
use crate::problem::Problem;

/// The most values that all `copy` operations of one patch may copy together.
const MAX_COPIED_VALUES: usize = 100_000;

/// Names that no patch can change.
const FIXED: [&str; 5] = ["_id", "_self", "_type", "_revision", "_pending"];

/// A place in a document: the names and positions that lead to it (RFC 6901).
type Pointer = Vec<String>;

/// One operation.
#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Add(Pointer, Json),
    Remove(Pointer),
    Replace(Pointer, Json),
    Move { from: Pointer, to: Pointer },
    Copy { from: Pointer, to: Pointer },
    Test(Pointer, Json),
}

/// A patch.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPatch {
    operations: Vec<Operation>,
}

impl JsonPatch {
    /// Reads a patch; what is malformed is told with its place.
    pub fn parse(body: &Json) -> Result<JsonPatch, Problem> {
        let Json::Array(items) = body else {
            return Err(Problem::malformed("patch", "a JSON Patch is a list of operations"));
        };
        if items.len() > MAX_OPERATIONS {
            let detail =
                format!("a JSON Patch has at most {MAX_OPERATIONS} operations, and this has {}", items.len());
            return Err(Problem::malformed("patch", detail));
        }
        let mut found = Vec::new();
        let mut operations = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            match operation(item) {
                Ok(operation) => operations.push(operation),
                Err((member, message)) => {
                    let place = if member.is_empty() { at.to_string() } else { format!("{at}/{member}") };
                    found.push(Refusal::new("patch", Some(&place), format!("operation {at}: {message}")));
                }
            }
        }
        match found.first() {
            None => Ok(JsonPatch { operations }),
            Some(first) => {
                let detail = first.message.clone();
                Err(Problem { errors: found, ..Problem::malformed("patch", detail) })
            }
        }
    }

    /// Applies it to a document.
    fn apply(&self, document: &mut Json) -> Result<(), Refusal> {
        let mut copied = 0;
        for (at, operation) in self.operations.iter().enumerate() {
            let refuse = |(code, member, message): Failure| {
                Refusal::new(code, Some(&format!("{at}/{member}")), format!("operation {at}: {message}"))
            };
            step(document, operation, &mut copied).map_err(refuse)?;
        }
        Ok(())
    }

    /// The edits that it comes to on a resource that is shown as `shown`.
    pub fn edits(
        &self,
        schema: &Schema,
        ty: TypeIx,
        doc: &Doc,
        shown: &Map<String, Json>,
    ) -> Result<Vec<(Slot, Edit)>, Vec<Refusal>> {
        let mut patched = Json::Object(shown.clone());
        self.apply(&mut patched).map_err(|refusal| vec![refusal])?;
        let Json::Object(patched) = patched else {
            return Err(vec![Refusal::new("type", None, "what comes out of the patch is no object")]);
        };
        let resource = schema.ty(ty);
        let mut found = Vec::new();
        let mut edits = Vec::new();
        for (name, new) in &patched {
            let old = shown.get(name);
            if old == Some(new) {
                continue;
            }
            if FIXED.contains(&name.as_str()) {
                found.push(Refusal::new("read-only", Some(name), format!("`{name}` cannot be changed")));
                continue;
            }
            let Some((slot, field)) = resource.named(name).filter(|(_, field)| field.visible()) else {
                found.push(Refusal::new("unknown-field", Some(name), decode::unknown_field(resource, name)));
                continue;
            };
            let edit = match &field.kind {
                FieldKind::Stored(of) if field.extended.is_some() => {
                    // More is shown of its objects than is written of them.
                    let held = Held::by(schema, FieldRef { ty, slot });
                    let (mut before, mut after) = (old.cloned(), new.clone());
                    let shown: Vec<&Json> = old.into_iter().collect();
                    before.iter_mut().for_each(|before| held.take_shown(before, &shown));
                    held.take_shown(&mut after, &shown);
                    let so_far = found.len();
                    held.refuse_derived(&mut after, name, &mut found);
                    if found.len() > so_far {
                        continue;
                    }
                    between(schema, of, before.as_ref(), &after, name, &mut found)
                }
                FieldKind::Stored(of) if !of.is_file() => between(schema, of, old, new, name, &mut found),
                _ => decode::of_field(schema, field, new, &mut found).map(Edit::Set),
            };
            let edit = edit.map(|edit| match edit {
                Edit::Set(value) => Edit::Set(decode::checked(field, value, Some(doc.get(slot)), &mut found)),
                edit => edit,
            });
            edits.extend(edit.map(|edit| (slot, edit)));
        }
        for name in shown.keys().filter(|name| !patched.contains_key(*name)) {
            match resource.named(name).filter(|(_, field)| field.is_fact() || field.is_written()) {
                Some((slot, _)) => edits.push((slot, Edit::Set(corollary_value::Value::Absent))),
                None => {
                    let message = format!("`{name}` cannot be taken away");
                    found.push(Refusal::new("read-only", Some(name), message));
                }
            }
        }
        if found.is_empty() { Ok(edits) } else { Err(found) }
    }
}

/// The edit that leads from one shown value to another: objects member by member, so that what a new object gets by
/// default does not come back into one that had it taken away.
fn between(
    schema: &Schema,
    ty: &ValueType,
    old: Option<&Json>,
    new: &Json,
    path: &str,
    found: &mut Vec<Refusal>,
) -> Option<Edit> {
    let (Some(Json::Object(before)), Json::Object(after)) = (old, new) else {
        return decode::is_shallow(new, path, found)
            .then(|| decode::of_type(schema, ty, new, path, found))
            .flatten()
            .map(Edit::Set);
    };
    if let ValueType::Object(declared) = ty
        && let Some(union) = declared.union()
        && before.get(union.discriminator.as_str()) != after.get(union.discriminator.as_str())
    {
        // What became of it is all that it is: an operation takes away what it names, and nothing else.
        return decode::of_type(schema, ty, new, path, found).map(Edit::Set);
    }
    let mut edits = Vec::new();
    for (name, value) in after {
        let (old, path) = (before.get(name), format!("{path}/{name}"));
        if old == Some(value) {
            continue;
        }
        let member = match ty {
            ValueType::Object(declared) => {
                declared.iter().find(|member| member.name == *name).map(|member| &member.ty)
            }
            ValueType::Map(of) => Some(&**of),
            _ => Some(&ValueType::Json),
        };
        let Some(member) = member else {
            found.push(Refusal::new("unknown-field", Some(&path), format!("there is no `{path}`")));
            continue;
        };
        let edit = between(schema, member, old, value, &path, found);
        edits.extend(edit.map(|edit| (SmolStr::new(name), edit)));
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    edits.extend(gone.map(|name| (SmolStr::new(name), Edit::Set(corollary_value::Value::Absent))));
    Some(Edit::Merge(edits))
}

fn operation(item: &Json) -> Result<Operation, (&'static str, String)> {
    let Json::Object(members) = item else { return Err(("", "it is no object".into())) };
    let text = |name: &'static str| match members.get(name) {
        Some(Json::String(text)) => Ok(text.as_str()),
        _ => Err((name, format!("`{name}` is a text, and has to be there"))),
    };
    let pointer = |name: &'static str| parse_pointer(text(name)?).map_err(|message| (name, message));
    let value =
        || members.get("value").cloned().ok_or_else(|| ("value", "`value` has to be there".to_string()));
    Ok(match text("op")? {
        "add" => Operation::Add(pointer("path")?, value()?),
        "remove" => Operation::Remove(pointer("path")?),
        "replace" => Operation::Replace(pointer("path")?, value()?),
        "move" => Operation::Move { from: pointer("from")?, to: pointer("path")? },
        "copy" => Operation::Copy { from: pointer("from")?, to: pointer("path")? },
        "test" => Operation::Test(pointer("path")?, value()?),
        other => {
            let message = format!("`{other}` is no operation: add, remove, replace, move, copy or test");
            return Err(("op", message));
        }
    })
}

/// Reads a pointer: `/address/city`, with `~1` for a slash and `~0` for a tilde; nothing is the whole document.
fn parse_pointer(text: &str) -> Result<Pointer, String> {
    let Some(rest) = text.strip_prefix('/') else {
        return if text.is_empty() {
            Ok(Vec::new())
        } else {
            Err(format!("`{text}` does not begin with `/`"))
        };
    };
    let token = |token: &str| {
        let mut parts = token.split('~');
        let mut plain = parts.next().unwrap_or_default().to_string();
        for part in parts {
            plain.push(match part.as_bytes().first() {
                Some(b'0') => '~',
                Some(b'1') => '/',
                _ => return Err(format!("`{text}`: behind a `~` there is 0 or 1")),
            });
            plain.push_str(&part[1..]);
        }
        Ok(plain)
    };
    let tokens: Pointer = rest.split('/').map(token).collect::<Result<_, _>>()?;
    if tokens.len() > MAX_JSON_DEPTH + 1 {
        return Err(format!("a pointer has at most {} parts", MAX_JSON_DEPTH + 1));
    }
    Ok(tokens)
}

/// Code, member of the operation, sentence.
type Failure = (&'static str, &'static str, String);

fn shown(pointer: &[String]) -> String {
    pointer.iter().map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1"))).collect()
}

fn step(document: &mut Json, operation: &Operation, copied: &mut usize) -> Result<(), Failure> {
    match operation {
        Operation::Add(to, value) => add(document, to, value.clone()),
        Operation::Remove(from) => take(document, from, "path").map(drop),
        Operation::Replace(at, value) => {
            *find_mut(document, at, "path")? = value.clone();
            check_depth(at, value)
        }
        Operation::Move { from, to } => {
            if to.len() > from.len() && to.starts_with(from) {
                let message = format!("{} cannot be moved into itself", shown(from));
                return Err(("pointer", "path", message));
            }
            let value = take(document, from, "from")?;
            add(document, to, value)
        }
        Operation::Copy { from, to } => {
            let value = find_mut(document, from, "from")?.clone();
            *copied += values_in(&value);
            if *copied > MAX_COPIED_VALUES {
                let message = format!("a patch copies at most {MAX_COPIED_VALUES} values");
                return Err(("too-long", "from", message));
            }
            add(document, to, value)
        }
        Operation::Test(at, value) => {
            let found = find_mut(document, at, "path")?;
            if is_same(found, value) {
                return Ok(());
            }
            Err(("test", "value", format!("{} is {}", shown(at), decode::shown(found))))
        }
    }
}

fn check_depth(at: &[String], value: &Json) -> Result<(), Failure> {
    fn depth(value: &Json) -> usize {
        match value {
            Json::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
            Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    // The document itself is no value of a field.
    if at.len() + depth(value) <= MAX_JSON_DEPTH + 2 {
        return Ok(());
    }
    Err(("too-deep", "path", format!("{} would be nested deeper than {MAX_JSON_DEPTH}", shown(at))))
}

fn values_in(value: &Json) -> usize {
    match value {
        Json::Array(elements) => 1 + elements.iter().map(values_in).sum::<usize>(),
        Json::Object(members) => 1 + members.values().map(values_in).sum::<usize>(),
        _ => 1,
    }
}

fn missing(pointer: &[String], member: &'static str) -> Failure {
    ("pointer", member, format!("there is nothing at {}", shown(pointer)))
}

/// A position in a list: digits without a zero before them.
fn position(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0') && token.bytes().all(|byte| byte.is_ascii_digit());
    if plain { token.parse().ok() } else { None }
}

fn find_mut<'j>(
    document: &'j mut Json,
    pointer: &[String],
    member: &'static str,
) -> Result<&'j mut Json, Failure> {
    let mut at = document;
    for token in pointer {
        let next = match at {
            Json::Object(members) => members.get_mut(token),
            Json::Array(elements) => position(token).and_then(|at| elements.get_mut(at)),
            _ => None,
        };
        at = next.ok_or_else(|| missing(pointer, member))?;
    }
    Ok(at)
}

fn take(document: &mut Json, from: &[String], member: &'static str) -> Result<Json, Failure> {
    let Some((last, parent)) = from.split_last() else {
        return Err(("pointer", member, "the whole resource cannot be taken away by a patch".into()));
    };
    let taken = match find_mut(document, parent, member)? {
        // The others stay in their order.
        Json::Object(members) => members.shift_remove(last),
        Json::Array(elements) => {
            position(last).filter(|at| *at < elements.len()).map(|at| elements.remove(at))
        }
        _ => None,
    };
    taken.ok_or_else(|| missing(from, member))
}

fn add(document: &mut Json, to: &[String], value: Json) -> Result<(), Failure> {
    check_depth(to, &value)?;
    let Some((last, parent)) = to.split_last() else {
        *document = value;
        return Ok(());
    };
    match find_mut(document, parent, "path")? {
        Json::Object(members) => {
            members.insert(last.clone(), value);
            Ok(())
        }
        Json::Array(elements) => {
            let at = if last == "-" { Some(elements.len()) } else { position(last) };
            let Some(at) = at.filter(|at| *at <= elements.len()) else {
                let message = format!("{} is no place in a list of {}", shown(to), elements.len());
                return Err(("pointer", "path", message));
            };
            elements.insert(at, value);
            Ok(())
        }
        _ => Err(("pointer", "path", format!("{} is neither an object nor a list", shown(parent)))),
    }
}

/// Are two values equal as RFC 6902 has it: numbers by what they are, objects whatever their order?
fn is_same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            left == right
                || match (left.as_i64(), right.as_i64()) {
                    (Some(left), Some(right)) => left == right,
                    _ => left.as_f64() == right.as_f64(),
                }
        }
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| is_same(left, right)))
        }
        (left, right) => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(document: Json, patch: Json) -> Result<Json, String> {
        let patch = JsonPatch::parse(&patch).map_err(|problem| format!("malformed: {}", problem.detail))?;
        let mut document = document;
        patch.apply(&mut document).map_err(|refusal| format!("{} {:?}", refusal.code, refusal.path))?;
        Ok(document)
    }

    /// The examples of the appendix of RFC 6902, and what else it says.
    #[test]
    fn operations_do_what_the_standard_says() {
        let cases = [
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux"}]),
                Ok(json!({"foo": "bar", "baz": "qux"})),
            ),
            (
                json!({"foo": ["bar", "baz"]}),
                json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
                Ok(json!({"foo": ["bar", "qux", "baz"]})),
            ),
            (
                json!({"baz": "qux", "foo": "bar"}),
                json!([{"op": "remove", "path": "/baz"}]),
                Ok(json!({"foo": "bar"})),
            ),
            (
                json!({"foo": ["bar", "qux", "baz"]}),
                json!([{"op": "remove", "path": "/foo/1"}]),
                Ok(json!({"foo": ["bar", "baz"]})),
            ),
            (
                json!({"baz": "qux"}),
                json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
                Ok(json!({"baz": "boo"})),
            ),
            (
                json!({"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}),
                json!([{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}]),
                Ok(json!({"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}})),
            ),
            (
                json!({"foo": ["all", "grass", "cows", "eat"]}),
                json!([{"op": "move", "from": "/foo/1", "path": "/foo/3"}]),
                Ok(json!({"foo": ["all", "cows", "eat", "grass"]})),
            ),
            (
                json!({"baz": "qux", "foo": ["a", 2, "c"]}),
                json!([{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}]),
                Ok(json!({"baz": "qux", "foo": ["a", 2, "c"]})),
            ),
            (
                json!({"baz": "qux"}),
                json!([{"op": "test", "path": "/baz", "value": "bar"}]),
                Err("test Some(\"0/value\")"),
            ),
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/child", "value": {"grandchild": {}}}]),
                Ok(json!({"foo": "bar", "child": {"grandchild": {}}})),
            ),
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}]),
                Ok(json!({"foo": "bar", "baz": "qux"})),
            ),
            (
                json!({"foo": "bar"}),
                json!([{"op": "add", "path": "/baz/bat", "value": "qux"}]),
                Err("pointer Some(\"0/path\")"),
            ),
            (
                json!({"/": 9, "~1": 10}),
                json!([{"op": "test", "path": "/~01", "value": 10}, {"op": "test", "path": "/~1", "value": 9}]),
                Ok(json!({"/": 9, "~1": 10})),
            ),
            (
                json!({"/": 9, "~1": 10}),
                json!([{"op": "test", "path": "/~01", "value": "10"}]),
                Err("test Some(\"0/value\")"),
            ),
            (
                json!({"foo": ["bar"]}),
                json!([{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}]),
                Ok(json!({"foo": ["bar", ["abc", "def"]]})),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/a"}]),
                Ok(json!({"b": 1})),
            ),
            (json!({"a": 1}), json!([{"op": "test", "path": "/a", "value": 1.0}]), Ok(json!({"a": 1}))),
            (
                json!({"a": null}),
                json!([{"op": "test", "path": "/a", "value": null}, {"op": "replace", "path": "/a", "value": 2}]),
                Ok(json!({"a": 2})),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "/b", "value": 2}]),
                Err("pointer Some(\"0/path\")"),
            ),
            (json!({"a": 1}), json!([{"op": "remove", "path": "/b"}]), Err("pointer Some(\"0/path\")")),
            (
                json!({"a": [1]}),
                json!([{"op": "add", "path": "/a/2", "value": 2}]),
                Err("pointer Some(\"0/path\")"),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "test", "path": "/a/01", "value": 2}]),
                Err("pointer Some(\"0/path\")"),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "test", "path": "/a/-", "value": 2}]),
                Err("pointer Some(\"0/path\")"),
            ),
            (
                json!({"a": {"b": 1}}),
                json!([{"op": "move", "from": "/a", "path": "/a/c"}]),
                Err("pointer Some(\"0/path\")"),
            ),
            (
                json!({"a": {"b": 1}}),
                json!([{"op": "move", "from": "/a", "path": "/a"}]),
                Ok(json!({"a": {"b": 1}})),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/b", "path": "/c"}]),
                Err("pointer Some(\"0/from\")"),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/b"}]),
                Err("malformed: operation 0: `path` is a text, and has to be there"),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "spam", "path": "/a"}]),
                Err(
                    "malformed: operation 0: `spam` is no operation: add, remove, replace, move, copy or test",
                ),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "remove", "path": "a"}]),
                Err("malformed: operation 0: `a` does not begin with `/`"),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "remove", "path": "/~2"}]),
                Err("malformed: operation 0: `/~2`: behind a `~` there is 0 or 1"),
            ),
            (json!({"a": 1}), json!([{"op": "add", "path": "", "value": {"b": 2}}]), Ok(json!({"b": 2}))),
        ];
        for (document, patch, wanted) in cases {
            let shown = format!("{document} {patch}");
            assert_eq!(patched(document, patch), wanted.map_err(str::to_string), "{shown}");
        }
    }

    /// A few bytes may not come to much: each copy of a whole into itself doubles it.
    #[test]
    fn what_doubles_itself_is_refused_in_time() {
        let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let patch = Json::Array(vec![double; 900]);
        assert_eq!(patched(json!({"a": [1, 2, 3]}), patch), Err("too-long Some(\"14/from\")".into()));
        let nest = |at: usize| json!({"op": "add", "path": "/a".repeat(at + 1), "value": {}});
        let deep: Vec<Json> = (0..60).map(nest).collect();
        assert!(patched(json!({}), Json::Array(deep.clone())).is_ok());
        let mut deeper = deep;
        deeper.push(json!({"op": "copy", "from": "/a", "path": "/a".repeat(61)}));
        assert_eq!(patched(json!({}), Json::Array(deeper)), Err("too-deep Some(\"60/path\")".into()));
        let long = "/a".repeat(MAX_JSON_DEPTH + 2);
        assert!(
            patched(json!({}), json!([{"op": "remove", "path": long}])).unwrap_err().starts_with("malformed")
        );
    }
}
