//! The statements by which changes made in SQL are captured.
//!
//! A view has a trigger in place of its changes: it changes the row below, so that whoever made the change sees it, holds
//! the row until the transaction ends, and writes down what was asked for in `_changes`, all of it part of the
//! transaction that changes the view. What is certain is refused there and then: what follows from other fields, the id, a value that another
//! transaction has changed meanwhile. All else is judged when the change is taken in ([`super::intake`]).
//!
//! Invariants: changes of one resource stand in `_changes` in the order in which their transactions commit, since
//! the row is held before the number is drawn; nobody but the owner can write there in any other way.

use std::fmt::Write;

use super::layout::{Column, Layout, SqlType, Table, Written};
use super::names::{fitted, literal, quoted};
use super::tables::{WRITER, named};

/// Where it is told that something was captured.
pub fn channel(layout: &Layout) -> String {
    format!("corollary {}", layout.schema.trim_matches('"'))
}

/// Has a session hear of it.
pub fn listen(layout: &Layout) -> String {
    format!("LISTEN {}", quoted(&channel(layout)))
}

/// Makes what does not depend on types.
pub fn fixed(layout: &Layout) -> String {
    let (changes, violations, late) =
        (layout.path("_changes"), layout.path("_violations"), layout.path("_late"));
    format!(
        "CREATE TABLE IF NOT EXISTS {changes} (
           seq int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
           type text NOT NULL, id text NOT NULL, op text NOT NULL, fields jsonb NOT NULL,
           role text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
         CREATE INDEX IF NOT EXISTS _changes_by_transaction ON {changes} (xid, seq);
         CREATE INDEX IF NOT EXISTS _changes_by_resource ON {changes} (type, id);
         COMMENT ON TABLE {changes} IS 'Changes made in SQL that have yet to be taken in';
         CREATE TABLE IF NOT EXISTS {violations} (
           n int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           role text NOT NULL, at timestamptz NOT NULL, refused timestamptz NOT NULL DEFAULT now(),
           problem jsonb NOT NULL, count int8 NOT NULL, changes jsonb NOT NULL);
         COMMENT ON TABLE {violations} IS 'Transactions of SQL that were refused, as a whole, and why; the rows show what they were before';
         CREATE TABLE IF NOT EXISTS {late} (type text, id text, PRIMARY KEY (type, id));
         COMMENT ON TABLE {late} IS 'Rows that have yet to be brought up to date, since somebody held them';"
    )
}

/// Has the view of a type take changes.
pub fn trigger(layout: &Layout, table: &Table, view: &str) -> String {
    let function = layout.path(&fitted(&format!("_change_{}", table.name)));
    format!(
        "{}\nREVOKE ALL ON FUNCTION {function}() FROM PUBLIC;\n\
         CREATE OR REPLACE TRIGGER change INSTEAD OF INSERT OR UPDATE OR DELETE ON {} \
         FOR EACH ROW EXECUTE FUNCTION {function}();\n",
        body(layout, table, view, &function),
        layout.path(view)
    )
}

/// Forgets the function of a type that is gone.
pub fn drop(layout: &Layout, name: &str) -> String {
    format!("DROP FUNCTION IF EXISTS {}()", layout.path(&fitted(&format!("_change_{name}"))))
}

