//! `fanout`: rename a customer whose name is copied onto 100,000 orders. How long the writer waits, whether every read is
//! exact from then on, and how long until all copies are stored. Then once more while others write at a stated rate: what
//! they wait before and meanwhile.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::http::Connection;
use super::options::Options;
use super::postgres::Postgres;
use super::sample::{Sample, middle};
use super::shop::Shop;
use super::table::{Aim, Table, ratio, time};
use super::work::Random;
use super::{Result, process, progress};

/// The reply's aim.
const REPLY: Duration = Duration::from_millis(10);

/// The aim of all copies being stored.
const STORED: Duration = Duration::from_millis(500);

/// How many orders are read from the reply on, beside the update; each must show the new name.
const READS: usize = 10_000;

/// Writes in a second beside the renames at the end.
const PER_SECOND: u32 = 1_000;

/// How long the store has to put what was written before into its place, so that writers are measured beside nothing.
const REST: Duration = Duration::from_secs(10);

/// The most by which what 99 of 100 writers wait may grow while copies are stored.
const SLOWER: f64 = 2.0;

/// How long the update may take at all.
const STORE_TIMEOUT: Duration = Duration::from_secs(300);

/// A rename while others write: what they waited before and meanwhile, and until all copies are stored.
struct Busy {
    before: Sample,
    meanwhile: Sample,
    stored: Duration,
}

/// One rename: until the reply, and until all copies are stored.
struct Rename {
    reply: Duration,
    stored: Duration,
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let shop = Shop::open(options, options.hub)?;
    let hub = options.customers + 1;
    let mut random = Random::new(1);
    let (mut postgres, mut corollary) = (Vec::new(), Vec::new());
    // The first round warms the caches and is not counted.
    for round in 0..=options.rounds {
        progress(&format!("rename {round} of {}", options.rounds));
        let name = format!("Hub {round}");
        if let Some(side) = shop.postgres() {
            postgres.push(rename_postgres(side, hub, &name)?);
        }
        if let Some(side) = shop.corollary() {
            corollary.push(rename_corollary(side.address(), hub, options, &name, &mut random)?);
        }
    }
    let mut writers: Vec<Vec<Busy>> = options.shares.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for (share, writers) in options.shares.iter().zip(&mut writers) {
            if shop.corollary().is_some() {
                progress(&format!("rename {round} of {} while others write, {share}%", options.rounds));
                let name = format!("Busy hub {round} {share}");
                writers.push(rename_among_writers(&shop, hub, &name, *share, options)?);
            }
        }
    }
    let title = format!("fanout: rename a customer with {} orders", options.hub);
    let mut table = Table::new(title, &["until", "Corollary", "PostgreSQL", "ratio", "aim", "met"]);
    let mut row = |what: &str, of: fn(&Rename) -> Duration, limit: Duration| {
        let (corollary, postgres) = (median(&corollary, of), median(&postgres, of));
        let times = corollary.zip(postgres).map(|(c, p)| p.as_secs_f64() / c.as_secs_f64());
        let aim = Aim::new(format!("< {} ms", limit.as_millis()), corollary.map(|took| took < limit));
        let [aim, met] = aim.cells();
        table.row(vec![what.to_owned(), time(corollary), time(postgres), ratio(times), aim, met]);
    };
    row("the reply", |rename| rename.reply, REPLY);
    row("all copies are stored", |rename| rename.stored, STORED);
    for (share, writers) in options.shares.iter().zip(&writers) {
        let of = |of: fn(&Busy) -> Duration| {
            let seconds: Vec<f64> = writers.iter().map(|busy| of(busy).as_secs_f64()).collect();
            (!seconds.is_empty()).then(|| Duration::from_secs_f64(middle(seconds)))
        };
        let (before, meanwhile) = (of(|busy| busy.before.p99), of(|busy| busy.meanwhile.p99));
        let slower = before.zip(meanwhile).map(|(before, now)| now.as_secs_f64() / before.as_secs_f64());
        let aim = Aim::new(format!("< {SLOWER}x of before"), slower.map(|it| it < SLOWER));
        for (what, took, aim) in [
            ("p99 of writers before", before, Aim::none()),
            ("p99 of writers meanwhile", meanwhile, aim),
            ("all copies are stored meanwhile", of(|busy| busy.stored), Aim::none()),
        ] {
            let [aim, met] = aim.cells();
            table.row(vec![format!("{what}, {share}%"), time(took), time(None), ratio(None), aim, met]);
        }
    }
    if !corollary.is_empty() {
        table.note(format!(
            "From each of Corollary's replies on {READS} random copies were read; all were exact."
        ));
    }
    shop.finish(table)
}

/// The median of the rounds that count.
fn median(renames: &[Rename], of: fn(&Rename) -> Duration) -> Option<Duration> {
    let seconds: Vec<f64> = renames.iter().skip(1).map(|rename| of(rename).as_secs_f64()).collect();
    (!seconds.is_empty()).then(|| Duration::from_secs_f64(middle(seconds)))
}

