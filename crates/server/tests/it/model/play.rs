//! A server and the model side by side: each request goes to both.

use std::collections::BTreeMap;

use super::answer::{Answer, answer};
use super::compare;
use super::coverage::{self, Seen};
use super::log::Log;
use super::paths::{self, List, Place, Post};
use super::reads;
use super::request::{Body, CURRENT, Expected, Made, Request, Tag};
use super::schema::{Kind, MOUNTS, Type};
use super::state::State;
use super::watches::Watches;
use crate::common::{Client, Json, Place as Folder, Reply, Server, json};

/// What was replied to a request with a key.
struct Kept {
    request: (String, Vec<u8>, Vec<(String, String)>),
    reply: Reply,
}

pub struct Play {
    // Ends before its folder.
    server: Server,
    folder: Folder,
    client: Client,
    pub state: State,
    pub seen: Seen,
    watches: Watches,
    log: Log,
    kept: BTreeMap<String, Kept>,
    /// The entity tag of a list, and what it was of.
    tags: BTreeMap<String, (String, Json)>,
}

impl Play {
    pub fn begin(store: Option<String>) -> Result<Play, String> {
        let mut folder = Folder::new(super::schema::SCHEMA);
        folder.store = store;
        let server = folder.serve();
        let mut client = server.client();
        let mut state = State::default();
        for (id, record) in super::processors::all() {
            let path = format!("/api/_processors/{id}");
            let reply = send(&mut client, &Request::new("PUT", path).with(record), &[])?;
            if reply.status >= 300 {
                return Err(format!("the processor {id}: {}", reply.text()));
            }
        }
        for (root, body) in [
            (
                "people",
                json!([{"_id": "p1", "name": "ann"}, {"_id": "p2", "name": "bob", "age": 31, "boss": "p1"}]),
            ),
            ("shops", json!([{"_id": "s0", "name": "alpha"}, {"_id": "s1", "name": "beta"}])),
        ] {
            let request = Request::new("POST", format!("/api/{root}")).with(body);
            let reply = send(&mut client, &request, &[])?;
            let Answer { expected, after } = answer(&state, &request, &mut Made::default());
            compare::compare(&request, &reply, &expected)?;
            state = after.unwrap();
        }
        let watches = Watches::begin(&server.address, &state)?;
        let (log, kept, tags) = (Log::behind(&state), BTreeMap::new(), BTreeMap::new());
        Ok(Play { server, folder, client, state, seen: Seen::new(), watches, log, kept, tags })
    }

    /// Asks both, and compares; returns the ids that the server has made.
    pub fn ask(&mut self, request: &Request) -> Result<Vec<String>, String> {
        let tags = self.tags_of(request);
        let request = &self.with_revisions(request);
        let reply = send(&mut self.client, request, &tags)?;
        if let Some(key) = request.key.clone().filter(|_| !request.reads()) {
            let (headers, bytes) = request.content();
            let headers: Vec<(String, String)> =
                headers.into_iter().map(|(name, value)| (name.to_string(), value)).chain(tags).collect();
            let sent = (format!("{} {}", request.method, request.target()), bytes, headers);
            if let Some(kept) = self.kept.get(&key) {
                again(kept, &sent, request, &reply)?;
                return Ok(Vec::new());
            }
            let ids = self.compare(request, &reply)?;
            if reply.status < 300 {
                self.kept.insert(key, Kept { request: sent, reply });
            }
            return Ok(ids);
        }
        self.compare(request, &reply)
    }

    fn compare(&mut self, request: &Request, reply: &Reply) -> Result<Vec<String>, String> {
        let ids = ids_made(reply);
        let new = |id: &String| is_made(id) && !self.state.docs.keys().any(|key| key.id() == id);
        let mut made = Made { ids: ids.into_iter().filter(new).collect(), taken: 0 };
        let Answer { expected, after } = answer(&self.state, request, &mut made);
        compare::compare(request, reply, &expected)?;
        coverage::note(&mut self.seen, request, &expected);
        if let Some(after) = after {
            self.watches.commit(&self.state, &after);
            self.log.commit(&self.state, &after);
            self.state = after;
        }
        if request.method == "GET" && request.behind.is_none() && expected.status == 200 {
            self.walk(request, reply, &expected)?;
        }
        made.ids.truncate(made.taken);
        Ok(made.ids)
    }

    /// Goes through the other pages of a list, and asks once more by its entity tag.
    fn walk(&mut self, request: &Request, reply: &Reply, expected: &Expected) -> Result<(), String> {
        let Some(page) = expected.body.as_ref().filter(|body| body.get("results").is_some()) else {
            return Ok(());
        };
        let target = request.target();
        let etag = reply.header("etag").unwrap_or_default().to_string();
        let mut content = page.clone();
        content["revision"] = Json::Null;
        let stays =
            self.tags.get(&target).filter(|(_, before)| *before == content).map(|(tag, _)| tag.clone());
        if let Some(before) = stays.filter(|before| *before != etag) {
            return Err(format!("the tag of {target} was {before}, is {etag}, and all is as it was"));
        }
        let none_match = [("if-none-match".to_string(), etag.clone())];
        let again = send(&mut self.client, request, &none_match)?;
        if again.status != 304 {
            return Err(format!("by its tag {etag} the same list is {}", again.status));
        }
        self.tags.insert(target, (etag, content));
        let Some(all) = reads::found_pages(&self.state, request) else { return Ok(()) };
        let mut found: Vec<Json> = Vec::new();
        let mut page: Json = reply.json();
        loop {
            found.extend(page["results"].as_array().cloned().unwrap_or_default());
            let Some(next) = page["next"].as_str() else { break };
            let reply = send(&mut self.client, &Request::new("GET", next), &[])?;
            if reply.status != 200 {
                return Err(format!("{next}: {}", reply.text()));
            }
            page = reply.json();
        }
        compare::same(&found.into(), &all.into()).map_err(|error| format!("all pages: {error}"))
    }

