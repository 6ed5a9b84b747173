//! What a crash leaves, at every step: every commit that had returned, none in part, and in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::*;
use crate::embedded::steps::Step;
use crate::{Keyspace, Write};

type State = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

/// The commit of a number: puts, deletions and ranges of few keys and of many, of up to three blocks.
fn numbered(count: u32) -> Batch {
    let mut batch = points(count);
    if count % 10 == 9 {
        batch.delete_range(TWO, KeyRange::before((count - 2 * (count % 7)).to_be_bytes()));
    }
    batch
}

/// The same without ranges.
fn points(count: u32) -> Batch {
    let mut batch = put("now", count.to_be_bytes());
    batch.put(TWO, count.to_be_bytes(), count.to_be_bytes().repeat((count * 37 % 2_500) as usize));
    batch.delete(TWO, count.saturating_sub(7).to_be_bytes());
    batch.put(ONE, [count as u8 % 50], count.to_be_bytes());
    batch
}

/// The states after 0, 1, 2 and so on up to `count` such commits.
fn states(count: u32, numbered: fn(u32) -> Batch) -> Vec<State> {
    let mut states = vec![State::new()];
    for count in 1..=count {
        let mut state = states.last().unwrap().clone();
        for write in numbered(count).writes() {
            match write.clone() {
                Write::Put { keyspace, key, value } => drop(state.insert((keyspace, key), value)),
                Write::Delete { keyspace, key } => drop(state.remove(&(keyspace, key))),
                Write::DeleteRange { keyspace, range } => {
                    state.retain(|(space, key), _| *space != keyspace || !range.contains(key));
                }
            }
        }
        states.push(state);
    }
    states
}

fn state(store: &EmbeddedStore) -> State {
    let snapshot = store.snapshot().unwrap();
    let mut state = State::new();
    for keyspace in [ONE, TWO] {
        let mut visit = |key: &[u8], value: &[u8]| {
            state.insert((keyspace, key.to_vec()), value.to_vec());
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, &mut visit).unwrap();
    }
    state
}

/// How many commits a state is after, which must be one of those in `range`.
fn commits_in(states: &[State], found: &State, range: std::ops::RangeInclusive<u32>, what: &str) -> u32 {
    let now = found
        .get(&(ONE, b"now".to_vec()))
        .map_or(0, |now| u32::from_be_bytes((&now[..]).try_into().unwrap()));
    assert!(range.contains(&now), "{now} commits of {range:?} are there {what}");
    assert!(*found == states[now as usize], "half a commit is there, or too much, after {now} {what}");
    now
}

struct Image {
    step: Step,
    acknowledged: u32,
    folder: TempDir,
}

/// Takes images of a folder while numbered commits are made.
struct Camera {
    /// Held while a commit is made, so that the applier's images are taken between two of them.
    committing: Mutex<()>,
    acknowledged: AtomicU32,
    seen: AtomicU32,
    images: Mutex<Vec<Image>>,
}

impl Camera {
    fn watch(store: &EmbeddedStore) -> Arc<Self> {
        let camera = Arc::new(Self {
            committing: Mutex::new(()),
            acknowledged: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            images: Mutex::default(),
        });
        let (folder, database) = (store.folder().to_owned(), Arc::clone(store.applier.database()));
        let hook = {
            let camera = Arc::clone(&camera);
            move |step| {
                // What is not held by the thread that has come to this step. Where the other thread waits for this one,
                // there is no image.
                let wait = Duration::from_millis(20);
                if matches!(step, Step::Written | Step::Synced) {
                    if camera.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(7)
                        && let Some(_database) = database.try_lock_for(wait)
                    {
                        camera.take(step, &folder);
                    }
                } else if let Some(_committing) = camera.committing.try_lock_for(wait) {
                    camera.take(step, &folder);
                }
            }
        };
        store.shared.steps.set(Some(Arc::new(hook)));
        camera
    }

    fn take(&self, step: Step, folder: &Path) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        self.images.lock().push(Image { step, acknowledged, folder: copy_folder(folder) });
    }

    fn commit(&self, store: &EmbeddedStore, count: u32) {
        let committing = self.committing.lock();
        store.commit(&numbered(count)).unwrap();
        self.acknowledged.store(count, Ordering::SeqCst);
        parking_lot::MutexGuard::unlock_fair(committing);
    }
}

