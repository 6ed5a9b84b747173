//! Facts: what a transaction may change, and what must hold when it has.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use corollary_schema::typed::Expr;
use corollary_schema::{DefaultValue, Field, FieldKind, FieldRef, Kept, OnDelete, Slot, ValueType};
use corollary_value::{Id, Value};
use foldhash::fast::RandomState;
use hashbrown::HashSet;
use smol_str::SmolStr;

use crate::among;
use crate::doc::{Doc, Key};
use crate::edit::{Edit, edited};
use crate::error::{EngineError, Refusal};
use crate::eval::{Eval, View};
use crate::moves::{self, Destination};
use crate::order;
use crate::propagate::initial;
use crate::rules::{self, Fill};
use crate::working::{self, Working};

/// Of so many links each target is looked for by itself: to find those that are the same would cost as much.
const FEW_LINKS: usize = 16;

/// One step of a transaction. Each yields the resource as it is when the transaction ends.
#[derive(Clone, Debug)]
pub enum Write {
    /// A new resource; fields that are not given get their defaults.
    Create(Key, Vec<(Slot, Value)>),
    /// All facts anew; those that are not given get their defaults, or nothing. Its parent stays.
    Replace(Key, Vec<(Slot, Value)>),
    /// Changes of some fields.
    Update(Key, Vec<(Slot, Edit)>),
    /// Another parent, or another place.
    Move(Key, Destination),
    /// No more resource. Children go with it; links to it are handled as they declare.
    Delete(Key),
    /// The same of several at once, this one among them: a link from one of them to another forbids nothing.
    DeleteAll(Key, Arc<[Key]>),
    /// Nothing, if the resource is at one of these revisions; otherwise the whole transaction is refused.
    Require(Key, Vec<u64>),
    /// Nothing, if the resource is there.
    Read(Key),
    /// What is decided when its turn comes, by what is there then: one other write of the same resource, or none.
    Decide(Key, Decision),
    /// Nothing, if this is content with the resource as it is when all that follows from the transaction has come about;
    /// otherwise the whole transaction is refused. It comes back with no other write.
    Ensure(Key, Decision),
}

impl Write {
    /// The resource that it is about.
    pub fn key(&self) -> &Key {
        match self {
            Write::Create(key, _)
            | Write::Replace(key, _)
            | Write::Update(key, _)
            | Write::Move(key, _)
            | Write::Delete(key)
            | Write::DeleteAll(key, _)
            | Write::Require(key, _)
            | Write::Read(key)
            | Write::Decide(key, _)
            | Write::Ensure(key, _) => key,
        }
    }
}

