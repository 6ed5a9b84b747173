//! Mounts in the document: each of a type has shapes of its own, with its names, and the methods that it allows. What
//! another server shows at a proxy is told by that server.

use corollary_schema::Schema;
use corollary_schema::mounts::{Mount, Segment, View};
use serde_json::{Map, Value as Json, json};

use super::Document;
use super::examples;
use super::names::{Noun, pascal};
use super::operations::{At, only};
use super::parts::{id_as, operation};
use super::shared::or_problems;
use crate::mounts::permit::methods;
use crate::path::PREFIX;

/// The path, as OpenAPI writes it, and the name of its shapes.
fn names(schema: &Schema, mount: &Mount, view: &View) -> (String, String) {
    let words: Vec<&str> = mount.path.iter().map(word).collect();
    // No name of a type has a dot in it.
    let component = format!("{}.{}", schema.ty(view.ty).name, words.join("."));
    (format!("{PREFIX}/{}", mount.name()), component)
}

fn word(segment: &Segment) -> &str {
    match segment {
        Segment::Name(name) | Segment::Param(name, _) => name,
    }
}

/// Adds the paths and the shapes of all mounts.
pub(super) fn add(document: &mut Document<'_>) {
    for mount in &document.schema.mounts {
        match mount.view() {
            Some(view) => of_view(document, mount, view),
            None => {
                let called = called(mount);
                let (mut known, parameters) = (Map::new(), parameters(document.schema, mount));
                if !parameters.is_empty() {
                    known.insert("parameters".into(), parameters.into());
                }
                for method in methods(mount, 0).split(", ").filter(|method| !method.is_empty()) {
                    let method = method.to_lowercase();
                    let mut passed = operation(
                        &format!("{method}From{called}"),
                        "What another server has here; the paths below are its own too",
                    );
                    passed["responses"] =
                        or_problems(json!({"2XX": {"description": "As it says"}}), &["504"]);
                    known.insert(method, passed);
                }
                document.paths.add(format!("{PREFIX}/{}", mount.name()), known.into());
            }
        }
    }
}

/// The words of its path, as an `operationId` has them.
fn called(mount: &Mount) -> String {
    mount.path.iter().map(|segment| pascal(word(segment))).collect()
}

/// What stands in its path for resources.
fn parameters(schema: &Schema, mount: &Mount) -> Vec<Json> {
    let named = mount.path.iter().filter_map(|segment| match segment {
        Segment::Param(name, ty) => Some(id_as(name, &examples::id(schema, *ty))),
        Segment::Name(_) => None,
    });
    named.collect()
}

fn of_view(document: &mut Document<'_>, mount: &Mount, view: &View) {
    let Document { schema, paths, components } = document;
    let (base, shape) = names(schema, mount, view);
    let resource = view.names.ty(view.ty);
    components.add(schema, &view.names, view.ty, resource, &shape);
    let parameters = parameters(schema, mount);
    let many = called(mount);
    let noun = Noun { one: format!("{many}{}", pascal(&resource.name)), many };
    let shapes = [shape.as_str()];
    let at = At { components, noun: &noun, names: &shapes, parameters: &parameters };
    paths.add(base.clone(), allowed(mount, 0, at.list()));
    let allow = mount.allow;
    let may = |verb: &str| match verb {
        "_update" => allow.update,
        "_delete" => allow.delete,
        _ => allow.read,
    };
    for (verb, item) in at.by_condition(true).into_iter().filter(|(verb, _)| may(verb)) {
        paths.add(format!("{base}/{verb}"), item);
    }
    let mut id = format!("{}_id", resource.name.to_lowercase());
    while parameters.iter().any(|parameter| parameter["name"] == id) {
        id.push('_');
    }
    let of_one = [&parameters[..], &[id_as(&id, &examples::id(schema, view.ty))]].concat();
    let at = At { parameters: &of_one, ..at };
    paths.add(format!("{base}/{{{id}}}"), allowed(mount, 1, at.one()));
}

/// Leaves the methods that a mount allows so many segments behind its path, and of their parameters those that it has.
fn allowed(mount: &Mount, behind: usize, mut path: Json) -> Json {
    only(&mut path, &methods(mount, behind));
    let past = super::shared::parameters(&["at"]);
    let taken = path.get_mut("get").and_then(|get| get.get_mut("parameters"));
    if let Some(taken) = taken.and_then(Json::as_array_mut) {
        taken.retain(|parameter| !past.contains(parameter));
    }
    path
}
