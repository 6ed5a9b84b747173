//! When a walk in order gives way to a path that has to be sorted.
//!
//! Which of them is better nobody knows before: a walk in order ends with its page, and comes to that soon where the condition
//! holds of many, or late, or never; the other path looks at all its rows, and no more. So the walk begins, and looks now and
//! then how many rows the others have: as soon as one has no more than twice what the walk has visited, that one is taken.
//! Either way no more is looked at than a few times what the better of the two would have.

use super::Query;
use super::access::{Path, Rows};
use super::plan::Access;
use crate::error::EngineError;
use crate::working::Working;

/// So many are visited before the others are looked at.
const FIRST: usize = 256;

/// So many times as many before they are looked at once more.
const STEP: usize = 4;

/// A path has to have no more rows than so many times what was visited.
const TIMES: usize = 2;

/// See the module.
pub(super) struct Rivals<'p> {
    /// Their rows, and where they stand among the paths that are left.
    rows: Vec<(usize, &'p Rows)>,
    next: usize,
    better: Option<usize>,
}

impl<'p> Rivals<'p> {
    /// Of a path, among those that are left behind it.
    pub fn of(path: &Path, left: &'p [Path]) -> Rivals<'p> {
        let is_rival = |other: &Path| path.ordered && !other.ordered && other.access != Access::All;
        let rivals = left.iter().enumerate().filter(|(_, other)| is_rival(other));
        Rivals { rows: rivals.map(|(at, other)| (at, &other.rows)).collect(), next: FIRST, better: None }
    }

    /// There are none.
    pub fn none() -> Rivals<'p> {
        Rivals { rows: Vec::new(), next: FIRST, better: None }
    }

    /// Are there none?
    pub fn are_none(&self) -> bool {
        self.rows.is_empty()
    }

    /// Is one of them better, now that so many were visited?
    pub fn are_better(
        &mut self,
        working: &Working<'_>,
        query: &Query,
        visited: usize,
    ) -> Result<bool, EngineError> {
        if visited < self.next || self.are_none() {
            return Ok(false);
        }
        self.next = visited.saturating_mul(STEP);
        let mut most = visited.saturating_mul(TIMES).min(query.scan_limit);
        for (at, rows) in &self.rows {
            let count = rows.estimate(working, most.saturating_add(1))?;
            if count <= most {
                // Of two the one with fewer.
                (self.better, most) = (Some(*at), count.saturating_sub(1));
            }
        }
        Ok(self.better.is_some())
    }

    /// Where the one stands that is.
    pub fn better(self) -> Option<usize> {
        self.better
    }
}
