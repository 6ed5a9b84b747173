//! Transactions that come from elsewhere, where they are on record: each is done once, whoever brings it, however often.
//!
//! A source, as the changes made in SQL are one, hands its transactions over in batches, and begins the next batch when it has
//! noted what became of the one before. So all that has to be known of it is the batch under way and which of it are done:
//! one row, written in the batch of the commit. What comes from an earlier batch, from somebody who was cut off and does
//! not know it, has been dealt with.
//!
//! ```text
//! origin = varint batch, varint count, number of a transaction…
//! ```
//!
//! What is refused did nothing, and is not noted.

use corollary_value::codec::{DecodeError, push_varint, read_varint};

use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

/// Transactions of one batch, at most.
pub const MAX_BATCH: usize = 64;

/// Where a transaction comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The source; no two have the same.
    pub source: [u8; 16],
    /// The batch of the source; they are numbered upwards.
    pub batch: u64,
    /// Which transaction of the source it is.
    pub number: u64,
}

/// What is known of a source.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    batch: u64,
    numbers: Vec<u64>,
}

impl Done {
    fn decode(mut bytes: &[u8]) -> Result<Done, DecodeError> {
        let bytes = &mut bytes;
        let (batch, count) = (read_varint(bytes)?, read_varint(bytes)?);
        let numbers = (0..count).map(|_| read_varint(bytes)).collect::<Result<_, _>>()?;
        Ok(Done { batch, numbers })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_varint(self.batch, &mut bytes);
        push_varint(self.numbers.len() as u64, &mut bytes);
        self.numbers.iter().for_each(|number| push_varint(*number, &mut bytes));
        bytes
    }

    fn of(working: &Working<'_>, origin: &Origin) -> Result<Done, EngineError> {
        match working.row(keys::META, keys::origin(&origin.source))? {
            Some(row) => Done::decode(&row).map_err(|_| EngineError::corrupt("what is done of a source")),
            None => Ok(Done::default()),
        }
    }
}

/// Has a transaction been dealt with?
pub(crate) fn is_done(working: &Working<'_>, origin: &Origin) -> Result<bool, EngineError> {
    let done = Done::of(working, origin)?;
    Ok(origin.batch < done.batch || origin.batch == done.batch && done.numbers.contains(&origin.number))
}

/// Notes a transaction that is done, in its own commit.
pub(crate) fn note(working: &mut Working<'_>, origin: &Origin) -> Result<(), EngineError> {
    let mut done = Done::of(working, origin)?;
    if done.batch < origin.batch {
        done = Done { batch: origin.batch, numbers: Vec::new() };
    }
    done.numbers.push(origin.number);
    working.put_row(keys::META, keys::origin(&origin.source), done.encode());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read() {
        let done = Done { batch: 300, numbers: vec![1, u64::MAX, 77] };
        assert_eq!(Done::decode(&done.encode()), Ok(done));
        assert!(Done::decode(&[1, 5, 1]).is_err());
    }
}
