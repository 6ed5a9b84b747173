//! Runs of a target: one input, or changes of its corpus for so long; what came out as none did before is changed further.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::mutate::{Random, change};
use crate::targets::Target;

/// An input that takes longer is a finding: far more than any needs, on a machine that is busy too.
pub const TOO_LONG: Duration = Duration::from_secs(20);

/// Inputs that are changed further, at most: the corpus and what came out in a new way.
const POOL: usize = 20_000;

/// An input for which a target does not hold what it must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The input.
    pub input: Vec<u8>,
    /// What went wrong.
    pub what: String,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Inputs that were tried.
    pub inputs: u64,
    /// Ways in which they came out.
    pub outcomes: usize,
    /// Those whose outcome the corpus has not, the smallest first.
    pub news: Vec<Vec<u8>>,
    /// What was found; it ends the run.
    pub finding: Option<Finding>,
}

/// Tries one input: what became of it.
///
/// # Errors
///
/// A panic, or that it took too long.
pub fn one(target: &Target, input: &[u8]) -> Result<u64, Finding> {
    let begin = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let wrong = |what: String| Finding { input: input.to_vec(), what };
    match outcome {
        Ok(_) if begin.elapsed() > TOO_LONG => Err(wrong(format!("it took {:?}", begin.elapsed()))),
        Ok(outcome) => Ok(outcome),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(wrong(format!("a panic: {}", text.unwrap_or("of unknown kind"))))
        }
    }
}

/// Replays a corpus and tries changes of it as long as `goes_on` says so of the number of inputs. The same seed tries the same.
pub fn many(
    target: &Target,
    corpus: &[Vec<u8>],
    seed: u64,
    before: &mut dyn FnMut(&[u8]),
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> Ran {
    let mut ran = Ran::default();
    let mut outcomes = HashSet::new();
    let mut pool: Vec<Vec<u8>> = corpus.to_vec();
    for input in corpus {
        before(input);
        ran.inputs += 1;
        match one(target, input) {
            Ok(outcome) => drop(outcomes.insert(outcome)),
            Err(finding) => return Ran { finding: Some(finding), ..ran },
        }
    }
    let mut random = Random(seed);
    while goes_on(ran.inputs) && !pool.is_empty() {
        let (at, other) = (random.below(pool.len()), random.below(pool.len()));
        let input = change(&mut random, &pool[at], &pool[other]);
        before(&input);
        ran.inputs += 1;
        match one(target, &input) {
            Ok(outcome) => {
                if outcomes.insert(outcome) && pool.len() < POOL {
                    ran.news.push(input.clone());
                    pool.push(input);
                }
            }
            Err(finding) => {
                ran.finding = Some(finding);
                break;
            }
        }
    }
    ran.outcomes = outcomes.len();
    ran.news.sort_by_key(Vec::len);
    ran
}

/// Makes a finding smaller, as long as something goes wrong.
pub fn shrink(target: &Target, finding: Finding) -> Finding {
    let mut smallest = finding;
    let mut size = smallest.input.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < smallest.input.len() {
            let mut shorter = smallest.input.clone();
            shorter.drain(at..(at + size).min(shorter.len()));
            match one(target, &shorter) {
                Err(found) => smallest = found,
                Ok(_) => at += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics at two letters next to each other; what comes out is how many of the first it has seen.
    const STUMBLES: Target = Target {
        name: "stumbles",
        what: "",
        short: 0,
        run: |input| {
            assert!(!input.windows(2).any(|pair| pair == b"xy"), "x and y");
            input.iter().filter(|byte| **byte == b'x').count() as u64
        },
    };

    #[test]
    fn what_panics_is_found_and_made_small() {
        let corpus = [b"a long text with x in it, and y".to_vec()];
        let mut tried = 0;
        let ran = many(&STUMBLES, &corpus, 1, &mut |_| tried += 1, &mut |inputs| inputs < 100_000);
        let finding = ran.finding.expect("it is found");
        assert!(ran.inputs < 100_000 && tried == ran.inputs, "{}", ran.inputs);
        let shrunk = shrink(&STUMBLES, finding);
        assert_eq!((shrunk.input.as_slice(), shrunk.what.as_str()), (&b"xy"[..], "a panic: x and y"));
    }

    #[test]
    fn what_comes_out_in_a_new_way_is_kept() {
        let ran = many(&STUMBLES, &[b"a x".to_vec()], 5, &mut |_| {}, &mut |inputs| inputs < 500);
        assert!(ran.finding.is_some() || ran.outcomes > 3, "{ran:?}");
        assert_eq!(
            ran.finding,
            many(&STUMBLES, &[b"a x".to_vec()], 5, &mut |_| {}, &mut |it| it < 500).finding
        );
    }
}
