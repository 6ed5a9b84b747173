//! Why a derived value is what it is: what its evaluation reads, where an error in it comes from, which updates may still
//! change it, and which commit changed it last.
//!
//! Everything is told of the state that a read shows, by evaluating the expression once more as it was written, through a
//! view that notes what is asked of it. So what is told is what the expression really read: a branch that is not taken, or
//! the right side of an `else` that was not needed, is not among the inputs.

use std::cell::RefCell;
use std::sync::Arc;

use corollary_schema::typed::{Expr, Node, mentions_now};
use corollary_schema::{FieldKind, FieldRef, Slot, TypeIx};
use corollary_syntax::ast::BinaryOp;
use corollary_value::{ErrorValue, Id, Value, ops};
use hashbrown::{HashMap, HashSet};
use jiff::Timestamp;

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::Eval;
use crate::updates::Update;
use crate::updates::settled::{READ_LIMIT, Settled};
use crate::view::View;
use crate::working::Working;
use crate::{keys, log};

/// The most inputs of one kind that are told in full; all are counted.
pub const SAMPLE: usize = 20;

/// Values and resources that are looked at to answer; what is read beyond them is not told.
pub const MAX_LOOKUPS: usize = 100_000;

/// The most steps back that are told of the way along which an error came.
pub const MAX_ORIGINS: usize = 32;

/// The most commits of a resource that are looked at to find the one that changed a value.
pub const MAX_COMMITS: usize = 1_000;

/// The answer.
#[derive(Clone, Debug)]
pub struct Why {
    /// The value, as a read shows it.
    pub value: Value,
    /// May it be behind?
    pub pending: bool,
    /// What its evaluation reads, in the order in which it asks.
    pub inputs: Vec<Input>,
    /// Are those all of them? Otherwise reading stopped at [`MAX_LOOKUPS`], or at what is behind and depends on itself.
    pub complete: bool,
    /// The time that it was compared with, where it depends on that.
    pub now: Option<Timestamp>,
    /// The way back along which an error came, from the value itself on.
    pub origins: Vec<Origin>,
    /// The open updates that may reach it.
    pub updates: Vec<Arc<Update>>,
    /// When it became what is stored; none of what is lazy, and stored nowhere.
    pub changed: Option<Changed>,
}

/// What is read.
#[derive(Clone, Debug)]
pub enum Input {
    /// The values of a field.
    Values {
        /// Which field.
        field: FieldRef,
        /// How many.
        count: usize,
        /// The first of them.
        sample: Vec<Read>,
    },
    /// Which resources refer to others.
    Referring {
        /// By which link.
        of: FieldRef,
        /// To how many it was asked.
        targets: usize,
        /// How many there are.
        count: usize,
        /// The first of them.
        sample: Vec<Id>,
    },
    /// Which resources of a type there are.
    All {
        /// Which type.
        ty: TypeIx,
        /// How many.
        count: usize,
        /// The first of them.
        sample: Vec<Id>,
    },
}

/// One value that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Whose.
    pub id: Id,
    /// At which revision that is.
    pub revision: u64,
    /// As it was read.
    pub value: Value,
}

/// A derived value that is an error, or has one in it.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Whose.
    pub key: Key,
    /// Which field.
    pub slot: Slot,
    /// The error.
    pub error: ErrorValue,
    /// The part of the expression that made the error of values that are none; nothing where an input has it.
    pub made_by: Option<Expr>,
}

/// When a value became what is stored.
#[derive(Clone, Debug)]
pub enum Changed {
    /// By this commit.
    At {
        /// Its revision.
        revision: u64,
        /// Its time.
        time: Timestamp,
        /// What was before.
        old: Value,
        /// What is since.
        new: Value,
        /// The resources of which the commit changed facts, each with those; the first of them.
        facts: Vec<(Key, Vec<Slot>)>,
        /// How many resources those are.
        count: usize,
    },
    /// The log tells no more than that it was not after this revision.
    NotAfter(u64),
}

