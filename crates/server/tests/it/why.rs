//! `?why=FIELD` on the real binary: the inputs of all kinds of expressions, where errors come from, what is pending, and the
//! commit that changed a value last.

use crate::common::*;

const SCHEMA: &str = r#"
type Hub in hubs {
  name:   str required
  leaves: inverse Leaf.hub
  total  := sum(self.leaves[ok].n)
  share  := self.total / self.zero
  zero:   int default 0
  safe   := self.share else -1
  ratios := sum(self.leaves.ratio)
  worst  := max(leaves.n)
  recent := count(self.leaves[at > now() - days(1)])
}

type Leaf in leaves {
  hub:   link Hub
  n:     int default 1
  d:     int default 1
  ok:    bool default true
  at:    datetime
  up:    link Leaf
  depth := 1 + self.up.depth else 1
  ratio := self.n / self.d
  label := upper(self.hub.name)
  later := self.n * 2, background
  pick  := self.ok -> self.n : self.hub.total
  lines: [{ a: int, b: int, q := self.a / self.b }]
}
"#;

fn data(place: &Place, more: &[&str], wait: &str) -> Server {
    let server = Server::start(place, more);
    let mut client = server.client();
    client.post("/api/hubs", &json!({"_id": "h", "name": "one"})).expect(201);
    let leaves: Vec<Json> =
        (0..30).map(|at| json!({"_id": format!("l{at:02}"), "hub": "h", "n": at, "ok": at != 7})).collect();
    client.with("POST", "/api/leaves", &[("prefer", wait)], &Json::Array(leaves)).expect(201);
    server
}

fn input<'w>(why: &'w Json, kind: &str, name: &str) -> &'w Json {
    let inputs = why["inputs"].as_array().unwrap();
    inputs.iter().find(|it| it[kind] == name).unwrap_or_else(|| panic!("no {kind} {name} in {why}"))
}

fn why(client: &mut Client, path: &str, field: &str) -> Json {
    client.get(&format!("{path}?why={field}")).expect(200)
}

#[test]
fn the_inputs_are_what_the_expression_reads() {
    let place = Place::new(SCHEMA);
    let server = data(&place, &[], "wait=20");
    let mut client = server.client();
    let total = why(&mut client, "/api/hubs/h", "total");
    assert_eq!((&total["field"], &total["value"]), (&json!("Hub.total"), &json!(435 - 7)), "{total}");
    assert_eq!((&total["expression"], &total["complete"]), (&json!("sum(self.leaves[ok].n)"), &json!(true)));
    assert!(total["explain"].as_array().unwrap().len() > 1, "{total}");
    let members = input(&total, "referring_by", "Leaf.hub");
    assert_eq!((&members["count"], &members["to"]), (&json!(30), &json!(1)));
    assert_eq!(members["sample"].as_array().unwrap().len(), 20, "a sample, and the count of all");
    assert_eq!(input(&total, "field", "Leaf.ok")["count"], 30);
    let n = input(&total, "field", "Leaf.n");
    assert_eq!(
        (&n["count"], &n["sample"][1]["path"]),
        (&json!(29), &json!("/api/leaves/l01")),
        "filtered out: {n}"
    );
    let revision = client.read("/api/leaves/l01")["_revision"].clone();
    assert_eq!(n["sample"][1], json!({"path": "/api/leaves/l01", "_revision": revision, "value": 1}));
    assert!(total.get("error").is_none() && total.get("_pending").is_none());

    let all = why(&mut client, "/api/hubs/h", "worst");
    assert_eq!((&input(&all, "all", "Leaf")["count"], &all["value"]), (&json!(30), &json!(29)));
    // Only the branch that is taken.
    let taken = why(&mut client, "/api/leaves/l03", "pick");
    assert_eq!(taken["inputs"].as_array().unwrap().len(), 2, "{taken}");
    let taken = why(&mut client, "/api/leaves/l07", "pick");
    assert_eq!(input(&taken, "field", "Hub.total")["sample"][0]["value"], 428, "{taken}");
    let recent = why(&mut client, "/api/hubs/h", "recent");
    assert!(recent["now"].is_string(), "{recent}");
    client.patch("/api/leaves/l01", &json!({"up": "l02"})).expect(200);
    let depth = why(&mut client, "/api/leaves/l01", "depth");
    assert_eq!(
        (&depth["value"], &input(&depth, "field", "Leaf.depth")["sample"][0]["value"]),
        (&json!(2), &json!(1))
    );

    client.get("/api/hubs/h?why=name").problem(400, "parameter");
    client.get("/api/hubs/h?why=totl").problem(400, "parameter");
    client.get("/api/hubs/h?why=total&expand=leaves").problem(400, "parameter");
    client.get("/api/hubs?why=total").problem(400, "parameter");
    client.get("/api/hubs/nobody?why=total").problem(404, "not-found");
    client.patch("/api/hubs/h?why=total", &json!({})).problem(400, "parameter");
}

