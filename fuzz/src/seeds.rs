//! The first files of the corpora: texts of the language from the examples, and what the program itself writes, as a backup or an entry
//! of the log. `corollary-fuzz seed` writes them anew where there are none; what was found is beside them.

use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_engine::{Edit, EngineOptions, Key, Transaction, Write, keys, open};
use corollary_server::backup::Moment;
use corollary_store::{Direction, KeyRange, Keyspace, MemoryStore, Store};
use corollary_syntax::{expression_to_json, parse_expression, schema_to_json};
use corollary_value::{Id, SumState, Value, codec};
use jiff::Timestamp;

use crate::targets::SCHEMA;

/// Files of a corpus.
pub type Files = Vec<(String, Vec<u8>)>;

const SMALL: &str = r#"type Ant in ants {
  name: str unique, normalize (trim, nfc)
  up: link Ant on delete cascade
  near: links Ant
  legs: collection Leg
  below: inverse Ant.up
  total := sum(self.legs.n) + count(self.below)
  mean := average(self.legs[n > 2].n) ?? 0
  first_leg := first(self.legs[order by n desc]).n else -1
}

type Leg { n: int min 0, max 9, default 3 }
"#;

const EXPRESSIONS: [&str; 16] = [
    "n > 3 and not (f < 0.5 or d = 1.50)",
    "name ~ 'x%' | word in ('a', 'b')",
    "count(parts[n > self.n]) >= 2",
    "owner.owner.name = 'x' ?? false",
    "at > now() - days(7)",
    "sum(others.n) / (count(others) else 1) > 0.1",
    "tags has 'a' & place.x = 1",
    "n = 1 -> 'one' : n = 2 -> 'two' else 'many'",
    "exists(parts[name starts_with 'a'])",
    "first(parts[order by -n, name]).name",
    "has_words(name, 'a b')",
    "matches(name, '^a+b?$')",
    "date(at) >= day",
    "any.x[0].y != null",
    "-n % 3 = 1",
    "map.a > 0.0",
];

const QUERIES: [&str; 10] = [
    "filter=n%20%3E%203&order=-n,name&limit=10",
    "expand=owner{name},parts[n>1%20order%20by%20-n%20limit%205]{name,n}",
    "fields=name,place.x,_facts&explain=true",
    "page_token=AAAAAAQBAAA&limit=1",
    "at=12&consistency=exact",
    "wait=true&dry_run=true&why=sum",
    "watch=true&from=7&heartbeat=1",
    "filter=name+~+%27%25a%27&limit=0",
    "limit=99999999999999999999&offset=-1",
    "%66ilter=%ff%fe&filter=n=1&=&&;",
];

const PATHS: [&str; 10] = [
    "/api/things/t1/parts/p1",
    "/api/things[n>1]/parts.name",
    "/api/things/t1.sum",
    "/api/things.parts[n%3E1].n",
    "/api/things/0190d3a0-0000-7000-8000-000000000000/owner/owner",
    "/api/_schema/plan",
    "/api/things/%F0%9F%A6%80/..%2F..",
    "/api/things/t1/link_thing_owner[name='a b']",
    "//api///things/",
    "/api/things/t1/photo",
];

const CONDITIONS: [&str; 6] = [
    r#"{"and": [{"kv": {"key": "n", "value": 41}}, {"expr": "f > 0.5"}]}"#,
    r#"{"or": [{"kvs": {"key": "word", "values": ["a", "b"]}}, {"not": {"kv": {"key": "name", "value": null, "equals": false}}}]}"#,
    r#"{"range": {"key": "at", "from": "2024-01-01T00:00:00Z", "to": "2025-01-01T00:00:00Z"}}"#,
    r#"{"and": []}"#,
    r#"{"has": {"key": "tags", "value": "a"}}"#,
    "null",
];

const BODIES: [&str; 4] = [
    r#"{"_id": "t9", "name": "x", "n": 3, "f": 0.5, "d": "1.50", "at": "2024-01-01T00:00:00Z", "day": "2024-02-29", "span": "PT1H", "uid": "0190d3a0-0000-7000-8000-000000000000", "raw": "AA==", "any": {"a": [1, null]}, "word": "b", "tags": ["a", "b"]}"#,
    r#"{"name": "x", "place": {"x": 1, "y": [1, 2]}, "pay": {"kind": "card", "number": "4"}, "map": {"a": 0.25}, "owner": "/api/things/t1", "others": ["t2", "$0._id"]}"#,
    r#"{"name": 3, "n": -9, "nope": true, "day": "2024-02-30", "pay": {"kind": "cash", "number": 1}}"#,
    r#"{"name": "x", "parts": [{"name": "a"}], "_revision": "7", "sum": 3}"#,
];

