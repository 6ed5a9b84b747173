//! From a request that writes to the writes of a transaction.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode, header};
use corollary_engine::updates::settled::{READ_LIMIT, Settled};
use corollary_engine::working::Working;
use corollary_engine::{Decision, Doc, Edit, EngineError, Key, Refusal, Write, among};
use corollary_schema::plan::follows::linked_type;
use corollary_schema::typed::mentions_now;
use corollary_schema::{Field, FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_syntax::nearest;
use corollary_value::{Id, Value};
use hashbrown::HashSet;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{Fault, Limits, etags};
use crate::json::decode;
use crate::json::encode::Encoder;
use crate::json::held::Held;
use crate::json::links;
use crate::mounts::names_of;
use crate::patch::{Kind, Patch};
use crate::path::{List, Post, PostSeveral, Several, Target};
use crate::problem::Problem;

/// What a write replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// 201 and the new resource.
    Created,
    /// 200 and the resource.
    Resource,
    /// 204.
    Nothing,
}

/// The writes of one request, and which of them its reply is about.
#[derive(Debug)]
pub struct Prepared {
    /// In order.
    pub writes: Vec<Write>,
    /// The resource of the reply.
    pub key: Key,
    /// What is replied.
    pub replies: Replies,
}

/// Conditions on what is there, from `If-Match` and `If-None-Match`.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The resource is at one of these revisions.
    pub revisions: Option<Vec<u64>>,
    /// The resource is there.
    pub exists: bool,
    /// The resource is not there.
    pub absent: bool,
    /// Has one of them to be said by whoever writes over what is there?
    pub required: bool,
}

impl Conditions {
    /// From the headers of a request that writes.
    pub fn of(headers: &HeaderMap) -> Result<Conditions, Problem> {
        let mut conditions = Conditions::default();
        match etags(headers, header::IF_MATCH)? {
            Some(Some(revisions)) => conditions.revisions = Some(revisions),
            Some(None) => conditions.exists = true,
            None => {}
        }
        if let Some(tags) = etags(headers, header::IF_NONE_MATCH)? {
            if tags.is_some() {
                let detail = "a write takes `If-None-Match: *` only: create, if it is not there";
                return Err(Problem::malformed("if-none-match", detail));
            }
            conditions.absent = true;
        }
        Ok(conditions)
    }

    /// The same where the server may ask for them.
    pub fn asked_by(self, limits: &Limits) -> Conditions {
        Conditions { required: limits.conditions, ..self }
    }

    /// Refuses a write over what is there that does not say what that is, where this is asked for. Update actions that count,
    /// add, remove or move work on whatever is there.
    fn check(&self, method: &Method, kind: Kind, body: Option<&Json>) -> Result<(), Problem> {
        let said = self.revisions.is_some() || self.exists || self.absent && *method == Method::PUT;
        let actions =
            body.and_then(Json::as_array).filter(|_| (method, kind) == (&Method::PATCH, Kind::Actions));
        let over = |action: &Json| action.get("set").or_else(|| action.get("clear")).is_some();
        if said || !self.required || actions.is_some_and(|actions| !actions.iter().any(over)) {
            return Ok(());
        }
        Err(precondition_required())
    }
}

/// Nobody is to write over what was not read.
pub fn precondition_required() -> Problem {
    let detail = "this server asks whoever writes over something for the `If-Match` of what was read";
    Problem::new(StatusCode::PRECONDITION_REQUIRED, "precondition-required", detail)
}

/// The JSON object in a body.
pub fn object(json: Json) -> Result<Map<String, Json>, Problem> {
    match json {
        Json::Object(members) => Ok(members),
        _ => Err(Problem::malformed("body", "the body is a JSON object with the fields of the resource")),
    }
}

/// A new id.
pub fn fresh_id() -> Id {
    Id::Uuid(Uuid::now_v7())
}

