//! Paths of resources and collections, both ways: what a URL names, and the one canonical path of a resource.
//!
//! A path runs `/api/ROOT`, `/ID`, `/FIELD`, `/ID`, … A field leads to a collection, an inverse or links (a list), or
//! through a link to one resource. A path may begin with a url (`url := …`) as well, or
//! with a [mount](crate::mounts), whose scope goes along with what is found there. The canonical path of an owned resource
//! runs through its parents, unless it has a url.

pub mod behind;

use std::sync::Arc;

use corollary_engine::names;
use corollary_engine::query::{self, From, Query};
use corollary_engine::updates::Settled;
use corollary_engine::urls;
use corollary_engine::working::{Working, targets};
use corollary_engine::{Doc, EngineError, Key};
use corollary_schema::{FieldKind, FieldRef, ResourceType, Schema, Slot, TypeIx};
use corollary_syntax::nearest;
use corollary_value::text::push_segment;
use corollary_value::{Id, Value};

use crate::json::encode::target_of;
use crate::mounts::{self, Scope, names_of};

/// Where all paths begin.
pub const PREFIX: &str = corollary_schema::names::PATH_PREFIX;

/// The longest path, in bytes, whatever a server allows: there is no more in the head of a request.
pub const MAX_PATH_BYTES: usize = 64 << 10;

/// Parents above one another that no data has: more of them are a circle, and the data is corrupt.
const MAX_CHAIN: usize = 1 << 20;

/// What a path names.
#[derive(Clone, Debug)]
pub enum Target {
    /// One resource; it may not be there.
    Resource {
        /// Which.
        key: Key,
        /// What creating it there means; nothing where its url led to it.
        under: Option<Post>,
        /// The mount in which it is, where it is in one.
        scope: Option<Arc<Scope>>,
    },
    /// A member of the links of a resource, or what may become one; or what its one link leads to.
    Linked {
        /// The resource with the link or links.
        owner: Key,
        /// Which field.
        slot: Slot,
        /// The member.
        key: Key,
        /// Is it one?
        linked: bool,
    },
    /// A list.
    List(List),
    /// A list of resources of several types.
    Several(Several),
}

/// A list of resources of several types: one list of each.
#[derive(Clone, Debug)]
pub struct Several {
    /// Of each type, in their order.
    pub lists: Vec<(TypeIx, From)>,
    /// What a POST to it does.
    pub post: PostSeveral,
}

/// What creating under a list of several types means.
#[derive(Clone, Debug)]
pub enum PostSeveral {
    /// Nothing: it is the root collection of an abstract type, and each type has its own.
    Roots,
    /// A child of this resource, of the type that the body names.
    Child(Key),
    /// One more entry of the links of a resource.
    Link(Key, Slot),
    /// Nothing: the list follows from other fields.
    ReadOnly,
}

impl Several {
    /// The list of those of a type.
    pub fn list_of(&self, ty: TypeIx) -> Option<List> {
        self.list(self.lists.iter().position(|(other, _)| *other == ty)?)
    }

    /// The list of those of one type, by its place among them.
    pub fn list(&self, at: usize) -> Option<List> {
        let (ty, from) = self.lists.get(at)?.clone();
        let post = match (&self.post, &from) {
            (PostSeveral::Child(parent), From::Referring(via, _)) => Post::Child(via.slot, parent.clone()),
            (PostSeveral::Roots, _) => Post::Root,
            (PostSeveral::Link(owner, slot), _) => Post::Link(owner.clone(), *slot),
            _ => Post::ReadOnly,
        };
        Some(List { ty, from, post, scope: None })
    }
}

/// A list of resources.
#[derive(Clone, Debug)]
pub struct List {
    /// Of this type.
    pub ty: TypeIx,
    /// Where they come from.
    pub from: From,
    /// What a POST to it does.
    pub post: Post,
    /// The mount that it is.
    pub scope: Option<Arc<Scope>>,
}

/// What creating under a list means.
#[derive(Clone, Debug)]
pub enum Post {
    /// A resource of the root collection.
    Root,
    /// A child of this resource: the hidden link to set.
    Child(Slot, Key),
    /// One more entry of the links of a resource.
    Link(Key, Slot),
    /// Nothing: the list follows from other fields.
    ReadOnly,
}

