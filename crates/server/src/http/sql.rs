//! `GET /api/_sql`: how far the tables in SQL are, and which changes made in them were refused.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};

use super::{App, json};
use crate::problem::Problem;
use crate::sql::told;

/// Any server tells it, whichever of them keeps the tables.
pub async fn handle(State(app): State<Arc<App>>) -> Response<Body> {
    let Some(place) = &app.sql else {
        let detail = "the server keeps no tables in SQL: it was started without --sql";
        return Problem::not_found(detail).response();
    };
    match told::state(place, app.node.engine().revision()).await {
        Ok(told) => json(StatusCode::OK, told.to_string()),
        Err(trouble) => Problem::unavailable(trouble.to_string()).response(),
    }
}
