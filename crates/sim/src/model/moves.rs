//! What a move makes of the facts of the model: another parent, or another place under it.

use corollary_value::{Id, Value};

use super::{Attempt, Place, only, targets};
use crate::draft::FactKind;
use crate::rules::Codes;

/// Where a resource moves to.
#[derive(Clone, Debug)]
pub struct To {
    /// The name of its link to the parent, and the parent; none is the root collection.
    pub under: Option<(String, Id)>,
    /// Its place among its siblings.
    pub at: Option<u64>,
}

impl Attempt<'_> {
    /// Another parent, or another place.
    pub(super) fn carry(&mut self, place: &Place, to: &To) -> Codes {
        let facts = &self.setting.facts[place.ty];
        let parents = || facts.iter().filter(|fact| matches!(fact.kind, FactKind::Parent(_)));
        if let Some((name, id)) = &to.under {
            let ty = parents().find(|fact| fact.name == *name).and_then(|fact| fact.kind.target());
            let Some(ty) = ty else { return only("move") };
            let parent = Place { ty, id: id.clone() };
            if !self.now.has(&parent) {
                return only("not-found");
            }
            if self.above(&parent).contains(place) {
                return only("move-cycle");
            }
        }
        for fact in parents() {
            let under = to.under.as_ref().filter(|(name, _)| *name == fact.name);
            let new = under.map_or(Value::Absent, |(_, id)| Value::Ref(id.clone()));
            self.put(place, &fact.name, new);
        }
        let mut wrong = Codes::new();
        if let Some(at) = to.at {
            self.stand(place, &Value::Int(at as i64), &mut wrong);
        }
        wrong
    }

    /// A resource and all above it.
    fn above(&self, place: &Place) -> Vec<Place> {
        let (mut found, mut at) = (Vec::new(), Some(place.clone()));
        while let Some(place) = at.filter(|at| !found.contains(at)) {
            at = self.parent_of(&place);
            found.push(place);
        }
        found
    }

    fn parent_of(&self, place: &Place) -> Option<Place> {
        let record = self.now.records.get(place)?;
        self.setting.facts[place.ty].iter().find_map(|fact| match fact.kind {
            FactKind::Parent(ty) => {
                let id = targets(record.get(&fact.name)).into_iter().next()?;
                Some(Place { ty, id })
            }
            _ => None,
        })
    }

    /// Do the parents above it never end?
    pub(super) fn is_endless(&self, place: &Place) -> bool {
        let mut at = Some(place.clone());
        for _ in 0..=self.now.records.len() {
            let Some(place) = at.filter(|at| self.now.has(at)) else { return false };
            at = self.parent_of(&place);
        }
        true
    }
}
