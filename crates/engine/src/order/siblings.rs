//! The children of one parent in the order of their positions, with counts above them ([`crate::ranks`]), so that a
//! place is found from a key and a key from a place.
//!
//! ```text
//! elements         number, parent link, parent id, position, child id      -> –
//! counts           number, 0, part, parent id, position, child id          -> as in `ranks`
//! ```

use std::collections::BTreeMap;

use corollary_schema::{FieldRef, Schema};
use corollary_value::order_key::{push_order_key, skip_order_key};
use corollary_value::{Id, Value};

use crate::error::EngineError;
use crate::keys;
use crate::ranks::Rows;
use crate::working::Working;

/// What stands behind the parent in a row: position and id.
pub fn suffix(position: &Value, child: &Id) -> Vec<u8> {
    let mut out = Vec::new();
    push_order_key(position, &mut out);
    child.push_key(&mut out);
    out
}

/// The children of one parent through one ordered collection.
#[derive(Clone, Debug)]
pub struct Siblings(Rows);

impl Siblings {
    /// Those whose link leads to a parent; none where the collection has no order.
    pub fn of(schema: &Schema, via: FieldRef, parent: &Id) -> Option<Siblings> {
        let index = schema.field(schema.position_of(via)?).parent_index?;
        let elements = keys::children(index, schema.field(via).id, parent);
        let mut behind = Vec::new();
        parent.push_key(&mut behind);
        Some(Siblings(Rows::beside(keys::INDEX, elements, keys::counted_children(index), behind)))
    }

    /// How many children there are.
    pub fn count(&self, working: &Working<'_>) -> Result<u64, EngineError> {
        self.0.count(working)
    }

    /// How many children stand before a child, or before where it would stand.
    pub fn rank(&self, working: &Working<'_>, suffix: &[u8]) -> Result<u64, EngineError> {
        self.0.rank(working, suffix)
    }

    /// The position and the id of the child at a place; none past the end.
    pub fn at(&self, working: &Working<'_>, place: u64) -> Result<Option<(String, Id)>, EngineError> {
        let found = self.0.at(working, place, 1)?;
        found.first().map(|(suffix, _)| read(suffix)).transpose()
    }

    /// [`Siblings::at`], where a place may be none.
    pub fn at_checked(
        &self,
        working: &Working<'_>,
        place: Option<u64>,
    ) -> Result<Option<(String, Id)>, EngineError> {
        place.map_or(Ok(None), |place| self.at(working, place))
    }

    /// All children, in order.
    pub fn ids(&self, working: &Working<'_>) -> Result<Vec<Id>, EngineError> {
        self.0.all(working)?.iter().map(|(suffix, _)| read(suffix).map(|(_, id)| id)).collect()
    }

    /// Puts a child in that is not there.
    pub fn insert(&self, working: &mut Working<'_>, suffix: &[u8]) -> Result<(), EngineError> {
        self.0.insert(working, suffix, Vec::new())
    }

    /// Takes a child out that is there.
    pub fn remove(&self, working: &mut Working<'_>, suffix: &[u8]) -> Result<(), EngineError> {
        self.0.remove(working, suffix)
    }

    /// The keys and values of all rows that there should be for these children.
    pub fn expected(&self, suffixes: Vec<Vec<u8>>) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.expected(suffixes.into_iter().map(|suffix| (suffix, Vec::new())).collect())
    }
}

/// The id of a child from what stands behind the parent in a row.
pub(crate) fn child(suffix: &[u8]) -> Option<Id> {
    read(suffix).ok().map(|(_, id)| id)
}

/// Position and id from what stands behind the parent in a row.
fn read(suffix: &[u8]) -> Result<(String, Id), EngineError> {
    let corrupt = || EngineError::corrupt("the place of a child");
    let rest = skip_order_key(suffix).ok_or_else(corrupt)?;
    let (id, []) = Id::read_key(rest).ok_or_else(corrupt)? else { return Err(corrupt()) };
    // A text in order bytes is its tag, its bytes (a position has no zero in it), and two bytes that end it.
    let encoded = &suffix[..suffix.len() - rest.len()];
    let text =
        encoded.get(1..encoded.len().saturating_sub(2)).and_then(|text| std::str::from_utf8(text).ok());
    Ok((text.ok_or_else(corrupt)?.to_string(), id))
}
