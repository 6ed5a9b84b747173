//! One group of any size.

use super::*;

/// A number that looks like chance, the same each time.
pub fn scattered(n: u64) -> i64 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i64
}

fn member(db: &Db, n: u64) -> Write {
    let number = scattered(n);
    let given = [("group", reference("g")), ("n", Value::Int(number)), ("kind", Value::Int(number % 5))];
    create(db, "Member", &format!("m{n}"), &given)
}

/// The group `g` with so many members `m0`, `m1`, …, and derived fields of the group.
pub fn group(derived: &str, members: u64) -> Db {
    /// Members in one transaction.
    const BATCH: usize = 10_000;
    let db = fresh(&format!(
        "type Group in groups {{ members: inverse Member.group\n{derived} }}
         type Member in members {{ group: link Group, n: int, kind: int }}"
    ));
    commit(&db, vec![create(&db, "Group", "g", &[])]);
    let all: Vec<u64> = (0..members).collect();
    for some in all.chunks(BATCH) {
        commit(&db, some.iter().map(|n| member(&db, *n)).collect());
    }
    db
}
