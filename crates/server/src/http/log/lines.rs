//! The log line by line, a commit a line: to the end, or on and on as commits come.
//!
//! A part is read when the one before it was taken, and nothing is held in between: who reads slowly costs nothing but time.
//! What goes wrong behind the first line is told by a last line `{"error": …}`, and the reply does not end as a whole one does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use futures_util::{Stream, stream};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

use super::super::lines::CONTENT_TYPE;
use super::super::{App, Call, REVISION_HEADER, with_header};
use super::asked::Asked;
use super::read;
use super::told::Of;
use crate::problem::{Problem, SUPERSEDED};
use crate::site::Site;

/// Commits that are read together.
const PART_COMMITS: usize = 256;

/// At least this often something is said to who follows the log, so that both ends know that the other lives.
const BOOKMARK_EVERY: Duration = Duration::from_secs(15);

/// How soon a server that stops ends who follows the log.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long until it is gone on after the schema was replaced.
const PAUSE: Duration = Duration::from_millis(50);

/// Where a reader of lines is.
struct Telling {
    app: Arc<App>,
    /// Whether the server stops; none for who is told as long as there is something to tell.
    site: Option<Site>,
    of: Option<Arc<Of>>,
    /// What is to be read next; none where all was.
    next: Option<Asked>,
    /// How many more lines are wanted; none where it is all.
    left: Option<usize>,
    moved: watch::Receiver<u64>,
    /// What was the last revision when it was read.
    revision: u64,
    /// Up to where all was told.
    told: u64,
    bookmark: Instant,
    /// It was broken off.
    broken: bool,
}

/// Tells what is asked for.
pub(super) fn serve(
    call: &Call<'_>,
    site: &Site,
    asked: Asked,
    of: Option<Arc<Of>>,
) -> Result<Response<Body>, Problem> {
    let app = call.app.clone();
    let left = asked.limited.then_some(asked.limit);
    let mut telling = Telling::new(app, Some(site.clone()), asked, of, left);
    // What can be said against it is said before the first line.
    let first = block_in_place(|| telling.part())?;
    let revision = telling.revision.to_string();
    let first = stream::iter((!first.is_empty()).then(|| Ok(Bytes::from(first))));
    let body = Body::from_stream(futures_util::StreamExt::chain(first, telling.parts()));
    let response = with_header(Response::new(body), "content-type", CONTENT_TYPE);
    let response = with_header(response, "vary", "accept");
    let response = with_header(response, "cache-control", "no-cache");
    Ok(with_header(response, REVISION_HEADER, &revision))
}

/// Tells all commits from now on, a line each, until the server stops or nobody reads them.
pub async fn tell(site: Site, mut out: impl AsyncWrite + Unpin) {
    let mut since = site.current().node.engine().revision();
    while !site.is_leaving() {
        let asked = Asked { since: Some(since), watch: true, ..Asked::default() };
        let mut telling = Telling::new(site.current(), Some(site.clone()), asked, None, None);
        while let Some(Ok(part)) = telling.next().await {
            let told = async {
                out.write_all(&part).await?;
                out.flush().await
            };
            if let Err(error) = told.await {
                return tracing::error!("the log is told no more: {error}");
            }
        }
        // What cannot be told any more is passed over: the last line said so.
        since = if telling.broken { site.current().node.engine().revision() } else { telling.told };
        sleep(PAUSE).await;
    }
}

impl Telling {
    fn new(
        app: Arc<App>,
        site: Option<Site>,
        mut asked: Asked,
        of: Option<Arc<Of>>,
        left: Option<usize>,
    ) -> Telling {
        let (moved, revision) = (app.node.moved(), app.node.engine().revision());
        if asked.watch && asked.since.is_none() {
            asked.since = Some(revision);
        }
        let (bookmark, told) = (Instant::now() + BOOKMARK_EVERY, asked.since.unwrap_or(0));
        Telling { app, site, of, next: Some(asked), left, moved, revision, told, bookmark, broken: false }
    }

    /// The lines that come next; none where nothing has come.
    fn part(&mut self) -> Result<Vec<u8>, Problem> {
        let Some(asked) = self.next.take() else { return Ok(Vec::new()) };
        // What comes while it is read is not slept through.
        self.moved.mark_unchanged();
        let limit = self.left.map_or(PART_COMMITS, |left| left.min(PART_COMMITS));
        let part = read(self.app.node.engine(), &Asked { limit, ..asked.clone() }, self.of.as_deref())?;
        self.left = self.left.map(|left| left - part.commits.len());
        self.revision = part.revision;
        self.next = match part.next {
            _ if self.left == Some(0) => None,
            Some(next) => Some(next),
            None if asked.watch => Some(Asked { since: Some(part.revision), ..asked }),
            None => None,
        };
        self.told = match &self.next {
            Some(Asked { since: Some(since), .. }) => *since,
            _ => self.revision,
        };
        let mut out = part.commits.join(&b'\n');
        if !out.is_empty() {
            out.push(b'\n');
        }
        Ok(out)
    }

    /// Has all been told that there is?
    fn is_at_end(&self) -> bool {
        self.next.as_ref().is_some_and(|next| next.watch && next.since == Some(self.revision))
    }

    fn parts(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut telling| async move {
            let next = telling.next().await?;
            Some((next, telling))
        })
    }

    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if self.broken {
                return Some(Err(io::Error::other("the reply was broken off")));
            }
            self.next.as_ref()?;
            if self.is_at_end() && !self.has_more().await? {
                self.bookmark = Instant::now() + BOOKMARK_EVERY;
                let line = format!("{{\"type\":\"bookmark\",\"revision\":\"{}\"}}\n", self.revision);
                return Some(Ok(Bytes::from(line)));
            }
            match block_in_place(|| self.part()) {
                Ok(out) if out.is_empty() => {}
                Ok(out) => {
                    self.bookmark = Instant::now() + BOOKMARK_EVERY;
                    return Some(Ok(Bytes::from(out)));
                }
                // Whoever follows goes on with the next version by asking again.
                Err(problem) if problem.code == SUPERSEDED && self.left.is_none() => return None,
                Err(problem) => {
                    self.broken = true;
                    tracing::warn!("the log was broken off: {}", problem.detail);
                    return Some(Ok(Bytes::from(format!("{}\n", json!({"error": problem.to_json()})))));
                }
            }
        }
    }

    /// Waits until something may have come; false where nothing did for a while, none where the server stops.
    async fn has_more(&mut self) -> Option<bool> {
        loop {
            if self.site.as_ref().is_some_and(Site::is_leaving) {
                return None;
            }
            let wait = self.bookmark.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Some(false);
            }
            match timeout(wait.min(LOOK_EVERY), self.moved.changed()).await {
                Ok(Ok(())) => return Some(true),
                // The executor has ended.
                Ok(Err(_)) => return None,
                Err(_) => {}
            }
        }
    }
}
