//! Commits gone through again: each state is what it was, and whoever a commit concerned is found.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::eval::{Eval, View};
use corollary_engine::past::Then;
use corollary_engine::reach::Reach;
use corollary_engine::replay::replay;
use corollary_engine::working::Working;
use corollary_engine::{Commit, EngineError, Key, Write};
use corollary_schema::expr::{Place, check_expr};
use corollary_schema::typed::Expr;
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value};
use proptest::prelude::*;

const SCHEMA: &str = "
type Team in teams { name: str, rank: int, lead: link Person, people: inverse Person.team, total := sum(self.people.score) }
type Person in people { score: int, team: link Team, friends: links Person, notes: collection Note, boss := self.team.lead }
type Note { stars: int, about: { who: link Person, n: int } }
";

/// What is asked of each person: by links, lists, derived links, objects, everything.
const ASKED: [&str; 10] = [
    "team.name",
    "team.total + score",
    "boss.score",
    "boss.team.rank",
    "count(notes[stars > 1])",
    "sum(friends.team.rank)",
    "count(team.people[score > 2].notes)",
    "max(notes.about.who.score)",
    "score > max(root.people.score) - 1",
    "count(root.teams[lead = self])",
];

const PEOPLE: u8 = 5;
const TEAMS: u8 = 3;

