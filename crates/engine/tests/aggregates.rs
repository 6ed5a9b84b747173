//! Aggregates at work: what examples give, what a change costs as groups grow, and that sums are exact.

use std::sync::Arc;

use corollary_engine::propagate::Work;
use corollary_engine::{
    Edit, EngineOptions, Executor, Key, Transaction, Write, keys, open, oracle, side_state,
};
use corollary_store::MemoryStore;
use corollary_value::{Id, Value};
use jiff::Timestamp;

fn executor(schema: &str) -> Executor {
    let store = MemoryStore::new(&keys::KEYSPACES).unwrap();
    let options = EngineOptions::default();
    open(Arc::new(store), schema, &options, Timestamp::UNIX_EPOCH, &mut |_| {}).unwrap()
}

fn key(executor: &Executor, ty: &str, id: &str) -> Key {
    Key::new(executor.engine().schema().type_named(ty).unwrap(), Id::parse(id).unwrap())
}

fn values(executor: &Executor, key: &Key, values: &[(&str, Value)]) -> Vec<(corollary_schema::Slot, Value)> {
    let schema = executor.engine().schema();
    let slot = |name: &str| schema.ty(key.ty).named(name).unwrap().0;
    values.iter().map(|(name, value)| (slot(name), value.clone())).collect()
}

fn create(executor: &Executor, ty: &str, id: &str, given: &[(&str, Value)]) -> Write {
    let key = key(executor, ty, id);
    let values = values(executor, &key, given);
    Write::Create(key, values)
}

fn update(executor: &Executor, ty: &str, id: &str, given: &[(&str, Value)]) -> Write {
    let key = key(executor, ty, id);
    let values = values(executor, &key, given);
    Write::Update(key, values.into_iter().map(|(slot, value)| (slot, Edit::Set(value))).collect())
}

fn commit(executor: &mut Executor, writes: Vec<Write>) -> Work {
    let transactions = [Transaction { writes }];
    executor.commit(&transactions, Timestamp::UNIX_EPOCH).unwrap().remove(0).unwrap().work
}

fn shown(executor: &Executor, ty: &str, id: &str, field: &str) -> String {
    let key = key(executor, ty, id);
    let slot = executor.engine().schema().ty(key.ty).named(field).unwrap().0;
    let read = |working: &corollary_engine::working::Working<'_>| {
        Ok(working.after(&key)?.map(|doc| doc.get(slot).to_string()))
    };
    executor.engine().read(Timestamp::UNIX_EPOCH, read).unwrap().unwrap()
}

/// All that follows from the facts is what is stored.
fn agree(executor: &Executor) {
    let engine = executor.engine();
    let checked = engine.read(Timestamp::UNIX_EPOCH, |working| oracle::check(working, None)).unwrap();
    assert!(checked.differences.is_empty(), "{:#?}", checked.differences);
    let side_state = engine.read(Timestamp::UNIX_EPOCH, side_state::check).unwrap();
    assert!(side_state.is_empty(), "{side_state:#?}");
}

