//! What is limited: the data file, SQLite's log, the journal.

use super::*;

/// A value that differs from the one before it, because SQLite writes no page that stays the same.
fn changing(count: u32) -> Vec<u8> {
    count.to_be_bytes().repeat(750)
}

#[test]
fn a_full_store_refuses_and_goes_on() {
    let limit = 1 << 20;
    let mut subject = OnDisk::fresh(EmbeddedOptions { max_bytes: Some(limit), ..EmbeddedOptions::default() });
    let mut stored = 0u32;
    let full = loop {
        match subject.store().commit(&put(stored.to_be_bytes(), vec![1; 20_000])) {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, StoreError::Full { path: subject.folder.path().to_owned(), limit: Some(limit) });
    assert!(stored > 30, "{stored}");
    assert_eq!(keys(subject.store()).len(), stored as usize);
    assert!(subject.store().stats().unwrap().data_bytes <= limit);
    // A batch that fails half-way leaves nothing of its first half.
    let mut batch = put("first half", "small");
    batch.put(ONE, "second half", vec![2; 100_000]);
    assert!(matches!(subject.store().commit(&batch), Err(StoreError::Full { .. })));
    assert_eq!(keys(subject.store()).len(), stored as usize);
    // Deleting makes room.
    let mut batch = Batch::new();
    batch.delete_range(ONE, KeyRange::before(10u32.to_be_bytes()));
    subject.store().commit(&batch).unwrap();
    subject.store().commit(&put("again", vec![3; 100_000])).unwrap();
    let before = keys(subject.store());
    assert_eq!(before.len(), stored as usize - 10 + 1);
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()), before);
}

#[test]
fn a_store_near_its_limit_takes_what_fits() {
    // Commits that surely fit go to the journal, others to SQLite, and it must not matter which.
    let limit = 1 << 20;
    let mut subject = OnDisk::crashing(EmbeddedOptions { max_bytes: Some(limit), ..unhurried_options() });
    let mut stored = Vec::new();
    for count in 0..400u32 {
        match subject.store().commit(&put(count.to_be_bytes(), vec![1; 3_500])) {
            Ok(()) => stored.push(count.to_be_bytes().to_vec()),
            Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error}"),
        }
        if count % 50 == 0 {
            assert!(subject.reopen());
            assert_eq!(keys(subject.store()), stored);
        }
    }
    assert!((200..260).contains(&stored.len()), "{}", stored.len());
    subject.store = None;
    assert!(fs::metadata(format::data_file(subject.folder.path())).unwrap().len() <= limit);
}

#[test]
fn the_log_is_bounded_while_commits_never_pause() {
    let limit = 1 << 20;
    let subject = OnDisk::fresh(EmbeddedOptions {
        wal_limit_bytes: limit,
        checkpoint_bytes: 256 << 10,
        overlay_bytes: 256 << 10,
        apply_bytes: 128 << 10,
        segment_bytes: 64 << 10,
        ..EmbeddedOptions::default()
    });
    for count in 0..1_500u32 {
        subject.store().commit(&put((count % 200).to_be_bytes(), changing(count))).unwrap();
    }
    let stats = subject.store().stats().unwrap();
    // The log and what one layer adds to it; the journal of two layers, its last segment and four for further use.
    let journal = 2 * (256 << 10) + 5 * (64 << 10);
    assert!(stats.log_bytes < limit + (512 << 10) + journal, "{stats:?}");
    assert!(stats.checkpoints > 0, "{stats:?}");
    let files = format::segment_files(subject.folder.path()).unwrap().into_values();
    let bytes: u64 = files.map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!((64 << 10..=journal).contains(&bytes), "{bytes}");
}

#[test]
fn the_log_outgrows_its_limit_only_for_a_snapshot() {
    let limit = 256 << 10;
    // Small layers and segments, so that what is looked at is SQLite's log.
    let subject = OnDisk::fresh(EmbeddedOptions {
        wal_limit_bytes: limit,
        overlay_bytes: 32 << 10,
        apply_bytes: 16 << 10,
        segment_bytes: 16 << 10,
        ..EmbeddedOptions::default()
    });
    let write = || {
        for count in 0..300u32 {
            subject.store().commit(&put((count % 50).to_be_bytes(), changing(count))).unwrap();
        }
        subject.store().shared.overlay.drain(&|| Ok(())).unwrap();
        subject.store().stats().unwrap()
    };
    write();
    let snapshot = subject.store().snapshot().unwrap();
    let held = write();
    assert!(held.log_bytes > 4 * limit, "{held:?}");
    assert_eq!(snapshot.get_many(ONE, &[&0u32.to_be_bytes()]).unwrap(), [Some(changing(250))]);
    drop(snapshot);
    let after = write();
    assert!(after.log_bytes < 3 * limit, "{after:?}");
    assert!(after.forced_checkpoints > held.forced_checkpoints, "{after:?}");
}

