//! Queries find what a look at every resource finds, in the order that is documented, page by page, whatever the path.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::query::{self, Cursor, DEFAULT_SCAN_LIMIT, From, MAX_SORTED, Page, Position, Query};
use corollary_engine::{Doc, EngineError, Transaction, keys, oracle};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_store::{Batch, KeyRange, Store};
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value};
use proptest::prelude::*;

/// `INDEX` stands where one of the schemas has an index, `OVER …;` where one has an index over several fields.
const SCHEMA: &str = r#"
type Team in teams {
  name: str INDEX
  size: int INDEX
  words: [str] INDEX
  members: inverse Item.team
  things: collection Thing
  total := sum(self.members.n) INDEX
  strong := self.members[n > 2]
}
type Item in items
  OVER index (team, n desc);
  OVER index (n, s desc, f);
  OVER index (e desc, b, at desc);
  OVER index (twice desc, mate);
  OVER index (team_total, ratio desc, d);
  OVER index (mate, team desc, n);
  OVER index (j desc, s desc);
{
  n: int INDEX
  f: float INDEX
  d: decimal INDEX
  s: str INDEX
  b: bool INDEX
  at: datetime INDEX
  e: "x" | "y" | "z" INDEX
  j: json INDEX
  tags: [str] INDEX
  parts := split(self.s, 'b') INDEX
  odd := [self.n, self.team.size] INDEX
  o: { m: int }
  team: link Team INDEX
  pals: links Item
  twice := self.n * 2 INDEX
  ratio := 6 / self.n INDEX
  mate := first(self.team.members[order by n desc]) INDEX
  team_total := self.team.total INDEX
}
type Thing OVER index (parent, n desc); OVER index (heavy, parent desc, n); { n: int INDEX, heavy := self.n > 2 INDEX }
"#;

/// With indexes of single fields, and with indexes over several.
fn schema_with(indexed: bool, over_several: bool) -> String {
    let schema = SCHEMA.replace("INDEX", if indexed { "index" } else { "" });
    let parts = schema.split("OVER ").enumerate().map(|(at, part)| match part.split_once(';') {
        Some((index, rest)) if at > 0 => format!("{} {rest}", if over_several { index } else { "" }),
        _ => part.to_string(),
    });
    parts.collect()
}

