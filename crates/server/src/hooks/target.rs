//! Where the events of a hook go, and how they are delivered there.
//!
//! | `url` | events go | order |
//! |---|---|---|
//! | `https://…`, `http://…` | to a receiver, each as a signed POST ([`super::send`]) | of each resource |
//! | `nats://…`, `tls://…` | to a stream of JetStream ([`super::nats`]) | of each resource |
//! | `file:NAME` | to a file, a line each ([`super::file`]) | of the log |

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::file::{self, Sink};
use super::hook::{Hook, no_address};
use super::lanes::Event;
use super::nats;
use super::send::{Answer, Outcome, send};
use super::state::Told;
use crate::outgoing::Connections;

/// Events that are written to a file together, at most.
const FILE_EVENTS: usize = 512;

/// Where the events of a hook go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a receiver, over HTTP.
    Http,
    /// To a file of this name, in the folder of the server for that.
    File(String),
    /// To a stream.
    Nats(nats::Address),
}

impl Target {
    /// Reads the `url` of a hook.
    ///
    /// # Errors
    ///
    /// Why nothing can be delivered there.
    pub fn parse(url: &str) -> Result<Target, String> {
        let told = |why: String| format!("`{url}` is no address: {why}");
        match url.split_once(':') {
            Some(("file", name)) => {
                file::check_name(name).map_err(told)?;
                Ok(Target::File(name.to_owned()))
            }
            Some((scheme @ ("nats" | "tls"), rest)) => {
                let rest = rest.strip_prefix("//").unwrap_or_default();
                Ok(Target::Nats(nats::Address::parse(rest, scheme == "tls").map_err(told)?))
            }
            Some(("http" | "https", _)) => no_address(url).map_or(Ok(Target::Http), Err),
            _ => Err(told("it has the form https://host/path, nats://host:port/SUBJECT or file:NAME".into())),
        }
    }

    /// Does everything stay in the order of the log?
    pub fn is_in_order(&self) -> bool {
        matches!(self, Target::File(_))
    }

    /// How many events are delivered together, at most.
    pub fn at_a_time(&self) -> usize {
        if self.is_in_order() { FILE_EVENTS } else { 1 }
    }

    /// Is what was tried for long enough given up, so that others go on? What comes later in a file stands behind what came before.
    pub fn gives_up(&self) -> bool {
        !self.is_in_order()
    }
}

/// The way to where events go.
#[derive(Clone)]
pub enum Way {
    /// Over HTTP.
    Http(Box<Connections>),
    /// To a file.
    File(Arc<Mutex<Sink>>),
    /// To a stream.
    Nats(nats::Client),
}

impl Way {
    /// The way of a hook; none where this server has no folder for files. Within a runtime.
    pub fn of(hook: &Hook, client: &Connections, folder: Option<&Path>) -> Option<Way> {
        Some(match Target::parse(&hook.url).unwrap_or(Target::Http) {
            Target::Http => Way::Http(Box::new(client.clone())),
            Target::File(name) => Way::File(Arc::new(Mutex::new(Sink::new(folder?.join(name))))),
            Target::Nats(address) => {
                let wait = Duration::from_secs_f64(hook.timeout_seconds);
                Way::Nats(nats::Client::new(address, &hook.id, &hook.headers, wait))
            }
        })
    }

    /// Tries to deliver some events: all of them are taken, or none.
    pub async fn deliver(&self, hook: &Hook, events: &[Event]) -> Outcome {
        let [event, ..] = events else { return Outcome::default() };
        let (at, begun) = (Timestamp::now(), Instant::now());
        let outcome = match self {
            Way::Http(client) => return send(client, hook, event).await,
            Way::Nats(client) => client.publish(event).await,
            Way::File(sink) => {
                let (sink, lines) = (sink.clone(), file::lines(events));
                let written = spawn_blocking(move || sink.lock().append(&lines)).await;
                written.unwrap_or_else(|error| Err(error.to_string()))
            }
        };
        let answer = if outcome.is_ok() { Answer::Taken } else { Answer::Failed(None) };
        let told = Told {
            id: event.id.clone(),
            at,
            milliseconds: begun.elapsed().as_millis() as u64,
            status: None,
            error: outcome.err(),
            attempt: event.attempts,
        };
        Outcome { told, answer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_how_it_is_delivered() {
        assert_eq!(Target::parse("https://a.example/in"), Ok(Target::Http));
        assert_eq!(Target::parse("file:orders.ndjson"), Ok(Target::File("orders.ndjson".into())));
        assert!(matches!(Target::parse("tls://a.example/orders"), Ok(Target::Nats(_))));
        for wrong in [
            "",
            "x",
            "ftp://x/y",
            "file:",
            "file:../x",
            "file:///etc/x",
            "nats:x/y",
            "nats://x",
            "https://me:pw@x/y",
        ] {
            Target::parse(wrong).expect_err(wrong);
        }
    }
}