#[test]
fn closing_leaves_the_one_file() {
    let mut subject = OnDisk::fresh(EmbeddedOptions::default());
    subject.store().commit(&put("a", vec![1; 10_000])).unwrap();
    let folder = subject.folder.path();
    assert!(!format::segment_files(folder).unwrap().is_empty());
    subject.store = None;
    assert_eq!(fs::metadata(format::log_file(folder)).unwrap().len(), 0);
    assert!(format::segment_files(folder).unwrap().is_empty());
    // Nothing but the one file is needed.
    let copy = tempfile::tempdir().unwrap();
    fs::copy(format::data_file(folder), format::data_file(copy.path())).unwrap();
    assert_eq!(keys(&open(copy.path(), &EmbeddedOptions::default()).unwrap()), [b"a"]);
}

#[test]
fn an_idle_store_is_applied_soon() {
    let interval = Duration::from_millis(50);
    let subject = OnDisk::fresh(EmbeddedOptions { apply_interval: interval, ..EmbeddedOptions::default() });
    subject.store().commit(&put("a", "1")).unwrap();
    let began = std::time::Instant::now();
    while subject.store().shared.overlay.layers().get(ONE, b"a").is_some() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never applied");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(began.elapsed() >= interval / 2);
    assert_eq!(keys(subject.store()), [b"a"]);
}

#[test]
fn a_batch_larger_than_every_limit_is_taken() {
    let mut subject = OnDisk::crashing(EmbeddedOptions { overlay_bytes: 20_000, ..hasty_options() });
    let mut batch = Batch::new();
    for count in 0..5_000u32 {
        batch.put(ONE, count.to_be_bytes(), vec![7; 100]);
    }
    for key in ["before", "between", "after"] {
        subject.store().commit(&put(key, "small")).unwrap();
        subject.store().commit(&batch).unwrap();
    }
    assert_eq!(keys(subject.store()).len(), 5_003);
    assert!(subject.reopen());
    assert_eq!(keys(subject.store()).len(), 5_003);
}

#[test]
fn the_space_of_what_was_deleted_is_used_again() {
    // As of a log that is trimmed: what comes takes the place of what went, and the file stays as it is.
    let mut subject = OnDisk::fresh(EmbeddedOptions::default());
    let fill = |subject: &mut OnDisk, from: u32| {
        for count in from..from + 300 {
            subject.store().commit(&put(count.to_be_bytes(), changing(count))).unwrap();
        }
        assert!(subject.reopen());
        subject.store().stats().unwrap()
    };
    let full = fill(&mut subject, 0);
    for round in 1..5 {
        let mut batch = Batch::new();
        batch.delete_range(ONE, KeyRange::before((round * 300u32).to_be_bytes()));
        subject.store().commit(&batch).unwrap();
        assert!(subject.reopen());
        let emptied = subject.store().stats().unwrap();
        assert!(
            keys(subject.store()).is_empty() && emptied.free_bytes * 10 > full.data_bytes * 9,
            "{emptied:?}"
        );
        let again = fill(&mut subject, round * 300);
        assert!(again.data_bytes * 10 <= full.data_bytes * 11, "{again:?} after {full:?}");
        assert!(again.free_bytes * 10 < full.data_bytes, "{again:?}");
    }
}

#[test]
fn the_pressure_tells_how_near_commits_are_to_waiting() {
    const COMMITS: u32 = 30;
    // Small commits count for 4 KiB.
    let overlay_bytes = u64::from(2 * COMMITS) * (4 << 10);
    let subject =
        OnDisk::fresh(EmbeddedOptions { overlay_bytes, apply_bytes: 1, ..EmbeddedOptions::default() });
    let commit = |count: u32| subject.store().commit(&put(count.to_be_bytes(), "x")).unwrap();
    assert_eq!(subject.store().pressure(), 0.0);
    let held = subject.store().applier.database().lock();
    commit(0);
    let began = std::time::Instant::now();
    while subject.store().shared.overlay.layers().frozen.get(ONE, &0u32.to_be_bytes()).is_none() {
        assert!(began.elapsed() < Duration::from_secs(20), "the applier does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    (1..=COMMITS).for_each(commit);
    let half = subject.store().pressure();
    assert!((0.45..0.55).contains(&half), "{half}");
    // Room for one more is left, and nobody has waited.
    (COMMITS + 1..2 * COMMITS).for_each(commit);
    let near = subject.store().pressure();
    assert!(near > 0.9 && near < 1.0, "{near}");
    drop(held);
    subject.store().shared.overlay.hurry();
    while subject.store().pressure() > 0.0 {
        assert!(began.elapsed() < Duration::from_secs(20), "nothing is applied");
        std::thread::sleep(Duration::from_millis(1));
    }
}
