//! `cargo xtask long`: the tests that take minutes where the code is not optimised, optimised; with the numbers they find.

use std::process::{Command, ExitCode};
use std::time::Instant;

/// Builds and runs them; fails where one of them does.
pub fn long() -> ExitCode {
    // All of them are the engine's: those that are ignored otherwise.
    let run = [
        "test",
        "--release",
        "--quiet",
        "-p",
        "corollary-engine",
        "--test",
        "it",
        "--",
        "--ignored",
        "--nocapture",
    ];
    eprintln!("$ cargo {}", run.join(" "));
    let begin = Instant::now();
    match Command::new(env!("CARGO")).args(run).status() {
        Ok(status) if status.success() => {
            eprintln!("{:.1} s", begin.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
