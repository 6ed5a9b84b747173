//! Queries find what a look at every resource finds, in the order that is documented, page by page, whatever the path.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::eval::{Eval, View};
use corollary_engine::query::{self, DEFAULT_SCAN_LIMIT, From, Page, Position, Query};
use corollary_engine::{Doc, EngineError, Key, Transaction};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value, compare};
use proptest::prelude::*;

/// `INDEX` stands where one of the two schemas has an index.
const SCHEMA: &str = r#"
type Team in teams {
  name: str INDEX
  size: int INDEX
  members: inverse Item.team
  things: collection Thing
  total := sum(self.members.n) INDEX
  strong := self.members[n > 2]
}
type Item in items {
  n: int INDEX
  f: float INDEX
  d: decimal INDEX
  s: str INDEX
  b: bool INDEX
  at: datetime INDEX
  e: "x" | "y" | "z" INDEX
  j: json INDEX
  tags: [str] INDEX
  o: { m: int }
  team: link Team INDEX
  pals: links Item
  twice := self.n * 2 INDEX
  ratio := 6 / self.n INDEX
  mate := first(self.team.members[order by n desc]) INDEX
  team_total := self.team.total INDEX
}
type Thing { n: int INDEX, heavy := self.n > 2 INDEX }
"#;

fn schema(indexed: bool) -> String {
    SCHEMA.replace("INDEX", if indexed { "index" } else { "" })
}

type Row = (u8, Vec<(&'static str, Value)>);

/// Text that stands between and around other text.
fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "ab", "b", "B", "z\u{0}", "é"])
}

fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Absent), 4 => value].boxed()
}

fn item() -> impl Strategy<Value = Row> {
    let decimal = prop::sample::select(vec!["0", "1.5", "-2.25", "0.1"])
        .prop_map(|text| Value::Decimal(text.parse().unwrap()));
    let at = (0i64..4).prop_map(|s| Value::Datetime(jiff::Timestamp::from_second(s * 86_400).unwrap()));
    let json = prop_oneof![
        (0i64..3).prop_map(Value::Int),
        word().prop_map(text),
        Just(Value::Float(1.0)),
        Just(list([Value::Int(1)])),
        Just(object(&[("a", Value::Int(1))])),
    ];
    let tags = prop::collection::vec(word().prop_map(text), 0..3).prop_map(list);
    let pals = prop::collection::vec(0u8..12, 0..3)
        .prop_map(|ids| list(ids.into_iter().map(|n| reference(&format!("i{n}")))));
    let float = prop::sample::select(vec![0.0, -0.0, 0.5, 1.0, -3.0, 1e300]).prop_map(Value::Float);
    let word = || word().prop_map(text);
    let fields = (
        maybe((-2i64..5).prop_map(Value::Int)),
        maybe(float),
        maybe(decimal),
        maybe(word()),
        maybe(any::<bool>().prop_map(Value::Bool)),
        maybe(at),
        maybe(prop::sample::select(vec!["x", "y", "z"]).prop_map(text)),
        (maybe(json), maybe((0i64..3).prop_map(|m| object(&[("m", Value::Int(m))])))),
        maybe(tags),
        maybe((0u8..3).prop_map(|n| reference(&format!("t{n}")))),
        maybe(pals),
    );
    (0u8..12, fields).prop_map(|(at, (n, f, d, s, b, t, e, (j, o), tags, team, pals))| {
        let all = [
            ("n", n),
            ("f", f),
            ("d", d),
            ("s", s),
            ("b", b),
            ("at", t),
            ("e", e),
            ("j", j),
            ("o", o),
            ("tags", tags),
            ("team", team),
            ("pals", pals),
        ];
        (at, all.to_vec())
    })
}

