//! Shapes of resources, as they are shown and as they are written.

use corollary_engine::order;
use corollary_schema::typed::{Kind, Type};
use corollary_schema::{
    DefaultValue, Field, FieldKind, FieldRef, Member, Members, ResourceType, Rules, Schema, Slot, TypeIx,
    ValueType,
};
use corollary_value::Value;
use serde_json::{Map, Value as Json, json};

use super::examples;
use super::files;
use super::names::component;
use super::parts::{any_of, reference};
use crate::json::encode::target_of;

pub(super) fn link_schema() -> Json {
    json!({
        "type": "object",
        "required": ["_id"],
        "properties": {"_id": {"type": "string"}, "_self": {"type": "string"}},
    })
}

/// A resource as it is read.
pub(super) fn shown(schema: &Schema, ty: TypeIx, resource: &ResourceType) -> Json {
    let mut properties = Map::new();
    for name in ["_id", "_self", "_revision"] {
        properties.insert(name.into(), json!({"type": "string"}));
    }
    if resource.fields.iter().any(|field| matches!(field.kind, FieldKind::Derived { .. })) {
        let what = "The derived fields whose values an update has yet to bring up to date; left out where there are none";
        let names =
            json!({"type": "array", "items": {"type": "string"}, "readOnly": true, "description": what});
        properties.insert("_pending".into(), names);
    }
    if !resource.positions.is_empty() {
        properties.insert(order::NAME.into(), place());
    }
    let shape = |target: TypeIx| reference(&component(schema, target));
    for (slot, field) in resource.slots().filter(|(_, field)| field.visible()) {
        let at = FieldRef { ty, slot };
        let many = match &field.kind {
            FieldKind::Links { .. }
            | FieldKind::Collection { .. }
            | FieldKind::Inverse { .. }
            | FieldKind::Several { .. } => true,
            FieldKind::Derived { expr, .. } => expr.ty.is_many(),
            FieldKind::Among { many, .. } => *many,
            _ => false,
        };
        let one = match (&field.kind, target_of(schema, at)) {
            (FieldKind::Collection { .. } | FieldKind::Inverse { .. }, Some(target)) => shape(target),
            (FieldKind::Several { parts, .. }, _) => {
                let part = |part: &Slot| target_of(schema, FieldRef { ty, slot: *part });
                let names: Vec<String> =
                    parts.iter().filter_map(part).map(|of| component(schema, of)).collect();
                any_of(&names.iter().map(String::as_str).collect::<Vec<_>>(), "")
            }
            (FieldKind::Among { targets, .. }, _) => {
                let targets = targets.iter().map(|target| shape(*target));
                let any: Vec<Json> = [reference("Link")].into_iter().chain(targets).collect();
                json!({"anyOf": any})
            }
            (_, Some(target)) => json!({"anyOf": [reference("Link"), shape(target)]}),
            (FieldKind::Stored(ty), None) => match field.extended.map(|slot| &resource.field(slot).kind) {
                Some(FieldKind::Derived { expr, .. }) => {
                    let one = kind(&expr.ty.kind);
                    if expr.ty.is_many() { json!({"type": "array", "items": one}) } else { one }
                }
                _ => value(ty, &field.rules),
            },
            (FieldKind::Derived { expr, .. }, None) => or_error(match &expr.ty.kind {
                // A value of a map may be an error by itself.
                Kind::Map(of) => {
                    let entry = or_error(value(of, &Rules::default()));
                    json!({"type": "object", "additionalProperties": entry})
                }
                plain => kind(plain),
            }),
            _ => json!({}),
        };
        let mut property = match &field.kind {
            // So may a list be as a whole.
            FieldKind::Derived { .. } if many => or_error(json!({"type": "array", "items": one})),
            _ if many => json!({"type": "array", "items": one}),
            _ => one,
        };
        let read_only = matches!(field.kind, FieldKind::Derived { .. }) || field.rules.kept.is_some();
        if let (true, Some(members)) = (read_only, property.as_object_mut()) {
            members.insert("readOnly".into(), true.into());
            if field.is_lazy() && field.rules.description.is_none() {
                let what = "Computed by each read; it may change without a new revision";
                members.insert("description".into(), what.into());
            }
        }
        if let Some(example) = examples::of_shown(schema, field, target_of(schema, at)) {
            property["examples"] = json!([example]);
        }
        properties.insert(field.name.to_string(), property);
    }
    json!({"type": "object", "required": ["_id", "_self", "_revision"], "properties": properties})
}

