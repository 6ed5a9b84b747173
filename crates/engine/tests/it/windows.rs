//! What changes by the clock: windows, deadlines, ages, exactly when they do and without a write.

use crate::common::*;
use corollary_engine::{Executor, OpenError, Tick, Transaction, Write};
use corollary_store::Fault;
use corollary_value::{BasicKind, Value, parse_as};
use jiff::{SignedDuration, Timestamp};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn datetime(text: &str) -> Value {
    Value::Datetime(at(text))
}

fn date(text: &str) -> Value {
    parse_as(BasicKind::Date, text).unwrap()
}

fn nanosecond() -> SignedDuration {
    SignedDuration::from_nanos(1)
}

/// Commits at a time; what must be right after it is.
#[track_caller]
fn write_at(db: &Db, time: Timestamp, writes: Vec<Write>) -> Option<Tick> {
    for outcome in db.commit(&[Transaction { writes }], time).unwrap() {
        outcome.unwrap();
    }
    agree(db);
    db.with(|executor| executor.tick().cloned())
}

/// Lets the time come.
#[track_caller]
fn wait(db: &Db, time: Timestamp) -> Option<Tick> {
    db.commit(&[], time).unwrap();
    agree(db);
    db.with(|executor| executor.tick().cloned())
}

fn next_due(db: &Db) -> Option<Timestamp> {
    db.with(Executor::next_due)
}

const POSTS: &str = "type Board in boards {
      posts: inverse Post.board
      recent := count(self.posts[at > now() - days(7)])
      latest := max(self.posts[at > now() - days(7)].at)
      words := sum(self.posts[at > now() - days(7)].words)
      listed := self.posts[at > now() - days(7)]
    }
    type Post in posts { board: link Board, at: datetime, words: int }";

fn post(db: &Db, name: &str, time: &str, words: i64) -> Write {
    let facts = [("board", reference("b")), ("at", datetime(time)), ("words", Value::Int(words))];
    create(db, "Post", name, &facts)
}

#[test]
fn members_leave_a_window_each_at_its_time_and_without_a_write() {
    let db = fresh(POSTS);
    let begin = at("2024-01-03T00:00:00Z");
    let posts = vec![
        create(&db, "Board", "b", &[]),
        post(&db, "p1", "2024-01-01T00:00:00Z", 5),
        post(&db, "p2", "2024-01-02T00:00:00Z", 7),
        post(&db, "p3", "2024-01-02T12:00:00Z", 11),
    ];
    write_at(&db, begin, posts);
    let value = |field: &str| get(&db, "Board", "b", field);
    assert_eq!((value("recent"), value("words")), (Value::Int(3), Value::Int(23)));
    // The comparison is `>`: at seven days, to the nanosecond, it is false.
    assert_eq!(next_due(&db), Some(at("2024-01-08T00:00:00Z")));
    assert!(wait(&db, at("2024-01-08T00:00:00Z") - nanosecond()).is_none());
    assert_eq!(value("recent"), Value::Int(3));
    let tick = wait(&db, at("2024-01-08T00:00:00Z")).unwrap();
    assert_eq!((value("recent"), value("words")), (Value::Int(2), Value::Int(18)));
    assert_eq!(value("listed"), references(&["p2", "p3"]));
    // It is told like any other change, and the posts have not changed.
    let told: Vec<String> = tick.commit.changes.iter().map(|change| change.key.id.to_string()).collect();
    assert_eq!(told, ["b"]);
    assert_eq!(
        (tick.commit.time, tick.commit.revision),
        (at("2024-01-08T00:00:00Z"), db.engine().revision())
    );
    // The other two at once.
    wait(&db, at("2024-02-01T00:00:00Z"));
    assert_eq!((value("recent"), value("words")), (Value::Int(0), Value::Int(0)));
    assert_eq!((value("latest"), value("listed")), (Value::Absent, references(&[])));
    assert_eq!(next_due(&db), None);
}

