//! The connection of the one server that keeps the tables, and what it does to them: each step one transaction of the
//! database.
//!
//! Invariants: the lock that lets one server at a time keep the tables is held by the connection over which they are
//! written, so whoever has lost it writes nothing more; the tables are as `_state` says, since it changes with them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use corollary_store::StoreError;
use corollary_store::postgres::Gate;
use corollary_store::postgres::tokio_postgres::error::SqlState;
use corollary_store::postgres::tokio_postgres::{self, Client, Error, Transaction};
use tokio::sync::Notify;
use tokio::time::sleep;
use uuid::Uuid;

use super::intake::{Captured, Change};
use super::layout::{Layout, Table};
use super::names::literal;
use super::rows::{Changed, Part, Row};
use super::tables;
use super::{Trouble, capture};

/// How often a server looks whether the one that keeps the tables is gone.
const LOCK_EVERY: Duration = Duration::from_secs(1);

/// How long it waits for a row that somebody else is about to insert, in milliseconds: less than until the database looks for
/// those who wait for each other, so nobody else is cut off for it.
const ROW_PATIENCE_MS: u32 = 100;

/// Makes a transaction wait for whoever reads a view that is made anew.
const SHAPE_LOCK: &str = "SET LOCAL lock_timeout = '5s'";

/// Changes that are looked at to find the transactions that come first; more, if none of these ends among them.
const LOOKED_CHANGES: i64 = 1_000;

/// How far the tables are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The text of the schema whose types they have; none before the first.
    pub schema: Option<String>,
    /// Up to where the log has been taken over; none while they are filled.
    pub cursor: Option<u64>,
    /// From which revision on they show the data as at the cursor: what was filled may have been ahead of it.
    pub exact_from: u64,
    /// What stands for the tables as a source of changes ([`corollary_engine::Origin`]).
    pub source: [u8; 16],
    /// The batch of changes that is next, or under way.
    pub batch: u64,
}

/// A transaction of SQL that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its number.
    pub xid: String,
    /// How many changes it has.
    pub changes: u64,
}

/// A transaction of SQL that was refused.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Who made it.
    pub role: String,
    /// When, as the database writes it.
    pub at: String,
    /// Why it was refused, in JSON.
    pub problem: String,
    /// How many changes it had.
    pub count: u64,
    /// The first of them, in JSON.
    pub changes: String,
}

/// See the module.
pub struct Session {
    client: Client,
    gate: Gate,
    /// The schema of the database.
    within: String,
}

