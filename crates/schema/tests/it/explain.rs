//! What `corollary schema explain` says of every derived field of the examples, and of one schema with a field and a mount of
//! each kind.
//!
//! With `UPDATE_EXPECT=1` in the environment `explain/*.txt` are rewritten with what is said now; read the difference.

use std::path::{Path, PathBuf};

use corollary_schema::mounts::explain::explain_all as explain_mounts;
use corollary_schema::plan::explain::explain_all;
use corollary_schema::{FieldKind, Ids, Schema, check};
use corollary_syntax::render;

/// The schemas, from the root of the project, and the name of the snapshot of each.
const SCHEMAS: &[(&str, &str)] = &[
    ("examples/flights/flights.cor", "flights"),
    ("examples/shop/shop.cor", "shop"),
    ("crates/schema/tests/explain/kinds.cor", "kinds"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> Schema {
    let text = std::fs::read_to_string(root().join(path)).expect("a schema");
    let checked = check(&text, &mut Ids::default());
    checked.schema.unwrap_or_else(|| panic!("{}", render(&checked.diagnostics, path, &text)))
}

#[test]
fn derived_fields_are_explained_as_written_down() {
    for (path, name) in SCHEMAS {
        let schema = read(path);
        let said = [explain_all(&schema), explain_mounts(&schema)];
        let said = said.into_iter().filter(|said| !said.is_empty()).collect::<Vec<_>>().join("\n");
        let derived = schema.types.iter().flat_map(|ty| &ty.fields);
        let derived = derived.filter(|field| matches!(field.kind, FieldKind::Derived { .. })).count();
        assert_eq!(said.matches(" := ").count(), derived, "each derived field is explained: {said}");
        let file = root().join(format!("crates/schema/tests/explain/{name}.txt"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&file, &said).expect("the file is writable");
            continue;
        }
        let wanted = std::fs::read_to_string(&file).expect("the file of what is said");
        let different = wanted.lines().zip(said.lines()).find(|(then, now)| then != now);
        assert!(
            wanted == said,
            "{name}: first different line (expected, said): {different:?}; `UPDATE_EXPECT=1 cargo test -p \
             corollary-schema explain` writes what is said now"
        );
    }
}
