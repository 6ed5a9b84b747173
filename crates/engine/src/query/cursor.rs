//! All that a query finds, some at a time, as of one state: however much it is, no more than a chunk of it is held.
//!
//! What comes in the order of a path of access is walked along it, and the walk goes on where it rested. What has to be
//! sorted is found first, and is refused where that is more than [`MAX_SORTED`] and all are wanted.
//!
//! The limit of visits holds as for a page, and is asked before the walk begins: a walk with a condition has no more
//! candidates. Without a condition what is visited is what is wanted, and there is no limit.

use std::vec;

use corollary_store::Direction;
use tracing::debug_span;

use super::access::{Come, Path, Rows, Trail, step};
use super::plan::{paths, too_far, unsorted};
use super::rivals::Rivals;
use super::{DEFAULT_SCAN_LIMIT, Item, Query, item, walk};
use crate::error::EngineError;
use crate::spans;
use crate::working::Working;

/// The most resources that are sorted for whoever wants all.
pub const MAX_SORTED: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Cursor {
    query: Query,
    /// Items that are still wanted.
    left: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// Along a path that comes in order.
    Along(Trail, Direction),
    /// What had to be sorted.
    Sorted(vec::IntoIter<Item>),
}

impl Cursor {
    /// Before the first of what a query finds; [`Query::limit`] is how many are wanted in all. What is read with it has to be
    /// of the same state.
    ///
    /// # Errors
    ///
    /// Too many would have to be visited, or sorted.
    pub fn open(working: &Working<'_>, query: Query) -> Result<Cursor, EngineError> {
        let mut too_many = false;
        // What is put together first is held as a whole.
        let held = Query { scan_limit: query.scan_limit.min(DEFAULT_SCAN_LIMIT), ..query.clone() };
        let paths = debug_span!(target: spans::READ, "plan").in_scope(|| paths(working, &held))?;
        for path in paths {
            let way = match path.ordered {
                true => along(working, &query, path)?,
                false => {
                    let all = query.limit > MAX_SORTED;
                    let page =
                        walk(working, &query, path, query.limit.min(MAX_SORTED), all, &mut Rivals::none())?;
                    too_many |= page.as_ref().is_some_and(|page| all && page.more);
                    page.filter(|page| !(all && page.more)).map(|page| Way::Sorted(page.items.into_iter()))
                }
            };
            if let Some(way) = way {
                return Ok(Cursor { left: query.limit, query, way });
            }
        }
        Err(if too_many { unsorted(working, &query, MAX_SORTED) } else { too_far(working, &query) })
    }

    /// The next items, in order, of so many candidates at most: there may be none among these. Nothing at the end.
    pub fn next(&mut self, working: &Working<'_>, most: usize) -> Result<Option<Vec<Item>>, EngineError> {
        let wanted = self.left;
        if wanted == 0 {
            return Ok(None);
        }
        let mut items = Vec::new();
        let is_all = match &mut self.way {
            Way::Sorted(sorted) => {
                items.extend(sorted.take(most.min(wanted)));
                sorted.as_slice().is_empty()
            }
            Way::Along(trail, direction) => {
                let mut take = |key, doc| {
                    items.extend(item(working, &self.query, key, doc)?);
                    Ok(items.len() < wanted)
                };
                step(working, self.query.ty, trail, *direction, most, &mut take)? == Come::All
            }
        };
        self.left = if is_all { 0 } else { wanted - items.len() };
        Ok(Some(items))
    }
}

/// The way along a path; none where it has more candidates than may be visited.
fn along(working: &Working<'_>, query: &Query, path: Path) -> Result<Option<Way>, EngineError> {
    let limited = query.filter.is_some() && query.scan_limit < usize::MAX;
    if limited
        && let Rows::Trail(Trail::Docs(_) | Trail::Ids(_)) = &path.rows
        && path.rows.estimate(working, query.scan_limit + 1)? > query.scan_limit
    {
        return Ok(None);
    }
    let direction = path.direction;
    Ok(path.rows.trail(working)?.map(|trail| Way::Along(trail, direction)))
}
