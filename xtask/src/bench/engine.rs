//! `engine`: the work of `point` in process, in groups of 256, without HTTP: what the engine and its store can do alone.
//!
//! The work is `xtask/examples/engine_point.rs`, a program of its own, so that `xtask` builds without the engine. There is
//! no PostgreSQL here: it has no way in without a connection.

use std::process::Command;
use std::time::Duration;

use super::options::{Options, Side};
use super::sample::middle;
use super::table::{Aim, Table, count, time};
use super::{Result, process, progress, record, root};

/// The aim, in writes each second.
const AIM: f64 = 100_000.0;

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    if !options.runs(Side::Corollary) {
        return Err("engine measures Corollary alone".into());
    }
    progress("building, filling and measuring the engine");
    let folder = tempfile::Builder::new().prefix("corollary-bench-engine-").tempdir_in(&options.dir);
    let folder = folder.map_err(|error| format!("no folder in {}: {error}", options.dir.display()))?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["run", "--release", "--quiet", "--package", "xtask"]);
    cargo.args(["--example", "engine_point", "--"]).arg(folder.path());
    let Options { orders, customers, interval, rounds, .. } = options;
    for number in [*orders, *customers, interval.as_secs(), *rounds as u64] {
        cargo.arg(number.to_string());
    }
    let printed = process::run(cargo)?.stdout;
    let rounds: Vec<Round> = printed.lines().map(round).collect::<Option<_>>().unwrap_or_default();
    if rounds.is_empty() {
        return Err(format!("the engine told no rounds:\n{printed}").into());
    }
    let median = |column: usize| middle(rounds.iter().map(|round| round[column]).collect());
    let micros = |column| time(Some(Duration::from_secs_f64(median(column) / 1e6)));
    let head = ["work", "durable writes /s", "p50 of a group", "p99 of a group", "cores used", "aim", "met"];
    let mut table = Table::new("engine: point in process, in groups of 256", &head);
    let [aim, met] = Aim::new("≥ 100,000 on one core", Some(median(0) / median(3).max(1.0) >= AIM)).cells();
    let cores = format!("{:.2}", median(3));
    table.row(vec!["one update".to_owned(), count(Some(median(0))), micros(1), micros(2), cores, aim, met]);
    table.note(
        "Cores used: by all threads of the process, the store's carrying-over in the background included.",
    );
    table.note("Derived values were checked against the facts at the end.");
    record::print(&table);
    Ok(())
}

/// Writes each second, p50 and p99 of a group in microseconds, cores used.
type Round = [f64; 4];

fn round(line: &str) -> Option<Round> {
    let numbers: Vec<f64> = line.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_four_numbers() {
        assert_eq!(round("101234 2310 3500 1.21"), Some([101_234.0, 2_310.0, 3_500.0, 1.21]));
        assert_eq!(round("101234 2310 3500"), None);
        assert_eq!(round("error: nothing"), None);
    }
}
