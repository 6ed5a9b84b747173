//! Indexes that are added to the data of a real server: requests are answered while they come about, as if they were not there,
//! and a kill at any time loses nothing.

use std::time::{Duration, Instant};

use crate::common::client::encoded;
use crate::common::*;
use crate::updates::settled;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Shelf in shelves { name: str, items: inverse Item.shelf }
type Item in items { n: int, title: str, tags: [str], shelf: link Shelf }
";

const ITEMS: u64 = 3_000;

/// Slow enough to be looked at.
const SLOW: [&str; 6] = ["--update-budget", "10", "--update-rate", "3000", "--update-batch", "100"];

fn indexed() -> String {
    SCHEMA
        .replace("Item in items {", "Item in items index (shelf, n desc) {")
        .replace("n: int", "n: int index")
        .replace("title: str", "title: str search text")
        .replace("tags: [str]", "tags: [str] index")
}

/// What is added, as it is told.
const INDEXES: [&str; 4] = [
    "the index of Item.n",
    "the index for the search of Item.title",
    "the index of Item.tags",
    "the index (shelf, n desc) of Item",
];

fn item(n: u64) -> Json {
    let shelf = format!("s{}", n % 3);
    json!({"n": n % 50, "title": format!("number {}", n % 20), "tags": [format!("t{}", n % 7)], "shelf": shelf})
}

/// The items of a server, as they are known to be.
struct Items(Vec<Json>);

impl Items {
    fn fill(client: &mut Client) -> Items {
        let shelves: Vec<Json> =
            (0..3).map(|n| json!({"_id": format!("s{n}"), "name": format!("shelf {n}")})).collect();
        client.post("/api/shelves", &json!(shelves)).expect(201);
        let items: Vec<Json> = (0..ITEMS).map(item).collect();
        let named = items.iter().enumerate().map(|(at, item)| {
            let mut item = item.clone();
            item["_id"] = format!("i{at:04}").into();
            item
        });
        client.post("/api/items", &named.collect()).expect(201);
        Items(items)
    }

    /// The ids of those for which something holds.
    fn ids(&self, holds: impl Fn(&Json) -> bool) -> Vec<String> {
        let found = self.0.iter().enumerate().filter(|(_, item)| holds(item));
        found.map(|(at, _)| format!("i{at:04}")).collect()
    }

    /// Another item takes the place of one.
    fn change(&mut self, client: &mut Client, at: usize, n: u64) {
        self.0[at] = item(n);
        client.patch(&format!("/api/items/i{at:04}"), &self.0[at]).expect(200);
    }

    /// Each of the queries that the indexes are for finds what it should.
    #[track_caller]
    fn agree(&self, client: &mut Client) {
        let mut listed = |filter: &str, order: &str| {
            let path = format!("/api/items?limit=1000&fields=_id&filter={}&order={order}", encoded(filter));
            client.ids(&path)
        };
        assert_eq!(listed("n = 7", ""), self.ids(|item| item["n"] == 7));
        assert_eq!(listed("has_words(title, 'number 3')", ""), self.ids(|item| item["title"] == "number 3"));
        assert_eq!(listed("'t2' in tags", ""), self.ids(|item| item["tags"] == json!(["t2"])));
        let mut of_one = self.ids(|item| item["shelf"] == "s1");
        let n = |id: &String| self.0[id[1..].parse::<usize>().unwrap()]["n"].as_u64();
        of_one.sort_by(|left, right| n(right).cmp(&n(left)).then(right.cmp(left)));
        of_one.truncate(10);
        let page = client.read("/api/shelves/s1/items?order=-n&limit=10");
        let page = page["results"].as_array().unwrap().iter();
        assert_eq!(page.map(|item| item["_id"].as_str().unwrap().to_string()).collect::<Vec<_>>(), of_one);
    }
}

/// How each of these queries is answered: `access`, and which index is said to be being built.
fn explained(client: &mut Client) -> Vec<(String, Vec<String>)> {
    let filters = ["n = 7", "has_words(title, 'number 3')", "'t2' in tags"].map(encoded);
    let mut paths = filters.map(|filter| format!("/api/items?explain=true&filter={filter}")).to_vec();
    paths.push("/api/shelves/s1/items?order=-n&explain=true".into());
    let told = paths.iter().map(|path| {
        let told = client.read(path)["explain"].clone();
        let building = told["building"].as_array().cloned().unwrap_or_default();
        let building = building.iter().map(|it| it.as_str().unwrap().to_string());
        (told["access"].as_str().unwrap().to_string(), building.collect())
    });
    told.collect()
}

fn put(client: &mut Client, path: &str, schema: &str) -> Json {
    let method = if path.ends_with("/plan") { "POST" } else { "PUT" };
    client.request(method, path, &[("content-type", "text/plain")], schema.as_bytes()).expect(200)
}

