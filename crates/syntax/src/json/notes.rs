//! Comments and blank lines: what a canonical text has besides its tree.
//!
//! In a canonical text comments stand on lines of their own above an item, behind one on its last line, behind a `{`, or
//! above a `}`; so a list of lines and two texts for each item keep them all. Notes are found by the place of their
//! item: in the text where they come from a text, in the JSON where they come from there.

use std::collections::HashMap;

use smol_str::SmolStr;

use crate::ast::{FieldKindText, FieldText, MountText, TypeExpr, TypeExprKind};
use crate::format_mount::mount_head_end;
use crate::format_schema::head_end;
use crate::parse_schema::ParsedSchema;
use crate::span::Span;
use crate::token::{Comment, Token, TokenKind};

/// What stands around an item.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Note {
    /// The lines above it: comments, and empty ones.
    pub(super) above: Vec<SmolStr>,
    /// Behind it on its last line.
    pub(super) behind: SmolStr,
    /// Behind its `{`.
    pub(super) opening: SmolStr,
    /// The lines above its `}`.
    pub(super) closing: Vec<SmolStr>,
}

/// All comments and blank lines of a schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Notes {
    /// Around `schema NAME`.
    pub(super) header: Note,
    /// Around types, fields, embedded objects, mounts and their parts, by the place at which each starts.
    items: HashMap<u32, Note>,
    /// The lines at the end.
    pub(super) end: Vec<SmolStr>,
}

impl Notes {
    /// What stands around the item at a place.
    pub(super) fn of(&self, item: Span) -> Note {
        self.items.get(&item.start).cloned().unwrap_or_default()
    }

    /// Notes something of the item at a place.
    pub(super) fn at(&mut self, item: Span) -> &mut Note {
        self.items.entry(item.start).or_default()
    }
}

/// The notes of a canonical text.
pub(super) fn of_text(text: &str, schema: &ParsedSchema) -> Notes {
    let mut walk =
        Walk { text, comments: &schema.comments, tokens: &schema.tokens, at: 0, notes: Notes::default() };
    let tree = &schema.parsed.tree;
    let after = |n: usize| tree.item_start(n).unwrap_or(text.len());
    if let Some(name) = &tree.name {
        walk.notes.header.above = walk.above(schema.tokens.first().map_or(0, |token| token.span.start));
        walk.notes.header.behind = walk.behind(name.span.end, after(0));
    }
    for (n, ty) in tree.types.iter().enumerate() {
        walk.notes.at(ty.span).above = walk.above_item(ty.span.start);
        let open = walk.brace_from(head_end(ty));
        walk.members(&ty.fields, Span { start: open, end: ty.span.end }, ty.span);
        walk.notes.at(ty.span).behind = walk.behind(ty.span.end, after(n + 1));
    }
    for (n, mount) in tree.mounts.iter().enumerate() {
        walk.notes.at(mount.span).above = walk.above_item(mount.span.start);
        walk.clauses(mount);
        walk.notes.at(mount.span).behind = walk.behind(mount.span.end, after(tree.types.len() + n + 1));
    }
    walk.notes.end = walk.above(text.len() as u32);
    walk.notes
}

struct Walk<'t> {
    text: &'t str,
    comments: &'t [Comment],
    tokens: &'t [Token],
    /// The next comment.
    at: usize,
    notes: Notes,
}

impl Walk<'_> {
    fn blank_before(&self, place: u32) -> bool {
        let before = &self.text[..place as usize];
        before[before.trim_end().len()..].matches('\n').count() > 1
    }

    /// The lines up to a place.
    fn above(&mut self, place: u32) -> Vec<SmolStr> {
        let mut lines = Vec::new();
        while let Some(comment) = self.comments.get(self.at).filter(|it| it.span.start < place) {
            if self.blank_before(comment.span.start) {
                lines.push(SmolStr::default());
            }
            lines.push(self.text[comment.span.start as usize..comment.span.end as usize].into());
            self.at += 1;
        }
        if (place as usize) < self.text.len() && self.blank_before(place) {
            lines.push(SmolStr::default());
        }
        lines
    }

    /// The lines above a type or a mount.
    fn above_item(&mut self, place: u32) -> Vec<SmolStr> {
        let mut above = self.above(place);
        // A blank line stands above every one of them.
        if above.first().is_some_and(|line| line.is_empty()) {
            above.remove(0);
        }
        above
    }

    /// What stands between the braces of a mount.
    fn clauses(&mut self, mount: &MountText) {
        let open = self.brace_from(mount_head_end(mount));
        if open >= mount.span.end {
            return;
        }
        let last = mount.span.end as usize - 1;
        let after = |n: usize| mount.clauses.get(n).map_or(last, |clause| clause.span.start as usize);
        self.notes.at(mount.span).opening = self.behind(open + 1, after(0));
        for (n, clause) in mount.clauses.iter().enumerate() {
            self.notes.at(clause.span).above = self.above(clause.span.start);
            self.notes.at(clause.span).behind = self.behind(clause.span.end, after(n + 1));
        }
        self.notes.at(mount.span).closing = self.closing(last as u32);
    }

    /// The lines above a brace that closes.
    fn closing(&mut self, place: u32) -> Vec<SmolStr> {
        let mut closing = self.above(place);
        // No blank line stands above a brace.
        while closing.last().is_some_and(|line| line.is_empty()) {
            closing.pop();
        }
        closing
    }

    /// The comments that start behind `end` on its line, and before `next`.
    fn behind(&mut self, end: u32, next: usize) -> SmolStr {
        let mut span: Option<Span> = None;
        while let Some(comment) = self.comments.get(self.at) {
            let start = comment.span.start as usize;
            if start >= next || self.text[end as usize..start].contains('\n') {
                break;
            }
            span = Some(span.map_or(comment.span, |span| span.to(comment.span)));
            self.at += 1;
        }
        span.map_or(SmolStr::default(), |span| self.text[span.start as usize..span.end as usize].into())
    }

    fn brace_from(&self, place: u32) -> u32 {
        let first = self.tokens.partition_point(|token| token.span.start < place);
        let brace = self.tokens[first..].iter().find(|token| token.kind == TokenKind::LeftBrace);
        brace.map_or(place, |token| token.span.start)
    }

    /// The members between braces; `owner` is the type or the object that they belong to.
    fn members(&mut self, fields: &[FieldText], braces: Span, owner: Span) {
        let last = braces.end as usize - 1;
        let after = |n: usize| fields.get(n).map_or(last, |field: &FieldText| field.span.start as usize);
        self.notes.at(owner).opening = self.behind(braces.start + 1, after(0));
        for (n, field) in fields.iter().enumerate() {
            self.notes.at(field.span).above = self.above(field.span.start);
            if let FieldKindText::Stored(ty) = &field.kind {
                self.object_in(ty);
            }
            self.notes.at(field.span).behind = self.behind(field.span.end, after(n + 1));
        }
        self.notes.at(owner).closing = self.closing(last as u32);
    }

    fn object_in(&mut self, ty: &TypeExpr) {
        match &ty.kind {
            TypeExprKind::Object(fields) => self.members(fields, ty.span, ty.span),
            TypeExprKind::Union(union) => self.members(&union.variants, union.braces, ty.span),
            TypeExprKind::List(of) | TypeExprKind::Set(of) | TypeExprKind::Map(of) => self.object_in(of),
            TypeExprKind::Name(_) | TypeExprKind::Enum(_) => {}
        }
    }
}
