//! Collections of several types and inverses of links in abstract types, through the API.

use crate::common::client::encoded;
use crate::common::*;

const PAGES: &str = r#"
abstract type Block {
  size:  int default 1
  about: link Topic
}
type Text is Block { words: str, notes: collection Note }
type Image is Block history { alt: str }
type Note { text: str }
type Page in pages {
  title: str
  items: collection Block
  total := sum(self.items.size)
}
type Topic in topics {
  blocks: inverse Block.about
  weight := sum(self.link_block_about.size)
}
"#;

fn served() -> (Place, Server) {
    let place = Place::new(PAGES);
    let server = place.serve();
    let client = &mut server.client();
    client.post("/api/pages", &json!([{"_id": "p", "title": "one"}, {"_id": "q"}])).expect(201);
    client.post("/api/topics", &json!({"_id": "t"})).expect(201);
    let items = json!([
        {"_type": "Text", "_id": "b", "size": 4, "about": "t", "words": "hello"},
        {"_type": "Image", "_id": "a", "size": 6, "about": "t"},
        {"_type": "Text", "_id": "c", "size": 2},
    ]);
    client.post("/api/pages/p/items", &items).expect(201);
    (place, server)
}

#[test]
fn children_of_several_types_are_made_read_and_changed_in_one_list() {
    let (place, server) = served();
    let client = &mut server.client();
    let made = client.post("/api/pages/q/items", &json!({"_type": "Image", "alt": "x"}));
    let image = made.expect(201);
    assert_eq!(made.header("location"), image["_self"].as_str());
    assert!(image["_self"].as_str().unwrap().starts_with("/api/pages/q/items/"), "{image}");
    for (body, error) in [
        (json!({"size": 1}), "type /_type"),
        (json!({"_type": 5}), "type /_type"),
        (json!({"_type": "Txt"}), "type /_type"),
        (json!({"_type": "Note"}), "type /_type"),
        (json!({"_type": "Text", "alt": "x"}), "unknown-field /alt"),
        (json!({"_type": "Image", "_id": "b"}), "unique /_id"),
    ] {
        let reply = client.post("/api/pages/p/items", &body);
        assert_eq!(reply.errors(), [error], "{body}");
    }
    let told = client.post("/api/pages/p/items", &json!({"_type": "Txt"})).problem(422, "type");
    let detail = told["errors"][0]["message"].as_str().unwrap();
    assert_eq!(detail, "`Txt` is not held here: `_type` is Text or Image; did you mean `Text`?");
    let many = client.post("/api/pages/p/items", &json!([{"_type": "Text"}, {"size": 3}]));
    assert_eq!(many.problem(422, "type")["errors"][0]["item"], 1);
    client.post("/api/pages/p/items", &json!("x")).problem(400, "body");
    client.put("/api/pages/p/items", &json!({})).problem(405, "method-not-allowed");

    assert_eq!(client.read("/api/pages/p")["total"], 12);
    let listed: Vec<Json> = client.list("/api/pages/p/items");
    let shown: Vec<_> = listed.iter().map(|it| (it["_id"].clone(), it["_type"].clone())).collect();
    let wanted = [("a", "Image"), ("b", "Text"), ("c", "Text")];
    assert_eq!(shown, wanted.map(|(id, ty)| (json!(id), json!(ty))));
    assert_eq!(listed[1]["_self"], "/api/pages/p/items/b");
    assert_eq!(client.ids(&format!("/api/pages/p/items?filter={}", encoded("size > 2"))), ["a", "b"]);
    assert_eq!(client.ids("/api/pages/p/items?order=-size"), ["a", "b", "c"]);
    let mut next = "/api/pages/p/items?limit=1&order=-size&count=true".to_string();
    let mut paged = Vec::new();
    loop {
        let page = client.read(&next);
        assert_eq!(page["count"], 3);
        paged.push(page["results"][0]["_id"].clone());
        match page["next"].as_str() {
            Some(behind) => next = behind.into(),
            None => break,
        }
    }
    assert_eq!(paged, [json!("a"), json!("b"), json!("c")]);
    let asked = json!({"where": {"kv": {"key": "size", "value": 2}}});
    assert_eq!(client.post("/api/pages/p/items/_query", &asked).expect(200)["results"][0]["_id"], "c");
    assert_eq!(client.post("/api/pages/p/items/_count", &asked).expect(200)["count"], 1);

    assert_eq!(client.read("/api/pages/p/items/a")["size"], 6);
    client.get("/api/pages/q/items/a").problem(404, "not-found");
    client.get("/api/pages/p/items/nobody").problem(404, "not-found");
    assert_eq!(client.patch("/api/pages/p/items/a", &json!({"size": 7})).expect(200)["size"], 7);
    client.post("/api/pages/p/items/b/notes", &json!({"_id": "n", "text": "x"})).expect(201);
    assert_eq!(client.read("/api/pages/p/items/b/notes/n")["text"], "x");
    assert_eq!(client.read("/api/pages/p/items/b/parent_page_items")["title"], "one");
    let expanded = client.read("/api/pages/p?expand=items");
    let expanded = expanded["items"].as_array().unwrap();
    assert_eq!(
        expanded.iter().map(|it| it["_type"].as_str().unwrap()).collect::<Vec<_>>(),
        ["Image", "Text", "Text"]
    );
    client.patch("/api/pages/p", &json!({"items": []})).problem(422, "read-only");

    assert_eq!(client.ids("/api/topics/t/blocks"), ["a", "b"]);
    assert_eq!(client.read("/api/topics/t/blocks/a")["_self"], "/api/pages/p/items/a");
    client.post("/api/topics/t/blocks", &json!({"_type": "Text"})).problem(405, "method-not-allowed");
    client.post("/api/topics/t/blocks", &json!([{"_type": "Text"}])).problem(405, "method-not-allowed");
    assert_eq!(client.read("/api/topics/t?expand=blocks.about")["blocks"][0]["about"]["weight"], 11);

    client.delete("/api/pages/p/items/c").expect(204);
    assert_eq!(client.read("/api/pages/p")["total"], 11);
    client.delete("/api/pages/p").expect(204);
    assert_eq!(client.read("/api/topics/t")["weight"], 0);
    let batch = json!([
        {"method": "POST", "path": "/pages", "body": {"_id": "r"}},
        {"method": "POST", "path": "$0._self/items", "body": {"_type": "Text", "_id": "z", "size": 5}},
        {"method": "POST", "path": "$1._self/notes", "body": {"text": "y"}},
        {"method": "PATCH", "path": "$1._self", "body": {"size": 6}},
    ]);
    let done = client.post("/api/_batch", &batch).expect(200);
    assert_eq!(done[3]["body"]["_self"], "/api/pages/r/items/z");
    assert_eq!(client.read("/api/pages/r")["total"], 6);
    drop(server.stop());
    place.check();
}

