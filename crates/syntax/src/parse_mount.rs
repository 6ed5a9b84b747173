//! The grammar of mounts, which stand behind the types.
//!
//! ```text
//! mount   := "mount" segment ("/" segment)* ("of" name | "proxy" string) ["{" clauses "}"]
//! segment := name | "{" name "}"
//! clauses := clause ((line break | ",") clause)*
//! clause  := "where" expression | "allow" name ("," name)* | "fields" shown ("," shown)* | "forward" name ("," name)*
//! shown   := name [":" name]
//! ```
//!
//! Behind a comma, the word of a clause begins one where that clause can follow; so a field may have such a name. What the
//! names mean is the checker's business.

use smol_str::SmolStr;

use crate::ast::{Ident, MountClause, MountClauseKind, MountSegment, MountTarget, MountText};
use crate::lexer::unescape;
use crate::nearest::nearest;
use crate::parser::Parser;
use crate::span::Span;
use crate::token::TokenKind;

/// The words that begin a clause.
const CLAUSES: [&str; 4] = ["where", "allow", "fields", "forward"];

impl Parser<'_> {
    /// Whether behind the word `mount` here stands what begins a mount.
    pub(crate) fn mount_path_follows(&self) -> bool {
        let behind = self.peek_at(2);
        behind.kind == TokenKind::Slash || ["of", "proxy"].contains(&self.word_of(behind))
    }

    /// A mount, from `mount` on; the word may be misspelled.
    pub(crate) fn mount(&mut self) -> MountText {
        let start = self.bump().span;
        let path = self.mount_path();
        let target = self.mount_target();
        let mut clauses = Vec::new();
        if self.at(TokenKind::LeftBrace) {
            let open = self.bump().span;
            clauses = self.clauses(open);
        }
        MountText { path, target, clauses, span: self.span_from(start) }
    }

    fn mount_path(&mut self) -> Vec<MountSegment> {
        let mut path = Vec::new();
        loop {
            if let Some(open) = self.eat(TokenKind::LeftBrace) {
                path.extend(self.name("the name of a parameter").map(MountSegment::Param));
                self.close(TokenKind::RightBrace, open.span);
            } else {
                path.extend(self.name("a segment of the mount's path").map(MountSegment::Name));
            }
            if self.eat(TokenKind::Slash).is_none() {
                return path;
            }
        }
    }

    fn mount_target(&mut self) -> MountTarget {
        if self.eat_word("of").is_some() {
            let here = self.here();
            let name = self.name("the name of a type");
            return MountTarget::Type(name.unwrap_or(Ident { name: SmolStr::default(), span: here }));
        }
        if self.eat_word("proxy").is_none() {
            let message = format!("expected \"of\" or \"proxy\", found {}", self.found());
            let help = "write \"mount PATH of TYPE { … }\" or \"mount PATH proxy \\\"URL\\\" { … }\"";
            self.error("missing-keyword", self.here(), message, help);
            return MountTarget::Type(Ident { name: SmolStr::default(), span: self.here() });
        }
        let here = self.here();
        match self.eat(TokenKind::Str) {
            Some(token) => {
                let name = unescape(self.slice(token.span));
                MountTarget::Proxy(Ident { name, span: token.span })
            }
            None => {
                let message = format!("expected the URL of a server, found {}", self.found());
                self.error("missing-value", here, message, "write \"proxy \\\"https://…\\\"\"");
                MountTarget::Proxy(Ident { name: SmolStr::default(), span: here })
            }
        }
    }

    /// What stands between braces. `{` is taken; takes the `}`.
    fn clauses(&mut self, open: Span) -> Vec<MountClause> {
        let outer = (self.line_bound, self.open_arrows);
        (self.line_bound, self.open_arrows) = (true, 0);
        let mut clauses = Vec::new();
        while !matches!(self.peek().kind, TokenKind::RightBrace | TokenKind::End) && !self.type_starts() {
            let before = self.position();
            clauses.extend(self.clause());
            self.clause_end();
            if self.position() == before {
                self.bump();
            }
        }
        (self.line_bound, self.open_arrows) = outer;
        self.close(TokenKind::RightBrace, open);
        clauses
    }

    fn clause_end(&mut self) {
        let next = self.peek();
        if self.eat(TokenKind::Comma).is_some() || next.kind == TokenKind::RightBrace || self.line_ended() {
            return;
        }
        let message = format!("unexpected {}", self.shown(next));
        self.error("unexpected", next.span, message, "separate the parts of a mount by lines or commas");
        self.skip_member();
        self.eat(TokenKind::Comma);
    }

    fn clause(&mut self) -> Option<MountClause> {
        let start = self.peek();
        let word = self.word_of(start);
        let known = CLAUSES.into_iter().find(|clause| *clause == word).or_else(|| {
            let near = nearest(word, CLAUSES);
            let help = match near {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("a mount has {}", CLAUSES.join(", ")),
            };
            let message = format!("{} is no part of a mount", self.shown(start));
            self.error("unknown-keyword", start.span, message, help);
            near
        });
        self.bump();
        let Some(known) = known else {
            self.skip_member();
            return None;
        };
        let kind = match known {
            "where" if self.line_ended() || !self.value_starts(self.peek()) => {
                let message = format!("expected a condition behind \"where\", found {}", self.found());
                self.error("missing-value", self.here(), message, "as in \"where owner = user\"");
                self.skip_member();
                return None;
            }
            "where" => MountClauseKind::Where(self.expression().expr),
            "allow" => MountClauseKind::Allow(self.words_of_clause("what is allowed")),
            "forward" => MountClauseKind::Forward(self.words_of_clause("what is forwarded")),
            _ => MountClauseKind::Fields(self.shown_fields()),
        };
        Some(MountClause { kind, span: self.span_from(start.span) })
    }

    fn words_of_clause(&mut self, what: &str) -> Vec<Ident> {
        let mut words = Vec::new();
        loop {
            words.extend(self.name_in_clause(what));
            if !self.list_goes_on() {
                return words;
            }
            self.bump();
        }
    }

    fn shown_fields(&mut self) -> Vec<(Ident, Option<Ident>)> {
        let mut shown = Vec::new();
        loop {
            let Some(name) = self.name_in_clause("the name of a field") else { return shown };
            let field = match self.eat(TokenKind::Colon) {
                Some(_) => self.name_in_clause("the name of a field"),
                None => None,
            };
            shown.push((name, field));
            if !self.list_goes_on() {
                return shown;
            }
            self.bump();
        }
    }

    /// A name; behind a comma it may stand on the next line.
    fn name_in_clause(&mut self, what: &str) -> Option<Ident> {
        let behind_comma = self.slice(self.last_span()) == ",";
        if self.line_ended() && !behind_comma {
            let message = format!("expected {what}, found {}", self.found());
            self.error("missing-name", self.here(), message, "names are separated by commas");
            return None;
        }
        self.name(what)
    }

    /// Whether the comma here separates elements of a list, not clauses.
    fn list_goes_on(&self) -> bool {
        if !self.at(TokenKind::Comma) {
            return false;
        }
        let (next, behind) = (self.peek_at(1), self.peek_at(2));
        let clause = CLAUSES.contains(&self.word_of(next));
        let argument = !behind.line_break
            && !matches!(
                behind.kind,
                TokenKind::Comma | TokenKind::Colon | TokenKind::RightBrace | TokenKind::End
            );
        next.kind == TokenKind::Word && !(clause && argument)
    }
}
