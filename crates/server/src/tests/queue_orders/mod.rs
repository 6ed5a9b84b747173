//! The executor's queue over many orders of the steps of those who ask, of the executor, and of who stops it: the files of the queue and of
//! the claim themselves, over channels of which the scheduler of Shuttle decides who goes on.
//!
//! Whatever the order: each task is in one group, once, and whoever asked has its reply; or it is in none, and whoever asked is told so; and
//! everybody is told (an order in which somebody waits for ever is found as a deadlock).

mod as_it_is;
mod in_two_steps;

use std::panic::catch_unwind;

/// Orders that are tried of each.
const ORDERS: usize = 4_000;

/// How the executor comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Nobody can ask any more.
    AllHaveAsked,
    /// It is told to stop at some moment.
    Stopped,
    /// It fails behind its first group.
    Fails,
    /// It gives its replies before it does anything, and then fails, which is wrong.
    RepliesFirst,
}

#[test]
fn what_is_told_is_what_is_done_whatever_the_order() {
    for end in [End::AllHaveAsked, End::Stopped, End::Fails] {
        shuttle::check_random(move || as_it_is::play::play(end), ORDERS);
        shuttle::check_pct(move || as_it_is::play::play(end), ORDERS, 3);
    }
}

/// What is wrong is seen: otherwise the test above would say nothing.
#[test]
fn what_is_wrong_about_the_queue_is_seen() {
    let two_steps = || in_two_steps::play::play(End::AllHaveAsked);
    assert!(catch_unwind(|| shuttle::check_random(two_steps, ORDERS)).is_err(), "a claim in two steps");
    let replies_first = || as_it_is::play::play(End::RepliesFirst);
    assert!(
        catch_unwind(|| shuttle::check_random(replies_first, ORDERS)).is_err(),
        "replies before it is done"
    );
}
