//! How a watch begins: with what is there, or with what it has missed since a revision, read from the log.
//!
//! All of it is told before the watch takes its place in the hub, which goes on behind the revision that has been told.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use corollary_engine::past::{self, Then};
use corollary_engine::replay::replay;
use corollary_engine::{Commit, Engine, EngineError};
use jiff::Timestamp;

use super::by;
use super::event::{self, Format, Happened, Head};
use super::published::{Delivery, Published};
use super::rounds::TOO_OLD;
use super::tracker::{Present, Told, Tracker};
use super::watched::{Of, Watched};
use crate::http::reader::NOT_GRANTED;
use crate::json::encode::Encoder;
use crate::problem::Problem;

/// A watch that has begun.
pub struct Opened {
    /// It goes on from here.
    pub tracker: Tracker,
    /// It has been told all up to here.
    pub seen: u64,
    /// Does it have to catch up?
    pub resumes: bool,
}

/// Begins a watch, after a revision or with what is there, which is written.
///
/// # Errors
///
/// What is there is more than a watch may list; the revision has not been yet, or what has to be known of it is not.
pub fn open(
    engine: &Engine,
    watched: &Arc<Watched>,
    since: Option<u64>,
    format: &Format,
    out: &mut BytesMut,
) -> Result<Opened, Problem> {
    let Some(since) = since else { return present(engine, watched, format, out) };
    if watched.by.as_ref().is_some_and(|by| !by.goes_back_to(since)) {
        let detail = format!("since revision {since} {}", by::CHANGED);
        return Err(Problem::new(axum::http::StatusCode::GONE, "expired", detail));
    }
    // Not what is published: a read may have shown a commit a moment before that.
    let mut last = engine.read(Timestamp::now(), |working| Ok(working.base.revision()))?;
    if since > last {
        // Another server may have told it.
        engine.catch_up()?;
        last = engine.revision();
    }
    if since > last {
        let detail = format!("revision {since} has not happened yet; the last is {last}");
        return Err(Problem::malformed("since", detail));
    }
    let opened = |tracker| Opened { tracker, seen: since, resumes: true };
    if let Some(tracker) = Tracker::resume(watched.clone()) {
        return Ok(opened(tracker));
    }
    let then = past::read(engine, Timestamp::now(), since, |working| {
        Tracker::begin(watched.clone(), working).map(|(tracker, _)| tracker)
    })?;
    match then {
        Then::Was(tracker) => Ok(opened(tracker)),
        Then::Unknown | Then::TooFar => {
            let detail = format!("what was there at revision {since} is not known any more: begin anew");
            Err(Problem::new(axum::http::StatusCode::GONE, "expired", detail))
        }
    }
}

/// Tells what is there.
fn present(
    engine: &Engine,
    watched: &Arc<Watched>,
    format: &Format,
    out: &mut BytesMut,
) -> Result<Opened, Problem> {
    let read = engine.read(Timestamp::now(), |working| {
        let revision = working.base.revision();
        if let Some(by) = &watched.by
            && !by.is_current(engine, working)?
        {
            return Ok(None);
        }
        let (tracker, present) = Tracker::begin(watched.clone(), working)?;
        let mut events = Vec::new();
        match present {
            Present::Resources(items) => {
                for item in &items {
                    let mut encoder = Encoder::of_commit(working, working.open_updates());
                    let shape = watched.shape(item.key.ty);
                    event::present(&mut encoder, revision, &item.key, &item.doc, &shape)?;
                    events.push((Some(item.key.clone()), Bytes::from(encoder.out)));
                }
            }
            Present::Value(value) => {
                if let Of::Value(led, path) = &watched.of {
                    let mut encoder = Encoder::of_commit(working, working.open_updates());
                    event::value(&mut encoder, revision, path, &value, &led.expr)?;
                    events.push((None, Bytes::from(encoder.out)));
                }
            }
        }
        Ok(Some((revision, tracker, events)))
    })?;
    let (revision, tracker, events) = read.ok_or_else(|| Problem::unavailable(by::CHANGED))?;
    let is_page = matches!(watched.of, Of::Page(..));
    let mut previous = None;
    for (key, body) in &events {
        let happened = if key.is_some() { Happened::Added } else { Happened::Changed };
        let type_name = key.as_ref().and_then(|key| watched.type_name(engine.schema(), key));
        let id = key.as_ref().map(|key| &key.id);
        let after = is_page.then(|| std::mem::replace(&mut previous, id));
        format.change(&Head { happened, type_name, after }, body, None, out);
    }
    format.note("synced", revision, None, out);
    Ok(Opened { tracker, seen: revision, resumes: false })
}

