//! A running node: the thread that executes, the way to it, and the feed of what it committed.
//!
//! Transactions wait in one bounded queue (`queue`). The executor takes all that wait, up to a limit, as one group with one
//! durable sync. While it works the next group gathers, so groups grow with the load. One that is large and has others behind it is made
//! durable by another thread while the next one is worked out (`hardener`).
//! Between groups it goes on with the updates that are open (`updater`).
//!
//! Where nobody writes, it sleeps until the engine's next timer is due, and lets it come. Over a store that other servers
//! write to it looks what they did when it hears of it (`follower`), and tells the watches.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use corollary_engine::files::{self, Fault};
use corollary_engine::rebuild::Structure;
use corollary_engine::records::Records;
use corollary_engine::reply::{Request, Wants};
use corollary_engine::{Commit, Committed, Engine, EngineError, Executor, Transaction, UpdateId, spans};
use corollary_store::StoreError;
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;
use tracing::{Level, Span};

use crate::counts::Counts;
use crate::follower::Follower;
use crate::hardener::{self, Hardener, Parcel, Reply};
use crate::problem::Problem;
use crate::queue::{self, Group, Limits, Refused};
pub use crate::updater::Pace;
use crate::updater::{Updater, Wishes};
use crate::watch::hub::Hub;

/// What can be set about a node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Transactions that may wait; one more is refused with 503.
    pub queue_transactions: usize,
    /// How long a transaction may wait until it is begun; past that it is refused with 503, and nothing of it is done.
    pub queue_wait: Duration,
    /// Transactions that share one durable sync at most.
    pub group_transactions: usize,
    /// Writes that share one durable sync at most, unless one transaction has more.
    pub group_writes: usize,
    /// How long the log is kept.
    pub log_retention: SignedDuration,
    /// How fast updates go.
    pub updates: Pace,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions {
            queue_transactions: 4_096,
            queue_wait: Duration::from_secs(10),
            group_transactions: 256,
            group_writes: 10_000,
            log_retention: SignedDuration::from_hours(7 * 24),
            updates: Pace::default(),
        }
    }
}

/// How long a group waits for others where the one before was at least twice as large: less than a sync takes.
const GATHER: Duration = Duration::from_micros(50);

/// A group that took so long to work out is handed over to be made durable while the next one is worked out. With small ones that gains
/// nothing where two processors have all of it to do: they become smaller yet, and each costs a sync and two threads that wake.
const WORTH_HANDING: Duration = Duration::from_millis(1);

/// How long the executor lets a timer be that is due and that it could not let come.
const RETRY: Duration = Duration::from_secs(1);

/// How often the log is looked at for what is past its retention.
const TRIM_EVERY: Duration = Duration::from_secs(60);

/// Commits that are dropped from the log, and receipts, at a time, so that nobody waits long.
const TRIM_COMMITS: usize = 2_000;

/// Files that are taken out of the store at a time.
const SWEEP_FILES: usize = 20;

/// A step with records. The error is one after which nothing may be written any more.
type Keeping = Box<dyn FnOnce(&mut Executor) -> Result<(), EngineError> + Send>;

/// A transaction, and what is told of it.
type Task = (Transaction, Wants);

type Job = queue::Job<Task, Result<Committed, Problem>, Chore>;

/// What is done by itself.
enum Chore {
    /// Updates that mend some nodes of the plan, and who waits for their names.
    Repair(Vec<usize>, oneshot::Sender<Result<Vec<UpdateId>, Problem>>),
    /// Rows of a structure that are to be mended, and who waits for it.
    Mend(Structure, Vec<Vec<u8>>, oneshot::Sender<Result<(), Problem>>),
    /// What is wrong with files and can be mended, and who waits for how much it was.
    MendFiles(Vec<Fault>, oneshot::Sender<Result<usize, Problem>>),
    /// Something that is done with records; it tells whoever waits what came of it.
    Keep(Keeping),
    /// Nothing: a look at what became of the last group.
    Look,
}

/// See the module.
pub struct Node {
    engine: Arc<Engine>,
    /// Has the schema been replaced? Then another node serves the data, or is going to.
    replaced: Arc<AtomicBool>,
    jobs: mpsc::Sender<Job>,
    /// How long one may wait until it is begun.
    queue_wait: Duration,
    /// Moves on with each group and each step of an update.
    moved: watch::Receiver<u64>,
    wishes: Arc<Wishes>,
    counts: Counts,
    /// Watches of what is committed.
    pub hub: Arc<Hub>,
}

