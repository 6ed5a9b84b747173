//! What a reply may be.
//!
//! An object has the members that are expected and no others, but for those of the system (`_id`, `_revision`, …), which count
//! only where they are named; a member `"…"` allows any others, and problems always may have them. A list has the elements
//! that are expected; a last one `"…"` allows any behind it. A reply of lines is the list of them. `"…"` is anything that is there. `"$name"` is anything too,
//! the first time; from then on it is what it was.

use std::collections::BTreeMap;

use super::script::Step;
use crate::common::*;

/// Stands for anything.
const ANY: &str = "…";

/// What names stand for.
#[derive(Default)]
pub struct Bound(BTreeMap<String, Json>);

impl Bound {
    /// A text with what the names in it stand for.
    pub fn put_into(&self, text: &str) -> String {
        let mut out = text.to_string();
        // `$ann_2` is not `$ann` with something behind it.
        for (name, value) in self.0.iter().rev() {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_string);
            out = out.replace(&format!("${name}"), &plain);
        }
        out
    }

    /// Is a value what the name stands for? It is from now on, if it stood for nothing.
    fn is(&mut self, name: &str, value: &Json) -> bool {
        self.0.entry(name.to_string()).or_insert_with(|| value.clone()) == value
    }
}

/// What of the replies is not as it should be.
pub fn differences(step: &Step, replies: &[Reply], bound: &mut Bound) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for reply in replies {
        *kinds.entry(kind(reply)).or_default() += 1;
    }
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for (count, status) in &step.statuses {
        *named.entry(status.clone()).or_default() += count;
    }
    if kinds != named {
        let told = |kinds: &BTreeMap<String, usize>| {
            let all = kinds.iter().map(|(kind, count)| match count {
                1 => kind.clone(),
                count => format!("{count} × {kind}"),
            });
            all.collect::<Vec<_>>().join(", ")
        };
        wrong.push(format!("the status is {}, and should be {}", told(&kinds), told(&named)));
        return wrong;
    }
    let reply = &replies[0];
    for (name, value) in &step.expected_headers {
        let given = reply.header(name).map_or(Json::Null, Json::from);
        compare(name, &given, &Json::from(value.as_str()), false, bound, &mut wrong);
    }
    let expected = step.expected_body.trim_end();
    if expected.is_empty() {
        return wrong;
    }
    let given = match reply.header("content-type") {
        Some("application/x-ndjson") => reply.text().lines().map(serde_json::from_str::<Json>).collect(),
        _ => serde_json::from_slice(&reply.body),
    };
    let Ok(given) = given else {
        if reply.text().trim_end() != expected {
            wrong.push(format!("the body is {}, and should be {expected}", reply.text()));
        }
        return wrong;
    };
    let open = reply.header("content-type") == Some("application/problem+json");
    match serde_json::from_str(expected) {
        Ok(expected) => compare("", &given, &expected, open, bound, &mut wrong),
        Err(error) => wrong.push(format!("what is expected is no JSON: {error}")),
    }
    wrong
}

/// The status of a reply, with the code of the problem where it is one.
fn kind(reply: &Reply) -> String {
    let problem = (reply.header("content-type") == Some("application/problem+json")).then(|| reply.json());
    match problem.as_ref().and_then(|problem| problem["code"].as_str()) {
        Some(code) => format!("{} {code}", reply.status),
        None => reply.status.to_string(),
    }
}

fn compare(at: &str, given: &Json, expected: &Json, open: bool, bound: &mut Bound, wrong: &mut Vec<String>) {
    let place = if at.is_empty() { "the body" } else { at };
    match (given, expected) {
        (Json::Null, Json::String(text)) if text == ANY => wrong.push(format!("{place} is null")),
        (_, Json::String(text)) if text == ANY => {}
        (given, Json::String(text)) if text.starts_with('$') && text.len() > 1 => {
            if !bound.is(&text[1..], given) {
                wrong.push(format!("{place} is {given}, and should be {}", bound.put_into(text)));
            }
        }
        (Json::Object(given), Json::Object(expected)) => {
            for (name, expected) in expected.iter().filter(|(name, _)| *name != ANY) {
                let at = if at.is_empty() { name.clone() } else { format!("{at}/{name}") };
                match given.get(name) {
                    Some(given) => compare(&at, given, expected, open, bound, wrong),
                    None => wrong.push(format!("{at} is not there")),
                }
            }
            let may = |name: &str| open || name.starts_with('_') || expected.contains_key(ANY);
            for (name, value) in given.iter().filter(|(name, _)| !expected.contains_key(*name) && !may(name))
            {
                wrong.push(format!("{place} has {name}: {value}"));
            }
        }
        (Json::Array(given), Json::Array(expected)) => {
            let (expected, more) = match expected.split_last() {
                Some((Json::String(last), others)) if last == ANY => (others, true),
                _ => (expected.as_slice(), false),
            };
            if given.len() < expected.len() || (given.len() > expected.len() && !more) {
                wrong.push(format!(
                    "{place} is {}, and should be {}",
                    Json::from(given.clone()),
                    Json::from(expected)
                ));
                return;
            }
            for (number, (given, expected)) in given.iter().zip(expected).enumerate() {
                compare(&format!("{at}/{number}"), given, expected, open, bound, wrong);
            }
        }
        (given, expected) if given == expected => {}
        (given, expected) => wrong.push(format!("{place} is {given}, and should be {expected}")),
    }
}
