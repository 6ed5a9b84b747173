//! The walk back from the sources of an update to its subjects, in the order of keys, a part at a time.
//!
//! A [`Place`] is how far the walk has come: the source, and one id for each step of the path. Everything up to the last
//! of them, and all that hangs on it, is done. Links may change meanwhile: whoever joins or leaves a way is brought up
//! to date by the commit that changes the link, so the walk need not see it.

use corollary_schema::plan::Hop;
use corollary_value::Id;

use crate::doc::Key;
use crate::error::EngineError;
use crate::working::{Working, linked};

/// Ids that are read together.
const PAGE: usize = 512;

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The source that is being walked; none where the next is to be taken.
    pub source: Option<Id>,
    /// From it: what is done, one id for each step down to where the walk stopped.
    pub cursor: Vec<Id>,
}

/// One part of a walk.
pub struct Walk<'w, 'a> {
    working: &'w Working<'a>,
    /// From the source to the subjects: the path backwards.
    hops: Vec<Hop>,
    /// Subjects that may still be found.
    subjects: usize,
    /// Ids that may still be visited.
    visits: usize,
    /// The subjects, some perhaps more than once.
    pub found: Vec<Id>,
}

impl<'w, 'a> Walk<'w, 'a> {
    /// A part of at most so many subjects.
    pub fn new(working: &'w Working<'a>, path: &[Hop], subjects: usize) -> Walk<'w, 'a> {
        let hops: Vec<Hop> = path.iter().rev().copied().collect();
        // Enough to come to the end of a way at least once, whatever its length.
        let visits = subjects.saturating_mul(4).saturating_add(16 + 2 * hops.len());
        Walk { working, hops, subjects, visits, found: Vec::new() }
    }

    /// May it go on?
    pub fn has_room(&self) -> bool {
        self.found.len() < self.subjects && self.visits > 0
    }

    /// Walks on from a source behind the cursor; true where that was all of it.
    pub fn from(&mut self, source: &Id, cursor: &mut Vec<Id>) -> Result<bool, EngineError> {
        if self.hops.is_empty() {
            self.found.push(source.clone());
            return Ok(true);
        }
        let resume = std::mem::take(cursor);
        self.descend(0, source, &resume, cursor)
    }

    /// Walks what hangs on `at`. Enters and, where all is done, leaves with a cursor of `depth` ids; where it stopped, what
    /// is done below stands behind them.
    fn descend(
        &mut self,
        depth: usize,
        at: &Id,
        resume: &[Id],
        cursor: &mut Vec<Id>,
    ) -> Result<bool, EngineError> {
        let last = depth + 1 == self.hops.len();
        let mut done: Vec<Id> = resume.to_vec();
        let mut from = resume.first().cloned().map(|id| (id, resume.len() > 1));
        loop {
            let page = children(self.working, self.hops[depth], at, from.as_ref())?;
            let full = page.len() == PAGE;
            let Some(end) = page.last().cloned() else { return Ok(true) };
            for id in page {
                if !self.has_room() {
                    cursor.extend(done);
                    return Ok(false);
                }
                self.visits -= 1;
                if last {
                    self.found.push(id.clone());
                } else {
                    let within = match resume {
                        [first, rest @ ..] if *first == id => rest,
                        _ => &[],
                    };
                    cursor.push(id.clone());
                    if !self.descend(depth + 1, &id, within, cursor)? {
                        if cursor.len() == depth + 1 {
                            // Nothing of it is done.
                            cursor.truncate(depth);
                            cursor.extend(done);
                        }
                        return Ok(false);
                    }
                    cursor.truncate(depth);
                }
                done.clear();
                done.push(id);
            }
            if !full {
                return Ok(true);
            }
            from = Some((end, false));
        }
    }
}

/// What a step of a path leads to from a resource, in the order of ids: a page behind an id, or from it on.
fn children(
    working: &Working<'_>,
    hop: Hop,
    at: &Id,
    from: Option<&(Id, bool)>,
) -> Result<Vec<Id>, EngineError> {
    match hop {
        Hop::Everywhere(ty) => working.ids_page(ty, from.map(|(id, inclusive)| (id, *inclusive)), PAGE),
        Hop::Link(field) => {
            working.referrers_page(field, at, from.map(|(id, inclusive)| (id, *inclusive)), PAGE)
        }
        Hop::Reverse(field) => {
            let Some(doc) = working.after(&Key::new(field.ty, at.clone()))? else { return Ok(Vec::new()) };
            let mut ids = linked(working.schema, field, &doc);
            ids.sort_unstable();
            ids.dedup();
            ids.retain(|id| from.is_none_or(|(from, inclusive)| id > from || (*inclusive && id == from)));
            ids.truncate(PAGE);
            Ok(ids)
        }
    }
}
