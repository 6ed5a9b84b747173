//! What the checker says of mistakes: code, the marked text, message and help of each.

use corollary_schema::{Ids, check};

/// All findings, as `code «marked text» message | help`.
fn findings(text: &str) -> Vec<String> {
    check(text, &mut Ids::default())
        .diagnostics
        .iter()
        .map(|found| {
            let marked = &text[found.span.start as usize..found.span.end as usize];
            let help = found.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
            format!("{} «{marked}» {}{help}", found.code, found.message)
        })
        .collect()
}

/// In a schema of people and teams.
fn in_person(field: &str) -> Vec<String> {
    findings(&format!(
        "type Team in teams {{ name: str, members: inverse Person.team }}
         type Person in people {{ name: str, age: int, level: \"low\" | \"high\", team: link Team, born: date
           {field}
         }}"
    ))
}

#[test]
fn mistakes_in_expressions() {
    let cases = [
        ("x := self.agge + 1", "unknown-field «agge» `Person` has no field `agge` | did you mean `age`?"),
        (
            "x := self.name + 5",
            "operand-type «+» `+` does not go between str and int | nothing is turned into another kind silently: use str(…), int(…), float(…) or decimal(…)",
        ),
        (
            "x := age",
            "bare-name «age» `age` is not a root collection | a field of this type is written `self.age`",
        ),
        (
            "x := sum(self.team.members)",
            "aggregate-type «self.team.members» `sum` needs a list of numbers or durations, and this is a set of Person | name the field to aggregate, as in `sum(self.orders.amount)`",
        ),
        (
            "x := sum(self.age)",
            "not-a-list «self.age» `sum` needs a list, and this is int | a list comes from many resources, as in `self.orders.amount`, or from a field that is one",
        ),
        (
            "x := self.team.members.age + 1",
            "one-value «self.team.members.age» an operand must be one value, and this is a list of int | take one of them with first(…), or aggregate them with sum(…), count(…), max(…), …",
        ),
        (
            "x := count(self.team.members[age])",
            "not-a-condition «age» a condition must be true or false, and this is int | compare it with something, as in `age > 30`",
        ),
        (
            "x := self.level = \"hihg\"",
            "enum-word «\"hihg\"» \"hihg\" is none of \"low\" | \"high\" | did you mean \"high\"?",
        ),
        (
            "x := cuont(self.team.members)",
            "unknown-function «cuont» there is no function `cuont` | did you mean `count`?",
        ),
        (
            "x := round(self.age, 1, 2)",
            "arguments «round(self.age, 1, 2)» `round` takes 1 to 2 arguments, and 3 were given",
        ),
        (
            "x := upper(self.age)",
            "argument-type «self.age» `upper` takes a str here, and this is int | turn it into a text with `str(…)`",
        ),
        ("x := self.born > \"soon\"", "literal «\"soon\"» \"soon\" is not a date: write it as 2024-05-01"),
        ("x := parent.name", "no-parent «parent» a `Person` has no parent: no collection holds it"),
        (
            "x := self.age.years",
            "no-fields «years» `.years`: int has no fields | `years` is a function: write `years(…)`",
        ),
        ("x := self.age > 1 -> 1 : \"a\"", "branches «\"a\"» this is str, and the other value is int"),
        ("x := null", "always-null «null» this is always null | read a field, as in `self.name`"),
    ];
    for (field, wanted) in cases {
        assert_eq!(in_person(field), [wanted], "{field}");
    }
}

