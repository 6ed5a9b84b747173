//! The engine over one store: transactions in groups, one atomic and durable batch a group.

use std::sync::Arc;

use corollary_schema::Schema;
use corollary_store::{Batch, Store};
use jiff::Timestamp;

use crate::doc::{Doc, Key, Layout};
use crate::error::EngineError;
use crate::index;
use crate::keys;
use crate::log;
use crate::propagate::{Work, propagate};
use crate::working::Working;
use crate::write::{self, Write};

const REVISION: &[u8] = b"revision";

/// Writes that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// In order.
    pub writes: Vec<Write>,
}

/// What a transaction did.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Its revision; that of the commit before it where it changed nothing.
    pub revision: u64,
    /// The resources that changed, and what they are now.
    pub changed: Vec<(Key, Option<Arc<Doc>>)>,
    /// What it took.
    pub work: Work,
}

/// See the module.
pub struct Engine {
    store: Arc<dyn Store>,
    schema: Arc<Schema>,
    layouts: Vec<Layout>,
    revision: u64,
}

impl Engine {
    /// Over a store that was opened with [`keys::KEYSPACES`].
    pub fn open(store: Arc<dyn Store>, schema: Arc<Schema>) -> Result<Engine, EngineError> {
        let revision = match store.snapshot()?.get(keys::META, REVISION)? {
            Some(bytes) => {
                let bytes = bytes.try_into().map_err(|_| EngineError::corrupt("the revision"))?;
                u64::from_be_bytes(bytes)
            }
            None => 0,
        };
        let layouts = Layout::of(&schema);
        Ok(Engine { store, schema, layouts, revision })
    }

    /// The schema.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The last commit.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Runs transactions one after the other and makes all that succeed durable with one batch.
    ///
    /// A transaction that is refused changes nothing and leaves the others alone. An error of the store is the error of
    /// the whole group: nothing of it happened.
    pub fn commit(
        &mut self,
        group: &[Transaction],
        now: Timestamp,
    ) -> Result<Vec<Result<Committed, EngineError>>, EngineError> {
        let snapshot = self.store.snapshot()?;
        let schema = self.schema.clone();
        let mut working = Working::new(&schema, &self.layouts, &*snapshot, now);
        let mut revision = self.revision;
        let mut outcomes = Vec::with_capacity(group.len());
        for transaction in group {
            match run(&mut working, transaction, revision) {
                Ok(committed) => {
                    revision = committed.revision;
                    working.keep();
                    outcomes.push(Ok(committed));
                }
                Err(error @ EngineError::Refused(_)) => {
                    working.undo();
                    outcomes.push(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        if revision != self.revision {
            let mut batch = Batch::new();
            for (key, doc) in &working.kept {
                let at = keys::doc(schema.ty(key.ty).id, &key.id);
                match doc {
                    Some(doc) => {
                        let mut bytes = Vec::new();
                        self.layouts[key.ty.0 as usize].encode(doc, &mut bytes);
                        batch.put(keys::DOC, at, bytes);
                    }
                    None => batch.delete(keys::DOC, at),
                }
            }
            for ((keyspace, key), row) in working.kept_rows() {
                match row {
                    Some(value) => batch.put(*keyspace, key.clone(), value.clone()),
                    None => batch.delete(*keyspace, key.clone()),
                }
            }
            let stored = (self.revision > 0).then(|| self.revision.to_be_bytes().to_vec());
            batch.require(keys::META, REVISION, stored);
            batch.put(keys::META, REVISION, revision.to_be_bytes().to_vec());
            self.store.commit(&batch)?;
            self.revision = revision;
        }
        Ok(outcomes)
    }

    /// Reads through a snapshot of the store.
    pub fn read<T>(
        &self,
        now: Timestamp,
        f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let snapshot = self.store.snapshot()?;
        f(&Working::new(&self.schema, &self.layouts, &*snapshot, now))
    }
}

fn run(
    working: &mut Working<'_>,
    transaction: &Transaction,
    revision: u64,
) -> Result<Committed, EngineError> {
    write::apply(working, &transaction.writes)?;
    let work = propagate(working)?;
    // What came out as it was is no change: a no-op has no revision.
    working.touched.retain(|_, touched| touched.before != touched.after);
    if working.touched.is_empty() {
        return Ok(Committed { revision, changed: Vec::new(), work });
    }
    index::maintain(working)?;
    let revision = revision + 1;
    let keys: Vec<Key> = working.touched.keys().cloned().collect();
    for key in &keys {
        if let Some(doc) = working.edit(key)? {
            doc.revision = revision;
        }
    }
    log::append(working, revision);
    let changed = working.touched.iter().map(|(key, touched)| (key.clone(), touched.after.clone())).collect();
    Ok(Committed { revision, changed, work })
}
