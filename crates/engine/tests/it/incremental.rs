//! After every commit of random writes, every stored derived value is what the oracle computes from the facts.

use std::sync::Arc;

use corollary_engine::{
    Edit, EngineError, EngineOptions, Executor, Key, Transaction, Write, keys, open, oracle, side_state,
};
use corollary_schema::Slot;
use corollary_store::MemoryStore;
use corollary_value::{Id, Value};
use jiff::Timestamp;
use proptest::prelude::*;

const SCHEMA: &str = "
type Team in teams {
  limit: int
  members: inverse Person.team
  projects: collection Project
  total := sum(self.members.age)
  n := count(self.members)
  mean := average(self.members.age)
  oldest := max(self.members.age)
  youngest := min(self.members[age > 3].age)
  over := count(self.members[age > self.limit])
  senior := self.members[age > 5]
  first_member := first(self.members[order by age desc, weight])
  first_weight := self.first_member.weight
  weight := sum(self.members.weight)
  share := count(self.members[age > 5]) / count(self.members)
  cost := sum(self.projects.tasks.cost)
  bosses := self.members.boss
  boss_count := count(self.members.boss)
  helper_ages := sum(self.helpers.age)
  some_old := any(self.members.old)
  all_old := all(self.members.old)
  all_ratio := all(self.members.fair)
  some_open := self.weight > 1.0 | any(self.projects.tasks.costly)
  helpers: links Person
  ages := distinct(self.members.age)
  two_oldest := top(2, self.members[weight > 0.15].age)
  middle := median(self.members.age)
  middle_weight := median(self.members.weight)
  most := percentile(self.members.age, 90)
  fair_weight := percentile(self.members.ratio, 12.5)
  ranks := join(self.members.rank, ', ')
  ranks_by_age := join(self.members[order by age desc].rank, '')
  ratios := distinct(self.members.ratio)
  best_ratios := top(3, self.members.ratio)
  by_rank := group(self.members, by: rank, count())
  by_age := group(self.members, by: age, sum(weight))
  by_boss := group(self.members, by: boss, max(age))
  by_ratio := group(self.members, by: int(ratio), average(weight))
  by_old := group(self.members[age != 3], by: old, median(age))
  firsts := group(self.members[order by weight desc], by: rank, first(age))
  named := group(self.members, by: old, join(rank, '-'))
  lists := group(self.members, by: rank, distinct(age))
  costs := group(self.projects.tasks, by: costly, sum(cost))
  helper_median := median(self.helpers.age)
  helpers_by_rank := group(self.helpers, by: rank, top(2, age))
  spread := max(self.members.age) - median(self.members.age) + percentile(self.members.age, 10)
  high := self.by_rank.high
  share_of_all := count(self.members) / count(people)
  spread_of_all := (max(people.age) - min(people.age)) + max(people.age)
  younger := count(people[age < self.limit])
  above := count(self.members[age > average(people.age)])
  all_by_rank := group(people, by: rank, count())
  teams_of_all := count(people.team)
  with_cost := teams[cost > 3]
  costly := count(self.members[team.cost > median(teams.cost)])
}
type Project { name: str, tasks: collection Task, open := count(self.tasks[cost > 2]) }
type Task { cost: int, sum_of_ages := sum(people.age), difference := sum(people[age > 3].age) - sum(people[age > 5].weight)
  old_people := people[age > 6], oldest := first(people[order by age desc, weight]), oldest_weight := self.oldest.weight
  old_bosses := count(people[age > 6].boss), costly := self.cost > 4, double := self.cost * 2 + self.parent_project_tasks.open }
type Person in people {
  team: link Team
  boss: link Person
  age: int
  weight: float
  team_total := self.team.total
  team_middle := median(self.team.members.age)
  team_ages := distinct(self.team.members.age)
  team_ranks := join(self.team.members.rank, ' ')
  team_by_age := group(self.team.members, by: age, count())
  boss_age := self.boss.age else 0 - 1
  reports := count(self.link_person_boss)
  ratio := self.age / self.boss.age
  old := self.age > 5
  fair := self.ratio = null -> null : (self.ratio * 1.0 > 0.5)
  rank := self.age > 5 -> 'high' : 'low'
}
";

fn executor() -> Executor {
    executor_within(EngineOptions::default().update_budget)
}

