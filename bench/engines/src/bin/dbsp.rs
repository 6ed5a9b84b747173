//! The shop in DBSP, with one worker in a thread of its own. Orders are a map that is patched, so the engine knows by itself what
//! one was before; a customer's total and number are one linear aggregate. Nothing is kept on a disk.

use corollary_bench_engines::drive::{Change, Engine, Result, Shop, drive};
use dbsp::operator::Update;

use dbsp::typed_batch::{IndexedZSetReader, SpineSnapshot};
use dbsp::utils::Tup2;
use dbsp::{DBSPHandle, MapHandle, OrdIndexedZSet, OutputHandle, Runtime};

/// Orders that are created at a time.
const FILL: usize = 10_000;

/// Total and number of orders.
type Sums = Tup2<i64, i64>;

struct Dbsp {
    circuit: DBSPHandle,
    /// By the number of the order the customer and the amount, of which the amount is patched.
    orders: MapHandle<u64, Tup2<u64, i64>, i64>,
    changes: OutputHandle<SpineSnapshot<OrdIndexedZSet<u64, Sums>>>,
    /// By the number of the customer.
    totals: Vec<(i64, i64)>,
    shop: Shop,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let shop = Shop::of(&arguments)?;
    let mut engine = Dbsp::open(shop)?;
    engine.fill()?;
    drive(&mut engine, shop)?;
    Ok(engine.circuit.kill().map_err(|_| "the worker did not end well")?)
}

impl Dbsp {
    fn open(shop: Shop) -> Result<Dbsp> {
        let (circuit, (orders, changes)) = Runtime::init_circuit(1, |circuit| {
            let (orders, handle) = circuit.add_input_map(|order: &mut Tup2<u64, i64>, amount: &i64| {
                order.1 = *amount;
            });
            let totals = orders
                .map_index(|(_, Tup2(customer, amount)): (&u64, &Tup2<u64, i64>)| (*customer, *amount))
                .aggregate_linear(|amount: &i64| Tup2(*amount, 1i64));
            Ok((handle, totals.accumulate_output()))
        })?;
        Ok(Dbsp { circuit, orders, changes, totals: vec![(0, 0); shop.customers as usize + 1], shop })
    }

    fn fill(&mut self) -> Result<()> {
        let orders: Vec<(u64, i64)> = (1..).zip(self.shop.amounts()).collect();
        for part in orders.chunks(FILL) {
            for &(order, amount) in part {
                self.orders.push(order, Update::Insert(Tup2(self.shop.customer(order), amount)));
            }
            self.settle()?;
        }
        Ok(())
    }

    /// Until all that was put in has come out.
    fn settle(&mut self) -> Result<()> {
        self.circuit.transaction()?;
        for (customer, Tup2(total, n), weight) in self.changes.concat().iter() {
            if weight > 0 {
                self.totals[customer as usize] = (total, n);
            }
        }
        Ok(())
    }
}

impl Engine for Dbsp {
    fn set(&mut self, group: &[Change]) -> Result<()> {
        for change in group {
            self.orders.push(change.order, Update::Update(change.now));
        }
        self.settle()
    }

    fn totals(&mut self) -> Result<Vec<(i64, i64)>> {
        Ok(self.totals.clone())
    }
}
