//! Values to JSON for JavaScript, and back.
//!
//! An int is a number as long as JavaScript holds it exactly, beyond that a text; decimals, moments, durations, uuids and
//! ids are texts, bytes are texts in base 16. Back come null, bools, ints where a number is whole, floats, texts, lists
//! and objects.

use corollary_value::{Value, from_json};
use serde_json::{Map, Number, Value as Json};
use smol_str::SmolStr;

use crate::Failure;

/// The largest number up to which JavaScript holds all whole ones.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// An object with these members.
pub fn write(members: &[(SmolStr, Value)]) -> String {
    object(members).to_string()
}

fn object(members: &[(SmolStr, Value)]) -> Json {
    let members = members.iter().map(|(name, value)| (name.to_string(), json(value)));
    Json::Object(members.collect::<Map<String, Json>>())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Absent | Value::Null | Value::Error(_) => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) if value.unsigned_abs() <= MAX_SAFE_INTEGER => Json::Number((*value).into()),
        Value::Float(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::List(elements) => Json::Array(elements.iter().map(json).collect()),
        Value::Object(members) => object(members),
        Value::Bytes(bytes) => Json::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        Value::Ref(id) => Json::String(id.to_string()),
        other => Json::String(other.to_string()),
    }
}

/// The value of a result.
pub fn read(text: &str) -> Result<Value, Failure> {
    let json: Json = serde_json::from_str(text)
        .map_err(|error| Failure { message: format!("the result is no value: {error}") })?;
    if is_deeper_than(MAX_DEPTH, &json) {
        let message = format!("the result is nested more than {MAX_DEPTH} deep");
        return Err(Failure { message });
    }
    Ok(from_json(&json))
}

/// How deep lists and objects of a result may be nested in each other.
pub const MAX_DEPTH: u32 = 64;

fn is_deeper_than(depth: u32, json: &Json) -> bool {
    match json {
        Json::Array(elements) => depth == 0 || elements.iter().any(|part| is_deeper_than(depth - 1, part)),
        Json::Object(members) => depth == 0 || members.values().any(|part| is_deeper_than(depth - 1, part)),
        _ => false,
    }
}
