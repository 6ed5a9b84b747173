//! What the engine says of a group, compared with what the model says of it.

use std::sync::Arc;

use corollary_engine::{
    Commit, Committed, Doc, Engine, EngineError, EngineOptions, Key, Refusal, Transaction, Write, open,
};
use corollary_store::Store;
use jiff::Timestamp;

use super::World;
use super::group::Mark;
use crate::draft::{Draft, Fact, FieldKind};
use crate::history::facts::Asked;
use crate::history::{Asking, Told};
use crate::judge;
use crate::model::{Facts, Setting, Step};
use crate::rules::Codes;
use crate::store::SimStore;
use crate::translate::shown;

/// Of transactions: what each did, or why not.
pub(super) type Outcomes = Vec<Result<Committed, EngineError>>;

/// A group and what it takes to judge it.
pub(super) struct Judged<'a> {
    pub draft: &'a Draft,
    pub declared: &'a [Vec<Fact<'a>>],
    pub group: &'a [Vec<Step>],
    pub transactions: &'a [Transaction],
    /// How each is known again.
    pub marks: &'a [Mark],
    /// When each was asked.
    pub asked: &'a [Asking],
    /// Of the commit.
    pub time: Timestamp,
    /// What was stored before the group, where fields are strict.
    pub shadow: Option<SimStore>,
}

impl Judged<'_> {
    /// Was a transaction rightly refused because of a strict field? Where none is strict, it makes one an error.
    fn check_strict(&self, accepted: &[Transaction], refused: &Transaction) -> Result<(), String> {
        let Some(store) = &self.shadow else { return Err("it is refused, and no field is strict".into()) };
        let mut lenient = self.draft.clone();
        let mut strict = Vec::new();
        for ty in &mut lenient.types {
            for field in &mut ty.fields {
                if let FieldKind::Derived(derived) = &mut field.kind {
                    // What a strict field is computed from follows at once; without strict fields only what is not
                    // in the background does.
                    derived.background = false;
                    if std::mem::take(&mut derived.strict) {
                        strict.push((ty.name, field.name.clone()));
                    }
                }
            }
        }
        let store: Arc<dyn Store> = Arc::new(store.copy().map_err(|error| error.to_string())?);
        let (text, _) = lenient.text();
        let mut executor = open(store, &text, &EngineOptions::default(), self.time, &mut |_| {})
            .map_err(|error| format!("without strict fields it does not open: {error}"))?;
        let group: Vec<Transaction> = accepted.iter().chain([refused]).map(unconditional).collect();
        let mut outcomes = executor.commit(&group, self.time).map_err(|error| error.to_string())?;
        let schema = executor.engine().schema().clone();
        let last = outcomes.pop();
        if let Some(Err(error)) = outcomes.into_iter().find(Result::is_err) {
            return Err(format!(
                "without strict fields another transaction is refused that was accepted: {error}"
            ));
        }
        match last {
            Some(Ok(committed)) => {
                let changes = committed.commit.iter().flat_map(|commit| &commit.changes);
                let is_error = |(key, doc): (&Key, &Arc<Doc>)| {
                    let ty = schema.ty(key.ty);
                    let fields = strict.iter().filter(|(name, _)| *name == ty.name);
                    fields.filter_map(|(_, name)| ty.named(name)).any(|(slot, _)| doc.get(slot).is_error())
                };
                if changes.filter_map(|it| Some((&it.key, it.after.as_ref()?))).any(is_error) {
                    return Ok(());
                }
                Err("it is refused as if it made a strict field an error, which it does not".into())
            }
            // It would be refused for another reason in any case.
            Some(Err(EngineError::Refused(_))) => Ok(()),
            outcome => Err(format!("without strict fields it is {outcome:?}")),
        }
    }
}

/// The same whatever the revisions are. Opened without strict fields, resources may be at others: once a transaction that the
/// engine had accepted was refused then, and what followed it was judged without it.
fn unconditional(transaction: &Transaction) -> Transaction {
    let stays = |write: &&Write| !matches!(write, Write::Require(..));
    Transaction { writes: transaction.writes.iter().filter(stays).cloned().collect() }
}

