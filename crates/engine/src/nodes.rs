//! Many nodes over one store: how their commits come one after the other, and how each follows the others.
//!
//! Where a store is shared (`Feature::Shared`), a row of it is the *head*: which commit was the last, its revision and
//! time, and which *epoch* of the schema it was planned under. Every commit requires the head that its node saw last,
//! before it read anything, and puts the next one. So of two nodes that commit at once one is told that the store has
//! moved on ([`EngineError::Moved`]), follows, and runs the same again from the start (`Executor::contend`). The
//! commits of all nodes are one after the other, and nothing that a commit was computed from has changed before it.
//!
//! A node that was overtaken takes its turn from then on, before it looks (`Executor::await_turn`), where the store has turns: so
//! nodes that write all the time work one after the other, none of them for nothing, and each comes to it. One that finds
//! that nobody has written since its own last commit does without again. Turns save work; only the head keeps things right.
//! To a store that is a journey away a commit in a turn makes few: one for the turn with the head and the last notes, one for a
//! snapshot with the head that it shows and one for each read of it where the cache does not have all, one for the commit.
//!
//! Beside the head each commit leaves a note of what it changed: which documents, whether updates, the earliest timer.
//! Whoever opens a snapshot that is newer than what its node knows of reads the notes in between (`Engine::follow`):
//! the cache forgets what others changed, the ledger of updates is loaded anew, then the revision is published. The
//! notes are a ring; who is further behind than that forgets all.
//!
//! What always holds:
//! - What a node keeps in memory is as of the head that it knows; that only moves forward, under one lock.
//! - A node commits and reads under the epoch that it was opened with or not at all: a change of the schema, or a build,
//!   is the first commit of a new epoch, so from then on no other node maintains too little.
//! - While something is built nobody but the builder commits; who opens the store meanwhile is told so.
//!
//! A store that is not shared has no head and no notes, and pays for nothing of this. Read next: [`crate::engine`].

use std::sync::Arc;

use corollary_schema::{Schema, TypeId};
use corollary_store::{Batch, Feature, Snapshot, StoreError, Turn, Write};
use corollary_value::Id;
use corollary_value::codec::{push_varint, read_slice, read_varint};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;
use smol_str::SmolStr;

use crate::doc::{Doc, Key};
use crate::engine::{Engine, Executor, stored_time};
use crate::error::EngineError;
use crate::keys;
use crate::processors;
use crate::updates::{Ledger, Update};

/// Commits whose notes are kept. A node that is further behind forgets all that it has in memory.
pub const NOTES: u64 = 1_024;

/// Documents that a note names; one of more says so, and the others forget all.
const MAX_NOTED: usize = 10_000;

/// Notes that are read along with the head, behind the last commit that is known. Nodes that take turns are hardly further
/// behind than there are others; a note may be long, so more would not be worth it.
const NOTES_AHEAD: u64 = 3;

/// How often a commit is run because others committed in between: where the store has turns, a few times would do.
pub const MAX_ATTEMPTS: usize = 64;

/// The last commit of a shared store, as the next one requires it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Counts all commits, also those without a revision.
    pub sequence: u64,
    /// The last revision.
    pub revision: u64,
    /// The time as at which all that is stored is right.
    pub time: Timestamp,
    /// Counts changes of the schema and builds.
    pub epoch: u64,
    /// The node that builds what a schema needs; nobody else commits.
    pub builder: Option<SmolStr>,
}

impl Head {
    /// As it stands in a store; of one that no node has committed to yet, what it would be.
    pub fn read(snapshot: &dyn Snapshot) -> Result<Head, EngineError> {
        Head::of(snapshot.get(keys::META, keys::HEAD)?.as_deref(), snapshot)
    }

