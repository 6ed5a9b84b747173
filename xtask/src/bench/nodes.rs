//! `point --store postgres`: the same writes by one, two, three servers of Corollary over one database, whose clients are
//! spread over them, beside PostgreSQL's own tables with triggers in the same database.
//!
//! A server that is not measured yet is not started: one that follows others at work costs them something.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;

use super::client::{self, Arrivals};
use super::corollary::{Binary, Data, Ready};
use super::options::{Options, Side};
use super::postgres::{Postgres, Script};
use super::sample::{Sample, rounds};
use super::shop::{check_tables, fill_data, fill_tables, variables};
use super::table::{Aim, COMPARISON, Table, comparison, memory, share};
use super::work::{Random, Sizes, Work};
use super::{Result, progress, record, root};

/// One database with both sides in it.
struct Database {
    // Stopped before what they are over.
    servers: Vec<Ready>,
    data: Data,
    tables: bool,
    postgres: Postgres,
    sizes: Sizes,
    random: RefCell<Random>,
    client_cpu: Cell<f64>,
    /// Of all that the servers did at once, the part of the one that did least, as a part of what would be equal.
    least: Cell<f64>,
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut database = Database::open(options)?;
    let title = "point, in one PostgreSQL: set one order's amount, its customer's total follows";
    let mut table = Table::new(title, &COMPARISON);
    for &nodes in &options.nodes {
        database.serve(nodes)?;
        let once = Options { rounds: 1, ..options.clone() };
        database.compare(Work::Point, options.most_connections(), &once)?;
        database.least.set(1.0);
        for &connections in &options.connections {
            let name = format!("{}, servers: {nodes}", Work::Point.name());
            let samples = database.compare(Work::Point, connections, options)?;
            table.row(comparison(&name, connections, samples, &Aim::none()));
        }
        if nodes > 1 {
            let least = share(Some(database.least.get()));
            table.note(format!(
                "Of {nodes} servers none did less than {least} of an equal part in any round."
            ));
        }
    }
    database.finish(table)
}

impl Database {
    fn open(options: &Options) -> Result<Database> {
        let binary = Binary::of(options)?;
        let sizes = Sizes { orders: options.orders, customers: options.customers };
        let postgres = Postgres::start(&options.dir)?;
        let tables = options.runs(Side::Postgres);
        if tables {
            fill_tables(&postgres, sizes, 0)?;
        }
        let data = Data::create(&binary, &options.dir, root().join("bench/point.cor"))?;
        let data = data.in_database(postgres.address());
        progress("filling Corollary");
        fill_data(&data, sizes, 0)?;
        postgres.script("VACUUM ANALYZE;\nCHECKPOINT;\n")?;
        let random = RefCell::new(Random::new(1));
        let (client_cpu, least) = (Cell::new(0.0), Cell::new(1.0));
        Ok(Database { servers: Vec::new(), data, tables, postgres, sizes, random, client_cpu, least })
    }

    /// Starts as many servers as are missing.
    fn serve(&mut self, nodes: usize) -> Result<()> {
        while self.servers.len() < nodes {
            let name = format!("server-{}", self.servers.len() + 1);
            self.servers.push(self.data.start(&name)?);
        }
        Ok(())
    }

    /// The medians of both sides, PostgreSQL's first.
    fn compare(&self, work: Work, connections: usize, options: &Options) -> Result<[Option<Sample>; 2]> {
        let (nodes, times) = (self.servers.len(), options.rounds);
        progress(&format!("{}, servers: {nodes}, connections: {connections}, rounds: {times}", work.name()));
        let script = work.script()?.filter(|_| self.tables);
        rounds(
            times,
            [
                script.as_deref().map(|text| {
                    let run = move || {
                        let (variables, operations) = (variables(self.sizes, 0), work.operations());
                        let script = Script { text, variables: &variables, operations, per_second: None };
                        self.postgres.pgbench(&script, connections, options.interval)
                    };
                    Box::new(run) as _
                }),
                Some(Box::new(move || self.requests(work, connections, options))),
            ],
        )
    }

    fn requests(&self, work: Work, connections: usize, options: &Options) -> Result<Sample> {
        let addresses: Vec<SocketAddr> = self.servers.iter().map(Ready::address).collect();
        let mut random = self.random.borrow_mut();
        let next = |out: &mut Vec<u8>| work.request(self.sizes, &mut random, out);
        let load = (connections, Arrivals::Answered);
        let load = client::load(&addresses, load, options.interval, work.operations(), &|| false, next)?;
        self.client_cpu.set(load.client_cpu.unwrap_or_default().max(self.client_cpu.get()));
        if connections.is_multiple_of(addresses.len()) {
            let (all, least) = (load.answered.iter().sum::<u64>(), load.answered.iter().min());
            let part = least.map_or(0, |least| least * addresses.len() as u64) as f64 / all.max(1) as f64;
            self.least.set(self.least.get().min(part));
        }
        Ok(load.sample)
    }

    /// Prints the table, after a check that both sides hold what their facts say.
    fn finish(self, mut table: Table) -> Result<()> {
        progress("checking the values of both sides");
        let most = self.servers.iter().filter_map(Ready::peak_memory).max();
        table.note(format!("Memory of a server of Corollary: at most {}.", memory(most)));
        let client = share(Some(self.client_cpu.get()));
        table.note(format!("Corollary's client: at most {client} of one core."));
        let checked = self.check();
        table.note(match &checked {
            Ok(()) => "Derived values were checked against the facts at the end.",
            Err(_) => "These numbers do not count: see the error.",
        });
        record::print(&table);
        checked
    }

    fn check(self) -> Result<()> {
        if self.tables {
            check_tables(&self.postgres)?;
        }
        self.servers.into_iter().try_for_each(Ready::stop)?;
        self.data.check()
    }
}
