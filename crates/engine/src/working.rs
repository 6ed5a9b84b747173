//! The working state of a group of transactions: what is stored, and on top of it what they changed so far.
//!
//! Each transaction has a layer of its own, which is either kept or dropped as a whole; so one that is refused leaves
//! the others of its group alone.

mod changes;
mod pages;

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::{FieldId, FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_store::limits::MAX_KEY_BYTES;
use corollary_store::{Direction, KeyRange, Keyspace, Visit};
use corollary_value::{Id, Value};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::base::Base;
use crate::doc::{Doc, Key, Layout};
use crate::error::EngineError;
use crate::eval::{View, holds_many};
use crate::files::Received;
use crate::grants::Veil;
use crate::group::Shift;
use crate::keys;
use crate::processors::{Processors, Reviewed};
use crate::updates::Update;
use crate::updates::budget::{Budgets, Deferred};

use self::changes::{Changes, bounds};
use crate::updates::gather::Reach;
use crate::updates::indexing;
use crate::updates::lag::{Lag, Lags};

type RowKey = (Keyspace, Vec<u8>);
type Rows = BTreeMap<RowKey, Option<Vec<u8>>>;

/// A transaction whose rows are at least one in so many of its group's is merged with them and not put in one by one: a row costs
/// about as many times what one costs that is only passed on.
const APPENDED_SHARE: usize = 8;

/// Key and value of a row.
pub type Row = (Vec<u8>, Vec<u8>);

/// A document before a transaction and after it; nothing where there is none.
pub type BeforeAndAfter = (Option<Arc<Doc>>, Option<Arc<Doc>>);

/// A resource that the current transaction changed.
#[derive(Clone, Debug)]
pub struct Touched {
    /// Before the transaction; nothing where it was created.
    pub before: Option<Arc<Doc>>,
    /// Now; nothing where it was deleted.
    pub after: Option<Arc<Doc>>,
}

impl Touched {
    /// Has it changed for those who look, not only in what it keeps for derived values of others?
    pub fn is_visible(&self, schema: &Schema, key: &Key) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => schema.ty(key.ty).slots().any(|(slot, field)| {
                !matches!(field.kind, FieldKind::Aggregate { .. }) && before.get(slot) != after.get(slot)
            }),
            _ => true,
        }
    }
}

/// See the module.
pub struct Working<'a> {
    /// The schema.
    pub schema: &'a Schema,
    /// How documents are stored.
    pub layouts: &'a [Layout],
    /// What is stored.
    pub base: &'a Base<'a>,
    pub(crate) now: Timestamp,
    /// The time as at which what the current transaction found is right.
    then: Timestamp,
    /// Is the current transaction the clock's?
    pub(crate) by_clock: bool,
    /// Is the current transaction a commit whatever it changes, so that its time is on record?
    pub(crate) keeps_time: bool,
    /// The earliest time for which a timer was set.
    pub(crate) armed: Option<Timestamp>,
    rows: Rows,
    /// Changed by the current transaction.
    pub touched: HashMap<Key, Touched, RandomState>,
    changed_rows: Rows,
    /// The bytes that the current transaction has for files.
    pub(crate) received: HashMap<(Key, Slot), Arc<Received>, RandomState>,
    /// All resources that kept transactions changed.
    pub kept: HashMap<Key, Option<Arc<Doc>>, RandomState>,
    /// How much of a change is brought about with it; without it, all of it is.
    pub budgets: Option<&'a Budgets>,
    /// What the current transaction leaves to updates.
    pub deferred: Deferred,
    /// The updates that are open here, where that is not what is published.
    pub(crate) open: Option<Vec<Arc<Update>>>,
    /// Of a state of the past its revision ([`crate::past`]).
    pub(crate) past: Option<u64>,
    /// What its transactions pass; none where there is nothing.
    pub(crate) processors: Option<Arc<Processors>>,
    /// What others have agreed to of the current transaction.
    pub(crate) reviewed: Option<Arc<Reviewed>>,
    /// Who has made the current transaction, where that is known.
    pub(crate) actor: Option<SmolStr>,
    /// Their resource, for the processors.
    pub(crate) ego: Option<Id>,
    /// What groups have yet to count, by node.
    pub(crate) lags: Lags,
    /// Where the current transaction is a step of an update over members: the node, and what its groups have yet to count
    /// behind the step.
    pub(crate) passing: Option<(usize, Option<Lag>)>,
    /// The members whose parts are gathered in memory: what changes of them is told to those who gather.
    pub(crate) gathered: Vec<Reach>,
    /// What the current transaction changes of them, by node.
    pub(crate) regathered: Vec<(usize, Shift)>,
    /// What kept transactions changed of them.
    kept_regathered: Vec<(usize, Shift)>,
    /// What hides of it what whoever reads may not read; none where nothing is hidden.
    pub(crate) veil: Option<Veil>,
}

