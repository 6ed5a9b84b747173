//! What opening the data with another schema would change, bring about and refuse; nothing is done.
//!
//! A change is told by what it means to those who use the data: whether what they did before still works, and whether they
//! can do more. Types and fields are known by their names.

use std::collections::BTreeSet;

use corollary_schema::typed::Type;
use corollary_schema::{Field, FieldKind, ResourceType, Rules, Schema, TypeIx, check};
use corollary_store::Store;
use corollary_value::{Value, compare};
use smol_str::{SmolStr, format_smolstr};

use super::fit::{alike, duplicates, errors, holds_type, losses};
use super::{Catalog, OpenError, add_changed, describe, to_be_whole};
use crate::names;
use crate::rebuild::{self, Structure};
use crate::updates::filling::{self, Before};

/// What a change means to those who use the data, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing that they see is another.
    Same,
    /// Only what follows from the facts.
    Derived,
    /// What they did still works, and there is more.
    Additive,
    /// What they did may not work any more.
    Breaking,
}

impl Class {
    /// Its name in replies.
    pub fn name(self) -> &'static str {
        match self {
            Class::Same => "same",
            Class::Derived => "derived",
            Class::Additive => "additive",
            Class::Breaking => "breaking",
        }
    }
}

/// One difference between two schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it means.
    pub class: Class,
    /// `Type` or `Type.field`.
    pub of: SmolStr,
    /// What it is, a clause.
    pub what: String,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Planned {
    /// In the order of the new schema; what is gone first.
    pub changes: Vec<Change>,
    /// What updates would bring about while the data is served.
    pub fill: Vec<String>,
    /// What would be built before it is served again.
    pub build: Vec<String>,
    /// Why the data does not fit, a sentence each. What only a build can find out is not among them.
    pub refused: Vec<String>,
}

impl Planned {
    /// What all changes together mean.
    pub fn class(&self) -> Class {
        self.changes.iter().map(|change| change.class).max().unwrap_or(Class::Same)
    }
}

/// Plans to open the data with another schema, whose updates may begin past so many resources.
///
/// # Errors
///
/// The schema has mistakes, or the data cannot be read.
pub fn plan(store: &dyn Store, text: &str, budget: usize) -> Result<Planned, OpenError> {
    let snapshot = store.snapshot()?;
    let stored = Catalog::load(&*snapshot)?;
    let mut ids = stored.as_ref().map(|catalog| catalog.ids.clone()).unwrap_or_default();
    let checked = check(text, &mut ids);
    let Some(new) = checked.schema else { return Err(OpenError::Schema(checked.diagnostics)) };
    let Some(stored) = stored else { return Ok(Planned::default()) };
    let Some(old) = check(&stored.text, &mut stored.ids.clone()).schema else {
        // Written by a version that knew another language.
        return Ok(Planned::default());
    };
    let mut planned = Planned { changes: changes(&old, &new), ..Planned::default() };
    let wanted = rebuild::structures(&new);
    let mut missing: BTreeSet<Structure> =
        wanted.iter().copied().filter(|it| !stored.built.contains(it)).collect();
    add_changed(&old, &new, &mut missing);
    missing.extend(to_be_whole(&new, &*snapshot)?);
    let highest = stored.ids.highest();
    let was = Before { schema: Some(&old), have: &stored.built, highest };
    let plan = filling::plan(&new, &*snapshot, &was, &missing, budget)?;
    let told = |it: Structure| describe(&new, it);
    planned.build = wanted.iter().filter(|it| plan.build.contains(it)).map(|it| told(*it)).collect();
    planned.fill = wanted.iter().filter(|it| plan.fills(&new, **it)).map(|it| told(*it)).collect();
    planned.refused = losses(&*snapshot, &old, &new, &stored.built)?;
    planned.refused.extend(duplicates(&*snapshot, &old, &new)?);
    if planned.refused.is_empty() {
        planned.refused = errors(&*snapshot, &old, &new, &plan.build)?;
        planned.refused.extend(names::unfit(&*snapshot, &old, &new)?);
    }
    Ok(planned)
}

