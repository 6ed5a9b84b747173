//! The suite that every backend passes, as functions over an open store.
//!
//! A backend runs all of it with one line in its tests:
//!
//! ```ignore
//! corollary_store::conformance_tests!(MySubject::fresh());
//! ```
//!
//! Invariant: a case asks the contract only ([`Store`], [`Snapshot`]), and a backend has no say in
//! which cases it runs; what depends on a feature asks [`Features`](crate::Features). Read next: [`model`], which
//! compares random histories with a sorted map.

pub mod commits;
pub mod model;
pub mod reads;
pub mod shared;
pub mod snapshots;

use std::ops::ControlFlow;

use crate::{Direction, KeyRange, Keyspace, KeyspaceSpec, Snapshot, Store};

/// A keyspace of [`KEYSPACES`].
pub const ONE: Keyspace = Keyspace(0);
/// A keyspace of [`KEYSPACES`].
pub const TWO: Keyspace = Keyspace(1);
/// What the stores under test are to be opened with.
pub const KEYSPACES: &[KeyspaceSpec] =
    &[KeyspaceSpec { keyspace: ONE, name: "one" }, KeyspaceSpec { keyspace: TWO, name: "two" }];

/// A store under test, and what it needs to live: a folder, a server.
pub trait Subject {
    /// The store, opened with [`KEYSPACES`] and empty at first.
    fn store(&self) -> &dyn Store;

    /// Closes the store and opens it again, if its data outlives that; returns whether it did.
    fn reopen(&mut self) -> bool {
        false
    }

    /// The same store opened once more, beside the first, if it is one that may be.
    fn beside(&self) -> Option<Box<dyn Store>> {
        None
    }
}

/// Makes a test of each case of the suite, over a subject given as an expression that makes a fresh one.
#[macro_export]
macro_rules! conformance_tests {
    ($fresh:expr) => {
        mod conformance_suite {
            use super::*;

            $crate::conformance_tests!(@cases $fresh;
                commits: an_empty_batch_changes_nothing, a_batch_is_all_or_nothing, conditions_compare_exactly,
                    conditions_see_the_state_before_the_batch, the_last_write_of_a_key_wins,
                    ranges_and_points_keep_their_order, delete_range_takes_every_kind_of_bound,
                    keyspaces_are_separate, what_is_past_a_limit_is_refused, conditions_prevent_lost_updates,
                    commits_and_conflicts_are_counted, commits_outlive_a_restart;
                reads: scans_are_ordered_and_bounded, scans_stop_when_told, a_visitor_may_read,
                    get_many_answers_in_order, empty_keys_and_values_are_values, large_values_come_back,
                    long_keys_come_back, unknown_keyspaces_are_refused;
                shared: writers_beside_each_other_lose_nothing, of_two_that_rely_on_each_other_one_commits,
                    what_must_not_be_there_comes_once, readers_beside_writers_see_whole_commits_in_order,
                    a_bell_rings_for_the_commits_of_others, who_has_the_turn_is_not_overtaken,
                    a_turn_ends_with_a_commit_or_without,
                    what_is_read_with_a_turn_is_what_its_commit_goes_by;
                snapshots: a_snapshot_sees_no_later_commit, snapshots_of_several_moments,
                    a_snapshot_moves_between_threads, readers_never_see_half_a_commit;
            );

            #[test]
            fn random_histories_match_the_model() {
                $crate::conformance::model::random_histories_match_the_model(&|| Box::new($fresh));
            }
        }
    };
    (@cases $fresh:expr; $($module:ident: $($case:ident),+;)+) => {
        $($(
            #[test]
            fn $case() {
                $crate::conformance::$module::$case(&mut $fresh);
            }
        )+)+
    };
}
pub use conformance_tests;

/// Entries as they come out of a scan.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

fn scan(
    snapshot: &dyn Snapshot,
    keyspace: Keyspace,
    range: &KeyRange,
    direction: Direction,
    limit: usize,
) -> Entries {
    let mut found = Vec::new();
    snapshot
        .scan(keyspace, range, direction, limit, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .expect("a scan succeeds");
    if limit == usize::MAX {
        let mut keys = found.iter().map(|(key, _)| key);
        snapshot
            .scan_keys(keyspace, range, direction, &mut |key| {
                assert_eq!(keys.next().map(Vec::as_slice), Some(key), "{range:?}, the keys alone");
                ControlFlow::Continue(())
            })
            .expect("a scan of keys succeeds");
        assert_eq!(keys.next(), None, "{range:?}, the keys alone");
    }
    found
}

/// Everything in a keyspace, now.
fn contents(store: &dyn Store, keyspace: Keyspace) -> Entries {
    let snapshot = store.snapshot().expect("a snapshot opens");
    scan(&*snapshot, keyspace, &KeyRange::all(), Direction::Forward, usize::MAX)
}

/// The value of a key, now.
fn get(store: &dyn Store, keyspace: Keyspace, key: &[u8]) -> Option<Vec<u8>> {
    store.snapshot().expect("a snapshot opens").get(keyspace, key).expect("a get succeeds")
}

fn entries<const N: usize>(expected: [(&str, &str); N]) -> Entries {
    expected.map(|(key, value)| (key.into(), value.into())).into()
}
