//! Random schemas, and random changes of one.

use corollary_schema::{Ids, check};
use corollary_syntax::render;
use corollary_value::Value;

use crate::among;
use crate::draft::{
    DefaultValue, Derived, Draft, FieldDraft, FieldKind, Kind, Member, OnDelete, Rules, Shape, TypeDraft,
    ValueType,
};
use crate::elements;
use crate::express::{Express, Standing, may_recur};
use crate::lifetime::{self, Life};
use crate::names;
use crate::owners;
use crate::random::Random;
use crate::rules;
use crate::union;
use crate::urls::{self, URL};
use crate::values;

pub(crate) const TYPES: [&str; 7] = ["Ant", "Bee", "Cat", "Dog", "Elk", "Fox", "Gnu"];
const WORDS: [&str; 4] = ["red", "green", "blue", "grey"];
const DEPTH: u32 = 3;
const MAX_DERIVED: usize = 40;

/// How many derived fields were written, and how many of them the checker refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    /// In all.
    pub derived: usize,
    /// Refused.
    pub refused: usize,
    /// Derived members of embedded objects, in all versions of the schema that were accepted.
    pub members: usize,
}

/// A new schema.
pub fn draft(random: &mut Random) -> Draft {
    let mut draft = Draft::default();
    let count = 1 + random.below(5);
    (0..count).for_each(|_| add_type(&mut draft, random));
    for ty in 0..count {
        for _ in 0..2 + random.below(5) {
            let name = draft.fresh_name("f");
            draft.types[ty].fields.push(stored(random, name));
        }
        (0..random.below(4)).for_each(|_| add_relation(&mut draft, random, ty));
    }
    if count > 1 {
        (0..random.below(3)).for_each(|_| {
            let ty = random.below(count);
            among::add(&mut draft, random, ty);
        });
        (0..random.below(3)).for_each(|_| {
            let ty = random.below(count);
            owners::add(&mut draft, random, ty);
        });
    }
    for ty in 0..count {
        if random.percent(35) {
            elements::add(&mut draft, random, ty);
        }
    }
    for ty in 0..count {
        let held = !draft.parents(ty).is_empty();
        draft.types[ty].root |= !draft.may_exist(ty);
        if held && random.percent(50) {
            change_unique(&mut draft, random, ty, &mut Change::default());
        }
        for _ in 0..1 + random.below(6) {
            add_derived(&mut draft, random, ty);
        }
        if random.percent(25) {
            urls::add(&mut draft, random, ty);
        }
    }
    // What is written anew may read what was written after it: so fields of several types come to need each other.
    for ty in 0..count {
        if random.percent(40) {
            rewrite(&mut draft, random, ty);
        }
    }
    draft
}

fn add_type(draft: &mut Draft, random: &mut Random) {
    let name = TYPES[draft.types.len()];
    draft.order.insert(random.below(draft.order.len() + 1), draft.types.len());
    draft.types.push(TypeDraft {
        name,
        root: random.percent(70),
        history: random.percent(20),
        life: Life::random(random),
        path: None,
        url: None,
        fields: Vec::new(),
    });
    names::add(draft, random, draft.types.len() - 1);
}

fn value_type(random: &mut Random) -> ValueType {
    let basic = |random: &mut Random| match random.below(16) {
        0..=3 => ValueType::Int,
        4 | 5 => ValueType::Float,
        6 | 7 => ValueType::Str,
        8 => ValueType::Bool,
        9 => ValueType::Decimal,
        10 | 14 | 15 => ValueType::Datetime,
        11 => ValueType::Date,
        12 => ValueType::Duration,
        _ => ValueType::Enum(WORDS[..2 + random.below(3)].to_vec()),
    };
    match random.below(20) {
        0 => ValueType::Uuid,
        1 => ValueType::Bytes,
        2 => ValueType::Json,
        3 => ValueType::List(basic(random).into()),
        4 => ValueType::Set(basic(random).into()),
        5 => ValueType::Map(basic(random).into()),
        6 => {
            let members = ["m", "k", "w"].into_iter().take(1 + random.below(3));
            let members = members.map(|name| {
                let ty = basic(random);
                let rules = member_options(random, &ty);
                Member { of: None, name, ty, rules }
            });
            ValueType::Object(members.collect())
        }
        7 => {
            let count = 1 + random.below(union::NAMES.len());
            let variants = &union::NAMES[..count];
            let mut members = vec![union::discriminator(variants)];
            for name in ["m", "k", "w"] {
                let ty = basic(random);
                for variant in variants {
                    if random.percent(55) {
                        let rules = member_options(random, &ty);
                        members.push(Member { of: Some(variant), name, ty: ty.clone(), rules });
                    }
                }
            }
            let of = ValueType::Object(members);
            match random.below(6) {
                0 => ValueType::List(of.into()),
                1 => ValueType::Map(of.into()),
                _ => of,
            }
        }
        8 => ValueType::File,
        _ => basic(random),
    }
}

