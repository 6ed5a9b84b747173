//! Functions in JavaScript as values of an expression.
//!
//! An error value that is given to one is its result, as with all functions; whatever goes wrong in one is `#type`. What
//! a function can do and may take is the business of the crate `corollary-script`.

use corollary_schema::typed::Script;
use corollary_value::{ErrorValue, Value};
use smol_str::SmolStr;

/// The value of a script for what it is given.
pub(crate) fn scripted(script: &Script, given: &[(SmolStr, Value)]) -> Value {
    if let Some(error) = given.iter().find_map(|(_, value)| error_in(value)) {
        return Value::Error(error);
    }
    let result = corollary_script::call(&script.source, given, &script.limits);
    result.unwrap_or(Value::Error(ErrorValue::Type))
}

/// The first error value in a value.
fn error_in(value: &Value) -> Option<ErrorValue> {
    match value {
        Value::Error(error) => Some(*error),
        Value::List(elements) => elements.iter().find_map(error_in),
        Value::Object(members) => members.iter().find_map(|(_, member)| error_in(member)),
        _ => None,
    }
}
