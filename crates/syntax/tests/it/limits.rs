//! Texts at and past the limits: each gets one clear finding, and none exhausts a small stack or much time.

use std::time::Duration;

use corollary_syntax::limits::{MAX_DEPTH, MAX_DIAGNOSTICS, MAX_HEIGHT, MAX_TEXT_BYTES};
use corollary_syntax::{dump, format_expression, format_schema, parse_expression, parse_schema};

/// The stack on which all runs here: a quarter of what a thread usually gets.
const STACK_BYTES: usize = 512 * 1024;

/// More than enough for all the long texts here, even in an unoptimized build; of the thread's own time, so that a busy
/// machine has no part in it.
const LONGEST: Duration = Duration::from_secs(20);

/// How long this thread has been at work.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn on_a_small_stack(step: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(step).expect("a thread");
    thread.join().expect("no panic");
}

fn codes(text: &str) -> Vec<&'static str> {
    parse_expression(text).diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

#[test]
fn nesting_is_limited() {
    on_a_small_stack(|| {
        for (open, close) in [
            ("(", ")"),
            ("[", "]"),
            ("f(", ")"),
            ("-", ""),
            ("not ", ""),
            ("a[b = ", "]"),
            ("c -> ", " : d"),
            ("c -> d : ", ""),
            ("x -> (1: ", ")"),
            ("x -> (else: a else b or c and d = e + f * -g(", "))"),
        ] {
            let nested = |n: usize| format!("{}x{}", open.repeat(n), close.repeat(n));
            let fits = nested(MAX_DEPTH / 3);
            assert_eq!(codes(&fits), [] as [&str; 0], "{fits}");
            let formatted = format_expression(&parse_expression(&fits).tree);
            assert_eq!(dump(&parse_expression(&formatted).tree), dump(&parse_expression(&fits).tree));
            assert_eq!(codes(&nested(MAX_DEPTH + 1)), ["too-deep"], "{open}");
            assert_eq!(codes(&nested(MAX_TEXT_BYTES / 100)), ["too-deep"], "{open}");
        }
        for (open, close) in [("[", "]"), ("set<", ">"), ("{ a: ", " }")] {
            let nested =
                |n: usize| format!("type A {{ x: {}str{}\n y: int }}", open.repeat(n), close.repeat(n));
            assert!(format_schema(&nested(MAX_DEPTH / 3)).is_ok());
            for n in [MAX_DEPTH + 1, MAX_TEXT_BYTES / 100] {
                let parsed = parse_schema(&nested(n));
                let found: Vec<&str> = parsed.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
                assert_eq!(found.first(), Some(&"too-deep"), "{open} {n}");
            }
        }
    });
}

#[test]
fn chains_are_limited() {
    on_a_small_stack(|| {
        for link in [" + a", ".a", "[1]", " else a", " and a", "[b]"] {
            let chain = |n: usize| format!("a{}", link.repeat(n));
            let fits = chain(MAX_HEIGHT - 1);
            assert_eq!(codes(&fits), [] as [&str; 0], "{link}");
            let formatted = format_expression(&parse_expression(&fits).tree);
            assert_eq!(parse_expression(&formatted).diagnostics, []);
            assert_eq!(codes(&chain(MAX_HEIGHT + 1)), ["too-deep"], "{link}");
            assert_eq!(codes(&chain(100_000)), ["too-deep"], "{link}");
        }
    });
}

#[test]
fn texts_are_limited() {
    let long = " ".repeat(MAX_TEXT_BYTES + 1);
    assert_eq!(codes(&long), ["text-too-long"]);
    assert_eq!(parse_schema(&long).diagnostics[0].code, "text-too-long");
    assert!(parse_schema(&long[1..]).diagnostics.is_empty());
}

#[test]
fn findings_are_limited() {
    let text = format!("type A {{\n{}}}\n", "  x: int requird\n".repeat(1000));
    let diagnostics = parse_schema(&text).diagnostics;
    assert_eq!(diagnostics.len(), MAX_DIAGNOSTICS + 1);
    assert_eq!(diagnostics[MAX_DIAGNOSTICS].code, "too-many-errors");
    assert!(codes(&"@ ".repeat(1000)).len() == MAX_DIAGNOSTICS + 1);
}

/// No text takes time that grows faster than its length by more than the limits above.
#[test]
fn long_texts_take_little_time() {
    on_a_small_stack(|| {
        let fill = |piece: &str| piece.repeat(MAX_TEXT_BYTES / 8 / piece.len());
        let start = worked();
        for piece in [
            "(",
            "x -> (",
            "x := a -> (\n",
            "{",
            "}",
            "[a ",
            "f(a, ",
            "'",
            "/*",
            "// c\n",
            "@",
            "# ",
            "type A {\n",
            "a: { b: int }\n",
            "?",
            ",",
            "a.b(",
            "not in ",
        ] {
            for text in [fill(piece), format!("type A {{\n{}", fill(piece))] {
                parse_expression(&text);
                parse_schema(&text);
            }
        }
        let wide = format!("f({})", fill("a, "));
        assert_eq!(format_expression(&parse_expression(&wide).tree).len(), wide.len() - 2);
        let members = format!("type A {{\n{}}}\n", fill("  // above\n  a: { b: int } // behind\n"));
        assert!(format_schema(&members).is_ok());
        let derived = format!("type A {{\n  a := f({})\n}}\n", fill("a, "));
        assert!(format_schema(&derived).is_ok());
        let took = worked() - start;
        assert!(took < LONGEST, "{took:?}");
    });
}
