//! What the server writes to standard error while it runs: warnings, and, where it is asked to, a line for each request, and
//! for each step of what the engine does for it.
//!
//! Lines are written by a thread of their own, so that nobody waits for the terminal. One that does not keep up loses
//! lines rather than requests.

use std::io::{IsTerminal, stderr};

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;
use tracing_subscriber::fmt::format::FmtSpan;

/// What the lines of the access log belong to; `--log access=info` writes them.
pub const ACCESS: &str = "access";

/// What the spans of requests belong to; `--log spans=debug` tells them with those of the engine (`corollary_engine::spans`),
/// a line for each when it has ended.
pub const REQUEST: &str = "spans::request";

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// A JSON object each.
    Json,
}

/// Begins to log what passes the filter: `warn`, or by target as `warn,access=info`. What is held back goes out when the
/// guard is dropped.
///
/// # Errors
///
/// A filter that is none, in a sentence.
pub fn begin(filter: &str, form: Form) -> Result<WorkerGuard, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("`{filter}` is no filter: {error}"))?;
    let (writer, guard) = tracing_appender::non_blocking(stderr());
    let lines =
        Subscriber::builder().with_env_filter(filter).with_writer(writer).with_span_events(FmtSpan::CLOSE);
    let begun = match form {
        Form::Text => {
            tracing::subscriber::set_global_default(lines.with_ansi(stderr().is_terminal()).finish())
        }
        Form::Json => tracing::subscriber::set_global_default(lines.json().flatten_event(true).finish()),
    };
    // A second server in one process logs as the first one does.
    let _ = begun;
    Ok(guard)
}
