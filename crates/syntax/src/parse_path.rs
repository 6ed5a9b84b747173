//! The grammar of values and paths: literals, names, calls, lists, and the steps behind them.
//!
//! ```text
//! path  := value (".name" | "[" step "]")*
//! step  := -1 | 0..5 | "order by" key ["asc" | "desc"], … | condition
//! value := literal | name | name "(" arguments ")" | "(" expression ")" | "[" expressions "]"
//! ```

use smol_str::{SmolStr, format_smolstr};

use crate::ast::{Argument, BinaryOp, ExprKind, OrderKey};
use crate::lexer::{quoted, unescape};
use crate::nearest::nearest;
use crate::parse_expression::{Level, Node};
use crate::parser::Parser;
use crate::span::Span;
use crate::token::{Token, TokenKind};

/// Words that are no names of fields, collections or functions, except behind a dot.
pub(crate) const KEYWORDS: &[&str] =
    &["true", "false", "null", "self", "root", "ego", "parent", "and", "or", "not", "else", "in"];

impl Parser<'_> {
    /// Items between brackets, separated by commas. The opening bracket is the next token; `item` reads one item.
    pub(crate) fn enclosed(&mut self, close: TokenKind, mut item: impl FnMut(&mut Self)) {
        let open = self.bump().span;
        let outer = (self.line_bound, self.open_arrows);
        (self.line_bound, self.open_arrows) = (false, 0);
        while !self.at(close) && !self.at(TokenKind::End) {
            let before = self.position();
            item(self);
            if self.eat(TokenKind::Comma).is_some() {
                continue;
            }
            if self.at(close) || !self.goes_on(before) {
                break;
            }
        }
        (self.line_bound, self.open_arrows) = outer;
        self.close(close, open);
    }

    /// Behind an item that neither a comma nor the closing bracket follows: reports it, and says whether to read on.
    fn goes_on(&mut self, before: usize) -> bool {
        let next = self.peek();
        let closes = matches!(
            next.kind,
            TokenKind::RightParen
                | TokenKind::RightBracket
                | TokenKind::RightBrace
                | TokenKind::LeftBrace
                | TokenKind::Assign
                | TokenKind::End
        );
        let member = self.in_schema && next.line_break && (self.member_at(0) || self.type_starts());
        if closes || member {
            return false;
        }
        if self.value_starts(next) && self.position() > before {
            let message = format!("expected \",\" or an operator before {}", self.shown(next));
            self.error("missing-comma", next.span, message, "separate values with a comma");
        } else {
            self.error("unexpected", next.span, format!("unexpected {}", self.shown(next)), "remove it");
            self.bump();
        }
        true
    }

    /// A token for a message, wherever it stands.
    pub(crate) fn shown(&self, token: Token) -> String {
        let quoted = quoted(self.slice(token.span));
        if token.kind == TokenKind::Str { quoted[1..quoted.len() - 1].to_string() } else { quoted }
    }

    /// Whether a value can start with this token.
    pub(crate) fn value_starts(&self, token: Token) -> bool {
        use TokenKind::{Bang, Int, LeftBracket, LeftParen, Minus, Number, Str, Word};
        matches!(token.kind, Word | Int | Number | Str | LeftParen | LeftBracket | Minus | Bang)
    }

    /// Whether the next token starts a member on a new line, so that no value can start with it.
    pub(crate) fn member_starts_line(&self) -> bool {
        let colon = self.peek_at(1).kind;
        let member = colon == TokenKind::Assign || (colon == TokenKind::Colon && self.open_arrows == 0);
        self.line_bound && self.peek().line_break && self.peek().kind == TokenKind::Word && member
    }

    /// A value and the steps behind it.
    pub(crate) fn path(&mut self) -> Node {
        let mut base = self.value();
        loop {
            base = match self.peek().kind {
                TokenKind::Dot => self.field(base),
                TokenKind::LeftBracket => self.step(base),
                TokenKind::LeftParen if !self.line_ended() => self.method(base),
                _ => return base,
            };
        }
    }

    fn field(&mut self, base: Node) -> Node {
        self.bump();
        let start = base.expr.span;
        let next = self.peek();
        if next.kind != TokenKind::Word || self.member_starts_line() {
            let message = format!("expected a field's name behind \".\", found {}", self.found());
            let help = match next.kind {
                TokenKind::Int => format!("write [{}] for a position", self.slice(next.span)),
                TokenKind::LeftBracket => "write the brackets without a dot before them".to_string(),
                TokenKind::Str => "write the name without quotes".to_string(),
                _ => "write the name of a field, as in self.name".to_string(),
            };
            self.error("missing-name", self.here(), message, help);
            if matches!(next.kind, TokenKind::Int | TokenKind::Str) && !self.line_ended() {
                self.bump();
            }
            return base;
        }
        let token = self.bump();
        let name = self.ident_of(token);
        let mut highest = 0;
        let kind = ExprKind::Field { base: base.boxed(&mut highest), name };
        self.above(highest, kind, start.to(token.span))
    }

    /// `base.name(…)`: reported, and read as `name(base, …)`.
    fn method(&mut self, base: Node) -> Node {
        let start = base.expr.span;
        let written = self.slice(start);
        let mut highest = 0;
        let (name, subject) = match base.expr.kind {
            ExprKind::Field { base: subject, name } => {
                let arguments = if self.peek_at(1).kind == TokenKind::RightParen { ")" } else { ", …)" };
                let help = format!("write {}({}{arguments}", name.name, self.slice(subject.span));
                self.error("bad-call", name.span, "functions stand before what they are applied to", help);
                highest = base.height;
                (Some(name), Some(*subject))
            }
            _ => {
                let message = format!("{} is not a function", quoted(written));
                self.error(
                    "bad-call",
                    self.peek().span,
                    message,
                    "an operator or a comma is missing before \"(\"",
                );
                (None, None)
            }
        };
        let (mut arguments, below) = self.arguments();
        let span = self.span_from(start);
        let Some(name) = name else { return Node::error(span) };
        arguments.splice(0..0, subject.map(|value| Argument { name: None, value }));
        self.above(highest.max(below), ExprKind::Call { name, arguments }, span)
    }

    /// The arguments of a call, from `(` to `)`, and the height of the highest.
    fn arguments(&mut self) -> (Vec<Argument>, usize) {
        let mut highest = 0;
        let arguments = self.deeper(|p| {
            let mut arguments = Vec::new();
            p.enclosed(TokenKind::RightParen, |p| {
                let named = p.peek().kind == TokenKind::Word && p.peek_at(1).kind == TokenKind::Colon;
                let name = named.then(|| {
                    let token = p.bump();
                    p.bump();
                    p.ident_of(token)
                });
                let value = p.expression().note(&mut highest);
                arguments.push(Argument { name, value });
            });
            arguments
        });
        (arguments.unwrap_or_default(), highest)
    }

    /// `[…]` behind a value.
    fn step(&mut self, base: Node) -> Node {
        let start = base.expr.span;
        let open = self.peek().span;
        let outer = (self.line_bound, self.open_arrows);
        let mut highest = 0;
        let base = base.boxed(&mut highest);
        let kind = self.deeper(|p| {
            p.bump();
            (p.line_bound, p.open_arrows) = (false, 0);
            let kind = if p.at(TokenKind::RightBracket) {
                let help = "write a condition, a position, a range such as 0..5, or \"order by\" in them";
                p.error("empty-brackets", open, "there is nothing in these brackets", help);
                ExprKind::Error
            } else if let Some((from, to)) = p.range() {
                match to {
                    Some(to) => ExprKind::Slice { base, from, to },
                    None => ExprKind::Index { base, index: from.unwrap_or_default() },
                }
            } else if p.order_follows() {
                let keys = p.order_keys(&mut highest);
                ExprKind::Order { base, keys }
            } else {
                let condition = p.conditions().boxed(&mut highest);
                ExprKind::Filter { base, condition }
            };
            (p.line_bound, p.open_arrows) = outer;
            p.close(TokenKind::RightBracket, open);
            kind
        });
        let span = self.span_from(start);
        self.above(highest, kind.unwrap_or(ExprKind::Error), span)
    }

    /// A position `5` as `(5, None)`, or a range `2..5` as `(2, Some(5))`, if nothing else stands in the brackets.
    fn range(&mut self) -> Option<(Option<i64>, Option<Option<i64>>)> {
        let number = |p: &Self, n: usize| match (p.peek_at(n).kind, p.peek_at(n + 1).kind) {
            (TokenKind::Int, _) => 1,
            (TokenKind::Minus, TokenKind::Int) => 2,
            _ => 0,
        };
        let first = number(self, 0);
        if self.peek_at(first).kind == TokenKind::RightBracket {
            return Some((self.bound(first), None));
        }
        let second = number(self, first + 1);
        let ranges = self.peek_at(first).kind == TokenKind::DotDot
            && self.peek_at(first + 1 + second).kind == TokenKind::RightBracket;
        if !ranges {
            return None;
        }
        let from = self.bound(first);
        self.bump();
        Some((from, Some(self.bound(second))))
    }

    /// A whole number of so many tokens.
    fn bound(&mut self, tokens: usize) -> Option<i64> {
        let start = self.peek().span;
        if tokens == 2 {
            self.bump();
        }
        (tokens > 0).then(|| {
            let digits = self.bump().span;
            self.integer(tokens == 2, digits, start.to(digits))
        })
    }

    /// The value of digits and a sign; reported where it does not fit.
    fn integer(&mut self, negative: bool, digits: Span, span: Span) -> i64 {
        let written = format_smolstr!("{}{}", if negative { "-" } else { "" }, self.slice(digits));
        written.parse().unwrap_or_else(|_| {
            let help = format!("whole numbers lie from {} to {}; write it with a point", i64::MIN, i64::MAX);
            self.error("number-too-large", span, format!("{} is too large", quoted(&written)), help);
            0
        })
    }

    /// Behind a minus: the number that it belongs to, unless steps follow, to which the minus would apply.
    pub(crate) fn negative_number(&mut self, minus: Span) -> Option<Node> {
        let digits = self.peek();
        let steps = matches!(self.peek_at(1).kind, TokenKind::Dot | TokenKind::LeftBracket);
        if steps || !matches!(digits.kind, TokenKind::Int | TokenKind::Number) {
            return None;
        }
        self.bump();
        let span = minus.to(digits.span);
        let kind = if digits.kind == TokenKind::Int {
            ExprKind::Int(self.integer(true, digits.span, span))
        } else {
            ExprKind::Number(format_smolstr!("-{}", self.slice(digits.span)))
        };
        Some(Node::leaf(kind, span))
    }

    /// Whether `order by`, or something close to it, stands here.
    fn order_follows(&self) -> bool {
        let (first, second) = (self.word_of(self.peek()), self.peek_at(1));
        match self.word_of(second) {
            "by" => !first.is_empty() && !KEYWORDS.contains(&first),
            word => {
                matches!(first, "order" | "orderby" | "order_by" | "sort")
                    && !word.is_empty()
                    && !KEYWORDS.contains(&word)
            }
        }
    }

    /// `order by a desc, b`, up to the closing bracket.
    fn order_keys(&mut self, highest: &mut usize) -> Vec<OrderKey> {
        let start = self.bump().span;
        let by = self.eat_word("by");
        if self.slice(start) != "order" || by.is_none() {
            let span = self.span_from(start);
            let message = format!("{} is not known here", quoted(self.slice(span)));
            self.error("unknown-keyword", span, message, "did you mean \"order by\"?");
        }
        let mut keys = Vec::new();
        loop {
            let expr = self.expression().note(highest);
            let descending = self.direction();
            keys.push(OrderKey { expr, descending });
            if self.eat(TokenKind::Comma).is_none() {
                return keys;
            }
        }
    }

    /// `asc` or `desc` behind a key, or nothing: is it descending?
    pub(crate) fn direction(&mut self) -> bool {
        if self.eat_word("desc").is_some() {
            return true;
        }
        if self.eat_word("asc").is_some() || !self.at(TokenKind::Word) {
            return false;
        }
        let token = self.bump();
        let word = self.slice(token.span);
        let meant = nearest(word, ["asc", "desc", "descending", "ascending"]);
        let help = match meant {
            Some(meant) => format!("did you mean \"{}\"?", meant.trim_end_matches("ending")),
            None => "a key may be followed by \"asc\" or \"desc\"; separate keys with a comma".to_string(),
        };
        self.error("unknown-keyword", token.span, format!("unexpected {}", quoted(word)), help);
        meant.is_some_and(|meant| meant.starts_with("desc"))
    }

    /// The condition in brackets; several, separated by commas, are reported and read as joined by `and`.
    fn conditions(&mut self) -> Node {
        let mut all = self.expression();
        loop {
            let next = self.peek();
            match next.kind {
                TokenKind::Comma => {
                    let help = "join conditions with \"and\"";
                    self.error("unexpected", next.span, "a filter has one condition", help);
                }
                TokenKind::DotDot => {
                    let help = "write them as 0..5, ..5 or 2..";
                    self.error("bad-range", next.span, "the ends of a range are whole numbers", help);
                }
                _ => return all,
            }
            self.bump();
            if !self.value_starts(self.peek()) {
                return all;
            }
            let right = self.expression();
            let span = all.expr.span.to(right.expr.span);
            let mut highest = 0;
            let (left, right) = (all.boxed(&mut highest), right.boxed(&mut highest));
            let kind = ExprKind::Binary { op: BinaryOp::And, op_span: next.span, left, right };
            all = self.above(highest, kind, span);
        }
    }

    /// A value without steps.
    fn value(&mut self) -> Node {
        let token = self.peek();
        let span = token.span;
        let kind = match token.kind {
            _ if self.member_starts_line() => return self.missing_value(),
            TokenKind::Word => return self.named(token),
            TokenKind::Int => {
                self.bump();
                ExprKind::Int(self.integer(false, span, span))
            }
            TokenKind::Number => {
                self.bump();
                ExprKind::Number(SmolStr::new(self.slice(span)))
            }
            TokenKind::Str => {
                self.bump();
                ExprKind::Str(unescape(self.slice(span)))
            }
            TokenKind::LeftParen => {
                return self.deeper(|p| p.bracketed()).unwrap_or_else(|| Node::error(span));
            }
            TokenKind::LeftBracket => {
                let mut highest = 0;
                let items = self.deeper(|p| {
                    let mut items = Vec::new();
                    p.enclosed(TokenKind::RightBracket, |p| items.push(p.expression().note(&mut highest)));
                    items
                });
                let span = self.span_from(span);
                return self.above(highest, ExprKind::List(items.unwrap_or_default()), span);
            }
            TokenKind::LeftBrace if !self.line_ended() => {
                let help = "write the fields of an object one by one";
                self.error("unexpected", span, "an expression holds no object", help);
                self.skip_balanced();
                ExprKind::Error
            }
            TokenKind::Dot if self.peek_at(1).kind == TokenKind::Int => {
                let help = format!("write 0.{}", self.slice(self.peek_at(1).span));
                self.error("bad-number", span, "a number starts with a digit", help);
                self.bump();
                self.bump();
                ExprKind::Error
            }
            _ => return self.missing_value(),
        };
        Node::leaf(kind, self.span_from(span))
    }

    fn missing_value(&mut self) -> Node {
        let here = self.here();
        let message = format!("expected a value, found {}", self.found());
        let help = match self.peek().kind {
            TokenKind::Plus => "remove the \"+\"",
            TokenKind::Dot | TokenKind::DotDot => {
                "start a path with self, parent, root or a collection's name"
            }
            _ => "write a number, a string, a path such as self.name, or a function",
        };
        self.error("missing-value", here, message, help);
        if !self.at(TokenKind::Plus) {
            return Node::error(here);
        }
        while self.eat(TokenKind::Plus).is_some() {}
        self.value()
    }

    /// `( expression )`. The brackets leave no node, but the place includes them.
    fn bracketed(&mut self) -> Node {
        let mut inner: Option<Node> = None;
        let open = self.peek().span;
        self.enclosed(TokenKind::RightParen, |p| {
            if inner.is_some() {
                let help = "write a list as [a, b]";
                p.error("unexpected", p.last_span(), "these brackets hold one value", help);
            }
            let node = p.expression();
            inner.get_or_insert(node);
        });
        let span = self.span_from(open);
        let Some(mut inner) = inner else {
            self.error(
                "empty-brackets",
                span,
                "there is nothing in these brackets",
                "write a value between them",
            );
            return Node::error(span);
        };
        inner.expr.span = span;
        inner
    }

    /// A keyword, a name or a call.
    fn named(&mut self, token: Token) -> Node {
        let span = token.span;
        let word = self.slice(span);
        let next = self.peek_at(1);
        let kind = match word {
            "and" | "or" | "else" | "in" => return self.missing_value(),
            "null" => ExprKind::Null,
            "true" => ExprKind::Bool(true),
            "false" => ExprKind::Bool(false),
            "self" => ExprKind::SelfRef,
            "root" => ExprKind::Root,
            "ego" => ExprKind::Ego,
            "parent" => ExprKind::Parent,
            "if" if self.if_then_follows() => return self.if_word(span),
            _ if next.kind == TokenKind::LeftParen && !(self.line_bound && next.line_break) => {
                return self.call();
            }
            _ => ExprKind::Name(SmolStr::new(word)),
        };
        self.bump();
        Node::leaf(kind, span)
    }

    fn call(&mut self) -> Node {
        let token = self.bump();
        let name = self.ident_of(token);
        let (arguments, highest) = self.arguments();
        let span = self.span_from(token.span);
        self.above(highest, ExprKind::Call { name, arguments }, span)
    }

    /// Whether the word `if` here is followed by a value and `then`, as in other languages: else it is a name.
    fn if_then_follows(&self) -> bool {
        const FAR: usize = 64;
        let mut tokens = (1..FAR).map(|n| self.peek_at(n)).take_while(|token| {
            let ends = matches!(
                token.kind,
                TokenKind::Comma | TokenKind::Colon | TokenKind::Assign | TokenKind::End
            );
            let other_line = self.line_bound && token.line_break;
            !ends && !other_line
        });
        let starts = tokens.next().is_some_and(|token| self.value_starts(token));
        starts && tokens.any(|token| self.word_of(token) == "then")
    }

    /// `if a then b else c`, reported and passed over.
    fn if_word(&mut self, span: Span) -> Node {
        self.bump();
        let help = "write \"condition -> value : otherwise\"";
        self.error("unknown-keyword", span, "\"if\" is not part of the language", help);
        self.deeper(|p| {
            p.binary(Level::Or);
            while p.eat_word("then").is_some() {
                p.binary(Level::Or);
            }
        });
        Node::error(self.span_from(span))
    }
}
