//! Lazy fields through the API: read like others, with no revision of their own.

use std::time::Duration;

use crate::common::client::encoded;
use crate::common::*;

const SCHEMA: &str = "
type Customer in customers {
  name: str
  orders: inverse Order.customer
  total := sum(self.orders.amount), lazy
  best := first(self.orders[order by amount desc]), lazy
  kept := self.total + 1
}
type Order in orders {
  amount: int
  at: datetime default now()
  customer: link Customer
  double := self.amount * 2, lazy
  label := self.customer.name + '!', lazy
  age := now() - self.at, lazy
}
";

#[test]
fn lazy_fields_are_read_like_others() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    client.post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).expect(201);
    for (id, amount) in [("x", 5), ("y", 20)] {
        let order = json!({"_id": id, "amount": amount, "customer": "ann"});
        let shown = client.post("/api/orders", &order).expect(201);
        assert_eq!((&shown["double"], &shown["label"]), (&json!(amount * 2), &json!("Ann!")));
    }
    let ann = client.read("/api/customers/ann");
    assert_eq!((&ann["total"], &ann["kept"]), (&json!(25), &json!(26)));
    assert_eq!(ann["best"], json!({"_id": "y", "_self": "/api/orders/y"}));
    assert_eq!(client.read("/api/customers/ann/best")["_id"], "y");
    assert_eq!(client.read("/api/customers/ann?expand=best")["best"]["double"], 40);
    assert_eq!(
        client.read("/api/orders/x?fields=label"),
        json!({"_id": "x", "_self": "/api/orders/x", "_revision": ann_revision(client, "x"), "label": "Ann!"})
    );

    let filter = encoded("double > 10 and label = 'Ann!' and age < days(1)");
    assert_eq!(client.ids(&format!("/api/orders?filter={filter}")), ["y"]);
    assert_eq!(client.ids("/api/orders?order=-double"), ["y", "x"]);
    let found = client.post("/api/orders/_query", &json!({"where": {"kv": {"key": "double", "value": 10}}}));
    assert_eq!(found.expect(200)["results"][0]["_id"], "x");

    // What was read may be sent back; a value that was never there may not.
    let mut order = client.read("/api/orders/x");
    order["amount"] = json!(7);
    assert_eq!(client.put("/api/orders/x", &order).expect(200)["double"], 14);
    client.patch("/api/orders/x", &json!({"double": 3})).problem(422, "read-only");

    // It has no revision: what was read may be another value at the same one.
    let reply = client.get("/api/customers/ann");
    let tag = reply.header("etag").unwrap().to_string();
    client.patch("/api/orders/x", &json!({"amount": 9})).expect(200);
    let again = client.request("GET", "/api/customers/ann", &[("if-none-match", &tag)], b"");
    assert_eq!(again.expect(200)["total"], 29);
    let facts = client.get("/api/customers/ann?fields=name");
    let tag = facts.header("etag").unwrap().to_string();
    let again = client.request("GET", "/api/customers/ann?fields=name", &[("if-none-match", &tag)], b"");
    assert_eq!(again.status, 304);
    server.stop();
    place.check();
}

fn ann_revision(client: &mut crate::common::client::Client, id: &str) -> Json {
    client.read(&format!("/api/orders/{id}"))["_revision"].clone()
}

#[test]
fn a_watch_shows_them_and_tells_nothing_of_their_changes() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    client.post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).expect(201);
    client.post("/api/orders", &json!({"_id": "x", "amount": 5, "customer": "ann"})).expect(201);
    let mut watch = server.watch("/api/orders?watch=true");
    let there = watch.synced();
    assert_eq!(there[0].data["resource"]["label"], "Ann!");
    client.patch("/api/customers/ann", &json!({"name": "Anna"})).expect(200);
    assert!(watch.is_silent(Duration::from_millis(300)), "nothing of the order itself has changed");
    client.patch("/api/orders/x", &json!({"amount": 6})).expect(200);
    let event = watch.next();
    assert_eq!(
        (&event.data["resource"]["label"], &event.data["resource"]["double"]),
        (&json!("Anna!"), &json!(12))
    );
    assert_eq!(event.data["changed"], json!(["amount"]));

    // A filter over what they read is kept right, of the item and of others; one that asks for the time is refused.
    let filter = encoded("double > 100");
    let mut watch = server.watch(&format!("/api/orders?watch=true&filter={filter}"));
    assert_eq!(watch.synced().len(), 1);
    client.patch("/api/orders/x", &json!({"amount": 60})).expect(200);
    assert_eq!(watch.next().data["resource"]["double"], 120);
    let mut watch = server.watch(&format!("/api/orders?watch=true&filter={}", encoded("label = 'Anna!'")));
    assert_eq!(watch.synced().len(), 2);
    client.patch("/api/customers/ann", &json!({"name": "Eve"})).expect(200);
    assert_eq!(watch.told(), "left /api/orders/x");
    client.patch("/api/customers/ann", &json!({"name": "Anna"})).expect(200);
    let event = watch.next();
    assert_eq!((event.kind(), &event.data["resource"]["label"]), ("added", &json!("Anna!")));
    let path = format!("/api/orders?watch=true&filter={}", encoded("age > days(1)"));
    client.get(&path).problem(400, "filter");
}

#[test]
fn the_description_and_the_plan_say_what_they_are() {
    let place = Place::new(SCHEMA);
    let schema = place.schema();
    let path = schema.to_str().unwrap();
    let openapi: Json = serde_json::from_str(&stdout(&run(&["schema", "openapi", path]))).unwrap();
    let total = &openapi["components"]["schemas"]["Customer"]["properties"]["total"];
    assert_eq!(total["readOnly"], true);
    assert!(total["description"].as_str().unwrap().contains("each read"), "{total}");
    let explained = stdout(&run(&["schema", "explain", "Customer.total", path]));
    assert!(explained.contains("rule: lazy: computed for each Customer whenever it is read"), "{explained}");
    assert!(explained.contains("kept: nothing"), "{explained}");
    assert!(explained.contains("warning: each read costs"), "{explained}");
    let json = place.write("schema.json", stdout(&run(&["schema", "json", path])));
    assert_eq!(stdout(&run(&["schema", "text", &json])), stdout(&run(&["schema", "text", path])));
    assert!(stdout(&run(&["schema", "text", path])).contains("lazy"));
}
