//! Operators, conditionals and literals: what goes between what, and of which kind the result is.
//!
//! Nothing is turned into another kind silently: [`comparable`] and [`arithmetic`] are all there is, besides literals,
//! which take the kind of the other side where their text says such a value.

use corollary_syntax::ast::{self, BinaryOp, ExprKind, UnaryOp};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;
use corollary_value::{BasicKind, Id, Value, parse_as};
use smol_str::SmolStr;

use super::{Checker, help, new};
use crate::typed::{Expr, Kind, Many, Node, Type};

impl Checker<'_> {
    pub(super) fn unary(&self, op: UnaryOp, operand: &ast::Expr) -> Expr {
        match op {
            UnaryOp::Not => {
                let condition = self.condition(operand);
                new(Node::Unary(op, Box::new(condition)), Type::one(Kind::Bool))
            }
            UnaryOp::Negate => {
                let value = self.one(operand, "what `-` negates");
                let kind = value.ty.kind.clone();
                match (&value.node, &kind) {
                    (Node::Const(Value::Int(int)), _) => {
                        Expr::constant(Value::Int(int.wrapping_neg()), Kind::Int)
                    }
                    (Node::Const(Value::Float(float)), _) => {
                        Expr::constant(Value::Float(-float), Kind::Float)
                    }
                    (
                        _,
                        Kind::Int | Kind::Float | Kind::Decimal | Kind::Duration | Kind::Null | Kind::Json,
                    ) => new(Node::Unary(op, Box::new(value)), Type::one(kind)),
                    _ => {
                        let is = self.describe(&value.ty);
                        self.report(Diagnostic::error(
                            "operand-type",
                            operand.span,
                            format!("`-` negates a number, and this is {is}"),
                        ))
                    }
                }
            }
        }
    }

    /// Checks two operands; a literal takes the kind of the other side where its text says such a value.
    pub(super) fn literals(&self, left: &ast::Expr, right: &ast::Expr, op: BinaryOp) -> (Expr, Expr) {
        let (typed_left, typed_right) = if matches!(op, BinaryOp::Else | BinaryOp::IfNull) {
            (self.expr(left), self.expr(right))
        } else {
            (self.one(left, "an operand"), self.one(right, "an operand"))
        };
        if let Some(value) = self.literal_as(left, &typed_left, &typed_right.ty.kind) {
            return (value, typed_right);
        }
        if let Some(value) = self.literal_as(right, &typed_right, &typed_left.ty.kind) {
            return (typed_left, value);
        }
        (typed_left, typed_right)
    }

    pub(super) fn literal_as(&self, source: &ast::Expr, typed: &Expr, kind: &Kind) -> Option<Expr> {
        let (text, basic) = match (&source.kind, kind) {
            (ExprKind::Number(text), Kind::Decimal) => (text, BasicKind::Decimal),
            (ExprKind::Str(text), Kind::Datetime) => (text, BasicKind::Datetime),
            (ExprKind::Str(text), Kind::Date) => (text, BasicKind::Date),
            (ExprKind::Str(text), Kind::Duration) => (text, BasicKind::Duration),
            (ExprKind::Str(text), Kind::Uuid) => (text, BasicKind::Uuid),
            (ExprKind::Str(text), Kind::Resource(_)) => {
                return Some(match Id::parse(text) {
                    Ok(id) => Expr::constant(Value::Ref(id), kind.clone()),
                    Err(error) => self.report(Diagnostic::error("literal", source.span, error.to_string())),
                });
            }
            (ExprKind::Str(text), Kind::Enum(words)) => {
                if !words.contains(text) {
                    let diagnostic = Diagnostic::error(
                        "enum-word",
                        source.span,
                        format!("\"{text}\" is none of {}", self.describe(&Type::one(kind.clone()))),
                    );
                    self.report(match nearest(text, words.iter().map(SmolStr::as_str)) {
                        Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
                        None => diagnostic,
                    });
                }
                return Some(typed.clone());
            }
            _ => return None,
        };
        Some(match parse_as(basic, text) {
            Ok(value) => Expr::constant(value, kind.clone()),
            Err(why) => self.report(Diagnostic::error("literal", source.span, why.to_string())),
        })
    }

    pub(super) fn binary(&self, op: BinaryOp, op_span: Span, left: &ast::Expr, right: &ast::Expr) -> Expr {
        match op {
            BinaryOp::And | BinaryOp::Or => {
                let (left, right) = (self.condition(left), self.condition(right));
                new(Node::Binary(op, Box::new(left), Box::new(right)), Type::one(Kind::Bool))
            }
            BinaryOp::Else | BinaryOp::IfNull => {
                let (spans, (left, right)) = ((left.span, right.span), self.literals(left, right, op));
                let ty = self.common(&left.ty, spans.0, &right.ty, spans.1);
                new(Node::Binary(op, Box::new(left), Box::new(right)), ty)
            }
            BinaryOp::In => {
                let value = self.one(left, "what stands left of `in`");
                let mut list = self.many(right, "`in`");
                if let (Node::List(items), ExprKind::List(sources)) = (&mut list.node, &right.kind) {
                    for (item, source) in items.iter_mut().zip(sources) {
                        if let Some(literal) = self.literal_as(source, item, &value.ty.kind) {
                            list.ty.kind = literal.ty.kind.clone();
                            *item = literal;
                        }
                    }
                }
                if !comparable(&value.ty.kind, &list.ty.kind) {
                    self.mismatch("in", op_span, &value.ty, &list.ty);
                }
                new(Node::Binary(op, Box::new(value), Box::new(list)), Type::one(Kind::Bool))
            }
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual => {
                let spans = (left.span, right.span);
                let ordered = !matches!(op, BinaryOp::Equal | BinaryOp::NotEqual);
                if ordered {
                    self.allow_clocks(left, right);
                }
                let (left, right) = self.literals(left, right, op);
                if ordered {
                    self.check_window((&left, spans.0), (&right, spans.1));
                }
                let among = |expr: &Expr| matches!(expr.ty.kind, Kind::Among(_));
                if !ordered && (among(&left) || among(&right)) {
                    let types = (left.ty.clone(), right.ty.clone());
                    let same = self.same_resource(op, left, right, op_span);
                    return same.unwrap_or_else(|| self.mismatch(op.symbol(), op_span, &types.0, &types.1));
                }
                let resource = |ty: &Type| matches!(ty.kind, Kind::Resource(_) | Kind::Among(_));
                if !comparable(&left.ty.kind, &right.ty.kind)
                    || (ordered && (resource(&left.ty) || resource(&right.ty)))
                {
                    self.mismatch(op.symbol(), op_span, &left.ty, &right.ty);
                }
                new(Node::Binary(op, Box::new(left), Box::new(right)), Type::one(Kind::Bool))
            }
            BinaryOp::Match => {
                let (left, right) = (self.one(left, "an operand"), self.one(right, "an operand"));
                let text = |ty: &Type| matches!(ty.kind, Kind::Str | Kind::Enum(_) | Kind::Null | Kind::Json);
                if !text(&left.ty) || !text(&right.ty) {
                    self.mismatch("~", op_span, &left.ty, &right.ty);
                }
                new(Node::Binary(op, Box::new(left), Box::new(right)), Type::one(Kind::Bool))
            }
            BinaryOp::Add
            | BinaryOp::Subtract
            | BinaryOp::Multiply
            | BinaryOp::Divide
            | BinaryOp::Remainder => {
                if let Some(moved) = self.calendar(op, op_span, left, right) {
                    return moved;
                }
                let (left, right) = self.literals(left, right, op);
                match arithmetic(op, &left.ty.kind, &right.ty.kind) {
                    Some(kind) => new(Node::Binary(op, Box::new(left), Box::new(right)), Type::one(kind)),
                    None => self.mismatch(op.symbol(), op_span, &left.ty, &right.ty),
                }
            }
        }
    }

    fn mismatch(&self, op: &str, span: Span, left: &Type, right: &Type) -> Expr {
        let (left_is, right_is) = (self.describe(left), self.describe(right));
        let diagnostic = Diagnostic::error(
            "operand-type",
            span,
            format!("`{op}` does not go between {left_is} and {right_is}"),
        );
        self.report(diagnostic.maybe_help(help::operands(op, &left.kind, &right.kind)))
    }

    pub(super) fn switch(
        &self,
        subject: &ast::Expr,
        cases: &[(ast::Expr, ast::Expr)],
        otherwise: Option<&ast::Expr>,
    ) -> Expr {
        let subject_typed = self.one(subject, "what `->` looks at");
        let mut ty = Type::one(Kind::Null);
        let mut typed = Vec::with_capacity(cases.len());
        for (key, value) in cases {
            let mut key_typed = self.one(key, "a case");
            if let Some(literal) = self.literal_as(key, &key_typed, &subject_typed.ty.kind) {
                key_typed = literal;
            }
            if !comparable(&subject_typed.ty.kind, &key_typed.ty.kind) {
                self.mismatch("->", key.span, &subject_typed.ty, &key_typed.ty);
            }
            let value_typed = self.expr(value);
            ty = self.common(&ty, subject.span, &value_typed.ty, value.span);
            typed.push((key_typed, value_typed));
        }
        let otherwise = otherwise.map(|value| {
            let value_typed = self.expr(value);
            ty = self.common(&ty, subject.span, &value_typed.ty, value.span);
            Box::new(value_typed)
        });
        new(Node::Switch(Box::new(subject_typed), typed, otherwise), ty)
    }

    /// The type that holds both.
    pub(super) fn common(&self, left: &Type, left_span: Span, right: &Type, right_span: Span) -> Type {
        for (ty, span) in [(left, left_span), (right, right_span)] {
            if matches!(ty.kind, Kind::Among(_)) {
                return self.several(span, ty).ty;
            }
        }
        let many = match (left.many, right.many) {
            (left, right) if left == right => left,
            (many, Many::One) if right.kind == Kind::Null => many,
            (Many::One, many) if left.kind == Kind::Null => many,
            _ => {
                let (left, right) = (self.describe(left), self.describe(right));
                self.report(Diagnostic::error(
                    "branches",
                    right_span,
                    format!("this is {right}, and the other value is {left}"),
                ));
                return Type::one(Kind::Null);
            }
        };
        let kind = match (&left.kind, &right.kind) {
            (Kind::Null, kind) | (kind, Kind::Null) => kind.clone(),
            (left, right) if left == right => left.clone(),
            (Kind::Json, _) | (_, Kind::Json) => Kind::Json,
            (Kind::Str | Kind::Enum(_), Kind::Str | Kind::Enum(_)) => Kind::Str,
            (left, right) => match arithmetic(BinaryOp::Add, left, right) {
                Some(kind) if is_number(left) && is_number(right) => kind,
                _ => {
                    let left = self.describe(&Type { kind: left.clone(), many });
                    let right = self.describe(&Type { kind: right.clone(), many });
                    self.report(Diagnostic::error(
                        "branches",
                        right_span,
                        format!("this is {right}, and the other value is {left}"),
                    ));
                    Kind::Null
                }
            },
        };
        Type { kind, many }
    }
}

