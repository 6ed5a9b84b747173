//! The types of stored values: basic ones, enums, lists, objects, and unions of objects.
//!
//! A union becomes an object with the members of all its variants ([`Members`]); what is checked here is what makes that
//! possible: each variant is an object, and members of one name are of one type.

use corollary_syntax::ast::{self, FieldKindText, TypeExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;

use super::declare::resolve_type;
use super::options::{Context, read_options};
use crate::members::{Member, Members, Variant};
use crate::model::{FieldRef, OnDelete, Schema, Slot, ValueType};
use crate::typed::Type;

/// The names of the basic types.
pub(super) const BASIC: [&str; 12] = [
    "str", "int", "float", "bool", "decimal", "datetime", "date", "duration", "uuid", "bytes", "json", "file",
];

/// The type of a field that is stored: that of a value, or a file.
pub(super) fn field_type(
    schema: &Schema,
    text: &ast::TypeExpr,
    found: &mut Vec<Diagnostic>,
) -> Option<ValueType> {
    match &text.kind {
        TypeExprKind::Name(name) if name == "file" => Some(ValueType::Object(Members::of_file())),
        _ => value_type(schema, text, found),
    }
}

/// The type of a stored value; none, with a diagnostic, where there is no such type.
pub(super) fn value_type(
    schema: &Schema,
    text: &ast::TypeExpr,
    found: &mut Vec<Diagnostic>,
) -> Option<ValueType> {
    Some(match &text.kind {
        TypeExprKind::Name(name) => match name.as_str() {
            "str" => ValueType::Str,
            "int" => ValueType::Int,
            "float" => ValueType::Float,
            "bool" => ValueType::Bool,
            "decimal" => ValueType::Decimal,
            "datetime" => ValueType::Datetime,
            "date" => ValueType::Date,
            "duration" => ValueType::Duration,
            "uuid" => ValueType::Uuid,
            "bytes" => ValueType::Bytes,
            "json" => ValueType::Json,
            "file" => {
                let message = "a file is a field of a type, and no part of a value";
                let help = "give what has the file a type of its own, in a `collection`";
                found.push(Diagnostic::error("file-place", text.span, message).help(help));
                return None;
            }
            other => {
                let diagnostic =
                    Diagnostic::error("unknown-type", text.span, format!("there is no value type `{other}`"));
                found.push(match nearest(other, BASIC) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic.help(format!(
                        "a reference to a resource is written `link {other}`; the value types are {}",
                        BASIC.join(", ")
                    )),
                });
                return None;
            }
        },
        TypeExprKind::Enum(words) => {
            for (at, word) in words.iter().enumerate() {
                if words[..at].iter().any(|other| other.name == word.name) {
                    let message = format!("\"{}\" stands twice in the enum", word.name);
                    found.push(Diagnostic::error("duplicate-word", word.span, message));
                }
            }
            ValueType::Enum(words.iter().map(|word| word.name.clone()).collect())
        }
        TypeExprKind::List(of) => ValueType::List(Box::new(value_type(schema, of, found)?)),
        TypeExprKind::Set(of) => ValueType::Set(Box::new(value_type(schema, of, found)?)),
        TypeExprKind::Map(of) => ValueType::Map(Box::new(value_type(schema, of, found)?)),
        TypeExprKind::Object(fields) => ValueType::Object(members(schema, fields, found).into()),
        TypeExprKind::Union(text) => ValueType::Object(union(schema, text, found)?),
    })
}

/// The members of an object that are stored.
fn members(schema: &Schema, fields: &[ast::FieldText], found: &mut Vec<Diagnostic>) -> Vec<Member> {
    let mut members = Vec::with_capacity(fields.len());
    for (at, field) in fields.iter().enumerate() {
        if fields[..at].iter().any(|other| other.name.name == field.name.name) {
            let message = format!("the object has two members `{}`", field.name.name);
            found.push(Diagnostic::error("duplicate-field", field.name.span, message));
            continue;
        }
        members.extend(member(schema, field, found));
    }
    members
}

/// A member of an object, where it is stored.
fn member(schema: &Schema, field: &ast::FieldText, found: &mut Vec<Diagnostic>) -> Option<Member> {
    let (ty, context) = match &field.kind {
        FieldKindText::Stored(of) => {
            let ty = value_type(schema, of, found)?;
            (ty.clone(), Context::Member(ty))
        }
        // That it leads to one type was seen to with the abstract types.
        FieldKindText::Link(targets) => {
            let [target] = targets.as_slice() else { return None };
            let target = resolve_type(schema, target, found)?;
            // The field that has its targets is made when all declared ones are known.
            let via = FieldRef { ty: target, slot: Slot(u32::MAX) };
            (ValueType::Link { target, on_delete: OnDelete::Unlink, via }, Context::MemberLink)
        }
        // It is no part of what is stored.
        FieldKindText::Derived(_) => {
            read_options(&field.options, &Context::DerivedMember, found);
            return None;
        }
        _ => {
            let message = "an embedded object holds values, links, and what follows from them";
            let help = "several links, collections and inverses belong to a type";
            found.push(Diagnostic::error("object-member", field.span, message).help(help));
            return None;
        }
    };
    let options = read_options(&field.options, &context, found);
    let mut member = Member { name: field.name.name.clone(), ty, rules: options.rules, derived: false };
    if let ValueType::Link { on_delete, .. } = &mut member.ty {
        *on_delete = match options.on_delete {
            // What must be there cannot be taken away.
            OnDelete::Unlink if member.rules.required => OnDelete::Restrict,
            rule => rule,
        };
    }
    Some(member)
}

