//! A PostgreSQL server of the benchmark's own: started in a fresh folder, durable, reachable from this machine only,
//! stopped and removed when dropped.
//!
//! It gets what an experienced operator would give it (memory for the data, room between checkpoints) and keeps what
//! makes it durable: `fsync`, `synchronous_commit` and `full_page_writes` stay on. Its clients come by the Unix socket,
//! the fastest way in.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use super::process::{self, Finished, Running};
use super::sample::Sample;
use super::{Result, machine};

/// The version that the aims were set against.
const VERSION: u32 = 15;

/// How long the server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const SETTINGS: [&str; 10] = [
    "listen_addresses=127.0.0.1",
    "max_connections=200",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=512MB",
    "effective_cache_size=2GB",
    "maintenance_work_mem=256MB",
    "max_wal_size=4GB",
    "jit=off",
];

/// See the module.
pub struct Postgres {
    // Stopped before its folder goes.
    server: Running,
    bin: PathBuf,
    port: u16,
    folder: TempDir,
}

/// What pgbench repeats.
pub struct Script<'a> {
    /// Its text.
    pub text: &'a str,
    /// Its variables.
    pub variables: &'a [(&'a str, u64)],
    /// How many operations one run of it stands for.
    pub operations: u32,
    /// How many runs begin in a second, evenly; none for the next as soon as the last has ended. What one waits for a
    /// connection counts as latency.
    pub per_second: Option<u32>,
}

impl Postgres {
    /// Starts a server with an empty database in a fresh folder inside `dir`.
    pub fn start(dir: &Path) -> Result<Postgres> {
        let bin = binaries()?;
        let folder = tempfile::Builder::new().prefix("corollary-bench-pg-").tempdir_in(dir);
        let folder = folder.map_err(|error| format!("no folder in {}: {error}", dir.display()))?;
        let account = account()?;
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).map_err(|error| format!("chown: {error}"))?;
        }
        let server_command = |program: &str| {
            let mut command = Command::new(bin.join(program));
            command.current_dir(folder.path()).env("LC_ALL", "C");
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            command
        };
        let data = folder.path().join("data");
        let mut initdb = server_command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--no-locale", "--encoding=UTF8", "--pgdata"]);
        initdb.arg(&data);
        process::run(initdb)?;
        let port = free_port()?;
        let log = folder.path().join("server.log");
        let mut server = server_command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            server.args(["-c", setting]);
        }
        let output = fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let errors = output.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        server.stdout(output).stderr(errors);
        // SIGINT is its fast shutdown: connections end, what is committed stays.
        let server = Running::start(server, Signal::INT)?;
        let mut postgres = Postgres { server, bin, port, folder };
        postgres.wait_until_ready(&log)?;
        machine::print_version("PostgreSQL", &postgres.bin.join("postgres"))?;
        Ok(postgres)
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while process::run(self.client("pg_isready")).is_err() {
            process::tick()?;
            if self.server.ended()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(format!("PostgreSQL did not start:\n{}", process::last_lines(&log)).into());
            }
        }
        Ok(())
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("postgres:///postgres?host={}&port={}&user=postgres", self.folder.path().display(), self.port)
    }

    /// The words by which Corollary reaches it.
    pub fn address(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.folder.path().display(), self.port)
    }

    /// A client program that will connect to this server.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("PGHOST", self.folder.path()).env("PGPORT", self.port.to_string());
        command.env("PGUSER", "postgres").env("PGDATABASE", "postgres").current_dir(self.folder.path());
        command
    }

    /// A `psql` that stops at the first error and prints bare values.
    fn psql(&self) -> Command {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql
    }

    /// Runs a script of statements and psql's own commands, and gives what it printed, bare.
    pub fn script(&self, text: &str) -> Result<Finished> {
        let file = self.folder.path().join("script.sql");
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        self.file(&file, &[])
    }

    /// Runs a file of SQL, with variables for its `:name`.
    pub fn file(&self, file: &Path, variables: &[(&str, String)]) -> Result<Finished> {
        self.file_in(self.folder.path(), file, variables)
    }

    /// The same, where `\copy` finds its files in `folder`.
    pub fn file_in(&self, folder: &Path, file: &Path, variables: &[(&str, String)]) -> Result<Finished> {
        let mut psql = self.psql();
        psql.current_dir(folder);
        for (name, value) in variables {
            psql.args(["-v", &format!("{name}={value}")]);
        }
        psql.arg("-f").arg(file);
        process::run(psql)
    }

    /// Repeats a script with prepared statements over so many connections for `interval`.
    pub fn pgbench(&self, script: &Script<'_>, connections: usize, interval: Duration) -> Result<Sample> {
        let file = self.folder.path().join("pgbench.sql");
        fs::write(&file, script.text).map_err(|error| format!("{}: {error}", file.display()))?;
        // pgbench writes a line for each transaction it logs; of fast ones a tenth is enough and costs it less.
        let rate = if script.operations == 1 && script.per_second.is_none() { "0.1" } else { "1" };
        let mut pgbench = self.client("pgbench");
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
        pgbench.args(["--log", "--log-prefix=transactions", "--sampling-rate", rate]);
        pgbench.args([
            "--client",
            &connections.to_string(),
            "--time",
            &interval.as_secs().max(1).to_string(),
        ]);
        if let Some(per_second) = script.per_second {
            pgbench.args(["--rate", &per_second.to_string()]);
        }
        for (name, value) in script.variables {
            pgbench.args(["-D", &format!("{name}={value}")]);
        }
        pgbench.arg("--file").arg(&file);
        let report = process::run(pgbench)?.stdout;
        let per_second = transactions_per_second(&report)?;
        let mut latencies = self.take_latencies()?;
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
            latencies.get(index).copied().unwrap_or_default()
        };
        Ok(Sample::of(per_second * f64::from(script.operations), quantile))
    }

    /// Reads the logs that pgbench has left, and removes them.
    fn take_latencies(&self) -> Result<Vec<Duration>> {
        let failed = |error: std::io::Error| format!("the log of pgbench: {error}");
        let mut latencies = Vec::new();
        for entry in fs::read_dir(self.folder.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_string_lossy().starts_with("transactions.") {
                let text = fs::read_to_string(entry.path()).map_err(failed)?;
                latencies.extend(text.lines().filter_map(latency));
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        Ok(latencies)
    }
}

/// The third word of a line of pgbench's log: how long the transaction took, in microseconds.
fn latency(line: &str) -> Option<Duration> {
    line.split(' ').nth(2)?.parse().ok().map(Duration::from_micros)
}

/// What pgbench says it did; an error where transactions failed, because they are no work.
fn transactions_per_second(report: &str) -> Result<f64> {
    let after = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)?.split(' ').next());
    let failed = after("number of failed transactions: ").unwrap_or("0");
    if failed != "0" {
        return Err(format!("{failed} transactions of pgbench failed:\n{report}").into());
    }
    after("tps = ")
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("pgbench reported no rate:\n{report}").into())
}

