//! `corollary-sim`: one run, a range of runs, or as many as fit into a time. A run that fails is made smaller.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corollary_sim::ground::Ground;
use corollary_sim::plan::Plan;
use corollary_sim::{DEFAULT_STEPS, Failure, Report, run, run_plan, shrink};

const USAGE: &str = "usage: corollary-sim OPTIONS

  --seed S       one run
  --seeds A..B   the runs of these seeds, the last one not included
  --minutes N    fresh seeds for so long, on all cores
  --seconds N    the same, in seconds
  --steps N      groups of transactions and other events of each run (60)
  --plan TEXT    what is left of a run that failed, as it was printed
  --store WHERE  memory (without it), postgres for a server of its own, or the address of a PostgreSQL database in which
                 nothing else is";

enum What {
    Seeds(u64, u64),
    Seconds(u64),
    Plan(Plan),
}

fn parse(arguments: &[String]) -> Option<(What, usize, Ground)> {
    let (mut what, mut steps, mut store) = (None, DEFAULT_STEPS, None);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--seed" => {
                let seed = value.parse().ok()?;
                what = Some(What::Seeds(seed, seed + 1));
            }
            "--seeds" => {
                let (from, to) = value.split_once("..")?;
                what = Some(What::Seeds(from.parse().ok()?, to.parse().ok()?));
            }
            "--minutes" => what = Some(What::Seconds(value.parse::<u64>().ok()?.checked_mul(60)?)),
            "--seconds" => what = Some(What::Seconds(value.parse().ok()?)),
            "--steps" => steps = value.parse().ok()?,
            "--plan" => what = Some(What::Plan(value.parse().ok()?)),
            "--store" => store = Some(value),
            _ => return None,
        }
    }
    let what = what?;
    // A server is started only where there is something to do.
    Some((what, steps, store.map_or(Ground::Memory, |name| Ground::named(name))))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((what, steps, ground)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let failure = match what {
        What::Seeds(from, to) => (from..to).find_map(|seed| one(&ground, seed, steps).err()),
        What::Seconds(seconds) => soak(&ground, Duration::from_secs(seconds), steps),
        What::Plan(plan) => match run_plan(&ground, &plan) {
            Ok(report) => {
                println!("{plan}: {report}");
                return ExitCode::SUCCESS;
            }
            Err(failure) => {
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        },
    };
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("seed {} fails in step {}: {}", failure.plan.seed, failure.step, failure.what);
            println!(
                "\nwhat is left of it when all that has no part in it is left out:\n\n{}",
                shrink(&ground, failure)
            );
            ExitCode::FAILURE
        }
    }
}

fn one(ground: &Ground, seed: u64, steps: usize) -> Result<(), Box<Failure>> {
    let report = run(ground, seed, steps)?;
    println!("seed {seed}: {report}");
    Ok(())
}

/// Runs fresh seeds on all cores until the time is up or one fails.
fn soak(ground: &Ground, time: Duration, steps: usize) -> Option<Box<Failure>> {
    let start = Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whoever reads of a seed may have to type it.
    let first = since.as_millis() as u64 % 1_000_000_000 * 1_000;
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let all = Mutex::new((0u64, Report::default(), None));
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    println!("seeds from {first}, {cores} at a time, {steps} steps each");
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while start.elapsed() < time && !stop.load(Ordering::Relaxed) {
                    let outcome = run(ground, next.fetch_add(1, Ordering::Relaxed), steps);
                    let Ok(mut all) = all.lock() else { return };
                    match outcome {
                        Ok(report) => {
                            all.0 += 1;
                            all.1.add(&report);
                        }
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            all.2 = Some(failure);
                        }
                    }
                }
            });
        }
    });
    let (runs, report, failure) = all.into_inner().unwrap_or_default();
    let seconds = start.elapsed().as_secs();
    println!("{runs} runs from seed {first} in {seconds} s: {report}");
    println!("{} commits a second", report.commits as u64 / seconds.max(1));
    failure
}
