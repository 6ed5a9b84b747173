//! The checked schema: types and fields with stable ids, every name resolved.
//!
//! A [`Schema`] is only ever made by [`crate::check()`], so whoever holds one may rely on it: every [`FieldRef`]
//! points at a field, every expression is typed, and the plan is complete.

use std::collections::HashMap;
use std::sync::Arc;

use corollary_value::{Id, Value};
use smol_str::SmolStr;

use crate::check::indexes::refused;
use crate::members::{Member, Members, for_links_of, references_of};
use crate::mounts::Mount;
use crate::normalize::Normalize;
use crate::plan::Plan;
use crate::typed::{Expr, Kind, Type};
use crate::uses::Uses;

/// Position of a type in [`Schema::types`]; valid for one checked schema only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeIx(pub u32);

/// Position of a field in [`ResourceType::fields`]; valid for one checked schema only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A field of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldRef {
    /// The type that has the field.
    pub ty: TypeIx,
    /// Which of its fields.
    pub slot: Slot,
}

/// The number that stands for a type in storage, never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// The number that stands for a field in storage, unique in the whole schema and never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub u32);

/// A checked schema with its maintenance plan.
#[derive(Debug)]
pub struct Schema {
    /// `schema NAME`; `main` where none is written.
    pub name: SmolStr,
    /// The types; [`TypeIx`] is the position.
    pub types: Vec<ResourceType>,
    /// Root collections by name.
    pub roots: HashMap<SmolStr, TypeIx>,
    /// The root collections of abstract types: the types whose resources each lists, in the order of declaration.
    pub abstract_roots: HashMap<SmolStr, Vec<TypeIx>>,
    /// How derived fields are kept true.
    pub plan: Plan,
    /// The hidden type of the one resource that keeps what is the same for all, as the sum over a root collection is.
    /// Its fields are parts of derived fields; it is stored when the first of them is not what it is over nothing.
    pub shared: Option<TypeIx>,
    /// What stands at paths besides: no part of the data. A schema that is a view has none.
    pub mounts: Vec<Arc<Mount>>,
    /// What it has of what would be looked for in all types otherwise.
    pub uses: Uses,
    /// The types by what stands for them in storage.
    pub by_id: HashMap<TypeId, TypeIx>,
    /// The field with the names of actors (`actor`), by which `ego` is found: a stored text, which no two have.
    pub ego: Option<FieldRef>,
}

/// A kind of resource.
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Stands for it in storage.
    pub id: TypeId,
    /// Its name.
    pub name: SmolStr,
    /// The root collection that holds its resources, where it has one.
    pub root: Option<SmolStr>,
    /// Its fields; [`Slot`] is the position. Declared ones first, then parents, then hidden ones.
    pub fields: Vec<Field>,
    /// Fields that expressions and clients may name.
    pub by_name: HashMap<SmolStr, Slot>,
    /// The lists of all resources that link here by a field of an abstract type, `link_<abstract>_<field>`: the links by
    /// which the types that are one do.
    pub gathered: Vec<(SmolStr, Vec<FieldRef>)>,
    /// The hidden links to a parent, one for each collection that may own a resource of this type.
    pub parents: Vec<Slot>,
    /// The [`FieldKind::Embedded`] fields of the type that have entries in the reference index.
    pub embedded: Vec<Slot>,
    /// The field that stands for the id in canonical paths (`path NAME`): a text, unique among all or in the parent.
    pub path: Option<Slot>,
    /// The hidden derived field with the canonical path that each resource has instead (`url := …`).
    pub url: Option<Slot>,
    /// The derived fields that are computed when they are read.
    pub lazy: Vec<Slot>,
    /// The hidden positions in ordered collections, each with the hidden link to the parent.
    pub positions: Vec<Position>,
    /// The link fields (of any type) that may point at a resource of this type, parents included.
    pub referrers: Vec<FieldRef>,
    /// The time, an expression of the resource, at which it is deleted, where its type expires.
    pub expires: Option<Expr>,
    /// The number under which the versions of its resources are kept, where they are (`history`).
    pub history: Option<FieldId>,
    /// The indexes over several of its fields (`index (a, b desc)`), in the order of declaration.
    pub indexes: Vec<Composite>,
    /// The fields that have entries in an index of their own.
    pub indexed: Vec<Slot>,
    /// The field with the time of the last change (`updated_at`).
    pub updated: Option<Slot>,
    /// The fields that stand in a reply which shows all of a resource and expands nothing.
    pub told: Vec<Slot>,
}

