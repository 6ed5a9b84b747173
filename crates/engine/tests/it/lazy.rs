//! Lazy fields: computed when they are read, and what reads them is kept true by what they read.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::*;
use corollary_engine::eval::{Eval, View};
use corollary_engine::query::{self, From, Query};
use corollary_engine::{Commit, Edit, EngineOptions, Transaction, Write, lazy, open};
use corollary_schema::expr::{Place, check_expr};
use corollary_store::{
    Batch, Direction, Features, KeyRange, Keyspace, MemoryStore, Snapshot, Store, StoreError, StoreStats,
    Visit,
};
use corollary_syntax::parse_expression;
use corollary_value::Value;
use jiff::{SignedDuration, Timestamp};

const SHOP: &str = "
type Customer in customers {
  name: str
  rate: int default 2
  boss: link Customer
  orders: inverse Order.customer
  total := sum(self.orders.amount), lazy
  label := self.name + '!', lazy
  twice := self.total * self.rate, lazy
  best := first(self.orders[order by amount desc]), lazy
  above := self.boss.twice, lazy

  kept := self.twice + 1
  kept_above := self.boss.total
  above_else := self.above else 7
  best_label := self.best.tag
  labels := self.orders.tag
  dear := self.orders[big].tag
  many := count(self.orders[big])
  in_tags := count(self.orders[tag ~ '!'])
  chain := self.up_chain + 1 else 1
  up_chain := self.boss.chain, lazy
}
type Order in orders {
  amount: int
  at: datetime
  customer: link Customer
  tag := self.customer.label + self.amount_text, lazy
  amount_text := str(self.amount), lazy
  big := self.amount > 10, lazy
  age := now() - self.at, lazy
  old := self.at < now() - days(1), lazy
  was_old := self.old
}
";

/// What a read shows of a lazy field.
fn shown(db: &Db, ty: &str, name: &str, field: &str, now: Timestamp) -> Value {
    let (key, slot) = (key(db, ty, name), slot(db, ty, field));
    let read = db.engine().read(now, |working| {
        let doc = working.after(&key)?.unwrap();
        assert!(matches!(doc.get(slot), Value::Absent), "nothing is stored");
        let filled = lazy::filled(working, &key, Cow::Borrowed(&doc), &|_| true)?;
        Ok(filled.get(slot).clone())
    });
    read.unwrap()
}

fn shop() -> Db {
    let db = fresh(SHOP);
    let customer = |name: &str, boss: Option<&str>| {
        let mut given = vec![("name", text(name))];
        given.extend(boss.map(|boss| ("boss", reference(boss))));
        create(&db, "Customer", name, &given)
    };
    let order = |name: &str, amount: i64, customer: &str| {
        let given =
            [("amount", Value::Int(amount)), ("customer", reference(customer)), ("at", Value::Datetime(NOW))];
        create(&db, "Order", name, &given)
    };
    commit(
        &db,
        vec![
            customer("ann", None),
            customer("bob", Some("ann")),
            order("x", 5, "ann"),
            order("y", 20, "ann"),
            order("z", 8, "bob"),
        ],
    );
    agree(&db);
    db
}

#[test]
fn they_are_computed_and_not_stored() {
    let db = shop();
    assert_eq!(shown(&db, "Customer", "ann", "total", NOW), Value::Int(25));
    assert_eq!(shown(&db, "Customer", "ann", "twice", NOW), Value::Int(50));
    assert_eq!(shown(&db, "Customer", "bob", "above", NOW), Value::Int(50));
    assert_eq!(shown(&db, "Customer", "ann", "above", NOW), Value::Absent);
    assert_eq!(shown(&db, "Customer", "ann", "best", NOW), reference("y"));
    assert_eq!(shown(&db, "Order", "x", "tag", NOW), text("ann!5"));
    let changed = commit(&db, vec![update(&db, "Customer", "ann", &[("name", text("anna"))])]);
    assert_eq!(changed.work.evaluations, 5, "two tags of each list of them, and the label of the best");
    assert_eq!(shown(&db, "Order", "x", "tag", NOW), text("anna!5"));
    agree(&db);
}

