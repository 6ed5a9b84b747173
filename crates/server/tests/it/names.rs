//! Names in paths, by `path NAME`: read, written, renamed, and held apart from ids.

use crate::common::client::encoded;
use crate::common::*;

const SCHEMA: &str = "
type User in users path name {
  name: str required unique
  boss: link User
  friends: links User
  posts: collection Post
  reports: inverse User.boss
  address: { keeper: link User }
  boss_path := path(self.boss)
}
type Post path title {
  title: str required unique in parent
  at := path(self)
}
";

#[test]
fn a_name_stands_for_the_id_in_paths() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    let created = client.post("/api/users", &json!({"_id": "u1", "name": "ned"}));
    assert_eq!(created.header("location"), Some("/api/users/ned"));
    assert_eq!(created.expect(201)["_self"], "/api/users/ned");
    let odd = client
        .post("/api/users", &json!({"_id": "u2", "name": "Ann Lee/ü", "boss": "/api/users/ned"}))
        .expect(201);
    let path = "/api/users/Ann%20Lee%2F%C3%BC";
    assert_eq!((&odd["_self"], &odd["boss_path"]), (&json!(path), &json!("/api/users/ned")));
    assert_eq!(odd["boss"], json!({"_id": "u1", "_self": "/api/users/ned"}));
    assert_eq!(client.read(path)["_id"], "u2");
    let by_id = client.get("/api/users/u2");
    assert_eq!(by_id.header("content-location"), Some(path));
    assert_eq!(by_id.expect(200)["name"], "Ann Lee/ü");
    assert_eq!(client.ids("/api/users/ned/reports"), ["u2"]);
    assert_eq!(client.read(&format!("/api/users/ned/reports/{}", encoded("Ann Lee/ü")))["_id"], "u2");

    // Children, unique among themselves.
    let post = client.post("/api/users/ned/posts", &json!({"_id": "p1", "title": "hello"})).expect(201);
    assert_eq!(
        (&post["_self"], &post["at"]),
        (&json!("/api/users/ned/posts/hello"), &json!("/api/users/ned/posts/hello"))
    );
    let other = client.post(&format!("{path}/posts"), &json!({"_id": "p2", "title": "hello"})).expect(201);
    assert_eq!(other["_self"], format!("{path}/posts/hello"));
    assert_eq!(client.read("/api/users/u2/posts/hello")["_id"], "p2");
    assert_eq!(client.read("/api/users/u1/posts/p1")["_self"], "/api/users/ned/posts/hello");
    client.get("/api/users/ned/posts/p2").problem(404, "not-found");

    // A rename changes paths, and what reads them.
    client.patch("/api/users/ned", &json!({"name": "Ned"})).expect(200);
    assert_eq!(client.read("/api/users/u1")["_self"], "/api/users/Ned");
    assert_eq!(client.read(path)["boss_path"], "/api/users/Ned");
    assert_eq!(client.read("/api/users/Ned/posts/hello")["at"], "/api/users/Ned/posts/hello");
    client.get("/api/users/ned").problem(404, "not-found");
    client.get("/api/users/Bob%20Lee").problem(404, "not-found");
    server.stop();
    place.check();
}

#[test]
fn links_are_written_as_paths_with_names() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    let users = json!([{"_id": "u1", "name": "ned"}, {"_id": "u2", "name": "Ann Lee"}]);
    client.post("/api/users", &users).expect(201);
    let body = json!([{
        "_id": "u3", "name": "bob", "boss": {"_self": "/api/users/Ann%20Lee"},
        "friends": ["/users/ned", "/api/users/u2"], "address": {"keeper": "/api/users/ned"},
    }]);
    let bob = &client.post("/api/users", &body).expect(201)[0];
    let link = |id: &str, name: &str| json!({"_id": id, "_self": format!("/api/users/{name}")});
    assert_eq!(bob["boss"], link("u2", "Ann%20Lee"));
    assert_eq!(bob["friends"], json!([link("u1", "ned"), link("u2", "Ann%20Lee")]));
    assert_eq!(bob["address"]["keeper"], link("u1", "ned"));
    let bob = client.patch("/api/users/bob", &json!({"boss": "/api/users/ned"})).expect(200);
    assert_eq!(bob["boss"]["_id"], "u1");
    assert_eq!(client.put("/api/users/bob", &bob).expect(200)["boss"]["_id"], "u1");
    client.patch("/api/users/bob", &json!({"boss": "/api/users/nobody"})).expect(422);
    server.stop();
    place.check();
}

/// A name that is the id of another would make one path lead to two.
#[test]
fn names_and_ids_are_held_apart() {
    let place = Place::new(SCHEMA);
    let server = place.serve();
    let client = &mut server.client();
    client.post("/api/users", &json!({"_id": "u1", "name": "ned"})).expect(201);
    client.post("/api/users", &json!({"_id": "u2", "name": "u1"})).problem(409, "unique");
    client.post("/api/users", &json!({"_id": "ned", "name": "bob"})).problem(409, "unique");
    client.patch("/api/users/ned", &json!({"name": "u1"})).expect(200);
    client.patch("/api/users/u1", &json!({"name": "ned"})).expect(200);
    for name in ["", ".", "..", "_query"] {
        client.post("/api/users", &json!({"name": name})).problem(422, "path");
    }
    client.post("/api/users/ned/posts", &json!({"_id": "p1", "title": "a"})).expect(201);
    client.post("/api/users/ned/posts", &json!({"_id": "p2", "title": "p1"})).problem(409, "unique");
    client.post("/api/users/ned/posts", &json!({"_id": "a", "title": "b"})).problem(409, "unique");
    let bob = client.post("/api/users", &json!({"_id": "u2", "name": "bob"})).expect(201);
    assert_eq!(bob["_self"], "/api/users/bob");
    // Under another parent nobody takes them for each other.
    client.post("/api/users/bob/posts", &json!({"_id": "a", "title": "p1"})).expect(201);
    server.stop();
    place.check();
}

#[test]
fn data_whose_names_are_no_good_is_refused_when_the_schema_begins_to_want_them() {
    let place = Place::new("type User in users { name: str required unique }");
    let server = place.serve();
    let client = &mut server.client();
    for (id, name) in [("u1", "ned"), ("u2", "u1"), ("u3", "..")] {
        client.post("/api/users", &json!({"_id": id, "name": name})).expect(201);
    }
    server.stop();
    place.write("schema.cor", "type User in users path name { name: str required unique }");
    let refused = Server::try_start(&place, &[]).err().unwrap();
    assert!(refused.contains("that of u2 is `u1`, which is the id of another"), "{refused}");
    assert!(refused.contains("that of u3 is `..`, which cannot stand in a path"), "{refused}");
}
