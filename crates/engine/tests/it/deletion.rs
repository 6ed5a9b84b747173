//! What goes with a resource that is deleted, what stands in the way, and what may take its place.

use crate::common::*;
use corollary_engine::Edit;
use corollary_value::Value;

const HOUSES: &str = "
type House in houses { rooms: collection Room, keeper: link Person, n := count(self.rooms), chairs := sum(self.rooms.chairs.weight) }
type Room { chairs: collection Chair, owner: link Person on delete restrict, n := count(self.chairs) }
type Chair { weight: int, likes: link Person required, twin: link Chair on delete cascade }
type Person in people { friend: link Person on delete cascade, boss: link Person required on delete cascade, fans: links Person, homes := count(self.link_house_keeper), rooms := count(self.link_room_owner) }
type Pet in pets { master: link Person required, guard: links Person on delete restrict, heir: links Person on delete cascade }
";

fn house() -> Db {
    let db = fresh(HOUSES);
    let boss = |name: &str| vec![("boss", reference(name))];
    let child = |field: &'static str, parent: &str| vec![(field, reference(parent))];
    let chair = |room: &str, likes: &str, weight| {
        let mut values = child("parent_room_chairs", room);
        values.extend([("likes", reference(likes)), ("weight", Value::Int(weight))]);
        values
    };
    let writes = vec![
        create(&db, "Person", "p", &boss("p")),
        create(&db, "Person", "q", &boss("q")),
        create(&db, "House", "h", &[("keeper", reference("p"))]),
        create(&db, "Room", "r", &child("parent_house_rooms", "h")),
        create(&db, "Chair", "c", &chair("r", "q", 1)),
        create(&db, "Chair", "d", &chair("r", "q", 2)),
    ];
    commit(&db, writes);
    agree(&db);
    db
}

#[test]
fn children_go_with_their_parent() {
    let db = house();
    let done = commit(&db, vec![delete(&db, "House", "h")]);
    assert_eq!(done.results.len(), 1);
    assert!(done.results[0].is_none());
    for (ty, name) in [("House", "h"), ("Room", "r"), ("Chair", "c"), ("Chair", "d")] {
        assert!(doc(&db, ty, name).is_none(), "{ty} {name}");
    }
    assert_eq!(get(&db, "Person", "p", "homes"), Value::Int(0));
    agree(&db);
    let db = house();
    commit(&db, vec![delete(&db, "Chair", "c")]);
    assert_eq!(get(&db, "House", "h", "chairs"), Value::Int(2));
    agree(&db);
}

#[test]
fn links_to_what_is_deleted_do_as_they_declare() {
    let db = house();
    // Unlinked, and a cycle of one.
    commit(&db, vec![delete(&db, "Person", "p")]);
    assert_eq!(get(&db, "House", "h", "keeper"), Value::Absent);
    agree(&db);
    // A required link stands in the way.
    let found = refused(&db, vec![delete(&db, "Person", "q")]);
    assert_eq!(codes(&found), ["restrict likes"]);
    // Unless what links is deleted with it, by a cascade or by the transaction itself.
    commit(&db, vec![delete(&db, "House", "h"), delete(&db, "Person", "q")]);
    agree(&db);
}

#[test]
fn a_cascade_goes_through_cycles_and_is_undone_as_a_whole() {
    let db = house();
    let person = |friend: &str| vec![("boss", reference("p")), ("friend", reference(friend))];
    let writes = vec![
        create(&db, "Person", "x", &person("y")),
        create(&db, "Person", "y", &person("z")),
        create(&db, "Person", "z", &person("x")),
        create(&db, "Person", "w", &[("boss", reference("z")), ("fans", references(&["x", "p"]))]),
        create(&db, "Pet", "dog", &[("master", reference("p")), ("guard", references(&["w", "q"]))]),
        create(&db, "Pet", "cat", &[("master", reference("p")), ("heir", references(&["y", "q"]))]),
    ];
    commit(&db, writes);
    let found = refused(&db, vec![delete(&db, "Person", "x")]);
    assert_eq!(codes(&found), ["restrict guard"]);
    assert!(doc(&db, "Pet", "cat").is_some());
    commit(&db, vec![edit(&db, "Pet", "dog", &[("guard", Edit::Unlink(id("w")))])]);
    let done = commit(&db, vec![delete(&db, "Person", "x")]);
    let gone = done.commit.unwrap().changes.iter().filter(|change| change.after.is_none()).count();
    assert_eq!(gone, 5, "x, y, z, w and the cat");
    agree(&db);
}

#[test]
fn several_targets_of_one_list_may_go_at_once() {
    let db = house();
    let person = |friend: &str| vec![("boss", reference("p")), ("friend", reference(friend))];
    let writes = vec![
        create(&db, "Person", "x", &person("y")),
        create(&db, "Person", "y", &person("x")),
        update(&db, "Person", "q", &[("fans", references(&["x", "p", "y"]))]),
    ];
    commit(&db, writes);
    commit(&db, vec![delete(&db, "Person", "y")]);
    assert_eq!(get(&db, "Person", "q", "fans"), references(&["p"]));
    agree(&db);
}

/// Deleted and created anew in one transaction, a resource began with empty groups, and the members that had left it
/// were then taken out of them: counts went below zero.
#[test]
fn groups_of_a_resource_that_is_created_anew_are_right() {
    let schema = "
    type Team in teams { n := count(self.link_person_team), total := sum(self.link_person_team.age), mean := average(self.link_person_team.age), oldest := max(self.link_person_team.age), share := count(self.link_person_team[age > 1]) * 2, all := self.link_person_team[age > 1], first := first(self.link_person_team[order by age]), first_age := self.first.age, name: str }
    type Person in people { team: link Team, age: int, total := self.team.total }";
    for again in [false, true] {
        let db = fresh(schema);
        let person = |n: i64| vec![("team", reference("t")), ("age", Value::Int(n))];
        let writes = vec![
            create(&db, "Team", "t", &[("name", text("old"))]),
            create(&db, "Person", "a", &person(1)),
            create(&db, "Person", "b", &person(2)),
            create(&db, "Person", "c", &person(3)),
        ];
        commit(&db, writes);
        let mut writes = vec![delete(&db, "Team", "t"), create(&db, "Team", "t", &[])];
        if again {
            writes.push(update(&db, "Person", "a", &[("team", reference("t"))]));
            writes.push(create(&db, "Person", "d", &person(9)));
        }
        commit(&db, writes);
        assert_eq!(get(&db, "Team", "t", "name"), Value::Absent);
        assert_eq!(get(&db, "Team", "t", "n"), Value::Int(if again { 2 } else { 0 }));
        agree(&db);
        commit(&db, vec![update(&db, "Person", "b", &person(7))]);
        agree(&db);
    }
}

/// A link that a deletion had emptied could be set again to the deleted target by the same transaction: its value was
/// what it had been before, so nobody looked whether the target was there.
#[test]
fn a_link_to_what_the_same_transaction_deleted_is_refused() {
    let db = house();
    let writes = vec![delete(&db, "Person", "p"), update(&db, "House", "h", &[("keeper", reference("p"))])];
    assert_eq!(codes(&refused(&db, writes)), ["link keeper"]);
}
