//! The type checker of expressions: syntax tree in, typed expression or diagnostics out.
//!
//! It never stops at the first mistake: a part that has one becomes null of unknown kind, which fits everywhere,
//! so that each mistake is told once.

pub mod about;
mod aggregates;
mod either;
mod help;
mod operators;
mod script;
mod text;
pub mod time;

use std::cell::RefCell;

use corollary_syntax::ast::{self, BinaryOp, ExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;
use corollary_value::Value;
use smol_str::SmolStr;

use crate::functions::{self, Function, Returns};
use crate::members::Members;
use crate::model::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use crate::names::{PATH_FIELD, reverse_name};
use crate::typed::{Aggregate, Expr, Kind, Many, Node, Type};

/// What the checker must know of the schema around an expression.
pub trait Names {
    /// Types, fields and roots (the expressions of derived fields are not looked at).
    fn schema(&self) -> &Schema;
    /// The type of a derived field; none where its own expression has a mistake.
    fn derived_type(&self, field: FieldRef, used_at: Span) -> Option<Type>;
    /// The expression of a lazy field whose type is known; none for all others.
    fn lazy(&self, field: FieldRef) -> Option<Expr>;
    /// The hidden field with the canonical path of each resource of a type that can be above itself; none where the
    /// schema does not keep it.
    fn path_field(&self, ty: TypeIx) -> Option<FieldRef>;
}

impl Names for Schema {
    fn schema(&self) -> &Schema {
        self
    }

    fn derived_type(&self, field: FieldRef, _used_at: Span) -> Option<Type> {
        match &self.field(field).kind {
            FieldKind::Derived { expr, .. } => Some(expr.ty.clone()),
            FieldKind::Aggregate { ty, .. } => Some(ty.clone()),
            _ => None,
        }
    }

    fn lazy(&self, field: FieldRef) -> Option<Expr> {
        match &self.field(field).kind {
            FieldKind::Derived { expr, lazy: true, .. } => Some(expr.clone()),
            _ => None,
        }
    }

    fn path_field(&self, ty: TypeIx) -> Option<FieldRef> {
        let slot = self.ty(ty).fields.iter().position(|field| field.name == PATH_FIELD)?;
        Some(FieldRef { ty, slot: Slot(slot as u32) })
    }
}

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// After `:=` of a type: starts from `self`.
    Derived(TypeIx),
    /// After `:=` of a lazy field: the same, and the time may stand anywhere.
    Lazy(TypeIx),
    /// A filter or order of a query: a bare name is a field of the type.
    Query(TypeIx),
    /// After `default`: starts from `self`, the new resource.
    Default(TypeIx),
}

/// Checks an expression. The value is of no use if there are diagnostics.
pub fn check_expr(names: &dyn Names, place: Place, expr: &ast::Expr) -> (Expr, Vec<Diagnostic>) {
    let checker = Checker::new(names, place, None);
    (checker.whole(expr), checker.found.into_inner())
}

/// Where the expression of a derived member of an embedded object stands.
pub struct Element<'a> {
    /// The field that holds the objects. Read off `self` or `parent` inside, it is as it was written.
    pub holder: FieldRef,
    /// The types of the object and of those around it, the innermost last, with the members so far.
    pub objects: &'a [Type],
    /// Derived members that are declared further below.
    pub later: &'a [SmolStr],
}

/// Checks the expression of a derived member: `self` is the object, `parent` the resource, and a name that the object
/// does not have is looked up in the objects around it, then in the resource.
pub fn check_member(names: &dyn Names, element: &Element<'_>, expr: &ast::Expr) -> (Expr, Vec<Diagnostic>) {
    let checker = Checker::new(names, Place::Derived(element.holder.ty), Some(element));
    (checker.whole(expr), checker.found.into_inner())
}

/// Checks an expression with names of its own beside `self`: what is given under each is an item, the last the innermost.
pub(crate) fn check_given(
    schema: &Schema,
    place: Place,
    given: &[(SmolStr, Type)],
    expr: &ast::Expr,
) -> (Expr, Vec<Diagnostic>) {
    let mut checker = Checker::new(schema, place, None);
    checker.given = given;
    checker.scopes = RefCell::new(given.iter().map(|(_, ty)| ty.clone()).collect());
    (checker.whole(expr), checker.found.into_inner())
}

