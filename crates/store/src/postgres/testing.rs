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
    settings: Vec<String>,
}

/// A folder that belongs to whom the server runs as.
fn new_folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("corollary-pg-").tempdir().expect("a folder").keep();
    own(&folder);
    folder
}

/// Gives a file to whom the server runs as.
pub fn own(path: &Path) {
    if let Some((user, group)) = account() {
        chown(path, Some(user), Some(group)).expect("chown");
    }
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

/// The port, by which the socket is named too.
fn port(settings: &[String]) -> &str {
    settings.iter().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432")
}

/// Starts the server below a shell that ends it when told to, or when this process is gone, and then removes its folder.
fn start(folder: &Path, settings: &[String]) -> Child {
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
    for setting in settings {
        shell.args(["-c", setting]);
    }
    let child = shell.spawn().expect("a server");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut ready = as_server("pg_isready", folder);
    ready.arg("-h").arg(folder).args(["-p", port(settings)]);
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
        Server::with(|_| Vec::new())
    }

    /// The same with further settings, which may name files that are written into its folder for that.
    pub fn with(prepare: impl FnOnce(&Path) -> Vec<String>) -> Arc<Server> {
        let folder = new_folder();
        let mut initdb = as_server("initdb", &folder);
        initdb.args(["--username=postgres", "--auth=trust", "--no-locale", "--encoding=UTF8", "--no-sync"]);
        let made = initdb.arg("--pgdata").arg(folder.join("data")).status();
        assert!(made.expect("initdb").success(), "initdb fails");
        let settings = prepare(&folder);
        Arc::new(Server { process: Mutex::new(start(&folder, &settings)), folder, settings })
    }

    /// A second server that follows this one, and is asked before each commit of this one is done.
    pub fn standby(&self) -> Arc<Server> {
        let folder = new_folder();
        let mut copy = as_server("pg_basebackup", &folder);
        copy.arg("-h").arg(&self.folder).args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast", "-D"]);
        assert!(copy.arg(folder.join("data")).status().expect("pg_basebackup").success(), "a copy is made");
        let settings = Vec::new();
        let standby = Arc::new(Server { process: Mutex::new(start(&folder, &settings)), folder, settings });
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
            assert!(Instant::now() < deadline, "the second server does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// The folder of its socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// SIGKILL, at once: what it had not written is lost.
    pub fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Stops it in immediate mode: nothing is written any more, and the next start has to recover.
    pub fn stop_at_once(&self) {
        self.signal(rustix::process::Signal::QUIT);
        self.stop();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("it runs");
        let number = file.lines().next().and_then(|line| line.parse().ok()).expect("its number");
        let process = rustix::process::Pid::from_raw(number).expect("its number");
        rustix::process::kill_process(process, signal).expect("it runs");
    }

    /// Has one that follows another take writes itself.
    ///
    /// It is not waited for by the query that asks for it: what is left to be replayed may have to wait for the snapshot of that query,
    /// which is then cancelled, after half a minute.
    pub fn promote(&self) {
        assert_eq!(self.sql("SELECT pg_promote(wait => false)"), "t");
        let begun = Instant::now();
        while self.sql("SELECT pg_is_in_recovery()") == "t" {
            assert!(begun.elapsed() < Duration::from_secs(60), "it is still replaying");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The words of a connection string.
    pub fn url(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.folder.display(), port(&self.settings))
    }

    /// A new database in it: the words of its connection string.
    pub fn database(&self, name: &str) -> String {
        let mut create = as_server("createdb", &self.folder);
        let created = create.arg("-h").arg(&self.folder).args(["-U", "postgres", name]).status();
        assert!(created.expect("createdb").success(), "createdb {name} fails");
        format!("host={} user=postgres dbname={name}", self.folder.display())
    }

    /// What a query tells: lines of fields with `|` between.
    pub fn sql(&self, text: &str) -> String {
        let mut psql = as_server("psql", &self.folder);
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(), "-c", text]);
        let output = psql.stderr(Stdio::piped()).stdout(Stdio::piped()).output().expect("psql");
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
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
        *self.process.lock() = start(&self.folder, &self.settings);
    }
}
