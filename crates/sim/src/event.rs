//! What happens between groups: crashes, openings with other versions of the schema, openings that are cut short, and
//! the trimming of the log.

use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_engine::catalog::{OpenError, stored_schema};
use corollary_engine::updates::{Progress, Task};
use corollary_engine::{EngineError, EngineOptions, Executor, keys, open, oracle};
use corollary_store::{Direction, Fault, KeyRange, Store};
use jiff::Timestamp;

use crate::draft::{Draft, FieldKind};
use crate::judge::{self, State};
use crate::lifetime;
use crate::make::{self, Change};
use crate::store::SimStore;
use crate::world::{World, declared, options};

/// The most steps that the updates of a run may take to come to their end.
const MAX_STEPS: usize = 100_000;

/// Of these the first, in which so few resources are visited that much happens within an update.
const SMALL_STEPS: usize = 300;

/// The most that are visited in such a step.
pub(crate) const FEW_VISITED: usize = 6;

/// An opening that was tried.
struct Opened {
    outcome: Result<Executor, OpenError>,
    /// How many structures it began to build.
    built: usize,
}

impl World {
    /// What a restart finds.
    fn image(&self) -> Result<Arc<SimStore>, String> {
        let image = self.store.crash_image();
        image.map(Arc::new).map_err(|error| format!("what a crash leaves cannot be opened: {error}"))
    }

    /// The revision that a restart finds.
    pub(crate) fn revision_left(&self) -> Result<u64, String> {
        World::stored_revision(&*self.image()?)
    }

    /// Opens a store.
    fn open(&mut self, store: &Arc<SimStore>, text: &str) -> Opened {
        let now = self.now();
        let node = self.next_name().into();
        // Whoever built something before is gone, or has just given it up.
        let options = EngineOptions { node, take_over: true, ..options(&mut self.random) };
        let mut built = 0;
        let outcome = match store.beside() {
            Ok(store) => open(store, text, &options, now, &mut |_| built += 1),
            Err(error) => Err(EngineError::Store(error).into()),
        };
        Opened { outcome, built }
    }

    /// Everything stops between two groups, and starts again.
    pub(crate) fn crash(&mut self) -> Result<(), String> {
        self.notes.add("crash".into());
        self.restart()
    }

