//! Links in bodies that are written as paths with names in them (`path NAME`), or that are urls (`url := …`): each becomes
//! the id that it leads to.
//!
//! A body is read without the data, and there a path ends with an id. So where types have names or urls, the id of what a
//! path leads to is put in its place before. What leads nowhere stays as it is, and is told like any other link to nowhere.

use corollary_engine::EngineError;
use corollary_engine::working::Working;
use corollary_schema::{FieldKind, Schema, TypeIx, ValueType};
use serde_json::{Map, Value as Json};

use crate::path::{self, PathError, Target};

/// Puts ids in place of paths in the links of a body for a resource of a type, whose fields have the names of a schema.
pub fn by_path(
    working: &Working<'_>,
    names: &Schema,
    ty: TypeIx,
    body: &mut Map<String, Json>,
) -> Result<(), EngineError> {
    let resource = names.ty(ty);
    if !has_names(working) {
        return Ok(());
    }
    for (name, json) in body {
        let Some((_, field)) = resource.named(name) else { continue };
        match &field.kind {
            FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => {
                links(working, *target, json)?
            }
            FieldKind::Stored(ty) if ty.holds_links() => within(working, ty, json)?,
            _ => {}
        }
    }
    Ok(())
}

/// Has any type names in its paths, or urls?
pub fn has_names(working: &Working<'_>) -> bool {
    working.schema.uses.paths || working.schema.uses.urls
}

/// The links in a value of a type.
fn within(working: &Working<'_>, ty: &ValueType, json: &mut Json) -> Result<(), EngineError> {
    match (ty, json) {
        (ValueType::Link { target, .. }, json) => links(working, *target, json),
        (ValueType::List(of) | ValueType::Set(of), Json::Array(elements)) => {
            elements.iter_mut().try_for_each(|element| within(working, of, element))
        }
        (ValueType::Map(of), Json::Object(values)) => {
            values.values_mut().try_for_each(|value| within(working, of, value))
        }
        (ValueType::Object(members), Json::Object(object)) => members.iter().try_for_each(|member| {
            object.get_mut(member.name.as_str()).map_or(Ok(()), |value| within(working, &member.ty, value))
        }),
        _ => Ok(()),
    }
}

/// One link, or a list of them.
fn links(working: &Working<'_>, target: TypeIx, json: &mut Json) -> Result<(), EngineError> {
    let text = match json {
        Json::Array(elements) => {
            return elements.iter_mut().try_for_each(|element| links(working, target, element));
        }
        Json::String(text) if text.starts_with('/') => text,
        Json::Object(members) if !members.contains_key("_id") => match members.get_mut("_self") {
            Some(Json::String(text)) => text,
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let led = path::segments(text).and_then(|segments| path::resolve(working, &segments));
    match led {
        Ok(Target::Resource { key, .. } | Target::Linked { key, linked: true, .. })
            if key.ty == target && working.after(&key)?.is_some() =>
        {
            *json = key.id.to_string().into();
        }
        Err(PathError::Engine(error)) => return Err(error),
        _ => {}
    }
    Ok(())
}
