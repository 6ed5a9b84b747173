//! The operators of the expression language.
//!
//! Errors pass through, the left one first; arithmetic with null is null; comparisons with null are false, but for
//! `=` and `!=`. Nothing is rounded silently: a whole number or a decimal that does not fit is `#overflow`.

use std::cmp::Ordering;

use jiff::SignedDuration;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::order::compare;
use crate::value::{ErrorValue, Value};

const OVERFLOW: Value = Value::Error(ErrorValue::Overflow);
const TYPE: Value = Value::Error(ErrorValue::Type);
const DIV0: Value = Value::Error(ErrorValue::Div0);

impl Value {
    /// Is it null, or not there at all?
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Absent | Value::Null)
    }

    /// Is it an error value?
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }

    /// Does a condition hold? Null is false.
    pub fn is_true(&self) -> bool {
        matches!(self, Value::Bool(true))
    }
}

/// What an operand decides alone: an error is the result, null makes it null.
fn decided(left: &Value, right: &Value) -> Option<Value> {
    match (left, right) {
        (Value::Error(error), _) | (_, Value::Error(error)) => Some(Value::Error(*error)),
        _ if left.is_null() || right.is_null() => Some(Value::Null),
        _ => None,
    }
}

/// Two numbers brought to one kind.
enum Numbers {
    Int(i64, i64),
    Float(f64, f64),
    Decimal(Decimal, Decimal),
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::Decimal(value) => value.to_string().parse().ok(),
        _ => None,
    }
}

fn numbers(left: &Value, right: &Value) -> Option<Numbers> {
    Some(match (left, right) {
        (Value::Int(left), Value::Int(right)) => Numbers::Int(*left, *right),
        (Value::Decimal(left), Value::Decimal(right)) => Numbers::Decimal(*left, *right),
        (Value::Int(left), Value::Decimal(right)) => Numbers::Decimal(Decimal::from(*left), *right),
        (Value::Decimal(left), Value::Int(right)) => Numbers::Decimal(*left, Decimal::from(*right)),
        _ => Numbers::Float(float(left)?, float(right)?),
    })
}

fn float_result(result: f64, left: f64, right: f64) -> Value {
    if result.is_nan() {
        TYPE
    } else if result.is_infinite() && left.is_finite() && right.is_finite() {
        OVERFLOW
    } else {
        Value::Float(result)
    }
}

/// Most digits of a decimal.
pub(crate) const MAX_DIGITS: u32 = 28;

