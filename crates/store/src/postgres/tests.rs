//! The conformance suite over a real server, and what only a store in a database has: connections that break, servers
//! that stop, others who have the store open.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::connection::Parameter;
use super::testing::{Server, own};
use super::*;
use crate::conformance::{KEYSPACES, ONE, Subject, TWO};

/// A connection of the tests' own.
fn connection(server: &Server) -> Connection {
    let Address { config, protection } = Address::parse(&server.url()).expect("an address");
    let tls = tls::connector(&protection).expect("a connector");
    Connection::open(&config, &tls, "the server").expect("a connection")
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
    // Of this store alone: every session of the server that waited for a lock was ended once, those of other tests too.
    let end_sessions = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    );
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| subject.put(b"k", b"2"));
        let third = connection(&subject.server);
        while third.query(end_sessions.clone(), Vec::new()).unwrap().is_empty() {
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
    let tables = &subject.store().shared.tables;
    let resolve = |number| subject.store().writer.lock().resolve_for_test(number, "the connection broke");
    let begin = || {
        other.batch("BEGIN").unwrap();
        let number = other.number(tables.count_commit()).unwrap();
        other.query(tables.note_commit(), vec![Parameter::Number(number)]).unwrap();
        number
    };
    let committed = begin();
    other.batch("COMMIT").unwrap();
    assert!(resolve(committed).unwrap());
    // One that is still open is waited for, and if it is not there in the end it is told so.
    let open = begin();
    std::thread::scope(|scope| {
        let resolved = scope.spawn(|| resolve(open));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!resolved.is_finished());
        other.batch("ROLLBACK").unwrap();
        assert!(!resolved.join().unwrap().unwrap());
    });
    subject.put(b"k", b"4").unwrap();
}

#[test]
fn a_commit_that_is_lost_is_not_taken_for_that_of_another() {
    // A server that crashes, or one that takes over, gives numbers again that were not on record: of transactions, and of
    // commits. What was asked for was once the state of a transaction, and that of another was told.
    let subject = InPostgres::fresh();
    let another = open(&subject.server, &subject.options).unwrap();
    subject.put(b"k", b"1").unwrap();
    let mut batch = Batch::new();
    batch.put(ONE, "k", "2");
    another.commit(&batch).unwrap();
    let count = format!("SELECT commits FROM {}.store", subject.options.schema);
    let last = connection(&subject.server).number(count).unwrap();
    let resolve = |number| subject.store().writer.lock().resolve_for_test(number, "the connection broke");
    assert!(!resolve(last).unwrap(), "it was the other one's");
    assert!(resolve(last - 1).unwrap());
}

