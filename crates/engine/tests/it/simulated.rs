//! What the simulator found: each test opens with what went wrong.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::*;
use corollary_engine::catalog::{OpenError, stored_schema};
use corollary_engine::{Edit, EngineError, Write};
use corollary_store::{Fault, MemoryStore};
use corollary_value::{Value, parse_as};

/// A set kept 1.5 beside 1.50, and 0.0 on both sides of -0.0: only neighbours that are the same to the last bit were one.
#[test]
fn a_set_has_each_value_once_however_it_is_written() {
    let db = fresh("type A in all { d: set<decimal>, f: set<float> }");
    let decimal = |text: &str| parse_as(corollary_value::BasicKind::Decimal, text).unwrap();
    let decimals = list(["2", "1.50", "1.5"].map(decimal));
    let floats = list([0.0, -0.0, 0.0, 1.0].map(Value::Float));
    commit(&db, vec![create(&db, "A", "a", &[("d", decimals), ("f", floats)])]);
    assert_eq!(get(&db, "A", "a", "d"), list(["1.50", "2"].map(decimal)));
    assert_eq!(get(&db, "A", "a", "f"), list([0.0, 1.0].map(Value::Float)));
}

/// A commit that was read from the log told hidden parts of derived values among the changes of a new resource, which
/// the commit as it was told at once did not.
#[test]
fn a_new_resource_is_told_the_same_at_once_and_from_the_log() {
    let db = fresh(
        "type A in all { n: int, bs: inverse B.a, x := sum(self.bs.n) + 1 } type B in bees { a: link A, n: int }",
    );
    let told = commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(1))])]).commit.unwrap();
    let mut changed = Vec::new();
    let read = db.engine().commits_after(0, &mut |commit| {
        changed.extend(commit.changes.into_iter().map(|change| change.changed));
        ControlFlow::Continue(())
    });
    assert!(read.unwrap());
    assert_eq!(changed, [told.changes[0].changed.clone()]);
    assert_eq!(changed, [[slot(&db, "A", "n"), slot(&db, "A", "x")]]);
}

/// The oracle put resources into the order of their ids where an order stood further inside the expression.
#[test]
fn an_order_inside_an_expression_is_kept() {
    let db = fresh(
        "type A in all { ok: bool, bs: inverse B.a, x := self.ok -> self.bs[order by n] : self.bs[order by n desc][0..2] }
         type B in bees { a: link A, n: int }",
    );
    let b = |name: &str, n: i64| create(&db, "B", name, &[("a", reference("a")), ("n", Value::Int(n))]);
    commit(
        &db,
        vec![create(&db, "A", "a", &[("ok", Value::Bool(true))]), b("b0", 2), b("b1", 1), b("b2", 3)],
    );
    agree(&db);
    assert_eq!(get(&db, "A", "a", "x"), references(&["b1", "b0", "b2"]));
    commit(&db, vec![update(&db, "A", "a", &[("ok", Value::Bool(false))])]);
    agree(&db);
    assert_eq!(get(&db, "A", "a", "x"), references(&["b2", "b0"]));
}

/// A list in a JSON field was one value of its resource where an aggregate was kept as a group, and as many values as it
/// has elements where it was evaluated.
#[test]
fn a_list_in_json_is_one_value() {
    let db = fresh(
        "type A in all { bs: inverse B.a, most := max(self.bs.j), n := count(self.bs.j), inner := count(self.bs.j.k),
           all := self.bs.j }
         type B in bees { a: link A, j: json, most := max(self.a.bs.j), inner := count(self.a.bs.j.k) }",
    );
    let numbers = || list([Value::Int(1), Value::Int(2)]);
    let b = |name: &str, j: Value| create(&db, "B", name, &[("a", reference("a")), ("j", j)]);
    let inner = object(&[("k", numbers())]);
    commit(
        &db,
        vec![create(&db, "A", "a", &[]), b("b0", list([])), b("b1", numbers()), b("b2", inner.clone())],
    );
    agree(&db);
    assert_eq!(get(&db, "A", "a", "most"), numbers());
    assert_eq!(get(&db, "A", "a", "n"), Value::Int(3));
    assert_eq!(get(&db, "A", "a", "all"), list([list([]), numbers(), inner]));
    assert_eq!(get(&db, "B", "b0", "most"), numbers());
    assert_eq!(get(&db, "B", "b0", "inner"), get(&db, "A", "a", "inner"));
}

