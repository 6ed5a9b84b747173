//! Several nodes over one store: whose turn it is, who sleeps for how long, whose clock is wrong, who dies.
//!
//! One node at a time does something; the others know of the store what they knew when it was last their turn. A node that
//! gets its turn follows the others first, or does what it does *late*: it learns of them when its commit fails, and
//! what comes of it has to be the same. The others are looked at too: what they show without having followed is consistent
//! all the same, and the same as everywhere once they have read.

use std::sync::Arc;

use corollary_engine::updates::Ledger;
use corollary_engine::{Engine, EngineError, Executor, Transaction, UpdateId, keys, open};
use corollary_store::Store;
use jiff::Timestamp;

use crate::judge;
use crate::plan::Plan;
use crate::random::Random;
use crate::world::{World, declared, options};

/// Seconds by which the clock of a node may be wrong.
const SKEWS: [i64; 5] = [0, 0, 3, -40, 7_200];

/// A node whose turn it is not.
pub struct Node {
    executor: Executor,
    skew: i64,
}

impl Node {
    /// What it shows.
    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.executor.engine().clone()
    }

    /// Takes over what others did.
    pub(crate) fn follow(&mut self) -> Result<(), String> {
        let followed = self.executor.follow();
        followed.map(drop).map_err(|error| format!("a node cannot follow: {error}"))
    }
}

impl World {
    /// The name of the next node.
    pub(crate) fn next_name(&mut self) -> String {
        self.named += 1;
        format!("n{}", self.named)
    }

    /// Begins a step: gives somebody the turn.
    pub(crate) fn turn(&mut self, plan: &Plan, step: usize) -> Result<(), String> {
        if plan.nodes == 0 {
            return Ok(());
        }
        // A chance of its own, so that what is done does not depend on who does it.
        let mut chance = plan.chance(usize::MAX - step);
        while self.others.len() + 1 < plan.nodes && chance.percent(70) {
            let node = self.join(&mut chance)?;
            self.others.push(node);
        }
        self.skew = if step == 1 { *chance.pick(&SKEWS) } else { self.skew };
        if !self.others.is_empty() && chance.percent(60) {
            let at = chance.below(self.others.len());
            let other = &mut self.others[at];
            std::mem::swap(&mut other.executor, &mut self.executor.borrow_mut());
            std::mem::swap(&mut other.skew, &mut self.skew);
            self.report.turns += 1;
            self.late = true;
            if chance.percent(40) {
                self.learn()?;
            }
        }
        Ok(())
    }

    /// The one whose turn it is takes over what others did.
    pub(crate) fn learn(&mut self) -> Result<(), String> {
        if std::mem::take(&mut self.late) {
            let followed = self.executor.borrow_mut().follow();
            followed.map_err(|error| format!("a node cannot follow: {error}"))?;
        }
        Ok(())
    }

    /// A further node over the store as it is: nothing is built, nothing is written.
    fn join(&mut self, chance: &mut Random) -> Result<Node, String> {
        let options = corollary_engine::EngineOptions { node: self.next_name().into(), ..options(chance) };
        let before = self.digest()?;
        let mut built = 0;
        let skew = *chance.pick(&SKEWS);
        let store = self.store.beside().map_err(|error| error.to_string())?;
        let executor = open(store, &self.text, &options, self.last, &mut |_| built += 1)
            .map_err(|error| format!("a further node does not open: {error}"))?;
        if built > 0 || self.digest()? != before {
            return Err("a further node builds something, or writes".into());
        }
        Ok(Node { executor, skew })
    }

    /// Whoever has the turn is gone; another one has it, or one that is new.
    pub(crate) fn succeed(&mut self) -> Result<(), String> {
        self.report.deaths += 1;
        let node = match self.others.pop() {
            Some(node) => node,
            None => {
                let mut chance = self.random.fork();
                self.join(&mut chance)?
            }
        };
        (*self.executor.borrow_mut(), self.skew) = (node.executor, node.skew);
        self.late = true;
        self.learn()?;
        // What died may have committed what nobody was told of.
        let (engine, draft, state) = (self.engine(), self.draft.clone(), self.state()?);
        let place = |key| judge::place(engine.schema(), &draft, key);
        self.revisions = state.iter().map(|(key, doc)| (place(key), doc.revision)).collect();
        Ok(())
    }

