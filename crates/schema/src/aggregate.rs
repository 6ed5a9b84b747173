//! The aggregates: their names, what they take beside a list, and what each gives for nothing.
//!
//! Read next: `expr/aggregates.rs` for how a call becomes one, [`crate::plan`] for how each is maintained.

use std::fmt;
use std::sync::Arc;

use corollary_value::Value;
use smol_str::SmolStr;

use crate::plan::lower::zero;
use crate::typed::{Expr, Kind};

/// The most values that `top` may give.
pub const MAX_TOP: u32 = 1_000;

/// The most digits behind the point of the second argument of `percentile`.
pub const MAX_PERCENTILE_DIGITS: u32 = 6;

/// The longest separator of `join`, in bytes.
pub const MAX_SEPARATOR_BYTES: usize = 30;

/// The aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// Sum; 0 for nothing.
    Sum,
    /// Number of elements that are not null.
    Count,
    /// Mean; null for nothing.
    Average,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// The first in the list's order.
    First,
    /// The last in the list's order.
    Last,
    /// Is any true?
    Any,
    /// Are all true?
    All,
    /// Each value once, in value order.
    Distinct,
    /// The middle value, or the mean of the middle two.
    Median,
    /// The value at a rank, interpolated between the two nearest.
    Percentile(Share),
    /// So many of the largest, largest first.
    Top(u32),
    /// The texts one after the other in the list's order, with a separator between.
    Join(Separator),
    /// Hidden: the resources themselves, in the order of their ids.
    Collect,
}

/// A part of a whole, exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share(u32);

impl Share {
    /// In how many parts a whole is cut: percent, and [`MAX_PERCENTILE_DIGITS`] behind the point.
    pub const PARTS: u32 = 100 * 10u32.pow(MAX_PERCENTILE_DIGITS);

    /// One half.
    pub const HALF: Share = Share(Share::PARTS / 2);

    /// So many percent, as written: digits, and perhaps a point and at most [`MAX_PERCENTILE_DIGITS`] behind it; none
    /// where it is not between 0 and 100.
    pub fn percent(text: &str) -> Option<Share> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) {
            return None;
        }
        let width = MAX_PERCENTILE_DIGITS as usize;
        if fraction.len() > width {
            return None;
        }
        let parts: u64 = format!("{whole}{fraction:0<width$}").parse().ok()?;
        u32::try_from(parts).ok().filter(|parts| *parts <= Share::PARTS).map(Share)
    }

    /// The rank at this share of the way through so many elements, counted from 0, and how far it lies on the way to
    /// the next rank, in [`Share::PARTS`].
    pub fn rank(self, elements: u64) -> (u64, u32) {
        let at = u128::from(self.0) * u128::from(elements.saturating_sub(1));
        let parts = u128::from(Share::PARTS);
        ((at / parts) as u64, (at % parts) as u32)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, width) = (Share::PARTS / 100, MAX_PERCENTILE_DIGITS as usize);
        match self.0 % unit {
            0 => write!(f, "{}", self.0 / unit),
            fraction => {
                let fraction = format!("{fraction:0width$}");
                write!(f, "{}.{}", self.0 / unit, fraction.trim_end_matches('0'))
            }
        }
    }
}

/// A short text that stands between others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Separator {
    length: u8,
    bytes: [u8; MAX_SEPARATOR_BYTES],
}

impl Separator {
    /// A separator of at most [`MAX_SEPARATOR_BYTES`].
    pub fn new(text: &str) -> Option<Separator> {
        let mut bytes = [0; MAX_SEPARATOR_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Separator { length: text.len() as u8, bytes })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("made from a text")
    }
}

impl Aggregate {
    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Aggregate::Sum => "sum",
            Aggregate::Count => "count",
            Aggregate::Average => "average",
            Aggregate::Min => "min",
            Aggregate::Max => "max",
            Aggregate::First => "first",
            Aggregate::Last => "last",
            Aggregate::Any => "any",
            Aggregate::All => "all",
            Aggregate::Distinct => "distinct",
            Aggregate::Median => "median",
            Aggregate::Percentile(_) => "percentile",
            Aggregate::Top(_) => "top",
            Aggregate::Join(_) => "join",
            Aggregate::Collect => "list",
        }
    }

    /// Those that take a list and nothing else.
    pub const PLAIN: [Aggregate; 11] = [
        Aggregate::Sum,
        Aggregate::Count,
        Aggregate::Average,
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::First,
        Aggregate::Last,
        Aggregate::Any,
        Aggregate::All,
        Aggregate::Distinct,
        Aggregate::Median,
    ];

    /// The names of all that can be written, and of `group`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Aggregate::PLAIN.iter().map(|aggregate| aggregate.name()).chain([
            "percentile",
            "top",
            "join",
            "group",
        ])
    }

    /// The share at which the result stands, for those that look at a rank.
    pub fn share(self) -> Option<Share> {
        match self {
            Aggregate::Median => Some(Share::HALF),
            Aggregate::Percentile(share) => Some(share),
            _ => None,
        }
    }

    /// Does the list's order matter?
    pub fn follows_order(self) -> bool {
        matches!(self, Aggregate::First | Aggregate::Last | Aggregate::Join(_))
    }

    /// The result for no elements, where those would be of a kind.
    pub fn of_nothing(self, kind: &Kind) -> Value {
        match self {
            Aggregate::Count => Value::Int(0),
            Aggregate::Sum => zero(kind),
            Aggregate::Any => Value::Bool(false),
            Aggregate::All => Value::Bool(true),
            Aggregate::Collect | Aggregate::Distinct | Aggregate::Top(_) => Value::List(Arc::new([])),
            Aggregate::Join(_) => Value::Str(SmolStr::default()),
            _ => Value::Null,
        }
    }
}

/// The name, and what is given beside the list: what tells one aggregate from another.
impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aggregate::Percentile(share) => write!(f, "percentile {share}"),
            Aggregate::Top(count) => write!(f, "top {count}"),
            Aggregate::Join(separator) => write!(f, "join {:?}", separator.as_str()),
            _ => f.write_str(self.name()),
        }
    }
}

/// `group(list, by: key, aggregate(value))`: a map from each key to the aggregate over the elements that have it.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupBy {
    /// What is grouped.
    pub list: Expr,
    /// The key of an element, which is item 0 here; elements without one are left out.
    pub by: Expr,
    /// What is computed for each key.
    pub aggregate: Aggregate,
    /// Over which value of an element, which is item 0 here; nothing where the elements themselves are counted.
    pub value: Option<Expr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        assert_eq!(Share::percent("50"), Some(Share::HALF));
        assert_eq!(Share::percent("50.000"), Some(Share::HALF));
        assert_eq!(Share::percent("99.999999").unwrap().to_string(), "99.999999");
        assert_eq!(Share::percent("2.5").unwrap().to_string(), "2.5");
        for wrong in ["100.1", "101", "-1", "1e1", "", ".5", "0.1234567", "99999999999999999999"] {
            assert_eq!(Share::percent(wrong), None, "{wrong}");
        }
        // Four elements: half way lies between the second and the third.
        assert_eq!(Share::HALF.rank(4), (1, Share::PARTS / 2));
        assert_eq!(Share::percent("100").unwrap().rank(4), (3, 0));
        assert_eq!(Share::percent("0").unwrap().rank(u64::MAX), (0, 0));
        assert_eq!(Share::percent("25").unwrap().rank(0), (0, 0));
    }
}
