//! Checks what groups keep beside their results: the states of sums, the members in order, the counts of targets, the
//! results of hidden parts of an expression, and the entries of indexes.
//!
//! A wrong one shows in no value yet, but the next change of the group would go on from it. The expected state is
//! computed from all members anew; that the values they are computed from are right is the business of the
//! [`crate::oracle`].

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_schema::plan::{Evaluate, Group, Keeping, PlanNode, Rule, Timer};
use corollary_schema::{FieldId, FieldKind, TypeIx};
use corollary_store::{Direction, KeyRange, Keyspace};
use corollary_value::{Id, SumState, Value};

use crate::aggregates::{aggregate_of, map_of};
use crate::clock;
use crate::doc::{Doc, Key};
use crate::entries::Entries;
use crate::error::EngineError;
use crate::eval::{Eval, Wake};
use crate::group::{self, Given, Header, Place};
use crate::index;
use crate::keys;
use crate::order;
use crate::rebuild::{self, Structure};
use crate::updates::Settled;
use crate::updates::lag::{Lag, lags};
use crate::working::{Row, Working, targets};

/// Members, or rows, that are held in memory at a time; what has more is gone through several times, a part at a time.
const TOGETHER: usize = 250_000;

/// The structures whose stored state is not what the stored values give, each with a sentence that says where.
pub fn check(working: &Working<'_>) -> Result<BTreeMap<Structure, String>, EngineError> {
    let mut wrong = BTreeMap::new();
    for structure in rebuild::structures(working.schema) {
        if let Some(message) = check_one(working, structure)? {
            wrong.insert(structure, message);
        }
    }
    Ok(wrong)
}

/// What is wrong with a structure, in a sentence; nothing where it is as the stored values give it.
pub fn check_one(working: &Working<'_>, structure: Structure) -> Result<Option<String>, EngineError> {
    check_within(working, structure, TOGETHER)
}

fn check_within(
    working: &Working<'_>,
    structure: Structure,
    together: usize,
) -> Result<Option<String>, EngineError> {
    let schema = working.schema;
    match structure {
        Structure::Definition(id) => {
            let nodes = &schema.plan.nodes;
            let Some(at) = nodes.iter().position(|node| node.definition == id) else { return Ok(None) };
            let node = &nodes[at];
            let odd = match &node.rule {
                Rule::Group(group) => {
                    let lag = lags(schema, &working.open_updates()).remove(&at).unwrap_or_default();
                    let mut odd = None;
                    for part in Part::all(count(working, group.member)?, together) {
                        odd = match odd {
                            None => check_group(working, node, group, &lag, part)?,
                            odd => odd,
                        };
                    }
                    odd
                }
                Rule::Evaluate(evaluate) => check_owners(working, node, evaluate)?,
            };
            let (ty, field) = (&schema.ty(node.result.ty).name, &schema.field(node.result).name);
            Ok(odd
                .map(|id| format!("what {ty} {id} keeps for `{field}` is not what follows from the values")))
        }
        Structure::Index(index) => {
            let Some((at, by)) = rebuild::indexed_by(schema, index) else { return Ok(None) };
            let Some(entries) = Entries::of(schema, structure) else {
                let differ = rows_differ(working, keys::INDEX, index, order::expected(working, at)?)?;
                return Ok(differ.then(|| {
                    format!(
                        "the order of the children of type {} is not what their positions give",
                        schema.ty(at.ty).name
                    )
                }));
            };
            let differ = !entries.wrong(working, together, 1)?.is_empty();
            let index = index::describe(schema, at, by);
            Ok(differ.then(|| format!("{index} is not what the values give")))
        }
        Structure::References(id) => {
            let Some(entries) = Entries::of(schema, structure) else { return Ok(None) };
            let differ = !entries.wrong(working, together, 1)?.is_empty();
            let named = rebuild::field_with(schema, id);
            let named = named.map(|at| format!("{}.{}", schema.ty(at.ty).name, schema.field(at).name));
            let named = named.unwrap_or_default();
            Ok(differ.then(|| format!("the references of {named} are not what the values give")))
        }
    }
}

