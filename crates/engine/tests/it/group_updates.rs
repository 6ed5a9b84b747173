//! Groups whose members link to what has changed: past the budget they follow by an update, each member counted as it was
//! until the update has come to it, and as it is from then on, whatever is written meanwhile.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::updates::{State, UpdateId};
use corollary_engine::{EngineError, Update, Write, oracle};
use corollary_store::{Fault, MemoryStore};
use corollary_value::Value;
use proptest::prelude::*;

const SCHEMA: &str = "
type Region in regions {
  sums   := sum(self.customers.orders.amount)
  weights := sum(self.link_order_region.customer.factor)
  customers: inverse Customer.region
}
type Customer in customers {
  country: 'x' | 'y', factor: int, region: link Region, boss: link Customer
  orders:  inverse Order.customer
  vip     := self.factor > 4
  lead    := self.boss.factor
  worth   := sum(self.orders.weight)
}
type Product in products {
  orders: inverse Order.product
  x      := sum(self.orders[customer.country = 'x'].amount)
  vips   := count(self.orders[customer.vip])
  top    := max(self.orders[other.factor > 1].customer.factor)
  mid    := median(self.orders.customer.factor)
  names  := self.orders[customer.lead > 2]
  by     := group(self.orders, by: customer.country, sum(amount))
  buyers := count(self.orders.customer.boss)
}
type Order in orders {
  customer: link Customer, other: link Customer, product: link Product, region: link Region, amount: int
  weight := self.amount * self.customer.factor
}
";

/// A store with orders of one customer, spread over two products.
fn orders(count: usize) -> Arc<MemoryStore> {
    let store = memory();
    let db = opened_within(&store, SCHEMA, usize::MAX);
    let mut writes = vec![create(&db, "Region", "r0", &[]), create(&db, "Region", "r1", &[])];
    for at in 0..3 {
        let values = [("country", text("x")), ("factor", Value::Int(at + 2)), ("region", reference("r0"))];
        writes.push(create(&db, "Customer", &format!("c{at}"), &values));
        writes.push(create(&db, "Product", &format!("p{at}"), &[]));
    }
    for at in 0..count {
        let values = [
            ("customer", reference("c0")),
            ("product", reference(&format!("p{}", at % 2))),
            ("region", reference("r0")),
            ("amount", Value::Int(at as i64)),
        ];
        writes.push(create(&db, "Order", &format!("o{at:03}"), &values));
    }
    commit(&db, writes);
    store
}

fn open_updates(db: &Db) -> Vec<Arc<Update>> {
    db.engine().updates().open.clone()
}

fn follow(db: &Db, limit: usize) {
    while db.step(limit).unwrap().is_some() {
        agree(db);
    }
    assert_eq!(db.engine().read(NOW, |working| oracle::check(working, None)).unwrap().pending, 0);
}

fn country(db: &Db, name: &str, country: &str) -> Write {
    update(db, "Customer", name, &[("country", text(country))])
}

#[test]
fn a_change_within_the_budget_is_counted_with_its_commit() {
    let db = opened_within(&orders(6), SCHEMA, 6);
    let committed = commit(&db, vec![country(&db, "c0", "y")]);
    assert!(committed.updates.is_empty());
    assert_eq!(get(&db, "Product", "p0", "x"), Value::Int(0));
}

#[test]
fn a_change_beyond_it_is_counted_member_by_member() {
    let store = orders(8);
    let db = opened_within(&store, SCHEMA, 3);
    let committed = commit(&db, vec![country(&db, "c0", "y")]);
    assert_eq!(committed.updates.len(), 2, "of `x` and of `by`");
    assert_eq!(committed.work.evaluations, 0, "no member is looked at in the commit");
    assert_eq!(get(&db, "Product", "p0", "x"), Value::Int(2 + 4 + 6));
    agree(&db);
    for step in 0..6 {
        db.step(2).unwrap().expect("a step");
        agree(&db);
        // What has been counted lives in no memory.
        if step == 2 {
            let again = opened_within(&Arc::new(store.crash_image()), SCHEMA, 3);
            agree(&again);
            follow(&again, 3);
            assert_eq!(get(&again, "Product", "p0", "x"), Value::Int(0));
        }
    }
    follow(&db, 2);
    assert_eq!(get(&db, "Product", "p1", "x"), Value::Int(0));
    for id in committed.updates {
        let record = db.engine().updates().get(id).unwrap().record.clone();
        assert_eq!((record.state, record.visited, record.estimated), (State::Done, 8, 8));
    }
}

