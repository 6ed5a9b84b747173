//! Transactions that are on record elsewhere ([`Wants::origin`]): a source hands them over in batches, some of them again, and
//! each is done once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corollary_engine::reply::Wants;
use corollary_engine::{Committed, EngineError, Origin};

use crate::random::Random;

/// Sources of a run.
const SOURCES: usize = 2;

/// Transactions of a batch.
const BATCH: usize = 6;

/// What the engine has to remember.
#[derive(Default)]
pub struct Origins {
    /// By source: the batch that is under way, and which of it are done.
    done: BTreeMap<usize, (u64, BTreeSet<u64>)>,
}

/// Which transaction of which source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    source: usize,
    batch: u64,
    number: u64,
}

impl Label {
    /// What the engine is told with it.
    pub fn wants(&self) -> Wants {
        let origin = Origin { source: [self.source as u8; 16], batch: self.batch, number: self.number };
        Wants { actor: Some(self.actor().into()), origin: Some(Arc::new(origin)), ..Wants::results() }
    }

    fn actor(&self) -> String {
        format!("source {}", self.source)
    }
}

impl Origins {
    /// One of the batch that a source is at, perhaps again; rarely one of the batch before, or the first of the next.
    pub fn label(&self, random: &mut Random) -> Label {
        let source = random.below(SOURCES);
        let batch = self.done.get(&source).map_or(1, |(batch, _)| *batch);
        let batch = match random.below(12) {
            0 => batch.saturating_sub(1),
            1 | 2 => batch + 1,
            _ => batch,
        };
        Label { source, batch, number: random.below(BATCH) as u64 }
    }

    /// Has it been dealt with? Then it says whether that was told.
    pub fn judge(
        &self,
        label: &Label,
        outcome: &Result<Committed, EngineError>,
    ) -> Option<Result<(), String>> {
        let (batch, numbers) = self.done.get(&label.source)?;
        if label.batch > *batch || label.batch == *batch && !numbers.contains(&label.number) {
            return None;
        }
        let right = matches!(outcome, Ok(told) if told.commit.is_none() && told.results.is_empty());
        Some(if right { Ok(()) } else { Err(format!("{label:?} is done twice: {outcome:?}")) })
    }

    /// It is done; the log tells who made it.
    pub fn note(&mut self, label: &Label, committed: &Committed) -> Result<(), String> {
        let (batch, numbers) = self.done.entry(label.source).or_default();
        if *batch < label.batch {
            (*batch, *numbers) = (label.batch, BTreeSet::new());
        }
        numbers.insert(label.number);
        match &committed.commit {
            Some(commit) if commit.actor.as_deref() != Some(label.actor().as_str()) => {
                Err(format!("the log tells that {:?} made what {} did", commit.actor, label.actor()))
            }
            _ => Ok(()),
        }
    }
}
