//! The options of `cargo xtask bench`.

use std::path::PathBuf;
use std::time::Duration;

use super::Result;

/// Servers over one database, at most.
const MOST_NODES: usize = 16;

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// PostgreSQL.
    Postgres,
    /// Corollary.
    Corollary,
}

/// Where Corollary keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a folder.
    Folder,
    /// In the database of the other side.
    Postgres,
}

/// What a benchmark may be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How often both sides take their turn.
    pub rounds: usize,
    /// The length of one turn.
    pub interval: Duration,
    /// How many connections, one setting after the other.
    pub connections: Vec<usize>,
    /// How many orders there are.
    pub orders: u64,
    /// How many customers they belong to.
    pub customers: u64,
    /// How many orders more the hub has, where there is one.
    pub hub: u64,
    /// One side alone, or both.
    pub only: Option<Side>,
    /// Where Corollary keeps its data; only `point` asks.
    pub store: Place,
    /// How many servers of Corollary there are over one database, one setting after the other, in ascending order.
    pub nodes: Vec<usize>,
    /// Of a hundred parts of the time, how many updates have while others write, one setting after the other; only
    /// `fanout` asks.
    pub shares: Vec<usize>,
    /// Of how many functions it is told what is spent in them; only `instructions` asks.
    pub top: Option<usize>,
    /// Is what is found kept in `bench/results`?
    pub record: bool,
    /// How many watch one change; only `watch` asks.
    pub watches: usize,
    /// A program that is measured instead of one that is built; all but `engine` ask.
    pub program: Option<PathBuf>,
    /// Where the data of both sides goes, in folders of their own that are removed at the end.
    pub dir: PathBuf,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            rounds: 5,
            interval: Duration::from_secs(5),
            connections: vec![1, 8, 32],
            orders: 1_000_000,
            customers: 10_000,
            hub: 100_000,
            only: None,
            store: Place::Folder,
            nodes: vec![1, 2, 3],
            shares: vec![20, 50],
            top: None,
            record: false,
            watches: 10_000,
            program: None,
            dir: std::env::temp_dir(),
        }
    }
}

impl Options {
    /// These, but for what arguments say; an error names the option.
    pub fn with(self, arguments: &[String]) -> Result<Options> {
        let mut options = self;
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            if name == "--record" {
                options.record = true;
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = |low: u64| match value.parse::<u64>() {
                Ok(number) if number >= low => Ok(number),
                _ => Err(format!("{name} needs a whole number of at least {low}, not {value}")),
            };
            let numbers = |highest: usize, example: &str| {
                let each = |text: &str| text.parse().ok().filter(|n| (1..=highest).contains(n));
                value.split(',').map(each).collect::<Option<Vec<usize>>>().ok_or_else(|| {
                    format!("{name} needs numbers from 1 to {highest} such as {example}, not {value}")
                })
            };
            match name.as_str() {
                "--rounds" => options.rounds = number(1)? as usize,
                "--seconds" => options.interval = Duration::from_secs(number(1)?),
                "--orders" => options.orders = number(1)?,
                "--customers" => options.customers = number(100)?,
                "--top" => options.top = Some(number(1)? as usize),
                "--hub" => options.hub = number(1)?,
                "--connections" => options.connections = numbers(1_000, "1,8,32")?,
                "--shares" => options.shares = numbers(100, "20,50")?,
                "--nodes" => {
                    options.nodes = numbers(MOST_NODES, "1,2,3")?;
                    // A server that has been started stays.
                    options.nodes.sort_unstable();
                }
                "--store" => {
                    options.store = match value.as_str() {
                        "folder" => Place::Folder,
                        "postgres" => Place::Postgres,
                        _ => return Err(format!("--store needs folder or postgres, not {value}").into()),
                    };
                }
                "--only" => {
                    options.only = Some(match value.as_str() {
                        "corollary" => Side::Corollary,
                        "postgres" => Side::Postgres,
                        _ => return Err(format!("--only needs corollary or postgres, not {value}").into()),
                    });
                }
                "--watches" => options.watches = number(1)? as usize,
                "--program" => options.program = Some(PathBuf::from(value)),
                "--dir" => options.dir = PathBuf::from(value),
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        if options.store == Place::Postgres && options.only == Some(Side::Postgres) {
            return Err(
                "--store postgres is about Corollary: it goes with --only corollary or neither".into()
            );
        }
        if options.orders < options.customers {
            return Err("--orders must be at least --customers: every customer has orders".into());
        }
        Ok(options)
    }

    /// Whether a side takes part.
    pub fn runs(&self, side: Side) -> bool {
        self.only.is_none_or(|only| only == side)
    }

    /// The largest number of connections.
    pub fn most_connections(&self) -> usize {
        self.connections.iter().copied().max().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::default().with(&arguments)
    }

    #[test]
    fn options_change_what_they_name() {
        assert_eq!(parse("").unwrap(), Options::default());
        let options =
            parse("--rounds 2 --seconds 1 --connections 4,16 --orders 5000 --customers 500 --hub 70")
                .unwrap();
        assert_eq!((options.rounds, options.interval), (2, Duration::from_secs(1)));
        assert_eq!((options.orders, options.customers, options.hub), (5_000, 500, 70));
        assert_eq!((options.connections.as_slice(), options.most_connections()), ([4, 16].as_slice(), 16));
        assert!(options.runs(Side::Postgres) && options.runs(Side::Corollary));
        let nodes = parse("--store postgres --nodes 3,1").unwrap();
        assert_eq!((nodes.store, nodes.nodes.as_slice()), (Place::Postgres, [1, 3].as_slice()));
        let watch = parse("--watches 70 --program /old/corollary").unwrap();
        assert_eq!((watch.watches, watch.program), (70, Some(PathBuf::from("/old/corollary"))));
        let only = parse("--only postgres --dir /somewhere").unwrap();
        assert!(only.runs(Side::Postgres) && !only.runs(Side::Corollary));
        let kept = parse("--record --top 40").unwrap();
        assert_eq!((kept.record, kept.top), (true, Some(40)));
        assert_eq!(only.dir, PathBuf::from("/somewhere"));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, part) in [
            ("--rounds", "--rounds needs a value"),
            ("--rounds 0", "at least 1, not 0"),
            ("--connections 1,x", "such as 1,8,32, not 1,x"),
            ("--connections 0", "from 1 to 1000"),
            ("--customers 99", "at least 100"),
            ("--orders 100", "at least --customers"),
            ("--only mysql", "corollary or postgres, not mysql"),
            ("--store redis", "folder or postgres, not redis"),
            ("--store postgres --only postgres", "--only corollary or neither"),
            ("--shares 101", "from 1 to 100 such as 20,50, not 101"),
            ("--nodes 0", "from 1 to 16 such as 1,2,3, not 0"),
            ("--quick yes", "no option --quick"),
        ] {
            let error = parse(line).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
