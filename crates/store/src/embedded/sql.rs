//! The text of every statement, built once when a store is opened.
//!
//! Invariant: each statement finds its rows through the primary key; `range_scans_use_the_key` asks SQLite. Texts are
//! built once because they are the keys of the connections' statement caches. Read next: [`reader`](super::reader),
//! [`writer`](super::writer).

use std::ops::Bound;

use rusqlite::Statement;

use crate::{Direction, KeyRange};

/// The name of the table of a keyspace. The prefix keeps clear of names that SQLite reserves.
pub(super) fn table_name(name: &str) -> String {
    format!("ks_{name}")
}

/// The definition of the table of a keyspace, exactly as SQLite keeps it.
pub(super) fn table_definition(name: &str) -> String {
    format!(
        "CREATE TABLE {}(k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID",
        table_name(name)
    )
}

/// The definition of the table `state`, which `format` describes.
pub(super) const STATE_DEFINITION: &str = "CREATE TABLE state(id INTEGER NOT NULL, applied INTEGER NOT NULL, \
     run INTEGER NOT NULL, journal INTEGER NOT NULL, keyspaces TEXT NOT NULL) STRICT";

/// Starts the transaction of a snapshot.
pub(super) const BEGIN_READ: &str = "BEGIN DEFERRED";
/// The last commit that the database has. Reading it makes the transaction see the state of now.
pub(super) const READ_APPLIED: &str = "SELECT applied FROM state";
/// Notes the last commit that the database has.
pub(super) const SET_APPLIED: &str = "UPDATE state SET applied = ?1";
/// Starts the transaction of a commit.
pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
/// Ends a transaction.
pub(super) const COMMIT: &str = "COMMIT";

/// Kinds of lower bound times kinds of upper bound.
const RANGES: usize = 9;

/// The statements of one keyspace. Parameters are, in order: the key and the value, or the bounds that there are.
pub(super) struct KeyspaceSql {
    pub(super) get: String,
    pub(super) put: String,
    pub(super) delete: String,
    delete_range: [String; RANGES],
    forward: [String; RANGES],
    backward: [String; RANGES],
    keys_forward: [String; RANGES],
    keys_backward: [String; RANGES],
}

impl KeyspaceSql {
    /// The most statements of a keyspace that one reading connection uses.
    pub(super) const READ_STATEMENTS: usize = 1 + 4 * RANGES;
    /// The most statements of a keyspace that the writing connection uses.
    pub(super) const WRITE_STATEMENTS: usize = 3 + RANGES;

    pub(super) fn new(name: &str) -> Self {
        let table = table_name(name);
        let ranges = |verb: &str, order: &str| {
            std::array::from_fn(|kind| format!("{verb} FROM {table}{}{order}", condition(kind)))
        };
        Self {
            get: format!("SELECT v FROM {table} WHERE k = ?1"),
            // REPLACE, because on a table without triggers and further indexes it overwrites in place after one search.
            put: format!("REPLACE INTO {table}(k, v) VALUES (?1, ?2)"),
            delete: format!("DELETE FROM {table} WHERE k = ?1"),
            delete_range: ranges("DELETE", ""),
            forward: ranges("SELECT k, v", " ORDER BY k"),
            backward: ranges("SELECT k, v", " ORDER BY k DESC"),
            keys_forward: ranges("SELECT k", " ORDER BY k"),
            keys_backward: ranges("SELECT k", " ORDER BY k DESC"),
        }
    }

    pub(super) fn delete_range(&self, range: &KeyRange) -> &str {
        &self.delete_range[kind(range)]
    }

    pub(super) fn scan(&self, range: &KeyRange, direction: Direction) -> &str {
        match direction {
            Direction::Forward => &self.forward[kind(range)],
            Direction::Backward => &self.backward[kind(range)],
        }
    }

    /// A forward scan from a key to the end.
    pub(super) fn from(&self) -> &str {
        &self.forward[kind(&KeyRange { from: Bound::Included(Vec::new()), to: Bound::Unbounded })]
    }

    /// A scan that reads no values.
    pub(super) fn scan_keys(&self, range: &KeyRange, direction: Direction) -> &str {
        match direction {
            Direction::Forward => &self.keys_forward[kind(range)],
            Direction::Backward => &self.keys_backward[kind(range)],
        }
    }
}

/// Binds the bounds of `range` to a statement that was chosen for it.
pub(super) fn bind_range(statement: &mut Statement<'_>, range: &KeyRange) -> rusqlite::Result<()> {
    let mut parameter = 0;
    for bound in [&range.from, &range.to] {
        if let Bound::Included(key) | Bound::Excluded(key) = bound {
            parameter += 1;
            statement.raw_bind_parameter(parameter, key)?;
        }
    }
    Ok(())
}

/// Which of the [`RANGES`] kinds a range is of.
fn kind(range: &KeyRange) -> usize {
    let of = |bound: &Bound<Vec<u8>>| match bound {
        Bound::Unbounded => 0,
        Bound::Included(_) => 1,
        Bound::Excluded(_) => 2,
    };
    3 * of(&range.from) + of(&range.to)
}

/// The condition of the ranges of one kind.
fn condition(kind: usize) -> String {
    let mut parts = Vec::new();
    for operator in [["", ">=", ">"][kind / 3], ["", "<=", "<"][kind % 3]] {
        if !operator.is_empty() {
            parts.push(format!("k {operator} ?{}", parts.len() + 1));
        }
    }
    if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_scans_use_the_key() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(&table_definition("docs")).unwrap();
        let sql = KeyspaceSql::new("docs");
        let scans =
            sql.forward.iter().chain(&sql.backward).chain(&sql.keys_forward).chain(&sql.keys_backward);
        let ranges = scans.chain(&sql.delete_range);
        for text in ranges.chain([&sql.get, &sql.delete]) {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
            let mut rows = explain.raw_query();
            let mut plan: Vec<String> = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get(3).unwrap());
            }
            // No sorting; a search wherever there is a bound to search by, and a whole DELETE is no scan at all.
            let searches = plan.iter().all(|step| step.starts_with("SEARCH ks_docs USING PRIMARY KEY"));
            let whole = !text.contains("WHERE") && plan.iter().all(|step| step == "SCAN ks_docs");
            assert!(plan.len() <= 1 && (searches || whole), "{text}: {plan:?}");
        }
    }
}
