//! Links to one of several types in JSON: `{"_id", "_type"}`, a path, which leads to a type, or an id alone.
//!
//! An id alone goes on without a type: which one it is of is found out by the executor, when it is its turn.

use corollary_engine::{Refusal, among};
use corollary_schema::{FieldKind, Schema, Slot, TypeIx};
use corollary_value::{Id, Value};
use serde_json::Value as Json;

use super::decode::wrong;

/// A link to one of several types as clients write it; none where there is a mistake.
pub fn reference(
    schema: &Schema,
    targets: &[TypeIx],
    json: &Json,
    path: &str,
    found: &mut Vec<Refusal>,
) -> Option<Value> {
    let (text, named) = match json {
        Json::String(text) => (Some(text.as_str()), None),
        Json::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Json::as_str);
            match (text("_id"), members.get("_type")) {
                (Some(_), None) | (None, _) if text("_self").is_some() => (text("_self"), None),
                (id, named) => (id, named),
            }
        }
        _ => (None, None),
    };
    let Some(text) = text else {
        wrong(path, "a link: {\"_id\": …, \"_type\": …}, a path, or an id", json, found);
        return None;
    };
    match read(schema, targets, text, named) {
        Ok(value) => Some(value),
        Err(message) => {
            found.push(Refusal::new("link", Some(path), format!("`{path}`: {message}")));
            None
        }
    }
}

/// The reference that a text is, with the type that is named beside it; the error is a sentence.
fn read(schema: &Schema, targets: &[TypeIx], text: &str, named: Option<&Json>) -> Result<Value, String> {
    let types = || {
        let names: Vec<&str> = targets.iter().map(|ty| schema.ty(*ty).name.as_str()).collect();
        names.join(" or ")
    };
    let of = |ty: TypeIx, id: &str| {
        if !targets.contains(&ty) {
            return Err(format!("it leads to {}, and not to {}", types(), schema.ty(ty).name));
        }
        let id = Id::parse(id).map_err(|error| error.to_string())?;
        Ok(among::reference(schema, ty, id))
    };
    if let Some(rest) = text.strip_prefix('/') {
        return match owned(schema, rest) {
            Some((Some(ty), id)) => of(ty, id),
            // The list of an abstract type: it says no more than the id.
            Some((None, id)) => Id::parse(id).map(Value::Ref).map_err(|error| error.to_string()),
            None => Err(format!("`{text}` is no path of a {}", types())),
        };
    }
    match named {
        None | Some(Json::Null) => Id::parse(text).map(Value::Ref).map_err(|error| error.to_string()),
        Some(Json::String(name)) => match schema.type_named(name) {
            Some(ty) => of(ty, text),
            None => Err(format!("there is no type `{name}`; it leads to {}", types())),
        },
        Some(_) => Err("`_type` is the name of a type".into()),
    }
}

/// The type and the id of the resource at a path through root collections and collections of children; no type where the
/// list is one of several.
fn owned<'t>(schema: &Schema, path: &'t str) -> Option<(Option<TypeIx>, &'t str)> {
    let mut segments = path.split('/').peekable();
    segments.next_if_eq(&"api");
    let root = segments.next()?;
    let mut types = match schema.roots.get(root) {
        Some(ty) => vec![*ty],
        None => schema.abstract_roots.get(root)?.clone(),
    };
    let mut id = segments.next()?;
    while let Some(name) = segments.next() {
        types = types.into_iter().flat_map(|ty| children(schema, ty, name)).collect();
        id = segments.next()?;
    }
    match types[..] {
        [] => None,
        [ty] => Some((Some(ty), id)),
        _ => Some((None, id)),
    }
}

/// The types of the children in a collection.
fn children(schema: &Schema, ty: TypeIx, name: &str) -> Vec<TypeIx> {
    let resource = schema.ty(ty);
    let Some((slot, field)) = resource.named(name) else { return Vec::new() };
    let of_part = |part: &Slot| match resource.field(*part).kind {
        FieldKind::Collection { child, .. } => Some(child),
        _ => None,
    };
    match &field.kind {
        FieldKind::Several { parts, .. } => parts.iter().filter_map(of_part).collect(),
        _ => Vec::from_iter(of_part(&slot)),
    }
}
