//! JSON to the tree of a mount.

use super::notes::Note;
use super::read::{Reader, head};
use super::value::{Json, JsonKind};
use crate::ast::{Ident, MountClause, MountClauseKind, MountSegment, MountTarget, MountText, SchemaText};
use crate::format_mount::{clause_text, mount_head};
use crate::span::Span;

/// The parts that a mount may have.
const CLAUSES: [&str; 4] = ["where", "allow", "fields", "forward"];

impl Reader<'_> {
    pub(super) fn mount(&mut self, json: &Json) -> Option<MountText> {
        let known = ["above", "mount", "of", "proxy", "opening", "clauses", "closing", "behind"];
        let members = self.members(json, "a mount", &known)?;
        let before = self.found.len();
        let path = self.required(&members, json, "mount", "a mount")?;
        let path_span = path.span;
        let path = self.within("mount", |reader| reader.mount_path(path))?;
        let url = |reader: &mut Self, value: &Json| {
            let name = reader.within("proxy", |reader| reader.str(value))?;
            Some(MountTarget::Proxy(Ident { name, span: value.span }))
        };
        let target = match (members.get("of"), members.get("proxy")) {
            (Some(_), None) => MountTarget::Type(self.name_at(&members, "of")?),
            (None, Some(value)) => url(self, value)?,
            _ => {
                let message = "a mount has one of the members \"of\" and \"proxy\"";
                self.wrong(head(json), message, "");
                return None;
            }
        };
        let mut mount = MountText { path, target, clauses: Vec::new(), span: json.span };
        if self.found.len() == before {
            let tree = SchemaText { mounts: vec![mount.clone()], ..SchemaText::default() };
            self.probe(&format!("{}\n", mount_head(&mount)), &tree, path_span);
        }
        let note = Note {
            above: self.lines_at(&members, "above"),
            behind: self.behind_at(&members, "behind"),
            opening: self.behind_at(&members, "opening"),
            closing: self.lines_at(&members, "closing"),
        };
        *self.notes.at(json.span) = note;
        if let Some(clauses) = members.get("clauses") {
            let of = MountText { clauses: Vec::new(), ..mount.clone() };
            let clauses =
                self.within("clauses", |reader| reader.list(clauses, |it, clause| it.clause(&of, clause)));
            mount.clauses = clauses.into_iter().flatten().collect();
        }
        Some(mount)
    }

    fn mount_path(&mut self, json: &Json) -> Option<Vec<MountSegment>> {
        let text = self.str(json)?;
        let ident = |reader: &mut Self, name: &str| {
            reader.ident(&Json { kind: JsonKind::Str(name.into()), span: json.span })
        };
        let segments = text.split('/').map(|segment| {
            match segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) {
                Some(param) => MountSegment::Param(ident(self, param)),
                None => MountSegment::Name(ident(self, segment)),
            }
        });
        Some(segments.collect())
    }

    fn clause(&mut self, of: &MountText, json: &Json) -> Option<MountClause> {
        let known: Vec<&str> = ["above", "behind"].into_iter().chain(CLAUSES).collect();
        let members = self.members(json, "a part of a mount", &known)?;
        let before = self.found.len();
        let given: Vec<&str> = CLAUSES.into_iter().filter(|name| members.get(name).is_some()).collect();
        let [name] = given[..] else {
            if self.found.len() == before {
                let message = format!("a part of a mount has one of the members {}", CLAUSES.join(", "));
                self.wrong(head(json), message, "");
            }
            return None;
        };
        let value = members.get(name)?;
        let kind = self.within(name, |reader| match name {
            "where" => MountClauseKind::Where(reader.whole_expression(value)),
            "allow" => MountClauseKind::Allow(reader.list(value, Self::ident)),
            "forward" => MountClauseKind::Forward(reader.list(value, Self::ident)),
            _ => {
                MountClauseKind::Fields(reader.list(value, Self::shown_field).into_iter().flatten().collect())
            }
        });
        let note = Note {
            above: self.lines_at(&members, "above"),
            behind: self.behind_at(&members, "behind"),
            ..Note::default()
        };
        *self.notes.at(json.span) = note;
        let clause = MountClause { kind, span: json.span };
        if self.found.len() == before {
            let text = format!("{} {{\n{}\n}}\n", mount_head(of), clause_text(&clause.kind));
            let mount = MountText { clauses: vec![clause.clone()], ..of.clone() };
            let tree = SchemaText { mounts: vec![mount], ..SchemaText::default() };
            self.probe(&text, &tree, Span { start: value.span.start, end: value.span.end });
        }
        Some(clause)
    }

    fn shown_field(&mut self, json: &Json) -> Option<(Ident, Option<Ident>)> {
        if matches!(json.kind, JsonKind::Str(_)) {
            return Some((self.ident(json), None));
        }
        let members = self.members(json, "a shown field", &["name", "field"])?;
        self.required(&members, json, "name", "a shown field")?;
        let name = self.name_at(&members, "name")?;
        Some((name, self.name_at(&members, "field")))
    }
}
