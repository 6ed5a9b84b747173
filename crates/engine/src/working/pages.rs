//! Pages of what is there in the working state, in the order of keys: what is stored, with what is changed on top of it.
//!
//! What always holds: the store is read no further than the page goes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use corollary_schema::{FieldRef, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_value::Id;

use super::Working;
use super::changes::bounds;
use crate::error::EngineError;
use crate::keys;

impl Working<'_> {
    /// The keys of the first rows of a range, at most so many.
    pub fn keys_page(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut found = Vec::new();
        self.scan_rows(keyspace, range, Direction::Forward, &mut |key, _| {
            if found.len() == limit {
                return ControlFlow::Break(());
            }
            found.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Resources whose field refers to a target, at most so many, in the order of their ids: those behind an id, or from it
    /// on where `inclusive`.
    pub fn referrers_page(
        &self,
        of: FieldRef,
        target: &Id,
        from: Option<(&Id, bool)>,
        limit: usize,
    ) -> Result<Vec<Id>, EngineError> {
        let field = self.schema.field(of).id;
        let prefix = keys::references_to(field, target);
        let length = prefix.len();
        if from.is_none()
            && let Some(mut ids) = self.remembered_referrers(&prefix)?
        {
            ids.truncate(limit);
            return Ok(ids);
        }
        let mut range = KeyRange::prefix(prefix);
        if let Some((id, inclusive)) = from {
            let key = keys::reference(field, target, id);
            match inclusive {
                true => range.from = Bound::Included(key),
                false => range = range.resume_after(key),
            }
        }
        let keys = self.keys_page(keys::REFERENCE, &range, limit)?;
        let ids = keys.iter().map(|key| keys::id_behind(key, length));
        ids.map(|id| id.ok_or_else(|| EngineError::corrupt("a reference"))).collect()
    }

    /// All whose references begin so, where what is stored of them has been read, or is now to be asked for more often.
    pub(super) fn remembered_referrers(&self, prefix: &[u8]) -> Result<Option<Vec<Id>>, EngineError> {
        let Some(stored) = self.base.references(prefix)? else { return Ok(None) };
        let mut keys: BTreeSet<&[u8]> = stored.iter().map(Vec::as_slice).collect();
        for layer in [&self.rows, &self.changed_rows] {
            for ((_, key), row) in layer.range(bounds(keys::REFERENCE, &KeyRange::prefix(prefix.to_vec()))) {
                match row {
                    Some(_) => keys.insert(key),
                    None => keys.remove(key.as_slice()),
                };
            }
        }
        let ids = keys.into_iter().map(|key| keys::id_behind(key, prefix.len()));
        let ids: Option<Vec<Id>> = ids.collect();
        ids.map(Some).ok_or_else(|| EngineError::corrupt("a reference"))
    }

    /// Resources of a type, at most so many, in the order of their ids: those behind an id, or from it on where
    /// `inclusive`.
    pub fn ids_page(
        &self,
        ty: TypeIx,
        from: Option<(&Id, bool)>,
        limit: usize,
    ) -> Result<Vec<Id>, EngineError> {
        self.ids_page_with(ty, from, limit, &mut |_, _| ())
    }

    /// The same; `stored` is told of each document that is as it is stored.
    fn ids_page_with(
        &self,
        ty: TypeIx,
        from: Option<(&Id, bool)>,
        limit: usize,
        stored: &mut dyn FnMut(&Id, &[u8]),
    ) -> Result<Vec<Id>, EngineError> {
        let number = self.schema.ty(ty).id;
        let prefix = keys::docs_of(number);
        let length = prefix.len();
        let mut range = KeyRange::prefix(prefix);
        if let Some((id, inclusive)) = from {
            let key = keys::doc(number, id);
            match inclusive {
                true => range.from = Bound::Included(key),
                false => range = range.resume_after(key),
            }
        }
        let mut changed: BTreeMap<&Id, bool> = BTreeMap::new();
        let kept = self.kept.iter().map(|(key, doc)| (key, doc.is_some()));
        let touched = self.touched.iter().map(|(key, touched)| (key, touched.after.is_some()));
        for (key, there) in kept.chain(touched).filter(|(key, _)| key.ty == ty) {
            if range.contains(&keys::doc(number, &key.id)) {
                changed.insert(&key.id, there);
            }
        }
        let (mut ids, mut corrupt) = (Vec::new(), false);
        self.base.scan(keys::DOC, &range, Direction::Forward, &mut |key, value| {
            match keys::id_behind(key, length) {
                Some(id) if !changed.is_empty() && changed.contains_key(&id) => {}
                Some(id) => {
                    stored(&id, value);
                    ids.push(id);
                }
                None => corrupt = true,
            }
            if corrupt || ids.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if corrupt {
            return Err(EngineError::corrupt("the key of a document"));
        }
        // What is stored comes in order.
        if !changed.is_empty() {
            ids.extend(changed.into_iter().filter(|(_, there)| *there).map(|(id, _)| id.clone()));
            ids.sort_unstable();
            ids.truncate(limit);
        }
        Ok(ids)
    }

    /// The same, and their documents are read along with them, for those who ask for these next.
    pub(crate) fn ids_ahead(
        &self,
        ty: TypeIx,
        from: Option<(&Id, bool)>,
        limit: usize,
    ) -> Result<Vec<Id>, EngineError> {
        let (layout, mut docs, mut corrupt) = (&self.layouts[ty.0 as usize], Vec::new(), false);
        let ids = self.ids_page_with(ty, from, limit, &mut |id, value| match layout.decode(value) {
            Ok(doc) => docs.push((id.clone(), Arc::new(doc))),
            Err(_) => corrupt = true,
        })?;
        if corrupt {
            return Err(EngineError::corrupt(format!("a document of {}", self.schema.ty(ty).name)));
        }
        self.base.keep_ahead(ty, docs);
        Ok(ids)
    }
}
