//! What is declared of a hook: what it is about, where it goes, and how often that is tried.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};
use corollary_engine::EngineError;
use corollary_engine::Refusal;
use corollary_engine::records::{Kind, Records};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use super::sign::Secret;
use super::target::Target;
use super::{MAX_HOOKS, nats};
use crate::http::records::{merged, wrong};
use crate::path::PREFIX;

/// Records of hooks, by their ids.
pub const HOOK: Kind = Kind(0);

/// Headers that a hook may add, at most.
const MAX_HEADERS: usize = 16;

/// Bytes of a path, a filter, or the address.
const MAX_TEXT: usize = 8 << 10;

/// Deliveries at a time, at most.
pub const MAX_PARALLEL: u64 = 64;

/// The events that a watch tells of resources.
pub const EVENTS: [&str; 4] = ["added", "modified", "removed", "left"];

const MEMBERS: [&str; 10] = [
    "_id",
    "events",
    "filter",
    "headers",
    "parallel",
    "path",
    "paused",
    "retry",
    "secret",
    "timeout_seconds",
];
const RETRY_MEMBERS: [&str; 3] = ["first_seconds", "give_up_seconds", "most_seconds"];

/// How often a delivery is tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// How long it rests after the first attempt, in seconds; twice as long after each further one.
    pub first_seconds: f64,
    /// How long it rests at most.
    pub most_seconds: f64,
    /// How long after its first attempt it is given up.
    pub give_up_seconds: f64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { first_seconds: 1.0, most_seconds: 3_600.0, give_up_seconds: 86_400.0 }
    }
}

impl Retry {
    /// How long a delivery rests that has failed so often; `luck` is from 0 to 1, so that many do not come back at once.
    pub fn rest(&self, failures: u32, luck: f64) -> Duration {
        let doubled = self.first_seconds * 2_f64.powi(failures.saturating_sub(1).min(60) as i32);
        Duration::from_secs_f64(doubled.min(self.most_seconds) * (0.5 + luck.clamp(0.0, 1.0) / 2.0))
    }

