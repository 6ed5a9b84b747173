//! What the tables and views of a schema are: for each type a table with its resources as JSON, and a view of it with a
//! column for each field.
//!
//! A view has the name of the root collection of its type, `orders`; of a type without one the name of the type as the
//! language writes it in names, `order_line`. Where that is taken it is the name of the type as it is. What is computed when
//! it is read, or is a list of others, has no column.
//!
//! Invariant: no two views, and no two columns of one, have the same name; what has none for that reason is told
//! ([`Layout::problems`]). Read next: [`super::tables`], which makes them.

use std::collections::BTreeSet;

use corollary_schema::names::{parent_name, snake_case};
use corollary_schema::typed::{Expr, Kind, Many};
use corollary_schema::{Field, FieldKind, FieldRef, ResourceType, Schema, Slot, TypeIx, ValueType};

use super::names::{fitted, quoted};

/// See the module.
#[derive(Debug)]
pub struct Layout {
    /// The schema of the database, quoted where it has to be.
    pub schema: String,
    /// In the order of types, of those that anybody may know of.
    pub tables: Vec<Table>,
    /// Names that could not be given, a sentence for each.
    pub problems: Vec<String>,
}

/// Of one type.
#[derive(Debug)]
pub struct Table {
    /// The type.
    pub ty: TypeIx,
    /// Its name.
    pub name: String,
    /// The table, without its schema, not quoted.
    pub table: String,
    /// The view, without its schema, not quoted; none where its names are taken.
    pub view: Option<String>,
    /// What stands in the JSON of a resource, in the order of declaration.
    pub fields: Vec<Column>,
}

/// Of one field.
#[derive(Debug)]
pub struct Column {
    /// The field.
    pub slot: Slot,
    /// Its name in JSON.
    pub name: String,
    /// The column of the view, not quoted; none where its name is taken.
    pub column: Option<String>,
    /// What is in the column.
    pub of: SqlType,
    /// Where a value comes from that somebody may write.
    pub written: Written,
    /// For people.
    pub comment: String,
}

/// Who writes a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Whoever writes.
    Freely,
    /// Whoever writes: it is the link to the parent.
    Parent,
    /// Nobody: it follows, or the engine keeps it.
    Never,
}

/// The types of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlType {
    /// Of texts, words, and ids of what a link leads to.
    Text,
    /// Of integers.
    Bigint,
    /// Of floats.
    Double,
    /// Of decimals.
    Numeric,
    /// Of true and false.
    Boolean,
    /// Of instants.
    Timestamptz,
    /// Of days.
    Date,
    /// Of spans of time.
    Interval,
    /// Of UUIDs.
    Uuid,
    /// Of bytes.
    Bytea,
    /// Of everything that has parts.
    Jsonb,
}

impl Layout {
    /// Of the types of a schema, in a schema of the database.
    pub fn new(schema: &Schema, within: &str) -> Layout {
        let mut problems = Vec::new();
        let mut taken = BTreeSet::new();
        let mut tables: Vec<Table> = Vec::new();
        for (ix, ty) in schema.types().filter(|(_, ty)| ty.visible()) {
            let table = fitted(&format!("_doc_{}", ty.name));
            if tables.iter().any(|other| other.table == table) {
                problems.push(format!("{} has no table: another type has `{table}`", ty.name));
                continue;
            }
            let fields = columns(schema, ix, &mut problems);
            tables.push(Table { ty: ix, name: ty.name.to_string(), table, view: None, fields });
        }
        // What has a root collection is known by it: it comes first.
        for rooted in [true, false] {
            for table in &mut tables {
                let ty = schema.ty(table.ty);
                if ty.root.is_some() == rooted {
                    table.view = view_name(ty, &mut taken, &mut problems);
                }
            }
        }
        Layout { schema: quoted(within), tables, problems }
    }

    /// The table of a type; none of those that nobody knows of.
    pub fn of(&self, ty: TypeIx) -> Option<&Table> {
        self.tables.iter().find(|table| table.ty == ty)
    }

