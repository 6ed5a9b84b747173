//! Changes of an input: bytes, words and whole pieces, by a generator whose whole state is a number.

/// The most bytes that an input has.
pub const MAX_BYTES: usize = 4_096;

/// What parsers stumble over.
const PIECES: [&[u8]; 40] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b")",
    b"\"",
    b"'",
    b"\\",
    b",",
    b":",
    b":=",
    b";",
    b"..",
    b"/",
    b"//",
    b"%",
    b"%2",
    b"%00",
    b"&",
    b"|",
    b"=",
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"99999999999999999999",
    b"-9223372036854775808",
    b"0.1",
    b"9999-12-31T23:59:59.999999999Z",
    b"P-1D",
    "\u{202e}é".as_bytes(),
    b"_id",
];

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.number() % end as u64) as usize }
    }
}

/// A word of some bytes: letters and digits, or one byte that is none.
fn word(bytes: &[u8], from: usize) -> (usize, usize) {
    let is_word = |at: &usize| bytes[*at].is_ascii_alphanumeric() || bytes[*at] == b'_';
    if !is_word(&from) {
        return (from, from + 1);
    }
    let start = (0..from).rev().take_while(is_word).last().unwrap_or(from);
    let end = (from..bytes.len()).take_while(is_word).last().map_or(from + 1, |at| at + 1);
    (start, end.min(bytes.len()))
}

fn splice(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, with: &[u8]) {
    bytes.splice(range, with.iter().copied());
}

/// Changes an input a little, with parts of another one now and then.
pub fn change(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        match random.below(11) {
            _ if bytes.is_empty() => bytes.extend_from_slice(PIECES[random.below(PIECES.len())]),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.number() as u8,
            2 => splice(&mut bytes, at..at, PIECES[random.below(PIECES.len())]),
            3 => {
                let end = (at + 1 + random.below(16)).min(bytes.len());
                splice(&mut bytes, at..end, &[]);
            }
            4 => bytes.truncate(at),
            5 => {
                let end = (at + 1 + random.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                for _ in 0..1 + random.below(8) {
                    splice(&mut bytes, at..at, &piece);
                }
            }
            // One word in place of another of the same input.
            6 | 7 => {
                let (from, to) = word(&bytes, random.below(bytes.len()));
                let with = bytes[from..to].to_vec();
                let (from, to) = word(&bytes, at);
                splice(&mut bytes, from..to, &with);
            }
            8 => {
                let (from, to) = word(&bytes, at);
                splice(&mut bytes, from..to, PIECES[random.below(PIECES.len())]);
            }
            9 if !other.is_empty() => {
                let (from, to) = word(other, random.below(other.len()));
                splice(&mut bytes, at..at, &other[from..to]);
            }
            _ if !other.is_empty() => {
                let from = random.below(other.len());
                let end = (from + 1 + random.below(128)).min(other.len());
                splice(&mut bytes, at..at, &other[from..end]);
            }
            _ => {}
        }
        bytes.truncate(MAX_BYTES);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_follow_from_the_seed_and_differ() {
        let changed = |seed| change(&mut Random(seed), b"type Ant in ants { n: int }", b"sum(self.n)");
        assert_eq!(changed(7), changed(7));
        let all: std::collections::BTreeSet<_> = (0..200).map(changed).collect();
        assert!(all.len() > 150, "{}", all.len());
    }

    #[test]
    fn a_word_is_found_around_a_place() {
        assert_eq!(word(b"a.bcd e", 3), (2, 5));
        assert_eq!(word(b"a.bcd e", 1), (1, 2));
        assert_eq!(word(b"ab", 1), (0, 2));
    }
}
