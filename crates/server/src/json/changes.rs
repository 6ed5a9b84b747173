//! What a commit changed of a resource, field by field: the names of the fields, and their values before or after.
//!
//! Who watches and who reads the log are told the same of a change.

use corollary_engine::{Change, Doc, EngineError, among, order};
use corollary_schema::{FieldKind, FieldRef, ResourceType, Schema, Slot};
use corollary_value::Value;

use super::encode::{Encoder, Shape};
use super::held::Held;
use crate::mounts::names_of;

/// The name by which a change of the path is told.
pub const ITSELF: &str = "_self";

/// The fields of a resource that has changed, of those that are told, by the names of a mount where it is told in one.
pub struct Fields<'c> {
    schema: &'c Schema,
    resource: &'c ResourceType,
    change: &'c Change,
    shape: &'c Shape,
    moved: bool,
}

impl<'c> Fields<'c> {
    /// Of a change.
    pub fn new(schema: &'c Schema, shape: &'c Shape, change: &'c Change) -> Fields<'c> {
        let scope = shape.scope.as_ref();
        let resource = names_of(scope, schema).ty(change.key.ty);
        // In a mount a resource has its path by its id.
        let moved = scope.is_none() && change.moved(schema);
        Fields { schema, resource, change, shape, moved }
    }

    /// Has its path changed, with its parent?
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// Those that are shown.
    pub fn shown(&self) -> impl Iterator<Item = Slot> + 'c {
        let shape = self.shape;
        let fields = self.resource.slots().filter(|(slot, field)| field.visible() && shape.shows(*slot));
        fields.map(|(slot, _)| slot)
    }

    /// Those of them that have changed. Objects with derived members are told of by the name under which they are shown.
    pub fn told(&self) -> impl Iterator<Item = Slot> + 'c {
        let (resource, change) = (self.resource, self.change);
        let is_changed = |slot: &Slot| change.changed.contains(slot);
        self.shown().filter(move |slot| {
            is_changed(slot)
                || is_changed(&resource.shown(*slot))
                || resource.parts(*slot).iter().any(is_changed)
        })
    }

    /// Appends the names of what has changed, as texts with commas between them.
    pub fn push_names(&self, out: &mut Vec<u8>) {
        let resource = self.resource;
        let place = self.change.changed.iter().find_map(|slot| match resource.field(*slot).kind {
            FieldKind::Position { .. } => Some(order::NAME),
            _ => None,
        });
        let names = self.told().map(|slot| resource.field(slot).name.as_str());
        for (at, name) in names.chain(place).chain(self.moved.then_some(ITSELF)).enumerate() {
            // Names are letters, digits and `_`.
            out.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
            out.extend_from_slice(name.as_bytes());
            out.push(b'"');
        }
    }

    /// Appends the values of some fields, each with its name; what has none is left out. `first` where no member stands before.
    ///
    /// # Errors
    ///
    /// The store's, where links are read.
    pub fn push_values(
        &self,
        encoder: &mut Encoder<'_, '_>,
        doc: &Doc,
        slots: impl Iterator<Item = Slot>,
        mut first: bool,
    ) -> Result<(), EngineError> {
        let (resource, ty) = (self.resource, self.change.key.ty);
        for slot in slots {
            let is_among = !resource.parts(slot).is_empty();
            let value = doc.get(resource.shown(slot));
            let is_set = match is_among {
                true => among::is_set(self.schema, ty, slot, doc),
                false => !matches!(value, Value::Absent),
            };
            if !is_set {
                continue;
            }
            encoder.out.extend_from_slice(if std::mem::take(&mut first) { b"\"" } else { b",\"" });
            encoder.out.extend_from_slice(resource.field(slot).name.as_bytes());
            encoder.out.extend_from_slice(b"\":");
            match is_among {
                true => encoder.among_value(ty, slot, doc)?,
                false => encoder.value(value, Held::by(self.schema, FieldRef { ty, slot }))?,
            }
        }
        Ok(())
    }
}
