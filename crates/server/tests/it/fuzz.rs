//! Requests of every kind of nonsense: each is answered, none is the server's fault, and the server goes on.
//!
//! `COROLLARY_FUZZ_TIMES` multiplies the number of cases.

use std::io::{Read, Write};

use crate::common::client::encoded;
use crate::common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

const THINGS: &str = r#"
type Thing in things {
  name:   str required
  n:      int, min -5
  f:      float
  d:      decimal
  at:     datetime index
  day:    date
  span:   duration
  uid:    uuid
  raw:    bytes
  any:    json
  word:   "a" | "b" default "a"
  tags:   set<str>
  place:  { x: int required, y: [int] }
  map:    map<float>
  code:   str unique
  owner:  link Thing
  others: links Thing
  parts:  collection Part
  all     := count(self.link_thing_owner)
  sum     := sum(self.link_thing_owner.n)
  named   := max(self.parts.name)
  half    := self.n / self.f
  next    := self.at + self.span
}

type Part {
  name: str required
  n:    int
}
"#;

/// Runs cases against one server, which then stops as it should and leaves its data in order.
fn each<S: Strategy>(cases: u32, strategy: S, test: impl Fn(&Server, S::Value) -> Result<(), TestCaseError>) {
    let place = Place::new(THINGS);
    let server = place.serve();
    let mut client = server.client();
    let things: Vec<Json> = (0..5)
        .map(|at| json!({"_id": format!("t{at}"), "name": "x", "n": at, "f": 0.5, "at": "2024-01-01T00:00:00Z"}))
        .collect();
    client.post("/api/things", &things.into()).expect(201);
    client.post("/api/things/t1/parts", &json!([{"_id": "p1", "name": "a"}, {"name": "b"}])).expect(201);
    let times: u32 = std::env::var("COROLLARY_FUZZ_TIMES").map_or(1, |times| times.parse().unwrap());
    let config =
        ProptestConfig { cases: cases * times, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(error) = TestRunner::new(config).run(&strategy, |value| test(&server, value)) {
        panic!("{error}\n{}", server.said());
    }
    let things = client.list("/api/things");
    server.kill();
    place.check();
    let server = place.serve();
    assert_eq!(server.client().list("/api/things"), things);
    let (status, _) = server.stop();
    assert!(status.success());
}

/// A reply is an answer: no 5xx, and an error in the right form.
fn answered(reply: &Reply, head: bool) -> Result<(), TestCaseError> {
    prop_assert!(reply.status < 500, "{} {}", reply.status, reply.text());
    if reply.status >= 400 && !head {
        prop_assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let json: Json = serde_json::from_slice(&reply.body).unwrap_or_default();
        let filled = |name: &str| json[name].as_str().is_some_and(|text| !text.is_empty());
        prop_assert!(filled("code") && filled("detail") && filled("title"), "{}", reply.text());
        for error in json["errors"].as_array().into_iter().flatten() {
            let filled = |name: &str| error[name].as_str().is_some_and(|text| !text.is_empty());
            prop_assert!(filled("code") && filled("message"), "{}", json);
        }
    } else if !reply.body.is_empty() && reply.header("content-type") == Some("application/json") {
        prop_assert!(serde_json::from_slice::<Json>(&reply.body).is_ok(), "{}", reply.text());
    }
    Ok(())
}

fn ask(server: &Server, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Reply, TestCaseError> {
    let reply = server.client().try_request(method, path, &[("content-type", kind)], body);
    let reply = reply.map_err(|error| TestCaseError::fail(format!("{method} {path}: {error}")))?;
    answered(&reply, method == "HEAD")?;
    Ok(reply)
}

/// A request with JSON in it.
fn tell(server: &Server, method: &str, path: &str, body: &Json) -> Result<Reply, TestCaseError> {
    ask(server, method, path, "application/json", body.to_string().as_bytes())
}

/// Values of all kinds, most of them wrong wherever they stand.
fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        (-10i64..10).prop_map(Json::from),
        ".{0,12}".prop_map(Json::from),
        select(vec![
            "t1",
            "t2",
            "/api/things/t3",
            "2024-02-30",
            "2024-01-01T00:00:00Z",
            "-9999-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999999Z",
            "PT1H",
            "-P9999999D",
            "1e-28",
            "79228162514264337593543950335",
            "AA==",
            "$0._id",
            "$0._self",
            "$9._id",
            "0190d3a0-0000-7000-8000-000000000000",
            "\u{0}",
            "a",
        ])
        .prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let key = prop_oneof![field().prop_map(String::from), ".{0,6}"];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            vec((key, inner), 0..5).prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

fn field() -> impl Strategy<Value = &'static str> {
    select(vec![
        "_id",
        "_self",
        "_revision",
        "name",
        "n",
        "f",
        "d",
        "at",
        "day",
        "span",
        "uid",
        "raw",
        "any",
        "word",
        "tags",
        "place",
        "map",
        "code",
        "owner",
        "others",
        "parts",
        "all",
        "sum",
        "named",
        "half",
        "next",
        "x",
        "y",
        "parent_thing_parts",
        "link_thing_owner",
        "nope",
    ])
}

fn thing() -> impl Strategy<Value = Json> {
    vec((field(), json()), 0..6).prop_map(|members| {
        let mut members: serde_json::Map<String, Json> =
            members.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        members.entry("name").or_insert_with(|| json!("x"));
        Json::Object(members)
    })
}

fn method() -> impl Strategy<Value = &'static str> {
    select(vec!["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "X"])
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => select(vec!["things", "t0", "t1", "t2", "parts", "p1", "owner", "others", "link_thing_owner", "name", "all", "_batch", "_schema", "_x", ""])
            .prop_map(String::from),
        1 => "[ -~]{0,10}".prop_map(|text| encoded(&text)),
        1 => ".{0,6}".prop_map(|text| encoded(&text)),
        1 => "(%[0-9a-fA-F]{2}|[a-z.~:@!$&'()*+,;=\"{}|]){0,8}",
    ];
    prop_oneof![
        6 => vec(segment.clone(), 0..6).prop_map(|rest| format!("/api/things/{}", rest.join("/"))),
        1 => vec(segment.clone(), 0..4).prop_map(|rest| format!("/api/_log?limit=3&path=things/{}", encoded(&rest.join("/")))),
        1 => vec(segment, 0..5).prop_map(|rest| format!("/{}", rest.join("/"))),
    ]
}

/// Expressions, near enough to right ones that many are.
fn expression() -> impl Strategy<Value = String> {
    let token = select(vec![
        "n",
        "f",
        "d",
        "at",
        "day",
        "span",
        "name",
        "any",
        "tags",
        "place",
        "place.x",
        "owner",
        "owner.n",
        "others.n",
        "parts",
        "parts.n",
        "all",
        "half",
        "next",
        "self",
        "id",
        "parent",
        "things",
        "things.n",
        "link_thing_owner",
        "0",
        "1",
        "-1",
        "9223372036854775807",
        "1.5",
        "'x'",
        "\"y\"",
        "true",
        "null",
        "now()",
        "days(1)",
        "+",
        "-",
        "*",
        "/",
        "%",
        "=",
        "!=",
        "<",
        ">=",
        "~",
        "in",
        "&",
        "|",
        "!",
        "not",
        "and",
        "or",
        "else",
        "->",
        ":",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "..",
        "sum(",
        "count(",
        "max(",
        "join(",
        "top(2,",
        "percentile(",
        "group(",
        "is_error(",
        "round(",
        "upper(",
        "date(",
        "year(",
        "truncate(",
        "order by",
        "desc",
        "by",
        "#div0",
        "'",
        "\\",
    ]);
    prop_oneof![
        3 => vec(token, 1..10).prop_map(|tokens| tokens.join(" ")),
        1 => ".{0,20}",
        1 => (0usize..200, "[(\\[!-]").prop_map(|(times, open)| open.repeat(times)),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let pair = prop_oneof![
        (select(vec!["filter", "order"]), expression())
            .prop_map(|(name, text)| format!("{name}={}", encoded(&text))),
        (
            select(vec!["limit", "page_token", "count", "expand", "fields", "allow_scan", "since", "nope"]),
            prop_oneof![
                "[ -~]{0,12}",
                select(vec!["1", "true", "name", "owner.parts", "n,f", "AAAAAAcB"]).prop_map(String::from)
            ]
        )
            .prop_map(|(name, text)| format!("{name}={}", encoded(&text))),
        "[a-z%=&+0-9]{0,12}".prop_filter("begins no watch", |text| !text.contains("watch")),
    ];
    vec(pair, 0..4).prop_map(|pairs| pairs.join("&"))
}

fn batch() -> impl Strategy<Value = Json> {
    let item = (
        method(),
        prop_oneof![
            path(),
            select(vec!["$0._self", "$1._self/parts", "/api/things/$0._id"]).prop_map(String::from)
        ],
        thing(),
    )
        .prop_map(|(method, path, body)| json!({"method": method, "path": path, "body": body}));
    vec(prop_oneof![8 => item, 1 => json()], 0..5).prop_map(Json::from)
}

#[test]
fn any_request_is_answered() {
    each(500, (method(), path(), query(), thing()), |server, (method, path, query, body)| {
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        tell(server, method, &path, &body).map(drop)
    });
}

#[test]
fn any_query_is_answered() {
    each(700, query(), |server, query| {
        ask(server, "GET", &format!("/api/things?{query}"), "", b"").map(drop)
    });
}

/// What was taken in is there, and can be read, changed and listed.
#[test]
fn what_is_accepted_can_be_read() {
    each(500, (thing(), thing()), |server, (body, patch)| {
        let created = tell(server, "POST", "/api/things", &body)?;
        if created.status != 201 {
            return Ok(());
        }
        let path = created.header("location").unwrap().to_string();
        prop_assert_eq!(ask(server, "GET", &path, "", b"")?.json(), created.json());
        let patched = tell(server, "PATCH", &path, &patch)?;
        if patched.status == 200 {
            prop_assert_eq!(ask(server, "GET", &path, "", b"")?.json(), patched.json());
        }
        let listed = ask(server, "GET", "/api/things?limit=3&expand=owner,others,parts", "", b"")?;
        prop_assert_eq!(listed.status, 200);
        prop_assert_eq!(ask(server, "DELETE", &path, "", b"")?.status, 204);
        Ok(())
    });
}

/// The same few resources over and over, so that they link to each other, go, and come back.
#[test]
fn what_is_left_behind_is_in_order() {
    let write = (select(vec!["POST", "PUT", "PATCH", "DELETE"]), 0u8..6, thing());
    each(500, write, |server, (method, at, mut body)| {
        if method == "POST" {
            body["_id"] = json!(format!("t{at}"));
            return tell(server, method, "/api/things", &body).map(drop);
        }
        tell(server, method, &format!("/api/things/t{at}"), &body).map(drop)
    });
}

#[test]
fn any_batch_is_answered() {
    each(400, batch(), |server, body| tell(server, "POST", "/api/_batch", &body).map(drop));
}

#[test]
fn any_bytes_as_a_body_are_answered() {
    let things =
        ["/api/things", "/api/things/t1", "/api/things/t1/parts", "/api/things/t1/others", "/api/_batch"];
    let kinds =
        ["application/json", "application/x-ndjson", "text/plain", "", "application/merge-patch+json", ";"];
    let body = prop_oneof![
        vec(any::<u8>(), 0..200),
        "[\\[\\]{}\",:0-9a-z \n]{0,60}".prop_map(String::into_bytes),
        (0usize..5_000).prop_map(|times| b"[".repeat(times)),
    ];
    let request =
        (select(vec!["POST", "PUT", "PATCH"]), select(things.to_vec()), select(kinds.to_vec()), body);
    each(400, request, |server, (method, path, kind, body)| ask(server, method, path, kind, &body).map(drop));
}

/// What is no HTTP at all gets an answer or the end of the connection.
#[test]
fn any_bytes_on_a_connection_end_it() {
    let heads = [
        "",
        "GET ",
        "GET / HTTP/1.1\r\n",
        "POST /api/things HTTP/1.1\r\ncontent-length: 5\r\n\r\n",
        "POST /api/things HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
    ];
    each(300, (select(heads.to_vec()), vec(any::<u8>(), 0..200)), |server, (head, bytes)| {
        let mut connection = std::net::TcpStream::connect(&server.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may close before it has all.
        let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&bytes));
        let _ = connection.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        let ended = connection.read_to_end(&mut reply);
        prop_assert!(
            !matches!(ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
            "no end"
        );
        let reply = String::from_utf8_lossy(&reply);
        prop_assert!(!reply.starts_with("HTTP/1.1 5"), "{}", reply);
        Ok(())
    });
}
