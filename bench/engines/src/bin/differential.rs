//! The shop in differential-dataflow, with one worker in this thread. A customer's total and number are the two parts of a
//! difference that is counted, so that a change costs the same however many orders a customer has. What an order was before
//! is known by the program: the engine keeps the sums, and nothing is kept on a disk.

use std::cell::RefCell;
use std::rc::Rc;

use corollary_bench_engines::drive::{Change, Engine, Result, Shop, drive};
use differential_dataflow::input::{Input, InputSession};
use differential_dataflow::operators::CountTotal;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

/// Total and number of orders, as differences are.
type Sums = (isize, isize);

struct Differential<'w> {
    worker: &'w mut Worker,
    /// Customers with the amount of an order each.
    orders: InputSession<u64, (u64, i64), isize>,
    probe: Handle<u64>,
    /// What each order has, the first one's first.
    amounts: Vec<i64>,
    /// By the number of the customer.
    totals: Rc<RefCell<Vec<(i64, i64)>>>,
    shop: Shop,
}

fn main() -> std::result::Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    timely::execute_directly(move |worker| {
        let mut run = || {
            let shop = Shop::of(&arguments)?;
            let mut engine = Differential::open(worker, shop);
            engine.fill();
            drive(&mut engine, shop)
        };
        run().map_err(|error| error.to_string())
    })
}

impl<'w> Differential<'w> {
    fn open(worker: &'w mut Worker, shop: Shop) -> Differential<'w> {
        let totals = Rc::new(RefCell::new(vec![(0, 0); shop.customers as usize + 1]));
        let kept = totals.clone();
        let probe = Handle::new();
        let orders = worker.dataflow(|scope| {
            let (input, orders) = scope.new_collection::<(u64, i64), isize>();
            orders
                .explode(|(customer, amount)| Some((customer, (amount as isize, 1))))
                .count_total()
                .inspect(move |&((customer, sums), _, change): &((u64, Sums), u64, isize)| {
                    if change > 0 {
                        kept.borrow_mut()[customer as usize] = (sums.0 as i64, sums.1 as i64);
                    }
                })
                .probe_with(&probe);
            input
        });
        Differential { worker, orders, probe, amounts: shop.amounts(), totals, shop }
    }

    fn fill(&mut self) {
        for (order, &amount) in (1..).zip(&self.amounts) {
            self.orders.insert((self.shop.customer(order), amount));
        }
        self.settle();
    }

    /// Until all that was put in has come out.
    fn settle(&mut self) {
        self.orders.advance_to(self.orders.time() + 1);
        self.orders.flush();
        let Differential { worker, orders, probe, .. } = self;
        worker.step_while(|| probe.less_than(orders.time()));
    }
}

impl Engine for Differential<'_> {
    fn set(&mut self, group: &[Change]) -> Result<()> {
        for change in group {
            let customer = self.shop.customer(change.order);
            let before = std::mem::replace(&mut self.amounts[change.order as usize - 1], change.now);
            self.orders.remove((customer, before));
            self.orders.insert((customer, change.now));
        }
        self.settle();
        Ok(())
    }

    fn totals(&mut self) -> Result<Vec<(i64, i64)>> {
        Ok(self.totals.borrow().clone())
    }
}
