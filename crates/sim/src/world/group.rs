//! One group of transactions: made, predicted by the model, committed while something happens, and judged.

use std::collections::BTreeSet;

use corollary_engine::reply::{Request, Wants};
use corollary_engine::{EngineError, Executor, Transaction};
use corollary_store::Fault;
use jiff::Timestamp;

use super::verdict::{Judged, Outcomes};
use super::{World, declared};
use crate::files;
use crate::history::Told;
use crate::history::facts::Asked;
use crate::judge;
use crate::model::{Facts, Setting, Step};
use crate::origins::Label;
use crate::receipts::Ticket;
use crate::translate::{shown, transaction};
use crate::workload::Workload;

/// What happens while a group is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// Nothing.
    Calm,
    /// Somebody reads just before and just after the store has it.
    Watched,
    /// Somebody begins to read before, and ends after.
    AmidARead,
    /// The store fails.
    Fault(Fault),
    /// The node dies, and others go on.
    Death {
        /// Is the group there?
        survives: bool,
    },
}

/// How the engine knows a transaction again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    /// Not at all.
    None,
    /// By the key of its request.
    Key(Ticket),
    /// By where it is on record.
    Origin(Label),
}

/// Which step of a plan it is.
pub(super) struct At<'a> {
    pub step: usize,
    /// Is this write of it left out?
    pub dropped: &'a dyn Fn(usize) -> bool,
}

impl World {
    /// A group of transactions.
    pub(super) fn group(&mut self, around: Around, at: &At<'_>) -> Result<(), String> {
        let draft = self.draft.clone();
        let declared = declared(&draft);
        let now = self.now();
        // What the clock changes comes with a group, or by itself before one whose end is predicted.
        if !matches!(around, Around::Calm) || self.random.percent(50) {
            self.tick(now)?;
        }
        let time = now.max(self.last);
        let strict = draft.derived().any(|(_, _, derived)| derived.strict);
        // Whether a strict field refuses is not predicted: alone in its group, a transaction shows it.
        let fails = matches!(around, Around::Fault(_) | Around::Death { .. });
        let count = if strict && fails { 1 } else { 1 + self.random.below(10) };
        let mut predicted = self.model.clone();
        let line = self.line.clone();
        let revisions = &self.revisions;
        predicted.expire(&Setting { draft: &draft, facts: &declared, line: &line, now: time, revisions });
        let (mut changes, mut writes) = (0, 0);
        let mut group: Vec<Vec<Step>> = Vec::with_capacity(count);
        let with_keys = matches!(around, Around::Calm) && self.random.percent(25);
        let with_origins = matches!(around, Around::Calm) && !with_keys && self.random.percent(12);
        let mut marks = Vec::new();
        for _ in 0..count {
            let revisions = &self.revisions;
            let random = &mut self.random;
            let (stored, created) = (&predicted, BTreeSet::new());
            let mut steps = Workload { draft: &draft, facts: &declared, stored, revisions, random, created }
                .transaction();
            marks.push(match (with_keys, with_origins) {
                (true, _) => Mark::Key(self.receipts.ticket(&mut self.random, &draft, &mut steps)),
                (_, true) => Mark::Origin(self.origins.label(&mut self.random)),
                _ => Mark::None,
            });
            steps.retain(|_| {
                writes += 1;
                !(at.dropped)(writes - 1)
            });
            if fails && !group.is_empty() {
                // Nor is at which revision derived values let a resource be after the transactions before.
                steps.retain(|step| !matches!(step, Step::Require(..)));
            }
            let setting = Setting { draft: &draft, facts: &declared, line: &line, now: time, revisions };
            changes += usize::from(predicted.run(&setting, &steps) == Ok(true));
            if !steps.is_empty() {
                self.notes.add(format!("{around:?} at {now}: {}", shown(&draft, &steps)));
            }
            group.push(steps);
        }
        self.writes.insert(at.step, writes);
        if group.iter().all(Vec::is_empty) {
            return Ok(());
        }
        self.report.transactions += count;
        let engine = self.engine();
        // One that is late does not know what is open.
        self.behind = self.late || !engine.updates().open.is_empty();
        let transactions: Result<Vec<Transaction>, String> =
            group.iter().map(|steps| transaction(engine.schema(), &draft, steps)).collect();
        let mut transactions = transactions?;
        files::send(&engine, &mut transactions, &mut self.sent, time)?;
        let shadow = strict.then(|| self.store.copy()).transpose().map_err(|error| error.to_string())?;
        let asked = self.asks(at.step, group.len());
        let judged = Judged {
            draft: &draft,
            declared: &declared,
            group: &group,
            transactions: &transactions,
            marks: &marks,
            asked: &asked,
            time,
            shadow,
        };
        match around {
            Around::Calm => {
                let first = transactions.first().filter(|_| !self.late && !with_keys && !with_origins);
                let tried = first.map(|first| judge::tried(&engine, first, now));
                let outcomes = self.execute(&transactions, &marks, now)?;
                if let (Some(tried), Some(outcome)) = (tried, outcomes.first()) {
                    judge::kept_its_word(&tried?, outcome)?;
                }
                self.accept(&judged, outcomes)
            }
            Around::Watched => self.watched(&judged, now),
            Around::AmidARead => self.amid_a_read(&judged, now),
            Around::Death { survives } => {
                self.store.kill(Some(survives));
                let outcome = self.executor.borrow_mut().commit(&transactions, now);
                self.store.kill(None);
                match outcome {
                    // There was nothing to commit.
                    Ok(outcomes) if engine.revision() == self.revision => self.accept(&judged, outcomes),
                    Err(EngineError::Store(error)) if error.is_fatal() && (changes > 0 || self.behind) => {
                        self.report.faults.count(Fault::Sync { survives });
                        let kept = World::stored_revision(&*self.store)?;
                        self.keep(&judged, predicted, if survives { Some(kept) } else { None }, changes)?;
                        self.succeed()
                    }
                    outcome => Err(format!("the node died, and the group is {outcome:?}")),
                }
            }
            Around::Fault(fault) => {
                let before = self.state()?;
                self.store.fail(Some((0, fault)));
                let outcome = self.executor.borrow_mut().commit(&transactions, now);
                self.store.fail(None);
                match outcome {
                    // There was nothing to commit.
                    Ok(outcomes) if engine.revision() == self.revision => self.accept(&judged, outcomes),
                    Ok(_) => Err("the store failed, and the group did not".into()),
                    Err(EngineError::Store(_)) if changes > 0 || self.behind => {
                        self.report.failures += 1;
                        self.report.faults.count(fault);
                        if engine.revision() != self.revision {
                            return Err(format!("a group that failed is published as {}", engine.revision()));
                        }
                        judge::same_state(
                            "before it was",
                            &before,
                            "after the group failed",
                            &self.state()?,
                        )?;
                        match fault {
                            Fault::Sync { survives } => {
                                self.crash_in_commit(&judged, predicted, survives, changes)
                            }
                            _ => Ok(()),
                        }
                    }
                    Err(error) => Err(format!("the group failed: {error}")),
                }
            }
        }
    }

