//! Some ask and the executor does it, in small; then what was told is compared with what was done.

use std::time::Duration;

use shuttle::future::block_on;
use shuttle::sync::{Arc, Mutex};
use shuttle::thread;

use super::queue::{Group, Job, Limits, Refused, ask};
use super::sync::mpsc::{Receiver, channel};
use crate::tests::queue_orders::End;

/// Who ask, each for two tasks.
const WRITERS: usize = 3;

/// Tasks that wait, at most, and those of a group; and what a group may weigh.
const QUEUE: usize = 2;
const GROUP: usize = 3;
const WEIGHT: usize = 4;

/// A task is a number, which is told when it is done; what is no task says that it was done.
type OneJob = Job<usize, usize, Arc<Mutex<usize>>>;

fn weight_of(task: &usize) -> usize {
    1 + task % 2
}

/// As `node.rs` does; the groups.
fn execute(mut waiting: Receiver<OneJob>, end: End) -> Vec<Vec<usize>> {
    let mut groups = Vec::new();
    let limits = Limits { tasks: GROUP, weight: WEIGHT };
    while let Some(job) = waiting.blocking_recv() {
        let mut group = Group::default();
        let gathered: Result<(), ()> = group.gather(job, &mut waiting, limits, weight_of, |other| {
            *other.lock().expect("nobody panics with it") += 1;
            Ok(())
        });
        gathered.expect("nothing fails");
        if end != End::RepliesFirst {
            groups.push(group.tasks.clone());
        }
        for (task, reply) in group.tasks.iter().zip(group.replies.drain(..)) {
            // Whoever asked may be gone.
            let _ = reply.send(*task);
        }
        if matches!(end, End::Fails | End::RepliesFirst) {
            break;
        }
    }
    groups
}

pub(crate) fn play(end: End) {
    let (jobs, waiting) = channel(QUEUE);
    let executor = thread::spawn(move || execute(waiting, end));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let jobs = jobs.clone();
            thread::spawn(move || {
                let told = [2 * writer, 2 * writer + 1].map(|task| {
                    let outcome = block_on(ask(&jobs, task, Duration::from_secs(1)));
                    (task, outcome)
                });
                told.to_vec()
            })
        })
        .collect();
    let others = Arc::new(Mutex::new(0));
    let chore_was_taken = block_on(jobs.send(Job::Other(others.clone()))).is_ok();
    if end == End::Stopped {
        // An error is an executor that has ended already.
        let _ = block_on(jobs.send(Job::Stop));
    }
    drop(jobs);
    let told: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().expect("a writer")).collect();
    let groups = executor.join().expect("the executor");
    for group in &groups {
        let weights: Vec<usize> = group.iter().map(weight_of).collect();
        let before_last: usize = weights.iter().rev().skip(1).sum();
        assert!(group.len() <= GROUP && before_last < WEIGHT, "{group:?} is too large");
    }
    let done: Vec<usize> = groups.into_iter().flatten().collect();
    for (task, outcome) in told {
        let times = done.iter().filter(|one| **one == task).count();
        match outcome {
            Ok(reply) => assert_eq!((reply, times), (task, 1), "{task} was told to be done"),
            Err(refused) => {
                assert_eq!(times, 0, "{task} was told to be refused: {refused:?}");
                let may_stop = end != End::AllHaveAsked;
                assert!(may_stop || refused != Refused::Stopped, "nobody stopped it");
            }
        }
    }
    let chores = *others.lock().expect("nobody panics with it");
    assert!(chores <= 1 && (chore_was_taken || chores == 0), "{chores}");
    assert!(chores == 1 || end != End::AllHaveAsked, "what is no task is done, too");
}
