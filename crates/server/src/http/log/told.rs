//! Which changes of a commit are meant, and how they are told.
//!
//! What a change is for who asks of a path is told as a watch of it tells it: `added` where it came to be there, `left` where
//! it is there no more, though it is elsewhere. What is folded from the first commit on is so what is there.

use std::io::Write as _;
use std::sync::Arc;

use axum::http::{Method, StatusCode};
use corollary_engine::query::From;
use corollary_engine::working::{Working, targets};
use corollary_engine::{Change, Commit, Doc, EngineError, Key};
use corollary_schema::TypeIx;
use hashbrown::HashMap;

use super::super::{Call, read};
use super::asked::Asked;
use crate::json::changes::{Fields, ITSELF};
use crate::json::encode::{Encoder, Shape, text};
use crate::mounts::permit::permit;
use crate::mounts::{Scope, reads_own_fields_only};
use crate::path::{self, Target};
use crate::problem::Problem;

/// What happened to a resource, for who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was created, or came to be there.
    Added,
    /// It was there and is.
    Modified,
    /// It was deleted.
    Removed,
    /// It is there no more.
    Left,
}

/// What the log is asked of.
#[derive(Debug)]
pub(super) struct Of {
    /// Of each type which.
    lists: Vec<(TypeIx, From)>,
    /// The mount by whose names it is told.
    scope: Option<Arc<Scope>>,
}

impl Of {
    /// What stands at a path, or stood: a resource, a list, a mount.
    ///
    /// # Errors
    ///
    /// The path leads nowhere; or to a mount of which the log cannot tell what was in it.
    pub fn resolve(call: &Call<'_>, path: &str) -> Result<Of, Problem> {
        let engine = call.app.node.engine();
        let segments = path::segments(path)?;
        permit(engine.schema(), &segments, &Method::GET, &call.headers)?;
        let of = match read(call.reads(), |working| Ok(path::resolve(working, &segments)?))? {
            Target::Several(several) => Of { lists: several.lists, scope: None },
            Target::List(list) => Of { lists: vec![(list.ty, list.from)], scope: list.scope },
            Target::Linked { linked: false, .. } => return Err(Problem::not_found("it is not linked here")),
            Target::Linked { key, .. } => Of { lists: one(key), scope: None },
            Target::Resource { key, scope, .. } => Of { lists: one(key), scope },
        };
        let condition = of.scope.as_ref().and_then(|scope| scope.narrowed(None));
        if condition.is_some_and(|condition| !reads_own_fields_only(&condition)) {
            let detail = "what was in this mount follows from other resources, and the log does not tell what they were: ask of the collection itself";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "log-mount", detail));
        }
        Ok(of)
    }

    fn holds(&self, working: &Working<'_>, key: &Key, doc: &Arc<Doc>) -> Result<bool, EngineError> {
        let list = self.lists.iter().find(|(ty, _)| *ty == key.ty);
        let among = match list {
            Some((_, From::All)) => true,
            Some((_, From::Referring(field, id))) => targets(doc.get(field.slot)).contains(id),
            Some((_, From::Listed(ids))) => ids.contains(&key.id),
            None => false,
        };
        match &self.scope {
            Some(scope) if among => scope.holds(working, key, doc),
            _ => Ok(among),
        }
    }
}

fn one(key: Key) -> Vec<(TypeIx, From)> {
    vec![(key.ty, From::Listed(vec![key.id]))]
}

/// The changes of a commit that are meant, by their places in it.
pub(super) fn changes(
    working: &Working<'_>,
    commit: &Commit,
    asked: &Asked,
    of: Option<&Of>,
) -> Result<Vec<(Kind, usize)>, EngineError> {
    if asked.actor.is_some() && asked.actor.as_deref() != commit.actor.as_deref() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (at, change) in commit.changes.iter().enumerate() {
        let holds = |doc: &Option<Arc<Doc>>| match (doc, of) {
            (None, _) => Ok(false),
            (Some(_), None) => Ok(working.schema.ty(change.key.ty).visible()),
            (Some(doc), Some(of)) => of.holds(working, &change.key, doc),
        };
        let kind = match (holds(&change.before)?, holds(&change.after)?) {
            (false, false) => continue,
            (false, true) => Kind::Added,
            (true, true) => Kind::Modified,
            (true, false) if change.after.is_none() => Kind::Removed,
            (true, false) => Kind::Left,
        };
        found.push((kind, at));
    }
    Ok(found)
}

/// Resources that were deleted in the commits that were looked at, as they were: paths lead through them.
#[derive(Default)]
pub(super) struct Seen(HashMap<Key, Arc<Doc>>);

impl Seen {
    /// Looks at a commit.
    pub fn look(&mut self, commit: &Commit) {
        for change in &commit.changes {
            if let (Some(before), None) = (&change.before, &change.after) {
                self.0.insert(change.key.clone(), before.clone());
            }
        }
    }
}

