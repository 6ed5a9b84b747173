//! Details of checked schemas that no message and no plan shows, each of which could be changed once without any test noticing.

use corollary_schema::plan::describe::describe;
use corollary_schema::typed::Kind;
use corollary_schema::{FieldKind, Ids, Schema, ValueType, check};
use corollary_syntax::render;
use corollary_value::Value;

fn checked(text: &str) -> Schema {
    let checked = check(text, &mut Ids::default());
    checked.schema.unwrap_or_else(|| panic!("{}", render(&checked.diagnostics, "schema", text)))
}

#[test]
fn a_literal_may_be_negative() {
    checked("type A in all { n: int min -2 default -1, f: float default -1.5, l: [int] default [1, -2] }");
}

#[test]
fn a_computed_default_fits_where_it_is_of_the_kind_of_the_field() {
    checked(
        "type A in all { n: int, s: str, l: [str], f: float default self.n + 1, t: str default lower(self.s),
           m: [str] default self.l }",
    );
    for wrong in ["t: str default self.n + 1", "n2: int default lower(self.s)", "t: str default self.l"] {
        let text = format!("type A in all {{ n: int, s: str, l: [str], {wrong} }}");
        assert!(check(&text, &mut Ids::default()).schema.is_none(), "{wrong}");
    }
}

#[test]
fn what_may_be_unlinked_may_expire() {
    let of = |link: &str| {
        format!(
            "type Session in sessions expires after days(30) {{ }} type Visit in visits {{ s: link Session {link} }}"
        )
    };
    checked(&of(""));
    checked(&of("required on delete cascade"));
    assert!(check(&of("required"), &mut Ids::default()).schema.is_none());
}

#[test]
fn the_average_of_whole_numbers_is_none() {
    let schema = checked(
        "type A in all { bs: inverse B.a, x := average(self.bs.n), y := average(self.bs.d), z := median(self.bs.n) }
         type B in bees { a: link A, n: int, d: decimal }",
    );
    let (_, a) = schema.types().find(|(_, ty)| ty.name == "A").unwrap();
    for (name, kind) in [("x", Kind::Float), ("y", Kind::Decimal), ("z", Kind::Float)] {
        match &a.named(name).unwrap().1.kind {
            FieldKind::Derived { expr, .. } => assert_eq!(expr.ty.kind, kind, "{name}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_variant_has_its_members_with_its_own_rules() {
    let schema =
        checked("type A in all { o: union kind { u: { k: int min 1 }, v: { k: int min 5, w: float } } }");
    let (_, a) = schema.types().find(|(_, ty)| ty.name == "A").unwrap();
    let FieldKind::Stored(ValueType::Object(members)) = &a.named("o").unwrap().1.kind else {
        panic!("it is an object")
    };
    for (variant, names, least) in [("u", &["kind", "k"][..], 1), ("v", &["kind", "k", "w"], 5)] {
        let within = members.within(Some(variant));
        assert_eq!(within.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(within[1].rules.min, Some(Value::Int(least)), "{variant}");
    }
}

#[test]
fn the_order_of_siblings_counts_where_somebody_sees_it_and_only_there() {
    let schema = checked(
        "type P in all {
           kids: ordered collection C, names := join(self.kids.o.name, ','), total := sum(self.kids.o.k)
         }
         type C { o: { k: int, name: str } }",
    );
    let plan = describe(&schema);
    let node = |name: &str| plan.split("\nP.").find(|node| node.contains(name)).unwrap().to_owned();
    assert!(node("names = ").contains("order"), "{plan}");
    assert!(!node("total = ").contains("order"), "{plan}");
}