const PATCHES: [&str; 5] = [
    r#"[{"op": "test", "path": "/n", "value": 3}, {"op": "replace", "path": "/place/y/-", "value": 4}, {"op": "move", "from": "/tags/0", "path": "/name"}]"#,
    r#"{"n": {"$inc": 1}, "tags": {"$add": ["c"]}}"#,
    r#"{"actions": [{"action": "inc", "field": "n", "by": 2, "max": 10}, {"action": "push", "field": "others", "value": "t1"}]}"#,
    r#"[{"action": "increment", "field": "n", "value": 1}, {"action": "unset", "field": "f"}]"#,
    r#"{"name": null, "place": {"x": 2, "y": null}, "map": {"a": null, "b": 1.5}}"#,
];

const REPLIES: [&str; 4] = [
    r#"{"allowed": true, "set": {"n": 3}}"#,
    r#"{"allowed": false, "message": "no"}"#,
    r#"{"items": [{"allowed": true}, {"allowed": false, "message": "x"}, {"allowed": true, "set": {}}]}"#,
    "[]",
];

const PROXIED: [&str; 4] = [
    r#"{"items": [{"_id": "t1", "_self": "/api/things/t1", "name": "x\"_self\": \"y\""}], "next": "http://there:1/api/things?limit=1"}"#,
    "{\"_self\": \"/api/things/t1\"}\n{\"_self\" : \"/api/thingsmore\"}\n",
    "event: changed\nid: 7\ndata: {\"path\": \"/api/things/t1\", \"_self\":\"/api/things/t1.n\"}\n\n: heartbeat\n\n",
    r#"{"_self": "/api/things\u002ft1\\"}"#,
];

const NATS: [&str; 4] = [
    "INFO {\"server_id\":\"x\",\"max_payload\":1048576,\"headers\":true,\"jetstream\":true,\"tls_required\":false}\r\nPING\r\n",
    "+OK\r\nPONG\r\n-ERR 'Authorization Violation'\r\n",
    "MSG _INBOX.1.2 1 27\r\n{\"stream\":\"S\",\"seq\":7,\"x\":1}\r\nPING\r\n",
    "HMSG _INBOX.1.3 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n",
];

const TEXTS: [&str; 14] = [
    "2024-02-29T23:59:60.999999999+23:59",
    "-9999-01-01",
    "P1DT2H3.5S",
    "-PT0.000000001S",
    "79228162514264337593543950335",
    "0.0000000000000000000000000001",
    "-0",
    "1e308",
    "NaN",
    "0190d3a0-0000-7000-8000-000000000000",
    "AAEC/w==",
    "true",
    "t1",
    "9223372036854775807",
];

const CSV: [&str; 3] = [
    "_id,name,n,f,at,tags,owner\nt1,x,1,0.5,2024-01-01T00:00:00Z,\"[\"\"a\"\"]\",\nt2,\"y\nz\",,,,,t1\n",
    "name;n\nx;1\n",
    "\u{feff}name,name,nope\nx,y,z\n,,,,,\n\"",
];

const NDJSON: [&str; 2] = [
    "{\"_id\": \"t1\", \"name\": \"x\"}\n\n{\"name\": 3}\n{\"name\"\n",
    "[{\"name\": \"x\"}]\n{\"name\": \"x\", \"owner\": \"t1\"}",
];

const RULES: [&str; 5] = [
    "deny when self.n > self.place.x, message \"too many\"",
    "set code := lower(self.name)",
    "deny when operation = 'delete' and actor != 'root'",
    "deny when old.n > self.n",
    "set n := count(self.parts)",
];

