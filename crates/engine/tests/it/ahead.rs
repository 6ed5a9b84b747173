//! Groups that are worked out over one that is not durable yet.

use corollary_engine::reply::{Request, Wants};
use corollary_engine::{Committed, EngineError, Pending, Transaction};
use corollary_store::{Fault, Store};
use corollary_value::Value;

use crate::common::*;

const SHOP: &str = "type Customer in customers { name: str, orders: inverse Order.customer, total := sum(self.orders.amount) }
                    type Order in orders { customer: link Customer, amount: int default 0, name := self.customer.name }";

fn shop() -> (std::sync::Arc<corollary_store::MemoryStore>, Db) {
    let store = memory();
    let db = opened(&store, SHOP);
    commit(
        &db,
        vec![
            create(&db, "Customer", "ann", &[("name", Value::Str("Ann".into()))]),
            create(&db, "Order", "o1", &[("customer", reference("ann")), ("amount", Value::Int(1))]),
            create(&db, "Order", "o2", &[("customer", reference("ann")), ("amount", Value::Int(2))]),
        ],
    );
    (store, db)
}

fn set(db: &Db, order: &str, amount: i64) -> Transaction {
    Transaction { writes: vec![update(db, "Order", order, &[("amount", Value::Int(amount))])] }
}

type Outcomes = Vec<Result<Committed, EngineError>>;

fn ahead(db: &Db, transactions: &[Transaction]) -> Result<(Outcomes, Pending), EngineError> {
    let requests: Vec<Request<'_>> = transactions.iter().map(Request::new).collect();
    db.change(|executor| executor.execute_ahead(&requests, NOW))
}

fn total(db: &Db) -> Value {
    get(db, "Customer", "ann", "total")
}

#[test]
fn what_is_not_durable_is_worked_on_and_not_shown() {
    let (_store, db) = shop();
    let before = db.engine().revision();
    let (outcomes, first) = ahead(&db, &[set(&db, "o1", 10)]).unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().revision, before + 1);
    assert!(!first.is_hardened());
    assert_eq!((db.engine().revision(), total(&db)), (before, Value::Int(3)));
    // The second is worked out over the first, which is durable by then: one at a time is not.
    let (outcomes, second) = ahead(&db, &[set(&db, "o2", 20), set(&db, "o1", 11)]).unwrap();
    assert_eq!(outcomes[1].as_ref().unwrap().revision, before + 3);
    assert!(first.is_hardened() && !second.is_hardened());
    assert_eq!((db.engine().revision(), total(&db)), (before + 1, Value::Int(12)));
    agree(&db);
    second.harden().unwrap();
    first.harden().unwrap();
    assert_eq!((db.engine().revision(), total(&db)), (before + 3, Value::Int(31)));
    agree(&db);
}

#[test]
fn documents_that_are_removed_and_made_ahead_are_found_so() {
    let (_store, db) = shop();
    let remove = Transaction { writes: vec![delete(&db, "Order", "o1")] };
    let make = |name: &str| Transaction {
        writes: vec![create(
            &db,
            "Order",
            name,
            &[("customer", reference("ann")), ("amount", Value::Int(5))],
        )],
    };
    let (_, first) = ahead(&db, &[remove.clone(), make("o3")]).unwrap();
    // What was removed is there for readers, and not for the next group.
    assert_eq!(get(&db, "Order", "o1", "amount"), Value::Int(1));
    let (outcomes, second) = ahead(&db, &[remove, make("o3"), make("o1"), set(&db, "o3", 6)]).unwrap();
    let told: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(told, [false, false, true, true], "{outcomes:?}");
    first.harden().unwrap();
    second.harden().unwrap();
    assert_eq!(total(&db), Value::Int(13));
    agree(&db);
}

#[test]
fn who_changes_nothing_is_told_when_what_he_saw_is_durable() {
    let (_store, db) = shop();
    let before = db.engine().revision();
    let (_, first) = ahead(&db, &[set(&db, "o1", 10)]).unwrap();
    let (outcomes, second) = ahead(&db, &[set(&db, "o1", 10)]).unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().revision, before + 1);
    assert!(first.is_hardened() && second.is_hardened());
    assert_eq!(db.engine().revision(), before + 1);
}

