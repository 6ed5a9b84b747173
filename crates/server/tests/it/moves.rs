//! Moves through REST: of one, of those that a condition finds, of all; what comes along, what follows, and what is refused.

use crate::common::*;

const FIRM: &str = r#"
type Division in divisions {
  name:     str required
  sections: collection Section
  archive:  collection Section
  tasks:    ordered collection Task
  sold      := sum(self.sections.total)
  teams     := count(self.sections.members)
  oldest    := max(self.sections.members.age)
  first     := first(self.tasks).name
}
type Section updated_at {
  name:    str required, unique in parent
  total:   int default 0
  members: collection Member
  of       := self.parent_division_sections.name
}
type Member {
  age: int
  at  := self.parent_section_members.of
}
type Task in tasks { name: str }
type Folder in folders {
  name: str
  size: int default 0
  sub:  collection Folder
  path := self.parent_folder_sub.path + "/" + self.name else self.name
  all  := self.size + sum(self.sub.all)
}
"#;

struct Firm {
    place: Place,
    server: Server,
    client: Client,
}

impl Firm {
    fn new() -> Firm {
        let place = Place::new(FIRM);
        let server = place.serve();
        let mut client = server.client();
        client
            .post("/api/divisions", &json!([{"_id": "d1", "name": "one"}, {"_id": "d2", "name": "two"}]))
            .expect(201);
        let sections = [("s1", 10), ("s2", 200), ("s3", 300)];
        let sections = sections.map(|(id, total)| json!({"_id": id, "name": id, "total": total}));
        client.post("/api/divisions/d1/sections", &json!(sections)).expect(201);
        let members = json!([{"_id": "m1", "age": 40}, {"_id": "m2", "age": 50}]);
        client.post("/api/divisions/d1/sections/s2/members", &members).expect(201);
        let tasks = ["a", "b", "c", "d"].map(|id| json!({"_id": id, "name": id}));
        client.post("/api/divisions/d1/tasks", &json!(tasks)).expect(201);
        Firm { place, server, client }
    }

    #[track_caller]
    fn moves(&mut self, from: &str, to: &str) -> Json {
        self.client.post("/api/_move", &json!({"from": from, "to": to})).expect(200)
    }

    #[track_caller]
    fn end(self) {
        let (status, rest) = self.server.stop();
        assert!(status.success() && rest.is_empty(), "{status} {rest}");
        self.place.check();
    }
}

#[test]
fn one_moves_with_its_children_and_what_follows_from_it() {
    let mut firm = Firm::new();
    let old = "/api/divisions/d1/sections/s2";
    let before = firm.client.read(old);
    let reply = firm.client.post("/api/_move", &json!({"from": old, "to": "/api/divisions/d2/sections"}));
    let moved = reply.expect(200);
    let new = "/api/divisions/d2/sections/s2";
    assert_eq!((&moved["_self"], &moved["total"], &moved["of"]), (&json!(new), &json!(200), &json!("two")));
    assert_eq!(reply.header("content-location"), Some(new));
    assert_eq!(reply.header("etag").unwrap(), format!("\"{}\"", reply.revision()));
    assert_ne!(moved["updated_at"], before["updated_at"], "where it belongs is a fact of it");
    let client = &mut firm.client;
    client.get(old).problem(404, "not-found");
    client.get(&format!("{old}/members/m1")).problem(404, "not-found");
    let member = client.read(&format!("{new}/members/m1"));
    assert_eq!((&member["_self"], &member["at"]), (&json!(format!("{new}/members/m1")), &json!("two")));
    assert_eq!(
        (client.ids("/api/divisions/d1/sections"), client.ids("/api/divisions/d2/sections")),
        (vec!["s1".to_string(), "s3".to_string()], vec!["s2".to_string()])
    );
    let shown = |division: Json| {
        (division["sold"].clone(), division["teams"].clone(), division.get("oldest").cloned())
    };
    assert_eq!(shown(client.read("/api/divisions/d1")), (json!(310), json!(0), None));
    assert_eq!(shown(client.read("/api/divisions/d2")), (json!(200), json!(2), Some(json!(50))));
    // To where it is already: nothing happens.
    let again = client.post("/api/_move", &json!({"from": new, "to": "/api/divisions/d2/sections/"}));
    assert_eq!((again.expect(200), again.revision()), (moved, reply.revision()));
    // Another collection of the same parent is another place; the two stay apart.
    let archived = firm.moves(new, "/api/divisions/d2/archive");
    assert_eq!(archived["_self"], "/api/divisions/d2/archive/s2");
    assert_eq!(archived.get("of"), None);
    assert!(firm.client.ids("/api/divisions/d2/sections").is_empty());
    assert_eq!(firm.client.ids("/api/divisions/d2/archive"), ["s2"]);
    assert_eq!(firm.client.read("/api/divisions/d2")["sold"], 0);
    firm.end();
}

