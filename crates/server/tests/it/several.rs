//! Links to one of several types and lists of several types, through the API.

use crate::common::client::encoded;
use crate::common::*;

const SHOP: &str = r#"
abstract type Party in parties {
  name:    str required
  balance: int default 0
  orders:  inverse Order.customer
  total   := sum(self.orders.amount)
}
type Person is Party in persons { age: int, pets: collection Pet }
type Firm is Party in firms { staff: links Person }
type Pet { name: str }
type Order in orders history {
  amount:   int default 1
  customer: link Party on delete restrict
  watchers: links Person | Firm
  keeper:   link Pet | Firm
  who      := self.customer.name
  kind     := type(self.customer)
}
type Sum in sums { all := sum(parties.balance), rich := count(parties[balance > 5]) }
"#;

fn served() -> (Place, Server) {
    let place = Place::new(SHOP);
    let server = place.serve();
    let client = &mut server.client();
    client
        .post(
            "/api/persons",
            &json!([{"_id": "p", "name": "ann", "balance": 5}, {"_id": "x", "name": "bob"}]),
        )
        .expect(201);
    client
        .post("/api/firms", &json!([{"_id": "f", "name": "acme", "balance": 7}, {"_id": "x", "name": "xco"}]))
        .expect(201);
    client.post("/api/persons/p/pets", &json!({"_id": "rex", "name": "rex"})).expect(201);
    client.post("/api/sums", &json!({"_id": "s"})).expect(201);
    (place, server)
}

fn link(ty: &str, root: &str, id: &str) -> Json {
    json!({"_id": id, "_self": format!("/api/{root}/{id}"), "_type": ty})
}

#[test]
fn a_link_is_written_by_type_by_path_or_by_an_id_that_one_has() {
    let (place, server) = served();
    let client = &mut server.client();
    let (ann, acme) = (link("Person", "persons", "p"), link("Firm", "firms", "f"));
    let forms = [
        (json!({"_id": "p", "_type": "Person"}), &ann),
        (json!("/api/persons/p"), &ann),
        (json!({"_self": "/api/firms/f"}), &acme),
        (json!("/parties/p"), &ann),
        (json!("f"), &acme),
        (json!({"_id": "f"}), &acme),
        (ann.clone(), &ann),
    ];
    for (written, read) in forms {
        let order = client.post("/api/orders", &json!({"customer": written})).expect(201);
        assert_eq!(&order["customer"], read, "{written}");
        let back = client.put(order["_self"].as_str().unwrap(), &order).expect(200);
        assert_eq!(&back["customer"], read);
    }
    let refused = [
        (json!("x"), "ambiguous-link /customer"),
        (json!("nobody"), "link /customer"),
        (json!({"_id": "p", "_type": "Firm"}), "link /customer"),
        (json!({"_id": "p", "_type": "Pet"}), "link /customer"),
        (json!({"_id": "p", "_type": "Persn"}), "link /customer"),
        (json!("/api/orders/p"), "link /customer"),
        (json!("/api/persons/p/pets/rex"), "link /customer"),
        (json!(3), "type /customer"),
        (json!(["p"]), "type /customer"),
    ];
    for (written, error) in refused {
        let reply = client.post("/api/orders", &json!({"customer": written}));
        reply.problem(422, error.split(' ').next().unwrap());
        assert_eq!(reply.errors(), [error], "{written}");
    }
    // A resource that others own is found by its path.
    let order = json!({"_id": "k", "keeper": "/api/persons/p/pets/rex"});
    let order = client.post("/api/orders", &order).expect(201);
    assert_eq!(order["keeper"], json!({"_id": "rex", "_self": "/api/persons/p/pets/rex", "_type": "Pet"}));
    assert_eq!(client.read("/api/orders/k/keeper")["name"], "rex");
    drop(server.stop());
    place.check();
}

