//! Processors: what sets fields and what refuses writes, against a naive reading of the same rules.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use corollary_engine::processors::PROCESSOR;
use corollary_engine::records::Kind;
use corollary_engine::reply::{Request, Wants};
use corollary_engine::{EngineError, EngineOptions, Executor, Transaction, keys, open};
use corollary_store::memory::MemoryStore;
use corollary_store::{Batch, Features, Snapshot, Store, StoreError, StoreStats};
use corollary_value::Value;
use jiff::Timestamp;
use proptest::prelude::*;

use crate::common::*;

const SCHEMA: &str = "
type A in all {
  login: str unique actor, normalize (trim)
  x: int default 0
  y: int default 0
  up: link A
  down: inverse A.up
  s := self.x + self.y
  t := sum(self.down.x)
}
";

/// Puts one into the line, in place of the one that was there.
fn declare(db: &Db, id: &str, order: i64, on: &[&str], rule: &str) {
    let on: Vec<String> = on.iter().map(|name| format!("\"{name}\"")).collect();
    let json = format!(
        "{{\"type\": \"A\", \"order\": {order}, \"on\": [{}], \"paused\": false, \"rule\": \"{rule}\"}}",
        on.join(", ")
    );
    let put = |executor: &mut Executor| {
        executor.keep_records(Timestamp::UNIX_EPOCH, |records| {
            records.put(PROCESSOR, id.as_bytes(), json.clone().into_bytes());
            Ok(())
        })
    };
    db.change(put).unwrap();
}

const ALL: [&str; 3] = ["create", "update", "delete"];

#[test]
fn what_follows_is_there_when_a_write_is_refused_and_not_when_a_field_is_set() {
    let db = fresh(SCHEMA);
    declare(&db, "sum", 1, &ALL, "deny when self.t > 10, message 'too much below'");
    declare(&db, "twice", 2, &["create"], "set y := self.x * 2");
    commit(
        &db,
        vec![
            create(&db, "A", "top", &[]),
            create(&db, "A", "a", &[("x", Value::Int(8)), ("up", reference("top"))]),
        ],
    );
    assert_eq!(get(&db, "A", "a", "s"), Value::Int(24));
    // Of `top` no fact is written: what follows alone is not looked at.
    commit(&db, vec![create(&db, "A", "b", &[("x", Value::Int(8)), ("up", reference("top"))])]);
    let refusals = refused(&db, vec![update(&db, "A", "top", &[("x", Value::Int(1))])]);
    assert_eq!(
        (refusals[0].code, refusals[0].message.as_str(), refusals[0].write),
        ("denied", "too much below", Some(0))
    );
    // With one that is taken out in the same transaction it goes through.
    commit(&db, vec![delete(&db, "A", "b"), update(&db, "A", "top", &[("x", Value::Int(1))])]);
}

#[test]
fn a_record_of_another_kind_is_no_processor_and_one_that_does_not_fit_refuses_all() {
    let db = fresh(SCHEMA);
    let other = |executor: &mut Executor| {
        executor.keep_records(Timestamp::UNIX_EPOCH, |records| {
            records.put(Kind(PROCESSOR.0 + 1), b"x", b"no JSON".to_vec());
            Ok(())
        })
    };
    db.change(other).unwrap();
    commit(&db, vec![create(&db, "A", "a", &[])]);
    declare(&db, "gone", 1, &["update"], "deny when self.gone = 1");
    commit(&db, vec![create(&db, "A", "b", &[])]);
    let refusals = refused(&db, vec![update(&db, "A", "a", &[("x", Value::Int(1))])]);
    assert_eq!(refusals[0].code, "processor");
    assert!(refusals[0].message.contains("gone"), "{}", refusals[0].message);
    let drop = |executor: &mut Executor| {
        executor.keep_records(Timestamp::UNIX_EPOCH, |records| {
            records.delete(PROCESSOR, b"gone");
            Ok(())
        })
    };
    db.change(drop).unwrap();
    commit(&db, vec![update(&db, "A", "a", &[("x", Value::Int(1))])]);
}

