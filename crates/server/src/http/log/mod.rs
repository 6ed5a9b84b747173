//! `GET /api/_log`: who changed what when, commit by commit, for people and programs.
//!
//! A page costs what it shows and what it passes over: it looks at a limited number of commits, and `next` goes on where it
//! stopped, with whatever it found. The same line by line, to the end or on and on: `lines`.
//!
//! What may be asked is the business of `asked`, which changes are meant and how they are told that of `told`.

mod asked;
mod lines;
mod told;

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use corollary_engine::log::Retained;
use corollary_engine::working::Working;
use corollary_engine::{Commit, Engine, EngineError};
use corollary_store::Direction;
use jiff::Timestamp;
use tokio::task::block_in_place;

pub use lines::tell;

use super::history::check_happened;
use super::lines::are_wanted;
use super::{Call, REVISION_HEADER, json, with_header};
use crate::json::encode::text;
use crate::problem::Problem;
use crate::site::Site;
use asked::Asked;
use told::{Of, Seen, Teller};

/// The path.
const PATH: &str = "/api/_log";

/// Commits that one page looks at, at most, those that it passes over among them.
pub const MAX_LOOKED: usize = 10_000;

/// Bytes of stored commits that one page looks at; the one that goes beyond is the last.
pub const MAX_LOOKED_BYTES: usize = 64 << 20;

/// Bytes of stored commits that one page shows; the one that goes beyond is the last, for a commit is told as a whole.
pub const MAX_SHOWN_BYTES: usize = 8 << 20;

/// Serves a request.
pub(super) fn serve(call: &Call<'_>, site: &Site) -> Result<Response<Body>, Problem> {
    if !matches!(call.method, Method::GET | Method::HEAD) {
        return Err(Problem::not_allowed("GET,HEAD"));
    }
    let asked = Asked::parse(call.uri.query())?;
    let engine = call.app.node.engine();
    for revision in asked.since.iter().chain(&asked.until) {
        check_happened(engine, *revision)?;
    }
    let in_lines = are_wanted(&call.headers);
    asked.check(in_lines)?;
    let of = asked.path.as_deref().map(|path| Of::resolve(call, path)).transpose()?.map(Arc::new);
    if in_lines {
        return lines::serve(call, site, asked, of);
    }
    let part = block_in_place(|| read(engine, &asked, of.as_deref()))?;
    let mut out = b"{\"results\":[".to_vec();
    for (at, commit) in part.commits.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(commit);
    }
    out.extend_from_slice(b"],\"next\":");
    match part.next {
        Some(next) => text(&format!("{PATH}?{}", next.query()), &mut out),
        None => out.extend_from_slice(b"null"),
    }
    let revision = part.revision.to_string();
    out.extend_from_slice(format!(",\"revision\":\"{revision}\"}}").as_bytes());
    let response = with_header(json(StatusCode::OK, out), "vary", "accept");
    Ok(with_header(response, REVISION_HEADER, &revision))
}

/// A part of what is asked for.
struct Part {
    /// In their order, each as JSON.
    commits: Vec<Vec<u8>>,
    /// What is to be asked to go on; none where this was the end.
    next: Option<Asked>,
    /// The revision that was the last when it was read.
    revision: u64,
}

/// Commits that are looked at, as far as the limits allow.
struct Looked {
    shown: Vec<(Commit, Vec<(told::Kind, usize)>)>,
    seen: Seen,
    /// The last that was looked at.
    reached: Option<u64>,
}

/// Reads one page.
fn read(engine: &Engine, asked: &Asked, of: Option<&Of>) -> Result<Part, Problem> {
    let read = engine.walk(Timestamp::now(), |working| {
        let revision = working.base.revision();
        let until = asked.until.map_or(revision, |until| until.min(revision));
        let (retained, looked) = look(engine, working, asked, of, until)?;
        let begin = asked.since.map_or(0, |since| since.saturating_add(1));
        if (begin > 0 && begin < retained.first) || (until > 0 && until + 1 < retained.first) {
            return Ok(Err(gone(retained)));
        }
        let mut teller = Teller::new(working, of, &looked.seen);
        let commits = looked.shown.iter().map(|(commit, changes)| teller.commit(commit, changes));
        let commits = commits.collect::<Result<Vec<_>, _>>()?;
        let next = looked.reached.and_then(|reached| match asked.backwards() {
            false => (reached < until).then(|| Asked { since: Some(reached), ..asked.clone() }),
            true => {
                let more = reached > begin.max(retained.first);
                more.then(|| Asked { until: Some(reached - 1), ..asked.clone() })
            }
        });
        let next = next.map(|next| Asked { order: Some(asked.backwards()), ..next });
        Ok(Ok(Part { commits, next, revision }))
    });
    read.map_err(Problem::from)?
}

fn look(
    engine: &Engine,
    working: &Working<'_>,
    asked: &Asked,
    of: Option<&Of>,
    until: u64,
) -> Result<(Retained, Looked), EngineError> {
    let direction = if asked.backwards() { Direction::Backward } else { Direction::Forward };
    let looked = RefCell::new(Looked { shown: Vec::new(), seen: Seen::default(), reached: None });
    let (mut count, mut bytes, mut shown_bytes, mut failed) = (0, 0, 0, None);
    let retained = engine.commits_within(asked.since, Some(until), direction, &mut |commit, size| {
        let mut looked = looked.borrow_mut();
        looked.reached = Some(commit.revision);
        (count, bytes) = (count + 1, bytes + size);
        looked.seen.look(&commit);
        match told::changes(working, &commit, asked, of) {
            Ok(changes) if changes.is_empty() => {}
            Ok(changes) => {
                shown_bytes += size;
                looked.shown.push((commit, changes));
            }
            Err(error) => failed = Some(error),
        }
        let full = looked.shown.len() >= asked.limit || shown_bytes >= MAX_SHOWN_BYTES;
        match full || failed.is_some() || count >= MAX_LOOKED || bytes >= MAX_LOOKED_BYTES {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok((retained, looked.into_inner())),
    }
}

/// The log does not go back to what is asked for.
fn gone(retained: Retained) -> Problem {
    let Retained { first, last } = retained;
    let detail = match first > last {
        true => format!("the log has nothing yet: it begins behind revision {last}"),
        false => format!("the log begins with revision {first}: `since` is {} or later", first - 1),
    };
    Problem::new(StatusCode::GONE, "past-retention", detail)
}
