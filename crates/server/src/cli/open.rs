//! Opens a data folder with a schema, for all commands that need one.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use corollary_engine::updates::OwnBudget;
use corollary_engine::{EngineOptions, Executor, OpenError, catalog, keys};
use corollary_schema::{Schema, TypeIx};
use corollary_store::{
    EmbeddedOptions, EmbeddedStore, MemoryStore, PostgresOptions, PostgresStore, Store, StoreError,
};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{format_schema, render};

use super::source::Source;
use super::{Failure, MEMORY, Place, Stored};
use crate::backup;
use crate::opening::{misnamed, no_type, when_built};

/// The budget of changes for whom nobody waits: everything goes with its commit.
pub const AT_ONCE: usize = usize::MAX;

const EXAMPLE: &str = "\
type Customer in customers {
  name:   str required
  orders: inverse Order.customer
  total   := sum(self.orders.amount)
}

type Order in orders {
  amount:   int required
  customer: link Customer
}";

/// Opens the data, or creates it; returns the text of the schema too. What a change reaches beyond the budget is left to
/// updates, which are worked on under the name of the node.
pub fn open(
    place: &Place,
    update_budget: usize,
    own_budgets: &[OwnBudget],
    node: &str,
) -> Result<(Executor, String), Failure> {
    let given = given_schema(place)?;
    if place.store.is_some() {
        return open_with(place, given, update_budget, own_budgets, node);
    }
    let folder = &place.data;
    if given.is_none() && is_empty(folder) {
        return Err(no_schema(place));
    }
    if let Err(error) = std::fs::create_dir_all(folder) {
        return Err(format!("the data folder {} cannot be created: {error}", folder.display()).into());
    }
    open_with(place, given, update_budget, own_budgets, node)
}

/// The name of this machine, where it has one.
pub fn host() -> String {
    let named = std::env::var("HOSTNAME").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = named.map(|name| name.trim().to_owned()).unwrap_or_default();
    if name.is_empty() { "localhost".into() } else { name }
}

/// A name that no other process has.
pub fn process() -> String {
    format!("{}/{}", host(), std::process::id())
}

/// Opens a data folder that is there already, with the schema that it has: who only looks changes nothing.
pub fn open_existing(place: &Place) -> Result<(Executor, String), Failure> {
    let given = given_schema(place)?;
    if place.store.is_none() && is_empty(&place.data) {
        return Err(format!("there is no data in {}", place.data.display()).into());
    }
    let (executor, stored) = open_with(place, None, AT_ONCE, &[], &process())?;
    if given.is_some_and(|given| format_schema(&given) != format_schema(&stored)) {
        let (schema, data) = (place.schema.display(), place.shown());
        eprintln!("{schema} is not the schema that {data} was last served with; the latter is used");
    }
    Ok((executor, stored))
}

/// Is there no such folder, or nothing in it?
fn is_empty(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// The text of the schema file, where there is one. A schema with mistakes is refused before anything is created.
fn given_schema(place: &Place) -> Result<Option<String>, Failure> {
    match std::fs::metadata(&place.schema) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        _ => {}
    }
    let source = Source::read(&place.schema)?;
    let checked = source.check();
    match checked.schema {
        Some(_) => source.text().map(Some),
        None => Err(source.mistakes(&checked.diagnostics)),
    }
}

fn mistakes(diagnostics: &[Diagnostic], name: &str, text: &str) -> Failure {
    Failure { message: render(diagnostics, name, text), code: 2 }
}

fn no_schema(place: &Place) -> Failure {
    let (schema, data) = (place.schema.display(), place.shown());
    let message = format!(
        "there is no schema: {schema} does not exist, and {data} holds none. Write one, such as\n\n{EXAMPLE}\n"
    );
    message.into()
}

fn try_store(stored: &Stored, options: EmbeddedOptions) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match stored.store.as_deref() {
        None => Arc::new(EmbeddedStore::open(&stored.data, &keys::KEYSPACES, options)?),
        Some(MEMORY) => Arc::new(MemoryStore::new(&keys::KEYSPACES)?),
        Some(url) => Arc::new(PostgresStore::open(url, &keys::KEYSPACES, PostgresOptions::default())?),
    })
}