#[test]
fn a_deadline_passes_and_what_is_done_in_time_is_not_late() {
    let db = fresh(
        "type Task in tasks {
           due: datetime, state: str
           is_late := self.due < now() & self.state != 'done'
           left := self.due < now() -> 'none' : (self.due < now() + days(1) -> 'a day' : 'more')
         }",
    );
    let task = |name: &str, state: &str| {
        create(&db, "Task", name, &[("due", datetime("2024-05-02T10:00:00Z")), ("state", text(state))])
    };
    write_at(&db, at("2024-05-01T08:00:00Z"), vec![task("t1", "open"), task("t2", "done")]);
    let of = |name: &str| (get(&db, "Task", name, "is_late"), get(&db, "Task", name, "left"));
    assert_eq!(of("t1"), (Value::Bool(false), text("more")));
    // `<` is true from the next nanosecond on.
    let day_before = at("2024-05-01T10:00:00Z");
    wait(&db, day_before);
    assert_eq!(of("t1"), (Value::Bool(false), text("more")));
    wait(&db, day_before + nanosecond());
    assert_eq!(of("t1"), (Value::Bool(false), text("a day")));
    wait(&db, at("2024-05-02T10:00:00Z"));
    assert_eq!(of("t1"), (Value::Bool(false), text("a day")));
    wait(&db, at("2024-05-02T10:00:00Z") + nanosecond());
    assert_eq!(of("t1"), (Value::Bool(true), text("none")));
    assert_eq!(of("t2"), (Value::Bool(false), text("none")));
    // A fact that changes takes its timer along.
    let later = [("due", datetime("2024-06-01T00:00:00Z"))];
    write_at(&db, at("2024-05-03T00:00:00Z"), vec![update(&db, "Task", "t1", &later)]);
    assert_eq!(of("t1"), (Value::Bool(false), text("more")));
    write_at(&db, at("2024-05-03T00:00:00Z"), vec![delete(&db, "Task", "t1")]);
    assert_eq!(next_due(&db), Some(at("2024-05-31T00:00:00Z") + nanosecond()));
    assert!(wait(&db, at("2025-01-01T00:00:00Z")).is_none(), "the timer went with its task");
}

#[test]
fn ages_change_at_midnight_and_months_as_the_calendar_has_them() {
    let db = fresh(
        "type Person in people {
           born: date, seen: datetime
           adult := self.born <= today() - years(18)
           seen_this_month := self.seen > now() - months(1)
         }",
    );
    let person = |name: &str, born: &str, seen: &str| {
        create(&db, "Person", name, &[("born", date(born)), ("seen", datetime(seen))])
    };
    let people = vec![
        person("a", "2004-02-29", "2022-02-28T12:00:00Z"),
        person("b", "2004-03-10", "2022-01-31T12:00:00Z"),
    ];
    write_at(&db, at("2022-02-01T00:00:00Z"), people);
    let of = |name: &str, field: &str| get(&db, "Person", name, field) == Value::Bool(true);
    assert!(!of("a", "adult") && of("b", "seen_this_month"));
    wait(&db, at("2022-02-28T23:59:59.999999999Z"));
    assert!(!of("a", "adult"), "28 February less 18 years is before the 29th");
    wait(&db, at("2022-03-01T00:00:00Z"));
    assert!(of("a", "adult") && !of("b", "adult"));
    // 29, 30 and 31 March less one month are all 28 February: the time of day goes through it on each of them.
    for (time, seen) in [
        ("2022-03-28T11:59:59Z", true),
        ("2022-03-28T12:00:00Z", false),
        ("2022-03-29T00:00:00Z", true),
        ("2022-03-29T12:00:00Z", false),
        ("2022-03-30T00:00:00Z", true),
        ("2022-03-31T11:00:00Z", true),
        ("2022-03-31T12:00:00Z", false),
        ("2022-04-01T00:00:00Z", false),
        ("2022-12-01T00:00:00Z", false),
    ] {
        wait(&db, at(time));
        assert_eq!(of("a", "seen_this_month"), seen, "{time}");
    }
    assert!(of("b", "adult"));
    assert_eq!(next_due(&db), None);
}

