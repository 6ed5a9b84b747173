//! Functions of texts that need more than a method of `str`: patterns, parts, normal forms.

use corollary_schema::{Normalize, Pattern};
use corollary_value::{ErrorValue, Value};

/// Does a pattern match somewhere in a text?
pub(crate) fn matches(text: &Value, pattern: &Pattern) -> Value {
    match text {
        Value::Str(text) => Value::Bool(pattern.regex.is_match(text)),
        Value::Error(_) => text.clone(),
        text if text.is_null() => Value::Null,
        _ => Value::Error(ErrorValue::Type),
    }
}

/// The parts of a text between the occurrences of another; none where that is empty.
pub(crate) fn split(text: &str, by: &str) -> Option<Value> {
    if by.is_empty() {
        return None;
    }
    Some(Value::List(text.split(by).map(|part| Value::Str(part.into())).collect()))
}

/// The first argument after the steps that the others name; after `nfc` where there are none.
pub(crate) fn normalize(arguments: &[Value]) -> Option<Value> {
    let (Value::Str(text), steps) = arguments.split_first()? else { return None };
    if steps.is_empty() {
        return Some(Value::Str(Normalize::Nfc.apply(text)));
    }
    let mut text = text.clone();
    for step in steps {
        let Value::Str(step) = step else { return None };
        text = Normalize::named(step)?.apply(&text);
    }
    Some(Value::Str(text))
}
