//! What a write may do: the rules of values, and what a refusal says.

use crate::common::*;
use corollary_engine::rules::MAX_VALUE_DEPTH;
use corollary_engine::write::MAX_PARENTS;
use corollary_engine::{Edit, EngineError, Transaction, Write};
use corollary_value::Value;
use jiff::Timestamp;

const PEOPLE: &str = r#"
type Person in people {
  name: str required, min_length 2, max_length 6
  nick: str nullable
  code: str required nullable
  age: int, min 0, max 150
  score: float
  level: "low" | "high" default "low"
  plate: str pattern "^[A-Z]+[0-9]+$"
  mail: str unique, normalize (trim, lower)
  born: date immutable
  token: str, write once
  created: datetime default now()
  tags: set<int>
  notes: [str], max_length 2
  address: { street: str, city: str required, min_length 2, zip: { code: int required, max 99 } }
  friends: links Person
  extra: map<int>
  doubled := self.age * 2
  friend_ages := sum(self.friends.age)
  fans := count(self.link_person_friends)
}
"#;

fn ada() -> Vec<(&'static str, Value)> {
    vec![("name", text("ada")), ("code", text("c"))]
}

fn with(more: &[(&'static str, Value)]) -> Vec<(&'static str, Value)> {
    let mut all = ada();
    all.extend_from_slice(more);
    all
}

#[test]
fn a_new_resource_has_its_defaults_and_its_values_in_their_canonical_form() {
    let db = fresh(PEOPLE);
    let at: Timestamp = "2024-05-06T07:08:09Z".parse().unwrap();
    let tags = list([3, 1, 3, 2].map(Value::Int));
    let given = with(&[("tags", tags), ("mail", text("  Ada@X.org ")), ("friends", references(&["a", "a"]))]);
    let create = Transaction { writes: vec![create(&db, "Person", "a", &given)] };
    db.commit(&[create], at).unwrap().remove(0).unwrap();
    assert_eq!(get(&db, "Person", "a", "level"), text("low"));
    assert_eq!(get(&db, "Person", "a", "created"), Value::Datetime(at));
    assert_eq!(get(&db, "Person", "a", "tags"), list([1, 2, 3].map(Value::Int)));
    assert_eq!(get(&db, "Person", "a", "mail"), text("ada@x.org"));
    assert_eq!(get(&db, "Person", "a", "friends"), references(&["a"]));
    assert_eq!(get(&db, "Person", "a", "fans"), Value::Int(1));
    assert_eq!(get(&db, "Person", "a", "nick"), Value::Absent);
    agree(&db);
}

#[test]
fn all_that_is_wrong_with_a_write_is_told_at_once() {
    let db = fresh(PEOPLE);
    let zip = object(&[("code", Value::Int(100)), ("more", Value::Int(1))]);
    let bad = [
        ("name", text("x")),
        ("nick", Value::Int(1)),
        ("age", Value::Int(-1)),
        ("score", Value::Float(f64::NAN)),
        ("level", text("middle")),
        ("plate", text("x1")),
        ("tags", list([Value::Int(1), text("two")])),
        ("notes", list(["a", "b", "c"].map(text))),
        ("address", object(&[("street", Value::Null), ("zip", zip)])),
        ("friends", list([text("a")])),
        ("extra", object(&[("k", text("v"))])),
        ("doubled", Value::Int(4)),
        ("fans", Value::Int(4)),
    ];
    let refusals = refused(&db, vec![create(&db, "Person", "a", &bad)]);
    let expected = [
        "enum level",
        "max address/zip/code",
        "max_length notes",
        "min age",
        "min_length name",
        "null address/street",
        "pattern plate",
        "read-only doubled",
        "read-only fans",
        "required address/city",
        "required code",
        "type extra/k",
        "type friends",
        "type nick",
        "type score",
        "type tags/1",
        "unknown-field address/zip/more",
    ];
    // The position of a member of a set is that of the canonical order, in which numbers come first.
    assert_eq!(codes(&refusals), expected);
    assert!(refusals.iter().all(|refusal| refusal.write == Some(0)), "{refusals:?}");
    assert!(doc(&db, "Person", "a").is_none());
}

#[test]
fn required_and_nullable_are_told_apart() {
    let db = fresh(PEOPLE);
    let missing = refused(&db, vec![create(&db, "Person", "a", &[])]);
    assert_eq!(codes(&missing), ["required code", "required name"]);
    let null = [("name", Value::Null), ("code", Value::Null), ("nick", Value::Null), ("age", Value::Null)];
    let null = refused(&db, vec![create(&db, "Person", "a", &null)]);
    assert_eq!(codes(&null), ["null age", "required name"]);
    let null = [("name", text("ada")), ("code", Value::Null), ("nick", Value::Null)];
    commit(&db, vec![create(&db, "Person", "a", &null)]);
    assert_eq!(get(&db, "Person", "a", "code"), Value::Null);
    assert_eq!(get(&db, "Person", "a", "nick"), Value::Null);
    commit(&db, vec![update(&db, "Person", "a", &[("nick", Value::Absent)])]);
    assert_eq!(get(&db, "Person", "a", "nick"), Value::Absent);
}

/// A field that is required and may be null could be taken away altogether, although a new resource needs it.
#[test]
fn a_required_nullable_value_cannot_be_taken_away() {
    let db = fresh(PEOPLE);
    commit(&db, vec![create(&db, "Person", "a", &ada())]);
    let taken = refused(&db, vec![update(&db, "Person", "a", &[("code", Value::Absent)])]);
    assert_eq!(codes(&taken), ["required code"]);
    let left_out = refused(&db, vec![replace(&db, "Person", "a", &[("name", text("ada"))])]);
    assert_eq!(codes(&left_out), ["required code"]);
}

/// Setting a derived field to nothing passed as the removal of a fact: the value was gone and did not come back.
#[test]
fn a_derived_field_cannot_be_taken_away() {
    let db = fresh(PEOPLE);
    commit(&db, vec![create(&db, "Person", "a", &with(&[("age", Value::Int(3))]))]);
    for field in ["doubled", "fans", "friend_ages"] {
        for nothing in [Value::Absent, Value::Null] {
            let found = refused(&db, vec![update(&db, "Person", "a", &[(field, nothing.clone())])]);
            assert_eq!(codes(&found), [format!("read-only {field}")]);
            let given = with(&[(field, nothing)]);
            let found = refused(&db, vec![create(&db, "Person", "b", &given)]);
            assert_eq!(codes(&found), [format!("read-only {field}")]);
        }
    }
    assert_eq!(get(&db, "Person", "a", "doubled"), Value::Int(6));
}

#[test]
fn a_write_that_says_what_is_there_already_is_no_change() {
    let db = fresh(PEOPLE);
    commit(&db, vec![create(&db, "Person", "a", &with(&[("mail", text("a@b")), ("age", Value::Int(3))]))]);
    let revision = db.engine().revision();
    let same = [("mail", text(" A@B")), ("age", Value::Int(3)), ("doubled", Value::Int(6))];
    let done = commit(&db, vec![update(&db, "Person", "a", &same)]);
    assert!(done.commit.is_none());
    let unlink = [("friends", Edit::Unlink(id("a")))];
    let done = commit(&db, vec![edit(&db, "Person", "a", &unlink)]);
    assert!(done.commit.is_none(), "a link that is not there was taken away: {:?}", done.commit);
    assert_eq!((done.revision, db.engine().revision()), (revision, revision));
}

#[test]
fn unique_values_may_be_swapped_and_set_free_within_a_transaction() {
    let db = fresh(PEOPLE);
    let person = |db: &_, name: &str, mail: &str| create(db, "Person", name, &with(&[("mail", text(mail))]));
    commit(&db, vec![person(&db, "a", "x"), person(&db, "b", "y")]);
    let mail = |db: &_, name: &str, mail: &str| update(db, "Person", name, &[("mail", text(mail))]);
    let taken = refused(&db, vec![mail(&db, "a", " Y ")]);
    assert_eq!(codes(&taken), ["unique mail"]);
    assert_eq!(taken[0].write, Some(0));
    commit(&db, vec![mail(&db, "a", "y"), mail(&db, "b", "x")]);
    agree(&db);
    commit(&db, vec![delete(&db, "Person", "b"), person(&db, "c", "x")]);
    agree(&db);
    let twice = refused(&db, vec![person(&db, "d", "z"), person(&db, "e", "z")]);
    assert_eq!(codes(&twice), ["unique mail", "unique mail"]);
    let writes: Vec<Option<usize>> = twice.iter().map(|refusal| refusal.write).collect();
    assert_eq!(writes, [Some(0), Some(1)]);
    // Nothing is no value: any number may have none.
    commit(&db, vec![create(&db, "Person", "d", &ada()), create(&db, "Person", "e", &ada())]);
    agree(&db);
}

#[test]
fn a_refused_transaction_leaves_the_others_of_its_group_alone() {
    let db = fresh(PEOPLE);
    let person = |name: &str, mail: &str| create(&db, "Person", name, &with(&[("mail", text(mail))]));
    let group = [
        vec![person("a", "x")],
        vec![person("b", "y"), person("c", "x")],
        vec![person("b", "y"), update(&db, "Person", "a", &[("age", Value::Int(7))])],
        vec![person("a", "q")],
        vec![delete(&db, "Person", "a"), person("d", "x")],
    ]
    .map(|writes| Transaction { writes });
    let outcomes = db.commit(&group, NOW).unwrap();
    let revisions: Vec<Option<u64>> =
        outcomes.iter().map(|it| it.as_ref().ok().map(|it| it.revision)).collect();
    assert_eq!(revisions, [Some(1), None, Some(2), None, Some(3)]);
    assert_eq!(db.engine().revision(), 3);
    assert!(doc(&db, "Person", "c").is_none() && doc(&db, "Person", "a").is_none());
    agree(&db);
}

#[test]
fn what_was_written_once_stays() {
    let db = fresh(PEOPLE);
    let born = |day: &str| ("born", Value::Date(day.parse().unwrap()));
    commit(&db, vec![create(&db, "Person", "a", &with(&[born("2001-02-03")]))]);
    commit(&db, vec![create(&db, "Person", "b", &ada())]);
    for changed in [born("2001-02-04"), ("born", Value::Absent)] {
        let found = refused(&db, vec![update(&db, "Person", "a", &[changed])]);
        assert_eq!(codes(&found), ["immutable born"]);
    }
    let late = refused(&db, vec![update(&db, "Person", "b", &[born("2001-02-03")])]);
    assert_eq!(codes(&late), ["immutable born"]);
    commit(&db, vec![update(&db, "Person", "a", &[born("2001-02-03"), ("age", Value::Int(1))])]);
    commit(&db, vec![update(&db, "Person", "b", &[("token", text("t"))])]);
    for changed in [text("u"), Value::Absent] {
        let found = refused(&db, vec![update(&db, "Person", "b", &[("token", changed)])]);
        assert_eq!(codes(&found), ["write-once token"]);
    }
    // A type error does not hide it.
    let both = refused(&db, vec![update(&db, "Person", "b", &[("token", Value::Int(1))])]);
    assert_eq!(codes(&both), ["type token", "write-once token"]);
}

/// A resource that was deleted and created anew in one transaction was held to what the old one could not change.
#[test]
fn a_resource_that_takes_the_place_of_a_deleted_one_is_new() {
    let db = fresh(PEOPLE);
    let born = |day: &str| with(&[("born", Value::Date(day.parse().unwrap())), ("token", text(day))]);
    commit(&db, vec![create(&db, "Person", "a", &born("2001-02-03"))]);
    commit(&db, vec![delete(&db, "Person", "a"), create(&db, "Person", "a", &born("2001-02-04"))]);
    assert_eq!(get(&db, "Person", "a", "token"), text("2001-02-04"));
    agree(&db);
}

#[test]
fn what_was_stored_under_older_rules_may_stay() {
    let store = memory();
    let db = opened(&store, "type A in all { n: int, s: str, t: int, o: { m: str } }");
    let old = [("n", Value::Int(99)), ("s", text("Long One")), ("o", object(&[("m", text("x"))]))];
    commit(&db, vec![create(&db, "A", "a", &old), create(&db, "A", "b", &[])]);
    drop(db);
    let tight =
        "type A in all { n: int required, max 10, s: str max_length 3, t: int, o: { m: str min_length 2 } }";
    let db = opened(&store, tight);
    commit(&db, vec![update(&db, "A", "a", &[("t", Value::Int(1))])]);
    commit(&db, vec![update(&db, "A", "a", &[("n", Value::Int(99)), ("t", Value::Int(2))])]);
    let put = [("n", Value::Int(99)), ("s", text("Long One")), ("o", object(&[("m", text("x"))]))];
    commit(&db, vec![replace(&db, "A", "a", &put)]);
    commit(&db, vec![update(&db, "A", "b", &[("t", Value::Int(1))])]);
    commit(&db, vec![replace(&db, "A", "b", &[("t", Value::Int(2))])]);
    let worse = [("n", Value::Int(98)), ("s", text("Long Two")), ("o", object(&[("m", text("y"))]))];
    let found = refused(&db, vec![update(&db, "A", "a", &worse)]);
    assert_eq!(codes(&found), ["max n", "max_length s", "min_length o/m"]);
    let gone = refused(&db, vec![update(&db, "A", "a", &[("n", Value::Absent)])]);
    assert_eq!(codes(&gone), ["required n"]);
}

#[test]
fn a_replacement_keeps_nothing_but_the_parent_and_the_defaults() {
    let db = fresh(
        "type Box in boxes { items: collection Item, total := sum(self.items.n) }
         type Item { n: int default 7, s: str, m: int }",
    );
    let item = [("parent_box_items", reference("b")), ("n", Value::Int(1)), ("s", text("s"))];
    commit(&db, vec![create(&db, "Box", "b", &[]), create(&db, "Item", "i", &item)]);
    commit(&db, vec![replace(&db, "Item", "i", &[("m", Value::Int(2))])]);
    let fields = ["n", "s", "m", "parent_box_items"].map(|field| get(&db, "Item", "i", field));
    assert_eq!(fields, [Value::Int(7), Value::Absent, Value::Int(2), reference("b")]);
    assert_eq!(get(&db, "Box", "b", "total"), Value::Int(7));
    agree(&db);
    let there = codes(&refused(&db, vec![replace(&db, "Item", "j", &[])]));
    assert_eq!(there, ["not-found"]);
    let moved = [("parent_box_items", reference("x"))];
    assert_eq!(codes(&refused(&db, vec![update(&db, "Item", "i", &moved)])), ["immutable parent_box_items"]);
}

#[test]
fn a_parent_that_is_not_there_is_refused() {
    let db = fresh("type Box in boxes { items: collection Item } type Item { n: int }");
    let orphan = [("parent_box_items", reference("nobody"))];
    let found = refused(&db, vec![create(&db, "Item", "i", &orphan)]);
    assert_eq!(codes(&found), ["link parent_box_items"]);
}

/// Normalisation and the canonical order of sets were applied to fields alone, not inside objects and lists.
#[test]
fn values_inside_objects_and_lists_are_brought_to_their_canonical_form() {
    let db = fresh(
        "type A in all { o: { s: str normalize (trim, upper), max_length 3, t: set<int> }, l: [{ s: str normalize lower }], m: map<set<int>> }",
    );
    let set = || list([2, 1, 2].map(Value::Int));
    let sorted = || list([1, 2].map(Value::Int));
    let given = [
        ("o", object(&[("s", text(" abc ")), ("t", set())])),
        ("l", list([object(&[("s", text("ABC"))])])),
        ("m", object(&[("k", set())])),
    ];
    commit(&db, vec![create(&db, "A", "a", &given)]);
    assert_eq!(get(&db, "A", "a", "o"), object(&[("s", text("ABC")), ("t", sorted())]));
    assert_eq!(get(&db, "A", "a", "l"), list([object(&[("s", text("abc"))])]));
    assert_eq!(get(&db, "A", "a", "m"), object(&[("k", sorted())]));
    let merged = [("o", Edit::Merge(vec![("s".into(), Edit::Set(text("xyz ")))]))];
    commit(&db, vec![edit(&db, "A", "a", &merged)]);
    assert_eq!(get(&db, "A", "a", "o"), object(&[("s", text("XYZ")), ("t", sorted())]));
}

/// A default was stored as it was written, so the first replacement with the same values changed it.
#[test]
fn a_default_keeps_to_the_rules_of_its_field() {
    let db = fresh("type A in all { s: str default 'ABC', normalize lower }");
    commit(&db, vec![create(&db, "A", "a", &[])]);
    assert_eq!(get(&db, "A", "a", "s"), text("abc"));
    assert!(commit(&db, vec![replace(&db, "A", "a", &[])]).commit.is_none());
    let db = fresh("type A in all { n: int default 5, min 10 }");
    assert_eq!(codes(&refused(&db, vec![create(&db, "A", "a", &[])])), ["min n"]);
}

/// Members of objects may declare a default, and it was never given.
#[test]
fn members_of_a_new_object_get_their_defaults() {
    let db = fresh(
        "type A in all { o: { city: str required, land: str default 'it', at: datetime default now() }, l: [{ n: int required default 3 }] }",
    );
    let at: Timestamp = "2024-05-06T07:08:09Z".parse().unwrap();
    let given = [("o", object(&[("city", text("Rome"))])), ("l", list([object(&[])]))];
    let create = Transaction { writes: vec![create(&db, "A", "a", &given)] };
    db.commit(&[create], at).unwrap().remove(0).unwrap();
    let whole = object(&[("city", text("Rome")), ("land", text("it")), ("at", Value::Datetime(at))]);
    assert_eq!(get(&db, "A", "a", "o"), whole);
    assert_eq!(get(&db, "A", "a", "l"), list([object(&[("n", Value::Int(3))])]));
    // What a merge takes away of an object that is there stays away, unless it is required.
    let merged = [("l", Edit::Set(list([object(&[("n", Value::Absent)])])))];
    assert!(commit(&db, vec![edit(&db, "A", "a", &merged)]).commit.is_none());
    let merged = [("o", Edit::Merge(vec![("land".into(), Edit::Set(Value::Absent))]))];
    commit(&db, vec![edit(&db, "A", "a", &merged)]);
    assert_eq!(get(&db, "A", "a", "o"), object(&[("city", text("Rome")), ("at", Value::Datetime(at))]));
}

#[test]
fn objects_are_merged_member_by_member() {
    let db = fresh(PEOPLE);
    commit(&db, vec![create(&db, "Person", "a", &ada())]);
    let set = |name: &str, value: Value| (name.into(), Edit::Set(value));
    let merge = |db: &_, edits| vec![edit(db, "Person", "a", &[("address", Edit::Merge(edits))])];
    let found = refused(&db, merge(&db, vec![set("street", text("s"))]));
    assert_eq!(codes(&found), ["required address/city"]);
    let zip = |edit| ("zip".into(), Edit::Merge(vec![("code".into(), edit)]));
    let edits = vec![set("city", text("Rome")), zip(Edit::Set(Value::Int(7)))];
    commit(&db, merge(&db, edits));
    commit(&db, merge(&db, vec![set("street", text("s")), zip(Edit::Increment(Value::Int(90)))]));
    let whole = object(&[
        ("street", text("s")),
        ("city", text("Rome")),
        ("zip", object(&[("code", Value::Int(97))])),
    ]);
    assert_eq!(get(&db, "Person", "a", "address"), whole);
    let edits =
        vec![set("city", Value::Absent), zip(Edit::Increment(Value::Int(90))), set("land", text("x"))];
    let found = refused(&db, merge(&db, edits));
    assert_eq!(
        codes(&found),
        ["max address/zip/code", "required address/city", "unknown-field address/land"]
    );
    let done = commit(&db, merge(&db, vec![set("street", Value::Absent), set("zip", Value::Absent)]));
    assert_eq!(done.commit.unwrap().changes.len(), 1);
    assert_eq!(get(&db, "Person", "a", "address"), object(&[("city", text("Rome"))]));
}

#[test]
fn numbers_are_incremented() {
    let db = fresh(PEOPLE);
    commit(&db, vec![create(&db, "Person", "a", &ada())]);
    let by = |db: &_, field: &str, by: Value| vec![edit(db, "Person", "a", &[(field, Edit::Increment(by))])];
    for expected in [5, 10] {
        commit(&db, by(&db, "age", Value::Int(5)));
        assert_eq!(get(&db, "Person", "a", "age"), Value::Int(expected));
    }
    assert_eq!(codes(&refused(&db, by(&db, "age", Value::Int(141)))), ["max age"]);
    assert_eq!(codes(&refused(&db, by(&db, "age", Value::Float(0.5)))), ["type age"]);
    assert_eq!(codes(&refused(&db, by(&db, "age", text("1")))), ["type age"]);
    // Twice in one transaction is twice.
    let mut twice = by(&db, "age", Value::Int(1));
    twice.extend(by(&db, "age", Value::Int(1)));
    commit(&db, twice);
    assert_eq!(get(&db, "Person", "a", "age"), Value::Int(12));
    let db = fresh("type A in all { n: int }");
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(i64::MAX))])]);
    let over = vec![edit(&db, "A", "a", &[("n", Edit::Increment(Value::Int(1)))])];
    assert_eq!(codes(&refused(&db, over)), ["type n"]);
}

