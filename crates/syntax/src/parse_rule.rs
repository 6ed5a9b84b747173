//! The grammar of rules, by which processors decide about writes.
//!
//! ```text
//! rule := "deny" "when" expression ["," "message" string]
//!       | "set" name ":=" expression
//! ```

use smol_str::SmolStr;

use crate::Parsed;
use crate::ast::{Expr, ExprKind, Ident, RuleText};
use crate::lexer::unescape;
use crate::parser::Parser;
use crate::token::TokenKind;

/// Parses a rule.
pub(crate) fn parse(text: &str) -> Parsed<RuleText> {
    let mut parser = Parser::new(text, false);
    let tree = parser.rule();
    while !parser.at(TokenKind::End) {
        parser.leftover();
    }
    Parsed { tree, diagnostics: parser.finish().0 }
}

impl Parser<'_> {
    fn rule(&mut self) -> RuleText {
        if self.eat_word("set").is_some() {
            let here = self.here();
            let field = self.name("the name of a field");
            let field = field.unwrap_or(Ident { name: SmolStr::default(), span: here });
            if self.eat(TokenKind::Assign).is_none() {
                let message = format!("expected \":=\", found {}", self.found());
                self.error("missing-define", self.here(), message, "write \"set FIELD := EXPRESSION\"");
            }
            return RuleText::Set { field, value: self.wanted() };
        }
        if self.eat_word("deny").is_none() {
            let message = format!("expected \"deny\" or \"set\", found {}", self.found());
            let help = "write \"deny when CONDITION, message 'TEXT'\" or \"set FIELD := EXPRESSION\"";
            self.error("missing-keyword", self.here(), message, help);
            // What it is to be is not known, so nothing is to be said of the rest.
            while !self.at(TokenKind::End) {
                self.bump();
            }
            return RuleText::Deny { when: self.nothing(), message: None };
        }
        if self.eat_word("when").is_none() {
            let message = format!("expected \"when\", found {}", self.found());
            self.error("missing-keyword", self.here(), message, "write \"deny when CONDITION\"");
        }
        let when = self.wanted();
        let mut message = None;
        if self.eat(TokenKind::Comma).is_some() {
            if self.eat_word("message").is_none() {
                let found = format!("expected \"message\", found {}", self.found());
                self.error("missing-keyword", self.here(), found, "write \", message 'TEXT'\"");
            }
            match self.eat(TokenKind::Str) {
                Some(token) => message = Some(unescape(self.slice(token.span))),
                None => {
                    let found = format!("expected a text in quotes, found {}", self.found());
                    self.error("missing-text", self.here(), found, "write \", message 'TEXT'\"");
                }
            }
        }
        RuleText::Deny { when, message }
    }

    fn nothing(&self) -> Expr {
        Expr { kind: ExprKind::Error, span: self.here() }
    }

    /// An expression that must be there.
    fn wanted(&mut self) -> Expr {
        if !self.at(TokenKind::End) && !self.at(TokenKind::Comma) {
            return self.expression().expr;
        }
        let here = self.here();
        self.error("missing-value", here, "there is no expression here", "write one, as in self.age > 17");
        self.nothing()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_expression;

    #[test]
    fn rules_are_read() {
        let parsed = parse("deny when self.amount > 10 and old.amount <= 10, message \"too much\"");
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let RuleText::Deny { when, message } = parsed.tree else { panic!("no denial") };
        assert_eq!(format_expression(&when), "self.amount > 10 and old.amount <= 10");
        assert_eq!(message.as_deref(), Some("too much"));
        let parsed = parse("set slug := lower(self.title)");
        assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics);
        let RuleText::Set { field, value } = parsed.tree else { panic!("no field") };
        assert_eq!((field.name.as_str(), format_expression(&value).as_str()), ("slug", "lower(self.title)"));
    }

    #[test]
    fn each_mistake_has_its_place() {
        let codes = |text: &str| -> Vec<(&str, u32)> {
            parse(text).diagnostics.iter().map(|found| (found.code, found.span.start)).collect()
        };
        assert_eq!(codes(""), [("missing-keyword", 0)]);
        assert_eq!(codes("allow when x"), [("missing-keyword", 0)]);
        assert_eq!(codes("deny self.a"), [("missing-keyword", 5)]);
        assert_eq!(codes("deny when"), [("missing-value", 9)]);
        assert_eq!(codes("deny when self.a, 'no'"), [("missing-keyword", 18)]);
        assert_eq!(codes("deny when self.a, message no"), [("missing-text", 26)]);
        assert_eq!(codes("set a = 1"), [("missing-define", 6)]);
        assert_eq!(codes("set a := 1 2"), [("missing-operator", 11)]);
    }
}
