//! What a run is: a seed, and what of that seed's run is left out. A plan is text, so that a failure can be typed again.
//!
//! Each step draws from a generator of its own, so leaving a step out moves nothing in the others. [`mod@crate::shrink`] makes
//! plans smaller.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::random::Random;
use crate::world::STEPS;

/// The largest weight of a kind of step.
const MOST_WEIGHT: usize = 1_000_000;

/// How many nodes the runs of seeds have, one seed after the other.
const NODES: [usize; 5] = [0, 3, 0, 2, 1];

/// How often each kind of step comes, beside the others: numbers in the order of [`STEPS`]. Not all are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights(pub [usize; STEPS.len()]);

impl Default for Weights {
    fn default() -> Weights {
        Weights(STEPS.map(|(_, weight)| weight))
    }
}

/// `crash:9,schema:0`: those that differ.
impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = STEPS.iter().zip(self.0).filter(|((_, usual), weight)| usual != weight);
        let all: Vec<String> = all.map(|((name, _), weight)| format!("{name}:{weight}")).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Weights {
    type Err = String;

    fn from_str(text: &str) -> Result<Weights, String> {
        let mut weights = Weights::default();
        for part in text.split(',') {
            let at = part.split_once(':').and_then(|(name, weight)| {
                let at = STEPS.iter().position(|(known, _)| *known == name)?;
                Some((at, weight.parse().ok().filter(|weight| *weight <= MOST_WEIGHT)?))
            });
            let Some((at, weight)) = at else {
                let names = STEPS.map(|(name, _)| name).join(", ");
                return Err(format!(
                    "`{part}` is no weight: a name, a colon and a number up to {MOST_WEIGHT}, of {names}"
                ));
            };
            weights.0[at] = weight;
        }
        if weights.0.iter().all(|weight| *weight == 0) {
            return Err("some weight has to be more than 0".into());
        }
        Ok(weights)
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Of all chance.
    pub seed: u64,
    /// How many steps; the first is 1.
    pub steps: usize,
    /// How many nodes there are at most over a store that they share; none for a store that is one node's own.
    pub nodes: usize,
    /// How often each kind of step comes.
    pub weights: Weights,
    /// Steps that are left out.
    pub skipped: BTreeSet<usize>,
    /// Derived fields of the first schema that are left out, as `Type.field`.
    pub without: BTreeSet<String>,
    /// Writes that are left out: the step, and the position among all writes of its group.
    pub dropped: BTreeSet<(usize, usize)>,
}

impl Plan {
    /// All of a seed's run.
    pub fn whole(seed: u64, steps: usize) -> Plan {
        let (skipped, without, dropped) = Default::default();
        let nodes = NODES[(seed % NODES.len() as u64) as usize];
        Plan { seed, steps, nodes, weights: Weights::default(), skipped, without, dropped }
    }

    /// The chance of a step; 0 is the beginning.
    pub fn chance(&self, step: usize) -> Random {
        let mut random = Random::new(self.seed);
        for part in [random.number(), step as u64] {
            random = Random::new(random.number() ^ part);
        }
        random
    }

    /// The steps that are run.
    pub fn remaining(&self) -> impl Iterator<Item = usize> {
        (1..=self.steps).filter(|step| !self.skipped.contains(step))
    }
}

/// `seed=7 steps=12 nodes=2 skip=1-4,6 without=Ant.f3 drop=12:0`; empty parts are left out.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed={} steps={}", self.seed, self.steps)?;
        if self.nodes > 0 {
            write!(f, " nodes={}", self.nodes)?;
        }
        if self.weights != Weights::default() {
            write!(f, " weights={}", self.weights)?;
        }
        let mut skipped: Vec<(usize, usize)> = Vec::new();
        for step in &self.skipped {
            match skipped.last_mut() {
                Some((_, to)) if *to + 1 == *step => *to = *step,
                _ => skipped.push((*step, *step)),
            }
        }
        let range = |(from, to): (usize, usize)| match from == to {
            true => from.to_string(),
            false => format!("{from}-{to}"),
        };
        let parts = [
            ("skip", skipped.into_iter().map(range).collect::<Vec<_>>()),
            ("without", self.without.iter().cloned().collect()),
            ("drop", self.dropped.iter().map(|(step, write)| format!("{step}:{write}")).collect()),
        ];
        for (name, parts) in parts.into_iter().filter(|(_, parts)| !parts.is_empty()) {
            write!(f, " {name}={}", parts.join(","))?;
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Plan, String> {
        let mut plan = Plan { nodes: 0, ..Plan::whole(0, 0) };
        let wrong = |part: &str| format!("`{part}` is no part of a plan");
        for part in text.split_whitespace() {
            let (name, value) = part.split_once('=').ok_or_else(|| wrong(part))?;
            let number = |text: &str| text.parse::<usize>().map_err(|_| wrong(part));
            match name {
                "seed" => plan.seed = value.parse().map_err(|_| wrong(part))?,
                "nodes" => plan.nodes = number(value)?,
                "weights" => plan.weights = value.parse()?,
                "steps" => plan.steps = number(value)?,
                "skip" => {
                    for range in value.split(',') {
                        let (from, to) = range.split_once('-').unwrap_or((range, range));
                        plan.skipped.extend(number(from)?..=number(to)?);
                    }
                }
                "without" => plan.without.extend(value.split(',').map(str::to_owned)),
                "drop" => {
                    for place in value.split(',') {
                        let (step, write) = place.split_once(':').ok_or_else(|| wrong(part))?;
                        plan.dropped.insert((number(step)?, number(write)?));
                    }
                }
                _ => return Err(wrong(part)),
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_its_text() {
        let own: Plan = "seed=3 steps=5".parse().expect("a plan");
        assert_eq!((own.nodes, own.to_string().as_str()), (0, "seed=3 steps=5"));
        let text = "seed=7 steps=12 nodes=2 skip=1-4,6,8-9 without=Ant.f3,Bee.f1 drop=10:0,12:3";
        let plan: Plan = text.parse().expect("a plan");
        assert_eq!(plan.to_string(), text);
        assert_eq!(plan.remaining().collect::<Vec<_>>(), [5, 7, 10, 11, 12]);
        assert_eq!(Plan::whole(3, 5).to_string(), "seed=3 steps=5 nodes=2");
        let weighed = "seed=7 steps=12 weights=crash:40,schema:0";
        let plan: Plan = weighed.parse().expect("a plan");
        assert_eq!((plan.to_string().as_str(), plan.weights.0[5], plan.weights.0[6]), (weighed, 40, 0));
        for wrong in [
            "weights=",
            "weights=crash",
            "weights=crash:-1",
            "weights=none:3",
            "seed",
            "seed=x",
            "nodes=x",
            "skip=1-",
            "drop=3",
            "else=1",
        ] {
            assert!(wrong.parse::<Plan>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_step_has_a_chance_of_its_own() {
        let plan = Plan::whole(3, 5);
        let first: BTreeSet<u64> = (0..1_000).map(|step| plan.chance(step).number()).collect();
        assert_eq!(first.len(), 1_000);
        assert_ne!(Plan::whole(4, 5).chance(1).number(), plan.chance(1).number());
    }
}
