//! Links to one of several types in random schemas and transactions.
//!
//! The model keeps one link for each of the types, `r5.Bee`, as a fact of its own, of which a link to one has one at most.
//! That is how the engine stores them; what it makes of references that name their type is written where a transaction
//! gives one alone ([`given`]).

use corollary_engine::{Edit, among};
use corollary_schema::{Schema, Slot, TypeIx};
use corollary_value::{Id, Value};

use crate::draft::{Draft, FieldDraft, FieldKind, Kind, OnDelete, Rules, ValueType};
use crate::make::TYPES;
use crate::owners;
use crate::random::Random;

/// The name of the part of a field that leads to a type.
pub fn part(field: &str, target: usize) -> String {
    format!("{field}.{}", TYPES[target])
}

/// The position in the schema of a fact.
pub fn slot(schema: &Schema, ty: TypeIx, name: &str) -> Option<Slot> {
    let resource = schema.ty(ty);
    let Some((field, target)) = name.split_once('.') else { return Some(resource.named(name)?.0) };
    let target = schema.type_named(target)?;
    let parts = resource.parts(resource.named(field)?.0);
    parts.iter().find(|part| resource.link_target(**part) == Some(target)).copied()
}

/// The parts that a part belongs to, where at most one of them is set: the names of the others.
fn others(draft: &Draft, ty: usize, name: &str) -> Vec<String> {
    let Some((field, _)) = name.split_once('.') else { return Vec::new() };
    match draft.field(ty, field).map(|field| &field.kind) {
        Some(FieldKind::Among(targets, _, false)) => {
            targets.iter().map(|target| part(field, *target)).filter(|other| other != name).collect()
        }
        _ => Vec::new(),
    }
}

/// Leaves of the values of a resource mostly one of each link.
pub fn keep_one(draft: &Draft, random: &mut Random, ty: usize, values: &mut Vec<(String, Value)>) {
    let mut at = 0;
    while let Some((name, _)) = values.get(at) {
        let others = others(draft, ty, name);
        if !random.percent(2) {
            values.retain(|(name, _)| !others.contains(name));
        }
        at += 1;
    }
}

/// Takes away, with an edit that sets one part of a link, mostly the others.
pub fn leave_others(draft: &Draft, random: &mut Random, ty: usize, edits: &mut Vec<(String, Edit)>) {
    for (name, edit) in edits.clone() {
        if matches!(edit, Edit::Set(Value::Ref(_))) && !random.percent(4) {
            let others = others(draft, ty, &name);
            edits.retain(|(name, _)| !others.contains(name));
            edits.extend(others.into_iter().map(|name| (name, Edit::Set(Value::Absent))));
        }
    }
}

/// A record has two of the parts of a link set.
pub fn has_two(draft: &Draft, ty: usize, leads: &dyn Fn(&str) -> bool) -> bool {
    draft.types[ty].fields.iter().any(|field| match &field.kind {
        FieldKind::Among(targets, _, false) => {
            targets.iter().filter(|target| leads(&part(&field.name, **target))).count() > 1
        }
        _ => false,
    })
}

/// Is a part that is not given taken away, because another one is given as the whole link?
pub fn is_emptied(draft: &Draft, ty: usize, name: &str, all: &[(String, Value)]) -> bool {
    others(draft, ty, name).iter().any(|other| {
        let given: Vec<_> = all.iter().filter(|(name, _)| name == other).collect();
        let rest = others(draft, ty, other);
        matches!(given[..], [(_, Value::Ref(_))]) && !all.iter().any(|(name, _)| rest.contains(name))
    })
}

/// The value of a part as one of the whole link, which names the type, where a transaction gives no other part of it.
pub fn given(
    schema: &Schema,
    draft: &Draft,
    ty: usize,
    name: &str,
    value: &Value,
    all: &[(String, Value)],
) -> Option<(Slot, Value)> {
    let others = others(draft, ty, name);
    let (field, target) = name.split_once('.')?;
    let (Value::Ref(id), Some(target)) = (value, schema.type_named(target)) else { return None };
    let alone = !others.is_empty() && all.iter().filter(|(given, _)| given == name).count() == 1;
    if !alone || all.iter().any(|(name, _)| others.contains(name)) {
        return None;
    }
    let whole = schema.ty(schema.type_named(draft.types[ty].name)?).named(field)?.0;
    Some((whole, among::reference(schema, target, Id::clone(id))))
}

/// A link, or links, to several types, which then have a field in common.
pub fn add(draft: &mut Draft, random: &mut Random, ty: usize) {
    let mut targets: Vec<usize> = (0..draft.types.len()).collect();
    random.shuffle(&mut targets);
    targets.truncate(2 + random.below(2));
    let name = draft.fresh_name("r");
    let common = draft.fresh_name("f");
    let of = [ValueType::Int, ValueType::Float, ValueType::Str][random.below(3)].clone();
    for target in &targets {
        let kind = FieldKind::Stored(of.clone());
        draft.types[*target].fields.push(FieldDraft { name: common.clone(), kind, rules: Rules::default() });
    }
    let many = random.percent(40);
    let rules = Rules {
        index: !many && random.percent(15),
        unique: !many && random.percent(4),
        immutable: !many && random.percent(4),
        ..Rules::default()
    };
    let on_delete =
        [OnDelete::Unlink, OnDelete::Unlink, OnDelete::Restrict, OnDelete::Cascade][random.below(4)];
    if random.percent(40) {
        let inverse = draft.fresh_name("i");
        let kind = FieldKind::Inverse(ty, name.clone());
        let target = *random.pick(&targets);
        draft.types[target].fields.push(FieldDraft { name: inverse, kind, rules: Rules::default() });
    }
    let kind = FieldKind::Among(targets, on_delete, many);
    draft.types[ty].fields.push(FieldDraft { name, kind, rules });
}

/// Paths from a type to values of a kind that all targets of a link, or all of a list of several types, have in common.
pub fn common(draft: &Draft, ty: usize, kind: Kind, wanted: bool) -> Vec<String> {
    let mut lists = if wanted { owners::lists(draft, ty) } else { Vec::new() };
    for field in &draft.types[ty].fields {
        if let FieldKind::Among(targets, _, many) = &field.kind
            && *many == wanted
        {
            lists.push((field.name.clone(), targets.clone()));
        }
    }
    let mut found = Vec::new();
    for (path, targets) in lists {
        let has = |target: &usize, name: &str, of: &FieldKind| {
            let there = draft.field(*target, name).map(|field| &field.kind);
            matches!((there, of), (Some(FieldKind::Stored(one)), FieldKind::Stored(of)) if one == of)
        };
        let Some((first, rest)) = targets.split_first() else { continue };
        for shared in &draft.types[*first].fields {
            let of_kind = matches!(&shared.kind, FieldKind::Stored(of) if of.kind() == Some(kind));
            if of_kind && rest.iter().all(|target| has(target, &shared.name, &shared.kind)) {
                found.push(format!("{path}.{}", shared.name));
            }
        }
        if kind == Kind::Str && !wanted {
            found.push(format!("{path}._id"));
        }
    }
    found
}
