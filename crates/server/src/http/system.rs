//! What the server says of itself: readiness, its collections, its features.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};
use corollary_store::features::Feature;
use serde_json::json;

use super::App;
use crate::path::PREFIX;
use crate::problem::Problem;
use crate::site::Site;

/// How long a store may take to show that it can be read.
const READY_WITHIN: Duration = Duration::from_secs(2);

fn reply(json: &serde_json::Value) -> Response<Body> {
    super::json(StatusCode::OK, json.to_string())
}

/// It is there.
pub async fn alive() -> Response<Body> {
    yes()
}

fn yes() -> Response<Body> {
    let mut response = Response::new(Body::from("ok\n"));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Should requests go to it? It can read, and has not been told to stop.
pub async fn ready(State(site): State<Site>, State(app): State<Arc<App>>) -> Response<Body> {
    if site.is_leaving() {
        return Problem::unavailable("the server is stopping: requests go to another one").response();
    }
    let engine = app.node.engine().clone();
    let read = tokio::task::spawn_blocking(move || engine.store().snapshot().map(drop));
    match tokio::time::timeout(READY_WITHIN, read).await {
        Ok(Ok(Ok(()))) => yes(),
        Ok(Ok(Err(error))) => Problem::unavailable(error.to_string()).response(),
        Ok(Err(error)) => Problem::unavailable(error.to_string()).response(),
        Err(_) => {
            let why = format!("the store has not answered within {} s", READY_WITHIN.as_secs());
            Problem::unavailable(why).response()
        }
    }
}

/// The root collections, and the mounts.
pub async fn index(State(app): State<Arc<App>>) -> Response<Body> {
    let schema = app.node.engine().schema();
    let collections: Vec<_> = schema
        .types()
        .filter_map(|(_, ty)| {
            let root = ty.root.as_ref()?;
            Some(json!({"type": ty.name.as_str(), "path": format!("{PREFIX}/{root}")}))
        })
        .collect();
    let mut told = json!({"schema": schema.name.as_str(), "collections": collections, "revision": app.node.engine().revision().to_string()});
    if !schema.mounts.is_empty() {
        let mounts = schema.mounts.iter().map(|mount| {
            let mut told = json!({"path": format!("{PREFIX}/{}", mount.name())});
            if let Some(view) = mount.view() {
                told["type"] = schema.ty(view.ty).name.as_str().into();
            }
            told
        });
        told["mounts"] = mounts.collect();
    }
    reply(&told)
}

/// The OpenAPI document.
pub async fn openapi(State(app): State<Arc<App>>) -> Response<Body> {
    reply(&super::openapi::document(app.node.engine().schema()))
}

/// What the store can do.
pub async fn features(State(app): State<Arc<App>>) -> Response<Body> {
    let store = app.node.engine().store().clone();
    let features = store.features();
    let available: Vec<&str> =
        Feature::ALL.into_iter().filter(|feature| features.has(*feature)).map(Feature::name).collect();
    let mut told = json!({
        "store": store.name(),
        "transactions": features.transactions.name(),
        "features": available,
    });
    // What it can do is told also while it cannot be asked.
    if let Ok(Ok(stats)) = tokio::task::spawn_blocking(move || store.stats()).await {
        told["statistics"] = json!({
            "data_bytes": stats.data_bytes,
            "free_bytes": stats.free_bytes,
            "log_bytes": stats.log_bytes,
            "commits": stats.commits,
            "conflicts": stats.conflicts,
            "checkpoints": stats.checkpoints,
            "forced_checkpoints": stats.forced_checkpoints,
            "open_snapshots": stats.open_snapshots,
        });
    }
    reply(&told)
}
