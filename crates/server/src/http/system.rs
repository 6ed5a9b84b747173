//! What the server says of itself: readiness, its collections, its schema, its features.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use corollary_store::features::Feature;
use corollary_syntax::schema_to_json;
use serde_json::json;

use super::App;
use crate::path::PREFIX;
use crate::problem::Problem;

fn reply(json: &serde_json::Value) -> Response<Body> {
    super::json(StatusCode::OK, json.to_string())
}

/// Can it read?
pub async fn ready(State(app): State<Arc<App>>) -> Response<Body> {
    match app.node.engine().store().snapshot() {
        Ok(_) => Response::new(Body::from("ok\n")),
        Err(error) => Problem::unavailable(error.to_string()).response(),
    }
}

/// The root collections.
pub async fn index(State(app): State<Arc<App>>) -> Response<Body> {
    let schema = app.node.engine().schema();
    let collections: Vec<_> = schema
        .types()
        .filter_map(|(_, ty)| {
            let root = ty.root.as_ref()?;
            Some(json!({"type": ty.name.as_str(), "path": format!("{PREFIX}/{root}")}))
        })
        .collect();
    reply(
        &json!({"schema": schema.name.as_str(), "collections": collections, "revision": app.node.engine().revision().to_string()}),
    )
}

/// The schema: as it was written, and as a tree.
pub async fn schema(State(app): State<Arc<App>>) -> Response<Body> {
    let (name, text) = (json!(app.node.engine().schema().name.as_str()), json!(app.schema_text));
    // What is served was checked, so it has a form; it may nest deeper than other JSON, so it goes out as it is.
    let form = schema_to_json(&app.schema_text).unwrap_or_else(|_| "null".into());
    super::json(StatusCode::OK, format!("{{\"name\":{name},\"text\":{text},\"json\":{}}}", form.trim_end()))
}

/// The OpenAPI document.
pub async fn openapi(State(app): State<Arc<App>>) -> Response<Body> {
    reply(&super::openapi::document(app.node.engine().schema()))
}

/// What the store can do.
pub async fn features(State(app): State<Arc<App>>) -> Response<Body> {
    let store = app.node.engine().store();
    let features = store.features();
    let available: Vec<&str> =
        Feature::ALL.into_iter().filter(|feature| features.has(*feature)).map(Feature::name).collect();
    reply(&json!({
        "store": store.name(),
        "transactions": features.transactions.name(),
        "features": available,
    }))
}
