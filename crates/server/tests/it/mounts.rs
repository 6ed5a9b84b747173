//! Mounts: what one shows is what a filter and other names make of the list of the type, whoever writes by whichever path;
//! and what behaviour cases cannot say of them: watches, many at once, the OpenAPI document, another schema.

use std::collections::BTreeMap;
use std::thread;

use crate::common::*;

const BLOG: &str = r#"
type User in users {
  name: str required
}

type Article in articles {
  title:     str required
  text:      str
  published: bool default false
  stars:     int default 0
  owner:     link User required
  good       := self.stars > 2
}

mount users/{user}/articles of Article {
  where owner = user
}

mount shop/window of Article {
  where published and good
  fields headline: title, by: owner, stars
}
"#;

fn blog() -> (Place, Server, Client) {
    let place = Place::new(BLOG);
    let server = place.serve();
    let mut client = server.client();
    let users: Vec<Json> =
        (0..3).map(|at| json!({"_id": format!("u{at}"), "name": format!("user {at}")})).collect();
    client.post("/api/users", &users.into()).expect(201);
    (place, server, client)
}

/// What is there, by id.
fn by_id(items: Vec<Json>) -> BTreeMap<String, Json> {
    items.into_iter().map(|item| (item["_id"].as_str().unwrap().to_string(), item)).collect()
}

/// What the mounts have to show, from the list of the type.
fn expected(articles: &[Json]) -> BTreeMap<String, BTreeMap<String, Json>> {
    let mut mounts: BTreeMap<String, BTreeMap<String, Json>> = BTreeMap::new();
    for base in
        ["/api/users/u0/articles", "/api/users/u1/articles", "/api/users/u2/articles", "/api/shop/window"]
    {
        mounts.insert(base.into(), BTreeMap::new());
    }
    for article in articles {
        let id = article["_id"].as_str().unwrap().to_string();
        let base = format!("/api/users/{}/articles", article["owner"]["_id"].as_str().unwrap());
        let mut scoped = article.clone();
        scoped["_self"] = format!("{base}/{id}").into();
        mounts.get_mut(&base).unwrap().insert(id.clone(), scoped);
        if article["published"] == true && article["stars"].as_i64().unwrap() > 2 {
            let shown = json!({
                "_id": id, "_self": format!("/api/shop/window/{id}"), "_revision": article["_revision"],
                "headline": article["title"], "by": article["owner"], "stars": article["stars"],
            });
            mounts.get_mut("/api/shop/window").unwrap().insert(id, shown);
        }
    }
    mounts
}

