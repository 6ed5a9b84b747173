//! `?dry_run=true` on any write: what it would do, and nothing is done.
//!
//! The transaction is run by [`corollary_engine::dry_run`] and dropped; here its changes become JSON. A refusal is the
//! refusal of the real write. Read next: [`super::commit`].

use std::io::Write as _;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corollary_engine::dry_run::{Begun, Tried};
use corollary_engine::reply::Request;
use corollary_engine::updates::Settled;
use corollary_engine::working::{Working, linked};
use corollary_engine::{Change, Doc, EngineError, Key, among, order};
use corollary_schema::{FieldKind, FieldRef, Schema, Slot};
use hashbrown::HashSet;
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::commit::Tell;
use super::{App, REVISION_HEADER, json as json_reply, updates, with_header};
use crate::json::encode::{Encoder, Shape, text};
use crate::json::held::Held;
use crate::path;
use crate::problem::Problem;

/// The most resources that are listed as created, changed and deleted each; all are counted.
pub const MAX_LISTED: usize = 1_000;

/// Tries a transaction, and replies with what it would do.
pub(crate) fn reply(app: &App, request: &Request<'_>, tell: &Tell) -> Result<Response<Body>, Problem> {
    let engine = app.node.engine();
    let tried = || engine.dry_run(request, Timestamp::now(), |tried| shown(tried, tell));
    let (body, revision) = tokio::task::block_in_place(tried)?;
    Ok(with_header(json_reply(StatusCode::OK, body), REVISION_HEADER, &revision.to_string()))
}

fn shown(tried: &Tried<'_, '_>, tell: &Tell) -> Result<(Vec<u8>, u64), EngineError> {
    let told = tell(tried.after, tried.committed)?;
    let schema = tried.after.schema;
    let changes = tried.committed.commit.iter().flat_map(|commit| &commit.changes);
    let changes: Vec<&Change> = changes.filter(|change| schema.ty(change.key.ty).visible()).collect();
    let (created, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.before.is_none());
    let (deleted, changed): (Vec<_>, Vec<_>) = rest.into_iter().partition(|change| change.after.is_none());
    let gone: HashSet<&Key> = deleted.iter().map(|change| &change.key).collect();
    let revision = tried.before.base.revision();
    // Writing to bytes in memory does not fail.
    let mut out = Vec::with_capacity(1_024);
    let _ = write!(out, "{{\"dry_run\":true,\"status\":{},\"revision\":\"{revision}\"", told.status.as_u16());
    list("created", &created, &mut out, |change, out| creation(tried, change, out))?;
    let settled = Settled::new(tried.after);
    list("changed", &changed, &mut out, |change, out| modification(tried, &settled, &gone, change, out))?;
    list("deleted", &deleted, &mut out, |change, out| {
        head(tried.before, change, change.before.as_deref(), out)?;
        out.push(b'}');
        Ok(())
    })?;
    let updates: Vec<Json> = tried.updates.iter().map(|begun| update(tried.after, begun)).collect();
    let _ = write!(out, ",\"updates\":{}", Json::from(updates));
    if let Some(body) = &told.body {
        out.extend_from_slice(b",\"reply\":");
        out.extend_from_slice(body);
    }
    out.push(b'}');
    Ok((out, revision))
}