/// The rows of an index or of references that are wrong, each for itself; none where there are more than so many, or the
/// structure has no such rows.
pub fn wrong_rows(
    working: &Working<'_>,
    structure: Structure,
    most: usize,
) -> Result<Option<Vec<Vec<u8>>>, EngineError> {
    let Some(entries) = Entries::of(working.schema, structure) else { return Ok(None) };
    let rows = entries.wrong(working, TOGETHER, most.saturating_add(1))?;
    Ok((rows.len() <= most).then_some(rows))
}

/// Resources whose documents are read together.
const PAGE: usize = 2_000;

/// Hands all resources of a type to `f`, in the order of their ids, a page after the other; false ends it.
pub(crate) fn each(
    working: &Working<'_>,
    ty: TypeIx,
    f: &mut dyn FnMut(Id, Arc<Doc>) -> Result<bool, EngineError>,
) -> Result<(), EngineError> {
    let mut behind: Option<Id> = None;
    loop {
        let ids = working.ids_page(ty, behind.as_ref().map(|id| (id, false)), PAGE)?;
        let is_last = ids.len() < PAGE;
        let keys: Vec<Key> = ids.into_iter().map(|id| Key::new(ty, id)).collect();
        behind = keys.last().map(|key| key.id.clone());
        for (key, doc) in keys.iter().zip(working.after_many(&keys)?) {
            if let Some(doc) = doc
                && !f(key.id.clone(), doc)?
            {
                return Ok(());
            }
        }
        if is_last {
            return Ok(());
        }
    }
}

