//! Secondary indexes: an entry for each resource, under the order bytes of its value (of null, where it has none).

use corollary_schema::FieldRef;
use corollary_store::{Direction, KeyRange};
use corollary_value::Value;

use crate::doc::Key;
use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

/// Brings the indexes up to date with all that the current transaction changed, and holds unique fields to it.
pub fn maintain(working: &mut Working<'_>) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut claimed = Vec::new();
    let touched: Vec<Key> = working.touched.keys().cloned().collect();
    for key in touched {
        let (before, after) = (working.before(&key)?, working.after(&key)?);
        for (slot, field) in schema.ty(key.ty).slots().filter(|(_, field)| field.index) {
            let value =
                |doc: &Option<std::sync::Arc<crate::doc::Doc>>| doc.as_ref().map(|doc| doc.get(slot).clone());
            let (old, new) = (value(&before), value(&after));
            if old == new {
                continue;
            }
            if let Some(old) = old {
                working.delete_row(keys::INDEX, keys::index(field.id, &old, &key.id));
            }
            if let Some(new) = new {
                working.put_row(keys::INDEX, keys::index(field.id, &new, &key.id), Vec::new());
                if field.rules.unique && !new.is_null() {
                    claimed.push((FieldRef { ty: key.ty, slot }, new));
                }
            }
        }
    }
    // After all entries are in place, so that two resources may swap their values in one transaction.
    for (at, value) in claimed {
        check_unique(working, at, &value)?;
    }
    Ok(())
}

fn check_unique(working: &Working<'_>, at: FieldRef, value: &Value) -> Result<(), EngineError> {
    let field = working.schema.field(at);
    let range = KeyRange::prefix(keys::indexed(field.id, value));
    let first = working.first_row(keys::INDEX, &range, Direction::Forward)?;
    let last = working.first_row(keys::INDEX, &range, Direction::Backward)?;
    if first.map(|(key, _)| key) == last.map(|(key, _)| key) {
        return Ok(());
    }
    let message = format!("another {} has the {} {value}", working.schema.ty(at.ty).name, field.name);
    Err(EngineError::refused("unique", Some(&field.name), message))
}