/// A float that was not there, incremented by a whole number, was refused; one that was there was not.
#[test]
fn nothing_counts_as_zero_of_the_fields_own_kind() {
    let db = fresh("type A in all { f: float, d: decimal, t: duration, o: { f: float } }");
    commit(&db, vec![create(&db, "A", "a", &[])]);
    let one = || Edit::Increment(Value::Int(1));
    let edits = [("f", one()), ("d", one()), ("o", Edit::Merge(vec![("f".into(), one())]))];
    commit(&db, vec![edit(&db, "A", "a", &edits)]);
    assert_eq!(get(&db, "A", "a", "f"), Value::Float(1.0));
    assert!(matches!(get(&db, "A", "a", "d"), Value::Decimal(one) if one.to_string() == "1"));
    assert_eq!(get(&db, "A", "a", "o"), object(&[("f", Value::Float(1.0))]));
}

/// Incrementing a text by a text appended it.
#[test]
fn only_numbers_are_incremented() {
    let db = fresh("type A in all { s: str }");
    commit(&db, vec![create(&db, "A", "a", &[("s", text("x"))]), create(&db, "A", "b", &[])]);
    for name in ["a", "b"] {
        let more = vec![edit(&db, "A", name, &[("s", Edit::Increment(text("y")))])];
        assert_eq!(codes(&refused(&db, more)), ["type s"]);
    }
}

