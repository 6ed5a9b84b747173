//! What there is: documents in plain maps, and what follows from them, computed anew whenever it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::{Kind, Mount, OF_PERSON, Type};
use crate::common::{Json, json};

pub type Object = serde_json::Map<String, Json>;

/// An id, in the order of ids: those in the form of a UUID before names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    is_name: bool,
    pub text: String,
}

impl Id {
    pub fn of(text: &str) -> Id {
        Id { is_name: uuid::Uuid::parse_str(text).is_err(), text: text.into() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub ty: Type,
    pub id: Id,
}

impl Key {
    pub fn new(ty: Type, id: &str) -> Key {
        Key { ty, id: Id::of(id) }
    }

    pub fn id(&self) -> &str {
        &self.id.text
    }
}

/// What holds a child: the collection of a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub by: Key,
    pub collection: &'static str,
}

/// Facts as they are shown, but for links, which are ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doc {
    pub facts: Object,
    pub held: Option<Held>,
    pub revision: u64,
}

/// The mount through which something is looked at, with the id that stands for its parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Through {
    pub mount: Mount,
    pub parameter: Option<String>,
}

impl Through {
    pub fn path(&self) -> String {
        match &self.parameter {
            Some(person) => format!("/api/people/{person}/orders"),
            None => format!("/api/{}", self.mount.name),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct State {
    pub docs: BTreeMap<Key, Doc>,
    /// The steps of each shop, as they stand.
    pub steps: BTreeMap<String, Vec<String>>,
    pub revision: u64,
    /// Which got another place among their siblings by the last commit.
    pub moved: BTreeSet<Key>,
}

impl State {
    pub fn of_type(&self, ty: Type) -> impl Iterator<Item = (&Key, &Doc)> {
        self.docs.iter().filter(move |(key, _)| key.ty == ty)
    }

    /// A fact or a derived value; null where there is none. Links are ids.
    pub fn value(&self, key: &Key, name: &str) -> Json {
        match key.ty.field(name).map(|field| field.kind) {
            Some(Kind::Derived) => self.derived(key, name),
            _ => self.docs.get(key).and_then(|doc| doc.facts.get(name)).cloned().unwrap_or_default(),
        }
    }

    /// The children in a collection, as they stand.
    pub fn children(&self, by: &Key, collection: &str) -> Vec<Key> {
        if collection == "steps" {
            let steps = self.steps.get(by.id()).map_or(&[][..], Vec::as_slice);
            return steps.iter().map(|id| Key::new(Type::Step, id)).collect();
        }
        let is_held =
            |doc: &Doc| doc.held.as_ref().is_some_and(|held| held.by == *by && held.collection == collection);
        self.docs.iter().filter(|(_, doc)| is_held(doc)).map(|(key, _)| key.clone()).collect()
    }

    /// The resources of a type whose link leads to one.
    pub fn referring(&self, ty: Type, link: &str, to: &Key) -> Vec<Key> {
        let leads = |doc: &Doc| match doc.facts.get(link) {
            Some(Json::String(id)) => id == to.id(),
            Some(Json::Array(ids)) => ids.iter().any(|id| id == to.id()),
            _ => false,
        };
        self.of_type(ty).filter(|(_, doc)| leads(doc)).map(|(key, _)| key.clone()).collect()
    }

    fn sum(&self, of: &[Key], name: &str) -> Json {
        of.iter().map(|key| self.value(key, name).as_i64().unwrap_or(0)).sum::<i64>().into()
    }

    fn derived(&self, key: &Key, name: &str) -> Json {
        let orders = || self.referring(Type::Order, "shop", key);
        match (key.ty, name) {
            (Type::Shop, "sold") => self.sum(&orders(), "amount"),
            (Type::Shop, "many") => self.children(key, "shelves").len().into(),
            (Type::Shop, "weight") => self.sum(&self.children(key, "shelves"), "weight"),
            (Type::Shop, "begins") => match self.children(key, "steps").first() {
                Some(step) => self.value(step, "text"),
                None => Json::Null,
            },
            (Type::Shop, "large") => {
                let is_large = |key: &Key| self.value(key, "amount").as_i64().unwrap_or(0) > 5;
                orders().iter().filter(|key| is_large(key)).map(|key| Json::from(key.id())).collect()
            }
            (Type::Shelf, "weight") => self.sum(&self.children(key, "boxes"), "total"),
            (Type::Shelf, "place") => match &self.docs[key].held {
                Some(held) => self.value(&held.by, "name"),
                None => Json::Null,
            },
            (Type::Box, "total") => {
                let own = self.value(key, "load").as_i64().unwrap_or(0);
                // What is absent makes a sum absent.
                match self.value(key, "load") {
                    Json::Null => Json::Null,
                    _ => (own + self.sum(&self.children(key, "inner"), "total").as_i64().unwrap_or(0)).into(),
                }
            }
            (Type::Person, "spent") => self.sum(&self.referring(Type::Order, "buyer", key), "amount"),
            (Type::Person, "reports") => self.referring(Type::Person, "boss", key).len().into(),
            (Type::Order, "cost") => match self.value(key, "amount").as_i64() {
                Some(amount) => (amount * 2).into(),
                None => Json::Null,
            },
            (Type::Order, "who") => match self.value(key, "buyer").as_str() {
                Some(buyer) => self.value(&Key::new(Type::Person, buyer), "name"),
                None => "nobody".into(),
            },
            (Type::Order, "items") => {
                let lines = self.value(key, "lines");
                let counts = lines.as_array().into_iter().flatten().map(|line| line["count"].as_i64());
                counts.flatten().sum::<i64>().into()
            }
            other => panic!("what is {other:?}?"),
        }
    }

    /// The canonical path.
    pub fn path(&self, key: &Key) -> String {
        match (key.ty.root(), self.docs.get(key).and_then(|doc| doc.held.as_ref())) {
            (Some(root), _) => format!("/api/{root}/{}", key.id()),
            (None, Some(held)) => format!("{}/{}/{}", self.path(&held.by), held.collection, key.id()),
            (None, None) => panic!("{key:?} is nowhere"),
        }
    }

    pub fn link(&self, ty: Type, id: &str) -> Json {
        json!({"_id": id, "_self": self.path(&Key::new(ty, id))})
    }

    /// What a value of a field shows.
    pub fn shown_value(&self, key: &Key, name: &str) -> Json {
        let value = self.value(key, name);
        let target = match key.ty.field(name).map(|field| field.kind) {
            Some(Kind::Link(target, _) | Kind::Links(target, _)) => target,
            Some(Kind::Derived) if name == "large" => Type::Order,
            _ => return value,
        };
        match &value {
            Json::String(id) => self.link(target, id),
            Json::Array(ids) => ids.iter().map(|id| self.link(target, id.as_str().unwrap())).collect(),
            _ => value,
        }
    }

    /// Is there something to show of a field?
    pub fn is_shown(&self, key: &Key, name: &str) -> bool {
        match key.ty.field(name).map(|field| field.kind) {
            Some(Kind::Derived) => !self.derived(key, name).is_null(),
            _ => self.docs[key].facts.contains_key(name),
        }
    }

    /// The place of a step among the others.
    pub fn position(&self, key: &Key) -> Option<usize> {
        let held = self.docs.get(key)?.held.as_ref()?;
        (key.ty == Type::Step).then(|| self.steps[held.by.id()].iter().position(|id| id == key.id()))?
    }

    /// A resource as a read shows it.
    pub fn shown(&self, key: &Key, through: Option<&Through>) -> Object {
        let doc = &self.docs[key];
        let path = match through {
            Some(through) => format!("{}/{}", through.path(), key.id()),
            None => self.path(key),
        };
        let mut shown = Object::new();
        shown.insert("_id".into(), key.id().into());
        shown.insert("_self".into(), path.into());
        shown.insert("_revision".into(), doc.revision.to_string().into());
        if let Some(position) = self.position(key) {
            shown.insert("_position".into(), position.into());
        }
        for field in key.ty.fields() {
            let name = match through {
                Some(through) => through.mount.shown(field.name),
                None => Some(field.name),
            };
            if let (Some(name), true) = (name, self.is_shown(key, field.name)) {
                shown.insert(name.into(), self.shown_value(key, field.name));
            }
        }
        shown
    }

    /// Is a resource in a mount?
    pub fn is_in(&self, through: &Through, key: &Key) -> bool {
        key.ty == through.mount.ty
            && self.docs.contains_key(key)
            && match through.mount.name {
                "desk" => self.value(key, "state") == "open",
                "cheap" => self.value(key, "amount").as_i64().is_some_and(|amount| amount < 10),
                "people/orders" => self.value(key, "buyer").as_str() == through.parameter.as_deref(),
                _ => true,
            }
    }

    /// What can change of a resource: its facts, where it is held, and what follows.
    fn told(&self, key: &Key) -> (Object, Option<Held>) {
        let doc = &self.docs[key];
        let derived = key.ty.fields().iter().filter(|field| field.kind == Kind::Derived);
        let mut all = doc.facts.clone();
        all.extend(derived.map(|field| (field.name.to_string(), self.derived(key, field.name))));
        (all, doc.held.clone())
    }

    /// Which differ from an older state; `moved` have another place among their siblings.
    pub fn changed_since(&self, before: &State, moved: &BTreeSet<Key>) -> Vec<Key> {
        let differs = |key: &Key| match (before.docs.contains_key(key), self.docs.contains_key(key)) {
            (true, true) => moved.contains(key) || before.told(key) != self.told(key),
            _ => true,
        };
        let all: BTreeSet<&Key> = before.docs.keys().chain(self.docs.keys()).collect();
        all.into_iter().filter(|key| differs(key)).cloned().collect()
    }
}

/// The mount of the orders of one person.
pub fn orders_of(person: &str) -> Through {
    Through { mount: OF_PERSON, parameter: Some(person.into()) }
}
