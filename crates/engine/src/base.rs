//! What is stored, as of one revision: the cache in front, a snapshot of the store behind.
//!
//! The snapshot is opened when something is not in the cache, so a read or a group that finds all it needs there costs
//! the store nothing. If the store has moved on by then, and something was read already, the two would not belong
//! together: that is [`EngineError::Moved`], and the read runs again over a snapshot opened first.
//!
//! A snapshot may show a commit a moment before it is published. Reads that begin after that must not show less, so
//! `Revisions` keeps the newest that a snapshot has shown; until it is published, reads begin with a snapshot.
//!
//! What is worked out over a group that is not durable yet (`Base::ahead`) goes by that group first, then as above, with the tip of the
//! store for a snapshot.
//!
//! Where nodes share the store, a snapshot may show what another of them committed: then whoever opened it follows first
//! ([`crate::nodes`]), so that the cache and the ledger are no older than the snapshot.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use corollary_schema::{FieldId, Schema, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace, Snapshot, Visit, VisitKeys};
use corollary_value::Id;
use hashbrown::HashMap;

use crate::cache::Lookup;
use crate::doc::{Doc, Key};
use crate::engine::{Engine, Group};
use crate::error::EngineError;
use crate::keys;
use crate::propagate::initial;
use crate::updates::{Ledger, Update};

/// How far readers may see, and how far they have seen.
pub(crate) struct Revisions {
    /// The last revision that the cache knows all of.
    published: AtomicU64,
    /// The newest revision that a snapshot has shown.
    shown: AtomicU64,
}

impl Revisions {
    pub(crate) fn new(revision: u64) -> Revisions {
        Revisions { published: AtomicU64::new(revision), shown: AtomicU64::new(revision) }
    }

    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// For the executor, when the commit is durable and in the cache.
    pub(crate) fn publish(&self, revision: u64) {
        self.published.store(revision, Ordering::Release);
    }

    /// Something of a revision has been shown: no later read shows less.
    pub(crate) fn show(&self, revision: u64) {
        self.shown.fetch_max(revision, Ordering::AcqRel);
    }

    fn shown(&self) -> u64 {
        self.shown.load(Ordering::Acquire)
    }
}

/// Documents of one type, in the order of their ids.
#[derive(Default)]
struct Ahead {
    ty: Option<TypeIx>,
    docs: Vec<(Id, Arc<Doc>)>,
}

impl Ahead {
    fn get(&self, key: &Key) -> Option<Arc<Doc>> {
        if self.ty != Some(key.ty) {
            return None;
        }
        let at = self.docs.binary_search_by(|(id, _)| id.cmp(&key.id)).ok()?;
        Some(self.docs[at].1.clone())
    }
}

/// See the module.
pub struct Base<'a> {
    engine: &'a Engine,
    /// The group before, where that may not be durable yet.
    ahead_of: Option<Arc<Group>>,
    /// As it was published when the revision was settled; it tells what is open there.
    updates: RefCell<Arc<Ledger>>,
    snapshot: OnceCell<Box<dyn Snapshot>>,
    revision: Cell<u64>,
    /// Where nodes share the store, the commit that it shows: one without a revision may have changed what updates are open.
    sequence: Cell<u64>,
    /// May the cache answer? Not while it waits for a commit that the snapshot has already.
    cached: Cell<bool>,
    /// Has anything been read?
    read: Cell<bool>,
    /// How many rows, documents among them, were read from the snapshot.
    rows: Cell<u64>,
    /// The document that was read last: of those that many link to, it is mostly the next one too.
    last: RefCell<Option<(Key, Option<Arc<Doc>>)>>,
    /// Is it for who goes through a great many resources once? They are not put into the cache then.
    passing: Cell<bool>,
    /// Documents of one type that were read from the snapshot before they are asked for, in the order of their ids.
    ahead: RefCell<Ahead>,
    /// How often the snapshot was asked.
    reads: Cell<u64>,
    /// Rows of references that have been read, by the key that they begin with, where the same are asked for many times.
    remembered: RefCell<Option<Remembered>>,
}

/// Keys of rows by the beginning that they have in common.
type Remembered = HashMap<Vec<u8>, Arc<Vec<Vec<u8>>>>;

