//! What a dry run tells is what the commit then does, and nothing is left of it.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::reply::Request;
use corollary_engine::{EngineError, Transaction, Write, log};
use corollary_value::Value;
use jiff::{SignedDuration, Timestamp};

const SCHEMA: &str = "
type Hub in hubs { name: str, leaves: inverse Leaf.hub, n := count(self.leaves), late := count(self.leaves[due < now()]) }
type Leaf in leaves { hub: link Hub, due: datetime, label := upper(self.hub.name) }
type Note in notes created_at expires after days(1) { text: str, hub: link Hub }
";

/// Runs a transaction dry, then for real, at the same time: both tell the same.
#[track_caller]
fn same(db: &Db, now: Timestamp, writes: Vec<Write>) -> Result<(), EngineError> {
    let transaction = Transaction { writes };
    let engine = db.engine();
    let tried = engine.dry_run(&Request::new(&transaction), now, |tried| {
        let committed = tried.committed;
        let changes: Vec<log::Change> =
            committed.commit.iter().flat_map(|commit| commit.changes.clone()).collect();
        let updates: Vec<_> =
            tried.updates.iter().map(|begun| (begun.update.record.id, begun.resources)).collect();
        Ok((committed.revision, format!("{changes:?}"), format!("{:?}", committed.results), updates))
    });
    let real = db.commit(std::slice::from_ref(&transaction), now).unwrap().remove(0);
    match (tried, real) {
        (Ok((revision, changes, results, updates)), Ok(committed)) => {
            let done: Vec<log::Change> =
                committed.commit.iter().flat_map(|commit| commit.changes.clone()).collect();
            assert_eq!(revision, committed.revision);
            assert_eq!(changes, format!("{done:?}"));
            assert_eq!(results, format!("{:?}", committed.results));
            assert_eq!(updates.iter().map(|(id, _)| *id).collect::<Vec<_>>(), committed.updates);
            Ok(())
        }
        (Err(EngineError::Refused(tried)), Err(EngineError::Refused(real))) => {
            assert_eq!(tried, real);
            Err(EngineError::Refused(real))
        }
        (tried, real) => panic!("{tried:?} {real:?}"),
    }
}

#[test]
fn what_a_dry_run_tells_is_what_the_commit_does() {
    let at = |days: i64| NOW + SignedDuration::from_hours(24 * days);
    let store = memory();
    let db = opened_within(&store, SCHEMA, 3);
    same(&db, at(0), vec![create(&db, "Hub", "h", &[("name", text("one"))])]).unwrap();
    for leaf in 0..10 {
        let given = [("hub", reference("h")), ("due", Value::Datetime(at(leaf)))];
        same(&db, at(0), vec![create(&db, "Leaf", &format!("l{leaf}"), &given)]).unwrap();
    }
    same(&db, at(0), vec![create(&db, "Note", "n", &[("text", text("x")), ("hub", reference("h"))])])
        .unwrap();
    // What the clock has to change first is seen, and is no part of what the transaction does.
    same(&db, at(4), vec![update(&db, "Hub", "h", &[("name", text("two"))])]).unwrap();
    assert!(
        same(&db, at(5), vec![update(&db, "Note", "n", &[("text", text("y"))])]).is_err(),
        "it has expired"
    );
    assert!(same(&db, at(5), vec![create(&db, "Leaf", "l3", &[])]).is_err());
    same(&db, at(6), vec![delete(&db, "Hub", "h"), create(&db, "Hub", "h", &[("name", text("new"))])])
        .unwrap();
    same(&db, at(6), Vec::new()).unwrap();
    db.finish_updates();
    agree(&db);
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let store = memory();
    let db = opened_within(&store, SCHEMA, 3);
    commit(&db, vec![create(&db, "Hub", "h", &[("name", text("one"))])]);
    commit(
        &db,
        (0..10).map(|at| create(&db, "Leaf", &format!("l{at}"), &[("hub", reference("h"))])).collect(),
    );
    let image = || format!("{:?}", rows(&store));
    let (before, revision) = (image(), db.engine().revision());
    let later = NOW + SignedDuration::from_hours(100);
    for writes in [
        vec![update(&db, "Hub", "h", &[("name", text("two"))])],
        vec![delete(&db, "Hub", "h")],
        vec![create(&db, "Note", "n", &[("text", text("x"))])],
        vec![create(&db, "Hub", "h", &[])],
    ] {
        let transaction = Transaction { writes };
        let seen = db.engine().dry_run(&Request::new(&transaction), later, |tried| Ok(tried.updates.len()));
        assert!(seen.is_ok() || matches!(seen, Err(EngineError::Refused(_))));
    }
    assert_eq!((image(), db.engine().revision()), (before, revision));
    assert!(db.engine().updates().open.is_empty());
    assert_eq!(db.engine().time(), NOW);
    db.with(|executor| assert_eq!(executor.next_due(), None));
    assert_eq!(get(&db, "Hub", "h", "name"), text("one"));
    agree(&db);
}

/// Everything in a store.
fn rows(store: &Arc<corollary_store::MemoryStore>) -> Vec<(Vec<u8>, Vec<u8>)> {
    use corollary_store::{Direction, KeyRange, Store};
    let snapshot = store.snapshot().unwrap();
    let mut rows = Vec::new();
    for keyspace in corollary_engine::keys::KEYSPACES {
        let mut add = |key: &[u8], value: &[u8]| {
            rows.push((key.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(keyspace.keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, &mut add).unwrap();
    }
    rows
}
