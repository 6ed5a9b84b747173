//! The work of `cargo xtask bench point` in process: the engine over its embedded store, without HTTP, in groups of 256
//! transactions that share one durable batch.
//!
//! An example and not a part of `xtask`, so that `cargo xtask ci` needs no engine to start. `cargo xtask bench engine`
//! builds and runs it: `engine_point DIR ORDERS CUSTOMERS SECONDS ROUNDS`, where DIR is an empty folder. It prints a line
//! for each round, `WRITES_PER_SECOND GROUP_P50_US GROUP_P99_US CORES`, and fails if a derived value is wrong at the end.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corollary_engine::{Edit, EngineOptions, Executor, Key, Transaction, Write, keys, open, oracle};
use corollary_schema::{Slot, TypeIx};
use corollary_store::{EmbeddedOptions, EmbeddedStore};
use corollary_value::{Id, Value};
use hdrhistogram::Histogram;
use jiff::Timestamp;

/// Transactions that share a batch.
const GROUP: usize = 256;

/// The longest time of a group that is told apart, in microseconds.
const MAX_LATENCY: u64 = 60_000_000;

/// Resources that a batch of the filling creates.
const FILL: usize = 2_000;

/// Resources of each type that are compared with the oracle at the end.
const CHECKED: usize = 1_000;

/// The orders and where they are in the schema.
struct Shop {
    executor: Executor,
    customer: TypeIx,
    name: Slot,
    order: TypeIx,
    amount: Slot,
    owner: Slot,
    orders: u64,
    customers: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, numbers @ ..] = arguments.as_slice() else { return Err("no folder was given".into()) };
    let numbers: Vec<u64> = numbers.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let &[orders, customers, seconds, rounds] = numbers.as_slice() else {
        return Err("four numbers are needed: orders, customers, seconds, rounds".into());
    };
    let mut shop = Shop::open(Path::new(dir), orders, customers)?;
    shop.fill()?;
    let mut random = Random(1);
    // The first round fills the caches and is not told.
    for round in 0..=rounds {
        let line = shop.round(Duration::from_secs(seconds), &mut random)?;
        if round > 0 {
            println!("{line}");
        }
    }
    shop.check()
}

impl Shop {
    fn open(dir: &Path, orders: u64, customers: u64) -> Result<Shop, Box<dyn Error>> {
        let store = EmbeddedStore::open(dir, &keys::KEYSPACES, EmbeddedOptions::default())?;
        let schema = include_str!("../../bench/point.cor");
        let executor =
            open(Arc::new(store), schema, &EngineOptions::default(), Timestamp::now(), &mut |_| {})
                .map_err(|error| format!("{error:?}"))?;
        let schema = executor.engine().schema().clone();
        let ty = |name: &str| schema.type_named(name).ok_or_else(|| format!("no type {name}"));
        let slot = |ty: TypeIx, name: &str| {
            schema.ty(ty).named(name).map(|(slot, _)| slot).ok_or_else(|| format!("no field {name}"))
        };
        let (customer, order) = (ty("Customer")?, ty("Order")?);
        let name = slot(customer, "name")?;
        let (amount, owner) = (slot(order, "amount")?, slot(order, "customer")?);
        Ok(Shop { executor, customer, name, order, amount, owner, orders, customers })
    }

    /// Creates the resources that `cargo xtask bench point` imports.
    fn fill(&mut self) -> Result<(), Box<dyn Error>> {
        let customers: Vec<u64> = (1..=self.customers).collect();
        for part in customers.chunks(FILL) {
            let create = |&c: &u64| {
                let name = Value::Str(format!("Customer {c}").into());
                Ok(Write::Create(Key::new(self.customer, id('c', c)?), vec![(self.name, name)]))
            };
            let writes = part.iter().map(create).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
            self.commit(vec![Transaction { writes }])?;
        }
        let orders: Vec<u64> = (1..=self.orders).collect();
        for part in orders.chunks(FILL) {
            let create = |&order: &u64| {
                let amount = Value::Int((order * 37 % 1000) as i64);
                let owner = Value::Ref(id('c', 1 + (order - 1) % self.customers)?);
                let values = vec![(self.amount, amount), (self.owner, owner)];
                Ok(Write::Create(Key::new(self.order, id('o', order)?), values))
            };
            let writes = part.iter().map(create).collect::<Result<Vec<_>, Box<dyn Error>>>()?;
            self.commit(vec![Transaction { writes }])?;
        }
        Ok(())
    }

    /// Sets amounts of random orders for `interval`; the line to print.
    fn round(&mut self, interval: Duration, random: &mut Random) -> Result<String, Box<dyn Error>> {
        let mut groups = Histogram::<u64>::new_with_max(MAX_LATENCY, 3)?;
        let cpu = cpu_time();
        let started = Instant::now();
        let mut writes = 0;
        while started.elapsed() < interval {
            let began = Instant::now();
            let mut group = Vec::with_capacity(GROUP);
            for _ in 0..GROUP {
                let key = Key::new(self.order, id('o', 1 + random.below(self.orders))?);
                let amount = Edit::Set(Value::Int(1 + random.below(1_000_000) as i64));
                group.push(Transaction { writes: vec![Write::Update(key, vec![(self.amount, amount)])] });
            }
            self.commit(group)?;
            writes += GROUP;
            groups.saturating_record(began.elapsed().as_micros() as u64);
        }
        let seconds = started.elapsed().as_secs_f64();
        let cores = cpu.zip(cpu_time()).map_or(0.0, |(before, after)| (after - before) / seconds);
        let [p50, p99] = [0.5, 0.99].map(|quantile| groups.value_at_quantile(quantile));
        Ok(format!("{:.0} {p50} {p99} {cores:.2}", writes as f64 / seconds))
    }

    /// Commits a group of which none may be refused.
    fn commit(&mut self, group: Vec<Transaction>) -> Result<(), Box<dyn Error>> {
        for outcome in self.executor.commit(&group, Timestamp::now()).map_err(|error| format!("{error:?}"))? {
            outcome.map_err(|error| format!("{error:?}"))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Box<dyn Error>> {
        let engine = self.executor.engine();
        let checked = engine.read(Timestamp::now(), |working| oracle::check(working, Some(CHECKED)));
        let wrong = checked.map_err(|error| format!("{error:?}"))?.differences.len();
        if wrong == 0 { Ok(()) } else { Err(format!("{wrong} derived values are wrong").into()) }
    }
}

fn id(prefix: char, number: u64) -> Result<Id, Box<dyn Error>> {
    Ok(Id::parse(&format!("{prefix}{number}"))?)
}

/// Seconds that the threads of this process have run on a core, where the system tells.
fn cpu_time() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let of = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(threads.flatten().filter_map(of).sum::<f64>() / 1e9)
}

/// Numbers that look random, the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}
