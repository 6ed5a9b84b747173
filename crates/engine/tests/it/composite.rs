//! Indexes over several fields: their entries stand in the order of the values, follow what changes, and a query reads of
//! them what it shows.

use std::cmp::Ordering;

use crate::common::*;
use corollary_engine::query::{self, Access, DEFAULT_SCAN_LIMIT, Explained, From, Page, Query};
use corollary_engine::rebuild::Structure;
use corollary_engine::{EngineError, keys, oracle, side_state};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::{FieldRef, Schema};
use corollary_store::{Batch, Direction, KeyRange, Store};
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value, compare};
use proptest::prelude::*;

const SHOP: &str = "
type Customer in customers { name: str, orders: inverse Order.customer, notes: collection Note }
type Order in orders index (customer, at desc), index (status, total desc, at), index (who, at) {
  customer: link Customer
  status: 'open' | 'paid'
  at: int
  amount: int
  total := self.amount * 2
  who := self.customer.name
}
type Note index (parent, at desc) { at: int }
";

/// An order: true is descending.
type By<'a> = &'a [(&'a str, bool)];

/// An index over several fields, as it is declared, and whether it comes in order; none where another path is taken.
type Walked = Option<(String, bool)>;

fn asked(db: &Db, ty: &str, filter: &str, order: &[(&str, bool)]) -> Query {
    let engine = db.engine();
    let schema: &Schema = engine.schema();
    let ty = schema.type_named(ty).unwrap();
    let filter = (!filter.is_empty()).then(|| {
        let (filter, mistakes) = check_condition(schema, ty, &parse_expression(filter).tree);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        filter
    });
    let key = |key: &str| {
        let (expr, mistakes) = check_expr(schema, Place::Query(ty), &parse_expression(key).tree);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        expr
    };
    Query {
        ty,
        from: From::All,
        filter,
        order: order.iter().map(|(by, descending)| (key(by), *descending)).collect(),
        limit: 10,
        after: None,
        scan_limit: DEFAULT_SCAN_LIMIT,
    }
}

fn explained(db: &Db, asked: &Query) -> Explained {
    db.engine().read(NOW, |working| query::explain(working, asked)).unwrap()
}

/// Which index over several fields a query walks.
fn over(db: &Db, asked: &Query) -> Walked {
    let Explained { access, ordered, .. } = explained(db, asked);
    let Access::Composite(ty, number) = access else { return None };
    let engine = db.engine();
    let ty = engine.schema().ty(ty);
    Some((ty.composite(number)?.describe(ty), ordered))
}

/// A page, and how many rows of the store it took.
fn run(db: &Db, asked: &Query) -> (Page, u64) {
    let read = db.engine().read(NOW, |working| {
        let before = working.base.rows_read();
        let page = query::run(working, asked)?;
        Ok((page, working.base.rows_read() - before))
    });
    read.unwrap()
}

fn ids(page: &Page) -> Vec<String> {
    page.items.iter().map(|item| item.key.id.to_string()).collect()
}

fn brute(db: &Db, asked: &Query) -> Vec<String> {
    let found = db.engine().read(NOW, |working| oracle::queries::found(working, asked)).unwrap();
    found.iter().map(Id::to_string).collect()
}

/// So many orders, one of three of which is of `c1`, and notes of `c1`.
fn shop(schema: &str, orders: i64) -> Db {
    let db = fresh(schema);
    let customers = (0..3).map(|n| create(&db, "Customer", &format!("c{n}"), &[("name", text("ann"))]));
    commit(&db, customers.collect());
    let order = |n: i64| {
        let facts = [
            ("customer", reference(&format!("c{}", n % 3))),
            ("status", text(if n % 5 == 0 { "open" } else { "paid" })),
            ("at", if n % 50 == 49 { Value::Absent } else { Value::Int(n * 7 % 101) }),
            ("amount", Value::Int(n % 11)),
        ];
        create(&db, "Order", &format!("o{n:05}"), &facts)
    };
    commit(&db, (0..orders).map(order).collect());
    let note = |n: i64| {
        let parent = ("parent_customer_notes", reference("c1"));
        create(&db, "Note", &format!("n{n:05}"), &[parent, ("at", Value::Int(n * 3 % 17))])
    };
    commit(&db, (0..orders / 3).map(note).collect());
    agree(&db);
    db
}

/// All of a query, page by page, each of which took no more rows than these.
fn pages(db: &Db, asked: &Query, most: u64) -> Vec<String> {
    let (mut asked, mut found) = (asked.clone(), Vec::new());
    loop {
        let (page, rows) = run(db, &asked);
        assert!(rows <= most, "{rows} rows for a page of {}", asked.limit);
        found.extend(ids(&page));
        match page.items.last() {
            Some(last) if page.more => asked.after = Some(last.position.clone()),
            _ => return found,
        }
    }
}

/// All that a customer has was read and sorted for each page of it.
#[test]
fn a_page_of_what_a_parent_has_in_an_order_costs_the_page() {
    let db = shop(SHOP, 2_000);
    for (ty, via) in [("Order", "customer"), ("Note", "parent_customer_notes")] {
        for descending in [true, false] {
            let mut of_one = asked(&db, ty, "", &[("at", descending)]);
            let all = of_one.ty;
            of_one.from = From::Referring(FieldRef { ty: all, slot: slot(&db, ty, via) }, id("c1"));
            assert_eq!(over(&db, &of_one), Some((format!("{via}, at desc"), true)));
            assert_eq!(pages(&db, &of_one, 22), brute(&db, &of_one), "{ty} by at, descending: {descending}");
        }
    }
    let by_filter = asked(&db, "Order", "customer = 'c1'", &[("at", true)]);
    assert_eq!(over(&db, &by_filter), Some(("customer, at desc".into(), true)));
    assert_eq!(pages(&db, &by_filter, 22), brute(&db, &by_filter));
}

#[test]
fn an_index_is_taken_where_it_answers_more() {
    let db = shop(SHOP, 600);
    let at = [("at", false)];
    let status = Some(("status, total desc, at".to_string(), true));
    let unordered = |index: &str| Some((index.to_string(), false));
    let cases: [(&str, By<'_>, Walked); 16] = [
        ("customer = 'c1'", &[("at", true)], Some(("customer, at desc".into(), true))),
        ("customer = 'c1'", &[("at", false)], Some(("customer, at desc".into(), true))),
        ("customer = 'c1' & at > 40", &[("at", true)], Some(("customer, at desc".into(), true))),
        ("customer = 'c1' & at > 40 & at <= 50", &[], unordered("customer, at desc")),
        ("customer._id = 'c2' & at = null", &[], Some(("customer, at desc".into(), true))),
        // The order of what is equal counts for nothing.
        ("customer = 'c1'", &[("customer", true), ("at", false)], Some(("customer, at desc".into(), true))),
        ("customer = 'c1'", &[("at", true), ("customer", true)], Some(("customer, at desc".into(), true))),
        // But its direction is that of the ids.
        ("customer = 'c1'", &[("at", true), ("customer", false)], None),
        ("status = 'open'", &[("total", true), ("at", false)], status.clone()),
        ("status = 'open'", &[("total", false), ("at", true)], status.clone()),
        ("status = 'open' & total = 4", &at, status.clone()),
        ("status = 'open' & total = 4 & at = 7", &[], status.clone()),
        ("total = 4", &[("status", false), ("at", false)], status.clone()),
        ("status = 'open' & total > 4", &at, unordered("status, total desc, at")),
        ("", &[("status", true), ("total", false), ("at", true)], status.clone()),
        ("", &[("status", true), ("total", true), ("at", true)], None),
    ];
    for (filter, order, expected) in cases {
        let query = asked(&db, "Order", filter, order);
        assert_eq!(over(&db, &query), expected, "{filter} by {order:?}");
        assert_eq!(pages(&db, &query, u64::MAX), brute(&db, &query), "{filter} by {order:?}");
    }
    // Who looks for some that are fewer still goes by these.
    let few = asked(&db, "Order", "customer = 'c1' & _id = 'o00001'", &[("at", true)]);
    assert_eq!(ids(&run(&db, &few).0), ["o00001"]);
}

#[test]
fn an_index_that_would_help_is_named() {
    let plain =
        SHOP.replace(" index (customer, at desc), index (status, total desc, at), index (who, at)", "");
    let db = shop(&plain, 600);
    let cases: [(&str, By<'_>, &str); 4] = [
        ("status = 'paid'", &[("at", true)], "`index (status, at desc)` on Order would help"),
        ("status = 'paid' & total > 2", &[("at", false)], "`index (status, at)` on Order would help"),
        ("", &[("status", false), ("total", true)], "`index (status, total desc)` on Order would help"),
        ("status = 'paid'", &[("amount + 1", true)], "`index` on Order.status would help"),
    ];
    for (filter, order, help) in cases {
        let query = Query { scan_limit: 100, ..asked(&db, "Order", filter, order) };
        let outcome = db.engine().read(NOW, |working| query::run(working, &query));
        let Err(EngineError::Refused(found)) = outcome else { panic!("{outcome:?}") };
        assert!(found[0].message.contains(help), "{}", found[0].message);
    }
    let mut of_one = asked(&db, "Order", "", &[("at", true)]);
    of_one.scan_limit = 100;
    of_one.from = From::Referring(FieldRef { ty: of_one.ty, slot: slot(&db, "Order", "customer") }, id("c1"));
    let outcome = db.engine().read(NOW, |working| query::run(working, &of_one));
    let Err(EngineError::Refused(found)) = outcome else { panic!("{outcome:?}") };
    assert!(found[0].message.contains("`index (customer, at desc)` on Order"), "{}", found[0].message);
}

#[test]
fn entries_follow_what_changes_whoever_changes_it() {
    let store = memory();
    let db = opened_within(&store, SHOP, 5);
    let customers = ["c0", "c1"].map(|name| create(&db, "Customer", name, &[("name", text(name))]));
    commit(&db, customers.to_vec());
    let order = |n: i64| {
        let facts = [("customer", reference("c0")), ("at", Value::Int(n % 7)), ("amount", Value::Int(n))];
        create(&db, "Order", &format!("o{n:02}"), &facts)
    };
    commit(&db, (0..40).map(order).collect());
    agree(&db);
    let of = |name: &str| {
        let query = asked(&db, "Order", &format!("who = '{name}'"), &[("at", false)]);
        assert_eq!(over(&db, &query), Some(("who, at".into(), true)));
        pages(&db, &query, u64::MAX).len()
    };
    // By propagation, and behind the budget by an update.
    commit(&db, vec![update(&db, "Order", "o01", &[("customer", reference("c1"))])]);
    agree(&db);
    assert_eq!((of("c0"), of("c1")), (39, 1));
    commit(&db, vec![update(&db, "Customer", "c0", &[("name", text("eve"))])]);
    assert!(!db.engine().updates().open.is_empty(), "it is more than the budget lets");
    while db.step(3).unwrap().is_some() {
        agree(&db);
    }
    assert_eq!((of("c0"), of("c1"), of("eve")), (0, 1, 39));
    commit(&db, vec![delete(&db, "Order", "o02"), update(&db, "Order", "o03", &[("at", Value::Int(99))])]);
    agree(&db);
    assert_eq!(of("eve"), 38);
    let long = text(&"x".repeat(9_000));
    let both = "type A in as index (s, t) { s: str, t: str }";
    let db = fresh(both);
    commit(&db, vec![create(&db, "A", "a", &[("s", long.clone())])]);
    let found = refused(&db, vec![update(&db, "A", "a", &[("t", long)])]);
    assert_eq!(codes(&found), ["too-long s"]);
    assert!(found[0].message.contains("(s, t)"), "{}", found[0].message);
}

#[test]
fn an_index_comes_and_goes_with_its_declaration() {
    let store = memory();
    let without = "type A in as { x: int, y: int }";
    let with = |keys: &str| format!("type A in as index ({keys}) {{ x: int, y: int }}");
    let (one, other) = (with("x, y desc"), with("y, x"));
    let rows = || {
        let mut rows = 0;
        let range = KeyRange { from: std::ops::Bound::Unbounded, to: std::ops::Bound::Unbounded };
        let snapshot = store.snapshot().unwrap();
        let count = &mut |_: &[u8], _: &[u8]| {
            rows += 1;
            std::ops::ControlFlow::Continue(())
        };
        snapshot.scan(keys::INDEX, &range, Direction::Forward, usize::MAX, count).unwrap();
        rows
    };
    for (count, schema) in (0i64..).zip([without, &one, &other, &one, without, &one]) {
        let db = opened(&store, schema);
        assert_eq!(rows(), if schema == without { 0 } else { count });
        agree(&db);
        let facts = [("x", Value::Int(count % 2)), ("y", Value::Int(count))];
        commit(&db, vec![create(&db, "A", &format!("a{count}"), &facts)]);
        agree(&db);
        let query = asked(&db, "A", "x = 1", &[("y", true)]);
        assert_eq!(pages(&db, &query, u64::MAX), brute(&db, &query));
    }
}

/// What is wrong with an index is found, and mended row by row.
#[test]
fn wrong_entries_are_found_and_mended() {
    let store = memory();
    let db = opened(&store, SHOP);
    commit(&db, vec![create(&db, "Customer", "c0", &[("name", text("ann"))])]);
    let order = |n: i64| {
        create(&db, "Order", &format!("o{n}"), &[("customer", reference("c0")), ("at", Value::Int(n))])
    };
    commit(&db, (0..4).map(order).collect());
    let number = {
        let engine = db.engine();
        let schema = engine.schema();
        schema.ty(schema.type_named("Order").unwrap()).indexes[0].number
    };
    let range = KeyRange::prefix(number.0.to_be_bytes().to_vec());
    let mut there = Vec::new();
    let keep = &mut |key: &[u8], _: &[u8]| {
        there.push(key.to_vec());
        std::ops::ControlFlow::Continue(())
    };
    store.snapshot().unwrap().scan(keys::INDEX, &range, Direction::Forward, usize::MAX, keep).unwrap();
    assert_eq!(there.len(), 4);
    let mut odd = number.0.to_be_bytes().to_vec();
    keys::push_part(&reference("c0"), false, &mut odd);
    keys::push_part(&Value::Int(9), true, &mut odd);
    keys::push_last_id(&id("o1"), true, &mut odd);
    let mut batch = Batch::new();
    batch.delete(keys::INDEX, there[2].clone());
    batch.put(keys::INDEX, odd, Vec::new());
    store.commit(&batch).unwrap();
    assert_eq!(wrong(&db), ["the index (customer, at desc) of Order is not what the values give"]);
    let structure = Structure::Index(number);
    let rows =
        db.engine().read(NOW, |working| side_state::wrong_rows(working, structure, 10)).unwrap().unwrap();
    assert_eq!(rows.len(), 2);
    db.change(|executor| executor.mend_rows(structure, &rows)).unwrap();
    agree(&db);
}

/// Values of one kind or another that stand next to each other in the order.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Absent),
        Just(Value::Null),
        (-2i64..3).prop_map(Value::Int),
        prop::sample::select(vec![-0.5, 0.0, 0.1, 1.5]).prop_map(Value::Float),
        prop::sample::select(vec!["0.1", "-1.10", "2"]).prop_map(|it| Value::Decimal(it.parse().unwrap())),
        prop::sample::select(vec!["", "a", "a\u{0}", "a\u{0}\u{1}", "ab", "é"]).prop_map(text),
        any::<bool>().prop_map(Value::Bool),
        prop::sample::select(vec!["a", "b", "a1"]).prop_map(reference),
    ]
}

proptest! {
    /// The bytes of entries are in the order of what they are made of, whatever the directions; and each tells its id.
    #[test]
    fn the_order_of_entries_is_that_of_values(
        directions in prop::collection::vec(any::<bool>(), 2..4),
        left in prop::collection::vec(value(), 4),
        right in prop::collection::vec(value(), 4),
        same in 0usize..4,
        names in (prop::sample::select(vec!["a", "b", "ab"]), prop::sample::select(vec!["a", "b", "ab"])),
    ) {
        // Differences behind the first field are to be seen too.
        let right: Vec<Value> = left.iter().take(same).chain(right.iter().skip(same)).cloned().collect();
        let entry = |values: &[Value], name: &str| {
            let mut key = vec![0, 0, 0, 7];
            for (value, descending) in values.iter().zip(&directions) {
                keys::push_part(value, *descending, &mut key);
            }
            keys::push_last_id(&id(name), *directions.last().unwrap(), &mut key);
            key
        };
        let turned = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
        let null = |value: &Value| if value.is_null() { Value::Null } else { value.clone() };
        let by_value = left.iter().zip(&right).zip(&directions).fold(Ordering::Equal, |order, ((left, right), descending)| {
            order.then(turned(compare(&null(left), &null(right)), *descending))
        });
        let by_id = turned(id(names.0).cmp(&id(names.1)), *directions.last().unwrap());
        let (one, other) = (entry(&left, names.0), entry(&right, names.1));
        prop_assert_eq!(one.cmp(&other), by_value.then(by_id));
        prop_assert_eq!(keys::read_composite(&one, directions.iter().copied()), Some(id(names.0)));
        prop_assert_eq!(keys::read_composite(&one[..one.len() - 1], directions.iter().copied()), None);
    }
}
