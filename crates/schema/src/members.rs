//! The members of embedded objects, and which of them the variants of a union have.
//!
//! A union is an object of one of several forms. Its [`Members`] are those of all forms, so whoever reads a value knows
//! objects only: what another variant has is not there. Which of them an object may have, and by which rules, is asked
//! with the object ([`Members::of`]). What always holds: the discriminator comes first, is required, and is an enum of the
//! names of the variants; a member that several variants have is of one type, and its rules are those of each variant; a
//! member that follows from others does so in each variant that has it.
//!
//! A file is an object too, with the members of [`FILE`]: what is known of its bytes, which are kept elsewhere.
//!
//! Read next: `check/values.rs`, which makes them, and `engine/src/rules.rs`, which holds values to them.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use corollary_value::{Id, Value};
use smol_str::SmolStr;

use crate::model::{FieldRef, Rules, ValueType};

/// A member of an embedded object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: SmolStr,
    /// Its type.
    pub ty: ValueType,
    /// Rules for its values. Of a member of a union but the discriminator there are none here: see [`Members::of`].
    pub rules: Rules,
    /// Does it follow from others? Then it is only in what is read, never in what is written.
    pub derived: bool,
}

/// The members of an embedded object, in the order in which they are declared; of a union, those of all variants. Types are
/// copied often, so it is a pointer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members(Arc<Declared>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Declared {
    all: Vec<Member>,
    union: Option<Union>,
    /// Does it tell of a file?
    file: bool,
}

/// What is known of a file, in this order: its media type, its size in bytes, its digest as in `Repr-Digest`
/// (`sha-256=:…:`), and the name that came with it, if one did.
pub const FILE: [&str; 4] = ["type", "size", "digest", "name"];

/// What makes an object a union.
#[derive(Clone, Debug, PartialEq)]
pub struct Union {
    /// The member that says which variant an object is.
    pub discriminator: SmolStr,
    /// The variants, in the order in which they are declared; at least one.
    pub variants: Vec<Variant>,
}

/// One form of the objects of a union.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name, the value of the discriminator.
    pub name: SmolStr,
    /// For people.
    pub description: Option<SmolStr>,
    /// Its members but the discriminator, by name, each with the rules that it has here.
    pub members: Vec<(SmolStr, Rules)>,
}

impl Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        &self.0.all
    }
}

impl DerefMut for Members {
    fn deref_mut(&mut self) -> &mut [Member] {
        &mut Arc::make_mut(&mut self.0).all
    }
}

impl From<Vec<Member>> for Members {
    fn from(all: Vec<Member>) -> Members {
        Members(Arc::new(Declared { all, union: None, file: false }))
    }
}

impl FromIterator<Member> for Members {
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Members {
        members.into_iter().collect::<Vec<Member>>().into()
    }
}

impl<'m> IntoIterator for &'m Members {
    type Item = &'m Member;
    type IntoIter = std::slice::Iter<'m, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.all.iter()
    }
}

impl Union {
    /// The variant with a name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// The variant that an object says it is; none where it does not say, or there is none of that name.
    pub fn variant_of(&self, object: &[(SmolStr, Value)]) -> Option<&Variant> {
        let (_, said) = object.iter().find(|(name, _)| *name == self.discriminator)?;
        match said {
            Value::Str(name) => self.variant(name),
            _ => None,
        }
    }

    /// The names of the variants that have a member.
    pub fn variants_with(&self, member: &str) -> Vec<&str> {
        let having = self.variants.iter().filter(|variant| variant.has(member));
        having.map(|variant| variant.name.as_str()).collect()
    }
}

impl Variant {
    /// Has it a member of the name, other than the discriminator?
    pub fn has(&self, member: &str) -> bool {
        self.rules(member).is_some()
    }

    /// The rules that a member has here.
    pub fn rules(&self, member: &str) -> Option<&Rules> {
        self.members.iter().find(|(name, _)| name == member).map(|(_, rules)| rules)
    }
}

