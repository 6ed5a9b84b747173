//! `watch`: how long until all of many watches have been told of one change, and what a change costs the server beside watches
//! with filters that it does not concern, and beside those that it does.
//!
//! An item belongs to a group. On one side a watch has the filter `group = 'gN'`, on the other one, etcd, a watch is of the keys that
//! begin with the group's name. Both tell over HTTP, each watch over a connection of its own; both are durable.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::bare::Bare;
use super::corollary::{Binary, Corollary, Data};
use super::etcd::Etcd;
use super::options::{Options, Side};
use super::sample::middle;
use super::streams::Streams;
use super::table::{Aim, Table, count, ratio, time};
use super::{Result, process, progress, record, root};

/// The aim: 99 of 100 have it within.
const AIM: Duration = Duration::from_millis(50);

/// Groups with items.
const GROUPS: u64 = 1_000;

/// Changes of one turn, and of one request. Each group has ten of them.
const CHANGES: u64 = 10_000;
const BATCH: u64 = 100;

/// Watches of groups without items, one setting after the other.
const SILENT: [usize; 4] = [1, 100, 1_000, 10_000];

/// By how much a change may cost more beside the most silent watches than beside the fewest.
const FLAT: f64 = 1.2;

/// One of those that are compared.
enum Peer {
    Corollary(Corollary),
    Etcd(Etcd),
    /// Nobody: it sends.
    Bare(Bare),
}

/// Those who are compared, and the sends alone.
const SIDES: usize = 3;

/// What one turn of changes took.
struct Turn {
    /// Until the last reply.
    took: Duration,
    /// Of the server's processors.
    cpu: Option<Duration>,
    /// From the last reply until the last event.
    behind: Duration,
}

