//! Watches of what is not in the item alone: filters through links, pages, links, values. What they tell, folded, is what a GET
//! shows, at every revision.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::client::encoded;
use crate::common::watch::Event;
use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const TEAMS: &str = r#"
type Team in teams {
  name:   str required
  rank:   int default 0
  people: inverse Person.team
  lead:   link Person
  score_total := sum(self.people.score)
  best := self.people[score > 30]
}

type Person in people {
  name:    str required
  score:   int default 0 index
  team:    link Team
  friends: links Person
  notes:   collection Note
  boss := self.team.lead
}

type Note {
  text: str required
  stars: int default 0
}
"#;

const PEOPLE: u64 = 24;
const TEAMS_COUNT: u64 = 4;

fn teams() -> (Place, Server) {
    let place = Place::new(TEAMS);
    let server = place.serve();
    fill(&mut server.client());
    (place, server)
}

fn fill(client: &mut Client) {
    let teams: Vec<Json> = (0..TEAMS_COUNT)
        .map(|at| json!({"_id": format!("T{at}"), "name": format!("n{}", at % 3), "rank": at}))
        .collect();
    client.post("/api/teams", &teams.into()).expect(201);
    let people: Vec<Json> = (0..PEOPLE)
        .map(|at| {
            let team = format!("T{}", at % TEAMS_COUNT);
            json!({"_id": format!("p{at}"), "name": format!("x{at}"), "score": at * 2, "team": team})
        })
        .collect();
    client.post("/api/people", &people.into()).expect(201);
    client.patch("/api/people/p1", &json!({"friends": ["p2", "p3"]})).expect(200);
    client.patch("/api/teams/T0", &json!({"lead": "p5"})).expect(200);
}

/// One random write; some of them change nothing, some fail, as in life.
fn write(client: &mut Client, random: &mut Random) {
    let mut send = |method: &str, path: &str, body: Json| {
        let headers = [("content-type", "application/json")];
        let reply = client.request(method, path, &headers, body.to_string().as_bytes());
        assert!(reply.status < 500, "{}", reply.text());
    };
    let at = random.below(PEOPLE);
    let person = format!("/api/people/p{at}");
    let team = format!("T{}", random.below(TEAMS_COUNT));
    match random.below(14) {
        0 => send("DELETE", &person, json!({})),
        1 | 2 => {
            send(
                "POST",
                "/api/people",
                json!({"_id": format!("p{at}"), "name": "y", "team": team, "score": random.below(50)}),
            );
        }
        3 => send("PATCH", &person, json!({"team": team})),
        4 => send("PATCH", &person, json!({"team": null})),
        5 | 6 => {
            let body = json!({"name": format!("n{}", random.below(3))});
            send("PATCH", &format!("/api/teams/{team}"), body);
        }
        7 => send("PATCH", &format!("/api/teams/{team}"), json!({"rank": random.below(5)})),
        8 => {
            let lead = format!("p{}", random.below(PEOPLE));
            send("PATCH", &format!("/api/teams/{team}"), json!({"lead": lead}));
        }
        9 => {
            let some: Vec<String> =
                (0..random.below(4)).map(|_| format!("p{}", random.below(PEOPLE))).collect();
            send("PATCH", "/api/people/p1", json!({"friends": some}));
        }
        10 => {
            let item = |score: u64| {
                let path = format!("/api/people/p{}", (at + score) % PEOPLE);
                json!({"method": "PATCH", "path": path, "body": {"score": score}})
            };
            let items: Vec<Json> = (0..4).map(|_| item(random.below(50))).collect();
            send("POST", "/api/_batch", items.into());
        }
        11 => send("POST", &format!("{person}/notes"), json!({"text": "t", "stars": random.below(5)})),
        _ => send("PATCH", &person, json!({"score": random.below(50)})),
    }
}

/// What a client has that does as the events say: in order, as a page is.
#[derive(Clone, Debug, Default, PartialEq)]
struct Held {
    items: Vec<(String, Json)>,
    value: Json,
}

