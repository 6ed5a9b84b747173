//! The committed OpenAPI documents are those that the server gives for the examples.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

/// All references in a document lead to something in it.
fn check_references(document: &Json, at: &Json) {
    match at {
        Json::Object(members) => {
            if let Some(reference) = members.get("$ref") {
                let pointer =
                    reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a local reference");
                assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            }
            members.values().for_each(|value| check_references(document, value));
        }
        Json::Array(elements) => elements.iter().for_each(|element| check_references(document, element)),
        _ => {}
    }
}

#[test]
fn the_committed_documents_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["shop", "flights"] {
        let schema = format!("examples/{name}/{name}.cor");
        let output = Command::new(env!("CARGO_BIN_EXE_corollary"))
            .args(["schema", "openapi", &schema])
            .current_dir(&root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document: Json = serde_json::from_slice(&output.stdout).unwrap();
        check_references(&document, &document);
        let committed = fs::read(root.join(format!("api/{name}.openapi.json"))).unwrap();
        assert!(
            committed == output.stdout,
            "the API has changed: look at it, then `corollary schema openapi {schema} > api/{name}.openapi.json`"
        );
    }
}
