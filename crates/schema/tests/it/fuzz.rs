//! Schemas that were right, with words exchanged at random: the checker never panics, every finding has a code and a
//! place, and it finds the same in the JSON form; what it accepts can be explained.
//!
//! `COROLLARY_FUZZ_SEED` sets the first seed, `COROLLARY_FUZZ_TIMES` multiplies the number of cases. A failure names
//! the seed of its case.

use std::path::Path;

use corollary_schema::mounts::explain::explain_all as explain_mounts;
use corollary_schema::plan::describe::describe;
use corollary_schema::plan::explain::explain_all;
use corollary_schema::{Ids, check, check_parsed};
use corollary_syntax::{format_schema, parse_schema_json, render, schema_to_json};

/// Schemas to change.
const CORPUS: &[&str] = &[
    "crates/syntax/tests/data/company.schema",
    "crates/syntax/tests/data/options.schema",
    "examples/flights/flights.cor",
    "examples/shop/shop.cor",
];

/// A schema of constructs that the examples have none of.
const MORE: &str = "
type Node in nodes {
  name: str unique, normalize (trim, nfc)
  n: int min 0, max 9, default 3
  tags: [str] max_length 3
  words: set<str>
  scores: map<int>
  at: datetime
  day: date
  level: \"low\" | \"high\" default \"low\"
  place: { x: int required, y: { z: str } }
  up: link Node on delete cascade
  near: links Node
  leaves: collection Leaf
  below: inverse Node.up
  total := sum(self.below.n) + count(self.leaves[size > self.n])
  first_leaf := first(self.leaves[order by size desc, name]).name else 'none'
  mean := round(average(self.below[level = 'high'].n), 2)
  best := max(self.leaves.size) ?? 0
  near_names := self.near.name
  kind := self.level -> ('low': 1, else: self.up.n)
  odd := matches(self.name, '^a') and self.n % 2 = 1 or exists(self.tags)
}
type Leaf { name: str, size: int, owner := parent.name, share := self.size / sum(parent.leaves.size) else 0 }
";

/// Words that stand in for others.
const WORDS: &[&str] = &[
    "str",
    "int",
    "decimal",
    "date",
    "link",
    "links",
    "collection",
    "inverse",
    "self",
    "parent",
    "root",
    "sum",
    "count",
    "first",
    "median",
    "not",
    "null",
    "true",
    "0",
    "1.5",
    "'a'",
    "required",
    "unique",
    "index",
    "default",
    "x",
    "id",
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// The places of words.
fn words(text: &str) -> Vec<(usize, usize)> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        match (start, word(c)) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                found.push((from, at));
                start = None;
            }
            _ => {}
        }
    }
    found
}

/// Some words become others of the same text, or of the language; some lines go.
fn changed(text: &str, random: &mut Random) -> String {
    let mut text = text.to_string();
    for _ in 0..1 + random.below(4) {
        let places = words(&text);
        let (from, to) = places[random.below(places.len())];
        let with = match random.below(5) {
            0 => WORDS[random.below(WORDS.len())].to_string(),
            1 => {
                let line = text[..from].rfind('\n').map_or(0, |at| at + 1);
                let end = text[from..].find('\n').map_or(text.len(), |at| from + at);
                text.replace_range(line..end, "");
                continue;
            }
            _ => {
                let (from, to) = places[random.below(places.len())];
                text[from..to].to_string()
            }
        };
        text.replace_range(from..to, &with);
    }
    text
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn changed_schemas_are_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut corpus: Vec<String> =
        CORPUS.iter().map(|path| std::fs::read_to_string(root.join(path)).expect("a schema")).collect();
    corpus.extend([MORE.to_string(), MORE.to_string()]);
    let first = setting("COROLLARY_FUZZ_SEED", 1);
    let cases = if cfg!(debug_assertions) { 400 } else { 20_000 };
    let (mut accepted, mut refused) = (0, 0);
    for seed in first..first + cases * setting("COROLLARY_FUZZ_TIMES", 1) {
        // Neighbouring seeds are far apart, and none is 0.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let text = changed(&corpus[random.below(corpus.len())], &mut random);
        let run = std::panic::catch_unwind(|| look_at(&text));
        match run {
            Ok(true) => accepted += 1,
            Ok(false) => refused += 1,
            Err(_) => panic!("seed {seed}: {text}"),
        }
    }
    assert!(accepted > 10 && refused > 10, "{accepted} accepted, {refused} refused");
}

/// Is the schema accepted?
fn look_at(text: &str) -> bool {
    let checked = check(text, &mut Ids::default());
    for found in &checked.diagnostics {
        let (start, end) = (found.span.start as usize, found.span.end as usize);
        assert!(start <= end && text.is_char_boundary(start) && text.is_char_boundary(end), "{found:?}");
        assert!(!found.message.is_empty() && !found.code.is_empty());
    }
    render(&checked.diagnostics, "text", text);
    if let Some(schema) = &checked.schema {
        describe(schema);
        explain_all(schema);
        explain_mounts(schema);
    } else {
        assert!(!checked.diagnostics.is_empty());
    }
    // What the parser takes has a JSON form, of which the checker says the same.
    if let Ok(formatted) = format_schema(text) {
        let json = schema_to_json(&formatted).expect("what is formatted has a JSON form");
        let again = check_parsed(parse_schema_json(&json), &mut Ids::default());
        let told = |found: &corollary_schema::Checked| -> Vec<(&'static str, String)> {
            found.diagnostics.iter().map(|found| (found.code, found.message.clone())).collect()
        };
        let (mut told_of_json, mut told_of_text) = (told(&again), told(&checked));
        told_of_json.sort();
        told_of_text.sort();
        assert_eq!(told_of_json, told_of_text, "{json}");
    }
    checked.schema.is_some()
}
