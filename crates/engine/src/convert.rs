//! Conversions: `str(x)`, `int(x)`, … A value that does not say what is asked for gives nothing, which the caller makes
//! `#type`; nothing is rounded, cut or guessed.

use corollary_schema::functions::Function;
use corollary_value::{BasicKind, Value, ops, parse_as};
use jiff::tz::TimeZone;

/// A value that is neither null nor an error, as the kind that the function gives; none where that fails.
pub(crate) fn to(function: Function, value: &Value) -> Option<Value> {
    let read = |kind: BasicKind, text: &str| parse_as(kind, text).ok();
    match (function, value) {
        (Function::Str, Value::List(_) | Value::Object(_) | Value::Bytes(_)) => None,
        (Function::Str, _) => Some(Value::Str(value.to_string().into())),
        (Function::Int, Value::Str(text)) => read(BasicKind::Int, text),
        (Function::Int, Value::Bool(value)) => Some(Value::Int((*value).into())),
        (Function::Int, number) => ops::to_int(number).map(Value::Int),
        (Function::Float, Value::Str(text)) => read(BasicKind::Float, text),
        (Function::Float, number) => ops::to_float(number).map(Value::Float),
        (Function::Decimal, Value::Decimal(_)) => Some(value.clone()),
        (Function::Decimal, Value::Int(_) | Value::Str(_)) => read(BasicKind::Decimal, &value.to_string()),
        // The shortest digits that read back as the same float.
        (Function::Decimal, Value::Float(value)) => read(BasicKind::Decimal, &format!("{value:?}")),
        (Function::Bool, Value::Bool(_)) => Some(value.clone()),
        (Function::Bool, Value::Str(text)) => read(BasicKind::Bool, text),
        (Function::Datetime, Value::Datetime(_)) => Some(value.clone()),
        (Function::Datetime, Value::Date(date)) => {
            Some(Value::Datetime(date.to_zoned(TimeZone::UTC).ok()?.timestamp()))
        }
        (Function::Datetime, Value::Str(text)) => read(BasicKind::Datetime, text),
        (Function::Date, Value::Date(_)) => Some(value.clone()),
        (Function::Date, Value::Datetime(at)) => Some(Value::Date(at.to_zoned(TimeZone::UTC).date())),
        (Function::Date, Value::Str(text)) => read(BasicKind::Date, text),
        (Function::Duration, Value::Duration(_)) => Some(value.clone()),
        (Function::Duration, Value::Str(text)) => read(BasicKind::Duration, text),
        (Function::Uuid, Value::Uuid(_)) => Some(value.clone()),
        (Function::Uuid, Value::Str(text)) => read(BasicKind::Uuid, text),
        _ => None,
    }
}