impl Session {
    /// Connects, and waits until no other server keeps the tables of a schema of the database.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn take(gate: &Gate, within: &str, rung: Arc<Notify>) -> Result<Session, Trouble> {
        let client = gate.connect(move || rung.notify_one()).await?;
        let session = Session { client, gate: gate.clone(), within: within.to_owned() };
        // What is lost of it when the database crashes is done again: the log tells it once more. A server that is gone
        // without a word must not keep the lock.
        let settings = format!(
            "SET synchronous_commit = off; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = '60s'; \
             SET lock_timeout = {ROW_PATIENCE_MS}; SET search_path = pg_catalog; SET client_min_messages = warning; \
             SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3; \
             SET timezone = 'UTC'; SET {} = 'on'",
            tables::WRITER
        );
        session.run(&settings).await?;
        let key = literal(&format!("corollary sql {within}"));
        let lock = format!("SELECT pg_try_advisory_lock(hashtextextended({key}, 0))");
        loop {
            let locked = session.client.query_one(&lock, &[]).await.map_err(|error| session.told(&error))?;
            if locked.get::<_, bool>(0) {
                return Ok(session);
            }
            sleep(LOCK_EVERY).await;
        }
    }

    /// What the database said.
    fn told(&self, error: &Error) -> Trouble {
        Trouble::Database(self.gate.error(error))
    }

    async fn run(&self, statements: &str) -> Result<(), Trouble> {
        self.client.batch_execute(statements).await.map_err(|error| self.told(&error))
    }

    async fn begin(&mut self) -> Result<Transaction<'_>, Trouble> {
        let gate = self.gate.clone();
        self.client.transaction().await.map_err(|error| Trouble::Database(gate.error(&error)))
    }

    /// Makes the schema of the database and what is always in it, where it is missing, and tells how far the tables are.
    ///
    /// # Errors
    ///
    /// It holds something else, or was made by a newer version; the database cannot be asked.
    pub async fn prepare(&mut self, layout: &Layout, node: &str) -> Result<State, Trouble> {
        let (gate, within) = (self.gate.clone(), self.within.clone());
        let told = |error: Error| Trouble::Database(gate.error(&error));
        let transaction = self.begin().await?;
        let text = "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($1 || '._state') IS NOT NULL, \
                    EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace($1))";
        let found = transaction.query_one(text, &[&within]).await.map_err(told)?;
        let (schema, ours, used) =
            (found.get::<_, bool>(0), found.get::<_, bool>(1), found.get::<_, bool>(2));
        if used && !ours {
            let why = format!("the schema {within} of the database holds tables of others; name another one");
            return Err(Trouble::Unusable(why));
        }
        if ours {
            let text = format!("SELECT version FROM {}", layout.path("_state"));
            let version: i32 = transaction.query_one(&text, &[]).await.map_err(told)?.get(0);
            if version > tables::VERSION {
                let why =
                    format!("the schema {within} of the database was made by a newer version of Corollary");
                return Err(Trouble::Unusable(why));
            }
        }
        if !schema {
            let text = format!("CREATE SCHEMA {}", layout.schema);
            transaction.batch_execute(&text).await.map_err(told)?;
        }
        let fixed = format!("{}{}", tables::fixed(layout), capture::fixed(layout));
        transaction.batch_execute(&fixed).await.map_err(told)?;
        let text = format!(
            "UPDATE {} SET follower = $1, version = {} RETURNING schema, cursor, exact_from, id::text, batch",
            layout.path("_state"),
            tables::VERSION
        );
        let row = transaction.query_one(&text, &[&node]).await.map_err(told)?;
        let state = State {
            schema: row.get(0),
            cursor: row.get::<_, Option<i64>>(1).map(i64::unsigned_abs),
            exact_from: row.get::<_, Option<i64>>(2).map_or(0, i64::unsigned_abs),
            source: row.get::<_, String>(3).parse().map_or([0; 16], Uuid::into_bytes),
            batch: row.get::<_, i64>(4).unsigned_abs(),
        };
        transaction.commit().await.map_err(told)?;
        self.run(&capture::listen(layout)).await?;
        Ok(state)
    }

    /// Makes the tables and views of a schema; what they show is filled anew then. Returns the sentences about what could not be
    /// done.
    ///
    /// # Errors
    ///
    /// The database cannot be asked, or does not let us.
    pub async fn reshape(&mut self, layout: &Layout, text: &str) -> Result<Vec<String>, Trouble> {
        let gate = self.gate.clone();
        let told = |error: Error| Trouble::Database(gate.error(&error));
        let mut problems = layout.problems.clone();
        let mut transaction = self.begin().await?;
        // Who reads a view keeps it from being made anew for so long, and those who come later wait behind us.
        transaction.batch_execute(SHAPE_LOCK).await.map_err(told)?;
        let types = layout.path("_types");
        let known = format!("SELECT type, relation, view FROM {types}");
        for row in transaction.query(&known, &[]).await.map_err(told)? {
            let (ty, relation, view): (String, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
            let now = layout.named(&ty);
            if let Some(view) = view.filter(|view| now.and_then(|it| it.view.as_ref()) != Some(view)) {
                let dropped = format!("DROP VIEW IF EXISTS {}", layout.path(&view));
                attempt(&mut transaction, &dropped, &mut problems).await.map_err(told)?;
            }
            if now.is_none() {
                let dropped = format!(
                    "DROP TABLE IF EXISTS {}; {}; DELETE FROM {types} WHERE type = {}",
                    layout.path(&relation),
                    capture::drop(layout, &ty),
                    literal(&ty)
                );
                attempt(&mut transaction, &dropped, &mut problems).await.map_err(told)?;
            }
        }
        for table in &layout.tables {
            transaction.batch_execute(&tables::table(layout, table)).await.map_err(told)?;
            if let Some(view) = &table.view {
                renew(&mut transaction, layout, table, view, &mut problems).await.map_err(told)?;
            }
        }
        let noted = format!(
            "UPDATE {} SET schema = $1, cursor = NULL, revision = NULL, at = NULL, problems = $2",
            layout.path("_state")
        );
        transaction.execute(&noted, &[&text, &problems]).await.map_err(told)?;
        transaction.commit().await.map_err(told)?;
        Ok(problems)
    }

    /// Brings a part of the log into the tables.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn apply(&mut self, layout: &Layout, part: &Part, state: &State) -> Result<(), Trouble> {
        let gate = self.gate.clone();
        let told = |error: Error| Trouble::Database(gate.error(&error));
        let mut transaction = self.begin().await?;
        for (ty, changed) in &part.changed {
            if let Some(table) = layout.of(*ty) {
                change(&mut transaction, layout, table, changed).await.map_err(told)?;
            }
        }
        let text = format!(
            "UPDATE {} SET cursor = $1::int8, exact_from = $2::int8, \
             revision = CASE WHEN $1::int8 >= $2::int8 THEN $1::int8 END, \
             at = CASE WHEN $1::int8 >= $2::int8 THEN coalesce($3::text::timestamptz, at) END",
            layout.path("_state")
        );
        let (cursor, exact) = (number(part.revision), number(state.exact_from));
        let time = part.time.map(|time| time.to_string());
        transaction.execute(&text, &[&cursor, &exact, &time]).await.map_err(told)?;
        transaction.commit().await.map_err(told)
    }

    /// Writes rows of one table, whatever the log says.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn write(&mut self, layout: &Layout, table: &Table, changed: &Changed) -> Result<(), Trouble> {
        let gate = self.gate.clone();
        let told = |error: Error| Trouble::Database(gate.error(&error));
        let mut transaction = self.begin().await?;
        change(&mut transaction, layout, table, changed).await.map_err(told)?;
        transaction.commit().await.map_err(told)
    }

    /// Rows that are late: the names of their types, and their ids.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn late(&self, layout: &Layout, limit: usize) -> Result<Vec<(String, String)>, Trouble> {
        let rows = self.client.query(&capture::late(layout), &[&(limit as i64)]).await;
        let rows = rows.map_err(|error| self.told(&error))?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Brings late rows up to date; those that somebody still holds stay late.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn refresh(
        &mut self,
        layout: &Layout,
        late: &[(String, String)],
        changed: &[(usize, Changed)],
    ) -> Result<(), Trouble> {
        let gate = self.gate.clone();
        let told = |error: Error| Trouble::Database(gate.error(&error));
        let mut transaction = self.begin().await?;
        let (types, ids): (Vec<&str>, Vec<&str>) =
            late.iter().map(|(ty, id)| (ty.as_str(), id.as_str())).unzip();
        transaction.execute(&capture::no_longer_late(layout), &[&types, &ids]).await.map_err(told)?;
        for (at, changed) in changed {
            change(&mut transaction, layout, &layout.tables[*at], changed).await.map_err(told)?;
        }
        transaction.commit().await.map_err(told)
    }

    /// The transactions that wait, in the order in which they are to be taken in, so many at most; and whether there are more.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn waiting(&self, layout: &Layout, limit: usize) -> Result<(Vec<Waiting>, bool), Trouble> {
        let mut looked = LOOKED_CHANGES;
        loop {
            let rows = self.client.query(&capture::waiting(layout), &[&looked, &(limit as i64)]).await;
            let rows = rows.map_err(|error| self.told(&error))?;
            // What precedes them all is known only of those that end before what was not looked at.
            let whole = rows.iter().filter(|row| row.get::<_, bool>(2));
            let found: Vec<Waiting> = whole
                .map(|row| Waiting { xid: row.get(0), changes: row.get::<_, i64>(1).unsigned_abs() })
                .collect();
            if !found.is_empty() || rows.is_empty() {
                let more = found.len() < rows.len() || found.len() == limit;
                return Ok((found, more));
            }
            looked = looked.saturating_mul(8);
        }
    }

    /// The changes of a transaction, in order, so many at most.
    ///
    /// # Errors
    ///
    /// The database cannot be asked; what stands there was not written by a trigger of a view.
    pub async fn captured(
        &self,
        layout: &Layout,
        waiting: &Waiting,
        limit: usize,
    ) -> Result<Captured, Trouble> {
        let rows = self.client.query(&capture::changes(layout), &[&waiting.xid, &(limit as i64)]).await;
        let rows = rows.map_err(|error| self.told(&error))?;
        let mut captured = Captured { role: String::new(), at: String::new(), changes: Vec::new() };
        for row in &rows {
            let fields: String = row.get(3);
            let Ok(fields) = serde_json::from_str(&fields) else {
                return Err(Trouble::Unusable(format!("{fields} are no fields of a change")));
            };
            captured.changes.push(Change { ty: row.get(0), id: row.get(1), op: row.get(2), fields });
            (captured.role, captured.at) = (row.get(4), row.get(5));
        }
        Ok(captured)
    }

    /// Notes that the transactions of a batch have been dealt with, and those of them that were refused.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn done(
        &mut self,
        layout: &Layout,
        batch: &[Waiting],
        violations: &[Violation],
    ) -> Result<(), Trouble> {
        let gate = self.gate.clone();
        let told = |error: Error| Trouble::Database(gate.error(&error));
        let transaction = self.begin().await?;
        let numbers: Vec<&str> = batch.iter().map(|waiting| waiting.xid.as_str()).collect();
        let [late, delete, next] = capture::done(layout);
        transaction.execute(&late, &[&numbers]).await.map_err(told)?;
        transaction.execute(&delete, &[&numbers]).await.map_err(told)?;
        transaction.execute(&next, &[]).await.map_err(told)?;
        for Violation { role, at, problem, count, changes } in violations {
            let count = number(*count);
            let refused = capture::refused(layout);
            transaction.execute(&refused, &[role, at, problem, &count, changes]).await.map_err(told)?;
        }
        transaction.commit().await.map_err(told)
    }

    /// Can nothing more be written over it?
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The ids that stand in a table behind one of them, so many at most, in the order of the table.
    ///
    /// # Errors
    ///
    /// The database cannot be asked.
    pub async fn ids(
        &self,
        layout: &Layout,
        table: &Table,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, Trouble> {
        let rows = self.client.query(&tables::ids(layout, table), &[&after, &(limit as i64)]).await;
        Ok(rows.map_err(|error| self.told(&error))?.iter().map(|row| row.get(0)).collect())
    }
}