    /// How long it is tried at all.
    pub fn give_up(&self) -> Duration {
        Duration::from_secs_f64(self.give_up_seconds)
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    /// Its id.
    pub id: SmolStr,
    /// The path that is watched, without `/api`, as `/orders`.
    pub path: String,
    /// A condition over what is there.
    pub filter: Option<String>,
    /// Which events are sent; all where there are none.
    pub events: Vec<SmolStr>,
    /// Where they go.
    pub url: String,
    /// With what they are signed.
    pub secret: Secret,
    /// Headers that go along.
    pub headers: BTreeMap<String, String>,
    /// Does it send nothing for now?
    pub paused: bool,
    /// Deliveries at a time.
    pub parallel: usize,
    /// How long the receiver may take, in seconds.
    pub timeout_seconds: f64,
    /// How often each is tried.
    pub retry: Retry,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub changed: Timestamp,
}

impl Hook {
    /// As it is declared in JSON, with defaults for what is not said; all that is wrong with it at once.
    ///
    /// # Errors
    ///
    /// What is wrong, with the member.
    pub fn read(json: &Map<String, Json>, id: SmolStr, now: Timestamp) -> Result<Hook, Vec<Refusal>> {
        let mut errors = Vec::new();
        for name in json.keys().filter(|name| *name != "url" && !MEMBERS.contains(&name.as_str())) {
            let near = corollary_syntax::nearest(name, MEMBERS.into_iter().chain(["url"]));
            let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            wrong(&mut errors, "unknown-field", name, format!("a hook has no `{name}`{help}"));
        }
        let mut text = |name: &str, needed: bool| match json.get(name) {
            Some(Json::String(text)) if !text.is_empty() && text.len() <= MAX_TEXT => Some(text.clone()),
            None | Some(Json::Null) if !needed => None,
            None | Some(Json::Null) => {
                wrong(&mut errors, "required", name, format!("`{name}` is required"));
                None
            }
            Some(_) => {
                let message = format!("`{name}` is a text of 1 to {MAX_TEXT} bytes");
                wrong(&mut errors, "type", name, message);
                None
            }
        };
        let (path, url, filter) = (text("path", true), text("url", true), text("filter", false));
        let secret = text("secret", false);
        let path = path.map(|path| {
            let path =
                path.strip_prefix(PREFIX).filter(|rest| rest.starts_with('/')).unwrap_or(&path).to_owned();
            if path.starts_with('/') { path } else { format!("/{path}") }
        });
        if path.as_ref().is_some_and(|path| path.contains(['?', '#'])) {
            wrong(
                &mut errors,
                "path",
                "path",
                "a path has no `?` and no `#`; a condition goes into `filter`",
            );
        }
        let target = url.as_deref().map(Target::parse);
        if let Some(Err(reason)) = &target {
            wrong(&mut errors, "url", "url", reason.clone());
        }
        let target = target.and_then(Result::ok);
        if secret.is_some() && target.as_ref().is_some_and(|target| *target != Target::Http) {
            wrong(&mut errors, "secret", "secret", "only what is sent over HTTP is signed");
        }
        let secret = match secret.as_deref().map(Secret::from_str) {
            None => Secret::fresh(),
            Some(Ok(secret)) => secret,
            Some(Err(reason)) => {
                wrong(&mut errors, "secret", "secret", reason);
                Secret::fresh()
            }
        };
        let (events, headers) = (read_events(json, &mut errors), read_headers(json, &mut errors));
        match &target {
            Some(Target::File(_)) if !headers.is_empty() => {
                wrong(&mut errors, "header", "headers", "a file takes no headers");
            }
            Some(Target::Nats(_)) => {
                if let Err((name, reason)) = nats::check_headers(&headers) {
                    wrong(&mut errors, "header", &format!("headers/{name}"), reason);
                }
            }
            _ => {}
        }
        let paused = match json.get("paused") {
            None | Some(Json::Null) => false,
            Some(Json::Bool(paused)) => *paused,
            Some(_) => {
                wrong(&mut errors, "type", "paused", "`paused` is true or false");
                false
            }
        };
        let parallel = match json.get("parallel") {
            None | Some(Json::Null) => 8,
            Some(number) => match number.as_u64().filter(|number| (1..=MAX_PARALLEL).contains(number)) {
                Some(number) => number as usize,
                None => {
                    let message = format!("`parallel` is a number from 1 to {MAX_PARALLEL}");
                    wrong(&mut errors, "type", "parallel", message);
                    1
                }
            },
        };
        let timeout_seconds = seconds(json, "", "timeout_seconds", 10.0, 60.0, &mut errors);
        let retry = read_retry(json, &mut errors);
        match (path, url) {
            (Some(path), Some(url)) if errors.is_empty() => Ok(Hook {
                id,
                path,
                filter,
                events,
                url,
                secret,
                headers,
                paused,
                parallel,
                timeout_seconds,
                retry,
                created: now,
                changed: now,
            }),
            _ => Err(errors),
        }
    }

