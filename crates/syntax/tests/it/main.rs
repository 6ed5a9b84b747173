//! The tests of lexer, parser, formatter and JSON form, one module for each subject.

mod errors;
mod expressions;
mod formatting;
mod fuzz;
mod json_schema;
mod language;
mod limits;
mod properties;
