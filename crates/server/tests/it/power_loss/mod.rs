//! The power is lost: of a recorded run of the real server, every folder that it may leave is opened and checked.
//!
//! ```text
//! server -> record.c -> trace -> disk: what is durable, and what may be there -> folders -> judge
//! clients: what they asked for, and what was acknowledged, each at a length of the trace -----^
//! ```
//!
//! A test of the suite looks at some moments of a short run. `cargo xtask power-loss` looks at all of a longer one:
//! `COROLLARY_POWER_EVERY` (one moment of so many), `COROLLARY_POWER_VARIANTS`, `COROLLARY_POWER_LIVES` and
//! `COROLLARY_POWER_WRITES` say how much, `COROLLARY_SEED` repeats the choices. Which operations there are depends on the
//! threads of the server, so a run with findings is kept: `COROLLARY_POWER_RUN` names the folder of one that is to be looked at
//! again, `COROLLARY_POWER_MOMENT` the one moment.

mod disk;
mod judge;
mod replay;
mod run;
mod toy;
mod trace;

use std::path::Path;
use std::time::Instant;

use self::disk::{Disk, Manner};
use self::judge::Judge;
use self::replay::{Plan, replay};
use self::run::Recorded;
use self::trace::Trace;
use crate::common::*;

/// A number that the environment sets.
fn set(name: &str, without: u64) -> u64 {
    std::env::var(name).map_or(without, |number| number.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    let (seed, begun) = (seed(), Instant::now());
    let lives = set("COROLLARY_POWER_LIVES", 4) as usize;
    let recorded = match std::env::var("COROLLARY_POWER_RUN") {
        Ok(folder) => Recorded::load(Path::new(&folder)),
        Err(_) => run::record(seed, lives, set("COROLLARY_POWER_WRITES", 40)),
    };
    let took = begun.elapsed();
    recorded.is_whole();
    let judge = Judge { asked: &recorded.asked, begun: recorded.begun };
    let every = set("COROLLARY_POWER_EVERY", 40);
    let only = std::env::var("COROLLARY_POWER_MOMENT").ok().map(|moment| moment.parse().unwrap());
    let plan = Plan { seed, every, variants: set("COROLLARY_POWER_VARIANTS", 2), only };
    let summary = replay(
        recorded.root,
        &recorded.operations,
        plan,
        &|moment| judge.acknowledged(moment as u64),
        &|folder, moment| judge.open(&folder.join("a/data"), moment as u64),
    );
    let [starting, working, peaceful] = recorded.ends;
    let acknowledged = judge.acknowledged(u64::MAX);
    println!("COROLLARY_SEED={seed}, {took:.0?} recorded, {:.0?} in all", begun.elapsed());
    for (what, number) in [
        ("servers killed while starting", starting),
        ("servers killed at work", working),
        ("servers stopped in peace", peaceful),
        ("writes acknowledged", acknowledged),
        ("operations recorded", summary.operations),
        ("segments of the journal made", recorded.made("corollary.journal-")),
        ("writes to the data file", recorded.written("corollary.db")),
        ("moments looked at", summary.moments),
        ("folders opened", summary.states),
        ("changes not durable, at most", summary.most_pending),
        ("acknowledged writes found again", summary.acknowledged),
        ("findings", summary.findings.len()),
    ] {
        println!("{what:34} {number:>10}");
    }
    if !summary.findings.is_empty() {
        let kept = recorded.keep().map_or(String::new(), |folder| format!(" COROLLARY_POWER_RUN={folder}"));
        panic!("COROLLARY_SEED={seed}{kept} repeats the findings");
    }
    if recorded.is_loaded() {
        return;
    }
    // It did what it is for.
    assert!(
        starting > 0 && acknowledged as u64 >= set("COROLLARY_POWER_WRITES", 40),
        "{starting} {acknowledged}"
    );
    assert!(summary.most_pending > 100 && summary.acknowledged > summary.moments, "{summary:?}");
}

/// The command line made the folder before the store looked whether it was there, so the one above it was never synced:
/// all of the data could be lost with the power, long after it was acknowledged.
#[test]
fn a_folder_that_the_server_makes_is_durable_before_it_is_ready() {
    let mut place = Place::new(crate::crash::bank::BANK);
    place.data = "disk/a/b/data".into();
    let trace = Trace::of(&mut place, "disk");
    // It is killed behind each folder that it makes.
    for folders in 1..=3 {
        trace.die_at(folders);
        assert!(Server::try_start(&place, &[]).is_err(), "it was not killed");
    }
    trace.die_at(0);
    let server = place.serve();
    let mut disk = Disk::new(trace.root());
    trace.operations().iter().for_each(|operation| disk.apply(operation));
    let image = disk.image(Manner::Nothing, &mut Random::new(0));
    assert!(image.contains_key(Path::new("a/b/data/corollary.db")), "{:?}", image.keys());
    drop(server);
}
