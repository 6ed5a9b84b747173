//! Processors over HTTP: what writes of any kind pass, declared and taken away while the server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::receiver::Receiver;
use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Customer in customers { name: str, limit: int default 100, orders: inverse Order.customer, total := sum(self.orders.amount) }
type Order in orders { customer: link Customer, amount: int default 0, title: str, slug: str unique, photo: file }
";

fn limit() -> Json {
    json!({"_id": "limit", "type": "Order", "on": ["create", "update"],
        "rule": "deny when self.customer.total > self.customer.limit, message 'over the limit'"})
}

#[test]
fn every_kind_of_write_passes_the_line() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/customers", &json!({"_id": "c"})).expect(201);
    client.post("/api/orders", &json!({"_id": "a", "customer": "c", "amount": 60})).expect(201);
    let made = client.post("/api/_processors", &limit());
    assert_eq!(made.header("location"), Some("/api/_processors/limit"));
    let made = made.expect(201);
    assert_eq!(
        (&made["status"], &made["order"], &made["paused"]),
        (&json!("active"), &json!(100), &json!(false))
    );
    let over = json!({"_id": "b", "customer": "c", "amount": 41});
    let problem = client.post("/api/orders", &over).problem(422, "denied");
    assert_eq!(problem["detail"], json!("over the limit"));
    client.post("/api/orders?dry_run=true", &over).problem(422, "denied");
    client.patch("/api/orders/a", &json!({"amount": 101})).problem(422, "denied");
    client.put("/api/orders/a", &json!({"customer": "c", "amount": 101})).problem(422, "denied");
    let patch = json!([{"op": "replace", "path": "/amount", "value": 101}]);
    let kind = [("content-type", "application/json-patch+json")];
    client.request("PATCH", "/api/orders/a", &kind, patch.to_string().as_bytes()).problem(422, "denied");
    client
        .post("/api/orders/_update", &json!({"where": {"expr": "amount > 0"}, "patch": {"amount": 101}}))
        .expect_status(422);
    let batch = json!([
        {"method": "PATCH", "path": "/api/orders/a", "body": {"amount": 10}},
        {"method": "POST", "path": "/api/orders", "body": {"customer": "c", "amount": 200}},
    ]);
    client.post("/api/_batch", &batch).expect_status(422);
    assert_eq!(client.read("/api/orders/a")["amount"], json!(60));
    client
        .post("/api/orders", &json!([{"customer": "c", "amount": 20}, {"customer": "c", "amount": 21}]))
        .expect_status(422);
    client.post("/api/orders", &json!({"_id": "b", "customer": "c", "amount": 40})).expect(201);
    // Who sleeps refuses nothing.
    client.patch("/api/_processors/limit", &json!({"paused": true})).expect(200);
    client.patch("/api/orders/b", &json!({"amount": 400})).expect(200);
    client.patch("/api/_processors/limit", &json!({"paused": null})).expect(200);
    client.patch("/api/orders/b", &json!({"amount": 300})).problem(422, "denied");
    client.patch("/api/orders/b", &json!({"amount": 3})).expect(200);
    client.delete("/api/_processors/limit").expect_status(204);
    client.patch("/api/orders/b", &json!({"amount": 400})).expect(200);
    server.stop();
    place.check();
}

