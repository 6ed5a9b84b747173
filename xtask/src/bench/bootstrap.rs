//! `bootstrap`: a new derived field over data that is there, while others write: how long until everybody has it, and what
//! the writers wait before and meanwhile. Once a sum of the orders of each customer, once a field of each order.
//!
//! The writers set the amounts of random orders at a stated rate, whatever is answered, so a side that lets nobody write
//! has its writers wait instead of writing less.

use std::net::SocketAddr;
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

/// The aim of everybody having the field.
const FILLED: Duration = Duration::from_secs(3);

/// The aim of what 99 of 100 writers wait at most meanwhile.
const WRITERS: Duration = Duration::from_millis(20);

/// Writes in a second.
const PER_SECOND: u32 = 1_000;

/// How long it may take at all.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How long writers write before a field is added.
const HEAD_START: Duration = Duration::from_millis(500);

/// A new field on both sides; `{n}` stands for the number of the round.
struct Field {
    /// How it stands in the table.
    name: &'static str,
    /// The field of `bench/point.cor` that it comes behind.
    behind: &'static str,
    /// What comes there.
    field: &'static str,
    /// PostgreSQL's way to have it over rows that are there, and keep it true from then on.
    sql: &'static str,
    /// How many rows of PostgreSQL do not have what their facts say.
    wrong: &'static str,
}

/// A sum for each customer. In PostgreSQL it is kept by a trigger, as `total` is, and filled in the transaction that makes
/// the trigger.
const SUM: Field = Field {
    name: "sum{n} := sum(self.orders.amount) on customers",
    behind: "n       := count(self.orders)",
    field: "sum{n} := sum(self.orders.amount)",
    sql: "
        ALTER TABLE customers ADD COLUMN sum{n} bigint NOT NULL DEFAULT 0;
        CREATE FUNCTION order_sums{n}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          UPDATE customers SET sum{n} = sum{n} + coalesce(NEW.amount, 0) - coalesce(OLD.amount, 0)
          WHERE id = NEW.customer;
          RETURN NULL;
        END $$;
        BEGIN;
        CREATE TRIGGER order_sums{n} AFTER UPDATE OF amount ON orders
          FOR EACH ROW WHEN (NEW.amount IS DISTINCT FROM OLD.amount) EXECUTE FUNCTION order_sums{n}();
        UPDATE customers SET sum{n} = o.sum
          FROM (SELECT customer, sum(amount) AS sum FROM orders GROUP BY customer) AS o WHERE o.customer = id;
        COMMIT;",
    wrong: "SELECT count(*) FROM customers AS c JOIN
        (SELECT customer, sum(amount) AS sum FROM orders GROUP BY customer) AS o ON o.customer = c.id
        WHERE o.sum <> c.sum{n};",
};

/// A field of each order.
const EACH: Field = Field {
    name: "fee{n} := self.amount * 2 on orders",
    behind: "customer_name := self.customer.name",
    field: "fee{n} := self.amount * 2",
    sql: "ALTER TABLE orders ADD COLUMN fee{n} bigint GENERATED ALWAYS AS (amount * 2) STORED;",
    wrong: "SELECT count(*) FROM orders WHERE fee{n} <> amount * 2;",
};

/// A field, once.
struct Filling {
    /// Until everybody has it.
    filled: Duration,
    /// The writers before it, and while it was filled.
    writers: [Sample; 2],
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut shop = Shop::open(options, 0)?;
    let title = format!(
        "bootstrap: a new derived field over {} orders of {} customers, {PER_SECOND} writes per second",
        options.orders, options.customers
    );
    let mut table = Table::new(title, &["what", "Corollary", "PostgreSQL", "ratio", "aim", "met"]);
    let mut schema = std::fs::read_to_string(root().join("bench/point.cor"))?;
    for field in [SUM, EACH] {
        let name = field.name.replace("{n}", "");
        let (mut postgres, mut corollary) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            progress(&format!("{name}: {} of {}", round + 1, options.rounds));
            if let Some(side) = shop.postgres() {
                postgres.push(fill_postgres(&shop, side, &field, round, options)?);
            }
            if shop.corollary().is_some() {
                schema = field.added_to(&schema, round);
                corollary.push(fill_corollary(&mut shop, &schema, options)?);
            }
        }
        rows(&mut table, &name, &corollary, &postgres);
    }
    table.note("Writes come at their rate whatever is answered; what one waits to be sent counts.");
    shop.finish(table)
}

