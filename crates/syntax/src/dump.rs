//! Trees as compact S-expressions without places: for tests, and to see whether two texts mean the same.

use std::fmt::Write;

use crate::ast::{
    Expr, ExprKind, FieldKindText, FieldText, MountClauseKind, OptionArgument, OptionText, SchemaText,
    TypeExpr, TypeExprKind, UnaryOp,
};
use crate::format_mount::{clause_text, mount_head};
use crate::format_schema::{key_list, targets};
use crate::print_expression::{Quotes, string};

/// An expression, as `(+ 1 (* 2 (. self age)))`.
pub fn dump(expr: &Expr) -> String {
    let mut out = String::new();
    expression(&mut out, expr);
    out
}

/// A schema, one member a line. Comments are not shown.
pub fn dump_schema(schema: &SchemaText) -> String {
    let mut out = String::new();
    if let Some(name) = &schema.name {
        line(&mut out, 0, &format!("schema {}", name.name));
    }
    for t in &schema.types {
        let mut head = format!("{}type {}", if t.is_abstract { "abstract " } else { "" }, t.name.name);
        t.interfaces.iter().for_each(|name| head += &format!(" is {}", name.name));
        t.root.iter().for_each(|name| head += &format!(" in {}", name.name));
        head += &options(&t.options);
        line(&mut out, 0, &head);
        t.fields.iter().for_each(|f| field(&mut out, f, 1));
    }
    for mount in &schema.mounts {
        line(&mut out, 0, &mount_head(mount));
        for clause in &mount.clauses {
            let text = match &clause.kind {
                MountClauseKind::Where(expr) => format!("where {}", dump(expr)),
                kind => clause_text(kind),
            };
            line(&mut out, 1, &text);
        }
    }
    out
}

fn line(out: &mut String, indent: usize, text: &str) {
    let _ = writeln!(out, "{}{text}", "  ".repeat(indent));
}

fn field(out: &mut String, field: &FieldText, indent: usize) {
    let mut inner = Vec::new();
    let kind = match &field.kind {
        FieldKindText::Stored(t) => type_expr(t, &mut inner),
        FieldKindText::Link(to) => format!("link {}", targets(to)),
        FieldKindText::Links(to) => format!("links {}", targets(to)),
        FieldKindText::Collection { children, ordered } => {
            format!("{}collection {}", if *ordered { "ordered " } else { "" }, targets(children))
        }
        FieldKindText::Inverse { of_type, of_field } => format!("inverse {}.{}", of_type.name, of_field.name),
        FieldKindText::Derived(expr) => format!(":= {}", dump(expr)),
    };
    line(out, indent, &format!("{} {kind}{}", field.name.name, options(&field.options)));
    inner.iter().for_each(|f| self::field(out, f, indent + 1));
}

/// The type, with `{}` for an object, whose fields go to `inner`.
fn type_expr(t: &TypeExpr, inner: &mut Vec<FieldText>) -> String {
    match &t.kind {
        TypeExprKind::Name(name) => name.to_string(),
        TypeExprKind::Enum(values) => {
            let values: Vec<String> = values.iter().map(|v| string(&v.name, Quotes::Double)).collect();
            values.join("|")
        }
        TypeExprKind::Object(fields) => {
            inner.extend(fields.iter().cloned());
            "{}".to_string()
        }
        TypeExprKind::Union(union) => {
            inner.extend(union.variants.iter().cloned());
            format!("union {} {{}}", union.discriminator.name)
        }
        TypeExprKind::List(t) => format!("[{}]", type_expr(t, inner)),
        TypeExprKind::Set(t) => format!("set<{}>", type_expr(t, inner)),
        TypeExprKind::Map(t) => format!("map<{}>", type_expr(t, inner)),
    }
}

fn options(options: &[OptionText]) -> String {
    let shown = options.iter().map(|option| match &option.argument {
        OptionArgument::None => format!(" <{}>", option.name),
        OptionArgument::Expr(expr) => format!(" <{} {}>", option.name, dump(expr)),
        OptionArgument::Word(word) => format!(" <{} {}>", option.name, word.name),
        OptionArgument::Words(words) => {
            let words: Vec<&str> = words.iter().map(|w| w.name.as_str()).collect();
            format!(" <{} ({})>", option.name, words.join(" "))
        }
        OptionArgument::Keys(keys) => format!(" <{} ({})>", option.name, key_list(keys)),
    });
    shown.collect()
}

fn expression(out: &mut String, expr: &Expr) {
    let mut list = |head: &str, parts: &[&Expr]| {
        out.push('(');
        out.push_str(head);
        for part in parts {
            out.push(' ');
            expression(out, part);
        }
        out.push(')');
    };
    let number = |n: &Option<i64>| n.map_or("_".to_string(), |n| n.to_string());
    match &expr.kind {
        ExprKind::Null => out.push_str("null"),
        ExprKind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        ExprKind::Int(value) => out.push_str(&value.to_string()),
        ExprKind::Number(text) => {
            let _ = write!(out, "#{text}");
        }
        ExprKind::Str(value) => out.push_str(&string(value, Quotes::Single)),
        ExprKind::Name(name) => out.push_str(name),
        ExprKind::SelfRef => out.push_str("SELF"),
        ExprKind::Parent => out.push_str("PARENT"),
        ExprKind::Ego => out.push_str("EGO"),
        ExprKind::Root => out.push_str("ROOT"),
        ExprKind::Field { base, name } => list(&format!(".{}", name.name), &[base]),
        ExprKind::Filter { base, condition } => list("filter", &[base, condition]),
        ExprKind::Order { base, keys } => {
            out.push_str("(order ");
            expression(out, base);
            for key in keys {
                out.push_str(if key.descending { " >" } else { " <" });
                expression(out, &key.expr);
            }
            out.push(')');
        }
        ExprKind::Index { base, index } => list(&format!("at {index}"), &[base]),
        ExprKind::Slice { base, from, to } => {
            list(&format!("slice {}..{}", number(from), number(to)), &[base])
        }
        ExprKind::Call { name, arguments } => {
            let _ = write!(out, "(call {}", name.name);
            for argument in arguments {
                out.push(' ');
                argument.name.iter().for_each(|name| *out += &format!("{}:", name.name));
                expression(out, &argument.value);
            }
            out.push(')');
        }
        ExprKind::Unary { op, operand } => list(if *op == UnaryOp::Not { "not" } else { "neg" }, &[operand]),
        ExprKind::Binary { op, left, right, .. } => list(op.symbol(), &[left, right]),
        ExprKind::Conditional { condition, then, otherwise } => list("if", &[condition, then, otherwise]),
        ExprKind::Switch { subject, cases, otherwise } => {
            out.push_str("(switch ");
            expression(out, subject);
            for (key, value) in cases {
                out.push(' ');
                expression(out, key);
                out.push(':');
                expression(out, value);
            }
            if let Some(value) = otherwise {
                out.push_str(" else:");
                expression(out, value);
            }
            out.push(')');
        }
        ExprKind::List(items) => list("list", &items.iter().collect::<Vec<_>>()),
        ExprKind::Error => out.push_str("<error>"),
    }
}
