//! The store: ordered keyspaces of bytes, with atomic durable commits and consistent snapshots.
//!
//! A store holds a fixed list of [`Keyspace`]s. Each is an ordered map from byte strings to byte strings; keys
//! are ordered as byte strings are (lexicographically, a prefix before its extensions). All reading goes through
//! a [`Snapshot`], all writing through one [`Batch`] given to [`Store::commit`].
//!
//! Invariant: the crate knows keys and bytes only. What they mean is the business of the caller, and what lies
//! below (SQLite, PostgreSQL, a map in memory) shows nowhere in the contract, except in the [`Features`] that a backend
//! declares. Every backend passes the same suite, the module `conformance`.
//!
//! Made of the contract alone, and so for every backend: [`backup`].
//!
//! Where to read next: [`batch`] for what a commit means, [`error`] for what can go wrong and what a store is
//! still good for afterwards, [`memory`] for the simplest backend, [`embedded`] for the one on disk, `postgres` for the one in a database.

pub mod backup;
pub mod batch;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod embedded;
pub mod error;
pub mod features;
pub mod key;
pub mod limits;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod precommit;
pub mod range;
pub mod turn;

use std::ops::ControlFlow;
use std::sync::Arc;

pub use batch::{Batch, Condition, Write};
pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use error::StoreError;
pub use features::{Feature, Features, StoreStats, Transactions};
pub use memory::{Fault, MemoryStore, SharedMemoryStore};
#[cfg(feature = "postgres")]
pub use postgres::{PostgresOptions, PostgresStore};
pub use precommit::{Harden, Precommit};
pub use range::KeyRange;
pub use turn::Turn;

/// One of the ordered maps of a store: an index into the list of [`KeyspaceSpec`]s that it was opened with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Keyspace(pub u8);

impl Keyspace {
    /// The index as a `usize`, for tables with one row per keyspace.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A keyspace as it is declared when a store is opened.
///
/// The declared list is complete and in order: entry `i` declares `Keyspace(i)`. Names are what ties a keyspace to
/// its stored data, so the order may change between versions of a program and a name may not. A name is 1 to 48
/// characters of `a`-`z`, `0`-`9` and `_`, and starts with a letter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyspaceSpec {
    /// Its index in the declared list.
    pub keyspace: Keyspace,
    /// The name under which a durable backend stores it.
    pub name: &'static str,
}

/// The order in which a scan visits keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// From the smallest key to the largest.
    Forward,
    /// From the largest key to the smallest.
    Backward,
}

/// What a visitor is handed for each entry of a scan: the key and its value, valid during the call.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// What a visitor is handed where no values are read: the key, valid during the call.
pub type VisitKeys<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'a;

/// What a scan of several ranges calls with each entry: the position of its range, key, value.
pub type VisitMany<'a> = dyn FnMut(usize, &[u8], &[u8]) + 'a;

/// The values of the keys that were asked for, in their order: `None` where one is absent.
pub type Values = Vec<Option<Vec<u8>>>;

/// A snapshot, and the values that it shows.
pub type Looked = (Box<dyn Snapshot>, Values);

/// What a store calls when others have committed to it, for as long as whoever hung it up holds it. It is called on a thread of
/// the store's own, and has to return soon.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// An ordered, transactional store of bytes.
///
/// Every method may be called from any thread at any time. Commits are carried out one after another; snapshots
/// neither wait for them nor delay them.
pub trait Store: Send + Sync {
    /// What this backend can do beyond the contract. Constant for the life of the store.
    fn features(&self) -> &Features;

    /// A view of everything committed so far, and of nothing committed later.
    ///
    /// A snapshot may live as long as it is needed, and many may be open at once; a durable backend has to keep
    /// what a snapshot sees, so a long-lived one costs space.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// A [snapshot](Store::snapshot), and what it shows of `keys`, in their order. For whoever asks for them first in any case:
    /// a backend to which each read is a journey makes one of both.
    fn snapshot_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Looked, StoreError> {
        let snapshot = self.snapshot()?;
        let values = snapshot.get_many(keyspace, keys)?;
        Ok((snapshot, values))
    }

    /// Applies the batch: all of it, or, if this returns an error that is not [fatal](StoreError::is_fatal), none.
    ///
    /// When it returns `Ok`, the batch is visible to every later snapshot and, if the backend has
    /// [`Feature::Durable`], survives the loss of the process and of power. See [`Batch`] for what the batch means.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// The first half of a [commit](Store::commit): settles that the batch comes next. [`Store::tip`] shows it from then on, and
    /// [`Precommit::harden`], the second half, makes it durable and shows it to all. An error is as that of a commit.
    ///
    /// Until it is hardened every other commit waits, so whoever has it must not commit on the same thread. A backend to which that is of no
    /// use commits here.
    fn precommit(&self, batch: &Batch) -> Result<Precommit, StoreError> {
        self.commit(batch).map(|()| Precommit::hardened())
    }

    /// A view of everything committed so far and of what is to be [hardened](Store::precommit) next. It is for who works out what
    /// follows; nobody else may be told of what it shows before that is durable.
    fn tip(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.snapshot()
    }

