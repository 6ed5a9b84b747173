//! Brings derived values up to date with changed facts: stratum by stratum, each node once, all its subjects together.
//!
//! A node's subjects are the resources that a change may reach: owners of an evaluated node, members of a group. The
//! plan tells how to find them from a change. A value that comes out as it was ends the walk there. What is beyond the
//! budget of a node is left to an update ([`crate::updates`]). Nodes that need each other are the business of
//! `recursive`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use corollary_schema::plan::follows::can_be_left;
use corollary_schema::plan::{Evaluate, Group, Hop, PlanNode, Reader, Rule, Start, Timer};
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};
use foldhash::fast::RandomState;
use hashbrown::HashSet;

use crate::clock;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{Eval, View, Wake};
use crate::group::{self, Counted, Place};
use crate::recursive;
use crate::updates::budget::Budget;
use crate::updates::lag;
use crate::working::{Working, linked, targets};

/// Counts of work, for tests that hold it to what the change needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Expressions evaluated per owner, and contributions of members compared.
    pub evaluations: u64,
    /// Derived values that changed.
    pub changed: u64,
    /// Rows read from the store, documents among them; what is in the cache costs none.
    pub rows_read: u64,
    /// Rows that go to the store, documents among them, the log's entry not.
    pub rows_written: u64,
}

/// The subjects of one node to look at.
#[derive(Default)]
struct Subjects {
    /// All that came or went with the transaction, in the order of keys: nodes of one type share them.
    fresh: Rc<[Key]>,
    /// Those that changed themselves, some perhaps more than once.
    own: Vec<Id>,
    /// Those that were reached from what changed elsewhere.
    reached: HashSet<Id, RandomState>,
    /// Of a node of a recursive stratum: those that may read fields of the stratum of other resources than before.
    steered: Vec<Id>,
    /// Are all that there are among them?
    everywhere: bool,
}

/// By node: the subjects to look at.
type Dirty = BTreeMap<usize, Subjects>;

impl Subjects {
    /// Are there none but those that came or went?
    fn are_fresh(&self) -> bool {
        self.own.is_empty() && self.reached.is_empty()
    }

    /// All of them as resources of a type, in order, each once.
    fn keys(self, ty: TypeIx) -> Rc<[Key]> {
        if self.are_fresh() {
            return self.fresh;
        }
        let others = self.own.into_iter().chain(self.reached).map(|id| Key::new(ty, id));
        let mut keys: Vec<Key> = self.fresh.iter().cloned().chain(others).collect();
        // Mostly in order already, which this sort makes use of.
        keys.sort();
        keys.dedup();
        keys.into()
    }
}

/// Brings all up to date with what the current transaction did to facts.
pub fn propagate(working: &mut Working<'_>) -> Result<Work, EngineError> {
    let mut dirty = Dirty::new();
    seed_all(working, &mut dirty)?;
    follow(working, dirty)
}

/// Brings up to date what the clock changes of some subjects, by node, and what the current transaction did to facts.
pub(crate) fn propagate_due(
    working: &mut Working<'_>,
    due: BTreeMap<usize, Vec<Id>>,
) -> Result<Work, EngineError> {
    let subjects = |own: Vec<Id>| Subjects { own, ..Subjects::default() };
    let mut dirty: Dirty = due.into_iter().map(|(node, own)| (node, subjects(own))).collect();
    seed_all(working, &mut dirty)?;
    follow(working, dirty)
}

/// Brings some subjects of a node up to date, and all that follows.
pub(crate) fn recompute(
    working: &mut Working<'_>,
    node: usize,
    subjects: Vec<Id>,
) -> Result<Work, EngineError> {
    follow(working, Dirty::from([(node, Subjects { own: subjects, ..Subjects::default() })]))
}

