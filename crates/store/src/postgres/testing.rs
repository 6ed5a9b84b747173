//! A PostgreSQL server for tests: in a folder of its own, reachable by its socket only, gone with the process.
//!
//! It runs below a shell that waits for the end of this process, however that comes about.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::geteuid;

/// A server.
pub struct Server {
    process: Mutex<Child>,
    folder: PathBuf,
}

/// The folder with the programs of the newest PostgreSQL.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = versions.filter_map(|entry| Some((version(&entry.path())?, entry.path().join("bin"))));
    let newest = installed.filter(|(_, bin)| bin.join("initdb").is_file()).max();
    let on_path = || {
        let found = Command::new("pg_config").arg("--bindir").output().ok()?;
        Some(PathBuf::from(String::from_utf8(found.stdout).ok()?.trim()))
    };
    let found = newest.map(|(_, bin)| bin).or_else(on_path);
    found.expect("PostgreSQL is installed; `cargo xtask ci` does it where it can")
}

/// Whom the server runs as, where that must not be us.
fn account() -> Option<(u32, u32)> {
    let users = geteuid().is_root().then(|| fs::read_to_string("/etc/passwd").expect("a list of users"))?;
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [user, _, uid, gid, ..] = fields.as_slice() else { return None };
            (*user == name).then_some((uid.parse().ok()?, gid.parse().ok()?))
        })
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user other than root"))
}

fn as_server(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir(folder).env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = account() {
        command.uid(user).gid(group);
    }
    command
}

/// Starts the server below a shell that ends it when told to, or when this process is gone, and then removes its folder.
fn start(folder: &Path) -> Child {
    let script = "\"$@\" & server=$!; read -r told; kill -INT $server; wait $server; \
                  [ \"$told\" = stop ] || rm -rf \"$PWD\"";
    let mut shell = Command::new("sh");
    shell.current_dir(folder).env("LC_ALL", "C").args(["-c", script, "sh"]);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = account() {
        shell.uid(user).gid(group);
    }
    shell.arg(programs().join("postgres")).arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    for setting in ["listen_addresses=", "fsync=off", "max_connections=200", "shared_buffers=32MB"] {
        shell.args(["-c", setting]);
    }
    let child = shell.spawn().expect("a server");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut ready = as_server("pg_isready", folder);
    ready.arg("-h").arg(folder);
    while !ready.status().expect("pg_isready").success() {
        assert!(Instant::now() < deadline, "PostgreSQL does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

impl Server {
    /// The one of this process, which lives as long.
    pub fn shared() -> Arc<Server> {
        static RUNNING: OnceLock<Arc<Server>> = OnceLock::new();
        RUNNING.get_or_init(Server::new).clone()
    }

    /// One of its own, which lives as long as this process.
    pub fn new() -> Arc<Server> {
        let folder = tempfile::Builder::new().prefix("corollary-pg-").tempdir().expect("a folder").keep();
        if let Some((user, group)) = account() {
            chown(&folder, Some(user), Some(group)).expect("chown");
        }
        let mut initdb = as_server("initdb", &folder);
        initdb.args(["--username=postgres", "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync"]);
        let made = initdb.arg("--pgdata").arg(folder.join("data")).status();
        assert!(made.expect("initdb").success(), "initdb fails");
        Arc::new(Server { process: Mutex::new(start(&folder)), folder })
    }

    /// The words of a connection string.
    pub fn url(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.display())
    }

    /// Stops it: connections end, transactions under way are undone.
    pub fn stop(&self) {
        let mut process = self.process.lock();
        let mut told = process.stdin.take().expect("it runs");
        told.write_all(b"stop\n").expect("it listens");
        process.wait().expect("it ends");
    }

    /// Starts it again after it was stopped.
    pub fn start_again(&self) {
        *self.process.lock() = start(&self.folder);
    }
}
