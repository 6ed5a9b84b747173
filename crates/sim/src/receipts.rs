//! Requests with a key: each is done once, and who repeats it is told what was told the first time.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use corollary_engine::receipt::{Keep, RETENTION};
use corollary_engine::reply::Wants;
use corollary_engine::working::Working;
use corollary_engine::{Committed, EngineError};
use jiff::Timestamp;

use crate::draft::Draft;
use crate::model::Step;
use crate::random::Random;
use crate::rules::Codes;
use crate::translate::shown;

/// Keys that a run has.
const KEYS: usize = 6;

/// What the engine has to remember.
#[derive(Default)]
pub struct Receipts {
    kept: BTreeMap<usize, Kept>,
}

/// The receipt of a request.
struct Kept {
    time: Timestamp,
    fingerprint: [u8; 32],
    reply: Vec<u8>,
    /// What was asked, in the words of this schema.
    steps: (Arc<Draft>, Vec<Step>),
}

/// A key and what makes another request of it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    key: usize,
    fingerprint: [u8; 32],
}

impl Ticket {
    /// What the engine is told with it.
    pub fn wants(&self) -> Wants {
        let tell = |_: &Working<'_>, committed: &Committed| Ok(reply_of(committed));
        let keep = Keep {
            key: format!("k{}", self.key).into_bytes(),
            fingerprint: self.fingerprint,
            tell: Arc::new(tell),
        };
        Wants { kept: Some(Arc::new(keep)), ..Wants::results() }
    }
}

fn reply_of(committed: &Committed) -> Vec<u8> {
    committed.revision.to_string().into_bytes()
}

impl Receipts {
    /// A key for a request, or an earlier request once more with its key.
    pub fn ticket(&self, random: &mut Random, draft: &Arc<Draft>, steps: &mut Vec<Step>) -> Ticket {
        let mut key = random.below(KEYS);
        let again = self.kept.iter().filter(|(_, kept)| Arc::ptr_eq(&kept.steps.0, draft));
        let again: Vec<_> = again.filter(|_| random.percent(10)).collect();
        if let Some((of, kept)) = random.pick_any(&again) {
            key = **of;
            steps.clone_from(&kept.steps.1);
        }
        let mut hasher = DefaultHasher::new();
        shown(draft, steps).hash(&mut hasher);
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&hasher.finish().to_be_bytes());
        Ticket { key, fingerprint }
    }

    /// Was this to be told from a receipt? Then it says whether it was.
    pub fn judge(
        &self,
        ticket: &Ticket,
        now: Timestamp,
        outcome: &Result<Committed, EngineError>,
    ) -> Option<Result<(), String>> {
        let kept = self.kept.get(&ticket.key)?;
        if now.duration_since(kept.time) >= RETENTION {
            return None;
        }
        let right = match outcome {
            Ok(told) => {
                kept.fingerprint == ticket.fingerprint
                    && told.commit.is_none()
                    && told.reply.as_ref() == Some(&kept.reply)
            }
            Err(EngineError::Refused(refusals)) => {
                let codes: Codes = refusals.iter().map(|refusal| refusal.code).collect();
                kept.fingerprint != ticket.fingerprint && codes == Codes::from(["idempotency-key"])
            }
            Err(_) => false,
        };
        Some(if right {
            Ok(())
        } else {
            Err(format!("a request with the key {} is {outcome:?}", ticket.key))
        })
    }

    /// Remembers what was told of a request that was done.
    pub fn keep(
        &mut self,
        ticket: &Ticket,
        time: Timestamp,
        committed: &Committed,
        steps: (Arc<Draft>, Vec<Step>),
    ) -> Result<(), String> {
        let reply = reply_of(committed);
        if committed.reply.as_ref() != Some(&reply) {
            return Err(format!("the reply that is kept is {:?}", committed.reply));
        }
        self.kept.insert(ticket.key, Kept { time, fingerprint: ticket.fingerprint, reply, steps });
        Ok(())
    }
}
