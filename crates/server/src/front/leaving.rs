//! A server that has been told to stop has its clients go elsewhere, while it still serves: each connection of HTTP/1 ends
//! with the reply that is next on it, so none has to be cut. One of HTTP/2 is told so when the server stops.
//!
//! Who spreads requests learns it from `/readyz` ([`crate::http`]). Read next: [`super::listen`], which ends what is left.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, Version, header};
use axum::middleware::Next;

use crate::site::Site;

/// Runs a request; of a server that is to stop its reply is the last on its connection.
pub async fn tell(State(site): State<Site>, request: Request, next: Next) -> Response<Body> {
    let version = request.version();
    let mut response = next.run(request).await;
    if version < Version::HTTP_2 && site.is_leaving() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
