//! A typed expression as the syntax tree that someone could have written, to show a plan in the language itself.

use corollary_syntax::ast::{Argument, Expr as Ast, ExprKind, Ident, OrderKey};
use corollary_syntax::format_expression;
use corollary_value::Value;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use crate::aggregate::Aggregate;
use crate::model::{FieldKind, FieldRef, Schema};
use crate::names::reverse_name;
use crate::typed::{Expr, Node};

/// The text of an expression, each hidden field by the name that `hidden` gives it.
pub fn text(schema: &Schema, expr: &Expr, hidden: &dyn Fn(FieldRef) -> SmolStr) -> String {
    format_expression(&Unparse { schema, hidden }.expr(expr))
}

struct Unparse<'a> {
    schema: &'a Schema,
    hidden: &'a dyn Fn(FieldRef) -> SmolStr,
}

fn ast(kind: ExprKind) -> Ast {
    Ast { kind, span: Default::default() }
}

fn ident(name: impl Into<SmolStr>) -> Ident {
    Ident { name: name.into(), span: Default::default() }
}

fn call(name: &str, arguments: Vec<Ast>) -> ExprKind {
    let arguments = arguments.into_iter().map(|value| Argument { name: None, value }).collect();
    ExprKind::Call { name: ident(name), arguments }
}

fn string(text: impl Into<SmolStr>) -> Ast {
    ast(ExprKind::Str(text.into()))
}

/// What an aggregate takes beside its list.
fn beside(aggregate: Aggregate) -> Option<Ast> {
    match aggregate {
        Aggregate::Percentile(share) => Some(ast(ExprKind::Number(share.to_smolstr()))),
        Aggregate::Top(count) => Some(ast(ExprKind::Int(count.into()))),
        Aggregate::Join(separator) => Some(string(separator.as_str())),
        _ => None,
    }
}

impl Unparse<'_> {
    fn name(&self, field: FieldRef) -> SmolStr {
        match &self.schema.field(field).kind {
            FieldKind::Aggregate { .. } => (self.hidden)(field),
            _ => self.schema.field(field).label().into(),
        }
    }

    fn boxed(&self, expr: &Expr) -> Box<Ast> {
        Box::new(self.expr(expr))
    }

    /// A field of a base; of an item, and of what is kept once for all, by its bare name.
    fn step(&self, base: &Expr, name: SmolStr) -> ExprKind {
        match base.node {
            Node::Item(_) | Node::Shared => ExprKind::Name(name),
            _ => ExprKind::Field { base: self.boxed(base), name: ident(name) },
        }
    }

    fn expr(&self, expr: &Expr) -> Ast {
        ast(match &expr.node {
            Node::Const(value) => match value {
                Value::Null | Value::Absent => ExprKind::Null,
                Value::Bool(value) => ExprKind::Bool(*value),
                Value::Int(value) => ExprKind::Int(*value),
                Value::Float(_) | Value::Decimal(_) => ExprKind::Number(value.to_smolstr()),
                value => ExprKind::Str(value.to_smolstr()),
            },
            Node::Now => call("now", Vec::new()),
            Node::Owner => ExprKind::SelfRef,
            Node::Shared => ExprKind::Name("all".into()),
            Node::Item(_) => ExprKind::Name("item".into()),
            Node::All(ty) => {
                let ty = self.schema.ty(*ty);
                ExprKind::Name(ty.root.clone().unwrap_or_else(|| ty.name.clone()))
            }
            Node::Get(base, field) => self.step(base, self.name(*field)),
            Node::Each(base, field, _) => self.step(base, self.name(*field)),
            Node::Reverse(base, of) => self.step(base, reverse_name(self.schema, *of).into()),
            Node::Member(base, name) => self.step(base, name.clone()),
            Node::IdOf(base) => self.step(base, "_id".into()),
            Node::Extend(base, members) => {
                let member = |(name, member): &(SmolStr, Expr)| Argument {
                    name: Some(ident(name.clone())),
                    value: self.expr(member),
                };
                let base = Argument { name: None, value: self.expr(base) };
                let arguments = [base].into_iter().chain(members.iter().map(member)).collect();
                ExprKind::Call { name: ident("extend"), arguments }
            }
            Node::Filter(base, condition) => {
                ExprKind::Filter { base: self.boxed(base), condition: self.boxed(condition) }
            }
            Node::Order(base, keys) => ExprKind::Order {
                base: self.boxed(base),
                keys: keys
                    .iter()
                    .map(|(key, descending)| OrderKey { expr: self.expr(key), descending: *descending })
                    .collect(),
            },
            Node::At(base, index) => ExprKind::Index { base: self.boxed(base), index: *index },
            Node::Slice(base, from, to) => ExprKind::Slice { base: self.boxed(base), from: *from, to: *to },
            Node::Aggregate(aggregate, base) => {
                let list = self.expr(base);
                call(aggregate.name(), [list].into_iter().chain(beside(*aggregate)).collect())
            }
            Node::GroupBy(it) => {
                let inner = it.value.iter().map(|value| self.expr(value)).chain(beside(it.aggregate));
                let inner = ast(call(it.aggregate.name(), inner.collect()));
                let argument = |name: Option<&str>, value| Argument { name: name.map(ident), value };
                ExprKind::Call {
                    name: ident("group"),
                    arguments: vec![
                        argument(None, self.expr(&it.list)),
                        argument(Some("by"), self.expr(&it.by)),
                        argument(None, inner),
                    ],
                }
            }
            Node::Unary(op, operand) => ExprKind::Unary { op: *op, operand: self.boxed(operand) },
            Node::Binary(op, left, right) => ExprKind::Binary {
                op: *op,
                op_span: Default::default(),
                left: self.boxed(left),
                right: self.boxed(right),
            },
            Node::Conditional(condition, then, otherwise) => ExprKind::Conditional {
                condition: self.boxed(condition),
                then: self.boxed(then),
                otherwise: self.boxed(otherwise),
            },
            Node::Switch(subject, cases, otherwise) => ExprKind::Switch {
                subject: self.boxed(subject),
                cases: cases.iter().map(|(key, value)| (self.expr(key), self.expr(value))).collect(),
                otherwise: otherwise.as_ref().map(|value| self.boxed(value)),
            },
            Node::Call(function, parts) => {
                call(function.name(), parts.iter().map(|part| self.expr(part)).collect())
            }
            Node::Matches(text, pattern) => {
                call("matches", vec![self.expr(text), string(pattern.regex.as_str())])
            }
            Node::Script(script) => {
                let using = script.using.iter().map(|(_, part)| self.expr(part)).collect();
                let source = Argument { name: None, value: string(script.source.clone()) };
                let using = Argument { name: Some(ident("using")), value: ast(ExprKind::List(using)) };
                ExprKind::Call { name: ident("js"), arguments: vec![source, using] }
            }
            Node::Either(parts) => {
                let mut parts: Vec<Ast> = parts.iter().map(|part| self.expr(part)).collect();
                // The same of each type is what was written.
                parts.dedup();
                if let [_] = parts[..] { parts.remove(0).kind } else { call("either", parts) }
            }
            Node::List(items) => ExprKind::List(items.iter().map(|item| self.expr(item)).collect()),
        })
    }
}

/// The name of a hidden part, as `part_1`.
pub fn part(number: usize) -> SmolStr {
    format_smolstr!("part_{number}")
}