#[test]
fn links_are_added_once_and_taken_away() {
    let db = fresh(PEOPLE);
    let age = |n| with(&[("age", Value::Int(n))]);
    let all = ["a", "b", "c"].into_iter().zip([1, 2, 3]);
    let all = all.map(|(name, n)| create(&db, "Person", name, &age(n))).collect();
    commit(&db, all);
    let link = |db: &_, edits: &[Edit]| {
        let edits: Vec<(&str, Edit)> = edits.iter().map(|edit| ("friends", edit.clone())).collect();
        vec![edit(db, "Person", "a", &edits)]
    };
    commit(&db, link(&db, &[Edit::Link(id("c")), Edit::Link(id("b")), Edit::Link(id("c"))]));
    assert_eq!(get(&db, "Person", "a", "friends"), references(&["c", "b"]));
    assert_eq!(get(&db, "Person", "a", "friend_ages"), Value::Int(5));
    assert!(commit(&db, link(&db, &[Edit::Link(id("b"))])).commit.is_none());
    commit(&db, link(&db, &[Edit::Unlink(id("c")), Edit::Unlink(id("a"))]));
    assert_eq!(get(&db, "Person", "a", "friends"), references(&["b"]));
    assert_eq!(get(&db, "Person", "c", "fans"), Value::Int(0));
    let found = refused(&db, link(&db, &[Edit::Link(id("nobody"))]));
    assert_eq!(codes(&found), ["link friends"]);
    agree(&db);
}

