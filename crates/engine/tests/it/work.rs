//! What a change of one member costs, as its group grows: nothing more, or a few rows for each time that the group is
//! a thousand times as large.

use std::time::Instant;

use crate::common::*;
use corollary_engine::propagate::Work;
use corollary_value::Value;

/// What a change of one member's number takes, in a group of so many.
fn of_one_change(derived: &str, members: u64) -> Work {
    let db = large::group(derived, members);
    let work =
        commit(&db, vec![update(&db, "Member", "m7", &[("n", Value::Int(large::scattered(3) + 1))])]).work;
    if members <= 1_000 {
        agree(&db);
    }
    let again = commit(&db, vec![update(&db, "Member", "m7", &[("n", Value::Int(large::scattered(3) + 1))])]);
    assert_eq!((again.work.evaluations, again.work.rows_written), (0, 0), "a write that changes nothing");
    work
}

#[test]
fn sums_cost_the_same_in_groups_of_any_size() {
    let derived = "
        total := sum(self.members.n)
        mean := average(self.members[kind < 3].n)
        even := count(self.members[n % 2 = 0])
        by_kind := group(self.members, by: kind, sum(n))";
    let small = of_one_change(derived, 10);
    assert_eq!(small.evaluations, 4);
    for members in [1_000, 20_000] {
        let work = of_one_change(derived, members);
        assert_eq!((work.evaluations, work.rows_written), (small.evaluations, small.rows_written));
        assert!(work.rows_read <= small.rows_read, "{work:?} and {small:?}");
    }
}

const ORDERED: &str = "
    greatest := max(self.members.n)
    three := top(3, self.members.n)
    middle := median(self.members.n)
    high := percentile(self.members[kind < 3].n, 99)";

/// Each level of counts has 32 times as many elements below it as the one before, and about half of a stretch of 32 is
/// read at each, for each of the two that look at ranks; and a few rows once.
fn most_rows_read(members: u64) -> u64 {
    let levels = u64::from(members.ilog2() / 5);
    20 + levels * 2 * 32
}

#[test]
fn ordered_groups_cost_no_more_than_the_logarithm() {
    let small = of_one_change(ORDERED, 10);
    for members in [10, 1_000, 100_000] {
        let work = of_one_change(ORDERED, members);
        assert_eq!(work.evaluations, 4);
        assert!(work.rows_read <= most_rows_read(members), "{members}: {work:?}");
        assert!(work.rows_written <= small.rows_written + 12, "{members}: {work:?}");
    }
}

#[test]
#[ignore = "takes minutes where the code is not optimised: `cargo xtask long`"]
fn ordered_groups_of_a_million_cost_no_more_than_the_logarithm() {
    let begin = Instant::now();
    let work = of_one_change(ORDERED, 1_000_000);
    println!("a change of one of 1,000,000: {work:?}; all of it in {:.1?}", begin.elapsed());
    assert!(work.rows_read <= most_rows_read(1_000_000), "{work:?}");
}
