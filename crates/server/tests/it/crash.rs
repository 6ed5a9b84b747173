//! The server killed under load, again and again: what was acknowledged is there, and nothing is there by halves.
//!
//! `COROLLARY_CRASH_ROUNDS` sets how often, `COROLLARY_SEED` repeats a run; both the seed and the round are in the
//! message of a failure.

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use crate::common::*;

const BANK: &str = r#"
type Bank in banks {
  name:     str required
  accounts: inverse Account.bank
  notes:    collection Note
  total     := sum(self.accounts.balance)
  richest   := max(self.accounts.balance)
  poor      := self.accounts[balance < 90]
  notes_len := count(self.notes)
}

type Account in accounts {
  bank:    link Bank required
  balance: int default 0
  count:   int default 0
  rank     := self.bank.total - self.balance
}

type Note {
  text: str required
}
"#;

const ACCOUNTS: u64 = 12;
const BALANCE: i64 = 100;
const CLIENTS: usize = 4;

/// What the server has acknowledged, and what it was asked for when it died.
#[derive(Default)]
struct Known {
    /// Of each client: the last count that was acknowledged, and one that may have been written.
    counts: BTreeMap<usize, (i64, i64)>,
    /// Notes that are there, by their path.
    notes: Vec<String>,
    /// Of each client: its highest revision.
    revision: u64,
}

