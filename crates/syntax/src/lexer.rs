//! From text to tokens and comments.
//!
//! Invariant: tokens and comments are in order, do not overlap, and lie on character boundaries; the last token is
//! [`TokenKind::End`]. Operators of other languages (`==`, `&&`, `=>`, `“`, …) are reported here once and become the
//! operator that was meant, so that the parser never sees them. Read next: `parser`.

use smol_str::{SmolStr, SmolStrBuilder};

use crate::diagnostic::Diagnostic;
use crate::limits::{MAX_DIAGNOSTICS, MAX_NAME_CHARACTERS};
use crate::span::Span;
use crate::token::{Comment, Token, TokenKind};

/// All that the lexer gives.
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// The operators, each before any that it starts with.
const OPERATORS: &[(&str, TokenKind)] = &[
    (":=", TokenKind::Assign),
    ("..", TokenKind::DotDot),
    ("!=", TokenKind::NotEqual),
    ("<=", TokenKind::LessEqual),
    (">=", TokenKind::GreaterEqual),
    ("->", TokenKind::Arrow),
    ("??", TokenKind::Coalesce),
    ("{", TokenKind::LeftBrace),
    ("}", TokenKind::RightBrace),
    ("[", TokenKind::LeftBracket),
    ("]", TokenKind::RightBracket),
    ("(", TokenKind::LeftParen),
    (")", TokenKind::RightParen),
    (",", TokenKind::Comma),
    (":", TokenKind::Colon),
    (".", TokenKind::Dot),
    ("=", TokenKind::Equal),
    ("<", TokenKind::Less),
    (">", TokenKind::Greater),
    ("~", TokenKind::Tilde),
    ("+", TokenKind::Plus),
    ("-", TokenKind::Minus),
    ("*", TokenKind::Star),
    ("/", TokenKind::Slash),
    ("%", TokenKind::Percent),
    ("&", TokenKind::Ampersand),
    ("|", TokenKind::Pipe),
    ("!", TokenKind::Bang),
    ("?", TokenKind::Question),
];

/// Operators of other languages, what they become, and what to write; looked up before [`OPERATORS`].
const FOREIGN: &[(&str, TokenKind, &str)] = &[
    ("===", TokenKind::Equal, "use \"=\""),
    ("!==", TokenKind::NotEqual, "use \"!=\""),
    ("==", TokenKind::Equal, "use \"=\""),
    ("=~", TokenKind::Tilde, "use \"~\""),
    ("=>", TokenKind::Arrow, "use \"->\""),
    ("&&", TokenKind::Ampersand, "use \"&\" or \"and\""),
    ("||", TokenKind::Pipe, "use \"|\" or \"or\""),
    ("**", TokenKind::Star, "use \"power(x, y)\""),
    ("^", TokenKind::Star, "use \"power(x, y)\""),
    ("?.", TokenKind::Dot, "use \".\": a path over null is null"),
    (";", TokenKind::Comma, "remove it: a field ends at the end of its line or at a comma"),
    ("≠", TokenKind::NotEqual, "use \"!=\""),
    ("≤", TokenKind::LessEqual, "use \"<=\""),
    ("≥", TokenKind::GreaterEqual, "use \">=\""),
    ("−", TokenKind::Minus, "use \"-\""),
    ("–", TokenKind::Minus, "use \"-\""),
    ("×", TokenKind::Star, "use \"*\""),
    ("÷", TokenKind::Slash, "use \"/\""),
    ("→", TokenKind::Arrow, "use \"->\""),
];

/// Splits a text.
pub(crate) fn lex(text: &str) -> Lexed {
    let lexed = Lexed { tokens: Vec::new(), comments: Vec::new(), diagnostics: Vec::new() };
    let mut lexer = Lexer { text, at: 0, line_break: false, gap: false, lexed };
    if text.starts_with('\u{feff}') {
        lexer.at = '\u{feff}'.len_utf8();
    }
    while let Some(first) = lexer.peek() {
        lexer.next(first);
    }
    lexer.push(TokenKind::End, text.len());
    lexer.lexed
}

