//! JSON as a tree with places, and the reader that makes it.
//!
//! The reader goes without recursion and bounds the nesting, so no text exhausts the stack. It keeps whole numbers apart
//! from others, whose digits stay as they were written, and refuses an object that has a member twice.

use std::collections::HashSet;

use smol_str::SmolStr;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// How deep lists and objects may nest: three levels for each of an expression's nodes, and some for what is around.
const MAX_JSON_DEPTH: usize = 1_024;

/// A JSON value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Json {
    pub(super) kind: JsonKind,
    pub(super) span: Span,
}

/// The kinds of JSON values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum JsonKind {
    Null,
    Bool(bool),
    /// A whole number that fits into 64 bits.
    Int(i64),
    /// Any other number, as written.
    Number(SmolStr),
    Str(SmolStr),
    List(Vec<Json>),
    Object(Vec<(Key, Json)>),
}

/// The name of a member and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) name: SmolStr,
    pub(super) span: Span,
}

impl Json {
    /// For messages.
    pub(super) fn describe(&self) -> &'static str {
        match self.kind {
            JsonKind::Null => "null",
            JsonKind::Bool(_) => "a boolean",
            JsonKind::Int(_) | JsonKind::Number(_) => "a number",
            JsonKind::Str(_) => "a text",
            JsonKind::List(_) => "a list",
            JsonKind::Object(_) => "an object",
        }
    }
}

/// A list or an object whose end is not yet read.
struct Open {
    start: usize,
    kind: JsonKind,
    /// The member whose value comes next.
    key: Option<Key>,
    /// The names of an object's members so far.
    names: HashSet<SmolStr>,
}

/// Reads one JSON value, and nothing behind it.
pub(super) fn read(text: &str) -> Result<Json, Diagnostic> {
    let mut source = Source { text, at: if text.starts_with('\u{feff}') { 3 } else { 0 } };
    let mut open: Vec<Open> = Vec::new();
    loop {
        source.space();
        let mut value = match source.value()? {
            Some(value) => value,
            None => {
                if open.len() == MAX_JSON_DEPTH {
                    let message = format!("lists and objects nest more than {MAX_JSON_DEPTH} deep");
                    return Err(source.wrong("too-deep", message));
                }
                let start = source.at;
                let list = source.peek() == Some(b'[');
                source.at += 1;
                source.space();
                let kind = if list { JsonKind::List(Vec::new()) } else { JsonKind::Object(Vec::new()) };
                let mut container = Open { start, kind, key: None, names: HashSet::new() };
                if source.peek() == Some(if list { b']' } else { b'}' }) {
                    source.at += 1;
                    Json { kind: container.kind, span: Span::new(start, source.at) }
                } else {
                    if !list {
                        container.key = Some(source.key(&mut container.names)?);
                    }
                    open.push(container);
                    continue;
                }
            }
        };
        // The value may be the last of what is open, and that the last of what is around it.
        loop {
            let Some(mut container) = open.pop() else {
                source.space();
                return match source.peek() {
                    None => Ok(value),
                    Some(_) => Err(source.wrong("json", "there is more behind the end of the JSON value")),
                };
            };
            let close = match (&mut container.kind, container.key.take()) {
                (JsonKind::Object(members), Some(key)) => {
                    members.push((key, value));
                    b'}'
                }
                (JsonKind::List(elements), _) => {
                    elements.push(value);
                    b']'
                }
                // A container is a list, or an object with a member open.
                _ => return Err(source.wrong("json", "expected a member")),
            };
            source.space();
            match source.peek() {
                Some(b',') => {
                    source.at += 1;
                    source.space();
                    if close == b'}' {
                        container.key = Some(source.key(&mut container.names)?);
                    }
                    open.push(container);
                    break;
                }
                Some(byte) if byte == close => {
                    source.at += 1;
                    value = Json { kind: container.kind, span: Span::new(container.start, source.at) };
                }
                _ => {
                    let expected = format!("expected \",\" or \"{}\"", close as char);
                    return Err(source.wrong("json", expected));
                }
            }
        }
    }
}

