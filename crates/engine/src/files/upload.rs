//! The way of bytes into the store, before they are anybody's file.
//!
//! Chunks go in batches of their own, as they come, so that an upload takes the memory of one batch, however long it is. With
//! each goes the row that says how many there are and when the last of them came: whoever finds it older than
//! [`UPLOAD_LEASE`] takes the upload for one that nobody goes on with. Invariant: a batch requires that row as the batch
//! before it left it, so nothing is put behind what was swept.

use std::sync::Arc;

use corollary_store::{Batch, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use smol_str::SmolStr;

use super::{BlobId, CHUNK_BYTES, Received};
use crate::error::EngineError;
use crate::keys;

/// How long an upload may rest, and how long what it sent waits for its commit. After that it is swept.
pub const UPLOAD_LEASE: SignedDuration = SignedDuration::from_hours(1);

/// Chunks that are put into the store together, at most: what an upload has in memory.
pub const BATCH_CHUNKS: usize = 4;

/// How far an upload is, as its row has it.
pub(super) struct Progress {
    pub(super) time: Timestamp,
    pub(super) chunks: u32,
}

impl Progress {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&keys::sortable(self.time)[..], &self.chunks.to_be_bytes()].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Progress> {
        let (time, chunks) = bytes.split_first_chunk()?;
        let chunks = u32::from_be_bytes(chunks.try_into().ok()?);
        Some(Progress { time: keys::read_sortable(time)?, chunks })
    }
}

/// Bytes on their way into the store.
pub struct Upload {
    store: Arc<dyn Store>,
    blob: BlobId,
    hash: Sha256,
    size: u64,
    /// Chunks in the store.
    chunks: u32,
    /// What is not there yet; less than a batch between two calls.
    waiting: Vec<u8>,
    /// The row that says how far it is; none before the first batch.
    row: Option<Vec<u8>>,
}

impl Upload {
    /// Bytes that it has in memory at most.
    pub const BUFFER_BYTES: usize = BATCH_CHUNKS * CHUNK_BYTES;

    /// Nothing so far; `blob` is an id that was never given before, and later than all that were.
    pub fn new(store: Arc<dyn Store>, blob: BlobId) -> Upload {
        Upload { store, blob, hash: Sha256::new(), size: 0, chunks: 0, waiting: Vec::new(), row: None }
    }

    /// Bytes that came so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Is there nothing that has to be swept?
    pub fn is_unstored(&self) -> bool {
        self.row.is_none()
    }

    /// Takes more bytes; durable is what is a whole batch.
    pub fn push(&mut self, mut bytes: &[u8], now: Timestamp) -> Result<(), EngineError> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = Self::BUFFER_BYTES - self.waiting.len();
            let (taken, left) = bytes.split_at(room.min(bytes.len()));
            self.waiting.extend_from_slice(taken);
            bytes = left;
            if self.waiting.len() == Self::BUFFER_BYTES {
                self.store(now)?;
            }
        }
        Ok(())
    }

    /// All bytes have come; when this returns they are durable, and wait for a commit that makes a file of them.
    pub fn finish(
        &mut self,
        media_type: SmolStr,
        name: Option<SmolStr>,
        now: Timestamp,
    ) -> Result<Received, EngineError> {
        if !self.waiting.is_empty() || self.row.is_none() {
            self.store(now)?;
        }
        let digest = std::mem::take(&mut self.hash).finalize().into();
        Ok(Received { blob: self.blob, size: self.size, digest, media_type, name })
    }

    /// Takes out of the store what came of it. Not when a commit may be on its way that makes a file of it.
    pub fn discard(&mut self) -> Result<(), EngineError> {
        let Some(row) = self.row.take() else { return Ok(()) };
        let mut batch = Batch::new();
        batch.require(keys::FILE, keys::upload(self.blob), Some(row));
        batch.delete(keys::FILE, keys::upload(self.blob));
        (0..self.chunks).for_each(|at| batch.delete(keys::BLOB, keys::chunk(self.blob, at)));
        match self.store.commit(&batch) {
            // It was swept already.
            Err(StoreError::Conflict { .. }) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// Puts what waits into the store.
    fn store(&mut self, now: Timestamp) -> Result<(), EngineError> {
        let mut batch = Batch::new();
        let mut chunks = self.chunks;
        for chunk in self.waiting.chunks(CHUNK_BYTES) {
            batch.put(keys::BLOB, keys::chunk(self.blob, chunks), chunk);
            chunks += 1;
        }
        let at = keys::upload(self.blob);
        let row = Progress { time: now, chunks }.encode();
        batch.require(keys::FILE, at.clone(), self.row.clone());
        batch.put(keys::FILE, at, row.clone());
        match self.store.commit(&batch) {
            Err(StoreError::Conflict { .. }) => {
                let message = "the upload rested for too long, and what was sent is not kept any more";
                return Err(EngineError::refused("upload-expired", None, message));
            }
            outcome => outcome?,
        }
        self.waiting.clear();
        (self.chunks, self.row) = (chunks, Some(row));
        Ok(())
    }
}