/// The rows of one field.
fn rows(table: &mut Table, name: &str, corollary: &[Filling], postgres: &[Filling]) {
    let mut row = |what: String, of: &dyn Fn(&Filling) -> Duration, limit: Option<(Duration, String)>| {
        let (mine, theirs) = (median(corollary, of), median(postgres, of));
        let times = mine.zip(theirs).map(|(mine, theirs)| theirs.as_secs_f64() / mine.as_secs_f64());
        let aim = limit.map_or_else(Aim::none, |(limit, text)| Aim::new(text, mine.map(|took| took < limit)));
        let [aim, met] = aim.cells();
        table.row(vec![what, time(mine), time(theirs), ratio(times), aim, met]);
    };
    row(format!("{name}: filled"), &|it| it.filled, Some((FILLED, format!("< {} s", FILLED.as_secs()))));
    row("p99 of writers before".into(), &|it| it.writers[0].p99, None);
    let limit = (WRITERS, format!("< {} ms", WRITERS.as_millis()));
    row("p99 of writers meanwhile".into(), &|it| it.writers[1].p99, Some(limit));
    row("longest wait meanwhile".into(), &|it| it.writers[1].max, None);
}

/// The median of what the rounds tell.
fn median(rounds: &[Filling], of: &dyn Fn(&Filling) -> Duration) -> Option<Duration> {
    let seconds: Vec<f64> = rounds.iter().map(|round| of(round).as_secs_f64()).collect();
    (!seconds.is_empty()).then(|| Duration::from_secs_f64(middle(seconds)))
}

impl Field {
    /// A schema with the field of a round more.
    fn added_to(&self, schema: &str, round: usize) -> String {
        let field = self.field.replace("{n}", &round.to_string());
        schema.replacen(self.behind, &format!("{}\n  {field}", self.behind), 1)
    }
}

/// PostgreSQL's field: it is there for everybody when the statements have ended.
fn fill_postgres(
    shop: &Shop,
    postgres: &Postgres,
    field: &Field,
    round: usize,
    options: &Options,
) -> Result<Filling> {
    let before = shop.write_postgres(postgres, PER_SECOND, options)?;
    let number = round.to_string();
    let sql = field.sql.replace("{n}", &number);
    let (filled, meanwhile) = std::thread::scope(|scope| -> Result<(Duration, Sample)> {
        let filling = scope.spawn(|| {
            std::thread::sleep(HEAD_START);
            let started = Instant::now();
            postgres.script(&sql).map(|_| started.elapsed()).map_err(|error| error.to_string())
        });
        let meanwhile = shop.write_postgres(postgres, PER_SECOND, options);
        let filled = filling.join().map_err(|_| "the one who added the column panicked")??;
        Ok((filled, meanwhile?))
    })?;
    let wrong = postgres.script(&field.wrong.replace("{n}", &number))?.stdout;
    if wrong.trim() != "0" {
        return Err(
            format!("PostgreSQL: {} rows have another value than their facts say", wrong.trim()).into()
        );
    }
    Ok(Filling { filled, writers: [before, meanwhile] })
}

/// The server is started with a schema that has one field more. It fills the field while it serves.
fn fill_corollary(shop: &mut Shop, schema: &str, options: &Options) -> Result<Filling> {
    let before = shop.write(PER_SECOND, &|| false, options)?;
    shop.serve_with(schema)?;
    let started = Instant::now();
    let address = shop.corollary().ok_or("there is no Corollary")?.address();
    let is_filled = AtomicBool::new(false);
    let (meanwhile, filled) = std::thread::scope(|scope| -> Result<(Sample, Duration)> {
        let watching = scope.spawn(|| {
            let filled = filled(address, started).map_err(|error| error.to_string());
            is_filled.store(true, Ordering::Release);
            filled
        });
        let options = Options { interval: TIMEOUT, ..options.clone() };
        let sample = shop.write(PER_SECOND, &|| is_filled.load(Ordering::Acquire), &options)?;
        let filled = watching.join().map_err(|_| "the one who watched the update panicked")??;
        Ok((sample, filled))
    })?;
    Ok(Filling { filled, writers: [before, meanwhile] })
}

/// How long it took until no update was open any more.
fn filled(address: SocketAddr, started: Instant) -> Result<Duration> {
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
    fn the_schema_has_no_mistakes_with_the_fields_of_several_rounds() {
        let mut schema = std::fs::read_to_string(root().join("bench/point.cor")).unwrap();
        for field in [SUM, EACH] {
            assert_eq!(schema.matches(field.behind).count(), 1);
            for round in 0..3 {
                schema = field.added_to(&schema, round);
            }
        }
        let checked = corollary_schema::check(&schema, &mut corollary_schema::Ids::default());
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
        assert!(
            schema.contains("sum2 := sum(self.orders.amount)") && schema.contains("fee0 := self.amount * 2")
        );
    }
}
