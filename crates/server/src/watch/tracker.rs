//! One watch, followed from commit to commit: what each commit means for it.
//!
//! What always holds: what it has told, folded, is what a GET would show as of the last revision that it has been taken
//! through. Of a list, whether a resource was a member and whether it is one follows from the states before and after the
//! commit, so nothing is kept of it; of what a path leads to the members or the value are kept, of a page the page
//! ([`super::page`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_engine::replay::Step;
use corollary_engine::working::{Working, targets};
use corollary_engine::{Change, Commit, Doc, EngineError, Key, query};
use corollary_schema::TypeIx;
use corollary_value::{Id, Value};
use hashbrown::HashSet;

use super::event::Happened;
use super::page::Page;
use super::watched::{Led, MAX_INITIAL_RESOURCES, Of, Own, Watched, WatchedList, Which};
use crate::http::MAX_VALUES;

/// Resources that one commit may concern by what it changed of others, and members of a path that is watched.
pub const MAX_CONCERNED: usize = 100_000;

/// What a watch is told of one resource, or of its value.
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened.
    pub happened: Happened,
    /// To what.
    pub what: What,
    /// Of a page: behind which member it stands now, where its place is a new one; none at the beginning.
    pub after: Option<Option<Id>>,
}

/// To what something happened.
#[derive(Clone, Debug)]
pub enum What {
    /// To the resource of a change of the commit, by its place among them.
    Change(usize),
    /// To a resource that this commit has not changed, or not as the watch sees it.
    Reached(Arc<Change>),
    /// The same, as this watch alone sees it.
    Own(Arc<Change>),
    /// To the value.
    Value(Value),
}

impl Told {
    /// Without a place.
    pub fn new(happened: Happened, what: What) -> Told {
        Told { happened, what, after: None }
    }
}

/// A resource that is there and has not been changed.
pub fn unchanged(key: Key, doc: Arc<Doc>) -> Arc<Change> {
    Arc::new(Change { key, after: Some(doc), before: None, changed: Vec::new() })
}

/// See the module.
pub struct Tracker {
    /// What is watched.
    pub watched: Arc<Watched>,
    state: State,
}

enum State {
    /// Of each list that a path leads to its members.
    Lists(Vec<Option<HashSet<Id>>>),
    Page(Page),
    Value(Value),
}

/// What is there when a watch begins.
pub enum Present {
    /// Resources in their order, each with its place where it is a page.
    Resources(Vec<query::Item>),
    /// A value.
    Value(Value),
}

impl Tracker {
    /// Begins with a state; returns what is there.
    pub fn begin(watched: Arc<Watched>, working: &Working<'_>) -> Result<(Tracker, Present), EngineError> {
        let (state, present) = match &watched.of {
            Of::Lists(lists) => {
                let (mut items, mut more) = (Vec::new(), false);
                let mut members = Vec::new();
                for list in lists {
                    let page = query::run(working, &list.query(working, None)?)?;
                    more |= page.more;
                    items.extend(page.items);
                    members.push(members_of(list, working)?);
                }
                if more || items.len() > MAX_INITIAL_RESOURCES {
                    let message = format!(
                        "a watch lists at most {MAX_INITIAL_RESOURCES} resources when it begins; filter more, or list first and watch with `since`"
                    );
                    return Err(EngineError::refused("watch-limit", None, message));
                }
                // Those of each type are in the order of ids.
                items.sort_by(|left, right| left.key.id.cmp(&right.key.id));
                (State::Lists(members), Present::Resources(items))
            }
            Of::Page(list, ordered) => {
                let page = Page::begin(list, ordered, working)?;
                let items = page.shown().to_vec();
                (State::Page(page), Present::Resources(items))
            }
            Of::Value(led, _) => {
                let value = value_of(led, working)?;
                (State::Value(value.clone()), Present::Value(value))
            }
        };
        Ok((Tracker { watched, state }, present))
    }

    /// Goes on after a revision of which the state is not at hand, where nothing of it has to be known.
    pub fn resume(watched: Arc<Watched>) -> Option<Tracker> {
        let Of::Lists(lists) = &watched.of else { return None };
        let is_led = |list: &WatchedList| matches!(list.which, Which::Led(_));
        if lists.iter().any(is_led) {
            return None;
        }
        let state = State::Lists(lists.iter().map(|_| None).collect());
        Some(Tracker { watched, state })
    }

    /// Does it have to read what stands behind its page?
    pub fn is_behind(&self) -> bool {
        matches!(&self.state, State::Page(page) if page.is_behind())
    }

    /// Reads what stands behind its page; what has changed of the page is told as of the state.
    pub fn refill(&mut self, working: &Working<'_>) -> Result<Vec<Told>, EngineError> {
        match (&mut self.state, &self.watched.of) {
            (State::Page(page), Of::Page(list, ordered)) => page.refill(list, ordered, working),
            _ => Ok(Vec::new()),
        }
    }

