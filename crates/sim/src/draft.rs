//! A schema as the simulator sees it: what it wrote into the text, in its own words.
//!
//! Nothing here comes from the checker's result, so that what the engine does with a schema is judged by what was
//! declared and not by what was understood. [`Draft::text`] gives the text, with the place of each derived field, so
//! that one that is refused can be found and dropped.

use std::fmt::Write;
use std::ops::Range;

use corollary_value::Value;

use crate::among;
use crate::elements;
use crate::indexes;
use crate::lifetime::Life;
use crate::make::TYPES;
use crate::owners;
use crate::union;
use crate::urls::URL;

/// A schema; a type is known by its position.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The types. None is ever removed.
    pub types: Vec<TypeDraft>,
    /// The types in the order of the text.
    pub order: Vec<usize>,
    /// The next number for a name, never used twice.
    pub next_name: u32,
}

/// A type.
#[derive(Clone, Debug)]
pub struct TypeDraft {
    /// Its name.
    pub name: &'static str,
    /// Has it a root collection?
    pub root: bool,
    /// Does it keep its `history`?
    pub history: bool,
    /// The times that it keeps, and its end.
    pub life: Life,
    /// The field that stands for the id in paths.
    pub path: Option<String>,
    /// Its canonical path.
    pub url: Option<UrlDraft>,
    /// Its fields, in the order of the text.
    pub fields: Vec<FieldDraft>,
}

/// A url.
#[derive(Clone, Debug)]
pub struct UrlDraft {
    /// The expression, as written.
    pub text: String,
    /// As of a derived field.
    pub rank: u32,
}

/// A field.
#[derive(Clone, Debug)]
pub struct FieldDraft {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: FieldKind,
    /// Its options.
    pub rules: Rules,
}

/// What a field holds.
#[derive(Clone, Debug)]
pub enum FieldKind {
    /// A value.
    Stored(ValueType),
    /// A reference to a resource of a type.
    Link(usize, OnDelete),
    /// References.
    Links(usize, OnDelete),
    /// A reference, or references, to resources of several types.
    Among(Vec<usize>, OnDelete, bool),
    /// Children of a type.
    Collection(usize),
    /// Children of several types.
    Owned(Vec<usize>),
    /// What refers here by a field of a type.
    Inverse(usize, String),
    /// What refers here by a field of an abstract type that several types are.
    InverseOfAll(Vec<usize>, String),
    /// An expression.
    Derived(Derived),
}

/// An expression, and what is known of it without checking it.
#[derive(Clone, Debug)]
pub struct Derived {
    /// As written.
    pub text: String,
    /// What it gives.
    pub shape: Shape,
    /// Of its own resource it reads derived fields of lower ranks only, so that none needs itself there.
    pub rank: u32,
    /// May it be an error value never?
    pub strict: bool,
    /// Does it follow later?
    pub background: bool,
    /// Is it computed when it is read?
    pub lazy: bool,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// A value.
    One(Kind),
    /// A list of values.
    List(Kind),
    /// A resource.
    Resource(usize),
    /// Resources.
    Set(usize),
    /// A map of values.
    Map(Kind),
}

/// The kinds of values that expressions are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as in the language
pub enum Kind {
    Bool,
    Int,
    Float,
    Decimal,
    Str,
    Datetime,
    Date,
    Duration,
    Enum,
}

/// What a deletion does to a link that leads to what is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // as in the language
pub enum OnDelete {
    Unlink,
    Restrict,
    Cascade,
}

/// The type of a stored value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // as in the language
pub enum ValueType {
    Str,
    Int,
    Float,
    Bool,
    Decimal,
    Datetime,
    Date,
    Duration,
    Uuid,
    Bytes,
    Json,
    File,
    Enum(Vec<&'static str>),
    List(Box<ValueType>),
    Set(Box<ValueType>),
    Map(Box<ValueType>),
    /// An object; a union where it has a [`union::DISCRIMINATOR`].
    Object(Vec<Member>),
    /// A list of objects with members that follow from others; a union as above.
    Elements(Vec<Member>, Vec<DerivedMember>),
    /// Only as a member of the objects of a list.
    Link(usize, OnDelete),
}

/// A member of an object; of a union, in one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The variant whose it is; none of the discriminator, and of an object that is no union.
    pub of: Option<&'static str>,
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: ValueType,
    /// Its options.
    pub rules: Rules,
}

/// A member of an object that follows from others.
#[derive(Clone, Debug, PartialEq)]
pub struct DerivedMember {
    /// The variant whose it is, of a union.
    pub of: Option<&'static str>,
    /// Its name.
    pub name: &'static str,
    /// What it gives.
    pub kind: Kind,
    /// As written.
    pub text: String,
}

