//! The grammar of expressions: operators by precedence, weakest first.
//!
//! ```text
//! expression  := conditional (("else" | "??") conditional)*                  left to right
//! conditional := binary ["->" ("(" cases ")" | expression ":" conditional)]
//! binary      := or | and | not | comparison | sum | product | negation      see Level
//! ```
//!
//! So `else` binds weakest of all, and a conditional next: `c -> a : b else d` is `(c -> a : b) else d`, and
//! `a else c -> d : e` is `a else (c -> d : e)`. Between `->` and `:` stands a whole expression, as if in brackets.
//! Comparisons do not chain. `not` binds weaker than comparisons, so `not a = b` is `not (a = b)`, and a `not` to the
//! right of a stronger operator needs brackets. A minus directly before a number is part of the number.
//!
//! Read next: `parse_path` for paths, brackets and calls.

use crate::Parsed;
use crate::ast::{BinaryOp, Expr, ExprKind, UnaryOp};
use crate::limits::MAX_HEIGHT;
use crate::parser::Parser;
use crate::span::Span;
use crate::token::TokenKind;

/// How strongly an operator binds, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Else,
    Conditional,
    Or,
    And,
    Not,
    Comparison,
    Sum,
    Product,
    Negation,
    Path,
}

impl Level {
    /// The level of an operator of two operands.
    pub(crate) fn of(op: BinaryOp) -> Level {
        match op {
            BinaryOp::Else | BinaryOp::IfNull => Level::Else,
            BinaryOp::Or => Level::Or,
            BinaryOp::And => Level::And,
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual
            | BinaryOp::Match
            | BinaryOp::In => Level::Comparison,
            BinaryOp::Add | BinaryOp::Subtract => Level::Sum,
            BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Remainder => Level::Product,
        }
    }

    /// The next stronger level: that of an operand which may not be the same operator without brackets.
    pub(crate) fn stronger(self) -> Level {
        match self {
            Level::Else => Level::Conditional,
            Level::Conditional => Level::Or,
            Level::Or => Level::And,
            Level::And => Level::Not,
            Level::Not => Level::Comparison,
            Level::Comparison => Level::Sum,
            Level::Sum => Level::Product,
            Level::Product => Level::Negation,
            Level::Negation | Level::Path => Level::Path,
        }
    }
}

/// An expression and the height of its tree, which [`MAX_HEIGHT`] bounds.
pub(crate) struct Node {
    pub(crate) expr: Expr,
    pub(crate) height: usize,
}

impl Node {
    /// A node without operands.
    pub(crate) fn leaf(kind: ExprKind, span: Span) -> Node {
        Node { expr: Expr { kind, span }, height: 1 }
    }

    /// Stands for what could not be read.
    pub(crate) fn error(span: Span) -> Node {
        Node::leaf(ExprKind::Error, span)
    }

    /// The expression alone, noting its height.
    pub(crate) fn note(self, highest: &mut usize) -> Expr {
        *highest = self.height.max(*highest);
        self.expr
    }

    /// The same in a box.
    pub(crate) fn boxed(self, highest: &mut usize) -> Box<Expr> {
        Box::new(self.note(highest))
    }
}

/// Parses a text that is one expression.
pub(crate) fn parse(text: &str) -> Parsed<Expr> {
    let mut parser = Parser::new(text, false);
    let tree = if parser.at(TokenKind::End) {
        let here = parser.here();
        parser.error(
            "missing-value",
            here,
            "there is no expression here",
            "write a value, as in self.age + 1",
        );
        Node::error(here).expr
    } else {
        parser.expression().expr
    };
    while !parser.at(TokenKind::End) {
        parser.leftover();
    }
    Parsed { tree, diagnostics: parser.finish().0 }
}

