//! Mounts: what stands at paths besides the collections of the schema.
//!
//! A request at a mount of a type goes the way of any other. What makes the difference is its [`Scope`], which the path
//! brings along ([`crate::path::resolve`]): the names of the mount, by which what the client says is read and what it is
//! shown is written, and the condition that holds of all that is there. What is not in the scope is not there.
//! Whether something is, is asked where it counts: by the query, by the read of the path, and of writes by the executor in
//! their transaction ([`mod@write`]). What a mount allows is asked of a path alone, before anything is read ([`permit`]).
//!
//! What another server has goes another way altogether: [`proxy`].
//!
//! Links lead out of a mount: behind a resource there, paths are as anywhere, and are read only.

pub mod permit;
pub mod proxy;
pub mod write;

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use corollary_engine::eval::{Eval, View as State};
use corollary_engine::names;
use corollary_engine::working::Working;
use corollary_engine::{Doc, EngineError, Key, Refusal};
use corollary_schema::mounts::{Mount, Segment, View, and};
use corollary_schema::typed::{Expr, Node};
use corollary_schema::{Schema, Slot, TypeIx};
use corollary_value::text::push_segment;
use corollary_value::{Id, Value};

use crate::path::{PREFIX, PathError};
use crate::problem::Problem;

/// A mount whose parameters stand for resources.
#[derive(Debug)]
pub struct Scope {
    mount: Arc<Mount>,
    /// Its path, up to the slash before an id.
    base: String,
    /// The facts that all there has.
    forced: Vec<(Slot, Value)>,
    /// What holds of all there; none where all is shown.
    condition: Option<Expr>,
}

/// Of the same mount at the same path, the same.
impl PartialEq for Scope {
    fn eq(&self, other: &Scope) -> bool {
        let Scope { mount, base, forced, condition } = self;
        Arc::ptr_eq(mount, &other.mount)
            && (base, forced, condition) == (&other.base, &other.forced, &other.condition)
    }
}

/// The scope that a path begins with, and how many of its segments that takes.
pub fn enter(working: &Working<'_>, segments: &[String]) -> Result<Option<(Arc<Scope>, usize)>, PathError> {
    let Some(mount) = working.schema.mounts.iter().find(|mount| mount.begins(segments)) else {
        return Ok(None);
    };
    let Some(view) = mount.view() else {
        let detail =
            format!("what is at `{}` is on another server, and is asked for by itself", mount.name());
        return Err(PathError::NotFound(detail));
    };
    let mut base = PREFIX.as_bytes().to_vec();
    let mut bound: Vec<Option<Id>> = Vec::with_capacity(mount.path.len());
    for (segment, given) in mount.path.iter().zip(segments) {
        base.push(b'/');
        match segment {
            Segment::Name(name) => {
                base.extend_from_slice(name.as_bytes());
                bound.push(None);
            }
            Segment::Param(_, ty) => {
                let resource = working.schema.ty(*ty);
                let missing = || PathError::NotFound(format!("there is no {} {given}", resource.name));
                let id = match names::find(working, *ty, None, given)? {
                    Some(id) => id,
                    None => Id::parse(given).map_err(|_| missing())?,
                };
                let key = Key::new(*ty, id);
                let doc = working.after(&key)?.ok_or_else(missing)?;
                push_id(working, &key, &doc, &mut base);
                bound.push(Some(key.id));
            }
        }
    }
    let forced = view.forced(&|at| bound.get(at)?.as_ref());
    let condition = view.condition(&forced);
    let base = String::from_utf8_lossy(&base).into_owned();
    Ok(Some((Arc::new(Scope { mount: mount.clone(), base, forced, condition }), mount.path.len())))
}

/// Appends what stands for a resource in a path without parents.
fn push_id(working: &Working<'_>, key: &Key, doc: &Doc, out: &mut Vec<u8>) {
    let ty = working.schema.ty(key.ty);
    match names::name_of(ty, doc).filter(|_| ty.root.is_some()) {
        Some(name) => push_segment(name, out),
        // Writing to bytes in memory does not fail.
        None => drop(write!(out, "{}", key.id)),
    }
}

impl Scope {
    fn view(&self) -> &View {
        match self.mount.view() {
            Some(view) => view,
            None => unreachable!("only a view is entered"),
        }
    }

    /// The type of what is here.
    pub fn ty(&self) -> TypeIx {
        self.view().ty
    }

    /// The schema with the names of the mount.
    pub fn names(&self) -> &Schema {
        &self.view().names
    }

    /// A condition that holds of what is here besides.
    pub fn narrowed(&self, filter: Option<Expr>) -> Option<Expr> {
        and(self.condition.clone(), filter)
    }

    /// Is a resource, as it is in a state, here?
    pub fn holds(&self, state: &dyn State, key: &Key, doc: &Arc<Doc>) -> Result<bool, EngineError> {
        self.condition.as_ref().map_or(Ok(true), |condition| Eval::of(state, &key.id, doc).holds(condition))
    }

    /// Appends the path of a resource here.
    pub fn push_self(&self, working: &Working<'_>, key: &Key, doc: Option<&Doc>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.base.as_bytes());
        out.push(b'/');
        match doc {
            Some(doc) => push_id(working, key, doc, out),
            None => drop(write!(out, "{}", key.id)),
        }
    }

    /// The path of a resource here.
    pub fn path_of(&self, working: &Working<'_>, key: &Key, doc: &Doc) -> String {
        let mut out = Vec::new();
        self.push_self(working, key, Some(doc), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Where the mount is, for what is the same for all who see it: paths begin so.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Tells a problem by the names of the mount.
    pub fn tell_problem(&self, problem: &mut Problem) {
        self.tell(&mut problem.errors);
        if let [one] = &problem.errors[..] {
            problem.detail.clone_from(&one.message);
        }
    }

    /// Puts the names of the mount in the place of those of the fields, in what the rules refuse.
    pub fn tell(&self, refusals: &mut [Refusal]) {
        for refusal in refusals {
            let Some(path) = &refusal.path else { continue };
            let (field, behind) =
                path.split_once('/').map_or((path.as_str(), None), |(it, rest)| (it, Some(rest)));
            let Some((name, shown)) = self.view().renamed.iter().find(|(name, _)| name == field) else {
                continue;
            };
            let place = behind.map_or(Cow::Borrowed(shown.as_str()), |rest| format!("{shown}/{rest}").into());
            for end in ['`', '/', '.'] {
                refusal.message =
                    refusal.message.replace(&format!("`{name}{end}"), &format!("`{shown}{end}"));
            }
            refusal.path = Some(place.into_owned());
        }
    }
}

/// The schema by whose names something is read: that of a mount, where it is in one.
pub fn names_of<'s>(scope: Option<&'s Arc<Scope>>, schema: &'s Schema) -> &'s Schema {
    scope.map_or(schema, |scope| scope.names())
}

/// A filter, and what holds of all in the scope.
pub fn narrowed(scope: Option<&Arc<Scope>>, filter: Option<Expr>) -> Option<Expr> {
    match scope {
        Some(scope) => scope.narrowed(filter),
        None => filter,
    }
}

/// Does a condition read nothing but fields of the resource itself?
pub fn reads_own_fields_only(expr: &Expr) -> bool {
    let own = match &expr.node {
        Node::Get(base, _) => matches!(base.node, Node::Owner),
        Node::Reverse(..) | Node::All(_) | Node::Now => false,
        _ => true,
    };
    let mut all = own;
    expr.for_parts(&mut |part, _| all = all && reads_own_fields_only(part));
    all
}
