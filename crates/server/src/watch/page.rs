//! A page that is kept: the first so many of a list in an order, while its members and their places change.
//!
//! It has the members in memory, and some that stand behind them, so that one which leaves has a successor. A change is one
//! search among them, however long the list is. Where those behind the page run out, it is behind itself: what happens to
//! it meanwhile is told together, when it has been read anew, as of the revision of that.

use std::sync::Arc;

use corollary_engine::query::{self, Item, Query};
use corollary_engine::replay::Step;
use corollary_engine::working::Working;
use corollary_engine::{Change, Commit, Doc, EngineError, Key};
use corollary_value::Value;
use hashbrown::{HashMap, HashSet};

use super::event::Happened;
use super::tracker::{Told, What, concerned, concerns, unchanged};
use super::watched::{Led, Ordered, Own, WatchedList, Which};

/// Members behind the page that are kept, beside as many as the page has.
const AHEAD: usize = 16;

/// See the module.
pub struct Page {
    /// In order; the first `limit` are the page.
    items: Vec<Item>,
    /// Are these all that there are?
    complete: bool,
    limit: usize,
    /// The page as it was told last; nothing while that is what it is.
    behind: Option<Vec<Item>>,
}

/// What a commit has changed is told as its change, all else as it is.
fn of_commit(commit: &Commit) -> impl Fn(&Key, Option<&Arc<Doc>>, Option<&Arc<Doc>>) -> What {
    |key, before, after| {
        match commit.changes.binary_search_by(|change| change.key.cmp(key)) {
            Ok(at) => Some(What::Change(at)),
            Err(_) => after.or(before).map(|doc| What::Reached(unchanged(key.clone(), doc.clone()))),
        }
        .unwrap_or(What::Value(Value::Absent))
    }
}

/// What resources are by now that have changed; nothing where they are gone.
type Since = HashMap<Key, Option<Arc<Doc>>>;

impl Page {
    /// Reads it.
    pub fn begin(list: &WatchedList, ordered: &Ordered, working: &Working<'_>) -> Result<Page, EngineError> {
        let mut page = Page { items: Vec::new(), complete: true, limit: ordered.limit, behind: None };
        page.read(list, ordered, working)?;
        Ok(page)
    }

    /// Its members, in order.
    pub fn shown(&self) -> &[Item] {
        &self.items[..self.limit.min(self.items.len())]
    }

    /// Has what stood behind it run out?
    pub fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    fn most(&self) -> usize {
        self.limit * 2 + AHEAD
    }

    fn read(
        &mut self,
        list: &WatchedList,
        ordered: &Ordered,
        working: &Working<'_>,
    ) -> Result<(), EngineError> {
        let query = Query { limit: self.most(), ..list.query(working, Some(ordered))? };
        let found = query::run(working, &query)?;
        (self.items, self.complete) = (found.items, !found.more);
        Ok(())
    }

    /// Reads it anew, and tells what has changed of it.
    pub fn refill(
        &mut self,
        list: &WatchedList,
        ordered: &Ordered,
        working: &Working<'_>,
    ) -> Result<Vec<Told>, EngineError> {
        let Some(told) = self.behind.clone() else { return Ok(Vec::new()) };
        self.read(list, ordered, working)?;
        let mut since = Since::new();
        let keys = told.iter().chain(self.shown()).map(|item| item.key.clone());
        for key in keys.collect::<Vec<_>>() {
            let doc = working.after(&key)?;
            since.insert(key, doc);
        }
        let schema = working.schema;
        let what = |key: &Key, before: Option<&Arc<Doc>>, after: Option<&Arc<Doc>>| {
            let absent = Value::Absent;
            let value = |doc: Option<&Arc<Doc>>, slot| doc.map_or(&absent, |doc| doc.get(slot)).clone();
            let fields = schema.ty(key.ty).slots().filter(|(_, field)| field.in_document());
            let changed = match before {
                Some(_) => {
                    let changed = fields.filter(|(slot, _)| value(before, *slot) != value(after, *slot));
                    changed.map(|(slot, _)| slot).collect()
                }
                None => Vec::new(),
            };
            let before = before.filter(|_| after.is_none() || !changed.is_empty()).cloned();
            What::Reached(Arc::new(Change { key: key.clone(), before, after: after.cloned(), changed }))
        };
        // Not before all has been read: it may have to be read once more.
        self.behind = None;
        Ok(difference(&told, self.shown(), &since, &what))
    }