/// What is wrong with creating these: an id that is taken, by what is there or by one before. An engine stops at the first
/// of them.
pub fn taken(working: &Working<'_>, keys: &[Key]) -> Result<Vec<Refusal>, EngineError> {
    working.prefetch(keys.iter())?;
    let mut found = Vec::new();
    let mut seen = HashSet::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        if !seen.insert(key) || working.after(key)?.is_some() {
            let message = format!("{} {} is there already", working.schema.ty(key.ty).name, key.id);
            found.push(Refusal { write: Some(at), ..Refusal::new("exists", None, message) });
        }
    }
    Ok(found)
}

/// Where the link leads that a POST to links adds.
pub fn linked(ty: TypeIx, writes: &[Write]) -> Option<Key> {
    let [Write::Update(_, edits)] = writes else { return None };
    match &edits[..] {
        [(_, Edit::Link(id))] => Some(Key::new(ty, id.clone())),
        _ => None,
    }
}

/// What is wrong with adding links at a place to these: what they lead to is not there.
pub fn missing(working: &Working<'_>, targets: &[Key], place: &str) -> Result<Vec<Refusal>, EngineError> {
    working.prefetch(targets.iter())?;
    let mut found = Vec::new();
    for (at, target) in targets.iter().enumerate() {
        if working.after(target)?.is_none() {
            let name = &working.schema.ty(target.ty).name;
            let message = format!("`{place}` links to {name} {}, which is not there", target.id);
            found.push(Refusal { write: Some(at), ..Refusal::new("link", Some(place), message) });
        }
    }
    Ok(found)
}

/// One more of the links of a resource.
fn linking(schema: &Schema, ty: TypeIx, owner: &Key, slot: Slot, link: &Json) -> Result<Prepared, Problem> {
    let mut found = Vec::new();
    let target = decode::reference(schema, ty, link, "_id", &mut found);
    let Some(Value::Ref(id)) = target else { return Err(Problem::refused(found)) };
    let writes = vec![Write::Update(owner.clone(), vec![(slot, Edit::Link(id))])];
    Ok(Prepared { writes, key: owner.clone(), replies: Replies::Resource })
}

/// The creation of a resource under a list.
pub fn creation(schema: &Schema, list: &List, body: &Map<String, Json>) -> Result<Prepared, Problem> {
    match &list.post {
        Post::ReadOnly => Err(read_only()),
        Post::Link(owner, slot) => linking(schema, list.ty, owner, *slot, &Json::Object(body.clone())),
        Post::Root | Post::Child(..) => {
            let mut errors = Vec::new();
            let id = decode::id(body).unwrap_or_else(|refusal| {
                errors.push(refusal);
                None
            });
            let names = names_of(list.scope.as_ref(), schema);
            let facts = decode::facts(names, list.ty, body).unwrap_or_else(|refusals| {
                errors.extend(refusals);
                Vec::new()
            });
            if !errors.is_empty() {
                return Err(Problem::refused(errors));
            }
            let mut facts = facts;
            if let Post::Child(slot, parent) = &list.post {
                facts.push((*slot, Value::Ref(parent.id.clone())));
            }
            let key = Key::new(list.ty, id.unwrap_or_else(fresh_id));
            let writes = match &list.scope {
                Some(scope) => {
                    let facts = scope.with_forced(facts);
                    vec![Write::Create(key.clone(), facts), scope.end(key.clone())]
                }
                None => vec![Write::Create(key.clone(), facts)],
            };
            Ok(Prepared { writes, key, replies: Replies::Created })
        }
    }
}

/// Takes a link away that leads to a resource, if it still does.
fn unlinked(owner: &Key, slot: Slot, target: &Key) -> Write {
    let target = target.clone();
    let decide = move |working: &Working<'_>, owner: &Key, doc: Option<&Arc<Doc>>| {
        let parts = working.schema.ty(owner.ty).parts(slot);
        let leads = |slot: Slot, doc: &Doc| {
            let to = linked_type(working.schema, FieldRef { ty: owner.ty, slot });
            to == Some(target.ty) && *doc.get(slot) == Value::Ref(target.id.clone())
        };
        let still = doc.is_some_and(|doc| leads(slot, doc) || parts.iter().any(|part| leads(*part, doc)));
        Ok(Some(match still {
            true => Write::Update(owner.clone(), vec![(slot, Edit::Set(Value::Absent))]),
            false => Write::Read(owner.clone()),
        }))
    };
    Write::Decide(owner.clone(), Decision::new(decide))
}

