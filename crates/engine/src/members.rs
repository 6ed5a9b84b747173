//! The members of the collections and inverses of many resources, with one read of the store for all of them.

use corollary_schema::FieldRef;
use corollary_store::KeyRange;
use corollary_value::{Id, Value, compare};

use crate::doc::Key;
use crate::error::EngineError;
use crate::eval::View;
use crate::keys;
use crate::order::siblings;
use crate::working::Working;

/// Of each owner, in their order, the resources whose field refers to it: at most so many, in the order of the collection
/// where it has one, and of their ids otherwise. What is stored is read, and nothing of a transaction that goes on; of a state
/// of the past what was there then.
pub fn of_many(
    working: &Working<'_>,
    via: FieldRef,
    owners: &[&Id],
    limit: usize,
) -> Result<Vec<Vec<Id>>, EngineError> {
    let schema = working.schema;
    if working.is_past() {
        return owners.iter().map(|owner| once(working, via, owner, limit)).collect();
    }
    let number = schema.field(via).id;
    let index = schema.position_of(via).and_then(|position| schema.field(position).parent_index);
    let prefix = |owner: &&Id| match index {
        Some(index) => keys::children(index, number, owner),
        None => keys::references_to(number, owner),
    };
    let prefixes: Vec<Vec<u8>> = owners.iter().map(prefix).collect();
    let ranges: Vec<KeyRange> = prefixes.iter().cloned().map(KeyRange::prefix).collect();
    let keyspace = if index.is_some() { keys::INDEX } else { keys::REFERENCE };
    let mut found = vec![Vec::new(); owners.len()];
    let mut corrupt = false;
    working.base.scan_many(keyspace, &ranges, limit, &mut |at, key| {
        let behind = key.get(prefixes[at].len()..).unwrap_or_default();
        let id = match index {
            Some(_) => siblings::child(behind),
            None => keys::id_behind(key, prefixes[at].len()),
        };
        match id {
            Some(id) => found[at].push(id),
            None => corrupt = true,
        }
    })?;
    if corrupt { Err(EngineError::corrupt("a reference")) } else { Ok(found) }
}

/// The same of one owner, in a state of the past.
fn once(working: &Working<'_>, via: FieldRef, owner: &Id, limit: usize) -> Result<Vec<Id>, EngineError> {
    let mut ids = working.referrers(via, owner)?;
    if let Some(position) = working.schema.position_of(via) {
        let keys: Vec<Key> = ids.into_iter().map(|id| Key::new(via.ty, id)).collect();
        working.prefetch(keys.iter())?;
        let mut placed = Vec::with_capacity(keys.len());
        for key in keys {
            let place = working.after(&key)?.map_or(Value::Absent, |doc| doc.get(position.slot).clone());
            placed.push((place, key.id));
        }
        placed.sort_by(|left, right| compare(&left.0, &right.0).then_with(|| left.1.cmp(&right.1)));
        ids = placed.into_iter().map(|(_, id)| id).collect();
    }
    ids.truncate(limit);
    Ok(ids)
}
