//! One commit, from its conditions to its return.
//!
//! ```text
//! conditions -> points -> room in the overlay -> record, written and synced -> overlay
//!                      \-> (large ranges, or little space left) drained overlay -> SQLite, synced
//! ```
//!
//! A range to be deleted is first turned into deletions of the keys in it, if these are few. A batch with a range of
//! many keys, and one that may not fit into the limit of the store, is not written to the journal: when everything
//! before it is in SQLite it is put there too, durably, where it succeeds or fails as a whole.
//!
//! Invariant: commits take turns. A batch is in the journal, durably, before anything of it is visible, or it is in
//! SQLite, durably. Read next: [`journal`](super::journal), [`overlay`](super::overlay).

use rusqlite::Connection;

use super::error::During;
use super::journal::{Draft, Journal};
use super::overlay::Addition;
use super::reader::{self, EmbeddedSnapshot};
use super::steps::Step;
use super::{EmbeddedStore, format};
use crate::batch::{Point, Settled};
use crate::{Batch, Condition, Keyspace, StoreError};

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
    pub(super) fn commit_in_turn(&self, turn: &mut Turn, batch: &Batch) -> Result<(), StoreError> {
        self.shared.check_going()?;
        self.check_conditions(&turn.connection, batch.conditions())?;
        let mut settled = batch.settle();
        if settled.ranges.is_empty() {
            return self.commit_points(turn, &settled);
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
                self.commit_points(turn, &settled)
            }
            None => self.commit_directly(&settled),
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
        let snapshot = EmbeddedSnapshot::begin(&self.shared, usize::MAX)?;
        let mut all = Vec::new();
        for (keyspace, range) in &settled.ranges {
            let Some(keys) = snapshot.keys(*keyspace, range, RANGE_KEYS - all.len())? else {
                return Ok(None);
            };
            all.extend(keys.into_iter().map(|key| (*keyspace, key)));
        }
        Ok(Some(all))
    }

    /// Commits a batch without ranges.
    fn commit_points(&self, turn: &mut Turn, settled: &Settled<'_>) -> Result<(), StoreError> {
        if settled.points.is_empty() {
            return Ok(());
        }
        let (shared, overlay) = (&self.shared, &self.shared.overlay);
        let pages = settled.points.iter().map(pages).sum();
        if overlay.free_pages() < pages {
            overlay.drain(&|| shared.check_going())?;
            if overlay.free_pages() < pages {
                return self.commit_directly(settled);
            }
        }
        turn.draft.fill(&settled.points)?;
        let journal_bytes = turn.draft.journal_bytes();
        let sequence = overlay.sequence() + 1;
        let (payload, entries) = turn.draft.content();
        let bytes = Addition { payload, entries, journal_bytes, pages }.bytes();
        overlay.wait_for_room(bytes, &|| shared.check_going())?;
        turn.journal.write(&mut turn.draft, sequence)?;
        shared.step(Step::Written);
        let wants_spare = turn.journal.sync(&turn.draft, sequence)?;
        shared.step(Step::Synced);
        let (payload, entries) = turn.draft.content();
        overlay.add(Addition { payload, entries, journal_bytes, pages }, sequence);
        if wants_spare {
            overlay.ask_for_upkeep();
        }
        Ok(())
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

/// The most pages by which the data file has to grow for a point.
fn pages(point: &Point<'_>) -> u64 {
    let bytes = (point.key.len() + point.value.map_or(0, <[u8]>::len)) as u64;
    // What does not fit into a page goes to further ones, which hold a little less than their size.
    PAGES_PER_POINT + bytes / u64::from(format::PAGE_BYTES - 96)
}
