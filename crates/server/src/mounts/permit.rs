//! What a mount allows at a path, before anything is read: so nobody learns from it what is there.

use axum::http::{HeaderMap, Method, header};
use corollary_schema::Schema;
use corollary_schema::mounts::{Allow, Mount};

use crate::problem::Problem;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// What is there.
    Read,
    /// For something new.
    Create,
    /// For something else in its place.
    Update,
    /// For nothing more.
    Delete,
}

impl Asks {
    /// Is it among what is allowed?
    pub fn are_allowed(self, allow: Allow) -> bool {
        match self {
            Asks::Read => allow.read,
            Asks::Create => allow.create,
            Asks::Update => allow.update,
            Asks::Delete => allow.delete,
        }
    }
}

/// Refuses what a mount does not allow; says nothing of paths outside of mounts.
pub fn permit(
    schema: &Schema,
    segments: &[String],
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let Some(mount) = schema.mounts.iter().find(|mount| mount.begins(segments)) else { return Ok(()) };
    if mount.view().is_none() {
        let detail =
            format!("what is at `{}` is on another server: each request for it goes by itself", mount.name());
        return Err(Problem::not_found(detail));
    }
    let behind = &segments[mount.path.len()..];
    let creates = *method == Method::PUT && headers.contains_key(header::IF_NONE_MATCH);
    let asks = match (behind.last().map(String::as_str), behind.len()) {
        (Some(verb @ ("_versions" | "_revert")), _) => {
            let detail =
                format!("`{verb}` is asked at the resource's own path: a mount shows what is there now");
            return Err(Problem::not_found(detail));
        }
        (Some("_query" | "_count"), 1) => Asks::Read,
        (Some("_update"), 1) => Asks::Update,
        (Some("_delete"), 1) => Asks::Delete,
        (_, 0) if *method == Method::POST => Asks::Create,
        (_, 1) if creates => Asks::Create,
        (_, 1) if matches!(*method, Method::PUT | Method::PATCH) => Asks::Update,
        (_, 1) if *method == Method::DELETE => Asks::Delete,
        // A question with a body, to a list behind a link.
        (Some("_query" | "_count"), _) => Asks::Read,
        _ if matches!(*method, Method::GET | Method::HEAD) => Asks::Read,
        _ => return Err(Problem::not_allowed(methods(mount, behind.len()))),
    };
    if asks.are_allowed(mount.allow) {
        return Ok(());
    }
    Err(Problem::not_allowed(methods(mount, behind.len())))
}

/// The methods that are allowed so many segments behind the path of a mount.
pub fn methods(mount: &Mount, behind: usize) -> String {
    let Allow { read, create, update, delete } = mount.allow;
    let proxy = mount.view().is_none();
    let one = behind == 1 || (proxy && behind > 0);
    let methods = [
        ("GET", read),
        ("HEAD", read),
        ("POST", create && (behind == 0 || proxy)),
        ("PUT", (create || update) && one),
        ("PATCH", update && one),
        ("DELETE", delete && one),
    ];
    let methods: Vec<&str> = methods.into_iter().filter(|(_, may)| *may).map(|(name, _)| name).collect();
    methods.join(", ")
}