#[test]
fn mistakes_in_aggregates() {
    let cases = [
        (
            "x := top(0, self.team.members.age)",
            "top-count «0» how many `top` gives is a whole number from 1 to 1000, and this is 0 | as in `top(3, self.orders.amount)`, the three largest",
        ),
        (
            "x := top(self.age, self.team.members.age)",
            "top-count «self.age» how many `top` gives is a whole number from 1 to 1000, and this is not written as one | as in `top(3, self.orders.amount)`, the three largest",
        ),
        (
            "x := top(3)",
            "arguments «top(3)» `top` takes two arguments, as in `top(3, self.orders.amount)`, and 1 was given",
        ),
        (
            "x := top(2, self.team.members)",
            "aggregate-type «self.team.members» `top` needs a list of values that can be compared, and this is a set of Person | name the field to aggregate, as in `sum(self.orders.amount)`",
        ),
        (
            "x := percentile(self.team.members.age, 101)",
            "percentile-share «101» a percentile is a number from 0 to 100 with at most 6 digits behind the point | as in `percentile(self.orders.amount, 95)`; 50 is the median",
        ),
        (
            "x := percentile(self.team.members.name, 50)",
            "aggregate-type «self.team.members.name» `percentile` needs a list of numbers or durations, and this is a list of str",
        ),
        (
            "x := join(self.team.members.age, ', ')",
            "aggregate-type «self.team.members.age» `join` needs a list of str, and this is a list of int",
        ),
        (
            "x := join(self.team.members.name, self.name)",
            "join-separator «self.name» what `join` puts between is a text, written out | as in `join(self.orders.note, ', ')`",
        ),
        (
            "x := join(self.team.members.name, '-------------------------------')",
            "join-separator «'-------------------------------'» what `join` puts between is at most 30 bytes long, and this is 31",
        ),
        (
            "x := group(self.team.members, count())",
            "group-form «group(self.team.members, count())» `group` takes a list, `by:` and the key of its elements, and an aggregate | as in `group(self.orders, by: status, sum(amount))`",
        ),
        (
            "x := group(self.team.members, yb: level, count())",
            "group-form «yb» `group` has no argument named `yb` | as in `group(self.orders, by: status, sum(amount))`",
        ),
        (
            "x := group(self.team.members, by: level, age)",
            "group-form «age» the last argument of `group` is an aggregate | as in `group(self.orders, by: status, sum(amount))`",
        ),
        (
            "x := group(self.team.members, by: levle, count())",
            "unknown-field «levle» `Person` has no field `levle` | did you mean `level`?",
        ),
        (
            "x := group(self.team.members, by: level, cuont())",
            "unknown-aggregate «cuont» `cuont` is no aggregate that gives one value for each key | did you mean `count`?",
        ),
        (
            "x := group(self.team.members, by: level, sum())",
            "group-form «sum()» `sum` needs a field of the elements | as in `group(self.orders, by: status, sum(amount))`",
        ),
        (
            "x := group(self.team.members, by: level, sum(name))",
            "aggregate-type «name» `sum` needs a list of numbers or durations, and this is a list of str",
        ),
        (
            "x := group(self.team.members, by: age / 2, count())",
            "group-key «age / 2» the keys of a map cannot be made of float | group by a str, an enum, an int, a bool, a date, a datetime, a uuid or a link",
        ),
        (
            "x := group(self.team.members, by: level, first(team))",
            "group-value «first(team)» a map holds plain values, and this would be Team | as in `group(self.orders, by: status, sum(amount))`",
        ),
        ("x := sum(self.team.members.age, by: 3)", "named-argument «by» `sum` has no argument named `by`"),
    ];
    for (field, wanted) in cases {
        assert_eq!(in_person(field), [wanted], "{field}");
    }
}

