//! Aggregates at work: what examples give, errors that come and go, large groups that grow and shrink.

use crate::common::*;
use corollary_engine::Write;
use corollary_value::Value;

fn shown(db: &Db, ty: &str, id: &str, field: &str) -> String {
    get(db, ty, id, field).to_string()
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

const SHOP: &str = "
type Customer in customers {
  largest := top(2, self.orders.amount)
  products := distinct(self.orders.product)
  middle := median(self.orders.amount)
  most := percentile(self.orders.amount, 90)
  notes := join(self.orders[order by amount desc].product, ', ')
  by_product := group(self.orders, by: product, sum(amount))
  by_year := group(self.orders, by: year(placed), count())
  quotients := distinct(self.orders.quotient)
  best := top(2, self.orders.quotient)
  by_quotient := group(self.orders, by: int(quotient), count())
  orders: inverse Order.customer
}
type Order in orders {
  customer: link Customer
  product: str
  amount: int
  parts: int
  placed: date
  quotient := self.amount / self.parts
}
";

fn order(db: &Db, n: u32, product: &str, amount: i64, parts: i64) -> Write {
    let placed = Value::Date(jiff::civil::date(2020 + n as i16 % 3, 1, 1));
    let given = [
        ("customer", reference("ann")),
        ("product", text(product)),
        ("amount", int(amount)),
        ("parts", int(parts)),
        ("placed", placed),
    ];
    create(db, "Order", &format!("o{n}"), &given)
}

#[test]
fn each_aggregate_gives_what_it_says() {
    let db = fresh(SHOP);
    let mut writes = vec![create(&db, "Customer", "ann", &[])];
    for (n, (product, amount)) in [("tea", 10), ("rice", 40), ("tea", 20), ("oil", 30)].iter().enumerate() {
        writes.push(order(&db, n as u32, product, *amount, 10));
    }
    commit(&db, writes);
    let shows = |db: &Db, field: &str| shown(db, "Customer", "ann", field);
    assert_eq!(shows(&db, "largest"), "[40, 30]");
    assert_eq!(shows(&db, "products"), "[oil, rice, tea]");
    assert_eq!(shows(&db, "middle"), "25.0");
    assert_eq!(shows(&db, "most"), "37.0");
    assert_eq!(shows(&db, "notes"), "rice, oil, tea, tea");
    assert_eq!(shows(&db, "by_product"), "{oil: 30, rice: 40, tea: 30}");
    assert_eq!(shows(&db, "by_year"), "{2020: 2, 2021: 1, 2022: 1}");
    let gone = delete(&db, "Order", "o1");
    commit(&db, vec![gone]);
    assert_eq!(shows(&db, "largest"), "[30, 20]");
    assert_eq!(shows(&db, "products"), "[oil, tea]");
    assert_eq!(shows(&db, "middle"), "20.0");
    assert_eq!(shows(&db, "by_product"), "{oil: 30, tea: 30}");
    assert_eq!(shows(&db, "by_year"), "{2020: 2, 2022: 1}");
    agree(&db);
}

/// While one of the elements is an error the result is that error, and what was there before comes back with it.
#[test]
fn errors_come_and_go() {
    let db = fresh(SHOP);
    let mut writes = vec![create(&db, "Customer", "ann", &[])];
    for n in 0..6 {
        writes.push(order(&db, n, "tea", i64::from(n) * 10, 10));
    }
    commit(&db, writes);
    let fields = ["quotients", "best", "by_quotient"];
    let all = |db: &Db| fields.map(|field| shown(db, "Customer", "ann", field));
    let before = all(&db);
    assert_eq!(before[0], "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]");
    let write = update(&db, "Order", "o3", &[("parts", int(0))]);
    commit(&db, vec![write]);
    assert_eq!(all(&db), ["#div0", "#div0", "#div0"]);
    agree(&db);
    // A change of another member while the error stands.
    let write = update(&db, "Order", "o4", &[("amount", int(70))]);
    commit(&db, vec![write]);
    assert_eq!(all(&db), ["#div0", "#div0", "#div0"]);
    let writes = vec![
        update(&db, "Order", "o3", &[("parts", int(10))]),
        update(&db, "Order", "o4", &[("amount", int(40))]),
    ];
    commit(&db, writes);
    assert_eq!(all(&db), before);
    agree(&db);
}

const RANKS: &str = "
  three := top(3, self.members.n)
  middle := median(self.members.n)
  high := percentile(self.members.n, 99.5)
  few := distinct(self.members.kind)
  by_kind := group(self.members, by: kind, median(n))";

/// Counts above the elements have levels from some hundreds on: they have to be what a new building gives, whatever
/// came and went, in large steps and in small ones.
#[test]
fn ranks_are_right_in_large_groups_that_grow_and_shrink() {
    let db = large::group(RANKS, 3_000);
    agree(&db);
    for n in (0..3_000).step_by(37) {
        let write = update(&db, "Member", &format!("m{n}"), &[("n", int(large::scattered(n + 7)))]);
        commit(&db, vec![write]);
    }
    agree(&db);
    let gone: Vec<Write> =
        (0..3_000).filter(|n| n % 9 != 0).map(|n| delete(&db, "Member", &format!("m{n}"))).collect();
    commit(&db, gone);
    agree(&db);
    for n in (0..3_000).step_by(9) {
        let gone = delete(&db, "Member", &format!("m{n}"));
        commit(&db, vec![gone]);
        if n % 60 == 0 {
            agree(&db);
        }
    }
    assert_eq!(shown(&db, "Group", "g", "middle"), "null");
    assert_eq!(shown(&db, "Group", "g", "by_kind"), "{}");
    agree(&db);
}

/// What has nobody above it counted as if it had: the owner of what is the same for all is there for every member.
#[test]
fn below_a_root_collection_only_what_belongs_to_it_counts() {
    let db = fresh(
        "type Team in teams {
           people: inverse Person.team
           tasks: collection Task
           all := sum(teams.people.age)
           first := first(teams.people[order by age]).age
           odd := count(teams[name = null].people)
           open := count(teams.tasks.parts)
           name: str
         }
         type Person in people { team: link Team, age: int }
         type Task in tasks { parts: collection Part }
         type Part in parts { n: int }",
    );
    commit(
        &db,
        vec![
            create(&db, "Team", "t", &[]),
            create(&db, "Person", "p1", &[("age", int(1))]),
            create(&db, "Person", "p2", &[("age", int(2)), ("team", reference("t"))]),
            create(&db, "Task", "k1", &[]),
            create(&db, "Task", "k2", &[("parent_team_tasks", reference("t"))]),
            create(&db, "Part", "a", &[]),
            create(&db, "Part", "b", &[("parent_task_parts", reference("k1"))]),
            create(&db, "Part", "c", &[("parent_task_parts", reference("k2"))]),
        ],
    );
    agree(&db);
    assert_eq!(get(&db, "Team", "t", "all"), int(2));
    assert_eq!(get(&db, "Team", "t", "odd"), int(1));
    assert_eq!(get(&db, "Team", "t", "open"), int(1));
    commit(&db, vec![update(&db, "Person", "p2", &[("team", Value::Absent)])]);
    commit(&db, vec![update(&db, "Person", "p1", &[("team", reference("t"))])]);
    assert_eq!(get(&db, "Team", "t", "all"), int(1));
    agree(&db);
}
