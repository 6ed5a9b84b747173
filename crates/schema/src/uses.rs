//! What a schema has of what every write and every request has to look for, found once: so that nobody looks through all types and
//! fields each time, and what is not used costs nothing, however large the schema is.

use crate::model::{Field, FieldKind, Kept, ResourceType, Schema, Slot};
use crate::names::URL_FIELD;

/// What is there in any type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// A field that holds files.
    pub files: bool,
    /// An index that is kept as documents change, of one field or of several.
    pub indexes: bool,
    /// A type that keeps the time of the last change.
    pub updated: bool,
    /// A collection of several types.
    pub several: bool,
    /// A type whose resources have names in paths (`path`).
    pub paths: bool,
    /// A type whose resources have paths of their own (`url`).
    pub urls: bool,
}

impl Schema {
    /// Finds what it uses, and its types by their numbers; when all is declared.
    pub(crate) fn find_uses(&mut self) {
        let mut uses = Uses::default();
        for ty in &mut self.types {
            ty.indexed = ty.slots().filter(|(_, field)| is_indexed(field)).map(|(slot, _)| slot).collect();
            ty.updated = updated(ty);
            ty.told = ty.slots().filter(|(_, field)| is_told(field)).map(|(slot, _)| slot).collect();
            uses.files |= ty.files().next().is_some();
            uses.indexes |= !ty.indexes.is_empty() || !ty.indexed.is_empty();
            uses.updated |= ty.updated.is_some();
            uses.several |=
                ty.fields.iter().any(|field| matches!(field.kind, FieldKind::Several { owned: true, .. }));
            uses.paths |= ty.path.is_some();
            uses.urls |= ty.url.is_some();
        }
        self.uses = uses;
        self.by_id = self.types().map(|(at, ty)| (ty.id, at)).collect();
    }
}

/// Has the field entries in an index of its own? Those of the places of children are kept as they are written.
fn is_indexed(field: &Field) -> bool {
    let by_parent = field.parent_index.is_some() && !matches!(field.kind, FieldKind::Position { .. });
    field.index || by_parent || field.rules.search.is_some() || field.name == URL_FIELD
}

/// Does a reply have it, where nothing is expanded? Lists that others own have paths of their own, and parts stand as what they are of.
fn is_told(field: &Field) -> bool {
    let owned = matches!(
        field.kind,
        FieldKind::Collection { .. } | FieldKind::Inverse { .. } | FieldKind::Several { .. }
    );
    field.visible() && !field.is_part() && !owned
}

fn updated(ty: &ResourceType) -> Option<Slot> {
    ty.slots().find(|(_, field)| field.rules.kept == Some(Kept::Updated)).map(|(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ids, check};

    fn uses(text: &str) -> Uses {
        let checked = check(text, &mut Ids::default());
        checked.schema.unwrap_or_else(|| panic!("{:?}", checked.diagnostics)).uses
    }

    /// With 10,000 types a write took 1.3 ms of the processors, nearly all of it to find out that none of them uses any of this.
    #[test]
    fn each_use_is_found_and_no_other() {
        let none = Uses::default();
        assert_eq!(uses("type A in all { n: int, b: link A, sum := self.n + 1 }"), none);
        let indexes = Uses { indexes: true, ..none };
        for one in ["n: int index", "n: int unique", "n: str search prefix", "n: [int] index"] {
            assert_eq!(uses(&format!("type A in all {{ {one} }}")), indexes, "{one}");
        }
        assert_eq!(uses("type A in all index (n, m) { n: int, m: int }"), indexes);
        let by_parent = "type A in all { c: collection B } type B { n: int unique in parent }";
        assert_eq!(uses(by_parent), indexes);
        assert_eq!(uses("type A in all { c: ordered collection B } type B { n: int }"), none);
        assert_eq!(uses("type A in all { f: file }"), Uses { files: true, ..none });
        assert_eq!(uses("type A in all updated_at { n: int }"), Uses { updated: true, ..none });
        assert_eq!(uses("type A in all created_at { n: int }"), none);
        assert_eq!(uses("type A in all path n { n: str required unique }"), Uses { paths: true, ..indexes });
        assert_eq!(uses("type A in all url := '/' + self.n { n: str }"), Uses { urls: true, ..indexes });
        let several = "type A in all { c: collection B | C } type B { n: int } type C { n: int }";
        assert_eq!(uses(several), Uses { several: true, ..none });
    }
}
