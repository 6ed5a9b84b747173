//! PostGraphile over the tables of the benchmark's PostgreSQL: the same reads by GraphQL over HTTP. It comes from npm, into
//! a folder that is removed at the end; where npm is not there, or cannot fetch it, the benchmark goes without it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::http::Connection;
use super::options::Options;
use super::postgres::{Postgres, free_port};
use super::process::{self, Running};
use super::{Result, progress};

/// The last version that runs with each release of Node that is kept up.
const PACKAGE: &str = "postgraphile@4.14.1";

/// How long it may take to read the tables.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections to the database: as many as it is asked over at once, so that none waits for one.
const POOL: &str = "32";

/// A server of its own; see the module.
pub struct Postgraphile {
    // Stopped before its folder goes.
    _server: Running,
    address: SocketAddr,
    _folder: TempDir,
}

impl Postgraphile {
    /// Installs and starts it; none where that is not possible here, which is told.
    pub fn start(postgres: &Postgres, options: &Options) -> Result<Option<Postgraphile>> {
        process::check()?;
        let folder = tempfile::Builder::new().prefix("corollary-bench-npm-").tempdir_in(&options.dir)?;
        progress("installing PostGraphile");
        let mut install = Command::new("npm");
        install
            .args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"])
            .arg(folder.path())
            .arg(PACKAGE);
        if let Err(error) = process::run(install) {
            process::check()?;
            progress(&format!("without PostGraphile: {error}"));
            return Ok(None);
        }
        let port = free_port()?;
        let mut server = Command::new("node");
        server.arg(folder.path().join("node_modules/.bin/postgraphile"));
        server.args(["--connection", &postgres.url(), "--schema", "public", "--host", "127.0.0.1"]);
        server.args(["--port", &port.to_string(), "--max-pool-size", POOL]);
        server.args(["--disable-query-log", "--disable-graphiql"]).env("NODE_ENV", "production");
        server.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Running::start(server, Signal::TERM)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let deadline = Instant::now() + START_TIMEOUT;
        while ask(address, "{__typename}").is_err() {
            process::tick()?;
            if server.ended()?.is_some() || Instant::now() > deadline {
                return Err("PostGraphile did not start".into());
            }
        }
        Ok(Some(Postgraphile { _server: server, address, _folder: folder }))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The body of a request for a query.
pub fn body(query: &str) -> String {
    serde_json::json!({ "query": query }).to_string()
}

fn ask(address: SocketAddr, query: &str) -> Result<()> {
    Connection::open(address)?.send("POST", "/graphql", &body(query))?.success().map(drop)
}