/// How many comments a text consists of, all on one line but for what is within them; none where it holds anything else.
pub(crate) fn comments(text: &str) -> Option<usize> {
    let lexed = lex(text);
    let mut at = 0;
    for comment in &lexed.comments {
        let (start, end) = (comment.span.start as usize, comment.span.end as usize);
        if text[at..start].contains('\n') {
            return None;
        }
        at = end;
    }
    (lexed.tokens.len() == 1 && lexed.diagnostics.is_empty() && at == text.len())
        .then_some(lexed.comments.len())
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Whether a line break was passed since the last token.
    line_break: bool,
    /// Whether something was left out since the last token.
    gap: bool,
    lexed: Lexed,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Passes all characters that fulfil the condition.
    fn skip_while(&mut self, condition: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.find(|c| !condition(c)).unwrap_or(rest.len());
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        let line_break = std::mem::take(&mut self.line_break);
        let after_gap = std::mem::take(&mut self.gap);
        let span = Span::new(start, self.at);
        self.lexed.tokens.push(Token { kind, span, line_break, broken: false, after_gap });
    }

    fn push_broken(&mut self, kind: TokenKind, start: usize) {
        self.push(kind, start);
        if let Some(token) = self.lexed.tokens.last_mut() {
            token.broken = true;
        }
    }

    fn report(&mut self, code: &'static str, start: usize, message: impl Into<String>, help: &str) {
        // One more than shown, so that the end can say that there were more.
        if self.lexed.diagnostics.len() <= MAX_DIAGNOSTICS {
            let diagnostic = Diagnostic::error(code, Span::new(start, self.at), message).help(help);
            self.lexed.diagnostics.push(diagnostic);
        }
    }

    /// Takes one token, comment or stretch of white space; always passes at least one character.
    fn next(&mut self, first: char) {
        let start = self.at;
        if first.is_whitespace() {
            self.line_break |= first == '\n';
            self.at += first.len_utf8();
        } else if self.rest().starts_with("//") {
            self.line_comment(start);
        } else if self.rest().starts_with("/*") {
            self.block_comment(start);
        } else if first.is_ascii_alphabetic() || first == '_' {
            self.word(start);
        } else if first.is_ascii_digit() {
            self.number(start);
        } else if matches!(first, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’') {
            self.string(start, first);
        } else if let Some((operator, kind, help)) =
            FOREIGN.iter().find(|(o, _, _)| self.rest().starts_with(o))
        {
            self.at += operator.len();
            self.report(
                "unknown-operator",
                start,
                format!("\"{operator}\" is not part of the language"),
                help,
            );
            self.push(*kind, start);
        } else if let Some((operator, kind)) = OPERATORS.iter().find(|(o, _)| self.rest().starts_with(o)) {
            self.at += operator.len();
            self.push(*kind, start);
        } else {
            self.unexpected(start, first);
        }
    }

    fn line_comment(&mut self, start: usize) {
        self.skip_while(|c| c != '\n');
        let end = start + self.text[start..self.at].trim_end().len();
        self.lexed.comments.push(Comment { span: Span::new(start, end) });
    }

    fn block_comment(&mut self, start: usize) {
        match self.rest()[2..].find("*/") {
            Some(length) => self.at += length + 4,
            None => {
                self.at += 2;
                self.report("unterminated-comment", start, "this comment has no end", "end it with \"*/\"");
                self.at = self.text.len();
                self.gap = true;
            }
        }
        self.line_break |= self.text[start..self.at].contains('\n');
        self.lexed.comments.push(Comment { span: Span::new(start, self.at) });
    }

    fn word(&mut self, start: usize) {
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        self.check_name(start);
        self.push(TokenKind::Word, start);
    }

    /// Reports what makes a word no name.
    fn check_name(&mut self, start: usize) {
        let name = &self.text[start..self.at];
        if !name.is_ascii() {
            let help = "names consist of the letters a-z and A-Z, digits and \"_\"";
            self.report("bad-name", start, format!("{} is not a name", quoted(name)), help);
        } else if name.len() > MAX_NAME_CHARACTERS {
            let message = format!("this name has {} characters", name.len());
            let help = format!("a name has at most {MAX_NAME_CHARACTERS} characters");
            self.report("bad-name", start, message, &help);
        }
    }

    fn number(&mut self, start: usize) {
        let digit = |c: char| c.is_ascii_digit();
        let mut kind = TokenKind::Int;
        self.skip_while(digit);
        if self.rest().starts_with('.') && self.rest()[1..].starts_with(digit) {
            kind = TokenKind::Number;
            self.at += 1;
            self.skip_while(digit);
        }
        if let Some(exponent) = self.rest().strip_prefix(['e', 'E']) {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.starts_with(digit) {
                kind = TokenKind::Number;
                self.at = self.text.len() - digits.len();
                self.skip_while(digit);
            }
        }
        let end = self.at;
        self.skip_while(|c| c.is_alphanumeric() || c == '_');
        if self.at == end {
            return self.push(kind, start);
        }
        let written = &self.text[start..self.at];
        let digits = written.bytes().all(|b| b.is_ascii_digit() || b == b'_');
        if digits && !written.ends_with('_') {
            let help = format!("write {}", quoted(&written.replace('_', "")));
            self.report("bad-number", start, "digits are written without \"_\" between them", &help);
            self.push(TokenKind::Number, start);
        } else {
            let message = format!("{} is neither a number nor a name", quoted(written));
            self.report("bad-name", start, message, "a name starts with a letter");
            self.push(TokenKind::Word, start);
        }
    }

    fn string(&mut self, start: usize, quote: char) {
        self.at += quote.len_utf8();
        let plain = matches!(quote, '"' | '\'');
        let closes = |c: char| {
            if plain || quote == '`' { c == quote } else { matches!(c, '“' | '”' | '‘' | '’') }
        };
        loop {
            let at = self.at;
            match self.peek() {
                None | Some('\n') => {
                    self.at = start + self.text[start..self.at].trim_end().len();
                    let help = "a string ends on its line; write \"\\n\" for a line break in it";
                    self.report("unterminated-string", start, "this string has no closing quote", help);
                    return self.push_broken(TokenKind::Str, start);
                }
                Some('\\') => {
                    let (length, value) = escape(self.rest());
                    self.at += length;
                    if value.is_none() && self.at > at + 1 {
                        let message = format!("{} is not an escape", quoted(&self.text[at..self.at]));
                        let help = "the escapes are \\n \\t \\\\ \\' \\\" and \\u{…} with a character's hexadecimal number";
                        self.report("unknown-escape", at, message, help);
                    }
                }
                Some(c) => {
                    self.at += c.len_utf8();
                    if closes(c) {
                        break;
                    }
                }
            }
        }
        if !plain {
            let message = format!("\"{quote}\" does not start a string");
            self.report("wrong-quote", start, message, "use ' or \" on both sides");
        }
        self.push(TokenKind::Str, start);
    }

    fn unexpected(&mut self, start: usize, first: char) {
        if first == '#' && !self.rest()[1..].starts_with(|c: char| c.is_alphanumeric()) {
            self.skip_while(|c| c != '\n');
            let help = "a comment starts with \"//\"";
            let end = std::mem::replace(&mut self.at, start + 1);
            self.report("unexpected-character", start, "\"#\" does not start a comment", help);
            self.at = end;
            self.gap = true;
            return;
        }
        if first.is_alphabetic() {
            return self.word(start);
        }
        self.gap = true;
        let taken = |c: char| !c.is_whitespace() && !c.is_ascii_alphanumeric() && !c.is_ascii_punctuation();
        self.at += first.len_utf8();
        self.skip_while(|c| {
            taken(c) && !c.is_alphabetic() && FOREIGN.iter().all(|(o, _, _)| !o.starts_with(c))
        });
        let message = format!("unexpected {}", quoted(&self.text[start..self.at]));
        self.report("unexpected-character", start, message, "remove it");
    }
}

