//! The table of functions: one row each, used by the type checker, the evaluators and the reference in docs.

use crate::model::SearchBy;
use crate::typed::{Kind, Many, Type};

/// A function of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // one row of TABLE each, which says what they do
pub enum Function {
    Round,
    Floor,
    Ceil,
    Abs,
    Sqrt,
    Power,
    Upper,
    Lower,
    Segment,
    Trim,
    Length,
    Contains,
    StartsWith,
    EndsWith,
    StartsLike,
    HasWords,
    SoundsLike,
    Matches,
    Replace,
    Concat,
    Split,
    Normalize,
    Year,
    Month,
    Day,
    Weekday,
    Hour,
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
    Truncate,
    Str,
    Int,
    Float,
    Decimal,
    Bool,
    Datetime,
    Date,
    Duration,
    Uuid,
    Exists,
    Coalesce,
    IsError,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parameter {
    /// int, float or decimal.
    Number,
    /// int.
    Int,
    /// str or an enum.
    Str,
    /// str or an enum, or a list of them.
    Texts,
    /// str, an enum, or a list.
    Sized,
    /// datetime or date.
    Moment,
    /// datetime.
    Datetime,
    /// One value of one of these kinds: what a conversion knows how to turn.
    From(&'static [Kind]),
    /// Any one value.
    Any,
    /// Any value or list.
    AnyOrMany,
}

impl Parameter {
    /// Does a value of this type fit?
    pub fn accepts(self, ty: &Type) -> bool {
        if self == Parameter::Texts && ty.many != Many::One {
            return matches!(ty.kind, Kind::Str | Kind::Enum(_) | Kind::Json | Kind::Null);
        }
        if ty.many != Many::One {
            return matches!(self, Parameter::Sized | Parameter::AnyOrMany);
        }
        let kind = &ty.kind;
        if matches!(kind, Kind::Null | Kind::Json) {
            return true;
        }
        match self {
            Parameter::Any | Parameter::AnyOrMany => true,
            Parameter::Number => matches!(kind, Kind::Int | Kind::Float | Kind::Decimal),
            Parameter::Int => *kind == Kind::Int,
            Parameter::Str | Parameter::Sized | Parameter::Texts => matches!(kind, Kind::Str | Kind::Enum(_)),
            Parameter::From(kinds) => {
                kinds.contains(kind) || (matches!(kind, Kind::Enum(_)) && kinds.contains(&Kind::Str))
            }
            Parameter::Moment => matches!(kind, Kind::Datetime | Kind::Date),
            Parameter::Datetime => *kind == Kind::Datetime,
        }
    }

    /// The kinds that it takes, as `str | list`.
    pub fn kinds(self) -> String {
        match self {
            Parameter::From(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(kind_name).collect();
                kinds.join(" | ")
            }
            Parameter::Any | Parameter::AnyOrMany => "any".into(),
            other => {
                let described = other.describe();
                let plain = described.trim_start_matches("a ").trim_start_matches("an ");
                plain.replace(" or a ", " | ")
            }
        }
    }

    /// For messages.
    pub fn describe(self) -> String {
        match self {
            Parameter::From(kinds) => {
                let kinds: Vec<String> =
                    kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
                return format!("one of {}", kinds.join(", "));
            }
            Parameter::Number => "a number",
            Parameter::Int => "an int",
            Parameter::Str => "a str",
            Parameter::Sized => "a str or a list",
            Parameter::Texts => "a str or a list of them",
            Parameter::Moment => "a datetime or a date",
            Parameter::Datetime => "a datetime",
            Parameter::Any => "a value",
            Parameter::AnyOrMany => "a value or a list",
        }
        .into()
    }
}

/// The type of a function's result.
#[derive(Clone, Debug, PartialEq)]
pub enum Returns {
    /// Always this.
    Kind(Kind),
    /// A list of this.
    List(Kind),
    /// The kind of the first argument.
    Same,
}

/// One row of the table.
pub struct Signature {
    /// How it is written.
    pub name: &'static str,
    /// Which.
    pub function: Function,
    /// What it takes.
    pub parameters: &'static [Parameter],
    /// How many of the parameters, from the end, may be left out.
    pub optional: usize,
    /// May the last parameter be repeated?
    pub variadic: bool,
    /// What it gives.
    pub returns: Returns,
    /// What it does, in one sentence.
    pub summary: &'static str,
}

use Parameter::{Any, AnyOrMany, Datetime, From, Int, Moment, Number, Sized, Str, Texts};

/// What has one text form.
const SCALARS: &[Kind] = &[
    Kind::Str,
    Kind::Bool,
    Kind::Int,
    Kind::Float,
    Kind::Decimal,
    Kind::Datetime,
    Kind::Date,
    Kind::Duration,
    Kind::Uuid,
];
const TO_INT: &[Kind] = &[Kind::Str, Kind::Bool, Kind::Int, Kind::Float, Kind::Decimal];
const TO_NUMBER: &[Kind] = &[Kind::Str, Kind::Int, Kind::Float, Kind::Decimal];
const TO_BOOL: &[Kind] = &[Kind::Str, Kind::Bool];
const TO_MOMENT: &[Kind] = &[Kind::Str, Kind::Datetime, Kind::Date];
const TO_DURATION: &[Kind] = &[Kind::Str, Kind::Duration];
const TO_UUID: &[Kind] = &[Kind::Str, Kind::Uuid];

const fn row(
    name: &'static str,
    function: Function,
    parameters: &'static [Parameter],
    returns: Returns,
    summary: &'static str,
) -> Signature {
    Signature { name, function, parameters, optional: 0, variadic: false, returns, summary }
}

const fn with(optional: usize, variadic: bool, mut row: Signature) -> Signature {
    row.optional = optional;
    row.variadic = variadic;
    row
}

/// All functions, in the order of the reference.
#[rustfmt::skip]
pub const TABLE: &[Signature] = &[
    with(1, false, row("round", Function::Round, &[Number, Int], Returns::Same, "Rounds half to even, to whole numbers or to so many digits.")),
    row("floor", Function::Floor, &[Number], Returns::Same, "The greatest whole number that is not above."),
    row("ceil", Function::Ceil, &[Number], Returns::Same, "The least whole number that is not below."),
    row("abs", Function::Abs, &[Number], Returns::Same, "The number without its sign."),
    row("sqrt", Function::Sqrt, &[Number], Returns::Kind(Kind::Float), "The square root; `#type` of a negative number."),
    row("power", Function::Power, &[Number, Number], Returns::Kind(Kind::Float), "The first raised to the second; `#div0` of 0 and a negative number, `#type` where there is no real result, `#overflow` where it is too large."),
    row("upper", Function::Upper, &[Str], Returns::Kind(Kind::Str), "In upper case."),
    row("lower", Function::Lower, &[Str], Returns::Kind(Kind::Str), "In lower case."),
    row("segment", Function::Segment, &[Str], Returns::Kind(Kind::Str), "The text as one segment of a path: letters, digits and `-._~` as they are, each other byte as `%XX`."),
    row("trim", Function::Trim, &[Str], Returns::Kind(Kind::Str), "Without white space at both ends."),
    row("length", Function::Length, &[Sized], Returns::Kind(Kind::Int), "The number of characters, or of elements."),
    row("contains", Function::Contains, &[Str, Str], Returns::Kind(Kind::Bool), "Does the first hold the second?"),
    row("starts_with", Function::StartsWith, &[Str, Str], Returns::Kind(Kind::Bool), "Does the first begin with the second?"),
    row("ends_with", Function::EndsWith, &[Str, Str], Returns::Kind(Kind::Bool), "Does the first end with the second?"),
    row("starts_like", Function::StartsLike, &[Texts, Str], Returns::Kind(Kind::Bool), "Does the first, or one of it, begin with the second, whatever the case and the marks?"),
    row("has_words", Function::HasWords, &[Texts, Str], Returns::Kind(Kind::Bool), "Are all words of the second in the first, or in one of it, whatever the case and the marks?"),
    row("sounds_like", Function::SoundsLike, &[Texts, Str], Returns::Kind(Kind::Bool), "Does for each word of the second one in the first, or in one of it, sound like it (double metaphone)?"),
    row("matches", Function::Matches, &[Str, Str], Returns::Kind(Kind::Bool), "Does the regular expression match somewhere in the text? Anchor it with `^…$`; `#type` where it is none."),
    row("replace", Function::Replace, &[Str, Str, Str], Returns::Kind(Kind::Str), "The first with each occurrence of the second replaced by the third."),
    with(0, true, row("concat", Function::Concat, &[Str, Str], Returns::Kind(Kind::Str), "The texts, one after the other.")),
    row("split", Function::Split, &[Str, Str], Returns::List(Kind::Str), "The parts of the first between the occurrences of the second; `#type` where that is empty."),
    with(1, true, row("normalize", Function::Normalize, &[Str, Str], Returns::Kind(Kind::Str), "The text after these steps in order: `lower`, `upper`, `trim`, `nfc`, `nfd`, `nfkc`, `nfkd`; `nfc` without any.")),
    row("year", Function::Year, &[Moment], Returns::Kind(Kind::Int), "The year, in UTC."),
    row("month", Function::Month, &[Moment], Returns::Kind(Kind::Int), "The month, 1 to 12, in UTC."),
    row("day", Function::Day, &[Moment], Returns::Kind(Kind::Int), "The day of the month, in UTC."),
    row("weekday", Function::Weekday, &[Moment], Returns::Kind(Kind::Int), "The day of the week, Monday 1 to Sunday 7, in UTC."),
    row("hour", Function::Hour, &[Datetime], Returns::Kind(Kind::Int), "The hour, 0 to 23, in UTC."),
    row("seconds", Function::Seconds, &[Int], Returns::Kind(Kind::Duration), "So many seconds."),
    row("minutes", Function::Minutes, &[Int], Returns::Kind(Kind::Duration), "So many minutes."),
    row("hours", Function::Hours, &[Int], Returns::Kind(Kind::Duration), "So many hours."),
    row("days", Function::Days, &[Int], Returns::Kind(Kind::Duration), "So many times 24 hours."),
    row("weeks", Function::Weeks, &[Int], Returns::Kind(Kind::Duration), "So many times 7 days."),
    row("months", Function::Months, &[Int], Returns::Same, "So many calendar months, next to a datetime or a date only; a day that the month does not have becomes its last."),
    row("years", Function::Years, &[Int], Returns::Same, "So many times 12 months."),
    row("truncate", Function::Truncate, &[Moment, Str], Returns::Same, "The beginning, in UTC, of the `second`, `minute`, `hour`, `day`, `week` (Monday), `month` or `year` that it is in."),
    row("str", Function::Str, &[From(SCALARS)], Returns::Kind(Kind::Str), "The value as text."),
    row("int", Function::Int, &[From(TO_INT)], Returns::Kind(Kind::Int), "The value as an int; `#type` where it is none."),
    row("float", Function::Float, &[From(TO_NUMBER)], Returns::Kind(Kind::Float), "The value as a float; `#type` where it is none."),
    row("decimal", Function::Decimal, &[From(TO_NUMBER)], Returns::Kind(Kind::Decimal), "The value as a decimal; `#type` where it is none."),
    row("bool", Function::Bool, &[From(TO_BOOL)], Returns::Kind(Kind::Bool), "The value as a bool; `#type` where it is none."),
    row("datetime", Function::Datetime, &[From(TO_MOMENT)], Returns::Kind(Kind::Datetime), "The value as a datetime; `#type` where it is none."),
    row("date", Function::Date, &[From(TO_MOMENT)], Returns::Kind(Kind::Date), "The value as a date, in UTC; `#type` where it is none."),
    row("duration", Function::Duration, &[From(TO_DURATION)], Returns::Kind(Kind::Duration), "The value as a duration; `#type` where it is none."),
    row("uuid", Function::Uuid, &[From(TO_UUID)], Returns::Kind(Kind::Uuid), "The value as a uuid; `#type` where it is none."),
    row("exists", Function::Exists, &[AnyOrMany], Returns::Kind(Kind::Bool), "Is it not null, and not an empty list?"),
    with(0, true, row("coalesce", Function::Coalesce, &[Any, Any], Returns::Same, "The first value that is not null.")),
    row("is_error", Function::IsError, &[Any], Returns::Kind(Kind::Bool), "Is it an error value?"),
];

impl Signature {
    /// How it is called: the kinds of what it takes, what may be left out in brackets.
    pub fn written(&self) -> String {
        let required = self.parameters.len() - self.optional;
        let mut text = format!("{}(", self.name);
        for (at, parameter) in self.parameters.iter().enumerate() {
            text.push_str(if at >= required { "[" } else { "" });
            text.push_str(if at > 0 { ", " } else { "" });
            text.push_str(&parameter.kinds());
        }
        text.push_str(if self.variadic { ", …" } else { "" });
        text.push_str(&"]".repeat(self.optional));
        text.push(')');
        text
    }

    /// The kind of what it gives.
    pub fn gives(&self) -> String {
        match &self.returns {
            Returns::Kind(kind) => kind_name(kind),
            Returns::List(kind) => format!("a list of {}", kind_name(kind)),
            Returns::Same => "as the first".into(),
        }
    }
}

fn kind_name(kind: &Kind) -> String {
    format!("{kind:?}").to_lowercase()
}

impl Function {
    /// What a text is searched by, where it is a search.
    pub fn search(self) -> Option<SearchBy> {
        Some(match self {
            Function::StartsLike => SearchBy::Prefix,
            Function::HasWords => SearchBy::Text,
            Function::SoundsLike => SearchBy::Phonetic,
            _ => return None,
        })
    }

    /// Its row.
    pub fn signature(self) -> &'static Signature {
        TABLE.iter().find(|row| row.function == self).expect("every function has a row (tested)")
    }

    /// How it is written.
    pub fn name(self) -> &'static str {
        self.signature().name
    }
}

/// The function with a name.
pub fn named(name: &str) -> Option<&'static Signature> {
    TABLE.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_one_row() {
        for row in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
            assert_eq!(row.function.name(), row.name);
        }
        // IsError is the last variant; the count of rows is the count of variants.
        assert_eq!(TABLE.len(), Function::IsError as usize + 1);
    }
}
