//! The shop of `bench/point.cor` on both sides: the same orders and customers, loaded fresh, measured in turn, and
//! checked at the end, because a wrong value served fast is worth nothing.
//!
//! Order `oN` has the amount 37 N mod 1000 and belongs to customer 1 + (N - 1) mod customers; a hub, if asked for, is one
//! more customer with orders of its own after the others. `bench/postgres/point_data.sql` says the same.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::client::Arrivals;
use super::corollary::{Binary, Corollary, Data};
use super::options::{Options, Side};
use super::postgraphile::Postgraphile;
use super::postgres::{Postgres, Script};
use super::sample::{Sample, rounds};
use super::table::{Table, memory, share};
use super::work::{BATCH, Random, Sizes, Work};
use super::{Result, client, progress, record, root, sql};

/// Both sides, or the one that was asked for, with the data in them.
pub struct Shop {
    postgres: Option<Postgres>,
    corollary: Option<Corollary>,
    sizes: Sizes,
    random: RefCell<Random>,
    client_cpu: Cell<Option<f64>>,
}

impl Shop {
    /// Starts and fills the sides; `hub` is the number of orders of the hub, 0 for none.
    pub fn open(options: &Options, hub: u64) -> Result<Shop> {
        let sizes = Sizes { orders: options.orders, customers: options.customers };
        let corollary =
            options.runs(Side::Corollary).then(|| fill_corollary(options, sizes, hub)).transpose()?;
        let postgres =
            options.runs(Side::Postgres).then(|| fill_postgres(&options.dir, sizes, hub)).transpose()?;
        Ok(Shop {
            postgres,
            corollary,
            sizes,
            random: RefCell::new(Random::new(1)),
            client_cpu: Cell::new(None),
        })
    }

    /// PostgreSQL, where it takes part.
    pub fn postgres(&self) -> Option<&Postgres> {
        self.postgres.as_ref()
    }

    /// Corollary, where it takes part.
    pub fn corollary(&self) -> Option<&Corollary> {
        self.corollary.as_ref()
    }

    /// The medians of both sides, PostgreSQL's first, at some work over so many connections.
    pub fn compare(&self, work: Work, connections: usize, options: &Options) -> Result<[Option<Sample>; 2]> {
        progress(&format!("{}, connections: {connections}, rounds: {}", work.name(), options.rounds));
        let script = work.script()?;
        let postgres = self.postgres.as_ref().zip(script.as_deref());
        let samples = rounds(
            options.rounds,
            [
                postgres.map(|(postgres, script)| {
                    Box::new(move || self.pgbench(postgres, script, work, connections, options)) as _
                }),
                self.corollary.as_ref().map(|corollary| {
                    Box::new(move || self.requests(corollary, work, connections, options)) as _
                }),
            ],
        )?;
        for (side, sample) in ["PostgreSQL", "Corollary"].iter().zip(&samples) {
            sample.iter().for_each(|sample| record::sample(work.name(), connections, side, sample));
        }
        Ok(samples)
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
        let corollary = self.corollary.as_ref().ok_or("there is no Corollary")?;
        self.requests(corollary, work, connections, options)
    }

    /// Corollary's numbers at single updates that come at a rate, for one interval, or until `is_over`.
    pub fn write(&self, per_second: u32, is_over: &dyn Fn() -> bool, options: &Options) -> Result<Sample> {
        let corollary = self.corollary.as_ref().ok_or("there is no Corollary")?;
        let mut random = self.random.borrow_mut();
        let next = |out: &mut Vec<u8>| Work::Point.request(self.sizes, &mut random, out);
        let load = (options.most_connections(), Arrivals::PerSecond(per_second));
        let load = client::load(&[corollary.address()], load, options.interval, 1, is_over, next)?;
        Ok(load.sample)
    }

    /// PostgreSQL's.
    pub fn write_postgres(&self, postgres: &Postgres, per_second: u32, options: &Options) -> Result<Sample> {
        let text = Work::Point.script()?.ok_or("there is no script")?;
        let variables = self.variables();
        let script =
            Script { text: &text, variables: &variables, operations: 1, per_second: Some(per_second) };
        postgres.pgbench(&script, options.most_connections(), options.interval)
    }

