//! The plan in words: what each node computes, and how a change of each input finds its way to it.

use std::fmt::Write;

use super::{Hop, PlanNode, Reader, Rule, Start};
use crate::model::{FieldRef, Schema};
use crate::typed::{Expr, Show};

/// The whole plan, a node a paragraph, in the order of evaluation.
pub fn describe(schema: &Schema) -> String {
    let mut out = String::new();
    for (at, node) in schema.plan.nodes.iter().enumerate() {
        describe_node(schema, at, node, &mut out).expect("writing to a String does not fail");
    }
    out
}

fn field_name(schema: &Schema, field: FieldRef) -> String {
    format!("{}.{}", schema.ty(field.ty).name, schema.field(field).name)
}

fn describe_node(schema: &Schema, at: usize, node: &PlanNode, out: &mut String) -> std::fmt::Result {
    let show = |expr: &Expr| Show(expr, schema).to_string();
    write!(out, "{} = ", field_name(schema, node.result))?;
    match &node.rule {
        Rule::Evaluate(evaluate) => {
            let cost = if evaluate.constant_cost { "evaluate" } else { "recompute" };
            write!(out, "{cost} {}", show(&evaluate.expr))?;
        }
        Rule::Group(group) => {
            write!(out, "{} of {} by {}", group.aggregate, schema.ty(group.member).name, show(&group.owner))?;
            if let Some(by) = &group.by {
                write!(out, ", for each {}", show(by))?;
            }
            if let Some(value) = &group.value {
                write!(out, ", value {}", show(value))?;
            }
            for condition in &group.conditions {
                write!(out, ", where {}", show(condition))?;
            }
            for (key, descending) in &group.keys {
                write!(out, ", order {}{}", show(key), if *descending { " desc" } else { "" })?;
            }
            if let Some(target) = &group.target {
                write!(out, ", each {} once", show(target))?;
            }
        }
    }
    if let Some(stratum) = schema.plan.stratum(at) {
        let others = stratum.nodes.clone().filter(|other| *other != at);
        let others: Vec<String> =
            others.map(|other| field_name(schema, schema.plan.nodes[other].result)).collect();
        let others = if others.is_empty() { "itself".into() } else { others.join(", ") };
        write!(out, ", again and again with {others}")?;
    }
    writeln!(out)?;
    if node.is_timed() {
        writeln!(out, "  by the clock, at times that are kept per {}", schema.ty(node.subject()).name)?;
    }
    for (ty, of) in schema.types() {
        for (slot, _) in of.slots() {
            let field = FieldRef { ty, slot };
            for reader in schema.plan.readers(field).iter().filter(|reader| reader.node == at) {
                writeln!(out, "  {}{}", field_name(schema, field), way_back(schema, reader))?;
            }
        }
        if schema.plan.surveying[ty.0 as usize].contains(&at) {
            let subject = &schema.ty(node.subject()).name;
            writeln!(out, "  a {} that comes or goes → all resources of {subject}", of.name)?;
        }
    }
    Ok(())
}

/// How a change of a field finds the subjects of the node.
fn way_back(schema: &Schema, reader: &Reader) -> String {
    let mut out = String::new();
    if reader.start == Start::Targets {
        out.push_str(", old and new target");
    }
    for hop in reader.path.iter().rev() {
        let step = match hop {
            Hop::Link(field) => format!(" ← {}", field_name(schema, *field)),
            Hop::Reverse(field) => format!(" → {}", field_name(schema, *field)),
            Hop::Everywhere(ty) => format!(" → all resources of {}", schema.ty(*ty).name),
        };
        out.push_str(&step);
    }
    if reader.steers {
        out.push_str(", steers");
    }
    out
}
