//! Random graphs with many circles: after every commit the fields that depend on themselves are what the oracle says, in
//! the shapes that people write, and in ones that nobody would.

use std::sync::Arc;

use crate::common::*;
use corollary_engine::{EngineError, Transaction, Write};
use corollary_store::MemoryStore;
use corollary_value::Value;
use proptest::prelude::*;

/// What is written by random. `up` and `best` are links, `next` is many links, `parts` lead through resources between.
const FACTS: &str = "
  n: int
  stop: bool
  up: link Node
  next: links Node
  kids: inverse Node.up
  before: inverse Node.next
  parts: collection Part
  used: inverse Part.of
";

/// Each in a schema of its own, so that those that do not need each other do not hide each other's mistakes.
const FIELDS: [&str; 31] = [
    "a := self.n + sum(self.kids.a)",
    "a := 1 + self.up.a else 1",
    "a := self.stop = true -> 0 : 1 + min(self.next.a)",
    "a := self.stop = true | (self.up.a else false)",
    "a := max(self.kids.a) else self.n",
    "a := count(self.kids[a > 1]) + count(self.kids)",
    "a := self.n > 4 -> sum(self.before.a) : sum(self.next.a) + 1",
    "a := sum(self.kids.b) + self.n
     b := self.a + (self.up.b else 0) * 0",
    "a := (self.up.b else 0) + 1
     b := self.n > 5 -> sum(self.kids.a) : sum(self.next.c)
     c := (self.up.a else 1) + count(self.kids.b)",
    "best := first(self.next[order by a desc])
     a := self.n + (self.best.a else 0)",
    "a := self.up.a > 3 -> 0 : (self.up.a else 2) + 1",
    "top := self.up = null -> self : self.up.top
     a := count(self.top.kids)",
    "a := self.n + sum(self.parts.cost)
     strictly := self.a / 2",
    "a := sum(self.up.kids.a) + self.n",
    "a := first(self.kids[order by n].a) + self.n
     last := last(self.kids[n > 2]).last else self.n",
    "a := average(self.kids.a) else self.n * 1.0",
    "a := any(self.kids.a) | self.stop = true
     all_of := all(self.next.all_of) & self.n > 2",
    "a := is_error(self.up.a) -> self.next[0].a : self.n",
    "mine := self.up = null -> self.kids : self.up.mine
     a := count(self.mine)",
    "a := count(self.kids.a) + (self.up.b else 0)
     b := self.n > 3 -> sum(self.kids.b) : 2",
    "a := distinct(self.kids.m)
     m := self.n > 4 -> median(self.next.m) : self.n * 1.0
     s := self.up.s + '/' + str(self.n) else str(self.n)",
    "a := self.stop = true -> 1 : count(self.before.up.a)",
    "a := count(self.kids.b) + count(self.kids.up.a)
     b := self.n > 4 -> count(self.next.c) : 1
     c := self.stop = true -> 2 : count(self.before.a)",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', sum(a))
     a := self.stop = true -> 1 : (self.g.x else 0) + 1",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', count(a))
     a := (self.g.x else 0) > 1 -> 1 : (self.up.a else 0)",
    "g := group(self.before, by: n > 3 -> 'x' : 'y', count(b))
     a := self.g.x else 0
     b := self.n > 4 -> count(self.next.a) : 1",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', sum(a > 2 -> count(next.a) : b))
     a := (self.g.y else 0) + self.n
     b := self.stop = true -> 1 : (self.up.a else 2)",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', count(a > 1 -> b : up.b))
     a := (self.g.x else 1)
     b := self.stop = true -> self.n : (self.up.a else 0)",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', sum(count(next.a)))
     a := self.n > 4 -> (self.g.x else 0) : 1",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', max(a > 1 -> sum(next.b) : 1))
     a := self.g.x else 2
     b := self.stop = true -> 1 : (self.g.y else 0)",
    "g := group(self.kids, by: n > 3 -> 'x' : 'y', sum(count(next[n > 2].up.a)))
     a := self.stop = true -> 1 : (self.g.x else 0) + (self.up.b else 0)
     b := self.n > 3 -> sum(self.kids.a) : 2",
];

