//! `cargo xtask long`: the tests that take minutes where the code is not optimised, optimised; with the numbers they find.

use std::process::{Command, ExitCode};
use std::time::Instant;

/// The files with such tests, all of the engine: those in them that are ignored otherwise.
const FILES: [&str; 2] = ["exact_sums", "work"];

/// Builds and runs them; fails where one of them does.
pub fn long() -> ExitCode {
    let mut run = vec!["test", "--release", "--quiet", "-p", "corollary-engine"];
    FILES.iter().for_each(|file| run.extend(["--test", file]));
    run.extend(["--", "--ignored", "--nocapture"]);
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
