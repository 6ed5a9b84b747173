//! Who asks, as a proxy says (`--actor-header`): the log, watches, rules and webhooks hear of it, whatever kind of write it is.

use crate::common::receiver::Receiver;
use crate::common::watch::Watch;
use crate::common::*;

const SCHEMA: &str = "
type Team in teams { name: str, notes: inverse Note.team, words := sum(self.notes.words) }
type Note in notes { words: int default 0, photo: file, team: link Team on delete unlink }
";

const WHO: &str = "x-forwarded-user";

fn by(client: &mut Client, who: &str, method: &str, path: &str, body: &Json) -> Reply {
    client.with(method, path, &[(WHO, who)], body)
}

/// Whose the commits of the log are, the first one first.
fn actors(client: &mut Client) -> Vec<Option<String>> {
    let log = client.read("/api/_log?since=0&limit=1000");
    let actor = |commit: &Json| commit.get("actor").map(|actor| actor.as_str().unwrap().to_owned());
    log["results"].as_array().unwrap().iter().map(actor).collect()
}

#[test]
fn every_kind_of_write_is_known_as_whose_it_is() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--actor-header", "X-Forwarded-User"]);
    let mut client = server.client();
    let mut watch = Watch::begin(&server.address, "/api/teams?watch=true", &[]);
    let writes: [(&str, &str, Json); 9] = [
        ("POST", "/api/teams", json!({"_id": "t"})),
        ("POST", "/api/notes", json!([{"_id": "a", "team": "t", "words": 3}, {"_id": "b", "team": "t"}])),
        ("PATCH", "/api/notes/a", json!({"words": 4})),
        ("PUT", "/api/notes/a", json!({"words": 5, "team": "t"})),
        ("POST", "/api/_batch", json!([{"method": "PATCH", "path": "/notes/a", "body": {"words": 6}}])),
        ("POST", "/api/notes/_update", json!({"where": {"expr": "words > 5"}, "patch": {"words": 7}})),
        ("POST", "/api/notes/_delete", json!({"where": {"expr": "words = 7"}})),
        ("PATCH", "/api/notes/b?wait=true", json!({"words": 8})),
        ("DELETE", "/api/notes/b", json!(null)),
    ];
    for (at, (method, path, body)) in writes.iter().enumerate() {
        by(&mut client, &format!("user {at}"), method, path, body).expect_status(match (*method, at) {
            ("POST", 0 | 1) => 201,
            ("DELETE", _) => 204,
            _ => 200,
        });
    }
    client.post("/api/notes", &json!({"_id": "c"})).expect(201);
    let photo = [("content-type", "image/png"), (WHO, "user 10")];
    client.request("PUT", "/api/notes/c/photo", &photo, b"png").expect_status(201);
    let expected: Vec<Option<String>> = (0..=10).map(|at| (at != 9).then(|| format!("user {at}"))).collect();
    assert_eq!(actors(&mut client), expected);
    let theirs = client.read("/api/_log?since=0&actor=user%202");
    assert_eq!(theirs["results"].as_array().unwrap().len(), 1);
    assert_eq!(theirs["results"][0]["changes"][0]["new"], json!({"words": 4}));
    // What follows is known as theirs too: it is of the same commit.
    let told =
        std::iter::repeat_with(|| watch.next()).find(|event| event.data["resource"]["words"] == json!(8));
    assert_eq!(told.unwrap().data["actor"], json!("user 7"));
}

#[test]
fn rules_and_webhooks_may_ask_who_it_is() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    let rule = json!({"_id": "r", "type": "Team", "rule": "deny when actor != 'boss', message 'not yours'"});
    client.post("/api/_processors", &rule).expect(201);
    let team = json!({"_id": "t"});
    client.post("/api/teams", &team).problem(422, "denied");
    by(&mut client, "clerk", "POST", "/api/teams", &team).problem(422, "denied");
    by(&mut client, "boss", "POST", "/api/teams?dry_run=true", &team).expect(200);
    by(&mut client, "boss", "POST", "/api/teams", &team).expect(201);
    by(&mut client, "clerk", "PATCH", "/api/teams/t?dry_run=true", &json!({"name": "x"}))
        .problem(422, "denied");
    let receiver = Receiver::new();
    receiver.reply(|_| (200, json!({"allowed": true}).to_string()));
    let webhook = json!({"_id": "w", "type": "Note", "webhook": {"url": receiver.url()}});
    client.post("/api/_processors", &webhook).expect(201);
    by(&mut client, "clerk", "POST", "/api/notes", &json!({"_id": "a"})).expect(201);
    client.patch("/api/notes/a", &json!({"words": 1})).expect(200);
    let told: Vec<Option<Json>> =
        receiver.came().iter().map(|asked| asked.event.get("actor").cloned()).collect();
    assert_eq!(told, [Some(json!("clerk")), None]);
    assert_eq!(actors(&mut client).last(), Some(&None));
}

