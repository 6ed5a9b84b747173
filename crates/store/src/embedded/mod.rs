//! The store on disk: one SQLite database in a data folder that one process has open at a time, with a journal before it.
//!
//! ```text
//! commit   -> turn -> journal (one write) -> tip -> (one sync) -> overlay (in memory)
//! applier (a thread)                                   overlay -> SQLite, many commits in one transaction
//! snapshot -> the overlay as it was, over a reading connection of its own
//! ```
//!
//! SQLite writes whole pages for each transaction, which is much for a small commit and little for many of them together,
//! sorted. So a commit is one record in the journal, and SQLite gets it later. When the store is closed everything is in
//! the one database file.
//!
//! Invariant: a commit has returned only when its record is synced; see [`error`](crate::error) for what happens when
//! that fails. Files on the disk are described in [`mod@format`].
//!
//! What a crash leaves is taken up when the store is opened, by SQLite and then from the journal: every commit that had
//! returned, and none in part. Read next: [`EmbeddedOptions`], [`mod@format`], then `turn`, `overlay`, `applier`,
//! `reader`, and `open`.

mod applier;
mod checkpoint;
mod error;
mod flusher;
pub mod format;
mod journal;
mod merge;
mod open;
mod options;
mod overlay;
mod reader;
mod sql;
mod steps;
#[cfg(test)]
mod tests;
mod turn;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::{Batch, Feature, Features, Precommit, Snapshot, Store, StoreError, StoreStats, Transactions};
use applier::Applier;
use error::{During, translate};
use journal::Pool;
pub use options::EmbeddedOptions;
use overlay::Overlay;
use reader::{EmbeddedSnapshot, Readers, Shows};
use sql::KeyspaceSql;
use steps::Step;
use turn::Turn;

const FEATURES: Features = Features {
    transactions: Transactions::Serial,
    available: &[Feature::Snapshot, Feature::Durable, Feature::Backup],
};

/// A [`Store`] in a data folder.
///
/// Dropping it puts everything into the database and removes the journal. The folder stays locked until the last of its
/// snapshots is dropped too.
pub struct EmbeddedStore {
    // In the order in which they are to be dropped.
    turn: Mutex<Turn>,
    applier: Applier,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    conflicts: AtomicU64,
}

/// What the store, its snapshots and its thread share.
struct Shared {
    readers: Readers,
    overlay: Overlay,
    /// One per keyspace.
    sql: Vec<KeyspaceSql>,
    options: EmbeddedOptions,
    folder: PathBuf,
    commits: AtomicU64,
    /// The failure since which no commits are accepted.
    stopped: OnceLock<String>,
    #[cfg(test)]
    steps: steps::Steps,
    /// The data file, to be synced. Closing it gives up the locks that SQLite holds on it for the whole process, so it
    /// is closed after every connection.
    data_file: File,
    /// Locked for as long as any connection may be open, so it comes last.
    _lock: File,
}

impl Shared {
    fn translate(&self, error: &rusqlite::Error, during: During) -> StoreError {
        translate(error, during, &self.folder, self.options.max_bytes)
    }

    /// Refuses all further commits because of `error`.
    fn stop(&self, error: &StoreError) {
        // Where two fail at once, the first is the one to report.
        let _ = self.stopped.set(error.to_string());
        self.overlay.give_up();
    }

    fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// An error if commits are refused.
    fn check_going(&self) -> Result<(), StoreError> {
        match self.stopped.get() {
            Some(why) => Err(StoreError::Stopped { path: self.folder.clone(), why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Lets a test look at the files in this moment.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only tests look"))]
    fn step(&self, step: Step) {
        #[cfg(test)]
        self.steps.step(step);
        #[cfg(not(test))]
        let _ = step;
    }
}

impl EmbeddedStore {
    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }
}

impl Store for EmbeddedStore {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(EmbeddedSnapshot::begin(
            &self.shared,
            self.shared.options.max_snapshots,
            Shows::Durable,
        )?))
    }

    fn tip(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(EmbeddedSnapshot::begin(&self.shared, self.shared.options.max_snapshots, Shows::Tip)?))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.precommit(batch)?.harden()
    }

    fn precommit(&self, batch: &Batch) -> Result<Precommit, StoreError> {
        batch.check(self.shared.sql.len())?;
        let mut turn = self.turn.lock();
        let result = self.settle_in_turn(&mut turn, batch);
        match &result {
            Ok(Some(_)) => {}
            Ok(None) => self.shared.count_commit(),
            Err(StoreError::Conflict { .. }) => drop(self.conflicts.fetch_add(1, Ordering::Relaxed)),
            // Before the turn passes to the next committer.
            Err(error) if error.is_fatal() => self.shared.stop(error),
            Err(_) => {}
        }
        Ok(result?.map_or_else(Precommit::hardened, Precommit::new))
    }

    fn pressure(&self) -> f32 {
        self.shared.overlay.pressure()
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        // An operator wants to see this most when no more snapshots may be opened, so the limit is not for it.
        let open_snapshots = self.shared.readers.open() as u64;
        let (data_bytes, free_bytes) =
            EmbeddedSnapshot::begin(&self.shared, usize::MAX, Shows::Durable)?.sizes()?;
        let log_file = format::log_file(&self.shared.folder);
        let log_bytes = fs::metadata(&log_file)
            .map_err(|error| StoreError::from_io(&log_file, "looking up its size", &error))?
            .len()
            + self.pool.bytes();
        let (passive, forced_checkpoints) = self.applier.counts();
        Ok(StoreStats {
            data_bytes,
            free_bytes,
            log_bytes,
            commits: self.shared.commits.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            checkpoints: passive + forced_checkpoints,
            forced_checkpoints,
            open_snapshots,
        })
    }

    fn name(&self) -> &'static str {
        "embedded"
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // What is staged may be in the journal by now, so that stays as it is.
        if self.shared.overlay.abandon() {
            let (path, why) =
                (self.shared.folder.clone(), "it was closed before a commit was durable".to_owned());
            self.shared.stop(&StoreError::Stopped { path, why });
        }
        let finished = self.applier.finish();
        if finished {
            self.turn.get_mut().journal.remove();
        }
        self.shared.readers.close_idle();
    }
}
