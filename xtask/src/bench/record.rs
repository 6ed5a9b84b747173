//! What a benchmark has found, kept as a file in `bench/results`, where it is asked for (`--record`): the tables as they were
//! printed, the numbers behind them, and what they were measured on. `cargo xtask performance` makes docs/performance.md of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::sample::{SHARES, Sample};
use super::table::Table;
use super::{Result, root};

/// What has been found so far.
static FOUND: Mutex<Found> =
    Mutex::new(Found { machine: Vec::new(), tables: Vec::new(), samples: Vec::new() });

struct Found {
    machine: Vec<String>,
    tables: Vec<Json>,
    samples: Vec<Json>,
}

fn found() -> std::sync::MutexGuard<'static, Found> {
    // What is in there is whole even where somebody panicked with it.
    FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Prints a line about what is measured, and on what.
pub fn machine(line: &str) {
    println!("{line}");
    found().machine.push(line.to_owned());
}

/// Prints a table.
pub fn print(table: &Table) {
    println!("\n{table}");
    found().tables.push(table.to_json());
}

/// Keeps the numbers of one side at some work.
pub fn sample(work: &str, connections: usize, side: &str, sample: &Sample) {
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    let latencies: Vec<Json> =
        SHARES.iter().zip(sample.latencies).map(|(share, it)| json!([share, micros(it)])).collect();
    found().samples.push(json!({
        "work": work,
        "connections": connections,
        "side": side,
        "per_second": sample.per_second,
        "p50_us": micros(sample.p50),
        "p99_us": micros(sample.p99),
        "latencies_us": latencies,
    }));
}

/// Keeps what a write costs at a number of orders.
pub fn growth(orders: u64, connections: usize, sample: &Sample, cpu: Option<Duration>) {
    found().samples.push(json!({
        "orders": orders,
        "connections": connections,
        "per_second": sample.per_second,
        "cpu_us": cpu.map(|cpu| cpu.as_secs_f64() * 1e6),
    }));
}

/// Where the results of a benchmark are.
pub fn file(name: &str) -> PathBuf {
    root().join("bench/results").join(format!("{name}.json"))
}

/// Writes all that was found into the file of a benchmark.
pub fn save(name: &str) -> Result<()> {
    let found = found();
    let text = json!({
        "benchmark": name,
        "commit": commit()?,
        "machine": found.machine,
        "tables": found.tables,
        "samples": found.samples,
    });
    let file = file(name);
    let failed = |error| format!("{}: {error}", file.display());
    fs::create_dir_all(root().join("bench/results")).map_err(failed)?;
    let text = serde_json::to_string_pretty(&text)?;
    fs::write(&file, text + "\n").map_err(failed)?;
    println!("recorded in {}", file.display());
    Ok(())
}

/// The commit that was measured; with a mark where files differ from it.
fn commit() -> Result<String> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["describe", "--always", "--dirty", "--abbrev=8"]);
    let output = git.output().map_err(|error| format!("git: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
