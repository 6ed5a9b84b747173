//! Functions in JavaScript: a value for values, and nothing else.
//!
//! A function sees what it is given and what it makes of it. It has no clock, no randomness and no way out, every
//! object that all functions share is frozen, and each call begins with a closure of its own: so the same input gives
//! the same result, whatever was called before. What it may take is counted, not timed ([`Limits`]); a function that
//! throws, goes on for too long, takes too much or gives what is no value has failed ([`Failure`]), and the next call
//! knows nothing of it. The limits are against mistakes: whoever writes a schema runs the server, and could with effort
//! find an operation of the engine that takes long in one step.
//!
//! Values go in and come out as JSON (`json`); the engine is behind `machine`.

mod json;
mod machine;

use std::cell::RefCell;
use std::collections::HashSet;

use corollary_value::Value;
use smol_str::SmolStr;

use machine::Machine;

/// What one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Turns of loops and calls of functions; counted in units of [`STEPS_IN_TICK`], a part of one as a whole.
    pub steps: u64,
    /// Bytes of memory, the few hundred thousand of the engine itself included.
    pub memory: usize,
    /// Bytes of stack.
    pub stack: usize,
}

/// Steps after which the engine asks whether it should go on.
pub const STEPS_IN_TICK: u64 = 10_000;

/// The limits that a script may be given, and the most of each.
pub const MOST: Limits = Limits { steps: 100_000_000, memory: 64 << 20, stack: 256 << 10 };

/// The least of each limit: what the engine itself needs.
pub const LEAST: Limits = Limits { steps: STEPS_IN_TICK, memory: 1 << 20, stack: 64 << 10 };

/// Bytes of a result as JSON.
pub const MAX_RESULT_BYTES: usize = 1 << 20;

impl Default for Limits {
    fn default() -> Limits {
        Limits { steps: 1_000_000, memory: 8 << 20, stack: 128 << 10 }
    }
}

impl Limits {
    fn ticks(&self) -> u64 {
        self.steps.div_ceil(STEPS_IN_TICK)
    }
}

/// Why a call has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people.
    pub message: String,
}

/// What is wrong with the text of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1, in the text of the function; 0 where it is not known.
    pub line: u32,
    /// For people.
    pub message: String,
}

/// The most functions that a thread keeps ready.
const MAX_READY: usize = 256;

thread_local! {
    /// The machine of the thread; none before the first call, and after a failure.
    static READY: RefCell<Option<Machine>> = const { RefCell::new(None) };

    /// Texts that are functions, by the limits: a schema is checked again and again.
    static CHECKED: RefCell<HashSet<(SmolStr, Limits)>> = RefCell::default();
}

/// Is a text one function? It is not called.
pub fn check(source: &str, limits: &Limits) -> Result<(), Mistake> {
    if let Some(literal) = big_literal(source) {
        let message = format!("`{literal}` is a bigint, and there are none here; write a number, or a text");
        return Err(Mistake { line: 0, message });
    }
    let asked = (SmolStr::new(source), *limits);
    CHECKED.with_borrow_mut(|checked| {
        if checked.contains(&asked) {
            return Ok(());
        }
        let fresh = Machine::new(limits).map_err(|failure| Mistake { line: 0, message: failure.message })?;
        fresh.check(source)?;
        if checked.len() >= MAX_READY {
            checked.clear();
        }
        checked.insert(asked);
        Ok(())
    })
}

/// What looks like a literal of a bigint, as `5n`, even in a text: one operation on large ones is one step and may take
/// seconds, so there must be none.
fn big_literal(source: &str) -> Option<&str> {
    let words = source.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$');
    words.into_iter().find(|word| word.ends_with('n') && word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Calls a function with one object that has these members.
pub fn call(source: &str, members: &[(SmolStr, Value)], limits: &Limits) -> Result<Value, Failure> {
    let given = json::write(members);
    let result = READY.with(|ready| {
        // A machine that has run before may fail a little earlier than a fresh one, by what is left over in it; and who
        // catches errors might see that. So a fresh one decides.
        let may_see = ["catch", "finally", "async"].iter().any(|word| source.contains(word));
        let mut kept = ready.borrow_mut();
        if !may_see {
            if kept.as_ref().is_none_or(|machine| machine.len() >= MAX_READY) {
                *kept = Some(Machine::new(limits)?);
            }
            if let Some(machine) = kept.as_mut() {
                match machine.call(source, &given, limits, limits.ticks().saturating_sub(1)) {
                    Ok(result) => return Ok(result),
                    Err(stopped) if stopped.certain => return Err(stopped.failure),
                    Err(_) => *kept = None,
                }
            }
        }
        Machine::new(limits)?.call(source, &given, limits, limits.ticks()).map_err(|stopped| stopped.failure)
    })?;
    if result.len() > MAX_RESULT_BYTES {
        return Err(Failure { message: format!("the result takes more than {MAX_RESULT_BYTES} bytes") });
    }
    json::read(&result)
}
