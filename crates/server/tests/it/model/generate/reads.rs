//! Random conditions, and random reads.

use super::super::filter::{Filter, comparable};
use super::super::request::{Behind, Expand, Request, Tag, View};
use super::super::schema::{Field, Kind, MOUNTS, Type};
use super::super::state::Through;
use super::Generator;
use crate::common::{Json, json};

impl Generator<'_> {
    /// A condition on resources of a type.
    pub(super) fn condition(&mut self, ty: Type, through: Option<&Through>) -> Filter {
        match self.below(10) {
            0 => Filter::And(vec![self.condition(ty, through), self.condition(ty, through)]),
            1 => Filter::Or(vec![self.condition(ty, through), self.condition(ty, through)]),
            2 => Filter::Not(Box::new(self.condition(ty, through))),
            3 if ty == Type::Person && through.is_none() => Filter::Has("marks".into(), self.below(4).into()),
            4 if ty == Type::Shop => Filter::Has("tags".into(), json!("x")),
            _ => {
                let (path, values) = self.path_of(ty, through);
                let values: Vec<Json> = serde_json::from_str::<Json>(&values.replace('\'', "\""))
                    .unwrap()
                    .as_array()
                    .unwrap()
                    .clone();
                let value = self.pick(&values).clone();
                let is_link = path == "boss" || path == "buyer" || path == "client" || path == "chief";
                if self.percent(8) {
                    let operator = *self.pick(&["=", "!="]);
                    return Filter::Compare(path, operator, Json::Null);
                }
                if self.percent(10) && !is_link {
                    return Filter::In(path, values);
                }
                let operators: &[&str] = match value {
                    _ if is_link => &["=", "!="],
                    Json::Bool(_) => &["=", "!="],
                    _ => &["=", "=", "!=", "<", "<=", ">", ">="],
                };
                let operator = *self.pick(operators);
                Filter::Compare(path, operator, value)
            }
        }
    }

    /// A path that can be compared, by the names of a mount, with constants for it.
    pub(super) fn path_of(&mut self, ty: Type, through: Option<&Through>) -> (String, &'static str) {
        let all = comparable(ty).iter().filter_map(|(path, values)| {
            let (first, rest) = path.split_once('.').map_or((*path, ""), |(first, rest)| (first, rest));
            let is_own = matches!(ty.field(first)?.kind, Kind::Link(target, _) if target == ty);
            let first = through.map_or(Some(first), |through| through.mount.shown(first))?;
            // A type has its names in a mount wherever a path comes to it.
            let rest = through.filter(|_| is_own).map_or(Some(rest), |through| through.mount.shown(rest))?;
            Some((if rest.is_empty() { first.to_string() } else { format!("{first}.{rest}") }, *values))
        });
        let all: Vec<(String, &'static str)> = all.collect();
        self.pick(&all).clone()
    }

    pub(super) fn some_list(&mut self) -> (String, Type, Option<Through>) {
        let shop = self.id(Type::Shop);
        let followed = [
            ("guests", Type::Person),
            ("owners", Type::Person),
            ("orders", Type::Order),
            ("large", Type::Order),
            ("shelves", Type::Shelf),
            ("steps", Type::Step),
        ];
        match self.below(12) {
            0..3 => {
                let (field, ty) = *self.pick(&followed);
                (format!("/api/shops/{shop}/{field}"), ty, None)
            }
            3 => {
                let through = Through { mount: MOUNTS[2], parameter: None };
                (through.path(), Type::Person, Some(through))
            }
            _ => {
                let ty = self.types();
                let (path, through) = self.list_of(ty);
                (path, ty, through)
            }
        }
    }

    pub(super) fn view(&mut self, ty: Type, through: Option<&Through>, is_list: bool) -> View {
        let mut view = View::default();
        if is_list {
            view.filter = self.percent(60).then(|| self.condition(ty, through));
            view.count = self.percent(30);
            view.limit = self.percent(50).then(|| 1 + self.below(5));
            while self.percent(35) && view.order.len() < 3 {
                let path = self.path_of(ty, through).0;
                if !["boss", "buyer", "client", "chief"].contains(&path.as_str()) {
                    view.order.push((path, self.percent(50)));
                }
            }
        }
        if self.percent(20) {
            let names = ty.fields().iter().filter(|field| field.is_fact() || field.kind == Kind::Derived);
            let names: Vec<&str> = names
                .filter_map(|field| through.map_or(Some(field.name), |it| it.mount.shown(field.name)))
                .collect();
            view.fields = vec![self.pick(&names).to_string(), self.pick(&names).to_string()];
            view.fields.dedup();
        }
        if self.percent(20) {
            view.expand = self.expansion(ty, through, 0);
        }
        view
    }

    pub(super) fn expansion(&mut self, ty: Type, through: Option<&Through>, depth: usize) -> Vec<Expand> {
        let can = |field: &&Field| !matches!(field.kind, Kind::Derived) || field.name == "large";
        let can_be = ty.fields().iter().filter(|field| !field.is_fact() || field.is_link()).filter(can);
        let can_be: Vec<(&str, Kind)> = can_be
            .filter_map(|field| {
                Some((through.map_or(Some(field.name), |it| it.mount.shown(field.name))?, field.kind))
            })
            .collect();
        if can_be.is_empty() {
            return Vec::new();
        }
        let (name, kind) = *self.pick(&can_be);
        let target = match kind {
            Kind::Collection(ty) | Kind::Inverse(ty, _) | Kind::Link(ty, _) | Kind::Links(ty, _) => ty,
            _ => Type::Order,
        };
        let mut inner =
            if depth < 2 && self.percent(40) { self.expansion(target, None, depth + 1) } else { Vec::new() };
        let mut fields = Vec::new();
        if self.percent(30) {
            fields.push(target.fields()[0].name.to_string());
            // In braces the name of a link alone shows the link.
            for step in inner.iter_mut().filter(|step| step.inner.is_empty() && step.fields.is_empty()) {
                step.fields.push("_id".into());
            }
        }
        vec![Expand { name: name.into(), fields, inner }]
    }

    pub(super) fn list(&mut self) -> Request {
        let (path, ty, through) = self.some_list();
        let view = self.view(ty, through.as_ref(), true);
        let method = if self.percent(8) { "HEAD" } else { "GET" };
        if self.percent(20) {
            let verb = *self.pick(&["_query", "_query", "_count"]);
            let view = if verb == "_count" { View { filter: view.filter, ..View::default() } } else { view };
            let body = view.body();
            return Request { view, ..Request::new("POST", format!("{path}/{verb}")).with(body) };
        }
        let in_lines = method == "GET" && self.percent(15);
        let view = if in_lines { View { count: false, ..view } } else { view };
        Request { view, in_lines, ..Request::new(method, path) }
    }

    pub(super) fn one(&mut self) -> Request {
        let (path, ty, through) = self.resource();
        let method = if self.percent(15) { "HEAD" } else { "GET" };
        let view = self.view(ty, through.as_ref(), false);
        let if_none_match =
            self.percent(30).then(|| self.pick(&[Tag::Current, Tag::Stale, Tag::Any]).clone());
        Request { view, if_none_match, ..Request::new(method, path) }
    }

    pub(super) fn value_at(&mut self) -> Request {
        let ty = *self.pick(&[Type::Shop, Type::Person, Type::Order]);
        let root = ty.root().unwrap();
        let steps: &[&[&'static str]] = match ty {
            Type::Shop => {
                &[&["name"], &["sold"], &["partner", "name"], &["guests", "age"], &["tags"], &["partner"]]
            }
            Type::Person => &[&["age"], &["boss", "name"], &["boss"], &["boss", "boss"], &["email"]],
            _ => &[
                &["who"],
                &["buyer", "name"],
                &["shop", "name"],
                &["watchers", "name"],
                &["buyer", "boss", "age"],
            ],
        };
        let steps = self.pick(steps).to_vec();
        if self.percent(50) {
            let behind = Some(Behind { filter: None, steps });
            return Request { behind, ..Request::new("GET", format!("/api/{root}/{}", self.id(ty))) };
        }
        let filter = self.percent(60).then(|| self.condition(ty, None));
        let last = ty.field(steps[0]).unwrap();
        let steps = if matches!(last.kind, Kind::List(_)) || filter.is_some() && self.percent(20) {
            Vec::new()
        } else {
            steps
        };
        let behind = Some(Behind { filter: filter.or_else(|| Some(self.condition(ty, None))), steps });
        Request { behind, ..Request::new("GET", format!("/api/{root}")) }
    }
}
