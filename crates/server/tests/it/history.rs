//! The past through REST: a resource as it was, its versions, and the way back to one.

use crate::common::client::encoded;
use crate::common::*;

const WIKI: &str = r#"
type Topic in topics {
  name:     str required
  articles: inverse Article.topic
  pages:    ordered collection Page
  length    := sum(self.articles.length)
}

type Article in articles history {
  title:  str required, unique
  length: int default 0
  born:   str immutable
  tags:   set<str>
  topic:  link Topic on delete unlink
  label   := self.topic.name + ': ' + self.title
  hot     := js("(tags) => tags.length > 1", using: [tags])
}

type Page history {
  name: str
}
"#;

/// What is seen of a list: what it shows and how many there are, without what belongs to the present.
fn seen(page: &Json) -> Json {
    let mut page = page.clone();
    let strip = |it: &mut Json| {
        it.as_object_mut().map(|it| it.remove("_position"));
    };
    for item in page["results"].as_array_mut().unwrap() {
        strip(item);
        for list in ["articles", "pages"] {
            item.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten().for_each(strip);
        }
    }
    json!({"results": page["results"], "count": page["count"]})
}

/// Replaces a resource, or creates it where there is none.
fn put(client: &mut Client, path: &str, body: &Json) -> Reply {
    let replaced = client.put(path, body);
    match replaced.status {
        404 => client.with("PUT", path, &[("if-none-match", "*")], body),
        _ => replaced,
    }
}

