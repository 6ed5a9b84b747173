//! Values to JSON, straight into bytes.
//!
//! Int is a JSON number, decimal a text, datetimes RFC 3339 in UTC, bytes base64, a link `{"_id", "_self"}`, an error value
//! `{"_error": "#div0"}`. A field without a value is left out.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use corollary_engine::eval::View;
use corollary_engine::lazy;
use corollary_engine::order;
use corollary_engine::reply::Shown;
use corollary_engine::updates::ledger::slots_behind;
use corollary_engine::updates::settled::{READ_LIMIT, Settled, SettledDoc};
use corollary_engine::working::{Working, targets};
use corollary_engine::{Doc, EngineError, Key, Update, among};
use corollary_schema::typed::Expr;
use corollary_schema::{Field, FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};
use hashbrown::HashMap;

use super::ahead::MAX_EXPANDED_VISITED;
use super::held::Held;
use super::within::Within;
use crate::mounts::{Scope, names_of};
use crate::path;

/// The deepest expansion.
pub const MAX_EXPAND_DEPTH: usize = 8;

/// The most members of one expanded list.
pub const MAX_EXPANDED_MEMBERS: usize = 1_000;

/// The most resources in one reply, expanded ones included.
pub const MAX_EXPANDED_RESOURCES: usize = 10_000;

/// Which fields a reply shows, and which of them in full.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Only these; all where none are named.
    pub fields: Option<Vec<Slot>>,
    /// What stands in full instead of as a link. Of a link to one of several types its hidden parts, since each type has
    /// fields of its own.
    pub expand: Vec<(Slot, Shape)>,
    /// Which parts of objects are shown, where not all of them are as they are.
    pub within: Vec<(Slot, Within)>,
    /// Does it say its type? It does among resources of others.
    pub typed: bool,
    /// Which members stand there, where it is of an expanded list.
    pub selection: Option<Selection>,
    /// The mount that shows it: its own names, and its path.
    pub scope: Option<Arc<Scope>>,
}

/// Which members of an expanded list are shown, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Those for which this holds.
    pub filter: Option<Expr>,
    /// In this order, true is descending; otherwise as they stand.
    pub order: Vec<(Expr, bool)>,
    /// The first so many.
    pub limit: Option<usize>,
}

impl Selection {
    /// Does it look at the members?
    pub fn looks(&self) -> bool {
        self.filter.is_some() || !self.order.is_empty()
    }

    /// How many members it may have to look at.
    pub fn visits(&self) -> usize {
        match (self.looks(), self.limit) {
            (true, _) => MAX_EXPANDED_VISITED,
            (false, limit) => limit.unwrap_or(MAX_EXPANDED_MEMBERS),
        }
    }
}

impl Shape {
    /// All expressions by which members are chosen, at any depth.
    pub fn expressions(&self) -> Vec<&Expr> {
        let mut found = Vec::new();
        if let Some(selection) = &self.selection {
            found.extend(selection.filter.iter().chain(selection.order.iter().map(|(by, _)| by)));
        }
        found.extend(self.expand.iter().flat_map(|(_, inner)| inner.expressions()));
        found.extend(self.within.iter().flat_map(|(_, inner)| inner.expressions()));
        found
    }

    /// What is shown of the objects in a field, to be changed.
    pub fn within(&mut self, slot: Slot) -> &mut Within {
        let at = self.within.iter().position(|(at, _)| *at == slot).unwrap_or_else(|| {
            self.within.push((slot, Within::default()));
            self.within.len() - 1
        });
        &mut self.within[at].1
    }

    /// What is shown of the objects in a field, unless it is all of them as they are.
    fn parts(&self, slot: Slot) -> Option<&Within> {
        self.within.iter().find(|(at, _)| *at == slot).map(|(_, within)| within)
    }

    /// Does one resource of a type show more than one of another anywhere?
    pub(super) fn leads_to_many(&self, schema: &Schema, ty: TypeIx) -> bool {
        self.within.iter().any(|(_, within)| within.expands())
            || self.expand.iter().any(|(slot, inner)| {
                let at = FieldRef { ty, slot: *slot };
                let target = target_of(schema, at).filter(|_| !holds_many(schema, at));
                target.is_none_or(|target| inner.leads_to_many(schema, target))
            })
    }

