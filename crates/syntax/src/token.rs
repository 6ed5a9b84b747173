//! The words of the language: tokens and comments, with their places.

use crate::span::Span;

/// What a token is. Its text is found by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name or a keyword; which of them, the parser decides by its position.
    Word,
    /// A whole number without a sign.
    Int,
    /// A number with a point or an exponent, without a sign.
    Number,
    /// A string with its quotes.
    Str,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    LeftParen,
    RightParen,
    Comma,
    Colon,
    /// `:=`
    Assign,
    Dot,
    /// `..`
    DotDot,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Tilde,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Ampersand,
    Pipe,
    Bang,
    /// `->`
    Arrow,
    /// `??`
    Coalesce,
    /// `?`, which has no meaning, but often stands for something that has one.
    Question,
    /// The end of the text.
    End,
}

/// One token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
    /// Whether a line break stands between the token before and this one.
    pub(crate) line_break: bool,
    /// Whether the lexer found something wrong that probably took the rest of the line with it.
    pub(crate) broken: bool,
    /// Whether the lexer left something out directly before it, and has reported that.
    pub(crate) after_gap: bool,
}

/// One comment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comment {
    /// With its `//` or its `/*` and `*/`.
    pub(crate) span: Span,
}
