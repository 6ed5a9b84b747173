//! Trees as JSON.
//!
//! Members that would say nothing (`false`, empty lists and texts) are left out.

use smol_str::{SmolStr, ToSmolStr};

use super::notes::{Note, Notes};
use super::value::{Json, JsonKind, Key};
use crate::ast::{
    Argument, Expr, ExprKind, FieldKindText, FieldText, Ident, KeyText, MountClause, MountClauseKind,
    MountTarget, MountText, OptionArgument, OptionText, SchemaText, TypeExpr, TypeExprKind, TypeText,
    UnaryOp,
};
use crate::format_mount::path;
use crate::span::Span;

/// The largest whole number that every reader of JSON keeps exactly: those of many are doubles.
const LARGEST_EXACT: u64 = (1 << 53) - 1;

fn json(kind: JsonKind) -> Json {
    Json { kind, span: Span::default() }
}

fn text(text: &str) -> Json {
    json(JsonKind::Str(text.into()))
}

fn list<T>(items: &[T], each: impl Fn(&T) -> Json) -> Json {
    json(JsonKind::List(items.iter().map(each).collect()))
}

/// An object without the members that say nothing.
fn object<'k>(members: impl IntoIterator<Item = (&'k str, Json)>) -> Json {
    let says = |value: &Json| match &value.kind {
        JsonKind::Bool(value) => *value,
        JsonKind::Str(text) => !text.is_empty(),
        JsonKind::List(elements) => !elements.is_empty(),
        _ => true,
    };
    all(members.into_iter().filter(|(_, value)| says(value)))
}

/// An object with all these members.
fn all<'k>(members: impl IntoIterator<Item = (&'k str, Json)>) -> Json {
    let key = |name: &str| Key { name: name.into(), span: Span::default() };
    json(JsonKind::Object(members.into_iter().map(|(name, value)| (key(name), value)).collect()))
}

fn lines(lines: &[SmolStr]) -> Json {
    list(lines, |line| text(line))
}

fn names(names: &[Ident]) -> Json {
    list(names, |name| text(&name.name))
}

/// A schema with its notes.
pub(super) fn schema(tree: &SchemaText, notes: &Notes) -> Json {
    let types = list(&tree.types, |ty| type_text(ty, notes));
    let head = object([
        ("above", lines(&notes.header.above)),
        ("schema", text(tree.name.as_ref().map_or("", |name| name.name.as_str()))),
        ("behind", text(&notes.header.behind)),
    ]);
    let JsonKind::Object(mut members) = head.kind else { return head };
    let mounts = list(&tree.mounts, |it| mount(it, notes));
    let rest = [
        ("types", types, true),
        ("mounts", mounts, !tree.mounts.is_empty()),
        ("end", lines(&notes.end), !notes.end.is_empty()),
    ];
    for (name, value, there) in rest {
        if there {
            members.push((Key { name: name.into(), span: Span::default() }, value));
        }
    }
    json(JsonKind::Object(members))
}

fn type_text(ty: &TypeText, notes: &Notes) -> Json {
    let Note { above, behind, opening, closing } = notes.of(ty.span);
    object([
        ("above", lines(&above)),
        ("type", text(&ty.name.name)),
        ("abstract", json(JsonKind::Bool(ty.is_abstract))),
        ("is", names(&ty.interfaces)),
        ("in", text(ty.root.as_ref().map_or("", |root| root.name.as_str()))),
        ("options", list(&ty.options, option)),
        ("opening", text(&opening)),
        ("fields", list(&ty.fields, |it| field(it, notes))),
        ("closing", lines(&closing)),
        ("behind", text(&behind)),
    ])
}

fn mount(mount: &MountText, notes: &Notes) -> Json {
    let Note { above, behind, opening, closing } = notes.of(mount.span);
    let (name, target) = match &mount.target {
        MountTarget::Type(name) => ("of", name),
        MountTarget::Proxy(url) => ("proxy", url),
    };
    object([
        ("above", lines(&above)),
        ("mount", text(&path(&mount.path))),
        (name, text(&target.name)),
        ("opening", text(&opening)),
        ("clauses", list(&mount.clauses, |it| clause(it, notes))),
        ("closing", lines(&closing)),
        ("behind", text(&behind)),
    ])
}

