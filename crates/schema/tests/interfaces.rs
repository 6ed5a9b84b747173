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
            "abstract type N in ns { a: int } type A is N in as {}",
            "unsupported «ns» a root collection of an abstract type is not part of this version of the language",
        ),
        (
            "abstract type N { a: int } type A is N in as { x: link N }",
            "unsupported «N» a link to an abstract type is not part of this version of the language | name one of the types that are a `N`",
        ),
        (
            "abstract type N { a: int } type A is N in as { x: collection N }",
            "unsupported «N» a collection of an abstract type is not part of this version of the language | name one of the types that are a `N`",
        ),
        (
            "abstract type N { a: int } type A is N in as { x: [{ y: { z: link N } }] }",
            "unsupported «N» a link to an abstract type is not part of this version of the language | name one of the types that are a `N`",
        ),
        (
            "abstract type N { a: int } type A is N in as { x: inverse N.a }",
            "unsupported «N» the inverse of a link in an abstract type is not part of this version of the language | name one of the types that are a `N`",
        ),
        (
            "type A in as { x: B | C }",
            "no-union «|» there are no unions of types | declare a field for each of the types; what they have in common can stand in an abstract type",
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
        (
            "type A in as { sub: collection A, y := path(self) }",
            "endless-path «path(self)» the path of a `A` runs through any number of others, and cannot be computed here | `_self` in a reply has it all the same",
        ),
    ];
    let wrong: Vec<_> = cases.iter().filter(|(schema, wanted)| findings(schema) != [*wanted]).collect();
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
