//! What holds of all texts and all trees: no panic, places within the text, and a lossless way to text and back.

use corollary_syntax::ast::{Argument, BinaryOp, Expr, ExprKind, Ident, OrderKey, UnaryOp};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use corollary_syntax::{
    dump, dump_schema, expression_to_json, format_expression, format_schema, json_to_schema,
    parse_expression, parse_expression_json, parse_schema, parse_schema_json, render, schema_to_json,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Pieces of which texts are put together that come close to real ones.
const PIECES: &[&str] = &[
    "schema s\n",
    "type A in as {\n",
    "type ",
    "abstract type B is A {",
    "}",
    "{",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    ":=",
    ".",
    "..",
    "=",
    "!=",
    "<",
    "<=",
    ">",
    "~",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "|",
    "!",
    "->",
    "??",
    "?",
    "==",
    "=>",
    ";",
    "#",
    "@",
    "ö",
    "“",
    "'a'",
    "\"b\"",
    "'open",
    "\\",
    "'\\u{1f}'",
    "// c\n",
    "/* d */",
    "/*",
    "\n",
    " ",
    "\t",
    "\r\n",
    "1",
    "2.5",
    "1e9",
    "9223372036854775808",
    "x",
    "self",
    "root",
    "parent",
    "ego",
    "null",
    "true",
    "not",
    "and",
    "or",
    "in",
    "else",
    "order by",
    "desc",
    "by",
    "is",
    "if",
    "then",
    "x: int",
    "y := ",
    "link",
    "links",
    "collection",
    "ordered",
    "inverse",
    "A",
    "str",
    "int",
    "set<",
    "map<",
    "required",
    "default",
    "unique in parent",
    "unique",
    "write",
    "once",
    "on delete",
    "normalize (",
    "min",
    "search",
    "path",
    "url :=",
    "expires after",
    "union",
    "union kind {",
    "sum(",
    "f(x: ",
    "self.a[",
    "x -> (",
    "c -> ",
    " : ",
    "z: { ",
    "requierd",
    "tpye",
];

fn check_places(text: &str, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let Span { start, end } = diagnostic.span;
        let (start, end) = (start as usize, end as usize);
        assert!(start <= end && end <= text.len(), "{diagnostic:?} in {text:?}");
        assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{diagnostic:?} in {text:?}");
    }
    assert!(diagnostics.is_sorted_by_key(|diagnostic| diagnostic.span.start), "{diagnostics:?}");
    render(diagnostics, "text", text);
}

/// All that must hold of any text.
fn check_text(text: &str) {
    let expression = parse_expression(text);
    check_places(text, &expression.diagnostics);
    if expression.diagnostics.is_empty() {
        let formatted = format_expression(&expression.tree);
        let again = parse_expression(&formatted);
        assert_eq!(again.diagnostics, [], "{text:?} -> {formatted:?}");
        assert_eq!(dump(&again.tree), dump(&expression.tree), "{text:?} -> {formatted:?}");
    }
    let schema = parse_schema(text);
    check_places(text, &schema.diagnostics);
    match format_schema(text) {
        Ok(formatted) => check_formatted(text, &formatted),
        Err(diagnostics) => assert_eq!(diagnostics, schema.diagnostics),
    }
}

fn check_formatted(text: &str, formatted: &str) {
    let again = parse_schema(formatted);
    assert_eq!(again.diagnostics, [], "{text}\n->\n{formatted}");
    assert_eq!(dump_schema(&again.tree), dump_schema(&parse_schema(text).tree), "{text}\n->\n{formatted}");
    check_json(formatted);
    let twice = format_schema(formatted);
    assert_eq!(twice.as_deref(), Ok(formatted), "{text}\n->\n{formatted}");
    assert!(formatted.lines().all(|line| line == line.trim_end()) || text.contains("/*"), "{formatted:?}");
}

/// The JSON form of a canonical text has the same tree, comments and blank lines.
fn check_json(formatted: &str) {
    let json =
        schema_to_json(formatted).unwrap_or_else(|found| panic!("{}", render(&found, "text", formatted)));
    let tree = parse_schema_json(&json);
    assert!(tree.diagnostics.is_empty(), "{}\n{formatted}", render(&tree.diagnostics, "json", &json));
    assert_eq!(dump_schema(&tree.tree), dump_schema(&parse_schema(formatted).tree), "{formatted}\n{json}");
    let again = json_to_schema(&json).unwrap_or_else(|found| panic!("{}", render(&found, "json", &json)));
    assert_eq!(again, formatted, "{json}");
    assert_eq!(schema_to_json(&again).as_deref(), Ok(&*json));
}