impl World {
    /// Compares what the engine said of each transaction with the model, and goes on from there.
    pub(super) fn accept(&mut self, judged: &Judged<'_>, outcomes: Outcomes) -> Result<(), String> {
        self.ticked()?;
        let mut accepted: Vec<Transaction> = Vec::new();
        let mut last = Vec::new();
        for (at, outcome) in outcomes.into_iter().enumerate() {
            let steps = &judged.group[at];
            let told = match &judged.marks[at] {
                Mark::None => None,
                Mark::Key(ticket) => self.receipts.judge(ticket, judged.time, &outcome),
                Mark::Origin(label) => self.origins.judge(label, &outcome),
            };
            if let Some(told) = told {
                told?;
                self.report.repeated += 1;
                continue;
            }
            let line = self.line.clone();
            let setting = Setting {
                draft: judged.draft,
                facts: judged.declared,
                line: &line,
                now: judged.time,
                revisions: &self.revisions,
            };
            let mut next = self.model.clone();
            let verdict = next.run(&setting, steps);
            let about = || shown(judged.draft, steps);
            match (verdict, outcome) {
                (Ok(changed), Ok(committed)) => {
                    self.follow(judged, steps, &next, changed, &committed)
                        .map_err(|what| format!("{what}: {}", about()))?;
                    self.model = next;
                    match &judged.marks[at] {
                        Mark::None => {}
                        Mark::Key(ticket) => {
                            let asked = (self.draft.clone(), steps.clone());
                            self.receipts.keep(ticket, judged.time, &committed, asked)?;
                        }
                        Mark::Origin(label) => self.origins.note(label, &committed)?,
                    }
                    let facts = committed.commit.as_ref().is_some_and(|it| !only_follows(&self.engine(), it));
                    self.told(judged.asked[at], steps, judged.time, &committed, facts);
                    let transaction = &judged.transactions[at];
                    let keys = transaction.writes.iter().map(|write| write.key().clone());
                    let results = keys.zip(committed.results);
                    last = results.filter_map(|(key, result)| Some((key, result?))).collect();
                    accepted.push(transaction.clone());
                }
                (Err(codes), Err(EngineError::Refused(refusals))) if codes == codes_of(&refusals) => {
                    let node = self.engine().node_name().to_owned();
                    let asked = Asked::new(steps, judged.time);
                    self.history.tell(judged.asked[at], &node, asked, Told::Refused(codes));
                    self.report.refused += 1;
                }
                (_, Err(EngineError::Refused(refusals)))
                    if codes_of(&refusals) == Codes::from(["strict"]) =>
                {
                    self.report.refused += 1;
                    judged
                        .check_strict(&accepted, &judged.transactions[at])
                        .map_err(|what| format!("{what}: {}", about()))?;
                }
                (verdict, Err(error)) => {
                    return Err(format!("the model says {verdict:?}, and the engine {error:?}: {}", about()));
                }
                (Err(codes), Ok(_)) => {
                    return Err(format!(
                        "the engine accepts what should be refused with {codes:?}: {}",
                        about()
                    ));
                }
            }
        }
        if !accepted.is_empty() && self.engine().revision() != self.revision {
            return Err(format!(
                "{} is published, and {} was committed",
                self.engine().revision(),
                self.revision
            ));
        }
        // The state is the one that the last of them left.
        judge::results(&self.engine(), judged.time, &last)
    }

    /// Checks what the engine says that an accepted transaction did.
    fn follow(
        &mut self,
        judged: &Judged<'_>,
        steps: &[Step],
        next: &Facts,
        changed: bool,
        committed: &Committed,
    ) -> Result<(), String> {
        let engine = self.engine();
        let brought =
            self.behind && !changed && committed.commit.as_ref().is_some_and(|it| only_follows(&engine, it));
        let changed = changed || brought;
        self.behind |= !committed.updates.is_empty();
        let revision = self.revision + u64::from(changed);
        if committed.revision != revision || committed.commit.is_some() != changed {
            return Err(format!(
                "the revision is {} behind {}, and the facts changed: {changed}; it tells of {:?}",
                committed.revision,
                self.revision,
                committed.commit.as_ref().map(|commit| &commit.changes)
            ));
        }
        for (step, result) in steps.iter().zip(&committed.results) {
            if result.is_some() != next.has(step.place()) {
                return Err(format!("after it {:?} is {result:?}", step.place()));
            }
        }
        if let Some(commit) = &committed.commit {
            if commit.time != judged.time {
                return Err(format!("its time is {}, and should be {}", commit.time, judged.time));
            }
            if commit.changes.is_empty() || !commit.changes.is_sorted_by(|left, right| left.key < right.key) {
                return Err("its changes are none, or not in the order of keys".into());
            }
            for change in &commit.changes {
                judge::stays_strict(engine.schema(), change)?;
                let place = judge::place(engine.schema(), judged.draft, &change.key);
                match &change.after {
                    Some(doc) => drop(self.revisions.insert(place, doc.revision)),
                    None => drop(self.revisions.remove(&place)),
                }
            }
            self.report.commits += 1;
            self.went_on(revision, judged.time);
        }
        Ok(())
    }
}

fn codes_of(refusals: &[Refusal]) -> Codes {
    refusals.iter().map(|refusal| refusal.code).collect()
}

/// Are no facts in a commit?
fn only_follows(engine: &Engine, commit: &Commit) -> bool {
    commit.changes.iter().all(|change| {
        let resource = engine.schema().ty(change.key.ty);
        change.before.is_some()
            && change.after.is_some()
            && change.changed.iter().all(|slot| !resource.field(*slot).is_fact())
    })
}
