//! A fixed set of seeds, and that a seed is all that a run depends on.

use corollary_sim::{DEFAULT_STEPS, Report, run};

/// Runs of the set.
const SEEDS: u64 = 90;

/// A short run.
const FEW_STEPS: usize = 25;

fn ran(seed: u64, steps: usize) -> Report {
    run(seed, steps).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn all_that_must_hold_holds() {
    let mut all = Report::default();
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut all = Report::default();
                    for seed in (thread..SEEDS).step_by(threads as usize) {
                        all.add(&ran(seed, DEFAULT_STEPS));
                    }
                    all
                })
            })
            .collect();
        for run in runs {
            match run.join() {
                Ok(report) => all.add(&report),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    // What is made has to be worth a look, and all that may happen has to happen.
    assert!(all.written.refused * 10 < all.written.derived, "{:?}", all.written);
    assert!(all.refused * 2 < all.transactions && all.refused * 20 > all.transactions, "{all}");
    assert!(all.refused_queries * 10 < all.queries, "{all} ({} refused queries)", all.refused_queries);
    assert!(all.commits > 4_000 && all.failures > 200 && all.crashes > 300, "{all}");
    assert!(all.versions > 300 && all.refused_versions > 20 && all.cut_short > 60, "{all}");
    assert!(all.oracles > 1_500 && all.resources > 60, "{all}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..6 {
        let (one, other) = (ran(seed, FEW_STEPS), ran(seed, FEW_STEPS));
        assert_eq!(one.to_string(), other.to_string(), "of seed {seed}");
        assert_ne!(one.digest, ran(seed + 1, FEW_STEPS).digest);
    }
}