/// Options that may stand at a member of a type.
fn member_options(random: &mut Random, ty: &ValueType) -> Rules {
    let rules = options(random, ty);
    let plain = Rules::default();
    let (search, append_only) = (plain.search, plain.append_only);
    Rules { unique: false, index: false, immutable: false, write_once: false, search, append_only, ..rules }
}

/// Options that may stand at a value of a type.
fn options(random: &mut Random, ty: &ValueType) -> Rules {
    if *ty == ValueType::File {
        return Rules {
            required: random.percent(20),
            write_once: random.percent(3),
            described: random.percent(5),
            accepts: random.percent(30),
            ..Rules::default()
        };
    }
    let mut rules = Rules {
        required: random.percent(12),
        nullable: random.percent(12),
        index: random.percent(20),
        immutable: random.percent(3),
        write_once: random.percent(3),
        append_only: matches!(ty, ValueType::List(_) | ValueType::Set(_) | ValueType::Map(_))
            && random.percent(12),
        described: random.percent(2),
        ..Rules::default()
    };
    let few = matches!(ty, ValueType::Bool | ValueType::Enum(_) | ValueType::Date | ValueType::Bytes);
    let never = matches!(ty, ValueType::Object(_) | ValueType::Map(_) | ValueType::Json);
    rules.unique = !never && random.percent(if few { 1 } else { 6 });
    bound(random, ty, &mut rules);
    if !rules.unique && random.percent(if rules.required { 60 } else { 15 }) {
        rules.default = default(random, ty, &rules);
    }
    rules
}

/// Bounds that leave most values as they are.
fn bound(random: &mut Random, ty: &ValueType, rules: &mut Rules) {
    (rules.min, rules.max, rules.min_length, rules.max_length) = (None, None, None, None);
    (rules.starts, rules.lower, rules.trim, rules.search) = (None, false, false, None);
    let texts = match ty {
        ValueType::List(of) | ValueType::Set(of) => **of == ValueType::Str,
        ty => *ty == ValueType::Str,
    };
    if texts && random.percent(15) {
        rules.search = Some(*random.pick(&["prefix", "phonetic", "text"]));
    }
    match ty {
        ValueType::Int if random.percent(20) => {
            rules.min = random.percent(60).then_some(Value::Int(-2));
            rules.max = random.percent(60).then_some(Value::Int(10));
        }
        ValueType::Float if random.percent(15) => rules.min = Some(Value::Float(-1.5)),
        ValueType::Decimal if random.percent(15) => rules.max = Some(values::decimal("3.5")),
        ValueType::Str => {
            rules.lower = random.percent(8);
            rules.trim = random.percent(8);
            rules.min_length = random.percent(6).then_some(1);
            rules.max_length = random.percent(6).then_some(3);
            rules.starts = random.percent(5).then_some("a");
        }
        ValueType::List(_) | ValueType::Set(_) | ValueType::Map(_) | ValueType::Bytes => {
            rules.max_length = random.percent(15).then_some(2);
        }
        _ => {}
    }
}

fn default(random: &mut Random, ty: &ValueType, rules: &Rules) -> Option<DefaultValue> {
    let value = match ty {
        ValueType::Datetime if random.percent(60) => return Some(DefaultValue::Now),
        ValueType::Int => Value::Int(random.between(-2, 5)),
        ValueType::Float => Value::Float(0.5),
        ValueType::Decimal => values::decimal("1.5"),
        ValueType::Bool => Value::Bool(true),
        ValueType::Str | ValueType::Json => Value::Str("ab".into()),
        ValueType::Enum(words) => Value::Str((*random.pick(words)).into()),
        ValueType::List(of) if **of == ValueType::Int => Value::List([Value::Int(2), Value::Int(1)].into()),
        _ => return None,
    };
    rules::is_within(rules, &value).then_some(DefaultValue::Constant(value))
}

