//! The rules for the values of one field: type, bounds, pattern, and what may change.
//!
//! All that is wrong with a value is told, each with its place, a stable code and a sentence. Rules that look at other
//! resources (unique, links) are elsewhere: [`crate::index`], [`mod@crate::write`].

use std::fmt;

use corollary_schema::{DefaultValue, Field, FieldKind, Members, Normalize, Rules, ValueType};
use corollary_syntax::nearest;
use corollary_value::{Value, compare};
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::error::Refusal;

/// Where in a value: the field, then members and positions, as `address/city` or `tags/3`.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// The whole value of a field.
    Field(&'a str),
    /// A member of the object there.
    Member(&'a Place<'a>, &'a str),
    /// An element of the list there.
    Element(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Field(name) => f.write_str(name),
            Place::Member(base, name) => write!(f, "{base}/{name}"),
            Place::Element(base, at) => write!(f, "{base}/{at}"),
        }
    }
}

impl Place<'_> {
    fn refuse(&self, code: &'static str, message: String) -> Refusal {
        Refusal::new(code, Some(&self.to_string()), message)
    }
}

/// Which members of objects get their defaults where they are not there, as of which time.
#[derive(Clone, Copy, Debug)]
pub enum Fill {
    /// None.
    Nothing,
    /// Those that must be there: in an object that has had its defaults.
    Required(Timestamp),
    /// All: in a new object.
    All(Timestamp),
}

impl Fill {
    fn default_of(self, rules: &Rules) -> Option<Value> {
        let default = rules.default.as_ref()?;
        match self {
            Fill::All(now) => Some(default_value(default, now)),
            Fill::Required(now) if rules.required => Some(default_value(default, now)),
            _ => None,
        }
    }
}

/// The value as it is stored, all the way down, but for defaults: text normalised, sets in order, links once each.
pub fn normalised(field: &Field, value: Value) -> Value {
    completed(field, value, Fill::Nothing)
}

/// The value as it is stored, defaults of members included.
pub fn completed(field: &Field, value: Value, fill: Fill) -> Value {
    match (&field.kind, value) {
        (FieldKind::Stored(ty), value) => canonical(&field.rules.normalize, ty, value, fill),
        (FieldKind::Links { .. }, Value::List(elements)) => {
            let mut once: Vec<Value> = Vec::with_capacity(elements.len());
            let mut seen = std::collections::BTreeSet::new();
            for element in elements.iter() {
                let new = match element {
                    Value::Ref(id) => seen.insert(id.clone()),
                    _ => true,
                };
                if new {
                    once.push(element.clone());
                }
            }
            Value::List(once.into())
        }
        (_, value) => value,
    }
}

fn canonical(normalize: &[Normalize], ty: &ValueType, value: Value, fill: Fill) -> Value {
    match (ty, value) {
        (_, Value::Str(text)) if !normalize.is_empty() => {
            Value::Str(normalize.iter().fold(text, |text, step| step.apply(&text)))
        }
        (ValueType::List(of), Value::List(elements)) if has_parts(of) => {
            let canonical = |element: &Value| canonical(&[], of, element.clone(), fill);
            Value::List(elements.iter().map(canonical).collect())
        }
        (ValueType::Set(of), Value::List(elements)) => {
            let canonical = |element: &Value| canonical(&[], of, element.clone(), fill);
            let mut elements: Vec<Value> = elements.iter().map(canonical).collect();
            elements.sort_by(compare);
            // 1.5 and 1.50 are one element: what is equal in the order is what a set has once.
            elements.dedup_by(|later, earlier| compare(later, earlier).is_eq());
            Value::List(elements.into())
        }
        (ValueType::Map(of), Value::Object(members)) if has_parts(of) => {
            let canonical =
                |(key, value): &(SmolStr, Value)| (key.clone(), canonical(&[], of, value.clone(), fill));
            Value::Object(members.iter().map(canonical).collect())
        }
        (ValueType::Object(declared), Value::Object(members)) => canonical_members(declared, &members, fill),
        (_, value) => value,
    }
}

