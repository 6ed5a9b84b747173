//! The condition tree: a filter written as JSON, as `{"and": [{"kv": {"key": "age", "value": 41}}, {"expr": "…"}]}`.
//!
//! It becomes the same typed expression that the text of a filter becomes, so there is one evaluator, and one choice of
//! indexes, for both. A key is an expression; over a list a comparison holds when it holds of any element. Lists of
//! conditions become trees of little height, whatever their length.

use corollary_engine::Refusal;
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::typed::{Expr, Kind, Node, Type};
use corollary_schema::{Schema, TypeIx, ValueType};
use corollary_syntax::ast::{BinaryOp, UnaryOp};
use corollary_syntax::{nearest, parse_expression};
use corollary_value::{Id, Value, from_json};
use serde_json::{Map, Value as Json};

use crate::json::decode;

/// The most conditions in one tree.
pub const MAX_CONDITIONS: usize = 1_000;

/// How deep conditions may stand in each other.
pub const MAX_DEPTH: usize = 64;

/// The conditions, and what each takes.
const CONDITIONS: [(&str, &[&str]); 10] = [
    ("and", &[]),
    ("or", &[]),
    ("not", &[]),
    ("kv", &["key", "value", "equals"]),
    ("kvs", &["key", "values", "includes"]),
    ("exist", &["key"]),
    ("nonexistent", &["key"]),
    ("greater", &["key", "value", "equals"]),
    ("lesser", &["key", "value", "equals"]),
    ("expr", &[]),
];

/// The condition that a tree says about resources of a type; none where it is empty. The errors have their places below
/// `path`.
pub fn typed(schema: &Schema, ty: TypeIx, tree: &Json, path: &str) -> Result<Option<Expr>, Vec<Refusal>> {
    let mut reader = Reader { schema, ty, conditions: 0, found: Vec::new() };
    let condition = match tree {
        Json::Null => None,
        Json::Object(members) if members.is_empty() => None,
        tree => reader.condition(tree, path, 0),
    };
    if reader.found.is_empty() { Ok(condition) } else { Err(reader.found) }
}

struct Reader<'s> {
    schema: &'s Schema,
    ty: TypeIx,
    conditions: usize,
    found: Vec<Refusal>,
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr { node: Node::Binary(op, Box::new(left), Box::new(right)), ty: Type::one(Kind::Bool) }
}

fn not(condition: Expr) -> Expr {
    Expr { node: Node::Unary(UnaryOp::Not, Box::new(condition)), ty: Type::one(Kind::Bool) }
}

/// All of them joined, as a tree whose height is the logarithm of their number.
fn joined(op: BinaryOp, mut conditions: Vec<Expr>) -> Option<Expr> {
    while conditions.len() > 1 {
        let mut pairs = Vec::with_capacity(conditions.len().div_ceil(2));
        let mut rest = conditions.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => binary(op, left, right),
                None => left,
            });
        }
        conditions = pairs;
    }
    conditions.pop()
}