fn body(layout: &Layout, table: &Table, view: &str, function: &str) -> String {
    let path = layout.path(&table.table);
    let (mut inserted, mut updated, mut compared) = (String::new(), String::new(), String::new());
    let set = |column: &Column, name: &str| {
        format!(
            "f := f || jsonb_build_object({}, {});",
            literal(&column.name),
            column.of.writing(&format!("NEW.{}", quoted(name)))
        )
    };
    for (column, name) in named(table) {
        let quoted = quoted(name);
        let (insert, update) = match column.written {
            Written::Never => {
                let refuse = never(view, name, "follows from other fields, and cannot be set");
                (refuse.clone(), refuse)
            }
            Written::Freely | Written::Parent => (set(column, name), set(column, name)),
        };
        push(&mut inserted, format_args!("IF NEW.{quoted} IS NOT NULL THEN {insert} END IF;"));
        push(
            &mut updated,
            format_args!("IF NEW.{quoted} IS DISTINCT FROM OLD.{quoted} THEN {update} END IF;"),
        );
        if column.written != Written::Never {
            let reading = column.of.reading(&literal(&column.name));
            push(
                &mut compared,
                format_args!(
                    "IF NEW.{quoted} IS DISTINCT FROM OLD.{quoted} AND OLD.{quoted} IS DISTINCT FROM ({reading}) THEN\n\
                     RAISE EXCEPTION '% of % was changed meanwhile', {}, {} USING ERRCODE = 'serialization_failure',\n\
                     HINT = 'Try the transaction again.'; END IF;",
                    literal(name),
                    literal(view)
                ),
            );
        }
    }
    let kept = |name: &str| never(view, name, "is kept by Corollary, and cannot be set");
    let (revision, id) = (kept("_revision"), never(view, "_id", "stays what it is"));
    let (changes, ty, channel) = (layout.path("_changes"), literal(&table.name), literal(&channel(layout)));
    format!(
        "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
           SET search_path = pg_catalog, pg_temp SET {WRITER} = 'on' SET timezone = 'UTC' SET datestyle = 'ISO, YMD'
           SET intervalstyle = 'iso_8601' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $capture$
         DECLARE
           f jsonb := '{{}}'; k text; doc jsonb;
           r text := CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role') END;
         BEGIN
           IF TG_OP = 'INSERT' THEN
             k := coalesce(NEW._id, gen_random_uuid()::text);
             IF NEW._revision IS NOT NULL THEN {revision} END IF;
             {inserted}
             INSERT INTO {path} VALUES (k, 0, f);
             NEW._id := k;
           ELSIF TG_OP = 'UPDATE' THEN
             k := OLD._id;
             IF NEW._id IS DISTINCT FROM OLD._id THEN {id} END IF;
             IF NEW._revision IS DISTINCT FROM OLD._revision THEN {revision} END IF;
             {updated}
             IF f = '{{}}' THEN RETURN NEW; END IF;
             SELECT t.doc INTO doc FROM {path} AS t WHERE t._id = k FOR UPDATE;
             IF NOT FOUND THEN RETURN NULL; END IF;
             {compared}
             UPDATE {path} AS t SET doc = t.doc || f WHERE t._id = k;
           ELSE
             k := OLD._id;
             DELETE FROM {path} AS t WHERE t._id = k;
             IF NOT FOUND THEN RETURN NULL; END IF;
           END IF;
           INSERT INTO {changes} (type, id, op, fields, role) VALUES ({ty}, k, lower(TG_OP), f, r);
           PERFORM pg_notify({channel}, '');
           IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
           RETURN NEW;
         END $capture$;"
    )
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    writeln!(text, "{more}").expect("writing to a String does not fail");
}

/// Refuses a change of a column.
fn never(view: &str, column: &str, why: &str) -> String {
    format!(
        "RAISE EXCEPTION '% of % {why}', {}, {} USING ERRCODE = 'generated_always', COLUMN = {};",
        literal(column),
        literal(view),
        literal(column)
    )
}

impl SqlType {
    /// What makes JSON of a value as Corollary reads it; null of null.
    fn writing(self, value: &str) -> String {
        match self {
            SqlType::Text
            | SqlType::Bigint
            | SqlType::Double
            | SqlType::Boolean
            | SqlType::Timestamptz
            | SqlType::Date => {
                format!("to_jsonb({value})")
            }
            SqlType::Numeric | SqlType::Uuid => format!("to_jsonb({value}::text)"),
            // A span in seconds; one with months or years is none, and is judged as it is.
            SqlType::Interval => format!(
                "to_jsonb(CASE WHEN extract(month FROM {value}) <> 0 OR extract(year FROM {value}) <> 0 THEN {value}::text \
                 WHEN extract(epoch FROM {value}) < 0 THEN '-PT' || -extract(epoch FROM {value}) || 'S' \
                 ELSE 'PT' || extract(epoch FROM {value}) || 'S' END)"
            ),
            SqlType::Bytea => format!("to_jsonb(translate(encode({value}, 'base64'), E'\\n', ''))"),
            SqlType::Jsonb => value.to_owned(),
        }
    }
}

