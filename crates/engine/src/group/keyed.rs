//! Maps: for each owner a place for each key that any member has.
//!
//! ```text
//! owner, 0, key            -> how many members, their state, the result     (the header of the place)
//! owner, 1, key, …         -> what the place keeps in rows
//! ```
//!
//! A change touches the places of its old and its new key, and their entries of the map; a place without members is no
//! more. Where a key is an error, that is the result instead of a map; the places are kept all the same.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use corollary_schema::plan::Group;
use corollary_schema::typed::Kind;
use corollary_store::KeyRange;
use corollary_value::codec::{self, DecodeError, push_varint, read_varint};
use corollary_value::order_key::push_order_key;
use corollary_value::{BasicKind, Id, SumState, Value, compare, parse_as};
use smol_str::SmolStr;

use super::{Change, Place, apply_to_place, ordered};
use crate::aggregates::key_text;
use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

const HEADERS: u8 = 0;
const ROWS: u8 = 1;

/// What is kept of one key of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    /// The key.
    pub key: Value,
    /// How many members have the key.
    pub members: u64,
    /// What they give.
    pub place: Place,
}

impl Header {
    /// For storage.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(&self.key, &mut bytes);
        push_varint(self.members, &mut bytes);
        self.place.state.encode(&mut bytes);
        codec::encode(&self.place.result, &mut bytes);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Header, EngineError> {
        let read = |bytes: &mut &[u8]| -> Result<Header, DecodeError> {
            let (key, members) = (codec::decode(bytes)?, read_varint(bytes)?);
            let place = Place { state: SumState::decode(bytes)?, result: codec::decode(bytes)? };
            Ok(Header { key, members, place })
        };
        read(&mut &bytes[..]).map_err(|_| EngineError::corrupt("a key of a map"))
    }
}

/// Where the header of a key stands, among the rows of an owner.
pub(crate) fn header_key(prefix: &[u8], key: &Value) -> Vec<u8> {
    of_key(prefix, HEADERS, key)
}

/// The prefix of what the place of a key keeps in rows.
pub(crate) fn place_of(prefix: &[u8], key: &Value) -> Vec<u8> {
    of_key(prefix, ROWS, key)
}

fn of_key(prefix: &[u8], part: u8, key: &Value) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    bytes.push(part);
    push_order_key(key, &mut bytes);
    bytes
}

/// The new result of an owner whose result was `before`.
pub(super) fn apply(
    working: &mut Working<'_>,
    group: &Group,
    prefix: &[u8],
    before: &Value,
    changes: &[Change<'_>],
) -> Result<Value, EngineError> {
    let kind = group.by.as_ref().map_or(Kind::Null, |by| by.ty.kind.clone());
    let mut entries = match before {
        Value::Object(entries) => entries.to_vec(),
        _ => Vec::new(),
    };
    for (at, (key, changes)) in by_key(prefix, changes) {
        let header =
            working.row(keys::MEMBER, at.clone())?.map(|bytes| Header::decode(&bytes)).transpose()?;
        let mut header = header.unwrap_or_else(|| Header {
            key: key.clone(),
            members: 0,
            place: Place::of_nothing(group.aggregate, &group.kind()),
        });
        let by: i64 =
            changes.iter().map(|it| i64::from(it.new.is_some()) - i64::from(it.old.is_some())).sum();
        apply_to_place(working, group, &place_of(prefix, &key), &mut header.place, &changes)?;
        header.members =
            header.members.checked_add_signed(by).ok_or_else(|| EngineError::corrupt("a key of a map"))?;
        if header.members == 0 {
            working.delete_row(keys::MEMBER, at);
        } else {
            working.put_row(keys::MEMBER, at, header.encode());
        }
        if !before.is_error() && !key.is_error() {
            with_entry(&mut entries, &kind, &key, (header.members > 0).then_some(header.place.result))?;
        }
    }
    let mut headers = prefix.to_vec();
    headers.push(HEADERS);
    if let Some(error) = ordered::least_error_row(working, &headers)? {
        return Header::decode(&error).map(|header| header.key);
    }
    if before.is_error() {
        entries = all_entries(working, &headers)?;
    }
    Ok(Value::Object(entries.into()))
}

/// The changes of each key, by where its header stands.
fn by_key<'s>(prefix: &[u8], changes: &[Change<'s>]) -> BTreeMap<Vec<u8>, (Value, Vec<Change<'s>>)> {
    let mut all: BTreeMap<Vec<u8>, (Value, Vec<Change<'s>>)> = BTreeMap::new();
    let mut put = |key: Value, change: Change<'s>| {
        let place = all.entry(header_key(prefix, &key)).or_insert_with(|| (key, Vec::new()));
        place.1.push(change);
    };
    for change in changes {
        match (change.old, change.new) {
            (Some(old), Some(new)) if old.key != new.key => {
                put(old.key.clone(), Change { new: None, ..*change });
                put(new.key.clone(), Change { old: None, ..*change });
            }
            (old, new) => {
                let key = old.or(new).map(|given| given.key.clone());
                put(key.unwrap_or(Value::Null), *change);
            }
        }
    }
    all
}

/// The entries of all places.
fn all_entries(working: &Working<'_>, headers: &[u8]) -> Result<Vec<(SmolStr, Value)>, EngineError> {
    let rows = working.rows(keys::MEMBER, &KeyRange::prefix(headers))?;
    let entries = rows.values().map(|bytes| {
        let header = Header::decode(bytes)?;
        Ok((key_text(&header.key), header.place.result))
    });
    entries.collect()
}

/// The value of a kind that is written so as the key of a map.
fn key_value(kind: &Kind, text: &str) -> Result<Value, EngineError> {
    let basic = match kind {
        Kind::Int => BasicKind::Int,
        Kind::Bool => BasicKind::Bool,
        Kind::Datetime => BasicKind::Datetime,
        Kind::Uuid => BasicKind::Uuid,
        Kind::Date => {
            let date = text.parse().map(Value::Date);
            return date.map_err(|_| EngineError::corrupt("the key of a map"));
        }
        Kind::Resource(_) => {
            return Id::parse(text).map(Value::Ref).map_err(|_| EngineError::corrupt("the key of a map"));
        }
        _ => return Ok(Value::Str(text.into())),
    };
    parse_as(basic, text).map_err(|_| EngineError::corrupt("the key of a map"))
}

/// Puts an entry into those of an object, or takes it out. They stand in the order of their keys
/// as values of a kind.
fn with_entry(
    entries: &mut Vec<(SmolStr, Value)>,
    kind: &Kind,
    key: &Value,
    value: Option<Value>,
) -> Result<(), EngineError> {
    let (mut from, mut to) = (0, entries.len());
    while from < to {
        let middle = from + (to - from) / 2;
        match compare(&key_value(kind, &entries[middle].0)?, key) {
            Ordering::Less => from = middle + 1,
            Ordering::Greater => to = middle,
            Ordering::Equal => {
                match value {
                    Some(value) => entries[middle].1 = value,
                    None => drop(entries.remove(middle)),
                }
                return Ok(());
            }
        }
    }
    if let Some(value) = value {
        entries.insert(from, (key_text(key), value));
    }
    Ok(())
}
