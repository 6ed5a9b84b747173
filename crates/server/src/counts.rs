//! What the thread of the executor has done since it began, counted as it goes: for `/metrics`.

use std::time::Duration;

use corollary_engine::Committed;
use corollary_engine::EngineError;
use corollary_engine::propagate::Work;
use corollary_engine::updates::Progress;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// See the module. A copy counts on the same.
#[derive(Clone, Debug)]
pub struct Counts {
    /// Transactions of each group.
    group_transactions: Histogram,
    /// How long each group took, from its beginning until it was durable.
    group_seconds: Histogram,
    transactions: Counter,
    refused: Counter,
    commits: Counter,
    evaluations: Counter,
    derived: Counter,
    rows_read: Counter,
    rows_written: Counter,
    update_steps: Counter,
    update_failures: Counter,
    update_visited: Counter,
    update_seconds: Histogram,
    /// Files that were received, and sent: as a whole or in part.
    files_received: Counter,
    file_bytes_received: Counter,
    files_sent: Counter,
    file_bytes_sent: Counter,
}

/// Buckets of durations: from half a millisecond to 16 s.
pub fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            group_transactions: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            group_seconds: durations(),
            transactions: Counter::default(),
            refused: Counter::default(),
            commits: Counter::default(),
            evaluations: Counter::default(),
            derived: Counter::default(),
            rows_read: Counter::default(),
            rows_written: Counter::default(),
            update_steps: Counter::default(),
            update_failures: Counter::default(),
            update_visited: Counter::default(),
            update_seconds: durations(),
            files_received: Counter::default(),
            file_bytes_received: Counter::default(),
            files_sent: Counter::default(),
            file_bytes_sent: Counter::default(),
        }
    }
}

impl Counts {
    /// A group has come to its end.
    pub fn group(&self, outcomes: &[Result<Committed, EngineError>], took: Duration) {
        // The clock comes without a group too.
        if outcomes.is_empty() {
            return;
        }
        self.group_transactions.observe(outcomes.len() as f64);
        self.group_seconds.observe(took.as_secs_f64());
        self.transactions.inc_by(outcomes.len() as u64);
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        self.refused.inc_by(refused as u64);
        for committed in outcomes.iter().flatten() {
            if committed.commit.is_some() {
                self.commits.inc();
            }
            self.work(&committed.work);
        }
    }

    /// A file has come, and is in the store.
    pub fn file_received(&self, bytes: u64) {
        self.files_received.inc();
        self.file_bytes_received.inc_by(bytes);
    }

    /// A file, or a part of one, is asked for.
    pub fn file_asked_for(&self) {
        self.files_sent.inc();
    }

    /// Bytes of a file go out.
    pub fn file_bytes_sent(&self, bytes: u64) {
        self.file_bytes_sent.inc_by(bytes);
    }

    /// The clock has changed something.
    pub fn tick(&self, work: &Work) {
        self.commits.inc();
        self.work(work);
    }

    /// A part of an update has been done; none where it failed.
    pub fn step(&self, progress: Option<&Progress>, took: Duration) {
        self.update_steps.inc();
        self.update_seconds.observe(took.as_secs_f64());
        match progress {
            None => drop(self.update_failures.inc()),
            Some(progress) => {
                self.update_visited.inc_by(progress.visited as u64);
                if progress.commit.is_some() {
                    self.commits.inc();
                }
            }
        }
    }

    fn work(&self, work: &Work) {
        self.evaluations.inc_by(work.evaluations);
        self.derived.inc_by(work.changed);
        self.rows_read.inc_by(work.rows_read);
        self.rows_written.inc_by(work.rows_written);
    }

    /// Has them told.
    pub fn register(&self, registry: &mut Registry) {
        let group = "Transactions that shared one durable sync";
        registry.register("group_transactions", group, self.group_transactions.clone());
        let seconds = "Time of a group until it was durable";
        registry.register_with_unit("group", seconds, Unit::Seconds, self.group_seconds.clone());
        let seconds = "Time of a part of an update";
        registry.register_with_unit("update_step", seconds, Unit::Seconds, self.update_seconds.clone());
        let counters: [(&str, &str, &Counter); 14] = [
            ("files_received", "Files that came, and are in the store", &self.files_received),
            ("file_bytes_received", "Their bytes", &self.file_bytes_received),
            ("files_sent", "Files, and parts of files, that were asked for", &self.files_sent),
            ("file_bytes_sent", "Bytes of files that went out", &self.file_bytes_sent),
            ("transactions", "Transactions that were executed", &self.transactions),
            ("transactions_refused", "Transactions that were refused", &self.refused),
            ("commits", "Commits in the log: of transactions, of the clock, of updates", &self.commits),
            (
                "evaluations",
                "Expressions evaluated and contributions compared by transactions",
                &self.evaluations,
            ),
            ("derived_values_changed", "Derived values that changed with transactions", &self.derived),
            ("rows_read", "Rows that transactions read from the store, not from the cache", &self.rows_read),
            ("rows_written", "Rows that transactions wrote", &self.rows_written),
            ("update_steps", "Parts of updates that were done or failed", &self.update_steps),
            ("update_failures", "Parts of updates that failed and are tried again", &self.update_failures),
            ("update_resources", "Resources that updates evaluated again", &self.update_visited),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
