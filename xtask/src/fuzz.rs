//! `cargo xtask fuzz`: the parsers and decoders that meet the outside (`fuzz/`), optimised and with overflow checks, for a while;
//! `cargo xtask fuzz guided TARGET` one of them, guided by coverage: libFuzzer, on the stable compiler, with the counters of
//! LLVM in all that is compiled for it (`fuzz/guided`).

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How long a guided run is unless it is told otherwise.
const DEFAULT_SECONDS: &str = "60";

/// The most bytes of an input, as in `fuzz/src/mutate.rs`.
const MAX_BYTES: usize = 4_096;

/// Counters at each edge, and what is compared.
const COUNTERS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Hands what it is told to `corollary-fuzz`, which says how it is used.
pub fn fuzz(arguments: &[String]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["guided", target] => guided(target, DEFAULT_SECONDS),
        ["guided", target, "--seconds", seconds] if seconds.parse::<u32>().is_ok() => guided(target, seconds),
        ["guided", ..] => {
            eprintln!("usage: cargo xtask fuzz guided TARGET [--seconds N]");
            ExitCode::from(2)
        }
        _ => {
            let mut command = Command::new(env!("CARGO"));
            command
                .args(["run", "--profile", "fuzz", "--quiet", "-p", "corollary-fuzz", "--"])
                .args(arguments);
            ran(&mut command)
        }
    }
}

fn ran(command: &mut Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("it could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The system that the compiler makes programs for. Named, so that what runs while it builds has no counters in it.
fn host() -> Option<String> {
    let output = Command::new("rustc").arg("-vV").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// Builds with counters and runs; what is new goes to `fuzz/guided/corpus`, and what fails to `fuzz/findings`.
fn guided(target: &str, seconds: &str) -> ExitCode {
    let home = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"));
    let committed = home.join("corpus").join(target);
    if !committed.is_dir() {
        eprintln!("there is no target `{target}`; `cargo xtask fuzz list` says which there are");
        return ExitCode::from(2);
    }
    let Some(host) = host() else {
        eprintln!("rustc does not say for which system it compiles");
        return ExitCode::FAILURE;
    };
    let folder = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| home.join("../target"), PathBuf::from)
        .join("guided");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--target", &host, "--manifest-path"])
        .arg(home.join("guided/Cargo.toml"));
    build.arg("--target-dir").arg(&folder).env("RUSTFLAGS", COUNTERS.join(" "));
    if ran(&mut build) != ExitCode::SUCCESS {
        return ExitCode::FAILURE;
    }
    let (news, findings) = (home.join("guided/corpus").join(target), home.join("findings").join(target));
    for folder in [&news, &findings] {
        if let Err(error) = std::fs::create_dir_all(folder) {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    let mut run = Command::new(folder.join(host).join("debug/corollary-fuzz-guided"));
    run.env("COROLLARY_FUZZ_TARGET", target).arg(format!("-max_total_time={seconds}"));
    run.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(format!("-max_len={MAX_BYTES}"));
    // With the separator at its end it is a folder.
    run.arg(format!("-artifact_prefix={}/", findings.display())).arg(news).arg(committed);
    ran(&mut run)
}