/// An index over several fields of a type: an entry for each resource, in the order of the first field, then of the second,
/// and so on, and of the ids behind the last, in its direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composite {
    /// Its number.
    pub number: FieldId,
    /// The fields, two at least.
    pub keys: Vec<IndexKey>,
}

/// A field of an index over several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexKey {
    /// Which.
    pub slot: Slot,
    /// Largest first.
    pub descending: bool,
}

impl Composite {
    /// Does a change of the field change its entries?
    pub fn has(&self, slot: Slot) -> bool {
        self.keys.iter().any(|key| key.slot == slot)
    }

    /// Do ids stand in falling order behind equal values?
    pub fn ids_descend(&self) -> bool {
        self.keys.last().is_some_and(|key| key.descending)
    }

    /// Its fields, as they are declared: `customer, at desc`.
    pub fn describe(&self, ty: &ResourceType) -> String {
        let key = |key: &IndexKey| {
            format!("{}{}", ty.field(key.slot).label(), if key.descending { " desc" } else { "" })
        };
        self.keys.iter().map(key).collect::<Vec<_>>().join(", ")
    }
}

/// Where the position in an ordered collection is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The link to the parent.
    pub via: Slot,
    /// The position.
    pub slot: Slot,
}

/// A field of a type.
#[derive(Clone, Debug)]
pub struct Field {
    /// Stands for it in storage.
    pub id: FieldId,
    /// Its name; hidden fields have one that starts with `#`.
    pub name: SmolStr,
    /// What it holds.
    pub kind: FieldKind,
    /// Rules for its values.
    pub rules: Rules,
    /// Is there a secondary index (`index`, `unique`), with an entry for each resource or, where
    /// [`Field::indexes_elements`], for each element?
    pub index: bool,
    /// The number of the index by parent and value, where there is one (`unique in parent`): an entry for each resource
    /// that has a parent.
    pub parent_index: Option<FieldId>,
    /// Are there entries in the reference index, from each target back here?
    pub reference_index: bool,
    /// Where the value stands as it is read: with the derived members of its objects, where they have any.
    pub extended: Option<Slot>,
}

impl Field {
    /// Are the entries of its index those of the elements of its list? A unique list is compared as a whole, and elements that
    /// hold others are not asked for one by one.
    pub fn indexes_elements(&self) -> bool {
        let of_values = match &self.kind {
            FieldKind::Stored(ValueType::List(of) | ValueType::Set(of)) => !matches!(
                **of,
                ValueType::Object(_)
                    | ValueType::List(_)
                    | ValueType::Set(_)
                    | ValueType::Map(_)
                    | ValueType::Link { .. }
            ),
            FieldKind::Derived { expr, .. } => {
                expr.ty.is_many()
                    && !matches!(
                        expr.ty.kind,
                        Kind::Resource(_) | Kind::Among(_) | Kind::Object(_) | Kind::Map(_)
                    )
            }
            _ => false,
        };
        self.index && !self.rules.unique && of_values
    }
}

