//! `cargo xtask sim`: the simulator, optimised, over fresh seeds for a while; fails with the first run that does.

use std::process::{Command, ExitCode};

/// How long it runs unless it is told otherwise.
const DEFAULT_SECONDS: u64 = 60;

const USAGE: &str = "usage: cargo xtask sim [--minutes N | --seconds N | --seed S | --plan TEXT]

A run that fails is made as small as it gets, and printed as a plan that --plan runs again.";

/// Builds the simulator and runs it on all cores.
pub fn sim(arguments: &[String]) -> ExitCode {
    let default = ["--seconds".to_owned(), DEFAULT_SECONDS.to_string()];
    let what = match arguments {
        [] => &default[..],
        [name, _] if ["--minutes", "--seconds", "--seed", "--plan"].contains(&name.as_str()) => arguments,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut run = vec!["run", "--release", "--quiet", "-p", "corollary-sim", "--"];
    run.extend(what.iter().map(String::as_str));
    match Command::new(env!("CARGO")).args(run).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
