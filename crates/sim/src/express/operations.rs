//! Operators and aggregates: for each kind of value, what gives one.

use super::{COMPARED, Express};
use crate::draft::Kind;

impl Express<'_> {
    /// An operator or a function that gives a kind.
    pub(super) fn operation(&mut self, kind: Kind) -> Option<String> {
        if self.random.percent(25) {
            return self.call(kind);
        }
        Some(match kind {
            Kind::Int => match self.random.below(9) {
                0..=2 => format!("count({})", self.counted()?),
                3 | 4 => format!("sum({})", self.list(Kind::Int)?),
                5 => format!("length({})", self.one(Kind::Str)?),
                6 => format!(
                    "{}({})",
                    ["year", "month", "day", "weekday"][self.random.below(4)],
                    self.one(Kind::Datetime)?
                ),
                _ => self.arithmetic(Kind::Int, Kind::Int, &["+", "-", "*", "%"])?,
            },
            Kind::Float => match self.random.below(9) {
                0 | 1 => {
                    let from = *self.random.pick(&[Kind::Int, Kind::Float]);
                    if self.random.percent(50) {
                        self.percentile(from, Express::list)?
                    } else {
                        format!("average({})", self.list(from)?)
                    }
                }
                2 | 3 => format!("sum({})", self.list(Kind::Float)?),
                4 => self.arithmetic(Kind::Int, Kind::Int, &["/"])?,
                5 => format!("round({}, 1)", self.one(Kind::Float)?),
                6 if self.random.percent(50) => {
                    format!("power({}, {})", self.one(Kind::Float)?, self.literal(Kind::Int)?)
                }
                6 => format!("sqrt({})", self.one(Kind::Float)?),
                _ => {
                    let other = *self.random.pick(&[Kind::Int, Kind::Float]);
                    self.arithmetic(Kind::Float, other, &["+", "-", "*", "/"])?
                }
            },
            Kind::Decimal => match self.random.below(6) {
                0 | 1 => format!("sum({})", self.list(Kind::Decimal)?),
                2 => format!("average({})", self.list(Kind::Decimal)?),
                3 if self.random.percent(50) => format!("abs({})", self.one(Kind::Decimal)?),
                3 => self.percentile(Kind::Decimal, Express::list)?,
                _ => {
                    let other = *self.random.pick(&[Kind::Int, Kind::Decimal]);
                    self.arithmetic(Kind::Decimal, other, &["+", "-", "*", "/"])?
                }
            },
            Kind::Str => match self.random.below(8) {
                0 => format!("({} + {})", self.one(Kind::Str)?, self.one(Kind::Str)?),
                1 => {
                    format!("{}({})", ["upper", "lower", "trim"][self.random.below(3)], self.one(Kind::Str)?)
                }
                2 => {
                    let kind = *self.random.pick(&COMPARED);
                    format!("str({})", self.one(kind)?)
                }
                3 => format!("normalize({}, 'trim', 'nfkc', 'lower')", self.one(Kind::Str)?),
                5 | 6 => format!("join({}, '{}')", self.list(Kind::Str)?, ["", ", "][self.random.below(2)]),
                4 => format!("split({}, 'a')[{}]", self.one(Kind::Str)?, self.random.between(-1, 1)),
                _ => format!("concat({}, {})", self.one(Kind::Str)?, self.literal(Kind::Str)?),
            },
            Kind::Datetime | Kind::Date => {
                let span = self.calendar_span();
                format!("({} {} {span})", self.one(kind)?, ["+", "-"][self.random.below(2)])
            }
            Kind::Duration => match self.random.below(4) {
                0 => format!("sum({})", self.list(Kind::Duration)?),
                1 => format!("({} - {})", self.field(Kind::Datetime)?, self.one(Kind::Datetime)?),
                2 if self.random.percent(50) => format!("average({})", self.list(Kind::Duration)?),
                2 => self.percentile(Kind::Duration, Express::list)?,
                3 if self.random.percent(30) => format!("duration({})", self.one(Kind::Str)?),
                _ => self.arithmetic(Kind::Duration, Kind::Duration, &["+", "-"])?,
            },
            Kind::Bool => format!("{}({})", ["any", "all"][self.random.below(2)], self.list(Kind::Bool)?),
            Kind::Enum => return None,
        })
    }

    /// Two of these kinds, in either order, with an operator between.
    fn arithmetic(&mut self, left: Kind, right: Kind, operators: &[&str]) -> Option<String> {
        let operator = *self.random.pick(operators);
        let (left, right) = (self.one(left)?, self.one(right)?);
        Some(match self.random.below(20) {
            0..=3 => format!("({right} {operator} {left})"),
            4 => format!("(-{left} {operator} {right})"),
            _ => format!("({left} {operator} {right})"),
        })
    }

    /// Something that can be counted.
    fn counted(&mut self) -> Option<String> {
        if self.random.percent(75) {
            return self.many(false).map(|(text, _)| text);
        }
        let kind = *self.random.pick(&COMPARED);
        let list = self.list(kind)?;
        Some(if self.random.percent(50) { list } else { format!("distinct({list})") })
    }
}
