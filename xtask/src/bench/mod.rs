//! `cargo xtask bench NAME`: one table with Corollary and PostgreSQL side by side, their ratio, and the aim.
//!
//! Both sides are servers of the benchmark's own ([`corollary`], [`postgres`]) with the same data ([`shop`]) on the same
//! disk, both durable, measured in turn ([`sample`]); each benchmark is a module of its name. Nothing fails because the
//! machine is slow: an error means that work was refused or a value is wrong. `bench/README.md` says what each measures.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod bare;
mod bootstrap;
mod chain;
mod client;
pub mod corollary;
mod engine;
mod etcd;
mod fanout;
mod growth;
mod hot;
pub mod http;
mod in_process;
mod instructions;
mod list;
mod load;
mod machine;
mod minmax;
mod nodes;
mod options;
mod packages;
mod pair;
mod peers;
mod pocketbase;
mod point;
mod postgraphile;
mod postgres;
pub mod process;
#[path = "../../../bench/engines/src/random.rs"]
mod random;
mod read;
pub mod record;
mod sample;
mod scale;
mod served;
mod shop;
mod streams;
pub mod table;
mod watch;
mod work;

use options::Options;

/// What went wrong, for people.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A benchmark: prints its table.
type Benchmark = fn(&Options) -> Result<()>;

/// The benchmarks, with what each measures.
const BENCHMARKS: [(&str, Benchmark, &str); 15] = [
    ("point", point::run, "set the amount of a random order, which changes its customer's total"),
    ("hot", hot::run, "the same with all orders of one customer, beside the spread-out numbers"),
    (
        "fanout",
        fanout::run,
        "rename a customer whose name is copied onto 100,000 orders, also while others write",
    ),
    ("chain", chain::run, "set one salary, of which sums on four levels, each of what is active, follow"),
    ("minmax", minmax::run, "extremes of groups of up to a million come and go: min, max, top 5, distinct"),
    ("bootstrap", bootstrap::run, "a new sum over all orders, and a new field of each, while others write"),
    ("read", read::run, "read an order with its customer"),
    ("list", list::run, "read 100 orders, chosen and ordered by an index"),
    ("load", load::run, "bring in the flights example from CSV until every derived value stands"),
    ("watch", watch::run, "tell 10,000 watches of a change, and change beside watches of others"),
    ("peers", peers::run, "point beside SurrealDB, pg_ivm in PGlite, and PocketBase, with a smaller shop"),
    (
        "engine",
        engine::run,
        "point in process, without HTTP, in groups of 256, beside DBSP and differential-dataflow",
    ),
    ("growth", growth::run, "what a write costs at 10,000, 100,000 and 1,000,000 orders (Corollary only)"),
    (
        "scale",
        scale::run,
        "what a write and a start cost with 10,000 types and 1,000 derived fields (Corollary only)",
    ),
    (
        "instructions",
        instructions::run,
        "what the server executes for ten operations, counted by callgrind (Corollary only)",
    ),
];

const OPTIONS: &str = "options:
  --rounds N            turns of each side, of which the medians are shown (5)
  --seconds N           length of one turn (5)
  --connections A,B,…   connections, one setting after the other (1,8,32)
  --orders N            orders of the shop (1000000; peers: 100000)
  --customers N         customers of the shop (10000; peers: 1000)
  --hub N               orders of the customer that fanout renames (100000)
  --store postgres      (point) Corollary in the same database as PostgreSQL's tables, by as many servers as --nodes says
  --nodes A,B,…         servers over one database, one setting after the other (1,2,3)
  --shares A,B,…        (fanout) of a hundred parts of the time, how many updates have while others write (20,50)
  --watches N           (watch) watches of one change (10000)
  --program FILE        this program of Corollary instead of one that is built (all but engine)
  --only SIDE           corollary or postgres alone (peers, engine: corollary)
  --top N               (instructions) of each operation also the N functions in which most is spent
  --record              keep what is found in bench/results, of which `cargo xtask performance` makes a page
  --dir DIR             where the data goes while it is needed (the folder for temporary files)";

/// Runs the benchmark that the arguments name.
pub fn bench(arguments: &[String]) -> ExitCode {
    let chosen = arguments.split_first().and_then(|(name, rest)| {
        BENCHMARKS
            .iter()
            .find(|(known, ..)| known == name)
            .map(|(name, benchmark, _)| (name, benchmark, rest))
    });
    let Some((name, benchmark, rest)) = chosen else {
        eprintln!("usage: cargo xtask bench NAME [options]\n");
        for (name, _, what) in BENCHMARKS {
            eprintln!("  {name:<12} {what}");
        }
        eprintln!("\n{OPTIONS}");
        return ExitCode::from(2);
    };
    let defaults = if *name == "peers" { peers::defaults() } else { Options::default() };
    let options = match defaults.with(rest) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n\n{OPTIONS}");
            return ExitCode::from(2);
        }
    };
    let outcome = process::catch_interrupts()
        .and_then(|()| machine::print(&options.dir))
        .and_then(|()| benchmark(&options))
        .and_then(|()| if options.record { record::save(name) } else { Ok(()) });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the project")
}

/// A file of SQL in `bench/postgres`.
fn sql(name: &str) -> PathBuf {
    root().join("bench/postgres").join(name)
}

/// Tells how far the benchmark is, apart from the table.
pub fn progress(text: &str) {
    eprintln!("{text}");
}
