//! What groups have counted of the members that an open update has yet to come to.
//!
//! A group takes out of itself what it has counted of a member before it puts in what the member gives now; so that has
//! to be known to the last bit, also while an update is open. It follows from three things, none of them kept for each
//! member: the member as it is stored, how far the update has come, and, where the update follows a change of a resource
//! that members link to, that resource as it was before the change (its *image*, which the record keeps).
//!
//! - While a group is filled, a member behind the place of the walk is not counted at all; where the members are gathered
//!   first ([`super::gather`]), those of an owner behind the place.
//! - While a change is followed, a member that links to the changed resource and stands behind the place of the walk is
//!   counted as if that resource were its image, whatever else the member's own commits change meanwhile.
//!
//! The members of one source, and of one type, are walked in the order of their ids, so one id is the whole place. Where
//! a source has changed again before its update has ended, a second update waits for the first: the images of both
//! stand, and the first counts up to the second's image.

use std::collections::BTreeMap;
use std::sync::Arc;

use corollary_schema::plan::follows::linked_type;
use corollary_schema::plan::{Group, Hop, Rule};
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use super::budget::{Edge, Left};
use super::ledger::Update;
use super::record::Task;
use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::eval::{View, Wake};
use crate::group::{Contribution, contribution};
use crate::working::Working;

/// Changes of sources that groups may have yet to follow at a time; what is beyond follows at once.
pub const MAX_IMAGES: usize = 64;

/// What the groups of one node have yet to count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lag {
    filling: Option<Filling>,
    /// In the order in which their updates began.
    images: Vec<Image>,
}

/// How far groups are filled.
#[derive(Clone, Debug)]
enum Filling {
    /// The groups of the owners up to this one are empty; no member is counted.
    Emptied(Option<Id>),
    /// The members up to this one are counted.
    Counted(Option<Id>),
    /// The groups of the owners up to this one count all members, and the others none.
    Gathered(Option<Id>),
}

/// A resource as members count it that the walk has yet to come to.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// By which link they count it.
    pub via: FieldRef,
    /// Which resource.
    pub source: Key,
    /// As it was.
    pub doc: Arc<Doc>,
    /// The last member that the walk has come to.
    pub passed: Option<Id>,
}

impl Image {
    /// Does a member, as it is in a document, count the image?
    fn counts_for(&self, member: &Id, doc: &Doc) -> bool {
        let links = matches!(doc.get(self.via.slot), Value::Ref(id) if *id == self.source.id);
        links && is_behind(member, self.passed.as_ref())
    }
}

/// Has a walk in the order of ids that has come to `passed` yet to come to an id?
fn is_behind(id: &Id, passed: Option<&Id>) -> bool {
    passed.is_none_or(|passed| id > passed)
}

impl Lag {
    /// Another resource that has changed, by a change that began later than all others here.
    pub(crate) fn push(&mut self, image: Image) {
        self.images.push(image);
    }

    /// Has no member been passed since a resource changed, so that whatever it becomes is yet to be counted?
    fn is_left(&self, via: FieldRef, source: &Id) -> bool {
        let mut images = self.images.iter();
        images.any(|it| it.via == via && it.source.id == *source && it.passed.is_none())
    }

    /// Does a group of an owner hold anything that its members do not give?
    pub(crate) fn is_emptied(&self, owner: &Id) -> bool {
        match &self.filling {
            Some(Filling::Emptied(upto) | Filling::Gathered(upto)) => !is_behind(owner, upto.as_ref()),
            Some(Filling::Counted(_)) | None => true,
        }
    }

    /// Does the group of an owner count its members by now, as far as owners differ in that?
    pub(crate) fn counts_for(&self, owner: &Id) -> bool {
        match &self.filling {
            Some(Filling::Gathered(upto)) => !is_behind(owner, upto.as_ref()),
            Some(Filling::Emptied(_) | Filling::Counted(_)) | None => true,
        }
    }

    /// What groups have counted of a member that is as in a document, where `view` shows all others.
    pub(crate) fn contribution(
        &self,
        view: &dyn View,
        group: &Group,
        member: &Id,
        doc: &Doc,
        wake: &Wake,
    ) -> Result<Option<Contribution>, EngineError> {
        let whole = self.whole(view, group, member, doc, wake)?;
        Ok(whole.filter(|it| self.counts_for(&it.owner)))
    }

