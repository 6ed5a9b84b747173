//! The canonical JSON form of schemas and expressions: a tree for programs that write or change schemas.
//!
//! Both directions lose nothing: a text and its JSON form have the same canonical text, comments and blank lines
//! included. Whoever reads JSON gets the same syntax tree as from text, with places in the JSON, so that what a checker
//! says of it points there. Its shapes are written down in `api/schema.schema.json`, for people in `docs/schema-json.md`.
//!
//! Read next: `value` (JSON itself), `write` and `read` (trees to JSON and back), `notes` (comments and blank lines),
//! `text` (trees to text).

mod notes;
mod print;
mod read;
mod read_expression;
mod read_mount;
mod text;
mod value;
mod write;

use crate::ast::{Expr, SchemaText};
use crate::diagnostic::{Diagnostic, Severity};
use crate::limits::{MAX_DIAGNOSTICS, MAX_TEXT_BYTES};
use crate::{Parsed, format_schema, parse_schema};
use read::Reader;

/// The longest JSON form of a schema or an expression, in bytes.
pub const MAX_JSON_BYTES: usize = 16 << 20;

/// The JSON form of a schema, ending with a line break; or what is wrong with its text.
pub fn schema_to_json(text: &str) -> Result<String, Vec<Diagnostic>> {
    let canonical = format_schema(text)?;
    let parsed = crate::parse_schema::parse(&canonical);
    let notes = notes::of_text(&canonical, &parsed);
    Ok(print::print(&write::schema(&parsed.parsed.tree, &notes)))
}

/// The JSON form of an expression, ending with a line break.
pub fn expression_to_json(expr: &Expr) -> String {
    print::print(&write::expression(expr))
}

/// The tree of a schema in its JSON form. All places are in the JSON.
pub fn parse_schema_json(json: &str) -> Parsed<SchemaText> {
    let mut reader = Reader::new(json);
    let tree = reader.document().map(|document| reader.schema(&document)).unwrap_or_default();
    Parsed { tree, diagnostics: finish(json, reader) }
}

/// The tree of an expression in its JSON form. All places are in the JSON.
pub fn parse_expression_json(json: &str) -> Parsed<Expr> {
    let mut reader = Reader::new(json);
    let tree = reader.document().map(|document| reader.whole_expression(&document));
    let tree = tree.unwrap_or(Expr { kind: crate::ast::ExprKind::Error, span: Default::default() });
    Parsed { tree, diagnostics: finish(json, reader) }
}

/// The canonical text of a schema in its JSON form; or what is wrong with the JSON, with places there.
pub fn json_to_schema(json: &str) -> Result<String, Vec<Diagnostic>> {
    let mut reader = Reader::new(json);
    let tree = reader.document().map(|document| reader.schema(&document)).unwrap_or_default();
    let notes = std::mem::take(&mut reader.notes);
    let found = finish(json, reader);
    if found.iter().any(|found| found.severity == Severity::Error) {
        return Err(found);
    }
    let text = text::schema(&tree, &notes);
    let whole =
        |code, message: String| Diagnostic::error(code, crate::span::Span::new(0, json.len()), message);
    if text.len() > MAX_TEXT_BYTES {
        let message =
            format!("as text this schema has {} bytes, and at most {MAX_TEXT_BYTES} are read", text.len());
        return Err(vec![whole("text-too-long", message)]);
    }
    let canonical = format_schema(&text).map_err(|found| {
        // Each part was looked at already; what is left are limits of a whole, such as nesting.
        let of_text = |found: Diagnostic| whole(found.code, format!("as text: {}", found.message));
        found.into_iter().map(of_text).collect::<Vec<_>>()
    })?;
    debug_assert_eq!(
        crate::dump_schema(&parse_schema(&canonical).tree),
        crate::dump_schema(&tree),
        "text and JSON mean the same"
    );
    Ok(canonical)
}

/// Does a text look like the JSON form of a schema rather than the text of one?
pub fn is_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

/// All findings, ordered by place, at most [`MAX_DIAGNOSTICS`].
fn finish(json: &str, reader: Reader<'_>) -> Vec<Diagnostic> {
    let mut found = reader.found;
    found.sort_by_key(|found| found.span.start);
    found.truncate(MAX_DIAGNOSTICS);
    debug_assert!(found.iter().all(|found| found.span.end as usize <= json.len()));
    found
}
