//! Types the defaults that are computed when a resource is created: `default self.first + ' ' + self.last`.
//!
//! They read facts only, of the new resource and of what its links lead to: derived values come about after the facts of
//! a transaction, so there are none yet that a fact could be made of.

use corollary_syntax::ast::{self, OptionArgument};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;

use crate::expr::{Place, check_expr};
use crate::functions::Function;
use crate::model::{DefaultValue, FieldKind, Schema, TypeIx, ValueType};
use crate::typed::{Expr, Kind, Node, Type};

/// Puts the typed expressions in the place of the defaults that are computed.
pub fn compute(tree: &ast::SchemaText, schema: &mut Schema, found: &mut Vec<Diagnostic>) {
    for text in &tree.types {
        let Some(ty) = schema.type_named(&text.name.name) else { continue };
        for field in &text.fields {
            let options = field.options.iter().find(|option| option.name == "default");
            let Some(OptionArgument::Expr(source)) = options.map(|option| &option.argument) else { continue };
            let Some(expr) = computed(schema, ty, &field.name.name, source, found) else { continue };
            let Some(slot) = schema.ty(ty).by_name.get(&field.name.name).copied() else { continue };
            let rules = &mut schema.types[ty.0 as usize].fields[slot.0 as usize].rules;
            rules.default = Some(DefaultValue::Computed(Box::new(expr)));
        }
    }
}

/// The expression of a field's default, where it is computed.
fn computed(
    schema: &Schema,
    ty: TypeIx,
    name: &str,
    source: &ast::Expr,
    found: &mut Vec<Diagnostic>,
) -> Option<Expr> {
    let (_, field) = schema.ty(ty).named(name)?;
    let (FieldKind::Stored(holds), Some(DefaultValue::Computed(_))) = (&field.kind, &field.rules.default)
    else {
        return None;
    };
    let (expr, mut mistakes) = check_expr(schema, Place::Default(ty), source);
    if mistakes.is_empty() {
        mistakes.extend(reads_more_than_facts(schema, &expr, source.span));
    }
    let expr = match mistakes.is_empty() {
        true => fitting(schema, expr, holds, "its default")
            .map_err(|message| mistakes.push(Diagnostic::error("default", source.span, message)))
            .ok(),
        false => None,
    };
    found.append(&mut mistakes);
    expr
}

fn reads_more_than_facts(schema: &Schema, expr: &Expr, span: Span) -> Option<Diagnostic> {
    let what = match &expr.node {
        Node::Get(_, field) if !schema.field(*field).is_fact() => {
            Some(format!("`{}`, which is derived: it comes about after the facts", schema.field(*field).name))
        }
        Node::Reverse(..) => Some("who links to it: nobody does yet".to_owned()),
        Node::All(_) => Some("all resources of a type".to_owned()),
        _ => None,
    };
    if let Some(what) = what {
        let message = format!("a default cannot read {what}");
        let help = "it may read the stored fields of the new resource, and of what its links lead to";
        return Some(Diagnostic::error("default", span, message).help(help));
    }
    let mut found = None;
    expr.for_parts(&mut |part, _| {
        if found.is_none() {
            found = reads_more_than_facts(schema, part, span);
        }
    });
    found
}

/// The expression with the conversion that its field needs; `what` it is to the field, for the message where it does not fit.
pub(crate) fn fitting(schema: &Schema, expr: Expr, holds: &ValueType, what: &str) -> Result<Expr, String> {
    let wanted = Type::of_value(holds);
    let convert = |expr: Expr, function: Function| {
        let ty = Type::one(wanted.kind.clone());
        Expr { node: Node::Call(function, vec![expr]), ty }
    };
    if expr.ty.is_many() == wanted.is_many() {
        match (&expr.ty.kind, &wanted.kind) {
            (Kind::Int, Kind::Float) if !wanted.is_many() => return Ok(convert(expr, Function::Float)),
            (Kind::Int, Kind::Decimal) if !wanted.is_many() => return Ok(convert(expr, Function::Decimal)),
            // Which word it is shows when it is computed.
            (Kind::Str | Kind::Enum(_), Kind::Str | Kind::Enum(_)) | (_, Kind::Json) | (Kind::Json, _) => {
                return Ok(expr);
            }
            (is, wanted) if is == wanted => return Ok(expr),
            _ => {}
        }
    }
    let name = |ty: TypeIx| schema.ty(ty).name.clone();
    Err(format!("the field is {}, and {what} {}", wanted.describe(&name), expr.ty.describe(&name)))
}
