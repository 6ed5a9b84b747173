//! The OpenAPI document: it is what is committed for the examples, a generator can use it, and the server does what it says.
//!
//! With `UPDATE_EXPECT=1` in the environment the committed documents are rewritten; read the difference.

mod shapes;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::common::company::{self, COMPANY};
use crate::common::*;
use shapes::{followed, mismatch};

/// Names that are those of other components, or become the same name as an identifier; everything that a path leads to, and rules
/// that are not easily kept.
const NASTY: &str = r#"
abstract type Party in parties {
  name:   str required, min_length 12
  orders: inverse Order.customer
}
type Person is Party in persons { pets: collection Pet, friends: links Person }
type Firm is Party in firms { pets: collection Pet }
type Pet { name: str pattern '^[0-9]{5}$', required, owner: link Person required }
type PersonFacts in person_facts { n: int required, min 5, max 9 }
type PersonPage in person_page { at: datetime required, max "2020-01-01T00:00:00Z" }
type Link in links_ { to: link Problem required, on delete cascade }
type Problem in problems { about: str, plate: str pattern '^[A-Z]{3}$' required }
type a_b in a_b { x: set<str> required, min_length 3, sub: collection A_b }
type aB in aB { x: map<int> required, min_length 2 }
type A_b { price: decimal required, min 100, m: collection AB }
type AB { z: duration }
type Order in orders history {
  customer: link Party on delete restrict
  watchers: links Person | Firm
  keeper:   link Pet | Firm
  amount:   int default 3
  scan:     file
  steps:    ordered collection Step
  payment: union kind {
    card:     { number: str required pattern '^[0-9]{16}$', note: str max_length 3, last := self.number + '!' }
    transfer: { bank: link Firm }
  } required
  first_friends := self.watchers.name
  who           := self.customer.name
  boss          := first(self.steps)
  many          := self.steps[size > 1]
}
type Step { size: int required, above: link Step, key: uuid, at: date, b: bytes, j: json, list: [{ x: float required }] required }
abstract type Block { size: int default 1 }
type Text is Block { words: str, notes: collection Note }
type Image is Block { notes: collection Note }
type Note { text: str }
type Page in pages { items: collection Block }
type Article in articles { title: str required, stars: int default 0, owner: link Problem required }
mount problems/{problem}/articles of Article { where owner = problem }
mount shop/articles of Article { where stars > 2, allow read
  fields headline: title, by: owner }
"#;

/// The document of a schema.
fn document(schema: &str) -> Json {
    let place = Place::new(schema);
    let path = place.schema();
    let output = run(&["schema", "openapi", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn example(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(format!("examples/{name}/{name}.cor"))).unwrap()
}

fn documents() -> Vec<Json> {
    [example("shop"), example("flights"), COMPANY.into(), NASTY.into()]
        .iter()
        .map(|it| document(it))
        .collect()
}

/// Each operation, with its path, what is said of the path, and its method.
fn operations(document: &Json) -> Vec<(&str, &Json, &str, &Json)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
        found.extend(methods.map(|(method, operation)| (path.as_str(), item, method.as_str(), operation)));
    }
    found
}

/// Calls `f` with each object in a document.
fn each(at: &Json, f: &mut dyn FnMut(&serde_json::Map<String, Json>)) {
    match at {
        Json::Object(members) => {
            f(members);
            members.values().for_each(|value| each(value, f));
        }
        Json::Array(elements) => elements.iter().for_each(|element| each(element, f)),
        _ => {}
    }
}

