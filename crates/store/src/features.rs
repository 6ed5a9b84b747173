//! What a backend declares about itself, and what it counts.
//!
//! Invariant: a feature that is not declared is refused by name ([`StoreError::Unsupported`]), never imitated.
//! Read next: [`Store`](crate::Store).

use crate::StoreError;

/// How commits of several writers to one store get on with each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transactions {
    /// Commits are carried out one by one; only a failed condition can conflict.
    Serial,
    /// Commits of other nodes run beside this one's; any commit may conflict and have to be run again.
    Optimistic,
}

impl Transactions {
    /// The name used in messages and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Optimistic => "optimistic",
        }
    }
}

/// Something that not every backend can do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Feature {
    /// Reads within one [`Snapshot`](crate::Snapshot) agree with each other.
    Snapshot,
    /// A commit that has returned survives the loss of the process and of power.
    Durable,
    /// Several processes may have the store open at once.
    Shared,
    /// Those who write take turns ([`Store::turn`](crate::Store::turn)).
    Turns,
    /// The store removes entries by itself after a time.
    Expire,
    /// The store tells one process of the commits of another ([`Store::listen`](crate::Store::listen)).
    Notify,
    /// The store can evaluate conditions on values.
    Query,
    /// A [backup](crate::backup) can be made while the store is in use: a snapshot may live as long as that takes.
    Backup,
}

impl Feature {
    /// All of them, in the order of listings.
    pub const ALL: [Self; 8] = [
        Self::Snapshot,
        Self::Durable,
        Self::Shared,
        Self::Turns,
        Self::Expire,
        Self::Notify,
        Self::Query,
        Self::Backup,
    ];

    /// The name used in messages and listings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Durable => "durable",
            Self::Shared => "shared",
            Self::Turns => "turns",
            Self::Expire => "expire",
            Self::Notify => "notify",
            Self::Query => "query",
            Self::Backup => "backup",
        }
    }
}

/// What a backend can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// How its commits get on with each other.
    pub transactions: Transactions,
    /// The rest, in the order of [`Feature::ALL`].
    pub available: &'static [Feature],
}

impl Features {
    /// Whether the backend has `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        self.available.contains(&feature)
    }

    /// An error that names `feature` unless the backend has it.
    pub fn require(&self, feature: Feature) -> Result<(), StoreError> {
        if self.has(feature) {
            Ok(())
        } else {
            Err(StoreError::Unsupported { feature: feature.name().to_owned() })
        }
    }
}

/// Sizes and counts of a store since it was opened. A backend reports zero for what it does not have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StoreStats {
    /// Bytes taken by the data.
    pub data_bytes: u64,
    /// Bytes within `data_bytes` that hold nothing and will be used again.
    pub free_bytes: u64,
    /// Bytes taken by the log that makes commits durable, beside `data_bytes`.
    pub log_bytes: u64,
    /// Batches committed. Batches without writes count.
    pub commits: u64,
    /// Batches refused because a condition did not hold.
    pub conflicts: u64,
    /// Times that the log was carried over into the data.
    pub checkpoints: u64,
    /// Those among `checkpoints` before which nothing more could be written to the log, because it had reached its limit.
    pub forced_checkpoints: u64,
    /// Snapshots open now.
    pub open_snapshots: u64,
}