    /// Waits for the turn to commit, and takes it: until it is [over](Turn) no other opening of the store commits. Those who wait
    /// get it in the order in which they began to, and a commit without it waits among them.
    ///
    /// It saves who holds it from being overtaken, and is nothing to rely on: it may be lost at any time, and nobody is told.
    /// An opening has one turn at a time; who asks for another while it has one may wait for ever.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] unless the backend has [`Feature::Turns`].
    fn turn(&self) -> Result<Turn, StoreError> {
        Err(StoreError::Unsupported { feature: Feature::Turns.name().to_owned() })
    }

    /// Waits for the [turn](Store::turn), and reads `keys`: their values as they are when it has come, in their order, which is as
    /// they stay until it is over, or lost. A backend to which each read is a journey makes one of both.
    ///
    /// # Errors
    ///
    /// As of [`Store::turn`].
    fn turn_and_get(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<(Turn, Values), StoreError> {
        let turn = self.turn()?;
        let values = self.snapshot()?.get_many(keyspace, keys)?;
        Ok((turn, values))
    }

    /// Hangs up a bell, which rings for as long as it is held and the store is open: once at first, and then whenever other openings of the
    /// store have committed, as soon as that can be seen by a snapshot.
    ///
    /// It says that there is something to look for, and never what. Several commits may be one ring, a ring may come
    /// without any, and while the way to the others is broken none come; once it is there again the bell rings. So who must
    /// not miss a commit looks by himself too, every now and then.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] unless the backend has [`Feature::Notify`].
    fn listen(&self, _bell: &Bell) -> Result<(), StoreError> {
        Err(StoreError::Unsupported { feature: Feature::Notify.name().to_owned() })
    }

    /// How much of what the store takes up ahead of putting it into its place is taken, from 0 to 1; at 1 a commit waits until
    /// there is room. For those whose work can wait, so that nobody else's has to. Cheap; a backend in which a commit never
    /// waits for earlier ones says 0.
    fn pressure(&self) -> f32 {
        0.0
    }

    /// Sizes and counts for operators. Cheap, and not a consistent snapshot.
    fn stats(&self) -> Result<StoreStats, StoreError>;

    /// The name of the backend, for messages: `memory`, `embedded`.
    fn name(&self) -> &'static str;
}

/// A consistent view of a store at one moment.
pub trait Snapshot: Send {
    /// The value of `key`, or `None` if the key is absent.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values of `keys`, in the order of `keys`: one entry for each, repeated where a key is repeated, `None`
    /// where it is absent.
    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Visits the entries of `range` in order, at most `limit` of them, until `visit` breaks.
    ///
    /// `visit` may itself read from this snapshot.
    fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;

    /// Visits the keys of `range` in order, until `visit` breaks: what [`Snapshot::scan`] does, for who needs no values.
    fn scan_keys(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        visit: &mut VisitKeys<'_>,
    ) -> Result<(), StoreError> {
        self.scan(keyspace, range, direction, usize::MAX, &mut |key, _| visit(key))
    }

    /// Visits the entries of several ranges, at most `limit` of each: range after range, each in order, with the position of
    /// the range in `ranges`. A backend to which each read is a journey makes one of them.
    fn scan_many(
        &self,
        keyspace: Keyspace,
        ranges: &[KeyRange],
        limit: usize,
        visit: &mut VisitMany<'_>,
    ) -> Result<(), StoreError> {
        for (at, range) in ranges.iter().enumerate() {
            self.scan(keyspace, range, Direction::Forward, limit, &mut |key, value| {
                visit(at, key, value);
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }
}

/// Checks a declared list of keyspaces against the rules of [`KeyspaceSpec`].
fn check_declaration(specs: &[KeyspaceSpec]) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::Declaration { why });
    if specs.is_empty() || specs.len() > limits::MAX_KEYSPACES {
        return refuse(format!("there are {} keyspaces, not 1 to {}", specs.len(), limits::MAX_KEYSPACES));
    }
    for (index, spec) in specs.iter().enumerate() {
        let name = spec.name;
        if spec.keyspace.index() != index {
            return refuse(format!("entry {index}, `{name}`, declares keyspace {}", spec.keyspace.0));
        }
        let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.len() <= limits::MAX_KEYSPACE_NAME_BYTES
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !well_formed {
            return refuse(format!(
                "`{name}` is no name: 1 to {} of a-z, 0-9 and _, starting with a letter",
                limits::MAX_KEYSPACE_NAME_BYTES
            ));
        }
        if specs[..index].iter().any(|earlier| earlier.name == name) {
            return refuse(format!("`{name}` is declared twice"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(index: u8, name: &'static str) -> KeyspaceSpec {
        KeyspaceSpec { keyspace: Keyspace(index), name }
    }

    #[test]
    fn declarations_are_checked() {
        assert!(check_declaration(&[spec(0, "a"), spec(1, "log_2")]).is_ok());
        let long = "a23456789012345678901234567890123456789012345678x";
        let wrong: [&[KeyspaceSpec]; 8] = [
            &[],
            &[spec(1, "a")],
            &[spec(0, "a"), spec(0, "b")],
            &[spec(0, "a"), spec(1, "a")],
            &[spec(0, "")],
            &[spec(0, "A")],
            &[spec(0, "_a")],
            &[spec(0, long)],
        ];
        for specs in wrong {
            assert!(matches!(check_declaration(specs), Err(StoreError::Declaration { .. })), "{specs:?}");
        }
    }
}
