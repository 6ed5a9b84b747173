//! `cargo xtask ci`: what a change must pass, step by step; the first step that fails ends the run.
//!
//! Tests that draw by chance draw by the commit: the same commit is judged the same twice, the next one tries something else.

use std::process::{Command, ExitCode};

use crate::{policy, tools};

/// The steps of `ci`, in order. The tests come last, so that a run ends with their closing line.
const STEPS: [&[&str]; 4] = [
    &["fmt", "--all", "--check"],
    &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"],
    &["doc", "--workspace", "--no-deps", "--all-features"],
    &["test", "--workspace", "--all-features", "--no-fail-fast"],
];

/// Runs the steps; fails where one of them does.
pub fn ci() -> ExitCode {
    if let Err(missing) = tools::provide() {
        eprintln!("{missing}");
        return ExitCode::FAILURE;
    }
    eprintln!("$ cargo xtask policy");
    if policy::policy(&[]) != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    let seed = std::env::var(SEED).ok().or_else(of_commit);
    if let Some(seed) = &seed {
        eprintln!("{SEED}={seed}");
    }
    for step in STEPS {
        eprintln!("$ cargo {}", step.join(" "));
        let mut command = Command::new(env!("CARGO"));
        command.args(step).env("RUSTDOCFLAGS", "-D warnings");
        if let Some(seed) = &seed {
            command.env(SEED, seed).env("PROPTEST_RNG_SEED", seed);
        }
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => {
                eprintln!("cargo {} failed: {status}", step.join(" "));
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("cargo could not be started: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// The variable that the random tests of the server read where nobody asks for a seed.
const SEED: &str = "COROLLARY_TEST_SEED";

/// A seed from the commit that is checked out; none where there is no repository.
fn of_commit() -> Option<String> {
    let told = Command::new("git").args(["rev-parse", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(told.stdout).ok()?;
    Some(u64::from_str_radix(commit.get(..12)?, 16).ok()?.to_string())
}
