//! Position keys: texts between which there is always another.
//!
//! A key is a whole number, whose first letter tells how many digits it has and so keeps longer numbers behind shorter
//! ones, and a fraction that does not end in the least digit. A key behind all others is the next whole number, so keys of
//! what is always put at the end stay short; a key between two others is the middle of them, a digit longer once in
//! about six times.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The least whole number: below it there are only fractions.
const LEAST: &str = "A00000000000000000000000000";

const FIRST: &str = "a0";

fn digit(byte: u8) -> usize {
    DIGITS.iter().position(|digit| *digit == byte).unwrap_or(0)
}

/// How long a whole number is, with its first letter.
fn whole_length(head: u8) -> usize {
    match head {
        b'a'..=b'z' => usize::from(head - b'a') + 2,
        _ => usize::from(b'Z' - head.clamp(b'A', b'Z')) + 2,
    }
}

/// Whole number and fraction.
fn split(key: &str) -> (&str, &str) {
    let length = key.bytes().next().map_or(0, whole_length).min(key.len());
    key.split_at(length)
}

/// A key between two others; nothing where there is none on that side. `low` is less than `high`.
pub fn between(low: Option<&str>, high: Option<&str>) -> String {
    match (low, high) {
        (None, None) => FIRST.into(),
        (None, Some(high)) => {
            let (whole, fraction) = split(high);
            if whole == LEAST {
                return format!("{whole}{}", middle("", Some(fraction)));
            }
            if fraction.is_empty() { decremented(whole) } else { whole.into() }
        }
        (Some(low), None) => {
            let (whole, fraction) = split(low);
            incremented(whole).unwrap_or_else(|| format!("{whole}{}", middle(fraction, None)))
        }
        (Some(low), Some(high)) => {
            let ((whole, fraction), (high_whole, high_fraction)) = (split(low), split(high));
            if whole == high_whole {
                return format!("{whole}{}", middle(fraction, Some(high_fraction)));
            }
            match incremented(whole) {
                Some(next) if next.as_str() < high => next,
                _ => format!("{whole}{}", middle(fraction, None)),
            }
        }
    }
}

/// So many keys between two others, in order, with about the same room between them.
pub fn spread(low: Option<&str>, high: Option<&str>, count: usize) -> Vec<String> {
    // Without an end on one side the whole numbers there have room for all.
    if high.is_none() || low.is_none() {
        let mut keys = Vec::with_capacity(count);
        let (mut at_low, mut at_high) = (low.map(str::to_string), high.map(str::to_string));
        for _ in 0..count {
            let key = between(at_low.as_deref(), at_high.as_deref());
            match high {
                None => at_low = Some(key.clone()),
                Some(_) => at_high = Some(key.clone()),
            }
            keys.push(key);
        }
        if high.is_some() {
            keys.reverse();
        }
        return keys;
    }
    if count == 0 {
        return Vec::new();
    }
    let half = count / 2;
    let key = between(low, high);
    let mut keys = spread(low, Some(&key), half);
    let behind = spread(Some(&key), high, count - half - 1);
    keys.push(key);
    keys.extend(behind);
    keys
}

/// A fraction between two others; an empty `low` is nothing, no `high` is one.
fn middle(low: &str, high: Option<&str>) -> String {
    let mut out = String::new();
    let (mut low, mut high) = (low.as_bytes(), high.map(str::as_bytes));
    loop {
        let at_low = low.first().map_or(0, |byte| digit(*byte));
        let at_high = high.map_or(DIGITS.len(), |high| high.first().map_or(0, |byte| digit(*byte)));
        if at_high > at_low + 1 {
            out.push(char::from(DIGITS[(at_low + at_high).div_ceil(2).min(at_high - 1)]));
            return out;
        }
        if at_high == at_low + 1
            && let Some(high) = high
            && high.len() > 1
        {
            // What the upper one begins with is above the lower one, and below the upper one.
            out.push(char::from(DIGITS[at_high]));
            return out;
        }
        out.push(char::from(DIGITS[at_low]));
        low = low.get(1..).unwrap_or_default();
        // Once the digits differ, nothing bounds from above.
        high = if at_high == at_low { high.map(|high| high.get(1..).unwrap_or_default()) } else { None };
    }
}

