//! Tables and statements.
//!
//! A keyspace is a table of `k`, `r` and `v`: the key, cut after [`HEAD_BYTES`], the rest of a longer key, and the value. An
//! entry of a PostgreSQL index has room for 2,704 bytes, and a key may have 16,384; so the primary key is `k` with a
//! hash of `r`, and the order of keys is the order of `(k, r)`. Nearly all keys are short: their rest is empty, and the
//! statements for them look at `k` alone.
//!
//! Beside them are `store`, one row with the version of the layout and the count of all commits, and `openings`: of each
//! opening of the store the number of its last commit.

use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::ops::Bound;

use crate::{Direction, KeyRange, Keyspace, KeyspaceSpec, StoreError};

/// How much of a key stands in the index.
pub const HEAD_BYTES: usize = 2_048;

/// The version of the layout.
pub const VERSION: i64 = 1;

/// How long it is waited at a time for a commit that may be under way, in milliseconds.
const FATE_LOCK_MS: u32 = 1_000;

const MAX_SCHEMA_NAME_BYTES: usize = 40;

/// The longest key that has no rest: one of exactly [`HEAD_BYTES`] could be followed by others that begin with it.
const SHORT_BYTES: usize = HEAD_BYTES - 1;

/// The tables of a store, by name.
pub struct Tables {
    schema: String,
    names: Vec<String>,
    /// What this opening of the store tells with its commits: no other has the same.
    token: String,
}

/// A key in its two parts.
pub fn split(key: &[u8]) -> (&[u8], &[u8]) {
    key.split_at(key.len().min(HEAD_BYTES))
}

/// Is the rest of the key empty, and that of no key with the same head otherwise?
pub fn is_short(key: &[u8]) -> bool {
    key.len() <= SHORT_BYTES
}

/// The condition of a range, and its parameters in order.
pub struct Where {
    /// `$1` and so on stand for the parameters.
    pub text: String,
    /// Parts of keys.
    pub parameters: Vec<Vec<u8>>,
}

impl Tables {
    /// The tables of a schema.
    pub fn new(schema: &str, specs: &[KeyspaceSpec]) -> Result<Tables, StoreError> {
        let well_formed = schema.starts_with(|c: char| c.is_ascii_lowercase())
            && schema.len() <= MAX_SCHEMA_NAME_BYTES
            && schema.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !well_formed {
            let why = format!(
                "`{schema}` is no name for a schema: 1 to {MAX_SCHEMA_NAME_BYTES} of a-z, 0-9 and _, starting with a letter"
            );
            return Err(StoreError::Declaration { why });
        }
        let names = specs.iter().map(|spec| format!("{schema}.ks_{}", spec.name)).collect();
        // Each state of this kind is seeded anew.
        let token = format!("{:016x}", RandomState::new().build_hasher().finish());
        Ok(Tables { schema: schema.to_owned(), names, token })
    }