fn stored(random: &mut Random, name: String) -> FieldDraft {
    let ty = value_type(random);
    let rules = Rules { inherited: random.percent(10), ..options(random, &ty) };
    FieldDraft { name, kind: FieldKind::Stored(ty), rules }
}

fn on_delete(random: &mut Random) -> OnDelete {
    [OnDelete::Unlink, OnDelete::Unlink, OnDelete::Restrict, OnDelete::Cascade][random.below(4)]
}

/// A link, links, or a collection of a type, and perhaps the inverse of it.
fn add_relation(draft: &mut Draft, random: &mut Random, ty: usize) {
    let target = random.below(draft.types.len());
    let name = draft.fresh_name("r");
    let mut rules = Rules::default();
    let kind = match random.weighted(&[5, 3, 3]) {
        0 => {
            rules.required = random.percent(8);
            rules.nullable = random.percent(8);
            rules.index = random.percent(15);
            rules.unique = random.percent(5);
            rules.immutable = random.percent(4);
            FieldKind::Link(target, on_delete(random))
        }
        1 => {
            rules.required = random.percent(5);
            rules.max_length = random.percent(10).then_some(3);
            rules.append_only = random.percent(8);
            FieldKind::Links(target, on_delete(random))
        }
        _ => {
            rules.ordered = random.percent(50);
            FieldKind::Collection(target)
        }
    };
    let links = !matches!(kind, FieldKind::Collection(_));
    draft.types[ty].fields.push(FieldDraft { name: name.clone(), kind, rules });
    if links && random.percent(50) {
        let inverse = draft.fresh_name("i");
        let kind = FieldKind::Inverse(ty, name);
        draft.types[target].fields.push(FieldDraft { name: inverse, kind, rules: Rules::default() });
    }
}

fn shape(draft: &Draft, random: &mut Random) -> Shape {
    const KINDS: [Kind; 9] = [
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Float,
        Kind::Decimal,
        Kind::Bool,
        Kind::Str,
        Kind::Datetime,
        Kind::Duration,
    ];
    match random.weighted(&[14, 3, 2, 3, 2]) {
        0 => Shape::One(*random.pick(&KINDS)),
        1 => Shape::List(*random.pick(&KINDS)),
        2 => Shape::Resource(random.below(draft.types.len())),
        3 => Shape::Set(random.below(draft.types.len())),
        _ => Shape::Map(*random.pick(&KINDS)),
    }
}

/// A derived field, if something can be derived.
fn add_derived(draft: &mut Draft, random: &mut Random, ty: usize) -> bool {
    if draft.derived().count() >= MAX_DERIVED {
        return false;
    }
    draft.next_name += 1;
    let (rank, shape) = (draft.next_name, shape(draft, random));
    let recurs = may_recur(&shape) && random.percent(25);
    let strict = random.percent(4);
    let background = !strict && !recurs && random.percent(8);
    let lazy = !strict && !background && !recurs && random.percent(15);
    let rules = Rules { index: !lazy && random.percent(20), ..Rules::default() };
    let derived = Derived { text: String::new(), shape: shape.clone(), rank, strict, background, lazy };
    let kind = FieldKind::Derived(derived);
    // It is there before its expression, which may read it of other resources.
    draft.types[ty].fields.push(FieldDraft { name: format!("d{rank}"), kind, rules });
    let made = expression(draft, random, ty, rank, &shape, recurs);
    // Mostly a field, a type or a literal alone says nothing of propagation.
    let made = made.filter(|text| text.contains(['.', '(']));
    let field = draft.types[ty].fields.last_mut();
    match (made, field.map(|field| &mut field.kind)) {
        (Some(text), Some(FieldKind::Derived(derived))) => derived.text = text,
        _ => {
            draft.types[ty].fields.pop();
            return false;
        }
    }
    true
}

/// An expression of a shape for a derived field; one that recurs has an end, which says what it is.
fn expression(
    draft: &Draft,
    random: &mut Random,
    ty: usize,
    rank: u32,
    shape: &Shape,
    recurs: bool,
) -> Option<String> {
    let mut express = Express::new(draft, random, ty, Standing::Derived(rank), DEPTH);
    let plain = express.shaped(shape)?;
    if !recurs {
        return Some(plain);
    }
    let condition = express.condition();
    let recurring = express.recurring().shaped(shape)?;
    Some(match random.below(3) {
        0 => format!("({recurring} else {plain})"),
        1 => format!("({condition} -> {recurring} : {plain})"),
        _ => format!("({condition} -> {plain} : {recurring})"),
    })
}

