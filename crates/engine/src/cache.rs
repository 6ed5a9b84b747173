//! Decoded documents in memory, shared by the executor and all readers, bounded in bytes.
//!
//! An entry is what its resource is *now*: the executor overwrites it with each commit, after the commit is durable and
//! before it is published. So an entry with a revision of at most R, seen by a reader of R that was published before
//! the look, is the resource at R. Two rules keep it so:
//!
//! - The executor puts every document that it writes, whether or not there was an entry. Where there was none, an update
//!   leaves a gap in place of it, as if the entry had been dropped: it comes to a great many that nobody has asked for.
//! - A reader fills a gap only if no entry was dropped there since its snapshot: each shard remembers the highest
//!   revision that it dropped.
//!
//! What another node committed is forgotten instead of put, which is a gap that no older reader fills.
//!
//! Revisions are enough for that, although there are commits without one (a step of an update that changes only the rows of
//! groups, a receipt, the beginning of a repair): none of them changes a document. A document that changes, be it only in
//! what it keeps for somebody's sum, has a commit with a revision (`engine::finish`), though it does not show that as its
//! own; so of two snapshots of one revision neither has an older document than the other. `Executor::put` holds
//! commits to it in all tests.
//!
//! Read next: [`crate::base`], the only user.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use lru::LruCache;
use parking_lot::Mutex;

use crate::doc::{Doc, Key};

/// Locks that readers spread over.
const SHARDS: usize = 16;

/// What the map and the list of least recent use take for one entry, in bytes, about.
const ENTRY_BYTES: usize = 128;

/// See the module.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    entries: LruCache<Key, Entry, RandomState>,
    bytes: usize,
    limit_bytes: usize,
    /// The highest revision of an entry that was dropped to make room.
    dropped: u64,
    hits: u64,
    fills: u64,
}

/// What a cache holds, and how often it helped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Resources in it.
    pub entries: usize,
    /// The bytes that they take, about.
    pub bytes: usize,
    /// Look-ups that found what they looked for.
    pub hits: u64,
    /// Resources that were read from the store because it did not have them.
    pub fills: u64,
}

struct Entry {
    /// The commit that made it so; for a resource that is not there, one at which it was not.
    revision: u64,
    doc: Option<Arc<Doc>>,
    bytes: usize,
}

/// What the cache knows of a resource at a revision.
pub enum Lookup {
    /// It is this (or it is not there).
    Hit(Option<Arc<Doc>>),
    /// It has changed since.
    Newer,
    /// Nothing.
    Unknown,
}

impl Lookup {
    fn of(entry: Option<&Entry>, at: u64) -> Lookup {
        match entry {
            Some(entry) if entry.revision <= at => Lookup::Hit(entry.doc.clone()),
            Some(_) => Lookup::Newer,
            None => Lookup::Unknown,
        }
    }
}

impl Cache {
    /// An empty cache of at most about so many bytes.
    pub fn new(limit_bytes: usize) -> Cache {
        let shard = |_| {
            Mutex::new(Shard {
                entries: LruCache::unbounded_with_hasher(RandomState::default()),
                bytes: 0,
                limit_bytes: limit_bytes / SHARDS,
                dropped: 0,
                hits: 0,
                fills: 0,
            })
        };
        Cache { shards: (0..SHARDS).map(shard).collect(), hasher: RandomState::default() }
    }

    /// What a resource is at a published revision.
    pub fn get(&self, key: &Key, at: u64) -> Lookup {
        let mut shard = self.shard(key).lock();
        let found = Lookup::of(shard.entries.get(key), at);
        shard.hits += u64::from(matches!(found, Lookup::Hit(_)));
        found
    }

    /// The same, for who goes through everything once: what others read stays as recently used as it was.
    pub fn peek(&self, key: &Key, at: u64) -> Lookup {
        let mut shard = self.shard(key).lock();
        let found = Lookup::of(shard.entries.peek(key), at);
        shard.hits += u64::from(matches!(found, Lookup::Hit(_)));
        found
    }

    /// Puts what a commit made of a resource where there is an entry of it; where there is none, that is a gap that no older
    /// reader fills. For the executor, in the order of commits.
    pub fn put_if_known(&self, key: Key, doc: Option<Arc<Doc>>, revision: u64) {
        let mut shard = self.shard(&key).lock();
        match shard.entries.contains(&key) {
            true => shard.insert(key, doc, revision),
            false => shard.dropped = shard.dropped.max(revision),
        }
    }

    /// Puts what a commit made of a resource. For the executor, in the order of commits.
    pub fn put(&self, key: Key, doc: Option<Arc<Doc>>, revision: u64) {
        self.shard(&key).lock().insert(key, doc, revision);
    }

    /// Fills a gap with what a reader found in a snapshot of a revision.
    pub fn fill(&self, key: &Key, doc: Option<Arc<Doc>>, snapshot: u64) {
        let mut shard = self.shard(key).lock();
        shard.fills += 1;
        if snapshot >= shard.dropped && !shard.entries.contains(key) {
            let revision = doc.as_ref().map_or(snapshot, |doc| doc.revision);
            shard.insert(key.clone(), doc, revision);
        }
    }

    /// Another commit has changed a resource: the entry goes, and none from before it comes back.
    pub fn forget(&self, key: &Key, revision: u64) {
        let mut shard = self.shard(key).lock();
        shard.dropped = shard.dropped.max(revision);
        if let Some(old) = shard.entries.pop(key) {
            shard.bytes -= old.bytes;
        }
    }

