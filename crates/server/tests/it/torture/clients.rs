//! Clients that write to whichever server is there, and know of everything what became of it.
//!
//! ```text
//! acknowledged: it is there      refused: it is not      unknown: it is there wholly, or not at all
//! ```
//!
//! Each entry has a text of its own by which it is found. Money is moved between accounts, so the sum of all stays; a number
//! is counted up; what is created under an `Idempotency-Key` is asked for until there is an answer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::cluster::Addresses;
use crate::common::*;

pub const SCHEMA: &str = "
type Bank in banks {
  accounts: inverse Account.bank
  total    := sum(self.accounts.balance)
  paid     := sum(self.accounts.paid)
  counted  := sum(self.accounts.n)
}
type Account in accounts {
  bank:    link Bank required
  balance: int default 100
  n:       int default 0
  entries: inverse Entry.of
  flashes: inverse Flash.of
  paid     := sum(self.entries.amount)
  rest     := self.balance - self.paid
  number   := count(self.entries)
  lit      := count(self.flashes)
}
type Entry in entries created_at { of: link Account required, amount: int required, max 1000, token: str required, unique }
type Flash in flashes expires after seconds(2) { of: link Account required }
";

pub const CLIENTS: u64 = 4;
const ACCOUNTS: u64 = 8;
const BALANCE: i64 = 100;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    There,
    NotThere,
    Open,
}

/// What all clients of a round know.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By token.
    entries: BTreeMap<String, Fate>,
    /// By account: how often it was counted up, and how often perhaps.
    counted: BTreeMap<String, (u64, u64)>,
    /// The highest revision that was told.
    revision: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
}

/// What they share.
pub struct Shared {
    pub addresses: Addresses,
    pub ledger: Mutex<Ledger>,
    pub stop: AtomicBool,
    /// How often clocks were set: a key is kept for a day of them.
    pub clocks: AtomicU64,
    /// Is 503 said of nothing that may be done all the same? Not where a disk fails.
    pub strict: bool,
}

/// An answer to a write.
enum Outcome {
    Done(Box<Reply>),
    Refused,
    Unknown,
}

/// Fills an empty store.
pub fn fill(server: &Server) {
    let mut client = server.client();
    client.post("/api/banks", &json!({"_id": "b"})).expect(201);
    let accounts = (0..ACCOUNTS).map(|at| json!({"_id": format!("a{at}"), "bank": "b"})).collect();
    client.post("/api/accounts", &Json::Array(accounts)).expect(201);
}

struct Writer<'a> {
    shared: &'a Shared,
    random: Random,
    /// Which server, and the connection to it.
    at: usize,
    open: Option<(String, Client)>,
    /// Entries of its own, with the tokens.
    own: Vec<(String, String)>,
}

const JSON: (&str, &str) = ("content-type", "application/json");

/// Writes until it is told to stop.
pub fn write(shared: &Shared, me: u64, seed: u64) {
    let own = Vec::new();
    let mut writer = Writer { shared, random: Random::new(seed), at: me as usize, open: None, own };
    let mut number = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        let token = format!("{me}-{number}");
        match writer.random.below(10) {
            0 | 1 => writer.count_up(&token),
            2 | 3 => writer.transfer(),
            4 | 5 => writer.create(&token),
            6 => writer.create_under_a_key(&token),
            7 => writer.create_what_is_refused(&token),
            8 => writer.delete(),
            _ => {
                let body = json!({"of": writer.account()}).to_string();
                writer.once("POST", "/api/flashes", &[JSON], &body);
            }
        }
    }
}