/// Checks a draft, and drops derived fields that are refused until all of it is accepted; gives its text. An error
/// where something else is refused: then the simulator has written what is not in the language.
///
/// Of what is dropped, only what `before` did not have counts as written in vain: the rest fell with what it read.
pub fn settle(draft: &mut Draft, before: Option<&Draft>, written: &mut Written) -> Result<String, String> {
    let text_in = |draft: &Draft, ty: usize, name: &str| match &draft.field(ty, name)?.kind {
        FieldKind::Derived(derived) => Some(derived.text.clone()),
        _ => None,
    };
    for ty in 0..draft.types.len() {
        if draft.parents(ty).is_empty() {
            draft.types[ty].fields.iter_mut().for_each(|field| field.rules.unique_in_parent = false);
        }
    }
    names::drop_unfit(draft);
    lifetime::let_expire(draft);
    loop {
        let (text, places) = draft.text();
        let checked = check(&text, &mut Ids::default());
        if checked.schema.is_some() {
            written.members += draft.derived_members();
            return Ok(text);
        }
        let at: Vec<usize> = checked.diagnostics.iter().map(|found| found.span.start as usize).collect();
        let refused: Vec<_> =
            places.into_iter().filter(|(_, _, place)| at.iter().any(|at| place.contains(at))).collect();
        if refused.is_empty() {
            return Err(format!("not the language: {}", render(&checked.diagnostics, "schema", &text)));
        }
        for (ty, name, _) in refused {
            if name == URL {
                draft.types[ty].url = None;
                continue;
            }
            let field = draft.types[ty].fields.iter_mut().find(|field| field.name == name);
            if let Some(FieldKind::Stored(ValueType::Elements(_, derived))) = field.map(|it| &mut it.kind) {
                derived.clear();
                continue;
            }
            let old = before.filter(|before| ty < before.types.len());
            let old = old.and_then(|before| text_in(before, ty, &name));
            written.refused += usize::from(old.is_none() || old != text_in(draft, ty, &name));
            draft.types[ty].fields.retain(|field| field.name != name);
        }
    }
}

/// What a change of a schema may meet with.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Fields that are unique from now on.
    pub unique: Vec<(usize, String)>,
    /// Would facts be lost, if resources of this type have a value under this name?
    pub losing: Option<(usize, String)>,
    /// Is a field strict that was not?
    pub strict: bool,
    /// How many derived fields were written.
    pub derived: usize,
}

