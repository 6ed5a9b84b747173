//! What a watch is told: one JSON object an event, as SSE or as lines of NDJSON.
//!
//! Everything but the event's type is the same for all watches of a change, so it is made once ([`body`]); the type
//! is put in front of it ([`Format::change`]).

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use corollary_engine::past::{self, Then};
use corollary_engine::working::Working;
use corollary_engine::{Change, Commit, Doc, Engine, EngineError, Key};
use corollary_schema::Schema;
use corollary_schema::typed::Expr;
use corollary_value::{Id, Value};
use jiff::Timestamp;

use crate::http::held;
use crate::json::changes::{Fields, ITSELF};
use crate::json::encode::{Encoder, Shape, text};
use crate::path;

/// How the path begins of what is below something that is there no more, whose own parents are not known then.
const BROKEN: &str = "/api/_/";

/// An event is written when somebody is told, and by then others may have deleted what its path leads through. So many commits later
/// at most it is written as of its own commit, which costs what has changed since.
const GONE_COMMITS: u64 = 1_024;

/// What happened to a resource, as seen by one watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It is there now: created, or in the filter from now on.
    Added,
    /// It has changed.
    Modified,
    /// It has been deleted.
    Removed,
    /// It is no longer in the filter.
    Left,
    /// What a path leads to is something else.
    Changed,
}

impl Happened {
    /// What a change means for who sees a resource where it counts.
    pub fn of(before: bool, after: bool, is_there: bool) -> Option<Happened> {
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(Happened::Added),
            (true, true) => Some(Happened::Modified),
            (true, false) if is_there => Some(Happened::Left),
            (true, false) => Some(Happened::Removed),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Happened::Added => "added",
            Happened::Modified => "modified",
            Happened::Removed => "removed",
            Happened::Left => "left",
            Happened::Changed => "changed",
        }
    }
}

/// How events are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/event-stream`.
    Sse,
    /// `application/x-ndjson`.
    Ndjson,
    /// A line for each message of a WebSocket; each says of which subscription it is, by this JSON text.
    Socket(Arc<str>),
}

/// What stands before the body of an event.
pub struct Head<'e> {
    /// What happened.
    pub happened: Happened,
    /// The name of the type, where the watch is of several.
    pub type_name: Option<&'e str>,
    /// Of a page: behind which member it stands, where its place is a new one; none at the beginning.
    pub after: Option<Option<&'e Id>>,
}

impl Format {
    /// An event about a resource or a value; the last of its commit closes with the revision, which resumes the watch.
    pub fn change(&self, head: &Head<'_>, body: &Bytes, closes: Option<u64>, out: &mut BytesMut) {
        self.open(head.happened.name(), out);
        if let Some(name) = head.type_name {
            out.put_slice(b"\"_type\":\"");
            out.put_slice(name.as_bytes());
            out.put_slice(b"\",");
        }
        if let Some(after) = head.after {
            match after {
                Some(id) => out.put_slice(format!("\"after\":\"{id}\",").as_bytes()),
                None => out.put_slice(b"\"after\":null,"),
            }
        }
        out.put_slice(body);
        self.close(closes, out);
        if let (Some(revision), true) = (closes, *self != Format::Sse) {
            // Lines have no ids: this is what tells that the commit is complete, and where to resume.
            self.note("bookmark", revision, None, out);
        }
    }

    /// An event about the watch itself.
    pub fn note(&self, name: &str, revision: u64, detail: Option<&str>, out: &mut BytesMut) {
        self.open(name, out);
        let mut body = format!("\"revision\":\"{revision}\"").into_bytes();
        if let Some(detail) = detail {
            body.extend_from_slice(b",\"detail\":");
            text(detail, &mut body);
        }
        body.push(b'}');
        out.put_slice(&body);
        // One that has expired has to start afresh, and must not resume here.
        self.close((name != "expired" && name != "error").then_some(revision), out);
    }

    fn open(&self, name: &str, out: &mut BytesMut) {
        if *self == Format::Sse {
            out.put_slice(b"data: ");
        }
        out.put_slice(b"{\"type\":\"");
        out.put_slice(name.as_bytes());
        out.put_slice(b"\",");
        if let Format::Socket(id) = self {
            out.put_slice(b"\"id\":");
            out.put_slice(id.as_bytes());
            out.put_slice(b",");
        }
    }

    fn close(&self, revision: Option<u64>, out: &mut BytesMut) {
        out.put_slice(b"\n");
        if *self == Format::Sse {
            if let Some(revision) = revision {
                out.put_slice(format!("id: {revision}\n").as_bytes());
            }
            out.put_slice(b"\n");
        }
    }
}

/// Is there anything in a change for who is told so much of it?
pub fn is_told(schema: &Schema, change: &Change, shape: &Shape) -> bool {
    let fields = Fields::new(schema, shape, change);
    shape.fields.is_none() || fields.moved() || fields.told().next().is_some()
}