/// What should not have been there.
pub fn there(schema: &Schema, key: &Key) -> Problem {
    let detail = format!("{} {} is there already", schema.ty(key.ty).name, key.id);
    Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", detail)
}

/// What is not there.
fn gone(schema: &Schema, key: &Key) -> Problem {
    let detail = format!("there is no {} {}", schema.ty(key.ty).name, key.id);
    Problem { errors: vec![Refusal::new("not-found", None, detail.clone())], ..Problem::not_found(detail) }
}

/// What a list replies that nothing can be put into.
pub fn read_only() -> Problem {
    Problem {
        detail: "the list follows from other fields: allowed here: GET".into(),
        ..Problem::not_allowed("GET")
    }
}

/// What is wrong with the id in a body for a resource that has one.
fn other_id(members: &Map<String, Json>, key: &Key) -> Option<Refusal> {
    match decode::id(members) {
        Ok(Some(id)) if id != key.id => {
            let message = format!("`_id` is {id}, and the path says {}: an id does not change", key.id);
            Some(Refusal::new("id", Some("_id"), message))
        }
        Ok(_) => None,
        Err(refusal) => Some(refusal),
    }
}

/// A body without the derived values that are what a read shows: who sends back what was read means no harm by them.
fn without_what_is_shown<'b>(
    working: &Working<'_>,
    names: &Schema,
    key: &Key,
    old: Option<&Doc>,
    members: &'b Map<String, Json>,
) -> Result<Cow<'b, Map<String, Json>>, EngineError> {
    let Some(old) = old else { return Ok(Cow::Borrowed(members)) };
    let resource = names.ty(key.ty);
    let may_be_shown = |field: &Field| {
        field.is_file() || field.extended.is_some() || matches!(field.kind, FieldKind::Derived { .. })
    };
    let mut fields = resource.slots().filter(|(_, field)| may_be_shown(field));
    if !fields.any(|(_, field)| members.contains_key(field.name.as_str())) {
        return Ok(Cow::Borrowed(members));
    }
    let mut left = members.clone();
    let given = |slot| members.contains_key(resource.field(slot).name.as_str());
    let settled = Settled::new(working);
    let settled = settled.fill(key, settled.doc(key, old, READ_LIMIT)?, READ_LIMIT, &given)?;
    for (slot, field) in resource.slots() {
        let derived = matches!(field.kind, FieldKind::Derived { .. });
        let Some(given) = members.get(field.name.as_str()) else { continue };
        if field.is_file() {
            if is_shown_file(working, old.get(slot), given)? {
                left.remove(field.name.as_str());
            }
            continue;
        }
        if !derived && field.extended.is_none() {
            continue;
        }
        let mut encoder = Encoder::new(working);
        let held = Held::by(working.schema, FieldRef { ty: key.ty, slot });
        encoder.value(settled.doc.get(resource.shown(slot)), held)?;
        if let (false, Ok(shown)) = (derived, serde_json::from_slice::<Json>(&encoder.out)) {
            if let Some(given) = left.get_mut(field.name.as_str()) {
                held.take_shown(given, &[&shown]);
            }
        } else if is_of_a_moment(&field.kind) {
            // What was read a moment ago is another value by now.
            left.remove(field.name.as_str());
        } else if serde_json::from_slice::<Json>(&encoder.out).is_ok_and(|shown| shown == *given) {
            left.remove(field.name.as_str());
        }
    }
    Ok(Cow::Owned(left))
}

/// Is it what is known of a file, with its path or without?
fn is_shown_file(working: &Working<'_>, value: &Value, given: &Json) -> Result<bool, EngineError> {
    let mut encoder = Encoder::new(working);
    encoder.value(value, Held::Plain)?;
    let mut given = given.clone();
    given.as_object_mut().map(|members| members.remove("_self"));
    Ok(serde_json::from_slice::<Json>(&encoder.out).is_ok_and(|shown| shown == given))
}

