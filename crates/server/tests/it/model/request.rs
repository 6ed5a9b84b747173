//! What is asked of the server and of the model alike, and what the model expects.

use super::filter::{self, Filter};
use super::state::Object;
use super::values::Wrong;
use crate::common::client::encoded;
use crate::common::{Json, json};

/// An entity tag: what it is depends on what is there when its turn comes.
#[derive(Clone, Debug, PartialEq)]
pub enum Tag {
    Any,
    Current,
    Stale,
}

/// What stands behind a name in a path: a condition, and steps to what all have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behind {
    pub filter: Option<Filter>,
    pub steps: Vec<&'static str>,
}

impl Behind {
    fn text(&self) -> String {
        let filter = self.filter.as_ref().map(|filter| encoded(&format!("[{}]", filter.text())));
        let steps: Vec<String> = self.steps.iter().map(|step| format!(".{step}")).collect();
        format!("{}{}", filter.unwrap_or_default(), steps.concat())
    }
}

/// What is wanted of a list, or of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub filter: Option<Filter>,
    /// Paths, and whether they descend.
    pub order: Vec<(String, bool)>,
    pub limit: Option<usize>,
    pub count: bool,
    pub fields: Vec<String>,
    pub expand: Vec<Expand>,
}

/// A step that stands in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Expand {
    pub name: String,
    /// All of them where there are none.
    pub fields: Vec<String>,
    pub inner: Vec<Expand>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    None,
    Json(Json),
    /// A resource a line.
    Lines(Vec<Json>),
    /// What is no JSON, or of another kind.
    Raw(&'static str, String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub view: View,
    pub dry_run: bool,
    /// Of the query, as it is.
    pub extra: Option<&'static str>,
    pub if_match: Option<Tag>,
    pub if_none_match: Option<Tag>,
    pub key: Option<String>,
    /// As lines.
    pub in_lines: bool,
    /// What the path goes on to, behind its name.
    pub behind: Option<Behind>,
    pub body: Body,
    /// Of a body of JSON.
    pub content: &'static str,
}

/// Stands for the revision that the resource of an item of a batch has when the batch is sent.
pub const CURRENT: &str = "the current one";
pub const MERGE: &str = "application/json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const ACTIONS: &str = "application/vnd.corollary.update+json";

impl Request {
    pub fn new(method: &'static str, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            view: View::default(),
            dry_run: false,
            extra: None,
            if_match: None,
            if_none_match: None,
            key: None,
            in_lines: false,
            behind: None,
            body: Body::None,
            content: MERGE,
        }
    }

    pub fn with(self, body: Json) -> Request {
        Request { body: Body::Json(body), ..self }
    }

    pub fn reads(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }

    /// Path and query.
    pub fn target(&self) -> String {
        let mut query: Vec<String> = self.extra.iter().map(ToString::to_string).collect();
        if self.dry_run {
            query.push("dry_run=true".into());
        }
        if self.reads() {
            query.extend(self.view.parameters());
        }
        let path = format!("{}{}", self.path, self.behind.as_ref().map(Behind::text).unwrap_or_default());
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }

    /// The headers but for entity tags, and the bytes of the body.
    pub fn content(&self) -> (Vec<(&'static str, String)>, Vec<u8>) {
        let mut headers = Vec::new();
        let mut bytes = Vec::new();
        match &self.body {
            Body::None => {}
            Body::Json(json) => {
                headers.push(("content-type", self.content.to_string()));
                bytes = json.to_string().into_bytes();
            }
            Body::Lines(lines) => {
                headers.push(("content-type", "application/x-ndjson".into()));
                bytes = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            }
            Body::Raw(kind, text) => {
                headers.push(("content-type", kind.to_string()));
                bytes = text.clone().into_bytes();
            }
        }
        headers.extend(self.key.iter().map(|key| ("idempotency-key", key.clone())));
        headers.extend(self.in_lines.then(|| ("accept", "application/x-ndjson".to_string())));
        (headers, bytes)
    }

    /// A line that says what it is.
    pub fn shown(&self) -> String {
        let (headers, bytes) = self.content();
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let tags = match (&self.if_match, &self.if_none_match) {
            (None, None) => String::new(),
            (matches, none) => format!(" if-match {matches:?} if-none-match {none:?}"),
        };
        let body = String::from_utf8_lossy(&bytes).trim_end().replace('\n', "\\n");
        format!("{} {} [{}]{tags} {body}", self.method, self.target(), headers.join(", "))
    }

    /// The same with other ids in all its texts.
    pub fn with_ids(&self, other: &dyn Fn(&str) -> String) -> Request {
        let mut request = self.clone();
        request.path = other(&self.path);
        let behind = request.behind.as_mut().and_then(|behind| behind.filter.as_mut());
        behind.into_iter().chain(&mut request.view.filter).for_each(|filter| filter.replace_texts(other));
        match &mut request.body {
            Body::Json(json) => replace_texts(json, other),
            Body::Lines(lines) => lines.iter_mut().for_each(|line| replace_texts(line, other)),
            Body::None | Body::Raw(..) => {}
        }
        request
    }
}

