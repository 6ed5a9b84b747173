//! Replies are compressed (gzip) for those who accept that, where it is worth its while.
//!
//! Watches are not: an event must not wait in a buffer for the next one. What is compressed has other bytes than what is
//! not, so its entity tag is a weak one; a write takes it back all the same.

use std::convert::Infallible;
use std::future::ready;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, header};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};

use crate::http::backup;

/// Replies with fewer bytes go out as they are.
const MIN_BYTES: u64 = 1_024;

/// Marks a reply that goes out as it is: parts of it may be asked for, and its entity tag is that of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct AsItIs;

/// The reply that `next` gives to a request, in the form that suits its client. What is done with the request itself costs
/// nothing where its client takes nothing that is compressed.
pub async fn around(
    request: Request<Body>,
    next: impl AsyncFnOnce(Request<Body>) -> Response<Body>,
) -> Response<Body> {
    let accepted: Vec<HeaderValue> =
        request.headers().get_all(header::ACCEPT_ENCODING).iter().cloned().collect();
    let mut response = next(request).await;
    if is_worth(&response) {
        match accepted.is_empty() {
            // Others get it compressed, so whoever keeps it for several clients has to know.
            true => {
                response.headers_mut().append(header::VARY, header::ACCEPT_ENCODING.into());
            }
            false => response = Box::pin(compressed(response, accepted)).await,
        }
    }
    weaken(&mut response);
    response
}

/// A reply in one of the codings that are accepted.
async fn compressed(response: Response<Body>, accepted: Vec<HeaderValue>) -> Response<Body> {
    let mut asked = Request::new(());
    for accepted in accepted {
        asked.headers_mut().append(header::ACCEPT_ENCODING, accepted);
    }
    let status = response.status();
    let mut response = Some(response);
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(response.take().unwrap_or_default())));
    let layer = CompressionLayer::new().compress_when(Whole);
    let Ok(mut response) = layer.layer(inner).oneshot(asked).await;
    // Who takes neither this coding nor none gets it without one: by now it may tell of what has been done, and no status
    // may say that it was not.
    *response.status_mut() = status;
    response.map(Body::new)
}

/// Would it be compressed for a client that accepts that?
fn is_worth(response: &Response<Body>) -> bool {
    let headers = response.headers();
    !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && Whole.should_compress(response)
}

/// What is long enough, sent as a whole, and may be sent in other bytes than its own.
#[derive(Clone, Copy)]
struct Whole;

impl Predicate for Whole {
    fn should_compress<B: hyper::body::Body>(&self, response: &Response<B>) -> bool {
        SizeAbove::new(MIN_BYTES).should_compress(response)
            && is_document(response.headers())
            && response.extensions().get::<AsItIs>().is_none()
    }
}

/// Is it sent as a whole, and not compressed in itself?
fn is_document(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let others = [b"text/event-stream".as_slice(), b"application/x-ndjson", backup::CONTENT_TYPE.as_bytes()];
    !others.iter().any(|other| kind.starts_with(other))
}

/// Makes the entity tag of a compressed reply a weak one.
fn weaken(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    if headers.contains_key(header::CONTENT_ENCODING)
        && let Some(tag) = headers.get(header::ETAG)
        && tag.as_bytes().starts_with(b"\"")
    {
        let weak = [b"W/", tag.as_bytes()].concat();
        // A tag with a prefix is one still.
        if let Ok(weak) = HeaderValue::from_bytes(&weak) {
            headers.insert(header::ETAG, weak);
        }
    }
}
