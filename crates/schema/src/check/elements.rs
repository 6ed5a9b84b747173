//! The derived members of embedded objects.
//!
//! A stored field whose objects have derived members keeps them as they were written. Beside it stands a hidden derived
//! field with the same objects extended by those members, in the order in which they are declared: that is what is
//! read. Here its expression is made, an [`Node::Extend`] for the objects of each level.

use corollary_syntax::ast::{self, FieldKindText, TypeExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use smol_str::SmolStr;

use super::declare::has_derived_members;
use super::derive::Draft;
use crate::expr::{Element, check_member};
use crate::model::{FieldKind, FieldRef, Member, Rules, ValueType};
use crate::typed::{Expr, Kind, Node, Type};

/// One extension: where it is kept, and what stands around it.
struct Level<'a> {
    /// The hidden field.
    home: FieldRef,
    /// The field with the objects as they were written.
    holder: FieldRef,
    /// The objects around, the innermost last.
    objects: &'a mut Vec<Type>,
    /// Derived members of objects around that are not computed yet.
    later: &'a mut Vec<SmolStr>,
}

impl Draft<'_, '_> {
    /// The objects of a field with their derived members.
    pub(super) fn extended(
        &self,
        home: FieldRef,
        holder: FieldRef,
        text: &ast::TypeExpr,
    ) -> (Expr, Vec<Diagnostic>) {
        let mut found = Vec::new();
        let base = match &self.schema.field(holder).kind {
            FieldKind::Stored(ty) => {
                let node = Node::Get(Box::new(Expr::owner(holder.ty)), holder);
                Expr { node, ty: Type::of_value(ty) }
            }
            _ => return (Expr::constant(Default::default(), Kind::Null), found),
        };
        let (mut objects, mut later) = (Vec::new(), Vec::new());
        let mut level = Level { home, holder, objects: &mut objects, later: &mut later };
        let path = self.schema.field(holder).name.clone();
        let expr = self.extend(&mut level, base, text, &path, &mut found);
        (expr, found)
    }

    /// Extends the objects that `base` yields, which are of the type that `text` says.
    fn extend(
        &self,
        level: &mut Level<'_>,
        base: Expr,
        text: &ast::TypeExpr,
        path: &str,
        found: &mut Vec<Diagnostic>,
    ) -> Expr {
        let mut members = match &base.ty.kind {
            Kind::Object(members) => members.clone(),
            Kind::Map(of) => match innermost(of) {
                ValueType::Object(members) => members.clone(),
                _ => return base,
            },
            _ => return base,
        };
        let fields = fields_of(text);
        let mut steps: Vec<(SmolStr, Expr)> = Vec::new();
        let around = level.later.len();
        let derived = |field: &ast::FieldText| matches!(field.kind, FieldKindText::Derived(_));
        level.later.extend(fields.iter().filter(|field| derived(field)).map(|field| field.name.name.clone()));
        // The objects within come first: what is derived here may read them as they are shown.
        for field in fields {
            let FieldKindText::Stored(of) = &field.kind else { continue };
            let Some(at) = members.iter().position(|member| member.name == field.name.name) else { continue };
            if !has_derived_members(of) {
                continue;
            }
            let object = Type::one(Kind::Object(members.clone()));
            let item = Expr { node: Node::Item(0), ty: object.clone() };
            let node = Node::Member(Box::new(item), field.name.name.clone());
            let inner = Expr { node, ty: Type::of_value(&members[at].ty) };
            level.objects.push(object);
            let path = format!("{path}.{}", field.name.name);
            let extended = self.extend(level, inner, of, &path, found);
            level.objects.pop();
            members[at].ty = extended.ty.stored();
            steps.push((field.name.name.clone(), extended));
        }
        for field in fields {
            let FieldKindText::Derived(source) = &field.kind else { continue };
            let name = &field.name.name;
            if members.iter().any(|member| member.name == *name) {
                continue;
            }
            level.objects.push(Type::one(Kind::Object(members.clone())));
            let element =
                Element { holder: level.holder, objects: level.objects.as_slice(), later: level.later };
            let (expr, mut problems) = check_member(self, &element, source);
            level.objects.pop();
            if problems.is_empty() && expr.ty.kind == Kind::Null {
                problems.push(Diagnostic::error("always-null", source.span, "this is always null"));
            }
            found.append(&mut problems);
            let mut ty = expr.ty.stored();
            let path = format!("{path}.{name}");
            if ty.via().is_some() {
                self.embed(&mut ty, level.home, &path);
            } else {
                ty.for_links(&path, &mut |path, member| self.embed(&mut member.ty, level.home, path));
            }
            members.push(Member { name: name.clone(), ty, rules: Rules::default(), derived: true });
            level.later.retain(|later| later != name);
            steps.push((name.clone(), expr));
        }
        level.later.truncate(around);
        let kind = match &base.ty.kind {
            Kind::Map(of) => Kind::Map(Box::new(with_members((**of).clone(), members))),
            _ => Kind::Object(members),
        };
        let ty = Type { kind, many: base.ty.many };
        Expr { node: Node::Extend(Box::new(base), steps), ty }
    }
}

/// The members of the objects in values of a type.
fn fields_of(text: &ast::TypeExpr) -> &[ast::FieldText] {
    match &text.kind {
        TypeExprKind::Object(fields) => fields,
        TypeExprKind::List(of) | TypeExprKind::Set(of) | TypeExprKind::Map(of) => fields_of(of),
        _ => &[],
    }
}

/// What the lists and maps of a type hold in the end.
fn innermost(ty: &ValueType) -> &ValueType {
    match ty {
        ValueType::List(of) | ValueType::Set(of) | ValueType::Map(of) => innermost(of),
        ty => ty,
    }
}

/// The type with other members in its objects.
fn with_members(ty: ValueType, members: Vec<Member>) -> ValueType {
    let inside = |of: Box<ValueType>| Box::new(with_members(*of, members.clone()));
    match ty {
        ValueType::List(of) => ValueType::List(inside(of)),
        ValueType::Set(of) => ValueType::Set(inside(of)),
        ValueType::Map(of) => ValueType::Map(inside(of)),
        ValueType::Object(_) => ValueType::Object(members),
        ty => ty,
    }
}
