//! The store on disk: one SQLite database in a data folder that one process has open at a time.
//!
//! ```text
//! commit   -> Writer (one connection, one at a time) -> log, synced
//! snapshot -> Readers (a connection each)            -> log and data file, as of when it began
//! Checkpointer (a thread and a connection)           -> from the log to the data file
//! ```
//!
//! Invariant: a commit has returned only when its log is synced; see [`error`](crate::error) for what happens when
//! that fails. Files on the disk are described in [`mod@format`].
//!
//! What a crash leaves is taken up by SQLite when the store is opened: every commit that had returned, and none in
//! part. Read next: [`EmbeddedOptions`], [`mod@format`], then `writer`, `reader` and `checkpoint`.

mod checkpoint;
mod error;
pub mod format;
mod options;
mod reader;
mod sql;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::{
    Batch, Feature, Features, KeyspaceSpec, Snapshot, Store, StoreError, StoreStats, Transactions,
    check_declaration,
};
use checkpoint::Checkpointer;
use error::{During, translate};
pub use options::EmbeddedOptions;
use reader::{EmbeddedSnapshot, Readers};
use sql::KeyspaceSql;
use writer::{Failure, Writer};

const FEATURES: Features =
    Features { transactions: Transactions::Serial, available: &[Feature::Snapshot, Feature::Durable] };

/// A [`Store`] in a data folder.
///
/// Dropping it ends the background work and carries the log over. The folder stays locked until the last of its
/// snapshots is dropped too.
pub struct EmbeddedStore {
    // In the order in which they are to be dropped.
    writing: Mutex<Writing>,
    checkpointer: Checkpointer,
    shared: Arc<Shared>,
    commits: AtomicU64,
    conflicts: AtomicU64,
}

/// What committers take turns with.
struct Writing {
    writer: Writer,
    log: LogSize,
}

/// What the store, its snapshots and its thread share.
struct Shared {
    readers: Readers,
    /// One per keyspace.
    sql: Vec<KeyspaceSql>,
    options: EmbeddedOptions,
    folder: PathBuf,
    /// The failure since which no commits are accepted.
    stopped: OnceLock<String>,
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
    }
}

/// How large the log is, and at which sizes something is to be done about it. In pages.
struct LogSize {
    pages: u64,
    /// Where the thread is woken next.
    wake_at: u64,
    /// Where a commit waits for a forced checkpoint.
    force_at: u64,
    checkpoint_pages: u64,
    limit_pages: u64,
}

impl LogSize {
    fn new(options: &EmbeddedOptions, page_bytes: u64) -> Self {
        let checkpoint_pages = (options.checkpoint_bytes / page_bytes).max(1);
        let limit_pages = (options.wal_limit_bytes / page_bytes).max(1);
        Self { pages: 0, wake_at: checkpoint_pages, force_at: limit_pages, checkpoint_pages, limit_pages }
    }

    /// Notes the size after a commit. Returns whether to wake the thread.
    fn grown_to(&mut self, pages: u64) -> bool {
        if pages < self.pages {
            // It started anew.
            self.wake_at = self.checkpoint_pages;
            self.force_at = self.limit_pages;
        }
        self.pages = pages;
        let wake = pages >= self.wake_at;
        if wake {
            self.wake_at = pages + self.checkpoint_pages;
        }
        wake
    }

    /// Notes that a forced checkpoint has been tried. If it succeeded the next commit starts the log anew; if not,
    /// the next try comes when the log has grown some more, so that not every commit waits for the same snapshot.
    fn forced(&mut self) {
        self.force_at = self.pages + (self.limit_pages / 4).max(1);
    }
}

impl EmbeddedStore {
    /// Opens the store in `folder`, and creates it if there is none. Tables of declared keyspaces that are missing are
    /// created too.
    pub fn open(folder: &Path, specs: &[KeyspaceSpec], options: EmbeddedOptions) -> Result<Self, StoreError> {
        check_declaration(specs)?;
        let lock = format::lock_folder(folder)?;
        let connection = format::open_writer(folder, specs, &options)?;
        let path = format::data_file(folder);
        let data_file = File::options()
            .write(true)
            .open(&path)
            .map_err(|error| StoreError::from_io(&path, "opening the data file", &error))?;
        let shared = Arc::new(Shared {
            readers: Readers::default(),
            sql: specs.iter().map(KeyspaceSql::new).collect(),
            options,
            folder: folder.to_owned(),
            stopped: OnceLock::new(),
            data_file,
            _lock: lock,
        });
        let page_bytes = format::pragma(&connection, "page_size")
            .map_err(|error| shared.translate(&error, During::Open))?
            .max(1);
        let log = LogSize::new(&shared.options, page_bytes);
        let writing = Mutex::new(Writing { writer: Writer::new(connection, specs.len()), log });
        let checkpointer = Checkpointer::start(Arc::clone(&shared))?;
        Ok(Self { writing, checkpointer, shared, commits: AtomicU64::new(0), conflicts: AtomicU64::new(0) })
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    fn commit_in_turn(&self, writing: &mut Writing, batch: &Batch) -> Result<(), StoreError> {
        if let Some(why) = self.shared.stopped.get() {
            return Err(StoreError::Stopped { path: self.shared.folder.clone(), why: why.clone() });
        }
        if writing.log.pages >= writing.log.force_at {
            self.checkpointer.force()?;
            writing.log.forced();
        }
        let settled = batch.settle();
        let pages =
            writing.writer.commit(&self.shared.sql, batch, &settled).map_err(|failure| match failure {
                Failure::Conflict(conflict) => conflict,
                Failure::Sqlite(error, during) => self.shared.translate(&error, during),
            })?;
        if pages.is_some_and(|pages| writing.log.grown_to(pages)) {
            self.checkpointer.wake();
        }
        Ok(())
    }
}

impl Store for EmbeddedStore {
    fn features(&self) -> &Features {
        &FEATURES
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(EmbeddedSnapshot::begin(&self.shared, self.shared.options.max_snapshots)?))
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check(self.shared.sql.len())?;
        let mut writing = self.writing.lock();
        let result = self.commit_in_turn(&mut writing, batch);
        match &result {
            Ok(()) => drop(self.commits.fetch_add(1, Ordering::Relaxed)),
            Err(StoreError::Conflict { .. }) => drop(self.conflicts.fetch_add(1, Ordering::Relaxed)),
            // Before the turn passes to the next committer.
            Err(error) if error.is_fatal() => self.shared.stop(error),
            Err(_) => {}
        }
        result
    }

    fn stats(&self) -> Result<StoreStats, StoreError> {
        // An operator wants to see this most when no more snapshots may be opened, so the limit is not for it.
        let open_snapshots = self.shared.readers.open() as u64;
        let (data_bytes, free_bytes) = EmbeddedSnapshot::begin(&self.shared, usize::MAX)?.sizes()?;
        let log_file = format::log_file(&self.shared.folder);
        let log_bytes = fs::metadata(&log_file)
            .map_err(|error| StoreError::from_io(&log_file, "looking up its size", &error))?
            .len();
        let (passive, forced_checkpoints) = self.checkpointer.counts();
        Ok(StoreStats {
            data_bytes,
            free_bytes,
            log_bytes,
            commits: self.commits.load(Ordering::Relaxed),
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
        self.shared.readers.close_idle();
    }
}
