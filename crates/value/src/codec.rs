//! The compact binary encoding of values in documents and in the log. Lossless for every kind.
//!
//! One tag byte, then what the kind needs. Small whole numbers and short texts fold into the tag:
//!
//! | tag | value |
//! |---|---|
//! | 00 – 0f | absent, null, false, true, then one tag for each other kind |
//! | 10 – 4f | the whole numbers -8 to 55 |
//! | 50 – 8f | text of 0 to 63 bytes, which follow |
//! | 90 – 9e | the further kinds |

use jiff::{SignedDuration, Timestamp, civil};
use rust_decimal::Decimal;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::id::Id;
use crate::value::{ErrorValue, Value};

const ABSENT: u8 = 0x00;
const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const INT: u8 = 0x04;
const FLOAT: u8 = 0x05;
const DECIMAL: u8 = 0x06;
const STR: u8 = 0x07;
const BYTES: u8 = 0x08;
const UUID: u8 = 0x09;
const OBJECT_ID: u8 = 0x0a;
const DATETIME: u8 = 0x0b;
const DATE: u8 = 0x0c;
const TIME: u8 = 0x0d;
const DURATION: u8 = 0x0e;
const LIST: u8 = 0x0f;
const SMALL_INT: u8 = 0x10;
const SMALL_INTS: u8 = 64;
const SMALL_INT_MIN: i64 = -8;
const SHORT_STR: u8 = 0x50;
const SHORT_STRS: u8 = 64;
const REF_UUID: u8 = 0x90;
const REF_NAME: u8 = 0x91;
const OBJECT: u8 = 0x92;
const ERROR: u8 = 0x93;

/// Deepest nesting of lists and objects that is read.
pub const MAX_DEPTH: u32 = 100;

/// The bytes are not what [`encode`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored bytes are not a value")]
pub struct DecodeError;

/// Appends an unsigned number in 1 to 10 bytes, 7 bits each, least significant first.
#[inline]
pub fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`push_varint`] wrote.
#[inline]
pub fn read_varint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0u64;
    let mut shift = 0;
    loop {
        let byte = read_byte(bytes)?;
        if shift == 63 && byte > 1 {
            return Err(DecodeError);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
        shift += 7;
        if shift > 63 {
            return Err(DecodeError);
        }
    }
}

/// Small numbers of either sign as small unsigned ones.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[inline]
fn read_byte(bytes: &mut &[u8]) -> Result<u8, DecodeError> {
    let (first, rest) = bytes.split_first().ok_or(DecodeError)?;
    *bytes = rest;
    Ok(*first)
}

/// Reads so many bytes.
#[inline]
pub fn read_slice<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], DecodeError> {
    let (slice, rest) = bytes.split_at_checked(length).ok_or(DecodeError)?;
    *bytes = rest;
    Ok(slice)
}

fn read_array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (array, rest) = bytes.split_first_chunk::<N>().ok_or(DecodeError)?;
    *bytes = rest;
    Ok(*array)
}

fn read_text(bytes: &mut &[u8], length: usize) -> Result<SmolStr, DecodeError> {
    let text = std::str::from_utf8(read_slice(bytes, length)?).map_err(|_| DecodeError)?;
    Ok(SmolStr::new(text))
}

fn read_length(bytes: &mut &[u8]) -> Result<usize, DecodeError> {
    let length = usize::try_from(read_varint(bytes)?).map_err(|_| DecodeError)?;
    // Every element takes a byte at least, so a larger length cannot be true; nothing is allocated for it.
    if length > bytes.len() { Err(DecodeError) } else { Ok(length) }
}

/// Appends a value.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Absent => out.push(ABSENT),
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Int(value) => {
            let small = value.wrapping_sub(SMALL_INT_MIN);
            if (0..i64::from(SMALL_INTS)).contains(&small) {
                out.push(SMALL_INT + small as u8);
            } else {
                out.push(INT);
                push_varint(zigzag(*value), out);
            }
        }
        Value::Float(value) => {
            out.push(FLOAT);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Decimal(value) => {
            out.push(DECIMAL);
            out.extend_from_slice(&value.serialize());
        }
        Value::Str(text) => {
            if text.len() < usize::from(SHORT_STRS) {
                out.push(SHORT_STR + text.len() as u8);
            } else {
                out.push(STR);
                push_varint(text.len() as u64, out);
            }
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.push(BYTES);
            push_varint(bytes.len() as u64, out);
            out.extend_from_slice(bytes);
        }
        Value::Uuid(uuid) => {
            out.push(UUID);
            out.extend_from_slice(uuid.as_bytes());
        }
        Value::ObjectId(bytes) => {
            out.push(OBJECT_ID);
            out.extend_from_slice(bytes);
        }
        Value::Datetime(at) => {
            out.push(DATETIME);
            push_varint(zigzag(at.as_second()), out);
            push_varint(zigzag(i64::from(at.subsec_nanosecond())), out);
        }
        Value::Date(date) => {
            out.push(DATE);
            push_varint(zigzag(i64::from(date.year())), out);
            out.extend_from_slice(&[date.month() as u8, date.day() as u8]);
        }
        Value::Time(time) => {
            out.push(TIME);
            out.extend_from_slice(&[time.hour() as u8, time.minute() as u8, time.second() as u8]);
            push_varint(time.subsec_nanosecond().unsigned_abs().into(), out);
        }
        Value::Duration(span) => {
            out.push(DURATION);
            push_varint(zigzag(span.as_secs()), out);
            push_varint(zigzag(i64::from(span.subsec_nanos())), out);
        }
        Value::Ref(Id::Uuid(uuid)) => {
            out.push(REF_UUID);
            out.extend_from_slice(uuid.as_bytes());
        }
        Value::Ref(Id::Name(name)) => {
            out.push(REF_NAME);
            push_varint(name.len() as u64, out);
            out.extend_from_slice(name.as_bytes());
        }
        Value::List(items) => {
            out.push(LIST);
            push_varint(items.len() as u64, out);
            items.iter().for_each(|item| encode(item, out));
        }
        Value::Object(members) => {
            out.push(OBJECT);
            push_varint(members.len() as u64, out);
            for (key, value) in members.iter() {
                push_varint(key.len() as u64, out);
                out.extend_from_slice(key.as_bytes());
                encode(value, out);
            }
        }
        Value::Error(error) => out.extend_from_slice(&[ERROR, *error as u8]),
    }
}

