//! Files: fields whose bytes are kept beside the documents, and are held to them.
//!
//! The value of such a field is an object with the members of [`corollary_schema::members::FILE`]: what is known of the
//! bytes. It is a fact like others, so expressions, filters, the log and the oracle see nothing new. The bytes are a *blob*:
//! chunks of [`CHUNK_BYTES`] under an id of their own, which nothing changes once they are there.
//!
//! 1. [`Upload`] puts chunks into the store, batch by batch, in no commit of anybody: so far they are an upload, with a
//!    lease ([`UPLOAD_LEASE`]) that each batch makes longer.
//! 2. [`crate::Edit::File`] sets the field. `maintain` turns the upload into a file in the batch of that commit, and ends the one
//!    that was there.
//! 3. What has ended, be it replaced, taken away or deleted with its resource, stays as long as the log tells of it, and goes
//!    then; so does an upload whose lease has passed (`sweep`). Of a type with a history it stays with the versions.
//!
//! ```text
//! entry  = varint bytes, 32 bytes SHA-256, 16 bytes time, [16 bytes time of the end]
//! upload = 16 bytes time, 4 bytes count of chunks
//! end    = varint bytes, 4 bytes field number, key of the id
//! owner  = 4 bytes field number, key of the id
//! ```
//!
//! What always holds, at each revision: a field that has a file has one entry without an end, of the size and the digest that
//! its value tells; all chunks of each entry are there; an entry has an owner row, and an end row if it has ended (but for those
//! that a history keeps). [`check()`] holds the store to it. Read next: `upload`, `sweep`.

mod check;
mod sweep;
mod upload;

use std::ops::ControlFlow;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use corollary_schema::members::FILE;
use corollary_schema::{FieldId, FieldRef, Slot};
use corollary_store::{Direction, KeyRange, Snapshot};
use corollary_value::codec::{push_varint, read_varint};
use corollary_value::{Id, Value};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use crate::doc::Key;
use crate::engine::Engine;
use crate::error::{EngineError, Refusal};
use crate::keys;
use crate::working::Working;
use crate::write::Write;

pub use check::{Fault, check, mend};
pub(crate) use sweep::retire;
pub use upload::{UPLOAD_LEASE, Upload};

/// Bytes of a chunk; of the last one of a blob, at most.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Stands for the bytes of a file in storage. It is given once and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId(pub [u8; 16]);

/// The SHA-256 of bytes.
pub type Digest = [u8; 32];

/// The digest of bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// A digest as the value of a file has it, and as `Repr-Digest` is written.
pub fn digest_text(digest: &Digest) -> String {
    format!("sha-256=:{}:", BASE64_STANDARD.encode(digest))
}

/// Bytes that are in the store, for a file that they are to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where they are.
    pub blob: BlobId,
    /// How many there are.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// Their media type.
    pub media_type: SmolStr,
    /// The name that came with them.
    pub name: Option<SmolStr>,
}

impl Received {
    /// What is known of them.
    pub fn value(&self) -> Value {
        let [ty, size, digest, name] = FILE.map(SmolStr::new_static);
        // What is longer than this was refused when it came.
        let bytes = i64::try_from(self.size).unwrap_or(i64::MAX);
        let mut members = vec![
            (ty, Value::Str(self.media_type.clone())),
            (size, Value::Int(bytes)),
            (digest, Value::Str(digest_text(&self.digest).into())),
        ];
        members.extend(self.name.clone().map(|given| (name, Value::Str(given))));
        Value::Object(members.into())
    }
}

/// A member of what a value tells of a file: see [`FILE`].
pub fn told<'v>(value: &'v Value, member: &str) -> Option<&'v Value> {
    match value {
        Value::Object(members) => members.iter().find(|(name, _)| name == member).map(|(_, value)| value),
        _ => None,
    }
}

/// Does a value tell of bytes with this size and digest?
fn tells(value: &Value, size: u64, digest: &Digest) -> bool {
    let same_size = matches!(told(value, "size"), Some(Value::Int(told)) if u64::try_from(*told) == Ok(size));
    same_size && matches!(told(value, "digest"), Some(Value::Str(told)) if *told == digest_text(digest))
}

/// What is known of the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where they are.
    pub blob: BlobId,
    /// How many there are.
    pub size: u64,
    /// Their digest.
    pub digest: Digest,
    /// The time of the commit that made them a file.
    pub since: Timestamp,
    /// The time of the commit since which they are none.
    pub ended: Option<Timestamp>,
}