#[test]
fn a_transaction_may_link_what_it_creates_later() {
    let db = fresh(PEOPLE);
    let to_b = with(&[("friends", references(&["b"]))]);
    commit(&db, vec![create(&db, "Person", "a", &to_b), create(&db, "Person", "b", &ada())]);
    assert_eq!(get(&db, "Person", "b", "fans"), Value::Int(1));
    agree(&db);
}

#[test]
fn a_transaction_can_require_revisions() {
    let db = fresh(PEOPLE);
    let first = commit(&db, vec![create(&db, "Person", "a", &ada())]).revision;
    let a = key(&db, "Person", "a");
    let require = |revisions: &[u64]| Write::Require(a.clone(), revisions.to_vec());
    let grow = edit(&db, "Person", "a", &[("age", Edit::Increment(Value::Int(1)))]);
    // Its own changes do not count.
    let second = commit(&db, vec![grow.clone(), require(&[0, first])]).revision;
    let stale = refused(&db, vec![grow.clone(), require(&[first])]);
    assert_eq!((codes(&stale), stale[0].write), (vec!["precondition".to_string()], Some(1)));
    assert_eq!(codes(&refused(&db, vec![require(&[])])), ["precondition"]);
    // What an earlier transaction of the group did counts.
    let group = [vec![grow.clone(), require(&[second])], vec![grow, require(&[second])]];
    let outcomes = db.commit(&group.map(|writes| Transaction { writes }), NOW).unwrap();
    assert!(matches!(outcomes[..], [Ok(_), Err(EngineError::Refused(_))]), "{outcomes:?}");
    let nobody = key(&db, "Person", "x");
    assert_eq!(codes(&refused(&db, vec![Write::Require(nobody.clone(), vec![0])])), ["precondition"]);
    assert_eq!(codes(&refused(&db, vec![Write::Read(nobody)])), ["not-found"]);
    let read = commit(&db, vec![Write::Read(a)]);
    assert!(read.commit.is_none() && read.results[0].is_some());
}

