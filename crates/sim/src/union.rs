//! Unions of objects, as the language says it: which members an object may have, and what becomes of it when it becomes
//! one of another variant.
//!
//! A union is drafted as an object with the members of all variants, a member for each variant that has it; the
//! discriminator stands first. Its types are the same in all, its options are those of the variant.

use corollary_value::Value;
use jiff::Timestamp;
use smol_str::SmolStr;

use crate::draft::{Member, Rules, ValueType};
use crate::random::Random;
use crate::rules::{self, Fill};

/// The member that says which variant an object is; objects that are no unions have none of the name.
pub const DISCRIMINATOR: &str = "kind";

/// The variants that there may be.
pub const NAMES: [&str; 3] = ["u", "v", "z"];

/// The discriminator of some variants.
pub fn discriminator(variants: &[&'static str]) -> Member {
    let rules = Rules { required: true, ..Rules::default() };
    Member { of: None, name: DISCRIMINATOR, ty: ValueType::Enum(variants.to_vec()), rules }
}

/// Adds a variant without members to a union that has not all; gives its name.
pub fn add_variant(declared: &mut [Member]) -> Option<&'static str> {
    let known = variants(declared);
    let new = NAMES.into_iter().find(|name| !known.contains(name))?;
    declared[0] = discriminator(&[known, &[new]].concat());
    Some(new)
}

/// Takes a variant of a union out, with its members.
pub fn remove_variant(declared: &mut Vec<Member>, random: &mut Random) {
    let mut left = variants(declared).to_vec();
    let gone = left.remove(random.below(left.len()));
    declared[0] = discriminator(&left);
    declared.retain(|member| member.of != Some(gone));
}

/// The variants of a union; none of other objects.
pub fn variants(declared: &[Member]) -> &[&'static str] {
    match declared.first() {
        Some(Member { name: DISCRIMINATOR, ty: ValueType::Enum(words), .. }) => words,
        _ => &[],
    }
}

/// The variant that an object is, where it says so.
pub fn variant_of(declared: &[Member], object: &[(SmolStr, Value)]) -> Option<&'static str> {
    let (_, said) = object.iter().find(|(name, _)| name == DISCRIMINATOR)?;
    let Value::Str(said) = said else { return None };
    variants(declared).iter().find(|name| **name == said.as_str()).copied()
}

/// The members that an object may have.
pub fn form<'d>(
    declared: &'d [Member],
    object: &[(SmolStr, Value)],
) -> impl Iterator<Item = &'d Member> + use<'d> {
    let variant = variant_of(declared, object);
    declared.iter().filter(move |member| member.of.is_none() || member.of == variant)
}

/// The members of a random variant, and the name of it; of other objects all.
pub fn random_form<'d>(
    random: &mut Random,
    declared: &'d [Member],
) -> (Option<&'static str>, Vec<&'d Member>) {
    let variant = random.pick_any(variants(declared)).copied();
    (variant, declared.iter().filter(|member| member.of.is_none() || member.of == variant).collect())
}

/// What is left of an object that was something else before, and what it gets, where that was of another variant; `edited`
/// are the members that the edit names.
pub fn switched(
    declared: &[Member],
    before: &Value,
    mut object: Vec<(SmolStr, Value)>,
    edited: &[&str],
    now: Timestamp,
) -> Value {
    let was = if let Value::Object(before) = before { variant_of(declared, before) } else { None };
    let is = variant_of(declared, &object);
    if was.is_none() || is.is_none() || was == is {
        return Value::Object(object.into());
    }
    let has = |variant: Option<&str>, name: &str| {
        declared.iter().any(|member| member.of == variant && member.name == name)
    };
    object.retain(|(name, _)| edited.contains(&name.as_str()) || !has(was, name) || has(is, name));
    let ty = ValueType::Object(declared.to_vec());
    rules::stored_form(&ty, &Rules::default(), Value::Object(object.into()), Fill::All, now)
}
