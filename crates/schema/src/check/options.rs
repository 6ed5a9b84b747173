//! The options of fields: which there are, where each may stand, what each is given.

use corollary_syntax::ast::{Expr, ExprKind, OptionArgument, OptionText, UnaryOp};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;
use corollary_value::{BasicKind, Value, compare, parse_as};

use super::files;
use crate::model::{DefaultValue, OnDelete, Pattern, Rules, SearchBy, ValueType};
use crate::normalize::Normalize;
use crate::typed::Kind;
use crate::typed::Type;

/// What the options belong to.
pub enum Context {
    /// A stored value.
    Value(ValueType),
    /// A member of an embedded object.
    Member(ValueType),
    /// A link in an embedded object.
    MemberLink,
    /// What follows from others in an embedded object.
    DerivedMember,
    /// A variant of a union.
    Variant,
    /// `link`.
    Link,
    /// `links`.
    Links,
    /// `link` to one of several types.
    LinkAmong,
    /// `collection` or `inverse`.
    Reverse,
    /// A derived field.
    Derived,
}

/// What the options say.
pub struct Options {
    /// Rules for values.
    pub rules: Rules,
    /// `index`.
    pub index: bool,
    /// `on delete`.
    pub on_delete: OnDelete,
    /// `strict`.
    pub strict: bool,
    /// `background`.
    pub background: bool,
    /// `search`.
    pub search: Option<SearchBy>,
    /// `lazy`.
    pub lazy: bool,
}

/// Reads options; what is wrong with them is told, and the rest read all the same.
pub fn read_options(texts: &[OptionText], context: &Context, found: &mut Vec<Diagnostic>) -> Options {
    let mut options = Options {
        rules: Rules::default(),
        index: false,
        on_delete: OnDelete::Unlink,
        strict: false,
        background: false,
        search: None,
        lazy: false,
    };
    for (at, text) in texts.iter().enumerate() {
        if texts[..at].iter().any(|other| other.name == text.name) {
            let message = format!("`{}` stands twice", text.name);
            found.push(Diagnostic::error("duplicate-option", text.span, message));
            continue;
        }
        if let Err(diagnostic) = read_option(text, context, &mut options) {
            found.push(diagnostic);
        }
    }
    check_bounds(texts, &options.rules, found);
    if let (true, Some(text)) = (options.strict, texts.iter().find(|text| text.name == "background")) {
        let message =
            "a strict field is judged before the reply to a write, and a `background` field follows later";
        found.push(Diagnostic::error("option", text.span, message).help("leave out one of the two"));
    }
    if options.lazy {
        for text in texts
            .iter()
            .filter(|text| matches!(text.name.as_str(), "strict" | "background" | "index" | "search"))
        {
            let name = &text.name;
            let message =
                format!("a lazy field is computed when it is read, stored nowhere, and cannot be `{name}`");
            let help = format!("leave out one of `lazy` and `{name}`");
            found.push(Diagnostic::error("option", text.span, message).help(help));
        }
    }
    options
}

/// Names that the language has; those that this version refuses among them, with that reason.
const DEFERRED: [&str; 1] = ["expires after"];