/// Tells of what a body says of files to which path their bytes go.
fn with_paths(
    working: &Working<'_>,
    names: &Schema,
    key: &Key,
    mut errors: Vec<Refusal>,
) -> Result<Vec<Refusal>, EngineError> {
    for refusal in errors.iter_mut().filter(|refusal| refusal.code == "file") {
        let name = refusal.path.as_deref().unwrap_or_default();
        let place = crate::path::canonical(working, key, None)?;
        let slot = names.ty(key.ty).named(name).map(|(slot, _)| slot);
        let at = slot.map_or(name, |slot| &working.schema.field(FieldRef { ty: key.ty, slot }).name);
        refusal.message = format!("`{name}` is a file: PUT its bytes to {place}/{at}");
    }
    Ok(errors)
}

/// What a POST to a list of several types does where it is not the creation of a child: one more of links to several
/// types. A root collection of an abstract type takes none, since each type has its own.
fn add<'b>(
    schema: &Schema,
    several: &Several,
    method: &Method,
    members: impl Fn() -> Result<&'b Map<String, Json>, Problem>,
) -> Result<Prepared, Problem> {
    let (owner, slot) = match &several.post {
        PostSeveral::Link(owner, slot) => (owner, slot),
        PostSeveral::Roots => return Err(roots(schema, several)),
        PostSeveral::ReadOnly => return Err(read_only()),
        // What kind of body it is not, where it is a POST: the children of one are told apart by it.
        PostSeveral::Child(_) if method == Method::POST => {
            return Err(members().err().unwrap_or_else(read_only));
        }
        PostSeveral::Child(_) => return Err(Problem::not_allowed("GET, POST")),
    };
    if method != Method::POST {
        return Err(Problem::not_allowed("GET, POST"));
    }
    let mut found = Vec::new();
    let types: Vec<TypeIx> = several.lists.iter().map(|(ty, _)| *ty).collect();
    let body = Json::Object(members()?.clone());
    let Some(link) = crate::json::among::reference(schema, &types, &body, "_id", &mut found) else {
        return Err(Problem::refused(found));
    };
    let writes = vec![Write::Update(owner.clone(), vec![(*slot, Edit::Add(vec![link]))])];
    Ok(Prepared { writes, key: owner.clone(), replies: Replies::Resource })
}

/// The list of its own type that a new child of several types goes to, by the `_type` in its body.
pub fn list_of_child(schema: &Schema, several: &Several, body: &Map<String, Json>) -> Result<List, Problem> {
    let names: Vec<&str> = several.lists.iter().map(|(ty, _)| schema.ty(*ty).name.as_str()).collect();
    let types = || names.join(" or ");
    let message = match body.get("_type") {
        None | Some(Json::Null) => format!("`_type` is required: it says what this is, {}", types()),
        Some(Json::String(name)) => {
            let at = names.iter().position(|other| other == name);
            if let Some(list) = at.and_then(|at| several.list(at)) {
                return Ok(list);
            }
            let near = nearest(name, names.iter().copied());
            let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            format!("`{name}` is not held here: `_type` is {}{help}", types())
        }
        Some(_) => format!("`_type` is the name of a type: {}", types()),
    };
    Err(Problem::refused(vec![Refusal::new("type", Some("_type"), message)]))
}

/// What the root collection of an abstract type replies to what would put something into it.
pub fn roots(schema: &Schema, several: &Several) -> Problem {
    let roots = several.lists.iter().filter_map(|(ty, _)| schema.ty(*ty).root.as_ref());
    let roots: Vec<String> = roots.map(|root| format!("{}/{root}", crate::path::PREFIX)).collect();
    let detail =
        format!("the list is of several types, each of which has its own: POST to {}", roots.join(" or "));
    Problem { detail, ..Problem::not_allowed("GET") }
}