/// Why a derived field of a resource is what it is; none where there is no such resource.
pub fn why(working: &Working<'_>, key: &Key, slot: Slot) -> Result<Option<Why>, EngineError> {
    let Some(doc) = working.after(key)? else { return Ok(None) };
    let field = FieldRef { ty: key.ty, slot };
    let FieldKind::Derived { expr, lazy, .. } = &working.schema.field(field).kind else { return Ok(None) };
    let settled = Settled::new(working);
    let shown = settled.doc(key, &doc, READ_LIMIT)?;
    let (mut value, mut pending) = (shown.doc.get(slot).clone(), shown.pending.contains(&slot));
    let recorder = Recorder { settled: &settled, working, notes: RefCell::default() };
    settled.allow(MAX_LOOKUPS);
    let evaluated = match Eval::new(&recorder, &key.id).value(expr) {
        Ok(evaluated) => Some(evaluated),
        Err(EngineError::Unsettled) => None,
        Err(error) => return Err(error),
    };
    let complete = evaluated.is_some();
    if *lazy {
        (value, pending) = (evaluated.unwrap_or_default(), !complete);
    }
    Ok(Some(Why {
        origins: origins(working, &settled, key, slot, &value)?,
        value,
        pending,
        inputs: recorder.notes.into_inner().inputs,
        complete,
        now: mentions_now(expr).then(|| working.now()),
        updates: settled.updates_before(field, &key.id)?,
        changed: if *lazy { None } else { Some(changed(working, key, &doc, slot)?) },
    }))
}

/// What an input is told under.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Values(FieldRef),
    Referring(FieldRef),
    All(TypeIx),
}

#[derive(Default)]
struct Notes {
    inputs: Vec<Input>,
    at: HashMap<Asked, usize>,
    values: HashSet<(FieldRef, Id)>,
    /// The first value that is on a circle, or comes of one.
    circle: Option<(FieldRef, Id)>,
    targets: HashSet<(FieldRef, Id)>,
}

impl Notes {
    /// Where an input is noted; `new` makes it when it is asked for the first time.
    fn input(&mut self, asked: Asked, new: impl FnOnce() -> Input) -> &mut Input {
        let inputs = &mut self.inputs;
        let at = *self.at.entry(asked).or_insert_with(|| {
            inputs.push(new());
            inputs.len() - 1
        });
        &mut inputs[at]
    }
}

/// A view that notes what is asked of it.
struct Recorder<'s, 'w, 'a> {
    settled: &'s Settled<'w, 'a>,
    working: &'w Working<'a>,
    notes: RefCell<Notes>,
}

impl View for Recorder<'_, '_, '_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        View::doc(self.settled, ty, id)
    }

    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        let value = self.settled.value(field, id)?;
        let mut notes = self.notes.borrow_mut();
        if notes.circle.is_none() && value.as_ref().is_some_and(|value| has(value, ErrorValue::Cycle)) {
            notes.circle = Some((field, id.clone()));
        }
        if notes.values.insert((field, id.clone())) {
            let new = || Input::Values { field, count: 0, sample: Vec::new() };
            if let (Input::Values { count, sample, .. }, Some(value)) =
                (notes.input(Asked::Values(field), new), &value)
            {
                *count += 1;
                if sample.len() < SAMPLE {
                    let doc = self.working.after(&Key::new(field.ty, id.clone()))?;
                    let revision = doc.map_or(0, |doc| doc.revision);
                    sample.push(Read { id: id.clone(), revision, value: value.clone() });
                }
            }
        }
        Ok(value)
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        let found = self.settled.referrers(of, target)?;
        let mut notes = self.notes.borrow_mut();
        if notes.targets.insert((of, target.clone())) {
            let new = || Input::Referring { of, targets: 0, count: 0, sample: Vec::new() };
            if let Input::Referring { targets, count, sample, .. } = notes.input(Asked::Referring(of), new) {
                *targets += 1;
                *count += found.len();
                let room = SAMPLE - sample.len();
                sample.extend(found.iter().take(room).cloned());
            }
        }
        Ok(found)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        let found = self.settled.all(ty)?;
        let sample = || found.iter().take(SAMPLE).cloned().collect();
        let new = || Input::All { ty, count: found.len(), sample: sample() };
        self.notes.borrow_mut().input(Asked::All(ty), new);
        Ok(found)
    }

    fn now(&self) -> Timestamp {
        self.settled.now()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.settled.holds_many(field)
    }
}

