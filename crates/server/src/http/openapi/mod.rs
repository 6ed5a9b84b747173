//! The OpenAPI 3.1 document of a schema: its resources, what may be written, and every path that this version serves.

mod files;
mod hooks;
mod log;
mod messages;
mod mounts;
mod parts;
mod paths;
mod processors;
mod resources;

use corollary_schema::Schema;
use serde_json::{Map, Value as Json, json};

use crate::path::PREFIX;
use messages::{
    actions_schema, condition_schema, dry_run_schema, json_patch_schema, problem_schema, schema_plan_schema,
    why_schema,
};
use parts::{plain, problem, shared_parameters};
use paths::{Members, batch, check, collection, list, moves, schema_change};
use resources::{facts, link_schema, shown};

/// The document.
pub fn document(schema: &Schema) -> Json {
    let mut paths = Map::new();
    let mut schemas = Map::new();
    for (ty, resource) in schema.types().filter(|(_, resource)| resource.visible()) {
        schemas.insert(resource.name.to_string(), shown(schema, ty, resource));
        schemas.insert(format!("{}Facts", resource.name), facts(schema, resource, true));
        schemas.insert(format!("{}Patch", resource.name), facts(schema, resource, false));
    }
    schemas.insert("Link".into(), link_schema());
    schemas.insert("JsonPatch".into(), json_patch_schema());
    schemas.insert("UpdateActions".into(), actions_schema());
    schemas.insert("Condition".into(), condition_schema());
    schemas.insert("DryRun".into(), dry_run_schema());
    schemas.insert("Why".into(), why_schema());
    schemas.insert("Problem".into(), problem_schema());
    for (ty, resource) in schema.types() {
        let Some(root) = &resource.root else { continue };
        let base = format!("{PREFIX}/{root}");
        collection(schema, &Members::of(schema, ty), &base, &[], &mut paths);
    }
    mounts::add(schema, &mut paths, &mut schemas);
    for (root, types) in &schema.abstract_roots {
        let names: Vec<&str> = types.iter().map(|ty| schema.ty(*ty).name.as_str()).collect();
        let base = format!("{PREFIX}/{root}");
        paths.insert(base.clone(), json!({"get": list(&names)}));
        let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
        let one = "Read the resource of whichever type has the id; what changes it goes there";
        paths.insert(format!("{base}/{{id}}"), json!({"parameters": [id], "get": plain(one)}));
    }
    paths.insert(format!("{PREFIX}/_batch"), json!({"post": batch()}));
    paths.insert(format!("{PREFIX}/_check"), json!({"post": check()}));
    paths.insert(format!("{PREFIX}/_move"), json!({"post": moves()}));
    paths.insert(
        format!("{PREFIX}/_updates"),
        json!({
            "get": plain("What is being brought up to date, and what was not long ago; as events until the end"),
            "patch": plain("How fast that goes: `batch`, `rate`, `at_once` and `share`"),
        }),
    );
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    paths.insert(
        format!("{PREFIX}/_updates/{{id}}"),
        json!({
            "parameters": [id],
            "get": plain("One update; as events until its end"),
            "patch": plain("Has an update that waits after a failure go on at once: `{\"state\": \"running\"}`"),
        }),
    );
    hooks::add(&mut paths);
    log::add(&mut paths);
    processors::add(&mut paths);
    paths.insert(
        format!("{PREFIX}/_schema"),
        json!({"get": plain("The schema: its name, its text, its JSON form"), "put": schema_change(true)}),
    );
    paths.insert(format!("{PREFIX}/_schema/plan"), json!({"post": schema_change(false)}));
    schemas.insert("SchemaPlan".into(), schema_plan_schema());
    let socket = "A WebSocket for many watches; see the documentation of watches for its messages";
    paths.insert(
        format!("{PREFIX}/_watch"),
        json!({"get": {
            "summary": socket,
            "responses": {"101": {"description": "It is one from here on"}, "default": problem()},
        }}),
    );
    paths.insert(format!("{PREFIX}/_features"), json!({"get": plain("What the store can do")}));
    let tables = "How far the tables in SQL are, and the changes made there that were refused";
    paths.insert(format!("{PREFIX}/_sql"), json!({"get": plain(tables)}));
    let file = json!({super::backup::CONTENT_TYPE: {"schema": {"type": "string", "format": "binary"}}});
    paths.insert(
        format!("{PREFIX}/_backup"),
        json!({"get": {
            "summary": "Everything at one revision, as a file for `corollary restore`",
            "responses": {"200": {"description": "The backup", "content": file}, "default": problem()},
        }}),
    );
    paths.insert(format!("{PREFIX}/_openapi.json"), json!({"get": plain("This document")}));
    paths.insert("/healthz".into(), json!({"get": plain("Is the server alive?")}));
    paths.insert(
        "/readyz".into(),
        json!({"get": plain("Should requests go here? 503 where it cannot read, or is stopping")}),
    );
    json!({
        "openapi": "3.1.0",
        "info": {"title": schema.name.as_str(), "version": env!("CARGO_PKG_VERSION")},
        "paths": paths,
        "webhooks": {"event": {"post": hooks::sent()}, "question": {"post": processors::asked()}},
        "components": {"schemas": schemas, "parameters": shared_parameters()},
    })
}