impl Parser<'_> {
    /// Behind a whole expression: reports the next token, and reads on for further mistakes.
    pub(crate) fn leftover(&mut self) {
        let next = self.peek();
        let shown = self.shown(next);
        if self.value_starts(next) {
            let help = "join two values with an operator";
            self.error("missing-operator", next.span, format!("expected an operator before {shown}"), help);
        } else {
            self.error("unexpected", next.span, format!("unexpected {shown}"), "remove it");
            self.bump();
            if self.at(TokenKind::End) || self.operator().is_some() {
                self.bump();
            }
        }
        if !self.at(TokenKind::End) {
            let before = self.position();
            self.expression();
            if self.position() == before {
                self.bump();
            }
        }
    }

    /// A node above others, the highest of which has this height; an error where that is too high.
    pub(crate) fn above(&mut self, highest: usize, kind: ExprKind, span: Span) -> Node {
        if highest >= MAX_HEIGHT {
            let message = format!("this expression chains more than {MAX_HEIGHT} operators or steps");
            self.too_large("too-deep", message, "give a part of it a derived field of its own");
            return Node::error(span);
        }
        Node { expr: Expr { kind, span }, height: highest + 1 }
    }

    /// A whole expression.
    pub(crate) fn expression(&mut self) -> Node {
        let mut left = self.conditional();
        while self.at(TokenKind::Coalesce) || self.else_operator() {
            let token = self.bump();
            let op = if token.kind == TokenKind::Coalesce { BinaryOp::IfNull } else { BinaryOp::Else };
            let right = self.conditional();
            left = self.join(left, op, token.span, right);
        }
        left
    }

    /// Whether an `else` between two values stands here, not the `else:` of a switch, nor a member of that name.
    fn else_operator(&self) -> bool {
        self.word_at(0, "else") && !self.member_at(0)
    }

    fn join(&mut self, left: Node, op: BinaryOp, op_span: Span, right: Node) -> Node {
        let span = left.expr.span.to(right.expr.span);
        let mut highest = 0;
        let kind = ExprKind::Binary {
            op,
            op_span,
            left: left.boxed(&mut highest),
            right: right.boxed(&mut highest),
        };
        self.above(highest, kind, span)
    }

    fn conditional(&mut self) -> Node {
        let condition = self.binary(Level::Or);
        if self.at(TokenKind::Question) {
            let help = "write \"condition -> value : otherwise\"";
            self.error("unknown-operator", self.peek().span, "\"?\" is not part of the language", help);
        } else if !self.at(TokenKind::Arrow) {
            return condition;
        }
        let start = condition.expr.span;
        self.bump();
        self.deeper(|p| if p.switch_follows() { p.switch(condition) } else { p.branches(condition) })
            .unwrap_or_else(|| Node::error(start))
    }

    /// What follows the `->` of a conditional.
    fn branches(&mut self, condition: Node) -> Node {
        let start = condition.expr.span;
        let mut highest = 0;
        let condition = condition.boxed(&mut highest);
        self.open_arrows += 1;
        let then = self.expression().boxed(&mut highest);
        self.open_arrows -= 1;
        let otherwise = if self.eat(TokenKind::Colon).is_some() {
            self.conditional().boxed(&mut highest)
        } else {
            let message = format!("expected \":\" and the value otherwise, found {}", self.found());
            let help = "write \"condition -> value : otherwise\"; the value otherwise may be null";
            self.error("missing-otherwise", self.here(), message, help);
            Node::error(self.here()).boxed(&mut highest)
        };
        let span = self.span_from(start);
        self.above(highest, ExprKind::Conditional { condition, then, otherwise }, span)
    }

    /// Whether the `(` here, behind `->`, opens the cases of a switch: the first `:` or `,` directly within it belongs
    /// to no `->` within it, or there is nothing in it.
    fn switch_follows(&self) -> bool {
        if !self.at(TokenKind::LeftParen) {
            return false;
        }
        if self.peek_at(1).kind == TokenKind::RightParen {
            return true;
        }
        let mut open = 0usize;
        let mut arrows = 0usize;
        for n in 0.. {
            match self.peek_at(n).kind {
                TokenKind::LeftParen | TokenKind::LeftBracket => open += 1,
                TokenKind::RightParen | TokenKind::RightBracket if open == 1 => return false,
                TokenKind::RightParen | TokenKind::RightBracket => open -= 1,
                // None of these stands within an expression: its brackets are unbalanced.
                TokenKind::End | TokenKind::Assign | TokenKind::LeftBrace | TokenKind::RightBrace => {
                    return false;
                }
                TokenKind::Arrow | TokenKind::Question if open == 1 => arrows += 1,
                TokenKind::Comma if open == 1 => return true,
                TokenKind::Colon if open == 1 && arrows == 0 => return true,
                TokenKind::Colon if open == 1 => arrows -= 1,
                _ => {}
            }
        }
        false
    }

    /// The cases of a switch, from `(` to `)`.
    fn switch(&mut self, subject: Node) -> Node {
        let start = subject.expr.span;
        let mut highest = 0;
        let subject = subject.boxed(&mut highest);
        let mut cases = Vec::new();
        let mut otherwise = None;
        let open = self.peek().span;
        self.enclosed(TokenKind::RightParen, |p| {
            let key_span = p.peek().span;
            if p.word_at(0, "else") && p.peek_at(1).kind == TokenKind::Colon {
                p.bump();
                p.bump();
                let value = p.expression().boxed(&mut highest);
                if otherwise.replace(value).is_some() {
                    let message = "this switch has a second \"else\"";
                    p.error("bad-switch", key_span, message, "keep one of them");
                }
                return;
            }
            if otherwise.is_some() {
                p.error("bad-switch", key_span, "a case after \"else\"", "put \"else: …\" last");
            }
            let key = p.binary(Level::Or).note(&mut highest);
            if p.eat(TokenKind::Colon).is_none() {
                let message = format!("expected \":\" and the value of this case, found {}", p.found());
                p.error("bad-switch", p.here(), message, "write each case as \"key: value\"");
                if !p.value_starts(p.peek()) {
                    return;
                }
            }
            let value = p.expression().note(&mut highest);
            cases.push((key, value));
        });
        let span = self.span_from(start);
        if cases.is_empty() && otherwise.is_none() {
            let help = "write \"x -> ('key': value, else: value)\"";
            self.error("bad-switch", open, "this switch has no cases", help);
        }
        self.above(highest, ExprKind::Switch { subject, cases, otherwise }, span)
    }

    /// Operators of two operands which bind at least as strongly as `least`.
    pub(crate) fn binary(&mut self, least: Level) -> Node {
        let mut left = self.prefix(least);
        let mut compared = false;
        loop {
            if self.word_at(0, "not") && self.word_at(1, "in") && least <= Level::Comparison {
                left = self.not_in(left);
                continue;
            }
            let Some(op) = self.operator() else { return left };
            let level = Level::of(op);
            if level < least {
                return left;
            }
            let token = self.bump();
            if level == Level::Comparison && std::mem::replace(&mut compared, true) {
                let help = "join two comparisons, as in \"a < b and b < c\"";
                self.error("chained-comparison", token.span, "comparisons do not chain", help);
            }
            compared &= level == Level::Comparison;
            self.missing_angle(op);
            let right = self.binary(level.stronger());
            left = self.join(left, op, token.span, right);
        }
    }

    /// `<>` is only found here: in `set<…>` both are brackets.
    fn missing_angle(&mut self, op: BinaryOp) {
        let (last, next) = (self.last_span(), self.peek());
        if op == BinaryOp::Less && next.kind == TokenKind::Greater && next.span.start == last.end {
            let span = last.to(next.span);
            self.error("unknown-operator", span, "\"<>\" is not part of the language", "use \"!=\"");
            self.bump();
        }
    }

    /// `x not in list`, which is written `not x in list`.
    fn not_in(&mut self, left: Node) -> Node {
        let not = self.bump().span;
        let op_span = self.bump().span;
        let help = "write \"not x in list\"";
        self.error("unknown-operator", not.to(op_span), "\"not in\" is not part of the language", help);
        let right = self.binary(Level::Sum);
        let inner = self.join(left, BinaryOp::In, op_span, right);
        let span = inner.expr.span;
        let mut highest = 0;
        let operand = inner.boxed(&mut highest);
        self.above(highest, ExprKind::Unary { op: UnaryOp::Not, operand }, span)
    }

    /// The operator of two operands here, except `else`.
    fn operator(&self) -> Option<BinaryOp> {
        Some(match self.peek().kind {
            TokenKind::Pipe => BinaryOp::Or,
            TokenKind::Ampersand => BinaryOp::And,
            TokenKind::Equal => BinaryOp::Equal,
            TokenKind::NotEqual => BinaryOp::NotEqual,
            TokenKind::Less => BinaryOp::Less,
            TokenKind::LessEqual => BinaryOp::LessEqual,
            TokenKind::Greater => BinaryOp::Greater,
            TokenKind::GreaterEqual => BinaryOp::GreaterEqual,
            TokenKind::Tilde => BinaryOp::Match,
            TokenKind::Plus => BinaryOp::Add,
            TokenKind::Minus => BinaryOp::Subtract,
            TokenKind::Star => BinaryOp::Multiply,
            TokenKind::Slash => BinaryOp::Divide,
            TokenKind::Percent => BinaryOp::Remainder,
            // At the start of a line, `in: str` is a member.
            TokenKind::Word if self.member_at(0) => return None,
            TokenKind::Word => match self.word_of(self.peek()) {
                "or" => BinaryOp::Or,
                "and" => BinaryOp::And,
                "in" => BinaryOp::In,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// `not x`, `-x`, or a path.
    fn prefix(&mut self, least: Level) -> Node {
        let token = self.peek();
        let start = token.span;
        let op = match token.kind {
            TokenKind::Minus => UnaryOp::Negate,
            TokenKind::Bang => UnaryOp::Not,
            TokenKind::Word if self.slice(start) == "not" && !self.member_starts_line() => UnaryOp::Not,
            _ => return self.path(),
        };
        self.bump();
        if op == UnaryOp::Negate
            && let Some(number) = self.negative_number(start)
        {
            return number;
        }
        if op == UnaryOp::Not && least > Level::Not {
            let help = "put it and its operand in brackets";
            let message = format!(
                "{} binds weaker than the operator before it",
                crate::lexer::quoted(self.slice(start))
            );
            self.error("needs-brackets", start, message, help);
        }
        let operand_level = if op == UnaryOp::Not { Level::Not.max(least) } else { Level::Negation };
        let operand = self.deeper(|p| p.binary(operand_level)).unwrap_or_else(|| Node::error(start));
        let span = start.to(operand.expr.span);
        let mut highest = 0;
        let operand = operand.boxed(&mut highest);
        self.above(highest, ExprKind::Unary { op, operand }, span)
    }
}
