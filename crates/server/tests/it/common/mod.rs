//! What the tests of the server share: the real binary on a free port, a small HTTP client, and a reader of watches.
//!
//! The client speaks HTTP/1.1 over a plain socket, so that a test sees what is sent, and can also send what no client
//! library would. Nothing waits longer than [`PATIENCE`].

pub mod client;
pub mod company;
pub mod hub;
pub mod nats;
pub mod receiver;
pub mod shim;
pub mod shop;
pub mod watch;
pub mod wire;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use corollary_engine::keys;
use corollary_store::postgres::testing::Server as Database;
use corollary_store::{EmbeddedOptions, EmbeddedStore, StoreError};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use client::{Client, Reply};
pub use serde_json::{Value as Json, json};
pub use shim::shim;
pub use watch::Watch;

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Opens a data folder in this process. Programs that other tests start at the same time hold its lock for a moment, between
/// fork and exec: of many runs one found a folder "in use" that it had just closed itself.
pub fn embedded(folder: &Path) -> Result<EmbeddedStore, StoreError> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match EmbeddedStore::open(folder, &keys::KEYSPACES, EmbeddedOptions::default()) {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(5)),
            opened => return opened,
        }
    }
}

/// The binary with a subcommand.
pub fn corollary(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corollary"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    corollary(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder with a schema and, once something has run, data.
pub struct Place {
    folder: TempDir,
    /// The folder for the data, below this one.
    pub data: String,
    /// A database instead of a folder for the data.
    pub store: Option<String>,
    /// What its servers find in their environment besides.
    pub environment: Vec<(String, String)>,
}

impl Place {
    pub fn new(schema: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("schema.cor"), schema).unwrap();
        Place { folder, data: "data".into(), store: None, environment: Vec::new() }
    }

    /// The same over a database, which several may share.
    pub fn over(database: &Database, schema: &str) -> Place {
        Place { store: Some(database.url()), ..Place::new(schema) }
    }

    /// The folder, which stays where it is.
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path(&self.data)
    }

    pub fn schema(&self) -> PathBuf {
        self.path("schema.cor")
    }

    /// Writes a file beside the schema.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_string()
    }

    /// Runs a command on this schema and this data.
    pub fn run(&self, args: &[&str]) -> Output {
        corollary(args).args(self.args()).output().unwrap()
    }

    pub fn args(&self) -> [String; 4] {
        let shown = |path: &Path| path.to_str().unwrap().to_string();
        let [option, place] = match &self.store {
            Some(url) => ["--store".into(), url.clone()],
            None => ["--data".into(), shown(&self.data())],
        };
        ["--schema".into(), shown(&self.schema()), option, place]
    }

    pub fn serve(&self) -> Server {
        Server::start(self, &[])
    }

    /// `corollary check` has nothing to say against the data.
    #[track_caller]
    pub fn check(&self) {
        let output = self.run(&["check"]);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    }
}

/// A server that runs; killed when dropped.
pub struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub address: String,
    pub ready: String,
    errors: PathBuf,
}

impl Server {
    pub fn start(place: &Place, more: &[&str]) -> Server {
        Server::try_start(place, more).unwrap_or_else(|error| panic!("the server did not start: {error}"))
    }

    /// Starts it and waits for nothing.
    pub fn begin(place: &Place, more: &[&str]) -> Starting {
        let errors = place.path("stderr.txt");
        let child = corollary(&["serve", "--listen", "127.0.0.1:0"])
            .args(place.args())
            .args(more)
            .envs(place.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        Starting { child, errors }
    }

    /// The error is what it said on standard error.
    pub fn try_start(place: &Place, more: &[&str]) -> Result<Server, String> {
        let Starting { mut child, errors } = Server::begin(place, more);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let address = ready.trim_end().rsplit_once("://").map(|(_, address)| address.to_string());
        let Some(address) = address else {
            child.wait().unwrap();
            return Err(fs::read_to_string(errors).unwrap());
        };
        Ok(Server { child, stdout, address, ready, errors })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> Client {
        Client::new(&self.address)
    }

    pub fn watch(&self, path: &str) -> Watch {
        Watch::begin(&self.address, path, &[])
    }

    /// What it has said on standard error.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.errors).unwrap()
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; returns how it ended, and what else it had said on standard output.
    pub fn stop(mut self) -> (ExitStatus, String) {
        self.terminate();
        let status = self.wait();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (status, rest)
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            sleep(Duration::from_millis(5));
        }
    }
}

/// A server that may not be ready yet.
pub struct Starting {
    child: Child,
    errors: PathBuf,
}

impl Starting {
    /// SIGKILL, after a time.
    pub fn kill_after(mut self, time: Duration) {
        sleep(time);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers from a seed, the same for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
}

/// A seed: from the environment to repeat a run, otherwise from the clock.
pub fn seed() -> u64 {
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_nanos() as u64
    };
    let said = |name| std::env::var(name).ok();
    let seed = said("COROLLARY_SEED").or_else(|| said("COROLLARY_TEST_SEED"));
    seed.map_or_else(clock, |seed| seed.parse().unwrap())
}
