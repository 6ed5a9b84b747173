//! JSON to the tree of a schema. What is wrong is told with its place in the JSON and its JSON pointer, and the rest is
//! read all the same.

use smol_str::SmolStr;

use super::MAX_JSON_BYTES;
use super::notes::{Note, Notes};
use super::text::type_head;
use super::value::{self, Json, JsonKind, Key};
use crate::ast::{
    Expr, FieldKindText, FieldText, Ident, KeyText, OptionArgument, OptionText, SchemaText, TypeExpr,
    TypeExprKind, TypeText, UnionText,
};
use crate::diagnostic::Diagnostic;
use crate::format_schema::field_line;
use crate::limits::{MAX_DEPTH, MAX_NAME_CHARACTERS};
use crate::nearest::nearest;
use crate::option_rules::{FIELD_OPTIONS, Follows, OptionRule, TYPE_OPTIONS};
use crate::span::Span;
use crate::{dump_schema, lexer, parse_schema};

/// The members of an option: its name, and what it may be given.
const OPTION_MEMBERS: [&str; 5] = ["option", "value", "word", "words", "keys"];

/// Reads one document.
pub(super) struct Reader<'t> {
    text: &'t str,
    pub(super) found: Vec<Diagnostic>,
    pub(super) notes: Notes,
    /// From the document to what is being read, as the parts of a JSON pointer.
    pointer: Vec<SmolStr>,
}

/// The members of an object, each looked for by its name.
pub(super) struct Members<'j>(&'j [(Key, Json)]);