fn read_option(text: &OptionText, context: &Context, options: &mut Options) -> Result<(), Diagnostic> {
    let rules = &mut options.rules;
    let allowed = allowed(context);
    let name = text.name.as_str();
    if !allowed.contains(&name) {
        return Err(misplaced(text, context, &allowed));
    }
    match name {
        "required" => rules.required = true,
        "nullable" => rules.nullable = true,
        "unique" => rules.unique = true,
        "unique in parent" => rules.unique_in_parent = true,
        "actor" => rules.actor = true,
        "index" => options.index = true,
        "immutable" => rules.immutable = true,
        "write once" => rules.write_once = true,
        "append only" => rules.append_only = true,
        "strict" => options.strict = true,
        "background" => options.background = true,
        "lazy" => options.lazy = true,
        "default" => rules.default = Some(default(argument(text)?, context)?),
        "max" if is_file(context) => rules.max_bytes = Some(files::size(argument(text)?)?),
        "accept" => rules.accept = files::accepted(argument(text)?)?,
        "min" | "max" => {
            let (Context::Value(ty) | Context::Member(ty)) = context else { return Ok(()) };
            let value = Some(literal(argument(text)?, ty)?);
            *(if name == "min" { &mut rules.min } else { &mut rules.max }) = value;
        }
        "min_length" | "max_length" => {
            let expr = argument(text)?;
            let ExprKind::Int(length @ 0..) = expr.kind else {
                let message = format!("`{name}` takes a whole number that is not negative");
                return Err(Diagnostic::error("option-argument", expr.span, message));
            };
            let length = Some(length.unsigned_abs());
            *(if name == "min_length" { &mut rules.min_length } else { &mut rules.max_length }) = length;
        }
        "pattern" => {
            let expr = argument(text)?;
            let ExprKind::Str(pattern) = &expr.kind else {
                return Err(Diagnostic::error("option-argument", expr.span, "`pattern` takes a text"));
            };
            let pattern = Pattern::new(pattern);
            rules.pattern = Some(pattern.map_err(|why| Diagnostic::error("pattern", expr.span, why))?);
        }
        "description" => {
            let expr = argument(text)?;
            let ExprKind::Str(description) = &expr.kind else {
                return Err(Diagnostic::error("option-argument", expr.span, "`description` takes a text"));
            };
            rules.description = Some(description.clone());
        }
        "normalize" => rules.normalize = normalize(text)?,
        "search" => options.search = Some(search(text)?),
        "on delete" => options.on_delete = on_delete(text)?,
        _ => {}
    }
    Ok(())
}

/// The options that may stand in a place.
fn allowed(context: &Context) -> Vec<&'static str> {
    let mut names = vec!["description"];
    match context {
        // That there is one cannot be asked of a new resource: a file comes by a request of its own.
        Context::Value(ty) if ty.is_file() => {
            // Nor is there one that could stay as it is from the beginning.
            names.extend(["required", "write once", "max", "accept"]);
        }
        Context::Value(ty) | Context::Member(ty) => {
            names.extend(["required", "nullable", "default"]);
            if matches!(context, Context::Value(_)) {
                names.extend(["immutable", "write once", "index"]);
                if is_searched(ty) {
                    names.push("search");
                }
                if *ty == ValueType::Str {
                    names.push("actor");
                }
                if !matches!(ty, ValueType::Object(_) | ValueType::Map(_) | ValueType::Json) {
                    names.extend(["unique", "unique in parent"]);
                }
                if matches!(ty, ValueType::List(_) | ValueType::Set(_) | ValueType::Map(_)) {
                    names.push("append only");
                }
            }
            match ty {
                ValueType::Int
                | ValueType::Float
                | ValueType::Decimal
                | ValueType::Datetime
                | ValueType::Date
                | ValueType::Duration => names.extend(["min", "max"]),
                ValueType::Str => names.extend(["min_length", "max_length", "pattern", "normalize"]),
                ValueType::Bytes | ValueType::List(_) | ValueType::Set(_) | ValueType::Map(_) => {
                    names.extend(["min_length", "max_length"]);
                }
                _ => {}
            }
        }
        Context::Link => {
            names.extend(["required", "nullable", "immutable", "write once", "index"]);
            names.extend(["unique", "unique in parent", "on delete"]);
        }
        Context::LinkAmong => {
            names.extend(["required", "immutable", "write once", "index"]);
            names.extend(["unique", "unique in parent", "on delete"]);
        }
        Context::MemberLink => names.extend(["required", "nullable", "on delete"]),
        Context::Links => names.extend(["required", "on delete", "max_length", "append only"]),
        Context::Reverse | Context::DerivedMember | Context::Variant => {}
        Context::Derived => names.extend(["strict", "background", "lazy", "index"]),
    }
    names
}

fn is_file(context: &Context) -> bool {
    matches!(context, Context::Value(ty) if ty.is_file())
}

fn misplaced(text: &OptionText, context: &Context, allowed: &[&str]) -> Diagnostic {
    let name = text.name.as_str();
    if DEFERRED.iter().any(|deferred| name.starts_with(deferred)) {
        let message = format!("the option `{name}` is not part of this version of the language");
        return Diagnostic::error("unsupported", text.span, message);
    }
    let place = match context {
        Context::Value(ty) if ty.is_file() => "a file",
        Context::Value(_) => "a field of this type",
        Context::Member(_) => "a member of this type",
        Context::MemberLink => "a link in an object",
        Context::DerivedMember => "a derived member",
        Context::Variant => "a variant of a union",
        Context::Link => "a link",
        Context::Links => "links",
        Context::LinkAmong => "a link to one of several types",
        Context::Reverse => "a list that others own",
        Context::Derived => "a derived field",
    };
    let diagnostic = Diagnostic::error("option", text.span, format!("{place} has no option `{name}`"));
    match nearest(name, allowed.iter().copied()) {
        _ if matches!(name, "strict" | "background" | "lazy") => {
            diagnostic.help(format!("only what follows from others is `{name}`, as `x := … {name}`"))
        }
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help(format!("it has {}", allowed.join(", "))),
    }
}

