//! Calls of `js`: a function in JavaScript, what it is given, and what it may take.
//!
//! All of it is written out and part of the definition, so that changing any of it computes the field anew. The text of
//! the function is compiled here, so that a mistake in it is told with the schema.

use corollary_script::{LEAST, Limits, MOST};
use corollary_syntax::ast::{Argument, Expr as Source, ExprKind, Ident};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;
use smol_str::SmolStr;

use super::{Checker, Place, new};
use crate::typed::{Expr, Kind, Node, Script, Type};

/// The arguments that have a name.
const NAMED: [&str; 4] = ["using", "steps", "memory", "stack"];

const EXAMPLE: &str = "as in `js(\"(doc) => doc.title.length\", using: [title])`";

fn mistake(span: Span, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error("script", span, message)
}

impl Checker<'_> {
    /// What a call of `js` becomes.
    pub(super) fn script(&self, arguments: &[Argument], span: Span) -> Result<Expr, Diagnostic> {
        if !matches!(self.place, Place::Derived(_)) {
            return Err(mistake(span, "`js` is for derived fields only")
                .help("declare a derived field with it, and name that field here"));
        }
        let [source, named @ ..] = arguments else {
            return Err(mistake(span, "`js` needs the text of a function").help(EXAMPLE));
        };
        let ExprKind::Str(text) = &source.value.kind else {
            return Err(mistake(source.value.span, "the function is a text, written out").help(EXAMPLE));
        };
        let mut limits = Limits::default();
        let mut using = Vec::new();
        let mut seen: Vec<&SmolStr> = Vec::new();
        for argument in named {
            let Some(name) = &argument.name else {
                return Err(
                    mistake(argument.value.span, "what stands behind the function has a name").help(EXAMPLE)
                );
            };
            if seen.contains(&&name.name) {
                return Err(mistake(name.span, format!("`{}` is given twice", name.name)));
            }
            seen.push(&name.name);
            let value = &argument.value;
            match name.name.as_str() {
                "using" => using = self.using(value)?,
                "steps" => limits.steps = limit(name, value, LEAST.steps, MOST.steps)?,
                "memory" => {
                    limits.memory = limit(name, value, LEAST.memory as u64, MOST.memory as u64)? as usize
                }
                "stack" => limits.stack = limit(name, value, LEAST.stack as u64, MOST.stack as u64)? as usize,
                other => {
                    let message = format!("`js` has no argument named `{other}`");
                    let found = Diagnostic::error("named-argument", name.span, message);
                    return Err(match nearest(other, NAMED) {
                        Some(near) => found.help(format!("did you mean `{near}`?")),
                        None => found.help(format!("it has {}", NAMED.join(", "))),
                    });
                }
            }
        }
        corollary_script::check(text, &limits).map_err(|found| {
            let line = if found.line > 1 { format!("line {}: ", found.line) } else { String::new() };
            mistake(source.value.span, format!("{line}{}", found.message))
        })?;
        let script = Script { source: text.clone(), using, limits };
        Ok(new(Node::Script(Box::new(script)), Type::one(Kind::Json)))
    }

    /// What a function is given: fields by their own names.
    fn using(&self, list: &Source) -> Result<Vec<(SmolStr, Expr)>, Diagnostic> {
        let ExprKind::List(items) = &list.kind else {
            return Err(mistake(list.span, "`using` is a list of fields").help(EXAMPLE));
        };
        let mut using: Vec<(SmolStr, Expr)> = Vec::with_capacity(items.len());
        for item in items {
            let (name, value) = match &item.kind {
                // Nothing but fields stands here, so a bare name is one of `self`, or of the item of a filter.
                ExprKind::Name(name) if !self.is_filtering() => {
                    (name, self.own(&Ident { name: name.clone(), span: item.span }))
                }
                ExprKind::Name(name) => (name, self.expr(item)),
                ExprKind::Field { name, .. } => (&name.name, self.expr(item)),
                _ => {
                    return Err(mistake(item.span, "what a function is given is a field, or a path to one")
                        .help("declare a derived field for what is computed, and name that"));
                }
            };
            if using.iter().any(|(other, _)| other == name) {
                return Err(mistake(item.span, format!("the function would be given two values `{name}`"))
                    .help("a path goes by its last name; declare a derived field with another name for one of them"));
            }
            using.push((name.clone(), value));
        }
        Ok(using)
    }

    /// Does it stand in a filter, an order or a `group`, where a bare name is a field of the item?
    fn is_filtering(&self) -> bool {
        self.scopes.borrow().len() > self.element.map_or(0, |element| element.objects.len())
    }
}

/// A limit that is written out.
fn limit(name: &Ident, value: &Source, least: u64, most: u64) -> Result<u64, Diagnostic> {
    let given = if let ExprKind::Int(given) = value.kind { u64::try_from(given).ok() } else { None };
    given.filter(|given| (least..=most).contains(given)).ok_or_else(|| {
        mistake(value.span, format!("`{}` is a whole number from {least} to {most}", name.name))
    })
}