/// A decimal from a whole number and a scale; trailing zeros give way where it would not fit otherwise.
pub(crate) fn decimal_from(mut mantissa: i128, mut scale: u32) -> Option<Decimal> {
    let limit = 10i128.pow(MAX_DIGITS);
    while (mantissa.abs() >= limit || scale > MAX_DIGITS) && scale > 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    if mantissa.abs() >= limit || scale > MAX_DIGITS {
        return None;
    }
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// The sum of two decimals without rounding; none where it does not fit.
fn add_decimals(left: Decimal, right: Decimal) -> Option<Decimal> {
    let scale = left.scale().max(right.scale());
    let aligned = |value: Decimal| value.mantissa().checked_mul(10i128.checked_pow(scale - value.scale())?);
    decimal_from(aligned(left)?.checked_add(aligned(right)?)?, scale)
}

fn multiply_decimals(left: Decimal, right: Decimal) -> Option<Decimal> {
    let (left, right) = (left.normalize(), right.normalize());
    decimal_from(left.mantissa().checked_mul(right.mantissa())?, left.scale() + right.scale())
}

fn overflow_or<T>(value: Option<T>, wrap: impl Fn(T) -> Value) -> Value {
    value.map_or(OVERFLOW, wrap)
}

/// Whole days of a span, for dates.
fn whole_days(span: SignedDuration) -> Option<jiff::Span> {
    let day = 24 * 60 * 60;
    if span.subsec_nanos() != 0 || span.as_secs() % day != 0 {
        return None;
    }
    jiff::Span::new().try_days(span.as_secs() / day).ok()
}

/// `left + right`.
pub fn add(left: &Value, right: &Value) -> Value {
    if let Some(result) = decided(left, right) {
        return result;
    }
    match (left, right) {
        (Value::Str(left), Value::Str(right)) => Value::Str(format!("{left}{right}").into()),
        (Value::Datetime(at), Value::Duration(span)) | (Value::Duration(span), Value::Datetime(at)) => {
            overflow_or(at.checked_add(*span).ok(), Value::Datetime)
        }
        (Value::Date(date), Value::Duration(span)) | (Value::Duration(span), Value::Date(date)) => {
            match whole_days(*span) {
                Some(days) => overflow_or(date.checked_add(days).ok(), Value::Date),
                None => TYPE,
            }
        }
        (Value::Duration(left), Value::Duration(right)) => {
            overflow_or(left.checked_add(*right), Value::Duration)
        }
        _ => match numbers(left, right) {
            Some(Numbers::Int(left, right)) => overflow_or(left.checked_add(right), Value::Int),
            Some(Numbers::Float(left, right)) => float_result(left + right, left, right),
            Some(Numbers::Decimal(left, right)) => overflow_or(add_decimals(left, right), Value::Decimal),
            None => TYPE,
        },
    }
}

/// `left - right`.
pub fn subtract(left: &Value, right: &Value) -> Value {
    if let Some(result) = decided(left, right) {
        return result;
    }
    match (left, right) {
        (Value::Datetime(left), Value::Datetime(right)) => Value::Duration(left.duration_since(*right)),
        (Value::Date(left), Value::Date(right)) => Value::Duration(left.duration_since(*right)),
        (Value::Datetime(_) | Value::Date(_) | Value::Duration(_), Value::Duration(span)) => {
            match span.checked_neg() {
                Some(negative) => add(left, &Value::Duration(negative)),
                None => OVERFLOW,
            }
        }
        _ => match numbers(left, right) {
            Some(Numbers::Int(left, right)) => overflow_or(left.checked_sub(right), Value::Int),
            Some(Numbers::Float(left, right)) => float_result(left - right, left, right),
            Some(Numbers::Decimal(left, right)) => overflow_or(add_decimals(left, -right), Value::Decimal),
            None => TYPE,
        },
    }
}

/// `left * right`.
pub fn multiply(left: &Value, right: &Value) -> Value {
    if let Some(result) = decided(left, right) {
        return result;
    }
    match (left, right) {
        (Value::Duration(span), Value::Int(times)) | (Value::Int(times), Value::Duration(span)) => {
            let nanoseconds = span.as_nanos().checked_mul(i128::from(*times));
            overflow_or(nanoseconds.and_then(span_of), Value::Duration)
        }
        _ => match numbers(left, right) {
            Some(Numbers::Int(left, right)) => overflow_or(left.checked_mul(right), Value::Int),
            Some(Numbers::Float(left, right)) => float_result(left * right, left, right),
            Some(Numbers::Decimal(left, right)) => {
                overflow_or(multiply_decimals(left, right), Value::Decimal)
            }
            None => TYPE,
        },
    }
}

fn span_of(nanoseconds: i128) -> Option<SignedDuration> {
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).ok()?;
    Some(SignedDuration::new(seconds, (nanoseconds % 1_000_000_000) as i32))
}

/// `left / right`: whole numbers give a float, decimals a decimal of at most 28 digits, rounded half to even.
pub fn divide(left: &Value, right: &Value) -> Value {
    if let Some(result) = decided(left, right) {
        return result;
    }
    match (left, right) {
        (Value::Duration(_), Value::Int(0)) => DIV0,
        (Value::Duration(span), Value::Int(by)) => {
            overflow_or(span_of(span.as_nanos() / i128::from(*by)), Value::Duration)
        }
        _ => match numbers(left, right) {
            Some(Numbers::Int(_, 0)) => DIV0,
            Some(Numbers::Int(left, right)) => Value::Float(left as f64 / right as f64),
            Some(Numbers::Float(_, 0.0)) => DIV0,
            Some(Numbers::Float(left, right)) => float_result(left / right, left, right),
            Some(Numbers::Decimal(_, right)) if right.is_zero() => DIV0,
            Some(Numbers::Decimal(left, right)) => {
                let quotient = left.checked_div(right).map(|quotient| {
                    quotient
                        .round_sf_with_strategy(MAX_DIGITS, RoundingStrategy::MidpointNearestEven)
                        .unwrap_or(quotient)
                        .normalize()
                });
                overflow_or(quotient, Value::Decimal)
            }
            None => TYPE,
        },
    }
}

/// `left % right`: the remainder has the sign of the left operand.
pub fn remainder(left: &Value, right: &Value) -> Value {
    if let Some(result) = decided(left, right) {
        return result;
    }
    match numbers(left, right) {
        Some(Numbers::Int(_, 0)) | Some(Numbers::Float(_, 0.0)) => DIV0,
        Some(Numbers::Int(left, right)) => Value::Int(left.wrapping_rem(right)),
        Some(Numbers::Float(left, right)) => float_result(left % right, left, right),
        Some(Numbers::Decimal(_, right)) if right.is_zero() => DIV0,
        Some(Numbers::Decimal(left, right)) => overflow_or(left.checked_rem(right), Value::Decimal),
        None => TYPE,
    }
}

