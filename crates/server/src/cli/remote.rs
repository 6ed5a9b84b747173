//! Running servers that commands ask, and the headers that go along with each request: a server that holds whoever asks to grants, or a proxy before
//! it, wants to know who that is.

use std::sync::OnceLock;

use axum::http::{HeaderName, HeaderValue};
use serde_json::Value as Json;

use super::Failure;

/// What goes along.
static HEADERS: OnceLock<Vec<(HeaderName, HeaderValue)>> = OnceLock::new();

/// Has headers go along with all that is asked from here on; once, when the command begins.
pub(super) fn send_along(headers: Vec<(HeaderName, HeaderValue)>) {
    HEADERS.get_or_init(|| headers);
}

/// A header as it is written, `Name: value`.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written as `Name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no name of a header"))?;
    let value =
        value.trim().parse().map_err(|_| "the value of a header has no line breaks, and letters that go")?;
    Ok((name, value))
}

/// Why a server has not answered what it was asked.
pub(super) fn refused(url: &str, reply: &Json) -> Failure {
    match reply["detail"].as_str() {
        Some(detail) => format!("{url}: {detail}").into(),
        None => format!("{url} is no Corollary server of this version").into(),
    }
}

/// What asks a server.
pub(super) fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    let along = |mut request: ureq::http::Request<ureq::SendBody<'_>>,
                 next: ureq::middleware::MiddlewareNext<'_>| {
        for (name, value) in HEADERS.get().into_iter().flatten() {
            request.headers_mut().append(name, value.clone());
        }
        next.handle(request)
    };
    config.middleware(along).build().into()
}
