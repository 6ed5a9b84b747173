//! Parts of the canonical text of mounts; `format_schema` puts the comments around them.

use crate::ast::{Ident, MountClauseKind, MountSegment, MountTarget, MountText};
use crate::print_expression::{INDENT, LINE_WIDTH, Quotes, string, wrapped};

/// The path of a mount as it is written.
pub(crate) fn path(path: &[MountSegment]) -> String {
    let segments: Vec<String> = path
        .iter()
        .map(|segment| match segment {
            MountSegment::Name(name) => name.name.to_string(),
            MountSegment::Param(name) => format!("{{{}}}", name.name),
        })
        .collect();
    segments.join("/")
}

/// A mount on one line: two that are written alike have the same.
pub fn format_mount(mount: &MountText) -> String {
    let clauses: Vec<String> = mount.clauses.iter().map(|clause| clause_text(&clause.kind)).collect();
    format!("{} {{ {} }}", mount_head(mount), clauses.join(", "))
}

/// All of a mount before its `{`.
pub(crate) fn mount_head(mount: &MountText) -> String {
    let target = match &mount.target {
        MountTarget::Type(name) => format!("of {}", name.name),
        MountTarget::Proxy(url) => format!("proxy {}", string(&url.name, Quotes::Double)),
    };
    format!("mount {} {target}", path(&mount.path))
}

/// Where the head of a mount ends in its text.
pub(crate) fn mount_head_end(mount: &MountText) -> u32 {
    match &mount.target {
        MountTarget::Type(name) | MountTarget::Proxy(name) => name.span.end,
    }
}

/// One part of a mount, within its braces.
pub(crate) fn clause_text(kind: &MountClauseKind) -> String {
    match kind {
        MountClauseKind::Where(expr) => format!("where {}", wrapped(expr, INDENT.len() + 6, 1)),
        MountClauseKind::Allow(words) => listed("allow", names(words)),
        MountClauseKind::Forward(words) => listed("forward", names(words)),
        MountClauseKind::Fields(shown) => {
            let shown = shown.iter().map(|(name, field)| match field {
                Some(field) => format!("{}: {}", name.name, field.name),
                None => name.name.to_string(),
            });
            listed("fields", shown.collect())
        }
    }
}

fn names(words: &[Ident]) -> Vec<String> {
    words.iter().map(|word| word.name.to_string()).collect()
}

/// Elements behind a word, on as many lines as they need.
fn listed(word: &str, elements: Vec<String>) -> String {
    let mut out = word.to_string();
    let mut column = INDENT.len() + out.len();
    let last = elements.len().saturating_sub(1);
    for (n, element) in elements.iter().enumerate() {
        let width = element.chars().count() + usize::from(n < last);
        if n > 0 && column + 1 + width > LINE_WIDTH {
            out.push('\n');
            out.push_str(&INDENT.repeat(2));
            column = INDENT.len() * 2;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(element);
        out.push_str(if n < last { "," } else { "" });
        column += width;
    }
    out
}
