//! The journal: where commits become durable before SQLite has them.
//!
//! ```text
//! Draft (one commit) -> Journal::write -> Written::sync -> the current segment -> when full: Pool -> when applied: used again
//! ```
//!
//! Invariant: at most one record, the last, is not durable; it is written again from its beginning after an error that
//! is not fatal. The format is described in [`record`], the reading in [`recover`]; read next: [`segment`].

pub(super) mod record;
pub(super) mod recover;
pub(super) mod segment;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use record::Draft;
pub(super) use segment::Pool;
use segment::Segment;

use crate::StoreError;

/// The end of the journal, where records are appended.
pub(super) struct Journal {
    pool: Arc<Pool>,
    current: Segment,
    /// Where in the current segment the next record begins.
    at: u64,
    /// The last sequence number in the current segment.
    last: u64,
    /// That of the current segment.
    epoch: u64,
    seed: u64,
}

impl Journal {
    /// Makes the first segment of a run. Segments are numbered from `first_number` on.
    pub(super) fn create(
        folder: &Path,
        segment_bytes: u64,
        first_number: u64,
        run: u32,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let pool = Arc::new(Pool::new(folder, segment_bytes, first_number));
        let current = pool.take(0)?;
        Ok(Self { pool, current, at: 0, last: 0, epoch: u64::from(run) << 32, seed })
    }

    /// The segments that are not being written to.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Writes a record behind the last one, which has to be durable. Unless the error is fatal, it is as if it had not been.
    pub(super) fn write(&mut self, draft: &mut Draft, sequence: u64) -> Result<Written, StoreError> {
        if self.at + draft.journal_bytes() > self.current.bytes {
            let next = self.pool.take(draft.journal_bytes())?;
            let full = std::mem::replace(&mut self.current, next);
            if self.at == 0 {
                self.pool.put_spare(full);
            } else {
                self.pool.put_full(full, self.last);
            }
            self.at = 0;
            self.epoch += 1;
        }
        let bytes = draft.seal(self.epoch, sequence, self.seed);
        self.current.write(self.at, bytes).map_err(|error| {
            match StoreError::from_io(&self.current.path, "writing to the journal", &error) {
                full @ StoreError::Full { .. } => full,
                _ => broken(&self.current.path, "writing to the journal", &error),
            }
        })?;
        self.at += draft.journal_bytes();
        self.last = sequence;
        let wants_spare = self.at > self.current.bytes / 2 && self.pool.want_spare();
        Ok(Written { file: self.current.file.clone(), path: self.current.path.clone(), wants_spare })
    }

    /// Removes all files. Every record must be durable in the data.
    pub(super) fn remove(&self) {
        self.pool.remove(&self.current);
        self.pool.remove_all();
    }

    /// Writes the front of a record where the next one belongs.
    #[cfg(test)]
    pub(super) fn write_front(&mut self, draft: &mut Draft, sequence: u64, bytes: usize) {
        let record = draft.seal(self.epoch, sequence, self.seed);
        self.current.write(self.at, &record[..bytes]).unwrap();
    }

    /// Puts another file in the place of the current segment's, and gives that one back.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.current.file, file)
    }
}

/// A record that is written, and not known to be durable. It is synced by whoever has this, whatever the journal goes on to do.
pub(super) struct Written {
    file: Arc<File>,
    path: PathBuf,
    /// Whether a spare segment is wanted now, which was not before.
    pub(super) wants_spare: bool,
}

impl Written {
    /// Makes it durable. Every error is fatal.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| broken(&self.path, "making the journal durable", &error))
    }
}

fn broken(path: &Path, doing: &str, error: &std::io::Error) -> StoreError {
    StoreError::Failed { path: path.to_owned(), message: format!("{doing}: {error}"), fatal: true }
}
