//! The watch of one who may not see everything: what they may read goes along with it as a condition, and what they are told has nothing
//! in it of what they may not.
//!
//! What they may read may change while they watch: with the grants, with who they are in the data, with a resource of others that a grant
//! asks about. Then the watch has another condition from that commit on, and whatever comes or goes with it is told as of that commit
//! ([`By::is_concerned`], `Tracker::resight`). Where it cannot be followed, the watch ends, and begins anew: nobody is told of a commit
//! what they may not read behind it.

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_engine::grants::{Covered, May, Sight};
use corollary_engine::working::Working;
use corollary_engine::{Commit, Engine, EngineError};
use corollary_schema::mounts::and;
use corollary_schema::typed::{Expr, Kind, Node, Type};
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_value::{Id, Value};
use smol_str::SmolStr;

use super::event::Happened;
use super::tracker::{Told, What, unchanged};
use super::watched::{Of, Watched, WatchedList, Which};
use crate::http::reader::{NOT_GRANTED, denied};
use crate::problem::Problem;

/// Why a watch ends that cannot go on with what may be read now.
pub const CHANGED: &str = "what may be read has changed: begin anew";

/// For whom a watch is.
#[derive(Debug)]
pub struct By {
    actor: Option<SmolStr>,
    /// Their resource.
    ego: Option<Id>,
    /// How often grants had been changed when this was found out.
    changes: u64,
    /// Since which revision grants are what they are.
    since: u64,
    /// What the conditions of the grants read of resources that do not follow from the one that is watched.
    elsewhere: BTreeSet<FieldRef>,
    /// The conditions that were asked for, of each list.
    asked: Vec<Option<Expr>>,
}

/// No two are alike: what one is told may be different from what another one is.
impl PartialEq for By {
    fn eq(&self, _: &By) -> bool {
        false
    }
}

impl By {
    /// Is it the same one who may read the same in a state? Asked when the state is at hand, it holds of all that is in it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn is_current(&self, engine: &Engine, working: &Working<'_>) -> Result<bool, EngineError> {
        let ego = engine.sight(working, self.actor.as_ref())?.ego().cloned();
        Ok(ego == self.ego && self.is_known(engine))
    }

    /// Are the grants what they were?
    pub fn is_known(&self, engine: &Engine) -> bool {
        engine.grant_changes() == self.changes
    }

    /// May a watch go on behind a revision as if nothing had changed?
    pub fn goes_back_to(&self, since: u64) -> bool {
        since > self.since
    }

    /// May a commit have changed what may be read, otherwise than by a resource that is watched or that follows from it?
    pub fn is_concerned(&self, schema: &Schema, commit: &Commit) -> bool {
        commit.changes.iter().any(|change| {
            let docs = [change.before.as_deref(), change.after.as_deref()];
            let [before, after] = docs;
            let differs = |slot| match (before, after) {
                (Some(before), Some(after)) => before.get(slot) != after.get(slot),
                _ => true,
            };
            let is_who = schema.ego.is_some_and(|field| {
                field.ty == change.key.ty
                    && differs(field.slot)
                    && (self.ego.as_ref() == Some(&change.key.id) || self.is_named(schema, field, docs))
            });
            // What is kept in no document is read off others of the same one.
            let is_other = |field: &FieldRef| !schema.field(*field).in_document() || differs(field.slot);
            is_who || self.elsewhere.iter().any(|field| field.ty == change.key.ty && is_other(field))
        })
    }

    /// Has one of these the name of who watches?
    fn is_named(&self, schema: &Schema, field: FieldRef, docs: [Option<&corollary_engine::Doc>; 2]) -> bool {
        let Some(actor) = &self.actor else { return false };
        let rules = &schema.field(field).rules;
        let name = rules.normalize.iter().fold(actor.clone(), |name, step| step.apply(&name));
        docs.into_iter().flatten().any(|doc| matches!(doc.get(field.slot), Value::Str(held) if *held == name))
    }
}

/// A watch, for one who may see what a sight says. `changes` are those of the grants before the sight was found out.
///
/// # Errors
///
/// It is of something that is not followed for one who may not see everything.
pub fn veiled(
    watched: Watched,
    schema: &Schema,
    sight: &Sight,
    actor: Option<SmolStr>,
    changes: u64,
) -> Result<Watched, Problem> {
    let asked = watched.lists().iter().map(|list| list.filter.clone()).collect();
    narrowed(watched, schema, sight, actor, changes, asked)
}

/// The same watch, by what may be read in another state.
///
/// # Errors
///
/// It cannot go on.
pub fn again(
    watched: &Watched,
    engine: &Engine,
    working: &Working<'_>,
) -> Result<Option<Watched>, EngineError> {
    let Some(by) = &watched.by else { return Ok(None) };
    let changes = engine.grant_changes();
    let sight = engine.sight(working, by.actor.as_ref())?;
    let narrowed =
        narrowed(watched.clone(), engine.schema(), &sight, by.actor.clone(), changes, by.asked.clone());
    narrowed.map(Some).map_err(|problem| EngineError::refused(NOT_GRANTED, None, problem.detail))
}

