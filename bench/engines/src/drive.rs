//! The work of `cargo xtask bench point` for an engine within its own program: amounts of random orders are set in groups, and
//! each customer's total follows. Corollary's engine takes it too (`xtask/examples/engine_point.rs`).
//!
//! A program is told `ORDERS CUSTOMERS SECONDS`, fills its engine, does one round that is not told, and says `ready`. For each
//! line that it is given it does a round of so many seconds and prints `WRITES_PER_SECOND GROUP_P50_US GROUP_P99_US CORES`.
//! At the end of what it is given it fails if a derived value is wrong.

use std::error::Error;
use std::io::{Write, stdin, stdout};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

#[path = "random.rs"]
mod random;

use random::Random;

/// Orders of a group.
pub const GROUP: usize = 256;

/// The longest time of a group that is told apart, in microseconds.
const MAX_LATENCY: u64 = 60_000_000;

/// What may go wrong.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How large the shop is, and how long a round is.
#[derive(Clone, Copy, Debug)]
pub struct Shop {
    /// Orders 1 to n.
    pub orders: u64,
    /// Customers 1 to n.
    pub customers: u64,
    /// The length of a round.
    pub interval: Duration,
}

impl Shop {
    /// What a program is told in its last three arguments.
    pub fn of(arguments: &[String]) -> Result<Shop> {
        let numbers: Vec<u64> =
            arguments.iter().map(|text| text.parse()).collect::<std::result::Result<_, _>>()?;
        let &[orders, customers, seconds] = numbers.as_slice() else {
            return Err("three numbers are needed: orders, customers, seconds".into());
        };
        Ok(Shop { orders, customers, interval: Duration::from_secs(seconds) })
    }

    /// To whom an order belongs.
    pub fn customer(&self, order: u64) -> u64 {
        1 + (order - 1) % self.customers
    }

    /// The amount that each order has at first, the first one's first.
    pub fn amounts(&self) -> Vec<i64> {
        (1..=self.orders).map(|order| (order * 37 % 1000) as i64).collect()
    }

    /// What [`Engine::totals`] is to be, from facts alone.
    fn totals(&self, amounts: &[i64]) -> Vec<(i64, i64)> {
        let mut totals = vec![(0, 0); self.customers as usize + 1];
        for (order, amount) in (1..).zip(amounts) {
            let (total, n) = &mut totals[self.customer(order) as usize];
            (*total, *n) = (*total + amount, *n + 1);
        }
        totals
    }
}

/// An amount that is to be set.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The number of the order.
    pub order: u64,
    /// What it is to have.
    pub now: i64,
}

/// An engine with the shop in it.
pub trait Engine {
    /// Sets amounts, one after the other; done once every customer's total follows.
    fn set(&mut self, group: &[Change]) -> Result<()>;

    /// Of each customer, by its number, the total and the number of its orders, as they are kept; nobody has the number 0.
    fn totals(&mut self) -> Result<Vec<(i64, i64)>>;
}

/// See the module.
pub fn drive(engine: &mut impl Engine, shop: Shop) -> Result<()> {
    let mut amounts = shop.amounts();
    let mut random = Random::new(1);
    // Caches fill.
    round(engine, shop, &mut amounts, &mut random)?;
    tell("ready")?;
    for line in stdin().lines() {
        line?;
        tell(&round(engine, shop, &mut amounts, &mut random)?)?;
    }
    compare(&engine.totals()?, &shop.totals(&amounts))
}

/// An error where what an engine derived is not what the facts say.
fn compare(derived: &[(i64, i64)], facts: &[(i64, i64)]) -> Result<()> {
    let wrong = facts.iter().zip(derived).filter(|(fact, derived)| fact != derived).count();
    match (wrong, derived.len() == facts.len()) {
        (0, true) => Ok(()),
        _ => Err(format!("the values of {wrong} of {} customers are wrong", facts.len() - 1).into()),
    }
}

fn tell(line: &str) -> Result<()> {
    println!("{line}");
    Ok(stdout().flush()?)
}

/// Sets amounts of random orders for an interval; the line to print.
fn round(engine: &mut impl Engine, shop: Shop, amounts: &mut [i64], random: &mut Random) -> Result<String> {
    let mut groups = Histogram::<u64>::new_with_max(MAX_LATENCY, 3)?;
    let cpu = cpu_time();
    let started = Instant::now();
    let mut writes = 0;
    let mut group = Vec::with_capacity(GROUP);
    while started.elapsed() < shop.interval {
        let began = Instant::now();
        group.clear();
        for _ in 0..GROUP {
            let order = 1 + random.below(shop.orders);
            let now = 1 + random.below(1_000_000) as i64;
            amounts[order as usize - 1] = now;
            group.push(Change { order, now });
        }
        engine.set(&group)?;
        writes += GROUP;
        groups.saturating_record(began.elapsed().as_micros() as u64);
    }
    let seconds = started.elapsed().as_secs_f64();
    let cores = cpu.zip(cpu_time()).map_or(0.0, |(before, after)| (after - before) / seconds);
    let [p50, p99] = [0.5, 0.99].map(|quantile| groups.value_at_quantile(quantile));
    Ok(format!("{:.0} {p50} {p99} {cores:.2}", writes as f64 / seconds))
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: Shop = Shop { orders: 1_000, customers: 10, interval: Duration::from_millis(20) };

    /// An engine that recomputes all, or forgets a change now and then.
    struct Naive {
        amounts: Vec<i64>,
        forgets: bool,
    }

    impl Engine for Naive {
        fn set(&mut self, group: &[Change]) -> Result<()> {
            for change in group.iter().skip(usize::from(self.forgets)) {
                self.amounts[change.order as usize - 1] = change.now;
            }
            Ok(())
        }

        fn totals(&mut self) -> Result<Vec<(i64, i64)>> {
            Ok(SHOP.totals(&self.amounts))
        }
    }

    #[test]
    fn what_an_engine_forgets_is_found() {
        for forgets in [false, true] {
            let mut amounts = SHOP.amounts();
            let mut engine = Naive { amounts: amounts.clone(), forgets };
            let line = round(&mut engine, SHOP, &mut amounts, &mut Random::new(7)).unwrap();
            assert_eq!(line.split(' ').count(), 4, "{line}");
            // The last group of the round is never covered by another one.
            let change = Change { order: 1, now: amounts[0] + 1 };
            amounts[0] += 1;
            engine.set(&[change]).unwrap();
            let compared = compare(&engine.totals().unwrap(), &SHOP.totals(&amounts));
            assert_eq!(compared.is_err(), forgets);
        }
    }

    #[test]
    fn customers_that_are_missing_are_found() {
        let facts = SHOP.totals(&SHOP.amounts());
        assert_eq!(facts.len(), 11);
        assert_eq!(facts.iter().map(|(_, n)| n).sum::<i64>(), 1_000);
        assert!(compare(&facts, &facts).is_ok());
        assert!(compare(&facts[..10], &facts).is_err());
    }

    #[test]
    fn a_program_is_told_three_numbers() {
        let of = |text: &str| Shop::of(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let shop = of("5 2 3").unwrap();
        assert_eq!((shop.orders, shop.customers, shop.interval), (5, 2, Duration::from_secs(3)));
        assert_eq!([1, 2, 3].map(|order| shop.customer(order)), [1, 2, 1]);
        assert!(of("5 2").is_err() && of("5 2 x").is_err());
    }
}
