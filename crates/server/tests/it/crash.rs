//! The server killed under load, again and again: what was acknowledged is there, nothing is there by halves, everything
//! follows from the facts, and the log has no gap.
//!
//! It is killed at any moment: while clients write, while it starts, while the journal goes into the database, while
//! updates are under way. `COROLLARY_CRASH_ROUNDS` sets how often (`cargo xtask kills` is the long form), `COROLLARY_SEED` repeats the
//! choices of a run; both the seed and the round are in the message of a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::*;

const BANK: &str = r#"
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
const BALANCE: i64 = 100;
const CLIENTS: u64 = 4;
/// Notes that each client writes and deletes.
const SLOTS: u64 = 6;

/// Of all clients together, how many are acknowledged in a round, in the mean.
const WRITES: u64 = 10;

/// What may be left to updates: a transfer between banks changes the rank of more accounts than this.
const BUDGET: &str = "4";

/// Milliseconds from a commit until it is put into the database; any of them, in turn.
const JOURNAL_MS: [&str; 3] = ["1", "15", "3000"];

/// The data is compared with the oracle, with nobody at work, every so many rounds.
const CHECK_EVERY: u64 = 100;

/// Something that one client writes: a count, or a note by its version. None where it is not there.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    acknowledged: Option<u64>,
    /// What it was asked to become when the server died; it may be that.
    asked: Option<Option<u64>>,
}

impl State {
    fn may_be(&self, found: Option<u64>) -> bool {
        found == self.acknowledged || self.asked == Some(found)
    }
}

/// What the server has acknowledged, and what it was asked for when it died.
#[derive(Default)]
struct Known {
    /// By path.
    states: BTreeMap<String, State>,
    /// The highest revision that was told.
    revision: u64,
    writes: u64,
}

fn rounds() -> u64 {
    std::env::var("COROLLARY_CRASH_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap())
}

fn account_of(client: u64) -> String {
    format!("/api/accounts/c{client}")
}

fn note(client: u64, slot: u64) -> String {
    format!("/api/banks/b{}/notes/n{client}-{slot}", slot % BANKS)
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A client, with what all of them know.
struct Writer<'a> {
    client: Client,
    random: Random,
    known: &'a Mutex<Known>,
}

impl Writer<'_> {
    /// Writes until the server is gone.
    fn run(&mut self, me: u64) -> io::Result<()> {
        loop {
            match self.random.below(8) {
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
                _ => self.transfer()?,
            }
        }
    }

    fn state(&self, path: &str) -> State {
        self.known.lock().unwrap().states.get(path).copied().unwrap_or_default()
    }

    /// Has something become something else; nobody but this client writes it.
    fn set(&mut self, path: &str, to: Option<u64>, method: &str, body: &Json) -> io::Result<()> {
        let acknowledged = self.state(path).acknowledged;
        let asked = State { acknowledged, asked: Some(to) };
        self.known.lock().unwrap().states.insert(path.to_owned(), asked);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        // What is not there yet is created in its list.
        let at = if method == "POST" { path.rsplit_once('/').unwrap().0 } else { path };
        let reply = self.client.try_request(method, at, &JSON, body.as_bytes())?;
        assert!(matches!(reply.status, 200 | 201 | 204), "{method} {path}: {}", reply.text());
        let mut known = self.known.lock().unwrap();
        known.states.insert(path.to_owned(), State { acknowledged: to, asked: None });
        known.revision = known.revision.max(reply.revision());
        known.writes += 1;
        Ok(())
    }

    /// Both sides change in one commit: to what they are, since two may transfer at a time, is not known.
    fn transfer(&mut self) -> io::Result<()> {
        let (from, to) = (self.random.below(ACCOUNTS), self.random.below(ACCOUNTS));
        if from == to {
            return Ok(());
        }
        let amount = 1 + self.random.below(20) as i64;
        let mut item = |at: u64, by: i64| -> io::Result<Json> {
            let path = format!("/api/accounts/a{at}");
            let read = self.client.try_request("GET", &path, &[], b"")?.expect(200);
            let balance = read["balance"].as_i64().unwrap() + by;
            let body = json!({"balance": balance});
            Ok(json!({"method": "PATCH", "path": path, "body": body, "if_match": read["_revision"]}))
        };
        let items = json!([item(from, -amount)?, item(to, amount)?]).to_string();
        let reply = self.client.try_request("POST", "/api/_batch", &JSON, items.as_bytes())?;
        assert!(matches!(reply.status, 200 | 412), "{}", reply.text());
        if reply.status == 200 {
            let mut known = self.known.lock().unwrap();
            known.revision = known.revision.max(reply.revision());
            known.writes += 1;
        }
        Ok(())
    }
}

