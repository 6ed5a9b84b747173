//! The conformance suite over a real server, and what only a store in a database has: connections that break, servers
//! that stop, others who have the store open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::testing::Server;
use super::*;
use crate::conformance::{KEYSPACES, ONE, Subject, TWO};

/// A connection of the tests' own.
fn connection(server: &Server) -> Connection {
    Connection::open(&server.url().parse().expect("an address"), "the server").expect("a connection")
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

    fn beside(&self) -> Option<Box<dyn Store>> {
        Some(Box::new(open(&self.server, &self.options).unwrap()))
    }
}

crate::conformance_tests!(InPostgres::fresh());

#[test]
fn an_earlier_version_and_this_one_keep_each_other_out() {
    // It wants the store for itself alone, and sees to that with a lock.
    let server = Server::shared();
    let options = options();
    let earlier = connection(&server);
    let name = format!("hashtextextended('corollary store {}', 0)", options.schema);
    assert_eq!(earlier.number(format!("SELECT pg_try_advisory_lock({name})::int::int8")).unwrap(), 1);
    let refused = open(&server, &options).map(drop);
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    assert_eq!(earlier.number(format!("SELECT pg_advisory_unlock({name})::int::int8")).unwrap(), 1);
    let _this = open(&server, &options).unwrap();
    assert_eq!(earlier.number(format!("SELECT pg_try_advisory_lock({name})::int::int8")).unwrap(), 0);
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
    let other = connection(&subject.server);
    let table = format!("{}.ks_one", subject.options.schema);
    other.batch(format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE")).unwrap();
    let end_sessions =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| subject.put(b"k", b"2"));
        let third = connection(&subject.server);
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

    // The connection breaks after the commit: it is there, and told as done.
    let tables = Tables::new(&subject.options.schema, KEYSPACES).unwrap();
    let committed = other.number(tables.take_turn()).unwrap();
    let resolve = |number| subject.store().writer.lock().resolve_for_test(number, "the connection broke");
    resolve(committed).unwrap();
    // One that is not there is told so, and one that is still open is waited for.
    other.batch("BEGIN").unwrap();
    let open = other.number(tables.take_turn()).unwrap();
    std::thread::scope(|scope| {
        let resolved = scope.spawn(|| resolve(open));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!resolved.is_finished());
        other.batch("ROLLBACK").unwrap();
        let refused = resolved.join().unwrap().unwrap_err();
        assert!(!refused.is_fatal(), "{refused}");
    });
    subject.put(b"k", b"4").unwrap();
}

#[test]
fn a_process_that_stops_in_the_middle_of_a_commit_is_cut_off() {
    let subject = InPostgres::fresh();
    let tables = Tables::new(&subject.options.schema, KEYSPACES).unwrap();
    let stopped = connection(&subject.server);
    // As its connections for commits are set, but for the time.
    stopped.batch("SET idle_in_transaction_session_timeout = 200").unwrap();
    stopped.batch("BEGIN").unwrap();
    stopped.number(tables.take_turn()).unwrap();
    subject.put(b"k", b"1").unwrap();
    assert!(stopped.batch("COMMIT").is_err());
    assert_eq!(subject.get(b"k").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn what_is_not_ours_or_newer_is_refused() {
    let subject = InPostgres::fresh();
    let other = connection(&subject.server);
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
