//! The thread that finds what each commit means for whom.
//!
//! It takes commits in rounds, all that wait at once, and goes through them in order. Whoever watches resources by their own
//! fields is found by what has changed of them ([`super::index`]). Whoever also has to know others needs the states before and
//! after each commit, which are there for all of them together while a round has such ([`replay`]).
//!
//! What always holds: each watch is taken through every commit behind the revision from which it began, once, in order. A
//! commit that was not fed, because nobody was there to hear of it, is read from the log.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};

use corollary_engine::past::Then;
use corollary_engine::query::select::Selector;
use corollary_engine::replay::{Step, replay};
use corollary_engine::{Commit, Engine, EngineError, Key};
use corollary_schema::{Schema, TypeIx};
use hashbrown::{HashMap, HashSet};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::hub::{Fed, Handed, Outlet, TOO_OLD, Wish};
use super::index::Index;
use super::published::{Delivery, Published};
use super::tracker::{Told, Tracker};
use super::watched::Which;

/// Commits of one round.
const ROUND_COMMITS: usize = 256;

/// A watch, as the thread knows it.
struct Watch {
    tracker: Tracker,
    /// It has been taken through all up to here.
    from: u64,
    outlet: Outlet,
    found: FoundBy,
}

/// How a watch is found when something changes.
enum FoundBy {
    /// By the resource.
    Key(Key),
    /// By values of resources of each of these types.
    Values(Vec<(TypeIx, Option<Selector>)>),
    /// By any change of resources of these types, with the states of the commit.
    States(Vec<TypeIx>),
}