    pub(super) fn commit(&self, transactions: &[Transaction], now: Timestamp) -> Result<Outcomes, String> {
        let outcome = self.executor.borrow_mut().commit(transactions, now);
        outcome.map_err(|error| format!("the group failed: {error}"))
    }

    /// A group, some of whose requests are known again.
    fn execute(
        &mut self,
        transactions: &[Transaction],
        marks: &[Mark],
        now: Timestamp,
    ) -> Result<Outcomes, String> {
        let of = |mark: &Mark| match mark {
            Mark::None => Wants::results(),
            Mark::Key(ticket) => ticket.wants(),
            Mark::Origin(label) => label.wants(),
        };
        let wants: Vec<Wants> = marks.iter().map(of).collect();
        let group: Vec<Request<'_>> = transactions
            .iter()
            .zip(&wants)
            .map(|(transaction, wants)| Request { transaction, wants })
            .collect();
        let mut executor = self.executor.borrow_mut();
        // In two groups, the second of which is worked out before the first is durable. What the clock does is of one group.
        let is_due = executor.next_due().is_some_and(|due| due <= now);
        let cut = if is_due || self.report.steps.is_multiple_of(2) { group.len() } else { group.len() / 2 };
        let mut ahead = 0;
        let mut run = |executor: &mut Executor| {
            let (first, second) = group.split_at(cut);
            if second.is_empty() {
                return executor.execute(first, now);
            }
            let before = executor.engine().revision();
            let (mut outcomes, first) = executor.execute_ahead(first, now)?;
            let shown = executor.engine().revision();
            if !executor.engine().is_shared() && shown != before {
                return Err(EngineError::Corrupt(format!("{shown} is shown before it is durable")));
            }
            let is_ahead = outcomes.iter().flatten().any(|it| it.commit.is_some());
            ahead = usize::from(is_ahead && !executor.engine().is_shared());
            let (others, second) = executor.execute_ahead(second, now)?;
            first.harden()?;
            second.harden()?;
            outcomes.extend(others);
            Ok(outcomes)
        };
        let outcome = run(&mut executor);
        self.report.ahead += ahead;
        outcome.map_err(|error| format!("the group failed: {error}"))
    }

    /// The store has stopped within a commit: what is there after a restart?
    fn crash_in_commit(
        &mut self,
        judged: &Judged<'_>,
        predicted: Facts,
        survives: bool,
        changes: usize,
    ) -> Result<(), String> {
        let again = self.executor.borrow_mut().commit(judged.transactions, judged.time);
        if !matches!(again, Err(EngineError::Store(_))) {
            return Err(format!("after a failed sync the next group is {again:?}"));
        }
        let kept = survives.then(|| self.revision_left()).transpose()?;
        self.keep(judged, predicted, kept, changes)?;
        self.restart()
    }

    /// Goes on from what is stored of a group whose commit told nothing, if anything is: the last revision.
    fn keep(
        &mut self,
        judged: &Judged<'_>,
        predicted: Facts,
        kept: Option<u64>,
        changes: usize,
    ) -> Result<(), String> {
        let node = self.engine().node_name().to_owned();
        for (asking, steps) in judged.asked.iter().zip(judged.group) {
            let asked = Asked::new(steps, judged.time);
            self.history.tell(*asking, &node, asked, Told::Unknown);
        }
        let Some(kept) = kept else { return Ok(()) };
        let kept = kept.saturating_sub(self.revision) as usize;
        // What only brings values that were behind may be a commit, too.
        if kept < changes || (kept > changes && !self.behind) {
            return Err(format!("{kept} commits are kept of a group with {changes}"));
        }
        for _ in 0..kept {
            self.report.commits += 1;
            self.went_on(self.revision + 1, judged.time);
        }
        self.model = predicted;
        Ok(())
    }
}
