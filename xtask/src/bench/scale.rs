//! `scale`: what the size of the schema costs: many types, many derived fields. Corollary alone. `growth` measures the size of the data.
//!
//! Each schema is served over the same few resources; a write changes a number, from which one sum follows. It is measured how long
//! the server takes until it is ready over an empty folder and over one that it knows, what memory it has, and what a write costs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::client::{self, Arrivals};
use super::corollary::{Binary, Data};
use super::options::Options;
use super::pair::import_lines;
use super::sample::Sample;
use super::table::{Table, count, memory, time};
use super::work::Random;
use super::{Result, http, progress, record, root};

/// Resources that are written, and those to which they belong.
const MEMBERS: u64 = 1_000;
const OWNERS: u64 = 10;

/// A schema: so many pairs of types, an owner and its members, with so many derived fields each.
struct Shape {
    pairs: u64,
    sums: u64,
}

const SHAPES: [Shape; 6] = [
    Shape { pairs: 5, sums: 1 },
    Shape { pairs: 500, sums: 1 },
    Shape { pairs: 5_000, sums: 1 },
    Shape { pairs: 1, sums: 10 },
    Shape { pairs: 100, sums: 10 },
    Shape { pairs: 1, sums: 1_000 },
];

impl Shape {
    fn name(&self) -> String {
        let number = |number: u64| count(Some(number as f64)).trim_end_matches(".0").to_owned();
        let [types, all, each] = [2 * self.pairs, self.pairs * self.sums, self.sums].map(number);
        format!("{types} types, {all} sums, {each} of a type")
    }

    /// Sum `s3` of an owner is that of the numbers `n3` of its members.
    fn text(&self) -> String {
        let mut text = "schema scale\n".to_owned();
        let mut line =
            |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string takes any text");
        for pair in 0..self.pairs {
            line(format_args!("type Owner{pair} in owners{pair} {{\n  members: inverse Member{pair}.owner"));
            for sum in 0..self.sums {
                line(format_args!("  s{sum} := sum(self.members.n{sum})"));
            }
            line(format_args!("}}\ntype Member{pair} in members{pair} {{\n  owner: link Owner{pair}"));
            for number in 0..self.sums {
                line(format_args!("  n{number}: int"));
            }
            line(format_args!("}}"));
        }
        text
    }

    fn import(&self, data: &Data) -> Result<()> {
        import_lines(data, "Owner0", "_id", 0..OWNERS, |at| format!("o{at}"))?;
        import_lines(data, "Member0", "_id,owner,n0", 0..MEMBERS, |at| format!("m{at},o{},{at}", at % OWNERS))
    }

    fn request(&self, random: &mut Random, out: &mut Vec<u8>) {
        let (member, field, n) = (random.below(MEMBERS), random.below(self.sums), random.below(1_000_000));
        http::request(out, "PATCH", &format!("/api/members0/m{member}"), &format!("{{\"n{field}\":{n}}}"));
    }
}

/// What was found of a schema.
struct Found {
    first: Duration,
    again: Duration,
    sample: Sample,
    each: Option<Duration>,
    memory: Option<u64>,
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let binary = Binary::of(options)?;
    let processors = "server's processors, each write";
    let head = ["schema", "first start", "start", "memory", "writes /s", "p50", "p99", processors];
    let mut table = Table::new("scale: one write, as the schema grows", &head);
    for shape in SHAPES {
        let Found { first, again, sample, each, memory: bytes } = measure(&binary, &shape, options)?;
        let [first, again, p50, p99] = [first, again, sample.p50, sample.p99].map(|it| time(Some(it)));
        let per_second = count(Some(sample.per_second));
        table.row(vec![shape.name(), first, again, memory(bytes), per_second, p50, p99, time(each)]);
    }
    table.note("Derived values were checked against the facts at the end of each schema.");
    record::print(&table);
    Ok(())
}

fn measure(binary: &Binary, shape: &Shape, options: &Options) -> Result<Found> {
    progress(&shape.name());
    let data =
        Data::create(binary, &options.dir, root().join("bench/point.cor"))?.with_schema(&shape.text())?;
    let begun = Instant::now();
    let data = data.serve()?.stop()?;
    let first = begun.elapsed();
    shape.import(&data)?;
    let begun = Instant::now();
    let corollary = data.serve()?;
    let again = begun.elapsed();
    let mut random = Random::new(1);
    let connections = options.most_connections();
    let mut load = |interval: Duration| {
        let next = |out: &mut Vec<u8>| shape.request(&mut random, out);
        client::load(&[corollary.address()], (connections, Arrivals::Answered), interval, 1, &|| false, next)
    };
    // What is asked for first is not counted.
    load(options.interval / 5)?;
    let before = corollary.cpu_time();
    let sample = load(options.interval)?.sample;
    let after = corollary.cpu_time();
    let writes = sample.per_second * options.interval.as_secs_f64();
    let each = before.zip(after).map(|(before, after)| (after - before).div_f64(writes));
    let memory = corollary.peak_memory();
    corollary.stop()?.check()?;
    record::sample(&shape.name(), connections, "Corollary", &sample);
    Ok(Found { first, again, sample, each, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_have_no_mistakes() {
        for shape in [Shape { pairs: 2, sums: 3 }, Shape { pairs: 1, sums: 1 }] {
            let checked = corollary_schema::check(&shape.text(), &mut corollary_schema::Ids::default());
            assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
        }
    }

    #[test]
    fn names_tell_what_there_is() {
        assert_eq!(SHAPES[2].name(), "10,000 types, 5,000 sums, 1 of a type");
        assert_eq!(SHAPES[5].name(), "2 types, 1,000 sums, 1,000 of a type");
    }
}
