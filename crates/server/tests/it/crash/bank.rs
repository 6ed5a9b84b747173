//! Clients that write to a bank and know what was acknowledged, and what must be found of that afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;

use crate::common::*;

pub const BANK: &str = r#"
type Bank in banks {
  name:     str required
  accounts: inverse Account.bank
  notes:    collection Note
  total     := sum(self.accounts.balance)
  richest   := max(self.accounts.balance)
  poor      := count(self.accounts[balance < 90])
  notes_len := count(self.notes)
  newest    := max(self.notes.version)
}

type Account in accounts {
  bank:    link Bank required
  balance: int default 0
  count:   int default 0
  scan:    file
  rank     := self.bank.total - self.balance
}

type Note {
  version: int required
  text:    str required
  title    := self.parent_bank_notes.name + " " + str(self.version)
}
"#;

const BANKS: u64 = 2;
const ACCOUNTS: u64 = 12;
pub const BALANCE: i64 = 100;
pub const CLIENTS: u64 = 4;
/// Notes that each client writes and deletes.
const SLOTS: u64 = 6;

/// Something that one client writes: a count, or a note by its version. None where it is not there.
#[derive(Clone, Debug, Default)]
struct State {
    acknowledged: Option<u64>,
    /// What it was asked to become since then, without an answer that it is: it may be one of them.
    asked: Vec<Option<u64>>,
}

impl State {
    fn may_be(&self, found: Option<u64>) -> bool {
        found == self.acknowledged || self.asked.contains(&found)
    }
}

/// A write that was asked for, among all that happened, where somebody counts that ([`Known::clock`]).
#[derive(Debug)]
pub struct Asked {
    /// What it changes.
    pub paths: Vec<String>,
    /// What that becomes, where it is one thing that one client writes.
    pub to: Option<Option<u64>>,
    /// When it was asked for, and when it was acknowledged, with its revision.
    pub at: u64,
    pub acknowledged: Option<(u64, u64)>,
}

/// What the server has acknowledged, and what it was asked for without an answer.
#[derive(Default)]
pub struct Known {
    /// Counts what happens; then all that is asked for is kept in `asked`.
    pub clock: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    pub asked: Vec<Asked>,
    /// By path.
    states: BTreeMap<String, State>,
    /// The highest revision that was told.
    pub revision: u64,
    /// How many writes were acknowledged.
    pub writes: u64,
    /// How many were refused because the store does not take them now.
    pub refused: u64,
}

impl Known {
    /// Fills an empty bank.
    pub fn begin(server: &Server) -> Known {
        let mut client = server.client();
        let banks = json!([{"_id": "b0", "name": "x"}, {"_id": "b1", "name": "y"}]);
        client.post("/api/banks", &banks).expect(201);
        let accounts = (0..ACCOUNTS).map(
            |at| json!({"_id": format!("a{at}"), "bank": format!("b{}", at % BANKS), "balance": BALANCE}),
        );
        let clients = (0..CLIENTS).map(|me| json!({"_id": format!("c{me}"), "bank": "b0"}));
        let all: Vec<Json> = accounts.chain(clients).collect();
        client.post("/api/accounts", &all.into()).expect(201);
        let mut known = Known::default();
        for me in 0..CLIENTS {
            let state = State { acknowledged: Some(0), asked: Vec::new() };
            known.states.insert(account_of(me), state);
        }
        known.revision = client.read("/api/banks")["revision"].as_str().unwrap().parse().unwrap();
        known
    }

    /// Notes what is asked for; returns which it is.
    fn ask(&mut self, paths: &[&str], to: Option<Option<u64>>) -> Option<usize> {
        let at = self.clock.as_ref()?();
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        self.asked.push(Asked { paths, to, at, acknowledged: None });
        Some(self.asked.len() - 1)
    }

    fn acknowledge(&mut self, asked: Option<usize>, revision: u64) {
        self.revision = self.revision.max(revision);
        self.writes += 1;
        if let (Some(asked), Some(clock)) = (asked, &self.clock) {
            self.asked[asked].acknowledged = Some((clock(), revision));
        }
    }

    /// What was refused and not done is not done later either: a server that goes on has not got it.
    pub fn nothing_is_open(&mut self) {
        self.states.values_mut().for_each(|state| state.asked.clear());
    }
}

fn account_of(client: u64) -> String {
    format!("/api/accounts/c{client}")
}

fn scan_of(client: u64) -> String {
    format!("/api/accounts/c{client}/scan")
}

/// The bytes of a file that is told apart by its size.
fn scan(size: u64) -> Vec<u8> {
    (0..size).map(|at| (at * 31 + size) as u8).collect()
}

fn note(client: u64, slot: u64) -> String {
    format!("/api/banks/b{}/notes/n{client}-{slot}", slot % BANKS)
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const BYTES: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// A client, with what all of them know.
pub struct Writer<'a> {
    client: Client,
    random: Random,
    known: &'a Mutex<Known>,
    /// May the store refuse a write because of its disk?
    refusals: bool,
}