#[test]
fn a_key_is_of_one_actor_alone() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    let mut send = |who: Option<&str>| {
        let mut headers = vec![("idempotency-key", "k")];
        headers.extend(who.map(|who| (WHO, who)));
        client.with("POST", "/api/teams", &headers, &json!({"_id": "t"}))
    };
    let first = send(Some("ann"));
    assert_eq!(first.status, 201);
    let again = send(Some("ann"));
    assert_eq!((again.status, again.text()), (201, first.text()));
    send(Some("bob")).problem(422, "idempotency-key");
    send(None).problem(422, "idempotency-key");
}

#[test]
fn names_are_taken_as_they_are_or_refused() {
    let place = Place::new(SCHEMA);
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    let long = "x".repeat(256);
    for name in ["angus", "Åse Øy", "a, b", &long] {
        by(&mut client, name, "POST", "/api/teams", &json!({})).expect(201);
        assert_eq!(actors(&mut client).last(), Some(&Some(name.into())));
    }
    by(&mut client, "", "POST", "/api/teams", &json!({})).expect(201);
    assert_eq!(actors(&mut client).last(), Some(&None));
    by(&mut client, &format!("{long}x"), "POST", "/api/teams", &json!({})).problem(400, "actor");
    let twice = [(WHO, "ann"), (WHO, "bob")];
    client.with("POST", "/api/teams", &twice, &json!({})).problem(400, "actor");
    assert_eq!(client.list("/api/teams").len(), 5);
}

#[test]
fn nobody_is_believed_where_no_proxy_is_named() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    by(&mut client, "boss", "POST", "/api/teams", &json!({})).expect(201);
    assert_eq!(actors(&mut client), [None]);
    let told = Server::try_start(&place, &["--actor-header", "not a name"]).map(drop).unwrap_err();
    assert!(told.contains("actor-header"), "{told}");
}

const SHOP: &str = "
type Person in people {
  login: str unique actor, normalize (trim, lower)
  limit: int default 0
  orders: inverse Order.owner
  spent := sum(self.orders.total)
}
type Order in orders { total: int default 0, by: str, owner: link Person on delete unlink }
";

/// Whose resource it is a rule knows: by the name that the proxy gives, as it was before the write.
#[test]
fn rules_know_the_resource_of_who_asks() {
    let place = Place::new(SHOP);
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    let people =
        json!([{"_id": "ann", "login": "Ann", "limit": 10}, {"_id": "bob", "login": "bob", "limit": 100}]);
    client.post("/api/people", &people).expect(201);
    let rules = [
        ("others", "deny when ego = null or self.owner != ego, message 'not yours'"),
        ("limit", "deny when ego.spent > ego.limit, message 'too much'"),
        ("by", "set by := ego.login else actor"),
    ];
    for (at, (id, rule)) in rules.into_iter().enumerate() {
        let on = ["create", "update"];
        let rule = json!({"_id": id, "type": "Order", "on": on, "order": at, "rule": rule});
        client.post("/api/_processors", &rule).expect(201);
    }
    let order = |owner: &str, total: i64| json!({"owner": owner, "total": total});
    let denied = |reply: Reply, why: &str| {
        let problem = reply.problem(422, "denied");
        assert_eq!(problem["detail"], json!(why));
    };
    by(&mut client, " ANN", "POST", "/api/orders", &order("ann", 8)).expect(201);
    denied(by(&mut client, "ann", "POST", "/api/orders", &order("bob", 1)), "not yours");
    denied(by(&mut client, "ann", "POST", "/api/orders", &order("ann", 3)), "too much");
    denied(by(&mut client, "eve", "POST", "/api/orders", &order("ann", 1)), "not yours");
    denied(client.post("/api/orders", &json!({})), "not yours");
    let orders = client.list("/api/orders");
    assert_eq!((orders.len(), &orders[0]["by"]), (1, &json!("ann")));
    // What she may is as the write leaves it; who she is, as it was.
    let more = json!([
        {"method": "PATCH", "path": "/people/ann", "body": {"limit": 20}},
        {"method": "POST", "path": "/orders", "body": order("ann", 3)},
    ]);
    by(&mut client, "ann", "POST", "/api/_batch", &more).expect(200);
    let other = json!([
        {"method": "PATCH", "path": "/people/ann", "body": {"login": "was ann"}},
        {"method": "PATCH", "path": "/people/bob", "body": {"login": "ann"}},
        {"method": "POST", "path": "/orders", "body": order("bob", 3)},
    ]);
    denied(by(&mut client, "ann", "POST", "/api/_batch", &other), "item 2: not yours");
    assert_eq!(client.read("/api/people/bob")["login"], json!("bob"));
    // A dry run is refused as the write is.
    denied(by(&mut client, "bob", "POST", "/api/orders?dry_run=true", &order("ann", 1)), "not yours");
}

