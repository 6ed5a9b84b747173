//! The parser's cursor over the tokens: looking ahead, taking, reporting, recovering.
//!
//! Invariants: the cursor never passes [`TokenKind::End`]; every loop of the grammar takes at least one token per
//! turn; a consequence of an error already reported is not reported again (see [`Parser::report`]).
//! Read next: `parse_expression`, `parse_schema`.

use smol_str::SmolStr;

use crate::ast::Ident;
use crate::diagnostic::Diagnostic;
use crate::lexer::{Lexed, lex, quoted};
use crate::limits::{MAX_DEPTH, MAX_DIAGNOSTICS, MAX_TEXT_BYTES};
use crate::line_index::LineIndex;
use crate::span::Span;
use crate::token::{Comment, Token, TokenKind};

/// The state of parsing one text.
pub(crate) struct Parser<'t> {
    pub(crate) text: &'t str,
    tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    at: usize,
    diagnostics: Vec<Diagnostic>,
    /// Findings that start here or before are consequences of one already reported.
    quiet_until: Option<u32>,
    depth: usize,
    /// Whether the text is a schema, where a line may start a new member.
    pub(crate) in_schema: bool,
    /// Whether a line break ends what is being parsed: so within a type's braces, but not within brackets.
    pub(crate) line_bound: bool,
    /// How many `->` wait for their `:` within the innermost brackets.
    pub(crate) open_arrows: usize,
}

impl<'t> Parser<'t> {
    /// Starts on a text. One that is too long counts as empty.
    pub(crate) fn new(text: &'t str, in_schema: bool) -> Parser<'t> {
        let mut diagnostics = Vec::new();
        let read = if text.len() > MAX_TEXT_BYTES { "" } else { text };
        if read.len() < text.len() {
            let message = format!("the text has {} bytes", text.len());
            let help = format!("a text has at most {MAX_TEXT_BYTES} bytes");
            diagnostics.push(Diagnostic::error("text-too-long", Span::default(), message).help(help));
        }
        let Lexed { tokens, comments, diagnostics: lexical } = lex(read);
        diagnostics.extend(lexical);
        Parser {
            text: read,
            tokens,
            comments,
            at: 0,
            diagnostics,
            quiet_until: None,
            depth: 0,
            in_schema,
            line_bound: false,
            open_arrows: 0,
        }
    }

    /// All findings, ordered by place, at most [`MAX_DIAGNOSTICS`] and a last one that says so.
    pub(crate) fn finish(mut self) -> (Vec<Diagnostic>, Vec<Comment>, Vec<Token>) {
        // Stable: of two at one place, the lexer's comes first, and the other is its consequence.
        self.diagnostics.sort_by_key(|d| d.span.start);
        self.diagnostics.dedup_by_key(|d| d.span.start);
        if self.diagnostics.len() > MAX_DIAGNOSTICS {
            let at = self.diagnostics[MAX_DIAGNOSTICS].span;
            self.diagnostics.truncate(MAX_DIAGNOSTICS);
            let message = format!("there are more than {MAX_DIAGNOSTICS} errors; the others are not shown");
            self.diagnostics.push(Diagnostic::error("too-many-errors", at, message));
        }
        (self.diagnostics, self.comments, self.tokens)
    }

    pub(crate) fn peek(&self) -> Token {
        self.tokens[self.at]
    }

    /// The token `n` after the next one, or the end.
    pub(crate) fn peek_at(&self, n: usize) -> Token {
        self.tokens[(self.at + n).min(self.tokens.len() - 1)]
    }

    pub(crate) fn at(&self, kind: TokenKind) -> bool {
        self.peek().kind == kind
    }

    /// Takes the next token. The end stays.
    pub(crate) fn bump(&mut self) -> Token {
        let token = self.peek();
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        if token.broken {
            self.quiet_until = self.quiet_until.max(Some(token.span.end));
        }
        token
    }

    pub(crate) fn eat(&mut self, kind: TokenKind) -> Option<Token> {
        self.at(kind).then(|| self.bump())
    }

    pub(crate) fn slice(&self, span: Span) -> &'t str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// The text of a token that is a word, else nothing.
    pub(crate) fn word_of(&self, token: Token) -> &'t str {
        if token.kind == TokenKind::Word { self.slice(token.span) } else { "" }
    }

    /// Whether the token `n` after the next one is this word.
    pub(crate) fn word_at(&self, n: usize, word: &str) -> bool {
        self.word_of(self.peek_at(n)) == word
    }

    pub(crate) fn eat_word(&mut self, word: &str) -> Option<Token> {
        self.word_at(0, word).then(|| self.bump())
    }

    /// A token that is a word, as a name.
    pub(crate) fn ident_of(&self, token: Token) -> Ident {
        Ident { name: SmolStr::new(self.slice(token.span)), span: token.span }
    }

    /// The place of the token before the next one; the start of the text where there is none.
    pub(crate) fn last_span(&self) -> Span {
        self.at.checked_sub(1).map_or(Span::default(), |last| self.tokens[last].span)
    }

