//! Random grants over random data, judged by a naive reading of what they say: what each actor is shown in lists, by itself, counted and
//! filtered, and what their watches have told them by then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use super::*;
use crate::common::watch::Fold;

const ACTORS: [&str; 4] = ["ann", "bob", "cyd", ""];

/// All there is, as an administrator is shown it, by path.
struct All(BTreeMap<String, Json>);

impl All {
    fn read(root: &mut Asker<'_>) -> All {
        let mut all = BTreeMap::new();
        let mut take = |list: Vec<Json>| {
            let paths: Vec<String> = list.iter().map(|item| item["_self"].as_str().unwrap().into()).collect();
            all.extend(paths.iter().cloned().zip(list));
            paths
        };
        take(list(root, "/api/people"));
        take(list(root, "/api/pages"));
        for team in take(list(root, "/api/teams")) {
            for task in take(list(root, &format!("{team}/tasks"))) {
                take(list(root, &format!("{task}/notes")));
            }
        }
        All(all)
    }

    /// The person of an actor.
    fn ego(&self, actor: &str) -> Option<&Json> {
        let mut people = self.0.iter().filter(|(path, _)| path.starts_with("/api/people/"));
        people
            .find(|(_, person)| !actor.is_empty() && person["login"] == json!(actor))
            .map(|(_, person)| person)
    }
}

fn list(asker: &mut Asker<'_>, path: &str) -> Vec<Json> {
    match asker.get(path) {
        reply if reply.status == 200 => reply.json()["results"].as_array().unwrap().clone(),
        // Of the whole type nothing is granted.
        reply => {
            assert!(matches!(reply.status, 401 | 403 | 404), "{path}: {}", reply.text());
            Vec::new()
        }
    }
}

/// The resources above one, that one last, by their paths.
fn above(path: &str) -> Vec<String> {
    let parts: Vec<&str> = path.trim_start_matches("/api/").split('/').collect();
    (2..=parts.len()).step_by(2).map(|end| format!("/api/{}", parts[..end].join("/"))).collect()
}

/// Does a condition hold of a resource? By what is there and who asks.
type Condition = fn(&All, &Json, &Json) -> bool;

/// What a grant says, and what that means: for each step its collection, and whether a resource of it counts.
struct Grant {
    path: &'static str,
    steps: &'static [(&'static str, Option<Condition>)],
    asks_ego: bool,
}

fn id_of<'j>(item: &'j Json, field: &str) -> Option<&'j str> {
    item[field]["_id"].as_str()
}

const GRANTS: &[Grant] = &[
    Grant { path: "/people", steps: &[("people", None)], asks_ego: false },
    Grant {
        path: "/people[login = ego.login]",
        steps: &[("people", Some(|_, item, ego| item["_id"] == ego["_id"]))],
        asks_ego: true,
    },
    Grant {
        path: "/people[team = ego.team and team != null]",
        steps: &[(
            "people",
            Some(|_, item, ego| id_of(item, "team").is_some() && id_of(item, "team") == id_of(ego, "team")),
        )],
        asks_ego: true,
    },
    Grant {
        path: "/teams[boss = ego]",
        steps: &[("teams", Some(|_, item, ego| id_of(item, "boss") == ego["_id"].as_str()))],
        asks_ego: true,
    },
    Grant { path: "/teams/*/tasks", steps: &[("teams", None), ("tasks", None)], asks_ego: false },
    Grant {
        path: "/teams/*/tasks[owner = ego]",
        steps: &[
            ("teams", None),
            ("tasks", Some(|_, item, ego| id_of(item, "owner") == ego["_id"].as_str())),
        ],
        asks_ego: true,
    },
    Grant {
        path: "/teams/*/tasks[open = true]/*/notes",
        steps: &[("teams", None), ("tasks", Some(|_, item, _| item["open"] == json!(true))), ("notes", None)],
        asks_ego: false,
    },
    Grant {
        path: "/teams/t1",
        steps: &[("teams", Some(|_, item, _| item["_id"] == json!("t1")))],
        asks_ego: false,
    },
    Grant {
        path: "/teams[boss.team = ego.team and ego.team != null]",
        steps: &[(
            "teams",
            Some(|all, item, ego| {
                let boss = id_of(item, "boss").map(|id| &all.0[&format!("/api/people/{id}")]);
                let team = boss.and_then(|boss| id_of(boss, "team"));
                id_of(ego, "team").is_some() && team == id_of(ego, "team")
            }),
        )],
        asks_ego: true,
    },
    Grant {
        path: "/teams[count(people[login = ego.login]) > 0]/*/tasks/*/notes",
        steps: &[
            ("teams", Some(|_, item, ego| id_of(ego, "team") == item["_id"].as_str())),
            ("tasks", None),
            ("notes", None),
        ],
        asks_ego: true,
    },
    Grant {
        path: "/teams[cost > 10]",
        steps: &[("teams", Some(|_, item, _| item["cost"].as_i64().unwrap_or(0) > 10))],
        asks_ego: false,
    },
    Grant { path: "/", steps: &[], asks_ego: false },
];

