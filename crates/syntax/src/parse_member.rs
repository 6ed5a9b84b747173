//! The grammar of members: fields, their types and their relations.
//!
//! ```text
//! member := name ":" (relation | value type) options | name ":=" expression options
//! ```
//!
//! Read next: `parse_option`.

use crate::ast::{ExprKind, FieldKindText, FieldText, Ident, TypeExpr, TypeExprKind, UnionText};
use crate::lexer::{quoted, unescape};
use crate::nearest::nearest;
use crate::option_rules::{FIELD_OPTIONS, OptionRule, RELATIONS, VALUE_TYPES};
use crate::parser::Parser;
use crate::span::Span;
use crate::token::TokenKind;

/// What a field is written with.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    Colon,
    Assign,
}

impl Parser<'_> {
    /// One member, up to its last option. `None` where there is nothing like one; then all up to the next is passed.
    pub(crate) fn member(&mut self) -> Option<FieldText> {
        let start = self.peek().span;
        let comments = self.comments_before();
        if !matches!(self.peek().kind, TokenKind::Word | TokenKind::Str) {
            let message = format!("expected a field, found {}", self.shown(self.peek()));
            self.error("unexpected", start, message, "write \"name: type\" or \"name := expression\"");
            self.skip_member();
            return None;
        }
        let name = self.name("the field's name")?;
        let Some(written) = self.colon(&name) else {
            self.skip_member();
            return None;
        };
        let kind = self.deeper(|p| p.kind(written, start))?;
        let options = self.options(FIELD_OPTIONS);
        let span = self.span_from(start);
        Some(FieldText { name, kind, options, span, comments, trailing_comment: None })
    }

    /// `:` or `:=` behind a name, or a report and what was probably meant.
    fn colon(&mut self, name: &Ident) -> Option<Written> {
        let next = self.peek();
        let shown = quoted(&name.name);
        match next.kind {
            TokenKind::Colon if self.peek_at(1).kind == TokenKind::Equal && !self.peek_at(1).line_break => {
                let span = next.span.to(self.peek_at(1).span);
                self.error("bad-assign", span, "\":=\" is written without a space", "write \":=\"");
                self.bump();
                self.bump();
                Some(Written::Assign)
            }
            TokenKind::Colon => {
                self.bump();
                Some(Written::Colon)
            }
            TokenKind::Assign => {
                self.bump();
                Some(Written::Assign)
            }
            TokenKind::Equal if !self.line_ended() => {
                let help = "a derived field is written with \":=\", a default with \"default\"";
                self.error("bad-assign", next.span, format!("expected \":\" or \":=\" behind {shown}"), help);
                self.bump();
                Some(Written::Assign)
            }
            _ if self.type_follows() => {
                let message = format!("expected \":\" between {shown} and its type");
                self.error("missing-colon", next.span, message, format!("write \"{}: …\"", name.name));
                Some(Written::Colon)
            }
            _ => {
                let message = format!("expected \":\" and a type behind {shown}, found {}", self.found());
                let help = match nearest(&name.name, FIELD_OPTIONS.iter().map(|rule| rule.name)) {
                    Some(option) => format!(
                        "to continue the options of the field before, end its line with a comma before \"{option}\""
                    ),
                    None => format!("write \"{}: type\" or \"{} := expression\"", name.name, name.name),
                };
                self.error("missing-colon", self.here(), message, help);
                None
            }
        }
    }

    /// Whether a type or a relation stands here, on the same line.
    pub(crate) fn type_follows(&self) -> bool {
        let next = self.peek();
        let word = self.word_of(next);
        let opens = matches!(next.kind, TokenKind::LeftBrace | TokenKind::LeftBracket | TokenKind::Str);
        !self.line_ended() && (opens || VALUE_TYPES.contains(&word) || RELATIONS.contains(&word))
    }

    /// What stands behind `:` or `:=`.
    fn kind(&mut self, written: Written, start: Span) -> FieldKindText {
        let sign = self.last_span();
        if written == Written::Assign && self.stored_follows() {
            let help = "write \":\"";
            self.error(
                "bad-assign",
                sign,
                "a stored field is written with \":\", a derived one with \":=\"",
                help,
            );
        } else if written == Written::Assign {
            return FieldKindText::Derived(self.derived(start));
        } else if self.derived_follows() {
            let help = "write \":=\"";
            self.error(
                "bad-assign",
                sign,
                "a derived field is written with \":=\", a stored one with \":\"",
                help,
            );
            return FieldKindText::Derived(self.derived(start));
        }
        self.relation().unwrap_or_else(|| FieldKindText::Stored(self.type_expr()))
    }

    fn derived(&mut self, start: Span) -> crate::ast::Expr {
        if self.at(TokenKind::RightBrace) || (self.peek().line_break && self.member_starts_line()) {
            let help = "write an expression, as in \"total := sum(self.orders.amount)\"";
            let message = format!("expected an expression, found {}", self.found());
            self.error("missing-value", self.here(), message, help);
            return crate::ast::Expr { kind: ExprKind::Error, span: self.span_from(start) };
        }
        self.expression().expr
    }

    /// Whether behind `:=` stands what belongs behind `:`.
    fn stored_follows(&self) -> bool {
        let (next, behind) = (self.peek(), self.peek_at(1));
        let word = self.word_of(next);
        let same_line = behind.kind == TokenKind::Word && !behind.line_break;
        let first = |rule: &OptionRule| rule.name.split(' ').next() == Some(self.word_of(behind));
        let option = same_line && FIELD_OPTIONS.iter().any(first);
        if RELATIONS.contains(&word) {
            return same_line && !option && !["and", "or", "in", "else"].contains(&self.word_of(behind));
        }
        let ends = behind.line_break
            || matches!(behind.kind, TokenKind::Comma | TokenKind::RightBrace | TokenKind::End);
        let union = word == "union" && same_line && self.peek_at(2).kind == TokenKind::LeftBrace;
        next.kind == TokenKind::LeftBrace || (VALUE_TYPES.contains(&word) && (ends || option)) || union
    }

    /// Whether behind `:` stands an expression that is no type.
    fn derived_follows(&self) -> bool {
        use TokenKind::{
            Arrow, Bang, Coalesce, Int, LeftParen, Minus, Number, Percent, Plus, Slash, Star, Word,
        };
        let (next, behind) = (self.peek(), self.peek_at(1));
        let word = self.word_of(next);
        let starts = matches!(next.kind, Int | Number | LeftParen | Minus | Bang)
            || ["self", "root", "ego", "parent", "true", "false", "null", "not"].contains(&word);
        let operator =
            matches!(behind.kind, TokenKind::Dot | Plus | Minus | Star | Slash | Percent | Arrow | Coalesce);
        let call = behind.kind == LeftParen
            && !VALUE_TYPES.contains(&word)
            && !["enum", "list", "array"].contains(&word);
        !self.line_ended() && (starts || (next.kind == Word && !behind.line_break && (operator || call)))
    }

    /// `link T` and its like, or nothing taken.
    fn relation(&mut self) -> Option<FieldKindText> {
        let next = self.peek();
        let word = self.word_of(next);
        let behind = self.peek_at(1);
        let target = behind.kind == TokenKind::Word && !behind.line_break && !self.member_at(1);
        let mut meant = word;
        if !RELATIONS.contains(&word) {
            let is_option =
                |word: &str| FIELD_OPTIONS.iter().any(|rule| rule.name.split(' ').next() == Some(word));
            let plain = VALUE_TYPES.contains(&word) || is_option(self.word_of(behind)) || self.line_ended();
            if !target || plain || word.is_empty() {
                return None;
            }
            meant = nearest(word, RELATIONS.iter().copied())?;
            let message = format!("unknown keyword {}", quoted(word));
            self.error("unknown-keyword", next.span, message, format!("did you mean \"{meant}\"?"));
        }
        if self.line_ended() {
            return None;
        }
        self.bump();
        match meant {
            "link" => Some(FieldKindText::Link(self.targets())),
            "links" => Some(FieldKindText::Links(self.targets())),
            "collection" => Some(FieldKindText::Collection { children: self.targets(), ordered: false }),
            "ordered" => {
                if self.eat_word("collection").is_none() {
                    let message = format!("expected \"collection\", found {}", self.found());
                    self.error("missing-keyword", self.here(), message, "write \"ordered collection TYPE\"");
                    if self.peek_at(1).kind == TokenKind::Word
                        && !self.peek_at(1).line_break
                        && !self.line_ended()
                    {
                        self.bump();
                    }
                }
                Some(FieldKindText::Collection { children: self.targets(), ordered: true })
            }
            _ => Some(self.inverse()),
        }
    }

    /// The types that a link may lead to, or a collection hold: `T`, or `T | U`.
    fn targets(&mut self) -> Vec<Ident> {
        let mut targets = vec![self.one_target()];
        while self.eat(TokenKind::Pipe).is_some() {
            targets.push(self.one_target());
        }
        targets
    }

    /// The type that a relation leads to which leads to one.
    fn target(&mut self) -> Ident {
        let name = self.one_target();
        if self.at(TokenKind::Pipe) {
            self.no_union(self.peek().span);
            while self.eat(TokenKind::Pipe).is_some() {
                self.eat(TokenKind::Word);
            }
        }
        name
    }

    fn one_target(&mut self) -> Ident {
        let here = self.here();
        let missing = Ident { name: Default::default(), span: here };
        if self.line_ended() || self.member_at(0) {
            let message = format!("expected the name of a type, found {}", self.found());
            self.error("missing-name", here, message, "write the name of the type that it leads to");
            return missing;
        }
        self.name("the name of a type").unwrap_or(missing)
    }

    /// `T.field` behind `inverse`.
    fn inverse(&mut self) -> FieldKindText {
        let of_type = self.target();
        if self.eat(TokenKind::Dot).is_some() && !self.line_ended() {
            let of_field = self.name("the name of a field").unwrap_or_else(|| of_type.clone());
            return FieldKindText::Inverse { of_type, of_field };
        }
        let message = format!("expected \".\" and the name of a field, found {}", self.found());
        self.error(
            "missing-name",
            self.here(),
            message,
            "write \"inverse TYPE.FIELD\": the field that links here",
        );
        FieldKindText::Inverse { of_field: of_type.clone(), of_type }
    }

    /// The type of a stored value.
    pub(crate) fn type_expr(&mut self) -> TypeExpr {
        let next = self.peek();
        let start = next.span;
        let kind = match next.kind {
            TokenKind::End => None,
            _ if self.line_ended() => None,
            TokenKind::Word => return self.named_type(),
            TokenKind::Str => Some(self.choices()),
            TokenKind::LeftBrace => self.deeper(|p| {
                let open = p.bump().span;
                TypeExprKind::Object(p.members(open))
            }),
            TokenKind::LeftBracket => self.deeper(|p| p.list_type()),
            _ => None,
        };
        if let Some(kind) = kind {
            return TypeExpr { kind, span: self.span_from(start) };
        }
        let message = format!("expected a type, found {}", self.found());
        let help = "write a basic type such as str or int, a list such as [str], or a relation such as \"link TYPE\"";
        self.error("missing-type", self.here(), message, help);
        TypeExpr { kind: TypeExprKind::Name(Default::default()), span: self.here() }
    }

    /// A basic type, `set<T>`, `map<T>`.
    fn named_type(&mut self) -> TypeExpr {
        let token = self.bump();
        let word = self.slice(token.span);
        let here = self.peek();
        let kind = match (word, here.kind) {
            ("set" | "map", TokenKind::Less) => self.deeper(|p| p.angled(word)),
            ("list" | "array", TokenKind::Less | TokenKind::LeftParen) => {
                self.error("bad-type", token.span, "a list is written with brackets", "write \"[TYPE]\"");
                self.deeper(|p| p.angled("list"))
            }
            ("set" | "map", TokenKind::LeftParen | TokenKind::LeftBracket) if !self.line_ended() => {
                let help = format!("write \"{word}<TYPE>\"");
                self.error(
                    "bad-type",
                    here.span,
                    format!("the type of what a {word} holds stands in < >"),
                    help,
                );
                self.deeper(|p| p.angled(word))
            }
            ("set" | "map", _) => {
                let message =
                    format!("expected \"<\" and the type of what the {word} holds, found {}", self.found());
                self.error("bad-type", self.here(), message, format!("write \"{word}<str>\""));
                None
            }
            ("enum", TokenKind::LeftParen) => {
                let help = "write '\"a\" | \"b\"'";
                self.error("bad-type", token.span, "the values of an enum are separated by \"|\"", help);
                self.skip_balanced();
                None
            }
            ("union", _) => self.union_type(token.span),
            (_, TokenKind::LeftBracket) if self.peek_at(1).kind == TokenKind::RightBracket => {
                let span = here.span.to(self.peek_at(1).span);
                self.error(
                    "bad-type",
                    span,
                    "a list is written with brackets around",
                    format!("write \"[{word}]\""),
                );
                self.bump();
                self.bump();
                let inner = TypeExpr { kind: TypeExprKind::Name(word.into()), span: token.span };
                Some(TypeExprKind::List(Box::new(inner)))
            }
            (_, TokenKind::Question) if !self.line_ended() => {
                let help = "remove it: a field is optional unless it is \"required\"";
                self.error("unexpected", here.span, "unexpected \"?\"", help);
                self.bump();
                None
            }
            (_, TokenKind::Bang) if !self.line_ended() => {
                self.error("unexpected", here.span, "unexpected \"!\"", "write \"required\"");
                self.bump();
                None
            }
            (_, TokenKind::Pipe) => {
                if self.peek_at(1).kind == TokenKind::Str {
                    let help = format!("write \"{word}\" in quotes");
                    self.error("bad-type", token.span, "the values of an enum are strings", help);
                } else {
                    self.no_union(here.span);
                }
                while self.eat(TokenKind::Pipe).is_some() && !self.line_ended() {
                    self.bump();
                }
                None
            }
            _ => None,
        };
        let kind = kind.unwrap_or_else(|| TypeExprKind::Name(word.into()));
        TypeExpr { kind, span: self.span_from(token.span) }
    }

    /// What stands behind `union`: the name of the discriminator, and the variants in braces.
    fn union_type(&mut self, keyword: Span) -> Option<TypeExprKind> {
        let next = self.peek();
        let discriminator = match next.kind {
            TokenKind::Word if self.peek_at(1).kind == TokenKind::LeftBrace => self.name("a name")?,
            TokenKind::LeftBrace => {
                let message = "expected the name of the member that says which variant an object is";
                self.error("missing-name", next.span, message, "write \"union kind { … }\"");
                Ident { name: "kind".into(), span: next.span }
            }
            TokenKind::LeftParen | TokenKind::Less if !self.line_ended() => {
                self.no_union(keyword);
                while !self.at(TokenKind::Greater) && !self.line_ended() && !self.at(TokenKind::RightBrace) {
                    self.skip_balanced();
                }
                self.eat(TokenKind::Greater);
                return None;
            }
            TokenKind::Word if self.peek_at(1).kind == TokenKind::Pipe => {
                self.no_union(keyword);
                self.skip_member();
                return None;
            }
            _ => {
                let name = if self.line_ended() { None } else { self.eat(TokenKind::Word) };
                let (wanted, behind) = match name {
                    Some(name) => ("the variants", self.shown(name)),
                    None => ("a name and the variants", "\"union\"".to_string()),
                };
                let message = format!("expected {wanted} behind {behind}, found {}", self.found());
                let help = "write \"union kind { card: { number: str }, cash: {} }\"";
                self.error("bad-type", self.here(), message, help);
                return None;
            }
        };
        self.deeper(|p| {
            let open = p.bump().span;
            let variants = p.members(open);
            TypeExprKind::Union(UnionText { discriminator, variants, braces: p.span_from(open) })
        })
    }

    /// `<T>` behind `set` or `map`; other brackets in its place are reported by the caller.
    fn angled(&mut self, word: &str) -> TypeExprKind {
        let open = self.bump();
        let closing = match open.kind {
            TokenKind::LeftParen => TokenKind::RightParen,
            TokenKind::LeftBracket => TokenKind::RightBracket,
            _ => TokenKind::Greater,
        };
        let inner = self.within(|p| {
            let mut inner = p.type_expr();
            if p.at(TokenKind::Comma) && closing != TokenKind::RightBrace && !p.member_at(1) {
                let help = format!("write only the type of the values, as in {word}<int>");
                p.error("bad-type", p.peek().span, "the keys of a map are strings", help);
                p.bump();
                inner = p.type_expr();
            }
            inner
        });
        self.close(closing, open.span);
        match word {
            "set" => TypeExprKind::Set(Box::new(inner)),
            "map" => TypeExprKind::Map(Box::new(inner)),
            _ => TypeExprKind::List(Box::new(inner)),
        }
    }

    /// `[T]`.
    fn list_type(&mut self) -> TypeExprKind {
        let open = self.bump().span;
        let inner = self.within(|p| p.type_expr());
        self.close(TokenKind::RightBracket, open);
        TypeExprKind::List(Box::new(inner))
    }

    /// Runs a step within brackets, where line breaks end nothing.
    fn within<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.line_bound, false);
        let result = step(self);
        self.line_bound = outer;
        result
    }

    /// `"a" | "b"`.
    fn choices(&mut self) -> TypeExprKind {
        let mut choices = Vec::new();
        loop {
            let Some(token) = self.eat(TokenKind::Str) else {
                let message = format!("expected a string behind \"|\", found {}", self.found());
                self.error("bad-type", self.here(), message, "the values of an enum are strings");
                if self.at(TokenKind::Word) && !self.line_ended() {
                    self.bump();
                }
                break;
            };
            choices.push(Ident { name: unescape(self.slice(token.span)), span: token.span });
            let next = self.peek();
            if next.kind == TokenKind::Comma && self.peek_at(1).kind == TokenKind::Str {
                let help = "separate the values of an enum with \"|\"";
                self.error("bad-type", next.span, "unexpected \",\"", help);
            } else if next.kind != TokenKind::Pipe {
                break;
            }
            self.bump();
        }
        TypeExprKind::Enum(choices)
    }
}
