//! Filling sums and counts by what is gathered in memory: each member is looked at once, then each owner written once.
//!
//! The members of a group come in the order of their ids, and those of one owner lie far apart. Written as they come, an
//! owner would be written about as often as it has members. So a step of such an update first only reads: what its members
//! give is added up in memory by owner (`Gathering`), and nothing is committed. When all have been looked at, steps write
//! the groups of the owners, in the order of ids.
//!
//! What always holds:
//! - The place of the update is an owner: the groups of the owners up to it count all of their members, and are kept true
//!   by every commit; those behind it are as they were before, and no commit changes them.
//! - What is gathered is what its members give to owners behind that place, as of the last commit: a commit that changes a
//!   member tells what it gave and what it gives (`group::apply`), and that is taken over when the commit is durable.
//! - It is in memory alone. Whoever takes the update over gathers anew, and goes on behind the last owner that was written.
//!   Over a store that nodes share, where others commit, nothing is gathered: the groups are filled member by member.

use std::collections::BTreeMap;

use corollary_schema::Schema;
use corollary_schema::plan::{Group, Rule};
use corollary_value::Id;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::ledger::{Ledger, Update};
use super::record::{State, Task, UpdateId};
use super::step::Progress;
use super::walk::Place;
use crate::doc::Key;
use crate::engine::Executor;
use crate::error::EngineError;
use crate::eval::Wake;
use crate::group::{self, Contribution, Gathered, Shift};
use crate::working::Working;

/// Owners of whom something is gathered at most, by default; each takes some 150 bytes of memory.
pub const GATHERED_OWNERS: usize = 250_000;

/// A step looks at so many members in the time that it takes to write one owner, about.
pub(crate) const OWNER_COST: usize = 4;

/// What is gathered for one update.
#[derive(Debug)]
struct Gathering {
    id: UpdateId,
    reach: Reach,
    /// Members that have been looked at.
    members: u64,
    parts: HashMap<Id, Gathered, RandomState>,
}

/// Which members of a node are gathered.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// The node.
    pub node: usize,
    /// The last of them; none where nobody is.
    upto: Option<Id>,
    /// Are all?
    complete: bool,
}

impl Reach {
    /// Is a member gathered?
    pub fn has(&self, member: &Id) -> bool {
        self.complete || self.upto.as_ref().is_some_and(|upto| member <= upto)
    }
}

impl Gathering {
    fn put(&mut self, group: &Group, given: Option<Contribution>) {
        if let Some(Contribution { owner, given }) = given {
            self.parts.entry(owner).or_default().add(group, &given);
        }
    }

    fn take(&mut self, group: &Group, given: Option<Contribution>) {
        if let Some(Contribution { owner, given }) = given {
            self.parts.entry(owner).or_default().remove(group, &given);
        }
    }
}

/// What all open updates have gathered, by node.
#[derive(Debug, Default)]
pub(crate) struct Gatherings(BTreeMap<usize, Gathering>);

impl Gatherings {
    /// Which members are gathered, of all nodes.
    pub fn reaches(&self) -> Vec<Reach> {
        self.0.values().map(|it| it.reach.clone()).collect()
    }

    /// Takes over what a durable commit has changed of members that are gathered.
    pub fn follow(&mut self, schema: &Schema, shifts: Vec<(usize, Shift)>) {
        for (node, Shift { old, new, .. }) in shifts {
            if let (Some(gathering), Rule::Group(group)) =
                (self.0.get_mut(&node), &schema.plan.nodes[node].rule)
            {
                gathering.take(group, old);
                gathering.put(group, new);
            }
        }
    }

    /// Forgets what was gathered for updates that are not open any more.
    pub fn keep_open(&mut self, ledger: &Ledger) {
        self.0.retain(|_, it| ledger.open.iter().any(|update| update.record.id == it.id));
    }

    /// What an owner's group counts by what is gathered for a node.
    pub fn part(&self, node: usize, owner: &Id) -> Gathered {
        self.0.get(&node).and_then(|it| it.parts.get(owner)).cloned().unwrap_or_default()
    }

    /// The groups of the owners up to one are written; of all of them where there is none.
    pub fn written(&mut self, node: usize, upto: Option<&Id>) {
        match (upto, self.0.get_mut(&node)) {
            (Some(upto), Some(gathering)) => gathering.parts.retain(|owner, _| owner > upto),
            _ => drop(self.0.remove(&node)),
        }
    }
}

impl Executor {
    /// Gathers what some more members give. Nothing where all are gathered, or where the groups are to be filled in another
    /// way, which the record says then: there is something to be committed.
    pub(super) fn gather(
        &mut self,
        working: &Working<'_>,
        update: &mut Update,
        node: usize,
        limit: usize,
    ) -> Result<Option<Progress>, EngineError> {
        let engine = self.engine().clone();
        let id = update.record.id;
        let Rule::Group(group) = &working.schema.plan.nodes[node].rule else { return Ok(None) };
        let all = &mut self.gatherings.0;
        if engine.is_shared() {
            fill_by_members(update);
            return Ok(None);
        }
        if all.get(&node).is_none_or(|it| it.id != id) {
            let reach = Reach { node, upto: None, complete: false };
            all.insert(node, Gathering { id, reach, members: 0, parts: HashMap::default() });
        }
        let Some(gathering) = all.get_mut(&node) else { return Ok(None) };
        if gathering.reach.complete {
            return Ok(None);
        }
        let visited = gather_part(working, gathering, group, update, limit)?;
        if gathering.parts.len() > engine.gathered_owners && update.record.place.cursor.is_none() {
            all.remove(&node);
            fill_by_members(update);
            return Ok(None);
        }
        update.record.state = State::Running;
        update.record.visited = gathering.members;
        Ok(Some(Progress { id, ended: false, visited, walked: visited, commit: None, stored: false }))
    }
}

/// Has the groups of an update filled as their members come, of which none is counted yet.
fn fill_by_members(update: &mut Update) {
    let record = &mut update.record;
    (record.task, record.place, record.visited) = (Task::Empty, Place::default(), 0);
}

/// Looks at the next members, at most so many; tells how many those were.
fn gather_part(
    working: &Working<'_>,
    gathering: &mut Gathering,
    group: &Group,
    update: &Update,
    limit: usize,
) -> Result<usize, EngineError> {
    let behind = gathering.reach.upto.as_ref().map(|id| (id, false));
    let members = working.ids_ahead(group.member, behind, limit)?;
    let keys: Vec<Key> = members.into_iter().map(|id| Key::new(group.member, id)).collect();
    let lag = working.lags.get(&gathering.reach.node);
    let written = update.record.place.cursor.as_ref();
    let (count, wake) = (keys.len(), Wake::default());
    for (key, doc) in keys.iter().zip(working.after_many(&keys)?) {
        let Some(doc) = doc else { continue };
        let given = match lag {
            Some(lag) => lag.whole(working, group, &key.id, &doc, &wake)?,
            None => group::contribution(working, group, &key.id, &doc, &wake)?,
        };
        gathering.put(group, given.filter(|it| written.is_none_or(|written| it.owner > *written)));
    }
    gathering.members += count as u64;
    gathering.reach.complete = count < limit;
    if let Some(last) = keys.into_iter().last() {
        gathering.reach.upto = Some(last.id);
    }
    Ok(count)
}
