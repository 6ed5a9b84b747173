//! An etcd of the benchmark's own, where there is one: one server in a fresh folder with its defaults, asked over its HTTP
//! gateway.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{self, Running};
use super::{Result, machine};

/// How long it may take until it is ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that is ready.
pub struct Etcd {
    server: Running,
    address: SocketAddr,
    _folder: TempDir,
}

impl Etcd {
    /// Starts one inside `dir`; none where the program is not installed (for Debian the package `etcd-server`).
    pub fn start(dir: &Path) -> Result<Option<Etcd>> {
        if Command::new("etcd").arg("--version").output().is_err() {
            return Ok(None);
        }
        machine::print_version("etcd", Path::new("etcd"))?;
        let folder = tempfile::Builder::new().prefix("corollary-bench-etcd-").tempdir_in(dir);
        let folder = folder.map_err(|error| format!("no folder in {}: {error}", dir.display()))?;
        let [address, peers] = [free()?, free()?];
        let mut command = Command::new("etcd");
        let url = |address: SocketAddr| format!("http://{address}");
        command.arg("--data-dir").arg(folder.path().join("data")).args(["--log-level", "error"]);
        command.args(["--listen-client-urls", &url(address), "--advertise-client-urls", &url(address)]);
        command.args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)]);
        command.args(["--initial-cluster", &format!("default={}", url(peers))]);
        // It tells much, and nothing of it is a number.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Running::start(command, Signal::TERM)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while std::net::TcpStream::connect(address).is_err() {
            if server.ended()?.is_some() || Instant::now() > deadline {
                return Err("etcd did not start".into());
            }
            process::tick()?;
        }
        Ok(Some(Etcd { server, address, _folder: folder }))
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

/// An address at which nobody listens.
fn free() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map_err(|error| format!("no free port: {error}").into())
}
