//! A transaction on the model: facts are changed one after the other, and what must hold is asked at its end.

use std::collections::BTreeSet;

use super::processors;
use super::schema::{Field, Kind, OnDelete, Type, Unique};
use super::state::{Doc, Held, Id, Key, Object, State};
use super::values::{self, Fill, Wrong};
use crate::common::Json;

pub type Outcome<T> = Result<T, Vec<Wrong>>;

/// What becomes of a field: another value, or none, and whether its objects are new ones.
pub type Edit = (&'static str, Option<Json>, Fill);

/// A state that is being changed.
pub struct Work<'b> {
    pub state: State,
    before: &'b State,
    /// Which have another place among their siblings.
    pub moved: BTreeSet<Key>,
}

impl<'b> Work<'b> {
    pub fn on(before: &'b State) -> Work<'b> {
        Work { state: before.clone(), before, moved: BTreeSet::new() }
    }

    /// A new resource of facts that have been checked.
    pub fn create(&mut self, key: &Key, given: Object, held: Option<Held>, at: Option<usize>) -> Outcome<()> {
        if self.state.docs.contains_key(key) {
            return Err(vec![Wrong::plain("exists")]);
        }
        let mut facts = Object::new();
        for field in key.ty.fields().iter().filter(|field| field.is_fact()) {
            let value = given.get(field.name).cloned().or_else(|| default(field));
            facts.extend(value.map(|value| (field.name.into(), values::canonical(field, value, Fill::All))));
        }
        self.state.docs.insert(key.clone(), Doc { facts, held, revision: 0 });
        self.enter(key, at);
        Ok(())
    }

    /// All facts anew, but those that stay by themselves and those of `hidden` names.
    pub fn replace(&mut self, key: &Key, given: &Object, at: Option<usize>, hidden: &[&str]) -> Outcome<()> {
        let mut edits = Vec::new();
        for field in key.ty.fields().iter().filter(|field| field.is_fact()) {
            match given.get(field.name) {
                Some(value) => edits.push((field.name, Some(value.clone()), Fill::All)),
                None if field.immutable || hidden.contains(&field.name) => {}
                None => edits.push((field.name, default(field), Fill::All)),
            }
        }
        self.update(key, edits, at)
    }

    /// Changes of some fields, held to the rules.
    pub fn update(&mut self, key: &Key, edits: Vec<Edit>, at: Option<usize>) -> Outcome<()> {
        let mut wrong = Vec::new();
        for (name, value, fill) in edits {
            let field = key.ty.field(name).unwrap();
            let value = value.map(|value| values::canonical(field, value, fill));
            let old = self.before.docs.get(key).and_then(|doc| doc.facts.get(name));
            if old != value.as_ref() {
                match &value {
                    Some(value) => values::check(field, value, name, &mut wrong),
                    None if field.required => wrong.push(Wrong::at("required", name)),
                    None => {}
                }
            }
            wrong.extend(values::check_change(field, old, value.as_ref()));
            let facts = &mut self.state.docs.get_mut(key).unwrap().facts;
            match value {
                Some(value) => facts.insert(name.into(), value),
                None => facts.remove(name),
            };
        }
        if let Some(at) = at {
            let held = self.state.docs[key].held.clone().unwrap();
            let steps = self.state.steps.get_mut(held.by.id()).unwrap();
            let from = steps.iter().position(|id| id == key.id()).unwrap();
            let step = steps.remove(from);
            let to = at.min(steps.len());
            steps.insert(to, step);
            if to != from {
                self.moved.insert(key.clone());
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// To another collection, or to a place in one.
    pub fn carry(&mut self, key: &Key, to: Held, at: Option<usize>) -> Outcome<()> {
        let mut above = Some(to.by.clone());
        while let Some(key_above) = above {
            if key_above == *key {
                return Err(vec![Wrong::plain("move-cycle")]);
            }
            above = self.state.docs[&key_above].held.as_ref().map(|held| held.by.clone());
        }
        let stays = self.state.docs[key].held.as_ref() == Some(&to);
        if stays && at.is_none() {
            return Ok(());
        }
        let from = self.state.position(key);
        self.leave(key);
        self.state.docs.get_mut(key).unwrap().held = Some(to);
        self.enter(key, at);
        if stays && from != self.state.position(key) {
            self.moved.insert(key.clone());
        }
        Ok(())
    }

    fn enter(&mut self, key: &Key, at: Option<usize>) {
        let Some(held) = self.state.docs[key].held.clone() else { return };
        if held.collection == "steps" {
            let steps = self.state.steps.entry(held.by.id().into()).or_default();
            steps.insert(at.unwrap_or(usize::MAX).min(steps.len()), key.id().into());
        }
    }

    fn leave(&mut self, key: &Key) {
        let Some(held) = self.state.docs[key].held.clone() else { return };
        if let Some(steps) = self.state.steps.get_mut(held.by.id()) {
            steps.retain(|id| Id::of(id) != key.id);
        }
    }

    /// Those that go together, with their children and what cascades.
    pub fn delete(&mut self, keys: &[Key]) -> Outcome<()> {
        let mut doomed: BTreeSet<Key> = keys.iter().cloned().collect();
        loop {
            let so_far = doomed.len();
            let more: Vec<Key> =
                self.state.docs.keys().filter(|key| self.goes_with(key, &doomed)).cloned().collect();
            doomed.extend(more);
            if doomed.len() == so_far {
                break;
            }
        }
        let mut wrong = BTreeSet::new();
        let stays = |key: &&Key| !doomed.contains(key);
        for key in self.state.docs.keys().filter(stays) {
            for field in key.ty.fields().iter().filter(|field| field.is_link()) {
                let on_delete = on_delete(field);
                if self.leads_to(key, field, &doomed) && (on_delete == OnDelete::Restrict || field.required) {
                    wrong.insert(Wrong::at("restrict", field.name));
                }
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.into_iter().collect());
        }
        for key in &doomed {
            self.leave(key);
            self.state.steps.remove(key.id());
            self.state.docs.remove(key);
        }
        self.unlink(&doomed);
        Ok(())
    }

    fn goes_with(&self, key: &Key, doomed: &BTreeSet<Key>) -> bool {
        let held = self.state.docs[key].held.as_ref();
        held.is_some_and(|held| doomed.contains(&held.by))
            || key.ty.fields().iter().any(|field| {
                field.is_link() && on_delete(field) == OnDelete::Cascade && self.leads_to(key, field, doomed)
            })
    }

    fn leads_to(&self, key: &Key, field: &Field, doomed: &BTreeSet<Key>) -> bool {
        self.links(key, field).iter().any(|to| doomed.contains(to))
    }

    /// Where a link, or links, of a resource lead.
    fn links(&self, key: &Key, field: &Field) -> Vec<Key> {
        let (Kind::Link(target, _) | Kind::Links(target, _)) = field.kind else { return Vec::new() };
        match self.state.value(key, field.name) {
            Json::String(id) => vec![Key::new(target, &id)],
            Json::Array(ids) => ids.iter().map(|id| Key::new(target, id.as_str().unwrap())).collect(),
            _ => Vec::new(),
        }
    }

    fn unlink(&mut self, gone: &BTreeSet<Key>) {
        for (key, doc) in &mut self.state.docs {
            for field in key.ty.fields() {
                let (Kind::Link(target, _) | Kind::Links(target, _)) = field.kind else { continue };
                let is_gone = |id: &Json| gone.contains(&Key::new(target, id.as_str().unwrap()));
                match doc.facts.get_mut(field.name) {
                    Some(Json::Array(ids)) => ids.retain(|id| !is_gone(id)),
                    Some(id) if is_gone(id) => drop(doc.facts.remove(field.name)),
                    _ => {}
                }
            }
        }
    }

    /// What must hold of the links when all facts are in place: each that was set leads somewhere.
    fn check_links(&self) -> Outcome<()> {
        let mut wrong = Vec::new();
        for key in self.state.docs.keys() {
            for field in key.ty.fields().iter().filter(|field| field.is_link()) {
                let missing =
                    self.links(key, field).into_iter().filter(|to| !self.state.docs.contains_key(to));
                wrong.extend(missing.map(|_| Wrong::at("link", field.name).of(key)));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn check_unique(&self) -> Outcome<()> {
        let mut wrong = Vec::new();
        for ty in Type::ALL {
            for field in ty.fields().iter().filter(|field| field.unique != Unique::No) {
                for (key, doc) in self.state.of_type(ty) {
                    let old = self.before.docs.get(key);
                    let same = old.is_some_and(|old| {
                        old.facts.get(field.name) == doc.facts.get(field.name) && old.held == doc.held
                    });
                    let Some(value) = doc.facts.get(field.name).filter(|_| !same) else { continue };
                    let clashes = |(other, of): (&Key, &Doc)| {
                        other != key
                            && of.facts.get(field.name) == Some(value)
                            && (field.unique == Unique::Type || of.held == doc.held)
                    };
                    if self.state.of_type(ty).any(clashes) {
                        wrong.push(Wrong::at("unique", field.name).of(key));
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The state that comes of it, with a new revision where anything changed; `last` is asked before what denies and what is unique.
    pub fn finish(mut self, last: impl FnOnce(&State) -> Outcome<()>) -> Outcome<State> {
        processors::set(self.before, &mut self.state);
        self.check_links()?;
        last(&self.state)?;
        // What denies is asked when all has come about; that a value is taken shows when it is put into its index.
        processors::denied(self.before, &self.state)?;
        self.check_unique()?;
        let changed = self.state.changed_since(self.before, &self.moved);
        if !changed.is_empty() {
            self.state.revision += 1;
            for key in changed {
                let revision = self.state.revision;
                self.state.docs.entry(key).and_modify(|doc| doc.revision = revision);
            }
        }
        // One that took the place of what it was in every way is what it was.
        for (key, doc) in &mut self.state.docs {
            if doc.revision == 0 {
                doc.revision = self.before.docs[key].revision;
            }
        }
        self.state.moved = self.moved;
        Ok(self.state)
    }
}

/// The value that a field gets where none is given.
pub fn default(field: &Field) -> Option<Json> {
    field.default.map(|default| serde_json::from_str(default).unwrap())
}

fn on_delete(field: &Field) -> OnDelete {
    match field.kind {
        Kind::Link(_, on_delete) | Kind::Links(_, on_delete) => on_delete,
        _ => OnDelete::Unlink,
    }
}
