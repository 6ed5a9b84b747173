//! The canonical text of schemas: layout, alignment and comments.

use corollary_syntax::ast::{FieldKindText, TypeExprKind};
use corollary_syntax::{format_schema, parse_schema};

fn check(text: &str, expected: &str) {
    let formatted = format_schema(text).expect("a text without errors");
    assert_eq!(formatted, expected.trim_start_matches('\n'));
    assert_eq!(format_schema(&formatted).as_deref(), Ok(formatted.as_str()));
}

#[test]
fn members_are_aligned_between_blank_lines() {
    check(
        "schema  s\ntype A   in as{a:int required unique,bcd := a+1 index\n\nlong_name: str\nx: link A}type B{}",
        "
schema s

type A in as {
  a:  int required unique
  bcd := a + 1, index

  long_name: str
  x:         link A
}

type B {}
",
    );
}

#[test]
fn comments_stay() {
    check(
        "// licence\n\n/* about s */\nschema s // name\n// of A\ntype A /* head */ in as { // open\n// above\n\n  a: int, // behind\n  // last\n\n} // close\n\n\n// end",
        "
// licence

/* about s */
schema s  // name

// of A
/* head */
type A in as {  // open
  // above

  a: int  // behind
  // last
}  // close

// end
",
    );
    check(
        "type A {\n  a: { b: int // in\n // end\n }, c: str\n  d := f( // why\n 1)\n}",
        "
type A {
  a: {
    b: int  // in
    // end
  }
  c: str
  // why
  d  := f(1)
}
",
    );
}

#[test]
fn long_lines_are_broken() {
    check(
        "type A in as url := '/a/very/long/path/' + self.a_name + '/' + self.another_name + '/' + self.third_name, history {
  kind: \"a rather long value\" | \"another rather long value\" | \"a third one\" | \"and a fourth value\" default \"a third one\"
  address: { street: str required, min_length 1, city: str required, min_length 1, country: str default \"somewhere\" }
  total := sum(self.items[price > 10 and amount > 0].price) - self.discount * sum(self.items.amount) else 0
  label := self.kind = 'a third one' and count(self.items) > 100 -> 'a great many of the third' : self.level -> ('upper': 'something for the upper ones', 'lower': 'something for the lower ones', else: null)
}",
        "
type A in as
  url := '/a/very/long/path/' + self.a_name + '/' + self.another_name + '/' + self.third_name
  history
{
  kind:    \"a rather long value\"
    | \"another rather long value\"
    | \"a third one\"
    | \"and a fourth value\" default \"a third one\"
  address: {
    street:  str required, min_length 1
    city:    str required, min_length 1
    country: str default \"somewhere\"
  }
  total    := sum(self.items[price > 10 and amount > 0].price)
      - self.discount * sum(self.items.amount)
    else 0
  label    := self.kind = 'a third one' and count(self.items) > 100
    -> 'a great many of the third'
    : self.level -> (
      'upper': 'something for the upper ones',
      'lower': 'something for the lower ones',
      else: null
    )
}
",
    );
}

#[test]
fn unions_are_objects_with_a_name_before_them() {
    check(
        "type A {\n  a: union  kind{card:{number:str required},cash:{ }} required\n  parts: [ union kind { // of what\n // paid\n card: { n: int } // by card\n\n cash: {}\n // end\n } ]\n  b: map<union /* which */ kind\n { a: { x: int }\n bc: { long: \"a rather long value\" | \"another rather long value\" | \"a third\", y: str } }>\n}",
        "
type A {
  a:     union kind { card: { number: str required }, cash: {} } required
  parts: [union kind {  // of what
    // paid
    card: { n: int }  // by card

    cash: {}
    // end
  }]
  /* which */
  b:     map<union kind {
    a:  { x: int }
    bc: { long: \"a rather long value\" | \"another rather long value\" | \"a third\", y: str }
  }>
}
",
    );
}

#[test]
fn texts_without_types_are_left() {
    check("", "");
    check("\n\n// only\n\n\n/* this */", "\n// only\n\n/* this */\n".trim_start());
    check("schema s", "schema s\n");
}

#[test]
fn texts_with_errors_are_refused() {
    let errors = format_schema("type A { x: int requird }").expect_err("an error");
    assert_eq!(errors[0].code, "unknown-option");
}

#[test]
fn the_tree_holds_comments() {
    let text = "// not of A\n\n// one\n/* two */\ntype A { // open\n  // of x\n  x: { // open\n y: int // of y\n } // behind x\n  z: int, w: int // behind w\n}";
    let tree = parse_schema(text).tree;
    let a = &tree.types[0];
    assert_eq!(a.comments, ["one", "two"]);
    assert_eq!(a.fields[0].comments, ["of x"]);
    assert_eq!(a.fields[0].trailing_comment.as_deref(), Some("behind x"));
    assert_eq!(a.fields[1].trailing_comment, None);
    assert_eq!(a.fields[2].trailing_comment.as_deref(), Some("behind w"));
    let FieldKindText::Stored(x) = &a.fields[0].kind else { panic!("x is stored") };
    let TypeExprKind::Object(inner) = &x.kind else { panic!("x is an object") };
    assert_eq!(inner[0].comments, [] as [&str; 0]);
    assert_eq!(inner[0].trailing_comment.as_deref(), Some("of y"));
}

#[test]
fn places_are_those_of_the_text() {
    let text = "abstract type A in as {\n  x: [str] required, min_length 2 // c\n  y := (1 + 2) * 3\n}";
    let tree = parse_schema(text).tree;
    let slice = |span: corollary_syntax::span::Span| &text[span.start as usize..span.end as usize];
    let a = &tree.types[0];
    assert_eq!(slice(a.span), text);
    assert_eq!(slice(a.fields[0].span), "x: [str] required, min_length 2");
    assert_eq!(slice(a.fields[0].options[1].span), "min_length 2");
    assert_eq!(slice(a.fields[1].span), "y := (1 + 2) * 3");
    let FieldKindText::Derived(y) = &a.fields[1].kind else { panic!("y is derived") };
    assert_eq!(slice(y.span), "(1 + 2) * 3");
}
