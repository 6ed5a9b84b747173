//! `GET /api/_backup`: everything at one revision, as a file that is sent while it is made.
//!
//! A thread walks over a snapshot and waits for whoever reads the reply, so it takes the memory of a few parts, however much
//! there is. A reply that is broken off has no end mark, and so is never taken for a backup.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use corollary_engine::EngineError;
use corollary_store::Store;
use corollary_store::features::Feature;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::pipe::{Pipe, pipe};
use super::{App, REVISION_HEADER, with_header};
use crate::backup::{self, MakeError};
use crate::problem::Problem;

/// Backups that a server makes at a time: each holds a snapshot, and what that sees is kept.
pub const MAX_BACKUPS: usize = 2;

/// The content type.
pub const CONTENT_TYPE: &str = "application/vnd.corollary.backup";

/// See the module.
pub async fn handle(State(app): State<Arc<App>>) -> Response<Body> {
    begin(&app).await.unwrap_or_else(|problem| problem.response())
}

async fn begin(app: &Arc<App>) -> Result<Response<Body>, Problem> {
    // Of the store, whatever version of the schema it is served with: a change need not wait for a backup.
    let store = app.node.engine().store().clone();
    store.features().require(Feature::Backup).map_err(EngineError::from)?;
    let place = app.backups.clone().try_acquire_owned().map_err(|_| {
        let detail = format!("{MAX_BACKUPS} backups are being made already");
        Problem { code: "busy", ..Problem::unavailable(detail) }
    })?;
    let (begun, begins) = oneshot::channel();
    let (pipe, body) = pipe(app.limits.stall);
    tokio::task::spawn_blocking(move || make(&*store, begun, pipe, place));
    let revision = begins.await.unwrap_or_else(|_| Err(Problem::unavailable("the server stops")))?;
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    let response = with_header(response, REVISION_HEADER, &revision.to_string());
    let name = format!("attachment; filename=\"corollary-{revision}.backup\"");
    Ok(with_header(response, "content-disposition", &name))
}

/// Makes a backup, on a thread that may wait. First it tells of which revision, or why there is none.
fn make(
    store: &dyn Store,
    begun: oneshot::Sender<Result<u64, Problem>>,
    mut pipe: Pipe,
    place: OwnedSemaphorePermit,
) {
    let opened = match backup::Moment::open(store) {
        Ok(opened) => opened,
        Err(error) => {
            // Whoever asked may be gone.
            let _ = begun.send(Err(error.into()));
            return;
        }
    };
    if begun.send(Ok(opened.revision())).is_err() {
        return;
    }
    match opened.write(Timestamp::now(), &mut pipe) {
        Ok(_) => pipe.end(),
        Err(MakeError(why)) => tracing::warn!("a backup was broken off: {why}"),
    }
    drop(place);
}
