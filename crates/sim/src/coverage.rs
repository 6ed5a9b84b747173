//! The generator writes the whole language: each function, aggregate, operator, kind of field and option stands in a schema
//! of one of the first seeds that the checker accepted.

use std::collections::BTreeSet;

use corollary_schema::expr::about;
use corollary_schema::functions;
use corollary_schema::typed::Aggregate;
use corollary_syntax::ast::{
    Argument, BinaryOp, Expr, ExprKind, FieldKindText, FieldText, OptionArgument, OptionText, TypeExpr,
    TypeExprKind, UnaryOp,
};
use corollary_syntax::{field_option_names, parse_schema, type_option_names, value_type_names};

use crate::make::{Written, draft, settle};
use crate::plan::Plan;

/// Within so many seeds.
const SEEDS: u64 = 1_500;

#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    fn add(&mut self, what: &str, name: &str) {
        self.0.insert(format!("{what} {name}"));
    }

    fn options(&mut self, of: &str, options: &[OptionText]) {
        for option in options {
            self.add(of, &option.name);
            if let OptionArgument::Expr(expr) = &option.argument {
                self.expr(expr);
            }
        }
    }

    fn field(&mut self, field: &FieldText) {
        self.options("option", &field.options);
        match &field.kind {
            FieldKindText::Stored(ty) => self.value_type(ty),
            FieldKindText::Link(targets) => {
                self.add("field", if targets.len() > 1 { "link to several" } else { "link" });
            }
            FieldKindText::Links(targets) => {
                self.add("field", if targets.len() > 1 { "links to several" } else { "links" });
            }
            FieldKindText::Collection { ordered, .. } => {
                self.add("field", if *ordered { "ordered collection" } else { "collection" });
            }
            FieldKindText::Inverse { .. } => self.add("field", "inverse"),
            FieldKindText::Derived(expr) => {
                self.add("field", "derived");
                self.expr(expr);
            }
        }
    }

    fn value_type(&mut self, ty: &TypeExpr) {
        match &ty.kind {
            TypeExprKind::Name(name) => self.add("type", name),
            TypeExprKind::Enum(_) => self.add("type", "enum"),
            TypeExprKind::List(of) => {
                self.add("type", "list");
                self.value_type(of);
            }
            TypeExprKind::Set(of) => {
                self.add("type", "set");
                self.value_type(of);
            }
            TypeExprKind::Map(of) => {
                self.add("type", "map");
                self.value_type(of);
            }
            TypeExprKind::Object(members) => {
                self.add("type", "object");
                members.iter().for_each(|member| self.field(member));
            }
            TypeExprKind::Union(union) => {
                self.add("type", "union");
                union.variants.iter().for_each(|variant| self.field(variant));
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Call { name, arguments } => {
                self.add("function", &name.name);
                arguments.iter().for_each(|Argument { value, .. }| self.expr(value));
            }
            ExprKind::Binary { op, left, right, .. } => {
                self.add("operator", op.symbol());
                self.expr(left);
                self.expr(right);
            }
            ExprKind::Unary { op, operand } => {
                self.add("operator", if *op == UnaryOp::Not { "not" } else { "minus" });
                self.expr(operand);
            }
            ExprKind::Field { base, name } => {
                if name.name == "_id" {
                    self.add("step", "_id");
                }
                self.expr(base);
            }
            ExprKind::Filter { base, condition } => {
                self.add("step", "filter");
                self.expr(base);
                self.expr(condition);
            }
            ExprKind::Order { base, keys } => {
                self.add("step", "order");
                self.expr(base);
                keys.iter().for_each(|key| self.expr(&key.expr));
            }
            ExprKind::Index { base, .. } => {
                self.add("step", "index");
                self.expr(base);
            }
            ExprKind::Slice { base, .. } => {
                self.add("step", "slice");
                self.expr(base);
            }
            ExprKind::Conditional { condition, then, otherwise } => {
                self.add("form", "conditional");
                [condition, then, otherwise].into_iter().for_each(|part| self.expr(part));
            }
            ExprKind::Switch { subject, cases, otherwise } => {
                self.add("form", "switch");
                self.expr(subject);
                cases.iter().for_each(|(_, value)| self.expr(value));
                otherwise.iter().for_each(|value| self.expr(value));
            }
            ExprKind::List(items) => {
                self.add("form", "list");
                items.iter().for_each(|item| self.expr(item));
            }
            ExprKind::Parent => self.add("start", "parent"),
            ExprKind::Root => self.add("start", "root"),
            _ => {}
        }
    }
}

#[test]
fn the_generator_writes_the_whole_language() {
    let functions = functions::TABLE.iter().map(|row| row.name).chain(about::NAMES).chain(Aggregate::names());
    let functions = functions.chain(["js", "now", "today", "group"]).map(|name| format!("function {name}"));
    let operators = BinaryOp::ALL.iter().map(|op| op.symbol()).chain(["not", "minus"]);
    let wanted = functions
        .chain(operators.map(|name| format!("operator {name}")))
        .chain(field_option_names().map(|name| format!("option {name}")))
        .chain(type_option_names().map(|name| format!("type option {name}")))
        .chain(value_type_names().map(|name| format!("type {name}")))
        .chain(
            [
                "head abstract",
                "type enum",
                "type list",
                "type object",
                "field link",
                "field links",
                "field link to several",
                "field links to several",
                "field collection",
                "field ordered collection",
                "field inverse",
                "field derived",
                "step _id",
                "step filter",
                "step order",
                "step index",
                "step slice",
                "form conditional",
                "form switch",
                "form list",
                "start parent",
                "start root",
            ]
            .map(String::from),
        );
    let mut missing: Vec<String> = wanted.collect();
    let mut seen = Seen::default();
    for seed in 0..SEEDS {
        let mut schema = draft(&mut Plan::whole(seed, 0).chance(0));
        let text = settle(&mut schema, None, &mut Written::default()).expect("the language");
        for ty in parse_schema(&text).tree.types {
            seen.add("head", if ty.is_abstract { "abstract" } else { "type" });
            seen.options("type option", &ty.options);
            ty.fields.iter().for_each(|field| seen.field(field));
        }
        missing.retain(|it| !seen.0.contains(it));
        if missing.is_empty() {
            return;
        }
    }
    panic!("within {SEEDS} seeds there is no {missing:#?}");
}
