//! The order of evaluation, and who reads what.

use std::collections::{HashMap, HashSet};

use super::reads::{Read, reads, surveys};
use super::recursion::{Recursion, components, is_cyclic, steering};
use super::{Hop, Need, Plan, PlanNode, Reader, Rule, Start, Stratum, slot_ix};
use crate::model::{FieldKind, FieldRef, Schema, TypeIx};
use crate::typed::Expr;

/// Puts the nodes in order and finds their readers. `exprs` are the derived fields as they were written.
pub fn finish(schema: &mut Schema, nodes: Vec<PlanNode>, exprs: &[(FieldRef, &Expr)], recursion: &Recursion) {
    let reads_of: Vec<Vec<Read>> = nodes.iter().map(node_reads).collect();
    let by_result: HashMap<FieldRef, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node.result, at)).collect();
    let needs = |which: &dyn Fn(&Read) -> bool| -> Vec<Vec<usize>> {
        let of = |reads: &Vec<Read>| -> Vec<usize> {
            let reads = reads.iter().filter(|read| which(read));
            reads.filter_map(|read| by_result.get(&read.field).copied()).collect()
        };
        reads_of.iter().map(of).collect()
    };
    let all = needs(&|_| true);
    let on_one_resource = needs(&|read| read.path.is_empty() && read.start == Start::Changed);
    let rank = ranks(&on_one_resource);

    let mut plan = Plan {
        nodes: Vec::with_capacity(nodes.len()),
        strata: Vec::new(),
        stratum_of: Vec::with_capacity(nodes.len()),
        readers: schema.types.iter().map(|ty| vec![Vec::new(); ty.fields.len()]).collect(),
        evaluated: vec![Vec::new(); schema.types.len()],
        surveying: vec![Vec::new(); schema.types.len()],
        grouped: vec![Vec::new(); schema.types.len()],
        through: Vec::with_capacity(nodes.len()),
    };
    let mut nodes: Vec<Option<PlanNode>> = nodes.into_iter().map(Some).collect();
    for mut component in components(&all) {
        let stratum = is_cyclic(&component, &all).then_some(plan.strata.len());
        let is_group =
            |at: &usize| nodes[*at].as_ref().is_some_and(|node| matches!(node.rule, Rule::Group(_)));
        component.sort_by_key(|at| (!is_group(at), rank[*at]));
        let results: HashSet<FieldRef> =
            component.iter().filter_map(|at| nodes[*at].as_ref()).map(|node| node.result).collect();
        let first = plan.nodes.len();
        for at in component {
            let Some(node) = nodes[at].take() else { continue };
            add_readers(schema, &mut plan, &node, &reads_of[at], stratum.map(|_| &results));
            let position = plan.nodes.len();
            for ty in node.expressions().into_iter().flat_map(surveys) {
                let surveying = &mut plan.surveying[ty.0 as usize];
                if surveying.last() != Some(&position) {
                    surveying.push(position);
                }
            }
            match &node.rule {
                Rule::Evaluate(_) => plan.evaluated[node.result.ty.0 as usize].push(position),
                Rule::Group(group) => plan.grouped[group.member.0 as usize].push(position),
            }
            plan.nodes.push(node);
            plan.through.push(reads_of[at].iter().flat_map(|read| read_through(schema, read)).collect());
            plan.stratum_of.push(stratum);
        }
        if stratum.is_some() {
            let nodes = first..plan.nodes.len();
            plan.strata.push(Stratum { nodes, needs: Vec::new() });
        }
    }
    add_needs(schema, &mut plan, exprs, recursion);
    schema.plan = plan;
}

/// The order of nodes by what they read of the same resource, which is no cycle.
fn ranks(needs: &[Vec<usize>]) -> Vec<usize> {
    let mut rank = vec![0; needs.len()];
    for (position, at) in components(needs).into_iter().flatten().enumerate() {
        rank[at] = position;
    }
    rank
}

