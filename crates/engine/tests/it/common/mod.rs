//! What the tests of the engine share: opening, writing and reading by names, and the judgement of the oracle.

pub mod large;
pub mod versions;

use std::cell::RefCell;
use std::sync::Arc;

use corollary_engine::catalog::OpenError;
use corollary_engine::reply::Request;
use corollary_engine::updates::Progress;
use corollary_engine::{
    Committed, Doc, Edit, Engine, EngineError, EngineOptions, Executor, Key, Refusal, Transaction, Write,
    files, history, keys, open, oracle, side_state,
};
use corollary_schema::Slot;
use corollary_store::{MemoryStore, Store};
use corollary_value::{Id, Value};
use jiff::Timestamp;

/// The time, where it does not matter.
pub const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(&keys::KEYSPACES).unwrap())
}

/// An executor that can be written to while the writes are being made out of it.
pub struct Db(RefCell<Executor>);

impl Db {
    pub fn new(executor: Executor) -> Db {
        Db(RefCell::new(executor))
    }

    pub fn engine(&self) -> Arc<Engine> {
        self.0.borrow().engine().clone()
    }

    pub fn commit(
        &self,
        group: &[Transaction],
        now: Timestamp,
    ) -> Result<Vec<Result<Committed, EngineError>>, EngineError> {
        self.0.borrow_mut().commit(group, now)
    }

    /// A group of which is told what is wanted.
    pub fn execute(&self, group: &[Request<'_>]) -> Vec<Result<Committed, EngineError>> {
        self.execute_at(group, NOW)
    }

    pub fn execute_at(&self, group: &[Request<'_>], now: Timestamp) -> Vec<Result<Committed, EngineError>> {
        self.0.borrow_mut().execute(group, now).unwrap()
    }

    pub fn trim_receipts(&self, now: Timestamp, limit: usize) -> usize {
        self.0.borrow_mut().trim_receipts(now, limit).unwrap()
    }

    /// One step of the updates that are open.
    pub fn step(&self, limit: usize) -> Result<Option<Progress>, EngineError> {
        self.step_at(limit, NOW)
    }

    pub fn step_at(&self, limit: usize, now: Timestamp) -> Result<Option<Progress>, EngineError> {
        self.0.borrow_mut().update_step(now, limit)
    }

    /// Takes over what other nodes have committed.
    pub fn try_follow(&self) -> Result<bool, EngineError> {
        self.0.borrow_mut().follow()
    }

    pub fn follow(&self) {
        self.try_follow().unwrap();
    }

    pub fn finish_updates(&self) {
        self.0.borrow_mut().finish_updates(NOW, 64).unwrap();
    }

    pub fn with<T>(&self, f: impl FnOnce(&Executor) -> T) -> T {
        f(&self.0.borrow())
    }

    /// What nobody but the executor does.
    pub fn change<T>(&self, f: impl FnOnce(&mut Executor) -> T) -> T {
        f(&mut self.0.borrow_mut())
    }

    pub fn into_executor(self) -> Executor {
        self.0.into_inner()
    }

    pub fn trim_log(&self, before: Timestamp, limit: usize) -> usize {
        self.0.borrow_mut().trim_log(before, limit).unwrap()
    }
}

pub fn try_open(store: &Arc<MemoryStore>, schema: &str) -> Result<Db, OpenError> {
    let store: Arc<dyn Store> = store.clone();
    open(store, schema, &EngineOptions::default(), NOW, &mut |_| {}).map(Db::new)
}

/// Opens a store with a budget.
pub fn opened_within(store: &Arc<MemoryStore>, schema: &str, budget: usize) -> Db {
    opened_as(store, schema, &EngineOptions { update_budget: budget, ..EngineOptions::default() })
}

/// Opens a store with options.
pub fn opened_as(store: &Arc<MemoryStore>, schema: &str, options: &EngineOptions) -> Db {
    let store: Arc<dyn Store> = store.clone();
    Db::new(open(store, schema, options, NOW, &mut |_| {}).unwrap())
}

/// Opens a store with a schema that fits it.
pub fn opened(store: &Arc<MemoryStore>, schema: &str) -> Db {
    match try_open(store, schema) {
        Ok(db) => db,
        Err(OpenError::Schema(mistakes)) => panic!("{mistakes:#?} in {schema}"),
        Err(error) => panic!("{error} with {schema}"),
    }
}

pub fn fresh(schema: &str) -> Db {
    opened(&memory(), schema)
}

pub fn id(text: &str) -> Id {
    Id::parse(text).unwrap()
}

pub fn reference(text: &str) -> Value {
    Value::Ref(id(text))
}

pub fn references(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| reference(text)).collect())
}

pub fn text(text: &str) -> Value {
    Value::Str(text.into())
}

pub fn list(elements: impl IntoIterator<Item = Value>) -> Value {
    Value::List(elements.into_iter().collect())
}

pub fn object(members: &[(&str, Value)]) -> Value {
    Value::Object(members.iter().map(|(name, value)| ((*name).into(), value.clone())).collect())
}

pub fn key(db: &Db, ty: &str, name: &str) -> Key {
    Key::new(db.engine().schema().type_named(ty).unwrap(), id(name))
}

pub fn slot(db: &Db, ty: &str, field: &str) -> Slot {
    let engine = db.engine();
    let schema = engine.schema();
    let ty = schema.ty(schema.type_named(ty).unwrap());
    ty.named(field).unwrap_or_else(|| panic!("no field {field} of {}", ty.name)).0
}

