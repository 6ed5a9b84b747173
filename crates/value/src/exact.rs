//! Sums that forget nothing: what was added can be removed again, in any order, and the result is the one that a
//! computation from scratch gives, to the last bit.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rust_decimal::Decimal;

use crate::codec::{self, DecodeError, push_varint, read_varint, unzigzag, zigzag};
use crate::ops::decimal_from;
use crate::value::{ErrorValue, Value};

/// The exact sum of floats: a fixed-point number that covers the whole range of doubles, as sparse words of 32 bits.
///
/// Word `i` weighs `2^(32 i - 1088)`. Between operations every word but the highest lies in `0 .. 2^32`, no word at
/// either end is zero, and the highest carries the sign; so one sum has one state, whatever led to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FloatSum {
    /// Position of the first word.
    low: u8,
    words: Vec<i64>,
    nan: u64,
    infinite: u64,
    negative_infinite: u64,
}

const WORD: i64 = 1 << 32;
const BIAS: i32 = 1088;

impl FloatSum {
    /// Adds a number so many times; a negative count removes it.
    pub fn add(&mut self, value: f64, sign: i64) {
        let count = |count: &mut u64| *count = count.wrapping_add_signed(sign);
        if value.is_nan() {
            return count(&mut self.nan);
        }
        if value.is_infinite() {
            return count(if value > 0.0 { &mut self.infinite } else { &mut self.negative_infinite });
        }
        if value == 0.0 {
            return;
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let (significand, exponent) =
            if exponent == 0 { (fraction, -1074) } else { (fraction | (1 << 52), exponent - 1075) };
        let position = (exponent + BIAS).unsigned_abs();
        let (first, shift) = ((position / 32) as usize, position % 32);
        let wide = u128::from(significand) << shift;
        let sign = if value < 0.0 { -sign } else { sign };
        self.cover(first, first + 3);
        let low = usize::from(self.low);
        for (at, word) in [wide as u32, (wide >> 32) as u32, (wide >> 64) as u32].into_iter().enumerate() {
            self.words[first - low + at] += sign * i64::from(word);
        }
        self.normalise();
    }

    /// Adds another sum, or what was added to it and removed from it.
    fn merge(&mut self, other: &FloatSum) {
        for (count, by) in [
            (&mut self.nan, other.nan),
            (&mut self.infinite, other.infinite),
            (&mut self.negative_infinite, other.negative_infinite),
        ] {
            *count = count.wrapping_add(by);
        }
        if other.words.is_empty() {
            return;
        }
        let first = usize::from(other.low);
        self.cover(first, first + other.words.len());
        let low = usize::from(self.low);
        for (word, by) in self.words[first - low..].iter_mut().zip(&other.words) {
            *word += by;
        }
        self.normalise();
    }

    /// Makes room for the words from one position up to another.
    fn cover(&mut self, from: usize, to: usize) {
        if self.words.is_empty() {
            self.low = from as u8;
        }
        let low = usize::from(self.low);
        if from < low {
            self.words.splice(0..0, std::iter::repeat_n(0, low - from));
            self.low = from as u8;
        }
        let needed = to - usize::from(self.low);
        if self.words.len() < needed {
            self.words.resize(needed, 0);
        }
    }

    fn normalise(&mut self) {
        let mut carry = 0;
        for word in &mut self.words {
            let sum = *word + carry;
            carry = sum.div_euclid(WORD);
            *word = sum.rem_euclid(WORD);
        }
        if carry != 0 {
            self.words.push(carry);
        }
        // A highest word of -1 over another is that one less 2^32: one form for one number.
        loop {
            match self.words.as_slice() {
                [.., 0] => {
                    self.words.pop();
                }
                [.., below, -1] if *below > 0 => {
                    let below = *below;
                    self.words.pop();
                    if let Some(last) = self.words.last_mut() {
                        *last = below - WORD;
                    }
                }
                _ => break,
            }
        }
        let zeros = self.words.iter().take_while(|word| **word == 0).count();
        self.words.drain(..zeros);
        self.low = if self.words.is_empty() { 0 } else { self.low + zeros as u8 };
    }

    /// The sum, correctly rounded: the double nearest to the true sum, ties to even.
    pub fn value(&self) -> f64 {
        if self.nan > 0 || (self.infinite > 0 && self.negative_infinite > 0) {
            return f64::NAN;
        }
        if self.infinite > 0 {
            return f64::INFINITY;
        }
        if self.negative_infinite > 0 {
            return f64::NEG_INFINITY;
        }
        let negative = self.words.last().is_some_and(|word| *word < 0);
        let magnitude = round_words(&self.magnitude(negative), i32::from(self.low) * 32 - BIAS);
        if negative { -magnitude } else { magnitude }
    }

    /// Words of the absolute value, each in `0 .. 2^32`.
    fn magnitude(&self, negative: bool) -> Vec<u32> {
        let mut out = Vec::with_capacity(self.words.len() + 2);
        let mut carry = 0;
        for word in &self.words {
            let sum = if negative { -*word } else { *word } + carry;
            carry = sum.div_euclid(WORD);
            out.push(sum.rem_euclid(WORD) as u32);
        }
        while carry > 0 {
            out.push((carry % WORD) as u32);
            carry /= WORD;
        }
        while out.last() == Some(&0) {
            out.pop();
        }
        out
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.low);
        push_varint(self.words.len() as u64, out);
        self.words.iter().for_each(|word| push_varint(zigzag(*word), out));
        for count in [self.nan, self.infinite, self.negative_infinite] {
            push_varint(count, out);
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<FloatSum, DecodeError> {
        let low = codec::read_slice(bytes, 1)?[0];
        let length = read_varint(bytes)?;
        if length > 80 {
            return Err(DecodeError);
        }
        let words: Result<Vec<i64>, _> = (0..length).map(|_| read_varint(bytes).map(unzigzag)).collect();
        Ok(FloatSum {
            low,
            words: words?,
            nan: read_varint(bytes)?,
            infinite: read_varint(bytes)?,
            negative_infinite: read_varint(bytes)?,
        })
    }
}

/// Rounds `sum(words[i] * 2^(32 i)) * 2^exponent` to the nearest double, ties to even.
fn round_words(words: &[u32], exponent: i32) -> f64 {
    let Some(top) = words.last() else { return 0.0 };
    let bits = (words.len() as i32 - 1) * 32 + (32 - top.leading_zeros() as i32);
    // The exponent of the last bit that a double of this size has.
    let last = (bits + exponent - 53).max(-1074);
    let drop = last - exponent;
    let bit =
        |at: i32| at >= 0 && words.get((at / 32) as usize).is_some_and(|word| word >> (at % 32) & 1 == 1);
    let mut significand = 0u64;
    for at in (drop.max(0)..bits).rev() {
        significand = significand << 1 | u64::from(bit(at));
    }
    if drop < 0 {
        // Fewer bits than a double has: exact.
        return scale(significand, exponent);
    }
    let half = bit(drop - 1);
    let rest = (0..drop - 1).any(bit);
    if half && (rest || significand & 1 == 1) {
        significand += 1;
    }
    scale(significand, last)
}

/// `significand * 2^exponent`, which is representable or overflows to infinity.
fn scale(significand: u64, exponent: i32) -> f64 {
    let mut value = significand as f64;
    let mut exponent = exponent;
    while exponent < -1000 {
        value *= 2f64.powi(-1000);
        exponent += 1000;
    }
    while exponent > 900 {
        value *= 2f64.powi(900);
        exponent -= 900;
    }
    value * 2f64.powi(exponent)
}

/// The exact sum of decimals, by scale; a scale is there while its part is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct DecimalSum(BTreeMap<u32, i128>);

impl DecimalSum {
    fn add(&mut self, value: Decimal, sign: i64) {
        let value = value.normalize();
        self.put(value.scale(), value.mantissa().saturating_mul(i128::from(sign)));
    }

    fn merge(&mut self, other: &DecimalSum) {
        for (scale, part) in &other.0 {
            self.put(*scale, *part);
        }
    }

    fn put(&mut self, scale: u32, by: i128) {
        let part = self.0.entry(scale).or_default();
        // A part overflows past 10^10 values of 28 digits each; it then stays at the limit, and the sum is #overflow.
        *part = part.saturating_add(by);
        if *part == 0 {
            self.0.remove(&scale);
        }
    }

    fn value(&self) -> Option<Decimal> {
        let scale = self.0.keys().next_back().copied().unwrap_or(0);
        let mut total = 0i128;
        for (at, part) in &self.0 {
            total = total.checked_add(part.checked_mul(10i128.checked_pow(scale - at)?)?)?;
        }
        decimal_from(total, scale).map(|sum| sum.normalize())
    }
}

/// The state of `sum`, `average` and `count` over values of any kinds. Nulls are skipped.
///
/// Equal multisets of values have equal states, whatever order of adding and removing led to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SumState {
    /// Values that are neither null nor errors.
    count: u64,
    /// Exact sum of the ints, as long as they fit (2^64 of the largest do).
    ints: i128,
    rare: Option<Box<Rare>>,
}

/// What most sums do not need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    floats: u64,
    float_sum: FloatSum,
    decimals: u64,
    decimal_sum: DecimalSum,
    durations: u64,
    nanoseconds: i128,
    errors: [u64; 6],
}

