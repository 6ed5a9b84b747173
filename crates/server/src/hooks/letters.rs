//! What a hook gave up: the events, with why, in the order of revisions, until they are sent again or dropped.

use corollary_engine::EngineError;
use corollary_engine::records::{Kind, Records};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::hook::{decoded, encoded};
use super::lanes::Event;

/// Records of letters, by hook, revision and id.
pub const LETTER: Kind = Kind(2);

/// See the module.
#[derive(Debug, Serialize, Deserialize)]
pub struct Letter {
    /// The id of the event.
    pub id: String,
    /// Its revision.
    pub revision: u64,
    /// The path of its resource.
    pub path: String,
    /// When it was given up.
    pub at: Timestamp,
    /// After how many attempts.
    pub attempts: u32,
    /// What went wrong the last time.
    pub error: String,
    /// Is it to be sent again?
    pub again: bool,
    /// What is sent.
    pub event: Box<RawValue>,
}

/// The keys of the letters of a hook begin so: no id has a zero in it.
fn of(hook: &str) -> Vec<u8> {
    [hook.as_bytes(), &[0]].concat()
}

fn key(hook: &str, revision: u64, id: &str) -> Vec<u8> {
    [&of(hook)[..], &revision.to_be_bytes(), id.as_bytes()].concat()
}

impl Letter {
    /// Of an event that was given up.
    pub fn new(event: &Event, error: String, now: Timestamp) -> Letter {
        let body = String::from_utf8_lossy(&event.body).into_owned();
        // What a watch tells is JSON.
        let body = RawValue::from_string(body).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Letter {
            id: event.id.clone(),
            revision: event.revision,
            path: event.path.to_string(),
            at: now,
            attempts: event.attempts,
            error,
            again: false,
            event: body,
        }
    }

    /// Its key.
    pub fn key(&self, hook: &str) -> Vec<u8> {
        key(hook, self.revision, &self.id)
    }

    /// Keeps it; true where it was not there before.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn keep(&self, records: &mut Records<'_>, hook: &str) -> Result<bool, EngineError> {
        let key = self.key(hook);
        let new = records.get(LETTER, &key)?.is_none();
        records.put(LETTER, &key, encoded(self));
        Ok(new)
    }

    /// What is shown of it.
    pub fn shown(&self) -> Json {
        let event: Json = serde_json::from_str(self.event.get()).unwrap_or_default();
        json!({
            "_id": self.id,
            "revision": self.revision.to_string(),
            "path": self.path,
            "at": self.at.to_string(),
            "attempts": self.attempts,
            "error": self.error,
            "again": self.again,
            "event": event,
        })
    }
}

/// Letters of a hook behind a key, in the order of revisions, with their keys; at most so many.
///
/// # Errors
///
/// The store's.
pub fn list(
    records: &Records<'_>,
    hook: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, Letter)>, EngineError> {
    let rows = records.list(LETTER, &of(hook), after, limit)?;
    rows.into_iter().map(|(key, bytes)| Ok((key, decoded(&bytes)?))).collect()
}
