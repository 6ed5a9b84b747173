//! What a watch is of: lists of resources, a page of one in an order, or what a path leads to; and of what it is told.
//!
//! It is the same that a GET without `watch` would show. Read next: [`super::tracker`], which follows it from commit to commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use corollary_engine::eval::{Eval, View};
use corollary_engine::query::select::{Selector, key_of, selector};
use corollary_engine::query::{self, From, Query};
use corollary_engine::reach::Reach;
use corollary_engine::working::Working;
use corollary_engine::working::targets;
use corollary_engine::{Commit, Doc, EngineError, Key, paths};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use super::by::By;
use super::event::{self, Happened};
use super::tracker::{Told, What};
use crate::json::encode::Shape;
use crate::mounts;

/// The most resources that a watch lists when it begins.
pub const MAX_INITIAL_RESOURCES: usize = 10_000;

/// What is watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Of what.
    pub of: Of,
    /// Does each event say the type of its resource?
    pub typed: bool,
    /// The mount by whose names it is told.
    pub scope: Option<Arc<mounts::Scope>>,
    /// What of the resources of each type is told, where that is not all.
    pub shapes: Vec<(TypeIx, Shape)>,
    /// Stands for the scope and the shapes: what is told of a change is the same for all who have the same.
    pub manner: Arc<str>,
    /// For whom it is, where that is one who may not see everything.
    pub by: Option<Arc<By>>,
}

/// What a watch is of.
#[derive(Clone, Debug, PartialEq)]
pub enum Of {
    /// One list, or the list of each of several types.
    Lists(Vec<WatchedList>),
    /// The first so many of a list, in an order.
    Page(WatchedList, Ordered),
    /// The value that a path leads to, and the path as it is told.
    Value(Led, Arc<str>),
}

/// An order, and how far a page of it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Ordered {
    /// True is descending.
    pub order: Vec<(Expr, bool)>,
    /// The most members.
    pub limit: usize,
    /// Resources that may be visited to find them.
    pub scan_limit: usize,
}

/// Resources of one type that are watched.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchedList {
    /// The type of the resources.
    pub ty: TypeIx,
    /// Which of them.
    pub which: Which,
    /// A condition.
    pub filter: Option<Expr>,
    /// What the condition (and the order) reads of other resources.
    pub reach: Reach,
}

/// Which resources of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Which {
    /// One.
    One(Key),
    /// All.
    All,
    /// Those whose field refers to this one.
    Referring(FieldRef, Id),
    /// Those that a path leads to: links, a derived list, what the members of a list have together.
    Led(Led),
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Led {
    /// The resource that is `self`; none where the path begins at a root collection.
    pub owner: Option<Key>,
    /// The path.
    pub expr: Expr,
    /// What it reads of other resources.
    pub reach: Reach,
    /// Resources that may be visited to find what it is.
    pub scan_limit: usize,
}

impl Led {
    /// A path that begins at a resource, or at a root collection.
    pub fn new(owner: Option<Key>, expr: Expr, scan_limit: usize) -> Led {
        let subject = owner.as_ref().map_or(TypeIx(0), |owner| owner.ty);
        let reach = Reach::of(subject, [&expr]);
        Led { owner, expr, reach, scan_limit }
    }

    /// The types whose changes may make it something else.
    fn types(&self) -> BTreeSet<TypeIx> {
        self.reach.types().into_iter().chain(self.owner.iter().map(|owner| owner.ty)).collect()
    }

    /// What it is in a state; nothing where what it begins with is not there.
    pub fn value(&self, working: &Working<'_>) -> Result<Value, EngineError> {
        match &self.owner {
            Some(owner) if working.after(owner)?.is_none() => Ok(Value::Absent),
            Some(owner) => paths::value(working, &owner.id, &self.expr, self.scan_limit),
            None => paths::value(working, &Schema::shared_id(), &self.expr, self.scan_limit),
        }
    }
}

