//! `corollary-fuzz`: tries targets for so long, one after the other, and keeps what it finds.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use corollary_fuzz::targets::{ALL, Target, named};
use corollary_fuzz::{corpus, home, run, seeds};

const USAGE: &str = "usage: corollary-fuzz [TARGET] [--seconds N | --minutes N] [--seed S] [--keep N]
       corollary-fuzz seed | list | replay TARGET FILE

  --seconds N  for so long, on each target in turn if none is named (60)
  --seed S     of all changes; another one each time without it
  --keep N     puts the N smallest inputs that came out in a new way into the corpus";

struct Options {
    targets: Vec<&'static Target>,
    time: Duration,
    seed: u64,
    keep: usize,
}

fn parse(arguments: &[String]) -> Option<Options> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut options = Options {
        targets: ALL.iter().collect(),
        time: Duration::from_secs(60),
        seed: since.as_millis() as u64,
        keep: 0,
    };
    let mut rest = arguments;
    if let Some((name, behind)) = arguments.split_first().filter(|(name, _)| !name.starts_with("--")) {
        (options.targets, rest) = (vec![named(name)?], behind);
    }
    for pair in rest.chunks(2) {
        let [name, value] = pair else { return None };
        let number: u64 = value.parse().ok()?;
        match name.as_str() {
            "--seconds" => options.time = Duration::from_secs(number),
            "--minutes" => options.time = Duration::from_secs(number.checked_mul(60)?),
            "--seed" => options.seed = number,
            "--keep" => options.keep = number as usize,
            _ => return None,
        }
    }
    Some(options)
}

fn kept(folder: &str, target: &Target, input: &[u8]) -> std::io::Result<PathBuf> {
    let folder = home().join(folder).join(target.name);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:016x}", corollary_fuzz::targets::outcome(input)));
    std::fs::write(&path, input)?;
    Ok(path)
}

/// Fuzzes a target; true where nothing was found.
fn fuzz(target: &Target, time: Duration, options: &Options) -> std::io::Result<bool> {
    let inputs: Vec<Vec<u8>> = corpus(target.name)?.into_iter().map(|(_, bytes)| bytes).collect();
    let begin = Instant::now();
    // An input that takes the process with it is found here.
    let last = std::env::temp_dir().join(format!("corollary-fuzz-{}-{}", target.name, std::process::id()));
    let mut before = |input: &[u8]| drop(std::fs::write(&last, input));
    let ran = run::many(target, &inputs, options.seed, &mut before, &mut |_| begin.elapsed() < time);
    std::fs::remove_file(&last).ok();
    let (rate, found) = (ran.inputs as f64 / begin.elapsed().as_secs_f64(), ran.news.len());
    println!(
        "{:<16}{:>12} inputs{rate:>10.0}/s{:>8} outcomes, {found} new",
        target.name, ran.inputs, ran.outcomes
    );
    for input in ran.news.iter().take(options.keep) {
        kept("corpus", target, input)?;
    }
    let Some(finding) = ran.finding else { return Ok(true) };
    let small = run::shrink(target, finding);
    let path = kept("findings", target, &small.input)?;
    println!("  {}\n  {:?}\n  kept in {}", small.what, String::from_utf8_lossy(&small.input), path.display());
    Ok(false)
}

/// Fuzzes all that are asked for, a part of the time each; what one finds does not end the others.
fn fuzz_each(options: &Options) -> std::io::Result<bool> {
    let each = options.time / options.targets.len() as u32;
    let mut well = true;
    for target in &options.targets {
        well &= fuzz(target, each, options)?;
    }
    Ok(well)
}

fn seed() -> std::io::Result<()> {
    for target in ALL {
        let folder = home().join("corpus").join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds::of(target.name) {
            std::fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["seed"] => seed().map(|()| true),
        ["list"] => {
            ALL.iter().for_each(|target| println!("{:<16}{}", target.name, target.what));
            Ok(true)
        }
        ["replay", target, file] => match (named(target), std::fs::read(file)) {
            (Some(target), Ok(input)) => match run::one(target, &input) {
                Ok(_) => Ok(true),
                Err(finding) => {
                    println!("{}", finding.what);
                    Ok(false)
                }
            },
            (_, Err(error)) => Err(error),
            (None, _) => return usage(),
        },
        _ => {
            let Some(options) = parse(&arguments) else { return usage() };
            fuzz_each(&options)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
