//! What may be asked of the log.

use corollary_engine::Refusal;
use corollary_syntax::nearest;

use super::super::params::{DEFAULT_LIMIT, MAX_LIMIT, parameters, refuse};
use crate::problem::Problem;

const NAMES: [&str; 7] = ["since", "until", "path", "actor", "order", "limit", "watch"];

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Behind this revision.
    pub since: Option<u64>,
    /// Up to this revision.
    pub until: Option<u64>,
    /// Of what stands there.
    pub path: Option<String>,
    /// Of who made it.
    pub actor: Option<String>,
    /// The latest first? Where it is not said, without `since`.
    pub order: Option<bool>,
    /// Commits of a page, or of all that is told line by line.
    pub limit: usize,
    /// Was the limit asked for?
    pub limited: bool,
    /// Does it go on with what is to come?
    pub watch: bool,
}

impl Asked {
    /// Reads the query of a URL.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn parse(query: Option<&str>) -> Result<Asked, Problem> {
        let mut asked = Asked { limit: DEFAULT_LIMIT, ..Asked::default() };
        let mut errors: Vec<Refusal> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let mut wrong = |message: String| errors.push(refuse(&name, message));
            match &*name {
                "since" | "until" => match (&*name, value.parse()) {
                    ("since", Ok(revision)) => asked.since = Some(revision),
                    (_, Ok(revision)) => asked.until = Some(revision),
                    (_, Err(_)) => wrong(format!("`{name}` is a revision")),
                },
                "path" => asked.path = Some(value.into_owned()),
                "actor" => asked.actor = Some(value.into_owned()),
                "order" => match &*value {
                    "revision" => asked.order = Some(false),
                    "-revision" => asked.order = Some(true),
                    _ => wrong("`order` is `revision`, or `-revision` for the latest first".into()),
                },
                "limit" => match value.parse() {
                    Ok(limit) if (1..=MAX_LIMIT).contains(&limit) => {
                        (asked.limit, asked.limited) = (limit, true);
                    }
                    _ => wrong(format!("`limit` is a number from 1 to {MAX_LIMIT}")),
                },
                "watch" => match &*value {
                    "true" | "1" | "" => asked.watch = true,
                    "false" | "0" => asked.watch = false,
                    _ => wrong(format!("`watch` is true or false, and \"{value}\" is neither")),
                },
                _ => {
                    let near = nearest(&name, NAMES);
                    let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                    wrong(format!("the log takes no `{name}`{help}"));
                }
            }
        }
        if let (Some(since), Some(until)) = (asked.since, asked.until)
            && until < since
        {
            errors.push(refuse("until", format!("`until` is {until}, and `since` is {since}")));
        }
        if errors.is_empty() { Ok(asked) } else { Err(parameters(errors)) }
    }

    /// Refuses what does not go together.
    ///
    /// # Errors
    ///
    /// What that is.
    pub fn check(&self, in_lines: bool) -> Result<(), Problem> {
        if !self.watch {
            return Ok(());
        }
        let mut errors = Vec::new();
        if !in_lines {
            let message = "the log is followed line by line: with `Accept: application/x-ndjson`";
            errors.push(refuse("watch", message.into()));
        }
        let given =
            [("until", self.until.is_some()), ("order", self.order == Some(true)), ("limit", self.limited)];
        for (name, _) in given.into_iter().filter(|(_, given)| *given) {
            errors.push(refuse(name, format!("what goes on with what is to come takes no `{name}`")));
        }
        if errors.is_empty() { Ok(()) } else { Err(parameters(errors)) }
    }

    /// Does the latest come first?
    pub fn backwards(&self) -> bool {
        self.order.unwrap_or(self.since.is_none())
    }

    /// The query of a URL that asks so.
    pub fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if let Some(path) = &self.path {
            query.append_pair("path", path);
        }
        if let Some(actor) = &self.actor {
            query.append_pair("actor", actor);
        }
        if let Some(since) = self.since {
            query.append_pair("since", &since.to_string());
        }
        if let Some(until) = self.until {
            query.append_pair("until", &until.to_string());
        }
        query.append_pair("order", if self.backwards() { "-revision" } else { "revision" });
        query.append_pair("limit", &self.limit.to_string());
        query.finish()
    }
}
