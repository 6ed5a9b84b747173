//! Behaviour cases: files in `tests/cases`, each a schema, requests and what must come back, run against the real server over
//! every store, and over the one on disk also with a kill -9 behind each request.
//!
//! How a case is written is told in [`script`], what a reply may be in [`expected`].

mod expected;
mod script;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;
use expected::{Bound, differences};
use script::{Script, Step};

/// Where the data of a case is, and what happens to the server.
enum Over {
    Memory,
    Disk,
    /// The server is killed behind each request, and started again.
    Killed,
    Postgres(Arc<Database>),
}

/// All cases, by name.
fn cases() -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found: Vec<(String, PathBuf)> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "case"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_string(), path))
        .collect();
    found.sort();
    assert!(found.len() >= 10, "{} cases in {}", found.len(), folder.display());
    found
}

/// Runs all cases, and tells all that is not as it should be.
fn hold(over: &Over) {
    let mut wrong = Vec::new();
    for (name, path) in cases() {
        let script = Script::parse(&fs::read_to_string(path).unwrap());
        let script = script.unwrap_or_else(|mistake| panic!("{name}.case: {mistake}"));
        let found = run(&name, &script, over);
        wrong.extend(found.into_iter().map(|what| format!("{name}.case:{what}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Runs one case; what is wrong begins with the number of its line.
fn run(name: &str, script: &Script, over: &Over) -> Vec<String> {
    let mut place = Place::new(&script.schema);
    place.store = match over {
        Over::Memory => Some("memory".into()),
        Over::Disk | Over::Killed => None,
        Over::Postgres(database) => Some(database.database(&name.replace('-', "_"))),
    };
    let mut server = place.serve();
    let mut client = server.client();
    let mut bound = Bound::default();
    let mut wrong = Vec::new();
    for step in &script.steps {
        let replies = ask(&mut client, &server, step, &bound);
        let found = differences(step, &replies, &mut bound);
        wrong.extend(
            found.into_iter().map(|what| format!("{} {} {}: {what}", step.line, step.method, step.path)),
        );
        if matches!(over, Over::Killed) {
            server.kill();
            server = place.serve();
            client = server.client();
        }
    }
    drop(client);
    server.stop();
    if !matches!(over, Over::Memory) {
        place.check();
    }
    wrong
}

/// What the server says, once or, where it is asked many times at once, that often.
fn ask(client: &mut Client, server: &Server, step: &Step, bound: &Bound) -> Vec<Reply> {
    let path = bound.put_into(&step.path);
    let body = bound.put_into(&step.body);
    let headers: Vec<(String, String)> =
        step.headers.iter().map(|(name, value)| (name.clone(), bound.put_into(value))).collect();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let path = script::encoded(&path);
    if step.times == 1 {
        return vec![client.request(&step.method, &path, &headers, body.as_bytes())];
    }
    let one = || server.client().request(&step.method, &path, &headers, body.as_bytes());
    thread::scope(|scope| {
        let asked: Vec<_> = (0..step.times).map(|_| scope.spawn(one)).collect();
        asked.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

#[test]
fn they_hold_in_memory() {
    hold(&Over::Memory);
}

#[test]
fn they_hold_on_disk() {
    hold(&Over::Disk);
}

#[test]
fn they_hold_on_disk_with_a_kill_behind_each_request() {
    hold(&Over::Killed);
}

#[test]
fn they_hold_in_postgres() {
    hold(&Over::Postgres(Database::new()));
}

#[test]
fn a_case_that_does_not_hold_is_told_with_its_line() {
    let script = "type A in as { n: int, m := self.n + 1 }\n---\n# It is 3.\n\nPOST /api/as\n{\"n\": 2}\n201\n{\"n\": 2, \"m\": 4}\n\nGET /api/as/none\n200\n";
    let wrong = run("wrong", &Script::parse(script).unwrap(), &Over::Memory);
    assert_eq!(
        wrong,
        [
            "5 POST /api/as: m is 3, and should be 4",
            "10 GET /api/as/none: the status is 404 not-found, and should be 200"
        ]
    );
}
