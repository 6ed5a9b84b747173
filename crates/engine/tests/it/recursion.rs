//! Derived fields that depend on themselves along links: after every commit what is kept is what the oracle says.

use crate::common::*;
use corollary_engine::Write;
use corollary_value::{ErrorValue, Value};

const CYCLE: Value = Value::Error(ErrorValue::Cycle);

const FOLDERS: &str = "
type Folder in folders {
  name: str
  bytes: int
  up: link Folder
  flag: bool
  folders: inverse Folder.up
  files: inverse File.folder
  size := sum(self.files.bytes) + sum(self.folders.size) + (self.bytes else 0)
  path := self.up = null -> self.name : self.up.path + '/' + self.name
  depth := 1 + self.up.depth else 0
  archived := self.flag = true | (self.up.archived else false)
  largest := max(self.folders.largest) else self.bytes
}
type File in files { folder: link Folder, bytes: int, path := self.folder.path + '/' + self._id }
";

fn folder(db: &Db, name: &str, up: Option<&str>, bytes: i64) -> Write {
    let mut given = vec![("name", text(name)), ("bytes", Value::Int(bytes))];
    given.extend(up.map(|up| ("up", reference(up))));
    create(db, "Folder", name, &given)
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

#[test]
fn what_is_kept_runs_up_and_down_a_tree() {
    let db = fresh(FOLDERS);
    commit(&db, vec![folder(&db, "a", None, 1)]);
    commit(&db, vec![folder(&db, "b", Some("a"), 2)]);
    commit(&db, vec![folder(&db, "c", Some("b"), 4)]);
    // A whole tree at once, children before their parents.
    let writes = vec![
        folder(&db, "f", Some("e"), 8),
        folder(&db, "e", Some("d"), 16),
        folder(&db, "d", None, 32),
        create(&db, "File", "x", &[("folder", reference("f")), ("bytes", int(64))]),
    ];
    commit(&db, writes);
    agree(&db);
    assert_eq!(get(&db, "Folder", "a", "size"), int(7));
    assert_eq!(get(&db, "Folder", "c", "path"), text("a/b/c"));
    assert_eq!(get(&db, "File", "x", "path"), text("d/e/f/x"));
    // Move it below the other.
    commit(&db, vec![update(&db, "Folder", "d", &[("up", reference("b"))])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "a", "size"), int(127));
    assert_eq!(get(&db, "File", "x", "path"), text("a/b/d/e/f/x"));
    assert_eq!(get(&db, "Folder", "a", "largest"), int(8));
    assert_eq!(get(&db, "Folder", "f", "depth"), int(4));
    commit(&db, vec![update(&db, "Folder", "b", &[("flag", Value::Bool(true))])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "f", "archived"), Value::Bool(true));
    commit(&db, vec![delete(&db, "Folder", "b")]);
    agree(&db);
    assert_eq!(get(&db, "File", "x", "path"), text("d/e/f/x"));
    assert_eq!(get(&db, "Folder", "a", "size"), int(1));
}

/// A circle ran through a count. When it was cut the count came out as it had been, since an error counts as a value does,
/// so its reader was not looked at again and kept `#cycle`.
#[test]
fn a_circle_through_a_count_heals_when_the_count_stays() {
    let db = fresh(
        "type Node in nodes {
           up: link Node, next: link Node
           kids: inverse Node.up
           a := 1 + count(self.kids.b)
           b := self.next.a else 0
         }",
    );
    let links = |up: &str, next: &str| [("up", reference(up)), ("next", reference(next))];
    commit(&db, vec![create(&db, "Node", "x", &[])]);
    commit(&db, vec![create(&db, "Node", "y", &links("x", "x"))]);
    agree(&db);
    assert_eq!(get(&db, "Node", "x", "a"), CYCLE);
    commit(&db, vec![update(&db, "Node", "y", &[("next", Value::Absent)])]);
    agree(&db);
    assert_eq!(get(&db, "Node", "x", "a"), int(2));
}