/// What is another in a schema.
fn changes(old: &Schema, new: &Schema) -> Vec<Change> {
    let mut found = Vec::new();
    for (_, was) in old.types().filter(|(_, was)| was.visible()) {
        match new.type_named(&was.name) {
            Some(ty) => gone(was, new.ty(ty), &mut found),
            None => found.push(change(Class::Breaking, &was.name, "is gone")),
        }
    }
    for (_, is) in new.types().filter(|(_, is)| is.visible()) {
        let Some(before) = old.type_named(&is.name) else {
            found.push(change(Class::Additive, &is.name, "is new"));
            continue;
        };
        let was = old.ty(before);
        match (&was.root, &is.root) {
            (was, is) if was == is => {}
            (None, Some(root)) => {
                let what = format!("gets the root collection {root}");
                found.push(Change { class: Class::Additive, of: was.name.clone(), what });
            }
            (Some(root), _) => {
                let what = format!("has the root collection {root} no longer");
                found.push(Change { class: Class::Breaking, of: was.name.clone(), what });
            }
            (None, None) => {}
        }
        for (_, field) in is.slots().filter(|(_, field)| field.visible()) {
            let of = format_smolstr!("{}.{}", is.name, field.name);
            match was.named(&field.name) {
                Some((_, other)) => altered((old, other), (new, field), &of, &mut found),
                None => found.push(added(new, field, &of)),
            }
        }
    }
    mounts(old, new, &mut found);
    found
}

/// Mounts are no part of the data; who asks at their paths sees another one.
fn mounts(old: &Schema, new: &Schema, found: &mut Vec<Change>) {
    let named = |schema: &Schema, name: &str| schema.mounts.iter().find(|it| it.name() == name).cloned();
    for was in &old.mounts {
        let (name, of) = (was.name(), format_smolstr!("mount {}", was.name()));
        match named(new, &name) {
            None => found.push(change(Class::Breaking, &of, "is gone")),
            Some(is) if is.text != was.text => found.push(change(Class::Breaking, &of, "is another")),
            Some(_) => {}
        }
    }
    for is in new.mounts.iter().filter(|is| named(old, &is.name()).is_none()) {
        found.push(change(Class::Additive, &format_smolstr!("mount {}", is.name()), "is new"));
    }
}

fn change(class: Class, of: &SmolStr, what: &str) -> Change {
    Change { class, of: of.clone(), what: what.into() }
}

/// Fields that a type no longer has.
fn gone(was: &ResourceType, is: &ResourceType, found: &mut Vec<Change>) {
    let fields = was.slots().filter(|(_, field)| field.visible() && is.named(&field.name).is_none());
    found.extend(fields.map(|(_, field)| {
        change(Class::Breaking, &format_smolstr!("{}.{}", was.name, field.name), "is gone")
    }));
}

fn added(new: &Schema, field: &Field, of: &SmolStr) -> Change {
    let class = match &field.kind {
        FieldKind::Derived { .. } => Class::Derived,
        // Who creates a resource without it is refused.
        _ if field.rules.required && field.rules.default.is_none() => Class::Breaking,
        _ => Class::Additive,
    };
    Change { class, of: of.clone(), what: format!("is new: {}", kind(new, field)) }
}

/// A field that both have.
fn altered(
    (old, was): (&Schema, &Field),
    (new, is): (&Schema, &Field),
    of: &SmolStr,
    found: &mut Vec<Change>,
) {
    let (before, now) = (kind(old, was), kind(new, is));
    let both_stored = matches!((&was.kind, &is.kind), (FieldKind::Stored(_), FieldKind::Stored(_)));
    if before != now && !both_stored {
        let what = format!("was {before}, and is to be {now}");
        found.push(Change { class: Class::Breaking, of: of.clone(), what });
    } else if let (
        FieldKind::Derived { text: before, strict: was_strict, .. },
        FieldKind::Derived { text: now, strict, .. },
    ) = (&was.kind, &is.kind)
    {
        if before != now {
            let what = format!("follows from `{now}`, and did from `{before}`");
            found.push(Change { class: Class::Derived, of: of.clone(), what });
        }
        if *strict && !was_strict {
            found.push(change(Class::Breaking, of, "is strict: writes that make it an error are refused"));
        }
    }
    if let (FieldKind::Stored(was), FieldKind::Stored(is)) = (&was.kind, &is.kind) {
        let same = |was: TypeIx, is: TypeIx| old.ty(was).name == new.ty(is).name;
        if !alike(was, is, &same) {
            let class = if holds_type(was, is, &same) { Class::Additive } else { Class::Breaking };
            let what = match before == now {
                true => format!("holds other {now} than before"),
                false => format!("was {before}, and is to be {now}"),
            };
            found.push(Change { class, of: of.clone(), what });
        }
    }
    rules(&was.rules, &is.rules, of, found);
}