/// Puts another text into the place of each in a value.
pub fn replace_texts(json: &mut Json, other: &dyn Fn(&str) -> String) {
    match json {
        Json::String(text) => *text = other(text),
        Json::Array(elements) => elements.iter_mut().for_each(|element| replace_texts(element, other)),
        Json::Object(members) => members.values_mut().for_each(|member| replace_texts(member, other)),
        _ => {}
    }
}

impl View {
    fn order(&self) -> Option<String> {
        let parts =
            self.order.iter().map(|(path, descends)| format!("{}{path}", if *descends { "-" } else { "" }));
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }

    fn expand(&self) -> Option<String> {
        let parts: Vec<String> = self.expand.iter().map(Expand::text).collect();
        (!parts.is_empty()).then(|| parts.join(","))
    }

    fn parameters(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            found.extend(value.map(|value| format!("{name}={}", encoded(&value))));
        };
        add("filter", self.filter.as_ref().map(Filter::text));
        add("order", self.order());
        add("limit", self.limit.map(|limit| limit.to_string()));
        add("count", self.count.then(|| "true".into()));
        add("fields", (!self.fields.is_empty()).then(|| self.fields.join(",")));
        add("expand", self.expand());
        found
    }

    /// The same as the body of a `_query`.
    pub fn body(&self) -> Json {
        let mut body = Object::new();
        let mut add =
            |name: &str, value: Option<Json>| body.extend(value.map(|value| (name.to_string(), value)));
        add("where", self.filter.as_ref().map(filter::Filter::tree));
        add("order", self.order().map(Json::from));
        add("size", self.limit.map(Json::from));
        add("count", self.count.then(|| true.into()));
        add("fields", (!self.fields.is_empty()).then(|| self.fields.join(",").into()));
        add("expand", self.expand().map(Json::from));
        body.into()
    }
}

impl Expand {
    fn text(&self) -> String {
        let mut inside: Vec<String> = self.fields.clone();
        inside.extend(self.inner.iter().map(Expand::text));
        match (&self.fields[..], &self.inner[..]) {
            ([], []) => self.name.clone(),
            ([], [one]) => format!("{}.{}", self.name, one.text()),
            _ => format!("{}{{{}}}", self.name, inside.join(",")),
        }
    }
}

/// What the model says that a reply is.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    pub status: u16,
    /// Of a refusal.
    pub code: Option<&'static str>,
    /// With their places, where it tells of some.
    pub wrong: Vec<Wrong>,
    pub body: Option<Json>,
    /// By names of headers.
    pub headers: Vec<(&'static str, String)>,
    /// Lines instead of one value.
    pub lines: Option<Vec<Json>>,
    /// Does a page lead on?
    pub more: bool,
    /// An item of a batch: it, or one behind it, is to blame. What can be told before anything is executed is told first.
    pub or_behind: Option<usize>,
}

/// A refusal, or what else ends a request early.
pub type Early<T> = Result<T, Box<Expected>>;

impl Expected {
    pub fn refused(status: u16, code: &'static str) -> Box<Expected> {
        Box::new(Expected { status, code: Some(code), ..Expected::default() })
    }

    pub fn not_found() -> Box<Expected> {
        Expected::refused(404, "not-found")
    }

    pub fn not_allowed(allow: &str) -> Box<Expected> {
        let headers = vec![("allow", allow.to_string())];
        Box::new(Expected { headers, ..*Expected::refused(405, "method-not-allowed") })
    }

    pub fn json(status: u16, body: impl Into<Json>) -> Expected {
        Expected { status, body: Some(body.into()), ..Expected::default() }
    }

    pub fn and(mut self, name: &'static str, value: impl Into<String>) -> Expected {
        self.headers.push((name, value.into()));
        self
    }

    pub fn etag(revision: u64) -> (&'static str, String) {
        ("etag", format!("\"{revision}\""))
    }
}

impl From<Vec<Wrong>> for Box<Expected> {
    fn from(wrong: Vec<Wrong>) -> Box<Expected> {
        let status = match wrong[0].code {
            "not-found" => 404,
            "exists" | "unique" | "restrict" | "move-cycle" => 409,
            "precondition" => 412,
            "patch" | "actions" | "batch" | "parameter" => 400,
            _ => 422,
        };
        Box::new(Expected { status, code: Some(wrong[0].code), wrong, ..Expected::default() })
    }
}

/// The ids that the server has made, in the order of its reply.
#[derive(Debug, Default)]
pub struct Made {
    pub ids: Vec<String>,
    pub taken: usize,
}

impl Made {
    pub fn next(&mut self) -> String {
        let id = self.ids.get(self.taken).cloned().unwrap_or_else(|| format!("made-{}", self.taken));
        self.taken += 1;
        id
    }
}

/// What a list of what is wrong says, as a client sees it.
pub fn told(wrong: &[Wrong]) -> Vec<Json> {
    wrong.iter().map(|wrong| json!({"code": wrong.code, "path": wrong.path, "item": wrong.item})).collect()
}
