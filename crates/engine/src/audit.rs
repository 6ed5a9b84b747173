//! Looks for what is wrong while all else goes on: over snapshots of its own, a part after the other, in bounded memory.
//!
//! Every part (`Chapter`) is read as of one moment and through an engine of its own ([`Engine::alone`]): it holds up
//! nobody, and nobody's cache has to do with it. A stored value is compared with its expression over what is *stored*
//! beside it, and what is kept beside the values with what the stored values give ([`crate::side_state`]); what an open
//! update has yet to come to is passed over. Where none of that differs, all values follow from the facts, since each field
//! is computed from others that do. So what is told is where the mistake is, not what has been computed from it.
//!
//! What stands on a circle of resources is `#cycle` whatever its expression says; whether that is so only the
//! [`crate::oracle`] can tell, which computes everything from facts, and is what judges data that nobody works on.

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::{FieldKind, FieldRef, Slot, TypeIx};
use corollary_value::{ErrorValue, Id, Value};

use crate::base::Base;
use crate::doc::Key;
use crate::engine::{Engine, EngineOptions};
use crate::error::EngineError;
use crate::eval::Eval;
use crate::files;
use crate::history;
use crate::oracle::Difference;
use crate::rebuild::{self, Structure};
use crate::receipt;
use crate::side_state;
use crate::updates::Settled;
use crate::working::Working;

/// Resources whose values are compared over one snapshot.
pub const PAGE: usize = 2_000;

/// Bytes of decoded documents that an audit has in memory at a time, about.
const CACHE_BYTES: usize = 64 << 20;

/// What was found.
#[derive(Debug)]
pub enum Finding {
    /// A value that is not its expression over what is stored beside it.
    Value(Difference),
    /// Something that is kept beside the values, with a sentence that says where.
    Kept(Structure, String),
    /// Something about files: bytes that are missing, or left over.
    File(files::Fault),
    /// What is kept of the past or of requests, in a sentence. Nothing can be made anew of it.
    Past(String),
}

/// A part of an audit.
#[derive(Clone, Debug)]
enum Chapter {
    /// The values of resources of a type behind an id, a page of them; so many at most, each so many steps from the last.
    Values { ty: TypeIx, behind: Option<Id>, left: usize, step: usize },
    /// What is kept beside the values.
    Kept(Structure),
    /// What is kept of the past, and of requests.
    Past,
    /// What is kept of files, with their bytes.
    Files,
}

/// See the module.
pub struct Audit {
    engine: Arc<Engine>,
    /// What is left to be looked at, the next one last.
    left: Vec<Chapter>,
    /// Chapters that it began with.
    all: usize,
    /// Resources looked at.
    pub resources: u64,
    /// Derived values compared.
    pub values: u64,
    /// Those that an update has yet to come to, or that nobody can tell in this way.
    pub pending: u64,
    /// What can be brought about anew of all that was found.
    pub wrong: BTreeSet<Structure>,
    /// What is wrong with files, of that too.
    pub faults: Vec<files::Fault>,
    /// Findings so far.
    pub findings: u64,
}

impl Audit {
    /// Of all there is; or of the values of about `sample` resources of each type, spread evenly.
    pub fn new(engine: Arc<Engine>, sample: Option<usize>) -> Result<Audit, EngineError> {
        let schema = engine.schema().clone();
        let mut left = Vec::new();
        for (ty, resource) in schema.types() {
            if !resource.slots().any(|(_, field)| matches!(field.kind, FieldKind::Derived { .. })) {
                continue;
            }
            let (mut step, mut most) = (1, usize::MAX);
            if let Some(sample) = sample {
                let count = engine.alone(0, |working| side_state::count(working, ty))?;
                (step, most) = ((count / sample.max(1)).max(1), sample);
            }
            left.push(Chapter::Values { ty, behind: None, left: most, step });
        }
        if sample.is_none() {
            left.extend(rebuild::structures(&schema).into_iter().map(Chapter::Kept));
            left.push(Chapter::Past);
            left.push(Chapter::Files);
        }
        left.reverse();
        let (resources, values, pending, findings) = (0, 0, 0, 0);
        let all = left.len();
        let (wrong, faults) = (BTreeSet::new(), Vec::new());
        Ok(Audit { engine, left, all, resources, values, pending, wrong, faults, findings })
    }

    /// How many parts are done, of how many; one may take many steps.
    pub fn progress(&self) -> (usize, usize) {
        (self.all - self.left.len(), self.all)
    }

