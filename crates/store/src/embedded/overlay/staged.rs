//! A commit that is settled and not durable yet.
//!
//! Only who reads the tip looks into it, so it is made fit for that when somebody does. Read next: [`layer`](super::layer).

use std::sync::{Arc, OnceLock};

use super::arena::Entry;
use super::layer::{Addition, Layer, View};

/// See the module.
pub(in crate::embedded) struct Staged {
    /// Its place among all commits.
    pub(in crate::embedded) sequence: u64,
    /// The payload of its record.
    pub(in crate::embedded) payload: Arc<[u8]>,
    /// Where its points are in the payload, sorted by key.
    pub(in crate::embedded) entries: Vec<Entry>,
    /// Bytes that it takes in the journal.
    pub(in crate::embedded) journal_bytes: u64,
    /// The most pages by which the data file may have to grow for it.
    pub(in crate::embedded) pages: u64,
    view: OnceLock<View>,
}

impl Staged {
    /// A commit of these points.
    pub(in crate::embedded) fn new(
        sequence: u64,
        (payload, entries): (&[u8], &[Entry]),
        journal_bytes: u64,
        pages: u64,
    ) -> Staged {
        let (payload, entries) = (payload.into(), entries.to_vec());
        Staged { sequence, payload, entries, journal_bytes, pages, view: OnceLock::new() }
    }

    /// What it adds to a layer; `entries` are a copy of its own.
    pub(super) fn addition<'a>(&self, entries: &'a mut [Entry]) -> Addition<'a> {
        let (journal_bytes, pages) = (self.journal_bytes, self.pages);
        Addition { payload: self.payload.clone(), entries, journal_bytes, pages }
    }

    /// What it counts for where layers are limited.
    pub(in crate::embedded) fn bytes(&self) -> u64 {
        self.journal_bytes + Addition::entry_bytes(self.entries.len())
    }

    /// What it knows of keys.
    pub(in crate::embedded) fn view(&self) -> &View {
        self.view.get_or_init(|| {
            let mut layer = Layer::default();
            layer.add(&mut self.addition(&mut self.entries.clone()));
            layer.view()
        })
    }
}
