//! The history checker: from what clients asked and were told, and from nothing else, it says whether all of it could have
//! happened one after the other, each thing between the moment when it was asked and the moment when it was told.
//!
//! Revisions say in which order. So the checker looks for no order, it holds the history to the one that is claimed: it plays
//! the transactions again, in the order of their revisions, on a plain [`Machine`] that knows nothing of the engine, and asks
//!
//! - of transactions that were **acknowledged**: has each a revision of its own, behind all that was told before it was asked; does
//!   it, played again, do what it was told to have done, and does it show what it was told (*strict serializability*);
//! - of those that were **refused**: is there a revision between the two moments at which just that is refused;
//! - of those of which nobody **knows**: are they there wholly or not at all, in the order in which they were asked;
//! - of **reads**: are they all of one revision, that of a transaction that had been asked by then, and neither before what their
//!   session had been shown nor before what their node had told anybody (*linearizable* at one node, *monotonic reads* and
//!   *read your writes* across nodes).
//!
//! A resource is then linearizable, too: it is what the transactions left of it. What the machine is in the simulator is in
//! [`facts`]; the tests below give it histories that are wrong.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

pub mod facts;

/// What the history is of: a state, and what transactions do to it.
pub trait Machine: Clone + Debug {
    /// What a transaction asks, with what it was told that it did.
    type Asked: Clone + Debug;
    /// Why one is refused.
    type Refusal: Clone + Debug + PartialEq;
    /// What a read was shown.
    type Sight: Clone + Debug;

    /// Runs a transaction: did it change anything? Refused, it does not.
    fn run(&mut self, asked: &Self::Asked) -> Result<bool, Self::Refusal>;

    /// What was told of a transaction that has just been run: does the state show it?
    ///
    /// # Errors
    ///
    /// What it shows instead.
    fn shows(&self, asked: &Self::Asked) -> Result<(), String>;

    /// Is this what somebody sees who reads now?
    ///
    /// # Errors
    ///
    /// What is different.
    fn sees(&self, sight: &Self::Sight) -> Result<(), String>;

    /// Can a machine that is so plain say when a transaction is refused with this?
    fn foretells(&self, refusal: &Self::Refusal) -> bool;
}

/// What became of a transaction, as far as whoever asked knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told<R> {
    /// It is in the log at this revision.
    Committed {
        /// Its own.
        revision: u64,
        /// Did it change facts? Otherwise it is in the log for what follows from them alone.
        facts: bool,
    },
    /// It changed nothing, as of this revision.
    Unchanged {
        /// That of the commit before.
        revision: u64,
    },
    /// It did nothing.
    Refused(R),
    /// Nobody was told.
    Unknown,
}

/// What was asked.
#[derive(Clone, Debug)]
enum What<M: Machine> {
    Transaction(M::Asked, Told<M::Refusal>),
    Read {
        revision: u64,
        sight: M::Sight,
    },
    /// What nobody asked for: a step of an update, say. It changes no facts, but for what `run` does.
    ByItself {
        revision: u64,
        run: Option<M::Asked>,
    },
}

/// One thing that happened, from the moment when it was asked to the moment when it was told.
#[derive(Clone, Debug)]
struct Operation<M: Machine> {
    asked: u64,
    /// For ever after what nobody was told.
    told: u64,
    /// The least revision that it may be of: what was known when it was asked.
    least: u64,
    what: What<M>,
}

/// Something that was asked, and is not told yet.
#[derive(Clone, Copy, Debug)]
pub struct Asking {
    at: u64,
    session: Session,
    /// All that anybody had been told.
    known: u64,
    /// What this session had been shown by whomever, and anybody by this node.
    shown: u64,
}

/// Who asks: a client's session, which goes from node to node.
pub type Session = usize;

/// What was found while a history was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Transactions that were acknowledged.
    pub acknowledged: usize,
    /// Those that were refused, and the machine refuses them, too.
    pub refused: usize,
    /// Those of which nobody knew, and that are there.
    pub found: usize,
    /// Reads.
    pub reads: usize,
    /// Those of them that were of an older revision than the last, as those at another node may be.
    pub behind: usize,
}

impl Checked {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: &Checked) {
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.found += other.found;
        self.reads += other.reads;
        self.behind += other.behind;
    }
}

/// States that are kept for reads at nodes that are behind.
pub const KEPT_STATES: usize = 64;

/// See the module. Operations are collected, and [`History::settle`] checks those that it has: so what is kept does not grow with
/// the run.
#[derive(Clone, Debug)]
pub struct History<M: Machine> {
    /// The last states, the last one behind all that has been checked; each with its revision, one after the other.
    states: VecDeque<(u64, M)>,
    /// Moments so far.
    clock: u64,
    /// The last revision that anybody was told of.
    known: u64,
    /// By session: what it has been shown.
    sessions: BTreeMap<Session, u64>,
    /// By node: what it has told anybody.
    nodes: BTreeMap<String, u64>,
    operations: Vec<Operation<M>>,
}

