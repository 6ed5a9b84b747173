//! Keeping the write-ahead log short: carrying it over into the data file.
//!
//! A thread of its own does that in the background, each time that so much log has been written (*passive*
//! checkpoints: they wait for nobody and nobody waits for them). While commits never pause, such a checkpoint never
//! catches up entirely, and only when it has does the log start anew. So past its limit the log is carried over by a
//! commit, before it writes (a *forced* checkpoint, short because the thread has done most of it).
//!
//! Invariant: the log is at most its limit, what one batch adds, and what open snapshots need. A checkpoint that
//! fails for anything but space stops the store: where its sync has failed, the log is the only good copy left.
//! Read next: [`EmbeddedStore::open`](super::EmbeddedStore::open).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rusqlite::Connection;

use super::error::During;
use super::{Shared, format};
use crate::StoreError;

/// Carries the log over, in the background and on demand.
pub(super) struct Checkpointer {
    work: Arc<Work>,
    /// Wakes the thread; its end ends the thread.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread shares with the committers.
struct Work {
    shared: Arc<Shared>,
    connection: Mutex<Connection>,
    passive: AtomicU64,
    forced: AtomicU64,
}

#[derive(Clone, Copy)]
enum Mode {
    /// As much as goes without waiting.
    Passive,
    /// Everything, waiting for snapshots, so that the next commit starts the log anew.
    Restart,
    /// Like `Restart`, and makes the log file empty.
    Truncate,
}

impl Checkpointer {
    /// Opens the connection and starts the thread.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let connection = format::open_checkpointer(&shared.folder, &shared.options)
            .map_err(|error| shared.translate(&error, During::Open))?;
        let folder = shared.folder.clone();
        let (passive, forced) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = Arc::new(Work { shared, connection: Mutex::new(connection), passive, forced });
        // One place is enough: a wake-up that is waiting stands for all that come after it.
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn({
                let work = Arc::clone(&work);
                move || work.run(&woken)
            })
            .map_err(|error| StoreError::from_io(&folder, "starting the checkpoint thread", &error))?;
        Ok(Self { work, wake: Some(wake), thread: Some(thread) })
    }

    /// Lets the thread carry the log over soon.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // A full channel means that it is awake already.
            let _ = wake.try_send(());
        }
    }

    /// Carries the whole log over, so that the next commit starts it anew. To be called between commits.
    /// Snapshots that still need the log may keep it from starting anew.
    pub(super) fn force(&self) -> Result<(), StoreError> {
        self.work.checkpoint(Mode::Restart)?;
        self.work.forced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Keeps checkpoints from happening for as long as the guard lives.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop + '_ {
        self.work.connection.lock()
    }

    /// The checkpoints made in the background, and the forced ones.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.work.passive.load(Ordering::Relaxed), self.work.forced.load(Ordering::Relaxed))
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a bug, and then there is nothing better to do than to go on closing.
            let _ = thread.join();
        }
        if self.work.shared.stopped.get().is_none() {
            // Whatever remains in the log is found there by the next start.
            let _ = self.work.checkpoint(Mode::Truncate);
        }
    }
}

impl Work {
    fn run(&self, woken: &Receiver<()>) {
        while woken.recv().is_ok() {
            if self.shared.stopped.get().is_some() {
                return;
            }
            match self.checkpoint(Mode::Passive).and_then(|()| self.sync_data_file()) {
                Ok(()) => drop(self.passive.fetch_add(1, Ordering::Relaxed)),
                // The commit that meets the limit of the log reports a full disk.
                Err(StoreError::Full { .. }) => {}
                Err(error) => self.shared.stop(&error),
            }
        }
    }

    /// Makes durable what a passive checkpoint has written. SQLite leaves that out when commits have come meanwhile,
    /// and the forced checkpoint would have to wait for all of it at once: measured, 80 ms instead of 10.
    fn sync_data_file(&self) -> Result<(), StoreError> {
        self.shared.data_file.sync_data().map_err(|error| StoreError::Failed {
            path: self.shared.folder.clone(),
            message: format!("making the data file durable: {error}"),
            fatal: true,
        })
    }

    fn checkpoint(&self, mode: Mode) -> Result<(), StoreError> {
        let text = match mode {
            Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
            Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
            Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        let connection = self.connection.lock();
        // The row that it gives says how far it came. That matters to nobody: the size of the log after the next
        // commit says the same.
        connection
            .prepare_cached(text)
            .and_then(|mut statement| statement.query_row([], |_| Ok(())))
            .map_err(|error| self.shared.translate(&error, During::Checkpoint))
    }
}