const HEADERS: [&str; 8] = [
    "accept: text/event-stream;q=0.1, application/json\nif-match: \"7\", \"8\"",
    "accept: text/html, */*;q=0.1\nprefer: respond-async, wait=10",
    "accept: application/json;q=0, application/x-ndjson\nif-none-match: *",
    "accept: text/*\nprefer: wait=\"99999\"\nif-match: *",
    "accept:\nprefer: wait=soon\nif-match: 7",
    "accept: */*;q=NaN, a/b;Q=0.5;v=1\nif-match: W/\"9\"",
    "if-none-match: \"7\"\naccept: application/json\naccept: text/html",
    "if-match: \"+7\", \"007\"",
];

const RANGES: [&str; 9] = [
    "10\nbytes=0-0",
    "10\nbytes=2-99",
    "10\nbytes=-3",
    "0\nbytes=0-",
    "18446744073709551615\nbytes=18446744073709551614-",
    "10\nbytes=99999999999999999999-",
    "10\nbytes=5-2",
    "10\nbytes=1-2,4-5",
    "10\nlines= 1 - 2",
];

const FILE_HEADERS: [&str; 7] = [
    "content-disposition: attachment; filename=\"a b.png\"\ncontent-type: Image/PNG",
    "content-disposition: attachment; filename=x.png; filename*=UTF-8''%E2%82%AC.png\nif-match: *",
    "content-disposition: inline; FileName = ../../a.png ; size=3\ncontent-type: text/html;charset=UTF-8",
    "content-disposition: attachment; filename=\"a\\\"b;c.png\"\nif-match: \"sha-256=:AA==:\", W/\"x\"",
    "repr-digest: sha-512=:AAAA:, sha-256=:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=:",
    "digest: SHA-256=AAAA\nif-match: nothing",
    "content-type: text\ncontent-disposition: attachment; filename=\"..\"",
];

const CAPTURED: [&str; 6] = [
    "Thing t1 insert {\"name\": \"x\", \"n\": 3, \"tags\": [\"a\"], \"owner\": \"t2\"}\nThing t1 update {\"n\": 4}\nThing t1 delete {}",
    "Part p1 insert {\"name\": \"x\", \"_parent_thing\": \"t1\"}\nPart p1 update {\"name\": null}",
    "Thing t1 update {\"sum\": 3, \"place\": {\"x\": 1, \"y\": [1]}, \"pay\": {\"kind\": \"cash\"}}",
    "Thang t1 insert {}\nThing !! delete {}",
    "Thing t1 truncate {}\nThing t2 insert {\"n\": \"three\", \"at\": \"2024-01-01 00:00:00\"}",
    "Thing t1 update {\"raw\": \"AA==\", \"d\": \"1.50\", \"span\": \"PT1H\", \"any\": {\"a\": [1, null]}}",
];

const SETTINGS: [&str; 9] = [
    "serve\n--listen=127.0.0.1:0\n--data=there\n--cors=https://example.org\n--log=warn,access=info",
    "serve\n--store=postgres://user:secret@host/database\n--sql=corollary_sql\n--node=one",
    "serve\n--budget-of=Order.label=5000\n--update-share=20\n--hooks=false\n--log-to=-",
    "serve\n--tls-cert=a.pem",
    "serve\n--max-body-mib=0",
    "import\nThing\nrows.csv\n--url=http://127.0.0.1:7437",
    "backup\nverify\nthere.backup",
    "check\n--sample=10\n--repair",
    "schema\nexplain\n--help",
];

/// Damages: none, one byte, the end of each file cut.
const DAMAGES: [&[u8]; 6] = [
    &[],
    &[0, 0, 0, 7, 1, 0],
    &[1, 128, 0, 0, 0, 40],
    &[0, 128, 0, 0, 0, 255],
    &[1, 200, 0, 0, 0, 255, 2, 1, 0, 9, 1, 3],
    &[2, 0, 0, 0, 0, 255],
];

fn numbered<T: AsRef<[u8]>>(texts: &[T]) -> Files {
    texts.iter().enumerate().map(|(at, text)| (format!("{at:02}"), text.as_ref().to_vec())).collect()
}

