//! Delivers what one hook is about, as long as it has the lease.
//!
//! What it did is kept a few times in a second, not with each event: an end in between has the receiver told again of what it has taken.
//! A letter is kept before the cursor passes its event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use corollary_engine::EngineError;
use corollary_engine::records::Records;
use hashbrown::HashSet;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::follow::{Came, Source};
use super::hook::Hook;
use super::lanes::{Event, Lanes};
use super::letters::{self, LETTER, Letter};
use super::manager::Counts;
use super::send::{Answer, Outcome};
use super::state::{LEASE, State, Told};
use super::target::{Target, Way};
use super::{MAX_LETTERS, MAX_TOLD};
use crate::site::Site;

/// Events that wait to be delivered, at most; beyond them the log is read no further. A commit is read as a whole.
pub const MAX_WAITING: usize = 1_024;

/// How often what was done is kept.
const KEEP_EVERY: Duration = Duration::from_millis(250);

/// So many attempts in a row failed: until one succeeds there is one at a time.
const FAILING: u32 = 5;

/// Letters that are read at a time.
const LETTERS_AT_A_TIME: usize = 256;

/// One hook on its way.
pub struct Worker {
    site: Site,
    hook: Arc<Hook>,
    target: Target,
    way: Way,
    counts: Counts,
    /// The number of its lease.
    token: u64,
    lanes: Lanes,
    /// Attempts that failed since the last that did not.
    failing: u32,
    done: Done,
    /// When the lease was renewed last.
    renewed: Instant,
    /// Letters that are on their way.
    again: HashSet<Vec<u8>>,
    /// Letters that are kept, as far as is known.
    letters: u64,
    problem: Option<String>,
}

/// What was done since it was kept last.
#[derive(Clone, Debug, Default)]
struct Done {
    told: Vec<Told>,
    delivered: u64,
    failures: u64,
    success: Option<Timestamp>,
    letters: Vec<Arc<Letter>>,
    /// Letters that were taken.
    taken: Vec<Vec<u8>>,
    skipped: Option<(u64, u64)>,
    /// The receiver wants no more.
    gone: bool,
    changed: bool,
}

/// What is known when it was kept.
struct Kept {
    again: bool,
    letters: u64,
}

impl Worker {
    /// With the lease of that number, from the state as it was when the lease was taken.
    pub fn new(site: Site, hook: Arc<Hook>, way: Way, counts: Counts, token: u64, state: &State) -> Worker {
        let target = Target::parse(&hook.url).unwrap_or(Target::Http);
        let lanes = Lanes::new(state.cursor, target.is_in_order());
        Worker {
            site,
            target,
            way,
            counts,
            token,
            lanes,
            hook,
            failing: 0,
            done: Done { changed: true, ..Done::default() },
            renewed: Instant::now(),
            again: HashSet::new(),
            letters: state.letters,
            problem: None,
        }
    }