impl<'a> Writer<'a> {
    pub fn new(server: &Server, seed: u64, known: &'a Mutex<Known>) -> Self {
        Writer { client: server.client(), random: Random::new(seed), known, refusals: false }
    }

    /// One whose store may refuse what it is asked for.
    pub fn refusable(self) -> Self {
        Writer { refusals: true, ..self }
    }

    /// Writes until the server is gone, or for as long as it is wanted.
    pub fn run(&mut self, me: u64, wanted: &dyn Fn() -> bool) -> io::Result<()> {
        while wanted() {
            match self.random.below(9) {
                0 | 1 => {
                    let path = account_of(me);
                    let next = self.state(&path).acknowledged.unwrap_or(0) + 1;
                    self.set(&path, Some(next), "PATCH", &json!({"count": next}))?;
                }
                2..=4 => {
                    let path = note(me, self.random.below(SLOTS));
                    let version = self.random.below(1_000_000);
                    // Some fill pages of the database of their own.
                    let length = if self.random.below(10) == 0 { 20_000 } else { 20 };
                    let mut body = json!({"version": version, "text": "x".repeat(length)});
                    let method = match self.state(&path).acknowledged {
                        Some(_) => "PUT",
                        None => {
                            body["_id"] = path.rsplit('/').next().unwrap().into();
                            "POST"
                        }
                    };
                    self.set(&path, Some(version), method, &body)?;
                }
                5 => {
                    let path = note(me, self.random.below(SLOTS));
                    if self.state(&path).acknowledged.is_some() {
                        self.set(&path, None, "DELETE", &Json::Null)?;
                    }
                }
                6 => {
                    let path = scan_of(me);
                    let is_there = self.state(&path).acknowledged.is_some();
                    if is_there && self.random.below(4) == 0 {
                        self.send(&path, None, "DELETE", &path, &[], &[])?;
                    } else {
                        // Some are of several chunks.
                        let most = if self.random.below(8) == 0 { 600_000 } else { 2_000 };
                        let size = 1 + self.random.below(most);
                        self.send(&path, Some(size), "PUT", &path, &BYTES, &scan(size))?;
                    }
                }
                _ => self.transfer()?,
            }
        }
        Ok(())
    }

    fn state(&self, path: &str) -> State {
        self.known.lock().unwrap().states.get(path).cloned().unwrap_or_default()
    }

    /// Has something become something else; nobody but this client writes it.
    fn set(&mut self, path: &str, to: Option<u64>, method: &str, body: &Json) -> io::Result<()> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // What is not there yet is created in its list.
        let at = if method == "POST" { path.rsplit_once('/').unwrap().0 } else { path };
        self.send(path, to, method, at, &JSON, body.as_bytes())
    }

    /// The same by a request as it is.
    fn send(
        &mut self,
        path: &str,
        to: Option<u64>,
        method: &str,
        at: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let asked = {
            let mut known = self.known.lock().unwrap();
            known.states.entry(path.to_owned()).or_default().asked.push(to);
            known.ask(&[path], Some(to))
        };
        let reply = self.client.try_request(method, at, headers, body)?;
        if self.is_refused(&reply) {
            return Ok(());
        }
        assert!(matches!(reply.status, 200 | 201 | 204), "{method} {path}: {}", reply.text());
        let mut known = self.known.lock().unwrap();
        known.states.insert(path.to_owned(), State { acknowledged: to, asked: Vec::new() });
        known.acknowledge(asked, reply.revision());
        Ok(())
    }

    /// Did the store not take it? Then it is tried again, or something else is, a moment later.
    fn is_refused(&self, reply: &Reply) -> bool {
        let refused = self.refusals && reply.status == 503;
        if refused {
            let code = &reply.json()["code"];
            assert!(code == "unavailable" || code == "superseded", "{}", reply.text());
            self.known.lock().unwrap().refused += 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        refused
    }

    /// Both sides change in one commit: to what they are, since two may transfer at a time, is not known.
    fn transfer(&mut self) -> io::Result<()> {
        let (from, to) = (self.random.below(ACCOUNTS), self.random.below(ACCOUNTS));
        if from == to {
            return Ok(());
        }
        let amount = 1 + self.random.below(20) as i64;
        let mut items = Vec::new();
        for (at, by) in [(from, -amount), (to, amount)] {
            let path = format!("/api/accounts/a{at}");
            let reply = self.client.try_request("GET", &path, &[], b"")?;
            if self.is_refused(&reply) {
                return Ok(());
            }
            let read = reply.expect(200);
            let body = json!({"balance": read["balance"].as_i64().unwrap() + by});
            items.push(json!({"method": "PATCH", "path": path, "body": body, "if_match": read["_revision"]}));
        }
        let items = Json::Array(items).to_string();
        let asked = {
            let paths = [format!("/api/accounts/a{from}"), format!("/api/accounts/a{to}")];
            self.known.lock().unwrap().ask(&paths.each_ref().map(String::as_str), None)
        };
        let reply = self.client.try_request("POST", "/api/_batch", &JSON, items.as_bytes())?;
        if self.is_refused(&reply) {
            return Ok(());
        }
        assert!(matches!(reply.status, 200 | 412), "{}", reply.text());
        if reply.status == 200 {
            self.known.lock().unwrap().acknowledge(asked, reply.revision());
        }
        Ok(())
    }
}