#[test]
fn a_change_of_such_a_link_is_seen_by_patches_paths_and_watches() {
    let (place, server) = served();
    let client = &mut server.client();
    client
        .post("/api/orders", &json!({"_id": "o", "amount": 4, "customer": "p", "watchers": ["p", "f"]}))
        .expect(201);
    let watch = &mut server.watch("/api/orders/o?watch=true&since=0");
    let patched = client.patch("/api/orders/o", &json!({"customer": "/api/firms/x"})).expect(200);
    assert_eq!((&patched["who"], &patched["kind"]), (&json!("xco"), &json!("Firm")));
    assert_eq!(client.read("/api/firms/x")["total"], 4);
    assert_eq!(client.read("/api/persons/p")["total"], 0);
    assert_eq!(client.ids("/api/firms/x/orders"), ["o"]);
    assert_eq!(client.read("/api/orders/o/customer")["_self"], "/api/firms/x");
    let event = loop {
        let event = watch.next();
        if event.kind() == "modified" {
            break event;
        }
    };
    let changed = &event.data["changed"];
    assert!(changed.as_array().unwrap().contains(&json!("customer")), "{changed}");
    assert_eq!(event.data["old"]["customer"], link("Person", "persons", "p"));
    assert_eq!(event.data["resource"]["customer"], link("Firm", "firms", "x"));

    let expanded = client.read("/api/orders/o?expand=customer,watchers&fields=amount");
    assert_eq!(
        (&expanded["customer"]["name"], &expanded["customer"]["_type"]),
        (&json!("xco"), &json!("Firm"))
    );
    assert_eq!(expanded["watchers"][0]["name"], "ann");
    assert_eq!(client.read("/api/orders/o?fields=customer").get("watchers"), None);

    let filter = |text: &str| format!("/api/orders?filter={}", encoded(text));
    for (text, found) in [
        ("customer = 'x'", 1),
        ("customer = 'p'", 0),
        ("customer = null", 0),
        ("type(customer) = 'Firm' & customer.balance < 1", 1),
        ("customer.name = 'xco' & exists(watchers[name = 'ann'])", 1),
    ] {
        assert_eq!(client.ids(&filter(text)).len(), found, "{text}");
    }
    client.get(&filter("customer.age > 3")).problem(400, "filter");
    let ask = |tree: Json| json!({"where": tree});
    let exist = client.post("/api/orders/_count", &ask(json!({"exist": {"key": "customer"}}))).expect(200);
    assert_eq!(exist["count"], 1);
    let kv = json!({"kv": {"key": "id(customer)", "value": "x"}});
    assert_eq!(client.post("/api/orders/_count", &ask(kv)).expect(200)["count"], 1);

    // Links, one by one and by actions.
    let sent = |kind: &str, body: Json| {
        let kind = [("content-type", kind)];
        server.client().request("PATCH", "/api/orders/o", &kind, body.to_string().as_bytes())
    };
    let actions = "application/vnd.corollary.update+json";
    let order = sent(
        actions,
        json!([
            {"remove": {"key": "watchers", "value": "p"}},
            {"add": {"key": "watchers", "value": {"_id": "x", "_type": "Person"}}},
        ]),
    )
    .expect(200);
    assert_eq!(order["watchers"], json!([link("Person", "persons", "x"), link("Firm", "firms", "f")]));
    sent(actions, json!([{"pop": {"key": "watchers"}}])).problem(422, "type");
    client.post("/api/orders/o/watchers", &json!({"_id": "x", "_type": "Firm"})).expect(200);
    let names: Vec<Json> =
        client.list("/api/orders/o/watchers").iter().map(|it| it["_self"].clone()).collect();
    assert_eq!(names, ["/api/firms/f", "/api/persons/x", "/api/firms/x"]);
    client.get("/api/orders/o/watchers/x").problem(409, "ambiguous-id");
    client.delete("/api/orders/o/watchers/f").expect(204);
    client.get("/api/orders/o/watchers/f").problem(404, "not-found");
    let json_patch = "application/json-patch+json";
    let patch = json!([{"op": "remove", "path": "/watchers/0"}, {"op": "replace", "path": "/customer", "value": "/api/persons/x"}]);
    let order = sent(json_patch, patch).expect(200);
    assert_eq!(order["watchers"], json!([link("Firm", "firms", "x")]));
    let patch = json!([{"op": "remove", "path": "/customer"}]);
    let order = sent(json_patch, patch).expect(200);
    assert_eq!(order.get("customer"), None);

    client.patch("/api/orders/o", &json!({"customer": "p"})).expect(200);
    client.delete("/api/persons/p").problem(409, "restrict");
    drop(server.stop());
    place.check();
}

