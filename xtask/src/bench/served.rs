//! A server of a peer: a process that listens on this machine, with the folder that it has its data or its programs in.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::Result;
use super::postgres::free_port;
use super::process::{self, Running};

/// How long it may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// One that is ready. It ends when dropped.
pub struct Served {
    // Stopped before its folder goes.
    server: Running,
    address: SocketAddr,
    _folder: TempDir,
}

impl Served {
    /// Starts it, and waits until it is ready at an address (see [`free_address`]) that it has been told of.
    pub fn start(
        name: &str,
        mut command: Command,
        address: SocketAddr,
        folder: TempDir,
        is_ready: impl Fn() -> bool,
    ) -> Result<Served> {
        let printed = folder.path().join("printed");
        let failed = |error| format!("{}: {error}", printed.display());
        let out = File::create(&printed).map_err(failed)?;
        command.stderr(out.try_clone().map_err(failed)?).stdout(out);
        let mut server = Running::start(command, Signal::TERM)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while !is_ready() {
            process::tick()?;
            if server.ended()?.is_some() || Instant::now() > deadline {
                let printed = fs::read_to_string(&printed).unwrap_or_default();
                return Err(format!("{name} did not start:\n{}", process::last_lines(&printed)).into());
            }
        }
        Ok(Served { server, address, _folder: folder })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The time that it has had of the processors.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.server.cpu_time()
    }
}

/// An address of this machine at which nobody listens.
pub fn free_address() -> Result<SocketAddr> {
    free_port().map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_ends_before_it_is_ready_says_why() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason >&2; exit 3"]);
        let folder = tempfile::tempdir().unwrap();
        let started = Served::start("Nobody", command, free_address().unwrap(), folder, || false);
        let error = started.err().unwrap().to_string();
        assert!(error.contains("Nobody did not start") && error.contains("the reason"), "{error}");
    }
}
