//! The one order-preserving encoding of values, used by every index: the order of the bytes is [`compare`]'s order,
//! and equal values have equal bytes. Each encoding tells where it ends, so values can stand one after the other.
//!
//! | kind | bytes after the tag (the kind's rank) |
//! |---|---|
//! | number | the nearest float as 8 bytes in order; 0, 1 or 2 for less, equal, greater than it; where not equal the decimal digits |
//! | str, bytes | the bytes, 00 written as 00 FF; then 00 01 |
//! | list | the elements; then 00 |
//! | object | key as str, value, …; then 00 |
//! | the rest | fixed width, big endian, sign bit flipped |
//!
//! [`compare`]: crate::order::compare

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use crate::id::Id;
use crate::order::{compare_decimal_to_float, rank};
use crate::value::Value;

const LESS: u8 = 0;
const EQUAL: u8 = 1;
const GREATER: u8 = 2;

/// Appends the encoding of a value.
pub fn push_order_key(value: &Value, out: &mut Vec<u8>) {
    out.push(rank(value));
    match value {
        Value::Absent | Value::Null => {}
        Value::Bool(value) => out.push(u8::from(*value)),
        Value::Int(value) => push_decimal(Decimal::from(*value), out),
        Value::Decimal(value) => push_decimal(*value, out),
        Value::Float(value) => {
            push_float(*value, out);
            out.push(EQUAL);
        }
        Value::Str(text) => push_bytes(text.as_bytes(), out),
        Value::Bytes(bytes) => push_bytes(bytes, out),
        Value::Uuid(uuid) => out.extend_from_slice(uuid.as_bytes()),
        Value::ObjectId(bytes) => out.extend_from_slice(bytes),
        Value::Datetime(at) => out.extend_from_slice(&flip(at.as_nanosecond()).to_be_bytes()),
        Value::Date(date) => {
            let sortable =
                (i32::from(date.year()) << 16) | (i32::from(date.month()) << 8) | i32::from(date.day());
            out.extend_from_slice(&((sortable as u32) ^ (1 << 31)).to_be_bytes());
        }
        Value::Time(time) => {
            let seconds =
                (i64::from(time.hour()) * 60 + i64::from(time.minute())) * 60 + i64::from(time.second());
            let nanoseconds = seconds * 1_000_000_000 + i64::from(time.subsec_nanosecond());
            out.extend_from_slice(&nanoseconds.to_be_bytes());
        }
        Value::Duration(span) => out.extend_from_slice(&flip(span.as_nanos()).to_be_bytes()),
        Value::Ref(id) => id.push_key(out),
        Value::Error(error) => out.push(*error as u8),
        Value::List(items) => {
            items.iter().for_each(|item| push_order_key(item, out));
            out.push(0);
        }
        Value::Object(members) => {
            for (key, value) in members.iter() {
                out.push(1);
                push_bytes(key.as_bytes(), out);
                push_order_key(value, out);
            }
            out.push(0);
        }
    }
}

/// Appends what the encodings of all texts begin with that begin so.
pub fn push_order_prefix(text: &str, out: &mut Vec<u8>) {
    push_order_key(&Value::Str(text.into()), out);
    out.truncate(out.len() - END_OF_BYTES.len());
}

/// Appends the encoding of a value for a descending key: every bit of the ascending one flipped.
pub fn push_order_key_desc(value: &Value, out: &mut Vec<u8>) {
    let start = out.len();
    push_order_key(value, out);
    out[start..].iter_mut().for_each(|byte| *byte = !*byte);
}

/// What stands behind one encoded value.
pub fn skip_order_key(bytes: &[u8]) -> Option<&[u8]> {
    skip(bytes, false, 0)
}

/// What stands behind one value encoded for a descending key.
pub fn skip_order_key_desc(bytes: &[u8]) -> Option<&[u8]> {
    skip(bytes, true, 0)
}

/// Deepest nesting that is read back; documents are limited to less.
const MAX_DEPTH: u32 = 128;

