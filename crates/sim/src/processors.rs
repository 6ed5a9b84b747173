//! Processors: rules that are declared while all goes on, and that every write of a type passes (`engine/src/processors.rs`).
//!
//! Few kinds of them, so that the model can say what each does: one that denies a whole number above a bound, and one that sets it.
//! They come and go between groups, and are gone before another version of the schema: a rule that does not fit any more refuses
//! all, which is a test of its own.

use std::sync::Arc;

use corollary_engine::processors::PROCESSOR;

use crate::draft::{Draft, FactKind, ValueType};
use crate::random::Random;
use crate::world::World;

/// Processors of a run at a time.
const MOST: usize = 2;

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as in the engine
pub enum Operation {
    Create,
    Update,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::Create => "create",
            Operation::Update => "update",
            Operation::Delete => "delete",
        }
    }
}

/// What a processor does with its field.
#[derive(Clone, Debug)]
pub enum Does {
    /// Whatever has more than that is refused.
    Deny {
        /// The most that it may have.
        above: i64,
    },
    /// It is set to that.
    Set(i64),
}

/// One of the line.
#[derive(Clone, Debug)]
pub struct Processor {
    /// For whose resources.
    pub ty: usize,
    /// For what.
    pub on: Vec<Operation>,
    /// A whole number.
    pub field: String,
    /// What it does with it.
    pub does: Does,
}

/// The processors that there are, in their order.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// All of them.
    pub all: Vec<Processor>,
}

impl Line {
    /// Those of a type.
    pub fn of(&self, ty: usize) -> impl Iterator<Item = &Processor> {
        self.all.iter().filter(move |processor| processor.ty == ty)
    }
}

impl Processor {
    /// One for a type that has a whole number to look at. Not of those in ordered collections: a new place among siblings is a
    /// change of facts that the model cannot tell from none.
    fn any(draft: &Draft, random: &mut Random) -> Option<Processor> {
        let ty = random.below(draft.types.len());
        if !draft.ordered_parents(ty).is_empty() {
            return None;
        }
        let free = |rules: &crate::draft::Rules| {
            !(rules.immutable || rules.write_once || rules.unique || rules.unique_in_parent)
        };
        let numbers = draft.facts(ty).into_iter().filter(|fact| {
            matches!(fact.kind, FactKind::Stored(ValueType::Int)) && fact.rules.is_some_and(free)
        });
        let numbers: Vec<String> = numbers.map(|fact| fact.name).collect();
        let field = random.pick_any(&numbers)?.clone();
        let does = if random.percent(50) {
            Does::Deny { above: random.between(2, 6) }
        } else {
            Does::Set(random.between(-1, 4))
        };
        let mut on = vec![Operation::Create, Operation::Update, Operation::Delete];
        on.retain(|_| random.percent(70));
        if matches!(does, Does::Set(_)) {
            on.retain(|operation| *operation != Operation::Delete);
        }
        (!on.is_empty()).then_some(Processor { ty, on, field, does })
    }

    /// As it is declared.
    fn declared(&self, draft: &Draft, order: usize) -> Vec<u8> {
        let on: Vec<String> = self.on.iter().map(|operation| format!("\"{}\"", operation.name())).collect();
        let rule = match self.does {
            Does::Deny { above } => format!("deny when self.{} > {above}", self.field),
            Does::Set(value) => format!("set {} := {value}", self.field),
        };
        let ty = draft.types[self.ty].name;
        let on = on.join(", ");
        format!("{{\"type\": \"{ty}\", \"on\": [{on}], \"order\": {order}, \"rule\": \"{rule}\"}}")
            .into_bytes()
    }
}

impl World {
    /// Now and then one comes, or all go.
    pub(crate) fn change_processors(&mut self, chance: &mut Random) -> Result<(), String> {
        if !self.line.all.is_empty() && chance.percent(10) {
            return self.drop_processors();
        }
        if self.line.all.len() < MOST && chance.percent(8) {
            let draft = self.draft.clone();
            let Some(processor) = Processor::any(&draft, chance) else { return Ok(()) };
            let at = self.line.all.len();
            let declared = processor.declared(&draft, at);
            self.notes.add(format!("processor {}", String::from_utf8_lossy(&declared)));
            Arc::make_mut(&mut self.line).all.push(processor);
            self.report.processors += 1;
            return self.keep_processors(Some((at, declared)));
        }
        Ok(())
    }

    /// All go.
    pub(crate) fn drop_processors(&mut self) -> Result<(), String> {
        if self.line.all.is_empty() {
            return Ok(());
        }
        self.notes.add("no processors".into());
        self.line = Arc::default();
        self.keep_processors(None)
    }

    fn keep_processors(&mut self, one: Option<(usize, Vec<u8>)>) -> Result<(), String> {
        self.learn()?;
        let now = self.last.max(jiff::Timestamp::UNIX_EPOCH);
        let kept = self.executor.borrow_mut().keep_records(now, |records| {
            match &one {
                Some((at, declared)) => records.put(PROCESSOR, at.to_string().as_bytes(), declared.clone()),
                None => (0..MOST).for_each(|at| records.delete(PROCESSOR, at.to_string().as_bytes())),
            }
            Ok(())
        });
        kept.map_err(|error| format!("processors cannot be kept: {error}"))?;
        // It is part of what is stored, and of no commit.
        let (_, machine) = self.history.end();
        machine.line = self.line.clone();
        Ok(())
    }
}