/// What a [`Write::Decide`] asks: the state, and the resource as it is then.
pub type Decide =
    dyn Fn(&Working<'_>, &Key, Option<&Arc<Doc>>) -> Result<Option<Write>, EngineError> + Send + Sync;

/// A decision that waits for its turn. It is no fact: what comes of it is.
#[derive(Clone)]
pub struct Decision(Arc<Decide>);

impl Decision {
    /// From a function; it runs where all writes do, so it has to be quick.
    pub fn new(
        decide: impl Fn(&Working<'_>, &Key, Option<&Arc<Doc>>) -> Result<Option<Write>, EngineError>
        + Send
        + Sync
        + 'static,
    ) -> Decision {
        Decision(Arc::new(decide))
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decision")
    }
}

/// Applies the facts of a transaction, and checks what must hold after all of them.
pub fn apply(working: &mut Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    working.prefetch(writes.iter().map(Write::key))?;
    let mut deletes = false;
    for (at, write) in writes.iter().enumerate() {
        one(working, write, &mut deletes).map_err(|error| blaming(at, error))?;
    }
    note_updates(working);
    check_parents(working, writes)?;
    among::check(working, writes)?;
    check_links(working, writes, deletes)
}

/// Asks the [`Write::Ensure`]s of a transaction whose facts are applied, and what follows from them.
pub fn ensure(working: &Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    for (at, write) in writes.iter().enumerate() {
        let Write::Ensure(key, decision) = write else { continue };
        let doc = working.after(key)?;
        (decision.0)(working, key, doc.as_ref()).map_err(|error| blaming(at, error))?;
    }
    Ok(())
}

/// A refusal that names the write it is about.
fn blaming(at: usize, error: EngineError) -> EngineError {
    match error {
        EngineError::Refused(mut refusals) => {
            refusals.iter_mut().for_each(|refusal| refusal.write = Some(at));
            EngineError::Refused(refusals)
        }
        error => error,
    }
}

fn one(working: &mut Working<'_>, write: &Write, deletes: &mut bool) -> Result<(), EngineError> {
    match write {
        Write::Create(key, values) => create(working, key, values),
        Write::Replace(key, values) => replace(working, key, values),
        Write::Update(key, edits) => update(working, key, edits),
        Write::Move(key, to) => moves::carry(working, key, to),
        Write::Delete(key) => {
            *deletes = true;
            delete(working, std::slice::from_ref(key))
        }
        Write::DeleteAll(_, keys) => {
            *deletes = true;
            delete(working, keys)
        }
        Write::Require(key, revisions) => require(working, key, revisions),
        Write::Read(key) => existing(working, key).map(drop),
        Write::Ensure(..) => Ok(()),
        Write::Decide(key, decision) => {
            let doc = working.after(key)?;
            let decided = (decision.0)(working, key, doc.as_ref())?;
            drop(doc);
            match decided {
                Some(decided) => one(working, &decided, deletes),
                None => Ok(()),
            }
        }
    }
}

/// Notes the time in the resources that keep that of their last change, where the current transaction changed a fact.
pub(crate) fn note_updates(working: &mut Working<'_>) {
    let (schema, now) = (working.schema, working.now());
    if !schema.uses.updated {
        return;
    }
    for (key, touched) in &mut working.touched {
        let ty = schema.ty(key.ty);
        let Some(slot) = ty.updated else { continue };
        let Some(after) = &mut touched.after else { continue };
        let same = touched.before.as_ref().filter(|before| {
            let mut facts = ty.slots().filter(|(at, field)| field.is_fact() && *at != slot);
            facts.all(|(at, _)| before.get(at) == after.get(at))
        });
        // Facts that came out as they were, also in a resource that took the place of one that was deleted, are no change.
        let time = same.map_or(Value::Datetime(now), |before| before.get(slot).clone());
        if *after.get(slot) != time {
            Arc::make_mut(after).set(slot, time);
        }
    }
}

pub(crate) fn name(working: &Working<'_>, key: &Key) -> String {
    format!("{} {}", working.schema.ty(key.ty).name, key.id)
}

pub(crate) fn existing(working: &Working<'_>, key: &Key) -> Result<Arc<Doc>, EngineError> {
    let doc = working.after(key)?;
    doc.ok_or_else(|| EngineError::refused("not-found", None, format!("there is no {}", name(working, key))))
}

fn require(working: &Working<'_>, key: &Key, revisions: &[u64]) -> Result<(), EngineError> {
    // What the transaction itself did to the resource does not count.
    let revision = working.before(key)?.map(|doc| doc.revision);
    if revision.is_some_and(|revision| revisions.contains(&revision)) {
        return Ok(());
    }
    let message = match revision {
        Some(revision) => format!("{} is at revision {revision}", name(working, key)),
        None => format!("there is no {}", name(working, key)),
    };
    Err(EngineError::refused("precondition", None, message))
}

fn create(working: &mut Working<'_>, key: &Key, values: &[(Slot, Value)]) -> Result<(), EngineError> {
    if working.after(key)?.is_some() {
        let message = format!("{} is there already", name(working, key));
        return Err(EngineError::refused("exists", None, message));
    }
    let values = &*among::values(working, key.ty, values)?;
    let now = working.now();
    let schema = working.schema;
    let mut doc = Doc::new(schema, key.ty);
    initial(schema, key.ty, &mut doc);
    if let Some(before) = working.before(key)? {
        // It takes the place of one that this transaction deleted. What is derived goes on from there: propagation will
        // take out the members that left with the deletion.
        doc.revision = before.revision;
        doc.states.clone_from(&before.states);
        for (slot, _) in schema.ty(key.ty).slots().filter(|(_, field)| field.is_derived()) {
            doc.set(slot, before.get(slot).clone());
        }
    }
    let mut found = Vec::new();
    let mut computed = Vec::new();
    let mut place = None;
    for (slot, field) in schema.ty(key.ty).slots() {
        let given = values.iter().rfind(|(given, _)| *given == slot).map(|(_, value)| value);
        if let FieldKind::Among { parts, .. } = &field.kind {
            if !values.iter().any(|(given, _)| parts.contains(given)) {
                found.extend(rules::check_missing(field));
            }
            continue;
        }
        if let FieldKind::Position { .. } = field.kind {
            match given.map_or(Ok(None), order::wanted) {
                Ok(wanted) => place = place.or(wanted),
                Err(refusal) => found.push(refusal),
            }
            continue;
        }
        if let (Some(kept), None) = (field.rules.kept, given) {
            if kept == Kept::Created {
                doc.set(slot, Value::Datetime(now));
            }
            continue;
        }
        let value = match (given, &field.rules.default) {
            (Some(value), _) => value.clone(),
            (None, Some(DefaultValue::Computed(expr))) => {
                computed.push((slot, &**expr));
                continue;
            }
            (None, Some(default)) => rules::default_value(default, now),
            (None, None) => {
                found.extend(rules::check_missing(field));
                continue;
            }
        };
        let value = rules::completed(field, value, Fill::All(now));
        let so_far = found.len();
        rules::check(field, &value, &mut found);
        if found.len() == so_far {
            doc.set(slot, value);
        }
    }
    working.refer_all(key, None, Some(&doc));
    working.replace(key, Some(doc))?;
    compute_defaults(working, key, computed, Purpose::Create, &mut found)?;
    if !found.is_empty() {
        return Err(EngineError::Refused(found));
    }
    order::enter(working, key, place)
}

/// Sets fields to what follows from the facts that are there, in the order of declaration: each may read those before.
fn compute_defaults(
    working: &mut Working<'_>,
    key: &Key,
    defaults: Vec<(Slot, &Expr)>,
    purpose: Purpose,
    found: &mut Vec<Refusal>,
) -> Result<(), EngineError> {
    let now = working.now();
    for (slot, expr) in defaults {
        let doc = existing(working, key)?;
        let value = Eval::of(working, &key.id, &doc).value(expr)?;
        drop(doc);
        let value = if value.is_null() { Value::Absent } else { value };
        if let Value::Error(_) = value {
            let name = &working.schema.field(FieldRef { ty: key.ty, slot }).name;
            let message = format!("the default of `{name}` is {value} for these values");
            found.push(Refusal::new("default", Some(name), message));
            continue;
        }
        match purpose {
            Purpose::Replace => set(working, key, slot, value, Fill::All(now), found)?,
            // It may take the place of one that this transaction deleted: what that was binds it to nothing.
            Purpose::Create => {
                let field = working.schema.field(FieldRef { ty: key.ty, slot });
                let value = rules::completed(field, value, Fill::All(now));
                let so_far = found.len();
                rules::check(field, &value, found);
                if found.len() == so_far {
                    working.set(key, slot, value)?;
                }
            }
        }
    }
    Ok(())
}

/// What defaults are computed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Create,
    Replace,
}

fn replace(working: &mut Working<'_>, key: &Key, values: &[(Slot, Value)]) -> Result<(), EngineError> {
    existing(working, key)?;
    let values = &*among::values(working, key.ty, values)?;
    let now = working.now();
    let schema = working.schema;
    let (mut found, mut computed) = (Vec::new(), Vec::new());
    for (slot, field) in schema.ty(key.ty).slots() {
        if !field.is_fact() || matches!(field.kind, FieldKind::Parent { .. }) {
            continue;
        }
        let given = values.iter().rfind(|(given, _)| *given == slot).map(|(_, value)| value.clone());
        if let FieldKind::Position { .. } = field.kind {
            relocate(working, key, given, &mut found)?;
            continue;
        }
        let stays = field.rules.immutable || field.rules.kept.is_some() || field.is_file();
        if given.is_none() && stays {
            // What cannot change, or only by itself or by a request of its own, stays, and need not be repeated.
            continue;
        }
        if let (None, Some(DefaultValue::Computed(expr))) = (&given, &field.rules.default) {
            computed.push((slot, &**expr));
            continue;
        }
        let default = || field.rules.default.as_ref().map(|default| rules::default_value(default, now));
        let value = given.or_else(default).unwrap_or_default();
        set(working, key, slot, value, Fill::All(now), &mut found)?;
    }
    compute_defaults(working, key, computed, Purpose::Replace, &mut found)?;
    if found.is_empty() { Ok(()) } else { Err(EngineError::Refused(found)) }
}

/// Moves a resource to the place among its siblings that is given, if one is.
fn relocate(
    working: &mut Working<'_>,
    key: &Key,
    given: Option<Value>,
    found: &mut Vec<Refusal>,
) -> Result<(), EngineError> {
    match given.as_ref().map_or(Ok(None), order::wanted) {
        Ok(Some(place)) => match order::relocate(working, key, place) {
            Err(EngineError::Refused(refusals)) => found.extend(refusals),
            outcome => outcome?,
        },
        Ok(None) => {}
        Err(refusal) => found.push(refusal),
    }
    Ok(())
}

fn update(working: &mut Working<'_>, key: &Key, edits: &[(Slot, Edit)]) -> Result<(), EngineError> {
    existing(working, key)?;
    let edits = &*among::edits(working, key.ty, edits)?;
    let now = working.now();
    let schema = working.schema;
    let mut found = Vec::new();
    // Only what comes out of all edits of a field is held to the rules: a list that is full takes one in at its end when
    // another leaves it at its head.
    let mut values: Vec<(Slot, Value, Fill)> =
        Vec::with_capacity(edits.len().min(schema.ty(key.ty).fields.len()));
    let (mut places, mut received_files, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    {
        let doc = existing(working, key)?;
        for (slot, edit) in edits {
            let field = schema.field(FieldRef { ty: key.ty, slot: *slot });
            if let (FieldKind::Position { .. }, Edit::Set(place)) = (&field.kind, edit) {
                places.push(place.clone());
                continue;
            }
            let ty = match &field.kind {
                FieldKind::Stored(ty) => Some(ty),
                _ => None,
            };
            let at = values.iter().position(|(at, ..)| at == slot);
            if let Some((_, value, fill)) = at.map(|at| &mut values[at]) {
                *value = rules::completed(field, std::mem::take(value), *fill);
            }
            let old = at.map_or_else(|| doc.get(*slot), |at| &values[at].1);
            let kept = matches!((edit, old), (Edit::Merge(_) | Edit::Member(_), Value::Object(_)));
            if let Edit::File(received) = edit {
                received_files.push((*slot, received.clone()));
            }
            let new = match edited(field.label(), ty, old, edit, now) {
                Ok(new) => new,
                Err(refusal) => {
                    found.push(refusal);
                    refused.push(*slot);
                    continue;
                }
            };
            let fill = if kept { Fill::Required(now) } else { Fill::All(now) };
            match at {
                Some(at) => values[at] = (*slot, new, fill),
                None => values.push((*slot, new, fill)),
            }
        }
        // The document is let go of before it is changed, or it would be copied.
    }
    // What would have come of a field says nothing where one of its edits is refused.
    for (slot, value, fill) in values.into_iter().filter(|(slot, ..)| !refused.contains(slot)) {
        set(working, key, slot, value, fill, &mut found)?;
    }
    for (slot, received) in received_files {
        working.received.insert((key.clone(), slot), received);
    }
    for place in places {
        relocate(working, key, Some(place), &mut found)?;
    }
    if found.is_empty() { Ok(()) } else { Err(EngineError::Refused(found)) }
}

/// Puts a value into a field of an existing resource, if the rules allow it; what they do not is added to what was found.
pub(crate) fn set(
    working: &mut Working<'_>,
    key: &Key,
    slot: Slot,
    value: Value,
    fill: Fill,
    found: &mut Vec<Refusal>,
) -> Result<(), EngineError> {
    let schema = working.schema;
    let field = schema.field(FieldRef { ty: key.ty, slot });
    let value = rules::completed(field, value, fill);
    let so_far = found.len();
    rules::check(field, &value, found);
    if let Some(before) = working.before(key)? {
        let old = before.get(slot);
        if rules::is_same(old, &value) {
            // What was stored under older rules may stay as it is.
            found.truncate(so_far);
        }
        found.extend(rules::check_change(field, old, &value));
    }
    if found.len() > so_far {
        return Ok(());
    }
    let goes_elsewhere = match &field.kind {
        FieldKind::Parent { .. } => working.after(key)?.filter(|doc| *doc.get(slot) != value),
        _ => None,
    };
    if let Some(doc) = &goes_elsewhere {
        order::leave(working, key, doc, Some(slot))?;
    }
    working.set(key, slot, value)?;
    if goes_elsewhere.is_some() { order::enter(working, key, None) } else { Ok(()) }
}

/// Deletes resources, their children, and what cascades; a work list, since chains of links may be long.
pub(crate) fn delete(working: &mut Working<'_>, keys: &[Key]) -> Result<(), EngineError> {
    for key in keys {
        existing(working, key)?;
    }
    let schema = working.schema;
    let mut doomed: BTreeSet<Key> = keys.iter().cloned().collect();
    let mut waiting = keys.to_vec();
    let mut unlinked: Vec<(Key, Slot, Key)> = Vec::new();
    while let Some(target) = waiting.pop() {
        for of in &schema.ty(target.ty).referrers {
            for id in working.referrers(*of, &target.id)? {
                let source = Key::new(of.ty, id);
                let field = schema.field(*of);
                let rule = match &field.kind {
                    FieldKind::Link { on_delete: OnDelete::Unlink, .. } if field.rules.required => {
                        OnDelete::Restrict
                    }
                    FieldKind::Link { on_delete, .. }
                    | FieldKind::Links { on_delete, .. }
                    | FieldKind::Embedded { on_delete, .. } => *on_delete,
                    _ => OnDelete::Cascade,
                };
                match rule {
                    OnDelete::Cascade if doomed.insert(source.clone()) => waiting.push(source),
                    OnDelete::Cascade => {}
                    _ => unlinked.push((source, of.slot, target.clone())),
                }
            }
        }
    }
    for (source, slot, target) in unlinked {
        if doomed.contains(&source) {
            continue;
        }
        let field = schema.field(FieldRef { ty: source.ty, slot });
        let restricted = match &field.kind {
            FieldKind::Link { on_delete, .. } => *on_delete == OnDelete::Restrict || field.rules.required,
            FieldKind::Links { on_delete, .. } | FieldKind::Embedded { on_delete, .. } => {
                *on_delete == OnDelete::Restrict
            }
            _ => false,
        };
        if restricted {
            let place = place_of(field);
            let message =
                format!("{} is linked by `{place}` of {}", name(working, &target), name(working, &source));
            return Err(EngineError::refused("restrict", Some(&place), message));
        }
        let Some(doc) = working.after(&source)? else { continue };
        if let FieldKind::Embedded { of, .. } = field.kind
            && let FieldKind::Stored(ty) = &schema.field(FieldRef { ty: source.ty, slot: of }).kind
        {
            let via = FieldRef { ty: source.ty, slot };
            let left = unlinked_in(ty, via, &target.id, doc.get(of));
            drop(doc);
            working.set(&source, of, left)?;
            continue;
        }
        let left = match doc.get(slot) {
            Value::List(elements) => {
                let left = elements.iter().filter(|element| **element != Value::Ref(target.id.clone()));
                Value::List(left.cloned().collect())
            }
            _ => Value::Absent,
        };
        working.set(&source, slot, left)?;
    }
    for key in doomed {
        let Some(doc) = working.after(&key)? else { continue };
        order::leave(working, &key, &doc, None)?;
        working.refer_all(&key, Some(&doc), None);
        working.replace(&key, None)?;
    }
    Ok(())
}

/// The place of a link in a refusal; of an embedded one the members that lead to it, as `lines/author`.
fn place_of(field: &Field) -> String {
    field.label().trim_start_matches('#').replace('.', "/")
}

/// A value without the links to a target that a field of embedded links has.
fn unlinked_in(ty: &ValueType, via: FieldRef, target: &Id, value: &Value) -> Value {
    match (ty, value) {
        (ValueType::Link { via: of, .. }, Value::Ref(id)) if *of == via && id == target => Value::Absent,
        (ValueType::List(of) | ValueType::Set(of), Value::List(elements)) => {
            Value::List(elements.iter().map(|element| unlinked_in(of, via, target, element)).collect())
        }
        (ValueType::Map(of), Value::Object(values)) => {
            let unlinked =
                |(key, value): &(SmolStr, Value)| (key.clone(), unlinked_in(of, via, target, value));
            Value::Object(values.iter().map(unlinked).collect())
        }
        (ValueType::Object(members), Value::Object(held)) => {
            let unlinked = held.iter().map(|(name, value)| {
                let member = members.iter().find(|member| member.name == *name);
                let value = member.map(|member| unlinked_in(&member.ty, via, target, value));
                (name.clone(), value.unwrap_or_default())
            });
            Value::Object(unlinked.filter(|(_, value)| !matches!(value, Value::Absent)).collect())
        }
        (_, value) => value.clone(),
    }
}

/// The most parents above a resource that is created or moved; what moves along below it may have more.
pub const MAX_PARENTS: usize = 1_024;

/// Is there room below a parent?
fn check_depth(working: &Working<'_>, parent: &Key) -> Result<Option<Refusal>, EngineError> {
    let schema = working.schema;
    let mut at = parent.clone();
    for _ in 0..MAX_PARENTS {
        let Some(doc) = working.after(&at)? else { return Ok(None) };
        let above = doc.parent(schema, at.ty).map(|(collection, id)| Key::new(collection.ty, id.clone()));
        match above {
            Some(above) => at = above,
            None => return Ok(None),
        }
    }
    let message =
        format!("{} has {MAX_PARENTS} parents above it, and there may be no more", name(working, parent));
    Ok(Some(Refusal::new("too-deep", None, message)))
}

/// Each resource that the transaction touched stands in one place: it has no two parents, since what is below one is deleted
/// with it and has one path; and where its type has no root collection to be found in it has one, unless it had none before,
/// as after a collection was taken out of the schema.
fn check_parents(working: &Working<'_>, writes: &[Write]) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut found = Vec::new();
    for (key, touched) in &working.touched {
        let Some(doc) = &touched.after else { continue };
        let ty = schema.ty(key.ty);
        if ty.parents.is_empty() {
            continue;
        }
        let has_parent = |doc: &Doc| ty.parents.iter().any(|slot| !doc.get(*slot).is_null());
        let mut parents = ty.parents.iter().filter(|slot| !doc.get(**slot).is_null());
        let mut refusal = match (parents.next(), parents.next()) {
            (Some(_), Some(second)) => {
                let message = format!("{} would have two parents", name(working, key));
                Refusal::new("two-parents", Some(&ty.field(*second).name), message)
            }
            (None, _) if ty.root.is_none() && touched.before.as_deref().is_none_or(has_parent) => {
                parentless(working, key)
            }
            _ => continue,
        };
        refusal.write = writes.iter().rposition(|write| write.key() == key);
        found.push(refusal);
    }
    if found.is_empty() {
        return Ok(());
    }
    // What was touched is in no order.
    found.sort_by(|left, right| (left.write, &left.path).cmp(&(right.write, &right.path)));
    Err(EngineError::Refused(found))
}

/// What is told of a resource that would be in no collection; the place is its link to the parent, if only one can hold it.
fn parentless(working: &Working<'_>, key: &Key) -> Refusal {
    let ty = working.schema.ty(key.ty);
    let links: Vec<&str> = ty.parents.iter().map(|slot| ty.field(*slot).name.as_str()).collect();
    let message = format!("{} is owned, and needs a parent: `{}`", name(working, key), links.join("` or `"));
    let place = if let [link] = links[..] { Some(link) } else { None };
    Refusal::new("parent", place, message)
}

/// Every link that the transaction set leads to a resource.
fn check_links(working: &mut Working<'_>, writes: &[Write], deletes: bool) -> Result<(), EngineError> {
    let schema = working.schema;
    let mut found = Vec::new();
    let mut linked: Vec<(Key, Key, Slot)> = Vec::new();
    let mut children: Vec<(Key, Key)> = Vec::new();
    for (key, touched) in &working.touched {
        let Some(doc) = &touched.after else { continue };
        for (slot, field) in schema.ty(key.ty).slots() {
            let target = match &field.kind {
                FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => *target,
                FieldKind::Embedded { of, target, .. } if schema.ty(key.ty).field(*of).is_fact() => *target,
                FieldKind::Parent { collection } => collection.ty,
                _ => continue,
            };
            let at = match field.kind {
                FieldKind::Embedded { of, .. } => of,
                _ => slot,
            };
            // What it was before leads somewhere still, unless the transaction deleted that, unlinked it, and linked it anew.
            let same = touched.before.as_ref().is_some_and(|before| before.get(at) == doc.get(at));
            if same && !deletes {
                continue;
            }
            let here = FieldRef { ty: key.ty, slot };
            let targets: Vec<Key> =
                working::linked(schema, here, doc).into_iter().map(|id| Key::new(target, id)).collect();
            if let (FieldKind::Parent { .. }, false) = (&field.kind, same) {
                children.extend(targets.iter().map(|parent| (parent.clone(), key.clone())));
            }
            linked.extend(targets.into_iter().map(|target| (target, key.clone(), slot)));
        }
    }
    let missing = missing_of(working, &linked)?;
    for (parent, key) in &children {
        if let Some(mut refusal) = check_depth(working, parent)? {
            refusal.write = writes.iter().rposition(|write| write.key() == key);
            found.push(refusal);
        }
    }
    for (target, key, slot) in linked.iter().filter(|(target, _, _)| missing.contains(&target)) {
        let mut refusal = leads_nowhere(working, FieldRef { ty: key.ty, slot: *slot }, target);
        refusal.write = writes.iter().rposition(|write| write.key() == key);
        found.push(refusal);
    }
    if found.is_empty() {
        return Ok(());
    }
    // What was touched is in no order.
    found.sort_by(|left, right| (left.write, &left.path).cmp(&(right.write, &right.path)));
    Err(EngineError::Refused(found))
}

/// Of what is linked to (target, who links, by which field), what is not there. Where many link they mostly link to the same, so each is looked
/// for once.
fn missing_of<'l>(
    working: &Working<'_>,
    linked: &'l [(Key, Key, Slot)],
) -> Result<HashSet<&'l Key, RandomState>, EngineError> {
    let mut targets: Vec<&Key> = linked.iter().map(|(target, _, _)| target).collect();
    if targets.len() > FEW_LINKS {
        targets = targets.into_iter().collect::<HashSet<_, RandomState>>().into_iter().collect();
    }
    working.prefetch(targets.iter().copied())?;
    let mut missing = HashSet::default();
    for target in targets {
        if working.after(target)?.is_none() {
            missing.insert(target);
        }
    }
    Ok(missing)
}

/// Refuses a link of a field to what is not there.
pub fn leads_nowhere(working: &Working<'_>, field: FieldRef, target: &Key) -> Refusal {
    let place = place_of(working.schema.field(field));
    let message = format!("`{place}` links to {}, which is not there", name(working, target));
    Refusal::new("link", Some(&place), message)
}
