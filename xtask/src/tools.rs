//! Programs that the tests run beside the toolchain: found, or installed by the system's package manager.

use std::process::{Command, Stdio};

/// What is run: the program, and the package that has it (the same name in every package manager below but where
/// [`package_of`] says otherwise).
const TOOLS: [(&str, &str); 5] = [
    ("bash", "bash"),
    ("curl", "curl"),
    ("python3", "python3"),
    ("initdb", "postgresql"),
    ("nats-server", "nats-server"),
];

/// The ways to install packages, the first that is there is taken. Refreshing the index first, where it must be.
const MANAGERS: [(&str, &[&[&str]]); 5] = [
    ("apt-get", &[&["update", "-q"], &["install", "-q", "-y", "--no-install-recommends"]]),
    ("dnf", &[&["install", "-q", "-y"]]),
    ("apk", &[&["add", "--no-cache"]]),
    ("pacman", &[&["-Sy", "--noconfirm"]]),
    ("brew", &[&["install"]]),
];

/// The package of a program that has another name there.
fn package_of<'a>(package: &'a str, manager: &str) -> &'a str {
    if package == "postgresql" && manager == "dnf" { "postgresql-server" } else { package }
}

fn there(program: &str) -> bool {
    if program == "initdb" && has_postgres_folder() {
        return true;
    }
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Debian keeps the programs of PostgreSQL's server off the path, a folder for each version.
fn has_postgres_folder() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin/initdb")).any(|initdb| initdb.is_file())
}

/// Makes sure that all are there; the error says what is missing.
pub fn provide() -> Result<(), String> {
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(", ");
    let Some((manager, steps)) = MANAGERS.iter().find(|(manager, _)| there(manager)) else {
        return Err(format!("please install {wanted}: no package manager that is known here was found"));
    };
    for (at, step) in steps.iter().enumerate() {
        let last = at + 1 == steps.len();
        let packages: Vec<&str> =
            missing.iter().filter(|_| last).map(|package| package_of(package, manager)).collect();
        eprintln!("$ {manager} {} {}", step.join(" "), packages.join(" "));
        let run = |sudo: bool| {
            let mut command = if sudo { Command::new("sudo") } else { Command::new(manager) };
            if sudo {
                // Never asks: a run of the tests may have nobody to answer.
                command.args(["-n", manager]);
            }
            command.args(*step).args(&packages).status().is_ok_and(|status| status.success())
        };
        let done = run(false) || (there("sudo") && run(true));
        if !done {
            return Err(format!("please install {wanted}: {manager} could not do it from here"));
        }
    }
    Ok(())
}
