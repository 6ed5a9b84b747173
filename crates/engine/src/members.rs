//! The members of the collections and inverses of many resources, with one read of the store for all of them.

use corollary_schema::FieldRef;
use corollary_store::KeyRange;
use corollary_value::Id;

use crate::error::EngineError;
use crate::keys;
use crate::order::siblings;
use crate::working::Working;

/// Of each owner, in their order, the resources whose field refers to it: at most so many, in the order of the collection
/// where it has one, and of their ids otherwise. What is stored is read, and nothing of a transaction that goes on.
pub fn of_many(
    working: &Working<'_>,
    via: FieldRef,
    owners: &[&Id],
    limit: usize,
) -> Result<Vec<Vec<Id>>, EngineError> {
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
    if corrupt { Err(EngineError::corrupt("a reference")) } else { Ok(found) }
}