/// What is there after a restart, against what was known before it and against itself.
#[track_caller]
pub fn verify(server: &Server, known: &mut Known, context: &str) {
    let mut client = server.client();
    let number =
        |it: &Json, field: &str| it[field].as_i64().unwrap_or_else(|| panic!("{context}: {field} of {it}"));
    let settled = |it: &Json, field: &str| {
        !it["_pending"].as_array().is_some_and(|pending| pending.iter().any(|it| it == field))
    };
    let list = client.read("/api/banks");
    let revision = list["revision"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(revision >= known.revision, "{context}: revision {revision} after {}", known.revision);
    let (banks, accounts) = (list["results"].as_array().unwrap(), client.list("/api/accounts"));
    let mut found = BTreeMap::new();
    for me in 0..CLIENTS {
        let account = accounts.iter().find(|it| it["_id"] == format!("c{me}")).unwrap();
        found.insert(account_of(me), Some(number(account, "count") as u64));
        if let Some(size) = account["scan"]["size"].as_u64() {
            let path = scan_of(me);
            assert!(client.get(&path).body == scan(size), "{context}: {path} is not what was sent");
            found.insert(path, Some(size));
        }
    }
    let transferred = accounts.iter().filter(|it| it["_id"].as_str().unwrap().starts_with('a'));
    let sum: i64 = transferred.map(|it| number(it, "balance")).sum();
    assert_eq!(sum, BALANCE * ACCOUNTS as i64, "{context}: half a transfer");
    for bank in banks {
        let id = bank["_id"].as_str().unwrap();
        let own: Vec<&Json> = accounts.iter().filter(|it| it["bank"]["_id"] == id).collect();
        let balances = || own.iter().map(|it| number(it, "balance"));
        let total: i64 = balances().sum();
        assert_eq!(number(bank, "total"), total, "{context}: {bank}");
        assert_eq!(bank["richest"].as_i64(), balances().max(), "{context}: {bank}");
        assert_eq!(
            number(bank, "poor"),
            balances().filter(|it| *it < 90).count() as i64,
            "{context}: {bank}"
        );
        for account in own {
            let rank = total - number(account, "balance");
            assert!(!settled(account, "rank") || number(account, "rank") == rank, "{context}: {account}");
        }
        let notes = client.list(&format!("/api/banks/{id}/notes"));
        assert_eq!(number(bank, "notes_len"), notes.len() as i64, "{context}: {bank}");
        assert_eq!(
            bank["newest"].as_i64(),
            notes.iter().map(|it| number(it, "version")).max(),
            "{context}: {bank}"
        );
        for note in notes {
            let version = number(&note, "version") as u64;
            let title = format!("{} {version}", bank["name"].as_str().unwrap());
            assert!(!settled(&note, "title") || note["title"] == title.as_str(), "{context}: {note}");
            found.insert(note["_self"].as_str().unwrap().to_owned(), Some(version));
        }
    }
    for (path, state) in &mut known.states {
        let there = found.remove(path).flatten();
        assert!(state.may_be(there), "{context}: {path} is {there:?} after {state:?}");
        *state = State { acknowledged: there, asked: Vec::new() };
    }
    assert!(found.values().all(|it| it.is_none_or(|n| n == 0)), "{context}: nobody wrote {found:?}");
    known.revision = revision;
}

/// What the server finds itself, of values and of what it keeps beside them.
#[track_caller]
pub fn search(server: &Server, context: &str) {
    let reply = server.client().request("POST", "/api/_check", &JSON, b"{}");
    let told = reply.text();
    let last: Json = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert!(last["event"] == "end" && last["findings"] == 0, "{context}: {told}");
}

/// Every commit after a revision is told, each at its place.
#[track_caller]
pub fn read_log(server: &Server, since: u64, context: &str) {
    let mut told = BTreeSet::new();
    let mut until = u64::MAX;
    for list in ["/api/banks", "/api/accounts", "/api/banks/b0/notes", "/api/banks/b1/notes"] {
        let mut last = since;
        for event in server.watch(&format!("{list}?watch=true&since={since}")).synced() {
            assert!(event.revision() >= last, "{context}: {event:?} of {list} comes after {last}");
            last = event.revision();
            if event.kind() == "synced" {
                // An update may go on meanwhile: what all of them tell is up to the first.
                until = until.min(last);
            } else {
                told.insert(last);
            }
        }
    }
    let missing: Vec<u64> = (since + 1..=until).filter(|revision| !told.contains(revision)).collect();
    assert!(missing.is_empty(), "{context}: of {since} to {until} the log does not have {missing:?}");
}
