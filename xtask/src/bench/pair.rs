//! Both sides of a benchmark: PostgreSQL and Corollary with the same data, or one of them; measured in turn, and checked at the end,
//! because a wrong value served fast is worth nothing.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::client::{self, Arrivals};
use super::corollary::{Binary, Corollary, Data};
use super::options::{Options, Side};
use super::postgres::{Postgres, Script};
use super::sample::{Sample, rounds};
use super::table::{Table, memory, share};
use super::work::Random;
use super::{Result, progress, record, root, sql};

/// What both sides are filled with.
pub struct Filling<'a> {
    /// The schema, of `bench`.
    pub schema: &'a str,
    /// The files of `bench/postgres` that make the tables, in their order.
    pub tables: &'a [&'a str],
    /// The one that counts the rows which are not what their facts say.
    pub verify: &'static str,
    /// What those files, and the scripts of pgbench, are told.
    pub variables: Vec<(&'static str, u64)>,
    /// Imports the same into Corollary.
    pub import: &'a dyn Fn(&Data) -> Result<()>,
}

/// What both sides are asked for.
pub struct Asked<'a> {
    /// What it is called in a table.
    pub name: &'a str,
    /// The script for pgbench; none where PostgreSQL has no such work.
    pub script: Option<&'a str>,
    /// How many operations one run of the script, or one request, stands for.
    pub operations: [u32; 2],
    /// Appends a request to Corollary.
    pub request: &'a dyn Fn(&mut Random, &mut Vec<u8>),
}

/// Both sides, or the one that was asked for, with the data in them.
pub struct Pair {
    pub postgres: Option<Postgres>,
    pub corollary: Option<Corollary>,
    variables: Vec<(&'static str, u64)>,
    verify: &'static str,
    random: RefCell<Random>,
    client_cpu: Cell<Option<f64>>,
}

impl Pair {
    /// Starts and fills the sides.
    pub fn open(options: &Options, filling: Filling<'_>) -> Result<Pair> {
        let corollary =
            options.runs(Side::Corollary).then(|| fill_corollary(options, &filling)).transpose()?;
        let postgres =
            options.runs(Side::Postgres).then(|| fill_postgres(&options.dir, &filling)).transpose()?;
        let Filling { variables, verify, .. } = filling;
        let random = RefCell::new(Random::new(1));
        Ok(Pair { postgres, corollary, variables, verify, random, client_cpu: Cell::new(None) })
    }

    /// The medians of both sides, PostgreSQL's first, at some work over so many connections.
    pub fn compare(
        &self,
        asked: &Asked<'_>,
        connections: usize,
        options: &Options,
    ) -> Result<[Option<Sample>; 2]> {
        progress(&format!("{}, connections: {connections}, rounds: {}", asked.name, options.rounds));
        let postgres = self.postgres.as_ref().zip(asked.script);
        let samples = rounds(
            options.rounds,
            [
                postgres.map(|(postgres, text)| {
                    let (variables, operations) = (&self.variables[..], asked.operations[0]);
                    let script = Script { text, variables, operations, per_second: None };
                    Box::new(move || postgres.pgbench(&script, connections, options.interval)) as _
                }),
                self.corollary
                    .as_ref()
                    .map(|_| Box::new(move || self.turn(asked, connections, options)) as _),
            ],
        )?;
        for (side, sample) in ["PostgreSQL", "Corollary"].iter().zip(&samples) {
            sample.iter().for_each(|sample| record::sample(asked.name, connections, side, sample));
        }
        Ok(samples)
    }

    /// Corollary's numbers of one turn.
    pub fn turn(&self, asked: &Asked<'_>, connections: usize, options: &Options) -> Result<Sample> {
        self.load((connections, Arrivals::Answered), asked, &|| false, options)
    }

    /// Corollary's numbers of requests that come as `load` says, for one interval, or until `is_over`.
    pub fn load(
        &self,
        load: (usize, Arrivals),
        asked: &Asked<'_>,
        is_over: &dyn Fn() -> bool,
        options: &Options,
    ) -> Result<Sample> {
        let corollary = self.corollary.as_ref().ok_or("there is no Corollary")?;
        let mut random = self.random.borrow_mut();
        let next = |out: &mut Vec<u8>| (asked.request)(&mut random, out);
        let address = [corollary.address()];
        let load = client::load(&address, load, options.interval, asked.operations[1], is_over, next)?;
        let most = self.client_cpu.get().into_iter().chain(load.client_cpu).reduce(f64::max);
        self.client_cpu.set(most);
        Ok(load.sample)
    }

    /// One turn of each side that is not counted: caches fill and connections are made for the first time.
    pub fn warm_up(&self, asked: &Asked<'_>, options: &Options) -> Result<()> {
        let once = Options { rounds: 1, ..options.clone() };
        self.compare(asked, options.most_connections(), &once).map(drop)
    }

    /// What the scripts of PostgreSQL are told.
    pub fn variables(&self) -> &[(&'static str, u64)] {
        &self.variables
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
    pub fn check(self) -> Result<()> {
        if let Some(postgres) = &self.postgres {
            check_tables(postgres, self.verify)?;
        }
        self.corollary.map_or(Ok(()), |corollary| corollary.stop()?.check())
    }
}

/// An error where what PostgreSQL derived is not what its facts say.
pub fn check_tables(postgres: &Postgres, verify: &str) -> Result<()> {
    let wrong = postgres.file(&sql(verify), &[])?.stdout;
    match wrong.trim() {
        "0" => Ok(()),
        wrong => Err(format!("PostgreSQL: {wrong} rows are not what their facts say").into()),
    }
}

fn fill_corollary(options: &Options, filling: &Filling<'_>) -> Result<Corollary> {
    let schema: PathBuf = root().join("bench").join(filling.schema);
    let data = Data::create(&Binary::of(options)?, &options.dir, schema)?;
    progress("filling Corollary");
    (filling.import)(&data)?;
    data.serve()
}

fn fill_postgres(dir: &Path, filling: &Filling<'_>) -> Result<Postgres> {
    let postgres = Postgres::start(dir)?;
    fill_tables(&postgres, filling.tables, &filling.variables)?;
    Ok(postgres)
}

/// Makes tables in an empty database, with their triggers.
pub fn fill_tables(postgres: &Postgres, files: &[&str], variables: &[(&'static str, u64)]) -> Result<()> {
    progress("filling PostgreSQL");
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.to_string())).collect();
    for file in files {
        postgres.file(&sql(file), &variables)?;
    }
    postgres.script("VACUUM ANALYZE;\nCHECKPOINT;\n").map(drop)
}

/// Imports resources of a type by their numbers, a line of CSV for each.
pub fn import_lines(
    data: &Data,
    ty: &str,
    head: &str,
    numbers: impl Iterator<Item = u64>,
    line: impl Fn(u64) -> String,
) -> Result<()> {
    let file = data.folder().join("import.csv");
    let write = || {
        let mut out = BufWriter::new(File::create(&file)?);
        writeln!(out, "{head}")?;
        for number in numbers {
            writeln!(out, "{}", line(number))?;
        }
        out.flush()
    };
    write().map_err(|error: std::io::Error| format!("{}: {error}", file.display()))?;
    data.import(ty, &file)?;
    std::fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()).into())
}
