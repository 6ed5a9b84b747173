//! When a comparison with the clock changes.
//!
//! One side of the comparison is the clock: `now()` or `today()`, moved by constant spans. The other is a value that does
//! not change by itself. As long as the facts stay the comparison changes at few instants; they are found by putting the
//! clock where it would equal the value, and the first of them that is to come and that truly changes the comparison is
//! the answer. So the comparison itself is what decides, and nothing here knows one operator from another.
//!
//! Exact spans move the clock evenly: it is equal at one instant, and beyond it from the next nanosecond on. Months move
//! it unevenly: 29, 30 and 31 March less one month are all the last of February, so `now() - months(1)` goes through that
//! day several times. The instants are the midnights around, and that time of each of the days, which the clock may share
//! with the value.

use corollary_schema::functions::Function;
use corollary_schema::typed::{Expr, Node};
use corollary_value::Value;
use jiff::civil::Date;
use jiff::{SignedDuration, Span, Timestamp};

use crate::error::EngineError;
use crate::time::{civil, midnight};

/// How far, in days, the clock may be from where two steps of the same length lead it: the lengths of months differ by
/// three days, and up to four days have the same last of a month.
const CALENDAR_DAYS: i64 = 8;

/// The earliest time after `now` at which a comparison changes; none if it never does.
///
/// `at` is the clock's side at a time; `compared` the comparison, given that side.
pub(crate) fn next_change(
    now: Timestamp,
    clock: &Expr,
    fixed: &Value,
    at: &dyn Fn(Timestamp) -> Result<Value, EngineError>,
    compared: &dyn Fn(&Value) -> Value,
) -> Result<Option<Timestamp>, EngineError> {
    let is_now = at(now)?;
    let calendar = has_calendar_span(clock);
    let candidates = match (fixed, &is_now) {
        (Value::Datetime(fixed), Value::Datetime(clock_is)) => {
            let Some(equal) = moved(now, *clock_is, *fixed) else { return Ok(None) };
            match calendar {
                false => exact(equal),
                true => match at(equal)? {
                    Value::Datetime(clock_is) => {
                        let Some(near) = moved(equal, clock_is, *fixed) else { return Ok(None) };
                        around(civil(near).date(), fixed.duration_since(day_of(*fixed)))
                    }
                    _ => return Ok(None),
                },
            }
        }
        (Value::Date(fixed), Value::Date(clock_is)) => {
            let Some(equal) = moved_days(civil(now).date(), *clock_is, *fixed) else { return Ok(None) };
            let near = match (calendar, midnight(equal)) {
                (false, _) => Some(equal),
                (true, Some(time)) => match at(time)? {
                    Value::Date(clock_is) => moved_days(equal, clock_is, *fixed),
                    _ => None,
                },
                (true, None) => None,
            };
            let Some(near) = near else { return Ok(None) };
            days(near).filter_map(midnight).collect()
        }
        // Nothing to compare, or an error: it stays so.
        _ => return Ok(None),
    };
    let is = compared(&is_now);
    for time in candidates {
        if time > now && compared(&at(time)?) != is {
            return Ok(Some(time));
        }
    }
    Ok(None)
}

fn has_calendar_span(expr: &Expr) -> bool {
    let mut found = matches!(expr.node, Node::Call(Function::Months | Function::Years, _));
    expr.for_parts(&mut |part, _| found = found || has_calendar_span(part));
    found
}

/// When the clock shows `fixed`, if it shows `clock_is` at `time` and goes evenly.
fn moved(time: Timestamp, clock_is: Timestamp, fixed: Timestamp) -> Option<Timestamp> {
    time.checked_add(fixed.duration_since(clock_is)).ok()
}

fn moved_days(day: Date, clock_is: Date, fixed: Date) -> Option<Date> {
    day.checked_add(fixed.duration_since(clock_is)).ok()
}

/// The instant at which the clock is equal, and the first at which it is beyond.
fn exact(equal: Timestamp) -> Vec<Timestamp> {
    let beyond = equal.checked_add(SignedDuration::from_nanos(1)).ok();
    [Some(equal), beyond].into_iter().flatten().collect()
}

/// The days around one, in order.
fn days(day: Date) -> impl Iterator<Item = Date> {
    (-CALENDAR_DAYS..=CALENDAR_DAYS).filter_map(move |by| day.checked_add(Span::new().days(by)).ok())
}

/// Midnights around a day, and the time of day at which the clock may be equal, in order.
fn around(day: Date, time_of_day: SignedDuration) -> Vec<Timestamp> {
    let mut found = Vec::new();
    for begin in days(day).filter_map(midnight) {
        found.push(begin);
        if let Ok(equal) = begin.checked_add(time_of_day) {
            found.extend(exact(equal));
        }
    }
    // The last nanosecond of a day is followed by a midnight, which is then there twice.
    found.dedup();
    found
}

/// The beginning of the day that an instant is in.
fn day_of(at: Timestamp) -> Timestamp {
    midnight(civil(at).date()).unwrap_or(at)
}
