//! Schemas as files of text and of JSON: one can be had from the other, and each serves.

use std::fs;

use crate::common::shop::{SHOP, assert_says, failed, succeeded};
use crate::common::*;

const WITH_COMMENTS: &str = "\
// Of the house.
schema house  // one only

// Those who live here.
type Person in people {
  // First names.
  name: str required  // as spoken

  age: int min 0
  old  := self.age > 60 -> 'yes' : 'no'  // by law
}
// The end.
";

#[test]
fn a_schema_goes_to_json_and_back_and_serves_in_either_form() {
    let place = Place::new(WITH_COMMENTS);
    let file = place.schema();
    let file = file.to_str().unwrap();
    let json = succeeded(&run(&["schema", "json", file]));
    let form = place.write("schema.json", &json);
    assert_eq!(succeeded(&run(&["schema", "text", &form])), WITH_COMMENTS);
    assert_eq!(succeeded(&run(&["schema", "text", file])), WITH_COMMENTS);
    assert_eq!(succeeded(&run(&["schema", "json", &form])), json);
    assert_says(&succeeded(&run(&["schema", "check", &form])), &["is in order: 1 types, 1 derived"]);

    // Other tools write the same with other spaces; the canonical form is what `fmt` makes of it.
    let other: Json = serde_json::from_str(&json).unwrap();
    fs::write(&form, other.to_string()).unwrap();
    failed(&run(&["schema", "fmt", "--check", &form]), 1);
    succeeded(&run(&["schema", "fmt", &form]));
    assert_eq!(fs::read_to_string(&form).unwrap(), json);
    succeeded(&run(&["schema", "fmt", "--check", &form]));

    // Served from JSON, then from the text: it is the same schema.
    fs::write(place.schema(), &json).unwrap();
    let server = place.serve();
    let mut client = server.client();
    client.post("/api/people", &json!({"_id": "p1", "name": "Ann", "age": 70})).expect(201);
    assert_eq!(client.read("/api/people/p1")["old"], "yes");
    let told = client.read("/api/_schema");
    assert_eq!((told["text"].as_str(), &told["json"]), (Some(WITH_COMMENTS), &other));
    server.stop();
    fs::write(place.schema(), WITH_COMMENTS).unwrap();
    place.check();
}

#[test]
fn derived_fields_are_explained() {
    let place = Place::new(SHOP);
    let file = place.schema();
    let file = file.to_str().unwrap();
    let one = succeeded(&run(&["schema", "explain", "Customer.total", file]));
    assert_says(&one, &["Customer.total := ", "rule: delta: sum", "Order.net changes", "constant"]);
    let all = succeeded(&run(&["schema", "explain", file]));
    assert!(all.contains(&one), "{all}");
    let of_type = succeeded(&run(&["schema", "explain", "Customer", file]));
    assert!(of_type.contains(&one) && all.contains(&of_type), "{of_type}");
    let said = failed(&run(&["schema", "explain", "Customer.totl", file]), 2);
    assert_says(&said, &["Customer has no derived field totl", "did you mean Customer.total?"]);
    let said = failed(&run(&["schema", "explain", "Customre.total", file]), 2);
    assert_says(&said, &["no type Customre", "Customer?"]);
    assert_says(&failed(&run(&["schema", "explain", "total", file]), 2), &["write TYPE.FIELD"]);
}

#[test]
fn mounts_are_explained() {
    let mount = "mount customers/{who}/bought of Order { where customer = who, allow read }";
    let place = Place::new(&format!("{SHOP}\n{mount}\n"));
    let file = place.schema();
    let file = file.to_str().unwrap();
    let one = succeeded(&run(&["schema", "explain", "customers/{who}/bought", file]));
    assert_says(&one, &["mount customers/{who}/bought of Order\n", "the Customer that {who} stands for"]);
    assert_says(&one, &["a list is found by: the references of `customer`", "allows: read\n"]);
    let all = succeeded(&run(&["schema", "explain", file]));
    assert!(all.ends_with(&format!("\n\n{one}")), "{all}");
}

#[test]
fn mistakes_in_json_are_told_where_they_stand() {
    let place = Place::new("");
    // What only the checker finds has its place in the JSON too.
    let form = place.write(
        "wrong.json",
        r#"{"types": [{"type": "A", "in": "as", "fields": [
  {"field": "age", "value": "int"},
  {"field": "b", "derived": {"op": "field", "of": {"op": "self"}, "name": "agge"}},
  {"field": "c", "value": "itn"}
]}]}"#,
    );
    for command in [&["schema", "check", &form][..], &["serve", "--schema", &form]] {
        let said = failed(&run(command), 2);
        assert_says(
            &said,
            &["wrong.json:3:75", "`A` has no field `agge`", "did you mean `age`?", "wrong.json:4:27"],
        );
    }
    let form = place.write("shape.json", r#"{"types": [{"type": "A", "felds": []}]}"#);
    for command in ["check", "text", "json", "fmt"] {
        let said = failed(&run(&["schema", command, &form]), 2);
        assert_says(
            &said,
            &["shape.json:1:26", "a type has no member \"felds\" (at /types/0)", "\"fields\"?"],
        );
    }
    let form = place.write("none.json", "{\"types\": [");
    assert_says(&failed(&run(&["schema", "check", &form]), 2), &["none.json:1:12", "found the end"]);
    // A text is never taken for JSON.
    fs::write(place.schema(), SHOP).unwrap();
    succeeded(&run(&["schema", "check", place.schema().to_str().unwrap()]));
}
