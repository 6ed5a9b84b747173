//! The keyspaces and the keys in them. All numbers are big endian, so that keys sort as their parts do.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | meta | name | – |
//! | doc | type number, id | document |
//! | reference | field number, target id, source id | – |
//! | index | field number, value (order bytes), id | – |
//! | index | number of the index by parent, parent link's field number, parent id, value (order bytes), id | – |
//! | index | number of the index of a search, part of the text (order bytes), id | – |
//! | index | number of an index over several fields, their values (order bytes, of descending ones flipped), id (as the last) | – |
//! | index | number of the index by parent of a position, 0, part of the counts, parent id, position (order bytes), id | count of children |
//! | member | definition number, owner id, order bytes, member id | value of the member |
//! | log | revision | commit |
//! | update | 0, id of the update | its record |
//! | update | 1, id of the update, source id | – |
//! | update | 2, id of the update, level from 1 on, id of a source of that level | – |
//! | receipt | 0, key of a request | its receipt |
//! | receipt | 1, time, key of a request | – |
//! | timer | definition number, time (order bytes), subject id | – |
//! | version | number of the history of a type, id, revision | version |
//! | blob | id of the blob, number of the chunk | bytes |
//! | file | 0, field number, id, id of the blob | what is known of it ([`crate::files`]) |
//! | file | 1, id of the blob | how far an upload is |
//! | file | 2, time, id of the blob | whose it was, and its size |
//! | file | 3, id of the blob | whose it is, or was |
//! | record | kind, key | what a server keeps for itself ([`crate::records`]) |

use corollary_schema::{FieldId, TypeId};
use corollary_store::{Keyspace, KeyspaceSpec, Snapshot};
use corollary_value::order_key::{
    push_order_key, push_order_key_desc, push_order_prefix, skip_order_key, skip_order_key_desc,
};
use corollary_value::{Id, Value, codec};
use jiff::Timestamp;

use crate::error::EngineError;
use crate::files::BlobId;
use crate::nodes::NOTES;
use crate::records::Kind;
use crate::updates::UpdateId;

/// Names and numbers: the schema, the revision.
pub const META: Keyspace = Keyspace(0);
/// Documents.
pub const DOC: Keyspace = Keyspace(1);
/// From each target back to what refers to it.
pub const REFERENCE: Keyspace = Keyspace(2);
/// Secondary indexes.
pub const INDEX: Keyspace = Keyspace(3);
/// Members of groups, in order or counted.
pub const MEMBER: Keyspace = Keyspace(4);
/// The log.
pub const LOG: Keyspace = Keyspace(5);

/// Updates, and from where they have yet to go on.
pub const UPDATE: Keyspace = Keyspace(6);
/// What the clock is going to change, and when.
pub const TIMER: Keyspace = Keyspace(7);

/// What resources were, where their type has a history.
pub const VERSION: Keyspace = Keyspace(8);

/// Replies that are kept for those who repeat a request.
pub const RECEIPT: Keyspace = Keyspace(9);

/// The bytes of files, in chunks.
pub const BLOB: Keyspace = Keyspace(10);

/// Which bytes belong to which file, which do not yet, and which do not any more.
pub const FILE: Keyspace = Keyspace(11);

/// What servers keep for themselves.
pub const RECORD: Keyspace = Keyspace(12);

/// The name of [`DOC`].
pub const DOC_NAME: &str = "doc";

/// What a store must be opened with.
pub const KEYSPACES: [KeyspaceSpec; 13] = [
    KeyspaceSpec { keyspace: META, name: "meta" },
    KeyspaceSpec { keyspace: DOC, name: DOC_NAME },
    KeyspaceSpec { keyspace: REFERENCE, name: "reference" },
    KeyspaceSpec { keyspace: INDEX, name: "index_entry" },
    KeyspaceSpec { keyspace: MEMBER, name: "member" },
    KeyspaceSpec { keyspace: LOG, name: "log" },
    KeyspaceSpec { keyspace: UPDATE, name: "pending_update" },
    KeyspaceSpec { keyspace: TIMER, name: "timer" },
    KeyspaceSpec { keyspace: VERSION, name: "version" },
    KeyspaceSpec { keyspace: RECEIPT, name: "receipt" },
    KeyspaceSpec { keyspace: BLOB, name: "blob" },
    KeyspaceSpec { keyspace: FILE, name: "file" },
    KeyspaceSpec { keyspace: RECORD, name: "record" },
];

