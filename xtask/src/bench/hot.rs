//! `hot`: the writes of `point`, but every order written belongs to one customer, whose total they all change.

use super::Result;
use super::options::Options;
use super::shop::Shop;
use super::table::{Aim, COMPARISON, Table, comparison, ratio, times};
use super::work::Work;

/// What of the spread-out throughput counts as no loss: two measurements of the same differ by as much.
const NO_LOSS: f64 = 0.95;

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let shop = Shop::open(options, 0)?;
    let mut table = Table::new("hot: all orders written belong to one customer", &COMPARISON);
    shop.warm_up(Work::Point, options)?;
    for &connections in &options.connections {
        let spread = shop.compare(Work::Point, connections, options)?;
        let hot = shop.compare(Work::Hot, connections, options)?;
        table.row(comparison(Work::Point.name(), connections, spread, &Aim::none()));
        let [postgres, corollary] = [times(hot[0], spread[0]), times(hot[1], spread[1])];
        let aim = Aim::new("no loss", corollary.map(|kept| kept >= NO_LOSS));
        table.row(comparison(Work::Hot.name(), connections, hot, &aim));
        table.note(format!(
            "Against spread-out writes, connections {connections}: Corollary {}, PostgreSQL {}.",
            ratio(corollary),
            ratio(postgres)
        ));
    }
    shop.finish(table)
}