/// What a field holds.
#[derive(Clone, Debug)]
pub enum FieldKind {
    /// A stored value.
    Stored(ValueType),
    /// A reference to one resource.
    Link {
        /// Type of what is referred to.
        target: TypeIx,
        /// What happens here when the target is deleted.
        on_delete: OnDelete,
    },
    /// References to many resources, each once, in the order they were added.
    Links {
        /// Type of what is referred to.
        target: TypeIx,
        /// What happens here when a target is deleted.
        on_delete: OnDelete,
    },
    /// A link, or links, to resources of several types. It holds nothing itself: for each of the types there is a hidden
    /// link, or links, of which a link to one has at most one set.
    Among {
        /// The hidden links, in the order in which the types are declared or named.
        parts: Vec<Slot>,
        /// The type that each of them leads to.
        targets: Vec<TypeIx>,
        /// May it lead to more than one?
        many: bool,
    },
    /// Hidden: the parent that owns this resource through one collection.
    Parent {
        /// The collection, a field of the parent's type.
        collection: FieldRef,
    },
    /// Hidden: where the resource stands among the children of a parent in an ordered collection; a text that sorts as
    /// they stand.
    Position {
        /// The link to the parent.
        via: Slot,
    },
    /// Owned children; what it holds is the reverse of the child's [`FieldKind::Parent`].
    Collection {
        /// Type of the children.
        child: TypeIx,
        /// The children's hidden link to here.
        via: FieldRef,
    },
    /// The resources that link here (read only).
    Inverse {
        /// The link.
        of: FieldRef,
    },
    /// Owned children of several types, or the inverse of a link that an abstract type declares. It holds nothing itself:
    /// for each of the types there is a hidden [`FieldKind::Collection`] or [`FieldKind::Inverse`].
    Several {
        /// The hidden collections or inverses, in the order in which the types are declared or named.
        parts: Vec<Slot>,
        /// Are they collections?
        owned: bool,
    },
    /// Follows from other fields.
    Derived {
        /// The expression, in the canonical format.
        text: String,
        /// Typed.
        expr: Expr,
        /// May be an error value never; a write that would make it one is refused.
        strict: bool,
        /// Follows a write later, by an update; it is evaluated as a whole.
        background: bool,
        /// Computed whenever it is read, and stored nowhere. What reads it reads what it reads: its expression stands in
        /// theirs.
        lazy: bool,
    },
    /// Hidden: the links in the objects that a field of the same type holds, as one set. Kept in no document: it is
    /// read off that field's value.
    Embedded {
        /// The field with the objects.
        of: Slot,
        /// Type of what is referred to.
        target: TypeIx,
        /// What happens here when a target is deleted; `restrict` for a link that is required and would be unlinked.
        on_delete: OnDelete,
    },
    /// Hidden: the result of an aggregate inside a derived field, or the time at which the clock changes one.
    Aggregate {
        /// The type of its result.
        ty: Type,
        /// What identifies its definition.
        signature: String,
    },
}

/// What happens to a link when its target is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The link becomes empty (for a required link, the same as restrict).
    Unlink,
    /// The deletion is refused while the link stands.
    Restrict,
    /// The resource with the link is deleted too.
    Cascade,
}

/// The type of a stored value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueType {
    /// UTF-8 text.
    Str,
    /// 64 bit integer.
    Int,
    /// IEEE 754 double, finite.
    Float,
    /// True or false.
    Bool,
    /// Exact decimal of at most 28 digits.
    Decimal,
    /// Instant.
    Datetime,
    /// Calendar day.
    Date,
    /// Exact span of time.
    Duration,
    /// UUID.
    Uuid,
    /// Bytes.
    Bytes,
    /// Any value.
    Json,
    /// One of these words, in the order of declaration.
    Enum(Vec<SmolStr>),
    /// An embedded object; a union, or what is known of a file, where its members say so.
    Object(Members),
    /// A list.
    List(Box<ValueType>),
    /// A list in value order without repeats.
    Set(Box<ValueType>),
    /// An object with free keys.
    Map(Box<ValueType>),
    /// A reference to a resource; only as a member of an object.
    Link {
        /// Type of what is referred to.
        target: TypeIx,
        /// What happens to it when the target is deleted.
        on_delete: OnDelete,
        /// The [`FieldKind::Embedded`] that has its targets.
        via: FieldRef,
    },
}

impl ValueType {
    /// Of a link, or a list of links: the field that has its targets.
    pub fn via(&self) -> Option<FieldRef> {
        match self {
            ValueType::Link { via, .. } => Some(*via),
            ValueType::List(of) | ValueType::Set(of) => of.via(),
            _ => None,
        }
    }

    /// Of a link, or a list of links: says which field has its targets, and tells to what type it leads.
    pub fn set_via(&mut self, to: FieldRef) {
        match self {
            ValueType::Link { via, .. } => *via = to,
            ValueType::List(of) | ValueType::Set(of) => of.set_via(to),
            _ => {}
        }
    }

    /// Is it a file?
    pub fn is_file(&self) -> bool {
        matches!(self, ValueType::Object(members) if members.is_file())
    }

    /// May values of the type refer to resources?
    pub fn holds_links(&self) -> bool {
        match self {
            ValueType::Link { .. } => true,
            ValueType::List(of) | ValueType::Set(of) | ValueType::Map(of) => of.holds_links(),
            ValueType::Object(members) => members.iter().any(|member| member.ty.holds_links()),
            _ => false,
        }
    }

