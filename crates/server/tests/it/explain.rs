//! `?explain=true`: which path of access a list takes. That what is found does not depend on it is what the random
//! conditions prove.

use crate::common::client::encoded;
use crate::common::*;

const SHOP: &str = r#"
type Item in items {
  code:  str unique
  kind:  str index
  color: str index
  price: int index
  title: str search text
  note:  str
  tags:  [str] index
  shelf: link Shelf
}
type Shelf in shelves { name: str index, level: int index, items: inverse Item.shelf, room: link Room }
type Room in rooms { code: str unique, size: int }
"#;

#[test]
fn the_path_with_the_fewest_rows_is_taken() {
    let place = Place::new(SHOP);
    let server = place.serve();
    let mut client = server.client();
    client
        .post("/api/rooms", &json!([{"_id": "r1", "code": "A", "size": 1}, {"_id": "r2", "code": "B"}]))
        .expect(201);
    let shelf =
        |id: &str, level: u64, room: &str| json!({"_id": id, "name": id, "level": level, "room": room});
    client.post("/api/shelves", &json!([shelf("s1", 1, "r1"), shelf("s2", 2, "r2")])).expect(201);
    let items: Vec<Json> = (0..400)
        .map(|n| {
            let color = if n % 100 == 0 { "red" } else { "blue" };
            json!({"_id": format!("i{n:03}"), "code": format!("c{n}"), "kind": "thing", "color": color, "price": n,
                   "title": format!("number {n}"), "note": "x", "tags": [format!("t{}", n % 50)], "shelf": if n < 10 { "s1" } else { "s2" }})
        })
        .collect();
    client.post("/api/items", &json!(items)).expect(201);
    for (filter, order, access, fields, candidates, sorted) in [
        ("", "", "all", "", 400, false),
        ("note = 'x'", "", "all", "", 400, false),
        ("code = 'c7' and color = 'red'", "", "index", "Item.code", 1, false),
        ("kind = 'thing' and color = 'red'", "", "index", "Item.color", 4, false),
        ("color = 'blue' and price < 3", "", "index", "Item.price", 4, true),
        ("color = 'red'", "price", "index", "Item.color", 4, true),
        ("kind = 'thing' and note = 'x'", "-price", "index", "Item.price", 400, false),
        ("note = 'x'", "-price", "index", "Item.price", 400, false),
        ("price >= 10 and price < 20", "price", "index", "Item.price", 11, false),
        ("price < 5", "color", "index", "Item.price", 6, true),
        ("shelf = 's1' and color = 'blue'", "", "references", "Item.shelf", 10, false),
        ("color = 'red' or code = 'c7'", "", "union", "Item.color Item.code", 5, false),
        ("color = 'red' or note = 'x'", "", "all", "", 400, false),
        ("(color = 'red' and note = 'x') or shelf = 's1'", "", "union", "Item.color Item.shelf", 14, false),
        ("code in ['c1', 'c2', 'c3']", "", "union", "Item.code", 3, false),
        ("color in ['red', 'green'] and kind = 'thing'", "", "union", "Item.color", 4, false),
        ("has_words(title, 'number 7')", "", "search", "Item.title", 1, false),
        ("'t7' in tags and kind = 'thing'", "", "index", "Item.tags", 8, false),
        ("'t7' in tags or color = 'red'", "", "union", "Item.tags Item.color", 12, false),
        ("shelf.name = 's1'", "", "through", "Item.shelf Shelf.name", 10, false),
        ("shelf.level < 2", "-price", "index", "Item.price", 400, false),
        ("shelf.level in [1, 7]", "", "through", "Item.shelf Shelf.level", 10, false),
        ("'A' = shelf.room.code", "", "through", "Item.shelf Shelf.room Room.code", 10, false),
        ("shelf.room = 'r1'", "", "through", "Item.shelf Shelf.room", 10, false),
        ("shelf.name = 's2' and color = 'red'", "", "index", "Item.color", 4, false),
        ("shelf.name = 's1' or color = 'red'", "", "union", "Item.shelf Shelf.name Item.color", 14, false),
        // What leads nowhere has no name either.
        ("shelf.name = null", "", "all", "", 400, false),
        ("shelf.room.size = 1", "", "all", "", 400, false),
    ] {
        let path = format!("/api/items?explain=true&filter={}&order={}", encoded(filter), encoded(order));
        let path = path.replace("filter=&", "").trim_end_matches("&order=").to_string();
        let told = client.read(&path)["explain"].clone();
        let names = told["fields"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        let names = names.collect::<Vec<_>>().join(" ");
        let is = (told["access"].as_str().unwrap(), names.as_str(), &told["candidates"], &told["sorted"]);
        assert_eq!(is, (access, fields, &json!(candidates), &json!(sorted)), "{filter} by {order}: {told}");
    }
    assert_eq!(client.read("/api/shelves/s1/items?explain")["explain"]["access"], "references");
    let body = json!({"where": {"kv": {"key": "code", "value": "c1"}}, "explain": true});
    assert_eq!(client.post("/api/items/_query", &body).expect(200)["explain"]["access"], "index");
    client.get("/api/items/i001?explain=true").problem(400, "parameter");
    client.get("/api/items?explain=true&watch=true").problem(400, "parameter");
    // A union finds each of them once, page by page, in both directions.
    let filter = encoded("color = 'red' or code in ['c100', 'c5'] or price >= 398");
    let mut found = ["i000", "i005", "i100", "i200", "i300", "i398", "i399"].map(String::from).to_vec();
    assert_eq!(client.ids(&format!("/api/items?filter={filter}&limit=2")), found);
    assert_eq!(client.read(&format!("/api/items?filter={filter}&limit=2&count=true"))["count"], 7);
    found.reverse();
    assert_eq!(client.ids(&format!("/api/items?filter={filter}&limit=2&order=-price")), found);
    assert!(server.stop().0.success());
    place.check();
}

/// A page of what a customer ordered, newest first, was found by all that the customer had ever ordered.
#[test]
fn an_index_over_several_fields_is_named_and_gives_its_order() {
    let place = Place::new(
        "type Customer in customers { name: str, orders: inverse Order.customer, notes: collection Note }
         type Order in orders index (customer, at desc), index (status, total desc) {
           customer: link Customer, status: 'open' | 'paid', at: int, amount: int, total := self.amount * 2
         }
         type Note index (parent, at) { at: int }",
    );
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/customers", &json!([{"_id": "c1"}, {"_id": "c2"}])).expect(201);
    let order = |n: u64| {
        let status = if n.is_multiple_of(3) { "open" } else { "paid" };
        let customer = format!("c{}", 1 + n % 2);
        json!({"_id": format!("o{n:03}"), "customer": customer, "status": status, "at": n * 7 % 100, "amount": n % 5})
    };
    client.post("/api/orders", &json!((0..300).map(order).collect::<Vec<_>>())).expect(201);
    let notes: Vec<Json> = (0..10).map(|n| json!({"_id": format!("n{n}"), "at": n * 3 % 10})).collect();
    client.post("/api/customers/c1/notes", &json!(notes)).expect(201);
    let (by_customer, by_status) = ("customer, at desc", "status, total desc");
    for (path, index, fields, candidates) in [
        ("customers/c1/orders?order=-at", by_customer, ["Order.customer", "Order.at"], 150),
        ("customers/c1/orders?order=at", by_customer, ["Order.customer", "Order.at"], 150),
        (
            "orders?order=-at&filter=customer = 'c2' and at < 7",
            by_customer,
            ["Order.customer", "Order.at"],
            12,
        ),
        ("orders?filter=status = 'open' and total = 8", by_status, ["Order.status", "Order.total"], 20),
        ("orders?order=status,-total", by_status, ["Order.status", "Order.total"], 300),
        (
            "customers/c1/notes?order=-at",
            "parent_customer_notes, at",
            ["Note.parent_customer_notes", "Note.at"],
            10,
        ),
    ] {
        let path = match path.split_once("filter=") {
            Some((before, filter)) => format!("{before}filter={}", encoded(filter)),
            None => path.to_string(),
        };
        let told = client.read(&format!("/api/{path}&explain=true"))["explain"].clone();
        assert_eq!((&told["access"], &told["index"]), (&json!("index"), &json!(index)), "{path}: {told}");
        assert_eq!((&told["fields"], &told["sorted"]), (&json!(fields), &json!(false)), "{path}: {told}");
        assert_eq!(told["candidates"], candidates, "{path}: {told}");
        // Page by page it is what is found at once.
        let all = client.ids(&format!("/api/{path}&limit=300"));
        assert!(all.len() >= 5, "{path}: {all:?}");
        assert_eq!(client.ids(&format!("/api/{path}&limit=3")), all, "{path}");
    }
    let told = client.read("/api/customers/c1/orders?order=amount&explain=true");
    assert_eq!((&told["explain"]["access"], &told["explain"]["index"]), (&json!("references"), &Json::Null));
}
