//! The options of fields and of types: their names and what follows each.

/// What follows an option's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Follows {
    /// Nothing.
    Nothing,
    /// An expression.
    Expr,
    /// `:=` and an expression.
    AssignedExpr,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any name.
    Name,
    /// Words in brackets.
    Words,
    /// Names in brackets, each of which `asc` or `desc` may follow.
    Keys,
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OptionRule {
    /// Its words, joined by one space.
    pub(crate) name: &'static str,
    pub(crate) follows: Follows,
}

const fn rule(name: &'static str, follows: Follows) -> OptionRule {
    OptionRule { name, follows }
}

/// The options of fields; one that starts like another stands before it.
pub(crate) const FIELD_OPTIONS: &[OptionRule] = &[
    rule("required", Follows::Nothing),
    rule("nullable", Follows::Nothing),
    rule("default", Follows::Expr),
    rule("unique in parent", Follows::Nothing),
    rule("unique", Follows::Nothing),
    rule("index", Follows::Nothing),
    rule("actor", Follows::Nothing),
    rule("immutable", Follows::Nothing),
    rule("write once", Follows::Nothing),
    rule("append only", Follows::Nothing),
    rule("min", Follows::Expr),
    rule("max", Follows::Expr),
    rule("min_length", Follows::Expr),
    rule("max_length", Follows::Expr),
    rule("accept", Follows::Expr),
    rule("pattern", Follows::Expr),
    rule("normalize", Follows::Words),
    rule("search", Follows::OneOf(&["prefix", "phonetic", "text"])),
    rule("description", Follows::Expr),
    rule("on delete", Follows::OneOf(&["unlink", "restrict", "cascade"])),
    rule("background", Follows::Nothing),
    rule("lazy", Follows::Nothing),
    rule("strict", Follows::Nothing),
];

/// The options of types.
pub(crate) const TYPE_OPTIONS: &[OptionRule] = &[
    rule("path", Follows::Name),
    rule("url", Follows::AssignedExpr),
    rule("created_at", Follows::Nothing),
    rule("updated_at", Follows::Nothing),
    rule("history", Follows::Nothing),
    rule("expires after", Follows::Expr),
    rule("index", Follows::Keys),
];

/// Words from elsewhere which stand for something that has another name here, or needs none.
pub(crate) const FOREIGN_OPTIONS: &[(&str, &str)] = &[
    ("optional", "remove it: a field is optional unless it is \"required\""),
    ("mandatory", "did you mean \"required\"?"),
    ("readonly", "did you mean \"immutable\"?"),
    ("indexed", "did you mean \"index\"?"),
    ("regex", "did you mean \"pattern\"?"),
    ("cached", "remove it: derived fields are stored unless they are \"lazy\""),
    ("stored", "remove it: derived fields are stored unless they are \"lazy\""),
    ("minimum", "did you mean \"min\"?"),
    ("maximum", "did you mean \"max\"?"),
];

/// The basic types, and the words that start other types of stored values.
pub(crate) const VALUE_TYPES: &[&str] = &[
    "str", "int", "float", "bool", "decimal", "datetime", "date", "duration", "uuid", "bytes", "json",
    "file", "set", "map", "union",
];

/// The words that start relations.
pub(crate) const RELATIONS: &[&str] = &["link", "links", "collection", "ordered", "inverse"];
