//! Decoded documents in memory, shared by the executor and all readers, bounded in bytes.
//!
//! An entry is what its resource is *now*: it is overwritten with each commit, after the commit is durable and
//! before it is published. So an entry with a revision of at most R, seen by a reader of R that was published before
//! the look, is the resource at R. Two rules keep it so:
//!
//! - The executor puts every document that it writes, whether or not there was an entry. Where there was none, an update
//!   leaves a gap in place of it, as if the entry had been dropped: it comes to a great many that nobody has asked for.
//! - A reader fills a gap only if no entry was dropped there since its snapshot: each shard remembers the highest
//!   revision that it dropped.
//!
//! The executor may look with a revision that is not published yet (`Base::ahead`): what that commit changes it has
//! from elsewhere, and all else is as at the one before, which is.
//!
//! What another node committed is forgotten instead of put, which is a gap that no older reader fills.
//!
//! Revisions are enough for that, although there are commits without one (a step of an update that changes only the rows of
//! groups, a receipt, the beginning of a repair): none of them changes a document. A document that changes, be it only in
//! what it keeps for somebody's sum, has a commit with a revision (`engine::finish`), though it does not show that as its
//! own; so of two snapshots of one revision neither has an older document than the other. `Executor::put` holds
//! commits to it in all tests.
//!
//! Read next: `ring`, which finds entries and those to drop; [`crate::base`], the only user. `tests/cache.rs` has what is asked
//! of it, `tests/cache_orders.rs` tries orders of threads.

mod ring;

use std::hash::BuildHasher;
use std::hint::black_box;
use std::mem::replace;
use std::sync::Arc;

use foldhash::fast::RandomState;

use self::ring::{Place, Ring};
use super::sync::Mutex;
use crate::doc::{Doc, Key};

/// Locks that readers spread over.
pub(crate) const SHARDS: usize = 16;

/// What the ring and its map take for one entry, in bytes, about.
pub(crate) const ENTRY_BYTES: usize = 128;

/// See the module.
pub struct Cache {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

struct Shard {
    entries: Ring<Entry>,
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
    /// The bytes that they may take.
    pub limit_bytes: usize,
    /// Look-ups that found what they looked for.
    pub hits: u64,
    /// Resources that were read from the store because it did not have them.
    pub fills: u64,
}

struct Entry {
    /// The commit that made it so; for a resource that is not there, one at which it was not.
    revision: u64,
    doc: Option<Arc<Doc>>,
    /// In so many that a slot of the ring takes 64 of them.
    bytes: u32,
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
                entries: Ring::new(),
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
        let (hash, shard) = self.shard(key);
        let mut shard = shard.lock();
        let found = Lookup::of(shard.entries.get(hash, key).map(|entry| &*entry), at);
        shard.hits += u64::from(matches!(found, Lookup::Hit(_)));
        found
    }

    /// The same, for who goes through everything once: what others read stays as recently used as it was.
    pub fn peek(&self, key: &Key, at: u64) -> Lookup {
        let (hash, shard) = self.shard(key);
        let mut shard = shard.lock();
        let found = Lookup::of(shard.entries.peek(hash, key), at);
        shard.hits += u64::from(matches!(found, Lookup::Hit(_)));
        found
    }

    /// What many resources are at a published revision: tells the position of each, in any order, and what is known of it. Those
    /// who `use` them have them stay; whoever goes through everything once does not.
    pub fn get_many(&self, keys: &[&Key], at: u64, uses: bool, mut found: impl FnMut(usize, Lookup)) {
        self.look(keys, uses, |position, shard, entry| {
            let lookup = Lookup::of(entry, at);
            *shard += u64::from(matches!(lookup, Lookup::Hit(_)));
            found(position, lookup);
        });
    }

    /// The positions of the keys of which nothing is known. What is known of the others is near the processor then.
    pub fn unknown(&self, keys: &[&Key]) -> Vec<usize> {
        let mut unknown = Vec::new();
        self.look(keys, true, |position, _, entry| {
            if entry.is_none() {
                unknown.push(position);
            }
        });
        unknown.sort_unstable();
        unknown
    }

