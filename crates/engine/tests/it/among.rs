//! Links to one of several types: what is written, what follows from it, and what a deletion does.

use crate::common::*;
use corollary_engine::{Edit, Write, among};
use corollary_value::Value;
use proptest::prelude::*;

const SHOP: &str = "
abstract type Party in parties {
  name:   str
  rating: int
  weight: float
  orders: inverse Order.customer
  heard:  inverse Order.watchers
  total  := sum(self.orders.amount)
  large  := count(self.orders[amount > 3])
  noise  := sum(self.heard.amount)
  back   := self.link_order_guard
  hot    := self.rating = 3
}
type Person is Party in persons {
  boss:  link Person | Firm
  level := 1 + self.boss.level else 1
}
type Firm is Party in firms {
  boss:  link Person | Firm
  level := 1 + self.boss.level else 1
  staff := count(self.link_person_boss) + count(self.link_firm_boss)
}
type Order in orders {
  customer: link Party
  payer:    link Firm | Person on delete cascade
  guard:    link Party on delete restrict
  watchers: links Party
  amount:   int
  who      := self.customer.name
  kind     := type(self.customer)
  place    := path(self.customer)
  short    := id(self.customer)
  share    := self.amount / self.customer.total
  others   := count(self.customer.orders)
  big      := self.customer.orders[amount > 3]
  bosses   := self.watchers.boss.name
  same     := self.customer = self.payer
  unlike   := self.customer != self.guard
  empty    := self.customer = null
  is_p1    := self.customer = 'p1'
  weights  := sum(self.watchers[rating > 2].weight)
  ratings  := top(2, self.watchers.rating)
  distinct_ratings := distinct(self.watchers.rating)
  mean     := average(self.watchers.rating)
  names    := join(self.watchers.name, ', ')
  middle   := median(self.watchers.rating)
  watched  := count(self.watchers)
  friends  := count(self.watchers[exists(orders)])
  heavy    := any(self.watchers[weight > 1.0].hot)
  light    := all(self.watchers.hot)
}
type Sum in sums {
  all      := sum(parties.total)
  n        := count(parties)
  rated    := count(parties[rating > 3])
  best     := max(parties.rating)
  least    := min(parties[total > 2].rating)
  mean     := average(parties.weight)
  top      := top(3, parties.total)
  kinds    := distinct(parties.rating)
  parts    := count(parties.orders)
  by_level := sum(parties[level > 1].level)
}
";

fn to(db: &Db, ty: &str, name: &str) -> Value {
    let engine = db.engine();
    among::reference(engine.schema(), engine.schema().type_named(ty).unwrap(), id(name))
}

fn shop() -> Db {
    let db = fresh(SHOP);
    commit(
        &db,
        vec![
            create(&db, "Person", "p1", &[("name", text("ann")), ("rating", Value::Int(3))]),
            create(&db, "Firm", "f1", &[("name", text("acme")), ("rating", Value::Int(5))]),
            create(&db, "Sum", "s", &[]),
        ],
    );
    db
}

#[test]
fn a_link_leads_to_one_of_several_types() {
    let db = shop();
    let order = |amount: i64, customer: Value| vec![("amount", Value::Int(amount)), ("customer", customer)];
    commit(
        &db,
        vec![
            create(&db, "Order", "a", &order(4, to(&db, "Person", "p1"))),
            create(&db, "Order", "b", &order(6, to(&db, "Firm", "f1"))),
        ],
    );
    assert_eq!(get(&db, "Order", "a", "who"), text("ann"));
    assert_eq!(get(&db, "Order", "a", "kind"), text("Person"));
    assert_eq!(get(&db, "Order", "b", "place"), text("/api/firms/f1"));
    assert_eq!(get(&db, "Order", "a", "is_p1"), Value::Bool(true));
    assert_eq!(get(&db, "Firm", "f1", "total"), Value::Int(6));
    assert_eq!(get(&db, "Sum", "s", "all"), Value::Int(10));
    // It goes over to the other type: the first has it no longer.
    commit(&db, vec![update(&db, "Order", "b", &[("customer", to(&db, "Person", "p1"))])]);
    assert_eq!(get(&db, "Firm", "f1", "total"), Value::Int(0));
    assert_eq!(get(&db, "Person", "p1", "total"), Value::Int(10));
    assert_eq!(get(&db, "Order", "a", "big"), references(&["a", "b"]));
    commit(&db, vec![update(&db, "Person", "p1", &[("name", text("eve"))])]);
    assert_eq!(get(&db, "Order", "b", "who"), text("eve"));
    agree(&db);
    commit(&db, vec![update(&db, "Order", "b", &[("customer", Value::Absent)])]);
    assert_eq!(get(&db, "Order", "b", "empty"), Value::Bool(true));
    assert_eq!(get(&db, "Order", "b", "who"), Value::Absent);
    agree(&db);
}

