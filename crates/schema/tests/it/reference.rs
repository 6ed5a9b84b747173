//! `docs/language.md` and the tables of the language say the same: what a table has, the reference has, and its schemas are
//! schemas in the canonical format.
//!
//! With `UPDATE_EXPECT=1` in the environment the table of functions is written anew.

use std::path::{Path, PathBuf};

use corollary_schema::aggregate::Aggregate;
use corollary_schema::functions::TABLE;
use corollary_schema::{Ids, Normalize, check};
use corollary_syntax::ast::BinaryOp;
use corollary_syntax::{field_option_names, format_schema, render, type_option_names, value_type_names};

/// Around what is written by this test.
const START: &str = "<!-- functions -->\n";
const END: &str = "<!-- end of functions -->\n";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md")
}

fn reference() -> String {
    std::fs::read_to_string(path()).expect("the reference")
}

/// The text below a heading, up to the next of its level or above.
fn section<'t>(reference: &'t str, heading: &str) -> &'t str {
    let level = heading.split(' ').next().expect("a heading");
    let start = reference.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &reference[start + heading.len() + 2..];
    let ends = (1..=level.len()).filter_map(|count| rest.find(&format!("\n{} ", "#".repeat(count))));
    &rest[..ends.min().unwrap_or(rest.len())]
}

/// What stands in code in the first cells of the rows of a section's tables.
fn named(section: &str) -> Vec<String> {
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row[1..].replace("\\|", "\u{1}").split('|').next().map(str::to_string));
    let codes =
        cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_string).collect::<Vec<_>>());
    codes.map(|code| code.replace('\u{1}', "|")).collect()
}

#[test]
fn functions_are_described_as_in_their_table() {
    let mut table = String::from("| function | gives | |\n|---|---|---|\n");
    for row in TABLE {
        let (written, gives) = (row.written(), row.gives());
        table.push_str(&format!("| `{}` | {gives} | {} |\n", written.replace('|', "\\|"), row.summary));
    }
    let reference = reference();
    let start = reference.find(START).expect("the mark of the functions") + START.len();
    let end = reference.find(END).expect("the mark of their end");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let now = format!("{}{table}{}", &reference[..start], &reference[end..]);
        std::fs::write(path(), now).expect("the reference is writable");
    } else {
        let different = reference[start..end].lines().zip(table.lines()).find(|(then, now)| then != now);
        assert!(
            reference[start..end] == table,
            "docs/language.md says otherwise: {different:?}; `UPDATE_EXPECT=1 cargo test -p corollary-schema \
             reference` writes its table of functions anew"
        );
    }
}

#[track_caller]
fn all_there<'n>(names: impl IntoIterator<Item = &'n str>, sections: &[&str]) {
    let reference = reference();
    let there: Vec<String> =
        sections.iter().flat_map(|heading| named(section(&reference, heading))).collect();
    let word = |code: &String, name: &str| {
        code.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let missing: Vec<&str> =
        names.into_iter().filter(|name| !there.iter().any(|code| word(code, name))).collect();
    assert!(missing.is_empty(), "docs/language.md has no row for {missing:?} in {sections:?}");
}

#[test]
fn aggregates_types_options_and_operators_have_their_rows() {
    all_there(Aggregate::names(), &["### Aggregates"]);
    all_there(value_type_names(), &["### Types of values"]);
    all_there(field_option_names(), &["### Options", "## Not in this version"]);
    let of_types =
        ["### The life of a resource", "### Indexes over several fields", "### Names in paths", "### Urls"];
    all_there(type_option_names(), &of_types);
    all_there(BinaryOp::ALL.iter().map(|op| op.symbol()), &["### Operators"]);
    let normal = section(&reference(), "### Options").to_string();
    for step in Normalize::ALL {
        assert!(normal.contains(&format!("`{}`", step.name())), "no normaliser {}", step.name());
    }
}

#[test]
fn its_schemas_are_right_and_in_the_canonical_format() {
    let reference = reference();
    let mut count = 0;
    for fence in reference.split("```cor\n").skip(1) {
        let text = fence.split("```").next().expect("an end");
        let checked = check(text, &mut Ids::default());
        assert!(checked.diagnostics.is_empty(), "{}", render(&checked.diagnostics, "language.md", text));
        assert_eq!(format_schema(text).as_deref(), Ok(text));
        count += 1;
    }
    assert!(count > 0);
}
