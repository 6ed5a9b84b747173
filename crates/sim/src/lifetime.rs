//! The options of types about the life of a resource: the times that the server keeps, and what expires.

use corollary_value::Value;
use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};

use crate::draft::{Draft, FieldKind, OnDelete, ValueType};
use crate::model::{Facts, Place, Record, Setting};
use crate::random::Random;

/// What a type declares of the life of its resources.
#[derive(Clone, Debug, Default)]
pub struct Life {
    /// `created_at`; with an end it is there in any case.
    pub created: bool,
    /// `updated_at`.
    pub updated: bool,
    /// `expires after`: the unit, and how many.
    pub expires: Option<(&'static str, i64)>,
}

/// The name of the field with the time of the creation.
pub const CREATED: &str = "created_at";

/// The name of the field with the time of the last change.
pub const UPDATED: &str = "updated_at";

impl Life {
    /// Any.
    pub fn random(random: &mut Random) -> Life {
        let ends = [
            ("seconds", 90),
            ("minutes", 45),
            ("hours", 3),
            ("hours", 30),
            ("days", 2),
            ("weeks", 1),
            ("months", 1),
            ("years", 1),
        ];
        Life {
            created: random.percent(15),
            updated: random.percent(15),
            expires: random.percent(12).then(|| *random.pick(&ends)),
        }
    }

    /// As it stands in the head of a type.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let flags = [(self.created, " created_at"), (self.updated, " updated_at")];
        flags.iter().filter(|(is, _)| *is).for_each(|(_, option)| text.push_str(option));
        if let Some((unit, count)) = self.expires {
            text.push_str(&format!(" expires after {unit}({count})"));
        }
        text
    }

    /// The fields that the server keeps.
    pub fn kept(&self) -> impl Iterator<Item = &'static str> {
        let created = (self.created || self.expires.is_some()).then_some(CREATED);
        created.into_iter().chain(self.updated.then_some(UPDATED))
    }

    /// The end of what was created at a time.
    fn end(&self, created: Timestamp) -> Option<Timestamp> {
        let (unit, count) = self.expires?;
        let hours = |hours: i64| created.checked_add(SignedDuration::from_hours(hours)).ok();
        let calendar = |span: jiff::Span| {
            let moved = created.to_zoned(TimeZone::UTC).checked_add(span);
            moved.ok().map(|moved| moved.timestamp())
        };
        match unit {
            "seconds" => created.checked_add(SignedDuration::from_secs(count)).ok(),
            "minutes" => created.checked_add(SignedDuration::from_mins(count)).ok(),
            "hours" => hours(count),
            "days" => hours(24 * count),
            "weeks" => hours(7 * 24 * count),
            "months" => calendar(count.months()),
            _ => calendar(count.years()),
        }
    }
}

/// Is the time of a type's last changes predicted? A place in an ordered collection is a fact, and one that is given anew
/// may move its neighbours.
fn tells_updates(draft: &Draft, ty: usize) -> bool {
    draft.types[ty].life.updated && draft.ordered_parents(ty).is_empty()
}

/// Are all facts of two records the same, but for the time of the last change, which follows from the others?
pub(crate) fn are_same(one: &Record, other: &Record) -> bool {
    let facts = |(name, _): &(&String, &Value)| *name != UPDATED;
    one.iter().filter(facts).eq(other.iter().filter(facts))
}

/// The types of whose changes the times are predicted from another version on.
pub fn newly_told(old: &Draft, new: &Draft) -> Vec<usize> {
    (0..old.types.len()).filter(|ty| !tells_updates(old, *ty) && tells_updates(new, *ty)).collect()
}

/// All fields that the server keeps.
pub const KEPT: [&str; 2] = [CREATED, UPDATED];

/// The fields that the server keeps for a type, as far as they are predicted.
pub fn predicted(draft: &Draft, ty: usize) -> Vec<&'static str> {
    draft.types[ty].life.kept().filter(|name| *name != UPDATED || tells_updates(draft, ty)).collect()
}

