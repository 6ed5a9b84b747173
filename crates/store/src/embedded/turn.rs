//! One commit, from its conditions to its return.
//!
//! ```text
//! conditions -> points -> room in the overlay -> record, written -> (the tip shows it) -> synced -> overlay
//!                      \-> (large ranges, or little space left) drained overlay -> SQLite, synced
//! ```
//!
//! The turn ends before the record is synced: whoever has the next one works on what the tip shows, and waits then.
//!
//! A range to be deleted is first turned into deletions of the keys in it, if these are few. A batch with a range of
//! many keys, and one that may not fit into the limit of the store, is not written to the journal: when everything
//! before it is in SQLite it is put there too, durably, where it succeeds or fails as a whole.
//!
//! Invariant: commits take turns, each when nothing is staged any more. A batch is in the journal, durably, before anything of it is
//! visible elsewhere than at the tip, or it is in SQLite, durably. Read next: [`journal`](super::journal), [`overlay`](super::overlay).

use std::sync::Arc;

use rusqlite::Connection;

use super::error::During;
use super::journal::{Draft, Journal, Written};
use super::overlay::Staged;
use super::reader::{self, EmbeddedSnapshot, Shows};
use super::steps::Step;
use super::{EmbeddedStore, Shared, format};
use crate::batch::{Point, Settled};
use crate::{Batch, Condition, Harden, Keyspace, StoreError};

/// The most keys of ranges that a batch deletes one by one. Few in tests, so that both ways are gone.
const RANGE_KEYS: usize = if cfg!(test) { 4 } else { 10_000 };
/// By so many pages the data file may have to grow for an entry, however small: where each of three neighbours is split,
/// and now and then a page above them.
const PAGES_PER_POINT: u64 = 3;

/// Keys, each with its keyspace.
type Keys = Vec<(Keyspace, Vec<u8>)>;

/// What committers take turns with.
pub(super) struct Turn {
    pub(super) journal: Journal,
    pub(super) draft: Draft,
    /// Reads the keys of conditions that the overlay does not have. It has no open transaction.
    pub(super) connection: Connection,
}

impl EmbeddedStore {
    /// Settles a batch; what is left to do for it, if anything is.
    pub(super) fn settle_in_turn(
        &self,
        turn: &mut Turn,
        batch: &Batch,
    ) -> Result<Option<Pending>, StoreError> {
        self.shared.overlay.wait_for_staged(&|| self.shared.check_going())?;
        self.check_conditions(&turn.connection, batch.conditions())?;
        let mut settled = batch.settle();
        if settled.ranges.is_empty() {
            return self.stage_points(turn, &settled);
        }
        match self.keys_in_ranges(&settled)? {
            Some(keys) => {
                let deleted =
                    keys.iter().map(|(keyspace, key)| Point { keyspace: *keyspace, key, value: None });
                settled.points.extend(deleted);
                // Stable, so that of one key the point of the batch itself comes first, and is kept.
                settled.points.sort_by(|a, b| (a.keyspace, a.key).cmp(&(b.keyspace, b.key)));
                settled
                    .points
                    .dedup_by(|later, kept| (later.keyspace, later.key) == (kept.keyspace, kept.key));
                settled.ranges.clear();
                self.stage_points(turn, &settled)
            }
            None => self.commit_directly(&settled).map(|()| None),
        }
    }

    /// Nobody else commits, so a key that is in no layer now is in the database as it was committed last, at any time
    /// from now until this turn ends.
    fn check_conditions(&self, connection: &Connection, conditions: &[Condition]) -> Result<(), StoreError> {
        if conditions.is_empty() {
            return Ok(());
        }
        let layers = self.shared.overlay.layers();
        for (position, condition) in conditions.iter().enumerate() {
            let expected = condition.expected.as_deref();
            let holds = match layers.get(condition.keyspace, &condition.key) {
                Some(found) => found == expected,
                None => connection
                    .prepare_cached(&self.shared.sql[condition.keyspace.index()].get)
                    .and_then(|mut get| reader::matches(&mut get, &condition.key, expected))
                    .map_err(|error| self.shared.translate(&error, During::Work))?,
            };
            if !holds {
                return Err(condition.conflict(position));
            }
        }
        Ok(())
    }