impl Entry {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(80);
        push_varint(self.size, &mut bytes);
        bytes.extend_from_slice(&self.digest);
        bytes.extend_from_slice(&keys::sortable(self.since));
        bytes.extend(self.ended.iter().flat_map(|ended| keys::sortable(*ended)));
        bytes
    }

    fn decode(blob: BlobId, mut bytes: &[u8]) -> Option<Entry> {
        let size = read_varint(&mut bytes).ok()?;
        let (digest, bytes) = bytes.split_first_chunk()?;
        let (since, bytes) = bytes.split_first_chunk()?;
        let ended = match bytes {
            [] => None,
            bytes => Some(keys::read_sortable(bytes.try_into().ok()?)?),
        };
        Some(Entry { blob, size, digest: *digest, since: keys::read_sortable(since)?, ended })
    }

    /// The row that says of one that has ended when it goes.
    fn end_row(&self, field: FieldId, id: &Id) -> Vec<u8> {
        let mut row = Vec::with_capacity(32);
        push_varint(self.size, &mut row);
        row.extend(owner(field, id));
        row
    }

    /// How many chunks it has.
    pub fn chunks(&self) -> u32 {
        chunks(self.size)
    }
}

/// How many chunks so many bytes are.
fn chunks(size: u64) -> u32 {
    u32::try_from(size.div_ceil(CHUNK_BYTES as u64)).unwrap_or(u32::MAX)
}

/// A field of a resource, as rows have it.
fn owner(field: FieldId, id: &Id) -> Vec<u8> {
    let mut bytes = field.0.to_be_bytes().to_vec();
    id.push_key(&mut bytes);
    bytes
}

fn read_owner(bytes: &[u8]) -> Option<(FieldId, Id)> {
    let (field, id) = bytes.split_first_chunk()?;
    match Id::read_key(id)? {
        (id, []) => Some((FieldId(u32::from_be_bytes(*field)), id)),
        _ => None,
    }
}

fn corrupt() -> EngineError {
    EngineError::corrupt("what is known of a file")
}

/// The first of the files that a field of a resource has or had that is one of those wanted.
fn find(
    working: &Working<'_>,
    field: FieldId,
    id: &Id,
    wanted: &dyn Fn(&Entry) -> bool,
) -> Result<Option<Entry>, EngineError> {
    let prefix = keys::files_of(field, id);
    let (mut found, mut is_corrupt) = (None, false);
    let range = KeyRange::prefix(prefix.clone());
    // The newest is mostly the one, and ids of blobs are in the order of time.
    working.scan_rows(keys::FILE, &range, Direction::Backward, &mut |key, bytes| {
        let blob = key.get(prefix.len()..).and_then(|blob| blob.try_into().ok()).map(BlobId);
        match blob.and_then(|blob| Entry::decode(blob, bytes)) {
            Some(entry) if wanted(&entry) => {
                found = Some(entry);
                ControlFlow::Break(())
            }
            Some(_) => ControlFlow::Continue(()),
            None => {
                is_corrupt = true;
                ControlFlow::Break(())
            }
        }
    })?;
    if is_corrupt { Err(corrupt()) } else { Ok(found) }
}

/// Where the bytes are that a value of a field tells of, be it the value of now or one of the past. None where they are
/// kept no more.
pub fn bytes_of(
    working: &Working<'_>,
    key: &Key,
    slot: Slot,
    value: &Value,
) -> Result<Option<Entry>, EngineError> {
    let field = working.schema.field(FieldRef { ty: key.ty, slot }).id;
    find(working, field, &key.id, &|entry| tells(value, entry.size, &entry.digest))
}

/// Reads chunks of a blob, from one on, so many at most; fewer where it ends, or is kept no more.
pub fn read_chunks(
    snapshot: &dyn Snapshot,
    blob: BlobId,
    from: u32,
    count: u32,
) -> Result<Vec<Vec<u8>>, EngineError> {
    let rows: Vec<Vec<u8>> = (from..from.saturating_add(count)).map(|at| keys::chunk(blob, at)).collect();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let chunks = snapshot.get_many(keys::BLOB, &rows)?;
    Ok(chunks.into_iter().map_while(|chunk| chunk).collect())
}

/// How many files there are, and their bytes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Files that resources have.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Stored {
    fn encode(self) -> Vec<u8> {
        [self.files.to_be_bytes(), self.bytes.to_be_bytes()].concat()
    }

    fn decode(bytes: Option<Vec<u8>>) -> Result<Stored, EngineError> {
        let Some(bytes) = bytes else { return Ok(Stored::default()) };
        let read = || {
            let (files, bytes) = bytes.split_first_chunk()?;
            Some(Stored {
                files: u64::from_be_bytes(*files),
                bytes: u64::from_be_bytes(bytes.try_into().ok()?),
            })
        };
        read().ok_or_else(|| EngineError::corrupt("the count of files"))
    }
}