    /// Starts again from what a crash leaves, with the same schema: nothing is built, nothing is lost.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        self.report.crashes += 1;
        self.store = self.image()?;
        self.others.clear();
        let (store, text) = (self.store.clone(), self.text.clone());
        let opened = self.open(&store, &text);
        let executor = opened.outcome.map_err(|error| format!("after a crash it does not open: {error}"))?;
        if opened.built > 0 {
            return Err(format!("after a crash {} structures are built with the same schema", opened.built));
        }
        self.adopt(executor, 0)
    }

    /// Goes on with an executor that was just opened.
    fn adopt(&mut self, executor: Executor, built: usize) -> Result<(), String> {
        *self.executor.borrow_mut() = executor;
        self.late = false;
        let engine = self.engine();
        if engine.revision() < self.revision || (built == 0 && engine.revision() != self.revision) {
            return Err(format!("it opens at revision {}, and was at {}", engine.revision(), self.revision));
        }
        self.revision = engine.revision();
        let kept = stored_schema(&*self.store).map_err(|error| error.to_string())?;
        if kept.as_deref() != Some(&*self.text) {
            return Err(format!("the schema that is kept is {kept:?}"));
        }
        let state = self.state()?;
        let draft = self.draft.clone();
        // With an order gone the times of changes are predicted, and were not before.
        let untold = std::mem::take(&mut self.untold);
        for (key, doc) in state.iter().filter(|_| !untold.is_empty()) {
            let place = judge::place(engine.schema(), &draft, key);
            let kept = engine.schema().ty(key.ty).named(lifetime::UPDATED);
            if let Some((slot, _)) = kept.filter(|_| untold.contains(&place.ty)) {
                self.model.take_time(&place, doc.get(slot));
            }
        }
        judge::facts(engine.schema(), &draft, &declared(&draft), &self.model, &state)?;
        self.revisions = state
            .iter()
            .map(|(key, doc)| (judge::place(engine.schema(), &draft, key), doc.revision))
            .collect();
        if built > 0 || self.renewed {
            self.renew_history();
        }
        let intact = built == 0 || {
            let complete = engine.commits_after(self.fold.from, &mut |_| ControlFlow::Break(()));
            complete.map_err(|error| error.to_string())?
        };
        if intact {
            self.fold.check(&engine, &state)
        } else {
            self.fold.restart(&engine, &state);
            Ok(())
        }
    }

    /// Some steps of the updates that are open; one of them may meet a store that fails.
    pub(crate) fn update(&mut self, steps: usize, most: usize) -> Result<(), String> {
        for _ in 0..steps {
            let (now, limit) = (self.now(), 1 + self.random.below(most));
            let fault = self.random.percent(4).then(|| {
                *self.random.pick(&[
                    Fault::Io,
                    Fault::Full,
                    Fault::Sync { survives: false },
                    Fault::Sync { survives: true },
                ])
            });
            let late = std::mem::take(&mut self.late);
            let fault = fault.filter(|_| !late);
            let dies = self.store.is_shared() && self.random.percent(50);
            let before = self.engine().updates();
            // A step stands before what is due.
            let due = self.executor.borrow().next_due().is_some_and(|due| due <= now);
            let time = if due { self.last } else { now.max(self.last) };
            let death = match fault {
                Some(Fault::Sync { survives }) if dies => Some(survives),
                _ => None,
            };
            match death {
                Some(survives) => self.store.kill(Some(survives)),
                None => self.store.fail(fault.map(|fault| (0, fault))),
            }
            let outcome = self.executor.borrow_mut().update_step(now, limit);
            self.store.fail(None);
            self.store.kill(None);
            if late {
                self.late = true;
                self.learn()?;
            }
            self.notes.add(format!("a step of at most {limit} at {now}, with {fault:?}: {outcome:?}"));
            match (outcome, fault) {
                (Ok(None), _) => return Ok(()),
                (Ok(Some(progress)), _) => {
                    self.report.update_steps += 1;
                    self.report.updates += usize::from(progress.ended);
                    let update = before.get(progress.id);
                    let indexes = update.is_some_and(|it| it.record.task == Task::Index);
                    self.report.indexes += usize::from(progress.ended && indexes);
                    if self.store.is_shared() && !late {
                        self.might_take(&before, progress.id, now)?;
                    }
                    self.stepped(&progress, if late { None } else { Some(time) })?;
                }
                (Err(EngineError::Store(_)), Some(Fault::Sync { survives })) => {
                    self.report.faults.count(Fault::Sync { survives });
                    if survives {
                        // Whether it had a revision shows what is stored.
                        let revision = self.revision_left()?;
                        if revision > self.revision {
                            self.history.by_itself(revision, None);
                            self.went_on(revision, time);
                        }
                    }
                    return if death.is_some() { self.succeed() } else { self.restart() };
                }
                (Err(EngineError::Store(_)), Some(fault)) => {
                    self.report.failures += 1;
                    self.report.faults.count(fault);
                    let failed = self.engine().updates();
                    if failed.open.len() != before.open.len() {
                        return Err("a step that failed has ended an update, or begun one".into());
                    }
                }
                (Err(error), _) => return Err(format!("a step of an update failed: {error}")),
            }
        }
        Ok(())
    }

    /// Follows what a step of an update did.
    fn stepped(&mut self, progress: &Progress, time: Option<Timestamp>) -> Result<(), String> {
        let engine = self.engine();
        let Some(commit) = &progress.commit else {
            return if engine.revision() == self.revision {
                Ok(())
            } else {
                Err(format!("a step that changed nothing is at revision {}", engine.revision()))
            };
        };
        if commit.revision != self.revision + 1 || engine.revision() != commit.revision {
            return Err(format!("a step behind {} has the revision {}", self.revision, commit.revision));
        }
        let draft = self.draft.clone();
        for change in &commit.changes {
            let place = judge::place(engine.schema(), &draft, &change.key);
            let after = change.after.as_ref().map(|doc| doc.revision);
            match after {
                Some(revision) if change.before.is_some() => drop(self.revisions.insert(place, revision)),
                _ => return Err(format!("a step of an update made or deleted {place:?}")),
            }
        }
        if time.map_or(commit.time < self.last, |time| commit.time != time) {
            return Err(format!("a step at {time:?} has the time {}", commit.time));
        }
        self.history.by_itself(commit.revision, None);
        self.went_on(commit.revision, commit.time);
        Ok(())
    }

    /// Works until no update is open; then nothing may be marked.
    pub(crate) fn finish_updates(&mut self) -> Result<(), String> {
        for step in 0..MAX_STEPS {
            if self.engine().updates().open.is_empty() {
                let checked = judge::read(&self.engine(), self.last, |working| oracle::check(working, None))?;
                return match checked.pending {
                    0 => Ok(()),
                    pending => Err(format!("no update is open, and {pending} values are marked")),
                };
            }
            // Along several links in turn a resource is come to by each way to it: that may be thousands of visits.
            self.update(1, if step < SMALL_STEPS { FEW_VISITED } else { 100 * FEW_VISITED })?;
        }
        let open = &self.engine().updates().open;
        let open: Vec<_> = open.iter().map(|it| (&it.record, it.failures, it.not_before)).collect();
        Err(format!("updates do not end: {open:?}"))
    }

    /// Another version of the schema, and its text.
    fn another(&mut self, draft: &Draft, losing: bool) -> Result<(Draft, String, Change), String> {
        let mut next = draft.clone();
        let change = match losing.then(|| make::lose(&mut next, &mut self.random)).flatten() {
            Some(change) => change,
            None => make::change(&mut next, &mut self.random),
        };
        self.report.written.derived += change.derived;
        let text = make::settle(&mut next, Some(draft), &mut self.report.written)?;
        Ok((next, text, change))
    }

    /// Must an opening be refused?
    fn must_refuse(&self, next: &Draft, change: &Change) -> bool {
        let loses = change.losing.as_ref().is_some_and(|(ty, name)| {
            let records = self.model.records.iter().filter(|(place, _)| place.ty == *ty);
            records.into_iter().any(|(_, record)| record.contains_key(name))
        });
        let unique = |(ty, name): &(usize, String)| {
            next.field(*ty, name).is_some_and(|field| self.model.has_duplicates(next, *ty, field))
        };
        loses || change.unique.iter().any(unique)
    }

    /// Opens the data with another version of the schema.
    pub(crate) fn change_schema(&mut self) -> Result<(), String> {
        self.drop_processors()?;
        let losing = self.random.percent(15);
        let (next, text, change) = self.another(&self.draft.clone(), losing)?;
        let must_refuse = self.must_refuse(&next, &change);
        self.notes.add(format!("open with {change:?}:\n{text}"));
        if has_strict(&next) {
            // An opening that is given up builds what was behind; the values are compared then.
            self.finish_updates()?;
        }
        let before = (self.digest()?, self.state()?);
        let store = self.store.clone();
        let head = World::head(&*store)?;
        let opened = self.open(&store, &text);
        match opened.outcome {
            Ok(_) if must_refuse => Err(format!("it opens with {change:?}:\n{text}")),
            Ok(executor) => {
                self.report.versions += 1;
                let changed = self.text != text;
                self.take_version(next, text);
                self.adopt(executor, opened.built)?;
                let now = self.now();
                if changed { self.stopped(now) } else { Ok(()) }
            }
            Err(OpenError::Refused(_)) if must_refuse => {
                self.report.refused_versions += 1;
                if self.digest()? != before.0 {
                    return Err("a refused opening changed what is stored".into());
                }
                self.restart()
            }
            Err(OpenError::Refused(reasons)) if is_strict(&reasons) && has_strict(&next) => {
                self.report.refused_versions += 1;
                if World::head(&*self.store)? != head {
                    let now = self.now();
                    self.stopped(now)?;
                }
                self.reopen_as_it_was(&before.1)
            }
            Err(OpenError::Schema(mistakes)) => {
                Err(format!("{mistakes:?} in a schema that was checked:\n{text}"))
            }
            Err(error) => Err(format!("it does not open: {error}, with {change:?}:\n{text}")),
        }
    }

    /// After a build found that a new version does not fit, the version before is current again.
    fn reopen_as_it_was(&mut self, before: &State) -> Result<(), String> {
        let (store, text) = (self.store.clone(), self.text.clone());
        let opened = self.open(&store, &text);
        let executor =
            opened.outcome.map_err(|error| format!("the version before does not open: {error}"))?;
        // The build that was given up has taken the log with it.
        self.adopt(executor, 1)?;
        // And what it had begun to fill in another way is filled in the old way again.
        self.finish_updates()?;
        let values = |state: &State| -> Vec<_> {
            state.iter().map(|(key, doc)| (key.clone(), doc.values.clone(), doc.states.clone())).collect()
        };
        if values(before) == values(&self.state()?) {
            Ok(())
        } else {
            Err("with the version before, the values are not what they were".into())
        }
    }

    fn take_version(&mut self, draft: Draft, text: String) {
        self.renewed = true;
        self.untold = lifetime::newly_told(&self.draft, &draft);
        self.model.put_in_order(&draft);
        (self.draft, self.text) = (Arc::new(draft), text);
    }

    /// Opens the data with another version while the store fails, and again until one opening succeeds.
    pub(crate) fn change_schema_cut_short(&mut self) -> Result<(), String> {
        self.drop_processors()?;
        let (next, text, change) = self.another(&self.draft.clone(), false)?;
        if self.must_refuse(&next, &change) {
            return Ok(());
        }
        let survives = self.random.percent(50);
        let fault =
            *self.random.pick(&[Fault::Full, Fault::Io, Fault::Sync { survives }, Fault::Sync { survives }]);
        let after = self.random.below(8) as u64;
        self.notes
            .add(format!("open, failing with {fault:?} after {after} commits, with {change:?}:\n{text}"));
        let store = self.store.clone();
        self.others.clear();
        store.fail(Some((after, fault)));
        let opened = self.open(&store, &text);
        store.fail(None);
        let mut built = opened.built;
        match opened.outcome {
            Ok(executor) => {
                self.report.versions += 1;
                self.take_version(next, text);
                return self.adopt(executor, built);
            }
            Err(OpenError::Engine(EngineError::Store(_))) => {
                self.report.cut_short += 1;
                self.report.faults.count(fault);
                // The commit that survived may be that by which the resources of a type begin to expire: it has a revision,
                // and is told with what follows it.
                built += usize::from(matches!(fault, Fault::Sync { survives: true }));
            }
            Err(OpenError::Refused(reasons)) if is_strict(&reasons) => {}
            Err(error) => return Err(format!("it does not open: {error}")),
        }
        self.store = self.image()?;
        let (further, further_text, further_change) = self.another(&next, false)?;
        let refused = self.must_refuse(&further, &further_change);
        let mut lenient = next.clone();
        drop_strict(&mut lenient);
        let lenient_text = lenient.text().0;
        let mut tries = vec![(next, text), ((*self.draft).clone(), self.text.clone())];
        if !refused {
            tries.push((further, further_text));
        }
        self.random.shuffle(&mut tries);
        // This one fits in any case.
        tries.push((lenient, lenient_text));
        for (draft, text) in tries {
            self.notes.add(format!("open again with:\n{text}"));
            let store = self.store.clone();
            let opened = self.open(&store, &text);
            built += opened.built;
            match opened.outcome {
                Ok(executor) => {
                    self.report.versions += 1;
                    self.take_version(draft, text);
                    // Whether the log was emptied depends on how far the first opening came.
                    return self.adopt(executor, built);
                }
                // It lacks a stored field that the version cut short had declared, or a strict field is an error.
                Err(OpenError::Refused(_)) => {}
                Err(error) => return Err(format!("it does not open again: {error}")),
            }
        }
        Err("after an opening that was cut short, no version opens".into())
    }

    /// Drops the beginning of the log.
    pub(crate) fn trim(&mut self) -> Result<(), String> {
        let commits: Vec<_> = self.fold.commits.iter().copied().collect();
        let before = self.random.pick_any(&commits).map_or(jiff::Timestamp::UNIX_EPOCH, |(_, time)| *time);
        let limit = if self.random.percent(50) { usize::MAX } else { self.random.below(6) };
        let dropped = self.executor.borrow_mut().trim_receipts(self.last, limit);
        dropped.map_err(|error| error.to_string())?;
        let swept = self.executor.borrow_mut().sweep_files(self.last, before, limit);
        swept.map_err(|error| error.to_string())?;
        self.notes.add(format!("trim the log before {before}, at most {limit}"));
        let last = self.revision;
        let old = commits.iter().take_while(|(revision, time)| *time < before && *revision != last);
        let expected = old.take(limit).count();
        if expected > 0 && self.random.percent(10) {
            self.store.fail(Some((0, Fault::Full)));
            let failed = self.executor.borrow_mut().trim_log(before, limit);
            self.store.fail(None);
            self.report.faults.count(Fault::Full);
            return match failed {
                Err(EngineError::Store(_)) => Ok(()),
                outcome => Err(format!("the store failed, and trimming was {outcome:?}")),
            };
        }
        let engine = self.engine();
        self.fold.advance(&engine, expected)?;
        let dropped =
            self.executor.borrow_mut().trim_log(before, limit).map_err(|error| error.to_string())?;
        if dropped != expected {
            return Err(format!("{dropped} commits were dropped, and should be {expected}"));
        }
        self.fold.check(&engine, &self.state()?)
    }

    /// A number that stands for all that is stored.
    pub(crate) fn digest(&self) -> Result<u64, String> {
        let snapshot = self.store.snapshot().map_err(|error| error.to_string())?;
        let mut digest = 0xcbf2_9ce4_8422_2325u64;
        let mut take = |bytes: &[u8]| {
            for byte in (bytes.len() as u32).to_be_bytes().iter().chain(bytes) {
                digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for spec in keys::KEYSPACES {
            let scanned = snapshot.scan(
                spec.keyspace,
                &KeyRange::all(),
                Direction::Forward,
                usize::MAX,
                &mut |key, value| {
                    take(key);
                    take(value);
                    ControlFlow::Continue(())
                },
            );
            scanned.map_err(|error| error.to_string())?;
        }
        Ok(digest)
    }
}

fn is_strict(reasons: &[String]) -> bool {
    reasons.iter().all(|reason| reason.contains("strict"))
}

fn has_strict(draft: &Draft) -> bool {
    draft.derived().any(|(_, _, derived)| derived.strict)
}

fn drop_strict(draft: &mut Draft) {
    for field in draft.types.iter_mut().flat_map(|ty| &mut ty.fields) {
        if let FieldKind::Derived(derived) = &mut field.kind {
            derived.strict = false;
        }
    }
}
