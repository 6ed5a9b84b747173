//! Which parts of the objects in a field are shown: some of their members, and what their links lead to, in full.

use std::collections::BTreeSet;

use corollary_engine::{EngineError, Key};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldRef, TypeIx};
use corollary_syntax::nearest;
use corollary_value::{Id, Value};

use super::encode::{Encoder, MAX_EXPANDED_RESOURCES, Shape, text};
use super::held::Held;

/// What is shown of a field that holds objects, or of a member of one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Within {
    /// Only these members; all where none are named.
    pub members: Option<Vec<String>>,
    /// Was it asked for by `expand`? Then it stands there, whatever else is named.
    pub asked: bool,
    /// What is shown of some members.
    inner: Vec<(String, Within)>,
    /// Where it is a link, or are links: how what they lead to stands in full.
    pub full: Option<Shape>,
}

impl Within {
    /// What is shown of a member.
    pub fn member(&mut self, name: &str) -> &mut Within {
        let at = self.inner.iter().position(|(at, _)| at == name).unwrap_or_else(|| {
            self.inner.push((name.to_owned(), Within::default()));
            self.inner.len() - 1
        });
        &mut self.inner[at].1
    }

    fn of(&self, name: &str) -> Option<&Within> {
        self.inner.iter().find(|(at, _)| at == name).map(|(_, within)| within)
    }

    /// Was something of it asked for by `expand`?
    pub fn expands(&self) -> bool {
        self.asked || self.full.is_some() || self.inner.iter().any(|(_, within)| within.expands())
    }

    /// All expressions by which members of lists are chosen, at any depth.
    pub fn expressions(&self) -> Vec<&Expr> {
        let own = self.full.iter().flat_map(Shape::expressions);
        own.chain(self.inner.iter().flat_map(|(_, within)| within.expressions())).collect()
    }
}

/// Names to be shown, which may go on within objects: `address`, `lines.product`.
#[derive(Default)]
pub struct Names {
    /// Was it named itself, and not only something in it?
    whole: bool,
    below: Vec<(String, Names)>,
}

impl Names {
    /// Adds the names of steps, one after the other.
    pub fn add(&mut self, steps: &[&str]) {
        let Some((first, rest)) = steps.split_first() else {
            self.whole = true;
            return;
        };
        let at = self.below.iter().position(|(at, _)| at == first).unwrap_or_else(|| {
            self.below.push(((*first).to_owned(), Names::default()));
            self.below.len() - 1
        });
        self.below[at].1.add(rest);
    }

    /// The first of the steps, each with what is named behind it.
    pub fn below(&self) -> impl Iterator<Item = (&str, &Names)> {
        self.below.iter().map(|(name, names)| (name.as_str(), names))
    }

    /// Is something named behind it?
    pub fn is_leaf(&self) -> bool {
        self.below.is_empty()
    }

    /// Has only what is named be shown of a value; the error says what is not there, in what is called `place`.
    pub fn apply(&self, held: Held<'_>, place: &str, within: &mut Within) -> Result<(), String> {
        // What is named as a whole is whole, whatever else of it is named.
        let mut aside = Within::default();
        let within = if self.whole { &mut aside } else { within };
        for (name, below) in self.below() {
            let member = member(held, name, place)?;
            below.apply(member, &format!("{place}.{name}"), within.member(name))?;
        }
        if !self.below.is_empty() {
            within.members = Some(self.below.iter().map(|(name, _)| name.clone()).collect());
        }
        Ok(())
    }
}

/// What a member of a value is; the error says why there is none.
pub fn member<'s>(held: Held<'s>, name: &str, place: &str) -> Result<Held<'s>, String> {
    match held {
        Held::Object(members) => {
            let names = || members.iter().map(|member| member.name.as_str());
            match (names().any(|known| known == name), nearest(name, names())) {
                (true, _) => Ok(held.member(name)),
                (false, Some(near)) => {
                    Err(format!("`{place}` has no member `{name}`; did you mean `{near}`?"))
                }
                (false, None) => Err(format!("`{place}` has no member `{name}`")),
            }
        }
        Held::Map(_) | Held::Json => Ok(held.member(name)),
        Held::Link(_) => {
            Err(format!("`{place}` is a link: what it leads to is shown by `expand={place}{{{name}}}`"))
        }
        Held::Plain => Err(format!("`{place}` is a value, and has no members")),
    }
}

