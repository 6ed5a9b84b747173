//! The whole HTTP API against a naive model: random requests go to a server and to plain maps of documents, written from
//! docs/http.md alone, and whatever a reply says must be what the model says.
//!
//! [`schema`] is what is played with, [`state`] what there is and what follows, [`answer`] what a request does,
//! [`generate`] which requests there are, [`play`] the two side by side. A run that fails prints its seed and the fewest of its
//! requests that fail still. `COROLLARY_SEED` repeats one, `COROLLARY_MODEL_SEEDS` says how many fresh ones there are, and
//! `COROLLARY_MODEL_STEPS` how long each is; `cargo xtask model` is the long form.

mod answer;
mod batch;
mod bodies;
mod compare;
mod coverage;
mod dry_run;
mod filter;
mod generate;
mod log;
mod patches;
mod paths;
mod play;
mod processors;
mod reads;
mod request;
mod schema;
mod state;
mod values;
mod watches;
mod work;
mod writes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coverage::Seen;
use generate::Generator;
use play::Play;
use request::Request;

use crate::common::Random;
use corollary_store::postgres::testing::Server as Database;

/// Everything is read after so many requests.
const CHECK_EVERY: usize = 25;

/// How long fewer requests are looked for.
const SHRINKING: Duration = Duration::from_secs(60);

/// A run that went wrong: its requests, the ids that the server made for each, and what was wrong with the last.
struct Failure {
    requests: Vec<(Request, Vec<String>)>,
    what: String,
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

/// Plays random requests.
fn run(seed: u64, steps: usize, store: Option<String>) -> Result<Seen, Failure> {
    let mut random = Random::new(seed);
    let mut keys = Vec::new();
    let mut requests: Vec<(Request, Vec<String>)> = Vec::new();
    let failed = |requests, what| Failure { requests, what };
    let mut play = match Play::begin(store) {
        Ok(play) => play,
        Err(what) => return Err(failed(requests, what)),
    };
    for step in 0..steps {
        let request = Generator { random: &mut random, state: &play.state, keys: &mut keys }.request();
        let outcome = play.ask(&request);
        requests.push((request, Vec::new()));
        match outcome {
            Ok(made) => requests.last_mut().unwrap().1 = made,
            Err(what) => return Err(failed(requests, what)),
        }
        if (step + 1) % CHECK_EVERY == 0
            && let Err(what) = play.check()
        {
            return Err(failed(requests, what));
        }
    }
    play.end().map_err(|what| failed(requests, what))
}

/// Plays requests of an earlier run, with the ids that the server makes this time.
fn replay(requests: &[(Request, Vec<String>)]) -> Option<String> {
    let mut play = match Play::begin(Some("memory".into())) {
        Ok(play) => play,
        Err(what) => return Some(what),
    };
    let mut now: BTreeMap<String, String> = BTreeMap::new();
    for (request, made) in requests {
        let other =
            |text: &str| now.iter().fold(text.to_string(), |text, (then, now)| text.replace(then, now));
        match play.ask(&request.with_ids(&other)) {
            Ok(ids) => now.extend(made.iter().cloned().zip(ids)),
            Err(what) => return Some(format!("{}\n  {what}", request.shown())),
        }
    }
    play.check().err()
}

/// The fewest requests that fail still, as far as leaving some out leads.
fn shrunk(mut requests: Vec<(Request, Vec<String>)>) -> (Vec<(Request, Vec<String>)>, Option<String>) {
    let begun = Instant::now();
    let mut what = replay(&requests);
    let mut size = requests.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        while at < requests.len() && begun.elapsed() < SHRINKING {
            let mut fewer = requests.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            match replay(&fewer) {
                Some(found) => (requests, what) = (fewer, Some(found)),
                None => at += size,
            }
        }
        if size == 1 || begun.elapsed() >= SHRINKING {
            return (requests, what);
        }
        size = size.div_ceil(2);
    }
}

/// Plays some seeds, and tells how the first goes wrong that does; gives what they have come to.
fn hold(seeds: std::ops::Range<u64>, steps: u64, store: impl Fn(u64) -> Option<String>) -> Seen {
    let steps = setting("COROLLARY_MODEL_STEPS", steps) as usize;
    let mut seen = Seen::new();
    for seed in seeds {
        let Failure { requests, what } = match run(seed, steps, store(seed)) {
            Ok(its) => {
                seen.extend(its);
                continue;
            }
            Err(failure) => failure,
        };
        let last = requests.last().map(|(request, _)| request.shown()).unwrap_or_default();
        let (fewer, again) = shrunk(requests);
        let shown: Vec<String> = fewer.iter().map(|(request, _)| request.shown()).collect();
        let again = again.unwrap_or_else(|| "(it does not happen again)".into());
        panic!(
            "COROLLARY_SEED={seed}\n{last}\n  {what}\n\nof these requests:\n{}\n{again}",
            shown.join("\n")
        );
    }
    seen
}

/// The seeds that are asked for; none where nothing is, and the fixed ones do.
fn asked() -> Option<std::ops::Range<u64>> {
    let (first, many) = (std::env::var("COROLLARY_SEED"), std::env::var("COROLLARY_MODEL_SEEDS"));
    if first.is_err() && many.is_err() {
        return None;
    }
    let first = first.map_or_else(|_| crate::common::seed() % 1_000_000_000, |seed| seed.parse().unwrap());
    Some(first..first + setting("COROLLARY_MODEL_SEEDS", 1))
}

#[test]
fn the_server_replies_as_the_model_does() {
    if let Some(seeds) = asked() {
        hold(seeds, 1_000, |_| None);
        return;
    }
    let seen = hold(1..8, 350, |_| None);
    let missing = coverage::missing(&seen);
    assert!(missing.is_empty(), "the seeds do not come to {missing:?}");
}

#[test]
fn the_server_over_postgres_replies_as_the_model_does() {
    let database = Database::new();
    hold(asked().unwrap_or(101..103), 150, |seed| Some(database.database(&format!("model_{seed}"))));
}
