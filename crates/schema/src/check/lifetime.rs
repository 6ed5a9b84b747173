//! The type options about the life of a resource: `created_at`, `updated_at`, `expires after DURATION`, `history`.
//!
//! The first two are fields that the engine keeps: facts like others for whoever reads, and nobody writes them. What
//! expires counts from its creation, so `expires after` brings `created_at` along. A link that may forbid a deletion does
//! not go with it: nobody would be there to be told. `history` gives the type a number under which its versions are kept.

use corollary_syntax::ast::{self, ExprKind, OptionArgument, OptionText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use corollary_value::Value;

use crate::functions::Function;
use crate::ids::Ids;
use crate::model::{Field, FieldKind, FieldRef, Kept, OnDelete, Rules, Schema, Slot, TypeIx, ValueType};
use crate::typed::{Expr, Kind, Node, Type};

/// The spans that `expires after` takes.
const SPANS: [Function; 7] = [
    Function::Seconds,
    Function::Minutes,
    Function::Hours,
    Function::Days,
    Function::Weeks,
    Function::Months,
    Function::Years,
];

/// Is it one of the options read here?
fn reads(option: &OptionText) -> bool {
    matches!(option.name.as_str(), "created_at" | "updated_at" | "expires after" | "history")
}

/// Gives a type the fields, and the end, that its options ask for. Its own fields are there already.
pub fn declare(
    schema: &mut Schema,
    ty: TypeIx,
    text: &ast::TypeText,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) {
    for (at, option) in text.options.iter().enumerate().filter(|(_, option)| reads(option)) {
        if text.options[..at].iter().any(|other| other.name == option.name) {
            let message = format!("`{}` stands twice", option.name);
            found.push(Diagnostic::error("duplicate-option", option.span, message));
            return;
        }
    }
    let option = |name: &str| text.options.iter().find(|option| option.name == name);
    let expires = option("expires after");
    let created = match option("created_at").or(expires) {
        Some(option) => keep(schema, ty, ("created_at", Kept::Created), option.span, ids, found),
        None => None,
    };
    if let Some(option) = option("updated_at") {
        keep(schema, ty, ("updated_at", Kept::Updated), option.span, ids, found);
    }
    if option("history").is_some() {
        let owner = &mut schema.types[ty.0 as usize];
        owner.history = Some(ids.history(owner.id));
    }
    if let (Some(option), Some(created)) = (expires, created) {
        match end(option, created) {
            Ok(end) => schema.types[ty.0 as usize].expires = Some(end),
            Err(mistake) => found.push(mistake),
        }
    }
}

fn keep(
    schema: &mut Schema,
    ty: TypeIx,
    (name, kept): (&str, Kept),
    span: Span,
    ids: &mut Ids,
    found: &mut Vec<Diagnostic>,
) -> Option<FieldRef> {
    let owner = schema.ty(ty);
    if owner.by_name.contains_key(name) {
        let message = format!("`{}` declares a field `{name}`, and this option gives it one", owner.name);
        found.push(Diagnostic::error("duplicate-field", span, message).help("leave one of the two out"));
        return None;
    }
    let field = Field {
        id: ids.field_id(&owner.name, &format!("{name} kept")),
        name: name.into(),
        kind: FieldKind::Stored(ValueType::Datetime),
        rules: Rules { kept: Some(kept), ..Rules::default() },
        index: false,
        parent_index: None,
        reference_index: false,
        extended: None,
    };
    let slot = Slot(owner.fields.len() as u32);
    let owner = &mut schema.types[ty.0 as usize];
    owner.by_name.insert(field.name.clone(), slot);
    owner.fields.push(field);
    Some(FieldRef { ty, slot })
}

/// The time of the end: that of the creation and the span of the option.
fn end(option: &OptionText, created: FieldRef) -> Result<Expr, Diagnostic> {
    let help =
        "as in `expires after days(30)`; there are seconds, minutes, hours, days, weeks, months, years";
    let wrong = |span| {
        let message = "`expires after` takes a span with a positive whole number";
        Diagnostic::error("option-argument", span, message).help(help)
    };
    let OptionArgument::Expr(span) = &option.argument else { return Err(wrong(option.span)) };
    let ExprKind::Call { name, arguments } = &span.kind else { return Err(wrong(span.span)) };
    let function = SPANS.into_iter().find(|function| function.name() == name.name);
    let count = match arguments.as_slice() {
        [argument] if argument.name.is_none() => match argument.value.kind {
            ExprKind::Int(count @ 1..) => Some(count),
            _ => None,
        },
        _ => None,
    };
    let (Some(function), Some(count)) = (function, count) else { return Err(wrong(span.span)) };
    let at = Type::one(Kind::Datetime);
    let count = Expr::constant(Value::Int(count), Kind::Int);
    let created = Expr { node: Node::Get(Box::new(Expr::owner(created.ty)), created), ty: at.clone() };
    let node = match function {
        Function::Months | Function::Years => Node::Call(function, vec![created, count]),
        _ => {
            let span = Expr { node: Node::Call(function, vec![count]), ty: Type::one(Kind::Duration) };
            Node::Binary(ast::BinaryOp::Add, Box::new(created), Box::new(span))
        }
    };
    Ok(Expr { node, ty: at })
}

/// No link may forbid what the clock does: neither the deletion of what expires, nor of what goes with it.
pub fn check_holds(schema: &Schema, texts: &[&ast::TypeText], found: &mut Vec<Diagnostic>) {
    for (ty, resource) in schema.types().filter(|(_, resource)| resource.expires.is_some()) {
        let option = texts[ty.0 as usize].options.iter().find(|option| option.name == "expires after");
        let Some(option) = option else { continue };
        let mut doomed = vec![ty];
        let mut next = 0;
        while let Some(target) = doomed.get(next).copied() {
            next += 1;
            for of in &schema.ty(target).referrers {
                match effect(schema.field(*of)) {
                    OnDelete::Cascade if !doomed.contains(&of.ty) => doomed.push(of.ty),
                    OnDelete::Restrict => {
                        let (source, field) = (&schema.ty(of.ty).name, &schema.field(*of).name);
                        let target = &schema.ty(target).name;
                        let message = format!(
                            "a {} cannot expire: `{source}.{field}` may forbid the deletion of a {target}",
                            resource.name
                        );
                        let help = "declare that link `on delete cascade`, or leave its `required` out";
                        found.push(Diagnostic::error("expiry-held", option.span, message).help(help));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What the deletion of its target means to a link.
fn effect(field: &Field) -> OnDelete {
    match &field.kind {
        FieldKind::Link { on_delete: OnDelete::Unlink, .. } if field.rules.required => OnDelete::Restrict,
        FieldKind::Link { on_delete, .. }
        | FieldKind::Links { on_delete, .. }
        | FieldKind::Embedded { on_delete, .. } => *on_delete,
        _ => OnDelete::Cascade,
    }
}
