//! The cache, asked by one thread.

use std::sync::Arc;

use corollary_schema::TypeIx;
use corollary_value::{Id, Value};

use crate::cache::{Cache, CacheStats, ENTRY_BYTES, Lookup, SHARDS};
use crate::doc::{Doc, Key};

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
    cache.put(&key(1), doc(5), 5);
    assert_eq!(hit(&cache, 1, 5), Some(5));
    assert!(matches!(cache.get(&key(1), 4), Lookup::Newer));
}

#[test]
fn a_late_reader_does_not_put_an_old_document_over_a_newer_one() {
    let cache = Cache::new(1 << 20);
    cache.put(&key(1), doc(5), 5);
    cache.fill(&key(1), doc(2), 4);
    assert_eq!(hit(&cache, 1, 9), Some(5));
}

#[test]
fn a_late_reader_does_not_fill_a_gap_that_a_newer_document_left() {
    // Room for a few entries in each shard, so that the first to come is dropped soon.
    let cache = Cache::new(SHARDS * ENTRY_BYTES * 4);
    cache.put(&key(0), doc(50), 50);
    for n in 1..2000 {
        cache.put(&key(n), doc(49), 49);
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
    cache.put(&key(1), doc(5), 5);
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
    cache.put(&key(1), doc(5), 5);
    cache.put_if_known(&key(1), doc(6), 6);
    assert_eq!(hit(&cache, 1, 6), Some(6));
    cache.put_if_known(&key(2), doc(6), 6);
    assert!(matches!(cache.get(&key(2), 6), Lookup::Unknown));
    cache.fill(&key(2), doc(3), 5);
    assert!(matches!(cache.get(&key(2), 6), Lookup::Unknown), "3 is older than what was left out");
    cache.fill(&key(2), doc(6), 6);
    assert_eq!(hit(&cache, 2, 6), Some(6));
    // Somebody looked whether it was there.
    cache.fill(&key(3), None, 6);
    cache.put_if_known(&key(3), doc(7), 7);
    assert!(matches!(cache.get(&key(3), 7), Lookup::Unknown));
    cache.fill(&key(3), None, 6);
    assert!(matches!(cache.get(&key(3), 7), Lookup::Unknown), "6 is older than what was left out");
}

#[test]
fn it_stays_within_its_bytes() {
    let cache = Cache::new(1 << 16);
    for n in 0..10_000 {
        cache.put(&key(n), doc(1), 1);
    }
    let CacheStats { entries, bytes, .. } = cache.stats();
    assert!(bytes <= 1 << 16 && entries > 50, "{entries} entries of {bytes} bytes");
}

/// What it knows of a key at a revision.
fn told(lookup: Lookup) -> (bool, Option<u64>) {
    match lookup {
        Lookup::Hit(doc) => (true, doc.map(|doc| doc.revision)),
        Lookup::Newer => (true, Some(u64::MAX)),
        Lookup::Unknown => (false, None),
    }
}

#[test]
fn many_are_what_each_of_them_is() {
    let cache = Cache::new(1 << 20);
    for n in 0..300 {
        match n % 4 {
            0 => cache.put(&key(n), doc(5), 5),
            1 => cache.put(&key(n), doc(7), 7),
            2 => cache.fill(&key(n), None, 7),
            _ => {}
        }
    }
    // Some of them twice, and others that no shard has.
    let keys: Vec<Key> = (0..400).chain(0..20).map(key).collect();
    let keys: Vec<&Key> = keys.iter().collect();
    for at in [4, 6, 7] {
        let each: Vec<_> = keys.iter().map(|key| told(cache.peek(key, at))).collect();
        let mut many = vec![None; keys.len()];
        let hits = cache.stats().hits;
        cache.get_many(&keys, at, at == 6, |position, lookup| {
            assert_eq!(many[position].replace(told(lookup)), None, "each once");
        });
        assert_eq!(many, each.iter().cloned().map(Some).collect::<Vec<_>>());
        let hit = |told: &&(bool, Option<u64>)| told.0 && told.1 != Some(u64::MAX);
        assert_eq!(cache.stats().hits - hits, each.iter().filter(hit).count() as u64);
        let unknown: Vec<usize> = (0..keys.len()).filter(|position| !each[*position].0).collect();
        assert_eq!(cache.unknown(&keys), unknown);
    }
    assert!(cache.unknown(&[]).is_empty());
}

#[test]
fn who_is_used_with_many_stays_and_who_is_passed_does_not() {
    const OTHERS: u32 = 5_000;
    let stays = |uses: bool| {
        let bytes = ENTRY_BYTES + doc(1).expect("one").bytes();
        let cache = Cache::new(SHARDS * bytes * 8);
        cache.put(&key(0), doc(1), 1);
        for n in 1..OTHERS {
            cache.get_many(&[&key(0)], 1, uses, |_, _| {});
            cache.put(&key(n), doc(1), 1);
        }
        matches!(cache.peek(&key(0), 1), Lookup::Hit(_))
    };
    assert!(stays(true));
    assert!(!stays(false));
}
