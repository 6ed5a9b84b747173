//! Findings as plain text for a terminal, each with its line and a caret under its place.
//!
//! Invariant: what is shown takes at most as many columns as the constants here allow, and no control character of the
//! text reaches the terminal.

use std::fmt::Write;

use crate::diagnostic::{Diagnostic, Severity};
use crate::line_index::LineIndex;

/// The most characters of one line that are shown; of a longer one, the part around the place.
const SHOWN_CHARACTERS: usize = 160;

/// What is shown before a place in a line that is too long.
const SHOWN_BEFORE: usize = 60;

/// What a tab takes.
const TAB_WIDTH: usize = 4;

/// Shows findings about `text`, separated by blank lines, in the order given.
///
/// ```text
/// error[unknown-option]: unknown option "requierd"
///   --> shop.schema:3:13
///    |
///  3 |   name: str requierd
///    |             ^^^^^^^^ did you mean "required"?
/// ```
///
/// Columns count characters from 1. Of a place over several lines, the first and the last are shown.
pub fn render(diagnostics: &[Diagnostic], file_name: &str, text: &str) -> String {
    let lines = LineIndex::new(text);
    let shown: Vec<String> =
        diagnostics.iter().map(|diagnostic| one(diagnostic, file_name, &lines)).collect();
    shown.join("\n")
}

fn one(diagnostic: &Diagnostic, file_name: &str, lines: &LineIndex<'_>) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let (first, column) = lines.line_column(diagnostic.span.start);
    let (last, end) = lines.line_column(diagnostic.span.end.max(diagnostic.span.start));
    // A place that ends at the start of a line ends with the line before.
    let (last, end) = if last > first && end == 1 { (last - 1, u32::MAX) } else { (last, end) };
    let width = last.to_string().len();
    let gap = " ".repeat(width + 1);
    let message = visible(&diagnostic.message);
    let mut out = format!("{severity}[{}]: {message}\n", diagnostic.code);
    let _ = writeln!(out, " {}--> {}:{first}:{column}", " ".repeat(width), visible(file_name));
    let _ = writeln!(out, " {gap}|");
    let help = diagnostic.help.as_deref().map(visible).unwrap_or_default();
    if first == last {
        marked(&mut out, lines, first, width, (column, end), &help);
    } else {
        marked(&mut out, lines, first, width, (column, u32::MAX), "");
        if last > first + 1 {
            let _ = writeln!(out, " {gap}...");
        }
        marked(&mut out, lines, last, width, (1, end), &help);
    }
    out
}

/// A line, and below it carets from one column up to, not including, another, and the help.
fn marked(out: &mut String, lines: &LineIndex<'_>, line: u32, width: usize, columns: (u32, u32), help: &str) {
    let characters: Vec<char> = lines.line(line).chars().collect();
    let start = (columns.0 as usize - 1).min(characters.len());
    let end = (columns.1 as usize - 1).min(characters.len()).max(start);
    let cut = if characters.len() > SHOWN_CHARACTERS { start.saturating_sub(SHOWN_BEFORE) } else { 0 };
    let stop = characters.len().min(cut + SHOWN_CHARACTERS);
    let end = end.min(stop);
    let show = |part: &[char]| visible(&part.iter().collect::<String>());
    let prefix = if cut > 0 { "…" } else { "" };
    let suffix = if stop < characters.len() { "…" } else { "" };
    let shown = format!(" {line:>width$} | {prefix}{}{suffix}", show(&characters[cut..stop]));
    let _ = writeln!(out, "{}", shown.trim_end());
    let indent = prefix.chars().count() + show(&characters[cut..start]).chars().count();
    let carets = show(&characters[start..end]).chars().count().max(1);
    let marks = format!(" {} | {}{} {help}", " ".repeat(width), " ".repeat(indent), "^".repeat(carets));
    let _ = writeln!(out, "{}", marks.trim_end());
}

/// Text that a terminal shows as it is: tabs become spaces, other control characters a sign.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => (0..TAB_WIDTH).for_each(|_| shown.push(' ')),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => shown.push('\u{fffd}'),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::span::Span;

    fn check(text: &str, span: (usize, usize), expected: &str) {
        let diagnostic = Diagnostic::error("code", Span::new(span.0, span.1), "message").help("help");
        assert_eq!(render(&[diagnostic], "f", text), expected.trim_start_matches('\n'), "{text}");
    }

    #[test]
    fn marks_the_place() {
        check(
            "a\n\tö b\n",
            (5, 6),
            "
error[code]: message
  --> f:2:3
   |
 2 |     ö b
   |      ^ help
",
        );
        check(
            "age",
            (3, 3),
            "
error[code]: message
  --> f:1:4
   |
 1 | age
   |    ^ help
",
        );
        check(
            "",
            (0, 0),
            "
error[code]: message
  --> f:1:1
   |
 1 |
   | ^ help
",
        );
    }

    #[test]
    fn shows_the_ends_of_long_places() {
        check(
            "a b\nc\nd e",
            (2, 7),
            "
error[code]: message
  --> f:1:3
   |
 1 | a b
   |   ^
   ...
 3 | d e
   | ^ help
",
        );
        check(
            "a b\nc\nd e",
            (2, 4),
            "
error[code]: message
  --> f:1:3
   |
 1 | a b
   |   ^ help
",
        );
    }

    #[test]
    fn cuts_long_lines() {
        let text = format!("{}x{}", "-".repeat(1000), "+".repeat(1000));
        let shown = render(&[Diagnostic::error("code", Span::new(1000, 1001), "message")], "f", &text);
        let expected = format!(" 1 | …{}x{}…\n   | {}^\n", "-".repeat(60), "+".repeat(99), " ".repeat(61));
        assert!(shown.ends_with(&expected), "{shown}");
    }

    #[test]
    fn keeps_control_characters_from_the_terminal() {
        let shown = render(
            &[Diagnostic::error("code", Span::new(0, 1), "a\u{1b}[2J")],
            "f\u{7}",
            "x\u{1b}[31m\u{202e}",
        );
        assert!(
            shown.chars().all(|c| c == '\n' || !c.is_control()) && !shown.contains('\u{202e}'),
            "{shown}"
        );
    }

    #[test]
    fn separates_several() {
        let finding = Diagnostic::error("c", Span::new(0, 1), "m");
        let both = render(&[finding.clone(), finding.clone()], "f", "x");
        let one = render(&[finding], "f", "x");
        assert_eq!(both, format!("{one}\n{one}"));
    }
}
