//! The life of one watch over HTTP: what is there (or what it missed), then every commit that concerns it, in order.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::event::Format;
use super::hub::{Handed, Hub, Queue};
use super::opening::{CaughtUp, Opened, open};
use super::watched::Watched;
use crate::problem::Problem;

/// At least this often something is said, so that both ends know that the other lives.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(15);

/// Parts of a reply that wait for a slow client.
const BODY_QUEUE_PARTS: usize = 16;

/// How long a client that reads nothing is waited for when it has to be told that it has missed something.
const LAST_WORD: Duration = Duration::from_secs(5);

/// Begins a watch, after a revision or with what is there; the reply goes on until one side ends it.
pub fn begin(
    hub: &Arc<Hub>,
    watched: Arc<Watched>,
    since: Option<u64>,
    format: Format,
) -> Result<Response<Body>, Problem> {
    let mut opening = BytesMut::new();
    let opened = open(hub.engine(), &watched, since, &format, &mut opening)?;
    let (parts, body) = mpsc::channel::<Result<Bytes, Infallible>>(BODY_QUEUE_PARTS);
    let kind = match format {
        Format::Sse => "text/event-stream",
        _ => "application/x-ndjson",
    };
    let hub = hub.clone();
    tokio::spawn(async move {
        // An error here is a client that has gone.
        let _ = run(hub, opened, format, opening, parts).await;
    });
    let stream = futures_util::stream::unfold(body, |mut body| async {
        let part = body.recv().await?;
        Some((part, body))
    });
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

type Parts = mpsc::Sender<Result<Bytes, Infallible>>;

/// The client has gone.
struct Gone;

async fn run(
    hub: Arc<Hub>,
    mut opened: Opened,
    format: Format,
    opening: BytesMut,
    parts: Parts,
) -> Result<(), Gone> {
    let send = async |out: BytesMut| parts.send(Ok(out.freeze())).await.map_err(|_| Gone);
    if !opening.is_empty() {
        send(opening).await?;
    }
    let engine = hub.engine().clone();
    let mut behind = opened.resumes;
    while behind {
        let (engine, form) = (engine.clone(), format.clone());
        let caught = spawn_blocking(move || {
            let caught = opened.catch_up(&engine, &form);
            (opened, caught)
        });
        let (again, caught) = caught.await.map_err(|_| Gone)?;
        opened = again;
        let mut out = BytesMut::new();
        match caught {
            Ok(CaughtUp::To(events, is_last)) => {
                out = events;
                behind = !is_last;
                if is_last {
                    format.note("synced", opened.seen, None, &mut out);
                }
            }
            Ok(CaughtUp::Missed(detail)) => {
                format.note("expired", opened.seen, Some(&detail), &mut out);
                return send(out).await;
            }
            Err(error) => {
                format.note("error", opened.seen, Some(&error.to_string()), &mut out);
                return send(out).await;
            }
        }
        if !out.is_empty() {
            send(out).await?;
        }
    }
    let (mut queue, mut seen) = (Queue::default(), opened.seen);
    let watched = opened.tracker.watched.clone();
    let place = hub.enter(opened.tracker, opened.seen, &queue.entrance());
    let mut bookmark = Instant::now() + BOOKMARK_EVERY;
    let mut waits = None;
    loop {
        let next = match waits.take() {
            Some(next) => Ok(next),
            None => tokio::select! {
                next = timeout_at(bookmark, queue.next()) => next,
                () = parts.closed() => return Err(Gone),
            },
        };
        let mut out = BytesMut::new();
        match next {
            Ok((_, Handed::Told(delivery))) => {
                place.taken();
                seen = delivery.published.commit.revision;
                if let Err(error) = delivery.write(&engine, &watched, &format, &mut out) {
                    format.note("error", seen, Some(&error.to_string()), &mut out);
                    return send(out).await;
                }
            }
            // The server stops; the client may resume where it was.
            Ok((_, Handed::Ended)) => return Ok(()),
            Ok((_, Handed::Failed(detail))) => {
                format.note("error", seen, Some(&detail), &mut out);
                return send(out).await;
            }
            Ok((_, Handed::Missed(detail))) => {
                format.note("expired", seen, Some(&detail), &mut out);
                let last_word = tokio::time::timeout(LAST_WORD, send(out)).await;
                return last_word.unwrap_or(Err(Gone));
            }
            Err(_) => {
                // First how far all has been handed over, then whether some of it waits.
                let told = place.told();
                waits = queue.at_hand();
                if waits.is_none() {
                    seen = seen.max(told);
                    format.note("bookmark", seen, None, &mut out);
                }
            }
        }
        if !out.is_empty() {
            send(out).await?;
            bookmark = Instant::now() + BOOKMARK_EVERY;
        }
    }
}