fn expr(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

fn ident(name: &str) -> Ident {
    Ident { name: name.into(), span: Span::default() }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a", "b1", "order", "by", "desc", "level", "parent_x", "link", "type", "sum", "if", "js",
    ])
}

/// Behind a dot, any word may stand.
fn field_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![name(), prop::sample::select(vec!["in", "self", "else", "not", "null", "order", "parent"])]
}

fn operator() -> impl Strategy<Value = BinaryOp> {
    prop::sample::select(BinaryOp::ALL.to_vec())
}

fn leaf() -> impl Strategy<Value = Expr> {
    prop_oneof![
        Just(ExprKind::Null),
        any::<bool>().prop_map(ExprKind::Bool),
        prop_oneof![Just(i64::MIN), Just(i64::MAX), -3i64..4, any::<i64>()].prop_map(ExprKind::Int),
        prop::sample::select(vec!["1.5", "-0.25", "2e9", "-1.5E-3", "00.10"])
            .prop_map(|n| ExprKind::Number(n.into())),
        any::<String>().prop_map(|value| ExprKind::Str(value.into())),
        prop::sample::select(vec!["it's", "say \"hi\"", "both ' and \"", "\\n", "\n\t\u{0}\u{202e}"])
            .prop_map(|value| ExprKind::Str(value.into())),
        name().prop_map(|name| ExprKind::Name(name.into())),
        Just(ExprKind::SelfRef),
        Just(ExprKind::Parent),
        Just(ExprKind::Ego),
        Just(ExprKind::Root),
    ]
    .prop_map(expr)
}

fn expression() -> impl Strategy<Value = Expr> {
    leaf().prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new).boxed();
        let base = || boxed.clone();
        let argument = (option::of(field_name()), inner.clone())
            .prop_map(|(name, value)| Argument { name: name.map(ident), value });
        let key = (inner.clone(), any::<bool>()).prop_map(|(expr, descending)| OrderKey { expr, descending });
        prop_oneof![
            (base(), field_name()).prop_map(|(base, name)| ExprKind::Field { base, name: ident(name) }),
            (base(), base()).prop_map(|(base, condition)| ExprKind::Filter { base, condition }),
            (base(), vec(key, 1..3)).prop_map(|(base, keys)| ExprKind::Order { base, keys }),
            (base(), any::<i64>()).prop_map(|(base, index)| ExprKind::Index { base, index }),
            (base(), any::<Option<i64>>(), any::<Option<i64>>())
                .prop_map(|(base, from, to)| ExprKind::Slice { base, from, to }),
            (name(), vec(argument, 0..3))
                .prop_map(|(name, arguments)| ExprKind::Call { name: ident(name), arguments }),
            base().prop_map(|operand| ExprKind::Unary { op: UnaryOp::Negate, operand }),
            base().prop_map(|operand| ExprKind::Unary { op: UnaryOp::Not, operand }),
            (operator(), base(), base()).prop_map(|(op, left, right)| ExprKind::Binary {
                op,
                op_span: Span::default(),
                left,
                right
            }),
            (operator(), base(), base()).prop_map(|(op, left, right)| ExprKind::Binary {
                op,
                op_span: Span::default(),
                left,
                right
            }),
            (base(), base(), base()).prop_map(|(condition, then, otherwise)| ExprKind::Conditional {
                condition,
                then,
                otherwise
            }),
            (base(), vec((inner.clone(), inner.clone()), 0..3), option::of(base()))
                .prop_filter("a switch has a case", |(_, cases, otherwise)| !cases.is_empty()
                    || otherwise.is_some())
                .prop_map(|(subject, cases, otherwise)| ExprKind::Switch { subject, cases, otherwise }),
            vec(inner, 0..3).prop_map(ExprKind::List),
        ]
        .prop_map(expr)
    })
}

/// White space, comments and line breaks where one or more separators may stand within a line's end.
fn line_end() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\n",
        "\n",
        "\n\n\n",
        "  // trailing\n",
        " /* a */ // b\n",
        "\n  // above\n",
        "\n\n// apart\n\n",
        ",\n",
        ", // c\r\n",
        "\n/* two\n\n   lines */\n",
        " /* over\n lines */\n",
        " // {\n\n",
    ])
}

