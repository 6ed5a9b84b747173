//! Resources as rows: their id, their revision, and their values as JSON.
//!
//! In it stand facts and what follows from them, as they are stored at a revision: what depends on who reads, or when
//! (addresses, places among siblings, what is computed when it is read), has no place in a row. A link is the id of what it
//! leads to, of a link to one of several types an object with `_id` and `_type`; an error value is `{"_error": "#div0"}`.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_engine::query::{self, From, Position, Query};
use corollary_engine::{Doc, Engine, EngineError, Key, among};
use corollary_schema::{FieldKind, Schema, TypeIx};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use super::layout::{Layout, Table};
use crate::json::encode::{bare, bare_among, text};

/// Resources of the log that are taken over at a time, unless one commit has more.
const PART_ROWS: usize = 5_000;

/// Resources of a page, when tables are filled.
const PAGE_ROWS: usize = 1_000;

/// A resource as it stands in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its revision.
    pub revision: u64,
    /// A JSON object.
    pub doc: String,
}

/// What becomes of rows of one table.
#[derive(Clone, Debug, Default)]
pub struct Changed {
    /// They are there, as given.
    pub put: Vec<Row>,
    /// There are none with these ids.
    pub gone: Vec<String>,
}

impl Changed {
    /// Is it about no row?
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }
}

/// A part of the log, as rows.
#[derive(Debug)]
pub struct Part {
    /// Up to which revision it goes.
    pub revision: u64,
    /// When that was; none where nothing is new.
    pub time: Option<Timestamp>,
    /// By type.
    pub changed: Vec<(TypeIx, Changed)>,
    /// Is there more behind it?
    pub more: bool,
}

/// The row of a resource.
pub fn row(schema: &Schema, table: &Table, id: &Id, doc: &Doc) -> Row {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    let resource = schema.ty(table.ty);
    for field in &table.fields {
        let begin = out.len();
        if begin > 1 {
            out.push(b',');
        }
        text(&field.name, &mut out);
        out.push(b':');
        if let FieldKind::Among { .. } = resource.field(field.slot).kind {
            if among::is_set(schema, table.ty, field.slot, doc) {
                bare_among(schema, table.ty, field.slot, doc, &mut out);
                continue;
            }
        } else {
            let value = doc.get(resource.shown(field.slot));
            if !matches!(value, Value::Absent) {
                bare(value, &mut out);
                continue;
            }
        }
        out.truncate(begin);
    }
    out.push(b'}');
    let doc_text = String::from_utf8(out).expect("JSON is UTF-8");
    Row { id: id.to_string(), revision: doc.revision, doc: without_zeros(doc_text) }
}

/// The database keeps no character 0 in a text: U+FFFD stands for it.
fn without_zeros(json: String) -> String {
    const ZERO: &str = "\\u0000";
    if !json.contains(ZERO) {
        return json;
    }
    let (mut out, mut rest) = (String::with_capacity(json.len()), json.as_str());
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // An escape is `\` with what follows: of `\\u0000` the first two are one.
        let (escape, length) = if rest.starts_with(ZERO) { ("\\ufffd", ZERO.len()) } else { (&rest[..2], 2) };
        out.push_str(escape);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The rows that the log tells of behind a revision, as at the end of a commit; none where it no longer goes back so far.
pub fn part(engine: &Engine, layout: &Layout, after: u64) -> Result<Option<Part>, EngineError> {
    let mut last: HashMap<Key, Option<Arc<Doc>>> = HashMap::new();
    let (mut revision, mut time, mut more) = (after, None, false);
    let complete = engine.commits_after(after, &mut |commit| {
        if last.len() >= PART_ROWS {
            more = true;
            return ControlFlow::Break(());
        }
        (revision, time) = (commit.revision, Some(commit.time));
        last.extend(commit.changes.into_iter().map(|change| (change.key, change.after)));
        ControlFlow::Continue(())
    })?;
    if !complete {
        return Ok(None);
    }
    let mut changed: HashMap<TypeIx, Changed> = HashMap::new();
    for (key, doc) in &last {
        let Some(table) = layout.of(key.ty) else { continue };
        let of = changed.entry(key.ty).or_default();
        match doc {
            Some(doc) => of.put.push(row(engine.schema(), table, &key.id, doc)),
            None => of.gone.push(key.id.to_string()),
        }
    }
    Ok(Some(Part { revision, time, changed: changed.into_iter().collect(), more }))
}

/// A page of the resources of a type as they are now, in the order of ids; where the next one begins, if there is one.
pub fn page(
    engine: &Engine,
    table: &Table,
    after: Option<Position>,
) -> Result<(Vec<Row>, Option<Position>), EngineError> {
    let (from, scan_limit) = (From::All, usize::MAX);
    let query =
        Query { ty: table.ty, from, filter: None, order: Vec::new(), limit: PAGE_ROWS, after, scan_limit };
    engine.read(Timestamp::now(), |working| {
        let page = query::run(working, &query)?;
        let rows = page.items.iter().map(|item| row(working.schema, table, &item.key.id, &item.doc));
        let next = page.items.last().filter(|_| page.more).map(|last| last.position.clone());
        Ok((rows.collect(), next))
    })
}

/// Resources as they are now, by their ids as they stand in rows. Of those that were changed behind a revision nothing is
/// told: the log will.
pub fn present(engine: &Engine, table: &Table, ids: &[String], until: u64) -> Result<Changed, EngineError> {
    engine.read(Timestamp::now(), |working| {
        let (mut changed, mut keys) = (Changed::default(), Vec::new());
        for id in ids {
            match Id::parse(id) {
                Ok(parsed) => {
                    // A UUID in capitals is the same id, and another row.
                    if parsed.to_string() != *id {
                        changed.gone.push(id.clone());
                    }
                    keys.push(Key::new(table.ty, parsed));
                }
                Err(_) => changed.gone.push(id.clone()),
            }
        }
        working.prefetch(keys.iter())?;
        for key in keys {
            match working.after(&key)? {
                Some(doc) if doc.revision > until => {}
                Some(doc) => changed.put.push(row(working.schema, table, &key.id, &doc)),
                None => changed.gone.push(key.id.to_string()),
            }
        }
        Ok(changed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_the_database_has_not_is_replaced_and_nothing_else() {
        for (json, kept) in [
            (r#"{"a":"b"}"#, r#"{"a":"b"}"#),
            (r#"{"a":"x\u0000y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"a":"\\u0000"}"#, r#"{"a":"\\u0000"}"#),
            (r#"{"a":"\\\u0000\"\n"}"#, r#"{"a":"\\\ufffd\"\n"}"#),
        ] {
            assert_eq!(without_zeros(json.to_string()), kept);
        }
    }
}