#[test]
fn a_window_over_existing_data_and_a_restart_that_slept() {
    let store = memory();
    let plain = "type Board in boards { posts: inverse Post.board }
                 type Post in posts { board: link Board, at: datetime, words: int }";
    let db = opened(&store, plain);
    let posts = vec![
        create(&db, "Board", "b", &[]),
        post(&db, "p1", "2024-01-01T00:00:00Z", 5),
        post(&db, "p2", "2024-01-02T00:00:00Z", 7),
        post(&db, "p3", "2024-03-01T00:00:00Z", 11),
    ];
    write_at(&db, at("2024-01-03T00:00:00Z"), posts);
    drop(db);
    // Built as at the last commit; what was due since then is changed, and told, by the first commit.
    let db = opened(&store, POSTS);
    agree(&db);
    assert_eq!(get(&db, "Board", "b", "words"), Value::Int(23));
    assert_eq!(next_due(&db), Some(at("2024-01-08T00:00:00Z")));
    drop(db);
    let db = opened(&store, POSTS);
    assert_eq!(next_due(&db), Some(at("2024-01-08T00:00:00Z")));
    let writes = vec![post(&db, "p4", "2024-01-09T00:00:00Z", 100)];
    let tick = write_at(&db, at("2024-01-10T00:00:00Z"), writes).unwrap();
    assert_eq!(tick.commit.revision + 1, db.engine().revision());
    assert_eq!(get(&db, "Board", "b", "words"), Value::Int(111));
    // A field that is gone takes its timers along.
    let db = opened(&store, plain);
    assert_eq!(next_due(&db), None);
    agree(&db);
}

#[test]
fn an_expiry_costs_the_expired_and_not_the_group() {
    let work = |members: i64| {
        let db = fresh(POSTS);
        let mut writes = vec![create(&db, "Board", "b", &[])];
        writes.extend((0..members).map(|n| {
            let time = at("2024-01-02T00:00:00Z") + SignedDuration::from_secs(60 * n);
            let name = format!("p{n:05}");
            let facts = [("board", reference("b")), ("at", Value::Datetime(time)), ("words", Value::Int(n))];
            create(&db, "Post", &name, &facts)
        }));
        write_at(&db, at("2024-01-03T00:00:00Z"), writes);
        let tick = wait(&db, at("2024-01-09T00:01:30Z")).unwrap();
        assert_eq!(get(&db, "Board", "b", "recent"), Value::Int(members - 2));
        tick.work
    };
    let (few, many) = (work(10), work(500));
    assert_eq!(few, many);
    // Two posts, in the groups of three fields and in that of the list.
    assert_eq!((few.evaluations, few.changed), (8, 3));
}

#[test]
fn a_strict_field_may_become_an_error_by_the_clock() {
    let db = fresh(
        "type A in all { at: datetime, n: int, x := self.at > now() -> self.n : self.n / 0 strict, y := self.x else 0 }",
    );
    let facts = [("at", datetime("2024-01-02T00:00:00Z")), ("n", Value::Int(3))];
    write_at(&db, at("2024-01-01T00:00:00Z"), vec![create(&db, "A", "a", &facts)]);
    wait(&db, at("2024-01-02T00:00:00Z"));
    assert!(get(&db, "A", "a", "x").is_error());
    assert_eq!(get(&db, "A", "a", "y"), Value::Int(0));
}

/// The same in a field that depends on itself, by what another one makes of the clock: it was refused, and time stood still.
#[test]
fn a_strict_field_that_needs_itself_may_become_an_error_by_the_clock() {
    let db = fresh(
        "type A in all {
           at: datetime
           up: link A
           open := self.at > now()
           x := (self.open -> 1 : 1 / 0) + (self.up.x ?? 0) strict
         }",
    );
    let start = at("2024-01-01T00:00:00Z");
    let facts = [("at", datetime("2024-01-02T00:00:00Z"))];
    write_at(&db, start, vec![create(&db, "A", "a", &facts)]);
    let facts = [("at", datetime("2024-01-03T00:00:00Z")), ("up", reference("a"))];
    write_at(&db, start, vec![create(&db, "A", "b", &facts)]);
    assert_eq!(get(&db, "A", "b", "x"), Value::Int(2));
    wait(&db, at("2024-01-02T00:00:00Z"));
    assert!(get(&db, "A", "a", "x").is_error() && get(&db, "A", "b", "x").is_error());
}

/// Where a strict field had become an error by the clock, another version that computes it anew was refused, which is right; and then so
/// was the one before, which had torn it down to go back: there was no version left that the data could be opened with.
#[test]
fn a_version_whose_strict_field_the_clock_made_an_error_can_be_gone_back_to() {
    let schema = |n: &str| {
        format!("type A in all {{ at: datetime, n: int, x := self.at > now() -> {n} : self.n / 0 strict }}")
    };
    let store = memory();
    let db = opened(&store, &schema("self.n"));
    let facts = [("at", datetime("2024-01-02T00:00:00Z")), ("n", Value::Int(3))];
    write_at(&db, at("2024-01-01T00:00:00Z"), vec![create(&db, "A", "a", &facts)]);
    wait(&db, at("2024-01-02T00:00:00Z"));
    assert!(get(&db, "A", "a", "x").is_error());
    drop(db);
    for _ in 0..2 {
        assert!(matches!(try_open(&store, &schema("self.n + 1")), Err(OpenError::Refused(_))));
    }
    let db = opened(&store, &schema("self.n"));
    assert!(get(&db, "A", "a", "x").is_error());
    // What the clock has made of it is mended by a write, and no write may bring it about.
    write_at(
        &db,
        at("2024-01-02T00:00:00Z"),
        vec![update(&db, "A", "a", &[("at", datetime("2025-01-02T00:00:00Z"))])],
    );
    assert_eq!(get(&db, "A", "a", "x"), Value::Int(3));
}