fn value_type() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["str", "int", "json", "datetime", "Unknown"]).prop_map(str::to_string),
        vec(prop::sample::select(vec!["\"upper\"", "'it\\'s'", "\"a long value of an enumeration\""]), 1..6)
            .prop_map(|values| values.join(" |\n ")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let field =
            (field_name(), inner.clone(), line_end()).prop_map(|(n, t, end)| format!("{n}: {t}{end}"));
        prop_oneof![
            inner.clone().prop_map(|t| format!("[{t}]")),
            inner.clone().prop_map(|t| format!("set< {t} >")),
            inner.clone().prop_map(|t| format!("map<{t}>")),
            vec((name(), inner), 1..4).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(n, t)| format!("{n}: {t}")).collect();
                format!("{{ {} }}", fields.join(", "))
            }),
            (
                option::of(name()),
                line_end().prop_filter("no comma", |end| !end.contains(',')),
                vec(field, 0..3)
            )
                .prop_map(|(union, end, fields)| {
                    // What stands behind the name of a variant is not the grammar's to say.
                    let union = union.map_or(String::new(), |name| format!("union /* of */ {name}\n"));
                    format!("{union}{{{end}{}}}", fields.concat())
                }),
        ]
    })
}

fn field_options() -> impl Strategy<Value = String> {
    let with_value = (prop::sample::select(vec!["default", "min", "max", "description"]), expression())
        .prop_map(|(option, value)| format!("{option} {}", format_expression(&value)));
    let plain = prop::sample::select(vec![
        "required",
        "unique",
        "unique in parent",
        "write once",
        "normalize (lower,trim)",
        "normalize nfc",
        "search text",
        "on delete cascade",
    ])
    .prop_map(str::to_string);
    vec(prop_oneof![plain, with_value], 0..4).prop_map(|options| {
        options
            .iter()
            .enumerate()
            .map(|(n, o)| format!("{}{o}", [" ", ", ", ",\n  "][n % 3]))
            .collect::<String>()
    })
}

fn mount_text() -> impl Strategy<Value = String> {
    let head = prop::sample::select(vec![
        "mount catalogue of A",
        "mount as/{a}/ bs of B // note\n",
        "mount partners /* of ours */ proxy 'http://127.0.0.1/api/\"them\"'",
    ]);
    let words = prop::sample::select(vec![
        "allow read, create",
        "allow read,\n\n  update , delete",
        "fields name, by: author, allow",
        "fields where, fields : a,\nforward",
        "fields a_long_name_of_a_field: a, another_long_name_of_a_field: b, a_third_long_name: c, d: d",
        "forward credentials",
    ])
    .prop_map(str::to_string);
    let clause = prop_oneof![
        words,
        expression().prop_map(|value| format!("where ({})", format_expression(&value))),
        expression().prop_map(|value| format!("where ( // hoisted\n\n {})", format_expression(&value))),
    ];
    let clause = (clause, line_end()).prop_map(|(clause, end)| format!("{clause}{end}"));
    let open = line_end().prop_filter("no comma", |end| !end.contains(',')).boxed();
    let body = (open.clone(), vec(clause, 0..4))
        .prop_map(|(open, clauses)| format!(" {{{open}{}}}", clauses.concat()));
    (head, option::of(body), open).prop_map(|(head, body, end)| {
        format!("{head}{}{}", body.unwrap_or_default(), if end.contains('\n') { end } else { "\n" })
    })
}