impl<'j> Members<'j> {
    pub(super) fn get(&self, name: &str) -> Option<&'j Json> {
        self.0.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Reader<'t> {
        Reader { text, found: Vec::new(), notes: Notes::default(), pointer: Vec::new() }
    }

    /// The JSON itself; none where it is none.
    pub(super) fn document(&mut self) -> Option<Json> {
        if self.text.len() > MAX_JSON_BYTES {
            let message =
                format!("the JSON has {} bytes, and at most {MAX_JSON_BYTES} are read", self.text.len());
            self.found.push(Diagnostic::error("text-too-long", Span::default(), message));
            return None;
        }
        value::read(self.text).map_err(|found| self.found.push(found)).ok()
    }

    /// Tells what is wrong with the value that is being read.
    pub(super) fn wrong(&mut self, span: Span, message: impl std::fmt::Display, help: &str) {
        self.wrong_as("json-form", span, message, help);
    }

    pub(super) fn wrong_as(
        &mut self,
        code: &'static str,
        span: Span,
        message: impl std::fmt::Display,
        help: &str,
    ) {
        let pointer: String = self.pointer.iter().map(|part| format!("/{part}")).collect();
        let at = if pointer.is_empty() { String::new() } else { format!(" (at {pointer})") };
        let diagnostic = Diagnostic::error(code, span, format!("{message}{at}"));
        self.found.push(if help.is_empty() { diagnostic } else { diagnostic.help(help) });
    }

    /// Reads a part of what is being read.
    pub(super) fn within<T>(&mut self, part: impl std::fmt::Display, f: impl FnOnce(&mut Self) -> T) -> T {
        let part = part.to_string().replace('~', "~0").replace('/', "~1");
        self.pointer.push(part.into());
        let read = f(self);
        self.pointer.pop();
        read
    }

    /// The members of an object that may have these.
    pub(super) fn members<'j>(&mut self, json: &'j Json, what: &str, known: &[&str]) -> Option<Members<'j>> {
        let JsonKind::Object(members) = &json.kind else {
            self.wrong(json.span, format!("{what} is an object, and this is {}", json.describe()), "");
            return None;
        };
        for (key, _) in members {
            if !known.contains(&key.name.as_str()) {
                let help = match nearest(&key.name, known.iter().copied()) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("it has {}", known.join(", ")),
                };
                self.wrong(key.span, format!("{what} has no member \"{}\"", key.name), &help);
            }
        }
        Some(Members(members))
    }

    /// A member that must be there.
    pub(super) fn required<'j>(
        &mut self,
        members: &Members<'j>,
        of: &Json,
        name: &str,
        what: &str,
    ) -> Option<&'j Json> {
        let value = members.get(name);
        if value.is_none() {
            self.wrong(head(of), format!("{what} needs the member \"{name}\""), "");
        }
        value
    }

    pub(super) fn list<T>(&mut self, json: &Json, mut each: impl FnMut(&mut Self, &Json) -> T) -> Vec<T> {
        let JsonKind::List(elements) = &json.kind else {
            self.wrong(json.span, format!("expected a list, found {}", json.describe()), "");
            return Vec::new();
        };
        let elements = elements.iter().enumerate();
        elements.map(|(n, element)| self.within(n, |reader| each(reader, element))).collect()
    }

    pub(super) fn str(&mut self, json: &Json) -> Option<SmolStr> {
        match &json.kind {
            JsonKind::Str(text) => Some(text.clone()),
            _ => {
                self.wrong(json.span, format!("expected a text, found {}", json.describe()), "");
                None
            }
        }
    }

    /// A name.
    pub(super) fn ident(&mut self, json: &Json) -> Ident {
        let name = self.str(json).unwrap_or_default();
        let characters = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let well =
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(characters);
        if matches!(json.kind, JsonKind::Str(_)) && (!well || name.len() > MAX_NAME_CHARACTERS) {
            let help = "a name is made of the letters a to z, digits and _, begins with a letter, and has at most 128";
            self.wrong_as("bad-name", json.span, format!("\"{name}\" is no name"), help);
        }
        Ident { name, span: json.span }
    }

    /// The types of a link: a name, or a list of names.
    fn targets(&mut self, json: &Json) -> Option<Vec<Ident>> {
        if !matches!(json.kind, JsonKind::List(_)) {
            return Some(vec![self.ident(json)]);
        }
        let targets = self.list(json, Self::ident);
        if targets.is_empty() {
            self.wrong(json.span, "there is one type at least", "");
            return None;
        }
        Some(targets)
    }

    /// A member that is a name.
    pub(super) fn name_at(&mut self, members: &Members<'_>, name: &str) -> Option<Ident> {
        let value = members.get(name)?;
        Some(self.within(name, |reader| reader.ident(value)))
    }

    fn bool_at(&mut self, members: &Members<'_>, name: &str) -> bool {
        match members.get(name) {
            None => false,
            Some(Json { kind: JsonKind::Bool(value), .. }) => *value,
            Some(other) => self.within(name, |reader| {
                reader.wrong(other.span, format!("expected true or false, found {}", other.describe()), "");
                false
            }),
        }
    }

    /// Comment lines and empty lines.
    pub(super) fn lines_at(&mut self, members: &Members<'_>, name: &str) -> Vec<SmolStr> {
        let Some(value) = members.get(name) else { return Vec::new() };
        self.within(name, |reader| {
            reader.list(value, |reader, line| {
                let text = reader.str(line).unwrap_or_default();
                let comments = lexer::comments(&text);
                if !text.is_empty() && comments != Some(1) {
                    reader.wrong(line.span, "a line is empty or one comment", "as in \"// of these\"");
                    return SmolStr::default();
                }
                text
            })
        })
    }

    /// Comments behind something on its line.
    pub(super) fn behind_at(&mut self, members: &Members<'_>, name: &str) -> SmolStr {
        let Some(value) = members.get(name) else { return SmolStr::default() };
        self.within(name, |reader| {
            let text = reader.str(value).unwrap_or_default();
            if !text.is_empty() && lexer::comments(&text).is_none_or(|count| count == 0) {
                reader.wrong(value.span, "this is not a comment", "as in \"// of these\"");
                return SmolStr::default();
            }
            text
        })
    }

    /// A whole schema.
    pub(super) fn schema(&mut self, json: &Json) -> SchemaText {
        let known = ["above", "schema", "behind", "types", "mounts", "end"];
        let Some(members) = self.members(json, "a schema", &known) else { return SchemaText::default() };
        let name = self.name_at(&members, "schema");
        let (above, behind) = (self.lines_at(&members, "above"), self.behind_at(&members, "behind"));
        if name.is_none() && (!above.is_empty() || !behind.is_empty()) {
            let message = "\"above\" and \"behind\" of a schema belong to its name, and it has none";
            self.wrong(head(json), message, "put the comments into \"above\" of the first type");
        }
        self.notes.header = Note { above, behind, ..Note::default() };
        self.notes.end = self.lines_at(&members, "end");
        let types = match self.required(&members, json, "types", "a schema") {
            Some(types) => self.within("types", |reader| reader.list(types, Self::type_text)),
            None => Vec::new(),
        };
        let mounts = match members.get("mounts") {
            Some(mounts) => self.within("mounts", |reader| reader.list(mounts, Self::mount)),
            None => Vec::new(),
        };
        let (types, mounts) = (types.into_iter().flatten().collect(), mounts.into_iter().flatten().collect());
        SchemaText { name, types, mounts }
    }

    fn type_text(&mut self, json: &Json) -> Option<TypeText> {
        let known =
            ["above", "type", "abstract", "is", "in", "options", "opening", "fields", "closing", "behind"];
        let members = self.members(json, "a type", &known)?;
        let before = self.found.len();
        self.required(&members, json, "type", "a type")?;
        let name = self.name_at(&members, "type")?;
        let interfaces = members.get("is").map(|names| self.within("is", |it| it.list(names, Self::ident)));
        let root = self.name_at(&members, "in");
        let options = self.options_at(&members, "a type", TYPE_OPTIONS);
        let mut ty = TypeText {
            name,
            is_abstract: self.bool_at(&members, "abstract"),
            interfaces: interfaces.unwrap_or_default(),
            root,
            options,
            fields: Vec::new(),
            span: json.span,
            comments: Vec::new(),
        };
        if self.found.len() == before {
            let head = format!("{}}}\n", type_head(&ty));
            self.probe(&head, &SchemaText { types: vec![ty.clone()], ..SchemaText::default() }, ty.name.span);
        }
        let note = Note {
            above: self.lines_at(&members, "above"),
            behind: self.behind_at(&members, "behind"),
            opening: self.behind_at(&members, "opening"),
            closing: self.lines_at(&members, "closing"),
        };
        *self.notes.at(json.span) = note;
        if let Some(fields) = members.get("fields") {
            let fields = self.within("fields", |reader| reader.list(fields, |it, field| it.field(field, 0)));
            ty.fields = fields.into_iter().flatten().collect();
        }
        Some(ty)
    }

    /// Text that a part alone would have must read as that part: names may be words of the language, and limits may
    /// be passed.
    pub(super) fn probe(&mut self, text: &str, tree: &SchemaText, span: Span) {
        let parsed = parse_schema(text);
        if let Some(found) = parsed.diagnostics.first() {
            let (code, message) = (found.code, format!("as text: {}", found.message));
            let help = found.help.clone().unwrap_or_default();
            self.wrong_as(code, span, message, &help);
        } else if dump_schema(&parsed.tree) != dump_schema(tree) {
            self.wrong(
                span,
                "as text this would mean something else",
                "give it a name that is no word of the language",
            );
        }
    }

    fn field(&mut self, json: &Json, depth: usize) -> Option<FieldText> {
        const KINDS: [&str; 7] =
            ["value", "link", "links", "collection", "ordered_collection", "inverse", "derived"];
        let mut known = vec!["above", "field", "options", "behind"];
        known.extend(KINDS);
        let before = self.found.len();
        let members = self.members(json, "a field", &known)?;
        self.required(&members, json, "field", "a field")?;
        let name = self.name_at(&members, "field")?;
        let given: Vec<&str> = KINDS.into_iter().filter(|kind| members.get(kind).is_some()).collect();
        let [kind] = given[..] else {
            // A member of another name was told already.
            if given.is_empty() && self.found.len() > before {
                return None;
            }
            let message = match given[..] {
                [] => "a field needs to say what it holds".to_string(),
                _ => format!("a field holds one thing, and this has {}", given.join(" and ")),
            };
            self.wrong(name.span, message, &format!("one of the members {}", KINDS.join(", ")));
            return None;
        };
        let value = members.get(kind)?;
        let kind = self.within(kind, |reader| {
            Some(match kind {
                "value" => FieldKindText::Stored(reader.type_expr(value, depth)?),
                "link" => FieldKindText::Link(reader.targets(value)?),
                "links" => FieldKindText::Links(reader.targets(value)?),
                "collection" => {
                    FieldKindText::Collection { children: reader.targets(value)?, ordered: false }
                }
                "ordered_collection" => {
                    FieldKindText::Collection { children: reader.targets(value)?, ordered: true }
                }
                "inverse" => {
                    let members = reader.members(value, "an inverse", &["type", "field"])?;
                    reader.required(&members, value, "type", "an inverse")?;
                    reader.required(&members, value, "field", "an inverse")?;
                    FieldKindText::Inverse {
                        of_type: reader.name_at(&members, "type")?,
                        of_field: reader.name_at(&members, "field")?,
                    }
                }
                _ => FieldKindText::Derived(reader.whole_expression(value)),
            })
        });
        let options = self.options_at(&members, "a field", FIELD_OPTIONS);
        let note = Note {
            above: self.lines_at(&members, "above"),
            behind: self.behind_at(&members, "behind"),
            ..Note::default()
        };
        let field = FieldText {
            name,
            kind: kind?,
            options,
            span: json.span,
            comments: Vec::new(),
            trailing_comment: None,
        };
        {
            let kept = self.notes.at(json.span);
            (kept.above, kept.behind) = (note.above, note.behind);
        }
        // An embedded object is probed as a whole, with the field that holds it.
        if depth == 0 && self.found.len() == before {
            let fields = vec![field.clone()];
            let name = Ident { name: "T".into(), span: Span::default() };
            let holder = TypeText {
                name,
                is_abstract: false,
                interfaces: Vec::new(),
                root: None,
                options: Vec::new(),
                fields,
                span: json.span,
                comments: Vec::new(),
            };
            let text = format!("{}\n{}\n}}\n", type_head(&holder), field_line(&field));
            self.probe(&text, &SchemaText { types: vec![holder], ..SchemaText::default() }, field.name.span);
        }
        Some(field)
    }

    fn type_expr(&mut self, json: &Json, depth: usize) -> Option<TypeExpr> {
        let before = self.found.len();
        let kind = match &json.kind {
            JsonKind::Str(_) => TypeExprKind::Name(self.ident(json).name),
            JsonKind::Object(_) if depth == MAX_DEPTH => {
                let message = format!("types nest more than {MAX_DEPTH} deep");
                self.wrong_as("too-deep", json.span, message, "");
                return None;
            }
            JsonKind::Object(_) => {
                const KINDS: [&str; 6] = ["enum", "list", "set", "map", "object", "union"];
                let known = [&KINDS[..], &["variants", "opening", "closing"]].concat();
                let members = self.members(json, "a type of values", &known)?;
                let given: Vec<&str> = KINDS.into_iter().filter(|kind| members.get(kind).is_some()).collect();
                let [kind] = given[..] else {
                    if given.is_empty() && self.found.len() > before {
                        return None;
                    }
                    let help = format!("exactly one of the members {}", KINDS.join(", "));
                    self.wrong(head(json), "a type of values says what it is", &help);
                    return None;
                };
                let value = members.get(kind)?;
                let depth = depth + 1;
                let note = Note {
                    opening: self.behind_at(&members, "opening"),
                    closing: self.lines_at(&members, "closing"),
                    ..Note::default()
                };
                let variants = self.variants(&members, json, kind == "union", depth);
                self.within(kind, |reader| {
                    Some(match kind {
                        "enum" => TypeExprKind::Enum(reader.list(value, |reader, word| {
                            let name = reader.str(word).unwrap_or_default();
                            Ident { name, span: word.span }
                        })),
                        "list" => TypeExprKind::List(Box::new(reader.type_expr(value, depth)?)),
                        "set" => TypeExprKind::Set(Box::new(reader.type_expr(value, depth)?)),
                        "map" => TypeExprKind::Map(Box::new(reader.type_expr(value, depth)?)),
                        "union" => {
                            *reader.notes.at(json.span) = note;
                            let discriminator = reader.ident(value);
                            let braces = json.span;
                            TypeExprKind::Union(UnionText { discriminator, variants, braces })
                        }
                        _ => {
                            *reader.notes.at(json.span) = note;
                            let fields = reader.list(value, |reader, field| reader.field(field, depth));
                            TypeExprKind::Object(fields.into_iter().flatten().collect())
                        }
                    })
                })?
            }
            _ => {
                let message =
                    format!("a type of values is a name or an object, and this is {}", json.describe());
                self.wrong(json.span, message, "as in \"str\" or {\"list\": \"int\"}");
                return None;
            }
        };
        Some(TypeExpr { kind, span: json.span })
    }

    /// The variants of a union; other types have none.
    fn variants(&mut self, members: &Members<'_>, of: &Json, is_union: bool, depth: usize) -> Vec<FieldText> {
        let Some(variants) = members.get("variants") else {
            if is_union {
                self.required(members, of, "variants", "a union");
            }
            return Vec::new();
        };
        if !is_union {
            self.wrong(variants.span, "only a union has variants", "");
            return Vec::new();
        }
        let variants = self.within("variants", |it| it.list(variants, |it, field| it.field(field, depth)));
        variants.into_iter().flatten().collect()
    }

    fn options_at(
        &mut self,
        members: &Members<'_>,
        of: &str,
        rules: &'static [OptionRule],
    ) -> Vec<OptionText> {
        let Some(options) = members.get("options") else { return Vec::new() };
        let options =
            self.within("options", |it| it.list(options, |it, option| it.option(option, of, rules)));
        options.into_iter().flatten().collect()
    }

    fn option(&mut self, json: &Json, of: &str, rules: &'static [OptionRule]) -> Option<OptionText> {
        let members = self.members(json, "an option", &OPTION_MEMBERS)?;
        let named = self.required(&members, json, "option", "an option")?;
        let name = self.within("option", |reader| reader.str(named))?;
        let Some(rule) = rules.iter().find(|rule| rule.name == name) else {
            let help = match nearest(&name, rules.iter().map(|rule| rule.name)) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => {
                    format!("there are {}", rules.iter().map(|rule| rule.name).collect::<Vec<_>>().join(", "))
                }
            };
            let message = format!("{of} has no option \"{name}\"");
            self.within("option", |reader| reader.wrong_as("unknown-option", named.span, message, &help));
            return None;
        };
        let (argument, takes) = match rule.follows {
            Follows::Nothing => (OptionArgument::None, ""),
            Follows::Expr | Follows::AssignedExpr => {
                let value = self.required(&members, json, "value", &format!("the option \"{name}\""))?;
                let expr: Expr = self.within("value", |reader| reader.whole_expression(value));
                (OptionArgument::Expr(expr), "value")
            }
            Follows::OneOf(choices) => {
                let value = self.required(&members, json, "word", &format!("the option \"{name}\""))?;
                let word = self.within("word", |reader| reader.ident(value));
                if !choices.contains(&word.name.as_str()) {
                    let message = format!("\"{name}\" is not followed by \"{}\"", word.name);
                    let help = format!("one of {}", choices.join(", "));
                    self.within("word", |it| it.wrong_as("unknown-option", value.span, message, &help));
                }
                (OptionArgument::Word(word), "word")
            }
            Follows::Name => {
                let value = self.required(&members, json, "word", &format!("the option \"{name}\""))?;
                (OptionArgument::Word(self.within("word", |reader| reader.ident(value))), "word")
            }
            Follows::Words => {
                let value = self.required(&members, json, "words", &format!("the option \"{name}\""))?;
                let words = self.within("words", |reader| reader.list(value, Self::ident));
                (OptionArgument::Words(words), "words")
            }
            Follows::Keys => {
                let value = self.required(&members, json, "keys", &format!("the option \"{name}\""))?;
                let keys = self.within("keys", |reader| reader.list(value, Self::key));
                (OptionArgument::Keys(keys.into_iter().flatten().collect()), "keys")
            }
        };
        for (key, _) in members.0 {
            if key.name != "option" && key.name != takes && OPTION_MEMBERS.contains(&&*key.name) {
                self.wrong(key.span, format!("the option \"{name}\" has no member \"{}\"", key.name), "");
            }
        }
        Some(OptionText { name: rule.name.into(), argument, span: json.span })
    }

    /// A part of an index over several fields.
    fn key(&mut self, json: &Json) -> Option<KeyText> {
        let what = "a part of an index";
        let members = self.members(json, what, &["field", "descending"])?;
        self.required(&members, json, "field", what)?;
        let field = self.name_at(&members, "field")?;
        Some(KeyText { field, descending: self.bool_at(&members, "descending") })
    }
}

/// Where an object or a list begins: enough to mark of one that is long.
pub(super) fn head(json: &Json) -> Span {
    match json.kind {
        JsonKind::Object(_) | JsonKind::List(_) => Span { start: json.span.start, end: json.span.start + 1 },
        _ => json.span,
    }
}