    /// Looks at the next part, or at a page of it; nothing where all is done.
    pub fn step(&mut self) -> Result<Option<Vec<Finding>>, EngineError> {
        let Some(chapter) = self.left.pop() else { return Ok(None) };
        let engine = self.engine.clone();
        let found = match chapter {
            Chapter::Values { ty, behind, left, step } => {
                let page =
                    engine.alone(CACHE_BYTES, |working| compare(working, ty, behind.as_ref(), left, step))?;
                self.resources += page.resources;
                self.values += page.values;
                self.pending += page.pending;
                if let Some(last) = page.last {
                    let left = left - page.resources as usize;
                    self.left.push(Chapter::Values { ty, behind: Some(last), left, step });
                }
                page.differences.into_iter().map(Finding::Value).collect()
            }
            Chapter::Kept(structure) => {
                let message =
                    engine.alone(CACHE_BYTES, |working| side_state::check_one(working, structure))?;
                message.map(|message| Finding::Kept(structure, message)).into_iter().collect()
            }
            Chapter::Past => {
                let mut found = Vec::new();
                for check in [history::check, receipt::check] {
                    found.extend(engine.alone(CACHE_BYTES, check)?.map(Finding::Past));
                }
                found
            }
            Chapter::Files => {
                let faults = engine.alone(CACHE_BYTES, files::check)?;
                self.faults.clone_from(&faults);
                faults.into_iter().map(Finding::File).collect()
            }
        };
        for finding in &found {
            match finding {
                Finding::Value(it) => self.wrong.extend(rebuild::structures_of(engine.schema(), it.field)),
                Finding::Kept(structure, _) => drop(self.wrong.insert(*structure)),
                Finding::Past(_) | Finding::File(_) => {}
            }
        }
        self.findings += found.len() as u64;
        Ok(Some(found))
    }
}

/// What a page came to.
#[derive(Default)]
struct Page {
    resources: u64,
    values: u64,
    pending: u64,
    differences: Vec<Difference>,
    /// The last resource that was looked at; none where no more are.
    last: Option<Id>,
}

/// Compares the stored values of a page of resources with what they are by what is stored beside them.
fn compare(
    working: &Working<'_>,
    ty: TypeIx,
    behind: Option<&Id>,
    left: usize,
    step: usize,
) -> Result<Page, EngineError> {
    let schema = working.schema;
    let mut page = Page::default();
    let wanted = PAGE.min(left);
    let ids = working.ids_page(ty, behind.map(|id| (id, false)), wanted.saturating_mul(step))?;
    let keys: Vec<Key> = ids.into_iter().skip(step - 1).step_by(step).map(|id| Key::new(ty, id)).collect();
    working.prefetch(keys.iter())?;
    let settled = Settled::new(working);
    let stored = |(_, field): &(Slot, &corollary_schema::Field)| {
        matches!(field.kind, FieldKind::Derived { .. }) && !field.is_lazy()
    };
    let slots: Vec<Slot> = schema.ty(ty).slots().filter(stored).map(|(slot, _)| slot).collect();
    for key in &keys {
        page.last = Some(key.id.clone());
        page.resources += 1;
        let Some(doc) = working.after(key)? else { continue };
        for slot in &slots {
            let field = FieldRef { ty, slot: *slot };
            let FieldKind::Derived { expr, .. } = &schema.field(field).kind else { continue };
            page.values += 1;
            if settled.may_be_behind(field, &key.id)? {
                page.pending += 1;
                continue;
            }
            let expected = match Eval::new(working, &key.id).value(expr)? {
                Value::Null => Value::Absent,
                value => value,
            };
            let stored = doc.get(*slot);
            if *stored == expected {
                continue;
            }
            // An expression may catch what it stands on a circle with.
            let cycle = Value::Error(ErrorValue::Cycle);
            if schema.plan.is_recursive(field) && (*stored == cycle || expected == cycle) {
                page.pending += 1;
                continue;
            }
            page.differences.push(Difference { key: key.clone(), field, stored: stored.clone(), expected });
        }
    }
    Ok(page)
}

impl Engine {
    /// Reads what is stored at this moment as nobody else sees it: over a snapshot, a cache of so many bytes and a ledger of
    /// its own, as at the time of the last commit. For judges, who go by rows that commits without a revision change too.
    ///
    /// # Errors
    ///
    /// Those of `f`; [`EngineError::Superseded`] where the schema has been replaced.
    pub fn alone<T>(
        &self,
        cache_bytes: usize,
        f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let _reading = self.reader()?;
        let snapshot = self.store().snapshot()?;
        let time = self.time_of(&*snapshot)?;
        let options = EngineOptions { cache_bytes, ..EngineOptions::default() };
        let (store, schema, layouts) = (self.store().clone(), self.schema().clone(), self.layouts.clone());
        let engine = Engine::with_layouts(store, schema, layouts, &options, &*snapshot)?;
        let ledger = self.load_ledger(&*snapshot, None, time)?;
        engine.publish_updates(Arc::new(ledger));
        let base = Base::over(&engine, snapshot);
        f(&Working::new(self.schema(), self.layouts(), &base, time))
    }
}
