//! Opening data with a schema, as all do who serve or change it.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use corollary_engine::updates::OwnBudget;
use corollary_engine::{EngineOptions, Executor, OpenError};
use corollary_schema::{Field, FieldKind, Schema};
use corollary_store::Store;
use corollary_syntax::nearest;
use jiff::Timestamp;

/// How long what another server builds may stand still, until it is taken to be gone.
const BUILD_PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether it is done.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Opens a store, when nobody else builds what follows from its schema.
///
/// # Errors
///
/// Whatever else there is in the way.
pub fn when_built(
    store: &Arc<dyn Store>,
    text: &str,
    options: &EngineOptions,
) -> Result<Executor, OpenError> {
    let mut told = |what: &str| eprintln!("building {what}");
    let mut options = options.clone();
    // The last commit of another server that builds, and since when it has been the last.
    let mut seen: Option<(u64, Instant)> = None;
    loop {
        match corollary_engine::open(store.clone(), text, &options, Timestamp::now(), &mut told) {
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
            }
            opened => return opened,
        }
    }
}

/// What is wrong with budgets that name no type or derived field of a schema; whoever has a name wrong is told the nearest.
pub fn misnamed(schema: &Schema, budgets: &[OwnBudget]) -> Option<String> {
    budgets.iter().find_map(|budget| {
        let Some(ty) = schema.type_named(&budget.ty) else { return Some(no_type(schema, &budget.ty)) };
        let (ty, field) = (schema.ty(ty), budget.field.as_ref()?);
        let derived = |field: &&Field| matches!(field.kind, FieldKind::Derived { .. }) && field.visible();
        let mut names = ty.fields.iter().filter(derived).map(|field| field.name.as_str());
        if names.clone().any(|name| name == field) {
            return None;
        }
        let help = nearest(field, &mut names).map_or(String::new(), |near| format!("; did you mean {near}?"));
        Some(format!("{} has no derived field {field}{help}", ty.name))
    })
}

/// What is told of a type that there is none of.
pub fn no_type(schema: &Schema, name: &str) -> String {
    let near = nearest(name, schema.types().filter(|(_, ty)| ty.visible()).map(|(_, ty)| ty.name.as_str()));
    let help = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
    format!("the schema has no type {name}{help}")
}
