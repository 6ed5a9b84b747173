//! The real server, tortured: killed, paused, on broken disks, with wrong clocks, its database restarted and cut off.
//!
//! A round has a setting, some clients and a sequence of harms, all from its seed. When it ends everything is healed, all
//! servers have to be ready again, and what they show is held to what the clients know ([`clients`]) and to what was told
//! while it happened ([`watching`]). One round of each setting is a test; `cargo xtask torture` goes on for minutes:
//! `COROLLARY_TORTURE_MINUTES`, and `COROLLARY_SEED` to repeat the choices (when things happen the machine decides).

mod clients;
mod cluster;
mod watching;

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use corollary_store::postgres::testing::Server as Database;

use self::clients::{CLIENTS, Ledger, SCHEMA, Shared};
use self::cluster::{Cluster, Harm, Setting};
use crate::common::watch::Fold;
use crate::common::*;
use crate::crash::bank::search;

/// Harms of a round.
const HARMS: u64 = 6;

/// Lists that are watched.
const WATCHED: [&str; 2] = ["/api/accounts", "/api/entries"];

/// What expires has to be gone so long after it was due.
const EXPIRED: Duration = Duration::from_secs(20);

/// What was done.
#[derive(Debug, Default)]
struct Summary {
    rounds: BTreeMap<Setting, usize>,
    harms: BTreeMap<Harm, usize>,
    acknowledged: u64,
    refused: u64,
    unknown: u64,
    restarts: usize,
    watches: usize,
    longest: Duration,
    checks: usize,
    findings: Vec<String>,
}

/// One round; a finding is a panic, which names where all of it is kept.
fn round(setting: Setting, seed: u64, database: &Arc<Database>, summary: &mut Summary) {
    let mut cluster = Cluster::new(setting, SCHEMA, database, &format!("r{seed}"));
    let shared = Shared {
        addresses: Arc::clone(&cluster.addresses),
        ledger: Default::default(),
        stop: false.into(),
        clocks: 0.into(),
        strict: setting != Setting::Embedded,
    };
    let played = catch_unwind(AssertUnwindSafe(|| play_round(setting, seed, &mut cluster, &shared, summary)));
    if let Err(panic) = played {
        let ledger = shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = cluster.keep(&format!("{ledger:#?}"));
        resume_unwind(Box::new(format!("{}; kept in {kept}", told(&panic))));
    }
}

/// What a panic says.
fn told(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap_or_default()
}

fn play_round(setting: Setting, seed: u64, cluster: &mut Cluster, shared: &Shared, summary: &mut Summary) {
    let mut random = Random::new(seed);
    clients::fill(cluster.servers().next().expect("a server"));
    let until = AtomicU64::new(0);
    *summary.rounds.entry(setting).or_default() += 1;
    let folds: Vec<(Fold, usize)> = std::thread::scope(|scope| {
        let watches: Vec<_> = WATCHED
            .iter()
            .map(|list| scope.spawn(|| watching::watch(&shared.addresses, list, &until)))
            .collect();
        let writers: Vec<_> = (0..CLIENTS)
            .map(|me| {
                let seed = random.below(u64::MAX);
                scope.spawn(move || clients::write(shared, me, seed))
            })
            .collect();
        // Whatever happens, the clients end.
        let harmed = catch_unwind(AssertUnwindSafe(|| {
            let harms = setting.harms();
            for _ in 0..HARMS {
                std::thread::sleep(Duration::from_millis(200 + random.below(800)));
                let harm = harms[random.below(harms.len() as u64) as usize];
                if matches!(harm, Harm::ClockForward | Harm::ClockBack) {
                    shared.clocks.fetch_add(1, Ordering::SeqCst);
                }
                cluster.harm(harm, &mut random);
                *summary.harms.entry(harm).or_default() += 1;
            }
            std::thread::sleep(Duration::from_millis(200));
        }));
        shared.stop.store(true, Ordering::SeqCst);
        let wrote: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        let marked = catch_unwind(AssertUnwindSafe(|| {
            cluster.agree_on_time();
            // What has failed in the background shows when something is stored again.
            cluster.restart();
            let client = &mut cluster.servers().next().expect("a server").client();
            let marker = json!({"_id": "last", "of": "a0", "amount": 0, "token": "last"});
            client.post("/api/entries", &marker).expect_status(201).revision()
        }));
        until.store(marked.as_ref().map_or(1, |revision| *revision), Ordering::SeqCst);
        let folds = watches.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>();
        if let Some(failed) = harmed.err().or(marked.err()) {
            resume_unwind(failed);
        }
        let joined = |outcome: std::thread::Result<_>| outcome.unwrap_or_else(|it| resume_unwind(it));
        wrote.into_iter().for_each(|outcome| outcome.unwrap_or_else(|it| resume_unwind(it)));
        folds.into_iter().map(joined).collect()
    });
    let mut ledger = shared.ledger.lock().unwrap();
    ledger.entries_end("last");
    summary.add(&ledger, cluster);
    let servers: Vec<&Server> = cluster.servers().collect();
    for server in &servers {
        ledger.verify(server);
        search(server, "at the end");
        check_log(server);
        summary.checks += 3;
    }
    flashes_expire(servers[0]);
    for (list, (fold, watches)) in WATCHED.iter().zip(folds) {
        summary.watches += watches;
        let items = servers[0].client().list(list);
        let listed = Fold::of_list(&items, fold.revision);
        // An account shows what has expired since.
        assert_eq!(without_lit(fold), without_lit(listed), "{list}");
        summary.checks += 1;
    }
    cluster.end();
    summary.checks += 1;
}

