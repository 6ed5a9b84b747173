//! Links to one of several types, as they are written: to values of the hidden links that they stand for.
//!
//! A reference in a write names its type ([`reference()`]), or is an id alone, which has to be that of a resource of exactly
//! one of the types when its turn comes. What is stored is one hidden link for each type, of which a link to one has at most
//! one set (`check`); everything else in the engine knows those alone.

use std::borrow::Cow;

use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};
use smol_str::SmolStr;

use crate::doc::{Doc, Key};
use crate::edit::Edit;
use crate::error::{EngineError, Refusal};
use crate::rules;
use crate::working::Working;
use crate::write::Write;

/// A reference that names its type, for a field that may lead to several.
pub fn reference(schema: &Schema, ty: TypeIx, id: Id) -> Value {
    Value::Object([(schema.ty(ty).name.clone(), Value::Ref(id))].into())
}

/// What a field that may lead to several types leads to, type by type; for links those of each in their order.
pub fn targets(schema: &Schema, ty: TypeIx, slot: Slot, doc: &Doc) -> Vec<Key> {
    let FieldKind::Among { parts, targets, .. } = &schema.field(FieldRef { ty, slot }).kind else {
        return Vec::new();
    };
    let each = parts.iter().zip(targets).map(|(part, target)| {
        crate::working::targets(doc.get(*part)).into_iter().map(|id| Key::new(*target, id))
    });
    each.flatten().collect()
}

/// Has such a field a value, which for links may be the empty list?
pub fn is_set(schema: &Schema, ty: TypeIx, slot: Slot, doc: &Doc) -> bool {
    schema.ty(ty).parts(slot).iter().any(|part| !matches!(doc.get(*part), Value::Absent))
}

/// Values as they are stored.
pub(crate) fn values<'v>(
    working: &Working<'_>,
    ty: TypeIx,
    values: &'v [(Slot, Value)],
) -> Result<Cow<'v, [(Slot, Value)]>, EngineError> {
    if !any(working.schema, ty, values.iter().map(|(slot, _)| *slot)) {
        return Ok(Cow::Borrowed(values));
    }
    let mut split = Vec::with_capacity(values.len());
    for (slot, value) in values {
        match Field::of(working, ty, *slot) {
            Some(field) => split.extend(field.value(value)?),
            None => split.push((*slot, value.clone())),
        }
    }
    Ok(Cow::Owned(split))
}

/// Edits of what is stored.
pub(crate) fn edits<'e>(
    working: &Working<'_>,
    ty: TypeIx,
    edits: &'e [(Slot, Edit)],
) -> Result<Cow<'e, [(Slot, Edit)]>, EngineError> {
    if !any(working.schema, ty, edits.iter().map(|(slot, _)| *slot)) {
        return Ok(Cow::Borrowed(edits));
    }
    let mut split = Vec::with_capacity(edits.len());
    for (slot, edit) in edits {
        match Field::of(working, ty, *slot) {
            Some(field) => split.extend(field.edit(edit)?),
            None => split.push((*slot, edit.clone())),
        }
    }
    Ok(Cow::Owned(split))
}

fn any(schema: &Schema, ty: TypeIx, mut slots: impl Iterator<Item = Slot>) -> bool {
    slots.any(|slot| !schema.ty(ty).parts(slot).is_empty())
}

/// A field that may lead to several types.
struct Field<'w, 'a> {
    working: &'w Working<'a>,
    name: &'a SmolStr,
    many: bool,
    /// The hidden links, each with the type that it leads to.
    parts: Vec<(Slot, TypeIx)>,
}

impl<'w, 'a> Field<'w, 'a> {
    fn of(working: &'w Working<'a>, ty: TypeIx, slot: Slot) -> Option<Field<'w, 'a>> {
        let schema = working.schema;
        let field = schema.field(FieldRef { ty, slot });
        let FieldKind::Among { parts, targets, many } = &field.kind else { return None };
        let parts = parts.iter().copied().zip(targets.iter().copied());
        Some(Field { working, name: &field.name, many: *many, parts: parts.collect() })
    }

    fn refuse(&self, code: &'static str, message: String) -> EngineError {
        EngineError::refused(code, Some(self.name), message)
    }

    /// The types, for a sentence.
    fn types(&self) -> String {
        let names = self.parts.iter().map(|(_, ty)| self.working.schema.ty(*ty).name.as_str());
        names.collect::<Vec<_>>().join(" or ")
    }

    /// A value of it, as one of each part.
    fn value(&self, value: &Value) -> Result<Vec<(Slot, Value)>, EngineError> {
        let mut split: Vec<(Slot, Value)> =
            self.parts.iter().map(|(slot, _)| (*slot, Value::Absent)).collect();
        match (value, self.many) {
            (Value::Absent | Value::Null, _) => {}
            (Value::List(elements), true) => {
                let mut lists = vec![Vec::new(); split.len()];
                for element in elements.iter() {
                    let (at, id) = self.locate(element)?;
                    lists[at].push(Value::Ref(id));
                }
                for ((_, value), list) in split.iter_mut().zip(lists) {
                    *value = Value::List(list.into());
                }
            }
            (_, true) => return Err(self.refuse("type", format!("`{}` holds a list of links", self.name))),
            (value, false) => {
                let (at, id) = self.locate(value)?;
                split[at].1 = Value::Ref(id);
            }
        }
        Ok(split)
    }

