//! What users try first with derived fields: filters that empty, chains over several resources, diamonds, what is
//! deleted and what moves, errors that heal.

use crate::common::*;
use corollary_engine::Committed;
use corollary_value::{ErrorValue, Value};

fn int(value: i64) -> Value {
    Value::Int(value)
}

/// The resources that a commit changed, by id.
fn changed(committed: &Committed) -> Vec<String> {
    let changes = committed.commit.iter().flat_map(|commit| &commit.changes);
    changes.map(|change| change.key.id.to_string()).collect()
}

#[test]
fn only_owners_whose_value_changes_have_a_new_revision() {
    let db = fresh(
        "type Division in divisions {
           employees: inverse Employee.division
           older := self.employees[age > 30]
           heads := count(self.employees)
         }
         type Employee in employees { age: int, name: str, division: link Division }",
    );
    commit(
        &db,
        vec![
            create(&db, "Division", "d1", &[]),
            create(&db, "Division", "d2", &[]),
            create(&db, "Employee", "e1", &[("age", int(31)), ("division", reference("d1"))]),
            create(&db, "Employee", "e2", &[("age", int(25)), ("division", reference("d1"))]),
        ],
    );
    assert_eq!(get(&db, "Division", "d1", "older"), references(&["e1"]));
    let committed = commit(&db, vec![update(&db, "Employee", "e1", &[("age", int(20))])]);
    assert_eq!(changed(&committed), ["d1", "e1"]);
    assert_eq!(get(&db, "Division", "d1", "older"), references(&[]));
    // On the same side of the filter nothing follows, nor from what no expression reads.
    let committed = commit(&db, vec![update(&db, "Employee", "e1", &[("age", int(29))])]);
    assert_eq!(changed(&committed), ["e1"]);
    let committed = commit(&db, vec![update(&db, "Employee", "e1", &[("name", text("ned"))])]);
    assert_eq!((changed(&committed), committed.work.evaluations), (vec!["e1".to_owned()], 0));
    agree(&db);
}

#[test]
fn totals_two_levels_up_move_in_the_same_revision() {
    let db = fresh(
        "type Order in orders {
           items: collection Item
           rate: link Rate
           net := sum(self.items.price)
           gross := self.net * (10000 + self.rate.vat)
         }
         type Item { price: int }
         type Rate in rates { vat: int, orders: inverse Order.rate, all := sum(self.orders.gross) }",
    );
    let parent = ("parent_order_items", reference("o1"));
    commit(
        &db,
        vec![
            create(&db, "Rate", "r1", &[("vat", int(8000))]),
            create(&db, "Order", "o1", &[("rate", reference("r1"))]),
            create(&db, "Item", "i1", &[("price", int(3)), parent.clone()]),
            create(&db, "Item", "i2", &[("price", int(4)), parent]),
        ],
    );
    assert_eq!(get(&db, "Rate", "r1", "all"), int(7 * 18_000));
    let committed = commit(&db, vec![update(&db, "Rate", "r1", &[("vat", int(9000))])]);
    assert_eq!(changed(&committed), ["o1", "r1"]);
    assert_eq!(get(&db, "Order", "o1", "gross"), int(7 * 19_000));
    assert_eq!(get(&db, "Rate", "r1", "all"), int(7 * 19_000));
    agree(&db);
}

#[test]
fn a_diamond_evaluates_each_field_once() {
    let mut fields = String::from("a0 := self.x + 1\n");
    for level in 0..4 {
        let (from, at) = (level * 3, level * 3);
        fields += &format!(
            "a{} := self.a{from} * 2\na{} := self.a{from} - 1\na{} := self.a{} + self.a{}\n",
            at + 1,
            at + 2,
            at + 3,
            at + 1,
            at + 2
        );
    }
    let db = fresh(&format!("type T in ts {{ x: int\n{fields} }}"));
    commit(&db, vec![create(&db, "T", "t", &[("x", int(1))])]);
    let committed = commit(&db, vec![update(&db, "T", "t", &[("x", int(2))])]);
    assert_eq!((committed.work.evaluations, committed.work.changed), (13, 13));
    let committed = commit(&db, vec![update(&db, "T", "t", &[("x", int(2))])]);
    assert_eq!((committed.commit.is_some(), committed.work.evaluations), (false, 0));
    agree(&db);
}