fn schema(fields: &str) -> String {
    format!(
        "type Node in nodes {{ {FACTS} {fields} }}
         type Part {{ of: link Node, times: int, cost := {} * self.times }}",
        if fields.contains("parts.cost") { "self.of.a" } else { "self.of.n" }
    )
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, u8, Vec<(&'static str, Value)>),
    Delete(&'static str, u8),
}

const NODES: u8 = 7;

fn node(n: u8) -> Value {
    reference(&format!("n{n}"))
}

fn link() -> impl Strategy<Value = Value> {
    prop_oneof![2 => Just(Value::Absent), 5 => (0..NODES).prop_map(node)]
}

fn step() -> impl Strategy<Value = Step> {
    let links = prop::collection::btree_set(0..NODES, 0..4)
        .prop_map(|of| Value::List(of.into_iter().map(node).collect()));
    let int = || prop_oneof![1 => Just(Value::Absent), 6 => (0i64..8).prop_map(Value::Int)];
    let stop = prop_oneof![Just(Value::Absent), Just(Value::Bool(true))];
    let values = (link(), links, int(), stop)
        .prop_map(|(up, next, n, stop)| vec![("up", up), ("next", next), ("n", n), ("stop", stop)]);
    let values = values.prop_flat_map(|values| prop::sample::subsequence(values, 0..=4));
    let put = (0..NODES, values).prop_map(|(n, values)| Step::Put("Node", n, values));
    let part = (0..NODES, 0..NODES, link(), int()).prop_map(|(n, owner, of, times)| {
        Step::Put("Part", n, vec![("parent_node_parts", node(owner)), ("of", of), ("times", times)])
    });
    let delete =
        (prop::sample::select(vec!["Node", "Part"]), 0..NODES).prop_map(|(ty, n)| Step::Delete(ty, n));
    prop_oneof![8 => put, 2 => part, 1 => delete]
}

fn name(ty: &str, n: u8) -> String {
    format!("{}{n}", if ty == "Node" { "n" } else { "p" })
}

fn writes(db: &Db, steps: &[Step]) -> Vec<Write> {
    let mut made = std::collections::HashSet::new();
    let write = |step: &Step| match step {
        Step::Delete(ty, n) => delete(db, ty, &name(ty, *n)),
        Step::Put(ty, n, values) => {
            let name = name(ty, *n);
            if !made.insert(name.clone()) || doc(db, ty, &name).is_some() {
                update(db, ty, &name, values)
            } else {
                create(db, ty, &name, values)
            }
        }
    };
    steps.iter().map(write).collect()
}

fn history() -> impl Strategy<Value = Vec<Vec<Vec<Step>>>> {
    use prop::collection::vec;
    vec(vec(vec(step(), 1..5), 1..3), 1..14)
}

fn run(db: &Db, history: &[Vec<Vec<Step>>], about: &str) -> Result<(), TestCaseError> {
    for (at, group) in history.iter().enumerate() {
        let transactions: Vec<Transaction> =
            group.iter().map(|steps| Transaction { writes: writes(db, steps) }).collect();
        for outcome in db.commit(&transactions, NOW).unwrap() {
            prop_assert!(matches!(outcome, Ok(_) | Err(EngineError::Refused(_))), "{:?}", outcome);
        }
        let found = wrong(db);
        prop_assert!(found.is_empty(), "{found:#?} with {about} after {:#?}", &history[..=at]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_graphs_are_what_the_oracle_says(which in 0..FIELDS.len(), history in history()) {
        let db = fresh(&schema(FIELDS[which]));
        run(&db, &history, FIELDS[which])?;
    }

    #[test]
    fn what_is_built_over_data_is_what_is_kept_by_writes(
        which in 0..FIELDS.len(),
        history in history(),
        more in history(),
    ) {
        let store: Arc<MemoryStore> = memory();
        let plain = opened(&store, &schema(""));
        run(&plain, &history, "no fields")?;
        drop(plain);
        let db = opened(&store, &schema(FIELDS[which]));
        let found = wrong(&db);
        prop_assert!(found.is_empty(), "{found:#?} with {} built after {history:#?}", FIELDS[which]);
        run(&db, &more, FIELDS[which])?;
    }
}