impl Watched {
    /// The name of its type, where events tell it.
    pub fn type_name<'s>(&self, schema: &'s Schema, key: &Key) -> Option<&'s str> {
        self.typed.then(|| schema.ty(key.ty).name.as_str())
    }

    /// What of a resource of a type is told.
    pub fn shape(&self, ty: TypeIx) -> Shape {
        let shape = self.shapes.iter().find(|(of, _)| *of == ty).map(|(_, shape)| shape.clone());
        Shape { scope: self.scope.clone(), ..shape.unwrap_or_default() }
    }

    /// The lists of resources.
    pub fn lists(&self) -> &[WatchedList] {
        match &self.of {
            Of::Lists(lists) => lists,
            Of::Page(list, _) => std::slice::from_ref(list),
            Of::Value(..) => &[],
        }
    }

    /// Is it of whole lists?
    pub fn is_lists(&self) -> bool {
        matches!(self.of, Of::Lists(_))
    }

    /// Does it take more than the changed resources themselves to know what a commit means for it?
    pub fn needs_states(&self) -> bool {
        let of_others = |list: &WatchedList| !list.reach.is_empty() || matches!(list.which, Which::Led(_));
        matches!(self.of, Of::Value(..)) || self.lists().iter().any(of_others)
    }

    /// The types whose changes may concern it.
    pub fn types(&self) -> BTreeSet<TypeIx> {
        let mut types: BTreeSet<TypeIx> = self.lists().iter().map(|list| list.ty).collect();
        for list in self.lists() {
            types.extend(list.reach.types());
            if let Which::Led(path) = &list.which {
                types.extend(path.types());
            }
        }
        if let Of::Value(path, _) = &self.of {
            types.extend(path.types());
        }
        types
    }

    /// Is there anything in it for who watches? Of a resource that is a member as before only what is shown of it is told.
    pub fn tells(&self, schema: &Schema, told: &Told, commit: &Commit) -> bool {
        let change = match &told.what {
            What::Change(at) => &commit.changes[*at],
            What::Reached(change) | What::Own(change) => change,
            What::Value(_) => return true,
        };
        told.happened != Happened::Modified
            || told.after.is_some()
            || self.shapes.is_empty()
            || event::is_told(schema, change, &self.shape(change.key.ty))
    }
}

impl WatchedList {
    /// All of these with a condition, in an order where there is one.
    pub fn new(ty: TypeIx, which: Which, filter: Option<Expr>, order: &[(Expr, bool)]) -> WatchedList {
        let reach = Reach::of(ty, filter.iter().chain(order.iter().map(|(by, _)| by)));
        WatchedList { ty, which, filter, reach }
    }

    /// What has to hold of a resource for it to be among them, as far as its own fields tell.
    pub fn selector(&self) -> Option<Selector> {
        let by_filter = self.filter.as_ref().and_then(selector);
        match (&self.which, by_filter) {
            (_, Some(by @ Selector::AnyOf(..))) => Some(by),
            (Which::Referring(field, target), _) => {
                Some(Selector::AnyOf(*field, vec![key_of(&Value::Ref(target.clone()))]))
            }
            (_, by) => by,
        }
    }

    /// Is a resource, as it is in a state, among those that are watched? `members` are those of a path.
    pub fn holds(
        &self,
        view: &dyn View,
        key: &Key,
        doc: &Arc<Doc>,
        members: &dyn Fn(&Id) -> bool,
    ) -> Result<bool, EngineError> {
        let among = self.ty == key.ty
            && match &self.which {
                Which::One(one) => one == key,
                Which::All => true,
                Which::Referring(field, target) => targets(doc.get(field.slot)).contains(target),
                Which::Led(_) => members(&key.id),
            };
        match &self.filter {
            Some(filter) if among => Eval::of(view, &key.id, doc).holds(filter),
            _ => Ok(among),
        }
    }

    /// What finds them in a state.
    pub fn query(&self, working: &Working<'_>, ordered: Option<&Ordered>) -> Result<Query, EngineError> {
        let from = match &self.which {
            Which::One(key) => From::Listed(vec![key.id.clone()]),
            Which::All => From::All,
            Which::Referring(field, target) => From::Referring(*field, target.clone()),
            Which::Led(led) => From::Listed(targets(&led.value(working)?)),
        };
        Ok(Query {
            ty: self.ty,
            from,
            filter: self.filter.clone(),
            order: ordered.map_or_else(Vec::new, |ordered| ordered.order.clone()),
            limit: ordered.map_or(MAX_INITIAL_RESOURCES, |ordered| ordered.limit),
            after: None,
            scan_limit: ordered.map_or(query::DEFAULT_SCAN_LIMIT, |ordered| ordered.scan_limit),
        })
    }
}

/// A view of one document alone.
pub struct Own<'d> {
    /// Whose it is.
    pub key: &'d Key,
    /// The document.
    pub doc: &'d Arc<Doc>,
}

impl View for Own<'_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        Ok((ty == self.key.ty && *id == self.key.id).then(|| self.doc.clone()))
    }

    fn referrers(&self, _of: FieldRef, _target: &Id) -> Result<Vec<Id>, EngineError> {
        Ok(Vec::new())
    }

    fn all(&self, _ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        Ok(Vec::new())
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}
