//! Watches: what they tell is what a list would show, each change once and in order, whatever happens meanwhile.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::client::{encoded, send};
use crate::common::watch::Fold;
use crate::common::*;

const TEAMS: &str = r#"
type Team in teams {
  name:    str required
  people:  inverse Person.team
  tasks:   collection Task
  people_count := count(self.people)
  score_total  := sum(self.people.score)
  open_tasks   := count(self.tasks[done = false])
}

type Task {
  title: str required
  done:  bool default false
  steps: collection Step
}

type Step {
  text: str required
}

type Person in people {
  name:  str required
  score: int default 0
  team:  link Team
  team_name := self.team.name
}
"#;

const PEOPLE: u64 = 30;

/// A server with two teams, two tasks each, and some people.
fn teams() -> (Place, Server) {
    let place = Place::new(TEAMS);
    let server = place.serve();
    let mut client = server.client();
    client
        .post("/api/teams", &json!([{"_id": "T0", "name": "red"}, {"_id": "T1", "name": "blue"}]))
        .expect(201);
    for team in ["T0", "T1"] {
        let tasks = json!([{"title": "one"}, {"title": "two"}]);
        client.post(&format!("/api/teams/{team}/tasks"), &tasks).expect(201);
    }
    let people: Vec<Json> = (0..PEOPLE)
        .map(|at| json!({"_id": format!("p{at}"), "name": "x", "score": at, "team": format!("T{}", at % 2)}))
        .collect();
    client.post("/api/people", &people.into()).expect(201);
    (place, server)
}

/// One random write; some of them change nothing, some fail, as in life.
fn write(client: &mut Client, random: &mut Random) -> std::io::Result<()> {
    let mut send = |method: &str, path: &str, body: Json| {
        let headers = [("content-type", "application/json")];
        let reply = client.try_request(method, path, &headers, body.to_string().as_bytes())?;
        assert!(reply.status < 500, "{}", reply.text());
        Ok(())
    };
    let person = format!("/api/people/p{}", random.below(PEOPLE));
    let team = random.below(2);
    match random.below(10) {
        0 => send("DELETE", &person, json!({})),
        1 | 2 => {
            let id = person.rsplit('/').next().unwrap();
            send("POST", "/api/people", json!({"_id": id, "name": "y", "team": format!("T{team}")}))
        }
        3 => send("PATCH", &person, json!({"team": format!("T{team}")})),
        4 => send("PATCH", &person, json!({"team": null})),
        5 => send("PATCH", &format!("/api/teams/T{team}"), json!({"name": format!("n{}", random.below(3))})),
        6 => send(
            "POST",
            &format!("/api/teams/T{team}/tasks"),
            json!({"title": "more", "done": random.below(2) == 0}),
        ),
        7 => {
            let other = format!("/api/people/p{}", random.below(PEOPLE));
            let item =
                |path: &str, score: u64| json!({"method": "PATCH", "path": path, "body": {"score": score}});
            send(
                "POST",
                "/api/_batch",
                json!([item(&person, random.below(50)), item(&other, random.below(50))]),
            )
        }
        _ => send("PATCH", &person, json!({"score": random.below(50)})),
    }
}