#[test]
fn what_reads_them_is_stored_and_follows() {
    let db = shop();
    assert_eq!(get(&db, "Customer", "ann", "kept"), Value::Int(51));
    assert_eq!(get(&db, "Customer", "bob", "kept_above"), Value::Int(25));
    assert_eq!(get(&db, "Customer", "ann", "above_else"), Value::Int(7));
    assert_eq!(get(&db, "Customer", "ann", "best_label"), text("ann!20"));
    assert_eq!(get(&db, "Customer", "ann", "labels"), list([text("ann!5"), text("ann!20")]));
    assert_eq!(get(&db, "Customer", "ann", "dear"), list([text("ann!20")]));
    assert_eq!(get(&db, "Customer", "ann", "many"), Value::Int(1));
    assert_eq!(get(&db, "Customer", "bob", "chain"), Value::Int(2));
    commit(
        &db,
        vec![
            update(&db, "Order", "x", &[("amount", Value::Int(50)), ("customer", reference("bob"))]),
            update(&db, "Customer", "bob", &[("name", text("rob")), ("rate", Value::Int(3))]),
        ],
    );
    agree(&db);
    assert_eq!(get(&db, "Customer", "bob", "kept"), Value::Int(58 * 3 + 1));
    assert_eq!(get(&db, "Customer", "bob", "dear"), list([text("rob!50")]));
    commit(&db, vec![edit(&db, "Customer", "ann", &[("boss", Edit::Set(reference("bob")))])]);
    agree(&db);
    assert!(get(&db, "Customer", "ann", "chain").is_error(), "a circle by way of a lazy field");
    commit(&db, vec![delete(&db, "Customer", "bob")]);
    agree(&db);
}

/// An aggregate over a lazy field of many is kept from the change of one of them.
#[test]
fn aggregates_over_lazy_fields_are_groups() {
    let db = fresh(
        "type A in as { bs: inverse B.a, all := sum(self.bs.x), some := count(self.bs[y > 3]), most := max(self.bs.y) }
         type B in bs { n: int, a: link A, cs: inverse C.b, y := self.n * 2, lazy, x := self.y + sum(self.cs.m), lazy }
         type C in cs { m: int, b: link B }",
    );
    let mut writes = vec![create(&db, "A", "a", &[])];
    for at in 0..50 {
        let name = format!("b{at}");
        writes.push(create(&db, "B", &name, &[("n", Value::Int(at)), ("a", reference("a"))]));
        let given = [("m", Value::Int(1)), ("b", reference(&name))];
        writes.push(create(&db, "C", &format!("c{at}"), &given));
    }
    commit(&db, writes);
    assert_eq!(get(&db, "A", "a", "all"), Value::Int(50 * 49 + 50));
    assert_eq!(get(&db, "A", "a", "most"), Value::Int(98));
    let work = commit(&db, vec![update(&db, "C", "c7", &[("m", Value::Int(100))])]).work;
    assert_eq!(get(&db, "A", "a", "all"), Value::Int(50 * 49 + 149));
    assert!(work.evaluations <= 3, "the sum of one, and the sum of all from that: {work:?}");
    agree(&db);
}

#[test]
fn the_clock_changes_them_at_every_moment_and_what_is_stored_when_it_must() {
    let db = shop();
    let later = NOW.checked_add(SignedDuration::from_hours(30)).unwrap();
    let age = |now| shown(&db, "Order", "x", "age", now);
    assert_eq!(age(NOW), Value::Duration(SignedDuration::ZERO));
    assert_eq!(age(later), Value::Duration(SignedDuration::from_hours(30)));
    assert_eq!(shown(&db, "Order", "x", "old", later), Value::Bool(true));
    assert_eq!(get(&db, "Order", "x", "was_old"), Value::Bool(false));
    db.commit(&[], later).unwrap();
    assert_eq!(get(&db, "Order", "x", "was_old"), Value::Bool(true));
    assert!(wrong_as_at(&db, later).is_empty());
}

