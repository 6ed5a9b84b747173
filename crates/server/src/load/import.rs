//! The import of a file: rows in large transactions, into an open store or to a running server. A row that is refused
//! is told with its line and reason, and leaves the others of its transaction alone.
//!
//! Three things go on at a time: rows are read and checked, those before are created with all that follows from them, and those before
//! these are made durable. Invariant: what is not durable in the end is not counted as created.

use std::mem::replace;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

use corollary_engine::reply::{Request, Wants};
use corollary_engine::{EngineError, Executor, Key, Refusal, Transaction, Write};
use corollary_schema::{FieldKind, FieldRef, Schema, TypeIx};
use jiff::Timestamp;

use super::file::Source;
use super::rows::{self, Rejected, Row};
use crate::http::{Limits, fresh_id, taken};
use crate::json::encode::{bare, target_of};

/// Rows in one commit of a store that is open here: about what stays in the caches of a processor while all that follows from it is
/// brought about. Larger ones would save syncs, for which nobody waits.
const DIRECT_ROWS: usize = 2_000;

/// The same of a type whose rows may lead to each other: to one that comes later only within one commit.
const LINKED_ROWS: usize = 10_000;

/// Rows in one request to a server, which others use too.
const REMOTE_ROWS: usize = 2_000;

/// Batches that are read ahead.
const AHEAD_BATCHES: usize = 2;

/// Where rows go.
pub trait Sink {
    /// Rows that are best created together.
    fn batch_rows(&self, ty: TypeIx) -> usize;
    /// Creates resources, all or none. The refusals name the rows by position.
    fn create(&mut self, ty: TypeIx, rows: &[Row]) -> Result<(), Refused>;
    /// Sees to it that all that was created is durable. The error says why that of the last call of [`Sink::create`] that did not fail is
    /// not, although it was told.
    fn finish(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Why a batch was not created.
pub enum Refused {
    /// Because of some of its rows.
    Rows(Vec<Refusal>),
    /// Because it is too large; half of it may not be.
    TooLarge(String),
    /// For a reason that is not in the rows: the import ends here.
    Failed(String),
}

/// Straight into a store that this process has open.
pub struct Direct<'e> {
    executor: &'e mut Executor,
    /// Makes the last batch durable.
    hardening: Option<JoinHandle<Result<(), EngineError>>>,
    /// Why the last batch that was told is not durable.
    lost: Option<String>,
}

impl<'e> Direct<'e> {
    /// Through an executor, which keeps in memory nothing new of what it is given by this.
    pub fn new(executor: &'e mut Executor) -> Direct<'e> {
        executor.pass_through(true);
        Direct { executor, hardening: None, lost: None }
    }

    /// Waits until the last batch is durable.
    fn wait(&mut self) -> Result<(), EngineError> {
        let panicked = |_| Err(EngineError::Corrupt("the thread that makes batches durable panicked".into()));
        self.hardening.take().map_or(Ok(()), |hardening| hardening.join().unwrap_or_else(panicked))
    }
}

impl Drop for Direct<'_> {
    fn drop(&mut self) {
        // Who wants to know has asked [`Sink::finish`].
        let _ = self.wait();
        self.executor.pass_through(false);
    }
}

impl Sink for Direct<'_> {
    fn batch_rows(&self, ty: TypeIx) -> usize {
        if links_to_itself(self.executor.engine().schema(), ty) { LINKED_ROWS } else { DIRECT_ROWS }
    }

