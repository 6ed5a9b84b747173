//! Measures the embedded store: `store_bench FOLDER ENTRIES SECONDS`, where FOLDER does not exist yet.
//!
//! It inserts `ENTRIES` entries of 200 bytes in batches of 40,000, then runs groups of transactions of two random gets and
//! three random puts each, every group one durable batch, for `SECONDS` at each size of group, and single gets last. The
//! store is one server's: a condition on a revision in each batch, one committing thread. Prints one line for each part.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use corollary_store::{Batch, EmbeddedOptions, EmbeddedStore, Keyspace, KeyspaceSpec, Store};

const META: Keyspace = Keyspace(0);
const DOCS: Keyspace = Keyspace(1);
const KEYSPACES: [KeyspaceSpec; 2] =
    [KeyspaceSpec { keyspace: META, name: "meta" }, KeyspaceSpec { keyspace: DOCS, name: "docs" }];

/// Rows of a batch of the filling.
const FILL_ROWS: u64 = 40_000;
/// Bytes of an entry's value; its key has 20 more.
const VALUE_BYTES: usize = 180;

struct Bench {
    store: EmbeddedStore,
    entries: u64,
    revision: u64,
    random: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, entries, seconds] = arguments.as_slice() else {
        return Err("store_bench FOLDER ENTRIES SECONDS".into());
    };
    let (entries, seconds) = (entries.parse()?, Duration::from_secs(seconds.parse()?));
    let store = EmbeddedStore::open(Path::new(folder), &KEYSPACES, EmbeddedOptions::default())?;
    let mut bench = Bench { store, entries, revision: 0, random: 1 };
    bench.fill()?;
    for group in [1, 16, 32, 128, 256] {
        bench.transactions(group, seconds)?;
    }
    bench.gets(seconds)?;
    println!("{:?}", bench.store.stats()?);
    let closing = Instant::now();
    drop(bench);
    println!("closed in {:.2} s", closing.elapsed().as_secs_f64());
    Ok(())
}

impl Bench {
    fn fill(&mut self) -> Result<(), Box<dyn Error>> {
        let started = Instant::now();
        let mut times = Vec::new();
        let mut bytes = 0;
        for from in (0..self.entries).step_by(FILL_ROWS as usize) {
            let mut batch = Batch::new();
            for number in from..(from + FILL_ROWS).min(self.entries) {
                batch.put(DOCS, key(number), self.value());
            }
            bytes += batch.bytes();
            times.push(self.commit(batch)?);
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "fill: {:.0} rows/s, {:.1} MB/s; commit {}",
            self.entries as f64 / seconds,
            bytes as f64 / seconds / 1e6,
            percentiles(&mut times)
        );
        Ok(())
    }

    fn transactions(&mut self, group: u64, interval: Duration) -> Result<(), Box<dyn Error>> {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let mut times = Vec::new();
        while started.elapsed() < interval {
            let began = Instant::now();
            let mut batch = Batch::new();
            let keys: Vec<Vec<u8>> = (0..2 * group).map(|_| key(self.random() % self.entries)).collect();
            let slices: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let found = self.store.snapshot()?.get_many(DOCS, &slices)?;
            if found.iter().any(Option::is_none) {
                return Err("an entry is missing".into());
            }
            for _ in 0..3 * group {
                batch.put(DOCS, key(self.random() % self.entries), self.value());
            }
            self.commit(batch)?;
            times.push(began.elapsed());
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "groups of {group}: {:.0} transactions/s, {:.2} cores; group {}",
            times.len() as f64 * group as f64 / seconds,
            (cpu_seconds() - cpu) / seconds,
            percentiles(&mut times)
        );
        Ok(())
    }

    fn gets(&mut self, interval: Duration) -> Result<(), Box<dyn Error>> {
        for many in [1, 1000] {
            let started = Instant::now();
            let mut count = 0u64;
            while started.elapsed() < interval {
                let snapshot = self.store.snapshot()?;
                for _ in 0..many {
                    let key = key(self.random() % self.entries);
                    snapshot.get(DOCS, &key)?.ok_or("an entry is missing")?;
                }
                count += many;
            }
            println!("gets, {many} per snapshot: {:.0}/s", count as f64 / started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Commits on the condition that nobody else has; how long that took.
    fn commit(&mut self, mut batch: Batch) -> Result<Duration, Box<dyn Error>> {
        let was = (self.revision > 0).then(|| self.revision.to_be_bytes().to_vec());
        batch.require(META, "revision", was);
        self.revision += 1;
        batch.put(META, "revision", self.revision.to_be_bytes());
        let began = Instant::now();
        self.store.commit(&batch)?;
        Ok(began.elapsed())
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = Vec::with_capacity(VALUE_BYTES);
        while value.len() < VALUE_BYTES {
            value.extend_from_slice(&self.random().to_be_bytes());
        }
        value.truncate(VALUE_BYTES);
        value
    }
}

/// Twenty bytes, all of the same kind at first, in an order that is that of the numbers.
fn key(number: u64) -> Vec<u8> {
    let mut key = b"docs/of/kind".to_vec();
    key.extend_from_slice(&number.to_be_bytes());
    key
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} p99 {:.2} max {:.1} ms", at(0.5), at(0.99), at(1.0))
}

/// Processor time of this process, where the system tells.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
