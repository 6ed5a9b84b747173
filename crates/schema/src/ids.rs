//! Stable numbers for types, fields and definitions, so that storage knows no names.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::model::{FieldId, SearchBy, TypeId};

/// The numbers given so far. Kept with the data; a number is never given twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ids {
    next: u32,
    types: BTreeMap<String, u32>,
    fields: BTreeMap<String, u32>,
    definitions: BTreeMap<String, u32>,
}

impl Ids {
    fn fresh(next: &mut u32) -> u32 {
        *next += 1;
        *next
    }

    /// The highest number that was given: whatever has a higher one is new.
    pub fn highest(&self) -> u32 {
        self.next
    }

    /// The number of a type.
    pub fn type_id(&mut self, name: &str) -> TypeId {
        let next = &mut self.next;
        TypeId(*self.types.entry(name.into()).or_insert_with(|| Ids::fresh(next)))
    }

    /// The number of a field.
    pub fn field_id(&mut self, ty: &str, field: &str) -> FieldId {
        let next = &mut self.next;
        FieldId(*self.fields.entry(format!("{ty}.{field}")).or_insert_with(|| Ids::fresh(next)))
    }

    /// The number of a definition.
    pub fn definition(&mut self, signature: &str) -> FieldId {
        let next = &mut self.next;
        FieldId(*self.definitions.entry(signature.into()).or_insert_with(|| Ids::fresh(next)))
    }

    /// The number of the index of a field by parent and value.
    pub fn parent_index(&mut self, field: FieldId) -> FieldId {
        self.definition(&format!("f{} by parent", field.0))
    }

    /// The number of the index of a field by the parts of its texts.
    pub fn search_index(&mut self, field: FieldId, by: SearchBy) -> FieldId {
        self.definition(&format!("f{} search {}", field.0, by.name()))
    }

    /// The number of an index over several fields, each with whether it is descending.
    pub fn composite(&mut self, ty: TypeId, keys: impl Iterator<Item = (FieldId, bool)>) -> FieldId {
        let keys =
            keys.map(|(field, descending)| format!(" f{}{}", field.0, if descending { " desc" } else { "" }));
        self.definition(&format!("t{} index{}", ty.0, keys.collect::<String>()))
    }

    /// The number of the versions of a type's resources.
    pub fn history(&mut self, ty: TypeId) -> FieldId {
        self.definition(&format!("t{} history", ty.0))
    }

    /// For storage.
    pub fn to_json(&self) -> Json {
        json!({
            "next": self.next,
            "types": self.types,
            "fields": self.fields,
            "definitions": self.definitions,
        })
    }

    /// From storage; none where it is not of the form that [`Ids::to_json`] gives.
    pub fn from_json(json: &Json) -> Option<Ids> {
        let map = |name: &str| -> Option<BTreeMap<String, u32>> {
            let entries = json.get(name)?.as_object()?.iter();
            entries.map(|(key, id)| Some((key.clone(), u32::try_from(id.as_u64()?).ok()?))).collect()
        };
        Some(Ids {
            next: u32::try_from(json.get("next")?.as_u64()?).ok()?,
            types: map("types")?,
            fields: map("fields")?,
            definitions: map("definitions")?,
        })
    }
}
