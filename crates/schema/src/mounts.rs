//! Mounts: what stands at paths besides the collections of the schema. They are no part of the data.
//!
//! A mount of a type shows those of its resources that are in its scope, under names of its own. Its names are a schema of
//! their own ([`View::names`]), in which types and fields stand at the same places; so what is typed or read with the one
//! works with the other. Made by `check::mounts`; served by the server's `mounts`; told in words by [`explain`].

pub mod explain;

use std::fmt;
use std::sync::Arc;

use corollary_syntax::ast::BinaryOp;
use corollary_value::{Id, Value};
use smol_str::SmolStr;

use crate::model::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use crate::typed::{Expr, Kind, Node, Type};

/// The most mounts of a schema: each of a type keeps the names of all types.
pub const MAX_MOUNTS: usize = 128;

/// One mount.
#[derive(Debug)]
pub struct Mount {
    /// Its path, one segment at least, the first and the last of which are names.
    pub path: Vec<Segment>,
    /// What may be done there.
    pub allow: Allow,
    /// What stands there.
    pub target: Target,
    /// As it is written, in one line: two that are written alike are alike.
    pub text: String,
}

/// A segment of the path of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Name(SmolStr),
    /// A resource of this type, under the name of the parameter.
    Param(SmolStr, TypeIx),
}

/// What may be done at a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// GET, queries, watches.
    pub read: bool,
    /// POST, and PUT of what is not there.
    pub create: bool,
    /// PUT and PATCH.
    pub update: bool,
    /// DELETE.
    pub delete: bool,
}

/// What stands at a mount.
#[derive(Debug)]
pub enum Target {
    /// Resources of a type.
    View(View),
    /// What another server has there.
    Proxy(Proxy),
}

/// What another server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it begins: `http://` or `https://`, a host, a path; without a slash at the end.
    pub url: SmolStr,
    /// Do the headers that say who asks go along?
    pub credentials: bool,
}

/// Resources of a type, as a mount shows them.
#[derive(Debug)]
pub struct View {
    /// The type.
    pub ty: TypeIx,
    /// The schema with the names of the mount: what has none there begins with `#`, and what need not be given is not
    /// required.
    pub names: Arc<Schema>,
    /// The links that lead to what parameters of the path stand for, each with the place of its segment.
    pub scopes: Vec<(Slot, usize)>,
    /// The fields that have one value here.
    pub fixed: Vec<(Slot, Value)>,
    /// What holds besides of all that is shown, each as it is written.
    pub conditions: Vec<(String, Expr)>,
    /// The facts that have no name here.
    pub hidden: Vec<Slot>,
    /// The names of fields that have another here, and that one.
    pub renamed: Vec<(SmolStr, SmolStr)>,
}

impl Mount {
    /// Its path, as `users/{user}/articles`.
    pub fn name(&self) -> String {
        let segments: Vec<String> = self.path.iter().map(Segment::to_string).collect();
        segments.join("/")
    }

    /// Does it begin like this path? Then the rest of the path is what is within it.
    pub fn begins(&self, path: &[impl AsRef<str>]) -> bool {
        path.len() >= self.path.len()
            && self.path.iter().zip(path).all(|(segment, given)| match segment {
                Segment::Name(name) => name == given.as_ref(),
                Segment::Param(..) => true,
            })
    }

    /// The view, where it is one.
    pub fn view(&self) -> Option<&View> {
        match &self.target {
            Target::View(view) => Some(view),
            Target::Proxy(_) => None,
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Name(name) => f.write_str(name),
            Segment::Param(name, _) => write!(f, "{{{name}}}"),
        }
    }
}

impl Allow {
    /// Everything.
    pub const ALL: Allow = Allow { read: true, create: true, update: true, delete: true };

    /// What may be done, by name.
    pub const NAMES: [&str; 4] = ["read", "create", "update", "delete"];

    /// Whether this may be done, by name.
    pub fn named(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "read" => Some(&mut self.read),
            "create" => Some(&mut self.create),
            "update" => Some(&mut self.update),
            "delete" => Some(&mut self.delete),
            _ => None,
        }
    }
}

impl View {
    /// The facts that all that is shown has, where the parameters stand for these resources, by the place of their segment.
    pub fn forced<'v>(&'v self, bound: &dyn Fn(usize) -> Option<&'v Id>) -> Vec<(Slot, Value)> {
        let scopes =
            self.scopes.iter().filter_map(|(slot, at)| Some((*slot, Value::Ref(bound(*at)?.clone()))));
        scopes.chain(self.fixed.iter().cloned()).collect()
    }

    /// The condition that holds of all that is shown, where `forced` are its facts; none where all is shown.
    pub fn condition(&self, forced: &[(Slot, Value)]) -> Option<Expr> {
        let schema = &self.names;
        let equal = forced.iter().map(|(slot, value)| {
            let at = FieldRef { ty: self.ty, slot: *slot };
            let ty = match &schema.field(at).kind {
                FieldKind::Stored(of) => Type::of_value(of),
                FieldKind::Link { target, .. } => Type::one(Kind::Resource(*target)),
                _ => Type::one(Kind::Null),
            };
            let field = Expr { node: Node::Get(Box::new(Expr::owner(self.ty)), at), ty: ty.clone() };
            both(BinaryOp::Equal, field, Expr::constant(value.clone(), ty.kind))
        });
        let all = equal.chain(self.conditions.iter().map(|(_, condition)| condition.clone()));
        all.reduce(|left, right| both(BinaryOp::And, left, right))
    }
}

fn both(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr { node: Node::Binary(op, Box::new(left), Box::new(right)), ty: Type::one(Kind::Bool) }
}

/// Both conditions, where there are two.
pub fn and(left: Option<Expr>, right: Option<Expr>) -> Option<Expr> {
    match (left, right) {
        (Some(left), Some(right)) => Some(both(BinaryOp::And, left, right)),
        (left, right) => left.or(right),
    }
}
