//! The queue of a connection over many orders of the steps of those who hand over and of who takes out: the file of the queue itself, over
//! locks of which the scheduler of Shuttle decides who has them.
//!
//! Whatever the order: each watch is handed its deliveries in their order, none twice; one that is not cut off gets all; behind the
//! last word comes nothing; and who waits is woken (an order in which nobody goes on is found as a deadlock).

#[path = "queue.rs"]
#[allow(dead_code, unreachable_pub, clippy::duplicate_mod)]
// it is there twice on purpose, and not all of it is used here
mod queue;

use super::published;
use crate::tests::sync;

use std::collections::BTreeMap;
use std::sync::Arc;

use shuttle::thread;

use published::{Delivery, Published};
use queue::{Handed, Queue, WATCH_QUEUE_BYTES};

/// Orders that are tried of each.
const ORDERS: usize = 2_000;

/// Commits that each watch is told of.
const COMMITS: usize = 3;

/// Watches, each handed to by a thread of its own.
const WATCHES: u64 = 3;

/// What is told at a commit; its size says which one it is.
fn delivery(number: usize, bytes: usize) -> Arc<Delivery> {
    let mut delivery = Delivery::new(Arc::new(Published::as_of(1)), Vec::new());
    delivery.bytes = bytes + number;
    Arc::new(delivery)
}

/// Hands over and takes out; which deliveries each watch got, and whether it was cut off.
fn play(bytes: usize) -> BTreeMap<u64, (Vec<usize>, bool)> {
    let mut queue = Queue::default();
    let entrance = queue.entrance();
    let tellers: Vec<_> = (1..=WATCHES)
        .map(|watch| {
            let entrance = entrance.clone();
            thread::spawn(move || {
                for number in 0..COMMITS {
                    if !entrance.hand(watch, delivery(number, bytes)) {
                        // It has been told that it has missed something.
                        return;
                    }
                    thread::yield_now();
                }
                entrance.end(watch, Handed::Ended);
            })
        })
        .collect();
    let mut got: BTreeMap<u64, (Vec<usize>, bool)> = BTreeMap::new();
    let mut open = WATCHES;
    while open > 0 {
        let (watch, handed) = shuttle::future::block_on(queue.next());
        let (numbers, cut_off) = got.entry(watch).or_default();
        match handed {
            Handed::Told(delivery) => numbers.push(delivery.bytes - bytes),
            Handed::Missed(_) => {
                *cut_off = true;
                open -= 1;
            }
            Handed::Ended => open -= 1,
            Handed::Failed(why) => panic!("{why}"),
        }
    }
    tellers.into_iter().for_each(|teller| teller.join().expect("it hands over"));
    assert!(queue.at_hand().is_none(), "behind the last word comes nothing");
    got
}

fn check(bytes: usize) {
    for (watch, (numbers, cut_off)) in play(bytes) {
        let in_order: Vec<usize> = (0..numbers.len()).collect();
        assert_eq!(numbers, in_order, "watch {watch}");
        assert!(cut_off || numbers.len() == COMMITS, "watch {watch} got {numbers:?} and was not cut off");
    }
}

#[test]
fn all_is_handed_over_in_order_whatever_the_order_of_threads() {
    // With room for all, and for one delivery of a watch.
    for bytes in [1, WATCH_QUEUE_BYTES - COMMITS] {
        shuttle::check_random(move || check(bytes), ORDERS);
        shuttle::check_pct(move || check(bytes), ORDERS, 3);
    }
}

/// Some orders cut a watch off, and some do not: the test above has tried both.
#[test]
fn both_ends_are_met() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (cut, whole) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (cut.clone(), whole.clone());
    let bytes = WATCH_QUEUE_BYTES - COMMITS;
    let counted = move || {
        for (_, cut_off) in play(bytes).into_values() {
            let count = if cut_off { &counts.0 } else { &counts.1 };
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    shuttle::check_random(counted, ORDERS);
    assert!(cut.load(Ordering::Relaxed) > 0 && whole.load(Ordering::Relaxed) > 0, "{cut:?} {whole:?}");
}