#[test]
fn a_mount_shows_what_a_filter_and_other_names_make_of_the_list() {
    let (place, server, mut client) = blog();
    let seed = seed();
    println!("COROLLARY_SEED={seed}");
    let mut random = Random::new(seed);
    let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
    for round in 0..40 {
        for _ in 0..8 {
            let (id, user, stars) =
                (format!("a{}", random.below(12)), format!("u{}", random.below(3)), random.below(6) as i64);
            let published = random.below(2) == 0;
            let owned = format!("/api/users/{user}/articles");
            let reply = match random.below(9) {
                0 => client.post(&owned, &json!({"_id": id, "title": "by mount", "published": published, "stars": stars})),
                1 => client.post("/api/articles", &json!({"_id": id, "title": "by list", "owner": user, "published": published, "stars": stars})),
                2 => client.post("/api/shop/window", &json!({"_id": id, "headline": "shown", "by": user, "stars": stars})),
                3 => client.patch(&format!("/api/articles/{id}"), &json!({"owner": user, "published": published})),
                4 => client.patch(&format!("{owned}/{id}"), &json!({"stars": stars, "published": published})),
                5 => client.put(&format!("{owned}/{id}"), &json!({"title": "replaced", "stars": stars, "published": published})),
                6 => client.put(&format!("/api/shop/window/{id}"), &json!({"headline": "put", "by": user, "stars": stars})),
                7 => client.patch(&format!("/api/shop/window/{id}"), &json!({"stars": stars, "headline": "patched"})),
                _ => client.delete(&format!("{owned}/{id}")),
            };
            assert!(reply.status < 500, "{}", reply.text());
            *by_status.entry(reply.status).or_default() += 1;
        }
        let articles = client.list("/api/articles");
        for (base, expected) in expected(&articles) {
            assert_eq!(by_id(client.list(&base)), expected, "{base} in round {round}");
            for article in &articles {
                let id = article["_id"].as_str().unwrap();
                let one = client.get(&format!("{base}/{id}"));
                match expected.get(id) {
                    Some(expected) => assert_eq!(one.expect(200), *expected),
                    None => drop(one.problem(404, "not-found")),
                }
            }
        }
    }
    for status in [200, 201, 204, 404, 409, 422] {
        assert!(by_status.contains_key(&status), "nothing was answered with {status}: {by_status:?}");
    }
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn whoever_leaves_a_scope_at_the_same_time_is_not_changed_through_it() {
    let (place, server, mut client) = blog();
    client.post("/api/users/u0/articles", &json!({"_id": "a", "title": "0"})).expect(201);
    // One gives it away and takes it back; the others count the stars that they gave while it was theirs.
    let through = |user: &'static str| {
        let mut client = server.client();
        thread::spawn(move || {
            let kind = [("content-type", "application/vnd.corollary.update+json")];
            let mut given = 0;
            for _ in 0..150 {
                let path = format!("/api/users/{user}/articles/a");
                let body = json!([{"inc": {"key": "stars", "by": 1}}]);
                let reply = client.request("PATCH", &path, &kind, body.to_string().as_bytes());
                match reply.status {
                    200 => {
                        assert_eq!(reply.json()["owner"]["_id"], user);
                        given += 1;
                    }
                    _ => drop(reply.problem(404, "not-found")),
                }
            }
            given
        })
    };
    let threads: Vec<_> = ["u0", "u1"].map(through).into_iter().collect();
    for at in 0..100 {
        client.patch("/api/articles/a", &json!({"owner": format!("u{}", at % 2)})).expect(200);
    }
    let given: i64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(client.read("/api/articles/a")["stars"], given);
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn a_watch_of_a_mount_tells_what_comes_and_leaves_by_its_names() {
    let (_place, server, mut client) = blog();
    client
        .post(
            "/api/articles",
            &json!({"_id": "a", "title": "one", "owner": "u0", "published": true, "stars": 3}),
        )
        .expect(201);
    let mut window = server.watch("/api/shop/window?watch=true");
    let first = window.next();
    assert_eq!((first.kind(), first.path()), ("added", "/api/shop/window/a"));
    let shown = &first.data["resource"];
    assert_eq!(
        (&shown["headline"], &shown["by"]["_id"], shown.get("title"), shown.get("published")),
        (&json!("one"), &json!("u0"), None, None)
    );
    assert_eq!(window.told(), "synced");
    let mut one = server.watch("/api/shop/window/a?watch=true");
    one.synced();
    client.patch("/api/articles/a", &json!({"title": "two", "text": "hidden"})).expect(200);
    for watch in [&mut window, &mut one] {
        let event = watch.next();
        assert_eq!(
            (event.kind(), &event.data["changed"], &event.data["old"]),
            ("modified", &json!(["headline"]), &json!({"headline": "one"}))
        );
        assert_eq!(event.data["resource"]["_self"], "/api/shop/window/a");
    }
    client.patch("/api/articles/a", &json!({"published": false})).expect(200);
    assert_eq!(window.told(), "left /api/shop/window/a");
    assert_eq!(one.told(), "left /api/shop/window/a");
    client.patch("/api/articles/a", &json!({"published": true})).expect(200);
    assert_eq!(window.told(), "added /api/shop/window/a");
    client.delete("/api/articles/a").expect_status(204);
    assert_eq!(window.told(), "removed /api/shop/window/a");
}

#[test]
fn the_document_has_the_shapes_and_the_methods_of_a_mount() {
    let (_place, _server, mut client) = blog();
    let document = client.read("/api/_openapi.json");
    let window = &document["paths"]["/api/shop/window"];
    assert!(window["get"].is_object() && window["post"].is_object(), "{window}");
    let shapes = &document["components"]["schemas"];
    let names = |shape: &str| -> Vec<String> {
        shapes[shape]["properties"].as_object().unwrap_or_else(|| panic!("{shape}")).keys().cloned().collect()
    };
    assert_eq!(names("Article.shop.windowFacts"), ["_id", "headline", "stars", "by"].map(str::to_string));
    assert_eq!(shapes["Article.shop.windowFacts"]["required"], json!(["headline", "by"]));
    assert_eq!(shapes["Article.users.user.articlesFacts"]["required"], json!(["title"]));
    let one = &document["paths"]["/api/users/{user}/articles/{article_id}"];
    let parameters: Vec<&str> =
        one["parameters"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["user", "article_id"]);
    assert_eq!(client.read("/api")["mounts"][1], json!({"path": "/api/shop/window", "type": "Article"}));
}

#[test]
fn another_mount_is_no_change_of_the_data() {
    let (_place, _server, mut client) = blog();
    client.post("/api/articles", &json!({"_id": "a", "title": "one", "owner": "u0"})).expect(201);
    let revision = client.read("/api")["revision"].clone();
    let changed = BLOG
        .replace("mount shop/window of", "mount shop/shelf of")
        .replace("where owner = user", "where owner = user, allow read");
    let text = [("content-type", "text/plain")];
    let planned = client.request("POST", "/api/_schema/plan", &text, changed.as_bytes()).expect(200);
    assert_eq!(planned["class"], "breaking");
    let changes: Vec<String> = planned["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{} {}", it["of"].as_str().unwrap(), it["what"].as_str().unwrap()))
        .collect();
    assert_eq!(
        changes,
        ["mount users/{user}/articles is another", "mount shop/window is gone", "mount shop/shelf is new"]
    );
    assert_eq!(
        (&planned["build"], &planned["fill"], &planned["refused"]),
        (&json!([]), &json!([]), &json!([]))
    );
    client.request("PUT", "/api/_schema", &text, changed.as_bytes()).expect(200);
    assert_eq!(client.read("/api")["revision"], revision, "no commit came of it");
    client.get("/api/shop/shelf").expect(200);
    client.get("/api/shop/window").problem(404, "not-found");
    client.post("/api/users/u0/articles", &json!({"title": "x"})).problem(405, "method-not-allowed");
}