/// The members of a union; none where it has no variants, which is told.
fn union(schema: &Schema, text: &ast::UnionText, found: &mut Vec<Diagnostic>) -> Option<Members> {
    let mut variants: Vec<(Variant, &[ast::FieldText])> = Vec::with_capacity(text.variants.len());
    for field in &text.variants {
        let name = &field.name;
        if variants.iter().any(|(other, _)| other.name == name.name) {
            let message = format!("the union has two variants `{}`", name.name);
            found.push(Diagnostic::error("duplicate-field", name.span, message));
            continue;
        }
        let fields = match &field.kind {
            FieldKindText::Stored(ast::TypeExpr { kind: TypeExprKind::Object(fields), .. }) => fields,
            _ => {
                let message = format!("`{}` is a variant of a union, and a variant is an object", name.name);
                let help = format!("write `{}: {{ … }}` with the members that it has", name.name);
                found.push(Diagnostic::error("variant", field.span, message).help(help));
                continue;
            }
        };
        let description = read_options(&field.options, &Context::Variant, found).rules.description;
        variants.push((Variant { name: name.name.clone(), description, members: Vec::new() }, fields));
    }
    if variants.is_empty() {
        // Of variants that are none it was told.
        if text.variants.is_empty() {
            let help =
                "write `card: { number: str }, cash: {}`: each variant has a name, and members or none";
            let message = "a union has at least one variant";
            found.push(Diagnostic::error("variant", text.braces, message).help(help));
        }
        return None;
    }
    let discriminator = &text.discriminator.name;
    let mut members = Members::union_of(
        discriminator.clone(),
        variants.iter().map(|(variant, _)| variant.clone()).collect(),
    );
    for (at, (variant, fields)) in variants.iter().enumerate() {
        for (position, field) in fields.iter().enumerate() {
            let name = &field.name;
            if name.name == *discriminator {
                let message = format!("`{discriminator}` says which variant an object is");
                let help = "give the member another name, or the discriminator";
                found.push(Diagnostic::error("duplicate-field", name.span, message).help(help));
                continue;
            }
            if fields[..position].iter().any(|other| other.name.name == name.name) {
                let message = format!("the object has two members `{}`", name.name);
                found.push(Diagnostic::error("duplicate-field", name.span, message));
                continue;
            }
            let member = member(schema, field, found);
            let others = variants[..at].iter().flat_map(|(variant, fields)| {
                fields.iter().filter(|other| other.name.name == name.name).map(move |other| (variant, other))
            });
            for (other, declared) in others.take(1) {
                if let Some(why) = differ(schema, &members, member.as_ref(), (declared, field)) {
                    let message =
                        format!("`{}` is a member of the variant `{}` too, {why}", name.name, other.name);
                    let help = "members of one name have one type; give one of them another name";
                    found.push(Diagnostic::error("variant-member", field.span, message).help(help));
                }
            }
            if let Some(member) = member {
                members.add(Some(&variant.name), member);
            }
        }
    }
    Some(members)
}

/// Why two members of one name, in two variants, cannot be one; `members` has the first of them, where it is stored.
fn differ(
    schema: &Schema,
    members: &Members,
    member: Option<&Member>,
    (one, other): (&ast::FieldText, &ast::FieldText),
) -> Option<String> {
    let derived = |field: &ast::FieldText| matches!(field.kind, FieldKindText::Derived(_));
    match (derived(one), derived(other)) {
        (true, true) => return None,
        (true, false) => return Some("and follows from others there".into()),
        (false, true) => return Some("and is stored there".into()),
        (false, false) => {}
    }
    let (there, here) = (&members.named(&one.name.name)?.ty, &member?.ty);
    if follows(one) || follows(other) {
        return Some("and has members that follow from others".into());
    }
    if there == here {
        return None;
    }
    let described = |ty: &ValueType| Type::of_value(ty).describe(&|ty| schema.ty(ty).name.clone());
    Some(match (there, here) {
        (ValueType::Link { target, .. }, ValueType::Link { target: other, .. }) if target == other => {
            "and another rule says there what happens when what it leads to is deleted".into()
        }
        _ if described(there) != described(here) => {
            format!("of the type {} there, and {} here", described(there), described(here))
        }
        _ => "with other members or other options in it".into(),
    })
}

/// Does a member of an object follow from others, or has it members that do?
fn follows(field: &ast::FieldText) -> bool {
    match &field.kind {
        FieldKindText::Derived(_) => true,
        FieldKindText::Stored(of) => has_derived_members(of),
        _ => false,
    }
}

/// Has any object in values of a type members that follow from others?
pub fn has_derived_members(text: &ast::TypeExpr) -> bool {
    match &text.kind {
        TypeExprKind::Object(fields) => fields.iter().any(follows),
        TypeExprKind::Union(union) => union.variants.iter().any(follows),
        TypeExprKind::List(of) | TypeExprKind::Set(of) | TypeExprKind::Map(of) => has_derived_members(of),
        _ => false,
    }
}
