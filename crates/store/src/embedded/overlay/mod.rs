//! What is committed and not yet in SQLite.
//!
//! ```text
//! commit -> active -> (freeze) -> frozen -> (apply, in one SQLite transaction) -> SQLite
//! ```
//!
//! The state after commit `N` is what SQLite has, overlaid by `frozen`, overlaid by `active`, as long as SQLite has no
//! commit after `N`: what it has already of the layers is there in the same or an older version. Whoever reads takes the
//! layers first and SQLite's state second, and looks whether that is not newer.
//!
//! Before it is in `active` a commit is `staged`: settled, and not durable. Only the tip of the store shows it, over the others.
//!
//! Invariant: `sequence` is not less than what SQLite has, and every commit up to it is in a layer or in SQLite. Only the
//! committer whose turn it is stages, and what is staged comes to `active` next; only the applier moves it to `frozen`, and gives that up when SQLite has
//! it. Read next: [`layer`], then [`applier`](super::applier).

mod arena;
mod heads;
mod layer;
mod probe;
mod staged;
mod tree;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

pub(super) use arena::Entry;
pub(super) use layer::{Addition, Frozen, Layer, View};
pub(super) use staged::Staged;
pub(super) use tree::Range;

use super::EmbeddedOptions;
use crate::{Keyspace, StoreError};

/// A commit of more points is put into a copy of the layer, so that snapshots do not wait for it.
const POINTS_IN_PLACE: usize = 1_000;

/// The layers as they were at one moment.
#[derive(Clone, Default)]
pub(super) struct Layers {
    /// What is not durable yet; only the tip shows it.
    pub(super) staged: Option<Arc<Staged>>,
    pub(super) active: View,
    pub(super) frozen: View,
    /// The last commit in them that is durable.
    pub(super) sequence: u64,
}

impl Layers {
    /// What they know of a key: its value, or that it is deleted (`Some(None)`), or nothing.
    pub(super) fn get(&self, keyspace: Keyspace, key: &[u8]) -> Option<Option<&[u8]>> {
        let staged = self.staged.as_ref().and_then(|staged| staged.view().get(keyspace, key));
        staged.or_else(|| self.active.get(keyspace, key)).or_else(|| self.frozen.get(keyspace, key))
    }
}

struct State {
    staged: Option<Arc<Staged>>,
    active: Layer,
    /// When the first commit came into `active`.
    since: Option<Instant>,
    frozen: Option<Frozen>,
    sequence: u64,
    /// Set while a copy of `active` is made that will replace it.
    copying: bool,
    /// Pages by which the data file may still grow, without what is in the layers.
    free_pages: u64,
    /// Why `frozen` could not be applied.
    trouble: Option<StoreError>,
    /// Apply everything at once, because somebody waits for it.
    hurry: bool,
    /// Look after the journal.
    upkeep: bool,
    closed: bool,
}

impl State {
    fn layers(&self) -> Layers {
        let frozen = self.frozen.as_ref().map(|frozen| frozen.view.clone()).unwrap_or_default();
        Layers { staged: None, active: self.active.view(), frozen, sequence: self.sequence }
    }
}

/// What the applier is to do next.
pub(super) enum Work {
    Apply(Frozen),
    /// Look after the journal.
    Upkeep,
    Close,
}

/// Tells why nothing is applied any more, if that is so.
pub(super) type Stopped<'a> = dyn Fn() -> Result<(), StoreError> + 'a;

pub(super) struct Overlay {
    state: Mutex<State>,
    /// For the applier: there is something to do.
    work: Condvar,
    /// For committers: something has been done.
    done: Condvar,
    layer_bytes: u64,
    apply_bytes: u64,
    apply_interval: Duration,
}

impl Overlay {
    /// Nothing over what SQLite has, which is everything up to commit `applied`.
    pub(super) fn new(options: &EmbeddedOptions, applied: u64, free_pages: u64) -> Self {
        let state = State {
            staged: None,
            active: Layer::default(),
            since: None,
            frozen: None,
            sequence: applied,
            copying: false,
            free_pages,
            trouble: None,
            hurry: false,
            upkeep: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            layer_bytes: options.overlay_bytes,
            apply_bytes: options.apply_bytes.min(options.overlay_bytes),
            apply_interval: options.apply_interval,
        }
    }