#[test]
fn queries_read_them_like_others() {
    let db = shop();
    let engine = db.engine();
    let ty = engine.schema().type_named("Order").unwrap();
    let typed = |text: &str| {
        let (expr, found) = check_expr(&**engine.schema(), Place::Query(ty), &parse_expression(text).tree);
        assert!(found.is_empty(), "{found:?}");
        expr
    };
    let asked = Query {
        ty,
        from: From::All,
        filter: Some(typed(
            "tag ~ '!' and customer.total > 10 and sum(customer.orders.amount) = customer.total",
        )),
        order: vec![(typed("amount_text"), true)],
        limit: 10,
        after: None,
        scan_limit: 100,
    };
    let found = engine.read(NOW, |working| query::run(working, &asked)).unwrap();
    let ids: Vec<String> = found.items.iter().map(|item| item.key.id.to_string()).collect();
    assert_eq!(ids, ["x", "y"]);
}

/// The log told of a field that had become lazy since as changed, with a value before and none behind.
#[test]
fn the_log_tells_nothing_of_a_field_that_is_lazy_by_now() {
    let store = memory();
    let schema = |option: &str| format!("type A in as {{ n: int, d := self.n * 2 {option} }}");
    let db = opened(&store, &schema(""));
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(3))])]);
    commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(4))])]);
    drop(db);
    let db = opened(&store, &schema("lazy"));
    let (n, d) = (slot(&db, "A", "n"), slot(&db, "A", "d"));
    let mut told = 0;
    let mut tell = |commit: Commit| {
        for change in &commit.changes {
            told += 1;
            assert_eq!(change.changed, [n]);
            assert!(change.before.iter().all(|before| matches!(before.get(d), Value::Absent)));
        }
        ControlFlow::Continue(())
    };
    assert!(db.engine().commits_after(0, &mut tell).unwrap());
    assert_eq!(told, 2);
}

/// From stored to computed and back: what is not stored any more is forgotten, and built anew.
#[test]
fn a_field_becomes_lazy_and_stored_again() {
    let store = memory();
    let schema =
        |option: &str| format!("type A in as {{ n: int, d := self.n * 2 {option}, e := self.d + 1 }}");
    let db = opened(&store, &schema(""));
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(3))])]);
    assert_eq!(get(&db, "A", "a", "d"), Value::Int(6));
    drop(db);
    let db = opened(&store, &schema("lazy"));
    assert_eq!(shown(&db, "A", "a", "d", NOW), Value::Int(6));
    commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(5))])]);
    agree(&db);
    drop(db);
    let db = opened(&store, &schema(""));
    assert_eq!(get(&db, "A", "a", "d"), Value::Int(10));
    agree(&db);
}

/// While an update is open, what a lazy field reads is computed, or the field is marked.
#[test]
fn lazy_fields_over_what_is_behind_are_right_or_marked() {
    let db = opened_within(
        &memory(),
        "type A in as { name: str }
         type B in bs { a: link A, copy := self.a.name, seen := self.copy + '?', lazy }",
        2,
    );
    let mut writes = vec![create(&db, "A", "a", &[("name", text("old"))])];
    writes.extend((0..9).map(|at| create(&db, "B", &format!("b{at}"), &[("a", reference("a"))])));
    commit(&db, writes);
    commit(&db, vec![update(&db, "A", "a", &[("name", text("new"))])]);
    assert!(!db.engine().updates().open.is_empty(), "an update has yet to come to most of them");
    agree(&db);
    let (key, slot) = (key(&db, "B", "b8"), slot(&db, "B", "seen"));
    let read = db.engine().read(NOW, |working| {
        let settled = corollary_engine::updates::Settled::new(working);
        let doc = working.after(&key)?.unwrap();
        let exact = settled.fill(&key, settled.doc(&key, &doc, 100)?, 100, &|_| true)?;
        let marked = settled.fill(&key, settled.doc(&key, &doc, 0)?, 0, &|_| true)?;
        Ok((exact.doc.get(slot).clone(), exact.pending, marked.pending.contains(&slot)))
    });
    assert_eq!(read.unwrap(), (text("new?"), Vec::new(), true));
    db.finish_updates();
    agree(&db);
}

/// A store that counts how often it is read.
struct Counting(MemoryStore, Arc<AtomicUsize>);

struct CountingSnapshot(Box<dyn Snapshot>, Arc<AtomicUsize>);

