//! The work of `cargo xtask bench point` in process: the engine over its embedded store, without HTTP, in groups of 256
//! transactions that share one durable batch.
//!
//! An example and not a part of `xtask`, so that `cargo xtask ci` needs no engine to start. `cargo xtask bench engine`
//! builds and runs it: `engine_point DIR ORDERS CUSTOMERS SECONDS`, where DIR is an empty folder; the rest is as
//! `bench/engines/src/drive.rs` says, which the engines beside it are driven by too.

use std::path::Path;
use std::sync::Arc;

use corollary_engine::{Doc, Edit, EngineOptions, Executor, Key, Transaction, Write, keys, open, oracle};
use corollary_schema::{Slot, TypeIx};
use corollary_store::{EmbeddedOptions, EmbeddedStore};
use corollary_value::{Id, Value};
use jiff::Timestamp;

#[path = "../../bench/engines/src/drive.rs"]
mod drive;

use drive::{Change, Engine, Result, Shop, drive};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes for decoded documents: all of them, as the server has room for by default on a machine with a few GiB; those beside it keep all
/// in memory too.
const CACHE_BYTES: usize = 1 << 30;

/// Resources that a batch of the filling creates.
const FILL: usize = 2_000;

/// Resources of each type that are compared with the oracle at the end.
const CHECKED: usize = 1_000;

/// The orders and where they are in the schema.
struct Corollary {
    executor: Executor,
    customer: TypeIx,
    name: Slot,
    order: TypeIx,
    amount: Slot,
    owner: Slot,
    /// The total and the number of orders of a customer.
    sums: [Slot; 2],
    shop: Shop,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, numbers @ ..] = arguments.as_slice() else { return Err("no folder was given".into()) };
    let shop = Shop::of(numbers)?;
    let mut engine = Corollary::open(Path::new(dir), shop)?;
    engine.fill()?;
    drive(&mut engine, shop)?;
    engine.check()
}

impl Corollary {
    fn open(dir: &Path, shop: Shop) -> Result<Corollary> {
        let store = EmbeddedStore::open(dir, &keys::KEYSPACES, EmbeddedOptions::default())?;
        let schema = include_str!("../../bench/point.cor");
        let options = EngineOptions { cache_bytes: CACHE_BYTES, ..EngineOptions::default() };
        let executor = open(Arc::new(store), schema, &options, Timestamp::now(), &mut |_| {})
            .map_err(|error| format!("{error:?}"))?;
        let schema = executor.engine().schema().clone();
        let ty = |name: &str| schema.type_named(name).ok_or_else(|| format!("no type {name}"));
        let slot = |ty: TypeIx, name: &str| {
            schema.ty(ty).named(name).map(|(slot, _)| slot).ok_or_else(|| format!("no field {name}"))
        };
        let (customer, order) = (ty("Customer")?, ty("Order")?);
        let name = slot(customer, "name")?;
        let sums = [slot(customer, "total")?, slot(customer, "n")?];
        let (amount, owner) = (slot(order, "amount")?, slot(order, "customer")?);
        Ok(Corollary { executor, customer, name, order, amount, owner, sums, shop })
    }

    /// Creates the resources that `cargo xtask bench point` imports.
    fn fill(&mut self) -> Result<()> {
        let customers: Vec<u64> = (1..=self.shop.customers).collect();
        for part in customers.chunks(FILL) {
            let create = |&c: &u64| {
                let name = Value::Str(format!("Customer {c}").into());
                Ok(Write::Create(Key::new(self.customer, id('c', c)?), vec![(self.name, name)]))
            };
            let writes = part.iter().map(create).collect::<Result<Vec<_>>>()?;
            self.commit(vec![Transaction { writes }])?;
        }
        let orders: Vec<(u64, i64)> = (1..).zip(self.shop.amounts()).collect();
        for part in orders.chunks(FILL) {
            let create = |&(order, amount): &(u64, i64)| {
                let owner = Value::Ref(id('c', self.shop.customer(order))?);
                let values = vec![(self.amount, Value::Int(amount)), (self.owner, owner)];
                Ok(Write::Create(Key::new(self.order, id('o', order)?), values))
            };
            let writes = part.iter().map(create).collect::<Result<Vec<_>>>()?;
            self.commit(vec![Transaction { writes }])?;
        }
        Ok(())
    }

    /// An error where a derived value is not what the oracle says.
    fn check(&self) -> Result<()> {
        let engine = self.executor.engine();
        let checked = engine.read(Timestamp::now(), |working| oracle::check(working, Some(CHECKED)));
        let wrong = checked.map_err(|error| format!("{error:?}"))?.differences.len();
        if wrong == 0 { Ok(()) } else { Err(format!("{wrong} derived values are wrong").into()) }
    }

    /// Commits a group of which none may be refused.
    fn commit(&mut self, group: Vec<Transaction>) -> Result<()> {
        for outcome in self.executor.commit(&group, Timestamp::now()).map_err(|error| format!("{error:?}"))? {
            outcome.map_err(|error| format!("{error:?}"))?;
        }
        Ok(())
    }
}

impl Engine for Corollary {
    fn set(&mut self, group: &[Change]) -> Result<()> {
        let set = |change: &Change| {
            let key = Key::new(self.order, id('o', change.order)?);
            let amount = Edit::Set(Value::Int(change.now));
            Ok(Transaction { writes: vec![Write::Update(key, vec![(self.amount, amount)])] })
        };
        let group = group.iter().map(set).collect::<Result<Vec<_>>>()?;
        self.commit(group)
    }

    fn totals(&mut self) -> Result<Vec<(i64, i64)>> {
        let key = |number: u64| Ok(Key::new(self.customer, id('c', number)?));
        let keys = (1..=self.shop.customers).map(key).collect::<Result<Vec<_>>>()?;
        let engine = self.executor.engine();
        let read =
            engine.read(Timestamp::now(), |working| keys.iter().map(|key| working.after(key)).collect());
        let customers: Vec<_> = read.map_err(|error| format!("{error:?}"))?;
        let of = |customer: Option<_>| {
            let customer: Arc<Doc> = customer.ok_or("a customer is not there")?;
            match self.sums.map(|slot| customer.get(slot).clone()) {
                [Value::Int(total), Value::Int(n)] => Ok((total, n)),
                others => Err(format!("the sums of a customer: {others:?}").into()),
            }
        };
        std::iter::once(Ok((0, 0))).chain(customers.into_iter().map(of)).collect()
    }
}

fn id(prefix: char, number: u64) -> Result<Id> {
    Ok(Id::parse(&format!("{prefix}{number}"))?)
}
