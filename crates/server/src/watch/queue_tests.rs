//! The queue of a connection, by one thread.

use std::sync::Arc;

use super::published::{Delivery, Published};
use super::queue::*;

fn delivery(bytes: usize) -> Arc<Delivery> {
    let mut delivery = Delivery::new(Arc::new(Published::as_of(1)), Vec::new());
    delivery.bytes = bytes;
    Arc::new(delivery)
}

fn taken(queue: &mut Queue) -> Vec<(u64, &'static str)> {
    let mut taken = Vec::new();
    while let Some((number, handed)) = queue.at_hand() {
        taken.push((
            number,
            match handed {
                Handed::Told(_) => "told",
                Handed::Missed(_) => "missed",
                Handed::Failed(_) => "failed",
                Handed::Ended => "ended",
            },
        ));
    }
    taken
}

#[test]
fn what_waits_for_a_watch_has_a_bound_in_commits() {
    let mut queue = Queue::default();
    let entrance = queue.entrance();
    assert!((0..WATCH_QUEUE_COMMITS).all(|_| entrance.hand(1, delivery(1))));
    assert!(entrance.hand(2, delivery(1)), "another watch has room of its own");
    assert!(!entrance.hand(1, delivery(1)));
    assert_eq!(taken(&mut queue), [(2, "told"), (1, "missed")], "what waited for it is dropped");
}

/// What waits was bounded in commits only: 1,024 commits of resources of a megabyte are a gigabyte for each slow watch.
#[test]
fn what_waits_for_a_watch_has_a_bound_in_bytes() {
    let mut queue = Queue::default();
    let entrance = queue.entrance();
    assert!(entrance.hand(1, delivery(10 * WATCH_QUEUE_BYTES)), "one has room, however large it is");
    assert!(!entrance.hand(1, delivery(1)));
    assert_eq!(taken(&mut queue), [(1, "missed")]);
    for _ in 0..4 {
        assert!(entrance.hand(1, delivery(WATCH_QUEUE_BYTES / 4)));
    }
    assert_eq!(queue.at_hand().map(|(number, _)| number), Some(1));
    assert!(entrance.hand(1, delivery(WATCH_QUEUE_BYTES / 4)), "what was taken out makes room");
    assert!(!entrance.hand(1, delivery(1)));
}

#[test]
fn all_watches_of_a_connection_have_one_bound_together() {
    let mut queue = Queue::default();
    let entrance = queue.entrance();
    let most = CONNECTION_QUEUE_BYTES / WATCH_QUEUE_BYTES;
    for number in 0..most as u64 {
        assert!(entrance.hand(number, delivery(WATCH_QUEUE_BYTES / 2)));
        assert!(entrance.hand(number, delivery(WATCH_QUEUE_BYTES / 2)));
    }
    let next = most as u64;
    assert!(entrance.hand(next, delivery(1)), "one for each");
    assert!(!entrance.hand(next, delivery(1)), "but no more");
    let taken = taken(&mut queue);
    assert_eq!((taken.len(), taken.last()), (2 * most + 1, Some(&(next, "missed"))));
}

#[test]
fn nothing_is_handed_to_who_has_gone() {
    let queue = Queue::default();
    let entrance = queue.entrance();
    let kept = delivery(1);
    assert!(entrance.hand(1, kept.clone()));
    drop(queue);
    assert_eq!(Arc::strong_count(&kept), 1, "what waited is dropped");
    assert!(!entrance.hand(1, kept.clone()));
    entrance.end(1, Handed::Ended);
    assert_eq!(Arc::strong_count(&kept), 1);
}
