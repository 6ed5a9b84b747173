//! `cargo xtask mutants CRATE`: cargo-mutants over the engine, the schema and what they stand on: the code is changed, one place at a
//! time, and the tests of the crate have to notice. What is not noticed is listed in `target/mutants/mutants.out/missed.txt`.

use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask mutants CRATE [--file PATH]... [--shard K/N] [--jobs N] [--tests CRATE] [--list]

  CRATE        value, syntax, schema, engine or store
  --file PATH  only this file, as crates/engine/src/cache.rs
  --shard K/N  one of N equal parts, the first is 0/N
  --jobs N     mutants that are built and tested at a time (1)
  --tests CRATE  the tests of this crate too, which stands on it: most of what the schema does the engine's tests see
  --list       says what would be changed, and tests nothing

It needs cargo-mutants: `cargo install --locked cargo-mutants`.";

const CRATES: [&str; 5] = ["value", "syntax", "schema", "engine", "store"];

/// What is no logic: how things are shown to people, and the hashing of debug output.
const EXCLUDED: &str = "impl (fmt::)?(Debug|Display)";

/// How often as long as without a change the tests may take, and the least in seconds.
const TIMEOUT_FACTOR: &str = "4";
const LEAST_TIMEOUT_SECONDS: &str = "60";

/// What cargo-mutants is told; none where it is asked for what there is not.
fn command(arguments: &[String]) -> Option<Vec<String>> {
    let (name, rest) = arguments.split_first().filter(|(name, _)| CRATES.contains(&name.as_str()))?;
    let mut told: Vec<String> =
        ["mutants", "--no-shuffle", "--output", "target/mutants", "--exclude-re", EXCLUDED]
            .map(String::from)
            .to_vec();
    told.extend(["--timeout-multiplier", TIMEOUT_FACTOR].map(String::from));
    told.extend(["--minimum-test-timeout", LEAST_TIMEOUT_SECONDS].map(String::from));
    told.extend(["--package".to_owned(), format!("corollary-{name}")]);
    let mut rest = rest.iter();
    while let Some(option) = rest.next() {
        match option.as_str() {
            "--list" => told.push("--list".into()),
            "--tests" => {
                let tests = rest.next().filter(|value| CRATES.contains(&value.as_str()))?;
                for tested in [name, tests] {
                    told.extend(["--test-package".to_owned(), format!("corollary-{tested}")]);
                }
            }
            "--file" | "--shard" | "--jobs" => {
                let value = rest.next().filter(|value| !value.starts_with("--"))?;
                told.extend([option.clone(), value.clone()]);
            }
            _ => return None,
        }
    }
    Some(told)
}

/// Runs cargo-mutants; fails where a change was not noticed.
pub fn mutants(arguments: &[String]) -> ExitCode {
    let Some(told) = command(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match Command::new(env!("CARGO")).args(told).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        let arguments: Vec<String> = text.split_whitespace().map(String::from).collect();
        Some(command(&arguments)?.join(" "))
    }

    #[test]
    fn what_is_asked_for_is_told() {
        let all = told("engine --file a.rs --file b.rs --shard 0/8 --list").expect("it is right");
        assert!(
            all.ends_with("--package corollary-engine --file a.rs --file b.rs --shard 0/8 --list"),
            "{all}"
        );
        let with = told("schema --tests engine").expect("it is right");
        assert!(with.ends_with("--test-package corollary-schema --test-package corollary-engine"), "{with}");
        for wrong in [
            "",
            "schema --tests",
            "schema --tests other",
            "server",
            "engine --file",
            "engine --file --list",
            "engine more",
        ] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }
}
