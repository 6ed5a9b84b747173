//! From an expression's tree to canonical text.
//!
//! Invariant: the text of a tree that the parser could have built parses to the same tree (places aside), and has only
//! the brackets that this needs. Operators are spelled `or and not else`, strings have single quotes in expressions and
//! double ones in the options of fields. Read next: `parse_expression`, whose precedences are followed here.

use std::fmt::Write;

use crate::ast::{Argument, BinaryOp, Expr, ExprKind, UnaryOp};
use crate::parse_expression::Level;

/// The widest line that is not broken, in characters.
pub(crate) const LINE_WIDTH: usize = 100;

/// One level of indentation.
pub(crate) const INDENT: &str = "  ";

/// Which quotes strings get, unless the other kind saves an escape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quotes {
    Single,
    Double,
}

/// How strongly an expression holds together: an operand weaker than its place needs brackets.
fn level(expr: &Expr) -> Level {
    match &expr.kind {
        ExprKind::Binary { op, .. } => Level::of(*op),
        ExprKind::Conditional { .. } | ExprKind::Switch { .. } => Level::Conditional,
        ExprKind::Unary { op: UnaryOp::Not, .. } => Level::Not,
        ExprKind::Unary { op: UnaryOp::Negate, .. } => Level::Negation,
        ExprKind::Int(value) if *value < 0 => Level::Negation,
        ExprKind::Number(text) if text.starts_with('-') => Level::Negation,
        _ => Level::Path,
    }
}

/// The levels that the operands of a binary operator need.
fn operand_levels(op: BinaryOp) -> (Level, Level) {
    let level = Level::of(op);
    let left = if level == Level::Comparison { level.stronger() } else { level };
    (left, level.stronger())
}

/// An expression on one line.
pub(crate) fn flat(expr: &Expr, quotes: Quotes) -> String {
    let mut printer = Printer { text: String::new(), quotes, column: 0, width: usize::MAX };
    printer.expr(expr, Level::Else, 0);
    printer.text
}

/// An expression that starts at `column`, with line breaks where it does not fit into [`LINE_WIDTH`]; further lines are
/// indented by at least `indent` levels, and start so that they continue the expression.
pub(crate) fn wrapped(expr: &Expr, column: usize, indent: usize) -> String {
    let mut printer = Printer { text: String::new(), quotes: Quotes::Single, column, width: LINE_WIDTH };
    printer.expr(expr, Level::Else, indent);
    printer.text
}

struct Printer {
    text: String,
    quotes: Quotes,
    /// Where the first line starts.
    column: usize,
    width: usize,
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn line(&mut self, indent: usize) {
        self.text.push('\n');
        (0..indent).for_each(|_| self.text.push_str(INDENT));
    }

    /// Whether the expression fits into the rest of the line.
    fn fits(&self, expr: &Expr) -> bool {
        if self.width == usize::MAX {
            return true;
        }
        let used = match self.text.rfind('\n') {
            Some(last) => self.text[last + 1..].chars().count(),
            None => self.column + self.text.chars().count(),
        };
        used + flat(expr, self.quotes).chars().count() <= self.width
    }

    /// An expression at a place that needs at least this level.
    fn expr(&mut self, expr: &Expr, least: Level, indent: usize) {
        let brackets = level(expr) < least;
        if brackets {
            self.push("(");
        }
        if self.fits(expr) {
            self.one_line(expr, indent);
        } else {
            self.many_lines(expr, indent);
        }
        if brackets {
            self.push(")");
        }
    }

