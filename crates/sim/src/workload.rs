//! Random transactions: mostly what would be allowed, some of what would not, more often about a few resources that
//! many others refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use corollary_engine::{Edit, Element};
use corollary_value::{Id, Value};
use jiff::SignedDuration;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::among;
use crate::draft::{Draft, Fact, FactKind, FieldKind, OnDelete, ValueType};
use crate::elements;
use crate::files;
use crate::model::{Facts, PLACE, Place, Step, To};
use crate::names;
use crate::random::Random;
use crate::union;
use crate::values;

/// Ids of one type that a run knows; the low ones are drawn far more often.
const IDS: usize = 40;

/// Resources past which a run rather deletes than creates.
const MANY_RESOURCES: usize = 50;

/// How many generations are created with a resource that cannot be without them.
const GROUND: usize = 3;

/// How often a value breaks a rule on purpose.
const ODD_PERCENT: usize = 1;

/// What a transaction is made over.
pub struct Workload<'a> {
    /// What is declared.
    pub draft: &'a Draft,
    /// By type: all that its resources may hold.
    pub facts: &'a [Vec<Fact<'a>>],
    /// What there is.
    pub stored: &'a Facts,
    /// The revision of each resource.
    pub revisions: &'a BTreeMap<Place, u64>,
    /// Chance.
    pub random: &'a mut Random,
    /// What the transaction itself creates.
    pub created: BTreeSet<Place>,
}

/// The id with a number: mostly a name, sometimes a UUID.
pub fn id(ty: usize, number: usize) -> Id {
    if number % 6 == 5 {
        return Id::Uuid(Uuid::from_u128((number as u128) << 64 | ty as u128));
    }
    let letter = char::from(b'a' + ty as u8);
    Id::parse(&format!("{letter}{number}")).expect("a letter and a number are an id")
}

