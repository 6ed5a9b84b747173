//! The plain model: all facts in one map, and what a transaction makes of them, by the rules as they are declared.
//!
//! It knows nothing of derived values. It predicts of every transaction whether it is refused and with which codes,
//! whether it changes anything, and what every resource holds afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_engine::Edit;
use corollary_value::{Id, Value, compare};
use jiff::Timestamp;

use crate::among;
use crate::draft::{Draft, Fact, FactKind, FieldDraft, FieldKind, OnDelete, Rules};
use crate::elements;
use crate::files;
use crate::lifetime::CREATED;
use crate::names;
use crate::owners;
use crate::processors::Line;
use crate::rules::{self, Codes, Fill};

mod editing;
mod moves;
mod passing;

use editing::edited;
pub use moves::To;

/// A resource: the position of its type in the draft, and its id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Its type.
    pub ty: usize,
    /// Its id.
    pub id: Id,
}

/// The facts of a resource by name; what it has no value of is not in it.
pub type Record = BTreeMap<String, Value>;

/// One step of a transaction, in names.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // as in the engine
pub enum Step {
    Create(Place, Vec<(String, Value)>),
    Replace(Place, Vec<(String, Value)>),
    Update(Place, Vec<(String, Edit)>),
    Move(Place, To),
    Delete(Place),
    /// The first of them stands for all.
    DeleteAll(Vec<Place>),
    Require(Place, Vec<u64>),
    Read(Place),
    /// Is it there when all else is done, or is it not?
    Ensure(Place, bool),
}

impl Step {
    /// The resource that it is about.
    pub fn place(&self) -> &Place {
        match self {
            Step::Create(place, _)
            | Step::Replace(place, _)
            | Step::Update(place, _)
            | Step::Move(place, _)
            | Step::Delete(place)
            | Step::Require(place, _)
            | Step::Read(place)
            | Step::Ensure(place, _) => place,
            Step::DeleteAll(places) => &places[0],
        }
    }
}

/// All facts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// By resource.
    pub records: BTreeMap<Place, Arc<Record>>,
    /// The children in ordered collections, as they stand: by their type, the name of their link and the parent.
    pub orders: BTreeMap<Order, Vec<Id>>,
}

/// An ordered collection of one parent: the type of its children, the name of their link to the parent, the parent.
pub type Order = (usize, String, Id);

/// The code of the refusal of a [`Step::Ensure`].
pub const UNMET: &str = "unmet";

/// The name under which a place is given.
pub const PLACE: &str = "_position";

/// What a transaction is run in.
pub struct Setting<'a> {
    /// What is declared.
    pub draft: &'a Draft,
    /// By type: all that its resources may hold.
    pub facts: &'a [Vec<Fact<'a>>],
    /// The processors that writes pass.
    pub line: &'a Line,
    /// The time of the commit.
    pub now: Timestamp,
    /// The revision of each resource before the transaction.
    pub revisions: &'a BTreeMap<Place, u64>,
}

fn only(code: &'static str) -> Codes {
    Codes::from([code])
}

/// What a value refers to.
pub fn targets(value: Option<&Value>) -> Vec<Id> {
    match value {
        Some(Value::Ref(id)) => vec![id.clone()],
        Some(Value::List(elements)) => {
            let ids = elements
                .iter()
                .filter_map(|element| if let Value::Ref(id) = element { Some(id.clone()) } else { None });
            ids.collect()
        }
        _ => Vec::new(),
    }
}

impl Facts {
    /// Is there such a resource?
    pub fn has(&self, place: &Place) -> bool {
        self.records.contains_key(place)
    }

    /// The ids of a type.
    pub fn of_type(&self, ty: usize) -> impl Iterator<Item = &Place> {
        self.records.keys().filter(move |place| place.ty == ty)
    }

    /// Runs a transaction: did it change anything? Where it is refused, with these codes, nothing has changed.
    pub fn run(&mut self, setting: &Setting<'_>, steps: &[Step]) -> Result<bool, Codes> {
        let mut attempt = Attempt { setting, before: self, now: self.clone() };
        for step in steps {
            attempt.step(step)?;
        }
        attempt.check_parents()?;
        attempt.check_among()?;
        attempt.check_links()?;
        attempt.pass_processors()?;
        attempt.ensure(steps)?;
        attempt.ask_processors()?;
        attempt.check_unique()?;
        files::check(setting.facts, steps, self, &attempt.now)?;
        let mut after = attempt.now;
        after.keep_times(setting, self);
        let changed = after != *self;
        *self = after;
        Ok(changed)
    }