    /// Calls `f` for each link in values of the type, with the names of the members that lead to it.
    pub fn for_links(&mut self, path: &str, f: &mut dyn FnMut(&str, &mut Member)) {
        match self {
            ValueType::Object(members) => for_links_of(members, path, f),
            ValueType::List(of) | ValueType::Set(of) | ValueType::Map(of) => of.for_links(path, f),
            _ => {}
        }
    }

    /// Calls `f` for each reference that a value of the type holds by one of its links.
    pub fn references<'v>(&self, via: FieldRef, value: &'v Value, f: &mut dyn FnMut(&'v Id)) {
        match (self, value) {
            (ValueType::Link { via: of, .. }, Value::Ref(id)) if *of == via => f(id),
            (ValueType::List(of) | ValueType::Set(of), Value::List(elements)) => {
                elements.iter().for_each(|element| of.references(via, element, f));
            }
            (ValueType::Map(of), Value::Object(values)) => {
                values.iter().for_each(|(_, value)| of.references(via, value, f));
            }
            (ValueType::Object(members), value) => references_of(members, via, value, f),
            _ => {}
        }
    }
}

/// Rules for the values of a stored field, a link, or a member of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// There must be a value, and it must not be null (unless `nullable`).
    pub required: bool,
    /// An explicit null may be stored.
    pub nullable: bool,
    /// What a new resource gets where nothing is given.
    pub default: Option<DefaultValue>,
    /// No two resources of the type have the same value.
    pub unique: bool,
    /// No two children of one parent, through the same collection, have the same value.
    pub unique_in_parent: bool,
    /// The actor with this name is the resource ([`Schema::ego`]).
    pub actor: bool,
    /// May be set when the resource is created, and not changed.
    pub immutable: bool,
    /// May be set once, and not changed after that.
    pub write_once: bool,
    /// What a list, a set, a map or links hold stays: elements may come behind, none go or change.
    pub append_only: bool,
    /// Least value.
    pub min: Option<Value>,
    /// Greatest value.
    pub max: Option<Value>,
    /// Least length, in characters or elements.
    pub min_length: Option<u64>,
    /// Greatest length, in characters or elements.
    pub max_length: Option<u64>,
    /// A regular expression that must match somewhere in the text.
    pub pattern: Option<Pattern>,
    /// Applied to a text before it is checked, in order.
    pub normalize: Vec<Normalize>,
    /// How the texts of the field can be searched, where there is an index for it.
    pub search: Option<Search>,
    /// For people.
    pub description: Option<SmolStr>,
    /// What the engine keeps there; nobody writes it then.
    pub kept: Option<Kept>,
    /// Of a file: the most bytes (`max`); none where the server decides.
    pub max_bytes: Option<u64>,
    /// Of a file: the media types that it may have, as `image/png` or `image/*` (`accept`); any where there are none.
    pub accept: Vec<SmolStr>,
}

/// An index by the parts of texts (`search`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Search {
    /// Which parts.
    pub by: SearchBy,
    /// The number of the index.
    pub index: FieldId,
}

/// What a text is searched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchBy {
    /// How it begins: `starts_like`.
    Prefix,
    /// What its words sound like: `sounds_like`.
    Phonetic,
    /// Its words: `has_words`.
    Text,
}

impl SearchBy {
    /// With a name of the language.
    pub fn named(name: &str) -> Option<SearchBy> {
        Some(match name {
            "prefix" => SearchBy::Prefix,
            "phonetic" => SearchBy::Phonetic,
            "text" => SearchBy::Text,
            _ => return None,
        })
    }

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            SearchBy::Prefix => "prefix",
            SearchBy::Phonetic => "phonetic",
            SearchBy::Text => "text",
        }
    }
}

/// A time that the engine keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Of the commit that created the resource.
    Created,
    /// Of the last commit that changed one of its facts.
    Updated,
}

/// A default.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    /// The same for each new resource.
    Constant(Value),
    /// The time of the commit.
    Now,
    /// What follows from the other facts of the new resource, and of what its links lead to, when it is created.
    Computed(Box<Expr>),
}