#[test]
fn a_processor_sees_what_was_and_sets_what_others_follow_from() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    for (id, order, rule) in [
        ("trim", 1, "set title := trim(self.title)"),
        ("slug", 2, "set slug := lower(self.title) else null"),
        (
            "down",
            3,
            "deny when self.amount < old.amount and old.customer.name = 'Ann', message 'never less for Ann'",
        ),
        ("keep", 4, "deny when operation = 'delete' and self.amount > 0"),
    ] {
        let made = client
            .post("/api/_processors", &json!({"_id": id, "type": "Order", "order": order, "rule": rule}));
        made.expect(201);
    }
    client.post("/api/customers", &json!({"_id": "c", "name": "Ann"})).expect(201);
    let made =
        client.post("/api/orders", &json!({"_id": "a", "title": "  Big One ", "customer": "c", "amount": 5}));
    let made = made.expect(201);
    assert_eq!((&made["title"], &made["slug"]), (&json!("Big One"), &json!("big one")));
    let changed = client.patch("/api/orders/a", &json!({"title": "Other"})).expect(200);
    assert_eq!(changed["slug"], json!("other"));
    // What it sets is held to the rules of its field.
    client.post("/api/orders", &json!({"_id": "b", "title": "OTHER"})).problem(409, "unique");
    client.patch("/api/orders/a", &json!({"amount": 4})).problem(422, "denied");
    client.patch("/api/customers/c", &json!({"name": "Bob"})).expect(200);
    client.patch("/api/orders/a", &json!({"amount": 4})).expect(200);
    client.delete("/api/orders/a").problem(422, "denied");
    client.patch("/api/orders/a", &json!({"amount": 0})).expect(200);
    client.delete("/api/orders/a").expect_status(204);
    let line: Vec<String> =
        client.list("/api/_processors").iter().map(|it| it["_id"].as_str().unwrap().into()).collect();
    assert_eq!(line, ["trim", "slug", "down", "keep"]);
    server.stop();
    place.check();
}

#[test]
fn what_does_not_fit_is_told_and_lets_nothing_pass() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    for (body, errors) in [
        (json!({}), vec!["required /rule", "required /type"]),
        (json!({"type": "Order", "rule": "deny when true", "webhook": {}}), vec!["invalid /webhook"]),
        (
            json!({"type": "Order", "webhook": {"url": "x", "mutate": 1}}),
            vec!["unknown-field /webhook/mutate", "url /webhook/url"],
        ),
        (json!({"type": "Ordr", "rule": "deny when true"}), vec!["unknown-type /type"]),
        (
            json!({"type": "Order", "rule": "deny if true", "on": ["make"], "oder": 1}),
            vec!["enum /on/0", "unknown-field /oder"],
        ),
        (json!({"type": "Order", "rule": "deny when self.amuont > 1"}), vec!["rule /rule"]),
        (json!({"type": "Order", "rule": "set amount := 'x'"}), vec!["rule /rule"]),
        (json!({"type": "Customer", "rule": "set limit := self.total"}), vec!["rule /rule"]),
        (json!({"type": "Customer", "rule": "set total := 1"}), vec!["rule /rule"]),
    ] {
        assert_eq!(client.post("/api/_processors", &body).expect_status(422).errors(), errors, "{body}");
    }
    client.post("/api/_processors", &limit()).expect(201);
    client.post("/api/_processors", &limit()).problem(409, "exists");
    client.put("/api/_processors/limit", &limit()).expect(200);
    client.put("/api/_processors/other", &limit()).problem(422, "invalid");
    client.get("/api/_processors/none").problem(404, "not-found");
    client.get("/api/_processors?x=1").problem(400, "parameter");
    client.request("PATCH", "/api/_processors", &[], b"{}").problem(405, "method-not-allowed");
    server.stop();
    // Where it has come about all the same it lets nothing pass, until somebody looks at it.
    let place = Place::new(&SCHEMA.replace("total :=", "sum :="));
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/customers", &json!({"_id": "c"})).expect(201);
    client
        .post("/api/_processors", &json!({"_id": "p", "type": "Customer", "rule": "deny when self.sum > 9"}))
        .expect(201);
    client.put("/api/_schema", &json!({"text": SCHEMA})).expect(200);
    let shown = client.read("/api/_processors/p");
    assert_eq!(shown["status"], json!("unfit"));
    assert!(shown["error"].as_str().unwrap().contains("sum"), "{shown}");
    client.patch("/api/customers/c", &json!({"name": "Ann"})).problem(422, "processor");
    client.patch("/api/_processors/p", &json!({"rule": "deny when self.total > 9"})).expect(200);
    client.patch("/api/customers/c", &json!({"name": "Ann"})).expect(200);
    server.kill();
    // It is there after a crash, and in a backup.
    let server = place.serve();
    assert_eq!(server.client().read("/api/_processors/p")["status"], json!("active"));
    server.stop();
}