/// The escape at the start of `rest`: its length in bytes (at least the backslash, never past the line), and the
/// character that it stands for. A backslash at the end of the line or of the text has length 1 and no character.
fn escape(rest: &str) -> (usize, Option<char>) {
    let mut characters = rest.chars();
    characters.next();
    match characters.next() {
        None | Some('\n') => (1, None),
        Some('n') => (2, Some('\n')),
        Some('t') => (2, Some('\t')),
        Some(c @ ('\\' | '\'' | '"')) => (2, Some(c)),
        Some('u') if characters.as_str().starts_with('{') => {
            let digits = &characters.as_str()[1..];
            let length = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            if !digits[length..].starts_with('}') {
                return (3 + length, None);
            }
            let code = if length <= 6 { u32::from_str_radix(&digits[..length], 16).ok() } else { None };
            (4 + length, code.and_then(char::from_u32))
        }
        Some(c) => (1 + c.len_utf8(), None),
    }
}

/// What a string token says: without its quotes, with its escapes replaced (wrong ones are left as written).
pub(crate) fn unescape(token: &str) -> SmolStr {
    let mut characters = token.chars();
    let first = characters.next();
    let inner = characters.as_str();
    let closed =
        inner.chars().next_back().filter(|c| Some(*c) == first || matches!(c, '“' | '”' | '‘' | '’'));
    let inner = &inner[..inner.len() - closed.map_or(0, char::len_utf8)];
    if !inner.contains('\\') {
        return SmolStr::new(inner);
    }
    let mut value = SmolStrBuilder::new();
    let mut at = 0;
    while let Some(c) = inner[at..].chars().next() {
        let (length, said) = if c == '\\' { escape(&inner[at..]) } else { (c.len_utf8(), Some(c)) };
        match said {
            Some(said) => value.push(said),
            None => value.push_str(&inner[at..at + length]),
        }
        at += length;
    }
    value.finish()
}