impl SumState {
    /// Adds a value.
    pub fn add(&mut self, value: &Value) {
        self.change(value, 1);
    }

    /// Removes a value that was added before.
    pub fn remove(&mut self, value: &Value) {
        self.change(value, -1);
    }

    /// Adds what was added to another state, and removes what was removed from it: the state is then as if all of that had
    /// happened to it.
    pub fn merge(&mut self, other: &SumState) {
        self.count = self.count.wrapping_add(other.count);
        self.ints += other.ints;
        let Some(from) = &other.rare else { return };
        let rare = self.rare.get_or_insert_default();
        rare.floats = rare.floats.wrapping_add(from.floats);
        rare.float_sum.merge(&from.float_sum);
        rare.decimals = rare.decimals.wrapping_add(from.decimals);
        rare.decimal_sum.merge(&from.decimal_sum);
        rare.durations = rare.durations.wrapping_add(from.durations);
        rare.nanoseconds += from.nanoseconds;
        for (count, by) in rare.errors.iter_mut().zip(from.errors) {
            *count = count.wrapping_add(by);
        }
        if **rare == Rare::default() {
            self.rare = None;
        }
    }

    fn change(&mut self, value: &Value, sign: i64) {
        let by = |count: &mut u64| *count = count.wrapping_add_signed(sign);
        match value {
            Value::Absent | Value::Null => return,
            Value::Int(value) => {
                self.ints += i128::from(*value) * i128::from(sign);
                by(&mut self.count);
                return;
            }
            _ => {}
        }
        let rare = self.rare.get_or_insert_default();
        match value {
            Value::Float(value) => {
                by(&mut self.count);
                by(&mut rare.floats);
                rare.float_sum.add(*value, sign);
            }
            Value::Decimal(value) => {
                by(&mut self.count);
                by(&mut rare.decimals);
                rare.decimal_sum.add(*value, sign);
            }
            Value::Duration(span) => {
                by(&mut self.count);
                by(&mut rare.durations);
                rare.nanoseconds += span.as_nanos() * i128::from(sign);
            }
            Value::Error(error) => by(&mut rare.errors[*error as usize]),
            _ => by(&mut rare.errors[ErrorValue::Type as usize]),
        }
        if **rare == Rare::default() {
            self.rare = None;
        }
    }

