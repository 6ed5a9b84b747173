//! Arithmetic of the calendar, in UTC: months and years, and the beginning of the day, the week, the month.
//!
//! A month is added to the date, and the time of day stays; a day that the month does not have becomes its last. So
//! 31 January and one month is 28 February, or 29.

use corollary_value::{ErrorValue, Value};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// The moment so many times `months` later; none where the values are of other kinds.
pub(crate) fn add_months(moment: &Value, count: &Value, months: i64) -> Option<Value> {
    let Value::Int(count) = count else { return None };
    let moved = |date: Date| {
        let span = Span::new().try_months(count.checked_mul(months)?).ok()?;
        date.checked_add(span).ok()
    };
    let moved = match moment {
        Value::Date(date) => moved(*date).map(Value::Date),
        Value::Datetime(at) => {
            let at = civil(*at);
            moved(at.date()).and_then(|date| instant(date.to_datetime(at.time()))).map(Value::Datetime)
        }
        _ => return None,
    };
    Some(moved.unwrap_or(Value::Error(ErrorValue::Overflow)))
}

/// The beginning of the unit that a moment is in; none where it has no such unit.
pub(crate) fn truncate(moment: &Value, unit: &str) -> Option<Value> {
    let overflow = Value::Error(ErrorValue::Overflow);
    match moment {
        Value::Date(date) => Some(first_day(*date, unit)?.map_or(overflow, Value::Date)),
        Value::Datetime(at) => {
            let at = civil(*at);
            let begun = match unit {
                "second" => Some(at.date().at(at.hour(), at.minute(), at.second(), 0)),
                "minute" => Some(at.date().at(at.hour(), at.minute(), 0, 0)),
                "hour" => Some(at.date().at(at.hour(), 0, 0, 0)),
                unit => first_day(at.date(), unit)?.map(|date| date.at(0, 0, 0, 0)),
            };
            Some(begun.and_then(instant).map_or(overflow, Value::Datetime))
        }
        _ => None,
    }
}

/// The first day of a unit of days; nothing inside where there is no such day, nothing at all where no such unit.
fn first_day(date: Date, unit: &str) -> Option<Option<Date>> {
    Some(match unit {
        "day" => Some(date),
        "week" => date.checked_sub(Span::new().days(i64::from(date.weekday().to_monday_zero_offset()))).ok(),
        "month" => Some(date.first_of_month()),
        "year" => Some(date.first_of_year()),
        _ => return None,
    })
}

/// Date and time of day of an instant.
pub(crate) fn civil(at: Timestamp) -> DateTime {
    at.to_zoned(TimeZone::UTC).datetime()
}

/// The instant of a date and a time of day; none outside of the range of instants.
pub(crate) fn instant(at: DateTime) -> Option<Timestamp> {
    at.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The beginning of a day.
pub(crate) fn midnight(date: Date) -> Option<Timestamp> {
    instant(date.to_datetime(jiff::civil::Time::midnight()))
}
