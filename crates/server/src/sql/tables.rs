//! The statements that make tables, views and what is said of them.
//!
//! Beside the table of each type are `_state`, one row that says how far the tables are, and `_types`, which table and which
//! view a type has; what changes made in SQL need is in [`super::capture`]. Invariant: a statement has no name and no text in it that is not quoted.
//!
//! A view is renewed where it is, as long as only columns are added; otherwise it is made anew, with the rights that others
//! had on it. One on which others depend stays as it is, and that is told.

use std::fmt::Write;

use super::layout::{Column, Layout, Table};
use super::names::{literal, quoted};

/// The version of what is in the schema, apart from what follows from types.
pub const VERSION: i32 = 1;

/// The setting that tells the sessions that write the tables from others.
pub const WRITER: &str = "corollary.sql";

/// Makes what does not depend on types.
pub fn fixed(layout: &Layout) -> String {
    let (state, types) = (layout.path("_state"), layout.path("_types"));
    let guard = layout.path("_guard");
    format!(
        "CREATE TABLE IF NOT EXISTS {state} (
           one boolean PRIMARY KEY DEFAULT true CHECK (one),
           id uuid NOT NULL DEFAULT gen_random_uuid(),
           version int4 NOT NULL,
           revision int8, at timestamptz,
           cursor int8, exact_from int8, batch int8 NOT NULL DEFAULT 1,
           schema text, follower text, problems text[] NOT NULL DEFAULT '{{}}');
         COMMENT ON TABLE {state} IS 'How far the tables are: all of them show the data as it was at this revision, of this time; null while they are filled';
         INSERT INTO {state} (version) VALUES ({VERSION}) ON CONFLICT DO NOTHING;
         CREATE TABLE IF NOT EXISTS {types} (type text PRIMARY KEY, relation text NOT NULL, view text);
         COMMENT ON TABLE {types} IS 'The table and the view of each type';
         CREATE OR REPLACE FUNCTION {guard}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $guard$
         BEGIN
           IF current_setting('{WRITER}', true) IS DISTINCT FROM 'on' THEN
             RAISE EXCEPTION 'table % is written by Corollary alone', TG_TABLE_NAME
               USING ERRCODE = 'insufficient_privilege', HINT = 'Change the view of the type.';
           END IF;
           RETURN NULL;
         END $guard$;
         COMMENT ON SCHEMA {} IS 'Documents of Corollary: tables and views that it keeps';",
        layout.schema
    )
}

/// Makes the table of a type.
pub fn table(layout: &Layout, table: &Table) -> String {
    let path = layout.path(&table.table);
    let guard = layout.path("_guard");
    format!(
        "CREATE TABLE IF NOT EXISTS {path} (_id text COLLATE \"C\" PRIMARY KEY, _revision int8 NOT NULL, doc jsonb NOT NULL);
         COMMENT ON TABLE {path} IS {};
         CREATE OR REPLACE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {path}
           FOR EACH STATEMENT EXECUTE FUNCTION {guard}();
         INSERT INTO {} VALUES ({}, {}, {}) ON CONFLICT (type) DO UPDATE SET relation = excluded.relation, view = excluded.view;",
        literal(&format!("Resources of the type {}", table.name)),
        layout.path("_types"),
        literal(&table.name),
        literal(&table.table),
        table.view.as_deref().map_or("NULL".into(), literal),
    )
}

/// What a view selects.
pub fn select(layout: &Layout, table: &Table) -> String {
    let mut text = "SELECT _id, _revision".to_owned();
    for (column, name) in named(table) {
        let reading = column.of.reading(&literal(&column.name));
        write!(text, ",\n  {reading} AS {}", quoted(name)).expect("writing to a String does not fail");
    }
    write!(text, "\nFROM {}", layout.path(&table.table)).expect("writing to a String does not fail");
    text
}

/// The columns of a view that are not the same in all views, with their names.
pub fn named(table: &Table) -> impl Iterator<Item = (&Column, &str)> {
    table.fields.iter().filter_map(|column| Some((column, column.column.as_deref()?)))
}

/// Makes a view, or renews it.
pub fn view(layout: &Layout, table: &Table, view: &str) -> String {
    format!("CREATE OR REPLACE VIEW {} AS {}", layout.path(view), select(layout, table))
}

/// Says what a view and its columns are.
pub fn comments(layout: &Layout, table: &Table, view: &str) -> String {
    let path = layout.path(view);
    let mut text =
        format!("COMMENT ON VIEW {path} IS {};\n", literal(&format!("Resources of the type {}", table.name)));
    let mut say = |column: &str, what: &str| {
        let what = if what.is_empty() { "NULL".into() } else { literal(what) };
        writeln!(text, "COMMENT ON COLUMN {path}.{} IS {what};", quoted(column))
            .expect("writing to a String does not fail");
    };
    say("_id", "the id");
    say("_revision", "the revision at which the resource changed last");
    for (column, name) in named(table) {
        say(name, &column.comment);
    }
    text
}

/// The columns that a view has, name and type, in order; `$1` is its name.
pub fn columns_of(layout: &Layout) -> String {
    format!(
        "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = to_regclass({} || '.' || quote_ident($1::text)) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        literal(&layout.schema)
    )
}

/// The statements that give others the rights that they have on a view; `$1` is its name.
pub fn rights_on(layout: &Layout) -> String {
    format!(
        "SELECT format('GRANT %s ON %s TO %s%s', privilege_type, oid::regclass, \
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END, \
           CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) \
         FROM pg_class, aclexplode(relacl) \
         WHERE oid = to_regclass({} || '.' || quote_ident($1::text)) AND grantee <> relowner",
        literal(&layout.schema)
    )
}

/// Puts rows: `$1` are ids, `$2` revisions, `$3` JSON. What is there as it is to be is left alone.
pub fn put(layout: &Layout, table: &Table) -> String {
    format!(
        "INSERT INTO {} AS t SELECT * FROM (SELECT id, revision, doc::jsonb FROM unnest($1::text[], $2::int8[], $3::text[]) AS n (id, revision, doc)) AS n \
         ON CONFLICT (_id) DO UPDATE SET _revision = excluded._revision, doc = excluded.doc \
         WHERE (t._revision, t.doc) IS DISTINCT FROM (excluded._revision, excluded.doc)",
        layout.path(&table.table)
    )
}

/// Deletes rows: `$1` are ids.
pub fn delete(layout: &Layout, table: &Table) -> String {
    format!("DELETE FROM {} WHERE _id = ANY($1::text[])", layout.path(&table.table))
}

/// A page of ids behind `$1`, in order: `$2` is how many.
pub fn ids(layout: &Layout, table: &Table) -> String {
    format!("SELECT _id FROM {} WHERE _id > $1 ORDER BY _id LIMIT $2::int8", layout.path(&table.table))
}
