//! Databases that run within the program that uses them, as peers: a program of Node (`bench/peers/drive.mjs`, with a module
//! for each) has one in a folder of its own, and puts the load on it without a way between. They come from npm; where npm is
//! not there, or cannot fetch one, the benchmark goes without it.

use std::cell::Cell;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::http::{Connection, Response};
use super::options::Options;
use super::peers::Peer;
use super::sample::{SHARES, Sample};
use super::served::{Served, free_address};
use super::{Result, packages, process, progress, record, root};

/// Orders that are created at a time.
const FILL: u64 = 10_000;

/// What a database is called, where it comes from, and what is to be known of its numbers.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// The module in `bench/peers`.
    module: &'static str,
    /// Of npm, with their versions.
    packages: &'static [&'static str],
    about: &'static str,
}

/// SurrealDB over RocksDB.
pub const SURREALDB: Kind = Kind {
    name: "SurrealDB",
    module: "surrealdb",
    packages: &["@surrealdb/node@3.0.3", "surrealdb@2.0.8"],
    about: "SurrealDB: in process over RocksDB, each commit synced (`sync=every`); a grouped view; UPDATE by SurrealQL.",
};

/// pg_ivm in PGlite.
pub const PGLITE: Kind = Kind {
    name: "pg_ivm in PGlite",
    module: "pglite",
    packages: &["@electric-sql/pglite@0.5.14", "@electric-sql/pglite-pg_ivm@0.0.15"],
    about: "pg_ivm in PGlite: in process over a folder, one query at a time; an incrementally maintained view. It never syncs, \
            though fsync is on: a loss of power may take what it has confirmed, so its numbers are without what a sync costs.",
};

/// One that is ready.
pub struct InProcess {
    kind: Kind,
    served: Served,
    retries: Cell<u64>,
}

impl InProcess {
    /// Installs, starts and fills it; none where that is not possible here, which is told.
    pub fn start(kind: Kind, options: &Options) -> Result<Option<InProcess>> {
        let Some(folder) = packages::npm(kind.name, kind.packages, options)? else { return Ok(None) };
        // Modules find the packages that stand beside them.
        for file in ["drive".to_owned(), kind.module.to_owned()].map(|name| format!("{name}.mjs")) {
            let from = root().join("bench/peers").join(&file);
            fs::copy(&from, folder.path().join(&file))
                .map_err(|error| format!("{}: {error}", from.display()))?;
        }
        let address = free_address()?;
        let mut node = Command::new("node");
        node.arg(folder.path().join("drive.mjs")).arg(kind.module);
        node.arg(folder.path().join("data")).arg(address.port().to_string()).env("NODE_ENV", "production");
        let is_ready = || Connection::open(address).is_ok();
        let served = Served::start(kind.name, node, address, folder, is_ready)?;
        let peer = InProcess { kind, served, retries: Cell::new(0) };
        let about = peer.ask("GET", "/about", &Json::Null)?;
        record::machine(&format!("{:<11} {}", kind.name, about["about"].as_str().unwrap_or_default()));
        peer.fill(options)?;
        Ok(Some(peer))
    }

    fn fill(&self, options: &Options) -> Result<()> {
        progress(&format!("filling {}", self.kind.name));
        let Options { orders, customers, .. } = *options;
        for from in (1..=orders).step_by(FILL as usize) {
            let to = orders.min(from + FILL - 1);
            self.ask("POST", "/fill", &json!({"from": from, "to": to, "customers": customers}))?;
        }
        self.ask("POST", "/settle", &Json::Null).map(drop)
    }

    fn ask(&self, method: &str, path: &str, body: &Json) -> Result<Json> {
        process::check()?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let sent = Connection::open(self.served.address())?.send(method, path, &body);
        // What was broken off by an interrupt is no error of the peer.
        process::check()?;
        let answer = sent.and_then(Response::success);
        let answer = answer.map_err(|error| format!("{}, {path}: {error}", self.kind.name))?;
        serde_json::from_str(&answer.body).map_err(|error| format!("{path}: {error}").into())
    }
}

impl Peer for InProcess {
    fn name(&self) -> &'static str {
        self.kind.name
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = vec![self.kind.about.to_owned()];
        if self.retries.get() > 0 {
            let (name, retries) = (self.kind.name, self.retries.get());
            notes.push(format!(
                "Writes that {name} had begin again, for another one of the same customer: {retries}."
            ));
        }
        notes
    }

    fn turn(&self, connections: usize, options: &Options) -> Result<Sample> {
        let seconds = options.interval.as_secs_f64();
        let turn = json!({"writers": connections, "seconds": seconds, "shares": SHARES});
        let answer = self.ask("POST", "/turn", &turn)?;
        let retries = answer["retries"].as_u64().unwrap_or_default();
        self.retries.set(self.retries.get() + retries);
        sample(&answer).ok_or_else(|| format!("{} told no numbers: {answer}", self.kind.name).into())
    }

    fn wrong(&self) -> Result<[u64; 2]> {
        let answer = self.ask("GET", "/wrong", &Json::Null)?;
        let number = |name: &str| answer[name].as_u64().ok_or_else(|| format!("no `{name}` in {answer}"));
        Ok([number("wrong")?, number("customers")?])
    }
}

/// What a turn did, as it is told; none where anything is missing.
fn sample(answer: &Json) -> Option<Sample> {
    let per_second = answer["answered"].as_u64()? as f64 / answer["seconds"].as_f64()?;
    let within: Vec<f64> = answer["within_us"].as_array()?.iter().map(Json::as_f64).collect::<Option<_>>()?;
    let within: [f64; SHARES.len()] = within.try_into().ok()?;
    let of = |share: f64| {
        let at = SHARES.iter().position(|known| *known == share).unwrap_or(SHARES.len() - 1);
        Duration::from_secs_f64(within[at] / 1e6)
    };
    Some(Sample::of(per_second, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_did_is_read() {
        let within: Vec<f64> = (1..=SHARES.len()).map(|at| at as f64 * 1000.0).collect();
        let answer = json!({"answered": 600, "seconds": 2, "within_us": within, "retries": 0});
        let sample = sample(&answer).unwrap();
        assert_eq!(sample.per_second, 300.0);
        let millis = Duration::from_millis;
        assert_eq!([sample.p50, sample.p99, sample.max], [millis(3), millis(7), millis(9)]);
        assert_eq!(sample.latencies[0], millis(1));
    }

    #[test]
    fn a_turn_without_all_its_numbers_is_none() {
        for answer in [
            json!({}),
            json!({"answered": 600, "seconds": 2, "within_us": [1.0]}),
            json!({"answered": 600, "within_us": SHARES}),
            json!({"answered": 600, "seconds": 2, "within_us": vec!["1"; SHARES.len()]}),
        ] {
            assert_eq!(sample(&answer), None, "{answer}");
        }
    }
}