/// How many resources of a type there are.
pub(crate) fn count(working: &Working<'_>, ty: TypeIx) -> Result<usize, EngineError> {
    let mut count = 0;
    let range = KeyRange::prefix(keys::docs_of(working.schema.ty(ty).id));
    working.base.scan(keys::DOC, &range, Direction::Forward, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// A part of what is looked at: what is named by bytes that fall into it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    at: u64,
    of: u64,
}

impl Part {
    /// The parts of so many, of which `together` are looked at at a time, about.
    pub(crate) fn all(count: usize, together: usize) -> impl Iterator<Item = Part> {
        let of = (count / together.max(1)) as u64 + 1;
        (0..of).map(move |at| Part { at, of })
    }

    pub(crate) fn has(self, bytes: &[u8]) -> bool {
        if self.of == 1 {
            return true;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        hasher.finish() % self.of == self.at
    }

    fn has_id(self, id: &Id) -> bool {
        let mut bytes = Vec::new();
        id.push_key(&mut bytes);
        self.has(&bytes)
    }
}

fn differ(stored: &Value, expected: &Value) -> bool {
    stored != expected && !(stored.is_null() && expected.is_null())
}

/// The members of one place in the order of its elements, each with what it gives.
type Members = Vec<(Id, Given)>;

/// The first owner whose state is wrong; where only rows are, the owner of the first of them is not told apart.
fn check_group(
    working: &Working<'_>,
    node: &PlanNode,
    group: &Group,
    lag: &Lag,
    part: Part,
) -> Result<Option<Id>, EngineError> {
    let mut timers = BTreeSet::new();
    let mut owners: BTreeMap<Id, Members> = BTreeMap::new();
    each(working, group.member, &mut |member, doc| {
        let wake = Wake::default();
        let it = lag.contribution(working, group, &member, &doc, &wake)?;
        let timer = wake.get().map(|time| keys::timer(node.definition, time, &member));
        timers.extend(timer.filter(|timer| part.has(timer)));
        if let Some(it) = it.filter(|it| part.has_id(&it.owner)) {
            let given = it.given.into_iter().map(|given| (member.clone(), given));
            owners.entry(it.owner).or_default().extend(given);
        }
        Ok(true)
    })?;
    for members in owners.values_mut() {
        // Members come in the order of their ids, which is the order of those that are equal otherwise.
        members.sort_by(|(_, left), (_, right)| left.order.cmp(&right.order));
    }
    let mut rows: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (owner, members) in &owners {
        let prefix = keys::members_of(node.definition, owner);
        if group.by.is_none() {
            place(group, &prefix, members, &mut rows);
            continue;
        }
        for (key, members) in by_key(members) {
            let kept = place(group, &group::place_of(&prefix, &key), &members, &mut rows);
            let header = Header { key: key.clone(), members: members.len() as u64, place: kept };
            rows.insert(group::header_key(&prefix, &key), header.encode());
        }
    }
    let mut wrong = None;
    each(working, node.result.ty, &mut |id, doc| {
        if !part.has_id(&id) || !lag.is_emptied(&id) {
            return Ok(true);
        }
        let members = owners.get(&id).map(Vec::as_slice).unwrap_or_default();
        let (state, result) = match group.by {
            Some(_) => {
                let keyed = members.iter().map(|(_, given)| (given.key.clone(), given.value.clone()));
                (SumState::default(), map_of(keyed.collect(), group.aggregate, &group.kind()))
            }
            None => {
                let kept = place(group, &[], members, &mut BTreeMap::new());
                (kept.state, kept.result)
            }
        };
        if doc.state(node.result.slot) != state || differ(doc.get(node.result.slot), &result) {
            wrong = Some(id);
        }
        Ok(wrong.is_none())
    })?;
    if wrong.is_some() {
        return Ok(wrong);
    }
    let owner_of = |key: &[u8]| key.get(4..).and_then(Id::read_key).map(|(id, _)| id);
    let mut expected = rows.into_iter();
    let mut odd = None;
    let prefix = KeyRange::prefix(node.definition.0.to_be_bytes().to_vec());
    working.base.scan(keys::MEMBER, &prefix, Direction::Forward, &mut |key, value| {
        // What belongs to nobody is odd in each part.
        if owner_of(key).is_some_and(|owner| !part.has_id(&owner)) {
            return ControlFlow::Continue(());
        }
        let next: Option<Row> = expected.next();
        if next.as_ref().is_some_and(|(k, v)| k == key && v == value) {
            return ControlFlow::Continue(());
        }
        odd = Some(next.map_or_else(|| key.to_vec(), |(k, _)| k.min(key.to_vec())));
        ControlFlow::Break(())
    })?;
    let odd = odd.or_else(|| expected.next().map(|(key, _)| key));
    if let Some(key) = odd {
        return owner_of(&key).map(Some).ok_or_else(|| EngineError::corrupt("the row of a member"));
    }
    first_odd_timer(working, node, timers, &BTreeSet::new(), part)
}

/// The first owner of an evaluated node for which its hidden result, or its timer, is wrong.
fn check_owners(
    working: &Working<'_>,
    node: &PlanNode,
    evaluate: &Evaluate,
) -> Result<Option<Id>, EngineError> {
    let hidden = matches!(working.schema.field(node.result).kind, FieldKind::Aggregate { .. });
    if !hidden && evaluate.timer.is_none() {
        return Ok(None);
    }
    let settled = Settled::new(working);
    let (mut timers, mut behind) = (BTreeSet::new(), BTreeSet::new());
    let mut wrong = None;
    each(working, node.result.ty, &mut |id, doc| {
        let wake = Wake::default();
        let value = Eval::new(working, &id).waking(&wake).value(&evaluate.expr)?;
        let time = match evaluate.timer {
            Some(Timer::Expires) => clock::time_in(&value),
            _ => wake.get(),
        };
        let kept = node.keeps_time().and_then(|slot| clock::time_in(doc.get(slot)));
        if settled.may_be_behind(node.result, &id)? {
            // Its timer is behind with it, and a repair sets it again when it comes there.
            behind.extend(kept.map(|time| keys::timer(node.definition, time, &id)));
            return Ok(true);
        }
        timers.extend(time.map(|time| keys::timer(node.definition, time, &id)));
        if (hidden && differ(doc.get(node.result.slot), &value)) || (evaluate.timer.is_some() && kept != time)
        {
            wrong = Some(id);
        }
        Ok(wrong.is_none())
    })?;
    if wrong.is_some() {
        return Ok(wrong);
    }
    first_odd_timer(working, node, timers, &behind, Part { at: 0, of: 1 })
}

/// The subject of the first timer of a node in a part that is not there and should be, or is and should not; some may be
/// there or not.
fn first_odd_timer(
    working: &Working<'_>,
    node: &PlanNode,
    expected: BTreeSet<Vec<u8>>,
    either: &BTreeSet<Vec<u8>>,
    part: Part,
) -> Result<Option<Id>, EngineError> {
    let mut there = BTreeSet::new();
    let prefix = KeyRange::prefix(keys::timers_of(node.definition));
    working.base.scan_keys(keys::TIMER, &prefix, Direction::Forward, &mut |key| {
        if part.has(key) && !either.contains(key) {
            there.insert(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    let odd = expected.symmetric_difference(&there).next();
    let subject = |key: &Vec<u8>| keys::read_timer(key).map(|(_, id)| id);
    odd.map(|key| subject(key).ok_or_else(|| EngineError::corrupt("a timer"))).transpose()
}

/// What a place with these members keeps; its rows are put to the others.
fn place(
    group: &Group,
    prefix: &[u8],
    members: &[(Id, Given)],
    rows: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) -> Place {
    let mut elements: Vec<Value> = members.iter().map(|(_, given)| given.value.clone()).collect();
    let mut state = SumState::default();
    match group.keeping() {
        Keeping::Sums => elements.iter().for_each(|value| state.add(value)),
        Keeping::Ranks => rows.extend(group::ranked_rows(prefix, members)),
        Keeping::Order => {
            let row =
                |(member, given): &(Id, Given)| group::ordered_row(group.aggregate, prefix, member, given);
            rows.extend(members.iter().filter_map(row));
        }
        Keeping::Counts if group.target.is_some() => {
            let mut counts: BTreeMap<Id, u64> = BTreeMap::new();
            for target in elements.iter().flat_map(targets) {
                *counts.entry(target).or_default() += 1;
            }
            for (target, count) in &counts {
                let mut key = prefix.to_vec();
                target.push_key(&mut key);
                rows.insert(key, keys::count(*count));
            }
            elements = counts.into_keys().map(Value::Ref).collect();
        }
        Keeping::Counts => {}
    }
    let list = Value::List(elements.into());
    Place { state, result: aggregate_of(group.aggregate, &list, &group.kind()) }
}

/// Members by the key of the map under which they count.
fn by_key(members: &[(Id, Given)]) -> Vec<(Value, Members)> {
    let mut all: BTreeMap<Vec<u8>, (Value, Members)> = BTreeMap::new();
    for (member, given) in members {
        let at = group::header_key(&[], &given.key);
        let place = all.entry(at).or_insert_with(|| (given.key.clone(), Vec::new()));
        place.1.push((member.clone(), given.clone()));
    }
    all.into_values().collect()
}

/// Is what stands in an index other than these rows, their values included?
fn rows_differ(
    working: &Working<'_>,
    keyspace: Keyspace,
    id: FieldId,
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<bool, EngineError> {
    let mut expected = expected.iter();
    let mut differs = false;
    let range = KeyRange::prefix(id.0.to_be_bytes().to_vec());
    working.base.scan(keyspace, &range, Direction::Forward, &mut |key, value| {
        differs = expected.next().is_none_or(|(k, v)| k != key || v != value);
        if differs { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(differs || expected.next().is_some())
}
