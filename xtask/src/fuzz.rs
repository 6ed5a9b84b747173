//! `cargo xtask fuzz`: the parsers and decoders that meet the outside (`fuzz/`), optimised and with overflow checks, for a while.

use std::process::{Command, ExitCode};

/// Hands what it is told to `corollary-fuzz`, which says how it is used.
pub fn fuzz(arguments: &[String]) -> ExitCode {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--profile", "fuzz", "--quiet", "-p", "corollary-fuzz", "--"]).args(arguments);
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("it could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