/// Makes the groups of some owners what they are told to be, whatever they hold, and brings up to date what follows.
pub(crate) fn put_groups(
    working: &mut Working<'_>,
    at: usize,
    owners: Vec<Id>,
    place: &dyn Fn(&Group, &Id) -> Place,
) -> Result<Work, EngineError> {
    let node = &working.schema.plan.nodes[at];
    let Rule::Group(group) = &node.rule else { return Ok(Work::default()) };
    let keys: Vec<Key> = owners.into_iter().map(|id| Key::new(node.result.ty, id)).collect();
    working.prefetch(keys.iter())?;
    let mut dirty = Dirty::new();
    let mut changed = 0;
    for key in &keys {
        let Place { state, result } = place(group, &key.id);
        if let Some(doc) = working.edit(key)? {
            doc.set_state(node.result.slot, state);
        }
        if let Some((key, old, new)) = put_result(working, node, key, result)? {
            changed += 1;
            notify(working, node.result, &key, false, &old, &new, &NOBODY, &mut dirty)?;
        }
    }
    let mut work = follow(working, dirty)?;
    work.changed += changed;
    Ok(work)
}

fn follow(working: &mut Working<'_>, mut dirty: Dirty) -> Result<Work, EngineError> {
    let schema = working.schema;
    let mut work = Work::default();
    while let Some((at, subjects)) = dirty.pop_first() {
        if let Some(stratum) = schema.plan.stratum(at) {
            let others = (at + 1..stratum.nodes.end).filter_map(|at| Some((at, dirty.remove(&at)?)));
            let subjects = [(at, subjects)].into_iter().chain(others).map(|(at, subjects)| {
                let all = subjects.own.into_iter().chain(subjects.reached).map(|id| (id, false));
                (at, all.chain(subjects.steered.into_iter().map(|id| (id, true))).collect())
            });
            let subjects = subjects.collect();
            let settled = recursive::settle(working, stratum, subjects)?;
            work.evaluations += settled.evaluations;
            work.changed += settled.changed.len() as u64;
            for (node, (key, old, new)) in &settled.changed {
                let (result, fresh) = (schema.plan.nodes[*node].result, working.is_fresh(key));
                notify(working, result, key, fresh, old, new, &stratum.nodes, &mut dirty)?;
            }
            continue;
        }
        let node = &schema.plan.nodes[at];
        // The transaction has those at hand.
        let at_hand = subjects.are_fresh();
        let keys = subjects.keys(node.subject());
        work.evaluations += keys.len() as u64;
        let changed = match &node.rule {
            Rule::Evaluate(evaluate) => evaluate_all(working, node, evaluate, &keys)?,
            Rule::Group(_) => {
                if !at_hand {
                    working.prefetch(keys.iter())?;
                }
                group::apply(working, at, &keys, Counted::Before)?
            }
        };
        work.changed += changed.len() as u64;
        if schema.plan.readers(node.result).is_empty() {
            continue;
        }
        for (key, old, new) in &changed {
            let fresh = working.is_fresh(key);
            notify(working, node.result, key, fresh, old, new, &NOBODY, &mut dirty)?;
        }
    }
    Ok(work)
}

/// Evaluates a node for some owners and stores its results; tells those that changed. Each owner is looked up once: what
/// is stored for one changes no other.
fn evaluate_all(
    working: &mut Working<'_>,
    node: &PlanNode,
    evaluate: &Evaluate,
    keys: &[Key],
) -> Result<Vec<Changed>, EngineError> {
    let mut changed = Vec::new();
    for (key, doc) in keys.iter().zip(working.after_many(keys)?) {
        let value = evaluate_doc(working, node, evaluate, key, doc.as_deref())?;
        if let (Some(value), Some(doc)) = (value, doc) {
            let change = put_in(working, node, key, doc, value);
            refuse_error(working, node, change.as_ref())?;
            changed.extend(change);
        }
    }
    Ok(changed)
}

/// The value of a node for an owner that is there; its timer, if it has one, is set along with it.
pub fn evaluate_owner(
    working: &mut Working<'_>,
    node: &PlanNode,
    evaluate: &Evaluate,
    key: &Key,
) -> Result<Option<Value>, EngineError> {
    let doc = working.after(key)?;
    evaluate_doc(working, node, evaluate, key, doc.as_deref())
}

