//! `minmax`: items that are the least or the most of their group, and of a kind of their own, come and go; the group has `min`, `max`,
//! `top(5, …)` and `distinct`. The same at groups of a thousand, and ten times as many, up to a million.
//!
//! `--orders` bounds the largest group.

use std::cell::Cell;

use super::corollary::Data;
use super::options::Options;
use super::pair::{Asked, Filling, Pair, import_lines};
use super::table::{Aim, COMPARISON, Table, comparison, count, times};
use super::work::Random;
use super::{Result, http, sql};

/// The sizes of the groups.
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// What of the throughput at the smallest group counts as flat: two measurements of the same differ by as much.
const FLAT: f64 = 0.8;

/// So many items that have come are there before the first goes: more than there are requests under way, so that none goes before it
/// has come.
const AHEAD: u64 = 1_000;

/// Kinds of those that come and go.
const KINDS: u64 = 32;

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let sizes: Vec<u64> = SIZES.into_iter().filter(|size| *size <= options.orders.max(SIZES[0])).collect();
    let filling = Filling {
        schema: "minmax.cor",
        tables: &["minmax_schema.sql", "minmax_data.sql", "minmax_triggers.sql"],
        verify: "minmax_verify.sql",
        variables: vec![("groups", sizes.len() as u64)],
        import: &|data| import(data, &sizes),
    };
    let pair = Pair::open(options, filling)?;
    let script =
        std::fs::read_to_string(sql("minmax.sql")).map_err(|error| format!("minmax.sql: {error}"))?;
    let title =
        "minmax: items that are extremes come and go, with min, max, top 5 and distinct of their group";
    let mut table = Table::new(title, &COMPARISON);
    let connections = options.most_connections();
    let mut smallest = None;
    for (group, size) in (1..).zip(&sizes) {
        let (come, gone) = (Cell::new(0), Cell::new(0));
        let script = script.replace("GROUP_ID", &group.to_string());
        let request = |random: &mut Random, out: &mut Vec<u8>| request(group, (&come, &gone), random, out);
        let name = format!("an item comes or goes, group of {}", count(Some(*size as f64)));
        let asked = Asked { name: &name, script: Some(&script), operations: [2, 1], request: &request };
        pair.warm_up(&asked, options)?;
        let samples = pair.compare(&asked, connections, options)?;
        let first = *smallest.get_or_insert(samples[1]);
        let aim = Aim::new("as at 1,000", times(samples[1], first).map(|kept| kept >= FLAT));
        table.row(comparison(&name, connections, samples, &aim));
    }
    table.note(
        "PostgreSQL: an index over group and number, a count for each kind; one run of pgbench is an insert and a delete, each a \
         transaction, and its latency is that of both.",
    );
    pair.finish(table)
}

/// One item that comes, or one that came before and goes.
fn request(group: u64, (come, gone): (&Cell<u64>, &Cell<u64>), random: &mut Random, out: &mut Vec<u8>) {
    if come.get() > gone.get() + AHEAD {
        http::request(out, "DELETE", &format!("/api/items/x{group}-{}", gone.replace(gone.get() + 1)), "");
        return;
    }
    let item = come.replace(come.get() + 1);
    let (sign, n) = (if random.below(2) == 0 { "-" } else { "" }, 2_000_000 + random.below(1_000_000));
    let kind = item % KINDS;
    let body = format!(
        "{{\"_id\":\"x{group}-{item}\",\"group\":\"g{group}\",\"n\":{sign}{n},\"kind\":\"z{kind}\"}}"
    );
    http::request(out, "POST", "/api/items", &body);
}

/// The same as `bench/postgres/minmax_data.sql`.
fn import(data: &Data, sizes: &[u64]) -> Result<()> {
    import_lines(data, "Group", "_id", 1..=sizes.len() as u64, |group| format!("g{group}"))?;
    (1u64..).zip(sizes).try_for_each(|(group, size)| {
        import_lines(data, "Item", "_id,group,n,kind", 1..=*size, |n| {
            format!("i{group}-{n},g{group},{n},k{}", n % 10)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_goes_before_it_has_come_and_each_goes_once() {
        let (come, gone) = (Cell::new(0), Cell::new(0));
        let mut random = Random::new(1);
        let (mut there, mut went) = (std::collections::VecDeque::new(), 0);
        for _ in 0..5_000 {
            let mut out = Vec::new();
            request(1, (&come, &gone), &mut random, &mut out);
            let text = String::from_utf8(out).unwrap();
            match text.strip_prefix("DELETE /api/items/") {
                Some(rest) => {
                    assert_eq!(Some(rest.split(' ').next().unwrap().to_owned()), there.pop_front());
                    went += 1;
                }
                None => there.push_back(format!("x1-{}", come.get() - 1)),
            }
        }
        assert_eq!((went, there.len() as u64), (2_000, AHEAD));
    }
}