    /// The layers of now, without what is staged.
    pub(super) fn layers(&self) -> Layers {
        self.state.lock().layers()
    }

    /// The layers of now, and what is staged over them.
    pub(super) fn tip(&self) -> Layers {
        let state = self.state.lock();
        Layers { staged: state.staged.clone(), ..state.layers() }
    }

    /// The last commit.
    pub(super) fn sequence(&self) -> u64 {
        self.state.lock().sequence
    }

    /// Waits until a commit that counts for `bytes` may be added. To be called by the committer whose turn it is.
    /// `stopped` is asked again and again why that makes no sense any more.
    pub(super) fn wait_for_room(&self, bytes: u64, stopped: &Stopped<'_>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        while !state.active.is_empty() && state.active.bytes() + bytes > self.layer_bytes {
            self.wait(&mut state, stopped)?;
        }
        Ok(())
    }

    /// How full the layer is that takes up commits, from 0 to 1, while it waits for another one to be put into SQLite. Where that
    /// fails nothing is gained by waiting, and a commit tells why.
    pub(super) fn pressure(&self) -> f32 {
        let state = self.state.lock();
        match state.frozen {
            Some(_) if state.trouble.is_none() => {
                (state.active.bytes() as f32 / self.layer_bytes as f32).min(1.0)
            }
            _ => 0.0,
        }
    }

    /// Waits until everything is in SQLite. To be called by the committer whose turn it is.
    pub(super) fn drain(&self, stopped: &Stopped<'_>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        while !state.active.is_empty() || state.frozen.is_some() {
            self.wait(&mut state, stopped)?;
        }
        Ok(())
    }

    /// Lets the applier hurry, and waits for what it does.
    fn wait(&self, state: &mut MutexGuard<'_, State>, stopped: &Stopped<'_>) -> Result<(), StoreError> {
        stopped()?;
        if let Some(trouble) = &state.trouble {
            // It goes on trying by itself.
            return Err(trouble.clone());
        }
        state.hurry = true;
        self.work.notify_one();
        self.done.wait(state);
        Ok(())
    }

    /// Pages by which the data file may still grow when all is applied.
    pub(super) fn free_pages(&self) -> u64 {
        let state = self.state.lock();
        let promised = state.active.pages() + state.frozen.as_ref().map_or(0, |frozen| frozen.pages());
        state.free_pages.saturating_sub(promised)
    }

    /// Waits until nothing is staged. To be called by the committer whose turn it is.
    pub(super) fn wait_for_staged(&self, stopped: &Stopped<'_>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        loop {
            stopped()?;
            if state.staged.is_none() {
                return Ok(());
            }
            self.done.wait(&mut state);
        }
    }

    /// Takes up a commit that is settled, for the tip. To be called by the committer whose turn it is, while nothing is staged.
    pub(super) fn stage(&self, staged: Arc<Staged>) {
        let before = self.state.lock().staged.replace(staged);
        assert!(before.is_none(), "one commit is staged at a time");
    }

    /// Gives up what is staged, if anything is. Returns whether it was.
    pub(super) fn abandon(&self) -> bool {
        self.state.lock().staged.take().is_some()
    }

    /// Shows to all what is staged, which is durable now. `false` where it was given up.
    pub(super) fn publish(&self, staged: &Arc<Staged>) -> bool {
        let mut entries = staged.entries.clone();
        let mut addition = staged.addition(&mut entries);
        let mut state = self.state.lock();
        let is_staged = |state: &State| state.staged.as_ref().is_some_and(|now| Arc::ptr_eq(now, staged));
        if !is_staged(&state) {
            return false;
        }
        let replaced = if addition.entries.len() > POINTS_IN_PLACE {
            state.copying = true;
            let mut copy = state.active.fork();
            MutexGuard::unlocked(&mut state, || copy.add(&mut addition));
            state.copying = false;
            if !is_staged(&state) {
                return false;
            }
            Some(std::mem::replace(&mut state.active, copy))
        } else {
            state.active.add(&mut addition);
            None
        };
        state.sequence = staged.sequence;
        state.staged = None;
        self.done.notify_all();
        let first = state.since.is_none();
        state.since.get_or_insert_with(Instant::now);
        if first || replaced.is_some() || state.active.bytes() >= self.apply_bytes {
            self.work.notify_one();
        }
        drop(state);
        // Which may free many nodes.
        drop(replaced);
        true
    }

    /// Notes that SQLite has, or is about to have, the commit `sequence`, which is in no layer, or that it has it not
    /// after all. To be called by the committer whose turn it is, while the layers are empty.
    pub(super) fn set_sequence(&self, sequence: u64) {
        self.state.lock().sequence = sequence;
    }

    /// Notes by how many pages the data file may grow.
    pub(super) fn set_free_pages(&self, pages: u64) {
        self.state.lock().free_pages = pages;
    }

    /// Has the applier look after the journal.
    pub(super) fn ask_for_upkeep(&self) {
        self.state.lock().upkeep = true;
        self.work.notify_one();
    }

    /// Lets the applier end.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_one();
    }

    /// Wakes the committers that wait, because the store has stopped.
    pub(super) fn give_up(&self) {
        // Under the lock, so that none is between its look and its wait.
        let _state = self.state.lock();
        self.done.notify_all();
    }

    /// Has everything applied, without waiting for it.
    #[cfg(test)]
    pub(super) fn hurry(&self) {
        self.state.lock().hurry = true;
        self.work.notify_one();
    }

    /// Waits for something to do. To be called by the applier.
    pub(super) fn next(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Work::Close;
            }
            if std::mem::take(&mut state.upkeep) {
                return Work::Upkeep;
            }
            if let Some(frozen) = self.freeze(&mut state) {
                return Work::Apply(frozen);
            }
            let due = state.since.and_then(|since| since.checked_add(self.apply_interval));
            match due {
                Some(due) if !state.copying => drop(self.work.wait_until(&mut state, due)),
                _ => self.work.wait(&mut state),
            }
        }
    }

    /// The layer to be applied, if it is time.
    fn freeze(&self, state: &mut State) -> Option<Frozen> {
        if state.frozen.is_none() && !state.copying && !state.active.is_empty() {
            let due = state.since.is_some_and(|since| since.elapsed() >= self.apply_interval);
            if due || state.hurry || state.active.bytes() >= self.apply_bytes {
                return Some(self.freeze_now(state));
            }
        }
        None
    }

    fn freeze_now(&self, state: &mut State) -> Frozen {
        let layer = std::mem::take(&mut state.active);
        state.since = None;
        let frozen = layer.freeze(state.sequence);
        state.frozen = Some(frozen.clone());
        // There is room again in the active layer.
        self.done.notify_all();
        frozen
    }

    /// Everything that is not in SQLite yet, as one layer after the other, to be applied while the store is closed.
    pub(super) fn rest(&self) -> Vec<Frozen> {
        let mut state = self.state.lock();
        let mut rest: Vec<Frozen> = state.frozen.iter().cloned().collect();
        if !state.active.is_empty() {
            rest.push(self.freeze_now(&mut state));
        }
        rest
    }

    /// Notes that the frozen layer is in SQLite, and by how many pages the data file may grow now.
    pub(super) fn applied(&self, free_pages: u64) {
        let mut state = self.state.lock();
        let given_up = state.frozen.take();
        state.free_pages = free_pages;
        state.trouble = None;
        // Those who wait for all of it set it again.
        state.hurry = false;
        self.done.notify_all();
        drop(state);
        drop(given_up);
    }

    /// Notes that the frozen layer could not be applied, and waits before the next try. Returns whether to try again.
    pub(super) fn failed(&self, trouble: StoreError, pause: Duration) -> bool {
        let mut state = self.state.lock();
        state.trouble = Some(trouble);
        self.done.notify_all();
        let until = Instant::now() + pause;
        while !state.closed && !self.work.wait_until(&mut state, until).timed_out() {}
        !state.closed
    }
}
