//! Derived fields that need each other: which they are, and what steers their reading.
//!
//! Fields that need each other along links, parents, collections or inverses are a *group of recursion*: their values
//! are computed along the instances, and a cycle of instances is an error value. Fields that need each other on one and
//! the same resource can never have a value; such a schema is refused. What is found here is found in the expressions as
//! they were written; [`super::lower`] must not turn round what would hide a group's fields from each other, and
//! [`super::order`] makes one stratum of each group.

use std::collections::{HashMap, HashSet};

use corollary_syntax::ast::BinaryOp;

use super::reads::reads;
use super::{Hop, Start};
use crate::model::FieldRef;
use crate::typed::{Expr, Node};

/// Fields that need each other on one resource, in the order of the need.
pub struct Cycle(pub Vec<FieldRef>);

/// The groups of derived fields that need each other.
#[derive(Debug, Default)]
pub struct Recursion {
    groups: Vec<HashSet<FieldRef>>,
    group_of: HashMap<FieldRef, usize>,
}

impl Recursion {
    /// Finds the groups among typed expressions.
    pub fn of(exprs: &[(FieldRef, &Expr)]) -> Result<Recursion, Cycle> {
        let at: HashMap<FieldRef, usize> =
            exprs.iter().enumerate().map(|(at, (field, _))| (*field, at)).collect();
        let (mut needs, mut same) = (Vec::with_capacity(exprs.len()), Vec::with_capacity(exprs.len()));
        for (field, expr) in exprs {
            let (mut all, mut here) = (Vec::new(), Vec::new());
            for read in reads(expr, field.ty) {
                let Some(needed) = at.get(&read.field) else { continue };
                all.push(*needed);
                if read.path.is_empty() && read.start == Start::Changed {
                    here.push(*needed);
                }
            }
            needs.push(all);
            same.push(here);
        }
        if let Some(cycle) = cycle(&same) {
            return Err(Cycle(cycle.into_iter().map(|at| exprs[at].0).collect()));
        }
        let mut recursion = Recursion::default();
        for component in components(&needs) {
            if is_cyclic(&component, &needs) {
                let fields: HashSet<FieldRef> = component.iter().map(|at| exprs[*at].0).collect();
                let number = recursion.groups.len();
                recursion.group_of.extend(fields.iter().map(|field| (*field, number)));
                recursion.groups.push(fields);
            }
        }
        Ok(recursion)
    }

    /// The group of a field; none where it does not depend on itself.
    pub fn group_of(&self, field: FieldRef) -> Option<usize> {
        self.group_of.get(&field).copied()
    }

    /// Does a field read one of its group along a path that begins at a root collection?
    pub fn reads_itself_everywhere(&self, field: FieldRef, expr: &Expr) -> bool {
        let Some(group) = self.group_of(field) else { return false };
        let fields = self.fields(group);
        reads(expr, field.ty)
            .iter()
            .any(|read| fields.contains(&read.field) && matches!(read.path.first(), Some(Hop::Everywhere(_))))
    }

    /// The fields of each group.
    pub fn groups(&self) -> &[HashSet<FieldRef>] {
        &self.groups
    }

    /// The fields of a group.
    pub fn fields(&self, group: usize) -> &HashSet<FieldRef> {
        &self.groups[group]
    }
}

/// The strongly connected components of a graph, each after all that it needs; a component's parts in the order in
/// which they were met last. Depth first in the order of numbers, so that the order is the same each time, with an
/// explicit stack, since schemas may be large.
pub(super) fn components(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    const NEW: usize = usize::MAX;
    let mut index = vec![NEW; needs.len()];
    let mut low = vec![NEW; needs.len()];
    let mut open = vec![false; needs.len()];
    let (mut next, mut stack, mut found) = (0, Vec::new(), Vec::new());
    for start in 0..needs.len() {
        if index[start] != NEW {
            continue;
        }
        // Each entry: a part and how many of its needs have been looked at.
        let mut walk = vec![(start, 0)];
        while let Some((at, looked)) = walk.last_mut() {
            let at = *at;
            if *looked == 0 {
                (index[at], low[at], open[at]) = (next, next, true);
                next += 1;
                stack.push(at);
            }
            if let Some(&needed) = needs[at].get(*looked) {
                *looked += 1;
                if index[needed] == NEW {
                    walk.push((needed, 0));
                } else if open[needed] {
                    low[at] = low[at].min(index[needed]);
                }
                continue;
            }
            walk.pop();
            if let Some((outer, _)) = walk.last() {
                low[*outer] = low[*outer].min(low[at]);
            }
            if low[at] == index[at] {
                let from = stack.iter().rposition(|it| *it == at).unwrap_or(0);
                let component = stack.split_off(from);
                component.iter().for_each(|it| open[*it] = false);
                found.push(component);
            }
        }
    }
    found
}

