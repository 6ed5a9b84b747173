//! An etcd of the benchmark's own, where there is one: one server in a fresh folder with its defaults, asked over its HTTP
//! gateway.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::served::{Served, free_address};
use super::{Result, machine};

/// A server that is ready.
pub struct Etcd(Served);

impl Etcd {
    /// Starts one inside `dir`; none where the program is not installed (for Debian the package `etcd-server`).
    pub fn start(dir: &Path) -> Result<Option<Etcd>> {
        if Command::new("etcd").arg("--version").output().is_err() {
            return Ok(None);
        }
        machine::print_version("etcd", Path::new("etcd"))?;
        let folder = tempfile::Builder::new().prefix("corollary-bench-etcd-").tempdir_in(dir);
        let folder = folder.map_err(|error| format!("no folder in {}: {error}", dir.display()))?;
        let [address, peers] = [free_address()?, free_address()?];
        let mut command = Command::new("etcd");
        let url = |address: SocketAddr| format!("http://{address}");
        command.arg("--data-dir").arg(folder.path().join("data")).args(["--log-level", "error"]);
        command.args(["--listen-client-urls", &url(address), "--advertise-client-urls", &url(address)]);
        command.args(["--listen-peer-urls", &url(peers), "--initial-advertise-peer-urls", &url(peers)]);
        command.args(["--initial-cluster", &format!("default={}", url(peers))]);
        let is_ready = || TcpStream::connect(address).is_ok();
        Served::start("etcd", command, address, folder, is_ready).map(|served| Some(Etcd(served)))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// The time that it has had of the processors.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.0.cpu_time()
    }
}
