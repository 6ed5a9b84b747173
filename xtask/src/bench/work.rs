//! The kinds of work that both sides of the shop are given: for each, the request to Corollary and the script of pgbench.

use std::fmt::Write as _;

pub use super::random::Random;
use super::{Result, http, postgraphile, sql};

/// How many writes a batch holds.
pub const BATCH: u32 = 100;

/// Where Corollary has the orders.
const ORDERS: &str = "/api/orders";

/// How many orders and customers there are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Orders 1 to n; order i belongs to customer 1 + (i - 1) mod customers.
    pub orders: u64,
    /// Customers 1 to n.
    pub customers: u64,
}

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Set the amount of one random order.
    Point,
    /// Set the amount of one random order of the first customer.
    Hot,
    /// Set the amounts of [`BATCH`] random orders in one transaction, each statement a message of its own.
    Batch,
    /// The same, with the statements sent together.
    PipelinedBatch,
    /// Read one random order with its customer.
    Read,
    /// Read the first 100 orders of one random customer, the dearest first.
    Page,
    /// Read the first 100 orders of a hundredth of the amounts, the cheapest first.
    Range,
    /// Ask whether the server is alive: what its HTTP costs alone.
    Healthz,
}

impl Work {
    /// What it is called in a table.
    pub fn name(self) -> &'static str {
        match self {
            Work::Point => "one update",
            Work::Hot => "one update, one customer's orders",
            Work::Batch => "100 updates at a time",
            Work::PipelinedBatch => "100 updates at a time, pipelined",
            Work::Read => "order with its customer",
            Work::Page => "100 orders of a customer, dearest first",
            Work::Range => "100 orders of a range of amounts",
            Work::Healthz => "GET /healthz",
        }
    }

    /// How many operations one request stands for.
    pub fn operations(self) -> u32 {
        match self {
            Work::Batch | Work::PipelinedBatch => BATCH,
            Work::Point | Work::Hot | Work::Read | Work::Page | Work::Range | Work::Healthz => 1,
        }
    }

    /// The script for pgbench; none where PostgreSQL has no such work.
    pub fn script(self) -> Result<Option<String>> {
        let read = |name: &str| {
            std::fs::read_to_string(sql(name)).map_err(|error| format!("bench/postgres/{name}: {error}"))
        };
        Ok(match self {
            Work::Point => Some(read("point.sql")?),
            Work::Hot => Some(read("hot.sql")?),
            Work::Read => Some(read("read.sql")?),
            Work::Page => Some(read("page.sql")?),
            Work::Range => Some(read("range.sql")?),
            Work::Batch => Some(batch_script(&read("batch.sql")?, ["BEGIN;", "COMMIT;"])),
            Work::PipelinedBatch => {
                let around = ["\\startpipeline\nBEGIN;", "COMMIT;\n\\endpipeline"];
                Some(batch_script(&read("batch.sql")?, around))
            }
            Work::Healthz => None,
        })
    }

    /// Appends a request to Corollary.
    pub fn request(self, sizes: Sizes, random: &mut Random, out: &mut Vec<u8>) {
        match self {
            Work::Point => update(ORDERS, 1 + random.below(sizes.orders), random, out),
            Work::Hot => {
                let order = 1 + sizes.customers * random.below(sizes.orders / sizes.customers);
                update(ORDERS, order, random, out);
            }
            Work::Batch | Work::PipelinedBatch => batch(sizes, random, out),
            Work::Read => {
                let path = format!("/api/orders/o{}?expand=customer", 1 + random.below(sizes.orders));
                http::request(out, "GET", &path, "");
            }
            Work::Page => {
                let customer = 1 + random.below(sizes.customers);
                let path = format!("/api/orders?filter=customer='c{customer}'&order=-amount&limit=100");
                http::request(out, "GET", &path, "");
            }
            Work::Range => {
                let least = random.below(990);
                let most = least + 10;
                let path = format!(
                    "/api/orders?filter=amount%3E%3D{least}%20and%20amount%3C{most}&order=amount&limit=100"
                );
                http::request(out, "GET", &path, "");
            }
            Work::Healthz => http::request(out, "GET", "/healthz", ""),
        }
    }

    /// Appends a request to PostGraphile; there are such for [`Work::Read`] and [`Work::Page`].
    pub fn graphql(self, sizes: Sizes, random: &mut Random, out: &mut Vec<u8>) {
        let query = match self {
            Work::Read => {
                let id = 1 + random.below(sizes.orders);
                format!(
                    "{{orderById(id:\"{id}\"){{id amount customerName customerByCustomer{{id name total n}}}}}}"
                )
            }
            _ => {
                let customer = 1 + random.below(sizes.customers);
                format!(
                    "{{allOrders(condition:{{customer:\"{customer}\"}},orderBy:[AMOUNT_DESC,ID_DESC],first:100)\
                     {{nodes{{id amount customer customerName}}}}}}"
                )
            }
        };
        http::request(out, "POST", "/graphql", &postgraphile::body(&query));
    }
}