/// Writes commits.
pub(super) struct Teller<'t, 'a> {
    working: &'t Working<'a>,
    /// All of a resource, by the names of the mount where it is told in one.
    shape: Shape,
    seen: &'t Seen,
}

impl<'t, 'a> Teller<'t, 'a> {
    /// From what is there now, and what was.
    pub fn new(working: &'t Working<'a>, of: Option<&Of>, seen: &'t Seen) -> Teller<'t, 'a> {
        let shape = Shape { scope: of.and_then(|of| of.scope.clone()), ..Shape::default() };
        Teller { working, shape, seen }
    }

    /// A commit, with some of its changes.
    pub fn commit(&mut self, commit: &Commit, changes: &[(Kind, usize)]) -> Result<Vec<u8>, EngineError> {
        let mut encoder = Encoder::past(self.working);
        // Writing to bytes in memory does not fail.
        let _ = write!(encoder.out, "{{\"revision\":\"{}\",\"time\":\"{}\"", commit.revision, commit.time);
        if let Some(actor) = &commit.actor {
            encoder.out.extend_from_slice(b",\"actor\":");
            text(actor, &mut encoder.out);
        }
        encoder.out.extend_from_slice(b",\"changes\":[");
        for (position, (kind, at)) in changes.iter().enumerate() {
            if position > 0 {
                encoder.out.push(b',');
            }
            self.change(*kind, commit, &commit.changes[*at], &mut encoder)?;
        }
        encoder.out.extend_from_slice(b"]}");
        Ok(encoder.out)
    }

    fn change(
        &self,
        kind: Kind,
        commit: &Commit,
        change: &Change,
        encoder: &mut Encoder<'_, '_>,
    ) -> Result<(), EngineError> {
        let kind = match kind {
            Kind::Added => "added",
            Kind::Modified => "modified",
            Kind::Removed => "removed",
            Kind::Left => "left",
        };
        let schema = self.working.schema;
        let (key, name) = (&change.key, &schema.ty(change.key.ty).name);
        let _ = write!(encoder.out, "{{\"type\":\"{kind}\",\"path\":\"");
        let was = |key: &Key| {
            let at = commit.changes.binary_search_by(|other| other.key.cmp(key)).ok()?;
            commit.changes[at].before.clone()
        };
        let last = change.after.as_ref().or(change.before.as_ref());
        match change.after {
            Some(_) => self.push_path(key, last, &|_| None, encoder)?,
            None => self.push_path(key, last, &was, encoder)?,
        }
        let _ = write!(encoder.out, "\",\"_type\":\"{name}\",\"_id\":\"{}\",\"changed\":[", key.id);
        let fields = Fields::new(schema, &self.shape, change);
        fields.push_names(&mut encoder.out);
        encoder.out.push(b']');
        if let Some(before) = &change.before {
            encoder.out.extend_from_slice(b",\"old\":{");
            self.push_moved(&fields, key, before, &was, encoder)?;
            fields.push_values(encoder, before, fields.told(), !fields.moved())?;
            encoder.out.push(b'}');
        }
        if let Some(after) = &change.after {
            encoder.out.extend_from_slice(b",\"new\":{");
            self.push_moved(&fields, key, after, &|_| None, encoder)?;
            match kind {
                // Who has not known it is told all of it.
                "added" => fields.push_values(encoder, after, fields.shown(), !fields.moved())?,
                _ => fields.push_values(encoder, after, fields.told(), !fields.moved())?,
            }
            encoder.out.push(b'}');
        }
        encoder.out.push(b'}');
        Ok(())
    }

    /// The path of one that has gone to another parent, as the first member of an object.
    fn push_moved(
        &self,
        fields: &Fields<'_>,
        key: &Key,
        doc: &Arc<Doc>,
        was: &dyn Fn(&Key) -> Option<Arc<Doc>>,
        encoder: &mut Encoder<'_, '_>,
    ) -> Result<(), EngineError> {
        if !fields.moved() {
            return Ok(());
        }
        let _ = write!(encoder.out, "\"{ITSELF}\":\"");
        self.push_path(key, Some(doc), was, encoder)?;
        encoder.out.push(b'"');
        Ok(())
    }

    /// The path of a resource as it was in a commit. What is above it is where it is now; what is gone is where it was.
    fn push_path(
        &self,
        key: &Key,
        doc: Option<&Arc<Doc>>,
        was: &dyn Fn(&Key) -> Option<Arc<Doc>>,
        encoder: &mut Encoder<'_, '_>,
    ) -> Result<(), EngineError> {
        let doc = doc.map(|doc| &**doc);
        if let Some(scope) = &self.shape.scope {
            scope.push_self(self.working, key, doc, &mut encoder.out);
            return Ok(());
        }
        let gone = |key: &Key| match was(key) {
            Some(doc) => Some(doc),
            // What cannot be read is an error where it is asked for next.
            None if matches!(self.working.after(key), Ok(None)) => self.seen.0.get(key).cloned(),
            None => None,
        };
        path::push_canonical_among(self.working, key, doc, &gone, &mut encoder.out)
    }
}
