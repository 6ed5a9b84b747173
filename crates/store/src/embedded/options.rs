//! What can be set about an embedded store. The defaults suit a server with a few gigabytes of memory.
//!
//! Invariant: no option changes the meaning of the data, so all of them may differ from one start to the next. Read
//! next: [`EmbeddedStore::open`](super::EmbeddedStore::open).

use std::time::Duration;

/// Settings of an [`EmbeddedStore`](super::EmbeddedStore). Make one with `..EmbeddedOptions::default()`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmbeddedOptions {
    /// Bytes of pages that the writing connection keeps in memory. It is the only cache that survives commits.
    pub writer_cache_bytes: u64,
    /// Bytes of pages that each reading connection keeps in memory for the length of a snapshot. A commit empties
    /// it, so it is worth little where there are many; the operating system's cache lies behind it.
    pub reader_cache_bytes: u64,
    /// Bytes of the data file that are read through a memory map; 0 for none, and at most 2 GiB count. Saves a copy and a system call for
    /// each page that the caches do not hold, and takes address space, not memory of its own. On a device that
    /// fails to deliver a mapped page the process is killed, where without a map the read gives an error.
    /// Measured on 1M entries of 200 bytes: 500k instead of 280k gets per second, and scans a fifth slower.
    pub mmap_bytes: u64,
    /// The most bytes that the data file may grow to; `None` for as many as the device has. A batch that needs more
    /// fails with [`StoreError::Full`](crate::StoreError::Full). Rounded down to whole pages; a file that is larger
    /// already stays as it is and grows no more. The write-ahead log comes on top.
    pub max_bytes: Option<u64>,
    /// Size of the write-ahead log from which on a commit first waits for all of the log to be carried over into the
    /// data file, so that the log starts anew. The log outgrows this only while a snapshot needs it, and shrinks to
    /// this afterwards.
    pub wal_limit_bytes: u64,
    /// How long a commit waits, when the log is at its limit, for the snapshots that still read from it. Past that
    /// the commit goes on and the log grows by a quarter of its limit before the next wait.
    pub wal_limit_wait: Duration,
    /// Bytes of log written from one carrying-over in the background to the next. Less makes reading faster and
    /// forced waits shorter, more lets several changes of one page be carried over as one.
    /// Measured under random writes without pause: the longest stall is 12 ms at 4 MiB and 50 ms at 16 MiB, at about
    /// the same throughput.
    pub checkpoint_bytes: u64,
    /// Reading connections that are kept open while no snapshot uses them.
    pub read_connections: usize,
    /// The most snapshots open at once, each with a connection of its own (three open files and its cache). One more
    /// is refused with [`StoreError::TooManySnapshots`](crate::StoreError::TooManySnapshots).
    pub max_snapshots: usize,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            writer_cache_bytes: 64 << 20,
            reader_cache_bytes: 4 << 20,
            mmap_bytes: 0,
            max_bytes: None,
            wal_limit_bytes: 64 << 20,
            wal_limit_wait: Duration::from_millis(20),
            checkpoint_bytes: 4 << 20,
            read_connections: 8,
            max_snapshots: 256,
        }
    }
}