impl Held {
    /// By what a GET shows.
    fn of(path: &str, body: &Json) -> Held {
        if path.ends_with(".score") || path.ends_with(".stars") {
            return Held { items: Vec::new(), value: body.get("results").unwrap_or(body).clone() };
        }
        let results = body["results"].as_array().unwrap();
        let mut items: Vec<(String, Json)> =
            results.iter().map(|it| (it["_self"].as_str().unwrap().to_string(), it.clone())).collect();
        if !is_page(path) {
            items.sort_by(|left, right| left.0.cmp(&right.0));
        }
        Held { items, value: Json::Null }
    }

    #[track_caller]
    fn take(&mut self, event: &Event, is_page: bool) {
        if event.kind() == "changed" {
            self.value = event.data["value"].clone();
            return;
        }
        let path = event.path().to_string();
        let at = self.items.iter().position(|(other, _)| *other == path);
        assert_eq!(at.is_some(), event.kind() != "added", "{event:?} {:?}", self.items);
        let item = (path, event.data["resource"].clone());
        match (event.kind(), event.data.get("after")) {
            ("left" | "removed", _) => drop(self.items.remove(at.unwrap())),
            ("modified", None) => self.items[at.unwrap()] = item,
            ("added" | "modified", Some(after)) if is_page => {
                at.map(|at| self.items.remove(at));
                let behind = match after.as_str() {
                    Some(id) => {
                        1 + self.items.iter().position(|(_, it)| it["_id"] == id).expect("who is named")
                    }
                    None => 0,
                };
                self.items.insert(behind, item);
            }
            ("added", None) if !is_page => {
                self.items.push(item);
                self.items.sort_by(|left, right| left.0.cmp(&right.0));
            }
            _ => panic!("{event:?}"),
        }
    }
}

/// All that is watched, each by its path.
const WATCHED: [&str; 27] = [
    "/api/people?filter=team.name = 'n1'",
    "/api/people?filter=team.score_total > 150 & score > 10",
    "/api/people?filter=boss.score > 20",
    "/api/people?filter=count(notes[stars > 2]) > 0",
    "/api/people?filter=team.name = 'n1' | team.lead.score > 25",
    "/api/people?filter=score > 20 & score <= 40",
    "/api/people?filter=score in [1, 5, 7, 9, 11, 13] | team = 'T1'",
    "/api/teams?filter=count(people[score > 30]) > 1",
    "/api/teams?filter=score_total > 200",
    "/api/people?order=-score&limit=5",
    "/api/people?order=score,name&limit=3&filter=score > 15",
    "/api/people?filter=team.name = 'n1'&order=team.rank,-score&limit=4",
    "/api/people?order=team.rank,name&limit=7",
    "/api/teams/T0/people?order=-score&limit=3",
    "/api/people?limit=4",
    "/api/teams?order=-score_total&limit=2",
    "/api/people/p1/friends",
    "/api/people/p1/friends?filter=team.name = 'n1'",
    "/api/people/p1/friends?order=-score&limit=2",
    "/api/teams/T0/best",
    "/api/teams/T0/best?limit=2",
    "/api/teams[rank > 1].people?order=-score,name&limit=3",
    "/api/teams/T0.lead.score",
    "/api/teams/T1.people.score",
    "/api/teams[rank > 1].people",
    "/api/teams[rank > 1].people.score",
    "/api/people.notes.stars",
];

/// The path as it is asked for.
fn asked(path: &str, more: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = path.replace(" > ", "%20%3E%20");
    let mut parts: Vec<String> =
        query.split('&').filter(|part| !part.is_empty()).fold(Vec::new(), |mut parts, part| {
            match part.starts_with(' ') {
                // The `&` of a condition.
                true => parts.last_mut().unwrap().push_str(&format!("&{part}")),
                false => parts.push(part.into()),
            }
            parts
        });
    for part in &mut parts {
        if let Some((name, value)) = part.clone().split_once('=') {
            *part = format!("{name}={}", encoded(value));
        }
    }
    parts.extend(Some(more.to_string()).filter(|more| !more.is_empty()));
    if parts.is_empty() { path } else { format!("{path}?{}", parts.join("&")) }
}