/// A condition over an item: any operator, any place a value may come from.
fn condition() -> impl Strategy<Value = String> {
    let order = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let number = prop::sample::select(vec![
        "n",
        "f",
        "d",
        "twice",
        "ratio",
        "team.size",
        "team.total",
        "team_total",
        "mate.n",
        "o.m",
        "count(pals)",
        "sum(pals.n)",
        "count(team.members)",
        "j",
    ]);
    let literal = prop::sample::select(vec!["0", "1", "2", "-1", "3", "0.5", "4", "null", "n", "team.size"]);
    let compared =
        (number, order.clone(), literal.clone(), any::<bool>()).prop_map(|(field, op, literal, turned)| {
            // A decimal and a float literal are of different kinds only in their text.
            if turned { format!("{literal} {op} {field}") } else { format!("{field} {op} {literal}") }
        });
    let texts = prop::sample::select(vec!["'a'", "'ab'", "'b'", "''", "'c'", "null", "team.name"]);
    let of_text = (prop::sample::select(vec!["s", "team.name", "j"]), order, texts)
        .prop_map(|(field, op, text)| format!("{field} {op} {text}"));
    let fixed = prop::sample::select(vec![
        "e = 'x'",
        "e != 'z'",
        "'y' = e",
        "e in ['x', 'z']",
        "n in [1, 2]",
        "b",
        "b = true",
        "b = false",
        "b != true",
        "s ~ 'A'",
        "at >= '1970-01-02T00:00:00Z'",
        "at < '1970-01-03T00:00:00Z'",
        "at = '1970-01-02T00:00:00Z'",
        "team = 't1'",
        "team != 't1'",
        "team._id = 't1'",
        "team._id = 'nobody'",
        "_id = 'i3'",
        "_id > 'i3'",
        "mate._id = 'i2'",
        "mate = 'i2'",
        "team = null",
        "mate = null",
        "exists(pals[n > 2])",
        "'a' in tags",
        "exists(tags)",
        "any(pals.b)",
        "all(pals.b)",
        "is_error(ratio)",
        "(ratio else 0) < 3",
        "ratio = null",
        "count(items[n > 2]) > 3",
        "(n -> (1: b, 2: false, else: true))",
        "n > 1 -> b : s = 'a'",
        "team.strong[0].n > 2",
        "length(s) > 1",
        "true",
        "null",
        "n > 2 & n < 1",
        "n >= 1 & n >= 2 & 3 >= n",
        "f >= 0 & f <= 0",
    ]);
    let leaf = prop_oneof![4 => compared, 2 => of_text, 4 => fixed.prop_map(str::to_string)];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) & ({right})")),
            3 => (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) | ({right})")),
            1 => (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a}) | ({b}) & !({c})")),
            2 => inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

const KEYS: [&str; 22] = [
    "n",
    "f",
    "d",
    "s",
    "b",
    "at",
    "e",
    "j",
    "team",
    "twice",
    "ratio",
    "mate",
    "team_total",
    "team.size",
    "team.name",
    "team.total",
    "mate.n",
    "o.m",
    "_id",
    "count(pals)",
    "tags",
    "n + 1",
];

fn order() -> impl Strategy<Value = Vec<(&'static str, bool)>> {
    prop::collection::vec((prop::sample::select(KEYS.to_vec()), any::<bool>()), 0..4)
}

fn filter(schema: &Schema, ty: TypeIx, text: &str) -> Option<Expr> {
    let parsed = parse_expression(text);
    assert!(parsed.diagnostics.is_empty(), "{text}: {:?}", parsed.diagnostics);
    let (expr, mistakes) = check_condition(schema, ty, &parsed.tree);
    mistakes.is_empty().then_some(expr)
}

fn key_of_order(schema: &Schema, ty: TypeIx, text: &str) -> Expr {
    let (expr, mistakes) = check_expr(schema, Place::Query(ty), &parse_expression(text).tree);
    assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
    expr
}

fn query(db: &Db, ty: &str, text: Option<&str>, order: &[(&str, bool)]) -> Query {
    let engine = db.engine();
    let schema = engine.schema();
    let ty = schema.type_named(ty).unwrap();
    Query {
        ty,
        from: From::All,
        filter: text.map(|text| filter(schema, ty, text).unwrap_or_else(|| panic!("{text} is no condition"))),
        order: order.iter().map(|(key, descending)| (key_of_order(schema, ty, key), *descending)).collect(),
        limit: usize::MAX,
        after: None,
        scan_limit: DEFAULT_SCAN_LIMIT,
    }
}