/// Over the lists that members have in a field, an aggregate kept each list as one value: a count told the members, a
/// maximum was a list.
#[test]
fn an_aggregate_over_lists_of_members_takes_their_elements() {
    let db = fresh(
        "type A in all { bs: inverse B.a, n := count(self.bs.l), most := max(self.bs.l), total := sum(self.bs.lines.price),
           kinds := count(self.bs.o.tags), some := any(self.bs.flags) }
         type B in bees { a: link A, l: [int], lines: [{ price: int }], o: { tags: set<str> }, flags: [bool] }",
    );
    let line = |price: i64| object(&[("price", Value::Int(price))]);
    let b = |name: &str, l: &[i64]| {
        let numbers = list(l.iter().copied().map(Value::Int));
        let lines = list(l.iter().copied().map(line));
        let tags = object(&[("tags", list([text("x"), text("y")]))]);
        let flags = list([Value::Bool(false), Value::Bool(true)]);
        let given = [("a", reference("a")), ("l", numbers), ("lines", lines), ("o", tags), ("flags", flags)];
        create(&db, "B", name, &given)
    };
    commit(&db, vec![create(&db, "A", "a", &[]), b("b0", &[1, 5]), b("b1", &[]), b("b2", &[2])]);
    agree(&db);
    let expected = [("n", 3), ("most", 5), ("total", 8), ("kinds", 6)];
    for (field, value) in expected {
        assert_eq!(get(&db, "A", "a", field), Value::Int(value), "{field}");
    }
    assert_eq!(get(&db, "A", "a", "some"), Value::Bool(true));
    commit(&db, vec![delete(&db, "B", "b0"), update(&db, "B", "b1", &[("l", list([Value::Int(7)]))])]);
    agree(&db);
    assert_eq!(get(&db, "A", "a", "most"), Value::Int(7));
}

fn refused_with(store: &Arc<MemoryStore>, schema: &str, parts: &[&str]) {
    match try_open(store, schema) {
        Err(OpenError::Refused(reasons)) => {
            assert!(
                parts.iter().all(|part| reasons.iter().any(|reason| reason.contains(part))),
                "{reasons:?}"
            );
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("not refused: {schema}"),
    }
}

/// A field could be made strict while it was an error: with the same expression nothing was built, and where it was
/// built anew for another reason the same error came out, which was taken for no change.
#[test]
fn a_field_that_is_an_error_cannot_become_strict() {
    let store = memory();
    let plain = "type A in all { n: int, x := 1 / self.n }";
    let db = opened(&store, plain);
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(0))])]);
    drop(db);
    refused_with(
        &store,
        "type A in all { n: int, x := 1 / self.n, strict }",
        &["A.x", "strict", "a", "#div0"],
    );
    let other = "type A in all { n: int, y := 2 / (self.n * 1), x := 1 / self.n, strict }";
    refused_with(&store, other, &["A.x", "strict"]);
    assert_eq!(stored_schema(&*store).unwrap().as_deref(), Some(plain));
    // What it is computed from is built first, and so is it.
    let wide = "type A in all { n: int, m := self.n, x := 1 / self.m }";
    agree(&opened(&store, wide));
    refused_with(&store, "type A in all { n: int, m := self.n + 0, x := 1 / self.m, strict }", &["strict"]);
    let db = opened(&store, wide);
    agree(&db);
    commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(1))])]);
    drop(db);
    let db = opened(&store, "type A in all { n: int, m := self.n, x := 1 / self.m, strict }");
    assert_eq!(codes(&refused(&db, vec![update(&db, "A", "a", &[("n", Value::Int(0))])])), ["strict x"]);
}