/// Lets nothing forbid the deletion of what expires, nor of what goes with it: no link, and no value that would be there twice
/// without what it links to, for which time would stand still.
pub fn let_expire(draft: &mut Draft) {
    let expires = |draft: &Draft, ty: &usize| draft.types[*ty].life.expires.is_some();
    let mut doomed: Vec<usize> = (0..draft.types.len()).filter(|ty| expires(draft, ty)).collect();
    let mut next = 0;
    while let Some(target) = doomed.get(next).copied() {
        next += 1;
        let mut follow = Vec::new();
        for (source, ty) in draft.types.iter_mut().enumerate() {
            for field in &mut ty.fields {
                let required = field.rules.required;
                let cascades = match &mut field.kind {
                    FieldKind::Link(to, rule) if *to == target => let_go(rule, required),
                    FieldKind::Links(to, rule) if *to == target => let_go(rule, false),
                    FieldKind::Among(targets, rule, many) if targets.contains(&target) => {
                        let_go(rule, required && !*many)
                    }
                    FieldKind::Stored(ValueType::Elements(members, _)) => {
                        members.iter_mut().fold(false, |cascades, member| {
                            let required = member.rules.required;
                            let ValueType::Link(to, rule) = &mut member.ty else { return cascades };
                            if *to != target {
                                return cascades;
                            }
                            // Without their links, objects of two resources may be the same.
                            (field.rules.unique, field.rules.unique_in_parent) = (false, false);
                            cascades | let_go(rule, required)
                        })
                    }
                    _ => false,
                };
                if cascades {
                    follow.push(source);
                }
            }
        }
        // Children go with it.
        for field in &draft.types[target].fields {
            match &field.kind {
                FieldKind::Collection(child) => follow.push(*child),
                FieldKind::Owned(children) => follow.extend(children),
                _ => {}
            }
        }
        for ty in follow {
            if !doomed.contains(&ty) {
                doomed.push(ty);
            }
        }
    }
}

/// Lets a link not forbid the deletion of its target; does what has it go with that?
fn let_go(rule: &mut OnDelete, required: bool) -> bool {
    if *rule == OnDelete::Restrict || (*rule == OnDelete::Unlink && required) {
        *rule = OnDelete::Cascade;
    }
    *rule == OnDelete::Cascade
}

impl Facts {
    /// Takes over when a resource was last changed, where that was not predicted.
    pub fn take_time(&mut self, place: &Place, time: &Value) {
        if let (Some(record), false) = (self.records.get_mut(place), matches!(time, Value::Absent)) {
            std::sync::Arc::make_mut(record).insert(UPDATED.into(), time.clone());
        }
    }

    /// Deletes what has come to its end, with all that a deletion brings.
    pub fn expire(&mut self, setting: &Setting<'_>) {
        let due = self.records.iter().filter(|(place, record)| {
            let created = match record.get(CREATED) {
                Some(Value::Datetime(created)) => *created,
                _ => return false,
            };
            let end = setting.draft.types[place.ty].life.end(created);
            end.is_some_and(|end| end <= setting.now)
        });
        let due: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
        if !due.is_empty() {
            self.delete(setting, &due);
        }
    }

    /// Notes the time in the resources that keep that of their last change, where a fact is another than before.
    pub(crate) fn keep_times(&mut self, setting: &Setting<'_>, before: &Facts) {
        for (place, record) in &mut self.records {
            if !tells_updates(setting.draft, place.ty) {
                continue;
            }
            let same = before.records.get(place).filter(|before| are_same(before, record));
            let time = match same {
                Some(before) => before.get(UPDATED).cloned(),
                None => Some(Value::Datetime(setting.now)),
            };
            if record.get(UPDATED) != time.as_ref() {
                let record = std::sync::Arc::make_mut(record);
                match time {
                    Some(time) => drop(record.insert(UPDATED.into(), time)),
                    None => drop(record.remove(UPDATED)),
                }
            }
        }
    }
}
