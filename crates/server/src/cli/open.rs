//! Opens a data folder with a schema, for all commands that need one.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use corollary_engine::{EngineOptions, Executor, OpenError, catalog, keys};
use corollary_schema::{Schema, TypeIx};
use corollary_store::{EmbeddedOptions, EmbeddedStore, Store};
use corollary_syntax::{nearest, render};
use jiff::Timestamp;

use super::{Failure, Place};

/// The largest schema, in bytes.
const MAX_SCHEMA_BYTES: u64 = 4 << 20;

const EXAMPLE: &str = "\
    type Customer in customers {
      name:  str required
      orders: inverse Order.customer
      total := sum(self.orders.amount)
    }
    type Order in orders {
      amount:   int required
      customer: link Customer
    }";

/// Reads a schema file.
pub fn read_schema(file: &Path) -> Result<String, Failure> {
    let shown = file.display();
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.len() > MAX_SCHEMA_BYTES => {
            return Err(format!("{shown} has more than {MAX_SCHEMA_BYTES} bytes").into());
        }
        _ => {}
    }
    let bytes = std::fs::read(file).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{shown} is not UTF-8, at byte {at}").into()
    })
}

/// Opens the data folder; returns the text of the schema too.
pub fn open(place: &Place) -> Result<(Executor, String), Failure> {
    let folder = &place.data;
    if let Err(error) = std::fs::create_dir_all(folder) {
        return Err(format!("the data folder {} cannot be created: {error}", folder.display()).into());
    }
    let store = EmbeddedStore::open(folder, &keys::KEYSPACES, EmbeddedOptions::default())
        .map_err(|error| error.to_string())?;
    let store: Arc<dyn Store> = Arc::new(store);
    let (text, name) = match std::fs::metadata(&place.schema) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let stored = catalog::stored_schema(&*store).map_err(|error| error.to_string())?;
            let text = stored.ok_or_else(|| {
                format!(
                    "there is no schema: {} does not exist, and {} holds none. Write one, such as\n\n{EXAMPLE}\n",
                    place.schema.display(),
                    folder.display()
                )
            })?;
            (text, "the stored schema".to_string())
        }
        _ => (read_schema(&place.schema)?, place.schema.display().to_string()),
    };
    with_schema(store, &text, &name, place.cache_mb << 20).map(|executor| (executor, text))
}

/// Opens a store with the text of a schema.
pub fn with_schema(
    store: Arc<dyn Store>,
    text: &str,
    name: &str,
    cache_bytes: usize,
) -> Result<Executor, Failure> {
    let options = EngineOptions { cache_bytes };
    let mut told = |what: &str| eprintln!("building {what}");
    corollary_engine::open(store, text, &options, Timestamp::now(), &mut told).map_err(|error| match error {
        OpenError::Schema(diagnostics) => Failure { message: render(&diagnostics, name, text), code: 2 },
        OpenError::Refused(reasons) => {
            let message =
                format!("the data does not fit {name}, and nothing was changed:\n{}", reasons.join("\n"));
            Failure { message, code: 1 }
        }
        OpenError::Engine(error) => error.to_string().into(),
    })
}

/// The type with a name.
pub fn type_named(schema: &Schema, name: &str) -> Result<TypeIx, Failure> {
    schema.type_named(name).ok_or_else(|| {
        let near = nearest(name, schema.types.iter().map(|ty| ty.name.as_str()));
        let help = near.map_or(String::new(), |near| format!("; did you mean {near}?"));
        Failure { message: format!("the schema has no type {name}{help}"), code: 2 }
    })
}