/// While a sum is being built over many members it may be an error that it is not in the end.
#[test]
fn a_strict_sum_is_judged_when_all_its_members_are_in_it() {
    let store = memory();
    let schema = |derived: &str| {
        format!("type A in all {{ bs: inverse B.a {derived} }} type B in bees {{ a: link A, n: int }}")
    };
    let db = opened(&store, &schema(""));
    let b = |at: usize, n: i64| {
        create(&db, "B", &format!("b{at:05}"), &[("a", reference("a")), ("n", Value::Int(n))])
    };
    let mut writes = vec![create(&db, "A", "a", &[])];
    // More than one batch of a build; the first goes over the edge, the last comes back.
    writes.extend((0..2_500).map(|at| b(at, if at < 2 { i64::MAX } else { 0 })));
    writes.extend((2_500..2_502).map(|at| b(at, -i64::MAX)));
    commit(&db, writes);
    drop(db);
    let db = opened(&store, &schema(", total := sum(self.bs.n), strict"));
    assert_eq!(get(&db, "A", "a", "total"), Value::Int(0));
    agree(&db);
    let back = ["b02500", "b02501"].map(|name| delete(&db, "B", name));
    assert_eq!(codes(&refused(&db, back.to_vec())), ["strict total"]);
}

/// Where the data fits neither of two versions, because the opening of one of them had been cut short, each was given
/// up for the other until the stack was full.
#[test]
fn an_opening_that_is_given_up_goes_back_once() {
    let store = memory();
    let plain = "type A in all { n: int }";
    let db = opened(&store, plain);
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(0))])]);
    drop(db);
    // Current, but not built.
    let one = "type A in all { n: int, x := 1 / self.n, strict }";
    store.fail_commit(1, Fault::Full);
    assert!(matches!(try_open(&store, one), Err(OpenError::Engine(EngineError::Store(_)))));
    assert_eq!(stored_schema(&*store).unwrap().as_deref(), Some(one));
    refused_with(&store, "type A in all { n: int, y := 2 / self.n, strict }", &["A.y", "strict"]);
    let db = opened(&store, "type A in all { n: int, x := 1 / self.n }");
    agree(&db);
    commit(&db, vec![Write::Read(key(&db, "A", "a"))]);
}

/// A count that no number could hold, and behind it one that stops at a limit, of the same field in one update: that came to
/// the limit, as if the first had not been.
#[test]
fn a_limit_does_not_hide_that_a_count_before_it_overflowed() {
    let db = fresh("type A in all { n: int, o: { k: int } }");
    let most = Value::Object([("k".into(), Value::Int(i64::MAX))].into());
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(i64::MAX)), ("o", most)])]);
    let over = Edit::Increment(Value::Int(3));
    let within = |by| Edit::IncrementWithin { by: Value::Int(by), limit: Value::Int(-5), clamp: true };
    let member = |edit: &Edit| Edit::Merge(vec![("k".into(), edit.clone())]);
    for by in [0, 1, -1] {
        let writes = [
            edit(&db, "A", "a", &[("n", over.clone()), ("n", within(by))]),
            edit(&db, "A", "a", &[("o", member(&over)), ("o", member(&within(by)))]),
        ];
        for write in writes {
            assert_eq!(codes(&refused(&db, vec![write]))[0].split(' ').next(), Some("type"), "{by}");
        }
    }
    assert_eq!(get(&db, "A", "a", "n"), Value::Int(i64::MAX));
}

/// A lazy list of ordered children, read through a link, was kept in their order and computed in that of their ids: no judge
/// could agree with what is stored.
#[test]
fn a_lazy_list_keeps_its_order_for_who_reads_it_through_a_link() {
    let db = fresh(
        "type A in all { kids: ordered collection B, told := self.kids, lazy }
         type B in bees { seen := self.parent_a_kids.told, n := count(self.parent_a_kids.told) }",
    );
    commit(&db, vec![create(&db, "A", "a", &[])]);
    for name in ["c", "a", "b"] {
        commit(&db, vec![create(&db, "B", name, &[("parent_a_kids", reference("a"))])]);
        agree(&db);
    }
    for name in ["a", "b", "c"] {
        assert_eq!(get(&db, "B", name, "seen"), list(["c", "a", "b"].map(reference)));
        assert_eq!(get(&db, "B", name, "n"), Value::Int(3));
    }
}

