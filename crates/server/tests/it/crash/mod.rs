//! The server killed under load, again and again: what was acknowledged is there, nothing is there by halves, everything
//! follows from the facts, and the log has no gap. The same with a disk that fails: [`disk`].
//!
//! It is killed at any moment: while clients write, while it starts, while the journal goes into the database, while
//! updates are under way. `COROLLARY_CRASH_ROUNDS` sets how often (`cargo xtask kills` is the long form), `COROLLARY_SEED` repeats the
//! choices of a run; both the seed and the round are in the message of a failure.

pub mod bank;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
pub mod faults;

use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use self::bank::{BANK, CLIENTS, Known, Writer, read_log, search, verify};
use crate::common::*;

/// Of all clients together, how many are acknowledged in a round, in the mean.
const WRITES: u64 = 10;

/// What may be left to updates: a transfer between banks changes the rank of more accounts than this.
const BUDGET: &str = "4";

/// Milliseconds from a commit until it is put into the database; any of them, in turn.
const JOURNAL_MS: [&str; 3] = ["1", "15", "3000"];

/// The data is compared with the oracle, with nobody at work, every so many rounds.
const CHECK_EVERY: u64 = 100;

fn rounds() -> u64 {
    std::env::var("COROLLARY_CRASH_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap())
}

/// Starts it, perhaps after it was killed while it started.
fn start(place: &Place, random: &mut Random, early: &mut u64, context: &str) -> Server {
    let journal = JOURNAL_MS[random.below(JOURNAL_MS.len() as u64) as usize];
    let options = ["--update-budget", BUDGET, "--journal-ms", journal];
    if random.below(5) == 0 {
        Server::begin(place, &options).kill_after(Duration::from_micros(random.below(60_000)));
        *early += 1;
    }
    Server::try_start(place, &options).unwrap_or_else(|error| panic!("{context}: it does not start: {error}"))
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let (seed, begun) = (seed(), Instant::now());
    let mut random = Random::new(seed);
    let (place, mut early) = (Place::new(BANK), 0);
    let mut server = start(&place, &mut random, &mut early, "at first");
    let known = Mutex::new(Known::begin(&server));
    let mut died_at_work = 0;
    for round in 0..rounds() {
        let context = format!("COROLLARY_SEED={seed}, round {round}");
        let since = known.lock().unwrap().revision;
        thread::scope(|scope| {
            let writers: Vec<_> = (0..CLIENTS)
                .map(|me| {
                    let mut writer = Writer::new(&server, random.below(u64::MAX), &known);
                    scope.spawn(move || writer.run(me, &|| true))
                })
                .collect();
            // Counted in writes, so that as much is done on a slow machine; and a moment more, to be anywhere between two.
            let (enough, begun) = (known.lock().unwrap().writes + random.below(2 * WRITES), Instant::now());
            while known.lock().unwrap().writes < enough && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_micros(200));
            }
            thread::sleep(Duration::from_micros(random.below(4_000)));
            server.kill();
            for writer in writers {
                // It ended because the server did, and for no other reason.
                let error = writer.join().unwrap_or_else(|_| panic!("{context}")).unwrap_err();
                died_at_work += u64::from(error.kind() != io::ErrorKind::ConnectionRefused);
            }
        });
        if round % CHECK_EVERY == CHECK_EVERY - 1 {
            let output = place.run(&["check"]);
            assert!(output.status.success(), "{context}: {}{}", stdout(&output), stderr(&output));
            eprintln!("{} rounds in {:.0?}", round + 1, begun.elapsed());
        }
        server = start(&place, &mut random, &mut early, &context);
        verify(&server, &mut known.lock().unwrap(), &context);
        search(&server, &context);
        read_log(&server, since, &context);
    }
    server.kill();
    place.check();
    let writes = known.lock().unwrap().writes;
    eprintln!(
        "{} rounds, {early} killed while starting, {writes} writes acknowledged, {:.0?}",
        rounds(),
        begun.elapsed()
    );
    // The rounds did what they are for.
    assert!(writes >= rounds(), "only {writes} writes were acknowledged in {} rounds", rounds());
    assert!(died_at_work >= rounds(), "the clients were at work {died_at_work} times only");
}
