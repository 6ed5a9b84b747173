//! Embedded objects that own derived members and hold links.

use crate::common::*;
use corollary_engine::Edit;
use corollary_value::{ErrorValue, Value};

const SHOP: &str = "
type Order in orders {
  customer: link Customer
  currency: str default 'EUR'
  rate: decimal default 2.0
  lines: [{
    id: str
    price: decimal
    qty: int default 1
    total := self.price * self.qty
    home := self.total * self.rate
    label := self.id + self.currency
    share := self.price / sum(parent.lines.price)
    author: link Author on delete unlink
    author_name := self.author.name
    mentor := self.author.mentor
    mentor_name := self.mentor.name
  }]
  main: { editor: link Author on delete restrict, name := self.editor.name }
  by_word: map<{ n: int, author: link Author on delete cascade, double := self.n * 2, who := self.author.name }>
  amount := sum(self.lines.total)
  first_label := first(self.lines[order by total desc]).label
  names := self.lines[total > 10.0].author_name
  authors := self.lines.author
  author_names := self.lines.author.name
  ages := sum(self.lines.author.age)
  big := self.lines[price > 3.0]
  big_names := self.big.author.name
  words := self.by_word.a.who
}
type Author in authors {
  name: str
  age: int
  mentor: link Author
  orders_n := count(self.link_order_lines_author)
  orders_amount := sum(self.link_order_lines_author.amount)
}
type Customer in customers {
  orders: inverse Order.customer
  spent := sum(self.orders.amount)
  line_sum := sum(self.orders.lines.total)
  line_n := count(self.orders.lines.price)
  line_mean := average(self.orders.lines.price)
  line_max := max(self.orders.lines.total)
  line_min := min(self.orders.lines.total)
  dear := self.orders.lines[price > 3.0]
  dear_names := self.dear.author.name
}
";

fn decimal(text: &str) -> Value {
    Value::Decimal(text.parse().unwrap())
}

fn line(id: &str, price: &str, qty: i64, author: Option<&str>) -> Value {
    let mut members = vec![("id", text(id)), ("price", decimal(price)), ("qty", Value::Int(qty))];
    members.extend(author.map(|author| ("author", reference(author))));
    object(&members)
}

/// The member of each object of a list as it is read.
fn members(db: &Db, ty: &str, name: &str, field: &str, member: &str) -> Value {
    let doc = doc(db, ty, name).unwrap();
    let engine = db.engine();
    let resource = engine.schema().ty(engine.schema().type_named(ty).unwrap());
    let Value::List(objects) = doc.get(resource.shown(slot(db, ty, field))).clone() else {
        panic!("no list")
    };
    let of = |object: &Value| match object {
        Value::Object(members) => {
            members.iter().find(|(name, _)| name == member).map_or(Value::Null, |(_, value)| value.clone())
        }
        other => panic!("{other:?}"),
    };
    list(objects.iter().map(of))
}

fn shop() -> Db {
    let db = fresh(SHOP);
    commit(
        &db,
        vec![
            create(&db, "Author", "m", &[("name", text("mara")), ("age", Value::Int(70))]),
            create(
                &db,
                "Author",
                "a",
                &[("name", text("ann")), ("age", Value::Int(40)), ("mentor", reference("m"))],
            ),
            create(&db, "Author", "b", &[("name", text("bob")), ("age", Value::Int(30))]),
            create(&db, "Customer", "c", &[]),
            create(
                &db,
                "Order",
                "o",
                &[
                    ("customer", reference("c")),
                    (
                        "lines",
                        list([
                            line("x", "2.5", 2, Some("a")),
                            line("y", "7.5", 4, Some("b")),
                            line("z", "1", 1, Some("a")),
                        ]),
                    ),
                ],
            ),
        ],
    );
    agree(&db);
    db
}

