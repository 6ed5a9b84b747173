//! The evaluator of typed expressions over stored values.
//!
//! It reads through a [`View`].

use std::cell::Cell;
use std::sync::Arc;

use corollary_schema::functions::Function;
use corollary_schema::typed::{Expr, Kind, Many, Node, Type, is_clock};
use corollary_schema::{FieldRef, Pattern, Schema, ValueType};
use corollary_syntax::ast::{BinaryOp, UnaryOp};
use corollary_value::text::segment;
use corollary_value::{ErrorValue, Id, Value, compare, ops};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use smol_str::SmolStr;

use crate::aggregates::{aggregate_of, map_of};
use crate::doc::Doc;
use crate::error::EngineError;
use crate::grants::Lifted;
use crate::script::scripted;
use crate::{convert, text, time, window, words};

pub use crate::view::View;
pub(crate) use crate::view::{Over, holds_many};

/// The earliest time at which the clock changes one of the comparisons that an evaluation has met.
pub type Wake = Cell<Option<Timestamp>>;

/// One evaluation: the view, and the resource that is `self`.
#[derive(Clone, Copy)]
pub struct Eval<'a> {
    /// What is read.
    view: &'a dyn View,
    /// The id of `self`.
    owner: &'a Id,
    /// The document of `self`, where it is at hand.
    own: Option<&'a Doc>,
    /// The time.
    now: Timestamp,
    /// Where to tell when the clock changes what is evaluated; what is not evaluated decides nothing until then.
    wake: Option<&'a Wake>,
}

