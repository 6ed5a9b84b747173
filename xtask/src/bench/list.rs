//! `list`: a page of 100 orders, chosen and ordered by an index.

use std::time::Instant;

use super::fanout::stored;
use super::options::Options;
use super::point::at_least;
use super::read::beside_postgraphile;
use super::shop::Shop;
use super::table::{COMPARISON, Table, comparison};
use super::work::Work;
use super::{Result, progress, record, root, sql};

/// Prints the tables.
pub fn run(options: &Options) -> Result<()> {
    let mut shop = Shop::open(options, 0)?;
    if let Some(postgres) = shop.postgres() {
        postgres.file(&sql("list_indexes.sql"), &[])?;
    }
    let path = root().join("bench/list.cor");
    let schema = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    shop.serve_with(&schema)?;
    if let Some(corollary) = shop.corollary() {
        // Until then a query by them is refused that would look at too much.
        progress("building the indexes of Corollary");
        stored(corollary.address(), Instant::now())?;
    }
    let title = "list: 100 orders by an index; over HTTP, against a prepared query";
    let mut table = Table::new(title, &COMPARISON);
    shop.warm_up(Work::Range, options)?;
    for work in [Work::Page, Work::Range] {
        for &connections in &options.connections {
            let samples = shop.compare(work, connections, options)?;
            table.row(comparison(work.name(), connections, samples, &at_least(1.0, samples)));
        }
    }
    let beside = beside_postgraphile(&shop, Work::Page, options)?;
    shop.finish(table)?;
    beside.iter().for_each(record::print);
    Ok(())
}
