//! Files: bytes beside the documents, held to them by commits, sweeps and checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_engine::files::{self, BlobId, CHUNK_BYTES, Received, UPLOAD_LEASE, Upload};
use corollary_engine::{Committed, Edit, Engine, EngineError, Refusal, Transaction, Write, keys};
use corollary_store::{Direction, KeyRange};
use corollary_value::Value;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::common::*;

const SCHEMA: &str = "
    type Folder in folders {
      docs:  collection Doc
      bytes := sum(self.docs.scan.size)
      kinds := distinct(self.docs.scan.type)
      large := count(self.docs[scan.size > 300000])
      cover: file required
    }
    type Doc { title: str, scan: file, copy := self.scan.digest, owner: link Folder on delete cascade }
    type Kept in kepts history { scan: file }";

/// Ids of blobs, one after the other.
fn blob(number: u64) -> BlobId {
    BlobId(u128::from(number).to_be_bytes())
}

fn content(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}

/// Has bytes in the store, which nobody has yet.
fn receive(engine: &Engine, number: u64, bytes: &[u8], now: Timestamp) -> Received {
    let mut upload = Upload::new(engine.store().clone(), blob(number));
    // In parts that are no chunks.
    bytes.chunks(100_000).for_each(|part| upload.push(part, now).unwrap());
    upload.finish("text/plain".into(), None, now).unwrap()
}

fn put(db: &Db, ty: &str, id: &str, field: &str, received: Received) -> Write {
    let slot = slot(db, ty, field);
    Write::Update(key(db, ty, id), vec![(slot, Edit::File(Arc::new(received)))])
}

fn clear(db: &Db, ty: &str, id: &str, field: &str) -> Write {
    Write::Update(key(db, ty, id), vec![(slot(db, ty, field), Edit::Set(Value::Absent))])
}

fn try_commit_at(db: &Db, writes: Vec<Write>, now: Timestamp) -> Result<Committed, EngineError> {
    db.commit(&[Transaction { writes }], now).unwrap().remove(0)
}

fn commit_at(db: &Db, writes: Vec<Write>, now: Timestamp) {
    try_commit_at(db, writes, now).unwrap();
}

fn refusal(db: &Db, writes: Vec<Write>) -> Refusal {
    refused(db, writes).remove(0)
}

/// The bytes of a file as a reader gets them.
fn bytes(db: &Db, ty: &str, id: &str, field: &str) -> Option<Vec<u8>> {
    let (key, slot) = (key(db, ty, id), slot(db, ty, field));
    let engine = db.engine();
    let entry = engine.read(engine.time(), |working| {
        let Some(doc) = working.after(&key)? else { return Ok(None) };
        if doc.get(slot).is_null() {
            return Ok(None);
        }
        Ok(Some(files::bytes_of(working, &key, slot, doc.get(slot))?.expect("a file has bytes")))
    });
    let entry = entry.unwrap()?;
    let snapshot = engine.store().snapshot().unwrap();
    let chunks = files::read_chunks(&*snapshot, entry.blob, 0, entry.chunks()).unwrap();
    assert!(chunks.iter().rev().skip(1).all(|chunk| chunk.len() == CHUNK_BYTES));
    Some(chunks.concat())
}

/// How many rows a keyspace has.
fn rows(engine: &Engine, keyspace: corollary_store::Keyspace) -> usize {
    let mut rows = 0;
    let snapshot = engine.store().snapshot().unwrap();
    let visit = &mut |_: &[u8], _: &[u8]| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    };
    snapshot.scan(keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, visit).unwrap();
    rows
}

