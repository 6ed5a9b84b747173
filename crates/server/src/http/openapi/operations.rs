//! What may be done at a path: at a list, at one of its members, at links, at what one link leads to.

use serde_json::{Map, Value as Json, json};

use super::components::{Body, Components, Reply};
use super::names::Noun;
use super::parts::{body, item, object, operation, page_of, reference, told_as};
use super::shared::{
    READ_PROBLEMS, WRITE_PROBLEMS, headers, or_problems, parameters, read_parameters, reply, write_parameters,
};
use crate::patch;

/// What a list takes.
const LIST: [&str; 14] = [
    "filter",
    "order",
    "limit",
    "page_token",
    "fields",
    "expand",
    "count",
    "allow_scan",
    "explain",
    "watch",
    "since",
    "at",
    "if_none_match",
    "last_event_id",
];

/// What one resource takes.
const ONE: [&str; 8] = ["fields", "expand", "watch", "since", "at", "why", "if_none_match", "last_event_id"];

/// What is at a path: what it is called, the shapes that it may have, and the parameters of the path.
pub(super) struct At<'a> {
    pub(super) components: &'a Components,
    pub(super) noun: &'a Noun,
    pub(super) names: &'a [&'a str],
    pub(super) parameters: &'a [Json],
}

impl At<'_> {
    /// What these are called by people.
    fn called(&self) -> String {
        self.names.join(" or ")
    }

    fn reads(&self, mut operation: Json, kind: Reply, takes: &[&str]) -> Json {
        operation["parameters"] = read_parameters(takes).into();
        let replies = json!({"200": self.components.reply(kind, self.names), "304": reply("NotModified")});
        operation["responses"] = or_problems(replies, &READ_PROBLEMS);
        operation
    }

    /// Lists, or watches.
    fn listing(&self) -> Json {
        let summary = format!("List or watch {}", self.names.join(" and "));
        self.reads(operation(&format!("list{}", self.noun.many), &summary), Reply::List, &LIST)
    }

    /// Reads one, or watches it.
    fn reading(&self) -> Json {
        let summary = format!("Read a {}, or watch it", self.called());
        let mut get = self.reads(operation(&format!("get{}", self.noun.one), &summary), Reply::Read, &ONE);
        get["responses"]["412"] = reply("PreconditionFailed");
        get
    }

    /// What may be done at a list that creates.
    pub(super) fn list(&self) -> Json {
        let what = format!("Create a {}; a list, or lines of NDJSON, creates all or none", self.called());
        let mut post = operation(&format!("create{}", self.noun.many), &what);
        post["parameters"] = write_parameters(&[]).into();
        post["requestBody"] = self.components.body(Body::Create, self.names);
        let replies =
            json!({"200": reply("DryRun"), "201": self.components.reply(Reply::Created, self.names)});
        post["responses"] = or_problems(replies, &WRITE_PROBLEMS);
        item(self.parameters, [("get", self.listing()), ("post", post)])
    }

    /// What may be done at a list that follows from others.
    pub(super) fn read_only(&self) -> Json {
        item(self.parameters, [("get", self.listing())])
    }

    /// What may be done with the links of what has one of some shapes; `link` is an example of one.
    pub(super) fn links(&self, owners: &[&str], link: &Json) -> Json {
        let what = format!("Add a {} to the links; nothing happens where it is there already", self.called());
        let mut post = operation(&format!("add{}", self.noun.many), &what);
        post["parameters"] = write_parameters(&["if_match"]).into();
        let one = reference("Link");
        // What leads to one of several types is added one by one.
        let mut sent = body(match self.names {
            [_] => json!({"oneOf": [one, {"type": "string"}, {"type": "array", "items": one}]}),
            _ => one,
        });
        sent["content"]["application/json"]["example"] = link.clone();
        post["requestBody"] = sent;
        let mut replies = json!({"200": self.components.reply(Reply::Written, owners)});
        if self.names.len() == 1 {
            let none = json!({"type": "array", "maxItems": 0});
            replies["201"] = told_as("All of a list are there", "application/json", none);
        }
        post["responses"] = or_problems(replies, &WRITE_PROBLEMS);
        item(self.parameters, [("get", self.listing()), ("post", post)])
    }

    /// What may be done with a member of links.
    pub(super) fn linked(&self) -> Json {
        let what = format!("Take a {} out of the links; it stays itself", self.called());
        item(self.parameters, [("get", self.reading()), ("delete", self.deletes("remove", &what))])
    }

    /// What may be done with what one link leads to; it may be empty where it may be unlinked.
    pub(super) fn led_to(&self, unlinks: bool) -> Json {
        let what = "Make the link lead nowhere; what it led to stays itself";
        match unlinks {
            true => {
                item(self.parameters, [("get", self.reading()), ("delete", self.deletes("unlink", what))])
            }
            false => item(self.parameters, [("get", self.reading())]),
        }
    }

    /// What may be done with one of whichever types it is, where each has a list of its own.
    pub(super) fn of_any(&self) -> Json {
        item(self.parameters, [("get", self.reading())])
    }

    fn deletes(&self, verb: &str, summary: &str) -> Json {
        let mut delete = operation(&format!("{verb}{}", self.noun.one), summary);
        delete["parameters"] = write_parameters(&["if_match"]).into();
        let replies = json!({"200": reply("DryRun"), "204": reply("Deleted")});
        delete["responses"] = or_problems(replies, &WRITE_PROBLEMS);
        delete
    }

    /// What may be done with one member of a list that creates.
    pub(super) fn one(&self) -> Json {
        let name = self.called();
        let writes = |verb: &str, summary: String, sent: Body, takes: &[&str]| {
            let mut operation = operation(&format!("{verb}{}", self.noun.one), &summary);
            operation["parameters"] = write_parameters(takes).into();
            operation["requestBody"] = self.components.body(sent, self.names);
            let replies = json!({"200": self.components.reply(Reply::Written, self.names)});
            operation["responses"] = or_problems(replies, &WRITE_PROBLEMS);
            operation
        };
        let summary = format!("Replace a {name}; with `If-None-Match: *`, create it with this id");
        let mut put = writes("replace", summary, Body::Replace, &["if_match", "if_absent"]);
        put["responses"]["201"] = self.components.reply(Reply::Created, self.names);
        let summary = format!("Change a {name} by a merge patch, a JSON Patch, or update actions");
        let patch = writes("patch", summary, Body::Change, &["if_match"]);
        let summary = format!("Delete a {name}, its children, and what its links say");
        item(
            self.parameters,
            [
                ("get", self.reading()),
                ("put", put),
                ("patch", patch),
                ("delete", self.deletes("delete", &summary)),
            ],
        )
    }

    /// What is asked of a list with a body, by the verb behind its path; `changes` where that may write.
    pub(super) fn by_condition(&self, changes: bool) -> Vec<(&'static str, Json)> {
        let name = self.called();
        let condition = reference("Condition");
        let flag = json!({"type": "boolean"});
        let count = object(&[], json!({"where": condition, "allow_scan": flag}));
        let kinds = json!({"enum": patch::Kind::CONTENT_TYPES});
        let update = object(
            &["patch"],
            json!({"where": condition, "patch": {}, "allow_scan": flag, "content_type": kinds}),
        );
        let delete = object(&["where"], json!({"where": condition, "allow_scan": flag}));
        let found = self.components.reply(Reply::List, self.names);
        let asked = [
            ("_query", "query", format!("List {name}, asked with a body"), reference("Query"), found, false),
            ("_count", "count", format!("Count {name}"), count, reply("Counted"), false),
            (
                "_update",
                "updateMatching",
                format!("Change every {name} that matches"),
                update,
                reply("Changed"),
                true,
            ),
            (
                "_delete",
                "deleteMatching",
                format!("Delete every {name} that matches"),
                delete,
                reply("Changed"),
                true,
            ),
        ];
        let asked = asked.into_iter().filter(|(.., writes)| changes || !writes);
        let told = asked.map(|(segment, verb, summary, sent, replied, writes)| {
            let mut post = operation(&format!("{verb}{}", self.noun.many), &summary);
            post["requestBody"] = body(sent);
            let (takes, problems): (_, &[&str]) = match writes {
                true => (write_parameters(&[]), &WRITE_PROBLEMS),
                false => (read_parameters(&[]), &READ_PROBLEMS),
            };
            post["parameters"] = takes.into();
            post["responses"] = or_problems(json!({"200": replied}), problems);
            if !writes {
                // It is asked with a body.
                for (status, name) in [("413", "ContentTooLarge"), ("415", "UnsupportedMediaType")] {
                    post["responses"][status] = reply(name);
                }
            }
            (segment, item(self.parameters, [("post", post)]))
        });
        told.collect()
    }

    /// Writes what one was at a revision.
    pub(super) fn revert(&self) -> Json {
        let name = self.called();
        let summary =
            format!("Write the facts that a {name} had at a revision; one that is gone is created again");
        let mut post = operation(&format!("revert{}", self.noun.one), &summary);
        post["parameters"] = write_parameters(&["if_match"]).into();
        let revision = json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
        post["requestBody"] = body(object(&["to"], json!({"to": revision})));
        let replies = json!({
            "200": self.components.reply(Reply::Written, self.names),
            "201": self.components.reply(Reply::Created, self.names),
            "410": reply("Gone"),
        });
        post["responses"] = or_problems(replies, &WRITE_PROBLEMS);
        item(self.parameters, [("post", post)])
    }

    /// Lists what one was.
    pub(super) fn versions(&self) -> Json {
        let summary = format!("What a {} was, the latest first", self.called());
        let mut get = operation(&format!("get{}Versions", self.noun.one), &summary);
        get["parameters"] = parameters(&["limit", "page_token", "at_least"]).into();
        let version = json!({"type": "object", "required": ["revision", "type"], "properties": {
            "revision": {"type": "string"},
            "type": {"enum": ["found", "created", "modified", "deleted"]},
            "time": {"type": "string", "format": "date-time"},
            "actor": {"type": "string"},
            "changed": {"type": "array", "items": {"type": "string"}},
            "resource": super::parts::any_of(self.names, ""),
        }});
        let mut page = told_as("A page of versions", "application/json", page_of(version));
        page["headers"] = headers(&["Corollary-Revision"]);
        get["responses"] = or_problems(json!({"200": page}), &READ_PROBLEMS);
        item(self.parameters, [("get", get)])
    }
}

/// Leaves of a path the methods that are among some, and its parameters.
pub(super) fn only(path: &mut Json, methods: &str) {
    let is_method = |name: &str| methods.split(", ").any(|method| method.eq_ignore_ascii_case(name));
    if let Some(members) = path.as_object_mut() {
        let kept: Map<String, Json> = std::mem::take(members);
        members.extend(kept.into_iter().filter(|(name, _)| name == "parameters" || is_method(name)));
    }
}
