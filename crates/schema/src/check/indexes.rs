//! The type option `index (customer, at desc)`: an index over several fields.
//!
//! It has one entry for each resource, so each of its fields has one value that stands in the document and has a place in
//! the order of values: a fact, a link, or what follows from others and is stored. What the fields hold is known when all
//! are typed.

use corollary_syntax::ast::{self, Ident, KeyText, OptionArgument};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;

use crate::ids::Ids;
use crate::model::{Composite, Field, FieldKind, IndexKey, ResourceType, Schema, Slot, ValueType};
use crate::typed::Kind;

/// Reads the indexes of all types. All fields are typed.
pub fn declare(tree: &ast::SchemaText, schema: &mut Schema, ids: &mut Ids, found: &mut Vec<Diagnostic>) {
    for text in &tree.types {
        let Some(ty) = schema.type_named(&text.name.name) else { continue };
        for option in text.options.iter().filter(|option| option.name == "index") {
            // Otherwise the parser has told that the fields are missing.
            let OptionArgument::Keys(keys) = &option.argument else { continue };
            let resource = schema.ty(ty);
            if let Some(mistake) = too_few(keys, option) {
                found.push(mistake);
                continue;
            }
            let Some(keys) = resolve(resource, keys, found) else { continue };
            let fields = keys.iter().map(|key| (resource.field(key.slot).id, key.descending));
            let index = Composite { number: ids.composite(resource.id, fields), keys };
            if resource.indexes.contains(&index) {
                let message = format!("`index ({})` stands twice", index.describe(resource));
                found.push(Diagnostic::error("duplicate-option", option.span, message));
                continue;
            }
            schema.types[ty.0 as usize].indexes.push(index);
        }
    }
}

/// An index over one field is an option of the field.
fn too_few(keys: &[KeyText], option: &ast::OptionText) -> Option<Diagnostic> {
    let (span, help) = match keys {
        [] => (option.span, "as in `index (customer, at desc)`".to_string()),
        [key] => {
            let name = &key.field.name;
            (
                key.field.span,
                format!("write `index` as an option of the field `{name}`; it serves both directions"),
            )
        }
        _ => return None,
    };
    let message = "an index of a type is over two fields or more";
    Some(Diagnostic::error("index-field", span, message).help(help))
}

/// The fields of an index; none where there is a mistake.
fn resolve(ty: &ResourceType, keys: &[KeyText], found: &mut Vec<Diagnostic>) -> Option<Vec<IndexKey>> {
    let so_far = found.len();
    let mut resolved: Vec<IndexKey> = Vec::with_capacity(keys.len());
    for key in keys {
        let slot = match named(ty, &key.field) {
            Ok(slot) => slot,
            Err(mistake) => {
                found.push(mistake);
                continue;
            }
        };
        let name = &key.field.name;
        let mistake = |message: String| Diagnostic::error("index-field", key.field.span, message);
        if resolved.iter().any(|other| other.slot == slot) {
            found.push(mistake(format!("`{name}` stands twice in this index")));
        } else if let Some((what, help)) = refused(ty.field(slot)) {
            found.push(mistake(format!("`{}.{name}` {what}", ty.name)).help(help));
        } else {
            resolved.push(IndexKey { slot, descending: key.descending });
        }
    }
    (found.len() == so_far).then_some(resolved)
}

/// The field with a name; `parent` is the link to the parent.
fn named(ty: &ResourceType, name: &Ident) -> Result<Slot, Diagnostic> {
    if name.name == "parent" {
        let message = match ty.parents[..] {
            [parent] => return Ok(parent),
            [] => format!("a `{}` has no parent: no collection holds it", ty.name),
            _ => format!("a `{}` may have a parent by several collections", ty.name),
        };
        let names: Vec<String> =
            ty.parents.iter().map(|parent| format!("`{}`", ty.field(*parent).name)).collect();
        let help = (!names.is_empty()).then(|| format!("name one of {}", names.join(", ")));
        return Err(Diagnostic::error("no-parent", name.span, message).maybe_help(help));
    }
    if let Some((slot, _)) = ty.named(&name.name) {
        return Ok(slot);
    }
    let message = format!("`{}` has no field `{}`", ty.name, name.name);
    let help = match name.name.as_str() {
        "id" => Some("leave it out: ids stand behind the fields in every index".to_string()),
        name => {
            let fields = ty.fields.iter().filter(|field| field.visible() && refused(field).is_none());
            nearest(name, fields.map(|field| field.name.as_str()))
                .map(|near| format!("did you mean `{near}`?"))
        }
    };
    Err(Diagnostic::error("unknown-field", name.span, message).maybe_help(help))
}

/// Why a field cannot be part of an index over several, and what to do; none where it can.
pub(crate) fn refused(field: &Field) -> Option<(&'static str, &'static str)> {
    let list = (
        "is a list, and an index over several fields has one entry for each resource",
        "leave it out; a list of values has an index of its own by the option `index` of its field",
    );
    let object = (
        "is an object, and objects have no order to look things up by",
        "a derived field, as `city := self.address.city`, can be part of an index",
    );
    let among = ("may lead to several types", "a link to one type can be part of an index");
    match &field.kind {
        FieldKind::Stored(ValueType::List(_) | ValueType::Set(_)) => Some(list),
        FieldKind::Stored(ValueType::Object(_) | ValueType::Map(_)) => Some(object),
        FieldKind::Stored(_) | FieldKind::Link { .. } | FieldKind::Parent { .. } => None,
        FieldKind::Derived { lazy: true, .. } => Some((
            "is lazy: it is computed when it is read, and stored nowhere",
            "leave out `lazy`, or the field",
        )),
        FieldKind::Derived { expr, .. } => match expr.ty.kind {
            _ if expr.ty.is_many() => Some(list),
            Kind::Object(_) | Kind::Map(_) => Some(object),
            Kind::Among(_) => Some(among),
            _ => None,
        },
        FieldKind::Among { many: false, .. } => Some(among),
        FieldKind::Links { .. }
        | FieldKind::Among { .. }
        | FieldKind::Collection { .. }
        | FieldKind::Inverse { .. }
        | FieldKind::Several { .. } => Some(list),
        FieldKind::Position { .. } | FieldKind::Embedded { .. } | FieldKind::Aggregate { .. } => {
            Some(("is not a field of the language", "leave it out"))
        }
    }
}
