//! Moves to other parents: what follows from a parent goes along, and what must hold of parents goes on to hold.

use corollary_engine::write::MAX_PARENTS;
use corollary_engine::{Destination, Write};
use corollary_value::Value;

use crate::common::*;

const NAMED: &str = "
  type House in houses { rooms: collection Room, guests := count(self.rooms.beds), names := self.rooms.name }
  type Room { name: str unique in parent, beds: collection Bed }
  type Bed { of := self.parent_room_beds.name }";

pub fn moved(db: &Db, ty: &str, name: &str, under: Option<(&str, &str)>) -> Write {
    let under = under.map(|(field, parent)| (slot(db, ty, field), id(parent)));
    Write::Move(key(db, ty, name), Destination { under, at: None })
}

/// What is unique among siblings has to be so among new ones; a name is no id of a new neighbour, nor an id its name.
#[test]
fn names_fit_in_with_new_siblings() {
    let db = fresh(
        &NAMED
            .replace("type Room {", "type Room path name {")
            .replace("unique in parent", "required, unique in parent"),
    );
    let room = |room: &str, house: &str, name: &str| {
        create(&db, "Room", room, &[("name", text(name)), ("parent_house_rooms", reference(house))])
    };
    commit(&db, vec![create(&db, "House", "h", &[]), create(&db, "House", "g", &[])]);
    commit(
        &db,
        vec![
            room("r1", "h", "red"),
            room("r2", "g", "red"),
            room("r3", "g", "blue"),
            room("r4", "g", "r1"),
            room("blue", "h", "x"),
        ],
    );
    let to = |room: &str, house: &str| vec![moved(&db, "Room", room, Some(("parent_house_rooms", house)))];
    assert_eq!(codes(&refused(&db, to("r2", "h"))), ["unique name"], "there is a red one");
    assert_eq!(codes(&refused(&db, to("r4", "h"))), ["unique name"], "its name is the id of another");
    assert_eq!(codes(&refused(&db, to("blue", "g"))), ["unique _id"], "its id is the name of another");
    commit(&db, vec![update(&db, "Room", "r1", &[("name", text("green"))])]);
    commit(&db, to("r2", "h"));
    assert_eq!(get(&db, "House", "g", "names"), list([text("blue"), text("r1")]));
    agree(&db);
}

#[test]
fn what_stands_below_comes_along() {
    let db = fresh(NAMED);
    let at = |parent: &str, field: &'static str| [(field, reference(parent))];
    commit(&db, vec![create(&db, "House", "h", &[]), create(&db, "House", "g", &[])]);
    commit(&db, vec![create(&db, "Room", "r", &at("h", "parent_house_rooms"))]);
    commit(&db, vec![create(&db, "Bed", "b", &at("r", "parent_room_beds"))]);
    let before = doc(&db, "Bed", "b").unwrap().revision;
    commit(&db, vec![moved(&db, "Room", "r", Some(("parent_house_rooms", "g")))]);
    assert_eq!(
        (get(&db, "House", "h", "guests"), get(&db, "House", "g", "guests")),
        (Value::Int(0), Value::Int(1))
    );
    assert_eq!(doc(&db, "Bed", "b").unwrap().revision, before, "nothing of it has changed");
    // Where it is already: no commit. What is owned has no place without a parent.
    assert!(commit(&db, vec![moved(&db, "Room", "r", Some(("parent_house_rooms", "g")))]).commit.is_none());
    assert_eq!(codes(&refused(&db, vec![moved(&db, "Room", "r", None)])), ["parent parent_house_rooms"]);
    assert_eq!(codes(&refused(&db, vec![moved(&db, "Room", "r", Some(("name", "g")))])), ["move"]);
    assert_eq!(
        codes(&refused(&db, vec![moved(&db, "Room", "r", Some(("parent_house_rooms", "x")))])),
        ["not-found"]
    );
    agree(&db);
}

/// What moves may have no more parents than what is created; what it brings along stays readable, however deep, and can be
/// changed, also by a transaction that deletes something.
#[test]
fn a_deep_tree_may_come_along() {
    let db = fresh("type Folder in folders { sub: collection Folder, n: int }");
    let chain = |name: &str, last: usize| {
        let parent = |n: usize| ("parent_folder_sub", reference(&format!("{name}{n}")));
        let mut writes = vec![create(&db, "Folder", &format!("{name}0"), &[])];
        writes.extend((1..=last).map(|n| create(&db, "Folder", &format!("{name}{n}"), &[parent(n - 1)])));
        writes
    };
    commit(&db, chain("a", MAX_PARENTS));
    commit(&db, chain("b", 3));
    let under =
        |name: &str, parent: &str| vec![moved(&db, "Folder", name, Some(("parent_folder_sub", parent)))];
    let last = format!("a{MAX_PARENTS}");
    assert_eq!(codes(&refused(&db, under("b0", &last))), ["too-deep"]);
    assert_eq!(codes(&refused(&db, under("a0", &last))), ["move-cycle"]);
    commit(&db, under("b0", &format!("a{}", MAX_PARENTS - 1)));
    let deep = update(&db, "Folder", "b3", &[("n", Value::Int(1))]);
    commit(&db, vec![deep, delete(&db, "Folder", &last)]);
    assert_eq!(
        codes(&refused(&db, vec![create(&db, "Folder", "c", &[("parent_folder_sub", reference("b3"))])])),
        ["too-deep"]
    );
    agree(&db);
}
