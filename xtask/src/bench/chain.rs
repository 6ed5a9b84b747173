//! `chain`: set the salary of one random employee; the sums of the section, the division, the region and the company follow in the same
//! commit, each of what is active below it.
//!
//! `--orders` is the number of employees, `--customers` that of sections; each level above has a tenth of the one below.

use super::corollary::Data;
use super::options::Options;
use super::pair::{Asked, Filling, Pair, import_lines};
use super::point::at_least;
use super::table::{COMPARISON, Table, comparison};
use super::work::Random;
use super::{Result, http, sql};

/// The aim, against triggers.
const TIMES: f64 = 10.0;

/// How many there are of each level, from the employees up.
struct Levels {
    employees: u64,
    sections: u64,
    divisions: u64,
    regions: u64,
    companies: u64,
}

impl Levels {
    fn of(options: &Options) -> Levels {
        let Options { orders: employees, customers: sections, .. } = *options;
        let tenth = |of: u64| (of / 10).max(1);
        let (divisions, regions) = (tenth(sections), tenth(tenth(sections)));
        Levels { employees, sections, divisions, regions, companies: tenth(regions) }
    }
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let levels = Levels::of(options);
    let Levels { employees, sections, divisions, regions, companies } = levels;
    let filling = Filling {
        schema: "chain.cor",
        tables: &["chain_schema.sql", "chain_data.sql", "chain_triggers.sql"],
        verify: "chain_verify.sql",
        variables: vec![
            ("employees", employees),
            ("sections", sections),
            ("divisions", divisions),
            ("regions", regions),
            ("companies", companies),
        ],
        import: &|data| import(data, &levels),
    };
    let pair = Pair::open(options, filling)?;
    let script = std::fs::read_to_string(sql("chain.sql")).map_err(|error| format!("chain.sql: {error}"))?;
    let request = |random: &mut Random, out: &mut Vec<u8>| {
        let (employee, salary) = (1 + random.below(employees), 1 + random.below(1_000_000));
        let (path, body) = (format!("/api/employees/e{employee}"), format!("{{\"salary\":{salary}}}"));
        http::request(out, "PATCH", &path, &body);
    };
    let asked = Asked { name: "one salary", script: Some(&script), operations: [1; 2], request: &request };
    let title = format!(
        "chain: set one salary, sums of {sections} sections, {divisions} divisions, {regions} regions and {companies} companies \
         follow"
    );
    let mut table = Table::new(title, &COMPARISON);
    pair.warm_up(&asked, options)?;
    for &connections in &options.connections {
        let samples = pair.compare(&asked, connections, options)?;
        table.row(comparison(asked.name, connections, samples, &at_least(TIMES, samples)));
    }
    pair.finish(table)
}

/// The same as `bench/postgres/chain_data.sql`.
fn import(data: &Data, levels: &Levels) -> Result<()> {
    let &Levels { employees, sections, divisions, regions, companies } = levels;
    import_lines(data, "Company", "_id", 1..=companies, |at| format!("c{at}"))?;
    let inner = [
        ("Region", "company", regions, ('r', 'c'), companies),
        ("Division", "region", divisions, ('d', 'r'), regions),
        ("Section", "division", sections, ('s', 'd'), divisions),
    ];
    for (ty, link, count, (own, above), of) in inner {
        import_lines(data, ty, &format!("_id,{link},active"), 1..=count, |at| {
            format!("{own}{at},{above}{},{}", 1 + (at - 1) % of, at % 10 != 0)
        })?;
    }
    import_lines(data, "Employee", "_id,section,age,salary", 1..=employees, |at| {
        format!("e{at},s{},{},{}", 1 + (at - 1) % sections, 16 + at % 50, at * 37 % 1000)
    })
}