#[test]
fn the_committed_documents_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["shop", "flights"] {
        let schema = root.join(format!("examples/{name}/{name}.cor"));
        let output = run(&["schema", "openapi", schema.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let path = root.join(format!("api/{name}.openapi.json"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &output.stdout).unwrap();
        }
        assert!(
            fs::read(&path).unwrap() == output.stdout,
            "the API has changed: `UPDATE_EXPECT=1 cargo test -p corollary-server --test it api::` writes \
             api/{name}.openapi.json; look at it"
        );
    }
}

/// No operation had a name: what a generator makes of a path and a method is its own, and changes with it.
#[test]
fn each_operation_has_a_name_of_its_own() {
    for document in documents() {
        let mut names = HashSet::new();
        for (path, _, method, operation) in operations(&document) {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path}"));
            assert!(name.starts_with(|first: char| first.is_ascii_lowercase()), "{name}");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric()), "{name}");
            assert!(names.insert(name), "{name} is {method} {path} and another");
            assert!(operation["summary"].is_string(), "{name}");
        }
    }
    let nasty = document(NASTY);
    assert_eq!(nasty, document(NASTY), "the document is the same each time");
    let name = |method: &str, path: &str| nasty["paths"][path][method]["operationId"].clone();
    for (method, path, expected) in [
        ("get", "/api/orders", "listOrders"),
        ("post", "/api/orders", "createOrders"),
        ("post", "/api/orders/_query", "queryOrders"),
        ("get", "/api/orders/{order_id}", "getOrder"),
        ("put", "/api/orders/{order_id}", "replaceOrder"),
        ("patch", "/api/orders/{order_id}", "patchOrder"),
        ("delete", "/api/orders/{order_id}", "deleteOrder"),
        ("get", "/api/orders/{order_id}/steps/{step_id}", "getOrderStep"),
        ("post", "/api/orders/{order_id}/watchers", "addOrderWatchers"),
        ("delete", "/api/orders/{order_id}/keeper", "unlinkOrderKeeper"),
        ("put", "/api/orders/{order_id}/scan", "uploadOrderScan"),
        ("get", "/api/parties/{id}", "getPartiesMember"),
    ] {
        assert_eq!(name(method, path), expected, "{path}");
    }
    // These are one word without what no identifier has: one of them has a number.
    assert_eq!((name("get", "/api/a_b"), name("get", "/api/aB")), (json!("listAB"), json!("listAB2")));
}

/// A type that was called as another component, `Link` or `PersonFacts`, took its place.
#[test]
fn no_type_takes_the_place_of_another_shape() {
    let document = document(NASTY);
    let shapes = &document["components"]["schemas"];
    assert!(shapes["Link"]["properties"]["to"].is_null(), "{}", shapes["Link"]);
    assert!(shapes["Link-Type"]["properties"]["to"].is_object());
    assert!(shapes["Problem"]["properties"]["detail"].is_object());
    assert!(shapes["PersonFacts"]["properties"]["name"].is_object());
    assert!(shapes["PersonFacts-Type"]["properties"]["n"].is_object());
    assert!(shapes["PersonPage"]["properties"]["results"].is_object());
    for document in documents() {
        each(&document, &mut |members| {
            if members.contains_key("$ref") {
                followed(&document, &Json::Object(members.clone()));
            }
        });
        for (path, item, ..) in operations(&document) {
            let named: Vec<&str> =
                path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}')).collect();
            let parameters = item["parameters"].as_array().into_iter().flatten();
            let told: Vec<&str> = parameters.map(|it| it["name"].as_str().unwrap()).collect();
            assert_eq!(named, told, "{path}");
            assert_eq!(named.iter().collect::<HashSet<_>>().len(), named.len(), "{path}");
        }
    }
}

#[test]
fn every_example_is_as_its_schema_says() {
    for document in documents() {
        let mut seen = 0;
        let mut held = |schema: &Json, value: &Json| {
            if let Some(why) = mismatch(&document, schema, value) {
                panic!("{why}\n{schema}");
            }
            seen += 1;
        };
        each(&document["paths"], &mut |members| told(&document, members, &mut held));
        each(&document["components"], &mut |members| told(&document, members, &mut held));
        assert!(seen > 100, "{seen}");
        // Nor is any told that nothing refers to.
        let mut used = HashSet::new();
        each(&document, &mut |members| {
            used.extend(members.get("$ref").and_then(Json::as_str).map(str::to_string));
        });
        for name in document["components"]["examples"].as_object().unwrap().keys() {
            assert!(used.contains(&format!("#/components/examples/{name}")), "{name}");
        }
    }
}

/// The examples of one object: of a schema those of values, of content and parameters those of what its schema says.
fn told(document: &Json, members: &serde_json::Map<String, Json>, held: &mut dyn FnMut(&Json, &Json)) {
    match (members.get("schema"), members.get("examples")) {
        (Some(schema), Some(Json::Object(examples))) => {
            examples.values().for_each(|example| held(schema, &followed(document, example)["value"]));
        }
        (None, Some(Json::Array(examples))) => {
            let schema = Json::Object(members.clone());
            examples.iter().for_each(|example| held(&schema, example));
        }
        _ => {}
    }
    if let (Some(schema), Some(example)) = (members.get("schema"), members.get("example")) {
        held(schema, example);
    }
}

/// A path with the examples of its parameters.
fn filled(path: &str, item: &Json) -> String {
    let mut path = path.to_string();
    for parameter in item["parameters"].as_array().into_iter().flatten() {
        let (name, example) =
            (parameter["name"].as_str().unwrap(), parameter["example"].as_str().unwrap_or("a"));
        path = path.replace(&format!("{{{name}}}"), example);
    }
    path
}

