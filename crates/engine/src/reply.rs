//! What a transaction tells whoever asked for it: its resources as they are at its end, true as of its own commit.
//!
//! It is made on the working state, behind the last write of the transaction and before the first of the next: so what
//! an update has yet to bring is computed from exactly the facts of the commit, or named, by the updates that are open
//! there. Whatever is committed or ends between the commit and the moment when somebody shows it changes nothing of it.
//!
//! Read next: [`crate::updates::settled`], which computes and names.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use corollary_schema::Slot;
use smol_str::SmolStr;

use crate::doc::{Doc, Key};
use crate::engine::Transaction;
use crate::error::EngineError;
use crate::origin::Origin;
use crate::processors::Reviewed;
use crate::receipt::Keep;
use crate::updates::settled::{READ_LIMIT, Settled, SettledDoc};
use crate::working::Working;
use crate::write::Write;

/// Values and resources that one transaction may look at to compute what is behind in its results, besides
/// [`LOOKUPS_PER_RESULT`] for each: it holds up all that wait behind it.
pub const LOOKUPS: usize = 2_000;

/// See [`LOOKUPS`].
pub const LOOKUPS_PER_RESULT: usize = 8;

/// A transaction, and what of it is told.
#[derive(Clone, Copy, Debug)]
pub struct Request<'t> {
    /// What is to happen.
    pub transaction: &'t Transaction,
    /// What is told.
    pub wants: &'t Wants,
}

impl<'t> Request<'t> {
    /// One that is told its results.
    pub fn new(transaction: &'t Transaction) -> Request<'t> {
        Request { transaction, wants: &RESULTS }
    }
}

/// What is told of a transaction besides its commit.
#[derive(Clone, Debug, Default)]
pub struct Wants {
    /// The resource of each write; otherwise nobody looks.
    pub results: bool,
    /// A reply that is kept for those who repeat the request.
    pub kept: Option<Arc<Keep>>,
    /// Who makes it, where that is known: the log tells, and processors may ask.
    pub actor: Option<SmolStr>,
    /// Where it comes from, if it is on record there: it is done once.
    pub origin: Option<Arc<Origin>>,
    /// What others have agreed to, where they have to be asked.
    pub reviewed: Option<Arc<Reviewed>>,
    /// Writes behind those of the transaction, of which nothing is told.
    pub more: Vec<Write>,
    /// Whom the kept reply is shown to, where that is one who may not see everything.
    pub shown_to: Option<Option<SmolStr>>,
    /// Is it a commit whatever it changes? It has a revision then, and who watches hears of it.
    pub marks: bool,
    /// The span that it belongs to, for those who collect [`crate::spans`].
    pub span: Option<tracing::Span>,
}

static RESULTS: Wants = Wants::results();

impl Wants {
    /// What is done from here on belongs to its span, as long as this is held.
    pub(crate) fn within(&self) -> Option<tracing::span::Entered<'_>> {
        self.span.as_ref().map(tracing::Span::enter)
    }

    /// The resource of each write.
    pub const fn results() -> Wants {
        Wants::with(true)
    }

    /// Nothing.
    pub const fn nothing() -> Wants {
        Wants::with(false)
    }

    const fn with(results: bool) -> Wants {
        let more = Vec::new();
        Wants {
            results,
            kept: None,
            actor: None,
            origin: None,
            reviewed: None,
            more,
            shown_to: None,
            marks: false,
            span: None,
        }
    }
}

/// A resource as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// With the values that were computed in place of those that may be behind.
    pub doc: Arc<Doc>,
    /// The derived fields that may be behind.
    pub pending: Vec<Slot>,
}

impl Shown {
    /// From what was computed of a document.
    pub fn of(doc: &Arc<Doc>, settled: SettledDoc<'_>) -> Shown {
        let shown = match settled.doc {
            Cow::Borrowed(_) => doc.clone(),
            Cow::Owned(settled) => Arc::new(settled),
        };
        Shown { doc: shown, pending: settled.pending }
    }
}

/// The resources of some writes as a read of the state shows them, in the order of the writes.
pub(crate) fn results<'k>(
    working: &Working<'_>,
    keys: impl ExactSizeIterator<Item = &'k Key>,
) -> Result<Vec<Option<Shown>>, EngineError> {
    let settled = Settled::new(working);
    let allowance = Cell::new(LOOKUPS + LOOKUPS_PER_RESULT * keys.len());
    let shown = |key: &Key| {
        let Some(doc) = working.after(key)? else { return Ok(None) };
        let settled = settled.doc_within(key, &doc, READ_LIMIT, &allowance)?;
        Ok(Some(Shown::of(&doc, settled)))
    };
    keys.map(shown).collect()
}
