//! A database that is lost under load: the second one takes over, or the network to it comes back, and the server goes on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::wire::{Network, Wire};
use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Account in accounts { entries: inverse Entry.of, balance := sum(self.entries.amount), count := count(self.entries) }
type Entry in entries { amount: int required, of: link Account }
";

const WRITERS: usize = 4;

/// Entries that have to be acknowledged in all, and those behind the failover.
const BEFORE: usize = 200;
const AFTER: usize = 200;

/// How long the network is silent.
const SILENCE: Duration = Duration::from_secs(10);

/// What became of the entries that a client wanted to write.
#[derive(Default)]
struct Told {
    acknowledged: Vec<String>,
    refused: Vec<String>,
}

/// Writes entries, each with an id of its own, until it is told to stop.
fn write(address: &str, writer: usize, stop: &AtomicBool, done: &AtomicUsize) -> Told {
    let (mut client, mut told) = (Client::new(address), Told::default());
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("w{writer}-{n}");
        let reply = client.post("/api/entries", &json!({"_id": id, "amount": 1, "of": "a"}));
        match reply.status {
            201 => {
                told.acknowledged.push(id);
                done.fetch_add(1, Ordering::Relaxed);
            }
            503 => {
                told.refused.push(id);
                std::thread::sleep(Duration::from_millis(20));
            }
            _ => panic!("{}: {}", reply.status, reply.text()),
        }
    }
    told
}

/// How far the clients have come.
struct Progress<'a> {
    done: &'a AtomicUsize,
}

impl Progress<'_> {
    fn now(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits until so many entries have been acknowledged.
    #[track_caller]
    fn wait_for(&self, number: usize) {
        let begun = Instant::now();
        while self.now() < number {
            assert!(begun.elapsed() < 3 * PATIENCE, "{} of {number} written", self.now());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Stops those who write when it is dropped.
struct Stopped<'s>(&'s AtomicBool);

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something to a server while clients write to it, in which nothing may be lost or wrong.
fn under_load(server: &Server, work: impl FnOnce(&Progress<'_>)) {
    server.client().post("/api/accounts", &json!({"_id": "a"})).expect(201);
    let mut watch = server.watch("/api/accounts/a?watch=true");
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let told: Vec<Told> = std::thread::scope(|scope| {
        let (address, stop, done) = (&server.address, &stop, &done);
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(address, writer, stop, done))).collect();
        let progress = Progress { done };
        // Whatever goes wrong here, they end: the scope waits for them, and the test went on for ever.
        let _stopped = Stopped(stop);
        progress.wait_for(BEFORE);
        work(&progress);
        progress.wait_for(progress.now() + AFTER);
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let mut client = server.client();
    let found: BTreeSet<String> = client.ids("/api/entries?limit=1000").into_iter().collect();
    let count = |ids: &dyn Fn(&Told) -> usize| told.iter().map(ids).sum::<usize>();
    let (acknowledged, refused) = (count(&|it| it.acknowledged.len()), count(&|it| it.refused.len()));
    println!("{acknowledged} entries acknowledged, {refused} refused, {} found", found.len());
    for told in &told {
        let lost: Vec<_> = told.acknowledged.iter().filter(|id| !found.contains(*id)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let kept: Vec<_> = told.refused.iter().filter(|id| found.contains(*id)).collect();
        assert!(kept.is_empty(), "refused and there: {kept:?}");
    }
    assert_eq!(found.len(), acknowledged);
    let account = client.read("/api/accounts/a");
    assert_eq!((&account["balance"], &account["count"]), (&json!(acknowledged), &json!(acknowledged)));
    // The watch has heard of every commit, in order, on both sides of what was done.
    let mut last = 0;
    while last < acknowledged as u64 {
        let event = watch.next();
        if event.kind() == "modified" {
            last += 1;
            assert_eq!(event.data["resource"]["count"], json!(last));
        }
    }
}

#[test]
fn a_lost_primary_loses_nothing_that_was_acknowledged() {
    let primary = Database::new();
    let mut place = Place::new(SCHEMA);
    let standby = primary.standby();
    let [one, other] = [&primary, &standby].map(|it| it.folder().display().to_string());
    place.store = Some(format!("host={one},{other} user=postgres dbname=postgres"));
    let server = place.serve();
    under_load(&server, |progress| {
        primary.kill();
        let (killed, before) = (Instant::now(), progress.now());
        standby.promote();
        // What was under way when it was lost may still be acknowledged.
        progress.wait_for(before + WRITERS + 1);
        println!("writing again after {:?}", killed.elapsed());
    });
    server.stop();
    place.check();
}

#[test]
fn a_network_that_is_cut_loses_nothing_that_was_acknowledged() {
    let database = Database::new();
    let network = Network::to(database.folder().join(".s.PGSQL.5432"));
    let mut place = Place::new(SCHEMA);
    place.store = Some(format!("host=127.0.0.1 port={} user=postgres dbname=postgres", network.port));
    let server = Server::start(&place, &["--queue-seconds", "2"]);
    under_load(&server, |progress| {
        for (wire, time) in [(Wire::Silent, SILENCE), (Wire::Broken, SILENCE / 5)] {
            network.set(wire);
            // What was under way may still be acknowledged; then there is nothing.
            std::thread::sleep(time / 4);
            let before = progress.now();
            // Whoever wants something meanwhile is told that it cannot be had now; nobody else waits for them.
            let begun = Instant::now();
            std::thread::scope(|scope| {
                let server = &server;
                let asked = |method: &'static str, path: &'static str, body: &'static [u8]| {
                    scope.spawn(move || {
                        let json = [("content-type", "application/json")];
                        let reply = server.client().request(method, path, &json, body);
                        assert_eq!(reply.status, 503, "{wire:?}: {method} {path}: {}", reply.text());
                        begun.elapsed()
                    })
                };
                let requests = [
                    asked("GET", "/readyz", b""),
                    asked("GET", "/api/entries?order=amount", b""),
                    asked("POST", "/api/entries", br#"{"amount": 1000}"#),
                ];
                assert_eq!(server.client().get("/healthz").status, 200);
                assert!(begun.elapsed() < time / 4, "{wire:?}");
                println!("{wire:?}: told after {:?}", requests.map(|request| request.join().unwrap()));
            });
            std::thread::sleep((time * 3 / 4).saturating_sub(begun.elapsed()));
            assert!(progress.now() <= before + WRITERS, "{wire:?}");
            let (whole, before) = (Instant::now(), progress.now());
            network.set(Wire::Whole);
            progress.wait_for(before + WRITERS + 1);
            println!(
                "{wire:?} for {:?}: writing again after {:?}",
                time / 4 + begun.elapsed(),
                whole.elapsed()
            );
        }
    });
    server.stop();
    place.check();
}
