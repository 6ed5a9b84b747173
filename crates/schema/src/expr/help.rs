//! What to do about a mistake in an expression, for the person who made it.

use corollary_syntax::ast::BinaryOp;
use corollary_syntax::nearest;

use crate::functions::{self, Parameter};
use crate::typed::{Kind, Type};

/// The verb behind a number of arguments.
pub(super) fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

/// The most names that are told where none is near.
const MAX_TOLD: usize = 12;

/// The nearest of some names; all of them where none is near and they are few.
pub(super) fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let mut names: Vec<&str> = names.collect();
    if let Some(near) = nearest(name, names.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    names.sort_unstable();
    let more = if names.len() > MAX_TOLD { ", …" } else { "" };
    names.truncate(MAX_TOLD);
    (!names.is_empty()).then(|| format!("it has {}{more}", names.join(", ")))
}

/// Names that other languages give to functions.
const FOREIGN: &[(&str, &str)] = &[
    ("avg", "average"),
    ("mean", "average"),
    ("len", "length"),
    ("size", "length"),
    ("uppercase", "upper"),
    ("lowercase", "lower"),
    ("pow", "power"),
    ("ifnull", "coalesce"),
    ("nvl", "coalesce"),
    ("string", "str"),
    ("number", "float"),
    ("regex", "matches"),
    ("unique", "distinct"),
];

/// The function that was meant.
pub(super) fn function<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name).map(|(_, meant)| *meant);
    if name == "if" {
        return Some("write `condition -> value : other`".into());
    }
    foreign.or_else(|| nearest(name, names)).map(|meant| format!("did you mean `{meant}`?"))
}

/// What to write in place of `.name` behind what has no fields.
pub(super) fn no_fields(name: &str) -> Option<String> {
    let names = functions::TABLE.iter().map(|row| row.name);
    let function = names.clone().find(|function| *function == name).or_else(|| nearest(name, names))?;
    Some(format!("`{function}` is a function: write `{function}(…)`"))
}

/// How what is no condition becomes one.
pub(super) fn condition(ty: &Type) -> &'static str {
    match (&ty.kind, ty.is_many()) {
        (Kind::Bool, true) => "ask `any(…)` or `all(…)` of a list",
        (_, true) => "ask `exists(…)` of a list, or compare its `count(…)`",
        (Kind::Resource(_), false) => "ask `exists(…)` of a link, or compare one of its fields",
        (Kind::Str | Kind::Enum(_), false) => "compare it with something, as in `name = 'a'`",
        _ => "compare it with something, as in `age > 30`",
    }
}

/// How something single becomes many, where that is meant.
pub(super) fn list(ty: &Type) -> &'static str {
    match ty.kind {
        Kind::Resource(_) => "a link leads to one resource: `exists(…)` tells whether it is there",
        _ => "a list comes from many resources, as in `self.orders.amount`, or from a field that is one",
    }
}

fn is_text(kind: &Kind) -> bool {
    matches!(kind, Kind::Str | Kind::Enum(_))
}

fn is_number(kind: &Kind) -> bool {
    matches!(kind, Kind::Int | Kind::Float | Kind::Decimal)
}

fn is_moment(kind: &Kind) -> bool {
    matches!(kind, Kind::Date | Kind::Datetime)
}

const NOT_SILENTLY: &str =
    "nothing is turned into another kind silently: use str(…), int(…), float(…) or decimal(…)";

/// How two operands come to fit.
pub(super) fn operands(op: &str, left: &Kind, right: &Kind) -> Option<&'static str> {
    let both = |one: fn(&Kind) -> bool, other: fn(&Kind) -> bool| {
        (one(left) && other(right)) || (other(left) && one(right))
    };
    let ordered = [BinaryOp::Less, BinaryOp::LessEqual, BinaryOp::Greater, BinaryOp::GreaterEqual];
    if both(is_text, is_number) {
        Some(NOT_SILENTLY)
    } else if both(is_moment, is_number) {
        Some("add or subtract a duration, as in `days(3)`")
    } else if both(is_moment, is_moment) && left != right {
        Some("turn one into the other with `date(…)` or `datetime(…)`")
    } else if both(is_moment, is_text) {
        Some("turn the text into one with `date(…)` or `datetime(…)`")
    } else if both(|kind| *kind == Kind::Bool, is_number) {
        Some("a condition becomes a number by `condition -> 1 : 0`")
    } else if both(|kind| matches!(kind, Kind::Resource(_)), |_| true)
        && ordered.iter().any(|ordered| ordered.symbol() == op)
    {
        Some("resources have no order: compare one of their fields")
    } else {
        None
    }
}

/// How an argument comes to fit a parameter.
pub(super) fn argument(parameter: Parameter, ty: &Type) -> Option<&'static str> {
    if ty.is_many() {
        return Some("take one of them with first(…), or aggregate them with sum(…), count(…), max(…), …");
    }
    match (parameter, &ty.kind) {
        (_, Kind::Resource(_)) => Some("name a field of it, or its id: `._id`"),
        (Parameter::Str | Parameter::Sized, kind) if !is_text(kind) => {
            Some("turn it into a text with `str(…)`")
        }
        (Parameter::Number | Parameter::Int, kind) if is_text(kind) => Some(NOT_SILENTLY),
        (Parameter::Int, Kind::Float | Kind::Decimal) => Some("`int(round(…))` makes it a whole number"),
        (Parameter::Moment | Parameter::Datetime, Kind::Str) => {
            Some("turn the text into one with `date(…)` or `datetime(…)`")
        }
        (Parameter::Datetime, Kind::Date) => Some("`datetime(…)` is the start of the day"),
        _ => None,
    }
}
