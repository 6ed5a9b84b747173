//! Around every request: its id, its time limit, its line in the access log, and its place in the counts.
//!
//! The id is the client's (`X-Request-Id`) where that is a plain one, or a new one; the reply carries it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use smol_str::SmolStr;
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Front;
use super::listen::Caller;
use super::log::{ACCESS, REQUEST};
use super::metrics::Metrics;
use crate::http::actor;
use crate::problem::Problem;

/// The header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of an id that a client gives.
const MAX_ID_BYTES: usize = 128;

/// See the module.
pub struct Around {
    time_limit: Duration,
    actor_header: Option<HeaderName>,
    metrics: Arc<Metrics>,
    /// Ids begin with it: it is this process's.
    process: String,
    requests: AtomicU64,
}

impl Around {
    /// With how long a reply may take to begin and who says who asks, and where it is counted.
    pub fn new(front: &Front, metrics: Arc<Metrics>) -> Around {
        let (_, random) = Uuid::now_v7().as_u64_pair();
        Around {
            time_limit: front.time_limit,
            actor_header: front.actor_header.clone(),
            metrics,
            process: format!("{:012x}", random & 0xffff_ffff_ffff),
            requests: AtomicU64::new(0),
        }
    }

    /// Has a request answered by `next`, which gives up the request's future where its time is up.
    pub async fn run(
        &self,
        mut request: Request<Body>,
        next: impl AsyncFnOnce(Request<Body>) -> Response<Body>,
    ) -> Response<Body> {
        let begun = Instant::now();
        let id = self.id(request.headers());
        // Whoever this server asks for it hears of it under the same id.
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let counted = self.metrics.request(request.method(), request.uri().path());
        let noted = tracing::enabled!(target: ACCESS, tracing::Level::INFO).then(|| Noted {
            method: request.method().clone(),
            uri: request.uri().clone(),
            actor: self.actor(request.headers()),
            peer: request.extensions().get::<Caller>().map(|caller| caller.peer),
        });
        let span = tracing::debug_span!(
            target: REQUEST, "request",
            id = id.to_str().unwrap_or_default(), method = request.method().as_str(), path = request.uri().path(),
        );
        let mut response = match timeout(self.time_limit, next(request)).instrument(span).await {
            Ok(response) => response,
            Err(_) => too_long(self.time_limit).response(),
        };
        response.headers_mut().insert(REQUEST_ID, id.clone());
        let (status, took) = (response.status(), begun.elapsed());
        counted.end(status, took);
        if let Some(noted) = noted {
            tracing::info!(
                target: ACCESS,
                id = id.to_str().unwrap_or_default(),
                peer = noted.peer.map(|peer| peer.to_string()),
                actor = noted.actor.as_deref(),
                method = noted.method.as_str(),
                path = noted.uri.path(),
                query = noted.uri.query(),
                status = status.as_u16(),
                us = took.as_micros() as u64,
            );
        }
        response
    }

    /// Who asks, as far as a proxy says so in a way that is believed.
    fn actor(&self, headers: &HeaderMap) -> Option<SmolStr> {
        actor::named(self.actor_header.as_ref()?, headers).ok()?
    }

    /// The id of a request.
    fn id(&self, headers: &HeaderMap) -> HeaderValue {
        let given = headers.get(REQUEST_ID).filter(|id| {
            let id = id.as_bytes();
            !id.is_empty() && id.len() <= MAX_ID_BYTES && id.iter().all(u8::is_ascii_graphic)
        });
        let fresh = || {
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            let id = format!("{}-{number:x}", self.process);
            // Hexadecimal digits are what a header may be made of.
            HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("0"))
        };
        given.cloned().unwrap_or_else(fresh)
    }
}

/// What the access log tells of a request besides how it ended; kept only where there is one.
struct Noted {
    method: Method,
    uri: Uri,
    actor: Option<SmolStr>,
    peer: Option<SocketAddr>,
}

/// Nobody waits any longer.
fn too_long(limit: Duration) -> Problem {
    let detail = format!(
        "no reply within {} s; a write may have been done all the same: send it again with the same `Idempotency-Key`",
        limit.as_secs_f32()
    );
    Problem::new(StatusCode::GATEWAY_TIMEOUT, "time-limit", detail)
}
