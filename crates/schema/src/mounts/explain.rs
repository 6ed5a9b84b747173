//! What a mount is, in words: which resources it shows, under which names, what holds of what is written there, and by what
//! its lists are found.

use super::{Allow, Mount, Proxy, Segment, Target, View};
use crate::model::{Field, FieldRef, ResourceType, Schema, Slot};

/// All mounts of a schema in the order of declaration, with an empty line between.
pub fn explain_all(schema: &Schema) -> String {
    let mounts = schema.mounts.iter().map(|mount| explain(schema, mount));
    mounts.collect::<Vec<_>>().join("\n")
}

/// One mount.
pub fn explain(schema: &Schema, mount: &Mount) -> String {
    let (head, mut lines) = match &mount.target {
        Target::View(view) => {
            (format!("mount {} of {}", mount.name(), schema.ty(view.ty).name), of_view(schema, mount, view))
        }
        Target::Proxy(proxy) => (format!("mount {} proxy {}", mount.name(), proxy.url), of_proxy(proxy)),
    };
    lines.push(format!("allows: {}", allowed(&mount.allow)));
    lines.iter().fold(format!("{head}\n"), |said, line| format!("{said}    {line}\n"))
}

fn of_view(schema: &Schema, mount: &Mount, view: &View) -> Vec<String> {
    let ty = schema.ty(view.ty);
    let label = |slot: Slot| ty.field(slot).label();
    let stands = |at: usize| match &mount.path[at] {
        Segment::Param(name, of) => format!("the {} that {{{name}}} stands for", schema.ty(*of).name),
        Segment::Name(name) => name.to_string(),
    };
    let scopes = view.scopes.iter().map(|(slot, at)| format!("`{}` is {}", label(*slot), stands(*at)));
    let fixed = view.fixed.iter().map(|(slot, value)| format!("`{}` is {value}", label(*slot)));
    let forced: Vec<String> = scopes.chain(fixed).collect();
    let asked: Vec<String> = view.conditions.iter().map(|(text, _)| format!("`{text}`")).collect();
    let mut lines = vec![match (&forced[..], &asked[..]) {
        ([], []) => format!("shows: every {}", ty.name),
        (_, []) => format!("shows: each {} of which {}", ty.name, forced.join(", and ")),
        ([], _) => format!("shows: each {} for which {} holds", ty.name, asked.join(" and ")),
        (_, _) => format!(
            "shows: each {} of which {}, and for which {} holds",
            ty.name,
            forced.join(", and "),
            asked.join(" and ")
        ),
    }];
    if !forced.is_empty() && (mount.allow.create || mount.allow.update) {
        let forced = forced.join(", and ");
        lines.push(format!("forced: {forced}; what is written there has it, and another value is refused"));
    }
    if !asked.is_empty() && (mount.allow.create || mount.allow.update) {
        lines.push(format!("refused: what leaves {} not holding", asked.join(" or ")));
    }
    lines.extend(fields(ty, view.names.ty(view.ty)));
    lines.push(format!("a list is found by: {}", found_by(schema, view, ty)));
    lines
}

/// The fields that have a name there, where these are not all fields under their own.
fn fields(ty: &ResourceType, here: &ResourceType) -> Option<String> {
    let all = ty.slots().filter(|(_, field)| field.visible());
    let all: Vec<(&str, &Field)> = all.map(|(slot, field)| (&*field.name, here.field(slot))).collect();
    if all.iter().all(|(name, here)| *name == here.name) {
        return None;
    }
    let shown = all.into_iter().filter(|(_, here)| here.visible());
    let named = shown.map(|(name, here)| match *name == *here.name {
        true => format!("`{name}`"),
        false => format!("`{}` (its `{name}`)", here.name),
    });
    Some(format!("fields: {}", named.collect::<Vec<_>>().join(", ")))
}

/// By what a list without a filter is found.
fn found_by(schema: &Schema, view: &View, ty: &ResourceType) -> String {
    let field = |slot: Slot| schema.field(FieldRef { ty: view.ty, slot });
    let referring = view.scopes.iter().find(|(slot, _)| field(*slot).reference_index);
    let indexed = view.fixed.iter().find(|(slot, _)| field(*slot).index);
    let conditions = match view.conditions.is_empty() {
        true => "",
        false => "; the conditions are asked of each, and use indexes as a filter does",
    };
    match (referring, indexed) {
        (Some((slot, _)), _) => format!("the references of `{}`{conditions}", field(*slot).label()),
        (None, Some((slot, _))) => format!("the index of `{}`{conditions}", field(*slot).label()),
        (None, None) if view.fixed.is_empty() => format!("all of {}{conditions}", ty.name),
        (None, None) => {
            let (slot, _) = view.fixed[0];
            let name = field(slot).label();
            format!("all of {}, since `{name}` has no index{conditions}", ty.name)
        }
    }
}

fn of_proxy(proxy: &Proxy) -> Vec<String> {
    let with = if proxy.credentials { "with" } else { "without" };
    vec![
        "shows: what that server says, whatever the schema".to_string(),
        format!("forwards: the request, {with} `Authorization` and `Cookie`"),
    ]
}

fn allowed(allow: &Allow) -> String {
    let mut allow = *allow;
    let names = Allow::NAMES.into_iter().filter(|name| allow.named(name).is_some_and(|may| *may));
    names.collect::<Vec<_>>().join(", ")
}
