//! Rows of a file as resources of a type: typed, or refused with a reason and the line.
//!
//! In CSV the first row names fields (and `_id`); an empty cell is no value; a link is the id of its target; lists and
//! objects are JSON in a cell. In NDJSON a line is what a POST would be. What is owned names its parent by the hidden
//! link, as `parent_division_sections`.

use std::io::{BufRead, BufReader, Read};

use corollary_engine::{Refusal, rules};
use corollary_schema::{FieldKind, Schema, Slot, TypeIx, ValueType};
use corollary_value::{BasicKind, Id, Value, parse_as};
use hashbrown::HashSet;
use serde_json::Value as Json;

use super::file::{Form, Source};
use crate::json::decode::{self, Facts, unknown_field};

/// The longest line of NDJSON, in bytes.
pub const MAX_LINE_BYTES: u64 = 8 << 20;

/// One resource of a file.
#[derive(Clone, Debug)]
pub struct Row {
    /// The line it is on, from 1.
    pub line: u64,
    /// The id that it gives.
    pub id: Option<Id>,
    /// Its values.
    pub facts: Facts,
}

/// A row that is not what it should be.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The line it is on.
    pub line: u64,
    /// Why.
    pub reason: String,
}

/// Reads all rows and hands each to `take`, until it says no. The error is about the file as a whole.
pub fn each(
    source: Source,
    schema: &Schema,
    ty: TypeIx,
    take: &mut dyn FnMut(Result<Row, Rejected>) -> bool,
) -> Result<(), String> {
    match source.form {
        Form::Csv => csv(source.text, schema, ty, take),
        Form::Ndjson => ndjson(source.text, schema, ty, take),
    }
}

/// What a column holds.
enum Column {
    Id,
    Field(Slot),
}

fn csv(
    text: impl Read,
    schema: &Schema,
    ty: TypeIx,
    take: &mut dyn FnMut(Result<Row, Rejected>) -> bool,
) -> Result<(), String> {
    let resource = schema.ty(ty);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
    let header = reader.headers().map_err(|error| format!("the first row cannot be read: {error}"))?.clone();
    let mut columns = Vec::with_capacity(header.len());
    let mut named = HashSet::new();
    for name in &header {
        let name = name.trim().trim_start_matches('\u{feff}');
        if !named.insert(name) {
            return Err(format!("column `{name}` is there twice"));
        }
        columns.push(match (name, resource.named(name)) {
            ("_id", _) => Column::Id,
            (_, Some((slot, field))) if field.is_written() => Column::Field(slot),
            (_, Some(_)) => {
                return Err(format!(
                    "column `{name}`: it follows from other fields, or is kept by the server"
                ));
            }
            (_, None) => return Err(format!("column `{name}`: {}", unknown_field(resource, name))),
        });
    }
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) if error.is_io_error() => return Err(format!("line {line}: {error}")),
            Err(error) => {
                if !take(Err(Rejected { line, reason: error.to_string() })) {
                    return Ok(());
                }
                continue;
            }
        }
        // Where the row begins: a quoted cell may run over lines.
        let line = record.position().map_or(line, csv::Position::line);
        if !take(record_row(schema, ty, &columns, &record, line)) {
            return Ok(());
        }
    }
}

fn record_row(
    schema: &Schema,
    ty: TypeIx,
    columns: &[Column],
    record: &csv::StringRecord,
    line: u64,
) -> Result<Row, Rejected> {
    let resource = schema.ty(ty);
    let mut found = Vec::new();
    if record.len() != columns.len() {
        let reason = format!("{} cells, where the first row has {}", record.len(), columns.len());
        return Err(Rejected { line, reason });
    }
    let mut row = Row { line, id: None, facts: Facts::with_capacity(columns.len()) };
    for (column, cell) in columns.iter().zip(record) {
        if cell.is_empty() {
            continue;
        }
        match column {
            Column::Id => match Id::parse(cell) {
                Ok(id) => row.id = Some(id),
                Err(error) => found.push(Refusal::new("id", Some("_id"), format!("`_id`: {error}"))),
            },
            Column::Field(slot) => {
                let field = resource.field(*slot);
                let value = match &field.kind {
                    FieldKind::Link { .. } | FieldKind::Parent { .. } => match Id::parse(cell) {
                        Ok(id) => Some(Value::Ref(id)),
                        Err(error) => {
                            let message = format!("`{}`: {error}", field.name);
                            found.push(Refusal::new("link", Some(&field.name), message));
                            None
                        }
                    },
                    // An id or a path; anything longer is JSON.
                    FieldKind::Among { many: false, .. } if !cell.starts_with('{') => {
                        decode::of_field(schema, field, &Json::String(cell.into()), &mut found)
                    }
                    FieldKind::Stored(ty) => of_cell(schema, ty, cell, &field.name, &mut found),
                    _ => match serde_json::from_str::<Json>(cell) {
                        Ok(json) => decode::of_field(schema, field, &json, &mut found),
                        Err(error) => {
                            let message = format!("`{}` is JSON in a cell: {error}", field.name);
                            found.push(Refusal::new("json", Some(&field.name), message));
                            None
                        }
                    },
                };
                if let Some(value) = value {
                    let value = rules::normalised(field, value);
                    rules::check(field, &value, &mut found);
                    row.facts.push((*slot, value));
                }
            }
        }
    }
    for (slot, field) in resource.slots() {
        if !row.facts.iter().any(|(given, _)| *given == slot) {
            found.extend(rules::check_missing(field));
        }
    }
    if found.is_empty() { Ok(row) } else { Err(rejected(line, &found)) }
}