#[derive(Clone, Debug)]
enum Op {
    Person(u8, Option<u8>, i64),
    Team(u8, i64, Option<u8>),
    Friends(u8, Vec<u8>),
    Note(u8, u8, i64, u8),
    Move(u8, Option<u8>),
    Gone(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let (person, team) = (0..PEOPLE, 0..TEAMS);
    prop_oneof![
        (person.clone(), proptest::option::of(team.clone()), 0_i64..5)
            .prop_map(|(p, t, n)| Op::Person(p, t, n)),
        (team.clone(), 0_i64..3, proptest::option::of(person.clone()))
            .prop_map(|(t, n, p)| Op::Team(t, n, p)),
        (person.clone(), proptest::collection::vec(person.clone(), 0..3))
            .prop_map(|(p, all)| Op::Friends(p, all)),
        (person.clone(), 0_u8..3, 0_i64..4, person.clone())
            .prop_map(|(p, at, n, who)| Op::Note(p, at, n, who)),
        (person.clone(), proptest::option::of(team)).prop_map(|(p, t)| Op::Move(p, t)),
        person.prop_map(Op::Gone),
    ]
}

fn person(at: u8) -> String {
    format!("p{at}")
}

fn link(to: &Option<u8>, name: &str) -> Value {
    to.map_or(Value::Null, |at| reference(&format!("{name}{at}")))
}

fn writes(db: &Db, op: &Op) -> Vec<Write> {
    let exists = |ty: &str, name: &str| doc(db, ty, name).is_some();
    let put = |ty: &str, name: &str, given: &[(&str, Value)]| match exists(ty, name) {
        true => update(db, ty, name, given),
        false => create(db, ty, name, given),
    };
    match op {
        Op::Person(p, team, score) => {
            vec![put("Person", &person(*p), &[("score", Value::Int(*score)), ("team", link(team, "t"))])]
        }
        Op::Team(t, n, lead) => {
            let given =
                [("name", text(&format!("n{n}"))), ("rank", Value::Int(*n)), ("lead", link(lead, "p"))];
            vec![put("Team", &format!("t{t}"), &given)]
        }
        Op::Friends(p, all) => {
            let mut friends = all.clone();
            friends.sort_unstable();
            friends.dedup();
            let friends = list(friends.iter().map(|at| reference(&person(*at))));
            vec![put("Person", &person(*p), &[("friends", friends)])]
        }
        Op::Note(p, at, stars, who) => {
            let about = object(&[("who", reference(&person(*who))), ("n", Value::Int(*stars))]);
            let name = format!("p{p}n{at}");
            let mut given = vec![("stars", Value::Int(*stars)), ("about", about)];
            if !exists("Note", &name) {
                given.push(("parent_person_notes", reference(&person(*p))));
            }
            vec![put("Note", &name, &given)]
        }
        Op::Move(p, team) => vec![put("Person", &person(*p), &[("team", link(team, "t"))])],
        Op::Gone(p) => vec![delete(db, "Person", &person(*p))],
    }
}

/// Of each person what is asked.
type Seen = BTreeMap<Id, Vec<Value>>;

fn seen(working: &Working<'_>, asked: &[Expr]) -> Result<Seen, EngineError> {
    let ty = working.schema.type_named("Person").unwrap();
    let ids = working.all(ty)?;
    let of = |id: &Id| asked.iter().map(|expr| Eval::new(working, id).value(expr)).collect::<Result<_, _>>();
    ids.into_iter().map(|id| Ok((id.clone(), of(&id)?))).collect()
}

fn play(ops: &[Vec<Op>], since: usize, fed: (usize, usize)) -> Result<(), TestCaseError> {
    let db = fresh(SCHEMA);
    let engine = db.engine();
    let ty = engine.schema().type_named("Person").unwrap();
    let asked: Vec<Expr> = ASKED
        .iter()
        .map(|text| {
            let (expr, found) =
                check_expr(&**engine.schema(), Place::Query(ty), &parse_expression(text).tree);
            assert!(found.is_empty(), "{text}: {found:?}");
            expr
        })
        .collect();
    let look = || engine.read(NOW, |working| Ok((working.revision(), seen(working, &asked)?))).unwrap();
    let mut states = vec![look()];
    for group in ops {
        let writes = group.iter().flat_map(|op| writes(&db, op)).collect();
        // Some are refused: two creations of one, a link to nobody.
        let _ = try_commit(&db, writes);
        if states.last().is_none_or(|(revision, _)| *revision < engine.revision()) {
            states.push(look());
        }
    }
    let mut commits: Vec<Arc<Commit>> = Vec::new();
    engine
        .commits_after(0, &mut |commit| {
            commits.push(Arc::new(commit));
            ControlFlow::Continue(())
        })
        .unwrap();
    // Some of the commits are at hand, and the others are read.
    let since = since % states.len();
    let (from, to) = (fed.0 % (commits.len() + 1), fed.1 % (commits.len() + 1));
    let at_hand = &commits[from.min(to)..from.max(to)];
    let mut at = since;
    let revision = states[since].0;
    let gone_through = replay(&engine, revision, at_hand, &mut |step| {
        let ((_, before), (revision, after)) = (&states[at], &states[at + 1]);
        assert_eq!(step.commit.revision, *revision);
        assert_eq!(&seen(step.before, &asked)?, before, "before {revision}");
        assert_eq!(&seen(step.after, &asked)?, after, "after {revision}");
        for (place, expr) in asked.iter().enumerate() {
            let concerned = Reach::of(ty, [expr]).concerned(step, usize::MAX)?.expect("without a limit");
            for (id, is) in after {
                let was = before.get(id).map(|was| &was[place]);
                let itself = step.change(&Key::new(ty, id.clone())).is_some();
                assert!(
                    was == Some(&is[place]) || itself || concerned.contains(id),
                    "{id} is passed over at {revision}: {} was {was:?} and is {:?}, {:?}",
                    ASKED[place],
                    is[place],
                    step.commit.changes
                );
            }
        }
        at += 1;
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    prop_assert!(matches!(gone_through, Then::Was(to) if to == engine.revision()));
    prop_assert_eq!(at + 1, states.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn each_state_is_what_it_was_and_nobody_concerned_is_passed_over(
        ops in proptest::collection::vec(proptest::collection::vec(op(), 1..3), 4..30),
        since in 0_usize..40,
        fed in (0_usize..40, 0_usize..40),
    ) {
        play(&ops, since, fed)?;
    }
}

/// What one look has to go through has a limit, and it is told where a way leads to more.
#[test]
fn a_way_to_more_than_the_limit_is_told_as_one() {
    let db = fresh(SCHEMA);
    let engine = db.engine();
    commit(&db, vec![create(&db, "Team", "t", &[("name", text("a"))])]);
    let people = (0..20).map(|at| create(&db, "Person", &format!("p{at}"), &[("team", reference("t"))]));
    let begun = commit(&db, people.collect()).revision;
    commit(&db, vec![update(&db, "Team", "t", &[("name", text("b"))])]);
    let ty = engine.schema().type_named("Person").unwrap();
    let (expr, _) =
        check_expr(&**engine.schema(), Place::Query(ty), &parse_expression("team.name = 'b'").tree);
    let reach = Reach::of(ty, [&expr]);
    let mut steps = 0;
    replay(&engine, begun, &[], &mut |step| {
        steps += 1;
        assert_eq!(reach.concerned(step, 20)?.map(|all| all.len()), Some(20));
        assert_eq!(reach.concerned(step, 19)?, None);
        assert!(reach.is_touched(step));
        Ok(ControlFlow::Continue(()))
    })
    .unwrap();
    assert_eq!(steps, 1);
}
