//! What `normalize (…)` and `normalize(…)` do to a text, by name.
//!
//! Each step gives the same text when it is applied twice. Steps are applied in the order in which they are written.

use smol_str::SmolStr;
use unicode_normalization::UnicodeNormalization;

/// A change made to a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// Without white space at both ends.
    Trim,
    /// Unicode's composed form.
    Nfc,
    /// Unicode's decomposed form.
    Nfd,
    /// Unicode's composed form, characters of like meaning made one.
    Nfkc,
    /// Unicode's decomposed form, characters of like meaning made one.
    Nfkd,
}

impl Normalize {
    /// All of them.
    pub const ALL: [Normalize; 7] = [
        Normalize::Lower,
        Normalize::Upper,
        Normalize::Trim,
        Normalize::Nfc,
        Normalize::Nfd,
        Normalize::Nfkc,
        Normalize::Nfkd,
    ];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Normalize::Lower => "lower",
            Normalize::Upper => "upper",
            Normalize::Trim => "trim",
            Normalize::Nfc => "nfc",
            Normalize::Nfd => "nfd",
            Normalize::Nfkc => "nfkc",
            Normalize::Nfkd => "nfkd",
        }
    }

    /// The one with a name.
    pub fn named(name: &str) -> Option<Normalize> {
        Normalize::ALL.into_iter().find(|step| step.name() == name)
    }

    /// The text after this step.
    pub fn apply(self, text: &str) -> SmolStr {
        match self {
            Normalize::Lower => text.to_lowercase().into(),
            Normalize::Upper => text.to_uppercase().into(),
            Normalize::Trim => text.trim().into(),
            Normalize::Nfc => text.nfc().collect(),
            Normalize::Nfd => text.nfd().collect(),
            Normalize::Nfkc => text.nfkc().collect(),
            Normalize::Nfkd => text.nfkd().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_look_alike_become_one() {
        // An `e` with an accent in one character and in two; the ligature of f and i.
        assert_eq!(Normalize::Nfc.apply("e\u{301}"), "\u{e9}");
        assert_eq!(Normalize::Nfd.apply("\u{e9}"), "e\u{301}");
        assert_eq!(Normalize::Nfkc.apply("\u{fb01}e\u{301}"), "fi\u{e9}");
        assert_eq!(Normalize::Nfkd.apply("\u{fb01}\u{e9}"), "fie\u{301}");
        for step in Normalize::ALL {
            assert_eq!(Normalize::named(step.name()), Some(step));
            let once = step.apply(" \u{fb01}E\u{301}\u{e9}\u{130}\u{df} ");
            assert_eq!(step.apply(&once), once, "{step:?}");
        }
    }
}
