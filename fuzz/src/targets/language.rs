//! The language: schemas, expressions, rules and values as text.

use corollary_schema::expr::check_condition;
use corollary_schema::plan::describe::describe;
use corollary_schema::plan::explain::explain_all;
use corollary_schema::processors::check_rule;
use corollary_schema::{Ids, check, check_parsed};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{
    dump, expression_to_json, format_expression, format_schema, json_to_schema, parse_expression,
    parse_expression_json, parse_rule, parse_schema_json, render, schema_to_json,
};
use corollary_value::{BasicKind, Id, parse_as};

use super::{outcome, schema as fixed};

/// Each finding has its place in the text, a code and a message.
fn placed(text: &str, found: &[Diagnostic]) -> Vec<&'static str> {
    for one in found {
        let (start, end) = (one.span.start as usize, one.span.end as usize);
        assert!(start <= end && text.is_char_boundary(start) && text.is_char_boundary(end), "{one:?}");
        assert!(!one.message.is_empty() && !one.code.is_empty());
    }
    render(found, "text", text);
    found.iter().map(|one| one.code).collect()
}

/// A schema is checked, and what is formatted has a JSON form and means the same.
pub fn schema(input: &[u8]) -> u64 {
    let text = &String::from_utf8_lossy(input);
    let checked = check(text, &mut Ids::default());
    let codes = placed(text, &checked.diagnostics);
    match &checked.schema {
        Some(schema) => {
            describe(schema);
            explain_all(schema);
        }
        None => assert!(!codes.is_empty()),
    }
    if let Ok(formatted) = format_schema(text) {
        assert_eq!(format_schema(&formatted).as_ref(), Ok(&formatted), "what is formatted stays as it is");
        let json = schema_to_json(&formatted).expect("what is formatted has a JSON form");
        assert_eq!(json_to_schema(&json).as_ref(), Ok(&formatted));
    }
    outcome((checked.schema.is_some(), codes))
}

/// The same of its JSON form.
pub fn schema_json(input: &[u8]) -> u64 {
    let text = &String::from_utf8_lossy(input);
    let parsed = parse_schema_json(text);
    let mut codes = placed(text, &parsed.diagnostics);
    match json_to_schema(text) {
        Ok(schema) => drop(format_schema(&schema).expect("what was made of JSON is formatted")),
        Err(found) => assert!(!placed(text, &found).is_empty()),
    }
    codes.extend(placed(text, &check_parsed(parse_schema_json(text), &mut Ids::default()).diagnostics));
    outcome(codes)
}

/// An expression is parsed, formatted, and checked as a condition.
pub fn expression(input: &[u8]) -> u64 {
    let text = &String::from_utf8_lossy(input);
    let parsed = parse_expression(text);
    let mut codes = placed(text, &parsed.diagnostics);
    if codes.is_empty() {
        let again = parse_expression(&format_expression(&parsed.tree));
        assert_eq!((dump(&again.tree), again.diagnostics.len()), (dump(&parsed.tree), 0));
        let json = parse_expression_json(&expression_to_json(&parsed.tree));
        assert_eq!((dump(&json.tree), json.diagnostics.len()), (dump(&parsed.tree), 0));
        let (schema, ty) = fixed();
        codes.extend(placed(text, &check_condition(schema, ty, &parsed.tree).1));
    }
    outcome(codes)
}

/// An expression in JSON.
pub fn expression_json(input: &[u8]) -> u64 {
    let text = &String::from_utf8_lossy(input);
    let parsed = parse_expression_json(text);
    outcome((placed(text, &parsed.diagnostics), dump(&parsed.tree).len() / 16))
}

/// A rule.
pub fn rule(input: &[u8]) -> u64 {
    let text = &String::from_utf8_lossy(input);
    let mut codes = placed(text, &parse_rule(text).diagnostics);
    let (schema, ty) = fixed();
    match check_rule(schema, ty, text) {
        Ok(rule) => outcome(std::mem::discriminant(&rule)),
        Err(found) => {
            assert!(!found.is_empty());
            codes.extend(placed(text, &found));
            outcome(codes)
        }
    }
}

const KINDS: [BasicKind; 9] = [
    BasicKind::Str,
    BasicKind::Int,
    BasicKind::Float,
    BasicKind::Bool,
    BasicKind::Decimal,
    BasicKind::Datetime,
    BasicKind::Date,
    BasicKind::Duration,
    BasicKind::Uuid,
];

/// A value of each kind, and an id.
pub fn text(input: &[u8]) -> u64 {
    let text = &String::from_utf8_lossy(input);
    let mut taken = Vec::new();
    for kind in KINDS {
        match parse_as(kind, text) {
            Ok(value) => taken.push(std::mem::discriminant(&value)),
            Err(why) => assert!(!why.is_empty()),
        }
    }
    if let Ok(id) = Id::parse(text) {
        assert_eq!(Id::parse(&id.to_string()), Ok(id.clone()), "an id is its text");
        taken.push(std::mem::discriminant(&corollary_value::Value::Ref(id)));
    }
    if let Some((_, rest)) = Id::read_key(input) {
        assert!(rest.len() < input.len());
    }
    outcome(taken)
}
