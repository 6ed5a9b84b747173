//! The command line: one file per command.

mod backup;
mod check;
mod check_server;
mod demo;
mod export;
mod import;
mod memory;
mod open;
mod remote;
mod schema;
mod serve;
mod source;
mod updates;

use std::path::PathBuf;
use std::process::ExitCode;

use axum::http::{HeaderName, HeaderValue};
use clap::{Args, Parser, Subcommand};
use corollary_engine::updates::OwnBudget;

/// A live data server: declare what your data is and what follows from it; write facts; the rest is kept true.
#[derive(Parser, Debug)]
#[command(name = "corollary", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// A header that goes along with each request to a running server, as "X-Forwarded-User: root"; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", global = true, value_parser = remote::header, env = "COROLLARY_HEADER", hide_env_values = true)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Where schema and data are.
#[derive(Args, Clone, Debug)]
struct Place {
    /// The schema; where there is no such file, the one that the data was last opened with
    #[arg(long, value_name = "FILE", default_value = "schema.cor")]
    schema: PathBuf,
    /// The data folder; created if it is missing
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// A PostgreSQL database instead of the data folder: postgres://user:password@host/database; or `memory`, which keeps nothing
    /// beyond the process
    #[arg(long, value_name = "URL", env = "COROLLARY_STORE", hide_env_values = true)]
    store: Option<String>,
    /// Megabytes of memory for decoded documents; without it an eighth of what there is, 64 to 4,096
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(..=1_048_576))]
    cache_mb: Option<u32>,
    /// Milliseconds that a commit may stand in the journal of the data folder alone, before it is put into the database file too
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    journal_ms: u32,
}

/// The store that keeps nothing beyond the process.
const MEMORY: &str = "memory";

impl Place {
    /// Bytes of memory for decoded documents.
    fn cache_bytes(&self) -> usize {
        (self.cache_mb.unwrap_or_else(memory::cache_mb) as usize) << 20
    }

    /// Where the data is, for messages: never with a password.
    fn shown(&self) -> String {
        self.stored().shown()
    }

    /// Where the data is, without a schema.
    fn stored(&self) -> Stored {
        Stored { data: self.data.clone(), store: self.store.clone() }
    }
}

/// Where data is, for commands that take it as it is.
#[derive(Args, Clone, Debug)]
struct Stored {
    /// The data folder
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// A PostgreSQL database instead of the data folder: postgres://user:password@host/database
    #[arg(long, value_name = "URL", env = "COROLLARY_STORE", hide_env_values = true)]
    store: Option<String>,
}