/// A part of the text in double quotes for a message, shortened where it is long.
pub(crate) fn quoted(part: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String =
        part.chars().take(SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if part.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let lexed = lex(text);
        let shown: Vec<String> = lexed
            .tokens
            .iter()
            .map(|t| {
                let word = &text[t.span.start as usize..t.span.end as usize];
                format!("{}{:?} {word}", if t.line_break { "/ " } else { "" }, t.kind)
            })
            .collect();
        assert_eq!(shown.join(", "), expected, "{text}");
    }

    #[test]
    fn splits_into_tokens() {
        check("a:=b_1 // c\n.5", "Word a, Assign :=, Word b_1, / Dot ., Int 5, End ");
        check(
            "0..5 1.5 2e-3 1.x 3..",
            "Int 0, DotDot .., Int 5, Number 1.5, Number 2e-3, Int 1, Dot ., Word x, Int 3, DotDot .., End ",
        );
        check("'a\\'b' \"\" ", "Str 'a\\'b', Str \"\", End ");
        check("a/* \n */b", "Word a, / Word b, End ");
        check("set<map<int>>", "Word set, Less <, Word map, Less <, Word int, Greater >, Greater >, End ");
        check("\u{feff}a == b", "Word a, Equal ==, Word b, End ");
        check("'abc  \nx", "Str 'abc, / Word x, End ");
    }

    #[test]
    fn unescapes() {
        let check = |token: &str, expected: &str| assert_eq!(unescape(token), expected, "{token}");
        check("'a'", "a");
        check("'a", "a");
        check("'", "");
        check(r#"'\n\t\\\'\"\u{e4}\u{1F600}'"#, "\n\t\\'\"ä😀");
        check(r"'\q\u{110000}\u{}\u{12'", r"\q\u{110000}\u{}\u{12");
        check("“a”", "a");
    }

    #[test]
    fn wrong_escapes_are_reported() {
        let check = |text: &str, expected: &[&str]| {
            let messages: Vec<String> = lex(text).diagnostics.into_iter().map(|d| d.message).collect();
            assert_eq!(messages, expected, "{text}");
        };
        check(r"'\n\u{e4}'", &[]);
        check(r"'\q'", &[r#""\q" is not an escape"#]);
        check(r"'\u{d800}'", &[r#""\u{d800}" is not an escape"#]);
        check(r"'\u{12'", &[r#""\u{12" is not an escape"#]);
        check("'\\", &["this string has no closing quote"]);
    }
}