    /// How many keyspaces there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    fn name(&self, keyspace: Keyspace) -> &str {
        &self.names[keyspace.index()]
    }

    /// Refuses a keyspace that was not declared.
    pub fn check(&self, keyspace: Keyspace) -> Result<(), StoreError> {
        if keyspace.index() < self.names.len() {
            Ok(())
        } else {
            Err(StoreError::UnknownKeyspace { keyspace })
        }
    }

    /// Takes the lock that all processes hold together which have the store open. One that wants it for itself alone, as
    /// earlier versions of this program did, and those that share it keep each other out.
    pub fn lock(&self) -> String {
        format!(
            "SELECT pg_try_advisory_lock_shared(hashtextextended('corollary store {}', 0))::int::int8",
            self.schema
        )
    }

    /// Are there tables already? 1 or 0.
    pub fn exist(&self) -> String {
        format!("SELECT (to_regclass('{}.store') IS NOT NULL)::int::int8", self.schema)
    }

    /// How many tables are missing.
    pub fn missing(&self) -> String {
        let schema = &self.schema;
        let others = [format!("{schema}.store"), format!("{schema}.openings")];
        let names: Vec<String> = self.names.iter().chain(&others).map(|name| format!("('{name}')")).collect();
        format!(
            "SELECT count(*) FROM (VALUES {}) AS t (name) WHERE to_regclass(name) IS NULL",
            names.join(", ")
        )
    }

    /// The version of the tables that are there.
    pub fn version(&self) -> String {
        format!("SELECT version FROM {}.store", self.schema)
    }

    /// Makes what is missing.
    pub fn create(&self) -> String {
        let schema = &self.schema;
        // Of two that open the store for the first time one waits for the other.
        let mut text = format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('corollary tables {schema}', 0));\n\
             CREATE SCHEMA IF NOT EXISTS {schema};\n\
             CREATE TABLE IF NOT EXISTS {schema}.store (version int8 NOT NULL, commits int8 NOT NULL);\n\
             CREATE TABLE IF NOT EXISTS {schema}.openings \
             (token text PRIMARY KEY, commits int8 NOT NULL, at timestamptz NOT NULL DEFAULT now());\n\
             INSERT INTO {schema}.store SELECT {VERSION}, 0 WHERE NOT EXISTS (SELECT FROM {schema}.store);\n\
             COMMENT ON SCHEMA {schema} IS 'A Corollary store: written by its server alone';\n"
        );
        for name in &self.names {
            writeln!(
                text,
                "CREATE TABLE IF NOT EXISTS {name} (k bytea NOT NULL, r bytea NOT NULL DEFAULT '', v bytea NOT NULL, \
                 h bytea NOT NULL GENERATED ALWAYS AS (CASE WHEN r = '' THEN ''::bytea ELSE sha256(r) END) STORED, \
                 PRIMARY KEY (k, h));"
            )
            .expect("writing to a String does not fail");
        }
        text
    }

    /// Waits for the turn, which lasts as long as the transaction. The database gives such locks in the order in which they
    /// were asked for, and does not promise that of rows.
    pub fn wait_for_turn(&self) -> String {
        format!("SELECT pg_advisory_xact_lock(hashtextextended('corollary turn {}', 0))", self.schema)
    }

    /// Counts the commit; its number. One at a time gets through, whoever else forgets to wait for its turn, and sees what the one
    /// before has done. Those who listen are told behind the commit, if it comes to that.
    pub fn count_commit(&self) -> String {
        format!(
            "UPDATE {schema}.store SET commits = commits + 1 \
             RETURNING commits, pg_notify('{channel}', '{token}')",
            schema = self.schema,
            channel = self.channel(),
            token = self.token
        )
    }

    /// Where commits are told.
    fn channel(&self) -> String {
        format!("corollary_{}", self.schema)
    }

    /// Has the session hear of commits.
    pub fn listen(&self) -> String {
        format!("LISTEN {}", self.channel())
    }

    /// Is what was told with a commit told by this opening of the store itself?
    pub fn is_own(&self, told: &str) -> bool {
        told == self.token
    }

    /// Notes, with a commit, that it is the last one of this opening: `$1` is its number.
    pub fn note_commit(&self) -> String {
        format!(
            "INSERT INTO {}.openings (token, commits) VALUES ('{}', $1) \
             ON CONFLICT (token) DO UPDATE SET commits = excluded.commits, at = now()",
            self.schema, self.token
        )
    }

    /// Waits until no commit is under way, and then tells the last one of this opening. A number of a transaction would not
    /// do: after a crash, and behind a failover, the database gives one again that was not on record.
    pub fn last_commit(&self) -> [String; 3] {
        [
            format!("SET LOCAL lock_timeout = {FATE_LOCK_MS}"),
            format!("SELECT FROM {}.store FOR UPDATE", self.schema),
            format!("SELECT commits FROM {}.openings WHERE token = '{}'", self.schema, self.token),
        ]
    }

    /// Forgets openings that have not committed for long.
    pub fn forget_openings(&self) -> String {
        format!("DELETE FROM {}.openings WHERE at < now() - interval '1 day'", self.schema)
    }

    /// Bytes of all tables with their indexes.
    pub fn size(&self) -> String {
        let sizes: Vec<String> =
            self.names.iter().map(|name| format!("pg_total_relation_size('{name}')")).collect();
        format!("SELECT ({})::int8", sizes.join(" + "))
    }

    /// The values of short keys: `$1` is all of them.
    pub fn get(&self, keyspace: Keyspace) -> String {
        format!("SELECT k, v FROM {} WHERE k = ANY($1) AND h = ''", self.name(keyspace))
    }

    /// The value of any key, in two parts.
    pub fn get_long(&self, keyspace: Keyspace) -> String {
        format!("SELECT v FROM {} WHERE k = $1 AND r = $2", self.name(keyspace))
    }

    /// Puts short keys: `$1` are keys, `$2` values.
    pub fn put(&self, keyspace: Keyspace) -> String {
        format!(
            "INSERT INTO {} (k, v) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
             ON CONFLICT (k, h) DO UPDATE SET v = excluded.v",
            self.name(keyspace)
        )
    }

    /// Puts one key of any length.
    pub fn put_long(&self, keyspace: Keyspace) -> String {
        format!(
            "INSERT INTO {} (k, r, v) VALUES ($1, $2, $3) ON CONFLICT (k, h) DO UPDATE SET v = excluded.v",
            self.name(keyspace)
        )
    }

    /// Deletes short keys.
    pub fn delete(&self, keyspace: Keyspace) -> String {
        format!("DELETE FROM {} WHERE k = ANY($1) AND h = ''", self.name(keyspace))
    }

    /// Deletes one key of any length.
    pub fn delete_long(&self, keyspace: Keyspace) -> String {
        format!("DELETE FROM {} WHERE k = $1 AND r = $2", self.name(keyspace))
    }

    /// Deletes a range.
    pub fn delete_range(&self, keyspace: Keyspace, range: &Where) -> String {
        format!("DELETE FROM {}{}", self.name(keyspace), range.text)
    }

    /// A part of a scan: the parameter behind those of the range is how many.
    pub fn scan(&self, keyspace: Keyspace, range: &Where, direction: Direction) -> String {
        let order = match direction {
            Direction::Forward => "k, r",
            Direction::Backward => "k DESC, r DESC",
        };
        let limit = range.parameters.len() + 1;
        format!("SELECT k, r, v FROM {}{} ORDER BY {order} LIMIT ${limit}", self.name(keyspace), range.text)
    }
}

impl Where {
    /// The condition that holds for the keys of a range.
    pub fn of(range: &KeyRange) -> Where {
        let mut found = Where { text: String::new(), parameters: Vec::new() };
        let mut bound = |bound: &Bound<Vec<u8>>, included: &str, excluded: &str| {
            let (key, op) = match bound {
                Bound::Included(key) => (key, included),
                Bound::Excluded(key) => (key, excluded),
                Bound::Unbounded => return,
            };
            let (head, rest) = split(key);
            found.text.push_str(if found.text.is_empty() { " WHERE " } else { " AND " });
            found.parameters.push(head.to_vec());
            let at = found.parameters.len();
            if is_short(key) {
                write!(found.text, "k {op} ${at}").expect("writing to a String does not fail");
            } else {
                found.parameters.push(rest.to_vec());
                // The first half is for the index.
                write!(found.text, "k {included} ${at} AND (k, r) {op} (${at}, ${})", at + 1)
                    .expect("writing to a String does not fail");
            }
        };
        bound(&range.from, ">=", ">");
        bound(&range.to, "<=", "<");
        found
    }
}