/// See the module.
pub struct Teller {
    engine: Weak<Engine>,
    wishes: Arc<Mutex<Vec<Wish>>>,
    /// All up to here has been gone through.
    seen: u64,
    /// The same for those who watch.
    told: Arc<AtomicU64>,
    closed: bool,
    watches: HashMap<u64, Watch>,
    by_key: HashMap<Key, Vec<u64>>,
    by_values: HashMap<TypeIx, Index>,
    by_states: HashMap<TypeIx, HashSet<u64>>,
    /// Pages that have to be read anew.
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
                self.watches.values().for_each(|watch| watch.outlet.end(Handed::Failed(detail.clone())));
                self.clear();
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
                    let found = FoundBy::of(&tracker);
                    let mut watch = Watch { tracker, from, outlet, found };
                    // What the others have been told in the meantime.
                    if from < self.seen && !self.catch_up(engine, &mut watch)? {
                        continue;
                    }
                    if watch.tracker.is_behind() {
                        self.behind.insert(number);
                    }
                    self.add(engine.schema(), number, watch);
                }
            }
        }
        Ok(())
    }

    /// Takes a watch through what has been gone through already; false where that ends it.
    fn catch_up(&mut self, engine: &Engine, watch: &mut Watch) -> Result<bool, EngineError> {
        let (mut goes_on, seen, from) = (true, self.seen, watch.from);
        let mut visit = |step: &Step<'_, '_>| {
            let published = Arc::new(Published::new(step.commit.clone()));
            goes_on = watch.hand(engine.schema(), &published, |it| it.step(step));
            let is_there = step.commit.revision >= seen;
            Ok(if goes_on && !is_there { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        };
        match replay(engine, from, &[], &mut visit)? {
            Then::Was(_) => {}
            Then::Unknown | Then::TooFar => {
                watch.outlet.end(Handed::Missed(TOO_OLD.into()));
                goes_on = false;
            }
        }
        Ok(goes_on)
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

    fn hand(
        &mut self,
        schema: &Schema,
        number: u64,
        published: &Arc<Published>,
        gone: &mut Vec<u64>,
        told: impl FnOnce(&mut Tracker) -> Result<Vec<Told>, EngineError>,
    ) {
        let Some(watch) = self.watches.get_mut(&number) else { return };
        if published.commit.revision <= watch.from {
            return;
        }
        if !watch.hand(schema, published, told) {
            gone.push(number);
        } else if watch.tracker.is_behind() {
            self.behind.insert(number);
        }
    }

    /// Reads the pages anew behind which nothing is known any more.
    fn read_pages(&mut self, engine: &Engine) -> Result<(), EngineError> {
        for number in std::mem::take(&mut self.behind) {
            let Some(watch) = self.watches.get_mut(&number) else { continue };
            let goes_on = watch.read_page(engine)?;
            if !goes_on {
                self.remove(engine.schema(), number);
            }
        }
        Ok(())
    }

    fn add(&mut self, schema: &Schema, number: u64, watch: Watch) {
        match &watch.found {
            FoundBy::Key(key) => self.by_key.entry(key.clone()).or_default().push(number),
            FoundBy::Values(lists) => {
                for (ty, selector) in lists {
                    self.by_values.entry(*ty).or_default().add(schema, selector.as_ref(), number);
                }
            }
            FoundBy::States(types) => {
                for ty in types {
                    self.by_states.entry(*ty).or_default().insert(number);
                }
            }
        }
        watch.outlet.enter();
        self.watches.insert(number, watch);
    }

    fn remove(&mut self, schema: &Schema, number: u64) {
        let Some(watch) = self.watches.remove(&number) else { return };
        match watch.found {
            FoundBy::Key(key) => {
                if let Some(watches) = self.by_key.get_mut(&key) {
                    watches.retain(|other| *other != number);
                    if watches.is_empty() {
                        self.by_key.remove(&key);
                    }
                }
            }
            FoundBy::Values(lists) => {
                for (ty, selector) in lists {
                    let Some(index) = self.by_values.get_mut(&ty) else { continue };
                    index.remove(schema, selector.as_ref(), number);
                    if index.is_empty() {
                        self.by_values.remove(&ty);
                    }
                }
            }
            FoundBy::States(types) => {
                for ty in types {
                    let Some(watches) = self.by_states.get_mut(&ty) else { continue };
                    watches.remove(&number);
                    if watches.is_empty() {
                        self.by_states.remove(&ty);
                    }
                }
            }
        }
    }

    fn lose(&mut self) {
        self.watches.values().for_each(|watch| watch.outlet.end(Handed::Missed(TOO_OLD.into())));
        self.clear();
    }

    fn close(&mut self) {
        self.closed = true;
        self.watches.values().for_each(|watch| watch.outlet.end(Handed::Ended));
        for wish in std::mem::take(&mut *self.wishes.lock()) {
            if let Wish::Come(_, _, _, outlet) = wish {
                outlet.end(Handed::Ended);
            }
        }
        self.clear();
    }

    fn clear(&mut self) {
        self.watches.clear();
        self.by_key.clear();
        self.by_values.clear();
        self.by_states.clear();
        self.behind.clear();
    }
}

impl FoundBy {
    fn of(tracker: &Tracker) -> FoundBy {
        let watched = &tracker.watched;
        if watched.needs_states() {
            return FoundBy::States(watched.types().into_iter().collect());
        }
        match watched.lists() {
            [one] if let Which::One(key) = &one.which => FoundBy::Key(key.clone()),
            lists => FoundBy::Values(lists.iter().map(|list| (list.ty, list.selector())).collect()),
        }
    }
}

impl Watch {
    /// Takes it through a commit, and hands it what that means; false where that ends it.
    fn hand(
        &mut self,
        schema: &Schema,
        published: &Arc<Published>,
        told: impl FnOnce(&mut Tracker) -> Result<Vec<Told>, EngineError>,
    ) -> bool {
        self.from = published.commit.revision;
        match told(&mut self.tracker) {
            Ok(told) => self.deliver(schema, published, told),
            Err(error) => self.fail(&error),
        }
    }

    fn deliver(&self, schema: &Schema, published: &Arc<Published>, mut told: Vec<Told>) -> bool {
        let watched = &self.tracker.watched;
        told.retain(|told| watched.tells(schema, told, &published.commit));
        told.is_empty() || self.outlet.hand(Delivery { published: published.clone(), told })
    }

    /// Reads its page anew; false where that ends it.
    fn read_page(&mut self, engine: &Engine) -> Result<bool, EngineError> {
        let tracker = Mutex::new(&mut self.tracker);
        let read = engine.read(Timestamp::now(), |working| {
            let revision = working.revision();
            Ok((revision, tracker.lock().refill(working)?))
        });
        match read {
            Ok((revision, told)) => {
                self.from = self.from.max(revision);
                Ok(self.deliver(engine.schema(), &Arc::new(Published::as_of(revision)), told))
            }
            Err(error @ EngineError::Refused(_)) => Ok(self.fail(&error)),
            Err(error) => Err(error),
        }
    }

    fn fail(&self, error: &EngineError) -> bool {
        self.outlet.end(match error {
            EngineError::Refused(_) => Handed::Missed(format!("{error}: begin anew")),
            // The data is going to be served by another one.
            EngineError::Superseded => Handed::Ended,
            error => Handed::Failed(error.to_string()),
        });
        false
    }
}
