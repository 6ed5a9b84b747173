//! The conformance suite over a real server, and what only a store in a database has: connections that break, servers
//! that stop, others who have the store open.
//!
//! Each process of tests starts a server of its own, in a folder of its own, reachable by its socket only.

use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::geteuid;

use super::*;
use crate::conformance::{KEYSPACES, ONE, Subject, TWO};

/// A server.
struct Server {
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
    fn shared() -> Arc<Server> {
        static RUNNING: OnceLock<Arc<Server>> = OnceLock::new();
        RUNNING.get_or_init(Server::new).clone()
    }

    fn new() -> Arc<Server> {
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

    fn url(&self) -> String {
        format!("host={} user=postgres dbname=postgres", self.folder.display())
    }

    /// Stops it: connections end, transactions under way are undone.
    fn stop(&self) {
        let mut process = self.process.lock();
        let mut told = process.stdin.take().expect("it runs");
        told.write_all(b"stop\n").expect("it listens");
        process.wait().expect("it ends");
    }

    fn start_again(&self) {
        *self.process.lock() = start(&self.folder);
    }

    /// A connection of the tests' own.
    fn connection(&self) -> Connection {
        Connection::open(&self.url().parse().expect("an address"), "the server").expect("a connection")
    }
}

/// A store in a schema of its own.
struct InPostgres {
    /// `None` only while it is opened again.
    store: Option<PostgresStore>,
    options: PostgresOptions,
    server: Arc<Server>,
}

fn options() -> PostgresOptions {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let schema = format!("s{}", NEXT.fetch_add(1, Ordering::Relaxed));
    PostgresOptions { schema, ..PostgresOptions::default() }
}

fn open(server: &Server, options: &PostgresOptions) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(&server.url(), KEYSPACES, options.clone())
}

impl InPostgres {
    fn fresh() -> InPostgres {
        InPostgres::on(Server::shared())
    }

    fn on(server: Arc<Server>) -> InPostgres {
        let options = options();
        InPostgres { store: Some(open(&server, &options).unwrap()), options, server }
    }

    fn store(&self) -> &PostgresStore {
        self.store.as_ref().unwrap()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store().snapshot()?.get(ONE, key)
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        batch.put(ONE, key, value);
        self.store().commit(&batch)
    }
}

impl Subject for InPostgres {
    fn store(&self) -> &dyn Store {
        Self::store(self)
    }

    fn reopen(&mut self) -> bool {
        self.store = None;
        self.store = Some(open(&self.server, &self.options).unwrap());
        true
    }
}

crate::conformance_tests!(InPostgres::fresh());

