//! The checker of schemas: names, links, options, then expressions, then the plan.
//!
//! - `interfaces` puts the fields of abstract types into the types that are one,
//! - `declare` reads the declarations,
//! - `values` the types of stored values,
//! - `options` the options of fields,
//! - `several` the relations that lead to several types,
//! - `lifetime`, `paths` and `urls` the options of types,
//! - `actors` the field by which they are found,
//! - `derive` types the derived fields, in whatever order they need each other,
//! - `elements` the derived members of embedded objects,
//! - `defaults` the defaults that are computed,
//! - `indexes` the indexes over several fields,
//! - `mounts` what stands at paths besides.

mod actors;
mod declare;
pub(crate) mod defaults;
mod derive;
mod elements;
mod files;
pub(crate) mod indexes;
mod interfaces;
mod lifetime;
mod mounts;
pub(crate) mod options;
mod paths;
mod several;
mod urls;
mod values;

use corollary_syntax::diagnostic::{Diagnostic, Severity};
use corollary_syntax::{Parsed, ast, parse_schema};

use self::interfaces::Merged;
use crate::ids::Ids;
use crate::model::Schema;

/// The outcome of a check.
#[derive(Debug)]
pub struct Checked {
    /// There if, and only if, no diagnostic is an error.
    pub schema: Option<Schema>,
    /// All that is wrong, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks a schema text. `ids` are the numbers given so far; new names get new ones.
pub fn check(text: &str, ids: &mut Ids) -> Checked {
    check_parsed(parse_schema(text), ids)
}

/// Checks a syntax tree that comes with what was found so far; all places are where those of the tree are.
pub fn check_parsed(parsed: Parsed<ast::SchemaText>, ids: &mut Ids) -> Checked {
    let mut diagnostics = parsed.diagnostics;
    let schema = check_tree(&parsed.tree, ids, &mut diagnostics);
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
    let failed = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    Checked { schema: schema.filter(|_| !failed), diagnostics }
}

fn check_tree(tree: &ast::SchemaText, ids: &mut Ids, found: &mut Vec<Diagnostic>) -> Option<Schema> {
    let merged = interfaces::merge(tree, found);
    let schema = check_types(&merged, ids, found);
    merged.told_once(found);
    schema
}

fn check_types(merged: &Merged, ids: &mut Ids, found: &mut Vec<Diagnostic>) -> Option<Schema> {
    let tree = &merged.tree;
    let (schema, sources) = declare::declare(tree, &merged.left, ids, found);
    let mut schema = derive::derive(schema, sources, ids, found)?;
    defaults::compute(tree, &mut schema, found);
    indexes::declare(tree, &mut schema, ids, found);
    schema.find_uses();
    mounts::declare(tree, &mut schema, found);
    Some(schema)
}