impl Workload<'_> {
    fn has(&self, place: &Place) -> bool {
        self.stored.has(place) || self.created.contains(place)
    }

    /// A transaction.
    pub fn transaction(&mut self) -> Vec<Step> {
        if self.random.percent(1) {
            return self.large();
        }
        let count = 1 + self.random.weighted(&[10, 5, 3, 2]);
        let mut steps = Vec::new();
        for _ in 0..count {
            let place = self.place();
            self.steps_about(place, &mut steps);
        }
        steps
    }

    /// Many resources of one type at once; where there are many already, they go.
    fn large(&mut self) -> Vec<Step> {
        let crowded = self.stored.records.len() > MANY_RESOURCES;
        let ty = self.random.below(self.draft.types.len());
        let from = self.random.below(3) * IDS;
        // All of them refer to the same.
        let facts = self.facts;
        let links =
            facts[ty].iter().filter(|fact| matches!(fact.kind, FactKind::Link(..) | FactKind::Parent(_)));
        let hubs: BTreeMap<&str, Value> = links.map(|fact| (fact.name.as_str(), self.value(fact))).collect();
        let mut steps = Vec::new();
        for number in from..from + 20 + self.random.below(IDS) {
            let place = Place { ty, id: id(ty, number) };
            let mut values = self.values(&place, true);
            for (name, value) in &mut values {
                if let Some(hub) = hubs.get(name.as_str()) {
                    value.clone_from(hub);
                }
            }
            match (self.has(&place), self.random.below(6)) {
                (false, _) if crowded => {}
                (false, _) => steps.push(Step::Create(place, values)),
                (true, 0) => steps.push(Step::Delete(place)),
                (true, _) if crowded => steps.push(Step::Delete(place)),
                (true, _) => {
                    values.retain(|(name, _)| !name.starts_with("parent_"));
                    let edits = values.into_iter().map(|(name, value)| (name, Edit::Set(value)));
                    steps.push(Step::Update(place, edits.collect()));
                }
            }
        }
        steps
    }

    /// A resource, there or not, hot ones more often.
    fn place(&mut self) -> Place {
        let ty = self.random.below(self.draft.types.len());
        self.place_of(ty)
    }

    fn place_of(&mut self, ty: usize) -> Place {
        let far = self.random.percent(15);
        let number =
            if far { self.random.below(IDS) } else { self.random.below(4).min(self.random.below(8)) };
        Place { ty, id: id(ty, number) }
    }

    fn create(&mut self, place: Place, steps: &mut Vec<Step>) {
        let values = self.values(&place, true);
        self.created.insert(place.clone());
        steps.push(Step::Create(place, values));
    }

    /// Creates what a new resource cannot be without, and what that cannot, where there is nothing of its type.
    fn ground(&mut self, place: &Place, depth: usize, steps: &mut Vec<Step>) {
        let facts = self.facts;
        for fact in facts[place.ty].iter().filter(|_| depth > 0) {
            let Some(target) = fact.kind.target() else { continue };
            let is_needed = match fact.rules {
                Some(rules) => rules.required,
                None => !self.draft.types[place.ty].root,
            };
            if !is_needed || self.any(target).is_some() {
                continue;
            }
            let other = self.place_of(target);
            self.ground(&other, depth - 1, steps);
            if other != *place && !self.has(&other) {
                self.create(other, steps);
            }
        }
    }

    fn steps_about(&mut self, place: Place, steps: &mut Vec<Step>) {
        let there = self.has(&place);
        let crowded = self.stored.records.len() > MANY_RESOURCES;
        let weights = match (there, crowded) {
            (false, _) => [120, 1, 2, 1, 1, 1, 0, 1, 1, 1],
            (true, false) => [1, 8, 60, 10, 4, 2, 5, 9, 3, 3],
            (true, true) => [1, 5, 25, 60, 2, 2, 1, 5, 10, 2],
        };
        match self.random.weighted(&weights) {
            0 => {
                if self.random.percent(95) {
                    self.ground(&place, GROUND, steps);
                }
                self.create(place, steps);
            }
            1 => {
                let values = self.values(&place, false);
                steps.push(Step::Replace(place, values));
            }
            2 => {
                let edits = self.edits(&place);
                steps.push(Step::Update(place, edits));
            }
            3 => steps.push(Step::Delete(place)),
            4 => {
                let revision = self.revisions.get(&place).copied().unwrap_or(1);
                let wrong = u64::from(self.random.percent(15));
                let revisions =
                    if self.random.percent(20) { vec![0, revision] } else { vec![revision + wrong] };
                steps.push(Step::Require(place, revisions));
            }
            5 => steps.push(Step::Read(place)),
            7 => {
                let to = self.destination(place.ty);
                steps.push(Step::Move(place, to));
            }
            8 => {
                let mut places = vec![place];
                for _ in 0..1 + self.random.below(4) {
                    let other = self.place();
                    let there = self.has(&other) || self.random.percent(2);
                    if there && !places.contains(&other) {
                        places.push(other);
                    }
                }
                steps.push(Step::DeleteAll(places));
            }
            9 => {
                // Of what the transaction has done so far, mostly as it is to be.
                let gone = steps.iter().any(|step| matches!(step, Step::Delete(other) if *other == place));
                let there = self.has(&place) && !gone;
                steps.push(Step::Ensure(place, there != self.random.percent(10)));
            }
            // It is made anew in the same transaction; sometimes as it was.
            _ => {
                let values = match self.stored.records.get(&place).filter(|_| self.random.percent(30)) {
                    Some(record) => {
                        record.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
                    }
                    None => self.values(&place, true),
                };
                steps.extend([Step::Delete(place.clone()), Step::Create(place, values)]);
            }
        }
    }

    /// Values for a resource: some fields, what is required almost always, and its one parent.
    fn values(&mut self, place: &Place, parent: bool) -> Vec<(String, Value)> {
        let mut values = Vec::new();
        let facts = self.facts;
        let mut parents: Vec<&Fact<'_>> = Vec::new();
        for fact in &facts[place.ty] {
            if matches!(fact.kind, FactKind::Parent(_)) {
                parents.push(fact);
                continue;
            }
            // A file comes by an edit; given as a value it is refused, unless it is what is there.
            if files::is_file(fact) && !self.random.percent(1) {
                continue;
            }
            let required = fact.rules.is_some_and(|rules| rules.required);
            let leads_nowhere = fact.kind.target().is_some_and(|ty| self.any(ty).is_none());
            let percent = match (required, leads_nowhere) {
                (true, _) => 97,
                (false, false) => 65,
                (false, true) => 2,
            };
            if self.random.percent(percent) {
                let value = self.value(fact);
                values.push((fact.name.clone(), value));
            }
        }
        let leads = |fact: &&Fact<'_>| fact.kind.target().is_some_and(|ty| self.any(ty).is_some());
        let leads_somewhere = parents.iter().any(leads);
        if leads_somewhere {
            parents.retain(leads);
        }
        let percent = match (self.draft.types[place.ty].root, leads_somewhere) {
            (false, _) => 97,
            (true, true) => 70,
            (true, false) => 1,
        };
        let needs_parent = self.random.percent(percent);
        if parent && needs_parent && !parents.is_empty() {
            let fact = *self.random.pick(&parents);
            let value = self.value(fact);
            values.push((fact.name.clone(), value));
        }
        among::keep_one(self.draft, self.random, place.ty, &mut values);
        if self.random.percent(if parent { 40 } else { 15 }) {
            values.extend(self.place_among(place.ty));
        }
        if self.random.percent(1) {
            values.extend(self.read_only(place.ty).map(|name| (name, Value::Str("never computed".into()))));
        }
        values
    }

    /// A place in an ordered collection, for a type that any holds.
    fn place_among(&mut self, ty: usize) -> Option<(String, Value)> {
        let may = !self.draft.ordered_parents(ty).is_empty();
        may.then(|| (PLACE.to_string(), Value::Int(self.random.between(0, 5))))
    }

    /// Where a resource of a type may move to; now and then nowhere.
    fn destination(&mut self, ty: usize) -> To {
        let facts = self.facts;
        let parents = facts[ty].iter().filter_map(|fact| match fact.kind {
            FactKind::Parent(target) => Some((fact, target)),
            _ => None,
        });
        let parents: Vec<_> = parents.collect();
        let out = self.random.percent(if self.draft.types[ty].root { 25 } else { 3 });
        let parent = self.random.pick_any(&parents).filter(|_| !out);
        let under = parent.map(|(fact, target)| (fact.name.clone(), self.target(*target)));
        let at = self.random.percent(40).then(|| self.random.below(5) as u64);
        To { under, at: at.filter(|_| !self.draft.ordered_parents(ty).is_empty() || self.random.percent(2)) }
    }

    /// A field that follows from others.
    fn read_only(&mut self, ty: usize) -> Option<String> {
        let follows = |kind: &FieldKind| {
            matches!(
                kind,
                FieldKind::Derived(_)
                    | FieldKind::Inverse(..)
                    | FieldKind::InverseOfAll(..)
                    | FieldKind::Collection(_)
                    | FieldKind::Owned(_)
            )
        };
        let names: Vec<&String> = self.draft.types[ty]
            .fields
            .iter()
            .filter(|field| follows(&field.kind))
            .map(|it| &it.name)
            .collect();
        let mut names: Vec<String> = names.into_iter().cloned().collect();
        names.extend(self.draft.types[ty].life.kept().map(str::to_string));
        self.random.pick_any(&names).cloned()
    }

    fn value(&mut self, fact: &Fact<'_>) -> Value {
        match fact.kind {
            FactKind::Stored(ty) if self.random.percent(ODD_PERCENT) => values::odd(self.random, ty),
            FactKind::Stored(_) if fact.rules.is_some_and(|rules| rules.named) => names::any(self.random),
            FactKind::Stored(ty) => {
                let value = match fact.rules {
                    Some(rules) if !self.random.percent(1) => values::valid(self.random, ty, rules),
                    _ => values::of_type(self.random, ty),
                };
                self.linked(ty, value)
            }
            FactKind::Link(target, _) | FactKind::Parent(target) => match self.random.below(300) {
                0 => Value::Null,
                1 => Value::Int(1),
                2 => Value::List([].into()),
                _ => Value::Ref(self.target(target)),
            },
            FactKind::Links(target, _) => match self.random.below(300) {
                0 => Value::Ref(self.target(target)),
                1 => Value::List([Value::Null].into()),
                _ => {
                    let count = self.random.weighted(&[2, 4, 4, 2, 1]);
                    Value::List((0..count).map(|_| Value::Ref(self.target(target))).collect())
                }
            },
        }
    }

    /// A value of a type, whatever the rules, with links that mostly lead somewhere.
    fn of_type(&mut self, ty: &ValueType) -> Value {
        let value = values::of_type(self.random, ty);
        self.linked(ty, value)
    }

    /// The objects of a list with links that mostly lead somewhere.
    fn linked(&mut self, ty: &ValueType, value: Value) -> Value {
        let links: Vec<_> = elements::links(ty).collect();
        elements::with_references(&value, &mut |name, id| {
            let (_, target, rule) = *links.iter().find(|(member, ..)| *member == name)?;
            match self.any(target) {
                Some(_) => Some(self.target(target)),
                None if rule == OnDelete::Restrict => Some(id.clone()),
                None => None,
            }
        })
    }

    fn any(&self, ty: usize) -> Option<&Place> {
        self.stored.of_type(ty).chain(self.created.iter().filter(|place| place.ty == ty)).next()
    }

    /// The id of a resource to link to, mostly one that is there.
    fn target(&mut self, ty: usize) -> Id {
        let mut place = self.place_of(ty);
        for _ in 0..8 {
            if self.has(&place) || self.random.percent(1) {
                return place.id;
            }
            place = self.place_of(ty);
        }
        self.any(ty).map_or(place.id, |any| any.id.clone())
    }

    fn edits(&mut self, place: &Place) -> Vec<(String, Edit)> {
        let facts = self.facts;
        let mut edits = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let Some(fact) = self.random.pick_any(&facts[place.ty]) else { break };
            // A parent cannot change, and is given as it is at best.
            let fixed = fact.rules.is_none_or(|rules| rules.immutable || rules.write_once);
            if fixed && !self.random.percent(8) {
                continue;
            }
            let edit = self.edit(fact);
            edits.push((fact.name.clone(), edit));
        }
        among::leave_others(self.draft, self.random, place.ty, &mut edits);
        if self.random.percent(12) {
            edits.extend(self.place_among(place.ty).map(|(name, at)| (name, Edit::Set(at))));
        }
        if self.random.percent(1) {
            let name = self.read_only(place.ty);
            edits.extend(name.map(|name| (name, Edit::Set(Value::Str("never computed".into())))));
        }
        edits
    }

    fn edit(&mut self, fact: &Fact<'_>) -> Edit {
        let special = self.random.percent(45);
        match fact.kind {
            _ if !fact.rules.is_some_and(|rules| rules.required) && self.random.percent(8) => {
                Edit::Set(Value::Absent)
            }
            FactKind::Stored(ValueType::File) => match self.random.below(40) {
                0 => Edit::Set(self.value(fact)),
                1 => Edit::Merge(vec![("name".into(), Edit::Set(Value::Str("other".into())))]),
                _ => Edit::File(Arc::new(files::any(self.random))),
            },
            FactKind::Stored(ValueType::Object(members)) if special => {
                let (variant, _) = union::random_form(self.random, members);
                let mut edits: Vec<(SmolStr, Edit)> = Vec::new();
                for member in members {
                    // Of what another variant has, rarely anything.
                    let percent = if member.of == variant || member.of.is_none() { 50 } else { 4 };
                    if !self.random.percent(percent) || edits.iter().any(|(name, _)| name == member.name) {
                        continue;
                    }
                    let edit = match variant {
                        Some(variant) if member.name == union::DISCRIMINATOR && self.random.percent(95) => {
                            Edit::Set(Value::Str(variant.into()))
                        }
                        _ => self.edit_value(&member.ty),
                    };
                    edits.push((member.name.into(), edit));
                }
                if self.random.percent(3) {
                    edits.push(("unknown".into(), Edit::Set(Value::Int(1))));
                }
                Edit::Merge(edits)
            }
            FactKind::Stored(ValueType::Map(of)) if special => {
                let name = *self.random.pick(&["a", "b", "d"]);
                Edit::Merge(vec![(name.into(), self.edit_value(of))])
            }
            FactKind::Stored(ValueType::Json) if special => match self.random.below(4) {
                0 => Edit::Increment(Value::Int(1)),
                1 => Edit::Member(Box::new(("a".into(), self.edit_value(&ValueType::Json)))),
                2 => Edit::Member(Box::new(("a".into(), Edit::Increment(Value::Int(1))))),
                _ => Edit::Merge(vec![("a".into(), self.edit_value(&ValueType::Json))]),
            },
            FactKind::Stored(ValueType::Elements(..)) => Edit::Set(self.value(fact)),
            FactKind::Stored(ty) if special => self.edit_value(ty),
            FactKind::Links(target, _) if special => {
                let id = self.target(target);
                match self.random.below(11) {
                    10 => self.elsewhere(Value::Ref(id)),
                    0 => Edit::Push { values: vec![Value::Ref(id)], at: self.position() },
                    1 => Edit::Pop { first: self.random.percent(50) },
                    2..=6 => Edit::Link(id),
                    _ => Edit::Unlink(id),
                }
            }
            _ => Edit::Set(self.value(fact)),
        }
    }

    /// Where in a list, or its end.
    fn position(&mut self) -> Option<usize> {
        self.random.percent(50).then(|| self.random.below(4))
    }

    /// One element of a list to another place.
    fn elsewhere(&mut self, value: Value) -> Edit {
        let element = match self.random.percent(70) {
            true => Element::At(self.random.below(3)),
            false => Element::Is(value),
        };
        Edit::Place { element, at: self.position() }
    }

    /// An edit of the elements of a list or a set.
    fn edit_elements(&mut self, of: &ValueType) -> Edit {
        let count = self.random.below(3);
        let values = (0..count).map(|_| self.of_type(of)).collect();
        match self.random.below(6) {
            5 => {
                let value = self.of_type(of);
                self.elsewhere(value)
            }
            0 | 1 => Edit::Push { values, at: self.position() },
            2 => Edit::Pop { first: self.random.percent(50) },
            3 => Edit::Add(values),
            _ => Edit::Remove(values),
        }
    }

    /// An edit of a value of a type.
    fn edit_value(&mut self, ty: &ValueType) -> Edit {
        match ty {
            ValueType::List(of) | ValueType::Set(of) if self.random.percent(70) => {
                return self.edit_elements(of);
            }
            // Nothing that has elements, but for what is not there yet.
            ValueType::Str if self.random.percent(2) => return Edit::Pop { first: true },
            ValueType::Int if self.random.percent(30) => {
                let by = Value::Int(self.random.between(-2, 3));
                let limit = Value::Int(self.random.between(-5, 10));
                return Edit::IncrementWithin { by, limit, clamp: self.random.percent(60) };
            }
            _ => {}
        }
        let numeric = matches!(
            ty,
            ValueType::Int
                | ValueType::Float
                | ValueType::Decimal
                | ValueType::Duration
                | ValueType::Datetime
        );
        if !numeric || self.random.percent(30) {
            let absent = self.random.percent(15);
            return Edit::Set(if absent { Value::Absent } else { self.of_type(ty) });
        }
        Edit::Increment(match (self.random.below(8), ty) {
            (0, _) => Value::Float(0.5),
            (_, ValueType::Float) => Value::Float([0.1, -1.0, 1e300][self.random.below(3)]),
            (_, ValueType::Decimal) => values::decimal(["0.5", "-1"][self.random.below(2)]),
            (_, ValueType::Duration | ValueType::Datetime) => {
                Value::Duration(SignedDuration::from_secs(self.random.between(-2, 2) * 3600))
            }
            _ => Value::Int(self.random.between(-2, 3)),
        })
    }
}