fn run(db: &Db, query: &Query) -> Page {
    db.engine().read(NOW, |working| query::run(working, query)).unwrap()
}

/// The ids of all that a query should find, by looking at every resource.
fn brute(db: &Db, asked: &Query) -> Vec<Id> {
    let read = db.engine().read(NOW, |working| {
        let ids = match &asked.from {
            From::All => working.all(asked.ty)?,
            From::Listed(ids) => {
                let mut ids = ids.clone();
                ids.sort();
                ids.dedup();
                ids
            }
            From::Referring(field, target) => {
                let mut ids = Vec::new();
                for id in working.all(asked.ty)? {
                    let held = working.value(*field, &id)?.unwrap_or_default();
                    if corollary_engine::working::targets(&held).contains(target) {
                        ids.push(id);
                    }
                }
                ids
            }
        };
        let mut found: Vec<(Vec<Value>, Id)> = Vec::new();
        for id in ids {
            let eval = Eval::new(working, &id);
            let there = working.after(&Key::new(asked.ty, id.clone()))?.is_some();
            if !there || !asked.filter.as_ref().map_or(Ok(true), |filter| eval.holds(filter))? {
                continue;
            }
            let mut values = Vec::new();
            for (key, _) in &asked.order {
                let value = eval.value(key)?;
                values.push(if value.is_null() { Value::Null } else { value });
            }
            found.push((values, id));
        }
        found.sort_by(|(left, left_id), (right, right_id)| {
            for (at, (_, descending)) in asked.order.iter().enumerate() {
                let order = compare(&left[at], &right[at]);
                let order = if *descending { order.reverse() } else { order };
                if order.is_ne() {
                    return order;
                }
            }
            let by_id = left_id.cmp(right_id);
            if asked.order.last().is_some_and(|(_, descending)| *descending) {
                by_id.reverse()
            } else {
                by_id
            }
        });
        Ok(found.into_iter().map(|(_, id)| id).collect())
    });
    read.unwrap()
}

