//! Takes out of the store what is nobody's file any more, and what was going to be one and never became it.
//!
//! It runs where commits do, and over a shared store behind the head like them: so no commit makes a file of an upload
//! that is swept at the same time. A sweep that is cut short leaves the row that says what is to go, which goes last.

use std::ops::ControlFlow;

use corollary_schema::Schema;
use corollary_store::{Batch, Direction, KeyRange, Snapshot};
use corollary_value::codec::read_varint;
use jiff::Timestamp;

use super::upload::Progress;
use super::{BlobId, Entry, UPLOAD_LEASE, chunks, corrupt, read_owner};
use crate::engine::Executor;
use crate::error::EngineError;
use crate::keys;

/// Chunks that one batch deletes, at most, so that nobody waits long.
const SWEPT_CHUNKS: u32 = 1_000;

/// Something that is to go.
struct Doomed {
    blob: BlobId,
    chunks: u32,
    /// The row that says so, as it is.
    row: (Vec<u8>, Vec<u8>),
    /// Other rows about it.
    others: Vec<Vec<u8>>,
}

/// Lets the files go that a history has kept of fields that another schema does not have any more.
pub(crate) fn retire(
    snapshot: &dyn Snapshot,
    old: &Schema,
    new: &Schema,
    batch: &mut Batch,
) -> Result<(), EngineError> {
    let is_there = |id| new.types().any(|(_, ty)| ty.files().any(|(_, field)| field.id == id));
    let kept = old.types().filter(|(_, ty)| ty.history.is_some());
    for (_, field) in kept.flat_map(|(_, ty)| ty.files()).filter(|(_, field)| !is_there(field.id)) {
        let mut is_corrupt = false;
        let range = KeyRange::prefix([&keys::FILE_ENTRIES[..], &field.id.0.to_be_bytes()].concat());
        snapshot.scan(keys::FILE, &range, Direction::Forward, usize::MAX, &mut |key, bytes| {
            let read = keys::read_file(key);
            match read.and_then(|(_, id, blob)| Some((id, Entry::decode(blob, bytes)?))) {
                Some((id, entry)) => {
                    if let Some(ended) = entry.ended {
                        let row = entry.end_row(field.id, &id);
                        batch.put(keys::FILE, keys::file_end(ended, entry.blob), row);
                    }
                    ControlFlow::Continue(())
                }
                None => {
                    is_corrupt = true;
                    ControlFlow::Break(())
                }
            }
        })?;
        if is_corrupt {
            return Err(corrupt());
        }
    }
    Ok(())
}

/// What is to be done about a row.
enum Look {
    /// It goes.
    Take(Doomed),
    /// It stays.
    Pass,
    /// It stays, and all behind it.
    End,
}

impl Executor {
    /// Drops files that ended before a time, and uploads that nobody has gone on with for [`UPLOAD_LEASE`], at most so many of
    /// each; returns how many it dropped.
    pub fn sweep_files(
        &mut self,
        now: Timestamp,
        before: Timestamp,
        limit: usize,
    ) -> Result<usize, EngineError> {
        // Downloads that have begun read on, so what has just ended stays for a while at any rate.
        let rested = now.checked_sub(UPLOAD_LEASE).unwrap_or(Timestamp::MIN);
        let ended = self.contend(|executor| executor.sweep_ended(before.min(rested), limit))?;
        Ok(ended + self.contend(|executor| executor.sweep_uploads(rested, limit))?)
    }

    /// Drops all uploads, for a store that nobody else has open, before anybody uploads to it.
    pub fn drop_uploads(&mut self) -> Result<(), EngineError> {
        if self.engine().is_shared() {
            return Ok(());
        }
        while self.sweep_uploads(Timestamp::MAX, usize::MAX)? > 0 {}
        Ok(())
    }

    fn sweep_ended(&mut self, before: Timestamp, limit: usize) -> Result<usize, EngineError> {
        let doomed = self.doomed(keys::FILE_ENDS, limit, |row, mut bytes| {
            let value = bytes.to_vec();
            let (time, blob) = keys::read_file_end(row)?;
            if time >= before {
                return Some(Look::End);
            }
            let size = read_varint(&mut bytes).ok()?;
            let (field, id) = read_owner(bytes)?;
            let others = vec![keys::file(field, &id, blob), keys::file_owner(blob)];
            Some(Look::Take(Doomed { blob, chunks: chunks(size), row: (row.to_vec(), value), others }))
        })?;
        self.sweep(doomed)
    }

    fn sweep_uploads(&mut self, rested: Timestamp, limit: usize) -> Result<usize, EngineError> {
        let doomed = self.doomed(keys::FILE_UPLOADS, limit, |row, bytes| {
            let (blob, progress) = (keys::read_upload(row)?, Progress::decode(bytes)?);
            if progress.time > rested {
                return Some(Look::Pass);
            }
            let row = (row.to_vec(), bytes.to_vec());
            Some(Look::Take(Doomed { blob, chunks: progress.chunks, row, others: Vec::new() }))
        })?;
        self.sweep(doomed)
    }

    /// The first so many rows that are to go; a row that `look` cannot read is damage.
    fn doomed(
        &self,
        prefix: [u8; 1],
        limit: usize,
        look: impl Fn(&[u8], &[u8]) -> Option<Look>,
    ) -> Result<Vec<Doomed>, EngineError> {
        let snapshot = self.engine().store().snapshot()?;
        let (mut doomed, mut is_corrupt) = (Vec::new(), false);
        let range = KeyRange::prefix(prefix);
        snapshot.scan(keys::FILE, &range, Direction::Forward, usize::MAX, &mut |row, bytes| {
            match look(row, bytes) {
                Some(Look::Take(one)) if doomed.len() < limit => doomed.push(one),
                Some(Look::Pass) => {}
                Some(Look::Take(_) | Look::End) => return ControlFlow::Break(()),
                None => {
                    is_corrupt = true;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        if is_corrupt { Err(corrupt()) } else { Ok(doomed) }
    }

    fn sweep(&mut self, doomed: Vec<Doomed>) -> Result<usize, EngineError> {
        let (mut batch, mut waiting) = (Batch::new(), 0);
        let count = doomed.len();
        for Doomed { blob, chunks, row: (row, value), others } in doomed {
            // An upload that goes on is not the one that was looked at.
            batch.require(keys::FILE, row.clone(), Some(value.clone()));
            for chunk in 0..chunks {
                batch.delete(keys::BLOB, keys::chunk(blob, chunk));
                waiting += 1;
                if waiting == SWEPT_CHUNKS {
                    self.commit_aside(std::mem::take(&mut batch))?;
                    batch.require(keys::FILE, row.clone(), Some(value.clone()));
                    waiting = 0;
                }
            }
            others.into_iter().for_each(|other| batch.delete(keys::FILE, other));
            batch.delete(keys::FILE, row);
        }
        if !batch.is_empty() {
            self.commit_aside(batch)?;
        }
        Ok(count)
    }
}
