//! The thread that finds what each commit means for whom.
//!
//! It takes commits in rounds, all that wait at once, and goes through them in order. Those who watch the same are told together
//! ([`super::audience`]). Whoever watches resources by their own fields is found by what has changed of them ([`super::index`]). Whoever also has to know others needs the states before and
//! after each commit, which are there for all of them together while a round has such ([`replay`]).
//!
//! What always holds: each watch is taken through every commit behind the revision from which it began, once, in order. A
//! commit that was not fed, because nobody was there to hear of it, is read from the log.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};

use corollary_engine::past::Then;
use corollary_engine::replay::{Step, replay};
use corollary_engine::{Commit, Engine, EngineError, Key};
use corollary_schema::{Schema, TypeIx};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;

use super::audience::{Audience, FoundBy, Member, likeness};
use super::hub::{Fed, TOO_OLD, Wish};
use super::index::Index;
use super::published::Published;
use super::queue::Handed;
use super::tracker::{Told, Tracker};

/// Commits of one round.
const ROUND_COMMITS: usize = 256;

/// See the module.
pub struct Teller {
    engine: Weak<Engine>,
    wishes: Arc<Mutex<Vec<Wish>>>,
    /// All up to here has been gone through.
    seen: u64,
    /// The same for those who watch.
    told: Arc<AtomicU64>,
    closed: bool,
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
}

impl Teller {
    /// Nobody watches yet.
    pub(super) fn new(engine: &Arc<Engine>, wishes: Arc<Mutex<Vec<Wish>>>, told: Arc<AtomicU64>) -> Teller {
        Teller {
            engine: Arc::downgrade(engine),
            wishes,
            seen: engine.revision(),
            told,
            closed: false,
            watches: HashMap::new(),
            audiences: HashMap::new(),
            alike: HashMap::new(),
            by_key: HashMap::new(),
            by_values: HashMap::new(),
            by_states: HashMap::new(),
            behind: HashSet::new(),
        }
    }

    /// Goes on until the other end is gone.
    pub(super) fn run(&mut self, fed: &Receiver<Fed>) {
        let mut next = None;
        loop {
            let Some(first) = next.take().or_else(|| fed.recv().ok()) else { return };
            let (mut commits, mut looks) = (Vec::new(), false);
            let mut at = Some(first);
            while let Some(one) = at.take() {
                match one {
                    Fed::Commit(commit) => commits.push(commit),
                    Fed::Look => looks = true,
                    other @ (Fed::Gap | Fed::End) => {
                        next = Some(other);
                        break;
                    }
                }
                if commits.len() < ROUND_COMMITS {
                    at = fed.try_recv().ok();
                }
            }
            let Some(engine) = self.engine.upgrade() else { return };
            self.round(&engine, &commits, looks);
            match next.take() {
                Some(Fed::Gap) => self.lose(),
                Some(Fed::End) => self.close(),
                other => next = other,
            }
        }
    }

    /// Goes through some commits, and lets come and go who wants to.
    fn round(&mut self, engine: &Engine, fed: &[Arc<Commit>], looks: bool) {
        let outcome = self.come_and_go(engine).and_then(|()| self.go_through(engine, fed, looks));
        let outcome = outcome.and_then(|()| self.read_pages(engine));
        match outcome {
            Ok(()) => self.told.store(self.seen, Ordering::Release),
            // The data is going to be served by another one.
            Err(EngineError::Superseded) => self.close(),
            Err(error) => {
                let detail = error.to_string();
                self.end(|| Handed::Failed(detail.clone()));
            }
        }
    }

    fn come_and_go(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let wishes = std::mem::take(&mut *self.wishes.lock());
        for wish in wishes {
            match wish {
                Wish::Go(number) => self.remove(engine.schema(), number),
                Wish::Come(_, _, _, outlet) if self.closed => outlet.end(Handed::Ended),
                Wish::Come(number, tracker, from, outlet) => {
                    if self.watches.is_empty() {
                        // Nobody was told of what has been until then.
                        self.seen = self.seen.max(from);
                    }
                    let mut watch = Audience::new(tracker, number, Member { from, outlet });
                    // What the others have been told in the meantime.
                    if from < self.seen && !self.catch_up(engine, &mut watch, from)? {
                        continue;
                    }
                    self.add(engine.schema(), number, watch);
                }
            }
        }
        Ok(())
    }

