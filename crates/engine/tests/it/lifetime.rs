//! The type options about the life of a resource: when it was created and changed, and when it goes.

use crate::common::*;
use corollary_engine::{Edit, Executor, Tick, Transaction, Write};
use corollary_schema::{Ids, check};
use corollary_value::Value;
use jiff::{SignedDuration, Timestamp};

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn datetime(seconds: i64) -> Value {
    Value::Datetime(time(seconds))
}

/// Commits at a second; what must be right after it is.
#[track_caller]
fn at(db: &Db, seconds: i64, writes: Vec<Write>) -> Option<Tick> {
    for outcome in db.commit(&[Transaction { writes }], time(seconds)).unwrap() {
        outcome.unwrap();
    }
    agree(db);
    db.with(|executor| executor.tick().cloned())
}

#[test]
fn the_times_follow_the_facts_and_nothing_else() {
    let db = fresh(
        "type A in all created_at updated_at {
           n: int, bs: inverse B.a, total := sum(self.bs.n), age := self.updated_at - self.created_at
         }
         type B in bees updated_at { a: link A, n: int, seen := self.a.updated_at }",
    );
    let times = |name: &str| (get(&db, "A", name, "created_at"), get(&db, "A", name, "updated_at"));
    at(&db, 10, vec![create(&db, "A", "a", &[("n", Value::Int(1))])]);
    assert_eq!(times("a"), (datetime(10), datetime(10)));
    // A derived value that changes is no change of the resource's own.
    at(&db, 20, vec![create(&db, "B", "b", &[("a", reference("a")), ("n", Value::Int(5))])]);
    assert_eq!(times("a"), (datetime(10), datetime(10)));
    assert_eq!(get(&db, "A", "a", "total"), Value::Int(5));
    at(&db, 30, vec![update(&db, "A", "a", &[("n", Value::Int(2))])]);
    assert_eq!(times("a"), (datetime(10), datetime(30)));
    assert_eq!(get(&db, "A", "a", "age"), Value::Duration(SignedDuration::from_secs(20)));
    assert_eq!(get(&db, "B", "b", "seen"), datetime(30));
    // What comes out as it was is none either.
    let revision = db.engine().revision();
    at(&db, 40, vec![update(&db, "A", "a", &[("n", Value::Int(2))])]);
    at(&db, 40, vec![replace(&db, "A", "a", &[("n", Value::Int(2))])]);
    let same = [("n", Value::Int(2)), ("created_at", datetime(10)), ("updated_at", datetime(30))];
    at(&db, 40, vec![replace(&db, "A", "a", &same)]);
    at(
        &db,
        40,
        vec![update(&db, "A", "a", &[("n", Value::Int(3))]), update(&db, "A", "a", &[("n", Value::Int(2))])],
    );
    assert_eq!((times("a"), db.engine().revision()), ((datetime(10), datetime(30)), revision));
    // A link that a deletion takes away is a fact.
    at(&db, 50, vec![delete(&db, "A", "a")]);
    assert_eq!(get(&db, "B", "b", "updated_at"), datetime(50));
    // One that takes the place of another is new.
    at(&db, 60, vec![create(&db, "A", "a", &[])]);
    at(&db, 70, vec![delete(&db, "A", "a"), create(&db, "A", "a", &[])]);
    assert_eq!(times("a"), (datetime(70), datetime(70)));
}

#[test]
fn nobody_writes_what_is_kept() {
    let db = fresh("type A in all created_at updated_at { n: int }");
    at(&db, 0, vec![create(&db, "A", "a", &[])]);
    for name in ["created_at", "updated_at"] {
        let other = [(name, datetime(99))];
        let expected = format!("read-only {name}");
        for write in [
            create(&db, "A", "b", &other),
            update(&db, "A", "a", &other),
            replace(&db, "A", "a", &other),
            edit(&db, "A", "a", &[(name, Edit::Set(Value::Absent))]),
            edit(&db, "A", "a", &[(name, Edit::Set(Value::Null))]),
        ] {
            assert_eq!(codes(&refused(&db, vec![write])), [expected.as_str()]);
        }
    }
}