fn rounds() -> u64 {
    std::env::var("COROLLARY_CRASH_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap())
}

/// Writes until the server is gone.
fn load(address: &str, me: usize, seed: u64, known: &Mutex<Known>) -> io::Result<()> {
    let mut client = Client::new(address);
    let mut random = Random::new(seed);
    let own = format!("/api/accounts/c{me}");
    let headers = [("content-type", "application/json")];
    loop {
        let mut send = |method: &str, path: &str, body: Json| {
            let reply = client.try_request(method, path, &headers, body.to_string().as_bytes())?;
            assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
            let mut known = known.lock().unwrap();
            known.revision = known.revision.max(reply.revision());
            Ok::<_, io::Error>(reply)
        };
        match random.below(3) {
            0 => {
                let next = {
                    let mut known = known.lock().unwrap();
                    let (acknowledged, asked) = known.counts.entry(me).or_default();
                    *asked = *acknowledged + 1;
                    *asked
                };
                send("PATCH", &own, json!({"count": next}))?;
                known.lock().unwrap().counts.insert(me, (next, next));
            }
            1 => {
                let path = format!("/api/banks/b{}/notes", random.below(2));
                let reply = send("POST", &path, json!({"text": format!("by {me}")}))?;
                known.lock().unwrap().notes.push(reply.header("location").unwrap().to_string());
            }
            _ => {
                // Both sides change in one commit: to what they are, since two may transfer at a time, is not known.
                let (from, to) = (random.below(ACCOUNTS), random.below(ACCOUNTS));
                let amount = 1 + random.below(20) as i64;
                let path = |at: u64| format!("/api/accounts/a{at}");
                if from == to {
                    continue;
                }
                let read = |client: &mut Client, at: u64| -> io::Result<(i64, Json)> {
                    let reply = client.try_request("GET", &path(at), &[], b"")?;
                    let json = reply.expect(200);
                    Ok((json["balance"].as_i64().unwrap(), json["_revision"].clone()))
                };
                let ((left, left_at), (right, right_at)) = (read(&mut client, from)?, read(&mut client, to)?);
                let item = |at, balance: i64, revision| json!({"method": "PATCH", "path": path(at), "body": {"balance": balance}, "if_match": revision});
                let items = json!([item(from, left - amount, left_at), item(to, right + amount, right_at)]);
                let reply =
                    client.try_request("POST", "/api/_batch", &headers, items.to_string().as_bytes())?;
                assert!(matches!(reply.status, 200 | 412), "{}", reply.text());
                if reply.status == 200 {
                    let mut known = known.lock().unwrap();
                    known.revision = known.revision.max(reply.revision());
                }
            }
        }
    }
}

/// What is there after a restart against what was known before it.
#[track_caller]
fn verify(client: &mut Client, known: &mut Known, context: &str) {
    let banks = client.read("/api/banks");
    let revision = banks["revision"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(revision >= known.revision, "{context}: revision {revision} after {}", known.revision);
    let accounts = client.list("/api/accounts");
    let balance = |it: &Json| it["balance"].as_i64().unwrap();
    let sum: i64 = accounts.iter().map(balance).sum();
    assert_eq!(sum, BALANCE * ACCOUNTS as i64, "{context}: half a transfer");
    let banks = banks["results"].as_array().unwrap();
    let total: i64 = banks.iter().map(|bank| bank["total"].as_i64().unwrap()).sum();
    assert_eq!(total, sum, "{context}");
    for (me, counts) in &mut known.counts {
        let (acknowledged, asked) = *counts;
        let there =
            accounts.iter().find(|it| it["_id"] == format!("c{me}")).unwrap()["count"].as_i64().unwrap();
        assert!(
            there == acknowledged || there == asked,
            "{context}: client {me} has {there} after {counts:?}"
        );
        *counts = (there, there);
    }
    let notes: Vec<String> = ["b0", "b1"]
        .iter()
        .flat_map(|bank| client.list(&format!("/api/banks/{bank}/notes?limit=1000&fields=_id")))
        .map(|note| note["_self"].as_str().unwrap().to_string())
        .collect();
    for path in &known.notes {
        assert!(notes.contains(path), "{context}: {path} is gone");
    }
    let counted: i64 = banks.iter().map(|bank| bank["notes_len"].as_i64().unwrap()).sum();
    assert_eq!(counted, notes.len() as i64, "{context}");
    // What was on the way when the server died may be there too.
    known.notes = notes;
}

#[test]
fn what_was_acknowledged_survives_being_killed() {
    let seed = seed();
    let mut random = Random::new(seed);
    let place = Place::new(BANK);
    let mut server = place.serve();
    let mut client = server.client();
    client.post("/api/banks", &json!([{"_id": "b0", "name": "x"}, {"_id": "b1", "name": "y"}])).expect(201);
    let accounts = (0..ACCOUNTS)
        .map(|at| json!({"_id": format!("a{at}"), "bank": format!("b{}", at % 2), "balance": BALANCE}));
    let clients = (0..CLIENTS).map(|me| json!({"_id": format!("c{me}"), "bank": "b0"}));
    let all: Vec<Json> = accounts.chain(clients).collect();
    client.post("/api/accounts", &all.into()).expect(201);
    let known = Mutex::new(Known::default());
    let (mut acknowledged, mut died_at_work) = (0, 0);
    for round in 0..rounds() {
        let context = format!("COROLLARY_SEED={seed}, round {round}");
        let before = known.lock().unwrap().revision;
        thread::scope(|scope| {
            let writers: Vec<_> = (0..CLIENTS)
                .map(|me| {
                    let (address, known, seed) = (server.address.clone(), &known, random.below(u64::MAX));
                    scope.spawn(move || load(&address, me, seed, known))
                })
                .collect();
            thread::sleep(Duration::from_micros(5_000 + random.below(55_000)));
            server.kill();
            for writer in writers {
                // It ended because the server did, and for no other reason.
                let error = writer.join().unwrap_or_else(|_| panic!("{context}")).unwrap_err();
                died_at_work += u64::from(error.kind() != io::ErrorKind::ConnectionRefused);
            }
        });
        let mut known = known.lock().unwrap();
        acknowledged += known.revision - before;
        if round % 20 == 19 {
            let output = place.run(&["check"]);
            assert!(output.status.success(), "{context}: {}{}", stdout(&output), stderr(&output));
        }
        server = place.serve();
        verify(&mut server.client(), &mut known, &context);
        if round % 20 == 19 {
            // So that the rounds stay short.
            let mut client = server.client();
            for chunk in known.notes.chunks(500) {
                let items: Vec<Json> =
                    chunk.iter().map(|path| json!({"method": "DELETE", "path": path})).collect();
                client.post("/api/_batch", &items.into()).expect(200);
            }
            known.notes.clear();
        }
    }
    server.kill();
    place.check();
    // The rounds did what they are for.
    assert!(acknowledged >= rounds(), "only {acknowledged} commits were acknowledged in {} rounds", rounds());
    assert!(died_at_work >= rounds(), "the clients were at work {died_at_work} times only");
}
