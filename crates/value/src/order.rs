//! The one total order over all values, and the stricter question whether two values are the same.
//!
//! Kinds stand in BSON's comparison order where BSON defines one: absent, null, numbers, text, object, list, bytes
//! (UUIDs after plain bytes), object id, bool, datetime; then those of our own: date, time, duration, reference,
//! error. Numbers of all kinds compare by their exact mathematical value, NaN before all others.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use crate::value::Value;

/// The place of a value's kind in the order.
pub(crate) fn rank(value: &Value) -> u8 {
    match value {
        Value::Absent => 0x02,
        Value::Null => 0x04,
        Value::Int(_) | Value::Float(_) | Value::Decimal(_) => 0x10,
        Value::Str(_) => 0x14,
        Value::Object(_) => 0x18,
        Value::List(_) => 0x1c,
        Value::Bytes(_) => 0x20,
        Value::Uuid(_) => 0x22,
        Value::ObjectId(_) => 0x24,
        Value::Bool(_) => 0x28,
        Value::Datetime(_) => 0x2c,
        Value::Date(_) => 0x30,
        Value::Time(_) => 0x32,
        Value::Duration(_) => 0x34,
        Value::Ref(_) => 0x38,
        Value::Error(_) => 0x3c,
    }
}

/// Compares any two values. Total: reflexive, antisymmetric, transitive.
pub fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Str(left), Value::Str(right)) => left.cmp(right),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::Bytes(left), Value::Bytes(right)) => left.cmp(right),
        (Value::Uuid(left), Value::Uuid(right)) => left.cmp(right),
        (Value::ObjectId(left), Value::ObjectId(right)) => left.cmp(right),
        (Value::Datetime(left), Value::Datetime(right)) => left.cmp(right),
        (Value::Date(left), Value::Date(right)) => left.cmp(right),
        (Value::Time(left), Value::Time(right)) => left.cmp(right),
        (Value::Duration(left), Value::Duration(right)) => left.cmp(right),
        (Value::Ref(left), Value::Ref(right)) => left.cmp(right),
        (Value::Error(left), Value::Error(right)) => left.cmp(right),
        (Value::List(left), Value::List(right)) => {
            for (left, right) in left.iter().zip(right.iter()) {
                match compare(left, right) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                }
            }
            left.len().cmp(&right.len())
        }
        (Value::Object(left), Value::Object(right)) => {
            for ((left_key, left), (right_key, right)) in left.iter().zip(right.iter()) {
                match left_key.cmp(right_key).then_with(|| compare(left, right)) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                }
            }
            left.len().cmp(&right.len())
        }
        _ => match rank(left).cmp(&rank(right)) {
            Ordering::Equal => compare_numbers(left, right),
            unequal => unequal,
        },
    }
}

/// Compares numbers of any kinds; equal for what is no number.
fn compare_numbers(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => compare_floats(*left, *right),
        (Value::Decimal(left), Value::Decimal(right)) => left.cmp(right),
        (Value::Int(left), Value::Decimal(right)) => Decimal::from(*left).cmp(right),
        (Value::Decimal(left), Value::Int(right)) => left.cmp(&Decimal::from(*right)),
        (Value::Int(left), Value::Float(right)) => compare_decimal_to_float(Decimal::from(*left), *right),
        (Value::Float(left), Value::Int(right)) => {
            compare_decimal_to_float(Decimal::from(*right), *left).reverse()
        }
        (Value::Decimal(left), Value::Float(right)) => compare_decimal_to_float(*left, *right),
        (Value::Float(left), Value::Decimal(right)) => compare_decimal_to_float(*right, *left).reverse(),
        _ => Ordering::Equal,
    }
}

/// NaN first; the two zeros are equal.
pub(crate) fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