/// The place among the children of an ordered collection.
pub(super) fn place() -> Json {
    json!({"type": "integer", "minimum": 0})
}

/// May a collection of several types hold it, whose children say their type when they are created?
pub(super) fn is_one_of_several(schema: &Schema, resource: &ResourceType) -> bool {
    let mut collections = resource.parents.iter().filter_map(|slot| match resource.field(*slot).kind {
        FieldKind::Parent { collection } => Some(schema.field(collection)),
        _ => None,
    });
    collections.any(Field::is_part)
}

/// What may be written of a resource: all of it, or a patch.
pub(super) fn facts(schema: &Schema, resource: &ResourceType, whole: bool) -> Json {
    let mut properties = Map::new();
    if whole {
        properties.insert("_id".into(), json!({"type": "string"}));
        if is_one_of_several(schema, resource) {
            properties.insert("_type".into(), json!({"const": resource.name.as_str()}));
        }
    }
    if !resource.positions.is_empty() {
        properties.insert(order::NAME.into(), place());
    }
    let mut required = Vec::new();
    for field in resource.fields.iter().filter(|field| field.visible() && field.is_written()) {
        let mut property = written(field, whole);
        if let Some(example) = examples::of_field(schema, field) {
            property["examples"] = json!([example]);
        }
        properties.insert(field.name.to_string(), property);
        if whole && field.rules.required && field.rules.default.is_none() && !files::is_file(field) {
            required.push(field.name.to_string());
        }
    }
    let mut facts = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        facts["required"] = required.into();
    }
    facts
}

pub(super) fn written(field: &Field, whole: bool) -> Json {
    let link = json!({"anyOf": [reference("Link"), {"type": "string"}]});
    let schema = match &field.kind {
        FieldKind::Link { .. } | FieldKind::Among { many: false, .. } => link,
        FieldKind::Links { .. } | FieldKind::Among { .. } => json!({"type": "array", "items": link}),
        // Null takes it away; all else has to be what was read.
        FieldKind::Stored(ty) if ty.is_file() => {
            return json!({"anyOf": [value(ty, &field.rules), {"type": "null"}]});
        }
        FieldKind::Stored(ty) if !whole => patch(ty, &field.rules),
        FieldKind::Stored(ty) => value(ty, &field.rules),
        _ => json!({}),
    };
    if whole && !field.rules.nullable { schema } else { json!({"anyOf": [schema, {"type": "null"}]}) }
}

/// What may be an error value instead.
pub(super) fn or_error(schema: Json) -> Json {
    let error = json!({"type": "object", "properties": {"_error": {"type": "string"}}});
    json!({"anyOf": [schema, error]})
}