/// Members in front of the walk and behind it change themselves, come and go, while the walk is on its way.
#[test]
fn the_members_own_changes_meanwhile_are_counted_as_they_should() {
    for limit in [1, 3] {
        let db = opened_within(&orders(9), SCHEMA, 2);
        commit(&db, vec![country(&db, "c0", "y")]);
        for at in 0..5i64 {
            db.step(limit).unwrap();
            let amount = [("amount", Value::Int(100 + at))];
            commit(&db, vec![update(&db, "Order", "o000", &amount), update(&db, "Order", "o007", &amount)]);
            agree(&db);
            let to = [("customer", reference(["c1", "c0"][at as usize % 2]))];
            commit(&db, vec![update(&db, "Order", "o001", &to), update(&db, "Order", "o006", &to)]);
            agree(&db);
            commit(&db, vec![delete(&db, "Order", &format!("o{:03}", 2 + at % 4))]);
            agree(&db);
            let new =
                [("customer", reference("c0")), ("product", reference("p0")), ("amount", Value::Int(at))];
            commit(&db, vec![create(&db, "Order", &format!("o{:03}", 2 + at % 4), &new)]);
            agree(&db);
        }
        follow(&db, limit);
    }
}

#[test]
fn a_second_change_waits_for_the_first_and_a_third_joins_the_second() {
    let db = opened_within(&orders(8), SCHEMA, 2);
    let first = commit(&db, vec![country(&db, "c0", "y")]).updates;
    let same = commit(&db, vec![country(&db, "c0", "x")]).updates;
    assert_eq!(first, same, "nobody has been passed");
    for _ in 0..4 {
        db.step(2).unwrap();
    }
    agree(&db);
    let second = commit(&db, vec![country(&db, "c0", "y")]).updates;
    assert!(second.iter().all(|id| !first.contains(id)), "{first:?} {second:?}");
    agree(&db);
    let third = commit(&db, vec![country(&db, "c0", "x")]).updates;
    assert_eq!(second, third);
    let mut ended: Vec<UpdateId> = Vec::new();
    while let Some(progress) = db.step(3).unwrap() {
        agree(&db);
        if progress.ended {
            ended.push(progress.id);
        }
        assert!(!second.contains(&progress.id) || first.iter().any(|id| ended.contains(id)), "in order");
    }
    assert_eq!(get(&db, "Product", "p0", "x"), Value::Int(2 + 4 + 6));
    follow(&db, 1);
}

/// Whether a write is refused has to be known before its reply.
#[test]
fn a_group_that_a_strict_field_reads_follows_at_once() {
    let schema = "
        type A in all { bs: inverse B.a, n := sum(self.bs[of.n > 1].n), part := 6 / self.n, strict }
        type C in seas { n: int }
        type B in bees { a: link A, of: link C, n: int }";
    let db = opened_within(&memory(), schema, 0);
    let mut writes = vec![create(&db, "C", "c", &[("n", Value::Int(2))])];
    let c = reference("c");
    writes.push(create(&db, "A", "a", &[]));
    for at in 0..3 {
        let values = [("a", reference("a")), ("of", c.clone()), ("n", Value::Int(1))];
        writes.push(create(&db, "B", &format!("b{at}"), &values));
    }
    commit(&db, writes);
    assert_eq!(codes(&refused(&db, vec![update(&db, "C", "c", &[("n", Value::Int(0))])])), ["strict part"]);
    assert!(commit(&db, vec![update(&db, "C", "c", &[("n", Value::Int(3))])]).updates.is_empty());
}

#[test]
fn a_crash_at_any_point_counts_nothing_twice() {
    let faults = [Fault::Full, Fault::Sync { survives: false }, Fault::Sync { survives: true }];
    let store = orders(30);
    let db = opened_within(&store, SCHEMA, 3);
    commit(&db, vec![country(&db, "c0", "y"), update(&db, "Customer", "c0", &[("factor", Value::Int(7))])]);
    let mut points = 0;
    loop {
        for fault in faults {
            points += 1;
            let image = Arc::new(store.crash_image());
            let broken = opened_within(&image, SCHEMA, 3);
            image.fail_next_commit(fault);
            assert!(broken.step(2).is_err(), "the store failed, and the step did not");
            drop(broken);
            let again = opened_within(&Arc::new(image.crash_image()), SCHEMA, 3);
            commit(&again, vec![update(&again, "Order", "o012", &[("amount", Value::Int(points))])]);
            agree(&again);
            again.finish_updates();
            agree(&again);
        }
        db.step(2).unwrap();
        if open_updates(&db).is_empty() {
            break;
        }
    }
    assert!(points > 200, "{points}");
}

