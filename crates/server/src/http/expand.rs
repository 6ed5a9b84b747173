//! What `expand` asks for: fields that stand in full, which members of theirs, and what is shown of these.
//!
//! `boss,division.sections[total > 100 order by -total limit 5]{name,total,members{name}}`: each step is a link, a collection, an
//! inverse or a derived list. Brackets choose among the members of a list, braces say what of each is shown: fields, and
//! in them what is expanded further. Read next: [`crate::json::encode`], which writes what came of it.

use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldKind, FieldRef, Schema, Slot, TypeIx};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::parse_expression;

use crate::json::decode::unknown_field;
use crate::json::encode::{MAX_EXPAND_DEPTH, MAX_EXPANDED_MEMBERS, Selection, Shape, holds_many, target_of};
use crate::json::held::Held;
use crate::json::within::{Within, member};

/// Adds what a text asks for to the shape of a resource of a type. Its first steps are by the names of a mount, where it is in
/// one; what stands in full is shown by those of the schema, and what of it is asked for is called so.
pub(crate) fn expand(
    names: &Schema,
    schema: &Schema,
    ty: TypeIx,
    text: &str,
    shape: &mut Shape,
) -> Result<(), String> {
    let mut rest = text;
    let items = items(&mut rest, 0)?;
    if !rest.is_empty() {
        return Err(format!("`{rest}` closes nothing"));
    }
    for item in &items {
        add_within(names, schema, ty, &item.steps, shape, 0)?;
    }
    Ok(())
}

/// One of the parts between commas.
struct Item {
    /// From the resource on; one at least.
    steps: Vec<Step>,
}

struct Step {
    name: String,
    /// What stands in its brackets.
    brackets: Option<String>,
    /// What stands in its braces.
    inner: Option<Vec<Item>>,
}

/// Reads parts up to a brace that closes, or the end.
fn items(rest: &mut &str, depth: usize) -> Result<Vec<Item>, String> {
    if depth > MAX_EXPAND_DEPTH {
        return Err(format!("what is expanded is deeper than {MAX_EXPAND_DEPTH}"));
    }
    let mut items = Vec::new();
    loop {
        *rest = rest.trim_start();
        match rest.chars().next() {
            None | Some('}') => return Ok(items),
            Some(',') => {
                *rest = &rest[1..];
                continue;
            }
            Some(_) => items.push(item(rest, depth)?),
        }
        *rest = rest.trim_start();
        if !(rest.is_empty() || rest.starts_with([',', '}'])) {
            return Err(format!("`{rest}` cannot stand here; parts are divided by commas"));
        }
    }
}

fn item(rest: &mut &str, depth: usize) -> Result<Item, String> {
    let mut steps = Vec::new();
    loop {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        if name.is_empty() {
            return Err(format!("a name is missing before `{rest}`"));
        }
        *rest = behind.trim_start();
        let mut step = Step { name: name.into(), brackets: None, inner: None };
        if rest.starts_with('[') {
            let end = closing(rest).ok_or_else(|| format!("`{rest}` ends without `]`"))?;
            step.brackets = Some(rest[1..end].into());
            *rest = rest[end + 1..].trim_start();
        }
        if let Some(inner) = rest.strip_prefix('{') {
            *rest = inner;
            step.inner = Some(items(rest, depth + 1)?);
            *rest = rest.strip_prefix('}').ok_or_else(|| format!("`{name}{{` ends without `}}`"))?;
        }
        steps.push(step);
        match rest.strip_prefix('.') {
            Some(behind) if steps.last().is_some_and(|step| step.inner.is_none()) => *rest = behind,
            Some(_) => {
                return Err(format!("`{name}{{…}}` cannot go on by a dot; put what follows into the braces"));
            }
            None => return Ok(Item { steps }),
        }
    }
}

/// Where the bracket closes that a text begins with.
fn closing(text: &str) -> Option<usize> {
    outside(text).find(|(_, depth, c)| *depth == 0 && *c == ']').map(|(at, ..)| at)
}

/// The characters of a text outside quotes, each with how many brackets are open behind it.
fn outside(text: &str) -> impl Iterator<Item = (usize, i32, char)> {
    let (mut depth, mut quote) = (0, None);
    text.char_indices().filter_map(move |(at, c)| match (quote, c) {
        (Some(open), c) => {
            if c == open {
                quote = None;
            }
            None
        }
        (None, '\'' | '"') => {
            quote = Some(c);
            None
        }
        (None, c) => {
            depth += match c {
                '[' | '(' | '{' => 1,
                ']' | ')' | '}' => -1,
                _ => 0,
            };
            Some((at, depth, c))
        }
    })
}