impl Grant {
    fn covers(&self, all: &All, path: &str, ego: Option<&Json>) -> bool {
        if self.asks_ego && ego.is_none() {
            return false;
        }
        let above = above(path);
        let nobody = Json::Null;
        above.len() >= self.steps.len()
            && self.steps.iter().zip(&above).all(|((collection, condition), at)| {
                let named = at.rsplit('/').nth(1) == Some(*collection);
                named && condition.is_none_or(|holds| holds(all, &all.0[at], ego.unwrap_or(&nobody)))
            })
    }
}

/// Which grants there are by now, and to whom.
type Given = BTreeMap<usize, Option<Vec<&'static str>>>;

fn readable(all: &All, given: &Given, actor: &str) -> BTreeSet<String> {
    let ego = all.ego(actor);
    let mine = given.iter().filter(|(_, to)| to.as_ref().is_none_or(|to| to.contains(&actor)));
    let mine: Vec<&Grant> = mine.map(|(at, _)| &GRANTS[*at]).collect();
    let paths = all.0.keys().filter(|path| mine.iter().any(|grant| grant.covers(all, path, ego)));
    paths.cloned().collect()
}

/// A watch, what has come of it, and what a list would show instead.
struct Watching {
    who: &'static str,
    path: String,
    list: String,
    watch: Option<Watch>,
    fold: Fold,
    expired: usize,
}

impl Watching {
    fn begin(&mut self, world: &World) {
        let headers: &[(&str, &str)] = if self.who.is_empty() { &[] } else { &[(WHO, self.who)] };
        let watch = Watch::try_begin(&world.server.address, &self.path, headers).unwrap();
        (self.watch, self.fold) = (None, Fold::default());
        if watch.head.status == 200 {
            let mut watch = watch;
            watch.synced().iter().for_each(|event| self.fold.take(event));
            self.watch = Some(watch);
        } else {
            assert!(matches!(watch.head.status, 401 | 403 | 404), "{}: {}", self.path, watch.head.status);
        }
    }

    /// Takes in what is told until nothing is said.
    fn settle(&mut self, world: &World) {
        loop {
            let Some(watch) = &mut self.watch else { return self.begin(world) };
            match watch.within(Duration::from_millis(150)) {
                Ok(event) if event.kind() == "expired" => {
                    self.expired += 1;
                    return self.begin(world);
                }
                Ok(event) => self.fold.take(&event),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return;
                }
                Err(error) => panic!("{} of `{}`: {error}", self.path, self.who),
            }
        }
    }
}

fn write(world: &World, random: &mut Random, given: &mut Given) {
    let mut root = world.of("root");
    let pick = |random: &mut Random, from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    let team = pick(random, &["t1", "t2", "t3"]);
    let task = pick(random, &["k1", "k2", "k3", "k4"]);
    let person = pick(random, &["p1", "p2", "p3"]);
    let number = random.below(9);
    let link = |id: &str, none: bool| if none { Json::Null } else { json!(id) };
    let reply = match random.below(14) {
        0 => root.send("PATCH", &format!("/api/teams/{team}"), &json!({"boss": link(person, number == 0)})),
        1 => root.send("PATCH", &format!("/api/people/{person}"), &json!({"team": link(team, number < 2)})),
        2 => {
            let login = pick(random, &["ann", "bob", "cyd", "dan"]);
            root.send("PATCH", &format!("/api/people/{person}"), &json!({"login": login}))
        }
        3 => root.send(
            "POST",
            "/api/teams",
            &json!({"_id": team, "name": pick(random, &["x", "y"]), "secret": number}),
        ),
        4 if number < 3 => root.send("DELETE", &format!("/api/teams/{team}"), &json!(null)),
        5 | 6 => {
            let body = json!({"_id": task, "title": "t", "cost": number, "owner": person});
            root.send("POST", &format!("/api/teams/{team}/tasks"), &body)
        }
        7 => {
            let body = json!({"open": number < 4, "cost": number, "owner": link(person, number == 8)});
            root.send("PATCH", &format!("/api/teams/{team}/tasks/{task}"), &body)
        }
        8 => {
            let note = json!({"_id": format!("n{number}"), "text": "note"});
            root.send("POST", &format!("/api/teams/{team}/tasks/{task}/notes"), &note)
        }
        9 => {
            let to = pick(random, &["t1", "t2", "t3"]);
            let body =
                json!({"from": format!("/teams/{team}/tasks/{task}"), "to": format!("/teams/{to}/tasks")});
            root.send("POST", "/api/_move", &body)
        }
        10 => root.send("DELETE", &format!("/api/teams/{team}/tasks/{task}"), &json!(null)),
        11 => {
            root.send("POST", "/api/people", &json!({"_id": person, "login": pick(random, &["ann", "bob"])}))
        }
        _ => {
            let at = random.below(GRANTS.len() as u64) as usize;
            // Everything is not granted often, or nothing else counts.
            if given.remove(&at).is_some() || (GRANTS[at].path == "/" && number > 1) {
                root.send("DELETE", &format!("/api/_grants/g{at}"), &json!(null))
            } else {
                let to = (number > 2).then(|| vec![pick(random, &ACTORS[..3]), pick(random, &ACTORS[..3])]);
                let grant = json!({"path": GRANTS[at].path, "to": to});
                given.insert(at, to);
                root.send("PUT", &format!("/api/_grants/g{at}"), &grant)
            }
        }
    };
    assert!(reply.status < 500, "{}", reply.text());
}

