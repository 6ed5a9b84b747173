//! The servers of a round, what they stand on, and what is done to them.
//!
//! Each server has a folder of its own and the shim of [`faults`](crate::crash::faults) before it: its disk can fail, its
//! clock can be wrong. A database is reached through a [`Network`] that can be silent or broken. Invariant: a fault is
//! healed before the next begins; the clocks alone stay as they are.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use corollary_store::postgres::testing::Server as Database;
use rustix::process::Signal;

use crate::common::wire::{Network, Wire};
use crate::common::*;
use crate::crash::faults::{Calls, Disk, EIO, ENOSPC, Fault};

/// What a round runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    Embedded,
    Postgres,
    PostgresOfTwo,
}

/// What is done to a server, or to its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    Kill,
    Pause,
    DiskFull,
    WritesFail,
    SyncsFail,
    ClockForward,
    ClockBack,
    DatabaseRestart,
    DatabaseCrash,
    NetworkCut,
    NetworkSilent,
}

const OF_ALL: [Harm; 5] = [Harm::Kill, Harm::Kill, Harm::Pause, Harm::ClockForward, Harm::ClockBack];
const OF_DISKS: [Harm; 3] = [Harm::DiskFull, Harm::WritesFail, Harm::SyncsFail];
const OF_DATABASES: [Harm; 4] =
    [Harm::DatabaseRestart, Harm::DatabaseCrash, Harm::NetworkCut, Harm::NetworkSilent];

impl Setting {
    pub const ALL: [Setting; 3] = [Setting::Embedded, Setting::Postgres, Setting::PostgresOfTwo];

    /// What may be done in it.
    pub fn harms(self) -> Vec<Harm> {
        let more = if self == Setting::Embedded { &OF_DISKS[..] } else { &OF_DATABASES[..] };
        [&OF_ALL[..], more].concat()
    }
}

/// How long it may take until a server is ready again.
pub const READY: Duration = Duration::from_secs(60);

/// Nanoseconds of an hour.
const HOUR: i64 = 3_600_000_000_000;

/// Where the servers are; none while one is not there.
pub type Addresses = Arc<Vec<RwLock<Option<String>>>>;

struct Node {
    place: Place,
    disk: Disk,
    server: Option<Server>,
    /// Nanoseconds that its clock is ahead.
    ahead: i64,
    /// How often it was started, about.
    lives: usize,
}

impl Node {
    /// Keeps what the server before said under a name of its own.
    fn keep_said(&mut self) {
        let said = self.place.path("stderr.txt");
        if said.exists() {
            std::fs::rename(said, self.place.path(&format!("stderr-{}.txt", self.lives))).unwrap();
            self.lives += 1;
        }
    }
}

/// See the module.
pub struct Cluster {
    nodes: Vec<Node>,
    database: Option<(Arc<Database>, Network)>,
    pub addresses: Addresses,
    /// How often a server was started anew.
    pub restarts: usize,
    /// Nanoseconds that a clock was ahead, at most.
    latest: i64,
    /// The longest time that one took to be ready again.
    pub longest: Duration,
}

impl Cluster {
    /// One over an empty store; the database is `name` in `database`.
    pub fn new(setting: Setting, schema: &str, database: &Arc<Database>, name: &str) -> Cluster {
        let database = (setting != Setting::Embedded).then(|| {
            database.database(name);
            (Arc::clone(database), Network::to(database.folder().join(".s.PGSQL.5432")))
        });
        let node = |_| {
            let mut place = Place::new(schema);
            let disk = Disk::of(&mut place);
            place.store = database.as_ref().map(|(_, network)| {
                format!("host=127.0.0.1 port={} user=postgres dbname={name}", network.port)
            });
            Node { place, disk, server: None, ahead: 0, lives: 0 }
        };
        let nodes: Vec<Node> = (0..1 + usize::from(setting == Setting::PostgresOfTwo)).map(node).collect();
        let addresses = Arc::new(nodes.iter().map(|_| RwLock::new(None)).collect());
        let mut cluster =
            Cluster { nodes, database, addresses, restarts: 0, latest: 0, longest: Duration::ZERO };
        cluster.heal();
        cluster.restarts = 0;
        cluster
    }