/// How one change was told, the medians of the rounds.
#[derive(Debug)]
struct Told {
    /// From the request on until half of the watches had been told, nearly all, and all.
    after: [Duration; 3],
    /// Of the server's processors.
    cpu: Option<Duration>,
    /// Of the processors that the client had, which are the same.
    client: Duration,
}

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut peers: Vec<Peer> = Vec::new();
    if options.runs(Side::Corollary) {
        let binary = Binary::of(options)?;
        let data = Data::create(&binary, &options.dir, root().join("bench/watch.cor"))?;
        peers.push(Peer::Corollary(data.serve()?));
    }
    if options.only.is_none() {
        peers.extend(Etcd::start(&options.dir)?.map(Peer::Etcd));
    }
    peers.push(Peer::Bare(Bare::start()?));
    for peer in peers.iter().filter(|peer| !peer.only_sends()) {
        progress(&format!("filling {}", peer.name()));
        let mut connection = Connection::open(peer.address())?;
        for from in (0..CHANGES).step_by(BATCH as usize) {
            connection.post(&peer.fill(from))?;
        }
    }
    let head = ["", "Corollary", "etcd", "ratio", "sends alone", "aim", "met"];
    let mut table = Table::new("watch: what many watches take, and what they cost", &head);
    let mut row = |what: &str, found: [Option<Duration>; SIDES], aim: Aim| {
        let times = found[0].zip(found[1]).map(|(own, peer)| peer.as_secs_f64() / own.as_secs_f64());
        let ([aim, met], [own, peer, sends]) = (aim.cells(), found.map(time));
        table.row(vec![what.to_owned(), own, peer, ratio(times), sends, aim, met]);
    };
    let told = each(&peers, |peer| one_change(peer, options).map(Some))?;
    let of = |told: &[Option<Told>; SIDES], at: usize| {
        [0, 1, 2].map(|side| told[side].as_ref().map(|it| it.after[at]))
    };
    let watchers = options.watches;
    for (at, part) in ["p50", "p99", "all"].into_iter().enumerate() {
        let found = of(&told, at);
        let aim = match at {
            1 => Aim::new(format!("< {} ms", AIM.as_millis()), found[0].map(|it| it < AIM)),
            _ => Aim::none(),
        };
        row(&format!("one change, {watchers} watches: {part} have it"), found, aim);
    }
    let cpu = [0, 1, 2].map(|side| told[side].as_ref().and_then(|it| it.cpu));
    row("processor time of the server for it", cpu, Aim::none());
    let client = [0, 1, 2].map(|side| told[side].as_ref().map(|it| it.client));
    row("processor time of the client for it", client, Aim::none());
    let changing = |peer: &Peer, watches, prefix| {
        (!peer.only_sends()).then(|| turns(peer, watches, prefix, options)).transpose()
    };
    let mut fewest = None;
    for silent in SILENT.into_iter().filter(|silent| *silent <= watchers.max(SILENT[0])) {
        let turns = each(&peers, |peer| changing(peer, silent, "s"))?;
        let cost = turns.map(|turn| turn.and_then(|turn| turn.cpu).map(|cpu| cpu / CHANGES as u32));
        let own = cost[0].map(|cost| cost.as_secs_f64());
        let aim = match silent {
            10_000 => {
                Aim::new(format!("< {FLAT}x of 1"), own.zip(fewest).map(|(most, few)| most < few * FLAT))
            }
            _ => Aim::none(),
        };
        fewest = fewest.or(own);
        row(&format!("processor time of a change, {silent} watches of others"), cost, aim);
    }
    let turns = each(&peers, |peer| changing(peer, GROUPS as usize, "g"))?;
    row(
        &format!("the same, {GROUPS} watches that see 10 each"),
        [0, 1, 2].map(|side| turns[side].as_ref().and_then(|turn| turn.cpu).map(|cpu| cpu / CHANGES as u32)),
        Aim::none(),
    );
    row(
        "the last of them is told after its reply",
        [0, 1, 2].map(|side| turns[side].as_ref().map(|turn| turn.behind)),
        Aim::none(),
    );
    let rates = [0, 1].map(|side| turns[side].as_ref().map(|turn| CHANGES as f64 / turn.took.as_secs_f64()));
    table.note(format!(
        "Changes in a second with these, {BATCH} in a request, over one connection: {}, etcd {}.",
        count(rates[0]),
        count(rates[1])
    ));
    table.note("etcd is asked over its HTTP gateway, which is a part of the server.");
    table.note(
        "The sends alone are those of threads of the client's process, whose processor time is with it.",
    );
    if !peers.iter().any(|peer| matches!(peer, Peer::Etcd(_))) {
        table.note("etcd is not installed here, or was not asked for.");
    }
    record::print(&table);
    Ok(())
}

/// What is found of each side: Corollary, etcd, the sends alone.
fn each<T>(
    peers: &[Peer],
    mut measure: impl FnMut(&Peer) -> Result<Option<T>>,
) -> Result<[Option<T>; SIDES]> {
    let mut found = [None, None, None];
    for peer in peers {
        let side = match peer {
            Peer::Corollary(_) => 0,
            Peer::Etcd(_) => 1,
            Peer::Bare(_) => 2,
        };
        found[side] = measure(peer)?;
    }
    Ok(found)
}

/// Changes one item that all watch, over and over.
fn one_change(peer: &Peer, options: &Options) -> Result<Told> {
    let watchers = options.watches;
    progress(&format!("{}: one change, {watchers} watches", peer.name()));
    let requests = (0..watchers).map(|_| peer.watch("g0"));
    let [opened, needle] = peer.texts();
    let mut streams = Streams::open(peer.address(), requests, opened, needle)?;
    let mut connection = Connection::open(peer.address())?;
    let mut rounds: [Vec<f64>; 3] = Default::default();
    let mut before = None;
    for round in 0..=options.rounds {
        // The first round warms up.
        if round == 1 {
            before = Some((peer.cpu_time(), process::own_cpu_time()));
        }
        streams.forget();
        let begun = Instant::now();
        connection.send(&peer.change(&[(0, round as u64 + 1)]))?;
        streams.until(|it| it.total() >= watchers as u64)?;
        connection.reply()?;
        let mut took: Vec<Duration> = streams.firsts().map(|first| first - begun).collect();
        took.sort_unstable();
        if round > 0 {
            for (rounds, share) in rounds.iter_mut().zip([0.5, 0.99, 1.0]) {
                let at = ((took.len() as f64 * share) as usize).clamp(1, took.len()) - 1;
                rounds.push(took[at].as_secs_f64());
            }
        }
    }
    let (server, client) = before.ok_or("no round was measured")?;
    let count = options.rounds as u32;
    let cpu = peer.cpu_time().zip(server).map(|(after, before)| (after - before) / count);
    let client = (process::own_cpu_time() - client) / count;
    let told = Told { after: rounds.map(|rounds| Duration::from_secs_f64(middle(rounds))), cpu, client };
    progress(&format!("{told:?}"));
    Ok(told)
}

