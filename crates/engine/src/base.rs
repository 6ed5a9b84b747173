//! What is stored, as of one revision: the cache in front, a snapshot of the store behind.
//!
//! The snapshot is opened when something is not in the cache, so a read or a group that finds all it needs there costs
//! the store nothing. If the store has moved on by then, and something was read already, the two would not belong
//! together: that is [`EngineError::Moved`], and the read runs again over a snapshot opened first.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corollary_schema::Schema;
use corollary_store::{Direction, KeyRange, Keyspace, Snapshot, Store, Visit};

use crate::cache::{Cache, Lookup};
use crate::doc::{Doc, Key, Layout};
use crate::error::EngineError;
use crate::keys;

/// See the module.
pub struct Base<'a> {
    schema: &'a Schema,
    layouts: &'a [Layout],
    store: &'a dyn Store,
    cache: &'a Cache,
    published: &'a AtomicU64,
    snapshot: OnceCell<Box<dyn Snapshot>>,
    revision: Cell<u64>,
    /// May the cache answer? Not while it waits for a commit that the snapshot has already.
    cached: Cell<bool>,
    /// Has anything been read?
    read: Cell<bool>,
}

impl<'a> Base<'a> {
    /// The last published revision; the store is opened when it is needed.
    pub(crate) fn new(
        schema: &'a Schema,
        layouts: &'a [Layout],
        store: &'a dyn Store,
        cache: &'a Cache,
        published: &'a AtomicU64,
    ) -> Base<'a> {
        let revision = Cell::new(published.load(Ordering::Acquire));
        let (cached, read) = (Cell::new(true), Cell::new(false));
        Base { schema, layouts, store, cache, published, snapshot: OnceCell::new(), revision, cached, read }
    }

    /// The revision that it shows.
    pub fn revision(&self) -> u64 {
        self.read.set(true);
        self.revision.get()
    }

    /// The snapshot, opened now if it was not.
    pub fn snapshot(&self) -> Result<&dyn Snapshot, EngineError> {
        if let Some(snapshot) = self.snapshot.get() {
            return Ok(&**snapshot);
        }
        let snapshot = self.store.snapshot()?;
        let revision = keys::read_revision(&*snapshot)?;
        if revision != self.revision.get() {
            if self.read.get() {
                return Err(EngineError::Moved);
            }
            self.revision.set(revision);
            self.cached.set(self.published.load(Ordering::Acquire) >= revision);
        }
        Ok(&**self.snapshot.get_or_init(|| snapshot))
    }

    /// A document.
    pub fn doc(&self, key: &Key) -> Result<Option<Arc<Doc>>, EngineError> {
        let mut unknown = true;
        if self.cached.get() {
            match self.cache.get(key, self.revision.get()) {
                Lookup::Hit(doc) => {
                    self.read.set(true);
                    return Ok(doc);
                }
                Lookup::Newer => unknown = false,
                Lookup::Unknown => {}
            }
        }
        let snapshot = self.snapshot()?;
        self.read.set(true);
        let stored = snapshot.get(keys::DOC, &keys::doc(self.schema.ty(key.ty).id, &key.id))?;
        let doc = self.decode(key, stored.as_deref())?;
        if unknown {
            self.cache.fill(key, doc.clone(), self.revision.get());
        }
        Ok(doc)
    }

    /// Brings many documents into the cache with one read.
    pub fn prefetch(&self, mut wanted: Vec<&Key>) -> Result<(), EngineError> {
        wanted.retain(|key| {
            !self.cached.get() || matches!(self.cache.get(key, self.revision.get()), Lookup::Unknown)
        });
        if wanted.len() < 2 || !self.cached.get() {
            return Ok(());
        }
        wanted.sort();
        let keys: Vec<Vec<u8>> =
            wanted.iter().map(|key| keys::doc(self.schema.ty(key.ty).id, &key.id)).collect();
        let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let stored = self.snapshot()?.get_many(keys::DOC, &slices)?;
        self.read.set(true);
        for (key, stored) in wanted.into_iter().zip(stored) {
            let doc = self.decode(key, stored.as_deref())?;
            self.cache.fill(key, doc, self.revision.get());
        }
        Ok(())
    }

    /// Reads a stored document.
    pub fn decode(&self, key: &Key, stored: Option<&[u8]>) -> Result<Option<Arc<Doc>>, EngineError> {
        let Some(bytes) = stored else { return Ok(None) };
        let doc = self.layouts[key.ty.0 as usize].decode(bytes);
        doc.map(|doc| Some(Arc::new(doc)))
            .map_err(|_| EngineError::corrupt(format!("{} {}", self.schema.ty(key.ty).name, key.id)))
    }

    /// A row other than a document.
    pub fn row(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let snapshot = self.snapshot()?;
        self.read.set(true);
        Ok(snapshot.get(keyspace, key)?)
    }

    /// Visits rows in order.
    pub fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        let snapshot = self.snapshot()?;
        self.read.set(true);
        Ok(snapshot.scan(keyspace, range, direction, usize::MAX, visit)?)
    }
}