fn narrowed(
    mut watched: Watched,
    schema: &Schema,
    sight: &Sight,
    actor: Option<SmolStr>,
    changes: u64,
    asked: Vec<Option<Expr>>,
) -> Result<Watched, Problem> {
    let is_known = actor.is_some();
    let not_followed = |what: &str| denied(is_known, format!("{what} is watched by administrators alone"));
    let mut elsewhere = BTreeSet::new();
    let mut narrow = |list: &WatchedList, asked: &Option<Expr>, order: &[(Expr, bool)]| {
        if matches!(list.which, Which::Led(_)) {
            return Err(not_followed("what a path leads to"));
        }
        let plain = WatchedList::new(list.ty, list.which.clone(), asked.clone(), order);
        if !sight.reads_all(schema, plain.reach.types()) {
            return Err(not_followed("what goes by resources that may not all be read"));
        }
        let granted = match sight.covered(schema, May::Read, list.ty) {
            Covered::All => None,
            Covered::Nothing => Some(Expr::constant(Value::Bool(false), Kind::Bool)),
            Covered::Where(condition) => {
                read_elsewhere(&condition, &mut elsewhere);
                Some(Expr::clone(&condition))
            }
        };
        Ok(WatchedList::new(list.ty, list.which.clone(), and(granted, asked.clone()), order))
    };
    match &mut watched.of {
        Of::Lists(lists) => {
            for (list, asked) in lists.iter_mut().zip(&asked) {
                *list = narrow(list, asked, &[])?;
            }
        }
        Of::Page(list, ordered) => {
            *list = narrow(list, asked.first().unwrap_or(&None), &ordered.order)?;
        }
        Of::Value(..) => return Err(not_followed("what a path leads to")),
    }
    let (ego, since) = (sight.ego().cloned(), sight.since());
    watched.by = Some(Arc::new(By { actor, ego, changes, since, elsewhere, asked }));
    Ok(watched)
}

/// Adds what an expression reads of resources to which no way leads from `self`.
fn read_elsewhere(expr: &Expr, found: &mut BTreeSet<FieldRef>) {
    if let Node::Get(base, field) | Node::Reverse(base, field) | Node::Each(base, field, _) = &expr.node
        && !begins_at_self(base)
    {
        found.insert(*field);
    }
    expr.for_parts(&mut |part, _| read_elsewhere(part, found));
}

fn begins_at_self(expr: &Expr) -> bool {
    match &expr.node {
        Node::Owner => true,
        Node::Get(base, _)
        | Node::Reverse(base, _)
        | Node::Member(base, _)
        | Node::IdOf(base)
        | Node::Each(base, ..)
        | Node::Extend(base, _)
        | Node::Filter(base, _)
        | Node::Order(base, _)
        | Node::At(base, _)
        | Node::Slice(base, ..) => begins_at_self(base),
        _ => false,
    }
}

/// The types of the resources that an expression goes through.
pub fn types_of(expr: &Expr, found: &mut BTreeSet<TypeIx>) {
    let of = |ty: &Type, found: &mut BTreeSet<TypeIx>| match &ty.kind {
        Kind::Resource(ty) => drop(found.insert(*ty)),
        Kind::Among(types) => found.extend(types),
        _ => {}
    };
    of(&expr.ty, found);
    match &expr.node {
        Node::Get(_, field) | Node::Reverse(_, field) => drop(found.insert(field.ty)),
        // A lazy field is a value of its resource, whatever it follows from.
        Node::Each(base, field, _) => {
            found.insert(field.ty);
            return types_of(base, found);
        }
        Node::All(ty) => drop(found.insert(*ty)),
        _ => {}
    }
    expr.for_parts(&mut |part, _| types_of(part, found));
}

/// Takes out of what a watch is told whatever may not be read by who watches: of what leaves what it is by now, of what comes what
/// it was before.
pub fn conceal(commit: &Commit, told: &mut [Told]) {
    for told in told {
        let change = match &told.what {
            What::Change(at) => &commit.changes[*at],
            What::Reached(change) | What::Own(change) => change,
            What::Value(_) => continue,
        };
        match told.happened {
            Happened::Left => {
                // As it was when it could be read, and where it was then.
                let known = change.before.clone().or_else(|| change.after.clone());
                let mut gone = corollary_engine::Change::clone(change);
                (gone.before, gone.after, gone.changed) = (known, None, Vec::new());
                told.what = What::Own(Arc::new(gone));
            }
            Happened::Added => {
                if let Some(doc) = &change.after {
                    told.what = What::Own(unchanged(change.key.clone(), doc.clone()));
                }
            }
            Happened::Modified | Happened::Removed | Happened::Changed => {}
        }
    }
}