fn skip(bytes: &[u8], inverted: bool, depth: u32) -> Option<&[u8]> {
    let read = |byte: u8| if inverted { !byte } else { byte };
    let (tag, rest) = bytes.split_first()?;
    let fixed = |length: usize| rest.get(length..);
    match read(*tag) {
        0x02 | 0x04 => Some(rest),
        0x10 => {
            let sign = read(*rest.get(8)?);
            let rest = rest.get(9..)?;
            if sign == EQUAL {
                return Some(rest);
            }
            // Digits end with 0x00 for positive numbers, and with its complement for negative ones.
            let negative = read(*rest.first()?) == 0;
            let end = if negative { 0xff } else { 0x00 };
            let length = rest.get(3..)?.iter().position(|byte| read(*byte) == end)?;
            rest.get(3 + length + 1..)
        }
        0x14 | 0x20 => skip_bytes(rest, inverted),
        0x18 if depth < MAX_DEPTH => {
            let mut rest = rest;
            loop {
                let (marker, behind) = rest.split_first()?;
                if read(*marker) == 0 {
                    return Some(behind);
                }
                rest = skip(skip_bytes(behind, inverted)?, inverted, depth + 1)?;
            }
        }
        0x1c if depth < MAX_DEPTH => {
            let mut rest = rest;
            loop {
                let (marker, behind) = rest.split_first()?;
                if read(*marker) == 0 {
                    return Some(behind);
                }
                rest = skip(rest, inverted, depth + 1)?;
            }
        }
        0x22 | 0x2c | 0x34 => fixed(16),
        0x24 => fixed(12),
        0x28 | 0x3c => fixed(1),
        0x30 => fixed(4),
        0x32 => fixed(8),
        0x38 => match read(*rest.first()?) {
            1 => fixed(17),
            2 => {
                let length = rest.iter().position(|byte| read(*byte) == 0)?;
                fixed(length + 1)
            }
            _ => None,
        },
        _ => None,
    }
}

fn push_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&END_OF_BYTES);
}

/// Stands behind bytes and texts.
const END_OF_BYTES: [u8; 2] = [0, 1];

fn skip_bytes(bytes: &[u8], inverted: bool) -> Option<&[u8]> {
    let read = |byte: u8| if inverted { !byte } else { byte };
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| read(*byte) == 0)?;
        match read(*bytes.get(at + 1)?) {
            1 => return bytes.get(at + 2..),
            _ => at += 2,
        }
    }
}

fn flip(value: i128) -> u128 {
    (value as u128) ^ (1 << 127)
}

fn push_float(value: f64, out: &mut Vec<u8>) {
    let bits = if value.is_nan() {
        0
    } else {
        // The two zeros are one; a negative number has all bits flipped, a positive one its sign bit set.
        let bits = if value == 0.0 { 0 } else { value.to_bits() };
        if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
    };
    out.extend_from_slice(&bits.to_be_bytes());
}

/// The nearest float first, so that numbers of all kinds sort together; digits only where that is not exact.
fn push_decimal(value: Decimal, out: &mut Vec<u8>) {
    let nearest = nearest_float(value);
    push_float(nearest, out);
    match compare_decimal_to_float(value, nearest) {
        std::cmp::Ordering::Equal => out.push(EQUAL),
        unequal => {
            out.push(if unequal.is_lt() { LESS } else { GREATER });
            push_digits(value, out);
        }
    }
}

/// Any monotone rounding would do; the nearest keeps most whole numbers exact.
fn nearest_float(value: Decimal) -> f64 {
    if value.scale() == 0
        && let Some(int) = value.to_i128()
    {
        return int as f64;
    }
    // Through the shortest text: correctly rounded by the standard library.
    value.to_string().parse().unwrap_or(0.0)
}

/// Sign, exponent, digits without trailing zeros (each plus one), terminator; all flipped for negative numbers.
fn push_digits(value: Decimal, out: &mut Vec<u8>) {
    let value = value.normalize();
    let digits = value.mantissa().unsigned_abs().to_string();
    let trimmed = digits.trim_end_matches('0');
    let exponent = digits.len() as i32 - value.scale() as i32;
    let start = out.len();
    out.push(0xff);
    out.extend_from_slice(&((exponent + 0x4000) as u16).to_be_bytes());
    out.extend(trimmed.bytes().map(|digit| digit - b'0' + 1));
    out.push(0);
    if value.is_sign_negative() {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

/// Appends value and id: the key of an index entry behind its prefix.
pub fn push_entry(value: &Value, id: &Id, out: &mut Vec<u8>) {
    push_order_key(value, out);
    id.push_key(out);
}