impl<M: Machine> History<M> {
    /// One that begins with a state at a revision.
    pub fn new(machine: M, revision: u64) -> History<M> {
        let (clock, sessions, nodes, operations) = Default::default();
        let states = VecDeque::from([(revision, machine)]);
        History { states, clock, known: revision, sessions, nodes, operations }
    }

    /// Goes on from another state, where something happened that is no transaction. What sessions have been shown still holds.
    pub fn restart(&mut self, machine: M, revision: u64) {
        self.states = VecDeque::from([(revision, machine)]);
        self.known = self.known.max(revision);
        self.operations.clear();
    }

    /// The revision behind all that has been checked, and the state.
    pub fn end(&mut self) -> (u64, &mut M) {
        let (revision, machine) = self.states.back_mut().expect("there is always one");
        (*revision, machine)
    }

    /// The oldest revision of which a read can be checked.
    pub fn oldest(&self) -> u64 {
        self.states[0].0
    }

    /// What a session has been shown.
    pub fn shown(&self, session: Session) -> u64 {
        self.sessions.get(&session).copied().unwrap_or(0)
    }

    fn moment(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// A session asks a node something.
    pub fn ask(&mut self, session: Session, node: &str) -> Asking {
        let by_node = self.nodes.get(node).copied().unwrap_or(0);
        let shown = self.shown(session).max(by_node);
        Asking { at: self.moment(), session, known: self.known, shown }
    }

    /// It is told what became of a transaction, by a node.
    pub fn tell(&mut self, asking: Asking, node: &str, asked: M::Asked, told: Told<M::Refusal>) {
        let moment = self.moment();
        let ends = if matches!(told, Told::Unknown) { u64::MAX } else { moment };
        if let Told::Committed { revision, .. } | Told::Unchanged { revision } = &told {
            self.learn(node, asking.session, *revision);
        }
        let what = What::Transaction(asked, told);
        self.operations.push(Operation { asked: asking.at, told: ends, least: asking.known, what });
    }

    /// It is shown what it read at a node, as of a revision.
    pub fn show(&mut self, asking: Asking, node: &str, revision: u64, sight: M::Sight) {
        let told = self.moment();
        self.learn(node, asking.session, revision);
        let what = What::Read { revision, sight };
        self.operations.push(Operation { asked: asking.at, told, least: asking.shown, what });
    }

    /// There is a commit that no client asked for, which may run something, as what expires.
    pub fn by_itself(&mut self, revision: u64, run: Option<M::Asked>) {
        let (asked, told) = (self.moment(), self.moment());
        self.operations.push(Operation { asked, told, least: 0, what: What::ByItself { revision, run } });
    }

    fn learn(&mut self, node: &str, session: Session, revision: u64) {
        self.known = self.known.max(revision);
        let shown = self.sessions.entry(session).or_default();
        *shown = revision.max(*shown);
        let shown = self.nodes.entry(node.to_owned()).or_default();
        *shown = revision.max(*shown);
    }

    /// Checks all that was told since the last time. All of it has been told by now, or never will be; `last` is the revision at
    /// which the log ends. A commit that nobody asked for is one of those nobody was told of; where `follows`, it may also be one
    /// that changed no fact.
    ///
    /// # Errors
    ///
    /// What could not have happened.
    pub fn settle(&mut self, last: u64, follows: bool) -> Result<Checked, String> {
        let operations = std::mem::take(&mut self.operations);
        let mut checked = Checked::default();
        let first = self.end().0;
        let commits = self.commits(&operations, last)?;
        let unknown = |it: &&Operation<M>| matches!(it.what, What::Transaction(_, Told::Unknown));
        let follows = follows && operations.iter().any(|it| unknown(&it));
        let mut unknown = operations.iter().filter(unknown);
        // When each commit was asked: nothing that was told before can have seen it.
        let mut asked_at = Vec::new();
        for revision in first + 1..=last {
            let mut machine = self.end().1.clone();
            let asked = match commits.get(&revision) {
                Some(operation) => replay(&mut machine, revision, operation, &mut checked)?,
                None => find(&mut machine, revision, &mut unknown, follows, &mut checked)?,
            };
            asked_at.push((revision, asked));
            self.states.push_back((revision, machine));
        }
        for operation in &operations {
            let newest = asked_at.iter().take_while(|(_, asked)| *asked < operation.told).map(|(at, _)| *at);
            let within = Interval { least: operation.least, most: newest.last().unwrap_or(first) };
            self.look(operation, &within, last, &mut checked)?;
        }
        let more = self.states.len().saturating_sub(KEPT_STATES);
        self.states.drain(..more);
        Ok(checked)
    }

    /// Those that were told to have a revision, by it.
    fn commits<'o>(
        &mut self,
        operations: &'o [Operation<M>],
        last: u64,
    ) -> Result<BTreeMap<u64, &'o Operation<M>>, String> {
        let first = self.end().0;
        let mut commits: BTreeMap<u64, &Operation<M>> = BTreeMap::new();
        for operation in operations {
            let (What::Transaction(_, Told::Committed { revision, .. }) | What::ByItself { revision, .. }) =
                &operation.what
            else {
                continue;
            };
            let (least, what) = (operation.least, &operation.what);
            if *revision <= first || *revision > last {
                return Err(format!("the log has {first} to {last}, and not what was told: {what:?}"));
            }
            if *revision <= least {
                return Err(format!("{least} had been told before it was asked: {what:?}"));
            }
            if let Some(other) = commits.insert(*revision, operation) {
                return Err(format!("two have one revision: {:?} and {what:?}", other.what));
            }
        }
        Ok(commits)
    }

    /// Is there a state that answers so?
    fn look(
        &self,
        operation: &Operation<M>,
        within: &Interval,
        last: u64,
        checked: &mut Checked,
    ) -> Result<(), String> {
        let at = |revision: u64| {
            let states = self.states.iter().find(|(at, _)| *at == revision && within.has(revision));
            states.map(|(_, machine)| machine).ok_or_else(|| {
                format!("it is of revision {revision}, and {within:?} could be seen: {:?}", operation.what)
            })
        };
        match &operation.what {
            What::Read { revision, sight } => {
                checked.reads += 1;
                checked.behind += usize::from(*revision < last);
                let seen = at(*revision)?.sees(sight);
                seen.map_err(|what| format!("a read of revision {revision}: {what}"))
            }
            What::Transaction(asked, Told::Unchanged { revision }) => {
                checked.acknowledged += 1;
                match at(*revision)?.clone().run(asked) {
                    Ok(false) => Ok(()),
                    outcome => Err(format!(
                        "at {revision} it changes nothing, it was told, and {outcome:?}: {asked:?}"
                    )),
                }
            }
            What::Transaction(asked, Told::Refused(refusal)) => {
                if !self.states.iter().any(|(_, machine)| machine.foretells(refusal)) {
                    return Ok(());
                }
                checked.refused += 1;
                let mut states = self.states.iter().filter(|(at, _)| within.has(*at));
                if states.any(|(_, machine)| machine.clone().run(asked).as_ref() == Err(refusal)) {
                    return Ok(());
                }
                Err(format!("within {within:?} nothing refuses it with {refusal:?}: {asked:?}"))
            }
            _ => Ok(()),
        }
    }
}