/// A checked regular expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Ready to use.
    pub regex: regex_lite::Regex,
}

impl Pattern {
    /// A regular expression; the error says in one sentence why the text is none.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let regex = regex_lite::Regex::new(text);
        regex
            .map(|regex| Pattern { regex })
            .map_err(|error| format!("this is not a regular expression: {error}"))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Schema {
    /// The id of the one resource of the type [`Schema::shared`].
    pub fn shared_id() -> Id {
        Id::Name(SmolStr::new_static("all"))
    }

    /// The type at a position.
    pub fn ty(&self, ix: TypeIx) -> &ResourceType {
        &self.types[ix.0 as usize]
    }

    /// The field at a position.
    pub fn field(&self, field: FieldRef) -> &Field {
        &self.ty(field.ty).fields[field.slot.0 as usize]
    }

    /// The names of all root collections, those of abstract types among them.
    pub fn root_names(&self) -> impl Iterator<Item = &str> {
        self.roots.keys().chain(self.abstract_roots.keys()).map(SmolStr::as_str)
    }

    /// Is there a root collection of the name, of whatever kind of type?
    pub fn has_root(&self, name: &str) -> bool {
        self.roots.contains_key(name) || self.abstract_roots.contains_key(name)
    }

    /// The type that a number stands for in storage.
    pub fn type_numbered(&self, number: TypeId) -> Option<TypeIx> {
        self.by_id.get(&number).copied()
    }

    /// The type with a name.
    pub fn type_named(&self, name: &str) -> Option<TypeIx> {
        self.types.iter().position(|ty| ty.name == name).map(|at| TypeIx(at as u32))
    }

    /// What a [`FieldKind::Embedded`] links to, given the value of the field that holds its objects: each once, in the
    /// order of ids.
    pub fn embedded(&self, via: FieldRef, value: &Value) -> Vec<Id> {
        let FieldKind::Embedded { of, .. } = self.field(via).kind else { return Vec::new() };
        let mut found = Vec::new();
        let mut add = |id: &Id| found.push(id.clone());
        match &self.field(FieldRef { ty: via.ty, slot: of }).kind {
            FieldKind::Stored(ty) => ty.references(via, value, &mut add),
            FieldKind::Derived { expr, .. } => match &expr.ty.kind {
                Kind::Object(members) => references_of(members, via, value, &mut add),
                Kind::Map(of) => ValueType::Map(of.clone()).references(via, value, &mut add),
                _ => {}
            },
            _ => {}
        }
        found.sort();
        found.dedup();
        found
    }

    /// The link by which the resources in a collection or an inverse lead to the one that has it; none for other fields.
    pub fn way_back(&self, list: FieldRef) -> Option<FieldRef> {
        match self.field(list).kind {
            FieldKind::Collection { via: of, .. } | FieldKind::Inverse { of } => Some(of),
            _ => None,
        }
    }

    /// The position that orders the children behind a link to the parent; none where their collection has no order.
    pub fn position_of(&self, via: FieldRef) -> Option<FieldRef> {
        let position = self.ty(via.ty).positions.iter().find(|position| position.via == via.slot)?;
        Some(FieldRef { ty: via.ty, slot: position.slot })
    }

    /// All types with their positions.
    pub fn types(&self) -> impl Iterator<Item = (TypeIx, &ResourceType)> {
        self.types.iter().enumerate().map(|(at, ty)| (TypeIx(at as u32), ty))
    }
}

impl ResourceType {
    /// May anybody know of it?
    pub fn visible(&self) -> bool {
        !self.name.starts_with('#')
    }

    /// Is the canonical path of each of its resources the root collection and the id?
    pub fn stands_at_root(&self) -> bool {
        self.parents.is_empty() && self.path.is_none() && self.url.is_none()
    }

    /// The field at a position.
    pub fn field(&self, slot: Slot) -> &Field {
        &self.fields[slot.0 as usize]
    }

    /// The type that a link, or links, leads to; none for other fields.
    pub fn link_target(&self, slot: Slot) -> Option<TypeIx> {
        match self.field(slot).kind {
            FieldKind::Link { target, .. } | FieldKind::Links { target, .. } => Some(target),
            _ => None,
        }
    }

