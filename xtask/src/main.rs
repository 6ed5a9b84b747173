//! One entry point for every chore: `cargo xtask ci` runs what a change must pass, `cargo xtask bench` measures,
//! `cargo xtask performance` makes the page of what was measured,
//! `cargo xtask sim` simulates, `cargo xtask fuzz` fuzzes, `cargo xtask long` runs the tests that need optimised code,
//! `cargo xtask torture` does everything to real servers that can be done to them, `cargo xtask power-loss` opens whatever a
//! loss of power may leave, `cargo xtask kills` and `cargo xtask torture-updates` kill a server at work, `cargo xtask failing-disk` has its disk fail,
//! `cargo xtask model` plays with one, `cargo xtask schemathesis` holds one to its OpenAPI document.
//!
//! Read [`ci`] for the steps of a check, [`mod@bench`] for the benchmarks, [`mod@long`], [`mod@sim`],
//! [`mod@schemathesis`] and [`mod@torture`] for what takes longer.

use std::process::ExitCode;

mod bench;
mod ci;
mod fuzz;
mod long;
mod mutants;
mod performance;
mod policy;
mod schemathesis;
mod sim;
mod tools;
mod torture;

const USAGE: &str = "usage: cargo xtask COMMAND

  ci            format check, clippy with warnings denied, all tests, documentation
  bench NAME    a benchmark against PostgreSQL; `cargo xtask bench` lists them
  performance   docs/performance.md and its plots, from what `cargo xtask bench NAME --record` has kept; `--measure`
                runs all benchmarks first
  fuzz [TARGET] parsers and decoders; `--minutes N`, `list` says which
  long          the tests of a million, optimised: some minutes
  schemathesis  the OpenAPI document, held against a server by Schemathesis (needs Python)
  torture       real servers, killed, paused, on broken disks, cut off: ten minutes; `--minutes N`, `--seed N`
  power-loss    every folder that a recorded run may leave when the power is lost; `--variants N`, `--seed N`
  kills         the server, killed at any moment, ten thousand times; `--rounds N` says how often
  model         the HTTP API, held against a model by random requests; `--seeds N`, `--steps N`
  mutants CRATE cargo-mutants over a crate, a file or a part
  policy        licences, sources and versions of what is depended on, and that `unsafe` is forbidden
  sim           the simulator over fresh seeds; `--minutes N` says for how long (1)
  failing-disk  the server on a disk that fails or is full, two thousand times; `--rounds N` says how often
  torture-updates  the server, killed again and again during a large update";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, [])) if command == "ci" => ci::ci(),
        Some((command, rest)) if command == "bench" => bench::bench(rest),
        Some((command, rest)) if command == "performance" => performance::performance(rest),
        Some((command, rest)) if command == "mutants" => mutants::mutants(rest),
        Some((command, rest)) if command == "policy" => policy::policy(rest),
        Some((command, rest)) if command == "fuzz" => fuzz::fuzz(rest),
        Some((command, [])) if command == "long" => long::long(),
        Some((command, rest)) if command == "schemathesis" => schemathesis::schemathesis(rest),
        Some((command, rest)) if command == "sim" => sim::sim(rest),
        Some((command, rest)) if command == "torture" => torture::TORTURE.run(rest),
        Some((command, rest)) if command == "power-loss" => torture::POWER_LOSS.run(rest),
        Some((command, rest)) if command == "kills" => torture::KILLS.run(rest),
        Some((command, rest)) if command == "failing-disk" => torture::DISK.run(rest),
        Some((command, rest)) if command == "model" => torture::MODEL.run(rest),
        Some((command, rest)) if command == "torture-updates" => torture::UPDATES.run(rest),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