/// An ordered list that is kept in a field was read from there in the order of ids: `first(self.ranked)` was the one with the lowest id,
/// not the best. A lazy field, which is read as what it says, and the oracle's own reading told the two ways apart nowhere.
#[test]
fn an_ordered_list_keeps_its_order_in_a_field() {
    for lazy in ["", ", lazy"] {
        let db = fresh(&format!(
            "type Game in games {{
               players: collection Player
               ranked := self.players[order by points desc]{lazy}
               winner := first(self.ranked)
               best := self.ranked[0].points
               two := self.ranked[0..1].points
               last_game: link Game
               before := self.last_game.ranked
               champion := first(self.last_game.ranked)
               points := self.last_game.ranked.points
               next: inverse Game.last_game
               all := self.next.ranked
             }}
             type Player in players {{ points: int }}"
        ));
        commit(&db, vec![create(&db, "Game", "g", &[])]);
        commit(&db, vec![create(&db, "Game", "h", &[("last_game", reference("g"))])]);
        for (points, name) in [(1, "a"), (3, "b"), (2, "c")] {
            let values = [("parent_game_players", reference("g")), ("points", Value::Int(points))];
            commit(&db, vec![create(&db, "Player", name, &values)]);
            agree(&db);
        }
        let ints = |ints: &[i64]| list(ints.iter().copied().map(Value::Int));
        let ranked = list(["b", "c", "a"].map(reference));
        assert_eq!(get(&db, "Game", "g", "winner"), reference("b"));
        assert_eq!(get(&db, "Game", "g", "best"), Value::Int(3));
        assert_eq!(get(&db, "Game", "g", "two"), ints(&[3]));
        assert_eq!(get(&db, "Game", "h", "before"), ranked);
        assert_eq!(get(&db, "Game", "h", "champion"), reference("b"));
        assert_eq!(get(&db, "Game", "h", "points"), ints(&[3, 2, 1]));
        // One whose place changes changes nothing but the order.
        commit(&db, vec![update(&db, "Player", "a", &[("points", Value::Int(9))])]);
        agree(&db);
        assert_eq!(get(&db, "Game", "g", "winner"), reference("a"));
        assert_eq!(get(&db, "Game", "h", "before"), list(["a", "b", "c"].map(reference)));
        // Of several it is a set.
        let back = update(&db, "Game", "g", &[("last_game", reference("h"))]);
        commit(&db, vec![back, update(&db, "Player", "c", &[("points", Value::Int(10))])]);
        agree(&db);
        assert_eq!(get(&db, "Game", "g", "winner"), reference("c"));
        assert_eq!(get(&db, "Game", "h", "all"), list(["a", "b", "c"].map(reference)));
    }
}

/// Members that link to a resource twice, by one link for a value of it and by another for what lies behind it: while an update followed a
/// change of the value, those that it had yet to come to were counted as if all of that resource were as it was, and so by where
/// it led to then. What changed there meanwhile reached nobody by the old way: it was taken out of the sums without ever
/// having been put in.
#[test]
fn what_a_resource_led_to_before_counts_no_more() {
    for budget in [1, 3, 100] {
        let db = opened_within(
            &memory(),
            "type Hub in hubs {
               members: inverse Member.hub
               sums := group(self.members, by: one.kind, sum(other.target.n))
               many := count(self.members[one.kind = 'k' & other.target.n > 50])
             }
             type Member in members { hub: link Hub, one: link Via, other: link Via }
             type Via in vias { kind: str default 'k', target: link Target }
             type Target in targets { n: int }",
            budget,
        );
        let n = |n: i64| [("n", Value::Int(n))];
        commit(&db, vec![create(&db, "Target", "one", &n(1)), create(&db, "Target", "two", &n(100))]);
        commit(
            &db,
            vec![create(&db, "Via", "v", &[("target", reference("one"))]), create(&db, "Hub", "h", &[])],
        );
        for at in 0..10 {
            let links =
                ["hub", "one", "other"].map(|name| (name, reference(if name == "hub" { "h" } else { "v" })));
            commit(&db, vec![create(&db, "Member", &format!("m{at}"), &links)]);
        }
        db.finish_updates();
        assert_eq!(get(&db, "Hub", "h", "sums"), object(&[("k", Value::Int(10))]));
        commit(&db, vec![update(&db, "Via", "v", &[("kind", text("l")), ("target", reference("two"))])]);
        for step in 0.. {
            for target in ["one", "two"] {
                agree(&db);
                commit(&db, vec![update(&db, "Target", target, &n(200 + step))]);
            }
            agree(&db);
            if db.step(2).unwrap().is_none() {
                break;
            }
        }
        agree(&db);
    }
}
