//! Conditions: as a filter, as a tree, and what they say of a resource.

use std::cmp::Ordering;

use super::schema::{Kind, Type};
use super::state::{Key, State, Through};
use crate::common::{Json, json};

#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// A path, an operator, and a constant; null only with `=` and `!=`.
    Compare(String, &'static str, Json),
    /// One of these.
    In(String, Vec<Json>),
    /// An element of a list.
    Has(String, Json),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
}

fn literal(value: &Json) -> String {
    match value {
        Json::String(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        other => other.to_string(),
    }
}

impl Filter {
    /// As a text.
    pub fn text(&self) -> String {
        let joined = |parts: &[Filter], word: &str| {
            let parts: Vec<String> = parts.iter().map(|part| format!("({})", part.text())).collect();
            parts.join(word)
        };
        match self {
            Filter::Compare(path, operator, value) => format!("{path} {operator} {}", literal(value)),
            Filter::In(path, values) => {
                let values: Vec<String> = values.iter().map(literal).collect();
                format!("{path} in [{}]", values.join(", "))
            }
            Filter::Has(path, value) => format!("{} in {path}", literal(value)),
            Filter::And(parts) => joined(parts, " and "),
            Filter::Or(parts) => joined(parts, " | "),
            Filter::Not(of) => format!("not ({})", of.text()),
        }
    }

    /// As a condition in a body.
    pub fn tree(&self) -> Json {
        let trees = |parts: &[Filter]| parts.iter().map(Filter::tree).collect::<Json>();
        match self {
            Filter::Compare(path, "=", value) => json!({"kv": {"key": path, "value": value}}),
            Filter::Compare(path, "!=", value) => {
                json!({"kv": {"key": path, "value": value, "equals": false}})
            }
            Filter::Compare(path, operator, value) => {
                let name = if operator.starts_with('>') { "greater" } else { "lesser" };
                json!({name: {"key": path, "value": value, "equals": operator.ends_with('=')}})
            }
            Filter::In(path, values) => json!({"kvs": {"key": path, "values": values}}),
            Filter::Has(path, value) => json!({"kv": {"key": path, "value": value}}),
            Filter::And(parts) => json!({"and": trees(parts)}),
            Filter::Or(parts) => json!({"or": trees(parts)}),
            Filter::Not(of) => json!({"not": of.tree()}),
        }
    }

    pub fn holds(&self, state: &State, key: &Key, through: Option<&Through>) -> bool {
        match self {
            Filter::Compare(path, operator, wanted) => {
                let value = at(state, key, through, path);
                match *operator {
                    "=" => order(&value, wanted).is_eq(),
                    "!=" => order(&value, wanted).is_ne(),
                    _ if value.is_null() => false,
                    "<" => order(&value, wanted).is_lt(),
                    "<=" => order(&value, wanted).is_le(),
                    ">" => order(&value, wanted).is_gt(),
                    _ => order(&value, wanted).is_ge(),
                }
            }
            Filter::In(path, values) => {
                let value = at(state, key, through, path);
                !value.is_null() && values.iter().any(|wanted| order(&value, wanted).is_eq())
            }
            Filter::Has(path, wanted) => {
                at(state, key, through, path).as_array().is_some_and(|elements| elements.contains(wanted))
            }
            Filter::And(parts) => parts.iter().all(|part| part.holds(state, key, through)),
            Filter::Or(parts) => parts.iter().any(|part| part.holds(state, key, through)),
            Filter::Not(of) => !of.holds(state, key, through),
        }
    }

    pub fn replace_texts(&mut self, other: &dyn Fn(&str) -> String) {
        match self {
            Filter::Compare(_, _, value) | Filter::Has(_, value) => {
                super::request::replace_texts(value, other)
            }
            Filter::In(_, values) => {
                values.iter_mut().for_each(|it| super::request::replace_texts(it, other))
            }
            Filter::And(parts) | Filter::Or(parts) => parts.iter_mut().for_each(|it| it.replace_texts(other)),
            Filter::Not(of) => of.replace_texts(other),
        }
    }
}

/// What a path of a condition or an order leads to; decimals as numbers.
pub fn at(state: &State, key: &Key, through: Option<&Through>, path: &str) -> Json {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = super::bodies::named(key.ty, through, name) else { panic!("{path} of {key:?}") };
    let value = state.value(key, field.name);
    match (field.kind, rest) {
        (Kind::Link(target, _), Some(rest)) => match value.as_str() {
            // In a mount a type has its names wherever a path comes to it.
            Some(id) => at(state, &Key::new(target, id), through.filter(|it| it.mount.ty == target), rest),
            None => Json::Null,
        },
        (_, Some(member)) => value.get(member).cloned().unwrap_or_default(),
        (Kind::Decimal, None) => {
            value.as_str().map_or(Json::Null, |text| text.parse::<f64>().unwrap().into())
        }
        (_, None) => value,
    }
}

/// The order of values: null, numbers, texts, and false before true.
pub fn order(left: &Json, right: &Json) -> Ordering {
    let rank = |json: &Json| match json {
        Json::Null => 0,
        Json::Number(_) => 1,
        Json::String(_) => 2,
        Json::Object(_) => 3,
        Json::Array(_) => 4,
        Json::Bool(_) => 5,
    };
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            left.as_f64().unwrap().partial_cmp(&right.as_f64().unwrap()).unwrap()
        }
        (Json::String(left), Json::String(right)) => left.cmp(right),
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}

/// Paths of a type that can be compared, with some constants for each.
pub fn comparable(ty: Type) -> &'static [(&'static str, &'static str)] {
    match ty {
        Type::Person => &[
            ("name", "['ann', 'bob', 'eve']"),
            ("email", "['a@x', 'b@x']"),
            ("age", "[10, 31, 150]"),
            ("level", "['low', 'mid', 'high']"),
            ("reports", "[0, 1]"),
            ("spent", "[0, 9]"),
            ("boss", "['p1', 'p2']"),
            ("boss.name", "['ann', 'bob']"),
            ("boss.age", "[10, 31]"),
        ],
        Type::Order => &[
            ("amount", "[1, 5, 9, 12]"),
            ("price", "[1.5, 10]"),
            ("state", "['open', 'paid']"),
            ("cost", "[10, 20]"),
            ("who", "['ann', 'nobody']"),
            ("buyer", "['p1', 'p2']"),
            ("buyer.age", "[10, 31]"),
            ("shop.name", "['alpha', 'beta']"),
            ("items", "[0, 2]"),
        ],
        Type::Shop => &[
            ("name", "['alpha', 'beta', 'gamma']"),
            ("visits", "[0, 1, 50]"),
            ("many", "[0, 1, 2]"),
            ("sold", "[0, 9]"),
            ("address.city", "['Rome', 'Oslo']"),
            ("partner.name", "['alpha', 'beta']"),
            ("weight", "[0, 3]"),
        ],
        Type::Shelf => {
            &[("label", "['a', 'b']"), ("size", "[1, 7, 50]"), ("weight", "[0, 3]"), ("place", "['alpha']")]
        }
        Type::Box => &[("load", "[1, 3]"), ("total", "[1, 4]")],
        Type::Step => &[("text", "['do', 'go']"), ("done", "[true, false]")],
    }
}
