//! A walk in order against a path that has to be sorted: whichever is better, a page costs little more than by that one.

use std::sync::OnceLock;

use crate::common::*;
use corollary_engine::oracle;
use corollary_engine::query::{self, Access, DEFAULT_SCAN_LIMIT, From, Query};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::{FieldRef, Schema};
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value};
use proptest::prelude::*;

const SCHEMA: &str = "type Item in items {
    n: int index, kind: str index, price: int index, tags: [str] index, note: str
}";

const ITEMS: i64 = 6_000;

/// Items whose numbers and prices have nothing to do with each other; those that are late stand last by number.
fn items() -> &'static Read {
    static READ: OnceLock<Read> = OnceLock::new();
    READ.get_or_init(|| {
        let db = fresh(SCHEMA);
        let item = |at: i64| {
            let kind = match at {
                _ if at % 2 == 0 => "even",
                _ if at > ITEMS * 9 / 10 => "late",
                _ => "odd",
            };
            let facts = [
                ("n", Value::Int(at)),
                ("kind", text(kind)),
                ("price", Value::Int(at * 7_919 % ITEMS)),
                ("tags", list([text(if at % 3 == 0 { "third" } else { "other" })])),
                ("note", text(if at % 5 == 0 { "five" } else { "none" })),
            ];
            create(&db, "Item", &format!("i{:05}", at * 31 % ITEMS), &facts)
        };
        for at in (0..ITEMS).step_by(1_000) {
            commit(&db, (at..at + 1_000).map(item).collect());
        }
        Read(db.engine())
    })
}

/// An engine that is only read.
struct Read(std::sync::Arc<corollary_engine::Engine>);

impl Read {
    fn asked(&self, filter: &str, order: &str, limit: usize) -> Query {
        let schema: &Schema = self.0.schema();
        let ty = schema.type_named("Item").unwrap();
        let (filter, mistakes) = check_condition(schema, ty, &parse_expression(filter).tree);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let by = |by: &str| {
            let (name, descending) = by.strip_prefix('-').map_or((by, false), |name| (name, true));
            (check_expr(schema, Place::Query(ty), &parse_expression(name).tree).0, descending)
        };
        let order = order.split_whitespace().map(by).collect();
        let scan_limit = DEFAULT_SCAN_LIMIT;
        Query { ty, from: From::All, filter: Some(filter), order, limit, after: None, scan_limit }
    }

    /// A page, and how many rows of the store it took, documents among them.
    fn page(&self, asked: &Query) -> (Vec<Id>, u64) {
        let read = self.0.read(NOW, |working| {
            let before = working.base.rows_read();
            let page = query::run(working, asked)?;
            let ids: Vec<Id> = page.items.into_iter().map(|item| item.key.id).collect();
            Ok((ids, working.base.rows_read() - before))
        });
        read.unwrap()
    }

    fn brute(&self, asked: &Query) -> Vec<Id> {
        let mut found = self.0.read(NOW, |working| oracle::queries::found(working, asked)).unwrap();
        found.truncate(asked.limit);
        found
    }

    fn access(&self, asked: &Query) -> (Access, Vec<Access>) {
        let told = self.0.read(NOW, |working| query::explain(working, asked)).unwrap();
        (told.access, told.others)
    }

    fn index(&self, field: &str) -> Access {
        let schema = self.0.schema();
        let ty = schema.type_named("Item").unwrap();
        Access::Index(FieldRef { ty, slot: schema.ty(ty).named(field).unwrap().0 })
    }
}

/// A condition that holds of many had all of them visited and sorted for the first page of an order that has an index.
#[test]
fn a_page_in_order_of_what_holds_of_many_costs_the_page() {
    let db = items();
    for (filter, order) in [
        ("kind = 'even'", "-n"),
        ("kind = 'even'", "price"),
        ("price > 100", "n"),
        ("'third' in tags", "-price"),
        ("kind in ['odd', 'late']", "n"),
        ("price > 100", ""),
        ("kind = 'even' and price > 100", "-n"),
    ] {
        let asked = db.asked(filter, order, 10);
        let (page, rows) = db.page(&asked);
        assert_eq!(page, db.brute(&asked), "{filter} by {order}");
        // 256 of each index are counted, to see whether it is few.
        assert!(rows < 700, "{filter} by {order}: {rows} rows");
    }
}

/// A condition that holds of some, or of those at the other end, had nearly everything visited in the order that was asked for.
#[test]
fn a_walk_in_order_gives_way_to_what_has_fewer_rows() {
    let db = items();
    for (filter, order, found) in [
        // A twentieth, and none of the first.
        ("price < 300", "n", 300),
        ("price < 300", "", 300),
        ("kind = 'late'", "n", 300),
        ("kind = 'late' and price > 1000", "-price", 300),
        ("price < 400 and note = 'five'", "-n", 400),
        ("price < 400 and note = 'nothing'", "-n", 400),
    ] {
        let asked = db.asked(filter, order, 100);
        let (page, rows) = db.page(&asked);
        assert_eq!(page, db.brute(&asked), "{filter} by {order}");
        // Each visit is a row of the index and a document.
        let most = 2 * (found + 2 * found) + 700;
        assert!(rows < most, "{filter} by {order}: {rows} rows, and at most {most}");
    }
}

#[test]
fn few_rows_are_taken_at_once_and_ways_are_told_in_the_order_in_which_they_are_tried() {
    let db = items();
    let index = |field: &str| db.index(field);
    for (filter, order, access, others) in [
        ("price < 100", "n", index("price"), vec![index("n"), Access::All]),
        ("price < 2000", "n", index("n"), vec![index("price"), Access::All]),
        ("price < 2000", "", Access::All, vec![index("price")]),
        (
            "kind = 'even' and price < 2000",
            "-n",
            index("n"),
            vec![index("kind"), index("price"), Access::All],
        ),
        ("kind = 'even' and price < 2000", "", index("kind"), vec![Access::All, index("price")]),
    ] {
        assert_eq!(db.access(&db.asked(filter, order, 10)), (access, others), "{filter} by {order}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whichever_way_is_taken_the_page_is_the_same(
        (least, width) in (0i64..ITEMS, 0i64..ITEMS),
        kind in prop::sample::select(vec!["", "kind = 'even'", "kind = 'late'", "'third' in tags", "note = 'five'"]),
        order in prop::sample::select(vec!["", "n", "-n", "price", "-price", "-kind", "n price"]),
        limit in 1usize..400, scan_limit in prop_oneof![Just(DEFAULT_SCAN_LIMIT), 100usize..8_000],
    ) {
        let db = items();
        let mut filter = format!("price >= {least} and price < {}", least + width);
        if !kind.is_empty() {
            filter = format!("{kind} and {filter}");
        }
        let asked = Query { scan_limit, ..db.asked(&filter, order, limit) };
        let page = db.0.read(NOW, |working| query::run(working, &asked));
        match page {
            Ok(page) => {
                let ids: Vec<Id> = page.items.into_iter().map(|item| item.key.id).collect();
                prop_assert_eq!(ids, db.brute(&asked));
            }
            // Nothing is refused that has an index with no more rows than may be visited.
            Err(_) => prop_assert!((width as usize).min(ITEMS as usize - least as usize) > scan_limit),
        }
    }
}