    /// How many values are in it that are neither null nor errors.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Has nothing been added, or all been removed?
    pub fn is_empty(&self) -> bool {
        *self == SumState::default()
    }

    fn error(&self) -> Option<Value> {
        let errors = self.rare.as_ref()?.errors;
        let kinds = [
            ErrorValue::Cycle,
            ErrorValue::Div0,
            ErrorValue::Type,
            ErrorValue::Missing,
            ErrorValue::Overflow,
        ];
        kinds.into_iter().find(|kind| errors[*kind as usize] > 0).map(Value::Error)
    }

    /// The sum; `zero` (of the kind that is summed) where there is nothing. An error in it is the result.
    pub fn sum(&self, zero: &Value) -> Value {
        if let Some(error) = self.error() {
            return error;
        }
        let overflow = Value::Error(ErrorValue::Overflow);
        let Some(rare) = &self.rare else {
            return match zero {
                _ if self.count == 0 => zero.clone(),
                Value::Float(_) => Value::Float(self.ints as f64),
                Value::Decimal(_) => decimal_from(self.ints, 0).map_or(overflow, Value::Decimal),
                _ => i64::try_from(self.ints).map_or(overflow, Value::Int),
            };
        };
        if rare.durations > 0 {
            if rare.durations != self.count {
                return Value::Error(ErrorValue::Type);
            }
            let seconds = i64::try_from(rare.nanoseconds / 1_000_000_000);
            let rest = (rare.nanoseconds % 1_000_000_000) as i32;
            return seconds.map_or(overflow, |seconds| Value::Duration(SignedDuration::new(seconds, rest)));
        }
        if rare.floats > 0 {
            let mut sum = rare.float_sum.clone();
            // Ints among the floats: added in two exact halves.
            let (high, low) = (self.ints >> 40 << 40, self.ints & ((1 << 40) - 1));
            sum.add(high as f64, 1);
            sum.add(low as f64, 1);
            if let Some(decimals) = rare.decimal_sum.value() {
                sum.add(decimals.to_string().parse().unwrap_or(f64::NAN), 1);
            }
            let finite = rare.float_sum.infinite == 0 && rare.float_sum.negative_infinite == 0;
            return match sum.value() {
                sum if sum.is_nan() => Value::Error(ErrorValue::Type),
                sum if sum.is_infinite() && finite => overflow,
                sum => Value::Float(sum),
            };
        }
        let mut sum = rare.decimal_sum.clone();
        let ints = sum.0.entry(0).or_default();
        *ints = ints.saturating_add(self.ints);
        sum.value().map_or(overflow, Value::Decimal)
    }

