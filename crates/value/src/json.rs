//! JSON that no type says anything of, as a value.

use serde_json::Value as Json;
use smol_str::SmolStr;

use crate::Value;

/// Any JSON, as it is: whole numbers of 64 bits are ints, all others floats.
pub fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::Float(value),
            (None, None) => Value::Null,
        },
        Json::String(text) => Value::Str(text.into()),
        Json::Array(elements) => Value::List(elements.iter().map(from_json).collect()),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| (SmolStr::new(name), from_json(value)));
            Value::Object(members.collect())
        }
    }
}
