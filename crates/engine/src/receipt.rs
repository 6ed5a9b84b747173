//! Receipts: replies that are kept, so that whoever repeats a request is told what was told the first time.
//!
//! A request that comes with a key has its reply written in the batch of its commit: so a receipt is there if and only if
//! the request was done, whatever happens to the server in between. Requests are executed one after the other, so of two
//! with the same key one is done, and the other gets its receipt. What is refused did nothing, and leaves no receipt.
//!
//! ```text
//! receipt = 16 bytes time (as in timers), 32 bytes fingerprint of the request, reply
//! ```
//!
//! What always holds: each receipt has one row by its time, and there is no other row by time.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_store::{Batch, Direction, KeyRange};
use jiff::{SignedDuration, Timestamp};

use crate::engine::{Committed, Executor};
use crate::error::EngineError;
use crate::keys;
use crate::working::Working;

/// How long a receipt holds.
pub const RETENTION: SignedDuration = SignedDuration::from_hours(24);

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// The longest reply that is kept, in bytes.
pub const MAX_REPLY_BYTES: usize = 16 << 20;

/// What tells of a transaction, on the state that it left; it runs where all writes do.
pub type Tell = dyn Fn(&Working<'_>, &Committed) -> Result<Vec<u8>, EngineError> + Send + Sync;

/// What is kept of a request.
#[derive(Clone)]
pub struct Keep {
    /// Its key, of at most [`MAX_KEY_BYTES`].
    pub key: Vec<u8>,
    /// What makes another request of it.
    pub fingerprint: [u8; 32],
    /// Makes the reply.
    pub tell: Arc<Tell>,
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").field("key", &self.key).finish_non_exhaustive()
    }
}

/// What was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// When the request was done.
    pub time: Timestamp,
    /// Of the request.
    pub fingerprint: [u8; 32],
    /// What was told.
    pub reply: Vec<u8>,
}

impl Receipt {
    /// Does it hold at a time?
    fn holds_at(&self, now: Timestamp) -> bool {
        now.duration_since(self.time) < RETENTION
    }

    /// The reply, for who sends the same request; otherwise a refusal.
    pub fn reply_to(self, fingerprint: &[u8; 32]) -> Result<Vec<u8>, EngineError> {
        if self.fingerprint == *fingerprint {
            return Ok(self.reply);
        }
        let message = format!(
            "the key was used for another request at {}; it can be used anew after {} hours",
            self.time,
            RETENTION.as_hours()
        );
        Err(EngineError::refused("idempotency-key", None, message))
    }
}

fn encode(time: Timestamp, fingerprint: &[u8; 32], reply: &[u8]) -> Vec<u8> {
    let mut bytes = keys::sortable(time).to_vec();
    bytes.extend_from_slice(fingerprint);
    bytes.extend_from_slice(reply);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Receipt> {
    let (time, rest) = bytes.split_first_chunk()?;
    let (fingerprint, reply) = rest.split_first_chunk::<32>()?;
    Some(Receipt { time: keys::read_sortable(time)?, fingerprint: *fingerprint, reply: reply.to_vec() })
}

/// The receipt under a key, of whatever age.
fn stored(working: &Working<'_>, key: &[u8]) -> Result<Option<Receipt>, EngineError> {
    let row = working.row(keys::RECEIPT, keys::receipt(key))?;
    row.map(|row| decode(&row).ok_or_else(|| EngineError::corrupt("a receipt"))).transpose()
}

/// The receipt under a key, if it holds still.
pub fn find(working: &Working<'_>, key: &[u8]) -> Result<Option<Receipt>, EngineError> {
    Ok(stored(working, key)?.filter(|receipt| receipt.holds_at(working.now)))
}

/// Makes the reply of a transaction and keeps it with what the transaction did.
pub(crate) fn keep(
    working: &mut Working<'_>,
    keep: &Keep,
    committed: &Committed,
) -> Result<Vec<u8>, EngineError> {
    let reply = (keep.tell)(working, committed)?;
    if reply.len() > MAX_REPLY_BYTES {
        let message = format!(
            "with a key the reply is kept, and may have {MAX_REPLY_BYTES} bytes; this one has {}",
            reply.len()
        );
        return Err(EngineError::refused("reply-limit", None, message));
    }
    let now = working.now;
    if let Some(expired) = stored(working, &keep.key)? {
        working.delete_row(keys::RECEIPT, keys::receipt_at(expired.time, &keep.key));
    }
    working.put_row(keys::RECEIPT, keys::receipt(&keep.key), encode(now, &keep.fingerprint, &reply));
    working.put_row(keys::RECEIPT, keys::receipt_at(now, &keep.key), Vec::new());
    Ok(reply)
}

impl Executor {
    /// Drops receipts that hold no more, at most so many; returns how many it dropped.
    pub fn trim_receipts(&mut self, now: Timestamp, limit: usize) -> Result<usize, EngineError> {
        let Ok(before) = now.checked_sub(RETENTION) else { return Ok(0) };
        // A key that is used anew meanwhile has another receipt, which stays.
        self.contend(|executor| executor.trim_receipts_before(before, limit))
    }

    fn trim_receipts_before(&mut self, before: Timestamp, limit: usize) -> Result<usize, EngineError> {
        let (mut batch, mut dropped, mut corrupt) = (Batch::new(), 0, false);
        let snapshot = self.engine().store().snapshot()?;
        let range = KeyRange::prefix(keys::RECEIPT_TIMES);
        snapshot.scan(keys::RECEIPT, &range, Direction::Forward, limit, &mut |row, _| {
            match keys::read_receipt_at(row) {
                Some((time, key)) if time <= before => {
                    dropped += 1;
                    batch.delete(keys::RECEIPT, keys::receipt(key));
                    batch.delete(keys::RECEIPT, row.to_vec());
                    ControlFlow::Continue(())
                }
                Some(_) => ControlFlow::Break(()),
                None => {
                    corrupt = true;
                    ControlFlow::Break(())
                }
            }
        })?;
        drop(snapshot);
        if corrupt {
            return Err(EngineError::corrupt("the time of a receipt"));
        }
        if dropped > 0 {
            self.commit_aside(batch)?;
        }
        Ok(dropped)
    }
}

/// What is wrong with the rows of receipts, if anything.
pub fn check(working: &Working<'_>) -> Result<Option<String>, EngineError> {
    let (mut by_key, mut by_time) = (Vec::new(), Vec::new());
    for (row, value) in working.rows(keys::RECEIPT, &KeyRange::all())? {
        match (keys::read_receipt(&row), keys::read_receipt_at(&row)) {
            (Some(key), _) => match decode(&value) {
                Some(receipt) => by_key.push((receipt.time, key.to_vec())),
                None => return Ok(Some(format!("the receipt {row:?} cannot be read"))),
            },
            (_, Some((time, key))) => by_time.push((time, key.to_vec())),
            _ => return Ok(Some(format!("{row:?} is the key of no receipt"))),
        }
    }
    by_key.sort();
    let same = by_key == by_time;
    Ok((!same).then(|| format!("receipts are {by_key:?}, and by time {by_time:?}")))
}