    /// The mean; null where there is nothing. Of ints it is a float.
    pub fn average(&self) -> Value {
        if let Some(error) = self.error() {
            return error;
        }
        if self.count == 0 {
            return Value::Null;
        }
        let Some(rare) = &self.rare else {
            return Value::Float(divide_rounded(self.ints, self.count));
        };
        let zero = if rare.floats > 0 { Value::Float(0.0) } else { Value::Decimal(Decimal::ZERO) };
        let count = i64::try_from(self.count).map_or(Value::Error(ErrorValue::Overflow), Value::Int);
        crate::ops::divide(&self.sum(&zero), &count)
    }

    /// Appends the state.
    pub fn encode(&self, out: &mut Vec<u8>) {
        push_varint(self.count << 1 | u64::from(self.rare.is_some()), out);
        push_wide(self.ints, out);
        let Some(rare) = &self.rare else { return };
        push_varint(rare.floats, out);
        if rare.floats > 0 {
            rare.float_sum.encode(out);
        }
        push_varint(rare.decimals, out);
        if rare.decimals > 0 {
            push_varint(rare.decimal_sum.0.len() as u64, out);
            for (scale, part) in &rare.decimal_sum.0 {
                push_varint(u64::from(*scale), out);
                push_wide(*part, out);
            }
        }
        push_varint(rare.durations, out);
        push_wide(rare.nanoseconds, out);
        rare.errors.iter().for_each(|count| push_varint(*count, out));
    }

    /// Reads what [`SumState::encode`] wrote.
    pub fn decode(bytes: &mut &[u8]) -> Result<SumState, DecodeError> {
        let head = read_varint(bytes)?;
        let mut state = SumState { count: head >> 1, ints: read_wide(bytes)?, rare: None };
        if head & 1 == 0 {
            return Ok(state);
        }
        let mut rare = Rare { floats: read_varint(bytes)?, ..Rare::default() };
        if rare.floats > 0 {
            rare.float_sum = FloatSum::decode(bytes)?;
        }
        rare.decimals = read_varint(bytes)?;
        if rare.decimals > 0 {
            for _ in 0..read_varint(bytes)?.min(29) {
                let scale = u32::try_from(read_varint(bytes)?).map_err(|_| DecodeError)?;
                rare.decimal_sum.0.insert(scale.min(28), read_wide(bytes)?);
            }
        }
        rare.durations = read_varint(bytes)?;
        rare.nanoseconds = read_wide(bytes)?;
        for count in &mut rare.errors {
            *count = read_varint(bytes)?;
        }
        state.rare = Some(Box::new(rare));
        Ok(state)
    }
}

/// A 128 bit number: zigzag, low 63 bits first, the rest only where there is one.
fn push_wide(value: i128, out: &mut Vec<u8>) {
    let zigzag = ((value << 1) ^ (value >> 127)) as u128;
    let low = (zigzag as u64) & (u64::MAX >> 1);
    let (middle, high) = ((zigzag >> 63) as u64 & (u64::MAX >> 1), (zigzag >> 126) as u64);
    match (middle, high) {
        (0, 0) => push_varint(low << 1, out),
        _ => {
            push_varint(low << 1 | 1, out);
            push_varint(middle, out);
            push_varint(high, out);
        }
    }
}

fn read_wide(bytes: &mut &[u8]) -> Result<i128, DecodeError> {
    let first = read_varint(bytes)?;
    let mut zigzag = u128::from(first >> 1);
    if first & 1 == 1 {
        let (middle, high) = (read_varint(bytes)?, read_varint(bytes)?);
        if middle > u64::MAX >> 1 || high > 3 {
            return Err(DecodeError);
        }
        zigzag |= u128::from(middle) << 63 | u128::from(high) << 126;
    }
    Ok((zigzag >> 1) as i128 ^ -((zigzag & 1) as i128))
}

/// `total / count`, correctly rounded: the quotient with more bits than a double has, and a sticky last bit.
fn divide_rounded(total: i128, count: u64) -> f64 {
    let (magnitude, count) = (total.unsigned_abs(), u128::from(count));
    if magnitude == 0 {
        return 0.0;
    }
    // Shift so that the quotient has at least 64 bits, where there is room; then the sticky bit decides ties.
    let room = magnitude.leading_zeros();
    let shifted = magnitude << room;
    let (quotient, rest) = (shifted / count, shifted % count);
    let sticky = u128::from(rest != 0);
    let words = quotient << 1 | sticky;
    let words = if quotient.leading_zeros() == 0 { quotient | sticky } else { words };
    let exponent = -(room as i32) - i32::from(quotient.leading_zeros() != 0);
    let words = [words as u32, (words >> 32) as u32, (words >> 64) as u32, (words >> 96) as u32];
    let length = words.iter().rposition(|word| *word != 0).map_or(0, |at| at + 1);
    let value = round_words(&words[..length], exponent);
    if total < 0 { -value } else { value }
}
