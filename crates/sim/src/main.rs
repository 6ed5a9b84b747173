//! `corollary-sim`: one run, a range of runs, or as many as fit into a time. A run that fails is made smaller.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corollary_sim::ground::Ground;
use corollary_sim::plan::{Plan, Weights};
use corollary_sim::{DEFAULT_STEPS, Failure, Report, run_plan, saved, shrink};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: corollary-sim OPTIONS

  --seed S       one run
  --seeds A..B   the runs of these seeds, the last one not included
  --minutes N    fresh seeds for so long, on all cores
  --seconds N    the same, in seconds
  --steps N      groups of transactions and other events of each run (60)
  --weights W    how often each kind of step comes, as crash:40,schema:0 (see the plan of a run)
  --save NAME    keeps the plan of a run that fails in crates/sim/tests/plans/NAME.txt, which the suite runs again
  --plan TEXT    what is left of a run that failed, as it was printed
  --store WHERE  memory (without it), postgres for a server of its own, or the address of a PostgreSQL database in which
                 nothing else is";

/// How it is run.
struct How {
    steps: usize,
    weights: Weights,
    store: Ground,
    /// The name under which a failure is kept.
    save: Option<String>,
}

impl How {
    fn plan(&self, seed: u64) -> Plan {
        Plan { weights: self.weights.clone(), ..Plan::whole(seed, self.steps) }
    }

    fn run(&self, seed: u64) -> Result<Report, Box<Failure>> {
        run_plan(&self.store, &self.plan(seed))
    }
}

enum What {
    Seeds(u64, u64),
    Seconds(u64),
    Plan(Plan),
}

fn parse(arguments: &[String]) -> Option<(What, How)> {
    let (mut what, mut steps, mut store) = (None, DEFAULT_STEPS, None);
    let (mut weights, mut save) = (Weights::default(), None);
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
            "--weights" => weights = value.parse().map_err(|wrong| eprintln!("{wrong}\n")).ok()?,
            "--save" => save = Some(value.clone()),
            "--store" => store = Some(value),
            _ => return None,
        }
    }
    let what = what?;
    // A server is started only where there is something to do.
    let store = store.map_or(Ground::Memory, |name| Ground::named(name));
    Some((what, How { steps, weights, store, save }))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((what, how)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let failure = match what {
        What::Seeds(from, to) => (from..to).find_map(|seed| one(&how, seed).err()),
        What::Seconds(seconds) => soak(&how, Duration::from_secs(seconds)),
        What::Plan(plan) => match run_plan(&how.store, &plan) {
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
            let failure = shrink(&how.store, failure);
            println!("\nwhat is left of it when all that has no part in it is left out:\n\n{failure}");
            match how.save.map(|name| saved::save(&name, &failure)) {
                None => {}
                Some(Ok(path)) => println!("it is kept in {}", path.display()),
                Some(Err(error)) => eprintln!("it cannot be kept: {error}"),
            }
            ExitCode::FAILURE
        }
    }
}

fn one(how: &How, seed: u64) -> Result<(), Box<Failure>> {
    let report = how.run(seed)?;
    println!("seed {seed}: {report}");
    Ok(())
}

/// Runs fresh seeds on all cores until the time is up or one fails.
fn soak(how: &How, time: Duration) -> Option<Box<Failure>> {
    let start = Instant::now();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Whoever reads of a seed may have to type it.
    let first = since.as_millis() as u64 % 1_000_000_000 * 1_000;
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let all = Mutex::new((0u64, Report::default(), None));
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    println!("seeds from {first}, {cores} at a time, {} steps each", how.steps);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while start.elapsed() < time && !stop.load(Ordering::Relaxed) {
                    let outcome = how.run(next.fetch_add(1, Ordering::Relaxed));
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
    let rate = report.commits as f64 / start.elapsed().as_secs_f64().max(1.0);
    print!("{}", report.table());
    println!("{runs} runs from seed {first} in {seconds} s, digest {:016x}", report.digest);
    println!("{rate:.0} commits a second, {:.0} on each of {cores} cores", rate / cores as f64);
    failure
}