/// The body of an event about a change of a commit: all behind its type, with the closing brace.
pub fn body(engine: &Engine, commit: &Commit, change: &Change, shape: &Shape) -> Bytes {
    let (revision, scope) = (commit.revision, shape.scope.as_ref());
    // Its parents may be gone with it, or have moved with it: where they were is known from the commit itself.
    let gone = |key: &Key| {
        let at = commit.changes.binary_search_by(|other| other.key.cmp(key)).ok()?;
        commit.changes[at].before.clone()
    };
    let write = |encoder: &mut Encoder<'_, '_>, change: &Change| -> Result<(), EngineError> {
        match &change.after {
            Some(doc) => {
                encoder.out.extend_from_slice(b",\"resource\":");
                encoder.resource(&change.key, doc, shape)?;
            }
            None => {
                encoder.out.extend_from_slice(b",\"resource\":null");
            }
        }
        let fields = Fields::new(engine.schema(), shape, change);
        encoder.out.extend_from_slice(b",\"changed\":[");
        fields.push_names(&mut encoder.out);
        encoder.out.push(b']');
        if let Some(before) = &change.before {
            encoder.out.extend_from_slice(b",\"old\":{");
            if fields.moved() {
                encoder.out.extend_from_slice(format!("\"{ITSELF}\":\"").as_bytes());
                path::push_canonical_among(
                    encoder.working(),
                    &change.key,
                    Some(before),
                    &gone,
                    &mut encoder.out,
                )?;
                encoder.out.push(b'"');
            }
            fields.push_values(encoder, before, fields.told(), !fields.moved())?;
            encoder.out.push(b'}');
        }
        if let Some(actor) = &commit.actor {
            encoder.out.extend_from_slice(b",\"actor\":");
            text(actor, &mut encoder.out);
        }
        encoder.out.push(b'}');
        Ok(())
    };
    let render = |working: &Working<'_>| {
        // As the commit left it: what follows later is told by an event of its own.
        let mut encoder = Encoder::of_commit(working, engine.updates().open_at(revision));
        open(&mut encoder, revision);
        let path_at = encoder.out.len();
        let doc = change.after.as_ref().or(change.before.as_ref()).map(|doc| &**doc);
        let is_gone = change.after.is_none();
        match scope {
            Some(scope) => scope.push_self(working, &change.key, doc, &mut encoder.out),
            None if is_gone => {
                path::push_canonical_among(working, &change.key, doc, &gone, &mut encoder.out)?;
            }
            None => path::push_canonical(working, &change.key, doc, &mut encoder.out)?,
        }
        let is_broken = encoder.out[path_at..].starts_with(BROKEN.as_bytes());
        encoder.out.push(b'"');
        write(&mut encoder, change)?;
        Ok((Bytes::from(encoder.out), is_broken))
    };
    let rendered = engine.read(Timestamp::now(), render).and_then(|(body, is_broken)| {
        if !is_broken || engine.revision() - revision > GONE_COMMITS {
            return Ok(body);
        }
        match past::read(engine, Timestamp::now(), revision, render)? {
            Then::Was((body, _)) => Ok(body),
            Then::Unknown | Then::TooFar => Ok(body),
        }
    });
    rendered.unwrap_or_else(|error| {
        // The change is told in any case; only what could not be read is missing.
        let mut out = format!("\"revision\":\"{revision}\",\"error\":").into_bytes();
        text(&error.to_string(), &mut out);
        out.push(b'}');
        Bytes::from(out)
    })
}

/// The body of an `added` event for a resource that is there when the watch begins.
pub fn present(
    encoder: &mut Encoder<'_, '_>,
    revision: u64,
    key: &Key,
    doc: &Doc,
    shape: &Shape,
) -> Result<(), EngineError> {
    open(encoder, revision);
    match &shape.scope {
        Some(scope) => scope.push_self(encoder.working(), key, Some(doc), &mut encoder.out),
        None => path::push_canonical(encoder.working(), key, Some(doc), &mut encoder.out)?,
    }
    encoder.out.push(b'"');
    encoder.out.extend_from_slice(b",\"resource\":");
    encoder.resource(key, doc, shape)?;
    encoder.out.push(b'}');
    Ok(())
}

/// The body of a `changed` event: what a path leads to by now.
pub fn value(
    encoder: &mut Encoder<'_, '_>,
    revision: u64,
    path: &str,
    value: &Value,
    expr: &Expr,
) -> Result<(), EngineError> {
    encoder.out.extend_from_slice(format!("\"revision\":\"{revision}\",\"path\":").as_bytes());
    text(path, &mut encoder.out);
    encoder.out.extend_from_slice(b",\"value\":");
    if value.is_null() {
        encoder.out.extend_from_slice(b"null");
    } else {
        let schema = encoder.working().schema;
        encoder.value(value, held(schema, expr))?;
    }
    encoder.out.push(b'}');
    Ok(())
}

fn open(encoder: &mut Encoder<'_, '_>, revision: u64) {
    encoder.out.extend_from_slice(format!("\"revision\":\"{revision}\",\"path\":\"").as_bytes());
}