/// Opens a store, which is created where there is none, whatever is in it.
pub fn new_store(stored: &Stored) -> Result<Arc<dyn Store>, Failure> {
    try_store(stored, EmbeddedOptions::default()).map_err(|error| error.to_string().into())
}

/// Refuses a store that has not all that belongs to it.
fn whole(store: Arc<dyn Store>, stored: &Stored) -> Result<Arc<dyn Store>, Failure> {
    if backup::is_unfinished(&*store).map_err(|error| error.to_string())? {
        let message = format!(
            "{} has a restore that was not finished; run `corollary restore` again, which begins anew",
            stored.shown()
        );
        return Err(message.into());
    }
    Ok(store)
}

/// Opens a store that is there already, for a backup.
pub fn existing_store(stored: &Stored) -> Result<Arc<dyn Store>, Failure> {
    if stored.store.is_none() && is_empty(&stored.data) {
        return Err(format!("there is no data in {}", stored.data.display()).into());
    }
    let store = try_store(stored, EmbeddedOptions::default()).map_err(|error| match error {
        StoreError::InUse { .. } => {
            format!("{error}. `--server URL` takes a backup of a server that runs")
        }
        error => error.to_string(),
    })?;
    whole(store, stored)
}

fn open_with(
    place: &Place,
    given: Option<String>,
    update_budget: usize,
    own_budgets: &[OwnBudget],
    node: &str,
) -> Result<(Executor, String), Failure> {
    let at = place.stored();
    let apply_interval = Duration::from_millis(place.journal_ms.into());
    let options = EmbeddedOptions { apply_interval, ..EmbeddedOptions::default() };
    let store = whole(try_store(&at, options).map_err(|error| error.to_string())?, &at)?;
    let stored = catalog::stored(&*store).map_err(|error| error.to_string())?;
    let file = place.schema.display();
    let (text, instead_of, name) = match (given, stored) {
        (Some(given), Some(stored)) if stored.instead_of.as_ref() == Some(&given) => {
            eprintln!("{file} is as it was before another schema was applied; that one is served");
            (stored.text, stored.instead_of, "the stored schema".to_string())
        }
        (Some(given), _) => (given, None, file.to_string()),
        (None, Some(stored)) => (stored.text, stored.instead_of, "the stored schema".to_string()),
        (None, None) => return Err(no_schema(place)),
    };
    let options = EngineOptions { instead_of, ..engine_options(place, update_budget, own_budgets, node) };
    with_schema(store, &text, &name, &options).map(|executor| (executor, text))
}

/// How data is opened, whatever its schema.
pub fn engine_options(
    place: &Place,
    update_budget: usize,
    own_budgets: &[OwnBudget],
    node: &str,
) -> EngineOptions {
    EngineOptions {
        cache_bytes: place.cache_bytes(),
        update_budget,
        own_budgets: own_budgets.to_vec(),
        node: node.into(),
        ..EngineOptions::default()
    }
}

/// Opens a store with the text of a schema.
pub fn with_schema(
    store: Arc<dyn Store>,
    text: &str,
    name: &str,
    options: &EngineOptions,
) -> Result<Executor, Failure> {
    when_built(&store, text, options).map_err(|error| match error {
        OpenError::Schema(diagnostics) => mistakes(&diagnostics, name, text),
        OpenError::Refused(reasons) => {
            let message =
                format!("the data does not fit {name}, and nothing was changed:\n{}", reasons.join("\n"));
            Failure { message, code: 1 }
        }
        error => error.to_string().into(),
    })
}

/// Are budgets of types and derived fields that there are?
pub fn check_budgets(schema: &Schema, budgets: &[OwnBudget]) -> Result<(), Failure> {
    misnamed(schema, budgets).map_or(Ok(()), |message| Err(Failure { message, code: 2 }))
}

/// The type with a name.
pub fn type_named(schema: &Schema, name: &str) -> Result<TypeIx, Failure> {
    schema.type_named(name).ok_or_else(|| Failure { message: no_type(schema, name), code: 2 })
}
