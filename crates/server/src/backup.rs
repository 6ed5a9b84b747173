//! What a backup of Corollary's data is: all keyspaces as of one revision, but for what servers that share a store tell each
//! other. So it can be restored into a store of any kind. The file, and how it is read: [`corollary_store::backup`].

use std::fmt;
use std::io::{Read, Write};

use corollary_engine::{EngineError, OpenError, catalog, keys};
use corollary_store::backup::{self, BackupError, Labels, Summary, Target};
use corollary_store::{Snapshot, Store, StoreError};
use jiff::Timestamp;

/// The label of the revision.
const REVISION: &str = "revision";
/// The label of the time at which it was made.
const MADE: &str = "made";
/// The label of the program that made it.
const PROGRAM: &str = "program";
/// The label of the kind of store that it was made of.
const STORE: &str = "store";

/// Why a backup could not be made to its end.
#[derive(Debug)]
pub struct MakeError(pub String);

/// What a store has at one moment.
pub struct Moment {
    snapshot: Box<dyn Snapshot>,
    revision: u64,
    store: &'static str,
}

impl Moment {
    /// Now.
    pub fn open(store: &dyn Store) -> Result<Moment, EngineError> {
        let snapshot = store.snapshot()?;
        let revision = keys::read_revision(&*snapshot)?;
        Ok(Moment { snapshot, revision, store: store.name() })
    }

    /// The last revision that it has.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Writes all of it.
    pub fn write(&self, made: Timestamp, out: impl Write) -> Result<Summary, MakeError> {
        let labels: Labels = [
            (REVISION, self.revision.to_string()),
            (MADE, made.to_string()),
            (PROGRAM, format!("corollary {}", env!("CARGO_PKG_VERSION"))),
            (STORE, self.store.to_owned()),
        ]
        .map(|(name, text)| (name.to_owned(), text))
        .into();
        backup::write(&*self.snapshot, &keys::KEYSPACES, labels, &keys::is_of_nodes, out)
            .map_err(|error| MakeError(error.to_string()))
    }
}

/// Has a store data?
pub fn has_data(store: &dyn Store) -> Result<bool, OpenError> {
    Ok(catalog::stored_schema(store)?.is_some())
}

/// Is there a restore in it that was not finished?
pub fn is_unfinished(store: &dyn Store) -> Result<bool, StoreError> {
    backup::is_unfinished(store, (keys::META, keys::RESTORING))
}

/// Brings a backup into an empty store.
pub fn restore(
    input: impl Read,
    store: &dyn Store,
    progress: &mut dyn FnMut(&Summary),
) -> Result<Summary, BackupError> {
    let target = Target {
        store,
        specs: &keys::KEYSPACES,
        mark: (keys::META, keys::RESTORING),
        absent: (keys::META, keys::HEAD),
    };
    backup::restore(input, &target, progress)
}

/// A backup in one line, for people.
pub struct Shown<'s>(pub &'s Summary);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = |name| self.0.label(name).unwrap_or("unknown");
        let resources = self.0.keyspaces.iter().find(|keyspace| keyspace.name == keys::DOC_NAME);
        write!(
            f,
            "revision {} of {}, made at {} by {} ({} store): {} entries of {} bytes",
            label(REVISION),
            match resources.map_or(0, |keyspace| keyspace.entries) {
                1 => "1 resource".to_owned(),
                n => format!("{n} resources"),
            },
            label(MADE),
            label(PROGRAM),
            label(STORE),
            self.0.entries(),
            self.0.bytes()
        )
    }
}
