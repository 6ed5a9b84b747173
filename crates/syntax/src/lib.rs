//! Texts of schemas and expressions: from text to syntax tree and diagnostics, and back to canonical text.
//!
//! Invariant: nothing here fails or panics on any text. Parsing always gives a tree (with [`ast::ExprKind::Error`]
//! where it recovered) and diagnostics, each with its place; nesting and sizes are bounded by [`limits`]. Names are not
//! resolved here: that an `itn` is no type is the checker's finding, not the parser's.
//!
//! Read next: [`ast`] for the trees, `lexer` for the words, `parse_expression` and `parse_schema` for the grammar,
//! `print_expression` and `format_schema` for the way back.

pub mod ast;
pub mod diagnostic;
pub mod limits;
pub mod span;

mod dump;
mod format_mount;
mod format_schema;
mod json;
mod lexer;
mod line_index;
mod nearest;
mod option_rules;
mod parse_expression;
mod parse_member;
mod parse_mount;
mod parse_option;
mod parse_path;
mod parse_rule;
mod parse_schema;
mod parser;
mod print_expression;
mod render;
mod token;

use ast::{Expr, RuleText, SchemaText};
use diagnostic::Diagnostic;

pub use dump::{dump, dump_schema};
pub use format_mount::format_mount;
pub use format_schema::format_schema;
pub use json::{
    MAX_JSON_BYTES, expression_to_json, is_json, json_to_schema, parse_expression_json, parse_schema_json,
    schema_to_json,
};
pub use line_index::LineIndex;
pub use nearest::nearest;
pub use render::render;

/// The names of the options of fields.
pub fn field_option_names() -> impl Iterator<Item = &'static str> {
    option_rules::FIELD_OPTIONS.iter().map(|rule| rule.name)
}

/// The names of the options of types.
pub fn type_option_names() -> impl Iterator<Item = &'static str> {
    option_rules::TYPE_OPTIONS.iter().map(|rule| rule.name)
}

/// The words that begin the type of a value.
pub fn value_type_names() -> impl Iterator<Item = &'static str> {
    option_rules::VALUE_TYPES.iter().copied()
}

/// A tree and what was found wrong with the text, ordered by place.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed<T> {
    /// The tree; complete where there are no diagnostics.
    pub tree: T,
    /// The findings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses a schema text.
pub fn parse_schema(text: &str) -> Parsed<SchemaText> {
    parse_schema::parse(text).parsed
}

/// Parses a single expression.
pub fn parse_expression(text: &str) -> Parsed<Expr> {
    parse_expression::parse(text)
}

/// Parses what a processor does with writes.
pub fn parse_rule(text: &str) -> Parsed<RuleText> {
    parse_rule::parse(text)
}

/// The canonical text of an expression, on one line and with only the brackets that it needs. It parses to the same tree
/// again, places aside, unless the tree holds an [`ast::ExprKind::Error`] or is higher than [`limits`] allow.
pub fn format_expression(expr: &Expr) -> String {
    print_expression::flat(expr, print_expression::Quotes::Single)
}
