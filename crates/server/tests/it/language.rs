//! The reference of the language holds what it says: its schema is served, and each expression in it is a derived field
//! that has the value beside it.

use std::fs;
use std::path::Path;

use crate::common::*;

/// The reference.
fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/language.md");
    fs::read_to_string(path).unwrap()
}

/// Expression and value of each row of the tables whose head is `| expression | value |`.
fn examples(reference: &str) -> Vec<(String, Json)> {
    let mut found = Vec::new();
    for table in reference.split("| expression | value |\n|---|---|\n").skip(1) {
        for row in table.lines().take_while(|line| line.starts_with('|')) {
            // A `|` of the language is escaped in a table.
            let row = row.replace("\\|", "\u{1}");
            let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect();
            let code = |cell: &str| cell.trim_matches('`').to_string();
            let value = code(&cells[2]);
            let value = serde_json::from_str(&value).unwrap_or_else(|error| panic!("{value}: {error}"));
            found.push((code(&cells[1]), value));
        }
    }
    found
}

#[test]
fn the_expressions_of_the_reference_have_the_values_beside_them() {
    let reference = reference();
    let schema = reference.split("```cor\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let examples = examples(&reference);
    assert!(examples.len() >= 60, "{} examples", examples.len());
    let fields: String = examples
        .iter()
        .enumerate()
        .map(|(at, (expression, _))| format!("  x{at} := {expression}\n"))
        .collect();
    let head = "type Employee in employees {\n";
    assert!(schema.contains(head));
    let place = Place::new(&schema.replace(head, &format!("{head}{fields}")));
    let server = place.serve();
    let mut client = server.client();
    // As the reference tells it.
    client.post("/api/divisions", &json!({"_id": "d1", "name": "sales"})).expect(201);
    client.post("/api/divisions", &json!({"_id": "d2", "name": "mkt"})).expect(201);
    let ann = json!({
        "_id": "ann", "name": "Ann", "age": 41, "level": "upper", "salary": "10.60", "tax": "2.40",
        "hired": "2021-12-01T00:00:00Z", "tags": ["a", "b"], "address": {"city": "Rome"}, "division": "d1"
    });
    client.post("/api/employees", &ann).expect(201);
    let bob = json!({"_id": "bob", "name": "Bob", "age": 31, "level": "lower", "salary": "10", "division": "d1", "boss": "ann"});
    client.post("/api/employees", &bob).expect(201);
    let eve = json!({"_id": "eve", "name": "Eve", "age": 21, "salary": "30", "tax": "3", "division": "d2", "boss": "ann"});
    client.post("/api/employees", &eve).expect(201);
    let ann = client.read("/api/employees/ann");
    let mut wrong = Vec::new();
    for (at, (expression, value)) in examples.iter().enumerate() {
        let is = plain(ann.get(format!("x{at}")).unwrap_or(&Json::Null));
        if is != *value {
            wrong.push(format!("{expression} is {is}, and the reference says {value}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    drop(client);
    server.stop();
    place.check();
}

/// A value with links as the ids that they lead to.
fn plain(value: &Json) -> Json {
    match value {
        Json::Object(members) if members.contains_key("_id") => members["_id"].clone(),
        Json::Array(elements) => elements.iter().map(plain).collect(),
        value => value.clone(),
    }
}