#[test]
fn what_expires_goes_with_all_that_a_deletion_brings() {
    let db = fresh(
        "type Session in sessions expires after minutes(1) {
           user: link User, steps: collection Step, count := count(self.steps)
         }
         type Step { n: int }
         type User in users updated_at {
           sessions: inverse Session.user, open := count(self.sessions), last: link Session, all: links Session
         }
         type Log in logs { session: link Session required on delete cascade }",
    );
    let session = |name: &str| create(&db, "Session", name, &[("user", reference("u"))]);
    at(&db, 0, vec![create(&db, "User", "u", &[]), session("s1")]);
    let step = [("parent_session_steps", reference("s1")), ("n", Value::Int(1))];
    let links = [("last", reference("s1")), ("all", references(&["s1"]))];
    let log = [("session", reference("s1"))];
    at(
        &db,
        10,
        vec![
            create(&db, "Step", "t", &step),
            update(&db, "User", "u", &links),
            create(&db, "Log", "l", &log),
        ],
    );
    at(&db, 20, vec![session("s2")]);
    assert_eq!(get(&db, "User", "u", "open"), Value::Int(2));
    assert_eq!(db.with(Executor::next_due), Some(time(60)));
    // A change of a fact does not put it off.
    at(&db, 59, vec![update(&db, "Session", "s1", &[("user", Value::Absent)])]);
    assert!(at(&db, 59, vec![]).is_none());
    let tick = at(&db, 60, vec![]).unwrap();
    let told: Vec<(String, bool)> =
        tick.commit.changes.iter().map(|it| (it.key.id.to_string(), it.after.is_none())).collect();
    let gone = |name: &str| (name.to_string(), true);
    assert_eq!(told, [gone("s1"), gone("t"), ("u".into(), false), gone("l")]);
    assert_eq!(get(&db, "User", "u", "last"), Value::Absent);
    assert_eq!(get(&db, "User", "u", "all"), references(&[]));
    assert_eq!(get(&db, "User", "u", "updated_at"), datetime(60));
    // One that is deleted before has no timer any more.
    at(&db, 70, vec![delete(&db, "Session", "s2")]);
    assert_eq!(get(&db, "User", "u", "open"), Value::Int(0));
    assert!(at(&db, 1_000, vec![]).is_none());
}

#[test]
fn one_that_expires_with_another_and_a_window_over_what_expires() {
    let db = fresh(
        "type Day in days expires after minutes(2) { of: link Day on delete cascade, hours: collection Hour
           young := count(self.hours[created_at > now() - minutes(1)]) }
         type Hour expires after minutes(2) { n: int }",
    );
    let hour = [("parent_day_hours", reference("d1"))];
    let writes = vec![
        create(&db, "Day", "d1", &[("of", reference("d2"))]),
        create(&db, "Day", "d2", &[("of", reference("d1"))]),
        create(&db, "Hour", "h", &hour),
    ];
    at(&db, 0, writes);
    assert_eq!(get(&db, "Day", "d1", "young"), Value::Int(1));
    // The window and the end at once: past several timers of one resource.
    let tick = at(&db, 500, vec![]).unwrap();
    assert_eq!(tick.commit.changes.len(), 3);
    assert_eq!(db.with(Executor::next_due), None);
}