/// Only a version that all was built for is gone back to so: one whose own building was cut short may not fit.
#[test]
fn a_version_that_was_never_whole_is_held_to_its_strict_fields() {
    let store = memory();
    let db = opened(&store, "type A in all { n: int }");
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(3))])]);
    drop(db);
    let strict = |n: i64| format!("type A in all {{ n: int, m := self.n + {n}, x := self.n / 0 strict }}");
    for n in [1, 2, 1, 1] {
        let refused = try_open(&store, &strict(n));
        assert!(matches!(refused, Err(OpenError::Refused(_))), "{n}");
    }
    // Cut short behind each of its first commits, and opened with another one.
    for commits in 0..5 {
        let store = memory();
        let db = opened(&store, "type A in all { n: int }");
        commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(3))])]);
        drop(db);
        store.fail_commit(commits, Fault::Io);
        for n in [1, 2, 1, 2] {
            assert!(try_open(&store, &strict(n)).is_err(), "{n} behind {commits}");
        }
        opened(&store, "type A in all { n: int }");
    }
}

/// What follows from a comparison with the time was taken for the time itself, so the comparison with it had no timer.
#[test]
fn a_time_that_depends_on_the_time_is_compared_with_it() {
    let db = fresh(
        "type Cat in cats {
           f9: datetime, f10: { m: datetime }, f11: datetime, r12: link Cat
           soon := ((self.r12.f9 >= now() - days(0)) -> self.r12.r12.f11 : self.r12.r12.f10.m) < now() + hours(4)
         }",
    );
    let start = at("1970-01-01T00:00:23Z");
    let values = [
        ("f10", object(&[("m", datetime("1970-01-02T09:20:00Z"))])),
        ("f11", datetime("1970-01-01T22:13:20Z")),
        ("r12", reference("c")),
    ];
    write_at(&db, start, vec![create(&db, "Cat", "c", &values)]);
    assert_eq!(get(&db, "Cat", "c", "soon"), Value::Bool(false));
    assert_eq!(next_due(&db), Some(at("1970-01-02T05:20:00Z") + nanosecond()));
    wait(&db, at("1970-01-02T18:00:32Z"));
    assert_eq!(get(&db, "Cat", "c", "soon"), Value::Bool(true));
}

/// A step of an update looked at a deadline that had been moved, found it passed, and left the value as it was, with no
/// timer; since nothing had changed there was no commit, and as at the time of the last one the value was wrong.
#[test]
fn a_step_that_looks_at_the_time_keeps_it_though_nothing_changes() {
    let store = memory();
    let db = opened_within(
        &store,
        "type Hub in hubs { due: datetime, leaves: inverse Leaf.hub }
         type Leaf in leaves { hub: link Hub, late := self.hub.due < now() }",
        1,
    );
    let begin = at("2024-01-10T00:00:00Z");
    let leaf = |name: &str| create(&db, "Leaf", name, &[("hub", reference("h"))]);
    let hub = create(&db, "Hub", "h", &[("due", datetime("2024-01-09T00:00:00Z"))]);
    write_at(&db, begin, vec![hub, leaf("a"), leaf("b"), leaf("c")]);
    assert_eq!(get(&db, "Leaf", "a", "late"), Value::Bool(true));
    // Later than the clock is, and by the time of the step no more.
    write_at(&db, begin, vec![update(&db, "Hub", "h", &[("due", datetime("2024-01-11T00:00:00Z"))])]);
    let later = at("2024-01-12T00:00:00Z");
    while let Some(progress) = db.step_at(10, later).unwrap() {
        assert!(progress.commit.is_some(), "its time is on record");
        agree(&db);
    }
    assert_eq!(db.engine().time(), later);
    assert_eq!(get(&db, "Leaf", "a", "late"), Value::Bool(true));
}
