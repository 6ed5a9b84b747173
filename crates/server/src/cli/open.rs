//! Opens a data folder with a schema, for all commands that need one.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use corollary_engine::updates::OwnBudget;
use corollary_engine::{EngineOptions, Executor, OpenError, catalog, keys};
use corollary_schema::{Field, FieldKind, Schema, TypeIx};
use corollary_store::{EmbeddedOptions, EmbeddedStore, PostgresOptions, PostgresStore, Store};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{format_schema, nearest, render};
use jiff::Timestamp;

use super::source::Source;
use super::{Failure, Place};

/// The budget of changes for whom nobody waits: everything goes with its commit.
pub const AT_ONCE: usize = usize::MAX;

/// How long what another server builds may stand still, until it is taken to be gone.
const BUILD_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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

fn open_with(
    place: &Place,
    given: Option<String>,
    update_budget: usize,
    own_budgets: &[OwnBudget],
    node: &str,
) -> Result<(Executor, String), Failure> {
    let store: Arc<dyn Store> = match &place.store {
        None => {
            let opened = EmbeddedStore::open(&place.data, &keys::KEYSPACES, EmbeddedOptions::default());
            Arc::new(opened.map_err(|error| error.to_string())?)
        }
        Some(url) => {
            let opened = PostgresStore::open(url, &keys::KEYSPACES, PostgresOptions::default());
            Arc::new(opened.map_err(|error| error.to_string())?)
        }
    };
    let (text, name) = match given {
        Some(text) => (text, place.schema.display().to_string()),
        None => {
            let stored = catalog::stored_schema(&*store).map_err(|error| error.to_string())?;
            (stored.ok_or_else(|| no_schema(place))?, "the stored schema".to_string())
        }
    };
    let cache_bytes = (place.cache_mb as usize) << 20;
    let options = EngineOptions {
        cache_bytes,
        update_budget,
        own_budgets: own_budgets.to_vec(),
        node: node.into(),
        ..EngineOptions::default()
    };
    with_schema(store, &text, &name, &options).map(|executor| (executor, text))
}

/// Opens a store with the text of a schema.
pub fn with_schema(
    store: Arc<dyn Store>,
    text: &str,
    name: &str,
    options: &EngineOptions,
) -> Result<Executor, Failure> {
    let mut told = |what: &str| eprintln!("building {what}");
    let mut options = options.clone();
    // The last commit of another server that builds, and since when it has been the last.
    let mut seen: Option<(u64, Instant)> = None;
    loop {
        let opened = corollary_engine::open(store.clone(), text, &options, Timestamp::now(), &mut told);
        return Err(match opened {
            Ok(executor) => return Ok(executor),
            Err(OpenError::Schema(diagnostics)) => mistakes(&diagnostics, name, text),
            Err(OpenError::Refused(reasons)) => {
                let message =
                    format!("the data does not fit {name}, and nothing was changed:\n{}", reasons.join("\n"));
                Failure { message, code: 1 }
            }
            Err(OpenError::Building { by, sequence }) => {
                match seen {
                    Some((last, since)) if last == sequence => {
                        options.take_over = since.elapsed() >= BUILD_PATIENCE;
                    }
                    _ => {
                        eprintln!("waiting for {by}, which builds what follows from its schema");
                        seen = Some((sequence, Instant::now()));
                    }
                }
                thread::sleep(LOOK_AGAIN);
                continue;
            }
            Err(OpenError::Engine(error)) => error.to_string().into(),
        });
    }
}

/// Are budgets of types and derived fields that there are? Whoever has a name wrong is told the nearest.
pub fn check_budgets(schema: &Schema, budgets: &[OwnBudget]) -> Result<(), Failure> {
    for budget in budgets {
        let ty = schema.ty(type_named(schema, &budget.ty)?);
        let Some(field) = &budget.field else { continue };
        let derived = |field: &&Field| matches!(field.kind, FieldKind::Derived { .. }) && field.visible();
        let mut names = ty.fields.iter().filter(derived).map(|field| field.name.as_str());
        if !names.clone().any(|name| name == field) {
            let help =
                nearest(field, &mut names).map_or(String::new(), |near| format!("; did you mean {near}?"));
            return Err(Failure {
                message: format!("{} has no derived field {field}{help}", ty.name),
                code: 2,
            });
        }
    }
    Ok(())
}

/// The type with a name.
pub fn type_named(schema: &Schema, name: &str) -> Result<TypeIx, Failure> {
    schema.type_named(name).ok_or_else(|| {
        let near =
            nearest(name, schema.types().filter(|(_, ty)| ty.visible()).map(|(_, ty)| ty.name.as_str()));
        let help = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        Failure { message: format!("the schema has no type {name}{help}"), code: 2 }
    })
}
