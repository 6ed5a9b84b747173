//! Which indexes a query may go by: those that are whole. Of the others it is kept which it would have gone by.
//!
//! An index that an update has yet to fill ([`crate::updates::indexing`]) is to queries as if it were not there. Who asks how a
//! query is answered, or has it refused because it would visit too many, is told that it is being built.

use std::cell::RefCell;
use std::collections::BTreeSet;

use corollary_schema::{FieldId, FieldRef};

use crate::index;
use crate::updates::Indexed;
use crate::working::Working;

/// See the module.
pub(super) struct Usable<'w, 'a> {
    pub working: &'w Working<'a>,
    filling: Vec<FieldId>,
    missed: RefCell<BTreeSet<FieldId>>,
}

impl<'w, 'a> Usable<'w, 'a> {
    pub fn new(working: &'w Working<'a>) -> Usable<'w, 'a> {
        Usable { working, filling: working.filling(), missed: RefCell::default() }
    }

    /// Is an index whole?
    pub fn is_whole(&self, number: FieldId) -> bool {
        !self.filling.contains(&number)
    }

    /// May an index be used? It is one that the query would go by.
    pub fn has(&self, number: FieldId) -> bool {
        let whole = self.is_whole(number);
        if !whole {
            self.missed.borrow_mut().insert(number);
        }
        whole
    }

    /// May the index of a field by value be used, if it has one?
    pub fn by_value(&self, field: FieldRef) -> bool {
        let field = self.working.schema.field(field);
        field.index && self.has(field.id)
    }

    /// May the index of a list's elements be used, if it has one?
    pub fn by_element(&self, field: FieldRef) -> bool {
        let field = self.working.schema.field(field);
        field.indexes_elements() && self.has(field.id)
    }

    /// The indexes that would have been gone by if they were whole, by number.
    pub fn missed(&self) -> Vec<FieldId> {
        self.missed.borrow().iter().copied().collect()
    }

    /// What is said of one of them where a query is refused for the lack of it.
    pub fn help(&self) -> Option<String> {
        let number = self.missed.borrow().first().copied()?;
        let index = Indexed::of(self.working.schema, number)?;
        let index = index::describe(self.working.schema, index.at, index.by);
        Some(format!("{index} is being built, and would help"))
    }
}