/// A child of several types moves to where its type is held; under each parent a path leads to one.
#[test]
fn children_of_several_types_move() {
    let (place, server) = served();
    let client = &mut server.client();
    let to = |from: &str, to: &str| json!({"from": from, "to": to});
    let moved = client.post("/api/_move", &to("/pages/p/items/b", "/pages/q/items")).expect(200);
    assert_eq!(moved["_self"], "/api/pages/q/items/b");
    assert_eq!(client.ids("/api/pages/q/items"), ["b"]);
    assert_eq!(
        (&client.read("/api/pages/p")["total"], &client.read("/api/pages/q")["total"]),
        (&json!(8), &json!(4))
    );
    client.post("/api/pages/p/items", &json!({"_type": "Image", "_id": "b"})).expect(201);
    let back = client.post("/api/_move", &to("/pages/q/items/b", "/pages/p/items"));
    assert_eq!(back.errors(), ["unique /_id"]);
    client.post("/api/pages/q/items/b/notes", &json!({"_id": "n"})).expect(201);
    let note = client.post("/api/_move", &to("/pages/q/items/b/notes/n", "/pages/p/items"));
    let note = note.problem(422, "move");
    let told = "/pages/p/items holds Text and Image, and what is to move there is Note";
    assert_eq!(note["errors"][0]["message"], told);
    drop(server.stop());
    place.check();
}

#[test]
fn a_watch_of_children_of_several_types_tells_of_all() {
    let (place, server) = served();
    let client = &mut server.client();
    let filter = encoded("size > 3");
    let watch = &mut server.watch(&format!("/api/pages/p/items?watch=true&filter={filter}"));
    let there = watch.synced();
    let there = there.iter().filter(|event| event.kind() == "added");
    let there: Vec<_> = there.map(|it| (it.path().to_string(), it.data["_type"].clone())).collect();
    assert_eq!(
        there,
        [("/api/pages/p/items/a".into(), json!("Image")), ("/api/pages/p/items/b".into(), json!("Text"))]
    );
    let blocks = &mut server.watch("/api/topics/t/blocks?watch=true");
    assert_eq!(blocks.synced().iter().filter(|event| event.kind() == "added").count(), 2);
    client.post("/api/pages/q/items", &json!({"_type": "Text", "size": 9})).expect(201);
    client.patch("/api/pages/p/items/c", &json!({"size": 5})).expect(200);
    let event = watch.next();
    assert_eq!(
        (event.kind(), event.path(), &event.data["_type"]),
        ("added", "/api/pages/p/items/c", &json!("Text"))
    );
    client.delete("/api/pages/p").expect(204);
    let mut gone =
        [watch.next(), watch.next(), watch.next()].map(|it| (it.kind().to_string(), it.path().to_string()));
    gone.sort();
    assert_eq!(gone, ["a", "b", "c"].map(|id| ("removed".into(), format!("/api/pages/p/items/{id}"))));
    assert_eq!([blocks.next().kind(), blocks.next().kind()], ["removed", "removed"]);
    drop(server.stop());
    place.check();
}

#[test]
fn children_of_several_types_are_exported_and_imported_by_type() {
    let (place, server) = served();
    drop(server.stop());
    let mut rows = Vec::new();
    for ty in ["Page", "Topic", "Text", "Image"] {
        rows.push((ty, stdout(&place.run(&["export", ty]))));
    }
    assert!(rows[3].1.contains(r#""parent_page_items":"p""#), "{}", rows[3].1);
    let other = Place::new(PAGES);
    for (ty, lines) in rows {
        let file = other.write(&format!("{ty}.jsonl"), lines);
        let said = other.run(&["import", ty, &file]);
        assert!(said.status.success(), "{}", stderr(&said));
    }
    let server = other.serve();
    let client = &mut server.client();
    assert_eq!(client.read("/api/pages/p")["total"], 12);
    assert_eq!(client.ids("/api/topics/t/blocks"), ["a", "b"]);
    let api = client.read("/api/_openapi.json");
    let list = &api["paths"]["/api/pages/{page_id}/items"];
    let one = &list["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"][0]["oneOf"];
    assert_eq!(one[0]["allOf"][0]["$ref"], "#/components/schemas/TextFacts");
    assert!(api["paths"]["/api/pages/{page_id}/items/{items_id}"]["patch"].is_object());
    assert!(api["paths"]["/api/pages/{page_id}/items/{items_id}/notes"]["post"].is_object());
    assert!(api["paths"]["/api/pages/{page_id}/items/_delete"].is_null());
    drop(server.stop());
    other.check();
    place.check();
}