fn of_cell(
    schema: &Schema,
    ty: &ValueType,
    cell: &str,
    name: &str,
    found: &mut Vec<Refusal>,
) -> Option<Value> {
    let kind = match ty {
        ValueType::Str | ValueType::Enum(_) => return Some(Value::Str(cell.into())),
        ValueType::Int => BasicKind::Int,
        ValueType::Float => BasicKind::Float,
        ValueType::Bool => BasicKind::Bool,
        ValueType::Decimal => BasicKind::Decimal,
        ValueType::Datetime => BasicKind::Datetime,
        ValueType::Date => BasicKind::Date,
        ValueType::Duration => BasicKind::Duration,
        ValueType::Uuid => BasicKind::Uuid,
        ValueType::Bytes => return decode::of_type(schema, ty, &Json::String(cell.into()), name, found),
        _ => {
            return match serde_json::from_str::<Json>(cell) {
                Ok(json) if !decode::is_shallow(&json, name, found) => None,
                Ok(json) => decode::of_type(schema, ty, &json, name, found),
                Err(error) => {
                    found.push(Refusal::new(
                        "json",
                        Some(name),
                        format!("`{name}` is JSON in a cell: {error}"),
                    ));
                    None
                }
            };
        }
    };
    match parse_as(kind, cell) {
        Ok(value) => Some(value),
        Err(message) => {
            found.push(Refusal::new("type", Some(name), format!("`{name}`: {message}")));
            None
        }
    }
}

fn rejected(line: u64, found: &[Refusal]) -> Rejected {
    let reasons: Vec<&str> = found.iter().map(|refusal| refusal.message.as_str()).collect();
    Rejected { line, reason: reasons.join("; ") }
}

fn ndjson(
    text: impl Read,
    schema: &Schema,
    ty: TypeIx,
    take: &mut dyn FnMut(Result<Row, Rejected>) -> bool,
) -> Result<(), String> {
    let mut reader = BufReader::new(text);
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        line += 1;
        bytes.clear();
        let read = (&mut reader).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|error| format!("line {line}: {error}"))? == 0 {
            return Ok(());
        }
        if bytes.len() as u64 > MAX_LINE_BYTES {
            return Err(format!("line {line} has more than {MAX_LINE_BYTES} bytes"));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if !take(json_row(schema, ty, &bytes, line)) {
            return Ok(());
        }
    }
}

fn json_row(schema: &Schema, ty: TypeIx, bytes: &[u8], line: u64) -> Result<Row, Rejected> {
    let reject = |reason: String| Rejected { line, reason };
    let json: Json = serde_json::from_slice(bytes).map_err(|error| reject(format!("no JSON: {error}")))?;
    let Json::Object(mut members) = json else { return Err(reject("not a JSON object".into())) };
    let id = decode::id(&members).map_err(|refusal| reject(refusal.message))?;
    let resource = schema.ty(ty);
    let mut parents = Facts::new();
    for slot in &resource.parents {
        let field = resource.field(*slot);
        if let Some(json) = members.remove(field.name.as_str())
            && let FieldKind::Parent { collection } = &field.kind
        {
            let mut found = Vec::new();
            match decode::reference(schema, collection.ty, &json, &field.name, &mut found) {
                Some(value) => parents.push((*slot, value)),
                None => return Err(rejected(line, &found)),
            }
        }
    }
    let mut facts = decode::facts(schema, ty, &members).map_err(|found| rejected(line, &found))?;
    facts.extend(parents);
    Ok(Row { line, id, facts })
}