/// `-value`.
pub fn negate(value: &Value) -> Value {
    match value {
        Value::Error(_) => value.clone(),
        Value::Absent | Value::Null => Value::Null,
        Value::Int(value) => overflow_or(value.checked_neg(), Value::Int),
        Value::Float(value) => Value::Float(-value),
        Value::Decimal(value) => Value::Decimal(-*value),
        Value::Duration(span) => overflow_or(span.checked_neg(), Value::Duration),
        _ => TYPE,
    }
}

/// `not value`; null counts as false.
pub fn not(value: &Value) -> Value {
    match value {
        Value::Error(_) => value.clone(),
        _ => Value::Bool(!value.is_true()),
    }
}

/// `left and right`: false decides alone, whatever the other is, so the order of the operands does not matter.
pub fn and(left: &Value, right: &Value) -> Value {
    logical(left, right, false)
}

/// `left or right`: true decides alone.
pub fn or(left: &Value, right: &Value) -> Value {
    logical(left, right, true)
}

fn logical(left: &Value, right: &Value, deciding: bool) -> Value {
    let decides = |value: &Value| !value.is_error() && value.is_true() == deciding;
    if decides(left) || decides(right) {
        return Value::Bool(deciding);
    }
    match (left, right) {
        (Value::Error(left), Value::Error(right)) => Value::Error(*left.min(right)),
        (Value::Error(error), _) | (_, Value::Error(error)) => Value::Error(*error),
        _ => Value::Bool(!deciding),
    }
}

/// `left = right`. Null equals null; numbers of different kinds are equal where they have the same value.
pub fn equal(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Error(error), _) | (_, Value::Error(error)) => Value::Error(*error),
        _ if left.is_null() || right.is_null() => Value::Bool(left.is_null() && right.is_null()),
        _ => Value::Bool(compare(left, right) == Ordering::Equal),
    }
}

/// `<`, `<=`, `>` and `>=`: false with null, and between kinds that have no common order.
pub fn compare_with(left: &Value, right: &Value, holds: impl Fn(Ordering) -> bool) -> Value {
    match (left, right) {
        (Value::Error(error), _) | (_, Value::Error(error)) => return Value::Error(*error),
        _ if left.is_null() || right.is_null() => return Value::Bool(false),
        _ => {}
    }
    let number = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_) | Value::Decimal(_));
    let same_kind = std::mem::discriminant(left) == std::mem::discriminant(right);
    Value::Bool((same_kind || (number(left) && number(right))) && holds(compare(left, right)))
}

/// `left ~ right`: does the left text hold the right one, whatever the case?
pub fn matches(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Error(error), _) | (_, Value::Error(error)) => Value::Error(*error),
        (Value::Str(left), Value::Str(right)) => {
            Value::Bool(left.to_lowercase().contains(&right.to_lowercase()))
        }
        _ => Value::Bool(false),
    }
}

/// Rounds half to even, to `digits` behind the point (or before it, where negative).
pub fn round(value: &Value, digits: i64) -> Value {
    let places = u32::try_from(digits);
    match value {
        Value::Int(int) => match u32::try_from(-digits) {
            Ok(zeros @ 1..) => {
                let Some(unit) = 10i128.checked_pow(zeros) else { return Value::Int(0) };
                let (int, half) = (i128::from(*int), unit / 2);
                let (floor, rest) = (int.div_euclid(unit), int.rem_euclid(unit));
                let up = rest > half || (rest == half && floor % 2 != 0);
                overflow_or(i64::try_from((floor + i128::from(up)) * unit).ok(), Value::Int)
            }
            _ => value.clone(),
        },
        Value::Decimal(decimal) => match places {
            Ok(places) => {
                Value::Decimal(decimal.round_dp_with_strategy(places, RoundingStrategy::MidpointNearestEven))
            }
            Err(_) => TYPE,
        },
        // The standard library formats the exact binary value, correctly rounded, ties to even.
        Value::Float(float) if float.is_finite() && digits >= 0 => {
            let places = digits.min(400) as usize;
            format!("{float:.places$}").parse().map_or(TYPE, Value::Float)
        }
        Value::Float(_) => TYPE,
        _ if value.is_null() || value.is_error() => value.clone(),
        _ => TYPE,
    }
}

/// A number as a float, for functions that only floats have.
pub fn to_float(value: &Value) -> Option<f64> {
    float(value)
}

/// A number as a whole one; none where it has a fraction or is too large.
pub fn to_int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(*value),
        Value::Decimal(value) if value.fract().is_zero() => value.to_i64(),
        Value::Float(value) if value.fract() == 0.0 && (-9.2e18..9.2e18).contains(value) => {
            Some(*value as i64)
        }
        _ => None,
    }
}
