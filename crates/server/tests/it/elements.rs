//! Embedded objects with derived members and links, through the API.

use crate::common::client::encoded;
use crate::common::*;

const SCHEMA: &str = "
type Order in orders {
  rate: int default 2
  lines: [{ id: str, price: int, total := self.price * self.rate, author: link Author, author_name := self.author.name }]
  main: { editor: link Author, name := self.editor.name }
  amount := sum(self.lines.total)
  big := self.lines[price > 3]
}
type Author in authors { name: str, orders := self.link_order_lines_author }
";

#[test]
fn objects_are_read_with_what_follows_and_written_without() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    for (id, name) in [("A", "ann"), ("B", "bob")] {
        client.post("/api/authors", &json!({"_id": id, "name": name})).expect(201);
    }
    let lines = json!([
        {"id": "x", "price": 2, "author": {"_id": "A"}},
        {"id": "y", "price": 5, "author": "B"},
        {"id": "z", "price": 1},
    ]);
    let mut watch = server.watch("/api/orders?watch=true");
    let created =
        client.post("/api/orders", &json!({"_id": "O", "lines": lines, "main": {"editor": "/authors/A"}}));
    let order = created.expect(201);
    let ann = json!({"_id": "A", "_self": "/api/authors/A"});
    let bob = json!({"_id": "B", "_self": "/api/authors/B"});
    assert_eq!(
        order["lines"],
        json!([
            {"id": "x", "price": 2, "author": ann, "total": 4, "author_name": "ann"},
            {"id": "y", "price": 5, "author": bob, "total": 10, "author_name": "bob"},
            {"id": "z", "price": 1, "total": 2},
        ])
    );
    assert_eq!(order["main"], json!({"editor": ann, "name": "ann"}));
    assert_eq!(order["amount"], 16);
    assert_eq!(order["big"], json!([order["lines"][1]]));
    assert_eq!(client.ids("/api/authors/A/orders"), ["O"]);

    // What was read can be sent back, with a change, in another order, and in part.
    let mut back = order.clone();
    back["lines"] = json!([order["lines"][2], order["lines"][0]]);
    back["lines"][1]["price"] = json!(7);
    let order = client.put("/api/orders/O", &back).expect(200);
    assert_eq!(
        order["lines"],
        json!([
            {"id": "z", "price": 1, "total": 2},
            {"id": "x", "price": 7, "author": ann, "total": 14, "author_name": "ann"},
        ])
    );
    let mut back = order.clone();
    back["lines"][0]["total"] = json!(3);
    assert_eq!(client.put("/api/orders/O", &back).errors(), ["read-only /lines/0/total"]);
    assert_eq!(
        client.patch("/api/orders/O", &json!({"main": {"name": "x"}})).errors(),
        ["read-only /main/name"]
    );
    let new = client.post("/api/orders", &json!({"lines": [{"total": 1}]}));
    assert_eq!(new.errors(), ["read-only /lines/0/total"]);
    let order = client.patch("/api/orders/O", &json!({"main": {"name": "ann", "editor": bob}})).expect(200);
    assert_eq!(order["main"], json!({"editor": bob, "name": "bob"}));
    let order = client.patch("/api/orders/O", &json!({"main": {"editor": null}})).expect(200);
    assert_eq!(order["main"], json!({}));

    // A filter and an order read what is shown.
    assert_eq!(
        client.ids(&format!("/api/orders?filter={}", encoded("count(lines[author_name = 'ann']) = 1"))),
        ["O"]
    );
    assert_eq!(client.ids(&format!("/api/orders?filter={}", encoded("count(lines[total > 10]) = 1"))), ["O"]);

    // A change of what an object reads is told as a change of the field.
    client.patch("/api/authors/A", &json!({"name": "eve"})).expect(200);
    let told = loop {
        let event = watch.next().data;
        if event["resource"]["lines"][1]["author_name"] == "eve" {
            break event;
        }
    };
    assert_eq!(told["changed"], json!(["lines", "big"]));
    assert_eq!(told["old"]["lines"][1]["author_name"], "ann");
    client.delete("/api/authors/A").expect(204);
    let order = client.read("/api/orders/O");
    assert_eq!(order["lines"][1], json!({"id": "x", "price": 7, "total": 14}));
    let openapi = client.read("/api/_openapi.json");
    let shown = &openapi["components"]["schemas"]["Order"]["properties"]["lines"]["items"]["properties"];
    assert_eq!(shown["total"]["readOnly"], true);
    server.stop();
    place.check();
}

/// A JSON Patch of a list of objects with derived members was refused with `unknown-field`: the derived members that are shown
/// of the other elements were taken for what is written.
#[test]
fn a_json_patch_of_a_list_leaves_the_derived_members_out() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    let lines = json!([{"id": "x", "price": 2}, {"id": "y", "price": 5}]);
    client.post("/api/orders", &json!({"_id": "O", "lines": lines})).expect(201);
    let kind = [("content-type", "application/json-patch+json")];
    let mut patch =
        |patch: Json| client.request("PATCH", "/api/orders/O", &kind, patch.to_string().as_bytes());
    let order = patch(json!([
        {"op": "add", "path": "/lines/-", "value": {"id": "z", "price": 1}},
        {"op": "replace", "path": "/lines/0/price", "value": 3},
        {"op": "copy", "from": "/lines/1", "path": "/lines/0"},
    ]));
    let lines = json!([
        {"id": "y", "price": 5, "total": 10},
        {"id": "x", "price": 3, "total": 6},
        {"id": "y", "price": 5, "total": 10},
        {"id": "z", "price": 1, "total": 2},
    ]);
    assert_eq!(order.expect(200)["lines"], lines);
    // Another value of one is refused.
    let reply = patch(json!([{"op": "replace", "path": "/lines/0/total", "value": 3}]));
    reply.problem(422, "read-only");
    assert_eq!(reply.errors(), ["read-only /lines/0/total"]);
    server.stop();
    place.check();
}