/// In [`RECORD`]: a record of a kind.
pub fn record(kind: Kind, key: &[u8]) -> Vec<u8> {
    [&[kind.0], key].concat()
}

/// In [`META`]: the last revision.
pub const REVISION: &[u8] = b"revision";

/// In [`META`] of a store that nodes share: its last commit ([`crate::nodes::Head`]).
pub const HEAD: &[u8] = b"head";

/// In [`META`]: how many files there are, and their bytes together.
pub const FILES: &[u8] = b"files";

/// How the keys of [`note`] begin.
const NOTE: &[u8] = b"note ";

/// In [`META`] of a store that nodes share: what a commit changed, by its sequence; the latest of them are kept.
pub fn note(sequence: u64) -> Vec<u8> {
    [NOTE, &(sequence % NOTES).to_be_bytes()[..]].concat()
}

/// How the keys of [`origin`] begin.
const ORIGIN: &[u8] = b"origin ";

/// In [`META`]: what is done of the transactions of a source ([`crate::origin`]).
pub fn origin(source: &[u8; 16]) -> Vec<u8> {
    [ORIGIN, source].concat()
}

/// Is an entry one by which nodes that share a store follow each other, or what they have taken from a source beside it? It
/// means nothing to another store.
pub fn is_of_nodes(keyspace: Keyspace, key: &[u8]) -> bool {
    keyspace == META && (key == HEAD || key.starts_with(NOTE) || key.starts_with(ORIGIN))
}

/// In [`META`]: a backup is being brought into the store, or was not to its end; nothing may use it then.
pub const RESTORING: &[u8] = b"restoring";

/// In [`META`]: the time of the last commit, from when the log was emptied; the log tells of later ones.
pub const TIME: &[u8] = b"time";

/// In [`META`]: the revision from which on the history of a type, by its number, is complete.
pub fn history(number: FieldId) -> Vec<u8> {
    [b"history ", &number.0.to_be_bytes()[..]].concat()
}

/// The last revision of a store; 0 before the first.
pub fn read_revision(snapshot: &dyn Snapshot) -> Result<u64, EngineError> {
    snapshot.get(META, REVISION)?.map_or(Ok(0), |bytes| revision(&bytes))
}