/// Transactions that wait, those first whose last change was captured first: how many changes of `$1` that come first are looked at,
/// and `$2` how many transactions are told: the number, how many changes it has, and whether all of them are
/// among those that were looked at. Of those all that precede it have been told.
pub fn waiting(layout: &Layout) -> String {
    let changes = layout.path("_changes");
    format!(
        "WITH w AS (SELECT seq, xid FROM {changes} ORDER BY seq LIMIT $1::int8)
         SELECT t.xid::text, l.n, l.last <= (SELECT max(seq) FROM w) FROM (SELECT DISTINCT xid FROM w) AS t,
           LATERAL (SELECT max(c.seq) AS last, count(*) AS n FROM {changes} AS c WHERE c.xid = t.xid) AS l
         ORDER BY l.last LIMIT $2::int8"
    )
}

/// The changes of a transaction `$1`, in order, so many at most as `$2` is.
pub fn changes(layout: &Layout) -> String {
    format!(
        "SELECT type, id, op, fields::text, role, at::text FROM {} WHERE xid = $1::text::xid8 ORDER BY seq LIMIT $2::int8",
        layout.path("_changes")
    )
}

/// Notes that transactions `$1` have been dealt with: their rows have yet to be brought up to date.
pub fn done(layout: &Layout) -> [String; 3] {
    let (changes, late) = (layout.path("_changes"), layout.path("_late"));
    [
        format!(
            "INSERT INTO {late} SELECT DISTINCT type, id FROM {changes} WHERE xid = ANY($1::text[]::xid8[]) ON CONFLICT DO NOTHING"
        ),
        format!("DELETE FROM {changes} WHERE xid = ANY($1::text[]::xid8[])"),
        format!("UPDATE {} SET batch = batch + 1", layout.path("_state")),
    ]
}

/// Notes a transaction that is refused: `$1` the role, `$2` the time, `$3` the problem, `$4` how many changes there are, `$5` the first of
/// them.
pub fn refused(layout: &Layout) -> String {
    format!(
        "INSERT INTO {} (role, at, problem, count, changes) \
         VALUES ($1, $2::text::timestamptz, $3::text::jsonb, $4, $5::text::jsonb)",
        layout.path("_violations")
    )
}

/// Rows that are late, so many at most as `$1` is.
pub fn late(layout: &Layout) -> String {
    format!("SELECT type, id FROM {} LIMIT $1::int8", layout.path("_late"))
}

/// Notes rows as late no longer: `$1` are their types, `$2` their ids.
pub fn no_longer_late(layout: &Layout) -> String {
    format!(
        "DELETE FROM {} AS l USING unnest($1::text[], $2::text[]) AS n (type, id) WHERE (l.type, l.id) = (n.type, n.id)",
        layout.path("_late")
    )
}

/// Notes rows of a type `$1` as late: `$2` are their ids.
pub fn note_late(layout: &Layout) -> String {
    format!("INSERT INTO {} SELECT $1::text, unnest($2::text[]) ON CONFLICT DO NOTHING", layout.path("_late"))
}

/// Of rows of a type `$1` with ids `$2` those that changes wait for.
pub fn awaited(layout: &Layout) -> String {
    format!("SELECT DISTINCT id FROM {} WHERE type = $1 AND id = ANY($2::text[])", layout.path("_changes"))
}

/// Of rows with ids `$1` those that are there; and of those, in the second statement, those that nobody else holds, which are held from then on.
pub fn there(layout: &Layout, table: &Table) -> [String; 2] {
    let path = layout.path(&table.table);
    let which = format!("SELECT _id FROM {path} WHERE _id = ANY($1::text[])");
    [format!("{which} FOR UPDATE SKIP LOCKED"), which]
}