fn argument(text: &OptionText) -> Result<&Expr, Diagnostic> {
    match &text.argument {
        OptionArgument::Expr(expr) => Ok(expr),
        _ => {
            let message = format!("`{}` needs a value", text.name);
            Err(Diagnostic::error("option-argument", text.span, message))
        }
    }
}

fn default(expr: &Expr, context: &Context) -> Result<DefaultValue, Diagnostic> {
    let (Context::Value(ty) | Context::Member(ty)) = context else {
        return Err(Diagnostic::error("option", expr.span, "only a stored value has a default"));
    };
    if let ExprKind::Call { name, arguments } = &expr.kind
        && name.name == "now"
        && arguments.is_empty()
    {
        return match ty {
            ValueType::Datetime => Ok(DefaultValue::Now),
            _ => Err(Diagnostic::error("default", expr.span, "`now()` is a datetime, and the field is not")),
        };
    }
    match (&expr.kind, context) {
        (kind, Context::Value(_)) if is_computed(kind) => {
            // Typed when all fields are known (`defaults`).
            Ok(DefaultValue::Computed(Box::new(crate::typed::Expr::constant(Value::Null, Kind::Null))))
        }
        (kind, _) if is_computed(kind) => {
            let message = "the default of a member of an object is a literal, or `now()`";
            Err(Diagnostic::error("default", expr.span, message))
        }
        _ => Ok(DefaultValue::Constant(literal(expr, ty)?)),
    }
}

/// Is it more than a literal?
fn is_computed(kind: &ExprKind) -> bool {
    match kind {
        ExprKind::Error
        | ExprKind::Null
        | ExprKind::Bool(_)
        | ExprKind::Int(_)
        | ExprKind::Number(_)
        | ExprKind::Str(_) => false,
        ExprKind::Unary { op: UnaryOp::Negate, operand } => is_computed(&operand.kind),
        ExprKind::List(items) => items.iter().any(|item| is_computed(&item.kind)),
        // A word without quotes is rather a literal that was meant to be one.
        ExprKind::Name(_) => false,
        _ => true,
    }
}

/// A literal as a value of a type.
fn literal(expr: &Expr, ty: &ValueType) -> Result<Value, Diagnostic> {
    let wrong = |why: &str| Diagnostic::error("literal", expr.span, why.to_string());
    let negative = |expr: &Expr| match &expr.kind {
        ExprKind::Unary { op: UnaryOp::Negate, operand } => Some((**operand).clone()),
        _ => None,
    };
    let (positive, sign) = match negative(expr) {
        Some(operand) => (operand, "-"),
        None => (expr.clone(), ""),
    };
    let parse = |kind: BasicKind, text: &str| {
        parse_as(kind, &format!("{sign}{text}")).map_err(|why| wrong(&why.to_string()))
    };
    match (&positive.kind, ty) {
        (ExprKind::Int(value), ValueType::Int) => {
            Ok(Value::Int(if sign.is_empty() { *value } else { value.wrapping_neg() }))
        }
        (ExprKind::Int(value), ValueType::Float) => parse(BasicKind::Float, &value.to_string()),
        (ExprKind::Int(value), ValueType::Decimal) => parse(BasicKind::Decimal, &value.to_string()),
        (ExprKind::Number(text), ValueType::Float) => parse(BasicKind::Float, text),
        (ExprKind::Number(text), ValueType::Decimal) => parse(BasicKind::Decimal, text),
        (ExprKind::Bool(value), ValueType::Bool) if sign.is_empty() => Ok(Value::Bool(*value)),
        (ExprKind::Str(text), ValueType::Str | ValueType::Json) if sign.is_empty() => {
            Ok(Value::Str(text.clone()))
        }
        (ExprKind::Str(text), ValueType::Enum(words)) if sign.is_empty() => {
            if words.contains(text) {
                return Ok(Value::Str(text.clone()));
            }
            let diagnostic = wrong(&format!("\"{text}\" is none of the words of the enum"));
            Err(match nearest(text, words.iter().map(|word| word.as_str())) {
                Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
                None => diagnostic,
            })
        }
        (ExprKind::Str(text), ValueType::Datetime) => parse(BasicKind::Datetime, text),
        (ExprKind::Str(text), ValueType::Date) => parse(BasicKind::Date, text),
        (ExprKind::Str(text), ValueType::Duration) => parse(BasicKind::Duration, text),
        (ExprKind::Str(text), ValueType::Decimal) => parse(BasicKind::Decimal, text),
        (ExprKind::Str(text), ValueType::Uuid) => parse(BasicKind::Uuid, text),
        (ExprKind::List(items), ValueType::List(of) | ValueType::Set(of)) => {
            let items: Result<Vec<Value>, Diagnostic> = items.iter().map(|item| literal(item, of)).collect();
            let mut items = items?;
            if matches!(ty, ValueType::Set(_)) {
                items.sort_by(compare);
                items.dedup();
            }
            Ok(Value::List(items.into()))
        }
        (ExprKind::Null, _) => Err(wrong("null is no default: leave the option out")),
        (_, ValueType::Object(_) | ValueType::Map(_)) => Err(wrong("objects and maps have no literals")),
        _ => {
            let is = Type::of_value(ty).describe(&|_| "resource".into());
            Err(wrong(&format!("this is not a literal of the type of the field, {is}")))
        }
    }
}

