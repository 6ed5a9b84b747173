//! Indexes over several fields: which part of one a query needs, and whether it comes in the order that is asked for.
//!
//! Fields that the query says the value of, by an equality or by the resource that its candidates refer to, are *fixed*. An
//! index answers the fixed fields that it begins with and a range of the next one: these are the rows that are walked.
//! In the order of an index fixed fields count for nothing, wherever they stand, as they do in the order that is asked for;
//! what is left of both has to be the same, or the same the other way round, down to the direction of the ids.

use std::cmp::Reverse;
use std::ops::Bound;
use std::sync::Arc;

use corollary_schema::typed::Expr;
use corollary_schema::{Composite, FieldId, FieldRef, IndexKey, Schema, Slot, TypeIx};
use corollary_store::{Direction, KeyRange};
use corollary_value::Value;

use super::access::{IdAt, Path, Rows, Scan, Trail};
use super::conditions::{Comparison, own_field};
use super::plan::Access;
use super::usable::Usable;
use super::{From, Query};
use crate::keys;

/// What a query says of the fields of its candidates.
struct Asked<'q> {
    query: &'q Query,
    comparisons: &'q [Comparison],
    /// The value that each of these has.
    fixed: Vec<(Slot, Value)>,
    /// The order, without what is fixed and what stands in it already; none where it is by something else than fields.
    order: Option<Vec<(Slot, bool)>>,
    /// Is nothing asked besides what the comparisons say?
    all_compared: bool,
}

/// A path over an index, and how good it is.
pub(super) struct Over {
    pub path: Path,
    /// Fields whose values are said.
    pub fixed: usize,
    /// These, and the one of which a range is left.
    answered: usize,
    /// Does the walk visit no more than the page?
    pub direct: bool,
}

/// The paths over indexes of several fields, the best first.
pub(super) fn over_several(
    usable: &Usable<'_, '_>,
    query: &Query,
    conjuncts: &[&Expr],
    comparisons: &[Comparison],
) -> Vec<Over> {
    let schema = usable.working.schema;
    let ty = schema.ty(query.ty);
    if ty.indexes.is_empty() {
        return Vec::new();
    }
    let asked = Asked::new(schema, query, conjuncts, comparisons);
    let of_use = ty.indexes.iter().filter_map(|index| Some((index.number, asked.over(usable, index)?)));
    let mut found: Vec<Over> =
        of_use.filter(|(number, _)| usable.has(*number)).map(|(_, over)| over).collect();
    found.sort_by_key(|over| (Reverse(over.direct), Reverse(over.path.ordered), Reverse(over.answered)));
    found
}

