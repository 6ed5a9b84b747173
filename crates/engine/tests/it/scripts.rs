//! Functions in JavaScript: their results follow what they are given, and a failure of one is a value.

use crate::common::*;
use corollary_value::{ErrorValue, Value};

const FAILED: Value = Value::Error(ErrorValue::Type);

#[test]
fn the_result_follows_what_the_function_is_given() {
    let db = fresh(
        r#"type Author in authors {
             name: str
             books: inverse Book.author
             shelf := js("(doc) => doc.title.map(t => t[0]).sort().join('')", using: [self.books.title])
             long := js("(doc) => doc.title.length", using: [self.books[words > 5].title])
           }
           type Book in books {
             title: str, author: link Author, words: int default 0
             slug := str(js("(doc) => `${doc.name}-${doc.title}`.toLowerCase()", using: [title, self.author.name]))
             size := int(js("(doc) => ({ n: doc.words })", using: [words]).n) + 1
           }"#,
    );
    let book = [("title", text("Moby")), ("author", reference("a")), ("words", int(9))];
    commit(
        &db,
        vec![
            create(&db, "Author", "a", &[("name", text("Ann"))]),
            create(&db, "Book", "m", &book),
            create(&db, "Book", "e", &[("title", text("Emma")), ("author", reference("a"))]),
        ],
    );
    assert_eq!(get(&db, "Author", "a", "shelf"), text("EM"));
    assert_eq!(get(&db, "Author", "a", "long"), int(1));
    assert_eq!(get(&db, "Book", "m", "slug"), text("ann-moby"));
    assert_eq!(get(&db, "Book", "m", "size"), int(10));
    commit(&db, vec![update(&db, "Author", "a", &[("name", text("Eva"))])]);
    assert_eq!(get(&db, "Book", "m", "slug"), text("eva-moby"));
    agree(&db);
    // What a function is not given it does not depend on.
    let committed = commit(&db, vec![update(&db, "Book", "m", &[("words", int(11))])]);
    assert_eq!(get(&db, "Book", "m", "size"), int(12));
    assert_eq!(committed.work.changed, 1);
    commit(&db, vec![update(&db, "Book", "e", &[("words", int(6)), ("title", text("Zora"))])]);
    assert_eq!((get(&db, "Author", "a", "shelf"), get(&db, "Author", "a", "long")), (text("MZ"), int(2)));
    commit(&db, vec![delete(&db, "Book", "m")]);
    assert_eq!(get(&db, "Author", "a", "shelf"), text("Z"));
    agree(&db);
}

#[test]
fn values_go_in_and_come_out() {
    let db = fresh(
        r#"type T in ts {
             n: int, d: decimal, at: datetime, day: date, tags: [str], o: { a: int }, other: link T
             kinds := js("d => Object.keys(d).map(k => d[k] === null ? 'null' : typeof d[k] + d[k]).join()",
               using: [n, d, at, day, tags, other])
             nested := js("d => ({ a: [d.a, 0.5, null, true], s: 'x' })", using: [self.o.a])
             nothing := js("d => undefined", using: [n])
             plain := 1 / self.n
             error := js("d => 1", using: [plain])
           }"#,
    );
    let given = [
        ("n", int(i64::MAX)),
        ("d", Value::Decimal("1.50".parse().unwrap())),
        ("at", Value::Datetime(NOW)),
        ("tags", list([text("x"), text("y")])),
        ("o", object(&[("a", int(7))])),
        ("other", reference("t")),
    ];
    commit(&db, vec![create(&db, "T", "t", &given)]);
    let kinds = "string9223372036854775807,string1.50,string1970-01-01T00:00:00Z,null,objectx,y,stringt";
    assert_eq!(get(&db, "T", "t", "kinds"), text(kinds));
    let nested =
        object(&[("a", list([int(7), Value::Float(0.5), Value::Null, Value::Bool(true)])), ("s", text("x"))]);
    assert_eq!(get(&db, "T", "t", "nested"), nested);
    assert_eq!(get(&db, "T", "t", "nothing"), Value::Absent);
    assert_eq!(get(&db, "T", "t", "error"), int(1));
    commit(&db, vec![update(&db, "T", "t", &[("n", int(0))])]);
    assert_eq!(get(&db, "T", "t", "error"), Value::Error(ErrorValue::Div0), "an error passes through");
    agree(&db);
}

#[test]
fn whatever_goes_wrong_is_an_error_value_and_harms_nothing_else() {
    let db = fresh(
        r#"type T in ts {
             n: int
             thrown := js("d => { throw 'no' }", using: [n])
             turns := js("d => { let i = 0; while (i < d.n) i++; return i }", using: [n])
             patient := js("d => { let i = 0; while (i < d.n) i++; return i }", using: [n], steps: 5000000)
             fill := js("d => { const all = []; for (let i = 0; i < d.n; i++) all.push('x' + i); return all.length }",
               using: [n])
             deep := js("d => { const f = (n) => n ? 1 + f(n - 1) : 0; return f(d.n) }", using: [n])
             clock := js("d => new Date().getTime() + Math.random()", using: [n])
             wrong := js("d => () => d.n", using: [n])
             number := js("d => d.n / 0", using: [n])
             caught := self.turns else -1
             kept := js("d => { globalThis.k = (globalThis.k || 0) + 1; return globalThis.k }", using: [n])
             fine := js("d => d.n + 1", using: [n])
           }"#,
    );
    commit(&db, vec![create(&db, "T", "t", &[("n", int(3))])]);
    for (field, wanted) in [("turns", int(3)), ("patient", int(3)), ("fill", int(3)), ("deep", int(3))] {
        assert_eq!(get(&db, "T", "t", field), wanted, "{field}");
    }
    for field in ["thrown", "clock", "wrong", "number", "kept"] {
        assert_eq!(get(&db, "T", "t", field), FAILED, "{field}");
    }
    commit(&db, vec![update(&db, "T", "t", &[("n", int(2_000_000))])]);
    for field in ["turns", "fill", "deep"] {
        assert_eq!(get(&db, "T", "t", field), FAILED, "{field}");
    }
    assert_eq!(get(&db, "T", "t", "patient"), int(2_000_000));
    assert_eq!((get(&db, "T", "t", "caught"), get(&db, "T", "t", "fine")), (int(-1), int(2_000_001)));
    agree(&db);
}

#[test]
fn another_function_is_another_definition() {
    let schema = |source: &str| format!("type T in ts {{ n: int, x := js(\"{source}\", using: [n]) }}");
    let store = memory();
    {
        let db = opened(&store, &schema("d => d.n + 1"));
        commit(&db, vec![create(&db, "T", "t", &[("n", int(1))])]);
    }
    let db = opened(&store, &schema("d => d.n + 2"));
    assert_eq!(get(&db, "T", "t", "x"), int(3));
    agree(&db);
}

fn int(value: i64) -> Value {
    Value::Int(value)
}
