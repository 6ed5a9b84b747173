//! Connections to the database for programs that are asynchronous themselves, and do in it what no store does: a gate has
//! the address with all that protects a connection, and opens as many as are asked for.
//!
//! Invariant: such a connection has nothing to do with the tables of a store but that it may be in the same database.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_postgres::{AsyncMessage, Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::connection::connect;
use super::error::{failed, place_of, refused};
use super::tls;
use crate::StoreError;

/// See the module.
#[derive(Clone)]
pub struct Gate {
    config: Config,
    tls: MakeRustlsConnect,
    place: String,
}

impl Gate {
    /// To the database at an address, as [`PostgresStore::open`](super::PostgresStore::open) reads it. Each host of it is
    /// given `patience` to answer.
    ///
    /// # Errors
    ///
    /// The address is none, or what it says of trust cannot be read.
    pub fn to(url: &str, patience: Duration) -> Result<Gate, StoreError> {
        let Address { mut config, protection } = Address::parse(url)?;
        config.connect_timeout(patience);
        let (tls, place) = (tls::connector(&protection)?, place_of(&config));
        Ok(Gate { config, tls, place })
    }

    /// Connects, within a runtime, on which the connection lives as long as the client. `heard` is called with each
    /// notification that comes over it.
    ///
    /// # Errors
    ///
    /// Why nobody can be reached.
    pub async fn connect(&self, heard: impl Fn() + Send + 'static) -> Result<Client, StoreError> {
        let connected = connect(&self.config, self.tls.clone()).await;
        let (client, mut connection) =
            connected.map_err(|why| failed(&self.place, format!("it cannot be reached: {why}"), false))?;
        tokio::spawn(async move {
            let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
            // How it ends shows to whom it concerns.
            while let Some(Ok(message)) = messages.next().await {
                if matches!(message, AsyncMessage::Notification(_)) {
                    heard();
                }
            }
        });
        Ok(client)
    }

    /// What the server said, with the place.
    pub fn error(&self, error: &Error) -> StoreError {
        refused(&self.place, error)
    }

    /// Where the database is, for messages: never with a password.
    pub fn place(&self) -> &str {
        &self.place
    }
}