/// Compares exactly: a float is a whole number times a power of two, so both sides can be scaled to whole numbers.
pub(crate) fn compare_decimal_to_float(decimal: Decimal, float: f64) -> Ordering {
    if float.is_nan() {
        return Ordering::Greater;
    }
    // A decimal is below 2^96 and its smallest step is above 2^-94.
    if float.abs() >= 2f64.powi(96) {
        return if float > 0.0 { Ordering::Less } else { Ordering::Greater };
    }
    let sign = |negative: bool, zero: bool| {
        if zero {
            0
        } else if negative {
            -1
        } else {
            1
        }
    };
    let decimal_sign = sign(decimal.is_sign_negative(), decimal.is_zero());
    let float_sign = sign(float < 0.0, float == 0.0);
    if decimal_sign != float_sign || decimal_sign == 0 {
        return decimal_sign.cmp(&float_sign);
    }
    let magnitude = compare_magnitudes(decimal.mantissa().unsigned_abs(), decimal.scale(), float.abs());
    if decimal_sign < 0 { magnitude.reverse() } else { magnitude }
}

/// Compares `mantissa / 10^scale` with a float; both positive.
fn compare_magnitudes(mantissa: u128, scale: u32, float: f64) -> Ordering {
    let bits = float.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (significand, exponent) =
        if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
    // mantissa / 10^scale <=> significand * 2^exponent, all whole numbers after cross-multiplication.
    let power_of_ten = 10u128.pow(scale);
    let (mut left, mut right) = (Wide::from(mantissa), Wide::product(u128::from(significand), power_of_ten));
    if exponent >= 0 {
        right.shift_left(exponent.unsigned_abs());
    } else if exponent > -160 {
        left.shift_left(exponent.unsigned_abs());
    } else {
        // Below 2^-107, while a decimal that is not zero is at least 10^-28 > 2^-94.
        return Ordering::Greater;
    }
    left.0.iter().rev().cmp(right.0.iter().rev())
}

/// A whole number of 384 bits, least significant word first; what the comparison needs and no more.
#[derive(Clone, Copy)]
struct Wide([u64; 6]);

impl Wide {
    fn from(value: u128) -> Wide {
        Wide([value as u64, (value >> 64) as u64, 0, 0, 0, 0])
    }

    fn product(left: u128, right: u128) -> Wide {
        let words = |value: u128| [value as u64, (value >> 64) as u64];
        let mut out = [0u64; 6];
        for (i, left) in words(left).into_iter().enumerate() {
            let mut carry = 0u128;
            for (j, right) in words(right).into_iter().enumerate() {
                let sum = u128::from(left) * u128::from(right) + u128::from(out[i + j]) + carry;
                out[i + j] = sum as u64;
                carry = sum >> 64;
            }
            out[i + 2] = carry as u64;
        }
        Wide(out)
    }

    /// By fewer than 160 bits, of a number that has the room.
    fn shift_left(&mut self, by: u32) {
        let (words, bits) = ((by / 64) as usize, by % 64);
        for at in (0..6usize).rev() {
            let word = |at: Option<usize>| at.map_or(0, |at| self.0[at]);
            let low = word(at.checked_sub(words));
            let high = if bits == 0 { 0 } else { word(at.checked_sub(words + 1)) >> (64 - bits) };
            self.0[at] = (low << bits) | high;
        }
    }
}

/// Are they the same value of the same kind, to the last bit? Decides whether a stored value changed:
/// 5 and 5.0 are not the same, nor are 1.0 and 1.00 as decimals, nor 0.0 and -0.0.
pub fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Float(left), Value::Float(right)) => {
            left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
        }
        (Value::Decimal(left), Value::Decimal(right)) => {
            left.mantissa() == right.mantissa()
                && left.scale() == right.scale()
                && left.is_sign_negative() == right.is_sign_negative()
        }
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right.iter()).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right.iter())
                    .all(|(left, right)| left.0 == right.0 && same(&left.1, &right.1))
        }
        (Value::Int(_), Value::Float(_) | Value::Decimal(_))
        | (Value::Float(_), Value::Int(_) | Value::Decimal(_))
        | (Value::Decimal(_), Value::Int(_) | Value::Float(_)) => false,
        _ => compare(left, right) == Ordering::Equal,
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        same(self, other)
    }
}