/// Reads one value, and moves past it.
pub fn decode(bytes: &mut &[u8]) -> Result<Value, DecodeError> {
    decode_at(bytes, 0)
}

fn decode_at(bytes: &mut &[u8], depth: u32) -> Result<Value, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError);
    }
    let tag = read_byte(bytes)?;
    let seconds_and_nanoseconds = |bytes: &mut &[u8]| -> Result<(i64, i32), DecodeError> {
        let seconds = unzigzag(read_varint(bytes)?);
        let nanoseconds = i32::try_from(unzigzag(read_varint(bytes)?)).map_err(|_| DecodeError)?;
        if nanoseconds.abs() < 1_000_000_000 { Ok((seconds, nanoseconds)) } else { Err(DecodeError) }
    };
    Ok(match tag {
        ABSENT => Value::Absent,
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => Value::Int(unzigzag(read_varint(bytes)?)),
        SMALL_INT..SHORT_STR => Value::Int(i64::from(tag - SMALL_INT) + SMALL_INT_MIN),
        SHORT_STR..REF_UUID => Value::Str(read_text(bytes, usize::from(tag - SHORT_STR))?),
        FLOAT => Value::Float(f64::from_bits(u64::from_le_bytes(read_array(bytes)?))),
        DECIMAL => {
            let decimal = Decimal::deserialize(read_array(bytes)?);
            if decimal.scale() > 28 {
                return Err(DecodeError);
            }
            Value::Decimal(decimal)
        }
        STR => {
            let length = read_length(bytes)?;
            Value::Str(read_text(bytes, length)?)
        }
        BYTES => {
            let length = read_length(bytes)?;
            Value::Bytes(read_slice(bytes, length)?.into())
        }
        UUID => Value::Uuid(Uuid::from_bytes(read_array(bytes)?)),
        OBJECT_ID => Value::ObjectId(read_array(bytes)?),
        DATETIME => {
            let (seconds, nanoseconds) = seconds_and_nanoseconds(bytes)?;
            Value::Datetime(Timestamp::new(seconds, nanoseconds).map_err(|_| DecodeError)?)
        }
        DATE => {
            let year = i16::try_from(unzigzag(read_varint(bytes)?)).map_err(|_| DecodeError)?;
            let [month, day] = read_array(bytes)?;
            Value::Date(civil::Date::new(year, month as i8, day as i8).map_err(|_| DecodeError)?)
        }
        TIME => {
            let [hour, minute, second] = read_array(bytes)?;
            let nanosecond = i32::try_from(read_varint(bytes)?).map_err(|_| DecodeError)?;
            let time = civil::Time::new(hour as i8, minute as i8, second as i8, nanosecond);
            Value::Time(time.map_err(|_| DecodeError)?)
        }
        DURATION => {
            let (seconds, nanoseconds) = seconds_and_nanoseconds(bytes)?;
            if (seconds > 0 && nanoseconds < 0) || (seconds < 0 && nanoseconds > 0) {
                return Err(DecodeError);
            }
            Value::Duration(SignedDuration::new(seconds, nanoseconds))
        }
        REF_UUID => Value::Ref(Id::Uuid(Uuid::from_bytes(read_array(bytes)?))),
        REF_NAME => {
            let length = read_length(bytes)?;
            Value::Ref(Id::Name(read_text(bytes, length)?))
        }
        LIST => {
            let length = read_length(bytes)?;
            let items: Result<Vec<Value>, DecodeError> =
                (0..length).map(|_| decode_at(bytes, depth + 1)).collect();
            Value::List(items?.into())
        }
        OBJECT => {
            let length = read_length(bytes)?;
            let mut members = Vec::with_capacity(length.min(64));
            for _ in 0..length {
                let key_length = read_length(bytes)?;
                members.push((read_text(bytes, key_length)?, decode_at(bytes, depth + 1)?));
            }
            Value::Object(members.into())
        }
        ERROR => Value::Error(match read_byte(bytes)? {
            1 => ErrorValue::Cycle,
            2 => ErrorValue::Div0,
            3 => ErrorValue::Type,
            4 => ErrorValue::Missing,
            5 => ErrorValue::Overflow,
            _ => return Err(DecodeError),
        }),
        _ => return Err(DecodeError),
    })
}
