//! PostGraphile over the tables of the benchmark's PostgreSQL: the same reads by GraphQL over HTTP. It comes from npm, into
//! a folder that is removed at the end; where npm is not there, or cannot fetch it, the benchmark goes without it.

use std::net::SocketAddr;
use std::process::Command;

use super::http::Connection;
use super::options::Options;
use super::postgres::Postgres;
use super::served::{Served, free_address};
use super::{Result, packages};

/// The last version that runs with each release of Node that is kept up.
const PACKAGE: &str = "postgraphile@4.14.1";

/// Connections to the database: as many as it is asked over at once, so that none waits for one.
const POOL: &str = "32";

/// A server of its own; see the module.
pub struct Postgraphile(Served);

impl Postgraphile {
    /// Installs and starts it; none where that is not possible here, which is told.
    pub fn start(postgres: &Postgres, options: &Options) -> Result<Option<Postgraphile>> {
        let Some(folder) = packages::npm("PostGraphile", &[PACKAGE], options)? else { return Ok(None) };
        let address = free_address()?;
        let mut server = Command::new("node");
        server.arg(folder.path().join("node_modules/.bin/postgraphile"));
        server.args(["--connection", &postgres.url(), "--schema", "public", "--host", "127.0.0.1"]);
        server.args(["--port", &address.port().to_string(), "--max-pool-size", POOL]);
        server.args(["--disable-query-log", "--disable-graphiql"]).env("NODE_ENV", "production");
        let is_ready = || ask(address, "{__typename}").is_ok();
        let served = Served::start("PostGraphile", server, address, folder, is_ready)?;
        Ok(Some(Postgraphile(served)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// The body of a request for a query.
pub fn body(query: &str) -> String {
    serde_json::json!({ "query": query }).to_string()
}

fn ask(address: SocketAddr, query: &str) -> Result<()> {
    Connection::open(address)?.send("POST", "/graphql", &body(query))?.success().map(drop)
}