    /// Another version of the schema is current: all that were there before have to stop.
    pub(crate) fn stopped(&mut self, now: Timestamp) -> Result<(), String> {
        let before = self.digest()?;
        for mut node in std::mem::take(&mut self.others) {
            let outcome = node.executor.commit(&[Transaction::default()], now);
            if !matches!(outcome, Err(EngineError::Superseded)) {
                return Err(format!("under an old schema a node goes on: {outcome:?}"));
            }
            let outcome = node.executor.update_step(now, 3);
            let did_nothing = matches!(outcome, Ok(None | Some(_)) | Err(EngineError::Superseded));
            if !did_nothing || self.digest()? != before {
                return Err(format!("under an old schema a node writes: {outcome:?}"));
            }
        }
        Ok(())
    }

    /// Might this node work on an update, as the updates were before? It takes none from another but one whose lease is over,
    /// or from one that holds two more than it does.
    pub(crate) fn might_take(&self, before: &Ledger, id: UpdateId, now: Timestamp) -> Result<(), String> {
        let me = &self.executor.borrow().engine().node_name().to_owned();
        // What has begun since nobody holds.
        let Some(update) = before.open.iter().find(|it| it.record.id == id) else { return Ok(()) };
        let record = &update.record;
        let held = |node: &str| before.open.iter().filter(|it| it.record.owner == node).count();
        let is_its_own = record.owner.is_empty() || record.owner == *me;
        if is_its_own || record.lease <= now.max(self.last) || held(&record.owner) >= held(me) + 2 {
            return Ok(());
        }
        Err(format!("{me} works on {id}, which {} holds until {}", record.owner, record.lease))
    }

    /// Whom somebody may ask who reads while a group is committed: this node, or another one that knows as much.
    pub(crate) fn reader(&mut self) -> Result<Arc<Engine>, String> {
        if self.others.is_empty() || self.random.percent(50) {
            return Ok(self.engine());
        }
        let at = self.random.below(self.others.len());
        self.others[at].follow()?;
        Ok(self.others[at].engine())
    }

    /// Asks the judges about nodes whose turn it is not.
    pub(crate) fn look_at_others(&mut self) -> Result<(), String> {
        let draft = self.draft.clone();
        for at in 0..self.others.len() {
            if !self.random.percent(15) {
                continue;
            }
            let engine = self.others[at].engine();
            self.report.other_looks += 1;
            // Reading what is listed leads to the store, and so to what is there now.
            let state = judge::state(&engine, self.last)?;
            let about = |what: String| format!("seen by another node: {what}");
            judge::facts(engine.schema(), &draft, &declared(&draft), &self.model, &state).map_err(about)?;
            judge::derived(&engine).map_err(about)?;
            if engine.revision() != self.revision || engine.time() != self.last {
                return Err(format!(
                    "another node is at {} of {}, and should be at {} of {}",
                    engine.revision(),
                    engine.time(),
                    self.revision,
                    self.last
                ));
            }
        }
        Ok(())
    }

    /// What the store says of its last commit, as it is stored: it is another after each.
    pub(crate) fn head(store: &dyn Store) -> Result<Option<Vec<u8>>, String> {
        let snapshot = store.snapshot().map_err(|error| error.to_string())?;
        snapshot.get(keys::META, keys::HEAD).map_err(|error| error.to_string())
    }

    /// The revision that is stored.
    pub(crate) fn stored_revision(store: &dyn Store) -> Result<u64, String> {
        let snapshot = store.snapshot().map_err(|error| error.to_string())?;
        keys::read_revision(&*snapshot).map_err(|error| error.to_string())
    }
}