#[derive(Clone, Debug)]
enum Act {
    Order(u8, Option<u8>, Option<u8>, u8, i64),
    Customer(u8, &'static str, i64, u8, Option<u8>),
    Delete(&'static str, u8),
    Steps(u8, usize),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let some = || prop_oneof![1 => Just(None), 5 => (0u8..3).prop_map(Some)];
    prop_oneof![
        5 => (0u8..8, some(), some(), 0u8..2, 0i64..9).prop_map(|(n, c, o, p, a)| Act::Order(n, c, o, p, a)),
        5 => (0u8..3, prop::sample::select(vec!["x", "y"]), 0i64..8, 0u8..2, some())
            .prop_map(|(n, country, factor, region, boss)| Act::Customer(n, country, factor, region, boss)),
        1 => (prop::sample::select(vec!["Order", "Customer", "Product"]), 0u8..3).prop_map(|(ty, n)| Act::Delete(ty, n)),
        5 => (1u8..4, 1usize..4).prop_map(|(count, limit)| Act::Steps(count, limit)),
        1 => Just(Act::Restart),
    ]
}

fn put(db: &Db, ty: &str, name: String, values: &[(&str, Value)]) -> Write {
    if doc(db, ty, &name).is_some() { update(db, ty, &name, values) } else { create(db, ty, &name, values) }
}

fn writes(db: &Db, act: &Act) -> Vec<Write> {
    let to = |ty: &str, prefix: &str, n: Option<u8>| match n {
        Some(n) if doc(db, ty, &format!("{prefix}{n}")).is_some() => reference(&format!("{prefix}{n}")),
        _ => Value::Absent,
    };
    match act {
        Act::Order(n, customer, other, product, amount) => {
            let values = [
                ("customer", to("Customer", "c", *customer)),
                ("other", to("Customer", "c", *other)),
                ("product", to("Product", "p", Some(*product))),
                ("region", to("Region", "r", Some(*product))),
                ("amount", Value::Int(*amount)),
            ];
            vec![put(db, "Order", format!("o{n:03}"), &values)]
        }
        Act::Customer(n, country, factor, region, boss) => {
            let values = [
                ("country", text(country)),
                ("factor", Value::Int(*factor)),
                ("region", to("Region", "r", Some(*region))),
                ("boss", to("Customer", "c", *boss)),
            ];
            vec![put(db, "Customer", format!("c{n}"), &values)]
        }
        Act::Delete(ty, n) => {
            let name = if *ty == "Order" {
                format!("o{n:03}")
            } else {
                format!("{}{n}", ty.to_lowercase().remove(0))
            };
            vec![delete(db, ty, &name)]
        }
        Act::Steps(..) | Act::Restart => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn groups_are_right_at_every_moment(
        count in 3usize..9, budget in 0usize..4, acts in prop::collection::vec((act(), any::<bool>()), 10..40)
    ) {
        let store = orders(count);
        let mut db = opened_within(&store, SCHEMA, budget);
        let mut together: Vec<Write> = Vec::new();
        for (act, alone) in &acts {
            match act {
                Act::Steps(times, limit) => {
                    for _ in 0..*times {
                        db.step(*limit).unwrap();
                        let found = wrong(&db);
                        prop_assert!(found.is_empty(), "{found:#?} after a step of {limit}");
                    }
                }
                Act::Restart => {
                    drop(db);
                    db = opened_within(&Arc::new(store.crash_image()), SCHEMA, budget);
                    drop(db);
                    db = opened_within(&store, SCHEMA, budget);
                }
                act => together.append(&mut writes(&db, act)),
            }
            if !*alone {
                continue;
            }
            match try_commit(&db, std::mem::take(&mut together)) {
                Ok(_) | Err(EngineError::Refused(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let found = wrong(&db);
            prop_assert!(found.is_empty(), "{found:#?} after {act:?}");
        }
        db.finish_updates();
        prop_assert!(wrong(&db).is_empty());
        prop_assert_eq!(db.engine().read(NOW, |working| oracle::check(working, None)).unwrap().pending, 0);
    }
}
