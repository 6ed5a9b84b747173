//! `cargo xtask sim`: the simulator, optimised, over fresh seeds for a while; fails with the first run that does.

use std::process::{Command, ExitCode};

/// How long it runs unless it is told otherwise.
const DEFAULT_SECONDS: u64 = 60;

const USAGE: &str = "usage: cargo xtask sim [--minutes N | --seconds N | --seed S | --plan TEXT] [--store memory|postgres|URL]
                        [--steps N] [--weights NAME:N,...] [--save NAME]

A run that fails is made as small as it gets, and printed as a plan that --plan runs again; --save keeps it for the suite.";

/// Builds the simulator and runs it on all cores.
pub fn sim(arguments: &[String]) -> ExitCode {
    let default = ["--seconds".to_owned(), DEFAULT_SECONDS.to_string()];
    let (mut what, mut more) = (None, Vec::new());
    for pair in arguments.chunks(2) {
        match pair {
            [name, _] if ["--minutes", "--seconds", "--seed", "--plan"].contains(&name.as_str()) => {
                what = Some(pair);
            }
            [name, _] if ["--store", "--steps", "--weights", "--save"].contains(&name.as_str()) => {
                more.extend(pair)
            }
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let mut run = vec!["run", "--release", "--quiet", "-p", "corollary-sim", "--"];
    let asked = what.unwrap_or(&default).iter().chain(more);
    run.extend(asked.map(String::as_str));
    match Command::new(env!("CARGO")).args(run).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