    /// Deletes resources, with all that a deletion brings; nothing may forbid it.
    pub fn delete(&mut self, setting: &Setting<'_>, places: &[Place]) {
        let mut attempt = Attempt { setting, before: self, now: self.clone() };
        for place in places {
            if attempt.now.has(place) {
                let end = attempt.delete(std::slice::from_ref(place));
                end.expect("no link may forbid the end of what expires");
            }
        }
        let mut after = attempt.now;
        after.keep_times(setting, self);
        *self = after;
    }

    /// Gives an order, that of the ids, to children in collections that have been given one.
    pub fn put_in_order(&mut self, draft: &Draft) {
        for (place, record) in &self.records {
            for (_, via) in draft.ordered_parents(place.ty) {
                if let Some(Value::Ref(parent)) = record.get(&via) {
                    let order = self.orders.entry((place.ty, via, parent.clone())).or_default();
                    if !order.contains(&place.id) {
                        order.push(place.id.clone());
                    }
                }
            }
        }
        self.orders.retain(|(ty, via, _), _| draft.ordered_parents(*ty).iter().any(|(_, name)| name == via));
    }

    /// Have two resources the same value of a field that has to be unique?
    pub fn has_duplicates(&self, draft: &Draft, ty: usize, field: &FieldDraft) -> bool {
        let parts = match &field.kind {
            FieldKind::Among(targets, ..) => {
                targets.iter().map(|target| among::part(&field.name, *target)).collect()
            }
            _ => vec![field.name.clone()],
        };
        parts.iter().any(|name| self.has_twice(draft, ty, name, &field.rules))
    }

    fn has_twice(&self, draft: &Draft, ty: usize, name: &str, rules: &Rules) -> bool {
        if !rules.unique && !rules.unique_in_parent {
            return false;
        }
        let parents = draft.parents(ty);
        let records = self.records.iter().filter(|(place, _)| place.ty == ty).map(|(_, record)| record);
        let values = records.filter_map(|record| {
            let parent = parents.iter().find_map(|(_, name)| Some((name.as_str(), record.get(name)?)));
            Some((parent, record.get(name).filter(|value| !value.is_null())?))
        });
        let values: Vec<_> = values.collect();
        values.iter().enumerate().any(|(at, (parent, value))| {
            values[..at].iter().any(|(other, others)| {
                let siblings = parent.is_some() && parent == other;
                let held = rules.unique || (rules.unique_in_parent && siblings);
                held && compare(value, others).is_eq()
            })
        })
    }
}

/// A transaction that is being run.
struct Attempt<'a> {
    setting: &'a Setting<'a>,
    before: &'a Facts,
    now: Facts,
}