/// Why a path names nothing.
#[derive(Debug)]
pub enum PathError {
    /// A segment that leads nowhere: the sentence names it.
    NotFound(String),
    /// An id that more than one resource of a list of several types has.
    Ambiguous(String),
    /// The path itself is malformed.
    Malformed(String),
    /// Where it leads follows from something that an update has yet to reach.
    Pending(String),
    /// The store failed.
    Engine(EngineError),
}

impl std::convert::From<EngineError> for PathError {
    fn from(error: EngineError) -> PathError {
        PathError::Engine(error)
    }
}

/// Splits a URL's path behind [`PREFIX`] into its decoded segments.
pub fn segments(path: &str) -> Result<Vec<String>, PathError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::Malformed(format!("a path has at most {MAX_PATH_BYTES} bytes")));
    }
    let rest = path.strip_prefix(PREFIX).unwrap_or(path);
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let decode = |segment: &str| {
        let text = percent_encoding::percent_decode_str(segment).decode_utf8();
        text.map(|text| text.into_owned())
            .map_err(|_| PathError::Malformed(format!("`{segment}` is not UTF-8")))
    };
    rest.split('/').map(decode).collect()
}

/// A path, and the condition in brackets at its end: `/api/divisions/d1/sections[total > 100]`. The brackets may be
/// percent-encoded, and so may be what stands in them.
pub fn condition(path: &str) -> Result<(&str, Option<String>), PathError> {
    let Some(open) = behind::opening(path) else { return Ok((path, None)) };
    if path.len() > MAX_PATH_BYTES {
        return Err(PathError::Malformed(format!("a path has at most {MAX_PATH_BYTES} bytes")));
    }
    let text = behind::decoded(&path[open..])?;
    match text.strip_prefix('[').and_then(|text| text.trim_end_matches('/').strip_suffix(']')) {
        Some(inner) => Ok((&path[..open], Some(inner.to_string()))),
        None => Err(PathError::Malformed(format!("`{text}` ends without `]`"))),
    }
}

/// The path of a resource in a list, with its id.
pub fn member_of(list: &str, key: &Key) -> String {
    let list = list.trim_end_matches('/');
    let list = list.strip_prefix(PREFIX).unwrap_or(list);
    format!("{PREFIX}{}{list}/{}", if list.starts_with('/') { "" } else { "/" }, key.id)
}

impl Target {
    /// The mount that it is, or in which it is.
    pub fn scope(&self) -> Option<&Arc<Scope>> {
        match self {
            Target::Resource { scope, .. } | Target::List(List { scope, .. }) => scope.as_ref(),
            Target::Linked { .. } | Target::Several(_) => None,
        }
    }

    /// The one resource that it is; none where it is a list.
    pub fn resource(&self, schema: &Schema) -> Result<Option<&Key>, PathError> {
        match self {
            Target::Resource { key, .. } | Target::Linked { key, linked: true, .. } => Ok(Some(key)),
            Target::Linked { key, .. } => Err(not_here(schema, key)),
            Target::List(_) | Target::Several(_) => Ok(None),
        }
    }
}

fn not_here(schema: &Schema, key: &Key) -> PathError {
    PathError::NotFound(format!("there is no {} {} here", schema.ty(key.ty).name, key.id))
}

/// Finds what segments name.
pub fn resolve(working: &Working<'_>, segments: &[String]) -> Result<Target, PathError> {
    resolve_among(working, segments, &|_| false)
}

