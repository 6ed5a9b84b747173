//! The paths of mounts: what their parameters stand for, and that no path leads to two things.

use std::sync::Arc;

use corollary_syntax::ast::{Ident, MountSegment, MountText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::span::Span;
use smol_str::SmolStr;

use crate::model::{Schema, TypeIx};
use crate::mounts::{Mount, Segment};

/// Where the path of a mount stands in the text.
pub fn span(text: &MountText) -> Span {
    let of = |segment: &MountSegment| match segment {
        MountSegment::Name(name) | MountSegment::Param(name) => name.span,
    };
    match (text.path.first(), text.path.last()) {
        (Some(first), Some(last)) => of(first).to(of(last)),
        _ => text.span,
    }
}

/// The parameters of a path, in order.
pub fn params(text: &MountText) -> impl Iterator<Item = &Ident> {
    text.path.iter().filter_map(|segment| match segment {
        MountSegment::Param(name) => Some(name),
        MountSegment::Name(_) => None,
    })
}

/// The segments of a path whose parameters stand for these types. One without a type has been told of.
pub fn segments(text: &MountText, types: &[(SmolStr, TypeIx)]) -> Vec<Segment> {
    let segment = |segment: &MountSegment| match segment {
        MountSegment::Name(name) => Segment::Name(name.name.clone()),
        MountSegment::Param(name) => {
            let ty = types.iter().find(|(of, _)| *of == name.name).map_or(TypeIx(0), |(_, ty)| *ty);
            Segment::Param(name.name.clone(), ty)
        }
    };
    text.path.iter().map(segment).collect()
}

/// Tells what is wrong with a path by itself, and beside the collections of the schema.
pub fn check(schema: &Schema, mount: &Mount, text: &MountText, found: &mut Vec<Diagnostic>) {
    let whole = span(text);
    let mut error = |message: String, help: &str| {
        let diagnostic = Diagnostic::error("mount-path", whole, message);
        found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    };
    if let Some(Segment::Param(name, _)) = mount.path.last() {
        error(format!("a mount is a list, and `{{{name}}}` is one resource"), "end the path with a name");
        return;
    }
    let Some(Segment::Name(first)) = mount.path.first() else {
        error("a path begins with a name".into(), "as in `users/{user}/articles`");
        return;
    };
    if schema.abstract_roots.contains_key(first) {
        error(format!("`{first}` is a root collection of several types: nothing is mounted in it"), "");
    } else if let Some(root) = schema.roots.get(first) {
        let resource = schema.ty(*root);
        match &mount.path[1..] {
            [] => error(
                format!("`{first}` is the root collection of `{}`", resource.name),
                "give the mount another path",
            ),
            [Segment::Param(name, ty), ..] if ty != root => error(
                format!(
                    "`{{{name}}}` stands for a `{}`, and `{first}` holds `{}`",
                    schema.ty(*ty).name,
                    resource.name
                ),
                "begin with the root collection of that type, or with a name that is none",
            ),
            [Segment::Param(..), Segment::Name(name), ..] if resource.named(name).is_some() => error(
                format!("`{name}` is a field of `{}`: its path leads there already", resource.name),
                "give the mount another name",
            ),
            [Segment::Param(..), Segment::Name(_), ..] => {}
            _ => error(
                format!("behind `{first}` stands an id: a name there would hide a resource"),
                "as in `users/{user}/articles`",
            ),
        }
    }
    for segment in &text.path {
        if let MountSegment::Name(name) = segment {
            crate::check::declare::check_name(name, "a segment of a mount", found);
        }
    }
}

/// Tells where a path could be that of another mount, or of something within it.
pub fn check_among(mount: &Mount, others: &[(Arc<Mount>, Span)], span: Span, found: &mut Vec<Diagnostic>) {
    let alike = |other: &Mount| {
        mount.path.iter().zip(&other.path).all(|(one, other)| match (one, other) {
            (Segment::Name(one), Segment::Name(other)) => one == other,
            _ => true,
        })
    };
    if let Some((other, _)) = others.iter().find(|(other, _)| alike(other)) {
        let message = if mount.path == other.path {
            format!("there is a mount `{}` already", other.name())
        } else {
            format!("a path could be of this mount and of `{}`", other.name())
        };
        let help = "no mount stands at, above or below another";
        found.push(Diagnostic::error("mount-path", span, message).help(help));
    }
}