    /// Looks many keys up, those of a shard together; tells the position of each with the hits of its shard and its entry.
    fn look(&self, keys: &[&Key], uses: bool, mut found: impl FnMut(usize, &mut u64, Option<&Entry>)) {
        let hash = |(position, key): (usize, &&Key)| (self.hasher.hash_one(key), position);
        let mut wanted: Vec<(u64, usize)> = keys.iter().enumerate().map(hash).collect();
        wanted.sort_unstable_by_key(|(hash, _)| shard_of(*hash));
        for wanted in wanted.chunk_by(|one, other| shard_of(one.0) == shard_of(other.0)) {
            let mut shard = self.shards[shard_of(wanted[0].0)].lock();
            let Shard { entries, hits, .. } = &mut *shard;
            let places = entries.find_all(wanted.iter().map(|(hash, position)| (*hash, keys[*position])));
            // As in `Ring::find_all`.
            let mut glance = |place: &Place| {
                entries.at(*place, uses).and_then(|entry| entry.doc.as_deref()).map_or(0, Doc::glance)
            };
            black_box(places.iter().flatten().fold(0, |near, place| near ^ glance(place)));
            for ((_, position), place) in wanted.iter().zip(places) {
                found(*position, hits, place.and_then(|place| entries.at(place, uses)));
            }
        }
    }

    /// Puts what a commit made of a resource where there is a document of it; where there is none, that is a gap that no older
    /// reader fills. That it was not there does not count: who creates it has asked for that. For the executor, in the order
    /// of commits.
    pub fn put_if_known(&self, key: &Key, doc: Option<Arc<Doc>>, revision: u64) {
        let (hash, shard) = self.shard(key);
        let mut shard = shard.lock();
        match shard.entries.peek(hash, key).is_some_and(|entry| entry.doc.is_some()) {
            true => shard.put(hash, key, Entry::of(doc, revision)),
            false => shard.forget(hash, key, revision),
        }
    }

    /// Puts what a commit made of a resource. For the executor, in the order of commits.
    pub fn put(&self, key: &Key, doc: Option<Arc<Doc>>, revision: u64) {
        let (hash, shard) = self.shard(key);
        shard.lock().put(hash, key, Entry::of(doc, revision));
    }

    /// Fills a gap with what a reader found in a snapshot of a revision.
    pub fn fill(&self, key: &Key, doc: Option<Arc<Doc>>, snapshot: u64) {
        let (hash, shard) = self.shard(key);
        let mut shard = shard.lock();
        shard.fills += 1;
        if snapshot >= shard.dropped && shard.entries.peek(hash, key).is_none() {
            let revision = doc.as_ref().map_or(snapshot, |doc| doc.revision);
            shard.add(hash, key, Entry::of(doc, revision));
        }
    }

    /// Another commit has changed a resource: the entry goes, and none from before it comes back.
    pub fn forget(&self, key: &Key, revision: u64) {
        let (hash, shard) = self.shard(key);
        shard.lock().forget(hash, key, revision);
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
            all.limit_bytes += shard.limit_bytes;
            all.hits += shard.hits;
            all.fills += shard.fills;
        }
        all
    }

    /// The hash of a key, and where its entry is.
    fn shard(&self, key: &Key) -> (u64, &Mutex<Shard>) {
        let hash = self.hasher.hash_one(key);
        (hash, &self.shards[shard_of(hash)])
    }
}

/// The shard of a hash. The map in it takes the lowest bits and the highest.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

impl Entry {
    fn of(doc: Option<Arc<Doc>>, revision: u64) -> Entry {
        let bytes = ENTRY_BYTES + doc.as_ref().map_or(0, |doc| doc.bytes());
        Entry { revision, doc, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }
}

impl Shard {
    /// Puts an entry, in place of the one that the key has, if it has one.
    fn put(&mut self, hash: u64, key: &Key, entry: Entry) {
        let Some(there) = self.entries.get(hash, key) else { return self.add(hash, key, entry) };
        self.bytes += entry.bytes as usize;
        let old = replace(there, entry);
        self.bytes -= old.bytes as usize;
        self.make_room(0);
    }

    /// Takes an entry out, if the key has one, and remembers that it is gone.
    fn forget(&mut self, hash: u64, key: &Key, revision: u64) {
        self.dropped = self.dropped.max(revision);
        if let Some(old) = self.entries.remove(hash, key) {
            self.bytes -= old.bytes as usize;
        }
    }

    /// Adds an entry of a key that has none.
    fn add(&mut self, hash: u64, key: &Key, entry: Entry) {
        let bytes = entry.bytes as usize;
        // Before it is there, or it might be the first to go.
        self.make_room(bytes);
        self.entries.add(hash, key.clone(), entry);
        self.bytes += bytes;
        self.make_room(0);
    }

    fn make_room(&mut self, bytes: usize) {
        while self.bytes + bytes > self.limit_bytes
            && let Some(old) = self.entries.drop_one()
        {
            self.bytes -= old.bytes as usize;
            self.dropped = self.dropped.max(old.revision);
        }
    }
}
