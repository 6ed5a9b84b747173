//! Calls whose arguments are read when the schema is checked: patterns are compiled once, and the words of
//! `normalize` are known names.

use corollary_syntax::ast::{Argument, ExprKind};
use corollary_syntax::diagnostic::Diagnostic;

use super::{Checker, new};
use crate::check::options::normalizer;
use crate::functions::Function;
use crate::model::Pattern;
use crate::typed::{Expr, Kind, Node, Type};

impl Checker<'_> {
    /// What a call becomes that is not simply a function of its arguments' values; none for all others.
    pub(super) fn text_call(
        &self,
        function: Function,
        arguments: &[Argument],
        typed: &[Expr],
    ) -> Option<Expr> {
        match function {
            Function::Matches => {
                let source = &arguments.get(1)?.value;
                let ExprKind::Str(pattern) = &source.kind else { return None };
                Some(match Pattern::new(pattern) {
                    Ok(pattern) => {
                        new(Node::Matches(Box::new(typed.first()?.clone()), pattern), Type::one(Kind::Bool))
                    }
                    Err(why) => self.report(Diagnostic::error("pattern", source.span, why)),
                })
            }
            Function::Normalize => {
                let mut wrong = None;
                for argument in &arguments[1..] {
                    let span = argument.value.span;
                    let found = match &argument.value.kind {
                        ExprKind::Str(word) => normalizer(word, span).err(),
                        _ => Some(
                            Diagnostic::error(
                                "normalizer",
                                span,
                                "a step of `normalize` is a text as it stands",
                            )
                            .help("as in `normalize(self.name, 'trim', 'lower')`"),
                        ),
                    };
                    wrong = found.map(|found| self.report(found)).or(wrong);
                }
                wrong
            }
            _ => None,
        }
    }
}
