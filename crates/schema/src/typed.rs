//! Typed expressions: every name resolved to a field, every node with its type.
//!
//! Made by [`crate::expr`], lowered by [`crate::plan`], evaluated by the engine (over stored values) and by the
//! oracle (over facts alone).

use std::fmt;

use corollary_script::Limits;
use corollary_syntax::ast::{BinaryOp, UnaryOp};
use corollary_value::Value;
use smol_str::SmolStr;

pub use crate::aggregate::{Aggregate, GroupBy};
use crate::functions::Function;
use crate::members::Members;
use crate::model::{FieldRef, OnDelete, Pattern, Schema, Slot, TypeIx, ValueType};

/// What one element of an expression's value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing but null (or an error); fits everywhere.
    Null,
    /// True or false.
    Bool,
    /// 64 bit integer.
    Int,
    /// Double.
    Float,
    /// Exact decimal.
    Decimal,
    /// Text.
    Str,
    /// One of these words.
    Enum(Vec<SmolStr>),
    /// Bytes.
    Bytes,
    /// UUID.
    Uuid,
    /// Instant.
    Datetime,
    /// Day.
    Date,
    /// Span of time.
    Duration,
    /// Any value; checked when it is evaluated.
    Json,
    /// An embedded object.
    Object(Members),
    /// An object with free keys.
    Map(Box<ValueType>),
    /// A resource.
    Resource(TypeIx),
    /// A resource of one of these types. Only a [`Node::Either`] has this kind, with a part for each of them, in this order.
    Among(Vec<TypeIx>),
}

/// How many elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    /// One, or null.
    One,
    /// A list of values, repeats kept.
    List,
    /// Resources, each once, in the order of their ids unless ordered otherwise.
    Set,
}

/// The type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// Of one element.
    pub kind: Kind,
    /// How many elements.
    pub many: Many,
}

impl Type {
    /// One value of a kind.
    pub fn one(kind: Kind) -> Type {
        Type { kind, many: Many::One }
    }

    /// Is it a list or a set?
    pub fn is_many(&self) -> bool {
        self.many != Many::One
    }

