//! The life of one watch over HTTP: what is there (or what it missed), then every commit that concerns it, in order.
//!
//! The body of the reply is the watch itself: the connection's own task takes what waits for it, so a commit wakes one task for each
//! client and nothing is passed on from one to the next. A client that reads nothing leaves it in the queue, which is bounded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use corollary_engine::EngineError;
use futures_util::Stream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Sleep, sleep};

use super::event::Format;
use super::hub::{Hub, Place};
use super::opening::{CaughtUp, Opened, open};
use super::queue::{Handed, Queue};
use super::watched::Watched;
use crate::problem::Problem;

/// At least this often something is said, so that both ends know that the other lives.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(15);

/// Begins a watch, after a revision or with what is there; the reply goes on until one side ends it.
pub fn begin(
    hub: &Arc<Hub>,
    watched: Arc<Watched>,
    since: Option<u64>,
    format: Format,
) -> Result<Response<Body>, Problem> {
    let mut opening = BytesMut::new();
    let opened = open(hub.engine(), &watched, since, &format, &mut opening)?;
    let kind = match format {
        Format::Sse => "text/event-stream",
        _ => "application/x-ndjson",
    };
    let hub = hub.clone();
    let stage = match opened.resumes {
        true => Stage::Behind(opened),
        false => Stage::Goes(Going::on(&hub, opened)),
    };
    let next = Some(opening.freeze()).filter(|opening| !opening.is_empty());
    let mut response = Response::new(Body::from_stream(Watching { hub, format, next, stage }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// A watch, as the parts of its reply.
struct Watching {
    hub: Arc<Hub>,
    format: Format,
    /// What has been written and is told next.
    next: Option<Bytes>,
    stage: Stage,
}

enum Stage {
    /// It has missed something, which is read next.
    Behind(Opened),
    /// What it has missed is read.
    CatchesUp(JoinHandle<(Opened, Result<CaughtUp, EngineError>)>),
    /// It is told of commits as they come.
    Goes(Going),
    /// Nothing more is told.
    Over,
}

/// A watch that has its place.
struct Going {
    watched: Arc<Watched>,
    queue: Queue,
    place: Place,
    /// It has been told all up to here.
    seen: u64,
    /// When something was said last.
    said: Instant,
    /// Wakes it when it may have said nothing for too long.
    bookmark: Pin<Box<Sleep>>,
}

impl Going {
    fn on(hub: &Arc<Hub>, opened: Opened) -> Going {
        let Opened { tracker, seen, .. } = opened;
        let (queue, watched) = (Queue::default(), tracker.watched.clone());
        let place = hub.enter(tracker, seen, &queue.entrance());
        let bookmark = Box::pin(sleep(BOOKMARK_EVERY));
        Going { watched, queue, place, seen, said: Instant::now(), bookmark }
    }

    /// The next that it is handed; nothing where it has to say that there was nothing.
    fn poll_handed(&mut self, context: &mut Context<'_>) -> Poll<Option<Handed>> {
        loop {
            if let Poll::Ready((_, handed)) = self.queue.poll_next(context) {
                return Poll::Ready(Some(handed));
            }
            if self.bookmark.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let due = self.said + BOOKMARK_EVERY;
            if due <= Instant::now() {
                // First how far all has been handed over, then whether some of it waits.
                let told = self.place.told();
                if let Some((_, handed)) = self.queue.at_hand() {
                    return Poll::Ready(Some(handed));
                }
                self.seen = self.seen.max(told);
                return Poll::Ready(None);
            }
            // It is set anew only here, and not with each event.
            self.bookmark.as_mut().reset(due);
        }
    }
}

impl Watching {
    /// Says something about the watch.
    fn note(&self, name: &str, revision: u64, detail: Option<&str>) -> Bytes {
        let mut out = BytesMut::new();
        self.format.note(name, revision, detail, &mut out);
        out.freeze()
    }

    /// The last that is told.
    fn end(&mut self, name: &str, revision: u64, detail: &str) -> Bytes {
        self.stage = Stage::Over;
        self.note(name, revision, Some(detail))
    }

    /// What it is told of what it has missed.
    fn caught_up(&mut self, opened: Opened, caught: Result<CaughtUp, EngineError>) -> Bytes {
        match caught {
            Ok(CaughtUp::To(mut events, is_last)) => {
                if is_last {
                    self.format.note("synced", opened.seen, None, &mut events);
                    self.stage = Stage::Goes(Going::on(&self.hub, opened));
                } else {
                    self.stage = Stage::Behind(opened);
                }
                events.freeze()
            }
            Ok(CaughtUp::Missed(detail)) => self.end("expired", opened.seen, &detail),
            Err(error) => self.end("error", opened.seen, &error.to_string()),
        }
    }
}

impl Stream for Watching {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(next) = this.next.take() {
                return Poll::Ready(Some(Ok(next)));
            }
            let told = match &mut this.stage {
                Stage::Over => return Poll::Ready(None),
                Stage::Behind(_) => {
                    let Stage::Behind(mut opened) = std::mem::replace(&mut this.stage, Stage::Over) else {
                        continue;
                    };
                    let (engine, format) = (this.hub.engine().clone(), this.format.clone());
                    this.stage = Stage::CatchesUp(spawn_blocking(move || {
                        let caught = opened.catch_up(&engine, &format);
                        (opened, caught)
                    }));
                    continue;
                }
                Stage::CatchesUp(reading) => match std::task::ready!(Pin::new(reading).poll(context)) {
                    Ok((opened, caught)) => this.caught_up(opened, caught),
                    Err(_) => {
                        this.stage = Stage::Over;
                        continue;
                    }
                },
                Stage::Goes(going) => {
                    let handed = std::task::ready!(going.poll_handed(context));
                    going.said = Instant::now();
                    match handed {
                        Some(Handed::Told(delivery)) => {
                            going.seen = delivery.published.commit.revision;
                            match delivery.sent(this.hub.engine(), &going.watched, &this.format) {
                                Ok(events) => events,
                                Err(error) => {
                                    let seen = going.seen;
                                    this.end("error", seen, &error.to_string())
                                }
                            }
                        }
                        None => {
                            let (seen, due) = (going.seen, going.said + BOOKMARK_EVERY);
                            going.bookmark.as_mut().reset(due);
                            this.note("bookmark", seen, None)
                        }
                        Some(Handed::Missed(detail)) => {
                            let seen = going.seen;
                            this.end("expired", seen, &detail)
                        }
                        Some(Handed::Failed(detail)) => {
                            let seen = going.seen;
                            this.end("error", seen, &detail)
                        }
                        // The server stops; the client may resume where it was.
                        Some(Handed::Ended) => {
                            this.stage = Stage::Over;
                            continue;
                        }
                    }
                }
            };
            if !told.is_empty() {
                this.next = Some(told);
            }
        }
    }
}