/// PostgreSQL's copies are stored when the statement ends.
fn rename_postgres(postgres: &Postgres, hub: u64, name: &str) -> Result<Rename> {
    let text = format!("\\timing on\nUPDATE customers SET name = '{name}' WHERE id = {hub};\n");
    let reply = timing(&postgres.script(&text)?.stdout)?;
    Ok(Rename { reply, stored: reply })
}

/// The time that psql's `\timing` printed: `Time: 812.345 ms (00:00.812)`.
fn timing(printed: &str) -> Result<Duration> {
    let millis =
        printed.lines().find_map(|line| line.strip_prefix("Time: ")?.split(' ').next()?.parse().ok());
    let millis: f64 = millis.ok_or_else(|| format!("psql printed no time:\n{printed}"))?;
    Ok(Duration::from_secs_f64(millis / 1e3))
}

fn rename_corollary(
    address: SocketAddr,
    hub: u64,
    options: &Options,
    name: &str,
    random: &mut Random,
) -> Result<Rename> {
    let mut connection = Connection::open(address)?;
    let started = Instant::now();
    let path = format!("/api/customers/c{hub}");
    let response = connection.send("PATCH", &path, &format!("{{\"name\":\"{name}\"}}"))?.success()?;
    let reply = started.elapsed();
    // What the reply does not name as still running was stored with it.
    let open = response.header("Corollary-Updates").is_some();
    std::thread::scope(|scope| {
        let watching = scope.spawn(move || {
            if open { stored(address, started).map_err(|error| error.to_string()) } else { Ok(reply) }
        });
        for _ in 0..READS {
            let path = format!("/api/orders/o{}", options.orders + 1 + random.below(options.hub));
            let order = json(&connection.send("GET", &path, "")?.success()?.body)?;
            if order["customer_name"] != name {
                return Err(format!("{path} does not show the new name {name}: {order}").into());
            }
        }
        let stored = watching.join().map_err(|_| "the one who watched the update panicked")??;
        Ok(Rename { reply, stored })
    })
}

/// The hub gets a name while others write: those before it, and those from then on until all copies are stored.
fn rename_among_writers(shop: &Shop, hub: u64, name: &str, share: usize, options: &Options) -> Result<Busy> {
    let address = shop.corollary().ok_or("there is no Corollary")?.address();
    let mut connection = Connection::open(address)?;
    connection.send("PATCH", "/api/_updates", &format!("{{\"share\":{share}}}"))?.success()?;
    std::thread::sleep(REST);
    let before = shop.write(PER_SECOND, &|| false, options)?;
    let is_stored = AtomicBool::new(false);
    let (meanwhile, stored) = std::thread::scope(|scope| -> Result<(Sample, Duration)> {
        let renaming = scope.spawn(|| {
            let rename = || -> Result<Duration> {
                let mut connection = Connection::open(address)?;
                let path = format!("/api/customers/c{hub}");
                connection.send("PATCH", &path, &format!("{{\"name\":\"{name}\"}}"))?.success()?;
                stored(address, Instant::now())
            };
            let renamed = rename().map_err(|error| error.to_string());
            is_stored.store(true, Ordering::Release);
            renamed
        });
        let options = Options { interval: STORE_TIMEOUT, ..options.clone() };
        let sample = shop.write(PER_SECOND, &|| is_stored.load(Ordering::Acquire), &options)?;
        let stored = renaming.join().map_err(|_| "the one who renamed the hub panicked")??;
        Ok((sample, stored))
    })?;
    Ok(Busy { before, meanwhile, stored })
}

/// How long it took until no update was open any more.
pub fn stored(address: SocketAddr, started: Instant) -> Result<Duration> {
    let mut connection = Connection::open(address)?;
    while !all_stored(&mut connection)? {
        process::tick()?;
        if started.elapsed() > STORE_TIMEOUT {
            return Err(format!("the copies were not stored within {} s", STORE_TIMEOUT.as_secs()).into());
        }
    }
    Ok(started.elapsed())
}

/// Whether no update is open.
pub fn all_stored(connection: &mut Connection) -> Result<bool> {
    let updates = json(&connection.send("GET", "/api/_updates", "")?.success()?.body)?;
    let list = updates["results"].as_array().ok_or_else(|| format!("no list of updates: {updates}"))?;
    Ok(!list.iter().any(|update| update["state"] == "waiting" || update["state"] == "running"))
}

fn json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| format!("not JSON ({error}): {text}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_statement_is_read() {
        assert_eq!(timing("Time: 812.5 ms\n").unwrap(), Duration::from_micros(812_500));
        assert_eq!(timing("Time: 1812.000 ms (00:01.812)\n").unwrap(), Duration::from_millis(1812));
        assert!(timing("UPDATE 1\n").is_err());
    }
}
