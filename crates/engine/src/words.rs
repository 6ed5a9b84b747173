//! Texts as people search them: folded, in words, by their sound.
//!
//! Folding takes case and marks away (`É` is `e`) and makes each run of white space one space. Words are those of the
//! Unicode standard (UAX 29), folded. The sound of a word is its double metaphone; a word without one (digits, other
//! scripts) sounds like itself. What the functions of the language say of a text and what stands in an index for it are
//! made of the same parts here, so an index never misses what its function finds.

use std::collections::BTreeSet;

use corollary_schema::SearchBy;
use corollary_value::Value;
use rphonetic::DoubleMetaphone;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// Bytes of a folded text or a word that stand in an index; what is longer is found by its beginning, and then looked at.
pub const MAX_INDEXED_BYTES: usize = 128;

/// A text without case and marks, with single spaces.
fn folded(text: &str) -> String {
    let plain: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    let mut out = String::with_capacity(plain.len());
    for part in plain.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

fn words(text: &str) -> BTreeSet<String> {
    folded(text).unicode_words().map(str::to_string).collect()
}

/// What a word sounds like: one or two codes in upper case, or the word itself, which is not.
fn sounds(word: &str) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    // The library takes letters without marks only: it panics in the middle of others.
    if word.is_ascii() {
        let letters: String = word.chars().filter(char::is_ascii_alphabetic).collect();
        let code = DoubleMetaphone::default().double_metaphone(&letters);
        codes.extend([code.primary(), code.alternate()].into_iter().filter(|code| !code.is_empty()));
    }
    if codes.is_empty() { BTreeSet::from([word.to_string()]) } else { codes }
}

/// What a search looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A text that begins so.
    Beginning(String),
    /// For each of these one of its codes, or words: all must be there.
    All(Vec<BTreeSet<String>>),
}

impl Wanted {
    /// What a text asks for.
    pub fn of(by: SearchBy, text: &str) -> Wanted {
        match by {
            SearchBy::Prefix => Wanted::Beginning(folded(text)),
            SearchBy::Text => {
                Wanted::All(words(text).into_iter().map(|word| BTreeSet::from([word])).collect())
            }
            SearchBy::Phonetic => Wanted::All(words(text).iter().map(|word| sounds(word)).collect()),
        }
    }

    /// Is it in a text?
    fn is_in(&self, by: SearchBy, text: &str) -> bool {
        match self {
            Wanted::Beginning(beginning) => folded(text).starts_with(beginning.as_str()),
            Wanted::All(wanted) => {
                let there = parts(by, text);
                wanted.iter().all(|any| !any.is_disjoint(&there))
            }
        }
    }
}

/// What a text is found by.
fn parts(by: SearchBy, text: &str) -> BTreeSet<String> {
    match by {
        SearchBy::Prefix => BTreeSet::from([folded(text)]),
        SearchBy::Text => words(text),
        SearchBy::Phonetic => words(text).iter().flat_map(|word| sounds(word)).collect(),
    }
}

/// Does a text, or one of a list of texts, hold what another asks for? None where the arguments are no texts.
pub(crate) fn found(by: SearchBy, value: &Value, wanted: &Value) -> Option<Value> {
    let Value::Str(wanted) = wanted else { return None };
    let wanted = Wanted::of(by, wanted);
    match value {
        Value::Str(text) => Some(Value::Bool(wanted.is_in(by, text))),
        Value::List(texts) => {
            let mut any = false;
            for text in texts.iter() {
                match text {
                    Value::Str(text) => any |= wanted.is_in(by, text),
                    text if text.is_null() => {}
                    _ => return None,
                }
            }
            Some(Value::Bool(any))
        }
        _ => None,
    }
}

/// What stands in an index for a value.
pub(crate) fn indexed(by: SearchBy, value: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |value: &Value| {
        if let Value::Str(text) = value {
            all.extend(parts(by, text).into_iter().map(|part| cut(&part).to_string()));
        }
    };
    match value {
        Value::List(texts) => texts.iter().for_each(&mut add),
        value => add(value),
    }
    all
}

/// As much of a part as stands in an index.
pub(crate) fn cut(part: &str) -> &str {
    let mut end = part.len().min(MAX_INDEXED_BYTES);
    while !part.is_char_boundary(end) {
        end -= 1;
    }
    &part[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(by: SearchBy, text: &str, wanted: &str) -> bool {
        found(by, &Value::Str(text.into()), &Value::Str(wanted.into())) == Some(Value::Bool(true))
    }

    #[test]
    fn case_marks_and_spaces_make_no_difference() {
        assert!(holds(SearchBy::Prefix, "  Éric   SATIE", "eric s"));
        assert!(!holds(SearchBy::Prefix, "Éric Satie", "satie"));
        assert!(holds(SearchBy::Text, "The blue pen, isn't it?", "PEN Blue"));
        assert!(!holds(SearchBy::Text, "The blue pencil", "pen"));
        assert!(holds(SearchBy::Text, "Straße", "STRAßE"));
        assert!(holds(SearchBy::Text, "漢字 だ", "漢"));
        for by in [SearchBy::Prefix, SearchBy::Text, SearchBy::Phonetic] {
            assert!(holds(by, "anything", " "), "who asks for nothing finds all");
        }
    }

    #[test]
    fn names_are_found_by_their_sound() {
        for (one, other) in [("Meyer", "maier"), ("Smith", "Schmidt"), ("Catherine", "Kathryn"), ("42", "42")]
        {
            assert!(holds(SearchBy::Phonetic, &format!("Dr. {one} jr."), other), "{one} {other}");
        }
        assert!(!holds(SearchBy::Phonetic, "Miller", "Meyer"));
        assert!(!holds(SearchBy::Phonetic, "41", "42"));
    }

    /// Words of other scripts made the library for sounds cut a character in two, and panic.
    #[test]
    fn a_word_of_another_script_sounds_like_itself() {
        assert_eq!(sounds("ꀀw"), BTreeSet::from(["ꀀw".to_string()]));
        assert!(holds(SearchBy::Phonetic, "ꀀw ñandú", "Ñandu"));
    }

    proptest! {
        #[test]
        fn any_word_has_a_sound(word in "[a-zA-Z]{1,24}|[a-z0-9'._]{1,12}|\\PC{1,12}") {
            prop_assert!(!sounds(&word).is_empty());
        }

        #[test]
        fn what_is_found_is_in_the_index(text in ".{0,300}", from in 0usize..300, to in 0usize..300) {
            let chars: Vec<char> = text.chars().collect();
            let (from, to) = (from.min(chars.len()), to.min(chars.len()));
            let wanted: String = chars[from.min(to)..from.max(to)].iter().collect();
            for by in [SearchBy::Prefix, SearchBy::Text, SearchBy::Phonetic] {
                let there = indexed(by, &Value::Str(text.as_str().into()));
                prop_assert!(there.iter().all(|part| part.len() <= MAX_INDEXED_BYTES && !part.contains('\0')) || text.contains('\0'));
                if !holds(by, &text, &wanted) {
                    continue;
                }
                match Wanted::of(by, &wanted) {
                    Wanted::Beginning(beginning) => {
                        prop_assert!(there.iter().any(|part| part.starts_with(cut(&beginning))));
                    }
                    Wanted::All(all) => {
                        for any in all {
                            prop_assert!(any.iter().any(|part| there.contains(cut(part))));
                        }
                    }
                }
            }
            prop_assert!(holds(SearchBy::Text, &text, &text) && holds(SearchBy::Phonetic, &text, &text));
            prop_assert!(holds(SearchBy::Prefix, &text, &text));
        }
    }
}