/// The bodies that are examples of an operation, each with its content type.
fn bodies(document: &Json, operation: &Json) -> Vec<(String, Vec<u8>)> {
    let content = followed(document, &operation["requestBody"])["content"].as_object();
    let mut found = Vec::new();
    for (kind, content) in content.into_iter().flatten() {
        for example in content["examples"].as_object().into_iter().flat_map(|examples| examples.values()) {
            found.push((kind.clone(), followed(document, example)["value"].to_string().into_bytes()));
        }
        match &content["example"] {
            Json::Null => {}
            // Lines are a text in the document.
            Json::String(lines) => found.push((kind.clone(), lines.clone().into())),
            example => found.push((kind.clone(), example.to_string().into_bytes())),
        }
    }
    found
}

/// Creates the example of each type, in the order in which they need each other, and asserts that all are there. What
/// can be created so can be created from lines.
fn create(client: &mut Client, document: &Json) {
    let lists = operations(document)
        .into_iter()
        .filter(|(.., operation)| operation["operationId"].as_str().unwrap().starts_with("create"));
    let mut left: Vec<(String, Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    for (path, item, _, operation) in lists {
        let path = filled(path, item);
        // A mount shows what there is.
        if path.starts_with("/api/problems/") || path.starts_with("/api/shop/") {
            continue;
        }
        let all = bodies(document, operation);
        let (one, lines): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(kind, _)| kind == "application/json");
        let lines = lines.into_iter().next().map(|(kind, lines)| {
            assert_eq!(kind, "application/x-ndjson");
            lines
        });
        let lines = lines.filter(|_| one.len() == 1);
        assert!(!one.is_empty(), "{path}");
        for (_, body) in one {
            // What another list holds already is not created again.
            if !left.iter().any(|(_, other, _)| *other == body) {
                left.push((path.clone(), body, lines.clone()));
            }
        }
    }
    while !left.is_empty() {
        let before = left.len();
        let mut refused = Vec::new();
        left.retain(|(path, body, lines)| {
            let kind = [("content-type", "application/x-ndjson")];
            let lines = lines.as_ref();
            let tried =
                lines.map(|lines| client.request("POST", &format!("{path}?dry_run=true"), &kind, lines));
            let reply = client.request("POST", path, &[("content-type", "application/json")], body);
            let is_made = reply.status == 201;
            match tried {
                Some(tried) if is_made => drop(tried.expect(200)),
                _ => {}
            }
            if !is_made {
                refused.push(format!("{path} {}: {}", String::from_utf8_lossy(body), reply.text()));
            }
            !is_made
        });
        assert!(left.len() < before, "{}", refused.join("\n"));
    }
}

/// The examples of a document are what the server takes, and each operation is there and replies as it says.
fn obeyed(schema: &str) {
    let place = Place::new(schema);
    let server = place.serve();
    let client = &mut server.client();
    let document = client.read("/api/_openapi.json");
    create(client, &document);
    for (path, item, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap();
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let tries = parameters.clone().any(|it| it["$ref"] == "#/components/parameters/dry_run");
        let there = filled(path, item);
        let there = if tries { format!("{there}?dry_run=true") } else { there };
        let mut sent = bodies(&document, operation);
        let is_example = !sent.is_empty();
        if sent.is_empty() {
            let kind = if operation["requestBody"].is_null() { "" } else { "application/json" };
            sent.push((kind.into(), if kind.is_empty() { Vec::new() } else { b"{}".to_vec() }));
        }
        for (kind, body) in sent {
            // Where it is of several types, each example has an id of its own.
            let of = serde_json::from_slice::<Json>(&body).ok().filter(|_| method == "put");
            let there = match of.as_ref().and_then(|body| body["_id"].as_str()) {
                Some(id) if path.ends_with("_id}") => {
                    format!("{}/{id}?dry_run=true", &there[..there.rfind('/').unwrap()])
                }
                _ => there.clone(),
            };
            let kind = [("content-type", kind.as_str())];
            let headers: &[(&str, &str)] = if kind[0].1.is_empty() { &[] } else { &kind };
            let reply = client.request(&method.to_uppercase(), &there, headers, &body);
            let told = || format!("{name}: {method} {there} {}: {reply:?}", String::from_utf8_lossy(&body));
            assert!(reply.status < 500 && reply.status != 405, "{}", told());
            let said = &operation["responses"][reply.status.to_string()];
            assert!(reply.status >= 400 || !said.is_null(), "{}", told());
            // What was created is there; hooks and processors are not, and no tables.
            let is_system = there.starts_with("/api/_") || !there.starts_with("/api/");
            let created = name.starts_with("create");
            // Links that need not be there lead nowhere, and there are no files.
            let is_nothing = reply.status == 404 && {
                let detail = reply.json()["detail"].as_str().unwrap().to_string();
                detail.ends_with(" is empty") || detail.ends_with(" here") || detail.contains("no file")
            };
            assert!(reply.status != 404 || is_system || is_nothing, "{}", told());
            assert!(!is_example || created || is_nothing || reply.status == 200, "{}", told());
            if let Some(content) =
                followed(&document, said)["content"].as_object().filter(|_| reply.status < 300)
            {
                let kind = reply.header("content-type").unwrap_or_default().split(';').next().unwrap();
                let content = content.get(kind).unwrap_or_else(|| panic!("{}", told()));
                if kind == "application/json" {
                    let why = mismatch(&document, &content["schema"], &reply.json());
                    assert!(why.is_none(), "{}\n{}", why.unwrap(), told());
                }
            }
            for (header, _) in &reply.headers {
                let known = [
                    "content-type",
                    "content-length",
                    "date",
                    "x-request-id",
                    "vary",
                    "connection",
                    "content-security-policy",
                ];
                let is_said = |name: &String| name.eq_ignore_ascii_case(header);
                let headers = followed(&document, said)["headers"].as_object();
                assert!(
                    known.contains(&header.as_str())
                        || headers.is_some_and(|headers| headers.keys().any(is_said))
                        || reply.status >= 300
                        || is_system,
                    "`{header}` is not told: {}",
                    told()
                );
            }
        }
    }
    drop(server.stop());
    place.check();
}