/// Where the error in a value comes from: from one value to the input that has it, until it is made, or comes round.
fn origins(
    working: &Working<'_>,
    settled: &Settled<'_, '_>,
    key: &Key,
    slot: Slot,
    value: &Value,
) -> Result<Vec<Origin>, EngineError> {
    let mut origins: Vec<Origin> = Vec::new();
    let Some(error) = error_in(value) else { return Ok(origins) };
    let mut at = (key.clone(), slot);
    while origins.len() < MAX_ORIGINS && !origins.iter().any(|it| (&it.key, it.slot) == (&at.0, at.1)) {
        let (key, slot) = at;
        let field = FieldRef { ty: key.ty, slot };
        let FieldKind::Derived { expr, .. } = &working.schema.field(field).kind else { break };
        settled.allow(MAX_LOOKUPS);
        let found = match error {
            // It is found by looking at all of a circle, and not by an evaluation, which may even catch it.
            ErrorValue::Cycle => {
                let recorder = Recorder { settled, working, notes: RefCell::default() };
                let evaluated = Eval::new(&recorder, &key.id).value(expr);
                let circle = recorder.notes.into_inner().circle;
                evaluated.map(|_| circle.map_or(Source::Here(expr), |(field, id)| Source::Input(field, id)))
            }
            _ => Tracer { settled, eval: Eval::new(settled, &key.id), error }.source(expr),
        };
        let (made_by, next) = match found {
            Ok(Source::Here(part)) => (Some(part.clone()), None),
            Ok(Source::Input(field, id)) => (None, Some((Key::new(field.ty, id), field.slot))),
            // More than may be looked at.
            Err(EngineError::Unsettled) => (None, None),
            Err(error) => return Err(error),
        };
        origins.push(Origin { key, slot, error, made_by });
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    Ok(origins)
}

/// The first error in a value.
fn error_in(value: &Value) -> Option<ErrorValue> {
    match value {
        Value::Error(error) => Some(*error),
        Value::List(elements) => elements.iter().find_map(error_in),
        Value::Object(members) => members.iter().find_map(|(_, value)| error_in(value)),
        _ => None,
    }
}

fn has(value: &Value, error: ErrorValue) -> bool {
    match value {
        Value::Error(is) => *is == error,
        Value::List(elements) => elements.iter().any(|element| has(element, error)),
        Value::Object(members) => members.iter().any(|(_, value)| has(value, error)),
        _ => false,
    }
}

/// Where an expression has an error from.
enum Source<'e> {
    /// It is made by this part of it.
    Here(&'e Expr),
    /// This value, which it reads, has it.
    Input(FieldRef, Id),
}

/// Goes down an expression to where an error is made. Conditions of filters and keys of orders give no errors away, so
/// nothing that has to be evaluated for each item is on the way.
struct Tracer<'s, 'w, 'a> {
    settled: &'s Settled<'w, 'a>,
    eval: Eval<'s>,
    error: ErrorValue,
}

