//! What each construct of expressions means (as [`dump`] shows it), and its canonical text.

use corollary_syntax::{dump, format_expression, parse_expression, render};

/// The tree of a text, and its canonical text where that differs.
fn check(text: &str, tree: &str, formatted: &str) {
    let parsed = parse_expression(text);
    assert!(parsed.diagnostics.is_empty(), "{}", render(&parsed.diagnostics, "expression", text));
    assert_eq!(dump(&parsed.tree), tree, "{text}");
    assert_eq!(format_expression(&parsed.tree), if formatted.is_empty() { text } else { formatted });
}

#[test]
fn literals() {
    check("null", "null", "");
    check("true", "true", "");
    check("42", "42", "");
    check("007", "7", "7");
    check("-42", "-42", "");
    check("9223372036854775807", "9223372036854775807", "");
    check("-9223372036854775808", "-9223372036854775808", "");
    check("1.50", "#1.50", "");
    check("-2.5e-3", "#-2.5e-3", "");
    check("99999999999999999999.0", "#99999999999999999999.0", "");
    check("\"a\"", "'a'", "'a'");
    check("\"it's\"", "\"it's\"", "");
    check(r#"'\n\t\\\'\"\u{e4}\u{0}'"#, r#"'\n\t\\\'"ä\u{0}'"#, r#"'\n\t\\\'"ä\u{0}'"#);
    check("[]", "(list)", "");
    check("[1, 'a',]", "(list 1 'a')", "[1, 'a']");
}

#[test]
fn precedence() {
    check("1 + 2 * 3", "(+ 1 (* 2 3))", "");
    check("(1 + 2) * 3", "(* (+ 1 2) 3)", "");
    check("10 - 3 - 2", "(- (- 10 3) 2)", "");
    check("10 - (3 - 2)", "(- 10 (- 3 2))", "");
    check("-2 * 3", "(* -2 3)", "");
    check("-a * b", "(* (neg a) b)", "");
    check("-(a * b)", "(neg (* a b))", "");
    check("--a", "(neg (neg a))", "");
    check("-(5)", "(neg 5)", "");
    check("--5", "(neg -5)", "");
    check("2 -3", "(- 2 3)", "2 - 3");
    check("a | b & c", "(or a (and b c))", "a or b and c");
    check("(a or b) and c", "(and (or a b) c)", "");
    check("not a = b and c", "(and (not (= a b)) c)", "");
    check("!a", "(not a)", "not a");
    check("not not a", "(not (not a))", "");
    check("a = (not b)", "(= a (not b))", "");
    check("a + 1 < b * 2", "(< (+ a 1) (* b 2))", "");
    check("(a < b) = c", "(= (< a b) c)", "");
    check("a in [1, 2] or b ~ 'x'", "(or (in a (list 1 2)) (~ b 'x'))", "");
    check("((a))", "a", "a");
}

#[test]
fn else_binds_weakest() {
    check("a ?? b else c", "(else (?? a b) c)", "a ?? b else c");
    check("a else b else c", "(else (else a b) c)", "");
    check("a else (b else c)", "(else a (else b c))", "");
    check("1 + a else b or c", "(else (+ 1 a) (or b c))", "");
    check("c -> a : b else d", "(else (if c a b) d)", "");
    check("c -> a : (b else d)", "(if c a (else b d))", "");
    check("a else c -> d : e", "(else a (if c d e))", "");
    check("c -> a else b : d", "(if c (else a b) d)", "");
    check("(a else b) -> c : d", "(if (else a b) c d)", "");
}

#[test]
fn conditionals_and_switches() {
    check("a -> b : c", "(if a b c)", "");
    check("a -> b : c -> d : e", "(if a b (if c d e))", "");
    check("a -> b -> c : d : e", "(if a (if b c d) e)", "");
    check("(a -> b : c) -> d : e", "(if (if a b c) d e)", "");
    check("a -> (b) : c", "(if a b c)", "a -> b : c");
    check("a -> (b + c) * d : e", "(if a (* (+ b c) d) e)", "");
    check("a -> (b -> c : d) : e", "(if a (if b c d) e)", "a -> b -> c : d : e");
    check("x -> ('k': a, 'l': b, else: c)", "(switch x 'k':a 'l':b else:c)", "");
    check("x -> (1: a -> b : c)", "(switch x 1:(if a b c))", "");
    check("x -> (else: 1)", "(switch x else:1)", "");
    check("x -> ((a -> b : c): d)", "(switch x (if a b c):d)", "");
    check("x -> ((a -> b : c) + 1: d)", "(switch x (+ (if a b c) 1):d)", "");
    check(
        "x -> (\n  'k': a else b,\n  else: c,\n)",
        "(switch x 'k':(else a b) else:c)",
        "x -> ('k': a else b, else: c)",
    );
    check("c -> x -> (1: 2) : 3", "(if c (switch x 1:2) 3)", "");
    check("c -> (x -> (1: 2))[0] : 3", "(if c (at 0 (switch x 1:2)) 3)", "");
    check("c -> f(a: 1) : 3", "(if c (call f a:1) 3)", "");
}

#[test]
fn paths() {
    check("self.a.b", "(.b (.a SELF))", "");
    check("self.order.in.self.parent_x", "(.parent_x (.self (.in (.order SELF))))", "");
    check("root.a", "(.a ROOT)", "");
    check("parent.a", "(.a PARENT)", "");
    check("ego.a", "(.a EGO)", "");
    check("parent_x.self", "(.self parent_x)", "");
    check("a[-1]", "(at -1 a)", "");
    check("a[(1)]", "(filter a 1)", "");
    check("a[1 + 1]", "(filter a (+ 1 1))", "");
    check("a[0..5]", "(slice 0..5 a)", "");
    check("a[..-5]", "(slice _..-5 a)", "");
    check("a[2..]", "(slice 2.._ a)", "");
    check("a[..]", "(slice _.._ a)", "");
    check("a[order by b desc, c asc, d.e]", "(order a >b <c <(.e d))", "a[order by b desc, c, d.e]");
    check("a[order]", "(filter a order)", "");
    check("a[order and by]", "(filter a (and order by))", "");
    check("a[b = 1][0].c", "(.c (at 0 (filter a (= b 1))))", "");
    check("(a + b).c", "(.c (+ a b))", "");
    check("(-1)[0]", "(at 0 -1)", "");
    check("-a.b", "(neg (.b a))", "");
    check("a\n  .b\n  [0]", "(at 0 (.b a))", "a.b[0]");
    check("a // first\n /* second */ + b", "(+ a b)", "a + b");
}

#[test]
fn calls() {
    check("count()", "(call count)", "");
    check("round (2.5, 1)", "(call round #2.5 1)", "round(2.5, 1)");
    check("group(self.a, by: level, count())", "(call group (.a SELF) by:level (call count))", "");
    check("f(by: a -> b : c)", "(call f by:(if a b c))", "");
    check("js('(x) => 1', using: [title])", "(call js '(x) => 1' using:(list title))", "");
    check("first(a).b[0]", "(at 0 (.b (call first a)))", "");
    check("if(a, b)", "(call if a b)", "");
}