/// Enters the node that comes next as a reader of all it reads; `stratum` are the results of the nodes that it needs and
/// that need it.
fn add_readers(
    schema: &mut Schema,
    plan: &mut Plan,
    node: &PlanNode,
    reads: &[Read],
    stratum: Option<&HashSet<FieldRef>>,
) {
    let mut steer = HashSet::new();
    if let (Some(results), Rule::Evaluate(evaluate)) = (stratum, &node.rule) {
        steering(&evaluate.expr, &|field| results.contains(&field), &mut steer);
    }
    for read in reads {
        refer_back(schema, &read.path);
        let (path, start, steers) = (read.path.clone(), read.start, steer.contains(&read.field));
        let reader = Reader { node: plan.nodes.len(), path, start, steers };
        let readers = &mut plan.readers[read.field.ty.0 as usize][slot_ix(read.field.slot)];
        if !readers.contains(&reader) {
            readers.push(reader);
        }
    }
}

/// The types of the resources through which something is read that is more than a value of theirs: where they lead to in turn,
/// what lies there, or who refers to them.
fn read_through(schema: &Schema, read: &Read) -> Vec<TypeIx> {
    let on = read.start == Start::Targets || leads_on(schema, read.field);
    let passed =
        if on { &read.path[..] } else { read.path.split_last().map_or(&[][..], |(_, before)| before) };
    passed.iter().filter_map(|hop| hop_target(schema, *hop)).collect()
}

/// The type of the resources to which a hop leads.
fn hop_target(schema: &Schema, hop: Hop) -> Option<TypeIx> {
    match hop {
        Hop::Everywhere(ty) => Some(ty),
        Hop::Reverse(field) => Some(field.ty),
        Hop::Link(field) => match &schema.field(field).kind {
            FieldKind::Link { target, .. }
            | FieldKind::Links { target, .. }
            | FieldKind::Embedded { target, .. } => Some(*target),
            FieldKind::Parent { collection } => Some(collection.ty),
            FieldKind::Derived { expr, .. } => expr.ty.resource(),
            FieldKind::Aggregate { ty, .. } => ty.resource(),
            _ => None,
        },
    }
}

/// Does a field lead to other resources?
fn leads_on(schema: &Schema, field: FieldRef) -> bool {
    match &schema.field(field).kind {
        FieldKind::Stored(ty) => ty.holds_links(),
        FieldKind::Derived { expr, .. } => expr.ty.resource().is_some(),
        FieldKind::Aggregate { ty, .. } => ty.resource().is_some(),
        FieldKind::Position { .. } => false,
        _ => true,
    }
}

/// Sees to it that a path can be walked backwards.
fn refer_back(schema: &mut Schema, path: &[Hop]) {
    for hop in path {
        if let Hop::Link(field) = hop {
            schema.types[field.ty.0 as usize].fields[slot_ix(field.slot)].reference_index = true;
        }
    }
}

/// Enters what the fields of each stratum may read of each other.
fn add_needs(schema: &mut Schema, plan: &mut Plan, exprs: &[(FieldRef, &Expr)], recursion: &Recursion) {
    let at: HashMap<FieldRef, usize> =
        plan.nodes.iter().enumerate().map(|(at, node)| (node.result, at)).collect();
    for (field, expr) in exprs {
        let Some(group) = recursion.group_of(*field) else { continue };
        let (Some(&node), fields) = (at.get(field), recursion.fields(group)) else { continue };
        let Some(stratum) = plan.stratum_of[node] else { continue };
        for read in reads(expr, field.ty).into_iter().filter(|read| fields.contains(&read.field)) {
            refer_back(schema, &read.path);
            let Some(&needed) = at.get(&read.field) else { continue };
            let need = Need { node, path: read.path, needed };
            let needs = &mut plan.strata[stratum].needs;
            if !needs.contains(&need) {
                needs.push(need);
            }
        }
    }
}

fn node_reads(node: &PlanNode) -> Vec<Read> {
    node.expressions().into_iter().flat_map(|expr| reads(expr, node.subject())).collect()
}
