//! Can a value of a stratum reach itself by what it may read?
//!
//! The search goes forwards, to what is read, and backwards, to who reads, a little in turn, and ends as soon as there is
//! no way on in one of the directions: so in a tree it costs as much as the shorter of the ways up and down. What a value
//! *may* read is asked for, whatever its conditions say now: an answer of no is certain, a yes is not.

use std::collections::VecDeque;

use corollary_schema::plan::{Hop, Stratum};
use corollary_value::Id;
use hashbrown::HashSet;

use super::Place;
use crate::doc::Key;
use crate::error::EngineError;
use crate::working::{Working, linked};

/// Steps of all searches of one transaction in one stratum, about; past that, all that may change is ordered instead, for
/// about the same cost as going on.
const MAX_STEPS: usize = 10_000;

/// Steps that a direction may take before it is the other's turn; doubled each time.
const FIRST_TURN: usize = 16;

/// Which way a side of the search goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// To what is read.
    Forwards,
    /// To who reads.
    Backwards,
}

/// One side of a search.
struct Side {
    way: Way,
    seen: HashSet<Place>,
    next: VecDeque<Place>,
    steps: usize,
}

/// How a turn ended.
enum Turn {
    /// There is no way on.
    Exhausted,
    /// A place was reached that the other side has seen.
    Met,
    /// It is the other side's turn.
    Over,
}

/// See the module. `searched` are the steps so far, this search's included afterwards.
pub fn may_reach_itself(
    working: &Working<'_>,
    stratum: &Stratum,
    start: Place,
    searched: &mut usize,
) -> Result<bool, EngineError> {
    let side = |way| Side {
        way,
        seen: HashSet::from([start.clone()]),
        next: VecDeque::from([start.clone()]),
        steps: 0,
    };
    let (mut this, mut other) = (side(Way::Backwards), side(Way::Forwards));
    let mut allowance = FIRST_TURN;
    let reaches = loop {
        match this.turn(working, stratum, &other, allowance)? {
            Turn::Exhausted => break false,
            Turn::Met => break true,
            Turn::Over => {}
        }
        // A turn that found more ways on than it may look at has cost about what it was allowed.
        if *searched + allowance.max(this.steps + other.steps) > MAX_STEPS {
            break true;
        }
        if this.way == Way::Forwards {
            allowance *= 2;
        }
        std::mem::swap(&mut this, &mut other);
    };
    *searched += this.steps + other.steps;
    Ok(reaches)
}

impl Side {
    fn turn(
        &mut self,
        working: &Working<'_>,
        stratum: &Stratum,
        other: &Side,
        allowance: usize,
    ) -> Result<Turn, EngineError> {
        while self.steps < allowance {
            let Some(place) = self.next.pop_front() else { return Ok(Turn::Exhausted) };
            let Some(found) = self.neighbours(working, stratum, &place, allowance - self.steps)? else {
                // More ways lead on than may be looked at in this turn.
                self.next.push_front(place);
                return Ok(Turn::Over);
            };
            self.steps += 1 + found.len();
            for place in found {
                if other.seen.contains(&place) {
                    return Ok(Turn::Met);
                }
                if self.seen.insert(place.clone()) {
                    self.next.push_back(place);
                }
            }
        }
        Ok(Turn::Over)
    }

    /// What lies one step further; nothing where it is more than so many.
    fn neighbours(
        &self,
        working: &Working<'_>,
        stratum: &Stratum,
        (at, id): &Place,
        most: usize,
    ) -> Result<Option<Vec<Place>>, EngineError> {
        let mut found = Vec::new();
        for need in &stratum.needs {
            let (from, to) = match self.way {
                Way::Forwards => (need.node, need.needed),
                Way::Backwards => (need.needed, need.node),
            };
            if from != *at {
                continue;
            }
            let Some(ids) = walk(working, &need.path, self.way, id, most - found.len())? else {
                return Ok(None);
            };
            found.extend(ids.into_iter().map(|id| (to, id)));
        }
        Ok(Some(found))
    }
}

/// Where a path leads, or from where it leads here; nothing where that is more than so many.
fn walk(
    working: &Working<'_>,
    path: &[Hop],
    way: Way,
    id: &Id,
    most: usize,
) -> Result<Option<HashSet<Id>>, EngineError> {
    let mut at = HashSet::from([id.clone()]);
    for step in 0..path.len() {
        let hop = match way {
            Way::Forwards => path[step],
            Way::Backwards => path[path.len() - 1 - step],
        };
        let mut next = HashSet::new();
        for id in at {
            match (hop, way) {
                (Hop::Link(field), Way::Forwards) | (Hop::Reverse(field), Way::Backwards) => {
                    if let Some(doc) = working.after(&Key::new(field.ty, id))? {
                        // A link in an object is stored with the object.
                        next.extend(linked(working.schema, field, &doc));
                    }
                }
                (Hop::Reverse(field), Way::Forwards) | (Hop::Link(field), Way::Backwards) => {
                    next.extend(working.referrers_page(field, &id, None, most + 1)?);
                }
                // The checker lets no field need itself along it.
                (Hop::Everywhere(_), _) => return Ok(None),
            }
            if next.len() > most {
                return Ok(None);
            }
        }
        at = next;
    }
    Ok(Some(at))
}
