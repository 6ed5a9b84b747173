//! Peers that come from a registry of packages, into a folder that is removed at the end. Where one cannot be had, because its
//! installer is not there or cannot fetch it, the benchmark goes without it and says so.

use std::process::Command;

use tempfile::TempDir;

use super::options::Options;
use super::{Result, process, progress};

/// The packages of npm that a peer is, each with its version, installed in a folder; none where that is not possible here.
pub fn npm(peer: &str, packages: &[&str], options: &Options) -> Result<Option<TempDir>> {
    let folder = folder(options)?;
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"]).arg(folder.path());
    install.args(packages);
    Ok(installed(peer, install)?.then_some(folder))
}

/// The same of a package of Python, with its programs in `bin`.
pub fn pip(peer: &str, package: &str, options: &Options) -> Result<Option<TempDir>> {
    let folder = folder(options)?;
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]);
    install.arg(folder.path()).arg(package);
    Ok(installed(peer, install)?.then_some(folder))
}

fn folder(options: &Options) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("corollary-bench-packages-").tempdir_in(&options.dir);
    folder.map_err(|error| format!("no folder in {}: {error}", options.dir.display()).into())
}

/// Whether an installer did its work; if not, it is told why. An interrupt is an error.
fn installed(peer: &str, install: Command) -> Result<bool> {
    process::check()?;
    progress(&format!("installing {peer}"));
    let Err(error) = process::run(install) else { return Ok(true) };
    process::check()?;
    progress(&format!("without {peer}: {error}"));
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installer_that_is_not_there_or_fails_is_no_error() {
        let failing = || {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no network >&2; exit 1"]);
            command
        };
        assert!(!installed("Nobody", Command::new("no-such-installer")).unwrap());
        assert!(!installed("Nobody", failing()).unwrap());
        assert!(installed("Somebody", Command::new("true")).unwrap());
    }
}