fn after(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn faults(db: &Db) -> Vec<String> {
    let engine = db.engine();
    let found = engine.alone(1 << 20, files::check).unwrap();
    found.into_iter().map(|fault| fault.message).collect()
}

fn with_doc() -> Db {
    let db = fresh(SCHEMA);
    commit(&db, vec![create(&db, "Folder", "f", &[])]);
    let parent = [("parent_folder_docs", reference("f")), ("title", Value::Str("one".into()))];
    commit(&db, vec![create(&db, "Doc", "d", &parent)]);
    db
}

#[test]
fn bytes_become_a_file_with_the_commit_that_names_them_and_what_follows_follows() {
    let db = with_doc();
    let whole = content(CHUNK_BYTES * 5 + 17, 3);
    let received = receive(&db.engine(), 1, &whole, NOW);
    assert_eq!(bytes(&db, "Doc", "d", "scan"), None);
    commit(&db, vec![put(&db, "Doc", "d", "scan", received.clone())]);
    assert_eq!(bytes(&db, "Doc", "d", "scan"), Some(whole.clone()));
    assert_eq!(get(&db, "Folder", "f", "bytes"), Value::Int(whole.len() as i64));
    assert_eq!(get(&db, "Folder", "f", "large"), Value::Int(1));
    assert_eq!(get(&db, "Doc", "d", "copy"), Value::Str(files::digest_text(&received.digest).into()));
    assert_eq!(db.engine().stored_files().unwrap(), files::Stored { files: 1, bytes: whole.len() as u64 });
    agree(&db);
}

#[test]
fn an_empty_file_and_one_of_whole_chunks_are_files() {
    let db = with_doc();
    for (at, length) in [0, 1, CHUNK_BYTES, CHUNK_BYTES * 4, CHUNK_BYTES * 8].into_iter().enumerate() {
        let whole = content(length, 9);
        let received = receive(&db.engine(), at as u64, &whole, NOW);
        commit(&db, vec![put(&db, "Doc", "d", "scan", received)]);
        assert_eq!(bytes(&db, "Doc", "d", "scan"), Some(whole));
        agree(&db);
    }
}

#[test]
fn a_file_that_nobody_sent_is_refused() {
    let db = with_doc();
    let received = receive(&db.engine(), 1, b"abc", NOW);
    let set = Edit::Set(received.value());
    let written = vec![Write::Update(key(&db, "Doc", "d"), vec![(slot(&db, "Doc", "scan"), set)])];
    assert_eq!(refusal(&db, written).code, "file");
    let given = [("parent_folder_docs", reference("f")), ("scan", received.value())];
    assert_eq!(refusal(&db, vec![create(&db, "Doc", "e", &given)]).code, "file");
    commit(&db, vec![put(&db, "Doc", "d", "scan", received.clone())]);
    let renamed = Edit::Merge(vec![("name".into(), Edit::Set(Value::Str("x".into())))]);
    let written = vec![Write::Update(key(&db, "Doc", "d"), vec![(slot(&db, "Doc", "scan"), renamed)])];
    assert_eq!(refusal(&db, written).code, "file");
    // It is used up: the same bytes are no second file.
    let again = Received { media_type: "image/png".into(), ..received };
    assert_eq!(refusal(&db, vec![put(&db, "Doc", "d", "scan", again)]).code, "upload-expired");
    assert_eq!(bytes(&db, "Doc", "d", "scan"), Some(b"abc".to_vec()));
    agree(&db);
}

#[test]
fn a_required_file_may_come_later_and_stays_then() {
    let db = with_doc();
    assert_eq!(get(&db, "Folder", "f", "cover"), Value::Absent);
    let received = receive(&db.engine(), 1, b"abc", NOW);
    commit(&db, vec![put(&db, "Folder", "f", "cover", received)]);
    assert_eq!(refusal(&db, vec![clear(&db, "Folder", "f", "cover")]).code, "required");
    // Another one may take its place, and all other facts may be replaced without it.
    let received = receive(&db.engine(), 2, b"abcd", NOW);
    commit(&db, vec![put(&db, "Folder", "f", "cover", received)]);
    commit(&db, vec![Write::Replace(key(&db, "Folder", "f"), vec![])]);
    assert_eq!(bytes(&db, "Folder", "f", "cover"), Some(b"abcd".to_vec()));
    agree(&db);
}

#[test]
fn what_is_replaced_taken_away_or_deleted_goes_when_the_log_does_not_tell_of_it_any_more() {
    let db = with_doc();
    let big = content(CHUNK_BYTES * 2, 1);
    for (number, bytes) in [(1, &big[..]), (2, b"second"), (3, b"third")] {
        let received = receive(&db.engine(), number, bytes, NOW);
        commit_at(&db, vec![put(&db, "Doc", "d", "scan", received)], after(number as i64));
    }
    commit_at(&db, vec![clear(&db, "Doc", "d", "scan")], after(10));
    let received = receive(&db.engine(), 4, b"fourth", NOW);
    commit_at(&db, vec![put(&db, "Doc", "d", "scan", received)], after(11));
    // The child goes with its parent, its file with it.
    commit_at(&db, vec![Write::Delete(key(&db, "Folder", "f"))], after(20));
    assert_eq!(rows(&db.engine(), keys::BLOB), 5);
    assert_eq!(faults(&db), Vec::<String>::new());
    let late = after(100_000);
    let sweep = |before| db.change(|executor| executor.sweep_files(late, before, 100).unwrap());
    assert_eq!(sweep(after(2)), 0);
    assert_eq!(sweep(after(3)), 1);
    assert_eq!(rows(&db.engine(), keys::BLOB), 3);
    assert_eq!(faults(&db), Vec::<String>::new());
    assert_eq!(sweep(after(20)), 2);
    assert_eq!(sweep(after(21)), 1);
    assert_eq!((rows(&db.engine(), keys::BLOB), rows(&db.engine(), keys::FILE)), (0, 0));
    assert_eq!(db.engine().stored_files().unwrap(), files::Stored::default());
    agree(&db);
}

#[test]
fn what_has_just_ended_stays_for_those_who_read_it_however_short_the_log() {
    let db = with_doc();
    let received = receive(&db.engine(), 1, b"abc", NOW);
    commit(&db, vec![put(&db, "Doc", "d", "scan", received)]);
    commit_at(&db, vec![clear(&db, "Doc", "d", "scan")], after(10));
    let sweep = |now| db.change(|executor| executor.sweep_files(now, now, 100).unwrap());
    assert_eq!(sweep(after(20)), 0);
    assert_eq!(sweep(after(11) + UPLOAD_LEASE), 1);
}

#[test]
fn a_history_keeps_the_files_of_its_versions_until_the_field_goes() {
    let store = memory();
    let db = opened(&store, SCHEMA);
    commit(&db, vec![create(&db, "Kept", "k", &[])]);
    for (number, bytes) in [(1, b"one"), (2, b"two")] {
        let received = receive(&db.engine(), number, bytes, NOW);
        commit_at(&db, vec![put(&db, "Kept", "k", "scan", received)], after(number as i64));
    }
    commit_at(&db, vec![clear(&db, "Kept", "k", "scan")], after(3));
    let late = after(100_000);
    assert_eq!(db.change(|executor| executor.sweep_files(late, late, 100).unwrap()), 0);
    assert_eq!(rows(&db.engine(), keys::BLOB), 2);
    assert_eq!(faults(&db), Vec::<String>::new());
    drop(db);
    let db = opened(&store, &SCHEMA.replace("history { scan: file }", "history { other: str }"));
    assert_eq!(db.change(|executor| executor.sweep_files(late, late, 100).unwrap()), 2);
    assert_eq!((rows(&db.engine(), keys::BLOB), rows(&db.engine(), keys::FILE)), (0, 0));
}

#[test]
fn an_upload_that_nobody_goes_on_with_is_swept_and_one_that_goes_on_is_not() {
    let db = with_doc();
    let engine = db.engine();
    let mut upload = Upload::new(engine.store().clone(), blob(1));
    upload.push(&content(Upload::BUFFER_BYTES, 1), NOW).unwrap();
    assert_eq!(rows(&engine, keys::BLOB), 4);
    let sweep = |now| db.change(|executor| executor.sweep_files(now, Timestamp::MIN, 100).unwrap());
    let lease = NOW + UPLOAD_LEASE;
    assert_eq!(sweep(lease - SignedDuration::from_secs(1)), 0);
    upload.push(&content(Upload::BUFFER_BYTES, 2), after(60)).unwrap();
    assert_eq!(sweep(lease), 0);
    assert_eq!(faults(&db), Vec::<String>::new());
    assert_eq!(sweep(lease + SignedDuration::from_secs(60)), 1);
    assert_eq!((rows(&engine, keys::BLOB), rows(&engine, keys::FILE)), (0, 0));
    let error = upload.push(&content(Upload::BUFFER_BYTES, 3), after(99)).unwrap_err();
    assert!(error.to_string().contains("rested for too long"), "{error}");
    assert_eq!(rows(&engine, keys::BLOB), 0);
    // So is what came as a whole and waits for its commit.
    let received = receive(&engine, 2, b"abc", NOW);
    assert_eq!(sweep(lease), 1);
    assert_eq!(refusal(&db, vec![put(&db, "Doc", "d", "scan", received)]).code, "upload-expired");
}

#[test]
fn a_start_drops_the_uploads_that_the_last_run_left() {
    let db = with_doc();
    let received = receive(&db.engine(), 1, b"abc", NOW);
    commit(&db, vec![put(&db, "Doc", "d", "scan", received)]);
    receive(&db.engine(), 2, &content(CHUNK_BYTES * 3, 1), NOW);
    db.change(|executor| executor.drop_uploads().unwrap());
    assert_eq!(rows(&db.engine(), keys::BLOB), 1);
    assert_eq!(faults(&db), Vec::<String>::new());
}

#[test]
fn an_upload_that_is_given_up_leaves_nothing() {
    let db = with_doc();
    let engine = db.engine();
    let mut upload = Upload::new(engine.store().clone(), blob(1));
    upload.push(&content(Upload::BUFFER_BYTES + 5, 1), NOW).unwrap();
    upload.discard().unwrap();
    assert_eq!((rows(&engine, keys::BLOB), rows(&engine, keys::FILE)), (0, 0));
}

#[test]
fn what_a_field_was_is_found_by_its_value_of_then() {
    let db = with_doc();
    let (first, second) = (receive(&db.engine(), 1, b"one", NOW), receive(&db.engine(), 2, b"two", NOW));
    commit(&db, vec![put(&db, "Doc", "d", "scan", first.clone())]);
    commit(&db, vec![put(&db, "Doc", "d", "scan", second)]);
    let (at, slot) = (key(&db, "Doc", "d"), slot(&db, "Doc", "scan"));
    let found = db.engine().read(NOW, |working| files::bytes_of(working, &at, slot, &first.value())).unwrap();
    assert_eq!(found.map(|entry| entry.blob), Some(blob(1)));
}

#[test]
fn a_schema_that_would_lose_files_is_refused() {
    let store = memory();
    let db = opened(&store, SCHEMA);
    commit(&db, vec![create(&db, "Folder", "f", &[])]);
    let received = receive(&db.engine(), 1, b"abc", NOW);
    commit(&db, vec![put(&db, "Folder", "f", "cover", received)]);
    drop(db);
    for other in ["", "cover: json", "cover: { type: str, size: int, digest: str, name: str }"] {
        assert!(try_open(&store, &SCHEMA.replace("cover: file required", other)).is_err(), "{other}");
    }
    // Others may be larger, and of other types, from now on.
    let db =
        opened(&store, &SCHEMA.replace("cover: file required", "cover: file max '1 KiB' accept 'image/*'"));
    assert_eq!(bytes(&db, "Folder", "f", "cover"), Some(b"abc".to_vec()));
}

#[test]
fn a_check_finds_what_is_missing_and_what_is_left_over_and_mends_the_second() {
    let broken = |change: &dyn Fn(&mut corollary_store::Batch)| {
        let db = with_doc();
        let received = receive(&db.engine(), 1, &content(CHUNK_BYTES + 1, 1), NOW);
        commit(&db, vec![put(&db, "Doc", "d", "scan", received)]);
        assert_eq!(faults(&db), Vec::<String>::new());
        let mut batch = corollary_store::Batch::new();
        change(&mut batch);
        db.engine().store().commit(&batch).unwrap();
        db
    };
    let mended = |db: &Db| {
        let found = db.engine().alone(1 << 20, files::check).unwrap();
        assert!(!found.is_empty(), "nothing was found");
        db.change(|executor| files::mend(executor, &found)).unwrap();
        faults(db).is_empty()
    };
    let db = broken(&|batch| batch.delete(keys::BLOB, keys::chunk(blob(1), 1)));
    assert_eq!(faults(&db), ["scan of Doc d lacks a part of its bytes"]);
    assert!(!mended(&db));
    let db = broken(&|batch| batch.put(keys::BLOB, keys::chunk(blob(1), 1), [7]));
    assert_eq!(faults(&db), ["scan of Doc d has other bytes than it tells of"]);
    assert!(!mended(&db));
    let db = broken(&|batch| batch.put(keys::BLOB, keys::chunk(blob(1), 9), [7]));
    assert!(mended(&db));
    assert_eq!(bytes(&db, "Doc", "d", "scan"), Some(content(CHUNK_BYTES + 1, 1)));
    let db = broken(&|batch| batch.put(keys::BLOB, keys::chunk(blob(5), 0), [7]));
    assert!(mended(&db));
    let db = broken(&|batch| batch.put(keys::META, keys::FILES, [0; 16]));
    assert!(mended(&db));
    let db = broken(&|batch| batch.put(keys::FILE, keys::file_end(after(5), blob(1)), end_of(&db_doc_row())));
    assert!(mended(&db));
}

/// The row of the owner of the scan of `d`.
fn db_doc_row() -> Vec<u8> {
    let db = with_doc();
    let at = corollary_schema::FieldRef { ty: key(&db, "Doc", "d").ty, slot: slot(&db, "Doc", "scan") };
    let field = db.engine().schema().field(at).id;
    let mut row = field.0.to_be_bytes().to_vec();
    key(&db, "Doc", "d").id.push_key(&mut row);
    row
}

/// The row of an end, of a file of five bytes.
fn end_of(owner: &[u8]) -> Vec<u8> {
    [&[5], owner].concat()
}

/// What a client may do to the files of three resources.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, usize, u8),
    Clear(u8),
    Delete(u8),
    Create(u8),
    /// Bytes that no commit follows.
    Leave(usize),
    Sweep,
    Together(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![Just(0), 1usize..5_000, Just(CHUNK_BYTES), Just(CHUNK_BYTES + 1)];
    let step = prop_oneof![
        4 => (0u8..3, length.clone(), 0u8..3).prop_map(|(at, length, seed)| Step::Put(at, length, seed)),
        1 => (0u8..3).prop_map(Step::Clear),
        1 => (0u8..3).prop_map(Step::Delete),
        2 => (0u8..3).prop_map(Step::Create),
        1 => length.prop_map(Step::Leave),
        1 => Just(Step::Sweep),
        1 => (0u8..3, 0u8..3).prop_map(|(one, other)| Step::Together(one, other)),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A map from resources to bytes knows what each file is; the check knows that nothing else is kept.
    #[test]
    fn any_history_of_files_leaves_those_that_are_there(steps in steps()) {
        let db = with_doc();
        let mut model: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::from([("d".into(), None)]);
        let id = |at: u8| ["d", "e", "g"][at as usize].to_string();
        for (at, step) in steps.into_iter().enumerate() {
            let (now, number) = (after(at as i64 * 1_000), at as u64 * 2 + 10);
            match step {
                Step::Put(who, length, seed) => {
                    let bytes = content(length, seed);
                    let received = receive(&db.engine(), number, &bytes, now);
                    let done = try_commit_at(&db, vec![put(&db, "Doc", &id(who), "scan", received)], now);
                    prop_assert_eq!(done.is_ok(), model.contains_key(&id(who)));
                    if done.is_ok() {
                        model.insert(id(who), Some(bytes));
                    }
                }
                Step::Clear(who) => {
                    if try_commit_at(&db, vec![clear(&db, "Doc", &id(who), "scan")], now).is_ok() {
                        model.insert(id(who), None);
                    }
                }
                Step::Delete(who) => {
                    if try_commit_at(&db, vec![Write::Delete(key(&db, "Doc", &id(who)))], now).is_ok() {
                        model.remove(&id(who));
                    }
                }
                Step::Create(who) => {
                    let given = [("parent_folder_docs", reference("f"))];
                    if try_commit_at(&db, vec![create(&db, "Doc", &id(who), &given)], now).is_ok() {
                        model.insert(id(who), None);
                    }
                }
                Step::Leave(length) => drop(receive(&db.engine(), number, &content(length, 1), now)),
                Step::Sweep => drop(db.change(|executor| executor.sweep_files(now, now, 2).unwrap())),
                // Two files in one transaction; of one field the last counts.
                Step::Together(one, other) => {
                    let (first, second) = (content(10, 1), content(20, 2));
                    let writes = vec![
                        put(&db, "Doc", &id(one), "scan", receive(&db.engine(), number, &first, now)),
                        put(&db, "Doc", &id(other), "scan", receive(&db.engine(), number + 1, &second, now)),
                    ];
                    if try_commit_at(&db, writes, now).is_ok() {
                        model.insert(id(one), Some(first));
                        model.insert(id(other), Some(second));
                    }
                }
            }
            for who in 0..3 {
                let expected = model.get(&id(who)).cloned().flatten();
                prop_assert_eq!(bytes(&db, "Doc", &id(who), "scan"), expected);
            }
            prop_assert_eq!(faults(&db), Vec::<String>::new());
        }
        agree(&db);
        let late = after(10_000_000);
        while db.change(|executor| executor.sweep_files(late, late, 3).unwrap()) > 0 {}
        let left: usize = model.values().flatten().map(|bytes| bytes.len().div_ceil(CHUNK_BYTES)).sum();
        prop_assert_eq!(rows(&db.engine(), keys::BLOB), left);
        prop_assert_eq!(faults(&db), Vec::<String>::new());
    }
}
