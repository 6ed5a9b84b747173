//! Query parameters: each checked, with its place where it is an expression; unknown ones are refused.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use corollary_engine::Refusal;
use corollary_engine::query::{DEFAULT_SCAN_LIMIT, Position};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::typed::Expr;
use corollary_schema::{FieldRef, Schema, TypeIx};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{nearest, parse_expression};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};

use super::expand::expand;
use crate::json::decode::unknown_field;
use crate::json::encode::Shape;
use crate::json::held::Held;
use crate::json::within::Names;
use crate::problem::Problem;

/// Items of a page where none are asked for.
pub const DEFAULT_LIMIT: usize = 100;

/// The most items of a page.
pub const MAX_LIMIT: usize = 1_000;

/// Names, among fields that are to be shown, all that are facts: what a POST may carry.
const FACTS: &str = "_facts";

const NAMES: [&str; 15] = [
    "filter",
    "order",
    "limit",
    "page_token",
    "count",
    "expand",
    "fields",
    "allow_scan",
    "watch",
    "since",
    "wait",
    "dry_run",
    "why",
    "at",
    "explain",
];

/// The parameters of one request, as they were written.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// A condition.
    pub filter: Option<String>,
    /// Parts of an order.
    pub order: Option<String>,
    /// Items of a page; of all that is told where it is told line by line.
    pub limit: usize,
    /// Is it asked for so many?
    pub has_limit: bool,
    /// Where the page begins.
    pub page_token: Option<String>,
    /// Is the number of all asked for?
    pub count: bool,
    /// What stands in full.
    pub expand: Option<String>,
    /// Which fields are shown.
    pub fields: Option<String>,
    /// May all resources be visited?
    pub allow_scan: bool,
    /// Is it a watch?
    pub watch: bool,
    /// After which revision it begins.
    pub since: Option<u64>,
    /// Does a write wait for what follows from it? `updates::Wait` reads it.
    pub wait: Option<bool>,
    /// Is a write only tried? `commit::Manner` reads it.
    pub dry_run: Option<bool>,
    /// The derived field whose value is asked about.
    pub why: Option<String>,
    /// The revision as at which it is read.
    pub at: Option<u64>,
    /// Is it told how a list would be found, instead of what is found?
    pub explain: bool,
}

impl Params {
    /// Reads the query of a URL.
    pub fn parse(query: Option<&str>) -> Result<Params, Problem> {
        Params::read(query, DEFAULT_LIMIT, MAX_LIMIT)
    }

    /// Reads the query of a URL where a list is told line by line: all of it, unless less is asked for.
    pub fn of_lines(query: Option<&str>) -> Result<Params, Problem> {
        Params::read(query, usize::MAX, usize::MAX)
    }