impl Encoder<'_, '_> {
    /// Writes a value of which some parts are shown, or all; with `listed` it was named itself, and not only something in
    /// it.
    pub(super) fn within(
        &mut self,
        value: &Value,
        held: Held<'_>,
        within: &Within,
        listed: bool,
    ) -> Result<(), EngineError> {
        let listed = listed || within.asked;
        match (value, &within.full, held) {
            (Value::Ref(id), Some(shape), Held::Link(ty)) => {
                let key = Key::new(ty, id.clone());
                match self.working().after(&key)? {
                    Some(doc) => self.resource(&key, &doc, shape),
                    None => self.value(value, held),
                }
            }
            (Value::List(elements), ..) => {
                self.out.push(b'[');
                for (at, element) in elements.iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    self.within(element, held, within, listed)?;
                }
                self.out.push(b']');
                Ok(())
            }
            (Value::Object(members), ..) => {
                self.out.push(b'{');
                let mut first = true;
                for (name, value) in members.iter() {
                    let is_named =
                        || within.members.as_ref().is_none_or(|names| names.iter().any(|it| it == name));
                    let shown = listed && is_named();
                    let inner = within.of(name);
                    if !shown && !inner.is_some_and(Within::expands) {
                        continue;
                    }
                    if !std::mem::take(&mut first) {
                        self.out.push(b',');
                    }
                    text(name, &mut self.out);
                    self.out.push(b':');
                    match inner {
                        Some(inner) => self.within(value, held.member(name), inner, shown)?,
                        None => self.value(value, held.member(name))?,
                    }
                }
                self.out.push(b'}');
                Ok(())
            }
            _ => self.value(value, held),
        }
    }

    /// Loads what the links in some fields of resources lead to, where it stands in full.
    pub(super) fn ahead_within(&mut self, ty: TypeIx, ids: &[&Id], shape: &Shape) -> Result<(), EngineError> {
        let working = self.working();
        for (slot, within) in shape.within.iter().filter(|(_, within)| within.expands()) {
            let at = FieldRef { ty, slot: *slot };
            let shown = working.schema.ty(ty).shown(*slot);
            let mut docs = Vec::with_capacity(ids.len());
            for id in ids {
                docs.extend(working.after(&Key::new(ty, (*id).clone()))?);
            }
            let values: Vec<&Value> = docs.iter().map(|doc| doc.get(shown)).collect();
            self.ahead_of(&values, Held::by(working.schema, at), within)?;
        }
        Ok(())
    }

    fn ahead_of(&mut self, values: &[&Value], held: Held<'_>, within: &Within) -> Result<(), EngineError> {
        let flat = || {
            values.iter().flat_map(|value| match value {
                Value::List(elements) => elements.iter().collect::<Vec<_>>(),
                value => vec![*value],
            })
        };
        if let (Some(shape), Held::Link(ty)) = (&within.full, held) {
            let ids: BTreeSet<&Id> =
                flat().filter_map(|value| if let Value::Ref(id) = value { Some(id) } else { None }).collect();
            // What is more than that is refused when it is written.
            let ids: Vec<&Id> = ids.into_iter().take(MAX_EXPANDED_RESOURCES).collect();
            let keys: Vec<Key> = ids.iter().map(|id| Key::new(ty, (*id).clone())).collect();
            self.working().prefetch(keys.iter())?;
            self.ahead(ty, &ids, shape)?;
        }
        for (name, inner) in within.inner.iter().filter(|(_, inner)| inner.expands()) {
            let below = flat().filter_map(|value| match value {
                Value::Object(members) => members.iter().find(|(at, _)| at == name).map(|(_, value)| value),
                _ => None,
            });
            self.ahead_of(&below.collect::<Vec<_>>(), held.member(name), inner)?;
        }
        Ok(())
    }
}