/// Changes each item once, beside so many watches of groups whose names begin so; the medians of the rounds.
fn turns(peer: &Peer, watches: usize, prefix: &str, options: &Options) -> Result<Turn> {
    progress(&format!("{}: {CHANGES} changes, {watches} watches of `{prefix}`", peer.name()));
    let requests = (0..watches).map(|at| peer.watch(&format!("{prefix}{at}")));
    let [opened, needle] = peer.texts();
    let mut streams = Streams::open(peer.address(), requests, opened, needle)?;
    let expected = if prefix == "g" { CHANGES * watches as u64 / GROUPS } else { 0 };
    let mut connection = Connection::open(peer.address())?;
    let (mut took, mut cpu, mut behind) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=options.rounds {
        process::check()?;
        streams.forget();
        let (begun, before) = (Instant::now(), peer.cpu_time());
        for from in (0..CHANGES).step_by(BATCH as usize) {
            let changes: Vec<(u64, u64)> =
                (from..from + BATCH).map(|item| (item, round as u64 + 1)).collect();
            connection.send(&peer.change(&changes))?;
            connection.reply()?;
            streams.read(Duration::ZERO)?;
        }
        let replied = Instant::now();
        streams.until(|it| it.total() >= expected)?;
        if streams.total() != expected {
            return Err(format!("{} events came, and not {expected}", streams.total()).into());
        }
        if round > 0 {
            took.push((replied - begun).as_secs_f64());
            behind.push(replied.elapsed().as_secs_f64());
            cpu.extend(peer.cpu_time().zip(before).map(|(after, before)| (after - before).as_secs_f64()));
        }
    }
    let median = |seconds: Vec<f64>| Duration::from_secs_f64(middle(seconds));
    let cpu = (!cpu.is_empty()).then(|| median(cpu));
    Ok(Turn { took: median(took), cpu, behind: median(behind) })
}

