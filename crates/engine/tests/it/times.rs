//! Functions of time: what the calendar gives, as derived fields and in queries alike.

use crate::common::*;
use corollary_engine::eval::Eval;
use corollary_schema::expr::{Place, check_expr};
use corollary_syntax::parse_expression;
use corollary_value::{BasicKind, Value, parse_as};

/// Of `at` 2024-01-31T13:14:15.5Z (a Wednesday) and `on` 2024-02-29.
const CASES: &[(&str, &str)] = &[
    ("self.at + months(1)", "2024-02-29T13:14:15.5Z"),
    ("months(1) + self.at", "2024-02-29T13:14:15.5Z"),
    ("self.at + months(13)", "2025-02-28T13:14:15.5Z"),
    ("self.at - months(2)", "2023-11-30T13:14:15.5Z"),
    ("self.at - months(self.n)", "2023-11-30T13:14:15.5Z"),
    ("self.at + months(-2)", "2023-11-30T13:14:15.5Z"),
    ("self.on + years(1)", "2025-02-28"),
    ("self.on - years(4)", "2020-02-29"),
    ("self.on + months(1)", "2024-03-29"),
    ("self.on + years(10000)", "#overflow"),
    ("self.at + months(9223372036854775807)", "#overflow"),
    ("self.nothing + months(1)", "null"),
    ("self.at + months(self.no_n)", "null"),
    ("truncate(self.at, 'second')", "2024-01-31T13:14:15Z"),
    ("truncate(self.at, 'minute')", "2024-01-31T13:14:00Z"),
    ("truncate(self.at, 'hour')", "2024-01-31T13:00:00Z"),
    ("truncate(self.at, 'day')", "2024-01-31T00:00:00Z"),
    ("truncate(self.at, 'week')", "2024-01-29T00:00:00Z"),
    ("truncate(self.at, 'month')", "2024-01-01T00:00:00Z"),
    ("truncate(self.at, 'year')", "2024-01-01T00:00:00Z"),
    ("truncate(self.old, 'second')", "1960-01-01T00:00:00Z"),
    ("truncate(self.on, 'day')", "2024-02-29"),
    ("truncate(self.on, 'week')", "2024-02-26"),
    ("truncate(self.on, 'month')", "2024-02-01"),
    ("truncate(self.on, 'year')", "2024-01-01"),
    ("truncate(self.nothing, 'day')", "null"),
];

#[test]
fn the_calendar_is_the_same_everywhere() {
    let cases = CASES;
    let fields: Vec<String> =
        cases.iter().enumerate().map(|(at, (text, _))| format!("x{at} := {text}")).collect();
    let db = fresh(&format!(
        "type A in all {{ at: datetime, on: date, nothing: datetime, old: datetime, n: int, no_n: int
           {} }}",
        fields.join("\n")
    ));
    let datetime = |text: &str| parse_as(BasicKind::Datetime, text).unwrap();
    let facts = [
        ("at", datetime("2024-01-31T13:14:15.5Z")),
        ("on", parse_as(BasicKind::Date, "2024-02-29").unwrap()),
        ("old", datetime("1960-01-01T00:00:00.25Z")),
        ("n", Value::Int(2)),
    ];
    commit(&db, vec![create(&db, "A", "a", &facts)]);
    agree(&db);
    let engine = db.engine();
    let ty = engine.schema().type_named("A").unwrap();
    for (at, (text, expected)) in cases.iter().enumerate() {
        let derived = get(&db, "A", "a", &format!("x{at}"));
        let (expr, mistakes) = check_expr(&**engine.schema(), Place::Query(ty), &parse_expression(text).tree);
        assert!(mistakes.is_empty(), "{text}: {mistakes:#?}");
        let asked = engine.read(NOW, |working| Eval::new(working, &id("a")).value(&expr)).unwrap();
        for value in [derived, asked] {
            let shown = if value.is_null() { "null".into() } else { value.to_string() };
            assert_eq!(shown, *expected, "{text}");
        }
    }
}

#[test]
fn a_query_has_the_time_of_the_read_anywhere() {
    let db = fresh("type A in all { at: datetime }");
    commit(&db, vec![create(&db, "A", "a", &[("at", Value::Datetime(NOW))])]);
    let engine = db.engine();
    let ty = engine.schema().type_named("A").unwrap();
    let later = "1970-03-01T12:00:00Z".parse().unwrap();
    for (text, expected) in [
        ("now() - at", "PT1428H"),
        ("today()", "1970-03-01"),
        ("truncate(now(), 'month')", "1970-03-01T00:00:00Z"),
        ("at > now() - months(2)", "false"),
        ("at >= truncate(now() - months(2), 'month')", "true"),
        ("today() - months(1)", "1970-02-01"),
    ] {
        let (expr, mistakes) = check_expr(&**engine.schema(), Place::Query(ty), &parse_expression(text).tree);
        assert!(mistakes.is_empty(), "{text}: {mistakes:#?}");
        let value = engine.read(later, |working| Eval::new(working, &id("a")).value(&expr)).unwrap();
        assert_eq!(value.to_string(), expected, "{text}");
    }
}
