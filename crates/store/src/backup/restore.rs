//! Bringing a backup into an empty store.
//!
//! ```text
//! nothing -> mark -> entries, batch by batch, each requires the mark -> the end was read -> no mark
//! ```
//!
//! Invariant: from the first batch to the last the mark is there, with a value that this restore alone knows. So a restore
//! that was broken off shows, the next one begins anew, and of two at once only one goes on.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;

use super::{BackupError, Reader, Summary};
use crate::{Batch, Direction, KeyRange, Keyspace, KeyspaceSpec, Store, StoreError};

/// Bytes of keys and values of one batch, about: enough to make the cost of a commit small beside that of its entries.
const BATCH_BYTES: usize = 8 << 20;

/// Where a backup is to go.
pub struct Target<'t> {
    /// The store.
    pub store: &'t dyn Store,
    /// The keyspaces that it was opened with.
    pub specs: &'t [KeyspaceSpec],
    /// A key that stands for a restore that is not finished; no backup has it.
    pub mark: (Keyspace, &'t [u8]),
    /// A key that is absent in every backup, and that whoever else begins to use the store puts.
    pub absent: (Keyspace, &'t [u8]),
}

impl Target<'_> {
    /// A batch that is refused when others have come in between.
    fn batch(&self, mark: Option<Vec<u8>>) -> Batch {
        let mut batch = Batch::new();
        batch.require(self.mark.0, self.mark.1, mark);
        batch.require(self.absent.0, self.absent.1, None);
        batch
    }

    fn commit(&self, batch: &Batch) -> Result<(), BackupError> {
        self.store.commit(batch).map_err(|error| match error {
            StoreError::Conflict { .. } => BackupError::Overtaken,
            error => error.into(),
        })
    }

    /// Takes the store for this restore: it is empty, or holds what an earlier one has left. Returns the value of the mark.
    fn claim(&self) -> Result<Vec<u8>, BackupError> {
        let snapshot = self.store.snapshot()?;
        let found = snapshot.get(self.mark.0, self.mark.1)?;
        let mut batch = self.batch(found.clone());
        for spec in self.specs {
            let mut empty = true;
            snapshot.scan(spec.keyspace, &KeyRange::all(), Direction::Forward, 1, &mut |_, _| {
                empty = false;
                std::ops::ControlFlow::Break(())
            })?;
            match (empty, &found) {
                (true, _) => {}
                (false, None) => return Err(BackupError::NotEmpty { keyspace: spec.name }),
                (false, Some(_)) => batch.delete_range(spec.keyspace, KeyRange::all()),
            }
        }
        // Each state of this kind is seeded anew.
        let mark = RandomState::new().build_hasher().finish().to_be_bytes().to_vec();
        batch.put(self.mark.0, self.mark.1, mark.clone());
        self.commit(&batch)?;
        Ok(mark)
    }

    fn keyspace(&self, name: &str) -> Result<Keyspace, BackupError> {
        let spec = self.specs.iter().find(|spec| spec.name == name);
        spec.map(|spec| spec.keyspace).ok_or_else(|| BackupError::UnknownKeyspace { name: name.to_owned() })
    }
}

/// Is there a restore in a store that was not finished?
pub fn is_unfinished(store: &dyn Store, mark: (Keyspace, &[u8])) -> Result<bool, StoreError> {
    Ok(store.snapshot()?.get(mark.0, mark.1)?.is_some())
}

/// Brings a backup into a store that is empty, or has what a restore has left that was broken off. `progress` is called
/// every now and then with what has been read.
///
/// # Errors
///
/// [`BackupError::NotEmpty`] leaves the store as it was. After any other, and after a crash, the restore is unfinished
/// ([`is_unfinished`]), and can be begun again.
pub fn restore(
    input: impl Read,
    target: &Target<'_>,
    progress: &mut dyn FnMut(&Summary),
) -> Result<Summary, BackupError> {
    let mut reader = Reader::open(input)?;
    let mark = target.claim()?;
    let mut batch = target.batch(Some(mark.clone()));
    loop {
        let more = reader.next(&mut |name, key, value| {
            batch.put(target.keyspace(name)?, key, value);
            if batch.bytes() >= BATCH_BYTES {
                target.commit(&batch)?;
                batch = target.batch(Some(mark.clone()));
            }
            Ok(())
        })?;
        progress(reader.summary());
        if !more {
            break;
        }
    }
    batch.delete(target.mark.0, target.mark.1);
    target.commit(&batch)?;
    Ok(reader.into_summary())
}
