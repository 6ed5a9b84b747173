//! Mounts in the document: each of a type has shapes of its own, with its names, and the methods that it allows. What
//! another server shows at a proxy is told by that server.

use corollary_schema::Schema;
use corollary_schema::mounts::{Mount, Segment, View};
use serde_json::{Map, Value as Json, json};

use super::parts::plain;
use super::paths::{by_query, of_list, of_one};
use super::resources::{facts, shown};
use crate::mounts::permit::methods;
use crate::path::PREFIX;

/// The path, as OpenAPI writes it, and the name of its shapes.
fn names(schema: &Schema, mount: &Mount, view: &View) -> (String, String) {
    let words: Vec<&str> = mount
        .path
        .iter()
        .map(|segment| match segment {
            Segment::Name(name) | Segment::Param(name, _) => name.as_str(),
        })
        .collect();
    // No name of a type has a dot in it.
    let component = format!("{}.{}", schema.ty(view.ty).name, words.join("."));
    (format!("{PREFIX}/{}", mount.name()), component)
}

fn parameter(name: &str) -> Json {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
}

/// Adds the paths and the shapes of all mounts.
pub(super) fn add(schema: &Schema, paths: &mut Map<String, Json>, schemas: &mut Map<String, Json>) {
    for mount in &schema.mounts {
        match mount.view() {
            Some(view) => of_view(schema, mount, view, paths, schemas),
            None => {
                let (base, mut known) = (format!("{PREFIX}/{}", mount.name()), Map::new());
                for method in methods(mount, 0).split(", ").filter(|method| !method.is_empty()) {
                    let what = plain("What another server has here; the paths below are its own too");
                    known.insert(method.to_lowercase(), what);
                }
                paths.insert(base, known.into());
            }
        }
    }
}

fn of_view(
    schema: &Schema,
    mount: &Mount,
    view: &View,
    paths: &mut Map<String, Json>,
    schemas: &mut Map<String, Json>,
) {
    let (base, component) = names(schema, mount, view);
    let resource = view.names.ty(view.ty);
    schemas.insert(component.clone(), shown(&view.names, view.ty, resource));
    schemas.insert(format!("{component}Facts"), facts(&view.names, resource, true));
    schemas.insert(format!("{component}Patch"), facts(&view.names, resource, false));
    let mut parameters: Vec<Json> = mount
        .path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Param(name, _) => Some(parameter(name)),
            Segment::Name(_) => None,
        })
        .collect();
    let shape = [component.as_str()];
    paths.insert(base.clone(), allowed(mount, 0, of_list(&shape, &parameters)));
    let mut asked = Map::new();
    by_query(&base, &parameters, &shape, &mut asked);
    let allow = mount.allow;
    asked.retain(|path, _| match path.rsplit('/').next() {
        Some("_update") => allow.update,
        Some("_delete") => allow.delete,
        _ => allow.read,
    });
    paths.append(&mut asked);
    let id = format!("{}_id", resource.name.to_lowercase());
    parameters.push(parameter(&id));
    paths.insert(format!("{base}/{{{id}}}"), allowed(mount, 1, of_one(&shape, &parameters)));
}

/// Leaves the methods that a mount allows so many segments behind its path, and of their parameters those that it has.
fn allowed(mount: &Mount, behind: usize, mut path: Json) -> Json {
    let methods = methods(mount, behind).to_lowercase();
    if let Some(members) = path.as_object_mut() {
        members.retain(|name, _| name == "parameters" || methods.split(", ").any(|method| method == name));
        if let Some(Json::Array(given)) = members.get_mut("get").and_then(|get| get.get_mut("parameters")) {
            given.retain(|parameter| parameter["name"] != "at");
        }
    }
    path
}
