//! Who asks, as a proxy in front of the server says.
//!
//! The server itself knows nobody. Where it stands behind a proxy that knows who asks, that one says so in a header of every request
//! (`--actor-header`), in place of whatever a client has put there. The log, watches and hooks tell it as the `actor`, and
//! processors may ask for it.

use smol_str::SmolStr;

use super::Call;
use crate::problem::Problem;

/// Bytes of a name, at most.
pub const MAX_ACTOR_BYTES: usize = 256;

/// Who asks; nobody where the header is not there, or empty, or where none is trusted.
pub(crate) fn of(call: &Call<'_>) -> Result<Option<SmolStr>, Problem> {
    let Some(header) = &call.app.limits.actor_header else { return Ok(None) };
    let mut given = call.headers.get_all(header).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let refuse = |what: &str| Problem::malformed("actor", format!("`{header}` {what}"));
    // Which of two it was nobody could tell: one of them may be the client's own.
    if given.next().is_some() {
        return Err(refuse("is there more than once"));
    }
    let name = std::str::from_utf8(value.as_bytes()).map_err(|_| refuse("is not UTF-8"))?.trim();
    match name.len() {
        0 => Ok(None),
        1..=MAX_ACTOR_BYTES => Ok(Some(name.into())),
        _ => Err(refuse(&format!("has at most {MAX_ACTOR_BYTES} bytes"))),
    }
}
