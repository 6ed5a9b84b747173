//! Texts that were right, changed at random: nothing panics or hangs, every finding has a place, and what is still right
//! survives the way to its canonical text and its JSON form.
//!
//! `COROLLARY_FUZZ_SEED` sets the first seed, `COROLLARY_FUZZ_TIMES` multiplies the number of cases. A failure names
//! the seed of its case.

use std::path::Path;

use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{
    dump, dump_schema, expression_to_json, format_expression, format_schema, json_to_schema,
    parse_expression, parse_expression_json, parse_schema, parse_schema_json, render, schema_to_json,
};

/// Texts to change.
const CORPUS: &[&str] = &[
    "crates/syntax/tests/data/company.schema",
    "crates/syntax/tests/data/options.schema",
    "crates/syntax/tests/data/expressions.txt",
    "examples/flights/flights.cor",
    "examples/shop/shop.cor",
];

/// What is put in between.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    ":=",
    ".",
    "..",
    "->",
    "??",
    "'",
    "\"",
    "\\",
    "/*",
    "*/",
    "//",
    "\n",
    "\t",
    "-",
    "1e9",
    "99999999999999999999",
    "self",
    "else",
    "order by",
    "type",
    "link",
    "null",
    "\u{0}",
    "é",
    "\u{202e}",
    "\\u0000",
    "\\ud800",
    "\"op\"",
    "true",
    "[[[[",
    "{{{{",
    "((((",
];

/// Random numbers from a seed: xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// A text with some changes.
    fn changed(&mut self, text: &str, others: &[String]) -> String {
        let mut text = text.to_string();
        for _ in 0..1 + self.below(6) {
            let (from, to) = (self.place(&text), self.place(&text));
            let (from, to) = (from.min(to), from.max(to).min(from + self.below(40)));
            let to = (to..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len()).max(from);
            match self.below(5) {
                0 => text.replace_range(from..to, ""),
                1 => text.insert_str(from, PIECES[self.below(PIECES.len())]),
                2 => {
                    let part = text[from..to].to_string();
                    let at = self.place(&text);
                    text.insert_str(at, &part);
                }
                3 => {
                    let other = &others[self.below(others.len())];
                    let (start, end) = (self.place(other), self.place(other));
                    text.replace_range(from..to, &other[start.min(end)..start.max(end)]);
                }
                _ => text.replace_range(from..to, PIECES[self.below(PIECES.len())]),
            }
        }
        text
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn corpus() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    CORPUS.iter().map(|path| std::fs::read_to_string(root.join(path)).expect("a text")).collect()
}

/// Runs a test on changed texts.
fn each(cases: u64, texts: &[String], test: impl Fn(&str)) {
    let first = setting("COROLLARY_FUZZ_SEED", 1);
    for seed in first..first + cases * setting("COROLLARY_FUZZ_TIMES", 1) {
        // Neighbouring seeds are far apart, and none is 0.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let chosen = random.below(texts.len());
        let text = random.changed(&texts[chosen], texts);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&text)));
        assert!(run.is_ok(), "seed {seed}: {text:?}");
    }
}

fn check_places(text: &str, found: &[Diagnostic]) {
    for one in found {
        let (start, end) = (one.span.start as usize, one.span.end as usize);
        assert!(start <= end && text.is_char_boundary(start) && text.is_char_boundary(end), "{one:?}");
        assert!(!one.message.is_empty() && !one.code.is_empty());
    }
    render(found, "text", text);
}

#[test]
fn changed_schemas_are_taken() {
    each(if cfg!(debug_assertions) { 300 } else { 20_000 }, &corpus(), |text| {
        let parsed = parse_schema(text);
        check_places(text, &parsed.diagnostics);
        let Ok(formatted) = format_schema(text) else {
            assert!(!parsed.diagnostics.is_empty());
            return;
        };
        let json = schema_to_json(&formatted).expect("what is formatted has a JSON form");
        assert_eq!(json_to_schema(&json).as_ref(), Ok(&formatted));
        assert_eq!(dump_schema(&parse_schema_json(&json).tree), dump_schema(&parsed.tree));
    });
}

#[test]
fn changed_expressions_are_taken() {
    let lines: Vec<String> = corpus()[2].lines().map(str::to_string).collect();
    each(if cfg!(debug_assertions) { 2_000 } else { 200_000 }, &lines, |text| {
        let parsed = parse_expression(text);
        check_places(text, &parsed.diagnostics);
        if parsed.diagnostics.is_empty() {
            let again = parse_expression(&format_expression(&parsed.tree));
            assert_eq!((dump(&again.tree), again.diagnostics), (dump(&parsed.tree), Vec::new()));
            let json = parse_expression_json(&expression_to_json(&parsed.tree));
            assert_eq!((dump(&json.tree), json.diagnostics), (dump(&parsed.tree), Vec::new()));
        }
    });
}

#[test]
fn changed_json_is_taken() {
    let forms: Vec<String> = corpus().iter().filter_map(|text| schema_to_json(text).ok()).collect();
    assert_eq!(forms.len(), CORPUS.len() - 1);
    each(if cfg!(debug_assertions) { 300 } else { 20_000 }, &forms, |text| {
        let parsed = parse_schema_json(text);
        check_places(text, &parsed.diagnostics);
        match json_to_schema(text) {
            Ok(schema) => assert_eq!(dump_schema(&parse_schema(&schema).tree), dump_schema(&parsed.tree)),
            Err(found) => {
                assert!(!found.is_empty());
                check_places(text, &found);
            }
        }
    });
    let forms: Vec<String> =
        corpus()[2].lines().map(|line| expression_to_json(&parse_expression(line).tree)).collect();
    each(if cfg!(debug_assertions) { 2_000 } else { 200_000 }, &forms, |text| {
        let parsed = parse_expression_json(text);
        check_places(text, &parsed.diagnostics);
    });
}
