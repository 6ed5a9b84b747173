//! Rows that each follow from one document: the entries of secondary indexes and of references.
//!
//! Which of them are wrong can be told row by row, and each can be mended by itself: it should be there if a document gives
//! it, and else not. So it does not matter what has become of the document since the row was found wrong, and nothing has to
//! be built anew. (The rows of ordered collections count each other, and are the business of [`crate::order`].)

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use corollary_schema::{FieldId, FieldKind, FieldRef, Schema, TypeIx};
use corollary_store::{Batch, Direction, KeyRange, Keyspace};
use corollary_value::Id;

use crate::doc::{Doc, Key};
use crate::engine::Executor;
use crate::error::EngineError;
use crate::index;
use crate::keys;
use crate::rebuild::{self, Structure};
use crate::side_state::{Part, count, each};
use crate::updates::{Record, Task};
use crate::working::{Working, linked};

/// Rows that are mended with one commit.
pub const MENDED_TOGETHER: usize = 2_000;

/// The length of the number of an index, which each of its rows begins with.
const NUMBER_BYTES: usize = 4;

/// The entries of one index, or of the references of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries<'s> {
    schema: &'s Schema,
    at: FieldRef,
    /// By what the index is; none of references.
    by: Option<index::By>,
    number: FieldId,
}

impl<'s> Entries<'s> {
    /// Of a structure, if its rows are such.
    pub(crate) fn of(schema: &'s Schema, structure: Structure) -> Option<Entries<'s>> {
        match structure {
            Structure::Index(number) => {
                let (at, by) = rebuild::indexed_by(schema, number)?;
                let is_order = matches!(schema.field(at).kind, FieldKind::Position { .. });
                (!is_order).then_some(Entries { schema, at, by: Some(by), number })
            }
            Structure::References(number) => {
                let at = rebuild::field_with(schema, number)?;
                Some(Entries { schema, at, by: None, number })
            }
            Structure::Definition(_) => None,
        }
    }

    /// The type of the resources that they are of.
    fn ty(&self) -> TypeIx {
        self.at.ty
    }

    fn keyspace(&self) -> Keyspace {
        if self.by.is_some() { keys::INDEX } else { keys::REFERENCE }
    }

    /// Those of a resource.
    fn given(&self, id: &Id, doc: &Doc) -> BTreeSet<Vec<u8>> {
        match self.by {
            Some(by) => index::entries(self.schema.ty(self.at.ty), self.at.slot, by, id, doc),
            None => {
                let targets = linked(self.schema, self.at, doc).into_iter();
                targets.map(|target| keys::reference(self.number, &target, id)).collect()
            }
        }
    }

    /// Those that are there and should not be, or should be and are not, in no order; at most about so many. `together` of
    /// the resources are looked at at a time, about. Of an index that an update has yet to fill, those may be missing that it
    /// has yet to come to.
    pub(crate) fn wrong(
        &self,
        working: &Working<'_>,
        together: usize,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let range = KeyRange::prefix(self.number.0.to_be_bytes().to_vec());
        let mut wrong = Vec::new();
        let open = working.open_updates();
        // A link has the number of its references.
        let is_index = self.by.is_some();
        let fills =
            |record: &Record| is_index && record.task == Task::Index && record.definition == self.number;
        let filling = open.iter().map(|update| &update.record).find(|record| fills(record));
        let is_left =
            |id: &Id| filling.is_some_and(|it| it.place.cursor.as_ref().is_none_or(|passed| id > passed));
        for part in Part::all(count(working, self.ty())?, together) {
            let (mut expected, mut allowed) = (BTreeSet::new(), BTreeSet::new());
            each(working, self.ty(), &mut |id, doc| {
                let rows = if is_left(&id) { &mut allowed } else { &mut expected };
                rows.extend(self.given(&id, &doc).into_iter().filter(|row| part.has(row)));
                Ok(true)
            })?;
            working.base.scan_keys(self.keyspace(), &range, Direction::Forward, &mut |key| {
                if part.has(key) && !expected.remove(key) && !allowed.contains(key) {
                    wrong.push(key.to_vec());
                }
                if wrong.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if wrong.len() < limit {
                let room = limit - wrong.len();
                wrong.extend(expected.into_iter().take(room));
            }
            if wrong.len() >= limit {
                break;
            }
        }
        Ok(wrong)
    }

    /// The ids that a row may be of. The one that it ends with is told apart from the values before it by who gives the row,
    /// unless these are told apart by what the index is over.
    fn ids(&self, row: &[u8]) -> Vec<Id> {
        if let Some(index::By::Several(number)) = self.by {
            let index = self.schema.ty(self.ty()).composite(number);
            let id = index.and_then(|index| index::id_in(index, row));
            return id.into_iter().collect();
        }
        let whole =
            |at: usize| Id::read_key(&row[at..]).filter(|(_, rest)| rest.is_empty()).map(|(id, _)| id);
        (NUMBER_BYTES..row.len()).filter_map(whole).collect()
    }

    /// Does a document that is there give a row?
    fn is_given(&self, working: &Working<'_>, row: &[u8]) -> Result<bool, EngineError> {
        for id in self.ids(row) {
            let doc = working.after(&Key::new(self.ty(), id.clone()))?;
            if doc.is_some_and(|doc| self.given(&id, &doc).contains(row)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Executor {
    /// Mends rows of an index or of references that were found wrong, by what is stored now, with one commit that has no
    /// revision; [`MENDED_TOGETHER`] at most at a time, or others wait for long.
    pub fn mend_rows(&mut self, structure: Structure, rows: &[Vec<u8>]) -> Result<(), EngineError> {
        self.contend(|executor| {
            let engine = executor.engine().clone();
            let Some(entries) = Entries::of(engine.schema(), structure) else { return Ok(()) };
            // Not by what is remembered of it from before it was damaged.
            engine.cache.forget_all(executor.revision());
            let mut batch = Batch::new();
            let base = engine.base();
            let working = engine.working(&base, executor.last());
            for row in rows {
                match entries.is_given(&working, row)? {
                    true => batch.put(entries.keyspace(), row.clone(), Vec::new()),
                    false => batch.delete(entries.keyspace(), row.clone()),
                }
            }
            drop(working);
            drop(base);
            executor.commit_aside(batch)
        })
    }
}