    fn one_line(&mut self, expr: &Expr, indent: usize) {
        match &expr.kind {
            ExprKind::Null => self.push("null"),
            ExprKind::Bool(value) => self.push(if *value { "true" } else { "false" }),
            ExprKind::Int(value) => self.show(value),
            ExprKind::Number(text) => self.push(text),
            ExprKind::Str(value) => self.push(&string(value, self.quotes)),
            ExprKind::Name(name) => self.push(name),
            ExprKind::SelfRef => self.push("self"),
            ExprKind::Parent => self.push("parent"),
            ExprKind::Ego => self.push("ego"),
            ExprKind::Root => self.push("root"),
            ExprKind::Field { base, name } => {
                self.base(base, indent);
                self.push(".");
                self.push(&name.name);
            }
            ExprKind::Filter { base, condition } => {
                self.base(base, indent);
                // Without brackets, a whole number would be a position.
                let number = matches!(condition.kind, ExprKind::Int(_));
                self.push(if number { "[(" } else { "[" });
                self.expr(condition, Level::Else, indent);
                self.push(if number { ")]" } else { "]" });
            }
            ExprKind::Order { base, keys } => {
                self.base(base, indent);
                self.push("[order by ");
                self.separated(keys, |p, key| {
                    p.expr(&key.expr, Level::Else, indent);
                    p.push(if key.descending { " desc" } else { "" });
                });
                self.push("]");
            }
            ExprKind::Index { base, index } => {
                self.base(base, indent);
                self.push("[");
                self.show(index);
                self.push("]");
            }
            ExprKind::Slice { base, from, to } => {
                self.base(base, indent);
                self.push("[");
                from.iter().for_each(|from| self.show(from));
                self.push("..");
                to.iter().for_each(|to| self.show(to));
                self.push("]");
            }
            ExprKind::Call { name, arguments } => {
                self.push(&name.name);
                self.push("(");
                self.separated(arguments, |p, argument| p.argument(argument, indent));
                self.push(")");
            }
            ExprKind::Unary { op, operand } => match op {
                UnaryOp::Not => {
                    self.push("not ");
                    self.expr(operand, Level::Not, indent);
                }
                UnaryOp::Negate => {
                    self.push("-");
                    self.negated(operand, indent);
                }
            },
            ExprKind::Binary { op, left, right, .. } => {
                let (left_level, right_level) = operand_levels(*op);
                self.expr(left, left_level, indent);
                self.push(" ");
                self.push(op.symbol());
                self.push(" ");
                self.expr(right, right_level, indent);
            }
            ExprKind::Conditional { condition, then, otherwise } => {
                self.expr(condition, Level::Or, indent);
                self.push(" -> ");
                self.expr(then, Level::Else, indent);
                self.push(" : ");
                self.expr(otherwise, Level::Conditional, indent);
            }
            ExprKind::Switch { subject, cases, otherwise } => {
                self.expr(subject, Level::Or, indent);
                self.push(" -> (");
                self.separated(&switch_cases(cases, otherwise.as_deref()), |p, case| p.case(*case, indent));
                self.push(")");
            }
            ExprKind::List(items) => {
                self.push("[");
                self.separated(items, |p, item| p.expr(item, Level::Else, indent));
                self.push("]");
            }
            ExprKind::Error => self.push("<error>"),
        }
    }

    /// The same with a line break before each part, where there are parts that can stand alone.
    fn many_lines(&mut self, expr: &Expr, indent: usize) {
        let inner = indent + 1;
        match &expr.kind {
            ExprKind::Binary { op, .. } => {
                let mut operands = Vec::new();
                let mut first = expr;
                while let ExprKind::Binary { op: other, left, right, .. } = &first.kind
                    && Level::of(*other) == Level::of(*op)
                    && (operands.is_empty() || Level::of(*op) != Level::Comparison)
                {
                    operands.push((*other, right));
                    first = left;
                }
                let (left_level, right_level) = operand_levels(*op);
                self.expr(first, left_level, inner);
                for (op, right) in operands.into_iter().rev() {
                    self.line(inner);
                    self.push(op.symbol());
                    self.push(" ");
                    self.expr(right, right_level, inner);
                }
            }
            ExprKind::Conditional { condition, then, otherwise } => {
                self.expr(condition, Level::Or, inner);
                self.line(inner);
                self.push("-> ");
                self.expr(then, Level::Else, inner);
                self.line(inner);
                self.push(": ");
                self.expr(otherwise, Level::Conditional, inner);
            }
            ExprKind::Switch { subject, cases, otherwise } => {
                self.expr(subject, Level::Or, indent);
                self.push(" -> (");
                self.lines(&switch_cases(cases, otherwise.as_deref()), indent, |p, case| {
                    p.case(*case, inner)
                });
                self.push(")");
            }
            ExprKind::Call { name, arguments } if !arguments.is_empty() => {
                self.push(&name.name);
                self.push("(");
                self.lines(arguments, indent, |p, argument| p.argument(argument, inner));
                self.push(")");
            }
            ExprKind::List(items) if !items.is_empty() => {
                self.push("[");
                self.lines(items, indent, |p, item| p.expr(item, Level::Else, inner));
                self.push("]");
            }
            _ => self.one_line(expr, indent),
        }
    }