const FIRM: &str = "
    type Firm in firms {
      people: inverse Person.firm
      heads := count(self.people)
      paid := sum(self.people[grade.pay > 10].hours)
      best := first(self.people[order by hours desc]).name
    }
    type Grade in grades { pay: int }
    type Person in people { name: str, hours: int, firm: link Firm, grade: link Grade }";

#[test]
fn what_is_deleted_or_moves_is_taken_out_and_put_in() {
    let db = fresh(FIRM);
    let person = |name: &str, hours: i64, firm: &str, grade: &str| {
        let given = [
            ("name", text(name)),
            ("hours", int(hours)),
            ("firm", reference(firm)),
            ("grade", reference(grade)),
        ];
        create(&db, "Person", name, &given)
    };
    commit(
        &db,
        vec![
            create(&db, "Firm", "f1", &[]),
            create(&db, "Firm", "f2", &[]),
            create(&db, "Grade", "g1", &[("pay", int(20))]),
            create(&db, "Grade", "g2", &[("pay", int(5))]),
            person("ann", 8, "f1", "g1"),
            person("bob", 9, "f1", "g1"),
            person("cid", 7, "f1", "g2"),
        ],
    );
    let firm = |name: &str| ["heads", "paid", "best"].map(|field| get(&db, "Firm", name, field));
    assert_eq!(firm("f1"), [int(3), int(17), text("bob")]);
    // A counted resource, and the greatest, goes.
    commit(&db, vec![delete(&db, "Person", "bob")]);
    assert_eq!(firm("f1"), [int(2), int(8), text("ann")]);
    // What a filter reads goes.
    commit(&db, vec![delete(&db, "Grade", "g1")]);
    assert_eq!(firm("f1"), [int(2), int(0), text("ann")]);
    agree(&db);
    // Both sides of a move.
    commit(&db, vec![update(&db, "Person", "ann", &[("firm", reference("f2")), ("grade", reference("g2"))])]);
    commit(&db, vec![update(&db, "Grade", "g2", &[("pay", int(11))])]);
    assert_eq!(firm("f1"), [int(1), int(7), text("cid")]);
    assert_eq!(firm("f2"), [int(1), int(8), text("ann")]);
    // The target of all links goes.
    commit(&db, vec![delete(&db, "Firm", "f2")]);
    assert_eq!(get(&db, "Person", "ann", "firm"), Value::Absent);
    agree(&db);
}

#[test]
fn an_error_is_a_value_that_passes_on_and_heals() {
    let db = fresh(
        "type Line in lines { a: int, b: int, order: link Order
           rate := self.a / self.b
           shown := self.rate * 2 else 0 }
         type Order in orders { lines: inverse Line.order
           total := sum(self.lines.rate)
           wrong := count(self.lines[is_error(rate)]) }
         type Safe in safes { a: int, b: int, rate := self.a / self.b strict }",
    );
    let line = |name: &str, b: i64| {
        create(&db, "Line", name, &[("a", int(6)), ("b", int(b)), ("order", reference("o"))])
    };
    commit(&db, vec![create(&db, "Order", "o", &[]), line("l1", 3), line("l2", 0)]);
    let order = || ["total", "wrong"].map(|field| get(&db, "Order", "o", field));
    assert_eq!(order(), [Value::Error(ErrorValue::Div0), int(1)]);
    assert_eq!(get(&db, "Line", "l2", "shown"), int(0));
    agree(&db);
    commit(&db, vec![update(&db, "Line", "l2", &[("b", int(2))])]);
    assert_eq!(order(), [Value::Float(5.0), int(0)]);
    agree(&db);

    commit(&db, vec![create(&db, "Safe", "s", &[("a", int(1)), ("b", int(1))])]);
    let refusals = refused(&db, vec![update(&db, "Safe", "s", &[("b", int(0))])]);
    assert_eq!(codes(&refusals), ["strict rate"]);
    assert_eq!(get(&db, "Safe", "s", "b"), int(1));
}