/// Adds steps to a shape, the first of which is by these names.
fn add_within(
    names: &Schema,
    schema: &Schema,
    ty: TypeIx,
    steps: &[Step],
    shape: &mut Shape,
    depth: usize,
) -> Result<(), String> {
    let Some((step, behind)) = steps.split_first() else { return Ok(()) };
    if depth >= MAX_EXPAND_DEPTH {
        return Err(format!("what is expanded is deeper than {MAX_EXPAND_DEPTH}"));
    }
    let resource = names.ty(ty);
    let named = resource.named(&step.name).filter(|(_, field)| !field.name.starts_with('#'));
    let Some((slot, field)) = named else { return Err(unknown_field(resource, &step.name)) };
    if let FieldKind::Among { parts, targets, .. } = &field.kind {
        if step.brackets.is_some() {
            return Err(format!(
                "`{}` leads to several types, and brackets choose among those of one",
                step.name
            ));
        }
        for (part, target) in parts.iter().zip(targets) {
            let inner = inner(shape, *part);
            inner.typed = true;
            within(schema, *target, step, inner, depth)?;
            add_within(schema, schema, *target, behind, inner, depth + 1)?;
        }
        return Ok(());
    }
    let parts = resource.lists(slot).iter();
    let lists = parts.filter_map(|part| Some((*part, schema.way_back(FieldRef { ty, slot: *part })?.ty)));
    let lists: Vec<(Slot, TypeIx)> = lists.collect();
    if !lists.is_empty() {
        if step.brackets.is_some() {
            return Err(format!(
                "`{}` holds several types, and brackets choose among those of one",
                step.name
            ));
        }
        for (part, target) in lists {
            let inner = inner(shape, part);
            inner.typed = true;
            within(schema, target, step, inner, depth)?;
            add_within(schema, schema, target, behind, inner, depth + 1)?;
        }
        return Ok(());
    }
    let at = FieldRef { ty, slot };
    let Some(target) = target_of(schema, at) else {
        return match Held::by(schema, at) {
            held @ (Held::Object(_) | Held::Map(_)) => {
                add_in_object(schema, held, step, behind, shape.within(slot), depth)
            }
            _ => Err(format!("`{}` of {} is a value, and has nothing to expand", step.name, resource.name)),
        };
    };
    let selection = match &step.brackets {
        Some(_) if !holds_many(schema, at) => {
            return Err(format!("`{}` leads to one resource, and brackets choose among many", step.name));
        }
        Some(text) => Some(selection(schema, target, text)?),
        None => None,
    };
    let known = shape.expand.iter().any(|(at, _)| *at == slot);
    let inner = inner(shape, slot);
    let differs = match (&selection, &inner.selection) {
        (Some(new), Some(old)) => new != old,
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => false,
    };
    if known && differs {
        return Err(format!("`{}` is expanded twice, and not with the same members", step.name));
    }
    inner.selection = selection;
    within(schema, target, step, inner, depth)?;
    add_within(schema, schema, target, behind, inner, depth + 1)
}

/// Adds steps that go on within the objects of a field, or of a member of such.
fn add_in_object(
    schema: &Schema,
    held: Held<'_>,
    step: &Step,
    behind: &[Step],
    parts: &mut Within,
    depth: usize,
) -> Result<(), String> {
    let place = step.name.as_str();
    if let Held::Link(target) = held {
        if step.brackets.is_some() {
            return Err(format!(
                "`{place}` is a link in an object, and brackets choose among the members of a list"
            ));
        }
        let shape = parts.full.get_or_insert_default();
        within(schema, target, step, shape, depth)?;
        return add_within(schema, schema, target, behind, shape, depth + 1);
    }
    if step.brackets.is_some() {
        return Err(format!("`{place}` holds objects, and brackets choose among resources"));
    }
    if let Some((next, behind)) = behind.split_first() {
        let inner = member(held, &next.name, place)?;
        return add_in_object(schema, inner, next, behind, parts.member(&next.name), depth);
    }
    let (Some(items), Held::Object(_) | Held::Map(_)) = (&step.inner, held) else {
        return Err(format!("`{place}` is a value, and has nothing to expand"));
    };
    for item in items {
        let Some((first, rest)) = item.steps.split_first() else { continue };
        let inner = member(held, &first.name, place)?;
        let is_plain = rest.is_empty() && first.brackets.is_none() && first.inner.is_none();
        if is_plain {
            parts.members.get_or_insert_default().push(first.name.clone());
        } else {
            parts.members.get_or_insert_default();
            add_in_object(schema, inner, first, rest, parts.member(&first.name), depth + 1)?;
        }
    }
    parts.members.get_or_insert_default();
    parts.asked = true;
    Ok(())
}

