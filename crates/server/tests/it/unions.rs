//! Unions of objects over HTTP: what is written of each variant, what is refused and why, how an object becomes one of
//! another variant, what is derived and asked of them, import and export.

use crate::common::*;

const SHOP: &str = "
type Order in orders {
  payment: union kind {
    card:     { number: str required pattern \"^[0-9]{4}$\", holder: str normalize (trim), fee: decimal default 1.5, note: str max_length 5
                last := self.number + '!' }
    transfer: { iban: str required, bank: link Bank on delete restrict, note: str, fee: decimal, last := self.bank.name }
    cash:     {} description \"on the table\"
  } required
  parts: [union of {
    sum:  { amount: int required, double := self.amount * 2, twice := self.double * 2 }
    item: { price: int, inner: union how { one: { x: int required }, two: { y: int default 7 } }, twice := self.price * 2, double := self.twice }
  }]
  by_day: map<union kind { a: { n: int required }, b: { m: int } }>
  kind := self.payment.kind
  number := self.payment.number else 'none'
  how := self.payment.kind -> ('card': 'by card', 'cash': 'in cash', else: self.payment.iban)
  cards := self.parts[of = 'sum'].amount
  total := sum(self.parts.amount) + sum(self.parts.price)
  doubles := sum(self.parts.double)
  y := sum(self.parts.inner.y)
}
type Bank in banks {
  name: str
  orders := count(self.link_order_payment_bank)
  fees := sum(self.link_order_payment_bank.payment.fee)
}
";

fn act(client: &mut Client, path: &str, kind: &str, body: &Json) -> Reply {
    client.request("PATCH", path, &[("content-type", kind)], body.to_string().as_bytes())
}

const JSON_PATCH: &str = "application/json-patch+json";
const ACTIONS: &str = "application/vnd.corollary.update+json";