#[test]
fn those_that_a_condition_finds_move_together_and_so_do_all() {
    let mut firm = Firm::new();
    let revision: u64 = firm.client.read("/api")["revision"].as_str().unwrap().parse().unwrap();
    let told = firm
        .moves("/api/divisions/d1/sections[total > 100 and name != 'x/y]']", "/api/divisions/d2/sections");
    assert_eq!((&told["matched"], &told["changed"]), (&json!(2), &json!(2)));
    assert_eq!(told["revision"], (revision + 1).to_string(), "it is one commit");
    assert_eq!(firm.client.ids("/api/divisions/d2/sections"), ["s2", "s3"]);
    assert_eq!(firm.client.read("/api/divisions/d2")["sold"], 500);
    let told = firm.moves("/api/divisions/d2/sections%5Btotal%3C250%5D", "/divisions/d1/sections");
    assert_eq!(told["matched"], 1);
    let told = firm.moves("/api/divisions/d1/sections", "/api/divisions/d2/sections");
    assert_eq!((&told["matched"], &told["changed"]), (&json!(2), &json!(2)));
    assert_eq!(firm.client.ids("/api/divisions/d2/sections"), ["s1", "s2", "s3"]);
    assert_eq!(firm.client.read("/api/divisions/d1")["sold"], 0);
    assert_eq!(firm.moves("/api/divisions/d1/sections", "/api/divisions/d2/sections")["matched"], 0);
    // One of them does not fit: none moves.
    firm.client.post("/api/divisions/d1/sections", &json!({"_id": "s9", "name": "s3"})).expect(201);
    let body = json!({"from": "/api/divisions/d2/sections", "to": "/api/divisions/d1/sections"});
    let problem = firm.client.post("/api/_move", &body).problem(409, "unique");
    assert!(problem["detail"].as_str().unwrap().contains("s3"), "{problem}");
    assert_eq!(firm.client.ids("/api/divisions/d2/sections"), ["s1", "s2", "s3"]);
    firm.end();
}

#[test]
fn members_of_ordered_collections_move_to_places() {
    let mut firm = Firm::new();
    let (one, two) = ("/api/divisions/d1/tasks", "/api/divisions/d2/tasks");
    let mut moved = |from: &str, to: &str, position: Json| {
        let body = json!({"from": from, "to": to, "position": position});
        firm.client.post("/api/_move", &body).expect(200);
        (firm.client.ids(one).concat(), firm.client.ids(two).concat())
    };
    let are = |left: &str, right: &str| (left.to_string(), right.to_string());
    assert_eq!(moved(&format!("{one}/c"), one, json!(0)), are("cabd", ""));
    assert_eq!(moved(&format!("{one}/c"), one, json!(99)), are("abdc", ""));
    assert_eq!(moved(&format!("{one}/b"), one, Json::Null), are("abdc", ""));
    assert_eq!(moved(&format!("{one}[name = 'a' or name = 'b']"), one, json!(1)), are("dabc", ""));
    assert_eq!(moved(&format!("{one}[name in ['d', 'b']]"), two, Json::Null), are("ac", "db"));
    assert_eq!(moved(one, two, json!(1)), are("", "dacb"));
    assert_eq!(moved(&format!("{two}/b"), one, json!(5)), are("b", "dac"));
    assert_eq!(moved(&format!("{two}[name != 'd']"), one, json!(0)), are("acb", "d"));
    assert_eq!(firm.client.read("/api/divisions/d1")["first"], "a");
    // Out to the list of the type, and in again by that.
    let out = firm.moves("/api/divisions/d1/tasks/a", "/api/tasks");
    assert_eq!((&out["_self"], out.get("_position")), (&json!("/api/tasks/a"), None));
    assert_eq!(firm.moves("/api/tasks/a", two)["_position"], 1);
    let nowhere = json!({"from": "/api/tasks/a", "to": "/api/tasks", "position": 0});
    firm.client.post("/api/_move", &nowhere).problem(422, "position");
    firm.end();
}