fn is_page(path: &str) -> bool {
    path.contains("limit=") || path.contains("order=")
}

/// What a GET shows, and as of which revision; nothing where nothing is there.
fn shown(client: &mut Client, path: &str) -> (u64, Held) {
    let more = if is_page(path) || path.starts_with("/api/teams/T0.") || !path.contains("?") {
        ""
    } else {
        "limit=1000"
    };
    let reply = client.get(&asked(path, more));
    if reply.status == 404 {
        // A path that goes on behind an empty link.
        return (0, Held::default());
    }
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    let body = reply.json();
    let revision = match body["revision"].as_str() {
        Some(revision) => revision.parse().unwrap(),
        None => reply.revision(),
    };
    (revision, Held::of(path, &body))
}

/// Plays events over what was shown at some revisions, by what of it has to be the same. A page that was read anew tells what
/// happened to it meanwhile together, so it may be behind for a moment, and never at the end.
fn compare_by<T: PartialEq + std::fmt::Debug>(
    part: impl Fn(&Held) -> T,
    path: &str,
    mut held: Held,
    mut begun: u64,
    events: &[Event],
    seen: &[(u64, Held)],
) {
    let mut rest = events.iter().peekable();
    if begun == 0 {
        for event in rest.by_ref() {
            if event.kind() == "synced" {
                begun = event.revision();
                break;
            }
            held.take(event, is_page(path));
        }
    }
    let (mut looked, mut behind) = (0, 0);
    for (revision, wanted) in seen.iter().filter(|(revision, _)| *revision >= begun) {
        while let Some(event) = rest.next_if(|event| event.revision() <= *revision) {
            if !matches!(event.kind(), "synced" | "bookmark") {
                held.take(event, is_page(path));
            }
        }
        looked += 1;
        if is_page(path) && part(&held) != part(wanted) && rest.peek().is_some() {
            behind += 1;
            continue;
        }
        let near = events.iter().filter(|it| it.revision().abs_diff(*revision) < 8);
        let near: Vec<String> =
            near.map(|it| format!("{} {} {}", it.revision(), it.kind(), it.data["path"])).collect();
        assert_eq!(part(&held), part(wanted), "{path} at {revision}: {near:?}");
    }
    assert!(looked > 2 && behind * 2 < looked, "{path}: {behind} of {looked}");
}

/// All of what is shown.
fn compare(path: &str, held: Held, begun: u64, events: &[Event], seen: &[(u64, Held)]) {
    compare_by(Held::clone, path, held, begun, events, seen);
}

/// Who is there alone.
fn compare_names(path: &str, held: Held, begun: u64, events: &[Event], seen: &[(u64, Held)]) {
    let names = |held: &Held| -> (Vec<String>, Json) {
        (held.items.iter().map(|(path, _)| path.clone()).collect(), held.value.clone())
    };
    compare_by(names, path, held, begun, events, seen);
}

