//! What a path names.

use super::schema::{Field, Kind, MOUNTS, Type};
use super::state::{Held, Key, State, Through, orders_of};
use super::values::is_id;

/// What a POST to a list does.
#[derive(Clone, Debug, PartialEq)]
pub enum Post {
    Root,
    Child(Held),
    Link(Key, &'static Field),
    ReadOnly,
}

#[derive(Clone, Debug)]
pub struct List {
    pub ty: Type,
    /// In the order of the list.
    pub members: Vec<Key>,
    pub post: Post,
    pub through: Option<Through>,
}

#[derive(Clone, Debug)]
pub enum Place {
    List(List),
    /// A resource, which may not be there, and the list that it was found in.
    One {
        key: Key,
        under: Option<Post>,
        through: Option<Through>,
    },
    /// A member of links, or what may become one; or what a link leads to.
    Linked {
        owner: Key,
        field: &'static Field,
        key: Key,
        linked: bool,
    },
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nowhere {
    NotFound,
    /// A segment is no id.
    Malformed,
}

/// The parts of a path behind `/api`.
pub fn segments(path: &str) -> Vec<&str> {
    let rest = path.strip_prefix("/api/").or_else(|| path.strip_prefix('/')).unwrap_or(path);
    rest.trim_end_matches('/').split('/').collect()
}

/// The mount that a path begins with, and how many segments it takes.
pub fn mount(segments: &[&str]) -> Option<(Through, usize)> {
    if let ["people", person, "orders", ..] = segments {
        return Some((orders_of(person), 3));
    }
    let mount = MOUNTS.into_iter().find(|mount| segments.first() == Some(&mount.name))?;
    Some((Through { mount, parameter: None }, 1))
}

/// A mount as a list.
fn mounted(state: &State, through: Through) -> Result<List, Nowhere> {
    if let Some(person) = &through.parameter {
        if !is_id(person) {
            return Err(Nowhere::Malformed);
        }
        if !state.docs.contains_key(&Key::new(Type::Person, person)) {
            return Err(Nowhere::NotFound);
        }
    }
    let ty = through.mount.ty;
    let members = state.of_type(ty).map(|(key, _)| key).filter(|key| state.is_in(&through, key));
    Ok(List { ty, members: members.cloned().collect(), post: Post::Root, through: Some(through) })
}

pub fn resolve(state: &State, segments: &[&str]) -> Result<Place, Nowhere> {
    let (mut at, mut rest) = match mount(segments) {
        Some((through, taken)) => (Place::List(mounted(state, through)?), &segments[taken..]),
        None => {
            let ty = Type::of_root(segments[0]).ok_or(Nowhere::NotFound)?;
            let members = state.of_type(ty).map(|(key, _)| key.clone()).collect();
            (Place::List(List { ty, members, post: Post::Root, through: None }), &segments[1..])
        }
    };
    while let Some((segment, behind)) = rest.split_first() {
        at = match at {
            Place::List(list) => member(state, list, segment)?,
            Place::Linked { linked: false, .. } => return Err(Nowhere::NotFound),
            Place::One { key, through, .. } => field(state, &key, through.as_ref(), segment)?,
            Place::Linked { key, .. } => field(state, &key, None, segment)?,
        };
        rest = behind;
    }
    Ok(at)
}

fn member(state: &State, list: List, segment: &str) -> Result<Place, Nowhere> {
    if !is_id(segment) {
        return Err(Nowhere::Malformed);
    }
    let key = Key::new(list.ty, segment);
    let is_member = list.members.contains(&key);
    let is_there = state.docs.contains_key(&key);
    match list.post {
        Post::Link(owner, field) => Ok(Place::Linked { owner, field, key, linked: is_member }),
        _ if !is_member && is_there => Err(Nowhere::NotFound),
        post => Ok(Place::One { key, under: Some(post), through: list.through }),
    }
}

fn field(state: &State, key: &Key, through: Option<&Through>, segment: &str) -> Result<Place, Nowhere> {
    let list = |ty, members, post| Ok(Place::List(List { ty, members, post, through: None }));
    let Some(doc) = state.docs.get(key) else { return Err(Nowhere::NotFound) };
    if let Some((ty, collection)) = key.ty.parent_named(segment) {
        let held = doc.held.as_ref().filter(|held| held.by.ty == ty && held.collection == collection);
        let held = held.ok_or(Nowhere::NotFound)?;
        return Ok(Place::One { key: held.by.clone(), under: None, through: None });
    }
    let field = super::bodies::named(key.ty, through, segment).ok_or(Nowhere::NotFound)?;
    let linked = |target| -> Vec<Key> {
        let ids = state.value(key, field.name);
        let ids = ids.as_array().into_iter().flatten();
        ids.map(|id| Key::new(target, id.as_str().unwrap())).collect()
    };
    match field.kind {
        Kind::Collection(child) => {
            let held = Held { by: key.clone(), collection: field.name };
            list(child, state.children(key, field.name), Post::Child(held))
        }
        Kind::Inverse(ty, link) => list(ty, state.referring(ty, link, key), Post::ReadOnly),
        Kind::Links(target, _) => list(target, linked(target), Post::Link(key.clone(), field)),
        Kind::Derived if field.name == "large" => list(Type::Order, linked(Type::Order), Post::ReadOnly),
        Kind::Link(target, _) => match state.value(key, field.name).as_str() {
            Some(id) => {
                Ok(Place::Linked { owner: key.clone(), field, key: Key::new(target, id), linked: true })
            }
            None => Err(Nowhere::NotFound),
        },
        _ => Err(Nowhere::NotFound),
    }
}