/// Checks an expression that must be a condition over resources of a type.
pub fn check_condition(schema: &Schema, ty: TypeIx, expr: &ast::Expr) -> (Expr, Vec<Diagnostic>) {
    let (typed, mut found) = check_expr(schema, Place::Query(ty), expr);
    if found.is_empty() && !is_condition(&typed.ty) {
        let describe = typed.ty.describe(&|ty| schema.ty(ty).name.clone());
        found.push(not_a_condition(expr.span, &typed.ty, &describe));
    }
    (typed, found)
}

pub(crate) fn is_condition(ty: &Type) -> bool {
    ty.many == Many::One && matches!(ty.kind, Kind::Bool | Kind::Null | Kind::Json)
}

pub(crate) fn not_a_condition(span: Span, ty: &Type, is: &str) -> Diagnostic {
    Diagnostic::error("not-a-condition", span, format!("a condition must be true or false, and this is {is}"))
        .help(help::condition(ty))
}

/// The name under which a rule is given the resource of who asks.
pub(crate) const EGO: &str = "ego";

struct Checker<'a> {
    names: &'a dyn Names,
    place: Place,
    /// Where in an embedded object it stands.
    element: Option<&'a Element<'a>>,
    /// Names that something is given under, the outermost items.
    given: &'a [(SmolStr, Type)],
    /// Types of the items of what is given, of the enclosing objects and filters, the innermost last.
    scopes: RefCell<Vec<Type>>,
    /// The places of the clock that a comparison allows.
    clocks: RefCell<Vec<Span>>,
    found: RefCell<Vec<Diagnostic>>,
}

fn unknown() -> Expr {
    Expr::constant(Value::Null, Kind::Null)
}

fn new(node: Node, ty: Type) -> Expr {
    Expr { node, ty }
}

impl<'a> Checker<'a> {
    fn new(names: &'a dyn Names, place: Place, element: Option<&'a Element<'a>>) -> Checker<'a> {
        let scopes = RefCell::new(element.map_or(Vec::new(), |element| element.objects.to_vec()));
        Checker {
            names,
            place,
            element,
            given: &[],
            scopes,
            clocks: RefCell::default(),
            found: RefCell::default(),
        }
    }
}

impl Checker<'_> {
    fn schema(&self) -> &Schema {
        self.names.schema()
    }

    fn report(&self, diagnostic: Diagnostic) -> Expr {
        self.found.borrow_mut().push(diagnostic);
        unknown()
    }

    fn describe(&self, ty: &Type) -> String {
        ty.describe(&|ix| self.schema().ty(ix).name.clone())
    }

    /// The expression of a place, which gives values or resources of one type.
    fn whole(&self, expr: &ast::Expr) -> Expr {
        let typed = self.expr(expr);
        self.of_one_type(typed, expr.span)
    }

    /// An expression that may not lead to several types.
    fn of_one_type(&self, typed: Expr, span: Span) -> Expr {
        if matches!(typed.ty.kind, Kind::Among(_)) { self.several(span, &typed.ty) } else { typed }
    }

    fn owner_type(&self) -> TypeIx {
        match self.place {
            Place::Derived(ty) | Place::Lazy(ty) | Place::Query(ty) | Place::Default(ty) => ty,
        }
    }