fn values(db: &Db, ty: &str, values: &[(&str, Value)]) -> Vec<(Slot, Value)> {
    values.iter().map(|(field, value)| (slot(db, ty, field), value.clone())).collect()
}

pub fn create(db: &Db, ty: &str, name: &str, given: &[(&str, Value)]) -> Write {
    Write::Create(key(db, ty, name), values(db, ty, given))
}

pub fn replace(db: &Db, ty: &str, name: &str, given: &[(&str, Value)]) -> Write {
    Write::Replace(key(db, ty, name), values(db, ty, given))
}

pub fn edit(db: &Db, ty: &str, name: &str, edits: &[(&str, Edit)]) -> Write {
    let edits = edits.iter().map(|(field, edit)| (slot(db, ty, field), edit.clone())).collect();
    Write::Update(key(db, ty, name), edits)
}

pub fn update(db: &Db, ty: &str, name: &str, given: &[(&str, Value)]) -> Write {
    let edits: Vec<(&str, Edit)> =
        given.iter().map(|(field, value)| (*field, Edit::Set(value.clone()))).collect();
    edit(db, ty, name, &edits)
}

pub fn delete(db: &Db, ty: &str, name: &str) -> Write {
    Write::Delete(key(db, ty, name))
}

pub fn try_commit(db: &Db, writes: Vec<Write>) -> Result<Committed, EngineError> {
    db.commit(&[Transaction { writes }], NOW).unwrap().remove(0)
}

/// Commits what must succeed.
pub fn commit(db: &Db, writes: Vec<Write>) -> Committed {
    try_commit(db, writes).unwrap()
}

/// Commits what must be refused; nothing may have changed.
pub fn refused(db: &Db, writes: Vec<Write>) -> Vec<Refusal> {
    let revision = db.engine().revision();
    match try_commit(db, writes) {
        Err(EngineError::Refused(refusals)) => {
            assert!(!refusals.is_empty());
            assert_eq!(db.engine().revision(), revision, "a refused transaction has no revision");
            agree(db);
            refusals
        }
        outcome => panic!("not refused: {outcome:?}"),
    }
}

/// Code and path of each refusal, sorted.
pub fn codes(refusals: &[Refusal]) -> Vec<String> {
    let mut codes: Vec<String> = refusals
        .iter()
        .map(|refusal| match &refusal.path {
            Some(path) => format!("{} {path}", refusal.code),
            None => refusal.code.to_string(),
        })
        .collect();
    codes.sort();
    codes
}

pub fn doc(db: &Db, ty: &str, name: &str) -> Option<Arc<Doc>> {
    let key = key(db, ty, name);
    db.engine().read(NOW, |working| working.after(&key)).unwrap()
}

pub fn get(db: &Db, ty: &str, name: &str, field: &str) -> Value {
    let doc = doc(db, ty, name).unwrap_or_else(|| panic!("there is no {ty} {name}"));
    doc.get(slot(db, ty, field)).clone()
}

/// What the oracle and the check of side state find wrong.
pub fn wrong(db: &Db) -> Vec<String> {
    wrong_as_at(db, db.engine().time())
}

/// The same, as at a time.
pub fn wrong_as_at(db: &Db, time: Timestamp) -> Vec<String> {
    let engine = db.engine();
    let schema = engine.schema();
    let checked = engine.read(time, |working| oracle::check(working, None)).unwrap();
    let mut found: Vec<String> = checked
        .differences
        .iter()
        .map(|it| {
            let (ty, field) = (&schema.ty(it.key.ty).name, &schema.field(it.field).name);
            format!("{ty} {}.{field}: stored {:?} expected {:?}", it.key.id, it.stored, it.expected)
        })
        .collect();
    found.extend(engine.read(time, side_state::check).unwrap().into_values());
    found.extend(engine.read(time, history::check).unwrap());
    found.extend(engine.read(time, files::check).unwrap().into_iter().map(|fault| fault.message));
    found.extend(dangling(db));
    found
}

/// Links to what is not there.
fn dangling(db: &Db) -> Vec<String> {
    use corollary_engine::eval::View;
    use corollary_engine::working::targets;
    use corollary_schema::FieldKind;
    let read = db.engine().read(NOW, |working| {
        let mut found = Vec::new();
        for (ty, resource) in working.schema.types() {
            for id in working.all(ty)? {
                let Some(doc) = working.after(&Key::new(ty, id.clone()))? else { continue };
                for (slot, field) in resource.slots() {
                    let target = match &field.kind {
                        FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => *target,
                        FieldKind::Parent { collection } => collection.ty,
                        _ => continue,
                    };
                    for to in targets(doc.get(slot)) {
                        if working.after(&Key::new(target, to.clone()))?.is_none() {
                            found.push(format!("{} {id}.{} links to {to}", resource.name, field.name));
                        }
                    }
                }
            }
        }
        Ok(found)
    });
    read.unwrap()
}

/// All that is kept follows from the facts.
#[track_caller]
pub fn agree(db: &Db) {
    let found = wrong(db);
    assert!(found.is_empty(), "{found:#?}");
}

/// Commits a write after the other, each of which may be refused: what is kept follows from the facts after each, and when all
/// updates are done.
#[track_caller]
pub fn agrees_throughout<T>(db: &Db, steps: &[T], write: impl Fn(&Db, &T) -> Write) {
    for step in steps {
        let outcome = try_commit(db, vec![write(db, step)]);
        assert!(matches!(outcome, Ok(_) | Err(EngineError::Refused(_))), "{outcome:?}");
        agree(db);
    }
    db.finish_updates();
    agree(db);
}