fn executor_within(update_budget: usize) -> Executor {
    let store = MemoryStore::new(&keys::KEYSPACES).unwrap();
    let options = EngineOptions { update_budget, ..EngineOptions::default() };
    open(Arc::new(store), SCHEMA, &options, Timestamp::UNIX_EPOCH, &mut |_| {}).unwrap()
}

fn id(prefix: &str, n: u8) -> Id {
    Id::parse(&format!("{prefix}{n}")).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Put(&'static str, u8, Vec<(&'static str, Value)>),
    Delete(&'static str, u8),
}

fn reference(prefix: &'static str) -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Absent), 4 => (0u8..4).prop_map(move |n| Value::Ref(id(prefix, n)))]
}

fn int() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Absent), 6 => (0i64..10).prop_map(Value::Int)]
}

fn float() -> impl Strategy<Value = Value> {
    prop_oneof![Just(0.1), Just(1e300), Just(-1e300), Just(0.2), Just(3.5)].prop_map(Value::Float)
}

fn some(all: Vec<(&'static str, Value)>) -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let n = all.len();
    proptest::sample::subsequence(all, 0..=n)
}

fn step() -> impl Strategy<Value = Step> {
    let person = (0u8..4, reference("t"), reference("p"), int(), float()).prop_flat_map(
        |(n, team, boss, age, weight)| {
            some(vec![("team", team), ("boss", boss), ("age", age), ("weight", weight)])
                .prop_map(move |values| Step::Put("Person", n, values))
        },
    );
    let helpers = proptest::collection::btree_set(0u8..4, 0..3)
        .prop_map(|ids| Value::List(ids.into_iter().map(|n| Value::Ref(id("p", n))).collect()));
    let team = (0u8..4, int(), helpers).prop_flat_map(|(n, limit, helpers)| {
        some(vec![("limit", limit), ("helpers", helpers)])
            .prop_map(move |values| Step::Put("Team", n, values))
    });
    let project = (0u8..4, 0u8..4).prop_map(|(n, team)| {
        Step::Put("Project", n, vec![("parent_team_projects", Value::Ref(id("t", team)))])
    });
    let task = (0u8..4, 0u8..4, int()).prop_map(|(n, project, cost)| {
        Step::Put("Task", n, vec![("parent_project_tasks", Value::Ref(id("j", project))), ("cost", cost)])
    });
    let delete = (prop::sample::select(vec!["Team", "Person", "Project", "Task"]), 0u8..4)
        .prop_map(|(ty, n)| Step::Delete(ty, n));
    prop_oneof![6 => person, 3 => team, 2 => project, 3 => task, 2 => delete]
}

fn prefix(ty: &str) -> &'static str {
    match ty {
        "Team" => "t",
        "Person" => "p",
        "Project" => "j",
        _ => "k",
    }
}

fn write(executor: &Executor, step: &Step, there: &mut dyn FnMut(&Key) -> bool) -> Write {
    let schema = executor.engine().schema();
    let key = |ty: &str, n: u8| Key::new(schema.type_named(ty).unwrap(), id(prefix(ty), n));
    match step {
        Step::Delete(ty, n) => Write::Delete(key(ty, *n)),
        Step::Put(ty, n, values) => {
            let key = key(ty, *n);
            let values: Vec<(Slot, Value)> = values
                .iter()
                .map(|(name, value)| (schema.ty(key.ty).named(name).unwrap().0, value.clone()))
                .collect();
            if there(&key) {
                Write::Update(key, values.into_iter().map(|(slot, value)| (slot, Edit::Set(value))).collect())
            } else {
                Write::Create(key, values)
            }
        }
    }
}