impl Reader<'_> {
    fn refuse<T>(&mut self, path: &str, message: impl Into<String>) -> Option<T> {
        self.found.push(Refusal::new("filter", Some(path), message));
        None
    }

    fn condition(&mut self, tree: &Json, path: &str, depth: usize) -> Option<Expr> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            // Told once.
            return (self.conditions == MAX_CONDITIONS + 1)
                .then(|| self.refuse(path, format!("a tree has at most {MAX_CONDITIONS} conditions")))
                .flatten();
        }
        if depth == MAX_DEPTH {
            return self.refuse(path, format!("conditions are nested deeper than {MAX_DEPTH}"));
        }
        if let Json::String(text) = tree {
            return self.expression(text, path);
        }
        let (name, given) = match tree {
            Json::Object(members) if members.len() == 1 => members.iter().next()?,
            _ => {
                let message =
                    "a condition is an object with one member, as {\"kv\": {\"key\": …, \"value\": …}}";
                return self.refuse(path, message);
            }
        };
        let path = format!("{path}/{name}");
        let Some((_, takes)) = CONDITIONS.into_iter().find(|(known, _)| known == name) else {
            let near = nearest(name, CONDITIONS.iter().map(|(name, _)| *name));
            let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return self.refuse(&path, format!("there is no condition `{name}`{help}"));
        };
        match (name.as_str(), given) {
            ("and" | "or", Json::Array(parts)) if !parts.is_empty() => {
                let op = if name == "and" { BinaryOp::And } else { BinaryOp::Or };
                let parts = parts.iter().enumerate();
                let typed: Vec<Option<Expr>> = parts
                    .map(|(at, part)| self.condition(part, &format!("{path}/{at}"), depth + 1))
                    .collect();
                joined(op, typed.into_iter().collect::<Option<_>>()?)
            }
            ("and" | "or", _) => {
                self.refuse(&path, format!("`{name}` is a list of conditions, of one at least"))
            }
            ("not", part) => self.condition(part, &path, depth + 1).map(not),
            ("expr", Json::String(text)) => self.expression(text, &path),
            ("expr", _) => self.refuse(&path, "`expr` is a text"),
            (_, Json::Object(members)) => {
                if let Some(other) = members.keys().find(|member| !takes.contains(&member.as_str())) {
                    let near = nearest(other, takes.iter().copied());
                    let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    return self
                        .refuse(&format!("{path}/{other}"), format!("`{name}` takes no `{other}`{help}"));
                }
                self.comparison(name, members, &path)
            }
            _ => self.refuse(&path, format!("what `{name}` takes is an object")),
        }
    }

    fn comparison(&mut self, name: &str, given: &Map<String, Json>, path: &str) -> Option<Expr> {
        let Some(Json::String(key)) = given.get("key") else {
            return self.refuse(&format!("{path}/key"), "`key` is a text, and has to be there");
        };
        let at_key = format!("{path}/key");
        if let "exist" | "nonexistent" = name {
            // Also of a link to one of several types, which cannot stand by itself.
            let exists = self.checked(&format!("exists({key})"), &at_key)?;
            return Some(if name == "exist" { exists } else { not(exists) });
        }
        let subject = self.checked(key, &at_key)?;
        let flag = |name: &str, otherwise: bool| match given.get(name) {
            None => Ok(otherwise),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(_) => Err((format!("{path}/{name}"), format!("`{name}` is true or false"))),
        };
        let value = |reader: &mut Self| match given.get("value") {
            Some(value) => reader.constant(value, &subject.ty, &format!("{path}/value")),
            None => reader.refuse(&format!("{path}/value"), "`value` has to be there"),
        };
        let flagged = |reader: &mut Self, flag: Result<bool, (String, String)>| match flag {
            Ok(flag) => Some(flag),
            Err((path, message)) => reader.refuse(&path, message),
        };
        match name {
            "kv" => {
                let equals = flagged(self, flag("equals", true))?;
                let equal = equal_to(&subject, value(self)?);
                Some(if equals { equal } else { not(equal) })
            }
            "kvs" => {
                let includes = flagged(self, flag("includes", true))?;
                let Some(Json::Array(values)) = given.get("values") else {
                    return self.refuse(&format!("{path}/values"), "`values` is a list, and has to be there");
                };
                self.conditions += values.len();
                if self.conditions > MAX_CONDITIONS {
                    return self.refuse(path, format!("a tree has at most {MAX_CONDITIONS} conditions"));
                }
                let mut conditions = Vec::with_capacity(values.len());
                for (at, value) in values.iter().enumerate() {
                    let value = self.constant(value, &subject.ty, &format!("{path}/values/{at}"));
                    conditions.push(equal_to(&subject, value?));
                }
                let any = joined(BinaryOp::Or, conditions)
                    .unwrap_or_else(|| Expr::constant(Value::Bool(false), Kind::Bool));
                Some(if includes { any } else { not(any) })
            }
            _ => {
                let greater = name == "greater";
                if matches!(subject.ty.kind, Kind::Resource(_) | Kind::Object(_) | Kind::Map(_)) {
                    return self.refuse(&at_key, format!("`{key}` has no order"));
                }
                let op = match (greater, flagged(self, flag("equals", false))?) {
                    (true, false) => BinaryOp::Greater,
                    (true, true) => BinaryOp::GreaterEqual,
                    (false, false) => BinaryOp::Less,
                    (false, true) => BinaryOp::LessEqual,
                };
                let value = value(self)?;
                // Any element is greater where the greatest is.
                let subject = match (subject.ty.is_many(), greater) {
                    (false, _) => subject,
                    (true, true) => self.checked(&format!("max({key})"), &at_key)?,
                    (true, false) => self.checked(&format!("min({key})"), &at_key)?,
                };
                Some(binary(op, subject, value))
            }
        }
    }

    /// The condition that a text says.
    fn expression(&mut self, text: &str, path: &str) -> Option<Expr> {
        let parsed = parse_expression(text);
        let (mut typed, mut found) = (None, parsed.diagnostics);
        if found.is_empty() {
            let (expr, diagnostics) = check_condition(self.schema, self.ty, &parsed.tree);
            (typed, found) = (Some(expr), diagnostics);
        }
        self.tell(found, text, path)?;
        typed
    }

    /// An expression of the resource.
    fn checked(&mut self, text: &str, path: &str) -> Option<Expr> {
        let parsed = parse_expression(text);
        let (mut typed, mut found) = (None, parsed.diagnostics);
        if found.is_empty() {
            let (expr, diagnostics) = check_expr(self.schema, Place::Query(self.ty), &parsed.tree);
            (typed, found) = (Some(expr), diagnostics);
        }
        self.tell(found, text, path)?;
        typed
    }

    /// Tells mistakes in a text; none where there are any.
    fn tell(
        &mut self,
        found: Vec<corollary_syntax::diagnostic::Diagnostic>,
        text: &str,
        path: &str,
    ) -> Option<()> {
        let none = found.is_empty();
        for diagnostic in found {
            let at = (diagnostic.span.start as usize).min(text.len());
            let column = text.get(..at).map_or(at, |before| before.chars().count()) + 1;
            let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            self.found.push(Refusal::new(
                "filter",
                Some(path),
                format!("column {column}: {}{help}", diagnostic.message),
            ));
        }
        none.then_some(())
    }

    /// A value to compare with something of a type, or with its elements.
    fn constant(&mut self, json: &Json, ty: &Type, path: &str) -> Option<Expr> {
        let kind = &ty.kind;
        let of = |value: Value| Some(Expr::constant(value, kind.clone()));
        let ty = match (kind, json) {
            (_, Json::Null) if ty.is_many() => {
                return self.refuse(
                    path,
                    "the key is a list, and no element is null; `nonexistent` finds empty ones",
                );
            }
            (_, Json::Null) => return Some(Expr::constant(Value::Null, Kind::Null)),
            (Kind::Int | Kind::Float, Json::Number(number)) => {
                return Some(match (number.as_i64(), number.as_f64()) {
                    (Some(int), _) => Expr::constant(Value::Int(int), Kind::Int),
                    (None, Some(float)) => Expr::constant(Value::Float(float), Kind::Float),
                    (None, None) => return self.refuse(path, format!("{number} is too large")),
                });
            }
            (Kind::Resource(_), Json::String(text)) => return self.reference(text, kind, path),
            (Kind::Resource(_), Json::Object(members)) => match members.get("_id") {
                Some(Json::String(text)) => return self.reference(text, kind, path),
                _ => return self.refuse(path, "a resource is compared with an id"),
            },
            (Kind::Json | Kind::Null, json) => {
                return decode::is_shallow(json, path, &mut self.found).then(|| from_json(json)).and_then(of);
            }
            (Kind::Enum(words), Json::String(word)) if !words.contains(&word.as_str().into()) => {
                let near = nearest(word, words.iter().map(|word| word.as_str()));
                let help = near.map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
                return self.refuse(path, format!("\"{word}\" is none of its words{help}"));
            }
            (Kind::Str | Kind::Enum(_), _) => ValueType::Str,
            (Kind::Bool, _) => ValueType::Bool,
            (Kind::Int, _) => ValueType::Int,
            (Kind::Float, _) => ValueType::Float,
            (Kind::Decimal, _) => ValueType::Decimal,
            (Kind::Datetime, _) => ValueType::Datetime,
            (Kind::Date, _) => ValueType::Date,
            (Kind::Duration, _) => ValueType::Duration,
            (Kind::Uuid, _) => ValueType::Uuid,
            (Kind::Bytes, _) => ValueType::Bytes,
            (Kind::Resource(_) | Kind::Among(_), _) => {
                return self.refuse(path, "a resource is compared with an id");
            }
            (Kind::Object(_) | Kind::Map(_), _) => {
                return self.refuse(path, "an object is compared by its members, as `address.city`");
            }
        };
        let mut found = Vec::new();
        let value = decode::of_type(self.schema, &ty, json, path, &mut found);
        self.found.extend(found.into_iter().map(|refusal| Refusal { code: "filter", ..refusal }));
        value.and_then(of)
    }

    fn reference(&mut self, text: &str, kind: &Kind, path: &str) -> Option<Expr> {
        match Id::parse(text) {
            Ok(id) => Some(Expr::constant(Value::Ref(id), kind.clone())),
            Err(error) => self.refuse(path, error.to_string()),
        }
    }
}

/// Is it the value, or of a list any element?
fn equal_to(subject: &Expr, value: Expr) -> Expr {
    if subject.ty.is_many() {
        binary(BinaryOp::In, value, subject.clone())
    } else {
        binary(BinaryOp::Equal, subject.clone(), value)
    }
}
