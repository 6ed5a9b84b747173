//! What operations and components are called: names made of those in the schema, the same whenever it is the same.
//!
//! What always holds: an `operationId` begins with a verb and is made of letters and digits of ASCII, whatever the names in
//! the schema are; no two operations have the same one. No component of the document takes the place of another.

use std::collections::HashSet;

use corollary_schema::{Schema, TypeIx};
use serde_json::{Map, Value as Json};

/// The shapes that are the same in all documents.
const SHARED: [&str; 13] = [
    "Link",
    "JsonPatch",
    "UpdateActions",
    "Condition",
    "Query",
    "Explained",
    "DryRun",
    "Why",
    "Problem",
    "SchemaPlan",
    "BatchItem",
    "Counted",
    "Changed",
];

/// What stands behind the name of a type in those of its other shapes.
const ENDINGS: [&str; 3] = ["Facts", "Patch", "Page"];

/// The name of the component with the shape of a type: its own, unless another component is called so. No name of a type has a
/// `-` in it.
pub(super) fn component(schema: &Schema, ty: TypeIx) -> String {
    let name = schema.ty(ty).name.as_str();
    let stems = ENDINGS.iter().filter_map(|ending| name.strip_suffix(ending));
    let is_taken = SHARED.contains(&name) || stems.into_iter().any(|stem| schema.type_named(stem).is_some());
    if is_taken { format!("{name}-Type") } else { name.to_string() }
}

/// What the members of a list are called in an `operationId`: many of them, and one.
#[derive(Clone)]
pub(super) struct Noun {
    pub(super) many: String,
    pub(super) one: String,
}

impl Noun {
    /// Of a root collection; of one of several types without a type.
    pub(super) fn root(root: &str, ty: Option<&str>) -> Noun {
        let many = pascal(root);
        let one = ty.map_or_else(|| format!("{many}Member"), pascal);
        Noun { many, one }
    }

    /// Of what a field of one of these leads to: of a list whose name is that of its type, one is called by the type.
    pub(super) fn below(&self, field: &str, ty: Option<&str>) -> Noun {
        let many = pascal(field);
        let one = match ty.map(pascal) {
            Some(ty) if is_plural(&many, &ty) => ty,
            Some(ty) => format!("{many}{ty}"),
            None => format!("{many}Member"),
        };
        Noun { many: format!("{}{many}", self.one), one: format!("{}{one}", self.one) }
    }
}

fn is_plural(many: &str, one: &str) -> bool {
    let ies = one.strip_suffix('y').map(|stem| format!("{stem}ies"));
    many == format!("{one}s") || many == format!("{one}es") || ies.is_some_and(|ies| many == ies)
}

/// The words of a name, each with a capital letter, without what no identifier has.
pub(super) fn pascal(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| format!("{}{}", first.to_ascii_uppercase(), letters.as_str()))
    };
    words.filter_map(capital).collect()
}

/// The paths of a document.
#[derive(Default)]
pub(super) struct Paths {
    items: Map<String, Json>,
    called: HashSet<String>,
}

impl Paths {
    /// Adds a path, unless it is there. An operation whose name is another's has a number behind it.
    pub(super) fn add(&mut self, path: String, mut item: Json) {
        if self.items.contains_key(&path) {
            return;
        }
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            let Some(Json::String(id)) = operation.get_mut("operationId") else { continue };
            let numbered = (2..).map(|number: usize| format!("{id}{number}"));
            let free = std::iter::once(id.clone()).chain(numbered).find(|id| !self.called.contains(id));
            *id = free.unwrap_or_default();
            self.called.insert(id.clone());
        }
        self.items.insert(path, item);
    }

    pub(super) fn into_items(self) -> Map<String, Json> {
        self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_words() {
        assert_eq!(pascal("parent_division-sections/x9"), "ParentDivisionSectionsX9");
        assert_eq!(pascal("größe"), "GrE");
        let orders = Noun::root("orders", Some("Order"));
        let lines = orders.below("lines", Some("Line"));
        assert_eq!((lines.many.as_str(), lines.one.as_str()), ("OrderLines", "OrderLine"));
        let managers = orders.below("managers", Some("Employee"));
        assert_eq!(managers.one, "OrderManagersEmployee");
        assert_eq!(orders.below("items", None).one, "OrderItemsMember");
    }
}
