//! What holds among the children of one parent: values that are unique there.

use crate::common::*;
use corollary_engine::Transaction;
use corollary_engine::catalog::OpenError;
use corollary_value::Value;

const SHELVES: &str = r#"
type Shelf in shelves {
  books: collection Book
  spare: collection Book
}
type Book in books {
  name: str unique in parent
  rank: int unique in parent
  owner: link Shelf unique in parent
}
"#;

fn in_books(shelf: &str, name: &str) -> Vec<(&'static str, Value)> {
    vec![("parent_shelf_books", reference(shelf)), ("name", text(name))]
}

fn shelves() -> Db {
    let db = fresh(SHELVES);
    commit(&db, ["s", "t"].iter().map(|id| create(&db, "Shelf", id, &[])).collect());
    db
}

#[test]
fn a_value_is_unique_among_the_children_of_one_parent_through_one_collection() {
    let db = shelves();
    commit(&db, vec![create(&db, "Book", "a", &in_books("s", "x"))]);
    let taken = refused(&db, vec![create(&db, "Book", "b", &in_books("s", "x"))]);
    assert_eq!(codes(&taken), ["unique name"]);
    assert_eq!(taken[0].message, "Book a, under the same parent, has the name x already");
    assert_eq!(taken[0].write, Some(0));
    // Another parent, another collection of the same parent, no parent at all: these are no siblings.
    let spare = [("parent_shelf_spare", reference("s")), ("name", text("x"))];
    commit(
        &db,
        vec![
            create(&db, "Book", "c", &in_books("t", "x")),
            create(&db, "Book", "d", &spare),
            create(&db, "Book", "e", &[("name", text("x"))]),
            create(&db, "Book", "f", &[("name", text("x"))]),
        ],
    );
    // No value is no conflict.
    commit(
        &db,
        vec![create(&db, "Book", "g", &in_books("s", "y")), create(&db, "Book", "h", &in_books("s", "z"))],
    );
    let owners = [("owner", reference("t"))];
    commit(&db, vec![update(&db, "Book", "g", &owners)]);
    assert_eq!(codes(&refused(&db, vec![update(&db, "Book", "h", &owners)])), ["unique owner"]);
    assert_eq!(codes(&refused(&db, vec![update(&db, "Book", "h", &[("name", text("x"))])])), ["unique name"]);
    agree(&db);
}

#[test]
fn siblings_may_swap_values_and_take_over_what_is_set_free() {
    let db = shelves();
    commit(
        &db,
        vec![create(&db, "Book", "a", &in_books("s", "x")), create(&db, "Book", "b", &in_books("s", "y"))],
    );
    let swap = |a: &str, b: &str| {
        vec![update(&db, "Book", "a", &[("name", text(a))]), update(&db, "Book", "b", &[("name", text(b))])]
    };
    commit(&db, swap("y", "x"));
    assert_eq!(codes(&refused(&db, swap("z", "z"))), ["unique name", "unique name"]);
    commit(&db, vec![delete(&db, "Book", "a"), create(&db, "Book", "c", &in_books("s", "y"))]);
    // Deleted and made anew under the other parent: what it had is free here, and taken there.
    commit(&db, vec![delete(&db, "Book", "c"), create(&db, "Book", "c", &in_books("t", "y"))]);
    commit(&db, vec![create(&db, "Book", "a", &in_books("s", "y"))]);
    assert_eq!(codes(&refused(&db, vec![create(&db, "Book", "d", &in_books("t", "y"))])), ["unique name"]);
    commit(&db, vec![delete(&db, "Shelf", "s")]);
    commit(&db, vec![create(&db, "Shelf", "s", &[]), create(&db, "Book", "a", &in_books("s", "y"))]);
    agree(&db);
}

#[test]
fn of_the_transactions_of_one_group_the_first_gets_the_value() {
    let db = shelves();
    let one = |id: &str| Transaction { writes: vec![create(&db, "Book", id, &in_books("s", "x"))] };
    let outcomes = db.commit(&[one("a"), one("b"), one("c")], NOW).unwrap();
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    agree(&db);
}

#[test]
fn it_is_built_over_existing_data_or_refused_with_the_duplicates() {
    let store = memory();
    let plain = SHELVES.replace(" unique in parent", "");
    let db = opened(&store, &plain);
    commit(&db, vec![create(&db, "Shelf", "s", &[])]);
    commit(
        &db,
        vec![
            create(&db, "Book", "a", &in_books("s", "x")),
            create(&db, "Book", "b", &in_books("s", "x")),
            create(&db, "Book", "c", &[("name", text("x"))]),
        ],
    );
    drop(db);
    match try_open(&store, SHELVES) {
        Err(OpenError::Refused(reasons)) => {
            assert_eq!(reasons, ["Book.name is to be unique in its parent, and a and b both have x"]);
        }
        other => panic!("{:?}", other.map(drop)),
    }
    let db = opened(&store, &plain);
    commit(&db, vec![update(&db, "Book", "b", &[("name", text("y"))])]);
    drop(db);
    let db = opened(&store, SHELVES);
    agree(&db);
    assert_eq!(codes(&refused(&db, vec![update(&db, "Book", "b", &[("name", text("x"))])])), ["unique name"]);
    commit(&db, vec![update(&db, "Book", "c", &[("name", text("y"))])]);
    drop(db);
    // Gone again, its rows go as well; and come back.
    agree(&opened(&store, &plain));
    agree(&opened(&store, SHELVES));
}
