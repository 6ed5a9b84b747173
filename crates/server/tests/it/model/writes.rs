//! What one write of a resource, a list or a member of links does, as docs/http.md says it.

use super::bodies;
use super::patches;
use super::paths::{self, List, Nowhere, Place, Post};
use super::request::{ACTIONS, Early, Expected, JSON_PATCH, Made};
use super::schema::Field;
use super::state::{Held, Key, Object, State, Through};
use super::values::{self, Fill, Wrong};
use super::work::Work;
use crate::common::Json;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    Created,
    Resource,
    Nothing,
}

/// A write that has been done, but for what is asked at the end of its transaction.
#[derive(Clone, Debug)]
pub struct Done {
    pub key: Key,
    pub replies: Replies,
    pub through: Option<Through>,
}

/// Conditions on what is there.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub revision: Option<u64>,
    pub exists: bool,
    pub absent: bool,
}

/// What a request says.
pub struct Given<'r> {
    pub method: &'r str,
    /// What is wrong with it is told behind what is wrong with the path.
    pub body: Early<Json>,
    pub content: &'r str,
    pub conditions: Conditions,
}

impl From<Nowhere> for Box<Expected> {
    fn from(nowhere: Nowhere) -> Box<Expected> {
        match nowhere {
            Nowhere::NotFound => Expected::not_found(),
            Nowhere::Malformed => Expected::refused(400, "path"),
        }
    }
}

/// What a mount allows, whatever is there.
pub fn permit(segments: &[&str], method: &str, absent: bool) -> Early<()> {
    let Some((through, taken)) = paths::mount(segments) else { return Ok(()) };
    let behind = &segments[taken..];
    let [read, create, update, delete] = through.mount.allow;
    let allowed = match (behind, method) {
        (["_query" | "_count"], _) | (_, "GET" | "HEAD") => read,
        (["_update"], _) => update,
        (["_delete"], _) => delete,
        ([], "POST") => create,
        ([_], "PUT") if absent => create,
        ([_], "PUT" | "PATCH") => update,
        ([_], "DELETE") => delete,
        _ => false,
    };
    if allowed {
        return Ok(());
    }
    let one = behind.len() == 1;
    let methods = [
        ("GET", read),
        ("POST", create && behind.is_empty()),
        ("PUT", (create || update) && one),
        ("PATCH", update && one),
        ("DELETE", delete && one),
    ];
    let methods: Vec<&str> = methods.into_iter().filter(|(_, may)| *may).map(|(name, _)| name).collect();
    Err(Expected::not_allowed(&methods.join(", ")))
}

/// Errors by the names of a mount.
pub fn by_names(through: Option<&Through>, mut wrong: Vec<Wrong>) -> Vec<Wrong> {
    for path in wrong.iter_mut().filter_map(|wrong| wrong.path.as_mut()) {
        let place = path.trim_start_matches('/');
        let (name, rest) = place.split_once('/').map_or((place, None), |(name, rest)| (name, Some(rest)));
        let name = bodies::told(through, name);
        *path = rest.map_or(format!("/{name}"), |rest| format!("/{name}/{rest}"));
    }
    wrong
}

pub fn object(body: &Early<Json>) -> Early<&Object> {
    match body {
        Ok(Json::Object(members)) => Ok(members),
        Ok(_) => Err(Expected::refused(400, "body")),
        Err(expected) => Err(expected.clone()),
    }
}

/// Does what a request asks of a place.
pub fn one(work: &mut Work<'_>, place: Place, given: &Given<'_>, made: &mut Made) -> Early<Done> {
    let through = match &place {
        Place::List(list) => list.through.clone(),
        Place::One { through, .. } => through.clone(),
        Place::Linked { .. } => None,
    };
    let done = match (place, given.method) {
        (Place::List(List { post: Post::ReadOnly, .. }), _) => return Err(Expected::not_allowed("GET")),
        (Place::List(list), "POST") => match list.post.clone() {
            Post::Link(owner, field) => add(work, &owner, field, &list, given),
            _ => create(work, &list, object(&given.body)?, made),
        },
        (Place::List(_), _) => return Err(Expected::not_allowed("GET, POST")),
        (Place::Linked { owner, field, key, .. }, "DELETE") => {
            condition(&work.state, &owner, given)?;
            unlink(work, &owner, field, &key)
        }
        (Place::One { under: None | Some(Post::ReadOnly), .. }, "DELETE") => {
            return Err(Expected::not_allowed("GET, PUT, PATCH"));
        }
        (Place::Linked { linked: false, .. }, "PUT" | "PATCH") => return Err(Expected::not_found()),
        (Place::One { key, under, .. }, "PUT" | "PATCH" | "DELETE") => {
            change(work, &key, under, through.as_ref(), given)
        }
        (Place::Linked { key, .. }, "PUT" | "PATCH") => change(work, &key, None, None, given),
        _ => return Err(Expected::not_allowed("GET, PUT, PATCH, DELETE")),
    };
    done.map(|done| Done { through, ..done })
}