#[test]
fn a_cycle_has_the_error_and_heals() {
    let db = fresh(FOLDERS);
    commit(&db, vec![folder(&db, "a", None, 0), folder(&db, "b", Some("a"), 0)]);
    commit(&db, vec![folder(&db, "c", Some("b"), 0), folder(&db, "d", Some("c"), 0)]);
    // All sizes are 0, so that no value tells of the change.
    commit(&db, vec![update(&db, "Folder", "a", &[("up", reference("c"))])]);
    agree(&db);
    for name in ["a", "b", "c"] {
        assert_eq!(get(&db, "Folder", name, "size"), CYCLE, "{name}");
        assert_eq!(get(&db, "Folder", name, "depth"), CYCLE, "whatever an else would catch, {name}");
    }
    assert_eq!(get(&db, "Folder", "d", "size"), int(0), "below the cycle");
    assert_eq!(get(&db, "Folder", "d", "depth"), int(0), "reads from the cycle, and catches it");
    assert_eq!(get(&db, "Folder", "d", "path"), CYCLE, "reads from the cycle");
    commit(&db, vec![update(&db, "Folder", "b", &[("up", Value::Absent)])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "d", "path"), text("b/c/d"));
    // By itself, and away by deletion.
    commit(&db, vec![update(&db, "Folder", "d", &[("up", reference("d"))])]);
    agree(&db);
    assert_eq!(get(&db, "Folder", "d", "path"), CYCLE);
    commit(&db, vec![delete(&db, "Folder", "d")]);
    agree(&db);
    // A cycle that is made and cut in one commit, and one that is created as a whole.
    commit(&db, vec![folder(&db, "x", None, 3), folder(&db, "y", Some("x"), 4)]);
    let writes = vec![
        update(&db, "Folder", "x", &[("up", reference("y"))]),
        update(&db, "Folder", "y", &[("up", Value::Absent)]),
        folder(&db, "p", None, 1),
        folder(&db, "q", Some("p"), 1),
        update(&db, "Folder", "p", &[("up", reference("q"))]),
    ];
    commit(&db, writes);
    agree(&db);
    assert_eq!(get(&db, "Folder", "y", "size"), int(7));
    assert_eq!(get(&db, "Folder", "p", "size"), CYCLE);
}

/// What went wrong: `t.c` counts `m.b`, which sums up `t.c`. When `m` no longer led to `t`, the count stayed the same, one
/// value or one error, so `t.c` was not looked at and stayed `#cycle`.
#[test]
fn a_circle_that_is_cut_heals_where_no_value_tells_of_it() {
    const FACTS: &str = "up: link N, next: links N, kids: inverse N.up";
    let fields = format!("type N in ns {{ {FACTS}, b := sum(self.next.c), c := 1 + count(self.kids.b) }}");
    let circle = |db: &Db| {
        let m = create(db, "N", "m", &[("up", reference("t")), ("next", references(&["t"]))]);
        commit(db, vec![create(db, "N", "t", &[]), m]);
    };
    let by_writes = fresh(&fields);
    circle(&by_writes);
    let store = memory();
    let plain = opened(&store, &format!("type N in ns {{ {FACTS} }}"));
    circle(&plain);
    drop(plain);
    for db in [by_writes, opened(&store, &fields)] {
        let next = |to: &[&str]| commit(&db, vec![update(&db, "N", "m", &[("next", references(to))])]);
        let both = || (get(&db, "N", "m", "b"), get(&db, "N", "t", "c"));
        for _ in 0..2 {
            agree(&db);
            assert_eq!(both(), (CYCLE, CYCLE));
            next(&[]);
            agree(&db);
            assert_eq!(both(), (int(0), int(2)));
            next(&["t"]);
        }
    }
}

/// A spine of folders, each in the one before, and some beside it that hang in the first.
fn spine(depth: usize, beside: usize) -> Db {
    let db = fresh(FOLDERS);
    let name = |at: usize| format!("s{at}");
    let mut writes = vec![folder(&db, &name(0), None, 1)];
    writes.extend((1..depth).map(|at| folder(&db, &name(at), Some(&name(at - 1)), 1)));
    writes.extend((0..beside).map(|at| folder(&db, &format!("m{at}"), Some("s0"), 1 + at as i64)));
    // Each with one folder in it, so that it is trees that are moved.
    writes.extend((0..beside).map(|at| folder(&db, &format!("l{at}"), Some(&format!("m{at}")), 1)));
    commit(&db, writes);
    db
}

