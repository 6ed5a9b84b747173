//! The thread that puts what is committed into SQLite, and gives the journal free for it.
//!
//! ```text
//! Overlay::next -> one transaction with a whole layer -> checkpoint -> sync of log and data file -> Pool::release
//! ```
//!
//! Transactions are not synced one by one. A segment of the journal is given free for the commits up to `S` when SQLite
//! has them, and the log and the data file have been synced after that: then they are in one of the two, whatever has
//! been carried over from one to the other meanwhile.
//!
//! Invariant: SQLite has exactly what it had after the commit `state.applied`, nothing less and nothing more; so the
//! database is whole by itself, only older. A failure that leaves open what is on disk stops the store. Another one (a
//! full device, mostly) is tried again until it succeeds; what cannot be applied stays in the overlay and the journal,
//! and when these are full, commits are refused with that failure. Read next: [`checkpoint`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::checkpoint::{self, LogSize, Mode};
use super::error::During;
use super::flusher::{Files, Flusher, Target};
use super::journal::Pool;
use super::overlay::{Frozen, Work};
use super::steps::Step;
use super::writer::{Failure, Writer};
use super::{Shared, format};
use crate::StoreError;
use crate::batch::Settled;

/// Between two tries to apply a layer.
const PAUSE: Duration = Duration::from_millis(250);

/// Puts layers into SQLite, on a thread of its own.
pub(super) struct Applier {
    shared: Arc<Shared>,
    database: Arc<Mutex<Database>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// Checkpoints made.
#[derive(Default)]
pub(super) struct Counts {
    passive: AtomicU64,
    forced: AtomicU64,
}

/// The database with all that is needed to write to it.
pub(super) struct Database {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    writer: Writer,
    log: LogSize,
    files: Arc<Files>,
    flusher: Flusher,
    counts: Arc<Counts>,
}

impl Database {
    pub(super) fn new(
        shared: &Arc<Shared>,
        pool: &Arc<Pool>,
        writer: Writer,
        log: LogSize,
    ) -> Result<Self, StoreError> {
        let files = Arc::new(Files::open(shared)?);
        let flusher = Flusher::start(Arc::clone(&files))?;
        let (shared, pool) = (Arc::clone(shared), Arc::clone(pool));
        Ok(Self { shared, pool, writer, log, files, flusher, counts: Arc::default() })
    }

    /// One transaction, with a checkpoint before it if that is due. [`Self::tidy`] is to follow.
    fn write(
        &mut self,
        transaction: impl FnOnce(&Writer) -> Result<Option<u64>, Failure>,
    ) -> Result<(), StoreError> {
        self.shared.check_going()?;
        if self.log.is_over_limit() {
            self.checkpoint(Mode::Restart)?;
            self.log.forced();
            self.counts.forced.fetch_add(1, Ordering::Relaxed);
        }
        let pages = self
            .flusher
            .during(Target::Log, || transaction(&self.writer))
            .map_err(|Failure(error, during)| self.shared.translate(&error, during))?;
        if let Some(pages) = pages {
            self.log.grown_to(pages);
        }
        Ok(())
    }

    /// Puts a layer into the database.
    fn apply(&mut self, layer: &Frozen) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        shared.step(Step::BeforeApply);
        self.write(|writer| writer.apply(&shared.sql, layer))?;
        shared.step(Step::Applied);
        Ok(())
    }

    /// What is to be done after transactions, when nobody waits for them any more.
    fn tidy(&mut self) -> Result<(), StoreError> {
        self.shared.check_going()?;
        if self.log.is_due() {
            self.flusher.during(Target::Data, || self.checkpoint(Mode::Passive))?;
            // SQLite leaves that out when a snapshot holds a part of the log back, and the forced checkpoint would have to
            // wait for all of it at once.
            self.files.sync(Target::Data)?;
            self.counts.passive.fetch_add(1, Ordering::Relaxed);
        }
        self.pool.prepare()
    }

    /// Gives the segments free that are not needed any more, since the database has everything up to `applied`.
    fn release(&self, applied: u64) -> Result<(), StoreError> {
        if !self.pool.has_applied(applied) {
            return Ok(());
        }
        self.files.sync(Target::Log)?;
        self.files.sync(Target::Data)?;
        self.shared.step(Step::Durable);
        self.pool.release(applied);
        self.shared.step(Step::Released);
        Ok(())
    }