    fn expr(&self, expr: &ast::Expr) -> Expr {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Error | ExprKind::Null => unknown(),
            ExprKind::Bool(value) => Expr::constant(Value::Bool(*value), Kind::Bool),
            ExprKind::Int(value) => Expr::constant(Value::Int(*value), Kind::Int),
            ExprKind::Number(text) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Expr::constant(Value::Float(value), Kind::Float),
                _ => {
                    self.report(Diagnostic::error("number", span, format!("{text} is too large for a float")))
                }
            },
            ExprKind::Str(text) => Expr::constant(Value::Str(text.clone()), Kind::Str),
            ExprKind::SelfRef => match self.element {
                Some(element) => self.object(element, element.objects.len() - 1),
                None => Expr::owner(self.owner_type()),
            },
            ExprKind::Name(name) => self.bare_name(name, span),
            ExprKind::Parent => self.parent(span),
            ExprKind::Ego => self.ego(span),
            ExprKind::Root => self.report(
                Diagnostic::error("root", span, "`root` must be followed by the name of a root collection")
                    .help("as in `root.employees`"),
            ),
            ExprKind::Field { base, name } if base.kind == ExprKind::Root => self.root(&name.name, name.span),
            ExprKind::Field { base, name } if base.kind == ExprKind::SelfRef => self.own(name),
            ExprKind::Field { base, name } => self.field(self.expr(base), name),
            ExprKind::Filter { base, condition } => self.filter(base, condition),
            ExprKind::Order { base, keys } => self.order(base, keys),
            ExprKind::Index { base, index } => {
                let list = self.of_one_type(self.many(base, "a position"), base.span);
                let ty = Type::one(list.ty.kind.clone());
                new(Node::At(Box::new(list), *index), ty)
            }
            ExprKind::Slice { base, from, to } => {
                let list = self.of_one_type(self.many(base, "a range of positions"), base.span);
                let ty = list.ty.clone();
                new(Node::Slice(Box::new(list), *from, *to), ty)
            }
            ExprKind::Call { name, arguments } => self.call(name, arguments, span),
            ExprKind::Unary { op, operand } => self.unary(*op, operand),
            ExprKind::Binary { op, left, right, op_span } => self.binary(*op, *op_span, left, right),
            ExprKind::Conditional { condition, then, otherwise } => {
                let condition = self.condition(condition);
                let (then_span, otherwise_span) = (then.span, otherwise.span);
                let (then, otherwise) = self.literals(then, otherwise, BinaryOp::Else);
                let ty = self.common(&then.ty, then_span, &otherwise.ty, otherwise_span);
                new(Node::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise)), ty)
            }
            ExprKind::Switch { subject, cases, otherwise } => {
                self.switch(subject, cases, otherwise.as_deref())
            }
            ExprKind::List(items) => {
                let mut kind = Kind::Null;
                let mut typed = Vec::with_capacity(items.len());
                for item in items {
                    let value = self.one(item, "an element of a list");
                    kind = self.common(&Type::one(kind), span, &value.ty, item.span).kind;
                    typed.push(value);
                }
                new(Node::List(typed), Type { kind, many: Many::List })
            }
        }
    }

    /// An expression that must have one value.
    fn one(&self, expr: &ast::Expr, what: &str) -> Expr {
        let typed = self.expr(expr);
        if typed.ty.is_many() {
            let is = self.describe(&typed.ty);
            return self.report(
                Diagnostic::error(
                    "one-value",
                    expr.span,
                    format!("{what} must be one value, and this is {is}"),
                )
                .help("take one of them with first(…), or aggregate them with sum(…), count(…), max(…), …"),
            );
        }
        typed
    }

    /// An expression that must be a list or a set.
    fn many(&self, expr: &ast::Expr, what: &str) -> Expr {
        let typed = self.expr(expr);
        if !typed.ty.is_many() && typed.ty.kind != Kind::Null && typed.ty.kind != Kind::Json {
            let is = self.describe(&typed.ty);
            self.report(
                Diagnostic::error("not-a-list", expr.span, format!("{what} needs a list, and this is {is}"))
                    .help(help::list(&typed.ty)),
            );
            return Expr { node: typed.node, ty: Type { kind: Kind::Null, many: Many::List } };
        }
        typed
    }

    fn condition(&self, expr: &ast::Expr) -> Expr {
        let typed = self.expr(expr);
        if !is_condition(&typed.ty) {
            let is = self.describe(&typed.ty);
            return self.report(not_a_condition(expr.span, &typed.ty, &is));
        }
        typed
    }

    fn bare_name(&self, name: &SmolStr, span: Span) -> Expr {
        let objects = self.element.map_or(self.given.len(), |element| element.objects.len());
        let scope = self.scopes.borrow().get(objects..).and_then(|scopes| scopes.last().cloned());
        let (base, ty) = match (scope, self.place) {
            (Some(item), _) => (new(Node::Item(0), item.clone()), item),
            (None, Place::Query(ty)) => {
                let owner = Expr::owner(ty);
                let ty = owner.ty.clone();
                (owner, ty)
            }
            (None, Place::Derived(owner) | Place::Lazy(owner) | Place::Default(owner)) => {
                if let Some(at) = self.given.iter().position(|(given, _)| given == name) {
                    return self.given_at(at);
                }
                if self.schema().has_root(name) {
                    return self.root(name, span);
                }
                let diagnostic =
                    Diagnostic::error("bare-name", span, format!("`{name}` is not a root collection"));
                let members = self.element.and_then(|element| element.objects.last());
                let members = match members.map(|object| &object.kind) {
                    Some(Kind::Object(members)) => &**members,
                    _ => &[],
                };
                let owner = self.schema().ty(owner);
                let members = members.iter().map(|member| member.name.as_str());
                let candidates = owner.by_name.keys().map(SmolStr::as_str).chain(members);
                return self.report(match nearest(name, candidates) {
                    Some(near) => diagnostic.help(format!("a field of this type is written `self.{near}`")),
                    None => diagnostic,
                });
            }
        };
        let known = match &ty.kind {
            Kind::Resource(ty) => self.lookup(*ty, name).is_some(),
            Kind::Object(members) => members.iter().any(|member| member.name == *name),
            _ => true,
        };
        if !known && self.schema().has_root(name) {
            return self.root(name, span);
        }
        self.field(base, &ast::Ident { name: name.clone(), span })
    }

    fn root(&self, name: &SmolStr, span: Span) -> Expr {
        let all = |ty: &TypeIx| new(Node::All(*ty), Type { kind: Kind::Resource(*ty), many: Many::Set });
        let schema = self.schema();
        match (schema.roots.get(name), schema.abstract_roots.get(name)) {
            (Some(ty), _) => all(ty),
            (None, Some(types)) => either::either(types.iter().map(all).collect()),
            (None, None) => {
                let diagnostic = Diagnostic::error(
                    "unknown-collection",
                    span,
                    format!("there is no root collection `{name}`"),
                );
                self.report(match nearest(name, schema.root_names()) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                })
            }
        }
    }

    /// One of the embedded objects that the expression stands in.
    fn object(&self, element: &Element<'_>, at: usize) -> Expr {
        let depth = self.scopes.borrow().len() - 1 - at;
        new(Node::Item(depth as u32), element.objects[at].clone())
    }

    /// What is given under a name.
    fn given_at(&self, at: usize) -> Expr {
        let depth = self.scopes.borrow().len() - 1 - at;
        new(Node::Item(depth as u32), self.given[at].1.clone())
    }

    /// The resource of who asks, where a rule is told.
    fn ego(&self, span: Span) -> Expr {
        match self.given.iter().position(|(given, _)| given == EGO) {
            Some(at) => self.given_at(at),
            None if self.given.is_empty() => self.report(
                Diagnostic::error("ego", span, "`ego` is the caller, and there is none here")
                    .help("start from `self`"),
            ),
            None => self.report(
                Diagnostic::error("ego", span, "no field of the schema says whose the name of an actor is")
                    .help("give it the option `actor`, as in `login: str unique actor`"),
            ),
        }
    }

    /// A field of `self`; within an embedded object perhaps of what holds it.
    fn own(&self, name: &ast::Ident) -> Expr {
        let owner = Expr::owner(self.owner_type());
        let Some(element) = self.element else { return self.field(owner, name) };
        for at in (0..element.objects.len()).rev() {
            let Kind::Object(members) = &element.objects[at].kind else { continue };
            if members.iter().any(|member| member.name == name.name) {
                return self.field(self.object(element, at), name);
            }
        }
        if element.later.contains(&name.name) {
            let message =
                format!("`{}` follows from others itself, and is declared further below", name.name);
            return self
                .report(Diagnostic::error("member-order", name.span, message).help(
                    "derived members are computed in the order in which they are declared; move it up",
                ));
        }
        if name.name == "_id" || self.lookup(self.owner_type(), &name.name).is_some() {
            return self.field(owner, name);
        }
        let schema = self.schema();
        let objects = element.objects.iter().filter_map(|object| match &object.kind {
            Kind::Object(members) => Some(members.iter().map(|member| member.name.as_str())),
            _ => None,
        });
        let resource = schema.ty(self.owner_type());
        let candidates = objects.flatten().chain(resource.by_name.keys().map(SmolStr::as_str));
        self.unknown_field(&format!("neither the object nor `{}` has a", resource.name), name, candidates)
    }

    fn parent(&self, span: Span) -> Expr {
        if self.element.is_some() {
            return Expr::owner(self.owner_type());
        }
        let owner = self.owner_type();
        let ty = self.schema().ty(owner);
        match ty.parents.as_slice() {
            [slot] => {
                let field = FieldRef { ty: owner, slot: *slot };
                self.get(Expr::owner(owner), field, span)
            }
            [] => self.report(Diagnostic::error(
                "no-parent",
                span,
                format!("a `{}` has no parent: no collection holds it", ty.name),
            )),
            several => {
                let names: Vec<_> =
                    several.iter().map(|slot| format!("`self.{}`", ty.field(*slot).name)).collect();
                self.report(
                    Diagnostic::error("many-parents", span, "several collections may hold it".to_string())
                        .help(format!("say which: {}", names.join(" or "))),
                )
            }
        }
    }

    fn lookup(&self, ty: TypeIx, name: &str) -> Option<Step> {
        let schema = self.schema();
        if let Some((slot, field)) = schema.ty(ty).named(name) {
            let here = FieldRef { ty, slot };
            return Some(match &field.kind {
                FieldKind::Collection { via, .. } => Step::Reverse(*via),
                FieldKind::Inverse { of } => Step::Reverse(*of),
                FieldKind::Among { parts, .. } => {
                    Step::Parts(parts.iter().map(|slot| FieldRef { ty, slot: *slot }).collect())
                }
                FieldKind::Several { parts, .. } => {
                    let parts = parts.iter().map(|slot| FieldRef { ty, slot: *slot });
                    Step::Reverses(parts.filter_map(|part| schema.way_back(part)).collect())
                }
                _ => Step::Get(here),
            });
        }
        let of = schema.ty(ty).referrers.iter().find(|of| reverse_name(schema, **of) == name);
        of.map(|of| Step::Reverse(*of)).or_else(|| {
            let (_, links) = schema.ty(ty).gathered.iter().find(|(gathered, _)| gathered == name)?;
            Some(Step::Reverses(links.clone()))
        })
    }

    /// That objects have no such member.
    fn no_member(&self, members: &Members, name: &ast::Ident) -> Expr {
        if members.union().is_some_and(|union| union.variant(&name.name).is_some()) {
            let message = format!("`{}` is a variant, and no field of the object", name.name);
            let help = "the members of all variants are fields of the object, null where it is of another";
            return self.report(Diagnostic::error("unknown-field", name.span, message).help(help));
        }
        self.unknown_field("the object has no", name, members.iter().map(|member| member.name.as_str()))
    }

    fn field(&self, base: Expr, name: &ast::Ident) -> Expr {
        match &base.ty.kind {
            Kind::Null => unknown(),
            Kind::Among(_) => self.of_each(base, &name.name, name.span, &|part| self.field(part, name)),
            Kind::Json | Kind::Map(_) => {
                let kind = match &base.ty.kind {
                    Kind::Map(of) => Type::of_value(of).kind,
                    _ => Kind::Json,
                };
                let many = base.ty.many;
                new(Node::Member(Box::new(base), name.name.clone()), Type { kind, many })
            }
            Kind::Object(members) => match members.iter().find(|member| member.name == name.name) {
                Some(member) => {
                    let of = Type::of_value(&member.ty);
                    let many = match (base.ty.is_many(), &of.kind) {
                        (true, Kind::Resource(_)) => Many::Set,
                        (true, _) => Many::List,
                        (false, _) => of.many,
                    };
                    new(Node::Member(Box::new(base), name.name.clone()), Type { kind: of.kind, many })
                }
                None => self.no_member(members, name),
            },
            Kind::Resource(_) if name.name == "_id" => {
                let many = if base.ty.is_many() { Many::List } else { Many::One };
                new(Node::IdOf(Box::new(base)), Type { kind: Kind::Str, many })
            }
            Kind::Resource(ty) => match self.lookup(*ty, &name.name) {
                Some(Step::Get(field)) => self.get(base, field, name.span),
                Some(Step::Reverse(of)) => self.reverse(base, of),
                Some(Step::Reverses(links)) => {
                    either::either(links.into_iter().map(|of| self.reverse(base.clone(), of)).collect())
                }
                Some(Step::Parts(parts)) => {
                    let get = |part: FieldRef| self.get(base.clone(), part, name.span);
                    either::either(parts.into_iter().map(get).collect())
                }
                None => {
                    let schema = self.schema();
                    let ty = schema.ty(*ty);
                    let reverse: Vec<String> =
                        ty.referrers.iter().map(|of| reverse_name(schema, *of)).collect();
                    let visible = ty.by_name.keys().map(SmolStr::as_str);
                    let gathered = ty.gathered.iter().map(|(name, _)| name.as_str());
                    let candidates = visible.chain(reverse.iter().map(String::as_str)).chain(gathered);
                    self.unknown_field(&format!("`{}` has no", ty.name), name, candidates)
                }
            },
            _ => {
                let is = self.describe(&base.ty);
                self.report(
                    Diagnostic::error(
                        "no-fields",
                        name.span,
                        format!("`.{}`: {is} has no fields", name.name),
                    )
                    .maybe_help(help::no_fields(&name.name)),
                )
            }
        }
    }

    /// The resources whose field holds the base, or any of many; the children of one parent in their order.
    fn reverse(&self, base: Expr, of: FieldRef) -> Expr {
        let ty = Type { kind: Kind::Resource(of.ty), many: Many::Set };
        let ordered = self.schema().position_of(of).filter(|_| !base.ty.is_many());
        let list = new(Node::Reverse(Box::new(unordered(base)), of), ty);
        match ordered {
            Some(position) => {
                let item = new(Node::Item(0), Type::one(list.ty.kind.clone()));
                let key = new(Node::Get(Box::new(item), position), Type::one(Kind::Str));
                ordered_by(list, vec![(key, false)])
            }
            None => list,
        }
    }

    fn unknown_field<'n>(
        &self,
        of: &str,
        name: &ast::Ident,
        candidates: impl Iterator<Item = &'n str>,
    ) -> Expr {
        let diagnostic = Diagnostic::error("unknown-field", name.span, format!("{of} field `{}`", name.name));
        self.report(diagnostic.maybe_help(help::near(&name.name, candidates)))
    }

    /// A field kept in the document, of one resource or of each of many.
    fn get(&self, base: Expr, field: FieldRef, span: Span) -> Expr {
        let schema = self.schema();
        // What is written is there before what follows from it.
        let within = self.element.is_some_and(|element| element.holder == field);
        let raw = (base.node == Node::Owner && within) || matches!(self.place, Place::Default(_));
        let field = match schema.field(field).extended {
            Some(slot) if !raw => FieldRef { ty: field.ty, slot },
            _ => field,
        };
        let of = match &schema.field(field).kind {
            FieldKind::Stored(ty) => Type::of_value(ty),
            FieldKind::Embedded { target, .. } => Type { kind: Kind::Resource(*target), many: Many::Set },
            FieldKind::Link { target, .. } => Type::one(Kind::Resource(*target)),
            FieldKind::Links { target, .. } => Type { kind: Kind::Resource(*target), many: Many::Set },
            FieldKind::Parent { collection } => Type::one(Kind::Resource(collection.ty)),
            FieldKind::Position { .. } => Type::one(Kind::Str),
            FieldKind::Collection { via: of, .. } | FieldKind::Inverse { of } => {
                Type { kind: Kind::Resource(of.ty), many: Many::Set }
            }
            // What it stands for is asked for part by part.
            FieldKind::Among { .. } | FieldKind::Several { .. } => unknown().ty,
            FieldKind::Derived { .. } | FieldKind::Aggregate { .. } => {
                match self.names.derived_type(field, span) {
                    Some(ty) => ty,
                    None => {
                        // Its own mistake is told where it stands; here the part is simply of unknown kind.
                        return Expr { node: Node::Get(Box::new(base), field), ty: unknown().ty };
                    }
                }
            }
        };
        let many = match (base.ty.is_many(), &of.kind) {
            (true, Kind::Resource(_)) => Many::Set,
            (true, _) => Many::List,
            (false, _) => of.many,
        };
        // Resources are each there once, in the order of their ids.
        let base = if many == Many::Set { unordered(base) } else { base };
        let ty = Type { kind: of.kind, many };
        match self.names.lazy(field) {
            Some(body) if !matches!(self.place, Place::Default(_)) => self.lazy(base, field, body, ty, span),
            _ => new(Node::Get(Box::new(base), field), ty),
        }
    }

    /// A lazy field is read as what its expression says.
    fn lazy(&self, base: Expr, field: FieldRef, body: Expr, ty: Type, span: Span) -> Expr {
        if matches!(self.place, Place::Derived(_)) && time::has_free_clock(&body) {
            let name = &self.schema().field(field).name;
            let message =
                format!("`{name}` is lazy and changes with every moment, and what reads it here is stored");
            let help = "make this one lazy too, or compare the time in it: `self.due < now()`";
            return self.report(Diagnostic::error("lazy-clock", span, message).help(help));
        }
        match base.node {
            Node::Owner => body,
            _ => new(Node::Each(Box::new(base), field, Box::new(body.of_item())), ty),
        }
    }

    fn filter(&self, base: &ast::Expr, condition: &ast::Expr) -> Expr {
        let list = self.many(base, "a filter");
        if matches!(list.ty.kind, Kind::Among(_)) {
            return self.of_each(list, "the list", base.span, &|part| self.filtered(part, condition));
        }
        self.filtered(list, condition)
    }

    /// The elements of a list for which a condition holds.
    fn filtered(&self, list: Expr, condition: &ast::Expr) -> Expr {
        self.scopes.borrow_mut().push(Type::one(list.ty.kind.clone()));
        let condition = self.condition(condition);
        self.scopes.borrow_mut().pop();
        let ty = list.ty.clone();
        match list.node {
            // What is kept of an ordered list is in its order.
            Node::Order(list, keys) => {
                let kept = new(Node::Filter(list, Box::new(condition)), ty);
                ordered_by(kept, keys)
            }
            _ => new(Node::Filter(Box::new(list), Box::new(condition)), ty),
        }
    }

    fn order(&self, base: &ast::Expr, keys: &[ast::OrderKey]) -> Expr {
        let list = self.of_one_type(self.many(base, "`order by`"), base.span);
        self.scopes.borrow_mut().push(Type::one(list.ty.kind.clone()));
        let keys =
            keys.iter().map(|key| (self.one(&key.expr, "a key of an order"), key.descending)).collect();
        self.scopes.borrow_mut().pop();
        ordered_by(list, keys)
    }

    fn call(&self, name: &ast::Ident, arguments: &[ast::Argument], span: Span) -> Expr {
        if let Some(aggregate) = self.aggregate_call(name, arguments, span) {
            return aggregate;
        }
        if let Some(about) = self.about(name, arguments, span) {
            return about;
        }
        if name.name == "js" {
            return self.script(arguments, span).unwrap_or_else(|found| self.report(found));
        }
        if let Some(named) = arguments.iter().find_map(|argument| argument.name.as_ref()) {
            return self.report(Diagnostic::error(
                "named-argument",
                named.span,
                format!("`{}` has no argument named `{}`", name.name, named.name),
            ));
        }
        let count = |wanted: &str| self.wrong_count(name, wanted, arguments.len(), span);
        if let Some(clock) = self.clock(&name.name, arguments, span) {
            return clock;
        }
        let Some(row) = functions::named(&name.name) else {
            let functions = functions::TABLE.iter().map(|row| row.name);
            let all = functions.chain(Aggregate::names()).chain(about::NAMES).chain(["js", "now", "today"]);
            let diagnostic = Diagnostic::error(
                "unknown-function",
                name.span,
                format!("there is no function `{}`", name.name),
            );
            return self.report(diagnostic.maybe_help(help::function(&name.name, all)));
        };
        if matches!(row.function, Function::Months | Function::Years) {
            return self.misplaced_span(row.function, span);
        }
        let most = row.parameters.len();
        let least = most - row.optional;
        if arguments.len() < least || (arguments.len() > most && !row.variadic) {
            return count(&match (least, row.variadic) {
                (1, true) => "at least one argument".into(),
                (least, true) => format!("at least {least} arguments"),
                (1, false) if most == 1 => "one argument".into(),
                (least, false) if least == most => format!("{least} arguments"),
                (least, false) => format!("{least} to {most} arguments"),
            });
        }
        let mut typed = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.iter().enumerate() {
            let parameter = row.parameters[at.min(most - 1)];
            let value = self.expr(&argument.value);
            if !parameter.accepts(&value.ty) {
                let is = self.describe(&value.ty);
                let text = format!("`{}` takes {} here, and this is {is}", name.name, parameter.describe());
                return self.report(
                    Diagnostic::error("argument-type", argument.value.span, text)
                        .maybe_help(help::argument(parameter, &value.ty)),
                );
            }
            typed.push(value);
        }
        if row.function == Function::Truncate
            && let Some(mistake) = self.check_unit(arguments, &typed[0].ty)
        {
            return mistake;
        }
        if let Some(known) = self.text_call(row.function, arguments, &typed) {
            return known;
        }
        let ty = match (&row.returns, row.function) {
            (Returns::Same, Function::Coalesce) => {
                let mut ty = Type::one(Kind::Null);
                for (value, argument) in typed.iter().zip(arguments) {
                    ty = self.common(&ty, span, &value.ty, argument.value.span);
                }
                ty
            }
            (Returns::Same, _) => Type::one(typed[0].ty.kind.clone()),
            (Returns::Kind(kind), _) => Type::one(kind.clone()),
            (Returns::List(kind), _) => Type { kind: kind.clone(), many: Many::List },
        };
        new(Node::Call(row.function, typed), ty)
    }
}