    /// From what a snapshot has of it.
    fn of(stored: Option<&[u8]>, snapshot: &dyn Snapshot) -> Result<Head, EngineError> {
        match stored {
            Some(bytes) => Head::decode(bytes).ok_or_else(|| EngineError::corrupt("the head")),
            None => {
                let (revision, time) = (keys::read_revision(snapshot)?, stored_time(snapshot)?);
                Ok(Head { sequence: 0, revision, time, epoch: 0, builder: None })
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(40);
        for number in [self.sequence, self.revision, self.epoch] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&keys::sortable(self.time));
        bytes.extend_from_slice(self.builder.as_deref().unwrap_or_default().as_bytes());
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Head> {
        let mut number = || {
            let (number, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            Some(u64::from_be_bytes(*number))
        };
        let (sequence, revision, epoch) = (number()?, number()?, number()?);
        let (time, builder) = bytes.split_first_chunk()?;
        let builder = std::str::from_utf8(builder).ok()?;
        let builder = (!builder.is_empty()).then(|| builder.into());
        Some(Head { sequence, revision, time: keys::read_sortable(time)?, epoch, builder })
    }

    /// What the next commit requires: nothing is there before the first.
    fn required(&self) -> Option<Vec<u8>> {
        (self.sequence > 0).then(|| self.encode())
    }
}

/// What a commit changed, for the nodes that did not make it.
///
/// ```text
/// note = 8 bytes sequence, flags, [16 bytes time], varint count, (varint length, key of a document)…
/// ```
#[derive(Debug, PartialEq, Eq)]
struct Note {
    sequence: u64,
    /// The keys of its documents; none where there are too many, or nobody knows.
    documents: Option<Vec<Vec<u8>>>,
    /// Has it changed updates?
    updates: bool,
    /// Has it changed processors, or grants?
    processors: bool,
    /// The earliest timer that it set.
    armed: Option<Timestamp>,
}

const UPDATES: u8 = 1;
const ARMED: u8 = 2;
const ALL: u8 = 4;
const PROCESSORS: u8 = 8;

impl Note {
    /// Of what is in a batch.
    fn of(batch: &Batch, sequence: u64) -> Note {
        let processors = processors::are_changed(batch);
        let mut note =
            Note { sequence, documents: Some(Vec::new()), updates: false, processors, armed: None };
        for write in batch.writes() {
            match write {
                Write::Put { keyspace: keys::DOC, key, .. } | Write::Delete { keyspace: keys::DOC, key } => {
                    if let Some(documents) = &mut note.documents {
                        documents.push(key.clone());
                    }
                }
                Write::DeleteRange { keyspace: keys::DOC, .. } => note.documents = None,
                Write::Put { keyspace: keys::TIMER, key, .. } => {
                    let time = keys::read_timer(key).map(|(time, _)| time);
                    note.armed = earliest(note.armed, time);
                }
                write if write.keyspace() == keys::UPDATE => note.updates = true,
                _ => {}
            }
        }
        note.documents = note.documents.filter(|documents| documents.len() <= MAX_NOTED);
        // The order in which a batch has them is that of a map; the same commit leaves the same note.
        note.documents.iter_mut().for_each(|documents| documents.sort_unstable());
        note
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.sequence.to_be_bytes().to_vec();
        let flag = |holds: bool, flag: u8| if holds { flag } else { 0 };
        bytes.push(
            flag(self.updates, UPDATES)
                | flag(self.processors, PROCESSORS)
                | flag(self.armed.is_some(), ARMED)
                | flag(self.documents.is_none(), ALL),
        );
        if let Some(armed) = self.armed {
            bytes.extend_from_slice(&keys::sortable(armed));
        }
        let documents = self.documents.as_deref().unwrap_or_default();
        push_varint(documents.len() as u64, &mut bytes);
        for key in documents {
            push_varint(key.len() as u64, &mut bytes);
            bytes.extend_from_slice(key);
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Note> {
        let (sequence, rest) = bytes.split_first_chunk()?;
        let (flags, rest) = rest.split_first()?;
        bytes = rest;
        let armed = match flags & ARMED {
            0 => None,
            _ => {
                let (time, rest) = bytes.split_first_chunk()?;
                bytes = rest;
                Some(keys::read_sortable(time)?)
            }
        };
        let bytes = &mut bytes;
        let mut documents = Vec::new();
        for _ in 0..read_varint(bytes).ok()? {
            let length = usize::try_from(read_varint(bytes).ok()?).ok()?;
            documents.push(read_slice(bytes, length).ok()?.to_vec());
        }
        let documents = (flags & ALL == 0).then_some(documents);
        Some(Note {
            sequence: u64::from_be_bytes(*sequence),
            documents,
            updates: flags & UPDATES != 0,
            processors: flags & PROCESSORS != 0,
            armed,
        })
    }
}

/// A snapshot of a store that is not shared, and the last commit that it shows.
fn look_into(snapshot: Box<dyn Snapshot>) -> Result<(Box<dyn Snapshot>, Head), EngineError> {
    let (revision, time) = (keys::read_revision(&*snapshot)?, Timestamp::MIN);
    Ok((snapshot, Head { sequence: 0, revision, time, epoch: 0, builder: None }))
}

/// Loads the ledger as a snapshot has it.
type Load<'l> = &'l dyn Fn(&dyn Snapshot) -> Result<Ledger, EngineError>;

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What a node knows of the store that it shares.
pub(crate) struct Nodes {
    known: Mutex<Known>,
}

struct Known {
    head: Head,
    /// The earliest timer that others set since the executor last asked.
    armed: Option<Timestamp>,
}

impl Nodes {
    pub(crate) fn new(head: Head) -> Nodes {
        Nodes { known: Mutex::new(Known { head, armed: None }) }
    }
}

/// How an executor gets on with those of other nodes.
#[derive(Default)]
pub(crate) struct Rivals {
    /// Has one of them been faster, and has none left the store to this one since?
    overtaken: bool,
    /// What it waited for and has not used yet, and what it saw with it.
    turn: Option<(Turn, Seen)>,
}

/// What was read along with a turn: nothing is committed behind it before the turn is over.
struct Seen {
    /// None where nobody has committed yet.
    head: Option<Head>,
    /// The last commit that was known then.
    after: u64,
    /// The rows of the notes behind it, whatever is in them by now.
    notes: Vec<Option<Vec<u8>>>,
}

impl Seen {
    /// The keys that it is read from.
    fn keys(after: u64) -> Vec<Vec<u8>> {
        let notes = (after + 1..=after + NOTES_AHEAD).map(keys::note);
        std::iter::once(keys::HEAD.to_vec()).chain(notes).collect()
    }

    fn of(after: u64, values: Vec<Option<Vec<u8>>>) -> Result<Seen, EngineError> {
        let mut values = values.into_iter();
        let head = values.next().flatten();
        let head = head.map(|head| Head::decode(&head).ok_or_else(|| EngineError::corrupt("the head")));
        Ok(Seen { head: head.transpose()?, after, notes: values.collect() })
    }

    /// The notes of the commits behind one, up to its head; none where it does not have them all.
    fn notes(&self, from: u64, to: u64) -> Result<Option<Vec<Note>>, EngineError> {
        let Some(first) = from.checked_sub(self.after).and_then(|at| usize::try_from(at).ok()) else {
            return Ok(None);
        };
        match self.notes.get(first..) {
            Some(rows) if rows.len() as u64 >= to - from => read_notes(from, to, rows),
            _ => Ok(None),
        }
    }
}

/// The notes of the commits behind one, up to another; none where they are not all there.
fn notes(snapshot: &dyn Snapshot, from: u64, to: u64) -> Result<Option<Vec<Note>>, EngineError> {
    if to - from > NOTES {
        return Ok(None);
    }
    let rows: Vec<Vec<u8>> = (from + 1..=to).map(keys::note).collect();
    let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    read_notes(from, to, &snapshot.get_many(keys::META, &rows)?)
}

/// The same from their rows, which may be those of other commits.
fn read_notes(from: u64, to: u64, rows: &[Option<Vec<u8>>]) -> Result<Option<Vec<Note>>, EngineError> {
    let mut notes = Vec::with_capacity(rows.len());
    for (expected, row) in (from + 1..=to).zip(rows) {
        match row.as_deref().map(Note::decode) {
            Some(Some(note)) if note.sequence == expected => notes.push(note),
            Some(None) => return Err(EngineError::corrupt("the note of a commit")),
            Some(Some(_)) | None => return Ok(None),
        }
    }
    Ok(Some(notes))
}

/// The document that a row of documents is of; none of a type that the schema does not have.
fn document(schema: &Schema, row: &[u8]) -> Result<Option<Key>, EngineError> {
    let corrupt = || EngineError::corrupt("the note of a commit");
    let (number, id) = row.split_first_chunk().ok_or_else(corrupt)?;
    let (id, _) = Id::read_key(id).ok_or_else(corrupt)?;
    let number = TypeId(u32::from_be_bytes(*number));
    Ok(schema.type_numbered(number).map(|ty| Key::new(ty, id)))
}

impl Engine {
    /// Is the store one that other nodes commit to?
    pub fn is_shared(&self) -> bool {
        self.nodes.is_some()
    }

    /// The last commit of a shared store that is known here, counting those without a revision too; 0 of another store.
    pub(crate) fn sequence(&self) -> u64 {
        self.nodes.as_ref().map_or(0, |nodes| nodes.known.lock().head.sequence)
    }

    /// What is stored now, and the last commit of it.
    pub(crate) fn look(&self) -> Result<(Box<dyn Snapshot>, Head), EngineError> {
        if !self.is_shared() {
            return look_into(self.store.snapshot()?);
        }
        let (snapshot, values) = self.store.snapshot_and_get(keys::META, &[keys::HEAD])?;
        let head = Head::of(values.first().and_then(Option::as_deref), &*snapshot)?;
        Ok((snapshot, head))
    }

    /// What is stored when the last group is durable, and the last commit of it. Of a store that is not shared.
    pub(crate) fn look_ahead(&self) -> Result<(Box<dyn Snapshot>, Head), EngineError> {
        look_into(self.store.tip()?)
    }

    /// The time as at which all that a snapshot shows is right.
    ///
    /// # Errors
    ///
    /// [`EngineError::Superseded`] where it shows the data under another schema than this node's.
    pub(crate) fn time_of(&self, snapshot: &dyn Snapshot) -> Result<Timestamp, EngineError> {
        let Some(nodes) = &self.nodes else { return stored_time(snapshot) };
        let head = Head::read(snapshot)?;
        check_epoch(&nodes.known.lock().head, &head)?;
        Ok(head.time)
    }

    /// Takes over what other nodes have committed by now, for who has heard of it from one of them.
    pub fn catch_up(&self) -> Result<(), EngineError> {
        if !self.is_shared() {
            return Ok(());
        }
        let (snapshot, head) = self.look()?;
        self.follow_to(&head, &*snapshot)
    }

    /// Takes over what other nodes have committed, up to what a snapshot shows. Nothing where the store is not shared, or
    /// all of it is known.
    pub(crate) fn follow(&self, snapshot: &dyn Snapshot) -> Result<(), EngineError> {
        if self.is_shared() { self.follow_to(&Head::read(snapshot)?, snapshot) } else { Ok(()) }
    }

    /// The same, where the last commit that the snapshot shows has been read of it.
    pub(crate) fn follow_to(&self, head: &Head, snapshot: &dyn Snapshot) -> Result<(), EngineError> {
        self.follow_by(head, &|from| notes(snapshot, from, head.sequence), &|load| load(snapshot))
    }

    /// The same, up to what was read along with a turn; the store is asked for what was not.
    fn follow_seen(&self, seen: &Seen) -> Result<(), EngineError> {
        let Some(head) = &seen.head else { return self.catch_up() };
        let notes = |from| match seen.notes(from, head.sequence)? {
            Some(found) => Ok(Some(found)),
            None => notes(&*self.store.snapshot()?, from, head.sequence),
        };
        self.follow_by(head, &notes, &|load| load(&*self.store.snapshot()?))
    }

    /// Follows to a head; with what gives the notes behind the commit that is known, and has something loaded from a snapshot that
    /// shows the head, or more.
    fn follow_by(
        &self,
        head: &Head,
        notes: &dyn Fn(u64) -> Result<Option<Vec<Note>>, EngineError>,
        with_snapshot: &dyn Fn(Load<'_>) -> Result<Ledger, EngineError>,
    ) -> Result<(), EngineError> {
        let Some(nodes) = &self.nodes else { return Ok(()) };
        let mut known = nodes.known.lock();
        if head.sequence <= known.head.sequence {
            return Ok(());
        }
        check_epoch(&known.head, head)?;
        let notes = notes(known.head.sequence)?;
        if notes.as_ref().is_none_or(|notes| notes.iter().any(|note| note.updates)) {
            let before = self.updates();
            let load = |snapshot: &dyn Snapshot| self.load_ledger_again(snapshot, &before, head);
            let ledger = with_snapshot(&load)?;
            if ledger.repairs_more_than(&before) {
                self.cache.forget_all(head.revision);
            }
            self.publish_updates(Arc::new(ledger));
        }
        if notes.as_ref().is_none_or(|notes| notes.iter().any(|note| note.processors)) {
            self.line.change();
            self.grants.change();
        }
        let documents = notes
            .as_ref()
            .and_then(|notes| notes.iter().map(|note| note.documents.as_deref()).collect::<Option<Vec<_>>>());
        match documents {
            Some(documents) => {
                for row in documents.into_iter().flatten() {
                    if let Some(key) = document(self.schema(), row)? {
                        self.cache.forget(&key, head.revision);
                    }
                }
            }
            None => self.cache.forget_all(head.revision),
        }
        // Where nobody knows what was set, something may be due at any time.
        let armed = notes
            .map_or(Some(Timestamp::MIN), |notes| notes.iter().map(|note| note.armed).fold(None, earliest));
        known.armed = earliest(known.armed, armed);
        self.pass(head.time);
        self.revisions.publish(head.revision);
        known.head = head.clone();
        Ok(())
    }

    /// A change of the ledger that only this node knows of: it is shown, unless the store has moved on since a head.
    pub(crate) fn note_updates(&self, head: &Head, ledger: Ledger) {
        match &self.nodes {
            None => self.publish_updates(Arc::new(ledger)),
            Some(nodes) => {
                let known = nodes.known.lock();
                if known.head.sequence == head.sequence {
                    self.publish_updates(Arc::new(ledger));
                }
            }
        }
    }

    /// May this node work on an update, as far as other nodes are concerned? Its own it may, and what nobody holds; and one
    /// of a node that holds too many ([`Engine::may_relieve`]).
    pub(crate) fn may_take(&self, ledger: &Ledger, update: &Update, now: Timestamp) -> bool {
        let record = &update.record;
        !self.is_shared()
            || record.owner.is_empty()
            || record.owner == self.node_name()
            || record.lease <= now
            || self.may_relieve(ledger, update, now)
    }

    /// May this node take an update from the one that holds it? It may, if that one holds two more at least: so no two nodes
    /// that work differ by more than one in the end, and of n updates none of k nodes holds more than n / k, rounded up.
    /// Whoever held it finds its next part refused, and leaves it, as one that wakes late does.
    pub(crate) fn may_relieve(&self, ledger: &Ledger, update: &Update, now: Timestamp) -> bool {
        let owner = &update.record.owner;
        if !self.is_shared() || owner.is_empty() || owner == self.node_name() || update.record.lease <= now {
            return false;
        }
        let held = |node: &str| ledger.open.iter().filter(|it| it.record.owner == node).count();
        held(owner) >= held(self.node_name()) + 2
    }
}

/// Refuses to go on under another epoch than before.
fn check_epoch(known: &Head, found: &Head) -> Result<(), EngineError> {
    if known.epoch == found.epoch { Ok(()) } else { Err(EngineError::Superseded) }
}

impl Executor {
    /// Takes over what other nodes have committed; tells whether there was any.
    ///
    /// # Errors
    ///
    /// [`EngineError::Superseded`] where another node has changed the schema: then nothing may be done here any more.
    pub fn follow(&mut self) -> Result<bool, EngineError> {
        let engine = self.engine().clone();
        if !engine.is_shared() {
            return Ok(false);
        }
        engine.catch_up()?;
        Ok(self.take_up())
    }

    /// Goes on from the head that is known by now, which a reader may have followed to; has it moved?
    fn take_up(&mut self) -> bool {
        let engine = self.engine().clone();
        let Some(nodes) = &engine.nodes else { return false };
        let mut known = nodes.known.lock();
        let armed = known.armed.take();
        let moved = known.head.sequence != self.head.sequence;
        self.head = known.head.clone();
        drop(known);
        self.note_armed(armed);
        moved
    }

    /// Waits for its turn to commit, where other nodes write too. What the next commit is made of is best gathered behind
    /// this: it lasts as long as their commits take.
    ///
    /// # Errors
    ///
    /// The store's. There is no need to tell anybody: the next commit meets them again, if they last.
    pub fn await_turn(&mut self) -> Result<(), EngineError> {
        let engine = self.engine().clone();
        let store = &engine.store;
        if self.rivals.overtaken && self.rivals.turn.is_none() && store.features().has(Feature::Turns) {
            let after = engine.sequence();
            let keys = Seen::keys(after);
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let (turn, values) = store.turn_and_get(keys::META, &keys)?;
            self.rivals.turn = Some((turn, Seen::of(after, values)?));
        }
        Ok(())
    }

    /// Runs what ends in a commit; again, from the start, where other nodes have committed in between.
    pub(crate) fn contend<T>(
        &mut self,
        mut run: impl FnMut(&mut Executor) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.settle()?;
        if !self.engine().is_shared() {
            return run(self);
        }
        for attempt in 0..MAX_ATTEMPTS {
            self.await_turn()?;
            // It is over when this has been tried, with a commit or without.
            let turn = self.rivals.turn.take();
            let moved = match &turn {
                Some((_, seen)) => {
                    self.engine().follow_seen(seen)?;
                    self.take_up()
                }
                None if attempt > 0 => self.follow()?,
                None => self.take_up(),
            };
            if turn.is_some() {
                self.rivals.overtaken = moved;
            }
            match run(self) {
                Err(EngineError::Moved) => self.rivals.overtaken = true,
                outcome => return outcome,
            }
        }
        Err(EngineError::Contended)
    }

    /// Sees to it that nothing has been committed since the head that is known. For replies that no commit vouches for.
    pub(crate) fn confirm(&self) -> Result<(), EngineError> {
        if !self.engine().is_shared() {
            return Ok(());
        }
        let (_, found) = self.engine().look()?;
        if found.sequence == self.head.sequence { Ok(()) } else { Err(EngineError::Moved) }
    }

    /// Commits a batch to a shared store, as what follows the head that is known.
    fn commit_behind_head(
        &mut self,
        mut batch: Batch,
        next: Head,
        docs: HashMap<Key, Option<Arc<Doc>>, RandomState>,
        ledger: Option<Arc<Ledger>>,
    ) -> Result<(), EngineError> {
        let note = Note::of(&batch, next.sequence);
        batch.require(keys::META, keys::HEAD, self.head.required());
        batch.put(keys::META, keys::HEAD, next.encode());
        batch.put(keys::META, keys::note(next.sequence), note.encode());
        let engine = self.engine().clone();
        engine.sync(&batch).map_err(|error| match error {
            StoreError::Conflict { .. } => EngineError::Moved,
            error => error.into(),
        })?;
        let Some(nodes) = &engine.nodes else { return Ok(()) };
        let mut known = nodes.known.lock();
        // A reader may have seen the commit already, and followed it, and more.
        if known.head.sequence + 1 == next.sequence {
            if let Some(ledger) = ledger {
                engine.publish_updates(ledger);
            }
            for (key, doc) in docs {
                engine.cache.put(&key, doc, next.revision);
            }
            engine.pass(next.time);
            engine.revisions.publish(next.revision);
            known.head = next;
        }
        drop(known);
        self.take_up();
        Ok(())
    }

    /// Commits what a group, or a step of an update, came to.
    pub(crate) fn commit_shared(
        &mut self,
        batch: Batch,
        docs: HashMap<Key, Option<Arc<Doc>>, RandomState>,
        (revision, time): (u64, Timestamp),
        ledger: Option<Arc<Ledger>>,
    ) -> Result<(), EngineError> {
        let sequence = self.head.sequence + 1;
        let next = Head { sequence, revision, time, ..self.head.clone() };
        self.commit_behind_head(batch, next, docs, ledger)
    }

    /// Commits a part of a build. The first one begins a new epoch: from then on all others have to stop.
    pub(crate) fn commit_built(
        &mut self,
        batch: Batch,
        docs: HashMap<Key, Option<Arc<Doc>>, RandomState>,
        revision: u64,
    ) -> Result<(), EngineError> {
        let builder = Some(SmolStr::new(self.engine().node_name()));
        let epoch = self.head.epoch + u64::from(self.head.builder != builder);
        let sequence = self.head.sequence + 1;
        let next = Head { sequence, revision, epoch, builder, ..self.head.clone() };
        self.commit_behind_head(batch, next, docs, None)
    }

    /// Commits the schema and what is built of it; `more` says whether something has yet to be built.
    pub(crate) fn commit_schema(&mut self, batch: Batch, more: bool) -> Result<(), EngineError> {
        let engine = self.engine().clone();
        if !engine.is_shared() {
            return Ok(engine.store.commit(&batch)?);
        }
        if more {
            return self.commit_built(batch, HashMap::default(), self.head.revision);
        }
        let (sequence, epoch) = (self.head.sequence + 1, self.head.epoch + 1);
        let next = Head { sequence, epoch, builder: None, ..self.head.clone() };
        self.commit_behind_head(batch, next, HashMap::default(), None)
    }

    /// Commits what has to do with no document and no revision.
    pub(crate) fn commit_aside(&mut self, batch: Batch) -> Result<(), EngineError> {
        let engine = self.engine().clone();
        if !engine.is_shared() {
            return Ok(engine.store.commit(&batch)?);
        }
        let of = (self.head.revision, self.head.time);
        self.commit_shared(batch, HashMap::default(), of, None)
    }

    /// Ends a build, if one was begun: others may open the store.
    pub fn end_building(&mut self) -> Result<(), EngineError> {
        if self.head.builder.is_none() {
            return Ok(());
        }
        let sequence = self.head.sequence + 1;
        let next = Head { sequence, builder: None, ..self.head.clone() };
        self.commit_behind_head(Batch::new(), next, HashMap::default(), None)
    }

    /// Loads the ledger of a shared store, as of what is stored now. When it is opened, before anybody reads.
    pub(crate) fn load_shared_ledger(&mut self, now: Timestamp) -> Result<(), EngineError> {
        let engine = self.engine().clone();
        let Some(nodes) = &engine.nodes else { return Ok(()) };
        let snapshot = engine.store.snapshot()?;
        engine.follow(&*snapshot)?;
        let known = nodes.known.lock();
        let ledger = engine.load_ledger(&*snapshot, None, now)?;
        engine.publish_updates(Arc::new(ledger));
        drop(known);
        self.take_up();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_and_a_note_come_back_as_they_were() {
        let time = Timestamp::new(1_234, 5).expect("a time");
        for builder in [None, Some("a node".into())] {
            let head = Head { sequence: 3, revision: 2, time, epoch: 9, builder };
            assert_eq!(Head::decode(&head.encode()), Some(head));
        }
        let documents = || Some(vec![b"one".to_vec(), Vec::new()]);
        for (documents, updates, armed) in
            [(documents(), true, Some(time)), (documents(), false, None), (None, true, None)]
        {
            let note = Note { sequence: 7, documents, updates, processors: !updates, armed };
            assert_eq!(Note::decode(&note.encode()), Some(note));
        }
        assert_eq!(Head::decode(b"short"), None);
        assert_eq!(Note::decode(b"short"), None);
    }
}