#[test]
fn a_move_costs_as_much_as_there_are_folders_above() {
    const DEPTH: usize = 120;
    const BESIDE: usize = 5;
    let db = spine(DEPTH, BESIDE);
    let mut at = [0usize; BESIDE];
    let mut random = 7u64;
    for _ in 0..60 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let (moved, to) = ((random >> 33) as usize % BESIDE, (random >> 40) as usize % DEPTH);
        let given = [("up", reference(&format!("s{to}")))];
        let work = commit(&db, vec![update(&db, "Folder", &format!("m{moved}"), &given)]).work;
        // In each folder above: the size, the largest, and what both give to the folder above it, each twice at most;
        // and what lies in the two that are moved.
        let above = at[moved].max(to) as u64 + 1;
        assert!(work.evaluations <= 8 * above + 20, "{work:?} for {above} above");
        at[moved] = to;
        let total = DEPTH + (1..=BESIDE).sum::<usize>() + BESIDE;
        assert_eq!(get(&db, "Folder", "s0", "size"), int(total as i64));
    }
    agree(&db);
}

#[test]
fn what_comes_out_as_it_was_ends_the_walk() {
    let db = spine(200, 0);
    let work = |writes| commit(&db, writes).work.evaluations;
    assert_eq!(work(vec![update(&db, "Folder", "s100", &[("bytes", int(1))])]), 0, "nothing has changed");
    // Its own largest and its own size, and what is given to the 100 above; the largest is the same.
    let above = work(vec![update(&db, "Folder", "s100", &[("bytes", int(0))])]);
    assert!((200..=210).contains(&above), "{above}");
    let below = work(vec![update(&db, "Folder", "s10", &[("flag", Value::Bool(true))])]);
    assert!((190..=191).contains(&below), "{below}");
    // Those below are archived already.
    assert_eq!(work(vec![update(&db, "Folder", "s20", &[("flag", Value::Bool(true))])]), 1);
    assert_eq!(work(vec![update(&db, "Folder", "s20", &[("flag", Value::Bool(false))])]), 1);
    agree(&db);
}

#[test]
fn two_changes_of_one_branch_are_brought_up_together() {
    // Where the walks from two changes merge, what lies above is not walked once for each.
    let db = spine(200, 0);
    let writes =
        ["s199", "s150", "s100", "s50"].map(|name| update(&db, "Folder", name, &[("bytes", int(9))]));
    let work = commit(&db, writes.to_vec()).work;
    assert!(work.evaluations <= 2 * 4 * 200, "{work:?}");
    assert_eq!(get(&db, "Folder", "s0", "size"), int(232));
    agree(&db);
}

#[test]
fn a_long_chain_needs_no_stack() {
    const LONG: usize = 10_000;
    let db = fresh("type P in ps { boss: link P, chain := 1 + self.boss.chain else 0 }");
    let name = |at: usize| format!("p{at}");
    let person = |at: usize| {
        let boss = at.checked_sub(1).map(|boss| ("boss", reference(&name(boss))));
        create(&db, "P", &name(at), &boss.into_iter().collect::<Vec<_>>())
    };
    commit(&db, (0..LONG).map(person).collect());
    assert_eq!(get(&db, "P", &name(LONG - 1), "chain"), int(LONG as i64 - 1));
    agree(&db);
    let last = name(LONG - 1);
    let work = commit(&db, vec![update(&db, "P", "p0", &[("boss", reference(&last))])]).work;
    assert!(work.evaluations <= 2 * LONG as u64 + 2, "{work:?}");
    assert_eq!(get(&db, "P", "p777", "chain"), CYCLE);
    agree(&db);
    commit(&db, vec![update(&db, "P", "p5000", &[("boss", Value::Absent)])]);
    assert_eq!(get(&db, "P", "p4999", "chain"), int(LONG as i64 - 1));
    agree(&db);
}