impl Engine {
    /// How many files there are, and their bytes together.
    pub fn stored_files(&self) -> Result<Stored, EngineError> {
        Stored::decode(self.store().snapshot()?.get(keys::META, keys::FILES)?)
    }
}

/// Has the bytes of files follow what the current transaction made of their fields: what was received becomes a file, what is
/// none any more ends. A file whose bytes nobody sent is refused.
pub(crate) fn maintain(working: &mut Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let schema = working.schema;
    if !schema.uses.files {
        return Ok(());
    }
    let (now, mut found) = (working.now, Vec::new());
    let (mut come, mut gone) = (Stored::default(), Stored::default());
    for key in working.touched_keys() {
        let (before, after) = working.before_and_after(&key)?;
        for (slot, field) in schema.ty(key.ty).files() {
            let held = |doc: &Option<Arc<crate::Doc>>| {
                doc.as_ref().map(|doc| doc.get(slot)).filter(|value| !value.is_null()).cloned()
            };
            let (old, new) = (held(&before), held(&after));
            if old == new {
                continue;
            }
            // One that only has another name or type has the same bytes; they are sent anew all the same.
            let ended = match old {
                Some(_) => find(working, field.id, &key.id, &|entry| entry.ended.is_none())?,
                None => None,
            };
            if let Some(entry) = ended {
                gone.files += 1;
                gone.bytes += entry.size;
                end(working, &key, field.id, entry, now);
            }
            let Some(new) = new else { continue };
            match become_file(working, &key, (slot, field.id), &new)? {
                Ok(size) => {
                    come.files += 1;
                    come.bytes += size;
                }
                Err(mut refusal) => {
                    refusal.write = writes.iter().rposition(|write| *write.key() == key);
                    refusal.path = Some(field.label().to_string());
                    found.push(refusal);
                }
            }
        }
    }
    if !found.is_empty() {
        return Err(EngineError::Refused(found));
    }
    if come == gone {
        return Ok(());
    }
    let mut stored = Stored::decode(working.row(keys::META, keys::FILES.to_vec())?)?;
    stored.files = (stored.files + come.files).saturating_sub(gone.files);
    stored.bytes = (stored.bytes + come.bytes).saturating_sub(gone.bytes);
    working.put_row(keys::META, keys::FILES.to_vec(), stored.encode());
    Ok(())
}

/// Makes a file of what was received for a field; tells its size, or why there is none.
fn become_file(
    working: &mut Working<'_>,
    key: &Key,
    (slot, field): (Slot, FieldId),
    value: &Value,
) -> Result<Result<u64, Refusal>, EngineError> {
    let received = working.received.get(&(key.clone(), slot)).filter(|it| it.value() == *value).cloned();
    let Some(received) = received else {
        let name = &working.schema.field(FieldRef { ty: key.ty, slot }).name;
        let message = format!(
            "`{name}` is a file: its bytes are sent by PUT to the path of the resource with `/{name}` behind it"
        );
        return Ok(Err(Refusal::new("file", None, message)));
    };
    let upload = keys::upload(received.blob);
    if working.row(keys::FILE, upload.clone())?.is_none() {
        let message = "what was sent of the file is not kept any more: send it again";
        return Ok(Err(Refusal::new("upload-expired", None, message)));
    }
    let Received { blob, size, digest, .. } = *received;
    let entry = Entry { blob, size, digest, since: working.now, ended: None };
    working.delete_row(keys::FILE, upload);
    working.put_row(keys::FILE, keys::file(field, &key.id, blob), entry.encode());
    working.put_row(keys::FILE, keys::file_owner(blob), owner(field, &key.id));
    Ok(Ok(size))
}

/// Ends a file; it goes when the log does not tell of it any more.
fn end(working: &mut Working<'_>, key: &Key, field: FieldId, entry: Entry, now: Timestamp) {
    let ended = Entry { ended: Some(now), ..entry };
    working.put_row(keys::FILE, keys::file(field, &key.id, ended.blob), ended.encode());
    if working.schema.ty(key.ty).history.is_none() {
        let row = ended.end_row(field, &key.id);
        working.put_row(keys::FILE, keys::file_end(now, ended.blob), row);
    }
}