    /// As it is declared, with everything that was left out; the secret only where it is to be shown.
    pub fn to_json(&self, secret: bool) -> Map<String, Json> {
        let mut shown = Map::new();
        shown.insert("_id".into(), self.id.as_str().into());
        shown.insert("_self".into(), format!("{PREFIX}/_hooks/{}", self.id).into());
        shown.insert("path".into(), self.path.as_str().into());
        if let Some(filter) = &self.filter {
            shown.insert("filter".into(), filter.as_str().into());
        }
        if !self.events.is_empty() {
            shown.insert("events".into(), json!(self.events.iter().map(SmolStr::as_str).collect::<Vec<_>>()));
        }
        shown.insert("url".into(), self.url.as_str().into());
        if secret && self.is_signed() {
            shown.insert("secret".into(), self.secret.to_string().into());
        }
        if !self.headers.is_empty() {
            // What is in them may be a secret too.
            let values = self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Json::from(if secret { value.as_str() } else { "***" })));
            shown.insert("headers".into(), Json::Object(values.collect()));
        }
        shown.insert("paused".into(), self.paused.into());
        shown.insert("parallel".into(), self.parallel.into());
        shown.insert("timeout_seconds".into(), self.timeout_seconds.into());
        shown.insert(
            "retry".into(),
            json!({
                "first_seconds": self.retry.first_seconds,
                "most_seconds": self.retry.most_seconds,
                "give_up_seconds": self.retry.give_up_seconds,
            }),
        );
        shown.insert("created_at".into(), self.created.to_string().into());
        shown.insert("changed_at".into(), self.changed.to_string().into());
        shown
    }

    /// The same hook with some members changed, as a merge patch says.
    ///
    /// # Errors
    ///
    /// As of [`Hook::read`].
    pub fn patched(&self, patch: &Map<String, Json>, now: Timestamp) -> Result<Hook, Vec<Refusal>> {
        let mut json = self.to_json(true);
        for name in ["_self", "created_at", "changed_at"] {
            json.remove(name);
        }
        if patch.get("_id").is_some_and(|id| id.as_str() != Some(&self.id)) {
            let mut errors = Vec::new();
            wrong(&mut errors, "immutable", "_id", "the id of a hook stays");
            return Err(errors);
        }
        let mut json = merged(json, patch);
        let url = json.get("url").and_then(Json::as_str);
        if url.is_some_and(|url| Target::parse(url) != Ok(Target::Http)) && !patch.contains_key("secret") {
            json.remove("secret");
        }
        // Who takes the secret away wants another one.
        let changed = Hook::read(&json, self.id.clone(), now)?;
        Ok(Hook { created: self.created, ..changed })
    }

    /// Is what is sent signed?
    pub fn is_signed(&self) -> bool {
        Target::parse(&self.url) == Ok(Target::Http)
    }

    /// Is an event of this kind sent?
    pub fn sends(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == event)
    }

    /// The hook with an id.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn load(records: &Records<'_>, id: &str) -> Result<Option<Hook>, EngineError> {
        let bytes = records.get(HOOK, id.as_bytes())?;
        bytes.map(|bytes| decoded(&bytes)).transpose()
    }

    /// All hooks, in the order of their ids.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn all(records: &Records<'_>) -> Result<Vec<Hook>, EngineError> {
        let rows = records.list(HOOK, &[], None, MAX_HOOKS)?;
        rows.into_iter().map(|(_, bytes)| decoded(&bytes)).collect()
    }

    /// Keeps it.
    pub fn keep(&self, records: &mut Records<'_>) {
        records.put(HOOK, self.id.as_bytes(), encoded(self));
    }
}

/// What is kept in a record.
pub(super) fn encoded(value: &impl Serialize) -> Vec<u8> {
    // Texts, numbers and maps with texts as keys: there is nothing that JSON does not have.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The same, read.
pub(super) fn decoded<T: for<'d> Deserialize<'d>>(bytes: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes)
        .map_err(|error| EngineError::Corrupt(format!("a record of a hook: {error}")))
}

/// Why something is no address that can be posted to.
pub(crate) fn no_address(url: &str) -> Option<String> {
    let parsed: Result<Uri, _> = url.parse();
    match parsed {
        Err(error) => Some(format!("`{url}` is no address: {error}")),
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() => {
            Some(format!("`{url}` is no address of the form https://host/path"))
        }
        Ok(uri) if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) => {
            Some("an address has no name and password; credentials go into `headers`".into())
        }
        Ok(_) => None,
    }
}

fn read_events(json: &Map<String, Json>, errors: &mut Vec<Refusal>) -> Vec<SmolStr> {
    let given = match json.get("events") {
        None | Some(Json::Null) => return Vec::new(),
        Some(Json::Array(given)) => given,
        Some(_) => {
            wrong(errors, "type", "events", format!("`events` is a list of {}", EVENTS.join(", ")));
            return Vec::new();
        }
    };
    let mut events: Vec<SmolStr> = Vec::new();
    for (at, event) in given.iter().enumerate() {
        match event.as_str().filter(|event| EVENTS.contains(event)) {
            Some(event) if !events.iter().any(|other| other == event) => events.push(event.into()),
            Some(_) => {}
            None => {
                let message = format!("there are the events {}, and no {event}", EVENTS.join(", "));
                wrong(errors, "enum", &format!("events/{at}"), message);
            }
        }
    }
    events
}

pub(crate) fn read_headers(json: &Map<String, Json>, errors: &mut Vec<Refusal>) -> BTreeMap<String, String> {
    let given = match json.get("headers") {
        None | Some(Json::Null) => return BTreeMap::new(),
        Some(Json::Object(given)) => given,
        Some(_) => {
            wrong(errors, "type", "headers", "`headers` is an object of texts");
            return BTreeMap::new();
        }
    };
    if given.len() > MAX_HEADERS {
        wrong(errors, "limit", "headers", format!("a hook adds at most {MAX_HEADERS} headers"));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let place = format!("headers/{name}");
        let known = HeaderName::from_str(name).ok();
        let text = value.as_str().filter(|text| HeaderValue::from_str(text).is_ok());
        let own = ["content-length", "content-type", "host", "transfer-encoding", "connection"];
        match (known, text) {
            (Some(name), _) if own.contains(&name.as_str()) || name.as_str().starts_with("webhook-") => {
                wrong(errors, "header", &place, format!("`{name}` is set by the server"));
            }
            (Some(name), Some(text)) => drop(headers.insert(name.as_str().to_owned(), text.to_owned())),
            _ => wrong(errors, "header", &place, "this is no header with a text"),
        }
    }
    headers
}

