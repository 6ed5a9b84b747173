//! The format on disk, and how it is recognised, created and extended.
//!
//! A data folder holds:
//!
//! | file | what it is |
//! |---|---|
//! | `corollary.db` | the data: a SQLite 3 database in write-ahead mode |
//! | `corollary.db-wal` | its write-ahead log; part of the data until it is carried over, never to be deleted by hand |
//! | `corollary.db-shm` | the index of the log; rebuilt when missing |
//! | `corollary.journal-N` | segments of the journal, while the store is open and after a crash; part of the data |
//! | `lock` | empty; locked exclusively by the process that has the folder open |
//!
//! The database header says whose it is: `application_id` is [`APPLICATION_ID`] (`CRLY`) and `user_version` is the
//! version of this format, now [`VERSION`]. Pages are of [`PAGE_BYTES`] bytes.
//!
//! # Tables
//!
//! One table per keyspace, `ks_` and the keyspace's name,
//! `(k BLOB NOT NULL PRIMARY KEY, v BLOB NOT NULL) STRICT, WITHOUT ROWID`, one row per entry. SQLite orders BLOBs by
//! `memcmp` and then by length, which is the order of the contract. Tables of keyspaces that are not declared are left
//! alone, so that a program which no longer declares one does not destroy it.
//!
//! And one table `state` of one row:
//!
//! | column | what it is |
//! |---|---|
//! | `id` | a random number, the seed of the checksums in this store's journal |
//! | `applied` | the sequence number of the last commit that is in the database, 0 for none |
//! | `run` | how often the store has been opened |
//! | `journal` | 1 while there is a journal that may hold more, 0 when the store has been closed |
//! | `keyspaces` | the names of the keyspaces as they were declared for this run, in order, with commas between |
//!
//! # The journal
//!
//! A segment has no header and no footer. It is a file of zeros, into which records are written one behind the other
//! from the beginning on. When the next record does not fit, it goes to the beginning of another segment. A segment
//! whose records are all in the database, durably, is written over from its beginning; what lies behind its last new
//! record then are older ones, or parts of them, with sequence numbers that are not greater than `applied`. In all
//! segments together, the records of greater numbers follow `applied` without a gap, are of the run `run`, and their
//! epochs do not fall. The numbers of the files have no meaning.
//!
//! Numbers are little-endian. A record begins at a multiple of 4096 in its file and takes whole blocks of so many bytes:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `CRLJ` |
//! | 4 | 4 | its length in blocks |
//! | 8 | 8 | its epoch: the run of the store and the use of the segment, each in 4 bytes, the run in the upper ones |
//! | 16 | 8 | its sequence number |
//! | 24 | 8 | the length of the payload in bytes |
//! | 32 | | the payload, then zeros up to the last 8 bytes of the last block |
//! | last 8 | 8 | XXH3-64 of everything before, seeded with the id of the store |
//!
//! The payload is a list of points, sorted by keyspace and key, no two of one key. A point is:
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 2 | the length of the key, and 1 for the keyspace |
//! | 2 | 4 | the length of the value; 2^32 - 1 if the key is deleted |
//! | 6 | 1 | the keyspace, as an index into the list in `state.keyspaces` of the data file |
//! | 7 | | the key, then the value |
//!
//! # Versions
//!
//! Version 1 had neither `state` nor a journal. It is brought to version 2 when it is opened.
//!
//! Invariant: a file is either recognised by its header or is not touched. Creation is one transaction, so a crash
//! leaves either an empty database, which counts as new, or a complete one. Read next: `sql`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{During, translate};
use super::{EmbeddedOptions, sql};
use crate::{KeyspaceSpec, StoreError};

/// `CRLY`, in the header of every data file.
pub const APPLICATION_ID: i32 = 0x4352_4C59;
/// The version of the format that this program writes, and the newest that it reads.
pub const VERSION: u32 = 2;
/// The version without a journal, which is brought to the newest.
const WITHOUT_JOURNAL: u32 = 1;
/// The page size of new files.
pub const PAGE_BYTES: u32 = 4096;

/// How long a connection waits for another that is in its way: only a program that does not respect the lock can be.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The data file in a data folder.
pub(super) fn data_file(folder: &Path) -> PathBuf {
    folder.join("corollary.db")
}

/// The write-ahead log in a data folder.
pub(super) fn log_file(folder: &Path) -> PathBuf {
    folder.join("corollary.db-wal")
}

