//! How far a hook has come, and who delivers it: one record for each, changed in steps of the executor.
//!
//! A lease says which node delivers. Its token is a number that grows with each holder, and every step that moves the cursor asks for
//! it, so one that slept through the end of its lease changes nothing when it wakes.

use std::collections::VecDeque;
use std::time::Duration;

use corollary_engine::EngineError;
use corollary_engine::records::{Kind, Records};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::hook::{decoded, encoded};
use super::{MAX_HOOKS, MAX_TOLD};

/// Records of states, by the ids of hooks.
pub const STATE: Kind = Kind(1);

/// How long a lease holds that nobody renews.
pub const LEASE: Duration = Duration::from_secs(10);

/// Who delivers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The node.
    pub node: String,
    /// Which holder it is, counted.
    pub token: u64,
    /// Until when nobody else takes it.
    pub until: Timestamp,
}

/// An attempt, as the log of deliveries tells of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The id of the event.
    pub id: String,
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub milliseconds: u64,
    /// The status of the reply; none where there was none.
    pub status: Option<u16>,
    /// What went wrong, if anything did.
    pub error: Option<String>,
    /// Which attempt at this event it was, from 1 on.
    pub attempt: u32,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// All up to this revision was taken, or is kept as a letter.
    pub cursor: u64,
    /// Who delivers it, or did.
    pub lease: Option<Lease>,
    /// The last token that was given out.
    pub token: u64,
    /// Events that were taken.
    pub delivered: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Letters that are kept.
    pub letters: u64,
    /// Letters were asked to be sent again.
    pub again: bool,
    /// When an event was taken last.
    pub success: Option<Timestamp>,
    /// Why nothing can be sent at all: what it is about is not there, the log does not go back to it, too many letters.
    pub problem: Option<String>,
    /// From where to where the log was gone, the last time that happened.
    pub skipped: Option<(u64, u64)>,
    /// The last attempts, the latest last.
    pub told: VecDeque<Told>,
}

impl State {
    /// Of a hook that begins behind a revision.
    pub fn new(cursor: u64) -> State {
        State {
            cursor,
            lease: None,
            token: 0,
            delivered: 0,
            failures: 0,
            letters: 0,
            again: false,
            success: None,
            problem: None,
            skipped: None,
            told: VecDeque::new(),
        }
    }

    /// The state of a hook.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn load(records: &Records<'_>, hook: &str) -> Result<Option<State>, EngineError> {
        records.get(STATE, hook.as_bytes())?.map(|bytes| decoded(&bytes)).transpose()
    }

    /// Keeps it.
    pub fn keep(&self, records: &mut Records<'_>, hook: &str) {
        records.put(STATE, hook.as_bytes(), encoded(self));
    }

    /// Takes the lease for a node, if it is free; `alone` where no other process can have the store.
    pub fn take(&mut self, node: &str, alone: bool, now: Timestamp) -> Option<u64> {
        let free = self.lease.as_ref().is_none_or(|lease| alone || lease.node == node || lease.until <= now);
        if !free {
            return None;
        }
        self.token += 1;
        self.lease = Some(Lease { node: node.to_owned(), token: self.token, until: until(alone, now) });
        Some(self.token)
    }

    /// Goes on behind another revision. Whoever delivers begins anew.
    pub fn begin_at(&mut self, revision: u64) {
        self.cursor = revision;
        self.skipped = None;
        self.token += 1;
        self.lease = None;
    }

    /// Has the lease for longer; false where somebody else has it by now.
    pub fn renew(&mut self, token: u64, alone: bool, now: Timestamp) -> bool {
        match &mut self.lease {
            Some(lease) if lease.token == token => {
                lease.until = until(alone, now);
                true
            }
            _ => false,
        }
    }

    /// Tells of attempts; the oldest are forgotten.
    pub fn tell(&mut self, told: impl IntoIterator<Item = Told>) {
        self.told.extend(told);
        let surplus = self.told.len().saturating_sub(MAX_TOLD);
        self.told.drain(..surplus);
    }

    /// What is shown of it, beside a head at a revision; `paused` as the hook says.
    pub fn shown(&self, head: u64, paused: bool, now: Timestamp) -> Json {
        let last = self.told.back();
        let failing = last.filter(|told| told.error.is_some());
        let held = self.lease.as_ref().filter(|lease| lease.until > now);
        let status = match () {
            () if paused => "paused",
            () if self.problem.is_some() => "stuck",
            () if held.is_none() => "waiting",
            () if failing.is_some() => "failing",
            () => "active",
        };
        let mut shown = json!({
            "status": status,
            "cursor": self.cursor.to_string(),
            "lag": head.saturating_sub(self.cursor),
            "delivered": self.delivered,
            "failures": self.failures,
            "letters": self.letters,
        });
        if let Some(members) = shown.as_object_mut() {
            if let Some(lease) = held {
                members.insert("node".into(), lease.node.as_str().into());
            }
            if let Some(success) = self.success {
                members.insert("delivered_at".into(), success.to_string().into());
            }
            let why = self.problem.as_deref().or(failing.and_then(|told| told.error.as_deref()));
            if let Some(why) = why {
                members.insert("error".into(), why.into());
            }
            if let Some((from, to)) = self.skipped {
                let skipped = json!({ "after": from.to_string(), "to": to.to_string() });
                members.insert("skipped".into(), skipped);
            }
        }
        shown
    }
}

/// The states of all hooks, with their ids.
///
/// # Errors
///
/// The store's.
pub fn all(records: &Records<'_>) -> Result<Vec<(String, State)>, EngineError> {
    let rows = records.list(STATE, &[], None, MAX_HOOKS)?;
    let read =
        |(key, bytes): (Vec<u8>, Vec<u8>)| Ok((String::from_utf8_lossy(&key).into_owned(), decoded(&bytes)?));
    rows.into_iter().map(read).collect()
}

/// Where nobody else can be there, a lease needs no renewal.
fn until(alone: bool, now: Timestamp) -> Timestamp {
    if alone { Timestamp::MAX } else { now.checked_add(LEASE).unwrap_or(Timestamp::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_and_renewed_by_who_has_it() {
        let mut state = State::new(7);
        assert_eq!(state.take("a", false, at(0)), Some(1));
        assert_eq!(state.take("b", false, at(9)), None);
        assert!(state.renew(1, false, at(9)));
        assert_eq!(state.take("b", false, at(18)), None);
        assert_eq!(state.take("b", false, at(19)), Some(2));
        assert!(!state.renew(1, false, at(20)), "who slept has it no more");
        assert_eq!(state.take("a", true, at(20)), Some(3), "where nobody else can be there");
    }

    #[test]
    fn the_latest_attempts_are_told() {
        let mut state = State::new(0);
        let told = |number: usize| Told {
            id: number.to_string(),
            at: at(0),
            milliseconds: 1,
            status: None,
            error: None,
            attempt: 1,
        };
        state.tell((0..MAX_TOLD + 3).map(told));
        assert_eq!((state.told.len(), state.told[0].id.as_str()), (MAX_TOLD, "3"));
    }
}
