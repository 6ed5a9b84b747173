//! Abstract types: what stands in one holds in each type that is one.

use crate::common::*;
use corollary_value::Value;

const PARTIES: &str = r#"
abstract type Named { name: str required, unique }
abstract type Party is Named {
  rate:  int default 1
  tasks: links Task
  hours := sum(self.tasks.hours)
  cost  := self.hours * self.rate
}
abstract type Taxed { tax_id: str }
type Person is Party in persons {
  boss:  link Person
  label := self.name + ' ' + str(self.cost)
}
type Firm is Party, Taxed in firms {
  staff: links Person
  total := self.cost + sum(self.staff.cost)
}
type Task in tasks {
  hours: int default 0
  doers: inverse Person.tasks
}
"#;

#[test]
fn each_type_has_the_fields_the_rules_and_the_derived_fields() {
    let db = fresh(PARTIES);
    let named = |name: &str| vec![("name", text(name)), ("tasks", references(&["t"]))];
    commit(
        &db,
        vec![
            create(&db, "Task", "t", &[("hours", Value::Int(3))]),
            create(&db, "Person", "p", &named("ann")),
            // The same name: what is unique is so within each type.
            create(
                &db,
                "Firm",
                "f",
                &[named("ann"), vec![("rate", Value::Int(10)), ("staff", references(&["p"]))]].concat(),
            ),
        ],
    );
    assert_eq!(get(&db, "Person", "p", "label"), text("ann 3"));
    assert_eq!(get(&db, "Firm", "f", "cost"), Value::Int(30));
    assert_eq!(get(&db, "Firm", "f", "total"), Value::Int(33));
    commit(&db, vec![update(&db, "Task", "t", &[("hours", Value::Int(4))])]);
    assert_eq!(get(&db, "Firm", "f", "total"), Value::Int(44));
    agree(&db);
    assert_eq!(codes(&refused(&db, vec![create(&db, "Person", "q", &named("ann"))])), ["unique name"]);
    assert_eq!(codes(&refused(&db, vec![create(&db, "Firm", "g", &[])])), ["required name"]);
}

/// A field is the same whether it is written in a type or in an interface of it.
#[test]
fn a_field_may_move_into_an_interface() {
    let store = memory();
    let db = opened(&store, "type A in as { n: int index, twice := self.n * 2 }");
    commit(&db, vec![create(&db, "A", "a", &[("n", Value::Int(4))])]);
    drop(db);
    let db =
        opened(&store, "abstract type N { n: int index, twice := self.n * 2 } type A is N in as { m: int }");
    assert_eq!(get(&db, "A", "a", "twice"), Value::Int(8));
    agree(&db);
}

#[test]
fn ids_types_and_paths_are_kept_true_like_other_values() {
    let db = fresh(
        r#"
type Shop in shops {
  floors: collection Floor
  best: link Desk
  best_path := path(self.best)
  best_is := type(self.best) + ':' + id(self.best)
}
type Floor { desks: collection Desk }
type Desk in desks {
  chair: link Shop
  where := path(self)
  kind := type(self.chair)
}
"#,
    );
    commit(
        &db,
        vec![
            create(&db, "Shop", "s", &[("best", reference("d"))]),
            create(&db, "Floor", "f", &[("parent_shop_floors", reference("s"))]),
            create(&db, "Desk", "d", &[("parent_floor_desks", reference("f")), ("chair", reference("s"))]),
            create(&db, "Desk", "e", &[]),
        ],
    );
    assert_eq!(get(&db, "Desk", "d", "where"), text("/api/shops/s/floors/f/desks/d"));
    assert_eq!(get(&db, "Desk", "e", "where"), text("/api/desks/e"));
    assert_eq!(get(&db, "Shop", "s", "best_path"), text("/api/shops/s/floors/f/desks/d"));
    assert_eq!(get(&db, "Shop", "s", "best_is"), text("Desk:d"));
    assert_eq!((get(&db, "Desk", "d", "kind"), get(&db, "Desk", "e", "kind")), (text("Shop"), Value::Absent));
    commit(&db, vec![update(&db, "Shop", "s", &[("best", reference("e"))])]);
    assert_eq!(get(&db, "Shop", "s", "best_path"), text("/api/desks/e"));
    commit(&db, vec![delete(&db, "Desk", "e")]);
    assert_eq!(get(&db, "Shop", "s", "best_path"), Value::Absent);
    agree(&db);
}
