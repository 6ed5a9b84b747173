//! Opening: from what is in the folder to a store with an empty journal.
//!
//! ```text
//! lock -> database recognised, created or brought to this version -> journal recovered into it
//!      -> first segment made -> run noted -> old journal removed -> threads started
//! ```
//!
//! Invariant: at each moment the database and the segments that are there hold everything together, so that this can be
//! broken off anywhere and begun again. Read next: [`recover`](super::journal::recover).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::applier::{Applier, Database};
use super::checkpoint::{LogSize, Mode, checkpoint};
use super::error::{During, translate};
use super::journal::recover::{Position, recover};
use super::journal::{Draft, Journal};
use super::overlay::{Addition, Entry, Layer, Overlay};
use super::reader::{self, Readers};
use super::sql::KeyspaceSql;
use super::turn::Turn;
use super::writer::{Failure, Writer};
use super::{EmbeddedOptions, EmbeddedStore, Shared, format};
use crate::{KeyspaceSpec, StoreError, check_declaration};

impl EmbeddedStore {
    /// Opens the store in `folder`, and creates it if there is none. Tables of declared keyspaces that are missing are
    /// created too.
    pub fn open(folder: &Path, specs: &[KeyspaceSpec], options: EmbeddedOptions) -> Result<Self, StoreError> {
        check_declaration(specs)?;
        let lock = format::lock_folder(folder)?;
        let connection = format::open_writer(folder, specs, &options)?;
        let failed = |error: rusqlite::Error| translate(&error, During::Open, folder, options.max_bytes);
        let path = format::data_file(folder);
        let data_file = File::options()
            .write(true)
            .open(&path)
            .map_err(|error| StoreError::from_io(&path, "opening the data file", &error))?;
        let page_bytes = format::pragma(&connection, "page_size").map_err(failed)?.max(1);
        let max_pages = options.max_bytes.map(|bytes| bytes / page_bytes);
        let state = format::read_state(&connection, &path)?;
        let writer = Writer::new(connection, specs.len(), max_pages);
        let mut log = LogSize::new(&options, page_bytes);
        let old = format::segment_files(folder)?;
        let applied =
            Recovery { folder, options: &options, writer: &writer, log: &mut log }.run(&state, &old)?;
        let run = state.run.checked_add(1).ok_or_else(|| StoreError::Corrupt {
            path: path.clone(),
            why: format!("it has been opened {} times", state.run),
        })?;
        let first_number = old.last_key_value().map_or(0, |(number, _)| number + 1);
        let journal = Journal::create(folder, options.segment_bytes, first_number, run, state.id)?;
        format::begin_run(writer.connection(), run, specs).map_err(failed)?;
        for path in old.values() {
            // One that stays is no harm: its records are in the database.
            let _ = fs::remove_file(path);
        }
        format::sync_folder(folder)?;
        format::set_durable_commits(writer.connection(), false).map_err(failed)?;
        let free_pages = writer.free_pages().map_err(failed)?;
        let shared = Arc::new(Shared {
            readers: Readers::default(),
            overlay: Overlay::new(&options, applied, free_pages),
            sql: specs.iter().map(|spec| KeyspaceSql::new(spec.name)).collect(),
            options,
            folder: folder.to_owned(),
            commits: AtomicU64::new(0),
            stopped: OnceLock::new(),
            #[cfg(test)]
            steps: super::steps::Steps::default(),
            data_file,
            _lock: lock,
        });
        let pool = Arc::clone(journal.pool());
        let database = Database::new(&shared, &pool, writer, log)?;
        let connection = reader::open(&shared).map_err(|error| shared.translate(&error, During::Open))?;
        let turn = Mutex::new(Turn { journal, draft: Draft::default(), connection });
        let applier = Applier::start(database)?;
        Ok(Self { turn, applier, pool, shared, conflicts: AtomicU64::new(0) })
    }
}

/// What is at hand while the journal is recovered.
struct Recovery<'a> {
    folder: &'a Path,
    options: &'a EmbeddedOptions,
    writer: &'a Writer,
    log: &'a mut LogSize,
}

impl Recovery<'_> {
    /// Puts what is in the journal into the database, durably. Returns the last commit that it has then.
    fn run(mut self, state: &format::State, segments: &BTreeMap<u64, PathBuf>) -> Result<u64, StoreError> {
        let path = format::data_file(self.folder);
        if state.journal && segments.is_empty() {
            let why = "it was not closed, and its journal is missing".to_owned();
            return Err(StoreError::Corrupt { path, why });
        }
        // The journal names keyspaces as they were declared then.
        let sql: Vec<KeyspaceSql> = state.keyspaces.iter().map(|name| KeyspaceSql::new(name)).collect();
        let paths: Vec<PathBuf> = segments.values().cloned().collect();
        let position = Position { applied: state.applied, run: state.run, seed: state.id };
        let (mut layer, mut applied) = (Layer::default(), state.applied);
        recover(&paths, position, &mut |sequence, payload, mut entries| {
            let unknown = |entry: &Entry| usize::from(payload[entry.at as usize]) >= sql.len();
            if entries.iter().any(unknown) {
                let why = format!("record {sequence} of its journal has an unknown keyspace");
                return Err(StoreError::Corrupt { path: path.clone(), why });
            }
            let journal_bytes = payload.len() as u64;
            let payload = payload.into();
            layer.add(&mut Addition { payload, entries: &mut entries, journal_bytes, pages: 0 });
            applied = sequence;
            if layer.bytes() >= self.options.apply_bytes {
                self.apply(&sql, &mem::take(&mut layer), applied)?;
            }
            Ok(())
        })?;
        if !layer.is_empty() {
            self.apply(&sql, &layer, applied)?;
        }
        Ok(applied)
    }

    fn apply(&mut self, sql: &[KeyspaceSql], layer: &Layer, through: u64) -> Result<(), StoreError> {
        let failed =
            |error: &rusqlite::Error, during| translate(error, during, self.folder, self.options.max_bytes);
        let pages = self
            .writer
            .apply(sql, &layer.freeze(through))
            .map_err(|Failure(error, during)| failed(&error, during))?;
        self.log.grown_to(pages.unwrap_or(0));
        if self.log.is_due() {
            checkpoint(self.writer.connection(), Mode::Passive, self.options.wal_limit_wait)
                .map_err(|error| failed(&error, During::Checkpoint))?;
        }
        Ok(())
    }
}
