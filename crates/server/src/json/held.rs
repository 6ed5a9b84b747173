//! What stands in the values of a field: where references lead, and which members of objects follow from others.

use corollary_engine::Refusal;
use corollary_engine::rules::Place;
use corollary_schema::typed::Kind;
use corollary_schema::{FieldKind, FieldRef, Member, Schema, TypeIx, ValueType};
use serde_json::Value as Json;

use super::encode::target_of;

/// What a value, or each element of a list, is.
#[derive(Clone, Copy, Debug)]
pub enum Held<'s> {
    /// Nothing with parts.
    Plain,
    /// Any value, with any parts.
    Json,
    /// A reference to a resource of a type.
    Link(TypeIx),
    /// An object with these members.
    Object(&'s [Member]),
    /// A map of values of a type.
    Map(&'s ValueType),
}

impl<'s> Held<'s> {
    /// What is read of a field.
    pub fn by(schema: &'s Schema, field: FieldRef) -> Held<'s> {
        let shown = FieldRef { slot: schema.ty(field.ty).shown(field.slot), ..field };
        match &schema.field(shown).kind {
            FieldKind::Stored(ty) => Held::in_type(ty),
            FieldKind::Derived { expr, .. } => match &expr.ty.kind {
                Kind::Object(members) => Held::Object(members),
                Kind::Map(of) => Held::Map(of),
                Kind::Resource(target) => Held::Link(*target),
                Kind::Json => Held::Json,
                _ => Held::Plain,
            },
            _ => target_of(schema, shown).map_or(Held::Plain, Held::Link),
        }
    }

    fn in_type(ty: &'s ValueType) -> Held<'s> {
        match ty {
            ValueType::Link { target, .. } => Held::Link(*target),
            ValueType::Object(members) => Held::Object(members),
            ValueType::Map(of) => Held::Map(of),
            ValueType::List(of) | ValueType::Set(of) => Held::in_type(of),
            ValueType::Json => Held::Json,
            _ => Held::Plain,
        }
    }

    /// What a member of an object, or the value of a map at a key, is.
    pub fn member(self, name: &str) -> Held<'s> {
        match self {
            Held::Object(members) => {
                let member = members.iter().find(|member| member.name == name);
                member.map_or(Held::Plain, |member| Held::in_type(&member.ty))
            }
            Held::Map(of) => Held::in_type(of),
            Held::Json => Held::Json,
            Held::Plain | Held::Link(_) => Held::Plain,
        }
    }

    /// Takes those derived members out of a body that have a value which that member has in some object of `shown`:
    /// who sends back what was read, perhaps in another order, means no harm by them.
    pub fn take_shown(self, given: &mut Json, shown: &[&Json]) {
        let is_shown = |place: Place<'_>, given: &Json, shown: &[&Json]| matches!(place, Place::Member(_, name) if shown.iter().any(|it| it.get(name) == Some(given)));
        self.take(Place::Field(""), given, &mut { is_shown }, shown);
    }

    /// Takes all derived members out of a body, each with a refusal.
    pub fn refuse_derived(self, given: &mut Json, field: &str, found: &mut Vec<Refusal>) {
        let mut refuse = |place: Place<'_>, _: &Json, _: &[&Json]| {
            let message = format!("`{place}` follows from others, and cannot be written");
            found.push(Refusal::new("read-only", Some(&place.to_string()), message));
            true
        };
        self.take(Place::Field(field), given, &mut refuse, &[]);
    }

    /// Takes out the derived members that `goes` tells to; `shown` is what stands where the body does.
    fn take(self, place: Place<'_>, given: &mut Json, goes: &mut Goes<'_>, shown: &[&Json]) {
        match (self, given) {
            (_, Json::Array(elements)) => {
                let shown: Vec<&Json> = shown.iter().filter_map(|it| it.as_array()).flatten().collect();
                for (at, element) in elements.iter_mut().enumerate() {
                    self.take(Place::Element(&place, at), element, goes, &shown);
                }
            }
            (Held::Object(members), Json::Object(object)) => {
                for member in members {
                    let name = member.name.as_str();
                    let Some(value) = object.get_mut(name) else { continue };
                    let place = Place::Member(&place, name);
                    if !member.derived {
                        let shown: Vec<&Json> = shown.iter().filter_map(|it| it.get(name)).collect();
                        Held::in_type(&member.ty).take(place, value, goes, &shown);
                    } else if goes(place, value, shown) {
                        object.remove(name);
                    }
                }
            }
            (Held::Map(of), Json::Object(object)) => {
                let shown: Vec<&Json> =
                    shown.iter().filter_map(|it| it.as_object()).flat_map(|it| it.values()).collect();
                for (key, value) in object.iter_mut() {
                    Held::in_type(of).take(Place::Member(&place, key), value, goes, &shown);
                }
            }
            _ => {}
        }
    }
}

/// Does a derived member at a place, given so, go, where these objects are shown?
type Goes<'f> = dyn FnMut(Place<'_>, &Json, &[&Json]) -> bool + 'f;