/// May a value of the type hold something that has a canonical form of its own?
fn has_parts(ty: &ValueType) -> bool {
    matches!(ty, ValueType::List(_) | ValueType::Set(_) | ValueType::Map(_) | ValueType::Object(_))
}

/// An object as it is stored: its members in the order in which they are declared, so that two objects that have the same
/// are the same; of a union, with the defaults of its variant.
pub(crate) fn canonical_members(declared: &Members, given: &[(SmolStr, Value)], fill: Fill) -> Value {
    let mut members: Vec<(SmolStr, Value)> = Vec::with_capacity(declared.len().min(given.len()));
    let there = || given.iter().filter(|(_, value)| !matches!(value, Value::Absent));
    for (member, rules) in declared.of(given) {
        let value = there().find(|(key, _)| *key == member.name).map(|(_, value)| value.clone());
        let Some(value) = value.or_else(|| fill.default_of(rules)) else { continue };
        members.push((member.name.clone(), canonical(&rules.normalize, &member.ty, value, fill)));
    }
    // What it cannot have is refused later, and told then.
    let known = members.len();
    for other in there() {
        if !members[..known].iter().any(|(key, _)| *key == other.0) {
            members.push(other.clone());
        }
    }
    Value::Object(members.into())
}

/// What a default gives at a time; nothing where it has to be computed from other facts.
pub fn default_value(default: &DefaultValue, now: Timestamp) -> Value {
    match default {
        DefaultValue::Constant(value) => value.clone(),
        DefaultValue::Now => Value::Datetime(now),
        DefaultValue::Computed(_) => Value::Absent,
    }
}

/// Finds all that is wrong with a value of a field.
pub fn check(field: &Field, value: &Value, found: &mut Vec<Refusal>) {
    let place = Place::Field(field.label());
    if let FieldKind::Among { .. } = field.kind {
        match value {
            value if value.is_null() => found.extend(check_null(&field.rules, place, value)),
            value => check_bounds(&field.rules, place, value, found),
        }
        return;
    }
    if !field.is_fact() {
        found.push(place.refuse("read-only", format!("`{place}` follows from other fields")));
        return;
    }
    if field.rules.kept.is_some() {
        found.push(
            place.refuse("read-only", format!("`{place}` is kept by the server, and cannot be written")),
        );
        return;
    }
    if value.is_null() {
        found.extend(check_null(&field.rules, place, value));
        return;
    }
    match &field.kind {
        FieldKind::Stored(_) if is_deeper_than(MAX_VALUE_DEPTH, value) => {
            let message = format!("`{place}` is nested more than {MAX_VALUE_DEPTH} deep");
            found.push(place.refuse("too-deep", message));
        }
        FieldKind::Stored(ty) => check_value(&field.rules, place, ty, value, found),
        FieldKind::Link { .. } | FieldKind::Parent { .. } if !matches!(value, Value::Ref(_)) => {
            let message = format!("`{place}` is a link, and {value} is no reference");
            found.push(place.refuse("type", message));
        }
        FieldKind::Links { .. } => match value {
            Value::List(elements) if elements.iter().all(|element| matches!(element, Value::Ref(_))) => {
                check_bounds(&field.rules, place, value, found);
            }
            _ => {
                let message = format!("`{place}` holds links, and {value} is no list of references");
                found.push(place.refuse("type", message));
            }
        },
        _ => {}
    }
}

/// How deep lists and objects may be nested in each other; less than what can be stored.
pub const MAX_VALUE_DEPTH: u32 = 64;

fn is_deeper_than(depth: u32, value: &Value) -> bool {
    let mut parts: Box<dyn Iterator<Item = &Value>> = match value {
        Value::List(elements) => Box::new(elements.iter()),
        Value::Object(members) => Box::new(members.iter().map(|(_, value)| value)),
        _ => return false,
    };
    depth == 0 || parts.any(|part| is_deeper_than(depth - 1, part))
}