impl<'a> Working<'a> {
    /// Nothing changed yet.
    pub fn new(schema: &'a Schema, layouts: &'a [Layout], base: &'a Base<'a>, now: Timestamp) -> Working<'a> {
        Working {
            schema,
            layouts,
            base,
            now,
            then: now,
            by_clock: false,
            keeps_time: false,
            armed: None,
            rows: Rows::new(),
            touched: HashMap::default(),
            changed_rows: Rows::new(),
            received: HashMap::default(),
            kept: HashMap::default(),
            budgets: None,
            deferred: Deferred::default(),
            open: None,
            past: None,
            processors: None,
            reviewed: None,
            actor: None,
            ego: None,
            lags: Lags::new(),
            passing: None,
            gathered: Vec::new(),
            regathered: Vec::new(),
            kept_regathered: Vec::new(),
            veil: None,
        }
    }

    /// Is it a state of the past? Then its documents and references are those of then, and the rest is of now.
    pub fn is_past(&self) -> bool {
        self.past.is_some()
    }

    /// The revision as of which all is seen that is not changed here.
    pub fn revision(&self) -> u64 {
        self.past.unwrap_or_else(|| self.base.revision())
    }

    /// The updates that are open in this state: what they have yet to reach may be behind.
    pub fn open_updates(&self) -> Vec<Arc<Update>> {
        self.open.clone().unwrap_or_else(|| self.base.open_updates())
    }

    /// The numbers of the indexes that are not whole in this state: an entry that is there is right, and one may be missing.
    /// Whoever finds something by an index asks this first; of those that rules are held to and paths found by none is ever
    /// among them.
    pub fn filling(&self) -> Vec<FieldId> {
        match &self.open {
            Some(open) => indexing::filling(open.iter()),
            None => self.base.filling(),
        }
    }

    /// Begins the transaction of the clock, in which time goes on from `then` to `now`.
    pub(crate) fn move_on(&mut self, then: Timestamp, now: Timestamp) {
        (self.then, self.now, self.by_clock) = (then, now, true);
    }

    /// The time as at which what was there before the current transaction is right.
    fn time_before(&self) -> Timestamp {
        self.then
    }

    /// Goes on at a time at which nothing is due.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        (self.then, self.now, self.by_clock) = (now, now, false);
    }

    /// Sets a timer.
    pub(crate) fn arm(&mut self, key: Vec<u8>, time: Timestamp) {
        self.armed = Some(self.armed.map_or(time, |armed| armed.min(time)));
        self.put_row(keys::TIMER, key, Vec::new());
    }

    /// Keeps what the current transaction did.
    pub fn keep(&mut self) {
        let touched = std::mem::take(&mut self.touched);
        self.kept.extend(touched.into_iter().map(|(key, touched)| (key, touched.after)));
        self.kept_regathered.append(&mut self.regathered);
        self.received.clear();
        let mut changed = std::mem::take(&mut self.changed_rows);
        // `append` builds the whole map anew, without looking for a place for each row: worth it where many come.
        if changed.len() >= self.rows.len() / APPENDED_SHARE {
            self.rows.append(&mut changed);
        } else {
            self.rows.extend(changed);
        }
    }

    /// The resources that the current transaction changed, in the order of keys.
    pub fn touched_keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.touched.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// Forgets what the current transaction did.
    pub fn undo(&mut self) {
        self.touched.clear();
        self.changed_rows.clear();
        self.received.clear();
        self.regathered.clear();
        self.deferred = Deferred::default();
    }

    /// Did kept transactions change rows other than documents?
    pub fn has_kept_rows(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The rows that kept transactions changed; none of them are left here.
    pub fn take_kept_rows(&mut self) -> impl Iterator<Item = ((Keyspace, Vec<u8>), Option<Vec<u8>>)> {
        std::mem::take(&mut self.rows).into_iter()
    }

    /// What kept transactions changed of members that are gathered, by node; none of it is left here.
    pub(crate) fn take_regathered(&mut self) -> Vec<(usize, Shift)> {
        std::mem::take(&mut self.kept_regathered)
    }

    /// A document as it was before the current transaction.
    pub fn before(&self, key: &Key) -> Result<Option<Arc<Doc>>, EngineError> {
        match self.touched.get(key) {
            Some(touched) => Ok(touched.before.clone()),
            None => self.load(key),
        }
    }

    /// A document as it is now.
    pub fn after(&self, key: &Key) -> Result<Option<Arc<Doc>>, EngineError> {
        let doc = match self.touched.get(key) {
            Some(touched) => touched.after.clone(),
            None => self.load(key)?,
        };
        match doc {
            Some(doc) if self.veil.is_some() && !self.shows(key, &doc)? => Ok(None),
            doc => Ok(doc),
        }
    }

    /// A document as it was before the current transaction, and as it is now.
    pub fn before_and_after(&self, key: &Key) -> Result<BeforeAndAfter, EngineError> {
        match self.touched.get(key) {
            Some(touched) => Ok((touched.before.clone(), touched.after.clone())),
            None => {
                let doc = self.load(key)?;
                Ok((doc.clone(), doc))
            }
        }
    }

    /// Did the current transaction create or delete it?
    pub fn is_fresh(&self, key: &Key) -> bool {
        self.touched.get(key).is_some_and(|touched| touched.before.is_none() || touched.after.is_none())
    }

    fn load(&self, key: &Key) -> Result<Option<Arc<Doc>>, EngineError> {
        match self.kept.get(key) {
            Some(doc) => Ok(doc.clone()),
            None => self.base.doc(key),
        }
    }

    /// Loads many documents with one read. A single one is left to whoever asks for it.
    pub fn prefetch<'k>(&self, wanted: impl Iterator<Item = &'k Key>) -> Result<(), EngineError> {
        let mut wanted = wanted.peekable();
        let Some(first) = wanted.next() else { return Ok(()) };
        if wanted.peek().is_none() {
            return Ok(());
        }
        let wanted = iter::once(first).chain(wanted);
        let unchanged = |key: &&Key| !self.touched.contains_key(*key) && !self.kept.contains_key(*key);
        self.base.prefetch(wanted.filter(unchanged).collect())
    }

    /// Many documents as they are now, in the order of their keys, with one read.
    pub(crate) fn after_many(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Doc>>>, EngineError> {
        let mut docs = self.loaded_many(keys)?;
        if self.veil.is_some() {
            for (key, doc) in keys.iter().zip(&mut docs) {
                if let Some(there) = doc
                    && !self.shows(key, there)?
                {
                    *doc = None;
                }
            }
        }
        Ok(docs)
    }

    fn loaded_many(&self, keys: &[Key]) -> Result<Vec<Option<Arc<Doc>>>, EngineError> {
        if self.touched.is_empty() && self.kept.is_empty() {
            return self.base.docs(&keys.iter().collect::<Vec<_>>());
        }
        let mut docs = vec![None; keys.len()];
        let mut stored = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            if let Some(touched) = self.touched.get(key) {
                docs[at] = touched.after.clone();
            } else if let Some(kept) = self.kept.get(key) {
                docs[at] = kept.clone();
            } else {
                stored.push(at);
            }
        }
        let wanted: Vec<&Key> = stored.iter().map(|at| &keys[*at]).collect();
        for (at, doc) in stored.into_iter().zip(self.base.docs(&wanted)?) {
            docs[at] = doc;
        }
        Ok(docs)
    }

    /// A document, to be changed.
    pub fn edit(&mut self, key: &Key) -> Result<Option<&mut Doc>, EngineError> {
        let loaded = match self.touched.contains_key(key) {
            true => None,
            false => self.load(key)?,
        };
        let touched = match self.touched.entry(key.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Touched { before: loaded.clone(), after: loaded }),
        };
        Ok(touched.after.as_mut().map(Arc::make_mut))
    }

    /// Creates or deletes a document.
    pub fn replace(&mut self, key: &Key, after: Option<Doc>) -> Result<(), EngineError> {
        let before = self.before(key)?;
        self.touched.insert(key.clone(), Touched { before, after: after.map(Arc::new) });
        Ok(())
    }

    /// Has a document be what it was at another time. Nothing of what follows from it is changed along.
    pub(crate) fn put_back(&mut self, key: &Key, doc: Option<Arc<Doc>>) -> Result<(), EngineError> {
        let before = self.before(key)?;
        self.touched.insert(key.clone(), Touched { before, after: doc });
        Ok(())
    }

    /// Puts a value into a slot, references along with it; was it another one before?
    pub fn set(&mut self, key: &Key, slot: Slot, value: Value) -> Result<bool, EngineError> {
        let Some(doc) = self.after(key)? else { return Ok(false) };
        Ok(self.set_in(key, doc, slot, value))
    }

    /// The same, of a document as it is now.
    pub(crate) fn set_in(&mut self, key: &Key, now: Arc<Doc>, slot: Slot, value: Value) -> bool {
        let field = FieldRef { ty: key.ty, slot };
        let schema = self.schema;
        let embedded = &schema.ty(key.ty).embedded;
        let referring = schema.field(field).reference_index || !embedded.is_empty();
        let touched = match self.touched.entry(key.clone()) {
            Entry::Occupied(entry) => {
                drop(now);
                entry.into_mut()
            }
            Entry::Vacant(entry) => entry.insert(Touched { before: Some(now.clone()), after: Some(now) }),
        };
        let Some(doc) = touched.after.as_mut().map(Arc::make_mut) else { return false };
        let old = if referring { doc.get(slot).clone() } else { Value::Absent };
        if !doc.set(slot, value.clone()) {
            return false;
        }
        if schema.field(field).reference_index {
            self.refer(key, field, &targets(&old), &targets(&value));
        }
        for via in embedded {
            let via = FieldRef { ty: key.ty, slot: *via };
            if matches!(schema.field(via).kind, FieldKind::Embedded { of, .. } if of == slot) {
                self.refer(key, via, &schema.embedded(via, &old), &schema.embedded(via, &value));
            }
        }
        true
    }

    /// Puts the references of a new resource into the reference index, or takes those of one that goes out of it.
    pub fn refer_all(&mut self, key: &Key, old: Option<&Doc>, new: Option<&Doc>) {
        let schema = self.schema;
        for (slot, _) in schema.ty(key.ty).slots().filter(|(_, field)| field.reference_index) {
            let field = FieldRef { ty: key.ty, slot };
            let held = |doc: Option<&Doc>| doc.map(|doc| linked(schema, field, doc)).unwrap_or_default();
            self.refer(key, field, &held(old), &held(new));
        }
    }

    /// Brings the reference index up to date with a field that refers to others than before.
    pub fn refer(&mut self, key: &Key, field: FieldRef, old: &[Id], new: &[Id]) {
        let id = self.schema.field(field).id;
        for target in old.iter().filter(|target| !new.contains(target)) {
            self.delete_row(keys::REFERENCE, keys::reference(id, target, &key.id));
        }
        for target in new.iter().filter(|target| !old.contains(target)) {
            self.put_row(keys::REFERENCE, keys::reference(id, target, &key.id), Vec::new());
        }
    }

    /// Puts a row other than a document.
    pub fn put_row(&mut self, keyspace: Keyspace, key: Vec<u8>, value: Vec<u8>) {
        self.changed_rows.insert((keyspace, key), Some(value));
    }

    /// Deletes a row other than a document.
    pub fn delete_row(&mut self, keyspace: Keyspace, key: Vec<u8>) {
        self.changed_rows.insert((keyspace, key), None);
    }

    /// Refuses what the store would refuse, together with all of the group: rows with a key past the limit.
    pub fn check_keys(&self) -> Result<(), EngineError> {
        if self.changed_rows.keys().all(|(_, key)| key.len() <= MAX_KEY_BYTES) {
            return Ok(());
        }
        let message = format!("a value that others are put in order by is longer than {MAX_KEY_BYTES} bytes");
        Err(EngineError::refused("too-long", None, message))
    }

    /// How many rows the current transaction changes, documents among them.
    pub fn changed_rows(&self) -> u64 {
        (self.touched.len() + self.changed_rows.len()) as u64
    }

    /// A row other than a document.
    pub fn row(&self, keyspace: Keyspace, key: Vec<u8>) -> Result<Option<Vec<u8>>, EngineError> {
        let key = (keyspace, key);
        match self.changed_rows.get(&key).or_else(|| self.rows.get(&key)) {
            Some(row) => Ok(row.clone()),
            None => self.base.row(keyspace, &key.1),
        }
    }

    /// The first row of a range in a direction: a look-up in the store, and one in each layer.
    pub fn first_row(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
    ) -> Result<Option<Row>, EngineError> {
        let mut first = None;
        self.scan_rows(keyspace, range, direction, &mut |key, value| {
            first = Some((key.to_vec(), value.to_vec()));
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// Visits the rows of a range in order until `visit` breaks; the store is read no further than that.
    pub fn scan_rows(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut changed = Changes::of(self, keyspace, range, direction);
        let mut broken = false;
        self.base.scan(keyspace, range, direction, &mut |key, value| {
            while let Some((at, row)) = changed.next {
                let order = at.as_slice().cmp(key);
                let order = if direction == Direction::Forward { order } else { order.reverse() };
                if order == Ordering::Greater {
                    break;
                }
                changed.advance();
                if let Some(row) = row
                    && visit(at, row).is_break()
                {
                    broken = true;
                    return ControlFlow::Break(());
                }
                if order == Ordering::Equal {
                    return ControlFlow::Continue(());
                }
            }
            let flow = visit(key, value);
            broken = flow.is_break();
            flow
        })?;
        while let (Some((at, row)), false) = (changed.next, broken) {
            changed.advance();
            broken = row.as_ref().is_some_and(|row| visit(at, row).is_break());
        }
        Ok(())
    }

    /// All rows of a range, in order.
    pub fn rows(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, EngineError> {
        let mut found = BTreeMap::new();
        self.base.scan(keyspace, range, Direction::Forward, &mut |key, value| {
            found.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
        for layer in [&self.rows, &self.changed_rows] {
            for ((_, key), row) in layer.range(bounds(keyspace, range)) {
                match row {
                    Some(value) => found.insert(key.clone(), value.clone()),
                    None => found.remove(key),
                };
            }
        }
        Ok(found)
    }
}

/// What a document refers to by a field, which may be one that is kept in no document.
pub fn linked(schema: &Schema, field: FieldRef, doc: &Doc) -> Vec<Id> {
    match &schema.field(field).kind {
        FieldKind::Embedded { of, .. } => schema.embedded(field, doc.get(*of)),
        _ => targets(doc.get(field.slot)),
    }
}

/// What a value refers to.
pub fn targets(value: &Value) -> Vec<Id> {
    match value {
        Value::Ref(id) => vec![id.clone()],
        Value::List(elements) => {
            let ids = elements.iter().filter_map(|element| match element {
                Value::Ref(id) => Some(id.clone()),
                _ => None,
            });
            ids.collect()
        }
        _ => Vec::new(),
    }
}

/// The state after the changes so far.
impl View for Working<'_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        self.after(&Key::new(ty, id.clone()))
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        let prefix = keys::references_to(self.schema.field(of).id, target);
        let length = prefix.len();
        let mut ids = match self.remembered_referrers(&prefix)? {
            Some(ids) => ids,
            None => {
                let rows = self.rows(keys::REFERENCE, &KeyRange::prefix(prefix))?;
                let ids = rows.keys().map(|key| keys::id_behind(key, length));
                ids.map(|id| id.ok_or_else(|| EngineError::corrupt("a reference")))
                    .collect::<Result<_, _>>()?
            }
        };
        self.retain_shown(of.ty, &mut ids)?;
        Ok(ids)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        let prefix = keys::docs_of(self.schema.ty(ty).id);
        let mut ids = BTreeSet::new();
        let mut corrupt = false;
        let range = KeyRange::prefix(prefix.clone());
        self.base.scan_keys(keys::DOC, &range, Direction::Forward, &mut |key| {
            match keys::id_behind(key, prefix.len()) {
                Some(id) => {
                    ids.insert(id);
                }
                None => corrupt = true,
            }
            ControlFlow::Continue(())
        })?;
        if corrupt {
            return Err(EngineError::corrupt("the key of a document"));
        }
        let layers = self.kept.iter().map(|(key, doc)| (key, doc.is_some()));
        let touched = self.touched.iter().map(|(key, touched)| (key, touched.after.is_some()));
        for (key, there) in layers.chain(touched).filter(|(key, _)| key.ty == ty) {
            if there {
                ids.insert(key.id.clone());
            } else {
                ids.remove(&key.id);
            }
        }
        let mut ids: Vec<Id> = ids.into_iter().collect();
        self.retain_shown(ty, &mut ids)?;
        Ok(ids)
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    fn unveil(&self) -> Option<&Cell<usize>> {
        self.veil.as_ref().map(Veil::depth)
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        holds_many(self.schema, field)
    }
}

/// The state before the current transaction, for expressions that read only what to-one links lead to.
pub struct Before<'w, 'a>(pub &'w Working<'a>);

impl View for Before<'_, '_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        self.0.before(&Key::new(ty, id.clone()))
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        self.0.referrers(of, target)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        self.0.all(ty)
    }

    fn now(&self) -> Timestamp {
        self.0.time_before()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.0.holds_many(field)
    }
}