#[test]
fn an_id_alone_names_what_is_there_once() {
    let db = shop();
    commit(&db, vec![create(&db, "Order", "a", &[("customer", reference("f1"))])]);
    assert_eq!(get(&db, "Order", "a", "kind"), text("Firm"));
    let missing = refused(&db, vec![create(&db, "Order", "b", &[("customer", reference("x"))])]);
    assert_eq!(codes(&missing), ["link customer"]);
    assert_eq!(missing[0].message, "`customer` links to Person or Firm x, which is not there");
    commit(&db, vec![create(&db, "Firm", "p1", &[])]);
    let twice = refused(&db, vec![create(&db, "Order", "b", &[("customer", reference("p1"))])]);
    assert_eq!(codes(&twice), ["ambiguous-link customer"]);
    // A type that it does not lead to; a resource that is not there; no reference at all.
    let other =
        among::reference(db.engine().schema(), db.engine().schema().type_named("Sum").unwrap(), id("s"));
    for (value, code) in [
        (other, "link customer"),
        (to(&db, "Firm", "x"), "link customer"),
        (Value::Int(1), "type customer"),
        (list([to(&db, "Firm", "f1")]), "type customer"),
    ] {
        assert_eq!(codes(&refused(&db, vec![create(&db, "Order", "b", &[("customer", value)])])), [code]);
    }
    let links = refused(&db, vec![create(&db, "Order", "b", &[("watchers", to(&db, "Firm", "f1"))])]);
    assert_eq!(codes(&links), ["type watchers"]);
}

#[test]
fn links_to_several_types_take_additions_and_give_them_back() {
    let db = shop();
    let watchers = list([to(&db, "Firm", "f1"), to(&db, "Person", "p1"), to(&db, "Firm", "f1")]);
    commit(&db, vec![create(&db, "Order", "a", &[("watchers", watchers)])]);
    assert_eq!(get(&db, "Order", "a", "watched"), Value::Int(2));
    assert_eq!(get(&db, "Order", "a", "mean"), Value::Float(4.0));
    assert_eq!(get(&db, "Order", "a", "names"), text("ann, acme"));
    let remove = [("watchers", Edit::Remove(vec![reference("p1")]))];
    commit(&db, vec![edit(&db, "Order", "a", &remove)]);
    assert_eq!(get(&db, "Order", "a", "names"), text("acme"));
    let add = [("watchers", Edit::Add(vec![to(&db, "Person", "p1")]))];
    commit(&db, vec![edit(&db, "Order", "a", &add), delete(&db, "Firm", "f1")]);
    assert_eq!(get(&db, "Order", "a", "names"), text("ann"));
    agree(&db);
    let pop = [("watchers", Edit::Pop { first: true })];
    assert_eq!(codes(&refused(&db, vec![edit(&db, "Order", "a", &pop)])), ["type watchers"]);
}

#[test]
fn a_deletion_does_what_the_link_declares() {
    let db = shop();
    commit(
        &db,
        vec![
            create(&db, "Firm", "f2", &[]),
            create(&db, "Order", "a", &[("customer", to(&db, "Firm", "f1")), ("amount", Value::Int(1))]),
            create(&db, "Order", "b", &[("payer", to(&db, "Firm", "f2")), ("amount", Value::Int(1))]),
            create(&db, "Order", "c", &[("guard", to(&db, "Person", "p1"))]),
        ],
    );
    let refusals = refused(&db, vec![delete(&db, "Person", "p1")]);
    assert_eq!(codes(&refusals), ["restrict guard"]);
    assert_eq!(refusals[0].message, "Person p1 is linked by `guard` of Order c");
    commit(&db, vec![delete(&db, "Firm", "f1"), delete(&db, "Firm", "f2")]);
    assert_eq!(get(&db, "Order", "a", "empty"), Value::Bool(true));
    assert!(doc(&db, "Order", "b").is_none());
    agree(&db);
}