#[test]
fn one_that_is_declared_on_one_server_holds_on_the_other_at_once() {
    let database = Database::new();
    let (one, other) = (Place::over(&database, SCHEMA), Place::over(&database, SCHEMA));
    let (a, b) = (one.serve(), other.serve());
    let (mut to_a, mut to_b) = (a.client(), b.client());
    to_b.post("/api/orders", &json!({"_id": "a", "amount": 1})).expect(201);
    for round in 0..15 {
        to_a.put("/api/_processors/p", &json!({"type": "Order", "rule": "deny when true"}));
        to_b.patch("/api/orders/a", &json!({"amount": round + 2})).problem(422, "denied");
        to_b.patch("/api/_processors/p", &json!({"paused": true})).expect(200);
        to_a.patch("/api/orders/a", &json!({"amount": round + 2})).expect(200);
    }
    drop((to_a, to_b));
    a.stop();
    b.stop();
    one.check();
}

fn allowed() -> (u16, String) {
    (200, json!({"allowed": true}).to_string())
}

fn webhook(receiver: &Receiver) -> Json {
    json!({"_id": "w", "type": "Order", "webhook": {"url": receiver.url(), "timeout_seconds": 2}})
}

#[test]
fn a_webhook_sees_what_a_write_would_do_and_may_deny_it() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    receiver.reply(|asked| {
        let each = asked.event["items"].as_array().unwrap().iter().map(|item| {
            match item["new"]["amount"].as_i64() {
                Some(amount) if amount > 100 => {
                    json!({"allowed": false, "message": format!("{amount} is too much")})
                }
                _ => json!({"allowed": true}),
            }
        });
        (200, json!({"items": each.collect::<Vec<Json>>()}).to_string())
    });
    let made = client.post("/api/_processors", &webhook(&receiver)).expect(201);
    let secret = made["webhook"]["secret"].as_str().unwrap().to_owned();
    assert_eq!(
        client.read("/api/_processors/w")["webhook"],
        json!({"url": receiver.url(), "timeout_seconds": 2.0, "on_failure": "deny", "mutates": false})
    );
    client.post("/api/customers", &json!({"_id": "c"})).expect(201);
    assert!(receiver.came().is_empty(), "of other types it is not asked");
    client.post("/api/orders", &json!({"_id": "a", "customer": "c", "amount": 7})).expect(201);
    let asked = receiver.came();
    assert!(asked[0].is_signed(&secret));
    let item = &asked[0].event["items"][0];
    assert_eq!(
        (&item["operation"], &item["type"], &item["path"]),
        (&json!("create"), &json!("Order"), &json!("/api/orders/a"))
    );
    assert_eq!(
        (&item["old"], &item["new"]["amount"], &asked[0].event["dry_run"]),
        (&Json::Null, &json!(7), &json!(false))
    );
    let problem = client.patch("/api/orders/a", &json!({"amount": 101})).problem(422, "denied");
    assert_eq!(problem["detail"], json!("101 is too much"));
    let item = receiver.came().last().unwrap().event["items"][0].clone();
    assert_eq!(
        (&item["operation"], &item["old"]["amount"], &item["new"]["amount"]),
        (&json!("update"), &json!(7), &json!(101))
    );
    client.patch("/api/orders/a?dry_run=true", &json!({"amount": 102})).problem(422, "denied");
    assert_eq!(receiver.came().last().unwrap().event["dry_run"], json!(true));
    client.patch("/api/orders/a?dry_run=true", &json!({"amount": 8})).expect(200);
    // Several at once are shown together, and each that is denied is told.
    let several = json!([{"amount": 1}, {"amount": 200}, {"amount": 2}, {"amount": 300}]);
    let refused = client.post("/api/orders", &several).problem(422, "denied");
    assert_eq!(receiver.came().last().unwrap().event["items"].as_array().unwrap().len(), 4);
    let told: Vec<&Json> =
        refused["errors"].as_array().unwrap().iter().map(|error| &error["message"]).collect();
    assert_eq!(told, [&json!("200 is too much"), &json!("300 is too much")]);
    let key = [("idempotency-key", "k1"), ("content-type", "application/json")];
    let first = client.request("POST", "/api/orders", &key, b"{\"amount\": 3}").expect(201);
    assert_eq!(client.request("POST", "/api/orders", &key, b"{\"amount\": 3}").expect(201), first);
    // What a rule denies nobody is asked about.
    let before = receiver.came().len();
    client
        .post("/api/_processors", &json!({"_id": "r", "type": "Order", "rule": "deny when self.amount = 9"}))
        .expect(201);
    client.patch("/api/orders/a", &json!({"amount": 9})).problem(422, "denied");
    assert_eq!(receiver.came().len(), before);
    // A file is a fact too.
    let kind = [("content-type", "image/png")];
    client.request("PUT", "/api/orders/a/photo", &kind, b"png").expect_status(201);
    assert_eq!(receiver.came().last().unwrap().event["items"][0]["new"]["photo"]["size"], json!(3));
    assert_eq!(client.get("/api/orders/a/photo").text(), "png");
    client.delete("/api/orders/a").expect_status(204);
    assert_eq!(receiver.came().last().unwrap().event["items"][0]["operation"], json!("delete"));
    client.patch("/api/_processors/w", &json!({"webhook": {"timeout_seconds": 3}})).expect(200);
    client.post("/api/orders", &json!({"amount": 4})).expect(201);
    assert!(receiver.came().last().unwrap().is_signed(&secret), "the secret stays");
    server.stop();
    place.check();
}

