//! Collections of several types, and links of abstract types with their inverses, in random schemas.
//!
//! A child of several types has its parent as a child of one type has. A link that several types share by an abstract type
//! is a link of each in the draft, marked as shared, with the same name and options in all, which therefore never change.

use std::collections::BTreeMap;
use std::fmt::Write;

use corollary_value::Id;

use crate::draft::{Draft, FieldDraft, FieldKind, OnDelete, Rules, ValueType};
use crate::model::{Facts, targets};
use crate::names;
use crate::random::Random;

/// The abstract type of a link that several types share.
pub fn interface(link: &str) -> String {
    format!("All{}", link.to_uppercase())
}

/// Writes the abstract types of all links that several types share.
pub fn write_shared(draft: &Draft, out: &mut String) {
    let mut written: Vec<&str> = Vec::new();
    for field in draft.types.iter().flat_map(|ty| &ty.fields).filter(|field| field.rules.shared) {
        if !written.contains(&field.name.as_str()) {
            written.push(&field.name);
            writeln!(out, "abstract type {} {{", interface(&field.name)).expect("a String takes all");
            draft.write_field(field, out);
            out.push_str("\n}\n");
        }
    }
}

/// Some types, which have a field in common from now on.
fn several(draft: &mut Draft, random: &mut Random) -> Vec<usize> {
    let mut types: Vec<usize> = (0..draft.types.len()).collect();
    random.shuffle(&mut types);
    types.truncate(2 + random.below(2));
    let name = draft.fresh_name("f");
    let of = [ValueType::Int, ValueType::Float, ValueType::Str][random.below(3)].clone();
    for ty in &types {
        let kind = FieldKind::Stored(of.clone());
        draft.types[*ty].fields.push(FieldDraft { name: name.clone(), kind, rules: Rules::default() });
    }
    types
}

/// A collection of several types, or a link of several with its inverse.
pub fn add(draft: &mut Draft, random: &mut Random, ty: usize) {
    let types = several(draft, random);
    let plain = |name: String, kind: FieldKind| FieldDraft { name, kind, rules: Rules::default() };
    let name = draft.fresh_name("r");
    if random.percent(50) {
        draft.types[ty].fields.push(plain(name, FieldKind::Owned(types)));
        return;
    }
    let on_delete =
        [OnDelete::Unlink, OnDelete::Unlink, OnDelete::Restrict, OnDelete::Cascade][random.below(4)];
    let many = random.percent(40);
    let kind = if many { FieldKind::Links(ty, on_delete) } else { FieldKind::Link(ty, on_delete) };
    let rules = Rules { shared: true, index: !many && random.percent(15), ..Rules::default() };
    for source in &types {
        let field = FieldDraft { name: name.clone(), kind: kind.clone(), rules: rules.clone() };
        draft.types[*source].fields.push(field);
    }
    let inverse = draft.fresh_name("i");
    draft.types[ty].fields.push(plain(inverse, FieldKind::InverseOfAll(types, name)));
}

/// The ways from a type to resources of several types, each with these.
pub fn lists(draft: &Draft, ty: usize) -> Vec<(String, Vec<usize>)> {
    let mut found = Vec::new();
    for field in &draft.types[ty].fields {
        match &field.kind {
            FieldKind::Owned(types) => found.push((field.name.clone(), types.clone())),
            FieldKind::InverseOfAll(types, link) => {
                found.push((field.name.clone(), types.clone()));
                found.push((format!("link_all_{link}_{link}"), types.clone()));
            }
            _ => {}
        }
    }
    found
}

/// Ways from a type by way of several types back to it.
pub fn ways_back(draft: &Draft, ty: usize) -> Vec<String> {
    let owner = draft.types[ty].name.to_lowercase();
    let way = |field: &FieldDraft| match &field.kind {
        FieldKind::Owned(_) => Some(format!("{0}.parent_{owner}_{0}", field.name)),
        FieldKind::InverseOfAll(_, link) => Some(format!("{}.{link}", field.name)),
        _ => None,
    };
    draft.types[ty].fields.iter().filter_map(way).collect()
}

/// Does an id or a name lead to two children of different types, under one parent in one collection?
pub fn has_twins(draft: &Draft, facts: &Facts) -> bool {
    draft.types.iter().any(|owner| {
        owner.fields.iter().any(|field| {
            let FieldKind::Owned(types) = &field.kind else { return false };
            let link = format!("parent_{}_{}", owner.name.to_lowercase(), field.name);
            let mut leads: BTreeMap<(Id, String), usize> = BTreeMap::new();
            types.iter().any(|ty| {
                facts.of_type(*ty).any(|place| {
                    let record = &facts.records[place];
                    let name = names::name_of(draft, *ty, record).map(str::to_owned);
                    let segments: Vec<String> = name.into_iter().chain([place.id.to_string()]).collect();
                    targets(record.get(&link)).into_iter().any(|above| {
                        segments.iter().any(|segment| {
                            *leads.entry((above.clone(), segment.clone())).or_insert(*ty) != *ty
                        })
                    })
                })
            })
        })
    })
}