    /// Is it all of a resource, by the names of the schema, and nothing else in full?
    fn is_whole(&self) -> bool {
        self.fields.is_none() && self.expand.is_empty() && self.within.is_empty() && self.scope.is_none()
    }

    /// Is a field to be written, in full or not?
    pub fn shows(&self, slot: Slot) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.contains(&slot))
            || self.expand.iter().any(|(at, _)| *at == slot)
            || self.parts(slot).is_some_and(Within::expands)
    }
}

/// Writes resources, and counts them against the limit.
pub struct Encoder<'w, 'a> {
    working: &'w Working<'a>,
    /// What is written so far.
    pub out: Vec<u8>,
    resources: usize,
    shows: Shows<'w, 'a>,
    /// The fields that were marked as pending so far, by type and field.
    pub pending: BTreeSet<String>,
    /// The members of expanded lists that have been chosen already, by field and owner.
    pub(super) members: HashMap<(FieldRef, Id), Vec<Id>>,
}

/// What is shown of values that an update has yet to reach.
enum Shows<'w, 'a> {
    /// There are none.
    Stored,
    /// What follows from the facts, as far as a limit of values allows; what is beyond it is marked.
    Settled(Settled<'w, 'a>, usize),
    /// What a commit left; all that these updates may have left behind is marked.
    Left(Vec<Arc<Update>>),
    /// What was kept of the past; what only the present can tell is left out.
    Past,
}

impl<'w, 'a> Encoder<'w, 'a> {
    /// Nothing written.
    pub fn new(working: &'w Working<'a>) -> Encoder<'w, 'a> {
        Encoder::settling(working, READ_LIMIT)
    }

    /// Computes what may be behind from the facts, however much that takes.
    pub fn exact(working: &'w Working<'a>) -> Encoder<'w, 'a> {
        Encoder::settling(working, usize::MAX)
    }

    fn settling(working: &'w Working<'a>, limit: usize) -> Encoder<'w, 'a> {
        let settled = Settled::new(working);
        let shows = if settled.is_trivial() { Shows::Stored } else { Shows::Settled(settled, limit) };
        Encoder::showing(working, shows)
    }

    /// For resources that come as they are to be shown, but for their lazy fields: [`Encoder::result`].
    pub fn of_results(working: &'w Working<'a>) -> Encoder<'w, 'a> {
        Encoder::new(working)
    }

    /// Shows resources as a commit left them, and marks what it left behind.
    pub fn of_commit(working: &'w Working<'a>, left: Vec<Arc<Update>>) -> Encoder<'w, 'a> {
        let shows = if left.is_empty() { Shows::Stored } else { Shows::Left(left) };
        Encoder::showing(working, shows)
    }

    /// Shows resources as they were once.
    pub fn past(working: &'w Working<'a>) -> Encoder<'w, 'a> {
        Encoder::showing(working, Shows::Past)
    }

    fn showing(working: &'w Working<'a>, shows: Shows<'w, 'a>) -> Encoder<'w, 'a> {
        Encoder {
            working,
            out: Vec::with_capacity(512),
            resources: 0,
            shows,
            pending: BTreeSet::new(),
            members: HashMap::new(),
        }
    }

