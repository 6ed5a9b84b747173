//! What the faces of hooks and processors share, which are kept as records: ids, bodies, merge patches.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corollary_engine::Refusal;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;

use super::{App, fresh_id};
use crate::problem::Problem;

/// Bytes that an id may have.
const MAX_ID: usize = 64;

/// Tells what is wrong with a member.
pub(crate) fn wrong(errors: &mut Vec<Refusal>, code: &'static str, path: &str, message: impl Into<String>) {
    errors.push(Refusal::new(code, Some(path), message));
}

/// What is wrong with one member.
pub(crate) fn invalid(path: &str, message: impl Into<String>) -> Problem {
    Problem::refused(vec![Refusal::new("invalid", Some(path), message)])
}

/// The JSON object of a body.
pub(crate) async fn object(sent: Body, app: &App) -> Result<Map<String, Json>, Problem> {
    match super::resource::parse_json(&super::body::read(sent, app).await?)? {
        Json::Object(members) => Ok(members),
        _ => Err(Problem::malformed("json", "the body is not a JSON object")),
    }
}

/// Refuses parameters.
pub(crate) fn no_parameters(query: Option<&str>) -> Result<(), Problem> {
    match form_urlencoded::parse(query.unwrap_or_default().as_bytes()).next() {
        Some((name, _)) => {
            Err(Problem::malformed("parameter", format!("it takes no parameters, and so no `{name}`")))
        }
        None => Ok(()),
    }
}

/// The id of one that is declared: that of the path, the one that is given, or one that nobody has.
pub(crate) fn read_id(members: &Map<String, Json>, path: Option<&str>) -> Result<SmolStr, Problem> {
    let given = members.get("_id").filter(|id| !id.is_null());
    let id = match (path, given) {
        (None, None) => return Ok(SmolStr::from(fresh_id().to_string())),
        (Some(path), Some(given)) if given.as_str() != Some(path) => {
            return Err(invalid("_id", format!("the path names `{path}`")));
        }
        (Some(path), _) => Some(path),
        (None, Some(given)) => given.as_str(),
    };
    let fits = |id: &&str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=MAX_ID).contains(&id.len()) && id.bytes().all(letter) && !id.starts_with('_')
    };
    id.filter(fits).map(SmolStr::from).ok_or_else(|| {
        let message =
            format!("an id has 1 to {MAX_ID} letters, digits, `-` and `_`, and does not begin with `_`");
        Problem::refused(vec![Refusal::new("id", Some("_id"), message)])
    })
}

/// What a merge patch (RFC 7396) makes of an object.
pub(crate) fn merged(mut object: Map<String, Json>, patch: &Map<String, Json>) -> Map<String, Json> {
    for (name, value) in patch {
        match (object.remove(name), value) {
            (_, Json::Null) => {}
            (Some(Json::Object(inner)), Json::Object(parts)) => {
                object.insert(name.clone(), Json::Object(merged(inner, parts)));
            }
            (_, value) => drop(object.insert(name.clone(), value.clone())),
        }
    }
    object
}

/// 204.
pub(crate) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