/// A revision as the database has it.
fn number(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// Has rows of a table be as given, but for those that somebody else holds just now, which are late, and those that changes in
/// SQL wait for, which will be.
async fn change(
    transaction: &mut Transaction<'_>,
    layout: &Layout,
    table: &Table,
    changed: &Changed,
) -> Result<(), Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = changed
        .put
        .iter()
        .map(|row| row.id.as_str())
        .chain(changed.gone.iter().map(String::as_str))
        .collect();
    let [hold, there] = capture::there(layout, table);
    let held = found(transaction.query(&hold, &[&ids]).await?);
    let there = found(transaction.query(&there, &[&ids]).await?);
    // Last: whoever has let go of a row has written down before why he held it.
    let awaited = found(transaction.query(&capture::awaited(layout), &[&table.name, &ids]).await?);
    let late: Vec<&str> =
        ids.iter().copied().filter(|id| there.contains(*id) && !held.contains(*id)).collect();
    note_late(transaction, layout, table, &late).await?;
    let gone: Vec<&str> = changed
        .gone
        .iter()
        .map(String::as_str)
        .filter(|id| held.contains(*id) && !awaited.contains(*id))
        .collect();
    if !gone.is_empty() {
        transaction.execute(&tables::delete(layout, table), &[&gone]).await?;
    }
    let free = changed.put.iter().filter(|row| !awaited.contains(&row.id));
    let (present, new): (Vec<&Row>, Vec<&Row>) = free.partition(|row| there.contains(&row.id));
    let present: Vec<&Row> = present.into_iter().filter(|row| held.contains(&row.id)).collect();
    put(transaction, layout, table, &present).await?;
    if insert(transaction, layout, table, &new).await? {
        return Ok(());
    }
    // Somebody is about to insert one of them, and has yet to end his transaction.
    for row in new {
        if !insert(transaction, layout, table, &[row]).await? {
            note_late(transaction, layout, table, &[&row.id]).await?;
        }
    }
    Ok(())
}

