//! The walk back from the sources of an update to its subjects, level by level, a part at a time.
//!
//! A level is how many steps of the path are behind a source. From each source of a level one step is walked: where it is
//! the last one, what it leads to are subjects; otherwise they are sources of the next level, kept in the store beside
//! those that the update began with. However many ways lead to a source, it waits once, and a level is walked to its end
//! before the next one: so a walk follows each link along its way once, whatever the number of routes.
//!
//! A [`Place`] is how far the walk has come: the source, and the last of what the step leads to from it. Links may change
//! meanwhile: whoever joins or leaves a way is brought up to date by the commit that changes the link, so the walk need
//! not see it. Where sources come to a level that has been walked, the levels are gone through once more.

use std::ops::Bound;

use corollary_schema::plan::Hop;
use corollary_store::KeyRange;
use corollary_value::Id;

use super::record::UpdateId;
use crate::doc::Key;
use crate::error::EngineError;
use crate::keys;
use crate::working::{Working, linked};

/// Ids that are read together at most.
const PAGE: usize = 4_096;

/// How far a walk has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The level that is being walked.
    pub level: usize,
    /// The source that is being walked; none where the next is to be taken.
    pub source: Option<Id>,
    /// The last of what the step leads to from it that is done; none where nothing is.
    pub cursor: Option<Id>,
}

/// What one part of a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The subjects, in order, each once.
    pub subjects: Vec<Id>,
    /// Sources and links that were followed.
    pub walked: usize,
    /// Is nothing left to walk?
    pub complete: bool,
}

/// Walks a part: at most so many sources, and so many links. Sources that are done are struck out.
pub(crate) fn walk(
    working: &mut Working<'_>,
    id: UpdateId,
    path: &[Hop],
    place: &mut Place,
    limit: usize,
) -> Result<Part, EngineError> {
    let mut part = Part::default();
    let (mut sources_left, mut links_left) = (limit, limit);
    'levels: loop {
        let waiting = waiting_page(
            working,
            id,
            place.level,
            place.source.as_ref(),
            true,
            sources_left.saturating_add(1),
        )?;
        if waiting.is_empty() && !next_level(working, id, path, place)? {
            part.complete = true;
            break;
        }
        for source in waiting {
            if sources_left == 0 || links_left == 0 {
                break 'levels;
            }
            if place.source.as_ref() != Some(&source) {
                (place.source, place.cursor) = (Some(source.clone()), None);
                sources_left -= 1;
            }
            if !walk_source(working, id, path, place, &source, &mut links_left, &mut part.subjects)? {
                break 'levels;
            }
            working.delete_row(keys::UPDATE, keys::waiting(id, place.level, &source));
            (place.source, place.cursor) = (None, None);
        }
    }
    part.walked = (limit - sources_left) + (limit - links_left);
    part.subjects.sort_unstable();
    part.subjects.dedup();
    Ok(part)
}

/// Walks one step on from a source, behind the cursor; true where that was all of it.
fn walk_source(
    working: &mut Working<'_>,
    id: UpdateId,
    path: &[Hop],
    place: &mut Place,
    source: &Id,
    left: &mut usize,
    subjects: &mut Vec<Id>,
) -> Result<bool, EngineError> {
    let Some(hop) = hop(path, place.level) else {
        subjects.push(source.clone());
        return Ok(true);
    };
    let is_last = place.level + 1 == path.len();
    loop {
        // One more tells whether there are more.
        let asked = PAGE.min(left.saturating_add(1));
        let mut page = match hop {
            // Subjects are read next.
            Hop::Everywhere(ty) if is_last => {
                working.ids_ahead(ty, place.cursor.as_ref().map(|id| (id, false)), asked)?
            }
            hop => children(working, hop, source, place.cursor.as_ref(), asked)?,
        };
        let is_full = page.len() == asked;
        page.truncate(*left);
        *left -= page.len();
        if let Some(end) = page.last() {
            place.cursor = Some(end.clone());
        }
        if is_last {
            subjects.append(&mut page);
        } else {
            for child in &page {
                working.put_row(keys::UPDATE, keys::waiting(id, place.level + 1, child), Vec::new());
            }
        }
        if !is_full {
            return Ok(true);
        }
        if *left == 0 {
            return Ok(false);
        }
    }
}

/// The step of a path that is walked from sources of a level: the path is walked backwards.
pub(crate) fn hop(path: &[Hop], level: usize) -> Option<Hop> {
    path.len().checked_sub(level + 1).map(|at| path[at])
}

/// Goes to the next level that has sources, the first one behind the last; false where there is none.
fn next_level(
    working: &Working<'_>,
    id: UpdateId,
    path: &[Hop],
    place: &mut Place,
) -> Result<bool, EngineError> {
    let levels = path.len().max(1);
    let (level, rest) = (place.level, 1..=levels);
    *place = Place::default();
    for level in rest.map(|further| (level + further) % levels) {
        if !waiting_page(working, id, level, None, true, 1)?.is_empty() {
            place.level = level;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sources of a level, in order, at most so many: those behind an id, or from it on where `inclusive`.
pub(crate) fn waiting_page(
    working: &Working<'_>,
    id: UpdateId,
    level: usize,
    from: Option<&Id>,
    inclusive: bool,
    limit: usize,
) -> Result<Vec<Id>, EngineError> {
    let prefix = keys::waiting_of(id, level);
    let length = prefix.len();
    let mut range = KeyRange::prefix(prefix);
    if let Some(from) = from {
        let key = keys::waiting(id, level, from);
        match inclusive {
            true => range.from = Bound::Included(key),
            false => range = range.resume_after(key),
        }
    }
    let keys = working.keys_page(keys::UPDATE, &range, limit)?;
    let ids = keys.iter().map(|key| keys::id_behind(key, length));
    ids.map(|id| id.ok_or_else(|| EngineError::corrupt("a source of an update"))).collect()
}

/// What a step of a path leads to from a resource, in the order of ids, behind one of them, at most so many.
pub(crate) fn children(
    working: &Working<'_>,
    hop: Hop,
    at: &Id,
    behind: Option<&Id>,
    limit: usize,
) -> Result<Vec<Id>, EngineError> {
    let from = behind.map(|id| (id, false));
    match hop {
        Hop::Everywhere(ty) => working.ids_page(ty, from, limit),
        Hop::Link(field) => working.referrers_page(field, at, from, limit),
        Hop::Reverse(field) => {
            let Some(doc) = working.after(&Key::new(field.ty, at.clone()))? else { return Ok(Vec::new()) };
            let mut ids = linked(working.schema, field, &doc);
            ids.retain(|id| behind.is_none_or(|behind| id > behind));
            ids.sort_unstable();
            ids.dedup();
            ids.truncate(limit);
            Ok(ids)
        }
    }
}
