//! A disk that fails or is full at any write: a clear error, nothing wrong, nothing lost, and it goes on when there is space
//! again.
//!
//! `COROLLARY_DISK_ROUNDS` sets how often it fails (`cargo xtask failing-disk` is the long form), `COROLLARY_SEED` repeats
//! the choices of a run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::bank::{BANK, CLIENTS, Known, Writer, read_log, search, verify};
use super::faults::{Calls, Disk, EIO, ENOSPC, Fault};
use super::{BUDGET, JOURNAL_MS, WRITES};
use crate::common::*;

/// So many calls are passed at most until one fails: enough to come to the files of the database, behind the journal.
const PASSED: u64 = 60;

/// As good as for ever: until it is healed.
const ALL: u64 = u32::MAX as u64;

fn rounds() -> u64 {
    std::env::var("COROLLARY_DISK_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap())
}

fn start(place: &Place, random: &mut Random, context: &str) -> Server {
    let journal = JOURNAL_MS[random.below(JOURNAL_MS.len() as u64) as usize];
    let options = ["--update-budget", BUDGET, "--journal-ms", journal];
    Server::try_start(place, &options).unwrap_or_else(|error| panic!("{context}: it does not start: {error}"))
}

fn fault(random: &mut Random) -> Fault {
    let pass = random.below(PASSED);
    match random.below(6) {
        0 => Fault { calls: Calls::Syncs, pass, fail: 1, error: EIO, half: false },
        1 => Fault { calls: Calls::Writes, pass, fail: 1, error: EIO, half: false },
        2 => Fault { calls: Calls::Writes, pass, fail: ALL, error: EIO, half: true },
        3 => Fault { calls: Calls::Space, pass, fail: 1 + random.below(4), error: ENOSPC, half: true },
        _ => Fault { calls: Calls::Space, pass, fail: ALL, error: ENOSPC, half: random.below(2) == 0 },
    }
}

/// Has clients write, the disk fail, and be right again; true if the server goes on then, and has not ended.
fn fail(
    server: &mut Server,
    random: &mut Random,
    disk: &Disk,
    fault: Fault,
    known: &Mutex<Known>,
    context: &str,
) -> bool {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..CLIENTS)
            .map(|me| {
                let mut writer = Writer::new(server, random.below(u64::MAX), known).refusable();
                let done = &done;
                scope.spawn(move || writer.run(me, &|| !done.load(Ordering::Relaxed)))
            })
            .collect();
        let writes = || known.lock().unwrap().writes;
        // Waits until something is so; false if the server ends before.
        let mut until = |so: &dyn Fn() -> bool, what: &str| {
            let begun = Instant::now();
            while !so() {
                if server.ended().is_some() {
                    return false;
                }
                assert!(begun.elapsed() < PATIENCE, "{context}: {what}: {}", server.said());
                thread::sleep(Duration::from_micros(200));
            }
            true
        };
        let enough = writes() + random.below(2 * WRITES);
        let mut alive = until(&|| writes() >= enough, "nothing is written");
        disk.fail(fault);
        alive = alive && until(&|| disk.failed() > 0, "nothing failed");
        thread::sleep(Duration::from_micros(random.below(40_000)));
        disk.heal();
        let enough = writes() + WRITES;
        alive = alive && until(&|| writes() >= enough, "it neither goes on nor ends");
        done.store(true, Ordering::Relaxed);
        for writer in writers {
            let outcome = writer.join().unwrap_or_else(|_| panic!("{context}: {}", server.said()));
            assert!(outcome.is_ok() || !alive || server.ended().is_some(), "{context}: {outcome:?}");
        }
        alive && server.ended().is_none()
    })
}

#[test]
fn a_disk_that_fails_costs_nothing_that_was_acknowledged() {
    let (seed, begun) = (seed(), Instant::now());
    let mut random = Random::new(seed);
    let mut place = Place::new(BANK);
    let disk = Disk::of(&mut place);
    let mut server = start(&place, &mut random, "at first");
    let known = Mutex::new(Known::begin(&server));
    let (mut ended, mut went_on) = (0, 0);
    for round in 0..rounds() {
        let fault = fault(&mut random);
        let context = format!("COROLLARY_SEED={seed}, round {round}, {fault:?}");
        let since = known.lock().unwrap().revision;
        let look = |server: &Server| {
            verify(server, &mut known.lock().unwrap(), &context);
            search(server, &context);
            read_log(server, since, &context);
        };
        let mut goes_on = fail(&mut server, &mut random, &disk, fault, &known, &context);
        if goes_on {
            // What it refused it has not done.
            known.lock().unwrap().nothing_is_open();
            if random.below(2) == 0 {
                server.kill();
                server = start(&place, &mut random, &context);
            }
            // What failed in the background may show only when something is stored again.
            let looked = catch_unwind(AssertUnwindSafe(|| look(&server)));
            goes_on = looked.is_ok() || server.ended().is_none();
            if let (Err(panic), true) = (looked, goes_on) {
                resume_unwind(panic);
            }
        }
        if goes_on {
            went_on += 1;
        } else {
            ended += 1;
            assert_ne!(fault.error, ENOSPC, "{context}: a full disk ends no server: {}", server.said());
            let (status, said) = (server.wait(), server.said());
            let tells = said.contains(place.data().to_str().unwrap()) && said.contains("error");
            assert!(!status.success() && tells, "{context}: {status} {said}");
            server = start(&place, &mut random, &context);
            look(&server);
        }
    }
    server.kill();
    place.check();
    let known = known.lock().unwrap();
    eprintln!(
        "{} rounds, {went_on} gone on, {ended} ended, {} writes acknowledged, {} refused, {:.0?}",
        rounds(),
        known.writes,
        known.refused,
        begun.elapsed()
    );
    // The rounds did what they are for.
    assert!(went_on > 0 && ended > 0 && known.refused > 0, "{went_on} {ended} {}", known.refused);
}
