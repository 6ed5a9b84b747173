//! What processors make of a transaction of the model: what they set, before anything else is asked, and what they deny.

use corollary_value::Value;

use super::{Attempt, Place};
use crate::lifetime::are_same;
use crate::processors::{Does, Operation};
use crate::rules::{Codes, Fill};

impl Attempt<'_> {
    /// What is done to a resource, if any fact of it is another one.
    fn operation(&self, place: &Place) -> Option<Operation> {
        match (self.before.records.get(place), self.now.records.get(place)) {
            (None, Some(_)) => Some(Operation::Create),
            (Some(before), Some(after)) => (!are_same(before, after)).then_some(Operation::Update),
            (Some(_), None) => Some(Operation::Delete),
            (None, None) => None,
        }
    }

    /// The resources of which facts are others.
    fn written(&self) -> Vec<Place> {
        let gone = self.before.records.keys().filter(|place| !self.now.has(place));
        let all = self.now.records.keys().chain(gone);
        all.filter(|place| self.operation(place).is_some()).cloned().collect()
    }

    /// Sets what processors set.
    pub(super) fn pass_processors(&mut self) -> Result<(), Codes> {
        if self.setting.line.all.is_empty() {
            return Ok(());
        }
        let mut wrong = Codes::new();
        for place in self.written() {
            for processor in self.setting.line.of(place.ty) {
                let Does::Set(value) = &processor.does else { continue };
                let operation = self.operation(&place).filter(|operation| processor.on.contains(operation));
                let facts = &self.setting.facts[place.ty];
                let fact = facts.iter().find(|fact| fact.name == processor.field);
                if let (Some(Operation::Create | Operation::Update), Some(fact)) = (operation, fact) {
                    self.set(&place, fact, Value::Int(*value), Fill::All, &mut wrong);
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Refuses what processors deny.
    pub(super) fn ask_processors(&self) -> Result<(), Codes> {
        if self.setting.line.all.is_empty() {
            return Ok(());
        }
        let denied = |place: &Place| {
            let Some(operation) = self.operation(place) else { return false };
            // Of what is deleted it is what it was.
            let record = self.now.records.get(place).or_else(|| self.before.records.get(place));
            let value = |name: &str| record.and_then(|record| record.get(name));
            self.setting.line.of(place.ty).any(|processor| match processor.does {
                Does::Deny { above } => {
                    let over = matches!(value(&processor.field), Some(Value::Int(value)) if *value > above);
                    over && processor.on.contains(&operation)
                }
                Does::Set(_) => false,
            })
        };
        if self.written().iter().any(denied) { Err(Codes::from(["denied"])) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use corollary_value::Id;
    use jiff::Timestamp;

    use crate::draft::{Draft, FieldDraft, FieldKind, Rules, TypeDraft, ValueType};
    use crate::lifetime::Life;
    use crate::model::{Facts, Place, Setting, Step};
    use crate::processors::{Does, Line, Operation, Processor};

    /// A resource that took its own place in one transaction, as it was, was taken for one that was changed: what comes does not
    /// have the time of its last change yet. So the model had a processor set a field, and the engine, rightly, none.
    #[test]
    fn who_takes_its_own_place_as_it_was_passes_no_processor() {
        let number =
            FieldDraft { name: "n".into(), kind: FieldKind::Stored(ValueType::Int), rules: Rules::default() };
        let cat = TypeDraft {
            name: "Cat",
            root: true,
            history: false,
            life: Life { created: false, updated: true, expires: None },
            path: None,
            url: None,
            fields: vec![number],
        };
        let draft = Draft { types: vec![cat], order: vec![0], next_name: 1 };
        let facts = [draft.facts(0)];
        let sets = Processor { ty: 0, on: vec![Operation::Update], field: "n".into(), does: Does::Set(-1) };
        let (no_line, line) = (Line::default(), Line { all: vec![sets] });
        let revisions = BTreeMap::new();
        let setting = |line, second| Setting {
            draft: &draft,
            facts: &facts,
            line,
            now: Timestamp::from_second(second).unwrap(),
            revisions: &revisions,
        };
        let place = Place { ty: 0, id: Id::Name("c".into()) };
        let create = Step::Create(place.clone(), Vec::new());
        let mut all = Facts::default();
        assert_eq!(all.run(&setting(&no_line, 0), std::slice::from_ref(&create)), Ok(true));
        assert_eq!(all.run(&setting(&line, 1), &[Step::Delete(place), create]), Ok(false));
    }
}
