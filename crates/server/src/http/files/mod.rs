//! Files at their paths, `/api/employees/e1/photo`: what is asked of one, and which part does it.
//!
//! The bytes stream: neither an `upload` nor a `download` has more of them in memory than a few chunks. So a request for
//! a file is told from others by its path, before its body is read. What is known of a file stands in its resource like
//! other facts, and what keeps the two together is the business of `corollary_engine::files`.
//!
//! What a client sends as a file may be a page with scripts, so what comes back is never one of this server's own: see
//! `download`.

mod download;
pub mod headers;
mod upload;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode, header, request};
use corollary_engine::files::told;
use corollary_engine::working::Working;
use corollary_engine::{Doc, EngineError, Key};
use corollary_schema::{Field, FieldRef, Schema, Slot};
use corollary_value::Value;

use super::write::precondition_required;
use super::{App, Limits, Reader, Reads, read};
use crate::mounts::permit::permit;
use crate::path;
use crate::problem::{Problem, SUPERSEDED};
use crate::site::Site;

/// What a path with a file at its end was answered with; or that it names none, and the body, untouched.
pub(super) enum Answer {
    Reply(Result<Response<Body>, Problem>),
    NoFile(Body),
}

/// The methods of a file.
const METHODS: &str = "GET, HEAD, PUT, DELETE";

/// A file, or the place of one.
#[derive(Clone, Debug)]
struct Place {
    key: Key,
    slot: Slot,
}

impl Place {
    fn field<'s>(&self, schema: &'s Schema) -> &'s Field {
        schema.field(FieldRef { ty: self.key.ty, slot: self.slot })
    }

    /// In a sentence.
    fn name(&self, schema: &Schema) -> String {
        format!("`{}` of {} {}", self.field(schema).name, schema.ty(self.key.ty).name, self.key.id)
    }
}

/// The file that a path names, if it names one.
fn find(app: &App, path: &str, reader: &Reader) -> Result<Option<Place>, Problem> {
    let engine = app.node.engine();
    if !engine.schema().uses.files {
        return Ok(None);
    }
    let segments = path::segments(path)?;
    if segments.len() < 2 || segments.last().is_some_and(|last| last.starts_with('_')) {
        return Ok(None);
    }
    let found = read(Reads { engine, reader }, |working| Ok(path::file(working, &segments)?))?;
    Ok(found.map(|(key, slot)| Place { key, slot }))
}

/// Answers a request, if it is for a file: by the version of the schema that is served; by the next one, where it finds that this
/// one is gone.
pub(super) async fn answer(site: &Site, head: &request::Parts, sent: Body, reader: &Reader) -> Answer {
    let mut app = site.current();
    let schema = app.node.engine().schema().clone();
    if !schema.mounts.is_empty()
        && matches!(head.method, Method::PUT | Method::DELETE)
        && let Ok(segments) = path::segments(head.uri.path())
        && let Err(problem) = permit(&schema, &segments, &head.method, &head.headers)
    {
        Box::pin(upload::drain(sent, &app)).await;
        return Answer::Reply(Err(problem));
    }
    let place = match find(&app, head.uri.path(), reader) {
        Ok(Some(place)) => place,
        Ok(None) => return Answer::NoFile(sent),
        // What is wrong with the path is told by whoever else looks at it; but a file is not read to hear it.
        Err(problem) if head.method == Method::PUT => {
            Box::pin(upload::drain(sent, &app)).await;
            return Answer::Reply(Err(problem));
        }
        Err(_) => return Answer::NoFile(sent),
    };
    let reply = match head.method {
        Method::GET | Method::HEAD => loop {
            match download::reply(&app, head, &place, reader) {
                Err(problem) if problem.code == SUPERSEDED && site.next(&app).await => app = site.current(),
                outcome => break outcome,
            }
        },
        Method::PUT => Box::pin(upload::put(site, app, head, sent, place)).await,
        Method::DELETE => Box::pin(upload::delete(site, app, head, place)).await,
        _ => {
            Box::pin(upload::drain(sent, &app)).await;
            Err(Problem::not_allowed(METHODS))
        }
    };
    Answer::Reply(reply)
}

/// Refuses parameters but these.
fn check_parameters(query: Option<&str>, known: &[&str]) -> Result<(), Problem> {
    for (name, _) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if !known.contains(&&*name) {
            let takes = known.join("`, `");
            let detail = format!("this request for a file takes `{takes}`, and no `{name}`");
            return Err(Problem::malformed("parameter", detail));
        }
    }
    Ok(())
}

/// The entity tag of a file: its digest.
fn tag(value: &Value) -> Option<String> {
    match told(value, "digest") {
        Some(Value::Str(digest)) => Some(format!("\"{digest}\"")),
        _ => None,
    }
}

/// The value of a file in a resource; none where the resource has none.
fn held(doc: &Doc, slot: Slot) -> Option<&Value> {
    Some(doc.get(slot)).filter(|value| !value.is_null())
}

/// What the headers of a request ask of the file that is there.
#[derive(Clone, Debug, Default)]
struct Conditions {
    matches: Option<headers::Tags>,
    differs: Option<headers::Tags>,
}

impl Conditions {
    fn of(given: &HeaderMap) -> Result<Conditions, Problem> {
        let tags = |name| headers::Tags::of(given, name);
        Ok(Conditions { matches: tags(header::IF_MATCH)?, differs: tags(header::IF_NONE_MATCH)? })
    }

    /// Of a write, where the server may ask for them.
    fn of_write(given: &HeaderMap, limits: &Limits) -> Result<Conditions, Problem> {
        match Conditions::of(given)? {
            Conditions { matches: None, differs: None } if limits.conditions => Err(precondition_required()),
            conditions => Ok(conditions),
        }
    }

    /// The refusal of a write that is not wanted of what is there.
    fn check(&self, working: &Working<'_>, place: &Place, doc: &Doc) -> Result<(), EngineError> {
        let there = held(doc, place.slot).and_then(tag);
        let fits = |tags: &headers::Tags| there.as_ref().is_some_and(|tag| tags.have(tag));
        let refused =
            self.matches.as_ref().is_some_and(|tags| !fits(tags)) || self.differs.as_ref().is_some_and(fits);
        if !refused {
            return Ok(());
        }
        let name = place.name(working.schema);
        let message = match there {
            Some(tag) => format!("{name} is {tag}"),
            None => format!("{name} is empty"),
        };
        Err(EngineError::refused("precondition", None, message))
    }
}

/// There is no such file.
fn empty(schema: &Schema, place: &Place) -> Problem {
    Problem::not_found(format!("{} is empty", place.name(schema)))
}

/// What a status of its own is told with.
fn problem(status: StatusCode, code: &'static str, detail: String) -> Problem {
    Problem::new(status, code, detail)
}

/// The path of a file.
fn path_of(working: &Working<'_>, place: &Place, doc: Option<&Arc<Doc>>) -> Result<String, EngineError> {
    let resource = path::canonical(working, &place.key, doc.map(|doc| &**doc))?;
    Ok(format!("{resource}/{}", place.field(working.schema).name))
}
