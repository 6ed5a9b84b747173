//! The run that is recorded: clients of a bank write, while the server is stopped and killed, and starts anew.
//!
//! It is killed between two operations on its files, at any of them: while it makes its folder, while it starts and takes
//! up what it left, while clients write, while the journal goes into the database.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::disk::{Disk, Image, Manner, read};
use super::trace::{Operation, Trace, read_all};
use crate::common::*;
use crate::crash::bank::{Asked, BANK, CLIENTS, Known, Writer, verify};

/// The same with more that follows: an index, and values that are filled while the clients write.
fn wider() -> String {
    BANK.replace("balance: int default 0", "balance: int default 0, index\n  twice    := self.balance * 2")
}

/// A transfer between banks changes the rank of more accounts than this: the rest is done in steps.
const BUDGET: &str = "4";

const JOURNAL_MS: [&str; 3] = ["1", "15", "3000"];

/// The data, in a folder that the server makes with the one above it.
const DATA: &str = "disk/a/data";

/// What was recorded.
pub struct Recorded {
    pub root: u64,
    pub operations: Vec<Operation>,
    pub asked: Vec<Asked>,
    /// The moment from which on there is a bank.
    pub begun: u64,
    /// Kills while it started, kills at work, and ends in peace.
    pub ends: [usize; 3],
    /// What the server had in its folder at some moments.
    found: Vec<(usize, Image)>,
    trace: Option<(Place, Trace)>,
}

/// Starts it, after some starts that are cut short.
fn start(place: &Place, trace: &Trace, random: &mut Random, kills: usize, ends: &mut [usize; 3]) -> Server {
    let journal = JOURNAL_MS[random.below(JOURNAL_MS.len() as u64) as usize];
    let options = ["--update-budget", BUDGET, "--journal-ms", journal];
    for _ in 0..kills {
        trace.die_at(trace.length() + 1 + random.below(60) as usize);
        match Server::try_start(place, &options) {
            Err(_) => ends[0] += 1,
            // It came further than that.
            Ok(server) => trace.kill(server),
        }
    }
    trace.die_at(0);
    Server::try_start(place, &options).unwrap_or_else(|error| panic!("it does not start: {error}"))
}

/// Records so many lives of a server, with so many acknowledged writes in each, about.
pub fn record(seed: u64, lives: usize, writes: u64) -> Recorded {
    let mut random = Random::new(seed);
    let mut place = Place::new(BANK);
    place.data = DATA.into();
    let trace = Trace::of(&mut place, "disk");
    let (mut ends, mut found) = ([0; 3], Vec::new());
    let mut server = start(&place, &trace, &mut random, 8, &mut ends);
    let mut known = Known::begin(&server);
    let begun = trace.length() as u64;
    let clock = trace.clock();
    known.clock = Some(Box::new(move || clock() as u64));
    let known = Mutex::new(known);
    for life in 0..lives {
        let stopped = AtomicBool::new(false);
        let is_last = life + 1 == lives;
        let killed = !is_last && random.below(3) > 0;
        thread::scope(|scope| {
            for me in 0..CLIENTS {
                let mut writer = Writer::new(&server, random.below(u64::MAX), &known).refusable();
                let stopped = &stopped;
                scope.spawn(move || {
                    let outcome = writer.run(me, &|| !stopped.load(Ordering::Relaxed));
                    assert!(killed || outcome.is_ok(), "{outcome:?}");
                });
            }
            let since = known.lock().unwrap().writes;
            let until = |writes: u64| {
                let begun = Instant::now();
                while known.lock().unwrap().writes < since + writes {
                    assert!(begun.elapsed() < PATIENCE, "nothing is written");
                    thread::sleep(Duration::from_millis(1));
                }
            };
            until(writes / 2);
            if life == lives / 2 {
                let text = [("content-type", "text/plain")];
                let schema = wider();
                // It may find no moment between two commits.
                let mut client = server.client();
                while {
                    let reply = client.request("PUT", "/api/_schema", &text, schema.as_bytes());
                    assert!(matches!(reply.status, 200 | 503), "{}", reply.text());
                    reply.status == 503
                } {}
            }
            until(writes);
            if killed {
                trace.die_at(trace.length() + 1 + random.below(150) as usize);
                server.wait();
            }
            stopped.store(true, Ordering::Relaxed);
        });
        if killed {
            ends[1] += 1;
        } else {
            let (status, _) = server.stop();
            assert!(status.success());
            ends[2] += 1;
        }
        found.push((trace.length(), read(&trace.folder)));
        if is_last {
            break;
        }
        let kills = random.below(3) as usize;
        server = start(&place, &trace, &mut random, kills, &mut ends);
        verify(&server, &mut known.lock().unwrap(), &format!("COROLLARY_SEED={seed}, life {life}"));
    }
    let known = known.into_inner().unwrap();
    let (root, operations) = (trace.root(), trace.operations());
    Recorded { root, operations, asked: known.asked, begun, ends, found, trace: Some((place, trace)) }
}