/// What came of catching up.
pub enum CaughtUp {
    /// So far; and is there nothing more to catch up with?
    To(BytesMut, bool),
    /// It has missed something, for this reason.
    Missed(String),
}

/// Commits that are caught up with at a time.
const CATCH_UP_COMMITS: usize = 256;

impl Opened {
    /// Tells what happened after what has been told, at most so much at a time.
    pub fn catch_up(&mut self, engine: &Engine, format: &Format) -> Result<CaughtUp, EngineError> {
        let watched = self.tracker.watched.clone();
        let mut out = BytesMut::new();
        let (mut commits, mut seen) = (0, self.seen);
        // What may be read since a commit is not known for one that has been told a part only.
        let check = |commit: &Commit| match &watched.by {
            Some(by) if !by.is_known(engine) || by.is_concerned(engine.schema(), commit) => {
                Err(EngineError::refused(NOT_GRANTED, None, by::CHANGED))
            }
            _ => Ok(()),
        };
        let mut tell = |commit: &Arc<Commit>, mut told: Vec<Told>| -> Result<bool, EngineError> {
            if watched.by.is_some() {
                by::conceal(commit, &mut told);
            }
            told.retain(|told| watched.tells(engine.schema(), told, commit));
            (commits, seen) = (commits + 1, commit.revision);
            let published = Arc::new(Published::new(commit.clone()));
            Delivery::new(published, told).write(engine, &watched, format, &mut out)?;
            Ok(commits < CATCH_UP_COMMITS)
        };
        let flow = |goes_on| if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let tracker = &mut self.tracker;
        let complete = if watched.needs_states() {
            let then = replay(engine, self.seen, &[], &mut |step| {
                check(step.commit)?;
                Ok(flow(tell(step.commit, tracker.step(step)?)?))
            });
            match then {
                Ok(Then::Was(_)) => true,
                Ok(Then::Unknown | Then::TooFar) => false,
                Err(error @ EngineError::Refused(_)) => {
                    return Ok(CaughtUp::Missed(format!("{error}: begin anew")));
                }
                Err(error) => return Err(error),
            }
        } else {
            let mut found: Vec<Arc<Commit>> = Vec::new();
            let complete = engine.commits_after(self.seen, &mut |commit| {
                found.push(Arc::new(commit));
                flow(found.len() < CATCH_UP_COMMITS)
            })?;
            for commit in found {
                if check(&commit).is_err() {
                    return Ok(CaughtUp::Missed(by::CHANGED.into()));
                }
                let all: Vec<usize> = (0..commit.changes.len()).collect();
                tell(&commit, tracker.take(&commit, &all)?)?;
            }
            complete
        };
        if !complete {
            return Ok(CaughtUp::Missed(TOO_OLD.into()));
        }
        let is_last = commits < CATCH_UP_COMMITS;
        self.seen = seen;
        if is_last && self.tracker.is_behind() {
            match self.read_page(engine, format, &mut out) {
                Err(error @ EngineError::Refused(_)) => {
                    return Ok(CaughtUp::Missed(format!("{error}: begin anew")));
                }
                read => read?,
            }
        }
        Ok(CaughtUp::To(out, is_last))
    }

    /// Reads a page anew behind which nothing is known any more.
    fn read_page(&mut self, engine: &Engine, format: &Format, out: &mut BytesMut) -> Result<(), EngineError> {
        let watched = self.tracker.watched.clone();
        let tracker = parking_lot::Mutex::new(&mut self.tracker);
        let (revision, mut told) = engine.read(Timestamp::now(), |working| {
            if let Some(by) = &watched.by
                && !by.is_current(engine, working)?
            {
                return Err(EngineError::refused(NOT_GRANTED, None, by::CHANGED));
            }
            Ok((working.revision(), tracker.lock().refill(working)?))
        })?;
        if watched.by.is_some() {
            by::conceal(&Published::as_of(revision).commit, &mut told);
        }
        self.seen = self.seen.max(revision);
        let published = Arc::new(Published::as_of(revision));
        Delivery::new(published, told).write(engine, &watched, format, out)
    }
}
