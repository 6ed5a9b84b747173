//! The limits that hold for every backend, so that data accepted by one is accepted by all.
//!
//! Past each there is a [`StoreError::TooLarge`](crate::StoreError::TooLarge) that names it, raised before anything
//! is written. Limits of one backend alone are among its options.

/// The longest key, in bytes. Keys are compared at every level of a tree, so they should be far shorter.
pub const MAX_KEY_BYTES: usize = 16 << 10;

/// The longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 256 << 20;

/// The most bytes of keys and values, conditions included, in one batch.
pub const MAX_BATCH_BYTES: usize = 1 << 30;

/// The most keyspaces of one store: each takes part in every start of the store, and in its cache of statements.
pub const MAX_KEYSPACES: usize = 128;

/// The longest name of a keyspace, in bytes.
pub const MAX_KEYSPACE_NAME_BYTES: usize = 48;
