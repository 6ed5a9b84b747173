//! The machine of the simulator's history: all facts of the model, and what transactions make of them.
//!
//! Of what derived values do it knows the revisions of resources alone, which a later transaction may require; it takes them from
//! what was told.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_engine::{Commit, Doc};
use corollary_schema::Schema;
use corollary_value::Value;
use jiff::Timestamp;

use super::Machine;
use crate::draft::Draft;
use crate::judge;
use crate::lifetime;
use crate::model::{Facts, Place, Record, Setting, Step};
use crate::processors::Line;
use crate::rules::Codes;
use crate::world::declared;
use crate::{among, draft::Fact};

/// See the module.
#[derive(Clone, Debug)]
pub struct Plain {
    /// What is declared.
    pub draft: Arc<Draft>,
    /// The processors that writes pass.
    pub line: Arc<Line>,
    /// What there is.
    pub facts: Facts,
    /// The revision of each resource.
    pub revisions: BTreeMap<Place, u64>,
}

/// What somebody saw of a resource, none where there is none.
pub type Sight = Vec<(Place, Option<Record>)>;

/// A transaction, or what the clock does.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its writes; none are those of the clock.
    pub steps: Option<Vec<Step>>,
    /// Of the commit.
    pub time: Timestamp,
    /// What was told of its resources as it left them.
    pub results: Sight,
    /// The revisions of the resources that were told to have changed; none where they are gone.
    pub effects: Vec<(Place, Option<u64>)>,
}

impl Asked {
    /// A transaction of which nothing was told.
    pub fn new(steps: &[Step], time: Timestamp) -> Asked {
        Asked { steps: Some(steps.to_vec()), time, results: Vec::new(), effects: Vec::new() }
    }

    /// What the clock does.
    pub fn clock(time: Timestamp) -> Asked {
        Asked { steps: None, time, results: Vec::new(), effects: Vec::new() }
    }

    /// With what a commit tells of its resources.
    pub fn with_effects(mut self, schema: &Schema, draft: &Draft, commit: &Commit) -> Asked {
        let told = commit.changes.iter().map(|change| {
            let place = judge::place(schema, draft, &change.key);
            (place, change.after.as_ref().map(|doc| doc.revision))
        });
        self.effects = told.collect();
        self
    }
}

/// The facts of a document that are predicted.
pub fn record(schema: &Schema, draft: &Draft, facts: &[Fact<'_>], place: &Place, doc: &Doc) -> Record {
    let ty = judge::key(schema, draft, place).ty;
    let kept = lifetime::predicted(draft, place.ty);
    let kept = kept.into_iter().filter_map(|name| Some((name.to_owned(), schema.ty(ty).named(name)?.0)));
    let facts =
        facts.iter().filter_map(|fact| Some((fact.name.clone(), among::slot(schema, ty, &fact.name)?)));
    let values = kept.chain(facts).map(|(name, slot)| (name, doc.get(slot).clone()));
    values.filter(|(_, value)| !matches!(value, Value::Absent)).collect()
}

impl Plain {
    fn check(&self, sight: &Sight) -> Result<(), String> {
        for (place, seen) in sight {
            let there = self.facts.records.get(place);
            let (Some(there), Some(seen)) = (there, seen) else {
                if there.is_some() == seen.is_some() {
                    continue;
                }
                return Err(format!("{place:?} was seen as {seen:?}, and is {there:?}"));
            };
            let predicted = lifetime::predicted(&self.draft, place.ty);
            let kept = |name: &str| lifetime::KEPT.contains(&name) && !predicted.contains(&name);
            let there: Record = there
                .iter()
                .filter(|(name, _)| !kept(name))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            if there != *seen {
                return Err(format!("{place:?} was seen as {seen:?}, and is {there:?}"));
            }
        }
        Ok(())
    }
}

impl Machine for Plain {
    type Asked = Asked;
    type Refusal = Codes;
    type Sight = Sight;

    fn run(&mut self, asked: &Asked) -> Result<bool, Codes> {
        let draft = self.draft.clone();
        let declared = declared(&draft);
        let line = self.line.clone();
        let setting = Setting {
            draft: &draft,
            facts: &declared,
            line: &line,
            now: asked.time,
            revisions: &self.revisions,
        };
        let changed = match &asked.steps {
            Some(steps) => self.facts.run(&setting, steps)?,
            None => {
                self.facts.expire(&setting);
                true
            }
        };
        for (place, revision) in &asked.effects {
            match revision {
                Some(revision) => drop(self.revisions.insert(place.clone(), *revision)),
                None => drop(self.revisions.remove(place)),
            }
        }
        Ok(changed)
    }

    fn shows(&self, asked: &Asked) -> Result<(), String> {
        self.check(&asked.results)
    }

    fn sees(&self, sight: &Sight) -> Result<(), String> {
        self.check(sight)
    }

    /// What a strict field makes of a transaction only who computes derived values can say; another judge asks the engine
    /// itself, without strict fields.
    fn foretells(&self, refusal: &Codes) -> bool {
        !refusal.contains("strict")
    }
}