#[test]
fn what_is_there_when_its_type_begins_to_expire_counts_from_then() {
    let store = memory();
    let db = opened(&store, "type A in all { n: int }");
    at(&db, 10, vec![create(&db, "A", "a", &[])]);
    drop(db);
    let text = "type A in all expires after days(1) { n: int, created := self.created_at }";
    // It is opened at NOW, the beginning of time here.
    let db = opened(&store, text);
    agree(&db);
    assert_eq!(get(&db, "A", "a", "created"), Value::Datetime(NOW));
    at(&db, 20, vec![create(&db, "A", "b", &[])]);
    let db = opened(&store, "type A in all created_at expires after days(2) { n: int }");
    agree(&db);
    assert_eq!(get(&db, "A", "b", "created_at"), datetime(20));
    let day = 24 * 60 * 60;
    at(&db, 2 * day - 1, vec![]);
    assert!(doc(&db, "A", "a").is_some());
    at(&db, 2 * day, vec![]);
    assert!(doc(&db, "A", "a").is_none() && doc(&db, "A", "b").is_some());
    // A shorter life than they have lived already: gone with the first commit.
    let db = opened(&store, "type A in all expires after hours(1) { n: int }");
    assert!(doc(&db, "A", "b").is_some());
    assert!(at(&db, 2 * day, vec![]).is_some());
    assert!(doc(&db, "A", "b").is_none());
    let db = opened(&store, "type A in all created_at { n: int }");
    assert_eq!(db.with(Executor::next_due), None);
}

#[test]
fn more_that_is_due_than_one_commit_takes() {
    use corollary_engine::clock::MAX_TIMERS_PER_COMMIT;
    let db = fresh("type A in all expires after minutes(1) {}");
    let many = MAX_TIMERS_PER_COMMIT as i64 / 2;
    for second in 0..3 {
        let writes = (0..many).map(|n| create(&db, "A", &format!("a{second}x{n}"), &[])).collect();
        db.commit(&[Transaction { writes }], time(second)).unwrap().remove(0).unwrap();
    }
    // Two of the three times make up one commit; for the transactions of that commit it is the second of them.
    let created =
        db.commit(&[Transaction { writes: vec![create(&db, "A", "new", &[])] }], time(100)).unwrap();
    assert!(created[0].is_ok());
    assert_eq!(get(&db, "A", "new", "created_at"), datetime(61));
    assert_eq!(db.with(|it| it.tick().map(|tick| tick.commit.changes.len())), Some(2 * many as usize));
    assert_eq!(db.with(Executor::next_due), Some(time(62)));
    at(&db, 100, vec![]);
    assert!(doc(&db, "A", "a2x0").is_none() && doc(&db, "A", "new").is_some());
    assert_eq!(db.with(Executor::next_due), Some(time(121)));
}

#[test]
fn mistakes_in_the_options() {
    let code = |text: &str| -> Vec<String> {
        let found = check(text, &mut Ids::default()).diagnostics;
        found.iter().map(|it| format!("{}: {}", it.code, it.message)).collect()
    };
    let span = "option-argument: `expires after` takes a span with a positive whole number";
    for argument in [
        "3",
        "days(0)",
        "days(-1)",
        "days('x')",
        "days(1, 2)",
        "now()",
        "years(1) + days(1)",
        "fortnights(2)",
    ] {
        assert_eq!(
            code(&format!("type A in all expires after {argument} {{ n: int }}")),
            [span],
            "{argument}"
        );
    }
    assert_eq!(
        code("type A in all created_at { created_at: datetime }"),
        ["duplicate-field: `A` declares a field `created_at`, and this option gives it one"]
    );
    assert_eq!(code("type A in all created_at created_at { n: int }").len(), 1);
    assert_eq!(
        code(
            "type A in all expires after days(1) { bs: collection B }
             type B { n: int }
             type C in cs { b: link B required }
             type D in ds { a: link A on delete restrict }",
        ),
        [
            "expiry-held: a A cannot expire: `D.a` may forbid the deletion of a A",
            "expiry-held: a A cannot expire: `C.b` may forbid the deletion of a B",
        ]
    );
    assert_eq!(
        code("type A in all created_at expires after months(18) { n: int, x := self.created_at }"),
        [""; 0]
    );
}
