//! Ordered collections through REST: places in bodies and replies, lists in order, events of moves.

use crate::common::*;

const BOOKS: &str = r#"
type Book in books {
  title: str
  chapters: ordered collection Chapter
  opening := first(self.chapters).title
}
type Chapter {
  title: str required
}
"#;

fn book() -> (Place, Server, Client) {
    let place = Place::new(BOOKS);
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/books", &json!([{"_id": "b"}, {"_id": "c"}])).expect(201);
    (place, server, client)
}

#[track_caller]
fn end(place: Place, server: Server) {
    let (status, rest) = server.stop();
    assert!(status.success() && rest.is_empty(), "{status} {rest}");
    place.check();
}

#[test]
fn members_are_put_at_a_place_moved_and_listed_in_order() {
    let (place, server, mut client) = book();
    let list = "/api/books/b/chapters";
    client.post(list, &json!([{"_id": "z", "title": "one"}, {"_id": "y", "title": "two"}])).expect(201);
    let created = client.post(list, &json!({"_id": "x", "title": "middle", "_position": 1})).expect(201);
    assert_eq!(created["_position"], 1);
    assert_eq!(
        client.post(list, &json!({"_id": "w", "title": "past", "_position": 50})).expect(201)["_position"],
        3
    );
    client.post(list, &json!({"_id": "v", "title": "start", "_position": 0})).expect(201);
    assert_eq!(client.ids(list), ["v", "z", "x", "y", "w"]);
    assert_eq!(client.ids(&format!("{list}?limit=2")), ["v", "z", "x", "y", "w"]);
    let places: Vec<i64> = client.list(list).iter().map(|it| it["_position"].as_i64().unwrap()).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
    assert_eq!(client.ids(&format!("{list}?order=title")), ["x", "z", "w", "v", "y"]);
    let shown = client.read("/api/books/b?expand=chapters");
    assert_eq!(shown["chapters"][0]["_id"], "v");
    assert_eq!(shown["opening"], "start");
    let moved = client.patch(&format!("{list}/w"), &json!({"_position": 0})).expect(200);
    assert_eq!(moved["_position"], 0);
    assert_eq!(client.ids(list), ["w", "v", "z", "x", "y"]);
    assert_eq!(client.read("/api/books/b")["opening"], "past");
    // What was read can be sent back.
    let read = client.get(&format!("{list}/z"));
    let again = client.put(&format!("{list}/z"), &read.expect(200));
    assert_eq!(again.revision(), read.revision());
    for bad in [json!(-1), json!("a"), json!(1.5), Json::Null] {
        let reply = client.patch(&format!("{list}/z"), &json!({"_position": bad}));
        reply.problem(422, "type");
        assert_eq!(reply.errors(), ["type /_position"]);
    }
    client.post("/api/books", &json!({"_id": "d", "_position": 1})).problem(422, "unknown-field");
    client.delete(&format!("{list}/v")).expect(204);
    assert_eq!(client.read(&format!("{list}/z"))["_position"], 1);
    end(place, server);
}

#[test]
fn a_hundred_appends_at_the_same_time_have_a_hundred_places() {
    let (place, server, mut client) = book();
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let address = server.address.clone();
            std::thread::spawn(move || {
                let mut client = Client::new(&address);
                for _ in 0..5 {
                    client.post("/api/books/b/chapters", &json!({"title": "t"})).expect(201);
                }
            })
        })
        .collect();
    tries.into_iter().for_each(|it| it.join().unwrap());
    let places: Vec<i64> =
        client.list("/api/books/b/chapters").iter().map(|it| it["_position"].as_i64().unwrap()).collect();
    assert_eq!(places, (0..100).collect::<Vec<i64>>());
    end(place, server);
}

#[test]
fn a_move_is_told_of_the_one_that_moves() {
    let (place, server, mut client) = book();
    let list = "/api/books/b/chapters";
    let chapters = ["p", "q", "r"].map(|id| json!({"_id": id, "title": id}));
    client.post(list, &json!(chapters)).expect(201);
    let mut watch = server.watch(list);
    watch.synced();
    client.patch(&format!("{list}/r"), &json!({"_position": 0})).expect(200);
    client.patch(&format!("{list}/q"), &json!({"title": "end"})).expect(200);
    let first = watch.next();
    assert_eq!(first.path(), "/api/books/b/chapters/r");
    assert_eq!(first.data["changed"], json!(["_position"]));
    assert_eq!(watch.next().path(), "/api/books/b/chapters/q");
    end(place, server);
}

/// An export has the children in their order, so that an import puts them into it again.
#[test]
fn the_order_survives_export_and_import() {
    let (place, server, mut client) = book();
    let list = "/api/books/b/chapters";
    let chapters = ["p", "q", "r", "s"].map(|id| json!({"_id": id, "title": id, "_position": 0}));
    client.post(list, &json!(chapters)).expect(201);
    end_quietly(server);
    let books = place.write("books.ndjson", stdout(&place.run(&["export", "Book"])));
    let chapters = place.write("chapters.ndjson", stdout(&place.run(&["export", "Chapter"])));
    let other = Place::new(BOOKS);
    for (ty, file) in [("Book", &books), ("Chapter", &chapters)] {
        let output = other.run(&["import", ty, file]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let server = other.serve();
    assert_eq!(server.client().ids(list), ["s", "r", "q", "p"]);
    end(other, server);
}

fn end_quietly(server: Server) {
    assert!(server.stop().0.success());
}
