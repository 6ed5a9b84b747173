//! What a server finds in a folder that a loss of power has left, and whether that may be so.
//!
//! The folder is opened as a server opens it, in this process, and not shown to anybody: all that was acknowledged before is
//! in the log and among the values, nothing is there by halves, everything follows from the facts, and it is written to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use corollary_engine::{
    Edit, EngineError, EngineOptions, Executor, Key, Transaction, Write, catalog, files, history, oracle,
    receipt, side_state,
};
use corollary_schema::{Schema, Slot};
use corollary_store::Store;
use corollary_value::{Id, Value};
use jiff::Timestamp;

use crate::crash::bank::Asked;

/// What the server has left to updates, it leaves to them here.
const BUDGET: usize = 4;

/// What may be there by a moment, of all that was asked for in a run.
pub struct Judge<'a> {
    pub asked: &'a [Asked],
    /// The bank was there, with nothing written yet, at this moment.
    pub begun: u64,
}

impl Judge<'_> {
    /// Writes that had been acknowledged by a moment.
    pub fn acknowledged(&self, moment: u64) -> usize {
        self.asked.iter().filter(|it| it.acknowledged.is_some_and(|(at, _)| at <= moment)).count()
    }

    /// Opens a data folder as it was left at a moment. Returns how many acknowledged writes it was looked through for; the
    /// error says what is wrong with it.
    pub fn open(&self, data: &Path, moment: u64) -> Result<usize, String> {
        let Some(mut executor) = open(data)? else {
            return match self.begun <= moment {
                true => Err("it is empty".to_owned()),
                false => Ok(0),
            };
        };
        let failed = |error: EngineError| format!("it cannot be read: {error}");
        let mut wrong = consistent(&executor).map_err(failed)?;
        let (values, commits) = told(&executor, &mut wrong).map_err(failed)?;
        self.compare(&values, &commits, moment, &mut wrong);
        if moment >= self.begun {
            write(&mut executor).map_err(|error| format!("it cannot be written: {error}"))?;
            let revision = executor.engine().revision();
            drop(executor);
            let again = open(data)?.ok_or("it is empty behind a write")?;
            if again.engine().revision() != revision {
                wrong.push(format!("revision {revision} is lost behind a stop"));
            }
            let found = consistent(&again).map_err(failed)?;
            wrong.extend(found.into_iter().map(|it| format!("behind a write: {it}")));
        }
        match wrong.is_empty() {
            true => Ok(self.acknowledged(moment)),
            false => Err(wrong.join("; ")),
        }
    }

    /// Is what the clients wrote there, as far as it has to be, and nothing else?
    fn compare(&self, values: &Values, commits: &[Paths], moment: u64, wrong: &mut Vec<String>) {
        let mut may_be = BTreeMap::<&str, Vec<Option<u64>>>::new();
        for asked in self.asked {
            let acknowledged = asked.acknowledged.filter(|(at, _)| *at <= moment);
            if let Some((_, revision)) = acknowledged {
                let commit = usize::try_from(revision).ok().and_then(|at| commits.get(at - 1));
                for path in &asked.paths {
                    // A file is a value of its resource.
                    let path = path.strip_suffix("/scan").unwrap_or(path);
                    if commit.is_none_or(|paths| !paths.iter().any(|it| it == path)) {
                        wrong.push(format!(
                            "revision {revision}, which changed {path}, was acknowledged, and is not there"
                        ));
                    }
                }
            }
            if let (Some(to), [path]) = (asked.to, &asked.paths[..]) {
                let may_be = may_be.entry(path).or_insert_with(|| vec![None]);
                if acknowledged.is_some() {
                    may_be.clear();
                }
                if asked.at <= moment {
                    may_be.push(to);
                }
            }
        }
        for (path, may_be) in &may_be {
            let found = values.written.get(*path).copied();
            // A client's count begins with 0.
            let same = |it: &Option<u64>| *it == found || it.is_none() && found == Some(0);
            if moment >= self.begun && !may_be.iter().any(same) {
                wrong.push(format!("{path} is {found:?}, and may be {may_be:?}"));
            }
        }
        for (path, found) in &values.written {
            if *found != 0 && !may_be.contains_key(&path[..]) {
                wrong.push(format!("nobody wrote {path}, which is {found}"));
            }
        }
        if moment >= self.begun && values.transferred != values.given {
            wrong.push(format!("{} has become {}: half a transfer", values.given, values.transferred));
        }
    }
}

/// Opens the data of a folder, as a server does; nothing if nobody had come to open it.
fn open(data: &Path) -> Result<Option<Executor>, String> {
    let store = crate::common::embedded(data);
    let store: Arc<dyn Store> = Arc::new(store.map_err(|error| format!("it cannot be opened: {error}"))?);
    let stored = catalog::stored(&*store).map_err(|error| format!("it has no schema: {error}"))?;
    let Some(stored) = stored else { return Ok(None) };
    let options =
        EngineOptions { update_budget: BUDGET, instead_of: stored.instead_of, ..EngineOptions::default() };
    let opened = corollary_engine::open(store, &stored.text, &options, Timestamp::now(), &mut |_| ());
    let mut executor = opened.map_err(|error| format!("its schema cannot be opened: {error}"))?;
    executor.drop_uploads().map_err(|error| format!("uploads cannot be dropped: {error}"))?;
    Ok(Some(executor))
}

/// What the paths of the clients are, as far as they are something.
#[derive(Default)]
struct Values {
    written: BTreeMap<String, u64>,
    /// The balances of all accounts that money is moved between, and what they began with.
    transferred: i64,
    given: i64,
}