/// In one transaction a resource takes its own place: as it was, that is no change and nobody looks at it; else it is one.
#[test]
fn what_takes_its_own_place_as_it_was_is_not_looked_at() {
    let db = fresh(&SCHEMA.replace("in all", "in all updated_at"));
    let again = |x: i64| vec![delete(&db, "A", "a"), create(&db, "A", "a", &[("x", Value::Int(x))])];
    commit(&db, vec![create(&db, "A", "a", &[("x", Value::Int(1))])]);
    declare(&db, "set", 1, &["update"], "set y := 7");
    assert!(commit(&db, again(1)).commit.is_none());
    commit(&db, again(2));
    assert_eq!(get(&db, "A", "a", "y"), Value::Int(7));
}

/// One that makes a resource what it was leaves nothing for those behind it to look at; where the type keeps the time of its last
/// change, that had been noted already, and they looked.
#[test]
fn what_is_as_it_was_again_is_not_looked_at() {
    for keeps in ["in all", "in all updated_at"] {
        let db = fresh(&SCHEMA.replace("in all", keeps));
        commit(&db, vec![create(&db, "A", "a", &[("x", Value::Int(1))])]);
        declare(&db, "back", 1, &["update"], "set x := 1");
        declare(&db, "more", 2, &["update"], "set y := 7");
        assert!(commit(&db, vec![update(&db, "A", "a", &[("x", Value::Int(2))])]).commit.is_none());
        assert_eq!(get(&db, "A", "a", "y"), Value::Int(0));
    }
}

/// A store that has something done before each snapshot.
struct Slow(MemoryStore, Mutex<Box<dyn FnMut() + Send>>);

impl Store for Slow {
    fn features(&self) -> &Features {
        self.0.features()
    }
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        (self.1.lock().unwrap())();
        self.0.snapshot()
    }
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.0.commit(batch)
    }
    fn stats(&self) -> Result<StoreStats, StoreError> {
        self.0.stats()
    }
    fn name(&self) -> &'static str {
        "slow"
    }
}

/// Who came while somebody else was reading the line that had just been changed was given the one of before, so a write that
/// followed the declaration of a processor could pass it unseen.
#[test]
fn nobody_passes_by_a_processor_while_it_is_read() {
    let store = Arc::new(Slow(MemoryStore::new(&keys::KEYSPACES).unwrap(), Mutex::new(Box::new(|| {}))));
    let db = Db::new(open(store.clone(), SCHEMA, &EngineOptions::default(), NOW, &mut |_| {}).unwrap());
    let engine = db.engine().clone();
    assert!(!engine.has_reviews().unwrap());
    let webhook = r#"{"type": "A", "webhook": {"url": "http://localhost"}}"#;
    let put = |executor: &mut Executor| {
        executor.keep_records(NOW, |records| {
            records.put(PROCESSOR, b"w", webhook.into());
            Ok(())
        })
    };
    db.change(put).unwrap();
    let (reads, is_read) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    *store.1.lock().unwrap() = Box::new(move || {
        reads.send(()).unwrap();
        goes_on.recv().unwrap();
    });
    let asks = || {
        let engine = engine.clone();
        thread::spawn(move || engine.has_reviews().unwrap())
    };
    let first = asks();
    is_read.recv().unwrap();
    let second = asks();
    // Long enough for it to take what it finds.
    thread::sleep(Duration::from_millis(50));
    go_on.send(()).unwrap();
    assert!(first.join().unwrap());
    assert!(second.join().unwrap(), "it was given the line of before");
}

/// A resource of the model: its facts.
#[derive(Clone, Debug, Default, PartialEq)]
struct Fact {
    x: i64,
    y: i64,
    up: Option<u8>,
    login: Option<u8>,
}

type Model = BTreeMap<u8, Fact>;

#[derive(Clone, Debug)]
enum Step {
    Create(u8, Fact),
    SetX(u8, i64),
    SetUp(u8, Option<u8>),
    SetLogin(u8, Option<u8>),
    Delete(u8),
}

/// A rule, by what it says.
#[derive(Clone, Copy, Debug)]
enum Said {
    DenySum(i64),
    DenyBelow(i64),
    DenyLess,
    DenyDelete(i64),
    DenyOthers,
    DenyBeyondEgo,
    SetTwice,
    SetMore,
    SetByEgo,
}

