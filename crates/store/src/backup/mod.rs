//! Backups: everything that a snapshot of a store shows, in one file, and back into an empty store of any backend.
//!
//! Only the contract is used, so a backup of one backend can be restored into another. Invariants: what is in a file is as
//! of one snapshot; a file that is cut, changed or made by a newer program is refused; a store into which a restore was
//! not finished is never taken for a whole one, as long as who opens it asks [`is_unfinished`].
//!
//! The form of the file is described in [`format`](mod@format). Read next: [`write`](fn@write), [`verify`], [`restore`](fn@restore).

mod error;
pub mod format;
mod restore;
#[cfg(test)]
mod tests;
mod write;

pub use error::BackupError;
pub use format::Reader;
pub use restore::{Target, is_unfinished, restore};
pub use write::write;

use std::io::Read;

/// What a backup says of itself, in order: a name and a text each.
pub type Labels = Vec<(String, String)>;

/// What is in a backup.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// What it says of itself.
    pub labels: Labels,
    /// Its keyspaces.
    pub keyspaces: Vec<Contents>,
}

/// What is in a keyspace of a backup.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Contents {
    /// Its name.
    pub name: String,
    /// How many entries it has.
    pub entries: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
}

impl Summary {
    /// What it says under a name.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(of, _)| of == name).map(|(_, text)| text.as_str())
    }

    /// Entries of all keyspaces.
    pub fn entries(&self) -> u64 {
        self.keyspaces.iter().map(|keyspace| keyspace.entries).sum()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> u64 {
        self.keyspaces.iter().map(|keyspace| keyspace.bytes).sum()
    }

    /// Counts an entry of the last keyspace.
    fn count(&mut self, key: &[u8], value: &[u8]) {
        if let Some(keyspace) = self.keyspaces.last_mut() {
            keyspace.entries += 1;
            keyspace.bytes += (key.len() + value.len()) as u64;
        }
    }
}

/// Reads a backup to its end, and so finds out whether it is whole.
///
/// # Errors
///
/// Those of [`Reader`].
pub fn verify(input: impl Read) -> Result<Summary, BackupError> {
    let mut reader = Reader::open(input)?;
    while reader.next(&mut |_, _, _| Ok(()))? {}
    Ok(reader.into_summary())
}
