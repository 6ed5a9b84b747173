//! What happens by the clock, told and shown by the server without a write.

use std::thread;
use std::time::Duration;

use crate::common::*;

const BOARDS: &str = r#"
type Board in boards {
  posts:  inverse Post.board
  notes:  inverse Note.board
  recent := count(self.posts[created_at > now() - seconds(2)])
  open   := count(self.notes)
}
type Post in posts created_at updated_at { board: link Board, text: str, length := length(self.text) }
type Note in notes expires after seconds(2) { board: link Board, text: str }
"#;

fn boards() -> (Place, Server) {
    let place = Place::new(BOARDS);
    let server = place.serve();
    server.client().post("/api/boards", &json!({"_id": "b"})).expect(201);
    (place, server)
}

#[test]
fn posts_leave_a_window_and_watches_are_told() {
    let (place, server) = boards();
    let mut client = server.client();
    let mut watch = server.watch("/api/boards/b");
    watch.synced();
    let posts =
        json!([{"board": "b", "text": "x"}, {"board": "b", "text": "y"}, {"board": "b", "text": "z"}]);
    client.post("/api/posts", &posts).expect(201);
    let mut told = Vec::new();
    while told.last() != Some(&json!(0)) {
        let event = watch.next();
        assert_ne!(event.kind(), "bookmark", "nothing was told for long: {told:?}");
        told.push(event.data["resource"]["recent"].clone());
    }
    assert_eq!(told, [json!(3), json!(0)], "all at once, since they were created at once");
    assert_eq!(client.get("/api/boards/b").expect(200)["recent"], 0);
    drop((client, watch, server));
    place.check();
}

#[test]
fn notes_expire_also_while_the_server_sleeps() {
    let (place, server) = boards();
    let mut client = server.client();
    client.post("/api/notes", &json!({"_id": "n1", "board": "b"})).expect(201);
    let mut watch = server.watch("/api/notes");
    watch.synced();
    assert_eq!(watch.told(), "removed /api/notes/n1");
    client.get("/api/notes/n1").expect(404);
    assert_eq!(client.get("/api/boards/b").expect(200)["open"], 0);
    client.post("/api/notes", &json!({"_id": "n2", "board": "b"})).expect(201);
    client.post("/api/posts", &json!({"board": "b"})).expect(201);
    drop((client, watch));
    server.kill();
    thread::sleep(Duration::from_millis(2_100));
    let server = place.serve();
    let mut client = server.client();
    client.get("/api/notes/n2").expect(404);
    let board = client.get("/api/boards/b").expect(200);
    assert_eq!((&board["open"], &board["recent"]), (&json!(0), &json!(0)));
    drop((client, server));
    place.check();
}

#[test]
fn the_times_of_creation_and_change_are_kept_and_cannot_be_written() {
    let (_place, server) = boards();
    let mut client = server.client();
    let created = client.post("/api/posts", &json!({"_id": "p", "text": "x"})).expect(201);
    assert!(created["created_at"].is_string() && created["created_at"] == created["updated_at"]);
    // What was read can be sent back.
    let put = client.put("/api/posts/p", &created).expect(200);
    assert_eq!(put["_revision"], created["_revision"], "nothing has changed");
    let changed = client.patch("/api/posts/p", &json!({"text": "yy"})).expect(200);
    assert_eq!(changed["created_at"], created["created_at"]);
    assert!(changed["updated_at"].as_str() > created["updated_at"].as_str());
    for name in ["created_at", "updated_at"] {
        let reply = client.patch("/api/posts/p", &json!({name: "2020-01-01T00:00:00Z"})).expect(422);
        assert_eq!(
            (&reply["errors"][0]["code"], &reply["errors"][0]["path"]),
            (&json!("read-only"), &json!(format!("/{name}")))
        );
        client.patch("/api/posts/p", &json!({name: null})).expect(422);
        client.post("/api/posts", &json!({name: "2020-01-01T00:00:00Z"})).expect(422);
    }
    let listed =
        client.get("/api/posts?order=-created_at&filter=updated_at%20%3E%20created_at&allow_scan=true");
    assert_eq!(listed.expect(200)["results"][0]["_id"], "p");
    let document = client.get("/api/_openapi.json").expect(200);
    assert_eq!(document["components"]["schemas"]["Post"]["properties"]["created_at"]["readOnly"], true);
    assert!(document["components"]["schemas"]["PostFacts"]["properties"]["created_at"].is_null());
}
