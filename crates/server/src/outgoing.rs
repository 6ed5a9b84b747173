//! How this server speaks to others, whatever for: connections over HTTP, encrypted where the address says so, kept for a while.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Idle connections that are kept to one server, and for how long.
const MAX_IDLE: usize = 32;
const IDLE: Duration = Duration::from_secs(30);

/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);

/// What makes requests.
pub(crate) type Connections = Client<HttpsConnector<HttpConnector>, Body>;

/// The connections of one server, made when they are first needed: that reads the certificates that the system trusts.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<OnceLock<Result<Connections, String>>>);

impl Outgoing {
    /// What makes requests.
    ///
    /// # Errors
    ///
    /// What is needed for encryption is not there.
    pub(crate) fn connections(&self) -> Result<&Connections, String> {
        // Without certificates there are connections all the same; an error is a system without random numbers, say.
        let made = self.0.get_or_init(|| connections().map_err(|error| error.to_string()));
        made.as_ref().map_err(Clone::clone)
    }
}

fn connections() -> io::Result<Connections> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT));
    http.set_nodelay(true);
    let provider = Arc::new(ring::default_provider());
    let builder = match HttpsConnectorBuilder::new().with_provider_and_native_roots(provider.clone()) {
        Ok(builder) => builder,
        // A system without authorities trusts nobody, and reaches what is not encrypted all the same.
        Err(_) => {
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?;
            let nobody = config.with_root_certificates(RootCertStore::empty());
            HttpsConnectorBuilder::new().with_tls_config(nobody.with_no_client_auth())
        }
    };
    let https = builder.https_or_http().enable_http1().wrap_connector(http);
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_idle_timeout(IDLE).pool_max_idle_per_host(MAX_IDLE).pool_timer(TokioTimer::new());
    Ok(client.build(https))
}
