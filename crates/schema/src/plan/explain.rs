//! A derived field's plan in words: what it reads, how a change of each input finds those whose value may change, what
//! that costs, what is kept beside the value, and what to do where a change costs more than a step in an index.
//!
//! Everything is said of the plan alone, so it is what the engine does. Matches here name every kind of rule, step and
//! start: who adds one has to say what it costs. Read next: [`super::describe`], the same for those who know the plan.

use std::fmt::{self, Write};

use smol_str::SmolStr;

use super::follows::{DEFAULT_BUDGET, Follows, can_be_left, follows};
use super::lower::is_constant_cost;
use super::reads::fields;
use super::unparse;
use super::{Group, Hop, Keeping, PlanNode, Reader, Rule, Start, Stratum};
use crate::aggregate::Aggregate;
use crate::model::{Composite, FieldKind, FieldRef, ResourceType, Schema, TypeIx};
use crate::typed::{Expr, Node};

/// What one change of an input costs, for each of those whose value may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cost {
    /// The same whatever the size of the data.
    Constant,
    /// A step in an ordered index.
    Log,
    /// As much as the result has elements, for it is written anew as a whole.
    Result,
    /// As much as the lists that it reads have elements.
    Lists,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cost::Constant => "constant",
            Cost::Log => "log n",
            Cost::Result => "the size of the result",
            Cost::Lists => "the size of the lists that it reads",
        })
    }
}

/// What comes before the change of what decides of which resources a recursion reads.
const CIRCLES: &str = "; before that, the shorter of the ways up and down, for circles";