    /// The keys in the ranges of a batch, if these are few.
    fn keys_in_ranges(&self, settled: &Settled<'_>) -> Result<Option<Keys>, StoreError> {
        // It lives for this moment only, so the limit is not for it.
        let snapshot = EmbeddedSnapshot::begin(&self.shared, usize::MAX, Shows::Durable)?;
        let mut all = Vec::new();
        for (keyspace, range) in &settled.ranges {
            let Some(keys) = snapshot.keys(*keyspace, range, RANGE_KEYS - all.len())? else {
                return Ok(None);
            };
            all.extend(keys.into_iter().map(|key| (*keyspace, key)));
        }
        Ok(Some(all))
    }

    /// Settles a batch without ranges.
    fn stage_points(&self, turn: &mut Turn, settled: &Settled<'_>) -> Result<Option<Pending>, StoreError> {
        if settled.points.is_empty() {
            return Ok(None);
        }
        let (shared, overlay) = (&self.shared, &self.shared.overlay);
        let pages = settled.points.iter().map(pages).sum();
        if overlay.free_pages() < pages {
            overlay.drain(&|| shared.check_going())?;
            if overlay.free_pages() < pages {
                return self.commit_directly(settled).map(|()| None);
            }
        }
        turn.draft.fill(&settled.points)?;
        let journal_bytes = turn.draft.journal_bytes();
        let sequence = overlay.sequence() + 1;
        let staged = Arc::new(Staged::new(sequence, turn.draft.content(), journal_bytes, pages));
        overlay.wait_for_room(staged.bytes(), &|| shared.check_going())?;
        let written = turn.journal.write(&mut turn.draft, sequence)?;
        shared.step(Step::Written);
        overlay.stage(staged.clone());
        Ok(Some(Pending { shared: shared.clone(), staged: Some(staged), written }))
    }

    /// Commits a batch without the journal.
    fn commit_directly(&self, settled: &Settled<'_>) -> Result<(), StoreError> {
        let (shared, overlay) = (&self.shared, &self.shared.overlay);
        overlay.drain(&|| shared.check_going())?;
        // Before it, so that no snapshot finds a database that is newer than every layer; whether one that is taken
        // meanwhile sees the batch is left to when its transaction begins.
        let sequence = overlay.sequence() + 1;
        overlay.set_sequence(sequence);
        let result = self.applier.apply_directly(settled, sequence);
        if result.as_ref().is_err_and(|error| !error.is_fatal()) {
            overlay.set_sequence(sequence - 1);
        }
        result
    }
}

/// A commit whose record is written, and neither durable nor shown to all.
pub(super) struct Pending {
    shared: Arc<Shared>,
    /// `None` when it has come to its end.
    staged: Option<Arc<Staged>>,
    written: Written,
}

impl Pending {
    fn end(&mut self, staged: &Arc<Staged>) -> Result<(), StoreError> {
        let shared = &self.shared;
        shared.check_going()?;
        self.written.sync()?;
        shared.step(Step::Synced);
        if !shared.overlay.publish(staged) {
            // The store is closed meanwhile, and may have removed the record with the journal.
            let (path, why) = (shared.folder.clone(), "it was closed before a commit was durable".to_owned());
            return Err(StoreError::Stopped { path, why });
        }
        shared.count_commit();
        if self.written.wants_spare {
            shared.overlay.ask_for_upkeep();
        }
        Ok(())
    }
}

impl Harden for Pending {
    fn harden(mut self: Box<Self>) -> Result<(), StoreError> {
        let Some(staged) = self.staged.take() else { return Ok(()) };
        self.end(&staged).inspect_err(|error| self.shared.stop(error))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.staged.is_some() {
            let (path, message) = (self.shared.folder.clone(), "a commit was begun and given up".to_owned());
            self.shared.stop(&StoreError::Failed { path, message, fatal: true });
        }
    }
}

/// The most pages by which the data file has to grow for a point.
fn pages(point: &Point<'_>) -> u64 {
    let bytes = (point.key.len() + point.value.map_or(0, <[u8]>::len)) as u64;
    // What does not fit into a page goes to further ones, which hold a little less than their size.
    PAGES_PER_POINT + bytes / u64::from(format::PAGE_BYTES - 96)
}