fn schema_text() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        value_type().prop_map(|t| format!(": {t}")),
        expression().prop_map(|value| format!(" := {}", format_expression(&value))),
        expression().prop_map(|value| format!(" := ( // hoisted\n\n {})", format_expression(&value))),
        prop::sample::select(vec![
            ": link A",
            ": link A | B",
            ":links A|B | C",
            ": links B",
            ": /* in */ collection C",
            ": collection C | D",
            ":ordered collection D",
            ": inverse A . b"
        ])
        .prop_map(str::to_string),
    ];
    let field_name = prop_oneof![field_name(), Just("a_name_that_is_longer_than_any_other")];
    let field = (field_name, kind, field_options(), line_end())
        .prop_map(|(name, kind, options, end)| format!("{name}{kind}{options}{end}"));
    let head = prop::sample::select(vec![
        "type A",
        "abstract type A is B, C",
        "type A in as path name, history",
        "type A in as index (a, b desc) history index (c desc, d asc,\n e), created_at",
        "type A // note\n in as\n url := parent.url + '/' + self.a_rather_long_name_of_a_field created_at updated_at expires after days(3)",
    ]);
    let open = line_end().prop_filter("no comma", |end| !end.contains(',')).boxed();
    let one = (head, open.clone(), vec(field, 0..6), open.clone())
        .prop_map(|(head, open, fields, end)| format!("{head} {{{open}{}}}{end}", fields.concat()));
    let start = prop::sample::select(vec![
        "",
        "// licence\n\nschema s // name\n",
        "schema s\n",
        "\u{feff}\n\n/* x */",
    ]);
    (start, vec(one, 0..4), vec(mount_text(), 0..3))
        .prop_map(|(start, types, mounts)| format!("{start}{}{}", types.concat(), mounts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 500 } else { 20_000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_taken(text in any::<String>()) {
        check_text(&text);
    }

    #[test]
    fn any_bytes_are_taken(bytes in vec(any::<u8>(), 0..200)) {
        check_text(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces_are_taken(
        pieces in vec((prop::sample::select(PIECES), prop::sample::select(vec!["", " ", "\n"])), 0..60),
    ) {
        check_text(&pieces.iter().flat_map(|(piece, space)| [*piece, *space]).collect::<String>());
    }

    #[test]
    fn any_pieces_within_a_type_are_taken(
        pieces in vec((prop::sample::select(PIECES), prop::sample::select(vec!["", " ", "\n"])), 0..12),
    ) {
        let inner: String = pieces.iter().flat_map(|(piece, space)| [*piece, *space]).collect();
        check_text(&format!("type A in as {{\n  x: int {inner}\n}}\n"));
        check_text(&format!("type A in as {{\n  x := {inner}\n}}\n"));
    }

    #[test]
    fn expressions_survive_the_way_to_text_and_back(tree in expression()) {
        let text = format_expression(&tree);
        let parsed = parse_expression(&text);
        prop_assert_eq!(parsed.diagnostics, [], "{}", text);
        prop_assert_eq!(dump(&parsed.tree), dump(&tree), "{}", text);
        let json = expression_to_json(&tree);
        let again = parse_expression_json(&json);
        prop_assert!(again.diagnostics.is_empty(), "{}", render(&again.diagnostics, "json", &json));
        prop_assert_eq!(dump(&again.tree), dump(&tree), "{}", json);
        prop_assert_eq!(format_expression(&parsed.tree), text);
    }

    /// Removing any pair of brackets that the formatter wrote changes the tree, so all of them are needed.
    #[test]
    fn expressions_have_no_needless_brackets(tree in expression()) {
        let text = format_expression(&tree);
        for (open, close) in bracket_pairs(&text) {
            let without = format!("{}{}{}", &text[..open], &text[open + 1..close], &text[close + 1..]);
            let parsed = parse_expression(&without);
            let same = parsed.diagnostics.is_empty() && dump(&parsed.tree) == dump(&tree);
            prop_assert!(!same || needed_for_reading(&text, open), "{} is the same as {}", text, without);
        }
    }

    #[test]
    fn schemas_survive_formatting(text in schema_text()) {
        match format_schema(&text) {
            Ok(formatted) => {
                check_formatted(&text, &formatted);
                prop_assert_eq!(comments(&formatted), comments(&text), "{}\n->\n{}", text, formatted);
            }
            Err(diagnostics) => prop_assert!(false, "{}", render(&diagnostics, "text", &text)),
        }
    }
}

/// How many comments of each kind of mark stand in a generated text, whose strings hold none.
fn comments(text: &str) -> usize {
    [
        "// trailing",
        "// b",
        "// above",
        "// apart",
        "// c",
        "// {",
        "// hoisted",
        "// note",
        "// licence",
        "// name",
    ]
    .into_iter()
    .chain(["/* a */", "/* two", "/* over", "/* in */", "/* x */"])
    .map(|mark| text.matches(mark).count())
    .sum()
}

/// The pairs of round brackets outside of strings.
fn bracket_pairs(text: &str) -> Vec<(usize, usize)> {
    let (mut open, mut pairs, mut quote, mut escaped) = (Vec::new(), Vec::new(), None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if std::mem::take(&mut escaped) => {}
            (Some(_), '\\') => escaped = true,
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => open.push(at),
            (None, ')') => pairs.extend(open.pop().map(|open| (open, at))),
            _ => {}
        }
    }
    pairs
}

/// Around a number to which steps are applied.
fn needed_for_reading(text: &str, open: usize) -> bool {
    text[open + 1..].starts_with(|c: char| c.is_ascii_digit())
}