#[test]
fn indexes_are_added_while_requests_are_answered_and_survive_being_killed() {
    let place = Place::new(SCHEMA);
    let mut server = Server::start(&place, &SLOW);
    let mut client = server.client();
    let mut items = Items::fill(&mut client);
    let planned = put(&mut client, "/api/_schema/plan", &indexed());
    assert_eq!((&planned["fill"], &planned["build"]), (&json!(INDEXES), &json!([])));
    let begun = Instant::now();
    let applied = put(&mut client, "/api/_schema", &indexed());
    assert_eq!(applied["applied"], true);
    assert_eq!(applied["updates"].as_array().unwrap().len(), INDEXES.len(), "{applied}");
    let (mut random, mut kills) = (Random::new(seed()), 0);
    loop {
        items.agree(&mut client);
        let at = random.below(ITEMS) as usize;
        items.change(&mut client, at, random.below(ITEMS));
        items.agree(&mut client);
        let updates = client.read("/api/_updates")["results"].as_array().unwrap().clone();
        if updates.iter().all(|update| update["state"] == "done") {
            break;
        }
        for update in updates.iter().filter(|update| update["state"] != "done") {
            let index = update["index"].as_str().unwrap();
            assert!(INDEXES.contains(&index), "{update}");
            let shown = (&update["task"], &update["type"], &update["cause"]["schema"]);
            assert_eq!(shown, (&json!("index"), &json!("Item"), &json!(true)), "{update}");
            assert!(update["visited"].as_u64() <= Some(ITEMS), "{update}");
            // What is told to be at work may have ended by now.
            for (access, building) in explained(&mut client) {
                assert!(building.len() <= 1 && building.iter().all(|it| INDEXES.contains(&it.as_str())));
                assert_eq!(building.is_empty(), !["all", "references"].contains(&access.as_str()));
            }
        }
        if kills < 3 && begun.elapsed() > Duration::from_millis(400 * (kills + 1)) {
            kills += 1;
            server.kill();
            place.check();
            server = Server::start(&place, &SLOW);
            client = server.client();
        }
    }
    assert!(kills > 0, "it was over before it was looked at");
    let listed = stdout(&run(&["updates", "--url", &server.url(), "--no-follow"]));
    assert!(listed.contains("the index (shelf, n desc) of Item for a new schema"), "{listed}");
    for update in settled(&mut client) {
        assert_eq!((&update["visited"], &update["estimated"]), (&json!(ITEMS), &json!(ITEMS)), "{update}");
    }
    let told = explained(&mut client);
    let whole = ["index", "search", "index", "index"].map(|access| (access.to_string(), Vec::new()));
    assert_eq!(told, whole);
    // Nothing is left of one that goes, and what goes on behind it is no more than that.
    put(&mut client, "/api/_schema", SCHEMA);
    items.agree(&mut client);
    assert_eq!(client.read("/api/_updates")["results"].as_array().unwrap().len(), INDEXES.len());
    drop(client);
    server.stop();
    place.check();
}

/// Of the end of an update that fills an index nobody who watches hears anything, and who resumes misses nothing.
#[test]
fn who_watches_hears_nothing_of_an_index() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &SLOW);
    let mut client = server.client();
    let mut items = Items::fill(&mut client);
    let since = client.read("/api")["revision"].as_str().unwrap().to_string();
    put(&mut client, "/api/_schema", &indexed());
    let mut watch = server.watch(&format!("/api/items?watch=true&since={since}"));
    assert_eq!(watch.told(), "synced");
    settled(&mut client);
    items.change(&mut client, 17, 4);
    assert_eq!(watch.told(), "modified /api/items/i0017");
    let mut again = server.watch(&format!("/api/items?watch=true&since={since}"));
    assert_eq!(again.told(), "modified /api/items/i0017");
    // Each end has a revision of its own.
    let last = client.read("/api")["revision"].as_str().unwrap().parse::<usize>().unwrap();
    assert_eq!(last, since.parse::<usize>().unwrap() + INDEXES.len() + 1);
    drop((watch, again, client));
    server.stop();
    place.check();
}

/// One fills, and all know from when on an index is whole; when it dies another one goes on.
#[test]
fn of_several_servers_any_fills_an_index_for_all() {
    let database = Database::new();
    let (one, other) = (Place::over(&database, SCHEMA), Place::over(&database, SCHEMA));
    let (a, b) = (Server::start(&one, &SLOW), Server::start(&other, &SLOW));
    let (mut to_a, mut to_b) = (a.client(), b.client());
    let mut items = Items::fill(&mut to_a);
    put(&mut to_a, "/api/_schema", &indexed());
    let begun = Instant::now();
    while to_b.read("/api/_updates")["results"].as_array().unwrap().len() < INDEXES.len() {
        assert!(begun.elapsed() < PATIENCE, "the other server does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
    for n in 0..3 {
        items.change(&mut to_b, 100 * n as usize, n);
        items.agree(&mut to_b);
    }
    drop(to_a);
    a.kill();
    while to_b.read("/api/_updates")["results"].as_array().unwrap().iter().any(|it| it["state"] != "done") {
        items.agree(&mut to_b);
        assert!(begun.elapsed() < PATIENCE, "nobody goes on");
    }
    items.agree(&mut to_b);
    let told = explained(&mut to_b);
    assert!(told.iter().all(|(_, building)| building.is_empty()), "{told:?}");
    assert_eq!(told[0].0, "index");
    drop(to_b);
    b.stop();
    other.check();
}
