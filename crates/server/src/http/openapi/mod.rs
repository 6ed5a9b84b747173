//! The OpenAPI 3.1 document of a schema: its resources, what may be written, and every path that this version serves, each
//! operation with a name, its parameters, its replies and examples.
//!
//! What is the same in many places is told once, as a component: of each type its shapes, bodies, replies and examples
//! (`components`), for all of them parameters, headers and problems (`shared`). Names are made in `names`.

mod components;
mod examples;
mod files;
mod grants;
mod hooks;
mod log;
mod messages;
mod mounts;
mod names;
mod operations;
mod parts;
mod paths;
mod processors;
mod resources;
mod shared;
mod system;

use corollary_schema::Schema;
use serde_json::{Value as Json, json};

use components::Components;
use names::Paths;

/// A document that is being made.
struct Document<'s> {
    schema: &'s Schema,
    paths: Paths,
    components: Components,
}

/// The document.
pub fn document(schema: &Schema) -> Json {
    let mut document = Document { schema, paths: Paths::default(), components: Components::of(schema) };
    for (ty, resource) in schema.types() {
        if let Some(root) = &resource.root {
            paths::root(&mut document, root, ty);
        }
    }
    mounts::add(&mut document);
    let mut roots: Vec<_> = schema.abstract_roots.iter().collect();
    // They are kept in no order.
    roots.sort_unstable();
    for (root, types) in roots {
        paths::abstract_root(&mut document, root, types);
    }
    let Document { mut paths, components, .. } = document;
    system::add(&mut paths);
    grants::add(&mut paths);
    hooks::add(&mut paths);
    log::add(&mut paths);
    processors::add(&mut paths);
    json!({
        "openapi": "3.1.0",
        "info": {"title": schema.name.as_str(), "version": env!("CARGO_PKG_VERSION")},
        "paths": paths.into_items(),
        "webhooks": {"event": {"post": hooks::sent()}, "question": {"post": processors::asked()}},
        "components": components.into_json(),
    })
}