#[test]
fn every_commit_that_returned_is_there_after_a_crash_at_any_step() {
    const COMMITS: u32 = 250;
    let states = states(COMMITS, numbered);
    let mut steps = BTreeSet::new();
    // Small segments, so that they are used again and again; checkpoints rarely, or at each layer.
    for (segment_bytes, checkpoint_bytes) in [(16 << 10, 1 << 30), (64 << 10, 1), (1 << 20, 1 << 20)] {
        let subject = OnDisk::fresh(EmbeddedOptions {
            apply_bytes: 40_000,
            segment_bytes,
            checkpoint_bytes,
            ..EmbeddedOptions::default()
        });
        let camera = Camera::watch(subject.store());
        (1..=COMMITS).for_each(|count| camera.commit(subject.store(), count));
        subject.store().shared.steps.set(None);
        let mut again = BTreeSet::new();
        for image in camera.images.lock().drain(..) {
            let (step, least) = (image.step, image.acknowledged);
            let what = format!("after a crash at {step:?} with {least} commits");
            let store = open(image.folder.path(), &EmbeddedOptions::default()).unwrap();
            let found = commits_in(&states, &state(&store), least..=least + 1, &what);
            if step == Step::Synced {
                assert_eq!(found, least + 1, "a synced record is there");
            }
            // It goes on from there, and crashes again.
            for count in found + 1..=COMMITS.min(found + 3) {
                store.commit(&numbered(count)).unwrap();
            }
            let image = crash_image(&store);
            let store = open(image.path(), &EmbeddedOptions::default()).unwrap();
            let most = COMMITS.min(found + 3);
            commits_in(&states, &state(&store), most..=most, &format!("{what}, twice"));
            steps.insert(step);
            again.insert(found);
        }
        assert!(again.len() > 20, "{again:?}");
    }
    let all = [Step::Written, Step::Synced, Step::BeforeApply, Step::Applied, Step::Durable, Step::Released];
    assert_eq!(steps.into_iter().collect::<Vec<_>>(), all);
}

#[test]
fn what_sqlite_has_not_synced_may_be_lost() {
    // The log of SQLite is cut wherever it is not synced, as a loss of power may leave it.
    const COMMITS: u32 = 120;
    let states = states(COMMITS, points);
    let mut subject = OnDisk::fresh(EmbeddedOptions {
        apply_bytes: 20_000,
        segment_bytes: 32 << 10,
        checkpoint_bytes: 1 << 40,
        wal_limit_bytes: 1 << 40,
        ..EmbeddedOptions::default()
    });
    let folder = subject.folder.path().to_owned();
    let log_bytes = {
        let folder = folder.clone();
        move || fs::metadata(format::log_file(&folder)).unwrap().len()
    };
    let synced = Arc::new(AtomicU64::new(log_bytes()));
    let hook = {
        let (synced, log_bytes) = (Arc::clone(&synced), log_bytes.clone());
        move |step| {
            if step == Step::Durable {
                synced.store(log_bytes(), Ordering::SeqCst);
            }
        }
    };
    subject.store().shared.steps.set(Some(Arc::new(hook)));
    let mut cuts = 0;
    for count in 1..=COMMITS {
        subject.store().commit(&points(count)).unwrap();
        if count % 4 != 0 {
            continue;
        }
        let image = crash_image(subject.store());
        let (from, to) =
            (synced.load(Ordering::SeqCst), fs::metadata(format::log_file(image.path())).unwrap().len());
        for part in 0..=4 {
            let copy = copy_folder(image.path());
            let log = fs::File::options().write(true).open(format::log_file(copy.path())).unwrap();
            log.set_len(from + (to - from) * part / 4).unwrap();
            let store = open(copy.path(), &EmbeddedOptions::default()).unwrap();
            commits_in(&states, &state(&store), count..=count, &format!("with {part}/4 of the log"));
            cuts += usize::from(to > from);
        }
    }
    assert!(cuts > 20, "{cuts}");
    // A range deleted at once is synced before its commit returns.
    subject.store().commit(&points(9)).unwrap();
    let before = log_bytes();
    let mut batch = Batch::new();
    batch.delete_range(ONE, KeyRange::all());
    batch.put(ONE, "left", "");
    subject.store().commit(&batch).unwrap();
    assert!(log_bytes() > before, "it was deleted key by key");
    let image = crash_image(subject.store());
    assert_eq!(keys(&open(image.path(), &EmbeddedOptions::default()).unwrap()), [b"left"]);
    subject.store = None;
}