#[test]
fn the_rules_of_a_link_hold_over_all_types() {
    let db = fresh(
        "type A in as {} type B in bs {}
         type R in rs {
           one: link A | B required unique
           fixed: link A | B immutable
           once: link A | B write once
           few: links A | B max_length 2
         }",
    );
    let one = |name: &str| [("one", reference(name))];
    commit(&db, vec![create(&db, "A", "a", &[]), create(&db, "B", "b", &[]), create(&db, "B", "c", &[])]);
    assert_eq!(codes(&refused(&db, vec![create(&db, "R", "r", &[])])), ["required one"]);
    assert_eq!(
        codes(&refused(&db, vec![create(&db, "R", "r", &[("one", Value::Absent)])])),
        ["required one"]
    );
    let fixed = [("one", reference("a")), ("fixed", reference("a")), ("once", reference("a"))];
    commit(&db, vec![create(&db, "R", "r", &fixed)]);
    assert_eq!(codes(&refused(&db, vec![create(&db, "R", "q", &one("a"))])), ["unique one"]);
    // Another type: another resource, whatever its id.
    commit(&db, vec![create(&db, "R", "q", &one("b"))]);
    for (field, code) in [("fixed", "immutable fixed"), ("once", "write-once once")] {
        for value in [Value::Absent, reference("b")] {
            let found = codes(&refused(&db, vec![update(&db, "R", "r", &[(field, value)])]));
            assert!(found.iter().all(|found| found == code), "{found:?}");
        }
    }
    commit(&db, vec![update(&db, "R", "q", &[("once", reference("c"))])]);
    assert_eq!(codes(&refused(&db, vec![update(&db, "R", "r", &[("one", Value::Null)])])), ["required one"]);
    // What must be there cannot be taken away.
    assert_eq!(codes(&refused(&db, vec![delete(&db, "A", "a")])), ["restrict one"]);
    let few = |names: &[&str]| [("few", references(names))];
    commit(&db, vec![update(&db, "R", "r", &few(&["a", "b"]))]);
    assert_eq!(codes(&refused(&db, vec![update(&db, "R", "r", &few(&["a", "b", "c"]))])), ["max_length few"]);
    let more = [("few", Edit::Link(id("c")))];
    assert_eq!(codes(&refused(&db, vec![edit(&db, "R", "r", &more)])), ["max_length few"]);
    agree(&db);
}

/// A part may be written by itself; two of them never stand beside each other.
#[test]
fn a_link_never_leads_to_two() {
    let db = shop();
    commit(&db, vec![create(&db, "Order", "a", &[("customer", to(&db, "Firm", "f1"))])]);
    let engine = db.engine();
    let schema = engine.schema();
    let order = schema.type_named("Order").unwrap();
    let (customer, _) = schema.ty(order).named("customer").unwrap();
    let person = schema.ty(order).parts(customer)[0];
    let both = Write::Update(key(&db, "Order", "a"), vec![(person, Edit::Set(reference("p1")))]);
    assert_eq!(codes(&refused(&db, vec![both])), ["type customer"]);
}

/// One step: what, which of its kind, and numbers to choose values by.
type Step = (u8, u8, Vec<(u8, u8)>);

fn write(db: &Db, step: &Step) -> Write {
    let (what, which, chosen) = step;
    let ty = ["Person", "Firm", "Order", "Sum"][*what as usize % 4];
    // Resources of different types have the same ids.
    let name = format!("x{}", which % 3);
    if *what > 7 {
        return delete(db, ty, &name);
    }
    let party = |n: u8| match n % 8 {
        0 => Value::Absent,
        n => to(db, if n % 2 == 0 { "Person" } else { "Firm" }, &format!("x{}", n % 3)),
    };
    let mut given: Vec<(&str, Value)> = Vec::new();
    for (field, n) in chosen {
        let names: &[&str] = match ty {
            "Person" | "Firm" => &["name", "rating", "weight", "boss"],
            "Order" => &["customer", "payer", "guard", "watchers", "amount"],
            _ => continue,
        };
        let field = names[*field as usize % names.len()];
        let value = match field {
            "name" => text(["ann", "bob", "acme"][*n as usize % 3]),
            "rating" | "amount" => Value::Int((n % 6).into()),
            "weight" => Value::Float([0.1, 0.2, 1.5, 1e300, -1e300][*n as usize % 5]),
            "watchers" => list((0..n % 4).map(|at| party(n / 4 + at + 1)).filter(|it| !it.is_null())),
            _ => party(*n),
        };
        given.retain(|(name, _)| *name != field);
        given.push((field, value));
    }
    if doc(db, ty, &name).is_some() { update(db, ty, &name, &given) } else { create(db, ty, &name, &given) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_follows_agrees_after_every_history(
        steps in prop::collection::vec((0u8..10, any::<u8>(), prop::collection::vec(any::<(u8, u8)>(), 0..5)), 1..25),
        budget in prop::sample::select(vec![0, 1, 2, 1_000]),
    ) {
        let db = opened_within(&memory(), SHOP, budget);
        agrees_throughout(&db, &steps, write);
    }
}