/// A schema that no longer says who is who leaves the rules that ask for it unfit: nothing passes them unseen.
#[test]
fn a_rule_about_nobody_refuses_all() {
    let place = Place::new(SHOP);
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    let rule = json!({"_id": "r", "type": "Order", "rule": "deny when ego = null"});
    client.post("/api/_processors", &rule).expect(201);
    client.post("/api/people", &json!({"_id": "ann", "login": "ann"})).expect(201);
    by(&mut client, "ann", "POST", "/api/orders", &json!({})).expect(201);
    client.put("/api/_schema", &json!({"text": SHOP.replace(" actor,", ",")})).expect(200);
    by(&mut client, "ann", "POST", "/api/orders", &json!({})).problem(422, "processor");
    let shown = client.read("/api/_processors/r");
    assert_eq!(shown["status"], json!("unfit"));
    assert!(shown["error"].as_str().unwrap().contains("actor"), "{shown}");
    client.put("/api/_schema", &json!({"text": SHOP})).expect(200);
    by(&mut client, "ann", "POST", "/api/orders", &json!({})).expect(201);
    by(&mut client, "eve", "POST", "/api/orders", &json!({})).problem(422, "denied");
}

/// The versions of a resource are kept for longer than the log, and say whose they are themselves.
#[test]
fn versions_say_whose_they_are() {
    let schema = "type Page in pages history { text: str, length := length(self.text) }";
    let place = Place::new(schema);
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    by(&mut client, "Åse", "POST", "/api/pages", &json!({"_id": "p", "text": "a"})).expect(201);
    let created = client.read("/api/pages/p")["_revision"].clone();
    client.patch("/api/pages/p", &json!({"text": "bb"})).expect(200);
    by(&mut client, "bob", "DELETE", "/api/pages/p", &json!(null)).expect_status(204);
    by(&mut client, "ann", "POST", "/api/pages/p/_revert", &json!({"to": created})).expect(201);
    server.kill();
    let server = Server::start(&place, &["--actor-header", WHO]);
    let mut client = server.client();
    let page = client.read("/api/pages/p/_versions");
    let told = |version: &Json| {
        (version["type"].clone(), version["actor"].clone(), version["resource"]["text"].clone())
    };
    let told: Vec<_> = page["results"].as_array().unwrap().iter().map(told).collect();
    let expected = [
        (json!("created"), json!("ann"), json!("a")),
        (json!("deleted"), json!("bob"), Json::Null),
        (json!("modified"), Json::Null, json!("bb")),
        (json!("created"), json!("Åse"), json!("a")),
    ];
    assert_eq!(told, expected);
    // Before it was created there was nothing, whoever did that.
    client.get("/api/pages/p?at=0").problem(404, "not-found");
    let was = client.read(&format!("/api/pages/p?at={}", created.as_str().unwrap()));
    assert_eq!(was["text"], json!("a"));
}