impl<'a> Eval<'a> {
    /// Reads all through the view.
    pub fn new(view: &'a dyn View, owner: &'a Id) -> Eval<'a> {
        Eval { view, owner, own: None, now: view.now(), wake: None }
    }

    /// Reads fields of `self` from its document, which has to be what the view would give.
    pub fn of(view: &'a dyn View, owner: &'a Id, own: &'a Doc) -> Eval<'a> {
        Eval { own: Some(own), ..Eval::new(view, owner) }
    }

    /// Tells when the clock will change what it evaluates.
    pub fn waking(self, wake: &'a Wake) -> Eval<'a> {
        Eval { wake: Some(wake), ..self }
    }

    /// The value of an expression.
    pub fn value(&self, expr: &Expr) -> Result<Value, EngineError> {
        if let Some(value) = self.at_hand(expr) {
            return Ok(value.clone());
        }
        self.expr(expr, &mut Vec::new())
    }

    /// The value of an expression that knows items beside `self`, the last of them the innermost.
    pub fn value_given(&self, expr: &Expr, mut items: Vec<Value>) -> Result<Value, EngineError> {
        self.expr(expr, &mut items)
    }

    /// Does a condition hold? An error value does not.
    pub fn holds(&self, condition: &Expr) -> Result<bool, EngineError> {
        match self.at_once(condition) {
            Some(value) => Ok(value.is_true()),
            None => Ok(self.value(condition)?.is_true()),
        }
    }

    /// What is there without being computed or looked for: a constant, or a value of `self` whose document is at hand.
    fn at_hand<'e>(&'e self, expr: &'e Expr) -> Option<&'e Value> {
        match &expr.node {
            Node::Const(value) => Some(value),
            Node::Get(base, field) if matches!(base.node, Node::Owner) && expr.ty.many == Many::One => {
                match self.own?.get(field.slot) {
                    Value::Absent => Some(&Value::Null),
                    value => Some(value),
                }
            }
            _ => None,
        }
    }

    /// The value of comparisons of what is at hand, as most filters are, and of what joins them. The clock comes into none.
    fn at_once(&self, expr: &Expr) -> Option<Value> {
        match &expr.node {
            Node::Binary(op @ (BinaryOp::And | BinaryOp::Or), left, right) => {
                Some(binary(*op, &self.at_once(left)?, &self.at_once(right)?))
            }
            Node::Binary(op, left, right) => Some(binary(*op, self.at_hand(left)?, self.at_hand(right)?)),
            _ => None,
        }
    }

    fn expr(&self, expr: &Expr, items: &mut Vec<Value>) -> Result<Value, EngineError> {
        Ok(match &expr.node {
            Node::Const(value) => value.clone(),
            Node::Now => Value::Datetime(self.now),
            Node::Owner => Value::Ref(self.owner.clone()),
            Node::Shared => Value::Ref(Schema::shared_id()),
            Node::Item(depth) => {
                let at = items.len().checked_sub(1 + *depth as usize);
                at.map_or(Value::Null, |at| items[at].clone())
            }
            Node::All(ty) => refs(self.view.all(*ty)?),
            Node::Get(base, field) if matches!(base.node, Node::Owner) && self.own.is_some() => {
                let value = self.own.map(|doc| doc.get(field.slot).clone());
                found(value.unwrap_or(Value::Absent), expr.ty.many)
            }
            Node::Get(base, field) => {
                let base = self.expr(base, items)?;
                self.get(&base, *field, expr.ty.many)?
            }
            Node::Each(base, _, body) => {
                let base = self.expr(base, items)?;
                // A lazy field follows from all there is, whoever asks for it.
                let _lifted = self.view.unveil().map(Lifted::from);
                self.of_each(&base, body, expr.ty.many, items)?
            }
            Node::Reverse(base, of) => match self.expr(base, items)? {
                Value::Ref(id) => refs(self.view.referrers(*of, &id)?),
                Value::List(bases) => {
                    let mut found = Vec::new();
                    for base in bases.iter() {
                        if let Value::Ref(id) = base {
                            found.extend(self.view.referrers(*of, id)?);
                        }
                    }
                    set(found.into_iter().map(Value::Ref).collect())
                }
                error @ Value::Error(_) => error,
                _ => Value::List(Arc::new([])),
            },
            Node::Member(base, name) => {
                let flatten = match &base.ty.kind {
                    Kind::Object(members) => {
                        let declared = members.iter().find(|member| member.name == *name);
                        declared.is_some_and(|member| Type::of_value(&member.ty).is_many())
                    }
                    Kind::Map(of) => Type::of_value(of).is_many(),
                    _ => false,
                };
                let found = member(&self.expr(base, items)?, name, flatten);
                // Links in objects are a set, as links are everywhere.
                if expr.ty.many == Many::Set { self::found(found, Many::Set) } else { found }
            }
            Node::Extend(base, members) => {
                let value = self.expr(base, items)?;
                let of = match &base.ty.kind {
                    Kind::Map(of) => Some(&**of),
                    _ => None,
                };
                self.extended(value, of, members, items)?
            }
            Node::IdOf(base) => map(&self.expr(base, items)?, &|value| match value {
                Value::Ref(id) => Value::Str(id.to_string().into()),
                other => other.clone(),
            }),
            Node::Filter(base, condition) => {
                let list = self.expr(base, items)?;
                let Value::List(elements) = &list else { return Ok(list) };
                let kept = each(elements.iter(), |element| {
                    items.push(element.clone());
                    let holds = self.expr(condition, items);
                    items.pop();
                    Ok(holds?.is_true().then(|| element.clone()))
                })?;
                Value::List(kept.into_iter().flatten().collect())
            }
            Node::Order(base, keys) => {
                let list = self.expr(base, items)?;
                let Value::List(elements) = &list else { return Ok(list) };
                let mut keyed = each(elements.iter(), |element| {
                    items.push(element.clone());
                    let key: Result<Vec<Value>, EngineError> =
                        keys.iter().map(|(key, _)| self.expr(key, items)).collect();
                    items.pop();
                    Ok((key?, element.clone()))
                })?;
                keyed.sort_by(|(left, _), (right, _)| {
                    let mut order = std::cmp::Ordering::Equal;
                    for ((left, right), (_, descending)) in left.iter().zip(right).zip(keys) {
                        let by_key = compare(left, right);
                        order = order.then(if *descending { by_key.reverse() } else { by_key });
                    }
                    order
                });
                Value::List(keyed.into_iter().map(|(_, element)| element).collect())
            }
            Node::At(base, at) => match self.expr(base, items)? {
                Value::List(elements) => {
                    let at = if *at < 0 { *at + elements.len() as i64 } else { *at };
                    usize::try_from(at).ok().and_then(|at| elements.get(at)).cloned().unwrap_or(Value::Null)
                }
                other => other,
            },
            Node::Slice(base, from, to) => match self.expr(base, items)? {
                Value::List(elements) => {
                    let length = elements.len() as i64;
                    let place = |at: i64| (if at < 0 { at + length } else { at }).clamp(0, length) as usize;
                    let (from, to) = (place(from.unwrap_or(0)), place(to.unwrap_or(length)));
                    Value::List(elements.get(from..to).unwrap_or_default().into())
                }
                other => other,
            },
            Node::Aggregate(aggregate, list) => {
                let kind = &list.ty.kind;
                aggregate_of(*aggregate, &self.expr(list, items)?, kind)
            }
            Node::GroupBy(it) => {
                let list = self.expr(&it.list, items)?;
                let elements: &[Value] = match &list {
                    Value::List(elements) => elements,
                    Value::Error(_) => return Ok(list),
                    _ => &[],
                };
                let keyed = each(elements.iter(), |element| {
                    items.push(element.clone());
                    // Where there is no key, there is no need for a value.
                    let entry = self.expr(&it.by, items).and_then(|key| match &it.value {
                        Some(value) if !key.is_null() => Ok((key, self.expr(value, items)?)),
                        _ => Ok((key, element.clone())),
                    });
                    items.pop();
                    entry
                })?;
                let kind = it.value.as_ref().map_or(&it.list.ty.kind, |value| &value.ty.kind);
                map_of(keyed, it.aggregate, kind)
            }
            Node::Unary(UnaryOp::Not, operand) => ops::not(&self.expr(operand, items)?),
            Node::Unary(UnaryOp::Negate, operand) => ops::negate(&self.expr(operand, items)?),
            Node::Binary(op, left_expr, right) => {
                if let (Some(left), Some(right)) = (self.at_hand(left_expr), self.at_hand(right)) {
                    return Ok(binary(*op, left, right));
                }
                let left = self.expr(left_expr, items)?;
                if matches!(op, BinaryOp::Else | BinaryOp::IfNull) {
                    return if gives_way(*op, &left) { self.expr(right, items) } else { Ok(left) };
                }
                let right_value = self.expr(right, items)?;
                self.meet(*op, (left_expr, &left), (right, &right_value))?;
                binary(*op, &left, &right_value)
            }
            Node::Conditional(condition, then, otherwise) => match self.expr(condition, items)? {
                error @ Value::Error(_) => error,
                condition => self.expr(if condition.is_true() { then } else { otherwise }, items)?,
            },
            Node::Switch(subject, cases, otherwise) => {
                let subject = self.expr(subject, items)?;
                if subject.is_error() {
                    return Ok(subject);
                }
                for (key, value) in cases {
                    if ops::equal(&subject, &self.expr(key, items)?).is_true() {
                        return self.expr(value, items);
                    }
                }
                match otherwise {
                    Some(otherwise) => self.expr(otherwise, items)?,
                    None => Value::Null,
                }
            }
            Node::Call(function, arguments) => {
                let values: Result<Vec<Value>, EngineError> =
                    arguments.iter().map(|argument| self.expr(argument, items)).collect();
                call(*function, &values?)
            }
            Node::Script(script) => {
                let given =
                    script.using.iter().map(|(name, part)| Ok((name.clone(), self.expr(part, items)?)));
                scripted(script, &given.collect::<Result<Vec<_>, EngineError>>()?)
            }
            Node::Matches(text, pattern) => text::matches(&self.expr(text, items)?, pattern),
            Node::Either(parts) => {
                let values = each(parts.iter(), |part| self.expr(part, items))?;
                one_of(values, &expr.ty)
            }
            Node::List(parts) => {
                let values: Result<Vec<Value>, EngineError> =
                    parts.iter().map(|part| self.expr(part, items)).collect();
                Value::List(values?.into())
            }
        })
    }

    /// Objects with derived members: one, each of a list, or each value of a map of `values`.
    fn extended(
        &self,
        value: Value,
        values: Option<&ValueType>,
        members: &[(SmolStr, Expr)],
        items: &mut Vec<Value>,
    ) -> Result<Value, EngineError> {
        Ok(match (value, values) {
            (Value::List(elements), _) => {
                let extended = elements.iter().map(|it| self.extended(it.clone(), values, members, items));
                Value::List(extended.collect::<Result<_, _>>()?)
            }
            (Value::Object(held), Some(of)) => {
                let mut of = of;
                while let ValueType::List(inner) | ValueType::Set(inner) = of {
                    of = inner;
                }
                let inner = if let ValueType::Map(inner) = of { Some(&**inner) } else { None };
                let extended = held.iter().map(|(key, value)| {
                    Ok((key.clone(), self.extended(value.clone(), inner, members, items)?))
                });
                Value::Object(extended.collect::<Result<_, EngineError>>()?)
            }
            (Value::Object(held), None) => {
                let mut object = held.to_vec();
                for (name, member) in members {
                    items.push(Value::Object(object.clone().into()));
                    let value = self.expr(member, items);
                    items.pop();
                    let value = value?;
                    object.retain(|(other, _)| other != name);
                    if !value.is_null() {
                        object.push((name.clone(), value));
                    }
                }
                Value::Object(object.into())
            }
            (other, _) => other,
        })
    }

    /// Notes when the clock changes a comparison, where one side is the clock.
    fn meet(
        &self,
        op: BinaryOp,
        (left, left_is): (&Expr, &Value),
        (right, right_is): (&Expr, &Value),
    ) -> Result<(), EngineError> {
        let Some(wake) = self.wake else { return Ok(()) };
        let (clock, fixed) = match (is_clock(left), is_clock(right)) {
            (true, false) => (left, right_is),
            (false, true) => (right, left_is),
            _ => return Ok(()),
        };
        let at = |time| Eval { now: time, wake: None, ..*self }.value(clock);
        let compared = |clock_is: &Value| match std::ptr::eq(clock, left) {
            true => binary(op, clock_is, fixed),
            false => binary(op, fixed, clock_is),
        };
        if let Some(next) = window::next_change(self.now, clock, fixed, &at, &compared)? {
            wake.set(Some(wake.get().map_or(next, |other| other.min(next))));
        }
        Ok(())
    }

    /// The value of a lazy field with this expression, of one resource or of each of many.
    fn of_each(
        &self,
        base: &Value,
        body: &Expr,
        many: Many,
        items: &mut Vec<Value>,
    ) -> Result<Value, EngineError> {
        let mut one = |base: &Value| {
            items.push(base.clone());
            let value = self.expr(body, items);
            items.pop();
            value
        };
        Ok(match base {
            Value::Ref(_) => found(one(base)?, many),
            Value::List(bases) => {
                let is_ref = |base: &&Value| matches!(base, Value::Ref(_));
                let mut values = Vec::with_capacity(bases.len());
                for value in each(bases.iter().filter(is_ref), one)? {
                    match value {
                        Value::List(elements) if body.ty.is_many() => values.extend(elements.iter().cloned()),
                        value => values.push(value),
                    }
                }
                if many == Many::Set { set(values) } else { Value::List(values.into()) }
            }
            Value::Error(_) => base.clone(),
            _ if many == Many::One => Value::Null,
            _ => Value::List(Arc::new([])),
        })
    }

    fn get(&self, base: &Value, field: FieldRef, many: Many) -> Result<Value, EngineError> {
        let one = |id: &Id| -> Result<Value, EngineError> {
            Ok(match self.view.value(field, id)? {
                None | Some(Value::Absent) => Value::Null,
                Some(value) => value,
            })
        };
        Ok(match base {
            Value::Ref(id) => found(one(id)?, many),
            Value::List(bases) => {
                let mut values = Vec::with_capacity(bases.len());
                let flatten = self.view.holds_many(field);
                let ids = bases.iter().filter_map(|base| match base {
                    Value::Ref(id) => Some(id),
                    _ => None,
                });
                for value in each(ids, one)? {
                    match value {
                        Value::List(elements) if flatten => values.extend(elements.iter().cloned()),
                        value => values.push(value),
                    }
                }
                if many == Many::Set { set(values) } else { Value::List(values.into()) }
            }
            Value::Error(_) => base.clone(),
            _ if many == Many::One => Value::Null,
            _ => Value::List(Arc::new([])),
        })
    }
}

/// Does something for each of some elements, for all of them also where one has to be awaited: so all that has to be
/// computed first is asked for at once.
fn each<T, U>(
    elements: impl Iterator<Item = T>,
    mut f: impl FnMut(T) -> Result<U, EngineError>,
) -> Result<Vec<U>, EngineError> {
    let (mut done, mut awaited) = (Vec::with_capacity(elements.size_hint().0), false);
    for element in elements {
        match f(element) {
            Err(EngineError::Awaited) => awaited = true,
            outcome => done.push(outcome?),
        }
    }
    if awaited { Err(EngineError::Awaited) } else { Ok(done) }
}

/// A field's value as an expression sees it.
fn found(value: Value, many: Many) -> Value {
    match (value, many) {
        (Value::Absent | Value::Null, Many::List | Many::Set) => Value::List(Arc::new([])),
        (Value::Absent, _) => Value::Null,
        (Value::List(elements), Many::Set) => set(elements.to_vec()),
        (value, _) => value,
    }
}

/// What several expressions come to together: the first value, or the elements of all; resources of one type each once.
fn one_of(values: Vec<Value>, ty: &Type) -> Value {
    if ty.many == Many::One {
        return values.into_iter().find(|value| !value.is_null()).unwrap_or(Value::Null);
    }
    if let Some(error) = values.iter().find(|value| value.is_error()) {
        return error.clone();
    }
    let is_empty = |value: &Value| !matches!(value, Value::List(elements) if !elements.is_empty());
    let mut lists = values.iter().filter(|value| !is_empty(value));
    if let (Some(only), None) = (lists.next(), lists.next()) {
        // In its order, where it has one.
        return only.clone();
    }
    let mut all = Vec::new();
    for value in &values {
        if let Value::List(elements) = value {
            all.extend(elements.iter().cloned());
        }
    }
    if ty.many == Many::Set && ty.resource().is_some() { set(all) } else { Value::List(all.into()) }
}

fn refs(ids: Vec<Id>) -> Value {
    Value::List(ids.into_iter().map(Value::Ref).collect())
}

/// Resources, each once, in the order of their ids.
pub(crate) fn set(mut elements: Vec<Value>) -> Value {
    elements.retain(|element| matches!(element, Value::Ref(_)));
    elements.sort_by(compare);
    elements.dedup();
    Value::List(elements.into())
}

fn map(value: &Value, f: &dyn Fn(&Value) -> Value) -> Value {
    match value {
        Value::List(elements) => Value::List(elements.iter().map(f).collect()),
        other => f(other),
    }
}

/// A member of an object, or of each object of a list; lists in those are one list together where `flatten` says so.
fn member(base: &Value, name: &str, flatten: bool) -> Value {
    match base {
        Value::Object(members) => {
            let member = members.iter().find(|(key, _)| key == name);
            member.map_or(Value::Null, |(_, value)| value.clone())
        }
        Value::List(elements) => {
            let mut values = Vec::with_capacity(elements.len());
            for element in elements.iter() {
                match member(element, name, flatten) {
                    Value::List(inner) if flatten => values.extend(inner.iter().cloned()),
                    value => values.push(value),
                }
            }
            Value::List(values.into())
        }
        Value::Error(_) => base.clone(),
        _ => Value::Null,
    }
}

/// Does the left side of `else` or `??` leave the value to the right one?
fn gives_way(op: BinaryOp, left: &Value) -> bool {
    left.is_null() || (op == BinaryOp::Else && left.is_error())
}

/// An operator of two operands.
pub(crate) fn binary(op: BinaryOp, left: &Value, right: &Value) -> Value {
    match op {
        BinaryOp::Else | BinaryOp::IfNull => (if gives_way(op, left) { right } else { left }).clone(),
        BinaryOp::Or => ops::or(left, right),
        BinaryOp::And => ops::and(left, right),
        BinaryOp::Equal => ops::equal(left, right),
        BinaryOp::NotEqual => ops::not(&ops::equal(left, right)),
        BinaryOp::Less => ops::compare_with(left, right, std::cmp::Ordering::is_lt),
        BinaryOp::LessEqual => ops::compare_with(left, right, std::cmp::Ordering::is_le),
        BinaryOp::Greater => ops::compare_with(left, right, std::cmp::Ordering::is_gt),
        BinaryOp::GreaterEqual => ops::compare_with(left, right, std::cmp::Ordering::is_ge),
        BinaryOp::Match => ops::matches(left, right),
        BinaryOp::In => match (left, right) {
            (Value::Error(error), _) | (_, Value::Error(error)) => Value::Error(*error),
            (left, Value::List(elements)) if !left.is_null() => {
                Value::Bool(elements.iter().any(|element| ops::equal(left, element).is_true()))
            }
            _ => Value::Bool(false),
        },
        BinaryOp::Add => ops::add(left, right),
        BinaryOp::Subtract => ops::subtract(left, right),
        BinaryOp::Multiply => ops::multiply(left, right),
        BinaryOp::Divide => ops::divide(left, right),
        BinaryOp::Remainder => ops::remainder(left, right),
    }
}

/// A function of values. Errors pass through, the first argument's first; null gives null.
pub(crate) fn call(function: Function, arguments: &[Value]) -> Value {
    match function {
        Function::Coalesce => {
            return arguments.iter().find(|value| !value.is_null()).cloned().unwrap_or(Value::Null);
        }
        Function::IsError => return Value::Bool(arguments.iter().any(Value::is_error)),
        Function::Exists => {
            return match &arguments[0] {
                error @ Value::Error(_) => error.clone(),
                Value::List(elements) => Value::Bool(!elements.is_empty()),
                value => Value::Bool(!value.is_null()),
            };
        }
        _ => {}
    }
    if let Some(error) = arguments.iter().find(|value| value.is_error()) {
        return error.clone();
    }
    if arguments.iter().any(Value::is_null) {
        return Value::Null;
    }
    known(function, arguments).unwrap_or(Value::Error(ErrorValue::Type))
}

/// A float that is one.
fn real(value: f64) -> Value {
    if value.is_nan() {
        Value::Error(ErrorValue::Type)
    } else if value.is_infinite() {
        Value::Error(ErrorValue::Overflow)
    } else {
        Value::Float(value)
    }
}

fn power(base: f64, exponent: f64) -> Value {
    if base == 0.0 && exponent < 0.0 {
        return Value::Error(ErrorValue::Div0);
    }
    real(base.powf(exponent))
}

/// A function of values that are all there; none where their kinds do not fit.
fn known(function: Function, arguments: &[Value]) -> Option<Value> {
    let first = &arguments[0];
    let text = |at: usize| match &arguments[at] {
        Value::Str(text) => Some(text.as_str()),
        _ => None,
    };
    let span = |seconds: i64| match first {
        Value::Int(count) => Some(match count.checked_mul(seconds) {
            Some(seconds) => Value::Duration(SignedDuration::from_secs(seconds)),
            None => Value::Error(ErrorValue::Overflow),
        }),
        _ => None,
    };
    let date = || match first {
        Value::Date(date) => Some(*date),
        Value::Datetime(at) => Some(at.to_zoned(TimeZone::UTC).date()),
        _ => None,
    };
    Some(match function {
        Function::Round => match arguments.get(1) {
            Some(Value::Int(digits)) => ops::round(first, *digits),
            Some(_) => return None,
            None => ops::round(first, 0),
        },
        Function::Floor | Function::Ceil => {
            let up = function == Function::Ceil;
            match first {
                Value::Int(_) => first.clone(),
                Value::Float(value) => Value::Float(if up { value.ceil() } else { value.floor() }),
                Value::Decimal(value) => Value::Decimal(if up { value.ceil() } else { value.floor() }),
                _ => return None,
            }
        }
        Function::Abs => match first {
            Value::Int(value) => value.checked_abs().map_or(Value::Error(ErrorValue::Overflow), Value::Int),
            Value::Float(value) => Value::Float(value.abs()),
            Value::Decimal(value) => Value::Decimal(value.abs()),
            _ => return None,
        },
        Function::Sqrt => real(ops::to_float(first)?.sqrt()),
        Function::Power => power(ops::to_float(first)?, ops::to_float(&arguments[1])?),
        Function::Upper => Value::Str(text(0)?.to_uppercase().into()),
        Function::Lower => Value::Str(text(0)?.to_lowercase().into()),
        Function::Segment => Value::Str(segment(text(0)?).into()),
        Function::Trim => Value::Str(text(0)?.trim().into()),
        Function::Length => match first {
            Value::List(elements) => Value::Int(elements.len() as i64),
            _ => Value::Int(text(0)?.chars().count() as i64),
        },
        Function::Contains => Value::Bool(text(0)?.contains(text(1)?)),
        Function::StartsWith => Value::Bool(text(0)?.starts_with(text(1)?)),
        Function::EndsWith => Value::Bool(text(0)?.ends_with(text(1)?)),
        Function::StartsLike | Function::HasWords | Function::SoundsLike => {
            words::found(function.search()?, first, &arguments[1])?
        }
        Function::Replace => Value::Str(text(0)?.replace(text(1)?, text(2)?).into()),
        Function::Concat => {
            let texts: Option<Vec<&str>> = (0..arguments.len()).map(text).collect();
            Value::Str(texts?.concat().into())
        }
        Function::Matches => text::matches(first, &Pattern::new(text(1)?).ok()?),
        Function::Split => text::split(text(0)?, text(1)?)?,
        Function::Normalize => text::normalize(arguments)?,
        Function::Year => Value::Int(date()?.year().into()),
        Function::Month => Value::Int(date()?.month().into()),
        Function::Day => Value::Int(date()?.day().into()),
        Function::Weekday => Value::Int(date()?.weekday().to_monday_one_offset().into()),
        Function::Hour => match first {
            Value::Datetime(at) => Value::Int(at.to_zoned(TimeZone::UTC).hour().into()),
            _ => return None,
        },
        Function::Seconds => span(1)?,
        Function::Minutes => span(60)?,
        Function::Hours => span(60 * 60)?,
        Function::Days => span(24 * 60 * 60)?,
        Function::Weeks => span(7 * 24 * 60 * 60)?,
        Function::Months => time::add_months(first, &arguments[1], 1)?,
        Function::Years => time::add_months(first, &arguments[1], 12)?,
        Function::Truncate => time::truncate(first, text(1)?)?,
        Function::Str
        | Function::Int
        | Function::Float
        | Function::Decimal
        | Function::Bool
        | Function::Datetime
        | Function::Date
        | Function::Duration
        | Function::Uuid => convert::to(function, first)?,
        Function::Coalesce | Function::IsError | Function::Exists => return None,
    })
}
