//! The log over HTTP: what is folded from it is what is there, from any revision on, page by page and line by line.

use std::collections::BTreeMap;

use crate::common::client::read_head;
use crate::common::*;

const SCHEMA: &str = "
type Topic in topics { name: str, pages: collection Page, n := count(self.pages), words := sum(self.pages.words),
  notes: inverse Note.topic }
type Page { words: int default 0, topic_name := self.parent_topic_pages.name }
type Note in notes { text: str, tags: set<str>, topic: link Topic on delete unlink, about := self.topic.name }
mount topics/{t}/remarks of Note {
  where topic = t
  fields text, labels: tags
}
";

/// What is there, by path: the fields without what belongs to the system.
type State = BTreeMap<String, Json>;

fn without_system(resource: &Json) -> Json {
    let members = resource.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with('_'));
    members.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn listed(client: &mut Client, list: &str) -> State {
    let all = client.list(list).into_iter();
    all.map(|item| (item["_self"].as_str().unwrap().to_owned(), without_system(&item))).collect()
}

/// Takes what is there a commit further, and holds what the log says was there before against it.
fn fold(state: &mut State, commit: &Json) {
    for change in commit["changes"].as_array().unwrap() {
        let path = change["path"].as_str().unwrap().to_owned();
        let (old, new) = (&change["old"], &change["new"]);
        let was = old["_self"].as_str().map_or(path.clone(), str::to_owned);
        match change["type"].as_str().unwrap() {
            "added" => {
                assert_eq!(state.insert(path, without_system(new)), None, "{change}");
            }
            "modified" => {
                let mut resource =
                    state.remove(&was).unwrap_or_else(|| panic!("{was} was not there: {change}"));
                for name in change["changed"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
                    let members = resource.as_object_mut().unwrap();
                    if name.starts_with('_') {
                        continue;
                    }
                    assert_eq!(members.get(name), old.get(name), "{name}: {change}");
                    match new.get(name) {
                        Some(value) => members.insert(name.to_owned(), value.clone()),
                        None => members.remove(name),
                    };
                }
                state.insert(path, resource);
            }
            "removed" => {
                let gone = state.remove(&was);
                assert_eq!(gone.as_ref(), Some(&without_system(old)), "{change}");
            }
            "left" => assert!(state.remove(&was).is_some(), "{change}"),
            other => panic!("{other}"),
        }
    }
}

/// Puts a resource there, be it there already or not.
fn put(client: &mut Client, path: &str, body: &Json) -> Reply {
    match client.put(path, body) {
        reply if reply.status == 404 => client.with("PUT", path, &[("if-none-match", "*")], body),
        reply => reply,
    }
}

/// A random write; some of them are refused.
fn write(client: &mut Client, random: &mut Random, step: u64) {
    let (topic, page, note) = (random.below(3), random.below(4), random.below(5));
    let topic = format!("/api/topics/t{topic}");
    let page = format!("{topic}/pages/p{page}");
    let note = format!("/api/notes/n{note}");
    let words = json!({"words": random.below(9)});
    let text = json!({"text": format!("x{step}"), "tags": ["a", random.below(3).to_string()],
        "topic": topic.rsplit_once('/').unwrap().1});
    let reply = match random.below(12) {
        0 | 1 => put(client, &topic, &json!({"name": format!("N{}", random.below(4))})),
        2..=4 => put(client, &page, &words),
        5 => client.patch(&page, &json!({"words": null})),
        6 | 7 => put(client, &note, &text),
        8 => client.delete(&note),
        9 => client.delete(&page),
        10 if random.below(4) == 0 => client.delete(&topic),
        _ => {
            let to = format!("/api/topics/t{}/pages", random.below(3));
            client.post("/api/_move", &json!({"from": page, "to": to}))
        }
    };
    assert!(reply.status < 500, "{}", reply.text());
}