/// What is held, without what follows from what the clock ends.
fn without_lit(mut fold: Fold) -> BTreeMap<String, Json> {
    for resource in fold.resources.values_mut() {
        let resource = resource.as_object_mut().unwrap();
        if resource.remove("lit").is_some() {
            resource.remove("_revision");
        }
    }
    fold.resources
}

/// Every revision is told once, and no time is before another.
fn check_log(server: &Server) {
    let mut client = server.client();
    let (mut expected, mut last) = (1, String::new());
    for commit in client.list("/api/_log?since=0&order=revision&limit=500") {
        assert_eq!(commit["revision"], expected.to_string(), "a gap in the log");
        let time = commit["time"].as_str().unwrap().to_owned();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        assert!(last.is_empty() || at(&last) <= at(&time), "{time} of {expected} is before {last}");
        (expected, last) = (expected + 1, time);
    }
    assert!(expected > 2, "the log is empty");
}

/// Timers work, whatever became of clocks.
fn flashes_expire(server: &Server) {
    let mut client = server.client();
    client.post("/api/flashes", &json!({"of": "a1"})).expect(201);
    let begun = Instant::now();
    while !client.list("/api/flashes").is_empty() {
        assert!(begun.elapsed() < EXPIRED, "what expires is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.read("/api/accounts/a1")["lit"], 0);
}

impl Summary {
    fn add(&mut self, ledger: &Ledger, cluster: &Cluster) {
        self.acknowledged += ledger.acknowledged;
        self.refused += ledger.refused;
        self.unknown += ledger.unknown;
        self.restarts += cluster.restarts;
        self.longest = self.longest.max(cluster.longest);
    }

    /// Plays rounds of these settings, one after the other, for so long; one of each at least.
    fn play(settings: &[Setting], time: Duration) -> Summary {
        let (seed, begun) = (seed(), Instant::now());
        let (mut summary, mut random) = (Summary::default(), Random::new(seed));
        let database = Database::new();
        for number in 0.. {
            if number >= settings.len() && begun.elapsed() >= time {
                break;
            }
            let (setting, seed_of_round) = (settings[number % settings.len()], random.below(u64::MAX));
            let played =
                catch_unwind(AssertUnwindSafe(|| round(setting, seed_of_round, &database, &mut summary)));
            eprintln!("round {number}, {setting:?}: {:.0?}", begun.elapsed());
            if let Err(panic) = played {
                let finding = format!("round {number}, {setting:?}: {}", told(&panic));
                eprintln!("{finding}");
                summary.findings.push(finding);
            }
        }
        println!("COROLLARY_SEED={seed}, {:.0?}", begun.elapsed());
        summary.tell();
        summary
    }

    fn tell(&self) {
        let mut rows: Vec<(String, String)> = Vec::new();
        rows.extend(self.rounds.iter().map(|(it, n)| (format!("rounds, {it:?}"), n.to_string())));
        rows.extend(self.harms.iter().map(|(it, n)| (format!("harms, {it:?}"), n.to_string())));
        for (what, number) in [
            ("writes acknowledged", self.acknowledged),
            ("writes refused", self.refused),
            ("writes of unknown outcome", self.unknown),
            ("servers started", self.restarts as u64),
            ("watches begun", self.watches as u64),
            ("milliseconds until ready, at most", self.longest.as_millis() as u64),
            ("checks", self.checks as u64),
            ("findings", self.findings.len() as u64),
        ] {
            rows.push((what.to_owned(), number.to_string()));
        }
        for (what, number) in rows {
            println!("{what:36} {number:>10}");
        }
        self.findings.iter().for_each(|finding| println!("{finding}"));
    }
}

/// Of a finding nothing was left but its message: folders of tests go with them.
#[test]
fn what_a_finding_is_about_is_kept() {
    for setting in [Setting::Embedded, Setting::PostgresOfTwo] {
        let database = Database::new();
        let mut cluster = Cluster::new(setting, SCHEMA, &database, "kept");
        clients::fill(cluster.servers().next().expect("a server"));
        cluster.restart();
        let kept = cluster.keep("what the clients know");
        drop(cluster);
        let folders: Vec<PathBuf> = kept.split(", ").map(PathBuf::from).collect();
        let first = &folders[0];
        assert_eq!(fs::read_to_string(first.join("ledger.txt")).unwrap(), "what the clients know");
        for folder in &folders {
            assert!(folder.join("stderr-0.txt").is_file() && folder.join("stderr.txt").is_file(), "{kept}");
        }
        // What was written is there, and can be looked at.
        let looked = match setting {
            Setting::Embedded => {
                let (schema, data) = (first.join("schema.cor"), first.join("data"));
                run(&["check", "--schema", schema.to_str().unwrap(), "--data", data.to_str().unwrap()])
            }
            _ => run(&["backup", "verify", first.join("database.backup").to_str().unwrap()]),
        };
        assert!(looked.status.success(), "{}{}", stdout(&looked), stderr(&looked));
        folders.iter().for_each(|folder| fs::remove_dir_all(folder).unwrap());
    }
}

fn play_one(setting: Setting) {
    let summary = Summary::play(&[setting], Duration::ZERO);
    assert!(summary.findings.is_empty(), "{:#?}", summary.findings);
    assert!(summary.acknowledged > 20 && summary.checks >= 6, "{summary:?}");
}

#[test]
fn a_server_over_a_folder_survives_torture() {
    play_one(Setting::Embedded);
}

#[test]
fn a_server_over_a_database_survives_torture() {
    play_one(Setting::Postgres);
}

#[test]
fn two_servers_over_a_database_survive_torture() {
    play_one(Setting::PostgresOfTwo);
}

/// The long form: `cargo xtask torture`.
#[test]
#[ignore = "it takes minutes"]
fn servers_survive_torture_for_minutes() {
    let minutes = std::env::var("COROLLARY_TORTURE_MINUTES").map_or(10, |minutes| minutes.parse().unwrap());
    let summary = Summary::play(&Setting::ALL, Duration::from_secs(60 * minutes));
    assert!(summary.findings.is_empty(), "{} findings", summary.findings.len());
    let harms: Vec<Harm> = Setting::ALL.into_iter().flat_map(Setting::harms).collect();
    let rounds: usize = summary.rounds.values().sum();
    let missing: Vec<_> = harms.iter().filter(|harm| !summary.harms.contains_key(*harm)).collect();
    assert!(rounds < 60 || missing.is_empty(), "{missing:?} never happened");
}
