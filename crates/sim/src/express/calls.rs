//! Calls of functions: for each kind of value, the functions that give one.

use super::{Express, Standing, is_own};
use crate::draft::Kind;
use crate::elements::MEMBER_RANK;

/// Functions in JavaScript of one argument, some of which throw or give what is no number.
const SCRIPTS: [&str; 4] = [
    "(doc) => doc.NAME",
    "(doc) => doc.NAME == null ? 1 : 2",
    "(doc) => String(doc.NAME).length",
    "(doc) => { if (doc.NAME > 2) throw new Error('large'); return 3; }",
];

impl Express<'_> {
    /// A call of a function that gives a kind.
    pub(super) fn call(&mut self, kind: Kind) -> Option<String> {
        Some(match kind {
            Kind::Int => match self.random.below(8) {
                0 => self.rounded(kind)?,
                1 => format!("int({})", self.one_of(&[Kind::Str, Kind::Float, Kind::Decimal])?),
                2 => format!("hour({})", self.one(Kind::Datetime)?),
                3 => {
                    let of = *self.random.pick(&[Kind::Int, Kind::Str]);
                    format!("length({})", self.list(of)?)
                }
                4 => format!("int({})", self.script()?),
                _ => format!("{}({})", ["floor", "ceil", "abs"][self.random.below(3)], self.one(kind)?),
            },
            Kind::Float => match self.random.below(4) {
                0 => format!("float({})", self.one_of(&[Kind::Str, Kind::Int, Kind::Decimal])?),
                1 => format!("float({})", self.script()?),
                _ => self.rounded(kind)?,
            },
            Kind::Decimal => match self.random.below(3) {
                0 => format!("decimal({})", self.one_of(&[Kind::Str, Kind::Int])?),
                _ => self.rounded(kind)?,
            },
            Kind::Str => match self.random.below(8) {
                0 => format!("segment({})", self.one(kind)?),
                1 => {
                    let (of, part, by) = (self.one(kind)?, self.literal(kind)?, self.literal(kind)?);
                    format!("replace({of}, {part}, {by})")
                }
                2 => format!("str(uuid({}))", self.one(kind)?),
                3 => format!("str({})", self.script()?),
                4 => format!("normalize({}, 'nfd', 'upper', 'nfc', 'nfkd')", self.one(kind)?),
                _ => self.about_one()?,
            },
            Kind::Datetime => match self.random.below(3) {
                0 => format!("datetime({})", self.one_of(&[Kind::Str, Kind::Date])?),
                _ => {
                    let unit =
                        *self.random.pick(&["second", "minute", "hour", "day", "week", "month", "year"]);
                    format!("truncate({}, '{unit}')", self.one(kind)?)
                }
            },
            Kind::Date => match self.random.below(3) {
                0 => format!("date({})", self.one_of(&[Kind::Str, Kind::Datetime])?),
                _ => {
                    let unit = *self.random.pick(&["day", "week", "month", "year"]);
                    format!("truncate({}, '{unit}')", self.one(kind)?)
                }
            },
            Kind::Duration => match self.random.below(4) {
                0 => format!("duration({})", self.one(Kind::Str)?),
                _ => {
                    let unit = *self.random.pick(&["seconds", "minutes", "hours", "days", "weeks"]);
                    format!("{unit}({})", self.one(Kind::Int)?)
                }
            },
            Kind::Bool => match self.random.below(6) {
                0 => format!("bool({})", self.one(Kind::Str)?),
                1 => {
                    let of = *self.random.pick(&super::COMPARED);
                    format!("exists({})", self.one(of)?)
                }
                2 | 3 => {
                    let search = *self.random.pick(&["starts_like", "has_words", "sounds_like"]);
                    let texts =
                        if self.random.percent(30) { self.list(Kind::Str)? } else { self.one(Kind::Str)? };
                    format!("{search}({texts}, {})", self.literal(Kind::Str)?)
                }
                _ => {
                    let test = *self.random.pick(&["contains", "starts_with", "ends_with"]);
                    format!("{test}({}, {})", self.one(Kind::Str)?, self.literal(Kind::Str)?)
                }
            },
            Kind::Enum => return None,
        })
    }

    /// One value of any of these kinds.
    fn one_of(&mut self, kinds: &[Kind]) -> Option<String> {
        let kind = *self.random.pick(kinds);
        self.one(kind)
    }

    fn rounded(&mut self, kind: Kind) -> Option<String> {
        let of = self.one(kind)?;
        Some(match self.random.below(5) {
            0 => format!("round({of})"),
            1 => format!("round({of}, {})", self.random.between(-1, 2)),
            2 => format!("floor({of})"),
            3 => format!("ceil({of})"),
            _ => format!("abs({of})"),
        })
    }

    /// Something about a resource beside its fields.
    fn about_one(&mut self) -> Option<String> {
        let (text, ty) = self.up();
        let path = text.trim_end_matches('.');
        if path.is_empty() {
            return None;
        }
        if self.draft.types[ty].url.as_ref().is_some_and(|url| self.is_below(url.rank))
            && self.random.percent(50)
        {
            return Some(format!("url({path})"));
        }
        Some(match self.random.below(6) {
            0 => format!("{path}._id"),
            1 | 2 => format!("id({path})"),
            3 => format!("type({path})"),
            _ => format!("path({path})"),
        })
    }

    /// A span for a datetime or a date.
    pub(super) fn calendar_span(&mut self) -> String {
        let unit = *self.random.pick(&["days", "days", "weeks", "months", "years"]);
        format!("{unit}({})", self.random.between(-2, 9))
    }

    /// A function in JavaScript over one field.
    fn script(&mut self) -> Option<String> {
        if !matches!(self.standing, Standing::Derived(rank) if rank > MEMBER_RANK) || !self.items.is_empty() {
            return None;
        }
        let (base, ty) = self.up();
        let kind = *self.random.pick(&[Kind::Int, Kind::Float, Kind::Str, Kind::Bool]);
        let fields = self.fields(ty, kind, is_own(&base));
        let field = self.random.pick_any(&fields)?;
        let name = field.rsplit('.').next().unwrap_or(field);
        let script = self.random.pick(&SCRIPTS).replace("NAME", name);
        Some(format!("js(\"{script}\", using: [{base}{field}])"))
    }
}
