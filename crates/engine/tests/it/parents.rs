//! What is owned has a parent: where its type has no root collection nothing comes to be, or stays, without one.

use crate::common::*;
use crate::moves::moved;
use corollary_value::Value;

const HELD: &str = "
type House in houses { rooms: ordered collection Room, notes: collection Note, size := count(self.rooms) }
type Ship in ships { rooms: collection Room, crates: collection Crate }
type Room { n: int, owner: link House on delete cascade }
type Note { n: int }
type Crate in crates { n: int }
type Loose { n: int }
";

fn held() -> Db {
    let db = fresh(HELD);
    commit(&db, vec![create(&db, "House", "h", &[]), create(&db, "Ship", "s", &[])]);
    db
}

/// The engine took a child that named no parent: it stood in no collection, and no path led to it. Only HTTP and the
/// tables for SQL refused it, each for itself.
#[test]
fn a_child_without_a_parent_is_refused() {
    let db = held();
    let told =
        refused(&db, vec![create(&db, "House", "i", &[]), create(&db, "Note", "n", &[("n", Value::Int(1))])]);
    assert_eq!(codes(&told), ["parent parent_house_notes"]);
    assert_eq!(told[0].write, Some(1));
    assert_eq!(told[0].message, "Note n is owned, and needs a parent: `parent_house_notes`");
    assert!(doc(&db, "House", "i").is_none(), "the transaction is refused as a whole");
    let null = [("parent_house_notes", Value::Null)];
    assert_eq!(codes(&refused(&db, vec![create(&db, "Note", "n", &null)])), ["null parent_house_notes"]);
    // Of several that may hold it one has to, and one alone.
    let told = refused(&db, vec![create(&db, "Room", "r", &[])]);
    assert_eq!(codes(&told), ["parent"]);
    let message = "Room r is owned, and needs a parent: `parent_house_rooms` or `parent_ship_rooms`";
    assert_eq!(told[0].message, message);
    let both = [("parent_house_rooms", reference("h")), ("parent_ship_rooms", reference("s"))];
    assert_eq!(
        codes(&refused(&db, vec![create(&db, "Room", "r", &both)])),
        ["two-parents parent_ship_rooms"]
    );
    commit(&db, vec![create(&db, "Room", "r", &both[1..])]);
    // What a root collection lists too, and what no collection holds, need none.
    commit(&db, vec![create(&db, "Crate", "c", &[]), create(&db, "Loose", "l", &[])]);
    agree(&db);
}

#[test]
fn a_parent_is_asked_for_behind_all_writes_of_a_transaction() {
    let db = held();
    let under = |house: &str| [("parent_house_rooms", reference(house))];
    commit(&db, vec![create(&db, "Room", "r", &under("h"))]);
    // Out, and in again elsewhere.
    let ship = Some(("parent_ship_rooms", "s"));
    commit(&db, vec![moved(&db, "Room", "r", None), moved(&db, "Room", "r", ship)]);
    assert_eq!(get(&db, "House", "h", "size"), Value::Int(0));
    assert_eq!(
        codes(&refused(&db, vec![moved(&db, "Room", "r", ship), moved(&db, "Room", "r", None)])),
        ["parent"]
    );
    // In the place of one that has a parent.
    let anew =
        |values: &[(&'static str, Value)]| vec![delete(&db, "Room", "r"), create(&db, "Room", "r", values)];
    assert_eq!(codes(&refused(&db, anew(&[("n", Value::Int(2))]))), ["parent"]);
    commit(&db, anew(&under("h")));
    // A parent that goes takes it along, whatever else is done to it before.
    let owner = [("owner", reference("h"))];
    commit(&db, vec![update(&db, "Room", "r", &owner), delete(&db, "House", "h")]);
    assert!(doc(&db, "Room", "r").is_none());
    // It cannot be there instead.
    let told = refused(
        &db,
        vec![
            create(&db, "Room", "q", &[("parent_ship_rooms", reference("s"))]),
            delete(&db, "Ship", "s"),
            create(&db, "Room", "q", &[]),
        ],
    );
    assert_eq!(codes(&told), ["parent"]);
    agree(&db);
}

/// A resource of before there was a collection for it can still be written, moved in, and deleted.
#[test]
fn what_has_had_no_parent_may_stay_without() {
    let store = memory();
    let db = opened(&store, "type House in houses { n: int } type Note { n: int }");
    let notes = ["l", "m", "n"].map(|id| create(&db, "Note", id, &[]));
    commit(&db, [vec![create(&db, "House", "h", &[])], notes.to_vec()].concat());
    drop(db);
    let db = opened(&store, "type House in houses { n: int, notes: collection Note } type Note { n: int }");
    commit(&db, vec![update(&db, "Note", "n", &[("n", Value::Int(1))])]);
    commit(&db, vec![moved(&db, "Note", "m", Some(("parent_house_notes", "h")))]);
    assert_eq!(codes(&refused(&db, vec![moved(&db, "Note", "m", None)])), ["parent parent_house_notes"]);
    commit(&db, vec![delete(&db, "Note", "n"), delete(&db, "House", "h")]);
    assert!(doc(&db, "Note", "m").is_none() && doc(&db, "Note", "l").is_some());
    agree(&db);
}
