//! Transactions that come from elsewhere: each is done once, whoever brings it, and the log tells who made it.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::reply::{Request, Wants};
use corollary_engine::{Commit, Committed, EngineError, Origin, Transaction, Write};
use corollary_value::Value;

const SCHEMA: &str = "type Counter in counters { n: int max 10, twice := self.n * 2 }\n";

fn bring(db: &Db, batch: u64, number: u64, write: Option<Write>) -> Result<Committed, EngineError> {
    let transaction = Transaction { writes: Vec::from_iter(write) };
    let origin = Origin { source: [7; 16], batch, number };
    let wants = Wants { actor: Some("clerk".into()), origin: Some(Arc::new(origin)), ..Wants::nothing() };
    db.execute_at(&[Request { transaction: &transaction, wants: &wants }], NOW).remove(0)
}

fn commits(db: &Db) -> Vec<Commit> {
    let mut commits = Vec::new();
    let complete = db.engine().commits_after(0, &mut |commit| {
        commits.push(commit);
        ControlFlow::Continue(())
    });
    assert!(complete.unwrap());
    commits
}

#[test]
fn what_is_brought_again_is_not_done_again() {
    let store = memory();
    let db = opened_within(&store, SCHEMA, 3);
    let hub = |db: &Db, id: &str, n: i64| create(db, "Counter", id, &[("n", Value::Int(n))]);
    assert!(bring(&db, 1, 50, Some(hub(&db, "a", 1))).unwrap().commit.is_some());
    // In whatever order they come within a batch, and by another process, too.
    assert!(bring(&db, 1, 49, Some(hub(&db, "b", 2))).unwrap().commit.is_some());
    drop(db);
    let db = opened_within(&store, SCHEMA, 3);
    for number in [49, 50] {
        assert!(bring(&db, 1, number, Some(hub(&db, "c", 3))).unwrap().commit.is_none(), "{number}");
    }
    // What is refused is not done, and may be brought again.
    assert!(bring(&db, 1, 51, Some(hub(&db, "d", 11))).is_err());
    assert!(bring(&db, 1, 51, Some(hub(&db, "d", 4))).unwrap().commit.is_some());
    // What changes nothing is done as well.
    let nothing = bring(&db, 2, 52, None).unwrap();
    assert_eq!((nothing.commit.is_some(), nothing.revision), (false, 3));
    drop(db);
    let db = opened_within(&store, SCHEMA, 3);
    assert!(bring(&db, 2, 52, Some(hub(&db, "e", 5))).unwrap().commit.is_none());
    // Who is still at an earlier batch was cut off, and another one has done the rest of it.
    assert!(bring(&db, 1, 60, Some(hub(&db, "f", 6))).unwrap().commit.is_none());
    assert!(bring(&db, 2, 60, Some(hub(&db, "f", 6))).unwrap().commit.is_some());
    agree(&db);
}

#[test]
fn the_log_tells_who_made_a_commit() {
    let db = opened_within(&memory(), SCHEMA, 3);
    let id = |id: &str| create(&db, "Counter", id, &[]);
    bring(&db, 1, 1, Some(id("a"))).unwrap();
    db.execute_at(
        &[Request { transaction: &Transaction { writes: vec![id("b")] }, wants: &Wants::nothing() }],
        NOW,
    )
    .remove(0)
    .unwrap();
    bring(&db, 1, 2, Some(id("c"))).unwrap();
    let actors: Vec<Option<String>> =
        commits(&db).into_iter().map(|commit| commit.actor.map(|actor| actor.to_string())).collect();
    assert_eq!(actors, [Some("clerk".into()), None, Some("clerk".into())]);
    agree(&db);
}