impl Peer {
    fn name(&self) -> &'static str {
        match self {
            Peer::Corollary(_) => "Corollary",
            Peer::Etcd(_) => "etcd",
            Peer::Bare(_) => "sends alone",
        }
    }

    /// Does it know nothing of changes?
    fn only_sends(&self) -> bool {
        matches!(self, Peer::Bare(_))
    }

    fn address(&self) -> SocketAddr {
        match self {
            Peer::Corollary(server) => server.address(),
            Peer::Etcd(server) => server.address(),
            Peer::Bare(sends) => sends.address(),
        }
    }

    fn cpu_time(&self) -> Option<Duration> {
        match self {
            Peer::Corollary(server) => server.cpu_time(),
            Peer::Etcd(server) => server.cpu_time(),
            Peer::Bare(_) => None,
        }
    }

    /// What a watch tells once when it has begun, and once for each change. A quote in front would be looked at all over the text.
    fn texts(&self) -> [&'static str; 2] {
        match self {
            Peer::Corollary(_) | Peer::Bare(_) => ["synced\"", "modified\""],
            Peer::Etcd(_) => ["created\":true", "kv\":{"],
        }
    }

    /// The request that makes some of the items, from one on.
    fn fill(&self, from: u64) -> Vec<u8> {
        match self {
            Peer::Corollary(_) | Peer::Bare(_) => {
                let items = (from..from + BATCH)
                    .map(|item| format!("{{\"_id\":\"i{item}\",\"group\":\"g{}\"}}", item % GROUPS));
                post("/api/items", &format!("[{}]", items.collect::<Vec<_>>().join(",")))
            }
            Peer::Etcd(_) => self.change(&(from..from + BATCH).map(|item| (item, 0)).collect::<Vec<_>>()),
        }
    }

    /// The request that sets some items to a number each.
    fn change(&self, changes: &[(u64, u64)]) -> Vec<u8> {
        let mut body = String::new();
        let mut separator = '[';
        for (item, n) in changes {
            // Writing to a text does not fail.
            let _ = match self {
                Peer::Corollary(_) | Peer::Bare(_) => write!(
                    body,
                    "{separator}{{\"method\":\"PATCH\",\"path\":\"/api/items/i{item}\",\"body\":{{\"n\":{n}}}}}"
                ),
                Peer::Etcd(_) => {
                    let (key, value) = (key(*item), base64(n.to_string().as_bytes()));
                    write!(body, "{separator}{{\"request_put\":{{\"key\":\"{key}\",\"value\":\"{value}\"}}}}")
                }
            };
            separator = ',';
        }
        body.push(']');
        match self {
            Peer::Corollary(_) | Peer::Bare(_) => post("/api/_batch", &body),
            Peer::Etcd(_) => post("/v3/kv/txn", &format!("{{\"success\":{body}}}")),
        }
    }

    /// The request that watches a group.
    fn watch(&self, group: &str) -> Vec<u8> {
        match self {
            Peer::Corollary(_) | Peer::Bare(_) => {
                let path = format!("/api/items?watch=true&filter=group%3D'{group}'");
                format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n")
                    .into_bytes()
            }
            Peer::Etcd(_) => {
                // All keys that begin with the name and a slash.
                let [from, to] = ['/', '0'].map(|end| base64(format!("{group}{end}").as_bytes()));
                let asked = format!("{{\"create_request\":{{\"key\":\"{from}\",\"range_end\":\"{to}\"}}}}");
                post("/v3/watch", &asked)
            }
        }
    }
}

/// The key of an item, as etcd's gateway takes it.
fn key(item: u64) -> String {
    base64(format!("g{}/i{item}", item % GROUPS).as_bytes())
}

fn post(path: &str, body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    super::http::request(&mut out, "POST", path, body);
    out
}

/// A text as base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            let digit = (number >> (18 - 6 * at) & 63) as usize;
            out.push(if at <= three.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    out
}

/// A connection for one request after the other, whose replies may come in chunks.
struct Connection(TcpStream);

impl Connection {
    fn open(address: SocketAddr) -> Result<Connection> {
        let told = |error| format!("the connection to {address}: {error}");
        let stream = TcpStream::connect(address).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).map_err(told)?;
        Ok(Connection(stream))
    }

    fn post(&mut self, request: &[u8]) -> Result<()> {
        self.send(request)?;
        self.reply()
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.0.write_all(request).map_err(|error| format!("the request was not sent: {error}").into())
    }

    /// Reads a reply to its end; it has to be a success.
    fn reply(&mut self) -> Result<()> {
        let (mut reply, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let read = self.0.read(&mut chunk).map_err(|error| format!("no reply: {error}"))?;
            if read == 0 {
                return Err("the connection ended before the reply did".into());
            }
            reply.extend_from_slice(&chunk[..read]);
            let Some(head) = reply.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&reply[..head]).to_ascii_lowercase();
            let length =
                text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let is_whole = match length {
                Some(length) => reply.len() >= head + 4 + length,
                None => reply.ends_with(b"\r\n0\r\n\r\n"),
            };
            if is_whole {
                let status = text.split(' ').nth(1).unwrap_or_default();
                return match status.starts_with('2') {
                    true => Ok(()),
                    false => Err(format!("refused: {}", String::from_utf8_lossy(&reply)).into()),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_base64() {
        for (text, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("g1/i1001", "ZzEvaTEwMDE=")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }

    #[test]
    fn the_schema_has_no_mistakes() {
        let text = std::fs::read_to_string(root().join("bench/watch.cor")).unwrap();
        let checked = corollary_schema::check(&text, &mut corollary_schema::Ids::default());
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
    }
}
