//! A schema of a shop in many versions, and steps over its data: what tests of schema changes draw from.

use std::collections::BTreeMap;

use corollary_engine::{EngineError, Write};
use corollary_value::Value;
use proptest::prelude::*;

use super::*;

pub const SHOP: &str = "
type Shop in shops { name: str, orders: collection Order, FIELDS }
type Order { amount: int, kind: 'a' | 'b', item: link Item, note: str, ORDER_FIELDS }
type Item in items { price: int, shop: link Shop, ITEM_FIELDS }
";

pub fn shop(fields: &str, order: &str, item: &str) -> String {
    SHOP.replace("ORDER_FIELDS", order).replace("ITEM_FIELDS", item).replace("FIELDS", fields)
}

pub fn fill(db: &Db) {
    let mut writes = vec![create(db, "Shop", "s0", &[("name", text("x"))]), create(db, "Shop", "s1", &[])];
    for n in 0..5i64 {
        let shop = reference(&format!("s{}", n % 2));
        let item = [("price", Value::Int(n)), ("shop", shop.clone())];
        writes.push(create(db, "Item", &format!("i{n}"), &item));
        let order = [
            ("parent_shop_orders", shop),
            ("amount", Value::Int(n * 10)),
            ("kind", text(if n == 1 { "a" } else { "b" })),
            ("item", reference(&format!("i{n}"))),
        ];
        writes.push(create(db, "Order", &format!("o{n}"), &order));
    }
    commit(db, writes);
    agree(db);
}

/// What a version adds to `name` of a shop; it cannot be taken away again.
pub const EXTRA: &str = "extra: str, name: str";

/// The versions that a history goes through: any subset of fields, some with several expressions.
pub const SHOP_FIELDS: [&[&str]; 8] = [
    &["total := sum(self.orders.amount)", "total := sum(self.orders[amount > 3].amount) index"],
    &["top := max(self.orders.amount)", "top := first(self.orders[order by amount desc]).amount"],
    &["best := first(self.orders[order by amount desc, note])", "best := last(self.orders[order by amount])"],
    &["items := self.orders.item", "items := self.orders[amount > 4].item", "items := self.link_item_shop"],
    &["mean := average(self.orders.amount) index", "mean := sum(self.orders.amount) / count(self.orders)"],
    &["n := count(self.orders.item)", "n := count(self.orders)"],
    &[
        "tasks := sum(self.orders.item.price)",
        "tasks := count(self.orders[amount > 2]) + count(self.orders[amount > 5])",
    ],
    &["of_name := self.name", "of_name := count(self.link_item_shop[price > 3])"],
];
pub const ORDER_FIELDS: [&[&str]; 3] = [
    &["worth := self.amount + self.item.price", "worth := self.amount * 2 index"],
    &["shop_name := self.parent_shop_orders.name index", "shop_name := self.item.shop.name"],
    &["others := count(self.parent_shop_orders.orders)", "others := self.parent_shop_orders.orders"],
];
pub const ITEM_FIELDS: [&[&str]; 3] = [
    &["sold := sum(self.link_order_item.amount)", "sold := max(self.link_order_item.amount)"],
    &["boss := self.shop", "boss := first(self.link_order_item).parent_shop_orders"],
    &["buyers := self.link_order_item.parent_shop_orders", "buyers := self.link_order_item[amount > 4]"],
];

/// Fields that read others, with what they need.
pub const CHAINED: [(&str, &str, &str); 7] = [
    ("shop", "twice := self.total * 2 index", "total"),
    ("shop", "best_price := self.best.item.price", "best"),
    ("shop", "best_twice := self.best.amount", "best"),
    ("shop", "item_prices := sum(self.items.price)", "items"),
    ("order", "shop_total := self.parent_shop_orders.total", "total"),
    ("item", "boss_name := self.boss.name", "boss"),
    ("shop", "worths := sum(self.orders.worth)", "worth"),
];

