//! What may be sent next. Events of one resource are in one lane and go one after the other; lanes do not wait for each other.
//! Where all is to stay in the order of the log there is one lane, of which many go at a time.
//!
//! The cursor is the last revision up to which all is done, whatever of later ones is done already.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use tokio::time::Instant;

/// An event to be sent.
#[derive(Clone, Debug)]
pub struct Event {
    /// The same for the same event, however often it is sent.
    pub id: String,
    /// Its revision.
    pub revision: u64,
    /// The path of its resource: its lane.
    pub path: Arc<str>,
    /// What is sent.
    pub body: Bytes,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was tried first.
    pub first: Option<Instant>,
    /// The key of the letter that it was, where it is sent again.
    pub letter: Option<Vec<u8>>,
}

/// See the module.
#[derive(Debug)]
pub struct Lanes {
    /// Of each resource what is not done, in order; the first may be on its way.
    lanes: HashMap<Arc<str>, VecDeque<Event>>,
    /// Lanes whose first event may be sent, in turn.
    ready: VecDeque<Arc<str>>,
    /// Lanes that rest, by when they may go on.
    resting: BTreeMap<(Instant, u64), Arc<str>>,
    rests: u64,
    /// Of each revision that was read, how many events are not done.
    open: BTreeMap<u64, usize>,
    /// All up to here was read.
    read: u64,
    waiting: usize,
    /// Is there one lane for everything?
    is_one: bool,
}

impl Lanes {
    /// With all done up to a revision; `is_one` where all is to stay in the order of the log.
    pub fn new(cursor: u64, is_one: bool) -> Lanes {
        Lanes {
            is_one,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            resting: BTreeMap::new(),
            rests: 0,
            open: BTreeMap::new(),
            read: cursor,
            waiting: 0,
        }
    }

    /// Events that are not done.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Is all done?
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// All up to which revision was read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// All up to which revision is done.
    pub fn cursor(&self) -> u64 {
        self.open.first_key_value().map_or(self.read, |(revision, _)| self.read.min(revision - 1))
    }

    /// All of the commits up to a revision was read, and these are its events.
    pub fn commit(&mut self, revision: u64, events: impl IntoIterator<Item = Event>) {
        for event in events {
            *self.open.entry(event.revision).or_default() += 1;
            self.push(event);
        }
        self.read = self.read.max(revision);
    }

    /// A letter that is sent again. The cursor has passed it.
    pub fn again(&mut self, event: Event) {
        debug_assert!(event.letter.is_some(), "no letter");
        self.push(event);
    }

    fn push(&mut self, event: Event) {
        self.waiting += 1;
        let path = self.lane_of(&event.path);
        let lane = self.lanes.entry(path.clone()).or_default();
        lane.push_back(event);
        if lane.len() == 1 {
            self.ready.push_back(path);
        }
    }

    fn lane_of(&self, path: &Arc<str>) -> Arc<str> {
        if self.is_one { "".into() } else { path.clone() }
    }

    /// Events of one lane that may be sent now, together and in their order, at most so many; none where none may. Nothing else
    /// of the lane may until they are [done](Lanes::done) or have [failed](Lanes::failed).
    pub fn next(&mut self, now: Instant, most: usize) -> Vec<Event> {
        while let Some(entry) = self.resting.first_entry()
            && entry.key().0 <= now
        {
            let path = entry.remove();
            self.ready.push_back(path);
        }
        let lane = self.ready.pop_front().and_then(|path| self.lanes.get_mut(&path));
        let events = lane.into_iter().flat_map(|lane| lane.iter_mut().take(most));
        let tried = events.map(|event| {
            event.attempts += 1;
            event.first.get_or_insert(now);
            event.clone()
        });
        tried.collect()
    }

    /// When a lane that rests may go on, the first of them; none where one may at once, or none rests.
    pub fn due(&self) -> Option<Instant> {
        match self.ready.is_empty() {
            true => self.resting.first_key_value().map(|((due, _), _)| *due),
            false => None,
        }
    }

    /// The first so many events of the lane of a resource, which were on their way, are done: taken, or given up.
    pub fn done(&mut self, path: &Arc<str>, count: usize) {
        let path = self.lane_of(path);
        let Some(lane) = self.lanes.get_mut(&path) else { return };
        for event in lane.drain(..count.min(lane.len())) {
            self.waiting -= 1;
            if event.letter.is_none()
                && let Some(left) = self.open.get_mut(&event.revision)
            {
                *left -= 1;
                if *left == 0 {
                    self.open.remove(&event.revision);
                }
            }
        }
        match lane.is_empty() {
            true => drop(self.lanes.remove(&path)),
            false => self.ready.push_back(path),
        }
    }