#[test]
fn trees_move_and_nothing_moves_under_itself() {
    let mut firm = Firm::new();
    let client = &mut firm.client;
    client
        .post("/api/folders", &json!([{"_id": "a", "name": "a", "size": 1}, {"_id": "z", "name": "z"}]))
        .expect(201);
    client.post("/api/folders/a/sub", &json!({"_id": "b", "name": "b", "size": 2})).expect(201);
    client.post("/api/folders/b/sub", &json!({"_id": "c", "name": "c", "size": 4})).expect(201);
    let revision = client.read("/api")["revision"].clone();
    for (from, to) in [("a", "a"), ("a", "b"), ("a", "c"), ("b", "c")] {
        let body = json!({"from": format!("/api/folders/{from}"), "to": format!("/api/folders/{to}/sub")});
        client.post("/api/_move", &body).problem(409, "move-cycle");
    }
    let all = json!({"from": "/api/folders", "to": "/api/folders/z/sub"});
    let problem = client.post("/api/_move", &all).problem(409, "move-cycle");
    assert!(problem["detail"].as_str().unwrap().contains("under itself"), "{problem}");
    assert_eq!(client.read("/api")["revision"], revision);
    firm.moves("/api/folders/b", "/api/folders/z/sub");
    let client = &mut firm.client;
    let c = client.read("/api/folders/c");
    assert_eq!((&c["path"], &c["_self"]), (&json!("z/b/c"), &json!("/api/folders/z/sub/b/sub/c")));
    let sizes = ["a", "z", "b"].map(|id| client.read(&format!("/api/folders/{id}"))["all"].clone());
    assert_eq!(sizes, [json!(1), json!(6), json!(6)]);
    // What was below may become what is above.
    firm.moves("/api/folders/c", "/api/folders");
    firm.moves("/api/folders/z", "/api/folders/c/sub");
    assert_eq!(firm.client.read("/api/folders/b")["path"], "c/z/b");
    firm.end();
}

#[test]
fn what_cannot_move_is_told_why() {
    let mut firm = Firm::new();
    let client = &mut firm.client;
    let mut refused = |body: Json, status: u16, code: &str, says: &str| {
        let problem = client.post("/api/_move", &body).problem(status, code);
        assert!(problem.to_string().contains(says), "{body}: {problem}");
    };
    let (from, to) = ("/api/divisions/d1/sections/s1", "/api/divisions/d2/sections");
    refused(json!({"frm": from, "to": to}), 400, "move", "did you mean `from`?");
    refused(json!({"from": from, "to": 7}), 400, "move", "/to");
    refused(json!({"from": from, "to": to, "position": -1}), 400, "move", "/position");
    refused(json!([]), 400, "body", "from");
    refused(
        json!({"from": "/api/divisions/d1/sectons/s1", "to": to}),
        404,
        "not-found",
        "did you mean `sections`?",
    );
    refused(json!({"from": "/api/divisions/d1/sections/s7", "to": to}), 404, "not-found", "no Section s7");
    refused(json!({"from": from, "to": "/api/divisions/d9/sections"}), 404, "not-found", "/to");
    refused(json!({"from": from, "to": "/api/divisions"}), 422, "move", "holds Division");
    refused(json!({"from": from, "to": "/api/divisions/d2"}), 422, "move", "is none");
    refused(json!({"from": format!("{from}[total > 1]"), "to": to}), 422, "move", "for lists");
    refused(
        json!({"from": "/api/divisions/d1/sections[totl > 1]", "to": to}),
        400,
        "filter",
        "did you mean `total`?",
    );
    refused(json!({"from": "/api/divisions/d1/sections[total > 1", "to": to}), 400, "path", "without `]`");
    refused(json!({"from": from, "to": to, "position": 0}), 422, "position", "no ordered collection");
    let good = json!({"from": from, "to": to});
    client.with("POST", "/api/_move", &[("if-match", "\"1\"")], &good).problem(412, "precondition");
    let many = json!({"from": "/api/divisions/d1/sections", "to": to});
    client.with("POST", "/api/_move", &[("if-match", "\"1\"")], &many).problem(400, "etag");
    client.get("/api/_move").problem(405, "method-not-allowed");
    client.post("/api/_move?limit=1", &good).problem(400, "parameter");
    let tag = client.get(from).header("etag").unwrap().to_string();
    client.with("POST", "/api/_move", &[("if-match", &tag)], &good).expect(200);
    firm.end();
}

