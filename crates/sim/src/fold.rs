//! What a reader of the log knows: the state where the log begins, taken further commit by commit.
//!
//! Documents are kept as they are stored, by the stable numbers of types, so that a reader lives on through other
//! versions of the schema.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_engine::{Commit, Doc, Engine, Key};
use corollary_schema::{Field, FieldKind, Schema, Slot, TypeId};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use crate::judge::{self, State};

/// See the module.
#[derive(Default)]
pub struct Fold {
    /// The revision at which it stands: that before the first commit of the log.
    pub from: u64,
    documents: BTreeMap<(TypeId, Id), Vec<u8>>,
    /// Revision and time of each commit that the log has.
    pub commits: VecDeque<(u64, Timestamp)>,
}

impl Fold {
    /// Begins again with what is there.
    pub fn restart(&mut self, engine: &Engine, state: &State) {
        self.from = engine.revision();
        self.commits.clear();
        self.documents.clear();
        for (key, doc) in state {
            self.put(engine, key, Some(doc));
        }
    }

    fn put(&mut self, engine: &Engine, key: &Key, doc: Option<&Doc>) {
        let at = (engine.schema().ty(key.ty).id, key.id.clone());
        match doc {
            Some(doc) => {
                let mut bytes = Vec::new();
                engine.layouts()[key.ty.0 as usize].encode(doc, &mut bytes);
                self.documents.insert(at, bytes);
            }
            None => drop(self.documents.remove(&at)),
        }
    }

    /// The documents as the schema of now reads them.
    fn state(&self, engine: &Engine) -> Result<State, String> {
        let mut state = State::new();
        for ((number, id), bytes) in &self.documents {
            let Some((ty, _)) = engine.schema().types().find(|(_, ty)| ty.id == *number) else { continue };
            let doc = engine.layouts()[ty.0 as usize].decode(bytes);
            let doc = doc.map_err(|_| format!("the document of {id} in the log cannot be read"))?;
            state.insert(Key::new(ty, id.clone()), Arc::new(doc));
        }
        Ok(state)
    }

    /// The commits behind where it stands; an error where the log does not begin there.
    fn behind(&self, engine: &Engine) -> Result<Vec<Commit>, String> {
        let mut commits = Vec::new();
        let complete = engine
            .commits_after(self.from, &mut |commit| {
                commits.push(commit);
                ControlFlow::Continue(())
            })
            .map_err(|error| format!("the log cannot be read: {error}"))?;
        let told: Vec<(u64, Timestamp)> =
            commits.iter().map(|commit| (commit.revision, commit.time)).collect();
        if !complete || !self.commits.iter().eq(&told) {
            return Err(format!("the log has {told:?} behind {}, and not {:?}", self.from, self.commits));
        }
        if self.from > 0
            && !self.commits.is_empty()
            && engine.commits_after(self.from - 1, &mut |_| ControlFlow::Break(())).unwrap_or(true)
        {
            return Err(format!("the log goes back to before {}", self.from));
        }
        Ok(commits)
    }

    /// Folds all of the log, which has to come to the state that is stored.
    pub fn check(&self, engine: &Engine, stored: &State) -> Result<(), String> {
        let mut state = self.state(engine)?;
        for commit in self.behind(engine)? {
            step(engine.schema(), &mut state, &commit)?;
        }
        let visible = |state: &State| -> State {
            state.iter().map(|(key, doc)| (key.clone(), Arc::new(told(engine.schema(), key, doc)))).collect()
        };
        judge::same_state("the log comes to", &visible(&state), "and there is", &visible(stored))
    }

    /// Goes on over the first commits of the log, which are about to be dropped.
    pub fn advance(&mut self, engine: &Engine, commits: usize) -> Result<(), String> {
        for commit in self.behind(engine)?.into_iter().take(commits) {
            for change in &commit.changes {
                self.put(engine, &change.key, change.after.as_deref());
            }
            self.from = commit.revision;
            self.commits.pop_front();
        }
        Ok(())
    }
}

/// A document as the log tells of it: without what it keeps for the derived values of others.
fn told(schema: &Schema, key: &Key, doc: &Doc) -> Doc {
    let mut doc = Doc { states: Vec::new(), ..doc.clone() };
    for (slot, _) in schema.ty(key.ty).slots().filter(|(_, field)| is_hidden(field)) {
        doc.set(slot, Value::Absent);
    }
    doc
}

fn is_hidden(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Aggregate { .. })
}

/// Takes a state a commit further, and checks that the commit tells it right.
fn step(schema: &Schema, state: &mut State, commit: &Commit) -> Result<(), String> {
    let at = commit.revision;
    // In the order of keys at the time: another version of the schema may have its types in another order.
    let keys: BTreeSet<&Key> = commit.changes.iter().map(|change| &change.key).collect();
    // One of an update may bring about nothing but what is kept for the derived values of others.
    if keys.len() < commit.changes.len() {
        return Err(format!("commit {at} does not tell of each resource once"));
    }
    for change in &commit.changes {
        let before = state.get(&change.key);
        let id = &change.key.id;
        let shown = |doc: &Doc| told(schema, &change.key, doc);
        if before.map(|doc| shown(doc)) != change.before.as_deref().map(shown) {
            return Err(format!(
                "commit {at} tells of {id} before it {:?}, and it was {before:?}",
                change.before
            ));
        }
        let absent = Value::Absent;
        let value = |doc: Option<&Arc<Doc>>, slot| doc.map_or(&absent, |doc| doc.get(slot)).clone();
        let slots = schema.ty(change.key.ty).slots().filter(|(_, field)| !is_hidden(field));
        let slots = slots.map(|(slot, _)| slot);
        let differ: BTreeSet<Slot> =
            slots.filter(|slot| value(before, *slot) != value(change.after.as_ref(), *slot)).collect();
        if change.changed.len() != differ.len() || !change.changed.iter().all(|slot| differ.contains(slot)) {
            return Err(format!(
                "commit {at} tells that {:?} of {id} changed, and it was {differ:?}",
                change.changed
            ));
        }
        match &change.after {
            Some(doc) if doc.revision == at => drop(state.insert(change.key.clone(), doc.clone())),
            Some(doc) => return Err(format!("commit {at} tells of {id} at revision {}", doc.revision)),
            None => drop(state.remove(&change.key)),
        }
    }
    Ok(())
}
