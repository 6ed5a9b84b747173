//! What the checker says of mistakes, as people see it: each case of `mistakes/*.txt` is a text and what is reported of
//! it. Read what changes as the person would who made the mistake.
//!
//! A case starts with `======== ` and its kind: `schema` is a whole one, `field` a field of `Person` in [`people`],
//! `query` the filter of a query over `Person`, `rule` what a processor does with writes of `Person`. With `UPDATE_EXPECT=1` in the environment the files are rewritten with what
//! is reported now; so a new case needs its first two lines only.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use corollary_schema::expr::check_condition;
use corollary_schema::processors::check_rule;
use corollary_schema::{Ids, check};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{parse_expression, render};

/// Starts a case.
const CASE: &str = "======== ";

/// Between the text and what is reported about it.
const REPORTED: &str = "\n--------\n";

/// The fewest cases that there are.
const FEWEST: usize = 200;

/// A schema with something of each kind, and a field more.
fn people(field: &str) -> String {
    format!(
        "type Person in people {{
  {field}
  name: str, age: int, height: float, salary: decimal, active: bool
  level: \"low\" | \"high\"
  born: date, seen: datetime, spent: duration
  code: uuid, raw: bytes, extra: json
  tags: [str], scores: map<int>
  address: {{ city: str, zip: int }}
  team: link Team
  boss: link Person
  friends: links Person
  reports: inverse Person.boss
}}
type Team in teams {{
  name: str
  lead: int
  members: inverse Person.team
  rooms: collection Room
}}
type Room {{
  size: int
}}
"
    )
}

/// What is found in a text of a kind, and the text as it is shown.
fn findings(kind: &str, text: &str) -> (Vec<Diagnostic>, String) {
    match kind {
        "schema" => (check(text, &mut Ids::default()).diagnostics, text.into()),
        "field" => {
            let schema = people(text);
            (check(&schema, &mut Ids::default()).diagnostics, schema)
        }
        "query" => {
            let checked = check(&people(""), &mut Ids::default());
            let schema = checked.schema.unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
            let ty = schema.type_named("Person").expect("the type");
            let parsed = parse_expression(text);
            assert_eq!(parsed.diagnostics, [], "{text}");
            (check_condition(&schema, ty, &parsed.tree).1, text.into())
        }
        "rule" => {
            let checked = check(&people("doubled := self.age * 2"), &mut Ids::default());
            let schema = checked.schema.unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
            let ty = schema.type_named("Person").expect("the type");
            (check_rule(&schema, ty, text).err().unwrap_or_default(), text.into())
        }
        _ => panic!("unknown kind {kind}"),
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let entries = std::fs::read_dir(folder).expect("the folder of cases");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Kind and text of each case of a file.
fn cases(file: &str) -> impl Iterator<Item = (&str, &str)> {
    file.split(CASE).skip(1).map(|case| {
        let (kind, rest) = case.split_once('\n').expect("a kind");
        (kind, rest.split_once(REPORTED).map_or(rest.trim_end(), |(text, _)| text))
    })
}

#[test]
fn mistakes_are_reported_as_written_down() {
    let (mut count, mut silent) = (0, Vec::new());
    for path in files() {
        let file = std::fs::read_to_string(&path).expect("a file of cases");
        let mut now = String::new();
        for (kind, text) in cases(&file) {
            let (found, shown) = findings(kind, text);
            if found.is_empty() {
                silent.push(text.to_string());
            }
            for one in &found {
                let (start, end) = (one.span.start as usize, one.span.end as usize);
                assert!(start < end && end <= shown.len(), "{one:?} of {text} has no place");
                assert!(!one.message.ends_with('.') && !one.message.is_empty(), "{one:?}");
            }
            let reported = render(&found, "text", &shown);
            writeln!(now, "{CASE}{kind}\n{text}{REPORTED}{reported}").expect("strings take everything");
            count += 1;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &now).expect("the file of cases is writable");
        } else {
            let different = file.lines().zip(now.lines()).find(|(then, now)| then != now);
            assert!(
                file == now,
                "{}: first different line (expected, reported): {different:?}; `UPDATE_EXPECT=1 cargo test -p \
                 corollary-schema corpus` writes what is reported now",
                path.display()
            );
        }
    }
    assert!(silent.is_empty(), "nothing is reported about {silent:#?}");
    assert!(count >= FEWEST, "{count} cases");
}

/// The codes that the sources of the checker give, each with a place where it does.
fn codes(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            codes(&path, found);
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source");
        for start in ["Diagnostic::error(", "Diagnostic::warning("] {
            for (at, _) in source.match_indices(start) {
                let rest = source[at + start.len()..].trim_start();
                let line = source[..at].matches('\n').count() + 1;
                let place = format!("{}:{line}", path.display());
                let code = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
                let (code, _) = code.unwrap_or_else(|| {
                    panic!("{place}: write the code as a literal, so that a case can be asked for it")
                });
                found.insert(code.into(), place);
            }
        }
    }
}

#[test]
fn every_code_has_a_case() {
    let mut given = BTreeMap::new();
    codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut given);
    assert!(given.len() > 30, "{given:?}");
    let mut reported = BTreeSet::new();
    for path in files() {
        let file = std::fs::read_to_string(&path).expect("a file of cases");
        for (kind, text) in cases(&file) {
            reported.extend(findings(kind, text).0.iter().map(|found| found.code));
        }
    }
    let missing: Vec<_> = given.iter().filter(|(code, _)| !reported.contains(code.as_str())).collect();
    assert!(
        missing.is_empty(),
        "no case for the codes {missing:#?}\nadd to one of crates/schema/tests/mistakes/*.txt two lines, such as\n\n\
         {CASE}field\nx := self.agge\n\nthen run `UPDATE_EXPECT=1 cargo test -p corollary-schema corpus` and \
         read what it adds"
    );
}
