//! What can go wrong with a backup.

use std::io;

use thiserror::Error;

use crate::StoreError;

/// Why a backup could not be made, read or restored.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// The file could not be read or written.
    #[error("{0}")]
    File(#[from] io::Error),

    /// It does not begin as a backup does.
    #[error("it is no backup of Corollary")]
    Foreign,

    /// A newer program has written it.
    #[error(
        "it has format version {found}, and this program reads up to version {supported}; use a newer program"
    )]
    NewerVersion {
        /// Its version.
        found: u32,
        /// The newest that is read.
        supported: u32,
    },

    /// It ends before its end mark: it was cut, or never finished.
    #[error("it ends at byte {at}, before its end mark: it was cut or never finished")]
    Cut {
        /// Its length.
        at: u64,
    },

    /// It is not as it was written.
    #[error("it is damaged at byte {at}: {why}")]
    Damaged {
        /// Where the damaged part begins.
        at: u64,
        /// What shows it.
        why: String,
    },

    /// It has something that this program does not know where to put.
    #[error("it has a keyspace `{name}`, which this program does not know; use a newer program")]
    UnknownKeyspace {
        /// The name of the keyspace.
        name: String,
    },

    /// The store has data already.
    #[error(
        "the store is not empty: there is something in `{keyspace}`; a backup is restored into an empty store only"
    )]
    NotEmpty {
        /// A keyspace with something in it.
        keyspace: &'static str,
    },

    /// Others have written to the store since the restore began.
    #[error("another restore, or a server, has begun to write to the store; this restore has stopped")]
    Overtaken,
}

impl BackupError {
    /// The file is damaged at a place.
    pub(super) fn damaged(at: u64, why: impl Into<String>) -> Self {
        Self::Damaged { at, why: why.into() }
    }
}
