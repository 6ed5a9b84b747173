//! The grammar of schemas: the header and the types; `parse_mount` reads the mounts behind them.
//!
//! ```text
//! schema  := ["schema" name] type* mount*
//! type    := ["abstract"] "type" name header* "{" members "}"
//! header  := "is" name ("," name)* | "in" name | option
//! members := member ((line break | ",") member)*
//! ```
//!
//! Within braces, a line break or a comma ends a member; a comma before something that is no member (a name followed by
//! `:` or `:=`) separates options. Read next: `parse_member`.

use smol_str::SmolStr;

use crate::Parsed;
use crate::ast::{FieldText, Ident, SchemaText, TypeText};
use crate::lexer::quoted;
use crate::nearest::nearest;
use crate::option_rules::TYPE_OPTIONS;
use crate::parser::Parser;
use crate::span::Span;
use crate::token::{Comment, Token, TokenKind};

/// A parsed schema and what a formatter needs beyond its tree.
pub(crate) struct ParsedSchema {
    pub(crate) parsed: Parsed<SchemaText>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) tokens: Vec<Token>,
}

/// Parses a schema text.
pub(crate) fn parse(text: &str) -> ParsedSchema {
    let mut parser = Parser::new(text, true);
    let tree = parser.schema();
    let (diagnostics, comments, tokens) = parser.finish();
    ParsedSchema { parsed: Parsed { tree, diagnostics }, comments, tokens }
}

