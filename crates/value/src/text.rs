//! Values as text, both ways: ISO 8601 and RFC 3339 for moments, shortest digits that read back the same for floats.

use std::fmt;

use jiff::{SignedDuration, Timestamp, civil};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::value::{ErrorValue, Value};

/// The kinds of values that have one text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BasicKind {
    /// Any text.
    Str,
    /// 64 bit integer.
    Int,
    /// Finite double.
    Float,
    /// `true` or `false`.
    Bool,
    /// At most 28 digits, never rounded.
    Decimal,
    /// RFC 3339 with `Z` or an offset.
    Datetime,
    /// `YYYY-MM-DD`.
    Date,
    /// ISO 8601, as `P1DT2H` or `PT0.5S`.
    Duration,
    /// With hyphens.
    Uuid,
}

/// Appends a text as one segment of a path (RFC 3986): letters, digits, `-`, `.`, `_` and `~` as they are, each other byte
/// as `%XX`.
pub fn push_segment(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// [`push_segment`] as a text.
pub fn segment(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    push_segment(text, &mut out);
    // All of it is ASCII.
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads a text as a value of a kind; the error says what is wrong in one sentence.
pub fn parse_as(kind: BasicKind, text: &str) -> Result<Value, String> {
    match kind {
        BasicKind::Str => Ok(Value::Str(text.into())),
        BasicKind::Int => match text.parse() {
            Ok(value) => Ok(Value::Int(value)),
            Err(_) if is_whole_number(text) => Err(format!("{text} is outside the range of int (64 bits)")),
            Err(_) => Err(format!("\"{text}\" is not a whole number")),
        },
        BasicKind::Float => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Value::Float(value)),
            Ok(_) => Err(format!("{text} is not a finite number")),
            Err(_) => Err(format!("\"{text}\" is not a number")),
        },
        BasicKind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("\"{text}\" is neither true nor false")),
        },
        BasicKind::Decimal => parse_decimal(text).map(Value::Decimal),
        BasicKind::Datetime => text.parse::<Timestamp>().map(Value::Datetime).map_err(|_| {
            // Well written, and beyond what the library can hold with any offset.
            match text.get(..19).map(str::parse::<civil::DateTime>) {
                Some(Ok(at)) if at.year() == 9999 => {
                    format!("\"{text}\" is too late: the last datetime is {}", Timestamp::MAX)
                }
                _ => format!(
                    "\"{text}\" is not a datetime: write it as 2024-05-01T12:30:00Z, or with an offset"
                ),
            }
        }),
        BasicKind::Date => match text.parse::<civil::Date>() {
            Ok(date) if text.len() == 10 => Ok(Value::Date(date)),
            _ => Err(format!("\"{text}\" is not a date: write it as 2024-05-01")),
        },
        BasicKind::Duration => text
            .parse::<SignedDuration>()
            .map(Value::Duration)
            .or_else(|error| parse_days(text).ok_or(error))
            .map_err(|_| format!("\"{text}\" is not a duration: write it as PT1H30M, P2D or PT0.5S")),
        BasicKind::Uuid => match Uuid::try_parse(text) {
            Ok(uuid) if text.len() == 36 => Ok(Value::Uuid(uuid)),
            _ => Err(format!("\"{text}\" is not a UUID")),
        },
    }
}

fn is_whole_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// `P2D` and `P2DT3H`, where a day is 24 hours; the library leaves days to calendars.
fn parse_days(text: &str) -> Option<Value> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (days, time) = rest.strip_prefix('P')?.split_once('D')?;
    let days: i64 = days.parse().ok().filter(|days| *days >= 0)?;
    let time = match time {
        "" => SignedDuration::ZERO,
        time if time.starts_with('T') => format!("P{time}").parse().ok()?,
        _ => return None,
    };
    let days = SignedDuration::from_secs(days.checked_mul(24 * 60 * 60)?);
    let span = days.checked_add(time)?;
    Some(Value::Duration(if negative { span.checked_neg()? } else { span }))
}

/// Reads a decimal; one that the kind cannot hold exactly is refused, never rounded.
pub fn parse_decimal(text: &str) -> Result<Decimal, String> {
    let not = || format!("\"{text}\" is not a decimal number");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| not())?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
    {
        return Err(not());
    }
    let too_long = || format!("{text} has more than the 28 digits that a decimal can hold exactly");
    let all = format!("{whole}{fraction}");
    let mut digits = all.trim_start_matches('0').to_string();
    let mut scale = i64::try_from(fraction.len()).map_err(|_| too_long())? - i64::from(exponent);
    while scale > 28 && digits.ends_with('0') {
        digits.pop();
        scale -= 1;
    }
    if digits.is_empty() {
        return Ok(Decimal::new(0, scale.clamp(0, 28).unsigned_abs() as u32));
    }
    if scale > 28 || digits.len() as i64 + (-scale).max(0) > 28 {
        return Err(too_long());
    }
    let mut value: i128 = digits.parse().map_err(|_| too_long())?;
    while scale < 0 {
        value *= 10;
        scale += 1;
    }
    let value = if negative { -value } else { value };
    Decimal::try_from_i128_with_scale(value, scale as u32).map_err(|_| too_long())
}

impl ErrorValue {
    /// As clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorValue::Cycle => "#cycle",
            ErrorValue::Div0 => "#div0",
            ErrorValue::Type => "#type",
            ErrorValue::Missing => "#missing",
            ErrorValue::Overflow => "#overflow",
        }
    }
}

impl fmt::Display for ErrorValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Scalars as text; lists and objects in a JSON-like form for messages.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Absent | Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Decimal(value) => write!(f, "{value}"),
            Value::Str(text) => f.write_str(text),
            Value::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Uuid(uuid) => write!(f, "{uuid}"),
            Value::ObjectId(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Value::Datetime(at) => write!(f, "{at}"),
            Value::Date(date) => write!(f, "{date}"),
            Value::Time(time) => write!(f, "{time}"),
            Value::Duration(span) => write!(f, "{span}"),
            Value::Ref(id) => write!(f, "{id}"),
            Value::Error(error) => write!(f, "{error}"),
            Value::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Value::Object(members) => {
                f.write_str("{")?;
                for (at, (key, value)) in members.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}