/// Compares what an actor is shown with what a naive reading says.
fn compare(world: &World, all: &All, given: &Given, who: &'static str) {
    let mut asker = world.of(who);
    let may = readable(all, given, who);
    for (path, item) in &all.0 {
        let reply = asker.get(path);
        let expected = if may.contains(path) { 200 } else { 404 };
        assert_eq!(reply.status, expected, "`{who}` {path} by {:?}: {}", told(given), reply.text());
        if expected == 200 {
            assert_eq!(&reply.json(), item, "`{who}` {path}");
        }
    }
    let mut lists = BTreeSet::from(["/api/people".to_string(), "/api/teams".into(), "/api/pages".into()]);
    lists.extend(all.0.keys().filter(|path| above(path).len() < 3 && path.contains("/teams/")).map(|path| {
        let collection = if above(path).len() == 1 { "tasks" } else { "notes" };
        format!("{path}/{collection}")
    }));
    for path in &lists {
        let is_there = |shown: &&String| shown.rsplit_once('/').is_some_and(|(list, _)| list == path);
        let expected: Vec<&String> = may.iter().filter(is_there).collect();
        let shown = list(&mut asker, path);
        let paths: Vec<&str> = shown.iter().map(|item| item["_self"].as_str().unwrap()).collect();
        assert_eq!(paths, expected, "`{who}` {path} by {:?}", told(given));
        if paths.is_empty() {
            continue;
        }
        let counted = asker.read(&format!("{path}?count=true&limit=1"))["count"].clone();
        assert_eq!(counted, json!(expected.len()), "`{who}` {path}");
        let lines = asker.with("GET", path, &[("accept", "application/x-ndjson")], &json!(null)).text();
        assert_eq!(lines.lines().count(), expected.len(), "`{who}` {path}");
    }
}

fn told(given: &Given) -> Vec<(&'static str, &Option<Vec<&'static str>>)> {
    given.iter().map(|(at, to)| (GRANTS[*at].path, to)).collect()
}

fn run(seed: u64, rounds: usize) {
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let world = World::new();
    let mut given = Given::new();
    let mut root = world.of("root");
    let people =
        json!([{"_id": "p1", "login": "ann"}, {"_id": "p2", "login": "bob"}, {"_id": "p3", "login": "cyd"}]);
    root.send("POST", "/api/people", &people).expect(201);
    let teams = json!([{"_id": "t1", "name": "x", "boss": "p1"}, {"_id": "t2", "name": "y", "boss": "p2"}]);
    root.send("POST", "/api/teams", &teams).expect(201);
    let mut watches = Vec::new();
    for who in ACTORS {
        let cost = encoded("cost > 4");
        for (path, list) in [
            ("/api/teams?watch=true".to_string(), "/api/teams".to_string()),
            ("/api/people?watch=true".into(), "/api/people".into()),
            ("/api/teams/t1/tasks?watch=true".into(), "/api/teams/t1/tasks".into()),
            (
                format!("/api/teams/t2/tasks?watch=true&filter={cost}"),
                format!("/api/teams/t2/tasks?filter={cost}"),
            ),
            ("/api/teams?watch=true&order=-cost&limit=2".into(), "/api/teams?order=-cost&limit=2".into()),
            ("/api/people?watch=true&order=login&limit=1".into(), "/api/people?order=login&limit=1".into()),
        ] {
            let mut watching = Watching { who, path, list, watch: None, fold: Fold::default(), expired: 0 };
            watching.begin(&world);
            watches.push(watching);
        }
    }
    for round in 0..rounds {
        for _ in 0..1 + random.below(5) {
            write(&world, &mut random, &mut given);
        }
        let all = All::read(&mut root);
        for who in ACTORS {
            compare(&world, &all, &given, who);
        }
        for watching in &mut watches {
            watching.settle(&world);
            let Some(_) = &watching.watch else { continue };
            let mut asker = world.of(watching.who);
            let shown = list(&mut asker, &watching.list);
            let expected = Fold::of_list(&shown, 0).resources;
            assert_eq!(
                watching.fold.resources,
                expected,
                "round {round}: {} of `{}` by {:?}",
                watching.path,
                watching.who,
                told(&given)
            );
        }
    }
    // To begin anew is what is done where nothing else can be, and not each time.
    let expired: usize = watches.iter().map(|watching| watching.expired).sum();
    assert!(expired <= rounds * 2, "{expired} watches ended in {rounds} rounds");
}

#[test]
fn what_is_shown_and_told_is_what_the_grants_say() {
    run(seed(), 12);
}
