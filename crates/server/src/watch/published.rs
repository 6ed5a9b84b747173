//! A commit, with what watches are told of it: an event is written once for all who are told the same of a change, and all of it
//! once for those who watch the same.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use corollary_engine::{Change, Commit, Engine, EngineError, Key, heap_bytes};
use corollary_value::Value;
use hashbrown::HashMap;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::event::{self, Format, Head};
use super::tracker::{Told, What};
use super::watched::{Of, Watched};
use crate::json::encode::Encoder;

/// See the module.
pub struct Published {
    /// The commit.
    pub commit: Arc<Commit>,
    /// What all watches are told of each change that are told all, by no mount.
    bodies: Vec<OnceLock<Bytes>>,
    /// The same for others, by [`Watched::manner`] and the resource.
    others: Mutex<HashMap<(Arc<str>, Key), Bytes>>,
}

/// What of a commit is told to all who watch the same.
pub struct Delivery {
    /// The commit.
    pub published: Arc<Published>,
    /// In order.
    pub told: Vec<Told>,
    /// Bytes of the changed resources, before and after, about: what has to be kept until it is told.
    pub bytes: usize,
    /// As it is sent in each format that is the same for all, once somebody has written it.
    written: [OnceLock<Bytes>; 2],
}

impl Published {
    /// Nothing written yet.
    pub fn new(commit: Arc<Commit>) -> Published {
        let bodies = commit.changes.iter().map(|_| OnceLock::new()).collect();
        Published { commit, bodies, others: Mutex::default() }
    }

    /// What is told together as of a revision, without a commit of its own.
    pub fn as_of(revision: u64) -> Published {
        let commit = Commit { revision, time: Timestamp::UNIX_EPOCH, changes: Vec::new(), actor: None };
        Published::new(Arc::new(commit))
    }

    fn body(&self, engine: &Engine, watched: &Watched, what: &What) -> Result<Bytes, EngineError> {
        let change = match what {
            What::Change(at) if watched.manner.is_empty() => {
                let change = &self.commit.changes[*at];
                let write = || event::body(engine, &self.commit, change, &watched.shape(change.key.ty));
                return Ok(self.bodies[*at].get_or_init(write).clone());
            }
            What::Change(at) => &self.commit.changes[*at],
            What::Reached(change) => change,
            What::Own(change) => {
                return Ok(event::body(engine, &self.commit, change, &watched.shape(change.key.ty)));
            }
            What::Value(value) => {
                let Of::Value(led, path) = &watched.of else {
                    return Err(EngineError::Corrupt("a value of a watch of resources".into()));
                };
                let revision = self.commit.revision;
                return engine.read(Timestamp::now(), |working| {
                    let mut encoder = Encoder::of_commit(working, engine.updates().open_at(revision));
                    event::value(&mut encoder, revision, path, value, &led.expr)?;
                    Ok(Bytes::from(encoder.out))
                });
            }
        };
        // What a page tells of several commits together is its own.
        let is_shared = !self.commit.changes.is_empty();
        let at = (watched.manner.clone(), change.key.clone());
        if is_shared && let Some(known) = self.others.lock().get(&at) {
            return Ok(known.clone());
        }
        let body = event::body(engine, &self.commit, change, &watched.shape(change.key.ty));
        if is_shared {
            self.others.lock().insert(at, body.clone());
        }
        Ok(body)
    }
}

impl Delivery {
    /// Not written yet.
    pub fn new(published: Arc<Published>, told: Vec<Told>) -> Delivery {
        let bytes_of = |change: &Change| {
            let docs = [&change.before, &change.after].into_iter().flatten();
            size_of::<Change>() + docs.map(|doc| doc.bytes()).sum::<usize>()
        };
        let bytes = told.iter().map(|told| match &told.what {
            What::Change(at) => published.commit.changes.get(*at).map_or(0, bytes_of),
            What::Reached(change) | What::Own(change) => bytes_of(change),
            What::Value(value) => size_of::<Value>() + heap_bytes(value),
        });
        let bytes = bytes.sum::<usize>() + told.len() * size_of::<Told>();
        Delivery { published, told, bytes, written: Default::default() }
    }

    /// All, closed by the revision, as it is sent; the same bytes for all where it is the same for all.
    pub fn sent(&self, engine: &Engine, watched: &Watched, format: &Format) -> Result<Bytes, EngineError> {
        let known = match format {
            Format::Sse => Some(&self.written[0]),
            Format::Ndjson => Some(&self.written[1]),
            Format::Socket(_) => None,
        };
        if let Some(written) = known.and_then(OnceLock::get) {
            return Ok(written.clone());
        }
        let mut out = BytesMut::new();
        self.write(engine, watched, format, &mut out)?;
        let written = out.freeze();
        // Another one may have been a little faster, and has written the same.
        Ok(known.map_or(written.clone(), |known| known.get_or_init(|| written).clone()))
    }

    /// Writes all, closed by the revision.
    pub fn write(
        &self,
        engine: &Engine,
        watched: &Watched,
        format: &Format,
        out: &mut BytesMut,
    ) -> Result<(), EngineError> {
        let last = self.told.len().saturating_sub(1);
        for (at, told) in self.told.iter().enumerate() {
            let body = self.published.body(engine, watched, &told.what)?;
            let type_name = match &told.what {
                What::Change(at) => {
                    watched.type_name(engine.schema(), &self.published.commit.changes[*at].key)
                }
                What::Reached(change) | What::Own(change) => watched.type_name(engine.schema(), &change.key),
                What::Value(_) => None,
            };
            let after = told.after.as_ref().map(Option::as_ref);
            let head = Head { happened: told.happened, type_name, after };
            let closes = (at == last).then_some(self.published.commit.revision);
            format.change(&head, &body, closes, out);
        }
        Ok(())
    }
}
