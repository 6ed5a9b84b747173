//! Bodies of requests: read as a whole, within limits on each and on all of them together, so that memory does not grow
//! with the number of clients.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::App;
use crate::problem::Problem;

/// Bytes that are counted as one.
const UNIT: usize = 1_024;

/// How many times the limit is read of what is refused.
const READ_ON: usize = 4;

/// Room for the bodies of all requests that run.
#[derive(Debug)]
pub struct Bodies {
    room: Arc<Semaphore>,
    bytes: usize,
}

impl Bodies {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Bodies {
        Bodies { room: Arc::new(Semaphore::new(bytes.div_ceil(UNIT).min(Semaphore::MAX_PERMITS))), bytes }
    }

    /// Bytes that are taken, about.
    pub fn taken(&self) -> usize {
        self.bytes.saturating_sub(self.room.available_permits() * UNIT)
    }

    /// Room for so many bytes, until it is dropped.
    pub(crate) fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.take(bytes.div_ceil(UNIT))
    }

    fn take(&self, units: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let taken =
            u32::try_from(units).ok().and_then(|units| self.room.clone().try_acquire_many_owned(units).ok());
        taken.ok_or_else(|| {
            let detail = format!(
                "the requests that run have bodies of {} bytes together, which is the limit",
                self.bytes
            );
            Problem { code: "busy", ..Problem::unavailable(detail) }
        })
    }
}

/// A body that was read; it takes its room until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

impl Deref for Held {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// Refuses a body that is compressed.
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    match codings.find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        None => Ok(()),
        Some(coding) => {
            let detail = format!("a body is sent as it is, and this is in the coding {coding:?}");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-encoding", detail))
        }
    }
}

/// Reads a body.
pub(crate) async fn read(body: Body, app: &App) -> Result<Held, Problem> {
    match timeout(app.limits.waiting(), gather(body, app)).await {
        Ok(read) => read,
        Err(_) => {
            let detail = format!("the body did not come within {} s", app.limits.waiting().as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-time", detail))
        }
    }
}

/// Reads all parts. What is refused is read on, up to so many times the limit, and dropped, so that a client which sends before
/// it reads hears why.
async fn gather(body: Body, app: &App) -> Result<Held, Problem> {
    let limit = app.limits.body_bytes;
    let mut parts = body.into_data_stream();
    let (mut first, mut bytes, mut held) = (None, Vec::new(), Held::default());
    let (mut length, mut refused) = (0, None);
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::malformed("body", "the body ended early"))?;
        let before: usize = length;
        length += part.len();
        if length > limit {
            let detail = format!("a body has at most {limit} bytes");
            let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-limit", detail);
            if length > limit.saturating_mul(READ_ON) {
                return Err(problem);
            }
            (first, bytes, held, refused) = (None, Vec::new(), Held::default(), Some(problem));
            continue;
        }
        if refused.is_some() {
            continue;
        }
        match app.bodies.take(length.div_ceil(UNIT) - before.div_ceil(UNIT)) {
            Ok(room) => match &mut held.room {
                Some(taken) => taken.merge(room),
                None => held.room = Some(room),
            },
            Err(problem) => {
                (first, bytes, held, refused) = (None, Vec::new(), Held::default(), Some(problem));
                continue;
            }
        }
        // Most come in one part, which is not copied.
        match first.take() {
            None if bytes.is_empty() => first = Some(part),
            None => bytes.extend_from_slice(&part),
            Some(earlier) => {
                bytes.extend_from_slice(&earlier);
                bytes.extend_from_slice(&part);
            }
        }
    }
    held.bytes = first.unwrap_or_else(|| bytes.into());
    refused.map_or(Ok(held), Err)
}