/// What the names of journal segments begin with.
const SEGMENT: &str = "corollary.journal-";

/// A segment of the journal in a data folder.
pub(super) fn segment_file(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{SEGMENT}{number}"))
}

/// The segments of the journal that a data folder holds, by number.
pub(super) fn segment_files(folder: &Path) -> Result<BTreeMap<u64, PathBuf>, StoreError> {
    let list = || -> std::io::Result<_> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(SEGMENT)?.parse().ok());
            if let Some(number) = number {
                files.insert(number, entry.path());
            }
        }
        Ok(files)
    };
    list().map_err(|error| StoreError::from_io(folder, "listing the folder", &error))
}

/// Creates the data folder if it is missing, durably, and takes its lock.
pub(super) fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(folder).map_err(|error| StoreError::from_io(folder, "creating the folder", &error))?;
    for created in missing {
        sync_folder(created.parent().unwrap_or(created))?;
    }
    let path = folder.join("lock");
    if !path.exists() {
        // It is used for the first time. Who made it, or one above it, may not have waited until that was durable: an
        // operator, or a process that was killed in between. Where a folder above cannot be opened that is its owner's care.
        let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        whole.ancestors().skip(1).for_each(|above| drop(sync_folder(above)));
    }
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| StoreError::from_io(&path, "opening the lock file", &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::from_io(&path, "locking", &error)),
    }
}

/// Makes the entries of a folder durable. On systems where a folder cannot be opened its entries are durable anyway.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)
        .and_then(|open| open.sync_all())
        .map_err(|error| StoreError::from_io(folder, "making the folder durable", &error))
}

/// Opens the writing connection and brings the file into the form that this program expects: recognised or created,
/// with a table for each declared keyspace.
pub(super) fn open_writer(
    folder: &Path,
    specs: &[KeyspaceSpec],
    options: &EmbeddedOptions,
) -> Result<Connection, StoreError> {
    let file = data_file(folder);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            StoreError::Foreign { path: file.clone(), why: "it is no SQLite database".to_owned() }
        }
        _ => translate(&error, During::Open, folder, options.max_bytes),
    };
    let mut connection = Connection::open_with_flags(&file, flags).map_err(failed)?;
    // Recognise it before anything is changed, even by closing it again.
    keep_log_on_close(&connection).map_err(failed)?;
    let found = recognise(&connection, &file, failed)?;
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(failed)? {
        return Err(StoreError::Permission { path: file, why: "the file is read-only".to_owned() });
    }
    if found == Found::New {
        connection.pragma_update(None, "page_size", PAGE_BYTES).map_err(failed)?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        let feature =
            format!("write-ahead logging in {} (its file system lacks shared memory)", folder.display());
        return Err(StoreError::Unsupported { feature });
    }
    configure(&connection, options.writer_cache_bytes, options).map_err(failed)?;
    let limit = i64::try_from(options.wal_limit_bytes).unwrap_or(i64::MAX);
    connection.pragma_update_and_check(None, "journal_size_limit", limit, |_| Ok(())).map_err(failed)?;
    create_tables(&mut connection, found, specs, &file, failed)?;
    Ok(connection)
}

/// Opens a connection that only reads.
pub(super) fn open_reader(folder: &Path, options: &EmbeddedOptions) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(data_file(folder), flags)?;
    configure(&connection, options.reader_cache_bytes, options)?;
    Ok(connection)
}

/// Whether COMMIT makes a transaction durable, or leaves that to the next sync.
pub(super) fn set_durable_commits(connection: &Connection, durable: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })
}

/// The row of the table `state`.
pub(super) struct State {
    /// The seed of the journal's checksums.
    pub(super) id: u64,
    /// The last commit that is in the database.
    pub(super) applied: u64,
    /// How often the store has been opened.
    pub(super) run: u32,
    /// Whether there is a journal that may hold more.
    pub(super) journal: bool,
    /// The names of the keyspaces of the last run.
    pub(super) keyspaces: Vec<String>,
}

/// Reads the table `state`.
pub(super) fn read_state(connection: &Connection, file: &Path) -> Result<State, StoreError> {
    let read = |row: &rusqlite::Row<'_>| {
        let keyspaces: String = row.get(4)?;
        Ok(State {
            id: row.get::<_, i64>(0)?.cast_unsigned(),
            applied: row.get(1)?,
            run: row.get(2)?,
            journal: row.get(3)?,
            keyspaces: keyspaces.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        })
    };
    connection.query_row("SELECT id, applied, run, journal, keyspaces FROM state", [], read).map_err(
        |error| StoreError::Corrupt {
            path: file.to_owned(),
            why: format!("its state cannot be read: {error}"),
        },
    )
}