/// One part of a mount.
fn clause(clause: &MountClause, notes: &Notes) -> Json {
    let note = notes.of(clause.span);
    let (name, value) = match &clause.kind {
        MountClauseKind::Where(expr) => ("where", expression(expr)),
        MountClauseKind::Allow(words) => ("allow", names(words)),
        MountClauseKind::Forward(words) => ("forward", names(words)),
        MountClauseKind::Fields(shown) => (
            "fields",
            list(shown, |(name, field)| match field {
                Some(field) => all([("name", text(&name.name)), ("field", text(&field.name))]),
                None => text(&name.name),
            }),
        ),
    };
    let mut members = vec![(name, value)];
    if !note.above.is_empty() {
        members.insert(0, ("above", lines(&note.above)));
    }
    members.extend((!note.behind.is_empty()).then(|| ("behind", text(&note.behind))));
    all(members)
}

fn field(field: &FieldText, notes: &Notes) -> Json {
    let note = notes.of(field.span);
    let (name, kind) = match &field.kind {
        FieldKindText::Stored(ty) => ("value", type_expr(ty, notes)),
        FieldKindText::Link(to) => ("link", targets(to)),
        FieldKindText::Links(to) => ("links", targets(to)),
        FieldKindText::Collection { children, ordered: false } => ("collection", targets(children)),
        FieldKindText::Collection { children, ordered: true } => ("ordered_collection", targets(children)),
        FieldKindText::Inverse { of_type, of_field } => {
            ("inverse", all([("type", text(&of_type.name)), ("field", text(&of_field.name))]))
        }
        FieldKindText::Derived(expr) => ("derived", expression(expr)),
    };
    let mut members = vec![("field", text(&field.name.name)), (name, kind)];
    for (name, value, there) in [
        ("options", list(&field.options, option), !field.options.is_empty()),
        ("behind", text(&note.behind), !note.behind.is_empty()),
    ] {
        members.extend(there.then_some((name, value)));
    }
    if !note.above.is_empty() {
        members.insert(0, ("above", lines(&note.above)));
    }
    all(members)
}

/// The types of a link or a collection: one name, or a list of several.
fn targets(to: &[Ident]) -> Json {
    match to {
        [one] => text(&one.name),
        several => list(several, |name| text(&name.name)),
    }
}

fn type_expr(ty: &TypeExpr, notes: &Notes) -> Json {
    match &ty.kind {
        TypeExprKind::Name(name) => text(name),
        TypeExprKind::Enum(words) => all([("enum", names(words))]),
        TypeExprKind::List(of) => all([("list", type_expr(of, notes))]),
        TypeExprKind::Set(of) => all([("set", type_expr(of, notes))]),
        TypeExprKind::Map(of) => all([("map", type_expr(of, notes))]),
        TypeExprKind::Object(fields) => braced([("object", list(fields, |it| field(it, notes)))], ty, notes),
        TypeExprKind::Union(union) => {
            let discriminator = ("union", text(&union.discriminator.name));
            braced([discriminator, ("variants", list(&union.variants, |it| field(it, notes)))], ty, notes)
        }
    }
}

/// What stands in braces, with the comments at both of them.
fn braced<const N: usize>(members: [(&str, Json); N], ty: &TypeExpr, notes: &Notes) -> Json {
    let note = notes.of(ty.span);
    let opening = (!note.opening.is_empty()).then(|| ("opening", text(&note.opening)));
    let closing = (!note.closing.is_empty()).then(|| ("closing", lines(&note.closing)));
    all(members.into_iter().chain(opening).chain(closing))
}

fn option(option: &OptionText) -> Json {
    let name = ("option", text(&option.name));
    match &option.argument {
        OptionArgument::None => all([name]),
        OptionArgument::Expr(expr) => all([name, ("value", expression(expr))]),
        OptionArgument::Word(word) => all([name, ("word", text(&word.name))]),
        OptionArgument::Words(words) => all([name, ("words", names(words))]),
        OptionArgument::Keys(keys) => all([name, ("keys", list(keys, key))]),
    }
}

