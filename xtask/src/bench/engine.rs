//! `engine`: the work of `point` in process, in groups of 256, without HTTP: what the engine and its store can do alone, beside
//! engines that keep derived values true in memory and store nothing.
//!
//! Corollary's part is `xtask/examples/engine_point.rs`, a program of its own, so that `xtask` builds without the engine; the
//! others are programs of `bench/engines`, a crate outside the workspace. All are driven by `bench/engines/src/drive.rs`. There
//! is no PostgreSQL here: it has no way in without a connection.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::options::{Options, Side};
use super::process::{self, Answering, executable};
use super::sample::middle;
use super::table::{Aim, Table, count, ratio, time};
use super::{Result, progress, record, root};

/// The aim of Corollary, in writes each second.
const AIM: f64 = 100_000.0;

/// An engine beside Corollary's: the name of its program, which is also that of what it is built with, and what it is called.
const PEERS: [(&str, &str); 2] = [("differential", "differential-dataflow 0.26"), ("dbsp", "DBSP 0.349")];

/// What Corollary's is called.
const OWN: &str = "Corollary";

/// An engine, filled, with the rounds that it did.
struct Measured {
    name: &'static str,
    program: Answering,
    rounds: Vec<Round>,
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    if !options.runs(Side::Corollary) {
        return Err("engine has no side of PostgreSQL: it goes with --only corollary or neither".into());
    }
    let folder = tempfile::Builder::new().prefix("corollary-bench-engine-").tempdir_in(&options.dir);
    let folder = folder.map_err(|error| format!("no folder in {}: {error}", options.dir.display()))?;
    progress("building the engine");
    let own = build("engine_point", &["--package", "xtask", "--example", "engine_point"])?;
    let mut programs = vec![(OWN, own, Some(folder.path().into()))];
    let mut missing = Vec::new();
    for (program, name) in PEERS.into_iter().filter(|_| options.only.is_none()) {
        progress(&format!("building {name}, which takes minutes the first time"));
        match build_peer(program) {
            Ok(path) => programs.push((name, path, None)),
            Err(error) => {
                process::check()?;
                progress(&format!("without {name}: {error}"));
                missing.push(name);
            }
        }
    }
    let mut all = Vec::new();
    for (name, path, folder) in programs {
        progress(&format!("filling {name}"));
        all.push(start(name, path, folder, options)?);
    }
    for turn in 0..options.rounds {
        progress(&format!("round {} of {}", turn + 1, options.rounds));
        let engines = all.len();
        for at in 0..engines {
            // Whoever begins alternates.
            let engine = &mut all[(turn + at) % engines];
            let line = engine.program.ask("round")?;
            let round = round(&line).ok_or_else(|| format!("{}: not a round: {line}", engine.name))?;
            engine.rounds.push(round);
        }
    }
    let mut found = Vec::new();
    for Measured { name, program, rounds } in all {
        progress(&format!("checking the values of {name}"));
        program.finish().map_err(|error| format!("{name}: {error}"))?;
        found.push((name, rounds));
    }
    let mut table = table(&found);
    if !missing.is_empty() {
        table.note(format!("Without {}, which could not be built here.", missing.join(" and ")));
    }
    table.note("Derived values were checked against the facts at the end.");
    record::print(&table);
    Ok(())
}

/// The table of what each did, Corollary first.
fn table(found: &[(&str, Vec<Round>)]) -> Table {
    let head = [
        "engine",
        "durable",
        "writes /s",
        "p50 of a group",
        "p99 of a group",
        "cores used",
        "times Corollary",
        "aim",
        "met",
    ];
    let mut table = Table::new("engine: point in process, in groups of 256", &head);
    let median = |rounds: &[Round], column: usize| middle(rounds.iter().map(|round| round[column]).collect());
    let own = found.iter().find(|(name, _)| *name == OWN).map(|(_, rounds)| median(rounds, 0));
    for (name, rounds) in found {
        let is_own = *name == OWN;
        let micros = |column| time(Some(Duration::from_secs_f64(median(rounds, column) / 1e6)));
        let (per_second, cores) = (median(rounds, 0), median(rounds, 3));
        let aim = match is_own {
            true => Aim::new("≥ 100,000 on one core", Some(per_second / cores.max(1.0) >= AIM)),
            false => Aim::none(),
        };
        let times = own.filter(|_| !is_own).map(|own| per_second / own);
        let durable = if is_own { "yes" } else { "no" };
        let mut cells = vec![(*name).to_owned(), durable.to_owned(), count(Some(per_second))];
        cells.extend([micros(1), micros(2), format!("{cores:.2}"), ratio(times)]);
        cells.extend(aim.cells());
        table.row(cells);
    }
    table.note(
        "Cores used: by all threads of the process, Corollary's carrying-over in the background included.",
    );
    if found.len() > 1 {
        table.note(
            "Corollary stores documents, their log and what follows, and syncs each group; the others keep all of it in memory, \
             with one worker: differential-dataflow the sums alone, DBSP the orders too.",
        );
    }
    table
}

/// Builds a program for release; where it is.
fn build(name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args(["build", "--release", "--message-format=json-render-diagnostics"]);
    cargo.args(arguments);
    let built = executable(&process::run(cargo)?.stdout, name);
    built.ok_or_else(|| format!("cargo built no program `{name}`").into())
}

/// Builds an engine of `bench/engines`, in a folder of its own.
fn build_peer(name: &str) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let target = target.join("engines");
    let target = target.to_str().ok_or("the target folder has no name in UTF-8")?;
    let manifest = ["--locked", "--manifest-path", "bench/engines/Cargo.toml", "--target-dir", target];
    build(name, &[&manifest[..], &["--bin", name, "--features", name]].concat())
}

/// Starts an engine, in a folder if it has one, and waits until it is filled and warm.
fn start(name: &'static str, path: PathBuf, folder: Option<OsString>, options: &Options) -> Result<Measured> {
    let mut command = Command::new(path);
    command.args(folder);
    for number in [options.orders, options.customers, options.interval.as_secs()] {
        command.arg(number.to_string());
    }
    let mut program = Answering::start(command)?;
    match program.line()?.as_str() {
        "ready" => Ok(Measured { name, program, rounds: Vec::new() }),
        other => Err(format!("{name}: {other}").into()),
    }
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

    #[test]
    fn the_others_stand_beside_corollary() {
        let found = [
            (OWN, vec![[120_000.0, 2_000.0, 3_000.0, 1.5], [100_000.0, 2_000.0, 3_000.0, 1.5]]),
            ("another", vec![[220_000.0, 100.0, 200.0, 1.0]]),
        ];
        let rows = table(&found).to_json()["rows"].clone();
        assert_eq!(
            rows[1],
            serde_json::json!([
                "Corollary",
                "yes",
                "110,000",
                "2.00 ms",
                "3.00 ms",
                "1.50",
                "–",
                "≥ 100,000 on one core",
                "no"
            ])
        );
        assert_eq!(
            rows[2],
            serde_json::json!(["another", "no", "220,000", "0.10 ms", "0.20 ms", "1.00", "2.00x", "–", "–"])
        );
    }
}
