//! `read`: one random order together with its customer.

use super::options::Options;
use super::point::at_least;
use super::postgraphile::Postgraphile;
use super::shop::Shop;
use super::table::{Aim, COMPARISON, PEER, Table, comparison};
use super::work::Work;
use super::{Result, record};

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
    let beside = beside_postgraphile(&shop, Work::Read, options)?;
    shop.finish(table)?;
    beside.iter().for_each(record::print);
    Ok(())
}

/// The table of a read that PostGraphile can do too, over the same tables; none where it cannot be had, or a side was left
/// out.
pub fn beside_postgraphile(shop: &Shop, work: Work, options: &Options) -> Result<Option<Table>> {
    let (Some(postgres), Some(_)) = (shop.postgres(), shop.corollary()) else { return Ok(None) };
    let Some(postgraphile) = Postgraphile::start(postgres, options)? else { return Ok(None) };
    let mut head = COMPARISON;
    head[PEER] = "PostGraphile /s";
    let mut table = Table::new(format!("{}; against PostGraphile", work.name()), &head);
    for &connections in &options.connections {
        let samples = shop.compare_with(&postgraphile, work, connections, options)?;
        table.row(comparison(work.name(), connections, samples, &at_least(1.0, samples)));
    }
    Ok(Some(table))
}