    fn create(&mut self, ty: TypeIx, rows: &[Row]) -> Result<(), Refused> {
        let now = Timestamp::now();
        let keys = rows.iter().map(|row| Key::new(ty, row.id.clone().unwrap_or_else(fresh_id)));
        let keys: Vec<Key> = keys.collect();
        let writes = keys.iter().zip(rows).map(|(key, row)| Write::Create(key.clone(), row.facts.clone()));
        let transaction = Transaction { writes: writes.collect() };
        // What became of each row is what it says, so nobody looks.
        let wants = Wants::default();
        let request = Request { transaction: &transaction, wants: &wants };
        let executed = self.executor.execute_ahead(&[request], now);
        // The batch before is durable by now, or never will be.
        self.finish().map_err(Refused::Failed)?;
        let failed = |error: EngineError| Refused::Failed(error.to_string());
        let (outcomes, pending) = executed.map_err(failed)?;
        self.hardening = Some(thread::spawn(|| pending.harden()));
        match outcomes.into_iter().next() {
            Some(Err(EngineError::Refused(refusals))) if refusals.iter().any(|it| it.code == "exists") => {
                match self.executor.engine().read(now, |working| taken(working, &keys)) {
                    Ok(taken) if taken.is_empty() => Err(Refused::Rows(refusals)),
                    Ok(taken) => Err(Refused::Rows(taken)),
                    Err(error) => Err(failed(error)),
                }
            }
            Some(Err(EngineError::Refused(refusals))) => Err(Refused::Rows(refusals)),
            Some(Err(error)) => Err(failed(error)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        if let Err(error) = self.wait() {
            self.lost.get_or_insert(error.to_string());
        }
        self.lost.clone().map_or(Ok(()), Err)
    }
}

/// May resources of a type lead to others of it by what somebody writes?
fn links_to_itself(schema: &Schema, ty: TypeIx) -> bool {
    schema.ty(ty).slots().any(|(slot, field)| match field.kind {
        FieldKind::Among { .. } | FieldKind::Several { .. } => true,
        _ => field.is_fact() && target_of(schema, FieldRef { ty, slot }) == Some(ty),
    })
}

/// To a server, as NDJSON.
pub struct Remote<'s> {
    /// Asked for with keep-alive.
    pub agent: ureq::Agent,
    /// Of the server.
    pub url: String,
    /// Its schema.
    pub schema: &'s Schema,
}

impl Sink for Remote<'_> {
    fn batch_rows(&self, _: TypeIx) -> usize {
        REMOTE_ROWS
    }

    fn create(&mut self, ty: TypeIx, rows: &[Row]) -> Result<(), Refused> {
        self.post(ty, rows)
    }
}

impl Remote<'_> {
    fn post(&self, ty: TypeIx, rows: &[Row]) -> Result<(), Refused> {
        let resource = self.schema.ty(ty);
        let failed = |why: String| Refused::Failed(why);
        let Some(root) = &resource.root else {
            return Err(failed(format!(
                "{} has no root collection; import into the data folder",
                resource.name
            )));
        };
        let mut body = Vec::new();
        for row in rows {
            body.push(b'{');
            if let Some(id) = &row.id {
                body.extend_from_slice(format!("\"_id\":\"{id}\"").as_bytes());
            }
            for (at, (slot, value)) in row.facts.iter().enumerate() {
                let comma = if at > 0 || row.id.is_some() { "," } else { "" };
                body.extend_from_slice(format!("{comma}\"{}\":", resource.field(*slot).name).as_bytes());
                bare(value, &mut body);
            }
            body.extend_from_slice(b"}\n");
        }
        let limit = Limits::default().body_bytes;
        if body.len() > limit {
            return Err(Refused::TooLarge(format!("more than {limit} bytes as JSON")));
        }
        let url = format!("{}/api/{root}", self.url);
        let reply = self.agent.post(&url).header("content-type", "application/x-ndjson").send(&body[..]);
        let mut reply = reply.map_err(|error| failed(format!("{url}: {error}")))?;
        if reply.status().is_success() {
            return Ok(());
        }
        let text = reply.body_mut().read_to_string().unwrap_or_default();
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if reply.status() == 413 {
            return Err(Refused::TooLarge(problem["detail"].as_str().unwrap_or("too large").to_string()));
        }
        let refusals: Option<Vec<Refusal>> = problem["errors"].as_array().map(|errors| {
            let of = |error: &serde_json::Value| {
                let write = error["item"].as_u64().and_then(|item| usize::try_from(item).ok());
                let message = error["message"].as_str().unwrap_or_default();
                Refusal { write, ..Refusal::new("refused", None, message) }
            };
            errors.iter().map(of).collect()
        });
        match refusals {
            Some(refusals) if !refusals.is_empty() => Err(Refused::Rows(refusals)),
            _ => Err(failed(
                problem["detail"].as_str().map_or_else(|| reply.status().to_string(), str::to_string),
            )),
        }
    }
}