#[test]
fn the_fold_of_the_events_is_the_list_at_every_moment() {
    const WRITES: u64 = 3_000;
    let (place, server) = teams();
    let paths = [
        "/api/people",
        "/api/teams",
        "/api/teams/T0/tasks",
        "/api/teams/T1/people",
        "/api/people?filter=score%3E20",
        "/api/people?filter=team_name%3D'n1'",
        "/api/teams?filter=score_total%3E250%20%7C%20name%3D'n2'",
    ];
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (address, written, done) = (&server.address, &written, &done);
        let writers: Vec<_> = (0..3)
            .map(|at| {
                scope.spawn(move || {
                    let (mut client, mut random) = (Client::new(address), Random::new(at + 1));
                    // By number, not by time: on a machine that has much to do there were too few to look at.
                    while written.fetch_add(1, Ordering::Relaxed) < WRITES {
                        write(&mut client, &mut random).unwrap();
                    }
                })
            })
            .collect();
        let watched: Vec<_> = paths
            .iter()
            .map(|path| {
                let sign = if path.contains('?') { "&" } else { "?" };
                let list = format!("{path}{sign}limit=1000");
                let watch = format!("{path}{sign}watch=true");
                // One begins with what is there, one where a list ended.
                let mut whole = Watch::begin(address, &watch, &[]);
                let mut client = Client::new(address);
                let first = listed(&mut client, &list);
                let mut since = Watch::begin(address, &format!("{watch}&since={}", first.revision), &[]);
                let lister = scope.spawn(move || {
                    let mut seen = vec![first];
                    while !done.load(Ordering::Relaxed) {
                        seen.push(listed(&mut client, &list));
                        thread::sleep(Duration::from_millis(5));
                    }
                    seen.push(listed(&mut client, &list));
                    seen
                });
                let whole = scope.spawn(move || whole.until_silent(done));
                let since = scope.spawn(move || since.until_silent(done));
                (path, lister, whole, since)
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for (path, lister, whole, since) in watched {
            let seen = lister.join().unwrap();
            assert!(seen.len() > 10);
            let (whole, since) = (whole.join().unwrap(), since.join().unwrap());
            assert!(since.len() > 20, "{path}: {} events", since.len());
            for (mut fold, events) in [(Fold::default(), whole), (seen[0].clone(), since)] {
                let mut events = events.iter().peekable();
                while let Some(event) = events.next_if(|_| fold.revision == 0) {
                    fold.take(event);
                }
                let begun = fold.revision;
                for list in seen.iter().filter(|list| list.revision >= begun) {
                    while let Some(event) = events.next_if(|event| event.revision() <= list.revision) {
                        fold.take(event);
                    }
                    assert_eq!(fold.resources, list.resources, "{path} at {}", list.revision);
                }
                assert_eq!(events.next(), None);
            }
        }
    });
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

/// A list with its revision.
#[track_caller]
fn listed(client: &mut Client, path: &str) -> Fold {
    let page = client.read(path);
    assert_eq!(page["next"], Json::Null);
    let revision = page["revision"].as_str().unwrap().parse().unwrap();
    Fold::of_list(page["results"].as_array().unwrap(), revision)
}

#[test]
fn a_watch_tells_what_comes_what_changes_and_what_goes() {
    let (_place, server) = teams();
    let mut client = server.client();
    let over = encoded("score > 40");
    let mut filtered = server.watch(&format!("/api/people?watch=true&filter={over}"));
    assert_eq!(filtered.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(filtered.told(), "synced");
    let mut one = server.watch("/api/people/p1?watch=true");
    assert_eq!((one.told().as_str(), one.told().as_str()), ("added /api/people/p1", "synced"));
    let mut members = server.watch("/api/teams/T0/people?watch=true");
    assert_eq!(members.synced().len(), 16);
    // Into the filter, within it, out of it, and gone.
    for (score, expected) in [(41, "added"), (42, "modified"), (40, "left")] {
        let reply = client.patch("/api/people/p1", &json!({"score": score}));
        let event = filtered.next();
        assert_eq!(
            (event.kind(), event.path(), event.id),
            (expected, "/api/people/p1", Some(reply.revision()))
        );
        assert_eq!(event.data["resource"], reply.json());
        assert_eq!((&event.data["changed"], one.next().kind()), (&json!(["score"]), "modified"));
    }
    client.patch("/api/people/p1", &json!({"score": 50, "team": "T0"})).expect(200);
    assert_eq!(filtered.told(), "added /api/people/p1");
    let event = members.next();
    assert_eq!((event.kind(), event.path()), ("added", "/api/people/p1"));
    assert_eq!(
        event.data["old"],
        json!({"score": 40, "team": {"_id": "T1", "_self": "/api/teams/T1"}, "team_name": "blue"})
    );
    client.patch("/api/people/p1", &json!({"team": null})).expect(200);
    assert_eq!(
        (members.told().as_str(), filtered.told().as_str()),
        ("left /api/people/p1", "modified /api/people/p1")
    );
    client.delete("/api/people/p1");
    assert_eq!(filtered.told(), "removed /api/people/p1");
    let kinds: Vec<String> = (0..3).map(|_| one.told()).collect();
    assert_eq!(kinds, ["modified /api/people/p1", "modified /api/people/p1", "removed /api/people/p1"]);
    // One resource may be watched before it is there.
    client.post("/api/people", &json!({"_id": "p1", "name": "again"})).expect(201);
    assert_eq!(one.told(), "added /api/people/p1");
    assert!(filtered.is_silent(Duration::from_millis(200)));
}

#[test]
fn what_changes_through_a_link_is_told_with_its_cause_and_in_one_piece() {
    let (_place, server) = teams();
    let mut client = server.client();
    let mut people = server.watch("/api/people?watch=true");
    people.synced();
    let mut named = server.watch("/api/people?watch=true&filter=team_name%3D'green'");
    named.synced();
    let mut team = server.watch("/api/teams/T0?watch=true");
    team.synced();
    let revision = client.patch("/api/teams/T0", &json!({"name": "green"})).revision();
    for (watch, kind) in [(&mut people, "modified"), (&mut named, "added")] {
        let events: Vec<_> = (0..PEOPLE / 2).map(|_| watch.next()).collect();
        assert!(events.iter().all(|it| it.kind() == kind && it.revision() == revision), "{events:?}");
        assert!(events.iter().all(|it| it.data["changed"] == json!(["team_name"])), "{events:?}");
        // The commit is closed once, by its last event.
        let (last, others) = events.split_last().unwrap();
        assert_eq!(last.id, Some(revision));
        assert!(others.iter().all(|it| it.id.is_none()), "{others:?}");
    }
    assert_eq!(team.next().data["changed"], json!(["name"]));
    client.patch("/api/people/p0", &json!({"score": 7})).expect(200);
    let event = team.next();
    assert_eq!(event.data["changed"], json!(["score_total"]));
    assert_eq!(
        (&event.data["old"]["score_total"], &event.data["resource"]["score_total"]),
        (&json!(210), &json!(217))
    );
    // A deletion's consequences come with it.
    assert_eq!(client.delete("/api/teams/T0").status, 204);
    assert_eq!(team.told(), "removed /api/teams/T0");
    let left: Vec<String> = (0..PEOPLE / 2).map(|_| named.told()).collect();
    assert!(left.iter().any(|it| it == "left /api/people/p2"), "{left:?}");
}

/// The path of a removed resource was broken off where its parents were removed in the same commit: a step of a task of
/// a deleted team was told as `/api/_/TASK/steps/STEP`, which no client had ever heard of.
#[test]
fn a_child_that_goes_with_its_parents_is_told_by_its_path() {
    let (_place, server) = teams();
    let mut client = server.client();
    client.post("/api/teams/T0/tasks", &json!({"_id": "K", "title": "k"})).expect(201);
    client.post("/api/teams/T0/tasks/K/steps", &json!({"_id": "S", "text": "s"})).expect(201);
    let mut steps = server.watch("/api/teams/T0/tasks/K/steps?watch=true");
    let since = steps.synced().last().unwrap().revision();
    assert_eq!(client.delete("/api/teams/T0").status, 204);
    let path = "/api/teams/T0/tasks/K/steps/S";
    assert_eq!(steps.told(), format!("removed {path}"));
    let mut resumed = server.watch(&format!("/api/teams/T1/tasks?watch=true&since={since}"));
    assert_eq!(resumed.told(), "synced");
    client.get("/api/teams/T0/tasks/K/steps?watch=true").problem(404, "not-found");
}

const OWNED: &str = "
type Team in teams { tasks: collection Task }
type Task { steps: collection Step }
type Step { text: str, who: link Person on delete cascade }
type Person in people { steps: inverse Step.who }
";

/// The path of a change was broken off where what it leads through was deleted by a later commit: whoever resumed was told of
/// `/api/_/TASK/steps/STEP`, and then that something else was gone.
#[test]
fn a_change_is_told_by_its_path_though_that_leads_nowhere_by_now() {
    let place = Place::new(OWNED);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/people", &json!({"_id": "p"})).expect(201);
    client.post("/api/teams", &json!({"_id": "T"})).expect(201);
    client.post("/api/teams/T/tasks", &json!({"_id": "K"})).expect(201);
    let since = client.get("/api/teams/T").revision();
    let step = "/api/teams/T/tasks/K/steps/S";
    client.post("/api/teams/T/tasks/K/steps", &json!({"_id": "S", "text": "a", "who": "p"})).expect(201);
    client.patch(step, &json!({"text": "b"})).expect(200);
    assert_eq!(client.delete("/api/teams/T").status, 204);
    let mut resumed = server.watch(&format!("/api/people/p/steps?watch=true&since={since}"));
    let mut events = resumed.synced();
    events.pop();
    let told: Vec<String> = events.iter().map(|event| format!("{} {}", event.kind(), event.path())).collect();
    assert_eq!(told, ["added", "modified", "removed"].map(|kind| format!("{kind} {step}")));
    assert!(events[..2].iter().all(|event| event.data["resource"]["_self"] == step), "{events:?}");
}

#[test]
fn a_watch_resumes_anywhere_without_gap_or_repetition_also_across_a_crash() {
    let (place, mut server) = teams();
    let mut random = Random::new(11);
    let path = "/api/people?watch=true";
    // The whole story, as one that listens from the beginning hears it.
    let story = |address: &str, since: u64, header: bool| -> Vec<watch::Event> {
        let since = since.to_string();
        let mut watch = match header {
            true => Watch::begin(address, path, &[("last-event-id", &since)]),
            false => Watch::begin(address, &format!("{path}&since={since}"), &[]),
        };
        let mut events = watch.synced();
        events.pop();
        events
    };
    let mut begin = server.client().get("/api/people").revision();
    for round in 0..4 {
        let mut client = server.client();
        for _ in 0..60 {
            write(&mut client, &mut random).unwrap();
        }
        let all = story(&server.address, begin, false);
        let ids: Vec<u64> = all.iter().filter_map(|event| event.id).collect();
        assert!(ids.len() > 10 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        for at in 0..40 {
            let from = ids[random.below(ids.len() as u64) as usize];
            let rest: Vec<_> = all.iter().filter(|event| event.revision() > from).cloned().collect();
            assert_eq!(story(&server.address, from, at % 2 == 0), rest, "from {from}");
        }
        if round % 2 == 0 {
            begin = *ids.last().unwrap();
        } else {
            // What was told before the crash is the same after it, and goes on from there.
            server.kill();
            server = place.serve();
            assert_eq!(story(&server.address, begin, true), all);
        }
    }
    let mut client = server.client();
    let last = client.get("/api/people").revision();
    assert_eq!(story(&server.address, last, false), []);
    // While it is resumed, writes go on: nothing is lost between what is read and what is heard.
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut client, mut random) = (server.client(), Random::new(12));
            (0..400).for_each(|_| write(&mut client, &mut random).unwrap());
        });
        let mut from = begin;
        let mut events = Vec::new();
        while !writer.is_finished() {
            let mut watch = Watch::begin(&server.address, &format!("{path}&since={from}"), &[]);
            for _ in 0..1 + random.below(20) {
                let event = watch.next();
                if event.kind() == "synced" {
                    break;
                }
                from = event.id.unwrap_or(from);
                events.push(event);
            }
            // What is not closed is told again.
            events.retain(|event| event.revision() <= from);
        }
        writer.join().unwrap();
        let whole = story(&server.address, begin, false);
        assert!(!events.is_empty());
        assert_eq!(events[..], whole[..events.len()]);
    });
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

