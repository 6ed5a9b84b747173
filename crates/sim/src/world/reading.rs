//! Groups that are committed while somebody reads: what is read is all of one revision.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use corollary_engine::eval::View;
use corollary_engine::{Doc, Key};
use jiff::Timestamp;

use super::World;
use super::clients::WATCHER;
use super::verdict::Judged;
use crate::judge::{self, State};
use crate::model::Place;

/// What a reader saw: the revision, and some documents.
type Seen = (u64, Vec<(Key, Option<Arc<Doc>>)>);

impl World {
    /// A group during which readers look at what it is about.
    pub(super) fn watched(&mut self, judged: &Judged<'_>, now: Timestamp) -> Result<(), String> {
        let before = self.state()?;
        let engine = self.reader()?;
        let keys = self.keys_about(judged);
        let asking = self.history.ask(WATCHER, engine.node_name());
        let seen: Arc<Mutex<Vec<Result<Seen, String>>>> = Arc::default();
        let (weak, store_of_seen) = (Arc::downgrade(&engine), seen.clone());
        self.store.watch(Some(Arc::new(move || {
            let Some(engine) = weak.upgrade() else { return };
            // One that looks into the store, then all of them from wherever they are, then one alone.
            for (lists, count) in [(true, 1), (false, keys.len()), (false, 1)] {
                let looked = judge::read(&engine, now, |working| {
                    if lists {
                        working.all(keys[0].ty)?;
                    }
                    let mut docs = Vec::new();
                    for key in &keys[..count] {
                        docs.push((key.clone(), working.after(key)?));
                    }
                    Ok((working.base.revision(), docs))
                });
                store_of_seen.lock().unwrap_or_else(PoisonError::into_inner).push(looked);
            }
        })));
        let outcomes = self.commit(judged.transactions, now);
        self.store.watch(None);
        self.accept(judged, outcomes?)?;
        let after = self.state()?;
        let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut newest = 0;
        for looked in seen {
            let (revision, docs) = looked?;
            if revision < newest {
                return Err(format!("a reader saw {newest}, and then {revision}"));
            }
            newest = revision;
            self.watcher_saw(asking, &engine, revision, &docs);
            self.check_seen((revision, docs), &before, &after)?;
        }
        Ok(())
    }

    /// A group that is committed while somebody reads.
    pub(super) fn amid_a_read(&mut self, judged: &Judged<'_>, now: Timestamp) -> Result<(), String> {
        let before = self.state()?;
        let engine = self.reader()?;
        let keys = self.keys_about(judged);
        let asking = self.history.ask(WATCHER, engine.node_name());
        let first = self.random.below(keys.len() + 1);
        let types: Vec<_> =
            engine.schema().types().filter(|(_, ty)| ty.visible()).map(|(ty, _)| ty).collect();
        let listed = *self.random.pick(&types);
        let outcomes = Cell::new(None);
        let committed = Cell::new(false);
        let (revision, docs, listing) = judge::read(&engine, now, |working| {
            let mut docs = Vec::new();
            for (at, key) in keys.iter().enumerate() {
                if at == first && !committed.replace(true) {
                    outcomes.set(Some(self.commit(judged.transactions, now)));
                }
                docs.push((key.clone(), working.after(key)?));
            }
            if !committed.replace(true) {
                outcomes.set(Some(self.commit(judged.transactions, now)));
            }
            let listing = working.all(listed)?;
            Ok((working.base.revision(), docs, listing))
        })?;
        let outcomes = outcomes.take().unwrap_or_else(|| Err("the read did not commit".into()))?;
        let old = self.revision;
        self.accept(judged, outcomes)?;
        let after = self.state()?;
        self.watcher_saw(asking, &engine, revision, &docs);
        self.check_seen((revision, docs), &before, &after)?;
        let state = if revision == old { &before } else { &after };
        let expected = state.keys().filter(|key| key.ty == listed).map(|key| key.id.clone());
        if !listing.iter().eq(expected.collect::<Vec<_>>().iter()) {
            return Err(format!("a reader of revision {revision} was told of {listing:?}"));
        }
        Ok(())
    }

    /// The resources that a group is about, and some that they refer to.
    fn keys_about(&mut self, judged: &Judged<'_>) -> Vec<Key> {
        let engine = self.engine();
        let key = |place: &Place| judge::key(engine.schema(), judged.draft, place);
        let mut keys: Vec<Key> = judged.group.iter().flatten().map(|step| key(step.place())).collect();
        let others = self.model.records.keys().step_by(1 + self.model.records.len() / 10);
        keys.extend(others.map(key));
        keys.sort();
        keys.dedup();
        self.random.shuffle(&mut keys);
        keys.truncate(40);
        keys
    }

    /// Is what a reader saw all of one revision?
    fn check_seen(&self, seen: Seen, before: &State, after: &State) -> Result<(), String> {
        let (revision, docs) = seen;
        // The states before and after the group; between them nothing was ever visible.
        let state = if revision == self.revision { after } else { before };
        for (key, doc) in docs {
            if state.get(&key) != doc.as_ref() {
                return Err(format!(
                    "a reader of revision {revision} saw {} as {doc:?}, and it was {:?}",
                    key.id,
                    state.get(&key)
                ));
            }
        }
        Ok(())
    }
}