impl Writer<'_> {
    fn account(&mut self) -> String {
        format!("a{}", self.random.below(ACCOUNTS))
    }

    /// A request to the server that it knows, or to the next.
    fn once(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Outcome {
        let addresses = &self.shared.addresses;
        let address = addresses[self.at % addresses.len()].read().unwrap().clone();
        let Some(address) = address else {
            self.at += 1;
            thread::sleep(Duration::from_millis(5));
            self.count(|ledger| ledger.refused += 1);
            return Outcome::Refused;
        };
        let open = self.open.take().filter(|(of, _)| *of == address);
        let (_, client) = self.open.insert(open.unwrap_or_else(|| (address.clone(), Client::new(&address))));
        let reply = client.try_request(method, path, headers, body.as_bytes());
        let is_read = method == "GET";
        match reply {
            Ok(reply) if matches!(reply.status, 200..=299) => {
                if !is_read {
                    let revision = reply.revision();
                    self.count(|ledger| {
                        ledger.acknowledged += 1;
                        ledger.revision = ledger.revision.max(revision);
                    });
                }
                Outcome::Done(Box::new(reply))
            }
            Ok(reply) if reply.status == 504 || reply.status == 503 && !self.shared.strict => {
                self.at += 1;
                thread::sleep(Duration::from_millis(5));
                self.count(|ledger| ledger.unknown += u64::from(!is_read));
                Outcome::Unknown
            }
            Ok(reply) => {
                if reply.status == 503 {
                    self.at += 1;
                    thread::sleep(Duration::from_millis(5));
                }
                assert!(
                    matches!(reply.status, 404 | 409 | 412 | 422 | 503),
                    "{method} {path}: {}",
                    reply.text()
                );
                self.count(|ledger| ledger.refused += u64::from(!is_read));
                Outcome::Refused
            }
            Err(_) => {
                self.open = None;
                self.at += 1;
                thread::sleep(Duration::from_millis(5));
                self.count(|ledger| ledger.unknown += u64::from(!is_read));
                Outcome::Unknown
            }
        }
    }

    fn count(&self, count: impl FnOnce(&mut Ledger)) {
        count(&mut self.shared.ledger.lock().unwrap());
    }

    fn set(&self, token: &str, fate: Fate) {
        self.count(|ledger| {
            ledger.entries.insert(token.to_owned(), fate);
        });
    }

    fn clocks(&self) -> u64 {
        self.shared.clocks.load(Ordering::SeqCst)
    }

    /// The same until there is an answer, or it is time to stop, or a key may have been forgotten.
    fn under_a_key(&mut self, method: &str, path: &str, kind: &str, body: &str, key: &str) -> Outcome {
        let clocks = self.clocks();
        loop {
            let headers = [("content-type", kind), ("idempotency-key", key)];
            let outcome = self.once(method, path, &headers, body);
            // A refusal for the moment says nothing of what was asked before it.
            if matches!(outcome, Outcome::Done(_)) {
                return if clocks == self.clocks() { outcome } else { Outcome::Unknown };
            }
            if self.shared.stop.load(Ordering::Relaxed) || clocks != self.clocks() {
                return Outcome::Unknown;
            }
        }
    }

    fn count_up(&mut self, key: &str) {
        let account = self.account();
        let (kind, body) = ("application/vnd.corollary.update+json", r#"[{"inc": {"key": "n", "by": 1}}]"#);
        let outcome = self.under_a_key("PATCH", &format!("/api/accounts/{account}"), kind, body, key);
        self.count(|ledger| {
            let (done, perhaps) = ledger.counted.entry(account).or_default();
            match outcome {
                Outcome::Done(_) => *done += 1,
                Outcome::Refused => {}
                // Sent again when its key was forgotten it may be done once more.
                Outcome::Unknown => *perhaps += 2,
            }
        });
    }

    fn create(&mut self, token: &str) {
        let id = format!("e{token}");
        let amount = self.random.below(1000);
        let body = json!({"_id": id, "of": self.account(), "amount": amount, "token": token}).to_string();
        let fate = match self.once("POST", "/api/entries", &[JSON], &body) {
            Outcome::Done(_) => {
                self.own.push((format!("/api/entries/{id}"), token.to_owned()));
                Fate::There
            }
            Outcome::Refused => Fate::NotThere,
            Outcome::Unknown => Fate::Open,
        };
        self.set(token, fate);
    }

    /// The server gives it its id: only the key, and the token, say that it is the same.
    fn create_under_a_key(&mut self, token: &str) {
        let body = json!({"of": self.account(), "amount": 1, "token": token}).to_string();
        let fate = match self.under_a_key("POST", "/api/entries", JSON.1, &body, &format!("key-{token}")) {
            Outcome::Done(reply) => {
                self.own.push((reply.json()["_self"].as_str().unwrap().to_owned(), token.to_owned()));
                Fate::There
            }
            Outcome::Refused | Outcome::Unknown => Fate::Open,
        };
        self.set(token, fate);
    }

    fn create_what_is_refused(&mut self, token: &str) {
        // A whole batch is refused because of its last item.
        let account = self.account();
        let item = |amount: u64, token: &str| {
            let body = json!({"of": account, "amount": amount, "token": token});
            json!({"method": "POST", "path": "/entries", "body": body})
        };
        let items = json!([item(1, token), item(1001, &format!("{token}x"))]).to_string();
        let outcome = self.once("POST", "/api/_batch", &[JSON], &items);
        assert!(!matches!(outcome, Outcome::Done(_)), "an amount beyond its limit");
        self.set(token, Fate::NotThere);
        self.set(&format!("{token}x"), Fate::NotThere);
    }

    fn delete(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let at = self.random.below(self.own.len() as u64) as usize;
        let (path, token) = self.own.swap_remove(at);
        let fate = match self.once("DELETE", &path, &[], "") {
            Outcome::Done(_) => Fate::NotThere,
            Outcome::Refused => Fate::There,
            Outcome::Unknown => Fate::Open,
        };
        self.set(&token, fate);
    }

    fn transfer(&mut self) {
        let (from, to) = (self.account(), self.account());
        if from == to {
            return;
        }
        let amount = 1 + self.random.below(20) as i64;
        let item = |account: &str, by: i64| {
            let body = json!([{"inc": {"key": "balance", "by": by}}]);
            let kind = "application/vnd.corollary.update+json";
            json!({"method": "PATCH", "path": format!("/accounts/{account}"), "content_type": kind, "body": body})
        };
        let items = json!([item(&from, -amount), item(&to, amount)]).to_string();
        self.once("POST", "/api/_batch", &[JSON], &items);
    }
}

impl Ledger {
    /// An entry that somebody else has made.
    pub fn entries_end(&mut self, token: &str) {
        self.entries.insert(token.to_owned(), Fate::There);
    }

    /// Holds what a server shows to what is known.
    pub fn verify(&self, server: &Server) {
        let mut client = server.client();
        let revision = self.revision.to_string();
        client.request("GET", "/api/banks", &[("corollary-at-least", &revision)], b"").expect(200);
        let (accounts, entries) = (client.list("/api/accounts"), client.list("/api/entries"));
        let mut found = BTreeMap::<&str, u64>::new();
        for entry in &entries {
            *found.entry(entry["token"].as_str().unwrap()).or_default() += 1;
        }
        for (token, fate) in &self.entries {
            let there = found.remove(&token[..]).unwrap_or(0);
            let may_be = match fate {
                Fate::There => there == 1,
                Fate::NotThere => there == 0,
                Fate::Open => there <= 1,
            };
            assert!(may_be, "{token} is there {there} times, and {fate:?}");
        }
        assert!(found.is_empty(), "nobody wrote {found:?}");
        let number = |it: &Json, field: &str| it[field].as_i64().unwrap_or_else(|| panic!("{field} of {it}"));
        for account in &accounts {
            let id = account["_id"].as_str().unwrap();
            let (done, perhaps) = self.counted.get(id).copied().unwrap_or_default();
            let n = number(account, "n") as u64;
            assert!(
                (done..=done + perhaps).contains(&n),
                "{id} is at {n} after {done} and {perhaps} perhaps"
            );
            let own = || entries.iter().filter(|it| it["of"]["_id"] == id);
            let paid: i64 = own().map(|it| number(it, "amount")).sum();
            assert_eq!(number(account, "paid"), paid, "{account}");
            assert_eq!(number(account, "number"), own().count() as i64, "{account}");
            assert_eq!(number(account, "rest"), number(account, "balance") - paid, "{account}");
        }
        let sum = |field: &str| accounts.iter().map(|it| number(it, field)).sum::<i64>();
        assert_eq!(sum("balance"), BALANCE * ACCOUNTS as i64, "half a transfer");
        let bank = client.read("/api/banks/b");
        for (whole, part) in [("total", "balance"), ("paid", "paid"), ("counted", "n")] {
            assert_eq!(number(&bank, whole), sum(part), "{whole} of {bank}");
        }
    }
}