    /// The table of a type with a name.
    pub fn named(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// A relation in a statement.
    pub fn path(&self, relation: &str) -> String {
        format!("{}.{}", self.schema, quoted(relation))
    }
}

fn view_name(ty: &ResourceType, taken: &mut BTreeSet<String>, problems: &mut Vec<String>) -> Option<String> {
    let first = ty.root.as_ref().map_or_else(|| snake_case(&ty.name), ToString::to_string);
    for name in [fitted(&first), fitted(&ty.name)] {
        if taken.insert(name.clone()) {
            return Some(name);
        }
        problems
            .push(format!("the view of {} cannot be named `{name}`, which is the name of another", ty.name));
    }
    None
}

fn columns(schema: &Schema, ix: TypeIx, problems: &mut Vec<String>) -> Vec<Column> {
    let ty = schema.ty(ix);
    let mut taken = BTreeSet::from(["_id".to_owned(), "_revision".to_owned()]);
    let mut columns = Vec::new();
    for (slot, field) in ty.slots() {
        let Some((name, of)) = column(schema, ix, slot, field) else { continue };
        let column = fitted(&name);
        let column = if taken.insert(column.clone()) {
            Some(column)
        } else {
            problems.push(format!("{}.{name} has no column: another field has `{column}`", ty.name));
            None
        };
        let written = match field.kind {
            FieldKind::Parent { .. } => Written::Parent,
            _ if field.is_written() => Written::Freely,
            _ => Written::Never,
        };
        let comment = comment(schema, field);
        columns.push(Column { slot, name, column, of, written, comment });
    }
    columns
}

/// The name of a field in JSON, and the type of its column; none of a field that has none.
fn column(schema: &Schema, ty: TypeIx, slot: Slot, field: &Field) -> Option<(String, SqlType)> {
    let of = match &field.kind {
        FieldKind::Parent { collection } => return Some((parent_name(schema, *collection), SqlType::Text)),
        _ if !field.visible() || field.is_part() => return None,
        FieldKind::Stored(_) | FieldKind::Derived { lazy: false, .. } => {
            let shown = FieldRef { ty, slot: schema.ty(ty).shown(slot) };
            match &schema.field(shown).kind {
                FieldKind::Stored(of) => of_values(of),
                FieldKind::Derived { expr, .. } => of_expression(expr),
                _ => SqlType::Jsonb,
            }
        }
        FieldKind::Link { .. } => SqlType::Text,
        FieldKind::Links { .. } | FieldKind::Among { .. } => SqlType::Jsonb,
        _ => return None,
    };
    Some((field.name.to_string(), of))
}

fn of_values(of: &ValueType) -> SqlType {
    match of {
        ValueType::Str | ValueType::Enum(_) | ValueType::Link { .. } => SqlType::Text,
        ValueType::Int => SqlType::Bigint,
        ValueType::Float => SqlType::Double,
        ValueType::Bool => SqlType::Boolean,
        ValueType::Decimal => SqlType::Numeric,
        ValueType::Datetime => SqlType::Timestamptz,
        ValueType::Date => SqlType::Date,
        ValueType::Duration => SqlType::Interval,
        ValueType::Uuid => SqlType::Uuid,
        ValueType::Bytes => SqlType::Bytea,
        ValueType::Json
        | ValueType::Object(_)
        | ValueType::List(_)
        | ValueType::Set(_)
        | ValueType::Map(_) => SqlType::Jsonb,
    }
}

fn of_expression(expr: &Expr) -> SqlType {
    if expr.ty.many != Many::One {
        return SqlType::Jsonb;
    }
    match &expr.ty.kind {
        Kind::Str | Kind::Enum(_) | Kind::Resource(_) => SqlType::Text,
        Kind::Int => SqlType::Bigint,
        Kind::Float => SqlType::Double,
        Kind::Bool => SqlType::Boolean,
        Kind::Decimal => SqlType::Numeric,
        Kind::Datetime => SqlType::Timestamptz,
        Kind::Date => SqlType::Date,
        Kind::Duration => SqlType::Interval,
        Kind::Uuid => SqlType::Uuid,
        Kind::Bytes => SqlType::Bytea,
        Kind::Null | Kind::Json | Kind::Object(_) | Kind::Map(_) | Kind::Among(_) => SqlType::Jsonb,
    }
}

fn comment(schema: &Schema, field: &Field) -> String {
    let mut told: Vec<String> = field.rules.description.iter().map(ToString::to_string).collect();
    let names = |types: &[TypeIx]| {
        let names: Vec<&str> = types.iter().map(|ty| schema.ty(*ty).name.as_str()).collect();
        names.join(" or ")
    };
    match &field.kind {
        FieldKind::Derived { text, .. } => told.push(format!("= {text}")),
        FieldKind::Link { target, .. } => told.push(format!("the id of a {}", names(&[*target]))),
        FieldKind::Links { target, .. } => told.push(format!("ids of {}", names(&[*target]))),
        FieldKind::Among { targets, many: false, .. } => told.push(format!("leads to a {}", names(targets))),
        FieldKind::Among { targets, .. } => told.push(format!("lead to {}", names(targets))),
        FieldKind::Parent { collection } => told.push(format!(
            "the id of the {} in whose `{}` it is",
            names(&[collection.ty]),
            schema.field(*collection).label()
        )),
        FieldKind::Stored(ValueType::Enum(words)) => told.push(format!("one of {}", words.join(", "))),
        _ => {}
    }
    told.join("; ")
}

impl SqlType {
    /// Its name in the database, as `format_type` tells it too.
    pub fn name(self) -> &'static str {
        match self {
            SqlType::Text => "text",
            SqlType::Bigint => "bigint",
            SqlType::Double => "double precision",
            SqlType::Numeric => "numeric",
            SqlType::Boolean => "boolean",
            SqlType::Timestamptz => "timestamp with time zone",
            SqlType::Date => "date",
            SqlType::Interval => "interval",
            SqlType::Uuid => "uuid",
            SqlType::Bytea => "bytea",
            SqlType::Jsonb => "jsonb",
        }
    }