/// A list with the count of all that are in it.
fn list(
    name: &str,
    changes: &[&Change],
    out: &mut Vec<u8>,
    one: impl Fn(&Change, &mut Vec<u8>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let _ = write!(out, ",\"{name}\":{{\"count\":{},\"resources\":[", changes.len());
    for (at, change) in changes.iter().take(MAX_LISTED).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        one(change, out)?;
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

fn creation(tried: &Tried<'_, '_>, change: &Change, out: &mut Vec<u8>) -> Result<(), EngineError> {
    let _ = write!(out, "{{\"type\":\"{}\",\"resource\":", tried.after.schema.ty(change.key.ty).name);
    if let Some(doc) = &change.after {
        let mut encoder = Encoder::new(tried.after);
        encoder.resource(&change.key, doc, &Shape::default())?;
        out.append(&mut encoder.out);
    }
    out.push(b'}');
    Ok(())
}

/// An object that is still open: which resource it is.
fn head(
    working: &Working<'_>,
    change: &Change,
    doc: Option<&Doc>,
    out: &mut Vec<u8>,
) -> Result<(), EngineError> {
    let Key { ty, id } = &change.key;
    let _ = write!(out, "{{\"type\":\"{}\",\"_id\":\"{id}\",\"_self\":", working.schema.ty(*ty).name);
    text(&path::canonical(working, &change.key, doc)?, out);
    let revision = change.before.as_ref().map_or(0, |before| before.revision);
    let _ = write!(out, ",\"_revision\":\"{revision}\"");
    Ok(())
}

fn modification(
    tried: &Tried<'_, '_>,
    settled: &Settled<'_, '_>,
    gone: &HashSet<&Key>,
    change: &Change,
    out: &mut Vec<u8>,
) -> Result<(), EngineError> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Ok(()) };
    let key = &change.key;
    let schema = tried.after.schema;
    let resource = schema.ty(key.ty);
    head(tried.after, change, Some(after), out)?;
    let unlinked: Vec<String> = unlinked(schema, key, before, after, gone);
    if !unlinked.is_empty() {
        let _ = write!(out, ",\"unlinked\":{}", Json::from(unlinked));
    }
    if change.moved(schema) {
        let old = path::canonical(tried.before, key, Some(before))?;
        let new = path::canonical(tried.after, key, Some(after))?;
        let _ = write!(out, ",\"moved\":{}", json!({"old": old, "new": new}));
    }
    let (mut facts, mut derived) = (Vec::new(), Vec::new());
    let mut pending = Vec::new();
    for (slot, field) in resource.slots().filter(|(_, field)| field.visible()) {
        if matches!(field.kind, FieldKind::Among { .. }) {
            if among::targets(schema, key.ty, slot, before) != among::targets(schema, key.ty, slot, after) {
                let mut old = Encoder::of_results(tried.before);
                old.among_value(key.ty, slot, before)?;
                let mut new = Encoder::of_results(tried.after);
                new.among_value(key.ty, slot, after)?;
                entry(&field.name, &old.out, &new.out, &mut facts);
            }
            continue;
        }
        let shown = resource.shown(slot);
        let (old, new) = (before.get(shown), after.get(shown));
        if matches!(resource.field(shown).kind, FieldKind::Derived { .. })
            && settled.may_be_behind(FieldRef { ty: key.ty, slot: shown }, &key.id)?
        {
            pending.push(field.name.as_str());
        }
        if old == new {
            continue;
        }
        // Of objects with derived members these may have changed alone.
        let is_fact = field.is_fact() && before.get(slot) != after.get(slot);
        let out = if is_fact { &mut facts } else { &mut derived };
        let held = Held::by(schema, FieldRef { ty: key.ty, slot });
        let mut encoder = Encoder::of_results(tried.before);
        encoder.value(old, held)?;
        let old = encoder.out;
        let mut encoder = Encoder::of_results(tried.after);
        encoder.value(new, held)?;
        entry(&field.name, &old, &encoder.out, out);
    }
    let is_place = |slot: &Slot| matches!(resource.field(*slot).kind, FieldKind::Position { .. });
    if change.changed.iter().any(is_place) || change.moved(schema) {
        let old = order::place(tried.before, key, before)?;
        let new = order::place(tried.after, key, after)?;
        let shown = |place: Option<u64>| place.map_or_else(|| b"null".to_vec(), |at| at.to_string().into());
        // What is stored of a place is another in another collection, though it may be counted the same there.
        if old != new {
            entry(order::NAME, &shown(old), &shown(new), &mut facts);
        }
    }
    for (name, members) in [("facts", facts), ("derived", derived)] {
        if !members.is_empty() {
            let _ = write!(out, ",\"{name}\":{{");
            out.extend_from_slice(&members);
            out.push(b'}');
        }
    }
    if !pending.is_empty() {
        let _ = write!(out, ",\"_pending\":{}", Json::from(pending));
    }
    out.push(b'}');
    Ok(())
}

fn entry(name: &str, old: &[u8], new: &[u8], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.push(b',');
    }
    text(name, out);
    out.extend_from_slice(b":{\"old\":");
    out.extend_from_slice(old);
    out.extend_from_slice(b",\"new\":");
    out.extend_from_slice(new);
    out.push(b'}');
}

/// The links that lose a target because it is deleted; those in objects by the members that lead to them.
fn unlinked(schema: &Schema, key: &Key, before: &Doc, after: &Doc, gone: &HashSet<&Key>) -> Vec<String> {
    let is_unlinked = |slot: Slot, target| {
        let field = FieldRef { ty: key.ty, slot };
        let left = linked(schema, field, after);
        let lost = linked(schema, field, before).into_iter().filter(|id| !left.contains(id));
        lost.map(|id| Key::new(target, id)).any(|key| gone.contains(&key))
    };
    let names = schema.ty(key.ty).slots().filter_map(|(slot, field)| match &field.kind {
        FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => {
            is_unlinked(slot, *target).then(|| field.label().to_string())
        }
        FieldKind::Embedded { of, target, .. } if schema.ty(key.ty).field(*of).is_fact() => {
            is_unlinked(slot, *target).then(|| field.name.trim_start_matches('#').to_string())
        }
        _ => None,
    });
    names.collect()
}

fn update(working: &Working<'_>, begun: &Begun) -> Json {
    let record = &begun.update.record;
    let mut shown = json!({
        "type": record.ty.as_str(),
        "field": record.field.as_str(),
        "estimated": begun.resources,
        "complete": begun.complete,
    });
    // The revision of one that is not there yet is not known.
    if begun.joined {
        shown["_id"] = record.id.to_string().into();
    }
    let mut cause = updates::cause(working, record);
    if let (false, Some(members)) = (begun.joined, cause.as_object_mut()) {
        members.remove("revision");
    }
    shown["cause"] = cause;
    shown
}