#[test]
fn a_torn_record_at_the_end_is_dropped() {
    let states = states(8, points);
    let subject = OnDisk::fresh(unhurried_options());
    (1..=8).for_each(|count| subject.store().commit(&points(count)).unwrap());
    let image = crash_image(subject.store());
    let segment = format::segment_file(image.path(), 0);
    let journal = fs::read(&segment).unwrap();
    let end = journal.len() - journal.iter().rev().take_while(|byte| **byte == 0).count();
    let mut seen = BTreeSet::new();
    for cut in (0..end).step_by(1_021).chain([end - 1, end]) {
        for garbage in [None, Some(0), Some(0xa5)] {
            let mut torn = journal[..cut].to_vec();
            torn.resize(if garbage.is_some() { journal.len() } else { cut }, garbage.unwrap_or(0));
            fs::write(&segment, torn).unwrap();
            let copy = copy_folder(image.path());
            let store = open(copy.path(), &EmbeddedOptions::default()).unwrap();
            seen.insert(commits_in(&states, &state(&store), 0..=8, &format!("cut at {cut}")));
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..=8).collect::<Vec<_>>());
}

#[test]
fn a_journal_that_lacks_something_is_damage() {
    let options = EmbeddedOptions { segment_bytes: 16 << 10, ..unhurried_options() };
    let subject = OnDisk::fresh(options);
    for count in 0..60u32 {
        subject.store().commit(&put(count.to_be_bytes(), vec![1; 1_000])).unwrap();
    }
    let image = crash_image(subject.store());
    let segments = format::segment_files(image.path()).unwrap();
    // By the sequence number of their first records.
    let first = |path: &std::path::PathBuf| {
        let sequence: [u8; 8] = fs::read(path).unwrap()[16..24].try_into().unwrap();
        (u64::from_le_bytes(sequence), path.clone())
    };
    let mut used: BTreeMap<u64, _> = segments.values().map(first).collect();
    used.remove(&0);
    assert!(used.len() > 10, "{segments:?}");
    for (sequence, path) in &used {
        let copy = copy_folder(image.path());
        fs::remove_file(copy.path().join(path.file_name().unwrap())).unwrap();
        let result = open(copy.path(), &EmbeddedOptions::default());
        if sequence == used.last_key_value().unwrap().0 {
            // As if it had never been written to.
            assert!(keys(&result.unwrap()).len() >= 56);
        } else {
            let error = result.err().unwrap();
            let StoreError::Corrupt { path, why } = &error else { panic!("{error}") };
            assert!(path.to_str().unwrap().contains("corollary.journal-"), "{error}");
            assert!(why.contains("is missing or damaged at offset"), "{error}");
        }
    }
    for path in segments.values() {
        fs::remove_file(path).unwrap();
    }
    let error = refusal(image.path());
    assert!(
        matches!(&error, StoreError::Corrupt { why, .. } if why.contains("journal is missing")),
        "{error}"
    );
}

#[test]
fn segments_of_before_that_stay_or_come_back_are_no_harm() {
    let subject = OnDisk::fresh(unhurried_options());
    subject.store().commit(&put("a", "1")).unwrap();
    let image = crash_image(subject.store());
    let old = copy_folder(image.path());
    let store = open(image.path(), &unhurried_options()).unwrap();
    store.commit(&put("b", "2")).unwrap();
    for closed in [false, true] {
        let copy = if closed {
            drop(open(crash_image(&store).path(), &EmbeddedOptions::default()).unwrap());
            crash_image(&store)
        } else {
            crash_image(&store)
        };
        fs::copy(format::segment_file(old.path(), 0), format::segment_file(copy.path(), 77)).unwrap();
        let again = open(copy.path(), &EmbeddedOptions::default()).unwrap();
        assert_eq!(keys(&again), [b"a", b"b"]);
        assert!(!format::segment_file(copy.path(), 77).exists());
    }
}

#[test]
fn the_journal_outlives_a_new_order_of_keyspaces() {
    let subject = OnDisk::fresh(unhurried_options());
    subject.store().commit(&put("a", "one")).unwrap();
    let mut batch = Batch::new();
    batch.put(TWO, "a", "two");
    subject.store().commit(&batch).unwrap();
    let names: [&[&'static str]; 3] = [&["two", "one"], &["other", "two", "one"], &["other"]];
    for names in names {
        let image = crash_image(subject.store());
        let specs: Vec<KeyspaceSpec> =
            (0..).zip(names).map(|(at, name)| KeyspaceSpec { keyspace: Keyspace(at), name }).collect();
        drop(EmbeddedStore::open(image.path(), &specs, EmbeddedOptions::default()).unwrap());
        let store = open(image.path(), &EmbeddedOptions::default()).unwrap();
        let snapshot = store.snapshot().unwrap();
        assert_eq!(snapshot.get(ONE, b"a").unwrap(), Some(b"one".to_vec()), "{names:?}");
        assert_eq!(snapshot.get(TWO, b"a").unwrap(), Some(b"two".to_vec()), "{names:?}");
    }
}
