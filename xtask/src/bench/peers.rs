//! `peers`: the work of `point` beside databases that have derived values of their own in some form: SurrealDB with a grouped
//! view, pg_ivm in PGlite, PocketBase with a hook. All are measured in turn in one run, over the same facts.

use super::in_process::{InProcess, PGLITE, SURREALDB};
use super::options::{Options, Side};
use super::pocketbase::{self, PocketBase};
use super::point::at_least;
use super::sample::{self, Sample, rounds};
use super::shop::Shop;
use super::table::{COMPARISON, PEER, Table, comparison, count};
use super::work::Work;
use super::{Result, progress, record};

/// A database that does the work beside Corollary.
pub trait Peer {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// What it was asked to do, how durably, and what else is to be known of its numbers.
    fn notes(&self) -> Vec<String>;

    /// Sets amounts of random orders for one interval, by so many writers, each of which has one write under way.
    fn turn(&self, connections: usize, options: &Options) -> Result<Sample>;

    /// Of how many customers the total or the number of orders is not what the facts say, and how many there are.
    fn wrong(&self) -> Result<[u64; 2]>;
}

/// What is taken where nobody says otherwise: a shop that each of the peers can fill in reasonable time.
pub fn defaults() -> Options {
    Options { orders: 100_000, customers: 1_000, ..Options::default() }
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    if !options.runs(Side::Corollary) {
        return Err("peers has no side of PostgreSQL: it goes with --only corollary or neither".into());
    }
    let shop = Shop::open(&Options { only: Some(Side::Corollary), ..options.clone() }, 0)?;
    let found = if options.only.is_none() { start(options)? } else { Vec::new() };
    let peers: [Option<&dyn Peer>; 3] = std::array::from_fn(|at| found.get(at).map(AsRef::as_ref));
    let compare = |connections: usize, options: &Options| {
        progress(&format!("connections: {connections}, rounds: {}", options.rounds));
        let own: Option<sample::Side<'_>> = Some(Box::new(|| shop.turn(Work::Point, connections, options)));
        let [first, second, third] = peers.map(|peer| {
            peer.map(|peer| Box::new(move || peer.turn(connections, options)) as sample::Side<'_>)
        });
        rounds(options.rounds, [own, first, second, third])
    };
    // Caches fill, and programs are compiled while they run.
    compare(options.most_connections(), &Options { rounds: 1, ..options.clone() })?;
    let mut measured = Vec::new();
    for &connections in &options.connections {
        measured.push((connections, compare(connections, options)?));
    }
    let table = table(options, &peers, &measured);
    finish(shop, table, &found)
}

/// Those that can be had here; the table says which could not.
fn start(options: &Options) -> Result<Vec<Box<dyn Peer>>> {
    let mut found: Vec<Box<dyn Peer>> = Vec::new();
    for kind in [SURREALDB, PGLITE] {
        found.extend(InProcess::start(kind, options)?.map(|peer| Box::new(peer) as _));
    }
    found.extend(PocketBase::start(options)?.map(|peer| Box::new(peer) as _));
    Ok(found)
}

/// What was measured: for each number of connections Corollary's sample, then one of each peer.
type Measured = (usize, [Option<Sample>; 4]);

/// The table, each peer's rows together.
fn table(options: &Options, peers: &[Option<&dyn Peer>; 3], measured: &[Measured]) -> Table {
    let size = |number: u64| count(Some(number as f64));
    let title = format!(
        "peers: set one order's amount, its customer's total follows; {} orders, {} customers",
        size(options.orders),
        size(options.customers)
    );
    let mut head = COMPARISON;
    (head[0], head[PEER]) = ("peer", "peer /s");
    let mut table = Table::new(title, &head);
    for (connections, samples) in measured {
        let names = std::iter::once("Corollary").chain(peers.iter().flatten().map(|peer| peer.name()));
        for (name, sample) in names.zip(samples) {
            sample.iter().for_each(|sample| record::sample(Work::Point.name(), *connections, name, sample));
        }
    }
    for (at, peer) in peers.iter().flatten().enumerate() {
        for (connections, samples) in measured {
            let both = [samples[at + 1], samples[0]];
            table.row(comparison(peer.name(), *connections, both, &at_least(1.0, both)));
        }
    }
    if peers.iter().all(Option::is_none) {
        for (connections, samples) in measured {
            let both = [None, samples[0]];
            table.row(comparison("none", *connections, both, &at_least(1.0, both)));
        }
    }
    let names = [SURREALDB.name, PGLITE.name, pocketbase::NAME];
    let missing: Vec<&str> =
        names.into_iter().filter(|name| !peers.iter().flatten().any(|peer| peer.name() == *name)).collect();
    if !missing.is_empty() {
        let why = if options.only.is_some() { "as was asked" } else { "which could not be had here" };
        table.note(format!("Without {}, {why}.", missing.join(" and ")));
    }
    table
}

/// Prints the table, after a check of all that is derived on all sides; an error where anything is wrong.
fn finish(shop: Shop, mut table: Table, peers: &[Box<dyn Peer>]) -> Result<()> {
    let mut wrong = Vec::new();
    for peer in peers {
        progress(&format!("checking the values of {}", peer.name()));
        peer.notes().into_iter().for_each(|note| table.note(note));
        wrong.extend(verdict(peer.name(), peer.wrong()?));
    }
    wrong.iter().for_each(|wrong| table.note(format!("These numbers do not count: {wrong}.")));
    shop.finish(table)?;
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

/// What is wrong with the values of a peer, if anything.
fn verdict(name: &str, [wrong, customers]: [u64; 2]) -> Option<String> {
    (wrong > 0).then(|| format!("{name} has wrong values of {wrong} of {customers} customers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(&'static str);

    impl Peer for Fixed {
        fn name(&self) -> &'static str {
            self.0
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }

        fn turn(&self, _: usize, _: &Options) -> Result<Sample> {
            Err("is not asked".into())
        }

        fn wrong(&self) -> Result<[u64; 2]> {
            Err("is not asked".into())
        }
    }

    fn sample(per_second: f64) -> Option<Sample> {
        Some(Sample { per_second, ..Sample::default() })
    }

    #[test]
    fn each_peer_stands_beside_corollary_at_each_setting() {
        let (first, third) = (Fixed(SURREALDB.name), Fixed(pocketbase::NAME));
        let peers: [Option<&dyn Peer>; 3] = [Some(&first), Some(&third), None];
        let measured = [
            (1, [sample(2_000.0), sample(1_000.0), sample(4_000.0), None]),
            (8, [sample(9_000.0), sample(3_000.0), sample(1_000.0), None]),
        ];
        let json = table(&defaults(), &peers, &measured).to_json();
        let rows: Vec<Vec<&str>> = json["rows"].as_array().unwrap()[1..]
            .iter()
            .map(|row| [0, 1, 2, 5, 8, 10].map(|at| row[at].as_str().unwrap()).to_vec())
            .collect();
        assert_eq!(
            rows,
            [
                ["SurrealDB", "1", "2,000", "1,000", "2.00x", "yes"],
                ["SurrealDB", "8", "9,000", "3,000", "3.00x", "yes"],
                ["PocketBase", "1", "2,000", "4,000", "0.50x", "no"],
                ["PocketBase", "8", "9,000", "1,000", "9.00x", "yes"],
            ]
        );
        assert!(json["title"].as_str().unwrap().ends_with("100,000 orders, 1,000 customers"));
        assert_eq!(json["notes"][0], "Without pg_ivm in PGlite, which could not be had here.");
    }

    #[test]
    fn alone_corollary_still_has_its_rows() {
        let measured = [(1, [sample(2_000.0), None, None, None])];
        let options = Options { only: Some(Side::Corollary), ..defaults() };
        let json = table(&options, &[None; 3], &measured).to_json();
        assert_eq!(json["rows"][1][2], "2,000");
        assert!(json["notes"][0].as_str().unwrap().ends_with("as was asked."));
    }

    #[test]
    fn one_wrong_value_makes_numbers_not_count() {
        assert_eq!(verdict("X", [0, 1_000]), None);
        assert_eq!(verdict("X", [1, 1_000]).unwrap(), "X has wrong values of 1 of 1000 customers");
    }
}