#[test]
fn mistakes_in_declarations() {
    let cases = [
        ("x: itn", "unknown-type «itn» there is no value type `itn` | did you mean `int`?"),
        ("x: link Taem", "unknown-type «Taem» there is no type `Taem` | did you mean `Team`?"),
        ("age: int", "duplicate-field «age» `Person` has two fields `age`"),
        (
            "_x: int",
            "reserved-name «_x» the name of a field cannot start with `_` | such names are the system's own",
        ),
        ("self: int", "reserved-name «self» `self` is a word of the language | give it another name"),
        (
            "x: inverse Team.name",
            "not-a-link «name» `Team.name` is not a link | an inverse lists the resources whose link, or links, point here",
        ),
        ("x: inverse Person.team", "inverse-target «team» `Person.team` links to `Team`, not to `Person`"),
        ("x: int min 5, max 3", "bounds «max 3» the greatest value is below the least"),
        ("x: int default \"a\"", "literal «\"a\"» this is not a literal of the type of the field, int"),
        ("x: int required required", "duplicate-option «required» `required` stands twice"),
        (
            "x: int unique in parent",
            "no-parent «unique in parent» a `Person` has no parent: no collection holds it | write `unique` for what is unique among all of the type",
        ),
    ];
    for (field, wanted) in cases {
        assert_eq!(in_person(field), [wanted], "{field}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = in_person("x := self.agee\n y: itn\n z := self.nmae");
    assert_eq!(found.len(), 3, "{found:#?}");
}

#[test]
fn fields_that_depend_on_themselves_on_one_resource_are_refused() {
    let refused = |chain: &str| {
        format!(
            "derived fields depend on themselves on one resource: {chain} | a field may depend on itself of another \
             resource, as in `1 + self.boss.chain else 1`"
        )
    };
    let found = in_person("x := self.y + 1\n y := self.x + 1");
    assert_eq!(found, [format!("recursion «self.y + 1» {}", refused("Person.x → Person.y → Person.x"))]);
    let found = in_person("x := self.age + (self.x else 0)");
    assert_eq!(found, [format!("recursion «self.age + (self.x else 0)» {}", refused("Person.x → Person.x"))]);
    // A filter looks at the owner as well.
    let found = in_person("x := 1 + count(self.team.members[age > self.x])");
    assert!(found[0].contains("Person.x → Person.x"), "{found:#?}");
}

#[test]
fn a_field_that_depends_on_itself_cannot_follow_later() {
    let found = findings("type A in as { up: link A, x := 1 + self.up.x else 0, background }");
    let help = "it follows each write along the resources, as far as values change; leave `background` out";
    let message = "`A.x` depends on itself, and such a field cannot be `background`";
    assert_eq!(found, [format!("background-recursion «1 + self.up.x else 0» {message} | {help}")]);
}

#[test]
fn fields_whose_type_follows_from_nothing_are_refused() {
    let help = "say what it is where it ends, as in `1 + self.boss.chain else 1`";
    let found = findings("type A in as { up: link A, x := self.up.x, y := self.up.z, z := self.up.y }");
    let told = |place: &str, field: &str| {
        format!("recursion-type «{place}» what `{field}` is follows from nothing but itself | {help}")
    };
    assert_eq!(found, [told("self.up.x", "A.x"), told("self.up.z", "A.y")]);
    // A mistake within a recursion is told once, and the recursion is none.
    let found = findings("type A in as { up: link A, n: str, x := self.n + 1 + self.up.x }");
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("operand-type"), "{found:#?}");
    // What turns out to be a text in the end does not fit where it was first thought to be unknown.
    let found = findings("type A in as { up: link A, x := self.y else 1, y := self.up.x + 'a' }");
    assert!(found.iter().any(|found| found.starts_with("branches") || found.starts_with("operand-type")));
}

#[test]
fn a_mistake_in_one_field_is_not_repeated_by_its_users() {
    let found = in_person("x := self.agee\n y := self.x + 1");
    assert_eq!(found.len(), 1, "{found:#?}");
}

/// Two parents of one child whose types differ in case only had links of one name and one number, so that the children of
/// one were lost to the index of the other.
#[test]
fn parents_and_reverse_links_of_the_same_name_are_refused() {
    let parents = findings(
        "type Ab in a { xs: collection C }
         type AB in b { xs: collection C }
         type C { n: int }",
    );
    assert_eq!(parents.len(), 1, "{parents:#?}");
    assert!(parents[0].starts_with("same-parent-name «xs»"), "{parents:#?}");
    let links = findings(
        "type A_B in a { c: link T }
         type A in b { b_c: link T }
         type T in t { n: int }",
    );
    assert_eq!(links.len(), 1, "{links:#?}");
    assert!(links[0].starts_with("same-reverse-name «b_c»"), "{links:#?}");
}

/// A long chain of derived fields, declared last to first, overflowed the stack.
#[test]
fn chains_of_derived_fields_have_an_end() {
    let chain = |length: usize, reversed: bool| {
        let mut fields: Vec<String> = (1..length).map(|n| format!("x{n} := self.x{} + 1", n - 1)).collect();
        fields.insert(0, "x0 := self.age + 1".into());
        if reversed {
            fields.reverse();
        }
        in_person(&fields.join("\n "))
    };
    for reversed in [false, true] {
        assert_eq!(chain(64, reversed), Vec::<String>::new());
        let found = chain(5_000, reversed);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with("chain «"), "{found:#?}");
    }
}

#[test]
fn mistakes_in_computed_defaults() {
    let cases = [
        ("x: int default self.name", "default «self.name» the field is int, and its default str"),
        (
            "d := self.age * 2, x: int default self.d + 1",
            "default «self.d + 1» a default cannot read `d`, which is derived: it comes about after the facts | it may \
             read the stored fields of the new resource, and of what its links lead to",
        ),
        (
            "x: int default count(self.team.members)",
            "default «count(self.team.members)» a default cannot read who links to it: nobody does yet | it may read \
             the stored fields of the new resource, and of what its links lead to",
        ),
        (
            "x: int default self.agge",
            "unknown-field «agge» `Person` has no field `agge` | did you mean `age`?",
        ),
        (
            "x: { a: int default self.age }",
            "default «self.age» the default of a member of an object is a literal, or `now()`",
        ),
        (
            "x: link Team default self.team",
            "option «default self.team» a link has no option `default` | it has description, required, nullable, \
             immutable, write once, index, unique, unique in parent, on delete",
        ),
        ("x: str default low", "literal «low» this is not a literal of the type of the field, str"),
    ];
    for (field, expected) in cases {
        assert_eq!(in_person(field), [expected], "{field}");
    }
}