/// The folder of PostgreSQL's programs: of [`VERSION`] where it is installed, else the newest.
fn binaries() -> Result<PathBuf> {
    let mut folders = Vec::new();
    let mut pg_config = Command::new("pg_config");
    pg_config.arg("--bindir");
    folders.extend(process::run(pg_config).ok().map(|finished| PathBuf::from(finished.stdout.trim())));
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        folders.push(entry.path().join("bin"));
    }
    let version = |folder: &Path| {
        let mut postgres = Command::new(folder.join("postgres"));
        postgres.arg("--version");
        let text = process::run(postgres).ok()?.stdout;
        let complete =
            ["initdb", "psql", "pgbench", "pg_isready"].iter().all(|name| folder.join(name).is_file());
        complete.then(|| major(&text)).flatten()
    };
    folders
        .into_iter()
        .filter_map(|folder| version(&folder).map(|version| (version == VERSION, version, folder)))
        .max()
        .map(|(_, _, folder)| folder)
        .ok_or_else(|| {
            format!(
                "PostgreSQL was not found; install version {VERSION} with pgbench, or use --only corollary"
            )
            .into()
        })
}

/// The version in `postgres (PostgreSQL) 15.4 (…)`.
fn major(text: &str) -> Option<u32> {
    let digits = text.split(") ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// PostgreSQL refuses to run as root; then it runs as `postgres` or `nobody`, by number of user and group.
fn account() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let find = |name: &str| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [user, _, uid, gid, ..] = fields.as_slice() else { return None };
            (*user == name).then_some((uid.parse().ok()?, gid.parse().ok()?))
        })
    };
    let account = find("postgres").or_else(|| find("nobody"));
    account
        .map(Some)
        .ok_or_else(|| "PostgreSQL does not run as root, and there is no user postgres or nobody".into())
}

pub fn free_port() -> Result<u16> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| format!("no free port: {error}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_pgbench_is_read() {
        let report = "number of transactions actually processed: 40511\n\
                      number of failed transactions: 0 (0.000%)\n\
                      latency average = 3.951 ms\n\
                      tps = 8099.462514 (without initial connection time)\n";
        assert_eq!(transactions_per_second(report).unwrap(), 8099.462514);
        let failed = report.replace("transactions: 0 (0.000%)", "transactions: 3 (0.007%)");
        assert!(transactions_per_second(&failed).is_err());
        assert!(transactions_per_second("").is_err());
    }

    #[test]
    fn a_logged_transaction_has_its_latency() {
        assert_eq!(latency("0 199 2241 0 1175850568 995598"), Some(Duration::from_micros(2241)));
        assert_eq!(latency("0 199"), None);
    }

    #[test]
    fn the_version_is_found_in_its_line() {
        assert_eq!(major("postgres (PostgreSQL) 15.4 (Debian 15.4-1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 17beta1\n"), Some(17));
        assert_eq!(major("no such thing"), None);
    }
}
