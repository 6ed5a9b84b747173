//! What each commit means for whom: the work of the thread of the watches, which [`super::rounds`] give it.
//!
//! Those who watch the same are told together ([`super::audience`]). Whoever watches resources by their own fields is found by what has changed of them ([`super::index`]). Whoever also has to know others needs the states before and
//! after each commit, which are there for all of them together while a round has such ([`replay`]).

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use corollary_engine::past::Then;
use corollary_engine::replay::{Step, replay};
use corollary_engine::{Commit, Engine, EngineError, Key};
use corollary_schema::{Schema, TypeIx};
use hashbrown::{HashMap, HashSet};

use super::audience::{Audience, FoundBy, likeness};
use super::by;
use super::inbox::Coming;
use super::index::Index;
use super::published::Published;
use super::queue::Handed;
use super::rounds::{TOO_OLD, Tells};
use super::tracker::{Told, Tracker};
use super::watched::Watched;

/// See the module.
pub struct Teller {
    engine: Weak<Engine>,
    /// The audience of each watch.
    watches: HashMap<u64, u64>,
    /// Each by the number of its first member.
    audiences: HashMap<u64, Audience>,
    /// Those in which several may be, by [`likeness`].
    alike: HashMap<u64, Vec<u64>>,
    by_key: HashMap<Key, Vec<u64>>,
    by_values: HashMap<TypeIx, Index>,
    by_states: HashMap<TypeIx, HashSet<u64>>,
    /// Those of pages that have to be read anew.
    behind: HashSet<u64>,
    /// Those of whoever may not see everything.
    veiled: HashSet<u64>,
    /// How often grants had been changed when they were looked at last.
    grants: u64,
}

impl Teller {
    /// Nobody watches yet.
    pub(super) fn new(engine: &Arc<Engine>) -> Teller {
        Teller {
            engine: Arc::downgrade(engine),
            watches: HashMap::new(),
            audiences: HashMap::new(),
            alike: HashMap::new(),
            by_key: HashMap::new(),
            by_values: HashMap::new(),
            by_states: HashMap::new(),
            behind: HashSet::new(),
            veiled: HashSet::new(),
            grants: engine.grant_changes(),
        }
    }

    /// May a commit be the first behind which something else may be read? Asked when the commit is at hand.
    fn is_to_look_again(&self, engine: &Engine, commit: &Commit) -> bool {
        !self.veiled.is_empty()
            && (engine.grant_changes() != self.grants
                || self.veiled.iter().any(|number| self.is_concerned(engine.schema(), *number, commit)))
    }

    fn is_concerned(&self, schema: &Schema, number: u64, commit: &Commit) -> bool {
        let by = self.audiences.get(&number).and_then(|audience| audience.watched().by.as_ref());
        by.is_some_and(|by| by.is_concerned(schema, commit))
    }

    /// Has those go on by what they may read now for whom a commit may have changed that, and tells them the commit; who they are.
    fn look_again(
        &mut self,
        engine: &Engine,
        step: &Step<'_, '_>,
        published: &Arc<Published>,
        gone: &mut Vec<u64>,
    ) -> HashSet<u64> {
        let schema = engine.schema();
        let grants = engine.grant_changes();
        let all = std::mem::replace(&mut self.grants, grants) != grants;
        let concerned = self.veiled.iter().copied();
        let concerned: HashSet<u64> =
            concerned.filter(|number| all || self.is_concerned(schema, *number, step.commit)).collect();
        for number in &concerned {
            let Some(mut audience) = self.audiences.remove(number) else { continue };
            self.unfind(schema, *number, audience.watched());
            match by::again(audience.watched(), engine, step.after) {
                Ok(Some(watched)) => {
                    let watched = Arc::new(watched);
                    audience.hand(schema, published, gone, |it| it.resight(watched, step));
                }
                Ok(None) => {}
                Err(error) => audience.fail(&error, gone),
            }
            self.find(schema, *number, audience.watched());
            if audience.is_behind() {
                self.behind.insert(*number);
            }
            self.audiences.insert(*number, audience);
        }
        concerned
    }