fn evaluate_doc(
    working: &mut Working<'_>,
    node: &PlanNode,
    evaluate: &Evaluate,
    key: &Key,
    doc: Option<&Doc>,
) -> Result<Option<Value>, EngineError> {
    let wake = Wake::default();
    let value = match doc {
        Some(doc) => {
            let mut eval = Eval::of(working, &key.id, doc);
            if let Some(Timer::Changes(_)) = evaluate.timer {
                eval = eval.waking(&wake);
            }
            Some(eval.value(&evaluate.expr)?)
        }
        None => None,
    };
    match evaluate.timer {
        Some(Timer::Changes(slot)) => clock::rearm_owner(working, node, key, slot, wake.get())?,
        Some(Timer::Expires) => {
            let end = value.as_ref().and_then(clock::time_in);
            clock::rearm_owner(working, node, key, node.result.slot, end)?;
        }
        None => {}
    }
    Ok(value)
}

/// A changed result: whose, the old and the new value.
pub type Changed = (Key, Value, Value);

/// Stores a node's result; tells the change, if it is one. Refused where a strict field would become an error.
pub fn store_result(
    working: &mut Working<'_>,
    node: &PlanNode,
    key: &Key,
    value: Value,
) -> Result<Option<Changed>, EngineError> {
    let changed = put_result(working, node, key, value)?;
    refuse_error(working, node, changed.as_ref())?;
    Ok(changed)
}

fn refuse_error(
    working: &Working<'_>,
    node: &PlanNode,
    changed: Option<&Changed>,
) -> Result<(), EngineError> {
    match changed {
        Some((_, _, new @ Value::Error(_))) if !working.by_clock => {
            refuse_strict(working.schema, node.result, new)
        }
        _ => Ok(()),
    }
}

/// Stores a node's result as [`store_result`] does, whatever it is. Null is kept as nothing at all.
pub fn put_result(
    working: &mut Working<'_>,
    node: &PlanNode,
    key: &Key,
    value: Value,
) -> Result<Option<Changed>, EngineError> {
    let Some(doc) = working.after(key)? else { return Ok(None) };
    Ok(put_in(working, node, key, doc, value))
}

/// Stores a node's result in a document as it is now.
fn put_in(
    working: &mut Working<'_>,
    node: &PlanNode,
    key: &Key,
    doc: Arc<Doc>,
    value: Value,
) -> Option<Changed> {
    let value = if value.is_null() { Value::Absent } else { value };
    let old = doc.get(node.result.slot);
    if *old == value {
        return None;
    }
    let old = old.clone();
    working.set_in(key, doc, node.result.slot, value.clone()).then(|| (key.clone(), old, value))
}

/// The refusal of an error, where the field is strict.
pub fn refuse_strict(schema: &Schema, field: FieldRef, error: &Value) -> Result<(), EngineError> {
    let field = schema.field(field);
    if !matches!(field.kind, FieldKind::Derived { strict: true, .. }) {
        return Ok(());
    }
    let message = format!("`{}` would be {error}, and the field is strict", field.name);
    Err(EngineError::refused("strict", Some(&field.name), message))
}

/// Finds whom the changes of facts reach.
fn seed_all(working: &mut Working<'_>, dirty: &mut Dirty) -> Result<(), EngineError> {
    let schema = working.schema;
    let keys = working.touched_keys();
    for keys in keys.chunk_by(|left, right| left.ty == right.ty) {
        let ty = keys[0].ty;
        // What came or went is looked at by all nodes of its type: by most all of it together.
        let nodes = schema.plan.evaluated[ty.0 as usize].iter().chain(&schema.plan.grouped[ty.0 as usize]);
        let (together, apart): (Vec<usize>, Vec<usize>) = nodes.partition(|node| {
            let nothing = working.budgets.is_some_and(|budgets| budgets.of(**node) == Budget::Nothing);
            !nothing && schema.plan.stratum(**node).is_none()
        });
        let heeded: Vec<Slot> = heeded(schema, ty).collect();
        let mut fresh = Vec::new();
        for key in keys {
            if seed(working, key, (&apart, &heeded), dirty)? {
                fresh.push(key.clone());
            }
        }
        if fresh.is_empty() {
            continue;
        }
        let fresh: Rc<[Key]> = fresh.into();
        for node in together {
            dirty.entry(node).or_default().fresh = fresh.clone();
        }
    }
    Ok(())
}

