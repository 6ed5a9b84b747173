//! The shop of `bench/point.cor` on both sides: the same orders and customers, loaded fresh, measured in turn, and
//! checked at the end, because a wrong value served fast is worth nothing.
//!
//! Order `oN` has the amount 37 N mod 1000 and belongs to customer 1 + (N - 1) mod customers; a hub, if asked for, is one
//! more customer with orders of its own after the others. `bench/postgres/point_data.sql` says the same.

use std::time::{Duration, Instant};

use super::client::{self, Arrivals};
use super::corollary::{Corollary, Data};
use super::options::Options;
use super::pair::{self, Asked, Filling, Pair, import_lines};
use super::postgraphile::Postgraphile;
use super::postgres::{Postgres, Script};
use super::sample::{Sample, rounds};
use super::table::Table;
use super::work::{BATCH, Random, Sizes, Work};
use super::{Result, progress};

/// The tables, made, filled, and kept true by triggers.
const TABLES: [&str; 3] = ["point_schema.sql", "point_data.sql", "point_triggers.sql"];

/// Counts the rows of them that are wrong.
const VERIFY: &str = "verify.sql";

/// Both sides, or the one that was asked for, with the data in them.
pub struct Shop {
    pair: Pair,
    sizes: Sizes,
}

impl Shop {
    /// Starts and fills the sides; `hub` is the number of orders of the hub, 0 for none.
    pub fn open(options: &Options, hub: u64) -> Result<Shop> {
        let sizes = Sizes { orders: options.orders, customers: options.customers };
        let filling = Filling {
            schema: "point.cor",
            tables: &TABLES,
            verify: VERIFY,
            variables: variables(sizes, hub),
            import: &|data| fill_data(data, sizes, hub),
        };
        Ok(Shop { pair: Pair::open(options, filling)?, sizes })
    }

    /// PostgreSQL, where it takes part.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.pair.postgres.as_ref()
    }

    /// Corollary, where it takes part.
    pub fn corollary(&self) -> Option<&Corollary> {
        self.pair.corollary.as_ref()
    }

    /// The medians of both sides, PostgreSQL's first, at some work over so many connections.
    pub fn compare(&self, work: Work, connections: usize, options: &Options) -> Result<[Option<Sample>; 2]> {
        let script = work.script()?;
        self.asked(work, script.as_deref(), |asked| self.pair.compare(asked, connections, options))
    }

    /// The same beside PostGraphile, whose medians come first.
    pub fn compare_with(
        &self,
        peer: &Postgraphile,
        work: Work,
        connections: usize,
        options: &Options,
    ) -> Result<[Option<Sample>; 2]> {
        progress(&format!("{} beside PostGraphile, connections: {connections}", work.name()));
        let mut random = Random::new(2);
        let peer = || {
            let next = |out: &mut Vec<u8>| work.graphql(self.sizes, &mut random, out);
            let load = (connections, Arrivals::Answered);
            let load =
                client::load(&[peer.address()], load, options.interval, work.operations(), &|| false, next)?;
            Ok(load.sample)
        };
        let own = || self.turn(work, connections, options);
        rounds(options.rounds, [Some(Box::new(peer)), Some(Box::new(own))])
    }

    /// Corollary's numbers of one turn.
    pub fn turn(&self, work: Work, connections: usize, options: &Options) -> Result<Sample> {
        self.asked(work, None, |asked| self.pair.turn(asked, connections, options))
    }

    /// Corollary's numbers at single updates that come at a rate, for one interval, or until `is_over`.
    pub fn write(&self, per_second: u32, is_over: &dyn Fn() -> bool, options: &Options) -> Result<Sample> {
        let load = (options.most_connections(), Arrivals::PerSecond(per_second));
        self.asked(Work::Point, None, |asked| self.pair.load(load, asked, is_over, options))
    }

    /// PostgreSQL's.
    pub fn write_postgres(&self, postgres: &Postgres, per_second: u32, options: &Options) -> Result<Sample> {
        let text = Work::Point.script()?.ok_or("there is no script")?;
        let variables = self.pair.variables();
        let script = Script { text: &text, variables, operations: 1, per_second: Some(per_second) };
        postgres.pgbench(&script, options.most_connections(), options.interval)
    }

    /// Stops Corollary and serves the same data with another schema.
    pub fn serve_with(&mut self, schema: &str) -> Result<()> {
        if let Some(corollary) = self.pair.corollary.take() {
            self.pair.corollary = Some(corollary.stop()?.with_schema(schema)?.serve()?);
        }
        Ok(())
    }

    /// Stops Corollary and starts it again; how long that takes until it is ready.
    pub fn restart(&mut self) -> Result<Duration> {
        let data = self.pair.corollary.take().ok_or("there is no Corollary")?.stop()?;
        let begun = Instant::now();
        self.pair.corollary = Some(data.serve()?);
        Ok(begun.elapsed())
    }

    /// One turn of each side that is not counted: caches fill and connections are made for the first time.
    pub fn warm_up(&self, work: Work, options: &Options) -> Result<()> {
        let script = work.script()?;
        self.asked(work, script.as_deref(), |asked| self.pair.warm_up(asked, options))
    }

    fn asked<T>(&self, work: Work, script: Option<&str>, f: impl FnOnce(&Asked<'_>) -> T) -> T {
        let request = |random: &mut Random, out: &mut Vec<u8>| work.request(self.sizes, random, out);
        f(&Asked { name: work.name(), script, operations: [work.operations(); 2], request: &request })
    }

    /// Prints the table, after a check that both sides hold what their facts say.
    pub fn finish(self, table: Table) -> Result<()> {
        self.pair.finish(table)
    }

    /// Stops all, after a check that what is there is what its facts say.
    pub fn check_alone(self) -> Result<()> {
        progress("checking the values");
        self.pair.check()
    }
}

/// What the scripts of PostgreSQL are told.
pub fn variables(sizes: Sizes, hub: u64) -> Vec<(&'static str, u64)> {
    let Sizes { orders, customers } = sizes;
    vec![("orders", orders), ("customers", customers), ("hub", hub), ("steps", u64::from(BATCH))]
}

/// An error where what PostgreSQL derived is not what its facts say.
pub fn check_tables(postgres: &Postgres) -> Result<()> {
    pair::check_tables(postgres, VERIFY)
}

/// Makes PostgreSQL's tables in an empty database, with their triggers.
pub fn fill_tables(postgres: &Postgres, sizes: Sizes, hub: u64) -> Result<()> {
    pair::fill_tables(postgres, &TABLES, &variables(sizes, hub))
}

/// Imports customers and orders into empty data.
pub fn fill_data(data: &Data, sizes: Sizes, hub: u64) -> Result<()> {
    let Sizes { orders, customers } = sizes;
    let extra = u64::from(hub > 0);
    import_lines(data, "Customer", "_id,name", 1..=customers + extra, |c| format!("c{c},Customer {c}"))?;
    import_lines(data, "Order", "_id,amount,customer", 1..=orders + hub, |order| {
        let customer = if order <= orders { 1 + (order - 1) % customers } else { customers + 1 };
        format!("o{order},{},c{customer}", order * 37 % 1000)
    })
}