    /// Delivers until it is told to stop, or somebody else has the lease, or the hook is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut source = Source::new(self.site.clone(), self.hook.clone(), self.lanes.read());
        let mut sends: JoinSet<(Vec<Event>, Outcome)> = JoinSet::new();
        let mut kept = Instant::now();
        // Of an earlier run: they are asked for still.
        let mut look_for_letters = true;
        loop {
            while sends.len() < self.at_once() {
                let events = self.lanes.next(Instant::now(), self.target.at_a_time());
                if events.is_empty() {
                    break;
                }
                let (way, hook) = (self.way.clone(), self.hook.clone());
                sends.spawn(async move {
                    let outcome = way.deliver(&hook, &events).await;
                    (events, outcome)
                });
            }
            let due = self.lanes.due().filter(|_| sends.len() < self.at_once());
            let keep_at = if self.done.changed { kept + KEEP_EVERY } else { kept + LEASE / 4 };
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                Some(sent) = sends.join_next(), if !sends.is_empty() => {
                    // One that panicked or was cut off has no outcome, and its lane would stand still: begin anew.
                    let Ok((events, outcome)) = sent else { break };
                    self.came(&events, outcome);
                }
                () = sleep_until(keep_at) => {
                    match self.keep(false).await {
                        Ok(Some(told)) => {
                            self.letters = told.letters;
                            look_for_letters |= told.again;
                            if self.done.gone {
                                break;
                            }
                        }
                        // Somebody else has it, or it is gone.
                        Ok(None) => return,
                        // The store is away for now; what was done is known still.
                        Err(()) => {}
                    }
                    kept = Instant::now();
                    if look_for_letters && self.lanes.len() < MAX_WAITING {
                        look_for_letters = self.send_again();
                    }
                }
                came = source.next(), if self.lanes.len() < MAX_WAITING => self.read(came),
                () = sleep_until(due.unwrap_or(keep_at)), if due.is_some() => {}
            }
        }
        drop(sends);
        // Another node goes on at once; where this cannot be kept, it does when the lease has ended.
        let _ = self.keep(true).await;
    }

    /// Deliveries at a time.
    fn at_once(&self) -> usize {
        // Somebody else may have the lease by now.
        let unsure =
            self.site.current().node.engine().is_shared() && self.renewed.elapsed() >= LEASE * 9 / 10;
        match () {
            () if unsure || self.done.gone => 0,
            () if self.failing >= FAILING => 1,
            () => self.hook.parallel,
        }
    }

    fn read(&mut self, came: Came) {
        let problem = match came {
            Came::Commit(revision, events) => {
                self.done.changed |= revision > self.lanes.read();
                self.lanes.commit(revision, events);
                None
            }
            Came::Skipped(from, to) => {
                self.done.skipped = Some((from, to));
                let event = Event {
                    id: format!("{}-{to}-expired", self.hook.id),
                    revision: to,
                    path: "".into(),
                    body: Bytes::from(format!(
                        "{{\"type\":\"expired\",\"revision\":\"{to}\",\"after\":\"{from}\"}}"
                    )),
                    attempts: 0,
                    first: None,
                    letter: None,
                };
                self.lanes.commit(to, [event]);
                None
            }
            Came::Problem(problem) => Some(problem),
        };
        if self.problem != problem {
            self.problem = problem;
            self.done.changed = true;
        }
    }

    /// An attempt has come to its end.
    fn came(&mut self, events: &[Event], outcome: Outcome) {
        let [event, ..] = events else { return };
        let Outcome { told, answer } = outcome;
        self.done.changed = true;
        let error = told.error.clone().unwrap_or_default();
        for event in events {
            self.counts.attempt(&self.hook.id, answer == Answer::Taken);
            self.done.told.push(Told { id: event.id.clone(), attempt: event.attempts, ..told.clone() });
        }
        // What a store that is away cannot take is not kept for ever.
        let surplus = self.done.told.len().saturating_sub(MAX_TOLD);
        self.done.told.drain(..surplus);
        let now = Instant::now();
        match answer {
            Answer::Taken => {
                self.failing = 0;
                self.done.delivered += events.len() as u64;
                self.done.success = Some(Timestamp::now());
                for letter in events.iter().filter_map(|event| event.letter.as_ref()) {
                    self.done.taken.push(letter.clone());
                    self.again.remove(letter);
                }
                self.lanes.done(&event.path, events.len());
            }
            Answer::Gone => {
                self.done.failures += 1;
                self.done.gone = true;
            }
            Answer::Failed(leave) => {
                self.failing += 1;
                self.done.failures += events.len() as u64;
                let rest = self.hook.retry.rest(event.attempts, fastrand::f64());
                let rest = leave.map_or(rest, |leave| rest.max(leave));
                let given_up = self.target.gives_up()
                    && event.first.is_some_and(|first| now + rest > first + self.hook.retry.give_up());
                let room = self.letters + (self.done.letters.len() as u64) < MAX_LETTERS;
                if given_up && (room || event.letter.is_some()) {
                    if let Some(letter) = &event.letter {
                        self.again.remove(letter);
                    }
                    self.done.letters.push(Arc::new(Letter::new(event, error, Timestamp::now())));
                    self.lanes.done(&event.path, 1);
                } else {
                    if given_up {
                        self.problem = Some(format!(
                            "{MAX_LETTERS} letters are kept: have some sent again, or drop them, and it goes on"
                        ));
                    }
                    self.lanes.failed(&event.path, now + rest);
                }
            }
        }
    }

    /// Keeps what was done, and has the lease for longer, or no more; none where it is not this worker's.
    async fn keep(&mut self, release: bool) -> Result<Option<Kept>, ()> {
        let node = self.site.current().node.clone();
        let (done, hook, token) = (self.done.clone(), self.hook.id.clone(), self.token);
        let (cursor, problem) = (self.lanes.cursor(), self.problem.clone());
        let begun = Instant::now();
        let alone = !node.engine().is_shared();
        let step = move |records: &mut Records<'_>| -> Result<Option<Kept>, EngineError> {
            let Some(mut state) = State::load(records, &hook)? else { return Ok(None) };
            if !state.renew(token, alone, records.now()) {
                return Ok(None);
            }
            let idle = !done.changed && !state.again;
            if idle && alone && !release {
                return Ok(Some(Kept { again: false, letters: state.letters }));
            }
            state.cursor = state.cursor.max(cursor);
            state.delivered += done.delivered;
            state.failures += done.failures;
            state.success = done.success.or(state.success);
            state.skipped = done.skipped.or(state.skipped);
            state.problem.clone_from(&problem);
            state.tell(done.told.iter().cloned());
            for letter in &done.letters {
                state.letters += u64::from(letter.keep(records, &hook)?);
            }
            for key in &done.taken {
                if records.get(LETTER, key)?.is_some() {
                    records.delete(LETTER, key);
                    state.letters = state.letters.saturating_sub(1);
                }
            }
            if done.gone
                && let Some(mut gone) = Hook::load(records, &hook)?
            {
                gone.paused = true;
                gone.changed = records.now();
                gone.keep(records);
            }
            let again = std::mem::take(&mut state.again);
            if release {
                state.lease = None;
            }
            state.keep(records, &hook);
            Ok(Some(Kept { again, letters: state.letters }))
        };
        let kept = node.records(step).await.map_err(drop)?;
        if kept.is_some() {
            self.renewed = begun;
            self.done = Done { gone: self.done.gone, ..Done::default() };
        }
        Ok(kept)
    }

    /// Has letters sent that somebody wants to be sent again; true where there may be more.
    fn send_again(&mut self) -> bool {
        let node = self.site.current().node.clone();
        let mut after: Option<Vec<u8>> = None;
        let mut found: Vec<(Vec<u8>, Letter)> = Vec::new();
        let room = MAX_WAITING - self.lanes.len().min(MAX_WAITING);
        while found.len() < room {
            let read = tokio::task::block_in_place(|| {
                node.engine().records(Timestamp::now(), |records| {
                    letters::list(records, &self.hook.id, after.as_deref(), LETTERS_AT_A_TIME)
                })
            });
            // The store is away for now.
            let Ok(page) = read else { return true };
            let last = page.last().map(|(key, _)| key.clone());
            let wanted = |(key, letter): &(Vec<u8>, Letter)| letter.again && !self.again.contains(key);
            found.extend(page.into_iter().filter(wanted));
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        let more = found.len() >= room;
        for (key, letter) in found {
            self.again.insert(key.clone());
            self.lanes.again(Event {
                id: letter.id,
                revision: letter.revision,
                path: letter.path.into(),
                body: Bytes::from(letter.event.get().to_owned()),
                attempts: 0,
                first: None,
                letter: Some(key),
            });
        }
        more
    }
}