/// Changes a schema in some ways.
pub fn change(draft: &mut Draft, random: &mut Random) -> Change {
    let mut change = Change::default();
    for _ in 0..1 + random.below(4) {
        let ty = random.below(draft.types.len());
        match random.weighted(&[30, 14, 14, 14, 10, 8, 5, 4, 3, 4, 3, 2, 4]) {
            0 => change.derived += usize::from(add_derived(draft, random, ty)),
            1 if random.percent(25) => elements::rewrite(draft, random, ty),
            1 => remove_derived(draft, random, ty),
            2 => change.derived += usize::from(rewrite(draft, random, ty)),
            3 => {
                let is_file = |field: &FieldDraft| matches!(field.kind, FieldKind::Stored(ValueType::File));
                let may = |field: &FieldDraft| !is_reverse(field) && !is_file(field);
                if let Some(field) = any_field(draft, random, ty, may) {
                    field.rules.index = !field.rules.index
                        && !matches!(field.kind, FieldKind::Links(..) | FieldKind::Among(_, _, true));
                }
            }
            4 if random.percent(25) => drop(elements::add(draft, random, ty)),
            4 if random.percent(60) => {
                let name = draft.fresh_name("f");
                draft.types[ty].fields.push(stored(random, name.clone()));
                note_unique(draft, ty, &name, &mut change);
            }
            4 if random.percent(25) && draft.types.len() > 1 => among::add(draft, random, ty),
            4 if random.percent(25) && draft.types.len() > 1 => owners::add(draft, random, ty),
            4 => {
                let before = draft.next_name;
                add_relation(draft, random, ty);
                note_unique(draft, ty, &format!("r{}", before + 1), &mut change);
            }
            5 => change_rules(draft, random, ty),
            6 => change_unique(draft, random, ty, &mut change),
            7 => {
                let rule = on_delete(random);
                let links = |field: &FieldDraft| {
                    matches!(field.kind, FieldKind::Link(..) | FieldKind::Links(..) | FieldKind::Among(..))
                };
                if let Some(field) = any_field(draft, random, ty, links)
                    && let FieldKind::Link(_, on_delete)
                    | FieldKind::Links(_, on_delete)
                    | FieldKind::Among(_, on_delete, _) = &mut field.kind
                {
                    *on_delete = rule;
                }
            }
            8 if draft.types.len() < TYPES.len() => {
                add_type(draft, random);
                let (ty, name) = (draft.types.len() - 1, draft.fresh_name("f"));
                draft.types[ty].root = true;
                draft.types[ty].fields.push(stored(random, name));
                add_relation(draft, random, ty);
            }
            9 => {
                random.shuffle(&mut draft.order);
                random.shuffle(&mut draft.types[ty].fields);
            }
            10 => {
                let field = any_field(draft, random, ty, |field| matches!(field.kind, FieldKind::Derived(_)));
                if let Some(FieldDraft { kind: FieldKind::Derived(derived), rules, .. }) = field {
                    if derived.lazy || random.percent(30) {
                        // From stored to computed, and back.
                        derived.lazy = !derived.lazy;
                        (derived.strict, derived.background, rules.index) = (false, false, false);
                    } else {
                        derived.strict = !derived.strict;
                        derived.background &= !derived.strict;
                        change.strict |= derived.strict;
                    }
                }
            }
            11 => widen(draft, random, ty),
            12 if random.percent(50) => match random.below(3) {
                0 => draft.types[ty].url = None,
                _ => urls::add(draft, random, ty),
            },
            _ => {
                // What has an order keeps it.
                let collection = |field: &FieldDraft| matches!(field.kind, FieldKind::Collection(_));
                if let Some(field) = any_field(draft, random, ty, collection) {
                    field.rules.ordered = true;
                }
            }
        }
    }
    change.strict |= draft.derived().any(|(_, _, derived)| derived.strict);
    change
}

/// Takes away what is stored, or gives it another type.
pub fn lose(draft: &mut Draft, random: &mut Random) -> Option<Change> {
    let ty = random.below(draft.types.len());
    let fields = draft.types[ty].fields.len();
    if fields == 0 {
        return None;
    }
    let at = random.below(fields);
    let field = &mut draft.types[ty].fields[at];
    let name = field.name.clone();
    let losing = match &mut field.kind {
        FieldKind::Stored(of @ (ValueType::Int | ValueType::Str)) if random.percent(50) => {
            *of = ValueType::Bytes;
            field.rules = Rules::default();
            (ty, name)
        }
        FieldKind::Stored(ValueType::Enum(words)) if words.len() > 1 && random.percent(50) => {
            words.remove(0);
            field.rules = Rules::default();
            (ty, name)
        }
        FieldKind::Stored(ValueType::Object(members)) if union::variants(members).len() > 1 => {
            union::remove_variant(members, random);
            (ty, name)
        }
        // Others have it too.
        _ if field.rules.shared => return None,
        FieldKind::Stored(_) | FieldKind::Link(..) | FieldKind::Links(..) => {
            draft.types[ty].fields.remove(at);
            let leads =
                |kind: &FieldKind| matches!(kind, FieldKind::Inverse(of, link) if *of == ty && *link == name);
            for other in &mut draft.types {
                other.fields.retain(|field| !leads(&field.kind));
            }
            (ty, name)
        }
        FieldKind::Collection(child) => {
            let child = *child;
            let hidden = draft.parents(child).into_iter().map(|(_, hidden)| hidden);
            let hidden: Vec<String> = hidden.filter(|hidden| hidden.ends_with(&format!("_{name}"))).collect();
            draft.types[ty].fields.remove(at);
            draft.types[child].root = true;
            (child, hidden.first()?.clone())
        }
        _ => return None,
    };
    Some(Change { losing: Some(losing), strict: true, ..Change::default() })
}

fn is_reverse(field: &FieldDraft) -> bool {
    matches!(
        field.kind,
        FieldKind::Collection(_) | FieldKind::Inverse(..) | FieldKind::Owned(_) | FieldKind::InverseOfAll(..)
    )
}

