//! Aggregates over several values of each member: of its lists, and of the objects in them.

use crate::common::*;
use corollary_engine::Write;
use corollary_value::Value;

const SCHEMA: &str = "
    type Customer in customers {
      orders: inverse Order.customer
      least: decimal
      total    := sum(self.orders.lines.price)
      open     := sum(self.orders[paid].lines[ok].price)
      mean     := average(self.orders.lines.price)
      many     := count(self.orders.lines)
      oks      := count(self.orders.lines[ok])
      dear     := count(self.orders.lines[price > self.least])
      low      := min(self.orders.lines.price)
      high     := max(self.orders[paid].lines.price)
      middle   := median(self.orders.lines.price)
      tenth    := percentile(self.orders.lines.price, 10)
      three    := top(3, self.orders.lines.price)
      prices   := distinct(self.orders.lines.price)
      first_id := first(self.orders[order by at desc].lines.id)
      last_id  := last(self.orders[order by at].lines.id)
      ids      := join(self.orders[order by at].lines[ok].id, '-')
      any_ok   := any(self.orders.lines.ok)
      all_ok   := all(self.orders.lines.ok)
      tags     := distinct(self.orders.tags)
      tagged   := count(self.orders.tags)
      tag      := first(self.orders.tags)
      sums     := sum(self.orders.numbers.a)
      shares   := sum(self.orders.lines.share)
      named    := count(self.orders.lines[product.price > 2])
      overall  := sum(orders.lines.price)
    }
    type Product in products { price: decimal }
    type Order in orders {
      customer: link Customer
      paid: bool
      at: int
      tags: [str]
      numbers: map<[int]>
      lines: [{ id: str, price: decimal, ok: bool, product: link Product, share := self.price / self.product.price }]
    }";

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn decimal(&mut self) -> Value {
        let text = ["0", "1.5", "1.50", "-3", "2.25", "100"][self.below(6) as usize];
        corollary_value::parse_as(corollary_value::BasicKind::Decimal, text).unwrap()
    }

    fn line(&mut self) -> Value {
        let mut members = vec![("id", text(["a", "b", "c"][self.below(3) as usize]))];
        if self.below(5) > 0 {
            members.push(("price", self.decimal()));
        }
        if self.below(4) > 0 {
            members.push(("ok", Value::Bool(self.below(2) == 0)));
        }
        if self.below(3) > 0 {
            members.push(("product", reference(&format!("p{}", self.below(2)))));
        }
        object(&members)
    }

    fn order(&mut self) -> Vec<(&'static str, Value)> {
        let mut given = Vec::new();
        if self.below(6) > 0 {
            given.push(("customer", reference(&format!("c{}", self.below(2)))));
        }
        given.push(("paid", Value::Bool(self.below(2) == 0)));
        given.push(("at", Value::Int(self.below(3) as i64)));
        if self.below(4) > 0 {
            let tags = (0..self.below(4)).map(|_| text(["x", "y", "z"][self.below(3) as usize]));
            given.push(("tags", list(tags.collect::<Vec<_>>())));
        }
        if self.below(3) > 0 {
            let numbers = (0..self.below(3)).map(|_| Value::Int(self.below(9) as i64));
            given.push(("numbers", object(&[("a", list(numbers.collect::<Vec<_>>()))])));
        }
        if self.below(5) > 0 {
            let lines = (0..self.below(5)).map(|_| self.line());
            given.push(("lines", list(lines.collect::<Vec<_>>())));
        }
        given
    }
}

fn history(seed: u64) {
    let mut chance = Chance(seed);
    let db = fresh(SCHEMA);
    commit(&db, ["c0", "c1"].map(|id| create(&db, "Customer", id, &[])).to_vec());
    commit(&db, ["p0", "p1"].map(|id| create(&db, "Product", id, &[])).to_vec());
    let mut there = [false; 6];
    for _ in 0..60 {
        let mut writes: Vec<Write> = Vec::new();
        for _ in 0..1 + chance.below(3) {
            match chance.below(12) {
                0 => {
                    let product = format!("p{}", chance.below(2));
                    writes.push(update(&db, "Product", &product, &[("price", chance.decimal())]));
                }
                1 => {
                    let customer = format!("c{}", chance.below(2));
                    writes.push(update(&db, "Customer", &customer, &[("least", chance.decimal())]));
                }
                _ => {
                    let at = chance.below(there.len() as u64) as usize;
                    let id = format!("o{at}");
                    let given = chance.order();
                    match there[at] {
                        true if chance.below(4) == 0 => {
                            there[at] = false;
                            writes.push(delete(&db, "Order", &id));
                        }
                        true if chance.below(2) == 0 => writes.push(update(&db, "Order", &id, &given)),
                        true => writes.push(replace(&db, "Order", &id, &given)),
                        false => {
                            there[at] = true;
                            writes.push(create(&db, "Order", &id, &given));
                        }
                    }
                }
            }
        }
        commit(&db, writes);
        agree(&db);
    }
}

#[test]
fn whatever_comes_and_goes_the_values_are_those_of_the_facts() {
    (0..8).for_each(history);
}

#[test]
fn none_of_them_reads_the_other_members() {
    let evaluated = SCHEMA.matches(":=").count() as u64 - 1;
    let mut rows = Vec::new();
    for orders in [100u64, 1_000] {
        // All texts are read where they are joined.
        let schema: Vec<&str> = SCHEMA.lines().filter(|line| !line.contains("join(")).collect();
        let db = fresh(&schema.join("\n"));
        commit(&db, vec![create(&db, "Customer", "c0", &[])]);
        let mut chance = Chance(3);
        let made = (0..orders).map(|at| {
            let lines =
                list((0..3).map(|_| chance.line()).collect::<Vec<_>>().into_iter().map(without_product));
            create(&db, "Order", &format!("o{at}"), &[("customer", reference("c0")), ("lines", lines)])
        });
        commit(&db, made.collect());
        let lines =
            list([object(&[("id", text("b")), ("price", chance.decimal()), ("ok", Value::Bool(true))])]);
        let work = commit(&db, vec![update(&db, "Order", "o3", &[("lines", lines)])]).work;
        assert!(work.evaluations <= 2 * evaluated, "{work:?}");
        rows.push(work.rows_read);
        agree(&db);
    }
    // A level more, for each of the two that look at ranks and each of the four values that come or go.
    assert!(rows[1] <= rows[0] + 2 * 4 * 32, "{rows:?}");
}

fn without_product(line: Value) -> Value {
    let Value::Object(members) = line else { return line };
    Value::Object(members.iter().filter(|(name, _)| name != "product").cloned().collect())
}

/// A group took a list in a map for one value, and its sum was not that of the elements.
#[test]
fn lists_in_maps_give_their_elements() {
    let db = fresh(SCHEMA);
    commit(&db, vec![create(&db, "Customer", "c0", &[])]);
    let numbers = object(&[("a", list([1, 2, 4].map(Value::Int)))]);
    commit(&db, vec![create(&db, "Order", "o", &[("customer", reference("c0")), ("numbers", numbers)])]);
    assert_eq!(get(&db, "Customer", "c0", "sums"), Value::Int(7));
    agree(&db);
}