pub fn version() -> impl Strategy<Value = String> {
    let some = |all: &'static [&'static [&'static str]]| {
        let choices: Vec<_> = all
            .iter()
            .map(|ways| prop_oneof![1 => Just(""), 2 => prop::sample::select(ways.to_vec())])
            .collect();
        choices
    };
    let chained = prop::collection::vec(any::<bool>(), CHAINED.len());
    let stored = (any::<bool>(), any::<bool>());
    (some(&SHOP_FIELDS), some(&ORDER_FIELDS), some(&ITEM_FIELDS), chained, stored).prop_map(
        |(shop_fields, order, item, chained, (index, links))| {
            let mut parts = BTreeMap::from([("shop", shop_fields), ("order", order), ("item", item)]);
            for ((ty, field, needs), wanted) in CHAINED.iter().zip(chained) {
                let there = parts.values().flatten().any(|it| it.starts_with(&format!("{needs} :=")));
                if wanted && there {
                    parts.get_mut(ty).unwrap().push(field);
                }
            }
            let text = |ty: &str| {
                parts[ty].iter().filter(|field| !field.is_empty()).copied().collect::<Vec<_>>().join(", ")
            };
            let schema = shop(&text("shop"), &text("order"), &text("item"));
            let schema = if links { schema.replace("name: str", EXTRA) } else { schema };
            if index { schema.replace("amount: int", "amount: int index") } else { schema }
        },
    )
}

#[derive(Clone, Debug)]
pub enum Step {
    Shop(u8, Value),
    Item(u8, Value, Value),
    Order(u8, u8, Value, Value),
    Delete(&'static str, u8),
    /// Deleted and created anew in one transaction.
    Anew(u8),
}

pub fn step() -> impl Strategy<Value = Step> {
    let number = || prop_oneof![1 => Just(Value::Absent), 5 => (0i64..9).prop_map(Value::Int)];
    let to = |prefix: &'static str| prop_oneof![1 => Just(Value::Absent), 4 => (0u8..3).prop_map(move |n| reference(&format!("{prefix}{n}")))];
    prop_oneof![
        1 => (0u8..3, prop::sample::select(vec!["a", "b"])).prop_map(|(n, name)| Step::Shop(n, text(name))),
        2 => (0u8..3, number(), to("s")).prop_map(|(n, price, shop)| Step::Item(n, price, shop)),
        4 => (0u8..5, 0u8..3, number(), to("i")).prop_map(|(n, shop, amount, item)| Step::Order(n, shop, amount, item)),
        1 => (prop::sample::select(vec!["Shop", "Item", "Order"]), 0u8..5).prop_map(|(ty, n)| Step::Delete(ty, n)),
        1 => (0u8..3).prop_map(Step::Anew),
    ]
}

/// The writes of a step; those that cannot be are refused, which is no matter here.
pub fn writes(db: &Db, step: &Step) -> Vec<Write> {
    let put = |ty: &str, name: String, parent: Vec<(&str, Value)>, values: &[(&str, Value)]| {
        if doc(db, ty, &name).is_some() {
            return vec![update(db, ty, &name, values)];
        }
        let all: Vec<(&str, Value)> = parent.into_iter().chain(values.iter().cloned()).collect();
        vec![create(db, ty, &name, &all)]
    };
    match step {
        Step::Shop(n, name) => put("Shop", format!("s{n}"), Vec::new(), &[("name", name.clone())]),
        Step::Item(n, price, shop) => {
            put("Item", format!("i{n}"), Vec::new(), &[("price", price.clone()), ("shop", shop.clone())])
        }
        Step::Order(n, shop, amount, item) => {
            let parent = vec![("parent_shop_orders", reference(&format!("s{shop}")))];
            put("Order", format!("o{n}"), parent, &[("amount", amount.clone()), ("item", item.clone())])
        }
        Step::Delete(ty, n) => {
            let prefix = ty.to_lowercase().remove(0);
            vec![delete(db, ty, &format!("{prefix}{n}"))]
        }
        Step::Anew(n) => {
            let name = format!("s{n}");
            let order = [("parent_shop_orders", reference(&name)), ("amount", Value::Int(5))];
            vec![
                delete(db, "Shop", &name),
                create(db, "Shop", &name, &[]),
                create(db, "Order", &format!("o9{n}"), &order),
            ]
        }
    }
}

pub fn take_steps(db: &Db, steps: &[Step]) {
    for step in steps {
        match try_commit(db, writes(db, step)) {
            Ok(_) | Err(EngineError::Refused(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

pub type History = Vec<(String, Vec<Step>)>;

pub fn history(versions: usize) -> impl Strategy<Value = History> {
    let steps = prop::collection::vec((version(), prop::collection::vec(step(), 0..10)), 2..versions);
    steps.prop_map(|mut history| {
        let first = history.iter().position(|(schema, _)| schema.contains(EXTRA)).unwrap_or(history.len());
        for (schema, _) in history.iter_mut().skip(first).filter(|(schema, _)| !schema.contains(EXTRA)) {
            *schema = schema.replace("name: str", EXTRA);
        }
        history
    })
}
