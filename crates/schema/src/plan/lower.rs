//! From a typed expression to plan nodes.
//!
//! An aggregate over a path that runs downwards (over inverses of to-one links and over collections), with filters
//! anywhere on it, is turned round: each member reaches its one owner by to-one links, so the path becomes an
//! expression of the member, the filters become conditions on the member, and the aggregate becomes a [`Group`].
//! What cannot be turned round stays in the expression and is evaluated per owner.

use std::collections::{HashMap, HashSet};

use corollary_syntax::ast::{BinaryOp, UnaryOp};
use corollary_value::Value;
use smol_str::{SmolStr, format_smolstr};

use super::recursion::{Recursion, reads_any};
use super::values::{ValuePath, split_value};
use super::{Evaluate, Group, PlanNode, Rule, Timer};
use crate::functions::Function;
use crate::ids::Ids;
use crate::model::{Field, FieldId, FieldKind, FieldRef, ResourceType, Rules, Schema, Slot, TypeIx};
use crate::typed::{Aggregate, Expr, GroupBy, Kind, Many, Node, Type, mentions_now, write_expr};

/// The name of the type of the one resource that keeps what is the same for all.
const SHARED: &str = "#all";

/// Lowers derived fields one after the other, adding hidden fields to the schema where it must.
pub struct Lowering<'a> {
    /// The schema so far; hidden fields are added to it.
    pub schema: &'a mut Schema,
    /// Numbers for hidden fields and definitions.
    pub ids: &'a mut Ids,
    /// The nodes made so far, in no particular order.
    pub nodes: Vec<PlanNode>,
    /// Which fields need each other.
    pub recursion: &'a Recursion,
    /// The fields that the one that is being lowered needs and that need it, hidden ones among them; by group of
    /// recursion, as they come about.
    pub entangled: Vec<HashSet<FieldRef>>,
    /// The group of the field that is being lowered.
    pub current: Option<usize>,
}

