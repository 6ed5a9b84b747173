//! Derived fields that depend on themselves along links: the nodes of one stratum, brought up to date together.
//!
//! It goes in waves: all dirty resources of a node are evaluated, and whoever reads what changed is dirty in its turn. A
//! value that comes out as it was ends the walk there. That ends with the right values as long as no resources read each
//! other in a circle; so before a resource is evaluated that may read others than before, [`search`] asks whether it can
//! reach itself. Where it may, where a circle may have been cut, and where a resource turns out to be dirty once more,
//! [`ordered`] takes over for all that may still change. So each resource is evaluated about twice at most.
//!
//! What always holds: at the end every value is what [`crate::oracle`] says, values on circles are `#cycle`, and each
//! group counts of each of its members what the member is now.

mod ordered;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use corollary_schema::Schema;
use corollary_schema::plan::{Evaluate, Group, Rule, Stratum};
use corollary_value::{ErrorValue, Id, Value};
use hashbrown::{HashMap, HashSet};

use crate::doc::Key;
use crate::error::EngineError;
use crate::eval::{Eval, View};
use crate::group::{self, Contribution, Counted, Shift};
use crate::propagate::{Changed, put_result, refuse_strict, walk_back};
use crate::working::{Before, Working};

/// A resource and a node: whose value, and which.
type Place = (usize, Id);

/// What bringing a stratum up to date came to.
pub(crate) struct Settled {
    /// The results that are others than before, by node.
    pub changed: Vec<(usize, Changed)>,
    /// Expressions evaluated, and contributions of members compared.
    pub evaluations: u64,
}

/// Brings a stratum up to date; `dirty` are the subjects of its nodes, each with whether it may read others than before.
pub(crate) fn settle(
    working: &mut Working<'_>,
    stratum: &Stratum,
    dirty: BTreeMap<usize, BTreeMap<Id, bool>>,
) -> Result<Settled, EngineError> {
    let mut run = Run::new(working.schema, stratum, Counted::Before);
    run.dirty = dirty;
    run.waves(working)?;
    let mut changed = Vec::new();
    for ((at, id), old) in std::mem::take(&mut run.before) {
        let node = &working.schema.plan.nodes[at];
        let key = Key::new(node.result.ty, id);
        let new = working.after(&key)?.map_or(Value::Absent, |doc| doc.get(node.result.slot).clone());
        if old == new {
            continue;
        }
        if new.is_error() && !working.by_clock {
            refuse_strict(working.schema, node.result, &new)?;
        }
        changed.push((at, (key, old, new)));
    }
    Ok(Settled { changed, evaluations: run.evaluations })
}

/// Computes a stratum for all resources, over groups that are empty and know of no member. Whether a strict field is an
/// error shows in what is stored.
pub(crate) fn build(working: &mut Working<'_>, stratum: &Stratum) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut run = Run::new(schema, stratum, Counted::NotYet);
    let mut all = Vec::new();
    for at in stratum.nodes.clone() {
        let subjects = working.all(schema.plan.nodes[at].subject())?;
        match &schema.plan.nodes[at].rule {
            Rule::Evaluate(_) => all.extend(subjects.into_iter().map(|id| (at, id))),
            Rule::Group(_) => run.members.extend(subjects.into_iter().map(|id| (at, id))),
        }
    }
    run.order(working, all)
}

/// One stratum being brought up to date.
struct Run<'s> {
    schema: &'s Schema,
    stratum: &'s Stratum,
    /// What is to be looked at, by node; true where it may read others than before.
    dirty: BTreeMap<usize, BTreeMap<Id, bool>>,
    /// What has been evaluated.
    evaluated: HashSet<Place>,
    /// What groups know of their members before the transaction, if anything.
    counted: Counted,
    /// What groups count of a member, where that is another than before.
    applied: HashMap<Place, Option<Contribution>>,
    /// The results that were changed, as they were before.
    before: BTreeMap<Place, Value>,
    /// All members of groups, where groups are being built.
    members: Vec<Place>,
    /// Expressions evaluated, and contributions compared.
    evaluations: u64,
    /// Steps of searches for circles.
    searched: usize,
}

