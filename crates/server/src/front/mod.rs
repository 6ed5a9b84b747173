//! What stands between the network and the REST face, the same for every request: connections and TLS ([`listen`],
//! [`tls`]), how a server that stops tells so ([`leaving`]), request ids, the access log, the time limit and the counting ([`around`]), compression ([`compress`]), other
//! origins ([`origins`]), what is told to monitoring ([`metrics`]) and to people ([`mod@reference`]).
//!
//! Nothing here knows what a request is about; [`crate::http`] knows nothing of what is here.

pub mod around;
pub mod compress;
pub mod leaving;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod origins;
pub mod reference;
pub mod tls;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

use around::Around;
use metrics::Metrics;

use crate::site::Site;

/// What is done for every request.
#[derive(Clone, Debug)]
pub struct Front {
    /// How long a reply may take to begin.
    pub time_limit: Duration,
    /// Origins of pages whose scripts may use the API; `*` for all.
    pub origins: Vec<HeaderValue>,
}

/// The whole face: the routes of the API with what stands around them, metrics and the reference page.
pub fn face(api: Router, front: &Front, metrics: Arc<Metrics>, site: &Site) -> Router {
    let told = metrics.clone();
    let mut router = api
        .route("/metrics", get(move || async move { told.reply() }))
        .route("/docs", get(reference::page))
        .layer(compress::layer())
        .layer(from_fn(compress::weaken))
        .layer(from_fn_with_state(site.clone(), leaving::tell));
    let allowed: Arc<[HeaderValue]> = front.origins.clone().into();
    router = router.layer(from_fn_with_state(allowed, origins::guard));
    if !front.origins.is_empty() {
        router = router.layer(origins::layer(&front.origins));
    }
    let around = Around::new(front.time_limit, metrics);
    router.layer(from_fn_with_state(Arc::new(around), around::run))
}