/// Options of a field or of a member.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // as in the language
pub struct Rules {
    pub required: bool,
    pub nullable: bool,
    pub default: Option<DefaultValue>,
    pub unique: bool,
    pub unique_in_parent: bool,
    pub ordered: bool,
    /// Of a stored field: does it stand in an abstract type that the type is?
    pub inherited: bool,
    /// Of a link: does it stand in an abstract type, with the links of the same name in other types?
    pub shared: bool,
    pub index: bool,
    pub immutable: bool,
    pub write_once: bool,
    pub append_only: bool,
    /// Is it told what it is for?
    pub described: bool,
    pub min: Option<Value>,
    pub max: Option<Value>,
    pub min_length: Option<usize>,
    pub max_length: Option<usize>,
    /// Of a file: how large it may be, and of which media types, which the one who receives it asks.
    pub accepts: bool,
    /// Is it made to stand for the id in paths?
    pub named: bool,
    /// Is there an index for a search?
    pub search: Option<&'static str>,
    /// The pattern is that the text starts with this.
    pub starts: Option<&'static str>,
    pub lower: bool,
    pub trim: bool,
}

/// A default.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultValue {
    /// Always the same.
    Constant(Value),
    /// The time of the commit.
    Now,
}

/// A fact that a resource may hold: a field that somebody writes, or the hidden link to a parent.
#[derive(Clone, Debug)]
pub struct Fact<'a> {
    /// The name that it is written under.
    pub name: String,
    /// What it holds.
    pub kind: FactKind<'a>,
    /// Its options; none for a parent.
    pub rules: Option<&'a Rules>,
}

/// What a fact holds.
#[derive(Clone, Copy, Debug)]
pub enum FactKind<'a> {
    /// A value.
    Stored(&'a ValueType),
    /// A reference.
    Link(usize, OnDelete),
    /// References.
    Links(usize, OnDelete),
    /// The parent, of a type.
    Parent(usize),
}

impl FactKind<'_> {
    /// The type of what it refers to.
    pub fn target(&self) -> Option<usize> {
        match self {
            FactKind::Stored(_) => None,
            FactKind::Link(target, _) | FactKind::Links(target, _) | FactKind::Parent(target) => {
                Some(*target)
            }
        }
    }
}

impl OnDelete {
    fn text(self) -> &'static str {
        match self {
            OnDelete::Unlink => "",
            OnDelete::Restrict => " on delete restrict",
            OnDelete::Cascade => " on delete cascade",
        }
    }
}

/// An object of the language: its members, those that follow from others behind the others; of a union, by variant.
fn write_object(members: &[Member], derived: &[DerivedMember], out: &mut String) {
    let form = |of: Option<&str>| {
        let stored = members.iter().filter(|member| member.of == of && member.name != union::DISCRIMINATOR);
        let stored = stored.map(|member| {
            let mut text = format!("{}: ", member.name);
            member.ty.write(&mut text);
            member.rules.write(&mut text);
            text
        });
        let derived = derived.iter().filter(|member| member.of == of);
        let derived = derived.map(|member| format!("{} := {}", member.name, member.text));
        format!("{{ {} }}", stored.chain(derived).collect::<Vec<_>>().join(", "))
    };
    match union::variants(members) {
        [] => out.push_str(&form(None)),
        variants => {
            let forms: Vec<String> =
                variants.iter().map(|name| format!("{name}: {}", form(Some(name)))).collect();
            write!(out, "union {} {{ {} }}", union::DISCRIMINATOR, forms.join(", "))
                .expect("a String takes all");
        }
    }
}

