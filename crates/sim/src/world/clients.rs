//! Clients: each has a session that goes from node to node and takes along what it has been shown, as a revision; and what they ask
//! and are told is the history that is checked ([`crate::history`]).

use std::sync::Arc;

use corollary_engine::{Committed, Doc, Engine, Key};
use jiff::Timestamp;

use super::{World, declared};
use crate::history::facts::{self, Asked, Plain, Sight};
use crate::history::{Asking, Told};
use crate::judge;
use crate::model::{Place, Step};
use crate::random::Random;
use crate::workload;

/// Clients of a run.
pub(super) const CLIENTS: usize = 4;

/// The session of those who look while a group is committed.
pub(super) const WATCHER: usize = CLIENTS;

/// Resources that a read looks at, at most.
const LOOKED_AT: usize = 5;

impl World {
    fn plain(&self) -> Plain {
        let (draft, line) = (self.draft.clone(), self.line.clone());
        Plain { draft, line, facts: self.model.clone(), revisions: self.revisions.clone() }
    }

    /// Checks what has been asked and told since the last time.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        let checked = self.history.settle(self.revision, self.behind);
        self.report.checked.add(&checked.map_err(|what| format!("the history cannot be: {what}"))?);
        let (_, end) = self.history.end();
        if end.facts != self.model {
            return Err("the history comes to other facts than the model".into());
        }
        // Those of resources that only derived values have changed.
        end.revisions.clone_from(&self.revisions);
        Ok(())
    }

    /// Goes on with another version of the schema: what is stored has been compared with the model.
    pub(crate) fn renew_history(&mut self) {
        self.renewed = false;
        let plain = self.plain();
        self.history.restart(plain, self.revision);
    }

    /// Some clients read.
    pub(super) fn clients_read(&mut self, chance: &mut Random) -> Result<(), String> {
        for _ in 0..chance.weighted(&[4, 3, 2]) {
            self.client_reads(chance)?;
        }
        Ok(())
    }

    /// A client reads a few resources at any node. It tells the node what it has been shown, and a node that is behind that
    /// follows first.
    fn client_reads(&mut self, chance: &mut Random) -> Result<(), String> {
        let session = chance.below(CLIENTS);
        let at = chance.below(self.others.len() + 1);
        let engine = match at.checked_sub(1) {
            Some(at) => self.others[at].engine(),
            None => self.engine(),
        };
        if engine.revision() < self.history.shown(session).max(self.history.oldest()) {
            match at.checked_sub(1) {
                Some(at) => self.others[at].follow()?,
                None => self.learn()?,
            }
        }
        let draft = self.draft.clone();
        let mut places = Vec::new();
        let there: Vec<&Place> = self.model.records.keys().collect();
        for _ in 0..1 + chance.below(LOOKED_AT) {
            let known = chance.percent(80);
            let place = match chance.pick_any(&there).filter(|_| known) {
                Some(place) => (*place).clone(),
                None => {
                    let ty = chance.below(draft.types.len());
                    Place { ty, id: workload::id(ty, chance.below(8)) }
                }
            };
            places.push(place);
        }
        let asking = self.history.ask(session, engine.node_name());
        let keys: Vec<Key> = places.iter().map(|place| judge::key(engine.schema(), &draft, place)).collect();
        let (revision, docs) = judge::read(&engine, self.last, |working| {
            let docs: Result<Vec<_>, _> = keys.iter().map(|key| working.after(key)).collect();
            Ok((working.base.revision(), docs?))
        })?;
        let sight = self.sight(&engine, places.into_iter().zip(docs));
        self.history.show(asking, engine.node_name(), revision, sight);
        Ok(())
    }

    /// What was seen, as facts.
    fn sight(&self, engine: &Engine, seen: impl Iterator<Item = (Place, Option<Arc<Doc>>)>) -> Sight {
        let declared = declared(&self.draft);
        let record = |place: &Place, doc: &Doc| {
            facts::record(engine.schema(), &self.draft, &declared[place.ty], place, doc)
        };
        seen.map(|(place, doc)| {
            let record = doc.map(|doc| record(&place, &doc));
            (place, record)
        })
        .collect()
    }

    /// What those saw who looked while a group was committed.
    pub(super) fn watcher_saw(
        &mut self,
        asking: Asking,
        engine: &Engine,
        revision: u64,
        docs: &[(Key, Option<Arc<Doc>>)],
    ) {
        let draft = self.draft.clone();
        let places = docs.iter().map(|(key, doc)| (judge::place(engine.schema(), &draft, key), doc.clone()));
        let sight = self.sight(engine, places);
        self.history.show(asking, engine.node_name(), revision, sight);
    }

    /// The transactions of a group are asked, all at once, by clients.
    pub(super) fn asks(&mut self, step: usize, transactions: usize) -> Vec<Asking> {
        let engine = self.engine();
        let sessions = (0..transactions).map(|at| (step + at) % CLIENTS);
        sessions.map(|session| self.history.ask(session, engine.node_name())).collect()
    }

    /// What was told of one that was accepted.
    pub(super) fn told(
        &mut self,
        asking: Asking,
        steps: &[Step],
        time: Timestamp,
        committed: &Committed,
        facts: bool,
    ) {
        let (engine, draft) = (self.engine(), self.draft.clone());
        let mut asked = Asked::new(steps, time);
        let shown = steps.iter().zip(&committed.results);
        let shown =
            shown.map(|(step, shown)| (step.place().clone(), shown.as_ref().map(|shown| shown.doc.clone())));
        asked.results = self.sight(&engine, shown);
        let revision = committed.revision;
        let told = match &committed.commit {
            Some(commit) => {
                asked = asked.with_effects(engine.schema(), &draft, commit);
                Told::Committed { revision, facts }
            }
            None => Told::Unchanged { revision },
        };
        self.history.tell(asking, engine.node_name(), asked, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::Ground;
    use crate::plan::Plan;

    /// A world with some resources, after all has been checked.
    fn world() -> World {
        for seed in 0.. {
            let plan = Plan::whole(seed, 30);
            let mut world = World::new(&plan, &Ground::Memory).expect("a world");
            plan.remaining().for_each(|step| world.step(&plan, step).expect("all is well"));
            if world.model.records.len() > 3 && world.history.oldest() < world.revision {
                return world;
            }
        }
        unreachable!("seeds do not end")
    }

    fn reads(world: &mut World, revision: u64, sight: Sight) -> Result<(), String> {
        let node = world.engine().node_name().to_owned();
        let asking = world.history.ask(0, &node);
        world.history.show(asking, &node, revision, sight);
        world.settle()
    }

    #[test]
    fn what_a_client_is_shown_wrong_is_noticed() {
        let mut world = world();
        let (place, record) = world.model.records.first_key_value().expect("there are some");
        let (place, record) = (place.clone(), (**record).clone());
        let revision = world.revision;
        // It is there, and is shown as gone; or with a fact of its own invention.
        assert!(reads(&mut world, revision, vec![(place.clone(), None)]).is_err());
        let mut other = record;
        other.insert("never".into(), corollary_value::Value::Int(1));
        assert!(reads(&mut world, revision, vec![(place, Some(other))]).is_err());
        // Its node has told of later ones.
        assert!(reads(&mut world, revision - 1, Vec::new()).is_err());
        assert!(reads(&mut world, revision, Vec::new()).is_ok());
    }

    #[test]
    fn what_a_client_is_told_wrong_is_noticed() {
        let mut world = world();
        let node = world.engine().node_name().to_owned();
        let place = world.model.records.keys().next().expect("there are some").clone();
        for told in [
            // Its deletion would change something.
            Told::Unchanged { revision: world.revision },
            Told::Committed { revision: world.revision, facts: true },
            Told::Committed { revision: world.revision + 1, facts: true },
            Told::Refused(["not-found"].into()),
        ] {
            let asking = world.history.ask(0, &node);
            let asked = Asked::new(&[Step::Delete(place.clone())], world.last);
            world.history.tell(asking, &node, asked, told.clone());
            assert!(world.settle().is_err(), "{told:?}");
        }
    }
}
