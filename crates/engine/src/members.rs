//! The members of the collections and inverses of many resources, with one read of the store for all of them where they are
//! those of now.

use corollary_schema::FieldRef;
use corollary_store::KeyRange;
use corollary_value::{Id, Value, compare};

use crate::doc::Key;
use crate::error::EngineError;
use crate::keys;
use crate::order::siblings;
use crate::working::Working;

/// Of each owner, in their order, the resources whose field refers to it: at most so many, in the order of the collection
/// where it has one, and of their ids otherwise. What is stored is read, and nothing of a transaction that goes on; of a state
/// of the past what was so then.
pub fn of_many(
    working: &Working<'_>,
    via: FieldRef,
    owners: &[&Id],
    limit: usize,
) -> Result<Vec<Vec<Id>>, EngineError> {
    if working.is_past() {
        return owners.iter().map(|owner| then(working, via, owner, limit)).collect();
    }
    let schema = working.schema;
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
    if corrupt {
        return Err(EngineError::corrupt("a reference"));
    }
    found.iter_mut().try_for_each(|ids| working.retain_shown(via.ty, ids))?;
    Ok(found)
}

/// Those of one owner in a state of the past, which has references of its own, and places in the documents alone.
fn then(working: &Working<'_>, via: FieldRef, owner: &Id, limit: usize) -> Result<Vec<Id>, EngineError> {
    let Some(position) = working.schema.position_of(via) else {
        return working.referrers_page(via, owner, None, limit);
    };
    let mut found = Vec::new();
    for id in working.referrers_page(via, owner, None, usize::MAX)? {
        let doc = working.after(&Key::new(via.ty, id.clone()))?;
        found.push((doc.map_or(Value::Absent, |doc| doc.get(position.slot).clone()), id));
    }
    found.sort_by(|(left, left_id), (right, right_id)| compare(left, right).then(left_id.cmp(right_id)));
    found.truncate(limit);
    Ok(found.into_iter().map(|(_, id)| id).collect())
}