    /// Takes a watch through what has been gone through already, up to a revision; false where that ends it.
    fn catch_up(engine: &Engine, watch: &mut Audience, after: u64, seen: u64) -> Result<bool, EngineError> {
        let mut gone = Vec::new();
        let mut visit = |step: &Step<'_, '_>| {
            let published = Arc::new(Published::new(step.commit.clone()));
            let by = watch.watched().by.clone();
            if by.is_some_and(|by| !by.is_known(engine) || by.is_concerned(engine.schema(), step.commit)) {
                watch.end(|| Handed::Missed(by::CHANGED.into()));
                gone.extend(watch.numbers());
                return Ok(ControlFlow::Break(()));
            }
            watch.hand(engine.schema(), &published, &mut gone, |it| it.step(step));
            let goes_on = gone.is_empty() && step.commit.revision < seen;
            Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        match replay(engine, after, &[], &mut visit)? {
            Then::Was(_) => Ok(gone.is_empty()),
            Then::Unknown | Then::TooFar => {
                watch.end(|| Handed::Missed(TOO_OLD.into()));
                Ok(false)
            }
        }
    }

    /// Tells one commit to all whom it concerns.
    fn tell_one(&mut self, engine: &Engine, commit: &Arc<Commit>, step: Option<&Step<'_, '_>>) {
        let schema = engine.schema();
        let mut hits: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let (mut types, mut found) = (Vec::new(), Vec::new());
        for (at, change) in commit.changes.iter().enumerate() {
            let key = &change.key;
            if types.last() != Some(&key.ty) {
                types.push(key.ty);
            }
            found.clear();
            if let Some(index) = self.by_values.get_mut(&key.ty) {
                let docs = [change.before.as_deref(), change.after.as_deref()];
                index.find(docs.into_iter().flatten(), &mut found);
            }
            found.extend(self.by_key.get(key).into_iter().flatten());
            for number in &found {
                hits.entry(*number).or_default().push(at);
            }
        }
        let published = Arc::new(Published::new(commit.clone()));
        let mut gone = Vec::new();
        let told = match step {
            Some(step) => self.look_again(engine, step, &published, &mut gone),
            None => HashSet::new(),
        };
        hits.retain(|number, _| !told.contains(number));
        for (number, changes) in hits {
            self.hand(schema, number, &published, &mut gone, |it| it.take(commit, &changes));
        }
        if let Some(step) = step {
            let of_types = types.iter().filter_map(|ty| self.by_states.get(ty)).flatten();
            let numbers: HashSet<u64> = of_types.copied().filter(|number| !told.contains(number)).collect();
            for number in numbers {
                self.hand(schema, number, &published, &mut gone, |it| it.step(step));
            }
        }
        gone.into_iter().for_each(|number| self.remove(schema, number));
    }

    /// Takes an audience through a commit.
    fn hand(
        &mut self,
        schema: &Schema,
        number: u64,
        published: &Arc<Published>,
        gone: &mut Vec<u64>,
        told: impl FnOnce(&mut Tracker) -> Result<Vec<Told>, EngineError>,
    ) {
        let Some(audience) = self.audiences.get_mut(&number) else { return };
        audience.hand(schema, published, gone, told);
        if audience.is_behind() {
            self.behind.insert(number);
        }
    }

    /// Puts a watch that has caught up to those who watch the same, or by itself.
    fn add(&mut self, schema: &Schema, number: u64, watch: Audience) {
        watch.enter();
        let likeness = likeness(watch.watched());
        if let Some(likeness) = likeness {
            let known = self.alike.entry(likeness).or_default();
            let same = |at: &&u64| self.audiences.get(*at).is_some_and(|it| it.watched() == watch.watched());
            if let Some(at) = known.iter().find(same).copied() {
                self.watches.insert(number, at);
                if let Some(audience) = self.audiences.get_mut(&at) {
                    audience.join(watch);
                }
                return;
            }
            known.push(number);
        }
        self.find(schema, number, watch.watched());
        if watch.is_behind() {
            self.behind.insert(number);
        }
        if watch.watched().by.is_some() {
            self.veiled.insert(number);
        }
        self.watches.insert(number, number);
        self.audiences.insert(number, watch);
    }

    /// Has an audience be found when something changes that may concern it.
    fn find(&mut self, schema: &Schema, number: u64, watched: &Watched) {
        match FoundBy::of(watched) {
            FoundBy::Key(key) => self.by_key.entry(key).or_default().push(number),
            FoundBy::Values(lists) => {
                for (ty, selector) in lists {
                    self.by_values.entry(ty).or_default().add(schema, selector.as_ref(), number);
                }
            }
            FoundBy::States(types) => {
                for ty in types {
                    self.by_states.entry(ty).or_default().insert(number);
                }
            }
        }
    }

    /// Takes a watch out, and its audience where nobody else is in it.
    fn remove(&mut self, schema: &Schema, number: u64) {
        let Some(at) = self.watches.remove(&number) else { return };
        let is_empty = self.audiences.get_mut(&at).is_some_and(|audience| !audience.leave(number));
        if !is_empty {
            return;
        }
        let Some(audience) = self.audiences.remove(&at) else { return };
        if let Some(likeness) = likeness(audience.watched()) {
            drop_from(&mut self.alike, &likeness, at);
        }
        self.veiled.remove(&at);
        self.unfind(schema, at, audience.watched());
    }

    /// The way back of [`Teller::find`].
    fn unfind(&mut self, schema: &Schema, at: u64, watched: &Watched) {
        match FoundBy::of(watched) {
            FoundBy::Key(key) => drop_from(&mut self.by_key, &key, at),
            FoundBy::Values(lists) => {
                for (ty, selector) in lists {
                    let Some(index) = self.by_values.get_mut(&ty) else { continue };
                    index.remove(schema, selector.as_ref(), at);
                    if index.is_empty() {
                        self.by_values.remove(&ty);
                    }
                }
            }
            FoundBy::States(types) => {
                for ty in types {
                    let Some(numbers) = self.by_states.get_mut(&ty) else { continue };
                    numbers.remove(&at);
                    if numbers.is_empty() {
                        self.by_states.remove(&ty);
                    }
                }
            }
        }
    }
}

impl Tells for Teller {
    type Source = Engine;
    type Commit = Arc<Commit>;
    type Watch = Tracker;
    type Error = EngineError;