/// What is wrong with a new resource that has no value here.
pub fn check_missing(field: &Field) -> Option<Refusal> {
    // A file comes by a request of its own, when the resource is there.
    let missing = field.rules.required && field.rules.default.is_none() && !field.is_file();
    missing.then(|| Refusal::new("required", Some(&field.name), format!("`{}` is required", field.name)))
}

fn check_null(rules: &Rules, place: Place<'_>, value: &Value) -> Option<Refusal> {
    match value {
        // An explicit null is a value, where there may be one.
        _ if rules.required && !(rules.nullable && matches!(value, Value::Null)) => {
            Some(place.refuse("required", format!("`{place}` is required")))
        }
        Value::Null if !rules.nullable => Some(place.refuse("null", format!("`{place}` cannot be null"))),
        _ => None,
    }
}

/// A value that is there against its type and, if it is of that type, against its rules.
fn check_value(rules: &Rules, place: Place<'_>, ty: &ValueType, value: &Value, found: &mut Vec<Refusal>) {
    let before = found.len();
    check_type(place, ty, value, found);
    if found.len() == before {
        check_bounds(rules, place, value, found);
    }
}

/// Is a value one of a type, all the way down?
fn check_type(place: Place<'_>, ty: &ValueType, value: &Value, found: &mut Vec<Refusal>) {
    match (ty, value) {
        (ValueType::Json, value) if !value.is_error() => {}
        (ValueType::Enum(words), Value::Str(word)) => {
            if !words.contains(word) {
                let near = nearest(word, words.iter().map(SmolStr::as_str));
                let help = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
                found.push(place.refuse("enum", format!("\"{word}\" is none of {}{help}", quoted(words))));
            }
        }
        (ValueType::List(of) | ValueType::Set(of), Value::List(elements)) => {
            for (at, element) in elements.iter().enumerate() {
                check_type(Place::Element(&place, at), of, element, found);
            }
        }
        (ValueType::Map(of), Value::Object(members)) => {
            for (key, value) in members.iter() {
                check_type(Place::Member(&place, key), of, value, found);
            }
        }
        (ValueType::Object(declared), Value::Object(members)) => {
            check_names(place, declared, members, found);
            for (member, rules) in declared.of(members) {
                let place = Place::Member(&place, &member.name);
                let given = members.iter().find(|(key, _)| *key == member.name).map(|(_, value)| value);
                match given {
                    Some(value) if !value.is_null() => check_value(rules, place, &member.ty, value, found),
                    // It gets its default.
                    None if rules.default.is_some() => {}
                    _ if declared.union().is_some_and(|union| union.discriminator == member.name) => {
                        let words =
                            if let ValueType::Enum(words) = &member.ty { words.as_slice() } else { &[] };
                        let message = format!("`{place}` is required, one of {}", quoted(words));
                        found.push(place.refuse("required", message));
                    }
                    given => found.extend(check_null(rules, place, given.unwrap_or(&Value::Absent))),
                }
            }
        }
        (ValueType::Float, Value::Float(float)) if float.is_finite() => {}
        (ValueType::Str, Value::Str(_))
        | (ValueType::Int, Value::Int(_))
        | (ValueType::Bool, Value::Bool(_))
        | (ValueType::Decimal, Value::Decimal(_))
        | (ValueType::Datetime, Value::Datetime(_))
        | (ValueType::Date, Value::Date(_))
        | (ValueType::Duration, Value::Duration(_))
        | (ValueType::Uuid, Value::Uuid(_))
        | (ValueType::Bytes, Value::Bytes(_))
        | (ValueType::Link { .. }, Value::Ref(_)) => {}
        _ => found.push(place.refuse("type", format!("{value} is no value of `{place}`"))),
    }
}

