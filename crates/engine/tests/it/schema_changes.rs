//! Data that is opened with another schema: what is new is built, what would lose facts is refused, and a crash at any
//! moment leaves something that the next opening takes up.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::versions::*;
use crate::common::*;
use corollary_engine::catalog::{OpenError, stored_schema};
use corollary_engine::{EngineError, Transaction, keys};
use corollary_store::{Direction, Fault, KeyRange, MemoryStore, Store};
use corollary_value::Value;
use proptest::prelude::*;

/// All that the store holds, but for what is told in the catalog.
fn rows(store: &MemoryStore) -> BTreeMap<(u8, Vec<u8>), Vec<u8>> {
    let snapshot = store.snapshot().unwrap();
    let mut rows = BTreeMap::new();
    for spec in keys::KEYSPACES {
        snapshot
            .scan(spec.keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, &mut |key, value| {
                rows.insert((spec.keyspace.0, key.to_vec()), value.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    rows
}

fn refusal(store: &Arc<MemoryStore>, schema: &str) -> Vec<String> {
    let before = rows(store);
    match try_open(store, schema) {
        Err(OpenError::Refused(reasons)) => {
            assert_eq!(rows(store), before, "a refused opening changes nothing");
            reasons
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("not refused: {schema}"),
    }
}

#[test]
fn new_derived_fields_are_built_over_what_is_there() {
    let store = memory();
    fill(&opened(&store, &shop("", "", "")));
    let fields = "total := sum(self.orders.amount), n := count(self.orders[kind = 'b']), mean := self.total / self.n,
        best := first(self.orders[order by amount desc]), best_price := self.best.item.price,
        top := max(self.orders.worth), least := min(self.orders[amount > 5].amount) index, items := self.orders.item,
        rich := self.orders[worth > 20], avg := average(self.orders.amount)";
    let order = "worth := self.amount + self.item.price, of := self.parent_shop_orders.total, share := self.amount / self.of";
    let db = opened(
        &store,
        &shop(fields, order, "sold := count(self.link_order_item), in_best := count(self.shop.orders)"),
    );
    agree(&db);
    assert_eq!(get(&db, "Shop", "s0", "total"), Value::Int(60));
    assert_eq!(get(&db, "Shop", "s0", "best_price"), Value::Int(4));
    commit(&db, vec![update(&db, "Item", "i4", &[("price", Value::Int(100))]), delete(&db, "Order", "o2")]);
    assert_eq!(get(&db, "Shop", "s0", "best_price"), Value::Int(100));
    agree(&db);
    drop(db);
    // Opened again with the same schema, nothing is written.
    let before = rows(&store);
    agree(&opened(
        &store,
        &shop(fields, order, "sold := count(self.link_order_item), in_best := count(self.shop.orders)"),
    ));
    assert_eq!(rows(&store), before);
}

/// A field that no resource has a value of could not be removed: any resource of the type was taken for one.
#[test]
fn a_field_that_nobody_uses_can_be_removed_or_changed() {
    let store = memory();
    fill(&opened(&store, &shop("spare: str", "", "")));
    let db = opened(&store, &shop("spare: int", "", ""));
    commit(&db, vec![update(&db, "Shop", "s0", &[("spare", Value::Int(3))])]);
    drop(db);
    let reasons = refusal(&store, &shop("", "", ""));
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let db = opened(&store, &shop("spare: int", "", ""));
    commit(&db, vec![update(&db, "Shop", "s0", &[("spare", Value::Absent)])]);
    drop(db);
    agree(&opened(&store, &shop("", "", "")));
}

/// What had followed came back as a fact: a derived field and a stored one of the same name had the same number, so the
/// values of the one, still in the documents, were taken for values of the other, of whatever type.
#[test]
fn values_that_followed_are_not_taken_for_facts_of_the_same_name() {
    for between in [None, Some("")] {
        let store = memory();
        fill(&opened(&store, &shop("", "", "x := self.price * 2")));
        if let Some(between) = between {
            opened(&store, &shop("", "", between));
        }
        let db = opened(&store, &shop("", "", "x: str unique"));
        assert_eq!(get(&db, "Item", "i1", "x"), Value::Absent);
        commit(&db, vec![update(&db, "Item", "i1", &[("x", text("six"))])]);
        agree(&db);
    }
}

/// A field that reads through an existing derived link needs the way back along that link. It was never built over what
/// was there, so later changes at the link's target did not reach the new field.
#[test]
fn a_new_field_that_reads_through_an_old_derived_link_is_kept_true() {
    let store = memory();
    let best = "best := first(self.orders[order by amount desc])";
    fill(&opened(&store, &shop(best, "", "")));
    let db = opened(&store, &shop(&format!("{best}, best_note := self.best.note"), "", ""));
    agree(&db);
    commit(&db, vec![update(&db, "Order", "o4", &[("note", text("n"))])]);
    assert_eq!(get(&db, "Shop", "s0", "best_note"), text("n"));
    agree(&db);
}

#[test]
fn a_changed_expression_replaces_the_old_values_and_all_that_follows_from_them() {
    let store = memory();
    let versions = [
        "x := sum(self.orders.amount), y := self.x + 1",
        "x := sum(self.orders[kind = 'b'].amount), y := self.x + 1",
        "x := max(self.orders.amount), y := self.x + 1",
        "x := count(self.orders.item), y := self.x + 1",
        "x := count(self.orders), y := self.x + 1",
        "x := first(self.orders[order by amount]), y := self.x.amount",
        "x := last(self.orders[order by amount]), y := self.x.amount",
        "x := self.orders, y := count(self.x)",
        "x := self.orders[amount > 10], y := count(self.x)",
        "x := self.orders.item, y := sum(self.x.price)",
        "x := self.name, y := self.x",
        "x := sum(self.orders.amount) index, y := self.x + 1",
    ];
    let first = opened(&store, &shop("", "", ""));
    fill(&first);
    drop(first);
    let all = versions.iter().chain(versions.iter().rev()).chain(versions.iter().step_by(3));
    for (at, version) in all.enumerate() {
        let db = opened(&store, &shop(version, "", ""));
        agree(&db);
        let amount = Value::Int(at as i64 % 7 * 5);
        commit(&db, vec![update(&db, "Order", "o3", &[("amount", amount), ("item", reference("i0"))])]);
        agree(&db);
        commit(
            &db,
            vec![update(&db, "Order", "o3", &[("amount", Value::Int(at as i64)), ("item", Value::Absent)])],
        );
        agree(&db);
    }
}

#[test]
fn a_field_that_comes_back_does_not_bring_its_old_values() {
    let store = memory();
    let with = shop(
        "total := sum(self.orders.amount), top := max(self.orders.amount), items := self.orders.item, double := self.total * 2",
        "",
        "",
    );
    let db = opened(&store, &with);
    fill(&db);
    drop(db);
    let db = opened(&store, &shop("", "", ""));
    agree(&db);
    commit(
        &db,
        vec![
            update(&db, "Order", "o3", &[("amount", Value::Int(7))]),
            delete(&db, "Order", "o4"),
            delete(&db, "Item", "i0"),
        ],
    );
    drop(db);
    let db = opened(&store, &with);
    agree(&db);
    commit(&db, vec![update(&db, "Order", "o0", &[("amount", Value::Int(9))])]);
    agree(&db);
}

#[test]
fn a_new_index_serves_and_an_old_one_goes() {
    let store = memory();
    let db = opened(&store, &shop("total := sum(self.orders.amount)", "", ""));
    fill(&db);
    drop(db);
    let indexed = SHOP.replace("amount: int", "amount: int index").replace("note: str", "note: str unique");
    let indexed = indexed.replace("ORDER_FIELDS", "").replace("ITEM_FIELDS", "");
    let indexed = indexed.replace("FIELDS", "total := sum(self.orders.amount) index");
    let db = opened(&store, &indexed);
    agree(&db);
    let entries =
        |store: &MemoryStore| rows(store).keys().filter(|(space, _)| *space == keys::INDEX.0).count();
    assert_eq!(entries(&store), 5 + 5 + 2);
    commit(&db, vec![update(&db, "Order", "o0", &[("note", text("n"))])]);
    assert_eq!(
        codes(&refused(&db, vec![update(&db, "Order", "o1", &[("note", text("n"))])])),
        ["unique note"]
    );
    drop(db);
    agree(&opened(&store, &shop("", "", "")));
    assert_eq!(entries(&store), 0);
}

#[test]
fn unique_over_duplicates_is_refused() {
    let store = memory();
    let plain = "type A in all { s: str, n: int, twice := self.n * 2 }";
    let db = opened(&store, plain);
    let values = |n: i64| [("s", text("same")), ("n", Value::Int(n))];
    commit(
        &db,
        vec![
            create(&db, "A", "a", &values(1)),
            create(&db, "A", "b", &values(2)),
            create(&db, "A", "c", &[]),
        ],
    );
    drop(db);
    let reasons = refusal(&store, "type A in all { s: str unique, n: int unique, thrice := self.n * 3 }");
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(["A.s", "a", "b", "same"].iter().all(|part| reasons[0].contains(part)), "{reasons:?}");
    assert_eq!(stored_schema(&*store).unwrap().as_deref(), Some(plain));
    let db = opened(&store, plain);
    commit(&db, vec![update(&db, "A", "b", &[("s", text("other"))])]);
    drop(db);
    let db = opened(&store, "type A in all { s: str unique, n: int unique }");
    assert_eq!(codes(&refused(&db, vec![update(&db, "A", "b", &[("s", text("same"))])])), ["unique s"]);
    agree(&db);
}

#[test]
fn what_would_lose_facts_is_refused() {
    let plain = "
    type Box in boxes { s: str, n: int, e: 'a' | 'b', l: [int], o: { m: int }, m: map<int>, to: link Thing, all: links Thing, parts: collection Part, twice := self.n * 2 }
    type Part { w: int }
    type Thing in things { t: str }
    type Empty in empties { x: int, y: str }";
    let store = memory();
    let db = opened(&store, plain);
    let o = object(&[("m", Value::Int(1))]);
    let values = [
        ("s", text("x")),
        ("n", Value::Int(3)),
        ("l", list([Value::Int(1)])),
        ("m", object(&[("k", Value::Int(1))])),
        ("o", o),
        ("e", text("b")),
        ("to", reference("t")),
        ("all", references(&["t"])),
    ];
    let writes = vec![
        create(&db, "Thing", "t", &[]),
        create(&db, "Box", "b", &values),
        create(&db, "Part", "p", &[("parent_box_parts", reference("b"))]),
    ];
    commit(&db, writes);
    drop(db);
    for (from, to, named) in [
        ("s: str,", "", "Box.s"),
        ("s: str", "s: int", "Box.s"),
        ("n: int,", "n: float,", "Box.n"),
        ("e: 'a' | 'b'", "e: 'a'", "Box.e"),
        ("l: [int]", "l: [str]", "Box.l"),
        ("o: { m: int }", "o: { k: int }", "Box.o"),
        ("o: { m: int }", "o: { m: str }", "Box.o"),
        ("m: map<int>", "m: map<str>", "Box.m"),
        ("to: link Thing", "to: link Part", "Box.to"),
        ("to: link Thing", "to: links Thing", "Box.to"),
        ("all: links Thing,", "", "Box.all"),
        ("parts: collection Part,", "", "Part.parent_box_parts"),
        ("type Thing in things { t: str }", "type Thing { t: str }", "Thing"),
        ("s: str, n: int", "s := self.n, n: int", "Box.s"),
    ] {
        let schema = plain.replace(from, to);
        assert_ne!(schema, plain);
        let reasons = refusal(&store, &schema);
        assert!(reasons.iter().any(|reason| reason.contains(named)), "{reasons:?} for {to:?}");
        assert_eq!(stored_schema(&*store).unwrap().as_deref(), Some(plain));
    }
    let without_thing = plain
        .replace("type Thing in things { t: str }", "")
        .replace("link Thing", "link Part")
        .replace("links Thing", "links Part");
    assert!(refusal(&store, &without_thing).iter().any(|reason| reason.contains("Thing")));
    agree(&opened(&store, plain));
    for (from, to) in [
        ("type Empty in empties { x: int, y: str }", ""),
        ("type Empty in empties { x: int, y: str }", "type Empty { x: str }"),
        ("e: 'a' | 'b'", "e: 'c' | 'b' | 'a'"),
        ("e: 'a' | 'b'", "e: str"),
        ("e: 'a' | 'b'", "e: json"),
        ("o: { m: int }", "o: { k: str, m: int, z: [str] }"),
        ("n: int,", "z: str default 'q', n: int required, min 5,"),
        ("twice := self.n * 2", "thrice := self.n * 3"),
        ("type Box in boxes { s: str, n: int,", "type Box in crates { n: int, s: str,"),
    ] {
        let schema = plain.replace(from, to);
        assert_ne!(schema, plain);
        let image = Arc::new(store.crash_image());
        let db = opened(&image, &schema);
        agree(&db);
        commit(&db, vec![update(&db, "Box", "b", &[("s", text("y"))])]);
        agree(&db);
        assert_eq!(get(&db, "Box", "b", "e"), text("b"));
        assert_eq!(stored_schema(&*image).unwrap().as_deref(), Some(&*schema));
    }
}

/// A wider type of a field changes the kind of what is computed from it: the sum of no decimals is not that of no JSON.
#[test]
fn a_field_of_a_wider_type_has_its_readers_built_anew() {
    let store = memory();
    let schema = |ty: &str| {
        format!(
            "type A in all {{ bs: collection B, total := sum(self.bs.n), more := self.total + 1 }} type B {{ n: {ty} }}"
        )
    };
    let db = opened(&store, &schema("decimal"));
    commit(
        &db,
        vec![
            create(&db, "A", "a", &[]),
            create(&db, "A", "b", &[]),
            create(&db, "B", "b", &[("parent_a_bs", reference("b"))]),
        ],
    );
    agree(&db);
    drop(db);
    let db = opened(&store, &schema("json"));
    agree(&db);
    commit(&db, vec![create(&db, "B", "c", &[("parent_a_bs", reference("a")), ("n", Value::Int(1))])]);
    agree(&db);
}

/// A schema that gave a field a wider type, and did not fit for another reason, could not be taken back: going back was held to
/// be a loss of what the wider type might hold, and the data was left with neither.
#[test]
fn a_schema_that_does_not_fit_is_taken_back_also_where_it_gave_a_field_a_wider_type() {
    let store = memory();
    let before = "type A in all { n: int, kind: 'x' | 'y', part := self.n + 1 }";
    let db = opened(&store, before);
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(0)), ("kind", text("x"))])]);
    drop(db);
    let wider = "type A in all { n: json, kind: str, m: int, part := 6 / count(self.link_a_up[m = 1]) strict, up: link A }";
    let Err(OpenError::Refused(reasons)) = try_open(&store, wider) else { panic!("not refused") };
    assert!(reasons[0].contains("part"), "{reasons:?}");
    assert_eq!(stored_schema(&*store).unwrap().as_deref(), Some(before));
    let db = opened(&store, before);
    assert_eq!((get(&db, "A", "a", "n"), get(&db, "A", "a", "part")), (Value::Int(0), Value::Int(1)));
    agree(&db);
}