/// The key of an index entry has a longest size. A text past it was refused by the store, together with all other
/// transactions of its group.
#[test]
fn a_text_too_long_for_an_index_is_refused_alone() {
    let long = "x".repeat(20_000);
    let schema = "
    type A in all { s: str index, t: str, b: link B, k := self.t, w := self.t }
    type B in bees { top := max(self.link_a_b.t) }";
    let db = fresh(schema);
    commit(&db, vec![create(&db, "B", "b", &[]), create(&db, "A", "a", &[])]);
    let fine = create(&db, "A", "fine", &[("t", text(&long))]);
    let in_index = create(&db, "A", "bad", &[("s", text(&long))]);
    let in_group = create(&db, "A", "bad", &[("t", text(&long)), ("b", reference("b"))]);
    let group = [fine, in_index, in_group].map(|write| Transaction { writes: vec![write] });
    let outcomes = db.commit(&group, NOW).expect("the others of the group go on");
    assert!(outcomes[0].is_ok());
    for outcome in &outcomes[1..] {
        let Err(EngineError::Refused(refusals)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refusals[0].code, "too-long");
    }
    agree(&db);
}

/// A chain of parents could grow until paths could not be told any more, after the write that made it so was committed.
#[test]
fn a_resource_has_so_many_parents_and_no_more() {
    let db = fresh("type Folder in folders { sub: collection Folder }");
    let parent = |n: usize| ("parent_folder_sub", reference(&format!("f{n}")));
    let mut writes = vec![create(&db, "Folder", "f0", &[])];
    writes.extend((1..=MAX_PARENTS).map(|n| create(&db, "Folder", &format!("f{n}"), &[parent(n - 1)])));
    commit(&db, writes);
    let last = create(&db, "Folder", "last", &[parent(MAX_PARENTS)]);
    assert_eq!(codes(&refused(&db, vec![last])), ["too-deep"]);
}

