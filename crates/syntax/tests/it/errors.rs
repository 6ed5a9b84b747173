//! Findings as people see them: each case of `errors.txt` is a text and what is reported about it.
//!
//! With `UPDATE_EXPECT=1` in the environment the file is rewritten with what is reported now; review the difference.

use std::fmt::Write;
use std::path::Path;

use corollary_syntax::{parse_expression, parse_expression_json, parse_schema, parse_schema_json, render};

/// Starts a case: the mark, and `schema`, `expression`, `json` (a schema) or `json expression`.
const CASE: &str = "======== ";

/// Between the text and what is reported about it.
const REPORTED: &str = "\n--------\n";

#[test]
fn errors_are_reported_as_written_down() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.txt");
    let file = std::fs::read_to_string(&path).expect("the file of cases");
    let mut now = String::new();
    let mut cases = 0;
    for case in file.split(CASE).skip(1) {
        let (kind, rest) = case.split_once('\n').expect("a kind");
        let text = rest.split_once(REPORTED).map_or(rest, |(text, _)| text);
        let diagnostics = match kind {
            "schema" => parse_schema(text).diagnostics,
            "expression" => parse_expression(text).diagnostics,
            "json" => parse_schema_json(text).diagnostics,
            "json expression" => parse_expression_json(text).diagnostics,
            _ => panic!("unknown kind {kind}"),
        };
        assert!(!diagnostics.is_empty(), "nothing is reported about {text}");
        let reported = render(&diagnostics, "text", text);
        writeln!(now, "{CASE}{kind}\n{text}{REPORTED}{reported}").expect("strings take everything");
        cases += 1;
    }
    assert!(cases >= 50, "{cases} cases");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &now).expect("the file of cases is writable");
    } else {
        let different = file.lines().zip(now.lines()).find(|(then, now)| then != now);
        assert!(file == now, "first different line (expected, reported): {different:?}");
    }
}
