//! JSON to the tree of an expression.

use smol_str::SmolStr;

use super::read::{Members, Reader, head};
use super::value::{Json, JsonKind};
use crate::ast::{Argument, BinaryOp, Expr, ExprKind, Ident, OrderKey, UnaryOp};
use crate::limits::MAX_HEIGHT;
use crate::{dump, format_expression, nearest, parse_expression};

/// What else an `op` may be.
const OTHERS: [&str; 19] = [
    "self", "parent", "ego", "root", "name", "int", "number", "field", "filter", "order", "at", "slice",
    "call", "argument", "not", "negate", "if", "switch", "list",
];

impl Reader<'_> {
    /// An expression that stands for itself: it must have a text that means the same.
    pub(super) fn whole_expression(&mut self, json: &Json) -> Expr {
        let before = self.found.len();
        let expr = self.expression(json, 1);
        if self.found.len() > before {
            return expr;
        }
        let parsed = parse_expression(&format_expression(&expr));
        if let Some(found) = parsed.diagnostics.first() {
            let help = found.help.clone().unwrap_or_default();
            self.wrong_as(found.code, head(json), format!("as text: {}", found.message), &help);
        } else if dump(&parsed.tree) != dump(&expr) {
            let help = "give it a name that is no word of the language";
            self.wrong(head(json), "as text this expression would mean something else", help);
        }
        expr
    }

    fn expression(&mut self, json: &Json, height: usize) -> Expr {
        let kind = match &json.kind {
            _ if height > MAX_HEIGHT => {
                let message = format!("this expression nests more than {MAX_HEIGHT} operators or steps");
                self.wrong_as(
                    "too-deep",
                    head(json),
                    message,
                    "give a part of it a derived field of its own",
                );
                ExprKind::Error
            }
            JsonKind::Null => ExprKind::Null,
            JsonKind::Bool(value) => ExprKind::Bool(*value),
            JsonKind::Int(value) => ExprKind::Int(*value),
            JsonKind::Number(text) => self.number(text.clone(), json),
            JsonKind::Str(text) => ExprKind::Str(text.clone()),
            JsonKind::List(_) => {
                let help = "a list of values is {\"op\": \"list\", \"items\": […]}";
                self.wrong(head(json), "an expression is a literal or an object", help);
                ExprKind::Error
            }
            JsonKind::Object(_) => self.operation(json, height + 1).unwrap_or(ExprKind::Error),
        };
        Expr { kind, span: json.span }
    }

    /// A number with a point or an exponent.
    fn number(&mut self, text: SmolStr, json: &Json) -> ExprKind {
        let parsed = parse_expression(&text);
        if !parsed.diagnostics.is_empty() || parsed.tree.kind != ExprKind::Number(text.clone()) {
            let message = format!("\"{text}\" is not a number with a point or an exponent");
            self.wrong(json.span, message, "as in {\"op\": \"number\", \"text\": \"1.5\"}");
        }
        ExprKind::Number(text)
    }

    fn operation(&mut self, json: &Json, height: usize) -> Option<ExprKind> {
        let known = [
            "op",
            "text",
            "name",
            "of",
            "where",
            "by",
            "index",
            "from",
            "to",
            "arguments",
            "value",
            "left",
            "right",
            "condition",
            "then",
            "else",
            "cases",
            "items",
        ];
        let members = self.members(json, "an expression", &known)?;
        let op = self.required(&members, json, "op", "an expression")?;
        let name = self.within("op", |reader| reader.str(op))?;
        let binary = BinaryOp::ALL.into_iter().find(|binary| binary.symbol() == name);
        let takes: &[&str] = match name.as_str() {
            _ if binary.is_some() => &["left", "right"],
            "self" | "parent" | "ego" | "root" => &[],
            "name" => &["name"],
            "int" | "number" => &["text"],
            "field" => &["of", "name"],
            "filter" => &["of", "where"],
            "order" => &["of", "by"],
            "at" => &["of", "index"],
            "slice" => &["of", "from", "to"],
            "call" => &["name", "arguments"],
            "not" | "negate" => &["value"],
            "if" => &["condition", "then", "else"],
            "switch" => &["of", "cases", "else"],
            "list" => &["items"],
            "argument" => {
                self.wrong(op.span, "a named argument stands in the arguments of a call only", "");
                return None;
            }
            _ => {
                let all = BinaryOp::ALL.iter().map(|binary| binary.symbol()).chain(OTHERS);
                let help = match nearest(&name, all.clone()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("there are {}", all.collect::<Vec<_>>().join(", ")),
                };
                self.within("op", |it| it.wrong(op.span, format!("there is no operator \"{name}\""), &help));
                return None;
            }
        };
        let optional = |member: &str| match name.as_str() {
            "slice" => member != "of",
            "switch" => member == "else",
            _ => false,
        };
        let JsonKind::Object(all) = &json.kind else { return None };
        for (key, _) in all {
            if key.name != "op" && known.contains(&&*key.name) && !takes.contains(&&*key.name) {
                self.wrong(key.span, format!("\"{name}\" has no member \"{}\"", key.name), "");
            }
        }
        for member in takes.iter().filter(|member| !optional(member)) {
            self.required(&members, json, member, &format!("\"{name}\""))?;
        }
        if let Some(op) = binary {
            let (left, right) = (self.part(&members, "left", height)?, self.part(&members, "right", height)?);
            return Some(ExprKind::Binary { op, op_span: json.span, left, right });
        }
        self.by_name(&name, &members, height)
    }

    /// An operation whose members are there, and no others.
    fn by_name(&mut self, name: &str, members: &Members<'_>, height: usize) -> Option<ExprKind> {
        Some(match name {
            "self" => ExprKind::SelfRef,
            "parent" => ExprKind::Parent,
            "ego" => ExprKind::Ego,
            "root" => ExprKind::Root,
            "name" => ExprKind::Name(self.name(members)?.name),
            "int" => {
                let given = members.get("text")?;
                let text = self.within("text", |reader| reader.str(given))?;
                match text.parse() {
                    Ok(value) => ExprKind::Int(value),
                    Err(_) => {
                        let message = format!("\"{text}\" is not a whole number of 64 bits");
                        self.within("text", |reader| reader.wrong(given.span, message, ""));
                        return None;
                    }
                }
            }
            "number" => {
                let given = members.get("text")?;
                self.within("text", |reader| {
                    let text = reader.str(given)?;
                    Some(reader.number(text, given))
                })?
            }
            "field" => ExprKind::Field { base: self.part(members, "of", height)?, name: self.name(members)? },
            "filter" => ExprKind::Filter {
                base: self.part(members, "of", height)?,
                condition: self.part(members, "where", height)?,
            },
            "order" => {
                let base = self.part(members, "of", height)?;
                let by = members.get("by")?;
                let keys = self.within("by", |it| it.list(by, |it, key| it.order_key(key, height)));
                if keys.is_empty() {
                    self.within("by", |reader| reader.wrong(by.span, "an order needs a key", ""));
                }
                ExprKind::Order { base, keys: keys.into_iter().collect::<Option<_>>()? }
            }
            "at" => ExprKind::Index {
                base: self.part(members, "of", height)?,
                index: self.whole(members, "index")?,
            },
            "slice" => ExprKind::Slice {
                base: self.part(members, "of", height)?,
                from: self.whole(members, "from"),
                to: self.whole(members, "to"),
            },
            "call" => {
                let name = self.name(members)?;
                let given = members.get("arguments")?;
                let arguments = self
                    .within("arguments", |it| it.list(given, |it, argument| it.argument(argument, height)));
                ExprKind::Call { name, arguments: arguments.into_iter().collect::<Option<_>>()? }
            }
            "not" => ExprKind::Unary { op: UnaryOp::Not, operand: self.part(members, "value", height)? },
            "negate" => {
                ExprKind::Unary { op: UnaryOp::Negate, operand: self.part(members, "value", height)? }
            }
            "if" => ExprKind::Conditional {
                condition: self.part(members, "condition", height)?,
                then: self.part(members, "then", height)?,
                otherwise: self.part(members, "else", height)?,
            },
            "switch" => {
                let subject = self.part(members, "of", height)?;
                let given = members.get("cases")?;
                let cases = self.within("cases", |it| it.list(given, |it, case| it.case(case, height)));
                let otherwise = members.get("else").is_some().then(|| self.part(members, "else", height));
                ExprKind::Switch {
                    subject,
                    cases: cases.into_iter().collect::<Option<_>>()?,
                    otherwise: otherwise.flatten(),
                }
            }
            _ => {
                let items = members.get("items")?;
                ExprKind::List(
                    self.within("items", |it| it.list(items, |it, item| it.expression(item, height))),
                )
            }
        })
    }

    fn part(&mut self, members: &Members<'_>, name: &str, height: usize) -> Option<Box<Expr>> {
        let value = members.get(name)?;
        Some(Box::new(self.within(name, |reader| reader.expression(value, height))))
    }

    fn name(&mut self, members: &Members<'_>) -> Option<Ident> {
        let value = members.get("name")?;
        Some(self.within("name", |reader| reader.ident(value)))
    }

    /// A whole number, or the text of one.
    fn whole(&mut self, members: &Members<'_>, name: &str) -> Option<i64> {
        let value = members.get(name)?;
        let read = match &value.kind {
            JsonKind::Int(value) => Some(*value),
            JsonKind::Str(text) => text.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            self.within(name, |reader| {
                reader.wrong(value.span, "a position is a whole number, and this is none", "")
            });
        }
        read
    }

    fn order_key(&mut self, json: &Json, height: usize) -> Option<OrderKey> {
        let members = self.members(json, "a key of an order", &["key", "descending"])?;
        self.required(&members, json, "key", "a key of an order")?;
        let expr = *self.part(&members, "key", height)?;
        let descending = match members.get("descending").map(|value| (&value.kind, value)) {
            None => false,
            Some((JsonKind::Bool(value), _)) => *value,
            Some((_, other)) => {
                self.wrong(other.span, "\"descending\" is true or false", "");
                false
            }
        };
        Some(OrderKey { expr, descending })
    }

    fn case(&mut self, json: &Json, height: usize) -> Option<(Expr, Expr)> {
        let members = self.members(json, "a case", &["when", "then"])?;
        self.required(&members, json, "when", "a case")?;
        self.required(&members, json, "then", "a case")?;
        Some((*self.part(&members, "when", height)?, *self.part(&members, "then", height)?))
    }

    fn argument(&mut self, json: &Json, height: usize) -> Option<Argument> {
        let named = match &json.kind {
            JsonKind::Object(members) => members.iter().any(|(key, value)| {
                key.name == "op" && value.kind == JsonKind::Str(SmolStr::new_static("argument"))
            }),
            _ => false,
        };
        if !named {
            return Some(Argument { name: None, value: self.expression(json, height) });
        }
        let members = self.members(json, "a named argument", &["op", "name", "value"])?;
        self.required(&members, json, "name", "a named argument")?;
        self.required(&members, json, "value", "a named argument")?;
        let name = self.name(&members)?;
        Some(Argument { name: Some(name), value: *self.part(&members, "value", height)? })
    }
}