/// What stands in the braces of a step.
fn within(schema: &Schema, ty: TypeIx, step: &Step, shape: &mut Shape, depth: usize) -> Result<(), String> {
    let Some(items) = &step.inner else { return Ok(()) };
    let resource = schema.ty(ty);
    for item in items {
        let [only] = &item.steps[..] else {
            add_within(schema, schema, ty, &item.steps, shape, depth + 1)?;
            shape.fields.get_or_insert_default();
            continue;
        };
        let plain = only.brackets.is_none() && only.inner.is_none();
        match resource.named(&only.name).filter(|(_, field)| field.visible()) {
            Some((slot, field)) if plain && !is_elsewhere(&field.kind) => {
                shape.fields.get_or_insert_default().push(slot);
            }
            None if plain && only.name.starts_with('_') => drop(shape.fields.get_or_insert_default()),
            _ => {
                add_within(schema, schema, ty, &item.steps, shape, depth + 1)?;
                shape.fields.get_or_insert_default();
            }
        }
    }
    shape.fields.get_or_insert_default();
    Ok(())
}

/// Does it show nothing unless it is expanded?
fn is_elsewhere(kind: &FieldKind) -> bool {
    matches!(kind, FieldKind::Collection { .. } | FieldKind::Inverse { .. })
}

/// The shape of what stands in full in a field.
fn inner(shape: &mut Shape, slot: Slot) -> &mut Shape {
    let at = shape.expand.iter().position(|(at, _)| *at == slot).unwrap_or_else(|| {
        shape.expand.push((slot, Shape::default()));
        shape.expand.len() - 1
    });
    &mut shape.expand[at].1
}

/// What stands in brackets: a condition, `order by` keys, `limit` a number; each may be left out, but in this order.
fn selection(schema: &Schema, ty: TypeIx, text: &str) -> Result<Selection, String> {
    // A field may be called so: a limit is the word, a number, and the end.
    let is_number =
        |limit: &str| !limit.trim().is_empty() && limit.trim().bytes().all(|c| c.is_ascii_digit());
    let (rest, limit) = match cut(text, "limit") {
        (rest, Some(limit)) if is_number(limit) => (rest, Some(limit)),
        _ => (text, None),
    };
    let (condition, order) = cut(rest, "order by");
    let mut selection = Selection::default();
    if let Some(limit) = limit {
        let wanted = limit.trim().parse().ok().filter(|limit| (1..=MAX_EXPANDED_MEMBERS).contains(limit));
        let wanted = wanted
            .ok_or_else(|| format!("`[{text}]`: `limit` is a number from 1 to {MAX_EXPANDED_MEMBERS}"))?;
        selection.limit = Some(wanted);
    }
    if !condition.trim().is_empty() {
        let parsed = parse_expression(condition);
        told(text, &parsed.diagnostics)?;
        let (expr, found) = check_condition(schema, ty, &parsed.tree);
        told(text, &found)?;
        selection.filter = Some(expr);
    }
    for key in order.map(keys).unwrap_or_default() {
        selection.order.push(ordered_by(schema, ty, text, key)?);
    }
    Ok(selection)
}

fn ordered_by(schema: &Schema, ty: TypeIx, text: &str, key: &str) -> Result<(Expr, bool), String> {
    let (descending, key) = match (key.strip_prefix('-'), key.strip_suffix(" desc")) {
        (Some(key), _) | (None, Some(key)) => (true, key),
        (None, None) => (false, key),
    };
    let parsed = parse_expression(key);
    told(text, &parsed.diagnostics)?;
    let (expr, found) = check_expr(schema, Place::Query(ty), &parsed.tree);
    told(text, &found)?;
    match expr.ty.is_many() {
        true => Err(format!("`[{text}]`: `{key}` has many values, and an order needs one")),
        false => Ok((expr, descending)),
    }
}

/// The first mistake in brackets.
fn told(text: &str, found: &[Diagnostic]) -> Result<(), String> {
    let Some(first) = found.first() else { return Ok(()) };
    let help = first.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
    Err(format!("`[{text}]`: {}{help}", first.message))
}

/// A text before a word that stands outside brackets and quotes, and what comes behind it.
fn cut<'t>(text: &'t str, word: &str) -> (&'t str, Option<&'t str>) {
    let is_edge = |c: Option<char>| c.is_none_or(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
    let found = outside(text).find(|(at, depth, _)| {
        let behind = text[*at..].strip_prefix(word);
        *depth == 0
            && behind.is_some_and(|behind| is_edge(behind.chars().next()))
            && is_edge(text[..*at].chars().next_back())
    });
    match found {
        Some((at, ..)) => (&text[..at], Some(&text[at + word.len()..])),
        None => (text, None),
    }
}

/// The parts of an order.
fn keys(text: &str) -> Vec<&str> {
    let commas = outside(text).filter(|(_, depth, c)| *depth == 0 && *c == ',').map(|(at, ..)| at);
    let mut start = 0;
    let mut keys = Vec::new();
    for end in commas.chain([text.len()]) {
        keys.push(text[start..end].trim());
        start = end + 1;
    }
    keys.retain(|key| !key.is_empty());
    keys
}
