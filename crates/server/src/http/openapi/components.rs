//! What the document says once of each type, and refers to wherever it is served: shapes, bodies, replies, examples.
//!
//! Where a list is of several types, what is said of it stands where the list does. A component that is no shape has a `-` in
//! its name, as no name in a schema has.

use corollary_schema::{ResourceType, Schema, TypeIx};
use serde_json::{Map, Value as Json, json};

use super::examples::{self, Examples};
use super::messages;
use super::parts::{any_of, page_of, reference};
use super::resources::{facts, link_schema, shown};
use super::shared::{WRITTEN, headers, shared_headers, shared_parameters, shared_replies};

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// One that is created, or many.
    Create,
    /// All of one.
    Replace,
    /// A patch of each kind.
    Change,
}

/// What comes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reply {
    /// One that was read, or its events, or why a value of it is what it is.
    Read,
    /// A page, all lines, or events.
    List,
    /// One that was created, or many.
    Created,
    /// One as a write has left it.
    Written,
}

/// The components of a document.
pub(super) struct Components {
    schemas: Map<String, Json>,
    bodies: Map<String, Json>,
    replies: Map<String, Json>,
    examples: Map<String, Json>,
}

impl Components {
    /// What is the same in all documents, and what is said of each type.
    pub(super) fn of(schema: &Schema) -> Components {
        let mut components = Components {
            schemas: Map::new(),
            bodies: Map::new(),
            replies: shared_replies(),
            examples: Map::new(),
        };
        components.example("Problem", examples::problem());
        components.example("Batch", examples::batch(schema));
        for (ty, resource) in schema.types().filter(|(_, resource)| resource.visible()) {
            components.add(schema, schema, ty, resource, &super::names::component(schema, ty));
        }
        let shared = [
            ("Link", link_schema()),
            ("JsonPatch", messages::json_patch_schema()),
            ("UpdateActions", messages::actions_schema()),
            ("Condition", messages::condition_schema()),
            ("Query", messages::query_schema()),
            ("Explained", messages::explained_schema()),
            ("Counted", messages::counted_schema()),
            ("Changed", messages::changed_schema()),
            ("BatchItem", messages::batch_item_schema()),
            ("DryRun", messages::dry_run_schema()),
            ("Why", messages::why_schema()),
            ("Problem", messages::problem_schema()),
            ("SchemaPlan", messages::schema_plan_schema()),
        ];
        components.schemas.extend(shared.map(|(name, shape)| (name.to_string(), shape)));
        components
    }

    /// Adds what is said of a type under a name; `names` is the schema with those that its fields have there.
    pub(super) fn add(
        &mut self,
        schema: &Schema,
        names: &Schema,
        ty: TypeIx,
        resource: &ResourceType,
        name: &str,
    ) {
        self.schemas.insert(name.into(), shown(names, ty, resource));
        self.schemas.insert(format!("{name}Facts"), facts(names, resource, true));
        self.schemas.insert(format!("{name}Patch"), facts(names, resource, false));
        self.schemas.insert(format!("{name}Page"), page_of(reference(name)));
        let examples = Examples::of(schema, names, ty);
        self.example(&format!("{name}-Page"), examples.page());
        if let Some(facts) = examples.facts {
            self.example(&format!("{name}-Facts"), facts);
        }
        self.example(&format!("{name}-Patch"), examples.patch);
        self.example(&format!("{name}-JsonPatch"), examples.json_patch);
        self.example(&format!("{name}-UpdateActions"), examples.actions);
        self.example(&format!("{name}-Shown"), examples.shown);
        for body in [Body::Create, Body::Replace, Body::Change] {
            let told = self.told_body(body, &[name]);
            self.bodies.insert(format!("{name}-{body:?}"), told);
        }
        for reply in [Reply::Read, Reply::List, Reply::Created, Reply::Written] {
            let told = self.told_reply(reply, &[name]);
            self.replies.insert(format!("{name}-{reply:?}"), told);
        }
    }

    fn example(&mut self, name: &str, value: Json) {
        self.examples.insert(name.into(), json!({"value": value}));
    }

    /// A body of a kind, for what has one of these shapes.
    pub(super) fn body(&self, kind: Body, names: &[&str]) -> Json {
        match names {
            [name] => json!({"$ref": format!("#/components/requestBodies/{name}-{kind:?}")}),
            names => self.told_body(kind, names),
        }
    }

    /// A reply of a kind, for what has one of these shapes.
    pub(super) fn reply(&self, kind: Reply, names: &[&str]) -> Json {
        match names {
            [name] => json!({"$ref": format!("#/components/responses/{name}-{kind:?}")}),
            names => self.told_reply(kind, names),
        }
    }

