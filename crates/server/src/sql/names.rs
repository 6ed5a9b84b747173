//! Names and texts in SQL: whatever they contain, they are quoted, and none is longer than the database keeps.
//!
//! Invariant: two different names are the same in SQL only where one of them is cut and the other one ends as if it were,
//! with the same hash; who gives names looks for that ([`super::layout`]).

use sha2::{Digest, Sha256};

/// Bytes of a name that PostgreSQL keeps.
pub const MAX_NAME_BYTES: usize = 63;

/// Of a name that is longer so much stays, before `_` and a hash of all of it.
const KEPT_BYTES: usize = 54;

/// Bytes of a name of a schema.
const MAX_SCHEMA_BYTES: usize = 40;

/// A name as the database keeps it: a long one is cut, and ends in `_` and eight digits of a hash of all of it.
pub fn fitted(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let kept = (0..=KEPT_BYTES).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    let hash = Sha256::digest(name.as_bytes());
    let digits: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}_{digits}", &name[..kept])
}

/// A name in a statement.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in a statement.
pub fn literal(text: &str) -> String {
    // The database keeps no character 0, and reads `\` as what it is.
    let text = text.replace('\0', "\u{fffd}").replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", text.replace('\\', "\\\\")) } else { format!("'{text}'") }
}

/// Reads the name of the schema that is to hold the tables.
///
/// # Errors
///
/// What is wrong with it, in a sentence.
pub fn schema(name: &str) -> Result<String, String> {
    let well_formed = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= MAX_SCHEMA_BYTES
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !well_formed {
        return Err(format!("1 to {MAX_SCHEMA_BYTES} of a-z, 0-9 and _, starting with a letter"));
    }
    match name {
        "corollary" => {
            Err("`corollary` holds the store itself; take another one, such as corollary_sql".into())
        }
        "public" | "information_schema" => {
            Err(format!("`{name}` may hold what belongs to others; take another one, such as corollary_sql"))
        }
        name if name.starts_with("pg_") => Err("names that begin with pg_ are the database's own".into()),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let (short, long) = ("a".repeat(63), "a".repeat(64));
        assert_eq!(fitted(&short), short);
        let cut = fitted(&long);
        assert_eq!((cut.len(), &cut[..55]), (63, format!("{}_", "a".repeat(54)).as_str()));
        assert_ne!(fitted(&format!("{long}b")), cut);
        // Never within a character.
        let cut = fitted(&"é".repeat(40));
        assert!(cut.starts_with(&format!("{}_", "é".repeat(27))), "{cut}");
    }

    #[test]
    fn what_is_quoted_stays_what_it_is() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'b"), r"E'a\\''b'");
    }

    #[test]
    fn a_schema_of_its_own_is_asked_for() {
        assert_eq!(schema("corollary_sql").as_deref(), Ok("corollary_sql"));
        for name in ["", "Sales", "1st", "a-b", "corollary", "public", "pg_x", "information_schema"] {
            assert!(schema(name).is_err(), "{name}");
        }
    }
}