impl Parser<'_> {
    fn schema(&mut self) -> SchemaText {
        let mut schema = SchemaText::default();
        while !self.at(TokenKind::End) {
            let before = self.position();
            self.top(&mut schema);
            debug_assert!(self.position() > before, "every turn takes a token");
        }
        schema
    }

    /// One part of a schema; takes at least one token.
    fn top(&mut self, schema: &mut SchemaText) {
        let token = self.peek();
        let word = self.word_of(token);
        let named = self.peek_at(1).kind == TokenKind::Word;
        match word {
            "schema" => self.schema_name(schema),
            "type" | "abstract" if !schema.mounts.is_empty() => {
                let help = "put the mounts behind all types";
                self.error("misplaced", token.span, "a type stands behind a mount", help);
                schema.types.extend(self.type_text());
            }
            "type" => schema.types.extend(self.type_text()),
            "abstract" if self.word_at(1, "type") => schema.types.extend(self.type_text()),
            "abstract" => {
                self.bump();
                self.error(
                    "missing-keyword",
                    self.here(),
                    format!("expected \"type\", found {}", self.found()),
                    "write \"abstract type\"",
                );
                if self.at(TokenKind::Word) {
                    schema.types.extend(self.type_rest(token.span, true));
                }
            }
            "mount" if named => schema.mounts.push(self.mount()),
            "union" if named => self.union(),
            "" => self.misplaced(token),
            _ => match nearest(word, ["type", "schema", "abstract", "union", "mount"]) {
                Some(meant) if named => {
                    let message = format!("unknown keyword {}", quoted(word));
                    self.error("unknown-keyword", token.span, message, format!("did you mean \"{meant}\"?"));
                    match meant {
                        "type" => schema.types.extend(self.type_text()),
                        "schema" => self.schema_name(schema),
                        "abstract" => schema.types.extend(self.type_text()),
                        "mount" => schema.mounts.push(self.mount()),
                        _ => self.union(),
                    }
                }
                _ if named
                    && matches!(word, "class" | "model" | "table" | "entity" | "interface" | "struct") =>
                {
                    let message = format!("unknown keyword {}", quoted(word));
                    self.error("unknown-keyword", token.span, message, "did you mean \"type\"?");
                    schema.types.extend(self.type_text());
                }
                _ => self.misplaced(token),
            },
        }
    }

    /// `schema NAME`.
    fn schema_name(&mut self, schema: &mut SchemaText) {
        let keyword = self.bump().span;
        let missing = self.type_starts();
        if missing {
            let message = format!("expected the schema's name, found {}", self.found());
            self.error("missing-name", self.here(), message, "write \"schema NAME\"");
        }
        let name = if missing { None } else { self.name("the schema's name") };
        if schema.name.is_some() || !schema.types.is_empty() || !schema.mounts.is_empty() {
            let help = "write \"schema NAME\" once, before the types";
            self.error("misplaced", keyword, "the schema's name does not stand first", help);
        }
        if schema.name.is_none() {
            schema.name = name;
        }
    }

    /// What cannot start anything outside of types: reported once, and passed over up to the next type.
    fn misplaced(&mut self, token: Token) {
        let shown = self.shown(token);
        if token.kind == TokenKind::RightBrace {
            self.error(
                "unmatched-bracket",
                token.span,
                "this \"}\" closes nothing",
                "remove it, or add the \"{\" before it",
            );
            self.bump();
            return;
        }
        if self.member_at(0) {
            let message = format!("the field {shown} stands outside of a type");
            self.error("misplaced", token.span, message, "put it between the \"{\" and the \"}\" of a type");
        } else {
            let message = format!("expected \"type\", found {shown}");
            self.error(
                "unexpected",
                token.span,
                message,
                "a schema consists of types: \"type NAME in ROOT { … }\"",
            );
        }
        self.skip_to_type();
    }

    fn skip_to_type(&mut self) {
        self.skip_balanced();
        while !self.at(TokenKind::End) && !self.type_starts() && !self.at(TokenKind::RightBrace) {
            self.skip_balanced();
        }
        // The brace that closes what was passed over.
        self.eat(TokenKind::RightBrace);
    }

    /// `union …`: there is none.
    fn union(&mut self) {
        self.no_union(self.peek().span);
        self.bump();
        while !self.at(TokenKind::End) && !self.type_starts() {
            self.skip_balanced();
        }
    }

    pub(crate) fn no_union(&mut self, span: Span) {
        let help = "an object of one of several forms is written `union kind { card: { number: str }, cash: {} }`; \
             a link may lead to several types, as in `link A | B`";
        self.error("no-union", span, "a value is of one type", help);
    }

    /// A name, or a report of what is missing; a string is taken for the name that it holds.
    pub(crate) fn name(&mut self, what: &str) -> Option<Ident> {
        let next = self.peek();
        match next.kind {
            TokenKind::Word => {
                self.bump();
                return Some(self.ident_of(next));
            }
            TokenKind::Str if !self.line_ended() => {
                let help = "write it without quotes";
                self.error("bad-name", next.span, "a name has no quotes", help);
                self.bump();
                let name = SmolStr::new(self.slice(next.span).trim_matches(['"', '\'']));
                return Some(Ident { name, span: next.span });
            }
            _ => {}
        }
        let help = "a name consists of letters, digits and \"_\"";
        self.error("missing-name", self.here(), format!("expected {what}, found {}", self.found()), help);
        None
    }

    /// A name in a type's head, where `is` and `in` are none.
    fn head_name(&mut self, what: &str) -> Option<Ident> {
        if !self.word_at(0, "is") && !self.word_at(0, "in") {
            return self.name(what);
        }
        let message = format!("expected {what}, found {}", self.found());
        self.error("missing-name", self.here(), message, "write \"type NAME is TYPE in ROOT { … }\"");
        None
    }

    /// A type from `type` or `abstract` on; the word `type` may be misspelled.
    fn type_text(&mut self) -> Option<TypeText> {
        let start = self.peek().span;
        let comments = self.comments_before();
        let is_abstract = self.slice(start) != "type" && self.word_at(1, "type");
        if is_abstract {
            self.bump();
        }
        self.bump();
        let mut result = self.type_rest(start, is_abstract)?;
        result.comments = comments;
        Some(result)
    }

    /// A type from its name on.
    fn type_rest(&mut self, start: Span, is_abstract: bool) -> Option<TypeText> {
        let here = self.here();
        let name = match self.head_name("the type's name") {
            Some(name) => name,
            // What follows can be read all the same.
            None if self.at(TokenKind::LeftBrace) || self.peek().kind == TokenKind::Word => {
                Ident { name: SmolStr::default(), span: here }
            }
            None => {
                self.skip_to_type_or_body();
                return None;
            }
        };
        let mut result = TypeText {
            name,
            is_abstract,
            interfaces: Vec::new(),
            root: None,
            options: Vec::new(),
            fields: Vec::new(),
            span: start,
            comments: Vec::new(),
        };
        if let Some(open) = self.header(&mut result) {
            result.fields = self.members(open);
        }
        result.span = self.span_from(start);
        Some(result)
    }

    /// Behind a type that has no name.
    fn skip_to_type_or_body(&mut self) {
        while !matches!(self.peek().kind, TokenKind::End | TokenKind::LeftBrace | TokenKind::RightBrace)
            && !self.type_starts()
        {
            self.bump();
        }
        if self.at(TokenKind::LeftBrace) {
            self.skip_balanced();
        }
    }

    /// All between a type's name and its members. Gives the place of the `{`, or of where it is missing; `None` where
    /// there are no members.
    fn header(&mut self, result: &mut TypeText) -> Option<Span> {
        loop {
            let next = self.peek();
            if let Some(open) = self.eat(TokenKind::LeftBrace) {
                return Some(open.span);
            }
            let url = self.word_at(0, "url") && self.peek_at(1).kind == TokenKind::Assign;
            let bodiless = next.kind == TokenKind::End || self.type_starts();
            let member = self.member_at(0) && !url && !self.word_at(0, "extends");
            if bodiless || member || next.kind == TokenKind::RightBrace {
                let message = format!("expected \"{{\" and the type's fields, found {}", self.found());
                let here = self.here();
                self.error("missing-bracket", here, message, "write \"type NAME in ROOT { … }\"");
                return (!bodiless).then_some(here);
            }
            match self.word_of(next) {
                "is" => {
                    self.bump();
                    self.interfaces(result);
                }
                "extends" | "implements" => self.extends(next, result),
                "in" => self.root(result),
                "" if next.kind == TokenKind::Comma => {
                    self.bump();
                }
                "" if next.kind == TokenKind::Colon => self.extends(next, result),
                "" => {
                    let message = format!("expected \"{{\", found {}", self.shown(next));
                    self.error("unexpected", next.span, message, "write \"type NAME in ROOT { … }\"");
                    self.bump();
                }
                word => match nearest(word, ["is", "in"]) {
                    Some(meant) if self.peek_at(1).kind == TokenKind::Word => {
                        let message = format!("unknown keyword {}", quoted(word));
                        self.error(
                            "unknown-keyword",
                            next.span,
                            message,
                            format!("did you mean \"{meant}\"?"),
                        );
                        match meant {
                            "in" => self.root(result),
                            _ => {
                                self.bump();
                                self.interfaces(result);
                            }
                        }
                    }
                    _ => result.options.extend(self.option(TYPE_OPTIONS)),
                },
            }
        }
    }

    /// Another language's word for `is`.
    fn extends(&mut self, token: Token, result: &mut TypeText) {
        let message = format!("{} is not part of the language", self.shown(token));
        self.error("unknown-keyword", token.span, message, "did you mean \"is\"?");
        self.bump();
        self.eat(TokenKind::Colon);
        self.interfaces(result);
    }

    fn interfaces(&mut self, result: &mut TypeText) {
        result.interfaces.extend(self.head_name("the name of a type"));
        while self.at(TokenKind::Comma) && self.interface_follows() {
            self.bump();
            result.interfaces.extend(self.head_name("the name of a type"));
        }
    }

    /// Whether behind the comma here stands a type, not an option or `in`.
    fn interface_follows(&self) -> bool {
        let next = self.peek_at(1);
        let word = self.word_of(next);
        let option = TYPE_OPTIONS.iter().any(|rule| rule.name.split(' ').next() == Some(word));
        next.kind == TokenKind::Word && !option && word != "in"
    }

    /// `in NAME`.
    fn root(&mut self, result: &mut TypeText) {
        let keyword = self.bump().span;
        if self.at(TokenKind::Slash) {
            self.error(
                "unexpected",
                self.peek().span,
                "a root collection has no \"/\"",
                "write only its name",
            );
            self.bump();
        }
        let name = self.name("the root collection's name");
        if result.root.is_some() {
            self.error("misplaced", keyword, "this type has a second root collection", "keep one of them");
        }
        result.root = name.or(result.root.take());
    }

    /// The members between braces. `{` is taken; takes the `}`.
    pub(crate) fn members(&mut self, open: Span) -> Vec<FieldText> {
        let outer = (self.line_bound, self.open_arrows);
        (self.line_bound, self.open_arrows) = (true, 0);
        let mut fields = Vec::new();
        while !matches!(self.peek().kind, TokenKind::RightBrace | TokenKind::End) && !self.type_starts() {
            let before = self.position();
            let field = self.member();
            self.member_end();
            fields.extend(field.map(|mut field| {
                field.trailing_comment = self.comment_behind(field.span);
                field
            }));
            if self.position() == before {
                self.bump();
            }
        }
        (self.line_bound, self.open_arrows) = outer;
        if open.end > open.start || self.at(TokenKind::RightBrace) {
            self.close(TokenKind::RightBrace, open);
        }
        fields
    }

    /// Behind a member: takes the comma, or reports what should not stand there.
    fn member_end(&mut self) {
        let next = self.peek();
        if self.eat(TokenKind::Comma).is_some() || next.kind == TokenKind::RightBrace || self.line_ended() {
            return;
        }
        if self.member_at(0) {
            let message = format!("expected \",\" or a line break before the field {}", self.shown(next));
            self.error("missing-comma", next.span, message, "separate fields with a comma or a line break");
            return;
        }
        let help = match next.kind {
            TokenKind::Equal => "write \"default VALUE\" for a default, \":=\" for a derived field",
            _ => "a field ends at the end of its line or at a comma",
        };
        self.error("unexpected", next.span, format!("unexpected {}", self.shown(next)), help);
        self.skip_member();
        self.eat(TokenKind::Comma);
    }

    /// Passes the rest of a member: up to a comma, a brace that closes, or the next line.
    pub(crate) fn skip_member(&mut self) {
        while !matches!(self.peek().kind, TokenKind::Comma | TokenKind::RightBrace) && !self.line_ended() {
            self.skip_balanced();
        }
    }

    /// The comments on lines of their own directly above the next token, without their marks.
    pub(crate) fn comments_before(&self) -> Vec<SmolStr> {
        let floor = self.last_span().end;
        let mut below = self.peek().span.start;
        let last = self.comments.partition_point(|comment| comment.span.start < below);
        let mut texts = Vec::new();
        for comment in self.comments[..last].iter().rev() {
            let between = &self.text[comment.span.end as usize..below as usize];
            let before = &self.text[..comment.span.start as usize];
            let line_start = before.trim_end_matches([' ', '\t', '\r']);
            let own_line = line_start.is_empty() || line_start.ends_with(['\n', '\u{feff}']);
            let adjoins = between.matches('\n').count() == 1;
            if comment.span.start < floor || !own_line || !adjoins {
                break;
            }
            texts.push(comment_text(self.slice(comment.span)));
            below = comment.span.start;
        }
        texts.reverse();
        texts
    }

    /// The comment that ends the line of the member at `span`, whose comma is taken.
    fn comment_behind(&self, span: Span) -> Option<SmolStr> {
        let next = self.peek();
        let first = self.comments.partition_point(|comment| comment.span.start < self.last_span().end);
        let comment = self.comments.get(first).filter(|comment| comment.span.start < next.span.start)?;
        let same_line = !self.text[span.end as usize..comment.span.start as usize].contains('\n');
        let ends_line = next.line_break || next.kind == TokenKind::End;
        (same_line && ends_line).then(|| comment_text(self.slice(comment.span)))
    }
}

/// What a comment says, without its marks.
fn comment_text(comment: &str) -> SmolStr {
    let inner = match comment.strip_prefix("/*") {
        Some(inner) => inner.strip_suffix("*/").unwrap_or(inner),
        None => comment.trim_start_matches('/'),
    };
    SmolStr::new(inner.trim())
}