/// Finds what segments name, where some resources count as there that are about to be created there, or to move there.
pub fn resolve_among(
    working: &Working<'_>,
    segments: &[String],
    created: &dyn Fn(&Key) -> bool,
) -> Result<Target, PathError> {
    let schema = working.schema;
    let Some((root, mut rest)) = segments.split_first() else {
        return Err(PathError::NotFound("the path names no collection".into()));
    };
    let root = root.as_str();
    let mounted = if schema.mounts.is_empty() { None } else { mounts::enter(working, segments)? };
    let mut at = match (mounted, schema.roots.get(root), schema.abstract_roots.get(root)) {
        (Some((scope, taken)), ..) => {
            rest = &segments[taken..];
            Target::List(List { ty: scope.ty(), from: From::All, post: Post::Root, scope: Some(scope) })
        }
        (None, Some(ty), _) => Target::List(List { ty: *ty, from: From::All, post: Post::Root, scope: None }),
        (None, None, Some(types)) => {
            let lists = types.iter().map(|ty| (*ty, From::All)).collect();
            Target::Several(Several { lists, post: PostSeveral::Roots })
        }
        (None, None, None) => match by_url(working, segments)? {
            Some((key, behind)) => {
                rest = behind;
                Target::Resource { key, under: None, scope: None }
            }
            None => {
                let near = nearest(root, schema.root_names());
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(PathError::NotFound(format!("there is no collection `{root}`{help}")));
            }
        },
    };
    let mut hidden = None;
    while let Some((segment, behind)) = rest.split_first() {
        at = match at {
            Target::List(list) if behind.is_empty() => member(working, list, segment, created)?,
            Target::List(list) => on_the_way(working, list, segment, created, &mut hidden)?,
            Target::Several(several) => member_of_several(working, several, segment, created)?,
            Target::Linked { key, linked: false, .. } => return Err(not_here(schema, &key)),
            Target::Resource { key, scope, .. } => {
                let names = names_of(scope.as_ref(), schema);
                field(working, &key, segment, names, created, &mut hidden)?
            }
            Target::Linked { key, .. } => field(working, &key, segment, schema, created, &mut hidden)?,
        };
        rest = behind;
    }
    match hidden {
        Some(missing) if !is_shown(working, &at)? => Err(missing),
        _ => Ok(at),
    }
}

/// A member of a list that a path goes on from: one that is hidden from who reads may own something that is not.
fn on_the_way(
    working: &Working<'_>,
    list: List,
    segment: &str,
    created: &dyn Fn(&Key) -> bool,
    hidden: &mut Option<PathError>,
) -> Result<Target, PathError> {
    if working.sight().is_none() {
        return member(working, list, segment, created);
    }
    let found = working.unveiled(|| member(working, list.clone(), segment, created))?;
    if let Target::Resource { key, .. } = &found
        && hidden.is_none()
        && !created(key)
        && working.after(key)?.is_none()
    {
        // As it would be told of one that is not there.
        let missing = match member(working, list, segment, created) {
            Err(missing) => missing,
            Ok(_) => not_there(working.schema, key),
        };
        *hidden = Some(missing);
    }
    Ok(found)
}

fn not_there(schema: &Schema, key: &Key) -> PathError {
    PathError::NotFound(format!("there is no {} {}", schema.ty(key.ty).name, key.id))
}

