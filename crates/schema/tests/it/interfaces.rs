//! What is wrong with abstract types, and with what is asked of a resource.

use corollary_schema::{Ids, check};

#[track_caller]
fn findings(text: &str) -> Vec<String> {
    let found = check(text, &mut Ids::default()).diagnostics;
    let shown = found.iter().map(|it| {
        let at = &text[it.span.start as usize..it.span.end as usize];
        let help = it.help.as_ref().map_or(String::new(), |help| format!(" | {help}"));
        format!("{} «{at}» {}{help}", it.code, it.message)
    });
    shown.collect()
}

#[test]
fn mistakes_around_abstract_types_are_told_once_each() {
    let cases = [
        (
            "abstract type N { a: itn } type A is N in as {} type B is N in bs {}",
            "unknown-type «itn» there is no value type `itn` | did you mean `int`?",
        ),
        (
            "abstract type N { a: int, b := self.c } type A is N in as {} type B is N in bs {}",
            "unknown-field «c» `A` has no field `c` | it has a, b",
        ),
        (
            "abstract type N { a: int } type A is M in as {} type B is N in bs {}",
            "unknown-type «M» there is no abstract type `M`",
        ),
        (
            "type N in ns {} type A is N in as {}",
            "not-abstract «N» `N` is not abstract | write `abstract type N` for what other types can be",
        ),
        (
            "abstract type N { a: int } type A is N in as { a: int }",
            "duplicate-field «a» `a` is a field of `N` already | a field of an interface cannot be declared again",
        ),
        (
            "abstract type N { a: int } abstract type M { a: int } type A is N, M in as {}",
            "duplicate-field «M» `N` and `M` both have a field `a` | put the field into an abstract type that both are",
        ),
        ("abstract type N { a: int } type A is N, N in as {}", "duplicate-interface «N» `N` stands twice"),
        (
            "abstract type N is M { a: int } abstract type M is N { b: int } type A is N in as {} type B is N in bs {}",
            "interface-cycle «N» `N` would be itself",
        ),
        (
            "abstract type N { a: int } type A in as {}",
            "unused-interface «N» no type is a `N` | as in `type X is N in xs { … }`",
        ),
        (
            "abstract type N in as { a: int } type A is N in as {}",
            "duplicate-collection «as» `as` holds `A` already | each root collection holds one type",
        ),
        (
            "abstract type N in ns { a: int } abstract type M in ns {} type A is N, M in as {}",
            "duplicate-collection «ns» `ns` holds another abstract type already | each root collection holds one type",
        ),
        ("abstract type N { a: int } type A is N in as { x: link N, y := self.x }", ""),
        (
            "abstract type N { a: int } type A is N in as { x: ordered collection N }",
            "unsupported «N» the children of an ordered collection are of one type: each has its place among those of its type, and there is no place among several | leave out `ordered` and give the types a field to order by, or name one type",
        ),
        (
            "type A in as { x: collection A | B | A } type B in bs {}",
            "duplicate-target «A» a `A` is one of the types before already",
        ),
        ("type A in as { x: collection A | C } type B in bs {}", "unknown-type «C» there is no type `C`"),
        (
            "type A in as { x: collection A | B, y := self.x } type B in bs {}",
            "several-types «self.x» this is a set of A | B, and nothing can be made of several types in one piece | name a field of them, as in `self.customer.name`, or ask `type(…)`, `id(…)` or `path(…)` of one",
        ),
        (
            "type A in as { x: collection A | B } type B in bs { parent: int }",
            "reserved-name «parent» `parent` is a word of the language | give it another name",
        ),
        (
            "type A in as { x: collection A | B required } type B in bs {}",
            "option «required» a list that others own has no option `required` | it has description",
        ),
        (
            "type A in as { x: inverse C.x } abstract type C { x: collection A } type B is C in bs {}",
            "not-a-link «x» `C.x` is not a link | an inverse lists the resources whose link, or links, point here",
        ),
        (
            "abstract type N { a: int } type A is N in as { x: [{ y: { z: link N } }] }",
            "unsupported «N» a link within an object leads to one type | name one type; a link to one of several is a field of the type itself",
        ),
        (
            "type A in as { x: { y: link A | B } } type B in bs {}",
            "unsupported «A» a link within an object leads to one type | name one type; a link to one of several is a field of the type itself",
        ),
        (
            "abstract type N { a: int } type A is N in as { x: inverse N.a }",
            "not-a-link «a» `N.a` is not a link | an inverse lists the resources whose link, or links, point here",
        ),
        (
            "abstract type N { up: link B } type A is N in as { x: inverse N.upp } type B in bs {}",
            "unknown-field «upp» `N` has no field `upp` | did you mean `up`?",
        ),
        (
            "abstract type N { up: link B } type A is N in as { own: link A, x: inverse N.own } type B in bs {}",
            "unknown-field «own» `N` has no field `own`",
        ),
        (
            "abstract type N { up: link B } type A is N in as { x: inverse N.up } type C is N in cs {} type B in bs {}",
            "inverse-target «up» `N.up` links to `B`, not to `A`",
        ),
        (
            "abstract type Ab { up: link B } type A is Ab in as {} type AB in abs { up: link B } type B in bs {}",
            "same-reverse-name «up» the reverse of this link would be called `link_ab_up`, as that of `AB.up` | rename one of the types, or one of the links",
        ),
        (
            "type A in as { x: B | C }",
            "no-union «|» a value is of one type | an object of one of several forms is written `union kind { card: { number: str }, cash: {} }`; a link may lead to several types, as in `link A | B`",
        ),
        (
            "type A in as { x: link A | B | A } type B in bs {}",
            "duplicate-target «A» a `A` is one of the types before already",
        ),
        (
            "type A in as { x: link B | A } type B in bs { a: inverse C.x } type C in cs { x: link A | C }",
            "inverse-target «x» `C.x` leads to no `B`",
        ),
        (
            "type A in as { x: link A | B nullable } type B in bs {}",
            "option «nullable» a link to one of several types has no option `nullable` | it has description, required, immutable, write once, index, unique, unique in parent, on delete",
        ),
        (
            "type A in as { x: link A | B, y := self.x } type B in bs {}",
            "several-types «self.x» this is A | B, and nothing can be made of several types in one piece | name a field of them, as in `self.customer.name`, or ask `type(…)`, `id(…)` or `path(…)` of one",
        ),
        (
            "type A in as { n: int, x: link A | B, y := self.x.n } type B in bs { m: int }",
            "unknown-field «n» `B` has no field `n` | it has link_a_x, m",
        ),
        (
            "type A in as { n: int, x: links A | B, y := sum(self.x.n) } type B in bs { n: str }",
            "types-differ «n» `n` is a list of int of a `A`, and a list of str of a `B` | put a field that they have in common into an abstract type",
        ),
        (
            "type A in as { x: links A | B, y := self.x[order by _id] } type B in bs {}",
            "several-types «self.x» this is a set of A | B, and nothing can be made of several types in one piece | name a field of them, as in `self.customer.name`, or ask `type(…)`, `id(…)` or `path(…)` of one",
        ),
        (
            "type A in as { x: links A | B, y := first(self.x) } type B in bs {}",
            "several-types «self.x» this is a set of A | B, and nothing can be made of several types in one piece | name a field of them, as in `self.customer.name`, or ask `type(…)`, `id(…)` or `path(…)` of one",
        ),
        (
            "type A in as { x: link A | B, c: int, y := self.x else self } type B in bs {}",
            "several-types «self.x» this is A | B, and nothing can be made of several types in one piece | name a field of them, as in `self.customer.name`, or ask `type(…)`, `id(…)` or `path(…)` of one",
        ),
        (
            "type A in as { x: link A | B, y := self.x < self } type B in bs {}",
            "operand-type «<» `<` does not go between A | B and A | resources have no order: compare one of their fields",
        ),
        (
            "type A in as { x: link A | B, y := self.x = 1 } type B in bs {}",
            "operand-type «=» `=` does not go between A | B and int",
        ),
        (
            "type A in as { x: links A | B, y := sum(self.x) } type B in bs {}",
            "aggregate-type «self.x» `sum` needs a list of numbers or durations, and this is a set of A | B | name the field to aggregate, as in `sum(self.orders.amount)`",
        ),
        (
            "abstract type A { a: int } type A in as {} type B is A in bs {}",
            "duplicate-type «A» there are two types `A`",
        ),
        (
            "abstract type self { a: int } type B is self in bs {}",
            "reserved-name «self» `self` is a word of the language | give it another name",
        ),
        (
            "type A in as { x: int, y := type(self.x) }",
            "argument-type «self.x» `type` takes a resource here, and this is int",
        ),
        (
            "type A in as { y := id(self, self) }",
            "arguments «id(self, self)» `id` takes one argument, and 2 were given",
        ),
    ];
    let is_wrong = |(schema, wanted): &&(&str, &str)| {
        let wanted: Vec<&str> = Vec::from_iter((!wanted.is_empty()).then_some(*wanted));
        findings(schema) != wanted
    };
    let wrong: Vec<_> = cases.iter().filter(is_wrong).collect();
    assert!(wrong.is_empty(), "{:#?}", wrong.iter().map(|(schema, _)| findings(schema)).collect::<Vec<_>>());
}

#[test]
fn an_interface_that_is_reached_twice_gives_its_fields_once() {
    let text = "abstract type N { n: int } abstract type L is N { l: int } abstract type R is N { r: int } type A is L, R in as { own := self.n + self.l + self.r }";
    let checked = check(text, &mut Ids::default());
    let schema = checked.schema.unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
    let names: Vec<&str> = schema.types[0].fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!((schema.types.len(), names), (1, vec!["n", "l", "r", "own"]));
}
