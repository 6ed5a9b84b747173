//! Sums are exact: whatever came and went, the stored sum is what the members that are there give, to the last bit.

use crate::common::*;
use corollary_value::{ErrorValue, SumState, Value};

const SCHEMA: &str = "
    type Account in accounts {
      entries: inverse Entry.account
      floats := sum(self.entries.float)
      mean := average(self.entries.float)
      decimals := sum(self.entries.decimal)
      ints := sum(self.entries.int)
    }
    type Entry in entries { account: link Account, float: float, decimal: decimal, int: int }";

/// Numbers that look like chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 1e-300 to 1e300, of either sign.
    fn float(&mut self) -> f64 {
        let magnitude = 10f64.powi(self.below(601) as i32 - 300);
        let digits = 1.0 + self.below(1 << 52) as f64 / (1u64 << 52) as f64;
        let value = magnitude * digits;
        if self.below(2) == 0 { value } else { -value }
    }

    /// At most 18 digits, up to 9 of them behind the point.
    fn decimal(&mut self) -> Value {
        let (whole, scale) = (self.next() as i64 / 10, self.below(10) as usize);
        let digits = format!("{:0>19}", whole.unsigned_abs());
        let (left, right) = digits.split_at(digits.len() - scale);
        let sign = if whole < 0 { "-" } else { "" };
        let text = if scale == 0 { format!("{sign}{left}") } else { format!("{sign}{left}.{right}") };
        corollary_value::parse_as(corollary_value::BasicKind::Decimal, &text).unwrap()
    }
}

/// Inserts, updates and deletes at random, and compares the stored sums with new ones every so often.
fn exact(operations: u64) {
    /// Entries that may be there at once.
    const ENTRIES: u64 = 500;
    /// Operations in one transaction.
    const BATCH: u64 = 100;
    let db = fresh(SCHEMA);
    commit(&db, vec![create(&db, "Account", "a", &[])]);
    let mut chance = Chance(6);
    let mut there: Vec<Option<[Value; 3]>> = vec![None; ENTRIES as usize];
    for round in 0..operations / BATCH {
        let mut writes = Vec::new();
        for _ in 0..BATCH {
            let at = chance.below(ENTRIES);
            let name = format!("e{at}");
            let entry = &mut there[at as usize];
            if entry.is_some() && chance.below(3) == 0 {
                *entry = None;
                writes.push(delete(&db, "Entry", &name));
                continue;
            }
            let values =
                [Value::Float(chance.float()), chance.decimal(), Value::Int(chance.next() as i64 >> 12)];
            let mut given: Vec<(&str, Value)> =
                ["float", "decimal", "int"].into_iter().zip(values.clone()).collect();
            match entry.replace(values) {
                Some(_) => writes.push(update(&db, "Entry", &name, &given)),
                None => {
                    given.push(("account", reference("a")));
                    writes.push(create(&db, "Entry", &name, &given));
                }
            }
        }
        commit(&db, writes);
        let sum = |which: usize| {
            let mut state = SumState::default();
            // From the last to the first: the order is of no account.
            there.iter().rev().flatten().for_each(|values| state.add(&values[which]));
            state
        };
        if round % 10 == 0 {
            assert_eq!(get(&db, "Account", "a", "floats"), sum(0).sum(&Value::Float(0.0)), "round {round}");
            assert_eq!(get(&db, "Account", "a", "mean"), sum(0).average(), "round {round}");
            assert_eq!(get(&db, "Account", "a", "decimals"), sum(1).sum(&Value::Int(0)), "round {round}");
            assert_eq!(get(&db, "Account", "a", "ints"), sum(2).sum(&Value::Int(0)), "round {round}");
        }
    }
    // What is stored is the same bit for bit, and so is the state that it is taken from.
    agree(&db);
}

#[test]
fn sums_are_exact_after_many_changes() {
    exact(100_000);
}

#[test]
#[ignore = "takes minutes where the code is not optimised: `cargo xtask long`"]
fn sums_are_exact_after_a_million_changes() {
    exact(1_000_000);
}

#[test]
fn a_sum_too_large_for_an_int_is_an_error_and_heals() {
    let db = fresh(SCHEMA);
    commit(&db, vec![create(&db, "Account", "a", &[])]);
    let entry = |name: &str, value: i64| {
        create(&db, "Entry", name, &[("account", reference("a")), ("int", Value::Int(value))])
    };
    let writes = vec![entry("e1", i64::MAX), entry("e2", 5), entry("e3", -3)];
    commit(&db, writes);
    assert_eq!(get(&db, "Account", "a", "ints"), Value::Error(ErrorValue::Overflow));
    let writes = vec![delete(&db, "Entry", "e2")];
    commit(&db, writes);
    assert_eq!(get(&db, "Account", "a", "ints"), Value::Int(i64::MAX - 3));
    agree(&db);
}