    /// What a commit means for it, where these of its changes may; `step` where more than they decides.
    pub fn take(
        &mut self,
        list: &WatchedList,
        ordered: &Ordered,
        commit: &Commit,
        changes: &[usize],
        step: Option<&Step<'_, '_>>,
    ) -> Result<Vec<Told>, EngineError> {
        if let (Which::Led(led), Some(step)) = (&list.which, step) {
            return self.retake(list, led, ordered, changes, step);
        }
        let mut now: Vec<(Key, Option<Item>)> = Vec::new();
        let mut since = Since::new();
        let query = Query {
            ty: list.ty,
            from: query::From::All,
            filter: None,
            order: ordered.order.clone(),
            limit: ordered.limit,
            after: None,
            scan_limit: 0,
        };
        let stands = |key: &Key, doc: &Arc<Doc>| -> Result<Option<Item>, EngineError> {
            let own = Own { key, doc };
            let view: &dyn corollary_engine::view::View = match step {
                Some(step) => step.after,
                None => &own,
            };
            if !list.holds(view, key, doc, &|_| false)? {
                return Ok(None);
            }
            query::item(view, &query, key.clone(), doc.clone())
        };
        for at in changes {
            let Change { key, after, .. } = &commit.changes[*at];
            since.insert(key.clone(), after.clone());
            let item = after.as_ref().map(|doc| stands(key, doc)).transpose()?.flatten();
            now.push((key.clone(), item));
        }
        if let Some(step) = step {
            for id in concerned(list, step)? {
                let key = Key::new(list.ty, id);
                if step.change(&key).is_none()
                    && let Some(doc) = step.after.after(&key)?
                {
                    let item = stands(&key, &doc)?;
                    now.push((key, item));
                }
            }
        }
        if now.is_empty() {
            return Ok(Vec::new());
        }
        if self.behind.is_some() {
            return Ok(Vec::new());
        }
        let told = self.shown().to_vec();
        for (key, item) in now {
            self.put(&query, &key, item);
        }
        if !self.complete && self.items.len() < self.limit {
            self.behind = Some(told);
            return Ok(Vec::new());
        }
        Ok(difference(&told, self.shown(), &since, &of_commit(commit)))
    }

    /// The same of what a path leads to: where a commit may have changed who that is, or in which order, it is read anew in the state
    /// that the commit left. A path leads to so few that no more is kept of it.
    fn retake(
        &mut self,
        list: &WatchedList,
        led: &Led,
        ordered: &Ordered,
        changes: &[usize],
        step: &Step<'_, '_>,
    ) -> Result<Vec<Told>, EngineError> {
        if changes.is_empty() && !concerns(led, step)? && concerned(list, step)?.is_empty() {
            return Ok(Vec::new());
        }
        let told = self.shown().to_vec();
        self.read(list, ordered, step.after)?;
        let since = step.commit.changes.iter().map(|change| (change.key.clone(), change.after.clone()));
        Ok(difference(&told, self.shown(), &since.collect(), &of_commit(step.commit)))
    }

    /// Reads it anew in the state that a commit left, by another condition.
    pub fn reread(
        &mut self,
        list: &WatchedList,
        ordered: &Ordered,
        step: &Step<'_, '_>,
    ) -> Result<Vec<Told>, EngineError> {
        if self.behind.is_some() {
            // It is read anyway.
            return Ok(Vec::new());
        }
        let told = self.shown().to_vec();
        self.read(list, ordered, step.after)?;
        let since = step.commit.changes.iter().map(|change| (change.key.clone(), change.after.clone()));
        Ok(difference(&told, self.shown(), &since.collect(), &of_commit(step.commit)))
    }

    /// Puts a member where it stands now, or takes it out.
    fn put(&mut self, query: &Query, key: &Key, item: Option<Item>) {
        self.items.retain(|held| held.key != *key);
        let Some(item) = item else { return };
        let at = self
            .items
            .binary_search_by(|held| query::by_order(query, &held.position, &item.position))
            .unwrap_or_else(|at| at);
        // What stands behind all that is known may stand behind others that are not.
        if at == self.items.len() && !self.complete {
            return;
        }
        self.items.insert(at, item);
        if self.items.len() > self.most() {
            self.items.truncate(self.most());
            self.complete = false;
        }
    }
}

/// Says to what something happened: a resource, as it was told and as it is.
type Describe<'w> = &'w dyn Fn(&Key, Option<&Arc<Doc>>, Option<&Arc<Doc>>) -> What;

/// What brings a client from the page that it was told to the one that is there: first who goes, then who comes or moves, in
/// the order of the page, each with the member before it. So a client that takes out whoever is told, and puts those with a
/// place behind that member, has the page.
fn difference(told: &[Item], shown: &[Item], since: &Since, what: Describe<'_>) -> Vec<Told> {
    let before: HashMap<&Key, &Item> = told.iter().map(|item| (&item.key, item)).collect();
    let after: HashSet<&Key> = shown.iter().map(|item| &item.key).collect();
    let mut events = Vec::new();
    for item in told.iter().filter(|item| !after.contains(&item.key)) {
        let now = since.get(&item.key).map_or(Some(&item.doc), Option::as_ref);
        let happened = if now.is_some() { Happened::Left } else { Happened::Removed };
        events.push(Told::new(happened, what(&item.key, Some(&item.doc), now)));
    }
    let mut previous = None;
    for item in shown {
        let place = Some(previous.replace(&item.key.id).cloned());
        let was = before.get(&item.key);
        let is_changed = was.is_none_or(|was| was.doc.revision != item.doc.revision);
        let is_moved = was.is_none_or(|was| was.position != item.position);
        if !is_changed && !is_moved {
            continue;
        }
        let happened = if was.is_some() { Happened::Modified } else { Happened::Added };
        let what = what(&item.key, was.map(|was| &was.doc), Some(&item.doc));
        events.push(Told { happened, what, after: place.filter(|_| is_moved) });
    }
    events
}