    /// Goes on by what may be read behind a commit, and tells what that brings and takes, beside what the commit means.
    pub fn resight(&mut self, watched: Arc<Watched>, step: &Step<'_, '_>) -> Result<Vec<Told>, EngineError> {
        let before = std::mem::replace(&mut self.watched, watched);
        let watched = self.watched.clone();
        match (&mut self.state, &before.of, &watched.of) {
            (State::Page(page), Of::Page(..), Of::Page(list, ordered)) => page.reread(list, ordered, step),
            (State::Lists(_), Of::Lists(were), Of::Lists(are)) => {
                let mut told = Vec::new();
                for (was, is) in were.iter().zip(are) {
                    let old = all_of(was, step.before)?;
                    let new = all_of(is, step.after)?;
                    for id in old.iter().chain(new.iter().filter(|id| !old.contains(*id))) {
                        told.extend(came_or_went(is.ty, id, old.contains(id), new.contains(id), step)?);
                    }
                }
                Ok(told)
            }
            _ => Err(EngineError::Corrupt("a watch of something else than it was begun with".into())),
        }
    }

    /// What a commit means for it, where that follows from some of the changed resources themselves.
    pub fn take(&mut self, commit: &Arc<Commit>, changes: &[usize]) -> Result<Vec<Told>, EngineError> {
        let watched = self.watched.clone();
        match (&mut self.state, &watched.of) {
            (State::Page(page), Of::Page(list, ordered)) => page.take(list, ordered, commit, changes, None),
            (State::Lists(_), Of::Lists(lists)) => {
                let mut told = Vec::new();
                for at in changes {
                    told.extend(self.of_change(lists, commit, *at, None)?);
                }
                Ok(told)
            }
            _ => Err(EngineError::Corrupt("a watch without the states that it needs".into())),
        }
    }

    /// What a commit means for it.
    pub fn step(&mut self, step: &Step<'_, '_>) -> Result<Vec<Told>, EngineError> {
        let watched = self.watched.clone();
        match (&mut self.state, &watched.of) {
            (State::Page(page), Of::Page(list, ordered)) => {
                let changes = changes_of(step.commit, list);
                page.take(list, ordered, step.commit, &changes, Some(step))
            }
            (State::Value(value), Of::Value(led, _)) => {
                if !concerns(led, step)? {
                    return Ok(Vec::new());
                }
                let now = value_of(led, step.after)?;
                if *value == now {
                    return Ok(Vec::new());
                }
                *value = now.clone();
                Ok(vec![Told::new(Happened::Changed, What::Value(now))])
            }
            (State::Lists(_), Of::Lists(lists)) => self.of_lists(lists, step),
            _ => Err(EngineError::Corrupt("a watch of something else than it was begun with".into())),
        }
    }

    fn of_lists(&mut self, lists: &[WatchedList], step: &Step<'_, '_>) -> Result<Vec<Told>, EngineError> {
        // Those that a path leads to from now on, beside those that it has led to.
        let mut led: Vec<Option<HashSet<Id>>> = Vec::with_capacity(lists.len());
        for list in lists {
            led.push(match &list.which {
                Which::Led(path) if concerns(path, step)? => members_of(list, step.after)?,
                _ => None,
            });
        }
        let mut told = Vec::new();
        for at in 0..step.commit.changes.len() {
            told.extend(self.of_change(lists, step.commit, at, Some((step, &led)))?);
        }
        let State::Lists(members) = &mut self.state else { return Ok(told) };
        for ((list, members), led) in lists.iter().zip(members.iter_mut()).zip(led) {
            let mut concerned = concerned(list, step)?;
            if let (Some(old), Some(new)) = (&*members, &led) {
                concerned.extend(old.symmetric_difference(new).cloned());
            }
            for id in concerned {
                let key = Key::new(list.ty, id);
                if step.change(&key).is_some() {
                    continue;
                }
                let Some(doc) = step.after.after(&key)? else { continue };
                let was = |id: &Id| members.as_ref().is_some_and(|members| members.contains(id));
                let is = |id: &Id| led.as_ref().map_or_else(|| was(id), |led| led.contains(id));
                let before = list.holds(step.before, &key, &doc, &was)?;
                let after = list.holds(step.after, &key, &doc, &is)?;
                let happened = match (before, after) {
                    (false, true) => Happened::Added,
                    (true, false) => Happened::Left,
                    _ => continue,
                };
                told.push(Told::new(happened, What::Reached(unchanged(key, doc))));
            }
            if let Some(led) = led {
                *members = Some(led);
            }
        }
        Ok(told)
    }