impl Stored {
    /// For messages: never with a password.
    fn shown(&self) -> String {
        match self.store.as_deref() {
            Some(MEMORY) => "the memory of the process".into(),
            Some(_) => "the database".into(),
            None => self.data.display().to_string(),
        }
    }
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve REST and watch
    Serve {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        options: Box<serve::Options>,
    },
    /// Create resources from the rows of a file
    Import {
        /// The type of the resources
        ty: String,
        /// .csv or .ndjson, with .gz or .zip behind it if it is packed
        file: PathBuf,
        /// A running server; without it the data folder is written
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        /// Where all rejected rows are listed, a line each with the reason; without it the first are told
        #[arg(long, value_name = "FILE")]
        rejects: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Write the facts of a type as NDJSON, one resource a line, as `import` reads it
    Export {
        /// The type of the resources
        ty: String,
        /// The file to write; standard output without it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Derived values too
        #[arg(long)]
        derived: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Write everything at one revision into a file, while others write
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Backup {
        #[command(subcommand)]
        command: Option<BackupCommand>,
        /// The file, which is not there yet
        #[arg(required = true)]
        file: Option<PathBuf>,
        /// A running server; without it the data is read here
        #[arg(long, value_name = "URL", alias = "url", conflicts_with = "data")]
        server: Option<String>,
        #[command(flatten)]
        stored: Stored,
    },
    /// Make the data folder or the tables that a server needs, and nothing else
    Init {
        #[command(flatten)]
        stored: Stored,
    },
    /// Bring a backup into a folder or a database that is empty
    Restore {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        stored: Stored,
    },
    /// Compare stored derived values with what follows from the facts
    Check {
        /// About so many resources of each type; all without it
        #[arg(long, value_name = "N")]
        sample: Option<usize>,
        /// Mend what is wrong
        #[arg(long, conflicts_with = "sample")]
        repair: bool,
        /// Have a running server do it while it serves, as http://127.0.0.1:7437
        #[arg(long, value_name = "URL")]
        server: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// List what a running server is bringing up to date, and follow it
    Updates {
        /// The server
        #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7437")]
        url: String,
        /// List only; without it, on a terminal, bars show the progress of what is open until its end
        #[arg(long)]
        no_follow: bool,
    },
    /// Work on a schema file
    Schema {
        #[command(subcommand)]
        command: SchemaCommand,
    },
    /// Show what Corollary does, on real data
    Demo {
        #[command(subcommand)]
        command: DemoCommand,
    },
}

#[derive(Subcommand, Debug)]
enum BackupCommand {
    /// Tell whether a backup is whole, and what is in it
    Verify {
        /// The file
        file: PathBuf,
    },
}

#[derive(Subcommand, Debug)]
enum SchemaCommand {
    /// List all mistakes, each with its place; or how each derived field is kept true
    Check {
        /// The schema
        #[arg(default_value = "schema.cor")]
        file: PathBuf,
        /// Show how each derived field is kept true
        #[arg(long)]
        plan: bool,
    },
    /// Write the OpenAPI document of what a server of the schema serves
    Openapi {
        /// The schema
        #[arg(default_value = "schema.cor")]
        file: PathBuf,
    },
    /// Tell in words how a derived field is kept true, and what a change of each input costs; what indexes over several
    /// fields answer; and what mounts show
    Explain {
        /// `TYPE.FIELD`, `TYPE` for all of a type, or the path of a mount as it is written; everything without it. A name
        /// that ends in .cor or .json is the file
        what: Option<String>,
        /// The schema, as text or JSON
        file: Option<PathBuf>,
    },
    /// Write the JSON form of a schema to standard output: its syntax tree, comments included
    Json {
        /// The schema, as text or JSON
        #[arg(default_value = "schema.cor")]
        file: PathBuf,
    },
    /// Write the text of a schema to standard output
    Text {
        /// The schema, as text or JSON
        #[arg(default_value = "schema.json")]
        file: PathBuf,
    },
    /// Write the schema in the canonical format
    Fmt {
        /// The schema, as text or JSON
        #[arg(default_value = "schema.cor")]
        file: PathBuf,
        /// Only tell whether it is formatted
        #[arg(long)]
        check: bool,
    },
}

#[derive(Subcommand, Debug)]
enum DemoCommand {
    /// One month of flights from New York City: load, serve, change one, watch what follows
    Flights {
        /// Go on serving when the demonstration is over
        #[arg(long)]
        keep: bool,
    },
}

/// A command that did not do what it was asked: what to tell, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure { message, code: 1 }
    }
}

/// The longest name of a server, in bytes.
const MAX_NODE_NAME_BYTES: usize = 100;

/// Reads the name of a server.
fn node_name(text: &str) -> Result<String, String> {
    let printable = text.chars().all(|c| c.is_ascii_graphic());
    match printable && !text.is_empty() && text.len() <= MAX_NODE_NAME_BYTES {
        true => Ok(text.into()),
        false => {
            Err(format!("a name has 1 to {MAX_NODE_NAME_BYTES} letters, digits and signs, and no space"))
        }
    }
}

/// Reads the budget of a type or a field.
fn own_budget(text: &str) -> Result<OwnBudget, String> {
    let malformed = || format!("`{text}` is not TYPE=N or TYPE.FIELD=N, such as Order.label=5000");
    let (of, resources) = text.split_once('=').ok_or_else(malformed)?;
    let resources = resources.parse().map_err(|_| malformed())?;
    let (ty, field) = match of.split_once('.') {
        Some((ty, field)) => (ty, Some(field.into())),
        None => (of, None),
    };
    Ok(OwnBudget { ty: ty.into(), field, resources })
}

/// What the arguments of a program say, as it understands them; nothing is done. Where the data is it tells as messages do.
///
/// # Errors
///
/// What is wrong with them, as it is told.
pub fn understood(arguments: &[String]) -> Result<(String, Option<String>), String> {
    let program = std::iter::once("corollary").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(program).map_err(|error| error.to_string())?;
    let place = match &cli.command {
        Command::Serve { place, .. }
        | Command::Import { place, .. }
        | Command::Export { place, .. }
        | Command::Check { place, .. } => Some(place.shown()),
        Command::Backup { stored, .. } | Command::Init { stored } | Command::Restore { stored, .. } => {
            Some(stored.shown())
        }
        _ => None,
    };
    Ok((format!("{:?}", cli.command), place))
}

/// Makes a store without anything in it.
fn init(stored: &Stored) -> Result<(), Failure> {
    let store = open::new_store(stored)?;
    println!("the {} store in {} is ready for a server", store.name(), stored.shown());
    Ok(())
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    remote::send_along(cli.headers);
    let outcome = match cli.command {
        Command::Serve { place, options } => serve::run(&place, &options),
        Command::Import { ty, file, url, rejects, place } => {
            import::run(&ty, &file, url.as_deref(), rejects.as_deref(), &place)
        }
        Command::Export { ty, out, derived, place } => export::run(&ty, out.as_deref(), derived, &place),
        Command::Check { sample, repair, server: Some(url), .. } => check_server::run(&url, sample, repair),
        Command::Check { sample, repair, server: None, place } => check::run(&place, sample, repair),
        Command::Backup { command: Some(BackupCommand::Verify { file }), .. } => backup::verify(&file),
        Command::Backup { command: None, file, server, stored } => {
            backup::run(&file.unwrap_or_default(), server.as_deref(), &stored)
        }
        Command::Init { stored } => init(&stored),
        Command::Restore { file, stored } => backup::restore(&file, &stored),
        Command::Updates { url, no_follow } => updates::run(&url, !no_follow),
        Command::Schema { command: SchemaCommand::Check { file, plan } } => schema::check(&file, plan),
        Command::Schema { command: SchemaCommand::Openapi { file } } => schema::openapi(&file),
        Command::Schema { command: SchemaCommand::Explain { what, file } } => {
            schema::explain(what.as_deref(), file.as_deref())
        }
        Command::Schema { command: SchemaCommand::Json { file } } => schema::json(&file),
        Command::Schema { command: SchemaCommand::Text { file } } => schema::text(&file),
        Command::Schema { command: SchemaCommand::Fmt { file, check } } => schema::fmt(&file, check),
        Command::Demo { command: DemoCommand::Flights { keep } } => demo::flights(keep),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