struct Source<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Source<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// A finding about the next character, or the end.
    fn wrong(&self, code: &'static str, message: impl Into<String>) -> Diagnostic {
        let next = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Diagnostic::error(code, Span::new(self.at, self.at + next), message)
    }

    /// A value that is neither a list nor an object; none where one of those begins.
    fn value(&mut self) -> Result<Option<Json>, Diagnostic> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'[' | b'{') => return Ok(None),
            Some(b'"') => JsonKind::Str(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", JsonKind::Bool(true))?,
            Some(b'f') => self.word("false", JsonKind::Bool(false))?,
            Some(b'n') => self.word("null", JsonKind::Null)?,
            Some(_) => return Err(self.wrong("json", "expected a JSON value")),
            None => return Err(self.wrong("json", "expected a JSON value, found the end")),
        };
        Ok(Some(Json { kind, span: Span::new(start, self.at) }))
    }

    fn word(&mut self, word: &str, kind: JsonKind) -> Result<JsonKind, Diagnostic> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("json", "expected a JSON value").help("texts stand in double quotes"));
        }
        self.at += word.len();
        Ok(kind)
    }

    fn key(&mut self, names: &mut HashSet<SmolStr>) -> Result<Key, Diagnostic> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("json", "expected the name of a member in double quotes"));
        }
        let start = self.at;
        let name = self.string()?;
        let span = Span::new(start, self.at);
        if !names.insert(name.clone()) {
            let message = format!("the object has two members \"{name}\"");
            return Err(Diagnostic::error("json", span, message));
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.wrong("json", "expected \":\" behind the name of a member"));
        }
        self.at += 1;
        Ok(Key { name, span })
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<JsonKind, Diagnostic> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        let whole = self.digits();
        let mut well = whole > 0 && !(zero && whole > 1);
        let mut int = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            int = false;
            well &= self.digits() > 0;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            int = false;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            well &= self.digits() > 0;
        }
        let (text, span) = (&self.text[start..self.at], Span::new(start, self.at));
        if !well {
            return Err(Diagnostic::error("json", span, format!("{text} is not a number of JSON")));
        }
        if !int {
            return Ok(JsonKind::Number(text.into()));
        }
        text.parse().map(JsonKind::Int).map_err(|_| {
            Diagnostic::error("json", span, format!("{text} is outside the range of int (64 bits)"))
        })
    }

    fn string(&mut self) -> Result<SmolStr, Diagnostic> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.into());
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => {
                    let help = "write \\n for a line break, \\t for a tab, \\u001f for others";
                    return Err(self.wrong("json", "a control character within a text").help(help));
                }
                None => {
                    let span = Span::new(start, self.text.len());
                    return Err(Diagnostic::error("json", span, "this text has no end"));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Diagnostic> {
        let start = self.at;
        self.at += 1;
        let letter = self.peek();
        let plain = match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let unit = self.hex();
                let found = match unit {
                    Some(high @ 0xd800..0xdc00) if self.text[self.at..].starts_with("\\u") => {
                        self.at += 2;
                        let low = self.hex().filter(|low| (0xdc00..0xe000).contains(low));
                        low.and_then(|low| char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)))
                    }
                    unit => unit.and_then(char::from_u32),
                };
                let span = Span::new(start, self.at);
                return found.ok_or_else(|| {
                    Diagnostic::error("json", span, "this escape stands for no character")
                        .help("write \\u and four hexadecimal digits; a pair of them beyond ffff")
                });
            }
            _ => return Err(self.wrong("json", "unknown escape").help("write \\\\ for a backslash")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// Four hexadecimal digits; passes as many as there are.
    fn hex(&mut self) -> Option<u32> {
        let rest = &self.text.as_bytes()[self.at..];
        let there = rest.iter().take(4).take_while(|byte| byte.is_ascii_hexdigit()).count();
        let digits = &self.text[self.at..self.at + there];
        self.at += there;
        (there == 4).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }
}
