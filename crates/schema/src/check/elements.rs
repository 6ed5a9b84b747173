//! The derived members of embedded objects.
//!
//! A stored field whose objects have derived members keeps them as they were written. Beside it stands a hidden derived
//! field with the same objects extended by those members, in the order in which they are declared: that is what is
//! read. Here its expression is made, an [`Node::Extend`] for the objects of each level. What a variant of a union derives is
//! computed of its objects alone, and of the others null.

use corollary_syntax::ast::{self, FieldKindText, TypeExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_value::Value;
use smol_str::SmolStr;

use super::derive::Draft;
use super::values::has_derived_members;
use crate::expr::{Element, check_member};
use crate::members::{Member, Members};
use crate::model::{FieldKind, FieldRef, Rules, ValueType};
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
        let mut steps: Vec<(SmolStr, Expr)> = Vec::new();
        for form in forms_of(text) {
            self.derive(level, &mut members, &form, path, &mut steps, found);
        }
        let kind = match &base.ty.kind {
            Kind::Map(of) => Kind::Map(Box::new(with_members((**of).clone(), members))),
            _ => Kind::Object(members),
        };
        let ty = Type { kind, many: base.ty.many };
        Expr { node: Node::Extend(Box::new(base), steps), ty }
    }

    /// Adds to `members` what objects of a form derive, and to `steps` how.
    fn derive(
        &self,
        level: &mut Level<'_>,
        members: &mut Members,
        form: &Form<'_>,
        path: &str,
        steps: &mut Vec<(SmolStr, Expr)>,
        found: &mut Vec<Diagnostic>,
    ) {
        let object = |members: &Members| Type::one(Kind::Object(members.within(form.name())));
        let around = level.later.len();
        let derived = |field: &&ast::FieldText| matches!(field.kind, FieldKindText::Derived(_));
        level.later.extend(form.fields.iter().filter(derived).map(|field| field.name.name.clone()));
        // The objects within come first: what is derived here may read them as they are shown.
        for field in form.fields {
            let FieldKindText::Stored(of) = &field.kind else { continue };
            let Some(at) = members.iter().position(|member| member.name == field.name.name) else { continue };
            if !has_derived_members(of) {
                continue;
            }
            let object = object(members);
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
        for field in form.fields {
            let FieldKindText::Derived(source) = &field.kind else { continue };
            let name = &field.name.name;
            let before = steps.iter().find(|(step, _)| step == name).map(|(_, before)| before.ty.clone());
            // A member of the name that is no other variant's was told of.
            if members.named(name).is_some() && (before.is_none() || form.variant.is_none()) {
                continue;
            }
            level.objects.push(object(members));
            let element =
                Element { holder: level.holder, objects: level.objects.as_slice(), later: level.later };
            let (expr, mut problems) = check_member(self, &element, source);
            level.objects.pop();
            if problems.is_empty() && expr.ty.kind == Kind::Null {
                problems.push(Diagnostic::error("always-null", source.span, "this is always null"));
            }
            let other = before.as_ref().filter(|before| **before != expr.ty);
            if let (true, Some(other)) = (problems.is_empty(), other) {
                let described = |ty: &Type| ty.describe(&|ty| self.schema.ty(ty).name.clone());
                let (there, here) = (described(other), described(&expr.ty));
                let message =
                    format!("`{name}` follows in another variant too, and is {there} there, {here} here");
                let help = "members of one name have one type; give one of them another name";
                problems.push(Diagnostic::error("variant-member", source.span, message).help(help));
            }
            found.append(&mut problems);
            let mut ty = expr.ty.stored();
            let path = format!("{path}.{name}");
            if ty.via().is_some() {
                self.embed(&mut ty, level.home, &path);
            } else {
                ty.for_links(&path, &mut |path, member| self.embed(&mut member.ty, level.home, path));
            }
            let member = Member { name: name.clone(), ty, rules: Rules::default(), derived: true };
            members.add(form.name(), member);
            level.later.retain(|later| later != name);
            // A step for each variant that has it: what comes before it in one may come behind it in the other.
            steps.push((name.clone(), form.only(object(members), name, expr, before.is_some())));
        }
        level.later.truncate(around);
    }
}

/// What the objects of a type may have: all of them, or those of one variant of a union.
struct Form<'t> {
    /// Of the objects of a union: what the discriminator is then.
    variant: Option<(&'t SmolStr, &'t SmolStr)>,
    fields: &'t [ast::FieldText],
}

impl Form<'_> {
    fn name(&self) -> Option<&str> {
        self.variant.map(|(_, name)| name.as_str())
    }

    /// A member of the innermost item, an object, where that is of this form; of others what they have by that name, if
    /// `others` have it at all.
    fn only(&self, object: Type, name: &SmolStr, value: Expr, others: bool) -> Expr {
        let Some((discriminator, variant)) = self.variant else { return value };
        let member = |name: &SmolStr, ty: Type| {
            let item = Expr { node: Node::Item(0), ty: object.clone() };
            Box::new(Expr { node: Node::Member(Box::new(item), name.clone()), ty })
        };
        let ty = value.ty.clone();
        let case = (Expr::constant(Value::Str(variant.clone()), Kind::Str), value);
        let otherwise = others.then(|| member(name, ty.clone()));
        let subject = member(discriminator, Type::one(Kind::Str));
        Expr { node: Node::Switch(subject, vec![case], otherwise), ty }
    }
}

/// The forms of the objects in values of a type.
fn forms_of(text: &ast::TypeExpr) -> Vec<Form<'_>> {
    match &text.kind {
        TypeExprKind::Object(fields) => vec![Form { variant: None, fields }],
        TypeExprKind::Union(union) => {
            let forms = union.variants.iter().filter_map(|variant| {
                let FieldKindText::Stored(ast::TypeExpr { kind: TypeExprKind::Object(fields), .. }) =
                    &variant.kind
                else {
                    return None;
                };
                Some(Form { variant: Some((&union.discriminator.name, &variant.name.name)), fields })
            });
            forms.collect()
        }
        TypeExprKind::List(of) | TypeExprKind::Set(of) | TypeExprKind::Map(of) => forms_of(of),
        TypeExprKind::Name(_) | TypeExprKind::Enum(_) => Vec::new(),
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
fn with_members(ty: ValueType, members: Members) -> ValueType {
    let inside = |of: Box<ValueType>| Box::new(with_members(*of, members.clone()));
    match ty {
        ValueType::List(of) => ValueType::List(inside(of)),
        ValueType::Set(of) => ValueType::Set(inside(of)),
        ValueType::Map(of) => ValueType::Map(inside(of)),
        ValueType::Object(_) => ValueType::Object(members),
        ty => ty,
    }
}