    /// The type of resource, where it is one or a set of them.
    pub fn resource(&self) -> Option<TypeIx> {
        match self.kind {
            Kind::Resource(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of a stored value, as an expression sees it.
    pub fn of_value(ty: &ValueType) -> Type {
        let kind = match ty {
            ValueType::Str => Kind::Str,
            ValueType::Int => Kind::Int,
            ValueType::Float => Kind::Float,
            ValueType::Bool => Kind::Bool,
            ValueType::Decimal => Kind::Decimal,
            ValueType::Datetime => Kind::Datetime,
            ValueType::Date => Kind::Date,
            ValueType::Duration => Kind::Duration,
            ValueType::Uuid => Kind::Uuid,
            ValueType::Bytes => Kind::Bytes,
            ValueType::Json => Kind::Json,
            ValueType::Enum(words) => Kind::Enum(words.clone()),
            ValueType::Object(members) => Kind::Object(members.clone()),
            ValueType::Map(of) => Kind::Map(of.clone()),
            ValueType::Link { target, .. } => Kind::Resource(*target),
            ValueType::List(of) | ValueType::Set(of) => {
                let kind = Type::of_value(of).kind;
                let many = if matches!(kind, Kind::Resource(_)) { Many::Set } else { Many::List };
                return Type { kind, many };
            }
        };
        Type::one(kind)
    }

    /// The type of a stored value that holds what an expression of this type gives. Where that is a resource, it is a
    /// link of which no field keeps the references yet.
    pub fn stored(&self) -> ValueType {
        let one = match &self.kind {
            Kind::Bool => ValueType::Bool,
            Kind::Int => ValueType::Int,
            Kind::Float => ValueType::Float,
            Kind::Decimal => ValueType::Decimal,
            Kind::Str => ValueType::Str,
            Kind::Enum(words) => ValueType::Enum(words.clone()),
            Kind::Bytes => ValueType::Bytes,
            Kind::Uuid => ValueType::Uuid,
            Kind::Datetime => ValueType::Datetime,
            Kind::Date => ValueType::Date,
            Kind::Duration => ValueType::Duration,
            // One of several types is refused where it is the whole of a value.
            Kind::Null | Kind::Json | Kind::Among(_) => ValueType::Json,
            Kind::Object(members) => ValueType::Object(members.clone()),
            Kind::Map(of) => ValueType::Map(of.clone()),
            Kind::Resource(target) => ValueType::Link {
                target: *target,
                on_delete: OnDelete::Unlink,
                via: FieldRef { ty: *target, slot: Slot(u32::MAX) },
            },
        };
        if self.is_many() { ValueType::List(Box::new(one)) } else { one }
    }

    /// For messages: `int`, `a list of str`, `Employee`, `a set of Employee`.
    pub fn describe(&self, schema_name: &dyn Fn(TypeIx) -> SmolStr) -> String {
        let kind = match &self.kind {
            Kind::Null => "null".into(),
            Kind::Bool => "bool".into(),
            Kind::Int => "int".into(),
            Kind::Float => "float".into(),
            Kind::Decimal => "decimal".into(),
            Kind::Str => "str".into(),
            Kind::Enum(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" | ")
            }
            Kind::Bytes => "bytes".into(),
            Kind::Uuid => "uuid".into(),
            Kind::Datetime => "datetime".into(),
            Kind::Date => "date".into(),
            Kind::Duration => "duration".into(),
            Kind::Json => "json".into(),
            Kind::Object(members) if members.is_file() => "file".into(),
            Kind::Object(_) => "object".into(),
            Kind::Map(_) => "map".into(),
            Kind::Resource(ty) => schema_name(*ty).to_string(),
            Kind::Among(types) => {
                types.iter().map(|ty| schema_name(*ty).to_string()).collect::<Vec<_>>().join(" | ")
            }
        };
        match self.many {
            Many::One => kind,
            Many::List => format!("a list of {kind}"),
            Many::Set => format!("a set of {kind}"),
        }
    }
}

/// A typed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Which.
    pub node: Node,
    /// The type of its value.
    pub ty: Type,
}

/// The kinds of typed expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A literal.
    Const(Value),
    /// The time of the commit or of the read.
    Now,
    /// `self`: the resource that the expression belongs to.
    Owner,
    /// The one hidden resource that keeps what is the same for all: [`Schema::shared`].
    Shared,
    /// The item of an enclosing filter or order: 0 is the innermost.
    Item(u32),
    /// All resources of a type (a root collection).
    All(TypeIx),
    /// A field kept in the document, of one resource or of each of many.
    Get(Box<Expr>, FieldRef),
    /// The resources whose link (of any kind) holds the base.
    Reverse(Box<Expr>, FieldRef),
    /// A member of an object, or the value of a map at a key.
    Member(Box<Expr>, SmolStr),
    /// The id of a resource.
    IdOf(Box<Expr>),
    /// A lazy field of one resource, or of each of many: its expression, in which the innermost item is that resource.
    Each(Box<Expr>, FieldRef, Box<Expr>),
    /// Objects (one, those of a list, the values of a map) with members that follow from others, in order. In each
    /// expression the innermost item is the object with the members so far.
    Extend(Box<Expr>, Vec<(SmolStr, Expr)>),
    /// The elements for which the condition holds.
    Filter(Box<Expr>, Box<Expr>),
    /// The elements by these keys; true is descending. Ties keep the order of ids.
    Order(Box<Expr>, Vec<(Expr, bool)>),
    /// The element at a position; from the end where negative.
    At(Box<Expr>, i64),
    /// The elements from one position up to another.
    Slice(Box<Expr>, Option<i64>, Option<i64>),
    /// An aggregate over a list or a set.
    Aggregate(Aggregate, Box<Expr>),
    /// A map of aggregates, by key.
    GroupBy(Box<GroupBy>),
    /// An operator of one operand.
    Unary(UnaryOp, Box<Expr>),
    /// An operator of two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `condition -> then : otherwise`.
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `subject -> (key: value, …, else: otherwise)`.
    Switch(Box<Expr>, Vec<(Expr, Expr)>, Option<Box<Expr>>),
    /// A function of values.
    Call(Function, Vec<Expr>),
    /// Does the pattern match somewhere in the text?
    Matches(Box<Expr>, Pattern),
    /// A function in JavaScript.
    Script(Box<Script>),
    /// A list literal.
    List(Vec<Expr>),
    /// What each of several links leads to, or follows from that: the first value that is not null; of lists the elements
    /// of all.
    Either(Vec<Expr>),
}

