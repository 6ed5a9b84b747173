//! `bootstrap`: a new derived field over all orders, while others write. How long until every order has it, and what the
//! writers wait meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::fanout::all_stored;
use super::http::Connection;
use super::options::Options;
use super::postgres::Postgres;
use super::sample::{Sample, middle};
use super::shop::Shop;
use super::table::{Aim, Table, ratio, time};
use super::{Result, process, progress, root};

/// The aim of all orders having the field.
const FILLED: Duration = Duration::from_secs(3);

/// The aim of what 99 of 100 writers wait at most meanwhile.
const WRITERS: Duration = Duration::from_millis(20);

/// The order of the schema of `bench/point.cor` where the field comes in.
const LAST_FIELD: &str = "customer_name := self.customer.name";

/// How long it may take at all.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The field, once.
struct Filling {
    /// Until all orders have it.
    filled: Duration,
    /// The writers before it, and while it was filled; none where nobody could write.
    writers: Option<[Sample; 2]>,
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut shop = Shop::open(options, 0)?;
    let (mut postgres, mut corollary) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        progress(&format!("field {} of {}", round + 1, options.rounds));
        if let Some(side) = shop.postgres() {
            postgres.push(fill_postgres(side, round)?);
        }
        if shop.corollary().is_some() {
            corollary.push(fill_corollary(&mut shop, round, options)?);
        }
    }
    let title = format!("bootstrap: a new derived field over {} orders", options.orders);
    let mut table = Table::new(title, &["what", "Corollary", "PostgreSQL", "ratio", "aim", "met"]);
    let (mine, theirs) = (median(&corollary, |it| Some(it.filled)), median(&postgres, |it| Some(it.filled)));
    let times = mine.zip(theirs).map(|(mine, theirs)| theirs.as_secs_f64() / mine.as_secs_f64());
    let aim = Aim::new(format!("< {} s", FILLED.as_secs()), mine.map(|took| took < FILLED));
    let [aim, met] = aim.cells();
    table.row(vec!["all orders have it".into(), time(mine), time(theirs), ratio(times), aim, met]);
    let p99 = |at: usize| median(&corollary, |it| it.writers.map(|samples| samples[at].p99));
    for (what, at, limit) in
        [("p99 of writers before", 0, None), ("p99 of writers meanwhile", 1, Some(WRITERS))]
    {
        let took = p99(at);
        let aim = limit.map_or_else(Aim::none, |limit| {
            Aim::new(format!("< {} ms", limit.as_millis()), took.map(|took| took < limit))
        });
        let [aim, met] = aim.cells();
        // PostgreSQL lets nobody write while it rewrites the table.
        table.row(vec![what.into(), time(took), time(None), ratio(None), aim, met]);
    }
    shop.finish(table)
}

/// The median of what the rounds tell.
fn median(rounds: &[Filling], of: impl Fn(&Filling) -> Option<Duration>) -> Option<Duration> {
    let seconds: Vec<f64> = rounds.iter().filter_map(of).map(|took| took.as_secs_f64()).collect();
    (!seconds.is_empty()).then(|| Duration::from_secs_f64(middle(seconds)))
}

/// PostgreSQL's way to have a derived column over a table that is there: the statement ends when every row has it.
fn fill_postgres(postgres: &Postgres, round: usize) -> Result<Filling> {
    let column =
        format!("ALTER TABLE orders ADD COLUMN fee{round} bigint GENERATED ALWAYS AS (amount * 2) STORED;\n");
    let started = Instant::now();
    postgres.script(&column)?;
    Ok(Filling { filled: started.elapsed(), writers: None })
}

/// The server is started with a schema that has one field more. It fills the field while it serves.
fn fill_corollary(shop: &mut Shop, round: usize, options: &Options) -> Result<Filling> {
    let connections = options.most_connections();
    let before = shop.write(connections, &|| false, options)?;
    let schema = std::fs::read_to_string(root().join("bench/point.cor"))?;
    let fields: String = (0..=round).map(|at| format!("\n  fee{at} := self.amount * 2")).collect();
    let schema = schema.replacen(LAST_FIELD, &format!("{LAST_FIELD}{fields}"), 1);
    shop.serve_with(&schema)?;
    let started = Instant::now();
    let address = shop.corollary().ok_or("there is no Corollary")?.address();
    let is_filled = AtomicBool::new(false);
    let (meanwhile, filled) = std::thread::scope(|scope| -> Result<(Sample, Duration)> {
        let watching = scope.spawn(|| {
            let filled = filled(address, started).map_err(|error| error.to_string());
            is_filled.store(true, Ordering::Release);
            filled
        });
        let sample = shop.write(connections, &|| is_filled.load(Ordering::Acquire), options)?;
        let filled = watching.join().map_err(|_| "the one who watched the update panicked")??;
        Ok((sample, filled))
    })?;
    Ok(Filling { filled, writers: Some([before, meanwhile]) })
}

/// How long it took until no update was open any more.
fn filled(address: std::net::SocketAddr, started: Instant) -> Result<Duration> {
    let mut connection = Connection::open(address)?;
    while !all_stored(&mut connection)? {
        process::tick()?;
        if started.elapsed() > TIMEOUT {
            return Err(format!("the field was not filled within {} s", TIMEOUT.as_secs()).into());
        }
    }
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_has_the_field_that_the_new_one_stands_behind() {
        let schema = std::fs::read_to_string(root().join("bench/point.cor")).unwrap();
        assert_eq!(schema.matches(LAST_FIELD).count(), 1);
    }
}
