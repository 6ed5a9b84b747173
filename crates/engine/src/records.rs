//! What a server keeps for itself beside the data: small rows by kind and key, of which the engine knows nothing more.
//!
//! They are written by the executor, so what is read and what is written of them in one go is one step for all nodes of a
//! store, and they have no revision: no log entry tells of them and nobody who watches hears of them. A backup has them.
//!
//! Hooks are kept so, with how far each has come: `server/src/hooks/`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use corollary_store::{Batch, Direction, KeyRange, Snapshot};
use jiff::Timestamp;

use crate::engine::{Engine, Executor};
use crate::error::EngineError;
use crate::keys;
use crate::processors;

/// What a record is of; no two uses have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u8);

/// Records with their keys.
pub type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Records as they are in a snapshot, and what is made of them.
pub struct Records<'s> {
    snapshot: &'s dyn Snapshot,
    now: Timestamp,
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'s> Records<'s> {
    fn new(snapshot: &'s dyn Snapshot, now: Timestamp) -> Records<'s> {
        Records { snapshot, now, changed: BTreeMap::new() }
    }

    /// The time, which is the same for all that is done in one go.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The last revision.
    pub fn revision(&self) -> Result<u64, EngineError> {
        keys::read_revision(self.snapshot)
    }

    /// A record; none where there is none.
    pub fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let row = keys::record(kind, key);
        match self.changed.get(&row) {
            Some(changed) => Ok(changed.clone()),
            None => Ok(self.snapshot.get(keys::RECORD, &row)?),
        }
    }

    /// The records of a kind whose keys begin so, behind a key of them if one is given, in the order of keys; at most so
    /// many. What has been changed in the same go is not looked at.
    pub fn list(
        &self,
        kind: Kind,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Rows, EngineError> {
        let mut found = Vec::new();
        let mut range = KeyRange::prefix(keys::record(kind, prefix));
        if let Some(after) = after {
            range.from = Bound::Excluded(keys::record(kind, after));
        }
        self.snapshot.scan(keys::RECORD, &range, Direction::Forward, limit, &mut |row, value| {
            found.push((row[1..].to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Keeps a record, in place of the one that was there.
    pub fn put(&mut self, kind: Kind, key: &[u8], value: Vec<u8>) {
        self.changed.insert(keys::record(kind, key), Some(value));
    }

    /// Drops a record.
    pub fn delete(&mut self, kind: Kind, key: &[u8]) {
        self.changed.insert(keys::record(kind, key), None);
    }
}

impl Engine {
    /// Reads records as they are stored now.
    pub fn records<T>(
        &self,
        now: Timestamp,
        f: impl FnOnce(&Records<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let snapshot = self.store().snapshot()?;
        f(&Records::new(&*snapshot, now))
    }
}

impl Executor {
    /// Has something made of records, and makes it durable as one step; nothing is written where nothing was changed. It may
    /// be run more than once, where other nodes write meanwhile.
    ///
    /// # Errors
    ///
    /// Those of `f`, after which nothing has changed, and those of the store.
    pub fn keep_records<T>(
        &mut self,
        now: Timestamp,
        mut f: impl FnMut(&mut Records<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.contend(|executor| {
            let snapshot = executor.engine().store().snapshot()?;
            let mut records = Records::new(&*snapshot, executor.time(now));
            let made = f(&mut records)?;
            let changed = records.changed;
            drop(snapshot);
            if changed.is_empty() {
                // It was so when the snapshot was taken, and nothing vouches for more.
                return Ok(made);
            }
            let mut batch = Batch::new();
            for (row, value) in changed {
                match value {
                    Some(value) => batch.put(keys::RECORD, row, value),
                    None => batch.delete(keys::RECORD, row),
                }
            }
            let line = processors::are_changed(&batch);
            executor.commit_aside(batch)?;
            if line {
                executor.engine().line.change();
                executor.engine().grants.change();
            }
            Ok(made)
        })
    }
}
