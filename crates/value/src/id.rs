//! Resource ids: a UUIDv7 unless the client gives one.

use std::fmt;

use smol_str::SmolStr;
use uuid::Uuid;

/// The longest name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

const TAG_UUID: u8 = 1;
const TAG_NAME: u8 = 2;

/// The id of a resource, unique among the resources of one type.
///
/// Text in the form of a UUID is always held as [`Id::Uuid`], so that equal texts are equal ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// A UUID (the server makes version 7).
    Uuid(Uuid),
    /// A name given by the client: 1 to 128 bytes of letters, digits, `_`, `-`, `~`, `:` or `@`, with `.` allowed inside.
    Name(SmolStr),
}

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No text at all.
    #[error("an id cannot be empty")]
    Empty,
    /// Too long.
    #[error("an id has at most {MAX_NAME_BYTES} bytes")]
    TooLong,
    /// A character that cannot stand in an id.
    #[error("an id cannot hold {0:?}: letters, digits and _ - ~ : @ are allowed, and . inside")]
    Character(char),
    /// A leading `_` is the system's own.
    #[error("an id cannot start with `_`")]
    Reserved,
}

impl Id {
    /// Reads an id as clients write it.
    pub fn parse(text: &str) -> Result<Id, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(IdError::TooLong);
        }
        // Only the form with hyphens: 32 bare hexadecimal digits are a name like any other.
        if text.len() == 36
            && let Ok(uuid) = Uuid::try_parse(text)
        {
            return Ok(Id::Uuid(uuid));
        }
        let last = text.len() - 1;
        for (at, c) in text.char_indices() {
            let allowed = c.is_ascii_alphanumeric()
                || matches!(c, '_' | '-' | '~' | ':' | '@')
                || (c == '.' && at != 0 && at != last);
            if !allowed {
                return Err(IdError::Character(c));
            }
        }
        if text.starts_with('_') {
            return Err(IdError::Reserved);
        }
        Ok(Id::Name(text.into()))
    }

    /// Appends the key bytes: their order is the order of ids, and they tell where they end.
    pub fn push_key(&self, out: &mut Vec<u8>) {
        match self {
            Id::Uuid(uuid) => {
                out.push(TAG_UUID);
                out.extend_from_slice(uuid.as_bytes());
            }
            Id::Name(name) => {
                out.push(TAG_NAME);
                out.extend_from_slice(name.as_bytes());
                out.push(0);
            }
        }
    }

    /// Appends the text of it, as [`Display`](fmt::Display) gives it and without what that costs.
    pub fn push_text(&self, out: &mut Vec<u8>) {
        match self {
            Id::Uuid(uuid) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                out.extend_from_slice(uuid.hyphenated().encode_lower(&mut text).as_bytes());
            }
            Id::Name(name) => out.extend_from_slice(name.as_bytes()),
        }
    }

    /// Reads what [`Id::push_key`] wrote, and what stands behind it.
    pub fn read_key(bytes: &[u8]) -> Option<(Id, &[u8])> {
        match bytes.split_first()? {
            (&TAG_UUID, rest) => {
                let (uuid, rest) = rest.split_first_chunk::<16>()?;
                Some((Id::Uuid(Uuid::from_bytes(*uuid)), rest))
            }
            (&TAG_NAME, rest) => {
                let end = rest.iter().position(|byte| *byte == 0)?;
                let name = std::str::from_utf8(&rest[..end]).ok()?;
                Some((Id::Name(name.into()), &rest[end + 1..]))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Id::Uuid(uuid) => write!(f, "{}", uuid.hyphenated()),
            Id::Name(name) => f.write_str(name),
        }
    }
}