#[test]
fn a_process_that_stops_in_the_middle_of_a_commit_is_cut_off() {
    let subject = InPostgres::fresh();
    let tables = Tables::new(&subject.options.schema, KEYSPACES).unwrap();
    let stopped = connection(&subject.server);
    // As its connections for commits are set, but for the time.
    stopped.batch("SET idle_in_transaction_session_timeout = 200").unwrap();
    stopped.batch("BEGIN").unwrap();
    stopped.number(tables.count_commit()).unwrap();
    subject.put(b"k", b"1").unwrap();
    assert!(stopped.batch("COMMIT").is_err());
    assert_eq!(subject.get(b"k").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn who_loses_its_turn_is_judged_by_its_conditions() {
    let subject = InPostgres::fresh();
    let other = open(&subject.server, &subject.options).unwrap();
    let put = |store: &PostgresStore, value: &str, expected: Option<&str>| {
        let mut batch = Batch::new();
        batch.put(ONE, "k", value);
        batch.require(ONE, "k", expected.map(Into::into));
        store.commit(&batch)
    };
    // It may be gone already: on a machine that stands still the server cuts it off by itself, and then there is nobody to end.
    let lose = || {
        // Of this store alone: once it was whoever had the turn of any store of the server, those of other tests too.
        let turn = format!("hashtextextended('corollary turn {}', 0)", subject.options.schema);
        let holds = format!(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted \
             AND classid::int8 << 32 | objid::int8 = {turn}"
        );
        let end = format!("SELECT count(pg_terminate_backend(pid)) FROM ({holds}) AS holders");
        while subject.server.sql(&end) != "0" {
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    // Nobody came in between.
    let turn = subject.store().turn().unwrap();
    lose();
    put(subject.store(), "1", None).unwrap();
    drop(turn);
    // Somebody did: the others do not wait for one that is gone.
    let turn = subject.store().turn().unwrap();
    lose();
    put(&other, "2", Some("1")).unwrap();
    let refused = put(subject.store(), "3", Some("1"));
    assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    drop(turn);
    // A turn that is given back although it was lost does no harm.
    let turn = subject.store().turn().unwrap();
    lose();
    drop(turn);
    put(subject.store(), "4", Some("2")).unwrap();
    put(&other, "5", Some("4")).unwrap();
}

#[test]
fn a_process_that_stops_with_its_turn_is_cut_off() {
    let subject = InPostgres::fresh();
    let tables = Tables::new(&subject.options.schema, KEYSPACES).unwrap();
    let stopped = connection(&subject.server);
    // As its connections for commits are set, but for the time.
    stopped.batch("SET idle_in_transaction_session_timeout = 200").unwrap();
    stopped.begin(vec![(tables.wait_for_turn(), Vec::new())]).unwrap();
    subject.put(b"k", b"1").unwrap();
    drop(subject.store().turn().unwrap());
    assert!(stopped.batch("COMMIT").is_err());
}

#[test]
fn a_commit_that_is_refused_late_leaves_its_connection_as_it_was() {
    // A statement that could not even be prepared left the transaction open, and the commit behind it failed.
    let subject = InPostgres::fresh();
    let schema = &subject.options.schema;
    subject.server.sql(&format!("ALTER TABLE {schema}.ks_two RENAME TO away"));
    let mut batch = Batch::new();
    batch.put(TWO, "k", "1");
    let refused = subject.store().commit(&batch).unwrap_err();
    assert!(!refused.is_fatal(), "{refused}");
    subject.server.sql(&format!("ALTER TABLE {schema}.away RENAME TO ks_two"));
    subject.put(b"k", b"1").unwrap();
    subject.store().commit(&batch).unwrap();
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
    assert!(refused.to_string().contains("does not support TLS"), "a socket has none: {refused}");
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

#[test]
fn a_bell_whose_connection_breaks_rings_when_it_is_there_again() {
    let subject = InPostgres::fresh();
    let other = open(&subject.server, &subject.options).unwrap();
    let (ring, rings) = std::sync::mpsc::channel();
    let bell: Bell = Arc::new(move || {
        let _ = ring.send(());
    });
    let patience = Duration::from_secs(10);
    subject.store().listen(&bell).unwrap();
    rings.recv_timeout(patience).unwrap();
    let sessions = format!("query = 'LISTEN corollary_{}'", subject.options.schema);
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {sessions}");
    for n in 0..3u8 {
        assert_eq!(subject.server.sql(&end), "t", "there is one that listens");
        let mut batch = Batch::new();
        batch.put(ONE, "n", [n]);
        other.commit(&batch).unwrap();
        rings.recv_timeout(patience).unwrap();
        assert_eq!(subject.get(b"n").unwrap(), Some(vec![n]), "what came while nobody listened is there");
        // The ring may have been the last one of the session that ended.
        while subject.server.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {sessions}")) != "1" {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(20));
        while rings.try_recv().is_ok() {}
        other.commit(&batch).unwrap();
        rings.recv_timeout(patience).expect("it rings again");
    }
    drop(subject.store().snapshot().unwrap());
}

/// A server with TLS, for `localhost` and no other name, which takes the role `certified` by its certificate alone.
struct Encrypted {
    server: Arc<Server>,
    port: u16,
    /// The certificate of whom the server's was signed by.
    trusted: PathBuf,
    /// That of somebody else.
    untrusted: PathBuf,
    /// The certificate of `certified`, and its key.
    own: [PathBuf; 2],
    /// A certificate for `certified` that somebody else has signed, and its key.
    forged: [PathBuf; 2],
}

impl Encrypted {
    fn new() -> Encrypted {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let authority = |name: &str| {
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            (certificate.pem(), rcgen::Issuer::new(params, key))
        };
        let ((root, issuer), (other, forger)) = (authority("the one"), authority("another"));
        let signed = |name: &str, issuer: &rcgen::Issuer<'_, rcgen::KeyPair>| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            [params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem()]
        };
        let server = Server::with(|folder| {
            let [certificate, key] = signed("localhost", &issuer);
            let [certificate, key] =
                [("cert.pem", certificate), ("key.pem", key)].map(|(name, text)| secret(folder, name, &text));
            let roots = secret(folder, "root.pem", &root);
            // The first line that fits is the one that counts.
            let access = folder.join("data/pg_hba.conf");
            let others = fs::read_to_string(&access).unwrap();
            fs::write(access, format!("hostssl all certified all cert\n{others}")).unwrap();
            let mut settings =
                vec!["listen_addresses=127.0.0.1".into(), format!("port={port}"), "ssl=on".into()];
            for (name, file) in
                [("ssl_cert_file", certificate), ("ssl_key_file", key), ("ssl_ca_file", roots)]
            {
                settings.push(format!("{name}={}", file.display()));
            }
            settings
        });
        let folder = server.folder();
        let pair = |name: &str, texts: [String; 2]| {
            let [certificate, key] = texts;
            [("pem", certificate), ("key", key)]
                .map(|(kind, text)| secret(folder, &format!("{name}.{kind}"), &text))
        };
        Encrypted {
            port,
            trusted: folder.join("root.pem"),
            untrusted: secret(folder, "other.pem", &other),
            own: pair("own", signed("certified", &issuer)),
            forged: pair("forged", signed("certified", &forger)),
            server,
        }
    }

    fn address(&self, host: &str, user: &str, words: &str) -> String {
        format!("host={host} port={} user={user} dbname=postgres {words}", self.port)
    }
}

/// A file that nobody else may read.
fn secret(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    own(&path);
    path
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn connections_are_encrypted_and_who_is_to_be_checked_is_checked() {
    let encrypted = Encrypted::new();
    let (server, port) = (&encrypted.server, encrypted.port);
    let address = |host: &str, words: &str| encrypted.address(host, "postgres", words);
    let open = |address: &str| PostgresStore::open(address, KEYSPACES, PostgresOptions::default());
    let (trusted, untrusted) = (encrypted.trusted.display(), encrypted.untrusted.display());
    for words in [
        String::new(),
        "sslmode=require".into(),
        format!("sslmode=require sslrootcert={trusted}"),
        format!("sslmode=verify-ca sslrootcert='{trusted}'"),
        format!("sslmode=verify-full sslrootcert={trusted}"),
    ] {
        let store = open(&address("localhost", &words)).unwrap_or_else(|error| panic!("{words}: {error}"));
        let mut batch = Batch::new();
        batch.put(ONE, "words", words.as_bytes());
        store.commit(&batch).unwrap();
        assert_eq!(store.snapshot().unwrap().get(ONE, b"words").unwrap().as_deref(), Some(words.as_bytes()));
        let (ring, rings) = std::sync::mpsc::channel();
        let bell: Bell = Arc::new(move || {
            let _ = ring.send(());
        });
        store.listen(&bell).unwrap();
        rings.recv_timeout(Duration::from_secs(10)).unwrap();
        let open = "SELECT count(*) FILTER (WHERE ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                    WHERE client_addr IS NOT NULL";
        assert_eq!(server.sql(open), "3|3", "{words}: of the writer, the reader, the listener");
        drop(store);
        while server.sql(open) != "0|0" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // The name is looked at where the address says so, and only there.
    drop(open(&address("127.0.0.1", &format!("sslmode=verify-ca sslrootcert={trusted}"))).unwrap());
    for (host, words, why) in [
        ("127.0.0.1", format!("sslmode=verify-full sslrootcert={trusted}"), "not valid for name"),
        ("localhost", format!("sslmode=verify-full sslrootcert={untrusted}"), "UnknownIssuer"),
        ("localhost", format!("sslmode=verify-ca sslrootcert={untrusted}"), "UnknownIssuer"),
        ("localhost", format!("sslmode=require sslrootcert={untrusted}"), "UnknownIssuer"),
        ("localhost", "sslmode=verify-full sslrootcert=/absent.pem".into(), "/absent.pem failed"),
    ] {
        let refused = open(&address(host, &words)).map(drop).unwrap_err();
        assert!(!refused.is_fatal() && refused.to_string().contains(why), "{words}: {refused}");
    }
    let url =
        format!("postgresql://postgres@localhost:{port}/postgres?sslmode=verify-full&sslrootcert={trusted}");
    drop(open(&url).unwrap());
}

#[test]
fn a_server_that_asks_who_it_is_is_told_by_a_certificate() {
    let encrypted = Encrypted::new();
    encrypted.server.sql("CREATE ROLE certified SUPERUSER LOGIN");
    let trust = format!("sslmode=verify-full sslrootcert={}", encrypted.trusted.display());
    let open = |identity: &str| {
        let address = encrypted.address("localhost", "certified", &format!("{trust} {identity}"));
        PostgresStore::open(&address, KEYSPACES, PostgresOptions::default())
    };
    let by = |[certificate, key]: &[PathBuf; 2]| {
        format!("sslcert='{}' sslkey={}", certificate.display(), key.display())
    };
    let store = open(&by(&encrypted.own)).unwrap();
    store.commit(&Batch::new()).unwrap();
    let known = "SELECT client_dn FROM pg_stat_ssl WHERE client_dn IS NOT NULL LIMIT 1";
    assert!(encrypted.server.sql(known).contains("CN=certified"));
    let refusal = |identity: &str| open(identity).map(drop).unwrap_err().to_string();
    assert!(refusal("").contains("client certificate"), "{}", refusal(""));
    // What it says of that may be lost with the connection.
    assert!(open(&by(&encrypted.forged)).is_err());
    let [certificate, key] = &encrypted.own;
    let swapped = refusal(&by(&[certificate.clone(), encrypted.forged[1].clone()]));
    assert!(swapped.contains("own.pem") && swapped.contains("KeyMismatch"), "{swapped}");
    // A key that others may read is not one any more.
    set_mode(key, 0o644);
    let open_to_all = refusal(&by(&encrypted.own));
    assert!(open_to_all.contains("own.key") && open_to_all.contains("its mode is 644"), "{open_to_all}");
}

#[test]
fn a_role_that_may_only_use_the_tables_is_enough() {
    let server = Server::shared();
    let options = options();
    let schema = &options.schema;
    let user = format!("user_of_{schema}");
    server.sql(&format!("CREATE ROLE {user} LOGIN"));
    let as_user = server.url().replace("user=postgres", &format!("user={user}"));
    // It cannot make the tables, and is told who can.
    let refused = PostgresStore::open(&as_user, KEYSPACES, options.clone()).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::Permission { .. }), "{refused}");
    drop(open(&server, &options).unwrap());
    let refused = PostgresStore::open(&as_user, KEYSPACES, options.clone()).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::Permission { .. }), "{refused}");
    server.sql(&format!("GRANT USAGE ON SCHEMA {schema} TO {user}"));
    server.sql(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user}"));
    let store = PostgresStore::open(&as_user, KEYSPACES, options.clone()).unwrap();
    let mut subject = InPostgres { store: Some(store), options: options.clone(), server: server.clone() };
    crate::conformance::commits::a_batch_is_all_or_nothing(&mut subject);
    subject.put(b"k", b"1").unwrap();
    assert_eq!(subject.get(b"k").unwrap(), Some(b"1".to_vec()));
    assert!(subject.store().stats().unwrap().data_bytes > 0);
    let (ring, rings) = std::sync::mpsc::channel();
    let bell: Bell = Arc::new(move || {
        let _ = ring.send(());
    });
    subject.store().listen(&bell).unwrap();
    rings.recv_timeout(Duration::from_secs(10)).unwrap();
    drop(subject);
    // A table of a newer program is missing: that again is for the owner.
    server.sql(&format!("DROP TABLE {schema}.ks_two"));
    let refused = PostgresStore::open(&as_user, KEYSPACES, options.clone()).map(drop).unwrap_err();
    assert!(
        refused.to_string().contains("Tables are missing, which their owner makes: `corollary init"),
        "{refused}"
    );
}
