//! `cargo xtask sim`: the simulator, optimised, over fresh seeds for a while; fails with the first run that does.

use std::process::{Command, ExitCode};

/// How long it runs unless it is told otherwise.
const DEFAULT_SECONDS: u64 = 60;

const USAGE: &str = "usage: cargo xtask sim [--seconds N]

A run that fails is run again by its seed: cargo run --release -p corollary-sim -- --seed S";

/// Builds the simulator and runs it on all cores.
pub fn sim(arguments: &[String]) -> ExitCode {
    let seconds = match arguments {
        [] => Some(DEFAULT_SECONDS),
        [name, value] if name == "--seconds" => value.parse().ok(),
        _ => None,
    };
    let Some(seconds) = seconds else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let seconds = seconds.to_string();
    let run = ["run", "--release", "--quiet", "-p", "corollary-sim", "--", "--seconds", &seconds];
    match Command::new(env!("CARGO")).args(run).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
