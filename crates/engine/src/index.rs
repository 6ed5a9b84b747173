//! Secondary indexes: an entry for each resource, under the order bytes of its value (of null, where it has none).

use std::sync::Arc;

use corollary_schema::FieldRef;
use corollary_store::limits::MAX_KEY_BYTES;
use corollary_store::{Direction, KeyRange};
use corollary_value::{Id, Value};

use crate::doc::{Doc, Key};
use crate::error::{EngineError, Refusal};
use crate::keys;
use crate::working::Working;
use crate::write::Write;

/// Brings the indexes up to date with all that the current transaction changed, and holds unique fields to it.
pub fn maintain(working: &mut Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut claimed = Vec::new();
    let mut found = Vec::new();
    if !schema.types().any(|(_, ty)| ty.fields.iter().any(|field| field.index)) {
        return Ok(());
    }
    for key in working.touched_keys() {
        let (before, after) = (working.before(&key)?, working.after(&key)?);
        for (slot, field) in schema.ty(key.ty).slots().filter(|(_, field)| field.index) {
            let value = |doc: &Option<Arc<Doc>>| doc.as_ref().map(|doc| doc.get(slot).clone());
            let (old, new) = (value(&before), value(&after));
            if old == new {
                continue;
            }
            if let Some(old) = old {
                working.delete_row(keys::INDEX, keys::index(field.id, &old, &key.id));
            }
            if let Some(new) = new {
                let entry = keys::index(field.id, &new, &key.id);
                if entry.len() > MAX_KEY_BYTES {
                    let message =
                        format!("`{}` is too long: its index takes {MAX_KEY_BYTES} bytes", field.name);
                    let mut refusal = Refusal::new("too-long", Some(&field.name), message);
                    refusal.write = writes.iter().rposition(|write| *write.key() == key);
                    found.push(refusal);
                }
                working.put_row(keys::INDEX, entry, Vec::new());
                if field.rules.unique && !new.is_null() {
                    claimed.push((key.clone(), FieldRef { ty: key.ty, slot }, new));
                }
            }
        }
    }
    // After all entries are in place, so that two resources may swap their values in one transaction.
    for (key, at, value) in claimed {
        if let Some(other) = another(working, &key, at, &value)? {
            let (ty, name) = (&schema.ty(at.ty).name, &schema.field(at).name);
            let message = format!("{ty} {other} has the {name} {value} already");
            let mut refusal = Refusal::new("unique", Some(name), message);
            refusal.write = writes.iter().rposition(|write| *write.key() == key);
            found.push(refusal);
        }
    }
    if found.is_empty() { Ok(()) } else { Err(EngineError::Refused(found)) }
}

/// Another resource with the same value.
fn another(working: &Working<'_>, key: &Key, at: FieldRef, value: &Value) -> Result<Option<Id>, EngineError> {
    let prefix = keys::indexed(working.schema.field(at).id, value);
    let length = prefix.len();
    let range = KeyRange::prefix(prefix);
    // There are two at most: without this transaction there was one.
    for direction in [Direction::Forward, Direction::Backward] {
        if let Some((entry, _)) = working.first_row(keys::INDEX, &range, direction)? {
            let id = keys::id_behind(&entry, length).ok_or_else(|| EngineError::corrupt("an index entry"))?;
            if id != key.id {
                return Ok(Some(id));
            }
        }
    }
    Ok(None)
}
