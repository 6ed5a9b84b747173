//! Lists of embedded objects that hold links and members that follow from others: how they are made, and what a
//! deletion does to their links.

use corollary_value::{Id, Value};

use crate::draft::{
    DerivedMember, Draft, FieldDraft, FieldKind, Kind, Member, OnDelete, Rules, Shape, ValueType,
};
use crate::express::{Express, Standing};
use crate::random::Random;
use crate::union;

/// The rank of derived members: they read facts only, and all derived fields may read them.
pub const MEMBER_RANK: u32 = 1;

/// How deep the expression of a derived member may become.
const MEMBER_DEPTH: u32 = 2;

/// Adds a field with a list of objects to a type; gives its name.
pub fn add(draft: &mut Draft, random: &mut Random, ty: usize) -> String {
    let name = draft.fresh_name("e");
    let mut members = Vec::new();
    for (at, (name, of)) in
        [("m", ValueType::Int), ("k", ValueType::Float), ("w", ValueType::Str)].into_iter().enumerate()
    {
        if at == 0 || random.percent(50) {
            members.push(Member { of: None, name, ty: of, rules: Rules::default() });
        }
    }
    if random.percent(80) {
        let rule = *random.pick(&[OnDelete::Unlink, OnDelete::Unlink, OnDelete::Restrict, OnDelete::Cascade]);
        let target = random.below(draft.types.len());
        let rules = Rules { required: random.percent(10), ..Rules::default() };
        members.push(Member { of: None, name: "l", ty: ValueType::Link(target, rule), rules });
    }
    if random.percent(40) {
        // All variants have the first, which what is derived reads; of the others each may have some.
        let mut union = vec![union::discriminator(&union::NAMES[..2])];
        for (at, member) in members.into_iter().enumerate() {
            let alone = random.below(3);
            let has = |n: usize| at == 0 || alone == 2 || alone == n;
            let variants = union::NAMES[..2].iter().enumerate().filter(|(n, _)| has(*n));
            union.extend(variants.map(|(_, variant)| Member { of: Some(variant), ..member.clone() }));
        }
        members = union;
    }
    let derived = derived(draft, random, ty, &name, &members);
    let kind = FieldKind::Stored(ValueType::Elements(members, derived));
    draft.types[ty].fields.push(FieldDraft { name: name.clone(), kind, rules: Rules::default() });
    name
}

/// Writes other derived members into a list of objects that a type has, if it has one.
pub fn rewrite(draft: &mut Draft, random: &mut Random, ty: usize) {
    let fields = draft.types[ty].fields.iter().enumerate();
    let holders: Vec<usize> = fields
        .filter(|(_, field)| matches!(field.kind, FieldKind::Stored(ValueType::Elements(..))))
        .map(|(at, _)| at)
        .collect();
    let Some(at) = random.pick_any(&holders).copied() else { return };
    let FieldDraft { name, kind: FieldKind::Stored(ValueType::Elements(members, _)), .. } =
        draft.types[ty].fields[at].clone()
    else {
        return;
    };
    let made = derived(draft, random, ty, &name, &members);
    if let FieldKind::Stored(ValueType::Elements(_, derived)) = &mut draft.types[ty].fields[at].kind {
        *derived = made;
    }
}

/// The derived members of a list of objects; of a union, some of each variant.
fn derived(
    draft: &Draft,
    random: &mut Random,
    ty: usize,
    field: &str,
    members: &[Member],
) -> Vec<DerivedMember> {
    let kinds = [Kind::Int, Kind::Int, Kind::Float, Kind::Str, Kind::Bool, Kind::Decimal];
    let mut named = ["x", "y"].map(|name| (name, *random.pick(&kinds)));
    let variants = union::variants(members);
    if variants.is_empty() {
        return derived_of(draft, random, (ty, field), members, None, &named);
    }
    let mut made = Vec::new();
    for variant in variants {
        // In each in an order of its own.
        random.shuffle(&mut named);
        let form: Vec<Member> = members.iter().filter(|it| it.of == Some(variant)).cloned().collect();
        let few = &named[..random.below(3)];
        made.extend(derived_of(draft, random, (ty, field), &form, Some(variant), few));
    }
    made
}

