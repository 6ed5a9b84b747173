//! Paths that go on behind the name of a resource or a list: `divisions/d1.name`, `divisions/d1/sections[total > 100].members.age`.
//!
//! An id may have dots in it, and a name may have anything. So a path is first what it says as a whole; only where that is
//! not there, its last segment is cut: before the first bracket, or at a dot, as far behind as something is there. A dot or
//! a bracket that is percent-encoded never cuts a name, but for a bracket where nothing else leads anywhere.

use super::{MAX_PATH_BYTES, PathError, segments};

/// One way to read a path.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// What is named.
    pub segments: Vec<String>,
    /// How it goes on: a text of the expression language that begins with `.` or `[`.
    pub behind: String,
}

/// The ways to read a path that goes on, the longest name first; none where it does not.
pub fn cuts(path: &str) -> Result<Vec<Cut>, PathError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::Malformed(format!("a path has at most {MAX_PATH_BYTES} bytes")));
    }
    let bracket = opening(path);
    let named = &path[..bracket.unwrap_or(path.len())];
    let start = named.rfind('/').map_or(0, |at| at + 1);
    let goes_on = |at: &usize| {
        let next = path.as_bytes().get(at + 1);
        next.is_some_and(|next| next.is_ascii_alphabetic() || *next == b'_')
    };
    let dots = named[start..].rmatch_indices('.').map(|(at, _)| start + at).filter(goes_on);
    let places = bracket.into_iter().chain(dots).filter(|at| *at > start);
    places.map(|at| Ok(Cut { segments: segments(&path[..at])?, behind: decoded(&path[at..])? })).collect()
}

/// Where the first bracket opens.
pub(super) fn opening(path: &str) -> Option<usize> {
    let mut places = path.match_indices(['[', '%']).map(|(at, _)| at);
    places.find(|at| path[*at..].starts_with('[') || is_encoded(&path[*at..]))
}

fn is_encoded(text: &str) -> bool {
    text.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("%5b"))
}

pub(super) fn decoded(text: &str) -> Result<String, PathError> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| PathError::Malformed(format!("`{text}` is not UTF-8")))?;
    Ok(decoded.into_owned())
}