#[test]
fn mistakes_in_embedded_objects() {
    let cases = [
        (
            "total := self.prize",
            "unknown-field «prize» neither the object nor `Order` has a field `prize` | did you mean `price`?",
        ),
        (
            "a := self.b, b := self.price",
            "member-order «b» `b` follows from others itself, and is declared further below | derived members are computed in the order in which they are declared; move it up",
        ),
        ("price := 1", "duplicate-field «price» the object has two members `price`"),
        (
            "x := self.price index",
            "option «index» a derived member has no option `index` | it has description",
        ),
        (
            "who: link Author unique",
            "option «unique» a link in an object has no option `unique` | it has description, required, nullable, on delete",
        ),
        ("who: link Autor", "unknown-type «Autor» there is no type `Autor` | did you mean `Author`?"),
        (
            "who: links Author",
            "object-member «who: links Author» an embedded object holds values, links, and what follows from them | several links, collections and inverses belong to a type",
        ),
        (
            "x := price",
            "bare-name «price» `price` is not a root collection | a field of this type is written `self.price`",
        ),
        ("x := null", "always-null «null» this is always null"),
        ("x := sum(self.lines.x)", "unknown-field «x» the object has no field `x` | it has price"),
    ];
    for (member, wanted) in cases {
        let found = findings(&format!(
            "type Order in orders {{ rate: int, lines: [{{ price: int, {member} }}] }}
             type Author in authors {{ name: str }}"
        ));
        assert_eq!(found, [wanted], "{member}");
    }
}