/// What an import did.
#[derive(Debug, Default)]
pub struct Imported {
    /// Resources created.
    pub created: u64,
    /// Rows that were not.
    pub rejected: u64,
    /// What ended it before the end of the file.
    pub failed: Option<String>,
}

/// Imports a file. `progress` hears of each batch; `reject` of each row that is refused.
pub fn run(
    source: Source,
    schema: &Schema,
    ty: TypeIx,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(&Imported),
    reject: &mut dyn FnMut(&Rejected),
) -> Imported {
    let (sender, batches) = sync_channel::<(Vec<Row>, Vec<Rejected>)>(AHEAD_BATCHES);
    let mut imported = Imported::default();
    let batch_rows = sink.batch_rows(ty);
    // So many were created before the last batch.
    let mut before_last = 0;
    thread::scope(|scope| {
        // Reading and checking rows takes a thread of its own, beside the one that writes.
        let reader = scope.spawn(move || {
            let (mut rows, mut rejected) = (Vec::with_capacity(batch_rows), Vec::new());
            let outcome = rows::each(source, schema, ty, &mut |row| {
                match row {
                    Ok(row) => rows.push(row),
                    Err(row) => rejected.push(row),
                }
                if rows.len() + rejected.len() < batch_rows {
                    return true;
                }
                let rows = replace(&mut rows, Vec::with_capacity(batch_rows));
                sender.send((rows, std::mem::take(&mut rejected))).is_ok()
            });
            // The writer may have ended already; then nobody waits for the rest.
            let _ = sender.send((rows, rejected));
            outcome
        });
        for (rows, rejected) in batches {
            for row in &rejected {
                imported.rejected += 1;
                reject(row);
            }
            let mut waiting = vec![rows];
            while let Some(mut rows) = waiting.pop() {
                if rows.is_empty() {
                    continue;
                }
                let rejected = match sink.create(ty, &rows) {
                    Ok(()) => {
                        before_last = imported.created;
                        imported.created += rows.len() as u64;
                        continue;
                    }
                    Err(Refused::Rows(refusals)) => drop_refused(&mut rows, &refusals),
                    Err(Refused::TooLarge(reason)) if rows.len() == 1 => rows
                        .drain(..)
                        .map(|row| Rejected { line: row.line, reason: reason.clone() })
                        .collect(),
                    Err(Refused::TooLarge(_)) => {
                        waiting.push(rows.split_off(rows.len() / 2));
                        Vec::new()
                    }
                    Err(Refused::Failed(reason)) => {
                        imported.failed = Some(reason);
                        break;
                    }
                };
                imported.rejected += rejected.len() as u64;
                rejected.iter().for_each(&mut *reject);
                waiting.push(rows);
            }
            progress(&imported);
            if imported.failed.is_some() {
                break;
            }
        }
        if let Err(reason) = sink.finish() {
            imported.created = before_last;
            imported.failed.get_or_insert(reason);
        }
        match reader.join() {
            Ok(Err(reason)) => {
                imported.failed.get_or_insert(reason);
            }
            Ok(Ok(())) => {}
            Err(_) => {
                imported.failed.get_or_insert("reading the file failed".into());
            }
        }
    });
    imported
}

/// Takes the rows that are to blame out; all of them where none is named.
fn drop_refused(rows: &mut Vec<Row>, refusals: &[Refusal]) -> Vec<Rejected> {
    let mut dropped: Vec<Rejected> = Vec::new();
    let named = refusals.iter().any(|refusal| refusal.write.is_some_and(|at| at < rows.len()));
    let mut at = 0;
    rows.retain(|row| {
        let reasons: Vec<&str> = refusals
            .iter()
            .filter(|refusal| refusal.write == Some(at) || !named)
            .map(|refusal| refusal.message.as_str())
            .collect();
        at += 1;
        if reasons.is_empty() {
            return true;
        }
        dropped.push(Rejected { line: row.line, reason: reasons.join("; ") });
        false
    });
    dropped
}