/// The next whole number; none behind the greatest.
fn incremented(whole: &str) -> Option<String> {
    let mut bytes = whole.as_bytes().to_vec();
    for at in (1..bytes.len()).rev() {
        let next = digit(bytes[at]) + 1;
        if next < DIGITS.len() {
            bytes[at] = DIGITS[next];
            return Some(text(bytes));
        }
        bytes[at] = DIGITS[0];
    }
    match bytes[0] {
        b'Z' => Some(FIRST.into()),
        b'z' => None,
        head => {
            bytes[0] = head + 1;
            bytes.resize(whole_length(head + 1), DIGITS[0]);
            Some(text(bytes))
        }
    }
}

/// The whole number before one that is not the least.
fn decremented(whole: &str) -> String {
    let mut bytes = whole.as_bytes().to_vec();
    let most = DIGITS[DIGITS.len() - 1];
    for at in (1..bytes.len()).rev() {
        if let Some(next) = digit(bytes[at]).checked_sub(1) {
            bytes[at] = DIGITS[next];
            return text(bytes);
        }
        bytes[at] = most;
    }
    let head = if bytes[0] == b'a' { b'Z' } else { bytes[0].saturating_sub(1) };
    bytes[0] = head;
    bytes.resize(whole_length(head), most);
    text(bytes)
}

fn text(bytes: Vec<u8>) -> String {
    bytes.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_a_key_between_two() {
        // A sequence like random numbers, the same each time.
        let mut seed = 7u64;
        let mut below = |end: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % end
        };
        for style in 0..4 {
            let mut keys: Vec<String> = Vec::new();
            for _ in 0..2_000 {
                let at = match style {
                    0 => keys.len(),
                    1 => 0,
                    2 => keys.len() / 2,
                    _ => below(keys.len() + 1),
                };
                let low = at.checked_sub(1).map(|at| keys[at].as_str());
                let high = keys.get(at).map(String::as_str);
                let key = between(low, high);
                assert!(low.is_none_or(|low| low < key.as_str()), "{low:?} {key} {high:?}");
                assert!(high.is_none_or(|high| key.as_str() < high), "{low:?} {key} {high:?}");
                assert!(split(&key).1.as_bytes().last() != Some(&b'0'), "{key}");
                keys.insert(at, key);
            }
            let longest = keys.iter().map(String::len).max();
            assert!(style == 2 || longest < Some(12), "{longest:?}");
        }
    }

    #[test]
    fn the_ends_of_the_whole_numbers_have_fractions_behind_them() {
        let greatest = format!("z{}", "z".repeat(26));
        let behind = between(Some(&greatest), None);
        assert!(behind > greatest);
        let before = between(None, Some(LEAST.to_string().as_str()).filter(|_| false));
        assert_eq!(before, FIRST);
        let above_least = format!("{LEAST}V");
        let between_them = between(None, Some(&above_least));
        assert!(between_them < above_least && between_them.as_str() > LEAST, "{between_them}");
    }

    #[test]
    fn many_keys_are_spread_with_little() {
        for (low, high) in [(None, None), (Some("a0"), None), (None, Some("a0")), (Some("a0"), Some("a1"))] {
            let keys = spread(low, high, 1_000);
            assert_eq!(keys.len(), 1_000);
            assert!(keys.is_sorted_by(|left, right| left < right));
            assert!(low.is_none_or(|low| low < keys[0].as_str()));
            assert!(high.is_none_or(|high| keys[999].as_str() < high));
            assert!(keys.iter().all(|key| key.len() <= 6), "{keys:?}");
        }
    }
}
