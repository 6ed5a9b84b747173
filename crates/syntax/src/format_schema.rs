//! From the text of a schema to its canonical text.
//!
//! Invariants: the result means the same, has the same comments, and is its own canonical text. Comments stay before
//! what they stood before, or at the end of the line that they ended; one within a field or a type's head moves to the
//! line above. Blank lines between members stay, one at most. Names and types are aligned between blank lines.

use crate::ast::{
    FieldKindText, FieldText, Ident, KeyText, MountText, OptionArgument, OptionText, TypeExpr, TypeExprKind,
    TypeText,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::format_mount::{clause_text, mount_head, mount_head_end};
use crate::parse_schema::{self, ParsedSchema};
use crate::print_expression::{INDENT, LINE_WIDTH, Quotes, flat, string, wrapped};
use crate::span::Span;
use crate::token::{Comment, Token, TokenKind};

/// The longest name that others are aligned with, in characters.
const ALIGNED_NAME: usize = 24;

/// The canonical text of a schema, or what is wrong with it.
pub fn format_schema(text: &str) -> Result<String, Vec<Diagnostic>> {
    let ParsedSchema { parsed, comments, tokens } = parse_schema::parse(text);
    if parsed.diagnostics.iter().any(|d| d.severity == Severity::Error) {
        return Err(parsed.diagnostics);
    }
    let comments = comments.into_iter().map(|comment| (comment, false)).collect();
    let out = String::with_capacity(text.len());
    let mut formatter = Formatter { text, comments, written: 0, tokens: &tokens, out, block_start: 0 };
    let after = |n: usize| parsed.tree.item_start(n).unwrap_or(text.len());
    if let Some(name) = &parsed.tree.name {
        formatter.comments_above(Span { start: tokens[0].span.start, end: name.span.end }, 0);
        formatter.out.push_str(&format!("schema {}", name.name));
        formatter.comments_behind(name.span.end as usize, after(0));
    }
    for (n, t) in parsed.tree.types.iter().enumerate() {
        formatter.type_text(t, after(n + 1));
    }
    for (n, mount) in parsed.tree.mounts.iter().enumerate() {
        formatter.mount(mount, after(parsed.tree.types.len() + n + 1));
    }
    formatter.comments_above(Span { start: text.len() as u32, end: text.len() as u32 }, 0);
    Ok(formatter.out)
}

struct Formatter<'t> {
    text: &'t str,
    /// All comments, and whether each is written.
    comments: Vec<(Comment, bool)>,
    /// All comments before this one are written.
    written: usize,
    tokens: &'t [Token],
    out: String,
    /// The length of the output behind the last `{` line: where no blank line goes.
    block_start: usize,
}