/// The most rows with one beginning that are remembered, and the most beginnings.
const REMEMBERED_ROWS: usize = 1_000;
const REMEMBERED: usize = 10_000;

impl<'a> Base<'a> {
    /// The last published revision; the store is opened when it is needed.
    pub(crate) fn new(engine: &'a Engine) -> Base<'a> {
        // Before all else: what is read behind it may be newer, and is found to be then.
        let sequence = Cell::new(engine.sequence());
        let revision = Cell::new(engine.revisions.published());
        Base {
            engine,
            ahead_of: None,
            sequence,
            updates: RefCell::new(engine.updates()),
            snapshot: OnceCell::new(),
            revision,
            cached: Cell::new(true),
            read: Cell::new(false),
            rows: Cell::new(0),
            last: RefCell::default(),
            passing: Cell::new(false),
            ahead: RefCell::default(),
            reads: Cell::new(0),
            remembered: RefCell::new(None),
        }
    }

    /// What is there when a group is durable, for what is worked out over it. Whether it is durable by now, or becomes so meanwhile, makes
    /// no difference: what the cache has of its revision or an earlier one, and what the tip shows, stays the same.
    pub(crate) fn ahead(engine: &'a Engine, group: Arc<Group>) -> Base<'a> {
        let revision = Cell::new(group.revision);
        Base { revision, ahead_of: Some(group), ..Base::new(engine) }
    }

    /// Over a snapshot that is there already, for an engine that nobody else reads and that is as the snapshot is.
    pub(crate) fn over(engine: &'a Engine, snapshot: Box<dyn Snapshot>) -> Base<'a> {
        let base = Base::new(engine);
        base.snapshot.get_or_init(|| snapshot);
        base
    }

    /// The updates as of the revision that it shows, and that is settled by this.
    pub(crate) fn updates(&self) -> Arc<Ledger> {
        self.read.set(true);
        self.updates.borrow().clone()
    }

    /// The updates that are open at the revision that it shows.
    pub fn open_updates(&self) -> Vec<Arc<Update>> {
        self.updates.borrow().open_at(self.revision())
    }

    /// The indexes that updates have yet to fill at the revision that it shows. They only become fewer as long as there is the
    /// engine: who asks goes by what holds of a newer snapshot as well, and has not read anything yet.
    pub(crate) fn filling(&self) -> Vec<FieldId> {
        self.updates.borrow().filling_at(self.revision.get())
    }

    /// From now on it is for who goes through a great many resources once: what is asked for together does not take the
    /// place of what others have asked for in the cache.
    pub(crate) fn pass(&self) {
        self.passing.set(true);
    }

    /// From now on it is for who asks for the same references many times.
    pub(crate) fn remember(&self) {
        self.remembered.replace(Some(Remembered::new()));
    }

    /// The keys of the rows of references that begin so, read once; none where that is not what it is for, or they are many.
    pub(crate) fn references(&self, prefix: &[u8]) -> Result<Option<Arc<Vec<Vec<u8>>>>, EngineError> {
        match &*self.remembered.borrow() {
            None => return Ok(None),
            Some(remembered) => {
                if let Some(keys) = remembered.get(prefix) {
                    return Ok(Some(keys.clone()));
                }
            }
        }
        let mut keys = Vec::new();
        let range = KeyRange::prefix(prefix.to_vec());
        self.scan_keys(keys::REFERENCE, &range, Direction::Forward, &mut |key| {
            keys.push(key.to_vec());
            if keys.len() > REMEMBERED_ROWS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if keys.len() > REMEMBERED_ROWS {
            return Ok(None);
        }
        let keys = Arc::new(keys);
        if let Some(remembered) = &mut *self.remembered.borrow_mut() {
            if remembered.len() == REMEMBERED {
                remembered.clear();
            }
            remembered.insert(prefix.to_vec(), keys.clone());
        }
        Ok(Some(keys))
    }

    /// Keeps documents of a type that were read from the snapshot, in the order of their ids, in place of those before.
    pub(crate) fn keep_ahead(&self, ty: TypeIx, docs: Vec<(Id, Arc<Doc>)>) {
        self.ahead.replace(Ahead { ty: Some(ty), docs });
    }

    /// How many rows were read from the store so far.
    pub fn rows_read(&self) -> u64 {
        self.rows.get()
    }

    /// How often the store was asked so far, whatever the number of rows that it gave.
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    fn ask(&self) {
        self.reads.set(self.reads.get() + 1);
    }

    fn note(&self, rows: usize) {
        self.read.set(true);
        self.rows.set(self.rows.get() + rows as u64);
    }

    /// Makes sure that it shows no less than what was shown before.
    pub(crate) fn catch_up(&self) -> Result<(), EngineError> {
        if self.revision.get() < self.engine.revisions.shown() { self.snapshot().map(drop) } else { Ok(()) }
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
        let (snapshot, head) = match &self.ahead_of {
            Some(_) => self.engine.look_ahead()?,
            None => self.engine.look()?,
        };
        let (sequence, revision) = (head.sequence, head.revision);
        if revision != self.revision.get() || sequence != self.sequence.get() {
            if self.read.get() {
                return Err(EngineError::Moved);
            }
            self.engine.follow_to(&head, &*snapshot)?;
            self.revision.set(revision);
            self.sequence.set(sequence);
            self.updates.replace(self.engine.updates());
            self.engine.revisions.show(revision);
            self.cached.set(self.engine.revisions.published() >= revision);
        }
        Ok(&**self.snapshot.get_or_init(|| snapshot))
    }

    /// A document.
    pub fn doc(&self, key: &Key) -> Result<Option<Arc<Doc>>, EngineError> {
        if let Some((last, doc)) = &*self.last.borrow()
            && last == key
        {
            return Ok(doc.clone());
        }
        if let Some(doc) = self.ahead.borrow().get(key) {
            return Ok(Some(doc));
        }
        let doc = self.find(key)?;
        self.last.replace(Some((key.clone(), doc.clone())));
        Ok(doc)
    }

    /// What the group before has made of a resource.
    fn made_before(&self, key: &Key) -> Option<Option<Arc<Doc>>> {
        self.ahead_of.as_ref().and_then(|group| group.docs.get(key).cloned())
    }

    fn find(&self, key: &Key) -> Result<Option<Arc<Doc>>, EngineError> {
        if let Some(doc) = self.made_before(key) {
            self.read.set(true);
            return Ok(doc);
        }
        let mut unknown = true;
        if self.cached.get() {
            match self.engine.cache.get(key, self.revision.get()) {
                Lookup::Hit(doc) => {
                    self.read.set(true);
                    return Ok(doc);
                }
                Lookup::Newer => unknown = false,
                Lookup::Unknown => {}
            }
        }
        let snapshot = self.snapshot()?;
        self.ask();
        self.note(1);
        let stored = snapshot.get(keys::DOC, &keys::doc(self.engine.schema().ty(key.ty).id, &key.id))?;
        let doc = self.decode(key, stored.as_deref())?;
        if unknown {
            self.engine.cache.fill(key, doc.clone(), self.revision.get());
        }
        Ok(doc)
    }

    /// Many documents, in the order of their keys: with one look-up each in the cache, and one read for the rest.
    pub fn docs(&self, keys: &[&Key]) -> Result<Vec<Option<Arc<Doc>>>, EngineError> {
        let mut docs = vec![None; keys.len()];
        // Those that are not at hand.
        let mut others = Vec::with_capacity(keys.len());
        let (ahead, passing) = (self.ahead.borrow(), self.passing.get());
        for (at, key) in keys.iter().enumerate() {
            if let Some(doc) = ahead.get(key) {
                docs[at] = Some(doc);
            } else if let Some(doc) = self.made_before(key) {
                self.read.set(true);
                docs[at] = doc;
            } else {
                others.push(at);
            }
        }
        // Where it stands, and may the cache learn it?
        let mut wanted = Vec::new();
        if self.cached.get() {
            let asked: Vec<&Key> = others.iter().map(|at| keys[*at]).collect();
            self.engine.cache.get_many(&asked, self.revision.get(), !passing, |at, found| match found {
                Lookup::Hit(doc) => {
                    self.read.set(true);
                    docs[others[at]] = doc;
                }
                Lookup::Newer => wanted.push((others[at], false)),
                Lookup::Unknown => wanted.push((others[at], !passing)),
            });
            wanted.sort_unstable();
        } else {
            wanted.extend(others.iter().map(|at| (*at, false)));
        }
        if wanted.is_empty() {
            return Ok(docs);
        }
        let rows: Vec<Vec<u8>> = wanted
            .iter()
            .map(|(at, _)| keys::doc(self.engine.schema().ty(keys[*at].ty).id, &keys[*at].id))
            .collect();
        let slices: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let snapshot = self.snapshot()?;
        self.ask();
        let stored = snapshot.get_many(keys::DOC, &slices)?;
        self.note(stored.len());
        for ((at, unknown), stored) in wanted.into_iter().zip(stored) {
            docs[at] = self.decode(keys[at], stored.as_deref())?;
            if unknown {
                self.engine.cache.fill(keys[at], docs[at].clone(), self.revision.get());
            }
        }
        Ok(docs)
    }

    /// Brings many documents into the cache with one read.
    pub fn prefetch(&self, mut wanted: Vec<&Key>) -> Result<(), EngineError> {
        let ahead = self.ahead.borrow();
        wanted.retain(|key| ahead.get(key).is_none() && self.made_before(key).is_none());
        drop(ahead);
        if wanted.len() < 2 || !self.cached.get() {
            return Ok(());
        }
        let unknown = self.engine.cache.unknown(&wanted);
        if unknown.len() < 2 {
            return Ok(());
        }
        let mut wanted: Vec<&Key> = unknown.into_iter().map(|at| wanted[at]).collect();
        wanted.sort();
        wanted.dedup();
        let keys: Vec<Vec<u8>> =
            wanted.iter().map(|key| keys::doc(self.engine.schema().ty(key.ty).id, &key.id)).collect();
        let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        self.ask();
        let stored = self.snapshot()?.get_many(keys::DOC, &slices)?;
        self.note(stored.len());
        for (key, stored) in wanted.into_iter().zip(stored) {
            let doc = self.decode(key, stored.as_deref())?;
            self.engine.cache.fill(key, doc, self.revision.get());
        }
        Ok(())
    }

    /// Reads a stored document. The one that keeps what is the same for all is always there.
    pub fn decode(&self, key: &Key, stored: Option<&[u8]>) -> Result<Option<Arc<Doc>>, EngineError> {
        let Some(bytes) = stored else {
            let shared = self.engine.schema().shared == Some(key.ty) && key.id == Schema::shared_id();
            return Ok(shared.then(|| {
                let mut doc = Doc::new(self.engine.schema(), key.ty);
                initial(self.engine.schema(), key.ty, &mut doc);
                Arc::new(doc)
            }));
        };
        let doc = self.engine.layouts()[key.ty.0 as usize].decode(bytes);
        doc.map(|doc| Some(Arc::new(doc)))
            .map_err(|_| EngineError::corrupt(format!("{} {}", self.engine.schema().ty(key.ty).name, key.id)))
    }

    /// A row other than a document.
    pub fn row(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let snapshot = self.snapshot()?;
        self.ask();
        self.note(1);
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
        self.ask();
        self.note(0);
        Ok(snapshot.scan(keyspace, range, direction, usize::MAX, &mut |key, value| {
            self.note(1);
            visit(key, value)
        })?)
    }

    /// Visits the keys of rows in order.
    pub fn scan_keys(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut VisitKeys<'_>,
    ) -> Result<(), EngineError> {
        let snapshot = self.snapshot()?;
        self.ask();
        self.note(0);
        Ok(snapshot.scan_keys(keyspace, range, direction, &mut |key| {
            self.note(1);
            visit(key)
        })?)
    }

    /// Visits rows of several ranges in order, at most so many of each, with the position of the range.
    pub fn scan_many(
        &self,
        keyspace: Keyspace,
        ranges: &[KeyRange],
        limit: usize,
        visit: &mut dyn FnMut(usize, &[u8]),
    ) -> Result<(), EngineError> {
        if ranges.is_empty() {
            return Ok(());
        }
        let snapshot = self.snapshot()?;
        self.ask();
        self.note(0);
        Ok(snapshot.scan_many(keyspace, ranges, limit, &mut |at, key, _| {
            self.note(1);
            visit(at, key);
        })?)
    }
}
