//! Those who watch the same: what a commit means for them is found out once, and each is handed the same delivery.
//!
//! Watches whose state is not known from a commit alone (pages, values, what a path leads to) have an audience of their own. Those of
//! the others who ask for the same stand together, whoever they are: thousands of clients that show one list cost the
//! thread of the watches little more than one.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use corollary_engine::query::select::Selector;
use corollary_engine::{Engine, EngineError, Key};
use corollary_schema::{Schema, TypeIx};
use hashbrown::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::by;
use super::inbox::Outlet;
use super::published::{Delivery, Published};
use super::queue::Handed;
use super::tracker::{Told, Tracker};
use super::watched::{Watched, Which};
use crate::http::reader::NOT_GRANTED;

/// How an audience is found when something changes.
pub(super) enum FoundBy {
    /// By the resource.
    Key(Key),
    /// By values of resources of each of these types.
    Values(Vec<(TypeIx, Option<Selector>)>),
    /// By any change of resources of these types, with the states of the commit.
    States(Vec<TypeIx>),
}

impl FoundBy {
    /// How those are found who watch this.
    pub(super) fn of(watched: &Watched) -> FoundBy {
        if watched.needs_states() {
            return FoundBy::States(watched.types().into_iter().collect());
        }
        match watched.lists() {
            [one] if let Which::One(key) = &one.which => FoundBy::Key(key.clone()),
            lists => FoundBy::Values(lists.iter().map(|list| (list.ty, list.selector())).collect()),
        }
    }
}

/// See the module.
pub(super) struct Audience {
    tracker: Tracker,
    members: HashMap<u64, Outlet>,
}

impl Audience {
    /// One member.
    pub(super) fn new(tracker: Tracker, member: Outlet) -> Audience {
        Audience { tracker, members: HashMap::from_iter([(member.number, member)]) }
    }

    /// What is watched.
    pub(super) fn watched(&self) -> &Arc<Watched> {
        &self.tracker.watched
    }

    /// Does it have to read what stands behind its page?
    pub(super) fn is_behind(&self) -> bool {
        self.tracker.is_behind()
    }

    /// From now on its members are told of each commit with all others.
    pub(super) fn enter(&self) {
        self.members.values().for_each(|member| member.enter());
    }

    /// Others who watch the same.
    pub(super) fn join(&mut self, others: Audience) {
        self.members.extend(others.members);
    }

    /// Somebody goes; is anybody left?
    pub(super) fn leave(&mut self, number: u64) -> bool {
        self.members.remove(&number);
        !self.members.is_empty()
    }

    /// The numbers of its members.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.members.keys().copied()
    }

    /// Takes it through a commit, and hands its members what that means; those who end with it are added to `gone`.
    pub(super) fn hand(
        &mut self,
        schema: &Schema,
        published: &Arc<Published>,
        gone: &mut Vec<u64>,
        told: impl FnOnce(&mut Tracker) -> Result<Vec<Told>, EngineError>,
    ) {
        let revision = published.commit.revision;
        if self.members.values().all(|member| member.after >= revision) {
            return;
        }
        match told(&mut self.tracker) {
            Ok(mut told) => {
                if self.watched().by.is_some() {
                    by::conceal(&published.commit, &mut told);
                }
                self.deliver(schema, published, told, |member| member.after < revision, gone);
            }
            Err(error) => self.fail(&error, gone),
        }
    }

    /// Hands it to some of its members.
    fn deliver(
        &self,
        schema: &Schema,
        published: &Arc<Published>,
        mut told: Vec<Told>,
        is_for: impl Fn(&Outlet) -> bool,
        gone: &mut Vec<u64>,
    ) {
        let watched = self.watched();
        told.retain(|told| watched.tells(schema, told, &published.commit));
        if told.is_empty() {
            return;
        }
        let delivery = Arc::new(Delivery::new(published.clone(), told));
        for (number, member) in &self.members {
            if is_for(member) && !member.hand(delivery.clone()) {
                gone.push(*number);
            }
        }
    }

    /// Reads its page anew.
    pub(super) fn read_page(&mut self, engine: &Engine, gone: &mut Vec<u64>) -> Result<(), EngineError> {
        let tracker = Mutex::new(&mut self.tracker);
        let read = engine.read(Timestamp::now(), |working| {
            let revision = working.revision();
            let mut tracker = tracker.lock();
            if let Some(by) = tracker.watched.by.clone()
                && !by.is_current(engine, working)?
            {
                return Err(EngineError::refused(NOT_GRANTED, None, by::CHANGED));
            }
            Ok((revision, tracker.refill(working)?))
        });
        match read {
            Ok((revision, mut told)) => {
                if self.watched().by.is_some() {
                    by::conceal(&Published::as_of(revision).commit, &mut told);
                }
                self.deliver(engine.schema(), &Arc::new(Published::as_of(revision)), told, |_| true, gone);
                self.members.values_mut().for_each(|member| member.after = member.after.max(revision));
                Ok(())
            }
            Err(error @ EngineError::Refused(_)) => {
                self.fail(&error, gone);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Ends it for an error.
    pub(super) fn fail(&self, error: &EngineError, gone: &mut Vec<u64>) {
        self.end(|| match error {
            EngineError::Refused(_) => Handed::Missed(format!("{error}: begin anew")),
            // The data is going to be served by another one.
            EngineError::Superseded => Handed::Ended,
            error => Handed::Failed(error.to_string()),
        });
        gone.extend(self.numbers());
    }

    /// Hands all its members their last word.
    pub(super) fn end(&self, last: impl Fn() -> Handed) {
        self.members.values().for_each(|member| member.end(last()));
    }
}

/// The same for all who watch the same, and hardly ever for others; nothing where a watch stands alone.
pub(super) fn likeness(watched: &Watched) -> Option<u64> {
    if watched.needs_states() || !watched.is_lists() || watched.by.is_some() {
        return None;
    }
    let mut text = Hashed(DefaultHasher::new());
    // What is equal is written equally. Writing to it does not fail.
    let _ = write!(text, "{} {:?}", watched.manner, watched.of);
    Some(text.0.finish())
}

struct Hashed(DefaultHasher);

impl Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