impl ValueType {
    /// The kind of its values in an expression, where it has one that expressions are made of.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            ValueType::Str => Kind::Str,
            ValueType::Int => Kind::Int,
            ValueType::Float => Kind::Float,
            ValueType::Bool => Kind::Bool,
            ValueType::Decimal => Kind::Decimal,
            ValueType::Datetime => Kind::Datetime,
            ValueType::Date => Kind::Date,
            ValueType::Duration => Kind::Duration,
            ValueType::Enum(_) => Kind::Enum,
            _ => return None,
        })
    }

    fn write(&self, out: &mut String) {
        match self {
            ValueType::Str => out.push_str("str"),
            ValueType::Int => out.push_str("int"),
            ValueType::Float => out.push_str("float"),
            ValueType::Bool => out.push_str("bool"),
            ValueType::Decimal => out.push_str("decimal"),
            ValueType::Datetime => out.push_str("datetime"),
            ValueType::Date => out.push_str("date"),
            ValueType::Duration => out.push_str("duration"),
            ValueType::Uuid => out.push_str("uuid"),
            ValueType::Bytes => out.push_str("bytes"),
            ValueType::Json => out.push_str("json"),
            ValueType::File => out.push_str("file"),
            ValueType::Enum(words) => out.push_str(&format!("'{}'", words.join("' | '"))),
            ValueType::List(of) => of.write_within("[", "]", out),
            ValueType::Set(of) => of.write_within("set<", ">", out),
            ValueType::Map(of) => of.write_within("map<", ">", out),
            ValueType::Object(members) => write_object(members, &[], out),
            ValueType::Elements(members, derived) => {
                out.push('[');
                write_object(members, derived, out);
                out.push(']');
            }
            ValueType::Link(target, rule) => {
                write!(out, "link {}{}", TYPES[*target], rule.text()).expect("a String takes all");
            }
        }
    }

    fn write_within(&self, before: &str, after: &str, out: &mut String) {
        out.push_str(before);
        self.write(out);
        out.push_str(after);
    }
}

/// A value as a literal of the language.
fn literal(value: &Value) -> String {
    match value {
        Value::Int(_) | Value::Float(_) | Value::Decimal(_) | Value::Bool(_) => value.to_string(),
        Value::List(elements) => format!("[{}]", elements.iter().map(literal).collect::<Vec<_>>().join(", ")),
        value => format!("'{value}'"),
    }
}

impl Rules {
    fn write(&self, out: &mut String) {
        let flags = [
            (self.required, " required"),
            (self.nullable, " nullable"),
            (self.unique, " unique"),
            (self.unique_in_parent, " unique in parent"),
            (self.index, " index"),
            (self.immutable, " immutable"),
            (self.write_once, " write once"),
            (self.append_only, " append only"),
            (self.described, " description 'what it is'"),
        ];
        flags.iter().filter(|(is, _)| *is).for_each(|(_, text)| out.push_str(text));
        let values = [("min", &self.min), ("max", &self.max)];
        let lengths = [("min_length", self.min_length), ("max_length", self.max_length)];
        let given = values.iter().filter_map(|(name, value)| Some((*name, literal(value.as_ref()?))));
        let given =
            given.chain(lengths.iter().filter_map(|(name, n)| Some((*name, n.as_ref()?.to_string()))));
        for (name, value) in given {
            write!(out, " {name} {value}").expect("a String takes all");
        }
        if self.accepts {
            out.push_str(" max '1 GiB' accept ['text/*', 'image/png']");
        }
        if let Some(starts) = self.starts {
            write!(out, " pattern '^{starts}'").expect("a String takes all");
        }
        if let Some(search) = self.search {
            write!(out, " search {search}").expect("a String takes all");
        }
        match (self.lower, self.trim) {
            (true, true) => out.push_str(" normalize (lower, trim)"),
            (true, false) => out.push_str(" normalize (lower)"),
            (false, true) => out.push_str(" normalize (trim)"),
            (false, false) => {}
        }
        match &self.default {
            Some(DefaultValue::Constant(value)) => {
                write!(out, " default {}", literal(value)).expect("a String takes all");
            }
            Some(DefaultValue::Now) => out.push_str(" default now()"),
            None => {}
        }
    }
}

/// A derived field by type and name, and where its text stands.
pub type PlaceInText = (usize, String, Range<usize>);

impl Draft {
    /// The text, and where each derived field stands in it.
    pub fn text(&self) -> (String, Vec<PlaceInText>) {
        let (mut out, mut places) = (String::new(), Vec::new());
        owners::write_shared(self, &mut out);
        for at in self.order.iter().copied() {
            let ty = &self.types[at];
            let root = if ty.root { format!(" in {}", root_name(ty.name)) } else { String::new() };
            let inherited =
                |field: &&FieldDraft| field.rules.inherited && matches!(field.kind, FieldKind::Stored(_));
            let mut is = String::new();
            if ty.fields.iter().any(|field| inherited(&field)) {
                is = format!(" is Any{}", ty.name);
                writeln!(out, "abstract type Any{} {{", ty.name).expect("a String takes all");
                for field in ty.fields.iter().filter(inherited) {
                    self.write_field(field, &mut out);
                    out.push('\n');
                }
                out.push_str("}\n");
            }
            for field in ty.fields.iter().filter(|field| field.rules.shared) {
                is.push_str(if is.is_empty() { " is " } else { ", " });
                is.push_str(&owners::interface(&field.name));
            }
            let history = if ty.history { " history" } else { "" };
            let path = ty.path.as_ref().map_or(String::new(), |name| format!(" path {name}"));
            let life = ty.life.text();
            write!(out, "type {}{is}{root}{path}", ty.name).expect("a String takes all");
            if let Some(url) = &ty.url {
                let start = out.len();
                write!(out, " url := {}", url.text).expect("a String takes all");
                places.push((at, URL.to_string(), start..out.len()));
            }
            let indexes = indexes::text(self, at);
            writeln!(out, "{life}{history}{indexes} {{").expect("a String takes all");
            for field in ty.fields.iter().filter(|field| !inherited(field) && !field.rules.shared) {
                let start = out.len();
                self.write_field(field, &mut out);
                let follows = match &field.kind {
                    FieldKind::Derived(_) => true,
                    FieldKind::Stored(ValueType::Elements(_, derived)) => !derived.is_empty(),
                    _ => false,
                };
                if follows {
                    places.push((at, field.name.clone(), start..out.len()));
                }
                out.push('\n');
            }
            out.push_str("}\n");
        }
        self.write_mounts(&mut out);
        (out, places)
    }