#[test]
fn a_move_is_tried_repeated_and_put_into_batches_like_any_write() {
    let mut firm = Firm::new();
    let client = &mut firm.client;
    let body = json!({"from": "/api/divisions/d1/sections/s2", "to": "/api/divisions/d2/sections"});
    let tried = client.post("/api/_move?dry_run=true", &body).expect(200);
    let changed = tried["changed"]["resources"].as_array().unwrap().clone();
    let section = changed.iter().find(|it| it["_id"] == "s2").unwrap();
    let (old, new) = ("/api/divisions/d1/sections/s2", "/api/divisions/d2/sections/s2");
    assert_eq!(section["moved"], json!({"old": old, "new": new}), "{section}");
    assert_eq!(section["derived"]["of"], json!({"old": "one", "new": "two"}));
    assert_eq!(tried["reply"]["_self"], new);
    assert_eq!(client.read("/api/divisions/d1")["sold"], 510, "nothing has moved");
    let key = [("idempotency-key", "k1")];
    let first = client.with("POST", "/api/_move", &key, &body);
    let again = client.with("POST", "/api/_move", &key, &body);
    assert_eq!((first.expect(200), first.revision()), (again.expect(200), again.revision()));
    let told = client.post(
        "/api/_batch",
        &json!([
            {"method": "POST", "path": "/divisions", "body": {"_id": "d3", "name": "three"}},
            {"method": "POST", "path": "/api/_move", "body": {"from": new, "to": "$0._self/sections"}},
            {"method": "POST", "path": "$1._self/members", "body": {"_id": "m3", "age": 60}},
            {"method": "GET", "path": "$0._self"},
        ]),
    );
    let told = told.expect(200);
    assert_eq!(told[1]["body"]["_self"], "/api/divisions/d3/sections/s2");
    assert_eq!((&told[3]["body"]["sold"], &told[3]["body"]["oldest"]), (&json!(200), &json!(60)));
    let many = json!([{"method": "POST", "path": "/_move", "body": {"from": "/api/divisions/d1/sections", "to": "/api/divisions/d3/sections"}}]);
    client.post("/api/_batch", &many).problem(400, "batch");
    firm.end();
}

#[test]
fn watches_are_told_of_a_move_by_both_lists() {
    let mut firm = Firm::new();
    let (old, new) = ("/api/divisions/d1/sections", "/api/divisions/d2/sections");
    let mut left = firm.server.watch(old);
    let mut joined = firm.server.watch(new);
    left.synced();
    joined.synced();
    firm.moves(&format!("{old}/s1"), new);
    let event = left.next();
    assert_eq!((&event.data["type"], event.path()), (&json!("left"), "/api/divisions/d2/sections/s1"));
    let event = joined.next();
    assert_eq!(event.data["type"], "added");
    let changed = event.data["changed"].as_array().unwrap();
    assert!(changed.contains(&json!("_self")) && changed.contains(&json!("of")), "{}", event.data);
    assert_eq!(event.data["old"]["_self"], "/api/divisions/d1/sections/s1");
    firm.end();
}