    /// The connection that writes.
    #[cfg(test)]
    pub(super) fn connection(&self) -> &rusqlite::Connection {
        self.writer.connection()
    }

    fn checkpoint(&self, mode: Mode) -> Result<(), StoreError> {
        checkpoint::checkpoint(self.writer.connection(), mode, self.shared.options.wal_limit_wait)
            .map_err(|error| self.shared.translate(&error, During::Checkpoint))
    }

    /// Pages by which the data file may still grow: none, where that cannot be found out, so that the next commit has
    /// SQLite see whether it fits.
    fn free_pages(&self) -> u64 {
        self.writer.free_pages().unwrap_or(0)
    }
}

impl Applier {
    /// Starts the thread.
    pub(super) fn start(database: Database) -> Result<Self, StoreError> {
        let (shared, counts) = (Arc::clone(&database.shared), Arc::clone(&database.counts));
        let database = Arc::new(Mutex::new(database));
        let thread = std::thread::Builder::new()
            .name("applier".to_owned())
            .spawn({
                let (shared, database) = (Arc::clone(&shared), Arc::clone(&database));
                move || run(&shared, &database)
            })
            .map_err(|error| StoreError::from_io(&shared.folder, "starting the applier thread", &error))?;
        Ok(Self { shared, database, counts, thread: Some(thread) })
    }

    /// Puts a batch into the database at once, as the commit `sequence`, durably and within the limit of the store. To
    /// be called by the committer whose turn it is, while the overlay is empty.
    pub(super) fn apply_directly(&self, settled: &Settled<'_>, sequence: u64) -> Result<(), StoreError> {
        let mut database = self.database.lock();
        let shared = &self.shared;
        database.write(|writer| writer.apply_directly(&shared.sql, settled, sequence))?;
        shared.overlay.set_free_pages(database.free_pages());
        shared.overlay.ask_for_upkeep();
        Ok(())
    }

    /// The checkpoints made in passing, and the forced ones.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.counts.passive.load(Ordering::Relaxed), self.counts.forced.load(Ordering::Relaxed))
    }

    /// Whose lock keeps the database from being written to.
    #[cfg(test)]
    pub(super) fn database(&self) -> &Arc<Mutex<Database>> {
        &self.database
    }

    /// Ends the thread and puts everything into the database. Returns whether all of it is there, durably.
    pub(super) fn finish(&mut self) -> bool {
        self.shared.overlay.close();
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a bug, and then there is nothing better to do than to go on closing.
            let _ = thread.join();
        }
        let mut database = self.database.lock();
        let finish = |database: &mut Database| -> Result<(), StoreError> {
            for layer in self.shared.overlay.rest() {
                database.apply(&layer)?;
            }
            format::end_run(database.writer.connection())
                .map_err(|error| self.shared.translate(&error, During::Commit))
        };
        // Whatever remains is in the journal and in the log, and is found there by the next start.
        let finished = self.shared.check_going().and_then(|()| finish(&mut database)).is_ok();
        if finished {
            let _ = database.checkpoint(Mode::Truncate);
        }
        finished
    }
}

fn run(shared: &Shared, database: &Mutex<Database>) {
    loop {
        let done = match shared.overlay.next() {
            Work::Close => return,
            Work::Upkeep => database.lock().tidy(),
            Work::Apply(layer) => apply(shared, database, &layer),
        };
        match done {
            Err(error) if error.is_fatal() => shared.stop(&error),
            // A segment that could not be made is made by the commit that needs it, and a checkpoint that lacked space is
            // made again before the next layer; they report it, if it is still so.
            Ok(()) | Err(_) => {}
        }
        if shared.stopped.get().is_some() {
            return;
        }
    }
}

/// Applies a layer, however often it takes.
fn apply(shared: &Shared, database: &Mutex<Database>, layer: &Frozen) -> Result<(), StoreError> {
    loop {
        let mut database = database.lock();
        match database.apply(layer) {
            Ok(()) => {
                shared.overlay.applied(database.free_pages());
                let released = database.tidy();
                return database.release(layer.through).and(released);
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                drop(database);
                if !shared.overlay.failed(error, PAUSE) {
                    return Ok(());
                }
            }
        }
    }
}