#[test]
fn a_strict_field_refuses_the_circle_and_nothing_in_between() {
    let db = fresh(
        "type P in ps { boss: link P, n: int, reports: inverse P.boss,
           share := self.n / (1 + sum(self.reports.share)), strict }",
    );
    let person = |name: &str, boss: Option<&str>, n: i64| {
        let mut given = vec![("n", int(n))];
        given.extend(boss.map(|boss| ("boss", reference(boss))));
        create(&db, "P", name, &given)
    };
    commit(&db, vec![person("a", None, 4), person("b", Some("a"), 1)]);
    assert_eq!(get(&db, "P", "a", "share"), Value::Float(2.0));
    let found = refused(&db, vec![update(&db, "P", "a", &[("boss", reference("b"))])]);
    assert_eq!(codes(&found), ["strict share"]);
    let found = refused(&db, vec![update(&db, "P", "b", &[("n", int(-1))])]);
    assert_eq!(codes(&found), ["strict share"], "a division by 0 further up");
    // What would be an error is put right in the same transaction, whatever is computed first.
    let writes = vec![
        update(&db, "P", "b", &[("n", int(-1))]),
        person("c", Some("b"), 1),
        update(&db, "P", "a", &[("n", int(3))]),
    ];
    commit(&db, writes);
    agree(&db);
    assert_eq!(get(&db, "P", "a", "share"), Value::Float(6.0));
}

#[test]
fn what_people_write() {
    let db = fresh(
        "type Item in items {
           price: decimal
           parts: collection Part
           cost := (self.price else decimal('0')) + sum(self.parts.cost_in)
         }
         type Part { item: link Item, times: int, cost_in := self.item.cost * self.times }
         type Stop in stops {
           is_root: bool
           next: links Stop
           hops := self.is_root = true -> 0 : 1 + min(self.next.hops)
         }
         type Page in pages {
           slug: str required
           pages: collection Page
           path := parent = null -> '/' + self.slug : parent.path + '/' + self.slug
           top := parent = null -> self : parent.top
           in_top := count(self.top.pages)
         }",
    );
    let part = |name: &str, of: &str, item: &str, times: i64| {
        create(
            &db,
            "Part",
            name,
            &[("parent_item_parts", reference(of)), ("item", reference(item)), ("times", int(times))],
        )
    };
    let price = |text: &str| corollary_value::parse_as(corollary_value::BasicKind::Decimal, text).unwrap();
    commit(
        &db,
        vec![
            create(&db, "Item", "bike", &[]),
            create(&db, "Item", "wheel", &[("price", price("10.5"))]),
            create(&db, "Item", "spoke", &[("price", price("0.25"))]),
            part("w", "bike", "wheel", 2),
            part("s", "wheel", "spoke", 30),
            part("x", "bike", "spoke", 1),
        ],
    );
    agree(&db);
    assert_eq!(get(&db, "Item", "bike", "cost"), price("36.25"));
    commit(&db, vec![update(&db, "Item", "spoke", &[("price", price("0.5"))])]);
    agree(&db);
    assert_eq!(get(&db, "Item", "bike", "cost"), price("51.5"));

    let stop = |name: &str, next: &[&str]| create(&db, "Stop", name, &[("next", references(next))]);
    let root = create(&db, "Stop", "r", &[("is_root", Value::Bool(true)), ("next", references(&["a"]))]);
    commit(&db, vec![root, stop("a", &["r"]), stop("b", &["a"]), stop("c", &["b", "r"]), stop("d", &["c"])]);
    agree(&db);
    // The root reads nobody, so the way back to it is no circle.
    assert_eq!(get(&db, "Stop", "d", "hops"), int(2));
    commit(&db, vec![update(&db, "Stop", "r", &[("is_root", Value::Absent)])]);
    agree(&db);
    assert_eq!(get(&db, "Stop", "a", "hops"), CYCLE);
    commit(&db, vec![update(&db, "Stop", "b", &[("is_root", Value::Bool(true))])]);
    agree(&db);

    let page = |name: &str, up: Option<&str>| {
        let mut given = vec![("slug", text(name))];
        given.extend(up.map(|up| ("parent_page_pages", reference(up))));
        create(&db, "Page", name, &given)
    };
    commit(&db, vec![page("docs", None), page("guide", Some("docs")), page("one", Some("guide"))]);
    agree(&db);
    assert_eq!(get(&db, "Page", "one", "path"), text("/docs/guide/one"));
    assert_eq!(get(&db, "Page", "one", "top"), reference("docs"));
    commit(&db, vec![update(&db, "Page", "docs", &[("slug", text("d"))]), page("two", Some("docs"))]);
    agree(&db);
    assert_eq!(get(&db, "Page", "one", "path"), text("/d/guide/one"));
    assert_eq!(get(&db, "Page", "one", "in_top"), int(2));
}
