//! The engine: one JavaScript runtime with its functions, made ready by `prelude.js`.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use rquickjs::context::{EvalOptions, intrinsic};
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Function, Persistent, Runtime};
use smol_str::SmolStr;

use crate::{Failure, Limits, Mistake};

/// What there is in the language beside its syntax: no dates, proxies, weak references or shared memory.
/// Async functions are part of the syntax, and without what promises add they are never freed; what such a function leaves
/// for later is never run.
type Intrinsics = (
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::Promise,
);

const PRELUDE: &str = include_str!("prelude.js");

/// Ticks that the prelude may take.
const PRELUDE_TICKS: u64 = 1_000;

/// A runtime. Fields are dropped in this order: what refers to the runtime goes before it.
pub struct Machine {
    /// Makes a closure of a function, by its text.
    ready: HashMap<SmolStr, Persistent<Function<'static>>>,
    /// Makes one call.
    run: Persistent<Function<'static>>,
    context: Context,
    runtime: Runtime,
    /// Ticks that are left.
    left: Rc<Cell<u64>>,
}

/// Why a call ended without a value.
pub struct Stopped {
    pub failure: Failure,
    /// Does it say the same in a machine that has run nothing before? What a limit stops it may not.
    pub certain: bool,
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        Stopped { failure, certain: false }
    }
}

/// The errors that the engine throws where memory, stack or steps are used up.
const OF_LIMITS: [&str; 2] = ["InternalError", "RangeError"];

/// Was it thrown by the function, or by what it did to its values?
fn is_certain(error: &CaughtError<'_>) -> bool {
    match error {
        CaughtError::Value(_) => true,
        CaughtError::Exception(exception) => {
            exception.get::<_, String>("name").is_ok_and(|name| !OF_LIMITS.contains(&name.as_str()))
        }
        CaughtError::Error(_) => false,
    }
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure { message: error.to_string() }
}

/// What an exception says: its message, and where it was.
fn told(error: CaughtError<'_>) -> Failure {
    match error {
        CaughtError::Exception(exception) => Failure {
            message: exception.message().unwrap_or_else(|| "an error without a message".to_owned()),
        },
        CaughtError::Value(value) => {
            let text = value.as_string().and_then(|text| text.to_string().ok());
            Failure {
                message: text
                    .map_or_else(|| "something was thrown".to_owned(), |text| format!("thrown: {text}")),
            }
        }
        CaughtError::Error(error) => failed(&error),
    }
}

fn eval<'js>(ctx: &Ctx<'js>, text: &str) -> Result<Function<'js>, CaughtError<'js>> {
    let mut options = EvalOptions::default();
    options.strict = true;
    ctx.eval_with_options::<Function<'js>, _>(text, options).catch(ctx)
}

/// A function that gives the function of a text, a new one each time.
fn factory(source: &str) -> String {
    format!("(function(){{\"use strict\";return (\n{source}\n)}})")
}

impl Machine {
    /// A runtime with nothing but the prelude in it.
    pub fn new(limits: &Limits) -> Result<Machine, Failure> {
        let runtime = Runtime::new().map_err(|error| failed(&error))?;
        runtime.set_memory_limit(limits.memory);
        runtime.set_max_stack_size(limits.stack);
        let left = Rc::new(Cell::new(PRELUDE_TICKS));
        let ticks = left.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || match ticks.get().checked_sub(1) {
            Some(left) => {
                ticks.set(left);
                false
            }
            None => true,
        })));
        let context = Context::custom::<Intrinsics>(&runtime).map_err(|error| failed(&error))?;
        let run =
            context.with(|ctx| eval(&ctx, PRELUDE).map(|run| Persistent::save(&ctx, run)).map_err(told))?;
        Ok(Machine { ready: HashMap::new(), run, context, runtime, left })
    }

    /// How many functions are ready.
    pub fn len(&self) -> usize {
        self.ready.len()
    }

    /// Is a text an expression that gives a function?
    pub fn check(&self, source: &str) -> Result<(), Mistake> {
        self.context.with(|ctx| {
            let at_line = |error: CaughtError<'_>| {
                let line = match &error {
                    CaughtError::Exception(exception) => line_of(exception.stack().as_deref()),
                    _ => 0,
                };
                Mistake { line, message: told(error).message }
            };
            let made = eval(&ctx, &factory(source)).map_err(at_line)?;
            // In brackets of another kind: what closes the one kind does not open the other, so it stands for itself.
            let list = format!("(function(){{\"use strict\";return [\n{source}\n]}})");
            eval(&ctx, &list).map_err(at_line)?;
            self.left.set(PRELUDE_TICKS);
            let value: rquickjs::Value<'_> = made.call(()).catch(&ctx).map_err(at_line)?;
            if value.is_function() {
                return Ok(());
            }
            Err(Mistake { line: 0, message: "this is no function; write `(doc) => …`".to_owned() })
        })
    }

    /// Calls a function with the value of a JSON text; its result is one, too.
    pub fn call(
        &mut self,
        source: &str,
        given: &str,
        limits: &Limits,
        ticks: u64,
    ) -> Result<String, Stopped> {
        self.runtime.set_memory_limit(limits.memory);
        self.runtime.set_max_stack_size(limits.stack);
        let ready = &mut self.ready;
        self.left.set(PRELUDE_TICKS);
        self.context.with(|ctx| {
            let make = match ready.get(source) {
                Some(make) => make.clone(),
                None => {
                    let made = eval(&ctx, &factory(source)).map_err(told)?;
                    let made = Persistent::save(&ctx, made);
                    ready.insert(source.into(), made.clone());
                    made
                }
            };
            let make = make.restore(&ctx).map_err(|error| failed(&error))?;
            let run = self.run.clone().restore(&ctx).map_err(|error| failed(&error))?;
            self.left.set(ticks);
            run.call::<_, String>((make, given)).catch(&ctx).map_err(|error| {
                if self.left.get() == 0 {
                    return Failure { message: "it took too many steps".to_owned() }.into();
                }
                let certain = is_certain(&error);
                Stopped { failure: told(error), certain }
            })
        })
    }
}

/// The line that a stack names first; the text of a function begins in the second line of what is evaluated.
fn line_of(stack: Option<&str>) -> u32 {
    let behind = stack.and_then(|stack| stack.split_once("eval_script:")).map(|(_, behind)| behind);
    let digits: String = behind.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect();
    digits.parse::<u32>().unwrap_or(0).saturating_sub(1)
}