    fn read(query: Option<&str>, limit: usize, most: usize) -> Result<Params, Problem> {
        let mut params = Params { limit, ..Params::default() };
        let (mut errors, mut given) = (Vec::new(), [false; NAMES.len()]);
        let query = query.unwrap_or_default();
        if query.contains('%') && percent_encoding::percent_decode_str(query).decode_utf8().is_err() {
            return Err(Problem::malformed("parameter", "the parameters are not UTF-8"));
        }
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // Which of two would count nobody can see.
            if let Some(at) = NAMES.iter().position(|known| *known == name)
                && std::mem::replace(&mut given[at], true)
            {
                errors.push(refuse(&name, format!("`{name}` is given more than once")));
            }
            let mut flag = || match &*value {
                "true" | "1" | "" => true,
                "false" | "0" => false,
                _ => {
                    errors.push(refuse(
                        &name,
                        format!("`{name}` is true or false, and \"{value}\" is neither"),
                    ));
                    false
                }
            };
            match &*name {
                "filter" => params.filter = Some(value.into_owned()),
                "why" => params.why = Some(value.into_owned()),
                "order" => params.order = Some(value.into_owned()),
                "page_token" => params.page_token = Some(value.into_owned()),
                "expand" => params.expand = Some(value.into_owned()),
                "fields" => params.fields = Some(value.into_owned()),
                "count" => params.count = flag(),
                "allow_scan" => params.allow_scan = flag(),
                "watch" => params.watch = flag(),
                "explain" => params.explain = flag(),
                "wait" => params.wait = Some(flag()),
                "dry_run" => params.dry_run = Some(flag()),
                "limit" => match value.parse() {
                    Ok(limit) if (1..=most).contains(&limit) => {
                        (params.limit, params.has_limit) = (limit, true);
                    }
                    _ if most < usize::MAX => {
                        errors.push(refuse(&name, format!("`limit` is a number from 1 to {most}")));
                    }
                    _ => errors.push(refuse(&name, "`limit` is a number from 1 on".into())),
                },
                "since" => match value.parse() {
                    Ok(since) => params.since = Some(since),
                    Err(_) => errors.push(refuse(&name, "`since` is a revision".into())),
                },
                "at" => match value.parse() {
                    Ok(at) => params.at = Some(at),
                    Err(_) => errors.push(refuse(&name, "`at` is a revision".into())),
                },
                _ => {
                    let near = nearest(&name, NAMES);
                    let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    errors.push(refuse(&name, format!("there is no parameter `{name}`{help}")));
                }
            }
        }
        if errors.is_empty() { Ok(params) } else { Err(parameters(errors)) }
    }

    /// How many resources may be visited.
    pub fn scan_limit(&self) -> usize {
        if self.allow_scan { usize::MAX } else { DEFAULT_SCAN_LIMIT }
    }

    /// Refuses what means something for lists only.
    pub fn only_for_one(&self) -> Result<(), Problem> {
        let given = [
            ("filter", self.filter.is_some()),
            ("order", self.order.is_some()),
            ("page_token", self.page_token.is_some()),
            ("count", self.count),
            ("allow_scan", self.allow_scan),
            ("explain", self.explain),
        ];
        refuse_given(&given, "is for lists, and this is one resource")
    }

    /// Refuses what means nothing where a list is told line by line.
    pub fn only_for_lines(&self) -> Result<(), Problem> {
        let given = [("page_token", self.page_token.is_some()), ("count", self.count)];
        refuse_given(&given, "is for pages, and lines tell all that is found")
    }

    /// Refuses what means something for resources only.
    pub fn only_for_values(&self) -> Result<(), Problem> {
        let given = [
            ("filter", self.filter.is_some()),
            ("order", self.order.is_some()),
            ("page_token", self.page_token.is_some()),
            ("expand", self.expand.is_some()),
            ("fields", self.fields.is_some()),
        ];
        refuse_given(&given, "is for resources, and at this path are values")
    }

    /// Refuses what asks for a page of what is watched as a whole.
    pub fn only_for_whole(&self) -> Result<(), Problem> {
        let given = [("order", self.order.is_some()), ("limit", self.has_limit)];
        refuse_given(&given, "is for watches of one list of resources, and this is watched as a whole")
    }

    /// Refuses what means nothing where one value is asked about.
    pub fn only_for_why(&self) -> Result<(), Problem> {
        self.only_for_one()?;
        let given = [
            ("expand", self.expand.is_some()),
            ("fields", self.fields.is_some()),
            ("watch", self.watch),
            ("since", self.since.is_some()),
            ("at", self.at.is_some()),
        ];
        refuse_given(&given, "means nothing here: `why` asks about one value of now")
    }

    /// Refuses what is told of the present alone.
    pub fn only_for_past_lists(&self) -> Result<(), Problem> {
        let given = [
            ("explain", self.explain),
            ("watch", self.watch),
            ("since", self.since.is_some()),
            ("wait", self.wait.is_some()),
            ("dry_run", self.dry_run.is_some()),
            ("why", self.why.is_some()),
        ];
        refuse_given(&given, "means nothing here: `at` shows what has been")
    }

    /// Refuses what means nothing for the list of versions of a resource.
    pub fn only_for_versions(&self) -> Result<(), Problem> {
        let given = [
            ("filter", self.filter.is_some()),
            ("order", self.order.is_some()),
            ("count", self.count),
            ("expand", self.expand.is_some()),
            ("fields", self.fields.is_some()),
            ("allow_scan", self.allow_scan),
            ("explain", self.explain),
            ("watch", self.watch),
            ("since", self.since.is_some()),
            ("wait", self.wait.is_some()),
            ("dry_run", self.dry_run.is_some()),
            ("at", self.at.is_some()),
            ("why", self.why.is_some()),
        ];
        refuse_given(&given, "means nothing here: `_versions` takes `limit` and `page_token`")
    }

    /// The condition.
    pub fn filter(&self, schema: &Schema, ty: TypeIx) -> Result<Option<Expr>, Problem> {
        let Some(text) = &self.filter else { return Ok(None) };
        let parsed = parse_expression(text);
        let mut found = parsed.diagnostics;
        let mut typed = None;
        if found.is_empty() {
            let (expr, diagnostics) = check_condition(schema, ty, &parsed.tree);
            (typed, found) = (Some(expr), diagnostics);
        }
        if found.is_empty() { Ok(typed) } else { Err(expression("filter", text, 0, &found)) }
    }

    /// The order; true is descending.
    pub fn order(&self, schema: &Schema, ty: TypeIx) -> Result<Vec<(Expr, bool)>, Problem> {
        let Some(text) = &self.order else { return Ok(Vec::new()) };
        let mut order = Vec::new();
        for (start, part) in split(text) {
            let (skipped, descending, part) = match part.strip_prefix('-') {
                Some(rest) => (1, true, rest),
                None => (0, false, part),
            };
            let parsed = parse_expression(part);
            let mut found = parsed.diagnostics;
            if found.is_empty() {
                let (expr, diagnostics) = check_expr(schema, Place::Query(ty), &parsed.tree);
                found = diagnostics;
                if found.is_empty() && expr.ty.is_many() {
                    let message = format!("`{part}` has many values, and an order needs one");
                    found.push(Diagnostic::error("order", parsed.tree.span, message));
                }
                order.push((expr, descending));
            }
            if !found.is_empty() {
                return Err(expression("order", text, start + skipped, &found));
            }
        }
        Ok(order)
    }

    /// What of a resource is shown, by the names of a mount where it is in one.
    pub fn shape(&self, names: &Schema, schema: &Schema, ty: TypeIx) -> Result<Shape, Problem> {
        let mut shape = Shape::default();
        let mut errors = Vec::new();
        let resource = names.ty(ty);
        if let Some(text) = &self.fields {
            let mut slots = Vec::new();
            let mut wanted = Names::default();
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                wanted.add(&name.split('.').map(str::trim).collect::<Vec<_>>());
            }
            for (name, below) in wanted.below() {
                match resource.named(name).filter(|(_, field)| field.visible()) {
                    Some((slot, _)) => {
                        slots.push(slot);
                        if !below.is_leaf() {
                            let held = Held::by(schema, FieldRef { ty, slot });
                            let applied = below.apply(held, name, shape.within(slot));
                            errors.extend(applied.err().map(|message| refuse("fields", message)));
                        }
                    }
                    None if name == FACTS && below.is_leaf() => {
                        let facts =
                            resource.slots().filter(|(_, field)| field.visible() && field.is_written());
                        slots.extend(facts.map(|(slot, _)| slot));
                    }
                    None if name.starts_with('_') && below.is_leaf() => {}
                    None => errors.push(refuse("fields", unknown_field(resource, name))),
                }
            }
            shape.fields = Some(slots);
        }
        if let Some(text) = &self.expand
            && let Err(message) = expand(names, schema, ty, text, &mut shape)
        {
            errors.push(refuse("expand", message));
        }
        if errors.is_empty() { Ok(shape) } else { Err(parameters(errors)) }
    }

    /// A page token is for one query only.
    fn fingerprint(&self, path: &str) -> [u8; 4] {
        let mut hasher = FixedState::default().build_hasher();
        for part in [Some(path), self.filter.as_deref(), self.order.as_deref()] {
            hasher.write(part.unwrap_or_default().as_bytes());
            hasher.write_u8(0xff);
        }
        (hasher.finish() as u32).to_be_bytes()
    }

    /// The token of the page behind a position.
    pub fn token(&self, path: &str, position: &Position) -> String {
        let mut bytes = self.fingerprint(path).to_vec();
        position.encode(&mut bytes);
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page begins.
    pub fn after(&self, path: &str, parts: usize) -> Result<Option<Position>, Problem> {
        let Some(token) = &self.page_token else { return Ok(None) };
        let refused = || {
            let message = "`page_token` is not one that this query gave";
            Problem::malformed("page-token", message)
        };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| refused())?;
        let (fingerprint, mut rest) = bytes.split_first_chunk::<4>().ok_or_else(refused)?;
        let position = Position::decode(&mut rest).map_err(|_| refused())?;
        if *fingerprint != self.fingerprint(path) || position.values.len() != parts || !rest.is_empty() {
            return Err(refused());
        }
        Ok(Some(position))
    }
}

