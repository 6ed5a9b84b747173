//! Commits gone through again, one after the other, each with all of the state before it and after it.
//!
//! It begins with a snapshot that has them all, takes back what they changed ([`crate::past`] does the same for one revision),
//! and puts it in again commit by commit. So it costs what the commits changed, not what there is, and what is read at a
//! step is exactly what a reader of that revision saw: documents, references, and which resources there are. Indexes are
//! those of the snapshot, and are not asked.
//!
//! Read next: [`crate::reach`], which finds whom a commit concerns.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::doc::{Doc, Key};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::history::MAX_COMMITS_READ;
use crate::log::{Change, Commit};
use crate::past::Then;
use crate::reach::Walked;
use crate::working::Working;

/// One commit, with the state before it and after it.
pub struct Step<'s, 'a> {
    /// The commit.
    pub commit: &'s Arc<Commit>,
    /// All as it was before.
    pub before: &'s Working<'a>,
    /// All as the commit left it.
    pub after: &'s Working<'a>,
    /// What has been walked for this commit already, whoever asked.
    pub(crate) walked: Walked,
}

impl Step<'_, '_> {
    /// What the commit did to a resource; nothing where it did not change it.
    pub fn change(&self, key: &Key) -> Option<(usize, &Change)> {
        let at = self.commit.changes.binary_search_by(|change| change.key.cmp(key)).ok()?;
        Some((at, &self.commit.changes[at]))
    }
}

/// Goes through all commits after a revision, up to one that has been published by now or until `visit` breaks; returns the
/// revision up to which it went. Those at hand are not read from the log: `fed`, one behind the other without a gap, in order.
/// Of more than [`MAX_COMMITS_READ`] nothing is gone through.
pub fn replay(
    engine: &Engine,
    since: u64,
    fed: &[Arc<Commit>],
    visit: &mut dyn FnMut(&Step<'_, '_>) -> Result<ControlFlow<()>, EngineError>,
) -> Result<Then<u64>, EngineError> {
    let base = engine.settled_base()?;
    // Each step asks before it and after it, for all who watch.
    base.remember();
    let to = base.revision();
    let commits = match gathered(engine, since, to, fed)? {
        Then::Was(commits) => commits,
        Then::Unknown => return Ok(Then::Unknown),
        Then::TooFar => return Ok(Then::TooFar),
    };
    let Some(first) = commits.first() else { return Ok(Then::Was(since.max(to))) };
    let mut before = engine.past(&base, since, first.time);
    let mut after = engine.past(&base, first.revision, first.time);
    take_back(&mut before, &commits)?;
    take_back(&mut after, &commits[1..])?;
    for (at, commit) in commits.iter().enumerate() {
        before.settle(commit.time);
        after.settle(commit.time);
        after.past = Some(commit.revision);
        let step = Step { commit, before: &before, after: &after, walked: Walked::default() };
        if visit(&step)?.is_break() {
            return Ok(Then::Was(commit.revision));
        }
        put_in(&mut before, commit)?;
        before.past = Some(commit.revision);
        if let Some(next) = commits.get(at + 1) {
            put_in(&mut after, next)?;
        }
    }
    Ok(Then::Was(to.max(since)))
}

/// All commits after a revision up to another one, in order.
fn gathered(
    engine: &Engine,
    since: u64,
    to: u64,
    fed: &[Arc<Commit>],
) -> Result<Then<Vec<Arc<Commit>>>, EngineError> {
    let mut commits: Vec<Arc<Commit>> = Vec::new();
    let fed: Vec<&Arc<Commit>> = fed.iter().filter(|it| it.revision > since && it.revision <= to).collect();
    let first = fed.first().map_or(to + 1, |commit| commit.revision);
    let last = fed.last().map_or(to, |commit| commit.revision);
    for (from, until) in [(since, first - 1), (last, to)] {
        if from < until && !read(engine, from, until, &mut commits)? {
            return Ok(Then::Unknown);
        }
        if commits.len() > MAX_COMMITS_READ {
            return Ok(Then::TooFar);
        }
        if from == since {
            commits.extend(fed.iter().map(|commit| (*commit).clone()));
        }
    }
    Ok(Then::Was(commits))
}

/// Appends the commits between two revisions, the later one included; false where the log does not go back that far.
fn read(engine: &Engine, since: u64, to: u64, commits: &mut Vec<Arc<Commit>>) -> Result<bool, EngineError> {
    engine.commits_after(since, &mut |commit| {
        if commit.revision > to || commits.len() > MAX_COMMITS_READ {
            return ControlFlow::Break(());
        }
        commits.push(Arc::new(commit));
        ControlFlow::Continue(())
    })
}

/// Has all be as it was before some commits.
fn take_back(working: &mut Working<'_>, commits: &[Arc<Commit>]) -> Result<(), EngineError> {
    let mut was: BTreeMap<&Key, &Option<Arc<Doc>>> = BTreeMap::new();
    for change in commits.iter().flat_map(|commit| &commit.changes) {
        was.entry(&change.key).or_insert(&change.before);
    }
    working.prefetch(was.keys().copied())?;
    for (key, was) in was {
        put(working, key, was)?;
    }
    Ok(())
}

/// Has all be as a commit left it.
fn put_in(working: &mut Working<'_>, commit: &Commit) -> Result<(), EngineError> {
    commit.changes.iter().try_for_each(|change| put(working, &change.key, &change.after))
}

fn put(working: &mut Working<'_>, key: &Key, doc: &Option<Arc<Doc>>) -> Result<(), EngineError> {
    let is = working.after(key)?;
    working.refer_all(key, is.as_deref(), doc.as_deref());
    working.put_back(key, doc.clone())
}