/// A function in JavaScript: its value is JSON, and follows from what it is given alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// The text of the function; it has been compiled once.
    pub source: SmolStr,
    /// What it is given, by name: the members of its one argument.
    pub using: Vec<(SmolStr, Expr)>,
    /// What a call may take.
    pub limits: Limits,
}

impl Expr {
    /// A literal.
    pub fn constant(value: Value, kind: Kind) -> Expr {
        Expr { node: Node::Const(value), ty: Type::one(kind) }
    }

    /// `self`, a resource of this type.
    pub fn owner(ty: TypeIx) -> Expr {
        Expr { node: Node::Owner, ty: Type::one(Kind::Resource(ty)) }
    }

    /// The same expression with each direct part replaced; `f` is told how many more items are in scope there than here.
    /// Does not go into the parts itself.
    pub fn map_parts(self, f: &mut dyn FnMut(Expr, u32) -> Expr) -> Expr {
        let mut deeper = |expr: Box<Expr>, depth| Box::new(f(*expr, depth));
        let node = match self.node {
            leaf @ (Node::Const(_)
            | Node::Now
            | Node::Owner
            | Node::Shared
            | Node::Item(_)
            | Node::All(_)) => leaf,
            Node::Get(base, field) => Node::Get(deeper(base, 0), field),
            Node::Reverse(base, of) => Node::Reverse(deeper(base, 0), of),
            Node::Member(base, name) => Node::Member(deeper(base, 0), name),
            Node::IdOf(base) => Node::IdOf(deeper(base, 0)),
            Node::Each(base, field, body) => Node::Each(deeper(base, 0), field, deeper(body, 1)),
            Node::Filter(base, condition) => Node::Filter(deeper(base, 0), deeper(condition, 1)),
            Node::Extend(base, members) => {
                let base = deeper(base, 0);
                Node::Extend(base, members.into_iter().map(|(name, member)| (name, f(member, 1))).collect())
            }
            Node::Order(base, keys) => {
                let base = deeper(base, 0);
                Node::Order(base, keys.into_iter().map(|(key, desc)| (f(key, 1), desc)).collect())
            }
            Node::At(base, at) => Node::At(deeper(base, 0), at),
            Node::Slice(base, from, to) => Node::Slice(deeper(base, 0), from, to),
            Node::Aggregate(aggregate, base) => Node::Aggregate(aggregate, deeper(base, 0)),
            Node::GroupBy(it) => {
                let GroupBy { list, by, aggregate, value } = *it;
                let (list, by, value) = (f(list, 0), f(by, 1), value.map(|value| f(value, 1)));
                Node::GroupBy(Box::new(GroupBy { list, by, aggregate, value }))
            }
            Node::Unary(op, operand) => Node::Unary(op, deeper(operand, 0)),
            Node::Binary(op, left, right) => Node::Binary(op, deeper(left, 0), deeper(right, 0)),
            Node::Conditional(condition, then, otherwise) => {
                Node::Conditional(deeper(condition, 0), deeper(then, 0), deeper(otherwise, 0))
            }
            Node::Switch(subject, cases, otherwise) => {
                let subject = deeper(subject, 0);
                let cases = cases.into_iter().map(|(key, value)| (f(key, 0), f(value, 0))).collect();
                Node::Switch(subject, cases, otherwise.map(|otherwise| Box::new(f(*otherwise, 0))))
            }
            Node::Call(function, arguments) => {
                Node::Call(function, arguments.into_iter().map(|argument| f(argument, 0)).collect())
            }
            Node::Matches(text, pattern) => Node::Matches(deeper(text, 0), pattern),
            Node::Script(script) => {
                let Script { source, using, limits } = *script;
                let using = using.into_iter().map(|(name, part)| (name, f(part, 0))).collect();
                Node::Script(Box::new(Script { source, using, limits }))
            }
            Node::List(items) => Node::List(items.into_iter().map(|item| f(item, 0)).collect()),
            Node::Either(parts) => Node::Either(parts.into_iter().map(|part| f(part, 0)).collect()),
        };
        Expr { node, ty: self.ty }
    }