impl Formatter<'_> {
    fn indent(&mut self, indent: usize) {
        (0..indent).for_each(|_| self.out.push_str(INDENT));
    }

    /// Whether a blank line stands before this place in the source.
    fn blank_before(&self, place: u32) -> bool {
        let before = &self.text[..place as usize];
        before[before.trim_end().len()..].matches('\n').count() > 1
    }

    /// A blank line, unless one is there, or a block just begins.
    fn blank(&mut self) {
        if self.out.len() > self.block_start && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// The comments before an item and within it that are not yet written, each on its own line, and the blank lines
    /// that stood before them and before the item.
    fn comments_above(&mut self, item: Span, indent: usize) {
        for n in self.written..self.comments.len() {
            let (comment, written) = self.comments[n];
            if comment.span.start >= item.end.max(item.start) {
                break;
            }
            if written {
                continue;
            }
            self.comments[n].1 = true;
            if comment.span.start < item.start && self.blank_before(comment.span.start) {
                self.blank();
            }
            self.indent(indent);
            self.out.push_str(&self.text[comment.span.start as usize..comment.span.end as usize]);
            self.out.push('\n');
        }
        while self.comments.get(self.written).is_some_and(|(_, written)| *written) {
            self.written += 1;
        }
        if self.blank_before(item.start) && (item.start as usize) < self.text.len() {
            self.blank();
        }
    }

    /// The comments that stood on the same line behind `end`, and before `next`; then the line's end.
    fn comments_behind(&mut self, end: usize, next: usize) {
        let first = self.comments.partition_point(|(comment, _)| (comment.span.start as usize) < end);
        for (comment, written) in &mut self.comments[first..] {
            let start = comment.span.start as usize;
            if start >= next || self.text[end..start].contains('\n') {
                break;
            }
            *written = true;
            self.out.push_str("  ");
            self.out.push_str(&self.text[start..comment.span.end as usize]);
        }
        self.out.push('\n');
    }

    /// Whether comments that are not yet written stand within.
    fn comments_within(&self, span: Span) -> bool {
        let first = self.comments.partition_point(|(comment, _)| comment.span.start < span.start);
        self.comments[first..]
            .iter()
            .take_while(|(c, _)| c.span.start < span.end)
            .any(|(_, written)| !written)
    }

    fn type_text(&mut self, t: &TypeText, next: usize) {
        let open = self.brace_from(head_end(t));
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.comments_above(Span { start: t.span.start, end: open }, 0);
        let mut line = format!("{}type {}", if t.is_abstract { "abstract " } else { "" }, t.name.name);
        if !t.interfaces.is_empty() {
            let names: Vec<&str> = t.interfaces.iter().map(|name| name.name.as_str()).collect();
            line.push_str(&format!(" is {}", names.join(", ")));
        }
        t.root.iter().for_each(|root| line.push_str(&format!(" in {}", root.name)));
        let options = options(&t.options);
        let fits = line.chars().count() + options.chars().count() + 3 <= LINE_WIDTH;
        self.out.push_str(&line);
        if options.is_empty() || fits {
            self.out.push_str(if options.is_empty() { "" } else { " " });
            self.out.push_str(&options);
            self.out.push_str(" {");
        } else {
            for option in &t.options {
                self.out.push('\n');
                self.indent(1);
                self.out.push_str(&self::options(std::slice::from_ref(option)));
            }
            self.out.push_str("\n{");
        }
        self.members(&t.fields, Span { start: open, end: t.span.end }, 0);
        self.comments_behind(t.span.end as usize, next);
    }

    fn mount(&mut self, mount: &MountText, next: usize) {
        let open = self.brace_from(mount_head_end(mount));
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        let braces = open < mount.span.end;
        let head = if braces { open } else { mount.span.end };
        self.comments_above(Span { start: mount.span.start, end: head }, 0);
        self.out.push_str(&mount_head(mount));
        let last = mount.span.end as usize - usize::from(braces);
        if braces && (!mount.clauses.is_empty() || self.comments_within(mount.span)) {
            self.out.push_str(" {");
            let start = |n: usize| mount.clauses.get(n).map_or(last, |clause| clause.span.start as usize);
            self.comments_behind(open as usize + 1, start(0));
            self.block_start = self.out.len();
            for (n, clause) in mount.clauses.iter().enumerate() {
                self.comments_above(clause.span, 1);
                self.indent(1);
                self.out.push_str(&clause_text(&clause.kind));
                self.comments_behind(clause.span.end as usize, start(n + 1));
            }
            self.comments_above(Span { start: last as u32, end: last as u32 }, 1);
            self.out.truncate(self.out.trim_end().len());
            self.out.push_str("\n}");
        }
        self.comments_behind(mount.span.end as usize, next);
    }

    /// The place of the first `{` from here on.
    fn brace_from(&self, place: u32) -> u32 {
        let first = self.tokens.partition_point(|token| token.span.start < place);
        let brace = self.tokens[first..].iter().find(|token| token.kind == TokenKind::LeftBrace);
        brace.map_or(place, |token| token.span.start)
    }

    /// The members behind a `{` that is written, and the `}`. `braces` is from the one to the other.
    fn members(&mut self, fields: &[FieldText], braces: Span, indent: usize) {
        if fields.is_empty() && !self.comments_within(braces) {
            self.out.push('}');
            return;
        }
        let last = braces.end as usize - 1;
        let first = fields.first().map_or(last, |field| field.span.start as usize);
        self.comments_behind(braces.start as usize + 1, first);
        self.block_start = self.out.len();
        let widths = self.widths(fields, braces.start);
        for (n, field) in fields.iter().enumerate() {
            let next = fields.get(n + 1).map_or(last, |field| field.span.start as usize);
            self.field(field, widths[n], indent + 1);
            self.comments_behind(field.span.end as usize, next);
        }
        // Before the brace, no blank line is kept.
        self.comments_above(Span { start: last as u32, end: last as u32 }, indent + 1);
        self.out.truncate(self.out.trim_end().len());
        self.out.push('\n');
        self.indent(indent);
        self.out.push('}');
    }

    /// For each field the width of its name and colon: that of the longest between two blank lines.
    fn widths(&self, fields: &[FieldText], open: u32) -> Vec<usize> {
        let mut widths = Vec::with_capacity(fields.len());
        let mut group = 0;
        let mut before = open;
        for field in fields {
            let first = self.comments.partition_point(|(comment, _)| comment.span.start < before);
            let between = self.comments[first..].iter().map(|(comment, _)| comment.span.start);
            let mut places = between.take_while(|start| *start < field.span.start).chain([field.span.start]);
            let blank = places.any(|place| self.blank_before(place));
            if blank {
                let most = widths[group..].iter().copied().max().unwrap_or(0);
                widths[group..].fill(most);
                group = widths.len();
            }
            let name = field.name.name.chars().count();
            let colon = usize::from(!matches!(field.kind, FieldKindText::Derived(_)));
            widths.push(if name > ALIGNED_NAME { 0 } else { name + colon });
            before = field.span.end;
        }
        let most = widths[group..].iter().copied().max().unwrap_or(0);
        widths[group..].fill(most);
        widths
    }

    fn field(&mut self, field: &FieldText, width: usize, indent: usize) {
        self.hoist(field, indent);
        self.indent(indent);
        let derived = matches!(field.kind, FieldKindText::Derived(_));
        let colon = if derived { "" } else { ":" };
        let name = format!("{}{colon}", field.name.name);
        self.out.push_str(&format!("{name:width$} "));
        let column = self.out.len() - self.out.rfind('\n').map_or(0, |last| last + 1);
        match &field.kind {
            FieldKindText::Stored(t) => self.stored(t, field, column, indent),
            FieldKindText::Link(to) => self.out.push_str(&format!("link {}", targets(to))),
            FieldKindText::Links(to) => self.out.push_str(&format!("links {}", targets(to))),
            FieldKindText::Collection { children, ordered } => {
                self.out.push_str(&format!(
                    "{}collection {}",
                    if *ordered { "ordered " } else { "" },
                    targets(children)
                ));
            }
            FieldKindText::Inverse { of_type, of_field } => {
                self.out.push_str(&format!("inverse {}.{}", of_type.name, of_field.name));
            }
            FieldKindText::Derived(expr) => {
                self.out.push_str(":= ");
                self.out.push_str(&wrapped(expr, column + 3, indent));
            }
        }
        if !field.options.is_empty() {
            // Behind an expression, a word without a comma would read like a part of it.
            self.out.push_str(if derived { ", " } else { " " });
            self.out.push_str(&options(&field.options));
        }
    }

    /// Writes the comments before a field, and those within it that stand in no embedded object.
    fn hoist(&mut self, field: &FieldText, indent: usize) {
        let mut objects = Vec::new();
        if let FieldKindText::Stored(t) = &field.kind {
            object_in(t, &mut objects);
        }
        let first = self.comments.partition_point(|(comment, _)| comment.span.start < field.span.start);
        let within = |n: &usize| self.comments[*n].0.span.start < field.span.end;
        let in_object = |n: &usize| {
            let (comment, written) = self.comments[*n];
            !written
                && objects.iter().any(|o: &Span| o.start < comment.span.start && comment.span.end < o.end)
        };
        let kept: Vec<usize> = (first..self.comments.len()).take_while(within).filter(in_object).collect();
        kept.iter().for_each(|n| self.comments[*n].1 = true);
        self.comments_above(field.span, indent);
        kept.iter().for_each(|n| self.comments[*n].1 = false);
        self.written = kept.first().map_or(self.written, |first| self.written.min(*first));
    }

    /// The type of a stored field, on one line where it fits and holds no comments.
    fn stored(&mut self, t: &TypeExpr, field: &FieldText, column: usize, indent: usize) {
        let line = type_line(t);
        let options = if field.options.is_empty() { 0 } else { 1 + options(&field.options).chars().count() };
        let fits = column + line.chars().count() + options <= LINE_WIDTH;
        if fits && !self.comments_within(t.span) {
            self.out.push_str(&line);
        } else {
            self.type_lines(t, indent);
        }
    }

    /// A type with each field of an object, or each value of an enum, on a line of its own.
    fn type_lines(&mut self, t: &TypeExpr, indent: usize) {
        let mut around = |before: &str, inner: &TypeExpr, after: &str| {
            self.out.push_str(before);
            self.type_lines(inner, indent);
            self.out.push_str(after);
        };
        match &t.kind {
            TypeExprKind::Name(name) => self.out.push_str(name),
            TypeExprKind::Enum(values) => {
                for (n, value) in values.iter().enumerate() {
                    if n > 0 {
                        self.out.push('\n');
                        self.indent(indent + 1);
                        self.out.push_str("| ");
                    }
                    self.out.push_str(&string(&value.name, Quotes::Double));
                }
            }
            TypeExprKind::Object(fields) => {
                self.out.push('{');
                self.members(fields, t.span, indent);
            }
            TypeExprKind::Union(union) => {
                self.out.push_str(&format!("union {} {{", union.discriminator.name));
                self.members(&union.variants, union.braces, indent);
            }
            TypeExprKind::List(inner) => around("[", inner, "]"),
            TypeExprKind::Set(inner) => around("set<", inner, ">"),
            TypeExprKind::Map(inner) => around("map<", inner, ">"),
        }
    }
}

