//! The kinds of PATCH: a merge patch (RFC 7396), a JSON Patch (RFC 6902), and a list of update actions.
//!
//! A merge patch is read by [`crate::json::decode`]; [`json_patch`] and [`actions`] read the others. All of them are worked
//! out by the executor on what is there when their turn comes, so none is lost and none sees half of another.

pub mod actions;
pub mod json_patch;

/// The most operations of a JSON Patch, and the most update actions of one request.
pub const MAX_OPERATIONS: usize = 1_000;

/// The kinds of PATCH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7396.
    #[default]
    Merge,
    /// RFC 6902.
    JsonPatch,
    /// Update actions.
    Actions,
}

impl Kind {
    /// The content types of a PATCH.
    pub const CONTENT_TYPES: [&str; 4] = [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/vnd.corollary.update+json",
    ];

    /// The kind that a content type says; a merge patch where it says nothing of its own.
    pub fn of(content_type: &str) -> Kind {
        match Kind::CONTENT_TYPES.iter().position(|known| known.eq_ignore_ascii_case(content_type)) {
            Some(2) => Kind::JsonPatch,
            Some(3) => Kind::Actions,
            _ => Kind::Merge,
        }
    }
}