/// Is it computed when it is read, from the time?
fn is_of_a_moment(kind: &FieldKind) -> bool {
    matches!(kind, FieldKind::Derived { expr, lazy: true, .. } if mentions_now(expr))
}

/// The writes of a request to what its path names, where some resources count as there that are about to be created.
pub fn prepare(
    working: &Working<'_>,
    target: &Target,
    method: &Method,
    body: Result<&Json, &Problem>,
    kind: Kind,
    conditions: &Conditions,
    created: &dyn Fn(&Key) -> bool,
) -> Result<Prepared, Fault> {
    let schema = working.schema;
    let scope = target.scope();
    let names = names_of(scope, schema);
    let chosen;
    let target = match (target, method, body) {
        (
            Target::Several(several @ Several { post: PostSeveral::Child(_), .. }),
            &Method::POST,
            Ok(Json::Object(members)),
        ) => {
            chosen = Target::List(list_of_child(schema, several, members)?);
            &chosen
        }
        _ => target,
    };
    let ty = match target {
        Target::List(list) => Some(list.ty),
        Target::Resource { key, .. } | Target::Linked { key, .. } => Some(key.ty),
        Target::Several(_) => None,
    };
    let by_id;
    let body = match (body, ty) {
        (Ok(Json::Object(members)), Some(ty)) if kind == Kind::Merge && links::has_names(working) => {
            let mut members = members.clone();
            links::by_path(working, names, ty, &mut members)?;
            by_id = Json::Object(members);
            Ok(&by_id)
        }
        (body, _) => body,
    };
    // What is not allowed at all is told before anything is said of the body.
    let members = || match body {
        Ok(Json::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::malformed("body", "the body is a JSON object with the fields of the resource")),
        Err(problem) => Err(Problem::clone(problem)),
    };
    let mut prepared = match (target, method) {
        (Target::List(List { post: Post::ReadOnly, .. }), _) => return Err(read_only().into()),
        // A link may be written as an id, or as a path.
        (Target::List(List { post: Post::Link(owner, slot), ty, .. }), &Method::POST)
            if body.is_ok_and(Json::is_string) =>
        {
            linking(schema, *ty, owner, *slot, body.unwrap_or(&Json::Null))?
        }
        (Target::List(list), &Method::POST) => creation(schema, list, members()?)?,
        (Target::Several(several), method) => add(schema, several, method, members)?,
        (Target::List(_), _) => return Err(Problem::not_allowed("GET, POST").into()),
        (Target::Linked { owner, slot, key, .. }, &Method::DELETE) => {
            let at = FieldRef { ty: owner.ty, slot: *slot };
            let write = match &schema.field(at).kind {
                FieldKind::Links { .. } => {
                    Write::Update(owner.clone(), vec![(*slot, Edit::Unlink(key.id.clone()))])
                }
                FieldKind::Among { many: true, .. } => {
                    let link = among::reference(schema, key.ty, key.id.clone());
                    Write::Update(owner.clone(), vec![(*slot, Edit::Remove(vec![link]))])
                }
                _ => unlinked(owner, *slot, key),
            };
            Prepared { writes: vec![write], key: owner.clone(), replies: Replies::Nothing }
        }
        // It shows what links here, or follows: what is deleted is deleted where it belongs.
        (Target::Resource { under: Some(Post::ReadOnly), key, .. }, &Method::DELETE) => {
            let place = crate::path::canonical(working, key, None)?;
            let detail = format!("the path follows from other fields: delete {place} itself");
            return Err(Problem { detail, ..Problem::not_allowed("GET, PUT, PATCH") }.into());
        }
        (Target::Resource { .. } | Target::Linked { .. }, method) => {
            if !matches!(*method, Method::PUT | Method::PATCH | Method::DELETE) {
                return Err(Problem::not_allowed("GET, PUT, PATCH, DELETE").into());
            }
            let Some(key) = target.resource(schema)?.cloned() else { return Err(read_only().into()) };
            let old = working.after(&key)?;
            // A revision that is asked for is another question: it is answered when the write is executed.
            let asked = conditions.absent || conditions.revisions.is_some() && scope.is_none();
            if old.is_none() && !asked && !created(&key) {
                // That it is gone is told before what is wrong with what should become of it.
                return Err(gone(schema, &key).into());
            }
            if !created(&key) {
                conditions.check(method, kind, body.ok())?;
            }
            if conditions.absent && *method != Method::PUT {
                // What is there is not to be there, and nothing becomes of what is not.
                let refused = if old.is_some() { there(schema, &key) } else { gone(schema, &key) };
                return Err(refused.into());
            }
            let mut before = Vec::new();
            let (write, replies) = match *method {
                Method::PUT => {
                    let members = &without_what_is_shown(working, names, &key, old.as_deref(), members()?)?;
                    let mut errors = Vec::new();
                    errors.extend(other_id(members, &key));
                    if conditions.absent && old.is_some() {
                        return Err(there(schema, &key).into());
                    }
                    let facts = decode::replacement(names, key.ty, members, old.as_deref());
                    let mut facts = facts.unwrap_or_else(|refusals| {
                        errors.extend(refusals);
                        Vec::new()
                    });
                    if !errors.is_empty() {
                        return Err(Problem::refused(with_paths(working, names, &key, errors)?).into());
                    }
                    if conditions.absent {
                        match target {
                            Target::Resource { under: Some(Post::Root), .. } => {}
                            Target::Resource { under: Some(Post::Child(slot, parent)), .. } => {
                                facts.push((*slot, Value::Ref(parent.id.clone())));
                            }
                            // What is linked, or follows, is not created where it shows.
                            _ => return Err(gone(schema, &key).into()),
                        }
                        if let Some(scope) = scope {
                            facts = scope.with_forced(facts);
                        }
                        (Write::Create(key.clone(), facts), Replies::Created)
                    } else {
                        let write = match scope {
                            Some(scope) => scope.replace(key.clone(), facts),
                            None => Write::Replace(key.clone(), facts),
                        };
                        (write, Replies::Resource)
                    }
                }
                Method::PATCH if kind != Kind::Merge => {
                    let body = body.map_err(Problem::clone)?;
                    let patch = Patch::parse(names, key.ty, kind, body)?;
                    before = patch.before(&key);
                    if scope.is_some() && !before.is_empty() {
                        let message = "behind a resource in a mount all is read only: move by its own path";
                        return Err(Problem::refused(vec![Refusal::new("read-only", None, message)]).into());
                    }
                    (patch.write(key.clone(), scope), Replies::Resource)
                }
                Method::PATCH => {
                    let members = &without_what_is_shown(working, names, &key, old.as_deref(), members()?)?;
                    let mut errors = Vec::from_iter(other_id(members, &key));
                    let edits = decode::merge_patch(names, key.ty, members, old.as_deref());
                    let edits = edits.unwrap_or_else(|refusals| {
                        errors.extend(refusals);
                        Vec::new()
                    });
                    if !errors.is_empty() {
                        return Err(Problem::refused(with_paths(working, names, &key, errors)?).into());
                    }
                    (Write::Update(key.clone(), edits), Replies::Resource)
                }
                _ => (Write::Delete(key.clone()), Replies::Nothing),
            };
            let mut writes = before;
            writes.push(write);
            if let Some(scope) = scope {
                if replies != Replies::Created {
                    writes.insert(0, scope.begin(key.clone()));
                }
                if replies != Replies::Nothing {
                    writes.push(scope.end(key.clone()));
                }
            }
            Prepared { writes, key, replies }
        }
    };
    // What is not in the scope is not there, whatever its revision.
    let first = usize::from(scope.is_some() && prepared.replies != Replies::Created);
    if let Some(revisions) = &conditions.revisions {
        prepared.writes.insert(first, Write::Require(prepared.key.clone(), revisions.clone()));
    } else if conditions.exists {
        prepared.writes.insert(first, Write::Read(prepared.key.clone()));
    }
    Ok(prepared)
}