#[test]
fn members_follow_from_the_object_its_links_and_what_holds_it() {
    let db = shop();
    assert_eq!(members(&db, "Order", "o", "lines", "total"), list(["5.0", "30.0", "1"].map(decimal)));
    assert_eq!(members(&db, "Order", "o", "lines", "home"), list(["10", "60", "2"].map(decimal)));
    assert_eq!(members(&db, "Order", "o", "lines", "label"), list(["xEUR", "yEUR", "zEUR"].map(text)));
    assert_eq!(members(&db, "Order", "o", "lines", "author_name"), list(["ann", "bob", "ann"].map(text)));
    assert_eq!(
        members(&db, "Order", "o", "lines", "mentor_name"),
        list([text("mara"), Value::Null, text("mara")])
    );
    assert_eq!(get(&db, "Order", "o", "amount"), decimal("36"));
    assert_eq!(get(&db, "Order", "o", "first_label"), text("yEUR"));
    assert_eq!(get(&db, "Order", "o", "names"), list([text("bob")]));
    assert_eq!(get(&db, "Order", "o", "authors"), references(&["a", "b"]));
    assert_eq!(get(&db, "Order", "o", "author_names"), list(["ann", "bob"].map(text)));
    assert_eq!(get(&db, "Order", "o", "ages"), Value::Int(70));
    assert_eq!(get(&db, "Author", "a", "orders_n"), Value::Int(1));
    assert_eq!(get(&db, "Author", "a", "orders_amount"), decimal("36"));
    assert_eq!(get(&db, "Customer", "c", "spent"), decimal("36"));
    assert_eq!(get(&db, "Customer", "c", "line_sum"), decimal("36"));
    assert_eq!(get(&db, "Customer", "c", "line_n"), Value::Int(3));
    assert_eq!(get(&db, "Customer", "c", "line_max"), decimal("30.0"));
    assert_eq!(get(&db, "Customer", "c", "dear_names"), list([text("bob")]));

    // What is stored is what was written, with defaults and nothing else.
    let stored = get(&db, "Order", "o", "lines");
    assert_eq!(
        stored,
        list([line("x", "2.5", 2, Some("a")), line("y", "7.5", 4, Some("b")), line("z", "1", 1, Some("a"))])
    );
}

#[test]
fn a_change_anywhere_on_the_way_reaches_the_objects() {
    let db = shop();
    commit(&db, vec![update(&db, "Order", "o", &[("rate", decimal("3"))])]);
    assert_eq!(members(&db, "Order", "o", "lines", "home"), list(["15", "90", "3"].map(decimal)));
    commit(&db, vec![update(&db, "Author", "m", &[("name", text("mia"))])]);
    assert_eq!(
        members(&db, "Order", "o", "lines", "mentor_name"),
        list([text("mia"), Value::Null, text("mia")])
    );
    commit(&db, vec![update(&db, "Author", "b", &[("name", text("ben")), ("mentor", reference("m"))])]);
    assert_eq!(
        members(&db, "Order", "o", "lines", "mentor_name"),
        list([text("mia"), text("mia"), text("mia")])
    );
    assert_eq!(get(&db, "Order", "o", "big_names"), list([text("ben")]));
    assert_eq!(get(&db, "Customer", "c", "dear_names"), list([text("ben")]));
    agree(&db);
    commit(&db, vec![update(&db, "Order", "o", &[("lines", list([line("w", "4", 1, Some("m"))]))])]);
    assert_eq!(get(&db, "Author", "a", "orders_n"), Value::Int(0));
    assert_eq!(get(&db, "Author", "m", "orders_n"), Value::Int(1));
    agree(&db);
    // What nobody in an order reads costs nothing there.
    let committed = commit(&db, vec![update(&db, "Author", "b", &[("name", text("bea"))])]);
    assert_eq!(committed.work.evaluations, 0);
    agree(&db);
    commit(&db, vec![delete(&db, "Order", "o")]);
    agree(&db);
}

#[test]
fn a_deleted_target_is_unlinked_keeps_itself_or_takes_the_holder_along() {
    let db = shop();
    commit(&db, vec![update(&db, "Order", "o", &[("main", object(&[("editor", reference("m"))]))])]);
    assert_eq!(codes(&refused(&db, vec![delete(&db, "Author", "m")])), ["restrict main/editor"]);
    commit(&db, vec![delete(&db, "Author", "a")]);
    assert_eq!(
        get(&db, "Order", "o", "lines"),
        list([line("x", "2.5", 2, None), line("y", "7.5", 4, Some("b")), line("z", "1", 1, None)])
    );
    assert_eq!(get(&db, "Order", "o", "author_names"), list([text("bob")]));
    agree(&db);
    let word = object(&[("a", object(&[("n", Value::Int(3)), ("author", reference("b"))]))]);
    commit(&db, vec![update(&db, "Order", "o", &[("by_word", word)])]);
    assert_eq!(get(&db, "Order", "o", "words"), text("bob"));
    agree(&db);
    commit(&db, vec![delete(&db, "Author", "b")]);
    assert!(doc(&db, "Order", "o").is_none());
    agree(&db);
    commit(&db, vec![delete(&db, "Author", "m")]);
    agree(&db);
}