/// What is there after a restart, against what was known before it and against itself.
#[track_caller]
fn verify(server: &Server, known: &mut Known, context: &str) {
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
        *state = State { acknowledged: there, asked: None };
    }
    assert!(found.values().all(|it| it.is_none_or(|n| n == 0)), "{context}: nobody wrote {found:?}");
    known.revision = revision;
}

/// What the server finds itself, of values and of what it keeps beside them.
#[track_caller]
fn search(server: &Server, context: &str) {
    let reply = server.client().request("POST", "/api/_check", &JSON, b"{}");
    let told = reply.text();
    let last: Json = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert!(last["event"] == "end" && last["findings"] == 0, "{context}: {told}");
}

/// Every commit after a revision is told, each at its place.
#[track_caller]
fn read_log(server: &Server, since: u64, context: &str) {
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

/// Starts it, perhaps after it was killed while it started.
fn start(place: &Place, random: &mut Random, early: &mut u64, context: &str) -> Server {
    let journal = JOURNAL_MS[random.below(JOURNAL_MS.len() as u64) as usize];
    let options = ["--update-budget", BUDGET, "--journal-ms", journal];
    if random.below(5) == 0 {
        Server::begin(place, &options).kill_after(Duration::from_micros(random.below(60_000)));
        *early += 1;
    }
    Server::try_start(place, &options).unwrap_or_else(|error| panic!("{context}: it does not start: {error}"))
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let (seed, begun) = (seed(), Instant::now());
    let mut random = Random::new(seed);
    let (place, mut early) = (Place::new(BANK), 0);
    let mut server = start(&place, &mut random, &mut early, "at first");
    let mut client = server.client();
    client.post("/api/banks", &json!([{"_id": "b0", "name": "x"}, {"_id": "b1", "name": "y"}])).expect(201);
    let accounts = (0..ACCOUNTS)
        .map(|at| json!({"_id": format!("a{at}"), "bank": format!("b{}", at % BANKS), "balance": BALANCE}));
    let clients = (0..CLIENTS).map(|me| json!({"_id": format!("c{me}"), "bank": "b0"}));
    let all: Vec<Json> = accounts.chain(clients).collect();
    client.post("/api/accounts", &all.into()).expect(201);
    drop(client);
    let known = Mutex::new(Known::default());
    {
        let mut known = known.lock().unwrap();
        for me in 0..CLIENTS {
            known.states.insert(account_of(me), State { acknowledged: Some(0), asked: None });
        }
        known.revision = server.client().read("/api/banks")["revision"].as_str().unwrap().parse().unwrap();
    }
    let mut died_at_work = 0;
    for round in 0..rounds() {
        let context = format!("COROLLARY_SEED={seed}, round {round}");
        let since = known.lock().unwrap().revision;
        thread::scope(|scope| {
            let writers: Vec<_> = (0..CLIENTS)
                .map(|me| {
                    let random = Random::new(random.below(u64::MAX));
                    let mut writer = Writer { client: server.client(), random, known: &known };
                    scope.spawn(move || writer.run(me))
                })
                .collect();
            // Counted in writes, so that as much is done on a slow machine; and a moment more, to be anywhere between two.
            let (enough, begun) = (known.lock().unwrap().writes + random.below(2 * WRITES), Instant::now());
            while known.lock().unwrap().writes < enough && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_micros(200));
            }
            thread::sleep(Duration::from_micros(random.below(4_000)));
            server.kill();
            for writer in writers {
                // It ended because the server did, and for no other reason.
                let error = writer.join().unwrap_or_else(|_| panic!("{context}")).unwrap_err();
                died_at_work += u64::from(error.kind() != io::ErrorKind::ConnectionRefused);
            }
        });
        if round % CHECK_EVERY == CHECK_EVERY - 1 {
            let output = place.run(&["check"]);
            assert!(output.status.success(), "{context}: {}{}", stdout(&output), stderr(&output));
            eprintln!("{} rounds in {:.0?}", round + 1, begun.elapsed());
        }
        server = start(&place, &mut random, &mut early, &context);
        verify(&server, &mut known.lock().unwrap(), &context);
        search(&server, &context);
        read_log(&server, since, &context);
    }
    server.kill();
    place.check();
    let writes = known.lock().unwrap().writes;
    eprintln!(
        "{} rounds, {early} killed while starting, {writes} writes acknowledged, {:.0?}",
        rounds(),
        begun.elapsed()
    );
    // The rounds did what they are for.
    assert!(writes >= rounds(), "only {writes} writes were acknowledged in {} rounds", rounds());
    assert!(died_at_work >= rounds(), "the clients were at work {died_at_work} times only");
}
