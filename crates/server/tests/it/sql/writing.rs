//! What is changed in SQL is held to the rules, has its consequences, and is told, once, whatever breaks.

use super::*;

const SHOP: &str = r#"
type Customer in customers {
  name:   str required unique
  level:  "low" | "high" default "low"
  orders: inverse Order.customer
  total   := sum(self.orders.amount)
  notes:  collection Note
}

type Order in orders {
  amount:   int required, min 0
  note:     str
  customer: link Customer required, on delete restrict
  double    := self.amount * 2
  items:    [{ n: int, price: int, cost := self.n * self.price }]
}

type Note { text: str }
"#;

fn total(client: &mut Client, customer: &str) -> Json {
    client.read(&format!("/api/customers/{customer}"))["total"].clone()
}

/// Ann, with an order of 5.
fn filled(database: &Arc<Database>) -> (Place, Server, Client) {
    let place = place(database, SHOP);
    let server = serve(database, &place);
    let mut client = server.client();
    client.post("/api/customers", &json!({"_id": "ann", "name": "Ann"})).expect(201);
    let created = client.post("/api/orders", &json!({"_id": "o1", "amount": 5, "customer": "ann"}));
    created.expect(201);
    caught_up(database, &created);
    (place, server, client)
}

#[test]
fn a_transaction_is_one_commit_with_all_that_follows() {
    let database = Database::new();
    let (place, server, mut client) = filled(&database);
    let other = place.serve();
    let mut watch = other.watch("/api/customers/ann?watch=true");
    assert_eq!((watch.told(), watch.told()), ("added /api/customers/ann".into(), "synced".into()));
    let mut orders = other.watch("/api/orders?watch=true");
    assert_eq!((orders.told(), orders.told()), ("added /api/orders/o1".into(), "synced".into()));
    database.sql(
        "CREATE ROLE clerk; GRANT USAGE ON SCHEMA docs TO clerk; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON docs.orders, docs.customers TO clerk",
    );
    let shown = database.sql(
        "BEGIN; SET LOCAL ROLE clerk; UPDATE docs.orders SET amount = amount + 1 WHERE _id = 'o1'; \
         INSERT INTO docs.orders (_id, amount, customer) VALUES ('o2', 10, 'ann'), ('o3', 20, 'ann'); \
         DELETE FROM docs.orders WHERE _id = 'o3'; SELECT string_agg(amount::text, ' ' ORDER BY _id) FROM docs.orders; COMMIT",
    );
    // Whoever changes sees what he has changed.
    assert_eq!(shown, "6 10");
    let event = watch.next();
    assert_eq!((event.kind(), &event.data["resource"]["total"]), ("modified", &json!(16)));
    assert_eq!((&event.data["old"]["total"], &event.data["actor"]), (&json!(5), &json!("clerk")));
    let (one, two) = (orders.next(), orders.next());
    assert_eq!((one.kind(), two.kind()), ("modified", "added"));
    assert_eq!((one.revision(), two.revision()), (event.revision(), event.revision()));
    // Only what a statement changed is written.
    assert_eq!(
        (&one.data["changed"], &one.data["old"]),
        (&json!(["amount", "double"]), &json!({"amount": 5, "double": 10}))
    );
    taken_in(&database);
    let orders =
        "SELECT string_agg(concat_ws(':', _id, amount, double, customer), ' ' ORDER BY _id) FROM docs.orders";
    expect_sql(&database, orders, "o1:6:12:ann o2:10:20:ann");
    expect_sql(&database, "SELECT total FROM docs.customers", "16");
    // What a commit of HTTP changed since is kept, field by field.
    client.patch("/api/orders/o2", &json!({"note": "by hand"})).expect(200);
    database.sql("UPDATE docs.orders SET amount = 11 WHERE _id = 'o2'");
    taken_in(&database);
    let order = client.read("/api/orders/o2");
    assert_eq!((&order["amount"], &order["note"]), (&json!(11), &json!("by hand")));
    database.sql("UPDATE docs.orders SET note = NULL WHERE _id = 'o2'");
    taken_in(&database);
    assert_eq!(client.read("/api/orders/o2").get("note"), None);
    drop((client, watch));
    server.stop();
    other.stop();
    place.check();
}