impl Recorded {
    /// Keeps it in a new folder, whose name comes back; nothing if it comes from one.
    pub fn keep(&self) -> Option<String> {
        let (_, trace) = self.trace.as_ref()?;
        let folder = tempfile::Builder::new().prefix("corollary-power-loss-").tempdir().unwrap().keep();
        fs::copy(&trace.path, folder.join("trace")).unwrap();
        let asked: Vec<Json> = self
            .asked
            .iter()
            .map(|it| json!([it.paths, it.to, it.to.is_some(), it.at, it.acknowledged]))
            .collect();
        let kept = json!({"folder": trace.folder, "root": self.root, "begun": self.begun, "asked": asked});
        fs::write(folder.join("recorded.json"), kept.to_string()).unwrap();
        Some(folder.display().to_string())
    }

    /// Files whose names begin so.
    pub fn made(&self, name: &str) -> usize {
        let begins = |path: &Path| path.file_name().is_some_and(|it| it.to_str().unwrap().starts_with(name));
        let made = |it: &&Operation| matches!(it, Operation::Create { path, .. } if begins(path));
        self.operations.iter().filter(made).count()
    }

    /// Writes to the files of this name, of which each may be a page.
    pub fn written(&self, name: &str) -> usize {
        let mut inodes = BTreeSet::new();
        let is_one = |it: &&Operation| match it {
            Operation::Create { path, inode } => {
                match path.ends_with(name) {
                    true => inodes.insert(*inode),
                    false => inodes.remove(inode),
                };
                false
            }
            Operation::Write { inode, .. } => inodes.contains(inode),
            _ => false,
        };
        self.operations.iter().filter(is_one).count()
    }

    /// Was it recorded by another run of this test?
    pub fn is_loaded(&self) -> bool {
        self.trace.is_none()
    }

    /// One that was kept.
    pub fn load(folder: &Path) -> Recorded {
        let kept: Json = serde_json::from_slice(&fs::read(folder.join("recorded.json")).unwrap()).unwrap();
        let number = |json: &Json| json.as_u64().unwrap();
        let asked = |it: &Json| Asked {
            paths: it[0].as_array().unwrap().iter().map(|path| path.as_str().unwrap().to_owned()).collect(),
            to: it[2].as_bool().unwrap().then(|| it[1].as_u64()),
            at: number(&it[3]),
            acknowledged: it[4].as_array().map(|it| (number(&it[0]), number(&it[1]))),
        };
        let within = Path::new(kept["folder"].as_str().unwrap());
        Recorded {
            root: number(&kept["root"]),
            operations: read_all(&fs::read(folder.join("trace")).unwrap(), within),
            asked: kept["asked"].as_array().unwrap().iter().map(asked).collect(),
            begun: number(&kept["begun"]),
            ends: [0; 3],
            found: Vec::new(),
            trace: None,
        }
    }

    /// What the operations make is what the server had: nothing that it did is missing in them.
    pub fn is_whole(&self) {
        let (mut disk, mut done, mut random) = (Disk::new(self.root), 0, Random::new(0));
        for (moment, found) in &self.found {
            self.operations[done..*moment].iter().for_each(|operation| disk.apply(operation));
            done = *moment;
            let made = disk.image(Manner::Everything, &mut random);
            let names = |image: &Image| image.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&made), names(found), "moment {moment}");
            for (path, content) in found {
                assert!(made[path] == *content, "{path:?} at moment {moment} is not what was recorded");
            }
        }
    }
}
