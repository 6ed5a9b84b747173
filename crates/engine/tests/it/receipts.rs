//! Receipts: a reply is kept with its commit for a day, and found by whoever repeats the request.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::receipt::{self, Keep, MAX_REPLY_BYTES, RETENTION};
use corollary_engine::reply::{Request, Wants};
use corollary_engine::{Committed, EngineError, Transaction, Write};
use jiff::{SignedDuration, Timestamp};

const SCHEMA: &str = "
type Hub in hubs { name: str, leaves: inverse Leaf.hub }
type Leaf in leaves { hub: link Hub, label := upper(self.hub.name) }
";

fn wants(key: &str, request: u8, size: usize) -> Wants {
    let tell = move |_: &corollary_engine::working::Working<'_>, committed: &Committed| {
        let mut reply = committed.revision.to_string().into_bytes();
        reply.resize(reply.len().max(size), b' ');
        Ok(reply)
    };
    let keep = Keep { key: key.as_bytes().to_vec(), fingerprint: [request; 32], tell: Arc::new(tell) };
    Wants { kept: Some(Arc::new(keep)), ..Wants::results() }
}

fn send(db: &Db, now: Timestamp, wants: &Wants, write: Write) -> Result<Committed, EngineError> {
    let transaction = Transaction { writes: vec![write] };
    db.execute_at(&[Request { transaction: &transaction, wants }], now).remove(0)
}

#[track_caller]
fn in_order(db: &Db) {
    assert_eq!(db.engine().read(NOW, receipt::check).unwrap(), None);
    agree(db);
}

/// The batch of a receipt that came first of all wrote revision 0, which every later batch required not to be there: nothing
/// could be written any more.
#[test]
fn a_receipt_of_nothing_may_be_the_first_of_all() {
    let store = memory();
    let db = opened_within(&store, SCHEMA, 3);
    let nothing = |db: &Db, key: &str| {
        let wants = wants(key, 1, 0);
        db.execute_at(&[Request { transaction: &Transaction::default(), wants: &wants }], NOW)
            .remove(0)
            .unwrap()
    };
    assert_eq!((nothing(&db, "k").revision, nothing(&db, "l").revision), (0, 0));
    drop(db);
    let db = opened_within(&store, SCHEMA, 3);
    assert!(send(&db, NOW, &wants("m", 1, 0), create(&db, "Hub", "a", &[])).unwrap().commit.is_some());
    assert_eq!(nothing(&db, "k").reply, Some(b"0".to_vec()));
    in_order(&db);
}

#[test]
fn a_receipt_holds_for_a_day() {
    let store = memory();
    let db = opened_within(&store, SCHEMA, 3);
    let at = |hours: i64| NOW + SignedDuration::from_hours(hours);
    let hub = |name: &str| create(&db, "Hub", name, &[]);
    let first = send(&db, at(0), &wants("k", 1, 0), hub("a")).unwrap();
    assert!(first.commit.is_some());
    // In another process, too.
    drop(db);
    let db = opened_within(&store, SCHEMA, 3);
    let hub = |name: &str| create(&db, "Hub", name, &[]);
    let again = send(&db, at(23), &wants("k", 1, 0), hub("a")).unwrap();
    assert_eq!((again.reply, again.commit.is_some()), (first.reply, false));
    let other = send(&db, at(23), &wants("k", 2, 0), hub("b")).unwrap_err();
    let EngineError::Refused(refusals) = other else { panic!("{other}") };
    assert_eq!(refusals[0].code, "idempotency-key");
    in_order(&db);
    // Then the key is as good as new, whether the receipt has been dropped or not.
    assert_eq!(db.trim_receipts(at(23), 10), 0);
    let anew = send(&db, at(24), &wants("k", 2, 0), hub("b")).unwrap();
    assert!(anew.commit.is_some());
    in_order(&db);
    assert_eq!(db.trim_receipts(at(25), 10), 0, "the receipt is the new one's");
    send(&db, at(26), &wants("l", 1, 0), hub("c")).unwrap();
    assert_eq!(db.trim_receipts(at(24) + RETENTION, 10), 1);
    in_order(&db);
    assert!(send(&db, at(49), &wants("k", 2, 0), hub("d")).unwrap().commit.is_some());
    in_order(&db);
}

/// In one group the second finds the receipt of the first; one whose reply cannot be kept is refused as a whole, with the
/// updates that it had begun.
#[test]
fn receipts_are_part_of_their_transaction() {
    let db = opened_within(&memory(), SCHEMA, 1);
    commit(&db, vec![create(&db, "Hub", "h", &[])]);
    commit(
        &db,
        (0..5).map(|at| create(&db, "Leaf", &format!("l{at}"), &[("hub", reference("h"))])).collect(),
    );
    db.finish_updates();
    let rename = |name: &str| Transaction { writes: vec![update(&db, "Hub", "h", &[("name", text(name))])] };
    let (one, two) = (rename("one"), rename("two"));
    let (kept, large) = (wants("k", 1, 0), wants("large", 1, MAX_REPLY_BYTES + 1));
    let group = [(&two, &large), (&one, &kept), (&one, &kept), (&two, &kept)];
    let group = group.map(|(transaction, wants)| Request { transaction, wants });
    let outcomes = db.execute(&group);
    let codes: Vec<_> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(committed) => (committed.commit.is_some(), ""),
            Err(EngineError::Refused(refusals)) => (false, refusals[0].code),
            Err(error) => panic!("{error}"),
        })
        .collect();
    // The last is the same request by its fingerprint.
    assert_eq!(codes, [(false, "reply-limit"), (true, ""), (false, ""), (false, "")]);
    assert_eq!(get(&db, "Hub", "h", "name"), text("one"));
    assert_eq!(db.engine().updates().open.len(), 1, "of the one that was done");
    in_order(&db);
    // What changes nothing has a receipt and no revision.
    let revision = db.engine().revision();
    let outcome =
        db.execute(&[Request { transaction: &one, wants: &wants("none", 1, 0) }]).remove(0).unwrap();
    assert!(outcome.commit.is_none() && outcome.reply.is_some());
    assert_eq!(db.engine().revision(), revision);
    commit(&db, vec![update(&db, "Hub", "h", &[("name", text("three"))])]);
    db.execute(&[Request { transaction: &one, wants: &wants("none", 1, 0) }]).remove(0).unwrap();
    assert_eq!(get(&db, "Hub", "h", "name"), text("three"));
    db.finish_updates();
    in_order(&db);
}