    fn variables(&self) -> [(&'static str, u64); 3] {
        variables(self.sizes)
    }

    /// Stops Corollary and serves the same data with another schema.
    pub fn serve_with(&mut self, schema: &str) -> Result<()> {
        if let Some(corollary) = self.corollary.take() {
            self.corollary = Some(corollary.stop()?.with_schema(schema)?.serve()?);
        }
        Ok(())
    }

    /// One turn of each side that is not counted: caches fill and connections are made for the first time.
    pub fn warm_up(&self, work: Work, options: &Options) -> Result<()> {
        let once = Options { rounds: 1, ..options.clone() };
        self.compare(work, options.most_connections(), &once).map(drop)
    }

    fn pgbench(
        &self,
        postgres: &Postgres,
        script: &str,
        work: Work,
        connections: usize,
        options: &Options,
    ) -> Result<Sample> {
        let variables = self.variables();
        let script =
            Script { text: script, variables: &variables, operations: work.operations(), per_second: None };
        postgres.pgbench(&script, connections, options.interval)
    }

    fn requests(
        &self,
        corollary: &Corollary,
        work: Work,
        connections: usize,
        options: &Options,
    ) -> Result<Sample> {
        let mut random = self.random.borrow_mut();
        let next = |out: &mut Vec<u8>| work.request(self.sizes, &mut random, out);
        let (address, interval) = (corollary.address(), options.interval);
        let load = (connections, Arrivals::Answered);
        let load = client::load(&[address], load, interval, work.operations(), &|| false, next)?;
        let most = self.client_cpu.get().into_iter().chain(load.client_cpu).reduce(f64::max);
        self.client_cpu.set(most);
        Ok(load.sample)
    }

    /// Prints the table, after a check that both sides hold what their facts say. Where they do not, or where Corollary
    /// does not end well, the table says that its numbers do not count, and that is the error.
    pub fn finish(self, mut table: Table) -> Result<()> {
        progress("checking the values of both sides");
        if let Some(corollary) = &self.corollary {
            table.note(format!("Corollary's memory: at most {}.", memory(corollary.peak_memory())));
        }
        if let Some(cpu) = self.client_cpu.get() {
            table.note(format!("Corollary's client: at most {} of one core.", share(Some(cpu))));
        }
        let checked = self.check();
        table.note(match &checked {
            Ok(()) => "Derived values were checked against the facts at the end.",
            Err(_) => "These numbers do not count: see the error.",
        });
        record::print(&table);
        checked
    }

    /// Stops all, after a check that what is there is what its facts say.
    pub fn check_alone(self) -> Result<()> {
        progress("checking the values");
        self.check()
    }

    fn check(self) -> Result<()> {
        if let Some(postgres) = &self.postgres {
            check_tables(postgres)?;
        }
        self.corollary.map_or(Ok(()), |corollary| corollary.stop()?.check())
    }
}

/// What the scripts of PostgreSQL are told.
pub fn variables(sizes: Sizes) -> [(&'static str, u64); 3] {
    let Sizes { orders, customers } = sizes;
    [("orders", orders), ("customers", customers), ("steps", u64::from(BATCH))]
}

/// An error where what PostgreSQL derived is not what its facts say.
pub fn check_tables(postgres: &Postgres) -> Result<()> {
    let wrong = postgres.file(&sql("verify.sql"), &[])?.stdout;
    match wrong.trim() {
        "0" => Ok(()),
        wrong => Err(format!("PostgreSQL: {wrong} rows are not what their facts say").into()),
    }
}

fn fill_postgres(dir: &Path, sizes: Sizes, hub: u64) -> Result<Postgres> {
    let postgres = Postgres::start(dir)?;
    fill_tables(&postgres, sizes, hub)?;
    Ok(postgres)
}

/// Makes PostgreSQL's tables in an empty database, with their triggers.
pub fn fill_tables(postgres: &Postgres, sizes: Sizes, hub: u64) -> Result<()> {
    progress("filling PostgreSQL");
    let variables = [
        ("orders", sizes.orders.to_string()),
        ("customers", sizes.customers.to_string()),
        ("hub", hub.to_string()),
    ];
    for file in ["point_schema.sql", "point_data.sql", "point_triggers.sql"] {
        postgres.file(&sql(file), &variables)?;
    }
    postgres.script("VACUUM ANALYZE;\nCHECKPOINT;\n").map(drop)
}

fn fill_corollary(options: &Options, sizes: Sizes, hub: u64) -> Result<Corollary> {
    let data = Data::create(&Binary::of(options)?, &options.dir, root().join("bench/point.cor"))?;
    fill_data(&data, sizes, hub)?;
    data.serve()
}

/// Imports customers and orders into empty data.
pub fn fill_data(data: &Data, sizes: Sizes, hub: u64) -> Result<()> {
    progress("filling Corollary");
    let Sizes { orders, customers } = sizes;
    let file = data.folder().join("import.csv");
    let extra = u64::from(hub > 0);
    write_lines(&file, "_id,name", 1..=customers + extra, |c| format!("c{c},Customer {c}"))?;
    data.import("Customer", &file)?;
    write_lines(&file, "_id,amount,customer", 1..=orders + hub, |order| {
        let customer = if order <= orders { 1 + (order - 1) % customers } else { customers + 1 };
        format!("o{order},{},c{customer}", order * 37 % 1000)
    })?;
    data.import("Order", &file)?;
    std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()).into())
}

fn write_lines(
    file: &Path,
    head: &str,
    numbers: impl Iterator<Item = u64>,
    line: impl Fn(u64) -> String,
) -> Result<()> {
    let write = || {
        let mut out = BufWriter::new(File::create(file)?);
        writeln!(out, "{head}")?;
        for number in numbers {
            writeln!(out, "{}", line(number))?;
        }
        out.flush()
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", file.display()).into())
}