impl<'a> Lowering<'a> {
    /// Nothing is lowered yet.
    pub fn new(schema: &'a mut Schema, ids: &'a mut Ids, recursion: &'a Recursion) -> Lowering<'a> {
        let entangled = recursion.groups().to_vec();
        Lowering { schema, ids, nodes: Vec::new(), recursion, entangled, current: None }
    }

    /// Does an expression read what the field that is being lowered needs, and needs it?
    fn is_entangled(&self, expr: &Expr) -> bool {
        self.current.is_some_and(|group| reads_any(expr, &|field| self.entangled[group].contains(&field)))
    }

    /// Makes the nodes for a derived field.
    ///
    /// A field that follows in the background is evaluated as a whole, or its groups would be kept with each write. One
    /// that depends on itself is evaluated, also where it is nothing but an aggregate, so that a cycle of resources has
    /// the error in the field itself; the aggregate is a hidden field then.
    pub fn derived_field(&mut self, field: FieldRef, expr: &Expr) {
        self.current = self.recursion.group_of(field);
        let background = matches!(self.schema.field(field).kind, FieldKind::Derived { background: true, .. });
        let group = match &expr.node {
            _ if background || self.current.is_some() => None,
            Node::Aggregate(aggregate, list) => self.group(field.ty, *aggregate, list),
            Node::GroupBy(it) => self.keyed_group(field.ty, it),
            _ if expr.ty.is_many() && expr.ty.resource().is_some() => {
                self.group(field.ty, Aggregate::Collect, expr)
            }
            _ => None,
        };
        match group {
            Some((anchor, group)) if anchor.node == Node::Owner => self.add_group(field, group),
            group => {
                let kept = match group {
                    // The list of what a root collection holds is the same for all, too.
                    Some((anchor, group)) if anchor.node == Node::Shared => {
                        self.kept(anchor, group, &expr.ty)
                    }
                    _ => None,
                };
                let lowered = |it: &mut Self| match background {
                    true => expr.clone(),
                    false => it.lower(expr.clone(), field.ty),
                };
                let expr = kept.unwrap_or_else(|| lowered(self));
                let constant_cost = is_constant_cost(&expr);
                let signature = self.signature(field, &[&expr], "");
                let definition = self.ids.definition(&signature);
                let timer =
                    mentions_now(&expr).then(|| Timer::Changes(self.hidden_time(field.ty, &signature)));
                let rule = Rule::Evaluate(Evaluate { expr, constant_cost, timer });
                self.nodes.push(PlanNode { result: field, definition, rule });
            }
        }
    }

    /// Makes the node for the end of resources that expire.
    pub fn end(&mut self, ty: TypeIx, expr: &Expr) {
        let nowhere = FieldRef { ty, slot: Slot(u32::MAX) };
        let signature = self.signature(nowhere, &[expr], "expires");
        let (definition, slot) = self.push_hidden(ty, Type::one(Kind::Datetime), signature);
        let evaluate = Evaluate { expr: expr.clone(), constant_cost: true, timer: Some(Timer::Expires) };
        let result = FieldRef { ty, slot };
        self.nodes.push(PlanNode { result, definition, rule: Rule::Evaluate(evaluate) });
    }

    /// Replaces each aggregate that can be a group by the hidden field that holds its result.
    fn lower(&mut self, expr: Expr, owner: TypeIx) -> Expr {
        let group = match &expr.node {
            Node::Aggregate(aggregate @ (Aggregate::Any | Aggregate::All), list) => {
                return match as_count(self.schema, *aggregate, list) {
                    Some(count) => self.lower(count, owner),
                    None => expr,
                };
            }
            Node::Aggregate(aggregate, list) => self.group(owner, *aggregate, list),
            Node::GroupBy(it) => self.keyed_group(owner, it),
            Node::At(list, 0) => self.group(owner, Aggregate::First, list),
            Node::At(list, -1) => self.group(owner, Aggregate::Last, list),
            // Inside a filter or an order `self` is not what it is outside; these were not turned round as a whole.
            Node::Filter(..) | Node::Order(..) | Node::Extend(..) => return expr,
            Node::Each(..) => return self.lower_lazy(expr, owner),
            _ => return expr.map_parts(&mut |part, _| self.lower(part, owner)),
        };
        let Some((anchor, group)) = group else { return expr };
        let nothing = group.of_nothing(&group.kind());
        let anchored = !matches!(anchor.node, Node::Owner | Node::Shared);
        let Some(get) = self.kept(anchor.clone(), group, &expr.ty) else { return expr };
        // What a list is of no resource, it is of nothing.
        if !anchored || nothing.is_null() || expr.ty.is_many() {
            return get;
        }
        // Where the links lead to nothing there is no group, and a sum of nothing is 0.
        let is_null = is_null(anchor);
        let nothing = Expr { node: Node::Const(nothing), ty: expr.ty.clone() };
        Expr { node: Node::Conditional(Box::new(is_null), Box::new(nothing), Box::new(get)), ty: expr.ty }
    }

    /// A lazy field of what a path of links leads to is its expression with that path in place of `self`, so that its
    /// aggregates become groups too. Of what else there may be it is evaluated.
    fn lower_lazy(&mut self, expr: Expr, owner: TypeIx) -> Expr {
        let Node::Each(base, field, body) = expr.node else { return expr };
        let base = self.lower(*base, owner);
        if !is_path(&base) {
            return Expr { node: Node::Each(Box::new(base), field, body), ty: expr.ty };
        }
        let body = self.lower(substitute(*body, 0, Some(&base), None), owner);
        if base.node == Node::Owner {
            return body;
        }
        let nothing = match expr.ty.many {
            Many::One => Value::Null,
            _ => Value::List([].into()),
        };
        let nothing = Expr { node: Node::Const(nothing), ty: expr.ty.clone() };
        let node = Node::Conditional(Box::new(is_null(base)), Box::new(nothing), Box::new(body));
        Expr { node, ty: expr.ty }
    }

    /// What a hidden field of the group's anchor keeps.
    fn kept(&mut self, anchor: Expr, group: Group, ty: &Type) -> Option<Expr> {
        let at = anchor.ty.resource()?;
        let entangled = group.expressions().any(|part| self.is_entangled(part));
        let hidden = self.hidden_field(at, group, ty.clone());
        if let (Some(current), true) = (self.current, entangled) {
            self.entangled[current].insert(hidden);
        }
        Some(Expr { node: Node::Get(Box::new(anchor), hidden), ty: ty.clone() })
    }

    /// The one resource that keeps what is the same for all, declared where it is not yet.
    fn shared(&mut self) -> Expr {
        let ty = match self.schema.shared {
            Some(ty) => ty,
            None => {
                let ty = TypeIx(self.schema.types.len() as u32);
                self.schema.types.push(ResourceType {
                    id: self.ids.type_id(SHARED),
                    name: SHARED.into(),
                    root: None,
                    fields: Vec::new(),
                    by_name: HashMap::new(),
                    parents: Vec::new(),
                    gathered: Vec::new(),
                    expires: None,
                    history: None,
                    indexes: Vec::new(),
                    indexed: Vec::new(),
                    updated: None,
                    told: Vec::new(),
                    positions: Vec::new(),
                    referrers: Vec::new(),
                    embedded: Vec::new(),
                    lazy: Vec::new(),
                    path: None,
                    url: None,
                });
                self.schema.shared = Some(ty);
                ty
            }
        };
        Expr { node: Node::Shared, ty: Type::one(Kind::Resource(ty)) }
    }

    /// The group of an aggregate over a list, and where it is anchored: an expression of `owner` whose value is the
    /// resource that has the group.
    fn group(&mut self, owner: TypeIx, aggregate: Aggregate, list: &Expr) -> Option<(Expr, Group)> {
        if matches!(aggregate, Aggregate::Any | Aggregate::All) {
            return None;
        }
        let (list, value) = split_value(list);
        let resources = value.is_none();
        // Resources, each once, in value order: a set is that already.
        let aggregate = match aggregate {
            Aggregate::Distinct if resources => Aggregate::Collect,
            aggregate => aggregate,
        };
        if aggregate == Aggregate::Collect && !resources {
            return None;
        }
        let (members, keys) = self.ordered_members(owner, aggregate, list)?;
        let deduplicated = members.target.is_some();
        if deduplicated && !(resources && matches!(aggregate, Aggregate::Count | Aggregate::Collect)) {
            return None;
        }
        let value = match value {
            Some(path) => Some(self.contributed(&path, &members)?),
            None => None,
        };
        Some(members.into_group(aggregate, None, value, keys))
    }

    /// What a member gives: the value at the end of a path, or several, those of a list that it has. None where that is
    /// not possible at constant cost.
    fn contributed(&mut self, path: &ValuePath<'_>, members: &Members) -> Option<Expr> {
        let owner = (members.anchor.node == Node::Owner).then_some(&members.owner);
        let member = Expr::owner(members.member);
        if !path.gives_several(self.schema) {
            let value = path.on(member, self.schema, owner)?;
            // Of a lazy field it may hold more than what was looked at so far.
            if path.has_lazy() && self.is_entangled(&value) {
                return None;
            }
            return Some(self.lower(value, members.member)).filter(is_constant_cost);
        }
        // As one of many: what it has no list of, or an error instead of, is read as in the whole path.
        let ty = Type { kind: member.ty.kind.clone(), many: Many::List };
        let alone = Expr { node: Node::List(vec![member]), ty };
        let value = path.on(alone, self.schema, owner)?;
        // How many values a member has must be known before any value is.
        (is_constant_cost(&value) && !self.is_entangled(&value)).then_some(value)
    }

    /// The group of a map of aggregates, as [`Lowering::group`].
    fn keyed_group(&mut self, owner: TypeIx, it: &GroupBy) -> Option<(Expr, Group)> {
        if matches!(it.aggregate, Aggregate::Any | Aggregate::All) {
            return None;
        }
        let (members, keys) = self.ordered_members(owner, it.aggregate, &it.list)?;
        // Who the members are, and under which key each is, must be known before any of their values is.
        if members.target.is_some() || self.is_entangled(&it.by) {
            return None;
        }
        let item = Expr::owner(members.member);
        let by = self.in_member_terms(&it.by, &members, &item)?;
        let value = match &it.value {
            Some(value) => Some(self.in_member_terms(value, &members, &item)?),
            None => None,
        };
        Some(members.into_group(it.aggregate, Some(by), value, keys))
    }

    /// The members of a list, and the keys of its order where the aggregate follows it.
    fn ordered_members(
        &mut self,
        owner: TypeIx,
        aggregate: Aggregate,
        list: &Expr,
    ) -> Option<(Members, Vec<(Expr, bool)>)> {
        let (list, keys) = match &list.node {
            Node::Order(list, keys) if aggregate.follows_order() => (&**list, keys.as_slice()),
            // In whatever order: the result is the same.
            Node::Order(list, _)
                if matches!(aggregate, Aggregate::Count | Aggregate::Sum | Aggregate::Average) =>
            {
                (&**list, &[][..])
            }
            _ => (list, &[][..]),
        };
        // In which order the members are must be known before any of their values is.
        if keys.iter().any(|(key, _)| self.is_entangled(key)) {
            return None;
        }
        let members = self.members(owner, list)?;
        if members.target.is_some() && aggregate.follows_order() {
            return None;
        }
        let subject = Expr::owner(members.member);
        let mut lowered = Vec::with_capacity(keys.len());
        for (key, descending) in keys {
            lowered.push((self.in_member_terms(key, &members, &subject)?, *descending));
        }
        Some((members, lowered))
    }

    /// Turns a downward path round.
    fn members(&mut self, owner: TypeIx, list: &Expr) -> Option<Members> {
        match &list.node {
            Node::Reverse(base, of) if self.is_to_one(*of) => {
                let member = of.ty;
                let target = base.ty.resource()?;
                let ty = Type::one(Kind::Resource(target));
                let up = Expr { node: Node::Get(Box::new(Expr::owner(member)), *of), ty };
                if !base.ty.is_many() {
                    let anchor = self.lower((**base).clone(), owner);
                    return is_constant_cost(&anchor).then(|| Members {
                        anchor,
                        member,
                        owner: up,
                        conditions: Vec::new(),
                        target: None,
                    });
                }
                let above = self.members(owner, base)?;
                if above.target.is_some() {
                    return None;
                }
                let through = |expr: Expr| substitute(expr, 0, None, Some(&up));
                let mut conditions: Vec<Expr> = above.conditions.into_iter().map(through).collect();
                if above.owner.node == Node::Shared {
                    // The owner is there for all; members are those that have somebody above them.
                    conditions.insert(0, is_there(up.clone()));
                }
                Some(Members {
                    anchor: above.anchor,
                    member,
                    owner: through(above.owner),
                    conditions,
                    target: None,
                })
            }
            Node::Filter(_, condition) if self.is_entangled(condition) => None,
            // Whatever the owner is, the members are the same: one group for all, as long as no filter looks at it.
            Node::All(member) => {
                let shared = self.shared();
                Some(Members {
                    anchor: shared.clone(),
                    member: *member,
                    owner: shared,
                    conditions: Vec::new(),
                    target: None,
                })
            }
            Node::Filter(base, condition) => {
                let mut members = self.members(owner, base)?;
                let item = members.target.clone().unwrap_or_else(|| Expr::owner(members.member));
                let condition = self.in_member_terms(condition, &members, &item)?;
                members.conditions.push(condition);
                Some(members)
            }
            Node::Get(base, field) if base.ty.is_many() && list.ty.many == Many::Set => {
                let to_one = match &self.schema.field(*field).kind {
                    FieldKind::Links { .. } => false,
                    FieldKind::Derived { expr, .. } => expr.ty.many == Many::One,
                    _ => true,
                };
                if !to_one || self.current.is_some_and(|group| self.entangled[group].contains(field)) {
                    return None;
                }
                let mut members = self.members(owner, base)?;
                let from = members.target.take().unwrap_or_else(|| Expr::owner(members.member));
                let ty = Type::one(list.ty.kind.clone());
                members.target = Some(Expr { node: Node::Get(Box::new(from), *field), ty });
                Some(members)
            }
            _ => None,
        }
    }

    /// A filter's condition or an order's key, with the item and the owner reached from the member; none where
    /// that is not possible at constant cost.
    fn in_member_terms(&mut self, expr: &Expr, members: &Members, item: &Expr) -> Option<Expr> {
        let owner = (members.anchor.node == Node::Owner).then_some(&members.owner);
        if owner.is_none() && mentions_owner(expr) {
            return None;
        }
        let expr = substitute(expr.clone(), 0, Some(item), owner);
        let expr = self.lower(expr, members.member);
        is_constant_cost(&expr).then_some(expr)
    }

    fn is_to_one(&self, of: FieldRef) -> bool {
        matches!(self.schema.field(of).kind, FieldKind::Link { .. } | FieldKind::Parent { .. })
    }

    fn hidden_field(&mut self, at: TypeIx, group: Group, ty: Type) -> FieldRef {
        let signature = self.group_signature(None, at, &group);
        let fields = &self.schema.ty(at).fields;
        let existing = fields.iter().position(
            |field| matches!(&field.kind, FieldKind::Aggregate { signature: other, .. } if *other == signature),
        );
        if let Some(slot) = existing {
            return FieldRef { ty: at, slot: Slot(slot as u32) };
        }
        let (definition, slot) = self.push_hidden(at, ty, signature);
        let result = FieldRef { ty: at, slot };
        self.nodes.push(PlanNode { result, definition, rule: Rule::Group(Box::new(group)) });
        result
    }

    /// A hidden field for the time at which the clock changes what a node computes.
    fn hidden_time(&mut self, at: TypeIx, definition: &str) -> Slot {
        self.push_hidden(at, Type::one(Kind::Datetime), format!("when {definition}")).1
    }

    fn push_hidden(&mut self, at: TypeIx, ty: Type, signature: String) -> (FieldId, Slot) {
        let id = self.ids.definition(&signature);
        let fields = &mut self.schema.types[at.0 as usize].fields;
        let slot = Slot(fields.len() as u32);
        fields.push(Field {
            id,
            name: format_smolstr!("#{}", id.0),
            kind: FieldKind::Aggregate { ty, signature },
            rules: Rules::default(),
            index: false,
            parent_index: None,
            reference_index: false,
            extended: None,
        });
        (id, slot)
    }

    fn add_group(&mut self, field: FieldRef, group: Group) {
        let signature = self.group_signature(Some(field), field.ty, &group);
        let definition = self.ids.definition(&signature);
        self.nodes.push(PlanNode { result: field, definition, rule: Rule::Group(Box::new(group)) });
    }

    fn group_signature(&self, field: Option<FieldRef>, at: TypeIx, group: &Group) -> String {
        let parts: Vec<&Expr> = group.expressions().collect();
        let shape = format!(
            "{} member={} conditions={} value={} keys={:?} target={}",
            group.aggregate,
            self.schema.ty(group.member).id.0,
            group.conditions.len(),
            group.value.is_some(),
            group.keys.iter().map(|(_, descending)| *descending).collect::<Vec<_>>(),
            group.target.is_some(),
        );
        let shape = if group.by.is_some() { format!("map of {shape}") } else { shape };
        let anchor = field.unwrap_or(FieldRef { ty: at, slot: Slot(u32::MAX) });
        self.signature(anchor, &parts, &shape)
    }

    /// What identifies a definition: stable ids instead of names, so that a renamed field is the same field.
    fn signature(&self, field: FieldRef, parts: &[&Expr], shape: &str) -> String {
        let ty = self.schema.ty(field.ty);
        let own = ty.fields.get(field.slot.0 as usize).map_or(0, |field| field.id.0);
        let mut out = format!("t{} f{own} {shape}", ty.id.0);
        let field_name = |field: FieldRef| {
            let id = self.schema.field(field).id.0;
            (SmolStr::default(), format_smolstr!("f{id}"))
        };
        let type_name = |ty: TypeIx| format_smolstr!("t{}", self.schema.ty(ty).id.0);
        for part in parts {
            out.push_str("; ");
            write_expr(part, &field_name, &type_name, &mut out).expect("writing to a String does not fail");
        }
        out
    }
}

/// Whether any of the members is true, or all are, told by how many are, or are not.
fn as_count(schema: &Schema, aggregate: Aggregate, list: &Expr) -> Option<Expr> {
    let (members, value) = split_value(list);
    let value = value?;
    // The condition is that of a member, or of each value that it has.
    let (filtered, value) = if !value.gives_several(schema) {
        let item = Expr { node: Node::Item(0), ty: Type::one(members.ty.kind.clone()) };
        (members, value.on(item, schema, None)?)
    } else if members.ty.is_many() {
        (list, Expr { node: Node::Item(0), ty: Type::one(list.ty.kind.clone()) })
    } else {
        return None;
    };
    let bool = |node| Expr { node, ty: Type::one(Kind::Bool) };
    let constant = |value| Expr::constant(Value::Bool(value), Kind::Bool);
    let (condition, compared) = match aggregate {
        Aggregate::Any => (value, BinaryOp::Greater),
        _ => {
            // What is null does not count; an error is not true.
            let null = Box::new(Expr::constant(Value::Null, Kind::Null));
            let is_null = bool(Node::Binary(BinaryOp::Equal, Box::new(value.clone()), null));
            let is_false = bool(Node::Unary(UnaryOp::Not, Box::new(value.clone())));
            let there = Node::Conditional(Box::new(is_null), Box::new(constant(false)), Box::new(is_false));
            let is_error = bool(Node::Call(Function::IsError, vec![value]));
            let node = Node::Conditional(Box::new(is_error), Box::new(constant(true)), Box::new(bool(there)));
            (bool(node), BinaryOp::Equal)
        }
    };
    let ty = filtered.ty.clone();
    let filtered = Expr { node: Node::Filter(Box::new(filtered.clone()), Box::new(condition)), ty };
    let count = Node::Aggregate(Aggregate::Count, Box::new(filtered));
    let count = Expr { node: count, ty: Type::one(Kind::Int) };
    let zero = Expr::constant(Value::Int(0), Kind::Int);
    Some(bool(Node::Binary(compared, Box::new(count), Box::new(zero))))
}

/// A downward path, turned round. Expressions other than the anchor have the member as `self`.
struct Members {
    /// From the derived field's owner to the resource that has the group.
    anchor: Expr,
    member: TypeIx,
    owner: Expr,
    conditions: Vec<Expr>,
    target: Option<Expr>,
}

impl Members {
    /// The group of these members, and its anchor.
    fn into_group(
        self,
        aggregate: Aggregate,
        by: Option<Expr>,
        value: Option<Expr>,
        keys: Vec<(Expr, bool)>,
    ) -> (Expr, Group) {
        let Members { anchor, member, owner, conditions, target } = self;
        let timed = false;
        let group = Group { aggregate, member, owner, conditions, by, value, keys, target, timed };
        let timed = group.expressions().any(mentions_now);
        (anchor, Group { timed, ..group })
    }
}

/// Replaces the item of the scope at `depth` and `self`; the replacements have no items of their own.
pub(super) fn substitute(expr: Expr, depth: u32, item: Option<&Expr>, owner: Option<&Expr>) -> Expr {
    match (&expr.node, item, owner) {
        (Node::Item(at), Some(item), _) if *at == depth => return item.clone(),
        (Node::Owner, _, Some(owner)) => return owner.clone(),
        _ => {}
    }
    expr.map_parts(&mut |part, deeper| substitute(part, depth + deeper, item, owner))
}

/// Is it `self`, or what links lead to from there?
fn is_path(expr: &Expr) -> bool {
    match &expr.node {
        Node::Owner => true,
        Node::Get(base, _) => !expr.ty.is_many() && is_path(base),
        _ => false,
    }
}

fn is_null(expr: Expr) -> Expr {
    let null = Box::new(Expr::constant(Value::Null, Kind::Null));
    Expr { node: Node::Binary(BinaryOp::Equal, Box::new(expr), null), ty: Type::one(Kind::Bool) }
}

/// Is it not null?
fn is_there(expr: Expr) -> Expr {
    let null = Box::new(Expr::constant(Value::Null, Kind::Null));
    Expr { node: Node::Binary(BinaryOp::NotEqual, Box::new(expr), null), ty: Type::one(Kind::Bool) }
}

pub(super) fn mentions_owner(expr: &Expr) -> bool {
    let mut found = expr.node == Node::Owner;
    expr.for_parts(&mut |part, _| found |= mentions_owner(part));
    found
}

/// Does it read nothing but `self` and what to-one links lead to?
pub(crate) fn is_constant_cost(expr: &Expr) -> bool {
    let many_resources = expr.ty.is_many() && matches!(expr.ty.kind, Kind::Resource(_));
    let mut constant = match &expr.node {
        Node::Reverse(..) | Node::All(_) => false,
        // Of those in a literal there are as many as are written.
        Node::Get(base, _) if matches!(base.node, Node::List(_)) => true,
        Node::Each(base, ..) if matches!(base.node, Node::List(_)) => true,
        Node::Get(base, _) | Node::Each(base, ..) => {
            !(base.ty.is_many() && matches!(base.ty.kind, Kind::Resource(_)))
        }
        Node::Filter(..) | Node::Order(..) => !many_resources,
        Node::GroupBy(it) => it.list.ty.resource().is_none(),
        _ => true,
    };
    expr.for_parts(&mut |part, _| constant &= is_constant_cost(part));
    constant
}

/// The sum of nothing.
pub fn zero(kind: &Kind) -> Value {
    match kind {
        Kind::Float => Value::Float(0.0),
        Kind::Decimal => Value::Decimal(Default::default()),
        Kind::Duration => Value::Duration(Default::default()),
        _ => Value::Int(0),
    }
}
