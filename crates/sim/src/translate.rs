//! Transactions of the model in the engine's numbers, and as text.

use std::sync::Arc;

use corollary_engine::working::Working;
use corollary_engine::{Decision, Destination, Doc, EngineError, Key, Transaction, Write};
use corollary_schema::{Schema, Slot};
use corollary_value::Value;

use crate::among;
use crate::draft::Draft;
use crate::judge;
use crate::model::{PLACE, Place, Step, UNMET};

/// A transaction in the engine's numbers.
pub fn transaction(schema: &Schema, draft: &Draft, steps: &[Step]) -> Result<Transaction, String> {
    let slot = |key: &Key, name: &str| -> Result<Slot, String> {
        let found = match name {
            PLACE => schema.ty(key.ty).positions.first().map(|position| position.slot),
            name => among::slot(schema, key.ty, name),
        };
        found.ok_or_else(|| format!("the schema has no field {name} of {}", schema.ty(key.ty).name))
    };
    let write = |step: &Step| -> Result<Write, String> {
        let key = judge::key(schema, draft, step.place());
        let values = |values: &[(String, Value)]| -> Result<Vec<_>, String> {
            let each = values.iter().map(|(name, value)| {
                match among::given(schema, draft, step.place().ty, name, value, values) {
                    Some(whole) => Ok(whole),
                    None => Ok((slot(&key, name)?, value.clone())),
                }
            });
            each.collect()
        };
        Ok(match step {
            Step::Create(_, given) => Write::Create(key.clone(), values(given)?),
            Step::Replace(_, given) => Write::Replace(key.clone(), values(given)?),
            Step::Update(_, edits) => {
                let edits: Result<Vec<_>, String> =
                    edits.iter().map(|(name, edit)| Ok((slot(&key, name)?, edit.clone()))).collect();
                Write::Update(key.clone(), edits?)
            }
            Step::Move(_, to) => {
                let under = match &to.under {
                    Some((name, id)) => Some((slot(&key, name)?, id.clone())),
                    None => None,
                };
                Write::Move(key, Destination { under, at: to.at })
            }
            Step::Delete(_) => Write::Delete(key),
            Step::DeleteAll(places) => {
                let keys = places.iter().map(|place| judge::key(schema, draft, place)).collect();
                Write::DeleteAll(key, keys)
            }
            Step::Ensure(_, there) => {
                let there = *there;
                let ensure = move |_: &Working<'_>, _: &Key, doc: Option<&Arc<Doc>>| {
                    if doc.is_some() == there {
                        return Ok(None);
                    }
                    Err(EngineError::refused(UNMET, None, "it is not as it was to be"))
                };
                Write::Ensure(key, Decision::new(ensure))
            }
            Step::Require(_, revisions) => Write::Require(key, revisions.clone()),
            Step::Read(_) => Write::Read(key),
        })
    };
    Ok(Transaction { writes: steps.iter().map(write).collect::<Result<_, String>>()? })
}

/// A transaction as text.
pub fn shown(draft: &Draft, steps: &[Step]) -> String {
    let name = |place: &Place| format!("{} {}", draft.types[place.ty].name, place.id);
    let values = |values: &[(String, Value)]| -> String {
        values.iter().map(|(name, value)| format!("{name}: {value:?}")).collect::<Vec<_>>().join(", ")
    };
    let all = steps.iter().map(|step| match step {
        Step::Create(place, given) => format!("create {} {{ {} }}", name(place), values(given)),
        Step::Replace(place, given) => format!("replace {} {{ {} }}", name(place), values(given)),
        Step::Update(place, edits) => format!("update {} {edits:?}", name(place)),
        Step::Move(place, to) => format!("move {} to {:?} at {:?}", name(place), to.under, to.at),
        Step::Delete(place) => format!("delete {}", name(place)),
        Step::DeleteAll(places) => {
            format!("delete {}", places.iter().map(name).collect::<Vec<_>>().join(" and "))
        }
        Step::Ensure(place, there) => format!("ensure {} is there: {there}", name(place)),
        Step::Require(place, revisions) => format!("require {} at {revisions:?}", name(place)),
        Step::Read(place) => format!("read {}", name(place)),
    });
    all.collect::<Vec<_>>().join("; ")
}