#[test]
fn mistakes_about_time() {
    let clock = "stands only on one side of <, <=, > or >=, plus or minus constant spans | as in `self.orders[at > now() - \
                 days(30)]` or `self.born <= today() - years(18)`";
    let as_in = clock.split_once(" | ").unwrap().1;
    let cases = [
        ("x := now()", format!("clock «now()» in a derived field `now()` {clock}")),
        ("x := self.born = today()", format!("clock «today()» in a derived field `today()` {clock}")),
        ("x := year(today()) - year(self.born) > 18", format!("clock «today()» in a derived field `today()` {clock}")),
        ("x := self.seen - now() < days(3)", format!("clock «now()» in a derived field `now()` {clock}")),
        ("x := truncate(now(), 'day') < self.seen", format!("clock «now()» in a derived field `now()` {clock}")),
        (
            "x := now() > datetime(today())",
            format!("clock «today()» in a derived field `today()` {clock}"),
        ),
        ("x := now() > now() - days(1)", format!("clock «now() - days(1)» both sides of the comparison are the time | {as_in}")),
        (
            "x := self.seen > now() - days(self.age)",
            format!("clock «now() - days(self.age)» a span next to the time is a constant, and this one reads a field | {as_in}"),
        ),
        (
            "x := self.seen > now() - months(1) - days(3)",
            "clock «now() - months(1) - days(3)» next to the time stands one span of months or years, or exact ones, and \
             not both | write `months(14)` for a year and two months; an exact span goes to the other side"
                .into(),
        ),
        ("x := now(1) > self.seen", "arguments «now(1)» `now` takes no arguments, and 1 was given".into()),
        (
            "x := months(self.age)",
            "calendar-span «months(self.age)» `months` has no length of its own: it stands next to a datetime or a date, \
             behind + or - | as in `self.born + months(18)`; `days`, `weeks` and shorter are durations"
                .into(),
        ),
        (
            "x := self.age + years(1)",
            "operand-type «+» `+` goes between a datetime or a date and `years`, and this is int".into(),
        ),
        ("x := self.born + years('1')", "argument-type «'1'» `years` takes an int, and this is str".into()),
        ("x := self.born + years()", "arguments «years()» `years` takes one argument, and 0 were given".into()),
        (
            "x := truncate(self.seen, 'dya')",
            "unit «'dya'» `truncate` knows no unit \"dya\" here | did you mean \"day\"?".into(),
        ),
        (
            "x := truncate(self.born, 'hour')",
            "unit «'hour'» `truncate` knows no unit \"hour\" here | there are day, week, month, year".into(),
        ),
        (
            "x := truncate(self.born, self.name)",
            "unit «self.name» the unit of `truncate` is a text as it stands | as in `truncate(self.at, 'day')`".into(),
        ),
    ];
    for (field, expected) in cases {
        assert_eq!(in_person(&format!("seen: datetime\n {field}")), [expected], "{field}");
    }
    for right in [
        "x := self.seen > now() - days(30)",
        "x := hours(1) + now() + days(2) * 3 <= self.seen + months(self.age)",
        "x := today() - years(18) >= self.born",
        "x := count(self.team.members[born < today() - months(2 * 6)])",
        "x := now() > '2030-01-01T00:00:00Z'",
    ] {
        assert_eq!(in_person(&format!("seen: datetime\n {right}")), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn a_strict_field_cannot_follow_later() {
    assert_eq!(
        in_person("x := self.age / 2, strict, background"),
        [
            "option «background» a strict field is judged before the reply to a write, and a `background` field follows later | leave out one of the two"
        ]
    );
    assert_eq!(in_person("x := self.age / 2, background, index"), Vec::<String>::new());
    assert!(
        in_person("y: int background")[0]
            .starts_with("option «background» a field of this type has no option")
    );
}

#[test]
fn the_clock_stands_beside_a_recursion() {
    let schema = |field: &str| {
        format!("type A in as {{ up: link A, due: datetime, late := self.due < now(), {field} }}")
    };
    let found = findings(&schema("x := self.due < now() | self.up.x else false"));
    let help = "put the comparison into a field of its own, `late := self.due < now()`, and read that";
    let message = "`A.x` depends on itself, and such a field cannot look at the clock";
    let marked = "self.due < now() | self.up.x else false";
    assert_eq!(found, [format!("recursion-clock «{marked}» {message} | {help}")]);
    assert_eq!(findings(&schema("x := self.late | self.up.x else false")), Vec::<String>::new());
}

#[test]
fn mistakes_in_functions_in_javascript() {
    let cases = [
        ("x := js('(doc) => {', using: [name])", "script «'(doc) => {'» "),
        ("x := js('(doc) =>\\n doc..n', using: [name])", "script «'(doc) =>\\n doc..n'» line 2: "),
        ("x := js('5')", "script «'5'» this is no function; write `(doc) => …`"),
        ("x := js('d => 5n')", "script «'d => 5n'» `5n` is a bigint, and there are none here"),
        ("x := js()", "script «js()» `js` needs the text of a function | as in `js("),
        ("x := js(self.name)", "script «self.name» the function is a text, written out | as in"),
        ("x := js('d => 1', [name])", "script «[name]» what stands behind the function has a name | as in"),
        ("x := js('d => 1', using: name)", "script «name» `using` is a list of fields | as in"),
        (
            "x := js('d => 1', usign: [name])",
            "named-argument «usign» `js` has no argument named `usign` | did you mean `using`?",
        ),
        ("x := js('d => 1', using: [name], using: [age])", "script «using» `using` is given twice"),
        (
            "x := js('d => 1', using: [nmae])",
            "unknown-field «nmae» `Person` has no field `nmae` | did you mean `name`?",
        ),
        (
            "x := js('d => 1', using: [name, self.team.name])",
            "script «self.team.name» the function would be given two values `name` | a path goes by its last name",
        ),
        (
            "x := js('d => 1', using: [self.age + 1])",
            "script «self.age + 1» what a function is given is a field, or a path to one | declare",
        ),
        ("x := js('d => 1', steps: 5)", "script «5» `steps` is a whole number from 10000 to 100000000"),
        ("x := js('d => 1', using: [x])", "recursion"),
        ("x: int default js('d => 1')", "script «js('d => 1')» `js` is for derived fields only | declare"),
    ];
    for (field, wanted) in cases {
        let found = in_person(field);
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{field}: {found:#?}");
    }
}

#[test]
fn a_field_cannot_depend_on_itself_through_a_root_collection() {
    let found = findings(
        "type A in as { up: link A, x := 1 + max(as.x) else 0, y := 1 + self.up.y + count(as) else 0 }",
    );
    let message = "`A.x` depends on itself through a root collection, which holds this resource too";
    let help = "a field may depend on itself along links, parents, collections and inverses";
    assert_eq!(found, [format!("recursion-root «1 + max(as.x) else 0» {message} | {help}")]);
}