/// The executor's thread; it ends when the node is told to stop (or is gone) and all that waited is done.
pub struct Running {
    thread: JoinHandle<Result<(), EngineError>>,
}

impl Running {
    /// Waits for the end; the error is the one that stopped it.
    pub fn join(self) -> Result<(), EngineError> {
        self.thread.join().unwrap_or_else(|_| Err(EngineError::Corrupt("the executor panicked".into())))
    }

    /// Has it stopped?
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Node {
    /// Starts the executor, which goes on to count where `counts` stand. Within a runtime, whose clock wakes it.
    pub fn start(
        executor: Executor,
        options: NodeOptions,
        counts: Counts,
    ) -> std::io::Result<(Arc<Node>, Running)> {
        let runtime = Handle::try_current().map_err(std::io::Error::other)?;
        let engine = executor.engine().clone();
        let hub = Arc::new(Hub::new(engine.clone()));
        let (jobs, mut waiting) = mpsc::channel(options.queue_transactions);
        let (moves, moved) = watch::channel(0);
        let told = AtomicU64::new(engine.revision());
        let feed = Arc::new(Feed { hub: hub.clone(), moves, counts: counts.clone(), told });
        let weak = jobs.downgrade();
        let wake = move || {
            // Where there is no room there is something for it to do in any case.
            if let Some(jobs) = weak.upgrade() {
                let _ = jobs.try_send(Job::Other(Chore::Look));
            }
        };
        let hardener = Hardener::start(feed.clone(), wake)?;
        let wishes = Arc::new(Wishes::new(options.updates.clone()));
        let updater = Updater::new(wishes.clone());
        let replaced = Arc::new(AtomicBool::new(false));
        let told = replaced.clone();
        let queue_wait = options.queue_wait;
        let thread = thread::Builder::new().name("executor".into()).spawn(move || {
            let ended = execute(executor, &mut waiting, updater, (&feed, hardener), &options, &runtime);
            if matches!(ended, Err(EngineError::Superseded)) {
                // Before anybody is told that it writes no more: another server has changed the schema.
                told.store(true, Ordering::SeqCst);
            }
            drop(waiting);
            ended
        })?;
        let node = Node { engine, replaced, jobs, queue_wait, moved, wishes, counts, hub };
        Ok((Arc::new(node), Running { thread }))
    }

    /// What readers use.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// What the executor has done.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Transactions that wait, and how many may.
    pub fn queue(&self) -> (usize, usize) {
        let room = self.jobs.max_capacity();
        (room - self.jobs.capacity(), room)
    }

    /// How fast updates go.
    pub fn pace(&self) -> Pace {
        self.wishes.pace.lock().clone()
    }

    /// Has updates go faster or slower from their next part on.
    pub fn set_pace(&self, pace: Pace) {
        *self.wishes.pace.lock() = pace;
    }

    /// Has an update that waits after a failure go on at once.
    pub fn retry(&self, id: UpdateId) {
        self.wishes.retries.lock().push(id);
    }

    /// Changes with each group and each step of an update: whoever waits for one looks again then.
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.clone()
    }

    /// Has a transaction executed; returns when it is durable.
    pub async fn commit(&self, transaction: Transaction, wants: Wants) -> Result<Committed, Problem> {
        // The executor's thread does not know whose it is.
        let span = tracing::enabled!(target: spans::COMMIT, Level::DEBUG).then(Span::current);
        let wants = Wants { span, ..wants };
        match queue::ask(&self.jobs, (transaction, wants), self.queue_wait).await {
            Ok(outcome) => outcome,
            Err(Refused::Full(waiting)) => {
                Err(Problem::unavailable(format!("{waiting} transactions are waiting already")))
            }
            Err(Refused::TooLate) => {
                let waited = self.queue_wait.as_secs();
                let why = format!("what is before it is not done after {waited} s, so it was not begun");
                Err(Problem::unavailable(why))
            }
            Err(Refused::Stopped) => Err(self.stopped()),
        }
    }

