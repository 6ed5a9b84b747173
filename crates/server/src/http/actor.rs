//! Who asks, as a proxy in front of the server says.
//!
//! The server itself knows nobody. Where it stands behind a proxy that knows who asks, that one says so in a header of every request
//! (`--actor-header`), in place of whatever a client has put there. The log, watches and hooks tell it as the `actor`, and
//! processors may ask for it.

use axum::http::{HeaderMap, HeaderName};
use smol_str::SmolStr;

use super::{Call, Limits};
use crate::problem::Problem;

/// Bytes of a name, at most.
pub const MAX_ACTOR_BYTES: usize = 256;

/// Who asks; nobody where the header is not there, or empty, or where none is trusted.
pub(crate) fn of(call: &Call<'_>) -> Result<Option<SmolStr>, Problem> {
    asks(&call.app.limits, &call.headers)
}

/// The same by the headers of a request.
pub(crate) fn asks(limits: &Limits, headers: &HeaderMap) -> Result<Option<SmolStr>, Problem> {
    let Some(header) = &limits.actor_header else { return Ok(None) };
    named(header, headers).map_err(|what| Problem::malformed("actor", format!("`{header}` {what}")))
}

/// Whom a header names, or what is wrong with it.
pub(crate) fn named(header: &HeaderName, headers: &HeaderMap) -> Result<Option<SmolStr>, String> {
    let mut given = headers.get_all(header).iter();
    let Some(value) = given.next() else { return Ok(None) };
    // Which of two it was nobody could tell: one of them may be the client's own.
    if given.next().is_some() {
        return Err("is there more than once".into());
    }
    let name = std::str::from_utf8(value.as_bytes()).map_err(|_| "is not UTF-8")?.trim();
    match name.len() {
        0 => Ok(None),
        1..=MAX_ACTOR_BYTES => Ok(Some(name.into())),
        _ => Err(format!("has at most {MAX_ACTOR_BYTES} bytes")),
    }
}