/// A part of an index over several fields.
fn key(key: &KeyText) -> Json {
    let descending = key.descending.then(|| ("descending", json(JsonKind::Bool(true))));
    all([("field", text(&key.field.name))].into_iter().chain(descending))
}

/// An expression: literals as they are, all else as an object whose `op` says what it is.
pub(super) fn expression(expr: &Expr) -> Json {
    let op = |op: &'static str| ("op", text(op));
    match &expr.kind {
        ExprKind::Null => json(JsonKind::Null),
        ExprKind::Bool(value) => json(JsonKind::Bool(*value)),
        ExprKind::Int(value) if value.unsigned_abs() <= LARGEST_EXACT => json(JsonKind::Int(*value)),
        ExprKind::Int(value) => all([op("int"), ("text", text(&value.to_smolstr()))]),
        ExprKind::Number(number) => all([op("number"), ("text", text(number))]),
        ExprKind::Str(value) => text(value),
        ExprKind::Name(name) => all([op("name"), ("name", text(name))]),
        ExprKind::SelfRef => all([op("self")]),
        ExprKind::Parent => all([op("parent")]),
        ExprKind::Ego => all([op("ego")]),
        ExprKind::Root => all([op("root")]),
        ExprKind::Field { base, name } => {
            all([op("field"), ("of", expression(base)), ("name", text(&name.name))])
        }
        ExprKind::Filter { base, condition } => {
            all([op("filter"), ("of", expression(base)), ("where", expression(condition))])
        }
        ExprKind::Order { base, keys } => {
            let key = |key: &crate::ast::OrderKey| {
                let descending = key.descending.then(|| ("descending", json(JsonKind::Bool(true))));
                all([("key", expression(&key.expr))].into_iter().chain(descending))
            };
            all([op("order"), ("of", expression(base)), ("by", list(keys, key))])
        }
        ExprKind::Index { base, index } => {
            all([op("at"), ("of", expression(base)), ("index", whole(*index))])
        }
        ExprKind::Slice { base, from, to } => {
            let from = from.map(|from| ("from", whole(from)));
            let to = to.map(|to| ("to", whole(to)));
            all([op("slice"), ("of", expression(base))].into_iter().chain(from).chain(to))
        }
        ExprKind::Call { name, arguments } => {
            all([op("call"), ("name", text(&name.name)), ("arguments", list(arguments, argument))])
        }
        ExprKind::Unary { op: UnaryOp::Negate, operand } => {
            all([op("negate"), ("value", expression(operand))])
        }
        ExprKind::Unary { op: UnaryOp::Not, operand } => all([op("not"), ("value", expression(operand))]),
        ExprKind::Binary { op: binary, left, right, .. } => {
            all([op(binary.symbol()), ("left", expression(left)), ("right", expression(right))])
        }
        ExprKind::Conditional { condition, then, otherwise } => all([
            op("if"),
            ("condition", expression(condition)),
            ("then", expression(then)),
            ("else", expression(otherwise)),
        ]),
        ExprKind::Switch { subject, cases, otherwise } => {
            let case =
                |(key, value): &(Expr, Expr)| all([("when", expression(key)), ("then", expression(value))]);
            let otherwise = otherwise.as_ref().map(|value| ("else", expression(value)));
            all([op("switch"), ("of", expression(subject)), ("cases", list(cases, case))]
                .into_iter()
                .chain(otherwise))
        }
        ExprKind::List(items) => all([op("list"), ("items", list(items, expression))]),
        // A tree with an error has no canonical text either.
        ExprKind::Error => all([op("error")]),
    }
}

fn argument(argument: &Argument) -> Json {
    let value = expression(&argument.value);
    match &argument.name {
        Some(name) => all([("op", text("argument")), ("name", text(&name.name)), ("value", value)]),
        None => value,
    }
}

/// A whole number as it is, or as a text where not every reader would keep it.
fn whole(value: i64) -> Json {
    json(if value.unsigned_abs() <= LARGEST_EXACT {
        JsonKind::Int(value)
    } else {
        JsonKind::Str(value.to_smolstr())
    })
}