    /// The hidden links of a link to one of several types; none for other fields.
    pub fn parts(&self, slot: Slot) -> &[Slot] {
        match &self.field(slot).kind {
            FieldKind::Among { parts, .. } => parts,
            _ => &[],
        }
    }

    /// The index over several fields that has a number.
    pub fn composite(&self, number: FieldId) -> Option<&Composite> {
        self.indexes.iter().find(|index| index.number == number)
    }

    /// The fields that hold files.
    pub fn files(&self) -> impl Iterator<Item = (Slot, &Field)> {
        self.slots().filter(|(_, field)| field.is_file())
    }

    /// The hidden collections or inverses of a list of several types; none for other fields.
    pub fn lists(&self, slot: Slot) -> &[Slot] {
        match &self.field(slot).kind {
            FieldKind::Several { parts, .. } => parts,
            _ => &[],
        }
    }

    /// The field that clients know by this name.
    pub fn named(&self, name: &str) -> Option<(Slot, &Field)> {
        let slot = *self.by_name.get(name)?;
        Some((slot, self.field(slot)))
    }

    /// Where the value of a field stands as it is read.
    pub fn shown(&self, slot: Slot) -> Slot {
        self.field(slot).extended.unwrap_or(slot)
    }

    /// All fields with their positions.
    pub fn slots(&self) -> impl Iterator<Item = (Slot, &Field)> {
        self.fields.iter().enumerate().map(|(at, field)| (Slot(at as u32), field))
    }
}

impl Field {
    /// Is it shown to clients?
    pub fn visible(&self) -> bool {
        !matches!(self.kind, FieldKind::Parent { .. }) && !self.name.starts_with('#')
    }

    /// Is a value of it kept in the document?
    pub fn in_document(&self) -> bool {
        !matches!(
            self.kind,
            FieldKind::Collection { .. }
                | FieldKind::Inverse { .. }
                | FieldKind::Embedded { .. }
                | FieldKind::Among { .. }
                | FieldKind::Several { .. }
                | FieldKind::Derived { lazy: true, .. }
        )
    }

    /// Is it a fact: stored because somebody wrote it?
    pub fn is_fact(&self) -> bool {
        matches!(
            self.kind,
            FieldKind::Stored(_)
                | FieldKind::Link { .. }
                | FieldKind::Links { .. }
                | FieldKind::Parent { .. }
                | FieldKind::Position { .. }
        )
    }

    /// Is it a file? Then its value is an object that tells of it, which comes and goes with its bytes alone.
    pub fn is_file(&self) -> bool {
        matches!(&self.kind, FieldKind::Stored(ty) if ty.is_file())
    }

    /// Is it a fact that somebody may write, or a name for several?
    pub fn is_written(&self) -> bool {
        (self.is_fact() || matches!(self.kind, FieldKind::Among { .. })) && self.rules.kept.is_none()
    }

    /// The name under which people know it: of the hidden parts of a [`FieldKind::Among`] or a [`FieldKind::Several`],
    /// `#to.Person`, that of the field that they stand for.
    pub fn label(&self) -> &str {
        if self.is_part() { self.declared_as() } else { &self.name }
    }

    /// The name of the declared field that it is, or is a hidden part of.
    pub fn declared_as(&self) -> &str {
        match self.name.strip_prefix('#') {
            Some(part) => part.split('.').next().unwrap_or(part),
            None => &self.name,
        }
    }

    /// Is it one of the hidden parts of a [`FieldKind::Among`] or a [`FieldKind::Several`]?
    pub fn is_part(&self) -> bool {
        let relation = matches!(
            self.kind,
            FieldKind::Link { .. }
                | FieldKind::Links { .. }
                | FieldKind::Collection { .. }
                | FieldKind::Inverse { .. }
        );
        relation && self.name.starts_with('#')
    }

    /// Does it follow from other fields, and is it kept in the document?
    pub fn is_derived(&self) -> bool {
        matches!(self.kind, FieldKind::Derived { lazy: false, .. } | FieldKind::Aggregate { .. })
    }

    /// May it be part of an index over several fields: does it have one value, that stands in the document?
    pub fn joins_indexes(&self) -> bool {
        refused(self).is_none()
    }

    /// Is it computed whenever it is read?
    pub fn is_lazy(&self) -> bool {
        matches!(self.kind, FieldKind::Derived { lazy: true, .. })
    }
}