    /// Has the schema been replaced? Then another node serves the data, or is going to.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::SeqCst)
    }

    /// Why nothing is written any more.
    fn stopped(&self) -> Problem {
        match self.is_replaced() {
            true => EngineError::Superseded.into(),
            false => Problem::unavailable("the server has stopped writing"),
        }
    }

    /// Has the executor end as [`Node::stop`] does; whoever comes later is told that the schema was replaced.
    pub async fn replace(&self) {
        self.replaced.store(true, Ordering::SeqCst);
        self.stop().await;
    }

    /// Begins updates that mend what some nodes of the plan give; returns when they are on record.
    pub async fn repair(&self, nodes: Vec<usize>) -> Result<Vec<UpdateId>, Problem> {
        let (reply, replied) = oneshot::channel();
        if self.jobs.send(Job::Other(Chore::Repair(nodes, reply))).await.is_err() {
            return Err(self.stopped());
        }
        replied.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Mends rows of a structure; returns when they are durable.
    pub async fn mend(&self, structure: Structure, rows: Vec<Vec<u8>>) -> Result<(), Problem> {
        let (reply, replied) = oneshot::channel();
        if self.jobs.send(Job::Other(Chore::Mend(structure, rows, reply))).await.is_err() {
            return Err(self.stopped());
        }
        replied.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Mends what can be mended of files; returns how many faults it was about.
    pub async fn mend_files(&self, faults: Vec<Fault>) -> Result<usize, Problem> {
        let (reply, replied) = oneshot::channel();
        if self.jobs.send(Job::Other(Chore::MendFiles(faults, reply))).await.is_err() {
            return Err(self.stopped());
        }
        replied.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Has something made of records ([`Executor::keep_records`]); returns when it is durable.
    pub async fn records<T: Send + 'static>(
        &self,
        f: impl FnMut(&mut Records<'_>) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, replied) = oneshot::channel();
        let keeping = |executor: &mut Executor| answer(executor.keep_records(Timestamp::now(), f), reply);
        if self.jobs.send(Job::Other(Chore::Keep(Box::new(keeping)))).await.is_err() {
            return Err(self.stopped());
        }
        replied.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Has the executor end when it has done what waits. Connections that do not end hold the node, but not the executor.
    pub async fn stop(&self) {
        // An error is an executor that has ended already.
        let _ = self.jobs.send(Job::Stop).await;
    }
}

/// To whom the executor tells what it did.
pub(crate) struct Feed {
    hub: Arc<Hub>,
    moves: watch::Sender<u64>,
    pub(crate) counts: Counts,
    /// Up to which revision the watches have been told of commits.
    told: AtomicU64,
}

impl Feed {
    /// Tells the watches of a commit, and of those of other servers before it.
    pub(crate) fn publish(&self, commit: &Arc<Commit>) {
        self.tell_others(commit.revision - 1);
        self.hub.publish(commit.clone());
        self.told.store(commit.revision, Ordering::Relaxed);
    }

    /// Tells the watches of the commits of other servers up to a revision, which is published.
    pub(crate) fn tell_others(&self, to: u64) {
        let from = self.told.load(Ordering::Relaxed);
        let engine = self.hub.engine();
        if !engine.is_shared() || from >= to {
            return;
        }
        self.told.store(to, Ordering::Relaxed);
        if !self.hub.is_heard() {
            return;
        }
        let complete = engine.commits_after(from, &mut |commit| {
            if commit.revision > to {
                return ControlFlow::Break(());
            }
            self.hub.publish(Arc::new(commit));
            ControlFlow::Continue(())
        });
        match complete {
            Ok(true) => {}
            Ok(false) => self.hub.skip(),
            // Nothing is missed: they are told when the store can be read again, or their thread reads them itself.
            Err(_) => self.told.store(from, Ordering::Relaxed),
        }
    }

    /// Something has moved on.
    pub(crate) fn moved(&self) {
        self.moves.send_modify(|moves| *moves = moves.wrapping_add(1));
    }
}

fn execute(
    mut executor: Executor,
    waiting: &mut mpsc::Receiver<Job>,
    mut updater: Updater,
    (feed, mut hardener): (&Feed, Hardener),
    options: &NodeOptions,
    runtime: &Handle,
) -> Result<(), EngineError> {
    let mut trimmed = Instant::now();
    let mut backlog = false;
    let limits = Limits { tasks: options.group_transactions, weight: options.group_writes };
    let mut group = Group::default();
    let mut last = 0;
    let mut pause = Pause::default();
    let mut follower = Follower::new(executor.engine());
    loop {
        hardener.look()?;
        let job = match next(&executor, waiting, &mut updater, runtime, pause, &mut follower) {
            Next::Job(job) => job,
            Next::Others => {
                hardener.wait()?;
                // What is committed from here on rings again.
                follower.looks();
                follow(&mut executor, feed)?;
                continue;
            }
            Next::Due => {
                // What comes due meanwhile is none that could not come.
                let now = Timestamp::now();
                run(&mut executor, &[], Vec::new(), (feed, &mut hardener), || true)?;
                pause = Pause::after(is_overdue(&executor, now) && executor.tick().is_none());
                feed.moved();
                continue;
            }
            Next::Rung => continue,
            Next::Update => {
                hardener.wait()?;
                updater.step(&mut executor, feed, waiting.is_empty())?;
                continue;
            }
            Next::End => return hardener.wait(),
        };
        // What gathers while other servers have their turn goes along. An error comes again with the commit.
        let _ = executor.await_turn();
        // Those who have just been answered mostly ask again: a moment later they share this group's sync.
        if (waiting.len() + 1) * 2 <= last {
            thread::sleep(GATHER);
        }
        let weight_of = |(transaction, _): &Task| transaction.writes.len();
        let chore = |chore: Chore| hardener.wait().and_then(|()| chore.run(&mut executor));
        group.gather(job, waiting, limits, weight_of, chore)?;
        last = group.tasks.len();
        // Whoever comes while this group is worked out is worked out while it becomes durable.
        let to = (feed, &mut hardener);
        let alone = || waiting.is_empty();
        run(&mut executor, &group.tasks, std::mem::take(&mut group.replies), to, alone)?;
        updater.wrote();
        group.clear();
        feed.tell_others(executor.engine().revision());
        // Updates go on behind each group too, or a busy server would never come to them.
        if updater.is_needed(&executor) {
            hardener.wait()?;
            updater.step(&mut executor, feed, waiting.is_empty())?;
        }
        if backlog || trimmed.elapsed() >= TRIM_EVERY {
            hardener.wait()?;
            backlog = trim(&mut executor, options)?;
            trimmed = Instant::now();
        }
    }
}

impl Chore {
    /// Does it, and tells who asked. The error is one after which nothing may be written any more.
    fn run(self, executor: &mut Executor) -> Result<(), EngineError> {
        match self {
            Chore::Repair(nodes, reply) => answer(executor.begin_repair(&nodes, Timestamp::now()), reply),
            Chore::Mend(structure, rows, reply) => answer(executor.mend_rows(structure, &rows), reply),
            Chore::MendFiles(faults, reply) => answer(files::mend(executor, &faults), reply),
            Chore::Keep(keeping) => keeping(executor),
            Chore::Look => Ok(()),
        }
    }
}

/// What the executor does next.
enum Next {
    /// What somebody wants.
    Job(Job),
    /// What the clock wants.
    Due,
    /// A step of an update.
    Update,
    /// What other servers did.
    Others,
    /// Nothing yet: they did something, and it is looked at in its turn.
    Rung,
    /// Nothing any more.
    End,
}

/// Waits for a job, or until a timer is due; not at all where updates have to go on. Jobs do not hold timers up: each
/// group begins with what is due.
fn next(
    executor: &Executor,
    waiting: &mut mpsc::Receiver<Job>,
    updater: &mut Updater,
    runtime: &Handle,
    pause: Pause,
    follower: &mut Follower,
) -> Next {
    if follower.is_due() {
        return Next::Others;
    }
    let job = |job: Option<Job>| job.map_or(Next::End, Next::Job);
    if updater.is_needed(executor) {
        return match waiting.try_recv() {
            Ok(job) => Next::Job(job),
            Err(mpsc::error::TryRecvError::Disconnected) => Next::End,
            Err(mpsc::error::TryRecvError::Empty)
                if pause.left().is_zero() && is_overdue(executor, Timestamp::now()) =>
            {
                Next::Due
            }
            Err(mpsc::error::TryRecvError::Empty) => {
                let wait = updater.rest(executor);
                if wait.is_zero() {
                    return Next::Update;
                }
                // Whoever comes meanwhile does not wait for updates that wait.
                runtime.block_on(async {
                    tokio::select! {
                        biased;
                        next = waiting.recv() => job(next),
                        () = sleep(wait) => Next::Update,
                    }
                })
            }
        };
    }
    let due = executor.next_due().map(|due| {
        // A time in the past is none to wait for.
        let wait = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
        wait.max(pause.left())
    });
    let (wait, what) = match (due, follower.wait()) {
        (None, None) => return job(waiting.blocking_recv()),
        (Some(due), others) if others.is_none_or(|others| due <= others) => (due, Next::Due),
        (_, others) => (others.unwrap_or_default(), Next::Others),
    };
    runtime.block_on(async {
        tokio::select! {
            biased;
            next = waiting.recv() => job(next),
            // It is due at once, or after the pause.
            () = follower.rung() => Next::Rung,
            () = sleep(wait) => what,
        }
    })
}

/// Takes over what other servers have committed. A store that cannot be reached just now is asked again.
fn follow(executor: &mut Executor, feed: &Feed) -> Result<(), EngineError> {
    match executor.follow() {
        Ok(false) => Ok(()),
        Ok(true) => {
            feed.tell_others(executor.engine().revision());
            feed.moved();
            Ok(())
        }
        Err(error) if error.is_fatal() || matches!(error, EngineError::Corrupt(_)) => Err(error),
        Err(_) => Ok(()),
    }
}

/// Until when timers that are due are let be, because they could not come. It ends, whatever happens meanwhile: were it counted from each
/// look at other servers, which is sooner, it never would.
#[derive(Clone, Copy, Default)]
struct Pause(Option<Instant>);

impl Pause {
    /// From now on, if it is needed.
    fn after(needed: bool) -> Pause {
        Pause(needed.then(|| Instant::now() + RETRY))
    }

    /// How long it still is.
    fn left(self) -> Duration {
        self.0.map_or(Duration::ZERO, |end| end.saturating_duration_since(Instant::now()))
    }
}

fn is_overdue(executor: &Executor, now: Timestamp) -> bool {
    executor.next_due().is_some_and(|due| due <= now)
}

/// Lets all come that came due while nobody was there to see it.
pub fn catch_up(executor: &mut Executor) -> Result<(), EngineError> {
    let now = Timestamp::now();
    while is_overdue(executor, now) {
        executor.commit(&[], now)?;
        if executor.tick().is_none() {
            break;
        }
    }
    Ok(())
}

/// Runs a group, and has it delivered: here and now where nobody waits for the next one. The error is one after which nothing may be
/// written any more.
fn run(
    executor: &mut Executor,
    group: &[Task],
    replies: Vec<Reply>,
    (feed, hardener): (&Feed, &mut Hardener),
    is_alone: impl Fn() -> bool + Copy,
) -> Result<(), EngineError> {
    let requests: Vec<Request<'_>> =
        group.iter().map(|(transaction, wants)| Request { transaction, wants }).collect();
    let begun = Instant::now();
    match executor.execute_ahead(&requests, Timestamp::now()) {
        Ok((outcomes, pending)) => {
            // The group before is durable; what came of it is told first.
            hardener.wait()?;
            if let Some(tick) = executor.tick() {
                feed.counts.tick(&tick.work);
                feed.publish(&tick.commit);
            }
            let parcel = Parcel { pending, outcomes, replies, begun };
            let is_short = begun.elapsed() < WORTH_HANDING;
            if is_short || is_alone() || parcel.pending.is_hardened() {
                return parcel.deliver(feed);
            }
            hardener.hand(parcel);
            Ok(())
        }
        // One of them is to blame, or all of them together: each has its own commit then.
        Err(EngineError::Store(StoreError::TooLarge { .. })) if group.len() > 1 => {
            for (task, reply) in group.iter().zip(replies) {
                run(executor, std::slice::from_ref(task), vec![reply], (feed, &mut *hardener), is_alone)?;
            }
            Ok(())
        }
        Err(error) => hardener::refuse(error, replies),
    }
}

/// Tells who asked what came of it. The error is one after which nothing may be written any more.
fn answer<T>(
    outcome: Result<T, EngineError>,
    reply: oneshot::Sender<Result<T, Problem>>,
) -> Result<(), EngineError> {
    let (told, stopped) = match outcome {
        Err(error) if error.is_fatal() => (Err(Problem::unavailable(error.to_string())), Err(error)),
        outcome => (outcome.map_err(Problem::from), Ok(())),
    };
    // Whoever asked may be gone; what was done is done.
    let _ = reply.send(told);
    stopped
}

/// Drops what is past the log's retention, and receipts that hold no more, so much at a time that nobody waits long; true if there may be more. A store
/// that is full or busy is no reason to stop.
fn trim(executor: &mut Executor, options: &NodeOptions) -> Result<bool, EngineError> {
    let Ok(before) = Timestamp::now().checked_sub(options.log_retention) else { return Ok(false) };
    let dropped = executor
        .trim_log(before, TRIM_COMMITS)
        .and_then(|commits| Ok(commits.max(executor.trim_receipts(Timestamp::now(), TRIM_COMMITS)?)))
        .and_then(|dropped| {
            let swept = executor.sweep_files(Timestamp::now(), before, SWEEP_FILES)?;
            Ok(if swept >= SWEEP_FILES { TRIM_COMMITS } else { dropped })
        });
    match dropped {
        Err(EngineError::Store(error)) if !error.is_fatal() => Ok(false),
        Err(EngineError::Contended) => Ok(false),
        outcome => outcome.map(|dropped| dropped == TRIM_COMMITS),
    }
}
