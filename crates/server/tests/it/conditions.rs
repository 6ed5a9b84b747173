//! Filters against brute force: random condition trees, and the expressions that say the same, over types with and
//! without indexes, find what a naive evaluation of the rows finds.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::common::{Json, Random, json};
use corollary_engine::query::{self, From, Query};
use corollary_engine::{EngineOptions, Executor, Key, Transaction, Write, keys, open};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::typed::Expr;
use corollary_schema::{Schema, Slot, TypeIx};
use corollary_server::condition;
use corollary_store::MemoryStore;
use corollary_syntax::parse_expression;
use corollary_value::{BasicKind, Id, Value, parse_as};
use jiff::Timestamp;

/// The same type several times: what is said of one by an index is said of the other by looking at all.
const SCHEMA: &str = "
type Item in items OVER {
  a: int INDEX
  b: str INDEX
  d: decimal INDEX
  t: datetime INDEX
  e: 'x' | 'y' | 'z' INDEX
  ok: bool INDEX
  tags: set<str>
  nums: [int]
  boss: link Item
  kids: inverse Item.boss
  twice := self.a * 2, INDEX
  kid_count := count(self.kids), INDEX
}";

/// Indexes over several fields, in mixed directions.
const OVER: &str = "index (e, a desc, t), index (a, b desc), index (ok desc, t desc, d), index (boss, twice desc), \
                    index (kid_count desc, b)";

/// Orders by several fields: those of [`OVER`], parts of them, and others; true is descending.
const ORDERS: [&[(&str, bool)]; 10] = [
    &[],
    &[("a", true), ("t", false)],
    &[("e", false), ("a", true), ("t", false)],
    &[("e", true), ("a", false), ("t", true)],
    &[("a", false), ("b", true)],
    &[("b", true)],
    &[("ok", true), ("t", true), ("d", false)],
    &[("t", false), ("d", true)],
    &[("twice", false)],
    &[("kid_count", true), ("b", true), ("a", false)],
];

const ROWS: usize = 24;
const FILTERS: usize = 10_000;

/// A value as the naive evaluation has it. Values of one key are all of one kind; decimals are tenths, times are days.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Naive {
    Number(i64),
    Text(String),
    Truth(bool),
}

#[derive(Default)]
struct Row {
    a: Option<i64>,
    b: Option<String>,
    d: Option<i64>,
    t: Option<i64>,
    e: Option<String>,
    ok: Option<bool>,
    tags: Vec<String>,
    nums: Vec<i64>,
    boss: Option<usize>,
}

/// Key, whether it is many, whether it has an order.
const KEYS: [(&str, bool, bool); 13] = [
    ("a", false, true),
    ("b", false, true),
    ("d", false, true),
    ("t", false, true),
    ("e", false, false),
    ("ok", false, false),
    ("tags", true, true),
    ("nums", true, true),
    ("boss", false, false),
    ("boss.a", false, true),
    ("twice", false, true),
    ("kid_count", false, true),
    ("kids.a", true, true),
];

fn number(value: Option<i64>) -> Vec<Option<Naive>> {
    vec![value.map(Naive::Number)]
}

/// What stands under a key: one value or null, or the elements of a list.
fn under(rows: &[Row], at: usize, key: &str) -> Vec<Option<Naive>> {
    let row = &rows[at];
    let kids = || rows.iter().filter(|kid| kid.boss == Some(at));
    match key {
        "a" => number(row.a),
        "b" => vec![row.b.clone().map(Naive::Text)],
        "d" => number(row.d),
        "t" => number(row.t),
        "e" => vec![row.e.clone().map(Naive::Text)],
        "ok" => vec![row.ok.map(Naive::Truth)],
        "tags" => row.tags.iter().map(|tag| Some(Naive::Text(tag.clone()))).collect(),
        "nums" => row.nums.iter().map(|num| Some(Naive::Number(*num))).collect(),
        "boss" => vec![row.boss.map(|boss| Naive::Text(name(boss)))],
        "boss.a" => number(row.boss.and_then(|boss| rows[boss].a)),
        "twice" => number(row.a.map(|a| a * 2)),
        "kid_count" => number(Some(kids().count() as i64)),
        _ => kids().map(|kid| kid.a.map(Naive::Number)).collect(),
    }
}

fn name(at: usize) -> String {
    format!("i{at:02}")
}

#[derive(Clone, Debug)]
enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Equal { key: usize, value: Option<Naive>, equals: bool },
    AnyOf { key: usize, values: Vec<Option<Naive>>, includes: bool },
    Exists { key: usize, there: bool },
    Order { key: usize, value: Naive, greater: bool, equals: bool },
}

