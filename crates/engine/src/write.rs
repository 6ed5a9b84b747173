//! Facts: what a transaction may change, and what must hold when it has.

use std::collections::BTreeSet;

use corollary_schema::{DefaultValue, FieldKind, FieldRef, OnDelete, Slot};
use corollary_value::Value;

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::View;
use crate::propagate::initial;
use crate::rules;
use crate::working::{Working, targets};

/// One change of facts.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new resource; fields that are not given get their defaults.
    Create(Key, Vec<(Slot, Value)>),
    /// New values of some fields; absent takes a value away.
    Update(Key, Vec<(Slot, Value)>),
    /// No more resource. Children go with it; links to it are handled as they declare.
    Delete(Key),
}

/// Applies the facts of a transaction, and checks what must hold after all of them.
pub fn apply(working: &mut Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    for write in writes {
        match write {
            Write::Create(key, values) => create(working, key, values)?,
            Write::Update(key, values) => update(working, key, values)?,
            Write::Delete(key) => delete(working, key)?,
        }
    }
    check_links(working)
}

fn name(working: &Working<'_>, key: &Key) -> String {
    format!("{} {}", working.schema.ty(key.ty).name, key.id)
}

fn create(working: &mut Working<'_>, key: &Key, values: &[(Slot, Value)]) -> Result<(), EngineError> {
    if working.after(key)?.is_some() {
        let message = format!("{} is there already", name(working, key));
        return Err(EngineError::refused("exists", None, message));
    }
    let mut doc = Doc::new(working.schema, key.ty);
    initial(working.schema, key.ty, &mut doc);
    working.replace(key, Some(doc))?;
    let now = working.now();
    let schema = working.schema;
    for (slot, field) in schema.ty(key.ty).slots() {
        match &field.rules.default {
            Some(_) if values.iter().any(|(given, _)| *given == slot) => {}
            Some(DefaultValue::Constant(value)) => {
                working.set(key, slot, value.clone())?;
            }
            Some(DefaultValue::Now) => {
                working.set(key, slot, Value::Datetime(now))?;
            }
            None => {}
        }
    }
    set_all(working, key, values)?;
    for (slot, field) in schema.ty(key.ty).slots().filter(|(_, field)| field.rules.required) {
        let there = working.after(key)?.is_some_and(|doc| !doc.get(slot).is_null());
        if !there {
            let message = format!("`{}` is required", field.name);
            return Err(EngineError::refused("required", Some(&field.name), message));
        }
    }
    Ok(())
}

fn update(working: &mut Working<'_>, key: &Key, values: &[(Slot, Value)]) -> Result<(), EngineError> {
    if working.after(key)?.is_none() {
        let message = format!("there is no {}", name(working, key));
        return Err(EngineError::refused("not-found", None, message));
    }
    set_all(working, key, values)
}

fn set_all(working: &mut Working<'_>, key: &Key, values: &[(Slot, Value)]) -> Result<(), EngineError> {
    let schema = working.schema;
    for (slot, value) in values {
        let field = schema.field(FieldRef { ty: key.ty, slot: *slot });
        let refuse = |code, message: String| EngineError::refused(code, Some(&field.name), message);
        if !field.is_fact() {
            return Err(refuse("read-only", format!("`{}` follows from other fields", field.name)));
        }
        let value = rules::normalised(&field.rules, value);
        rules::check(field, &value).map_err(|(code, message)| refuse(code, message))?;
        let before = working.before(key)?;
        if let Some(before) = &before {
            rules::check_change(field, before.get(*slot), &value)
                .map_err(|(code, message)| refuse(code, message))?;
        }
        working.set(key, *slot, value)?;
    }
    Ok(())
}

/// Deletes a resource, its children, and what cascades; a work list, since chains of links may be long.
fn delete(working: &mut Working<'_>, key: &Key) -> Result<(), EngineError> {
    if working.after(key)?.is_none() {
        let message = format!("there is no {}", name(working, key));
        return Err(EngineError::refused("not-found", None, message));
    }
    let schema = working.schema;
    let mut doomed = BTreeSet::from([key.clone()]);
    let mut waiting = vec![key.clone()];
    let mut unlinked: Vec<(Key, Slot, Key)> = Vec::new();
    while let Some(target) = waiting.pop() {
        for of in &schema.ty(target.ty).referrers {
            for id in working.referrers(*of, &target.id)? {
                let source = Key::new(of.ty, id);
                let field = schema.field(*of);
                let rule = match &field.kind {
                    FieldKind::Link { on_delete: OnDelete::Unlink, .. } if field.rules.required => {
                        OnDelete::Restrict
                    }
                    FieldKind::Link { on_delete, .. } | FieldKind::Links { on_delete, .. } => *on_delete,
                    _ => OnDelete::Cascade,
                };
                match rule {
                    OnDelete::Cascade if doomed.insert(source.clone()) => waiting.push(source),
                    OnDelete::Cascade => {}
                    _ => unlinked.push((source, of.slot, target.clone())),
                }
            }
        }
    }
    for (source, slot, target) in unlinked {
        if doomed.contains(&source) {
            continue;
        }
        let field = schema.field(FieldRef { ty: source.ty, slot });
        let restricted = match &field.kind {
            FieldKind::Link { on_delete, .. } => *on_delete == OnDelete::Restrict || field.rules.required,
            FieldKind::Links { on_delete, .. } => *on_delete == OnDelete::Restrict,
            _ => false,
        };
        if restricted {
            let message = format!(
                "{} is linked by `{}` of {}",
                name(working, &target),
                field.name,
                name(working, &source)
            );
            return Err(EngineError::refused("restrict", Some(&field.name), message));
        }
        let Some(doc) = working.after(&source)? else { continue };
        let left = match doc.get(slot) {
            Value::List(elements) => {
                let left = elements.iter().filter(|element| **element != Value::Ref(target.id.clone()));
                Value::List(left.cloned().collect())
            }
            _ => Value::Absent,
        };
        working.set(&source, slot, left)?;
    }
    for key in doomed {
        let Some(doc) = working.after(&key)? else { continue };
        for (slot, _) in schema.ty(key.ty).slots().filter(|(_, field)| field.reference_index) {
            working.refer(&key, FieldRef { ty: key.ty, slot }, doc.get(slot), &Value::Absent);
        }
        working.replace(&key, None)?;
    }
    Ok(())
}

/// Every link that the transaction set leads to a resource.
fn check_links(working: &mut Working<'_>) -> Result<(), EngineError> {
    let schema = working.schema;
    let touched: Vec<Key> = working.touched.keys().cloned().collect();
    for key in touched {
        let (before, Some(doc)) = (working.before(&key)?, working.after(&key)?) else { continue };
        for (slot, field) in schema.ty(key.ty).slots() {
            let target = match &field.kind {
                FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => *target,
                FieldKind::Parent { collection } => collection.ty,
                _ => continue,
            };
            if before.as_ref().is_some_and(|before| before.get(slot) == doc.get(slot)) {
                continue;
            }
            for id in targets(doc.get(slot)) {
                let linked = Key::new(target, id);
                if working.after(&linked)?.is_none() {
                    let message =
                        format!("`{}` links to {}, which is not there", field.name, name(working, &linked));
                    return Err(EngineError::refused("link", Some(&field.name), message));
                }
            }
        }
    }
    Ok(())
}
