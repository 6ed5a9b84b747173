//! Examples: of values, of what is written, and of what is read.
//!
//! What always holds: an example of what is written is taken by the rules of its field, for it is held to them by what reads
//! bodies; where none was found, there is none. Links lead to the example of the type that they lead to, so that the
//! examples of a schema fit each other: created in the order in which they need each other, all of them can be.

use corollary_engine::rules;
use corollary_schema::typed::Kind;
use corollary_schema::{DefaultValue, Field, FieldKind, Rules, Schema, TypeIx, ValueType};
use corollary_value::{Id, Value, compare};
use serde_json::{Map, Value as Json, json};

use super::resources::is_one_of_several;
use crate::json::{decode, encode};
use crate::patch;
use crate::path::PREFIX;
use crate::problem::Problem;

/// What texts are tried where a pattern asks for more than any text.
const TEXTS: [&str; 9] = [
    "ann@example.org",
    "https://example.org/a",
    "example.org",
    "+15550100",
    "2026-01-31",
    "12:30",
    "AB-1234",
    "A1",
    "en-US",
];

/// And what letters, as many as it asks for.
const LETTERS: [&str; 3] = ["1234567890", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"];

/// Longer texts and lists are no examples.
const MAX_LENGTH: usize = 64;

/// The revision of what is read.
const REVISION: &str = "7";

/// The id of the resource that is the example of a type.
pub(super) fn id(schema: &Schema, ty: TypeIx) -> String {
    let id = format!("{}-1", schema.ty(ty).name.trim_start_matches('_').to_lowercase());
    // Only a name without a letter, or one of more letters than an id has, comes to nothing.
    Id::parse(&id).map_or_else(|_| "a-1".into(), |_| id)
}

/// The path of the resource that is the example of a type: below the example of the first type that can hold it.
fn path(schema: &Schema, ty: TypeIx) -> String {
    let (mut at, mut below, mut seen) = (ty, String::new(), Vec::new());
    loop {
        let resource = schema.ty(at);
        below = format!("/{}{below}", id(schema, at));
        if let Some(root) = &resource.root {
            return format!("{PREFIX}/{root}{below}");
        }
        seen.push(at);
        let parents = resource.parents.iter().filter_map(|slot| match resource.field(*slot).kind {
            FieldKind::Parent { collection } if !seen.contains(&collection.ty) => Some(collection),
            _ => None,
        });
        let Some(collection) = { parents }.next() else { return format!("{PREFIX}{below}") };
        below = format!("/{}{below}", schema.field(collection).label());
        at = collection.ty;
    }
}

/// What is read of a link to the example of a type.
fn link(schema: &Schema, ty: TypeIx) -> Json {
    json!({"_id": id(schema, ty), "_self": path(schema, ty)})
}

/// A link to the example of one of several types, as it is written.
fn typed(schema: &Schema, ty: TypeIx) -> Json {
    json!({"_id": id(schema, ty), "_type": schema.ty(ty).name.as_str()})
}

/// What adds the example of the first of some types to links.
pub(super) fn link_to_add(schema: &Schema, types: &[TypeIx]) -> Json {
    match types {
        [ty] => json!({"_id": id(schema, *ty)}),
        [first, ..] => typed(schema, *first),
        [] => json!({}),
    }
}

/// An example of what may be written into a field.
pub(super) fn of_field(schema: &Schema, field: &Field) -> Option<Json> {
    let example = match &field.kind {
        FieldKind::Stored(of) if !of.is_file() => of_value(schema, &field.name, of, &field.rules)?,
        FieldKind::Link { target, .. } => id(schema, *target).into(),
        FieldKind::Links { target, .. } => json!([id(schema, *target)]),
        FieldKind::Among { targets, many, .. } => {
            let link = typed(schema, *targets.first()?);
            if *many { json!([link]) } else { link }
        }
        _ => return None,
    };
    let mut found = Vec::new();
    let value = decode::of_field(schema, field, &example, &mut found)?;
    rules::check(field, &rules::normalised(field, value), &mut found);
    found.is_empty().then_some(example)
}

/// An example of what a field is read as, where it is a value or a link.
pub(super) fn of_shown(schema: &Schema, field: &Field, target: Option<TypeIx>) -> Option<Json> {
    match (&field.kind, target) {
        (FieldKind::Stored(_), _) => of_field(schema, field),
        (FieldKind::Link { .. } | FieldKind::Links { .. } | FieldKind::Derived { .. }, Some(ty)) => {
            let many = match &field.kind {
                FieldKind::Derived { expr, .. } => expr.ty.is_many(),
                kind => matches!(kind, FieldKind::Links { .. }),
            };
            let link = link(schema, ty);
            Some(if many { json!([link]) } else { link })
        }
        (FieldKind::Derived { expr, .. }, None)
            if !matches!(expr.ty.kind, Kind::Null | Kind::Json | Kind::Among(_)) =>
        {
            of_value(schema, &field.name, &expr.ty.stored(), &Rules::default())
        }
        _ => None,
    }
}

/// An example of a value that fits most rules.
fn of_value(schema: &Schema, name: &str, ty: &ValueType, rules: &Rules) -> Option<Json> {
    if let Some(DefaultValue::Constant(value)) = &rules.default {
        return written(value);
    }
    let example = match ty {
        ValueType::Str => return text(name, rules).map(Json::from),
        ValueType::Int => json!(1),
        ValueType::Float => json!(1.5),
        ValueType::Bool => json!(true),
        ValueType::Decimal => json!("9.99"),
        ValueType::Datetime => json!("2026-01-31T12:30:00Z"),
        ValueType::Date => json!("2026-01-31"),
        ValueType::Duration => json!("PT1H30M"),
        ValueType::Uuid => json!("0197f0a6-5a52-7d3a-8a60-6f2f3d1c9b10"),
        ValueType::Bytes => json!("Ynl0ZXM="),
        ValueType::Json => json!({"any": "thing"}),
        ValueType::Enum(words) => json!(words.first()?.as_str()),
        ValueType::Link { target, .. } => json!(id(schema, *target)),
        ValueType::List(of) => {
            let element = of_value(schema, name, of, &Rules::default())?;
            Json::Array(vec![element; length(rules)?])
        }
        ValueType::Set(of) => {
            // No two elements are the same.
            let numbered = |at: usize| match &**of {
                ValueType::Int => Some(json!(at + 1)),
                ValueType::Str => Some(json!(format!("{name} {}", at + 1))),
                of if at == 0 => of_value(schema, name, of, &Rules::default()),
                _ => None,
            };
            Json::Array((0..length(rules)?).map(numbered).collect::<Option<_>>()?)
        }
        ValueType::Map(of) => {
            let value = of_value(schema, name, of, &Rules::default())?;
            Json::Object((0..length(rules)?).map(|at| (format!("key{}", at + 1), value.clone())).collect())
        }
        ValueType::Object(members) => {
            let union = members.union();
            let variant = union.and_then(|union| union.variants.first());
            let mut object = Map::new();
            for (member, rules) in members.of_variant(variant).filter(|(member, _)| !member.derived) {
                // What is linked has to be there.
                if member.ty.holds_links() && !rules.required {
                    continue;
                }
                let value = match (union, variant) {
                    (Some(union), Some(variant)) if union.discriminator == member.name => {
                        Some(variant.name.as_str().into())
                    }
                    _ => of_value(schema, &member.name, &member.ty, rules),
                };
                if let Some(value) = value {
                    object.insert(member.name.to_string(), value);
                }
            }
            object.into()
        }
    };
    within(schema, ty, rules, example)
}

/// An example, or the bound that it is beyond.
fn within(schema: &Schema, ty: &ValueType, rules: &Rules, example: Json) -> Option<Json> {
    if rules.min.is_none() && rules.max.is_none() {
        return Some(example);
    }
    let value = decode::of_type(schema, ty, &example, "", &mut Vec::new())?;
    let low = rules.min.as_ref().filter(|min| compare(&value, min).is_lt());
    let high = rules.max.as_ref().filter(|max| compare(&value, max).is_gt());
    low.or(high).map_or(Some(example), written)
}

fn written(value: &Value) -> Option<Json> {
    let mut bytes = Vec::new();
    encode::bare(value, &mut bytes);
    serde_json::from_slice(&bytes).ok()
}

/// How many elements an example has: one, unless it has to be more, or none.
fn length(rules: &Rules) -> Option<usize> {
    let length = rules.min_length.unwrap_or(0).max(1).min(rules.max_length.unwrap_or(u64::MAX));
    usize::try_from(length).ok().filter(|length| *length <= MAX_LENGTH)
}

/// A text that says what it is of, where the rules allow that; else one of some others.
fn text(name: &str, rules: &Rules) -> Option<String> {
    let least = rules.min_length.unwrap_or(0) as usize;
    let most = rules.max_length.map_or(usize::MAX, |most| most as usize);
    if least > MAX_LENGTH {
        return None;
    }
    let of = |letters: &str, length: usize| -> String { letters.chars().cycle().take(length).collect() };
    let said = format!("some {}", name.replace('_', " "));
    let texts = std::iter::once(said.as_str()).chain(TEXTS);
    let texts = texts.map(|text| of(text, text.len().max(least).min(most)));
    let made = LETTERS
        .iter()
        .flat_map(|letters| (least.max(1)..=most.min(MAX_LENGTH)).map(|length| of(letters, length)));
    let fits = |text: &String| rules.pattern.as_ref().is_none_or(|pattern| pattern.regex.is_match(text));
    texts.chain(made).find(fits)
}

/// The examples of a type: what is written when one is created, changed in each way, and read.
pub(super) struct Examples {
    /// All of it, with an id; none where a field that is required has no example.
    pub(super) facts: Option<Json>,
    pub(super) patch: Json,
    pub(super) json_patch: Json,
    pub(super) actions: Json,
    pub(super) shown: Json,
}

impl Examples {
    /// Of a type with the names of a schema, which may be those of a mount.
    pub(super) fn of(schema: &Schema, names: &Schema, ty: TypeIx) -> Examples {
        let resource = names.ty(ty);
        let mut shown = json!({"_id": id(schema, ty), "_self": path(schema, ty), "_revision": REVISION});
        for (slot, field) in resource.slots().filter(|(_, field)| field.visible()) {
            let target = encode::target_of(schema, corollary_schema::FieldRef { ty, slot });
            if let Some(example) = of_shown(names, field, target) {
                shown[field.name.as_str()] = example;
            }
        }
        let mut facts = Some(Map::from_iter([("_id".to_string(), id(schema, ty).into())]));
        if let Some(facts) = facts.as_mut().filter(|_| is_one_of_several(schema, schema.ty(ty))) {
            facts.insert("_type".into(), resource.name.as_str().into());
        }
        let (mut patch, mut json_patch, mut actions) = (Map::new(), Vec::new(), Vec::new());
        for field in resource.fields.iter().filter(|field| field.visible() && field.is_written()) {
            let is_needed = field.rules.required && field.rules.default.is_none() && !field.is_file();
            let FieldKind::Stored(of) = &field.kind else {
                // What is linked has to be there.
                if is_needed {
                    facts = facts.zip(of_field(names, field)).map(|(facts, it)| with(facts, field, it));
                }
                continue;
            };
            let example = of_field(names, field).filter(|_| is_needed || !of.holds_links());
            let Some(example) = example else {
                facts = facts.filter(|_| !is_needed);
                continue;
            };
            facts = facts.map(|facts| with(facts, field, example.clone()));
            let rules = &field.rules;
            if rules.immutable || rules.write_once || rules.append_only || rules.unique || patch.len() == 2 {
                continue;
            }
            json_patch.push(json!({"op": "add", "path": format!("/{}", field.name), "value": example}));
            actions.push(json!({"set": {"key": field.name.as_str(), "value": example}}));
            if matches!(of, ValueType::Int | ValueType::Float) && rules.max.is_none() {
                actions.push(json!({"inc": {"key": field.name.as_str(), "by": 1}}));
            }
            patch.insert(field.name.to_string(), example);
        }
        Examples {
            facts: facts.map(Json::Object),
            patch: patch.into(),
            json_patch: json_patch.into(),
            actions: actions.into(),
            shown,
        }
    }

    /// A page with one of it.
    pub(super) fn page(&self) -> Json {
        json!({"results": [self.shown], "next": null, "revision": REVISION})
    }
}

fn with(mut facts: Map<String, Json>, field: &Field, example: Json) -> Map<String, Json> {
    facts.insert(field.name.to_string(), example);
    facts
}

/// Writes and reads in one transaction: of the first type that needs no other, without values that one resource only may have.
pub(super) fn batch(schema: &Schema) -> Json {
    let is_unique = |field: &Field| field.rules.unique || field.rules.unique_in_parent;
    let needs_none = |field: &Field| {
        !field.rules.required || (matches!(field.kind, FieldKind::Stored(_)) && !is_unique(field))
    };
    let first = schema.types().find_map(|(ty, resource)| {
        let root = resource.root.as_ref().filter(|_| resource.fields.iter().all(needs_none))?;
        let mut facts = Examples::of(schema, schema, ty).facts?;
        let alone = resource.fields.iter().filter(|field| is_unique(field)).map(|field| field.name.as_str());
        for name in alone.chain(["_id"]) {
            facts.as_object_mut()?.shift_remove(name);
        }
        Some((root, facts))
    });
    let Some((root, facts)) = first else { return json!([]) };
    json!([
        {"method": "POST", "path": format!("/{root}"), "body": facts},
        {"method": "PATCH", "path": "$0._self", "body": {}, "content_type": patch::Kind::CONTENT_TYPES[0]},
        {"method": "GET", "path": "$0._self"},
    ])
}

/// A refused write.
pub(super) fn problem() -> Json {
    let missing = corollary_engine::Refusal::new("required", Some("name"), "`name` is required");
    Problem::refused(vec![missing]).to_json()
}