#[test]
fn an_error_is_followed_back_to_where_it_is_made() {
    let place = Place::new(SCHEMA);
    let server = data(&place, &[], "wait=20");
    let mut client = server.client();
    let share = why(&mut client, "/api/hubs/h", "share");
    let made = json!([{"path": "/api/hubs/h", "field": "Hub.share", "expression": "self.total / self.zero", "error": "#div0", "made_by": "self.total / self.zero"}]);
    assert_eq!((&share["value"], &share["error"]), (&json!({"_error": "#div0"}), &made));
    // What is caught is an input, and no error of its own.
    let safe = why(&mut client, "/api/hubs/h", "safe");
    assert_eq!((&safe["value"], safe.get("error")), (&json!(-1), None), "{safe}");
    assert_eq!(input(&safe, "field", "Hub.share")["sample"][0]["value"], json!({"_error": "#div0"}));

    client
        .patch("/api/leaves/l05", &json!({"d": 0, "lines": [{"a": 1, "b": 1}, {"a": 1, "b": 0}]}))
        .expect(200);
    let sum = why(&mut client, "/api/hubs/h", "ratios");
    let steps: Vec<(&str, &str)> = sum["error"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["path"].as_str().unwrap(), it["field"].as_str().unwrap()))
        .collect();
    assert_eq!(steps, [("/api/hubs/h", "Hub.ratios"), ("/api/leaves/l05", "Leaf.ratio")], "{sum}");
    assert_eq!(sum["error"][1]["made_by"], "self.n / self.d");
    let lines = why(&mut client, "/api/leaves/l05", "lines");
    assert_eq!(lines["value"][1]["q"], json!({"_error": "#div0"}), "{lines}");
    assert_eq!(lines["error"][0]["error"], "#div0");

    // A circle is told as one.
    for (from, to) in [("l10", "l11"), ("l11", "l12"), ("l12", "l10"), ("l13", "l10")] {
        client.patch(&format!("/api/leaves/{from}"), &json!({"up": to})).expect(200);
    }
    let circle = why(&mut client, "/api/leaves/l10", "depth");
    let paths: Vec<&str> =
        circle["error"].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/api/leaves/l10", "/api/leaves/l11", "/api/leaves/l12"], "{circle}");
    assert_eq!(circle["error"][0]["error"], "#cycle");
    drop(client);
    drop(server);
    place.check();
}

#[test]
fn the_commit_that_changed_a_value_and_the_updates_before_it_are_told() {
    let place = Place::new(SCHEMA);
    let server = data(&place, &["--update-budget", "5", "--update-rate", "1"], "wait=0");
    let mut client = server.client();
    let revision = client.patch("/api/leaves/l04", &json!({"n": 104})).revision();
    client.patch("/api/hubs/h", &json!({"zero": 2})).expect(200);
    let total = why(&mut client, "/api/hubs/h", "total");
    let changed = &total["changed"];
    assert_eq!(
        (&changed["revision"], &changed["old"], &changed["new"]),
        (&json!(revision.to_string()), &json!(428), &json!(528)),
        "{total}"
    );
    assert_eq!(
        changed["facts"],
        json!({"count": 1, "sample": [{"type": "Leaf", "_id": "l04", "path": "/api/leaves/l04", "fields": ["n"]}]})
    );

    client.patch("/api/hubs/h", &json!({"name": "two"})).expect(200);
    let reply = client.get("/api/leaves/l29?why=label");
    let label = reply.expect(200);
    assert_eq!(label["value"], "TWO", "computed: {label}");
    let updates = label["updates"].as_array().unwrap();
    assert!(updates.iter().any(|update| update["field"] == "label" && update["state"] != "done"), "{label}");
    assert_eq!(why(&mut client, "/api/hubs/h", "worst")["updates"], json!([]));
    drop(client);
    drop(server);
    place.check();
}
