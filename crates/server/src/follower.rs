//! When a server looks what others have committed to the store that it shares with them.
//!
//! The store's bell says when ([`Store::listen`](corollary_store::Store::listen)); where it has none, or as long as none can be
//! heard, the server looks by itself every now and then. Invariant: the bell decides how soon something is seen, never
//! whether; all that is told is in the store. Read next: `engine::nodes`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use corollary_engine::Engine;
use corollary_store::Bell;
use futures_util::FutureExt;
use tokio::sync::Notify;

/// How often a server looks without having heard the bell, which may be out of order.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often it looks where the store has no bell.
pub const FOLLOW_EVERY: Duration = Duration::from_millis(25);

/// How long it waits after it has looked until it looks again, however often the bell rings meanwhile: another server that
/// commits thousands of times a second is not followed as often.
pub const PAUSE: Duration = Duration::from_millis(5);

/// See the module. Nothing comes of one over a store that nobody shares.
pub struct Follower {
    shared: bool,
    every: Duration,
    looked: Instant,
    rung: Arc<Notify>,
    /// The bell, which rings as long as this is there.
    _bell: Bell,
    /// Has it rung since `looked`?
    heard: bool,
}

impl Follower {
    /// Of the store of an engine, whose bell it hangs up.
    pub fn new(engine: &Engine) -> Follower {
        let (shared, rung) = (engine.is_shared(), Arc::new(Notify::new()));
        let bell = bell(&rung);
        let listens = shared && engine.store().listen(&bell).is_ok();
        let every = if listens { LOOK_EVERY } else { FOLLOW_EVERY };
        Follower { shared, every, looked: Instant::now(), rung, _bell: bell, heard: false }
    }

    /// Is it time to look?
    pub fn is_due(&mut self) -> bool {
        self.heard |= self.rung.notified().now_or_never().is_some();
        self.shared && self.left().is_zero()
    }

    /// How long it is until then, if the bell does not ring; none where it never is.
    pub fn wait(&self) -> Option<Duration> {
        self.shared.then(|| self.left())
    }

    fn left(&self) -> Duration {
        let after = if self.heard { PAUSE } else { self.every };
        after.saturating_sub(self.looked.elapsed())
    }

    /// Waits until the bell rings.
    pub async fn rung(&mut self) {
        if self.heard {
            // It is known already, and only the pause is waited for.
            return std::future::pending().await;
        }
        self.rung.notified().await;
        self.heard = true;
    }

    /// It has been looked; what the bell says from now on is new.
    pub fn looks(&mut self) {
        (self.looked, self.heard) = (Instant::now(), false);
    }
}

/// What has been rung stays known until it is asked for.
fn bell(rung: &Arc<Notify>) -> Bell {
    let rung = rung.clone();
    Arc::new(move || rung.notify_one())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(shared: bool, every: Duration) -> Follower {
        let rung = Arc::new(Notify::new());
        let bell = bell(&rung);
        Follower { shared, every, looked: Instant::now(), rung, _bell: bell, heard: false }
    }

    #[test]
    fn it_looks_when_the_bell_has_rung_but_not_without_a_pause() {
        let mut follower = follower(true, Duration::from_secs(1_000));
        assert!(!follower.is_due() && follower.wait().is_some_and(|wait| wait > Duration::from_secs(900)));
        follower.rung.notify_one();
        follower.rung.notify_one();
        follower.is_due();
        assert!(follower.wait().is_some_and(|wait| wait <= PAUSE));
        std::thread::sleep(PAUSE);
        assert!(follower.is_due() && follower.is_due(), "until it has been looked");
        follower.looks();
        assert!(!follower.is_due(), "two rings are one look");
    }

    #[test]
    fn without_a_bell_it_looks_by_itself_and_alone_never() {
        let mut polling = follower(true, Duration::ZERO);
        assert!(polling.is_due() && polling.wait() == Some(Duration::ZERO));
        let mut alone = follower(false, Duration::ZERO);
        assert!(!alone.is_due() && alone.wait().is_none());
    }
}