#[test]
fn a_webhook_may_set_fields_before_the_others_are_asked() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let (first, second) = (Receiver::new(), Receiver::new());
    first.reply(|asked| {
        let title = asked.event["items"][0]["new"]["title"].as_str().unwrap_or_default().to_uppercase();
        (200, json!({"allowed": true, "set": {"title": title}}).to_string())
    });
    second.reply(|_| allowed());
    client.post("/api/_processors", &webhook(&second)).expect(201);
    let mut mutating = webhook(&first);
    (mutating["_id"], mutating["webhook"]["mutates"]) = (json!("m"), json!(true));
    client.post("/api/_processors", &mutating).expect(201);
    client
        .post(
            "/api/_processors",
            &json!({"_id": "s", "type": "Order", "rule": "set slug := lower(self.title)"}),
        )
        .expect(201);
    let made = client.post("/api/orders", &json!({"_id": "a", "title": "Big"})).expect(201);
    assert_eq!((&made["title"], &made["slug"]), (&json!("BIG"), &json!("big")));
    assert_eq!(second.came()[0].event["items"][0]["new"]["title"], json!("BIG"));
    let tried = client.post("/api/orders?dry_run=true", &json!({"_id": "b", "title": "Two"})).expect(200);
    assert_eq!(tried["reply"]["title"], json!("TWO"));
    // A list tells of what was asked for, not of what was set besides.
    let several = client.post("/api/orders", &json!([{"title": "x"}])).expect(201);
    assert_eq!(several.as_array().unwrap().len(), 1);
    first.reply(|_| (200, json!({"allowed": true, "set": {"amount": "many"}}).to_string()));
    client.post("/api/orders", &json!({"title": "c"})).problem(422, "processor");
    server.stop();
    place.check();
}

