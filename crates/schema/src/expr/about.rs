//! What is known of a resource beside its fields: `id(x)`, `type(x)`, `path(x)` and `url(x)`.
//!
//! Each is written out in terms of what expressions have already, so the plan finds what they read like anything else: a
//! path is made of the names of collections, and of the ids (or what `path NAME` has for them) along the links to the parents.
//! Of a type that can be above itself it is a hidden derived field, which follows from that of the parent.

use corollary_syntax::ast::{self, BinaryOp};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use corollary_value::Value;

use super::{Checker, Names, Place, new, unknown};
use crate::functions::Function;
use crate::model::{FieldKind, FieldRef, Schema, TypeIx};
use crate::names::PATH_PREFIX;
use crate::typed::{Expr, Kind, Node, Type};

/// The names of these functions.
pub const NAMES: [&str; 4] = ["id", "type", "path", "url"];

/// The expression of the hidden field with the canonical path of each resource of a type that can be above itself.
pub fn check_path(names: &dyn Names, ty: TypeIx) -> (Expr, Vec<Diagnostic>) {
    let checker = Checker::new(names, Place::Derived(ty), None);
    (checker.written_out(Expr::owner(ty), ty, Span::default()), checker.found.into_inner())
}

/// Can a resource of a type be a parent, at any distance, of others of the type?
fn is_above_itself(schema: &Schema, ty: TypeIx) -> bool {
    let mut above = Vec::new();
    let mut next = vec![ty];
    while let Some(of) = next.pop() {
        let of = schema.ty(of);
        for slot in &of.parents {
            let FieldKind::Parent { collection } = of.field(*slot).kind else { continue };
            if collection.ty == ty {
                return true;
            }
            if !above.contains(&collection.ty) {
                above.push(collection.ty);
                next.push(collection.ty);
            }
        }
    }
    false
}

impl Checker<'_> {
    /// A call of one of these functions; none where the name is another.
    pub(super) fn about(&self, name: &ast::Ident, arguments: &[ast::Argument], span: Span) -> Option<Expr> {
        if !NAMES.contains(&name.name.as_str()) {
            return None;
        }
        let [argument] = arguments else {
            return Some(self.wrong_count(name, "one argument", arguments.len(), span));
        };
        if let Some(named) = &argument.name {
            let text = format!("`{}` has no argument named `{}`", name.name, named.name);
            return Some(self.report(Diagnostic::error("named-argument", named.span, text)));
        }
        let of = self.one(&argument.value, "a resource");
        if matches!(of.ty.kind, Kind::Among(_)) {
            return Some(self.of_each(of, &name.name, span, &|part| match part.ty.resource() {
                Some(ty) => self.about_one(&name.name, part, ty, span),
                None => unknown(),
            }));
        }
        let Kind::Resource(ty) = of.ty.kind else {
            if of.ty.kind != Kind::Null {
                let is = self.describe(&of.ty);
                let text = format!("`{}` takes a resource here, and this is {is}", name.name);
                return Some(self.report(Diagnostic::error("argument-type", argument.value.span, text)));
            }
            return Some(of);
        };
        Some(self.about_one(&name.name, of, ty, span))
    }

    fn about_one(&self, name: &str, of: Expr, ty: TypeIx, span: Span) -> Expr {
        match name {
            "id" => id(of),
            "type" => if_there(of, text(&self.schema().ty(ty).name)),
            "url" => self.url(of, ty, span),
            _ => self.path(of, ty, span),
        }
    }

    /// The canonical path of a resource. Where the type can be above itself there is no end to what would have to be
    /// written out: each resource keeps its own path then, in a hidden field that follows from that of its parent.
    fn path(&self, of: Expr, ty: TypeIx, span: Span) -> Expr {
        if !is_above_itself(self.schema(), ty) {
            return self.written_out(of, ty, span);
        }
        match self.names.path_field(ty) {
            Some(field) => new(Node::Get(Box::new(of), field), Type::one(Kind::Str)),
            None => {
                let message = format!(
                    "the path of a `{}` runs through any number of others, and this schema does not keep it",
                    self.schema().ty(ty).name
                );
                let help = "a derived field with `path(self)` in the type keeps it";
                self.report(Diagnostic::error("endless-path", span, message).help(help))
            }
        }
    }

    /// What the type option `url` gives of a resource.
    fn url(&self, of: Expr, ty: TypeIx, span: Span) -> Expr {
        let resource = self.schema().ty(ty);
        match resource.url {
            Some(slot) => self.get(of, FieldRef { ty, slot }, span),
            None => {
                let message = format!("`{}` has no url", resource.name);
                let help = format!(
                    "declare one, as in `type {} url := '/somewhere/' + self._id`; `path(…)` is there for every type",
                    resource.name
                );
                self.report(Diagnostic::error("no-url", span, message).help(help))
            }
        }
    }

    /// The canonical path of a resource: the collections and what stands for each resource, down from the root.
    fn written_out(&self, of: Expr, ty: TypeIx, span: Span) -> Expr {
        let schema = self.schema();
        let resource = schema.ty(ty);
        let mut whole = match &resource.root {
            Some(root) => concat(vec![text(&format!("{PATH_PREFIX}/{root}/")), self.segment(of.clone(), ty)]),
            None => Expr::constant(Value::Null, Kind::Str),
        };
        for slot in resource.parents.iter().rev() {
            let FieldKind::Parent { collection } = resource.field(*slot).kind else { continue };
            let link = FieldRef { ty, slot: *slot };
            let parent = Node::Get(Box::new(of.clone()), link);
            let parent = new(parent, Type::one(Kind::Resource(collection.ty)));
            let above = self.path(parent.clone(), collection.ty, span);
            let name = text(&format!("/{}/", schema.field(collection).label()));
            let below_it = concat(vec![above, name, self.segment(of.clone(), ty)]);
            let node = Node::Conditional(Box::new(is_null(parent)), Box::new(whole), Box::new(below_it));
            whole = new(node, Type::one(Kind::Str));
        }
        whole
    }

    /// What stands for a resource in its path: the field of `path NAME`, or the id where it has none.
    fn segment(&self, of: Expr, ty: TypeIx) -> Expr {
        let Some(slot) = self.schema().ty(ty).path else { return id(of) };
        let name = Node::Get(Box::new(of.clone()), FieldRef { ty, slot });
        let name = new(name, Type::one(Kind::Str));
        let segment = new(Node::Call(Function::Segment, vec![name.clone()]), Type::one(Kind::Str));
        // A resource that was there before the field was required may lack it.
        let node = Node::Conditional(Box::new(is_null(name)), Box::new(id(of)), Box::new(segment));
        new(node, Type::one(Kind::Str))
    }
}

fn text(text: &str) -> Expr {
    Expr::constant(Value::Str(text.into()), Kind::Str)
}

fn id(of: Expr) -> Expr {
    new(Node::IdOf(Box::new(of)), Type::one(Kind::Str))
}

fn concat(parts: Vec<Expr>) -> Expr {
    new(Node::Call(Function::Concat, parts), Type::one(Kind::Str))
}

fn is_null(of: Expr) -> Expr {
    let null = Expr::constant(Value::Null, Kind::Null);
    new(Node::Binary(BinaryOp::Equal, Box::new(of), Box::new(null)), Type::one(Kind::Bool))
}

/// A value where there is a resource, and null where there is none.
fn if_there(of: Expr, value: Expr) -> Expr {
    let (ty, null) = (value.ty.clone(), Expr::constant(Value::Null, Kind::Str));
    new(Node::Conditional(Box::new(is_null(of)), Box::new(null), Box::new(value)), ty)
}
