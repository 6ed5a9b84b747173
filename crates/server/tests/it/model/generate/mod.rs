//! Random requests, most of which make sense in the state that there is.

mod batches;
mod reads;
mod values;
mod writes;

use super::request::{Body, Request, Tag};
use super::schema::{MOUNTS, Type};
use super::state::{Key, State, Through, orders_of};
use crate::common::{Json, Random};

/// More of a type are not made without need.
const ENOUGH: usize = 9;

pub struct Generator<'g> {
    pub random: &'g mut Random,
    pub state: &'g State,
    /// Makes keys of requests that are sent again.
    pub keys: &'g mut Vec<Request>,
}

impl Generator<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    fn percent(&mut self, of_hundred: usize) -> bool {
        self.below(100) < of_hundred
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// A request, with what may be asked of any.
    pub fn request(&mut self) -> Request {
        if !self.keys.is_empty() && self.percent(3) {
            let at = self.below(self.keys.len());
            let mut again = self.keys[at].clone();
            if self.percent(25)
                && !again.path.contains("/_")
                && let Body::Json(Json::Object(members)) = &mut again.body
            {
                members.insert("other".into(), 1.into());
            }
            return again;
        }
        let mut request = self.plain();
        if request.reads() {
            return request;
        }
        let is_bulk = !matches!(&request.body, Body::Json(Json::Object(_)) | Body::None);
        let verb = request.path.contains("/_");
        let one_moves = request.path == "/api/_move" && request.view.filter.is_none();
        if !is_bulk
            && (!verb || one_moves)
            && request.if_none_match.is_none()
            && (request.method != "POST" || one_moves)
            && self.percent(12)
        {
            request.if_match = Some(self.pick(&[Tag::Current, Tag::Current, Tag::Stale, Tag::Any]).clone());
        }
        if request.path.ends_with("/_query") || request.path.ends_with("/_count") || request.extra.is_some() {
            return request;
        }
        if self.percent(7) {
            request.dry_run = true;
        } else if self.percent(7) {
            request.key = Some(format!("key-{}", self.keys.len()));
            self.keys.push(request.clone());
        }
        request
    }

    fn plain(&mut self) -> Request {
        match self.below(100) {
            0..18 => self.creation(),
            18..26 => self.replacement(),
            26..40 => self.merge_patch(),
            40..47 => self.json_patch(),
            47..55 => self.actions(),
            55..60 => Request::new("DELETE", self.resource().0),
            60..66 => self.linking(),
            66..71 => self.moving(),
            71..77 => batches::batch(self),
            77..80 => self.bulk(),
            80..85 => self.by_condition(),
            85..92 => self.list(),
            92..95 => self.one(),
            95..97 => self.value_at(),
            _ => self.wrong(),
        }
    }

    fn types(&mut self) -> Type {
        *self.pick(&[
            Type::Shop,
            Type::Person,
            Type::Person,
            Type::Order,
            Type::Order,
            Type::Shelf,
            Type::Step,
            Type::Box,
        ])
    }

    /// An id of a type: of one that is there, as a rule.
    pub fn id(&mut self, ty: Type) -> String {
        let there: Vec<String> = self.state.of_type(ty).map(|(key, _)| key.id().to_string()).collect();
        if there.is_empty() || self.percent(6) { self.new_id(ty) } else { self.pick(&there).clone() }
    }

    fn new_id(&mut self, ty: Type) -> String {
        let letter = format!("{ty:?}").to_lowercase().replace("shelf", "h").chars().next().unwrap();
        let letter = if ty == Type::Step { 't' } else { letter };
        format!("{letter}{}", self.below(ENOUGH))
    }

    /// The path of a collection, or of any list that a resource of a type can be created in, and how it is looked at.
    fn list_of(&mut self, ty: Type) -> (String, Option<Through>) {
        let owned = |state: &State, owner: Type, id: &str, field: &str| {
            let key = Key::new(owner, id);
            let base =
                if state.docs.contains_key(&key) { state.path(&key) } else { format!("/api/shops/{id}") };
            format!("{base}/{field}")
        };
        match ty {
            Type::Shelf => {
                let field = *self.pick(&["shelves", "shelves", "cellar"]);
                (owned(self.state, Type::Shop, &self.id(Type::Shop), field), None)
            }
            Type::Step => (owned(self.state, Type::Shop, &self.id(Type::Shop), "steps"), None),
            Type::Box if self.percent(50) => {
                (owned(self.state, Type::Box, &self.id(Type::Box), "inner"), None)
            }
            Type::Box => (owned(self.state, Type::Shelf, &self.id(Type::Shelf), "boxes"), None),
            Type::Order if self.percent(40) => {
                let through = self.mount_of_orders();
                (through.path(), Some(through))
            }
            _ => (format!("/api/{}", ty.root().unwrap()), None),
        }
    }

    fn mount_of_orders(&mut self) -> Through {
        match self.below(3) {
            0 => orders_of(&self.id(Type::Person)),
            at => Through { mount: MOUNTS[at - 1], parameter: None },
        }
    }

    /// A type of which there are some.
    fn type_there(&mut self) -> Type {
        let mut ty = self.types();
        for _ in 0..3 {
            if self.state.of_type(ty).next().is_none() {
                ty = self.types();
            }
        }
        ty
    }

    /// The path of a resource, as a rule of one that is there, with its type and the mount on the way.
    pub fn resource(&mut self) -> (String, Type, Option<Through>) {
        let ty = self.type_there();
        let id = self.id(ty);
        let key = Key::new(ty, &id);
        if ty == Type::Order && self.percent(40) {
            let through = match self.state.value(&key, "buyer").as_str() {
                Some(buyer) if self.percent(50) => orders_of(buyer),
                _ => self.mount_of_orders(),
            };
            return (format!("{}/{id}", through.path()), ty, Some(through));
        }
        if ty == Type::Person && self.percent(10) {
            let field = *self.pick(&["guests", "owners"]);
            return (format!("/api/shops/{}/{field}/{id}", self.id(Type::Shop)), ty, None);
        }
        if ty == Type::Order && self.percent(8) {
            return (format!("/api/shops/{}/orders/{id}", self.id(Type::Shop)), ty, None);
        }
        if ty == Type::Shop && self.percent(8) {
            let shelf = self.id(Type::Shelf);
            let shelf = Key::new(Type::Shelf, &shelf);
            if self.state.docs.contains_key(&shelf) {
                let parent = *self.pick(&["parent_shop_shelves", "parent_shop_cellar"]);
                return (format!("{}/{parent}", self.state.path(&shelf)), ty, None);
            }
        }
        if ty == Type::Person && self.percent(8) {
            let link = *self.pick(&["orders", "people"]);
            let (owner, field) =
                if link == "orders" { (Type::Order, "buyer") } else { (Type::Person, "boss") };
            return (format!("/api/{link}/{}/{field}", self.id(owner)), ty, None);
        }
        let path = match (self.state.docs.contains_key(&key), ty.root()) {
            (_, Some(root)) => format!("/api/{root}/{id}"),
            (true, None) => self.state.path(&key),
            (false, None) => format!("{}/{id}", self.list_of(ty).0),
        };
        (path, ty, None)
    }
}
