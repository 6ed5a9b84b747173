//! Spreading out over time what the applier has the device write.
//!
//! A large transaction and a large checkpoint leave a hundred megabytes to be synced at their ends, and a commit that
//! syncs its few kilobytes meanwhile waits for all of that. So while they run, a thread syncs every now and then what they
//! have written so far. Measured under random writes without pause: the longest stall of a commit is 10 to 25 ms then,
//! instead of 45 to 85, at the same throughput.
//!
//! Invariant: a sync that has failed stops the store before any other sync of these files can succeed. Nothing else
//! depends on this thread. Read next: [`applier`](super::applier).

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{Shared, format};
use crate::StoreError;

/// From one sync to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// One of the files of the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// The write-ahead log.
    Log,
    /// The data file.
    Data,
}

/// The files of the database, to be synced.
pub(super) struct Files {
    shared: Arc<Shared>,
    log: File,
    /// Held for a sync: the system tells one caller alone of a failure, so the next must not ask before that has stopped
    /// the store.
    syncing: Mutex<()>,
}

impl Files {
    pub(super) fn open(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let path = format::log_file(&shared.folder);
        let log = File::options()
            .write(true)
            .open(&path)
            .map_err(|error| StoreError::from_io(&path, "opening the write-ahead log", &error))?;
        Ok(Self { shared: Arc::clone(shared), log, syncing: Mutex::new(()) })
    }

    /// Makes a file durable. An error is fatal, and has stopped the store.
    pub(super) fn sync(&self, target: Target) -> Result<(), StoreError> {
        let _syncing = self.syncing.lock();
        self.shared.check_going()?;
        let (file, what) = match target {
            Target::Log => (&self.log, "the write-ahead log"),
            Target::Data => (&self.shared.data_file, "the data file"),
        };
        file.sync_data().map_err(|error| {
            let message = format!("making {what} durable: {error}");
            let error = StoreError::Failed { path: self.shared.folder.clone(), message, fatal: true };
            self.shared.stop(&error);
            error
        })
    }
}

/// Syncs what is being written, on a thread of its own.
pub(super) struct Flusher {
    state: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    /// The file that is being written.
    target: Option<Target>,
    closed: bool,
}

impl Flusher {
    /// Starts the thread.
    pub(super) fn start(files: Arc<Files>) -> Result<Self, StoreError> {
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let folder = files.shared.folder.clone();
        let thread = std::thread::Builder::new()
            .name("flusher".to_owned())
            .spawn({
                let state = Arc::clone(&state);
                move || run(&state, &files)
            })
            .map_err(|error| StoreError::from_io(&folder, "starting the flusher thread", &error))?;
        Ok(Self { state, thread: Some(thread) })
    }

    /// Does something that writes much to a file.
    pub(super) fn during<T>(&self, target: Target, write: impl FnOnce() -> T) -> T {
        self.set(|state| state.target = Some(target));
        let result = write();
        self.set(|state| state.target = None);
        result
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.0.lock());
        self.state.1.notify_one();
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.set(|state| state.closed = true);
        if let Some(thread) = self.thread.take() {
            // It cannot panic but by a bug, and then there is nothing better to do than to go on closing.
            let _ = thread.join();
        }
    }
}

fn run((state, changed): &(Mutex<State>, Condvar), files: &Files) {
    let mut state = state.lock();
    while !state.closed {
        let Some(target) = state.target else {
            changed.wait(&mut state);
            continue;
        };
        // What takes less than the pause is not worth it.
        if changed.wait_for(&mut state, PAUSE).timed_out() && state.target == Some(target) {
            // It has stopped the store if it failed.
            let _ = MutexGuard::unlocked(&mut state, || files.sync(target));
        }
    }
}