#[test]
fn one_process_at_a_time_has_the_store_open() {
    let mut subject = InPostgres::fresh();
    let second = open(&subject.server, &subject.options).map(drop);
    assert!(matches!(second, Err(StoreError::InUse { .. })), "{second:?}");
    // Another schema is another store.
    drop(open(&subject.server, &options()).unwrap());
    subject.put(b"k", b"v").unwrap();
    subject.reopen();
    assert_eq!(subject.get(b"k").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let subject = InPostgres::on(Server::new());
    subject.put(b"a", b"1").unwrap();
    assert_eq!(subject.get(b"a").unwrap(), Some(b"1".to_vec()));
    let open = subject.store().snapshot().unwrap();
    subject.server.stop();
    let refused = subject.put(b"b", b"2").unwrap_err();
    assert!(!refused.is_fatal(), "{refused}");
    assert!(open.get(ONE, b"a").is_err() && subject.get(b"a").is_err());
    drop(open);
    subject.server.start_again();
    subject.put(b"c", b"3").unwrap();
    assert_eq!(subject.get(b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(subject.get(b"b").unwrap(), None);
    assert_eq!(subject.get(b"c").unwrap(), Some(b"3".to_vec()));
    let stats = subject.store().stats().unwrap();
    assert_eq!((stats.commits, stats.open_snapshots), (2, 0));
}

#[test]
fn a_commit_whose_connection_breaks_is_told_as_it_is() {
    // The session ends while the commit waits, before it is there: the counter says so, and the store goes on.
    let subject = InPostgres::fresh();
    subject.put(b"k", b"1").unwrap();
    let other = subject.server.connection();
    let table = format!("{}.ks_one", subject.options.schema);
    other.batch(format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE")).unwrap();
    let end_sessions =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| subject.put(b"k", b"2"));
        let third = subject.server.connection();
        while third.query(end_sessions.into(), Vec::new()).unwrap().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let outcome = commit.join().unwrap().unwrap_err();
        assert!(!outcome.is_fatal(), "{outcome}");
    });
    other.batch("ROLLBACK").unwrap();
    assert_eq!(subject.get(b"k").unwrap(), Some(b"1".to_vec()));
    subject.put(b"k", b"3").unwrap();
    assert_eq!(subject.get(b"k").unwrap(), Some(b"3".to_vec()));

    // The connection breaks after the commit: it is there, and told as done. The server cuts it off while a trigger that
    // runs at the very end of the transaction has still to answer.
    let counter = format!("SELECT commits FROM {}.store", subject.options.schema);
    let before = other.number(counter.clone()).unwrap();
    let mut writer = subject.store().writer.lock();
    let resolved = {
        other.batch(format!("UPDATE {}.store SET commits = commits + 1", subject.options.schema)).unwrap();
        writer.resolve_for_test("the connection broke")
    };
    drop(writer);
    assert!(resolved.is_ok(), "{resolved:?}");
    assert_eq!(other.number(counter).unwrap(), before + 1);
    subject.put(b"k", b"4").unwrap();
}

#[test]
fn who_lost_the_store_to_another_writes_no_more() {
    let subject = InPostgres::on(Server::new());
    subject.put(b"k", b"1").unwrap();
    let other = subject.server.connection();
    let sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
    other.query(format!("{sessions} AND backend_type = 'client backend'"), Vec::new()).unwrap();
    let mine = open(&subject.server, &subject.options).unwrap();
    let refused = subject.put(b"k", b"2").unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    let mut batch = Batch::new();
    batch.put(ONE, b"k", b"3");
    mine.commit(&batch).unwrap();
    drop(mine);
    let refused = subject.put(b"k", b"4").unwrap_err();
    assert!(refused.is_fatal(), "{refused}");
    assert_eq!(subject.get(b"k").unwrap(), Some(b"3".to_vec()));
}

#[test]
fn what_is_not_ours_or_newer_is_refused() {
    let subject = InPostgres::fresh();
    let other = subject.server.connection();
    other.batch(format!("UPDATE {}.store SET version = 99", subject.options.schema)).unwrap();
    let (server, options) = (subject.server.clone(), subject.options.clone());
    drop(subject);
    let refused = open(&server, &options).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::NewerVersion { found: 99, .. }), "{refused}");
    let wrong = PostgresOptions { schema: "Data; DROP".into(), ..PostgresOptions::default() };
    assert!(matches!(open(&server, &wrong).map(drop), Err(StoreError::Declaration { .. })));
    let secret = "postgres://me:secret@127.0.0.1:1/db";
    let unreachable =
        PostgresStore::open(secret, KEYSPACES, PostgresOptions::default()).map(drop).unwrap_err();
    let told = unreachable.to_string();
    assert!(told.starts_with("postgres://127.0.0.1:1/db failed") && !told.contains("secret"), "{told}");
    let tls = format!("{} sslmode=require", server.url());
    let refused = PostgresStore::open(&tls, KEYSPACES, options).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::Unsupported { .. }), "{refused}");
    assert!(PostgresStore::open("postgres://%", KEYSPACES, PostgresOptions::default()).is_err());
}

#[test]
fn more_readers_than_connections_wait_and_then_are_told() {
    let server = Server::shared();
    let options = PostgresOptions { readers: 2, wait_for_reader: Duration::from_millis(100), ..options() };
    let subject = InPostgres { store: Some(open(&server, &options).unwrap()), options, server };
    let first = subject.store().snapshot().unwrap();
    let _second = subject.store().snapshot().unwrap();
    let third = subject.store().snapshot().map(drop);
    assert!(matches!(third, Err(StoreError::TooManySnapshots { limit: 2 })), "{third:?}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| subject.get(b"k"));
        drop(first);
        assert_eq!(waiting.join().unwrap().unwrap(), None);
    });
}

#[test]
fn a_store_may_be_used_where_other_work_is_driven() {
    // Waiting for a runtime's work on a thread that drives a runtime panics; the store has threads of its own.
    let subject = InPostgres::fresh();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        subject.put(b"k", b"v").unwrap();
        assert_eq!(subject.get(b"k").unwrap(), Some(b"v".to_vec()));
    });
}

#[test]
fn large_batches_are_several_statements_and_one_commit() {
    let subject = InPostgres::fresh();
    let mut batch = Batch::new();
    for n in 0u32..3_000 {
        batch.put(ONE, n.to_be_bytes(), vec![n as u8; 9_000]);
        batch.put(TWO, n.to_be_bytes(), b"x");
    }
    subject.store().commit(&batch).unwrap();
    let mut batch = Batch::new();
    batch.delete(ONE, 7u32.to_be_bytes());
    batch.delete_range(TWO, crate::KeyRange::after(10u32.to_be_bytes()));
    subject.store().commit(&batch).unwrap();
    let snapshot = subject.store().snapshot().unwrap();
    let count = |keyspace| {
        let mut count = 0;
        let all = crate::KeyRange::all();
        snapshot
            .scan(keyspace, &all, crate::Direction::Forward, usize::MAX, &mut |_, _| {
                count += 1;
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        count
    };
    assert_eq!((count(ONE), count(TWO)), (2_999, 11));
    assert_eq!(snapshot.get(ONE, &2_999u32.to_be_bytes()).unwrap(), Some(vec![2_999u32 as u8; 9_000]));
}