impl<'q> Asked<'q> {
    fn new(
        schema: &Schema,
        query: &'q Query,
        conjuncts: &[&Expr],
        comparisons: &'q [Comparison],
    ) -> Asked<'q> {
        let fixed = fixed(schema, query, comparisons);
        let is_fixed = |slot: Slot| fixed.iter().any(|(at, _)| *at == slot);
        let order = ordering(query).map(|order| {
            let mut left: Vec<(Slot, bool)> = Vec::with_capacity(order.len());
            for (slot, descending) in order {
                if !is_fixed(slot) && left.iter().all(|(at, _)| *at != slot) {
                    left.push((slot, descending));
                }
            }
            left
        });
        let all_compared = conjuncts.len() == comparisons.len();
        Asked { query, comparisons, fixed, order, all_compared }
    }

    fn value(&self, slot: Slot) -> Option<&Value> {
        self.fixed.iter().find(|(at, _)| *at == slot).map(|(_, value)| value)
    }

    /// The part of an index that the query needs; none where it is of no use.
    fn over(&self, usable: &Usable<'_, '_>, index: &Composite) -> Option<Over> {
        let ty = self.query.ty;
        let keys = &index.keys;
        let fixed = keys.iter().take_while(|key| self.value(key.slot).is_some()).count();
        if let From::Referring(field, _) = &self.query.from
            && !keys[..fixed].iter().any(|key| key.slot == field.slot)
        {
            return None;
        }
        let mut prefix = index.number.0.to_be_bytes().to_vec();
        for key in &keys[..fixed] {
            keys::push_part(self.value(key.slot)?, key.descending, &mut prefix);
        }
        let range = keys.get(fixed).map(|key| self.bounds(ty, &prefix, key.slot, key.descending));
        let (mut range, ranged) = range.unwrap_or_else(|| (KeyRange::prefix(prefix), false));
        let answered = fixed + usize::from(ranged);
        let direction = self.direction(index);
        let leading = usable.working.schema.field(FieldRef { ty, slot: keys[0].slot });
        let has_index = leading.index && usable.is_whole(leading.id);
        let has_own = has_index || (fixed == 1 && leading.reference_index);
        if direction.is_none() && (answered == 0 || (answered == 1 && has_own)) {
            return None;
        }
        if let Some(direction) = direction {
            range = self.behind_the_last(index, range, direction);
        }
        let direct = direction.is_some() && self.all_compared && self.asks_no_more(ty, &keys[..fixed]);
        let id_at = IdAt::Several(keys.iter().map(|key| key.descending).collect::<Arc<[bool]>>());
        let scan = Scan { keyspace: keys::INDEX, range, id_at };
        let path = Path {
            rows: Rows::Trail(Trail::Ids(scan)),
            direction: direction.unwrap_or(Direction::Forward),
            ordered: direction.is_some(),
            access: Access::Composite(ty, index.number),
        };
        Some(Over { path, fixed, answered, direct })
    }

    /// The rows behind a prefix that the comparisons of the next field leave, and whether they leave out any.
    fn bounds(&self, ty: TypeIx, prefix: &[u8], slot: Slot, descending: bool) -> (KeyRange, bool) {
        let next = FieldRef { ty, slot };
        let mut range = KeyRange::prefix(prefix.to_vec());
        let mut ranged = false;
        for it in self.comparisons {
            let (value, least) = match it {
                Comparison::AtLeast(at, value) if *at == next => (value, true),
                Comparison::AtMost(at, value) if *at == next => (value, false),
                _ => continue,
            };
            let mut bound = prefix.to_vec();
            keys::push_part(value, descending, &mut bound);
            // In a falling index the largest values stand first.
            match least != descending {
                true => range.from = Bound::Included(bound),
                false => range.to = KeyRange::prefix(bound).to,
            }
            ranged = true;
        }
        (range, ranged)
    }

    /// The direction in which an index comes in the order that is asked for, if it does.
    fn direction(&self, index: &Composite) -> Option<Direction> {
        let left = index.keys.iter().filter(|key| self.value(key.slot).is_none());
        let left: Vec<(Slot, bool)> = left.map(|key| (key.slot, key.descending)).collect();
        let order = self.order.as_ref()?;
        if left.len() != order.len() || left.iter().zip(order).any(|((left, _), (right, _))| left != right) {
            return None;
        }
        let ids_descend = self.query.order.last().is_some_and(|(_, descending)| *descending);
        let directions = left.iter().zip(order).map(|((_, index), (_, asked))| index != asked);
        let mut against = directions.chain([index.ids_descend() != ids_descend]);
        let first = against.next()?;
        against.all(|other| other == first).then_some(match first {
            false => Direction::Forward,
            true => Direction::Backward,
        })
    }

    /// What is left of a range behind the last item of the page before.
    fn behind_the_last(&self, index: &Composite, range: KeyRange, direction: Direction) -> KeyRange {
        let (Some(after), Some(order)) = (&self.query.after, ordering(self.query)) else { return range };
        let mut last = index.number.0.to_be_bytes().to_vec();
        for key in &index.keys {
            let at = order.iter().position(|(slot, _)| *slot == key.slot);
            let value = self.value(key.slot).or_else(|| after.values.get(at?));
            let Some(value) = value else { return range };
            keys::push_part(value, key.descending, &mut last);
        }
        keys::push_last_id(&after.id, index.ids_descend(), &mut last);
        match direction {
            Direction::Forward => range.resume_after(last),
            Direction::Backward => range.resume_before(last),
        }
    }

    /// Do all comparisons say the value of one of these fields? A range of values begins with those that are no value.
    fn asks_no_more(&self, ty: TypeIx, keys: &[IndexKey]) -> bool {
        let among = |field: &FieldRef| field.ty == ty && keys.iter().any(|key| key.slot == field.slot);
        self.comparisons.iter().all(|it| match it {
            Comparison::Equal(field, _) | Comparison::LinksTo(field, _) => among(field),
            _ => false,
        })
    }
}

/// The fields whose values a query says, each once.
fn fixed(schema: &Schema, query: &Query, comparisons: &[Comparison]) -> Vec<(Slot, Value)> {
    let mut fixed: Vec<(Slot, Value)> = Vec::new();
    let mut fix = |field: FieldRef, value: Value| {
        if field.ty == query.ty
            && schema.field(field).joins_indexes()
            && fixed.iter().all(|(at, _)| *at != field.slot)
        {
            fixed.push((field.slot, value));
        }
    };
    if let From::Referring(field, target) = &query.from {
        fix(*field, Value::Ref(target.clone()));
    }
    for it in comparisons {
        match it {
            Comparison::Equal(field, value) => fix(*field, value.clone()),
            Comparison::LinksTo(field, target) => fix(*field, Value::Ref(target.clone())),
            _ => {}
        }
    }
    fixed
}

/// The fields that an order is by, each with whether it is descending; none where it is by something else.
fn ordering(query: &Query) -> Option<Vec<(Slot, bool)>> {
    let by = |(key, descending): &(Expr, bool)| {
        let field = own_field(key).filter(|field| field.ty == query.ty)?;
        Some((field.slot, *descending))
    };
    query.order.iter().map(by).collect()
}

/// The index over several fields, as it would be declared, that a query with an equality and an order needs, or with an
/// order by several fields; none where it asks for something else, or has one.
pub(super) fn hint(schema: &Schema, query: &Query, comparisons: &[Comparison]) -> Option<String> {
    let ty = schema.ty(query.ty);
    let fixed = fixed(schema, query, comparisons);
    let mut keys: Vec<IndexKey> = Vec::new();
    let equal = fixed.iter().map(|(slot, _)| (*slot, false));
    let mut ordered = false;
    for (at, (slot, descending)) in equal.chain(ordering(query)?).enumerate() {
        if !schema.field(FieldRef { ty: query.ty, slot }).joins_indexes() {
            return None;
        }
        if keys.iter().all(|key| key.slot != slot) {
            ordered |= at >= fixed.len();
            keys.push(IndexKey { slot, descending });
        }
    }
    let is_there = ty.indexes.iter().any(|index| index.keys == keys);
    let index = Composite { number: FieldId(0), keys };
    (ordered && index.keys.len() > 1 && !is_there)
        .then(|| format!("`index ({})` on {}", index.describe(ty), ty.name))
}
