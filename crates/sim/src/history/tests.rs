//! Histories that are right, and histories that are wrong in the ways in which databases have been: the checker has to tell them
//! apart.

use std::collections::BTreeMap;

use super::*;

/// Numbers by name. A transaction writes some of them if those that it has read are as it says, and is shown some.
#[derive(Clone, Debug, Default)]
struct Numbers(BTreeMap<&'static str, i64>);

type Pairs = Vec<(&'static str, i64)>;

#[derive(Clone, Debug, Default)]
struct Change {
    /// It is refused where these are otherwise.
    if_so: Pairs,
    add: Pairs,
    shown: Pairs,
}

impl Numbers {
    fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

impl Machine for Numbers {
    type Asked = Change;
    type Refusal = &'static str;
    type Sight = Pairs;

    fn run(&mut self, asked: &Change) -> Result<bool, &'static str> {
        if asked.if_so.iter().any(|(name, value)| self.get(name) != *value) {
            return Err("otherwise");
        }
        for (name, by) in &asked.add {
            *self.0.entry(name).or_default() += by;
        }
        Ok(asked.add.iter().any(|(_, by)| *by != 0))
    }

    fn shows(&self, asked: &Change) -> Result<(), String> {
        self.sees(&asked.shown)
    }

    fn sees(&self, sight: &Pairs) -> Result<(), String> {
        match sight.iter().find(|(name, value)| self.get(name) != *value) {
            Some((name, value)) => Err(format!("{name} was seen as {value}, and is {}", self.get(name))),
            None => Ok(()),
        }
    }

    fn foretells(&self, _: &&'static str) -> bool {
        true
    }
}

fn add(name: &'static str, by: i64) -> Change {
    Change { add: vec![(name, by)], ..Change::default() }
}

fn adds(name: &'static str, by: i64, to: i64) -> Change {
    Change { shown: vec![(name, to)], ..add(name, by) }
}

/// The other side of an account: takes from it what both have together.
fn takes(from: &'static str, read: Pairs) -> Change {
    Change { if_so: read, add: vec![(from, -100)], shown: Vec::new() }
}

fn committed(revision: u64) -> Told<&'static str> {
    Told::Committed { revision, facts: true }
}

fn empty() -> History<Numbers> {
    History::new(Numbers::default(), 0)
}

/// One transaction after the other, told by node `a`.
fn after_each_other(changes: Vec<(Change, Told<&'static str>)>) -> History<Numbers> {
    let mut history = empty();
    for (change, told) in changes {
        let asking = history.ask(0, "a");
        history.tell(asking, "a", change, told);
    }
    history
}

fn read(history: &mut History<Numbers>, session: Session, node: &str, revision: u64, sight: Pairs) {
    let asking = history.ask(session, node);
    history.show(asking, node, revision, sight);
}

#[track_caller]
fn wrong(mut history: History<Numbers>, last: u64, why: &str) {
    let found = history.settle(last, false).expect_err("it could not have happened");
    assert!(found.contains(why), "{found}");
}

#[test]
fn what_happened_one_after_the_other_is_right() {
    let mut history = after_each_other(vec![
        (adds("x", 1, 1), committed(1)),
        (adds("x", 1, 2), committed(2)),
        (takes("x", vec![("x", 3)]), Told::Refused("otherwise")),
        (add("x", 0), Told::Unchanged { revision: 2 }),
    ]);
    read(&mut history, 1, "a", 2, vec![("x", 2)]);
    // Another node may be behind.
    read(&mut history, 2, "b", 1, vec![("x", 1)]);
    let checked = history.settle(2, false).expect("all is right");
    assert_eq!(checked, Checked { acknowledged: 3, refused: 1, found: 0, reads: 2, behind: 1 });
    // And goes on being so later, as long as the state is kept.
    read(&mut history, 3, "b", 1, vec![("x", 1)]);
    history.settle(2, false).expect("all is right");
}

#[test]
fn what_was_asked_at_once_may_be_in_any_order() {
    let mut history = empty();
    let (one, other) = (history.ask(0, "a"), history.ask(1, "a"));
    history.tell(one, "a", adds("x", 1, 2), committed(2));
    history.tell(other, "a", adds("x", 1, 1), committed(1));
    history.settle(2, false).expect("all is right");
}

#[test]
fn a_stale_read_is_found() {
    let mut history = after_each_other(vec![(add("x", 1), committed(1)), (add("x", 1), committed(2))]);
    read(&mut history, 1, "a", 1, vec![("x", 1)]);
    // The node has told of 2.
    wrong(history, 2, "of revision 1");
    // So has the session, elsewhere.
    let mut history = after_each_other(vec![(add("x", 1), committed(1))]);
    read(&mut history, 0, "b", 0, vec![("x", 0)]);
    wrong(history, 1, "of revision 0");
    // What was read once is not forgotten, also behind what has been settled.
    let mut history = after_each_other(vec![(add("x", 1), committed(1))]);
    read(&mut history, 5, "a", 1, vec![("x", 1)]);
    history.settle(1, false).expect("all is right");
    read(&mut history, 5, "b", 0, vec![("x", 0)]);
    wrong(history, 1, "of revision 0");
}

#[test]
fn a_read_of_two_revisions_is_found() {
    let both = || Change { add: vec![("x", 1), ("y", 1)], ..Change::default() };
    let mut history = after_each_other(vec![(both(), committed(1)), (both(), committed(2))]);
    read(&mut history, 1, "b", 2, vec![("x", 2), ("y", 1)]);
    wrong(history, 2, "y was seen as 1, and is 2");
}

#[test]
fn a_read_of_what_nobody_had_asked_for_is_found() {
    let mut history = after_each_other(vec![(add("x", 1), committed(1))]);
    read(&mut history, 1, "b", 2, vec![("x", 2)]);
    let asking = history.ask(0, "a");
    history.tell(asking, "a", add("x", 1), committed(2));
    wrong(history, 2, "2 had been told before it was asked");
}

#[test]
fn a_lost_update_is_found() {
    // Both have read 0 and been told 1.
    wrong(
        after_each_other(vec![(adds("x", 1, 1), committed(1)), (adds("x", 1, 1), committed(2))]),
        2,
        "x was seen as 1, and is 2",
    );
    // Both have written if it is 0.
    let once = || Change { if_so: vec![("x", 0)], ..add("x", 1) };
    let mut history = empty();
    let (one, other) = (history.ask(0, "a"), history.ask(1, "a"));
    history.tell(one, "a", once(), committed(1));
    history.tell(other, "a", once(), committed(2));
    wrong(history, 2, "Err(\"otherwise\")");
}

#[test]
fn a_write_skew_is_found() {
    let mut history = after_each_other(vec![(add("x", 100), committed(1)), (add("y", 100), committed(2))]);
    let (one, other) = (history.ask(0, "a"), history.ask(1, "b"));
    let both = vec![("x", 100), ("y", 100)];
    history.tell(one, "a", takes("x", both.clone()), committed(3));
    history.tell(other, "b", takes("y", both), committed(4));
    wrong(history, 4, "revision 4 was told to change facts: true, and played again it is Err");
}

#[test]
fn an_order_other_than_that_of_time_is_found() {
    wrong(
        after_each_other(vec![(add("x", 1), committed(2)), (add("y", 1), committed(1))]),
        2,
        "2 had been told before it was asked",
    );
}

#[test]
fn one_revision_for_two_is_found() {
    wrong(
        after_each_other(vec![(add("x", 1), committed(1)), (add("y", 1), committed(1))]),
        1,
        "1 had been told before",
    );
    let mut history = empty();
    let (one, other) = (history.ask(0, "a"), history.ask(1, "a"));
    history.tell(one, "a", add("x", 1), committed(1));
    history.tell(other, "a", add("y", 1), committed(1));
    wrong(history, 1, "two have one revision");
}

#[test]
fn an_acknowledged_one_that_is_lost_is_found() {
    wrong(
        after_each_other(vec![(add("x", 1), committed(1)), (add("x", 1), committed(2))]),
        1,
        "not what was told",
    );
}

#[test]
fn a_commit_of_nobody_is_found() {
    wrong(after_each_other(vec![(add("x", 1), committed(2))]), 2, "nobody asked for it");
}

#[test]
fn a_refusal_for_nothing_is_found() {
    // Before it was asked it would have been right, and afterwards it would be again.
    let refused = (Change { if_so: vec![("x", 1)], ..add("x", 1) }, Told::Refused("otherwise"));
    wrong(
        after_each_other(vec![(add("x", 1), committed(1)), refused, (add("x", 1), committed(2))]),
        2,
        "nothing refuses it",
    );
}

#[test]
fn what_is_told_to_change_nothing_changes_nothing() {
    wrong(
        after_each_other(vec![(add("x", 1), Told::Unchanged { revision: 0 })]),
        0,
        "it changes nothing, it was told",
    );
}

#[test]
fn what_nobody_was_told_of_is_there_or_not() {
    for there in [false, true] {
        let mut history = after_each_other(vec![(add("x", 1), committed(1)), (add("x", 10), Told::Unknown)]);
        read(&mut history, 1, "b", 1 + u64::from(there), vec![("x", if there { 11 } else { 1 })]);
        let checked = history.settle(1 + u64::from(there), false).expect("both are right");
        assert_eq!(checked.found, usize::from(there));
    }
    // But not in half, nor twice.
    let mut history = after_each_other(vec![(add("x", 10), Told::Unknown)]);
    read(&mut history, 1, "b", 1, vec![("x", 5)]);
    wrong(history, 1, "x was seen as 5");
    wrong(after_each_other(vec![(add("x", 10), Told::Unknown)]), 2, "nobody asked for it");
}