/// A replacement that left an immutable field with a default out was held to have changed it.
#[test]
fn a_replacement_need_not_repeat_what_cannot_change() {
    let db = fresh("type T in ts { at: datetime immutable default now(), n: int }");
    commit(&db, vec![create(&db, "T", "t", &[("n", Value::Int(1))])]);
    let at = get(&db, "T", "t", "at");
    commit(&db, vec![replace(&db, "T", "t", &[("n", Value::Int(2))])]);
    assert_eq!((get(&db, "T", "t", "at"), get(&db, "T", "t", "n")), (at, Value::Int(2)));
}

/// Who keeps a hidden part of somebody else's value got a new revision and an event that told of no change.
#[test]
fn what_is_kept_for_others_is_no_change() {
    let db = fresh(
        "type D in ds { name: str, parts: collection P }
         type P { n: int, share := self.n / sum(self.parent_d_parts.parts.n) }",
    );
    commit(&db, vec![create(&db, "D", "d", &[])]);
    commit(&db, vec![create(&db, "P", "p", &[("n", Value::Int(1)), ("parent_d_parts", reference("d"))])]);
    let before = doc(&db, "D", "d").unwrap().revision;
    let more = create(&db, "P", "q", &[("n", Value::Int(3)), ("parent_d_parts", reference("d"))]);
    let committed = commit(&db, vec![more]);
    assert_eq!(doc(&db, "D", "d").unwrap().revision, before);
    assert_eq!(get(&db, "P", "p", "share"), Value::Float(0.25));
    let told: Vec<String> =
        committed.commit.unwrap().changes.iter().map(|it| it.key.id.to_string()).collect();
    assert_eq!(told, ["p", "q"]);
    agree(&db);
}