    /// Takes a watch through what has been gone through already; false where that ends it.
    fn catch_up(&mut self, engine: &Engine, watch: &mut Audience, from: u64) -> Result<bool, EngineError> {
        let (mut gone, seen) = (Vec::new(), self.seen);
        let mut visit = |step: &Step<'_, '_>| {
            let published = Arc::new(Published::new(step.commit.clone()));
            watch.hand(engine.schema(), &published, &mut gone, |it| it.step(step));
            let goes_on = gone.is_empty() && step.commit.revision < seen;
            Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        match replay(engine, from, &[], &mut visit)? {
            Then::Was(_) => Ok(gone.is_empty()),
            Then::Unknown | Then::TooFar => {
                watch.end(|| Handed::Missed(TOO_OLD.into()));
                Ok(false)
            }
        }
    }

    fn go_through(&mut self, engine: &Engine, fed: &[Arc<Commit>], looks: bool) -> Result<(), EngineError> {
        if self.watches.is_empty() {
            if let Some(last) = fed.last() {
                self.seen = self.seen.max(last.revision);
            }
            return Ok(());
        }
        let new = fed.iter().position(|commit| commit.revision > self.seen).unwrap_or(fed.len());
        let mut commits = fed[new..].to_vec();
        let follows = commits.first().is_none_or(|first| first.revision == self.seen + 1);
        if !follows || (commits.is_empty() && looks && engine.revision() > self.seen) {
            commits.clear();
            let complete = engine.commits_after(self.seen, &mut |commit| {
                commits.push(Arc::new(commit));
                ControlFlow::Continue(())
            })?;
            if !complete {
                self.lose();
                return Ok(());
            }
        }
        let needs_states = |commit: &Arc<Commit>| {
            commit.changes.iter().any(|change| self.by_states.contains_key(&change.key.ty))
        };
        if !commits.iter().any(needs_states) {
            commits.iter().for_each(|commit| self.tell(engine, commit, None));
            return Ok(());
        }
        let mut visit = |step: &Step<'_, '_>| {
            self.tell(engine, step.commit, Some(step));
            Ok(ControlFlow::Continue(()))
        };
        let since = commits.first().map_or(0, |first| first.revision - 1);
        match replay(engine, since, &commits, &mut visit)? {
            Then::Was(_) => Ok(()),
            Then::Unknown | Then::TooFar => {
                self.lose();
                Ok(())
            }
        }
    }

    /// Tells one commit to all whom it concerns.
    fn tell(&mut self, engine: &Engine, commit: &Arc<Commit>, step: Option<&Step<'_, '_>>) {
        let schema = engine.schema();
        self.seen = commit.revision;
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
        for (number, changes) in hits {
            self.hand(schema, number, &published, &mut gone, |it| it.take(commit, &changes));
        }
        if let Some(step) = step {
            let of_types = types.iter().filter_map(|ty| self.by_states.get(ty)).flatten();
            let numbers: HashSet<u64> = of_types.copied().collect();
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

    /// Reads the pages anew behind which nothing is known any more.
    fn read_pages(&mut self, engine: &Engine) -> Result<(), EngineError> {
        let mut gone = Vec::new();
        for number in std::mem::take(&mut self.behind) {
            if let Some(audience) = self.audiences.get_mut(&number) {
                audience.read_page(engine, &mut gone)?;
            }
        }
        gone.into_iter().for_each(|number| self.remove(engine.schema(), number));
        Ok(())
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
        match FoundBy::of(watch.watched()) {
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
        if watch.is_behind() {
            self.behind.insert(number);
        }
        self.watches.insert(number, number);
        self.audiences.insert(number, watch);
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
        match FoundBy::of(audience.watched()) {
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

    fn lose(&mut self) {
        self.end(|| Handed::Missed(TOO_OLD.into()));
    }

    fn close(&mut self) {
        self.closed = true;
        for wish in std::mem::take(&mut *self.wishes.lock()) {
            if let Wish::Come(_, _, _, outlet) = wish {
                outlet.end(Handed::Ended);
            }
        }
        self.end(|| Handed::Ended);
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

/// However the thread ends, nobody waits for it.
impl Drop for Teller {
    fn drop(&mut self) {
        self.close();
    }
}