/// Notes durably that a run begins, with an empty journal, for keyspaces of these names.
pub(super) fn begin_run(connection: &Connection, run: u32, specs: &[KeyspaceSpec]) -> rusqlite::Result<()> {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name).collect();
    connection
        .execute("UPDATE state SET run = ?1, journal = 1, keyspaces = ?2", (run, names.join(",")))
        .map(drop)
}

/// Notes durably that everything is in the database.
pub(super) fn end_run(connection: &Connection) -> rusqlite::Result<()> {
    set_durable_commits(connection, true)?;
    connection.execute("UPDATE state SET journal = 0", []).map(drop)
}

/// The value of an integer PRAGMA.
pub(super) fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection
        .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
        .map(|value| u64::try_from(value).unwrap_or(0))
}

/// Sets what holds for every connection.
fn configure(connection: &Connection, cache_bytes: u64, options: &EmbeddedOptions) -> rusqlite::Result<()> {
    keep_log_on_close(connection)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let as_i64 = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    connection.pragma_update(None, "synchronous", "FULL")?;
    // On macOS a plain fsync leaves data in the device's cache; elsewhere these two change nothing.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // Negative: in KiB instead of pages.
    connection.pragma_update(None, "cache_size", -as_i64(cache_bytes / 1024))?;
    connection.pragma_update_and_check(None, "mmap_size", as_i64(options.mmap_bytes), |_| Ok(()))?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// Keeps SQLite from carrying the log over when the last connection is closed: it would do so even after a failed
/// sync, when the log is the only good copy.
fn keep_log_on_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// What a data file is recognised as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// Nobody's yet.
    New,
    /// A store of an older version, which lacks something.
    Older,
    /// A store of this version.
    Current,
}

/// What the file is; an error if it is neither new nor a store that this program can read.
fn recognise(
    connection: &Connection,
    file: &Path,
    failed: impl Fn(rusqlite::Error) -> StoreError,
) -> Result<Found, StoreError> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(&failed)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(&failed)?;
    if id == 0 && tables == 0 {
        return Ok(Found::New);
    }
    if id != APPLICATION_ID {
        let why = format!("its application id is {id:#010x}, not {APPLICATION_ID:#010x}");
        return Err(StoreError::Foreign { path: file.to_owned(), why });
    }
    let found = pragma(connection, "user_version").map_err(&failed)?;
    match u32::try_from(found) {
        Ok(VERSION) => Ok(Found::Current),
        Ok(WITHOUT_JOURNAL) => Ok(Found::Older),
        Ok(0) => {
            Err(StoreError::Corrupt { path: file.to_owned(), why: "it has no format version".to_owned() })
        }
        found => Err(StoreError::NewerVersion {
            path: file.to_owned(),
            found: found.unwrap_or(u32::MAX),
            supported: VERSION,
        }),
    }
}

/// Creates what is missing, in one transaction.
fn create_tables(
    connection: &mut Connection,
    found: Found,
    specs: &[KeyspaceSpec],
    file: &Path,
    failed: impl Fn(rusqlite::Error) -> StoreError,
) -> Result<(), StoreError> {
    let present = tables(connection).map_err(&failed)?;
    let mut missing = Vec::new();
    for spec in specs {
        let (name, definition) = (sql::table_name(spec.name), sql::table_definition(spec.name));
        match present.get(&name) {
            None => missing.push(definition),
            Some(found) if *found == definition => {}
            Some(found) => {
                let why = format!("table {name} is defined as `{found}`");
                return Err(StoreError::Corrupt { path: file.to_owned(), why });
            }
        }
    }
    if found != Found::Current {
        missing.push(format!("{}; INSERT INTO state VALUES (random(), 0, 0, 0, '')", sql::STATE_DEFINITION));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let create = || -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for definition in missing {
            transaction.execute_batch(&definition)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()
    };
    create().map_err(failed)
}

/// The tables of the file and their definitions.
fn tables(connection: &Connection) -> rusqlite::Result<HashMap<String, String>> {
    connection
        .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'table'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}