impl Said {
    fn text(self) -> String {
        match self {
            Said::DenySum(n) => format!("deny when self.s > {n}"),
            Said::DenyBelow(n) => format!("deny when self.t > {n}"),
            Said::DenyLess => "deny when self.x < old.x".into(),
            Said::DenyDelete(n) => format!("deny when operation = 'delete' and self.s > {n} and old.s > {n}"),
            Said::DenyOthers => "deny when self != ego and self.up != ego".into(),
            Said::DenyBeyondEgo => "deny when self.s > ego.t".into(),
            Said::SetTwice => "set y := self.x * 2".into(),
            Said::SetMore => "set y := self.y + 1".into(),
            Said::SetByEgo => "set y := ego.x else 7".into(),
        }
    }
}

fn below(model: &Model, id: u8) -> i64 {
    model.values().filter(|fact| fact.up == Some(id)).map(|fact| fact.x).sum()
}

/// What a transaction of somebody makes of the model; nothing where it is refused.
fn apply(before: &Model, actor: Option<u8>, steps: &[Step], line: &[(Said, [bool; 3])]) -> Option<Model> {
    // Nobody becomes somebody else by what they write.
    let ego = actor.and_then(|actor| before.iter().find(|(_, fact)| fact.login == Some(actor)));
    let ego = ego.map(|(id, _)| *id);
    let mut after = before.clone();
    for step in steps {
        match step {
            Step::Create(id, fact) => {
                if after.contains_key(id) {
                    return None;
                }
                after.insert(*id, fact.clone());
            }
            Step::SetX(id, x) => after.get_mut(id)?.x = *x,
            Step::SetUp(id, up) => after.get_mut(id)?.up = *up,
            Step::SetLogin(id, login) => after.get_mut(id)?.login = *login,
            Step::Delete(id) => {
                after.remove(id)?;
                // A link that is not required is let go.
                after.values_mut().filter(|fact| fact.up == Some(*id)).for_each(|fact| fact.up = None);
            }
        }
    }
    if after.values().any(|fact| fact.up.is_some_and(|up| !after.contains_key(&up))) {
        return None;
    }
    let mut logins: Vec<u8> = after.values().filter_map(|fact| fact.login).collect();
    logins.sort_unstable();
    if logins.windows(2).any(|two| two[0] == two[1]) {
        return None;
    }
    let operation = |before: Option<&Fact>, now: Option<&Fact>| match (before, now) {
        (None, Some(_)) => Some(0),
        (Some(before), Some(now)) if before != now => Some(1),
        (Some(_), None) => Some(2),
        _ => None,
    };
    let ids: Vec<u8> = (0..4).filter(|id| operation(before.get(id), after.get(id)).is_some()).collect();
    for id in &ids {
        for (said, on) in line {
            let Some(at) = operation(before.get(id), after.get(id)) else { continue };
            let of_ego = ego.and_then(|ego| after.get(&ego)).map(|fact| fact.x);
            let Some(fact) = after.get_mut(id).filter(|_| on[at]) else { continue };
            match said {
                Said::SetTwice => fact.y = fact.x * 2,
                Said::SetMore => fact.y += 1,
                Said::SetByEgo => fact.y = of_ego.unwrap_or(7),
                _ => {}
            }
        }
    }
    for id in &ids {
        let (old, now) = (before.get(id), after.get(id));
        let Some(at) = operation(old, now) else { continue };
        let fact = now.or(old)?;
        // What has gone is asked as it was.
        let state = if now.is_some() { &after } else { before };
        let (s, t) = (fact.x + fact.y, below(state, *id));
        let denied = line.iter().filter(|(_, on)| on[at]).any(|(said, _)| match said {
            Said::DenySum(n) => s > *n,
            Said::DenyBelow(n) => t > *n,
            Said::DenyLess => old.is_some_and(|old| fact.x < old.x),
            Said::DenyDelete(n) => at == 2 && s > *n,
            Said::DenyOthers => Some(*id) != ego && fact.up != ego,
            Said::DenyBeyondEgo => ego.is_some_and(|ego| after.contains_key(&ego) && s > below(&after, ego)),
            _ => false,
        });
        if denied {
            return None;
        }
    }
    Some(after)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (id, number) = (0_u8..4, -5_i64..6);
    let any = prop::option::of(0_u8..4);
    let fact = (number.clone(), number.clone(), any.clone(), prop::option::weighted(0.8, 0_u8..4))
        .prop_map(|(x, y, up, login)| Fact { x, y, up, login });
    let step = prop_oneof![
        3 => (id.clone(), fact).prop_map(|(id, fact)| Step::Create(id, fact)),
        2 => (id.clone(), number).prop_map(|(id, x)| Step::SetX(id, x)),
        2 => (id.clone(), any.clone()).prop_map(|(id, up)| Step::SetUp(id, up)),
        1 => (id.clone(), any).prop_map(|(id, login)| Step::SetLogin(id, login)),
        1 => id.prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 1..4)
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        (-2_i64..9).prop_map(Said::DenySum),
        (-2_i64..9).prop_map(Said::DenyBelow),
        Just(Said::DenyLess),
        (-2_i64..9).prop_map(Said::DenyDelete),
        Just(Said::DenyOthers),
        Just(Said::DenyBeyondEgo),
        Just(Said::SetTwice),
        Just(Said::SetMore),
        Just(Said::SetByEgo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Random writes pass a random line as a naive reading of its rules says, and what is stored is what the oracle says.
    #[test]
    fn writes_pass_the_line_as_its_rules_say(
        line in prop::collection::vec((said(), any::<[bool; 3]>()), 0..4),
        transactions in prop::collection::vec((prop::option::weighted(0.8, 0_u8..4), steps()), 1..20),
    ) {
        let db = fresh(SCHEMA);
        for (at, (said, on)) in line.iter().enumerate() {
            let on: Vec<&str> = ALL.iter().zip(on).filter(|(_, on)| **on).map(|(name, _)| *name).collect();
            // Their ids say nothing of their order.
            declare(&db, &format!("p{}", 9 - at), at as i64, &on, &said.text());
        }
        let mut model = Model::new();
        let name = |id: &u8| format!("a{id}");
        for (actor, steps) in transactions {
            // A name is read as the field normalizes it.
            let actor_name = actor.map(|actor| format!(" {actor}").into());
            let login = |login: &Option<u8>| login.map_or(Value::Absent, |it| text(&format!("{it} ")));
            let link = |up: &Option<u8>| up.map_or(Value::Absent, |up| reference(&name(&up)));
            let writes = steps.iter().map(|step| match step {
                Step::Create(id, Fact { x, y, up, login: it }) => {
                    let numbers = [("x", Value::Int(*x)), ("y", Value::Int(*y))];
                    let all = [&numbers[..], &[("up", link(up)), ("login", login(it))]].concat();
                    create(&db, "A", &name(id), &all)
                }
                Step::SetX(id, x) => update(&db, "A", &name(id), &[("x", Value::Int(*x))]),
                Step::SetUp(id, up) => update(&db, "A", &name(id), &[("up", link(up))]),
                Step::SetLogin(id, it) => update(&db, "A", &name(id), &[("login", login(it))]),
                Step::Delete(id) => delete(&db, "A", &name(id)),
            });
            let transaction = Transaction { writes: writes.collect() };
            let wants = Wants { actor: actor_name, ..Wants::nothing() };
            let outcome = db.execute(&[Request { transaction: &transaction, wants: &wants }]).remove(0);
            let expected = apply(&model, actor, &steps, &line);
            match (&outcome, expected) {
                (Ok(_), Some(expected)) => model = expected,
                (Err(EngineError::Refused(_)), None) => {}
                (outcome, expected) => {
                    prop_assert!(false, "{actor:?}: {steps:?}: {outcome:?}, and not {expected:?}")
                }
            }
            for id in 0..4 {
                let fact = doc(&db, "A", &name(&id)).map(|doc| {
                    let number = |field| match doc.get(slot(&db, "A", field)) {
                        Value::Int(number) => *number,
                        other => panic!("{other}"),
                    };
                    let up = (0..4).find(|up| *doc.get(slot(&db, "A", "up")) == reference(&name(up)));
                    let is_login =
                        |login: &u8| *doc.get(slot(&db, "A", "login")) == text(&login.to_string());
                    Fact { x: number("x"), y: number("y"), up, login: (0..4).find(is_login) }
                });
                prop_assert_eq!(fact.as_ref(), model.get(&id));
            }
        }
        agree(&db);
    }
}