    fn separated<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        for (n, item) in items.iter().enumerate() {
            self.push(if n > 0 { ", " } else { "" });
            each(self, item);
        }
    }

    fn lines<T>(&mut self, items: &[T], indent: usize, mut each: impl FnMut(&mut Self, &T)) {
        for (n, item) in items.iter().enumerate() {
            self.push(if n > 0 { "," } else { "" });
            self.line(indent + 1);
            each(self, item);
        }
        self.line(indent);
    }

    fn argument(&mut self, argument: &Argument, indent: usize) {
        if let Some(name) = &argument.name {
            self.push(&name.name);
            self.push(": ");
        }
        self.expr(&argument.value, Level::Else, indent);
    }

    fn case(&mut self, (key, value): (Option<&Expr>, &Expr), indent: usize) {
        match key {
            Some(key) => self.expr(key, Level::Or, indent),
            None => self.push("else"),
        }
        self.push(": ");
        self.expr(value, Level::Else, indent);
    }

    /// What steps are applied to. A number gets brackets, so that its minus or its point stays its own.
    fn base(&mut self, base: &Expr, indent: usize) {
        let number = matches!(base.kind, ExprKind::Int(_) | ExprKind::Number(_));
        self.push(if number { "(" } else { "" });
        self.expr(base, if number { Level::Else } else { Level::Path }, indent);
        self.push(if number { ")" } else { "" });
    }

    /// What a minus is applied to. A number gets brackets, or the minus would become a part of it.
    fn negated(&mut self, operand: &Expr, indent: usize) {
        let number = match &operand.kind {
            ExprKind::Int(value) => *value >= 0,
            ExprKind::Number(text) => !text.starts_with('-'),
            _ => false,
        };
        self.push(if number { "(" } else { "" });
        self.expr(operand, Level::Negation, indent);
        self.push(if number { ")" } else { "" });
    }

    fn show(&mut self, value: &i64) {
        self.text.push_str(&value.to_string());
    }
}

/// The cases of a switch in order, the one without a key last.
fn switch_cases<'e>(
    cases: &'e [(Expr, Expr)],
    otherwise: Option<&'e Expr>,
) -> Vec<(Option<&'e Expr>, &'e Expr)> {
    let keyed = cases.iter().map(|(key, value)| (Some(key), value));
    keyed.chain(otherwise.map(|value| (None, value))).collect()
}

/// A string with quotes and escapes. Characters that a reader would not see, or that would change how the text around
/// them is shown, are escaped.
pub(crate) fn string(value: &str, quotes: Quotes) -> String {
    let (preferred, other) = if quotes == Quotes::Single { ('\'', '"') } else { ('"', '\'') };
    let quote = if value.contains(preferred) && !value.contains(other) { other } else { preferred };
    let mut text = String::with_capacity(value.len() + 2);
    text.push(quote);
    for c in value.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            c if c == quote => text.extend(['\\', c]),
            c if hidden(c) => {
                let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push(quote);
    text
}

/// Control characters, line separators, invisible marks, and those that turn the direction of the text.
pub(crate) fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