impl<'s> Run<'s> {
    fn new(schema: &'s Schema, stratum: &'s Stratum, counted: Counted) -> Run<'s> {
        Run {
            schema,
            stratum,
            dirty: BTreeMap::new(),
            evaluated: HashSet::new(),
            counted,
            applied: HashMap::new(),
            before: BTreeMap::new(),
            members: Vec::new(),
            evaluations: 0,
            searched: 0,
        }
    }

    fn waves(&mut self, working: &mut Working<'_>) -> Result<(), EngineError> {
        // Groups come first in a stratum: when a field is evaluated, they know of all that has changed.
        while let Some((at, subjects)) = self.dirty.pop_first() {
            let ty = self.schema.plan.nodes[at].subject();
            let keys: Vec<Key> = subjects.keys().map(|id| Key::new(ty, id.clone())).collect();
            working.prefetch(keys.iter())?;
            match &self.schema.plan.nodes[at].rule {
                Rule::Group(group) => self.regroup(working, at, group, &keys)?,
                Rule::Evaluate(evaluate) => {
                    if self.needs_order(working, at, &subjects)? {
                        let dirty = std::mem::take(&mut self.dirty).into_iter();
                        let dirty = dirty.chain([(at, subjects)]);
                        let all = dirty.flat_map(|(at, ids)| ids.into_keys().map(move |id| (at, id)));
                        let all = all.collect();
                        self.order(working, all)?;
                    } else {
                        self.evaluate(working, at, evaluate, &keys)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Is it not certain that evaluating these one by one, in any order, ends with the right values?
    fn needs_order(
        &mut self,
        working: &Working<'_>,
        at: usize,
        subjects: &BTreeMap<Id, bool>,
    ) -> Result<bool, EngineError> {
        let result = self.schema.plan.nodes[at].result;
        for id in subjects.keys() {
            let Some(doc) = working.after(&Key::new(result.ty, id.clone()))? else { continue };
            let is_cycle = matches!(doc.get(result.slot), Value::Error(ErrorValue::Cycle));
            if is_cycle || self.evaluated.contains(&(at, id.clone())) {
                return Ok(true);
            }
        }
        for (id, _) in subjects.iter().filter(|(_, steered)| **steered) {
            if working.after(&Key::new(result.ty, id.clone()))?.is_some()
                && search::may_reach_itself(working, self.stratum, (at, id.clone()), &mut self.searched)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn evaluate(
        &mut self,
        working: &mut Working<'_>,
        at: usize,
        evaluate: &Evaluate,
        keys: &[Key],
    ) -> Result<(), EngineError> {
        let mut changed = BTreeSet::new();
        for key in keys {
            let Some(doc) = working.after(key)? else { continue };
            self.evaluations += 1;
            let value = Eval::of(working, &key.id, &doc).value(&evaluate.expr)?;
            drop(doc);
            self.evaluated.insert((at, key.id.clone()));
            if self.store(working, at, key, value)? {
                changed.insert(key.id.clone());
            }
        }
        self.notify(working, at, changed, false)
    }

    /// Applies a group to its dirty members.
    fn regroup(
        &mut self,
        working: &mut Working<'_>,
        at: usize,
        group: &Group,
        members: &[Key],
    ) -> Result<(), EngineError> {
        self.evaluations += members.len() as u64;
        let (mut shifts, mut lost, mut gained) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for key in members {
            let new = match working.after(key)? {
                Some(doc) => group::contribution_by(&Eval::of(&*working, &key.id, &doc), group, &key.id)?,
                None => None,
            };
            let shift = self.shifted(working, at, group, &key.id, new)?;
            let owner = |of: &Option<Contribution>| of.as_ref().map(|it| it.owner.clone());
            let (from, to) = (owner(&shift.old), owner(&shift.new));
            if from != to {
                lost.extend(from);
                gained.extend(to);
            }
            shifts.push(shift);
        }
        let mut changed = BTreeSet::new();
        for (owner, result) in group::shift(working, &self.schema.plan.nodes[at], group, &shifts)? {
            if self.store(working, at, &owner, result)? {
                changed.insert(owner.id);
            }
        }
        // Whoever has other members now reads others than before, also where the result is the same.
        changed.extend(lost);
        self.notify(working, at, changed, false)?;
        self.notify(working, at, gained, true)
    }

    /// What a member gave and what it gives now, which is from now on what the group counts.
    fn shifted(
        &mut self,
        working: &Working<'_>,
        at: usize,
        group: &Group,
        member: &Id,
        new: Option<Contribution>,
    ) -> Result<Shift, EngineError> {
        let old = match self.applied.insert((at, member.clone()), new.clone()) {
            Some(applied) => applied,
            None if self.counted == Counted::NotYet => None,
            None => match working.before(&Key::new(group.member, member.clone()))? {
                Some(doc) => {
                    group::contribution_by(&Eval::of(&Before(working), member, &doc), group, member)?
                }
                None => None,
            },
        };
        Ok(Shift { member: member.clone(), old, new })
    }

    /// Stores a result; is it another one than before?
    fn store(
        &mut self,
        working: &mut Working<'_>,
        at: usize,
        key: &Key,
        value: Value,
    ) -> Result<bool, EngineError> {
        let Some((_, old, _)) = put_result(working, &self.schema.plan.nodes[at], key, value)? else {
            return Ok(false);
        };
        self.before.entry((at, key.id.clone())).or_insert(old);
        Ok(true)
    }

    /// Marks those in the stratum that read results of a node; `steers` where they read others than before.
    fn notify(
        &mut self,
        working: &Working<'_>,
        at: usize,
        ids: BTreeSet<Id>,
        steers: bool,
    ) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Ok(());
        }
        for reader in self.schema.plan.readers(self.schema.plan.nodes[at].result) {
            if !self.stratum.nodes.contains(&reader.node) {
                continue;
            }
            let subjects = walk_back(working, &reader.path, ids.clone(), usize::MAX)?.unwrap_or_default();
            if subjects.is_empty() {
                continue;
            }
            let marked = self.dirty.entry(reader.node).or_default();
            for id in subjects {
                *marked.entry(id).or_default() |= steers || reader.steers;
            }
        }
        Ok(())
    }
}
