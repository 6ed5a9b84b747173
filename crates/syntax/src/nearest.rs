//! The known name nearest to a misspelled one, for "did you mean".

/// Words longer than this are not compared: the cost is the product of both lengths.
const MAX_COMPARED_CHARACTERS: usize = 64;

/// The candidate with the least Damerau-Levenshtein distance to `word` (insertions, deletions, replacements and swaps
/// of neighbours each cost 1), ignoring case. `None` where even the nearest needs more than one change per three
/// characters (at least one change is always allowed, in words of two or more). Of equally near candidates, one with
/// the same first letter wins, then the earlier one.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = folded(word)?;
    let bound = if word.len() < 2 { 0 } else { (word.len() / 3).max(1) };
    let mut best: Option<((usize, bool), &'a str)> = None;
    for candidate in candidates {
        let Some(other) = folded(candidate) else { continue };
        if word.len().abs_diff(other.len()) > bound {
            continue;
        }
        let distance = distance(&word, &other);
        if distance > bound || (distance > 0 && distance >= other.len()) {
            continue;
        }
        let rank = (distance, word.first() != other.first());
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The word's characters in lower case; `None` where it is too long to compare.
fn folded(word: &str) -> Option<Vec<char>> {
    let characters: Vec<char> =
        word.chars().take(MAX_COMPARED_CHARACTERS + 1).flat_map(char::to_lowercase).collect();
    (characters.len() <= MAX_COMPARED_CHARACTERS).then_some(characters)
}

/// The distance in the restricted sense (optimal string alignment): no part is changed twice.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_probably_meant() {
        let check = |word: &str, expected: Option<&str>| {
            let known = ["required", "unique", "age", "name", "min", "max", "in", "write once"];
            assert_eq!(nearest(word, known), expected, "{word}");
        };
        check("requierd", Some("required"));
        check("REQUIRED", Some("required"));
        check("uniqe", Some("unique"));
        check("aeg", Some("age"));
        check("nme", Some("name"));
        check("write_once", Some("write once"));
        check("mix", Some("min"));
        check("ni", Some("in"));
        check("xy", None);
        check("a", None);
        check("", None);
        check("salary", None);
        check(&"x".repeat(10_000), None);
    }

    #[test]
    fn prefers_the_same_first_letter() {
        assert_eq!(nearest("mat", ["cat", "map"]), Some("map"));
        assert_eq!(nearest("bat", ["cat", "map"]), Some("cat"));
    }
}