    fn source(&self) -> Option<Arc<Engine>> {
        self.engine.upgrade()
    }

    fn revision(commit: &Arc<Commit>) -> u64 {
        commit.revision
    }

    fn published(engine: &Engine) -> u64 {
        engine.revision()
    }

    fn log(engine: &Engine, after: u64) -> Result<Option<Vec<Arc<Commit>>>, EngineError> {
        let mut commits = Vec::new();
        let complete = engine.commits_after(after, &mut |commit| {
            commits.push(Arc::new(commit));
            ControlFlow::Continue(())
        })?;
        Ok(complete.then_some(commits))
    }

    fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }

    fn come(&mut self, engine: &Engine, coming: Coming<Tracker>, seen: u64) -> Result<(), EngineError> {
        let Coming { watch, outlet } = coming;
        let (number, after) = (outlet.number, outlet.after);
        let mut watch = Audience::new(watch, outlet);
        if after >= seen || Teller::catch_up(engine, &mut watch, after, seen)? {
            // From here on the others and this one look at the same time.
            if watch.watched().by.as_ref().is_some_and(|by| !by.is_known(engine)) {
                watch.end(|| Handed::Missed(by::CHANGED.into()));
                return Ok(());
            }
            self.add(engine.schema(), number, watch);
        }
        Ok(())
    }

    fn go(&mut self, engine: &Engine, number: u64) {
        self.remove(engine.schema(), number);
    }

    fn tell(&mut self, engine: &Engine, commits: &[Arc<Commit>]) -> Result<Option<u64>, EngineError> {
        let needs_states = |this: &Teller, commit: &Arc<Commit>| {
            commit.changes.iter().any(|change| this.by_states.contains_key(&change.key.ty))
                || this.is_to_look_again(engine, commit)
        };
        let mut commits = commits;
        if !commits.iter().any(|commit| needs_states(self, commit)) {
            loop {
                match commits {
                    // What may be read may be something else by now.
                    [commit, ..] if self.is_to_look_again(engine, commit) => break,
                    [commit] => {
                        self.tell_one(engine, commit, None);
                        return Ok(Some(commit.revision));
                    }
                    [commit, rest @ ..] => {
                        self.tell_one(engine, commit, None);
                        commits = rest;
                    }
                    [] => return Ok(None),
                }
            }
        }
        let since = commits.first().map_or(0, |first| first.revision - 1);
        // It goes as far as there are states: further than these commits, or, where they are not published yet, not as far.
        let mut last = since;
        let mut visit = |step: &Step<'_, '_>| {
            self.tell_one(engine, step.commit, Some(step));
            last = step.commit.revision;
            Ok(ControlFlow::Continue(()))
        };
        let then = replay(engine, since, commits, &mut visit)?;
        Ok(matches!(then, Then::Was(_)).then_some(last))
    }

    /// Reads the pages anew behind which nothing is known any more.
    fn settle(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let mut gone = Vec::new();
        for number in std::mem::take(&mut self.behind) {
            if let Some(audience) = self.audiences.get_mut(&number) {
                audience.read_page(engine, &mut gone)?;
            }
        }
        gone.into_iter().for_each(|number| self.remove(engine.schema(), number));
        Ok(())
    }

    fn last(error: &EngineError) -> (Handed, bool) {
        match error {
            // The data is going to be served by another one.
            EngineError::Superseded => (Handed::Ended, true),
            error => (Handed::Failed(error.to_string()), false),
        }
    }

    /// Ends all watches with this.
    fn end(&mut self, last: impl Fn() -> Handed) {
        self.audiences.values().for_each(|audience| audience.end(&last));
        self.watches.clear();
        self.audiences.clear();
        self.alike.clear();
        self.by_key.clear();
        self.by_values.clear();
        self.by_states.clear();
        self.behind.clear();
        self.veiled.clear();
    }
}

/// Takes a number out of those that stand under a key.
fn drop_from<K: Eq + Hash>(table: &mut HashMap<K, Vec<u64>>, key: &K, number: u64) {
    let Some(numbers) = table.get_mut(key) else { return };
    numbers.retain(|other| *other != number);
    if numbers.is_empty() {
        table.remove(key);
    }
}
