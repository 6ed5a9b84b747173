//! A primary database that is lost under load: the second one takes over, and the server goes on with it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

#[test]
fn a_lost_primary_loses_nothing_that_was_acknowledged() {
    let primary = Database::new();
    let mut place = Place::new(SCHEMA);
    let hosts = |standby: &Database| {
        let [one, other] = [primary.folder(), standby.folder()].map(|folder| folder.display().to_string());
        format!("host={one},{other} user=postgres dbname=postgres")
    };
    let standby = primary.standby();
    place.store = Some(hosts(&standby));
    let server = place.serve();
    server.client().post("/api/accounts", &json!({"_id": "a"})).expect(201);
    let mut watch = server.watch("/api/accounts/a?watch=true");
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wait_for = |number: usize| {
        let begun = Instant::now();
        while done.load(Ordering::Relaxed) < number {
            assert!(begun.elapsed() < 3 * PATIENCE, "{} of {number} written", done.load(Ordering::Relaxed));
            std::thread::sleep(Duration::from_millis(2));
        }
        begun.elapsed()
    };
    let (told, away) = std::thread::scope(|scope| {
        let (address, stop, done) = (&server.address, &stop, &done);
        let writers: Vec<_> =
            (0..WRITERS).map(|writer| scope.spawn(move || write(address, writer, stop, done))).collect();
        wait_for(BEFORE);
        primary.kill();
        let killed = Instant::now();
        let before = done.load(Ordering::Relaxed);
        standby.promote();
        // What was under way when it was lost may still be acknowledged.
        wait_for(before + WRITERS + 1);
        let away = killed.elapsed();
        wait_for(before + AFTER);
        stop.store(true, Ordering::Relaxed);
        let told: Vec<Told> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (told, away)
    });
    let mut client = server.client();
    let mut found = BTreeSet::new();
    let mut page = client.read("/api/entries?limit=1000");
    loop {
        let listed = page["results"].as_array().unwrap();
        found.extend(listed.iter().map(|entry| entry["_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => page = client.read(next),
            None => break,
        }
    }
    let count = |ids: &dyn Fn(&Told) -> usize| told.iter().map(ids).sum::<usize>();
    let (acknowledged, refused) = (count(&|it| it.acknowledged.len()), count(&|it| it.refused.len()));
    println!(
        "{acknowledged} entries acknowledged, {refused} refused, {} found; writing again after {away:?}",
        found.len()
    );
    for told in &told {
        let lost: Vec<_> = told.acknowledged.iter().filter(|id| !found.contains(*id)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let kept: Vec<_> = told.refused.iter().filter(|id| found.contains(*id)).collect();
        assert!(kept.is_empty(), "refused and there: {kept:?}");
    }
    assert_eq!(found.len(), acknowledged);
    let account = client.read("/api/accounts/a");
    assert_eq!((&account["balance"], &account["count"]), (&json!(acknowledged), &json!(acknowledged)));
    // The watch has heard of every commit, in order, on both sides of the failover.
    let mut last = 0;
    while last < acknowledged as u64 {
        let event = watch.next();
        if event.kind() == "modified" {
            last += 1;
            assert_eq!(event.data["resource"]["count"], json!(last));
        }
    }
    drop((client, watch));
    server.stop();
    place.check();
}
