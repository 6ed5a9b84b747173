//! From errors of SQLite to errors of the store.
//!
//! Invariant: an error after which it is open what is on disk becomes a fatal one, whatever it is called. Those are
//! any error of a COMMIT but a full disk, and any failed sync. A full disk at COMMIT is harmless: the frame that
//! completes the transaction was not written, and the next commit overwrites the rest. Read next:
//! [`error`](crate::error).

use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::StoreError;

/// What was being done when SQLite reported an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum During {
    /// Opening the store.
    Open,
    /// Reading, or writing within a transaction that is rolled back.
    Work,
    /// The COMMIT of a transaction that writes.
    Commit,
    /// Carrying the log over into the data file.
    Checkpoint,
}

/// The error of the store for an error of SQLite in the data folder `folder`, where the store is limited to `limit`.
pub(super) fn translate(
    error: &rusqlite::Error,
    during: During,
    folder: &Path,
    limit: Option<u64>,
) -> StoreError {
    let path = folder.to_owned();
    let message = error.to_string();
    let (code, extended) = match error.sqlite_error() {
        Some(error) => (error.code, error.extended_code),
        None => (ErrorCode::Unknown, 0),
    };
    let failed_sync = matches!(extended, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC);
    let uncertain = failed_sync || matches!(during, During::Commit | During::Checkpoint);
    match code {
        ErrorCode::DiskFull => StoreError::Full { path, limit },
        // The index of its log is given its size when it is opened: where that fails there is no room for it.
        _ if extended == ffi::SQLITE_IOERR_SHMSIZE && during == During::Open => {
            StoreError::Full { path, limit }
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreError::Corrupt { path, why: message },
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen
            if during == During::Open =>
        {
            StoreError::Permission { path, why: message }
        }
        _ => StoreError::Failed { path, message, fatal: uncertain },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_code(extended: i32, during: During) -> StoreError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(extended), None);
        translate(&error, during, Path::new("/data"), None)
    }

    #[test]
    fn uncertain_outcomes_are_fatal() {
        for (code, during, fatal) in [
            (ffi::SQLITE_IOERR_FSYNC, During::Work, true),
            (ffi::SQLITE_IOERR_DIR_FSYNC, During::Work, true),
            (ffi::SQLITE_IOERR_FSYNC, During::Checkpoint, true),
            (ffi::SQLITE_IOERR_WRITE, During::Commit, true),
            (ffi::SQLITE_NOMEM, During::Commit, true),
            (ffi::SQLITE_CORRUPT, During::Work, true),
            (ffi::SQLITE_IOERR_READ, During::Work, false),
            (ffi::SQLITE_BUSY, During::Work, false),
            (ffi::SQLITE_FULL, During::Work, false),
            (ffi::SQLITE_FULL, During::Commit, false),
            (ffi::SQLITE_FULL, During::Checkpoint, false),
        ] {
            let error = from_code(code, during);
            assert_eq!(error.is_fatal(), fatal, "{code} during {during:?}: {error}");
        }
        assert!(matches!(from_code(ffi::SQLITE_CANTOPEN, During::Open), StoreError::Permission { .. }));
    }
}
