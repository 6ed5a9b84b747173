//! Processors over HTTP: what writes of any kind pass, declared and taken away while the server runs.

use std::sync::Arc;

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;

const SCHEMA: &str = "
type Customer in customers { name: str, limit: int default 100, orders: inverse Order.customer, total := sum(self.orders.amount) }
type Order in orders { customer: link Customer, amount: int default 0, title: str, slug: str unique }
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
    let place = || {
        let mut place = Place::new(SCHEMA);
        place.store = Some(Arc::clone(&database).url());
        place
    };
    let (one, other) = (place(), place());
    let (a, b) = (one.serve(), other.serve());
    let (mut to_a, mut to_b) = (a.client(), b.client());
    to_b.post("/api/orders", &json!({"_id": "a", "amount": 1})).expect(201);
    for round in 0..15 {
        to_a.put("/api/_processors/p", &json!({"type": "Order", "rule": "deny when true"})).status;
        to_b.patch("/api/orders/a", &json!({"amount": round + 2})).problem(422, "denied");
        to_b.patch("/api/_processors/p", &json!({"paused": true})).expect(200);
        to_a.patch("/api/orders/a", &json!({"amount": round + 2})).expect(200);
    }
    drop((to_a, to_b));
    a.stop();
    b.stop();
    one.check();
}