#[test]
fn a_watch_that_cannot_be_is_refused() {
    let (_place, server) = teams();
    let mut client = server.client();
    let last = client.get("/api/people").revision();
    client.get(&format!("/api/people?watch=true&since={}", last + 1)).problem(400, "since");
    client.get("/api/people?watch=true&since=x").problem(400, "parameter");
    client.get("/api/people?watch=true&expand=team").problem(400, "parameter");
    client.get("/api/people/p1?watch=true&order=name").problem(400, "parameter");
    client.get("/api/people?watch=true&limit=1001").problem(400, "parameter");
    client.get("/api/people?watch=true&fields=nme").problem(400, "parameter");
    client.get("/api/people/p1?watch=true&filter=score%3E1").problem(400, "parameter");
    client.get("/api/people?watch=true&filter=nme%3D'x'").problem(400, "filter");
    client
        .get("/api/people?watch=true&filter=now()%3Edatetime('2020-01-01T00:00:00Z')")
        .problem(400, "filter");
    client.get("/api/peple?watch=true").problem(404, "not-found");
    client
        .request("GET", "/api/people?watch=true", &[("last-event-id", "x")], b"")
        .problem(400, "last-event-id");
    // The same as lines of JSON.
    let headers = [("accept", "application/x-ndjson")];
    let mut lines = Client::connect(&server.address).unwrap();
    send(lines.get_mut(), "GET", "/api/people/p1?watch=true", &headers, b"").unwrap();
    let head = crate::common::client::read_head(&mut lines).unwrap();
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/x-ndjson")));
    let chunk = crate::common::client::read_chunk(&mut lines).unwrap().unwrap();
    let kinds: Vec<Json> =
        chunk.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!((&kinds[0]["type"], &kinds[1]["type"], kinds.len()), (&json!("added"), &json!("synced"), 2));
}

