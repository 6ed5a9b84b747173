//! One entry point for every chore: `cargo xtask ci` runs what a change must pass, `cargo xtask bench` measures,
//! `cargo xtask sim` simulates.
//!
//! Read [`ci`] for the steps of a check, [`mod@bench`] for the benchmarks, and [`mod@sim`] for the simulator.

use std::process::ExitCode;

mod bench;
mod ci;
mod sim;
mod tools;

const USAGE: &str = "usage: cargo xtask COMMAND

  ci            format check, clippy with warnings denied, all tests, documentation
  bench NAME    a benchmark against PostgreSQL; `cargo xtask bench` lists them
  sim           the simulator over fresh seeds; `--minutes N` says for how long (1)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, [])) if command == "ci" => ci::ci(),
        Some((command, rest)) if command == "bench" => bench::bench(rest),
        Some((command, rest)) if command == "sim" => sim::sim(rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