/// Derived members of some names and kinds, over the members of a form.
fn derived_of(
    draft: &Draft,
    random: &mut Random,
    (ty, field): (usize, &str),
    members: &[Member],
    variant: Option<&'static str>,
    named: &[(&'static str, Kind)],
) -> Vec<DerivedMember> {
    let mut made: Vec<DerivedMember> = Vec::new();
    for (name, kind) in named.iter().copied() {
        let own = members.iter().filter(|member| member.ty.kind() == Some(kind)).map(|member| member.name);
        let own: Vec<&str> =
            own.chain(made.iter().filter(|other| other.kind == kind).map(|other| other.name)).collect();
        let linked = members.iter().find_map(|member| match member.ty {
            ValueType::Link(target, _) => Some(target),
            _ => None,
        });
        let linked: Vec<&str> = linked.map_or(Vec::new(), |target| {
            let fields = draft.types[target].fields.iter();
            let of_kind = |field: &&FieldDraft| match &field.kind {
                FieldKind::Stored(of) => of.kind() == Some(kind),
                _ => false,
            };
            fields.filter(of_kind).map(|field| field.name.as_str()).collect()
        });
        let outer =
            Express::new(draft, random, ty, Standing::Derived(0), MEMBER_DEPTH).shaped(&Shape::One(kind));
        let text = match (random.below(7), random.pick_any(&own), random.pick_any(&linked)) {
            (0 | 1, Some(own), _) if kind != Kind::Bool => {
                outer.map_or(format!("self.{own} + self.{own}"), |outer| format!("(self.{own} + {outer})"))
            }
            (5, ..) if kind == Kind::Int => format!("count(parent.{field}) - self.m"),
            (6, ..) if kind == Kind::Int => format!("sum(parent.{field}.m) + self.m"),
            (2 | 3, _, Some(of)) => format!("self.l.{of}"),
            _ => match outer {
                Some(outer) => outer,
                None => continue,
            },
        };
        made.push(DerivedMember { of: variant, name, kind, text });
    }
    made
}

/// The links in objects of a type: the member, where it leads, and what a deletion there does; to one that must be
/// there the deletion is forbidden.
pub fn links(ty: &ValueType) -> impl Iterator<Item = (&'static str, usize, OnDelete)> {
    let members = match ty {
        ValueType::Elements(members, _) => members.as_slice(),
        _ => &[],
    };
    // Of a union, the same in each variant.
    let first = |at: usize| members[..at].iter().all(|other| other.name != members[at].name);
    let members = members.iter().enumerate().filter(move |(at, _)| first(*at)).map(|(_, member)| member);
    members.filter_map(|member| match member.ty {
        ValueType::Link(target, OnDelete::Unlink) if member.rules.required => {
            Some((member.name, target, OnDelete::Restrict))
        }
        ValueType::Link(target, rule) => Some((member.name, target, rule)),
        _ => None,
    })
}

/// What a member of each of a list of objects refers to.
pub fn references(value: Option<&Value>, name: &str) -> Vec<Id> {
    let Some(Value::List(objects)) = value else { return Vec::new() };
    let mut found = Vec::new();
    for object in objects.iter() {
        let Value::Object(members) = object else { continue };
        for (member, value) in members.iter() {
            if let Value::Ref(id) = value
                && member == name
            {
                found.push(id.clone());
            }
        }
    }
    found
}

/// A list of objects with another reference in place of each; none takes the member out.
pub fn with_references(value: &Value, other: &mut dyn FnMut(&str, &Id) -> Option<Id>) -> Value {
    let Value::List(objects) = value else { return value.clone() };
    let objects = objects.iter().map(|object| {
        let Value::Object(members) = object else { return object.clone() };
        let members = members.iter().filter_map(|(name, value)| {
            Some((
                name.clone(),
                match value {
                    Value::Ref(id) => Value::Ref(other(name, id)?),
                    value => value.clone(),
                },
            ))
        });
        Value::Object(members.collect())
    });
    Value::List(objects.collect())
}
