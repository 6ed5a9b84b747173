//! What can be set about an embedded store. The defaults suit a server with a few gigabytes of memory.
//!
//! Invariant: no option changes the meaning of the data, so all of them may differ from one start to the next. Read
//! next: [`EmbeddedStore::open`](super::EmbeddedStore::open).

use std::time::Duration;

/// Settings of an [`EmbeddedStore`](super::EmbeddedStore). Make one with `..EmbeddedOptions::default()`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmbeddedOptions {
    /// Bytes of pages that the writing connection keeps in memory.
    pub writer_cache_bytes: u64,
    /// Bytes of pages that each reading connection keeps in memory. What is written to the database empties it, about
    /// once in `apply_interval`; the operating system's cache lies behind it.
    pub reader_cache_bytes: u64,
    /// Bytes of the data file that are read through a memory map; 0 for none, and at most 2 GiB count. Saves a copy and a system call for
    /// each page that the caches do not hold, and takes address space, not memory of its own. On a device that
    /// fails to deliver a mapped page the process is killed, where without a map the read gives an error.
    /// Measured on 1M entries of 200 bytes: 500k instead of 280k gets per second, and scans a fifth slower.
    pub mmap_bytes: u64,
    /// The most bytes that the data file may grow to; `None` for as many as the device has. A batch that needs more
    /// fails with [`StoreError::Full`](crate::StoreError::Full). Rounded down to whole pages; a file that is larger
    /// already stays as it is and grows no more. Commits are slower near the limit, because each is then put into the
    /// database at once to see whether it fits. The journal and the write-ahead log come on top.
    pub max_bytes: Option<u64>,
    /// Bytes of the commits that may wait in memory, in each of two layers, for being put into the database: one that
    /// takes up commits and one that is being put there. A commit waits when the first is full and the second not done
    /// yet. Small commits count for 4 KiB each. A snapshot keeps the layers that it sees.
    pub overlay_bytes: u64,
    /// Bytes of commits in the first layer from which on it is put into the database, if no other is at that time.
    /// More lets more changes of one page be written as one; it also makes opening after a crash take longer.
    pub apply_bytes: u64,
    /// How long a commit waits in the first layer before that is put into the database whatever its size. Measured
    /// under random writes without pause to 1M entries, 3 s instead of 1 s and 48 MiB instead of 32 MiB save a fifth of
    /// all processor time.
    pub apply_interval: Duration,
    /// The size of the files of the journal. There are as many as hold the commits of both layers, about, and up to four
    /// more for further use. A store that has written little has smaller ones.
    pub segment_bytes: u64,
    /// Size of the write-ahead log from which on all of it must be carried over into the data file before more is put
    /// there, so that the log starts anew. The log outgrows this only by what one layer adds, or while a snapshot
    /// needs it, and shrinks to this afterwards.
    pub wal_limit_bytes: u64,
    /// How long that waits, when the log is at its limit, for the snapshots that still read from it. Past that the log
    /// grows by a quarter of its limit before the next wait.
    pub wal_limit_wait: Duration,
    /// Bytes of log written from one carrying-over to the next. Less makes reading faster, more lets several changes of
    /// one page be carried over as one.
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
            overlay_bytes: 64 << 20,
            apply_bytes: 48 << 20,
            apply_interval: Duration::from_secs(3),
            segment_bytes: 32 << 20,
            wal_limit_bytes: 64 << 20,
            wal_limit_wait: Duration::from_millis(20),
            checkpoint_bytes: 4 << 20,
            read_connections: 8,
            max_snapshots: 256,
        }
    }
}
