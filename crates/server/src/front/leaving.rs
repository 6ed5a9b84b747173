//! A server that has been told to stop has its clients go elsewhere, while it still serves: each connection of HTTP/1 ends
//! with the reply that is next on it, so none has to be cut. One of HTTP/2 is told so when the server stops.
//!
//! Who spreads requests learns it from `/readyz` ([`crate::http`]). Read next: [`super::listen`], which ends what is left.

use axum::http::Version;

use crate::site::Site;

/// Is the reply to a request of this version the last on its connection, because the server is to stop?
pub fn is_last(version: Version, site: &Site) -> bool {
    version < Version::HTTP_2 && site.is_leaving()
}
