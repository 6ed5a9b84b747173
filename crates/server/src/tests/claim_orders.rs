//! The executor's queue, in small, over many orders of the steps of those who write and of the executor: a bounded queue, groups, and
//! those who give up after a while, with the file of the claim itself over an atomic of Shuttle's.
//!
//! Whatever the order: what is told to be refused is not done, what is told to be done is done, once, and everybody is told.

#[path = "../claim.rs"]
#[allow(unreachable_pub, clippy::duplicate_mod)] // it is there twice on purpose
mod claim;

/// What `claim.rs` takes from `super::sync`.
mod sync {
    pub(crate) use shuttle::sync::Arc;
    pub(crate) use shuttle::sync::atomic::{AtomicBool, Ordering};
}

use std::panic::catch_unwind;

use shuttle::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use claim::Claim;
use sync::{AtomicBool, Ordering};

/// Orders that are tried of each.
const ORDERS: usize = 4_000;

const WRITERS: usize = 3;

/// Transactions that wait, at most, and those of a group.
const QUEUE: usize = 2;
const GROUP: usize = 2;

/// How it is decided who has a transaction.
trait Decides: Clone + Default + Send + 'static {
    fn take(&self) -> bool;
}

impl Decides for Claim {
    fn take(&self) -> bool {
        Claim::take(self)
    }
}

/// Looks first and takes then, which is wrong.
#[derive(Clone, Default)]
struct InTwoSteps(Arc<AtomicBool>);

impl Decides for InTwoSteps {
    fn take(&self) -> bool {
        let free = !self.0.load(Ordering::SeqCst);
        self.0.store(true, Ordering::SeqCst);
        free
    }
}

struct Job<C> {
    number: usize,
    claim: C,
    reply: Sender<usize>,
}

/// Takes all that wait as a group, does what nobody has given up, and replies behind the group, as `node.rs` does.
fn execute<C: Decides>(waiting: &Receiver<Job<C>>, done: &Mutex<Vec<usize>>) {
    while let Ok(first) = waiting.recv() {
        let mut next = Some(first);
        let mut group = Vec::new();
        while let Some(job) = next.take() {
            if job.claim.take() {
                group.push(job);
            }
            if group.len() < GROUP {
                next = waiting.try_recv().ok();
            }
        }
        for job in &group {
            done.lock().expect("nobody panics with it").push(job.number);
        }
        for job in group {
            // Whoever asked may be gone.
            let _ = job.reply.send(job.number);
        }
    }
}

/// Asks, and gives up after as long as the scheduler likes: was it done?
fn write<C: Decides>(jobs: &SyncSender<Job<C>>, number: usize) -> bool {
    let (reply, replied) = channel();
    let claim = C::default();
    jobs.send(Job { number, claim: claim.clone(), reply }).expect("the executor is there");
    for _ in 0..2 {
        thread::yield_now();
        if let Ok(told) = replied.try_recv() {
            assert_eq!(told, number);
            return true;
        }
    }
    if claim.take() {
        return false;
    }
    // What is begun comes to an end.
    assert_eq!(replied.recv(), Ok(number), "what is begun is told");
    true
}

fn play<C: Decides>() {
    let (jobs, waiting) = sync_channel(QUEUE);
    let done: Arc<Mutex<Vec<usize>>> = Arc::default();
    let executor = {
        let done = done.clone();
        thread::spawn(move || execute::<C>(&waiting, &done))
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let jobs = jobs.clone();
            thread::spawn(move || (number, write(&jobs, number)))
        })
        .collect();
    drop(jobs);
    let mut told: Vec<usize> = Vec::new();
    for writer in writers {
        let (number, was_done) = writer.join().expect("a writer");
        told.extend(was_done.then_some(number));
    }
    executor.join().expect("the executor");
    let mut done = done.lock().expect("nobody panics with it").clone();
    done.sort_unstable();
    assert_eq!(done, told, "what is done is what was told to be");
}

#[test]
fn what_is_told_is_what_is_done_whatever_the_order() {
    shuttle::check_random(play::<Claim>, ORDERS);
    shuttle::check_pct(play::<Claim>, ORDERS, 3);
}

/// What is wrong is seen: otherwise the test above would say nothing.
#[test]
fn a_claim_in_two_steps_is_seen() {
    assert!(catch_unwind(|| shuttle::check_random(play::<InTwoSteps>, ORDERS)).is_err());
}
