//! What somebody writes who may not do everything: asked by the executor, when all that follows from the transaction has come about, of
//! the state before it and of the one that it leaves. So what a grant forbids is not done, whatever others do at the same time.
//!
//! What is written itself is asked about, not what follows: what goes with a deletion by the rule of a link, or what a processor sets, needs
//! no grant.

use std::sync::Arc;

use axum::http::StatusCode;
use corollary_engine::grants::{May, Sight};
use corollary_engine::working::{Before, Working, linked};
use corollary_engine::{Decision, Doc, Engine, EngineError, Key, Transaction, Write, leads_nowhere};
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use hashbrown::HashSet;
use smol_str::SmolStr;

use super::Reader;
use super::reader::NOT_GRANTED;
use crate::problem::Problem;

/// What holds a transaction to the grants of an actor: a write behind its own.
pub(crate) fn guard(engine: Arc<Engine>, actor: Option<SmolStr>, transaction: &Transaction) -> Option<Write> {
    let mut seen = HashSet::new();
    let keys = transaction.writes.iter().map(Write::key).filter(|key| seen.insert((*key).clone()));
    let keys: Vec<Key> = keys.cloned().collect();
    let first = keys.first()?.clone();
    let decide = move |working: &Working<'_>, _: &Key, _: Option<&Arc<Doc>>| {
        let sight = engine.sight(working, actor.as_ref())?;
        keys.iter().try_for_each(|key| check(working, &sight, key))?;
        Ok(None)
    };
    Some(Write::Ensure(first, Decision::new(decide)))
}

/// A refusal without what it says of resources that are not written, which may be others than may be read.
pub(crate) fn discreet(mut problem: Problem, reader: &Reader) -> Problem {
    let Reader::Granted(actor) = reader else { return problem };
    if problem.code == NOT_GRANTED && actor.is_none() {
        problem.status = StatusCode::UNAUTHORIZED;
    }
    for refusal in &mut problem.errors {
        let place = refusal.path.as_deref().unwrap_or("it");
        refusal.message = match (refusal.code, refusal.write) {
            ("unique", _) => format!("`{place}` has a value that another one has already"),
            ("restrict", _) => "something refers to it and forbids that it goes".into(),
            (_, Some(_)) => continue,
            (code, None) => {
                refusal.path = None;
                format!("something that would follow from it is refused (`{code}`)")
            }
        };
    }
    match &problem.errors[..] {
        [] => {}
        [one] => problem.detail.clone_from(&one.message),
        more => problem.detail = format!("{} errors", more.len()),
    }
    problem
}

/// Refuses what becomes of one resource.
fn check(working: &Working<'_>, sight: &Sight, key: &Key) -> Result<(), EngineError> {
    let schema = working.schema;
    let (before, after) = working.before_and_after(key)?;
    let was = Before(working);
    let may_read = match &before {
        Some(before) => sight.may(schema, &was, May::Read, key, before)?,
        None => true,
    };
    if !may_read {
        // As if it were not there.
        let message = format!("there is no {} {}", schema.ty(key.ty).name, key.id);
        return Err(EngineError::refused("not-found", None, message));
    }
    let allowed = match (&before, &after) {
        (None, None) => return Ok(()),
        (None, Some(after)) => sight.may(schema, working, May::Create, key, after)?,
        (Some(before), None) => sight.may(schema, &was, May::Delete, key, before)?,
        (Some(before), Some(after)) if is_same(schema, key.ty, before, after) => return Ok(()),
        // It may neither be taken from somewhere else nor brought there.
        (Some(before), Some(after)) => {
            sight.may(schema, &was, May::Update, key, before)?
                && sight.may(schema, working, May::Update, key, after)?
        }
    };
    if !allowed {
        let what = match (&before, &after) {
            (None, _) => "to create it, or with these values",
            (_, None) => "to delete it",
            _ => "to change it, or to these values",
        };
        let message = format!("{} {}: no grant allows {what}", schema.ty(key.ty).name, key.id);
        return Err(EngineError::refused(NOT_GRANTED, None, message));
    }
    match after {
        Some(after) => check_links(working, sight, key, before.as_deref(), &after),
        None => Ok(()),
    }
}

/// Are the facts the same?
fn is_same(schema: &Schema, ty: TypeIx, before: &Doc, after: &Doc) -> bool {
    let mut facts = schema.ty(ty).slots().filter(|(_, field)| field.is_fact());
    facts.all(|(slot, _)| before.get(slot) == after.get(slot))
}

/// Refuses new links to what may not be read: as if it were not there.
fn check_links(
    working: &Working<'_>,
    sight: &Sight,
    key: &Key,
    before: Option<&Doc>,
    after: &Doc,
) -> Result<(), EngineError> {
    let schema = working.schema;
    for (slot, target) in links(schema, key.ty) {
        let field = FieldRef { ty: key.ty, slot };
        let known = before.map(|before| linked(schema, field, before)).unwrap_or_default();
        for id in linked(schema, field, after).into_iter().filter(|id| !known.contains(id)) {
            let to = Key::new(target, id);
            // What the transaction makes itself is no secret to it.
            let Some(doc) = working.before(&to)? else { continue };
            if !sight.may(schema, &Before(working), May::Read, &to, &doc)? {
                return Err(EngineError::Refused(vec![leads_nowhere(working, field, &to)]));
            }
        }
    }
    Ok(())
}

/// The fields of a type that link to others by what is written, each with where it leads. Under which parent something may stand says
/// the grant itself.
fn links(schema: &Schema, ty: TypeIx) -> impl Iterator<Item = (Slot, TypeIx)> {
    schema.ty(ty).slots().filter_map(move |(slot, field)| match &field.kind {
        FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => Some((slot, *target)),
        FieldKind::Embedded { of, target, .. } if schema.ty(ty).field(*of).is_fact() => Some((slot, *target)),
        _ => None,
    })
}
