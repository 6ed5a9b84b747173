//! Replies are compressed (gzip) for those who accept that, where it is worth its while.
//!
//! Watches are not: an event must not wait in a buffer for the next one. What is compressed has other bytes than what is
//! not, so its entity tag is a weak one; a write takes it back all the same.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode, Version, header};
use axum::middleware::Next;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, Predicate, SizeAbove};

use crate::http::backup;

/// Replies with fewer bytes go out as they are.
const MIN_BYTES: u64 = 1_024;

/// Marks a reply that goes out as it is: parts of it may be asked for, and its entity tag is that of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct AsItIs;

type Suits = fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool;

/// The layer.
pub fn layer() -> CompressionLayer<And<SizeAbove, Suits>> {
    let suits: Suits =
        |_, _, headers, extensions| is_document(headers) && extensions.get::<AsItIs>().is_none();
    CompressionLayer::new().compress_when(SizeAbove::new(MIN_BYTES).and(suits))
}

/// Is it sent as a whole, and not compressed in itself?
fn is_document(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let others = [b"text/event-stream".as_slice(), b"application/x-ndjson", backup::CONTENT_TYPE.as_bytes()];
    !others.iter().any(|other| kind.starts_with(other))
}

/// Makes the entity tag of a compressed reply a weak one.
pub async fn weaken(request: Request<Body>, next: Next) -> Response<Body> {
    let mut response = next.run(request).await;
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
    response
}