    /// What reads a member of `doc`, whose name is a literal. An error value, and what the type cannot hold, are null: a cast
    /// that fails would spoil every query.
    pub fn reading(self, member: &str) -> String {
        let (json, text) = (format!("(doc -> {member})"), format!("(doc ->> {member})"));
        let when =
            |kind: &str, then: &str| format!("CASE WHEN jsonb_typeof({json}) = '{kind}' THEN {then} END");
        let dated = |to: &str| {
            // Years that the database does not write with four digits it would not read.
            format!("CASE WHEN {text} ~ '^[0-9]{{4}}-' AND {text} !~ '^0000-' THEN {text}::{to} END")
        };
        match self {
            SqlType::Text => when("string", &text),
            SqlType::Bigint => when("number", &format!("{json}::int8")),
            SqlType::Double => when("number", &format!("{json}::float8")),
            SqlType::Numeric => when("string", &format!("{text}::numeric")),
            SqlType::Boolean => when("boolean", &format!("{json}::bool")),
            SqlType::Timestamptz => when("string", &dated("timestamptz")),
            SqlType::Date => when("string", &dated("date")),
            SqlType::Interval => {
                let within = format!("{text} ~ '^-?PT([0-9]{{1,9}}H)?([0-9]+M)?([0-9.]+S)?$'");
                let signed = format!(
                    "CASE WHEN {text} LIKE '-%' THEN -substr({text}, 2)::interval ELSE {text}::interval END"
                );
                when("string", &format!("CASE WHEN {within} THEN {signed} END"))
            }
            SqlType::Uuid => when("string", &format!("{text}::uuid")),
            SqlType::Bytea => when("string", &format!("decode({text}, 'base64')")),
            SqlType::Jsonb => json,
        }
    }
}
