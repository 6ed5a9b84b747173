//! Every schema and expression of the language's page parses without findings, and survives the way to text and back.

use corollary_syntax::{
    dump, dump_schema, format_expression, format_schema, parse_expression, parse_schema, render,
};

const SCHEMAS: [(&str, &str); 2] = [
    ("company.schema", include_str!("../data/company.schema")),
    ("options.schema", include_str!("../data/options.schema")),
];
const EXPRESSIONS: &str = include_str!("../data/expressions.txt");

#[test]
fn the_schemas_parse() {
    for (name, text) in SCHEMAS {
        let parsed = parse_schema(text);
        assert!(parsed.diagnostics.is_empty(), "{}", render(&parsed.diagnostics, name, text));
        let formatted = format_schema(text).expect("a text without findings");
        assert_eq!(dump_schema(&parse_schema(&formatted).tree), dump_schema(&parsed.tree), "{formatted}");
        assert_eq!(format_schema(&formatted).as_deref(), Ok(formatted.as_str()));
    }
}

#[test]
fn the_expressions_parse() {
    assert!(EXPRESSIONS.lines().count() > 60);
    for text in EXPRESSIONS.lines() {
        let parsed = parse_expression(text);
        assert!(parsed.diagnostics.is_empty(), "{}", render(&parsed.diagnostics, "expression", text));
        let formatted = format_expression(&parsed.tree);
        assert_eq!(dump(&parse_expression(&formatted).tree), dump(&parsed.tree), "{text} -> {formatted}");
    }
}

/// The page's schema, member by member.
#[test]
fn the_schema_means_what_it_says() {
    let expected = r#"schema company
type Division in divisions
  name str <required> <unique>
  sections collection Section
  managers links Employee
  manager link Employee
  employees inverse Employee.division
  steps ordered collection Step
  sales int <default 0>
  age_total := (call sum (.age (.employees SELF)))
  older := (filter (.employees SELF) (> age 30))
type Employee in employees
  name str <required> <min_length 1>
  email str <unique>
  age int <min 0> <max 150>
  level "upper"|"mid"|"lower" <default 'mid'>
  hired datetime <immutable>
  address {}
    street str
    city str <required>
  tags [str]
  lines [{}]
    id str
    price decimal
    ok bool
  division link Division <on delete unlink>
  boss link Employee
  chain := (else (+ 1 (.chain (.boss SELF))) 1)
"#;
    assert_eq!(dump_schema(&parse_schema(SCHEMAS[0].1).tree), expected);
}