#[test]
fn the_root_of_an_abstract_type_lists_all_that_are_one() {
    let (place, server) = served();
    let client = &mut server.client();
    let selves = |items: Vec<Json>| -> Vec<String> {
        items.iter().map(|it| it["_self"].as_str().unwrap().trim_start_matches("/api/").to_string()).collect()
    };
    assert_eq!(selves(client.list("/api/parties")), ["firms/f", "persons/p", "persons/x", "firms/x"]);
    assert_eq!(client.list("/api/parties")[0]["_type"], "Firm");
    // The same page by page, in any order and size; what has the same values and the same id too.
    for order in ["", "&order=balance", "&order=-balance", "&order=-balance,name"] {
        let whole = selves(client.list(&format!("/api/parties?limit=10{order}")));
        assert_eq!(whole.len(), 4, "{order}");
        for limit in 1..4 {
            let (mut next, mut found) = (format!("/api/parties?limit={limit}{order}"), Vec::new());
            loop {
                let page = client.read(&next);
                found.extend(selves(page["results"].as_array().unwrap().clone()));
                match page["next"].as_str() {
                    Some(behind) => next = behind.to_string(),
                    None => break,
                }
            }
            assert_eq!(found, whole, "{order} by {limit}");
        }
    }
    let page = client.read("/api/parties?limit=1&count=true&order=-balance");
    assert_eq!((&page["count"], &page["results"][0]["_id"]), (&json!(4), &json!("f")));
    assert_eq!(client.ids(&format!("/api/parties?filter={}", encoded("balance > 4"))), ["f", "p"]);
    assert_eq!(client.read("/api/sums/s")["all"], 12);
    assert_eq!(client.read("/api/sums/s")["rich"], 1);

    assert_eq!(client.read("/api/parties/p")["_self"], "/api/persons/p");
    assert_eq!(client.read("/api/parties/f/orders")["results"], json!([]));
    client.get("/api/parties/x").problem(409, "ambiguous-id");
    client.get("/api/parties/nobody").problem(404, "not-found");
    assert_eq!(client.patch("/api/parties/p", &json!({"balance": 9})).expect(200)["balance"], 9);
    let refused = client.post("/api/parties", &json!({"name": "new"})).problem(405, "method-not-allowed");
    assert!(refused["detail"].as_str().unwrap().contains("/api/persons or /api/firms"), "{refused}");
    client.post("/api/parties", &json!([{"name": "new"}])).problem(405, "method-not-allowed");
    client.get(&format!("/api/parties?filter={}", encoded("age > 1"))).problem(400, "filter");
    client.get("/api/parties?page_token=abc").problem(400, "page-token");

    let asked = json!({"where": {"greater": {"key": "balance", "value": 5}}, "size": 1, "order": "name"});
    let page = client.post("/api/parties/_query", &asked).expect(200);
    assert_eq!(page["results"][0]["_id"], "f");
    assert_eq!(client.post("/api/parties/_count", &json!({})).expect(200)["count"], 4);
    client
        .post("/api/parties/_delete", &json!({"where": {"expr": "true"}}))
        .problem(405, "method-not-allowed");
    let watch = &mut server.watch("/api/parties?watch=true");
    let there = watch.synced();
    let there = there.iter().filter(|event| event.kind() == "added");
    let told: Vec<Json> = there.map(|event| event.data["_type"].clone()).collect();
    assert_eq!(told, [json!("Firm"), json!("Person"), json!("Person"), json!("Firm")]);
    client.patch("/api/firms/f", &json!({"balance": 8})).expect(200);
    let event = watch.next();
    assert_eq!((event.kind(), &event.data["_type"]), ("modified", &json!("Firm")));
    let paths = client.read("/api/_openapi.json");
    assert!(paths["paths"]["/api/parties"]["get"].is_object());
    drop(server.stop());
    place.check();
}

#[test]
fn such_links_are_exported_and_imported_again() {
    let (place, server) = served();
    let client = &mut server.client();
    client
        .post("/api/orders", &json!({"_id": "o", "customer": "p", "watchers": ["/firms/x", "p"]}))
        .expect(201);
    drop(server.stop());
    let exported = stdout(&place.run(&["export", "Order"]));
    assert!(exported.contains(r#""customer":{"_id":"p","_type":"Person"}"#), "{exported}");
    let rows = place.write("more.csv", "_id,customer,amount\nq,/firms/x,3\nr,f,4\n");
    let said = place.run(&["import", "Order", &rows]);
    assert!(said.status.success(), "{}", stderr(&said));
    let lines = place.write("more.jsonl", exported.replace("\"_id\":\"o\"", "\"_id\":\"o2\""));
    let said = place.run(&["import", "Order", &lines]);
    assert!(said.status.success(), "{}", stderr(&said));
    place.check();
    let server = place.serve();
    let client = &mut server.client();
    assert_eq!(client.read("/api/orders/q")["kind"], "Firm");
    assert_eq!(client.read("/api/orders/o2")["watchers"].as_array().unwrap().len(), 2);
    drop(server.stop());
}

#[test]
fn the_past_knows_where_such_a_link_led() {
    let (place, server) = served();
    let client = &mut server.client();
    let order = json!({"_id": "o", "customer": "p", "watchers": ["f"]});
    let first = client.post("/api/orders", &order).revision();
    client.patch("/api/orders/o", &json!({"customer": "f", "watchers": []})).expect(200);
    let versions = client.read("/api/orders/o/_versions");
    let changed = versions["results"][0]["changed"].as_array().unwrap();
    assert!(changed.contains(&json!("customer")) && changed.contains(&json!("watchers")), "{changed:?}");
    assert_eq!(client.read(&format!("/api/orders/o?at={first}"))["customer"], link("Person", "persons", "p"));
    let back = client.post("/api/orders/o/_revert", &json!({"to": first.to_string()})).expect(200);
    assert_eq!(back["customer"], link("Person", "persons", "p"));
    assert_eq!(back["watchers"], json!([link("Firm", "firms", "f")]));
    drop(server.stop());
    place.check();
}
