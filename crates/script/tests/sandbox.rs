//! What a function can do, and what it cannot.

use corollary_script::{Limits, call, check};
use corollary_value::Value;

fn run(source: &str) -> Result<Value, String> {
    call(source, &[("n".into(), Value::Int(5))], &Limits::default()).map_err(|failure| failure.message)
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

#[test]
fn values_go_in_and_come_out() {
    assert_eq!(run("(doc) => doc.n + 1"), Ok(Value::Int(6)));
    assert_eq!(run("(doc) => doc.n / 2"), Ok(Value::Float(2.5)));
    assert_eq!(run("doc => 'a'.repeat(doc.n)"), Ok(text("aaaaa")));
    assert_eq!(run("() => undefined"), Ok(Value::Null));
    assert_eq!(
        run("() => [1, null, 'x', true]").unwrap().to_string(),
        Value::List([Value::Int(1), Value::Null, text("x"), Value::Bool(true)].into()).to_string()
    );
    assert_eq!(
        run("function f(doc) { return { k: doc.n, gone: undefined }; }"),
        Ok(Value::Object([("k".into(), Value::Int(5))].into()))
    );
    let given = [("big".into(), Value::Int(i64::MAX)), ("d".into(), Value::Decimal("1.50".parse().unwrap()))];
    let kinds = call("d => typeof d.big + typeof d.d + d.d", &given, &Limits::default());
    assert_eq!(kinds, Ok(text("stringstring1.50")));
}

#[test]
fn what_goes_wrong_is_a_failure_and_nothing_more() {
    let cases = [
        ("() => { throw new Error('no') }", "no"),
        ("() => { throw 'no' }", "thrown: no"),
        ("() => { for (;;) {} }", "it took too many steps"),
        ("() => { const all = []; for (;;) all.push('x'.repeat(100000) + all.length) }", "out of memory"),
        ("function f() { return f() }", "Maximum call stack size exceeded"),
        ("() => /^(a+)+$/.test('a'.repeat(40) + 'b')", "it took too many steps"),
        ("() => [].indexOf.call({ length: 2 ** 53 - 1 }, 1)", "this is no array"),
        ("() => new Array(4294967295).indexOf(1)", "more than 10000000 elements"),
        ("() => NaN", "NaN is no number"),
        ("() => ({ f() {} })", "a function is no value"),
        ("d => eval('1')", "eval is not defined"),
        ("d => Function('return 1')()", "Function is not defined"),
        ("d => (() => {}).constructor('return 1')()", "not a function"),
        ("d => (function* () {}).constructor('return 1')()", "not a function"),
        ("d => BigInt(1)", "BigInt is not defined"),
        ("() => { const a = Array(5000).fill(7); for (;;) a.indexOf(1) }", "more than 10000000 elements"),
        ("() => { const a = []; a.push(a); return a }", "circular reference"),
        (
            "() => { let a = []; for (let i = 0; i < 100; i++) a = [a]; return a }",
            "the result is nested more than 64 deep",
        ),
        ("5", "the script is no function"),
        ("() => new Date()", "Date is not defined"),
        ("() => Math.random()", "not a function"),
        ("() => { x = 1 }", "x is not defined"),
        ("() => { globalThis.x = 1 }", "not extensible"),
        ("() => { Array.prototype.map = 1 }", "read-only"),
    ];
    for (source, wanted) in cases {
        match run(source) {
            Err(message) => assert!(message.contains(wanted), "{source}: {message}"),
            Ok(value) => panic!("{source} gave {value:?}"),
        }
        assert_eq!(run("(doc) => doc.n"), Ok(Value::Int(5)), "after {source}");
    }
}

#[test]
fn what_a_function_throws_it_throws_in_any_machine() {
    // Each made two machines anew, so that who threw for every resource took fifty times as long as who did not.
    let thrown = [
        ("() => { throw 'no' }", "thrown: no"),
        ("() => { throw { name: 'InternalError' } }", "something was thrown"),
        ("d => d.none.none", "cannot read property 'none' of undefined"),
        ("d => d.n.of()", "not a function"),
        ("() => { throw new SyntaxError('mine') }", "mine"),
        ("() => { throw new RangeError('mine') }", "mine"),
        ("() => { class Mine extends Error { get name() { for (;;) {} } } throw new Mine('mine') }", "mine"),
        ("() => { for (;;) {} }", "it took too many steps"),
        ("function f() { return f() }", "Maximum call stack size exceeded"),
    ];
    let told: Vec<_> = thrown.map(|(source, _)| run(source)).into();
    for ((source, expected), told) in thrown.iter().zip(&told) {
        assert_eq!(told, &Err((*expected).to_owned()), "{source}");
    }
    for turn in 1..4 {
        for at in (0..thrown.len()).map(|at| (at * 4 + turn) % thrown.len()) {
            assert_eq!(run(thrown[at].0), told[at], "{}", thrown[at].0);
            assert_eq!(run("d => d.n"), Ok(Value::Int(5)));
        }
    }
}

#[test]
fn no_call_knows_of_another() {
    for source in [
        "(() => { let n = 0; return () => ++n })()",
        "function f() { f.n = (f.n || 0) + 1; return f.n }",
        "() => { const t = (s) => s; const o = t`x`; try { o.n = 1 } catch {} return 1 }",
        "() => { try { Math.n = (Math.n || 0) + 1 } catch {} return Math.n === undefined ? 1 : Math.n + 1 }",
        "() => { try { (() => globalThis)().n = 1 } catch {} return globalThis.n === undefined ? 1 : 2 }",
        "() => { const p = Object.getPrototypeOf(Object.getPrototypeOf((function* () {})())); if (p.n) return 2; try { p.n = 1 } catch {} return 1 }",
        "() => { const r = /x/g; const before = r.lastIndex; r.test('x'); return before + 1 }",
    ] {
        for _ in 0..3 {
            assert_eq!(run(source), Ok(Value::Int(1)), "{source}");
        }
    }
}

/// Without promises in the engine async functions were never freed, which ended the process.
#[test]
fn what_is_left_for_later_is_never_run() {
    let source = "() => { let n = 1; (async () => { await null; n = 2 })(); return n }";
    assert_eq!(run(source), Ok(Value::Int(1)));
    assert_eq!(run("() => { (async () => { throw 1 })(); return 1 }"), Ok(Value::Int(1)));
    assert_eq!(run("() => { import('fs'); return 1 }"), Ok(Value::Int(1)));
}

#[test]
fn limits_are_those_of_the_call() {
    let long = "() => { let n = 0; for (let i = 0; i < 2000000; i++) n++; return n }";
    let fill = "() => { const all = []; for (let i = 0; i < 600000; i++) all.push(i); return all.length }";
    let more = Limits { steps: 5_000_000, memory: 32 << 20, ..Limits::default() };
    for _ in 0..2 {
        assert!(run(long).is_err() && run(fill).is_err());
        assert_eq!(call(long, &[], &more), Ok(Value::Int(2_000_000)));
        assert_eq!(call(fill, &[], &more), Ok(Value::Int(600_000)));
    }
}

#[test]
fn the_limit_on_steps_is_the_same_for_each_call() {
    let steps = |n: u64| format!("() => {{ for (let i = 0; i < {n}; i++) {{}} return 1 }}");
    // The number of steps at which it begins to fail, found by halving; other calls between must not move it.
    let mut found = Vec::new();
    for round in 0..2 {
        let (mut fits, mut fails) = (1, 10_000_000);
        while fails - fits > 1 {
            let middle = (fits + fails) / 2;
            (0..round * 7).for_each(|_| drop(run("() => { for (let i = 0; i < 777; i++) {} }")));
            if run(&steps(middle)).is_ok() { fits = middle } else { fails = middle }
        }
        found.push(fits);
    }
    assert_eq!(found[0], found[1]);
    assert!(found[0] > 100_000, "{found:?}");
}

#[test]
fn mistakes_are_found_before_anything_is_called() {
    let limits = Limits::default();
    assert_eq!(check("(doc) => doc.n + 1", &limits), Ok(()));
    assert_eq!(check("function (doc) { return 1 } // as it is", &limits), Ok(()));
    for (source, line) in [
        ("(doc) => {", 0),
        ("1); let leak = 0; (() => leak++", 0),
        ("doc =>\n doc..n", 2),
        ("5", 0),
        ("", 0),
        ("() => 1n", 0),
        ("() => 0xFn", 0),
    ] {
        let mistake = check(source, &limits).expect_err(source);
        assert!(!mistake.message.is_empty());
        if line > 0 {
            assert_eq!(mistake.line, line, "{source}: {mistake:?}");
        }
    }
}
