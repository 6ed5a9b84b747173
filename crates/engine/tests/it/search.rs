//! Searches find by their index what a look at every resource finds, whatever is written meanwhile and whenever the index
//! came.

use crate::common::*;
use corollary_engine::query::{self, From, Query};
use corollary_engine::{EngineError, Transaction};
use corollary_schema::expr::check_condition;
use corollary_syntax::parse_expression;
use corollary_value::Value;
use proptest::prelude::*;

const SCHEMA: &str = "
type Item in items {
  title: str, search text
  name:  str, search prefix
  who:   str, search phonetic
  tags:  [str], search text
  words: set<str>, search prefix
  found := count(self.same[has_words(title, 'pen')])
  same:  inverse Item.like
  like:  link Item
}
";

const FIELDS: [&str; 5] = ["title", "name", "who", "tags", "words"];

fn without() -> String {
    SCHEMA.lines().map(|line| line.split(", search").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn asked(db: &Db, filter: &str, scan_limit: usize) -> Query {
    let engine = db.engine();
    let ty = engine.schema().type_named("Item").unwrap();
    let (typed, mistakes) = check_condition(engine.schema(), ty, &parse_expression(filter).tree);
    assert!(mistakes.is_empty(), "{filter}: {mistakes:?}");
    Query {
        ty,
        from: From::All,
        filter: Some(typed),
        order: Vec::new(),
        limit: usize::MAX,
        after: None,
        scan_limit,
    }
}

fn found(db: &Db, query: &Query) -> Result<Vec<String>, EngineError> {
    let page = db.engine().read(NOW, |working| query::run(working, query))?;
    Ok(page.items.iter().map(|item| item.key.id.to_string()).collect())
}

/// By pages of a size.
fn paged(db: &Db, query: &Query, size: usize) -> Vec<String> {
    let mut query = Query { limit: size, ..query.clone() };
    let mut ids = Vec::new();
    loop {
        let page = db.engine().read(NOW, |working| query::run(working, &query)).unwrap();
        ids.extend(page.items.iter().map(|item| item.key.id.to_string()));
        match page.items.last().filter(|_| page.more) {
            Some(last) => query.after = Some(last.position.clone()),
            None => return ids,
        }
    }
}

fn phrase() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "pen", "Pens", "PÉN", "blue", "Smith", "Schmidt", "Meyer", "maier", "7", "漢字", "isn't", "-",
        "a\u{0}b",
    ]);
    prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "))
}

fn change() -> impl Strategy<Value = (u8, Option<Vec<(&'static str, Value)>>)> {
    let value = |field: &'static str| match field {
        "tags" | "words" => prop::collection::vec(phrase(), 0..3)
            .prop_map(move |mut texts| {
                if field == "words" {
                    texts.sort();
                    texts.dedup();
                }
                (field, list(texts.iter().map(|it| text(it))))
            })
            .boxed(),
        _ => prop_oneof![4 => phrase().prop_map(|it| text(&it)), 1 => Just(Value::Absent)]
            .prop_map(move |value| (field, value))
            .boxed(),
    };
    let values = FIELDS.map(value).to_vec();
    (0u8..6, prop::option::weighted(0.85, prop::sample::subsequence(values, 1..=5).prop_flat_map(|it| it)))
}

fn condition() -> impl Strategy<Value = String> {
    let function = prop::sample::select(vec!["starts_like", "has_words", "sounds_like"]);
    let one = (function, prop::sample::select(FIELDS.to_vec()), phrase(), 0usize..9).prop_map(
        |(function, field, phrase, cut)| {
            let phrase: String = if cut < 4 { phrase.chars().take(cut).collect() } else { phrase };
            format!("{function}({field}, \"{}\")", phrase.replace(['\u{0}', '"'], ""))
        },
    );
    prop::collection::vec(one, 1..3).prop_map(|parts| parts.join(" & "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_search_finds_what_a_look_at_everything_finds(
        groups in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..8),
        conditions in prop::collection::vec(condition(), 1..8),
        indexed_from in 0usize..8,
        size in 1usize..4,
    ) {
        let store = memory();
        let mut db = opened(&store, &without());
        for (at, group) in groups.iter().enumerate() {
            if at == indexed_from {
                drop(db);
                db = opened(&store, SCHEMA);
            }
            let writes = group.iter().map(|(n, values)| {
                let name = format!("i{n}");
                match (values, doc(&db, "Item", &name)) {
                    (Some(values), None) => create(&db, "Item", &name, values),
                    (Some(values), Some(_)) => update(&db, "Item", &name, values),
                    (None, _) => delete(&db, "Item", &name),
                }
            });
            // What one of them made of the others is no matter: a transaction that does not fit changes nothing.
            let transactions: Vec<_> = writes.map(|write| Transaction { writes: vec![write] }).collect();
            for outcome in db.commit(&transactions, NOW).unwrap() {
                if let Err(error) = outcome {
                    prop_assert!(matches!(error, EngineError::Refused(_)), "{}", error);
                }
            }
            agree(&db);
            let all = db.engine().read(NOW, |working| {
                use corollary_engine::eval::View;
                working.all(working.schema.type_named("Item").unwrap())
            }).unwrap();
            for condition in &conditions {
                let query = asked(&db, condition, 1_000);
                let brute: Vec<String> = db.engine().read(NOW, |working| {
                    let mut brute = Vec::new();
                    for id in &all {
                        if corollary_engine::eval::Eval::new(working, id).holds(query.filter.as_ref().unwrap())? {
                            brute.push(id.to_string());
                        }
                    }
                    Ok(brute)
                }).unwrap();
                prop_assert_eq!(&found(&db, &query).unwrap(), &brute, "{}", condition);
                prop_assert_eq!(paged(&db, &query, size), brute, "{}", condition);
            }
        }
    }
}

#[test]
fn a_search_reads_what_it_finds_and_no_more() {
    let db = fresh(SCHEMA);
    let items = (0..2_000).map(|n| {
        let title = format!("common {}", if n == 1_234 { "rare" } else { "usual" });
        create(
            &db,
            "Item",
            &format!("i{n}"),
            &[("title", text(&title)), ("name", text(&format!("{n:04} x")))],
        )
    });
    let items = items.collect();
    commit(&db, items);
    for (filter, expected) in [
        ("has_words(title, 'Rare')", vec!["i1234"]),
        ("has_words(title, 'rare common')", vec!["i1234"]),
        ("starts_like(name, '1234 X')", vec!["i1234"]),
        (
            "starts_like(name, '123')",
            vec!["i1230", "i1231", "i1232", "i1233", "i1234", "i1235", "i1236", "i1237", "i1238", "i1239"],
        ),
    ] {
        // Ten is what may be visited.
        assert_eq!(found(&db, &asked(&db, filter, 10)).unwrap(), expected, "{filter}");
    }
    let too_many = found(&db, &asked(&db, "has_words(title, 'common')", 10)).unwrap_err().to_string();
    assert!(too_many.contains("more than 10 resources of Item; narrow the filter"), "{too_many}");
    let db = fresh(&without());
    let items = (0..20).map(|n| create(&db, "Item", &format!("i{n}"), &[("title", text("x"))])).collect();
    commit(&db, items);
    let no_index = found(&db, &asked(&db, "has_words(title, 'x')", 10)).unwrap_err().to_string();
    assert!(no_index.contains("`search text` on Item.title would help"), "{no_index}");
}