    /// Calls `f` for each direct part, with how many more items are in scope there than here.
    pub fn for_parts(&self, f: &mut dyn FnMut(&Expr, u32)) {
        match &self.node {
            Node::Const(_) | Node::Now | Node::Owner | Node::Shared | Node::Item(_) | Node::All(_) => {}
            Node::Get(base, _)
            | Node::Reverse(base, _)
            | Node::Member(base, _)
            | Node::IdOf(base)
            | Node::At(base, _)
            | Node::Slice(base, ..)
            | Node::Aggregate(_, base)
            | Node::Unary(_, base)
            | Node::Matches(base, _) => f(base, 0),
            Node::Filter(base, inner) | Node::Each(base, _, inner) => {
                f(base, 0);
                f(inner, 1);
            }
            Node::Extend(base, members) => {
                f(base, 0);
                members.iter().for_each(|(_, member)| f(member, 1));
            }
            Node::Order(base, keys) => {
                f(base, 0);
                keys.iter().for_each(|(key, _)| f(key, 1));
            }
            Node::GroupBy(it) => {
                f(&it.list, 0);
                f(&it.by, 1);
                it.value.iter().for_each(|value| f(value, 1));
            }
            Node::Binary(_, left, right) => {
                f(left, 0);
                f(right, 0);
            }
            Node::Conditional(condition, then, otherwise) => {
                f(condition, 0);
                f(then, 0);
                f(otherwise, 0);
            }
            Node::Switch(subject, cases, otherwise) => {
                f(subject, 0);
                for (key, value) in cases {
                    f(key, 0);
                    f(value, 0);
                }
                if let Some(otherwise) = otherwise {
                    f(otherwise, 0);
                }
            }
            Node::Call(_, parts) | Node::List(parts) | Node::Either(parts) => {
                parts.iter().for_each(|part| f(part, 0))
            }
            Node::Script(script) => script.using.iter().for_each(|(_, part)| f(part, 0)),
        }
    }
}

impl Expr {
    /// The same expression of the innermost item, instead of `self`. It must have no items from further out.
    pub fn of_item(self) -> Expr {
        self.of_item_at(0)
    }

    fn of_item_at(self, depth: u32) -> Expr {
        match self.node {
            Node::Owner => Expr { node: Node::Item(depth), ty: self.ty },
            _ => self.map_parts(&mut |part, deeper| part.of_item_at(depth + deeper)),
        }
    }

    /// Has it no more parts than are left? Those that it has are taken off.
    pub fn has_parts_within(&self, left: &mut usize) -> bool {
        let mut within = *left > 0;
        *left = left.saturating_sub(1);
        self.for_parts(&mut |part, _| within = within && part.has_parts_within(left));
        within
    }
}

/// Does it ask for the time, anywhere in it?
pub fn mentions_now(expr: &Expr) -> bool {
    let mut found = expr.node == Node::Now;
    expr.for_parts(&mut |part, _| found = found || mentions_now(part));
    found
}

/// Is it the time, plus or minus something? A value that follows from comparisons with the time is not.
pub fn is_clock(expr: &Expr) -> bool {
    match &expr.node {
        Node::Now => true,
        Node::Call(Function::Date | Function::Months | Function::Years, parts) => {
            parts.first().is_some_and(is_clock)
        }
        Node::Binary(BinaryOp::Add | BinaryOp::Subtract, left, right) => is_clock(left) || is_clock(right),
        _ => false,
    }
}

/// Shows an expression with the schema's names, for signatures, plans and `explain`.
pub struct Show<'a>(pub &'a Expr, pub &'a Schema);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |field: FieldRef| {
            let schema = self.1;
            (schema.ty(field.ty).name.clone(), schema.field(field).name.clone())
        };
        write_expr(self.0, &names, &|ty| self.1.ty(ty).name.clone(), f)
    }
}

