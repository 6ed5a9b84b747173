//! Random values, bodies and patches of resources.

use super::super::bodies;
use super::super::schema::{Field, Kind, Type};
use super::super::state::{Object, Through};
use super::{ENOUGH, Generator};
use crate::common::{Json, json};

impl Generator<'_> {
    /// A value of a field, as a rule one that it may have.
    pub(super) fn value(&mut self, field: &Field) -> Json {
        if self.percent(3) {
            return self
                .pick(&[json!(null), json!("x"), json!(7), json!(true), json!([1]), json!({"a": 1})])
                .clone();
        }
        let text = |generator: &mut Self, from: &[&str]| Json::from(*generator.pick(from));
        match field.kind {
            Kind::Str => text(self, texts(field.name)),
            Kind::Int => (*self.pick(numbers(field.name))).into(),
            Kind::Decimal => {
                self.pick(&[json!("1.5"), json!("10"), json!(3), json!("0.25"), json!("-1")]).clone()
            }
            Kind::Date => text(self, &["2024-05-01", "2020-02-29", "2023-02-29"]),
            Kind::Datetime => text(self, &["2024-05-01T12:30:00Z", "2024-05-01T14:30:00+02:00", "soon"]),
            Kind::Bool => self.percent(50).into(),
            Kind::Word(words) => text(self, &[words[0], words[1], words[2], words[0], words[1], "odd"]),
            Kind::List(of) => {
                let of = Field { kind: *of, ..*field };
                let many = *self.pick(&[0, 1, 2, 3, 5]);
                (0..many).map(|_| self.value(&of)).collect()
            }
            Kind::Set => (0..self.below(4)).map(|_| Json::from(self.below(4))).collect(),
            Kind::Map => {
                let names = ["k", "l", "m"];
                (0..self.below(3)).map(|at| (names[at].to_string(), json!("v"))).collect()
            }
            Kind::Object(fields) => {
                let mut members = Object::new();
                for member in fields {
                    if self.percent(if member.required { 92 } else { 50 }) {
                        members.insert(member.name.into(), self.value(member));
                    }
                }
                if self.percent(2) {
                    members.insert("odd".into(), 1.into());
                }
                members.into()
            }
            Kind::Json => self
                .pick(&[
                    json!(1),
                    json!("t"),
                    json!({"a": {"b": 1, "c": [1, null]}}),
                    json!([1, {"a": 2}]),
                    json!({}),
                ])
                .clone(),
            Kind::Link(target, _) => self.link(target),
            Kind::Links(target, _) => (0..self.below(4)).map(|_| self.link(target)).collect(),
            _ => json!(1),
        }
    }

    pub(super) fn link(&mut self, target: Type) -> Json {
        let id = self.id(target);
        let root = target.root().unwrap();
        match self.below(12) {
            0 => json!({"_id": id}),
            1 => json!(format!("/api/{root}/{id}")),
            2 => json!({"_self": format!("/{root}/{id}")}),
            3 if self.percent(30) => json!("no id!"),
            4 if self.percent(30) => json!("/api/shelves/x"),
            _ => json!(id),
        }
    }

    /// A body of a type, by the names of a mount.
    pub(super) fn body(&mut self, ty: Type, through: Option<&Through>, is_whole: bool) -> Object {
        let mut body = Object::new();
        for field in ty.fields() {
            let Some(name) = through.map_or(Some(field.name), |it| it.mount.shown(field.name)) else {
                continue;
            };
            let wanted = match (field.is_fact(), is_whole && field.required) {
                (false, _) => 1,
                (true, true) => 97,
                (true, false) if is_whole => 35,
                (true, false) => 22,
            };
            if self.percent(wanted) {
                let value =
                    if self.percent(if is_whole { 2 } else { 9 }) { Json::Null } else { self.value(field) };
                body.insert(name.into(), value);
            }
        }
        if ty == Type::Step && self.percent(25) {
            body.insert("_position".into(), (*self.pick(&[0, 0, 1, 2, 9])).into());
        }
        if self.percent(2) {
            body.insert(self.pick(&["nmae", "_position", "parent"]).to_string(), json!(1));
        }
        body
    }

    /// The body of a new resource; with an id, as a rule, so that there are not too many.
    pub(super) fn new_body(&mut self, ty: Type, through: Option<&Through>) -> Json {
        let mut body = self.body(ty, through, true);
        if self.state.of_type(ty).count() >= ENOUGH || self.percent(80) {
            let id = self.new_id(ty);
            body.insert("_id".into(), if self.percent(2) { json!("no id!") } else { json!(id) });
        }
        body.into()
    }

    /// The place of a field, or of something in it.
    pub(super) fn pointer(&mut self, ty: Type, through: Option<&Through>) -> (String, Field) {
        let field = *self.pick(ty.fields());
        let name = bodies::told(through, field.name);
        let inside = self.percent(60);
        match field.kind {
            Kind::List(of) if inside => {
                let at = *self.pick(&["0", "1", "-"]);
                (format!("/{name}/{at}"), Field { kind: *of, ..field })
            }
            Kind::Object(fields) if inside => {
                let member = *self.pick(fields);
                (format!("/{name}/{}", member.name), member)
            }
            Kind::Map if inside => (format!("/{name}/k"), Field { kind: Kind::Str, ..field }),
            Kind::Json if inside => (format!("/{name}/a"), field),
            _ => (format!("/{name}"), field),
        }
    }

    pub(super) fn operation(&mut self, ty: Type, through: Option<&Through>) -> Json {
        let (path, field) = self.pointer(ty, through);
        let value = self.value(&field);
        match self.below(12) {
            0..4 => json!({"op": "add", "path": path, "value": value}),
            4..7 => json!({"op": "replace", "path": path, "value": value}),
            7..9 => json!({"op": "remove", "path": path}),
            9 => json!({"op": "test", "path": path, "value": value}),
            10 => json!({"op": "copy", "from": path, "path": self.pointer(ty, through).0}),
            _ if self.percent(20) => json!({"op": "mvoe", "path": path}),
            _ => json!({"op": "move", "from": path, "path": self.pointer(ty, through).0}),
        }
    }

    pub(super) fn action(&mut self, ty: Type, through: Option<&Through>) -> Json {
        let field = *self.pick(ty.fields());
        let name = bodies::told(through, field.name).to_string();
        let value = self.value(&field);
        let element = |generator: &mut Self, kind| generator.value(&Field { kind, ..field });
        match field.kind {
            Kind::Int if self.percent(80) => {
                let mut given = json!({"key": name, "by": *self.pick(&[1, 1, -1, 5, 0])});
                if self.percent(40) {
                    given["limit"] = (*self.pick(&[0, 3, 9, 60])).into();
                    if self.percent(50) {
                        given["clamp"] = true.into();
                    }
                }
                json!({ "inc": given })
            }
            Kind::List(of) if self.percent(80) => match self.below(4) {
                3 => {
                    let element = match self.percent(60) {
                        true => ("from", Json::from(self.below(3))),
                        false => ("value", element(self, *of)),
                    };
                    let mut given = json!({"key": name, element.0: element.1});
                    if self.percent(60) {
                        given["position"] = self.below(3).into();
                    }
                    json!({ "move": given })
                }
                0 => json!({"pop": {"key": name, "head": self.percent(50)}}),
                1 => json!({"push": {"key": name, "value": element(self, *of), "position": self.below(3)}}),
                _ => json!({"push": {"key": name, "value": element(self, *of)}}),
            },
            Kind::Set | Kind::Links(..) if self.percent(80) => {
                let value = match field.kind {
                    Kind::Links(target, _) => self.link(target),
                    _ => Json::from(self.below(4)),
                };
                json!({ *self.pick(&["add", "remove"]): {"key": name, "value": value} })
            }
            Kind::Object(fields) if self.percent(80) => {
                let member = *self.pick(fields);
                let key = format!("{name}.{}", member.name);
                if self.percent(40) {
                    return json!({"clear": {"key": key}});
                }
                json!({"set": {"key": key, "value": self.value(&member)}})
            }
            _ if self.percent(20) => json!({"clear": {"key": name}}),
            _ if self.percent(5) => json!({"push": {"key": name, "value": value}}),
            _ => json!({"set": {"key": name, "value": value}}),
        }
    }
}

/// Texts for a field of this name, most of which it may have.
fn texts(name: &str) -> &'static [&'static str] {
    match name {
        "name" => &["alpha", "beta", "gamma", "ann", "bob", "eve", "ann", "délta"],
        "email" => &["a@x", " B@X ", "c@x", "d@x", "E@x"],
        "label" => &["a", "b", "c", "d"],
        "motto" => &[" go on ", "stay", "what is too long for it"],
        "item" | "text" => &["do", "go", "see"],
        "city" => &["Rome", "Oslo"],
        _ => &["x", "y", "", "'z\" \\ ü"],
    }
}

/// The same with numbers.
fn numbers(name: &str) -> &'static [i64] {
    match name {
        "amount" => &[1, 2, 5, 6, 9, 12, 40, 0],
        "visits" => &[0, 1, 50, 99, 100, 101],
        "age" => &[0, 10, 31, 150, 151, -1],
        "size" => &[-3, 1, 7, 50, 51],
        _ => &[1, 2, 3, 4, 0],
    }
}