/// All derived fields, and all indexes over several fields, type by type in the order of declaration, with an empty line
/// between.
pub fn explain_all(schema: &Schema) -> String {
    let types = schema.types().map(|(ty, _)| explain_type(schema, ty));
    types.filter(|explained| !explained.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The derived fields of a type, and its indexes over several fields.
pub fn explain_type(schema: &Schema, ty: TypeIx) -> String {
    let of = schema.ty(ty);
    let derived = of.slots().filter_map(|(slot, _)| explain(schema, FieldRef { ty, slot }));
    let indexes = of.indexes.iter().map(|index| explain_index(of, index));
    derived.chain(indexes).collect::<Vec<_>>().join("\n")
}

/// An index over several fields: which questions it answers, and what it costs.
fn explain_index(ty: &ResourceType, index: &Composite) -> String {
    let owner = &ty.name;
    let names: Vec<&str> = index.keys.iter().map(|key| ty.field(key.slot).label()).collect();
    let rest = Composite { number: index.number, keys: index.keys[1..].to_vec() };
    let (all, rest, first) = (index.describe(ty), rest.describe(ty), names[0]);
    let mut out = format!("{owner} index ({all})\n");
    let mut line = |line: String| out.extend(["    ", &line, "\n"]);
    line(format!("kept: an entry for each {owner}"));
    line(format!("finds: what is equal in {}, from the left on, and a range of the next", names.join(", ")));
    line(format!(
        "orders: by {all}; where {first} is given, by {rest}, and so on; or all the other way round"
    ));
    line(format!("{} changes: its entry moves; {}", names.join(" or "), Cost::Log));
    out
}

/// A typed expression in the language.
pub fn expression(schema: &Schema, expr: &Expr) -> String {
    unparse::text(schema, expr, &|field| schema.field(field).name.clone())
}

/// One derived field; none where the field is not derived.
pub fn explain(schema: &Schema, field: FieldRef) -> Option<String> {
    let FieldKind::Derived { text, expr, lazy, .. } = &schema.field(field).kind else { return None };
    if *lazy {
        return Some(explain_lazy(schema, field, text, expr));
    }
    let (at, node) = schema.plan.nodes.iter().enumerate().find(|(_, node)| node.result == field)?;
    let follows = follows(schema);
    let mut explain = Explain { schema, parts: Vec::new(), follows, out: String::new() };
    explain.find_parts(at);
    let name = format!("{}.{}", schema.ty(field.ty).name, schema.field(field).name);
    writeln!(explain.out, "{name} := {text}").expect("writing to a String does not fail");
    explain.node(at, node).expect("writing to a String does not fail");
    for number in 0..explain.parts.len() {
        let (part, at) = explain.parts[number];
        let node = &schema.plan.nodes[at];
        let whose = match schema.shared == Some(part.ty) {
            true => "the same for all".to_string(),
            false => format!("of each {}", schema.ty(part.ty).name),
        };
        writeln!(explain.out, "  {} {whose}", unparse::part(number + 1))
            .expect("writing to a String does not fail");
        explain.node(at, node).expect("writing to a String does not fail");
    }
    Some(explain.out)
}

/// A field that is computed when it is read: what a read costs.
fn explain_lazy(schema: &Schema, field: FieldRef, text: &str, expr: &Expr) -> String {
    let (owner, name) = (&schema.ty(field.ty).name, &schema.field(field).name);
    let mut reads: Vec<String> = Vec::new();
    for read in fields(expr) {
        let name = format!("{}.{}", schema.ty(read.ty).name, schema.field(read).name);
        if !reads.contains(&name) {
            reads.push(name);
        }
    }
    let (from, cost) = match is_constant_cost(expr) {
        true => ("itself and what to-one links lead to", Cost::Constant),
        false => ("lists that are read again each time", Cost::Lists),
    };
    let mut out = format!("{owner}.{name} := {text}\n");
    let mut line = |line: String| out.extend(["    ", &line, "\n"]);
    line(format!("rule: lazy: computed for each {owner} whenever it is read, from {from}"));
    line("kept: nothing".into());
    if !reads.is_empty() {
        line(format!("reads: {}", reads.join(", ")));
    }
    line(format!("a write: nothing; each read of a {owner} that shows it: {cost}"));
    if cost == Cost::Lists {
        line("warning: each read costs the size of the lists that it reads; without `lazy` it is kept true by each change".into());
    }
    out
}

struct Explain<'a> {
    schema: &'a Schema,
    /// The hidden parts of the field, each with its node, in the order of their numbers.
    parts: Vec<(FieldRef, usize)>,
    /// By node, when it follows a change.
    follows: Vec<Follows>,
    out: String,
}

/// What a node reads, in the order of declaration.
fn inputs(schema: &Schema, at: usize) -> Vec<(FieldRef, &Reader)> {
    let fields = schema.types().flat_map(|(ty, of)| of.slots().map(move |(slot, _)| FieldRef { ty, slot }));
    fields
        .flat_map(|field| schema.plan.readers(field).iter().map(move |reader| (field, reader)))
        .filter(|(_, reader)| reader.node == at)
        .collect()
}

impl Explain<'_> {
    /// The hidden fields that a node reads, and those that they read.
    fn find_parts(&mut self, at: usize) {
        for (field, _) in inputs(self.schema, at) {
            let hidden = matches!(self.schema.field(field).kind, FieldKind::Aggregate { .. });
            if !hidden || self.parts.iter().any(|(part, _)| *part == field) {
                continue;
            }
            let node = self.schema.plan.nodes.iter().position(|node| node.result == field);
            if let Some(node) = node {
                self.parts.push((field, node));
                self.find_parts(node);
            }
        }
    }

    /// The name of a field, of a hidden one that of the part.
    fn name(&self, field: FieldRef) -> SmolStr {
        match self.parts.iter().position(|(part, _)| *part == field) {
            Some(at) => unparse::part(at + 1),
            None => self.schema.field(field).label().into(),
        }
    }

    /// A field with its type, where people know that.
    fn full_name(&self, field: FieldRef) -> String {
        match self.schema.shared == Some(field.ty) {
            true => self.name(field).into(),
            false => format!("{}.{}", self.type_name(field), self.name(field)),
        }
    }

    fn type_name(&self, field: FieldRef) -> &SmolStr {
        &self.schema.ty(field.ty).name
    }

    fn text(&self, expr: &Expr) -> String {
        unparse::text(self.schema, expr, &|field| self.name(field))
    }

    fn node(&mut self, at: usize, node: &PlanNode) -> fmt::Result {
        let (mut rule, mut kept) = match &node.rule {
            Rule::Evaluate(evaluate) => {
                let owner = self.type_name(node.result);
                let rule = if evaluate.constant_cost {
                    format!("evaluated for each {owner}, from itself and what to-one links lead to")
                } else {
                    format!("evaluated for each {owner}, from lists that are read again each time")
                };
                (rule, "the value alone".to_string())
            }
            Rule::Group(group) => (self.group(group), self.kept(node, group)),
        };
        if let Rule::Evaluate(evaluate) = &node.rule
            && let Some(steps) = steps(&evaluate.expr)
        {
            rule.push_str(&format!("; by JavaScript, in at most {steps} steps each"));
        }
        if let Some(stratum) = self.schema.plan.stratum(at) {
            rule.push_str(&self.along(at, stratum));
        }
        let subject = &self.schema.ty(node.subject()).name;
        if node.is_timed() {
            rule.push_str("; and by the clock, when a comparison with the time comes out otherwise");
            kept.push_str(&format!("; for each {subject}, the time of its next change by the clock"));
        }
        if self.follows[at] == Follows::InBackground {
            rule.push_str("; in the background, after the commit");
        }
        writeln!(self.out, "    rule: {rule}")?;
        writeln!(self.out, "    kept: {kept}")?;
        let mut warnings = Vec::new();
        let cost = cost(&node.rule);
        for (field, reader) in inputs(self.schema, at) {
            let (whom, many) = self.way_back(field, reader, &node.rule);
            let each = if many.is_some() { " for each" } else { "" };
            let circles = if reader.steers { CIRCLES } else { "" };
            let name = self.full_name(field);
            writeln!(self.out, "    {name} changes: {whom}; {cost}{each}{circles}")?;
            let recursive = self.schema.plan.stratum(at).is_some();
            let follows = match can_be_left(self.schema, at, &reader.path) {
                true => self.follows[at],
                false => Follows::AtOnce,
            };
            for advice in advice(cost, many.as_deref(), follows, recursive) {
                if !warnings.contains(&advice) {
                    warnings.push(advice);
                }
            }
        }
        for (ty, surveyed) in self.schema.types() {
            if self.schema.plan.surveying[ty.0 as usize].contains(&at) {
                let whom = self.counts_anew(&node.rule, format!("each {subject}"));
                writeln!(self.out, "    one {} more or less: {whom}; {cost} for each", surveyed.name)?;
            }
        }
        if node.is_timed() {
            let whom = self.counts_anew(&node.rule, format!("that {subject}"));
            let cost = cost.max(Cost::Log);
            writeln!(self.out, "    the clock reaches the time that is kept: {whom}; {cost}")?;
        }
        warnings.iter().try_for_each(|advice| writeln!(self.out, "    warning: {advice}"))
    }

    /// With whom a node is brought up to date again and again.
    fn along(&self, at: usize, stratum: &Stratum) -> String {
        let others = stratum.nodes.clone().filter(|other| *other != at);
        let others: Vec<String> = others
            .map(|other| self.schema.plan.nodes[other].result)
            .map(|result| self.full_name(result))
            .collect();
        let with =
            if others.is_empty() { String::new() } else { format!(" together with {}", others.join(", ")) };
        format!("; again and again along its recursion{with}, as long as values change")
    }

    /// What a group computes.
    fn group(&self, group: &Group) -> String {
        let member = &self.schema.ty(group.member).name;
        let what = match (&group.value, &group.target) {
            (Some(value), _) if group.gives_several() => {
                // `[self].lines.price`, as it is kept, would only puzzle.
                format!("each of the `{}` of each {member}", self.text(&of_one(value)))
            }
            (Some(value), _) => format!("`{}` of each {member}", self.text(value)),
            (None, Some(target)) => format!("the `{}` of each {member}, each once", self.text(target)),
            (None, None) => format!("each {member}"),
        };
        let rule = match group.keeping() {
            Keeping::Counts | Keeping::Sums => "delta",
            Keeping::Order | Keeping::Ranks => "ordered",
        };
        let mut text = format!("{rule}: {} of {what}, {}", aggregate(group.aggregate), self.place(group));
        if let Some(by) = &group.by {
            text.push_str(&format!(", for each `{}`", self.text(by)));
        }
        for (at, condition) in group.conditions.iter().enumerate() {
            text.push_str(&format!(", {} `{}`", if at == 0 { "where" } else { "and" }, self.text(condition)));
        }
        for (at, (key, descending)) in group.keys.iter().enumerate() {
            let direction = if *descending { " desc" } else { "" };
            text.push_str(&format!("{} `{}`{direction}", if at == 0 { ", by" } else { "," }, self.text(key)));
        }
        text
    }

    /// Where a member counts.
    fn place(&self, group: &Group) -> String {
        match group.owner.node {
            Node::Shared => "once for all".into(),
            _ => format!("at its `{}`", self.text(&group.owner)),
        }
    }

    /// What is kept of the members of a group, beside the result.
    fn kept(&self, node: &PlanNode, group: &Group) -> String {
        let owner = self.type_name(node.result);
        let shared = self.schema.shared == Some(node.result.ty);
        let each = match (&group.by, shared) {
            (Some(_), false) => format!("for each {owner} and key"),
            (None, false) => format!("for each {owner}"),
            (Some(_), true) => "for each key, once for all".into(),
            (None, true) => "once for all".into(),
        };
        match group.keeping() {
            Keeping::Counts if group.target.is_some() => {
                format!("{each}, how many members stand for each element")
            }
            Keeping::Counts if group.by.is_some() => format!("{each}, how many there are"),
            Keeping::Counts => "the value alone".into(),
            Keeping::Sums => format!("{each}, the exact sum and how many there are"),
            Keeping::Order => format!("{each}, the members in order"),
            Keeping::Ranks => format!("{each}, the members in order, counted"),
        }
    }

    /// In words, how a change of a field finds those whose value may change; and who they are, where one change may
    /// reach many.
    fn way_back(&self, field: FieldRef, reader: &Reader, rule: &Rule) -> (String, Option<String>) {
        let changed = self.type_name(field);
        let mut steps = Vec::new();
        let mut many = None;
        match reader.start {
            Start::Changed => {}
            Start::Targets => {
                steps.push(format!(
                    "the old and the new {} of its `{}`",
                    self.target(field),
                    self.name(field)
                ));
            }
        }
        for hop in reader.path.iter().rev() {
            let step = match hop {
                Hop::Link(link) => {
                    let (from, unique) = (self.type_name(*link), self.schema.field(*link).rules.unique);
                    let each = if unique { "the" } else { "each" };
                    let step = match self.schema.field(*link).kind {
                        FieldKind::Parent { collection } => {
                            format!("each {from} in its `{}`", self.schema.field(collection).label())
                        }
                        FieldKind::Links { .. } => {
                            format!("each {from} whose `{}` hold it", self.name(*link))
                        }
                        _ => format!("{each} {from} whose `{}` it is", self.name(*link)),
                    };
                    if !unique {
                        many = Some(step.clone());
                    }
                    step
                }
                Hop::Everywhere(ty) => {
                    let step = format!("each {}", self.schema.ty(*ty).name);
                    many = Some(step.clone());
                    step
                }
                Hop::Reverse(link) => {
                    let target = self.target(*link);
                    if matches!(
                        self.schema.field(*link).kind,
                        FieldKind::Links { .. } | FieldKind::Embedded { .. }
                    ) {
                        let step = format!("each {target} in its `{}`", self.name(*link));
                        many = Some(step.clone());
                        step
                    } else {
                        format!("the {target} of its `{}`", self.name(*link))
                    }
                }
            };
            steps.push(step);
        }
        let whom = if steps.is_empty() { format!("that {changed}") } else { steps.join(", and of that ") };
        (self.counts_anew(rule, whom), many)
    }

    /// Who is evaluated, or which member counts anew and where.
    fn counts_anew(&self, rule: &Rule, whom: String) -> String {
        match rule {
            Rule::Evaluate(_) => whom,
            Rule::Group(group) => format!("{whom} counts anew {}", self.place(group)),
        }
    }

    /// The type that a link, a parent or a derived reference leads to.
    fn target(&self, link: FieldRef) -> SmolStr {
        let ty = match &self.schema.field(link).kind {
            FieldKind::Link { target, .. }
            | FieldKind::Links { target, .. }
            | FieldKind::Embedded { target, .. } => Some(*target),
            FieldKind::Parent { collection } => Some(collection.ty),
            FieldKind::Collection { child, .. } => Some(*child),
            FieldKind::Inverse { of } => Some(of.ty),
            FieldKind::Derived { expr, .. } => expr.ty.resource(),
            FieldKind::Aggregate { ty, .. } => ty.resource(),
            FieldKind::Stored(_)
            | FieldKind::Position { .. }
            | FieldKind::Among { .. }
            | FieldKind::Several { .. } => None,
        };
        ty.map_or("resource".into(), |ty| self.schema.ty(ty).name.clone())
    }
}