/// It compared lists of nothing: what it put was not there, and a PUT alone creates nothing.
#[test]
fn lists_of_the_past_are_what_they_were() {
    let place = Place::new(WIKI);
    let mut server = place.serve();
    let mut client = server.client();
    let mut random = Random::new(seed());
    let lists = [
        "/api/articles?count=true&limit=50",
        "/api/articles?filter=topic.name > 'n3' and length > 20&order=-length,title&count=true",
        "/api/topics?expand=articles{title,label},pages{name}&filter=count(self.articles) > 0&order=name",
        "/api/topics/t1/articles?order=-length&limit=3",
        "/api/topics/t0/pages",
    ]
    .map(|path| {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        format!("{path}?{}", encoded(query).replace("%3D", "=").replace("%26", "&"))
    });
    for n in 0..3 {
        client.post("/api/topics", &json!({"_id": format!("t{n}"), "name": format!("n{n}")})).expect(201);
    }
    let mut told: Vec<(u64, Vec<Option<Json>>)> = Vec::new();
    for step in 0..120 {
        let (topic, article) = (format!("t{}", random.below(4)), format!("a{}", random.below(12)));
        let length = random.below(50);
        let topic_path = format!("/api/topics/{topic}");
        let path = format!("/api/articles/{article}");
        let link = json!({"title": format!("w{step}"), "length": length, "topic": topic});
        // Some of them are refused: what is not there is not changed.
        let reply = match random.below(9) {
            0..=2 => put(&mut client, &path, &link),
            3 => client.patch(&path, &json!({"length": length})),
            4 => client.patch(&path, &json!({"topic": topic})),
            5 => client.delete(&path),
            6 => client.patch(&topic_path, &json!({"name": format!("n{}", random.below(9))})),
            7 if step % 3 == 0 => client.delete("/api/topics/t3"),
            7 => put(&mut client, "/api/topics/t3", &json!({"name": "n3"})),
            _ => {
                client.request("POST", &format!("{topic_path}/pages?position=0"), &JSON, br#"{"name": "p"}"#)
            }
        };
        assert!(reply.status < 500, "{}", reply.text());
        let mut revision = 0;
        let pages: Vec<Option<Json>> = lists
            .iter()
            .map(|path| {
                let reply = client.get(path);
                let page = reply.json();
                assert!(matches!(reply.status, 200 | 404), "{path}: {page}");
                (reply.status == 200).then(|| {
                    revision = reply.revision();
                    seen(&page)
                })
            })
            .collect();
        told.push((revision, pages));
        if step == 60 {
            // The log tells as much after a restart.
            drop(client);
            assert!(server.stop().0.success());
            server = place.serve();
            client = server.client();
        }
    }
    for (revision, pages) in &told {
        for (path, page) in lists.iter().zip(pages) {
            let reply = client.get(&format!("{path}&at={revision}"));
            let then = (reply.status == 200).then(|| seen(&reply.json()));
            assert_eq!(&then, page, "{path} at {revision}: {}", reply.text());
            assert!(reply.status != 200 || reply.revision() == *revision, "{}", reply.text());
        }
    }
    // Pages go on in the same past.
    let (revision, pages) = told.iter().rev().find(|(_, pages)| pages[0].is_some()).unwrap();
    let all = client.ids(&format!("/api/articles?at={revision}&limit=2"));
    let whole: Vec<&str> = pages[0].as_ref().unwrap()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["_id"].as_str().unwrap())
        .collect();
    assert_eq!(all, whole);
    let most = told.iter().filter_map(|(_, pages)| pages[0].as_ref()?["count"].as_u64()).max();
    assert!(most > Some(4), "{most:?} articles at most");
    let last = told.last().unwrap().0;
    client.get(&format!("/api/articles?at={}", last + 1)).problem(400, "parameter");
    client.get(&format!("/api/articles?at={last}&explain=true")).problem(400, "parameter");
    client.get(&format!("/api/nothing?at={last}")).problem(404, "not-found");
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn a_resource_is_shown_as_it_was() {
    let place = Place::new(WIKI);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/topics", &json!({"_id": "t", "name": "old"})).expect(201);
    let first = client.post("/api/articles", &json!({"_id": "a", "title": "one", "topic": "t"}));
    first.expect(201);
    let second = client.patch("/api/articles/a", &json!({"title": "two", "tags": ["x", "y"]}));
    // What follows makes a version too.
    let third = client.patch("/api/topics/t", &json!({"name": "new"}));
    client.delete("/api/articles/a").expect(204);

    let was = |client: &mut Client, revision: u64| client.get(&format!("/api/articles/a?at={revision}"));
    was(&mut client, first.revision() - 1).problem(404, "not-found");
    let shown = was(&mut client, first.revision());
    assert_eq!(shown.json(), first.json());
    assert_eq!(shown.header("etag"), first.header("etag"));
    assert_eq!(shown.header("content-location"), Some("/api/articles/a"));
    assert_eq!(was(&mut client, second.revision()).json(), second.json());
    let followed = was(&mut client, third.revision()).json();
    assert_eq!((&followed["title"], &followed["label"]), (&json!("two"), &json!("new: two")));
    assert_eq!(followed["_revision"], third.revision().to_string());
    let gone = was(&mut client, third.revision() + 1).problem(404, "not-found");
    assert!(gone["detail"].as_str().unwrap().contains("it was deleted in revision 5"), "{gone}");
    let fields = client.read(&format!("/api/articles/a?at={}&fields=title", second.revision()));
    assert_eq!(fields["title"], "two");
    assert!(fields.get("label").is_none());

    // Of a type without a history the log tells.
    assert_eq!(client.read("/api/topics/t?at=2")["name"], "old");
    assert_eq!(client.read("/api/topics/t?at=4")["name"], "new");

    was(&mut client, 99).problem(400, "parameter");
    client.get("/api/articles/a?at=x").problem(400, "parameter");
    client.get("/api/articles/a?at=2&watch=true").problem(400, "parameter");
    client.with("PATCH", "/api/topics/t?at=2", &[], &json!({"name": "x"})).problem(400, "parameter");
    drop(server.stop());
    place.check();
}

/// It was refused, and lists did it. Of some seeds it deleted too little to look for what is gone, and failed.
#[test]
fn a_resource_of_the_past_shows_what_stood_in_it_then() {
    let place = Place::new(WIKI);
    let server = place.serve();
    let mut client = server.client();
    let mut random = Random::new(seed());
    for n in 0..2 {
        client.post("/api/topics", &json!({"_id": format!("t{n}"), "name": format!("n{n}")})).expect(201);
        put(&mut client, &format!("/api/articles/a{n}"), &json!({"title": format!("w{n}"), "topic": "t0"}))
            .expect(201);
    }
    let ways = [
        "/api/topics/t0?expand=articles{title,label},pages{name}",
        "/api/topics/t0?expand=articles[length%3E10 order by -length limit 2]&fields=name,length",
        "/api/articles/a0?expand=topic.articles",
        "/api/articles/a1?expand=topic{name,length}&fields=title",
    ]
    .map(|path| path.replace(' ', "%20"));
    let strip = |json: &mut Json| {
        for list in ["articles", "pages"] {
            let members = json.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten();
            members.for_each(|it| drop(it.as_object_mut().unwrap().remove("_position")));
        }
    };
    let mut told = Vec::new();
    for step in 0..44 {
        // At the end both that are looked at are gone, whatever chance did before.
        let (article, kind) = if step < 40 { (random.below(4), random.below(6)) } else { (step % 2, 4) };
        let article = format!("/api/articles/a{article}");
        let topic = format!("t{}", random.below(2));
        let reply = match kind {
            0 | 1 => {
                let body = json!({"title": format!("v{step}"), "length": random.below(30), "topic": topic});
                put(&mut client, &article, &body)
            }
            2 => client.patch(&article, &json!({"topic": topic})),
            3 => client.patch(&format!("/api/topics/{topic}"), &json!({"name": format!("m{step}")})),
            4 => client.delete(&article),
            _ => client.post(&format!("/api/topics/{topic}/pages"), &json!({"name": format!("p{step}")})),
        };
        assert!(reply.status < 500, "{}", reply.text());
        let revision = client.read("/api")["revision"].as_str().unwrap().to_string();
        let seen = ways.each_ref().map(|path| {
            let reply = client.get(path);
            let mut json = reply.json();
            strip(&mut json);
            (reply.status == 200).then_some(json)
        });
        told.push((revision, seen));
    }
    assert!(told.iter().flat_map(|(_, seen)| seen).filter(|seen| seen.is_none()).count() > 3);
    for (revision, seen) in &told {
        for (path, seen) in ways.iter().zip(seen) {
            let reply = client.get(&format!("{path}&at={revision}"));
            let mut json = reply.json();
            strip(&mut json);
            match seen {
                Some(seen) => assert_eq!((reply.status, &json), (200, seen), "{path} at {revision}"),
                None => drop(reply.problem(404, "not-found")),
            }
            assert!(reply.header("etag").is_none(), "what is expanded has revisions of its own");
        }
    }
    client.get("/api/topics/t0?at=9999&expand=articles").problem(400, "parameter");
    client.get("/api/topics/t0?at=3&expand=artcles").problem(400, "parameter");
    drop(server.stop());
    place.check();
}

#[test]
fn versions_come_in_pages_and_survive_a_kill() {
    let place = Place::new(WIKI);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/articles", &json!({"_id": "a", "title": "0"})).expect(201);
    for n in 1..8 {
        client.patch("/api/articles/a", &json!({"title": n.to_string(), "length": n})).expect(200);
    }
    client.delete("/api/articles/a").expect(204);
    client.post("/api/articles", &json!({"_id": "a", "title": "again"})).expect(201);
    server.kill();
    let server = place.serve();
    let mut client = server.client();
    let mut path = "/api/articles/a/_versions?limit=3".to_string();
    let mut found = Vec::new();
    loop {
        let page = client.read(&path);
        found.extend(page["results"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => path = next.to_string(),
            None => break,
        }
    }
    let told: Vec<String> = found
        .iter()
        .map(|it| format!("{} {} {}", it["revision"], it["type"], it["resource"]["title"]).replace('"', ""))
        .collect();
    let mut expected = vec!["10 created again".to_string(), "9 deleted null".into()];
    expected.extend((1..8).rev().map(|n| format!("{} modified {n}", n + 1)));
    expected.push("1 created 0".into());
    assert_eq!(told, expected);
    assert_eq!(found[2]["changed"], json!(["title", "length", "label"].iter().take(2).collect::<Vec<_>>()));
    assert!(found.iter().all(|it| it["time"].as_str().is_some_and(|time| time.ends_with('Z'))));
    assert_eq!(client.read("/api/articles/a/_versions?limit=10")["next"], Json::Null);
    client.get("/api/articles/b/_versions").problem(404, "not-found");
    client.get("/api/topics/t/_versions").problem(501, "no-history");
    client.get("/api/articles/a/_versions?filter=length").problem(400, "parameter");
    client.get("/api/articles/a/_versions?page_token=x").problem(400, "page-token");
    client.post("/api/articles/a/_versions", &json!({})).problem(405, "method-not-allowed");
    drop(server.stop());
    place.check();
}

#[test]
fn the_way_back_is_a_new_commit_held_to_the_rules_of_now() {
    let place = Place::new(WIKI);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/topics", &json!({"_id": "t", "name": "T"})).expect(201);
    let body = json!({"_id": "a", "title": "one", "length": 5, "born": "here", "tags": ["x"], "topic": "t"});
    let first = client.post("/api/articles", &body).revision();
    client.patch("/api/articles/a", &json!({"title": "two", "length": 7, "tags": null})).expect(200);
    assert_eq!(client.read("/api/topics/t")["length"], 7);

    let back = client.post("/api/articles/a/_revert", &json!({"to": first.to_string()}));
    back.expect(200);
    let json = back.json();
    assert_eq!((&json["title"], &json["length"], &json["tags"]), (&json!("one"), &json!(5), &json!(["x"])));
    assert_eq!(back.revision(), first + 2);
    assert_eq!(client.read("/api/topics/t")["length"], 5);
    // Again is no change.
    assert_eq!(client.post("/api/articles/a/_revert", &json!({"to": first})).revision(), first + 2);
    let headers = [("if-match", "\"1\"")];
    client
        .with("POST", "/api/articles/a/_revert", &headers, &json!({"to": first}))
        .problem(412, "precondition");

    // What is gone comes back, unless its place is taken.
    client.delete("/api/articles/a").expect(204);
    client.post("/api/articles", &json!({"_id": "b", "title": "one"})).expect(201);
    client.post("/api/articles/a/_revert", &json!({"to": first})).problem(409, "unique");
    client.delete("/api/articles/b").expect(204);
    let back = client.post("/api/articles/a/_revert", &json!({"to": first}));
    back.expect(201);
    assert_eq!(back.json()["label"], "T: one");
    assert_eq!(client.read("/api/topics/t")["length"], 5);

    // Children as well, under their parent.
    let page = client.post("/api/topics/t/pages", &json!({"_id": "p", "name": "x"}));
    assert_eq!(page.json()["_position"], 0);
    client.delete("/api/topics/t/pages/p").expect(204);
    let path = format!("/api/topics/t/pages/p?at={}", page.revision());
    let was = client.read(&path);
    assert_eq!(was["name"], "x");
    assert!(was.get("_position").is_none(), "where it stood among the others is not kept: {was}");
    let back = client.post("/api/topics/t/pages/p/_revert", &json!({"to": page.revision()}));
    back.expect(201);
    assert_eq!(back.json()["_self"], "/api/topics/t/pages/p");

    for wrong in [json!({}), json!({"to": "x"}), json!({"to": -1}), json!([1]), json!({"to": 1, "by": 2})] {
        client.post("/api/articles/a/_revert", &wrong).problem(400, "body");
    }
    client.get("/api/articles/a/_revert").problem(405, "method-not-allowed");
    drop(server.stop());
    place.check();
}

#[test]
fn what_was_there_before_its_history_is_found() {
    let before = WIKI.replace("in articles history", "in articles");
    let place = Place::new(&before);
    let server = place.serve();
    let mut client = server.client();
    client
        .post("/api/articles", &json!([{"_id": "a", "title": "a"}, {"_id": "b", "title": "b"}]))
        .expect(201);
    drop(server.stop());
    place.write("schema.cor", WIKI);
    let server = place.serve();
    let mut client = server.client();
    let changed = client.patch("/api/articles/a", &json!({"title": "A"})).revision();
    let types = |page: &Json| -> Vec<String> {
        let results = page["results"].as_array().unwrap().iter();
        results.map(|it| format!("{} {}", it["type"].as_str().unwrap(), it["resource"]["title"])).collect()
    };
    assert_eq!(types(&client.read("/api/articles/a/_versions")), ["modified \"A\"", "found \"a\""]);
    assert_eq!(types(&client.read("/api/articles/b/_versions")), ["found \"b\""]);
    assert_eq!(client.read(&format!("/api/articles/a?at={}", changed - 1))["title"], "a");
    drop(server.stop());
    place.write("schema.cor", &before);
    let output = Server::try_start(&place, &[]).err().expect("it does not start");
    assert!(output.contains("Article has a history, and the new schema keeps none of it"), "{output}");
}
