//! A client that watches a list through everything, and holds what the list is.
//!
//! It takes a commit's events in when they are all there, and after a connection that ended it goes on behind the last
//! one, at whichever server is there. [`Fold`] says where an event is told twice, or makes no sense after those before it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::Addresses;
use crate::common::watch::{Event, Fold};
use crate::common::*;

/// How long it may take from a commit until it is told, after all is healed.
const TOLD: Duration = Duration::from_secs(60);

/// Watches until a revision has been told; `until` is 0 as long as that is not known. How often it began anew, too.
pub fn watch(addresses: &Addresses, list: &str, until: &AtomicU64) -> (Fold, usize) {
    let (mut fold, mut begun, mut at) = (Fold::default(), 0, 0);
    let mut since = None;
    loop {
        let last = until.load(Ordering::SeqCst);
        if last > 0 && fold.revision >= last {
            return (fold, begun);
        }
        if last > 0 {
            let since = *since.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < TOLD, "{list} was told up to {}, and not to {last}", fold.revision);
        }
        at += 1;
        let Some(address) = addresses[at % addresses.len()].read().unwrap().clone() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let path = match fold.revision {
            0 => format!("{list}?watch=true"),
            revision => format!("{list}?watch=true&since={revision}"),
        };
        let Ok(mut watch) = Watch::try_begin(&address, &path, &[]) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        if watch.head.status != 200 {
            assert_eq!(watch.head.status, 503, "{path}");
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        begun += 1;
        follow(&mut watch, &mut fold, until);
    }
}

/// Takes in what is told, until the connection ends or enough is told.
fn follow(watch: &mut Watch, fold: &mut Fold, until: &AtomicU64) {
    let mut commit: Vec<Event> = Vec::new();
    while let Ok(event) = watch.try_next() {
        // The server is about to end it.
        if event.kind() == "error" {
            return;
        }
        assert_ne!(event.kind(), "expired", "{event:?}");
        let is_last = event.id.is_some() || matches!(event.kind(), "synced" | "bookmark");
        commit.push(event);
        if is_last {
            commit.drain(..).for_each(|event| fold.take(&event));
        }
        let last = until.load(Ordering::SeqCst);
        if last > 0 && fold.revision >= last {
            return;
        }
    }
}
