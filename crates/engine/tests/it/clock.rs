//! After every step of random facts and moves of the clock, all that is stored is what the oracle computes as at the time.

use crate::common::*;
use corollary_engine::{EngineError, Executor, Transaction, Write};
use corollary_value::Value;
use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp};
use proptest::prelude::*;

const SCHEMA: &str = "
type Group in groups {
  items: inverse Item.group
  fresh := count(self.items[at > now() - days(2)])
  soon := sum(self.items[at <= now() + hours(30)].n)
  newest := max(self.items[now() >= at].at)
  next := first(self.items[at > now()][order by at]).n
  month := count(self.items[at >= now() - months(1)])
  coming := self.items[at < now() + months(1) & at > now()]
  adults := count(self.items[born <= today() - years(18)])
  started := sum(self.items[born < today()].n)
  some_late := any(self.items.late)
  middle := median(self.items[at > now() - days(2)].n)
  others := count(self.items[at > now() - days(1)].other)
  ahead := first(self.items[order by at > now(), n desc]).n
  share := self.fresh / count(self.items)
}
type Item in items {
  group: link Group
  other: link Group
  at: datetime
  born: date
  n: int
  done: bool
  late := self.at < now() & self.done != true
  of_age := self.born + years(18) <= today()
  fresh := self.group.fresh + 1
  state := self.at > now() -> 'planned' : (self.at > now() - days(1) -> 'running' : 'over')
  ratio := self.n / (self.at >= now() - weeks(1) -> 1 : 0) else 7
  oldest_of_all := self.group.items[at <= now()].n
}
";

#[derive(Clone, Debug)]
enum Fact {
    Group(usize),
    At(Timestamp),
    Born(Date),
    N(i64),
    Done(bool),
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, Vec<Fact>),
    Update(usize, Vec<Fact>),
    Delete(usize),
    /// To the next timer, and so many nanoseconds on.
    ToTimer(i64),
    /// By so many minutes.
    Pass(i64),
    Restart,
}

const ITEMS: usize = 6;
const GROUPS: usize = 2;

/// Around the ends of months, and often just there.
fn moments() -> impl Strategy<Value = Timestamp> {
    let days = prop_oneof![
        Just("2024-01-29"),
        Just("2024-01-31"),
        Just("2024-02-28"),
        Just("2024-02-29"),
        Just("2024-03-01")
    ];
    (days, -3i64..3, 0i64..48, prop_oneof![3 => Just(0i64), 1 => -1i64..2]).prop_map(
        |(day, days, halves, nanoseconds)| {
            let day: Date = day.parse().unwrap();
            let day = day.checked_add(Span::new().days(days)).unwrap();
            let begin = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
            begin + SignedDuration::from_mins(30 * halves) + SignedDuration::from_nanos(nanoseconds)
        },
    )
}

fn births() -> impl Strategy<Value = Date> {
    (0i64..60).prop_map(|days| Date::constant(2006, 1, 15).checked_add(Span::new().days(days)).unwrap())
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let fact = prop_oneof![
        2 => (0..GROUPS).prop_map(Fact::Group),
        3 => moments().prop_map(Fact::At),
        2 => births().prop_map(Fact::Born),
        1 => (0i64..5).prop_map(Fact::N),
        1 => any::<bool>().prop_map(Fact::Done),
    ];
    prop::collection::vec(fact, 1..6)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..ITEMS, facts()).prop_map(|(item, facts)| Step::Create(item, facts)),
        3 => (0..ITEMS, facts()).prop_map(|(item, facts)| Step::Update(item, facts)),
        1 => (0..ITEMS).prop_map(Step::Delete),
        6 => (-1i64..2).prop_map(Step::ToTimer),
        2 => prop_oneof![0i64..90, 0i64..3_000, 0i64..60_000].prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..40)
}

fn writes(item: usize, facts: &[Fact]) -> (String, Vec<(&'static str, Value)>) {
    let mut values = vec![];
    for fact in facts {
        match fact {
            Fact::Group(group) => {
                values.push(("group", reference(&format!("g{group}"))));
                values.push(("other", reference(&format!("g{}", (group + item) % GROUPS))));
            }
            Fact::At(at) => values.push(("at", Value::Datetime(*at))),
            Fact::Born(date) => values.push(("born", Value::Date(*date))),
            Fact::N(n) => values.push(("n", Value::Int(*n))),
            Fact::Done(done) => values.push(("done", Value::Bool(*done))),
        }
    }
    (format!("i{item}"), values)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn all_is_right_as_at_the_time(steps in steps()) {
        let store = memory();
        let mut db = opened(&store, SCHEMA);
        let mut now: Timestamp = "2024-01-20T00:00:00Z".parse().unwrap();
        let groups = (0..GROUPS).map(|group| create(&db, "Group", &format!("g{group}"), &[])).collect();
        commit_at(&db, groups, now);
        for step in steps {
            let write = match &step {
                Step::Create(item, facts) => {
                    let (name, values) = writes(*item, facts);
                    Some(create(&db, "Item", &name, &values))
                }
                Step::Update(item, facts) => {
                    let (name, values) = writes(*item, facts);
                    Some(update(&db, "Item", &name, &values))
                }
                Step::Delete(item) => Some(delete(&db, "Item", &format!("i{item}"))),
                Step::ToTimer(nanoseconds) => {
                    if let Some(due) = db.with(Executor::next_due) {
                        now = now.max(due + SignedDuration::from_nanos(*nanoseconds));
                    }
                    None
                }
                Step::Pass(minutes) => {
                    now += SignedDuration::from_mins(*minutes);
                    None
                }
                Step::Restart => {
                    drop(db);
                    db = opened(&store, SCHEMA);
                    None
                }
            };
            commit_at(&db, write.into_iter().collect(), now);
            prop_assert!(db.with(Executor::next_due).is_none_or(|due| due > now), "a timer is overdue");
            // As at the commit, and, since nothing more was due, as at now.
            for time in [db.engine().time(), now] {
                let found = wrong_as_at(&db, time);
                prop_assert!(found.is_empty(), "at {time} after {step:?}: {found:#?}");
            }
        }
    }
}

/// Commits, whatever becomes of it.
fn commit_at(db: &Db, writes: Vec<Write>, now: Timestamp) {
    for outcome in db.commit(&[Transaction { writes }], now).unwrap() {
        assert!(matches!(outcome, Ok(_) | Err(EngineError::Refused(_))), "{outcome:?}");
    }
}