pub(super) fn refuse(name: &str, message: String) -> Refusal {
    Refusal::new("parameter", Some(&format!("?{name}")), message)
}

fn refuse_given(given: &[(&str, bool)], why: &str) -> Result<(), Problem> {
    let given = given.iter().filter(|(_, given)| *given);
    let errors: Vec<Refusal> = given.map(|(name, _)| refuse(name, format!("`{name}` {why}"))).collect();
    if errors.is_empty() { Ok(()) } else { Err(parameters(errors)) }
}

pub(super) fn parameters(errors: Vec<Refusal>) -> Problem {
    let detail = match &errors[..] {
        [one] => one.message.clone(),
        many => format!("{} errors", many.len()),
    };
    Problem { errors, ..Problem::malformed("parameter", detail) }
}

/// Mistakes in an expression, each with its column and a caret line.
fn expression(name: &str, text: &str, offset: usize, found: &[Diagnostic]) -> Problem {
    let errors: Vec<Refusal> = found
        .iter()
        .map(|diagnostic| {
            let at = (offset + diagnostic.span.start as usize).min(text.len());
            let column = text.get(..at).map_or(at, |before| before.chars().count()) + 1;
            let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
            refuse(name, format!("column {column}: {}{help}", diagnostic.message))
        })
        .collect();
    let detail = errors.first().map_or_else(String::new, |first| format!("`{name}`, {}", first.message));
    Problem { errors, ..Problem::malformed(if name == "filter" { "filter" } else { "order" }, detail) }
}

/// Splits at commas outside brackets and quotes; each part with where it begins.
fn split(text: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut depth, mut quote, mut start) = (0i32, None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push((start, &text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push((start, &text[start..]));
    parts
        .into_iter()
        .map(|(start, part)| (start + part.len() - part.trim_start().len(), part.trim()))
        .filter(|(_, part)| !part.is_empty())
        .collect()
}