fn normalize(text: &OptionText) -> Result<Vec<Normalize>, Diagnostic> {
    let words = match &text.argument {
        OptionArgument::Words(words) => words.as_slice(),
        OptionArgument::Word(word) => std::slice::from_ref(word),
        _ => {
            return Err(Diagnostic::error(
                "option-argument",
                text.span,
                "`normalize` needs words, as in `normalize (lower, trim)`",
            ));
        }
    };
    words.iter().map(|word| normalizer(&word.name, word.span)).collect()
}

/// The normaliser with a name.
pub fn normalizer(name: &str, span: Span) -> Result<Normalize, Diagnostic> {
    Normalize::named(name).ok_or_else(|| {
        let names = Normalize::ALL.map(Normalize::name);
        let message = format!("there is no normaliser `{name}`");
        let diagnostic = Diagnostic::error("normalizer", span, message);
        match nearest(name, names) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("there are {}", names.join(", "))),
        }
    })
}

/// Is it a text, or some?
fn is_searched(ty: &ValueType) -> bool {
    match ty {
        ValueType::Str => true,
        ValueType::List(of) | ValueType::Set(of) => **of == ValueType::Str,
        _ => false,
    }
}

fn search(text: &OptionText) -> Result<SearchBy, Diagnostic> {
    if let OptionArgument::Word(word) = &text.argument
        && let Some(by) = SearchBy::named(&word.name)
    {
        return Ok(by);
    }
    let message = "`search` is followed by prefix, phonetic or text";
    Err(Diagnostic::error("option-argument", text.span, message))
}

fn on_delete(text: &OptionText) -> Result<OnDelete, Diagnostic> {
    if let OptionArgument::Word(word) = &text.argument {
        match word.name.as_str() {
            "unlink" => return Ok(OnDelete::Unlink),
            "restrict" => return Ok(OnDelete::Restrict),
            "cascade" => return Ok(OnDelete::Cascade),
            _ => {}
        }
    }
    Err(Diagnostic::error(
        "option-argument",
        text.span,
        "`on delete` is followed by unlink, restrict or cascade",
    ))
}

fn check_bounds(texts: &[OptionText], rules: &Rules, found: &mut Vec<Diagnostic>) {
    let place = |name: &str| texts.iter().find(|text| text.name == name).map(|text| text.span);
    let values =
        rules.min.as_ref().zip(rules.max.as_ref()).is_some_and(|(min, max)| compare(min, max).is_gt());
    if values && let Some(span) = place("max") {
        found.push(Diagnostic::error("bounds", span, "the greatest value is below the least"));
    }
    let lengths = rules.min_length.zip(rules.max_length).is_some_and(|(min, max)| min > max);
    if lengths && let Some(span) = place("max_length") {
        found.push(Diagnostic::error("bounds", span, "the greatest length is below the least"));
    }
}
