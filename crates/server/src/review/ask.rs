//! How a webhook is asked: a POST with what a write would do, and what it says to that.
//!
//! ```text
//! {"id": "…", "processor": "…", "actor": "…", "dry_run": false, "items": [{"operation", "type", "path", "old", "new"}, …]}
//! {"allowed": true}   or   {"items": [{"allowed": false, "message": "…"}, {"allowed": true, "set": {…}}, …]}
//! ```

use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};
use tokio::time::{Instant, timeout};

use super::Breakers;
use super::webhook::Webhook;
use crate::hooks::send::post;
use crate::http::fresh_id;
use crate::outgoing::Outgoing;

/// Items of one request.
pub const MAX_ITEMS: usize = 100;

/// Bytes of a reply.
pub const MAX_REPLY: usize = 1 << 20;

/// So many failures in a row, and it is left alone for a while.
pub const FAILURES: u32 = 5;

/// How long it is left alone then.
pub const LEFT_ALONE: Duration = Duration::from_secs(10);

/// What is asked of one processor.
pub struct Asked<'a> {
    /// Its id.
    pub processor: &'a str,
    /// Who writes, where that is known.
    pub actor: Option<&'a str>,
    /// Is the write only tried?
    pub dry_run: bool,
    /// One object for each resource.
    pub items: Vec<&'a Json>,
    /// When there has to be an answer.
    pub until: Instant,
}

/// What it says to one item.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Does it agree?
    pub allowed: bool,
    /// Why not.
    pub message: Option<String>,
    /// What is to be set, as a merge patch.
    pub set: Option<Map<String, Json>>,
}

impl Default for Answer {
    fn default() -> Answer {
        Answer { allowed: true, message: None, set: None }
    }
}

/// How one that is asked has done lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// It is not asked before this.
    open_until: Option<Instant>,
}

/// What all that are asked share.
#[derive(Debug)]
pub struct Reviews {
    outgoing: Outgoing,
    breakers: Mutex<Breakers>,
}

impl Reviews {
    /// Nobody has been asked yet.
    pub fn new(outgoing: Outgoing) -> Reviews {
        Reviews { outgoing, breakers: Mutex::default() }
    }

    /// Asks about all items; what it says to each. Where it fails, and that is to be no reason to deny, it agrees.
    pub(super) async fn ask(&self, webhook: &Webhook, asked: &Asked<'_>) -> Result<Vec<Answer>, String> {
        let mut answers = Vec::with_capacity(asked.items.len());
        for items in asked.items.chunks(MAX_ITEMS) {
            match self.once(webhook, asked, items).await {
                Ok(given) => answers.extend(given),
                Err(why) if webhook.fails_open => {
                    tracing::warn!("the processor `{}` is passed over: {why}", asked.processor);
                    answers.extend(items.iter().map(|_| Answer::default()));
                }
                Err(why) => return Err(why),
            }
        }
        Ok(answers)
    }

    async fn once(
        &self,
        webhook: &Webhook,
        asked: &Asked<'_>,
        items: &[&Json],
    ) -> Result<Vec<Answer>, String> {
        let now = Instant::now();
        let breaker = self.breakers.lock().get(asked.processor).copied().unwrap_or_default();
        if breaker.open_until.is_some_and(|until| now < until) {
            return Err(format!(
                "it has failed {} times in a row, and is left alone for a moment",
                breaker.failures
            ));
        }
        let limit = Duration::from_secs_f64(webhook.timeout_seconds).min(asked.until - now);
        let replied = match timeout(limit, self.post(webhook, asked, items)).await {
            Ok(replied) => replied.and_then(|reply| read(&reply, items.len())),
            Err(_) => Err(format!("it has not answered within {} s", limit.as_secs_f32())),
        };
        let mut breakers = self.breakers.lock();
        match &replied {
            Ok(_) => drop(breakers.remove(asked.processor)),
            Err(_) => {
                let breaker = breakers.entry(asked.processor.into()).or_default();
                breaker.failures += 1;
                // Behind the pause one is tried, and the next failure opens it again.
                breaker.open_until = (breaker.failures >= FAILURES).then(|| Instant::now() + LEFT_ALONE);
            }
        }
        replied
    }

    async fn post(&self, webhook: &Webhook, asked: &Asked<'_>, items: &[&Json]) -> Result<Vec<u8>, String> {
        let client = self.outgoing.connections()?;
        let id = fresh_id().to_string();
        let mut body =
            json!({ "id": id, "processor": asked.processor, "dry_run": asked.dry_run, "items": items });
        if let Some(actor) = asked.actor {
            body["actor"] = actor.into();
        }
        let body = Bytes::from(body.to_string());
        let request = post(&webhook.url, &webhook.secret, &webhook.headers, &id, Timestamp::now(), body)?;
        let reply = client.request(request).await.map_err(|error| {
            let why = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
            format!("it cannot be reached{why}")
        })?;
        if !reply.status().is_success() {
            return Err(format!("it replied {}", reply.status()));
        }
        let bytes = to_bytes(Body::new(reply.into_body()), MAX_REPLY).await;
        Ok(bytes.map_err(|_| format!("its reply has more than {MAX_REPLY} bytes, or broke off"))?.to_vec())
    }
}

/// What a reply says to so many items.
pub fn read(reply: &[u8], items: usize) -> Result<Vec<Answer>, String> {
    let told: Json =
        serde_json::from_slice(reply).map_err(|error| format!("its reply is no JSON: {error}"))?;
    match (&told["items"], &told["allowed"]) {
        (Json::Array(answers), _) if answers.len() == items => answers.iter().map(answer).collect(),
        (Json::Array(answers), _) => {
            Err(format!("its reply has {} items, and {items} were asked", answers.len()))
        }
        (Json::Null, Json::Bool(_)) => Ok(vec![answer(&told)?; items]),
        _ => Err("its reply has neither `allowed` nor `items`".into()),
    }
}

fn answer(told: &Json) -> Result<Answer, String> {
    let allowed = told["allowed"].as_bool().ok_or("what it says to an item has no `allowed`")?;
    let set = match &told["set"] {
        Json::Null => None,
        Json::Object(set) => Some(set.clone()),
        _ => return Err("`set` in its reply is no object".into()),
    };
    Ok(Answer { allowed, message: told["message"].as_str().map(str::to_owned), set })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_for_all_items_or_each() {
        let no = Answer { allowed: false, message: Some("no".into()), set: None };
        assert_eq!(read(br#"{"allowed": true}"#, 2), Ok(vec![Answer::default(); 2]));
        assert_eq!(read(br#"{"allowed": false, "message": "no"}"#, 1), Ok(vec![no.clone()]));
        let each = br#"{"items": [{"allowed": false, "message": "no"}, {"allowed": true}]}"#;
        assert_eq!(read(each, 2), Ok(vec![no, Answer::default()]));
        for reply in
            ["", "{}", "[]", r#"{"items": []}"#, r#"{"allowed": 1}"#, r#"{"allowed": true, "set": 1}"#]
        {
            assert!(read(reply.as_bytes(), 1).is_err(), "{reply}");
        }
    }
}