    /// The same, whether the group of its owner counts its members by now or not.
    pub(crate) fn whole(
        &self,
        view: &dyn View,
        group: &Group,
        member: &Id,
        doc: &Doc,
        wake: &Wake,
    ) -> Result<Option<Contribution>, EngineError> {
        match &self.filling {
            Some(Filling::Emptied(_)) => return Ok(None),
            Some(Filling::Counted(upto)) if is_behind(member, upto.as_ref()) => return Ok(None),
            _ => {}
        }
        let images: Vec<&Image> = self.images.iter().filter(|it| it.counts_for(member, doc)).collect();
        match images.is_empty() {
            true => contribution(view, group, member, doc, wake),
            false => contribution(&AsCounted { view, images }, group, member, doc, wake),
        }
    }
}

/// By node, what its groups have yet to count; those that lag in nothing are left out.
pub(crate) type Lags = BTreeMap<usize, Lag>;

/// What some open updates leave uncounted.
pub(crate) fn lags(schema: &Schema, open: &[Arc<Update>]) -> Lags {
    let mut lags = Lags::new();
    for update in open.iter().filter(|update| !update.record.is_done()) {
        let Some(edge) = update.edge() else { continue };
        if !matches!(schema.plan.nodes[edge.node].rule, Rule::Group(_)) {
            continue;
        }
        let lag = lags.entry(edge.node).or_default();
        let passed = update.record.place.cursor.clone();
        match (update.record.task, &edge.path[..], &update.image) {
            (Task::Empty, ..) => lag.filling = Some(Filling::Emptied(passed)),
            (Task::Gather, ..) => lag.filling = Some(Filling::Gathered(passed)),
            (Task::Fill, ..) => lag.filling = Some(Filling::Counted(passed)),
            (Task::Follow, [Hop::Link(via)], Some((source, doc))) => {
                lag.push(Image { via: *via, source: source.clone(), doc: doc.clone(), passed });
            }
            (Task::Follow | Task::Index, ..) => {}
        }
    }
    lags
}

/// What the groups of a node have yet to count, with what the current transaction leaves to them; nothing where they have
/// counted all that is stored.
pub(crate) fn lag(working: &Working<'_>, node: usize) -> Result<Option<Lag>, EngineError> {
    let mut lag = working.lags.get(&node).cloned();
    for (edge, left) in working.deferred.0.iter().filter(|(edge, _)| edge.node == node) {
        let [Hop::Link(via)] = edge.path[..] else { continue };
        for source in &left.sources {
            if let Some((source, doc)) = image(working, via, source)? {
                lag.get_or_insert_default().push(Image { via, source, doc, passed: None });
            }
        }
    }
    Ok(lag)
}

/// What a link led to before the current transaction.
pub(crate) fn image(
    working: &Working<'_>,
    via: FieldRef,
    source: &Id,
) -> Result<Option<(Key, Arc<Doc>)>, EngineError> {
    let Some(ty) = linked_type(working.schema, via) else { return Ok(None) };
    let key = Key::new(ty, source.clone());
    Ok(working.before(&key)?.map(|doc| (key, doc)))
}

/// Has a change of a source been left to groups already, by a link, with nothing of it done yet?
pub(crate) fn is_left(working: &Working<'_>, node: usize, via: FieldRef, source: &Id) -> bool {
    let by_this = |(edge, left): &(Edge, Left)| {
        edge.node == node && edge.path == [Hop::Link(via)] && left.sources.contains(source)
    };
    working.lags.get(&node).is_some_and(|lag| lag.is_left(via, source))
        || working.deferred.0.iter().any(by_this)
}

/// May one more change of a source be left to groups?
pub(crate) fn has_room(working: &Working<'_>) -> bool {
    let is_group = |edge: &Edge| matches!(working.schema.plan.nodes[edge.node].rule, Rule::Group(_));
    let left =
        working.deferred.0.iter().filter(|(edge, _)| is_group(edge)).map(|(_, left)| left.sources.len());
    let open = working.lags.values().map(|lag| lag.images.len());
    open.chain(left).sum::<usize>() < MAX_IMAGES
}

/// A state in which some resources are as groups have counted them.
struct AsCounted<'v> {
    view: &'v dyn View,
    /// The oldest first: what has been counted is what was there before the first change.
    images: Vec<&'v Image>,
}

impl View for AsCounted<'_> {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        match self.images.iter().find(|image| image.source.ty == ty && image.source.id == *id) {
            Some(image) => Ok(Some(image.doc.clone())),
            None => self.view.doc(ty, id),
        }
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        self.view.referrers(of, target)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        self.view.all(ty)
    }

    fn now(&self) -> Timestamp {
        self.view.now()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.view.holds_many(field)
    }
}