impl Members {
    /// A union whose only member so far is the discriminator, with its variants, which have none.
    pub fn union_of(discriminator: SmolStr, variants: Vec<Variant>) -> Members {
        let words = variants.iter().map(|variant| variant.name.clone()).collect();
        let rules = Rules { required: true, ..Rules::default() };
        let member =
            Member { name: discriminator.clone(), ty: ValueType::Enum(words), rules, derived: false };
        let union = Some(Union { discriminator, variants });
        Members(Arc::new(Declared { all: vec![member], union, file: false }))
    }

    /// What is known of a file.
    pub fn of_file() -> Members {
        let member = |name: &str| {
            let ty = if name == "size" { ValueType::Int } else { ValueType::Str };
            let rules = Rules { required: name != "name", ..Rules::default() };
            Member { name: name.into(), ty, rules, derived: false }
        };
        Members(Arc::new(Declared { all: FILE.into_iter().map(member).collect(), union: None, file: true }))
    }

    /// Does it tell of a file?
    pub fn is_file(&self) -> bool {
        self.0.file
    }

    /// What makes it a union, if it is one.
    pub fn union(&self) -> Option<&Union> {
        self.0.union.as_ref()
    }

    /// The member with a name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.0.all.iter().find(|member| member.name == name)
    }

    /// Adds a member; of a union, to one variant, whose rules its rules are. Where another variant has the member, it has
    /// to be of the same type.
    pub fn add(&mut self, variant: Option<&str>, mut member: Member) {
        let declared = Arc::make_mut(&mut self.0);
        if let (Some(union), Some(variant)) = (&mut declared.union, variant) {
            let rules = std::mem::take(&mut member.rules);
            if let Some(variant) = union.variants.iter_mut().find(|other| other.name == variant) {
                variant.members.push((member.name.clone(), rules));
            }
        }
        if declared.all.iter().all(|other| other.name != member.name) {
            declared.all.push(member);
        }
    }

    /// The members that objects of a variant have, with the rules that they have there; of an object that is no union, all.
    pub fn within(&self, variant: Option<&str>) -> Members {
        let Some(union) = self.union() else { return self.clone() };
        let variant = variant.and_then(|name| union.variant(name));
        let own = |(member, rules): (&Member, &Rules)| Member { rules: rules.clone(), ..member.clone() };
        self.of_variant(variant).map(own).collect()
    }

    /// The members that an object may have, in the order in which they are declared, each with its rules: of a union,
    /// the discriminator and those of the variant that the object says it is, and where it says none, the discriminator alone.
    pub fn of<'m>(
        &'m self,
        object: &[(SmolStr, Value)],
    ) -> impl Iterator<Item = (&'m Member, &'m Rules)> + use<'m> {
        self.of_variant(self.union().and_then(|union| union.variant_of(object)))
    }

    /// The discriminator, and behind it the members of a variant in the order in which that declares them; of an object that
    /// is no union, all of its members.
    pub fn of_variant<'m>(
        &'m self,
        variant: Option<&'m Variant>,
    ) -> impl Iterator<Item = (&'m Member, &'m Rules)> + use<'m> {
        let union = self.union();
        let of_all =
            self.iter().filter(move |member| union.is_none_or(|union| union.discriminator == member.name));
        let own = variant.into_iter().flat_map(|variant| &variant.members);
        let own = own.filter_map(|(name, rules)| Some((self.named(name)?, rules)));
        of_all.map(|member| (member, &member.rules)).chain(own)
    }
}

/// [`ValueType::for_links`] for the members of an object.
pub fn for_links_of(members: &mut [Member], path: &str, f: &mut dyn FnMut(&str, &mut Member)) {
    for member in members {
        let path = format!("{path}.{}", member.name);
        if member.ty.via().is_some() {
            f(&path, member);
        } else {
            member.ty.for_links(&path, f);
        }
    }
}

/// [`ValueType::references`] for an object, or each of a list of them.
pub fn references_of<'v>(members: &[Member], via: FieldRef, value: &'v Value, f: &mut dyn FnMut(&'v Id)) {
    match value {
        Value::Object(held) => {
            for (name, value) in held.iter() {
                if let Some(member) = members.iter().find(|member| member.name == *name) {
                    member.ty.references(via, value, f);
                }
            }
        }
        Value::List(elements) => elements.iter().for_each(|element| references_of(members, via, element, f)),
        _ => {}
    }
}
