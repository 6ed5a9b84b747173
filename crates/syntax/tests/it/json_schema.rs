//! The JSON form and the JSON Schema that describes it agree: all that is written fits, and what does not fit is refused.

use std::path::{Path, PathBuf};

use corollary_syntax::ast::BinaryOp;
use corollary_syntax::{
    dump_schema, expression_to_json, json_to_schema, parse_expression, parse_expression_json, parse_schema,
    parse_schema_json, schema_to_json,
};
use serde_json::{Value as Json, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn described() -> Json {
    serde_json::from_str(&read("api/schema.schema.json")).expect("it is JSON")
}

/// Does a value fit a part of the JSON Schema? Knows the keywords that the file uses, and no others.
fn fits(document: &Json, rule: &Json, value: &Json) -> bool {
    let Json::Object(rules) = rule else { return rule == &json!(true) };
    rules.iter().all(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "$defs" | "title" | "description" => true,
        "$ref" => {
            let pointer = rule.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
            fits(document, document.pointer(pointer).expect("it leads somewhere"), value)
        }
        "type" => {
            let is = |name: &Json| match name.as_str().expect("a name") {
                "null" => value.is_null(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                "number" => value.is_number(),
                "string" => value.is_string(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("unknown type {other}"),
            };
            rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
        }
        "const" => rule == value,
        "enum" => rule.as_array().expect("a list").contains(value),
        "anyOf" => rule.as_array().expect("a list").iter().any(|rule| fits(document, rule, value)),
        "oneOf" => {
            rule.as_array().expect("a list").iter().filter(|rule| fits(document, rule, value)).count() == 1
        }
        "required" => {
            let names = rule.as_array().expect("a list");
            names.iter().all(|name| value.get(name.as_str().expect("a name")).is_some())
        }
        "properties" => {
            let Some(members) = value.as_object() else { return true };
            members.iter().all(|(name, value)| rule.get(name).is_none_or(|rule| fits(document, rule, value)))
        }
        "additionalProperties" => {
            let known = rules.get("properties").and_then(Json::as_object).expect("properties");
            value.as_object().is_none_or(|members| members.keys().all(|name| known.contains_key(name)))
        }
        "items" => value.as_array().is_none_or(|all| all.iter().all(|it| fits(document, rule, it))),
        "minItems" => value.as_array().is_none_or(|all| all.len() as u64 >= rule.as_u64().expect("a number")),
        "maxLength" => value.as_str().is_none_or(|it| it.len() as u64 <= rule.as_u64().expect("a number")),
        // The patterns are those of names and numbers; what they say of texts the reader is asked below.
        "pattern" => value.as_str().is_none_or(|text| !text.is_empty() && !text.contains(' ')),
        other => panic!("the test does not know the keyword {other}"),
    })
}

const SCHEMAS: &[&str] = &[
    "crates/syntax/tests/data/company.schema",
    "crates/syntax/tests/data/options.schema",
    "examples/flights/flights.cor",
    "examples/shop/shop.cor",
];

fn expressions() -> Vec<String> {
    let lines = read("crates/syntax/tests/data/expressions.txt");
    lines.lines().filter(|line| !line.is_empty() && !line.starts_with("//")).map(str::to_string).collect()
}

#[test]
fn what_is_written_fits_and_is_read_again() {
    let document = described();
    for file in SCHEMAS {
        let form = schema_to_json(&read(file)).expect("a schema without mistakes");
        let value: Json = serde_json::from_str(&form).expect("it is JSON");
        assert!(fits(&document, &document, &value), "{file}\n{form}");
        // Whoever changes the JSON with other tools gives it back with other spaces.
        let again = json_to_schema(&value.to_string()).expect("it is read again");
        assert_eq!(schema_to_json(&again).as_ref(), Ok(&form), "{file}");
        assert_eq!(dump_schema(&parse_schema_json(&form).tree), dump_schema(&parse_schema(&again).tree));
    }
    let mut ops: Vec<String> = Vec::new();
    for text in expressions() {
        let parsed = parse_expression(&text);
        if !parsed.diagnostics.is_empty() {
            continue;
        }
        let form = expression_to_json(&parsed.tree);
        let value: Json = serde_json::from_str(&form).expect("it is JSON");
        assert!(fits(&document, &document["$defs"]["expression"], &value), "{text}\n{form}");
        ops.extend(
            form.split("\"op\": \"").skip(1).filter_map(|rest| rest.split('"').next().map(str::to_string)),
        );
    }
    assert!(ops.len() > 100, "{ops:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let document = described();
    let expression = &document["$defs"]["expression"];
    for op in BinaryOp::ALL {
        let form = json!({"op": op.symbol(), "left": 1, "right": 2});
        assert!(fits(&document, expression, &form), "{form}");
        assert_eq!(parse_expression_json(&form.to_string()).diagnostics, [], "{form}");
    }
    let refused = [
        json!([1]),
        json!({"op": "==", "left": 1, "right": 2}),
        json!({"op": "+", "left": 1}),
        json!({"op": "+", "left": 1, "right": 2, "of": 3}),
        json!({"op": "order", "of": {"op": "self"}, "by": []}),
        json!({"op": "call", "name": "sum"}),
        json!({"op": "name", "name": "a b"}),
        json!({"op": "argument", "name": "by", "value": 1}),
        json!({"left": 1}),
    ];
    for form in refused {
        assert!(!fits(&document, expression, &form), "{form}");
        assert!(!parse_expression_json(&form.to_string()).diagnostics.is_empty(), "{form}");
    }
    let ty = |field: Json| json!({"types": [{"type": "A", "fields": [field]}]});
    let refused = [
        json!({}),
        json!([]),
        json!({"types": [{}]}),
        json!({"types": [{"type": "A", "kind": "B"}]}),
        ty(json!({"field": "x"})),
        ty(json!({"field": "x", "link": "A", "value": "int"})),
        ty(json!({"field": "x", "inverse": {"type": "A"}})),
        ty(json!({"field": "x", "value": {"list": "int", "set": "int"}})),
        ty(json!({"field": "x", "value": "int", "options": ["required"]})),
        ty(json!({"field": "x", "value": "int", "options": [{"option": "index", "keys": ["a", "b"]}]})),
        ty(json!({"field": "x", "value": {"union": "kind"}})),
        ty(json!({"field": "x", "value": {"object": [], "variants": []}})),
        ty(json!({"field": "x", "value": {"union": "kind", "variants": [{"card": []}]}})),
    ];
    for form in refused {
        assert!(!fits(&document, &document, &form), "{form}");
        assert!(!parse_schema_json(&form.to_string()).diagnostics.is_empty(), "{form}");
    }
}