    /// An edit of it, as edits of its parts.
    fn edit(&self, edit: &Edit) -> Result<Vec<(Slot, Edit)>, EngineError> {
        let each = |values: &[Value], edit: &dyn Fn(Id) -> Edit| {
            let located = values.iter().map(|value| {
                let (at, id) = self.locate(value)?;
                Ok((self.parts[at].0, edit(id)))
            });
            located.collect::<Result<Vec<_>, EngineError>>()
        };
        match edit {
            Edit::Set(value) => {
                let split = self.value(value)?.into_iter();
                Ok(split.map(|(slot, value)| (slot, Edit::Set(value))).collect())
            }
            Edit::Add(values) | Edit::Push { values, at: None } if self.many => each(values, &Edit::Link),
            Edit::Remove(values) if self.many => each(values, &Edit::Unlink),
            Edit::Link(id) if self.many => each(&[Value::Ref(id.clone())], &Edit::Link),
            Edit::Unlink(id) if self.many => each(&[Value::Ref(id.clone())], &Edit::Unlink),
            _ if self.many => {
                let message =
                    format!("`{}` leads to several types, and what it leads to has no positions", self.name);
                Err(self.refuse("type", message))
            }
            _ => {
                Err(self.refuse("type", format!("`{}` is a link, and can be set or cleared only", self.name)))
            }
        }
    }

    /// Which part a reference is for.
    fn locate(&self, value: &Value) -> Result<(usize, Id), EngineError> {
        let schema = self.working.schema;
        match value {
            Value::Object(members) => match &members[..] {
                [(name, Value::Ref(id))] => {
                    let at = self.parts.iter().position(|(_, ty)| schema.ty(*ty).name == *name);
                    let at = at.ok_or_else(|| {
                        let message = format!("`{}` leads to {}, and not to {name}", self.name, self.types());
                        self.refuse("link", message)
                    })?;
                    Ok((at, id.clone()))
                }
                _ => Err(self.refuse("type", format!("`{}` is a link, and this is none", self.name))),
            },
            Value::Ref(id) => {
                let mut found = Vec::new();
                for (at, (_, ty)) in self.parts.iter().enumerate() {
                    if self.working.after(&Key::new(*ty, id.clone()))?.is_some() {
                        found.push(at);
                    }
                }
                match found[..] {
                    [at] => Ok((at, id.clone())),
                    [] => {
                        let message =
                            format!("`{}` links to {} {id}, which is not there", self.name, self.types());
                        Err(self.refuse("link", message))
                    }
                    _ => {
                        let message = format!(
                            "`{}`: there is more than one of {} with the id {id}; say which by its path, or by `_type` \
                             beside `_id`",
                            self.name,
                            self.types()
                        );
                        Err(self.refuse("ambiguous-link", message))
                    }
                }
            }
            other => {
                Err(self.refuse("type", format!("`{}` is a link, and {other} is no reference", self.name)))
            }
        }
    }
}

/// What holds of all parts of a field together, in what the transaction touched: that a link leads to one resource, and
/// the rules that ask how many there are.
pub(crate) fn check(working: &Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut found = Vec::new();
    for (key, touched) in &working.touched {
        let Some(doc) = &touched.after else { continue };
        for (slot, field) in schema.ty(key.ty).slots() {
            let FieldKind::Among { parts, many, .. } = &field.kind else { continue };
            let same = |before: &Doc| parts.iter().all(|part| before.get(*part) == doc.get(*part));
            // What was stored under older rules may stay as it is.
            if touched.before.as_ref().is_some_and(|before| same(before)) {
                continue;
            }
            let targets = targets(schema, key.ty, slot, doc);
            let so_far = found.len();
            if !many && targets.len() > 1 {
                let message = format!("`{}` leads to one resource, and not to several", field.name);
                found.push(Refusal::new("type", Some(&field.name), message));
            }
            let held = || targets.iter().map(|target| Value::Ref(target.id.clone())).collect();
            let value = match is_set(schema, key.ty, slot, doc) {
                true if *many => Value::List(held()),
                true => Value::Ref(targets[0].id.clone()),
                false => Value::Absent,
            };
            rules::check(field, &value, &mut found);
            for refusal in &mut found[so_far..] {
                refusal.write = writes.iter().rposition(|write| write.key() == key);
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    // What was touched is in no order.
    found.sort_by(|left, right| (left.write, &left.path).cmp(&(right.write, &right.path)));
    Err(EngineError::Refused(found))
}
