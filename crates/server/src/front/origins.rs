//! Scripts of pages from other origins: which may use the API (CORS), and what they see of its replies.
//!
//! A browser asks nobody before it opens a WebSocket, so whose pages may is asked here ([`refused`]).

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::problem::Problem;

/// How long a browser remembers what it was told.
const MAX_AGE: Duration = Duration::from_secs(3_600);

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Headers of replies that scripts may read besides those that all may.
const SHOWN: [HeaderName; 8] = [
    header::ETAG,
    header::LOCATION,
    header::CONTENT_LOCATION,
    header::RETRY_AFTER,
    HeaderName::from_static("corollary-revision"),
    HeaderName::from_static("corollary-updates"),
    HeaderName::from_static("corollary-pending"),
    HeaderName::from_static("x-request-id"),
];

/// The layer for these origins, as `https://example.org`; `*` is all of them.
pub fn layer(origins: &[HeaderValue]) -> CorsLayer {
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(METHODS)
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(SHOWN)
        .max_age(MAX_AGE)
}

/// Refuses a WebSocket to a page of an origin that is not this server's own and not among those that may use the API. What is
/// no page says of no origin.
pub fn refused(origins: &[HeaderValue], headers: &HeaderMap) -> Option<Response<Body>> {
    let opens_socket = headers.contains_key(header::UPGRADE);
    let origin = headers.get(header::ORIGIN).filter(|_| opens_socket)?;
    let may = is_own(origin, headers.get(header::HOST))
        || origins.iter().any(|allowed| allowed == "*" || allowed == origin);
    if may {
        return None;
    }
    let detail =
        "pages of this origin may not use the API: the server is started with `--cors` for those that may";
    Some(Problem::new(StatusCode::FORBIDDEN, "origin", detail).response())
}

/// Is an origin that of the server itself, by the name under which it was asked?
fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let name = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, name)| name);
    name.zip(host.and_then(|host| host.to_str().ok())).is_some_and(|(name, host)| name == host)
}

/// Reads an origin: a scheme and a host, perhaps a port; or `*`.
///
/// # Errors
///
/// What is no origin, in a sentence.
pub fn parse(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("`{text}` is no origin: write it as https://example.org, or * for all");
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_origin = host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
    });
    if text != "*" && !is_origin {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}
