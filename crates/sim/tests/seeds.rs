//! A fixed set of seeds, and that a seed is all that a run depends on.

use corollary_sim::ground::Ground;
use corollary_sim::plan::Plan;
use corollary_sim::{DEFAULT_STEPS, Report, run, run_plan, saved, shrink};

/// Long runs of the set.
const LONG: u64 = 60;

/// Short runs, which see that many more schemas.
const SHORT: u64 = 1_000;

/// Short runs over a database.
const IN_A_DATABASE: u64 = 9;

/// Steps of a short run.
const FEW_STEPS: usize = 12;

fn ran(ground: &Ground, seed: u64, steps: usize) -> Report {
    run(ground, seed, steps).unwrap_or_else(|failure| panic!("{}", shrink(ground, failure)))
}

/// The runs of these seeds on all cores, as one report.
fn ran_all(ground: &Ground, seeds: std::ops::Range<u64>, steps: usize) -> Report {
    let mut all = Report::default();
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        let work = || {
            let mut all = Report::default();
            loop {
                let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if seed >= seeds.end {
                    return all;
                }
                all.add(&ran(ground, seed, steps));
            }
        };
        let runs: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for run in runs {
            match run.join() {
                Ok(report) => all.add(&report),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    all
}

#[test]
fn all_that_must_hold_holds_for_many_schemas() {
    let all = ran_all(&Ground::Memory, LONG..LONG + SHORT, FEW_STEPS);
    // Of so short histories half of the transactions is refused: names, urls and ends leave little that fits at first.
    assert!(all.written.derived > 8 * SHORT as usize && all.commits > 7 * SHORT as usize, "{all}");
}

#[test]
fn all_that_must_hold_holds() {
    let all = ran_all(&Ground::Memory, 0..LONG, DEFAULT_STEPS);
    // What is made has to be worth a look, and all that may happen has to happen.
    assert!(all.written.refused * 10 < all.written.derived, "{:?}", all.written);
    assert!(all.refused * 2 < all.transactions && all.refused * 20 > all.transactions, "{all}");
    assert!(all.refused_queries * 10 < all.queries, "{all} ({} refused queries)", all.refused_queries);
    assert!(all.commits > 3_500 && all.failures > 150 && all.crashes > 200, "{all}");
    assert!(all.ticks > 10, "{all}");
    assert!(all.turns > 400 && all.deaths > 25 && all.other_looks > 140, "{all}");
    assert!(all.written.members > 200, "{:?}", all.written);
    assert!(all.versions > 200 && all.refused_versions > 14 && all.cut_short > 40, "{all}");
    assert!(all.indexes > 100 && all.queries_without > 100, "{all}");
    let checked = all.checked;
    assert!(checked.acknowledged > 3_500 && checked.refused > 500 && checked.found > 20, "{checked:?}");
    assert!(checked.reads > 4_000 && checked.behind > 300 && all.processors > 50, "{checked:?}, {all}");
    assert!(all.oracles > 700 && all.resources > 60, "{all}");
}

/// What went wrong once, as `--save` has kept it.
#[test]
fn what_went_wrong_once_holds() {
    for (name, plan) in saved::all().expect("plans") {
        run_plan(&Ground::Memory, &plan).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..6 {
        let ran = |seed| ran(&Ground::Memory, seed, FEW_STEPS);
        let (one, other) = (ran(seed), ran(seed));
        assert_eq!(one.to_string(), other.to_string(), "of seed {seed}");
        assert_ne!(one.digest, ran(seed + 1).digest);
    }
}

/// Each node has an opening of the database of its own, as servers have. What is stored in the end is the same, byte by byte, as of
/// the same run in memory.
#[test]
fn all_that_must_hold_holds_over_a_database() {
    let database = Ground::named("postgres");
    let all = ran_all(&database, 0..IN_A_DATABASE, FEW_STEPS);
    assert!(all.turns > 10 && all.crashes > 9 && all.commits > 30, "{all}");
    let in_memory = |seed| {
        let plan = database.fitted(&Plan::whole(seed, FEW_STEPS));
        run_plan(&Ground::Memory, &plan).unwrap_or_else(|failure| panic!("{failure}")).digest
    };
    assert_eq!(all.digest, (0..IN_A_DATABASE).fold(0, |all, seed| all ^ in_memory(seed)));
}