/// A revision as it stands in a row.
pub fn revision(bytes: &[u8]) -> Result<u64, EngineError> {
    let bytes = bytes.try_into().map_err(|_| EngineError::corrupt("a revision"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// What stands under [`TIME`]; none where nothing does.
pub fn read_time(snapshot: &dyn Snapshot) -> Result<Option<Timestamp>, EngineError> {
    let Some(bytes) = snapshot.get(META, TIME)? else { return Ok(None) };
    match codec::decode(&mut &bytes[..]) {
        Ok(Value::Datetime(time)) => Ok(Some(time)),
        _ => Err(EngineError::corrupt("the time of the last commit")),
    }
}

/// What is to stand under [`TIME`].
pub fn time(time: Timestamp) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(&Value::Datetime(time), &mut bytes);
    bytes
}

/// A count, as it stands in a row.
pub fn count(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::push_varint(count, &mut bytes);
    bytes
}

/// Reads what [`count`] wrote.
pub fn read_count(mut bytes: &[u8]) -> Result<u64, EngineError> {
    codec::read_varint(&mut bytes).map_err(|_| EngineError::corrupt("a count"))
}

/// The key of a document.
pub fn doc(ty: TypeId, id: &Id) -> Vec<u8> {
    numbered(ty.0, &[id])
}

/// The prefix of the documents of a type.
pub fn docs_of(ty: TypeId) -> Vec<u8> {
    ty.0.to_be_bytes().to_vec()
}

/// The key of a reference from a source to a target.
pub fn reference(field: FieldId, target: &Id, source: &Id) -> Vec<u8> {
    numbered(field.0, &[target, source])
}

/// The prefix of the references to a target.
pub fn references_to(field: FieldId, target: &Id) -> Vec<u8> {
    numbered(field.0, &[target])
}

/// The key of an index entry.
pub fn index(field: FieldId, value: &Value, id: &Id) -> Vec<u8> {
    let mut key = indexed(field, value);
    id.push_key(&mut key);
    key
}

/// The prefix of the index entries of a value.
pub fn indexed(field: FieldId, value: &Value) -> Vec<u8> {
    let mut key = field.0.to_be_bytes().to_vec();
    // A value that is not there is found as null is.
    push_order_key(if value.is_null() { &Value::Null } else { value }, &mut key);
    key
}

/// The prefix of the entries of a parent's children in an index by parent; `via` is their link to it.
pub fn children(index: FieldId, via: FieldId, parent: &Id) -> Vec<u8> {
    let mut key = index.0.to_be_bytes().to_vec();
    key.extend_from_slice(&via.0.to_be_bytes());
    parent.push_key(&mut key);
    key
}

/// What is in front of the parts of counts of children, beside their index by parent; no link has the number 0.
pub fn counted_children(index: FieldId) -> Vec<u8> {
    let mut key = index.0.to_be_bytes().to_vec();
    key.extend_from_slice(&[0, 0, 0, 0]);
    key
}

/// Appends the value of one of the fields of an index over several.
pub fn push_part(value: &Value, descending: bool, key: &mut Vec<u8>) {
    // A value that is not there is found as null is.
    let value = if value.is_null() { &Value::Null } else { value };
    if descending { push_order_key_desc(value, key) } else { push_order_key(value, key) }
}

/// Appends the id behind the values of an index over several fields.
pub fn push_last_id(id: &Id, descending: bool, key: &mut Vec<u8>) {
    let start = key.len();
    id.push_key(key);
    if descending {
        key[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// The id of an entry of an index over several fields, each with whether it is descending.
pub fn read_composite(key: &[u8], descending: impl IntoIterator<Item = bool>) -> Option<Id> {
    let (mut rest, mut last) = (key.get(4..)?, false);
    for descending in descending {
        rest = if descending { skip_order_key_desc(rest)? } else { skip_order_key(rest)? };
        last = descending;
    }
    match last {
        true => id_behind(&rest.iter().map(|byte| !byte).collect::<Vec<u8>>(), 0),
        false => id_behind(rest, 0),
    }
}

/// The prefix of the entries of a part of texts.
pub fn searched(index: FieldId, part: &str) -> Vec<u8> {
    let mut key = index.0.to_be_bytes().to_vec();
    push_order_key(&Value::Str(part.into()), &mut key);
    key
}

/// The prefix of the entries of all parts that begin so.
pub fn searched_from(index: FieldId, beginning: &str) -> Vec<u8> {
    let mut key = index.0.to_be_bytes().to_vec();
    push_order_prefix(beginning, &mut key);
    key
}

/// The key of a commit in the log.
pub fn log(revision: u64) -> Vec<u8> {
    revision.to_be_bytes().to_vec()
}

/// The prefix of the members of an owner's group.
pub fn members_of(definition: FieldId, owner: &Id) -> Vec<u8> {
    numbered(definition.0, &[owner])
}

/// The prefix of the records of updates.
pub const UPDATE_RECORDS: [u8; 1] = [0];

/// Before the sources of all updates.
const UPDATE_SOURCES: [u8; 1] = [1];

/// Before what the walks of all updates have come to and go on from.
const UPDATE_FRONTIERS: [u8; 1] = [2];

/// The key of an update's record.
pub fn update(id: UpdateId) -> Vec<u8> {
    let mut key = UPDATE_RECORDS.to_vec();
    key.extend_from_slice(&id.to_key());
    key
}

/// The prefix of the sources of an update.
pub fn sources_of(id: UpdateId) -> Vec<u8> {
    let mut key = UPDATE_SOURCES.to_vec();
    key.extend_from_slice(&id.to_key());
    key
}

/// The key of a source of an update.
pub fn source(id: UpdateId, source: &Id) -> Vec<u8> {
    let mut key = sources_of(id);
    source.push_key(&mut key);
    key
}

/// The prefix of the sources of an update which its walk has come to itself, of all levels.
pub fn frontier_of(id: UpdateId) -> Vec<u8> {
    let mut key = UPDATE_FRONTIERS.to_vec();
    key.extend_from_slice(&id.to_key());
    key
}

/// The prefix of the sources of an update that have so many steps of its path behind them.
pub fn waiting_of(id: UpdateId, level: usize) -> Vec<u8> {
    if level == 0 {
        return sources_of(id);
    }
    let mut key = frontier_of(id);
    let level = u32::try_from(level).expect("no path has as many steps as that");
    key.extend_from_slice(&level.to_be_bytes());
    key
}

/// The key of a source of an update that has so many steps of its path behind it.
pub fn waiting(id: UpdateId, level: usize, source: &Id) -> Vec<u8> {
    let mut key = waiting_of(id, level);
    source.push_key(&mut key);
    key
}

/// The prefix of the timers of a node.
pub fn timers_of(definition: FieldId) -> Vec<u8> {
    definition.0.to_be_bytes().to_vec()
}

/// The key of a timer.
pub fn timer(definition: FieldId, time: Timestamp, subject: &Id) -> Vec<u8> {
    let mut key = timers_of(definition);
    key.extend_from_slice(&sortable(time));
    subject.push_key(&mut key);
    key
}

/// The time and the subject of a timer.
pub fn read_timer(key: &[u8]) -> Option<(Timestamp, Id)> {
    let (time, subject) = key.get(4..)?.split_first_chunk()?;
    Some((read_sortable(time)?, id_behind(subject, 0)?))
}

/// A time as bytes whose order is that of times.
pub fn sortable(time: Timestamp) -> [u8; 16] {
    // Nanoseconds, with the least first.
    time.as_nanosecond().wrapping_sub(i128::MIN).to_be_bytes()
}

/// The time that [`sortable`] made bytes of.
pub fn read_sortable(bytes: &[u8; 16]) -> Option<Timestamp> {
    Timestamp::from_nanosecond(i128::from_be_bytes(*bytes).wrapping_add(i128::MIN)).ok()
}

/// The prefix of the receipts by time.
pub const RECEIPT_TIMES: [u8; 1] = [1];

/// The key of the receipt of a request that came with a key.
pub fn receipt(key: &[u8]) -> Vec<u8> {
    [&[0], key].concat()
}

/// The key of a request, from that of its receipt.
pub fn read_receipt(row: &[u8]) -> Option<&[u8]> {
    row.strip_prefix(&[0])
}

/// The key of a receipt by its time.
pub fn receipt_at(time: Timestamp, key: &[u8]) -> Vec<u8> {
    [&RECEIPT_TIMES[..], &sortable(time), key].concat()
}

/// The time of a receipt, and the key of its request.
pub fn read_receipt_at(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (time, key) = row.strip_prefix(&RECEIPT_TIMES)?.split_first_chunk()?;
    Some((read_sortable(time)?, key))
}

/// The prefix of all versions of the resources of a type.
pub fn versions_under(history: FieldId) -> Vec<u8> {
    history.0.to_be_bytes().to_vec()
}

/// The prefix of the versions of a resource.
pub fn versions_of(history: FieldId, id: &Id) -> Vec<u8> {
    numbered(history.0, &[id])
}

/// The key of a version, behind the prefix of its resource.
pub fn version(versions: &[u8], revision: u64) -> Vec<u8> {
    [versions, &revision.to_be_bytes()].concat()
}

/// The resource and the revision of a version.
pub fn read_version(key: &[u8]) -> Option<(Id, u64)> {
    let (id, revision) = Id::read_key(key.get(4..)?)?;
    Some((id, u64::from_be_bytes(revision.try_into().ok()?)))
}

/// The key of a chunk of a blob.
pub fn chunk(blob: BlobId, chunk: u32) -> Vec<u8> {
    [&blob.0[..], &chunk.to_be_bytes()].concat()
}

/// The blob that a chunk is of, and its number.
pub fn read_chunk(key: &[u8]) -> Option<(BlobId, u32)> {
    let (blob, chunk) = key.split_first_chunk()?;
    Some((BlobId(*blob), u32::from_be_bytes(chunk.try_into().ok()?)))
}

/// The prefix of all that is known of files.
pub const FILE_ENTRIES: [u8; 1] = [0];

/// The prefix of how far uploads are.
pub const FILE_UPLOADS: [u8; 1] = [1];

/// The prefix of what was a file once, by the time of its end.
pub const FILE_ENDS: [u8; 1] = [2];

/// The prefix of whose a blob is.
pub const FILE_OWNERS: [u8; 1] = [3];

/// The prefix of what is known of the files that a field of a resource has, or had.
pub fn files_of(field: FieldId, id: &Id) -> Vec<u8> {
    let mut key = [&FILE_ENTRIES[..], &field.0.to_be_bytes()].concat();
    id.push_key(&mut key);
    key
}

/// The key of what is known of a file.
pub fn file(field: FieldId, id: &Id, blob: BlobId) -> Vec<u8> {
    [&files_of(field, id)[..], &blob.0].concat()
}

/// The field, the resource and the blob of what is known of a file.
pub fn read_file(key: &[u8]) -> Option<(FieldId, Id, BlobId)> {
    let (field, key) = key.strip_prefix(&FILE_ENTRIES)?.split_first_chunk()?;
    let (id, blob) = Id::read_key(key)?;
    Some((FieldId(u32::from_be_bytes(*field)), id, BlobId(blob.try_into().ok()?)))
}

/// The key of how far an upload is.
pub fn upload(blob: BlobId) -> Vec<u8> {
    [&FILE_UPLOADS[..], &blob.0].concat()
}

/// The blob of an upload.
pub fn read_upload(key: &[u8]) -> Option<BlobId> {
    Some(BlobId(key.strip_prefix(&FILE_UPLOADS)?.try_into().ok()?))
}

/// The key of the end of a file.
pub fn file_end(time: Timestamp, blob: BlobId) -> Vec<u8> {
    [&FILE_ENDS[..], &sortable(time), &blob.0].concat()
}

/// The time and the blob of the end of a file.
pub fn read_file_end(key: &[u8]) -> Option<(Timestamp, BlobId)> {
    let (time, blob) = key.strip_prefix(&FILE_ENDS)?.split_first_chunk()?;
    Some((read_sortable(time)?, BlobId(blob.try_into().ok()?)))
}

/// The key of whose a blob is.
pub fn file_owner(blob: BlobId) -> Vec<u8> {
    [&FILE_OWNERS[..], &blob.0].concat()
}

fn numbered(number: u32, ids: &[&Id]) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + ids.len() * 18);
    key.extend_from_slice(&number.to_be_bytes());
    ids.iter().for_each(|id| id.push_key(&mut key));
    key
}

/// The id at the end of a key, behind a prefix of known length.
pub fn id_behind(key: &[u8], prefix: usize) -> Option<Id> {
    match Id::read_key(key.get(prefix..)?) {
        Some((id, [])) => Some(id),
        _ => None,
    }
}
