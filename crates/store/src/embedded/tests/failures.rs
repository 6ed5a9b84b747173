//! Devices that are full, fail or lie.

use std::fs::File;

use super::*;
use crate::embedded::journal::Draft;

#[test]
fn a_full_device_refuses_the_commit_and_nothing_else() {
    let mut subject = OnDisk::crashing(unhurried_options());
    subject.store().commit(&put("a", "1")).unwrap();
    // Writing to it fails as to a device without space.
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let segment = subject.store().turn.lock().journal.swap_file(full.into());
    let refused = subject.store().commit(&put("b", vec![2; 10_000])).unwrap_err();
    assert!(matches!(refused, StoreError::Full { limit: None, .. }), "{refused}");
    assert_eq!(keys(subject.store()), [b"a"]);
    drop(subject.store().turn.lock().journal.swap_file(segment));
    assert_eq!(
        keys(&open(crash_image(subject.store()).path(), &EmbeddedOptions::default()).unwrap()),
        [b"a"]
    );
    subject.store().commit(&put("c", "3")).unwrap();
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()), [b"a", b"c"]);
}

#[test]
fn a_record_that_was_written_in_part_is_written_over() {
    let subject = OnDisk::fresh(unhurried_options());
    subject.store().commit(&put("a", "1")).unwrap();
    let mut draft = Draft::default();
    let batch = put("b", vec![2; 30_000]);
    draft.fill(&batch.settle().points).unwrap();
    // As a write does that fails before its end, and any part of which may come to the device.
    subject.store().turn.lock().journal.write_front(&mut draft, 2, 20_000);
    let image = crash_image(subject.store());
    assert_eq!(keys(&open(image.path(), &EmbeddedOptions::default()).unwrap()), [b"a"]);
    for (key, bytes) in [("c", 3), ("d", 40_000)] {
        subject.store().commit(&put(key, vec![3; bytes])).unwrap();
    }
    let image = crash_image(subject.store());
    assert_eq!(keys(&open(image.path(), &EmbeddedOptions::default()).unwrap()), [b"a", b"c", b"d"]);
}

#[test]
fn a_failed_sync_stops_the_store() {
    let mut subject = OnDisk::crashing(unhurried_options());
    subject.store().commit(&put("a", "1")).unwrap();
    // It can be written to and not be synced.
    let Ok(null) = File::options().write(true).open("/dev/null") else { return };
    if null.sync_data().is_ok() {
        return;
    }
    let segment = subject.store().turn.lock().journal.swap_file(null.into());
    let failed = subject.store().commit(&put("b", "2")).unwrap_err();
    assert!(failed.is_fatal() && matches!(failed, StoreError::Failed { .. }), "{failed}");
    drop(subject.store().turn.lock().journal.swap_file(segment));
    let refused = subject.store().commit(&put("c", "3")).unwrap_err();
    let StoreError::Stopped { why, .. } = &refused else { panic!("{refused}") };
    assert_eq!(*why, failed.to_string());
    assert_eq!(keys(subject.store()), [b"a"]);
    // Closing it leaves the journal alone.
    subject.crashes = false;
    assert!(!format::segment_files(subject.folder.path()).unwrap().is_empty());
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()), [b"a"]);
}

#[test]
fn a_database_that_cannot_grow_holds_commits_up_when_the_overlay_is_full() {
    let mut subject = OnDisk::crashing(EmbeddedOptions {
        overlay_bytes: 200_000,
        apply_bytes: 20_000,
        ..EmbeddedOptions::default()
    });
    let limit = |pages: u32| {
        let database = subject.store().applier.database().lock();
        let set = |_: &rusqlite::Row<'_>| Ok(());
        database.connection().pragma_update_and_check(None, "max_page_count", pages, set).unwrap();
    };
    limit(1);
    let mut stored = 0u32;
    let refused = loop {
        match subject.store().commit(&put(stored.to_be_bytes(), vec![1; 3_000])) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "it is never full");
    };
    assert!(matches!(refused, StoreError::Full { .. }), "{refused}");
    assert!(stored > 40, "{stored}");
    let expected: Vec<Vec<u8>> = (0..stored).map(|count| count.to_be_bytes().to_vec()).collect();
    assert_eq!(keys(subject.store()), expected, "all of it can be read");
    assert_eq!(
        keys(&open(crash_image(subject.store()).path(), &EmbeddedOptions::default()).unwrap()),
        expected
    );
    // When there is space again it goes on by itself.
    limit(1 << 30);
    let began = std::time::Instant::now();
    while subject.store().commit(&put("then", "")).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "it does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()).len(), stored as usize + 1);
}

#[test]
fn damage_stops_the_store() {
    for direct in [false, true] {
        let mut subject = OnDisk::fresh(EmbeddedOptions {
            writer_cache_bytes: 0,
            apply_interval: Duration::ZERO,
            ..EmbeddedOptions::default()
        });
        for count in 0..500u32 {
            subject.store().commit(&put(count.to_be_bytes(), vec![1; 500])).unwrap();
        }
        subject.store = None;
        let file = format::data_file(subject.folder.path());
        let mut bytes = fs::read(&file).unwrap();
        // All but the header and the first pages, which say where the tables are.
        let kept = 4 * format::PAGE_BYTES as usize;
        bytes[kept..].fill(0xee);
        fs::write(&file, bytes).unwrap();
        assert!(subject.reopen());
        let store = subject.store();
        let mut undamaged = Batch::new();
        undamaged.put(TWO, "in a table of one page", "which was kept");
        store.commit(&undamaged).unwrap();
        let refused = if direct {
            // A commit that meets the damage itself.
            let mut batch = Batch::new();
            batch.delete_range(ONE, KeyRange::all());
            let damaged = store.commit(&batch).unwrap_err();
            assert!(matches!(damaged, StoreError::Corrupt { .. }), "{damaged}");
            store.commit(&put("more", "x")).unwrap_err()
        } else {
            // Commits that return before the damage is met.
            let mut commits = (0..1_000_000u32).map(|count| store.commit(&put(count.to_be_bytes(), "x")));
            commits.find_map(Result::err).expect("the damage is met")
        };
        let StoreError::Stopped { why, .. } = &refused else { panic!("{refused}") };
        assert!(why.contains("is damaged"), "{why}");
        assert!(store.snapshot().is_ok());
        // What the log holds is not carried over into a file in doubt, not even when the store is closed, and the
        // journal is kept.
        // What the applier had begun when the store stopped is done.
        drop(store.applier.database().lock());
        let log_bytes = fs::metadata(format::log_file(subject.folder.path())).unwrap().len();
        assert!(log_bytes > 0);
        subject.store = None;
        assert_eq!(fs::metadata(format::log_file(subject.folder.path())).unwrap().len(), log_bytes);
        assert!(!format::segment_files(subject.folder.path()).unwrap().is_empty());
    }
}