    /// What one change means for lists; `led` are the members of those that are others than before.
    fn of_change(
        &self,
        lists: &[WatchedList],
        commit: &Commit,
        at: usize,
        states: Option<(&Step<'_, '_>, &[Option<HashSet<Id>>])>,
    ) -> Result<Option<Told>, EngineError> {
        let change = &commit.changes[at];
        let Some(place) = lists.iter().position(|list| list.ty == change.key.ty) else { return Ok(None) };
        let (list, key) = (&lists[place], &change.key);
        let State::Lists(members) = &self.state else { return Ok(None) };
        let was = |id: &Id| members[place].as_ref().is_some_and(|members| members.contains(id));
        let is = |id: &Id| match states.and_then(|(_, led)| led[place].as_ref()) {
            Some(led) => led.contains(id),
            None => was(id),
        };
        let before = match (&change.before, states) {
            (Some(doc), Some((step, _))) => list.holds(step.before, key, doc, &was)?,
            (Some(doc), None) => list.holds(&Own { key, doc }, key, doc, &was)?,
            (None, _) => false,
        };
        let after = match (&change.after, states) {
            (Some(doc), Some((step, _))) => list.holds(step.after, key, doc, &is)?,
            (Some(doc), None) => list.holds(&Own { key, doc }, key, doc, &is)?,
            (None, _) => false,
        };
        Ok(Happened::of(before, after, change.after.is_some())
            .map(|happened| Told::new(happened, What::Change(at))))
    }
}

/// All members of a list in a state, in the order of their ids.
fn all_of(list: &WatchedList, working: &Working<'_>) -> Result<BTreeSet<Id>, EngineError> {
    let query = query::Query { limit: MAX_CONCERNED, ..list.query(working, None)? };
    let page = query::run(working, &query)?;
    if page.more {
        return Err(too_many());
    }
    Ok(page.items.into_iter().map(|item| item.key.id).collect())
}

/// What is told of a resource that was among what was watched, or is.
fn came_or_went(
    ty: TypeIx,
    id: &Id,
    was: bool,
    is: bool,
    step: &Step<'_, '_>,
) -> Result<Option<Told>, EngineError> {
    let key = Key::new(ty, id.clone());
    let what = match step.change(&key) {
        Some((at, _)) => What::Change(at),
        None if was == is => return Ok(None),
        None => match step.after.after(&key)? {
            Some(doc) => What::Reached(unchanged(key.clone(), doc)),
            None => return Ok(None),
        },
    };
    let is_there = step.change(&key).is_none_or(|(_, change)| change.after.is_some());
    Ok(Happened::of(was, is, is_there).map(|happened| Told::new(happened, what)))
}

/// The changes of a commit of the type of a list.
fn changes_of(commit: &Commit, list: &WatchedList) -> Vec<usize> {
    let changes = commit.changes.iter().enumerate();
    changes.filter(|(_, change)| change.key.ty == list.ty).map(|(at, _)| at).collect()
}

/// The resources of a list that a commit concerns by what it changed of others.
pub fn concerned(list: &WatchedList, step: &Step<'_, '_>) -> Result<Vec<Id>, EngineError> {
    if list.reach.is_empty() {
        return Ok(Vec::new());
    }
    match list.reach.concerned(step, MAX_CONCERNED)? {
        Some(concerned) => Ok(concerned.into_iter().collect()),
        None => Err(too_many()),
    }
}

fn too_many() -> EngineError {
    let message = format!("one commit concerns more than {MAX_CONCERNED} resources of the watch");
    EngineError::refused("watch-limit", None, message)
}

/// May what a path leads to be something else after a commit?
pub fn concerns(led: &Led, step: &Step<'_, '_>) -> Result<bool, EngineError> {
    match &led.owner {
        Some(owner) if step.change(owner).is_some() => Ok(true),
        Some(owner) => {
            let concerned = led.reach.concerned(step, MAX_CONCERNED)?;
            Ok(concerned.is_none_or(|concerned| concerned.contains(&owner.id)))
        }
        None => Ok(led.reach.is_touched(step)),
    }
}

/// The value that a path leads to.
fn value_of(led: &Led, working: &Working<'_>) -> Result<Value, EngineError> {
    let value = led.value(working)?;
    match &value {
        Value::List(elements) if elements.len() > MAX_VALUES => {
            let message = format!("there are more than {MAX_VALUES} values; narrow the path by a condition");
            Err(EngineError::refused("value-limit", None, message))
        }
        _ => Ok(value),
    }
}

/// The members of what a path leads to.
fn members_of(list: &WatchedList, working: &Working<'_>) -> Result<Option<HashSet<Id>>, EngineError> {
    let Which::Led(led) = &list.which else { return Ok(None) };
    let members = targets(&led.value(working)?);
    if members.len() > MAX_CONCERNED {
        return Err(too_many());
    }
    Ok(Some(members.into_iter().collect()))
}