#[test]
fn whatever_else_the_executor_does_waits() {
    let (_store, db) = shop();
    let mut revision = db.engine().revision();
    let others: [&dyn Fn(); 4] = [
        &|| _ = db.trim_log(NOW, 10),
        &|| _ = db.trim_receipts(NOW, 10),
        &|| _ = db.step(10).unwrap(),
        &|| _ = commit(&db, vec![update(&db, "Order", "o2", &[("amount", Value::Int(7))])]),
    ];
    for (amount, other) in (30..).zip(others) {
        let (_, pending) = ahead(&db, &[set(&db, "o1", amount)]).unwrap();
        assert_eq!(db.engine().revision(), revision);
        revision += 1;
        other();
        assert!(pending.is_hardened());
        assert!(db.engine().revision() >= revision);
        assert_eq!(get(&db, "Order", "o1", "amount"), Value::Int(amount));
    }
    agree(&db);
}

#[test]
fn a_refused_batch_leaves_the_one_before_it_alone() {
    let (store, db) = shop();
    let before = db.engine().revision();
    let (_, first) = ahead(&db, &[set(&db, "o1", 10)]).unwrap();
    store.fail_next_commit(Fault::Full);
    let refused = ahead(&db, &[set(&db, "o2", 20)]).err().unwrap();
    assert!(!refused.is_fatal(), "{refused}");
    first.harden().unwrap();
    assert_eq!((db.engine().revision(), total(&db)), (before + 1, Value::Int(12)));
    let (_, next) = ahead(&db, &[set(&db, "o2", 30)]).unwrap();
    next.harden().unwrap();
    assert_eq!((db.engine().revision(), total(&db)), (before + 2, Value::Int(40)));
    agree(&db);
}

#[test]
fn what_is_lost_is_never_shown_and_ends_everything() {
    for survives in [false, true] {
        let (store, db) = shop();
        let before = db.engine().revision();
        store.fail_next_commit(Fault::Sync { survives });
        let (_, first) = ahead(&db, &[set(&db, "o1", 10)]).unwrap();
        let worked_out = ahead(&db, &[set(&db, "o1", 11)]);
        assert!(worked_out.is_err_and(|error| error.is_fatal()));
        assert!(first.harden().is_err_and(|error| error.is_fatal()));
        assert!(ahead(&db, &[set(&db, "o2", 11)]).is_err_and(|error| error.is_fatal()));
        assert!(db.change(|executor| executor.trim_log(NOW, 1)).is_err());
        assert_eq!((db.engine().revision(), total(&db)), (before, Value::Int(3)));
        let again = opened(&std::sync::Arc::new(store.crash_image()), SHOP);
        assert_eq!(total(&again), Value::Int(if survives { 12 } else { 3 }));
        agree(&again);
    }
}

/// The updates that a commit begins are shown before it is durable; of one that is lost they must not be.
#[test]
fn updates_of_what_is_lost_are_gone() {
    let store = memory();
    let db = opened_within(&store, SHOP, 1);
    let mut writes = vec![create(&db, "Customer", "ann", &[("name", Value::Str("Ann".into()))])];
    writes
        .extend((0..5).map(|at| create(&db, "Order", &format!("o{at}"), &[("customer", reference("ann"))])));
    commit(&db, writes);
    let rename = update(&db, "Customer", "ann", &[("name", Value::Str("Eve".into()))]);
    store.fail_next_commit(Fault::Sync { survives: false });
    let (outcomes, pending) = ahead(&db, &[Transaction { writes: vec![rename] }]).unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().updates.len(), 1);
    assert_eq!(get(&db, "Order", "o3", "name"), Value::Str("Ann".into()), "it is shown as it is durable");
    assert!(pending.harden().is_err());
    assert!(db.engine().updates().open.is_empty());
    assert_eq!(get(&db, "Order", "o3", "name"), Value::Str("Ann".into()));
    assert!(store.snapshot().is_ok());
}

#[test]
fn wants_are_told_of_each() {
    let (_store, db) = shop();
    let transactions = [set(&db, "o1", 4), set(&db, "o2", 5)];
    let wants = Wants::default();
    let requests: Vec<Request<'_>> =
        transactions.iter().map(|transaction| Request { transaction, wants: &wants }).collect();
    let (outcomes, pending) = db.change(|executor| executor.execute_ahead(&requests, NOW)).unwrap();
    assert!(outcomes.iter().flatten().all(|it| it.results.is_empty() && it.commit.is_some()));
    pending.harden().unwrap();
    assert_eq!(total(&db), Value::Int(9));
}