/// A strict field that cannot be computed for what is there failed the opening when the new schema was the current one
/// already and the values of the old one were gone.
#[test]
fn a_strict_field_over_data_that_breaks_it_is_refused() {
    let store = memory();
    let plain = "type A in all { n: int, m: int, half := self.m / 2 index }";
    let db = opened(&store, plain);
    commit(
        &db,
        vec![create(&db, "A", "a", &[("n", Value::Int(1))]), create(&db, "A", "b", &[("n", Value::Int(0))])],
    );
    drop(db);
    let strict = "type A in all { n: int, m: int, part := 6 / self.n strict }";
    let Err(OpenError::Refused(reasons)) = try_open(&store, strict) else { panic!("not refused") };
    assert!(reasons[0].contains("part") && reasons[0].contains("strict"), "{reasons:?}");
    assert_eq!(stored_schema(&*store).unwrap().as_deref(), Some(plain));
    let db = opened(&store, plain);
    agree(&db);
    commit(&db, vec![update(&db, "A", "b", &[("n", Value::Int(2))])]);
    drop(db);
    let db = opened(&store, strict);
    agree(&db);
    let found = refused(&db, vec![update(&db, "A", "b", &[("n", Value::Int(0))])]);
    assert_eq!(codes(&found), ["strict part"]);
}

