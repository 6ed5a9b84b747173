//! Keeping SQLite's write-ahead log short: carrying it over into the data file.
//!
//! That is done after transactions, by whoever has made them, mostly the applier: each time that so much log has been
//! written (*passive* checkpoints, which wait for nobody), and before one when the log is past its limit (*forced*
//! ones, which wait for snapshots a while). Since nobody else writes meanwhile, a passive one carries over all that no
//! snapshot holds back, and then the next transaction starts the log anew.
//!
//! Invariant: the log is at most its limit, what one transaction adds, and what open snapshots need. A checkpoint that
//! fails for anything but space stops the store: where its sync has failed, the log is the only good copy left.
//! Read next: [`applier`](super::applier).

use std::time::Duration;

use rusqlite::Connection;

use super::{EmbeddedOptions, format};

/// How large the log is, and at which sizes something is to be done about it. In pages.
pub(super) struct LogSize {
    pages: u64,
    /// Where the next passive checkpoint is due.
    passive_at: u64,
    /// Where the next forced checkpoint is due.
    force_at: u64,
    checkpoint_pages: u64,
    limit_pages: u64,
}

impl LogSize {
    pub(super) fn new(options: &EmbeddedOptions, page_bytes: u64) -> Self {
        let checkpoint_pages = (options.checkpoint_bytes / page_bytes).max(1);
        let limit_pages = (options.wal_limit_bytes / page_bytes).max(1);
        Self { pages: 0, passive_at: checkpoint_pages, force_at: limit_pages, checkpoint_pages, limit_pages }
    }

    /// Notes the size after a transaction.
    pub(super) fn grown_to(&mut self, pages: u64) {
        if pages < self.pages {
            // It started anew.
            self.passive_at = self.checkpoint_pages;
            self.force_at = self.limit_pages;
        }
        self.pages = pages;
    }

    /// Whether a passive checkpoint is due. Counts on its being made.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.pages >= self.passive_at;
        if due {
            self.passive_at = self.pages + self.checkpoint_pages;
        }
        due
    }

    /// Whether a forced checkpoint is due before the next transaction.
    pub(super) fn is_over_limit(&self) -> bool {
        self.pages >= self.force_at
    }

    /// Notes that a forced checkpoint has been tried. If it succeeded the next transaction starts the log anew; if not,
    /// the next try comes when the log has grown some more, so that not every transaction waits for the same snapshot.
    pub(super) fn forced(&mut self) {
        self.force_at = self.pages + (self.limit_pages / 4).max(1);
    }
}

/// How far a checkpoint is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    /// As far as goes without waiting.
    Passive,
    /// Everything, waiting for snapshots, so that the next transaction starts the log anew.
    Restart,
    /// Like `Restart`, and makes the log file empty.
    Truncate,
}

/// Carries the log over. `wait` is how long it waits for snapshots, unless it is passive.
pub(super) fn checkpoint(connection: &Connection, mode: Mode, wait: Duration) -> rusqlite::Result<()> {
    let text = match mode {
        Mode::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Mode::Restart => "PRAGMA wal_checkpoint(RESTART)",
        Mode::Truncate => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    if mode != Mode::Passive {
        connection.busy_timeout(wait)?;
    }
    // The row that it gives says how far it came. That matters to nobody: the size of the log after the next
    // transaction says the same.
    let result = connection.query_row(text, [], |_| Ok(()));
    connection.busy_timeout(format::BUSY_TIMEOUT)?;
    result
}
