//! One entry point for every chore: `cargo xtask ci` runs what a change must pass, `cargo xtask bench` measures.
//!
//! Read [`ci`] for the steps of a check, and [`mod@bench`] for the benchmarks.

use std::process::ExitCode;

mod bench;
mod ci;
mod tools;

const USAGE: &str = "usage: cargo xtask COMMAND

  ci            format check, clippy with warnings denied, all tests, documentation
  bench NAME    a benchmark against PostgreSQL; `cargo xtask bench` lists them";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, [])) if command == "ci" => ci::ci(),
        Some((command, rest)) if command == "bench" => bench::bench(rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