#[test]
fn one_that_does_not_answer_holds_up_or_is_passed_over_as_declared() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    client.post("/api/_processors", &webhook(&receiver)).expect(201);
    receiver.set(|_| 500);
    let reply = client.post("/api/orders", &json!({"_id": "a"}));
    let after = reply.header("retry-after").is_some();
    let problem = reply.problem(503, "processor-away");
    assert!(after, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("500"), "{problem}");
    client.get("/api/orders/a").expect_status(404);
    receiver.reply(|_| (200, "what?".into()));
    client.post("/api/orders", &json!({})).problem(503, "processor-away");
    receiver.reply(|_| {
        thread::sleep(Duration::from_secs(3));
        allowed()
    });
    let begun = Instant::now();
    client.post("/api/orders", &json!({})).problem(503, "processor-away");
    assert!(begun.elapsed() < Duration::from_millis(2_900), "{:?}", begun.elapsed());
    // After five failures it is left alone.
    receiver.set(|_| 0);
    for _ in 0..2 {
        client.post("/api/orders", &json!({})).problem(503, "processor-away");
    }
    let calls = receiver.came().len();
    receiver.reply(|_| allowed());
    let problem = client.post("/api/orders", &json!({})).problem(503, "processor-away");
    assert!(problem["detail"].as_str().unwrap().contains("in a row"), "{problem}");
    assert_eq!(receiver.came().len(), calls);
    // Who says so is passed over meanwhile.
    client.patch("/api/_processors/w", &json!({"webhook": {"on_failure": "allow"}})).expect(200);
    client.post("/api/orders", &json!({"_id": "a"})).expect(201);
    server.stop();
}

#[test]
fn what_changes_while_somebody_is_asked_is_shown_again() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let mut client = server.client();
    let receiver = Receiver::new();
    receiver.reply(|_| allowed());
    client.post("/api/_processors", &webhook(&receiver)).expect(201);
    client.post("/api/orders", &json!({"_id": "a", "amount": 1})).expect(201);
    let (asked, went_on): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
    let (asks, goes_on) = (asked.clone(), went_on.clone());
    receiver.reply(move |delivery| {
        // Only the first time: until the other one has been written.
        if delivery.event["items"][0]["new"]["amount"] == json!(2) && asks.fetch_add(1, Ordering::SeqCst) == 0
        {
            while !goes_on.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
        }
        allowed()
    });
    let mut other = server.client();
    let slow = thread::spawn(move || other.patch("/api/orders/a", &json!({"amount": 2})).expect(200));
    while asked.load(Ordering::SeqCst) == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    client.patch("/api/orders/a", &json!({"title": "meanwhile"})).expect(200);
    went_on.store(true, Ordering::SeqCst);
    let done = slow.join().unwrap();
    assert_eq!((&done["amount"], &done["title"]), (&json!(2), &json!("meanwhile")));
    let last = receiver.came().last().unwrap().event["items"][0].clone();
    assert_eq!((&last["old"]["title"], &last["new"]["amount"]), (&json!("meanwhile"), &json!(2)));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    server.stop();
}

#[test]
fn one_for_a_path_is_for_what_that_collection_holds() {
    let place = Place::new(
        "type Shelf in shelves { books: collection Book, gifts: collection Book }
         type Book in books { n: int default 0 }",
    );
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/shelves", &json!({"_id": "s"})).expect(201);
    let rule = "deny when self.n > 1";
    client.put("/api/_processors/p", &json!({"path": "/shelves/*/gifts", "rule": rule})).expect(201);
    client.post("/api/shelves/s/books", &json!({"_id": "b", "n": 2})).expect(201);
    client.post("/api/books", &json!({"n": 2})).expect(201);
    client.post("/api/shelves/s/gifts", &json!({"n": 2})).problem(422, "denied");
    // What comes into the collection, and what leaves it.
    let to = json!({"from": "/api/shelves/s/books/b", "to": "/api/shelves/s/gifts"});
    client.post("/api/_move", &to).problem(422, "denied");
    client.put("/api/_processors/p", &json!({"path": "books", "rule": rule})).expect(200);
    client.patch("/api/shelves/s/books/b", &json!({"n": 3})).problem(422, "denied");
    for (path, near) in [
        ("/shelfs", "shelves"),
        ("/shelves/*/gift", "gifts"),
        ("/shelves/s/gifts", "*"),
        ("/books/*/n", "books"),
    ] {
        let problem =
            client.put("/api/_processors/q", &json!({ "path": path, "rule": rule })).problem(422, "path");
        assert!(problem["detail"].as_str().unwrap().contains(near) || path == "/books/*/n", "{problem}");
    }
    client
        .put("/api/_processors/q", &json!({"path": "/books", "type": "Book", "rule": rule}))
        .problem(422, "invalid");
    server.stop();
    place.check();
}
