//! `cargo xtask ci`: what a change must pass, step by step; the first step that fails ends the run.

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
    if policy::policy() != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    for step in STEPS {
        eprintln!("$ cargo {}", step.join(" "));
        let status = Command::new(env!("CARGO")).args(step).env("RUSTDOCFLAGS", "-D warnings").status();
        match status {
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