/// Appends a request that sets the amount of one order of a collection.
pub fn update(collection: &str, order: u64, random: &mut Random, out: &mut Vec<u8>) {
    let (path, body) = (format!("{collection}/o{order}"), format!("{{\"amount\":{}}}", amount(random)));
    http::request(out, "PATCH", &path, &body);
}

/// The choice of `bench/postgres/batch.sql`, step by step.
fn batch(sizes: Sizes, random: &mut Random, out: &mut Vec<u8>) {
    let Sizes { orders, customers } = sizes;
    let part = customers / u64::from(BATCH);
    let mut body = String::with_capacity(80 * BATCH as usize);
    for step in 0..u64::from(BATCH) {
        let customer = 1 + step * part + random.below(part);
        let order = customer + customers * random.below(orders / customers);
        let (separator, amount) = (if step == 0 { '[' } else { ',' }, amount(random));
        write!(
            body,
            "{separator}{{\"method\":\"PATCH\",\"path\":\"/orders/o{order}\",\"body\":{{\"amount\":{amount}}}}}"
        )
        .expect("a string takes any text");
    }
    body.push(']');
    http::request(out, "POST", "/api/_batch", &body);
}

/// [`BATCH`] times the same step, between a beginning and an end.
fn batch_script(step: &str, [begin, end]: [&str; 2]) -> String {
    let mut script = format!("{begin}\n");
    for index in 0..BATCH {
        writeln!(script, "\\set step {index}\n{step}").expect("a string takes any text");
    }
    script + end + "\n"
}

fn amount(random: &mut Random) -> u64 {
    1 + random.below(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes { orders: 5_050, customers: 500 };

    fn request(work: Work, random: &mut Random) -> String {
        let mut out = Vec::new();
        work.request(SIZES, random, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_batch_takes_each_customer_from_its_own_part() {
        let mut random = Random::new(1);
        for _ in 0..50 {
            let text = request(Work::Batch, &mut random);
            let body: serde_json::Value =
                serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
            let customers: Vec<u64> = body
                .as_array()
                .unwrap()
                .iter()
                .map(|write| {
                    let order: u64 =
                        write["path"].as_str().unwrap().strip_prefix("/orders/o").unwrap().parse().unwrap();
                    assert!((1..=SIZES.orders).contains(&order));
                    assert!(write["body"]["amount"].as_u64().unwrap() >= 1);
                    (order - 1) % SIZES.customers
                })
                .collect();
            assert_eq!(customers.len(), 100);
            assert!(customers.iter().zip(0..).all(|(customer, step)| customer / 5 == step));
        }
    }

    #[test]
    fn hot_orders_are_those_of_the_first_customer() {
        let mut random = Random::new(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let text = request(Work::Hot, &mut random);
            let order: u64 =
                text.strip_prefix("PATCH /api/orders/o").unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!((order - 1) % SIZES.customers, 0);
            seen.insert(order);
        }
        assert_eq!(seen.len(), 10, "every one of them is written");
    }

    #[test]
    fn every_order_is_read_and_the_scripts_are_there() {
        let mut random = Random::new(3);
        let drawn: std::collections::BTreeSet<String> =
            (0..100_000).map(|_| request(Work::Read, &mut random)).collect();
        assert_eq!(drawn.len() as u64, SIZES.orders);
        for work in [Work::Point, Work::Hot, Work::Read] {
            assert!(work.script().unwrap().unwrap().contains(":id"));
        }
        assert!(Work::Page.script().unwrap().unwrap().contains(":customer "));
        assert!(Work::Range.script().unwrap().unwrap().contains(":least"));
        let script = Work::PipelinedBatch.script().unwrap().unwrap();
        assert_eq!(script.matches("UPDATE orders").count(), 100);
        assert!(script.contains("\\set step 99\n") && script.ends_with("\\endpipeline\n"));
    }
}