/// The revisions that may have been seen, both ends included.
#[derive(Debug)]
struct Interval {
    least: u64,
    most: u64,
}

impl Interval {
    fn has(&self, revision: u64) -> bool {
        self.least <= revision && revision <= self.most
    }
}

/// Plays what has a revision; when it was asked.
fn replay<M: Machine>(
    machine: &mut M,
    revision: u64,
    operation: &Operation<M>,
    checked: &mut Checked,
) -> Result<u64, String> {
    match &operation.what {
        What::Transaction(asked, Told::Committed { facts, .. }) => {
            checked.acknowledged += 1;
            let outcome = machine.run(asked);
            if outcome.as_ref() != Ok(facts) {
                let told = format!("revision {revision} was told to change facts: {facts}");
                return Err(format!("{told}, and played again it is {outcome:?}: {asked:?}"));
            }
            machine.shows(asked).map_err(|what| format!("revision {revision} was told otherwise: {what}"))?;
        }
        What::ByItself { run: Some(asked), .. } => {
            let outcome = machine.run(asked);
            outcome.map_err(|refusal| format!("what nobody asked for is refused with {refusal:?}"))?;
        }
        _ => {}
    }
    Ok(operation.asked)
}

/// Finds what has a revision among what nobody was told of, in the order in which it was asked; when that was.
fn find<'o, M: Machine + 'o>(
    machine: &mut M,
    revision: u64,
    unknown: &mut impl Iterator<Item = &'o Operation<M>>,
    follows: bool,
    checked: &mut Checked,
) -> Result<u64, String> {
    for operation in unknown.by_ref() {
        let What::Transaction(asked, _) = &operation.what else { continue };
        if operation.least < revision && machine.run(asked) == Ok(true) {
            checked.found += 1;
            return Ok(operation.asked);
        }
    }
    if follows { Ok(0) } else { Err(format!("the log has revision {revision}, and nobody asked for it")) }
}

#[cfg(test)]
mod tests;