/// A value nested deeper than a stored one may be was written, and its resource could not be read any more.
#[test]
fn a_value_is_nested_so_deep_and_no_deeper() {
    let db = fresh("type T in ts { free: json }");
    let nested = |depth| (0..depth).fold(Value::Int(1), |value, _| list([value]));
    commit(&db, vec![create(&db, "T", "t", &[("free", nested(MAX_VALUE_DEPTH))])]);
    let deeper = create(&db, "T", "u", &[("free", nested(MAX_VALUE_DEPTH + 1))]);
    assert_eq!(codes(&refused(&db, vec![deeper])), ["too-deep free"]);
    let part = Edit::Merge(vec![("a".into(), Edit::Set(nested(MAX_VALUE_DEPTH)))]);
    assert_eq!(codes(&refused(&db, vec![edit(&db, "T", "t", &[("free", part)])])), ["too-deep free"]);
}

#[test]
fn to_what_is_append_only_something_can_be_added() {
    let db = fresh(
        "type T in ts { log: [int] append only, seen: set<int> append only, by: map<int> append only, all: links T append only }",
    );
    let ints = |values: &[i64]| list(values.iter().map(|value| Value::Int(*value)));
    let one = object(&[("a", Value::Int(1))]);
    let given =
        [("log", ints(&[1, 2])), ("seen", ints(&[5, 3])), ("by", one.clone()), ("all", references(&["t"]))];
    commit(&db, vec![create(&db, "T", "t", &given), create(&db, "T", "u", &[])]);
    let wrong = [
        ("log", ints(&[1])),
        ("log", ints(&[2, 1])),
        ("log", Value::Absent),
        ("seen", ints(&[3, 4])),
        ("by", object(&[("a", Value::Int(2))])),
        ("by", object(&[])),
        ("all", references(&["u"])),
    ];
    for (field, value) in wrong {
        let told = refused(&db, vec![update(&db, "T", "t", &[(field, value.clone())])]);
        assert_eq!(codes(&told), [format!("append-only {field}")], "{value}");
    }
    let unlink = Edit::Unlink(id("t"));
    assert_eq!(codes(&refused(&db, vec![edit(&db, "T", "t", &[("all", unlink)])])), ["append-only all"]);
    let more = [
        ("log", ints(&[1, 2, 1])),
        ("seen", ints(&[4, 5, 3, 3])),
        ("by", object(&[("b", Value::Int(2)), ("a", Value::Int(1))])),
        ("all", references(&["t", "u"])),
    ];
    commit(&db, vec![update(&db, "T", "t", &more)]);
    assert_eq!(get(&db, "T", "t", "seen"), ints(&[3, 4, 5]));
    // Where there was nothing, anything may come; and a deletion unlinks all the same.
    commit(&db, vec![update(&db, "T", "u", &[("log", ints(&[9]))]), delete(&db, "T", "u")]);
    assert_eq!(get(&db, "T", "t", "all"), references(&["t"]));
}

const COMPUTED: &str = "
    type Firm in firms { name: str, code: str default lower(self.name) + '-' + self.year, year: str default '1990'
      heads := count(self.link_person_firm) }
    type Person in people {
      first: str
      last: str
      shown: str default self.first + ' ' + self.last, max_length 12
      mail: str required, default lower(self.first) + '@' + self.firm.code, unique
      joined: datetime default now()
      until: datetime default self.joined + days(30), immutable
      score: float default 2 * 3
      level: 'low' | 'high' default length(self.first) > 4 -> 'high' : 'low'
      firm: link Firm
    }";