/// The facts that are forced where they are not given.
fn with_forced(through: Option<&Through>, facts: &mut Object) {
    let forced = through.and_then(|through| through.mount.forced(through.parameter.as_deref()));
    if let Some((name, value)) = forced {
        facts.entry(name).or_insert(value.into());
    }
}

fn refused(through: Option<&Through>, wrong: Vec<Wrong>) -> Box<Expected> {
    by_names(through, wrong).into()
}

pub fn create(work: &mut Work<'_>, list: &List, body: &Object, made: &mut Made) -> Early<Done> {
    let through = list.through.as_ref();
    let mut wrong = Vec::new();
    let id = bodies::id(body, None, &mut wrong);
    let mut said = bodies::whole(&work.state, list.ty, None, through, body, &mut wrong);
    if !wrong.is_empty() {
        return Err(wrong.into());
    }
    let held = match &list.post {
        Post::Child(held) => Some(held.clone()),
        _ => None,
    };
    with_forced(through, &mut said.facts);
    let key = Key::new(list.ty, &id.unwrap_or_else(|| made.next()));
    work.create(&key, said.facts, held, said.position).map_err(|wrong| refused(through, wrong))?;
    Ok(Done { key, replies: Replies::Created, through: list.through.clone() })
}

fn add(
    work: &mut Work<'_>,
    owner: &Key,
    field: &'static Field,
    list: &List,
    given: &Given<'_>,
) -> Early<Done> {
    let body = Json::Object(object(&given.body)?.clone());
    let mut wrong = Vec::new();
    let Some(id) = values::link(list.ty, &body, "_id", &mut wrong) else { return Err(wrong.into()) };
    condition(&work.state, owner, given)?;
    let mut ids = work.state.value(owner, field.name).as_array().cloned().unwrap_or_default();
    if !ids.contains(&id) {
        ids.push(id);
        work.update(owner, vec![(field.name, Some(ids.into()), Fill::All)], None)?;
    }
    Ok(Done { key: owner.clone(), replies: Replies::Resource, through: None })
}

fn unlink(work: &mut Work<'_>, owner: &Key, field: &'static Field, key: &Key) -> Early<Done> {
    if let Some(ids) = work.state.value(owner, field.name).as_array() {
        let left: Vec<Json> = ids.iter().filter(|id| *id != key.id()).cloned().collect();
        work.update(owner, vec![(field.name, Some(left.into()), Fill::All)], None)?;
    }
    if work.state.value(owner, field.name) == key.id() {
        work.update(owner, vec![(field.name, None, Fill::All)], None)?;
    }
    Ok(Done { key: owner.clone(), replies: Replies::Nothing, through: None })
}

pub fn condition(state: &State, key: &Key, given: &Given<'_>) -> Early<()> {
    let there = state.docs.get(key).map(|doc| doc.revision);
    if let Some(revision) = given.conditions.revision
        && there != Some(revision)
    {
        return Err(vec![Wrong::plain("precondition")].into());
    }
    if given.conditions.exists && there.is_none() {
        return Err(vec![Wrong::plain("not-found")].into());
    }
    Ok(())
}