/// Is anything to be seen of what a path leads to, behind something that is hidden from who reads?
fn is_shown(working: &Working<'_>, target: &Target) -> Result<bool, PathError> {
    let any = |ty: TypeIx, from: &From| -> Result<bool, EngineError> {
        let (filter, order, after) = (None, Vec::new(), None);
        let scan_limit = query::DEFAULT_SCAN_LIMIT;
        let query = Query { ty, from: from.clone(), filter, order, limit: 1, after, scan_limit };
        match query::run(working, &query) {
            Ok(page) => Ok(!page.items.is_empty()),
            // Among so many that are hidden nobody looks further.
            Err(EngineError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    };
    match target {
        Target::Resource { key, .. } | Target::Linked { key, .. } => Ok(working.after(key)?.is_some()),
        Target::List(list) => Ok(any(list.ty, &list.from)?),
        Target::Several(several) => {
            for (ty, from) in &several.lists {
                if any(*ty, from)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// The file that segments name: the resource, which may not be there, and the field.
pub fn file(working: &Working<'_>, segments: &[String]) -> Result<Option<(Key, Slot)>, PathError> {
    let Some((name, above)) = segments.split_last() else { return Ok(None) };
    let is_file =
        |ty: &ResourceType| ty.named(name).filter(|(_, field)| field.is_file()).map(|(slot, _)| slot);
    let none = |schema: &Schema| schema.types().all(|(_, ty)| is_file(ty).is_none());
    if above.is_empty() || (working.schema.mounts.is_empty() && none(working.schema)) {
        return Ok(None);
    }
    if matches!(by_url(working, segments)?, Some((_, []))) {
        return Ok(None);
    }
    let target = resolve(working, above)?;
    let key = target.resource(working.schema)?;
    let names = names_of(target.scope(), working.schema);
    Ok(key.and_then(|key| Some((key.clone(), is_file(names.ty(key.ty))?))))
}

/// The resource whose url a path begins with, the longest one, and what is behind it.
fn by_url<'s>(
    working: &Working<'_>,
    segments: &'s [String],
) -> Result<Option<(Key, &'s [String])>, EngineError> {
    if !working.schema.uses.urls {
        return Ok(None);
    }
    // A segment with a `/` in it is none of a url.
    let plain = segments.iter().take_while(|segment| !segment.contains('/')).count();
    for count in (1..=plain.min(urls::MAX_URL_SEGMENTS)).rev() {
        let (url, behind) = segments.split_at(count);
        if let Some(key) = urls::find(working, &format!("/{}", url.join("/")))? {
            return Ok(Some((key, behind)));
        }
    }
    Ok(None)
}

fn member(
    working: &Working<'_>,
    list: List,
    segment: &str,
    created: &dyn Fn(&Key) -> bool,
) -> Result<Target, PathError> {
    let resource = working.schema.ty(list.ty);
    let under = match &list.from {
        From::Referring(via, target) => Some((via.slot, target)),
        _ => None,
    };
    let id = match names::find(working, list.ty, under, segment)? {
        Some(id) => id,
        None => Id::parse(segment).map_err(|error| match resource.path {
            // It may well be a name, of one that is not there.
            Some(_) => PathError::NotFound(format!("there is no {} `{segment}` here", resource.name)),
            None => PathError::Malformed(format!("`{segment}`: {error}")),
        })?,
    };
    let key = Key::new(list.ty, id);
    let among = match &list.from {
        From::All => true,
        From::Referring(..) if created(&key) => true,
        // What is not there may be about to be created; who asks for it will be told.
        From::Referring(via, target) => {
            working.after(&key)?.is_none_or(|doc| targets(doc.get(via.slot)).contains(target))
        }
        From::Listed(ids) => ids.contains(&key.id),
    };
    match list.post {
        Post::Link(owner, slot) => Ok(Target::Linked { owner, slot, key, linked: among }),
        _ if !among => Err(not_here(working.schema, &key)),
        under => {
            if let Some(scope) = &list.scope
                && !created(&key)
                && let Some(doc) = working.after(&key)?
                && !scope.holds(working, &key, &doc)?
            {
                return Err(not_here(working.schema, &key));
            }
            Ok(Target::Resource { key, under: Some(under), scope: list.scope })
        }
    }
}

/// The one resource that a segment means in a list of several types.
fn member_of_several(
    working: &Working<'_>,
    several: Several,
    segment: &str,
    created: &dyn Fn(&Key) -> bool,
) -> Result<Target, PathError> {
    let missing = || PathError::NotFound(format!("there is nothing with the id {segment} here"));
    let mut found: Vec<(Key, Option<Post>)> = Vec::new();
    // What is no id may be the name of one that is not there, of a type that has names.
    let mut error = None;
    for list in (0..several.lists.len()).filter_map(|at| several.list(at)) {
        let (key, under) = match member(working, list, segment, created) {
            Ok(Target::Resource { key, under, .. }) => (key, under),
            Ok(Target::Linked { key, linked: true, .. }) => (key, None),
            Ok(_) | Err(PathError::NotFound(_)) => {
                error = Some(missing());
                continue;
            }
            Err(malformed @ PathError::Malformed(_)) => {
                error.get_or_insert(malformed);
                continue;
            }
            Err(error) => return Err(error),
        };
        if created(&key) || working.after(&key)?.is_some() {
            found.push((key, under));
        }
    }
    let name = |key: &Key| format!("{} {}", working.schema.ty(key.ty).name, key.id);
    let mut found = found.into_iter();
    match (found.next(), found.next(), several.post) {
        (None, ..) => Err(error.unwrap_or_else(missing)),
        (Some((one, _)), Some((other, _)), _) => {
            let message = format!(
                "{} and {} have the same id: read the one you mean by its own path",
                name(&one),
                name(&other)
            );
            Err(PathError::Ambiguous(message))
        }
        (Some((key, _)), None, PostSeveral::Link(owner, slot)) => {
            Ok(Target::Linked { owner, slot, key, linked: true })
        }
        (Some((key, under)), None, _) => Ok(Target::Resource { key, under, scope: None }),
    }
}

fn field(
    working: &Working<'_>,
    key: &Key,
    segment: &str,
    names: &Schema,
    created: &dyn Fn(&Key) -> bool,
    hidden: &mut Option<PathError>,
) -> Result<Target, PathError> {
    let resource = names.ty(key.ty);
    let Some((slot, field)) = resource.named(segment) else {
        return Err(PathError::NotFound(crate::json::decode::unknown_field(resource, segment)));
    };
    let at = FieldRef { ty: key.ty, slot };
    let doc = working.after(key)?;
    match (&doc, &field.kind) {
        // Who sees it sees where it is.
        (Some(_), _) => *hidden = None,
        (None, _) if created(key) => {}
        // What it owns has a path through it, and nothing else does that is not its own to show.
        (None, FieldKind::Collection { .. } | FieldKind::Several { owned: true, .. }) if hidden.is_some() => {
        }
        (None, _) => {
            let missing = || PathError::NotFound(format!("there is no {} {}", resource.name, key.id));
            return Err(hidden.take().unwrap_or_else(missing));
        }
    }
    let list = |ty, from, post| Ok(Target::List(List { ty, from, post, scope: None }));
    match &field.kind {
        FieldKind::Collection { child, via } => {
            list(*child, From::Referring(*via, key.id.clone()), Post::Child(via.slot, key.clone()))
        }
        FieldKind::Inverse { of } => list(of.ty, From::Referring(*of, key.id.clone()), Post::ReadOnly),
        FieldKind::Several { parts, owned } => {
            let parts = parts.iter().map(|part| FieldRef { ty: key.ty, slot: *part });
            let links = parts.filter_map(|part| working.schema.way_back(part));
            let lists = links.map(|of| (of.ty, From::Referring(of, key.id.clone()))).collect();
            let post = if *owned { PostSeveral::Child(key.clone()) } else { PostSeveral::ReadOnly };
            Ok(Target::Several(Several { lists, post }))
        }
        FieldKind::Among { parts, targets: types, many } => {
            let held = |part: &Slot| doc.as_ref().map_or(Vec::new(), |doc| targets(doc.get(*part)));
            let lists: Vec<(TypeIx, Vec<Id>)> = types.iter().copied().zip(parts.iter().map(held)).collect();
            if *many {
                let lists = lists.into_iter().map(|(ty, ids)| (ty, From::Listed(ids))).collect();
                let post = PostSeveral::Link(key.clone(), slot);
                return Ok(Target::Several(Several { lists, post }));
            }
            let one = lists.into_iter().find_map(|(ty, ids)| Some(Key::new(ty, ids.into_iter().next()?)));
            match one {
                Some(linked) => Ok(Target::Linked { owner: key.clone(), slot, key: linked, linked: true }),
                None => {
                    Err(PathError::NotFound(format!("`{segment}` of {} {} is empty", resource.name, key.id)))
                }
            }
        }
        _ if field.is_file() => Err(PathError::Malformed(format!(
            "`{segment}` of {} is a file: its path is for GET, PUT and DELETE, each by itself, and leads nowhere",
            resource.name
        ))),
        _ => {
            let Some(ty) = target_of(working.schema, at) else {
                return Err(PathError::NotFound(format!(
                    "`{segment}` of {} is a value, and leads nowhere",
                    resource.name
                )));
            };
            let settled;
            let value = match &doc {
                Some(doc) if matches!(field.kind, FieldKind::Derived { .. }) => {
                    let by_facts = Settled::new(working);
                    let stored = by_facts.doc(key, doc, usize::MAX)?;
                    settled = by_facts.fill(key, stored, usize::MAX, &|wanted| wanted == slot)?;
                    if settled.pending.contains(&slot) {
                        let message = format!(
                            "`{segment}` of {} {} is being brought up to date",
                            resource.name, key.id
                        );
                        return Err(PathError::Pending(message));
                    }
                    settled.doc.get(slot)
                }
                Some(doc) => doc.get(slot),
                None => &Value::Absent,
            };
            match (value, &field.kind) {
                (Value::Ref(id), FieldKind::Link { .. }) => {
                    let linked = Key::new(ty, id.clone());
                    Ok(Target::Linked { owner: key.clone(), slot, key: linked, linked: true })
                }
                (Value::Ref(id), _) => {
                    let under = Some(Post::ReadOnly);
                    Ok(Target::Resource { key: Key::new(ty, id.clone()), under, scope: None })
                }
                (value, FieldKind::Links { .. }) => {
                    list(ty, From::Listed(targets(value)), Post::Link(key.clone(), slot))
                }
                (value @ Value::List(_), _) => list(ty, From::Listed(targets(value)), Post::ReadOnly),
                _ => {
                    Err(PathError::NotFound(format!("`{segment}` of {} {} is empty", resource.name, key.id)))
                }
            }
        }
    }
}

/// Appends the canonical path of a resource; `doc` saves a look-up where it is at hand.
pub fn push_canonical(
    working: &Working<'_>,
    key: &Key,
    doc: Option<&Doc>,
    out: &mut Vec<u8>,
) -> Result<(), EngineError> {
    push_canonical_among(working, key, doc, &|_| None, out)
}

/// Appends the canonical path of what a link leads to.
pub fn push_canonical_of(
    working: &Working<'_>,
    ty: TypeIx,
    id: &Id,
    out: &mut Vec<u8>,
) -> Result<(), EngineError> {
    let resource = working.schema.ty(ty);
    if resource.stands_at_root() {
        push_at_root(resource, id, out);
        return Ok(());
    }
    push_canonical(working, &Key::new(ty, id.clone()), None, out)
}

/// Appends the canonical path of a resource whose parents may be gone; `gone` knows them then.
pub fn push_canonical_among(
    working: &Working<'_>,
    key: &Key,
    doc: Option<&Doc>,
    gone: &dyn Fn(&Key) -> Option<Arc<Doc>>,
    out: &mut Vec<u8>,
) -> Result<(), EngineError> {
    // Where something is belongs to what leads there: a link that may be read is shown with its path.
    working.unveiled(|| push_found(working, key, doc, gone, out))
}

fn push_found(
    working: &Working<'_>,
    key: &Key,
    doc: Option<&Doc>,
    gone: &dyn Fn(&Key) -> Option<Arc<Doc>>,
    out: &mut Vec<u8>,
) -> Result<(), EngineError> {
    let schema = working.schema;
    let resource = schema.ty(key.ty);
    if resource.url.is_some() {
        let loaded = if doc.is_some() { None } else { working.after(key)? };
        let url = doc.or(loaded.as_deref()).map(|doc| urls::of(working, key, doc)).transpose()?.flatten();
        if let Some(url) = url {
            push_url(url, out);
            return Ok(());
        }
    }
    if resource.parents.is_empty() && resource.path.is_none() {
        push_at_root(resource, &key.id, out);
        return Ok(());
    }
    let load = |key: &Key| match gone(key) {
        Some(doc) => Ok(Some(doc)),
        None => working.after(key),
    };
    // What stands for each resource, from this one up to the root, with the collection that holds it.
    let mut chain: Vec<(Vec<u8>, FieldRef)> = Vec::new();
    let mut at = key.clone();
    let mut loaded = if doc.is_some() { None } else { load(&at)? };
    loop {
        let here = if chain.is_empty() { doc.or(loaded.as_deref()) } else { loaded.as_deref() };
        let ty = schema.ty(at.ty);
        let mut segment = Vec::new();
        match here.and_then(|doc| names::name_of(ty, doc)) {
            Some(name) => push_segment(name, &mut segment),
            None => at.id.push_text(&mut segment),
        }
        let owner = here.and_then(|doc| doc.parent(schema, at.ty)).map(|(of, id)| (of, id.clone()));
        let Some((collection, parent)) = owner else {
            push_root(ty, out);
            out.extend_from_slice(&segment);
            break;
        };
        chain.push((segment, collection));
        if chain.len() > MAX_CHAIN {
            return Err(EngineError::Corrupt(format!("the parents of {} {}", resource.name, key.id)));
        }
        at = Key::new(collection.ty, parent);
        loaded = load(&at)?;
    }
    for (segment, collection) in chain.iter().rev() {
        out.push(b'/');
        out.extend_from_slice(schema.field(*collection).label().as_bytes());
        out.push(b'/');
        out.extend_from_slice(segment);
    }
    Ok(())
}

/// Appends the path to which a url is, each segment as it stands in one.
fn push_url(url: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(PREFIX.as_bytes());
    for segment in url.split('/').skip(1) {
        out.push(b'/');
        push_segment(segment, out);
    }
}

fn push_at_root(ty: &ResourceType, id: &Id, out: &mut Vec<u8>) {
    push_root(ty, out);
    id.push_text(out);
}

fn push_root(ty: &ResourceType, out: &mut Vec<u8>) {
    let root = ty.root.as_deref().unwrap_or("_");
    out.extend_from_slice(PREFIX.as_bytes());
    out.push(b'/');
    out.extend_from_slice(root.as_bytes());
    out.push(b'/');
}

/// The canonical path of a resource, as a text.
pub fn canonical(working: &Working<'_>, key: &Key, doc: Option<&Doc>) -> Result<String, EngineError> {
    let mut out = Vec::new();
    push_canonical(working, key, doc, &mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