#[test]
fn each_variant_has_its_members_and_their_rules() {
    let place = Place::new(SHOP);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/banks", &json!({"_id": "b1", "name": "First"})).expect(201);
    let card = json!({"_id": "o1", "payment": {"kind": "card", "number": "1234", "holder": " Ann "}, "parts": [
        {"of": "sum", "amount": 3}, {"price": 4, "of": "item", "inner": {"how": "two"}}, {"of": "item", "inner": {"how": "one", "x": 1}}
    ], "by_day": {"x": {"kind": "a", "n": 1}}});
    let order = client.post("/api/orders", &card).expect(201);
    for (name, wanted) in [
        (
            "payment",
            json!({"kind": "card", "number": "1234", "holder": "Ann", "fee": "1.5", "last": "1234!"}),
        ),
        ("kind", json!("card")),
        ("number", json!("1234")),
        ("how", json!("by card")),
        ("cards", json!([3])),
        ("total", json!(7)),
        ("doubles", json!(14)),
        ("y", json!(7)),
        (
            "parts",
            json!([
                {"of": "sum", "amount": 3, "double": 6, "twice": 12},
                {"of": "item", "price": 4, "inner": {"how": "two", "y": 7}, "twice": 8, "double": 8},
                {"of": "item", "inner": {"how": "one", "x": 1}}
            ]),
        ),
    ] {
        assert_eq!(order[name], wanted, "{name}");
    }
    let refused = [
        (json!({}), "required payment `payment` is required"),
        (
            json!({"payment": {}}),
            "required payment/kind `payment/kind` is required, one of \"card\", \"transfer\", \"cash\"",
        ),
        (
            json!({"payment": {"number": "1234"}}),
            "required payment/kind `payment/kind` is required, one of \"card\", \"transfer\", \"cash\"",
        ),
        (
            json!({"payment": {"kind": null}}),
            "required payment/kind `payment/kind` is required, one of \"card\", \"transfer\", \"cash\"",
        ),
        (
            json!({"payment": {"kind": "crad", "number": "1234"}}),
            "enum payment/kind \"crad\" is none of \"card\", \"transfer\", \"cash\"; did you mean \"card\"?",
        ),
        (
            json!({"payment": {"kind": 1}}),
            "type payment/kind `payment/kind` is one of its words, and 1 is none",
        ),
        (json!({"payment": "card"}), "type payment `payment` is an object, and \"card\" is none"),
        (json!({"payment": {"kind": "card"}}), "required payment/number `payment/number` is required"),
        (
            json!({"payment": {"kind": "card", "number": "123"}}),
            "pattern payment/number `payment/number` does not match ^[0-9]{4}$",
        ),
        (
            json!({"payment": {"kind": "cash", "number": "1234"}}),
            "variant payment/number `payment/number` belongs to `card`, and the `kind` of this is `cash`",
        ),
        (
            json!({"payment": {"kind": "cash", "fee": 1}}),
            "variant payment/fee `payment/fee` belongs to `card`, `transfer`, and the `kind` of this is `cash`",
        ),
        (
            json!({"payment": {"kind": "card", "nmber": "1234"}}),
            "unknown-field payment/nmber there is no `payment/nmber`; did you mean `number`?",
        ),
        (
            json!({"payment": {"kind": "card", "number": "1234", "note": "too long"}}),
            "max_length payment/note `payment/note` has a length of at most 5, and this has 8",
        ),
        (
            json!({"payment": {"kind": "transfer", "iban": "x", "last": "y"}}),
            "read-only payment/last `payment/last` follows from others, and cannot be written",
        ),
        (
            json!({"payment": {"kind": "cash"}, "parts": [{"of": "item", "inner": {"how": "one"}}]}),
            "required parts/0/inner/x `parts/0/inner/x` is required",
        ),
        (
            json!({"payment": {"kind": "cash"}, "parts": [{"of": "sum", "amount": 1}, {"of": "item", "amount": 1}]}),
            "variant parts/1/amount `parts/1/amount` belongs to `sum`, and the `of` of this is `item`",
        ),
        (
            json!({"payment": {"kind": "cash"}, "by_day": {"x": {"kind": "b", "n": 1}}}),
            "variant by_day/x/n `by_day/x/n` belongs to `a`, and the `kind` of this is `b`",
        ),
    ];
    for (body, wanted) in refused {
        let reply = client.post("/api/orders", &body);
        let problem = reply.problem(422, wanted.split(' ').next().unwrap());
        let first = &problem["errors"][0];
        let text = |name: &str| first[name].as_str().unwrap_or_default().to_string();
        let told = format!("{} {} {}", text("code"), text("path").trim_start_matches('/'), text("message"));
        assert_eq!(told, wanted, "{body}: {problem}");
    }
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn an_object_becomes_one_of_another_variant() {
    let place = Place::new(SHOP);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/banks", &json!({"_id": "b1", "name": "First"})).expect(201);
    let order = "/api/orders/o1";
    client.post("/api/orders", &json!({"_id": "o1", "payment": {"kind": "cash"}})).expect(201);
    let payment = |client: &mut Client| client.read(order)["payment"].clone();
    // The default of the new variant comes in.
    client.patch(order, &json!({"payment": {"kind": "card", "number": "1234"}})).expect(200);
    assert_eq!(
        payment(&mut client),
        json!({"kind": "card", "number": "1234", "fee": "1.5", "last": "1234!"})
    );
    // A member within the variant; one that is taken away stays away.
    client.patch(order, &json!({"payment": {"holder": "Bob", "note": "n", "fee": null}})).expect(200);
    let card = json!({"kind": "card", "number": "1234", "holder": "Bob", "note": "n", "last": "1234!"});
    assert_eq!(payment(&mut client), card);
    // One of another variant is refused, and nothing has changed.
    client.patch(order, &json!({"payment": {"iban": "x"}})).problem(422, "variant");
    client.patch(order, &json!({"payment": {"kind": "transfer"}})).problem(422, "required");
    client
        .patch(order, &json!({"payment": {"kind": "transfer", "iban": "x", "number": "1"}}))
        .problem(422, "variant");
    client.patch(order, &json!({"payment": {"kind": null}})).problem(422, "required");
    client.patch(order, &json!({"payment": {"kind": "crad"}})).problem(422, "enum");
    assert_eq!(payment(&mut client), card);
    // What both have stays, what only the old one has goes.
    client
        .patch(order, &json!({"payment": {"kind": "transfer", "iban": "x", "bank": "b1", "fee": 2}}))
        .expect(200);
    let transfer = json!({
        "kind": "transfer", "iban": "x", "bank": {"_id": "b1", "_self": "/api/banks/b1"}, "note": "n", "fee": "2", "last": "First"
    });
    assert_eq!(payment(&mut client), transfer);
    let bank = client.read("/api/banks/b1");
    assert_eq!((&bank["orders"], &bank["fees"]), (&json!(1), &json!("2")));
    client.delete("/api/banks/b1").problem(409, "restrict");
    // What was read goes back as it was.
    client.put(order, &json!({"payment": transfer})).expect(200);
    client.patch(order, &json!({"payment": transfer})).expect(200);
    assert_eq!(payment(&mut client), transfer);
    // A JSON Patch takes away what it names, and nothing else.
    let switch = json!({"op": "replace", "path": "/payment/kind", "value": "cash"});
    let refused = act(&mut client, order, JSON_PATCH, &json!([switch])).problem(422, "variant");
    assert_eq!(refused["errors"].as_array().unwrap().len(), 4, "{refused}");
    let whole = json!([{"op": "replace", "path": "/payment", "value": {"kind": "card", "number": "4321", "note": "n"}}]);
    act(&mut client, order, JSON_PATCH, &whole).expect(200);
    assert_eq!(
        payment(&mut client),
        json!({"kind": "card", "number": "4321", "note": "n", "fee": "1.5", "last": "4321!"})
    );
    let bank = client.read("/api/banks/b1");
    assert_eq!((&bank["orders"], &bank["fees"]), (&json!(0), &json!("0")));
    // Update actions, one after the other.
    let actions = json!([
        {"set": {"key": "payment.kind", "value": "transfer"}},
        {"set": {"key": "payment.iban", "value": "y"}},
        {"inc": {"key": "payment.fee", "by": 3}},
        {"push": {"key": "parts", "value": {"of": "sum", "amount": 2}}},
    ]);
    act(&mut client, order, ACTIONS, &actions).expect(200);
    assert_eq!(payment(&mut client), json!({"kind": "transfer", "iban": "y", "note": "n", "fee": "4.5"}));
    act(&mut client, order, ACTIONS, &json!([{"set": {"key": "payment.number", "value": "1"}}]))
        .problem(422, "variant");
    act(
        &mut client,
        order,
        ACTIONS,
        &json!([{"push": {"key": "parts", "value": {"of": "item", "amount": 2}}}]),
    )
    .problem(422, "variant");
    client.patch(order, &json!({"payment": {"kind": "cash"}})).expect(200);
    assert_eq!(client.read(order)["payment"], json!({"kind": "cash"}));
    assert_eq!(client.read(order)["how"], json!("in cash"));
    drop(client);
    server.stop();
    place.check();
}

/// What docs/language.md tells of unions.
#[test]
fn the_example_of_the_reference_does_what_it_says() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    let reference = std::fs::read_to_string(path).unwrap();
    let section = reference.split("### Unions\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let block = |kind: &str| section.split(kind).nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new(block("```cor\n"));
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/banks", &json!({"_id": "b", "name": "First"})).expect(201);
    let mut order: Json = serde_json::from_str(block("```json\n")).unwrap();
    order["_id"] = json!("o");
    let made = client.post("/api/orders", &order).expect(201);
    assert_eq!(
        (&made["amount"], &made["how"], &made["payment"]["fee"]),
        (&json!(70), &json!("card"), &json!("0.5"))
    );
    assert_eq!(made["number"], json!("4000111122223333"));
    let refused = client.patch("/api/orders/o", &json!({"payment": {"iban": "x"}})).problem(422, "variant");
    assert!(section.contains(refused["errors"][0]["message"].as_str().unwrap()), "{refused}");
    let transfer = json!({"payment": {"kind": "transfer", "iban": " x ", "bank": "b"}});
    let order = client.patch("/api/orders/o", &transfer).expect(200);
    let bank = json!({"_id": "b", "_self": "/api/banks/b"});
    let payment = json!({"kind": "transfer", "iban": "x", "bank": bank, "fee": "0.5", "to": "First"});
    assert_eq!(
        (&order["payment"], &order["how"], &order["number"]),
        (&payment, &json!("to First"), &json!("none"))
    );
    assert_eq!(client.read("/api/banks/b")["fees"], json!("0.5"));
    let cash = client.patch("/api/orders/o", &json!({"payment": {"kind": "cash"}})).expect(200);
    assert_eq!((&cash["payment"], &cash["how"]), (&json!({"kind": "cash"}), &json!("cash")));
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn the_openapi_document_tells_the_variants_apart() {
    let place = Place::new(SHOP);
    let server = place.serve();
    let mut client = server.client();
    let document = client.read("/api/_openapi.json");
    let schemas = &document["components"]["schemas"];
    let shown = &schemas["Order"]["properties"]["payment"];
    let written = &schemas["OrderFacts"]["properties"]["payment"];
    for payment in [shown, written] {
        assert_eq!(payment["discriminator"], json!({"propertyName": "kind"}), "{payment}");
        let variants = payment["oneOf"].as_array().unwrap();
        let titles: Vec<&Json> = variants.iter().map(|variant| &variant["title"]).collect();
        assert_eq!(titles, ["card", "transfer", "cash"]);
        assert_eq!(variants[0]["required"], json!(["kind", "number"]));
        assert_eq!(variants[0]["properties"]["kind"], json!({"const": "card"}));
        assert_eq!(variants[0]["properties"]["note"]["maxLength"], json!(5));
        assert_eq!(variants[1]["properties"]["note"]["maxLength"], Json::Null);
        assert_eq!(variants[2]["description"], json!("on the table"));
        assert!(variants[2]["properties"]["number"].is_null() && variants[0]["properties"]["iban"].is_null());
    }
    assert_eq!(shown["oneOf"][1]["properties"]["last"]["readOnly"], json!(true));
    assert!(written["oneOf"][1]["properties"]["last"].is_null());
    // A patch may give a part of any variant.
    let patched = &schemas["OrderPatch"]["properties"]["payment"]["anyOf"][0];
    assert!(patched["required"].is_null(), "{patched}");
    assert!(
        ["kind", "number", "iban"].iter().all(|name| !patched["properties"][*name].is_null()),
        "{patched}"
    );
    drop(client);
    server.stop();
}

#[test]
fn what_is_exported_can_be_imported() {
    let place = Place::new(SHOP);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/banks", &json!({"_id": "b1", "name": "First"})).expect(201);
    for (id, payment) in [
        ("o1", json!({"kind": "card", "number": "1234"})),
        ("o2", json!({"kind": "transfer", "iban": "x", "bank": "b1"})),
        ("o3", json!({"kind": "cash"})),
    ] {
        let order = json!({"_id": id, "payment": payment, "parts": [{"of": "sum", "amount": 1}]});
        client.post("/api/orders", &order).expect(201);
    }
    let kinds =
        |client: &mut Client| client.ids("/api/orders?filter=payment.kind%20in%20%5B'card','cash'%5D");
    assert_eq!(kinds(&mut client), ["o1", "o3"]);
    assert_eq!(client.ids("/api/orders?order=-payment.number"), ["o1", "o3", "o2"]);
    let orders = client.read("/api/orders");
    drop(client);
    server.stop();
    let other = Place::new(SHOP);
    for ty in ["Bank", "Order"] {
        let exported = place.run(&["export", ty]);
        assert!(exported.status.success(), "{}", stderr(&exported));
        let file = other.write(&format!("{ty}.ndjson"), stdout(&exported));
        let imported = other.run(&["import", ty, &file]);
        assert!(imported.status.success(), "{}{}", stdout(&imported), stderr(&imported));
    }
    let server = other.serve();
    let mut client = server.client();
    assert_eq!(kinds(&mut client), ["o1", "o3"]);
    let revisions = |list: &Json| -> Vec<Json> {
        let rows = list["results"].as_array().unwrap().iter().cloned();
        let bare = |mut row: Json| {
            row.as_object_mut().unwrap().remove("_revision");
            row
        };
        rows.map(bare).collect()
    };
    assert_eq!(revisions(&client.read("/api/orders")), revisions(&orders));
    drop(client);
    server.stop();
    other.check();
}

/// A schema that would lose what a variant has is refused while there is some, one that adds is not.
#[test]
fn a_schema_may_get_more_variants_and_loses_none_that_has_values() {
    let union =
        |of: &str| format!("type Order in orders {{\n  payment: {of}\n  kind := self.payment.kind\n}}\n");
    let both = "union kind { card: { number: str }, cash: { note: str } }";
    let place = Place::new(&union(both));
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/orders", &json!({"_id": "o1", "payment": {"kind": "card", "number": "1"}})).expect(201);
    drop(client);
    server.stop();
    for refused in [
        "union kind { cash: { note: str } }",
        "union kind { card: { note: str }, cash: { number: str } }",
        "union kind { card: {}, cash: { note: str, number: str } }",
        "union kind { card: { number: int }, cash: { note: str } }",
        "union sort { card: { number: str }, cash: { note: str } }",
        "{ number: str }",
        "[union kind { card: { number: str }, cash: { note: str } }]",
    ] {
        place.write("schema.cor", union(refused).replace("self.payment.kind", "first([1])"));
        let why = Server::try_start(&place, &[]).err().unwrap_or_else(|| panic!("{refused} is taken"));
        assert!(why.contains("Order.payment has values of another type"), "{refused}: {why}");
    }
    for accepted in [
        "union kind { cash: { note: str, number: str }, card: { number: str required min_length 9 }, check: { bank: str } }",
        "{ kind: str, number: str, note: str, bank: str }",
    ] {
        place.write("schema.cor", union(accepted));
        let server = place.serve();
        let order = server.client().read("/api/orders/o1");
        assert_eq!(
            (&order["payment"], &order["kind"]),
            (&json!({"kind": "card", "number": "1"}), &json!("card"))
        );
        server.stop();
        place.check();
    }
    // A plain object is no union.
    place.write("schema.cor", union(both));
    let why = Server::try_start(&place, &[]).err().unwrap();
    assert!(why.contains("Order.payment has values of another type"), "{why}");
}