fn is_number(kind: &Kind) -> bool {
    matches!(kind, Kind::Int | Kind::Float | Kind::Decimal)
}

/// May values of these kinds be compared?
fn comparable(left: &Kind, right: &Kind) -> bool {
    match (left, right) {
        (Kind::Null, _) | (_, Kind::Null) => true,
        (Kind::Among(_), _) | (_, Kind::Among(_)) => false,
        (Kind::Json, _) | (_, Kind::Json) => true,
        (Kind::Str | Kind::Enum(_), Kind::Str | Kind::Enum(_)) => true,
        (left, right) => left == right || (is_number(left) && is_number(right)),
    }
}

/// The kind of the result of an arithmetic operator; none where it makes no sense.
fn arithmetic(op: BinaryOp, left: &Kind, right: &Kind) -> Option<Kind> {
    use BinaryOp::{Add, Divide, Multiply, Subtract};
    Some(match (left, right) {
        (Kind::Json, _) | (_, Kind::Json) => Kind::Json,
        (Kind::Null, Kind::Null) => Kind::Null,
        (Kind::Null, kind) | (kind, Kind::Null) => match arithmetic(op, kind, kind) {
            Some(result) => result,
            // A null date less a duration is still a date: the kind of the other operand decides nothing.
            None => kind.clone(),
        },
        (Kind::Int, Kind::Int) if op == Divide => Kind::Float,
        (Kind::Int, Kind::Int) => Kind::Int,
        (Kind::Float, kind) | (kind, Kind::Float) if is_number(kind) => Kind::Float,
        (Kind::Decimal, kind) | (kind, Kind::Decimal) if is_number(kind) => Kind::Decimal,
        (Kind::Str | Kind::Enum(_), Kind::Str | Kind::Enum(_)) if op == Add => Kind::Str,
        (Kind::Datetime, Kind::Duration) if matches!(op, Add | Subtract) => Kind::Datetime,
        (Kind::Date, Kind::Duration) if matches!(op, Add | Subtract) => Kind::Date,
        (Kind::Duration, Kind::Datetime) if op == Add => Kind::Datetime,
        (Kind::Duration, Kind::Date) if op == Add => Kind::Date,
        (Kind::Datetime, Kind::Datetime) | (Kind::Date, Kind::Date) if op == Subtract => Kind::Duration,
        (Kind::Duration, Kind::Duration) if matches!(op, Add | Subtract) => Kind::Duration,
        (Kind::Duration, Kind::Int) if matches!(op, Multiply | Divide) => Kind::Duration,
        (Kind::Int, Kind::Duration) if op == Multiply => Kind::Duration,
        _ => return None,
    })
}