/// What a field is, in the words of the language.
fn kind(schema: &Schema, field: &Field) -> String {
    let named = |ty: TypeIx| schema.ty(ty).name.as_str();
    match &field.kind {
        FieldKind::Stored(ty) => described(schema, &Type::of_value(ty)),
        FieldKind::Link { target, .. } => format!("a link to {}", named(*target)),
        FieldKind::Links { target, .. } => format!("links to {}", named(*target)),
        FieldKind::Among { targets, many, .. } => {
            let targets: Vec<&str> = targets.iter().map(|ty| named(*ty)).collect();
            format!("{} to {}", if *many { "links" } else { "a link" }, targets.join(" | "))
        }
        FieldKind::Collection { child, .. } => format!("a collection of {}", named(*child)),
        FieldKind::Inverse { of } => format!("the inverse of {}.{}", named(of.ty), schema.field(*of).name),
        FieldKind::Several { owned, .. } => {
            (if *owned { "a collection of several types" } else { "an inverse of several types" }).into()
        }
        FieldKind::Derived { expr, .. } => described(schema, &expr.ty),
        FieldKind::Parent { .. }
        | FieldKind::Position { .. }
        | FieldKind::Embedded { .. }
        | FieldKind::Aggregate { .. } => String::new(),
    }
}

fn described(schema: &Schema, ty: &Type) -> String {
    ty.describe(&|ty| schema.ty(ty).name.clone())
}

/// What may no longer be written, and what may be now.
fn rules(was: &Rules, is: &Rules, of: &SmolStr, found: &mut Vec<Change>) {
    let mut tell = |class: Class, what: &str| found.push(change(class, of, what));
    let flags = [
        ("required", was.required, is.required),
        ("unique", was.unique, is.unique),
        ("unique in parent", was.unique_in_parent, is.unique_in_parent),
        ("immutable", was.immutable, is.immutable),
        ("write once", was.write_once, is.write_once),
        ("append only", was.append_only, is.append_only),
        ("other than null", !was.nullable, !is.nullable),
    ];
    for (name, was, is) in flags {
        match (was, is) {
            (false, true) => tell(Class::Breaking, &format!("has to be {name}")),
            (true, false) => tell(Class::Additive, &format!("need not be {name} any more")),
            _ => {}
        }
    }
    let value = |value: &Option<Value>| value.clone();
    let length = |length: &Option<u64>| length.map(|length| Value::Int(length.min(i64::MAX as u64) as i64));
    let bounds = [
        ("least value", value(&was.min), value(&is.min), true),
        ("greatest value", value(&was.max), value(&is.max), false),
        ("least length", length(&was.min_length), length(&is.min_length), true),
        ("greatest length", length(&was.max_length), length(&is.max_length), false),
    ];
    for (name, was, is, least) in bounds {
        let tighter = match (&was, &is) {
            (was, is) if was == is => continue,
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(was), Some(is)) => compare(is, was).is_gt() == least,
        };
        let class = if tighter { Class::Breaking } else { Class::Additive };
        tell(class, &format!("has another {name}"));
    }
    let pattern = |rules: &Rules| rules.pattern.as_ref().map(|pattern| pattern.regex.as_str().to_string());
    match (pattern(was), pattern(is)) {
        (was, is) if was == is => {}
        (_, None) => tell(Class::Additive, "has no pattern any more"),
        _ => tell(Class::Breaking, "has another pattern"),
    }
    match (was.actor, is.actor) {
        (false, true) => tell(Class::Additive, "names actors"),
        (true, false) => tell(Class::Additive, "does not name actors any more"),
        _ => {}
    }
    if was.normalize != is.normalize {
        tell(Class::Breaking, "is normalized in another way");
    }
    if was.default != is.default {
        tell(Class::Additive, "has another default");
    }
}
