//! `Idempotency-Key`: a write that is sent again is told what it was told the first time, and is done once.
//!
//! The reply is made by the executor on the state of the commit and is stored with it (`corollary_engine::receipt`), so
//! what is sent is what was stored, the first time too. Refusals are not kept: they changed nothing.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use corollary_engine::receipt::{self, Keep, MAX_KEY_BYTES};
use corollary_engine::working::Working;
use corollary_engine::{Committed, EngineError};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

use super::commit::{self, Tell};
use super::{Call, actor, read};
use crate::problem::Problem;

/// The header.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// The headers that make another request of the same method, path and body.
const TELLING: [HeaderName; 3] = [header::CONTENT_TYPE, header::IF_MATCH, header::IF_NONE_MATCH];

/// A request that has a key.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    key: Vec<u8>,
    fingerprint: [u8; 32],
}

impl Keyed {
    /// From a request that writes; none where it has no key.
    pub(crate) fn of(call: &Call<'_>) -> Result<Option<Keyed>, Problem> {
        let mut given = call.headers.get_all(HEADER).iter();
        let Some(key) = given.next() else { return Ok(None) };
        let key = key.as_bytes();
        if given.next().is_some() || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
            let detail = format!("there is one `Idempotency-Key`, of 1 to {MAX_KEY_BYTES} bytes");
            return Err(Problem::malformed("idempotency-key", detail));
        }
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(call.method.as_str().as_bytes());
        part(call.uri.to_string().as_bytes());
        for name in TELLING {
            part(call.headers.get(name).map_or(b"", HeaderValue::as_bytes));
        }
        if let Some(actor) = actor::of(call)? {
            // Nobody is told what another one did.
            part(actor.as_bytes());
        }
        part(&call.body);
        Ok(Some(Keyed { key: key.to_vec(), fingerprint: hash.finalize().into() }))
    }

    /// What is kept of it.
    pub(crate) fn keep(self, tell: Tell) -> Keep {
        let Keyed { key, fingerprint } = self;
        let tell = move |working: &Working<'_>, committed: &Committed| {
            packed(commit::complete(tell(working, committed)?, committed))
        };
        Keep { key, fingerprint, tell: Arc::new(tell) }
    }
}

/// Refuses a key where nothing is written.
pub(crate) fn refuse(call: &Call<'_>, what: &str) -> Result<(), Problem> {
    match call.headers.contains_key(HEADER) {
        true => {
            let detail = format!("`Idempotency-Key` is for writes, and {what} changes nothing");
            Err(Problem::malformed("idempotency-key", detail))
        }
        false => Ok(()),
    }
}

/// What is known of a request before it is served.
pub(crate) enum Before {
    /// It has been served already, with this.
    Served(Response<Body>),
    /// Nothing: it may have a key.
    Nothing(Option<Keyed>),
}

/// Looks whether a request has been served before under its key.
pub(crate) fn before(call: &Call<'_>) -> Result<Before, Problem> {
    if matches!(call.method, Method::GET | Method::HEAD) {
        refuse(call, "a read")?;
    }
    let Some(keyed) = Keyed::of(call)? else { return Ok(Before::Nothing(None)) };
    Ok(kept(call, &keyed)?.map_or(Before::Nothing(Some(keyed)), Before::Served))
}

/// What is told of a request that was served.
pub(crate) fn behind(
    call: &Call<'_>,
    keyed: Option<&Keyed>,
    outcome: Result<Response<Body>, Problem>,
) -> Result<Response<Body>, Problem> {
    match (keyed, outcome) {
        // The same request, sent twice at once, may have been done in between: then what it did is in the way of this.
        (Some(keyed), Err(problem)) => kept(call, keyed)?.ok_or(problem),
        (_, outcome) => outcome,
    }
}

/// The reply that is kept.
fn kept(call: &Call<'_>, keyed: &Keyed) -> Result<Option<Response<Body>>, Problem> {
    let found = read(call.reads(), |working| {
        let receipt = receipt::find(working, &keyed.key)?;
        Ok(receipt.map(|receipt| receipt.reply_to(&keyed.fingerprint)).transpose()?)
    })?;
    found.map(|reply| response(&reply)).transpose()
}

/// A reply as it is kept: a line of JSON with status and headers, and the body.
fn packed(told: commit::Told) -> Result<Vec<u8>, EngineError> {
    let headers: Vec<(&str, &String)> =
        told.headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let head = json!({"status": told.status.as_u16(), "headers": headers});
    let mut bytes = head.to_string().into_bytes();
    bytes.push(b'\n');
    bytes.extend(told.body.unwrap_or_default());
    Ok(bytes)
}

/// The reply that was kept as these bytes.
pub(crate) fn response(bytes: &[u8]) -> Result<Response<Body>, Problem> {
    unpacked(bytes).ok_or_else(|| EngineError::Corrupt("a kept reply".into()).into())
}

fn unpacked(bytes: &[u8]) -> Option<Response<Body>> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (head, body) = (serde_json::from_slice::<Json>(&bytes[..end]).ok()?, &bytes[end + 1..]);
    let mut response = Response::new(Body::from(body.to_vec()));
    *response.status_mut() = StatusCode::from_u16(head["status"].as_u64()?.try_into().ok()?).ok()?;
    if !body.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for entry in head["headers"].as_array()? {
        let name = HeaderName::from_bytes(entry[0].as_str()?.as_bytes()).ok()?;
        response.headers_mut().insert(name, HeaderValue::from_str(entry[1].as_str()?).ok()?);
    }
    Some(response)
}