    /// The field with the names of actors: the first that may have them. It says something to rules alone.
    fn named_by(&self) -> Option<&FieldDraft> {
        let mut fields = self.types.iter().flat_map(|ty| &ty.fields);
        fields.find(|field| matches!(field.kind, FieldKind::Stored(ValueType::Str)) && field.rules.unique)
    }

    /// Writes mounts, which are no part of the data: they come and go with other changes, and nothing may follow from that.
    fn write_mounts(&self, out: &mut String) {
        for at in self.order.iter().copied().filter(|at| self.types[*at].root) {
            let ty = &self.types[at];
            let (name, root) = (ty.name, root_name(ty.name));
            match (self.next_name as usize + at) % 3 {
                0 => writeln!(out, "mount seen/{root} of {name} {{ allow read, update, delete }}"),
                1 => {
                    let stored = ty.fields.iter().find(|field| matches!(field.kind, FieldKind::Stored(_)));
                    let Some(field) = stored else { continue };
                    writeln!(
                        out,
                        "mount named/{root} of {name} {{ allow read, fields shown: {} }}",
                        field.name
                    )
                }
                _ => continue,
            }
            .expect("a String takes all");
        }
    }

    pub(crate) fn write_field(&self, field: &FieldDraft, out: &mut String) {
        write!(out, "  {}", field.name).expect("a String takes all");
        let name = |ty: usize| self.types[ty].name;
        match &field.kind {
            FieldKind::Stored(ty) => {
                out.push_str(": ");
                ty.write(out);
                field.rules.write(out);
                if self.named_by().is_some_and(|it| std::ptr::eq(it, field)) {
                    out.push_str(" actor");
                }
            }
            FieldKind::Link(target, on_delete) | FieldKind::Links(target, on_delete) => {
                let word = if matches!(field.kind, FieldKind::Link(..)) { "link" } else { "links" };
                write!(out, ": {word} {}{}", name(*target), on_delete.text()).expect("a String takes all");
                field.rules.write(out);
            }
            FieldKind::Among(targets, on_delete, many) => {
                let word = if *many { "links" } else { "link" };
                let names: Vec<&str> = targets.iter().map(|target| name(*target)).collect();
                write!(out, ": {word} {}{}", names.join(" | "), on_delete.text())
                    .expect("a String takes all");
                field.rules.write(out);
            }
            FieldKind::Collection(child) => {
                let order = if field.rules.ordered { "ordered " } else { "" };
                write!(out, ": {order}collection {}", name(*child)).expect("a String takes all");
            }
            FieldKind::Owned(children) => {
                let names: Vec<&str> = children.iter().map(|child| name(*child)).collect();
                write!(out, ": collection {}", names.join(" | ")).expect("a String takes all");
            }
            FieldKind::InverseOfAll(_, of) => {
                write!(out, ": inverse {}.{of}", owners::interface(of)).expect("a String takes all");
            }
            FieldKind::Inverse(ty, of) => {
                write!(out, ": inverse {}.{of}", name(*ty)).expect("a String takes all");
            }
            FieldKind::Derived(derived) => {
                write!(out, " := {}", derived.text).expect("a String takes all");
                if derived.strict {
                    out.push_str(", strict");
                }
                if derived.background {
                    out.push_str(", background");
                }
                if derived.lazy {
                    out.push_str(", lazy");
                }
                if field.rules.index {
                    out.push_str(", index");
                }
            }
        }
    }

    /// A field by name.
    pub fn field(&self, ty: usize, name: &str) -> Option<&FieldDraft> {
        self.types[ty].fields.iter().find(|field| field.name == name)
    }

