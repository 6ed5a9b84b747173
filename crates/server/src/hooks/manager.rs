//! Sees to it that each hook which is not paused has a worker, on one of the nodes that share a store.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corollary_engine::EngineError;
use corollary_engine::records::Records;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use smol_str::SmolStr;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::{sleep, timeout};

use super::hook::Hook;
use super::state::{LEASE, State};
use super::target::{Target, Way};
use super::worker::Worker;
use crate::outgoing::{Connections, Outgoing};
use crate::problem::Problem;
use crate::site::Site;

/// How often it is looked for hooks whose node is gone, where others share the store.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long until it is looked again after the store did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// How long a worker may take to keep what it did when it has to end.
const LAST_WORD: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    hook: String,
    outcome: &'static str,
}

/// What this node has delivered.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    attempts: Family<Attempt, Counter>,
}

impl Counts {
    /// Shows them to monitoring.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Attempts to deliver an event of a hook from this server, by their outcome";
        registry.register("hook_attempts", help, self.attempts.clone());
    }

    pub(super) fn attempt(&self, hook: &str, taken: bool) {
        let outcome = if taken { "taken" } else { "failed" };
        self.attempts.get_or_create(&Attempt { hook: hook.to_owned(), outcome }).inc();
    }

    /// A hook that is gone is told of no more.
    fn forget(&self, hook: &str) {
        for outcome in ["taken", "failed"] {
            self.attempts.remove(&Attempt { hook: hook.to_owned(), outcome });
        }
    }
}

/// What requests and the manager share.
#[derive(Debug, Default)]
pub struct Hooks {
    changed: Notify,
    outgoing: Outgoing,
    /// Where files are written, if they are.
    folder: Option<PathBuf>,
    /// What was delivered.
    pub counts: Counts,
}

impl Hooks {
    /// With a folder for [files](super::file), where this server writes any.
    pub fn new(folder: Option<PathBuf>, outgoing: Outgoing) -> Hooks {
        Hooks { folder, outgoing, ..Hooks::default() }
    }

    /// Does this server write files?
    pub fn writes_files(&self) -> bool {
        self.folder.is_some()
    }

    /// A hook has been changed, added, or removed.
    pub fn change(&self) {
        self.changed.notify_one();
    }

    fn client(&self) -> Option<Connections> {
        let made = self.outgoing.connections();
        made.inspect_err(|error| tracing::error!("hooks send nothing: {error}")).ok().cloned()
    }
}

/// The manager's task.
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends all workers; what they did is kept, and their leases are free.
    pub async fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}

/// Delivers the hooks of a store from now on, with the others that do.
pub fn start(site: Site, hooks: Arc<Hooks>) -> Running {
    let (stop, told) = watch::channel(false);
    let task = tokio::spawn(manage(site, hooks, told));
    Running { stop, task }
}

struct At {
    hook: Arc<Hook>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl At {
    async fn end(self) {
        let _ = self.stop.send(true);
        let mut task = self.task;
        if timeout(LAST_WORD, &mut task).await.is_err() {
            task.abort();
        }
    }
}

async fn manage(site: Site, hooks: Arc<Hooks>, mut told: watch::Receiver<bool>) {
    let mut workers: HashMap<SmolStr, At> = HashMap::new();
    loop {
        let is_shared = site.current().node.engine().is_shared();
        let looked = look(&site, &hooks, &mut workers).await;
        let wait = match looked {
            Err(_) => RETRY,
            // Of these the store tells: one that others may hold, or whose worker has ended.
            Ok(()) if is_shared => LOOK_EVERY,
            Ok(()) => LEASE,
        };
        tokio::select! {
            _ = told.changed() => break,
            () = hooks.changed.notified() => {}
            () = sleep(wait), if is_shared || looked.is_err() || !workers.is_empty() => {}
        }
    }
    futures_util::future::join_all(workers.into_values().map(At::end)).await;
}

/// Has the workers be those that there are to be.
async fn look(site: &Site, hooks: &Arc<Hooks>, workers: &mut HashMap<SmolStr, At>) -> Result<(), Problem> {
    let node = site.current().node.clone();
    let wanted = block_in_place(|| node.engine().records(Timestamp::now(), Hook::all))?;
    let ended: Vec<SmolStr> = workers
        .iter()
        .filter(|(_, at)| {
            at.task.is_finished() || !wanted.iter().any(|hook| *hook == *at.hook && !hook.paused)
        })
        .map(|(id, _)| id.clone())
        .collect();
    for id in ended {
        if let Some(at) = workers.remove(&id) {
            at.end().await;
        }
        if !wanted.iter().any(|hook| hook.id == id) {
            hooks.counts.forget(&id);
        }
    }
    let engine = node.engine();
    let alone = !engine.is_shared();
    let (name, now) = (SmolStr::from(engine.node_name()), Timestamp::now());
    for hook in wanted.into_iter().filter(|hook| !hook.paused) {
        // What is written to a file is left to those who have a folder for it.
        let is_file = matches!(Target::parse(&hook.url), Ok(Target::File(_)));
        if workers.contains_key(&hook.id) || (is_file && !hooks.writes_files()) {
            continue;
        }
        // What somebody else has is not asked of the executor.
        let seen = block_in_place(|| engine.records(now, |records| State::load(records, &hook.id)))?;
        if seen.is_none_or(|mut state| state.take(&name, alone, now).is_none()) {
            continue;
        }
        let (id, holder) = (hook.id.clone(), name.clone());
        let step = move |records: &mut Records<'_>| -> Result<Option<(u64, State)>, EngineError> {
            let Some(mut state) = State::load(records, &id)? else { return Ok(None) };
            let Some(token) = state.take(&holder, alone, records.now()) else { return Ok(None) };
            state.keep(records, &id);
            Ok(Some((token, state)))
        };
        let Some((token, state)) = node.records(step).await? else { continue };
        let Some(client) = hooks.client() else { continue };
        let Some(way) = Way::of(&hook, &client, hooks.folder.as_deref()) else { continue };
        let (hook, (stop, stopped)) = (Arc::new(hook), watch::channel(false));
        let counts = hooks.counts.clone();
        let worker = Worker::new(site.clone(), hook.clone(), way, counts, token, &state);
        let manager = hooks.clone();
        let task = tokio::spawn(async move {
            worker.run(stopped).await;
            // If it has ended by itself, there may have to be another.
            manager.change();
        });
        workers.insert(hook.id.clone(), At { hook, stop, task });
    }
    Ok(())
}