    /// They were not taken: the lane rests until a time, and they are tried again.
    pub fn failed(&mut self, path: &Arc<str>, until: Instant) {
        self.rests += 1;
        self.resting.insert((until, self.rests), self.lane_of(path));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn event(revision: u64, path: &str) -> Event {
        Event {
            id: format!("{revision}{path}"),
            revision,
            path: path.into(),
            body: Bytes::new(),
            attempts: 0,
            first: None,
            letter: None,
        }
    }

    #[test]
    fn one_that_fails_holds_up_its_own_lane_and_the_cursor_only() {
        let now = Instant::now();
        let mut lanes = Lanes::new(4, false);
        lanes.commit(5, [event(5, "a"), event(5, "b")]);
        lanes.commit(7, [event(7, "a"), event(7, "c")]);
        let sent: Vec<String> =
            std::iter::from_fn(|| lanes.next(now, 1).pop()).map(|event| event.id).collect();
        assert_eq!(sent, ["5a", "5b", "7c"]);
        lanes.failed(&"a".into(), now + Duration::from_secs(1));
        lanes.done(&"b".into(), 1);
        lanes.done(&"c".into(), 1);
        assert_eq!((lanes.cursor(), lanes.len(), lanes.due()), (4, 2, Some(now + Duration::from_secs(1))));
        assert!(lanes.next(now, 1).is_empty());
        let again = lanes.next(now + Duration::from_secs(1), 1).pop().expect("the one that failed");
        assert_eq!((again.id.as_str(), again.attempts), ("5a", 2));
        lanes.done(&"a".into(), 1);
        assert_eq!(lanes.cursor(), 6);
        assert_eq!(lanes.next(now, 1).pop().expect("the next one").id, "7a");
        lanes.done(&"a".into(), 1);
        assert_eq!((lanes.cursor(), lanes.is_empty()), (7, true));
    }

    #[test]
    fn a_letter_moves_no_cursor() {
        let now = Instant::now();
        let mut lanes = Lanes::new(9, false);
        lanes.again(Event { letter: Some(vec![1]), ..event(3, "a") });
        assert_eq!(lanes.cursor(), 9);
        lanes.next(now, 1).pop().expect("the letter");
        lanes.done(&"a".into(), 1);
        assert_eq!((lanes.cursor(), lanes.is_empty()), (9, true));
    }

    #[test]
    fn one_lane_goes_in_the_order_of_the_log() {
        let now = Instant::now();
        let mut lanes = Lanes::new(4, true);
        lanes.commit(5, [event(5, "b"), event(5, "a")]);
        lanes.commit(7, [event(7, "a"), event(7, "c")]);
        let ids = |events: Vec<Event>| events.into_iter().map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(ids(lanes.next(now, 3)), ["5b", "5a", "7a"]);
        assert_eq!(ids(lanes.next(now, 3)), [""; 0]);
        lanes.failed(&"b".into(), now);
        assert_eq!(ids(lanes.next(now, 3)), ["5b", "5a", "7a"], "in the same order again");
        lanes.done(&"b".into(), 3);
        assert_eq!((lanes.cursor(), lanes.len()), (6, 1));
        assert_eq!(ids(lanes.next(now, 3)), ["7c"]);
        lanes.done(&"c".into(), 1);
        assert_eq!((lanes.cursor(), lanes.is_empty()), (7, true));
    }

    proptest! {
        /// Whatever fails and in whatever order what was sent comes back: of each resource all is taken in order, once, and
        /// the cursor never passes what was not.
        #[test]
        fn all_is_taken_in_the_order_of_each_resource(
            commits in prop::collection::vec(prop::collection::btree_set(0_u8..5, 0..4), 1..30),
            luck in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4), 0..400),
        ) {
            let now = Instant::now();
            let mut lanes = Lanes::new(0, false);
            let (mut taken, mut on_their_way) = (Vec::new(), Vec::new());
            let mut commits = commits.iter().enumerate();
            let mut luck = luck.into_iter();
            let mut expected = Vec::new();
            loop {
                if let Some((at, paths)) = commits.next() {
                    let revision = at as u64 + 1;
                    let events: Vec<Event> = paths.iter().map(|path| event(revision, &path.to_string())).collect();
                    expected.extend(events.iter().map(|event| (event.revision, event.path.clone())));
                    lanes.commit(revision, events);
                } else if lanes.is_empty() {
                    break;
                }
                while let Some(event) = lanes.next(now, 1).pop() {
                    on_their_way.push(event);
                }
                let Some((which, fate)) = luck.next() else {
                    for event in on_their_way.drain(..) {
                        taken.push((event.revision, event.path.clone()));
                        lanes.done(&event.path, 1);
                    }
                    continue;
                };
                if on_their_way.is_empty() {
                    continue;
                }
                let event = on_their_way.remove(which.index(on_their_way.len()));
                if fate == 0 {
                    lanes.failed(&event.path, now);
                } else {
                    taken.push((event.revision, event.path.clone()));
                    lanes.done(&event.path, 1);
                }
                let open = expected.iter().filter(|event| !taken.contains(event)).map(|(revision, _)| *revision);
                prop_assert!(open.min().is_none_or(|first| lanes.cursor() < first));
            }
            prop_assert_eq!(lanes.cursor(), lanes.read());
            let order = |path: &str, events: &[(u64, Arc<str>)]| -> Vec<u64> {
                events.iter().filter(|(_, of)| **of == *path).map(|(revision, _)| *revision).collect()
            };
            for path in ["0", "1", "2", "3", "4"] {
                prop_assert_eq!(order(path, &taken), order(path, &expected));
            }
        }
    }
}
