//! Steering updates: how fast they go (`PATCH /api/_updates`), and that one which waits after a failure goes on at once
//! (`PATCH /api/_updates/ID`). What is set holds until the server stops; the flags say what holds at its start.

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
const MEMBERS: [&str; 2] = ["batch", "rate"];

/// How fast updates go, as JSON.
pub(crate) fn shown(pace: &Pace) -> Json {
    json!({ "batch": pace.batch, "rate": pace.per_second })
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
            ("batch", ..) => {
                return Err(invalid(format!("`batch` is a number from 1 to {MAX_BATCH}, not {value}")));
            }
            ("rate", ..) => {
                let most = u32::MAX;
                let detail =
                    format!("`rate` is a number from 1 to {most}, or null for as many as go, not {value}");
                return Err(invalid(detail));
            }
            (name, ..) => {
                let near = corollary_syntax::nearest(name, MEMBERS);
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(invalid(format!("there is `batch` and `rate` to set, and no `{name}`{help}")));
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
    let ledger = app.node.engine().updates();
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
