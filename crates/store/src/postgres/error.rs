//! What PostgreSQL says, as errors of the store.

use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

use crate::StoreError;

/// Where the database is, for messages: never the password.
pub fn place_of(config: &Config) -> String {
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    let shown = |(at, host): (usize, &Host)| {
        let host = match host {
            Host::Tcp(host) => host.clone(),
            #[cfg(unix)]
            Host::Unix(folder) => folder.display().to_string(),
        };
        // One port is that of all hosts.
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        format!("{host}:{port}")
    };
    let hosts: Vec<String> = hosts.iter().enumerate().map(shown).collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    format!("postgres://{}/{database}", hosts.join(","))
}

/// The text that names a database cannot be read.
pub fn not_an_address(error: &tokio_postgres::Error) -> StoreError {
    failed("the address of the database", format!("it is not one: {}", told(error)), false)
}

/// A failure at a place.
pub fn failed(place: &str, message: impl Into<String>, fatal: bool) -> StoreError {
    StoreError::Failed { path: PathBuf::from(place), message: message.into(), fatal }
}

/// What the server refused, where its connection goes on.
pub fn refused(place: &str, error: &tokio_postgres::Error) -> StoreError {
    let path = PathBuf::from(place);
    match error.code() {
        Some(&SqlState::DISK_FULL) => StoreError::Full { path, limit: None },
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => StoreError::Permission { path, why: told(error) },
        _ => failed(place, told(error), false),
    }
}

/// With its cause, which says more than the error itself.
pub fn told(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
