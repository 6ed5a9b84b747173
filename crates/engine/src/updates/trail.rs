//! How far the walk of an update has come, as readers know it: whom it has passed is marked no more.
//!
//! The ledger is published before the commit that it belongs to. So a reader of a revision may see a trail that is ahead
//! of what it reads: the trail tells from which revision on it holds, and how it was before, and a reader of neither takes
//! nothing for passed.
//!
//! Only walks of one step that have had one source all their life are read this way, which are most: there one id is the
//! whole place. A subject that the walk has passed is as the facts say, since whatever changes of it later has commits or
//! updates of its own, and a source that changes again sets its walk back.

use corollary_value::Id;

use super::walk::Place;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    now: Option<Passed>,
    before: Option<Passed>,
}

#[derive(Clone, Debug)]
struct Passed {
    /// The first revision of which it is true.
    since: u64,
    place: Place,
}

impl Trail {
    /// From a revision on the walk is at a place.
    pub(crate) fn note(&mut self, since: u64, place: &Place) {
        self.before = self.now.replace(Passed { since, place: place.clone() });
    }

    /// Does it hold for a reader of a revision?
    pub(crate) fn holds_at(&self, revision: u64) -> bool {
        self.now.as_ref().is_none_or(|now| now.since <= revision)
    }

    /// As a reader of a revision may know it.
    pub(crate) fn as_of(&self, revision: u64) -> Trail {
        let mut both = [&self.now, &self.before].into_iter().flatten();
        Trail { now: both.find(|passed| passed.since <= revision).cloned(), before: None }
    }

    /// Has the walk from its only source passed a subject?
    pub(crate) fn has_passed(&self, source: &Id, subject: &Id) -> bool {
        self.now.as_ref().is_some_and(|Passed { place, .. }| {
            let cursor = place.cursor.as_ref();
            place.source.as_ref() == Some(source) && cursor.is_some_and(|cursor| subject <= cursor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::parse(text).expect("an id")
    }

    fn at(cursor: &str) -> Place {
        Place { level: 0, source: Some(id("hub")), cursor: Some(id(cursor)) }
    }

    #[test]
    fn a_reader_knows_no_more_than_it_reads() {
        let mut trail = Trail::default();
        trail.note(5, &at("c"));
        trail.note(6, &at("f"));
        let passed =
            |revision: u64, subject: &str| trail.as_of(revision).has_passed(&id("hub"), &id(subject));
        assert!(trail.holds_at(6) && !trail.holds_at(5));
        assert_eq!([passed(6, "f"), passed(6, "g")], [true, false]);
        assert_eq!([passed(5, "c"), passed(5, "d")], [true, false]);
        assert!(!passed(4, "a"), "how it was before the last two is forgotten");
        assert!(!trail.has_passed(&id("other"), &id("a")));
    }

    #[test]
    fn a_walk_that_is_set_back_has_passed_nobody() {
        let mut trail = Trail::default();
        trail.note(5, &at("c"));
        trail.note(6, &Place { cursor: None, ..at("c") });
        assert!(!trail.as_of(6).has_passed(&id("hub"), &id("a")));
        assert!(trail.as_of(5).has_passed(&id("hub"), &id("a")));
    }
}
