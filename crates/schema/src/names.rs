//! Names that the schema gives by itself: `link_<type>_<field>` (`link_<type>_<field>_<member>` for a link in an
//! embedded object) and `parent_<type>_<field>`.

use crate::model::{FieldKind, FieldRef, Schema};

/// Where the canonical paths of resources begin.
pub const PATH_PREFIX: &str = "/api";

/// The hidden field with the canonical path of each resource, where a type can be above itself and the schema asks for it.
pub const PATH_FIELD: &str = "#path";

/// The hidden field with what `url := …` gives of each resource.
pub const URL_FIELD: &str = "#url";

/// `SectionChief` as `section_chief`.
pub fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_uppercase() {
            if previous_lower {
                out.push('_');
            }
            out.extend(c.to_lowercase());
            previous_lower = false;
        } else {
            out.push(c);
            previous_lower = c.is_lowercase() || c.is_ascii_digit();
        }
    }
    out
}

/// The name of the link from a child to the parent whose collection holds it.
pub fn parent_name(schema: &Schema, collection: FieldRef) -> String {
    let ty = &schema.ty(collection.ty).name;
    format!("parent_{}_{}", snake_case(ty), schema.field(collection).label())
}

/// The name of the list of resources that hold this one by a link, whether an inverse is declared or not.
pub fn reverse_name(schema: &Schema, of: FieldRef) -> String {
    match schema.field(of).kind {
        // A child's parent link is reached back through the collection itself, which has a name of its own.
        FieldKind::Parent { collection } => schema.field(collection).label().to_string(),
        _ => link_name(schema, of, &schema.ty(of.ty).name),
    }
}

/// The name of the list of resources of a type, or of those that are an abstract type, that hold this one by a link.
pub fn link_name(schema: &Schema, of: FieldRef, type_name: &str) -> String {
    let field = schema.field(of);
    let ty = snake_case(type_name);
    match field.kind {
        // `#lines.author`, the links in the objects of `lines`.
        FieldKind::Embedded { .. } => {
            format!("link_{ty}_{}", field.name.trim_start_matches('#').replace('.', "_"))
        }
        _ => format!("link_{ty}_{}", field.label()),
    }
}
