//! Calls of aggregates: what each takes, and of which kind its result is.
//!
//! What stands beside the list is written out: it is part of the definition, and the plan depends on it.

use corollary_syntax::ast::{self, ExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::nearest;
use corollary_syntax::span::Span;

use super::{Checker, new, unordered};
use crate::aggregate::{GroupBy, MAX_PERCENTILE_DIGITS, MAX_SEPARATOR_BYTES, MAX_TOP, Separator, Share};
use crate::typed::{Aggregate, Expr, Kind, Many, Node, Type};

impl Checker<'_> {
    /// A call of an aggregate; none where the name is not that of one.
    pub(super) fn aggregate_call(
        &self,
        name: &ast::Ident,
        arguments: &[ast::Argument],
        span: Span,
    ) -> Option<Expr> {
        if name.name == "group" {
            return Some(self.group_by(arguments, span));
        }
        if !Aggregate::names().any(|known| known == name.name) {
            return None;
        }
        Some(match self.call_of_aggregate(name, arguments, span) {
            Ok((aggregate, lists)) => match lists.as_slice() {
                [list] => self.aggregate(aggregate, list),
                _ => self.wrong_count(name, "one argument", arguments.len(), span),
            },
            Err(told) => told,
        })
    }

    /// Which aggregate is called, and the arguments beside its own; what was reported, where there is a mistake.
    fn call_of_aggregate<'e>(
        &self,
        name: &ast::Ident,
        arguments: &'e [ast::Argument],
        span: Span,
    ) -> Result<(Aggregate, Vec<&'e ast::Expr>), Expr> {
        if let Some(named) = arguments.iter().find_map(|argument| argument.name.as_ref()) {
            return Err(self.no_such_argument(name, named));
        }
        let values: Vec<&ast::Expr> = arguments.iter().map(|argument| &argument.value).collect();
        let two = |wanted: &str| match values.as_slice() {
            [first, second] => Ok((*first, *second)),
            _ => Err(self.wrong_count(name, wanted, values.len(), span)),
        };
        match name.name.as_str() {
            "top" => {
                let (count, list) = two("two arguments, as in `top(3, self.orders.amount)`")?;
                Ok((Aggregate::Top(self.top_count(count)?), vec![list]))
            }
            "percentile" => {
                let (list, share) = two("two arguments, as in `percentile(self.orders.amount, 95)`")?;
                Ok((Aggregate::Percentile(self.share(share)?), vec![list]))
            }
            "join" => {
                let (list, separator) = two("two arguments, as in `join(self.orders.note, ', ')`")?;
                Ok((Aggregate::Join(self.separator(separator)?), vec![list]))
            }
            plain => match Aggregate::PLAIN.iter().find(|aggregate| aggregate.name() == plain) {
                Some(aggregate) => Ok((*aggregate, values)),
                None => {
                    let message = format!("`{plain}` is no aggregate that gives one value for each key");
                    let diagnostic = Diagnostic::error("unknown-aggregate", name.span, message);
                    Err(self.report(match nearest(plain, Aggregate::names().filter(|it| *it != "group")) {
                        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                        None => diagnostic.help("as in `group(self.orders, by: status, sum(amount))`"),
                    }))
                }
            },
        }
    }

    fn no_such_argument(&self, of: &ast::Ident, named: &ast::Ident) -> Expr {
        let message = format!("`{}` has no argument named `{}`", of.name, named.name);
        self.report(Diagnostic::error("named-argument", named.span, message))
    }

    pub(super) fn wrong_count(&self, name: &ast::Ident, wanted: &str, given: usize, span: Span) -> Expr {
        let were = super::help::were(given);
        let text = format!("`{}` takes {wanted}, and {given} {were} given", name.name);
        self.report(Diagnostic::error("arguments", span, text))
    }

    fn top_count(&self, count: &ast::Expr) -> Result<u32, Expr> {
        let wanted = |is: &str| {
            let message =
                format!("how many `top` gives is a whole number from 1 to {MAX_TOP}, and this is {is}");
            self.report(
                Diagnostic::error("top-count", count.span, message)
                    .help("as in `top(3, self.orders.amount)`, the three largest"),
            )
        };
        match count.kind {
            ExprKind::Int(count) => match u32::try_from(count) {
                Ok(count) if (1..=MAX_TOP).contains(&count) => Ok(count),
                _ => Err(wanted(&count.to_string())),
            },
            _ => Err(wanted("not written as one")),
        }
    }

    fn share(&self, share: &ast::Expr) -> Result<Share, Expr> {
        let found = match &share.kind {
            ExprKind::Int(whole) => Share::percent(&whole.to_string()),
            ExprKind::Number(text) => Share::percent(text),
            _ => None,
        };
        found.ok_or_else(|| {
            let message = format!(
                "a percentile is a number from 0 to 100 with at most {MAX_PERCENTILE_DIGITS} digits behind the point"
            );
            self.report(
                Diagnostic::error("percentile-share", share.span, message)
                    .help("as in `percentile(self.orders.amount, 95)`; 50 is the median"),
            )
        })
    }

    fn separator(&self, separator: &ast::Expr) -> Result<Separator, Expr> {
        let ExprKind::Str(text) = &separator.kind else {
            let message = "what `join` puts between is a text, written out";
            return Err(self.report(
                Diagnostic::error("join-separator", separator.span, message)
                    .help("as in `join(self.orders.note, ', ')`"),
            ));
        };
        Separator::new(text).ok_or_else(|| {
            let message = format!(
                "what `join` puts between is at most {MAX_SEPARATOR_BYTES} bytes long, and this is {}",
                text.len()
            );
            self.report(Diagnostic::error("join-separator", separator.span, message))
        })
    }

    fn aggregate(&self, aggregate: Aggregate, argument: &ast::Expr) -> Expr {
        let list = self.many(argument, &format!("`{}`", aggregate.name()));
        let list = if aggregate.follows_order() { list } else { unordered(list) };
        if let Some(of_each) = self.aggregate_of_each(aggregate, &list, argument.span) {
            return of_each;
        }
        match self.result_type(aggregate, &list.ty, argument.span) {
            Ok(ty) => new(Node::Aggregate(aggregate, Box::new(list)), ty),
            Err(told) => told,
        }
    }

    /// The type of an aggregate's result over a list.
    pub(super) fn result_type(&self, aggregate: Aggregate, list: &Type, span: Span) -> Result<Type, Expr> {
        let kind = &list.kind;
        let wrong = |wanted: &str| {
            let is = self.describe(list);
            let text = format!("`{}` needs a list of {wanted}, and this is {is}", aggregate.name());
            let diagnostic = Diagnostic::error("aggregate-type", span, text);
            Err(self.report(match kind {
                Kind::Resource(_) | Kind::Among(_) => {
                    diagnostic.help("name the field to aggregate, as in `sum(self.orders.amount)`")
                }
                _ => diagnostic,
            }))
        };
        let number = matches!(kind, Kind::Int | Kind::Float | Kind::Decimal | Kind::Null | Kind::Json);
        let follows = aggregate.follows_order() || aggregate == Aggregate::Distinct;
        if let (Kind::Among(_), true) = (kind, follows) {
            return Err(self.several(span, list));
        }
        Ok(match aggregate {
            Aggregate::Sum if number || *kind == Kind::Duration => Type::one(kind.clone()),
            Aggregate::Average | Aggregate::Median | Aggregate::Percentile(_)
                if number || *kind == Kind::Duration =>
            {
                Type::one(if *kind == Kind::Int { Kind::Float } else { kind.clone() })
            }
            Aggregate::Sum | Aggregate::Average | Aggregate::Median | Aggregate::Percentile(_) => {
                return wrong("numbers or durations");
            }
            Aggregate::Count => Type::one(Kind::Int),
            Aggregate::Min | Aggregate::Max | Aggregate::Top(_)
                if matches!(kind, Kind::Resource(_) | Kind::Among(_)) =>
            {
                return wrong("values that can be compared");
            }
            Aggregate::Top(_) => Type { kind: kind.clone(), many: Many::List },
            Aggregate::Min | Aggregate::Max | Aggregate::First | Aggregate::Last => Type::one(kind.clone()),
            Aggregate::Any | Aggregate::All if matches!(kind, Kind::Bool | Kind::Null | Kind::Json) => {
                Type::one(Kind::Bool)
            }
            Aggregate::Any | Aggregate::All => return wrong("conditions"),
            Aggregate::Join(_) if matches!(kind, Kind::Str | Kind::Enum(_) | Kind::Null | Kind::Json) => {
                Type::one(Kind::Str)
            }
            Aggregate::Join(_) => return wrong("str"),
            Aggregate::Distinct | Aggregate::Collect => list.clone(),
        })
    }

    /// `group(list, by: key, aggregate(value))`.
    fn group_by(&self, arguments: &[ast::Argument], span: Span) -> Expr {
        let example = "as in `group(self.orders, by: status, sum(amount))`";
        let form = |message: String, span: Span| {
            self.report(Diagnostic::error("group-form", span, message).help(example))
        };
        let mut by = None;
        let mut others = Vec::new();
        for argument in arguments {
            match &argument.name {
                None => others.push(&argument.value),
                Some(name) if name.name == "by" && by.is_none() => by = Some(&argument.value),
                Some(name) if name.name == "by" => return form("`by:` is given twice".into(), name.span),
                Some(name) => {
                    return form(format!("`group` has no argument named `{}`", name.name), name.span);
                }
            }
        }
        let (Some(by), [list, call]) = (by, others.as_slice()) else {
            let message = "`group` takes a list, `by:` and the key of its elements, and an aggregate";
            return form(message.into(), span);
        };
        let list = self.of_one_type(self.many(list, "`group`"), list.span);
        let ExprKind::Call { name, arguments } = &call.kind else {
            return form("the last argument of `group` is an aggregate".into(), call.span);
        };
        let (aggregate, values) = match self.call_of_aggregate(name, arguments, call.span) {
            Ok(found) => found,
            Err(told) => return told,
        };
        self.scopes.borrow_mut().push(Type::one(list.ty.kind.clone()));
        let by_typed = self.one(by, "the key of a group");
        let value = match values.as_slice() {
            [] => None,
            [value] => Some((self.one(value, "what is aggregated in a group"), value.span)),
            several => {
                let given = several.len();
                self.wrong_count(name, "at most one argument here", given, call.span);
                None
            }
        };
        self.scopes.borrow_mut().pop();
        if !is_key(&by_typed.ty.kind) {
            let is = self.describe(&by_typed.ty);
            let message = format!("the keys of a map cannot be made of {is}");
            return self.report(
                Diagnostic::error("group-key", by.span, message)
                    .help("group by a str, an enum, an int, a bool, a date, a datetime, a uuid or a link"),
            );
        }
        if value.is_none() && aggregate != Aggregate::Count {
            let message = format!("`{}` needs a field of the elements", aggregate.name());
            return form(message, call.span);
        }
        let (elements, at) = match &value {
            Some((value, at)) => (Type { kind: value.ty.kind.clone(), many: Many::List }, *at),
            None => (list.ty.clone(), call.span),
        };
        let result = match self.result_type(aggregate, &elements, at) {
            Ok(result) => result,
            Err(told) => return told,
        };
        if result.resource().is_some() {
            let is = self.describe(&result);
            let message = format!("a map holds plain values, and this would be {is}");
            return self.report(Diagnostic::error("group-value", call.span, message).help(example));
        }
        let value = value.map(|(value, _)| value);
        let list = if aggregate.follows_order() { list } else { unordered(list) };
        let node = Node::GroupBy(Box::new(GroupBy { list, by: by_typed, aggregate, value }));
        new(node, Type::one(Kind::Map(Box::new(result.stored()))))
    }
}

/// Has each value of a kind a text of its own, by which it can be a key of a map?
fn is_key(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Str
            | Kind::Enum(_)
            | Kind::Int
            | Kind::Bool
            | Kind::Date
            | Kind::Datetime
            | Kind::Uuid
            | Kind::Resource(_)
            | Kind::Null
    )
}