/// The end of the last part of a type's head.
pub(crate) fn head_end(t: &TypeText) -> u32 {
    let parts = t.interfaces.iter().map(|i| i.span).chain(t.options.iter().map(|o| o.span));
    parts.chain(t.root.iter().map(|root| root.span)).fold(t.name.span.end, |end, span| end.max(span.end))
}

/// The places of the outermost embedded objects within a type.
fn object_in(t: &TypeExpr, found: &mut Vec<Span>) {
    match &t.kind {
        TypeExprKind::Object(_) => found.push(t.span),
        TypeExprKind::Union(union) => found.push(union.braces),
        TypeExprKind::List(inner) | TypeExprKind::Set(inner) | TypeExprKind::Map(inner) => {
            object_in(inner, found)
        }
        TypeExprKind::Name(_) | TypeExprKind::Enum(_) => {}
    }
}

/// A type on one line.
pub(crate) fn type_line(t: &TypeExpr) -> String {
    match &t.kind {
        TypeExprKind::Name(name) => name.to_string(),
        TypeExprKind::Enum(values) => {
            let values: Vec<String> =
                values.iter().map(|value| string(&value.name, Quotes::Double)).collect();
            values.join(" | ")
        }
        TypeExprKind::Object(fields) => object_line(fields),
        TypeExprKind::Union(union) => {
            format!("union {} {}", union.discriminator.name, object_line(&union.variants))
        }
        TypeExprKind::List(inner) => format!("[{}]", type_line(inner)),
        TypeExprKind::Set(inner) => format!("set<{}>", type_line(inner)),
        TypeExprKind::Map(inner) => format!("map<{}>", type_line(inner)),
    }
}