#[test]
fn what_is_folded_from_the_log_is_what_is_there() {
    let place = Place::new(SCHEMA);
    let mut server = place.serve();
    let mut client = server.client();
    let mut random = Random::new(seed());
    let lists = [
        "/api/topics",
        "/api/notes",
        "/api/topics/t0/pages",
        "/api/topics/t1/pages",
        "/api/topics/t0/remarks",
    ];
    // What was there at each revision.
    let mut then: BTreeMap<u64, Vec<Option<State>>> = BTreeMap::new();
    for n in 0..3 {
        put(&mut client, &format!("/api/topics/t{n}"), &json!({"name": "N"})).expect(201);
    }
    for step in 0..200 {
        write(&mut client, &mut random, step);
        if step % 8 == 0 {
            let revision = client.read("/api/topics?limit=1")["revision"].as_str().unwrap().parse().unwrap();
            let states =
                lists.iter().map(|list| (client.get(list).status == 200).then(|| listed(&mut client, list)));
            then.insert(revision, states.collect());
        }
        if step == 100 {
            drop(client);
            server.kill();
            server = place.serve();
            client = server.client();
        }
    }
    for n in 0..3 {
        // So that each list is there to be asked of.
        put(&mut client, &format!("/api/topics/t{n}"), &json!({"name": "end"}));
    }
    let now: Vec<State> = lists.iter().map(|list| listed(&mut client, list)).collect();
    for (at, list) in lists.iter().enumerate() {
        let limit = 1 + random.below(20);
        let mut began: Vec<(u64, State)> = vec![(0, State::new())];
        began.extend(then.iter().filter_map(|(revision, states)| Some((*revision, states[at].clone()?))));
        let began = [began.remove(0), began.swap_remove(random.below(began.len() as u64) as usize)];
        for (since, mut state) in began {
            // A link is shown with the path of what it leads to, which is that of now in all of them.
            for commit in client.list(&format!("/api/_log?since={since}&path={list}&limit={limit}")) {
                fold(&mut state, &commit);
            }
            assert_eq!(state, now[at], "{list} since {since}");
        }
    }
    // Backwards it is the same, and without a path it is all of it.
    let path = format!("/api/_log?limit={}", 1 + random.below(30));
    let mut all = client.list(&path);
    all.reverse();
    let forwards = client.list("/api/_log?since=0&limit=1000");
    assert_eq!(all, forwards);
    let revisions: Vec<u64> =
        all.iter().map(|commit| commit["revision"].as_str().unwrap().parse().unwrap()).collect();
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]));
    let lines = client.request("GET", "/api/_log?since=0", &[("accept", "application/x-ndjson")], b"");
    let lines: Vec<Json> = lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, forwards);
    let mut state = State::new();
    all.iter().for_each(|commit| fold(&mut state, commit));
    let mut every = State::new();
    every.extend(now[0].clone());
    every.extend(now[1].clone());
    for n in 0..3 {
        every.extend(listed(&mut client, &format!("/api/topics/t{n}/pages")));
    }
    assert_eq!(state, every);
    server.stop();
}

#[test]
fn the_log_is_followed_line_by_line() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    put(&mut client, "/api/notes/a", &json!({"text": "before"})).expect_status(201);
    let mut connection = Client::connect(&server.address).unwrap();
    let lines = [("accept", "application/x-ndjson")];
    client::send(connection.get_mut(), "GET", "/api/_log?watch=true&since=0&path=/notes", &lines, b"")
        .unwrap();
    assert_eq!(read_head(&mut connection).unwrap().status, 200);
    let mut next = || loop {
        let chunk = client::read_chunk(&mut connection).unwrap()?;
        let text = String::from_utf8(chunk).unwrap();
        let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 1, "{text}");
        if lines[0]["type"] != json!("bookmark") {
            return lines.into_iter().next();
        }
    };
    assert_eq!(next().unwrap()["changes"][0]["new"], json!({"text": "before"}));
    put(&mut client, "/api/topics/t", &json!({"name": "not told"})).expect_status(201);
    client.patch("/api/notes/a", &json!({"text": "after"})).expect_status(200);
    let told = next().unwrap();
    assert_eq!((&told["revision"], &told["changes"][0]["old"]), (&json!("3"), &json!({"text": "before"})));
    let server = std::thread::spawn(move || server.stop());
    assert_eq!(next(), None, "it ends with the server");
    assert!(server.join().unwrap().0.success());
}

#[test]
fn a_page_passes_over_so_many_commits_and_no_more() {
    let mut place = Place::new(SCHEMA);
    place.store = Some("memory".into());
    let server = place.serve();
    let mut client = server.client();
    put(&mut client, "/api/notes/a", &json!({"text": "first"})).expect_status(201);
    put(&mut client, "/api/topics/t", &json!({})).expect_status(201);
    for n in 0..10_001 {
        client.patch("/api/topics/t", &json!({"name": n.to_string()})).expect_status(200);
    }
    let page = client.read("/api/_log?path=/notes");
    assert_eq!((&page["results"], &page["revision"]), (&json!([]), &json!("10003")));
    let next = page["next"].as_str().unwrap();
    assert!(next.contains("until=3&"), "{next}");
    assert_eq!(client.list(next).len(), 1);
    let page = client.read("/api/_log?path=/notes&since=1");
    assert!(page["next"].as_str().unwrap().contains("since=10001&"), "{page}");
    assert_eq!(client.list("/api/_log?path=/notes&since=1").len(), 0);
    server.stop();
}