#[test]
fn links_in_objects_lead_somewhere() {
    let db = shop();
    let lost = update(&db, "Order", "o", &[("lines", list([line("w", "4", 1, Some("nobody"))]))]);
    assert_eq!(codes(&refused(&db, vec![lost])), ["link lines/author"]);
    // One that is linked and deleted in one transaction.
    let relinked = vec![
        update(&db, "Order", "o", &[("lines", list([line("w", "4", 1, Some("b"))]))]),
        delete(&db, "Author", "b"),
    ];
    commit(&db, relinked);
    assert_eq!(get(&db, "Order", "o", "lines"), list([line("w", "4", 1, None)]));
    agree(&db);
    let derived = object(&[("id", text("x")), ("total", decimal("5"))]);
    let given = update(&db, "Order", "o", &[("lines", list([derived]))]);
    assert_eq!(codes(&refused(&db, vec![given])), ["unknown-field lines/0/total"]);
    let member = Edit::Merge(vec![("editor".into(), Edit::Set(text("b")))]);
    assert_eq!(
        codes(&refused(&db, vec![edit(&db, "Order", "o", &[("main", member)])])),
        ["type main/editor"]
    );
}

#[test]
fn an_error_in_one_object_is_its_own() {
    let db = fresh(
        "type T in ts { lines: [{ a: int, b: int, q := self.a / self.b, safe := self.q else 0.0 }], all := sum(self.lines.safe), worst := sum(self.lines.q) }",
    );
    let pair = |a, b| object(&[("a", Value::Int(a)), ("b", Value::Int(b))]);
    commit(&db, vec![create(&db, "T", "t", &[("lines", list([pair(4, 2), pair(1, 0)]))])]);
    assert_eq!(
        members(&db, "T", "t", "lines", "q"),
        list([Value::Float(2.0), Value::Error(ErrorValue::Div0)])
    );
    assert_eq!(get(&db, "T", "t", "all"), Value::Float(2.0));
    assert_eq!(get(&db, "T", "t", "worst"), Value::Error(ErrorValue::Div0));
    agree(&db);
}

#[test]
fn objects_within_objects_read_outwards() {
    let db = fresh(
        "type Plan in plans {
           factor: int default 10
           phases: [{
             days: int
             steps: [{ hours: int, cost := self.hours * self.factor, part := self.hours / self.days, all := count(parent.phases) }]
             cost := sum(self.steps.cost)
           }]
           cost := sum(self.phases.cost)
           step_costs := self.phases.steps.cost
         }",
    );
    let step = |hours| object(&[("hours", Value::Int(hours))]);
    let phase = |days, steps: &[i64]| {
        object(&[("days", Value::Int(days)), ("steps", list(steps.iter().map(|hours| step(*hours))))])
    };
    commit(&db, vec![create(&db, "Plan", "p", &[("phases", list([phase(2, &[1, 2]), phase(4, &[8])]))])]);
    assert_eq!(members(&db, "Plan", "p", "phases", "cost"), list([Value::Int(30), Value::Int(80)]));
    assert_eq!(get(&db, "Plan", "p", "cost"), Value::Int(110));
    assert_eq!(get(&db, "Plan", "p", "step_costs"), list([10, 20, 80].map(Value::Int)));
    commit(&db, vec![update(&db, "Plan", "p", &[("factor", Value::Int(1))])]);
    assert_eq!(get(&db, "Plan", "p", "cost"), Value::Int(11));
    agree(&db);
}

#[test]
fn derived_members_come_and_go_with_the_schema() {
    let store = memory();
    let plain = "type T in ts { lines: [{ a: int }], n := count(self.lines) }";
    let extended = "type T in ts { lines: [{ a: int, b := self.a + 1 }], n := count(self.lines), s := sum(self.lines.b) }";
    let other = "type T in ts { lines: [{ a: int, b := self.a + 2 }], n := count(self.lines), s := sum(self.lines.b) }";
    let pair = |a| object(&[("a", Value::Int(a))]);
    let db = opened(&store, plain);
    commit(&db, vec![create(&db, "T", "t", &[("lines", list([pair(1), pair(5)]))])]);
    drop(db);
    for (schema, sum) in [(extended, 8), (other, 10), (extended, 8)] {
        let db = opened(&store, schema);
        assert_eq!(get(&db, "T", "t", "s"), Value::Int(sum));
        agree(&db);
    }
    let db = opened(&store, plain);
    assert_eq!(get(&db, "T", "t", "lines"), list([pair(1), pair(5)]));
    agree(&db);
}
