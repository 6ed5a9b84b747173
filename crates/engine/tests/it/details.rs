//! What no test beside it held to anything: found by changing the code, one place at a time (`cargo xtask mutants`).

use corollary_engine::EngineError;
use corollary_engine::updates::Settled;
use corollary_store::StoreError;
use corollary_value::Value;

use crate::common::*;

#[test]
fn what_is_rounded_goes_the_way_it_says() {
    let db = fresh(
        "type A in all {
           f: float
           d: decimal
           down := floor(self.f)
           up := ceil(self.f)
           d_down := floor(self.d)
           d_up := ceil(self.d)
         }",
    );
    let decimal = |text: &str| Value::Decimal(text.parse().unwrap());
    for (float, text, [down, up]) in
        [(1.5, "1.5", [1.0, 2.0]), (-1.5, "-1.5", [-2.0, -1.0]), (3.0, "3", [3.0, 3.0])]
    {
        let name = format!("a{down}");
        commit(&db, vec![create(&db, "A", &name, &[("f", Value::Float(float)), ("d", decimal(text))])]);
        let found = ["down", "up", "d_down", "d_up"].map(|field| get(&db, "A", &name, field));
        let [d_down, d_up] = [down, up].map(|it: f64| decimal(&format!("{it:.0}")));
        assert_eq!(found, [Value::Float(down), Value::Float(up), d_down, d_up]);
    }
}

#[test]
fn who_has_lost_its_store_is_given_up_and_who_was_refused_is_not() {
    let failed = |fatal| StoreError::Failed { message: "gone".into(), path: "data".into(), fatal };
    assert!(EngineError::from(failed(true)).is_fatal());
    assert!(!EngineError::from(failed(false)).is_fatal());
    assert!(EngineError::Superseded.is_fatal());
    assert!(!EngineError::Moved.is_fatal());
    assert!(!EngineError::refused("unique", None, "there is one").is_fatal());
}

#[test]
fn a_resource_is_behind_until_its_update_has_come_to_it() {
    let schema = "type Hub in hubs { name: str, leaves: inverse Leaf.hub }
                  type Leaf in leaves { hub: link Hub, label := self.hub.name }";
    let db = opened_within(&memory(), schema, 2);
    let is_behind = |name: &str| {
        let key = key(&db, "Leaf", name);
        db.engine().read(NOW, |working| Settled::new(working).is_behind(&key)).unwrap()
    };
    let leaf = |at: usize| create(&db, "Leaf", &format!("l{at}"), &[("hub", reference("h"))]);
    commit(&db, vec![create(&db, "Hub", "h", &[("name", text("one"))]), create(&db, "Leaf", "free", &[])]);
    commit(&db, (0..6).map(leaf).collect());
    db.finish_updates();
    assert!(!is_behind("l0") && !is_behind("l5"));
    commit(&db, vec![update(&db, "Hub", "h", &[("name", text("two"))])]);
    assert!(is_behind("l0") && is_behind("l5") && !is_behind("free"));
    while !db.engine().updates().open.is_empty() && is_behind("l0") {
        db.step(2).unwrap();
    }
    assert!(!is_behind("l0") && is_behind("l5"), "one after the other");
    db.finish_updates();
    assert!(!is_behind("l5"));
}

#[test]
fn an_order_is_no_reason_against_another_version() {
    let store = memory();
    let schema =
        |more: &str| format!("type A in all {{ c: ordered collection B{more} }} type B {{ n: int }}");
    let db = opened(&store, &schema(""));
    commit(&db, vec![create(&db, "A", "a", &[])]);
    for name in ["y", "x", "z"] {
        commit(&db, vec![create(&db, "B", name, &[("parent_a_c", reference("a"))])]);
    }
    drop(db);
    let db = opened(&store, &schema(", in_order := self.c._id"));
    assert_eq!(get(&db, "A", "a", "in_order"), list(["y", "x", "z"].map(text)));
    agree(&db);
}