    /// Something with a shape, and with the examples of each of some that there are.
    fn content(&self, schema: Json, names: &[&str], ending: &str) -> Json {
        let named = names.iter().map(|name| (name.to_string(), format!("{name}-{ending}")));
        let known = named.filter(|(_, example)| self.examples.contains_key(example));
        let refer = |(name, example)| (name, json!({"$ref": format!("#/components/examples/{example}")}));
        let examples: Map<String, Json> = known.map(refer).collect();
        let mut content = json!({"schema": schema});
        if !examples.is_empty() {
            content["examples"] = examples.into();
        }
        content
    }

    fn told_body(&self, kind: Body, names: &[&str]) -> Json {
        let content = match kind {
            Body::Create => {
                let one = created(names);
                let many = json!({"type": "array", "items": one});
                let mut lines = json!({"schema": {"type": "string", "description": "A resource a line"}});
                let examples = names.iter().filter_map(|name| self.examples.get(&format!("{name}-Facts")));
                let example: String = examples.map(|example| format!("{}\n", example["value"])).collect();
                if !example.is_empty() {
                    lines["example"] = example.into();
                }
                json!({
                    "application/json": self.content(json!({"oneOf": [one, many]}), names, "Facts"),
                    "application/x-ndjson": lines,
                })
            }
            Body::Replace => {
                json!({"application/json": self.content(any_of(names, "Facts"), names, "Facts")})
            }
            Body::Change => {
                let merge = self.content(any_of(names, "Patch"), names, "Patch");
                json!({
                    "application/json": merge,
                    "application/merge-patch+json": merge,
                    "application/json-patch+json": self.content(reference("JsonPatch"), names, "JsonPatch"),
                    "application/vnd.corollary.update+json":
                        self.content(reference("UpdateActions"), names, "UpdateActions"),
                })
            }
        };
        json!({"required": true, "content": content})
    }

    fn told_reply(&self, kind: Reply, names: &[&str]) -> Json {
        let one = any_of(names, "");
        let (what, schema, example, besides): (_, _, _, &[&str]) = match kind {
            Reply::Read => (
                "The resource; or why a value of it is what it is; or events",
                json!({"oneOf": [one, reference("Why")]}),
                "Shown",
                &[
                    "ETag",
                    "Content-Location",
                    "Corollary-Revision",
                    "Corollary-Store-Reads",
                    "Corollary-Pending",
                ],
            ),
            Reply::List => (
                "A page; or, line by line, all of it; or events",
                json!({"oneOf": [any_of_pages(names), reference("Explained")]}),
                "Page",
                &["ETag", "Corollary-Revision", "Corollary-Store-Reads", "Corollary-Pending"],
            ),
            Reply::Created => (
                "What was created: one, or a list of them",
                json!({"oneOf": [one, {"type": "array", "items": one}]}),
                "Shown",
                &["ETag", "Location"],
            ),
            Reply::Written => (
                "The resource as it is now; of a dry run what it would do",
                json!({"oneOf": [one, reference("DryRun")]}),
                "Shown",
                &["ETag"],
            ),
        };
        let mut content = json!({"application/json": self.content(schema, names, example)});
        let lines = match kind {
            Reply::Read => Some("Of a watch its events, an event a line"),
            Reply::List => {
                Some("All that is found, a resource a line; of a watch its events, an event a line")
            }
            Reply::Created | Reply::Written => None,
        };
        if let Some(lines) = lines {
            // Some take the shape of a stream for that of all of it, and some for that of each event: so there is none.
            let events = "Events; the data of each is JSON with a `type` and a `revision`";
            content["text/event-stream"] = json!({"schema": {"description": events}});
            content["application/x-ndjson"] = json!({"schema": {"type": "string", "description": lines}});
        }
        let written: &[&str] = if lines.is_none() { &WRITTEN } else { &[] };
        json!({"description": what, "headers": headers(&[besides, written].concat()), "content": content})
    }

    /// The components as the document has them.
    pub(super) fn into_json(self) -> Json {
        json!({
            "schemas": self.schemas,
            "parameters": shared_parameters(),
            "headers": shared_headers(),
            "requestBodies": self.bodies,
            "responses": self.replies,
            "examples": self.examples,
        })
    }
}

/// A page of what has one of these shapes.
fn any_of_pages(names: &[&str]) -> Json {
    match names {
        [name] => reference(&format!("{name}Page")),
        names => page_of(any_of(names, "")),
    }
}

/// What creates a resource in a list: where it is of several types, with the one that it has.
fn created(names: &[&str]) -> Json {
    let [_] = names else {
        let of = |name: &&str| {
            // The name of a shape is that of its type, with more behind it where that is taken.
            let said = name.strip_suffix("-Type").unwrap_or(name);
            let named = json!({"required": ["_type"], "properties": {"_type": {"const": said}}});
            json!({"allOf": [reference(&format!("{name}Facts")), named]})
        };
        return json!({"oneOf": names.iter().map(of).collect::<Json>()});
    };
    any_of(names, "Facts")
}
