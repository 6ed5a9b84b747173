//! `instructions`: what the server executes for one operation, in instructions, counted by valgrind's callgrind: a number that
//! is the same on a busy machine, so that what a change costs is seen without a quiet one.
//!
//! One server under callgrind is asked over one connection, one request at a time. Each operation is done some times before it is
//! counted, so that caches are filled. Counted is what all of the server's threads do meanwhile; what the kernel does is not.
//! `--top N` also prints the functions in which most of it is spent, with all that they call.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::corollary::{Binary, Data, Ready};
use super::http::Connection;
use super::options::Options;
use super::record;
use super::shop::fill_data;
use super::table::{Table, count};
use super::work::Sizes;
use super::{Result, process, progress, root};

/// The shop: small, because a program under callgrind is some fifty times slower, and because the number of resources should not be
/// what is measured.
const SIZES: Sizes = Sizes { orders: 20_000, customers: 200 };

/// How often an operation is done before it is counted, and how often it is counted.
const BEFORE: u64 = 200;
const COUNTED: u64 = 200;

/// Watches that a write concerns in [`OPERATIONS`].
const WATCHES: u64 = 100;

/// Who does nothing for so long is at rest: longer than a commit stands in the journal alone.
const REST: Duration = Duration::from_millis(3_500);

/// How long callgrind may take to write what it has counted.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request: method, path, body.
type Asked = (&'static str, String, String);

/// What is counted: its name, how many operations a request stands for, and the request by its number.
type Operation = (&'static str, u64, fn(u64) -> Asked);

/// See the module.
const OPERATIONS: [Operation; 10] = [
    ("GET /healthz", 1, |_| ("GET", "/healthz".into(), String::new())),
    ("read an order", 1, |n| ("GET", format!("/api/orders/o{}", order(n % COUNTED)), String::new())),
    ("read an order with its customer", 1, |n| {
        ("GET", format!("/api/orders/o{}?expand=customer", order(n % COUNTED)), String::new())
    }),
    ("100 orders of a customer, dearest first, each", 100, |n| {
        let customer = 1 + n % SIZES.customers;
        let path = format!("/api/orders?filter=customer='c{customer}'&order=-amount&limit=100");
        ("GET", path, String::new())
    }),
    ("count a customer's dear orders", 1, |n| {
        let customer = 1 + n % SIZES.customers;
        let path =
            format!("/api/orders?filter=customer='c{customer}'%20and%20amount%3E500&count=true&limit=1");
        ("GET", path, String::new())
    }),
    ("set an order's amount", 1, |n| ("PATCH", format!("/api/orders/o{}", order(n)), amount(n))),
    ("100 amounts in a batch, each", 100, |n| {
        let item = |k| {
            let (order, body) = (order(100 * n + k), amount(n + k));
            format!("{{\"method\":\"PATCH\",\"path\":\"/orders/o{order}\",\"body\":{body}}}")
        };
        ("POST", "/api/_batch".into(), format!("[{}]", (0..100).map(item).collect::<Vec<_>>().join(",")))
    }),
    ("rename a customer of 100 orders", 1, |n| {
        (
            "PATCH",
            format!("/api/customers/c{}", 1 + n % SIZES.customers),
            format!("{{\"name\":\"Name {n}\"}}"),
        )
    }),
    ("create an order", 1, |n| {
        let customer = 1 + n % SIZES.customers;
        let body = format!("{{\"_id\":\"new{n}\",\"amount\":5,\"customer\":\"c{customer}\"}}");
        ("POST", "/api/orders".into(), body)
    }),
    ("delete an order", 1, |n| ("DELETE", format!("/api/orders/new{n}"), String::new())),
];

/// An order by a number; numbers that follow each other lie apart.
fn order(number: u64) -> u64 {
    1 + number * 7 % SIZES.orders
}

/// The body that sets an amount; another one each time that a number comes back.
fn amount(number: u64) -> String {
    format!("{{\"amount\":{}}}", number * 13 % 9_973)
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let data = Data::create(&Binary::of(options)?, &options.dir, root().join("bench/point.cor"))?;
    progress("filling Corollary");
    fill_data(&data, SIZES, 0)?;
    let counter = Counter::start(&data)?;
    let mut table = Table::new(
        "instructions: what the server executes for one operation",
        &["operation", "instructions"],
    );
    for (name, operations, request) in OPERATIONS {
        progress(name);
        let total = counter.count(request)?;
        let each = total as f64 / (COUNTED * operations) as f64;
        table.row(vec![name.to_owned(), count(Some(each))]);
        if let Some(most) = options.top {
            println!("\n{name}\n{}", counter.functions(most)?);
        }
    }
    progress("set an order's amount, watched");
    let watching = counter.watch()?;
    let (name, _, request) = OPERATIONS[5];
    let each = counter.count(request)? as f64 / COUNTED as f64;
    table.row(vec![format!("{name}, beside {WATCHES} watches of others"), count(Some(each))]);
    drop(watching);
    counter.stop()?;
    table.note("Counted by callgrind: all threads of the server, over one connection, without the kernel.");
    record::print(&table);
    Ok(())
}

/// A server under callgrind.
struct Counter {
    server: Ready,
    /// What callgrind writes begins with it.
    out: PathBuf,
}

impl Counter {
    fn start(data: &Data) -> Result<Counter> {
        let out = data.folder().join("callgrind");
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=callgrind", "--instr-atstart=no", "--separate-threads=no"])
            // A copy by one instruction that repeats itself would be counted byte by byte.
            .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824")
            .arg(format!("--callgrind-out-file={}", out.display()));
        let server = data.start_under("counted", valgrind)?;
        Ok(Counter { server, out })
    }

    fn stop(self) -> Result<()> {
        self.server.stop()
    }

    /// Tells callgrind something.
    fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("callgrind_control");
        command.args(arguments).arg(self.server.process().to_string());
        process::run(command).map(drop)
    }

    /// The instructions of [`COUNTED`] requests.
    fn count(&self, request: fn(u64) -> Asked) -> Result<u64> {
        let mut connection = Connection::open(self.server.address())?;
        let mut ask = |number| -> Result<()> {
            let (method, path, body) = request(number);
            let response = connection.send(method, &path, &body)?;
            match response.status {
                200..300 => Ok(()),
                status => Err(format!("{method} {path}: {status}\n{}", response.body).into()),
            }
        };
        (0..BEFORE).try_for_each(&mut ask)?;
        self.rest()?;
        for file in self.written()? {
            fs::remove_file(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        self.control(&["--zero"])?;
        self.control(&["--instr=on"])?;
        (BEFORE..BEFORE + COUNTED).try_for_each(&mut ask)?;
        self.control(&["--instr=off"])?;
        self.control(&["--dump"])?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            for file in self.written()? {
                let text = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                if let Some(total) = total(&String::from_utf8_lossy(&text)) {
                    return Ok(total);
                }
            }
            if Instant::now() > deadline {
                return Err("callgrind has written nothing".into());
            }
            process::tick()?;
        }
    }

    /// Waits until the server does nothing any more: what is put into the database behind a write is not counted with the next.
    fn rest(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = self.server.cpu_time();
        while Instant::now() < deadline {
            std::thread::sleep(REST);
            process::check()?;
            let now = self.server.cpu_time();
            if now == before {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// What callgrind has written.
    fn written(&self) -> Result<Vec<PathBuf>> {
        let folder = self.out.parent().unwrap_or(Path::new("/"));
        let failed = |error| format!("{}: {error}", folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("callgrind") {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// The functions of what was counted last, those first in which most is spent, with all that they call.
    fn functions(&self, most: usize) -> Result<String> {
        let mut found = String::new();
        for file in self.written()? {
            let mut command = Command::new("callgrind_annotate");
            command.args(["--inclusive=yes", "--auto=no", "--threshold=99"]).arg(file);
            let printed = process::run(command)?.stdout;
            let lines = printed.lines().skip_while(|line| !line.starts_with("Ir")).skip(2);
            lines.take(most).for_each(|line| found.push_str(&format!("{line}\n")));
        }
        Ok(found)
    }

    /// Watches of single customers that no request of [`OPERATIONS`] is about.
    fn watch(&self) -> Result<Vec<Connection>> {
        (0..WATCHES)
            .map(|n| {
                let mut connection = Connection::open(self.server.address())?;
                let path = format!("/api/orders?watch=true&filter=amount%3D{}", 1_000_000 + n);
                connection.begin("GET", &path)?;
                Ok(connection)
            })
            .collect()
    }
}

/// The number of instructions in what callgrind wrote, if that is whole.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")))?;
    line.trim().parse().ok().filter(|total| *total > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_found_at_the_end_of_what_is_whole() {
        assert_eq!(total("events: Ir\nsummary: 7\n\nfn=(1)\n1 7\n\ntotals: 123\n"), Some(123));
        assert_eq!(total("events: Ir\n\nfn=(1)\n1 7\n"), None);
    }

    #[test]
    fn what_is_created_is_what_is_deleted() {
        let created: Vec<String> = (0..BEFORE + COUNTED).map(|n| (OPERATIONS[8].2)(n).2).collect();
        for (n, body) in (0..).zip(created) {
            let id = (OPERATIONS[9].2)(n).1.rsplit('/').next().map(str::to_owned).unwrap_or_default();
            assert!(body.contains(&format!("\"{id}\"")), "{body} {id}");
        }
    }
}