    /// A batch with the revisions that its items ask for.
    fn with_revisions(&self, request: &Request) -> Request {
        let mut request = request.clone();
        let Body::Json(Json::Array(items)) = &mut request.body else { return request };
        for item in items.iter_mut().filter(|item| item["if_match"] == CURRENT) {
            let path = item["path"].as_str().unwrap_or_default();
            let key = match paths::resolve(&self.state, &paths::segments(path)) {
                Ok(Place::One { key, .. } | Place::Linked { key, .. }) => Some(key),
                _ => None,
            };
            let revision = key.and_then(|key| self.state.docs.get(&key)).map_or(0, |doc| doc.revision);
            item["if_match"] = revision.to_string().into();
        }
        request
    }

    /// The headers of entity tags that a request wants.
    fn tags_of(&self, request: &Request) -> Vec<(String, String)> {
        let path = match &request.body {
            Body::Json(body) if request.path == "/api/_move" => body["from"].as_str().unwrap_or_default(),
            _ => &request.path,
        };
        let key = match paths::resolve(&self.state, &paths::segments(path)) {
            Ok(Place::Linked { owner, .. }) if request.method == "DELETE" => Some(owner),
            Ok(Place::One { key, .. } | Place::Linked { key, .. }) => Some(key),
            Ok(Place::List(List { post: Post::Link(owner, _), .. })) => Some(owner),
            _ => None,
        };
        let revision = key.and_then(|key| self.state.docs.get(&key)).map(|doc| doc.revision);
        let text = |tag: &Tag| match (tag, revision) {
            (Tag::Any, _) => "*".to_string(),
            (Tag::Current, Some(revision)) => format!("\"{revision}\""),
            _ => "\"0\"".to_string(),
        };
        let matches = request.if_match.iter().map(|tag| ("if-match".to_string(), text(tag)));
        let none = request.if_none_match.iter().map(|tag| ("if-none-match".to_string(), text(tag)));
        matches.chain(none).collect()
    }

    /// Reads everything there is, what the watches have told, and the log.
    pub fn check(&mut self) -> Result<(), String> {
        let mut all: Vec<Request> =
            ["people", "shops", "orders"].map(|root| Request::new("GET", format!("/api/{root}"))).into();
        all.extend(MOUNTS.iter().map(|mount| Request::new("GET", format!("/api/{}", mount.name))));
        for key in self.state.docs.keys() {
            let path = self.state.path(key);
            let lists = key.ty.fields().iter().filter(|field| {
                matches!(field.kind, Kind::Collection(_) | Kind::Inverse(..) | Kind::Links(..))
            });
            all.extend(lists.map(|field| Request::new("GET", format!("{path}/{}", field.name))));
            if key.ty == Type::Person {
                all.push(Request::new("GET", format!("{path}/orders")));
            }
            all.push(Request::new("GET", path));
        }
        for mut request in all {
            request.view.limit = None;
            self.ask(&request).map_err(|error| format!("then {}: {error}", request.shown()))?;
        }
        self.watches.check(&self.state)?;
        let Play { log, client, .. } = self;
        log.check(|request| send(client, request, &[]))
    }

    /// Ends it; what is stored must be what the oracle says.
    pub fn end(self) -> Result<Seen, String> {
        let Play { server, folder, client, seen, .. } = self;
        drop(client);
        server.stop();
        if folder.store.as_deref() == Some("memory") {
            return Ok(seen);
        }
        let output = folder.run(&["check"]);
        if output.status.success() { Ok(seen) } else { Err(crate::common::stdout(&output)) }
    }
}

fn send(client: &mut Client, request: &Request, more: &[(String, String)]) -> Result<Reply, String> {
    let (headers, bytes) = request.content();
    let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
    let more = more.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let headers: Vec<(&str, &str)> = headers.chain(more).collect();
    client.try_request(request.method, &request.target(), &headers, &bytes).map_err(|error| error.to_string())
}

/// What is sent again is told what it was told, or that it is another request.
fn again(
    kept: &Kept,
    sent: &(String, Vec<u8>, Vec<(String, String)>),
    request: &Request,
    reply: &Reply,
) -> Result<(), String> {
    if kept.request != *sent {
        return compare::compare(request, reply, &Expected::refused(422, "idempotency-key"));
    }
    let headers = |reply: &Reply| -> Vec<Option<String>> {
        let names = ["etag", "location", "content-location", "corollary-revision"];
        names.map(|name| reply.header(name).map(String::from)).into()
    };
    let same = reply.status == kept.reply.status
        && reply.body == kept.reply.body
        && headers(reply) == headers(&kept.reply);
    if same {
        return Ok(());
    }
    Err(format!(
        "sent again it is {} {}, and was {} {}",
        reply.status,
        reply.text(),
        kept.reply.status,
        kept.reply.text()
    ))
}

/// Ids of the form that the server makes.
fn is_made(id: &str) -> bool {
    uuid::Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 7)
}

/// The ids in a reply, in the order in which it tells of them.
fn ids_made(reply: &Reply) -> Vec<String> {
    let Ok(mut json) = serde_json::from_slice::<Json>(&reply.body) else { return Vec::new() };
    if json["dry_run"] == true {
        json = json["reply"].take();
    }
    let of = |json: &Json| {
        let of_item = json.get("body").and_then(|body| body["_id"].as_str());
        json["_id"].as_str().or(of_item).map(String::from)
    };
    match &json {
        Json::Array(items) => items.iter().filter_map(of).collect(),
        json => of(json).into_iter().collect(),
    }
}