#[test]
fn what_is_refused_is_on_record_and_set_back_and_holds_nothing_up() {
    let database = Database::new();
    let (place, server, mut client) = filled(&database);
    client.post("/api/customers", &json!({"_id": "bob", "name": "Bob"})).expect(201);
    expect_sql(&database, "SELECT count(*) FROM docs.customers", "2");
    let all =
        "SELECT string_agg(concat_ws(':', _id, name, level, total), ' ' ORDER BY _id) FROM docs.customers";
    let mut refusals = 0;
    for (statement, code, path) in [
        ("UPDATE docs.customers SET name = 'Ann' WHERE _id = 'bob'", "unique", "/name"),
        ("UPDATE docs.customers SET name = NULL WHERE _id = 'bob'", "required", "/name"),
        ("UPDATE docs.customers SET level = 'none' WHERE _id = 'bob'", "enum", "/level"),
        ("DELETE FROM docs.customers WHERE _id = 'ann'", "restrict", "/customer"),
        ("INSERT INTO docs.customers (_id, level) VALUES ('cid', 'low')", "required", "/name"),
        ("INSERT INTO docs.customers (_id, name) VALUES ('a b', 'x')", "id", "/_id"),
        ("UPDATE docs.orders SET customer = 'nobody'", "link", "/customer"),
        ("UPDATE docs.orders SET amount = -1", "min", "/amount"),
        ("INSERT INTO docs.note (_id, text) VALUES ('n', 'x')", "parent", "/parent_customer_notes"),
        (
            "INSERT INTO docs.note (_id, text, parent_customer_notes) VALUES ('n', 'x', 'a b')",
            "link",
            "/parent_customer_notes",
        ),
        // All of a transaction, though only a part of it is wrong.
        ("UPDATE docs.customers SET level = 'high'; UPDATE docs.orders SET amount = -1", "min", "/amount"),
    ] {
        database.sql(statement);
        refusals += 1;
        let last = "SELECT count(*) FROM docs._violations";
        expect_sql(&database, last, &refusals.to_string());
        taken_in(&database);
        let told = client.read("/api/_sql");
        let violation = &told["violations"]["last"][0];
        assert_eq!(told["violations"]["count"], json!(refusals), "{told}");
        let error = &violation["problem"]["errors"][0];
        assert_eq!(error["code"], json!(code), "{statement}: {violation}");
        assert_eq!(
            error.get("path").and_then(Json::as_str).unwrap_or_default(),
            path,
            "{statement}: {violation}"
        );
        assert_eq!(violation["role"], json!("postgres"));
        assert_eq!(database.sql(all), "ann:Ann:low:5 bob:Bob:low:0", "{statement}");
        assert_eq!(database.sql("SELECT amount, customer FROM docs.orders"), "5|ann", "{statement}");
        // The next one goes through.
        database.sql(&format!("UPDATE docs.orders SET note = 'after {refusals}'"));
        taken_in(&database);
        assert_eq!(client.read("/api/orders/o1")["note"], json!(format!("after {refusals}")));
    }
    let told = client.read("/api/_sql");
    let changes = &told["violations"]["last"][0]["changes"];
    assert_eq!(changes.as_array().map(Vec::len), Some(3), "{told}");
    assert_eq!(changes[2], json!({"type": "Order", "id": "o1", "op": "update", "fields": {"amount": -1}}));
    assert_eq!(told["violations"]["last"][0]["problem"]["errors"][0]["item"], json!(2));
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains(&format!("corollary_sql_violations_total {refusals}")), "{metrics}");
    assert!(server.said().contains("a transaction of SQL was refused"), "{}", server.said());
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn what_is_certain_is_refused_at_once() {
    let database = Database::new();
    let (place, server, mut client) = filled(&database);
    for (statement, expected) in [
        (
            "UPDATE docs.orders SET double = 3",
            "428C9 double of orders follows from other fields, and cannot be set",
        ),
        (
            "INSERT INTO docs.orders (amount, double) VALUES (1, 2)",
            "428C9 double of orders follows from other fields, and cannot be set",
        ),
        ("UPDATE docs.orders SET _id = 'x'", "428C9 _id of orders stays what it is"),
        (
            "UPDATE docs.orders SET _revision = 7",
            "428C9 _revision of orders is kept by Corollary, and cannot be set",
        ),
        ("INSERT INTO docs.orders (_id, amount) VALUES ('o1', 1)", "23505 duplicate key"),
        ("UPDATE docs.orders SET nothing = 7", "42703 column \"nothing\""),
        ("UPDATE docs.\"_doc_Order\" SET doc = '{}'", "42501 table _doc_Order is written by Corollary alone"),
    ] {
        let told = refused_sql(&database, statement);
        assert!(told.starts_with(expected), "{statement}: {told}");
    }
    // Nobody captures what he may not change.
    database.sql("CREATE ROLE reader; GRANT USAGE, CREATE ON SCHEMA docs TO reader; GRANT SELECT ON docs.orders TO reader");
    for statement in [
        "UPDATE docs.orders SET amount = 7",
        "INSERT INTO docs._changes (type, id, op, fields, role) VALUES ('Order', 'o1', 'delete', '{}', 'x')",
        "CREATE TABLE docs.own (LIKE docs.orders)",
    ] {
        let told = refused_sql(&database, &format!("SET LOCAL ROLE reader; {statement}"));
        assert!(
            told.starts_with("42501") || statement.starts_with("CREATE") && told.is_empty(),
            "{statement}: {told}"
        );
    }
    let own = "SET LOCAL ROLE reader; CREATE TRIGGER t BEFORE INSERT ON docs.own FOR EACH ROW EXECUTE FUNCTION docs.\"_change_Order\"()";
    assert!(
        refused_sql(&database, own).starts_with("42501 permission denied for function"),
        "{}",
        refused_sql(&database, own)
    );
    assert_eq!(client.read("/api/_sql")["violations"]["count"], json!(0));
    assert_eq!(total(&mut client, "ann"), json!(5));
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn values_of_each_kind_are_written() {
    let database = Database::new();
    let place = place(&database, KINDS);
    let server = serve(&database, &place);
    let mut client = server.client();
    for name in ["p1", "p2"] {
        client.post("/api/people", &json!({"_id": name, "name": name})).expect(201);
    }
    client.post("/api/firms", &json!({"_id": "f"})).expect(201);
    client.post("/api/regions", &json!({"_id": "n", "name": "North"})).expect(201);
    client.post("/api/regions", &json!({"_id": "s", "name": "South"})).expect(201);
    database.sql(
        "INSERT INTO docs.things (_id, text, whole, real, exact, yes, at, day, span, key, raw, \"any\", word, parts, list, \"some\", \
           map, shape, owner, owners, holder) VALUES ('t', 'it''s \\ \"so\"', 9007199254740993, 0.1, 1234567890123456789.50, \
           true, '2024-02-29 12:00:00.123456+02', '2024-02-29', '-1 day 2 hours', '6F1C1B8E-7F0A-4A9E-9C3B-2F4D5E6A7B8C', '\\x0001ff', \
           '{\"a\": [1, null]}', 'big', '{\"a\": 1, \"to\": \"p1\"}', '[3, 1]', '[\"b\", \"a\"]', '{\"x\": 1}', \
           '{\"kind\": \"circle\", \"r\": 2}', 'p1', '[\"p2\", \"p1\"]', '{\"_id\": \"f\", \"_type\": \"Firm\"}')",
    );
    taken_in(&database);
    assert_eq!(client.read("/api/_sql")["violations"]["count"], json!(0), "{}", client.read("/api/_sql"));
    let thing = client.read("/api/things/t");
    for (field, value) in [
        ("text", json!("it's \\ \"so\"")),
        ("whole", json!(9_007_199_254_740_993i64)),
        ("real", json!(0.1)),
        ("exact", json!("1234567890123456789.50")),
        ("yes", json!(true)),
        ("at", json!("2024-02-29T10:00:00.123456Z")),
        ("day", json!("2024-02-29")),
        ("span", json!("-PT22H")),
        ("key", json!("6f1c1b8e-7f0a-4a9e-9c3b-2f4d5e6a7b8c")),
        ("raw", json!("AAH/")),
        ("any", json!({"a": [1, null]})),
        ("list", json!([3, 1])),
        ("some", json!(["a", "b"])),
        ("map", json!({"x": 1})),
        ("shape", json!({"kind": "circle", "r": 2})),
    ] {
        assert_eq!(thing[field], value, "{field}");
    }
    assert_eq!(
        (&thing["parts"]["to"]["_id"], &thing["owner"]["_id"], &thing["holder"]["_type"]),
        (&json!("p1"), &json!("p1"), &json!("Firm"))
    );
    assert_eq!(
        (&thing["owners"][0]["_id"], &thing["twice"]),
        (&json!("p2"), &json!(18_014_398_509_481_986i64))
    );
    // What is not written does not change, though the database has less of it.
    client
        .patch("/api/things/t", &json!({"at": "2024-02-29T10:00:00.123456789Z", "text": "a\u{0}b"}))
        .expect(200);
    expect_sql(&database, "SELECT text FROM docs.things", "a\u{fffd}b");
    database.sql("UPDATE docs.things SET whole = 1, owner = NULL, at = at");
    taken_in(&database);
    let thing = client.read("/api/things/t");
    assert_eq!((&thing["at"], &thing["text"]), (&json!("2024-02-29T10:00:00.123456789Z"), &json!("a\u{0}b")));
    assert_eq!((&thing["whole"], thing.get("owner")), (&json!(1), None));
    // A child is created in a parent, and goes to another one.
    database.sql("INSERT INTO docs.shop (_id, count, parent_region_shops) VALUES ('x', 3, 'n')");
    taken_in(&database);
    assert_eq!(client.read("/api/regions/n")["all"], json!(3));
    database.sql("UPDATE docs.shop SET parent_region_shops = 's', count = 4");
    taken_in(&database);
    assert_eq!(client.read("/api/regions/s/shops/x")["count"], json!(4));
    assert_eq!(
        (&client.read("/api/regions/n")["all"], &client.read("/api/regions/s")["all"]),
        (&json!(0), &json!(4))
    );
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn members_that_follow_may_come_back_as_they_were_shown() {
    let database = Database::new();
    let (place, server, mut client) = filled(&database);
    let items = json!([{"n": 2, "price": 3}, {"n": 1, "price": 7}]);
    client.patch("/api/orders/o1", &json!({"items": items})).expect(200);
    expect_sql(&database, "SELECT items -> 0 ->> 'cost' FROM docs.orders", "6");
    database.sql("UPDATE docs.orders SET items = jsonb_set(items, '{1,price}', '8') #- '{1,cost}'");
    taken_in(&database);
    let shown = json!([{"n": 2, "price": 3, "cost": 6}, {"n": 1, "price": 8, "cost": 8}]);
    assert_eq!(client.read("/api/orders/o1")["items"], shown);
    expect_sql(&database, "SELECT items -> 1 ->> 'cost' FROM docs.orders", "8");
    database.sql("UPDATE docs.orders SET items = jsonb_set(items, '{0,cost}', '100')");
    taken_in(&database);
    let violation = client.read("/api/_sql")["violations"]["last"][0].clone();
    assert_eq!(violation["problem"]["errors"][0]["code"], json!("read-only"), "{violation}");
    assert_eq!(client.read("/api/orders/o1")["items"], shown);
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn what_was_captured_is_taken_in_once_whatever_dies() {
    let database = Database::new();
    let (place, server, client) = filled(&database);
    drop(client);
    // Captured while no server is there.
    server.kill();
    database.sql("UPDATE docs.orders SET amount = 7 WHERE _id = 'o1'");
    let server = serve(&database, &place);
    taken_in(&database);
    let mut client = server.client();
    assert_eq!(total(&mut client, "ann"), json!(7));
    // Taken in, and not noted so: as if the server died in between.
    database.sql(
        "CREATE FUNCTION docs.stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not now''; END'; \
         CREATE TRIGGER stop BEFORE DELETE ON docs._changes FOR EACH STATEMENT EXECUTE FUNCTION docs.stop()",
    );
    database.sql("UPDATE docs.orders SET amount = amount + 1 WHERE _id = 'o1'");
    database.sql("INSERT INTO docs.orders (_id, amount, customer) VALUES ('o2', 1, 'ann')");
    let begun = Instant::now();
    while total(&mut client, "ann") != json!(9) {
        assert!(begun.elapsed() < PATIENCE_BEHIND, "{}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(client);
    server.kill();
    // Others go on in the meantime, and what they change must not be undone.
    let server = place.serve();
    let mut client = server.client();
    client.patch("/api/orders/o1", &json!({"amount": 100})).expect(200);
    assert_eq!(client.delete("/api/orders/o2").status, 204);
    drop(client);
    server.kill();
    database.sql("DROP TRIGGER stop ON docs._changes");
    let server = serve(&database, &place);
    taken_in(&database);
    let mut client = server.client();
    assert_eq!(total(&mut client, "ann"), json!(100));
    assert_eq!(client.read("/api/_sql")["violations"]["count"], json!(0));
    expect_sql(&database, "SELECT _id, amount FROM docs.orders", "o1|100");
    drop(client);
    server.stop();
    place.check();
}

#[test]
fn another_server_takes_in_what_one_that_died_did_not() {
    let database = Database::new();
    let (place, one, client) = filled(&database);
    drop(client);
    let other = Server::start(&place, &["--sql", WITHIN]);
    let mut client = other.client();
    database.sql("UPDATE docs.orders SET amount = 8");
    one.kill();
    database.sql("UPDATE docs.orders SET note = 'later'");
    taken_in(&database);
    let order = client.read("/api/orders/o1");
    assert_eq!((&order["amount"], &order["note"]), (&json!(8), &json!("later")));
    assert_eq!(total(&mut client, "ann"), json!(8));
    drop(client);
    other.stop();
    place.check();
}