#[test]
fn a_default_is_computed_from_the_other_facts() {
    let db = fresh(COMPUTED);
    commit(&db, vec![create(&db, "Firm", "f", &[("name", text("ACME"))])]);
    assert_eq!(get(&db, "Firm", "f", "code"), text("acme-1990"));
    let ann = [("first", text("Annabel")), ("last", text("Lee")), ("firm", reference("f"))];
    commit(&db, vec![create(&db, "Person", "ann", &ann)]);
    let of = |field: &str| get(&db, "Person", "ann", field);
    assert_eq!([of("shown"), of("mail")], [text("Annabel Lee"), text("annabel@acme-1990")]);
    assert_eq!([of("score"), of("level")], [Value::Float(6.0), text("high")]);
    assert_eq!(of("until").to_string(), "1970-01-31T00:00:00Z");
    // It is a fact from then on: nothing follows from a change.
    commit(&db, vec![update(&db, "Person", "ann", &[("last", text("Poe"))])]);
    assert_eq!(of("shown"), text("Annabel Lee"));
    // A replacement has its defaults anew, but for what cannot change.
    commit(&db, vec![replace(&db, "Person", "ann", &[("first", text("Al")), ("mail", text("a@b"))])]);
    assert_eq!([of("shown"), of("level"), of("mail")], [Value::Absent, text("low"), text("a@b")]);
    assert_eq!(of("until").to_string(), "1970-01-31T00:00:00Z");
    // In the place of one that is deleted, too.
    let again = vec![delete(&db, "Person", "ann"), create(&db, "Person", "ann", &ann)];
    commit(&db, again);
    assert_eq!(of("shown"), text("Annabel Lee"));
    agree(&db);
}

#[test]
fn a_default_that_breaks_a_rule_is_refused_like_a_value() {
    let db = fresh(COMPUTED);
    let given = [("first", text("Bartholomew")), ("last", text("Smith"))];
    let refusals = refused(&db, vec![create(&db, "Person", "bob", &given)]);
    assert_eq!(codes(&refusals), ["max_length shown", "required mail"]);
    commit(&db, vec![create(&db, "Firm", "f", &[("name", text("x"))])]);
    let bob = [("first", text("bob")), ("firm", reference("f"))];
    commit(&db, vec![create(&db, "Person", "bob", &bob)]);
    let refusals = refused(&db, vec![create(&db, "Person", "bob2", &bob)]);
    assert_eq!(codes(&refusals), ["unique mail"]);
}

/// A set had an object twice that was given with its members in another order, and a list or an object that may not
/// change was refused where only that order was another.
#[test]
fn the_order_in_which_members_are_given_says_nothing() {
    let db = fresh(
        "type A in as {
          set: set<{ n: int, m: int default 3, in: { x: int, y: int } }>
          once: { n: int, m: int } immutable
          log: [{ n: int, m: int }] append only
        }",
    );
    let (n, m) = (("n", Value::Int(1)), ("m", Value::Int(2)));
    let (x, y) = (("x", Value::Int(4)), ("y", Value::Int(5)));
    let one = object(&[n.clone(), m.clone(), ("in", object(&[x.clone(), y.clone()]))]);
    let same = object(&[("in", object(&[y, x])), m.clone(), n.clone()]);
    let more = object(&[("m", Value::Int(3)), n.clone()]);
    let both = [object(&[n.clone(), m.clone()]), object(&[m.clone(), n.clone()])];
    let values = [
        ("set", list([same, one.clone(), more.clone()])),
        ("once", both[0].clone()),
        ("log", list([both[0].clone()])),
    ];
    commit(&db, vec![create(&db, "A", "a", &values)]);
    assert_eq!(get(&db, "A", "a", "set"), list([one, object(&[n, ("m", Value::Int(3))])]));
    let log = list([both[1].clone(), more]);
    commit(&db, vec![update(&db, "A", "a", &[("once", both[1].clone()), ("log", log)])]);
    assert_eq!(get(&db, "A", "a", "once"), both[0]);
    // What was stored in another order, before there was one.
    let engine = db.engine();
    let schema = engine.schema();
    for (name, change) in
        [("once", [both[1].clone(), both[0].clone()]), ("log", [list([both[1].clone()]), list(both)])]
    {
        let (_, field) = schema.ty(schema.type_named("A").unwrap()).named(name).unwrap();
        assert_eq!(corollary_engine::rules::check_change(field, &change[0], &change[1]), None, "{name}");
        let refused = corollary_engine::rules::check_change(field, &change[1], &list([]));
        assert!(refused.is_some(), "{name}");
    }
    agree(&db);
}
