//! `load`: the flights example from CSV until every derived value stands, and the memory that takes.
//!
//! Corollary imports the files one after the other into fresh data; PostgreSQL copies them into empty tables, adds keys
//! and indexes, and computes the same derived columns in materialized views. At the end both must say the same of each
//! airline.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::corollary::{Binary, Data};
use super::http::Connection;
use super::options::{Options, Side};
use super::postgres::Postgres;
use super::sample::middle;
use super::table::{Aim, Table, memory, ratio, time};
use super::{Result, process, progress, record, root, sql};

/// The types in the order of their import, links after what they lead to, with the names of their files.
const TYPES: [(&str, &str); 6] = [
    ("Airline", "airlines.csv"),
    ("Airport", "airports.csv"),
    ("Plane", "planes.csv"),
    ("Route", "routes.csv"),
    ("Weather", "weather.csv"),
    ("Flight", "flights.csv"),
];

/// The aim of the time.
const LIMIT: Duration = Duration::from_secs(5);

/// The aim of the memory, in bytes.
const MEMORY: u64 = 500_000_000;

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let files = prepare(&options.dir)?;
    let files = files.path();
    let binary = options.runs(Side::Corollary).then(|| Binary::of(options)).transpose()?;
    let postgres = options.runs(Side::Postgres).then(|| Postgres::start(&options.dir)).transpose()?;
    let (mut ours, mut peaks, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = None;
    for round in 1..=options.rounds {
        progress(&format!("load {round} of {}", options.rounds));
        if let Some(postgres) = &postgres {
            postgres.file(&sql("load_schema.sql"), &[])?;
            theirs.push(postgres.file_in(files, &sql("load.sql"), &[])?.took.as_secs_f64());
        }
        if let Some(binary) = &binary {
            // The data of the round before goes first, so that two never lie on the disk.
            drop(last.take());
            let data = Data::create(binary, &options.dir, root().join("examples/flights/flights.cor"))?;
            let started = Instant::now();
            for (ty, file) in TYPES {
                peaks.push(data.import(ty, &files.join(file))?.peak_memory);
            }
            ours.push(started.elapsed().as_secs_f64());
            last = Some(data);
        }
    }
    let median = |seconds: Vec<f64>| (!seconds.is_empty()).then(|| Duration::from_secs_f64(middle(seconds)));
    let (ours, theirs) = (median(ours), median(theirs));
    let peak = peaks.into_iter().flatten().max();

    let title = "load: a year of flights from CSV until every derived value stands";
    let mut table = Table::new(title, &["", "Corollary", "PostgreSQL", "ratio", "aim", "met"]);
    let times = ours.zip(theirs).map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64());
    let [aim, met] = Aim::new("< 5 s", ours.map(|took| took < LIMIT)).cells();
    table.row(vec!["time".to_owned(), time(ours), time(theirs), ratio(times), aim, met]);
    let [aim, met] = Aim::new("< 500 MB", peak.map(|peak| peak < MEMORY)).cells();
    table.row(vec!["peak memory".to_owned(), memory(peak), "–".to_owned(), "–".to_owned(), aim, met]);
    table.note("Peak memory: of the import that needs the most; they run one after the other.");
    if let Some(data) = last {
        progress("checking the values");
        data.check()?;
        if let Some(postgres) = &postgres {
            let airlines = agree(data, postgres)?;
            table.note(format!("Both sides agree on the derived counts and sums of {airlines} airlines."));
        }
    }
    record::print(&table);
    Ok(())
}

/// Makes the CSV files; the package they come from is kept below `target` for the next time.
fn prepare(dir: &Path) -> Result<TempDir> {
    progress("preparing the flights");
    let folder = tempfile::Builder::new().prefix("corollary-bench-flights-").tempdir_in(dir);
    let folder = folder.map_err(|error| format!("no folder in {}: {error}", dir.display()))?;
    let mut python = Command::new("python3");
    python.arg(root().join("examples/flights/prepare.py")).arg("--out").arg(folder.path());
    python.arg("--cache").arg(root().join("target/bench-flights"));
    process::run(python)?;
    Ok(folder)
}

/// Compares what both sides say of each airline, and gives how many there are.
fn agree(data: Data, postgres: &Postgres) -> Result<usize> {
    let corollary = data.serve()?;
    let mut connection = Connection::open(corollary.address())?;
    let theirs = postgres.file(&sql("load_airlines.sql"), &[])?.stdout;
    for line in theirs.lines() {
        let theirs = json(line)?;
        let path = format!("/api/airlines/{}", theirs["_id"].as_str().unwrap_or_default());
        let ours = json(&connection.send("GET", &path, "")?.success()?.body)?;
        for (field, value) in theirs.as_object().into_iter().flatten() {
            if ours[field] != *value {
                return Err(
                    format!("{path}: {field} is {} here and {value} in PostgreSQL", ours[field]).into()
                );
            }
        }
    }
    corollary.stop()?;
    Ok(theirs.lines().count())
}

fn json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| format!("not JSON ({error}): {text}").into())
}