impl Store for Counting {
    fn features(&self) -> &Features {
        self.0.features()
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        Ok(Box::new(CountingSnapshot(self.0.snapshot()?, self.1.clone())))
    }
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }
    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.0.stats()
    }
    fn name(&self) -> &'static str {
        "counting"
    }
}

impl Snapshot for CountingSnapshot {
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(keyspace, key)
    }
    fn get_many(&self, keyspace: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get_many(keyspace, keys)
    }
    fn scan(
        &self,
        keyspace: Keyspace,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.scan(keyspace, range, direction, limit, visit)
    }
}

#[test]
fn a_page_of_them_is_no_read_of_the_store_for_each() {
    const SCHEMA: &str = "
        type A in as { b: link B, seen := self.b.c.name + self.b.name, lazy }
        type B in bs { name: str, c: link C }
        type C in cs { name: str }";
    let store = memory();
    let db = opened(&store, SCHEMA);
    let mut writes: Vec<Write> = Vec::new();
    for at in 0..1_000 {
        let name = |letter: &str| format!("{letter}{at:04}");
        writes.push(create(&db, "C", &name("c"), &[("name", text(&name("C")))]));
        writes.push(create(&db, "B", &name("b"), &[("name", text("B")), ("c", reference(&name("c")))]));
        writes.push(create(&db, "A", &name("a"), &[("b", reference(&name("b")))]));
    }
    commit(&db, writes);
    drop(db);
    let reads = Arc::new(AtomicUsize::new(0));
    let counting: Arc<dyn Store> = Arc::new(Counting(store.crash_image(), reads.clone()));
    let executor = open(counting, SCHEMA, &EngineOptions::default(), NOW, &mut |_| {}).unwrap();
    let engine = executor.engine().clone();
    let ty = engine.schema().type_named("A").unwrap();
    reads.store(0, Ordering::Relaxed);
    let last = engine.read(NOW, |working| {
        let ids = working.all(ty)?;
        lazy::prefetch(working, ty, &ids.iter().collect::<Vec<_>>(), &|_| true)?;
        let mut last = Value::Absent;
        for id in &ids {
            let expr = lazy::expression(
                working.schema,
                corollary_schema::FieldRef { ty, slot: working.schema.ty(ty).lazy[0] },
            );
            last = Eval::new(working, id).value(expr.unwrap())?;
        }
        Ok(last)
    });
    assert_eq!(last.unwrap(), text("C0999B"));
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads <= 12, "{reads} reads of the store for 1,000 resources");
}

/// Each transaction of a group used to read what it writes to for itself.
#[test]
fn a_group_reads_what_its_transactions_write_to_at_once() {
    const SCHEMA: &str = "type A in as { n: int }";
    const GROUP: usize = 200;
    let store = memory();
    let db = opened(&store, SCHEMA);
    let id = |at: usize| format!("a{at}");
    commit(&db, (0..GROUP).map(|at| create(&db, "A", &id(at), &[("n", Value::Int(1))])).collect());
    let one = |at: usize| match at % 10 {
        // Some that are not there, and one that is refused for it.
        0 => create(&db, "A", &format!("b{at}"), &[("n", Value::Int(2))]),
        1 => update(&db, "A", &format!("c{at}"), &[("n", Value::Int(2))]),
        _ => update(&db, "A", &id(at), &[("n", Value::Int(2))]),
    };
    let group: Vec<Transaction> = (0..GROUP).map(|at| Transaction { writes: vec![one(at)] }).collect();
    drop(db);
    let reads = Arc::new(AtomicUsize::new(0));
    let counting: Arc<dyn Store> = Arc::new(Counting(store.crash_image(), reads.clone()));
    let mut executor = open(counting, SCHEMA, &EngineOptions::default(), NOW, &mut |_| {}).unwrap();
    reads.store(0, Ordering::Relaxed);
    let outcomes = executor.commit(&group, NOW).unwrap();
    let refused: Vec<usize> = (0..GROUP).filter(|at| outcomes[*at].is_err()).collect();
    assert_eq!(refused, (0..GROUP).filter(|at| at % 10 == 1).collect::<Vec<_>>());
    let reads = reads.load(Ordering::Relaxed);
    assert!(reads <= 4, "{reads} reads of the store for {GROUP} transactions");
}
