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

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, header};
use axum::routing::get;
use hyper::body::Body as _;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_http::cors::CorsLayer;

use around::Around;
use metrics::Metrics;

use crate::http::Routes;
use crate::site::Site;

/// What is done for every request.
#[derive(Clone, Debug)]
pub struct Front {
    /// How long a reply may take to begin.
    pub time_limit: Duration,
    /// Origins of pages whose scripts may use the API; `*` for all.
    pub origins: Vec<HeaderValue>,
    /// The header in which a proxy says [who asks](crate::http::actor), for the access log.
    pub actor_header: Option<HeaderName>,
}

/// The whole face: the routes of the API with what stands around them, metrics and the reference page.
///
/// What stands around is one future within the other, not a stack of services: each of these would move the request and allocate
/// for it (measured in instructions: docs/decisions.md).
pub struct Face {
    around: Around,
    origins: Vec<HeaderValue>,
    /// Where pages of other origins may use the API.
    cors: Option<CorsLayer>,
    site: Site,
    routes: Routes,
}

impl Face {
    /// Around the routes of the API.
    pub fn new(site: &Site, front: &Front, metrics: Arc<Metrics>) -> Face {
        let told = metrics.clone();
        let more = |router: axum::Router| {
            router
                .route("/metrics", get(move || async move { told.reply() }))
                .route("/docs", get(reference::page))
        };
        Face {
            around: Around::new(front, metrics),
            origins: front.origins.clone(),
            cors: (!front.origins.is_empty()).then(|| origins::layer(&front.origins)),
            site: site.clone(),
            routes: Routes::new(site.clone(), more),
        }
    }

    /// The reply to a request.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let is_head = request.method() == Method::HEAD;
        let mut response = self.around.run(request, |request| self.admit(request)).await;
        if is_head {
            strip(&mut response);
        }
        response
    }

    /// The same behind what is done where pages of other origins may use the API.
    async fn admit(&self, request: Request<Body>) -> Response<Body> {
        let Some(cors) = &self.cors else { return self.guard(request).await };
        let inner = service_fn(|request| async { Ok::<_, Infallible>(self.guard(request).await) });
        let Ok(response) = Box::pin(cors.layer(inner).oneshot(request)).await;
        response
    }

    async fn guard(&self, request: Request<Body>) -> Response<Body> {
        if let Some(refused) = origins::refused(&self.origins, request.headers()) {
            return refused;
        }
        let version = request.version();
        let mut response = compress::around(request, |request| self.routes.serve(request)).await;
        if leaving::is_last(version, &self.site) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Leaves the head of a reply alone, which tells the length of the body all the same.
fn strip(response: &mut Response<Body>) {
    if !response.headers().contains_key(header::CONTENT_LENGTH)
        && let Some(length) = response.body().size_hint().exact()
    {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
}
