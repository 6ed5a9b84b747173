//! All resources as they were at an earlier revision: the present, on top of which what commits have changed since is as
//! it was before them ([`crate::log`]).
//!
//! So it is as long ago as the log goes back, and costs what has changed since then, not what there is. Documents, the
//! references between them and their names are those of then. Lists are gone through as a whole: the entries of their
//! indexes are those of now ([`Working::is_past`]). Of a single resource [`crate::history`] knows more.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use crate::doc::{Doc, Key};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::history::MAX_COMMITS_READ;
use crate::index;
use crate::log::Commit;
use crate::working::Working;

/// What came of reading the past.
#[derive(Clone, Debug)]
pub enum Then<T> {
    /// What was read.
    Was(T),
    /// The log does not go back that far.
    Unknown,
    /// More than [`MAX_COMMITS_READ`] commits were made since.
    TooFar,
}

/// Reads the state as of a revision that has been. The time in it is that of the commit which made it, or of the next
/// where the log begins there.
pub fn read<T>(
    engine: &Engine,
    now: Timestamp,
    revision: u64,
    f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
) -> Result<Then<T>, EngineError> {
    let base = engine.settled_base()?;
    // From here on: what is committed behind the state that is read was not there before either.
    let Changed { before, mut time } = match changed(engine, revision)? {
        Then::Was(changed) => changed,
        Then::Unknown => return Ok(Then::Unknown),
        Then::TooFar => return Ok(Then::TooFar),
    };
    engine.commits_after(revision.saturating_sub(1), &mut |commit| {
        time = Some(commit.time);
        ControlFlow::Break(())
    })?;
    let mut working = engine.past(&base, revision, time.unwrap_or(now));
    undo(&mut working, before)?;
    f(&working).map(Then::Was)
}

/// What has changed since a revision.
#[derive(Default)]
struct Changed {
    /// As it was before the first change of each.
    before: BTreeMap<Key, Option<Arc<Doc>>>,
    /// Of the first commit since.
    time: Option<Timestamp>,
}

fn changed(engine: &Engine, revision: u64) -> Result<Then<Changed>, EngineError> {
    let (mut found, mut read) = (Changed::default(), 0);
    let mut take = |commit: Commit| {
        found.time.get_or_insert(commit.time);
        for change in commit.changes {
            found.before.entry(change.key).or_insert(change.before);
        }
        read += 1;
        if read > MAX_COMMITS_READ { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let complete = engine.commits_after(revision, &mut take)?;
    Ok(match (complete, read > MAX_COMMITS_READ) {
        (false, _) => Then::Unknown,
        (true, true) => Then::TooFar,
        (true, false) => Then::Was(found),
    })
}

/// Has resources be as they were.
fn undo(working: &mut Working<'_>, before: BTreeMap<Key, Option<Arc<Doc>>>) -> Result<(), EngineError> {
    working.prefetch(before.keys())?;
    for (key, was) in before {
        let is = working.after(&key)?;
        working.refer_all(&key, is.as_deref(), was.as_deref());
        working.replace(&key, was.map(Arc::unwrap_or_clone))?;
    }
    match index::maintain(working, &[]) {
        // What was unique then was so among those of then.
        Ok(()) | Err(EngineError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