/// The fields of a type that somebody reads for whom it is not enough that all nodes of a resource that comes or goes are
/// looked at.
fn heeded(schema: &Schema, ty: TypeIx) -> impl Iterator<Item = Slot> {
    schema.ty(ty).slots().map(|(slot, _)| slot).filter(move |slot| {
        let readers = schema.plan.readers(FieldRef { ty, slot: *slot });
        readers.iter().any(|reader| !comes_along(schema, reader))
    })
}

/// Is a reader of a resource that comes or goes looked at in any case? All nodes of its own are; and whoever reaches it by
/// links that are facts changed a link in the same transaction. A derived link may follow later.
fn comes_along(schema: &Schema, reader: &Reader) -> bool {
    reader.start == Start::Changed && reader.path.iter().all(|hop| is_fact(schema, *hop))
}

/// Finds whom a change of facts of one resource reaches: of the nodes of one that came or went, those that are looked at
/// apart, and who reads the fields that are heeded of such. Did it come or go?
fn seed(
    working: &mut Working<'_>,
    key: &Key,
    (apart, heeded): (&[usize], &[Slot]),
    dirty: &mut Dirty,
) -> Result<bool, EngineError> {
    let schema = working.schema;
    let (before, after) = working.before_and_after(key)?;
    let fresh = before.is_none() || after.is_none();
    if fresh {
        let nodes = &schema.plan;
        for node in apart {
            own(working, *node, key, nodes.nodes[*node].result, nodes.stratum(*node).is_some(), dirty)?;
        }
        for node in &nodes.surveying[key.ty.0 as usize] {
            everywhere(working, *node, (key, nodes.nodes[*node].result), dirty)?;
        }
        for slot in heeded {
            changed_slot(working, key, *slot, (&before, &after), dirty)?;
        }
        return Ok(true);
    }
    for (slot, _) in schema.ty(key.ty).slots() {
        changed_slot(working, key, slot, (&before, &after), dirty)?;
    }
    Ok(false)
}

/// Finds whom the change of one field reaches, if it is one.
fn changed_slot(
    working: &mut Working<'_>,
    key: &Key,
    slot: Slot,
    (before, after): (&Option<Arc<Doc>>, &Option<Arc<Doc>>),
    dirty: &mut Dirty,
) -> Result<(), EngineError> {
    let schema = working.schema;
    let field = FieldRef { ty: key.ty, slot };
    if schema.plan.readers(field).is_empty() {
        return Ok(());
    }
    let fresh = before.is_none() || after.is_none();
    if let FieldKind::Embedded { .. } = schema.field(field).kind {
        let held = |doc: Option<&Doc>| -> Value {
            let ids = doc.map(|doc| linked(schema, field, doc)).unwrap_or_default();
            Value::List(ids.into_iter().map(Value::Ref).collect())
        };
        let (old, new) = (held(before.as_deref()), held(after.as_deref()));
        if old != new {
            notify(working, field, key, fresh, &old, &new, &NOBODY, dirty)?;
        }
        return Ok(());
    }
    let absent = Value::Absent;
    let old = before.as_ref().map_or(&absent, |doc| doc.get(slot));
    let new = after.as_ref().map_or(&absent, |doc| doc.get(slot));
    if old != new {
        notify(working, field, key, fresh, old, new, &NOBODY, dirty)?;
    }
    Ok(())
}

