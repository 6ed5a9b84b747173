//! `read`: one random order together with its customer.

use super::Result;
use super::options::Options;
use super::point::at_least;
use super::shop::Shop;
use super::table::{Aim, COMPARISON, Table, comparison};
use super::work::Work;

/// From so many connections on the aim holds.
const AIMED: usize = 32;

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let shop = Shop::open(options, 0)?;
    let mut table =
        Table::new("read: an order with its customer; over HTTP, against a prepared join", &COMPARISON);
    shop.warm_up(Work::Read, options)?;
    for &connections in &options.connections {
        let samples = shop.compare(Work::Read, connections, options)?;
        let aim = if connections >= AIMED { at_least(1.5, samples) } else { Aim::none() };
        table.row(comparison(Work::Read.name(), connections, samples, &aim));
    }
    shop.finish(table)
}