fn through_a_token(position: &Position) -> Position {
    let mut bytes = Vec::new();
    position.encode(&mut bytes);
    let mut rest = &bytes[..];
    let read = Position::decode(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(read, *position);
    read
}

/// All ids of a query, by pages of a size.
fn walk(db: &Db, asked: &Query, size: usize) -> Vec<Id> {
    let mut ids = Vec::new();
    let mut asked = Query { limit: size, ..asked.clone() };
    loop {
        let page = run(db, &asked);
        assert!(page.items.len() == size || !page.more, "a page that is not the last is full");
        for item in &page.items {
            assert_eq!(item.key.ty, asked.ty);
            let stored: Option<Arc<Doc>> = db.engine().read(NOW, |working| working.after(&item.key)).unwrap();
            assert_eq!(stored.as_deref(), Some(&*item.doc));
        }
        ids.extend(page.items.iter().map(|item| item.key.id.clone()));
        match page.items.last() {
            Some(last) if page.more => asked.after = Some(through_a_token(&last.position)),
            _ => return ids,
        }
    }
}

fn write(db: &Db, rows: &[Row]) {
    let teams = (0u8..3).map(|n| {
        let values = [("name", text(["a", "ab", "b"][n as usize])), ("size", Value::Int(i64::from(n)))];
        create(db, "Team", &format!("t{n}"), &values[..n as usize])
    });
    commit(db, teams.collect());
    let items = (0u8..12).map(|n| create(db, "Item", &format!("i{n}"), &[]));
    commit(db, items.collect());
    for (at, values) in rows {
        commit(db, vec![update(db, "Item", &format!("i{at}"), values)]);
    }
    // Some gaps.
    for (at, _) in rows.iter().take(2) {
        let _ = try_commit(db, vec![delete(db, "Item", &format!("i{at}"))]);
    }
    let things = rows.iter().enumerate().map(|(at, (n, _))| {
        let parent = ("parent_team_things", reference(&format!("t{}", n % 3)));
        create(db, "Thing", &format!("h{at}"), &[parent, ("n", Value::Int(i64::from(*n % 5)))])
    });
    commit(db, things.collect());
    agree(db);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_query_finds_what_a_look_at_everything_finds(
        rows in prop::collection::vec(item(), 0..24),
        questions in prop::collection::vec((condition(), order(), 1usize..8), 30)
    ) {
        let both = [false, true].map(|indexed| fresh(&schema(indexed)));
        both.iter().for_each(|db| write(db, &rows));
        for (text, order, size) in questions {
            let mut found = Vec::new();
            for db in &both {
                let engine = db.engine();
                let item = engine.schema().type_named("Item").unwrap();
                // Kinds that cannot be compared are refused when the condition is checked.
                if filter(engine.schema(), item, &text).is_none() {
                    continue;
                }
                let all = query(db, "Item", Some(&text), &order);
                let team = FieldRef { ty: item, slot: slot(db, "Item", "team") };
                let pals = FieldRef { ty: item, slot: slot(db, "Item", "pals") };
                let listed = ["i9", "i1", "nobody", "i4", "i1", "i2"].map(id).to_vec();
                for from in [
                    From::All,
                    From::Referring(team, id("t1")),
                    From::Referring(pals, id("i3")),
                    From::Listed(listed),
                ] {
                    let asked = Query { from, ..all.clone() };
                    let expected = brute(db, &asked);
                    let ids: Vec<Id> = run(db, &asked).items.into_iter().map(|item| item.key.id).collect();
                    prop_assert_eq!(&ids, &expected, "{} by {:?} from {:?}", text, order, asked.from);
                    prop_assert_eq!(&walk(db, &asked, size), &expected, "{} by {:?}, {} a page", text, order, size);
                    let count = engine.read(NOW, |working| query::count(working, &asked)).unwrap();
                    prop_assert_eq!(count, expected.len() as u64, "{}", text);
                    found.push(ids);
                }
            }
            if let Some((plain, indexed)) = found.split_at_checked(4) {
                prop_assert_eq!(plain, indexed, "{} by {:?}", text, order);
            }
        }
    }

    #[test]
    fn children_are_found_under_their_parent(rows in prop::collection::vec(item(), 0..24), size in 1usize..5) {
        for indexed in [false, true] {
            let db = fresh(&schema(indexed));
            write(&db, &rows);
            for text in ["n > 2", "heavy", "!heavy & n = 1", "parent_team_things.size > 0"] {
                for order in [&[][..], &[("n", true)], &[("heavy", false), ("n", true)]] {
                    let mut asked = query(&db, "Thing", Some(text), order);
                    let ty = asked.ty;
                    let parent = FieldRef { ty, slot: slot(&db, "Thing", "parent_team_things") };
                    asked.from = From::Referring(parent, id("t1"));
                    prop_assert_eq!(walk(&db, &asked, size), brute(&db, &asked), "{} by {:?}", text, order);
                }
            }
        }
    }

    /// Everything that exists throughout a walk, at one place in the order, is met exactly once; nothing is met twice.
    #[test]
    fn a_walk_beside_writes_meets_what_stays_exactly_once(
        rows in prop::collection::vec(item(), 0..24),
        key in prop::sample::select(vec!["", "n", "s", "ratio", "team.size", "j", "tags", "team"]),
        descending: bool,
        size in 1usize..5,
        indexed: bool,
        steps in prop::collection::vec((0u8..12, 0u8..3, -2i64..5), 0..24),
    ) {
        let db = fresh(&schema(indexed));
        write(&db, &rows);
        let order: Vec<(&str, bool)> = if key.is_empty() { Vec::new() } else { vec![(key, descending)] };
        let mut asked = query(&db, "Item", Some("n != 4"), &order);
        let places = |db: &Db| -> BTreeMap<Id, Vec<Value>> {
            run(db, &query(db, "Item", Some("n != 4"), &order)).items.into_iter()
                .map(|item| (item.key.id, item.position.values)).collect()
        };
        let mut stay = places(&db);
        let mut met: Vec<Id> = Vec::new();
        let mut steps = steps.into_iter();
        asked.limit = size;
        loop {
            let page = run(&db, &asked);
            met.extend(page.items.iter().map(|item| item.key.id.clone()));
            let Some(last) = page.items.last().filter(|_| page.more) else { break };
            asked.after = Some(through_a_token(&last.position));
            for (at, what, n) in steps.by_ref().take(2) {
                let name = format!("i{at}");
                let write = match (doc(&db, "Item", &name), what) {
                    (None, _) => create(&db, "Item", &name, &[("n", Value::Int(n))]),
                    (Some(_), 0) => delete(&db, "Item", &name),
                    (Some(_), _) => update(&db, "Item", &name, &[("n", Value::Int(n))]),
                };
                commit(&db, vec![write]);
                let now = places(&db);
                stay.retain(|id, place| now.get(id) == Some(place));
            }
        }
        for id in stay.keys() {
            prop_assert_eq!(met.iter().filter(|met| *met == id).count(), 1, "{} in {:?}", id, met);
        }
    }
}

fn many(indexed: bool, count: u32) -> Db {
    let db = fresh(&schema(indexed));
    commit(&db, vec![create(&db, "Team", "t0", &[]), create(&db, "Team", "t1", &[])]);
    let items = (0..count).map(|n| {
        let team = reference(if n < 10 { "t0" } else { "t1" });
        create(&db, "Item", &format!("i{n:04}"), &[("n", Value::Int((n % 100).into())), ("team", team)])
    });
    commit(&db, items.collect());
    db
}

fn outcome(db: &Db, asked: &Query) -> Result<usize, String> {
    match db.engine().read(NOW, |working| query::run(working, asked)) {
        Ok(page) => Ok(page.items.len()),
        Err(EngineError::Refused(refusals)) => {
            assert_eq!(refusals.iter().map(|refusal| refusal.code).collect::<Vec<_>>(), ["scan-limit"]);
            Err(refusals[0].message.clone())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_query_that_would_visit_too_much_is_refused_and_told_which_index_helps() {
    let (plain, indexed) = (many(false, 600), many(true, 600));
    let limited = |db: &Db, text: Option<&str>, order: &[(&str, bool)]| Query {
        scan_limit: 300,
        limit: 10,
        ..query(db, "Item", text, order)
    };
    for (text, order, field) in [
        (Some("n = 7"), &[][..], Some("Item.n")),
        (Some("3 > n & s = null"), &[], Some("Item.n")),
        (None, &[("n", true)], Some("Item.n")),
        (Some("twice = 14"), &[("twice", false)], Some("Item.twice")),
        (Some("s ~ 'x'"), &[("team.size", false)], None),
        (Some("n = 7 | n = 8"), &[("s", false), ("n", true)], Some("Item.s")),
    ] {
        let message = outcome(&plain, &limited(&plain, text, order)).unwrap_err();
        assert!(message.contains("300") && message.contains("Item"), "{message}");
        match field {
            Some(field) => assert!(message.contains(&format!("`index` on {field}")), "{message}"),
            None => assert!(message.contains("narrow the filter"), "{message}"),
        }
        let count = plain.engine().read(NOW, |working| query::count(working, &limited(&plain, text, order)));
        assert!(
            matches!(&count, Err(EngineError::Refused(found)) if found[0].code == "scan-limit"),
            "{count:?}"
        );
    }
    for (text, order, found) in [
        (Some("n = 7"), &[][..], 6),
        (Some("3 > n & s = null"), &[], 10),
        (None, &[("n", true)], 10),
        (Some("n >= 98"), &[("s", false)], 10),
        (Some("twice = 14"), &[("twice", false)], 6),
        (Some("team._id = 't0'"), &[("s", false)], 10),
        (Some("team = 't0' & b = null"), &[("s", false)], 10),
    ] {
        assert_eq!(outcome(&indexed, &limited(&indexed, text, order)), Ok(found), "{text:?} by {order:?}");
    }
    // Without an index, a link leads back by its references; and a page in the order of ids ends before the limit.
    assert_eq!(outcome(&plain, &limited(&plain, Some("team._id = 't0'"), &[("s", false)])), Ok(10));
    assert_eq!(outcome(&plain, &limited(&plain, Some("n > 3"), &[])), Ok(10));
    let mut children = limited(&plain, None, &[("s", false)]);
    children.from =
        From::Referring(FieldRef { ty: children.ty, slot: slot(&plain, "Item", "team") }, id("t1"));
    assert!(outcome(&plain, &children).is_err());
}

/// A query that visited exactly as many resources as it might was refused, with the words that it would visit more.
#[test]
fn a_query_may_visit_as_many_as_its_limit() {
    for indexed in [false, true] {
        let db = many(indexed, 600);
        for order in [&[][..], &[("n", false)], &[("s", false)]] {
            let asked = |scan_limit| Query { scan_limit, ..query(&db, "Item", None, order) };
            assert_eq!(outcome(&db, &asked(600)), Ok(600), "{order:?}");
            outcome(&db, &asked(599)).unwrap_err();
        }
        let text = Some("team = 't0'");
        let asked = |scan_limit| Query { scan_limit, ..query(&db, "Item", text, &[("s", true)]) };
        if indexed {
            assert_eq!(outcome(&db, &asked(10)), Ok(10));
            outcome(&db, &asked(9)).unwrap_err();
        }
    }
}

/// A link that was compared with an id as `boss = 'p1'`, and not as `boss._id = 'p1'`, was found by visiting everybody.
#[test]
fn a_link_compared_with_an_id_is_found_by_its_references() {
    let db = fresh("type P in ps { boss: link P, friends: links P }");
    let boss = |n: usize| ("boss", reference(&format!("p{}", n % 3)));
    commit(&db, (0..3).map(|n| create(&db, "P", &format!("p{n}"), &[])).collect());
    commit(&db, (3..30).map(|n| create(&db, "P", &format!("p{n}"), &[boss(n)])).collect());
    for text in ["boss = 'p1'", "boss._id = 'p1'", "'p1' = boss & true"] {
        let asked = Query { scan_limit: 10, ..query(&db, "P", Some(text), &[]) };
        assert_eq!(outcome(&db, &asked), Ok(9), "{text}");
    }
    let asked = Query { scan_limit: 10, ..query(&db, "P", Some("boss != 'p1'"), &[]) };
    assert!(outcome(&db, &asked).is_err());
}

#[test]
fn a_large_walk_crosses_every_border_of_chunks() {
    for indexed in [false, true] {
        let db = many(indexed, 1100);
        for order in [&[][..], &[("n", true)], &[("team", false)]] {
            for size in [1, 255, 256, 257, 1099, 1100, 1101] {
                let asked = query(&db, "Item", Some("n != 50"), order);
                assert_eq!(walk(&db, &asked, size), brute(&db, &asked), "{order:?} by {size}");
            }
        }
    }
}

#[test]
fn a_page_sees_one_state_and_the_documents_of_its_own_transaction() {
    let db = many(true, 5);
    let group = Transaction { writes: vec![update(&db, "Item", "i0003", &[("n", Value::Int(9))])] };
    let engine = db.engine();
    let asked = query(&db, "Item", Some("n >= 3"), &[("n", false)]);
    let pages = engine
        .read(NOW, |working| {
            let first = query::run(working, &asked)?;
            // A commit meanwhile.
            if first.items.len() == 2 && engine.revision() == 2 {
                db.commit(std::slice::from_ref(&group), NOW)?.remove(0)?;
            }
            Ok((first, query::run(working, &asked)?))
        })
        .unwrap();
    let ids = |page: &Page| page.items.iter().map(|item| item.key.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&pages.0), ids(&pages.1));
    assert_eq!(ids(&run(&db, &asked)), [id("i0004"), id("i0003")]);
}
