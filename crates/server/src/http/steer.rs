//! Steering updates: how fast they go (`PATCH /api/_updates`), and that one which waits after a failure goes on at once
//! (`PATCH /api/_updates/ID`). What is set holds until the server stops; the flags say what holds at its start.

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use corollary_engine::updates::{State, UpdateId};
use serde_json::{Map, Value as Json, json};

use super::{App, json};
use crate::node::Pace;
use crate::problem::Problem;
use crate::updater::MAX_BATCH;

/// The members of the object that says how fast updates go.
const MEMBERS: [&str; 4] = ["at_once", "batch", "rate", "share"];

/// How fast updates go, as JSON.
pub(crate) fn shown(pace: &Pace) -> Json {
    json!({ "at_once": pace.at_once, "batch": pace.batch, "rate": pace.per_second, "share": pace.share })
}

/// `PATCH /api/_updates`, or that of one of them.
pub(crate) async fn patch(
    app: Arc<App>,
    request: Request<Body>,
    of: Option<UpdateId>,
) -> Result<Response<Body>, Problem> {
    let body = super::body::read(request.into_body(), &app).await?;
    let wanted: Json = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed("json", format!("the body is no JSON: {error}")))?;
    let Json::Object(wanted) = wanted else {
        return Err(Problem::malformed("json", "the body is not a JSON object"));
    };
    match of {
        None => set_pace(&app, &wanted),
        Some(id) => retry(&app, id, &wanted),
    }
}

fn set_pace(app: &App, wanted: &Map<String, Json>) -> Result<Response<Body>, Problem> {
    let mut pace = app.node.pace();
    for (name, value) in wanted {
        let number =
            value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        match (name.as_str(), number, value) {
            ("batch", Some(batch), _) if batch <= MAX_BATCH => pace.batch = batch as usize,
            ("rate", Some(rate), _) => pace.per_second = Some(rate),
            ("rate", None, Json::Null) => pace.per_second = None,
            ("at_once", Some(number), _) => pace.at_once = NonZeroUsize::new(number as usize),
            ("at_once", None, Json::Null) => pace.at_once = None,
            ("share", Some(share), _) if share <= 100 => pace.share = share,
            ("share", ..) => {
                let detail =
                    format!("`share` is a number from 1 to 100, of a hundred parts of the time, not {value}");
                return Err(invalid(detail));
            }
            ("batch", ..) => {
                return Err(invalid(format!("`batch` is a number from 1 to {MAX_BATCH}, not {value}")));
            }
            (name @ ("rate" | "at_once"), ..) => {
                let most = u32::MAX;
                let all = if name == "rate" { "as many as go" } else { "all that are open" };
                let detail = format!("`{name}` is a number from 1 to {most}, or null for {all}, not {value}");
                return Err(invalid(detail));
            }
            (name, ..) => {
                let near = corollary_syntax::nearest(name, MEMBERS);
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(invalid(format!(
                    "there is `at_once`, `batch`, `rate` and `share` to set, and no `{name}`{help}"
                )));
            }
        }
    }
    app.node.set_pace(pace.clone());
    Ok(json(StatusCode::OK, shown(&pace).to_string()))
}

fn retry(app: &App, id: UpdateId, wanted: &Map<String, Json>) -> Result<Response<Body>, Problem> {
    if wanted.len() != 1 || wanted.get("state") != Some(&json!("running")) {
        return Err(invalid("of an update only `{\"state\": \"running\"}` can be asked for".into()));
    }
    let ledger = app.node.engine().updates_to_tell();
    match ledger.get(id).map(|update| update.record.state) {
        Some(State::Failed) => app.node.retry(id),
        Some(State::Done) => {
            let detail = format!("the update {id} has ended");
            return Err(Problem::new(StatusCode::CONFLICT, "ended", detail));
        }
        // It runs.
        Some(State::Waiting | State::Running) | None => {}
    }
    Ok(json(StatusCode::ACCEPTED, json!({ "_id": id.to_string() }).to_string()))
}

fn invalid(detail: String) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
}