/// PUT, PATCH and DELETE of one resource.
fn change(
    work: &mut Work<'_>,
    key: &Key,
    under: Option<Post>,
    through: Option<&Through>,
    given: &Given<'_>,
) -> Early<Done> {
    let is_there = work.state.docs.contains_key(key);
    let done = |replies| Ok(Done { key: key.clone(), replies, through: None });
    if given.method == "PUT" && given.conditions.absent {
        let body = object(&given.body)?;
        if is_there {
            return Err(Expected::refused(412, "precondition"));
        }
        let mut wrong = Vec::new();
        bodies::id(body, Some(key.id()), &mut wrong);
        let mut said = bodies::whole(&work.state, key.ty, None, through, body, &mut wrong);
        let held: Option<Held> = match under {
            Some(Post::Root) => None,
            Some(Post::Child(held)) => Some(held),
            _ => return Err(Expected::not_found()),
        };
        if !wrong.is_empty() {
            return Err(wrong.into());
        }
        with_forced(through, &mut said.facts);
        work.create(key, said.facts, held, said.position).map_err(|wrong| refused(through, wrong))?;
        return done(Replies::Created);
    }
    if !is_there && (given.conditions.revision.is_none() || through.is_some()) {
        return Err(Expected::not_found());
    }
    if given.method == "DELETE" {
        condition(&work.state, key, given)?;
        work.delete(std::slice::from_ref(key)).map_err(|wrong| refused(through, wrong))?;
        return done(Replies::Nothing);
    }
    if given.method == "PUT" {
        replace(work, key, through, given)?;
    } else {
        patch(work, key, through, given)?;
    }
    done(Replies::Resource)
}

fn replace(work: &mut Work<'_>, key: &Key, through: Option<&Through>, given: &Given<'_>) -> Early<()> {
    let body = object(&given.body)?;
    let mut wrong = Vec::new();
    bodies::id(body, Some(key.id()), &mut wrong);
    let old = work.state.docs.contains_key(key).then_some(key);
    let mut said = bodies::whole(&work.state, key.ty, old, through, body, &mut wrong);
    if !wrong.is_empty() {
        return Err(wrong.into());
    }
    condition(&work.state, key, given)?;
    with_forced(through, &mut said.facts);
    let hidden = key.ty.fields().iter().map(|field| field.name);
    let hidden: Vec<&str> =
        hidden.filter(|name| through.is_some_and(|through| through.mount.shown(name).is_none())).collect();
    work.replace(key, &said.facts, said.position, &hidden).map_err(|wrong| refused(through, wrong))
}

fn patch(work: &mut Work<'_>, key: &Key, through: Option<&Through>, given: &Given<'_>) -> Early<()> {
    let parts = match given.content {
        JSON_PATCH | ACTIONS => {
            let body = given.body.clone()?;
            if given.content == JSON_PATCH {
                let operations = patches::parse(&body)?;
                condition(&work.state, key, given)?;
                patches::edits(&work.state, key, through, &operations)?
            } else {
                let actions = patches::actions(key.ty, through, &body)?;
                condition(&work.state, key, given)?;
                let (edits, mut wrong) = patches::act(&work.state, key, through, actions);
                let more = work.update(key, edits, None).err().unwrap_or_default();
                wrong.extend(by_names(through, more));
                return if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) };
            }
        }
        _ => {
            let body = object(&given.body)?;
            let mut wrong = Vec::new();
            bodies::id(body, Some(key.id()), &mut wrong);
            let parts = bodies::merge(&work.state, key, through, body, &mut wrong);
            if !wrong.is_empty() {
                return Err(wrong.into());
            }
            condition(&work.state, key, given)?;
            parts
        }
    };
    let (edits, position) = parts;
    work.update(key, edits, position).map_err(|wrong| refused(through, wrong))
}

/// Errors that the end of a transaction tells, with the last of its writes that is about each resource.
pub fn by_items(done: &[&Done], mut wrong: Vec<Wrong>) -> Vec<Wrong> {
    for wrong in wrong.iter_mut().filter(|wrong| wrong.item.is_none()) {
        let is_of = |done: &&Done| Some(&done.key) == wrong.of.as_ref();
        // What denies names the first of its writes.
        wrong.item = match wrong.code {
            "denied" => done.iter().position(is_of),
            _ => done.iter().rposition(is_of),
        };
        let through = wrong.item.and_then(|at| done[at].through.as_ref());
        *wrong = by_names(through, vec![wrong.clone()]).remove(0);
    }
    wrong
}

/// What a mount asks of what a write through it has left.
pub fn ends(state: &State, done: &Done) -> Result<(), Vec<Wrong>> {
    let Some(through) = done.through.as_ref().filter(|_| done.replies != Replies::Nothing) else {
        return Ok(());
    };
    if !state.docs.contains_key(&done.key) || state.is_in(through, &done.key) {
        return Ok(());
    }
    let forced = through.mount.forced(through.parameter.as_deref());
    Err(vec![match forced.and_then(|(name, _)| through.mount.shown(name)) {
        Some(name) => Wrong::at("mount", name),
        None => Wrong::plain("mount"),
    }])
}