impl Attempt<'_> {
    fn step(&mut self, step: &Step) -> Result<(), Codes> {
        let place = step.place();
        let there = self.now.has(place);
        let wrong = match step {
            Step::Require(_, revisions) => {
                let revision = self.before.has(place).then(|| self.setting.revisions.get(place)).flatten();
                let met = revision.is_some_and(|revision| revisions.contains(revision));
                return if met { Ok(()) } else { Err(only("precondition")) };
            }
            // It is asked when all else is done.
            Step::Ensure(..) => return Ok(()),
            Step::Create(..) if there => only("exists"),
            Step::Create(_, values) => self.create(place, values),
            _ if !there => only("not-found"),
            Step::Replace(_, values) => self.replace(place, values),
            Step::Update(_, edits) => self.update(place, edits),
            Step::Move(_, to) => self.carry(place, to),
            Step::Delete(place) => return self.delete(std::slice::from_ref(place)),
            Step::DeleteAll(places) if places.iter().any(|place| !self.now.has(place)) => only("not-found"),
            Step::DeleteAll(places) => return self.delete(places),
            Step::Read(_) => Codes::new(),
        };
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn record(&mut self, place: &Place) -> &mut Record {
        Arc::make_mut(self.now.records.entry(place.clone()).or_default())
    }

    /// The ordered collections that hold a resource.
    fn orders_of(&self, place: &Place) -> Vec<Order> {
        let Some(record) = self.now.records.get(place) else { return Vec::new() };
        let ordered = self.setting.draft.ordered_parents(place.ty).into_iter();
        let holding = ordered.filter_map(|(_, via)| match record.get(&via) {
            Some(Value::Ref(parent)) => Some((place.ty, via.clone(), parent.clone())),
            _ => None,
        });
        holding.collect()
    }

    /// Moves a resource to a place in its ordered collection.
    fn stand(&mut self, place: &Place, at: &Value, wrong: &mut Codes) {
        let orders = self.orders_of(place);
        if orders.is_empty() {
            wrong.insert("position");
        }
        for order in orders {
            let order = self.now.orders.entry(order).or_default();
            order.retain(|id| *id != place.id);
            let at = if let Value::Int(at) = at { *at as usize } else { order.len() };
            order.insert(at.min(order.len()), place.id.clone());
        }
    }

    fn put(&mut self, place: &Place, name: &str, value: Value) {
        let record = self.record(place);
        let old = record.get(name).cloned().unwrap_or_default();
        match value.clone() {
            Value::Absent => drop(record.remove(name)),
            value => drop(record.insert(name.to_string(), value)),
        }
        let ordered = self.setting.draft.ordered_parents(place.ty).iter().any(|(_, via)| via == name);
        if !ordered || old == value {
            return;
        }
        let order = |parent: &Value| match parent {
            Value::Ref(parent) => Some((place.ty, name.to_string(), parent.clone())),
            _ => None,
        };
        if let Some(left) = order(&old) {
            self.now.orders.entry(left).or_default().retain(|id| *id != place.id);
        }
        if let Some(joined) = order(&value) {
            self.now.orders.entry(joined).or_default().push(place.id.clone());
        }
        self.now.orders.retain(|_, order| !order.is_empty());
    }

    fn create(&mut self, place: &Place, values: &[(String, Value)]) -> Codes {
        let (setting, now) = (self.setting, self.setting.now);
        let mut wrong = Codes::new();
        self.now.records.insert(place.clone(), Arc::default());
        if setting.draft.types[place.ty].life.kept().any(|name| name == CREATED) {
            self.put(place, CREATED, Value::Datetime(now));
        }
        let facts = &setting.facts[place.ty];
        if values.iter().any(|(name, _)| name != PLACE && facts.iter().all(|fact| fact.name != *name)) {
            wrong.insert("read-only");
        }
        let plain = Rules::default();
        for fact in facts {
            let rules = fact.rules.unwrap_or(&plain);
            let given = values.iter().rfind(|(name, _)| *name == fact.name).map(|(_, value)| value.clone());
            let default = || rules.default.as_ref().map(|default| rules::default_at(default, now));
            match given.or_else(default) {
                Some(value) => {
                    let value = rules::completed(fact.kind, rules, value, Fill::All, now);
                    let mut found = Codes::new();
                    rules::check(fact.kind, rules, &value, &mut found);
                    if found.is_empty() {
                        self.put(place, &fact.name, value);
                    }
                    wrong.append(&mut found);
                }
                None if rules.required && !files::is_file(fact) => drop(wrong.insert("required")),
                None => {}
            }
        }
        if wrong.is_empty() {
            let at = values.iter().rfind(|(name, _)| name == PLACE);
            at.into_iter().for_each(|(_, at)| self.stand(place, at, &mut wrong));
        }
        wrong
    }

    fn replace(&mut self, place: &Place, values: &[(String, Value)]) -> Codes {
        let (setting, now) = (self.setting, self.setting.now);
        let mut wrong = Codes::new();
        for fact in &setting.facts[place.ty] {
            let Some(rules) = fact.rules else { continue };
            let given = values.iter().rfind(|(name, _)| *name == fact.name).map(|(_, value)| value.clone());
            let emptied = among::is_emptied(setting.draft, place.ty, &fact.name, values);
            if given.is_none() && (files::is_file(fact) || rules.immutable && !emptied) {
                // What cannot change need not be repeated, nor what comes by itself.
                continue;
            }
            let default = || rules.default.as_ref().map(|default| rules::default_at(default, now));
            self.set(place, fact, given.or_else(default).unwrap_or_default(), Fill::All, &mut wrong);
        }
        let kept = |name: &String| setting.draft.types[place.ty].life.kept().any(|kept| kept == name);
        if values.iter().any(|(name, _)| kept(name)) {
            wrong.insert("read-only");
        }
        if let Some((_, at)) = values.iter().rfind(|(name, _)| name == PLACE) {
            self.stand(place, at, &mut wrong);
        }
        wrong
    }

    fn update(&mut self, place: &Place, edits: &[(String, Edit)]) -> Codes {
        let mut wrong = Codes::new();
        let facts = &self.setting.facts[place.ty];
        // Fields in the order in which they are first named, each after all of its edits.
        let mut names: Vec<&String> = Vec::new();
        for (name, edit) in edits {
            if let (PLACE, Edit::Set(_)) = (name.as_str(), edit) {
                continue;
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            let Some(fact) = facts.iter().find(|fact| fact.name == *name) else {
                wrong.insert("read-only");
                continue;
            };
            let ty = if let FactKind::Stored(ty) = fact.kind { Some(ty) } else { None };
            let mut value = self.record(place).get(name).cloned().unwrap_or_default();
            let (mut fill, rules) = (Fill::Required, fact.rules.cloned().unwrap_or_default());
            let mut refused = false;
            for (at, (_, edit)) in edits.iter().filter(|(other, _)| other == name).enumerate() {
                if at > 0 {
                    value = rules::completed(fact.kind, &rules, value, fill, self.setting.now);
                }
                let merges = matches!((edit, &value), (Edit::Merge(_) | Edit::Member(_), Value::Object(_)));
                fill = if merges { Fill::Required } else { Fill::All };
                match edited(ty, &value, edit, self.setting.now) {
                    Ok(new) => value = new,
                    Err(code) => {
                        refused = true;
                        wrong.insert(code);
                    }
                }
            }
            // What would have come of the others says nothing then.
            if !refused {
                self.set(place, fact, value, fill, &mut wrong);
            }
        }
        for (_, edit) in edits.iter().filter(|(name, _)| name == PLACE) {
            if let Edit::Set(at) = edit {
                self.stand(place, at, &mut wrong);
            }
        }
        wrong
    }

    /// A new value of a field of a resource that is there.
    fn set(&mut self, place: &Place, fact: &Fact<'_>, value: Value, fill: Fill, wrong: &mut Codes) {
        let plain = Rules::default();
        let rules = fact.rules.unwrap_or(&plain);
        let value = rules::completed(fact.kind, rules, value, fill, self.setting.now);
        let mut found = Codes::new();
        rules::check(fact.kind, rules, &value, &mut found);
        if let Some(before) = self.before.records.get(place) {
            let absent = Value::Absent;
            let old = before.get(&fact.name).unwrap_or(&absent);
            if *old == value {
                // What was stored under older rules may stay.
                found.clear();
            }
            rules::check_change(fact.kind, rules, old, &value, &mut found);
        }
        if found.is_empty() {
            self.put(place, &fact.name, value);
        }
        wrong.append(&mut found);
    }

    /// The deletion of some at once, with all that it brings.
    fn delete(&mut self, places: &[Place]) -> Result<(), Codes> {
        let facts = self.setting.facts;
        let mut doomed = places.to_vec();
        let mut next = 0;
        while next < doomed.len() {
            let target = doomed[next].clone();
            next += 1;
            for (source, record) in &self.now.records {
                let leads = |fact: &Fact<'_>| {
                    if let FactKind::Stored(of) = fact.kind {
                        return elements::links(of).any(|(member, ty, rule)| {
                            let refers = || elements::references(record.get(&fact.name), member);
                            rule == OnDelete::Cascade && ty == target.ty && refers().contains(&target.id)
                        });
                    }
                    let cascades = match fact.kind {
                        FactKind::Parent(_) => true,
                        FactKind::Link(_, rule) | FactKind::Links(_, rule) => rule == OnDelete::Cascade,
                        FactKind::Stored(_) => false,
                    };
                    cascades
                        && fact.kind.target() == Some(target.ty)
                        && targets(record.get(&fact.name)).contains(&target.id)
                };
                if !doomed.contains(source) && facts[source.ty].iter().any(leads) {
                    doomed.push(source.clone());
                }
            }
        }
        for place in &doomed {
            for order in self.orders_of(place) {
                self.now.orders.entry(order).or_default().retain(|id| *id != place.id);
            }
        }
        for place in &doomed {
            self.now.records.remove(place);
        }
        self.now.orders.retain(|_, order| !order.is_empty());
        let gone = |ty: usize, id: &Id| doomed.iter().any(|it| it.ty == ty && it.id == *id);
        let mut left = Vec::new();
        for (source, record) in &self.now.records {
            for fact in &facts[source.ty] {
                if let (FactKind::Stored(of), Some(value)) = (fact.kind, record.get(&fact.name)) {
                    let mut found = Vec::new();
                    for (member, ty, rule) in elements::links(of) {
                        let lost = elements::references(Some(value), member);
                        let lost = lost.into_iter().filter(|id| gone(ty, id));
                        let lost: Vec<_> = lost.map(|id| (member, id)).collect();
                        if !lost.is_empty() && rule == OnDelete::Restrict {
                            return Err(only("restrict"));
                        }
                        found.extend(lost);
                    }
                    if !found.is_empty() {
                        let stays = &mut |name: &str, id: &Id| {
                            let lost = found.iter().any(|(member, lost)| *member == name && lost == id);
                            (!lost).then(|| id.clone())
                        };
                        let value = elements::with_references(value, stays);
                        left.push((source.clone(), fact.name.clone(), value));
                    }
                    continue;
                }
                let Some(ty) = fact.kind.target() else { continue };
                let Some(value) = record.get(&fact.name) else { continue };
                if !targets(Some(value)).iter().any(|id| gone(ty, id)) {
                    continue;
                }
                let required = fact.rules.is_some_and(|rules| rules.required);
                match (fact.kind, value) {
                    (FactKind::Link(_, OnDelete::Restrict) | FactKind::Links(_, OnDelete::Restrict), _) => {
                        return Err(only("restrict"));
                    }
                    (FactKind::Link(..), _) if required => return Err(only("restrict")),
                    (FactKind::Links(..), Value::List(elements)) => {
                        let stays = |it: &&Value| !matches!(it, Value::Ref(id) if gone(ty, id));
                        let elements = elements.iter().filter(stays).cloned().collect();
                        left.push((source.clone(), fact.name.clone(), Value::List(elements)));
                    }
                    _ => left.push((source.clone(), fact.name.clone(), Value::Absent)),
                }
            }
        }
        for (source, name, value) in left {
            self.put(&source, &name, value);
        }
        Ok(())
    }

    /// What a transaction asked to be when it is done.
    fn ensure(&self, steps: &[Step]) -> Result<(), Codes> {
        let unmet = |step: &Step| matches!(step, Step::Ensure(place, there) if self.now.has(place) != *there);
        if steps.iter().any(unmet) { Err(only(UNMET)) } else { Ok(()) }
    }

    /// Nobody has two parents, and nobody has none any more that can only be found below one.
    fn check_parents(&self) -> Result<(), Codes> {
        let parents = |facts: &Facts, place: &Place| {
            let record = facts.records.get(place)?;
            let held = self.setting.facts[place.ty].iter();
            let held = held.filter(|fact| matches!(fact.kind, FactKind::Parent(_)));
            Some(held.filter(|fact| !targets(record.get(&fact.name)).is_empty()).count())
        };
        let draft = self.setting.draft;
        let mut wrong = Codes::new();
        for place in self.now.records.keys() {
            let owned = !draft.types[place.ty].root && !draft.parents(place.ty).is_empty();
            match parents(&self.now, place) {
                Some(0) if owned && parents(self.before, place) != Some(0) => wrong.insert("parent"),
                Some(2..) => wrong.insert("two-parents"),
                _ => false,
            };
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// A link to one of several types leads to one.
    fn check_among(&self) -> Result<(), Codes> {
        let has_two = |(place, record): (&Place, &Arc<Record>)| {
            let leads = |name: &str| !targets(record.get(name)).is_empty();
            among::has_two(self.setting.draft, place.ty, &leads)
        };
        if self.now.records.iter().any(has_two) { Err(only("type")) } else { Ok(()) }
    }

    /// Every link leads somewhere, and nobody is above itself.
    fn check_links(&self) -> Result<(), Codes> {
        let mut wrong = Codes::new();
        for (place, record) in &self.now.records {
            for fact in &self.setting.facts[place.ty] {
                if let FactKind::Stored(of) = fact.kind {
                    for (member, ty, _) in elements::links(of) {
                        let references = elements::references(record.get(&fact.name), member);
                        if !references.into_iter().all(|id| self.now.has(&Place { ty, id })) {
                            wrong.insert("link");
                        }
                    }
                }
                let Some(ty) = fact.kind.target() else { continue };
                let there = |id: Id| self.now.has(&Place { ty, id });
                if !targets(record.get(&fact.name)).into_iter().all(there) {
                    wrong.insert("link");
                }
            }
            if self.is_endless(place) {
                wrong.insert("too-deep");
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// No two resources have the same value of a unique field, and no name in a path leads to two.
    fn check_unique(&self) -> Result<(), Codes> {
        let draft = self.setting.draft;
        let mut wrong = names::check(draft, self.before, &self.now);
        for (ty, declared) in draft.types.iter().enumerate() {
            if declared.fields.iter().any(|field| self.now.has_duplicates(draft, ty, field)) {
                wrong.insert("unique");
            }
        }
        if owners::has_twins(self.setting.draft, &self.now) {
            wrong.insert("unique");
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
