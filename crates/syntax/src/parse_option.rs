//! The grammar of options: which words, what follows them, and where the list of them ends.

use smol_str::SmolStr;

use crate::ast::{Ident, KeyText, OptionArgument, OptionText};
use crate::lexer::quoted;
use crate::nearest::nearest;
use crate::option_rules::{
    FIELD_OPTIONS, FOREIGN_OPTIONS, Follows, OptionRule, RELATIONS, TYPE_OPTIONS, VALUE_TYPES,
};
use crate::parser::Parser;
use crate::token::TokenKind;

impl Parser<'_> {
    /// The options of a field, separated by spaces or commas, up to what starts another field or ends this one.
    pub(crate) fn options(&mut self, rules: &'static [OptionRule]) -> Vec<OptionText> {
        let mut options = Vec::new();
        loop {
            let comma = self.at(TokenKind::Comma);
            let n = usize::from(comma);
            let next = self.peek_at(n);
            if next.kind != TokenKind::Word || self.member_at(n) {
                return options;
            }
            let known = rules.iter().any(|rule| rule.name.split(' ').next() == Some(self.word_of(next)));
            if comma {
                if !known && self.colonless_field(n) {
                    return options;
                }
                self.bump();
            } else if self.line_ended() {
                if !known || self.colonless_field(n) {
                    return options;
                }
                let message = format!("the option {} stands on a line of its own", self.shown(next));
                let help = "put it on the line of its field, or end the line before with a comma";
                self.error("misplaced", next.span, message, help);
            }
            options.extend(self.option(rules));
        }
    }

    /// Whether the word `n` after the next token is the name of a field whose colon was forgotten.
    fn colonless_field(&self, n: usize) -> bool {
        let next = self.peek_at(n + 1);
        let word = self.word_of(next);
        !next.line_break && (VALUE_TYPES.contains(&word) || RELATIONS.contains(&word))
    }

    /// One option; the next token is a word. An unknown one is reported, and read as the nearest known one.
    pub(crate) fn option(&mut self, rules: &'static [OptionRule]) -> Option<OptionText> {
        let start = self.peek().span;
        let rule = match self.option_name(rules) {
            Some(rule) => rule,
            None => {
                self.bump();
                self.skip_unknown(rules);
                return None;
            }
        };
        let argument = self.option_argument(rule, rules);
        Some(OptionText { name: SmolStr::new_static(rule.name), argument, span: self.span_from(start) })
    }

    /// Takes the words of an option's name.
    fn option_name(&mut self, rules: &'static [OptionRule]) -> Option<&'static OptionRule> {
        // A further word on another line belongs to that line, and one with a colon is a member.
        let here =
            |n: usize| n == 0 || !((self.line_bound && self.peek_at(n).line_break) || self.member_at(n));
        let there = |(n, word): &(usize, &str)| self.word_at(*n, word) && here(*n);
        let matched = |rule: &OptionRule| rule.name.split(' ').enumerate().take_while(there).count();
        let words = |rule: &OptionRule| rule.name.split(' ').count();
        // The longest whole name goes before the one of which most words are there.
        let best = rules.iter().max_by_key(|rule| (matched(rule), matched(rule) == words(rule)));
        if let Some(rule) = best
            && matched(rule) > 0
        {
            let (there, all) = (matched(rule), words(rule));
            (0..there).for_each(|_| {
                self.bump();
            });
            if there < all {
                self.rest_of_name(rule, there);
            }
            return Some(rule);
        }
        let token = self.peek();
        let word = self.slice(token.span);
        let found = nearest(word, rules.iter().map(|rule| rule.name));
        let rule = rules.iter().find(|rule| Some(rule.name) == found);
        let others = if std::ptr::eq(rules, FIELD_OPTIONS) { TYPE_OPTIONS } else { FIELD_OPTIONS };
        let other = others.iter().find(|rule| rule.name.split(' ').next() == Some(word));
        let kind = if std::ptr::eq(rules, FIELD_OPTIONS) { "field" } else { "type" };
        if let Some(other) = other {
            let owner = if kind == "field" { "a type, before its \"{\"" } else { "a field" };
            let message = format!("\"{}\" is not an option of a {kind}", other.name);
            self.error("unknown-option", token.span, message, format!("it is an option of {owner}"));
            return None;
        }
        let message = format!("unknown option {}", quoted(word));
        let foreign = FOREIGN_OPTIONS.iter().find(|(foreign, _)| *foreign == word);
        let help = match (foreign, rule) {
            (Some((_, help)), _) => (*help).to_string(),
            (None, Some(rule)) => format!("did you mean \"{}\"?", rule.name),
            (None, None) => {
                let names: Vec<&str> = rules.iter().map(|rule| rule.name).collect();
                format!("the options of a {kind} are: {}", names.join(", "))
            }
        };
        self.error("unknown-option", token.span, message, help);
        if foreign.is_none() && rule.is_some() {
            self.bump();
            return rule;
        }
        None
    }

    /// Reports that of an option's name only the first words are there, and passes a misspelled rest.
    fn rest_of_name(&mut self, rule: &OptionRule, there: usize) {
        let words: Vec<&str> = rule.name.split(' ').collect();
        let (first, rest) = (words[..there].join(" "), words[there..].join(" "));
        let message = format!("expected {} behind {}, found {}", quoted(&rest), quoted(&first), self.found());
        self.error("unknown-option", self.here(), message, format!("did you mean \"{}\"?", rule.name));
        if nearest(self.word_of(self.peek()), words[there..].iter().copied()).is_some() && !self.line_ended()
        {
            self.bump();
        }
    }

    /// Passes what probably belongs to an unknown option: up to a known one, a comma, or the end of the line.
    fn skip_unknown(&mut self, rules: &[OptionRule]) {
        loop {
            let next = self.peek();
            let known = rules.iter().any(|rule| rule.name.split(' ').next() == Some(self.word_of(next)));
            let ends = matches!(next.kind, TokenKind::Comma | TokenKind::RightBrace | TokenKind::LeftBrace);
            if self.line_ended() || known || ends || self.member_at(0) || self.type_starts() {
                return;
            }
            self.skip_balanced();
        }
    }

    /// What follows an option's name.
    fn option_argument(&mut self, rule: &OptionRule, rules: &[OptionRule]) -> OptionArgument {
        match rule.follows {
            Follows::Nothing => {
                if rule.name == "index" && self.at(TokenKind::LeftParen) && !self.line_ended() {
                    let help = "write it as an option of the type, before its \"{\"";
                    let span = self.peek().span;
                    self.error("misplaced", span, "the index of a field is over this field alone", help);
                    self.skip_balanced();
                }
                OptionArgument::None
            }
            Follows::Expr => self.option_value(rule, rules),
            Follows::AssignedExpr => {
                if self.eat(TokenKind::Assign).is_none() {
                    let message = format!("expected \":=\" behind \"{}\", found {}", rule.name, self.found());
                    let help = format!("write \"{} := expression\"", rule.name);
                    self.error("bad-assign", self.here(), message, help);
                    if matches!(self.peek().kind, TokenKind::Equal | TokenKind::Colon) {
                        self.bump();
                    }
                }
                self.option_value(rule, rules)
            }
            Follows::OneOf(choices) => match self.option_word() {
                Some(word) if choices.contains(&word.name.as_str()) => OptionArgument::Word(word),
                Some(word) => {
                    let help = match nearest(&word.name, choices.iter().copied()) {
                        Some(meant) => format!("did you mean \"{meant}\"?"),
                        None => format!("write one of: {}", choices.join(", ")),
                    };
                    let message = format!("\"{}\" is not followed by {}", rule.name, quoted(&word.name));
                    self.error("unknown-option", word.span, message, help);
                    self.skip_unknown(rules);
                    OptionArgument::Word(word)
                }
                None => {
                    let message = format!("expected a word behind \"{}\", found {}", rule.name, self.found());
                    self.error(
                        "missing-value",
                        self.here(),
                        message,
                        format!("write one of: {}", choices.join(", ")),
                    );
                    OptionArgument::None
                }
            },
            Follows::Name => {
                // In a type's head, `in` and `is` begin its next part.
                let next_part = self.word_at(0, "in") || self.word_at(0, "is");
                if !next_part && let Some(word) = self.option_word() {
                    return OptionArgument::Word(word);
                }
                let message =
                    format!("expected a field's name behind \"{}\", found {}", rule.name, self.found());
                self.error("missing-name", self.here(), message, format!("write \"{} name\"", rule.name));
                OptionArgument::None
            }
            Follows::Words => self.option_words(rule),
            Follows::Keys => self.option_keys(rule),
        }
    }

    /// A word on the same line that starts no member.
    fn option_word(&mut self) -> Option<Ident> {
        let next = self.peek();
        (next.kind == TokenKind::Word && !self.line_ended() && !self.member_at(0)).then(|| {
            self.bump();
            self.ident_of(next)
        })
    }

    /// An expression behind an option's name.
    fn option_value(&mut self, rule: &OptionRule, rules: &[OptionRule]) -> OptionArgument {
        if self.at(TokenKind::Equal) && !self.line_ended() {
            let help = format!("write \"{} VALUE\" without \"=\"", rule.name);
            self.error(
                "unexpected",
                self.peek().span,
                format!("unexpected \"=\" behind \"{}\"", rule.name),
                help,
            );
            self.bump();
        }
        let next = self.peek();
        let option = rules.iter().any(|rule| rule.name == self.word_of(next)) && !self.path_goes_on(1);
        let starts = self.value_starts(next)
            || matches!(next.kind, TokenKind::LeftBrace | TokenKind::Plus | TokenKind::Dot);
        let object = next.kind == TokenKind::LeftBrace && !self.line_bound;
        if self.line_ended() || option || object || self.member_at(0) || !starts {
            let message = format!("expected a value behind \"{}\", found {}", rule.name, self.found());
            let help = match rule.name {
                "expires after" => "write a duration, as in \"expires after days(30)\"".to_string(),
                "pattern" | "description" => format!("write a string, as in '{} \"…\"'", rule.name),
                "url" => "write an expression, as in \"url := '/' + self.name\"".to_string(),
                name => format!("write a value, as in \"{name} 0\""),
            };
            self.error("missing-value", self.here(), message, help);
            return OptionArgument::None;
        }
        OptionArgument::Expr(self.expression().expr)
    }

    /// Whether the token `n` after the next one continues an expression.
    fn path_goes_on(&self, n: usize) -> bool {
        use TokenKind::{Arrow, Coalesce, Comma, Dot, End, Int, LeftBrace, Number, RightBrace, Str, Word};
        match self.peek_at(n).kind {
            Arrow | Coalesce | Dot => true,
            Word => ["and", "or", "else", "in"].contains(&self.word_of(self.peek_at(n))),
            Comma | End | Int | LeftBrace | Number | RightBrace | Str => false,
            _ => true,
        }
    }

    /// Words in brackets, or a single one without.
    fn option_words(&mut self, rule: &OptionRule) -> OptionArgument {
        if let Some(word) = self.option_word() {
            return OptionArgument::Words(vec![word]);
        }
        if !self.bracket_follows(rule, "(lower, trim)") {
            return OptionArgument::None;
        }
        let mut words = Vec::new();
        self.enclosed(TokenKind::RightParen, |p| words.extend(p.name("a word")));
        OptionArgument::Words(words)
    }

    /// Names of fields in brackets, each with a direction.
    fn option_keys(&mut self, rule: &OptionRule) -> OptionArgument {
        if !self.bracket_follows(rule, "(customer, at desc)") {
            return OptionArgument::None;
        }
        let mut keys = Vec::new();
        self.enclosed(TokenKind::RightParen, |p| {
            let minus = p.eat(TokenKind::Minus);
            let Some(field) = p.name("a field's name") else { return };
            if let Some(minus) = minus {
                let help = format!("write \"{} desc\"", field.name);
                p.error("unexpected", minus.span, "unexpected \"-\" before the name of a field", help);
            }
            let descending = p.direction();
            keys.push(KeyText { field, descending });
        });
        OptionArgument::Keys(keys)
    }

    /// Whether the bracket of an option's argument is next; it is told where it is not.
    fn bracket_follows(&mut self, rule: &OptionRule, example: &str) -> bool {
        let there = self.at(TokenKind::LeftParen) && !self.line_ended();
        if !there {
            let message = format!("expected \"(\" behind \"{}\", found {}", rule.name, self.found());
            self.error("missing-value", self.here(), message, format!("write \"{} {example}\"", rule.name));
        }
        there
    }
}