/// The paths that a commit changed.
type Paths = Vec<String>;

/// What the program finds itself.
fn consistent(executor: &Executor) -> Result<Vec<String>, EngineError> {
    executor.engine().alone(8 << 20, |working| {
        let mut wrong = Vec::new();
        for it in oracle::check(working, None)?.differences {
            let field = &working.schema.field(it.field).name;
            wrong.push(format!("{field} of {} is {}, not {}", it.key.id, it.stored, it.expected));
        }
        wrong.extend(side_state::check(working)?.into_values());
        wrong.extend(history::check(working)?);
        wrong.extend(receipt::check(working)?);
        wrong.extend(files::check(working)?.into_iter().map(|fault| fault.message));
        Ok(wrong)
    })
}

fn slot(schema: &Schema, key: &Key, name: &str) -> Slot {
    let mut slots = schema.ty(key.ty).slots();
    slots.find(|(_, field)| field.name == name).unwrap_or_else(|| panic!("no {name}")).0
}

/// The values that clients wrote, and all commits from the first on; each is told, and no time goes back.
fn told(executor: &Executor, wrong: &mut Vec<String>) -> Result<(Values, Vec<Paths>), EngineError> {
    let engine = executor.engine();
    let schema = engine.schema();
    let (mut commits, mut last) = (Vec::new(), Timestamp::MIN);
    let mut folded = BTreeMap::new();
    let complete = engine.commits_after(0, &mut |commit| {
        if commit.time < last {
            wrong.push(format!("revision {} is before the one before it", commit.revision));
        }
        last = commit.time;
        let mut paths = Vec::new();
        for change in commit.changes {
            let doc = change.after.as_ref().or(change.before.as_ref());
            let parent = doc.and_then(|doc| doc.parent(schema, change.key.ty)).map(|(_, id)| id.clone());
            paths.push(path(schema, &change.key, parent.as_ref()));
            match change.after {
                Some(after) => drop(folded.insert(change.key, after)),
                None => drop(folded.remove(&change.key)),
            }
        }
        commits.push(paths);
        std::ops::ControlFlow::Continue(())
    })?;
    let values = engine.alone(8 << 20, |working| {
        let mut values = Values::default();
        for (ty, resource) in schema.types() {
            for id in working.ids_page(ty, None, usize::MAX)? {
                let key = Key::new(ty, id);
                let Some(doc) = working.after(&key)? else { continue };
                if folded.remove(&key).is_none_or(|it| facts(schema, &key, &it) != facts(schema, &key, &doc))
                {
                    wrong.push(format!("the log tells something else of {}", key.id));
                }
                let number = |name| match doc.get(slot(schema, &key, name)) {
                    Value::Int(n) => *n,
                    _ => 0,
                };
                let path = path(schema, &key, doc.parent(schema, ty).map(|(_, id)| id));
                if resource.name == "Note" {
                    values.written.insert(path, number("version").cast_unsigned());
                } else if resource.name == "Account" && path.starts_with("/api/accounts/c") {
                    if let Some(size) = size(doc.get(slot(schema, &key, "scan"))) {
                        values.written.insert(format!("{path}/scan"), size);
                    }
                    values.written.insert(path, number("count").cast_unsigned());
                } else if resource.name == "Account" {
                    values.transferred += number("balance");
                    values.given += crate::crash::bank::BALANCE;
                }
            }
        }
        Ok(values)
    })?;
    wrong.extend(folded.keys().map(|key| format!("the log tells of {}, which is not there", key.id)));
    if !complete || commits.len() as u64 != engine.revision() {
        wrong.push(format!("the log has {} of {} commits", commits.len(), engine.revision()));
    }
    Ok((values, commits))
}

/// The facts of a document.
fn facts(schema: &Schema, key: &Key, doc: &corollary_engine::Doc) -> Vec<Value> {
    let facts = schema.ty(key.ty).slots().filter(|(_, field)| field.in_document() && field.is_fact());
    facts.map(|(slot, _)| doc.get(slot).clone()).collect()
}

fn path(schema: &Schema, key: &Key, parent: Option<&Id>) -> String {
    match (&schema.ty(key.ty).name[..], parent) {
        ("Note", Some(bank)) => format!("/api/banks/{bank}/notes/{}", key.id),
        ("Account", _) => format!("/api/accounts/{}", key.id),
        (_, _) => format!("/api/banks/{}", key.id),
    }
}

/// Of a file.
fn size(value: &Value) -> Option<u64> {
    let Value::Object(members) = value else { return None };
    let (_, size) = members.iter().find(|(name, _)| name == "size")?;
    let Value::Int(size) = size else { return None };
    u64::try_from(*size).ok()
}

/// Changes something from which much follows.
fn write(executor: &mut Executor) -> Result<(), String> {
    let schema = executor.engine().schema().clone();
    let account = Id::parse("a0").map_err(|error| error.to_string())?;
    let key = Key::new(schema.type_named("Account").ok_or("no Account")?, account);
    let balance = slot(&schema, &key, "balance");
    let writes = vec![Write::Update(key, vec![(balance, Edit::Set(Value::Int(-1_000_000_007)))])];
    let before = executor.engine().revision();
    let outcomes = executor.commit(&[Transaction { writes }], Timestamp::now());
    let committed =
        outcomes.map_err(|error| error.to_string())?.remove(0).map_err(|error| error.to_string())?;
    match committed.revision == before + 1 {
        true => Ok(()),
        false => Err(format!("revision {} behind {before}", committed.revision)),
    }
}
