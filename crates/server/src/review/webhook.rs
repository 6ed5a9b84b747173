//! What is declared of a webhook that is asked before writes.

use std::collections::BTreeMap;

use corollary_engine::Refusal;
use corollary_syntax::nearest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::hooks::hook::{no_address, read_headers, seconds};
use crate::hooks::sign::Secret;
use crate::http::records::wrong;

/// How long it may take, in seconds, where nothing is said.
const TIMEOUT_SECONDS: f64 = 5.0;

/// The same, at most.
pub const MAX_TIMEOUT_SECONDS: f64 = 20.0;

/// Bytes of its address.
const MAX_URL: usize = 8 << 10;

/// What happens when it does not answer.
pub const ON_FAILURE: [&str; 2] = ["deny", "allow"];

const MEMBERS: [&str; 6] = ["headers", "mutates", "on_failure", "secret", "timeout_seconds", "url"];

/// See the module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    /// Where it is asked.
    pub url: String,
    /// With what requests are signed.
    pub secret: Secret,
    /// Headers that go along.
    pub headers: BTreeMap<String, String>,
    /// How long it may take.
    pub timeout_seconds: f64,
    /// Is what it does not answer about allowed?
    pub fails_open: bool,
    /// May it change what is written?
    pub mutates: bool,
}

impl Webhook {
    /// As it is declared. The secret is the one from before, where none is given.
    pub fn read(
        json: &Map<String, Json>,
        before: Option<&Webhook>,
        errors: &mut Vec<Refusal>,
    ) -> Option<Webhook> {
        let mut mistakes = Vec::new();
        for name in json.keys().filter(|name| !MEMBERS.contains(&name.as_str())) {
            let help =
                nearest(name, MEMBERS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            wrong(&mut mistakes, "unknown-field", name, format!("a webhook has no `{name}`{help}"));
        }
        let url = match json.get("url").and_then(Json::as_str).filter(|url| url.len() <= MAX_URL) {
            Some(url) => {
                if let Some(why) = no_address(url) {
                    wrong(&mut mistakes, "url", "url", why);
                }
                url.to_owned()
            }
            None => {
                wrong(&mut mistakes, "required", "url", "`url` is required, as a text");
                String::new()
            }
        };
        let secret = match json
            .get("secret")
            .filter(|secret| !secret.is_null())
            .map(|it| it.as_str().unwrap_or_default())
        {
            None => before.map_or_else(Secret::fresh, |before| before.secret.clone()),
            Some(text) => text.parse().unwrap_or_else(|why: String| {
                wrong(&mut mistakes, "secret", "secret", why);
                Secret::fresh()
            }),
        };
        let timeout_seconds =
            seconds(json, "", "timeout_seconds", TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS, &mut mistakes);
        let fails_open =
            match json.get("on_failure").filter(|it| !it.is_null()).map(|it| it.as_str().unwrap_or_default())
            {
                None | Some("deny") => false,
                Some("allow") => true,
                Some(_) => {
                    wrong(
                        &mut mistakes,
                        "enum",
                        "on_failure",
                        format!("`on_failure` is {}", ON_FAILURE.join(" or ")),
                    );
                    false
                }
            };
        let mutates = match json.get("mutates") {
            None | Some(Json::Null) => false,
            Some(Json::Bool(mutates)) => *mutates,
            Some(_) => {
                wrong(&mut mistakes, "type", "mutates", "`mutates` is true or false");
                false
            }
        };
        let headers = read_headers(json, &mut mistakes);
        for mistake in &mut mistakes {
            mistake.path = mistake.path.take().map(|path| format!("webhook/{path}"));
        }
        let fits = mistakes.is_empty();
        errors.append(&mut mistakes);
        fits.then_some(Webhook { url, secret, headers, timeout_seconds, fails_open, mutates })
    }

    /// As it is kept; none where there is none.
    pub fn kept(json: &Json) -> Option<Webhook> {
        Webhook::deserialize(json).ok()
    }

    /// As it is declared, and shown; the secret only where it is to be.
    pub fn to_json(&self, secret: bool) -> Json {
        let mut shown = Map::new();
        shown.insert("url".into(), self.url.as_str().into());
        if secret {
            shown.insert("secret".into(), self.secret.to_string().into());
        }
        if !self.headers.is_empty() {
            let values = self.headers.iter();
            let values = values
                .map(|(name, value)| (name.clone(), if secret { value.as_str() } else { "***" }.into()));
            shown.insert("headers".into(), Json::Object(values.collect()));
        }
        shown.insert("timeout_seconds".into(), self.timeout_seconds.into());
        shown.insert("on_failure".into(), ON_FAILURE[usize::from(self.fails_open)].into());
        shown.insert("mutates".into(), self.mutates.into());
        Json::Object(shown)
    }
}
