//! Checks that each file has its bytes, and that there are no bytes without a file.
//!
//! What is missing cannot be made anew, and is told. What is left over can go: an entry that no field tells of, rows that belong
//! to none, chunks that nobody owns. Everything is gone through page by page, and the bytes of a file chunk by chunk.

use std::ops::ControlFlow;

use corollary_schema::{FieldId, FieldRef, Schema};
use corollary_store::{Batch, Direction, KeyRange};
use corollary_value::{Id, Value};
use sha2::{Digest as _, Sha256};

use super::upload::Progress;
use super::{BlobId, Entry, Stored, corrupt, find, owner, read_owner, tells};
use crate::doc::Key;
use crate::engine::Executor;
use crate::error::EngineError;
use crate::keys;
use crate::side_state;
use crate::working::{Row, Working};

/// Rows that are looked at together.
const PAGE: usize = 1_000;

/// Faults that are told, at most; the rest shows when these are mended.
const MAX_FAULTS: usize = 1_000;

/// Something that is wrong with files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What, in a sentence.
    pub message: String,
    cure: Cure,
}

impl Fault {
    /// Can [`mend`] do something about it? What is lost stays lost.
    pub fn can_be_mended(&self) -> bool {
        self.cure != Cure::None
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cure {
    /// There is none: bytes are missing.
    None,
    /// The entry of a field that does not tell of it goes, and its bytes with it.
    Entry(FieldId, Id, BlobId),
    /// A row of [`keys::FILE`] goes, which belongs to nothing.
    Row(Vec<u8>),
    /// An entry that has ended gets the row that says when it goes.
    End(FieldId, Id, BlobId),
    /// Chunks from one on go, which nobody owns.
    Chunks(BlobId, u32),
    /// The files are counted anew.
    Count,
}

/// What is wrong with files and what is kept of them, with the bytes of all of them.
pub fn check(working: &Working<'_>) -> Result<Vec<Fault>, EngineError> {
    let mut found = Vec::new();
    let mut stored = Stored::default();
    fields(working, &mut stored, &mut found)?;
    entries(working, &mut found)?;
    others(working, &mut found)?;
    blobs(working, &mut found)?;
    if Stored::decode(working.row(keys::META, keys::FILES.to_vec())?)? != stored {
        let message =
            format!("there are {} files of {} bytes, and others are counted", stored.files, stored.bytes);
        found.push(Fault { message, cure: Cure::Count });
    }
    found.truncate(MAX_FAULTS);
    Ok(found)
}

/// The field with a number that holds files, where there is one.
fn field_of(schema: &Schema, field: FieldId) -> Option<FieldRef> {
    schema.types().find_map(|(ty, resource)| {
        let (slot, _) = resource.files().find(|(_, other)| other.id == field)?;
        Some(FieldRef { ty, slot })
    })
}

fn name(schema: &Schema, field: FieldId, id: &Id) -> String {
    match field_of(schema, field) {
        Some(at) => format!("{} of {} {id}", schema.field(at).name, schema.ty(at.ty).name),
        None => format!("a field that is not there, of {id}"),
    }
}

/// Has each field that tells of a file an entry that does so too?
fn fields(working: &Working<'_>, stored: &mut Stored, found: &mut Vec<Fault>) -> Result<(), EngineError> {
    let schema = working.schema;
    for (ty, resource) in schema.types() {
        if resource.files().next().is_none() {
            continue;
        }
        side_state::each(working, ty, &mut |id, doc| {
            for (slot, field) in resource.files() {
                let value = doc.get(slot);
                if value.is_null() {
                    continue;
                }
                match find(working, field.id, &id, &|entry| entry.ended.is_none())? {
                    Some(entry) if tells(value, entry.size, &entry.digest) => {
                        stored.files += 1;
                        stored.bytes += entry.size;
                    }
                    _ => {
                        let message =
                            format!("{} tells of bytes that are not there", name(schema, field.id, &id));
                        found.push(Fault { message, cure: Cure::None });
                    }
                }
            }
            Ok(found.len() < MAX_FAULTS)
        })?;
    }
    Ok(())
}

/// Hands all rows with a prefix to `f`, in order.
fn each_row(
    working: &Working<'_>,
    prefix: [u8; 1],
    f: &mut dyn FnMut(Row) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let all = KeyRange::prefix(prefix);
    let mut from = prefix.to_vec();
    loop {
        let range = KeyRange { from: std::ops::Bound::Included(from.clone()), to: all.to.clone() };
        let mut page: Vec<Row> = Vec::new();
        working.scan_rows(keys::FILE, &range, Direction::Forward, &mut |key, value| {
            page.push((key.to_vec(), value.to_vec()));
            if page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let is_last = page.len() < PAGE;
        if let Some((last, _)) = page.last() {
            from = [&last[..], &[0]].concat();
        }
        page.into_iter().try_for_each(&mut *f)?;
        if is_last {
            return Ok(());
        }
    }
}

/// The value of a field of a resource; absent where there is neither.
fn told(working: &Working<'_>, field: FieldId, id: &Id) -> Result<Value, EngineError> {
    let Some(at) = field_of(working.schema, field) else { return Ok(Value::Absent) };
    let doc = working.after(&Key::new(at.ty, id.clone()))?;
    Ok(doc.map_or(Value::Absent, |doc| doc.get(at.slot).clone()))
}

/// Does the field not tell of an entry that has no end?
fn is_left_over(working: &Working<'_>, field: FieldId, id: &Id, entry: &Entry) -> Result<bool, EngineError> {
    if entry.ended.is_some() {
        return Ok(false);
    }
    let newest = find(working, field, id, &|other| other.ended.is_none())?;
    let is_newest = newest.is_some_and(|newest| newest.blob == entry.blob);
    Ok(!is_newest || !tells(&told(working, field, id)?, entry.size, &entry.digest))
}

/// Is an entry that has ended without the row that says when it goes, and without a history that keeps it?
fn lacks_end(working: &Working<'_>, field: FieldId, entry: &Entry) -> Result<bool, EngineError> {
    let Some(ended) = entry.ended else { return Ok(false) };
    let schema = working.schema;
    let is_kept = field_of(schema, field).is_some_and(|at| schema.ty(at.ty).history.is_some());
    Ok(!is_kept && working.row(keys::FILE, keys::file_end(ended, entry.blob))?.is_none())
}

/// Does each entry have its bytes, its owner, and a field or an end?
fn entries(working: &Working<'_>, found: &mut Vec<Fault>) -> Result<(), EngineError> {
    let schema = working.schema;
    each_row(working, keys::FILE_ENTRIES, &mut |(key, value)| {
        let (field, id, blob) = keys::read_file(&key).ok_or_else(corrupt)?;
        let entry = Entry::decode(blob, &value).ok_or_else(corrupt)?;
        let mut tell = |what: &str, cure| {
            let message = format!("{} {what}", name(schema, field, &id));
            found.push(Fault { message, cure });
        };
        if is_left_over(working, field, &id, &entry)? {
            tell("has bytes that it does not tell of", Cure::Entry(field, id.clone(), blob));
            return Ok(());
        }
        if lacks_end(working, field, &entry)? {
            tell("had a file that would never go", Cure::End(field, id.clone(), blob));
        }
        if working.row(keys::FILE, keys::file_owner(blob))? != Some(owner(field, &id)) {
            tell("has bytes that do not know it", Cure::None);
        }
        if let Some(wrong) = wrong_bytes(working, &entry)? {
            tell(wrong, Cure::None);
        }
        Ok(())
    })
}

/// What is wrong with the bytes of an entry.
fn wrong_bytes(working: &Working<'_>, entry: &Entry) -> Result<Option<&'static str>, EngineError> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    for chunk in 0..entry.chunks() {
        let Some(bytes) = working.row(keys::BLOB, keys::chunk(entry.blob, chunk))? else {
            return Ok(Some("lacks a part of its bytes"));
        };
        size += bytes.len() as u64;
        hash.update(&bytes);
    }
    let digest: super::Digest = hash.finalize().into();
    Ok((size != entry.size || digest != entry.digest).then_some("has other bytes than it tells of"))
}

/// Does each row beside the entries belong to one?
fn others(working: &Working<'_>, found: &mut Vec<Fault>) -> Result<(), EngineError> {
    for prefix in [keys::FILE_ENDS, keys::FILE_OWNERS] {
        each_row(working, prefix, &mut |(key, value)| {
            if !belongs(working, &key, &value)? {
                let message = "something is kept of a file that there is not".to_string();
                found.push(Fault { message, cure: Cure::Row(key) });
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Does the row of an end, or of an owner, belong to an entry?
fn belongs(working: &Working<'_>, key: &[u8], value: &[u8]) -> Result<bool, EngineError> {
    let (blob, time, owner) = match keys::read_file_end(key) {
        Some((time, blob)) => {
            let mut bytes = value;
            corollary_value::codec::read_varint(&mut bytes).map_err(|_| corrupt())?;
            (blob, Some(time), read_owner(bytes))
        }
        None => {
            let blob = key.strip_prefix(&keys::FILE_OWNERS).and_then(|blob| blob.try_into().ok());
            (BlobId(blob.ok_or_else(corrupt)?), None, read_owner(value))
        }
    };
    let (field, id) = owner.ok_or_else(corrupt)?;
    let Some(bytes) = working.row(keys::FILE, keys::file(field, &id, blob))? else { return Ok(false) };
    let entry = Entry::decode(blob, &bytes).ok_or_else(corrupt)?;
    Ok(time.is_none_or(|time| entry.ended == Some(time)))
}

/// How many chunks of a blob belong to somebody.
fn owned_chunks(working: &Working<'_>, blob: BlobId) -> Result<u32, EngineError> {
    if let Some(bytes) = working.row(keys::FILE, keys::upload(blob))? {
        return Ok(Progress::decode(&bytes).ok_or_else(corrupt)?.chunks);
    }
    let Some(bytes) = working.row(keys::FILE, keys::file_owner(blob))? else { return Ok(0) };
    let (field, id) = read_owner(&bytes).ok_or_else(corrupt)?;
    let entry = working.row(keys::FILE, keys::file(field, &id, blob))?;
    let entry = entry.map(|bytes| Entry::decode(blob, &bytes).ok_or_else(corrupt)).transpose()?;
    Ok(entry.map_or(0, |entry| entry.chunks()))
}

/// Do all chunks belong to somebody? One is read of each blob.
fn blobs(working: &Working<'_>, found: &mut Vec<Fault>) -> Result<(), EngineError> {
    let mut range = KeyRange::all();
    loop {
        let mut first = None;
        working.scan_rows(keys::BLOB, &range, Direction::Forward, &mut |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        let Some(key) = first else { return Ok(()) };
        let (blob, chunk) = keys::read_chunk(&key).ok_or_else(corrupt)?;
        let owned = owned_chunks(working, blob)?;
        if chunk >= owned {
            let message = "there are bytes that belong to no file".to_string();
            found.push(Fault { message, cure: Cure::Chunks(blob, owned) });
            range = KeyRange::from([&blob.0[..], &[u8::MAX; 5]].concat());
        } else {
            range = KeyRange::from(keys::chunk(blob, owned));
        }
    }
}

/// Mends what can be; returns how many faults it was about. What is not wrong any more by then is left as it is.
pub fn mend(executor: &mut Executor, faults: &[Fault]) -> Result<usize, EngineError> {
    executor.contend(|executor| {
        let engine = executor.engine().clone();
        let batches = engine.alone(0, |working| {
            let mut batches = Vec::new();
            for fault in faults {
                let mut batch = Batch::new();
                cure(working, &fault.cure, &mut batch)?;
                if !batch.is_empty() {
                    batches.push(batch);
                }
            }
            Ok(batches)
        })?;
        let count = batches.len();
        for batch in batches {
            executor.commit_aside(batch)?;
        }
        Ok(count)
    })
}

/// What mends a fault, if it is one still.
fn cure(working: &Working<'_>, cure: &Cure, batch: &mut Batch) -> Result<(), EngineError> {
    let entry = |field: &FieldId, id: &Id, blob: &BlobId| -> Result<Option<Entry>, EngineError> {
        let bytes = working.row(keys::FILE, keys::file(*field, id, *blob))?;
        bytes.map(|bytes| Entry::decode(*blob, &bytes).ok_or_else(corrupt)).transpose()
    };
    match cure {
        Cure::None => {}
        Cure::Entry(field, id, blob) => {
            let Some(entry) = entry(field, id, blob)? else { return Ok(()) };
            if is_left_over(working, *field, id, &entry)? {
                batch.delete(keys::FILE, keys::file(*field, id, *blob));
                batch.delete(keys::FILE, keys::file_owner(*blob));
                batch.delete_range(keys::BLOB, KeyRange::prefix(blob.0));
            }
        }
        Cure::Row(row) => {
            let value = working.row(keys::FILE, row.clone())?;
            if let Some(value) = value
                && !belongs(working, row, &value)?
            {
                batch.delete(keys::FILE, row.clone());
            }
        }
        Cure::End(field, id, blob) => {
            let Some(entry) = entry(field, id, blob)? else { return Ok(()) };
            if let (true, Some(ended)) = (lacks_end(working, *field, &entry)?, entry.ended) {
                batch.put(keys::FILE, keys::file_end(ended, *blob), entry.end_row(*field, id));
            }
        }
        Cure::Chunks(blob, _) => {
            let owned = owned_chunks(working, *blob)?;
            let range = KeyRange {
                from: std::ops::Bound::Included(keys::chunk(*blob, owned)),
                ..KeyRange::prefix(blob.0)
            };
            if working.first_row(keys::BLOB, &range, Direction::Forward)?.is_some() {
                batch.delete_range(keys::BLOB, range);
            }
        }
        Cure::Count => {
            let (mut stored, mut found) = (Stored::default(), Vec::new());
            fields(working, &mut stored, &mut found)?;
            batch.put(keys::META, keys::FILES, stored.encode());
        }
    }
    Ok(())
}