use Condition::{And, AnyOf, Equal, Exists, Not, Or, Order};

fn holds(rows: &[Row], at: usize, condition: &Condition) -> bool {
    let values = |key: &usize| under(rows, at, KEYS[*key].0);
    match condition {
        And(parts) => parts.iter().all(|part| holds(rows, at, part)),
        Or(parts) => parts.iter().any(|part| holds(rows, at, part)),
        Not(part) => !holds(rows, at, part),
        Equal { key, value, equals } => values(key).contains(value) == *equals,
        AnyOf { key, values: any, includes } => {
            values(key).iter().any(|value| any.contains(value)) == *includes
        }
        Exists { key, there } => {
            let values = values(key);
            let exists = if KEYS[*key].1 { !values.is_empty() } else { values[0].is_some() };
            exists == *there
        }
        Order { key, value, greater, equals } => values(key)
            .iter()
            .flatten()
            .any(|found| (*equals && found == value) || if *greater { found > value } else { found < value }),
    }
}

/// How a value is written in a tree, and in an expression.
fn written(key: usize, value: &Option<Naive>) -> (Json, String) {
    match value {
        None => (Json::Null, "null".into()),
        Some(Naive::Truth(truth)) => (json!(truth), truth.to_string()),
        Some(Naive::Text(text)) => {
            (json!(text), format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")))
        }
        Some(Naive::Number(number)) => match KEYS[key].0 {
            "d" => {
                let text = format!(
                    "{}{}.{}",
                    if *number < 0 { "-" } else { "" },
                    number.abs() / 10,
                    number.abs() % 10
                );
                (json!(text), text)
            }
            "t" => {
                let text = day(*number);
                (json!(text), format!("'{text}'"))
            }
            _ => (json!(number), number.to_string()),
        },
    }
}

fn day(number: i64) -> String {
    Timestamp::from_second(number * 86_400).unwrap().to_string()
}

/// The condition as a tree, and as an expression.
fn rendered(condition: &Condition, random: &mut Random) -> (Json, String) {
    let parts = |parts: &[Condition], name: &str, symbols: [&str; 2], random: &mut Random| {
        let (trees, texts): (Vec<Json>, Vec<String>) =
            parts.iter().map(|part| rendered(part, random)).unzip();
        let symbol = symbols[random.below(2) as usize];
        let texts: Vec<String> = texts.into_iter().map(|text| format!("({text})")).collect();
        let mut tree = json!({});
        tree[name] = trees.into();
        (tree, texts.join(&format!(" {symbol} ")))
    };
    let either = |positive: bool, text: String| if positive { text } else { format!("not ({text})") };
    let equal = |key: usize, value: &str| match KEYS[key] {
        (name, true, _) => format!("{value} in {name}"),
        (name, false, _) => format!("{name} = {value}"),
    };
    match condition {
        And(all) => parts(all, "and", ["and", "&"], random),
        Or(any) => parts(any, "or", ["or", "|"], random),
        Not(part) => {
            let (tree, text) = rendered(part, random);
            (json!({"not": tree}), format!("{}({text})", ["not ", "!"][random.below(2) as usize]))
        }
        Equal { key, value, equals } => {
            let (tree, text) = written(*key, value);
            let mut kv = json!({"key": KEYS[*key].0, "value": tree});
            if !equals || random.below(3) == 0 {
                kv["equals"] = json!(equals);
            }
            (json!({"kv": kv}), either(*equals, equal(*key, &text)))
        }
        AnyOf { key, values, includes } => {
            let (trees, texts): (Vec<Json>, Vec<String>) =
                values.iter().map(|value| written(*key, value)).unzip();
            let texts: Vec<String> = texts.iter().map(|text| equal(*key, text)).collect();
            let any = if texts.is_empty() { "false".into() } else { texts.join(" or ") };
            let tree = json!({"kvs": {"key": KEYS[*key].0, "values": trees, "includes": includes}});
            (tree, either(*includes, any))
        }
        Exists { key, there } => {
            let name = KEYS[*key].0;
            let tree =
                if *there { json!({"exist": {"key": name}}) } else { json!({"nonexistent": {"key": name}}) };
            (tree, either(*there, format!("exists({name})")))
        }
        Order { key, value, greater, equals } => {
            let (tree, text) = written(*key, &Some(value.clone()));
            let (name, many, _) = KEYS[*key];
            let op = match (greater, equals) {
                (true, true) => ">=",
                (true, false) => ">",
                (false, true) => "<=",
                (false, false) => "<",
            };
            let subject = match (many, greater) {
                (false, _) => name.to_string(),
                (true, true) => format!("max({name})"),
                (true, false) => format!("min({name})"),
            };
            let which = if *greater { "greater" } else { "lesser" };
            let mut condition = json!({});
            condition[which] = json!({"key": name, "value": tree, "equals": equals});
            (condition, format!("{subject} {op} {text}"))
        }
    }
}

fn value(random: &mut Random, key: usize) -> Naive {
    let small = |random: &mut Random| random.below(7) as i64 - 2;
    let pick =
        |random: &mut Random, words: &[&str]| words[random.below(words.len() as u64) as usize].to_string();
    match KEYS[key].0 {
        "b" | "tags" => Naive::Text(pick(random, &["", "p", "q", "it's", "Q"])),
        "e" => Naive::Text(pick(random, &["x", "y", "z"])),
        "ok" => Naive::Truth(random.below(2) == 0),
        "boss" => Naive::Text(name(random.below(ROWS as u64) as usize)),
        _ => Naive::Number(small(random)),
    }
}

/// A value, or null where there may be one to compare with.
fn maybe(random: &mut Random, key: usize) -> Option<Naive> {
    (random.below(6) > 0 || KEYS[key].1).then(|| value(random, key))
}

fn condition(random: &mut Random, depth: usize) -> Condition {
    let parts =
        |random: &mut Random| (0..1 + random.below(3)).map(|_| condition(random, depth - 1)).collect();
    match if depth == 0 { 9 } else { random.below(10) } {
        0..=2 => And(parts(random)),
        3 | 4 => Or(parts(random)),
        5 => Not(Box::new(condition(random, depth - 1))),
        _ => {
            let key = random.below(KEYS.len() as u64) as usize;
            match random.below(6) {
                0 => Exists { key, there: random.below(2) == 0 },
                1 => {
                    let values = (0..random.below(4)).map(|_| maybe(random, key)).collect();
                    AnyOf { key, values, includes: random.below(3) > 0 }
                }
                2 | 3 if KEYS[key].2 => {
                    let value = value(random, key);
                    Order { key, value, greater: random.below(2) == 0, equals: random.below(2) == 0 }
                }
                _ => Equal { key, value: maybe(random, key), equals: random.below(4) > 0 },
            }
        }
    }
}

fn rows(random: &mut Random) -> Vec<Row> {
    let text = |value: Naive| if let Naive::Text(text) = value { Some(text) } else { None };
    let number = |value: Naive| if let Naive::Number(number) = value { Some(number) } else { None };
    (0..ROWS)
        .map(|_| Row {
            a: maybe(random, 0).and_then(number),
            b: maybe(random, 1).and_then(text),
            d: maybe(random, 2).and_then(number),
            t: maybe(random, 3).and_then(number),
            e: maybe(random, 4).and_then(text),
            ok: maybe(random, 5).map(|value| value == Naive::Truth(true)),
            tags: {
                let tags = (0..random.below(3)).filter_map(|_| text(value(random, 6)));
                let mut tags: Vec<String> = tags.collect();
                tags.sort();
                tags.dedup();
                tags
            },
            nums: (0..random.below(4)).filter_map(|_| number(value(random, 7))).collect(),
            boss: (random.below(3) > 0).then(|| random.below(ROWS as u64) as usize),
        })
        .collect()
}

/// A data base with the rows.
fn stored(index: &str, over: &str, rows: &[Row]) -> Executor {
    let store = Arc::new(MemoryStore::new(&keys::KEYSPACES).unwrap());
    let text = SCHEMA.replace("INDEX", index).replace("OVER", over);
    let now = Timestamp::UNIX_EPOCH;
    let opened = open(store, &text, &EngineOptions::default(), now, &mut |_| {});
    let mut executor = opened.unwrap_or_else(|error| panic!("{error}"));
    let schema = executor.engine().schema().clone();
    let ty = schema.type_named("Item").unwrap();
    let slot = |name: &str| schema.ty(ty).named(name).unwrap().0;
    let id = |at: usize| Id::parse(&name(at)).unwrap();
    let writes = rows.iter().enumerate().map(|(at, row)| {
        let mut facts: Vec<(Slot, Value)> = Vec::new();
        let mut put = |name: &str, value: Option<Value>| facts.extend(value.map(|value| (slot(name), value)));
        put("a", row.a.map(Value::Int));
        put("b", row.b.as_ref().map(|text| Value::Str(text.into())));
        let (decimal, time) = (BasicKind::Decimal, BasicKind::Datetime);
        put("d", row.d.map(|d| parse_as(decimal, &written(2, &Some(Naive::Number(d))).1).unwrap()));
        put("t", row.t.map(|t| parse_as(time, &day(t)).unwrap()));
        put("e", row.e.as_ref().map(|text| Value::Str(text.into())));
        put("ok", row.ok.map(Value::Bool));
        put("tags", Some(Value::List(row.tags.iter().map(|tag| Value::Str(tag.into())).collect())));
        put("nums", Some(Value::List(row.nums.iter().map(|num| Value::Int(*num)).collect())));
        put("boss", row.boss.map(|boss| Value::Ref(id(boss))));
        Write::Create(Key::new(ty, id(at)), facts)
    });
    let transaction = Transaction { writes: writes.collect() };
    executor.commit(&[transaction], now).unwrap().remove(0).unwrap();
    executor
}

fn found(executor: &Executor, ty: TypeIx, filter: Expr) -> Vec<String> {
    found_by(executor, ty, filter, &[])
}

/// In an order by some fields.
fn found_by(executor: &Executor, ty: TypeIx, filter: Expr, order: &[(&str, bool)]) -> Vec<String> {
    let schema = executor.engine().schema().clone();
    let by = |key: &str| {
        let (expr, mistakes) = check_expr(&*schema, Place::Query(ty), &parse_expression(key).tree);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        expr
    };
    let query = Query {
        ty,
        from: From::All,
        filter: Some(filter),
        order: order.iter().map(|(key, descending)| (by(key), *descending)).collect(),
        limit: usize::MAX,
        after: None,
        scan_limit: usize::MAX,
    };
    let page = executor.engine().read(Timestamp::UNIX_EPOCH, |working| query::run(working, &query)).unwrap();
    page.items.iter().map(|item| item.key.id.to_string()).collect()
}

fn expression(schema: &Schema, ty: TypeIx, text: &str) -> Expr {
    let parsed = parse_expression(text);
    assert!(parsed.diagnostics.is_empty(), "{text}: {:?}", parsed.diagnostics);
    let (expr, diagnostics) = check_condition(schema, ty, &parsed.tree);
    assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
    expr
}

/// Names of rows in an order; where it says nothing they are in that of names, in the direction of its last part.
fn sorted(rows: &[Row], mut names: Vec<String>, order: &[(&str, bool)]) -> Vec<String> {
    let at = |name: &String| (0..ROWS).find(|at| self::name(*at) == *name).expect("a row");
    let turned = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
    names.sort_by(|left, right| {
        let by_values = order.iter().fold(Ordering::Equal, |so_far, (key, descending)| {
            let values = |name: &String| under(rows, at(name), key);
            let by_value = values(left).partial_cmp(&values(right)).expect("values of one kind");
            so_far.then(turned(by_value, *descending))
        });
        by_values.then(turned(left.cmp(right), order.last().is_some_and(|(_, descending)| *descending)))
    });
    names
}

#[test]
fn random_filters_find_what_brute_force_finds_with_indexes_and_without() {
    let seed = crate::common::seed();
    let mut random = Random::new(seed);
    let rows = rows(&mut random);
    let (plain, indexed) = (stored("", "", &rows), stored("index", "", &rows));
    let (several, both) = (stored("", OVER, &rows), stored("index", OVER, &rows));
    // All are one schema but for the indexes.
    let schema = plain.engine().schema().clone();
    let with_index = indexed.engine().schema().clone();
    let ty = schema.type_named("Item").unwrap();
    let mut some = 0;
    for at in 0..FILTERS {
        let condition = condition(&mut random, at % 4);
        let (tree, text) = rendered(&condition, &mut random);
        let wanted: Vec<String> = (0..ROWS).filter(|at| holds(&rows, *at, &condition)).map(name).collect();
        some += usize::from(!wanted.is_empty() && wanted.len() < ROWS);
        let shown = format!("COROLLARY_SEED={seed}, filter {at}: {tree}\n{text}");
        let by = ORDERS[random.below(ORDERS.len() as u64) as usize];
        let in_order = sorted(&rows, wanted.clone(), by);
        for (executor, schema) in [(&plain, &schema), (&indexed, &with_index)] {
            let typed = condition::typed(schema, ty, &tree, "where");
            let typed = typed.unwrap_or_else(|errors| panic!("{errors:?} {shown}")).unwrap();
            assert_eq!(found(executor, ty, typed), wanted, "as a tree, {shown}");
        }
        assert_eq!(found(&indexed, ty, expression(&with_index, ty, &text)), wanted, "as a text, {shown}");
        // In an order that an index over several fields has, or nearly; with such indexes and without.
        let executor = [&several, &both, &several, &indexed, &both, &plain][at % 6];
        let typed = condition::typed(executor.engine().schema(), ty, &tree, "where").unwrap().unwrap();
        assert_eq!(found_by(executor, ty, typed, by), in_order, "by {by:?}, {shown}");
        let text_in_tree = condition::typed(&schema, ty, &json!({"not": {"not": {"expr": text}}}), "where");
        assert_eq!(found(&plain, ty, text_in_tree.unwrap().unwrap()), wanted, "as a text in a tree, {shown}");
    }
    assert!(some > FILTERS / 4, "only {some} filters tell rows apart");
}

#[test]
fn what_is_wrong_with_a_tree_is_told_with_its_place() {
    let plain = stored("", "", &[]);
    let schema = plain.engine().schema().clone();
    let ty = schema.type_named("Item").unwrap();
    let cases = [
        (json!({"kv": {"key": "aa", "value": 1}}), "where/kv/key", "column 1: `Item` has no field `aa`"),
        (json!({"kv": {"key": "a", "value": "x"}}), "where/kv/value", "a whole number"),
        (json!({"kv": {"key": "a"}}), "where/kv/value", "`value` has to be there"),
        (json!({"kv": {"key": "a", "value": 1, "equal": true}}), "where/kv/equal", "did you mean `equals`?"),
        (json!({"kv": {"key": "a", "value": 1, "equals": 1}}), "where/kv/equals", "true or false"),
        (json!({"kvv": {}}), "where/kvv", "did you mean `kv`?"),
        (json!({"kv": {"key": "e", "value": "w"}}), "where/kv/value", "none of its words"),
        (json!({"kv": {"key": "a +", "value": 1}}), "where/kv/key", "column"),
        (json!({"kvs": {"key": "a", "values": 1}}), "where/kvs/values", "a list"),
        (json!({"kvs": {"key": "a", "values": [1, "x"]}}), "where/kvs/values/1", "a whole number"),
        (json!({"greater": {"key": "boss", "value": "i1"}}), "where/greater/key", "has no order"),
        (json!({"kv": {"key": "nums", "value": null}}), "where/kv/value", "is a list"),
        (json!({"expr": "a"}), "where/expr", "a condition must be true or false"),
        (json!({"expr": 1}), "where/expr", "a text"),
        (json!({"and": []}), "where/and", "of one at least"),
        (json!({"and": [{"exist": {"key": "a"}}, {}]}), "where/and/1", "an object with one member"),
        (json!({"not": {"kv": {"key": "boss", "value": 5}}}), "where/not/kv/value", "compared with an id"),
        (json!([]), "where", "an object with one member"),
    ];
    for (tree, path, message) in cases {
        let errors = condition::typed(&schema, ty, &tree, "where").expect_err("a mistake");
        let [error] = &errors[..] else { panic!("{tree}: {errors:?}") };
        assert_eq!(error.path.as_deref(), Some(path), "{tree}");
        assert!(error.message.contains(message), "{tree}: {}", error.message);
    }
    // All of them at once, and none of what is large is walked to its end.
    let both = json!({"and": [{"kv": {"key": "zz", "value": 1}}, {"exist": {"key": "zzz"}}]});
    assert_eq!(condition::typed(&schema, ty, &both, "where").unwrap_err().len(), 2);
    let leaf = json!({"exist": {"key": "a"}});
    let wide = json!({"or": vec![leaf.clone(); condition::MAX_CONDITIONS]});
    assert_eq!(condition::typed(&schema, ty, &wide, "where").unwrap_err().len(), 1);
    let wide = json!({"or": vec![leaf.clone(); condition::MAX_CONDITIONS - 1]});
    assert_eq!(found(&plain, ty, condition::typed(&schema, ty, &wide, "where").unwrap().unwrap()), [""; 0]);
    let deep = (0..condition::MAX_DEPTH).fold(leaf, |inner, _| json!({"not": inner}));
    assert_eq!(condition::typed(&schema, ty, &deep, "where").unwrap_err().len(), 1);
    for nothing in [Json::Null, json!({})] {
        assert!(condition::typed(&schema, ty, &nothing, "where").unwrap().is_none());
    }
}
