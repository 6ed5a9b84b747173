//! `growth`: what a write costs as the data grows: the work of `point` at 10,000, 100,000 and 1,000,000 orders, and as many more as
//! `--orders` says. Corollary alone; what it costs is what the server's processors do, what its clients wait, how long it takes to
//! start over that data, and the most memory that it had.

use super::options::{Options, Side};
use super::shop::Shop;
use super::table::{Table, count, memory, time};
use super::work::Work;
use super::{Result, record};

/// The sizes that are always measured, in orders; there is a customer for a hundred.
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut sizes = SIZES.to_vec();
    sizes.extend(Some(options.orders).filter(|orders| *orders > 1_000_000));
    let processors = "server's processors, each write";
    let head = ["orders", "connections", "writes /s", "p50", "p99", processors, "start", "memory"];
    let mut table = Table::new("growth: one update, as the data grows", &head);
    for orders in sizes {
        let options =
            Options { orders, customers: orders / 100, only: Some(Side::Corollary), ..options.clone() };
        let mut shop = Shop::open(&options, 0)?;
        // What was imported is in the files by then, and nothing of it in memory.
        let start = shop.restart()?;
        let Some(corollary) = shop.corollary() else { return Err("growth measures Corollary alone".into()) };
        shop.warm_up(Work::Point, &options)?;
        let connections = options.most_connections();
        let before = corollary.cpu_time();
        let [_, sample] = shop.compare(Work::Point, connections, &options)?;
        let after = corollary.cpu_time();
        let sample = sample.ok_or("nothing was measured")?;
        let writes = sample.per_second * options.interval.as_secs_f64() * options.rounds as f64;
        let each = before.zip(after).map(|(before, after)| (after - before).div_f64(writes));
        record::growth(orders, connections, &sample, each);
        let row = [Some(sample.p50), Some(sample.p99), each].map(time);
        let [p50, p99, each] = row;
        let (orders, per_second) = (count(Some(orders as f64)), count(Some(sample.per_second)));
        let (connections, memory) = (connections.to_string(), memory(corollary.peak_memory()));
        table.row(vec![orders, connections, per_second, p50, p99, each, time(Some(start)), memory]);
        shop.check_alone()?;
    }
    table.note("Derived values were checked against the facts at the end of each size.");
    record::print(&table);
    Ok(())
}