/// Fields in braces, on one line.
fn object_line(fields: &[FieldText]) -> String {
    if fields.is_empty() {
        return "{}".to_string();
    }
    let fields: Vec<String> = fields.iter().map(field_line).collect();
    format!("{{ {} }}", fields.join(", "))
}

/// The types that a link may lead to, or a collection hold.
pub(crate) fn targets(to: &[Ident]) -> String {
    to.iter().map(|name| name.name.as_str()).collect::<Vec<_>>().join(" | ")
}

/// A field of an object on one line.
pub(crate) fn field_line(field: &FieldText) -> String {
    let name = &field.name.name;
    let mut line = match &field.kind {
        FieldKindText::Stored(t) => format!("{name}: {}", type_line(t)),
        FieldKindText::Link(to) => format!("{name}: link {}", targets(to)),
        FieldKindText::Links(to) => format!("{name}: links {}", targets(to)),
        FieldKindText::Collection { children, ordered: true } => {
            format!("{name}: ordered collection {}", targets(children))
        }
        FieldKindText::Collection { children, ordered: false } => {
            format!("{name}: collection {}", targets(children))
        }
        FieldKindText::Inverse { of_type, of_field } => {
            format!("{name}: inverse {}.{}", of_type.name, of_field.name)
        }
        FieldKindText::Derived(expr) => format!("{name} := {}", flat(expr, Quotes::Single)),
    };
    if !field.options.is_empty() {
        line.push_str(if matches!(field.kind, FieldKindText::Derived(_)) { ", " } else { " " });
        line.push_str(&options(&field.options));
    }
    line
}

/// The parts of an index on one line, as in `customer, at desc`.
pub(crate) fn key_list(keys: &[KeyText]) -> String {
    let key = |key: &KeyText| format!("{}{}", key.field.name, if key.descending { " desc" } else { "" });
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// Options on one line: a comma where one of two neighbours has an argument, else a space.
pub(crate) fn options(options: &[OptionText]) -> String {
    let mut line = String::new();
    let plain = |option: &OptionText| option.argument == OptionArgument::None;
    for (n, option) in options.iter().enumerate() {
        if n > 0 {
            line.push_str(if plain(&options[n - 1]) && plain(option) { " " } else { ", " });
        }
        line.push_str(&option.name);
        match &option.argument {
            OptionArgument::None => {}
            OptionArgument::Expr(expr) => {
                let url = option.name == "url";
                line.push_str(if url { " := " } else { " " });
                line.push_str(&flat(expr, if url { Quotes::Single } else { Quotes::Double }));
            }
            OptionArgument::Word(word) => line.push_str(&format!(" {}", word.name)),
            OptionArgument::Words(words) => {
                let words: Vec<&str> = words.iter().map(|word| word.name.as_str()).collect();
                line.push_str(&format!(" ({})", words.join(", ")));
            }
            OptionArgument::Keys(keys) => line.push_str(&format!(" ({})", key_list(keys))),
        }
    }
    line
}
