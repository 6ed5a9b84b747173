//! The value enum: everything a field can hold, and everything an expression can yield.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, civil};
use rust_decimal::Decimal;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::id::Id;

/// One value: a superset of JSON and of BSON.
///
/// Cloning is cheap: short strings are inline, everything larger is shared.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// The field has no value at all; different from [`Value::Null`], never shown to clients.
    #[default]
    Absent,
    /// An explicit null.
    Null,
    /// True or false.
    Bool(bool),
    /// A 64 bit integer.
    Int(i64),
    /// An IEEE 754 double.
    Float(f64),
    /// An exact decimal of at most 28 digits.
    Decimal(Decimal),
    /// UTF-8 text.
    Str(SmolStr),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A UUID that is plain data (a reference to a resource is [`Value::Ref`]).
    Uuid(Uuid),
    /// BSON's 12 byte object id.
    ObjectId([u8; 12]),
    /// An instant, UTC, nanoseconds.
    Datetime(Timestamp),
    /// A calendar day.
    Date(civil::Date),
    /// A time of day.
    Time(civil::Time),
    /// An exact span of time, nanoseconds.
    Duration(SignedDuration),
    /// A reference to a resource; its type is known from the schema.
    Ref(Id),
    /// A list; sets are lists in value order without repeats.
    List(Arc<[Value]>),
    /// An object with ordered keys; also maps and free JSON.
    Object(Arc<[(SmolStr, Value)]>),
    /// An error value of an expression.
    Error(ErrorValue),
}

/// Why an expression has no ordinary value. Shown to readers as `#cycle`, `#div0`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ErrorValue {
    /// The instances of a recursive field form a cycle.
    Cycle = 1,
    /// Division by zero.
    Div0 = 2,
    /// An operand has the wrong type.
    Type = 3,
    /// Something that must be there is not.
    Missing = 4,
    /// A number (or a list) is larger than its kind can hold.
    Overflow = 5,
}