#[test]
fn a_watch_is_told_now_and_then_that_all_is_well() {
    let (_place, server) = teams();
    let mut watch = server.watch("/api/teams/T0?watch=true");
    let synced = watch.synced().last().unwrap().revision();
    let begun = Instant::now();
    let event = watch.next();
    assert_eq!((event.kind(), event.id), ("bookmark", Some(synced)));
    assert!(begun.elapsed() < Duration::from_secs(17), "{:?}", begun.elapsed());
}

#[test]
fn one_that_never_reads_hinders_nobody_and_is_told_that_it_missed_something() {
    let (place, server) = teams();
    let mut slow = Client::connect(&server.address).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(slow.get_ref(), 1 << 16).unwrap();
    send(slow.get_mut(), "GET", "/api/people?watch=true", &[("accept", "text/event-stream")], b"").unwrap();
    let mut quick = server.watch("/api/people?watch=true");
    quick.synced();
    // More than its buffers hold, by far: each event has a large text in it.
    let large = "x".repeat(20_000);
    // Nobody writes further ahead of the quick one than it may be behind: on a busy machine it was cut off as well.
    let (written, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let slowest = thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (server, large, written, read) = (&server, &large, &written, &read);
                scope.spawn(move || {
                    let mut client = server.client();
                    let times = (0..200).map(|at| {
                        let (turn, waits) = (written.fetch_add(1, Ordering::Relaxed), Instant::now());
                        while turn > read.load(Ordering::Relaxed) + 200 && waits.elapsed() < PATIENCE {
                            thread::sleep(Duration::from_millis(1));
                        }
                        let begun = Instant::now();
                        let body = json!({"name": format!("{large}{at}"), "score": at});
                        client.patch(&format!("/api/people/p{writer}"), &body).expect(200);
                        begun.elapsed()
                    });
                    times.max().unwrap()
                })
            })
            .collect();
        for _ in 0..1_600 {
            assert_eq!(quick.next().kind(), "modified");
            read.fetch_add(1, Ordering::Relaxed);
        }
        writers.into_iter().map(|writer| writer.join().unwrap()).max().unwrap()
    });
    assert!(slowest < Duration::from_secs(3), "a write took {slowest:?}");
    // It reads at last: what fitted, then that it has missed something, then the end.
    crate::common::client::read_head(&mut slow).unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = crate::common::client::read_chunk(&mut slow).unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let last = text.trim_end().lines().rev().find(|line| line.starts_with("data: ")).unwrap();
    let last: Json = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(last["type"], "expired", "{last}");
    // What it heard before has no gap, and from there it may resume.
    let ids: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert!(ids[1..].windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    let from = *ids.last().unwrap();
    assert_eq!(last["revision"], from.to_string());
    let mut resumed = server.watch(&format!("/api/people?watch=true&since={from}"));
    assert_eq!(resumed.next().revision(), from + 1);
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

/// What waits is bounded in bytes: these are few commits, far fewer than the bound on their number.
#[test]
fn a_few_large_changes_are_too_many_for_one_that_never_reads() {
    let (place, server) = teams();
    let mut slow = Client::connect(&server.address).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(slow.get_ref(), 1 << 16).unwrap();
    send(slow.get_mut(), "GET", "/api/people?watch=true", &[("accept", "text/event-stream")], b"").unwrap();
    let mut quick = server.watch("/api/people?watch=true");
    quick.synced();
    let (large, many) = ("x".repeat(1 << 20), 48);
    let mut client = server.client();
    for at in 0..many {
        client.patch("/api/people/p1", &json!({"name": format!("{large}{at}")})).expect(200);
        assert_eq!(quick.next().kind(), "modified");
    }
    crate::common::client::read_head(&mut slow).unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = crate::common::client::read_chunk(&mut slow).unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let told = text.lines().filter(|line| line.contains("\"type\":\"modified\"")).count();
    assert!(text.contains("\"type\":\"expired\""), "{told} events, and no end");
    // What had been sent stays sent, and what waited is dropped: the buffers of the system have some MiB.
    assert!(told < many - 16, "{told} events of 1 MiB");
    drop(quick);
    assert!(server.stop().0.success());
    place.check();
}

/// The server could not be stopped while a client read nothing of a reply, or had sent half a request: their connections
/// held the executor, which was waited for without end.
#[test]
fn connections_that_stand_still_do_not_keep_the_server_from_stopping() {
    let (place, server) = teams();
    let mut client = server.client();
    let mut open = server.watch("/api/people?watch=true");
    open.synced();
    let mut stuck = Client::connect(&server.address).unwrap();
    send(stuck.get_mut(), "GET", "/api/people?watch=true", &[("accept", "text/event-stream")], b"").unwrap();
    let large = "x".repeat(1 << 20);
    for at in 0..24 {
        client.patch("/api/people/p1", &json!({"name": format!("{large}{at}")})).expect(200);
    }
    let half = Client::connect(&server.address).unwrap();
    std::io::Write::write_all(
        &mut half.get_ref(),
        b"POST /api/people HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n{",
    )
    .unwrap();
    let begun = Instant::now();
    let (status, _) = server.stop();
    assert!(status.success() && begun.elapsed() < Duration::from_secs(10), "{status} {:?}", begun.elapsed());
    // The one that read was told to the end.
    while let Ok(event) = open.try_next() {
        assert_eq!(event.kind(), "modified");
    }
    place.check();
}
