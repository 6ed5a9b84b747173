//! Names in paths (`path NAME`): what is declared, which names are refused, and where each leads.

use corollary_engine::working::Working;
use corollary_engine::{EngineError, names};
use corollary_value::{Id, Value};

use crate::draft::{Draft, FieldDraft, FieldKind, Rules, ValueType};
use crate::model::{Facts, Place, Record};
use crate::random::Random;
use crate::rules::Codes;

/// Names, some of which are ids of others, and some of which cannot stand in a path.
const NAMES: [&str; 14] = ["a0", "a1", "b0", "b1", "c0", "x", "X", "y", "z w", "é/", "n1", "n2", "_n", "."];

/// A name.
pub fn any(random: &mut Random) -> Value {
    // Those at the end are mostly refused.
    let among = if random.percent(4) { &NAMES[..] } else { &NAMES[..NAMES.len() - 2] };
    let name = *random.pick(among);
    Value::Str(if random.percent(60) { format!("{name}{}", random.below(9)).into() } else { name.into() })
}

/// Gives a type a field that stands for the id in paths, sometimes.
pub fn add(draft: &mut Draft, random: &mut Random, ty: usize) {
    if !random.percent(20) {
        return;
    }
    let name = draft.fresh_name("n");
    let among_siblings = !draft.types[ty].root && random.percent(60);
    let rules = Rules {
        required: true,
        unique: !among_siblings,
        unique_in_parent: among_siblings,
        named: true,
        ..Rules::default()
    };
    draft.types[ty].fields.push(FieldDraft {
        name: name.clone(),
        kind: FieldKind::Stored(ValueType::Str),
        rules,
    });
    draft.types[ty].path = Some(name);
}

/// Takes the option from types whose field does not do for it any more.
pub fn drop_unfit(draft: &mut Draft) {
    for ty in 0..draft.types.len() {
        let Some(name) = &draft.types[ty].path else { continue };
        let fits = draft.field(ty, name).is_some_and(|field| {
            let rules = &field.rules;
            let is_unique = rules.unique || (rules.unique_in_parent && !draft.types[ty].root);
            let is_text = matches!(field.kind, FieldKind::Stored(ValueType::Str));
            is_text && rules.required && !rules.nullable && is_unique
        });
        if !fits {
            draft.types[ty].path = None;
        }
    }
}

/// The name of a resource in paths.
pub(crate) fn name_of<'r>(draft: &Draft, ty: usize, record: &'r Record) -> Option<&'r str> {
    match record.get(draft.types[ty].path.as_ref()?) {
        Some(Value::Str(name)) => Some(name),
        _ => None,
    }
}

/// The parent of a resource, and the name of the link to it.
fn parent(draft: &Draft, ty: usize, record: &Record) -> Option<(String, Value)> {
    let mut parents = draft.parents(ty).into_iter();
    parents.find_map(|(_, name)| record.get(&name).cloned().map(|parent| (name, parent)))
}

/// Is a name unique among all of the type?
fn is_unique(draft: &Draft, ty: usize) -> bool {
    let field = draft.types[ty].path.as_ref().and_then(|name| draft.field(ty, name));
    field.is_some_and(|field| field.rules.unique)
}

/// May a path with the name of one lead to the other?
fn are_near(draft: &Draft, ty: usize, one: &Record, other: &Record) -> bool {
    is_unique(draft, ty) || parent(draft, ty, one) == parent(draft, ty, other)
}

/// Why a transaction that led from one state to another is refused: names that cannot stand in a path, and such as are the
/// ids of others.
pub fn check(draft: &Draft, before: &Facts, after: &Facts) -> Codes {
    let mut wrong = Codes::new();
    for (place, record) in &after.records {
        let Some(name) = name_of(draft, place.ty, record) else { continue };
        let old = before.records.get(place);
        if old.is_some_and(|old| name_of(draft, place.ty, old) == Some(name)) {
            continue;
        }
        if name.is_empty() || name == "." || name == ".." || name.starts_with('_') {
            wrong.insert("path");
        }
    }
    // Who has another parent has to fit in with others, as who is new.
    let is_new = |place: &Place, record: &Record| {
        let old = before.records.get(place);
        old.is_none_or(|old| parent(draft, place.ty, old) != parent(draft, place.ty, record))
    };
    let is_named_anew = |place: &Place, record: &Record| {
        let old = before.records.get(place);
        let same = old.is_some_and(|old| name_of(draft, place.ty, old) == name_of(draft, place.ty, record));
        !same || is_new(place, record)
    };
    for (place, named) in &after.records {
        let Some(id) = name_of(draft, place.ty, named).and_then(|name| Id::parse(name).ok()) else {
            continue;
        };
        let other = Place { ty: place.ty, id };
        let Some(record) = after.records.get(&other).filter(|_| other != *place) else { continue };
        let near = are_near(draft, place.ty, named, record);
        // What has no parent, and no root collection to be found in, is looked for by nobody.
        let found = near && (is_unique(draft, place.ty) || parent(draft, place.ty, record).is_some());
        if (is_named_anew(place, named) && near) || (is_new(&other, record) && found) {
            wrong.insert("unique");
        }
    }
    wrong
}

/// Every name leads to the one resource that has it, wherever it is looked for.
pub fn lead(working: &Working<'_>, draft: &Draft, model: &Facts) -> Result<Result<(), String>, EngineError> {
    let schema = working.schema;
    for (place, record) in &model.records {
        let Some(name) = name_of(draft, place.ty, record) else { continue };
        let ty =
            schema.type_named(draft.types[place.ty].name).expect("every type of the draft is in the schema");
        let via = parent(draft, place.ty, record).and_then(|(name, parent)| match parent {
            Value::Ref(parent) => Some((schema.ty(ty).named(&name)?.0, parent)),
            _ => None,
        });
        let everywhere = is_unique(draft, place.ty);
        let under = via.as_ref().map(|(slot, parent)| (*slot, parent));
        if under.is_none() && !everywhere {
            continue;
        }
        let found = names::find(working, ty, under, name)?;
        if found.as_ref() != Some(&place.id) {
            return Ok(Err(format!("the name {name} of {} leads to {found:?}", place.id)));
        }
    }
    Ok(Ok(()))
}