/// The steps that the functions in JavaScript of an expression may take; none where there is no such function.
fn steps(expr: &Expr) -> Option<u64> {
    let mut most = match &expr.node {
        Node::Script(script) => Some(script.limits.steps),
        _ => None,
    };
    expr.for_parts(&mut |part, _| {
        if let Some(steps) = steps(part) {
            most = Some(most.unwrap_or(0).saturating_add(steps));
        }
    });
    most
}

fn aggregate(aggregate: Aggregate) -> String {
    match aggregate {
        Aggregate::Collect => "the list".into(),
        Aggregate::Percentile(share) => format!("percentile {share}"),
        Aggregate::Top(count) => format!("the top {count}"),
        aggregate => aggregate.name().into(),
    }
}

/// What one change costs a rule, for each of those whom it reaches.
fn cost(rule: &Rule) -> Cost {
    match rule {
        Rule::Evaluate(evaluate) if evaluate.constant_cost => Cost::Constant,
        Rule::Evaluate(_) => Cost::Lists,
        Rule::Group(group) if group.by.is_some() => Cost::Result,
        Rule::Group(group) => match group.aggregate {
            Aggregate::Collect | Aggregate::Distinct | Aggregate::Join(_) => Cost::Result,
            _ => match group.keeping() {
                Keeping::Counts | Keeping::Sums => Cost::Constant,
                Keeping::Order | Keeping::Ranks => Cost::Log,
            },
        },
    }
}