fn quoted(words: &[SmolStr]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// Has an object members that there are not, or that objects of its variant have not?
fn check_names(place: Place<'_>, declared: &Members, members: &[(SmolStr, Value)], found: &mut Vec<Refusal>) {
    let variant = declared.union().and_then(|union| Some((union, union.variant_of(members)?)));
    for (key, _) in members {
        let place = Place::Member(&place, key);
        if declared.named(key).is_none() {
            let names = declared.of(members).map(|(member, _)| member.name.as_str());
            let help = nearest(key, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            found.push(place.refuse("unknown-field", format!("there is no `{place}`{help}")));
        } else if let Some((union, variant)) = variant
            && *key != union.discriminator
            && !variant.has(key)
        {
            let (own, others) = (&variant.name, union.variants_with(key).join("`, `"));
            let kind = &union.discriminator;
            let message = format!("`{place}` belongs to `{others}`, and the `{kind}` of this is `{own}`");
            found.push(place.refuse("variant", message));
        }
    }
}

fn check_bounds(rules: &Rules, place: Place<'_>, value: &Value, found: &mut Vec<Refusal>) {
    if let Some(min) = rules.min.as_ref().filter(|min| compare(value, min).is_lt()) {
        found.push(place.refuse("min", format!("`{place}` is at least {min}, and this is {value}")));
    }
    if let Some(max) = rules.max.as_ref().filter(|max| compare(value, max).is_gt()) {
        found.push(place.refuse("max", format!("`{place}` is at most {max}, and this is {value}")));
    }
    if rules.min_length.is_some() || rules.max_length.is_some() {
        let length = match value {
            Value::Str(text) => text.chars().count(),
            Value::List(elements) => elements.len(),
            Value::Object(members) => members.len(),
            Value::Bytes(bytes) => bytes.len(),
            _ => 0,
        } as u64;
        if let Some(min) = rules.min_length.filter(|min| length < *min) {
            let message = format!("`{place}` has a length of at least {min}, and this has {length}");
            found.push(place.refuse("min_length", message));
        }
        if let Some(max) = rules.max_length.filter(|max| length > *max) {
            let message = format!("`{place}` has a length of at most {max}, and this has {length}");
            found.push(place.refuse("max_length", message));
        }
    }
    if let (Some(pattern), Value::Str(text)) = (&rules.pattern, value)
        && !pattern.regex.is_match(text)
    {
        let message = format!("`{place}` does not match {}", pattern.regex.as_str());
        found.push(place.refuse("pattern", message));
    }
}

/// May an existing resource's value change to this one?
pub fn check_change(field: &Field, old: &Value, new: &Value) -> Option<Refusal> {
    if is_same(old, new) || (old.is_null() && new.is_null()) {
        return None;
    }
    let refuse = |code, message| Some(Refusal::new(code, Some(field.label()), message));
    if field.rules.immutable {
        return refuse("immutable", format!("`{}` cannot be changed", field.label()));
    }
    if field.rules.write_once && !old.is_null() {
        return refuse("write-once", format!("`{}` has been set, and cannot be changed", field.label()));
    }
    if field.rules.append_only && !goes_on(field, old, new) {
        let message =
            format!("to `{}` something can be added, and nothing changed or taken away", field.label());
        return refuse("append-only", message);
    }
    None
}

/// Are two values the same, in whatever order objects have their members? They were once stored as they were given.
pub fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len()
                && left.iter().zip(right.iter()).all(|(left, right)| is_same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|member| has_member(right, member))
        }
        (left, right) => left == right,
    }
}

fn has_member(object: &[(SmolStr, Value)], (name, value): &(SmolStr, Value)) -> bool {
    object.iter().any(|(other, held)| other == name && is_same(held, value))
}

/// Does a value hold all that an older one does, in its place?
fn goes_on(field: &Field, old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::List(old), Value::List(new))
            if matches!(field.kind, FieldKind::Stored(ValueType::Set(_))) =>
        {
            old.iter().all(|element| new.binary_search_by(|other| compare(other, element)).is_ok())
        }
        (Value::List(old), Value::List(new)) => {
            old.len() <= new.len() && old.iter().zip(new.iter()).all(|(old, new)| is_same(old, new))
        }
        (Value::Object(old), Value::Object(new)) => old.iter().all(|member| has_member(new, member)),
        (old, _) => old.is_null(),
    }
}