    /// A resource as it is to be shown, and the slots of it that are to be marked.
    fn shown<'d>(&self, key: &Key, doc: &'d Doc, shape: &Shape) -> Result<SettledDoc<'d>, EngineError> {
        let settled = match &self.shows {
            Shows::Stored if self.working.schema.ty(key.ty).lazy.is_empty() => {
                return Ok(SettledDoc { doc: Cow::Borrowed(doc), pending: Vec::new() });
            }
            Shows::Settled(settled, limit) => settled.doc(key, doc, *limit)?,
            Shows::Stored | Shows::Past => SettledDoc { doc: Cow::Borrowed(doc), pending: Vec::new() },
            Shows::Left(left) => {
                let pending = slots_behind(self.working.schema, left, key.ty);
                SettledDoc { doc: Cow::Borrowed(doc), pending }
            }
        };
        self.filled(key, settled, shape)
    }

    /// A resource with those of its lazy fields that are shown, computed now; what they were once nobody knows.
    fn filled<'d>(
        &self,
        key: &Key,
        mut shown: SettledDoc<'d>,
        shape: &Shape,
    ) -> Result<SettledDoc<'d>, EngineError> {
        let (working, wanted) = (self.working, |slot| shape.shows(slot));
        match &self.shows {
            Shows::Past => return Ok(shown),
            Shows::Settled(settled, limit) => return settled.fill(key, shown, *limit, &wanted),
            Shows::Stored => {}
            Shows::Left(left) => shown.pending.extend(lazy::slots_behind(working.schema, left, key.ty)),
        }
        shown.doc = lazy::filled(working, key, shown.doc, &wanted)?;
        Ok(shown)
    }

    /// Loads what the lazy fields of some resources of a type read, and whose names stand in the paths of their links,
    /// before they are written one after the other.
    pub fn prefetch(&self, ty: TypeIx, ids: &[&Id], shape: &Shape) -> Result<(), EngineError> {
        if ids.len() < 2 || matches!(self.shows, Shows::Past) {
            return Ok(());
        }
        self.prefetch_named(ty, ids, shape)?;
        if self.working.schema.ty(ty).lazy.is_empty() {
            return Ok(());
        }
        lazy::prefetch(self.working, ty, ids, &|slot| shape.shows(slot))
    }

    fn prefetch_named(&self, ty: TypeIx, ids: &[&Id], shape: &Shape) -> Result<(), EngineError> {
        let schema = self.working.schema;
        let slots = schema.ty(ty).slots().filter(|(slot, field)| shape.shows(*slot) && field.in_document());
        let links = slots.filter_map(|(slot, _)| Some((slot, target_of(schema, FieldRef { ty, slot })?)));
        let links: Vec<(Slot, TypeIx)> = links
            .filter(|(_, target)| schema.ty(*target).path.is_some() || !schema.ty(*target).parents.is_empty())
            .collect();
        if links.is_empty() {
            return Ok(());
        }
        let mut linked = BTreeSet::new();
        let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, (*id).clone())).collect();
        self.working.prefetch(keys.iter())?;
        for id in ids {
            let Some(doc) = self.working.after(&Key::new(ty, (*id).clone()))? else { continue };
            for (slot, target) in &links {
                linked.extend(targets(doc.get(*slot)).into_iter().map(|id| Key::new(*target, id)));
            }
        }
        self.working.prefetch(linked.iter())?;
        self.above(linked.into_iter().collect())
    }

    /// What it reads from.
    pub fn working(&self) -> &'w Working<'a> {
        self.working
    }

    /// Writes a resource.
    pub fn resource(&mut self, key: &Key, doc: &Doc, shape: &Shape) -> Result<(), EngineError> {
        self.resources += 1;
        if self.resources > MAX_EXPANDED_RESOURCES {
            let message =
                format!("the reply would hold more than {MAX_EXPANDED_RESOURCES} resources; expand less");
            return Err(EngineError::refused("expand-limit", None, message));
        }
        let SettledDoc { doc, pending } = self.shown(key, doc, shape)?;
        self.write(key, &doc, &pending, shape)
    }

    /// Writes the resource of a write, as it was made to be shown.
    pub fn result(
        &mut self,
        key: &Key,
        shown: &Shown,
        scope: Option<&Arc<Scope>>,
    ) -> Result<(), EngineError> {
        let (shape, pending) = (Shape { scope: scope.cloned(), ..Shape::default() }, shown.pending.clone());
        if !self.working.shows(key, &shown.doc)? {
            // Who wrote it knows where it is, and no more.
            return self.hidden(key, &shown.doc, &shape);
        }
        let shown = SettledDoc { doc: Cow::Borrowed(&*shown.doc), pending };
        let SettledDoc { doc, pending } = self.filled(key, shown, &shape)?;
        self.write(key, &doc, &pending, &shape)
    }

    /// Writes where a resource is, and nothing else of it.
    fn hidden(&mut self, key: &Key, doc: &Doc, shape: &Shape) -> Result<(), EngineError> {
        self.head(key, doc, shape)?;
        self.out.push(b'}');
        Ok(())
    }

    fn head(&mut self, key: &Key, doc: &Doc, shape: &Shape) -> Result<(), EngineError> {
        self.out.extend_from_slice(b"{\"_id\":\"");
        key.id.push_text(&mut self.out);
        self.out.extend_from_slice(b"\",\"_self\":\"");
        match &shape.scope {
            Some(scope) => scope.push_self(self.working, key, Some(doc), &mut self.out),
            None => path::push_canonical(self.working, key, Some(doc), &mut self.out)?,
        }
        self.out.push(b'"');
        Ok(())
    }

    fn write(&mut self, key: &Key, doc: &Doc, pending: &[Slot], shape: &Shape) -> Result<(), EngineError> {
        self.head(key, doc, shape)?;
        if shape.typed {
            self.out.extend_from_slice(b",\"_type\":\"");
            self.out.extend_from_slice(self.working.schema.ty(key.ty).name.as_bytes());
            self.out.push(b'"');
        }
        self.out.extend_from_slice(b",\"_revision\":\"");
        number(doc.revision, &mut self.out);
        self.out.push(b'"');
        if !matches!(self.shows, Shows::Past)
            && let Some(place) = order::place(self.working, key, doc)?
        {
            let _ = write!(self.out, ",\"{}\":{place}", order::NAME);
        }
        let resource = names_of(shape.scope.as_ref(), self.working.schema).ty(key.ty);
        let is_shown = |slot: &Slot| shape.fields.as_ref().is_none_or(|fields| fields.contains(slot));
        // Objects with derived members stand under the name of their field.
        let is_behind = |slot: &Slot| pending.contains(slot) || pending.contains(&resource.shown(*slot));
        let visible = resource.slots().filter(|(slot, field)| is_shown(slot) && field.visible());
        let marked: Vec<&Field> = match pending.is_empty() {
            true => Vec::new(),
            false => visible.filter(|(slot, _)| is_behind(slot)).map(|(_, field)| field).collect(),
        };
        if !marked.is_empty() {
            self.out.extend_from_slice(b",\"_pending\":[");
            for (at, field) in marked.iter().enumerate() {
                self.out.extend_from_slice(if at > 0 { b",\"" } else { b"\"" });
                self.out.extend_from_slice(field.name.as_bytes());
                self.out.push(b'"');
                self.pending.insert(format!("{}.{}", resource.name, field.name));
            }
            self.out.push(b']');
        }
        if shape.is_whole() {
            self.whole(key, doc, shape)?;
            self.out.push(b'}');
            return Ok(());
        }
        for (slot, field) in resource.slots() {
            let expanded = shape.expand.iter().find(|(at, _)| *at == slot).map(|(_, shape)| shape);
            let shown = is_shown(&slot) && field.visible();
            if let FieldKind::Among { parts, many, .. } = &field.kind {
                if shown || shape.expand.iter().any(|(at, _)| parts.contains(at)) {
                    self.among(key.ty, slot, *many, doc, shape)?;
                }
                continue;
            }
            if let FieldKind::Several { parts, .. } = &field.kind {
                if shape.expand.iter().any(|(at, _)| parts.contains(at)) {
                    self.several(key, field, parts, shape)?;
                }
                continue;
            }
            let parts = shape.parts(slot);
            if field.is_part() || !(shown || expanded.is_some() || parts.is_some_and(Within::expands)) {
                continue;
            }
            let at = FieldRef { ty: key.ty, slot };
            match (&field.kind, expanded) {
                (
                    FieldKind::Collection { child: ty, .. } | FieldKind::Inverse { of: FieldRef { ty, .. } },
                    Some(shape),
                ) => {
                    let ids = self.members_of(at, &key.id, shape)?;
                    self.name(&field.name);
                    self.expanded_list(*ty, &ids, shape)?;
                }
                (FieldKind::Collection { .. } | FieldKind::Inverse { .. }, None) => {}
                (_, expanded) => {
                    let value = doc.get(resource.shown(slot));
                    if !matches!(value, Value::Absent) {
                        self.name(&field.name);
                        match (expanded, target_of(self.working.schema, at)) {
                            (Some(shape), Some(target)) => self.expanded(target, value, field, shape)?,
                            _ if field.is_file() => {
                                let only = parts.and_then(|parts| parts.members.as_deref());
                                self.file(key, doc, &self.working.schema.field(at).name, value, only)?
                            }
                            _ => {
                                let held = Held::by(self.working.schema, at);
                                match parts {
                                    Some(parts) => self.within(value, held, parts, shown)?,
                                    None => self.value(value, held)?,
                                }
                            }
                        }
                    }
                }
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// Writes all fields of a resource, of which none is shown otherwise than it stands.
    fn whole(&mut self, key: &Key, doc: &Doc, shape: &Shape) -> Result<(), EngineError> {
        let schema = self.working.schema;
        let resource = schema.ty(key.ty);
        for slot in resource.told.iter().copied() {
            let field = resource.field(slot);
            if let FieldKind::Among { many, .. } = &field.kind {
                self.among(key.ty, slot, *many, doc, shape)?;
                continue;
            }
            let value = doc.get(resource.shown(slot));
            match value {
                Value::Absent => {}
                Value::Object(_) if field.is_file() => {
                    self.name(&field.name);
                    self.file(key, doc, &field.name, value, None)?;
                }
                Value::Ref(_) | Value::List(_) | Value::Object(_) => {
                    self.name(&field.name);
                    self.value(value, Held::by(schema, FieldRef { ty: key.ty, slot }))?;
                }
                value => {
                    self.name(&field.name);
                    plain(value, &mut self.out);
                }
            }
        }
        Ok(())
    }

    fn name(&mut self, name: &str) {
        // Names are letters, digits and `_`.
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// Writes a link, or links, to one of several types, if there is one.
    fn among(
        &mut self,
        ty: TypeIx,
        slot: Slot,
        many: bool,
        doc: &Doc,
        shape: &Shape,
    ) -> Result<(), EngineError> {
        let schema = self.working.schema;
        if !among::is_set(schema, ty, slot, doc) {
            return Ok(());
        }
        let targets = among::targets(schema, ty, slot, doc);
        let field = names_of(shape.scope.as_ref(), schema).field(FieldRef { ty, slot });
        let parts = || schema.ty(ty).parts(slot).iter();
        let expanded = |key: &Key| {
            let part = parts().find(|part| schema.ty(ty).link_target(**part) == Some(key.ty))?;
            shape.expand.iter().find(|(at, _)| at == part).map(|(_, shape)| shape)
        };
        if targets.len() > MAX_EXPANDED_MEMBERS
            && shape.expand.iter().any(|(at, _)| parts().any(|it| it == at))
        {
            return Err(too_many(field, targets.len()));
        }
        self.name(&field.name);
        if many {
            self.out.push(b'[');
        }
        for (at, key) in targets.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            match (expanded(key), self.working.after(key)?) {
                (Some(shape), Some(doc)) => self.resource(key, &doc, shape)?,
                _ => self.typed_link(key)?,
            }
        }
        if many {
            self.out.push(b']');
        }
        Ok(())
    }

    /// Writes a collection or an inverse of several types in full, in the order of ids.
    fn several(
        &mut self,
        key: &Key,
        field: &Field,
        parts: &[Slot],
        shape: &Shape,
    ) -> Result<(), EngineError> {
        let schema = self.working.schema;
        let mut keys: Vec<(Key, &Shape)> = Vec::new();
        for part in parts {
            let of = schema.way_back(FieldRef { ty: key.ty, slot: *part });
            let expanded = shape.expand.iter().find(|(at, _)| at == part);
            let (Some(of), Some((_, shape))) = (of, expanded) else { continue };
            let ids = self.working.referrers(of, &key.id)?;
            keys.extend(ids.into_iter().map(|id| (Key::new(of.ty, id), shape)));
        }
        if keys.len() > MAX_EXPANDED_MEMBERS {
            return Err(too_many(field, keys.len()));
        }
        // Those of each type are in that order already, and stay in that of the types where an id is the same.
        keys.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));
        self.working.prefetch(keys.iter().map(|(key, _)| key))?;
        self.name(&field.name);
        self.out.push(b'[');
        let mut first = true;
        for (key, shape) in keys {
            if let Some(doc) = self.working.after(&key)? {
                if !std::mem::take(&mut first) {
                    self.out.push(b',');
                }
                self.resource(&key, &doc, shape)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Writes what a link to one of several types leads to in a document, without a name; null where it leads nowhere.
    pub fn among_value(&mut self, ty: TypeIx, slot: Slot, doc: &Doc) -> Result<(), EngineError> {
        let schema = self.working.schema;
        let many = matches!(schema.field(FieldRef { ty, slot }).kind, FieldKind::Among { many: true, .. });
        let targets = among::targets(schema, ty, slot, doc);
        if targets.is_empty() && !many {
            self.out.extend_from_slice(b"null");
        }
        if many {
            self.out.push(b'[');
        }
        for (at, key) in targets.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.typed_link(key)?;
        }
        if many {
            self.out.push(b']');
        }
        Ok(())
    }

    /// Writes a link that says its type.
    fn typed_link(&mut self, key: &Key) -> Result<(), EngineError> {
        self.out.extend_from_slice(b"{\"_id\":\"");
        key.id.push_text(&mut self.out);
        self.out.extend_from_slice(b"\",\"_self\":\"");
        path::push_canonical(self.working, key, None, &mut self.out)?;
        self.out.extend_from_slice(b"\",\"_type\":\"");
        self.out.extend_from_slice(self.working.schema.ty(key.ty).name.as_bytes());
        self.out.extend_from_slice(b"\"}");
        Ok(())
    }

    /// Writes what is known of a file, or `only` some of that, with its path before it.
    fn file(
        &mut self,
        key: &Key,
        doc: &Doc,
        name: &str,
        value: &Value,
        only: Option<&[String]>,
    ) -> Result<(), EngineError> {
        let Value::Object(members) = value else { return self.value(value, Held::Plain) };
        self.out.extend_from_slice(b"{\"_self\":\"");
        path::push_canonical(self.working, key, Some(doc), &mut self.out)?;
        // Names are letters, digits and `_`.
        let _ = write!(self.out, "/{name}\"");
        let is_shown = |name: &str| only.is_none_or(|only| only.iter().any(|it| it == name));
        for (name, value) in members.iter().filter(|(name, _)| is_shown(name)) {
            self.name(name);
            self.value(value, Held::Plain)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn expanded(
        &mut self,
        ty: TypeIx,
        value: &Value,
        field: &Field,
        shape: &Shape,
    ) -> Result<(), EngineError> {
        match value {
            Value::Ref(id) => {
                let key = Key::new(ty, id.clone());
                match self.working.after(&key)? {
                    Some(doc) => self.resource(&key, &doc, shape),
                    None => self.value(value, Held::Link(ty)),
                }
            }
            Value::List(elements) => {
                let ids: Vec<Id> = elements
                    .iter()
                    .filter_map(|element| if let Value::Ref(id) = element { Some(id.clone()) } else { None })
                    .collect();
                let ids = self.chosen(ty, ids, field, shape)?;
                self.expanded_list(ty, &ids, shape)
            }
            value => self.value(value, Held::Link(ty)),
        }
    }

    /// The members of a collection or an inverse that are shown.
    fn members_of(&mut self, at: FieldRef, owner: &Id, shape: &Shape) -> Result<Vec<Id>, EngineError> {
        if let Some(members) = self.members.get(&(at, owner.clone())) {
            return Ok(members.clone());
        }
        let field = self.working.schema.field(at);
        let (ty, ids) = match field.kind {
            FieldKind::Collection { child, via } => {
                let ordered = order::children(self.working, via, owner)?;
                (child, ordered.map_or_else(|| self.working.referrers(via, owner), Ok)?)
            }
            FieldKind::Inverse { of } => (of.ty, self.working.referrers(of, owner)?),
            _ => return Ok(Vec::new()),
        };
        self.chosen(ty, ids, field, shape)
    }

    fn expanded_list(&mut self, ty: TypeIx, ids: &[Id], shape: &Shape) -> Result<(), EngineError> {
        let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, id.clone())).collect();
        self.working.prefetch(keys.iter())?;
        self.prefetch(ty, &ids.iter().collect::<Vec<_>>(), shape)?;
        self.out.push(b'[');
        let mut first = true;
        for key in &keys {
            if let Some(doc) = self.working.after(key)? {
                if !std::mem::take(&mut first) {
                    self.out.push(b',');
                }
                self.resource(key, &doc, shape)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Writes a value.
    pub fn value(&mut self, value: &Value, held: Held<'_>) -> Result<(), EngineError> {
        match value {
            Value::Ref(id) => {
                self.out.extend_from_slice(b"{\"_id\":\"");
                id.push_text(&mut self.out);
                self.out.push(b'"');
                if let Held::Link(ty) = held {
                    self.out.extend_from_slice(b",\"_self\":\"");
                    path::push_canonical_of(self.working, ty, id, &mut self.out)?;
                    self.out.push(b'"');
                }
                self.out.push(b'}');
            }
            Value::List(elements) => {
                self.out.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    self.value(element, held)?;
                }
                self.out.push(b']');
            }
            Value::Object(members) => {
                self.out.push(b'{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    text(name, &mut self.out);
                    self.out.push(b':');
                    self.value(value, held.member(name))?;
                }
                self.out.push(b'}');
            }
            plain => self::plain(plain, &mut self.out),
        }
        Ok(())
    }
}

fn too_many(field: &Field, members: usize) -> EngineError {
    let message = format!(
        "`{}` has {members} members, and at most {MAX_EXPANDED_MEMBERS} are expanded; read it page by page",
        field.name
    );
    EngineError::refused("expand-limit", None, message)
}

/// A value without parts.
fn plain(value: &Value, out: &mut Vec<u8>) {
    // Writing to bytes in memory does not fail.
    match value {
        Value::Absent | Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int(value) => number(*value, out),
        Value::Float(value) if value.is_finite() => {
            let _ = serde_json::to_writer(out, value);
        }
        Value::Bytes(bytes) => {
            out.push(b'"');
            out.extend_from_slice(BASE64_STANDARD.encode(bytes).as_bytes());
            out.push(b'"');
        }
        Value::Str(value) => text(value, out),
        Value::Error(error) => {
            let _ = write!(out, "{{\"_error\":\"{error}\"}}");
        }
        other => text(&other.to_string(), out),
    }
}

/// A whole number.
fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A text with what JSON wants escaped.
pub fn text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

/// Does a field lead to any number of resources, not to one?
pub fn holds_many(schema: &Schema, field: FieldRef) -> bool {
    match &schema.field(field).kind {
        FieldKind::Collection { .. } | FieldKind::Inverse { .. } | FieldKind::Links { .. } => true,
        FieldKind::Derived { expr, .. } => expr.ty.is_many(),
        FieldKind::Aggregate { ty, .. } => ty.is_many(),
        _ => false,
    }
}

/// The type that references in a field lead to.
pub fn target_of(schema: &Schema, field: FieldRef) -> Option<TypeIx> {
    match &schema.field(field).kind {
        FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => Some(*target),
        FieldKind::Parent { collection } => Some(collection.ty),
        FieldKind::Collection { child, .. } => Some(*child),
        FieldKind::Inverse { of } => Some(of.ty),
        FieldKind::Embedded { target, .. } => Some(*target),
        FieldKind::Derived { expr, .. } => expr.ty.resource(),
        FieldKind::Aggregate { ty, .. } => ty.resource(),
        FieldKind::Stored(_)
        | FieldKind::Position { .. }
        | FieldKind::Among { .. }
        | FieldKind::Several { .. } => None,
    }
}

/// What a link to one of several types leads to, as a body for a POST has it.
pub fn bare_among(schema: &Schema, ty: TypeIx, slot: Slot, doc: &Doc, out: &mut Vec<u8>) {
    let many = matches!(schema.field(FieldRef { ty, slot }).kind, FieldKind::Among { many: true, .. });
    if many {
        out.push(b'[');
    }
    for (at, key) in among::targets(schema, ty, slot, doc).iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        // Writing to bytes in memory does not fail.
        let _ = write!(out, "{{\"_id\":\"{}\",\"_type\":\"{}\"}}", key.id, schema.ty(key.ty).name);
    }
    if many {
        out.push(b']');
    }
}

/// A value as a body for a POST has it: a link is the id of its target.
pub fn bare(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Ref(id) => text(&id.to_string(), out),
        Value::List(elements) => {
            out.push(b'[');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                bare(element, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (at, (name, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                text(name, out);
                out.push(b':');
                bare(value, out);
            }
            out.push(b'}');
        }
        value => plain(value, out),
    }
}
