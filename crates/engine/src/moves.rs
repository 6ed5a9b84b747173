//! Moves: a resource goes to another parent, to another place among its siblings, or out to the root collection.
//!
//! A parent is a hidden link ([`FieldKind::Parent`]) that no other write changes, so all that follows from it (groups, paths,
//! places) is kept by what keeps other links. What stands below comes along, for its own link leads where it did. Always
//! held: a resource has one parent at most, and none that stands below it.
//!
//! Read next: [`mod@crate::write`], which calls this, and [`crate::order`].

use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};

use crate::doc::Key;
use crate::error::EngineError;
use crate::order;
use crate::working::Working;
use crate::write::{MAX_PARENTS, existing, name};

/// Where a resource moves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its link to the parent, and the parent; none is the root collection of its type.
    pub under: Option<(Slot, Id)>,
    /// Its place among its siblings, from 0; past the last is the end. Without one it goes to the end, and stays where it
    /// stands if that is its parent already.
    pub at: Option<u64>,
}

impl Destination {
    /// The parent of a resource of a type that has moved there.
    pub fn parent(&self, schema: &Schema, ty: TypeIx) -> Option<Key> {
        let (slot, id) = self.under.as_ref()?;
        match schema.field(FieldRef { ty, slot: *slot }).kind {
            FieldKind::Parent { collection } => Some(Key::new(collection.ty, id.clone())),
            _ => None,
        }
    }
}

/// Moves a resource.
pub(crate) fn carry(working: &mut Working<'_>, key: &Key, to: &Destination) -> Result<(), EngineError> {
    let schema = working.schema;
    let ty = schema.ty(key.ty);
    let doc = existing(working, key)?;
    match (&to.under, to.parent(schema, key.ty)) {
        (Some(_), Some(parent)) => {
            existing(working, &parent)?;
            check_above(working, key, parent)?;
        }
        (Some((slot, _)), None) => {
            let message = format!("`{}` of {} leads to no parent", ty.field(*slot).name, ty.name);
            return Err(EngineError::refused("move", None, message));
        }
        // What has no root collection to go out to is refused with all else that would have no parent.
        (None, _) => {}
    }
    let wanted = |slot: Slot| match &to.under {
        Some((via, parent)) if *via == slot => Value::Ref(parent.clone()),
        _ => Value::Absent,
    };
    let left: Vec<Slot> =
        ty.parents.iter().copied().filter(|slot| *doc.get(*slot) != wanted(*slot)).collect();
    drop(doc);
    if left.is_empty() {
        return to.at.map_or(Ok(()), |at| order::relocate(working, key, at));
    }
    for slot in &left {
        let doc = existing(working, key)?;
        order::leave(working, key, &doc, Some(*slot))?;
        drop(doc);
        working.set(key, *slot, wanted(*slot))?;
    }
    order::enter(working, key, to.at)
}

/// Nothing moves under itself, nor under what stands below it.
fn check_above(working: &Working<'_>, key: &Key, parent: Key) -> Result<(), EngineError> {
    let (schema, under) = (working.schema, parent.clone());
    let mut at = parent;
    for _ in 0..=MAX_PARENTS {
        if at == *key {
            let (moved, under) = (name(working, key), name(working, &under));
            let message = match moved == under {
                true => format!("{moved} cannot move under itself"),
                false => format!("{moved} cannot move under {under}, which stands below it"),
            };
            return Err(EngineError::refused("move-cycle", None, message));
        }
        let Some(doc) = working.after(&at)? else { break };
        match doc.parent(schema, at.ty).map(|(collection, id)| Key::new(collection.ty, id.clone())) {
            Some(above) => at = above,
            None => break,
        }
    }
    // One with more above it is no parent for anything: that is refused with all links of the transaction.
    Ok(())
}
