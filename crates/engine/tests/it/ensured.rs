//! What a transaction ensures: that something holds when all that follows from its facts has come about.

use std::sync::Arc;

use corollary_engine::working::Working;
use corollary_engine::{Decision, Doc, EngineError, Key, Write};
use corollary_value::Value;

use crate::common::*;

const ORDERS: &str = "
type Order in orders {
  lines: collection Line
  total  := sum(self.lines.price)
}
type Line { price: int }
";

/// Ensures that an order has no more than this in all.
fn at_most(db: &Db, name: &str, most: i64) -> Write {
    let total = slot(db, "Order", "total");
    let decide = move |_: &Working<'_>, _: &Key, doc: Option<&Arc<Doc>>| match doc.map(|doc| doc.get(total)) {
        Some(Value::Int(found)) if *found > most => {
            Err(EngineError::refused("too-much", None, format!("{found}")))
        }
        _ => Ok(None),
    };
    Write::Ensure(key(db, "Order", name), Decision::new(decide))
}

fn line(db: &Db, name: &str, price: i64) -> Write {
    create(db, "Line", name, &[("price", Value::Int(price)), ("parent_order_lines", reference("o"))])
}

#[test]
fn it_sees_what_follows_from_all_writes_whatever_their_order() {
    let db = fresh(ORDERS);
    commit(&db, vec![create(&db, "Order", "o", &[]), line(&db, "a", 5)]);
    // It stands first, and asks last.
    let found = refused(&db, vec![at_most(&db, "o", 10), line(&db, "b", 3), line(&db, "c", 3)]);
    assert_eq!(
        (codes(&found), found[0].message.as_str(), found[0].write),
        (vec!["too-much".to_string()], "11", Some(0))
    );
    assert_eq!(get(&db, "Order", "o", "total"), Value::Int(5));
    assert!(doc(&db, "Line", "b").is_none() && doc(&db, "Line", "c").is_none());
    commit(
        &db,
        vec![line(&db, "b", 3), at_most(&db, "o", 10), update(&db, "Line", "a", &[("price", Value::Int(7))])],
    );
    assert_eq!(get(&db, "Order", "o", "total"), Value::Int(10));
}

#[test]
fn one_that_is_refused_leaves_the_others_of_its_group() {
    let db = fresh(ORDERS);
    commit(&db, vec![create(&db, "Order", "o", &[])]);
    let transactions: Vec<_> = [("a", 4), ("b", 9), ("c", 5)]
        .map(|(name, price)| corollary_engine::Transaction {
            writes: vec![line(&db, name, price), at_most(&db, "o", 10)],
        })
        .into();
    let wants = corollary_engine::reply::Wants::nothing();
    let group: Vec<_> = transactions
        .iter()
        .map(|transaction| corollary_engine::reply::Request { transaction, wants: &wants })
        .collect();
    let done: Vec<bool> = db.execute(&group).iter().map(Result::is_ok).collect();
    assert_eq!(done, [true, false, true]);
    assert_eq!(get(&db, "Order", "o", "total"), Value::Int(9));
}
