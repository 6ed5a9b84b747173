//! Who asks, as far as it decides what they are shown and what they may do.
//!
//! Without grants everybody may do everything. Where a server is started with administrators, it is them who may, and what the others may
//! do say [grants](corollary_engine::grants): what they read is read under a veil ([`Reads`]), what they write is held to the grants by the executor
//! ([`mod@super::guard`]), and what they watch has a condition of theirs ([`crate::watch::by`]). What none of these three is made for is for
//! administrators alone: [`Reader::administers`] stands before it.

use std::collections::BTreeSet;

use axum::http::{HeaderMap, StatusCode};
use corollary_engine::grants::{Covered, May};
use corollary_engine::query::Query;
use corollary_engine::working::Working;
use corollary_engine::{Engine, EngineError};
use corollary_schema::TypeIx;
use corollary_schema::mounts::and;
use corollary_schema::typed::Expr;
use jiff::Timestamp;
use smol_str::SmolStr;

use super::{Fault, Limits, actor};
use crate::mounts::reads_own_fields_only;
use crate::problem::Problem;
use crate::watch::by::types_of;

/// The code of what no grant allows.
pub const NOT_GRANTED: &str = "not-granted";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reader {
    /// One who may do everything.
    #[default]
    Everything,
    /// One who may do what is granted to them, or to all; nobody in particular where it is not known who it is.
    Granted(Option<SmolStr>),
}

impl Reader {
    /// By the headers of a request.
    pub(crate) fn of(limits: &Limits, headers: &HeaderMap) -> Result<Reader, Problem> {
        let Some(administrators) = &limits.administrators else { return Ok(Reader::Everything) };
        Ok(match actor::asks(limits, headers)? {
            Some(actor) if administrators.contains(&actor) => Reader::Everything,
            actor => Reader::Granted(actor),
        })
    }

    /// Refuses what only administrators may do.
    pub(crate) fn administers(&self, what: &str) -> Result<(), Problem> {
        match self {
            Reader::Everything => Ok(()),
            Reader::Granted(actor) => Err(denied(actor.is_some(), format!("{what} is for administrators"))),
        }
    }

    /// May they do everything?
    pub(crate) fn is_everything(&self) -> bool {
        *self == Reader::Everything
    }
}

/// What is not allowed: to somebody 403, and to whom nobody knows 401.
pub(crate) fn denied(is_known: bool, detail: impl Into<String>) -> Problem {
    let status = if is_known { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    Problem::new(status, NOT_GRANTED, detail)
}

/// What is read from, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Reads<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) reader: &'e Reader,
}

impl<'e> Reads<'e> {
    /// For the server's own ends: nobody is shown it.
    pub(crate) fn own(engine: &'e Engine) -> Reads<'e> {
        Reads { engine, reader: &Reader::Everything }
    }

    /// One consistent state, without what they may not read.
    pub(crate) fn state<T>(
        &self,
        f: impl Fn(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match self.reader {
            Reader::Everything => self.engine.read(Timestamp::now(), f),
            Reader::Granted(actor) => self.engine.read_as(Timestamp::now(), actor.as_ref(), f),
        }
    }

    /// The same for as long as `f` takes; see [`Engine::walk`].
    pub(crate) fn walk<T>(
        &self,
        f: impl FnOnce(&Working<'_>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        match self.reader {
            Reader::Everything => self.engine.walk(Timestamp::now(), f),
            Reader::Granted(actor) => self.engine.walk_as(Timestamp::now(), actor.as_ref(), f),
        }
    }
}

/// Reads one consistent state.
pub(crate) fn read<T>(reads: Reads<'_>, f: impl Fn(&Working<'_>) -> Result<T, Fault>) -> Result<T, Problem> {
    let outcome = reads.state(|working| match f(working) {
        Ok(found) => Ok(Ok(found)),
        Err(Fault::Problem(problem)) => Ok(Err(*problem)),
        Err(Fault::Engine(error)) => Err(error),
    });
    outcome.unwrap_or_else(|error| Err(error.into()))
}

/// Refuses what is asked of resources of a type of which nothing may be read at all.
pub(crate) fn check_granted(working: &Working<'_>, ty: TypeIx) -> Result<(), Problem> {
    let Some(sight) = working.sight() else { return Ok(()) };
    match sight.covered(working.schema, May::Read, ty) {
        Covered::Nothing => {
            let detail = format!("no grant allows to read any {}", working.schema.ty(ty).name);
            Err(denied(sight.is_known(), detail))
        }
        Covered::Where(_) | Covered::All => Ok(()),
    }
}

/// Refuses expressions that go through types of which nothing may be read at all. What may be read in part is gone through as if it
/// were all there is.
pub(crate) fn check_expressions<'x>(
    working: &Working<'_>,
    expressions: impl IntoIterator<Item = &'x Expr>,
) -> Result<(), Problem> {
    if working.sight().is_none() {
        return Ok(());
    }
    let mut types = BTreeSet::new();
    expressions.into_iter().for_each(|expr| types_of(expr, &mut types));
    types.into_iter().try_for_each(|ty| check_granted(working, ty))
}

/// A query for who reads: what may be read is asked along with the rest, where it can be found by it, and what it goes through may be read.
pub(crate) fn granted(working: &Working<'_>, query: Query) -> Result<Query, Problem> {
    let Some(sight) = working.sight() else { return Ok(query) };
    check_granted(working, query.ty)?;
    check_expressions(working, query.filter.iter().chain(query.order.iter().map(|(by, _)| by)))?;
    Ok(match sight.covered(working.schema, May::Read, query.ty) {
        // What is asked of others is asked where nothing is hidden from it.
        Covered::Where(condition) if reads_own_fields_only(&condition) => {
            Query { filter: and(Some(Expr::clone(&condition)), query.filter), ..query }
        }
        _ => query,
    })
}