fn text(value: &str) -> Value {
    Value::Str(value.into())
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

fn order(executor: &Executor, n: u32, product: &str, amount: i64, parts: i64) -> Write {
    let placed = Value::Date(jiff::civil::date(2020 + n as i16 % 3, 1, 1));
    let given = [
        ("customer", Value::Ref(Id::parse("ann").unwrap())),
        ("product", text(product)),
        ("amount", Value::Int(amount)),
        ("parts", Value::Int(parts)),
        ("placed", placed),
    ];
    create(executor, "Order", &format!("o{n}"), &given)
}

#[test]
fn each_aggregate_gives_what_it_says() {
    let mut executor = executor(SHOP);
    let mut writes = vec![create(&executor, "Customer", "ann", &[])];
    for (n, (product, amount)) in [("tea", 10), ("rice", 40), ("tea", 20), ("oil", 30)].iter().enumerate() {
        writes.push(order(&executor, n as u32, product, *amount, 10));
    }
    commit(&mut executor, writes);
    let shows = |executor: &Executor, field: &str| shown(executor, "Customer", "ann", field);
    assert_eq!(shows(&executor, "largest"), "[40, 30]");
    assert_eq!(shows(&executor, "products"), "[oil, rice, tea]");
    assert_eq!(shows(&executor, "middle"), "25.0");
    assert_eq!(shows(&executor, "most"), "37.0");
    assert_eq!(shows(&executor, "notes"), "rice, oil, tea, tea");
    assert_eq!(shows(&executor, "by_product"), "{oil: 30, rice: 40, tea: 30}");
    assert_eq!(shows(&executor, "by_year"), "{2020: 2, 2021: 1, 2022: 1}");
    let gone = Write::Delete(key(&executor, "Order", "o1"));
    commit(&mut executor, vec![gone]);
    assert_eq!(shows(&executor, "largest"), "[30, 20]");
    assert_eq!(shows(&executor, "products"), "[oil, tea]");
    assert_eq!(shows(&executor, "middle"), "20.0");
    assert_eq!(shows(&executor, "by_product"), "{oil: 30, tea: 30}");
    assert_eq!(shows(&executor, "by_year"), "{2020: 2, 2022: 1}");
    agree(&executor);
}

/// While one of the elements is an error the result is that error, and what was there before comes back with it.
#[test]
fn errors_come_and_go() {
    let mut executor = executor(SHOP);
    let mut writes = vec![create(&executor, "Customer", "ann", &[])];
    for n in 0..6 {
        writes.push(order(&executor, n, "tea", i64::from(n) * 10, 10));
    }
    commit(&mut executor, writes);
    let fields = ["quotients", "best", "by_quotient"];
    let all = |executor: &Executor| fields.map(|field| shown(executor, "Customer", "ann", field));
    let before = all(&executor);
    assert_eq!(before[0], "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]");
    let write = update(&executor, "Order", "o3", &[("parts", Value::Int(0))]);
    commit(&mut executor, vec![write]);
    assert_eq!(all(&executor), ["#div0", "#div0", "#div0"]);
    agree(&executor);
    // A change of another member while the error stands.
    let write = update(&executor, "Order", "o4", &[("amount", Value::Int(70))]);
    commit(&mut executor, vec![write]);
    assert_eq!(all(&executor), ["#div0", "#div0", "#div0"]);
    let writes = vec![
        update(&executor, "Order", "o3", &[("parts", Value::Int(10))]),
        update(&executor, "Order", "o4", &[("amount", Value::Int(40))]),
    ];
    commit(&mut executor, writes);
    assert_eq!(all(&executor), before);
    agree(&executor);
}

const RANKS: &str = "
type Group in groups {
  total := sum(self.members.n)
  mean := average(self.members.n)
  number := count(self.members)
  greatest := max(self.members.n)
  three := top(3, self.members.n)
  middle := median(self.members.n)
  high := percentile(self.members.n, 99.5)
  few := distinct(self.members.kind)
  by_kind := group(self.members, by: kind, median(n))
  members: inverse Member.group
}
type Member in members { group: link Group, n: int, kind: int }
";

/// A number that looks like chance, the same each time.
fn scattered(n: u64) -> i64 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64
}

fn member(executor: &Executor, n: u64) -> Write {
    let given = [
        ("group", Value::Ref(Id::parse("g").unwrap())),
        ("n", Value::Int(scattered(n))),
        ("kind", Value::Int(scattered(n) % 5)),
    ];
    create(executor, "Member", &format!("m{n}"), &given)
}

fn with_members(schema: &str, members: u64) -> Executor {
    let mut executor = executor(schema);
    let group = create(&executor, "Group", "g", &[]);
    commit(&mut executor, vec![group]);
    let all: Vec<u64> = (0..members).collect();
    for some in all.chunks(10_000) {
        let writes = some.iter().map(|n| member(&executor, *n)).collect();
        commit(&mut executor, writes);
    }
    executor
}

/// Counts above the elements have levels from some hundreds on: they have to be what a new building gives, whatever
/// came and went, in large steps and in small ones.
#[test]
fn ranks_are_right_in_large_groups_that_grow_and_shrink() {
    let mut executor = with_members(RANKS, 3_000);
    agree(&executor);
    for n in (0..3_000).step_by(37) {
        let write = update(&executor, "Member", &format!("m{n}"), &[("n", Value::Int(scattered(n + 7)))]);
        commit(&mut executor, vec![write]);
    }
    agree(&executor);
    let gone: Vec<Write> = (0..3_000)
        .filter(|n| n % 9 != 0)
        .map(|n| Write::Delete(key(&executor, "Member", &format!("m{n}"))))
        .collect();
    commit(&mut executor, gone);
    agree(&executor);
    for n in (0..3_000).step_by(9) {
        let gone = Write::Delete(key(&executor, "Member", &format!("m{n}")));
        commit(&mut executor, vec![gone]);
        if n % 60 == 0 {
            agree(&executor);
        }
    }
    assert_eq!(shown(&executor, "Group", "g", "middle"), "null");
    assert_eq!(shown(&executor, "Group", "g", "by_kind"), "{}");
    agree(&executor);
}
