//! What lies between two values: the interpolation of medians and percentiles.

use jiff::SignedDuration;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::exact::SumState;
use crate::ops::{MAX_DIGITS, to_float};
use crate::value::{ErrorValue, Value};

/// What lies `part` of `parts` of the way from the first of two values to the second.
///
/// The mean of a value alone where that is none of the way, and of both where it is half; so ints give a float. Decimals
/// are rounded half to even to 28 digits, durations to the nanosecond before; what is neither a number nor a duration
/// is `#type`.
pub fn between(low: &Value, high: &Value, part: u32, parts: u32) -> Value {
    let mean = |values: &[&Value]| {
        let mut state = SumState::default();
        values.iter().for_each(|value| state.add(value));
        state.average()
    };
    if part == 0 {
        return mean(&[low]);
    }
    match (low, high) {
        (Value::Int(_), Value::Int(_)) if part * 2 == parts => mean(&[low, high]),
        (Value::Duration(from), Value::Duration(to)) => {
            let (from, to) = (from.as_nanos(), to.as_nanos());
            let (part, parts) = (i128::from(part), i128::from(parts));
            // Whole parts and the rest apart, so that nothing overflows.
            let step = to - from;
            let at = from + step / parts * part + step % parts * part / parts;
            // It lies between two durations.
            Value::Duration(SignedDuration::from_nanos_i128(at))
        }
        (Value::Decimal(low), Value::Decimal(high)) => between_decimals(*low, *high, part, parts),
        (Value::Decimal(low), Value::Int(high)) => between_decimals(*low, (*high).into(), part, parts),
        (Value::Int(low), Value::Decimal(high)) => between_decimals((*low).into(), *high, part, parts),
        _ => match (to_float(low), to_float(high)) {
            (Some(low), Some(high)) => {
                let share = f64::from(part) / f64::from(parts);
                // Each weighed by itself: the difference of two may be larger than any float.
                Value::Float(if low == high { low } else { low * (1.0 - share) + high * share })
            }
            _ => Value::Error(ErrorValue::Type),
        },
    }
}

fn between_decimals(low: Decimal, high: Decimal, part: u32, parts: u32) -> Value {
    let step = || {
        let (part, parts) = (Decimal::from(part), Decimal::from(parts));
        let step = high.checked_sub(low)?;
        let step = match step.checked_mul(part) {
            Some(many) => many.checked_div(parts),
            None => step.checked_div(parts)?.checked_mul(part),
        };
        let at = low.checked_add(step?)?;
        Some(at.round_sf_with_strategy(MAX_DIGITS, RoundingStrategy::MidpointNearestEven)?.normalize())
    };
    step().map_or(Value::Error(ErrorValue::Overflow), Value::Decimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Value {
        Value::Decimal(text.parse().unwrap())
    }

    #[test]
    fn numbers_lie_between() {
        let int = Value::Int;
        assert_eq!(between(&int(3), &int(3), 0, 100), Value::Float(3.0));
        assert_eq!(between(&int(3), &int(4), 50, 100), Value::Float(3.5));
        assert_eq!(between(&int(10), &int(20), 25, 100), Value::Float(12.5));
        assert_eq!(between(&decimal("0.1"), &decimal("0.2"), 50, 100), decimal("0.15"));
        assert_eq!(between(&decimal("1"), &int(2), 25, 100), decimal("1.25"));
        let most = decimal("9999999999999999999999999999");
        assert_eq!(between(&most, &most, 99, 100), most);
        let most = Value::Float(f64::MAX);
        assert_eq!(between(&most, &most, 50, 100), most);
        assert_eq!(between(&Value::Float(-f64::MAX), &most, 50, 100), Value::Float(0.0));
    }

    #[test]
    fn durations_lie_between_without_overflow() {
        let (least, most) = (Value::Duration(SignedDuration::MIN), Value::Duration(SignedDuration::MAX));
        assert!(matches!(between(&least, &most, 75, 100), Value::Duration(at) if at.as_secs() > 0));
        let hours = |n| Value::Duration(SignedDuration::from_hours(n));
        assert_eq!(between(&hours(2), &hours(6), 25, 100), hours(3));
    }

    #[test]
    fn other_values_have_nothing_between_them() {
        let text = Value::Str("a".into());
        assert_eq!(between(&text, &text, 0, 100), Value::Error(ErrorValue::Type));
        assert_eq!(between(&Value::Int(1), &text, 50, 100), Value::Error(ErrorValue::Type));
    }
}
