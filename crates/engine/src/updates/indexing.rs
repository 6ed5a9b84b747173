//! Indexes that come about while the data is served: an update gives all resources of a type their entries.
//!
//! From the first moment on the index is maintained with each write like all others, wherever the update is; so an entry that
//! is there is right, and it is entries of resources that the update has yet to come to that may be missing. No query goes by
//! such an index (`filling` says which they are), and none is answered otherwise because of it. The last step is a commit
//! with a revision of its own, though it changes nothing that anybody sees: from that revision on the index is whole,
//! for each reader of each node, as an update that has ended is for any other.
//!
//! What has to be whole from the first moment on is built before anything is served (`may_fill`): what a rule is held
//! to, and what paths are found by.

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_schema::plan::Hop;
use corollary_schema::{FieldId, FieldRef, Schema};
use corollary_store::Snapshot;
use corollary_store::limits::MAX_KEY_BYTES;
use corollary_value::Id;

use super::ledger::Update;
use super::record::{Record, Task};
use crate::doc::Key;
use crate::error::{EngineError, Refusal};
use crate::index::{self, By};
use crate::keys;
use crate::rebuild;
use crate::working::Working;

/// The index that an update fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Its field; of one over several the first.
    pub at: FieldRef,
    /// By what it is.
    pub by: By,
    /// Its number.
    pub number: FieldId,
}

impl Indexed {
    /// The index with a number; none where the schema has none.
    pub fn of(schema: &Schema, number: FieldId) -> Option<Indexed> {
        let (at, by) = rebuild::indexed_by(schema, number)?;
        Some(Indexed { at, by, number })
    }

    /// The way to the resources that have entries.
    pub(crate) fn path(&self) -> Vec<Hop> {
        vec![Hop::Everywhere(self.at.ty)]
    }

    /// What it is of, in the words of the schema: a field, or `a, b desc`.
    pub(crate) fn label(&self, schema: &Schema) -> String {
        let ty = schema.ty(self.at.ty);
        match self.by {
            By::Several(number) => ty.composite(number).map(|index| index.describe(ty)).unwrap_or_default(),
            _ => schema.field(self.at).label().trim_start_matches('#').to_string(),
        }
    }

    /// Gives some resources their entries, as they are now. Those that are there already stay.
    ///
    /// # Errors
    ///
    /// A resource with a value that is longer than an index takes: nothing may be written of it that leaves the value as it is,
    /// and the index is not whole before it is a shorter one.
    pub(crate) fn enter(&self, working: &mut Working<'_>, ids: &[Id]) -> Result<(), EngineError> {
        let ty = working.schema.ty(self.at.ty);
        for id in ids {
            let Some(doc) = working.after(&Key::new(self.at.ty, id.clone()))? else { continue };
            for entry in index::entries(ty, self.at.slot, self.by, id, &doc) {
                if entry.len() > MAX_KEY_BYTES {
                    return Err(EngineError::Refused(vec![self.too_long(working.schema, id)]));
                }
                working.put_row(keys::INDEX, entry, Vec::new());
            }
        }
        Ok(())
    }

    fn too_long(&self, schema: &Schema, id: &Id) -> Refusal {
        let ty = &schema.ty(self.at.ty).name;
        let index = index::describe(schema, self.at, self.by);
        let message =
            format!("the value of {ty} {id} is too long for {index}: it takes {MAX_KEY_BYTES} bytes");
        Refusal::new("too-long", Some(schema.field(self.at).label()), message)
    }
}

/// May an index come about while the data is served? Not one that a rule is held to, or that paths are found by: they go by
/// what is there, and not by what is not.
pub(crate) fn may_fill(schema: &Schema, number: FieldId) -> bool {
    Indexed::of(schema, number).is_some_and(|index| match index.by {
        By::Value => !schema.field(index.at).rules.unique,
        By::Element | By::Search(_) | By::Several(_) => true,
        By::Parent | By::Url => false,
    })
}

/// The numbers of the indexes that some open updates have yet to fill.
pub(crate) fn filling<'u>(open: impl Iterator<Item = &'u Arc<Update>>) -> Vec<FieldId> {
    let index = |update: &Arc<Update>| match update.record.task {
        Task::Index => Some(update.record.definition),
        _ => None,
    };
    open.filter_map(index).collect()
}

/// The numbers of the indexes that updates have yet to fill, as they stand in a store.
pub(crate) fn stored(snapshot: &dyn Snapshot) -> Result<BTreeSet<FieldId>, EngineError> {
    let open = Record::all(snapshot)?.into_iter().filter(|it| it.task == Task::Index && !it.is_done());
    Ok(open.map(|record| record.definition).collect())
}