/// What to do where a change costs more than a step in an index, or reaches many.
fn advice(cost: Cost, many: Option<&str>, follows: Follows, recursive: bool) -> Vec<String> {
    let reaches = match (many, follows) {
        (Some(many), _) if recursive => Some(format!(
            "one change reaches {many}, and goes on from there, all with its commit: keep what changes often out of \
             what many are computed from"
        )),
        (Some(many), Follows::AtOnce) => Some(format!(
            "one change reaches {many}, all of them with its commit: where these are many, leave the field out and read \
             through the link"
        )),
        (Some(many), Follows::WithinBudget) => Some(format!(
            "one change reaches {many}: past {DEFAULT_BUDGET} of them (`serve --update-budget`) the rest follow by an \
             update; where that is too late, leave the field out and read through the link"
        )),
        // It was declared so.
        (Some(_), Follows::InBackground) | (None, _) => None,
    };
    let expensive = match cost {
        Cost::Constant | Cost::Log => None,
        Cost::Result => Some(
            "the result is written anew as a whole: where it grows long, keep its count or its first elements, and \
             ask for the rest with a filter",
        ),
        Cost::Lists => Some(
            "all that it reads is read again: aggregate over an inverse, the reverse of a link or a collection \
             directly, with filters that read the member and what its to-one links lead to",
        ),
    };
    reaches.into_iter().chain(expensive.map(String::from)).collect()
}

/// Several values that a member gives, read off the member itself and not off a list of it alone.
fn of_one(value: &Expr) -> Expr {
    let part = |part: &Expr| Box::new(of_one(part));
    let node = match &value.node {
        Node::List(alone) if alone.len() == 1 => return alone[0].clone(),
        Node::Get(base, field) => Node::Get(part(base), *field),
        Node::Member(base, name) => Node::Member(part(base), name.clone()),
        Node::Filter(base, condition) => Node::Filter(part(base), condition.clone()),
        _ => return value.clone(),
    };
    Expr { node, ty: value.ty.clone() }
}