/// Of a version that did not fit, and whose way back was cut short, the next opening held that an error was the clock's, as it is of
/// values that were torn down: a field that was to be strict from then on was one, and an error.
#[test]
fn a_strict_field_over_data_that_breaks_it_is_refused_also_where_the_way_back_is_cut_short() {
    let store = memory();
    let db = opened(&store, "type A in all { n: int }");
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(0))])]);
    drop(db);
    // An update has yet to fill it, so the next version builds it.
    let plain = "type A in all { n: int, part := 6 / self.n }";
    drop(opened_within(&store, plain, 0));
    let strict = "type A in all { n: int, part := 6 / self.n strict }";
    let mut cuts = 0;
    for cut in 0.. {
        let image = Arc::new(store.crash_image());
        image.fail_commit(cut, Fault::Full);
        match try_open(&image, strict) {
            Err(OpenError::Refused(_)) => break,
            Err(OpenError::Engine(EngineError::Store(_))) => cuts += 1,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("opened"),
        }
        let again = Arc::new(image.crash_image());
        let Err(OpenError::Refused(reasons)) = try_open(&again, strict) else { panic!("opened at {cut}") };
        assert!(reasons[0].contains("part") && reasons[0].contains("strict"), "{reasons:?}");
        let db = opened(&again, plain);
        agree(&db);
    }
    assert!(cuts > 4, "{cuts}");
}