    /// Other commits up to a revision have changed nobody knows what.
    pub fn forget_all(&self, revision: u64) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.dropped = shard.dropped.max(revision);
            shard.entries.clear();
            shard.bytes = 0;
        }
    }

    /// Forgets everything. Only while nobody reads: what is dropped here is not remembered.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.entries.clear();
            shard.bytes = 0;
        }
    }

    /// What it holds, and how often it helped since it was made.
    pub fn stats(&self) -> CacheStats {
        let mut all = CacheStats::default();
        for shard in &self.shards {
            let shard = shard.lock();
            all.entries += shard.entries.len();
            all.bytes += shard.bytes;
            all.hits += shard.hits;
            all.fills += shard.fills;
        }
        all
    }

    fn shard(&self, key: &Key) -> &Mutex<Shard> {
        let mut hasher = self.hasher.build_hasher();
        key.hash(&mut hasher);
        // The map in the shard takes the low bits.
        &self.shards[(std::hash::Hasher::finish(&hasher) >> 60) as usize % SHARDS]
    }
}

impl Shard {
    fn insert(&mut self, key: Key, doc: Option<Arc<Doc>>, revision: u64) {
        let bytes = ENTRY_BYTES + doc.as_ref().map_or(0, |doc| doc.bytes());
        self.bytes += bytes;
        if let Some(old) = self.entries.put(key, Entry { revision, doc, bytes }) {
            self.bytes -= old.bytes;
        }
        while self.bytes > self.limit_bytes
            && let Some((_, old)) = self.entries.pop_lru()
        {
            self.bytes -= old.bytes;
            self.dropped = self.dropped.max(old.revision);
        }
    }
}

#[cfg(test)]
mod tests {
    use corollary_schema::TypeIx;
    use corollary_value::{Id, Value};

    use super::*;

    fn key(n: u32) -> Key {
        Key::new(TypeIx(0), Id::parse(&format!("k{n}")).expect("an id"))
    }

    fn doc(revision: u64) -> Option<Arc<Doc>> {
        Some(Arc::new(Doc { revision, values: vec![Value::Int(1)], states: Vec::new() }))
    }

    fn hit(cache: &Cache, n: u32, at: u64) -> Option<u64> {
        match cache.get(&key(n), at) {
            Lookup::Hit(Some(doc)) => Some(doc.revision),
            _ => None,
        }
    }

    #[test]
    fn a_reader_of_an_older_revision_is_not_shown_a_newer_document() {
        let cache = Cache::new(1 << 20);
        cache.put(key(1), doc(5), 5);
        assert_eq!(hit(&cache, 1, 5), Some(5));
        assert!(matches!(cache.get(&key(1), 4), Lookup::Newer));
    }

    #[test]
    fn a_late_reader_does_not_put_an_old_document_over_a_newer_one() {
        let cache = Cache::new(1 << 20);
        cache.put(key(1), doc(5), 5);
        cache.fill(&key(1), doc(2), 4);
        assert_eq!(hit(&cache, 1, 9), Some(5));
    }

    #[test]
    fn a_late_reader_does_not_fill_a_gap_that_a_newer_document_left() {
        // Room for a few entries in each shard, so that the first to come is dropped soon.
        let cache = Cache::new(SHARDS * ENTRY_BYTES * 4);
        cache.put(key(0), doc(50), 50);
        for n in 1..2000 {
            cache.put(key(n), doc(49), 49);
        }
        assert!(matches!(cache.get(&key(0), 99), Lookup::Unknown), "it was dropped");
        cache.fill(&key(0), doc(2), 48);
        assert!(matches!(cache.get(&key(0), 99), Lookup::Unknown), "48 is older than what was dropped");
        cache.fill(&key(0), doc(50), 50);
        assert_eq!(hit(&cache, 0, 99), Some(50));
    }

    #[test]
    fn what_is_forgotten_is_not_filled_again_by_those_who_read_before() {
        let cache = Cache::new(1 << 20);
        cache.put(key(1), doc(5), 5);
        cache.forget(&key(1), 6);
        assert!(matches!(cache.get(&key(1), 6), Lookup::Unknown));
        cache.fill(&key(1), doc(5), 5);
        assert!(matches!(cache.get(&key(1), 6), Lookup::Unknown), "5 is older than what is forgotten");
        cache.fill(&key(1), doc(6), 6);
        assert_eq!(hit(&cache, 1, 6), Some(6));
        cache.forget_all(7);
        cache.fill(&key(1), doc(6), 6);
        assert!(matches!(cache.get(&key(1), 7), Lookup::Unknown));
        let CacheStats { entries, bytes, .. } = cache.stats();
        assert_eq!((entries, bytes), (0, 0));
    }

    #[test]
    fn what_nobody_has_asked_for_is_not_put_and_not_filled_by_those_who_read_before() {
        let cache = Cache::new(1 << 20);
        cache.put(key(1), doc(5), 5);
        cache.put_if_known(key(1), doc(6), 6);
        assert_eq!(hit(&cache, 1, 6), Some(6));
        cache.put_if_known(key(2), doc(6), 6);
        assert!(matches!(cache.get(&key(2), 6), Lookup::Unknown));
        cache.fill(&key(2), doc(3), 5);
        assert!(matches!(cache.get(&key(2), 6), Lookup::Unknown), "3 is older than what was left out");
        cache.fill(&key(2), doc(6), 6);
        assert_eq!(hit(&cache, 2, 6), Some(6));
    }

    #[test]
    fn it_stays_within_its_bytes() {
        let cache = Cache::new(1 << 16);
        for n in 0..10_000 {
            cache.put(key(n), doc(1), 1);
        }
        let CacheStats { entries, bytes, .. } = cache.stats();
        assert!(bytes <= 1 << 16 && entries > 50, "{entries} entries of {bytes} bytes");
    }
}
