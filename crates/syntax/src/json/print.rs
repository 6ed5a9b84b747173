//! JSON trees as text: what fits stands on one line.

use std::fmt::Write;

use super::value::{Json, JsonKind};

/// The widest line that is not broken, in characters.
const LINE_WIDTH: usize = 100;

/// The text of a JSON tree, ending with a line break.
pub(super) fn print(json: &Json) -> String {
    let mut printer = Printer { out: String::new() };
    printer.value(json, 0, 0);
    printer.out.push('\n');
    printer.out
}

struct Printer {
    out: String,
}

impl Printer {
    fn line(&mut self, indent: usize) {
        self.out.push('\n');
        (0..indent).for_each(|_| self.out.push_str("  "));
    }

    /// Writes a value of which the line up to here has `column` characters.
    fn value(&mut self, json: &Json, indent: usize, column: usize) {
        let fits = flat_width(json, LINE_WIDTH.saturating_sub(column)).is_some();
        let inner = indent + 1;
        match &json.kind {
            JsonKind::List(elements) if !fits && !elements.is_empty() => {
                self.out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    self.out.push_str(if n > 0 { "," } else { "" });
                    self.line(inner);
                    self.value(element, inner, 2 * inner + 1);
                }
                self.line(indent);
                self.out.push(']');
            }
            JsonKind::Object(members) if !fits && !members.is_empty() => {
                self.out.push('{');
                for (n, (key, value)) in members.iter().enumerate() {
                    self.out.push_str(if n > 0 { "," } else { "" });
                    self.line(inner);
                    let start = self.out.len();
                    string(&key.name, &mut self.out);
                    self.out.push_str(": ");
                    self.value(value, inner, 2 * inner + (self.out.len() - start) + 1);
                }
                self.line(indent);
                self.out.push('}');
            }
            _ => flat(json, &mut self.out),
        }
    }
}

/// A value on one line.
fn flat(json: &Json, out: &mut String) {
    match &json.kind {
        JsonKind::Null => out.push_str("null"),
        JsonKind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        JsonKind::Int(value) => {
            let _ = write!(out, "{value}");
        }
        JsonKind::Number(text) => out.push_str(text),
        JsonKind::Str(text) => string(text, out),
        JsonKind::List(elements) => {
            out.push('[');
            for (n, element) in elements.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                flat(element, out);
            }
            out.push(']');
        }
        JsonKind::Object(members) => {
            out.push('{');
            for (n, (key, value)) in members.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                string(&key.name, out);
                out.push_str(": ");
                flat(value, out);
            }
            out.push('}');
        }
    }
}

/// How many bytes a value takes on one line, unless that is more than `most`: so looking costs no more than a line.
fn flat_width(json: &Json, most: usize) -> Option<usize> {
    let within = |width: usize| (width <= most).then_some(width);
    let quoted =
        |text: &str| text.len() + 2 + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | 0..32)).count();
    match &json.kind {
        JsonKind::Null => within(4),
        JsonKind::Bool(_) => within(5),
        JsonKind::Int(value) => within(value.to_string().len()),
        JsonKind::Number(text) => within(text.len()),
        JsonKind::Str(text) => within(quoted(text)),
        JsonKind::List(elements) => {
            let mut width = 2;
            for element in elements {
                width += 2 + flat_width(element, most.checked_sub(width)?)?;
            }
            within(width)
        }
        JsonKind::Object(members) => {
            let mut width = 2;
            for (key, value) in members {
                width += quoted(&key.name) + 4;
                width += flat_width(value, most.checked_sub(width)?)?;
            }
            within(width)
        }
    }
}

/// A text in double quotes. What a reader would not see is escaped.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if crate::print_expression::hidden(c) => {
                let _ = c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