/// Marks a subject that changed itself; `steers` where it may read fields of its own stratum of others than before.
fn own(
    working: &mut Working<'_>,
    node: usize,
    key: &Key,
    field: FieldRef,
    steers: bool,
    dirty: &mut Dirty,
) -> Result<(), EngineError> {
    // The timer of what is gone goes at once.
    let gone = working.schema.plan.nodes[node].is_timed() && working.after(key)?.is_none();
    match working.budgets.map(|budgets| budgets.of(node)) {
        Some(Budget::Nothing) if !gone => working.deferred.add(node, &[], [key.id.clone()], (key, field)),
        _ => {
            let subjects = dirty.entry(node).or_default();
            let marked = if steers { &mut subjects.steered } else { &mut subjects.own };
            marked.push(key.id.clone());
        }
    }
    Ok(())
}

/// No nodes are passed over.
const NOBODY: Range<usize> = 0..0;

/// Marks the subjects of all readers of a changed field other than those that are passed over; `fresh` where the resource
/// itself came or went.
#[allow(clippy::too_many_arguments)] // a change has five parts, and they are named at each call
fn notify(
    working: &mut Working<'_>,
    field: FieldRef,
    key: &Key,
    fresh: bool,
    old: &Value,
    new: &Value,
    except: &Range<usize>,
    dirty: &mut Dirty,
) -> Result<(), EngineError> {
    let schema = working.schema;
    for reader in schema.plan.readers(field).iter().filter(|reader| !except.contains(&reader.node)) {
        if fresh && comes_along(schema, reader) {
            continue;
        }
        let start: BTreeSet<Id> = match (reader.start, &reader.path[..]) {
            (Start::Changed, []) => {
                own(working, reader.node, key, field, reader.steers, dirty)?;
                continue;
            }
            (Start::Changed, _) => BTreeSet::from([key.id.clone()]),
            (Start::Targets, _) => targets(old).into_iter().chain(targets(new)).collect(),
        };
        let limit = limit(working, reader.node, &reader.path);
        // What is the same for all stands at the beginning of a path: where the walk gets there, it concerns all.
        if let [Hop::Everywhere(_), path @ ..] = &reader.path[..] {
            let reached = walk_back(working, path, start, limit)?;
            if reached.is_none_or(|reached| !reached.is_empty()) {
                everywhere(working, reader.node, (key, field), dirty)?;
            }
            continue;
        }
        if let (Rule::Group(_), [Hop::Link(via)]) = (&schema.plan.nodes[reader.node].rule, &reader.path[..]) {
            // Each source has an update of its own, for its image.
            let known = lag::is_left(working, reader.node, *via, &key.id);
            let subjects = if known { None } else { walk_back(working, &reader.path, start.clone(), limit)? };
            let subjects = match subjects {
                None if !known && !lag::has_room(working) => {
                    walk_back(working, &reader.path, start.clone(), usize::MAX)?
                }
                subjects => subjects,
            };
            match subjects {
                Some(subjects) if subjects.is_empty() => {}
                Some(subjects) => dirty.entry(reader.node).or_default().reached.extend(subjects),
                None => working.deferred.add(reader.node, &reader.path, start, (key, field)),
            }
            continue;
        }
        // Where there is too much along an edge already, it is not walked again for each further source.
        let subjects = match working.deferred.has(reader.node, &reader.path) {
            true => None,
            false => walk_back(working, &reader.path, start.clone(), limit)?,
        };
        let reached = dirty.get(&reader.node).map_or(0, |subjects| subjects.reached.len());
        match subjects {
            Some(subjects) if subjects.is_empty() => {}
            Some(subjects) if reader.steers => {
                dirty.entry(reader.node).or_default().steered.extend(subjects);
            }
            Some(subjects) if reached.saturating_add(subjects.len()) <= limit => {
                dirty.entry(reader.node).or_default().reached.extend(subjects);
            }
            _ => working.deferred.add(reader.node, &reader.path, start, (key, field)),
        }
    }
    Ok(())
}