    /// Does something to one of the servers, or to what it stands on, and heals it.
    pub fn harm(&mut self, harm: Harm, random: &mut Random) {
        let at = random.below(self.nodes.len() as u64) as usize;
        let time = Duration::from_millis(100 + random.below(2_900));
        let (pass, half) = (random.below(40), random.below(2) == 0);
        let disk = |calls, fail, error| Fault { calls, pass, fail, error, half };
        match harm {
            Harm::Kill => self.kill(at),
            Harm::Pause => {
                let Some(server) = &self.nodes[at].server else { return };
                server.signal(Signal::STOP);
                std::thread::sleep(time);
                server.signal(Signal::CONT);
            }
            Harm::DiskFull => self.fail(at, disk(Calls::Space, u32::MAX.into(), ENOSPC), time),
            Harm::WritesFail => self.fail(at, disk(Calls::Writes, 1, EIO), time),
            Harm::SyncsFail => self.fail(at, disk(Calls::Syncs, 1, EIO), time),
            Harm::ClockForward | Harm::ClockBack => {
                let most = if random.below(2) == 0 { HOUR / 60 } else { 72 * HOUR };
                let by = random.below(most as u64) as i64;
                let node = &mut self.nodes[at];
                node.ahead += if harm == Harm::ClockForward { by } else { -by };
                node.disk.set_clock(node.ahead);
                self.latest = self.latest.max(node.ahead);
            }
            Harm::DatabaseRestart | Harm::DatabaseCrash => {
                let Some((database, _)) = &self.database else { return };
                if harm == Harm::DatabaseCrash {
                    database.stop_at_once();
                } else {
                    database.stop();
                }
                let database = Arc::clone(database);
                self.kill_perhaps(at, random);
                std::thread::sleep(time / 4);
                database.start_again();
            }
            Harm::NetworkCut | Harm::NetworkSilent => {
                let Some((_, network)) = &self.database else { return };
                let wire = if harm == Harm::NetworkCut { Wire::Broken } else { Wire::Silent };
                network.set(wire);
                self.kill_perhaps(at, random);
                std::thread::sleep(time);
                if let Some((_, network)) = &self.database {
                    network.set(Wire::Whole);
                }
            }
        }
        self.heal();
    }

    fn fail(&self, at: usize, fault: Fault, time: Duration) {
        self.nodes[at].disk.fail(fault);
        std::thread::sleep(time);
        self.nodes[at].disk.heal();
    }

    fn kill(&mut self, at: usize) {
        *self.addresses[at].write().unwrap() = None;
        if let Some(server) = self.nodes[at].server.take() {
            server.kill();
        }
    }

    /// Some are killed in the middle of something else.
    fn kill_perhaps(&mut self, at: usize, random: &mut Random) {
        if random.below(4) == 0 {
            self.kill(at);
        }
    }

    /// Kills all of them, and starts them anew.
    pub fn restart(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.kill(at));
        self.heal();
    }

    /// Starts what has ended, and waits until all are ready.
    pub fn heal(&mut self) {
        let begun = Instant::now();
        for (node, address) in self.nodes.iter_mut().zip(self.addresses.iter()) {
            loop {
                assert!(
                    begun.elapsed() < READY,
                    "it is not ready again: {:?}",
                    node.server.as_ref().map(Server::said)
                );
                if node.server.as_mut().is_some_and(|server| server.ended().is_some()) {
                    *address.write().unwrap() = None;
                    node.server = None;
                }
                let Some(server) = &node.server else {
                    let options = ["--log-days", "36500", "--queue-seconds", "2"];
                    node.keep_said();
                    let started = Server::try_start(&node.place, &options);
                    let server = started.unwrap_or_else(|error| panic!("it does not start: {error}"));
                    *address.write().unwrap() = Some(server.address.clone());
                    node.server = Some(server);
                    self.restarts += 1;
                    continue;
                };
                let ready = Client::new(&server.address).try_request("GET", "/readyz", &[], b"");
                if ready.is_ok_and(|reply| reply.status == 200) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.longest = self.longest.max(begun.elapsed());
    }

    /// Has all clocks go on from the farthest that one has been at: no time stands still any more.
    pub fn agree_on_time(&mut self) {
        for node in &mut self.nodes {
            node.ahead = self.latest;
            node.disk.set_clock(node.ahead);
        }
    }

    /// The servers, all of which run.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().map(|node| node.server.as_ref().expect("it runs"))
    }

    /// Kills all, and keeps their folders, with what they stored and said and what the clients know; where that is. A database is kept
    /// as a backup of it, if one can be made, for it goes with its server.
    pub fn keep(&mut self, ledger: &str) -> String {
        self.nodes.iter_mut().filter_map(|node| node.server.take()).for_each(Server::kill);
        let nodes = std::mem::take(&mut self.nodes);
        let folders: Vec<PathBuf> = nodes
            .into_iter()
            .enumerate()
            .map(|(at, node)| {
                if let (0, Some(store)) = (at, &node.place.store) {
                    let file = node.place.path("database.backup");
                    let made = run(&["backup", file.to_str().unwrap(), "--store", store]);
                    node.place.write("backup.txt", stdout(&made) + &stderr(&made));
                }
                if at == 0 {
                    node.place.write("ledger.txt", ledger);
                }
                node.place.keep()
            })
            .collect();
        folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    /// Stops all, in peace, and has `corollary check` look at what they leave.
    pub fn end(&mut self) {
        let servers: Vec<Server> = self.nodes.iter_mut().filter_map(|node| node.server.take()).collect();
        for server in servers {
            let (status, _) = server.stop();
            assert!(status.success(), "{status}");
        }
        self.nodes[0].place.check();
    }
}