/// A number of seconds, more than nothing.
pub(crate) fn seconds(
    json: &Map<String, Json>,
    within: &str,
    name: &str,
    default: f64,
    most: f64,
    errors: &mut Vec<Refusal>,
) -> f64 {
    match json.get(name) {
        None | Some(Json::Null) => default,
        Some(number) => match number.as_f64().filter(|number| *number > 0.0 && *number <= most) {
            Some(number) => number,
            None => {
                let message = format!("`{name}` is a number of seconds above 0, at most {most}");
                wrong(errors, "type", &format!("{within}{name}"), message);
                default
            }
        },
    }
}

fn read_retry(json: &Map<String, Json>, errors: &mut Vec<Refusal>) -> Retry {
    let defaults = Retry::default();
    let given = match json.get("retry") {
        None | Some(Json::Null) => return defaults,
        Some(Json::Object(given)) => given,
        Some(_) => {
            wrong(errors, "type", "retry", format!("`retry` is an object of {}", RETRY_MEMBERS.join(", ")));
            return defaults;
        }
    };
    for name in given.keys().filter(|name| !RETRY_MEMBERS.contains(&name.as_str())) {
        let message = format!("`retry` has {}, and no `{name}`", RETRY_MEMBERS.join(", "));
        wrong(errors, "unknown-field", &format!("retry/{name}"), message);
    }
    let mut seconds =
        |name: &str, default: f64, most: f64| seconds(given, "retry/", name, default, most, errors);
    Retry {
        first_seconds: seconds("first_seconds", defaults.first_seconds, 3_600.0),
        most_seconds: seconds("most_seconds", defaults.most_seconds, 86_400.0),
        give_up_seconds: seconds("give_up_seconds", defaults.give_up_seconds, 30.0 * 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: Json) -> Map<String, Json> {
        match json {
            Json::Object(members) => members,
            other => panic!("no object: {other}"),
        }
    }

    fn read(json: Json) -> Result<Hook, Vec<Refusal>> {
        Hook::read(&object(json), "h".into(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn what_is_declared_comes_back_with_its_defaults() {
        let hook = read(json!({"path": "orders", "url": "https://a.example/in"})).expect("a hook");
        assert_eq!((hook.path.as_str(), hook.parallel, hook.retry), ("/orders", 8, Retry::default()));
        let again: Hook = decoded(&encoded(&hook)).expect("what was kept");
        assert_eq!(again, hook);
        let patched = hook
            .patched(&object(json!({"retry": {"first_seconds": 2}, "paused": true})), Timestamp::UNIX_EPOCH);
        let patched = patched.expect("a patched hook");
        assert_eq!(
            (patched.retry.first_seconds, patched.retry.most_seconds, patched.paused),
            (2.0, 3_600.0, true)
        );
        assert_eq!(patched.secret, hook.secret);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let errors = read(json!({
            "path": "/orders?x=1", "url": "ftp://x", "events": ["added", "gone"], "parallel": 0,
            "retry": {"first": 1}, "headers": {"Host": "x"}, "timeout_seconds": 600, "secret": "s", "pased": true,
        }));
        let places: Vec<_> =
            errors.expect_err("mistakes").into_iter().filter_map(|error| error.path).collect();
        assert_eq!(
            places,
            [
                "pased",
                "path",
                "url",
                "secret",
                "events/1",
                "headers/Host",
                "parallel",
                "timeout_seconds",
                "retry/first"
            ]
        );
    }

    #[test]
    fn rests_grow_to_their_limit_and_are_spread() {
        let retry = Retry { first_seconds: 1.0, most_seconds: 60.0, give_up_seconds: 100.0 };
        let rests = [1, 2, 3, 7, 1_000].map(|failures| retry.rest(failures, 1.0).as_secs());
        assert_eq!(rests, [1, 2, 4, 60, 60]);
        assert_eq!(retry.rest(3, 0.0), Duration::from_secs(2));
    }
}