impl Tracer<'_, '_, '_> {
    fn source<'e>(&self, expr: &'e Expr) -> Result<Source<'e>, EngineError> {
        match &expr.node {
            Node::Get(base, field) => {
                let bases = self.eval.value(base)?;
                if has(&bases, self.error) {
                    return self.source(base);
                }
                let one = std::slice::from_ref(&bases);
                let ids = if let Value::List(elements) = &bases { elements } else { one };
                for id in ids {
                    let Value::Ref(id) = id else { continue };
                    if self.settled.value(*field, id)?.is_some_and(|value| has(&value, self.error)) {
                        return Ok(Source::Input(*field, id.clone()));
                    }
                }
                Ok(Source::Here(expr))
            }
            Node::Conditional(condition, then, otherwise) => {
                let holds = self.eval.value(condition)?;
                let taken = if holds.is_true() { then } else { otherwise };
                self.first_of(expr, [&**condition, taken])
            }
            Node::Switch(subject, cases, otherwise) => {
                let value = self.eval.value(subject)?;
                let mut taken = otherwise.as_deref();
                for (key, then) in cases {
                    if ops::equal(&value, &self.eval.value(key)?).is_true() {
                        taken = Some(then);
                        break;
                    }
                }
                self.first_of(expr, std::iter::once(&**subject).chain(taken))
            }
            // What is left of it gave way.
            Node::Binary(BinaryOp::Else, _, right) => self.first_of(expr, [&**right]),
            Node::Binary(_, left, right) => self.first_of(expr, [&**left, right]),
            Node::Member(part, _)
            | Node::IdOf(part)
            | Node::Reverse(part, _)
            | Node::Extend(part, _)
            | Node::Each(part, ..)
            | Node::Filter(part, _)
            | Node::Order(part, _)
            | Node::At(part, _)
            | Node::Slice(part, ..)
            | Node::Aggregate(_, part)
            | Node::Unary(_, part)
            | Node::Matches(part, _) => self.first_of(expr, [&**part]),
            Node::GroupBy(group) => self.first_of(expr, [&group.list]),
            Node::Call(_, parts) | Node::List(parts) | Node::Either(parts) => self.first_of(expr, parts),
            Node::Script(script) => self.first_of(expr, script.using.iter().map(|(_, part)| part)),
            Node::Const(_) | Node::Now | Node::Owner | Node::Shared | Node::Item(_) | Node::All(_) => {
                Ok(Source::Here(expr))
            }
        }
    }

    /// Goes on in the first part that has the error; where none has, the whole made it.
    fn first_of<'e>(
        &self,
        whole: &'e Expr,
        parts: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<Source<'e>, EngineError> {
        for part in parts {
            if has(&self.eval.value(part)?, self.error) {
                return self.source(part);
            }
        }
        Ok(Source::Here(whole))
    }
}

/// The commit that changed a value last, found from one commit of its resource to the one before.
fn changed(working: &Working<'_>, key: &Key, doc: &Doc, slot: Slot) -> Result<Changed, EngineError> {
    let mut revision = doc.revision;
    for _ in 0..MAX_COMMITS {
        let Some(row) = working.base.row(keys::LOG, &keys::log(revision))? else { break };
        let commit = log::decode(working.schema, working.layouts, revision, &row)
            .map_err(|_| EngineError::corrupt(format!("the log at {revision}")))?;
        let Some(change) = commit.changes.iter().find(|change| change.key == *key) else { break };
        let before = change.before.as_ref();
        if let (Some(before), false) = (before, change.changed.contains(&slot)) {
            if before.revision >= revision {
                break;
            }
            revision = before.revision;
            continue;
        }
        let mut facts = Vec::new();
        let mut count = 0;
        for change in &commit.changes {
            let ty = working.schema.ty(change.key.ty);
            let written = change.changed.iter().filter(|slot| {
                let field = ty.field(**slot);
                field.is_fact() && field.visible()
            });
            let written: Vec<Slot> = written.copied().collect();
            if !written.is_empty() {
                count += 1;
                if facts.len() < SAMPLE {
                    facts.push((change.key.clone(), written));
                }
            }
        }
        let value = |doc: Option<&Arc<Doc>>| doc.map_or(Value::Absent, |doc| doc.get(slot).clone());
        let (old, new) = (value(before), value(change.after.as_ref()));
        return Ok(Changed::At { revision, time: commit.time, old, new, facts, count });
    }
    Ok(Changed::NotAfter(revision))
}