fn agree(executor: &Executor, steps: &[Vec<Step>]) {
    let engine = executor.engine();
    let checked = engine.read(Timestamp::UNIX_EPOCH, |working| oracle::check(working, None)).unwrap();
    let names: Vec<String> = checked
        .differences
        .iter()
        .map(|it| {
            let schema = engine.schema();
            let (ty, field) = (&schema.ty(it.key.ty).name, &schema.field(it.field).name);
            format!("{ty} {}.{field}: stored {} expected {}", it.key.id, it.stored, it.expected)
        })
        .collect();
    assert!(names.is_empty(), "{names:#?} after {steps:#?}");
    let side_state = engine.read(Timestamp::UNIX_EPOCH, side_state::check).unwrap();
    assert!(side_state.is_empty(), "{side_state:#?} after {steps:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn stored_values_follow_from_the_facts(
        groups in prop::collection::vec(
            (prop::collection::vec(prop::collection::vec(step(), 1..4), 1..3), 0usize..4, 1usize..4), 1..14
        ),
        budget in prop::sample::select(vec![0, 0, 1, 2, 3, 1_000]),
    ) {
        let mut executor = executor_within(budget);
        let mut done = Vec::new();
        for (group, steps, limit) in groups {
            let transactions: Vec<Transaction> = group
                .iter()
                .map(|steps| {
                    let mut made = std::collections::HashSet::new();
                    let writes = steps.iter().map(|step| write(&executor, step, &mut |key| {
                        !made.insert(key.clone())
                            || executor.engine().read(Timestamp::UNIX_EPOCH, |working| Ok(working.after(key)?.is_some())).unwrap()
                    }));
                    Transaction { writes: writes.collect() }
                })
                .collect();
            for outcome in executor.commit(&transactions, Timestamp::UNIX_EPOCH).unwrap() {
                prop_assert!(matches!(outcome, Ok(_) | Err(EngineError::Refused(_))), "{:?}", outcome);
            }
            done.extend(group);
            agree(&executor, &done);
            // Updates go on between the groups, some of them over several.
            for _ in 0..steps {
                if executor.update_step(Timestamp::UNIX_EPOCH, limit).unwrap().is_none() {
                    break;
                }
                agree(&executor, &done);
            }
        }
        executor.finish_updates(Timestamp::UNIX_EPOCH, 2).unwrap();
        let checked =
            executor.engine().read(Timestamp::UNIX_EPOCH, |working| oracle::check(working, None)).unwrap();
        prop_assert_eq!(checked.pending, 0);
        agree(&executor, &done);
    }
}

/// Counts what a change of one member's value costs, in a group of a given size.
fn cost_of_one_change(members: u32) -> u64 {
    let mut executor = executor();
    let schema = executor.engine().schema().clone();
    let (team, person) = (schema.type_named("Team").unwrap(), schema.type_named("Person").unwrap());
    let slot = |name: &str| schema.ty(person).named(name).unwrap().0;
    let team_id = id("t", 0);
    let mut writes = vec![Write::Create(Key::new(team, team_id.clone()), Vec::new())];
    let key = |n: u32| Key::new(person, Id::parse(&format!("p{n}")).unwrap());
    for n in 0..members {
        let values = vec![(slot("team"), Value::Ref(team_id.clone())), (slot("weight"), Value::Float(1.0))];
        writes.push(Write::Create(key(n), values));
    }
    executor.commit(&[Transaction { writes }], Timestamp::UNIX_EPOCH).unwrap().remove(0).unwrap();
    let writes = vec![Write::Update(key(0), vec![(slot("weight"), Edit::Set(Value::Float(2.0)))])];
    let committed =
        executor.commit(&[Transaction { writes }], Timestamp::UNIX_EPOCH).unwrap().remove(0).unwrap();
    assert_eq!(committed.commit.unwrap().changes.len(), 2, "the person and the team");
    committed.work.evaluations
}

#[test]
fn a_change_costs_the_same_in_a_large_group() {
    assert_eq!(cost_of_one_change(10), cost_of_one_change(1000));
}

#[test]
fn a_write_that_changes_nothing_has_no_revision() {
    let mut executor = executor();
    let schema = executor.engine().schema().clone();
    let person = schema.type_named("Person").unwrap();
    let age = schema.ty(person).named("age").unwrap().0;
    let key = Key::new(person, id("p", 0));
    let create = Transaction { writes: vec![Write::Create(key.clone(), vec![(age, Value::Int(3))])] };
    let same = Transaction { writes: vec![Write::Update(key, vec![(age, Edit::Set(Value::Int(3)))])] };
    let outcomes = executor.commit(&[create, same], Timestamp::UNIX_EPOCH).unwrap();
    let revisions: Vec<u64> = outcomes.iter().map(|outcome| outcome.as_ref().unwrap().revision).collect();
    assert_eq!(revisions, [1, 1]);
    assert_eq!(outcomes[1].as_ref().unwrap().work.evaluations, 0);
}
