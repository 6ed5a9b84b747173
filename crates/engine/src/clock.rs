//! Timers: what the clock is going to change, and when.
//!
//! All that is stored is right as at one time, that of the last commit. Each subject of a node that asks for the time has
//! a row under the next time at which the clock changes what it gives: rows follow from the facts alone, so they are
//! checked and built like all else that is kept. Before a group is run at a new time, the subjects whose timers are due
//! are looked at again, as one transaction by nobody: what they gave is taken out as at the old time, what they give is
//! put in as at the new one. Between two timers nothing changes, so any time before the next one is as good.
//!
//! A resource that expires has a timer at its end, and is deleted with all that a deletion brings.
//!
//! The clock is not refused: a strict field may become an error by it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use corollary_schema::plan::{PlanNode, Rule, Timer};
use corollary_schema::{Schema, Slot};
use corollary_store::{Direction, KeyRange, Snapshot};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use crate::doc::Key;
use crate::error::EngineError;
use crate::keys;
use crate::propagate::{Work, propagate_due};
use crate::working::Working;
use crate::write;

/// Timers that one commit goes through; more of them only where they have the same time.
pub const MAX_TIMERS_PER_COMMIT: usize = 10_000;

/// What one commit goes through.
pub(crate) struct Due {
    /// The time to which it brings what is stored.
    pub until: Timestamp,
    /// By node: whose timers are due, and when they were.
    timers: BTreeMap<usize, Vec<(Id, Timestamp)>>,
}

fn timed(schema: &Schema) -> impl Iterator<Item = (usize, &PlanNode)> {
    schema.plan.nodes.iter().enumerate().filter(|(_, node)| node.is_timed())
}

/// The time of the first timer of all.
pub(crate) fn first(snapshot: &dyn Snapshot, schema: &Schema) -> Result<Option<Timestamp>, EngineError> {
    let mut first: Option<Timestamp> = None;
    for (_, node) in timed(schema) {
        let range = KeyRange::prefix(keys::timers_of(node.definition));
        let mut corrupt = false;
        snapshot.scan(keys::TIMER, &range, Direction::Forward, 1, &mut |key, _| {
            match keys::read_timer(key) {
                Some((time, _)) => first = Some(first.map_or(time, |first| first.min(time))),
                None => corrupt = true,
            }
            ControlFlow::Break(())
        })?;
        if corrupt {
            return Err(EngineError::corrupt("a timer"));
        }
    }
    Ok(first)
}

/// The timers that are due at a time: all of them, or as many as one commit goes through.
pub(crate) fn due(working: &Working<'_>, now: Timestamp) -> Result<Due, EngineError> {
    let mut found = Vec::new();
    for (at, node) in timed(working.schema) {
        collect(working, at, node, now, MAX_TIMERS_PER_COMMIT + 1, &mut found)?;
    }
    found.sort_unstable_by_key(|(time, at, _)| (*time, *at));
    let mut until = now;
    if let Some((last, _, _)) = found.get(MAX_TIMERS_PER_COMMIT - 1)
        && found.len() > MAX_TIMERS_PER_COMMIT
    {
        until = *last;
        found.clear();
        for (at, node) in timed(working.schema) {
            collect(working, at, node, until, usize::MAX, &mut found)?;
        }
    }
    let mut timers: BTreeMap<usize, Vec<(Id, Timestamp)>> = BTreeMap::new();
    for (time, at, id) in found {
        timers.entry(at).or_default().push((id, time));
    }
    Ok(Due { until, timers })
}

/// Adds the timers of a node up to a time, the first ones, at most so many.
fn collect(
    working: &Working<'_>,
    at: usize,
    node: &PlanNode,
    until: Timestamp,
    limit: usize,
    found: &mut Vec<(Timestamp, usize, Id)>,
) -> Result<(), EngineError> {
    let range = KeyRange::prefix(keys::timers_of(node.definition));
    let (mut count, mut corrupt) = (0, false);
    working.base.scan(
        keys::TIMER,
        &range,
        Direction::Forward,
        &mut |key, _| match keys::read_timer(key) {
            Some((time, id)) if time <= until && count < limit => {
                found.push((time, at, id));
                count += 1;
                ControlFlow::Continue(())
            }
            Some(_) => ControlFlow::Break(()),
            None => {
                corrupt = true;
                ControlFlow::Break(())
            }
        },
    )?;
    if corrupt { Err(EngineError::corrupt("a timer")) } else { Ok(()) }
}

impl Due {
    /// Are there none?
    pub(crate) fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Lets the time come: deletes what expires, and brings the rest up to date. The working state shows the old time
    /// before, and the new one after.
    pub(crate) fn run(self, working: &mut Working<'_>) -> Result<Work, EngineError> {
        let schema = working.schema;
        let mut dirty = BTreeMap::new();
        for (at, timers) in self.timers {
            let node = &schema.plan.nodes[at];
            // Each row goes, whatever becomes of its subject: time moves on in any case.
            for (id, time) in &timers {
                working.delete_row(keys::TIMER, keys::timer(node.definition, *time, id));
            }
            let subjects = timers.into_iter().map(|(id, _)| id);
            if expires(node) {
                for id in subjects {
                    let key = Key::new(node.subject(), id);
                    // It may have gone with another one that expired.
                    if working.after(&key)?.is_some() {
                        write::delete(working, std::slice::from_ref(&key))?;
                    }
                }
            } else {
                dirty.insert(at, subjects.collect());
            }
        }
        write::note_updates(working);
        propagate_due(working, dirty)
    }
}

fn expires(node: &PlanNode) -> bool {
    matches!(&node.rule, Rule::Evaluate(evaluate) if evaluate.timer == Some(Timer::Expires))
}

/// Moves the timer of a subject.
pub(crate) fn rearm(
    working: &mut Working<'_>,
    node: &PlanNode,
    subject: &Id,
    old: Option<Timestamp>,
    new: Option<Timestamp>,
) {
    if old == new {
        return;
    }
    if let Some(old) = old {
        working.delete_row(keys::TIMER, keys::timer(node.definition, old, subject));
    }
    if let Some(new) = new {
        working.arm(keys::timer(node.definition, new, subject), new);
    }
}

/// Moves the timer of an owner that keeps its time in a hidden field, along with that.
pub(crate) fn rearm_owner(
    working: &mut Working<'_>,
    node: &PlanNode,
    key: &Key,
    slot: Slot,
    new: Option<Timestamp>,
) -> Result<(), EngineError> {
    let (before, after) = working.before_and_after(key)?;
    let old = after.as_ref().or(before.as_ref()).and_then(|doc| time_in(doc.get(slot)));
    if after.is_none() {
        rearm(working, node, &key.id, old, None);
        return Ok(());
    }
    drop((before, after));
    working.set(key, slot, new.map_or(Value::Absent, Value::Datetime))?;
    rearm(working, node, &key.id, old, new);
    Ok(())
}

/// Sets the timers of some owners of a node as they keep them, whatever rows there are.
pub(crate) fn set_again(working: &mut Working<'_>, at: usize, owners: &[Id]) -> Result<(), EngineError> {
    let node = &working.schema.plan.nodes[at];
    let Some(slot) = node.keeps_time() else { return Ok(()) };
    for id in owners {
        let doc = working.after(&Key::new(node.result.ty, id.clone()))?;
        if let Some(time) = doc.and_then(|doc| time_in(doc.get(slot))) {
            working.arm(keys::timer(node.definition, time, id), time);
        }
    }
    Ok(())
}

/// The time that a hidden field holds.
pub(crate) fn time_in(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Datetime(time) => Some(*time),
        _ => None,
    }
}
