//! Random writes, and what is wrong before it is anything else.

use super::super::bodies;
use super::super::paths;
use super::super::request::{ACTIONS, Body, JSON_PATCH, MERGE, Request, Tag, View};
use super::super::schema::{Field, Kind, Type};
use super::super::state::{Key, Object};
use super::Generator;
use crate::common::{Json, json};

impl Generator<'_> {
    pub(super) fn creation(&mut self) -> Request {
        let ty = self.types();
        let (path, through) = self.list_of(ty);
        let body = self.new_body(ty, through.as_ref());
        Request::new("POST", path).with(body)
    }

    pub(super) fn bulk(&mut self) -> Request {
        let ty = self.types();
        let (path, through) = self.list_of(ty);
        let mut items: Vec<Json> = (0..self.below(4)).map(|_| self.new_body(ty, through.as_ref())).collect();
        if self.percent(3) {
            items.push(json!(3));
        }
        let request = Request::new("POST", path);
        if self.percent(50) && !items.is_empty() {
            return Request { body: Body::Lines(items), ..request };
        }
        request.with(items.into())
    }

    pub(super) fn replacement(&mut self) -> Request {
        let (path, ty, through) = self.resource();
        let mut body = self.body(ty, through.as_ref(), true);
        let key = match paths::resolve(self.state, &paths::segments(&path)) {
            Ok(paths::Place::One { key, .. }) if self.state.docs.contains_key(&key) => Some(key),
            _ => None,
        };
        if let Some(key) = key.filter(|key| key.ty == ty)
            && self.percent(60)
        {
            let changes =
                if self.percent(40) { Object::new() } else { self.body(ty, through.as_ref(), false) };
            body = self.state.shown(&key, through.as_ref());
            body.extend(changes);
        }
        let mut request = Request::new("PUT", path).with(body.into());
        if self.percent(20) {
            request.if_none_match = Some(Tag::Any);
        }
        request
    }

    pub(super) fn merge_patch(&mut self) -> Request {
        let (path, ty, through) = self.resource();
        let mut body = self.body(ty, through.as_ref(), false);
        for (name, member) in [("address", "street"), ("address", "no"), ("notes", "k"), ("extra", "a")] {
            let field = bodies::named(ty, through.as_ref(), name);
            if let Some(field) = field
                && self.percent(15)
            {
                let value = if self.percent(30) {
                    Json::Null
                } else {
                    self.value(&Field { kind: Kind::Str, ..*field })
                };
                body.insert(name.into(), json!({ member: value }));
            }
        }
        if ty == Type::Shop && self.percent(25) {
            body.insert("log".into(), self.pick(&[json!(["x"]), json!(["x", "y"]), json!([])]).clone());
        }
        if through.is_some() && ty == Type::Order && self.percent(40) {
            // Out of the mount, it may be.
            body.insert("amount".into(), (*self.pick(&[9, 10, 12])).into());
            body.remove("buyer");
            if self.percent(40) && bodies::named(ty, through.as_ref(), "buyer").is_some() {
                body.insert("buyer".into(), self.link(Type::Person));
            }
        }
        let content = *self.pick(&[MERGE, MERGE, "application/merge-patch+json"]);
        Request { content, ..Request::new("PATCH", path).with(body.into()) }
    }

    pub(super) fn json_patch(&mut self) -> Request {
        let (path, ty, through) = self.resource();
        let many = 1 + self.below(3);
        let operations: Vec<Json> = (0..many).map(|_| self.operation(ty, through.as_ref())).collect();
        Request { content: JSON_PATCH, ..Request::new("PATCH", path).with(operations.into()) }
    }

    pub(super) fn actions(&mut self) -> Request {
        let (path, ty, through) = self.resource();
        let many = 1 + self.below(3);
        let actions: Vec<Json> = (0..many).map(|_| self.action(ty, through.as_ref())).collect();
        Request { content: ACTIONS, ..Request::new("PATCH", path).with(actions.into()) }
    }

    pub(super) fn linking(&mut self) -> Request {
        let (owner, field) = *self.pick(&[("shops", "guests"), ("shops", "owners"), ("orders", "watchers")]);
        let id = self.id(if owner == "shops" { Type::Shop } else { Type::Order });
        let path = format!("/api/{owner}/{id}/{field}");
        match self.below(10) {
            0..5 => Request::new("POST", path).with(json!({"_id": self.id(Type::Person)})),
            5..8 => Request::new("DELETE", format!("{path}/{}", self.id(Type::Person))),
            8 => {
                let items: Vec<Json> = (0..2).map(|_| json!({"_id": self.id(Type::Person)})).collect();
                Request::new("POST", path).with(items.into())
            }
            _ => Request::new("PUT", path).with(json!([])),
        }
    }

    pub(super) fn moving(&mut self) -> Request {
        let ty = *self.pick(&[Type::Shelf, Type::Box, Type::Box, Type::Step, Type::Step]);
        let (to, _) = self.list_of(ty);
        let there: Vec<Key> = self.state.of_type(ty).map(|(key, _)| key.clone()).collect();
        let mut body = Object::new();
        let mut view = View::default();
        let from = match (there.is_empty(), self.below(10)) {
            (false, 0..7) => self.state.path(self.pick(&there)),
            (_, 7 | 8) if ty != Type::Step => {
                let filter = self.condition(ty, None);
                let (list, _) = self.list_of(ty);
                let from = format!("{list}[{}]", filter.text());
                view.filter = Some(filter);
                from
            }
            _ => self.resource().0,
        };
        body.insert("from".into(), from.into());
        body.insert("to".into(), if self.percent(4) { json!("/api/people") } else { json!(to) });
        if view.filter.is_none() && self.percent(if ty == Type::Step { 60 } else { 4 }) {
            body.insert("position".into(), self.below(4).into());
        }
        Request { view, ..Request::new("POST", "/api/_move").with(body.into()) }
    }

    /// An item of a batch that moves one resource.
    pub(super) fn move_of_one(&mut self) -> Json {
        let mut request = self.moving();
        while request.view.filter.is_some() {
            request = self.moving();
        }
        let Body::Json(body) = request.body else { return Json::Null };
        json!({"method": "POST", "path": "/_move", "body": body})
    }

    pub(super) fn by_condition(&mut self) -> Request {
        let (path, ty, through) = self.some_list();
        let mut view = View { filter: Some(self.condition(ty, through.as_ref())), ..View::default() };
        if self.percent(25) {
            if self.percent(5) {
                view.filter = None;
            }
            let body = view.body();
            return Request { view, ..Request::new("POST", format!("{path}/_delete")).with(body) };
        }
        let mut body = view.body();
        if self.percent(50) {
            let field = *self.pick(ty.fields());
            let name = bodies::told(through.as_ref(), field.name).to_string();
            if field.kind == Kind::Int && through.is_none() {
                body["content_type"] = ACTIONS.into();
                body["patch"] = json!([{"inc": {"key": name, "by": 1}}]);
                return Request { view, ..Request::new("POST", format!("{path}/_update")).with(body) };
            }
        }
        let (name, value) = match ty {
            Type::Person => ("level", json!("high")),
            Type::Order => (if self.percent(50) { "amount" } else { "state" }, Json::Null),
            Type::Shop => ("motto", json!("many")),
            Type::Shelf => ("size", json!(9)),
            Type::Box => ("load", json!(3)),
            Type::Step => ("done", json!(true)),
        };
        let value = match name {
            "amount" => json!(4),
            "state" => json!("paid"),
            _ => value,
        };
        let name = bodies::told(through.as_ref(), name).to_string();
        let is_there = bodies::named(ty, through.as_ref(), &name).is_some();
        let name = if is_there { name } else { "amount".into() };
        let value = if name == "amount" { json!(4) } else { value };
        body["patch"] = json!({ name: value });
        Request { view, ..Request::new("POST", format!("{path}/_update")).with(body) }
    }

    /// What is wrong before it is anything else.
    pub(super) fn wrong(&mut self) -> Request {
        let (path, ty, _) = self.resource();
        let (list, _) = self.list_of(ty);
        let person = self.id(Type::Person);
        match self.below(13) {
            0 => Request::new("GET", "/api/nothing/here"),
            1 => Request::new("POST", path).with(json!({})),
            2 => Request::new("PUT", list).with(json!({})),
            3 => Request {
                body: Body::Raw("application/json", "{\"a\":".into()),
                ..Request::new("PATCH", path)
            },
            4 => Request { body: Body::Raw("text/plain", "a".into()), ..Request::new("POST", list) },
            5 => Request { body: Body::Raw("text/plain", "a".into()), ..Request::new("PATCH", path) },
            6 => Request::new("PATCH", path).with(json!(3)),
            7 => Request { extra: Some("limit=0"), ..Request::new("GET", list) },
            8 => Request { extra: Some("nothing=1"), ..Request::new("GET", path) },
            9 => Request::new("GET", format!("/api/people/{person}/name/x")),
            10 => Request::new("GET", "/api/people/no%20id"),
            11 => Request { content: JSON_PATCH, ..Request::new("POST", list).with(json!({})) },
            _ => Request::new("DELETE", list),
        }
    }
}
