//! Time: the clock in comparisons, calendar spans in arithmetic, and the units of `truncate`.
//!
//! In a derived field `now()` and `today()` may stand only on one side of `<`, `<=`, `>`, `>=`, plus or minus constant
//! spans: then the comparison changes at instants that follow from the other side, and whoever keeps the value true can
//! wait for them. A query and a lazy field ask once, and may use the time anywhere.
//!
//! `months(n)` and `years(n)` have no length of their own, so they are no durations and no values at all: they stand only
//! behind `+` and `-`, next to a datetime or a date. Typed, they are calls that take the moment as their first argument.

use corollary_syntax::ast::{self, BinaryOp, ExprKind, UnaryOp};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;
use corollary_value::Value;

use super::{Checker, Place, help, new};
use crate::functions::Function;
use crate::typed::{Expr, Kind, Many, Node, Type, is_clock, mentions_now};

/// The units of `truncate`, the smallest first.
pub const UNITS: [&str; 7] = ["second", "minute", "hour", "day", "week", "month", "year"];

/// How many of them are parts of a day.
const UNITS_OF_A_DAY: usize = 3;

/// How a comparison with the time is written, for help.
const AS_IN: &str = "as in `self.orders[at > now() - days(30)]` or `self.born <= today() - years(18)`";

impl Checker<'_> {
    /// `now()` and `today()`; none for other names.
    pub(super) fn clock(&self, name: &str, arguments: &[ast::Argument], span: Span) -> Option<Expr> {
        let is_today = match name {
            "now" => false,
            "today" => true,
            _ => return None,
        };
        if !arguments.is_empty() {
            let given = arguments.len();
            let text = format!("`{name}` takes no arguments, and {given} {} given", help::were(given));
            return Some(self.report(Diagnostic::error("arguments", span, text)));
        }
        if matches!(self.place, Place::Derived(_)) && !self.clocks.borrow().contains(&span) {
            let message = format!(
                "in a derived field `{name}()` stands only on one side of <, <=, > or >=, plus or minus constant spans"
            );
            return Some(self.report(Diagnostic::error("clock", span, message).help(AS_IN)));
        }
        let now = new(Node::Now, Type::one(Kind::Datetime));
        Some(match is_today {
            true => new(Node::Call(Function::Date, vec![now]), Type::one(Kind::Date)),
            false => now,
        })
    }

    /// Lets the clock stand where a comparison of a derived field has it.
    pub(super) fn allow_clocks(&self, left: &ast::Expr, right: &ast::Expr) {
        let found = [clock_of(left), clock_of(right)];
        self.clocks.borrow_mut().extend(found.into_iter().flatten());
    }

    /// Holds a typed comparison of a derived field to the form that can be waited for.
    pub(super) fn check_window(&self, left: (&Expr, Span), right: (&Expr, Span)) {
        if !matches!(self.place, Place::Derived(_)) {
            return;
        }
        match (is_clock(left.0), is_clock(right.0)) {
            (true, true) => {
                let message = "both sides of the comparison are the time";
                self.report(Diagnostic::error("clock", right.1, message).help(AS_IN));
            }
            (true, false) => self.check_clock_side(left),
            (false, true) => self.check_clock_side(right),
            (false, false) => {}
        }
    }

    fn check_clock_side(&self, (side, span): (&Expr, Span)) {
        let mut spans = Spans::default();
        if let Err(message) = spans.read(side) {
            self.report(Diagnostic::error("clock", span, message).help(AS_IN));
        } else if spans.calendar > 1 || (spans.calendar == 1 && spans.exact > 0) {
            let message = "next to the time stands one span of months or years, or exact ones, and not both";
            let help = "write `months(14)` for a year and two months; an exact span goes to the other side";
            self.report(Diagnostic::error("clock", span, message).help(help));
        }
    }

    /// `moment + months(n)`, `moment - years(n)`, `months(n) + moment`; none where neither operand is such a span.
    pub(super) fn calendar(
        &self,
        op: BinaryOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
    ) -> Option<Expr> {
        let (moment, span, function, argument) = match (op, calendar_span(left), calendar_span(right)) {
            (BinaryOp::Add | BinaryOp::Subtract, None, Some((function, argument))) => {
                (left, right, function, argument)
            }
            (BinaryOp::Add, Some((function, argument)), None) => (right, left, function, argument),
            _ => return None,
        };
        let name = function.name();
        let [argument] = argument else {
            let given = argument.len();
            let text = format!("`{name}` takes one argument, and {given} {} given", help::were(given));
            return Some(self.report(Diagnostic::error("arguments", span.span, text)));
        };
        let (moment_typed, count) =
            (self.one(moment, "an operand"), self.one(&argument.value, "a number of them"));
        if !matches!(count.ty.kind, Kind::Int | Kind::Null | Kind::Json) {
            let is = self.describe(&count.ty);
            let text = format!("`{name}` takes an int, and this is {is}");
            return Some(self.report(Diagnostic::error("argument-type", argument.value.span, text)));
        }
        if !matches!(moment_typed.ty.kind, Kind::Datetime | Kind::Date | Kind::Null | Kind::Json) {
            let is = self.describe(&moment_typed.ty);
            let text =
                format!("`{}` goes between a datetime or a date and `{name}`, and this is {is}", op.symbol());
            return Some(self.report(Diagnostic::error("operand-type", op_span, text)));
        }
        let count = match (op, &count.node) {
            (BinaryOp::Add, _) => count,
            (_, Node::Const(Value::Int(count))) => {
                Expr::constant(Value::Int(count.wrapping_neg()), Kind::Int)
            }
            _ => {
                let ty = count.ty.clone();
                new(Node::Unary(UnaryOp::Negate, Box::new(count)), ty)
            }
        };
        let ty = moment_typed.ty.clone();
        Some(new(Node::Call(function, vec![moment_typed, count]), ty))
    }

    /// That a calendar span stands where it says nothing.
    pub(super) fn misplaced_span(&self, function: Function, span: Span) -> Expr {
        let name = function.name();
        let message = format!(
            "`{name}` has no length of its own: it stands next to a datetime or a date, behind + or -"
        );
        let help = format!("as in `self.born + {name}(18)`; `days`, `weeks` and shorter are durations");
        self.report(Diagnostic::error("calendar-span", span, message).help(help))
    }

    /// Is the unit of a `truncate` one that there is?
    pub(super) fn check_unit(&self, arguments: &[ast::Argument], moment: &Type) -> Option<Expr> {
        let unit = &arguments.get(1)?.value;
        let ExprKind::Str(name) = &unit.kind else {
            let message = "the unit of `truncate` is a text as it stands";
            let help = "as in `truncate(self.at, 'day')`";
            return Some(self.report(Diagnostic::error("unit", unit.span, message).help(help)));
        };
        let units = if moment.kind == Kind::Date { &UNITS[UNITS_OF_A_DAY..] } else { &UNITS[..] };
        if units.contains(&name.as_str()) {
            return None;
        }
        let diagnostic =
            Diagnostic::error("unit", unit.span, format!("`truncate` knows no unit \"{name}\" here"));
        Some(self.report(match nearest(name, units.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
            None => diagnostic.help(format!("there are {}", units.join(", "))),
        }))
    }
}