/// `set` without a value was as the shape said, and refused.
#[test]
fn update_actions_are_refused_that_are_not_as_their_shape_says() {
    let company = &mut company::Company::with_staff();
    let document = company.client.read("/api/_openapi.json");
    let shape = &document["components"]["schemas"]["UpdateActions"];
    for (action, is_well) in [
        (json!({"set": {"key": "name", "value": "Ann"}}), true),
        (json!({"set": {"key": "name"}}), false),
        (json!({"set": {"value": "Ann"}}), false),
        (json!({"set": {"key": "name", "value": "Ann", "more": 1}}), false),
        (json!({"clear": {"key": "age"}}), true),
        (json!({"clear": {"key": "age", "value": 1}}), false),
        (json!({"inc": {"key": "age"}}), true),
        (json!({"inc": {"key": "age", "by": 2, "limit": 100, "clamp": true}}), true),
        (json!({"inc": {"key": "age", "clamp": true}}), false),
        (json!({"inc": {"by": 1}}), false),
        (json!({"push": {"key": "notes", "value": "x"}}), true),
        (json!({"push": {"key": "notes", "values": ["y"], "position": 0}}), true),
        (json!({"push": {"key": "notes", "position": null, "value": "z"}}), true),
        (json!({"push": {"key": "notes"}}), false),
        (json!({"push": {"key": "notes", "value": "x", "values": ["x"]}}), false),
        (json!({"push": {"key": "notes", "value": "x", "position": -1}}), false),
        (json!({"move": {"key": "notes", "from": 0, "position": 1}}), true),
        (json!({"move": {"key": "notes", "value": "x"}}), true),
        (json!({"move": {"key": "notes", "position": 1}}), false),
        (json!({"move": {"key": "notes", "from": 0, "value": "x"}}), false),
        (json!({"pop": {"key": "notes", "head": true}}), true),
        (json!({"pop": {"key": "notes", "head": 1}}), false),
        (json!({"add": {"key": "tags", "value": "x"}}), true),
        (json!({"add": {"key": "tags"}}), false),
        (json!({"remove": {"key": "tags", "values": ["x"]}}), true),
        (json!({"remove": {"key": "tags", "values": "x"}}), false),
        (json!({"hop": {"key": "tags"}}), false),
        (json!({"clear": {"key": "age"}, "pop": {"key": "notes"}}), false),
        (json!({}), false),
    ] {
        let actions = json!([action]);
        assert_eq!(mismatch(&document, shape, &actions).is_none(), is_well, "{actions}");
        let kind = [("content-type", "application/vnd.corollary.update+json")];
        let body = actions.to_string().into_bytes();
        let reply = company.client.request("PATCH", "/api/employees/E1", &kind, &body);
        match is_well {
            true => drop(reply.expect(200)),
            false => drop(reply.problem(400, "actions")),
        }
    }
}

#[test]
fn the_server_does_what_the_document_of_a_shop_says() {
    obeyed(&example("shop"));
}

#[test]
fn the_server_does_what_the_document_of_a_company_says() {
    obeyed(COMPANY);
}

#[test]
fn the_server_does_what_the_document_of_a_nasty_schema_says() {
    obeyed(NASTY);
}
