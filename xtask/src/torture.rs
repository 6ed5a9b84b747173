//! `cargo xtask torture-updates`: the real server, killed again and again while an update of many dependants runs; reads are
//! exact after each start, and in the end everything follows from the facts.
//!
//! It is the long form of the test `an_update_survives_being_killed` (`crates/server/tests/it/updates.rs`).

use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask torture-updates [--leaves N] [--kills N]

N dependants of one hub (1000000), and how often the server is killed (50). COROLLARY_SEED repeats a run.";

/// Builds the server, optimised, and runs the test.
pub fn torture(arguments: &[String]) -> ExitCode {
    let (mut leaves, mut kills) = ("1000000".to_owned(), "50".to_owned());
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if value.parse::<u32>().is_ok() && name == "--leaves" => leaves.clone_from(value),
            [name, value] if value.parse::<u32>().is_ok() && name == "--kills" => kills.clone_from(value),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let test = [
        "test",
        "--release",
        "-p",
        "corollary-server",
        "--test",
        "it",
        "--",
        "an_update_survives_being_killed",
    ];
    let run = Command::new(env!("CARGO"))
        .args(test)
        .env("COROLLARY_LEAVES", leaves)
        .env("COROLLARY_KILLS", kills)
        .status();
    match run {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}