/// After a build the log is empty, and with it went the time that no later commit may precede.
#[test]
fn time_does_not_run_backwards_across_a_build() {
    let store = memory();
    let late: jiff::Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let db = opened(&store, "type A in all { at: datetime default now(), n: int }");
    let group = [Transaction { writes: vec![create(&db, "A", "a", &[])] }];
    db.commit(&group, late).unwrap().remove(0).unwrap();
    drop(db);
    drop(opened(&store, "type A in all { at: datetime default now(), n: int, twice := self.n * 2 }"));
    let db = opened(&store, "type A in all { at: datetime default now(), n: int, twice := self.n * 2 }");
    let done = commit(&db, vec![create(&db, "A", "b", &[])]);
    assert_eq!(done.commit.unwrap().time, late);
    assert_eq!(get(&db, "A", "b", "at"), Value::Datetime(late));
}

#[test]
fn builds_cross_the_borders_of_batches() {
    let store = memory();
    let db = opened(&store, &shop("", "", ""));
    let mut writes = vec![create(&db, "Shop", "s0", &[]), create(&db, "Shop", "s1", &[])];
    for n in 0..4_100 {
        let order = [("parent_shop_orders", reference(&format!("s{}", n % 2))), ("amount", Value::Int(n))];
        writes.push(create(&db, "Order", &format!("o{n}"), &order));
    }
    commit(&db, writes);
    drop(db);
    let with = shop(
        "total := sum(self.orders.amount), top := max(self.orders.amount), n := count(self.orders)",
        "twice := self.amount * 2 index",
        "",
    );
    let db = opened_within(&store, &with, usize::MAX);
    agree(&db);
    assert_eq!(get(&db, "Shop", "s0", "n"), Value::Int(2_050));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn through_any_versions_all_that_is_kept_follows_from_the_facts(history in history(7)) {
        let store = memory();
        for (schema, steps) in history {
            let db = opened(&store, &schema);
            let found = wrong(&db);
            prop_assert!(found.is_empty(), "{found:#?} after opening with {schema}");
            take_steps(&db, &steps);
            let found = wrong(&db);
            prop_assert!(found.is_empty(), "{found:#?} after {steps:#?} with {schema}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_opening_cut_short_anywhere_is_taken_up_by_the_next(
        history in history(3), third in version(), survives: bool, fatal: bool
    ) {
        let store = memory();
        let (last, before) = history.split_last().unwrap();
        for (schema, steps) in before {
            take_steps(&opened(&store, schema), steps);
        }
        for cut in 0.. {
            let image = Arc::new(store.crash_image());
            image.fail_commit(cut, if fatal { Fault::Sync { survives } } else { Fault::Full });
            match try_open(&image, &last.0) {
                Ok(db) => {
                    prop_assert!(wrong(&db).is_empty());
                    break;
                }
                Err(OpenError::Engine(EngineError::Store(_))) => {}
                Err(error) => panic!("{error}"),
            }
            // Opened again with the same, with another, or with what it was before.
            for schema in [&last.0, &third, &before[0].0] {
                let db = match try_open(&Arc::new(image.crash_image()), schema) {
                    Ok(db) => db,
                    // A stored field that the version cut short had added holds nothing, but was declared.
                    Err(OpenError::Refused(reasons)) => {
                        prop_assert!(reasons.iter().all(|reason| reason.contains("Shop.extra")), "{reasons:?}");
                        continue;
                    }
                    Err(error) => panic!("{error}"),
                };
                let found = wrong(&db);
                prop_assert!(found.is_empty(), "{found:#?} cut at {cut}");
                take_steps(&db, &last.1);
                let found = wrong(&db);
                prop_assert!(found.is_empty(), "{found:#?} cut at {cut}, then {:#?}", last.1);
            }
        }
    }
}

/// An opening that was cut short behind the commit by which the resources of a type begin to expire, and then given up, left
/// a revision without an entry in a log that went on: whoever resumed from before was told that the log is broken.
#[test]
fn a_log_goes_on_behind_an_opening_that_was_given_up() {
    let stays = "type Note in notes created_at { text: str }";
    let expires = "type Note in notes created_at expires after hours(3) { text: str }";
    let store = memory();
    let note = |db: &Db, name: &str| commit(db, vec![create(db, "Note", name, &[("text", text(name))])]);
    note(&opened(&store, stays), "a");
    let mut given_up = 0;
    for cut in 0.. {
        let image = Arc::new(store.crash_image());
        image.fail_commit(cut, Fault::Sync { survives: true });
        match try_open(&image, expires) {
            Ok(_) => break,
            Err(OpenError::Engine(EngineError::Store(_))) => given_up += 1,
            Err(error) => panic!("{error}"),
        }
        let db = opened(&Arc::new(image.crash_image()), stays);
        note(&db, "b");
        let last = db.engine().revision();
        for since in 0..=last {
            let mut told = 0;
            let complete = db.engine().commits_after(since, &mut |_| {
                told += 1;
                ControlFlow::Continue(())
            });
            let expected = if complete.unwrap() { last - since } else { 0 };
            assert_eq!(told, expected, "since {since} of {last}, cut at {cut}");
        }
        assert!(wrong(&db).is_empty());
    }
    assert!(given_up > 2, "{given_up}");
}