    /// From the start of `first` to the end of the last token taken.
    pub(crate) fn span_from(&self, first: Span) -> Span {
        Span { start: first.start, end: self.last_span().end.max(first.start) }
    }

    /// The index of the next token, to see whether a step has taken any.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Whether what is being parsed ends here at the latest: at a line break where lines count, or at the end.
    pub(crate) fn line_ended(&self) -> bool {
        self.at(TokenKind::End) || (self.line_bound && self.peek().line_break)
    }

    /// Whether the token `n` after the next one starts a member: a word followed by `:` or `:=`.
    pub(crate) fn member_at(&self, n: usize) -> bool {
        self.peek_at(n).kind == TokenKind::Word
            && matches!(self.peek_at(n + 1).kind, TokenKind::Colon | TokenKind::Assign)
    }

    /// The place at which something is missing: the next token, or right behind the last one where the next is on
    /// another line.
    pub(crate) fn here(&self) -> Span {
        let next = self.peek();
        if next.kind == TokenKind::End || next.line_break {
            let end = self.last_span().end;
            Span { start: end, end }
        } else {
            next.span
        }
    }

    /// What stands at [`Parser::here`], for a message.
    pub(crate) fn found(&self) -> String {
        let next = self.peek();
        match next.kind {
            TokenKind::End => "the end of the text".to_string(),
            _ if next.line_break => "the end of the line".to_string(),
            TokenKind::Str => format!("the string {}", self.shown(next)),
            _ => quoted(self.slice(next.span)),
        }
    }

    /// Reports an error, unless it starts no later than one already reported: then it is a consequence of that.
    pub(crate) fn report(&mut self, diagnostic: Diagnostic) {
        let start = diagnostic.span.start;
        let gap = self.peek().after_gap && (start == self.peek().span.start || start == self.here().start);
        if gap || self.quiet_until.is_some_and(|until| start <= until) {
            return;
        }
        self.quiet_until = Some(start);
        // One more than shown, so that the end can say that there were more.
        if self.diagnostics.len() <= MAX_DIAGNOSTICS {
            self.diagnostics.push(diagnostic);
        }
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Diagnostic::error(code, span, message).help(help));
    }

    /// Takes the bracket that closes `open`, or reports that it is missing.
    pub(crate) fn close(&mut self, kind: TokenKind, open: Span) {
        // The lines are only counted for a finding that will be shown, or a long text would take long.
        if self.eat(kind).is_some() || self.diagnostics.len() > MAX_DIAGNOSTICS {
            return;
        }
        let (line, column) = LineIndex::new(self.text).line_column(open.start);
        let closing = match kind {
            TokenKind::RightBrace => "}",
            TokenKind::RightBracket => "]",
            TokenKind::RightParen => ")",
            _ => ">",
        };
        let message = format!("expected \"{closing}\", found {}", self.found());
        let opening = quoted(self.slice(open));
        self.error(
            "missing-bracket",
            self.here(),
            message,
            format!("it closes the {opening} at {line}:{column}"),
        );
    }

    /// Runs a step one level deeper, or reports that the text nests too deeply, skips what nests, and gives `None`.
    pub(crate) fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("this is nested more than {MAX_DEPTH} levels deep");
            self.too_large("too-deep", message, "give an inner part a derived field of its own");
            return None;
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        Some(result)
    }

    /// Reports that a limit is passed at the next token, and skips to the end of the member or of the expression.
    pub(crate) fn too_large(&mut self, code: &'static str, message: String, help: &str) {
        self.error(code, self.peek().span, message, help);
        self.bump();
        while !self.at(TokenKind::End)
            && !(self.in_schema && self.peek().line_break && (self.member_at(0) || self.word_at(0, "type")))
        {
            self.bump();
        }
        // All brackets that are open here would be found missing.
        self.quiet_until = self.quiet_until.max(Some(self.peek().span.start));
    }

    /// Passes the next token, and where it opens a bracket, all up to the one that closes it; not past the start of
    /// another type.
    pub(crate) fn skip_balanced(&mut self) {
        let mut open = 0usize;
        loop {
            match self.bump().kind {
                TokenKind::LeftBrace | TokenKind::LeftBracket | TokenKind::LeftParen => open += 1,
                TokenKind::RightBrace | TokenKind::RightBracket | TokenKind::RightParen => {
                    open = open.saturating_sub(1);
                }
                _ => {}
            }
            if open == 0 || self.at(TokenKind::End) || (self.in_schema && self.type_starts()) {
                return;
            }
        }
    }

    /// Whether a type or a mount starts here, at the start of a line.
    pub(crate) fn type_starts(&self) -> bool {
        let starts = |word: &str, n: usize| {
            self.word_at(n, word) && self.peek_at(n + 1).kind == TokenKind::Word && !self.member_at(n + 1)
        };
        self.peek().line_break
            && (starts("type", 0)
                || (self.word_at(0, "abstract") && starts("type", 1))
                || (starts("mount", 0) && self.mount_path_follows()))
    }
}
