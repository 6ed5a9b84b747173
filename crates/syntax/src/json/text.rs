//! Trees and their notes as text, an item a line: not canonical, but of the same meaning. The formatter does the rest.

use smol_str::SmolStr;

use super::notes::{Note, Notes};
use crate::ast::{FieldKindText, FieldText, MountText, SchemaText, TypeExpr, TypeExprKind, TypeText};
use crate::format_mount::{clause_text, mount_head};
use crate::format_schema::{field_line, options, type_line};

/// The text of a schema.
pub(super) fn schema(tree: &SchemaText, notes: &Notes) -> String {
    let mut writer = Writer { notes, out: String::new() };
    if let Some(name) = &tree.name {
        writer.lines(&notes.header.above);
        writer.out.push_str(&format!("schema {}", name.name));
        writer.line_end(&notes.header.behind);
    }
    for ty in &tree.types {
        writer.type_text(ty);
    }
    for mount in &tree.mounts {
        writer.mount(mount);
    }
    writer.lines(&notes.end);
    writer.out
}

/// The head of a type on one line, up to its `{`.
pub(super) fn type_head(ty: &TypeText) -> String {
    let mut head = format!("{}type {}", if ty.is_abstract { "abstract " } else { "" }, ty.name.name);
    if !ty.interfaces.is_empty() {
        let names: Vec<&str> = ty.interfaces.iter().map(|name| name.name.as_str()).collect();
        head.push_str(&format!(" is {}", names.join(", ")));
    }
    ty.root.iter().for_each(|root| head.push_str(&format!(" in {}", root.name)));
    if !ty.options.is_empty() {
        head.push(' ');
        head.push_str(&options(&ty.options));
    }
    head.push_str(" {");
    head
}

struct Writer<'a> {
    notes: &'a Notes,
    out: String,
}

impl Writer<'_> {
    fn lines(&mut self, lines: &[SmolStr]) {
        for line in lines {
            self.out.push_str(line);
            self.out.push('\n');
        }
    }

    fn line_end(&mut self, behind: &str) {
        if !behind.is_empty() {
            self.out.push(' ');
            self.out.push_str(behind);
        }
        self.out.push('\n');
    }

    fn type_text(&mut self, ty: &TypeText) {
        let note = self.notes.of(ty.span);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.lines(&note.above);
        self.out.push_str(&type_head(ty));
        self.members(&ty.fields, &note);
        self.line_end(&note.behind);
    }

    fn mount(&mut self, mount: &MountText) {
        let note = self.notes.of(mount.span);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.lines(&note.above);
        self.out.push_str(&mount_head(mount));
        self.out.push_str(" {");
        self.line_end(&note.opening);
        for clause in &mount.clauses {
            let note = self.notes.of(clause.span);
            self.lines(&note.above);
            self.out.push_str(&clause_text(&clause.kind));
            self.line_end(&note.behind);
        }
        self.lines(&note.closing);
        self.out.push('}');
        self.line_end(&note.behind);
    }

    /// What stands behind a `{`, and the `}`.
    fn members(&mut self, fields: &[FieldText], note: &Note) {
        self.line_end(&note.opening);
        for field in fields {
            let note = self.notes.of(field.span);
            self.lines(&note.above);
            match &field.kind {
                FieldKindText::Stored(ty) if holds_object(ty) => {
                    self.out.push_str(&format!("{}: ", field.name.name));
                    self.type_lines(ty);
                    self.out.push(' ');
                    self.out.push_str(&options(&field.options));
                }
                _ => self.out.push_str(&field_line(field)),
            }
            self.line_end(&note.behind);
        }
        self.lines(&note.closing);
        self.out.push('}');
    }

    fn type_lines(&mut self, ty: &TypeExpr) {
        let mut around = |before: &str, inner: &TypeExpr, after: &str| {
            self.out.push_str(before);
            self.type_lines(inner);
            self.out.push_str(after);
        };
        match &ty.kind {
            TypeExprKind::Object(fields) => {
                self.out.push('{');
                let note = self.notes.of(ty.span);
                self.members(fields, &note);
            }
            TypeExprKind::Union(union) => {
                self.out.push_str(&format!("union {} {{", union.discriminator.name));
                let note = self.notes.of(ty.span);
                self.members(&union.variants, &note);
            }
            TypeExprKind::List(inner) => around("[", inner, "]"),
            TypeExprKind::Set(inner) => around("set<", inner, ">"),
            TypeExprKind::Map(inner) => around("map<", inner, ">"),
            TypeExprKind::Name(_) | TypeExprKind::Enum(_) => self.out.push_str(&type_line(ty)),
        }
    }
}

fn holds_object(ty: &TypeExpr) -> bool {
    match &ty.kind {
        TypeExprKind::Object(_) | TypeExprKind::Union(_) => true,
        TypeExprKind::List(inner) | TypeExprKind::Set(inner) | TypeExprKind::Map(inner) => {
            holds_object(inner)
        }
        TypeExprKind::Name(_) | TypeExprKind::Enum(_) => false,
    }
}
