//! How many resources an update has yet to visit, counted without doing anything.
//!
//! Along one step the count is exact, and goes on from where it was. Along several, what one batch can look at is
//! walked in memory, a whole set at a time; where that does not suffice, the number is a lower bound, and grows with the
//! walk.

use std::collections::BTreeSet;

use corollary_schema::plan::Hop;
use corollary_value::Id;

use super::ledger::Update;
use super::record::{Task, UpdateId};
use super::walk::{Place, children, hop, waiting_page};
use crate::error::EngineError;
use crate::working::Working;

/// Resources that are counted in one step.
const COUNT: usize = 16_384;

/// Steps of counting for an estimate before anything is begun.
const ESTIMATE_STEPS: usize = 8;

/// How many resources an update has yet to visit, as far as some steps of counting go; are those all of them?
pub(crate) fn estimate(working: &Working<'_>, update: &Update) -> Result<(u64, bool), EngineError> {
    let mut place = Place::default();
    count(working, update, &mut place, COUNT * ESTIMATE_STEPS)
}

/// Counts one step on from a place what is left to visit: so many more, and was that all that can be counted?
pub(crate) fn count_step(
    working: &Working<'_>,
    update: &Update,
    place: &mut Place,
) -> Result<(u64, bool), EngineError> {
    let (found, complete) = count(working, update, place, COUNT)?;
    let is_counted_once = update.target.as_ref().is_some_and(|target| target.path().len() > 1);
    Ok((found, complete || is_counted_once))
}

fn count(
    working: &Working<'_>,
    update: &Update,
    place: &mut Place,
    limit: usize,
) -> Result<(u64, bool), EngineError> {
    let Some(target) = &update.target else { return Ok((0, true)) };
    let (id, path) = (update.record.id, target.path());
    if path.len() > 1 {
        return count_levels(working, id, &path, limit);
    }
    if *place == Place::default() && matches!(update.record.task, Task::Follow | Task::Fill | Task::Index) {
        *place = update.record.place.clone();
    }
    let mut found = 0;
    let mut from = place.source.take();
    let mut inclusive = true;
    loop {
        let Some(source) = waiting_page(working, id, 0, from.as_ref(), inclusive, 1)?.pop() else {
            return Ok((found as u64, true));
        };
        if from.as_ref() != Some(&source) {
            place.cursor = None;
        }
        let reached = match hop(&path, 0) {
            Some(hop) => children(working, hop, &source, place.cursor.as_ref(), limit - found)?,
            None => vec![source.clone()],
        };
        found += reached.len();
        if found >= limit {
            place.source = Some(source);
            place.cursor = reached.last().cloned();
            return Ok((found as u64, false));
        }
        (from, inclusive, place.cursor) = (Some(source), false, None);
    }
}

/// Counts along several steps from the sources that an update began with, following at most so many links.
fn count_levels(
    working: &Working<'_>,
    id: UpdateId,
    path: &[Hop],
    limit: usize,
) -> Result<(u64, bool), EngineError> {
    let mut at: BTreeSet<Id> = waiting_page(working, id, 0, None, true, limit)?.into_iter().collect();
    let mut left = limit.saturating_sub(at.len());
    for level in 0..path.len() {
        let Some(hop) = hop(path, level) else { break };
        let mut next = BTreeSet::new();
        for source in &at {
            let reached = children(working, hop, source, None, left)?;
            left -= reached.len();
            next.extend(reached);
            if left == 0 {
                // Each source that is left leads to somebody, as far as is known.
                return Ok((next.len() as u64, false));
            }
        }
        at = next;
    }
    Ok((at.len() as u64, true))
}
