//! The order of evaluation, and who reads what.

use std::collections::HashMap;

use super::reads::{Read, reads};
use super::{Hop, Plan, PlanNode, Reader, Rule, slot_ix};
use crate::model::{FieldRef, Schema};

/// Fields that depend on each other, in the order of the dependency.
pub struct Cycle(pub Vec<FieldRef>);

/// Puts the nodes in order and finds their readers.
pub fn finish(schema: &mut Schema, nodes: Vec<PlanNode>) -> Result<(), Cycle> {
    let reads_of: Vec<Vec<Read>> = nodes.iter().map(node_reads).collect();
    let by_result: HashMap<FieldRef, usize> =
        nodes.iter().enumerate().map(|(at, node)| (node.result, at)).collect();
    let order = topological(&nodes, &reads_of, &by_result)?;

    let mut plan = Plan {
        nodes: Vec::with_capacity(nodes.len()),
        readers: schema.types.iter().map(|ty| vec![Vec::new(); ty.fields.len()]).collect(),
        evaluated: vec![Vec::new(); schema.types.len()],
        grouped: vec![Vec::new(); schema.types.len()],
    };
    let mut nodes: Vec<Option<PlanNode>> = nodes.into_iter().map(Some).collect();
    for (position, at) in order.into_iter().enumerate() {
        let Some(node) = nodes[at].take() else { continue };
        for read in &reads_of[at] {
            for hop in &read.path {
                if let Hop::Link(field) = hop {
                    schema.types[field.ty.0 as usize].fields[slot_ix(field.slot)].reference_index = true;
                }
            }
            let reader = Reader { node: position, path: read.path.clone(), start: read.start };
            let readers = &mut plan.readers[read.field.ty.0 as usize][slot_ix(read.field.slot)];
            if !readers.contains(&reader) {
                readers.push(reader);
            }
        }
        match &node.rule {
            Rule::Evaluate(_) => plan.evaluated[node.result.ty.0 as usize].push(position),
            Rule::Group(group) => plan.grouped[group.member.0 as usize].push(position),
        }
        plan.nodes.push(node);
    }
    schema.plan = plan;
    Ok(())
}

fn node_reads(node: &PlanNode) -> Vec<Read> {
    match &node.rule {
        Rule::Evaluate(evaluate) => reads(&evaluate.expr),
        Rule::Group(group) => group.expressions().flat_map(reads).collect(),
    }
}

/// Depth first, in the order of declaration, so that the order is the same each time.
fn topological(
    nodes: &[PlanNode],
    reads_of: &[Vec<Read>],
    by_result: &HashMap<FieldRef, usize>,
) -> Result<Vec<usize>, Cycle> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    // Each entry: a node and how many of its reads have been looked at. An explicit stack, since schemas may be large.
    for start in 0..nodes.len() {
        if state[start] != State::New {
            continue;
        }
        let mut stack = vec![(start, 0)];
        state[start] = State::Open;
        while let Some((at, looked)) = stack.last_mut() {
            let Some(read) = reads_of[*at].get(*looked) else {
                state[*at] = State::Done;
                order.push(*at);
                stack.pop();
                continue;
            };
            *looked += 1;
            let Some(&needed) = by_result.get(&read.field) else { continue };
            match state[needed] {
                State::Done => {}
                State::New => {
                    state[needed] = State::Open;
                    stack.push((needed, 0));
                }
                State::Open => {
                    let from = stack.iter().position(|(at, _)| *at == needed).unwrap_or(0);
                    return Err(Cycle(stack[from..].iter().map(|(at, _)| nodes[*at].result).collect()));
                }
            }
        }
    }
    Ok(order)
}