/// To how many subjects of a node a change may go along a path in its own commit.
fn limit(working: &Working<'_>, node: usize, path: &[Hop]) -> usize {
    if !can_be_left(working.schema, node, path) {
        return usize::MAX;
    }
    match working.budgets.map(|budgets| budgets.of(node)) {
        Some(Budget::Walked(limit)) => limit,
        Some(Budget::Nothing) => 0,
        Some(Budget::Unbounded) | None => usize::MAX,
    }
}

/// Marks all subjects of a node.
fn everywhere(
    working: &mut Working<'_>,
    node: usize,
    cause: (&Key, FieldRef),
    dirty: &mut Dirty,
) -> Result<(), EngineError> {
    let ty = working.schema.plan.nodes[node].subject();
    let path = [Hop::Everywhere(ty)];
    if dirty.get(&node).is_some_and(|subjects| subjects.everywhere) || working.deferred.has(node, &path) {
        return Ok(());
    }
    let limit = limit(working, node, &path);
    let all = working.ids_page(ty, None, limit.saturating_add(1))?;
    if all.len() <= limit {
        let subjects = dirty.entry(node).or_default();
        // In a recursion, who came or went may lead the reading elsewhere.
        let steers = working.schema.plan.stratum(node).is_some();
        if steers { &mut subjects.steered } else { &mut subjects.own }.extend(all);
        subjects.everywhere = true;
    } else {
        // Whatever it was that changed, the walk is the same.
        working.deferred.add(node, &path, [Schema::shared_id()], cause);
    }
    Ok(())
}

/// Does a step of a path go by what somebody wrote?
fn is_fact(schema: &Schema, hop: Hop) -> bool {
    match hop {
        Hop::Link(field) | Hop::Reverse(field) => schema.field(field).is_fact(),
        Hop::Everywhere(_) => true,
    }
}

/// From where a change is, back along a path to the subjects that read it, a whole set at each step; none where one of
/// them has more than `limit`.
pub(crate) fn walk_back(
    working: &Working<'_>,
    path: &[Hop],
    start: BTreeSet<Id>,
    limit: usize,
) -> Result<Option<BTreeSet<Id>>, EngineError> {
    let mut at = start;
    for hop in path.iter().rev() {
        let mut next = BTreeSet::new();
        match hop {
            Hop::Everywhere(ty) => {
                if !at.is_empty() {
                    next.extend(working.ids_page(*ty, None, limit.saturating_add(1))?);
                }
                if next.len() > limit {
                    return Ok(None);
                }
            }
            Hop::Link(field) => {
                for id in &at {
                    next.extend(match limit {
                        usize::MAX => working.referrers(*field, id)?,
                        limit => working.referrers_page(*field, id, None, limit + 1)?,
                    });
                    if next.len() > limit {
                        return Ok(None);
                    }
                }
            }
            Hop::Reverse(field) => {
                let keys: Vec<Key> = at.into_iter().map(|id| Key::new(field.ty, id)).collect();
                working.prefetch(keys.iter())?;
                for key in &keys {
                    if let Some(doc) = working.after(key)? {
                        next.extend(linked(working.schema, *field, &doc));
                    }
                    if next.len() > limit {
                        return Ok(None);
                    }
                }
            }
        }
        at = next;
    }
    Ok(Some(at))
}

/// What a new resource has before anything is counted for it.
pub fn initial(schema: &Schema, ty: TypeIx, doc: &mut Doc) {
    for node in schema.plan.nodes.iter().filter(|node| node.result.ty == ty) {
        if let Rule::Group(group) = &node.rule {
            doc.set(node.result.slot, empty_result(group));
        }
    }
}

/// The result of a group without members.
pub fn empty_result(group: &Group) -> Value {
    match group.of_nothing(&group.kind()) {
        Value::Null => Value::Absent,
        value => value,
    }
}
