//! One attempt at a delivery: a POST with the event as its body, signed, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::hook::Hook;
use super::lanes::Event;
use super::sign::Secret;
use super::state::Told;
use crate::outgoing::Connections;

/// The longest that a receiver may ask to be left alone.
const MAX_LEAVE: Duration = Duration::from_secs(3_600);

/// Bytes of a reply that are read, so that its connection can be used again; of a longer one it is closed.
const MAX_REPLY: usize = 64 << 10;

/// Names of headers.
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const HOOK: HeaderName = HeaderName::from_static("corollary-hook");

/// What came of an attempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What is told of it.
    pub told: Told,
    /// What the receiver wants.
    pub answer: Answer,
}

/// What a receiver wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// It has the event.
    #[default]
    Taken,
    /// It does not: try again, not before so long.
    Failed(Option<Duration>),
    /// It never wants to hear of anything again (410).
    Gone,
}

/// Tries to deliver an event.
pub async fn send(client: &Connections, hook: &Hook, event: &Event) -> Outcome {
    let (at, begun) = (Timestamp::now(), Instant::now());
    let limit = Duration::from_secs_f64(hook.timeout_seconds);
    let replied = timeout(limit, attempt(client, hook, event, at)).await;
    let (status, answer, error) = match replied {
        Ok(Ok((status, _))) if status.is_success() => (Some(status), Answer::Taken, None),
        Ok(Ok((status, _))) if status == StatusCode::GONE => {
            (Some(status), Answer::Gone, Some(told_by(status)))
        }
        Ok(Ok((status, after))) => (Some(status), Answer::Failed(after), Some(told_by(status))),
        Ok(Err(error)) => (None, Answer::Failed(None), Some(error)),
        Err(_) => {
            let error = format!("no reply within {} s", hook.timeout_seconds);
            (None, Answer::Failed(None), Some(error))
        }
    };
    let told = Told {
        id: event.id.clone(),
        at,
        milliseconds: begun.elapsed().as_millis() as u64,
        status: status.map(|status| status.as_u16()),
        error,
        attempt: event.attempts,
    };
    Outcome { told, answer }
}

fn told_by(status: StatusCode) -> String {
    format!("the receiver replied {status}")
}

async fn attempt(
    client: &Connections,
    hook: &Hook,
    event: &Event,
    at: Timestamp,
) -> Result<(StatusCode, Option<Duration>), String> {
    let reply = client.request(request(hook, event, at)?).await.map_err(|error| {
        let why = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
        format!("the receiver cannot be reached{why}")
    })?;
    let status = reply.status();
    let after = reply.headers().get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    let after = after.map(|seconds: u64| Duration::from_secs(seconds).min(MAX_LEAVE));
    let mut body = Body::new(reply.into_body()).into_data_stream();
    let mut read = 0;
    while let Some(Ok(part)) = body.next().await {
        read += part.len();
        if read > MAX_REPLY {
            break;
        }
    }
    Ok((status, after))
}

/// The request of an attempt at a time.
fn request(hook: &Hook, event: &Event, at: Timestamp) -> Result<Request<Body>, String> {
    let mut request = post(&hook.url, &hook.secret, &hook.headers, &event.id, at, event.body.clone())?;
    let hook = HeaderValue::try_from(hook.id.as_str()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOOK, hook);
    Ok(request)
}

/// A POST of JSON under an id, signed as at a time.
///
/// # Errors
///
/// Why it cannot be sent.
pub fn post(
    url: &str,
    secret: &Secret,
    own: &BTreeMap<String, String>,
    id: &str,
    at: Timestamp,
    body: Bytes,
) -> Result<Request<Body>, String> {
    let timestamp = at.as_second();
    let signature = secret.signature(id, timestamp, &body);
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.parse().map_err(|error| format!("`{url}` is no address: {error}"))?;
    let headers = request.headers_mut();
    for (name, value) in own {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("corollary/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(TIMESTAMP, HeaderValue::from(timestamp));
    for (name, value) in [(ID, id), (SIGNATURE, &signature)] {
        headers.insert(name, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
    }
    Ok(request)
}