/// The place of the `now()` or `today()` to which an expression adds spans, or from which it takes them.
fn clock_of(expr: &ast::Expr) -> Option<Span> {
    match &expr.kind {
        ExprKind::Call { name, .. } if matches!(name.name.as_str(), "now" | "today") => Some(expr.span),
        ExprKind::Binary { op: BinaryOp::Add, left, right, .. } => clock_of(left).or_else(|| clock_of(right)),
        ExprKind::Binary { op: BinaryOp::Subtract, left, .. } => clock_of(left),
        _ => None,
    }
}

/// Does it look at the time other than by a comparison that can be waited for?
pub(super) fn has_free_clock(expr: &Expr) -> bool {
    let fits = |side: &Expr| {
        let mut spans = Spans::default();
        spans.read(side).is_ok() && (spans.calendar == 0 || spans.calendar == 1 && spans.exact == 0)
    };
    if let Node::Binary(
        BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual,
        left,
        right,
    ) = &expr.node
    {
        match (is_clock(left), is_clock(right)) {
            (true, false) => return !fits(left) || has_free_clock(right),
            (false, true) => return !fits(right) || has_free_clock(left),
            _ => {}
        }
    }
    let mut free = expr.node == Node::Now;
    expr.for_parts(&mut |part, _| free = free || has_free_clock(part));
    free
}

/// The function and the arguments of `months(…)` and `years(…)`.
fn calendar_span(expr: &ast::Expr) -> Option<(Function, &[ast::Argument])> {
    let ExprKind::Call { name, arguments } = &expr.kind else { return None };
    match name.name.as_str() {
        "months" => Some((Function::Months, arguments)),
        "years" => Some((Function::Years, arguments)),
        _ => None,
    }
}

/// How many spans stand next to the clock.
#[derive(Default)]
struct Spans {
    calendar: usize,
    exact: usize,
}

impl Spans {
    fn read(&mut self, expr: &Expr) -> Result<(), &'static str> {
        const NOT_CONSTANT: &str = "a span next to the time is a constant, and this one reads a field";
        match &expr.node {
            Node::Now => Ok(()),
            Node::Call(Function::Date, parts) => parts.iter().try_for_each(|part| self.read(part)),
            Node::Call(Function::Months | Function::Years, parts) => {
                self.calendar += 1;
                match parts.as_slice() {
                    [clock, count] if is_constant(count) => self.read(clock),
                    _ => Err(NOT_CONSTANT),
                }
            }
            Node::Binary(BinaryOp::Add | BinaryOp::Subtract, left, right) => {
                self.exact += 1;
                let (clock, span) = if is_clock(left) { (left, right) } else { (right, left) };
                if is_constant(span) { self.read(clock) } else { Err(NOT_CONSTANT) }
            }
            _ => Err("this is not the time, plus or minus constant spans"),
        }
    }
}

/// Does it read nothing, not even the clock?
fn is_constant(expr: &Expr) -> bool {
    let mut constant = match &expr.node {
        Node::Const(_) | Node::Call(..) | Node::Unary(..) | Node::Binary(..) => expr.ty.many == Many::One,
        _ => false,
    };
    expr.for_parts(&mut |part, _| constant &= is_constant(part));
    constant && !mentions_now(expr)
}