/// Plays random writes on some servers, and compares what is told on another one.
fn play(
    writing: &[&str],
    watching: &str,
    writes: u64,
    settles: Duration,
    compare: impl Fn(&str, Held, u64, &[Event], &[(u64, Held)]),
) {
    let (written, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let (written, done) = (&written, &done);
        let writers: Vec<_> = (0..2)
            .map(|at| {
                scope.spawn(move || {
                    let address = writing[at as usize % writing.len()];
                    let (mut client, mut random) = (Client::new(address), Random::new(at + 21));
                    while written.fetch_add(1, Ordering::Relaxed) < writes {
                        write(&mut client, &mut random);
                    }
                })
            })
            .collect();
        let watched: Vec<_> = WATCHED
            .iter()
            .map(|path| {
                let mut client = Client::new(watching);
                let mut whole = Watch::begin(watching, &asked(path, "watch=true"), &[]);
                let first = shown(&mut client, path);
                let since = format!("watch=true&since={}", first.0);
                let mut since = Watch::begin(watching, &asked(path, &since), &[]);
                let lister = scope.spawn(move || {
                    let mut seen = vec![first];
                    while !done.load(Ordering::Relaxed) {
                        let now = shown(&mut client, path);
                        // Writes go through the same two processors.
                        thread::sleep(Duration::from_millis(20));
                        seen.push(now);
                    }
                    seen.push(shown(&mut client, path));
                    seen.retain(|(revision, _)| *revision > 0);
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
        // What has been written is told by then, also where each look at what is stored is a journey.
        thread::sleep(settles);
        done.store(true, Ordering::Relaxed);
        for (path, lister, whole, since) in watched {
            let (seen, whole, since) = (lister.join().unwrap(), whole.join().unwrap(), since.join().unwrap());
            compare(path, Held::default(), 0, &whole, &seen);
            compare(path, seen[0].1.clone(), seen[0].0, &since, &seen);
        }
    });
}

#[test]
fn the_fold_of_what_is_told_is_what_a_get_shows_at_every_revision() {
    let (place, server) = teams();
    play(&[&server.address], &server.address, 1_500, Duration::ZERO, compare);
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

/// The same where nearly all that follows comes later: who is a member goes by what is stored, as lists do, and what an update
/// brings is a change like any other. What a reply shows of a member is computed ahead, so only who is there is compared.
#[test]
fn what_updates_bring_later_is_told_when_it_comes() {
    let place = Place::new(TEAMS);
    let server = Server::start(&place, &["--update-budget", "1", "--update-batch", "2"]);
    fill(&mut server.client());
    play(&[&server.address], &server.address, 700, Duration::ZERO, compare_names);
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

/// What is told after a revision, up to now.
fn missed(address: &str, path: &str, since: u64, by_header: bool) -> Vec<Event> {
    let since = since.to_string();
    let mut watch = match by_header {
        true => Watch::begin(address, &asked(path, "watch=true"), &[("last-event-id", &since)]),
        false => Watch::begin(address, &asked(path, &format!("watch=true&since={since}")), &[]),
    };
    let mut events = watch.synced();
    events.pop();
    events
}

#[test]
fn whatever_is_watched_resumes_anywhere_also_across_a_crash() {
    let (place, mut server) = teams();
    let mut random = Random::new(5);
    let mut client = server.client();
    let begun: Vec<(u64, Held)> = WATCHED.iter().map(|path| shown(&mut client, path)).collect();
    for round in 0..3 {
        let mut client = server.client();
        (0..60).for_each(|_| write(&mut client, &mut random));
        if round == 1 {
            server.kill();
            server = place.serve();
        }
        let mut client = server.client();
        for (path, (revision, first)) in WATCHED.iter().zip(&begun) {
            let (_, now) = shown(&mut client, path);
            let story = missed(&server.address, path, *revision, round == 2);
            let ids: Vec<u64> = story.iter().filter_map(|event| event.id).collect();
            let mut held = first.clone();
            story.iter().for_each(|event| held.take(event, is_page(path)));
            // A path that leads nowhere by now shows nothing.
            assert_eq!(held, now, "{path} after {revision}");
            for _ in 0..3.min(ids.len()) {
                let from = ids[random.below(ids.len() as u64) as usize];
                let mut held = first.clone();
                let (before, _) = story.split_at(story.partition_point(|event| event.revision() <= from));
                before.iter().for_each(|event| held.take(event, is_page(path)));
                let rest = missed(&server.address, path, from, true);
                rest.iter().for_each(|event| held.take(event, is_page(path)));
                assert_eq!(held, now, "{path} after {revision}, resumed at {from}");
            }
        }
    }
    let (status, _) = server.stop();
    assert!(status.success());
    place.check();
}

#[test]
fn what_several_servers_write_is_told_on_each() {
    let database = Database::new();
    let mut place = Place::new(TEAMS);
    place.store = Some(database.url());
    let (a, b) = (place.serve(), place.serve());
    fill(&mut a.client());
    play(&[&a.address, &b.address], &b.address, 400, Duration::from_secs(5), compare);
    for server in [a, b] {
        let (status, _) = server.stop();
        assert!(status.success());
    }
    place.check();
}