    /// The derived fields, with their types.
    pub fn derived(&self) -> impl Iterator<Item = (usize, &FieldDraft, &Derived)> {
        self.types.iter().enumerate().flat_map(|(at, ty)| {
            ty.fields.iter().filter_map(move |field| match &field.kind {
                FieldKind::Derived(derived) => Some((at, field, derived)),
                _ => None,
            })
        })
    }

    /// How many members of embedded objects follow from others.
    pub fn derived_members(&self) -> usize {
        let fields = self.types.iter().flat_map(|ty| &ty.fields);
        let members = fields.map(|field| match &field.kind {
            FieldKind::Stored(ValueType::Elements(_, derived)) => derived.len(),
            _ => 0,
        });
        members.sum()
    }

    /// All that a resource of a type may hold because somebody wrote it.
    pub fn facts(&self, ty: usize) -> Vec<Fact<'_>> {
        let own = self.types[ty].fields.iter().flat_map(|field| {
            let one = |kind| vec![Fact { name: field.name.clone(), kind, rules: Some(&field.rules) }];
            match &field.kind {
                FieldKind::Stored(of) => one(FactKind::Stored(of)),
                FieldKind::Link(target, on_delete) => one(FactKind::Link(*target, *on_delete)),
                FieldKind::Links(target, on_delete) => one(FactKind::Links(*target, *on_delete)),
                FieldKind::Among(targets, on_delete, many) => {
                    let parts = targets.iter().map(|target| {
                        let kind = match many {
                            true => FactKind::Links(*target, *on_delete),
                            false => FactKind::Link(*target, *on_delete),
                        };
                        Fact { name: among::part(&field.name, *target), kind, rules: Some(&field.rules) }
                    });
                    parts.collect()
                }
                _ => Vec::new(),
            }
        });
        let parents = self.parents(ty).into_iter();
        let parents = parents.map(|(owner, name)| Fact { name, kind: FactKind::Parent(owner), rules: None });
        own.chain(parents).collect()
    }

    /// The types whose collections hold a type, and the names of the links to them.
    pub fn parents(&self, child: usize) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (owner, ty) in self.types.iter().enumerate() {
            for field in &ty.fields {
                let holds = match &field.kind {
                    FieldKind::Collection(of) => *of == child,
                    FieldKind::Owned(children) => children.contains(&child),
                    _ => false,
                };
                if holds {
                    found.push((owner, format!("parent_{}_{}", ty.name.to_lowercase(), field.name)));
                }
            }
        }
        found
    }

    /// Can there be resources of a type at all, in a root collection or below others?
    pub fn may_exist(&self, ty: usize) -> bool {
        let mut above = vec![ty];
        let mut seen = vec![false; self.types.len()];
        while let Some(ty) = above.pop() {
            if self.types[ty].root {
                return true;
            }
            if !std::mem::replace(&mut seen[ty], true) {
                above.extend(self.parents(ty).into_iter().map(|(parent, _)| parent));
            }
        }
        false
    }

    /// Those of the names in [`Draft::parents`] behind which the collection is ordered.
    pub fn ordered_parents(&self, child: usize) -> Vec<(usize, String)> {
        let ordered = |(owner, name): &(usize, String)| {
            let of =
                self.types[*owner].fields.iter().filter(|field| name.ends_with(&format!("_{}", field.name)));
            of.into_iter().any(|field| field.rules.ordered && matches!(field.kind, FieldKind::Collection(_)))
        };
        self.parents(child).into_iter().filter(ordered).collect()
    }

    /// The links to a type, each with the name of its way back.
    pub fn reverses(&self, target: usize) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (source, ty) in self.types.iter().enumerate() {
            for field in &ty.fields {
                if let FieldKind::Stored(of) = &field.kind {
                    for (member, ..) in elements::links(of).filter(|(_, to, _)| *to == target) {
                        found.push((
                            source,
                            format!("link_{}_{}_{member}", ty.name.to_lowercase(), field.name),
                        ));
                    }
                }
                let leads = match &field.kind {
                    FieldKind::Link(to, _) | FieldKind::Links(to, _) => *to == target,
                    FieldKind::Among(targets, ..) => targets.contains(&target),
                    _ => false,
                };
                if leads {
                    found.push((source, format!("link_{}_{}", ty.name.to_lowercase(), field.name)));
                }
            }
        }
        found
    }

    /// A name that no field has had.
    pub fn fresh_name(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("{prefix}{}", self.next_name)
    }
}

/// The root collection of a type.
pub fn root_name(ty: &str) -> String {
    format!("{}s", ty.to_lowercase())
}
