//! What can go wrong in a store, told apart by what the caller can do about it.
//!
//! Invariant: after an error for which [`StoreError::is_fatal`] is false, nothing of the refused batch is there, now
//! or after a restart, and the store goes on. After a fatal one the batch may or may not be there after a restart,
//! and the store refuses every further commit with [`StoreError::Stopped`]; snapshots still read what was committed
//! before. The only way on is to stop the process and open the store anew: after a sync has failed, the operating
//! system may have dropped the data that it failed to write, so that a second attempt would succeed without it.
//!
//! | error | the store afterwards |
//! |---|---|
//! | `Conflict`, `TooLarge`, `UnknownKeyspace`, `TooManySnapshots`, `Unsupported` | goes on: the request was refused |
//! | `Full` | goes on: the batch is rolled back; deleting, or more space, helps |
//! | `Failed` with `fatal: false` | goes on: the batch is rolled back, a read has failed |
//! | `Failed` with `fatal: true`, `Corrupt` on commit | refuses commits |
//! | `Stopped` | refuses commits |
//! | `Declaration`, `InUse`, `Foreign`, `NewerVersion`, `Permission` | was not opened |

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Keyspace;

/// Why a store refused or failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A condition of the batch does not hold.
    #[error(
        "condition {condition} of the batch does not hold: key {} of keyspace {} has another value",
        printable(key), keyspace.0
    )]
    Conflict {
        /// The position of the condition in the batch.
        condition: usize,
        /// The keyspace that the condition is on.
        keyspace: Keyspace,
        /// The key that the condition is on.
        key: Vec<u8>,
    },

    /// A key, value or batch is past its limit.
    #[error("a {what} of {bytes} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// What is too large: `key`, `value` or `batch`.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The most it may be.
        limit: usize,
    },

    /// The keyspace is not among those that the store was opened with.
    #[error("keyspace {} was not declared when the store was opened", .keyspace.0)]
    UnknownKeyspace {
        /// The keyspace asked for.
        keyspace: Keyspace,
    },

    /// As many snapshots are open as may be.
    #[error("all {limit} snapshots that may be open at once are open")]
    TooManySnapshots {
        /// The most that may be open at once.
        limit: usize,
    },

    /// The backend, or the system that it runs on, lacks a feature.
    #[error("the store does not support {feature}")]
    Unsupported {
        /// What is missing.
        feature: String,
    },

    /// The list of keyspaces given to open the store breaks a rule.
    #[error("the declared keyspaces are not valid: {why}")]
    Declaration {
        /// Which rule, and where.
        why: String,
    },

    /// Another process, or another part of this one, has the store open.
    #[error("{} is in use by another process; stop it, or choose another place for the data", .path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },

    /// The file found where the store should be was not written by this program.
    #[error("{} is not a Corollary store: {why}; it was left as it is", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What shows it.
        why: String,
    },

    /// The store was written by a newer version of this program.
    #[error(
        "{} has format version {found}, and this program reads up to version {supported}; use a newer program",
        .path.display()
    )]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// The version of its format.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
    },

    /// The operating system does not let this process read or write the store.
    #[error("{} cannot be used: {why}; check its owner and permissions", .path.display())]
    Permission {
        /// The file or folder.
        path: PathBuf,
        /// What was denied.
        why: String,
    },

    /// There is no space left: on the device, or under the limit set for the store.
    #[error("{} is full{}; the batch was not stored", .path.display(), limit_note(*limit))]
    Full {
        /// The data folder.
        path: PathBuf,
        /// The limit in bytes that was set for the store, if one was.
        limit: Option<u64>,
    },

    /// What is stored contradicts itself: the storage lost or changed data, or another program wrote to it.
    #[error("{} is damaged: {why}; restore it from a backup", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What the backend found.
        why: String,
    },

    /// Reading or writing failed for another reason.
    #[error("{} failed: {message}{}", .path.display(), fatal_note(*fatal))]
    Failed {
        /// The file or folder.
        path: PathBuf,
        /// What the backend or the operating system said.
        message: String,
        /// Whether the store refuses commits from now on; the fate of the batch is open until it is opened anew.
        fatal: bool,
    },

    /// An earlier failure left it open what is on disk, so the store accepts no commits.
    #[error("{} accepts no commits since an earlier failure ({why}); restart the process", .path.display())]
    Stopped {
        /// The data folder.
        path: PathBuf,
        /// The earlier failure.
        why: String,
    },
}

impl StoreError {
    /// Whether the store accepts no commits from now on, so that the process should stop.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Failed { fatal, .. } => *fatal,
            Self::Corrupt { .. } | Self::Stopped { .. } => true,
            _ => false,
        }
    }

    /// The error for a failed system call on `path`.
    pub(crate) fn from_io(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.to_owned();
        let message = format!("{doing}: {error}");
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem | ErrorKind::NotADirectory => {
                Self::Permission { path, why: message }
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { path, limit: None },
            _ => Self::Failed { path, message, fatal: false },
        }
    }
}

/// A key as an operator can read it: hexadecimal, cut short.
fn printable(key: &[u8]) -> String {
    const SHOWN: usize = 32;
    let mut text = String::with_capacity(2 + 2 * SHOWN + 1);
    text.push_str("0x");
    for byte in key.iter().take(SHOWN) {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('?'));
        }
    }
    if key.len() > SHOWN {
        text.push('…');
    }
    text
}

fn limit_note(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |bytes| format!(" (its limit is {bytes} bytes)"))
}

fn fatal_note(fatal: bool) -> &'static str {
    if fatal { "; no further commits are accepted, restart the process" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_and_where() {
        let conflict = StoreError::Conflict { condition: 2, keyspace: Keyspace(1), key: vec![0, 0xab] };
        assert_eq!(
            conflict.to_string(),
            "condition 2 of the batch does not hold: key 0x00ab of keyspace 1 has another value"
        );
        let full = StoreError::Full { path: "/data".into(), limit: Some(4096) };
        assert_eq!(full.to_string(), "/data is full (its limit is 4096 bytes); the batch was not stored");
        let failed =
            StoreError::Failed { path: "/data".into(), message: "disk I/O error".into(), fatal: true };
        assert_eq!(
            failed.to_string(),
            "/data failed: disk I/O error; no further commits are accepted, restart the process"
        );
        assert!(printable(&[7; 100]).ends_with("07…"));
    }

    #[test]
    fn fatal_is_what_the_table_says() {
        let failed = |fatal| StoreError::Failed { path: PathBuf::new(), message: String::new(), fatal };
        assert!(failed(true).is_fatal());
        assert!(!failed(false).is_fatal());
        assert!(StoreError::Stopped { path: PathBuf::new(), why: String::new() }.is_fatal());
        assert!(!StoreError::Full { path: PathBuf::new(), limit: None }.is_fatal());
    }
}