/// A list in an order, which is no set any more: whoever reads it, from a field too, has it in that order. Of a list that has
/// an order already, what the new one leaves open stays as it was.
fn ordered_by(list: Expr, mut keys: Vec<(Expr, bool)>) -> Expr {
    let ty = Type { many: Many::List, ..list.ty.clone() };
    match list.node {
        Node::Order(list, old) => {
            keys.extend(old);
            new(Node::Order(list, keys), ty)
        }
        _ => new(Node::Order(Box::new(list), keys), ty),
    }
}

/// A list whose order does not matter.
fn unordered(list: Expr) -> Expr {
    let ty = list.ty.clone();
    match list.node {
        Node::Order(list, _) => *list,
        // The values of an ordered list of resources.
        Node::Get(base, field) => new(Node::Get(Box::new(unordered(*base)), field), ty),
        Node::Member(base, name) => new(Node::Member(Box::new(unordered(*base)), name), ty),
        Node::IdOf(base) => new(Node::IdOf(Box::new(unordered(*base))), ty),
        Node::Filter(base, condition) => new(Node::Filter(Box::new(unordered(*base)), condition), ty),
        Node::Either(parts) => new(Node::Either(parts.into_iter().map(unordered).collect()), ty),
        Node::Each(base, field, body) => new(Node::Each(Box::new(unordered(*base)), field, body), ty),
        _ => list,
    }
}

enum Step {
    Get(FieldRef),
    Reverse(FieldRef),
    /// The links by which resources of several types lead here.
    Reverses(Vec<FieldRef>),
    /// The hidden links of a link to one of several types.
    Parts(Vec<FieldRef>),
}