/// Writes an expression, names given by the caller.
pub(crate) fn write_expr(
    expr: &Expr,
    field_name: &dyn Fn(FieldRef) -> (SmolStr, SmolStr),
    type_name: &dyn Fn(TypeIx) -> SmolStr,
    f: &mut dyn fmt::Write,
) -> fmt::Result {
    let go = |part: &Expr, f: &mut dyn fmt::Write| write_expr(part, field_name, type_name, f);
    match &expr.node {
        Node::Const(value) => write!(f, "{value:?}"),
        Node::Now => f.write_str("now()"),
        Node::Owner => f.write_str("self"),
        Node::Shared => f.write_str("all"),
        Node::Item(depth) => write!(f, "item{depth}"),
        Node::All(ty) => write!(f, "all({})", type_name(*ty)),
        Node::Get(base, field) => {
            go(base, f)?;
            write!(f, ".{}", field_name(*field).1)
        }
        Node::Reverse(base, of) => {
            go(base, f)?;
            let (ty, field) = field_name(*of);
            write!(f, ".<{ty}.{field}>")
        }
        Node::Member(base, name) => {
            go(base, f)?;
            write!(f, ".{name}")
        }
        Node::IdOf(base) => {
            go(base, f)?;
            f.write_str("._id")
        }
        Node::Each(base, _, body) => {
            go(base, f)?;
            f.write_str(".(")?;
            go(body, f)?;
            f.write_str(")")
        }
        Node::Extend(base, members) => {
            go(base, f)?;
            f.write_str("{")?;
            for (name, member) in members {
                write!(f, " {name} := ")?;
                go(member, f)?;
            }
            f.write_str(" }")
        }
        Node::Filter(base, condition) => {
            go(base, f)?;
            f.write_str("[")?;
            go(condition, f)?;
            f.write_str("]")
        }
        Node::Order(base, keys) => {
            go(base, f)?;
            f.write_str("[order by")?;
            for (key, descending) in keys {
                f.write_str(" ")?;
                go(key, f)?;
                f.write_str(if *descending { " desc" } else { "" })?;
            }
            f.write_str("]")
        }
        Node::At(base, at) => {
            go(base, f)?;
            write!(f, "[{at}]")
        }
        Node::Slice(base, from, to) => {
            go(base, f)?;
            write!(f, "[{from:?}..{to:?}]")
        }
        Node::Aggregate(aggregate, base) => {
            write!(f, "{aggregate}(")?;
            go(base, f)?;
            f.write_str(")")
        }
        Node::GroupBy(it) => {
            f.write_str("group(")?;
            go(&it.list, f)?;
            f.write_str(", by ")?;
            go(&it.by, f)?;
            write!(f, ", {}(", it.aggregate)?;
            if let Some(value) = &it.value {
                go(value, f)?;
            }
            f.write_str("))")
        }
        Node::Unary(op, operand) => {
            write!(f, "{op:?}(")?;
            go(operand, f)?;
            f.write_str(")")
        }
        Node::Binary(op, left, right) => {
            write!(f, "{op:?}(")?;
            go(left, f)?;
            f.write_str(", ")?;
            go(right, f)?;
            f.write_str(")")
        }
        Node::Conditional(condition, then, otherwise) => {
            f.write_str("if(")?;
            go(condition, f)?;
            f.write_str(", ")?;
            go(then, f)?;
            f.write_str(", ")?;
            go(otherwise, f)?;
            f.write_str(")")
        }
        Node::Switch(subject, cases, otherwise) => {
            f.write_str("switch(")?;
            go(subject, f)?;
            for (key, value) in cases {
                f.write_str(", ")?;
                go(key, f)?;
                f.write_str(": ")?;
                go(value, f)?;
            }
            if let Some(otherwise) = otherwise {
                f.write_str(", else: ")?;
                go(otherwise, f)?;
            }
            f.write_str(")")
        }
        Node::Call(function, arguments) => {
            write!(f, "{}(", function.name())?;
            for (at, argument) in arguments.iter().enumerate() {
                if at > 0 {
                    f.write_str(", ")?;
                }
                go(argument, f)?;
            }
            f.write_str(")")
        }
        Node::Matches(text, pattern) => {
            f.write_str("matches(")?;
            go(text, f)?;
            write!(f, ", {:?})", pattern.regex.as_str())
        }
        Node::Script(script) => {
            let Script { source, using, limits } = &**script;
            write!(f, "js({source:?}")?;
            for (name, part) in using {
                write!(f, ", {name}: ")?;
                go(part, f)?;
            }
            write!(f, ", steps {}, memory {}, stack {})", limits.steps, limits.memory, limits.stack)
        }
        Node::Either(parts) => {
            f.write_str("either(")?;
            for (at, part) in parts.iter().enumerate() {
                f.write_str(if at > 0 { ", " } else { "" })?;
                go(part, f)?;
            }
            f.write_str(")")
        }
        Node::List(items) => {
            f.write_str("[")?;
            for item in items {
                go(item, f)?;
                f.write_str(" ")?;
            }
            f.write_str("]")
        }
    }
}