/// A way around, where parts need each other; of the first such parts there are.
pub(crate) fn cycle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    let components = components(needs);
    components.iter().find(|component| is_cyclic(component, needs)).map(|component| around(component, needs))
}

/// Does each part of a component need itself, by way of the others or at once?
pub(super) fn is_cyclic(component: &[usize], needs: &[Vec<usize>]) -> bool {
    component.len() > 1 || component.iter().any(|at| needs[*at].contains(at))
}

/// A way from the first declared part of a cyclic component back to it.
fn around(component: &[usize], needs: &[Vec<usize>]) -> Vec<usize> {
    let Some(start) = component.iter().min().copied() else { return Vec::new() };
    let mut before: HashMap<usize, usize> = HashMap::new();
    let mut level = vec![start];
    while !level.is_empty() {
        let mut next = Vec::new();
        for at in level {
            for needed in needs[at].iter().filter(|needed| component.contains(needed)) {
                if *needed == start {
                    let mut way = vec![at];
                    while let Some(earlier) = way.last().and_then(|at| before.get(at)) {
                        way.push(*earlier);
                    }
                    way.reverse();
                    return way;
                }
                if let std::collections::hash_map::Entry::Vacant(entry) = before.entry(*needed) {
                    entry.insert(at);
                    next.push(*needed);
                }
            }
        }
        level = next;
    }
    component.to_vec()
}

/// Does an expression read any of some fields, anywhere in it?
pub(super) fn reads_any(expr: &Expr, is: &dyn Fn(FieldRef) -> bool) -> bool {
    let mut found = match &expr.node {
        Node::Get(_, field) | Node::Reverse(_, field) => is(*field),
        _ => false,
    };
    expr.for_parts(&mut |part, _| found = found || reads_any(part, is));
    found
}

/// The fields by which it is decided of which resources the fields of a recursion are read: links on the way to them,
/// and what stands in conditions, filters, orders and before an `else` or `??` over them. As long as none of those changes, no new
/// cycle of instances can come about.
pub(super) fn steering(expr: &Expr, is: &dyn Fn(FieldRef) -> bool, found: &mut HashSet<FieldRef>) {
    match &expr.node {
        Node::Get(base, field) if is(*field) => mark(base, found),
        Node::Conditional(condition, then, otherwise) => {
            if reads_any(then, is) || reads_any(otherwise, is) {
                mark(condition, found);
            }
        }
        Node::Switch(subject, cases, _) => {
            if reads_any(expr, is) {
                mark(subject, found);
                cases.iter().for_each(|(key, _)| mark(key, found));
            }
        }
        Node::Binary(BinaryOp::Else | BinaryOp::IfNull, left, right) => {
            if reads_any(right, is) {
                mark(left, found);
            }
        }
        Node::GroupBy(it) => {
            if reads_any(expr, is) {
                mark(&it.list, found);
                mark(&it.by, found);
            }
        }
        _ => {
            // What stands over the items of a list is read of as many as there are.
            let mut of_items = false;
            expr.for_parts(&mut |part, deeper| of_items = of_items || (deeper > 0 && reads_any(part, is)));
            if of_items {
                expr.for_parts(&mut |part, deeper| {
                    if deeper == 0 {
                        mark(part, found);
                    }
                });
            }
        }
    }
    expr.for_parts(&mut |part, _| steering(part, is, found));
}

/// All fields that an expression reads.
fn mark(expr: &Expr, found: &mut HashSet<FieldRef>) {
    if let Node::Get(_, field) | Node::Reverse(_, field) = &expr.node {
        found.insert(*field);
    }
    expr.for_parts(&mut |part, _| mark(part, found));
}