/// A store with some resources, changed and deleted.
fn store() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new(&keys::KEYSPACES).expect("a store"));
    let options = EngineOptions::default();
    let opened = open(store.clone(), SCHEMA, &options, Timestamp::UNIX_EPOCH, &mut |_| {});
    let mut executor = opened.expect("the schema");
    let schema = executor.engine().schema().clone();
    let ty = schema.type_named("Thing").expect("it is declared");
    let slot = |name: &str| schema.ty(ty).named(name).expect("it is declared").0;
    let key = |name: &str| Key::new(ty, Id::parse(name).expect("an id"));
    let create = |name: &str, owner: Option<&str>| {
        let mut values = vec![
            (slot("name"), Value::Str(name.into())),
            (slot("n"), Value::Int(3)),
            (slot("f"), Value::Float(0.25)),
            (slot("tags"), Value::List([Value::Str("a".into()), Value::Str("b".into())].into())),
        ];
        values.extend(owner.map(|owner| (slot("owner"), Value::Ref(Id::parse(owner).expect("an id")))));
        Write::Create(key(name), values)
    };
    let groups = [
        vec![create("t1", None), create("t2", Some("t1")), create("t3", Some("t1"))],
        vec![Write::Update(key("t2"), vec![(slot("n"), Edit::Increment(Value::Int(4)))])],
        vec![Write::Delete(key("t3"))],
    ];
    for writes in groups {
        let outcome = executor.commit(&[Transaction { writes }], Timestamp::UNIX_EPOCH).expect("a group");
        assert!(outcome.iter().all(Result::is_ok), "{outcome:?}");
    }
    store
}

fn rows(store: &MemoryStore, keyspace: Keyspace) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let each = &mut |_: &[u8], value: &[u8]| {
        found.push(value.to_vec());
        ControlFlow::Continue(())
    };
    let snapshot = store.snapshot().expect("a snapshot");
    snapshot.scan(keyspace, &KeyRange::all(), Direction::Forward, 16, each).expect("a scan");
    found
}

fn values() -> Files {
    let mut state = SumState::default();
    state.add(&Value::Float(1e300));
    state.add(&Value::Int(7));
    let mut sum = Vec::new();
    state.encode(&mut sum);
    let object = Value::Object([("a".into(), Value::List([Value::Int(-1), Value::Null].into()))].into());
    let values =
        [Value::Str("text".into()), Value::Float(-0.0), Value::Datetime(Timestamp::UNIX_EPOCH), object];
    let mut files = vec![sum];
    files.extend(values.iter().map(|value| {
        let mut bytes = Vec::new();
        codec::encode(value, &mut bytes);
        bytes
    }));
    numbered(&files)
}

fn backup() -> Vec<u8> {
    let mut bytes = Vec::new();
    let store = store();
    let moment = Moment::open(&*store).expect("a moment");
    moment.write(Timestamp::UNIX_EPOCH, &mut bytes).expect("a backup");
    bytes
}

/// The first files of a target's corpus.
pub fn of(target: &str) -> Files {
    let schemas = || [SMALL.to_owned(), SCHEMA.to_owned()];
    let tree = |text: &&str| expression_to_json(&parse_expression(text).tree);
    match target {
        "schema" => numbered(&schemas()),
        "schema-json" => numbered(&schemas().map(|text| schema_to_json(&text).expect("a schema"))),
        "expression" => numbered(&EXPRESSIONS),
        "expression-json" => numbered(&EXPRESSIONS.iter().map(tree).collect::<Vec<_>>()),
        "rule" => numbered(&RULES),
        "query" => numbered(&QUERIES),
        "path" => numbered(&PATHS),
        "condition" => numbered(&CONDITIONS),
        "body" => numbered(&BODIES),
        "patch" => numbered(&PATCHES),
        "headers" => numbered(&HEADERS),
        "range" => numbered(&RANGES),
        "file-headers" => numbered(&FILE_HEADERS),
        "captured" => numbered(&CAPTURED),
        "settings" => numbered(&SETTINGS),
        "csv" => numbered(&CSV),
        "ndjson" => numbered(&NDJSON),
        "text" => numbered(&TEXTS),
        "nats" => numbered(&NATS),
        "webhook" => numbered(&REPLIES),
        "proxied" => numbered(&PROXIED),
        "value" => values(),
        "document" => numbered(&rows(&store(), keys::DOC)),
        "log" => numbered(&rows(&store(), keys::LOG)),
        "backup" => vec![("00".into(), backup()), ("01".into(), b"no backup".to_vec())],
        "folder" => numbered(&DAMAGES),
        _ => Vec::new(),
    }
}