fn schema(indexed: bool) -> String {
    schema_with(indexed, indexed)
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
        "team.size in [0, 2]",
        "mate.team.size >= 1",
        "2 > mate.team.size",
        "mate.team.name = 'a'",
        "mate.team = 't1'",
        "mate.mate._id in ['i1', 'i2']",
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
        "'' in tags",
        "'a' in parts",
        "3 in odd",
        "1.0 in odd",
        "n in odd",
        "'i3' in pals",
        "'a' in tags | 'i2' in pals",
        "'x' in team.words",
        "1 in mate.odd",
        "'i1' in mate.pals",
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
    let any_order = prop::collection::vec((prop::sample::select(KEYS.to_vec()), any::<bool>()), 0..4);
    // That of an index over several fields, or of a part of one; or nearly so.
    let all: [&[(&str, bool)]; 7] = [
        &[("team", false), ("n", true)],
        &[("n", false), ("s", true), ("f", false)],
        &[("e", true), ("b", false), ("at", true)],
        &[("twice", true), ("mate", false)],
        &[("team_total", false), ("ratio", true), ("d", false)],
        &[("mate", false), ("team", true), ("n", false)],
        &[("j", true), ("s", true)],
    ];
    let of_index = (prop::sample::select(all.to_vec()), 0usize..3, any::<bool>(), 0usize..12).prop_map(
        |(keys, skipped, turned, wrong)| {
            let keys = keys.iter().enumerate().skip(skipped.min(keys.len() - 1));
            keys.map(|(at, (key, descending))| (*key, (*descending != turned) != (at == wrong))).collect()
        },
    );
    prop_oneof![any_order, of_index]
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

/// The ids of all that a query should find.
fn brute(db: &Db, asked: &Query) -> Vec<Id> {
    db.engine().read(NOW, |working| oracle::queries::found(working, asked)).unwrap()
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

/// All ids of a query, from a cursor that is asked for so many at a time.
fn through_a_cursor(db: &Db, asked: &Query, size: usize) -> Result<Vec<Id>, EngineError> {
    db.engine().walk(NOW, |working| {
        let mut cursor = Cursor::open(working, asked.clone())?;
        let mut ids = Vec::new();
        while let Some(items) = cursor.next(working, size)? {
            assert!(items.len() <= size, "{} of {size}", items.len());
            ids.extend(items.into_iter().map(|item| item.key.id));
        }
        assert!(cursor.next(working, size)?.is_none(), "the end is the end");
        Ok(ids)
    })
}

fn write(db: &Db, rows: &[Row]) {
    let teams = (0u8..3).map(|n| {
        let words = list(["x", "y"][..n as usize % 3].iter().map(|word| text(word)));
        let name = text(["a", "ab", "b"][n as usize]);
        let values = [("words", words), ("name", name), ("size", Value::Int(i64::from(n)))];
        create(db, "Team", &format!("t{n}"), &values[..=n as usize])
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
        let all = [(false, false), (true, true), (false, true)];
        let all = all.map(|(indexed, over_several)| fresh(&schema_with(indexed, over_several)));
        all.iter().for_each(|db| write(db, &rows));
        for (text, order, size) in questions {
            let mut found = Vec::new();
            for db in &all {
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
                    let streamed = through_a_cursor(db, &asked, size).unwrap();
                    prop_assert_eq!(&streamed, &expected, "{} by {:?}, a cursor of {}", text, order, size);
                    let some = Query { limit: size, ..asked.clone() };
                    let streamed = through_a_cursor(db, &some, 2).unwrap();
                    let first = &expected[..size.min(expected.len())];
                    prop_assert_eq!(&streamed[..], first, "the first {} of {} by {:?}", size, text, order);
                    let count = engine.read(NOW, |working| query::count(working, &asked)).unwrap();
                    prop_assert_eq!(count, expected.len() as u64, "{}", text);
                    found.push(ids);
                }
            }
            for indexed in found.chunks(4).skip(1) {
                prop_assert_eq!(&found[..4], indexed, "{} by {:?}", text, order);
            }
        }
    }

    #[test]
    fn children_are_found_under_their_parent(rows in prop::collection::vec(item(), 0..24), size in 1usize..5) {
        for (indexed, over_several) in [(false, false), (true, true), (false, true)] {
            let db = fresh(&schema_with(indexed, over_several));
            write(&db, &rows);
            for text in ["n > 2", "heavy", "!heavy & n = 1", "parent_team_things.size > 0"] {
                let orders = [&[][..], &[("n", true)], &[("n", false)], &[("heavy", false), ("n", true)]];
                for order in orders {
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
        (Some("n = 7 | n = 8"), &[("s", false)], Some("Item.s")),
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

/// A condition on the id was asked of everybody, by itself and as a part of an `or`, as grants of single resources come to.
#[test]
fn what_has_an_id_is_found_by_it() {
    let db = fresh("type P in ps { boss: link P, n: int index }");
    let boss = |n: usize| ("boss", reference(&format!("p{}", n % 3)));
    commit(&db, (0..3).map(|n| create(&db, "P", &format!("p{n}"), &[])).collect());
    commit(&db, (3..30).map(|n| create(&db, "P", &format!("p{n}"), &[boss(n)])).collect());
    for (text, found) in [
        ("_id = 'p1'", 1),
        ("'p1' = _id", 1),
        ("_id = 'p'", 0),
        ("_id = 'p1' | _id = 'p29' | _id = 'p30'", 2),
        ("boss = 'p1' | _id = 'p2'", 10),
        ("boss = 'p1' | _id = 'p4'", 9),
        ("boss._id = 'p1' | (_id = 'p2' & boss = null)", 10),
        ("_id = 'p4' & boss = 'p2'", 0),
        ("n = 5 | _id = 'p2'", 1),
    ] {
        let asked = Query { scan_limit: 11, ..query(&db, "P", Some(text), &[]) };
        assert_eq!(outcome(&db, &asked), Ok(found), "{text}");
        assert_eq!(walk(&db, &asked, 3), brute(&db, &asked), "{text}");
    }
    let asked = Query { scan_limit: 11, ..query(&db, "P", Some("boss = 'p1' | _id != 'p4'"), &[]) };
    assert!(outcome(&db, &asked).is_err());
}

#[test]
fn a_large_walk_crosses_every_border_of_chunks() {
    for indexed in [false, true] {
        let db = many(indexed, 1100);
        for order in [&[][..], &[("n", true)], &[("team", false)]] {
            let asked = query(&db, "Item", Some("n != 50"), order);
            let expected = brute(&db, &asked);
            for size in [1, 255, 256, 257, 1099, 1100, 1101] {
                assert_eq!(walk(&db, &asked, size), expected, "{order:?} by {size}");
                assert_eq!(
                    through_a_cursor(&db, &asked, size).unwrap(),
                    expected,
                    "{order:?}, a cursor of {size}"
                );
            }
        }
    }
}

/// Of all that is wanted, a page kept whatever matched, and sorted it, where its order had no index.
#[test]
fn a_page_of_many_is_the_first_of_them_in_any_order() {
    let db = many(false, 700);
    for order in [&[("n", true)][..], &[("n", false), ("team", true)]] {
        let asked = query(&db, "Item", Some("n != 50"), order);
        let expected = brute(&db, &asked);
        for limit in [1, 7, 100, 345, 699, 700] {
            let page = run(&db, &Query { limit, ..asked.clone() });
            let ids: Vec<Id> = page.items.into_iter().map(|item| item.key.id).collect();
            assert_eq!(ids, expected[..limit.min(expected.len())], "{limit} by {order:?}");
            assert_eq!(page.more, limit < expected.len(), "{limit} by {order:?}");
        }
    }
}

#[test]
fn a_cursor_is_refused_before_it_begins_or_not_at_all() {
    let db = many(false, 1100);
    let refused = |asked: &Query, code: &str, words: &str| match through_a_cursor(&db, asked, 64) {
        Err(EngineError::Refused(errors)) => {
            assert_eq!(errors[0].code, code);
            assert!(errors[0].message.contains(words), "{}", errors[0].message);
        }
        other => panic!("{other:?}"),
    };
    let limited = |text, order, scan_limit| Query { scan_limit, ..query(&db, "Item", text, order) };
    refused(
        &limited(Some("n >= 0"), &[], 1099),
        "scan-limit",
        "more than 1099 resources of Item; `index` on Item.n",
    );
    refused(&limited(None, &[("n", false)], 1099), "scan-limit", "more than 1099");
    assert_eq!(through_a_cursor(&db, &limited(Some("n >= 0"), &[], 1100), 64).unwrap().len(), 1100);
    // Without a condition there is nothing that is visited in vain.
    assert_eq!(through_a_cursor(&db, &limited(None, &[], 10), 64).unwrap().len(), 1100);

    let db = many(false, MAX_SORTED as u32 + 1);
    let asked = query(&db, "Item", None, &[("n", false)]);
    let refused = through_a_cursor(&db, &asked, 64).unwrap_err();
    let EngineError::Refused(errors) = refused else { panic!("{refused:?}") };
    assert_eq!(errors[0].code, "sort-limit");
    assert!(errors[0].message.contains("`index` on Item.n would help"), "{}", errors[0].message);
    let asked = Query { limit: MAX_SORTED, ..asked };
    assert_eq!(through_a_cursor(&db, &asked, 1000).unwrap(), brute(&db, &asked)[..MAX_SORTED]);
}

#[test]
fn a_cursor_goes_on_in_the_state_that_it_began_in() {
    let db = many(true, 900);
    let engine = db.engine();
    let asked = query(&db, "Item", None, &[("n", false)]);
    let expected = brute(&db, &asked);
    let group = Transaction {
        writes: vec![delete(&db, "Item", "i0700"), update(&db, "Item", "i0800", &[("n", Value::Int(-1))])],
    };
    let taken: Vec<Id> = engine
        .walk(NOW, |working| {
            let mut cursor = Cursor::open(working, asked.clone())?;
            let mut ids = Vec::new();
            while let Some(items) = cursor.next(working, 100)? {
                if ids.is_empty() {
                    db.commit(std::slice::from_ref(&group), NOW)?.remove(0)?;
                    // Nobody waits for it either.
                    engine.retire();
                }
                ids.extend(items.into_iter().map(|item| item.key.id));
            }
            Ok(ids)
        })
        .unwrap();
    assert_eq!(taken, expected);
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

const TAGGED: &str = "type Item in items { tags: [str] index, days: set<date> index, whole: [int] unique }";

/// The candidates of a filter over items, by which way and how many.
fn found_by(db: &Db, text: &str) -> (query::Access, usize) {
    let asked = query(db, "Item", Some(text), &[]);
    let told = db.engine().read(NOW, |working| query::explain(working, &asked)).unwrap();
    assert_eq!(
        run(db, &asked).items.into_iter().map(|item| item.key.id).collect::<Vec<_>>(),
        brute(db, &asked)
    );
    (told.access, told.candidates)
}

#[test]
fn a_list_is_found_by_its_elements() {
    let db = fresh(TAGGED);
    let tags = |tags: &[&str]| list(tags.iter().map(|tag| text(tag)));
    let all: [&[&str]; 4] = [&["a", "b", "a"], &["b"], &[], &["c", "\u{0}a"]];
    let items = all.iter().enumerate();
    commit(
        &db,
        items.map(|(at, of)| create(&db, "Item", &format!("i{at}"), &[("tags", tags(of))])).collect(),
    );
    agree(&db);
    let by_tags = query::Access::Index(FieldRef {
        ty: db.engine().schema().type_named("Item").unwrap(),
        slot: slot(&db, "Item", "tags"),
    });
    for (filter, rows) in
        [("'a' in tags", 1), ("'b' in tags", 2), ("'c' in tags & 'a' in tags", 1), ("'z' in tags", 0)]
    {
        assert_eq!(found_by(&db, filter), (by_tags.clone(), rows), "{filter}");
    }
    commit(&db, vec![update(&db, "Item", "i0", &[("tags", tags(&["c"]))]), delete(&db, "Item", "i1")]);
    agree(&db);
    assert_eq!(found_by(&db, "'b' in tags").1, 0);
    assert_eq!(found_by(&db, "'c' in tags").1, 2);
    // A unique list is one as a whole.
    commit(&db, vec![update(&db, "Item", "i0", &[("whole", list([Value::Int(1)]))])]);
    commit(&db, vec![update(&db, "Item", "i2", &[("whole", list([Value::Int(1), Value::Int(1)]))])]);
    let twice = try_commit(&db, vec![update(&db, "Item", "i3", &[("whole", list([Value::Int(1)]))])]);
    assert!(matches!(&twice, Err(EngineError::Refused(found)) if found[0].code == "unique"), "{twice:?}");
    // What is too long for an index is told, and nothing of it is kept.
    let long = "x".repeat(20_000);
    let refused = try_commit(&db, vec![update(&db, "Item", "i0", &[("tags", tags(&["d", &long]))])]);
    let Err(EngineError::Refused(found)) = refused else { panic!("{refused:?}") };
    assert_eq!((found[0].code, found[0].write), ("too-long", Some(0)), "{found:?}");
    assert_eq!(found_by(&db, "'d' in tags").1, 0);
    agree(&db);
}

/// Before form 4 of the data an index of lists had an entry for each list, which no query used.
#[test]
fn lists_that_were_indexed_as_a_whole_are_indexed_by_their_elements() {
    let store = memory();
    let db = opened(&store, TAGGED);
    let tags = list([text("a"), text("b")]);
    commit(&db, vec![create(&db, "Item", "i0", &[("tags", tags.clone())])]);
    let number = {
        let engine = db.engine();
        let item = engine.schema().type_named("Item").unwrap();
        engine.schema().field(FieldRef { ty: item, slot: slot(&db, "Item", "tags") }).id
    };
    drop(db);
    let mut batch = Batch::new();
    batch.delete_range(keys::INDEX, KeyRange::prefix(number.0.to_be_bytes().to_vec()));
    batch.put(keys::INDEX, keys::index(number, &tags, &id("i0")), Vec::new());
    let bytes = store.snapshot().unwrap().get(keys::META, b"schema").unwrap().unwrap();
    let mut catalog: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    catalog["format"] = 3.into();
    batch.put(keys::META, b"schema", catalog.to_string().into_bytes());
    store.commit(&batch).unwrap();
    let db = opened(&store, TAGGED);
    agree(&db);
    assert_eq!(found_by(&db, "'b' in tags").1, 1);
}

/// The index of a list that was unique, and is not any more, was left with the lists as a whole; the simulator found it.
#[test]
fn an_index_of_lists_changes_with_what_it_is_of() {
    let store = memory();
    let unique = TAGGED.replace("tags: [str] index", "tags: [str] index unique");
    for schema in [TAGGED, &unique, TAGGED, &unique] {
        let db = opened(&store, schema);
        if db.engine().revision() == 0 {
            commit(&db, vec![create(&db, "Item", "i0", &[("tags", list([text("a"), text("b")]))])]);
        }
        agree(&db);
        if schema == TAGGED {
            assert_eq!(found_by(&db, "'b' in tags").1, 1);
        }
    }
}

/// Whatever referred to what many refer to was gathered before the first of it was looked at, up to the limit, and then all over again
/// as part of everything.
#[test]
fn a_page_of_what_leads_to_one_resource_ends_with_the_page() {
    let db = fresh("type Team in teams { name: str index } type Item in items { n: int, team: link Team }");
    commit(&db, vec![create(&db, "Team", "t", &[("name", text("a"))])]);
    let item = |n: i64| {
        let facts = [("n", Value::Int(n)), ("team", reference("t"))];
        create(&db, "Item", &format!("i{n:03}"), &facts)
    };
    commit(&db, (0..300).map(item).collect());
    let all = query(&db, "Item", Some("team.name = 'a'"), &[]);
    let asked = Query { limit: 10, scan_limit: 20, ..all.clone() };
    let page = run(&db, &asked);
    assert!(page.more);
    let after = page.items.last().map(|item| item.position.clone());
    let next = run(&db, &Query { after, ..asked });
    let ids: Vec<String> = page.items.iter().chain(&next.items).map(|item| item.key.id.to_string()).collect();
    assert_eq!(ids, (0..20).map(|n| format!("i{n:03}")).collect::<Vec<_>>());
    assert_eq!(walk(&db, &all, 7), brute(&db, &all));
}