/// A stored value.
pub(super) fn value(ty: &ValueType, rules: &Rules) -> Json {
    let mut schema = match ty {
        ValueType::Str => json!({"type": "string"}),
        ValueType::Int => json!({"type": "integer", "format": "int64"}),
        ValueType::Float => json!({"type": "number", "format": "double"}),
        ValueType::Bool => json!({"type": "boolean"}),
        ValueType::Decimal => json!({"type": ["string", "number"], "format": "decimal"}),
        ValueType::Datetime => json!({"type": "string", "format": "date-time"}),
        ValueType::Date => json!({"type": "string", "format": "date"}),
        ValueType::Duration => json!({"type": "string", "format": "duration"}),
        ValueType::Uuid => json!({"type": "string", "format": "uuid"}),
        ValueType::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        ValueType::Json => json!({}),
        ValueType::Link { .. } => json!({"anyOf": [reference("Link"), {"type": "string"}]}),
        ValueType::Enum(words) => json!({"enum": words.iter().map(|word| word.as_str()).collect::<Vec<_>>()}),
        ValueType::Object(members) => object(members),
        ValueType::List(of) => json!({"type": "array", "items": value(of, &Rules::default())}),
        ValueType::Set(of) => {
            json!({"type": "array", "items": value(of, &Rules::default()), "uniqueItems": true})
        }
        ValueType::Map(of) => json!({"type": "object", "additionalProperties": value(of, &Rules::default())}),
    };
    let lengths = match ty {
        ValueType::List(_) | ValueType::Set(_) => ("minItems", "maxItems"),
        ValueType::Map(_) | ValueType::Object(_) => ("minProperties", "maxProperties"),
        _ => ("minLength", "maxLength"),
    };
    let mut add = |name: &str, value: Option<Json>| {
        if let (Some(members), Some(value)) = (schema.as_object_mut(), value) {
            members.insert(name.into(), value);
        }
    };
    add("minimum", rules.min.as_ref().and_then(number));
    add("maximum", rules.max.as_ref().and_then(number));
    add(lengths.0, rules.min_length.map(Json::from));
    add(lengths.1, rules.max_length.map(Json::from));
    add("pattern", rules.pattern.as_ref().map(|pattern| pattern.regex.as_str().into()));
    add("description", rules.description.as_ref().map(|text| text.as_str().into()));
    if let Some(DefaultValue::Constant(value)) = &rules.default {
        let mut bytes = Vec::new();
        crate::json::encode::bare(value, &mut bytes);
        add("default", serde_json::from_slice(&bytes).ok());
    }
    schema
}

pub(super) fn number(value: &Value) -> Option<Json> {
    match value {
        Value::Int(value) => Some((*value).into()),
        Value::Float(value) => Some((*value).into()),
        _ => None,
    }
}

/// An object; a union is one of its variants.
pub(super) fn object(members: &Members) -> Json {
    if members.is_file() {
        let mut schema = form(members.of_variant(None));
        schema["properties"]["_self"] = json!({"type": "string", "description": "Where its bytes are"});
        return schema;
    }
    let Some(union) = members.union() else { return form(members.of_variant(None)) };
    let variants = union.variants.iter().map(|variant| {
        let mut schema = form(members.of_variant(Some(variant)));
        schema["title"] = variant.name.as_str().into();
        schema["properties"][union.discriminator.as_str()] = json!({"const": variant.name.as_str()});
        if let Some(description) = &variant.description {
            schema["description"] = description.as_str().into();
        }
        schema
    });
    json!({
        "oneOf": variants.collect::<Vec<Json>>(),
        "discriminator": {"propertyName": union.discriminator.as_str()},
    })
}

/// An object with members and their rules.
fn form<'m>(members: impl Iterator<Item = (&'m Member, &'m Rules)>) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (member, rules) in members {
        let mut property = value(&member.ty, rules);
        if member.derived {
            property["readOnly"] = true.into();
        }
        properties.insert(member.name.to_string(), property);
        if rules.required && rules.default.is_none() {
            required.push(member.name.as_str());
        }
    }
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// What a merge patch may make of a value: of an object each member by itself, and of a union those of all variants, since
/// what must be there may be there already.
fn patch(ty: &ValueType, rules: &Rules) -> Json {
    let or_null = |schema: Json| json!({"anyOf": [schema, {"type": "null"}]});
    match ty {
        ValueType::Object(members) => {
            let property =
                |member: &Member| (member.name.to_string(), or_null(patch(&member.ty, &member.rules)));
            let properties: Map<String, Json> = members.iter().map(property).collect();
            let mut schema =
                json!({"type": "object", "properties": properties, "additionalProperties": false});
            if let Some(description) = &rules.description {
                schema["description"] = description.as_str().into();
            }
            schema
        }
        ValueType::Map(of) => {
            // How long it becomes, what is there decides too.
            let rules = Rules { min_length: None, max_length: None, ..rules.clone() };
            let mut schema = value(ty, &rules);
            schema["additionalProperties"] = or_null(patch(of, &Rules::default()));
            schema
        }
        _ => value(ty, rules),
    }
}

/// One element of what an expression yields.
pub(super) fn kind(kind: &Kind) -> Json {
    value(&Type::one(kind.clone()).stored(), &Rules::default())
}