/// One of the fields that may change; what several types share does not.
fn any_field<'d>(
    draft: &'d mut Draft,
    random: &mut Random,
    ty: usize,
    wanted: impl Fn(&FieldDraft) -> bool,
) -> Option<&'d mut FieldDraft> {
    let mut fields: Vec<&mut FieldDraft> =
        draft.types[ty].fields.iter_mut().filter(|it| !it.rules.shared && wanted(it)).collect();
    if fields.is_empty() { None } else { Some(fields.swap_remove(random.below(fields.len()))) }
}

fn remove_derived(draft: &mut Draft, random: &mut Random, ty: usize) {
    let field = any_field(draft, random, ty, |field| matches!(field.kind, FieldKind::Derived(_)));
    if let Some(name) = field.map(|field| field.name.clone()) {
        draft.types[ty].fields.retain(|field| field.name != name);
    }
}

/// Another expression for a derived field, of the same shape so that others may go on reading it.
fn rewrite(draft: &mut Draft, random: &mut Random, ty: usize) -> bool {
    let field = any_field(draft, random, ty, |field| matches!(field.kind, FieldKind::Derived(_)));
    let Some(FieldDraft { name, kind: FieldKind::Derived(derived), .. }) = field.cloned() else {
        return false;
    };
    let recurs = !derived.background && !derived.lazy && may_recur(&derived.shape) && random.percent(30);
    let Some(new) = expression(draft, random, ty, derived.rank, &derived.shape, recurs) else { return false };
    for field in &mut draft.types[ty].fields {
        if let FieldKind::Derived(derived) = &mut field.kind
            && field.name == name
        {
            derived.text.clone_from(&new);
        }
    }
    true
}

fn note_unique(draft: &Draft, ty: usize, name: &str, change: &mut Change) {
    if draft.field(ty, name).is_some_and(|field| field.rules.unique || field.rules.unique_in_parent) {
        change.unique.push((ty, name.to_string()));
    }
}

fn change_rules(draft: &mut Draft, random: &mut Random, ty: usize) {
    let field = any_field(draft, random, ty, |field| matches!(field.kind, FieldKind::Stored(_)));
    let Some(FieldDraft { kind: FieldKind::Stored(of), rules, .. }) = field else { return };
    let (of, unique, index) = (of.clone(), rules.unique, rules.index);
    *rules = options(random, &of);
    (rules.unique, rules.index) = (unique, index);
    if unique {
        rules.default = None;
    }
}

fn change_unique(draft: &mut Draft, random: &mut Random, ty: usize, change: &mut Change) {
    let may = |field: &FieldDraft| match &field.kind {
        FieldKind::Stored(of) => {
            !matches!(of, ValueType::Object(_) | ValueType::Map(_) | ValueType::Json | ValueType::File)
        }
        FieldKind::Link(..) => true,
        _ => false,
    };
    let held = !draft.parents(ty).is_empty();
    if let Some(field) = any_field(draft, random, ty, may) {
        if held && random.percent(70) {
            field.rules.unique_in_parent = !field.rules.unique_in_parent;
        } else {
            field.rules.unique = !field.rules.unique;
        }
        field.rules.default = None;
        let name = field.name.clone();
        note_unique(draft, ty, &name, change);
    }
}

/// A type that holds all that the old one does.
fn widen(draft: &mut Draft, random: &mut Random, ty: usize) {
    let field = any_field(draft, random, ty, |field| matches!(field.kind, FieldKind::Stored(_)));
    let Some(FieldDraft { kind: FieldKind::Stored(of), rules, .. }) = field else { return };
    *of = match of {
        ValueType::Object(members) if (1..union::NAMES.len()).contains(&union::variants(members).len()) => {
            let mut members = members.clone();
            let variant = union::add_variant(&mut members);
            if let Some(member) = members.get(1).cloned() {
                // It has a member of an older one, with options of its own.
                let rules = member_options(random, &member.ty);
                members.push(Member { of: variant, rules, ..member });
            }
            ValueType::Object(members)
        }
        ValueType::Enum(words) if words.len() < WORDS.len() => ValueType::Enum(WORDS.to_vec()),
        ValueType::Enum(_) => ValueType::Str,
        ValueType::Int | ValueType::Date => ValueType::Json,
        _ => return,
    };
    let index = rules.index;
    *rules = Rules { index, ..Rules::default() };
}
