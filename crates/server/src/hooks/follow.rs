//! The events of a hook, from the log: a watch, as any client has it, of which this server is the client.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::BodyDataStream;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use xxhash_rust::xxh3::xxh3_64;

use super::hook::Hook;
use super::lanes::Event;
use crate::http;
use crate::site::Site;

/// How long it rests when there is nothing to follow: the path is gone, say.
const REST: Duration = Duration::from_secs(5);

/// How long until a watch that has ended is begun again: it ends with the version of the schema.
const PAUSE: Duration = Duration::from_millis(50);

/// What has come.
#[derive(Debug)]
pub enum Came {
    /// All of the commits up to a revision, with what of them is sent.
    Commit(u64, Vec<Event>),
    /// The log does not go back to where the hook was; it goes on behind another revision.
    Skipped(u64, u64),
    /// There is nothing to follow, and why.
    Problem(String),
}

/// What is read of each line.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    revision: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    detail: String,
}

/// See the module.
pub struct Source {
    site: Site,
    hook: Arc<Hook>,
    stream: Option<BodyDataStream>,
    /// Has the watch told anything yet?
    fresh: bool,
    /// A line that is not whole.
    begun: BytesMut,
    lines: VecDeque<Bytes>,
    /// What was read of a commit that is not whole.
    commit: Vec<Event>,
    /// All up to here was read.
    read: u64,
    not_before: Instant,
}

impl Source {
    /// Behind a revision.
    pub fn new(site: Site, hook: Arc<Hook>, read: u64) -> Source {
        let (lines, commit) = (VecDeque::new(), Vec::new());
        let begun = BytesMut::new();
        let not_before = Instant::now();
        Source { site, hook, stream: None, fresh: true, begun, lines, commit, read, not_before }
    }

    /// The next that comes. Nothing is lost where it is not waited for to its end.
    pub async fn next(&mut self) -> Came {
        loop {
            if let Some(line) = self.lines.pop_front() {
                match self.line(line) {
                    Some(came) => return came,
                    None => continue,
                }
            }
            let Some(stream) = &mut self.stream else {
                sleep_until(self.not_before).await;
                match http::follow(&self.site, &self.hook.path, self.hook.filter.as_deref(), self.read).await
                {
                    Ok(body) => (self.stream, self.fresh) = (Some(body.into_data_stream()), true),
                    Err(detail) => {
                        self.not_before = Instant::now() + REST;
                        return Came::Problem(detail);
                    }
                }
                continue;
            };
            match stream.next().await {
                Some(Ok(part)) => self.part(&part),
                Some(Err(_)) | None => self.end(PAUSE),
            }
        }
    }

    fn part(&mut self, part: &[u8]) {
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let mut line = self.begun.split();
                line.truncate(line.len() - 1);
                self.lines.push_back(line.freeze());
            }
        }
    }

    /// The watch has ended; what it told of a commit that is not whole it tells again.
    fn end(&mut self, pause: Duration) {
        self.stream = None;
        self.begun.clear();
        self.lines.clear();
        self.commit.clear();
        self.not_before = Instant::now() + pause;
    }

    fn line(&mut self, line: Bytes) -> Option<Came> {
        let Ok(head) = serde_json::from_slice::<Head>(&line) else {
            self.end(REST);
            return Some(Came::Problem("the watch told what cannot be read".into()));
        };
        let revision = head.revision.parse().unwrap_or(0);
        let fresh = std::mem::take(&mut self.fresh);
        match head.kind.as_str() {
            "bookmark" | "synced" => {
                self.read = self.read.max(revision);
                Some(Came::Commit(revision, std::mem::take(&mut self.commit)))
            }
            // It began behind the end of the log: nothing of it was told.
            "expired" if fresh => {
                self.end(PAUSE);
                let (from, to) = (self.read, self.site.current().node.engine().revision());
                self.read = to;
                Some(Came::Skipped(from, to))
            }
            // It was too slow, and begins again where it was.
            "expired" => {
                self.end(Duration::ZERO);
                None
            }
            "error" => {
                self.end(REST);
                Some(Came::Problem(head.detail))
            }
            kind if self.hook.sends(kind) => {
                let id = format!("{}-{revision}-{:016x}", self.hook.id, xxh3_64(head.path.as_bytes()));
                self.commit.push(Event {
                    id,
                    revision,
                    path: head.path.into(),
                    body: line,
                    attempts: 0,
                    first: None,
                    letter: None,
                });
                None
            }
            _ => None,
        }
    }
}