fn found(rows: Vec<tokio_postgres::Row>) -> HashSet<String> {
    rows.iter().map(|row| row.get(0)).collect()
}

async fn note_late(
    transaction: &Transaction<'_>,
    layout: &Layout,
    table: &Table,
    ids: &[&str],
) -> Result<(), Error> {
    if !ids.is_empty() {
        transaction.execute(&capture::note_late(layout), &[&table.name, &ids]).await?;
    }
    Ok(())
}

/// Puts rows that are not there, unless somebody is in the way.
async fn insert(
    transaction: &mut Transaction<'_>,
    layout: &Layout,
    table: &Table,
    rows: &[&Row],
) -> Result<bool, Error> {
    if rows.is_empty() {
        return Ok(true);
    }
    let part = transaction.transaction().await?;
    match put(&part, layout, table, rows).await {
        Ok(()) => part.commit().await.map(|()| true),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            part.rollback().await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

async fn put(
    transaction: &Transaction<'_>,
    layout: &Layout,
    table: &Table,
    rows: &[&Row],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let revisions: Vec<i64> = rows.iter().map(|row| number(row.revision)).collect();
    let docs: Vec<&str> = rows.iter().map(|row| row.doc.as_str()).collect();
    transaction.execute(&tables::put(layout, table), &[&ids, &revisions, &docs]).await.map(drop)
}

/// Runs statements that others may be in the way of: then nothing of them happens, and it is told.
async fn attempt(
    transaction: &mut Transaction<'_>,
    statements: &str,
    problems: &mut Vec<String>,
) -> Result<bool, Error> {
    let part = transaction.transaction().await?;
    match part.batch_execute(statements).await {
        Ok(()) => part.commit().await.map(|()| true),
        Err(error) => {
            let Some(refused) = error.as_db_error() else { return Err(error) };
            let others = *refused.code() == SqlState::DEPENDENT_OBJECTS_STILL_EXIST;
            if !others && *refused.code() != SqlState::WRONG_OBJECT_TYPE {
                return Err(error);
            }
            let detail =
                refused.detail().map_or(String::new(), |detail| format!(" ({})", detail.replace('\n', "; ")));
            problems.push(format!("{}{detail}", refused.message()));
            part.rollback().await.map(|()| false)
        }
    }
}

/// Makes a view, or makes it what it is to be.
async fn renew(
    transaction: &mut Transaction<'_>,
    layout: &Layout,
    table: &Table,
    view: &str,
    problems: &mut Vec<String>,
) -> Result<(), Error> {
    let there: Vec<(String, String)> = transaction
        .query(&tables::columns_of(layout), &[&view])
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let fixed = [("_id", "text"), ("_revision", "bigint")].into_iter();
    let wanted: Vec<(&str, &str)> =
        fixed.chain(tables::named(table).map(|(column, name)| (name, column.of.name()))).collect();
    let grows = there.len() <= wanted.len()
        && there.iter().zip(&wanted).all(|((name, of), wanted)| (name.as_str(), of.as_str()) == *wanted);
    let mut text = String::new();
    if !grows {
        text = format!("DROP VIEW {};\n", layout.path(view));
    }
    text.push_str(&tables::view(layout, table, view));
    text.push_str(";\n");
    text.push_str(&capture::trigger(layout, table, view));
    text.push_str(&tables::comments(layout, table, view));
    if !grows {
        for row in transaction.query(&tables::rights_on(layout), &[&view]).await? {
            text.push_str(&row.get::<_, String>(0));
            text.push_str(";\n");
        }
    }
    attempt(transaction, &text, problems).await.map(drop)
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Database(error)
    }
}
